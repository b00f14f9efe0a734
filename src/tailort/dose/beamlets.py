"""Dose of single beamlets: one by one near a voxel, in blocks farther away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tailort.dose.terms import at_depth, depth_table, family, slope_ranges
from tailort.patient.influence import Beamlets, Columns, column_type
from tailort.physics.machine import Machine

Float = NDArray[np.float64]

# Beamlets farther than NEAR_MM from a voxel share an entry with the others of their block of about BLOCK_MM, farther
# than FAR_MM with those of BLOCKS x BLOCKS blocks.
NEAR_MM, BLOCK_MM = 25.0, 15.0
FAR_MM, BLOCKS = 75.0, 2
# A beamlet's own shape matters up to this distance along x or y, mm; beyond, it is a group of one.
TABLE_MM = 40.0


def fill_rows(
    places: NDArray[np.float32],
    voxels: NDArray[np.uint32],
    beamlets: Beamlets,
    machine: Machine,
    scale: float,
    near_mm: float,
) -> tuple[NDArray[np.float32], Columns, NDArray[np.int64]]:
    """Compute the rows of the influence matrix.

    Parameters
    ----------
    places : (beams, rows, 4) float
        Of each row's voxel: u, v, s (mm) and radiological depth (cm).
    voxels : (rows,) int
        Flat index; feeds the draw of a block's column.
    beamlets : Beamlets
        The columns.
    machine : Machine
        The beam.
    scale : float
        Gy per MU and unit of the kernel.
    near_mm : float
        Within this distance of a block's centre its beamlets have entries of their own, mm.

    Returns
    -------
    values, columns, starts
        As in `Influence`, Gy per MU.
    """
    tree = grouped(beamlets, machine, BLOCK_MM)
    tables = _tables(beamlets, machine, places, TABLE_MM)
    starts = np.zeros(len(voxels) + 1, dtype=np.int64)
    groups = (
        tree.patch_of_beam,
        tree.block_of_patch,
        tree.patches.first,
        tree.patches.centres,
        tree.blocks.first,
        tree.blocks.centres,
    )
    far_mm = max(FAR_MM, near_mm + BLOCKS * BLOCK_MM)
    np.cumsum(count_entries(places, *groups, near_mm**2, far_mm**2), out=starts[1:])
    values = np.empty(starts[-1], dtype=np.float32)
    columns = np.empty(starts[-1], dtype=column_type(len(beamlets)))
    _fill(
        values,
        columns,
        starts,
        places,
        voxels,
        *groups,
        tree.patches.spread,
        tree.blocks.spread,
        own_variance(beamlets, machine) / 4,
        tree.members,
        np.asarray(beamlets.x_mm, dtype=np.float64),
        np.asarray(beamlets.y_mm, dtype=np.float64),
        beamlets.width_x_mm * beamlets.width_y_mm,
        near_mm**2,
        far_mm**2,
        depth_table(machine),
        tables.primary,
        tables.first_log,
        tables.log_step,
        tables.inverse_distance,
        tables.step,
        machine.source_axis_distance_mm,
        scale,
        EXPONENTIALS,
    )
    return values, columns, starts


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of neighbouring items, in the order of the items.

    Group n has the items `first[n]` to `first[n + 1]`; `centres` (n, 2) is the mean u, v of its beamlets, `spread` (n)
    half the variance of its fluence along one axis, mm2: the mean of f over it is f + spread times the Laplacian of f.
    """

    first: NDArray[np.int64]
    centres: Float
    spread: Float

    @classmethod
    def of(cls, group: NDArray[np.int64], x: Float, y: Float, own_variance: float) -> Groups:
        """Group beamlets whose ascending group numbers are given."""
        first = np.searchsorted(group, np.arange(group[-1] + 2 if len(group) else 1)).astype(np.int64)
        count = np.diff(first)
        centres = np.empty((len(count), 2))
        variance = np.full(len(count), own_variance)
        for axis, place in enumerate((x, y)):
            centres[:, axis] = np.bincount(group, place, len(count)) / count
            variance += np.bincount(group, (place - centres[group, axis]) ** 2, len(count)) / count
        return cls(first, centres, variance / 4)


@dataclass(frozen=True, eq=False)
class Tree:
    """Beams of patches of blocks of beamlets.

    `members` are the beamlets in this order; `blocks` count them, `patches` too; patch n has the blocks
    `block_of_patch[n]` to `block_of_patch[n + 1]`, beam n the patches `patch_of_beam[n]` to `patch_of_beam[n + 1]`.
    """

    members: NDArray[np.uint32]
    blocks: Groups
    patches: Groups
    block_of_patch: NDArray[np.int64]
    patch_of_beam: NDArray[np.int64]


def grouped(beamlets: Beamlets, machine: Machine, block_mm: float) -> Tree:
    """Group the beamlets of each beam in blocks of about this side, and those in patches."""
    beam = np.asarray(beamlets.beam, dtype=np.int64)
    lattice = []
    for place, width in ((beamlets.x_mm, beamlets.width_x_mm), (beamlets.y_mm, beamlets.width_y_mm)):
        side = max(1, round(block_mm / width)) * width
        lowest = np.full(len(beamlets.setups), np.inf)
        np.minimum.at(lowest, beam, place)
        lattice.append(np.floor((place - lowest[beam]) / side + 1e-6).astype(np.int64))
    keys = np.stack([beam, *(cells // BLOCKS for cells in lattice), *lattice])
    order = np.lexsort(keys[::-1])
    new = np.diff(keys[:, order], axis=1, prepend=-1) != 0
    patch = np.cumsum(new[:3].any(axis=0)) - 1
    block = np.cumsum(new.any(axis=0)) - 1
    own = own_variance(beamlets, machine)
    x, y = (np.asarray(place, dtype=np.float64)[order] for place in (beamlets.x_mm, beamlets.y_mm))
    blocks, patches = Groups.of(block, x, y, own), Groups.of(patch, x, y, own)
    return Tree(
        order.astype(np.uint32),
        blocks,
        patches,
        np.searchsorted(blocks.first, patches.first).astype(np.int64),
        np.searchsorted(beam[order][patches.first[:-1]], np.arange(len(beamlets.setups) + 1)).astype(np.int64),
    )


def own_variance(beamlets: Beamlets, machine: Machine) -> float:
    """Variance of one beamlet's fluence, both axes together, mm2."""
    return (beamlets.width_x_mm**2 + beamlets.width_y_mm**2) / 12 + 2 * machine.penumbra_sigma_mm**2


@dataclass(frozen=True, eq=False)
class _Tables:
    """One beamlet's share of the convolutions against the distance from its centre, every `step` mm (x, y)."""

    primary: NDArray[np.float32]
    first_log: float
    log_step: float
    inverse_distance: NDArray[np.float32]
    step: Float


def _tables(
    beamlets: Beamlets,
    machine: Machine,
    places: NDArray[np.float32],
    reach_mm: float,
) -> _Tables:
    table = depth_table(machine)
    widths = np.array([beamlets.width_x_mm, beamlets.width_y_mm])
    step = widths / np.ceil(widths / 0.6)
    size = np.ceil(reach_mm / step).astype(int) + 2
    limits = np.array([1e30, 0.0])
    for beam in places:
        if len(beam):
            low, high = slope_ranges(beam[:, 2].astype(np.float64), beam[:, 3], table, machine.source_axis_distance_mm)[
                0
            ]
            limits = np.array([min(limits[0], low), max(limits[1], high)])
    if limits[1] == 0.0:
        limits = np.array([0.4, 0.5])
    slopes = family(limits, 1.01)
    primary = _primary(widths, step, size, slopes, machine.penumbra_sigma_mm)
    inverse = inverse_distance_table(widths, step, size, machine.penumbra_sigma_mm)
    logs = np.log(slopes)
    return _Tables(primary, float(logs[0]), float(logs[1] - logs[0]), inverse, step)


def _primary(widths: Float, step: Float, size: NDArray[np.int64], slopes: Float, blur_mm: float) -> NDArray[np.float32]:
    """Rectangle, Gaussian and K convolved, at distances that are multiples of `step`: (slopes, y, x)."""
    # Twice the reach, so that the nearest periodic image is as far as the reach and nothing of it is left.
    nx, ny = (fft.next_fast_len(int(2 * n + 40 / d), real=True) for n, d in zip(size, step, strict=True))
    fx = 2 * np.pi * fft.rfftfreq(nx, step[0])
    fy = 2 * np.pi * fft.fftfreq(ny, step[1])
    spectrum = np.ones((ny, fx.size)) / (step[0] * step[1])
    for frequency, width, shape in ((fx, widths[0], (1, -1)), (fy, widths[1], (-1, 1))):
        rectangle = width * np.sinc(frequency * width / (2 * np.pi))
        spectrum *= (rectangle * np.exp(-0.5 * (frequency * blur_mm) ** 2)).reshape(shape)
    squared = fy[:, None] ** 2 + fx[None, :] ** 2
    out = np.empty((len(slopes), size[1], size[0]), dtype=np.float32)
    for n, slope in enumerate(slopes):
        share = fft.irfft2(spectrum * (slope / np.sqrt(slope**2 + squared)), s=(ny, nx))
        out[n] = np.maximum(share[: size[1], : size[0]], 0.0)
    return out


def inverse_distance_table(widths: Float, step: Float, size: NDArray[np.int64], blur_mm: float) -> NDArray[np.float32]:
    """Integral of 1/(2 pi q) over the rectangle, blurred, at multiples of `step`: (y, x), mm."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    weights = weights / weights.sum()
    x = np.arange(size[0])[:, None] * step[0] + blur_mm * nodes
    y = np.arange(size[1])[:, None] * step[1] + blur_mm * nodes

    def corner(a: Float, b: Float) -> Float:
        # The limit at an axis is 0; so is this, and finite.
        to_x, to_y = np.maximum(np.abs(a), 1e-12), np.maximum(np.abs(b), 1e-12)
        value: Float = a * np.arcsinh(b / to_x) + b * np.arcsinh(a / to_y)
        return value

    out = np.empty((size[1], size[0]), dtype=np.float32)
    half = widths / 2
    for row in range(size[1]):
        # (x, node of x, node of y)
        a, b = x[:, :, None], y[row][None, None, :]
        integral = (
            corner(a + half[0], b + half[1])
            - corner(a - half[0], b + half[1])
            - corner(a + half[0], b - half[1])
            + corner(a - half[0], b - half[1])
        )
        out[row] = np.einsum("xab,a,b->x", integral, weights, weights) / (2 * np.pi)
    return out


_EXPONENTIAL_STEPS = 64
EXPONENTIALS = np.exp(-np.arange(40 * _EXPONENTIAL_STEPS + 1) / _EXPONENTIAL_STEPS)


@numba.njit(cache=True, inline="always")
def exp_minus(exponentials: Float, x: float) -> Any:  # pragma: no cover - compiled
    """exp(-x) for x >= 0 to 1e-6, four times as fast as the library's; 0 beyond 40."""
    n = int(x * _EXPONENTIAL_STEPS)
    if n >= exponentials.size:
        return 0.0
    rest = x - n / _EXPONENTIAL_STEPS
    return exponentials[n] * (1.0 - rest * (1.0 - 0.5 * rest))


@numba.njit(cache=True, parallel=True)
def count_entries(
    places: NDArray[np.float32],
    patch_of_beam: NDArray[np.int64],
    block_of_patch: NDArray[np.int64],
    patch_first: NDArray[np.int64],
    patch_centres: Float,
    block_first: NDArray[np.int64],
    block_centres: Float,
    near2: float,
    far2: float,
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Entries of each row: of each beamlet near it, of each block, of each patch beyond."""
    out = np.zeros(places.shape[1], dtype=np.int64)
    for row in numba.prange(places.shape[1]):
        entries = 0
        for beam in range(places.shape[0]):
            u, v = places[beam, row, 0], places[beam, row, 1]
            for patch in range(patch_of_beam[beam], patch_of_beam[beam + 1]):
                if (patch_centres[patch, 0] - u) ** 2 + (patch_centres[patch, 1] - v) ** 2 > far2:
                    entries += 1
                    continue
                for block in range(block_of_patch[patch], block_of_patch[patch + 1]):
                    far = (block_centres[block, 0] - u) ** 2 + (block_centres[block, 1] - v) ** 2 > near2
                    entries += 1 if far else block_first[block + 1] - block_first[block]
        out[row] = entries
    return out


@numba.njit(cache=True, inline="always")
def group_dose(squared: float, spread: float, slope: float, exponentials: Float) -> Any:  # pragma: no cover - compiled
    """exp(-k q)/q averaged over a group of beamlets whose centre is sqrt(squared) away."""
    inverse = 1.0 / np.sqrt(squared)
    # The Laplacian of 1/q is 1/q^3.
    inverse *= 1.0 + spread * inverse * inverse
    return inverse * exp_minus(exponentials, slope / inverse)


@numba.njit(cache=True, parallel=True)
def _fill(
    values: NDArray[np.float32],
    columns: Columns,
    starts: NDArray[np.int64],
    places: NDArray[np.float32],
    voxels: NDArray[np.uint32],
    patch_of_beam: NDArray[np.int64],
    block_of_patch: NDArray[np.int64],
    patch_first: NDArray[np.int64],
    patch_centres: Float,
    block_first: NDArray[np.int64],
    block_centres: Float,
    patch_spread: Float,
    block_spread: Float,
    own_spread: float,
    members: NDArray[np.uint32],
    x: Float,
    y: Float,
    area: float,
    near2: float,
    far2: float,
    table: Float,
    primary: NDArray[np.float32],
    first_log: float,
    log_step: float,
    inverse_distance: NDArray[np.float32],
    step: Float,
    sad: float,
    scale: float,
    exponentials: Float,
) -> None:  # pragma: no cover - compiled
    share = area / (2 * np.pi)
    per_x, per_y = 1.0 / step[0], 1.0 / step[1]
    one = np.uint64(1)
    last_y, last_x = np.uint64(primary.shape[1]), np.uint64(primary.shape[2])
    for row in numba.prange(places.shape[1]):
        n = starts[row]
        for beam in range(places.shape[0]):
            u, v, s = float(places[beam, row, 0]), float(places[beam, row, 1]), float(places[beam, row, 2])
            z = float(places[beam, row, 3])
            unit = scale * (sad / s) ** 2
            short = unit * at_depth(table, 0, z)
            slope = at_depth(table, 3, z) * s / sad
            wide = unit * at_depth(table, 2, z) * slope
            level = round((np.log(at_depth(table, 1, z) * s / sad) - first_log) / log_step)
            of_level = primary[min(max(level, 0), primary.shape[0] - 1)]
            for patch in range(patch_of_beam[beam], patch_of_beam[beam + 1]):
                squared = (patch_centres[patch, 0] - u) ** 2 + (patch_centres[patch, 1] - v) ** 2
                if squared > far2:
                    start = patch_first[patch]
                    count = patch_first[patch + 1] - start
                    values[n] = wide * count * share * group_dose(squared, patch_spread[patch], slope, exponentials)
                    columns[n] = members[start + drawn(voxels[row], patch, count)]
                    n += 1
                    continue
                for block in range(block_of_patch[patch], block_of_patch[patch + 1]):
                    start, end = block_first[block], block_first[block + 1]
                    squared = (block_centres[block, 0] - u) ** 2 + (block_centres[block, 1] - v) ** 2
                    if squared > near2:
                        count = end - start
                        values[n] = wide * count * share * group_dose(squared, block_spread[block], slope, exponentials)
                        columns[n] = members[start + drawn(voxels[row], block, count)]
                        n += 1
                        continue
                    for member in range(start, end):
                        column = members[member]
                        across, along = abs(x[column] - u) * per_x, abs(y[column] - v) * per_y
                        i, j = np.uint64(across), np.uint64(along)
                        columns[n] = column
                        if i + one >= last_x or j + one >= last_y:
                            squared = (x[column] - u) ** 2 + (y[column] - v) ** 2
                            values[n] = wide * share * group_dose(squared, own_spread, slope, exponentials)
                            n += 1
                            continue
                        fx, fy = across - i, along - j
                        a, b = (1 - fx) * (1 - fy), fx * (1 - fy)
                        c, d = (1 - fx) * fy, fx * fy
                        near = (
                            a * of_level[j, i]
                            + b * of_level[j, i + one]
                            + c * of_level[j + one, i]
                            + d * of_level[j + one, i + one]
                        )
                        inverse = (
                            a * inverse_distance[j, i]
                            + b * inverse_distance[j, i + one]
                            + c * inverse_distance[j + one, i]
                            + d * inverse_distance[j + one, i + one]
                        )
                        # exp(-k q) at the mean distance of the beamlet's scatter, which is share / inverse.
                        values[n] = short * near + wide * inverse * exp_minus(exponentials, slope * share / inverse)
                        n += 1


@numba.njit(cache=True, inline="always")
def drawn(voxel: int, block: int, count: int) -> Any:  # pragma: no cover - compiled
    """Whole number below `count`, well mixed from voxel and block, the same in every run."""
    mixed = np.uint64(voxel) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(block) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return np.int64(((mixed >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))
