"""Margins in mm and boolean operations of volumes.

A margin is a body of eight parts of ellipsoids: its half axes are the margins to the left, right, front, back, head and
feet. Expanding a volume is its Minkowski sum with that body; contracting it takes away what the body, from outside,
reaches. Both work on the solid that the contours mean (`tailort.geometry.solid`) with distances in mm: nothing is
rounded to voxels or slices. The result is given as contours on the planes asked for, and ends by the end-cap
rule of whoever reads them; the planes should therefore be those of the CT or finer.

References
----------
Stroom and Storchi, Phys Med Biol 1997;42:745 (margins in three dimensions), doi:10.1088/0031-9155/42/4/011.
McKenzie, van Herk, Mijnheer, Phys Med Biol 2000;45:3331 (ellipsoidal growing), doi:10.1088/0031-9155/45/11/315.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError
from tailort.geometry.blend import closing_height_mm
from tailort.geometry.contours import Contours, Float, in_plane, level_set
from tailort.geometry.raster import lower_to, raise_to, signed_distance, signed_margin_distance
from tailort.geometry.solid import sections
from tailort.geometry.stack import EndCap, Part, Solid, build_solid, edges_of

_LEVEL_MM = 1e-3  # edges that coincide leave no slivers
_LEAST_MM = 1e-3  # a margin of 0 to one side, where the others are not


@dataclass(frozen=True)
class Margin:
    """How far a volume grows or shrinks in each direction of the patient, mm.

    Raises
    ------
    GeometryError
        When one of them is negative or not finite.
    """

    left_mm: float
    right_mm: float
    anterior_mm: float
    posterior_mm: float
    superior_mm: float
    inferior_mm: float

    def __post_init__(self) -> None:
        for name, value in zip(self.__dataclass_fields__, astuple(self), strict=True):
            if not (np.isfinite(value) and value >= 0):
                raise GeometryError(f"a margin must be 0 mm or more; found {name} = {value}")

    @classmethod
    def uniform(cls, mm: float) -> Margin:
        """Return the same margin in all directions."""
        return cls(mm, mm, mm, mm, mm, mm)

    @classmethod
    def radial(cls, radial_mm: float, craniocaudal_mm: float) -> Margin:
        """Return one margin within the transverse plane, another to head and feet."""
        return cls(radial_mm, radial_mm, radial_mm, radial_mm, craniocaudal_mm, craniocaudal_mm)

    @property
    def is_zero(self) -> bool:
        """Whether nothing moves."""
        return not any(astuple(self))

    @property
    def in_plane_mm(self) -> tuple[float, float, float, float]:
        """Margins to -x, +x, -y, +y."""
        return self.right_mm, self.left_mm, self.anterior_mm, self.posterior_mm


@dataclass(frozen=True, eq=False)
class _Layer:
    """Distances of one section, on a window of the lattice."""

    z: float
    j0: int
    i0: int
    distance: NDArray[np.float32]
    margin: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Plane:
    """A square lattice in the transverse plane."""

    x: Float
    y: Float
    step: float

    @classmethod
    def around(cls, low: Float, high: Float, room: float, step: float) -> _Plane:
        count = np.ceil((high[:2] - low[:2] + 2 * room) / step).astype(int) + 1
        return cls(low[0] - room + step * np.arange(count[0]), low[1] - room + step * np.arange(count[1]), step)

    def empty(self) -> NDArray[np.float32]:
        return np.full((len(self.y), len(self.x)), np.float32(-1e6))

    def window(self, low: Float, high: Float, reach: float) -> tuple[int, int, int, int]:
        i0 = max(0, int(np.floor((low[0] - reach - self.x[0]) / self.step)))
        j0 = max(0, int(np.floor((low[1] - reach - self.y[0]) / self.step)))
        i1 = min(len(self.x), int(np.ceil((high[0] + reach - self.x[0]) / self.step)) + 1)
        j1 = min(len(self.y), int(np.ceil((high[1] + reach - self.y[0]) / self.step)) + 1)
        return j0, i0, j1 - j0, i1 - i0


def _layer(z: float, polygons: list[Float], margin: Margin, lattice: _Plane) -> _Layer | None:
    if not polygons:
        return None
    edges = edges_of(polygons)
    to = np.array(margin.in_plane_mm)
    reach = float(to.max()) + 3 * lattice.step
    j0, i0, nj, ni = lattice.window(edges[:, :2].min(axis=0), edges[:, :2].max(axis=0), reach)
    x0, y0, step = float(lattice.x[i0]), float(lattice.y[j0]), lattice.step
    if to.max() - to.min() < 1e-9:
        distance = signed_distance(edges, x0, y0, step, step, nj, ni, reach)
        return _Layer(z, j0, i0, distance, np.full((1, 1), to.max(), dtype=np.float32))
    distance, reached = signed_margin_distance(edges, x0, y0, step, nj, ni, np.maximum(to, _LEAST_MM), reach)
    return _Layer(z, j0, i0, distance, reached)


def _radius(solid: Solid) -> float:
    return float(np.median([np.sqrt(p.area / np.pi) for section in solid.sections for p in section]))


def _in_plane_step(*solids: Solid, margin: Margin | None = None) -> float:
    """Lattice step: a 24th of the smallest median radius, 0.25 to 1 mm; half of it for unlike in-plane margins."""
    step = float(np.clip(min(_radius(s) for s in solids) / 24, 0.25, 1.0))
    unlike = margin is not None and max(margin.in_plane_mm) > 3 * min(margin.in_plane_mm)
    return max(0.25, 0.5 * step) if unlike else step


def _heights(solid: Solid, margin: Margin, planes_mm: Float) -> Float:
    """Heights at which the solid is cut: so near each other that the sum misses less than 0.02 mm between them."""
    bottom, top = solid.bounds_mm()[0][2], solid.bounds_mm()[1][2]
    along, across = max(margin.superior_mm, margin.inferior_mm), max(margin.in_plane_mm)
    shorter = min((m for m in (margin.superior_mm, margin.inferior_mm) if m > 0), default=np.inf)
    # Between two cuts that lie s apart on the surface the sum sags by s^2 / 8 x (sum of both curvatures).
    upright = float(np.clip(np.sqrt(8 * 0.02 / (1 / _radius(solid) + across / shorter**2)), 0.1, 2.0))
    level = float(np.clip(np.sqrt(8 * 0.02 / (1 / _radius(solid) + along / max(across, 1.0) ** 2)), 0.2, 2.0))
    inside = planes_mm[(planes_mm >= bottom) & (planes_mm <= top)]
    jumps = []
    for end in solid.ends:
        z, sign = float(solid.planes_mm[end.plane]), 1.0 if end.upwards else -1.0
        if solid.end_cap == "half_slice":
            jumps += [z + sign * (0.5 * end.thickness - 2e-3), z + sign * (0.5 * end.thickness + 2e-3)]
        elif solid.end_cap == "tapered":
            jumps += list(z + sign * closing_height_mm(solid, end) * (1 - np.linspace(0.02, 1, 8)[:-1] ** 2))
    knots = np.unique(np.concatenate([solid.planes_mm, inside, jumps, [bottom + 1e-3, top - 1e-3]]))
    knots = knots[(knots >= bottom) & (knots <= top)]
    out = [knots[:1]]
    for a, b in pairwise(knots):
        count = max((b - a) / upright, _sideways_mm(solid, 0.5 * (a + b)) * (b - a) / level, 1.0)
        out.append(np.linspace(a, b, int(np.ceil(count - 1e-9)) + 1)[1:])
    return np.concatenate(out)


def _sideways_mm(solid: Solid, z: float) -> float:
    """How far the edge moves in plane per mm along z, at most."""
    k = int(np.searchsorted(solid.planes_mm, z)) - 1
    moves = [
        max(np.abs(p.min(axis=0) - q.min(axis=0)).max(), np.abs(p.max(axis=0) - q.max(axis=0)).max())
        for j in solid.joints
        if j.lower == k
        for p, q in [(_points(j.below), _points(j.above))]
    ]
    return float(max(moves) / (solid.planes_mm[k + 1] - solid.planes_mm[k])) if moves else 0.0


def _points(parts: Sequence[Part]) -> Float:
    return np.concatenate([part.rings[0] for part in parts])


def _scale(distance: float, margin_mm: float) -> float:
    """Share of the in-plane margin that is left at a distance along z; below 0 where nothing is."""
    if distance < 1e-6:
        return 1.0
    return float(np.sqrt(1 - (distance / margin_mm) ** 2)) if distance <= margin_mm else -1.0


def _rows_of_layers(
    solid: Solid, margin: Margin, planes: Float, below_mm: float, above_mm: float, lattice: _Plane
) -> Callable[[float], list[tuple[float, _Layer | None]]]:
    """Return a function that gives the layers from `below_mm` under to `above_mm` over a plane (planes ascending)."""
    heights = _heights(solid, margin, planes)
    needed = np.zeros(len(heights), dtype=bool)
    for z in planes:
        needed |= (heights >= z - below_mm - 1e-6) & (heights <= z + above_mm + 1e-6)
    heights = heights[needed]
    polygons = sections(solid, heights, lattice.step)
    made: dict[int, _Layer | None] = {}

    def around(z: float) -> list[tuple[float, _Layer | None]]:
        first, last = np.searchsorted(heights, [z - below_mm - 1e-6, z + above_mm + 1e-6])
        for n in [n for n in made if n < first]:
            del made[n]
        for n in range(int(first), int(last)):
            if n not in made:
                made[n] = _layer(float(heights[n]), polygons[n], margin, lattice)
        return [(float(heights[n]), made[n]) for n in range(int(first), int(last))]

    return around


def expand(
    contours: Contours,
    margin: Margin,
    planes_mm: ArrayLike,
    end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
) -> tuple[Float, ...]:
    """Grow a volume by a margin and return its contours on transverse planes.

    Parameters
    ----------
    contours : sequence of (n, 3) float
        Closed polygons, LPS mm; inner ones are holes.
    margin : Margin
        Directions of the patient: left is +x, posterior +y, superior +z.
    planes_mm : (p,) float
        z of the planes of the result, LPS mm.
    end_cap : EndCap
        How the ends of the volume that grows close.
    single_slice_thickness_mm : float, optional
        Distance of planes for contours that lie in one plane only.

    Returns
    -------
    tuple of (n, 3) float
        Contours on those of the planes that the grown volume meets.
    """
    solid = build_solid(contours, end_cap, single_slice_thickness_mm)
    planes = _ascending(planes_mm)
    if solid.is_empty or margin.is_zero:
        return _as_contours(sections(solid, planes), planes)
    bottom, top = solid.bounds_mm()[0][2], solid.bounds_mm()[1][2]
    planes = planes[(planes > bottom - margin.inferior_mm) & (planes < top + margin.superior_mm)]
    step = _in_plane_step(solid, margin=margin)
    low, high = solid.bounds_mm()
    lattice = _Plane.around(low, high, max(margin.in_plane_mm) + _bulge(solid) + 4 * step, step)
    around = _rows_of_layers(solid, margin, planes, margin.superior_mm, margin.inferior_mm, lattice)
    out: list[Float] = []
    for z in planes:
        field = lattice.empty()
        for height, layer in around(z):
            scale = _scale(abs(z - height), margin.superior_mm if z > height else margin.inferior_mm)
            if layer is not None and scale >= 0:
                raise_to(field, layer.distance, layer.margin, layer.j0, layer.i0, scale)
        out.extend(in_plane(_polygons(field, lattice), z))
    return tuple(out)


def contract(
    contours: Contours,
    margin: Margin,
    planes_mm: ArrayLike,
    end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
) -> tuple[Float, ...]:
    """Shrink a volume by a margin (its left side moves by `left_mm`) and return its contours on transverse planes.

    Parameters as for `expand`.
    """
    solid = build_solid(contours, end_cap, single_slice_thickness_mm)
    planes = _ascending(planes_mm)
    if solid.is_empty or margin.is_zero:
        return _as_contours(sections(solid, planes), planes)
    bottom, top = solid.bounds_mm()[0][2], solid.bounds_mm()[1][2]
    planes = planes[(planes > bottom + margin.inferior_mm) & (planes < top - margin.superior_mm)]
    step = _in_plane_step(solid, margin=margin)
    low, high = solid.bounds_mm()
    lattice = _Plane.around(low, high, _bulge(solid) + 4 * step, step)
    around = _rows_of_layers(solid, margin, planes, margin.inferior_mm, margin.superior_mm, lattice)
    beyond = -(max(margin.in_plane_mm) + 3 * step)
    out: list[Float] = []
    for z in planes:
        field = -lattice.empty()
        for height, layer in around(z):
            scale = _scale(abs(z - height), margin.superior_mm if height > z else margin.inferior_mm)
            if scale < 0:
                continue
            if layer is None:
                field[:] = beyond
                break
            lower_to(field, layer.distance, layer.margin, layer.j0, layer.i0, scale, beyond)
        out.extend(in_plane(_polygons(field, lattice), z))
    return tuple(out)


def unite(
    a: Contours, b: Contours, planes_mm: ArrayLike, end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
) -> tuple[Float, ...]:  # fmt: skip
    """Return the contours, on transverse planes, of what lies in `a` or `b`; parameters as for `expand`."""
    return _combine(a, b, planes_mm, end_cap, single_slice_thickness_mm, "or")


def intersect(
    a: Contours, b: Contours, planes_mm: ArrayLike, end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
) -> tuple[Float, ...]:  # fmt: skip
    """Return the contours, on transverse planes, of what lies in both `a` and `b`; parameters as for `expand`."""
    return _combine(a, b, planes_mm, end_cap, single_slice_thickness_mm, "and")


def subtract(
    a: Contours, b: Contours, planes_mm: ArrayLike, end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
) -> tuple[Float, ...]:  # fmt: skip
    """Return the contours, on transverse planes, of what lies in `a` and not in `b`; parameters as for `expand`."""
    return _combine(a, b, planes_mm, end_cap, single_slice_thickness_mm, "without")


def _combine(
    a: Contours, b: Contours, planes_mm: ArrayLike, end_cap: EndCap, thickness: float | None, operation: str
) -> tuple[Float, ...]:
    planes = _ascending(planes_mm)
    first, second = build_solid(a, end_cap, thickness), build_solid(b, end_cap, thickness)
    if first.is_empty or second.is_empty:
        kept = second if operation == "or" and first.is_empty else first
        return () if operation == "and" else _as_contours(sections(kept, planes), planes)
    step = _in_plane_step(first, second)
    out: list[Float] = []
    for z, p, q in zip(planes, sections(first, planes, step), sections(second, planes, step), strict=True):
        out.extend(in_plane(_combined(p, q, operation, step), z))
    return tuple(out)


def _combined(p: list[Float], q: list[Float], operation: str, step: float) -> list[Float]:
    apart = not p or not q
    if not apart:
        low = np.maximum(np.min([r.min(axis=0) for r in p], axis=0), np.min([r.min(axis=0) for r in q], axis=0))
        high = np.minimum(np.max([r.max(axis=0) for r in p], axis=0), np.max([r.max(axis=0) for r in q], axis=0))
        apart = bool((low >= high).any())
    if apart:
        return {"or": [*p, *q], "and": [], "without": p}[operation]
    points = np.concatenate([*p] if operation != "or" else [*p, *q])
    lattice = _Plane.around(points.min(axis=0), points.max(axis=0), 3 * step, step)
    of_p, of_q = (
        signed_distance(
            edges_of(rings), lattice.x[0], lattice.y[0], step, step, len(lattice.y), len(lattice.x), 3 * step
        )
        for rings in (p, q)
    )
    if operation == "or":
        return _polygons(np.maximum(of_p, of_q), lattice)
    return _polygons(np.minimum(of_p, of_q if operation == "and" else -of_q), lattice)


def _polygons(field: NDArray[np.float32], lattice: _Plane) -> list[Float]:
    if not (field > _LEVEL_MM).any():
        return []
    return level_set(field, lattice.x, lattice.y, _LEVEL_MM)


def _bulge(solid: Solid) -> float:
    """How far a section between planes may reach beyond both of them."""
    return 0.3 * float(np.diff(solid.planes_mm).max()) if len(solid.planes_mm) > 1 else 0.0


def _ascending(planes_mm: ArrayLike) -> Float:
    planes = np.unique(np.asarray(planes_mm, dtype=np.float64))
    if planes.ndim != 1 or not np.isfinite(planes).all():
        raise GeometryError("the planes of a result must be finite z positions, mm")
    return planes


def _as_contours(polygons: list[list[Float]], planes: Float) -> tuple[Float, ...]:
    return tuple(c for rings, z in zip(polygons, planes, strict=True) for c in in_plane(rings, float(z)))
