"""The solid that a stack of contours means, and how much of each voxel it fills.

The rules, in the order in which they apply:

1. **Parts.** The contours of a plane are parts: an outer contour with the holes in it (even-odd). Parts of
   neighbouring planes that overlap belong together.
2. **Between planes** the section follows from the signed distances d to the edges of the two sections, with
   psi = d (2 r - d), r the radius of a circle of the section's area: linear in z, and with the second difference over
   the next planes where both sides agree on it. For circles psi is r^2 minus the squared distance to the centre, so
   spheres, ellipsoids of revolution, cylinders and cones, upright or sheared, come back exactly; far from a centre it
   is the common blend of distances. A shift of the level then gives each section the area that the areas of
   the planes give by the same rule (linear, plus the agreed second difference), so that blending loses no volume where
   a section moves sideways from plane to plane.
3. **Ends.** A part with no partner in the next plane ends by the end-cap rule. "half_slice": it goes on unchanged for
   half the distance of the planes. "none": it ends in its last plane. "tapered": psi goes on with its slope and
   curvature and closes within one distance. A hole without partner goes on for half the distance.
4. **Gaps.** The usual distance of a stack is the median one. Planes further apart than 1.5 times that (a slice was
   left out) are still joined up to `BRIDGED_DISTANCES` times (two slices left out); parts further
   apart end on both sides, with the usual distance in the end-cap rule.

References
----------
Raya and Udupa, IEEE Trans Med Imaging 1990;9:32 (shape-based interpolation), doi:10.1109/42.52980.
Herman, Zheng, Bucholtz, IEEE Comput Graph Appl 1992;12:69 (higher order), doi:10.1109/38.135915.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError
from tailort.geometry.contours import (
    Contours,
    Float,
    area_mm2,
    by_plane,
    in_plane,
    level_set,
    nesting_depth,
    oriented,
    resample_edge,
    rings_without_channels,
)
from tailort.geometry.grid import Grid
from tailort.geometry.raster import add_coverage, coverage, signed_distance

EndCap = Literal["half_slice", "none", "tapered"]

WIDE_GAP = 1.5
"""Planes further apart than this many usual distances have a gap between them."""

BRIDGED_DISTANCES = 3.5
"""Planes up to this many usual distances apart are joined."""


@dataclass(frozen=True, eq=False)
class PartialVolume:
    """The part of each voxel that a solid fills, kept as the block of voxels that it touches.

    Parameters
    ----------
    low : (3,) int
        Index (k, j, i) in the whole grid of the block's first voxel.
    fractions : (k, j, i) float32
        Filled part of each voxel of the block, 0 to 1.
    shape : (3,) int
        Shape of the whole grid.
    """

    low: tuple[int, int, int]
    fractions: NDArray[np.float32]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        view = self.fractions.view()
        view.setflags(write=False)
        object.__setattr__(self, "fractions", view)

    @property
    def block(self) -> tuple[slice, slice, slice]:
        """Where the block lies in an array of the whole grid."""
        k, j, i = (slice(a, a + n) for a, n in zip(self.low, self.fractions.shape, strict=True))
        return k, j, i

    def full(self) -> NDArray[np.float32]:
        """Return the fractions of the whole grid."""
        whole = np.zeros(self.shape, dtype=np.float32)
        whole[self.block] = self.fractions
        return whole

    def indices(self) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return the flat indices of the voxels touched, ascending, and their fractions."""
        whole, fractions = _touched(self.fractions, np.array(self.low), np.array(self.shape))
        return whole, fractions

    def volume_cm3(self, grid: Grid) -> float:
        """Volume within the grid, cm3."""
        if grid.shape != self.shape:
            raise GeometryError(f"partial volumes on a grid of shape {self.shape} do not fit one of shape {grid.shape}")
        return float(self.fractions.sum(dtype=np.float64)) * grid.voxel_volume_cm3


@numba.njit(cache=True, nogil=True)
def _touched(
    block: NDArray[np.float32], low: NDArray[np.int64], shape: NDArray[np.int64]
) -> Any:  # pragma: no cover - compiled
    nk, nj, ni = block.shape
    count = 0
    for k in range(nk):
        for j in range(nj):
            for i in range(ni):
                if block[k, j, i] > 0.0:
                    count += 1
    where, fractions = np.empty(count, dtype=np.uint32), np.empty(count, dtype=np.float32)
    n = 0
    for k in range(nk):
        for j in range(nj):
            row = ((k + low[0]) * shape[1] + j + low[1]) * shape[2] + low[2]
            for i in range(ni):
                if block[k, j, i] > 0.0:
                    where[n], fractions[n] = row + i, block[k, j, i]
                    n += 1
    return where, fractions


@dataclass(frozen=True, eq=False)
class Part:
    """One connected piece of a section: an outer polygon with its holes, oriented, mm."""

    rings: tuple[Float, ...]
    area: float
    low: Float
    high: Float
    edges: Float


@dataclass(frozen=True, eq=False)
class Joint:
    """Parts of two neighbouring planes that belong together, with holes that end between them filled."""

    lower: int  # number of the lower plane
    below: tuple[Part, ...]
    above: tuple[Part, ...]
    before: tuple[Part, ...] | None  # one plane further down; None where the stack ends
    after: tuple[Part, ...] | None
    holes_below: tuple[Float, ...]
    holes_above: tuple[Float, ...]
    area_curvature: float  # second derivative of the section's area in z


@dataclass(frozen=True, eq=False)
class End:
    """A part without partner in the next plane."""

    plane: int
    part: Part
    upwards: bool
    thickness: float  # distance of planes that the end-cap rule works with, mm
    inner: tuple[tuple[Part, ...], ...]  # parts in up to two planes behind the end
    spacings: tuple[float, ...]  # the distances to these planes, mm


@dataclass(frozen=True, eq=False)
class Solid:
    """A stack of sections with its joints and ends."""

    planes_mm: Float
    sections: tuple[tuple[Part, ...], ...]
    joints: tuple[Joint, ...]
    ends: tuple[End, ...]
    end_cap: EndCap
    spans: dict[int, tuple[float, float]] = field(repr=False)  # id of a part -> lowest and highest z of its prism

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return not self.sections

    def bounds_mm(self) -> tuple[Float, Float]:
        """Return the lowest and highest x, y, z."""
        parts = [part for section in self.sections for part in section]
        low = np.min([part.low for part in parts], axis=0)
        high = np.max([part.high for part in parts], axis=0)
        bottom, top = self.planes_mm[0], self.planes_mm[-1]
        for end in self.ends:
            reach = _cap_reach(self, end)
            z = self.planes_mm[end.plane]
            bottom, top = (bottom, max(top, z + reach)) if end.upwards else (min(bottom, z - reach), top)
        return np.array([*low, bottom]), np.array([*high, top])


def _cap_reach(solid: Solid, end: End) -> float:
    return {"half_slice": 0.5, "none": 0.0, "tapered": 1.0}[solid.end_cap] * end.thickness


def build_solid(
    contours: Contours, end_cap: EndCap = "half_slice", single_slice_thickness_mm: float | None = None
) -> Solid:
    """Make the solid of a stack of contours by the rules at the head of this module.

    Parameters
    ----------
    contours : sequence of (n, 3) float
        Closed polygons, LPS mm.
    end_cap : EndCap
        How the ends close.
    single_slice_thickness_mm : float, optional
        Distance of planes for contours that lie in one plane only.

    Raises
    ------
    GeometryError
        For open contours, an unknown end cap, or one plane without a thickness.
    """
    if end_cap not in get_args(EndCap):
        raise GeometryError(f"unknown end cap {end_cap!r}; known are {', '.join(get_args(EndCap))}")
    planes, polygons = by_plane(contours)
    if len(planes) == 0:
        return Solid(planes, (), (), (), end_cap, {})
    if len(planes) == 1 and single_slice_thickness_mm is None:
        raise GeometryError(
            f"the contours lie in one plane only (z = {planes[0]:g} mm), so their thickness is unknown: "
            "give single_slice_thickness_mm, usually the slice distance of the CT"
        )
    if single_slice_thickness_mm is not None and not single_slice_thickness_mm > 0:
        raise GeometryError(f"the thickness of a single slice must be above 0 mm; found {single_slice_thickness_mm}")
    sections = tuple(_parts(rings) for rings in polygons)
    distance = np.diff(planes)
    usual = float(np.median(distance)) if len(distance) else float(single_slice_thickness_mm or 0.0)
    links = [
        _links(sections[k], sections[k + 1]) if distance[k] <= BRIDGED_DISTANCES * usual + 1e-6 else []
        for k in range(len(distance))
    ]
    joints = _joints(planes, sections, links)
    ends = _ends(planes, sections, links, usual)
    spans: dict[int, list[float]] = {}
    for k, section in enumerate(sections):
        for part in section:
            up = 0.5 * distance[k] if k < len(distance) else 0.0
            down = 0.5 * distance[k - 1] if k > 0 else 0.0
            spans[id(part)] = [planes[k] - down, planes[k] + up]
    base = 0.0 if end_cap == "none" else 0.5
    for end in ends:
        reach = base * end.thickness
        spans[id(end.part)][1 if end.upwards else 0] = planes[end.plane] + (reach if end.upwards else -reach)
    return Solid(planes, sections, joints, ends, end_cap, {key: (a, b) for key, (a, b) in spans.items()})


def _edges(rings: Sequence[Float]) -> Float:
    if not rings:
        return np.empty((0, 4))
    return np.concatenate([np.hstack([ring, np.roll(ring, -1, axis=0)]) for ring in rings])


def _part(rings: Sequence[Float]) -> Part:
    area = sum(area_mm2(ring) for ring in rings)
    outer = rings[0]
    return Part(tuple(rings), area, outer.min(axis=0), outer.max(axis=0), _edges(rings))


def _parts(polygons: Sequence[Float]) -> tuple[Part, ...]:
    rings = [ring for ring in rings_without_channels(polygons) if abs(area_mm2(ring)) > 1e-9]
    if not rings:
        return ()
    rings = oriented(rings)
    if len(rings) == 1:
        return (_part(rings),)
    depth = nesting_depth(rings)
    outers = [n for n in range(len(rings)) if depth[n] % 2 == 0]
    members: dict[int, list[Float]] = {n: [rings[n]] for n in outers}
    for n in range(len(rings)):
        if depth[n] % 2:
            # The hole belongs to the smallest outer polygon one level up that holds it.
            around = [o for o in outers if depth[o] == depth[n] - 1 and nesting_depth([rings[o], rings[n]])[1] == 1]
            if around:
                members[min(around, key=lambda o: abs(area_mm2(rings[o])))].append(rings[n])
    return tuple(_part(group) for group in members.values())


_RASTER = 48


def _shared_raster(low: Float, high: Float, *edges: Float) -> list[Float]:
    step = np.maximum((high - low) / _RASTER, 1e-6)
    return [coverage(e, low[0], low[1], step[0], step[1], _RASTER, _RASTER) for e in edges]


def _overlap(a: Part, b: Part) -> bool:
    low, high = np.maximum(a.low, b.low), np.minimum(a.high, b.high)
    if (high <= low).any():
        return False
    covered_a, covered_b = _shared_raster(low, high, a.edges, b.edges)
    return bool((covered_a + covered_b).max() > 1.001)


def _links(below: Sequence[Part], above: Sequence[Part]) -> list[tuple[int, int]]:
    return [(a, b) for a, p in enumerate(below) for b, q in enumerate(above) if _overlap(p, q)]


def _clusters(links: list[tuple[int, int]]) -> list[tuple[list[int], list[int]]]:
    groups: list[tuple[set[int], set[int]]] = []
    for a, b in links:
        touching = [g for g in groups if a in g[0] or b in g[1]]
        merged = ({a}.union(*(g[0] for g in touching)), {b}.union(*(g[1] for g in touching)))
        groups = [g for g in groups if g not in touching] + [merged]
    return [(sorted(a), sorted(b)) for a, b in groups]


def _fill_ended_holes(parts: list[Part], others: list[Part]) -> tuple[tuple[Part, ...], tuple[Float, ...]]:
    """Fill the holes of `parts` that lie wholly within `others`; return the parts and these holes."""
    if all(len(part.rings) == 1 for part in parts):
        return tuple(parts), ()
    filled: list[Part] = []
    ended: list[Float] = []
    edges = np.concatenate([other.edges for other in others])
    for part in parts:
        kept = [part.rings[0]]
        for hole in part.rings[1:]:
            covered, open_part = _shared_raster(hole.min(axis=0), hole.max(axis=0), edges, -_edges([hole[::-1]]) * -1)
            if (open_part - covered).max() > 1e-3:
                kept.append(hole)
            else:
                ended.append(hole)
        filled.append(part if len(kept) == len(part.rings) else _part(kept))
    return tuple(filled), tuple(ended)


def _linked(links: list[list[tuple[int, int]]], k: int, parts: Iterable[int], upwards: bool) -> list[int] | None:
    """Return the parts that `parts` of plane k are linked to in the next plane; None where there is no next plane."""
    if upwards:
        return sorted({b for a, b in links[k] if a in parts}) if k < len(links) else None
    return sorted({a for a, b in links[k - 1] if b in parts}) if k > 0 else None


def _area(parts: Sequence[Part]) -> float:
    return float(sum(part.area for part in parts))


def _area_curvature(
    planes: Float, sections: Sequence[tuple[Part, ...]], links: list[list[tuple[int, int]]],
    k: int, low: list[int], high: list[int],
) -> float:  # fmt: skip
    """Second derivative of the area that the planes on both sides agree on; at an end, the next two inwards."""

    def chain(group: list[int], at: int, upwards: bool) -> list[tuple[float, float]]:
        out = [(float(planes[at]), _area([sections[at][n] for n in group]))]
        while len(out) < 4:
            following = _linked(links, at, group, upwards)
            if not following:
                break
            group, at = following, at + (1 if upwards else -1)
            out.append((float(planes[at]), _area([sections[at][n] for n in group])))
        return out

    def second(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
        return 2 * ((c[1] - b[1]) / (c[0] - b[0]) - (b[1] - a[1]) / (b[0] - a[0])) / (c[0] - a[0])

    down, up = chain(low, k, False), chain(high, k + 1, True)
    line = [*down[::-1], *up]
    at = len(down) - 1
    found = [second(*line[m - 1 : m + 2]) for m in (at, at + 1) if 0 < m < len(line) - 1]
    if len(found) == 1 and len(line) > 3:
        m = at - 1 if at > 0 and at + 1 == len(line) - 1 else at + 2
        found.append(second(*line[m - 1 : m + 2]))
    if not found or min(found) * max(found) <= 0:
        return 0.0
    return min(found, key=abs)


def _joints(
    planes: Float, sections: Sequence[tuple[Part, ...]], links: list[list[tuple[int, int]]]
) -> tuple[Joint, ...]:
    joints = []
    for k, pairs in enumerate(links):
        for low, high in _clusters(pairs):
            lower, upper = [sections[k][n] for n in low], [sections[k + 1][n] for n in high]
            below, holes_below = _fill_ended_holes(lower, upper)
            above, holes_above = _fill_ended_holes(upper, lower)
            before, after = _linked(links, k, low, False), _linked(links, k + 1, high, True)
            joints.append(
                Joint(
                    k,
                    below,
                    above,
                    tuple(sections[k - 1][n] for n in before) if before else None,
                    tuple(sections[k + 2][n] for n in after) if after else None,
                    holes_below,
                    holes_above,
                    _area_curvature(planes, sections, links, k, low, high),
                )
            )
    return tuple(joints)


def _ends(
    planes: Float, sections: Sequence[tuple[Part, ...]], links: list[list[tuple[int, int]]], usual: float
) -> tuple[End, ...]:
    ends = []
    for k, section in enumerate(sections):
        for n, part in enumerate(section):
            for upwards in (False, True):
                if _linked(links, k, (n,), upwards):
                    continue
                inner: list[tuple[Part, ...]] = []
                spacings: list[float] = []
                at, group = k, [n]
                while len(inner) < 2:
                    behind = _linked(links, at, group, not upwards)
                    if not behind:
                        break
                    at += -1 if upwards else 1
                    group = behind
                    inner.append(tuple(sections[at][m] for m in group))
                    spacings.append(abs(float(planes[at] - planes[k])))
                ahead = k + (1 if upwards else -1)
                if 0 <= ahead < len(planes):
                    thickness = abs(float(planes[ahead] - planes[k]))
                elif spacings:
                    thickness = spacings[0]
                elif len(planes) > 1:
                    thickness = abs(float(planes[k - 1 if upwards else k + 1] - planes[k]))
                else:
                    thickness = usual
                if thickness > WIDE_GAP * usual:
                    thickness = usual
                ends.append(End(k, part, upwards, thickness, tuple(inner), tuple(spacings)))
    return tuple(ends)


# ---------------------------------------------------------------------------------------------------------------
# Blending between planes, on a lattice of nodes x0 + I dx, y0 + J dy
# ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lattice:
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
        x: Float = self.x0 + self.dx * np.arange(self.ni, dtype=np.float64)
        y: Float = self.y0 + self.dy * np.arange(self.nj, dtype=np.float64)
        return x, y


def _box(parts: Sequence[Part]) -> tuple[Float, Float]:
    return np.min([p.low for p in parts], axis=0), np.max([p.high for p in parts], axis=0)


def _distance(parts: Sequence[Part], lattice: _Lattice, window: tuple[int, int, int, int], reach: float) -> Any:
    j0, i0, nj, ni = window
    edges = parts[0].edges if len(parts) == 1 else np.concatenate([p.edges for p in parts])
    return signed_distance(
        edges, lattice.x0 + i0 * lattice.dx, lattice.y0 + j0 * lattice.dy, lattice.dx, lattice.dy, nj, ni, reach
    )


class _Distances:
    """Signed distances of groups of parts on one lattice, remembered while neighbouring joints need them again."""

    def __init__(self, lattice: _Lattice) -> None:
        self.lattice = lattice
        self._made: dict[tuple[object, ...], tuple[tuple[int, int, int, int], Any]] = {}

    def on(self, parts: Sequence[Part] | None, window: tuple[int, int, int, int], reach: float) -> Any:
        """Distances on the window; -`reach` beyond the reach of the parts."""
        out = np.full(window[2:], np.float32(-reach))
        if not parts:
            return out
        key = (reach, *(id(part) for part in parts))
        if key not in self._made:
            own = self.lattice.window(*_box(parts), reach)
            while len(self._made) > 24:
                del self._made[next(iter(self._made))]
            self._made[key] = own, _distance(parts, self.lattice, own, reach)
        (j0, i0, nj, ni), values = self._made[key]
        j1, i1 = max(j0, window[0]), max(i0, window[1])
        j2, i2 = min(j0 + nj, window[0] + window[2]), min(i0 + ni, window[1] + window[3])
        if j2 > j1 and i2 > i1:
            out[j1 - window[0] : j2 - window[0], i1 - window[1] : i2 - window[1]] = values[
                j1 - j0 : j2 - j0, i1 - i0 : i2 - i0
            ]
        return out


def _radius(parts: Sequence[Part] | None) -> float:
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
    dp: float, da: float, db: float, dn: float, radii: Float, h: Float, has_p: bool, has_n: bool, reach: float
) -> Any:
    """Second derivative of psi in z that both sides agree on (the smaller one; 0 when they disagree)."""
    if (has_p and abs(dp) >= reach) or (has_n and abs(dn) >= reach) or not (has_p or has_n):
        return 0.0
    a, b = _psi(da, radii[1]), _psi(db, radii[2])
    lower = _second(_psi(dp, radii[0]), a, b, h[0], h[1]) if has_p else 0.0
    upper = _second(_psi(dn, radii[3]), b, a, h[2], h[1]) if has_n else 0.0
    if not has_p:
        return upper
    if not has_n:
        return lower
    if lower * upper <= 0.0:
        return 0.0
    return lower if abs(lower) < abs(upper) else upper


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
    dp: Any, da: Any, db: Any, dn: Any, radii: Float, h: Float, has_p: bool, has_n: bool, reach: float
) -> Any:  # pragma: no cover - compiled
    """Rows and columns of the nodes where the section may change, and rows a, b, curvature of their values."""
    nj, ni = da.shape
    count = 0
    for j in range(nj):
        for i in range(ni):
            a, b = da[j, i], db[j, i]
            if abs(a) < reach or abs(b) < reach or a * b < 0.0:
                count += 1
    where = np.empty((2, count), dtype=np.int32)
    values = np.empty((3, count))
    n = 0
    for j in range(nj):
        for i in range(ni):
            a, b = da[j, i], db[j, i]
            if abs(a) < reach or abs(b) < reach or a * b < 0.0:
                p = dp[j, i] if has_p else 0.0
                q = dn[j, i] if has_n else 0.0
                where[0, n], where[1, n] = j, i
                values[0, n], values[1, n] = a, b
                values[2, n] = _curvature(p, a, b, q, radii, h, has_p, has_n, reach)
                n += 1
    return where, values


@numba.njit(cache=True, nogil=True)
def _levelled(
    values: Float, t: float, radii: Float, h: float, step: float, cell: float, area_curvature: float, out: Float
) -> None:  # pragma: no cover - compiled
    """Distance-like values between two planes at `t`, shifted to the level that gives the section its area."""
    nb = values.shape[1]
    target = -0.5 * area_curvature * t * (1.0 - t) * h * h / cell
    for n in range(nb):
        a, b = values[0, n], values[1, n]
        out[n] = _blend(a, b, values[2, n], t, radii, h)
        target += (1.0 - t) * min(max(0.5 + a / step, 0.0), 1.0) + t * min(max(0.5 + b / step, 0.0), 1.0)
    shift, low, high = 0.0, -h, h
    for _ in range(12):
        area, slope = 0.0, 0.0
        for n in range(nb):
            covered = 0.5 + (out[n] + shift) / step
            if covered >= 1.0:
                area += 1.0
            elif covered > 0.0:
                area += covered
                slope += 1.0 / step
        if abs(area - target) < 1e-4 * (target + 1.0):
            break
        if area > target:
            high = shift
        else:
            low = shift
        new = shift + (target - area) / slope if slope > 0.0 else low
        shift = new if low < new < high else 0.5 * (low + high)
    for n in range(nb):
        out[n] += shift


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
class _JointFields:
    window: tuple[int, int, int, int]
    below: Any  # signed distances of the lower section in the window
    where: NDArray[np.int32]
    values: Float
    radii: Float
    h: float
    area_curvature: float

    def dense(self, t: float, step: float) -> Float:
        """Distance-like values in the whole window at `t`, 0 to 1, between the planes."""
        line = np.empty(self.values.shape[1])
        _levelled(self.values, t, self.radii, self.h, step, step * step, self.area_curvature, line)
        out: Float = self.below.astype(np.float64)
        out[self.where[0], self.where[1]] = line
        return out


def _joint_fields(solid: Solid, joint: Joint, distances: _Distances) -> _JointFields | None:
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
    sideways = 0.5 * float(np.linalg.norm(np.sum(_box(joint.below), axis=0) - np.sum(_box(joint.above), axis=0)))
    reach = max(1.5 * h[1], 1.0) + 2 * sideways + 2 * step
    low, high = _box([*joint.below, *joint.above])
    window = lattice.window(low, high, 0.3 * h[1] + 2 * step)
    if not lattice.meets(window):
        return None
    while True:
        a, b = distances.on(joint.below, window, reach), distances.on(joint.above, window, reach)
        if not _far_disagreement(a, b, reach):
            break
        reach *= 2
    radii = np.array([_radius(joint.before), _radius(joint.below), _radius(joint.above), _radius(joint.after)])
    where, values = _band(
        distances.on(joint.before, window, reach), a, b, distances.on(joint.after, window, reach),
        radii, h, joint.before is not None, joint.after is not None, reach,
    )  # fmt: skip
    return _JointFields(window, a, where, values, radii, float(h[1]), joint.area_curvature)


@dataclass(frozen=True, eq=False)
class _CapFields:
    window: tuple[int, int, int, int]
    psi: Float  # in the last plane
    slope: Float  # per mm outwards
    curvature: Float
    closing: float  # psi per mm taken off everywhere so that it closes in time
    radius: float
    thickness: float


def _cap_fields(end: End, lattice: _Lattice) -> _CapFields | None:
    part = end.part
    window = lattice.window(part.low, part.high, max(lattice.dx, lattice.dy))
    if not lattice.meets(window):
        return None
    reach = float(np.max(part.high - part.low)) + 2 * max(lattice.dx, lattice.dy)
    psis = []
    for parts in ((part,), *end.inner):
        d, r = np.asarray(_distance(parts, lattice, window, reach), dtype=np.float64), _radius(parts)
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
    return _CapFields(window, last, slope, curvature, max(0.0, float(at_end.max())) / h, _radius((part,)), h)


def closing_height_mm(solid: Solid, end: End) -> float:
    """Distance from the last plane at which an end of the solid closes, mm."""
    if solid.end_cap != "tapered":
        return _cap_reach(solid, end)
    step = float(np.clip(_radius((end.part,)) / 20, 0.05, 1.0))
    low, high = end.part.low - step, end.part.high + step
    count = np.ceil((high - low) / step).astype(int) + 1
    cap = _cap_fields(end, _Lattice(low[0], low[1], step, step, int(count[0]), int(count[1])))
    if cap is None:
        return 0.0
    open_, closed = 0.0, cap.thickness
    for _ in range(20):
        middle = 0.5 * (open_ + closed)
        open_, closed = (middle, closed) if _cap_field(cap, middle).max() > 0 else (open_, middle)
    return closed


def _cap_field(cap: _CapFields, u: float) -> Float:
    psi = cap.psi + np.minimum(0.0, cap.slope * u + 0.5 * cap.curvature * u * u) - cap.closing * u
    r = cap.radius
    out: Float = r - np.sqrt(np.maximum(r * r - psi, 0.0))
    return out


# ---------------------------------------------------------------------------------------------------------------
# Sections, partial volumes, volumes
# ---------------------------------------------------------------------------------------------------------------


def _step_for(solid: Solid) -> float:
    """Lattice step that resolves the sections: a twelfth of the median radius, 0.25 to 1 mm."""
    radii = [np.sqrt(p.area / np.pi) for section in solid.sections for p in section]
    return float(np.clip(np.median(radii) / 12.0, 0.25, 1.0))


def section(solid: Solid, z_mm: float, step_mm: float | None = None) -> list[Float]:
    """Return the polygons (n, 2) of the solid in a transverse plane, oriented; exact in the planes of the contours.

    Parameters
    ----------
    solid : Solid
        From `build_solid`.
    z_mm : float
        The plane, LPS mm.
    step_mm : float, optional
        Lattice step of interpolated sections; by default a twelfth of the median radius, 0.25 to 1 mm.
    """
    return sections(solid, [z_mm], step_mm)[0]


def sections(solid: Solid, z_mm: ArrayLike, step_mm: float | None = None) -> list[list[Float]]:
    """Return the polygons of the solid in several transverse planes, as `section`."""
    heights = np.asarray(z_mm, dtype=np.float64)
    if solid.is_empty:
        return [[] for _ in heights]
    planes, step = solid.planes_mm, step_mm or _step_for(solid)
    out: list[list[Float]] = [[] for _ in heights]
    between: dict[int, list[int]] = {}
    for n, z in enumerate(heights):
        near = int(np.argmin(np.abs(planes - z)))
        if abs(planes[near] - z) < PLANE_MATCH_MM:
            out[n] = [ring for part in solid.sections[near] for ring in part.rings]
        else:
            between.setdefault(int(np.searchsorted(planes, z)) - 1, []).append(n)
    for k, members in between.items():
        for n, polygons in zip(members, _sections_between(solid, k, heights[members], step), strict=True):
            out[n] = polygons
    return out


def _sections_between(solid: Solid, k: int, heights: Float, step: float) -> Iterable[list[Float]]:
    """Yield the polygons at heights above plane k and below the next one."""
    planes = solid.planes_mm
    joints = [j for j in solid.joints if j.lower == k]
    ends = [e for e in solid.ends if (e.plane == k and e.upwards) or (e.plane == k + 1 and not e.upwards)]
    parts = [p for j in joints for p in (*j.below, *j.above)] + [e.part for e in ends]
    if not parts:
        for _ in heights:
            yield []
        return
    low, high = _box(parts)
    room = 0.3 * max((planes[j.lower + 1] - planes[j.lower] for j in joints), default=0.0) + 3 * step
    count = np.ceil((high - low + 2 * room) / step).astype(int) + 1
    lattice = _Lattice(low[0] - room, low[1] - room, step, step, int(count[0]), int(count[1]))
    x, y = lattice.axes()
    distances = _Distances(lattice)
    prismatic = [_unchanged(j) and not j.holes_below and not j.holes_above for j in joints]
    fields = [(j, _joint_fields(solid, j, distances)) for j, same in zip(joints, prismatic, strict=True) if not same]
    prisms = [ring for j, same in zip(joints, prismatic, strict=True) if same for ring in j.below[0].rings]
    tapers = [(e, _cap_fields(e, lattice)) for e in ends if solid.end_cap == "tapered"]
    for z in heights:
        flat = [
            ring
            for e in ends
            if solid.end_cap != "tapered" and abs(z - planes[e.plane]) < _cap_reach(solid, e)
            for ring in e.part.rings
        ]
        if not fields and not tapers:
            yield [*prisms, *flat]
            continue
        whole = np.full((lattice.nj, lattice.ni), -room)
        for joint, f in fields:
            if f is None:
                continue
            t = (z - planes[joint.lower]) / f.h
            values = f.dense(t, step)
            for hole in joint.holes_below if t < 0.5 else joint.holes_above:
                values = np.minimum(values, -_distance((_part([hole[::-1]]),), lattice, f.window, 4 * step))
            _lift(whole, values, f.window)
        for end, cap in tapers:
            if cap is not None and abs(z - planes[end.plane]) < end.thickness:
                _lift(whole, _cap_field(cap, abs(z - planes[end.plane])), cap.window)
        rings = [*prisms, *flat]
        if rings:
            window = 0, 0, lattice.nj, lattice.ni
            _lift(whole, _distance((_part(rings),), lattice, window, 4 * step), window)
        yield level_set(whole, x, y, tolerance_mm=0.002)


def _lift(whole: Float, values: Float, window: tuple[int, int, int, int]) -> None:
    """Write the greater of both, where the window lies on the lattice."""
    j0, i0, nj, ni = window
    j1, i1 = min(j0 + nj, whole.shape[0]), min(i0 + ni, whole.shape[1])
    view = whole[max(j0, 0) : j1, max(i0, 0) : i1]
    np.maximum(view, values[max(-j0, 0) : j1 - j0, max(-i0, 0) : i1 - i0], out=view)


PLANE_MATCH_MM = 1e-3
"""A plane nearer than this to a plane of contours shows these contours themselves."""


@numba.njit(cache=True, nogil=True)
def _add_joint(
    block: NDArray[np.float32], where: NDArray[np.int32], values: Float, radii: Float, h: float,
    area_curvature: float, ts: Float, slices: NDArray[np.int64], weights: Float,
    j_first: int, i_first: int, fine_j: int, fine_i: int, step: float, cell: float,
) -> None:  # pragma: no cover - compiled  # fmt: skip
    """Add (interpolated section - section of the nearer plane) to the voxels."""
    share = 1.0 / (fine_j * fine_i)
    line = np.empty(values.shape[1])
    _, nj, ni = block.shape
    for m in range(len(ts)):
        _levelled(values, ts[m], radii, h, step, cell, area_curvature, line)
        near = 0 if ts[m] < 0.5 else 1
        for n in range(values.shape[1]):
            covered = min(max(0.5 + line[n] / step, 0.0), 1.0)
            change = covered - min(max(0.5 + values[near, n] / step, 0.0), 1.0)
            if change != 0.0:
                bj, bi = (j_first + where[0, n]) // fine_j, (i_first + where[1, n]) // fine_i
                if 0 <= bj < nj and 0 <= bi < ni:
                    block[slices[m], bj, bi] += np.float32(weights[m] * share * change)


def _pieces(low: float, high: float, faces: Float, breaks: Sequence[float], longest: float) -> tuple[Float, Any, Float]:
    """Cut [low, high] at grid faces and breaks; return midpoints, the slices they lie in, and shares of a slice."""
    cuts = np.unique(np.clip(np.concatenate([[low, high], faces, breaks]), low, high))
    middles: list[float] = []
    slices: list[int] = []
    weights: list[float] = []
    for a, b in pairwise(cuts):
        k = int(np.searchsorted(faces, 0.5 * (a + b))) - 1
        if b - a < 1e-9 or not 0 <= k < len(faces) - 1:
            continue
        n = max(1, int(np.ceil((b - a) / longest - 1e-9)))
        edges = np.linspace(a, b, n + 1)
        middles.extend(0.5 * (edges[:-1] + edges[1:]))
        slices.extend([k] * n)
        weights.extend(np.diff(edges) / (faces[k + 1] - faces[k]))
    return np.array(middles), np.array(slices, dtype=np.int64), np.array(weights)


@numba.njit(cache=True, parallel=True)
def _clip(block: NDArray[np.float32]) -> None:  # pragma: no cover - compiled
    for k in numba.prange(block.shape[0]):
        for j in range(block.shape[1]):
            for i in range(block.shape[2]):
                v = block[k, j, i]
                if v < 1e-6:
                    block[k, j, i] = 0.0
                elif v > 1.0 - 1e-6:
                    block[k, j, i] = 1.0


def _block(solid: Solid, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 index (k, j, i) of the voxels that the solid may touch."""
    low, high = solid.bounds_mm()
    if len(solid.planes_mm) > 1:
        room = 0.3 * float(np.diff(solid.planes_mm).max())
        low, high = low - np.array([room, room, 0]), high + np.array([room, room, 0])
    first = np.floor(grid.to_index(low) + 0.5 - 1e-9).astype(int)
    last = np.ceil(grid.to_index(high) + 0.5 + 1e-9).astype(int)
    return np.clip(first, 0, grid.shape), np.clip(last, 0, grid.shape)


def partial_volume(
    contours: Contours,
    grid: Grid,
    end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
) -> PartialVolume:
    """Return the part of every voxel that lies in the solid of the contours; what sticks out of the grid is left off.

    Parameters
    ----------
    contours : sequence of (n, 3) float
        Closed polygons, LPS mm; inner ones are holes.
    grid : Grid
        An axial grid of any spacing.
    end_cap : EndCap
        How the ends close (module docstring).
    single_slice_thickness_mm : float, optional
        Distance of planes for contours that lie in one plane only.

    Notes
    -----
    In each plane the covered area of a pixel is exact. Between planes the change from the nearer plane's section to the
    interpolated one is sampled, in plane by at most 1 mm (a twelfth of the structure's radius, not below 0.25 mm),
    along z by at least eight planes an interval.
    """
    grid.require_axial("a partial volume")
    return solid_partial_volume(build_solid(contours, end_cap, single_slice_thickness_mm), grid)


def solid_partial_volume(solid: Solid, grid: Grid) -> PartialVolume:
    """Return the part of every voxel of an axial grid that lies in a solid."""
    empty = PartialVolume((0, 0, 0), np.zeros((0, 0, 0), dtype=np.float32), grid.shape)
    if solid.is_empty:
        return empty
    first, last = _block(solid, grid)
    if (last <= first).any():
        return empty
    sub = grid.crop(first, last)
    nk, nj, ni = sub.shape
    dz, dy, dx = sub.spacing_mm
    (x_face, y_face, z_face), _ = sub.faces_mm()
    faces = z_face + dz * np.arange(nk + 1)
    block = np.zeros(sub.shape, dtype=np.float32)
    for section_ in solid.sections:
        for part in section_:
            span = solid.spans[id(part)]
            _, slices, weights = _pieces(span[0], span[1], faces, (), np.inf)
            if not len(slices):
                continue
            i0 = max(0, int((part.low[0] - x_face) // dx))
            j0 = max(0, int((part.low[1] - y_face) // dy))
            i1 = min(ni, int((part.high[0] - x_face) // dx) + 1)
            j1 = min(nj, int((part.high[1] - y_face) // dy) + 1)
            if i1 > i0 and j1 > j0:
                add_coverage(block, part.edges, x_face, y_face, dx, dy, j0, i0, j1 - j0, i1 - i0, slices, weights)
    step = _step_for(solid)
    fine_i, fine_j = max(1, int(np.ceil(dx / step - 1e-6))), max(1, int(np.ceil(dy / step - 1e-6)))
    sx, sy = dx / fine_i, dy / fine_j
    lattice = _Lattice(x_face + 0.5 * sx, y_face + 0.5 * sy, sx, sy, ni * fine_i, nj * fine_j)
    _add_interpolation(solid, block, lattice, fine_j, fine_i, faces)
    _clip(block)
    low = int(first[0]), int(first[1]), int(first[2])
    return PartialVolume(low, block, grid.shape)


def _add_interpolation(
    solid: Solid, block: NDArray[np.float32], lattice: _Lattice, fine_j: int, fine_i: int, faces: Float
) -> None:
    """Add to the prisms of the planes what interpolation and tapering change."""
    planes = solid.planes_mm
    step = float(np.sqrt(lattice.dx * lattice.dy))
    distances = _Distances(lattice)
    for joint in solid.joints:
        if _unchanged(joint):
            continue
        low, high = planes[joint.lower], planes[joint.lower + 1]
        middles, slices, weights = _pieces(low, high, faces, (0.5 * (low + high),), (high - low) / 8)
        f = _joint_fields(solid, joint, distances) if len(middles) else None
        if f is not None:
            _add_joint(
                block, f.where, f.values, f.radii, f.h, f.area_curvature, (middles - low) / (high - low), slices,
                weights, f.window[0], f.window[1], fine_j, fine_i, step, lattice.dx * lattice.dy,
            )  # fmt: skip
    if solid.end_cap == "tapered":
        for end in solid.ends:
            _add_cap(planes[end.plane], end, block, lattice, fine_j, fine_i, faces)


def _unchanged(joint: Joint) -> bool:
    """Whether the section stays the same from plane to plane."""
    if len(joint.below) != 1 or len(joint.above) != 1:
        return False
    a, b = joint.below[0], joint.above[0]

    def same(other: tuple[Part, ...] | None, part: Part) -> bool:
        return other is None or (len(other) == 1 and np.array_equal(other[0].edges, part.edges))

    return np.array_equal(a.edges, b.edges) and (same(joint.before, a) or same(joint.after, b))


def _cap_changes(z: float, end: End, lattice: _Lattice, faces: Float) -> Iterable[tuple[int, float, Float]]:
    """Yield slice, weight and (tapered section - prism of half the thickness) on the cap's window."""
    h, sign = end.thickness, 1.0 if end.upwards else -1.0
    low, high = sorted((z, z + sign * h))
    middles, slices, weights = _pieces(low, high, faces, (z + sign * 0.5 * h,), h / 16)
    cap = _cap_fields(end, lattice) if len(middles) else None
    if cap is None:
        return
    step = float(np.sqrt(lattice.dx * lattice.dy))
    base = np.clip(0.5 + _cap_field(cap, 0.0) / step, 0, 1)
    for middle, k, weight in zip(middles, slices, weights, strict=True):
        u = abs(middle - z)
        yield int(k), float(weight), np.clip(0.5 + _cap_field(cap, u) / step, 0, 1) - (base if u < 0.5 * h else 0.0)


def _add_cap(
    z: float, end: End, block: NDArray[np.float32], lattice: _Lattice, fine_j: int, fine_i: int, faces: Float
) -> None:
    j0, i0, nj, ni = lattice.window(end.part.low, end.part.high, max(lattice.dx, lattice.dy))
    rows, columns = (j0 + np.arange(nj)) // fine_j, (i0 + np.arange(ni)) // fine_i
    j_in, i_in = (rows >= 0) & (rows < block.shape[1]), (columns >= 0) & (columns < block.shape[2])
    for k, weight, change in _cap_changes(z, end, lattice, faces):
        share = (change[np.ix_(j_in, i_in)] * (weight / (fine_i * fine_j))).astype(np.float32)
        np.add.at(block[k], (rows[j_in][:, None], columns[i_in][None, :]), share)


def volume_cm3(
    contours: Contours, end_cap: EndCap = "half_slice", single_slice_thickness_mm: float | None = None
) -> float:
    """Volume of the solid of the contours, cm3.

    Parameters
    ----------
    contours : sequence of (n, 3) float
        Closed polygons, LPS mm; inner ones are holes.
    end_cap : EndCap
        How the ends close (module docstring).
    single_slice_thickness_mm : float, optional
        Distance of planes for contours that lie in one plane only.
    """
    return solid_volume_cm3(build_solid(contours, end_cap, single_slice_thickness_mm))


def solid_volume_cm3(solid: Solid) -> float:
    """Volume of a solid, cm3."""
    volume = 0.0
    for section_ in solid.sections:
        for part in section_:
            low, high = solid.spans[id(part)]
            volume += part.area * (high - low)
    for joint in solid.joints:
        h = solid.planes_mm[joint.lower + 1] - solid.planes_mm[joint.lower]
        volume -= joint.area_curvature * h**3 / 12
    if solid.end_cap == "tapered":
        for end in solid.ends:
            volume += _cap_change_mm3(solid, end)
    return volume / 1000.0


def _cap_change_mm3(solid: Solid, end: End) -> float:
    z, h, step = float(solid.planes_mm[end.plane]), end.thickness, float(np.clip(_radius((end.part,)) / 20, 0.05, 1.0))
    low, high = end.part.low - step, end.part.high + step
    count = np.ceil((high - low) / step).astype(int) + 1
    lattice = _Lattice(low[0], low[1], step, step, int(count[0]), int(count[1]))
    faces = np.array([z - h, z + h])
    changes = _cap_changes(z, end, lattice, faces)
    return sum(weight * float(change.sum()) for _, weight, change in changes) * 2 * h * step * step


def sticks_out(contours: Contours, grid: Grid, end_cap: EndCap = "half_slice",
               single_slice_thickness_mm: float | None = None) -> bool:  # fmt: skip
    """Whether a part of the solid lies outside the outer faces of an axial grid (by more than 0.01 mm)."""
    solid = build_solid(contours, end_cap, single_slice_thickness_mm)
    if solid.is_empty:
        return False
    low, high = solid.bounds_mm()
    first, last = grid.faces_mm()
    return bool((low < first - 0.01).any() or (high > last + 0.01).any())


def surface_points(
    contours: Contours,
    end_cap: EndCap = "half_slice",
    spacing_mm: float = 1.0,
    single_slice_thickness_mm: float | None = None,
) -> Float:
    """Points (n, 3) on the surface of the solid, LPS mm, end caps included, no further apart than about `spacing_mm`.

    For the greatest and least value of a field in a small structure, which lie on its surface.
    """
    if spacing_mm <= 0:
        raise GeometryError(f"the spacing of surface points must be above 0 mm; found {spacing_mm:g}")
    solid = build_solid(contours, end_cap, single_slice_thickness_mm)
    if solid.is_empty:
        return np.empty((0, 3))
    out: list[Float] = []

    def add_edges(polygons: Iterable[Float], z: float) -> None:
        out.extend(in_plane([resample_edge(p, spacing_mm) for p in polygons], z))

    def between(low: float, high: float, sideways: float = 0.0) -> Float:
        return np.linspace(low, high, max(2, int(np.ceil(max(high - low, sideways) / spacing_mm)) + 1))

    step = min(_step_for(solid), max(spacing_mm, 0.25))
    for z, section_ in zip(solid.planes_mm, solid.sections, strict=True):
        add_edges((ring for part in section_ for ring in part.rings), z)
    for k, (low, high) in enumerate(pairwise(solid.planes_mm)):
        shifts = [abs(_radius(j.below) - _radius(j.above)) for j in solid.joints if j.lower == k]
        heights = between(low, high, max(shifts, default=0.0))[1:-1]
        for z, polygons in zip(heights, sections(solid, heights, step), strict=True):
            add_edges(polygons, z)
    for end in solid.ends:
        z, sign = solid.planes_mm[end.plane], 1.0 if end.upwards else -1.0
        reach = closing_height_mm(solid, end)
        if solid.end_cap == "tapered":
            # A rounded end is flat at its pole: heights closer together there.
            to_pole = 1 - between(0.0, 1.0, 2 * max(reach, _radius((end.part,))))[:0:-1] ** 2
            heights = z + sign * reach * np.minimum(to_pole, 0.9999)
            for height, polygons in zip(heights, sections(solid, heights, step), strict=True):
                add_edges(polygons, height)
            continue
        if reach > 0:
            for u in between(0.0, reach)[1:]:
                add_edges(end.part.rings, z + sign * u)
        flat = _points_inside(end.part, spacing_mm)
        out.append(np.column_stack([flat, np.full(len(flat), z + sign * reach)]))
    return np.concatenate(out)


def _points_inside(part: Part, spacing_mm: float) -> Float:
    count = np.maximum(1, np.ceil((part.high - part.low) / spacing_mm)).astype(int)
    step = (part.high - part.low) / count
    x0, y0 = part.low + 0.5 * step
    d = signed_distance(part.edges, x0, y0, step[0], step[1], int(count[1]), int(count[0]), float(step.max()))
    j, i = np.nonzero(d > 0)
    return np.column_stack([x0 + i * step[0], y0 + j * step[1]])
