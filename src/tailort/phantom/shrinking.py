"""How a solid shrinks within its transverse planes: along rays from its middle, with room left where others stand firm.

Each plane keeps its place and every point stays on its ray. Inside the solid distances from the middle are multiplied
by one factor; outside, what lies between the solid and the next firm neighbour on the ray is stretched to fill the
room. Along a ray the map is linear in pieces: the way back is known exactly, and it has kinks as no registration has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates

from tailort.errors import InputError
from tailort.phantom.shapes import Array, Lattice, Shape

Float = NDArray[np.float64]

STEP_MM = 1.0
"""Between the planes of the tables."""
RAYS = 144
LEAST_FACTOR = 0.4
_LATTICE_MM = 0.75
_RAY_STEP_MM = 0.25
_LEAST_ROOM_MM = 0.3
# A room grows from ray to ray and from plane to plane by no more than this share of the way between them.
_ROOM_SLOPE = 1.0
_MIDDLE_SMOOTH_MM = 6.0


@dataclass(frozen=True, eq=False)
class Rays:
    """What a solid and its neighbours look like from its middle, plane by plane, body coordinates.

    Parameters
    ----------
    low_mm : float
        Of the first plane; planes are `STEP_MM` apart.
    middle : (n, 2) float
        X and y from which the rays of a plane start, mm.
    radius : (n, RAYS) float
        From the middle to the solid's surface; 0 where a plane has nothing of the solid.
    room : (n, RAYS) float
        From there to where nothing moves any more.
    """

    low_mm: float
    middle: Float
    radius: Float
    room: Float

    @property
    def areas(self) -> Float:
        """Of each plane (n,), mm2."""
        found: Float = np.pi * np.mean(self.radius**2, axis=1)
        return found

    @property
    def taper(self) -> Float:
        """Share (n,) of the shrinking that each plane takes part in: 1 in the middle of the solid, 0 at its ends."""
        met = np.flatnonzero(self.areas > 0)
        half = 0.5 * (met[-1] - met[0]) + 1.0
        along = (np.arange(len(self.areas)) - 0.5 * (met[-1] + met[0])) / half
        found: Float = 1.0 - np.minimum(np.abs(along), 1.0) ** 4
        return found


def rays_of(shape: Shape, firm: Sequence[Shape], reach_mm: float) -> Rays:
    """Look at a solid from its middle.

    Parameters
    ----------
    shape : Shape
        The solid; each of its planes is seen whole from its middle, but for what hides behind a firm neighbour.
    firm : sequence of Shape
        Neighbours that do not move; none touches the solid.
    reach_mm : float
        How far around the solid the rest follows where nothing is firm.
    """
    low, high = shape.z_range
    planes = np.arange(np.floor(low) - 1.0, np.ceil(high) + 1.0 + STEP_MM, STEP_MM)
    windows = [shape.window(float(z)) if low < z < high else None for z in planes]
    met = [n for n, window in enumerate(windows) if window is not None]
    around = np.array([window for window in windows if window is not None])
    x0, y0 = around[:, [0, 2]].min(axis=0) - reach_mm - 4.0
    x1, y1 = around[:, [1, 3]].max(axis=0) + reach_mm + 4.0
    x, y = np.arange(x0, x1, _LATTICE_MM), np.arange(y0, y1, _LATTICE_MM)
    fields, others = [], []
    for n in met:
        at = Lattice(x[None, :], y[:, None], float(planes[n]))
        fields.append(at.field(shape))
        known = [found for found in (at.near(one, reach_mm + 4.0) for one in firm) if found is not None]
        nearest = np.full(at.shape, reach_mm + 4.0)
        for rows, columns, field in known:
            np.minimum(nearest[rows, columns], field, out=nearest[rows, columns])
        others.append(nearest)
    middles = np.array([_middle(x, y, field) for field in fields])
    middles = gaussian_filter1d(middles, _MIDDLE_SMOOTH_MM / STEP_MM, axis=0, mode="nearest")
    middle = middles[np.clip(np.arange(len(planes)) - met[0], 0, len(met) - 1)]
    radius, room = np.zeros((len(planes), RAYS)), np.full((len(planes), RAYS), reach_mm)
    for n, field, nearest, start in zip(met, fields, others, middles, strict=True):
        seen = [_along_rays(x, y, values, start, reach_mm) for values in (field, nearest)]
        radius[n] = _first(seen[0] >= 0, seen[0])
        wall = _first(seen[1] <= 0, seen[1])
        room[n] = np.clip(wall - radius[n], _LEAST_ROOM_MM, reach_mm)
    return Rays(float(planes[0]), middle, radius, _eased(room, radius))


@dataclass(frozen=True, eq=False)
class Shrinking:
    """A map of points before to points after, and back; both of body coordinates, mm.

    Parameters
    ----------
    rays : Rays
        The solid as it was before.
    factor : (n,) float
        Of distances from the middle inside of the solid, in each plane; 1 is unchanged.
    """

    rays: Rays
    factor: Float

    @classmethod
    def to_share(cls, rays: Rays, volume_share: float) -> Shrinking:
        """Shrink a solid to a share of its volume, least at its ends.

        Raises
        ------
        InputError
            When the middle of the solid would all but vanish, or the share is above 1.
        """
        areas, taper = rays.areas, rays.taper
        strength = (1.0 - volume_share) * areas.sum() / (areas * taper).sum()
        if not 0.0 <= strength <= 1.0 - LEAST_FACTOR**2:
            raise InputError(f"a solid cannot be shrunk to {volume_share:.2f} of its volume: expected 0.4 to 1")
        return cls(rays, np.sqrt(1.0 - strength * taper))

    def after(self, points_mm: ArrayLike) -> Float:
        """Where points (..., 3) lie when the solid has shrunk."""
        return self._mapped(points_mm, back=False)

    def before(self, points_mm: ArrayLike) -> Float:
        """Where points (..., 3) lay before."""
        return self._mapped(points_mm, back=True)

    def stretch(self, points_mm: ArrayLike) -> Float:
        """How much tissue at points (..., 3) of before is stretched along its ray: 1 where nothing changes."""
        points = np.asarray(points_mm, dtype=np.float64)
        flat = points.reshape(-1, 3)
        near, _, distance, radius, room, factor = self._seen(flat)
        found = np.ones(len(flat))
        around = np.where(distance < radius + room, (room + (1.0 - factor) * radius) / room, 1.0)
        found[near] = np.where(distance < radius, factor, around)
        return found.reshape(points.shape[:-1])

    def _mapped(self, points_mm: ArrayLike, *, back: bool) -> Float:
        points = np.asarray(points_mm, dtype=np.float64)
        flat = points.reshape(-1, 3).copy()
        near, away, distance, radius, room, factor = self._seen(flat)
        outer, inner = radius + room, factor * radius
        # Nodes of the map along each ray: middle, surface, end of the room.
        if back:
            slope, moved = room / (outer - inner), distance / factor
            around = radius + (distance - inner) * slope
            there = np.where(distance < inner, moved, np.where(distance < outer, around, distance))
        else:
            slope = (outer - inner) / room
            around = inner + (distance - radius) * slope
            there = np.where(distance < radius, factor * distance, np.where(distance < outer, around, distance))
        flat[near, :2] += away * (there / np.maximum(distance, 1e-12) - 1.0)[:, None]
        found: Float = flat.reshape(points.shape)
        return found

    def _seen(self, points: Float) -> tuple[NDArray[np.intp], Float, Float, Float, Float, Float]:
        """Those of points (n, 3) that lie near enough: number, way from the middle, distance, radius, room, factor."""
        rays = self.rays
        at = (points[:, 2] - rays.low_mm) / STEP_MM
        last = len(rays.middle) - 1.0
        farthest = float((rays.radius + rays.room).max()) + 1.0
        low, high = rays.middle.min(axis=0) - farthest, rays.middle.max(axis=0) + farthest
        inside = (at > 0) & (at < last) & np.all((points[:, :2] > low) & (points[:, :2] < high), axis=1)
        near = np.flatnonzero(inside)
        at = at[near]
        rows = np.arange(len(rays.middle))
        middle = np.column_stack([np.interp(at, rows, rays.middle[:, axis]) for axis in range(2)])
        away = points[near, :2] - middle
        angle = np.mod(np.arctan2(away[:, 1], away[:, 0]), 2 * np.pi) * RAYS / (2 * np.pi)
        radius, room = (_between(table, at, angle) for table in (rays.radius, rays.room))
        return near, away, np.hypot(away[:, 0], away[:, 1]), radius, room, np.interp(at, rows, self.factor)


def _between(table: Float, at: Float, angle: Float) -> Float:
    """Values of a table of planes and rays, linear in between."""
    closed = np.concatenate([table, table[:, :1]], axis=1)
    found: Float = map_coordinates(closed, [at, angle], order=1, mode="nearest", prefilter=False)
    return found


def _middle(x: Float, y: Float, field: Array) -> tuple[float, float]:
    share = np.clip(0.5 - field / _LATTICE_MM, 0.0, 1.0)
    total = max(float(share.sum()), 1e-9)
    return float((share.sum(axis=0) * x).sum() / total), float((share.sum(axis=1) * y).sum() / total)


def _along_rays(x: Float, y: Float, field: Array, start: Float, reach_mm: float) -> Float:
    """Field (RAYS, m) along the rays of a plane, every `_RAY_STEP_MM`."""
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    distances = np.arange(0.0, 2.0 * reach_mm, _RAY_STEP_MM)
    px = start[0] + np.outer(np.cos(angles), distances)
    py = start[1] + np.outer(np.sin(angles), distances)
    index = [(py - y[0]) / _LATTICE_MM, (px - x[0]) / _LATTICE_MM]
    found: Float = map_coordinates(np.asarray(field, dtype=np.float64), index, order=1, mode="nearest", prefilter=False)
    return found


def _first(reached: NDArray[np.bool_], values: Float) -> Float:
    """Distance on each ray at which a field first changes its sign; the end of the ray where it does not."""
    found = np.full(len(values), values.shape[1] * _RAY_STEP_MM)
    for n in np.flatnonzero(reached.any(axis=1)):
        k = int(np.argmax(reached[n]))
        share = 0.0 if k == 0 else values[n, k - 1] / (values[n, k - 1] - values[n, k])
        found[n] = max(k - 1 + share, 0.0) * _RAY_STEP_MM
    return found


def _eased(room: Float, radius: Float) -> Float:
    """Room without steps from ray to ray or from plane to plane, nowhere larger than it is."""
    across = _ROOM_SLOPE * 2 * np.pi / RAYS * np.maximum(radius, 4.0)
    found, before = room.copy(), np.zeros_like(room)
    while not np.array_equal(found, before):
        before = found.copy()
        for shift in (1, -1):
            np.minimum(found, np.roll(found, shift, axis=1) + across, out=found)
        np.minimum(found[1:], before[:-1] + _ROOM_SLOPE * STEP_MM, out=found[1:])
        np.minimum(found[:-1], before[1:] + _ROOM_SLOPE * STEP_MM, out=found[:-1])
    return found
