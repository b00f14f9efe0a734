"""The solid that a stack of contours means, and how much of each voxel it fills.

The rules, in the order in which they apply:

1. **Parts.** The contours of a plane are parts: an outer contour with the holes in it (even-odd). Parts of
   neighbouring planes that overlap belong together.
2. **Between planes** the section follows from the signed distances d to the edges of the two sections, with
   psi = d (2 r - d), r the radius of a circle of the section's area: linear in z, and with the second difference over
   the next planes where both sides agree on it. For circles psi is r^2 minus the squared distance to the centre, so
   spheres, ellipsoids of revolution, cylinders and cones, upright or sheared, come back exactly; far from a centre it
   is the common blend of distances. A plane added to these values then gives each section the area and the centroid
   that the planes give: area and moments are linear in z with the second difference on which both sides agree, and
   near it with that of the cubic through four planes. So blending loses no volume where a section moves sideways,
   and the solid's centre, thus the mean of a dose that changes linearly, does not hang on the blend: a wedge whose tip
   runs by twice the distance of the planes keeps its centre within 0.02 mm. Edges that move from plane to plane take
   the correction, those that stay give a tenth. Nothing of this depends on the lattice on which it is computed.
3. **Ends.** A part with no partner in the next plane ends by the end-cap rule. "half_slice": it goes on unchanged for
   half the distance of the planes. "none": it ends in its last plane. "tapered": psi goes on with its slope and
   curvature and closes within one distance. A hole without partner goes on for half the distance;
   what the section leaves within it on the way is taken off once.
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
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError
from tailort.geometry.blend import (
    Distances,
    Lattice,
    box_of,
    cap_field,
    cap_fields,
    closing_height_mm,
    distance_of,
    joint_fields,
    levelled,
    radius_of,
)
from tailort.geometry.contours import Contours, Float, in_plane, level_set, resample_edge
from tailort.geometry.grid import Grid
from tailort.geometry.raster import add_coverage, signed_distance
from tailort.geometry.stack import WIDE_GAP, End, EndCap, Joint, Part, Solid, build_solid, cap_reach_mm, make_part

__all__ = [
    "WIDE_GAP",
    "EndCap",
    "PartialVolume",
    "Solid",
    "build_solid",
    "partial_volume",
    "section",
    "sections",
    "solid_partial_volume",
    "solid_volume_cm3",
    "surface_points",
    "volume_cm3",
]

PLANE_MATCH_MM = 1e-3
"""A plane nearer than this to a plane of contours shows these contours themselves."""


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
    low, high = box_of(parts)
    room = 0.3 * max((planes[j.lower + 1] - planes[j.lower] for j in joints), default=0.0) + 3 * step
    count = np.ceil((high - low + 2 * room) / step).astype(int) + 1
    lattice = Lattice(low[0] - room, low[1] - room, step, step, int(count[0]), int(count[1]))
    x, y = lattice.axes()
    distances = Distances(lattice)
    prismatic = [_unchanged(j) and not j.holes_below and not j.holes_above for j in joints]
    fields = [(j, joint_fields(solid, j, distances)) for j, same in zip(joints, prismatic, strict=True) if not same]
    prisms = [ring for j, same in zip(joints, prismatic, strict=True) if same for ring in j.below[0].rings]
    tapers = [(e, cap_fields(e, lattice)) for e in ends if solid.end_cap == "tapered"]
    for z in heights:
        flat = [
            ring
            for e in ends
            if solid.end_cap != "tapered" and abs(z - planes[e.plane]) < cap_reach_mm(solid, e)
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
                values = np.minimum(values, -distance_of((make_part([hole[::-1]]),), lattice, f.window, 4 * step))
            _lift(whole, values, f.window)
        for end, cap in tapers:
            if cap is not None and abs(z - planes[end.plane]) < end.thickness:
                _lift(whole, cap_field(cap, abs(z - planes[end.plane])), cap.window)
        rings = [*prisms, *flat]
        if rings:
            window = 0, 0, lattice.nj, lattice.ni
            _lift(whole, distance_of((make_part(rings),), lattice, window, 4 * step), window)
        yield level_set(whole, x, y, tolerance_mm=0.002)


def _lift(whole: Float, values: Float, window: tuple[int, int, int, int]) -> None:
    """Write the greater of both, where the window lies on the lattice."""
    j0, i0, nj, ni = window
    j1, i1 = min(j0 + nj, whole.shape[0]), min(i0 + ni, whole.shape[1])
    view = whole[max(j0, 0) : j1, max(i0, 0) : i1]
    np.maximum(view, values[max(-j0, 0) : j1 - j0, max(-i0, 0) : i1 - i0], out=view)


@numba.njit(cache=True, nogil=True)
def _add_joint(
    block: NDArray[np.float32], where: NDArray[np.int32], values: Float, free: Float, places: Float, radii: Float,
    h: float, curvature: Float, ts: Float, slices: NDArray[np.int64], weights: Float,
    j_first: int, i_first: int, fine_j: int, fine_i: int, step: float,
) -> None:  # pragma: no cover - compiled  # fmt: skip
    """Add (interpolated section - section of the nearer plane) to the voxels, but not in holes ending in that plane."""
    share = 1.0 / (fine_j * fine_i)
    line = np.empty(values.shape[1])
    _, nj, ni = block.shape
    for m in range(len(ts)):
        levelled(values, places, ts[m], radii, h, step, curvature, line)
        near = 0 if ts[m] < 0.5 else 1
        for n in range(values.shape[1]):
            covered = min(max(0.5 + line[n] / step, 0.0), 1.0)
            change = covered - min(max(0.5 + values[near, n] / step, 0.0), 1.0)
            if change != 0.0:
                bj, bi = (j_first + where[0, n]) // fine_j, (i_first + where[1, n]) // fine_i
                if 0 <= bj < nj and 0 <= bi < ni:
                    block[slices[m], bj, bi] += np.float32(weights[m] * share * change * free[near, n])


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


@numba.njit(cache=True, nogil=True)
def _clip(block: NDArray[np.float32]) -> None:  # pragma: no cover - compiled
    for k in range(block.shape[0]):
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
    step_mm: float | None = None,
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
    step_mm : float, optional
        How finely interpolated sections are sampled, where the question allows it coarser than the notes say.

    Notes
    -----
    In each plane the covered area of a pixel is exact. Between planes the change from the nearer plane's section to the
    interpolated one is sampled, in plane by at most 1 mm (a twelfth of the structure's radius, not below 0.25 mm),
    along z by at least eight planes an interval.
    """
    grid.require_axial("a partial volume")
    return solid_partial_volume(build_solid(contours, end_cap, single_slice_thickness_mm), grid, step_mm)


def solid_partial_volume(solid: Solid, grid: Grid, step_mm: float | None = None) -> PartialVolume:
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
    step = step_mm or _step_for(solid)
    fine_i, fine_j = max(1, int(np.ceil(dx / step - 1e-6))), max(1, int(np.ceil(dy / step - 1e-6)))
    sx, sy = dx / fine_i, dy / fine_j
    lattice = Lattice(x_face + 0.5 * sx, y_face + 0.5 * sy, sx, sy, ni * fine_i, nj * fine_j)
    _add_interpolation(solid, block, lattice, fine_j, fine_i, faces)
    _clip(block)
    low = int(first[0]), int(first[1]), int(first[2])
    return PartialVolume(low, block, grid.shape)


def _add_interpolation(
    solid: Solid, block: NDArray[np.float32], lattice: Lattice, fine_j: int, fine_i: int, faces: Float
) -> None:
    """Add to the prisms of the planes what interpolation and tapering change."""
    planes = solid.planes_mm
    step = float(np.sqrt(lattice.dx * lattice.dy))
    distances = Distances(lattice)
    for joint in solid.joints:
        if _unchanged(joint):
            continue
        low, high = planes[joint.lower], planes[joint.lower + 1]
        middles, slices, weights = _pieces(low, high, faces, (0.5 * (low + high),), (high - low) / 8)
        f = joint_fields(solid, joint, distances) if len(middles) else None
        if f is not None:
            _add_joint(
                block, f.where, f.values, f.free, f.places, f.radii, f.h, f.curvature, (middles - low) / (high - low),
                slices, weights, f.window[0], f.window[1], fine_j, fine_i, step,
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


def _cap_changes(z: float, end: End, lattice: Lattice, faces: Float) -> Iterable[tuple[int, float, Float]]:
    """Yield slice, weight and (tapered section - prism of half the thickness) on the cap's window."""
    h, sign = end.thickness, 1.0 if end.upwards else -1.0
    low, high = sorted((z, z + sign * h))
    middles, slices, weights = _pieces(low, high, faces, (z + sign * 0.5 * h,), h / 16)
    cap = cap_fields(end, lattice) if len(middles) else None
    if cap is None:
        return
    step = float(np.sqrt(lattice.dx * lattice.dy))
    base = np.clip(0.5 + cap_field(cap, 0.0) / step, 0, 1)
    for middle, k, weight in zip(middles, slices, weights, strict=True):
        u = abs(middle - z)
        yield int(k), float(weight), np.clip(0.5 + cap_field(cap, u) / step, 0, 1) - (base if u < 0.5 * h else 0.0)


def _add_cap(
    z: float, end: End, block: NDArray[np.float32], lattice: Lattice, fine_j: int, fine_i: int, faces: Float
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
        volume += _taken_twice_mm3(solid, joint) - joint.curvature[0] * h**3 / 12
    if solid.end_cap == "tapered":
        for end in solid.ends:
            volume += _cap_change_mm3(solid, end)
    return volume / 1000.0


def _taken_twice_mm3(solid: Solid, joint: Joint) -> float:
    """Volume that a joint's section leaves on its way between the planes, within holes that are taken off as well."""
    h = float(solid.planes_mm[joint.lower + 1] - solid.planes_mm[joint.lower])
    parts = [*joint.below, *joint.above]
    edges = np.concatenate([part.edges for part in parts])
    edge_low, edge_high = np.minimum(edges[:, :2], edges[:, 2:]), np.maximum(edges[:, :2], edges[:, 2:])
    if not any(
        ((edge_high > hole.min(axis=0) - h) & (edge_low < hole.max(axis=0) + h)).all(axis=1).any()
        for hole in (*joint.holes_below, *joint.holes_above)
    ):
        return 0.0
    low, high = box_of(parts)
    step, room = _step_for(solid), 0.3 * h
    count = np.ceil((high - low + 2 * room) / step).astype(int) + 1
    lattice = Lattice(low[0] - room, low[1] - room, step, step, int(count[0]), int(count[1]))
    f = joint_fields(solid, joint, Distances(lattice))
    if f is None:
        return 0.0
    heights = (np.arange(8) + 0.5) / 8
    left = 0.0
    for near, t in zip(np.where(heights < 0.5, 0, 1), heights, strict=True):
        covered, drawn = (np.clip(0.5 + line / step, 0, 1) for line in (f.banded(t, step), f.values[near]))
        left += float((drawn - covered) @ (1 - f.free[near]))
    return left * step * step * h / len(heights)


def _cap_change_mm3(solid: Solid, end: End) -> float:
    z, h, step = (
        float(solid.planes_mm[end.plane]),
        end.thickness,
        float(np.clip(radius_of((end.part,)) / 20, 0.05, 1.0)),
    )
    low, high = end.part.low - step, end.part.high + step
    count = np.ceil((high - low) / step).astype(int) + 1
    lattice = Lattice(low[0], low[1], step, step, int(count[0]), int(count[1]))
    faces = np.array([z - h, z + h])
    changes = _cap_changes(z, end, lattice, faces)
    return sum(weight * float(change.sum()) for _, weight, change in changes) * 2 * h * step * step


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
        shifts = [abs(radius_of(j.below) - radius_of(j.above)) for j in solid.joints if j.lower == k]
        heights = between(low, high, max(shifts, default=0.0))[1:-1]
        for z, polygons in zip(heights, sections(solid, heights, step), strict=True):
            add_edges(polygons, z)
    for end in solid.ends:
        z, sign = solid.planes_mm[end.plane], 1.0 if end.upwards else -1.0
        reach = closing_height_mm(solid, end)
        if solid.end_cap == "tapered":
            # A rounded end is flat at its pole: heights closer together there.
            to_pole = 1 - between(0.0, 1.0, max(reach, radius_of((end.part,))))[:0:-1] ** 2
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
