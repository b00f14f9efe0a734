"""Sections between the planes of a stack and beyond its ends, on a lattice of nodes.

The rules stand at the head of `tailort.geometry.solid`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.geometry.contours import Float
from tailort.geometry.raster import signed_distance
from tailort.geometry.stack import End, Joint, Part, Solid, cap_reach_mm, make_part

LEAST_GIVE = 0.1
"""What an edge that stays where it is from plane to plane gives to corrections of the section; one that moves by the
distance of the planes gives 1."""


@dataclass(frozen=True)
class Lattice:
    """Nodes x0 + I dx, y0 + J dy; ni and nj of them count as on it."""

    x0: float
    y0: float
    dx: float
    dy: float
    ni: int
    nj: int

    def window(self, low: Float, high: Float, reach: float) -> tuple[int, int, int, int]:
        """First J, I and their numbers of the nodes within `reach` of a box; they may lie beyond the lattice."""
        i0 = int(np.floor((low[0] - reach - self.x0) / self.dx))
        j0 = int(np.floor((low[1] - reach - self.y0) / self.dy))
        i1 = int(np.ceil((high[0] + reach - self.x0) / self.dx)) + 1
        j1 = int(np.ceil((high[1] + reach - self.y0) / self.dy)) + 1
        return j0, i0, j1 - j0, i1 - i0

    def meets(self, window: tuple[int, int, int, int]) -> bool:
        """Whether some nodes of the window lie on the lattice."""
        j0, i0, nj, ni = window
        return j0 < self.nj and i0 < self.ni and j0 + nj > 0 and i0 + ni > 0

    def axes(self) -> tuple[Float, Float]:
        """Return x and y of the columns and rows of nodes."""
        x: Float = self.x0 + self.dx * np.arange(self.ni, dtype=np.float64)
        y: Float = self.y0 + self.dy * np.arange(self.nj, dtype=np.float64)
        return x, y


def box_of(parts: Sequence[Part]) -> tuple[Float, Float]:
    """Return the lowest and highest x, y of some parts."""
    return np.min([p.low for p in parts], axis=0), np.max([p.high for p in parts], axis=0)


def distance_of(parts: Sequence[Part], lattice: Lattice, window: tuple[int, int, int, int], reach: float) -> Any:
    """Signed distance (j, i) to some parts on a window of the lattice, positive inside, up to +-`reach`."""
    j0, i0, nj, ni = window
    edges = parts[0].edges if len(parts) == 1 else np.concatenate([p.edges for p in parts])
    return signed_distance(
        edges, lattice.x0 + i0 * lattice.dx, lattice.y0 + j0 * lattice.dy, lattice.dx, lattice.dy, nj, ni, reach
    )


class Distances:
    """Signed distances of groups of parts on one lattice, remembered while neighbouring joints need them again."""

    def __init__(self, lattice: Lattice) -> None:
        self.lattice = lattice
        self._made: dict[tuple[object, ...], tuple[tuple[int, int, int, int], Any]] = {}

    def on(self, parts: Sequence[Part] | None, window: tuple[int, int, int, int], reach: float) -> Any:
        """Distances on the window; -`reach` beyond the reach of the parts."""
        out = np.full(window[2:], np.float32(-reach))
        if not parts:
            return out
        key = (reach, *(id(part) for part in parts))
        if key not in self._made:
            own = self.lattice.window(*box_of(parts), reach)
            while len(self._made) > 24:
                del self._made[next(iter(self._made))]
            self._made[key] = own, distance_of(parts, self.lattice, own, reach)
        (j0, i0, nj, ni), values = self._made[key]
        j1, i1 = max(j0, window[0]), max(i0, window[1])
        j2, i2 = min(j0 + nj, window[0] + window[2]), min(i0 + ni, window[1] + window[3])
        if j2 > j1 and i2 > i1:
            out[j1 - window[0] : j2 - window[0], i1 - window[1] : i2 - window[1]] = values[
                j1 - j0 : j2 - j0, i1 - i0 : i2 - i0
            ]
        return out


def radius_of(parts: Sequence[Part] | None) -> float:
    """Radius of the circle that has the area of the parts, mm."""
    return float(np.sqrt(sum(p.area for p in parts) / np.pi)) if parts else 0.0


@numba.njit(cache=True, nogil=True, inline="always")
def _psi(d: float, r: float) -> Any:
    return d * (2.0 * r - d)


@numba.njit(cache=True, nogil=True, inline="always")
def _to_distance(psi: float, r: float) -> Any:
    return r - np.sqrt(max(r * r - psi, 0.0))


@numba.njit(cache=True, nogil=True, inline="always")
def _second(p: float, a: float, b: float, hp: float, h: float) -> Any:
    """Second derivative from three values at -hp, 0, h."""
    return 2.0 * (p / (hp * (hp + h)) - a / (hp * h) + b / (h * (hp + h)))


@numba.njit(cache=True, nogil=True, inline="always")
def _curvature(
    dp: float, da: float, db: float, dn: float, radii: Float, h: Float, has_p: bool, has_n: bool, span: float
) -> Any:
    """Second derivative of psi in z that both sides agree on (the smaller one; 0 when they disagree).

    It fades out where the planes beyond have their edges further away than three quarters of `span`, to 0 at `span`.
    """
    furthest = max(abs(dp) if has_p else 0.0, abs(dn) if has_n else 0.0)
    if furthest >= span or not (has_p or has_n):
        return 0.0
    fade = min(1.0, 4.0 * (1.0 - furthest / span))
    a, b = _psi(da, radii[1]), _psi(db, radii[2])
    lower = _second(_psi(dp, radii[0]), a, b, h[0], h[1]) if has_p else 0.0
    upper = _second(_psi(dn, radii[3]), b, a, h[2], h[1]) if has_n else 0.0
    if not has_p:
        return fade * upper
    if not has_n:
        return fade * lower
    if lower * upper <= 0.0:
        return 0.0
    return fade * (lower if abs(lower) < abs(upper) else upper)


@numba.njit(cache=True, nogil=True, inline="always")
def _blend(da: float, db: float, curvature: float, t: float, radii: Float, h: float) -> Any:
    """Distance-like value between two planes, positive inside, mm."""
    ra, rb = radii[1], radii[2]
    r = np.sqrt((1.0 - t) * ra * ra + t * rb * rb)
    bulge = -0.5 * curvature * t * (1.0 - t) * h * h
    limit = 0.5 * h * r  # a quarter of the plane distance, seen as psi
    bulge = min(max(bulge, -limit), limit)
    return _to_distance((1.0 - t) * _psi(da, ra) + t * _psi(db, rb) + bulge, r)


@numba.njit(cache=True, nogil=True)
def _band(
    dp: Any, da: Any, db: Any, dn: Any, radii: Float, h: Float, has_p: bool, has_n: bool, reach: float, span: float
) -> Any:  # pragma: no cover - compiled
    """Rows and columns of the nodes where the section may change, and rows a, b, curvature, give of their values."""
    nj, ni = da.shape
    count = 0
    for j in range(nj):
        for i in range(ni):
            a, b = da[j, i], db[j, i]
            if abs(a) < reach or abs(b) < reach or a * b < 0.0:
                count += 1
    where = np.empty((2, count), dtype=np.int32)
    values = np.empty((4, count))
    n = 0
    for j in range(nj):
        for i in range(ni):
            a, b = da[j, i], db[j, i]
            if abs(a) < reach or abs(b) < reach or a * b < 0.0:
                p = dp[j, i] if has_p else 0.0
                q = dn[j, i] if has_n else 0.0
                where[0, n], where[1, n] = j, i
                values[0, n], values[1, n] = a, b
                values[2, n] = _curvature(p, a, b, q, radii, h, has_p, has_n, span)
                values[3, n] = min(1.0, LEAST_GIVE + abs(b - a) / h[1])
                n += 1
    return where, values


@numba.njit(cache=True, nogil=True)
def _level(out: Float, give: Float, target: float, step: float, h: float) -> None:  # pragma: no cover - compiled
    """Shift values, each by its `give` of the same shift but at most `h`, so that they cover `target` cells."""
    shift, low, high = 0.0, -h / LEAST_GIVE, h / LEAST_GIVE
    for _ in range(12):
        area, slope = 0.0, 0.0
        for n in range(len(out)):
            covered = 0.5 + (out[n] + min(max(give[n] * shift, -h), h)) / step
            if covered >= 1.0:
                area += 1.0
            elif covered > 0.0:
                area += covered
                slope += give[n] / step
        if abs(area - target) < 1e-4 * (target + 1.0):
            break
        if area > target:
            high = shift
        else:
            low = shift
        new = shift + (target - area) / slope if slope > 0.0 else low
        shift = new if low < new < high else 0.5 * (low + high)
    for n in range(len(out)):
        out[n] += min(max(give[n] * shift, -h), h)


@numba.njit(cache=True, nogil=True)
def _tilt(
    out: Float, give: Float, places: Float, target: Float, step: float, h: float
) -> None:  # pragma: no cover - compiled
    """Add `give` times a plane over the section, so that area and moments of what they cover become `target`."""
    level, a, b = 0.0, 0.0, 0.0
    for _ in range(8):
        area, mx, my = 0.0, 0.0, 0.0
        s, sx, sy, sxx, sxy, syy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for n in range(len(out)):
            x, y, w = places[0, n], places[1, n], give[n]
            covered = 0.5 + (out[n] + w * (level + a * x + b * y)) / step
            if covered <= 0.0:
                continue
            if covered < 1.0:
                s += w
                sx += w * x
                sy += w * y
                sxx += w * x * x
                sxy += w * x * y
                syy += w * y * y
            covered = min(covered, 1.0)
            area += covered
            mx += covered * x
            my += covered * y
        e, ex, ey = (target[0] - area) * step, (target[1] - mx) * step, (target[2] - my) * step
        if max(abs(e), abs(ex), abs(ey)) < 1e-4 * step * (target[0] + 1.0) or s <= 0.0:
            break
        # Newton's step: the level taken out of the normal equations leaves two unknowns.
        sxx, sxy, syy = sxx - sx * sx / s, sxy - sx * sy / s, syy - sy * sy / s
        ex, ey = ex - sx * e / s, ey - sy * e / s
        det = sxx * syy - sxy * sxy
        if det < 1e-6 * s * s:
            break
        da, db = (syy * ex - sxy * ey) / det, (sxx * ey - sxy * ex) / det
        dl = (e - sx * da - sy * db) / s
        a, b = min(max(a + da, -h), h), min(max(b + db, -h), h)
        level = min(max(level + dl, -h), h)
    for n in range(len(out)):
        out[n] += give[n] * (level + a * places[0, n] + b * places[1, n])


@numba.njit(cache=True, nogil=True)
def levelled(
    values: Float, places: Float, t: float, radii: Float, h: float, step: float, curvature: Float, out: Float
) -> None:  # pragma: no cover - compiled
    """Distance-like values between two planes at `t`, shifted and tilted to give the section its area and centroid.

    `places` are the x and y of the values and `curvature` the second derivatives of area and moments as
    `JointFields` keeps them.
    """
    nb = values.shape[1]
    target = -0.5 * t * (1.0 - t) * h * h * curvature
    for n in range(nb):
        a, b = values[0, n], values[1, n]
        out[n] = _blend(a, b, values[2, n], t, radii, h)
        covered = (1.0 - t) * min(max(0.5 + a / step, 0.0), 1.0) + t * min(max(0.5 + b / step, 0.0), 1.0)
        target[0] += covered
        target[1] += covered * places[0, n]
        target[2] += covered * places[1, n]
    _tilt(out, values[3], places, target, step, h)
    _level(out, values[3], target[0], step, h)


@numba.njit(cache=True, nogil=True)
def _far_disagreement(da: Any, db: Any, reach: float) -> bool:
    """Whether a node lies in only one of two sections and further from an edge than was computed."""
    nj, ni = da.shape
    for j in range(nj):
        for i in range(ni):
            if da[j, i] * db[j, i] < 0.0 and (abs(da[j, i]) >= reach or abs(db[j, i]) >= reach):
                return True
    return False


@dataclass(frozen=True, eq=False)
class JointFields:
    """What a lattice needs to know of two sections to blend them at any height between their planes."""

    window: tuple[int, int, int, int]
    below: Any  # signed distances of the lower section in the window
    where: NDArray[np.int32]
    values: Float
    free: Float  # part of each cell of `values` outside the holes that end on the way from the lower, the upper plane
    places: Float  # x and y of `values` from the joint's centre, in `extent`
    radii: Float
    h: float
    curvature: Float  # second derivatives of area and moments, counted in cells and in `places`

    def banded(self, t: float, step: float) -> Float:
        """Distance-like values of the nodes `where` at `t`, 0 to 1, between the planes."""
        line = np.empty(self.values.shape[1])
        levelled(self.values, self.places, t, self.radii, self.h, step, self.curvature, line)
        return line

    def dense(self, t: float, step: float) -> Float:
        """Distance-like values in the whole window at `t`, 0 to 1, between the planes."""
        line = self.banded(t, step)
        out: Float = self.below.astype(np.float64)
        out[self.where[0], self.where[1]] = line
        return out


def joint_fields(solid: Solid, joint: Joint, distances: Distances) -> JointFields | None:
    """Make the fields of a joint on the lattice of `distances`; None where they do not meet it."""
    lattice = distances.lattice
    z, k = solid.planes_mm, joint.lower
    h = np.array(
        [
            z[k] - z[k - 1] if k > 0 else 1.0,
            z[k + 1] - z[k],
            z[k + 2] - z[k + 1] if k + 2 < len(z) else 1.0,
        ]
    )
    step = max(lattice.dx, lattice.dy)
    # Sections that move sideways are further from the edges of the planes beyond.
    sideways = 0.5 * float(np.linalg.norm(np.sum(box_of(joint.below), axis=0) - np.sum(box_of(joint.above), axis=0)))
    oblique = sideways > 0.25 * min(radius_of(joint.below), radius_of(joint.above))
    # What the section becomes must not depend on the lattice: only the margin of two steps does.
    span = max(2.25 * h[1], 1.5) + (2 * sideways if oblique else 0.0)
    reach = span + 2 * step
    low, high = box_of([*joint.below, *joint.above])
    window = lattice.window(low, high, 0.3 * h[1] + 2 * step)
    if not lattice.meets(window):
        return None
    while True:
        a, b = distances.on(joint.below, window, reach), distances.on(joint.above, window, reach)
        if not _far_disagreement(a, b, reach):
            break
        reach *= 2
    radii = np.array([radius_of(joint.before), radius_of(joint.below), radius_of(joint.above), radius_of(joint.after)])
    where, values = _band(
        distances.on(joint.before, window, reach), a, b, distances.on(joint.after, window, reach),
        radii, h, joint.before is not None, joint.after is not None, reach, span,
    )  # fmt: skip
    free = np.ones((2, values.shape[1]))
    for n, holes in enumerate((joint.holes_below, joint.holes_above)):
        if holes:
            parts = (make_part([hole[::-1] for hole in holes]),)
            hole_distances = distance_of(parts, lattice, window, 2 * step)[where[0], where[1]]
            free[n] = np.clip(0.5 - hole_distances / np.sqrt(lattice.dx * lattice.dy), 0.0, 1.0)
    extent = 0.5 * float(np.linalg.norm(high - low))
    first = np.array([lattice.x0 + window[1] * lattice.dx, lattice.y0 + window[0] * lattice.dy]) - joint.centre
    places = (first[:, None] + where[::-1] * np.array([[lattice.dx], [lattice.dy]])) / extent
    curvature = joint.curvature / (lattice.dx * lattice.dy * np.array([1.0, extent, extent]))
    return JointFields(window, a, where, values, free, places, radii, float(h[1]), curvature)


@dataclass(frozen=True, eq=False)
class CapFields:
    """What a lattice needs to know of an end to close it by tapering."""

    window: tuple[int, int, int, int]
    psi: Float  # in the last plane
    slope: Float  # per mm outwards
    curvature: Float
    closing: float  # psi per mm taken off everywhere so that it closes in time
    radius: float
    thickness: float


def cap_fields(end: End, lattice: Lattice) -> CapFields | None:
    """Make the fields of a tapered end; None where they do not meet the lattice."""
    part = end.part
    window = lattice.window(part.low, part.high, max(lattice.dx, lattice.dy))
    if not lattice.meets(window):
        return None
    reach = float(np.max(part.high - part.low)) + 2 * max(lattice.dx, lattice.dy)
    psis = []
    for parts in ((part,), *end.inner):
        d, r = np.asarray(distance_of(parts, lattice, window, reach), dtype=np.float64), radius_of(parts)
        psis.append(d * (2 * r - d))
    last, h = psis[0], end.thickness
    if len(psis) == 1:
        slope, curvature = np.zeros_like(last), np.zeros_like(last)
    elif len(psis) == 2:
        slope, curvature = (last - psis[1]) / end.spacings[0], np.zeros_like(last)
    else:
        h1, h2 = end.spacings
        curvature = 2 * (psis[2] / (h2 * (h2 - h1)) - psis[1] / (h1 * (h2 - h1)) + last / (h1 * h2))
        slope = (last - psis[1]) / h1 + 0.5 * curvature * h1
    slope = np.minimum(slope, 0.0)
    curvature = np.minimum(curvature, -slope / h)
    at_end = np.minimum(last, last + slope * h + 0.5 * curvature * h * h)
    return CapFields(window, last, slope, curvature, max(0.0, float(at_end.max())) / h, radius_of((part,)), h)


def closing_height_mm(solid: Solid, end: End) -> float:
    """Distance from the last plane at which an end of the solid closes, mm."""
    if solid.end_cap != "tapered":
        return cap_reach_mm(solid, end)
    step = float(np.clip(radius_of((end.part,)) / 20, 0.05, 1.0))
    low, high = end.part.low - step, end.part.high + step
    count = np.ceil((high - low) / step).astype(int) + 1
    cap = cap_fields(end, Lattice(low[0], low[1], step, step, int(count[0]), int(count[1])))
    if cap is None:
        return 0.0
    open_, closed = 0.0, cap.thickness
    for _ in range(20):
        middle = 0.5 * (open_ + closed)
        open_, closed = (middle, closed) if cap_field(cap, middle).max() > 0 else (open_, middle)
    return closed


def cap_field(cap: CapFields, u: float) -> Float:
    """Distance-like values of a tapered end `u` mm beyond its last plane, positive inside."""
    psi = cap.psi + np.minimum(0.0, cap.slope * u + 0.5 * cap.curvature * u * u) - cap.closing * u
    r = cap.radius
    out: Float = r - np.sqrt(np.maximum(r * r - psi, 0.0))
    return out
