"""Fluence as a sum of leaf openings: step and shoot with the fewest monitor units."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError

Int = NDArray[np.int64]


def monitor_units(levels: Int) -> int:
    """Fewest units in which leaves that may pass each other deliver a matrix: the largest sum of rises of a row."""
    padded = np.pad(np.asarray(levels, dtype=np.int64), ((0, 0), (1, 0)))
    return int(np.maximum(np.diff(padded, axis=1), 0).sum(axis=1).max(initial=0))


def decompose(levels: Int) -> list[tuple[int, Int, Int]]:
    """Split a fluence of whole levels into openings, in as few units and then as few openings as can be found.

    Each opening takes the largest weight with which the rest still needs only the remaining units; among the
    intervals that a row then may open, one that removes most of its steps is taken, and the widest of those.

    Parameters
    ----------
    levels : (pairs, columns) int
        Not negative.

    Returns
    -------
    list of (units, (pairs,) left, (pairs,) right)
        Open columns are left <= column < right; left = right is closed. Their sum is `levels` exactly, the sum of
        units is `monitor_units(levels)`.

    References
    ----------
    Engel 2005, Discrete Applied Mathematics 152:35, doi 10.1016/j.dam.2005.04.009;
    Kalinowski 2005, Discrete Applied Mathematics 152:52, doi 10.1016/j.dam.2004.10.008.
    """
    rest = np.array(levels, dtype=np.int64)
    if rest.ndim != 2 or rest.size == 0 or rest.min() < 0:
        raise InputError("a fluence to be sequenced needs levels of at least 0 for each leaf pair and column")
    openings = []
    while (units := monitor_units(rest)) > 0:
        weight = int(rest.max())
        while True:
            found, left, right = _opening(rest, weight, units)
            if found:
                break
            weight -= 1
        for pair in np.flatnonzero(right > left):
            rest[pair, left[pair] : right[pair]] -= weight
        openings.append((weight, left, right))
    return openings


@numba.njit(cache=True)
def _opening(rest: Int, weight: int, units: int) -> tuple[bool, Int, Int]:  # pragma: no cover - compiled
    """One interval a row that leaves at most units - weight; found is False when some row has none."""
    pairs, columns = rest.shape
    left = np.zeros(pairs, dtype=np.int64)
    right = np.zeros(pairs, dtype=np.int64)
    step = np.zeros(columns + 1, dtype=np.int64)
    for pair in range(pairs):
        rises = 0
        for c in range(columns + 1):
            here = rest[pair, c] if c < columns else 0
            before = rest[pair, c - 1] if c > 0 else 0
            step[c] = here - before
            rises += max(step[c], 0)
        best = -1
        if rises <= units - weight:
            best = 0
        for a in range(columns):
            gain_a = max(step[a], 0) - max(step[a] - weight, 0)
            for b in range(a + 1, columns + 1):
                if rest[pair, b - 1] < weight:
                    break
                after = rises - gain_a + max(step[b] + weight, 0) - max(step[b], 0)
                if after > units - weight:
                    continue
                merit = 1 + (b - a) + 1000 * ((step[a] == weight) + (step[b] == -weight))
                if merit > best:
                    best = merit
                    left[pair] = a
                    right[pair] = b
        if best < 0:
            return False, left, right
    return True, left, right
