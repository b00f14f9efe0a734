"""Cutting a structure into cells, each with its dose and the part of it that is inside."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError
from tailort.geometry import Grid
from tailort.geometry.contours import PLANE_TOLERANCE_MM, oriented
from tailort.geometry.raster import add_coverage
from tailort.geometry.solid import (
    WIDE_GAP,
    EndCap,
    PartialVolume,
    build_solid,
    solid_partial_volume,
    solid_volume_cm3,
    surface_points,
)
from tailort.patient import Dose, Structure

Float = NDArray[np.float64]
Samples = NDArray[np.float32]
Whole = NDArray[np.int64]

# The pitch is the edge of a cube of 1/SAMPLES of the volume, within these limits, and never wider than the dose grid.
# What it costs in accuracy is measured in `tests/evaluation/test_nelms.py`.
SAMPLES = 60_000
FINEST_MM = 0.2
BOX = 8_000_000
# Of the points on the surface every second, third ... is left out where there would be more than this.
SURFACE_POINTS = 20_000
# A structure this large, on this many planes, is cut into the prisms of its planes (each half-way to the next) if that
# moves its volume by no more than this share: a prism's section is that in its middle, so what it adds below it misses
# above, and only the ends are left. Smaller ones are interpolated between planes.
PRISMS_ABOVE_CM3 = 25.0
PRISM_PLANES = 12
PRISM_ERROR = 1e-3
# Part of a dose voxel within which a point counts as on its outer face.
ON_FACE = 1e-4


@dataclass(frozen=True, eq=False)
class Sampled:
    """A structure as cells.

    Parameters
    ----------
    volume_cm3 : float
        Of the solid.
    doses_gy : (n,) float32
        In the middle of what is inside of every cell; not a number beyond the dose grid.
    spreads_gy : (n,) float32
        How far the dose goes up and down from there within the cell.
    parts : (n,) float32
        The part of each cell that is inside, 0 to 1.
    surface_gy : (m,) float32
        Doses on the surface.
    """

    volume_cm3: float
    doses_gy: Samples
    spreads_gy: Samples
    parts: Samples
    surface_gy: Samples


@dataclass(frozen=True, eq=False)
class Cells:
    """A structure cut into cells that suit a dose grid.

    Parameters
    ----------
    name : str
        Of the structure.
    volume_cm3 : float
        Of the solid.
    grid, lattice : Grid
        The dose grid, and the cells.
    inside : PartialVolume
        Part of each cell that is inside.
    surface_mm : (m, 3) float
        Points on the surface, LPS mm.
    """

    name: str
    volume_cm3: float
    grid: Grid
    lattice: Grid
    inside: PartialVolume
    surface_mm: Float

    def sample(self, dose: Dose) -> Sampled:
        """Read a dose on the grid in each cell."""
        self.grid.require_same_frame(dose.image.grid.frame_of_reference, f"the dose in '{self.name}'")
        doses, spreads, parts = _doses_of(dose, self.lattice, self.inside)
        if not parts.sum() > 0:
            raise GeometryError(f"structure '{self.name}' is too small to be sampled ({self.volume_cm3:.2g} cm3)")
        return Sampled(self.volume_cm3, doses, spreads, parts, _dose_at(dose, self.surface_mm))


def cut(structure: Structure, grid: Grid, end_cap: EndCap, single_slice_thickness_mm: float | None) -> Cells:
    """Cut a structure into cells for doses on a grid; see `tailort.evaluation.dvh.dvh`."""
    prisms = _prisms(structure) if end_cap == "half_slice" else None
    if prisms is not None:
        volume = prisms.volume_cm3
        lattice = _lattice(prisms.bounds_mm, grid, volume)
        cells = _prism_cells(prisms, lattice)
        surface = prisms.surface()
    else:
        try:
            solid = build_solid(structure.contours, end_cap, single_slice_thickness_mm)
        except GeometryError as error:
            raise GeometryError(f"structure '{structure.name}': {error}") from None
        volume = solid_volume_cm3(solid)
        if not volume > 0:
            raise GeometryError(f"structure '{structure.name}' has contours but no volume")
        lattice = _lattice(solid.bounds_mm(), grid, volume)
        cells = solid_partial_volume(solid, lattice)
        radius_mm = 10.0 * (0.75 * volume / np.pi) ** (1 / 3)
        apart_mm = float(np.clip(radius_mm / 6.0, 0.5, 3.0))
        surface = surface_points(structure.contours, end_cap, apart_mm, single_slice_thickness_mm)
    surface = surface[:: 1 + len(surface) // SURFACE_POINTS]
    return Cells(structure.name, volume, grid, lattice, cells, surface)


@dataclass(frozen=True, eq=False)
class _Prisms:
    """Sections of a structure, each from half-way to the plane below to half-way to the plane above."""

    points: Float  # (n, 2) of all polygons, plane by plane, outer ones and holes oriented
    edges: Float  # (n, 4)
    starts: Whole  # first edge of each plane, and the end
    planes_mm: Float
    spans_mm: Float  # (planes, 2)
    volume_cm3: float

    @property
    def bounds_mm(self) -> tuple[Float, Float]:
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        return np.array([*low, self.spans_mm[0, 0]]), np.array([*high, self.spans_mm[-1, 1]])

    def surface(self) -> Float:
        """The drawn points, those of the end planes also at the ends."""
        z = np.repeat(self.planes_mm, np.diff(self.starts))
        drawn = np.column_stack([self.points, z])
        bottom, top = drawn[: self.starts[1]].copy(), drawn[self.starts[-2] :].copy()
        bottom[:, 2], top[:, 2] = self.spans_mm[0, 0], self.spans_mm[-1, 1]
        return np.concatenate([drawn, bottom, top])


def _prisms(structure: Structure) -> _Prisms | None:
    """Prisms of a structure; None where they would not do."""
    heights = np.array([contour[0, 2] for contour in structure.contours])
    order = np.argsort(heights, kind="stable")
    new = np.concatenate([[True], np.diff(heights[order]) > PLANE_TOLERANCE_MM])
    planes = heights[order][new]
    gaps = np.diff(planes)
    if len(planes) < PRISM_PLANES or gaps.max() > WIDE_GAP * np.median(gaps):
        return None
    rings = [structure.contours[n][:, :2] for n in order]
    if len(planes) < len(rings):
        first = np.flatnonzero([*new, True])
        grouped = [rings[a:b] for a, b in itertools.pairwise(first)]
        rings = [ring for group in grouped for ring in (oriented(group) if len(group) > 1 else group)]
    sizes = np.array([len(ring) for ring in rings])
    points = np.concatenate(rings)
    ends = np.cumsum(sizes)
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = ends - sizes
    edges = np.hstack([points, points[following]])
    ring_starts = np.concatenate([[0], ends])
    starts = ring_starts[np.flatnonzero([*new, True])]
    areas = np.add.reduceat(0.5 * (edges[:, 0] * edges[:, 3] - edges[:, 2] * edges[:, 1]), starts[:-1])
    turned = np.repeat(areas < 0, np.diff(starts))
    edges[turned] = edges[turned][:, [2, 3, 0, 1]]
    areas = np.abs(areas)
    below, above = np.concatenate([gaps[:1], gaps]), np.concatenate([gaps, gaps[-1:]])
    spans = np.stack([planes - 0.5 * below, planes + 0.5 * above], axis=1)
    volume = float(areas @ np.diff(spans, axis=1)[:, 0])
    ends_error = abs((areas[-1] - areas[-2]) * gaps[-1] - (areas[1] - areas[0]) * gaps[0]) / 24.0
    if volume < 1000.0 * PRISMS_ABOVE_CM3 or ends_error > PRISM_ERROR * volume:
        return None
    return _Prisms(points, edges, starts, planes, spans, volume / 1000.0)


def _prism_cells(prisms: _Prisms, lattice: Grid) -> PartialVolume:
    (x_face, y_face, z_face), _ = lattice.faces_mm()
    dz, dy, dx = lattice.spacing_mm
    block = np.zeros(lattice.shape, dtype=np.float32)
    _fill(block, prisms.edges, prisms.starts, prisms.spans_mm, x_face, y_face, z_face, dx, dy, dz)
    return PartialVolume((0, 0, 0), block, lattice.shape)


@numba.njit(cache=True, nogil=True)
def _fill(
    block: Samples,
    edges: Float,
    starts: Whole,
    spans: Float,
    x_face: float,
    y_face: float,
    z_face: float,
    dx: float,
    dy: float,
    dz: float,
) -> None:  # pragma: no cover - compiled
    nk, nj, ni = block.shape
    for plane in range(len(spans)):
        own = edges[starts[plane] : starts[plane + 1]]
        low, high = (spans[plane, 0] - z_face) / dz, (spans[plane, 1] - z_face) / dz
        first, last = max(0, int(np.floor(low))), min(nk, int(np.ceil(high)))
        slices = np.arange(first, last)
        weights = np.empty(last - first)
        for n in range(last - first):
            weights[n] = max(0.0, min(high, first + n + 1.0) - max(low, float(first + n)))
        i0 = max(0, int((own[:, 0].min() - x_face) / dx))
        j0 = max(0, int((own[:, 1].min() - y_face) / dy))
        i1 = min(ni, int((own[:, 0].max() - x_face) / dx) + 1)
        j1 = min(nj, int((own[:, 1].max() - y_face) / dy) + 1)
        add_coverage(block, own, x_face, y_face, dx, dy, j0, i0, j1 - j0, i1 - i0, slices, weights)


def _lattice(bounds_mm: tuple[Float, Float], grid: Grid, volume: float) -> Grid:
    """Axial grid over the bounds; where the dose grid is axial, its voxels' centres are centres of cells."""
    low, high = bounds_mm
    pitch = max(FINEST_MM, (1000.0 * volume / SAMPLES) ** (1 / 3), float((high - low).prod() / BOX) ** (1 / 3))
    if grid.is_axial:
        voxel, anchor = np.array(grid.spacing_mm)[::-1], grid.origin_mm
    else:
        voxel, anchor = np.full(3, min(grid.spacing_mm)), low
    cell = voxel / np.maximum(1, np.round(voxel / pitch))
    first = np.floor((low - anchor) / cell).astype(int) - 1
    last = np.ceil((high - anchor) / cell).astype(int) + 1
    return Grid.axial((last - first + 1)[::-1], cell[::-1], anchor + first * cell, grid.frame_of_reference)


def _doses_of(dose: Dose, lattice: Grid, solid: PartialVolume) -> tuple[Samples, Samples, Samples]:
    """Dose in the middle of the inner part of every cell, its spread, and the part; see `Sampled`."""
    grid = dose.image.grid
    if not grid.is_axial:
        flat, parts = solid.indices()
        index = np.stack(np.unravel_index(flat, lattice.shape), axis=-1)
        doses = _dose_at(dose, lattice.to_world(index))
        return doses, np.zeros_like(doses), parts
    positions = []
    for axis, centres in enumerate(lattice.axes_mm()):
        first = solid.low[axis]
        mm = centres[first : first + solid.fractions.shape[axis]]
        index = np.round((mm - grid.origin_mm[2 - axis]) / grid.spacing_mm[axis], 9)
        inner = np.clip(index, -0.5, grid.shape[axis] - 0.5)
        positions.append(np.where(np.abs(index - inner) < ON_FACE, inner, index))
    steps = np.array(lattice.spacing_mm) / np.array(grid.spacing_mm)
    values = np.ascontiguousarray(dose.image.values, dtype=np.float32)
    fractions = np.ascontiguousarray(solid.fractions, dtype=np.float32)
    count = int(np.count_nonzero(fractions > 0))
    doses, parts = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    spreads = np.empty(count, dtype=np.float32)
    aligned = bool(np.allclose(steps, 1.0))
    _in_cells(doses, spreads, parts, values, fractions, positions[0], positions[1], positions[2], steps, aligned)
    return doses, spreads, parts


@numba.njit(cache=True, nogil=True)
def _in_cells(
    doses: Samples,
    spreads: Samples,
    parts: Samples,
    values: Samples,
    fractions: Samples,
    k_at: Float,
    j_at: Float,
    i_at: Float,
    steps: Float,
    aligned: bool,
) -> None:  # pragma: no cover - compiled
    nk, nj, ni = fractions.shape
    n = 0
    for k in range(nk):
        for j in range(nj):
            on_nodes = aligned and _is_node(k_at[k], values.shape[0]) and _is_node(j_at[j], values.shape[1])
            for i in range(ni):
                part = fractions[k, j, i]
                if part <= 0:
                    continue
                parts[n] = part
                if on_nodes and part >= 1 and _is_node(i_at[i], values.shape[2]):
                    # Whole voxels of a large structure: the nearest differences tell the spread well enough.
                    k0, j0, i0 = int(k_at[k]), int(j_at[j]), int(i_at[i])
                    gy = values[k0, j0, i0]
                    a = values[min(k0 + 1, values.shape[0] - 1), j0, i0] - gy
                    b = values[k0, min(j0 + 1, values.shape[1] - 1), i0] - gy
                    c = values[k0, j0, min(i0 + 1, values.shape[2] - 1)] - gy
                    doses[n] = gy
                    spread = 0.5 * np.sqrt(a * a + b * b + c * c)
                    # Beside a voxel of unknown dose there is no slope.
                    spreads[n] = 0.0 if np.isnan(spread) else spread
                    n += 1
                    continue
                at_k, at_j, at_i = k_at[k], j_at[j], i_at[i]
                wide_k, wide_j, wide_i = 0.5 * steps[0], 0.5 * steps[1], 0.5 * steps[2]
                if part < 1:
                    # A cell cut by a plane has the middle of its inner part (1 - part) / 2 of a cell further in.
                    gk = (fractions[k + 1, j, i] if k + 1 < nk else 0.0) - (fractions[k - 1, j, i] if k > 0 else 0.0)
                    gj = (fractions[k, j + 1, i] if j + 1 < nj else 0.0) - (fractions[k, j - 1, i] if j > 0 else 0.0)
                    gi = (fractions[k, j, i + 1] if i + 1 < ni else 0.0) - (fractions[k, j, i - 1] if i > 0 else 0.0)
                    length = np.sqrt(gk * gk + gj * gj + gi * gi)
                    if length > 1e-3:
                        cut = (1.0 - part) / length
                        at_k += gk * cut * wide_k
                        at_j += gj * cut * wide_j
                        at_i += gi * cut * wide_i
                        wide_k *= 1.0 - abs(gk) * cut
                        wide_j *= 1.0 - abs(gj) * cut
                        wide_i *= 1.0 - abs(gi) * cut
                gy, slope_k, slope_j, slope_i = _with_slopes(values, at_k, at_j, at_i)
                doses[n] = gy
                spreads[n] = np.sqrt((slope_k * wide_k) ** 2 + (slope_j * wide_j) ** 2 + (slope_i * wide_i) ** 2)
                n += 1


@numba.njit(cache=True, nogil=True, inline="always")
def _is_node(index: float, count: int) -> Any:
    return 0 <= index <= count - 1 and index == int(index)


@numba.njit(cache=True, nogil=True, inline="always")
def _with_slopes(values: Samples, k: float, j: float, i: float) -> Any:
    """Trilinear value at an index and its slopes along k, j, i, as `tailort.geometry.interpolate` has it."""
    nk, nj, ni = values.shape
    if not (-0.5 <= k <= nk - 0.5 and -0.5 <= j <= nj - 0.5 and -0.5 <= i <= ni - 0.5):
        return np.nan, 0.0, 0.0, 0.0
    k, j, i = min(max(k, 0.0), nk - 1.0), min(max(j, 0.0), nj - 1.0), min(max(i, 0.0), ni - 1.0)
    k0, j0, i0 = min(int(k), max(nk - 2, 0)), min(int(j), max(nj - 2, 0)), min(int(i), max(ni - 2, 0))
    k1, j1, i1 = min(k0 + 1, nk - 1), min(j0 + 1, nj - 1), min(i0 + 1, ni - 1)
    fk, fj, fi = k - k0, j - j0, i - i0
    a00, a01 = (
        values[k0, j0, i0] * (1 - fi) + values[k0, j0, i1] * fi,
        values[k0, j1, i0] * (1 - fi) + values[k0, j1, i1] * fi,
    )
    a10, a11 = (
        values[k1, j0, i0] * (1 - fi) + values[k1, j0, i1] * fi,
        values[k1, j1, i0] * (1 - fi) + values[k1, j1, i1] * fi,
    )
    b0, b1 = a00 * (1 - fj) + a01 * fj, a10 * (1 - fj) + a11 * fj
    slope_i = (
        (values[k0, j0, i1] - values[k0, j0, i0]) * (1 - fj) + (values[k0, j1, i1] - values[k0, j1, i0]) * fj
    ) * (1 - fk) + (
        (values[k1, j0, i1] - values[k1, j0, i0]) * (1 - fj) + (values[k1, j1, i1] - values[k1, j1, i0]) * fj
    ) * fk
    return b0 * (1 - fk) + b1 * fk, b1 - b0, (a01 - a00) * (1 - fk) + (a11 - a10) * fk, slope_i


def _dose_at(dose: Dose, points_mm: Float) -> Samples:
    """Dose at points (n, 3), LPS mm; no number beyond the outer faces of the dose grid."""
    grid = dose.image.grid
    index = grid.to_index(points_mm)
    inner = np.clip(index, -0.5, np.array(grid.shape) - 0.5)
    index = np.where(np.abs(index - inner) < ON_FACE, inner, index)
    doses: Samples = _at_indices(np.ascontiguousarray(dose.image.values, dtype=np.float32), index)
    return doses


@numba.njit(cache=True, nogil=True)
def _at_indices(values: Samples, index: Float) -> Any:  # pragma: no cover - compiled
    out = np.empty(len(index), dtype=np.float32)
    for n in range(len(index)):
        out[n] = _with_slopes(values, index[n, 0], index[n, 1], index[n, 2])[0]
    return out
