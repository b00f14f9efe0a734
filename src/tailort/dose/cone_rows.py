"""What each beamlet gives to a voxel, by following the cones backwards.

The collapsed cone carries energy from where it is released along a few directions. Seen from a voxel, it comes back
along the same directions: in direction m, from between the distances l and l' (g/cm2) on the way, the voxel gets

    T [C_m(l') - C_m(l)],   C_m(l) = sum_k w_mk [1 - exp(-a_mk l)]

with the TERMA T released there. Which beamlet released it tells the ray through that place. So the electrons of the
first interaction are shared out among the beamlets in the densities between them and the voxel, in one short walk along
each direction, whatever the number of beamlets. What scattered photons bring comes from far, and is shared out by the
same sum in water of the mean density about the voxel. Head scatter and contaminating electrons follow their Gaussians.

Last, each of these parts of a row is multiplied by one factor, so that it adds up to what the collapsed cone finds for
all beamlets together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from tailort.dose.beamlets import (
    BLOCK_MM,
    BLOCKS,
    EXPONENTIALS,
    FAR_MM,
    TABLE_MM,
    count_entries,
    drawn,
    exp_minus,
    grouped,
    inverse_distance_table,
    own_variance,
)
from tailort.dose.cones import Cones
from tailort.dose.fan import Fan
from tailort.dose.lattice import Lattice, head_view, open_view, source_blur_mm
from tailort.patient.influence import Beamlets, Columns, column_type
from tailort.physics.machine import Machine
from tailort.physics.point_kernel import DEPTH_STEP_CM, FIRST_DEPTH_CM, PointKernel

Float = NDArray[np.float64]
Values = NDArray[np.float32]
Indices = NDArray[np.int64]

# Steps of the way back grow with the distance, by this share of it, between these lengths, mm.
STEP_SHARE, STEPS_MM = 0.35, (1.5, 6.0)
# The way ends here, mm (in lung), or where this share of a direction's energy is counted.
WAY_MM, COUNTED = 160.0, 0.99
# Step and end of the table of C, g/cm2.
CURVE_STEP, CURVE_END = 0.02, 8.0
# Levels of hardness for which it is tabulated.
LEVELS = 9
# Electrons are not followed back where what they bring, beyond head scatter (times `TRUST`), is less than this share of
# the beam's highest dose.
LEAST_SHARE, TRUST = 0.004, 1.15
# A row's electrons are not multiplied by more than this.
HIGHEST_FACTOR = 3.0
# Table of the distances from which scattered photons come: depths every so many cm of water, to the last one; distances
# at the squares of whole numbers times this, mm.
SCATTER_STEP_CM, SCATTER_END_CM, SCATTER_MM, SCATTER_DISTANCES = 0.5, 50.0, 0.1, 80
# Distances within which beamlets have entries of their own are meant for beamlets of this side, mm; for smaller ones
# they shrink in proportion.
USUAL_MM = 5.0
# Nodes between the beamlets at which energy is collected are not farther apart than this, mm.
NODE_MM = 2.6


@dataclass(frozen=True, eq=False)
class OpenDose:
    """What all beamlets of each beam together, each open for 1 MU, bring to the rows' voxels: (beams, rows), Gy.

    Parameters
    ----------
    primary, scatter, surface : (beams, rows) float32
        By electrons of the first interaction, by scattered photons and by contaminating electrons.
    head_scatter : (beams, rows) float32
        Extra-focal energy fluence where the voxel's ray crosses the isocentre plane, MU.
    highest : (beams,) float32
        Highest of `primary` in the whole dose grid.
    """

    primary: Values
    scatter: Values
    surface: Values
    head_scatter: Values
    highest: Values

    @classmethod
    def empty(cls, beams: int, rows: int) -> OpenDose:
        """Return one of zeros, to be filled."""
        primary, scatter, surface, head_scatter = np.zeros((4, beams, rows), dtype=np.float32)
        return cls(primary, scatter, surface, head_scatter, np.zeros(beams, dtype=np.float32))


def fill_rows(
    places: Values,
    voxels: NDArray[np.uint32],
    points: Float,
    beamlets: Beamlets,
    lattices: list[Lattice],
    fans: list[Fan],
    opened: OpenDose,
    electrons: Values,
    about: Values,
    to_index: Float,
    kernel: PointKernel,
    machine: Machine,
    scale: float,
    blur_mm: float,
    near_mm: float,
) -> tuple[Values, Columns, Indices]:
    """Compute the rows of the influence matrix.

    Parameters
    ----------
    places : (beams, rows, 4) float32
        Of each row's voxel: u, v, s (mm) and radiological depth (cm).
    voxels : (rows,) int
        Flat index; feeds the draw of a block's column.
    points : (rows, 3) float
        Centres of the voxels, LPS mm.
    beamlets : Beamlets
        The columns.
    lattices, fans : list
        Of each beam.
    opened : OpenDose
        What the rows add up to.
    electrons : (k, j, i) float32
        Electron density relative to water.
    about : (rows,) float32
        Its mean in a wide neighbourhood of each row's voxel.
    to_index : (3, 4) float
        Takes LPS points to (k, j, i) indices of `electrons`.
    kernel : PointKernel
        Of the machine.
    machine : Machine
        The beam.
    scale : float
        Gy per MU and unit of the TERMA.
    blur_mm : float
        Standard deviation by which voxels average, mm.
    near_mm : float
        Within this distance of a block's centre its beamlets have entries of their own, mm, for beamlets of `USUAL_MM`.

    Returns
    -------
    values, columns, starts
        As in `Influence`, Gy per MU.
    """
    widths = np.array([beamlets.width_x_mm, beamlets.width_y_mm])
    # An error of a drawn column is that of one beamlet: small beamlets may be drawn from nearer.
    near_mm, block_mm, far_mm = min(1.0, widths.mean() / USUAL_MM) * np.array([near_mm, BLOCK_MM, FAR_MM])
    tree = grouped(beamlets, machine, block_mm)
    groups = (
        tree.patch_of_beam, tree.block_of_patch, tree.patches.first, tree.patches.centres, tree.blocks.first,
        tree.blocks.centres,
    )  # fmt: skip
    far_mm = max(far_mm, near_mm + BLOCKS * block_mm)
    starts = np.zeros(len(voxels) + 1, dtype=np.int64)
    np.cumsum(count_entries(places, *groups, near_mm**2, far_mm**2), out=starts[1:])
    values = np.empty(starts[-1], dtype=np.float32)
    columns = np.empty(starts[-1], dtype=column_type(len(beamlets)))
    fineness = np.ceil(widths / NODE_MM).astype(np.int64)
    pitch = widths / fineness
    source = source_blur_mm(machine, machine.head.leaf_distance_mm)
    taps = [
        _taps(width, at, np.sqrt(max(source**2 + blur_mm**2 - at**2 / 12, 0.01 * at**2)))
        for width, at in zip(widths, pitch, strict=True)
    ]
    cell = np.zeros((len(beamlets), 2), dtype=np.int64)
    for lattice in lattices:
        for n, place in enumerate(np.nonzero(lattice.column >= 0)):
            cell[lattice.column[lattice.column >= 0], n] = place
    size = np.array([lattice.column.shape for lattice in lattices], dtype=np.int64).reshape(-1, 2)
    first = np.array([(at.x_mm[0], at.y_mm[0]) if at.column.size else (0.0, 0.0) for at in lattices]).reshape(-1, 2)
    cones = Cones.around(np.array([0.0, 0.0, 1.0]), kernel.primary)
    ring = np.repeat(np.arange(len(kernel.primary)), [r.count for r in kernel.primary])
    curves, ends = _curves(kernel)
    head = machine.head
    profile = machine.primary_fluence(np.hypot(beamlets.x_mm, beamlets.y_mm)) * (1.0 - head.extrafocal_share)
    step = widths / np.ceil(widths / 0.6)
    reach = np.ceil(TABLE_MM / step).astype(int) + 2
    inverse = inverse_distance_table(widths, step, reach, machine.penumbra_sigma_mm)
    sad = machine.source_axis_distance_mm
    _fill(
        values, columns, starts, places, voxels, points, *groups, tree.patches.spread, tree.blocks.spread,
        own_variance(beamlets, machine) / 4, tree.members, np.asarray(beamlets.x_mm, dtype=np.float64),
        np.asarray(beamlets.y_mm, dtype=np.float64), widths[0] * widths[1], near_mm**2, far_mm**2,
        _scatter_from(kernel), about, inverse, step, sad, EXPONENTIALS, cell, size, first, pitch, fineness, taps[0],
        taps[1], profile, np.array([fan.source_mm for fan in fans]), np.array([fan.axes for fan in fans]),
        np.maximum(electrons, np.float32(1e-5)), np.ascontiguousarray(to_index), cones.directions, ring, curves, ends,
        _ways(), kernel.terma, kernel.hardness, _extrafocal(machine, widths), head.contamination_sigma_mm,
        opened.primary, opened.scatter, opened.surface, opened.head_scatter, opened.highest * LEAST_SHARE,
        scale * sad**2,
    )  # fmt: skip
    return values, columns, starts


def _extrafocal(machine: Machine, widths: Float) -> Float:
    """Of the head scatter through one beamlet: level, by_edge and by_point of leaves, of jaws along x and along y.

    A beamlet at x, y gives level exp{-[(by_edge x + by_point u)^2 + (by_edge y + by_point v)^2] / 2}, lengths in
    standard deviations of the extra-focal source.
    """
    head = machine.head
    if head.extrafocal_share <= 0:
        return np.zeros(7)
    views = [
        np.array(head_view(machine, at)) / head.extrafocal_sigma_mm
        for at in (head.leaf_distance_mm, head.jaw_x_distance_mm, head.jaw_y_distance_mm)
    ]
    level = head.extrafocal_share * views[0][0] ** 2 * widths.prod() / (2 * np.pi * open_view(machine))
    return np.concatenate([[level], *views])


def _taps(width: float, pitch: float, sigma: float) -> Float:
    """Share of the energy at each node that belongs to a beamlet.

    The nodes are those in the beamlet, in their middle its centre, and m on both sides: (width / pitch + 2 m,).
    """
    own = round(width / pitch)
    m = int(np.ceil(3.5 * sigma / pitch))
    at = pitch * (np.arange(-m, own + m) - 0.5 * (own - 1))
    taps: Float = special.ndtr((at + 0.5 * width) / sigma) - special.ndtr((at - 0.5 * width) / sigma)
    return taps


def _ways() -> Float:
    """Edges of the steps along a direction, mm."""
    edges = [0.0]
    while edges[-1] < WAY_MM:
        edges.append(edges[-1] + min(max(STEP_SHARE * edges[-1], STEPS_MM[0]), STEPS_MM[1]))
    return np.array(edges)


@cache
def _scatter_from(kernel: PointKernel) -> Values:
    """Energy that scattered photons bring from each mm of lateral distance in water, by depth and distance."""
    edges = SCATTER_MM * np.arange(SCATTER_DISTANCES + 1) ** 2
    way = np.append(0.0, np.geomspace(0.02, 120.0, 300))
    middle = 0.5 * (way[1:] + way[:-1])
    depths = np.arange(0.0, SCATTER_END_CM + SCATTER_STEP_CM, SCATTER_STEP_CM)
    hard = np.interp(depths, kernel.depths_cm, kernel.hardness)
    out = np.zeros((len(depths), SCATTER_DISTANCES))
    cosines = np.array([ring.cosine for ring in kernel.scatter])
    between = np.concatenate([[1.0], 0.5 * (cosines[1:] + cosines[:-1]), [-1.0]])
    for ring, high, low in zip(kernel.scatter, between[:-1], between[1:], strict=True):
        gained = np.diff((1.0 - np.exp(-np.outer(way, ring.slopes))) @ ring.weights.T, axis=0)
        for cosine in low + (high - low) * (np.arange(8) + 0.5) / 8:
            # A photon that comes from above was released in a shallower place.
            released_at = depths[:, None] - middle * cosine
            terma = np.interp(released_at, kernel.depths_cm, kernel.terma) * (released_at > 0.0)
            energy = terma * (np.outer(1.0 - hard, gained[:, 0]) + np.outer(hard, gained[:, 1]))
            bins = np.searchsorted(edges, 10.0 * middle * np.sqrt(1.0 - cosine**2), side="right") - 1
            inside = bins < SCATTER_DISTANCES
            np.add.at(out.T, bins[inside], energy[:, inside].T)
    smooth = ndimage.gaussian_filter1d(out / np.diff(edges), 1.5, axis=1, mode="nearest")
    return smooth.astype(np.float32)


def _curves(kernel: PointKernel) -> tuple[Values, Float]:
    """C of one direction of each ring at each level of hardness: (levels, rings, n); and where it ends, g/cm2."""
    at = CURVE_STEP * np.arange(int(CURVE_END / CURVE_STEP) + 1)
    # (ring, n, kernel)
    curves = np.stack(
        [((1.0 - np.exp(-np.outer(at, ring.slopes))) @ ring.weights.T) / ring.count for ring in kernel.primary]
    )
    left = np.abs(1.0 - curves[:, :, 0] / curves[:, -1:, 0])
    ends = CURVE_STEP * np.array([np.flatnonzero(own > 1.0 - COUNTED)[-1] + 1 for own in left])
    hard = np.linspace(0.0, 1.0, LEVELS)[:, None, None]
    mixed = (1.0 - hard) * curves[:, :, 0] + hard * curves[:, :, 1]
    return mixed.astype(np.float32), np.minimum(ends, CURVE_END - CURVE_STEP)


@numba.njit(cache=True, error_model="numpy")
def _walk(
    collected: Values,
    touched: Indices,
    u: float,
    v: float,
    s: float,
    depth: float,
    point: Float,
    source: Float,
    axes: Float,
    sad: float,
    electrons: Values,
    to_index: Float,
    directions: Float,
    ring: Indices,
    curves: Values,
    ends: Float,
    ways: Float,
    terma: Float,
    hardness: Float,
    first: Float,
    pitch: Float,
    fineness: Indices,
    border: Indices,
) -> float:  # pragma: no cover - compiled
    """Collect what comes to a voxel by electrons of the first interaction, relative to its TERMA; return its sum."""
    # The local ray, and two axes across.
    along = np.empty(3)
    length = 0.0
    for axis in range(3):
        along[axis] = point[axis] - source[axis]
        length += along[axis] ** 2
    length = np.sqrt(length)
    tilted = 0.0
    for axis in range(3):
        along[axis] /= length
        tilted += along[axis] * axes[0, axis]
    across, third = np.empty(3), np.empty(3)
    norm = 0.0
    for axis in range(3):
        across[axis] = axes[0, axis] - tilted * along[axis]
        norm += across[axis] ** 2
    norm = np.sqrt(norm)
    for axis in range(3):
        across[axis] /= norm
    third[0] = along[1] * across[2] - along[2] * across[1]
    third[1] = along[2] * across[0] - along[0] * across[2]
    third[2] = along[0] * across[1] - along[1] * across[0]
    at = min(max((depth - FIRST_DEPTH_CM) / DEPTH_STEP_CM, 0.0), terma.size - 1.001)
    n = int(at)
    # The TERMA on the way is that of the voxel's depth, as far as two terms of its exponential tell.
    fall = np.float32((terma[n] - terma[n + 1]) / (terma[n] * DEPTH_STEP_CM))
    level = round(min(max(hardness[n], 0.0), 1.0) * (LEVELS - 1))
    one, half = np.float32(1.0), np.float32(0.5)
    start, step, way = np.empty(3), np.empty(3), np.empty(3)
    for axis in range(3):
        start[axis] = (
            to_index[axis, 0] * point[0] + to_index[axis, 1] * point[1] + to_index[axis, 2] * point[2]
            + to_index[axis, 3] + 0.5
        )  # fmt: skip
    rows, columns = collected.shape
    ni, nj, nk = electrons.shape[2], electrons.shape[1], electrons.shape[0]
    per_step = np.float32(1.0 / CURVE_STEP)
    per_u, per_v = 1.0 / pitch[0], 1.0 / pitch[1]
    low_r, high_r, low_c, high_c = np.int64(rows), np.int64(0), np.int64(columns), np.int64(0)
    # The centre of a beamlet is in the middle of its nodes.
    base_u = border[0] + 0.5 * (fineness[0] - 1) - first[0] * per_u
    base_v = border[1] + 0.5 * (fineness[1] - 1) - first[1] * per_v
    total = 0.0
    for m in range(directions.shape[0]):
        for axis in range(3):
            way[axis] = (
                directions[m, 0] * across[axis] + directions[m, 1] * third[axis] + directions[m, 2] * along[axis]
            )
        # A millimetre on the way changes u and v by these in the plane of the voxel, times s over SAD.
        by_u = -(sad / s) * (way[0] * axes[0, 0] + way[1] * axes[0, 1] + way[2] * axes[0, 2])
        by_v = -(sad / s) * (way[0] * axes[1, 0] + way[1] * axes[1, 1] + way[2] * axes[1, 2])
        by_s = way[0] * axes[2, 0] + way[1] * axes[2, 1] + way[2] * axes[2, 2]
        for axis in range(3):
            step[axis] = -(to_index[axis, 0] * way[0] + to_index[axis, 1] * way[1] + to_index[axis, 2] * way[2])
        curve = curves[level, ring[m]]
        rise = fall * np.float32(directions[m, 2])
        end = np.float32(ends[ring[m]])
        passed = np.float32(0.0)
        before = np.float32(0.0)
        for w in range(ways.size - 1):
            middle = 0.5 * (ways[w] + ways[w + 1])
            fk, fj, fi = start[0] + middle * step[0], start[1] + middle * step[1], start[2] + middle * step[2]
            if fk < 0.0 or fj < 0.0 or fi < 0.0 or fk >= nk or fj >= nj or fi >= ni:
                break
            more = electrons[np.uint64(fk), np.uint64(fj), np.uint64(fi)] * np.float32((ways[w + 1] - ways[w]) * 0.1)
            x = rise * (passed + half * more)
            passed += more
            place = min(passed, end) * per_step
            p = np.uint64(place)
            after = curve[p] + np.float32(place - p) * (curve[p + np.uint64(1)] - curve[p])
            scale = s / (s + middle * by_s)
            energy = (after - before) * (one + x * (one + half * x)) * np.float32(scale * scale)
            before = after
            total += energy
            fu = (u + middle * by_u) * scale * per_u + base_u
            fv = (v + middle * by_v) * scale * per_v + base_v
            if fu >= 0.0 and fv >= 0.0 and fu < columns - 1 and fv < rows - 1:
                c, r = np.uint64(fu), np.uint64(fv)
                c1, r1 = c + np.uint64(1), r + np.uint64(1)
                gu, gv = np.float32(fu - c), np.float32(fv - r)
                above = energy * gv
                below = energy - above
                collected[r, c] += below * (one - gu)
                collected[r, c1] += below * gu
                collected[r1, c] += above * (one - gu)
                collected[r1, c1] += above * gu
                low_r, high_r = min(low_r, np.int64(r)), max(high_r, np.int64(r) + 2)
                low_c, high_c = min(low_c, np.int64(c)), max(high_c, np.int64(c) + 2)
            if passed >= end:
                break
    touched[0], touched[1], touched[2], touched[3] = low_r, high_r, low_c, high_c
    return total


@numba.njit(cache=True, error_model="numpy")
def _gather(
    given: Values,
    along: Values,
    collected: Values,
    touched: Indices,
    size: Indices,
    fineness: Indices,
    border: Indices,
    taps_x: Float,
    taps_y: Float,
    cells: Indices,
) -> None:  # pragma: no cover - compiled
    """Add up the nodes of each beamlet, (ny, nx), and clear them; `cells` is the part that is not 0."""
    mx, my = (taps_x.size - fineness[0]) // 2, (taps_y.size - fineness[1]) // 2
    # The beamlets that have a node, own or beside, among those touched.
    low_r = max((touched[0] - border[1] - my) // fineness[1], 0)
    high_r = min((touched[1] - 1 - border[1] + my) // fineness[1] + 1, size[0])
    low_c = max((touched[2] - border[0] - mx) // fineness[0], 0)
    high_c = min((touched[3] - 1 - border[0] + mx) // fineness[0] + 1, size[1])
    cells[0], cells[1], cells[2], cells[3] = low_r, high_r, low_c, high_c
    for r in range(touched[0], touched[1]):
        for c in range(low_c, high_c):
            middle = c * fineness[0] + border[0]
            a, b = max(middle - mx, touched[2]), min(middle + mx + fineness[0], touched[3])
            total = 0.0
            for n in range(a, b):
                total += taps_x[n - middle + mx] * collected[r, n]
            along[r, c] = total
        collected[r, touched[2] : touched[3]] = 0.0
    for r in range(low_r, high_r):
        middle = r * fineness[1] + border[1]
        a, b = max(middle - my, touched[0]), min(middle + my + fineness[1], touched[1])
        for c in range(low_c, high_c):
            given[r, c] = 0.0
        for n in range(a, b):
            tap = taps_y[n - middle + my]
            for c in range(low_c, high_c):
                given[r, c] += tap * along[n, c]


@numba.njit(cache=True, inline="always")
def _comes_from(energy: Values, distance: float) -> Any:  # pragma: no cover - compiled
    """Energy from each mm of lateral distance in water."""
    # Bins end at the squares of whole numbers: this is in the middle of bin 0 at 0.
    place = max(np.sqrt(distance / SCATTER_MM) - 0.5, 0.0)
    n = min(int(place), energy.size - 2)
    return max(energy[n] + (place - n) * (energy[n + 1] - energy[n]), 0.0)


@numba.njit(cache=True, inline="always")
def _scattered(energy: Values, widened: float, squared: float, spread: float) -> Any:  # pragma: no cover - compiled
    """What comes of a group of beamlets whose centre is sqrt(squared) away, over the distance."""
    inverse = 1.0 / np.sqrt(squared)
    # The Laplacian of 1/q is 1/q^3.
    inverse *= 1.0 + spread * inverse * inverse
    return inverse * _comes_from(energy, widened / inverse)


@numba.njit(cache=True, inline="always")
def _within(middle: float, half: float, low: float, high: float) -> float:  # pragma: no cover - compiled
    """Share of an interval that lies between two limits."""
    return max(min(middle + half, high) - max(middle - half, low), 0.0) / (2.0 * half)


@numba.njit(cache=True, parallel=True, error_model="numpy")
def _fill(
    values: Values,
    columns: Columns,
    starts: Indices,
    places: Values,
    voxels: NDArray[np.uint32],
    points: Float,
    patch_of_beam: Indices,
    block_of_patch: Indices,
    patch_first: Indices,
    patch_centres: Float,
    block_first: Indices,
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
    scatter_from: Values,
    about: Values,
    inverse_distance: Values,
    step: Float,
    sad: float,
    exponentials: Float,
    cell: Indices,
    size: Indices,
    first: Float,
    pitch: Float,
    fineness: Indices,
    taps_x: Float,
    taps_y: Float,
    profile: Float,
    sources: Float,
    axes: Float,
    electrons: Values,
    to_index: Float,
    directions: Float,
    ring: Indices,
    curves: Values,
    ends: Float,
    ways: Float,
    terma: Float,
    hardness: Float,
    gaussian: Float,
    contamination_sigma: float,
    primary: Values,
    scatter: Values,
    surface: Values,
    scattered: Values,
    least: Values,
    unit: float,
) -> None:  # pragma: no cover - compiled
    beams, count_rows = places.shape[0], places.shape[1]
    share = area / (2 * np.pi)
    per_x, per_y = 1.0 / step[0], 1.0 / step[1]
    last_y, last_x = inverse_distance.shape
    wide_x, wide_y = fineness[0] * pitch[0], fineness[1] * pitch[1]
    half_x, half_y = 0.5 * gaussian[1] * wide_x, 0.5 * gaussian[1] * wide_y
    border = np.array([(taps_x.size - fineness[0]) // 2 + 1, (taps_y.size - fineness[1]) // 2 + 1])
    high, wide = size[:, 0].max(), size[:, 1].max()
    node_rows, node_columns = high * fineness[1] + 2 * border[1], wide * fineness[0] + 2 * border[0]
    chunk = 256
    for part in numba.prange((count_rows + chunk - 1) // chunk):
        collected = np.zeros((node_rows, node_columns), dtype=np.float32)
        along = np.zeros((node_rows, wide), dtype=np.float32)
        given = np.zeros((high, wide), dtype=np.float32)
        touched = np.zeros(4, dtype=np.int64)
        cells = np.zeros(4, dtype=np.int64)
        electron = np.zeros(members.size)
        stray = np.zeros(members.size)
        for row in range(part * chunk, min((part + 1) * chunk, count_rows)):
            n = starts[row]
            for beam in range(beams):
                if patch_of_beam[beam] == patch_of_beam[beam + 1]:
                    continue
                u, v, s = float(places[beam, row, 0]), float(places[beam, row, 1]), float(places[beam, row, 2])
                z = float(places[beam, row, 3])
                cells[:] = 0
                level = 1.0
                at = min(max((z - FIRST_DEPTH_CM) / DEPTH_STEP_CM, 0.0), terma.size - 1.0)
                released = unit * terma[int(at)] / (s * s)
                if primary[beam, row] > least[beam] + TRUST * released * scattered[beam, row]:
                    level = _walk(
                        collected, touched, u, v, s, z, points[row], sources[beam], axes[beam], sad, electrons,
                        to_index, directions, ring, curves, ends, ways, terma, hardness, first[beam], pitch, fineness,
                        border,
                    )  # fmt: skip
                    if touched[1] > touched[0]:
                        _gather(given, along, collected, touched, size[beam], fineness, border, taps_x, taps_y, cells)
                depth_level = min(max(round(z / SCATTER_STEP_CM), 0), scatter_from.shape[0] - 1)
                comes_from = scatter_from[depth_level]
                widened = s / sad * about[row]
                # What the jaws, which stand at the outermost beamlets, let this voxel see of the extra-focal source.
                low_x = gaussian[3] * (first[beam, 0] - 0.5 * wide_x) + gaussian[4] * u
                high_x = gaussian[3] * (first[beam, 0] + (size[beam, 1] - 0.5) * wide_x) + gaussian[4] * u
                low_y = gaussian[5] * (first[beam, 1] - 0.5 * wide_y) + gaussian[6] * v
                high_y = gaussian[5] * (first[beam, 1] + (size[beam, 0] - 0.5) * wide_y) + gaussian[6] * v
                with_surface = surface[beam, row] > 0.0
                begin = n
                electrons_sum, scatter_sum, stray_sum = 0.0, 0.0, 0.0
                for patch in range(patch_of_beam[beam], patch_of_beam[beam + 1]):
                    squared = (patch_centres[patch, 0] - u) ** 2 + (patch_centres[patch, 1] - v) ** 2
                    whole = squared > far2
                    for block in range(block_of_patch[patch], block_of_patch[patch + 1]):
                        start, end = block_first[block], block_first[block + 1]
                        number = block
                        spread = block_spread[block]
                        cu, cv = block_centres[block, 0], block_centres[block, 1]
                        if whole:
                            start, end = patch_first[patch], patch_first[patch + 1]
                            number, spread = patch, patch_spread[patch]
                            cu, cv = patch_centres[patch, 0], patch_centres[patch, 1]
                        squared = (cu - u) ** 2 + (cv - v) ** 2
                        near = not whole and squared <= near2
                        stop = end if near else start + 1
                        for member in range(start, stop):
                            column = members[member]
                            count = 1
                            if near:
                                cu, cv = x[column], y[column]
                            else:
                                count = end - start
                                column = members[start + drawn(voxels[row], number, count)]
                            columns[n] = column
                            if near:
                                across, beside = abs(cu - u) * per_x, abs(cv - v) * per_y
                                i, j = int(across), int(beside)
                                if i + 1 >= last_x or j + 1 >= last_y:
                                    squared = (cu - u) ** 2 + (cv - v) ** 2
                                    dose = share * _scattered(comes_from, widened, squared, own_spread)
                                else:
                                    fx, fy = across - i, beside - j
                                    low = inverse_distance[j, i] * (1 - fx) + inverse_distance[j, i + 1] * fx
                                    above = inverse_distance[j + 1, i] * (1 - fx) + inverse_distance[j + 1, i + 1] * fx
                                    inverse = low + fy * (above - low)
                                    dose = inverse * _comes_from(comes_from, widened * share / inverse)
                            else:
                                dose = count * share * _scattered(comes_from, widened, squared, spread)
                            dose *= profile[column]
                            scatter_sum += dose
                            values[n] = dose
                            from_electrons = 0.0
                            if near:
                                r, c = cell[column, 0], cell[column, 1]
                                if cells[0] <= r < cells[1] and cells[2] <= c < cells[3]:
                                    from_electrons = profile[column] * given[r, c]
                            elif cells[1] > cells[0]:
                                for other in range(start, end):
                                    r, c = cell[members[other], 0], cell[members[other], 1]
                                    if cells[0] <= r < cells[1] and cells[2] <= c < cells[3]:
                                        from_electrons += profile[members[other]] * given[r, c]
                            if gaussian[0] > 0.0:
                                tx, ty = gaussian[1] * cu + gaussian[2] * u, gaussian[1] * cv + gaussian[2] * v
                                side = np.sqrt(np.float64(count))
                                seen = exp_minus(exponentials, 0.5 * (tx * tx + ty * ty))
                                seen *= _within(tx, side * half_x, low_x, high_x) * _within(
                                    ty, side * half_y, low_y, high_y
                                )
                                from_electrons += level * gaussian[0] * count * seen
                            electron[n - begin] = from_electrons
                            electrons_sum += from_electrons
                            if with_surface:
                                squared = ((cu - u) ** 2 + (cv - v) ** 2) / (2.0 * contamination_sigma**2)
                                stray[n - begin] = count * exp_minus(exponentials, squared)
                                stray_sum += stray[n - begin]
                            n += 1
                        if whole:
                            break
                by_electrons, by_stray = 0.0, 0.0
                if electrons_sum > 0.0:
                    by_electrons = min(primary[beam, row] / electrons_sum, HIGHEST_FACTOR * released)
                if stray_sum > 0.0:
                    by_stray = surface[beam, row] / stray_sum
                rest = (
                    scatter[beam, row] + primary[beam, row] - by_electrons * electrons_sum
                    + surface[beam, row] - by_stray * stray_sum
                )  # fmt: skip
                by_scatter = rest / scatter_sum if scatter_sum > 0.0 else 0.0
                for m in range(begin, n):
                    value = by_scatter * values[m] + by_electrons * electron[m - begin]
                    if with_surface:
                        value += by_stray * stray[m - begin]
                    values[m] = value
