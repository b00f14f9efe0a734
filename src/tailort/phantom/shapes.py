"""Solids given by implicit functions, looked at one transverse plane at a time.

Every shape answers two questions for a plane z: in which window of x and y can it be found, and what is its
field there: below 0 inside, above 0 outside, close to the distance from the surface in mm. Coordinates are the
body's own (x to the left, y to the back, z to the head, mm).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[Any]
Window = tuple[float, float, float, float]

FAR_MM = 1e4
_TINY = 1e-9
_BLEND_REACH_MM = 14.0


class Shape(Protocol):
    """A solid that can be sampled plane by plane."""

    @property
    def z_range(self) -> tuple[float, float]:
        """Planes outside of which nothing of the solid lies, mm."""

    def window(self, z: float) -> Window | None:
        """Lowest and highest x, then y, of the solid in plane z, mm; None where it is absent."""

    def field(self, x: Array, y: Array, z: float) -> Array:
        """Implicit function at columns x (1, n) and rows y (m, 1) of plane z, mm, as (m, n)."""


class Profile:
    """A length that changes along the body: monotone cubic through (z, value) pairs, constant beyond the ends.

    References
    ----------
    Fritsch and Carlson 1980, doi:10.1137/0717021.
    """

    _STEP_MM = 0.5

    def __init__(self, pairs: ArrayLike) -> None:
        knots = np.asarray(pairs, dtype=float)
        knots = knots[np.argsort(knots[:, 0])]
        self._z = np.arange(knots[0, 0], knots[-1, 0] + self._STEP_MM, self._STEP_MM)
        self._value = PchipInterpolator(knots[:, 0], knots[:, 1])(np.minimum(self._z, knots[-1, 0]))

    def __call__(self, z: float) -> float:
        """Value at z."""
        return float(np.interp(z, self._z, self._value))


def constant(value: float) -> Profile:
    """Make a profile that is the same everywhere."""
    return Profile([(0.0, value), (1.0, value)])


@dataclass(frozen=True, eq=False)
class Column:
    """A body of superelliptic cross-section that changes along z, of unlike depth in front and behind its centre.

    Parameters
    ----------
    z_range : (2,) float
        Lower and upper end, mm.
    x, y : Profile
        Centre of the cross-section, mm.
    half_width, front, back : Profile
        From the centre to the sides, to the front and to the back, mm.
    exponent : float
        2 is an ellipse; above 2 the corners fill out.
    """

    z_range: tuple[float, float]
    x: Callable[[float], float]
    y: Callable[[float], float]
    half_width: Callable[[float], float]
    front: Callable[[float], float]
    back: Callable[[float], float]
    exponent: float = 2.0

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        if not self.z_range[0] <= z <= self.z_range[1]:
            return None
        x, y, a = self.x(z), self.y(z), self.half_width(z)
        return x - a, x + a, y - self.front(z), y + self.back(z)

    def field(self, x: Array, y: Array, z: float) -> Array:
        """See `Shape.field`: first-order distance to the cross-section's edge."""
        n = self.exponent
        a = max(self.half_width(z), 0.1)
        cy = self.y(z)
        b = np.where(y < cy, max(self.front(z), 0.1), max(self.back(z), 0.1)).astype(y.dtype)
        u = np.abs(x - self.x(z)) / a + _TINY
        v = np.abs(y - cy) / b + _TINY
        total = u**n + v**n
        q = total ** (1 / n)
        slope = np.sqrt((u ** (n - 1) / a) ** 2 + (v ** (n - 1) / b) ** 2)
        field: Array = (q - 1) * total / (q * slope)
        return field


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid; `axes` are its unit directions as rows, the body's own when left out."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    axes: NDArray[np.float64] | None = None

    @cached_property
    def _shape_matrix(self) -> NDArray[np.float64]:
        axes = np.eye(3) if self.axes is None else self.axes
        matrix: NDArray[np.float64] = axes / np.array(self.radii)[:, None]
        return matrix

    @cached_property
    def _half_extent(self) -> NDArray[np.float64]:
        half: NDArray[np.float64] = np.linalg.norm(np.linalg.inv(self._shape_matrix), axis=1)
        return half

    @cached_property
    def z_range(self) -> tuple[float, float]:
        """See `Shape.z_range`."""
        half = float(self._half_extent[2])
        return self.centre[2] - half, self.centre[2] + half

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        hx, hy, hz = (float(h) for h in self._half_extent)
        cx, cy, cz = self.centre
        return None if abs(z - cz) >= hz else (cx - hx, cx + hx, cy - hy, cy + hy)

    def field(self, x: Array, y: Array, z: float) -> Array:
        """See `Shape.field`: first-order distance to the surface."""
        m = self._shape_matrix
        dx, dy, dz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        parts = [dx * float(row[0]) + (dy * float(row[1]) + dz * float(row[2])) for row in m]
        gradient = [sum(parts[r] * float(m[r, c]) for r in range(3)) for c in range(3)]
        q = np.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2) + _TINY
        slope = np.sqrt(gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2) + _TINY
        field: Array = q * (q - 1) / slope
        return field


class Tube:
    """A round tube along a centre-line, with a radius at every point of it.

    Parameters
    ----------
    points : (n, 3) float
        Centre-line x, y, z, mm.
    radii : float or (n,) float
        mm, linear in between.
    stretch : (3,) float
        Factors on x, y, z before distances are taken: above 1 makes the cross-section flatter that way.
    """

    def __init__(
        self, points: ArrayLike, radii: ArrayLike, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> None:
        self.points = np.asarray(points, dtype=float)
        self.radii = np.broadcast_to(np.asarray(radii, dtype=float), (len(self.points),)).copy()
        self.stretch = stretch
        scaled = self.points * np.array(stretch)
        self._start, self._run = scaled[:-1], np.diff(scaled, axis=0)
        reach = np.maximum(self.radii[:-1], self.radii[1:])[:, None] / np.array(stretch)
        self._low = np.minimum(self.points[:-1], self.points[1:]) - reach
        self._high = np.maximum(self.points[:-1], self.points[1:]) + reach

    @cached_property
    def z_range(self) -> tuple[float, float]:
        """See `Shape.z_range`."""
        return float(self._low[:, 2].min()), float(self._high[:, 2].max())

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        if not self.z_range[0] <= z <= self.z_range[1]:
            return None
        here = np.flatnonzero((self._low[:, 2] <= z) & (z <= self._high[:, 2]))
        if not len(here):
            return None
        low, high = self._low[here, :2].min(axis=0), self._high[here, :2].max(axis=0)
        return float(low[0]), float(high[0]), float(low[1]), float(high[1])

    def field(self, x: Array, y: Array, z: float) -> Array:
        """See `Shape.field`: distance to the centre-line less the radius there."""
        # Pieces further away than any blend reaches do not matter.
        near = np.flatnonzero((self._low[:, 2] - _BLEND_REACH_MM <= z) & (z <= self._high[:, 2] + _BLEND_REACH_MM))
        best = np.full(np.broadcast_shapes(x.shape, y.shape), FAR_MM, dtype=np.result_type(x, y))
        sx, sy, sz = self.stretch
        columns, rows = x[0].astype(np.float64) * sx, y[:, 0].astype(np.float64) * sy
        _nearest(
            columns, rows, z * sz, self._start[near], self._run[near], self.radii[near], self.radii[near + 1], best
        )
        return best


@dataclass(frozen=True, eq=False)
class Grown:
    """A shape made larger (or, below 0, smaller) by a distance on all sides of each plane, mm."""

    shape: Shape
    by_mm: float

    @cached_property
    def z_range(self) -> tuple[float, float]:
        """See `Shape.z_range`."""
        low, high = self.shape.z_range
        grow = max(self.by_mm, 0.0)
        return low - grow, high + grow

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        low, high = self.shape.z_range
        inner = self.shape.window(min(max(z, low + 1e-6), high - 1e-6) if self.by_mm > 0 else z)
        if inner is None or not self.z_range[0] <= z <= self.z_range[1]:
            return None
        grow = max(self.by_mm, 0.0)
        return inner[0] - grow, inner[1] + grow, inner[2] - grow, inner[3] + grow

    def field(self, x: Array, y: Array, z: float) -> Array:
        """See `Shape.field`."""
        return self.shape.field(x, y, z) - self.by_mm


class _Stack:
    """Several shapes ordered by their planes, to find those near one plane quickly."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        ranges = np.array([shape.z_range for shape in shapes]).reshape(-1, 2)
        self._low, self._high = ranges[:, 0], ranges[:, 1]

    def near(self, z: float, reach_mm: float) -> list[int]:
        """Places of the shapes that come within `reach_mm` of a plane, in their order."""
        found: list[int] = np.flatnonzero((self._low - reach_mm <= z) & (z <= self._high + reach_mm)).tolist()
        return found


@dataclass(frozen=True, eq=False)
class Union:
    """Several shapes as one; `blend_mm` above 0 fills the grooves between them.

    References
    ----------
    Ricci 1973, doi:10.1093/comjnl/16.2.157 (blended union of implicit solids; here the quadratic blend).
    """

    parts: tuple[Shape, ...]
    blend_mm: float = 0.0

    @cached_property
    def z_range(self) -> tuple[float, float]:
        """See `Shape.z_range`."""
        ranges = [part.z_range for part in self.parts]
        return min(r[0] for r in ranges), max(r[1] for r in ranges)

    @cached_property
    def _stack(self) -> _Stack:
        return _Stack(self.parts)

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        windows = [w for w in (self.parts[n].window(z) for n in self._stack.near(z, 0.0)) if w is not None]
        if not windows:
            return None
        edge = self.blend_mm
        return (
            min(w[0] for w in windows) - edge,
            max(w[1] for w in windows) + edge,
            min(w[2] for w in windows) - edge,
            max(w[3] for w in windows) + edge,
        )

    def field(self, x: Array, y: Array, z: float) -> Array:
        """See `Shape.field`."""
        best = np.full(np.broadcast_shapes(x.shape, y.shape), FAR_MM, dtype=np.result_type(x, y))
        reach = 2 * self.blend_mm + 12
        for n in self._stack.near(z, reach):
            found = patch(self.parts[n], x, y, z, reach)
            if found is None:
                continue
            rows, columns, field = found
            target = best[rows, columns]
            if self.blend_mm > 0:
                overlap = np.maximum(self.blend_mm - np.abs(target - field), 0) / self.blend_mm
                target[...] = np.minimum(target, field) - overlap * overlap * (self.blend_mm / 4)
            else:
                np.minimum(target, field, out=target)
        return best


@dataclass(frozen=True, eq=False)
class Minus:
    """A shape without others, keeping `gap_mm` from them."""

    shape: Shape
    others: tuple[Shape, ...]
    gap_mm: float = 0.0

    @cached_property
    def z_range(self) -> tuple[float, float]:
        """See `Shape.z_range`."""
        return self.shape.z_range

    @cached_property
    def _stack(self) -> _Stack:
        return _Stack(self.others)

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        return self.shape.window(z)

    def field(self, x: Array, y: Array, z: float) -> Array:
        """See `Shape.field`."""
        best = self.shape.field(x, y, z)
        reach = self.gap_mm + 6
        for n in self._stack.near(z, reach):
            found = patch(self.others[n], x, y, z, reach)
            if found is not None:
                rows, columns, field = found
                target = best[rows, columns]
                np.maximum(target, self.gap_mm - field, out=target)
        return best


@dataclass(frozen=True, eq=False)
class Cut:
    """A shape where a second field is below 0 (a half-space, the room under a surface).

    `limits` are its lowest and highest plane; `x_limits` say where it can be at all, which saves work.
    """

    shape: Shape
    keep: Callable[[Array, Array, float], Array]
    limits: tuple[float, float] = (-FAR_MM, FAR_MM)
    x_limits: tuple[float, float] = (-FAR_MM, FAR_MM)

    @cached_property
    def z_range(self) -> tuple[float, float]:
        """See `Shape.z_range`."""
        low, high = self.shape.z_range
        return max(low, self.limits[0]), min(high, self.limits[1])

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        whole = self.shape.window(z) if self.limits[0] <= z <= self.limits[1] else None
        if whole is None:
            return None
        return max(whole[0], self.x_limits[0]), min(whole[1], self.x_limits[1]), whole[2], whole[3]

    def field(self, x: Array, y: Array, z: float) -> Array:
        """See `Shape.field`."""
        field: Array = np.maximum(self.shape.field(x, y, z), self.keep(x, y, z).astype(np.result_type(x, y)))
        return field


def patch(shape: Shape, x: Array, y: Array, z: float, reach_mm: float) -> tuple[slice, slice, Array] | None:
    """Sample a shape on the part of a lattice within `reach_mm` of its window: rows, columns, field there."""
    low, high = shape.z_range
    # Flat ends: nothing of these is above or below their last plane.
    beyond = 0.0 if isinstance(shape, (Column, Cut)) else reach_mm
    if not low - beyond <= z <= high + beyond:
        return None
    window = shape.window(z)
    if window is None and beyond > 0:
        window = shape.window(min(max(z, low + 1e-6), high - 1e-6))
    if window is None:
        return None
    if window[0] - reach_mm > x[0, -1] or window[1] + reach_mm < x[0, 0]:
        return None
    if window[2] - reach_mm > y[-1, 0] or window[3] + reach_mm < y[0, 0]:
        return None
    columns = slice(*np.searchsorted(x[0], (window[0] - reach_mm, window[1] + reach_mm)).tolist())
    rows = slice(*np.searchsorted(y[:, 0], (window[2] - reach_mm, window[3] + reach_mm)).tolist())
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return None
    return rows, columns, shape.field(x[:, columns], y[rows], z)


@numba.njit(cache=True)
def _nearest(
    x: Array, y: Array, z: float, start: Array, run: Array, r0: Array, r1: Array, best: Array
) -> None:  # pragma: no cover - compiled
    """Lower `best` (rows y, columns x) to the distance from each piece of a centre-line less the radius there."""
    for n in range(start.shape[0]):
        dx, dy, dz = run[n, 0], run[n, 1], run[n, 2]
        square = max(dx * dx + dy * dy + dz * dz, 1e-12)
        wz = z - start[n, 2]
        for j in range(y.shape[0]):
            wy = y[j] - start[n, 1]
            ahead = wy * dy + wz * dz
            for i in range(x.shape[0]):
                wx = x[i] - start[n, 0]
                t = min(max((wx * dx + ahead) / square, 0.0), 1.0)
                ex, ey, ez = wx - t * dx, wy - t * dy, wz - t * dz
                square_distance = ex * ex + ey * ey + ez * ez
                radius = r0[n] + t * (r1[n] - r0[n])
                beyond = best[j, i] + radius
                if beyond > 0 and square_distance < beyond * beyond:
                    best[j, i] = np.sqrt(square_distance) - radius


def smooth_line(points: ArrayLike, step_mm: float = 4.0) -> NDArray[np.float64]:
    """Dense smooth line (n, 3) through the given points (m, 3)."""
    knots = np.asarray(points, dtype=float)
    along = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))))
    at = np.linspace(0, along[-1], max(2, int(np.ceil(along[-1] / step_mm)) + 1))
    line: NDArray[np.float64] = np.asarray(PchipInterpolator(along, knots)(at), dtype=np.float64)
    return line


def mirrored(points: Sequence[Sequence[float]], side: int) -> list[tuple[float, float, float]]:
    """Points given for the left side (+x), on the side asked for (+1 left, -1 right)."""
    return [(side * p[0], p[1], p[2]) for p in points]
