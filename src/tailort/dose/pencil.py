"""Photon dose by pencil kernels: fast enough for optimisation, not for judging plans in lung.

Dose at a point with fan coordinates (u, v, s) and radiological depth z, for a fluence F(u', v') in MU:

    D = c (SAD/s)^2 2 pi [ (A/a)(z) (F * K_alpha)(u, v) + (B/b)(z) (F * K_beta)(u, v) ]
    K_k(q) = k exp(-k q) / (2 pi q),   alpha = a(z) s/SAD,   beta = b(z) s/SAD,   F blurred by the source

with the kernel of `tailort.physics.pencil_kernel`; the integral of K over the plane is 1 for every k, so depth and
divergence only choose the member of one family of convolutions. c makes the reference conditions of the machine true.

What is assumed: water scaled by electron density along the ray and nowhere else (scatter and electrons do not see the
density beside the ray), flat primary fluence, no head scatter, no electron contamination. The build-up is that of the
kernel's fit (surface 39 % of the maximum, maximum at 16 mm for 6 MV): smooth, and not to be trusted before 15 mm.
Dose is that to water, in lung and bone too. Beyond 50 cm of water the kernel of 50 cm is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from tailort.dose.fan import Fan, voxel_centres_mm
from tailort.dose.fluence import Exposure, exposures, fluence
from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, PatientPosition, resample
from tailort.patient.dose import Dose
from tailort.patient.influence import Beamlets, Influence
from tailort.patient.plan import Beam, BeamSetup, ControlPoint, Plan
from tailort.physics.machine import Machine
from tailort.physics.materials import relative_electron_density
from tailort.physics.pencil_kernel import MAX_DEPTH_CM, pencil_kernel

Float = NDArray[np.float64]
Progress = Callable[[float], None]

NAME = "pencil-nyholm"
LABEL = "pencil kernel, not for judging plans in lung"

# Without an outline the patient is what is denser than this in each slice, holes filled.
BODY_DENSITY_G_CM3 = 0.3
# Pixels of the fluence for the short primary and for the wide scatter term, mm.
PRIMARY_PIXEL_MM, SCATTER_PIXEL_MM = 1.0, 2.5
# Half the side of the square on which the convolutions are periodic, beyond the largest field, mm.
PRIMARY_MARGIN_MM, SCATTER_MARGIN_MM = 50.0, 400.0
# Ratio of neighbouring members of the family of kernels between which is interpolated.
PRIMARY_RATIO, SCATTER_RATIO = 1.1, 1.15
# Step of the depth table, cm.
DEPTH_STEP_CM = 0.05
# Beamlets farther than NEAR_MM from a voxel share entries with the others of a block of about BLOCK_MM.
NEAR_MM, BLOCK_MM = 25.0, 15.0


def compute(
    plan: Plan,
    density: Image,
    machine: Machine,
    grid: Grid,
    *,
    body: NDArray[Any] | None = None,
    progress: Progress | None = None,
) -> Dose:
    """Physical dose of one fraction of a deliverable plan.

    Parameters
    ----------
    plan : Plan
        Static, step-and-shoot or dynamic beams.
    density : Image
        Mass density of the patient, g/cm3.
    machine : Machine
        The beam; must be of the energy of the plan's beams.
    grid : Grid
        Dose grid.
    body : (k, j, i) array, optional
        The patient's outline on the dose grid (mask or partial volumes); voxels above 0 get a dose, the others 0.
        Without it, what is denser than `BODY_DENSITY_G_CM3`, with its holes filled slice by slice.
    progress : callable, optional
        Called with the finished share, 0 to 1.

    Returns
    -------
    Dose
        Gy per fraction, physical.

    Raises
    ------
    InputError
        When the plan's beams are not of this machine's kind.
    GeometryError
        When frames of reference or shapes differ.
    """
    _check(plan, density, machine, grid)
    inside = _body(density, grid) if body is None else _mask(body, grid)
    voxels = np.flatnonzero(inside).astype(np.uint32)
    points = voxel_centres_mm(grid.affine, grid.shape, voxels)
    electrons = relative_electron_density(density)
    total = np.zeros(len(voxels))
    parts = [(beam, exposure) for beam in plan.beams for exposure in exposures(beam)]
    for n, (beam, exposure) in enumerate(parts):
        fan = Fan.of(exposure.setup, plan.patient_position, machine.source_axis_distance_mm)
        coordinates = fan.coordinates(points)
        depth = fan.radiological_depth_cm(electrons, coordinates)
        _add_exposure(total, coordinates, depth, exposure, beam, machine, _scale(machine))
        if progress is not None:
            progress((n + 1) / len(parts))
    values = np.zeros(grid.shape, dtype=np.float32)
    values.reshape(-1)[voxels] = total
    return Dose(Image(grid, values, "Gy"), "physical", "fraction", plan.fractions, None, NAME, plan.sop_instance_uid)


def influence(
    density: Image,
    beamlets: Beamlets,
    machine: Machine,
    grid: Grid,
    voxels: NDArray[Any],
    *,
    position: PatientPosition,
    near_mm: float = NEAR_MM,
    progress: Progress | None = None,
) -> Influence:
    """Dose of each beamlet, as an open field of its own, in chosen voxels.

    No scatter is cut off. Within `near_mm` each beamlet has its own entry. Beamlets farther away are taken together
    in blocks of about `BLOCK_MM`: the block's whole dose stands in one entry, whose column is one of the block's
    beamlets, drawn anew by a hash of voxel and block. A row's sum is therefore that of all beamlets, each column's
    expectation is its own mean dose, and fluence that varies within a block shows as a noise of about a thousandth.

    Parameters
    ----------
    density : Image
        Mass density of the patient, g/cm3.
    beamlets : Beamlets
        Any positions; all of one size.
    machine : Machine
        The beam. Transmission through leaves and jaws belongs to a plan, not to a beamlet, and is not included.
    grid : Grid
        Dose grid.
    voxels : (rows,) int
        Flat (C order) indices into the grid of the voxels that are wanted; memory grows with their number.
    position : str
        HFS, HFP, FFS or FFP.
    near_mm : float
        Distance at the isocentre plane, mm; at least 20, where the primary dose has died away.
    progress : callable, optional
        Called with the finished share, 0 to 1.

    Returns
    -------
    Influence
        Gy per fraction per MU.

    Raises
    ------
    InputError
        When `near_mm` is too small or a voxel is not in the grid.
    GeometryError
        When frames of reference differ.
    """
    grid.require_same_frame(density.grid.frame_of_reference, "the density image")
    if near_mm < 20.0:
        raise InputError(f"near_mm of {near_mm:g} would cut the primary dose; give at least 20 mm")
    rows = np.ascontiguousarray(voxels, dtype=np.uint32)
    if rows.size and int(rows.max()) >= grid.size:
        raise InputError(f"voxel {int(rows.max())} is not in a dose grid of {grid.size} voxels")
    points = voxel_centres_mm(grid.affine, grid.shape, rows)
    electrons = relative_electron_density(density)
    places = np.empty((len(beamlets.setups), len(rows), 4), dtype=np.float32)
    for n, setup in enumerate(beamlets.setups):
        fan = Fan.of(setup, position, machine.source_axis_distance_mm)
        coordinates = fan.coordinates(points)
        places[n, :, :3] = coordinates
        places[n, :, 3] = fan.radiological_depth_cm(electrons, coordinates)
        if progress is not None:
            progress(0.5 * (n + 1) / len(beamlets.setups))
    blocks = _blocks(beamlets, machine)
    starts = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(_count(places, blocks.of_beam, blocks.centres, blocks.first, near_mm**2), out=starts[1:])
    tables = _beamlet_tables(beamlets, machine, places, near_mm + BLOCK_MM)
    values, columns = _fill(
        places,
        rows,
        starts,
        blocks.of_beam,
        blocks.centres,
        blocks.first,
        blocks.members,
        blocks.spread,
        beamlets.x_mm.astype(np.float64),
        beamlets.y_mm.astype(np.float64),
        beamlets.width_x_mm * beamlets.width_y_mm,
        near_mm**2,
        _depth_table(machine),
        tables.primary,
        tables.first_log,
        tables.log_step,
        tables.inverse_distance,
        tables.step,
        machine.source_axis_distance_mm,
        _scale(machine),
        _EXPONENTIALS,
    )
    if progress is not None:
        progress(1.0)
    return Influence(values, columns, starts, grid, rows, beamlets, NAME)


def _check(plan: Plan, density: Image, machine: Machine, grid: Grid) -> None:
    grid.require_same_frame(density.grid.frame_of_reference, "the density image")
    grid.require_same_frame(plan.frame_of_reference, f"plan '{plan.label}'")
    for beam in plan.beams:
        if abs(beam.energy_mv - machine.energy_mv) > 0.5 or beam.flattened != machine.flattened:
            kinds = [
                f"{kind.energy_mv:g} MV {'flattened' if kind.flattened else 'flattening-filter-free'}"
                for kind in (beam, machine)
            ]
            raise InputError(
                f"beam '{beam.name}' is {kinds[0]}, machine '{machine.id}' {kinds[1]}: choose a machine of that beam"
            )
        if abs(beam.source_axis_distance_mm - machine.source_axis_distance_mm) > 0.5:
            raise InputError(
                f"beam '{beam.name}' has a source-axis distance of {beam.source_axis_distance_mm:g} mm, machine "
                f"'{machine.id}' one of {machine.source_axis_distance_mm:g} mm: choose another machine"
            )


def _mask(body: NDArray[Any], grid: Grid) -> NDArray[np.bool_]:
    if body.shape != grid.shape:
        raise GeometryError(f"an outline of shape {body.shape} does not fit a dose grid of shape {grid.shape}")
    return np.asarray(body > 0)


def _body(density: Image, grid: Grid) -> NDArray[np.bool_]:
    dense = resample(density, grid, 0.0).values > BODY_DENSITY_G_CM3
    return np.stack([ndimage.binary_fill_holes(plane) for plane in dense]).astype(np.bool_)


# The full dose: convolutions on a lattice for some members of the family, interpolated at each voxel.


def _add_exposure(
    total: Float,
    coordinates: Float,
    depth: NDArray[np.float32],
    exposure: Exposure,
    beam: Beam,
    machine: Machine,
    scale: float,
) -> None:
    """Add the dose of one direction to `total`, Gy."""
    if not len(total):
        return
    table = _depth_table(machine)
    sad = machine.source_axis_distance_mm
    primary = _Lattice.around(machine, PRIMARY_MARGIN_MM, PRIMARY_PIXEL_MM)
    scatter = _Lattice.around(machine, SCATTER_MARGIN_MM, SCATTER_PIXEL_MM)
    ranges = _slope_ranges(coordinates[:, 2], depth, table, sad)
    of_primary = _family(ranges[0], PRIMARY_RATIO)
    of_scatter = _family(ranges[1], SCATTER_RATIO)
    blur = machine.penumbra_sigma_mm
    _gather(
        total,
        coordinates,
        depth,
        table,
        sad,
        scale,
        primary.convolve(fluence(exposure, beam, machine, primary.edges, primary.edges), of_primary, blur),
        primary.edges[0] + 0.5 * primary.pixel_mm,
        primary.pixel_mm,
        np.log(of_primary),
        scatter.convolve(fluence(exposure, beam, machine, scatter.edges, scatter.edges), of_scatter, blur),
        scatter.edges[0] + 0.5 * scatter.pixel_mm,
        scatter.pixel_mm,
        np.log(of_scatter),
    )


@dataclass(frozen=True, eq=False)
class _Lattice:
    """Square pixels of the isocentre plane, periodic at its border."""

    edges: Float
    pixel_mm: float

    @classmethod
    def around(cls, machine: Machine, margin_mm: float, pixel_mm: float) -> _Lattice:
        half = fft.next_fast_len(int(np.ceil((machine.jaw_limit_mm + margin_mm) / pixel_mm)), real=True)
        return cls(np.arange(-half, half + 1) * pixel_mm, pixel_mm)

    def convolve(self, pixels: Float, slopes_per_mm: Float, blur_mm: float) -> NDArray[np.float32]:
        """Pixels of even fluence, blurred by a Gaussian and convolved with K of each slope: (slopes, y, x)."""
        size = len(self.edges) - 1
        along_x = 2 * np.pi * fft.rfftfreq(size, self.pixel_mm)
        along_y = 2 * np.pi * fft.fftfreq(size, self.pixel_mm)
        blurred = fft.rfft2(pixels, workers=-1)
        for frequency, shape in ((along_x, (1, -1)), (along_y, (-1, 1))):
            pixel = np.sinc(frequency * self.pixel_mm / (2 * np.pi))
            blurred *= (pixel * np.exp(-0.5 * (frequency * blur_mm) ** 2)).reshape(shape)
        squared = along_y[:, None] ** 2 + along_x[None, :] ** 2
        out = np.empty((len(slopes_per_mm), size, size), dtype=np.float32)
        for n, slope in enumerate(slopes_per_mm):
            # The Hankel transform of exp(-k q)/q is 1/sqrt(k^2 + f^2).
            out[n] = fft.irfft2(blurred * (slope / np.sqrt(slope**2 + squared)), s=(size, size), workers=-1)
        return out


def _family(limits: Float, ratio: float) -> Float:
    """Slopes from the lowest to the highest, neighbours at most `ratio` apart and at least two."""
    count = max(2, int(np.ceil(np.log(limits[1] / limits[0]) / np.log(ratio))) + 1)
    return np.geomspace(limits[0], max(limits[1], limits[0] * 1.0001), count)


@cache
def _depth_table(machine: Machine) -> Float:
    """2 pi A/a (cm2/g), a (1/mm), 2 pi B/b and b every `DEPTH_STEP_CM`: (4, n)."""
    depth = np.arange(0.0, MAX_DEPTH_CM + 0.5 * DEPTH_STEP_CM, DEPTH_STEP_CM)
    kernel = pencil_kernel(machine.tpr20_10)
    (big_a, a), (big_b, b) = kernel.primary(depth), kernel.scatter(depth)
    return np.stack([2 * np.pi * big_a, a / 10, 2 * np.pi * big_b, b / 10])


@cache
def _scale(machine: Machine) -> float:
    """Gy per unit of kernel dose and MU, from the machine's reference conditions."""
    half = machine.reference_field_mm / 2
    point = ControlPoint(0.0, 0.0, 0.0, 0.0, (-half, half), (-half, half), None)
    points = (point, replace(point, mu=1.0))
    beam = Beam("", 1, machine.id, machine.energy_mv, machine.flattened, (0.0, 0.0, 0.0), (), points)
    exposure = Exposure(BeamSetup("", 1, (0.0, 0.0, 0.0), 0.0), ((1.0, point),))
    at = np.array([[0.0, 0.0, machine.source_axis_distance_mm]])
    depth = np.array([machine.reference_depth_mm / 10], dtype=np.float32)
    total = np.zeros(1)
    _add_exposure(total, at, depth, exposure, beam, machine, 1.0)
    return machine.reference_dose_gy_per_mu / float(total[0])


@numba.njit(cache=True, inline="always")
def _at_depth(table: Float, row: int, depth_cm: float) -> float:  # pragma: no cover - compiled
    place = min(max(depth_cm / DEPTH_STEP_CM, 0.0), table.shape[1] - 1.0)
    n = min(int(place), table.shape[1] - 2)
    return table[row, n] + (place - n) * (table[row, n + 1] - table[row, n])


@numba.njit(cache=True)
def _slope_ranges(
    s: Float, depth: NDArray[np.float32], table: Float, sad: float
) -> Float:  # pragma: no cover - compiled
    """Lowest and highest slope in the isocentre plane, 1/mm, of the primary (row 0) and the scatter term (row 1)."""
    out = np.empty((2, 2))
    for term in range(2):
        low, high = 1e30, 0.0
        for n in range(s.size):
            slope = _at_depth(table, 1 + 2 * term, depth[n]) * s[n] / sad
            low, high = min(low, slope), max(high, slope)
        out[term, 0], out[term, 1] = low, high
    return out


@numba.njit(cache=True, inline="always")
def _between_maps(
    maps: NDArray[np.float32], logs: Float, slope: float, x: float, y: float
) -> float:  # pragma: no cover - compiled
    levels, rows, columns = maps.shape
    if not (0.0 <= x <= columns - 1.0 and 0.0 <= y <= rows - 1.0):
        return 0.0
    place = min(max((np.log(slope) - logs[0]) / (logs[1] - logs[0]), 0.0), levels - 1.0)
    m = min(int(place), levels - 2)
    i, j = min(int(x), columns - 2), min(int(y), rows - 2)
    fm, fx, fy = place - m, x - i, y - j
    low = (maps[m, j, i] * (1 - fx) + maps[m, j, i + 1] * fx) * (1 - fy) + (
        maps[m, j + 1, i] * (1 - fx) + maps[m, j + 1, i + 1] * fx
    ) * fy
    high = (maps[m + 1, j, i] * (1 - fx) + maps[m + 1, j, i + 1] * fx) * (1 - fy) + (
        maps[m + 1, j + 1, i] * (1 - fx) + maps[m + 1, j + 1, i + 1] * fx
    ) * fy
    return low * (1 - fm) + high * fm


@numba.njit(cache=True, parallel=True)
def _gather(
    total: Float,
    fan: Float,
    depth: NDArray[np.float32],
    table: Float,
    sad: float,
    scale: float,
    primary: NDArray[np.float32],
    primary_start: float,
    primary_pixel: float,
    primary_logs: Float,
    scatter: NDArray[np.float32],
    scatter_start: float,
    scatter_pixel: float,
    scatter_logs: Float,
) -> None:  # pragma: no cover - compiled
    for n in numba.prange(total.size):
        u, v, s = fan[n, 0], fan[n, 1], fan[n, 2]
        z = depth[n]
        short = _between_maps(
            primary,
            primary_logs,
            _at_depth(table, 1, z) * s / sad,
            (u - primary_start) / primary_pixel,
            (v - primary_start) / primary_pixel,
        )
        wide = _between_maps(
            scatter,
            scatter_logs,
            _at_depth(table, 3, z) * s / sad,
            (u - scatter_start) / scatter_pixel,
            (v - scatter_start) / scatter_pixel,
        )
        dose = _at_depth(table, 0, z) * short + _at_depth(table, 2, z) * wide
        # Rounding of the transforms leaves about 1e-8 of either sign far outside the field.
        total[n] += scale * (sad / s) ** 2 * max(dose, 0.0)


# The influence matrix: beamlets one by one near the voxel, blocks of them farther away.


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Neighbouring beamlets taken together.

    `of_beam` (beams + 1) and `first` (blocks + 1) are where each beam's blocks and each block's `members` start;
    `centres` (blocks, 2) are the members' mean u, v; `spread` (blocks) half the variance of the block's fluence in
    one direction, mm2.
    """

    of_beam: NDArray[np.int64]
    centres: Float
    first: NDArray[np.int64]
    members: NDArray[np.uint32]
    spread: Float


def _blocks(beamlets: Beamlets, machine: Machine) -> _Blocks:
    beam = np.asarray(beamlets.beam, dtype=np.int64)
    keys = [beam]
    for place, width in ((beamlets.x_mm, beamlets.width_x_mm), (beamlets.y_mm, beamlets.width_y_mm)):
        side = max(1, round(BLOCK_MM / width)) * width
        lowest = np.full(len(beamlets.setups), np.inf)
        np.minimum.at(lowest, beam, place)
        keys.append(np.floor((place - lowest[beam]) / side + 1e-6).astype(np.int64))
    order = np.lexsort(keys[::-1])
    sorted_keys = np.stack(keys, axis=1)[order]
    new = np.any(np.diff(sorted_keys, axis=0, prepend=-1) != 0, axis=1)
    first = np.append(np.flatnonzero(new), len(order))
    block = np.cumsum(new) - 1
    count = np.diff(first)
    centres = np.empty((len(count), 2))
    own = (beamlets.width_x_mm**2 + beamlets.width_y_mm**2) / 12 + 2 * machine.penumbra_sigma_mm**2
    variance = np.full(len(count), own)
    for axis, place in enumerate((beamlets.x_mm[order], beamlets.y_mm[order])):
        centres[:, axis] = np.bincount(block, place, len(count)) / count
        variance += np.bincount(block, (place - centres[block, axis]) ** 2, len(count)) / count
    of_beam = np.searchsorted(beam[order][first[:-1]], np.arange(len(beamlets.setups) + 1))
    # Half the variance along one axis: the mean of f over the block is f + spread times its Laplacian.
    return _Blocks(of_beam.astype(np.int64), centres, first.astype(np.int64), order.astype(np.uint32), variance / 4)


@dataclass(frozen=True, eq=False)
class _BeamletTables:
    """One beamlet's share of the convolutions against the distance from its centre, every `step` mm (x, y)."""

    primary: NDArray[np.float32]
    first_log: float
    log_step: float
    inverse_distance: NDArray[np.float32]
    step: Float


def _beamlet_tables(
    beamlets: Beamlets, machine: Machine, places: NDArray[np.float32], reach_mm: float
) -> _BeamletTables:
    table = _depth_table(machine)
    widths = np.array([beamlets.width_x_mm, beamlets.width_y_mm])
    step = widths / np.ceil(widths / 0.6)
    size = np.ceil(reach_mm / step).astype(int) + 2
    limits = np.array([1e30, 0.0])
    for beam in places:
        if len(beam):
            low, high = _slope_ranges(
                beam[:, 2].astype(np.float64), beam[:, 3], table, machine.source_axis_distance_mm
            )[0]
            limits = np.array([min(limits[0], low), max(limits[1], high)])
    if limits[1] == 0.0:
        limits = np.array([0.4, 0.5])
    slopes = _family(limits, 1.01)
    primary = _beamlet_primary(widths, step, size, slopes, machine.penumbra_sigma_mm)
    inverse = _beamlet_inverse_distance(widths, step, size, machine.penumbra_sigma_mm)
    logs = np.log(slopes)
    return _BeamletTables(primary, float(logs[0]), float(logs[1] - logs[0]), inverse, step)


def _beamlet_primary(
    widths: Float, step: Float, size: NDArray[np.int64], slopes: Float, blur_mm: float
) -> NDArray[np.float32]:
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


def _beamlet_inverse_distance(
    widths: Float, step: Float, size: NDArray[np.int64], blur_mm: float
) -> NDArray[np.float32]:
    """Integral of 1/(2 pi q) over the rectangle, blurred, at multiples of `step`: (y, x), mm."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    weights = weights / weights.sum()
    x = np.arange(size[0])[:, None] * step[0] + blur_mm * nodes
    y = np.arange(size[1])[:, None] * step[1] + blur_mm * nodes

    def corner(a: Float, b: Float) -> Float:
        distance = np.hypot(a, b)
        value: Float = a * np.arcsinh(b / np.abs(a)) + b * np.arcsinh(a / np.abs(b))
        return np.where(distance > 0, value, 0.0)

    out = np.empty((size[1], size[0]), dtype=np.float32)
    half = widths / 2
    for row in range(size[1]):
        # (x, node of x, node of y)
        a, b = x[:, :, None], y[row][None, None, :]
        with np.errstate(divide="ignore", invalid="ignore"):
            integral = (
                corner(a + half[0], b + half[1])
                - corner(a - half[0], b + half[1])
                - corner(a + half[0], b - half[1])
                + corner(a - half[0], b - half[1])
            )
        out[row] = np.einsum("xab,a,b->x", integral, weights, weights) / (2 * np.pi)
    return out


_EXPONENTIAL_STEPS = 64
_EXPONENTIALS = np.exp(-np.arange(40 * _EXPONENTIAL_STEPS + 1) / _EXPONENTIAL_STEPS)


@numba.njit(cache=True, inline="always")
def _exp_minus(exponentials: Float, x: float) -> float:  # pragma: no cover - compiled
    """exp(-x) for x >= 0 to 1e-6, four times as fast as the library's; 0 beyond 40."""
    n = int(x * _EXPONENTIAL_STEPS)
    if n >= exponentials.size:
        return 0.0
    rest = x - n / _EXPONENTIAL_STEPS
    return exponentials[n] * (1.0 - rest * (1.0 - 0.5 * rest))


@numba.njit(cache=True, parallel=True)
def _count(
    places: NDArray[np.float32], of_beam: NDArray[np.int64], centres: Float, first: NDArray[np.int64], near2: float
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    out = np.zeros(places.shape[1], dtype=np.int64)
    for row in numba.prange(places.shape[1]):
        entries = 0
        for beam in range(places.shape[0]):
            u, v = places[beam, row, 0], places[beam, row, 1]
            for block in range(of_beam[beam], of_beam[beam + 1]):
                far = (centres[block, 0] - u) ** 2 + (centres[block, 1] - v) ** 2 > near2
                entries += 1 if far else first[block + 1] - first[block]
        out[row] = entries
    return out


@numba.njit(cache=True, parallel=True)
def _fill(
    places: NDArray[np.float32],
    voxels: NDArray[np.uint32],
    starts: NDArray[np.int64],
    of_beam: NDArray[np.int64],
    centres: Float,
    first: NDArray[np.int64],
    members: NDArray[np.uint32],
    spread: Float,
    x: Float,
    y: Float,
    area: float,
    near2: float,
    table: Float,
    primary: NDArray[np.float32],
    first_log: float,
    log_step: float,
    inverse_distance: NDArray[np.float32],
    step: Float,
    sad: float,
    scale: float,
    exponentials: Float,
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:  # pragma: no cover - compiled
    values = np.empty(starts[-1], dtype=np.float32)
    columns = np.empty(starts[-1], dtype=np.uint32)
    share = area / (2 * np.pi)
    per_x, per_y = 1.0 / step[0], 1.0 / step[1]
    for row in numba.prange(places.shape[1]):
        n = starts[row]
        for beam in range(places.shape[0]):
            u, v, s = float(places[beam, row, 0]), float(places[beam, row, 1]), float(places[beam, row, 2])
            z = float(places[beam, row, 3])
            unit = scale * (sad / s) ** 2
            short = unit * _at_depth(table, 0, z)
            slope = _at_depth(table, 3, z) * s / sad
            wide = unit * _at_depth(table, 2, z) * slope
            level = round((np.log(_at_depth(table, 1, z) * s / sad) - first_log) / log_step)
            of_level = primary[min(max(level, 0), primary.shape[0] - 1)]
            for block in range(of_beam[beam], of_beam[beam + 1]):
                start, end = first[block], first[block + 1]
                distance2 = (centres[block, 0] - u) ** 2 + (centres[block, 1] - v) ** 2
                if distance2 > near2:
                    # 1/q and exp(-k q)/q averaged over the block: the mean of 1/q is 1/q + spread/q^3.
                    inverse = 1.0 / np.sqrt(distance2)
                    inverse *= 1.0 + spread[block] * inverse * inverse
                    count = end - start
                    values[n] = wide * count * share * inverse * _exp_minus(exponentials, slope / inverse)
                    columns[n] = members[start + _drawn(voxels[row], block) % count]
                    n += 1
                else:
                    for member in range(start, end):
                        column = members[member]
                        across, along = abs(x[column] - u) * per_x, abs(y[column] - v) * per_y
                        i, j = int(across), int(along)
                        fx, fy = across - i, along - j
                        a, b = (1 - fx) * (1 - fy), fx * (1 - fy)
                        c, d = (1 - fx) * fy, fx * fy
                        near = (
                            a * of_level[j, i]
                            + b * of_level[j, i + 1]
                            + c * of_level[j + 1, i]
                            + d * of_level[j + 1, i + 1]
                        )
                        inverse = (
                            a * inverse_distance[j, i]
                            + b * inverse_distance[j, i + 1]
                            + c * inverse_distance[j + 1, i]
                            + d * inverse_distance[j + 1, i + 1]
                        )
                        # exp(-k q) at the mean distance of the beamlet's scatter, which is share / inverse.
                        values[n] = short * near + wide * inverse * _exp_minus(exponentials, slope * share / inverse)
                        columns[n] = column
                        n += 1
    return values, columns


@numba.njit(cache=True, inline="always")
def _drawn(voxel: int, block: int) -> int:  # pragma: no cover - compiled
    """Well mixed number from voxel and block, the same in every run."""
    mixed = np.uint64(voxel) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(block) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed >> np.uint64(33))
