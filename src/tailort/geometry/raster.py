"""Exact area coverage and exact signed distances of polygons on a lattice (compiled kernels).

Edges are rows x0, y0, x1, y1 with the inside on the left of the way from 0 to 1 (y taken as pointing up).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# Nodes along the sides of blocks that are asked at once which edges can be the nearest, coarse and then fine.
BLOCK, FINE_BLOCK = 16, 4


@numba.njit(cache=True, nogil=True)
def _accumulate(
    acc: Float, edges: Float, x_face: float, y_face: float, dx: float, dy: float, nj: int, ni: int
) -> None:  # pragma: no cover - compiled
    # Every edge adds, in the row it runs through, the signed height to the right of it; a running sum
    # along the row then gives the covered part of each pixel.
    for e in range(len(edges)):
        xa, ya = (edges[e, 0] - x_face) / dx, (edges[e, 1] - y_face) / dy
        xb, yb = (edges[e, 2] - x_face) / dx, (edges[e, 3] - y_face) / dy
        if ya == yb:
            continue
        sign = -1.0
        if ya > yb:
            xa, ya, xb, yb = xb, yb, xa, ya
            sign = 1.0
        slope = (xb - xa) / (yb - ya)
        first, last = max(0, int(np.floor(ya))), min(nj - 1, int(np.ceil(yb)) - 1)
        for j in range(first, last + 1):
            lo, hi = max(ya, float(j)), min(yb, float(j + 1))
            if hi <= lo:
                continue
            x0, x1 = xa + (lo - ya) * slope, xa + (hi - ya) * slope
            if x0 > x1:
                x0, x1 = x1, x0
            height = sign * (hi - lo)
            if x0 >= ni:
                continue
            if x1 <= 0.0:
                acc[j, 0] += height
                continue
            span = x1 - x0
            if x0 < 0.0:
                acc[j, 0] += height * (-x0 / span)
            lo_x, hi_x = max(x0, 0.0), min(x1, float(ni))
            i0 = int(lo_x)
            if hi_x <= i0 + 1:
                part = height if span <= 0.0 else height * ((hi_x - lo_x) / span)
                if span > 0.0 and x0 >= 0.0 and x1 <= ni:
                    part = height
                middle = 0.5 * (lo_x + hi_x) - i0
                acc[j, i0] += part * (1.0 - middle)
                acc[j, i0 + 1] += part * middle
                continue
            for i in range(i0, int(np.ceil(hi_x))):
                left, right = max(lo_x, float(i)), min(hi_x, float(i + 1))
                part = height * ((right - left) / span)
                middle = 0.5 * (left + right) - i
                acc[j, i] += part * (1.0 - middle)
                acc[j, i + 1] += part * middle


@numba.njit(cache=True, nogil=True)
def coverage(edges: Float, x_face: float, y_face: float, dx: float, dy: float, nj: int, ni: int) -> Any:
    """Return the covered part (j, i) of every pixel, exact; `x_face`, `y_face` is the corner of pixel (0, 0)."""
    acc = np.zeros((nj, ni + 2))
    _accumulate(acc, edges, x_face, y_face, dx, dy, nj, ni)
    out = np.empty((nj, ni))
    for j in range(nj):
        total = 0.0
        for i in range(ni):
            total += acc[j, i]
            out[j, i] = min(max(total, 0.0), 1.0)
    return out


@numba.njit(cache=True, nogil=True)
def add_coverage(
    block: NDArray[np.float32],
    edges: Float,
    x_face: float,
    y_face: float,
    dx: float,
    dy: float,
    j_low: int,
    i_low: int,
    nj: int,
    ni: int,
    slices: NDArray[np.int64],
    weights: Float,
) -> None:  # pragma: no cover - compiled
    """Add weight x coverage of a section to some slices of a block, in rows and columns from `j_low`, `i_low`."""
    acc = np.zeros((nj, ni + 2))
    _accumulate(acc, edges, x_face + i_low * dx, y_face + j_low * dy, dx, dy, nj, ni)
    for j in range(nj):
        total = 0.0
        for i in range(ni):
            total += acc[j, i]
            if total > 1e-9:
                covered = min(total, 1.0)
                for n in range(len(slices)):
                    block[slices[n], j_low + j, i_low + i] += np.float32(weights[n] * covered)


@numba.njit(cache=True, nogil=True)
def signed_distance(edges: Float, x0: float, y0: float, dx: float, dy: float, nj: int, ni: int, reach: float) -> Any:
    """Return the signed distance (j, i) of lattice nodes to the edges, mm: positive inside, exact up to +-`reach`."""
    out = np.full((nj, ni), np.float32(reach * reach))
    odd = np.zeros((nj, ni + 1), dtype=np.bool_)
    count = 0
    for e in range(len(edges)):
        ax, ay, bx, by = edges[e, 0], edges[e, 1], edges[e, 2], edges[e, 3]
        # Crossings of the rows: a node is inside after an odd number of them.
        lo, hi = min(ay, by), max(ay, by)
        if hi > lo:
            for j in range(max(0, int(np.ceil((lo - y0) / dy))), min(nj, int(np.ceil((hi - y0) / dy)))):
                x = ax + (y0 + j * dy - ay) / (by - ay) * (bx - ax)
                i = int(np.ceil((x - x0) / dx))
                odd[j, min(max(i, 0), ni)] ^= True
        length = np.hypot(bx - ax, by - ay)
        count += 0 if length == 0.0 else max(1, int(length / (2.0 * reach)))
    # Long edges in pieces, so that the neighbourhood of a slanting one stays small.
    pieces = np.empty((count, 4))
    n, near = 0, 0.0
    for e in range(len(edges)):
        ax, ay, bx, by = edges[e, 0], edges[e, 1], edges[e, 2], edges[e, 3]
        length = np.hypot(bx - ax, by - ay)
        if length == 0.0:
            continue
        parts = max(1, int(length / (2.0 * reach)))
        for p in range(parts):
            pieces[n, 0], pieces[n, 1] = ax + (bx - ax) * p / parts, ay + (by - ay) * p / parts
            pieces[n, 2], pieces[n, 3] = (bx - ax) / parts, (by - ay) / parts
            j_first, j_last, i_first, i_last = _near(pieces[n], x0, y0, dx, dy, nj, ni, reach)
            near += max(0, j_last - j_first + 1) * max(0, i_last - i_first + 1)
            n += 1
    # Where most edges are near most nodes, blocks of nodes tell first which edges can be the nearest.
    if near > 5.0 * nj * ni:
        _nearest_by_block(out, pieces, x0, y0, dx, dy, reach)
    else:
        for n in range(count):
            j_first, j_last, i_first, i_last = _near(pieces[n], x0, y0, dx, dy, nj, ni, reach)
            _nearest(out, pieces[n], x0, y0, dx, dy, j_first, j_last + 1, i_first, i_last + 1)
    for j in range(nj):
        inside = False
        for i in range(ni):
            if odd[j, i]:
                inside = not inside
            d = np.sqrt(out[j, i])
            out[j, i] = d if inside else -d
    return out


@numba.njit(cache=True, nogil=True, inline="always")
def _near(
    piece: Float, x0: float, y0: float, dx: float, dy: float, nj: int, ni: int, reach: float
) -> Any:  # pragma: no cover - compiled
    """First and last row and column of the nodes within reach of a piece of an edge's box."""
    px, py, ux, uy = piece[0], piece[1], piece[2], piece[3]
    j_first = max(0, int(np.ceil((min(py, py + uy) - reach - y0) / dy)))
    j_last = min(nj - 1, int(np.floor((max(py, py + uy) + reach - y0) / dy)))
    i_first = max(0, int(np.ceil((min(px, px + ux) - reach - x0) / dx)))
    i_last = min(ni - 1, int(np.floor((max(px, px + ux) + reach - x0) / dx)))
    return j_first, j_last, i_first, i_last


@numba.njit(cache=True, nogil=True, inline="always")
def _nearest(
    out: NDArray[np.float32], piece: Float, x0: float, y0: float, dx: float, dy: float,
    j_first: int, j_end: int, i_first: int, i_end: int,
) -> None:  # pragma: no cover - compiled  # fmt: skip
    """Lower the squared distance of some nodes to that of a piece of an edge, where it is nearer."""
    px, py, ux, uy = piece[0], piece[1], piece[2], piece[3]
    u2 = ux * ux + uy * uy
    for j in range(j_first, j_end):
        vy = y0 + j * dy - py
        for i in range(i_first, i_end):
            vx = x0 + i * dx - px
            s = min(max((vx * ux + vy * uy) / u2, 0.0), 1.0)
            d2 = np.float32((vx - s * ux) ** 2 + (vy - s * uy) ** 2)
            if d2 < out[j, i]:
                out[j, i] = d2


@numba.njit(cache=True, nogil=True, inline="always")
def _which_can_be_nearest(
    found: NDArray[np.int64], squared: Float, among: NDArray[np.int64], count: int, pieces: Float,
    x: float, y: float, radius: float, reach: float,
) -> Any:  # pragma: no cover - compiled  # fmt: skip
    """Write which pieces can be nearest to a point within a radius of (x, y): a diameter further than one is none."""
    least = np.inf
    for m in range(count):
        n = among[m]
        vx, vy, ux, uy = x - pieces[n, 0], y - pieces[n, 1], pieces[n, 2], pieces[n, 3]
        s = min(max((vx * ux + vy * uy) / (ux * ux + uy * uy), 0.0), 1.0)
        squared[m] = (vx - s * ux) ** 2 + (vy - s * uy) ** 2
        least = min(least, squared[m])
    # A little more, so that rounding leaves nothing out.
    within = (1.001 * min(np.sqrt(least) + 2.0 * radius, reach + radius)) ** 2
    kept = 0
    for m in range(count):
        if squared[m] <= within:
            found[kept] = among[m]
            kept += 1
    return kept


@numba.njit(cache=True, nogil=True)
def _nearest_by_block(
    out: NDArray[np.float32], pieces: Float, x0: float, y0: float, dx: float, dy: float, reach: float
) -> None:  # pragma: no cover - compiled
    """As `_nearest` of every piece; pieces that cannot be nearest are left out block by block."""
    nj, ni = out.shape
    total = len(pieces)
    every, squared = np.arange(total), np.empty(total)
    some, few = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
    diagonal = np.hypot(dx, dy)
    for j_block in range(0, nj, BLOCK):
        for i_block in range(0, ni, BLOCK):
            middle = 0.5 * (BLOCK - 1)
            x, y = x0 + (i_block + middle) * dx, y0 + (j_block + middle) * dy
            count = _which_can_be_nearest(some, squared, every, total, pieces, x, y, middle * diagonal, reach)
            for j_first in range(j_block, min(j_block + BLOCK, nj), FINE_BLOCK):
                for i_first in range(i_block, min(i_block + BLOCK, ni), FINE_BLOCK):
                    middle = 0.5 * (FINE_BLOCK - 1)
                    x, y = x0 + (i_first + middle) * dx, y0 + (j_first + middle) * dy
                    kept = _which_can_be_nearest(few, squared, some, count, pieces, x, y, middle * diagonal, reach)
                    for m in range(kept):
                        _nearest(
                            out, pieces[few[m]], x0, y0, dx, dy,
                            j_first, min(j_first + FINE_BLOCK, nj), i_first, min(i_first + FINE_BLOCK, ni),
                        )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _margin_along(vx: float, vy: float, margins: Float) -> Any:
    """Distance from the centre of the in-plane margin body to its edge in a direction."""
    length = np.hypot(vx, vy)
    if length == 0.0:
        return min(min(margins[0], margins[1]), min(margins[2], margins[3]))
    mx, my = margins[1] if vx > 0 else margins[0], margins[3] if vy > 0 else margins[2]
    return length / np.sqrt((vx / mx) ** 2 + (vy / my) ** 2)


@numba.njit(cache=True, nogil=True)
def signed_margin_distance(
    edges: Float, x0: float, y0: float, step: float, nj: int, ni: int, margins: Float, reach: float
) -> Any:  # pragma: no cover - compiled
    """Return signed distances (j, i) to the edge point that a directional margin reaches first, and the margin there.

    `margins` are those to -x, +x, -y, +y, mm, above 0: four quarters of ellipses. A node lies within the margin
    (scaled by q) of the polygons when its signed distance + q x margin is above 0; positive distances are inside.
    """
    odd = np.zeros((nj, ni + 1), dtype=np.bool_)
    for e in range(len(edges)):
        ay, by = edges[e, 1], edges[e, 3]
        lo, hi = min(ay, by), max(ay, by)
        if hi > lo:
            for j in range(max(0, int(np.ceil((lo - y0) / step))), min(nj, int(np.ceil((hi - y0) / step)))):
                x = edges[e, 0] + (y0 + j * step - ay) / (by - ay) * (edges[e, 2] - edges[e, 0])
                odd[j, min(max(int(np.ceil((x - x0) / step)), 0), ni)] ^= True
    inside = np.zeros((nj, ni), dtype=np.bool_)
    for j in range(nj):
        state = False
        for i in range(ni):
            if odd[j, i]:
                state = not state
            inside[j, i] = state
    best = np.full((nj, ni), np.inf)
    offset = np.full((nj, ni, 2), reach)
    for e in range(len(edges)):
        length = np.hypot(edges[e, 2] - edges[e, 0], edges[e, 3] - edges[e, 1])
        if length == 0.0:
            continue
        pieces = max(1, int(length / (2.0 * reach)))
        for p in range(pieces):
            px = edges[e, 0] + (edges[e, 2] - edges[e, 0]) * p / pieces
            py = edges[e, 1] + (edges[e, 3] - edges[e, 1]) * p / pieces
            ux, uy = (edges[e, 2] - edges[e, 0]) / pieces, (edges[e, 3] - edges[e, 1]) / pieces
            j_first = max(0, int(np.ceil((min(py, py + uy) - reach - y0) / step)))
            j_last = min(nj - 1, int(np.floor((max(py, py + uy) + reach - y0) / step)))
            i_first = max(0, int(np.ceil((min(px, px + ux) - reach - x0) / step)))
            i_last = min(ni - 1, int(np.floor((max(px, px + ux) + reach - x0) / step)))
            for j in range(j_first, j_last + 1):
                for i in range(i_first, i_last + 1):
                    # The way from the edge outwards to the node, or from the node outwards to the edge.
                    side = -1.0 if inside[j, i] else 1.0
                    vx, vy = side * (x0 + i * step - px), side * (y0 + j * step - py)
                    wx, wy = -side * ux, -side * uy
                    # v + s w, s in 0..1: cut where it changes quadrant; within one the margin is an ellipse.
                    s1 = min(max(-vx / wx, 0.0), 1.0) if wx != 0.0 else 0.0
                    s2 = min(max(-vy / wy, 0.0), 1.0) if wy != 0.0 else 0.0
                    if s1 > s2:
                        s1, s2 = s2, s1
                    for q in range(3):
                        sa = 0.0 if q == 0 else (s1 if q == 1 else s2)
                        sb = s1 if q == 0 else (s2 if q == 1 else 1.0)
                        if sb <= sa and q != 2:
                            continue
                        sm = 0.5 * (sa + sb)
                        mx = margins[1] if vx + sm * wx > 0 else margins[0]
                        my = margins[3] if vy + sm * wy > 0 else margins[2]
                        gx, gy, hx, hy = vx / mx, vy / my, wx / mx, wy / my
                        s = min(max(-(gx * hx + gy * hy) / (hx * hx + hy * hy), sa), sb)
                        t2 = (gx + s * hx) ** 2 + (gy + s * hy) ** 2
                        if t2 < best[j, i]:
                            best[j, i] = t2
                            offset[j, i, 0], offset[j, i, 1] = vx + s * wx, vy + s * wy
    distance, margin = np.empty((nj, ni), dtype=np.float32), np.zeros((nj, ni), dtype=np.float32)
    for j in range(nj):
        for i in range(ni):
            d = reach
            if best[j, i] < np.inf:
                d = min(reach, np.hypot(offset[j, i, 0], offset[j, i, 1]))
                margin[j, i] = _margin_along(offset[j, i, 0], offset[j, i, 1], margins)
            distance[j, i] = d if inside[j, i] else -d
    return distance, margin


@numba.njit(cache=True, nogil=True)
def raise_to(
    out: NDArray[np.float32], distance: Any, margin: Any, j0: int, i0: int, scale: float
) -> None:  # pragma: no cover - compiled
    """Write the greater of `out` and distance + scale x margin; `margin` may be (1, 1), the same everywhere."""
    nj, ni = distance.shape
    same = margin.size == 1
    for j in range(nj):
        for i in range(ni):
            v = distance[j, i] + scale * (margin[0, 0] if same else margin[j, i])
            if v > out[j0 + j, i0 + i]:
                out[j0 + j, i0 + i] = v


@numba.njit(cache=True, nogil=True)
def lower_to(
    out: NDArray[np.float32], distance: Any, margin: Any, j0: int, i0: int, scale: float, beyond: float
) -> None:  # pragma: no cover - compiled
    """Write the lesser of `out` and distance - scale x margin; `beyond` is the distance outside the window."""
    nj, ni = distance.shape
    same = margin.size == 1
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            v = np.float32(beyond)
            if 0 <= j - j0 < nj and 0 <= i - i0 < ni:
                v = distance[j - j0, i - i0] - scale * (margin[0, 0] if same else margin[j - j0, i - i0])
            if v < out[j, i]:
                out[j, i] = v
