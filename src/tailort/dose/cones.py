"""Transport of released energy along collapsed cones.

All energy that a voxel releases into a cone travels along the cone's axis. For one direction the grid is crossed by
parallel lines, one through each voxel of every plane across the direction's main axis, so each voxel is crossed exactly
once; a line jumps to the nearest voxel in each plane. Along it a term of the kernel with slope a carries the rate U,
which relaxes towards the local source S = w T:

    q = exp(-a l),   phi = (1 - q) / (a l)          l = relative electron density x path in the voxel (g/cm2)
    dose += S + phi (U - S)                          mean over the voxel, with what is released and left in it
    U    <- S + q (U - S)

In uniform TERMA U tends to S, so the dose is T for weights that add up to 1, whatever the densities.

References
----------
Ahnesjo 1989, Med Phys 16:577, doi:10.1118/1.596360.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.physics.point_kernel import Ring

Float = NDArray[np.float64]
Values = NDArray[np.float32]
Mask = NDArray[np.bool_]
# First and one past the last column of each row (plane, row).
Extent = tuple[NDArray[np.int32], NDArray[np.int32]]

# A carried rate below this share of the largest source is dropped.
NEGLIGIBLE = 1e-6
# The density of vacuum, relative to water: lines cross it without loss.
VACUUM = 1e-5


@dataclass(frozen=True, eq=False)
class Cones:
    """Directions of the cones of one beam with the kernel's terms along each.

    Parameters
    ----------
    directions : (n, 3) float
        Unit vectors in which the energy travels, LPS.
    slopes : (n, m) float
        cm2/g.
    weights : (n, 2, m) float
        Shares of the TERMA of the open and of the hardened kernel.
    across : (2, 3) float
        Two unit vectors across the beam, LPS.
    turns : (n, 2, m) float
        What a direction gets more of the TERMA for each radian by which the photons fly towards the vectors across.
    """

    directions: Float
    slopes: Float
    weights: Float
    across: Float
    turns: Float

    @classmethod
    def around(cls, axis: Float, rings: tuple[Ring, ...]) -> Cones:
        """Turn a kernel's rings about the photons' direction (3,), LPS.

        Every other ring is turned by half its spacing, so that directions do not line up.
        """
        along = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
        # Any two axes across would do; these do not change abruptly for beams across the patient's long axis.
        helper = np.array([0.0, 0.0, 1.0]) if abs(along[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
        across = np.cross(helper, along)
        across /= np.linalg.norm(across)
        third = np.cross(along, across)
        directions, slopes, weights, turns = [], [], [], []
        for n, ring in enumerate(rings):
            sine = np.sqrt(max(0.0, 1.0 - ring.cosine**2))
            for m in range(ring.count):
                turn = 2 * np.pi * (m + 0.5 * (n % 2) + 0.25) / ring.count
                towards = np.array([np.cos(turn), np.sin(turn)])
                directions.append(ring.cosine * along + sine * (towards[0] * across + towards[1] * third))
                slopes.append(ring.slopes)
                weights.append(ring.weights / ring.count)
                # A photon that flies towards a direction is at a smaller angle to it.
                turns.append(np.outer(-ring.turn * towards, ring.weights.mean(axis=0) / ring.count))
        return cls(
            np.array(directions), np.array(slopes), np.array(weights), np.stack([across, third]), np.array(turns)
        )


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines along those of a kernel's directions whose main axis is the same.

    Along it a line passes from plane to plane, and jumps by at most one voxel across.

    Parameters
    ----------
    sign : (n,) int
        Whether planes are passed upwards (1) or downwards (-1).
    tilt : (n, 2) float
        Voxels along the other two axes of the grid, in their order, from plane to plane.
    path_cm : (n,) float
        Way in a voxel.
    slopes : (n, m) float
        cm2/g.
    weights : (n, 4, m) float32
        `Cones.weights` and `Cones.turns`.
    """

    sign: NDArray[np.int64]
    tilt: Float
    path_cm: Float
    slopes: Float
    weights: Values

    @classmethod
    def of(cls, cones: Cones, spacing_cm: Float, to_index: Float) -> tuple[Lines, Lines, Lines]:
        """Lines of a kernel by their main axis k, j, i; parameters as those of `transport`."""
        local = cones.directions @ to_index.T / spacing_cm
        main = np.argmax(np.abs(local), axis=1)
        weights = np.concatenate([cones.weights, cones.turns], axis=1).astype(np.float32)

        def along(axis: int) -> Lines:
            own = np.flatnonzero(main == axis)
            step = local[own][:, order_from(axis)]
            return cls(
                np.sign(step[:, 0]).astype(np.int64), step[:, 1:] / np.abs(step[:, :1]), 1.0 / np.abs(step[:, 0]),
                cones.slopes[own], weights[own],
            )  # fmt: skip

        return along(0), along(1), along(2)


def order_from(axis: int) -> tuple[int, int, int]:
    """Axes of the grid with this one first."""
    first, second = (other for other in range(3) if other != axis)
    return axis, first, second


def transport(
    soft: Values,
    hard: Values | None,
    flow: Values | None,
    electrons: Values,
    spacing_cm: Float,
    to_index: Float,
    anchor: Float,
    *kernels: Cones,
    asked: Mask | None = None,
) -> list[Values]:
    """Energy that the cones of each kernel leave in each voxel, per electron density.

    Parameters
    ----------
    soft, hard : (k, j, i) float32
        TERMA that spreads by the open and by the hardened kernel; any unit. None: nothing.
    flow : (3, k, j, i) float32
        The whole TERMA times the photons' direction, LPS. Its part across the beam turns the kernels, to first order,
        to where the photons fly. None: the kernels are not turned.
    electrons : (k, j, i) float32
        Electron density relative to water.
    spacing_cm : (3,) float
        Voxel spacing along (k, j, i), cm.
    to_index : (3, 3) float
        Takes LPS directions to (k, j, i) components of the same length (rows are the grid's unit vectors).
    anchor : (3,) float
        Index (k, j, i) of a point, in the grid or not, from which the jumps of the lines are counted: if it is one
        place of the patient, the dose does not depend on where the grid begins.
    *kernels : Cones
        Of one beam.
    asked : (k, j, i) bool or None
        Voxels whose energy is wanted; what is told of the others may be anything up to what they have. Lines end where
        they meet none of them any more. None: all.

    Returns
    -------
    list of (k, j, i) float32
        For each kernel, in the unit of the TERMA.
    """
    totals = [np.zeros(soft.shape, dtype=np.float32) for _ in kernels]
    highest = float(np.abs(soft).max()) + (0.0 if hard is None else float(np.abs(hard).max()))
    if highest == 0.0:
        return totals
    aside, beside = (None, None) if flow is None else np.tensordot(kernels[0].across.astype(np.float32), flow, axes=1)
    dense = np.maximum(electrons, np.float32(VACUUM))
    lines = [Lines.of(cones, spacing_cm, to_index) for cones in kernels]
    for axis in range(3):
        if not any(by_axis[axis].sign.size for by_axis in lines):
            continue
        order = order_from(axis)
        shape = [soft.shape[n] for n in order]
        nothing = np.zeros(shape, dtype=np.float32)
        t0, t1, t2, t3, own_dense = (
            nothing if values is None else np.ascontiguousarray(values.transpose(order))
            for values in (soft, hard, aside, beside, dense)
        )
        released = _extent((t0 != 0.0) | (t1 != 0.0))
        wanted = _whole(shape) if asked is None else _extent(np.ascontiguousarray(asked.transpose(order)))
        for total, cones, by_axis in zip(totals, kernels, lines, strict=True):
            own = by_axis[axis]
            if not own.sign.size:
                continue
            left = np.zeros((min(numba.get_num_threads(), own.sign.size), *t0.shape), dtype=np.float32)
            top = float(np.abs(cones.weights).max()) * highest
            _sweep(
                t0, t1, t2, t3, own_dense, *released, *wanted, own.sign, own.tilt, float(anchor[axis]), own.path_cm,
                own.slopes, own.weights, np.float32(NEGLIGIBLE * top), left,
            )  # fmt: skip
            whole = left[0] if len(left) == 1 else left.sum(axis=0, dtype=np.float32)
            total += whole.transpose(np.argsort(order))
    return totals


def _whole(shape: Sequence[int]) -> Extent:
    return np.zeros(tuple(shape[:2]), dtype=np.int32), np.full(tuple(shape[:2]), shape[2], dtype=np.int32)


@numba.njit(cache=True)
def _extent(there: Mask) -> Extent:  # pragma: no cover - compiled
    """First and one past the last voxel of each row (plane, row) that is there; of none the row's size and 0."""
    planes, rows, columns = there.shape
    low = np.full((planes, rows), columns, dtype=np.int32)
    high = np.zeros((planes, rows), dtype=np.int32)
    for p in range(planes):
        for r in range(rows):
            for c in range(columns):
                if there[p, r, c]:
                    low[p, r] = min(low[p, r], c)
                    high[p, r] = c + 1
    return low, high


@numba.njit(cache=True, parallel=True, error_model="numpy")
def _sweep(
    soft: Values,
    stiff: Values,
    aside: Values,
    beside: Values,
    dense: Values,
    low: NDArray[np.int32],
    high: NDArray[np.int32],
    wanted_low: NDArray[np.int32],
    wanted_high: NDArray[np.int32],
    sign: NDArray[np.int64],
    tilt: Float,
    anchor: float,
    path_cm: Float,
    slopes: Float,
    weights: Values,
    negligible: np.float32,
    left: Values,
) -> None:  # pragma: no cover - compiled
    planes, rows, columns = soft.shape
    threads = left.shape[0]
    terms = slopes.shape[1]
    for thread in numba.prange(threads):
        own = left[thread]
        # Carried rates with a border of one voxel, of the plane before and of this one.
        carried = np.zeros((2, terms, rows + 2, columns + 2), dtype=np.float32)
        first = np.zeros((2, rows + 2), dtype=np.int64)
        last = np.zeros((2, rows + 2), dtype=np.int64)
        jumps = np.zeros((planes + 1, 2), dtype=np.int64)
        # Of each row, by the number of its plane, what lines must still come through: first and one past the last.
        needed = np.zeros((2, planes, rows), dtype=np.int64)
        for m in range(thread, sign.size, threads):
            for side in range(2):
                for row in range(rows + 2):
                    carried[side, :, row, first[side, row] : last[side, row]] = 0.0
                    first[side, row] = columns + 2
                    last[side, row] = 0
            now = 0
            behind = anchor if sign[m] > 0 else planes - 1 - anchor
            for axis in range(2):
                at = _jumps(-behind, tilt[m, axis])
                for n in range(planes):
                    # Where the tilt is 1, rounding must not make it 2.
                    jumps[n, axis] = min(max(_jumps(n - behind, tilt[m, axis]) - at, -1), 1)
                    at += jumps[n, axis]
            _look_ahead(needed, wanted_low, wanted_high, jumps, sign[m], columns)
            for n in range(planes):
                plane = n if sign[m] > 0 else planes - 1 - n
                row_jump, column_jump = jumps[n]
                before, now = now, 1 - now
                for row in range(rows):
                    here = row + 1
                    held_a, held_b = first[now, here], last[now, here]
                    source = here - row_jump
                    a = min(first[before, source] + column_jump, low[plane, row] + 1)
                    b = max(last[before, source] + column_jump, high[plane, row] + 1)
                    if first[before, source] >= last[before, source]:
                        a, b = low[plane, row] + 1, high[plane, row] + 1
                    elif low[plane, row] >= high[plane, row]:
                        a, b = first[before, source] + column_jump, last[before, source] + column_jump
                    a, b = max(a, needed[0, n, row] + 1), min(b, needed[1, n, row] + 1)
                    if a >= b:
                        _clear(carried, now, here, held_a, held_b)
                        first[now, here], last[now, here] = columns + 2, 0
                        continue
                    # What this row held two planes ago and is not written over.
                    _clear(carried, now, here, held_a, min(held_b, a))
                    _clear(carried, now, here, max(held_a, b), held_b)
                    size = b - a
                    t0 = soft[plane, row, a - 1 : b - 1]
                    t1 = stiff[plane, row, a - 1 : b - 1]
                    t2 = aside[plane, row, a - 1 : b - 1]
                    t3 = beside[plane, row, a - 1 : b - 1]
                    density = dense[plane, row, a - 1 : b - 1]
                    out = own[plane, row, a - 1 : b - 1]
                    for term in range(terms):
                        w0, w1 = weights[m, 0, term], weights[m, 1, term]
                        w2, w3 = weights[m, 2, term], weights[m, 3, term]
                        rate = np.float32(slopes[m, term] * path_cm[m])
                        arriving = carried[before, term, source, a - column_jump : b - column_jump]
                        leaving = carried[now, term, here, a:b]
                        _relax(t0, t1, t2, t3, density, w0, w1, w2, w3, rate, arriving, leaving, out, size)
                    while a < b and _still(carried[now], here, a, negligible):
                        carried[now, :, here, a] = 0.0
                        a += 1
                    while a < b and _still(carried[now], here, b - 1, negligible):
                        carried[now, :, here, b - 1] = 0.0
                        b -= 1
                    first[now, here], last[now, here] = a, b


@numba.njit(cache=True, inline="always")
def _clear(carried: Values, side: int, row: int, start: int, stop: int) -> None:  # pragma: no cover - compiled
    for term in range(carried.shape[1]):
        for column in range(start, stop):
            carried[side, term, row, column] = 0.0


@numba.njit(cache=True)
def _look_ahead(
    needed: NDArray[np.int64],
    low: NDArray[np.int32],
    high: NDArray[np.int32],
    jumps: NDArray[np.int64],
    sign: int,
    columns: int,
) -> None:  # pragma: no cover - compiled
    """Fill in what lines must still come through: what is wanted there, and what leads to such voxels further on."""
    planes, rows = low.shape
    for n in range(planes - 1, -1, -1):
        plane = n if sign > 0 else planes - 1 - n
        row_jump, column_jump = jumps[n + 1]
        for row in range(rows):
            a, b = int(low[plane, row]), int(high[plane, row])
            on = row + row_jump
            if n + 1 < planes and 0 <= on < rows and needed[0, n + 1, on] < needed[1, n + 1, on]:
                a = min(a, max(int(needed[0, n + 1, on] - column_jump), 0))
                b = max(b, min(int(needed[1, n + 1, on] - column_jump), columns))
            needed[0, n, row], needed[1, n, row] = a, b


@numba.njit(cache=True, inline="always")
def _jumps(planes: float, tilt: float) -> int:  # pragma: no cover - compiled
    """Voxels by which a line has jumped so many planes after its anchor."""
    return int(np.floor(planes * tilt + 0.5))


@numba.njit(cache=True, inline="always")
def _still(carried: Values, row: int, column: int, negligible: np.float32) -> bool:  # pragma: no cover - compiled
    still = True
    for term in range(carried.shape[0]):
        if abs(carried[term, row, column]) > negligible:
            still = False
    return still


@numba.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _relax(
    t0: Values,
    t1: Values,
    t2: Values,
    t3: Values,
    density: Values,
    w0: np.float32,
    w1: np.float32,
    w2: np.float32,
    w3: np.float32,
    rate: np.float32,
    arriving: Values,
    leaving: Values,
    out: Values,
    size: int,
) -> None:  # pragma: no cover - compiled
    """One term of one row: relax the carried rate towards the source and leave energy on the way."""
    one, half, sixth, third = np.float32(1.0), np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 3)
    fourth_order, fifth_order = np.float32(1 / 24), np.float32(1 / 120)
    sixteenth, small, most = np.float32(1 / 16), np.float32(0.03), np.float32(30.0)
    for c in range(size):
        s = w0 * t0[c] + w1 * t1[c] + w2 * t2[c] + w3 * t3[c]
        x = rate * density[c]
        # exp(x/16) by its series, then to the power of 16.
        y = min(x, most) * sixteenth
        p = one + y * (one + y * (half + y * (sixth + y * (fourth_order + y * fifth_order))))
        p = p * p
        p = p * p
        p = p * p
        p = p * p
        r = one / (x * p)
        q = x * r
        phi = (p - one) * r if x > small else one - x * half * (one - x * third)
        d = arriving[c] - s
        leaving[c] = s + q * d
        out[c] += s + phi * d
