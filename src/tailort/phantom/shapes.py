"""Solids given by implicit functions, looked at one transverse plane at a time.

Every shape answers two questions for a plane z: in which window of x and y can it be found, and what is its
field on a lattice there: below 0 inside, above 0 outside, close to the distance from the surface in mm. Organs are
fitted to each other, so the same solids are asked for again and again: a lattice remembers what it has sampled.
Coordinates are the body's own (x to the left, y to the back, z to the head, mm).
"""

from __future__ import annotations

from bisect import bisect_right
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
EVERYWHERE = (-1e3, 1e3)
_TINY = 1e-9
_BLEND_REACH_MM = 14.0


class Shape(Protocol):
    """A solid that can be sampled plane by plane."""

    @property
    def z_range(self) -> tuple[float, float]:
        """Planes outside of which nothing of the solid lies, mm."""

    def window(self, z: float) -> Window | None:
        """Lowest and highest x, then y, of the solid in plane z, mm; None where it is absent."""

    def field(self, at: Lattice) -> Array:
        """Implicit function on a lattice (m, n), mm."""


class Lattice:
    """Points of a transverse plane on a rectangular lattice, and what is known of shapes there.

    Parameters
    ----------
    x : (1, n) float
        Columns, ascending, mm.
    y : (m, 1) float
        Rows, ascending, mm, of the same type; so are all fields.
    z : float
        Plane, mm.
    """

    def __init__(self, x: Array, y: Array, z: float) -> None:
        self.x, self.y, self.z = x, y, z
        self._row, self._column = 0, 0
        self._fields: dict[Shape, tuple[int, int, Array]] = {}
        self._windows: dict[Shape, Window | None] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y.shape[0], self.x.shape[1]

    def part(self, rows: slice, columns: slice) -> Lattice:
        """Some rows and columns; what is learned there is remembered in the whole."""
        part = Lattice(self.x[:, columns], self.y[rows], self.z)
        part._row, part._column = self._row + rows.start, self._column + columns.start
        part._fields, part._windows = self._fields, self._windows
        return part

    def field(self, shape: Shape) -> Array:
        """Field of a shape, not to be written to."""
        rows, columns = self.shape
        known = self._fields.get(shape)
        if known is not None:
            row, column = self._row - known[0], self._column - known[1]
            if row >= 0 and column >= 0 and row + rows <= known[2].shape[0] and column + columns <= known[2].shape[1]:
                return known[2][row : row + rows, column : column + columns]
        field = shape.field(self)
        field.flags.writeable = False
        if known is None or field.size > known[2].size:
            self._fields[shape] = (self._row, self._column, field)
        return field

    def window(self, shape: Shape) -> Window | None:
        """Window of a shape in this plane."""
        if shape not in self._windows:
            self._windows[shape] = shape.window(self.z)
        return self._windows[shape]

    def near(self, shape: Shape, reach_mm: float) -> tuple[slice, slice, Array] | None:
        """Sample a shape within `reach_mm` of its window: rows, columns, field there; None where it is far."""
        low, high = shape.z_range
        # Flat ends: nothing of these is above or below their last plane.
        beyond = 0.0 if isinstance(shape, (Column, Cut)) else reach_mm
        if not low - beyond <= self.z <= high + beyond:
            return None
        window = self.window(shape)
        if window is None and beyond > 0:
            window = shape.window(min(max(self.z, low + 1e-6), high - 1e-6))
        if window is None:
            return None
        x0, x1, y0, y1 = window[0] - reach_mm, window[1] + reach_mm, window[2] - reach_mm, window[3] + reach_mm
        x, y = self.x[0], self.y[:, 0]
        if x0 > x[-1] or x1 < x[0] or y0 > y[-1] or y1 < y[0]:
            return None
        columns, rows = slice(*x.searchsorted((x0, x1)).tolist()), slice(*y.searchsorted((y0, y1)).tolist())
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        return rows, columns, self.part(rows, columns).field(shape)


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
        z = np.arange(knots[0, 0], knots[-1, 0] + self._STEP_MM, self._STEP_MM)
        self._z: list[float] = z.tolist()
        self._value: list[float] = PchipInterpolator(knots[:, 0], knots[:, 1])(np.minimum(z, knots[-1, 0])).tolist()

    def __call__(self, z: float) -> float:
        """Value at z."""
        # One value at a time is asked for, and of that np.interp takes long.
        n = bisect_right(self._z, z) - 1
        if n < 0:
            return self._value[0]
        if n == len(self._z) - 1:
            return self._value[-1]
        low, start = self._z[n], self._value[n]
        return (self._value[n + 1] - start) / (self._z[n + 1] - low) * (z - low) + start


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

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`: first-order distance to the cross-section's edge."""
        n = self.exponent
        a = max(self.half_width(at.z), 0.1)
        cy = self.y(at.z)
        b = np.where(at.y < cy, max(self.front(at.z), 0.1), max(self.back(at.z), 0.1)).astype(at.x.dtype)
        u = np.abs(at.x - self.x(at.z)) / a + _TINY
        v = np.abs(at.y - cy) / b + _TINY
        total = u**n + v**n
        q = total ** (1 / n)
        slope = np.sqrt((u ** (n - 1) / a) ** 2 + (v ** (n - 1) / b) ** 2)
        field: Array = (q - 1) * total / (q * slope)
        return field


@dataclass(frozen=True, eq=False)
class Nothing:
    """The solid of which there is none."""

    z_range = (FAR_MM, FAR_MM)

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        return None

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`."""
        return np.full(at.shape, FAR_MM, dtype=at.x.dtype)


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

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`: first-order distance to the surface."""
        m = self._shape_matrix
        dx, dy, dz = at.x - self.centre[0], at.y - self.centre[1], at.z - self.centre[2]
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
        window: Window = _extent(self._low, self._high, z)
        return window if window[0] <= window[1] else None

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`: distance to the centre-line less the radius there."""
        # Pieces further away than any blend reaches do not matter.
        near = (self._low[:, 2] - _BLEND_REACH_MM <= at.z) & (at.z <= self._high[:, 2] + _BLEND_REACH_MM)
        best = np.full(at.shape, FAR_MM, dtype=at.x.dtype)
        sx, sy, sz = self.stretch
        columns, rows = at.x[0].astype(np.float64) * sx, at.y[:, 0].astype(np.float64) * sy
        _nearest(columns, rows, at.z * sz, near, self._start, self._run, self.radii, best)
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

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`."""
        field: Array = at.field(self.shape) - self.by_mm
        return field


class _Stack:
    """Several shapes with their planes, to find those near one plane quickly."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = [(*shape.z_range, shape) for shape in shapes]

    def near(self, z: float, reach_mm: float) -> list[Shape]:
        """Shapes that come within `reach_mm` of a plane, in their order."""
        return [shape for low, high, shape in self._shapes if low - reach_mm <= z <= high + reach_mm]


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
        windows = [w for w in (part.window(z) for part in self._stack.near(z, 0.0)) if w is not None]
        if not windows:
            return None
        edge = self.blend_mm
        return (
            min(w[0] for w in windows) - edge,
            max(w[1] for w in windows) + edge,
            min(w[2] for w in windows) - edge,
            max(w[3] for w in windows) + edge,
        )

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`."""
        best = np.full(at.shape, FAR_MM, dtype=at.x.dtype)
        reach = 2 * self.blend_mm + 12
        for part in self._stack.near(at.z, reach):
            found = at.near(part, reach)
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

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`."""
        best = at.field(self.shape).copy()
        reach = self.gap_mm + 6
        for other in self._stack.near(at.z, reach):
            found = at.near(other, reach)
            if found is not None:
                rows, columns, field = found
                target = best[rows, columns]
                np.maximum(target, self.gap_mm - field, out=target)
        return best


@dataclass(frozen=True, eq=False)
class Cut:
    """A shape between two planes, and where a second field is below 0 (a half-space, the room under a surface).

    `limits` are its lowest and highest plane; `x_limits` say where it can be at all, which saves work.
    """

    shape: Shape
    keep: Callable[[Lattice], Array] | None = None
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

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`."""
        whole = at.field(self.shape)
        if self.keep is None:
            return whole
        field: Array = np.maximum(whole, self.keep(at).astype(at.x.dtype))
        return field


def inside(shape: Shape, gap_mm: float = 0.0) -> Callable[[Lattice], Array]:
    """Make the field that cuts off what lies outside a shape or nearer to its surface than a gap."""
    return lambda at: at.field(shape) + gap_mm


def outside(shape: Shape, gap_mm: float = 0.0) -> Callable[[Lattice], Array]:
    """Make the field that cuts off what lies inside a shape or nearer to its surface than a gap."""
    return lambda at: gap_mm - at.field(shape)


def field_at(shape: Shape, point: Sequence[float] | NDArray[np.float64]) -> float:
    """Field of a shape at one point, mm."""
    x, y, z = (float(v) for v in point)
    return float(shape.field(Lattice(np.array([[x]]), np.array([[y]]), z))[0, 0])


@numba.njit(cache=True)
def _extent(low: Array, high: Array, z: float) -> Window:  # pragma: no cover - compiled
    """Lowest and highest x, then y, of the boxes (n, 3) that a plane meets; nothing where the lowest is above."""
    x0, x1, y0, y1 = np.inf, -np.inf, np.inf, -np.inf
    for n in range(low.shape[0]):
        if low[n, 2] <= z <= high[n, 2]:
            x0, x1 = min(x0, low[n, 0]), max(x1, high[n, 0])
            y0, y1 = min(y0, low[n, 1]), max(y1, high[n, 1])
    return x0, x1, y0, y1


@numba.njit(cache=True)
def _nearest(
    x: Array, y: Array, z: float, near: Array, start: Array, run: Array, radii: Array, best: Array
) -> None:  # pragma: no cover - compiled
    """Lower `best` (rows y, columns x) to the distance from each piece of a centre-line less the radius there."""
    for n in range(start.shape[0]):
        if not near[n]:
            continue
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
                radius = radii[n] + t * (radii[n + 1] - radii[n])
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
