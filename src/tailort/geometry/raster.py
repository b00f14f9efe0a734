"""Exact area coverage and exact signed distances of polygons on a lattice (compiled kernels).

Edges are rows x0, y0, x1, y1 with the inside on the left of the way from 0 to 1 (y taken as pointing up).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


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
def signed_distance(
    edges: Float, x0: float, y0: float, dx: float, dy: float, nj: int, ni: int, reach: float
) -> Any:
    """Return the signed distance (j, i) of lattice nodes to the edges, mm: positive inside, exact up to +-`reach`."""
    out = np.full((nj, ni), np.float32(reach * reach))
    odd = np.zeros((nj, ni + 1), dtype=np.bool_)
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
        if length == 0.0:
            continue
        # Long edges in pieces, so that the neighbourhood of a slanting one stays small.
        pieces = max(1, int(length / (2.0 * reach)))
        for p in range(pieces):
            px, py = ax + (bx - ax) * p / pieces, ay + (by - ay) * p / pieces
            ux, uy = (bx - ax) / pieces, (by - ay) / pieces
            u2 = ux * ux + uy * uy
            j_first = max(0, int(np.ceil((min(py, py + uy) - reach - y0) / dy)))
            j_last = min(nj - 1, int(np.floor((max(py, py + uy) + reach - y0) / dy)))
            i_first = max(0, int(np.ceil((min(px, px + ux) - reach - x0) / dx)))
            i_last = min(ni - 1, int(np.floor((max(px, px + ux) + reach - x0) / dx)))
            for j in range(j_first, j_last + 1):
                vy = y0 + j * dy - py
                for i in range(i_first, i_last + 1):
                    vx = x0 + i * dx - px
                    s = min(max((vx * ux + vy * uy) / u2, 0.0), 1.0)
                    d2 = np.float32((vx - s * ux) ** 2 + (vy - s * uy) ** 2)
                    if d2 < out[j, i]:
                        out[j, i] = d2
    for j in range(nj):
        inside = False
        for i in range(ni):
            if odd[j, i]:
                inside = not inside
            d = np.sqrt(out[j, i])
            out[j, i] = d if inside else -d
    return out
