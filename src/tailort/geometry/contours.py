"""Closed planar contours: validity, area, nesting, simplification, contours of a level set.

A contour is an (n, 3) array of points x, y, z, LPS mm, in one transverse plane, closed, the first point not repeated.
Several contours may lie in a plane; an inner one is a hole (even-odd). A keyhole contour reaches its hole
through a channel that it runs there and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import contourpy
import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError

Float = NDArray[np.float64]
Contours = Sequence[NDArray[np.float64]]

PLANE_TOLERANCE_MM = 0.01
"""Contours whose z differ by less lie in one plane."""

COINCIDENT_MM = 1e-3
"""Points nearer than this are one point: keyhole channels and shared edges."""


def area_mm2(contour: Float) -> float:
    """Signed area of a polygon (n, 2 or 3), mm2: positive when it turns from +x to +y."""
    x, y = contour[:, 0] - contour[0, 0], contour[:, 1] - contour[0, 1]
    next_x, next_y = np.concatenate((x[1:], x[:1])), np.concatenate((y[1:], y[:1]))
    return 0.5 * float(np.dot(x, next_y) - np.dot(y, next_x))


def without_repeats(contour: Float) -> Float:
    """Return the polygon without points that repeat their predecessor (the last one counts as before the first)."""
    apart = np.abs(contour[:, :2] - np.roll(contour[:, :2], 1, axis=0)).max(axis=1) > 1e-7
    return contour if apart.all() else contour[apart]


def by_plane(contours: Contours) -> tuple[Float, list[list[Float]]]:
    """Group contours by their plane.

    Returns
    -------
    planes_mm : (p,) float
        z of the planes, ascending.
    polygons : list of list of (n, 2) float
        x, y of the polygons of each plane.

    Raises
    ------
    GeometryError
        When a contour has fewer than 3 distinct points or is not in a transverse plane.
    """
    items: list[tuple[float, Float]] = []
    for contour in contours:
        points = np.asarray(contour, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise GeometryError(f"a contour must be an (n, 3) array of finite points; found shape {points.shape}")
        if len(points) and np.ptp(points[:, 2]) > PLANE_TOLERANCE_MM:
            raise GeometryError(
                f"a contour runs from z = {points[:, 2].min():g} to {points[:, 2].max():g} mm; "
                "expected one transverse plane: draw it on transverse slices"
            )
        clean = without_repeats(points) if len(points) else points
        if len(clean) < 3:
            where = f"at z = {points[0, 2]:g} mm" if len(points) else "without points"
            raise GeometryError(
                f"open contour {where}: it has {len(clean)} distinct points and needs at least 3; close or delete it"
            )
        items.append((float(clean[0, 2]), np.ascontiguousarray(clean[:, :2])))
    items.sort(key=lambda item: item[0])
    planes: list[float] = []
    polygons: list[list[Float]] = []
    for z, polygon in items:
        if planes and z - planes[-1] < PLANE_TOLERANCE_MM:
            polygons[-1].append(polygon)
        else:
            planes.append(z)
            polygons.append([polygon])
    return np.array(planes), polygons


def check_contours(contours: Contours, name: str = "the structure") -> None:
    """Refuse contours that do not bound an area: open ones and ones that cross themselves or each other.

    Edges that touch or coincide (keyhole channels, pieces side by side) do not count as crossing.

    Raises
    ------
    GeometryError
        With the plane and the place of the first fault.
    """
    try:
        planes, polygons = by_plane(contours)
    except GeometryError as error:
        raise GeometryError(f"{name}: {error}") from None
    for z, rings in zip(planes, polygons, strict=True):
        edges = np.concatenate([np.hstack([ring, np.roll(ring, -1, axis=0)]) for ring in rings])
        owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
        a, b, x, y = _first_crossing(edges[np.argsort(np.minimum(edges[:, 1], edges[:, 3]), kind="stable")])
        if a >= 0:
            order = np.argsort(np.minimum(edges[:, 1], edges[:, 3]), kind="stable")
            same = owner[order[int(a)]] == owner[order[int(b)]]
            what = "a contour crosses itself" if same else "two contours cross each other"
            raise GeometryError(
                f"{name}: {what} at x = {x:.1f}, y = {y:.1f} mm in the plane z = {z:g} mm; "
                "expected contours that do not cross: correct the drawing there"
            )


@numba.njit(cache=True)
def _first_crossing(edges: Float) -> Any:
    # Edges are sorted by their lowest y; a crossing counts when both ends lie clearly on either side.
    n = len(edges)
    for a in range(n):
        ax, ay, bx, by = edges[a, 0], edges[a, 1], edges[a, 2], edges[a, 3]
        top = max(ay, by)
        la = np.hypot(bx - ax, by - ay)
        if la < 1e-9:
            continue
        for b in range(a + 1, n):
            cx, cy, dx, dy = edges[b, 0], edges[b, 1], edges[b, 2], edges[b, 3]
            if min(cy, dy) > top:
                break
            if max(cx, dx) < min(ax, bx) or min(cx, dx) > max(ax, bx):
                continue
            lb = np.hypot(dx - cx, dy - cy)
            if lb < 1e-9:
                continue
            c = ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / la
            d = ((bx - ax) * (dy - ay) - (by - ay) * (dx - ax)) / la
            if c * d >= 0 or min(abs(c), abs(d)) < COINCIDENT_MM:
                continue
            e = ((dx - cx) * (ay - cy) - (dy - cy) * (ax - cx)) / lb
            f = ((dx - cx) * (by - cy) - (dy - cy) * (bx - cx)) / lb
            if e * f >= 0 or min(abs(e), abs(f)) < COINCIDENT_MM:
                continue
            s = c / (c - d)
            return a, b, cx + s * (dx - cx), cy + s * (dy - cy)
    return -1, -1, 0.0, 0.0


def rings_without_channels(polygons: Sequence[Float]) -> list[Float]:
    """Return the polygons of one plane with coincident edges taken out and the rest joined to rings again.

    A keyhole contour becomes its outer ring and its hole; pieces that share an edge become one piece.

    Parameters
    ----------
    polygons : sequence of (n, 2) float
        The polygons of one plane, mm.
    """
    points = np.concatenate(polygons)
    keys = np.round(points / COINCIDENT_MM).astype(np.int64)
    _, vertex = np.unique(keys, axis=0, return_inverse=True)
    vertex = vertex.reshape(-1)
    if vertex.max() + 1 == len(points):
        return list(polygons)
    starts = np.cumsum([0] + [len(p) for p in polygons])
    following = np.concatenate([np.roll(vertex[a:b], -1) for a, b in pairwise(starts)])
    place = np.zeros((vertex.max() + 1, 2))
    place[vertex] = points
    edges = [(int(a), int(b)) for a, b in zip(vertex, following, strict=True) if a != b]
    edges = _split_at_vertices(edges, place)
    count: dict[tuple[int, int], int] = {}
    for a, b in edges:
        key = (min(a, b), max(a, b))
        count[key] = count.get(key, 0) + 1
    kept = [key for key, times in count.items() if times % 2]
    return [ring for ring in _join(kept, place) if abs(area_mm2(ring)) > 1e-6]


def _split_at_vertices(edges: list[tuple[int, int]], place: Float) -> list[tuple[int, int]]:
    # Vertices on an edge that are visited more than once may end a channel that the edge runs along.
    visits = np.bincount([a for a, _ in edges], minlength=len(place))
    shared = np.flatnonzero(visits > 1)
    ends = np.unique(np.concatenate([shared, _neighbours(edges, shared)]))
    spots = place[ends]
    out: list[tuple[int, int]] = []
    for a, b in edges:
        start, along = place[a], place[b] - place[a]
        length = float(np.hypot(*along))
        rel = spots - start
        s = rel @ along / length
        off = np.abs(rel[:, 0] * along[1] - rel[:, 1] * along[0]) / length
        on = (off < COINCIDENT_MM) & (s > COINCIDENT_MM) & (s < length - COINCIDENT_MM)
        if not on.any():
            out.append((a, b))
            continue
        chain = [a, *(int(v) for v in ends[on][np.argsort(s[on])]), b]
        out.extend(pairwise(chain))
    return out


def _neighbours(edges: list[tuple[int, int]], vertices: NDArray[np.int64]) -> NDArray[np.int64]:
    wanted = set(vertices.tolist())
    return np.array([b if a in wanted else a for a, b in edges if a in wanted or b in wanted], dtype=np.int64)


def _join(edges: list[tuple[int, int]], place: Float) -> list[Float]:
    around: dict[int, list[int]] = {}
    for a, b in edges:
        around.setdefault(a, []).append(b)
        around.setdefault(b, []).append(a)
    rings: list[Float] = []
    for start in list(around):
        path: list[int] = []
        position: dict[int, int] = {}
        at = start
        while around[at] or path:
            if at in position:  # a closed loop: cut it off and walk on from where it began
                loop = path[position[at] :]
                for vertex in loop:
                    del position[vertex]
                path = path[: len(path) - len(loop)]
                if len(loop) >= 3:
                    rings.append(place[loop])
                if not around[at]:
                    if not path:
                        break
                    continue
            position[at] = len(path)
            path.append(at)
            to = around[at].pop()
            around[to].remove(at)
            at = to
    return rings


def nesting_depth(polygons: Sequence[Float]) -> NDArray[np.int64]:
    """Return for each polygon (n, 2) of a plane how many others it lies in: even ones bound tissue, odd ones holes."""
    n = len(polygons)
    depth = np.zeros(n, dtype=np.int64)
    if n == 1:
        return depth
    areas = np.array([abs(area_mm2(p)) for p in polygons])
    low = np.array([p.min(axis=0) for p in polygons])
    high = np.array([p.max(axis=0) for p in polygons])
    for inner in range(n):
        for outer in range(n):
            if inner == outer or areas[outer] < areas[inner] or (areas[outer] == areas[inner] and outer > inner):
                continue
            if (low[inner] < low[outer] - COINCIDENT_MM).any() or (high[inner] > high[outer] + COINCIDENT_MM).any():
                continue
            ring = polygons[inner]
            step = max(1, len(ring) // 9)
            middles = 0.5 * (ring + np.roll(ring, -1, axis=0))[::step]
            depth[inner] += int(2 * _count_inside(polygons[outer], middles) > len(middles))
    return depth


@numba.njit(cache=True)
def _count_inside(polygon: Float, points: Float) -> int:
    count = 0
    n = len(polygon)
    for p in range(len(points)):
        x, y = points[p, 0], points[p, 1]
        inside = False
        for a in range(n):
            b = a + 1 if a + 1 < n else 0
            ya, yb = polygon[a, 1], polygon[b, 1]
            if (ya > y) != (yb > y) and x < polygon[a, 0] + (y - ya) / (yb - ya) * (polygon[b, 0] - polygon[a, 0]):
                inside = not inside
        count += inside
    return count


def oriented(polygons: Sequence[Float]) -> list[Float]:
    """Return the polygons of one plane, outer ones turning from +x to +y, holes the other way."""
    depth = nesting_depth(polygons)
    out = []
    for polygon, d in zip(polygons, depth, strict=True):
        turn = area_mm2(polygon) > 0
        out.append(polygon if turn == (d % 2 == 0) else np.ascontiguousarray(polygon[::-1]))
    return out


def resample_edge(contour: Float, spacing_mm: float) -> Float:
    """Return points along the polygon (n, d), every corner among them, no two further apart than `spacing_mm`."""
    if spacing_mm <= 0:
        raise GeometryError(f"the spacing of points along a contour must be above 0 mm; found {spacing_mm:g}")
    following = np.roll(contour, -1, axis=0)
    length = np.linalg.norm(following - contour, axis=1)
    pieces = np.maximum(1, np.ceil(length / spacing_mm - 1e-9)).astype(int)
    which = np.repeat(np.arange(len(contour)), pieces)
    part = np.arange(len(which)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    fraction = (part / pieces[which])[:, None]
    points: Float = contour[which] * (1 - fraction) + following[which] * fraction
    return points


def simplify(contour: Float, tolerance_mm: float) -> Float:
    """Return the polygon (n, d) with points left out, no left-out point further than `tolerance_mm` from the new edge.

    References
    ----------
    Ramer, Comput. Graph. Image Process. 1972;1:244, doi:10.1016/S0146-664X(72)80017-0.
    """
    if len(contour) < 5 or tolerance_mm <= 0:
        return contour
    # Two points far apart split the ring in two open lines.
    first = int(np.argmax(((contour[:, :2] - contour[0, :2]) ** 2).sum(axis=1)))
    turned = np.roll(contour, -first, axis=0)
    kept = _ramer(np.ascontiguousarray(np.vstack([turned, turned[:1]])[:, :2]), tolerance_mm)[:-1]
    return turned[kept] if kept.sum() >= 3 else contour


@numba.njit(cache=True)
def _ramer(points: Float, tolerance: float) -> Any:
    n = len(points)
    keep = np.zeros(n, dtype=np.bool_)
    keep[0] = keep[n - 1] = True
    far, best = 0, -1.0
    for p in range(1, n - 1):
        d = (points[p, 0] - points[0, 0]) ** 2 + (points[p, 1] - points[0, 1]) ** 2
        if d > best:
            far, best = p, d
    keep[far] = True
    stack = np.empty((n + 2, 2), dtype=np.int64)
    stack[0, 0], stack[0, 1] = 0, far
    stack[1, 0], stack[1, 1] = far, n - 1
    depth = 2
    while depth > 0:
        depth -= 1
        a, b = stack[depth, 0], stack[depth, 1]
        ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        length2 = ux * ux + uy * uy
        far, best = -1, tolerance * tolerance
        for p in range(a + 1, b):
            vx, vy = points[p, 0] - points[a, 0], points[p, 1] - points[a, 1]
            s = min(max((vx * ux + vy * uy) / length2, 0.0), 1.0) if length2 > 0 else 0.0
            d2 = (vx - s * ux) ** 2 + (vy - s * uy) ** 2
            if d2 > best:
                far, best = p, d2
        if far >= 0:
            keep[far] = True
            stack[depth, 0], stack[depth, 1] = a, far
            stack[depth + 1, 0], stack[depth + 1, 1] = far, b
            depth += 2
    return keep


def level_set(
    field: NDArray[Any],
    x_mm: Float,
    y_mm: Float,
    level: float = 0.0,
    tolerance_mm: float = 0.005,
    least_area_mm2: float = 0.01,
) -> list[Float]:
    """Return the polygons (n, 2) in which a 2-D field is above `level`, outer ones and holes, oriented.

    Parameters
    ----------
    field : (j, i) float
        Values at the crossings of `y_mm` and `x_mm`; linear between them. Beyond the lattice the field counts as below.
    x_mm, y_mm : (i,), (j,) float
        Ascending positions, mm.
    level : float
        The value at the edge.
    tolerance_mm : float
        Points are left out where the edge moves by no more than this.
    least_area_mm2 : float
        Smaller specks are left out.
    """
    rim = np.concatenate([field[0], field[-1], field[:, 0], field[:, -1]])
    if (rim > level).any():
        dx, dy = x_mm[1] - x_mm[0], y_mm[1] - y_mm[0]
        low = 2 * level - float(field.max())
        field = np.pad(field, 1, constant_values=low)
        x_mm = np.concatenate([[x_mm[0] - 1e-6 * dx], x_mm, [x_mm[-1] + 1e-6 * dx]])
        y_mm = np.concatenate([[y_mm[0] - 1e-6 * dy], y_mm, [y_mm[-1] + 1e-6 * dy]])
    lines = contourpy.contour_generator(x_mm, y_mm, field, line_type=contourpy.LineType.Separate).lines(level)
    out = []
    for line in lines:
        ring = without_repeats(np.asarray(line, dtype=np.float64)[:-1])
        if len(ring) < 3 or abs(area_mm2(ring)) < least_area_mm2:
            continue
        ring = simplify(ring, tolerance_mm)
        if len(ring) >= 3 and abs(area_mm2(ring)) >= least_area_mm2:
            out.append(ring)
    return oriented(out) if out else []


def in_plane(polygons: Sequence[Float], z_mm: float) -> tuple[Float, ...]:
    """Return polygons (n, 2) as contours (n, 3) in the plane `z_mm`."""
    return tuple(np.column_stack([p, np.full(len(p), z_mm)]) for p in polygons)
