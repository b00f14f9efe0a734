"""Energy that a beam's photons release in each voxel (TERMA)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.dose.fan import Fan
from tailort.geometry import Grid, Image
from tailort.physics.machine import Machine
from tailort.physics.point_kernel import DEPTH_STEP_CM, FIRST_DEPTH_CM, PointKernel

Float = NDArray[np.float64]
Values = NDArray[np.float32]
# Pixel edges along x and y (mm, isocentre plane) to the mean energy fluence (ny, nx) of each pixel and to what the
# contaminating electrons follow.
FluenceMap = Callable[[Float, Float], tuple[Float, Float]]

# Distance of neighbouring rays in the isocentre plane and of samples along them, mm.
RAY_PITCH_MM = 2.5
# Pixel of the fluence map, mm.
PIXEL_MM = 1.0
# The map reaches beyond the largest field by this, mm.
BEYOND_FIELD_MM = 20.0
# Fluence below this share of the highest is not traced.
LEAST_FLUENCE = 2e-4
# Rings of the isocentre plane for which the hardness of the beam is tabulated, mm.
HARDNESS_STEP_MM = 10.0


def add_terma(
    soft: Values,
    hard: Values,
    flow: Values,
    surface: Values,
    grid: Grid,
    field: Field,
    electrons: Image,
    kernel: PointKernel,
    machine: Machine,
) -> Float:
    """Add the TERMA, and the dose of contaminating electrons, of one direction of a beam.

    The fluence is averaged over each voxel's width, exactly for what the map tells; the radiological depth is traced
    exactly through the voxels of `electrons` along rays `RAY_PITCH_MM` apart and interpolated between them.

    Parameters
    ----------
    soft, hard : (k, j, i) float32
        TERMA that spreads by the open and by the hardened kernel, added to in place, cm2/g times the unit of the
        fluence.
    flow : (3, k, j, i) float32
        The whole TERMA times the photons' direction, LPS, added to in place.
    surface : (k, j, i) float32
        Dose of the contaminating electrons, added to in place, the same unit.
    grid : Grid
        Of `soft`, `hard` and `surface`.
    field : Field
        What comes from that direction.
    electrons : Image
        Electron density relative to water.
    kernel : PointKernel
        Of the machine's spectrum.
    machine : Machine
        Tells the contamination.

    Returns
    -------
    (3,) float
        Mean direction of the photons weighted by the TERMA, LPS; its length is the sum of the TERMA.
    """
    seen = Incident.on(grid, field)
    if seen is None:
        return np.zeros(3)
    fan = field.fan
    depths = fan.depths_cm(electrons, seen.first, seen.count, RAY_PITCH_MM)
    sums = np.zeros((grid.shape[0], 3))
    _add(
        soft, hard, flow, grid.affine, fan.source_mm, fan.axes, fan.source_axis_distance_mm, field.summed, field.start,
        PIXEL_MM, seen.half, depths, seen.first, RAY_PITCH_MM, field.shift, HARDNESS_STEP_MM, kernel.terma,
        kernel.hardness, kernel.fluence, FIRST_DEPTH_CM, DEPTH_STEP_CM, surface, field.stray,
        machine.head.contamination_cm2_g, machine.head.contamination_per_cm, sums,
    )  # fmt: skip
    total: Float = sums.sum(axis=0)
    return total


@dataclass(frozen=True, eq=False)
class Field:
    """What comes down from one direction, in the isocentre plane, cut to where there is some.

    Parameters
    ----------
    fan : Fan
        Source and axes.
    summed : (ny + 1, nx + 1) float
        Energy fluence summed over all pixels before, times a pixel's area.
    stray : (ny, nx) float
        What the contaminating electrons follow.
    start : (2,) float
        Edge of the first pixel along x and y, mm.
    shift : (n,) float
        Water path by which the beam is softer in rings of `HARDNESS_STEP_MM`, cm.
    """

    fan: Fan
    summed: Float
    stray: Float
    start: Float
    shift: Float

    @classmethod
    def of(cls, fan: Fan, fluence: FluenceMap, kernel: PointKernel, machine: Machine) -> Field | None:
        """What comes from a direction; None when nothing does.

        Parameters
        ----------
        fan : Fan
            Source and axes.
        fluence : callable
            Mean energy fluence of pixels of the isocentre plane, relative to the open beam's on its axis.
        kernel : PointKernel
            Of the machine's spectrum.
        machine : Machine
            Tells the largest field and the hardness off the axis.
        """
        half_field = np.ceil(machine.jaw_limit_mm) + BEYOND_FIELD_MM
        x = np.arange(-half_field, half_field + PIXEL_MM / 2, PIXEL_MM)
        y = x
        field, stray = fluence(x, y)
        columns, rows = (np.flatnonzero((field > LEAST_FLUENCE * field.max()).any(axis=n)) for n in (0, 1))
        if field.max() <= 0 or not len(columns):
            return None
        part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        field, stray = field[part], np.ascontiguousarray(stray[part])
        start = np.array([x[columns[0]], y[rows[0]]])
        summed = np.zeros((field.shape[0] + 1, field.shape[1] + 1))
        summed[1:, 1:] = field.cumsum(axis=0).cumsum(axis=1) * PIXEL_MM**2
        farthest = float(np.hypot(*np.maximum(np.abs(start), np.abs(start + PIXEL_MM * np.array(field.shape[::-1])))))
        rings = np.arange(0.0, farthest + HARDNESS_STEP_MM, HARDNESS_STEP_MM)
        shift = np.append(kernel.softening_shift_cm(machine.hardness(rings)), 0.0)
        shift[-1] = shift[-2]
        return cls(fan, summed, stray, start, shift)


@dataclass(frozen=True, eq=False)
class Incident:
    """How a grid sees a field: the width of its voxels, and the nodes at which depths are needed.

    Parameters
    ----------
    half : (2,) float
        Half the width of a voxel as seen along x and y, mm.
    first : (3,) float
        u, v, s of the first node, mm.
    count : (3,) int
        Nodes along u, v, s.
    """

    half: Float
    first: Float
    count: NDArray[np.int64]

    @classmethod
    def on(cls, grid: Grid, field: Field) -> Incident | None:
        """The field as seen on a grid; None when nothing of it meets the grid."""
        # Half the width of a voxel as seen along the two axes: of the same variance as its projection.
        spacing = np.array(grid.spacing_mm)
        turned = grid.affine[:3, :3] / spacing
        half = np.array([0.5 * float(np.sqrt(np.sum((field.fan.axes[n] @ turned * spacing) ** 2))) for n in (0, 1)])
        low = np.append(field.start, 0.0)
        high = low + PIXEL_MM * np.append(field.stray.shape[::-1], 0.0)
        nodes = _nodes(grid, field.fan, low, high, half)
        return None if nodes is None else cls(half, *nodes)


def _nodes(grid: Grid, fan: Fan, low: Float, high: Float, half: Float) -> tuple[Float, NDArray[np.int64]] | None:
    """First node (u, v, s), mm, and count of the fan that covers the field within the grid."""
    corners = grid.to_world(
        [(k, j, i) for k in (0, grid.shape[0] - 1) for j in (0, grid.shape[1] - 1) for i in (0, grid.shape[2] - 1)]
    )
    seen = fan.coordinates(corners)
    wide = np.array([*(2 * h for h in half), 0.0])
    from_ = np.maximum(low - wide, seen.min(axis=0))
    to = np.minimum(high + wide, seen.max(axis=0))
    from_[2], to[2] = seen[:, 2].min(), seen[:, 2].max()
    if (from_ > to).any():
        return None
    first = np.floor(from_ / RAY_PITCH_MM) * RAY_PITCH_MM
    count = np.ceil((to - first) / RAY_PITCH_MM).astype(np.int64) + 1
    return first, count


@numba.njit(cache=True, parallel=True, error_model="numpy")
def _add(
    soft: Values,
    hard: Values,
    flow: Values,
    affine: Float,
    source: Float,
    axes: Float,
    sad: float,
    summed: Float,
    start: Float,
    pixel: float,
    half: Float,
    depths: Values,
    first: Float,
    pitch: float,
    shift: Float,
    shift_step: float,
    terma: Float,
    hardness: Float,
    fluence: Float,
    depth0: float,
    depth_step: float,
    surface: Values,
    stray: Float,
    contamination: float,
    contamination_per_cm: float,
    sums: Float,
) -> None:  # pragma: no cover - compiled
    rows, columns, layers = depths.shape
    height, width = summed.shape[0] - 1, summed.shape[1] - 1
    at_open = -depth0 / depth_step
    for k in numba.prange(soft.shape[0]):
        for j in range(soft.shape[1]):
            x0 = affine[0, 0] * k + affine[0, 1] * j + affine[0, 3] - source[0]
            y0 = affine[1, 0] * k + affine[1, 1] * j + affine[1, 3] - source[1]
            z0 = affine[2, 0] * k + affine[2, 1] * j + affine[2, 3] - source[2]
            for i in range(soft.shape[2]):
                x, y, z = x0 + affine[0, 2] * i, y0 + affine[1, 2] * i, z0 + affine[2, 2] * i
                s = -(axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z)
                if s <= 0.0:
                    continue
                scale = sad / s
                u = (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) * scale
                v = (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) * scale
                wu, wv = half[0] * scale, half[1] * scale
                a0, a1 = (u - wu - start[0]) / pixel, (u + wu - start[0]) / pixel
                b0, b1 = (v - wv - start[1]) / pixel, (v + wv - start[1]) / pixel
                if a1 <= 0.0 or b1 <= 0.0 or a0 >= width or b0 >= height:
                    continue
                mean = _box(summed, a0, a1, b0, b1, width, height) / (4.0 * wu * wv)
                if mean <= 0.0:
                    continue
                fu, fv, fs = (u - first[0]) / pitch, (v - first[1]) / pitch, (s - first[2]) / pitch
                nu = min(max(int(fu), 0), max(columns - 2, 0))
                nv = min(max(int(fv), 0), max(rows - 2, 0))
                ns = min(max(int(fs), 0), max(layers - 2, 0))
                mu_, mv_, ms_ = min(nu + 1, columns - 1), min(nv + 1, rows - 1), min(ns + 1, layers - 1)
                gu, gv, gs = min(max(fu - nu, 0.0), 1.0), min(max(fv - nv, 0.0), 1.0), min(max(fs - ns, 0.0), 1.0)
                depth = 0.0
                for row, wr in ((nv, 1.0 - gv), (mv_, gv)):
                    for column, wc in ((nu, 1.0 - gu), (mu_, gu)):
                        depth += wr * wc * (depths[row, column, ns] * (1.0 - gs) + depths[row, column, ms_] * gs)
                if contamination > 0.0:
                    m = min(max(int((u - start[0]) / pixel), 0), width - 1)
                    n = min(max(int((v - start[1]) / pixel), 0), height - 1)
                    electrons = contamination * stray[n, m] * np.exp(-contamination_per_cm * depth)
                    surface[k, j, i] += scale * scale * electrons
                radius = np.sqrt(u * u + v * v) / shift_step
                n = min(int(radius), shift.size - 2)
                back = shift[n] + (radius - n) * (shift[n + 1] - shift[n])
                at = min(max(depth - back - depth0, 0.0) / depth_step, terma.size - 1.001)
                n = int(at)
                released = terma[n] + (at - n) * (terma[n + 1] - terma[n])
                mixed = hardness[n] + (at - n) * (hardness[n + 1] - hardness[n])
                # In air the softer beam has the energy fluence that the map tells.
                air = at_open - back / depth_step
                n = int(air)
                released /= fluence[n] + (air - n) * (fluence[n + 1] - fluence[n])
                length2 = x * x + y * y + z * z
                value = mean * scale * scale * released
                soft[k, j, i] += value * (1.0 - mixed)
                hard[k, j, i] += value * mixed
                length = value / np.sqrt(length2)
                flow[0, k, j, i] += length * x
                flow[1, k, j, i] += length * y
                flow[2, k, j, i] += length * z
                sums[k, 0] += length * x
                sums[k, 1] += length * y
                sums[k, 2] += length * z


@numba.njit(cache=True, inline="always")
def _box(
    summed: Float, a0: float, a1: float, b0: float, b1: float, width: int, height: int
) -> Any:  # pragma: no cover - compiled
    """Integral of the fluence over a rectangle given in pixels."""
    return (
        _corner(summed, a1, b1, width, height)
        - _corner(summed, a0, b1, width, height)
        - _corner(summed, a1, b0, width, height)
        + _corner(summed, a0, b0, width, height)
    )


@numba.njit(cache=True, inline="always")
def _corner(summed: Float, a: float, b: float, width: int, height: int) -> Any:  # pragma: no cover - compiled
    a, b = min(max(a, 0.0), float(width)), min(max(b, 0.0), float(height))
    m, n = min(int(a), width - 1), min(int(b), height - 1)
    a, b = a - m, b - n
    return (1.0 - b) * ((1.0 - a) * summed[n, m] + a * summed[n, m + 1]) + b * (
        (1.0 - a) * summed[n + 1, m] + a * summed[n + 1, m + 1]
    )
