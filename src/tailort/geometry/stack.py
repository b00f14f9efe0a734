"""Parts of a stack of contours, which of them belong together, and where they end.

The rules stand at the head of `tailort.geometry.solid`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from tailort.errors import GeometryError
from tailort.geometry.contours import (
    Contours,
    Float,
    area_mm2,
    by_plane,
    nesting_depth,
    oriented,
    rings_without_channels,
)
from tailort.geometry.raster import coverage

EndCap = Literal["half_slice", "none", "tapered"]

WIDE_GAP = 1.5
"""Planes further apart than this many usual distances have a gap between them."""

BRIDGED_DISTANCES = 3.5
"""Planes up to this many usual distances apart are joined."""


@dataclass(frozen=True, eq=False)
class Part:
    """One connected piece of a section: an outer polygon with its holes, oriented, mm."""

    rings: tuple[Float, ...]
    area: float
    moment: Float  # integrals of x and of y over the piece, mm3
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
    centre: Float  # midway between the centroids of both sections
    curvature: Float  # second derivatives in z of the section's area and of its two moments about `centre`


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
            reach = cap_reach_mm(self, end)
            z = self.planes_mm[end.plane]
            bottom, top = (bottom, max(top, z + reach)) if end.upwards else (min(bottom, z - reach), top)
        return np.array([*low, bottom]), np.array([*high, top])


def cap_reach_mm(solid: Solid, end: End) -> float:
    """How far the solid may go on beyond the last plane of an end, mm."""
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


def edges_of(rings: Sequence[Float]) -> Float:
    """Edges (n, 4) x0, y0, x1, y1 of polygons."""
    return np.concatenate([np.hstack([ring, np.roll(ring, -1, axis=0)]) for ring in rings])


def make_part(rings: Sequence[Float]) -> Part:
    """Make a part of an outer polygon and its holes, oriented."""
    area = sum(area_mm2(ring) for ring in rings)
    outer, edges = rings[0], edges_of(rings)
    ends = edges.reshape(-1, 2, 2) - outer[0]
    cross = ends[:, 0, 0] * ends[:, 1, 1] - ends[:, 1, 0] * ends[:, 0, 1]
    moment = np.asarray(cross @ ends.sum(axis=1) / 6 + area * outer[0])
    return Part(tuple(rings), area, moment, outer.min(axis=0), outer.max(axis=0), edges)


def _parts(polygons: Sequence[Float]) -> tuple[Part, ...]:
    rings = [ring for ring in rings_without_channels(polygons) if abs(area_mm2(ring)) > 1e-9]
    if not rings:
        return ()
    rings = oriented(rings)
    if len(rings) == 1:
        return (make_part(rings),)
    depth = nesting_depth(rings)
    outers = [n for n in range(len(rings)) if depth[n] % 2 == 0]
    members: dict[int, list[Float]] = {n: [rings[n]] for n in outers}
    for n in range(len(rings)):
        if depth[n] % 2:
            # The hole belongs to the smallest outer polygon one level up that holds it.
            around = [o for o in outers if depth[o] == depth[n] - 1 and nesting_depth([rings[o], rings[n]])[1] == 1]
            if around:
                members[min(around, key=lambda o: abs(area_mm2(rings[o])))].append(rings[n])
    return tuple(make_part(group) for group in members.values())


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


def _fill_ended_holes(parts: Sequence[Part], others: Sequence[Part]) -> tuple[tuple[Part, ...], tuple[Float, ...]]:
    """Fill the holes of `parts` that lie wholly within `others`; return the parts and these holes."""
    if all(len(part.rings) == 1 for part in parts):
        return tuple(parts), ()
    filled: list[Part] = []
    ended: list[Float] = []
    edges = np.concatenate([other.edges for other in others])
    for part in parts:
        kept = [part.rings[0]]
        for hole in part.rings[1:]:
            covered, open_part = _shared_raster(hole.min(axis=0), hole.max(axis=0), edges, edges_of([hole[::-1]]))
            if (open_part - covered).max() > 1e-3:
                kept.append(hole)
            else:
                ended.append(hole)
        filled.append(part if len(kept) == len(part.rings) else make_part(kept))
    return tuple(filled), tuple(ended)


def _linked(links: list[list[tuple[int, int]]], k: int, parts: Iterable[int], upwards: bool) -> list[int] | None:
    """Return the parts that `parts` of plane k are linked to in the next plane; None where there is no next plane."""
    if upwards:
        return sorted({b for a, b in links[k] if a in parts}) if k < len(links) else None
    return sorted({a for a, b in links[k - 1] if b in parts}) if k > 0 else None


def _content(parts: Sequence[Part]) -> Float:
    """Area and the two moments of some parts."""
    return np.array([sum(part.area for part in parts), *np.sum([part.moment for part in parts], axis=0)])


def _centre_and_curvature(
    planes: Float, sections: Sequence[tuple[Part, ...]], links: list[list[tuple[int, int]]],
    k: int, low: list[int], high: list[int], below: tuple[Part, ...], above: tuple[Part, ...],
) -> tuple[Float, Float]:  # fmt: skip
    """Midpoint of the centroids of two sections, and the second derivatives of area and moments about it.

    `below` and `above` are the parts `low` of plane k and `high` of the next one with holes that end there filled;
    in the planes beyond, holes that the section nearer by does not have are filled too.
    """

    def chain(group: list[int], at: int, parts: tuple[Part, ...], upwards: bool) -> list[tuple[float, Float]]:
        out = [(float(planes[at]), _content(parts))]
        while len(out) < 3:
            following = _linked(links, at, group, upwards)
            if not following:
                break
            group, at = following, at + (1 if upwards else -1)
            parts, _ = _fill_ended_holes([sections[at][n] for n in group], parts)
            out.append((float(planes[at]), _content(parts)))
        return out

    down, up = chain(low, k, below, False), chain(high, k + 1, above, True)
    line = [*down[::-1], *up]
    first = len(down) - 1
    (z0, content0), (z1, content1) = line[first], line[first + 1]
    centre: Float = 0.5 * (content0[1:] / content0[0] + content1[1:] / content1[0])
    z = np.array([height for height, _ in line])
    content = np.array([values for _, values in line])
    content[:, 1:] -= content[:, :1] * centre
    # The two triples of planes around the interval; at the end of a stack, the two next to it.
    triples = [m for m in range(len(line) - 2) if m in (first - 1, first)]
    if len(triples) == 1:
        triples += [m for m in (triples[0] - 1, triples[0] + 1) if 0 <= m < len(line) - 2]
    slopes = np.diff(content, axis=0) / np.diff(z)[:, None]
    found = [2 * (slopes[m + 1] - slopes[m]) / (z[m + 2] - z[m]) for m in triples]
    if not found:
        return centre, np.zeros(3)
    if len(found) == 1:
        found, heights = [found[0], found[0]], [0.0, 1.0]
    else:
        heights = [float(z[m : m + 3].mean()) for m in triples]
    share = (0.5 * (z0 + z1) - heights[0]) / (heights[1] - heights[0])
    area, h = 0.5 * (content0[0] + content1[0]), z1 - z0
    radius = float(np.sqrt(area / np.pi))
    moved = float(np.linalg.norm(content[first + 1, 1:] - content[first, 1:])) / area
    # How far from the agreed second derivative that of the cubic may lie: as much as moves the edge halfway between
    # the planes by h/64, and the centroid by h/16 and an eighth of its way from plane to plane. More is a jump.
    limits = 0.25 * np.pi * radius * min(radius, h) / h**2, area * (0.5 * min(radius, h) + moved) / h**2
    out = np.zeros(3)
    for which, limit in zip((slice(0, 1), slice(1, 3)), limits, strict=True):
        u, v = found[0][which], found[1][which]
        agreed = np.zeros_like(u) if u @ v <= 0 else min(u, v, key=np.linalg.norm)
        more = u + share * (v - u) - agreed
        out[which] = agreed + more * min(1.0, limit / max(float(np.linalg.norm(more)), 1e-12))
    return centre, out


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
                    *_centre_and_curvature(planes, sections, links, k, low, high, below, above),
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
