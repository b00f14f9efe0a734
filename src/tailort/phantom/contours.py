"""Contours of the analytic solids on the planes of the CT."""

from __future__ import annotations

from collections.abc import Sequence

import contourpy
import numba
import numpy as np
from numpy.typing import NDArray

from tailort.phantom.shapes import Array, Lattice, Shape

Lines = tuple[NDArray[np.float64], ...]

_STEPS_MM = (0.5, 0.75, 1.0, 1.5, 2.0)
_HALF_FIELD_MM = 320.0
_SMALLEST_AREA_MM2 = 1.5
_FLATNESS_MM = 0.004


def draw(
    shapes: Sequence[Shape],
    planes_mm: NDArray[np.float64],
    offset_mm: tuple[float, float, float],
    lines: int,
) -> list[Lines]:
    """For each solid the closed polygons (n, 3), LPS mm, where it meets transverse planes; holes are inner polygons.

    The solids of a plane are sampled on common lattices of 0.5 to 2 mm, with at least `lines` lines across a solid's
    window as far as the finest allows, and the zero line of each field is drawn with linear interpolation.
    `planes_mm` and the polygons are shifted by `offset_mm` from body coordinates.
    """
    drawn: list[list[NDArray[np.float64]]] = [[] for _ in shapes]
    low, high = np.array([shape.z_range for shape in shapes]).T
    axes = {step: np.arange(-_HALF_FIELD_MM, _HALF_FIELD_MM + step, step) for step in _STEPS_MM}
    for plane in planes_mm:
        z = float(plane) - offset_mm[2]
        lattices = {step: Lattice(axis[None, :], axis[:, None], z) for step, axis in axes.items()}
        for n in np.flatnonzero((low <= z) & (z <= high)).tolist():
            for line in _outline(shapes[n], z, lattices, lines):
                points = np.empty((len(line), 3))
                points[:, :2] = line + np.array(offset_mm[:2])
                points[:, 2] = plane
                drawn[n].append(points)
    return [tuple(rings) for rings in drawn]


def _outline(shape: Shape, z: float, lattices: dict[float, Lattice], lines: int) -> list[NDArray[np.float64]]:
    """Closed lines (n, 2) of a solid in one plane, body coordinates, mm; the first point is not repeated."""
    window = shape.window(z)
    if window is None:
        return []
    wanted = min(window[1] - window[0], window[3] - window[2]) / lines
    step = max((s for s in lattices if s <= wanted), default=min(lattices))
    found = lattices[step].near(shape, 2 * step)
    if found is None or found[2].min() > 0:
        return []
    rows, columns, field = found
    x, y = np.broadcast_arrays(lattices[step].x[:, columns], lattices[step].y[rows])
    return closed_lines(x, y, field)


def closed_lines(x: Array, y: Array, known: Array) -> list[NDArray[np.float64]]:
    """Closed lines (n, 2) where a field is 0; the first point is not repeated, and specks are left out.

    Parameters
    ----------
    x, y, known : (m, n) float
        Places, mm, and the field there.
    """
    # A field of exactly 0 on a lattice point would let two lines touch there.
    field = np.where(np.abs(known) < 1e-9, 1e-9, known)
    kept = []
    for line in _zero_lines(x, y, field):
        points = _thinned(line[:-1])
        if len(points) >= 3 and abs(_area(points)) >= _SMALLEST_AREA_MM2:
            kept.append(points)
    return kept


def _zero_lines(x: Array, y: Array, field: Array) -> list[NDArray[np.float64]]:
    # The class itself: contourpy's function first searches each field for values that are not finite.
    generator = contourpy.SerialContourGenerator(
        x, y, field, np.zeros(field.shape, dtype=bool), corner_mask=True, line_type=contourpy.LineType.Separate,
        fill_type=contourpy.FillType.OuterOffset, quad_as_tri=False, z_interp=contourpy.ZInterp.Linear,
    )  # fmt: skip
    return [np.asarray(line) for line in generator.lines(0.0)]


def _area(points: NDArray[np.float64]) -> float:
    x, y = points[:, 0], points[:, 1]
    return 0.5 * float(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:]) + x[-1] * y[0] - y[-1] * x[0])


@numba.njit(cache=True)
def _thinned(points: NDArray[np.float64]) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Drop points that lie on the line of their neighbours, every other one at a time."""
    for start in (0, 1, 0, 1):
        n = len(points)
        if n < 24:
            break
        keep = np.ones(n, dtype=np.bool_)
        for i in range(start, n - 1, 2):
            before, after = points[i - 1], points[i + 1]
            dx, dy = after[0] - before[0], after[1] - before[1]
            off = abs(dx * (points[i, 1] - before[1]) - dy * (points[i, 0] - before[0]))
            keep[i] = off >= _FLATNESS_MM * max(np.hypot(dx, dy), 1e-12)
        points = points[keep]
    return points
