"""Contours of the analytic solids on the planes of the CT."""

from __future__ import annotations

import contourpy
import numpy as np
from numpy.typing import NDArray

from tailort.phantom.shapes import Shape

_FINEST_MM, _COARSEST_MM = 0.5, 2.5
_LATTICE_LINES = 72
_SMALLEST_AREA_MM2 = 1.5
_FLATNESS_MM = 0.004


def draw(
    shape: Shape, planes_mm: NDArray[np.float64], offset_mm: tuple[float, float, float]
) -> tuple[NDArray[np.float64], ...]:
    """Closed polygons (n, 3), LPS mm, where a solid meets transverse planes; holes are inner polygons.

    The solid is sampled on a lattice of 0.5 to 2.5 mm, finer for smaller solids, and the zero line of its field is
    drawn with linear interpolation; `planes_mm` and the polygons are shifted by `offset_mm` from body coordinates.
    """
    contours: list[NDArray[np.float64]] = []
    low, high = shape.z_range
    for plane in planes_mm:
        z = float(plane) - offset_mm[2]
        if low <= z <= high:
            for line in outline(shape, z):
                points = np.empty((len(line), 3))
                points[:, :2] = line + np.array(offset_mm[:2])
                points[:, 2] = plane
                contours.append(points)
    return tuple(contours)


def lattice(
    shape: Shape, z: float, lines: int, finest_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Columns x (1, n) and rows y (m, 1) over a solid's window in a plane, with a margin; None where it is absent."""
    window = shape.window(z)
    if window is None:
        return None
    x0, x1, y0, y1 = window
    step = float(np.clip(min(x1 - x0, y1 - y0) / lines, finest_mm, _COARSEST_MM))
    x = np.arange(x0 - 2 * step, x1 + 3 * step, step)
    y = np.arange(y0 - 2 * step, y1 + 3 * step, step)
    return x[None, :], y[:, None]


def outline(shape: Shape, z: float) -> list[NDArray[np.float64]]:
    """Closed lines (n, 2) of a solid in one plane, body coordinates, mm; the first point is not repeated."""
    found = lattice(shape, z, _LATTICE_LINES, _FINEST_MM)
    if found is None:
        return []
    x, y = found
    field = np.asarray(shape.field(x, y, z), dtype=np.float64)
    # A field of exactly 0 on a lattice point would let two lines touch there.
    field[np.abs(field) < 1e-9] = 1e-9
    if field.min() > 0:
        return []
    lines = contourpy.contour_generator(x[0], y[:, 0], field, name="serial").lines(0.0)
    kept = []
    for line in lines:
        points = _thinned(np.asarray(line, dtype=np.float64)[:-1])
        if len(points) >= 3 and abs(_area(points)) >= _SMALLEST_AREA_MM2:
            kept.append(points)
    return kept


def _area(points: NDArray[np.float64]) -> float:
    x, y = points[:, 0], points[:, 1]
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _thinned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop points that lie on the line of their neighbours, every other one at a time."""
    for start in (0, 1, 0, 1):
        if len(points) < 24:
            break
        before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
        chord = after - before
        length = np.maximum(np.hypot(chord[:, 0], chord[:, 1]), 1e-12)
        off = np.abs(chord[:, 0] * (points[:, 1] - before[:, 1]) - chord[:, 1] * (points[:, 0] - before[:, 0])) / length
        drop = off < _FLATNESS_MM
        drop[np.arange(len(points)) % 2 != start] = False
        drop[-1] = False
        points = points[~drop]
    return points
