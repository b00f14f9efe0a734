"""The two terms of the pencil kernel at every depth, in the lengths of the isocentre plane."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.physics.machine import Machine
from tailort.physics.pencil_kernel import MAX_DEPTH_CM, pencil_kernel

Float = NDArray[np.float64]

# Step of the depth table, cm.
DEPTH_STEP_CM = 0.05


@cache
def depth_table(machine: Machine) -> Float:
    """2 pi A/a (cm2/g), a (1/mm), 2 pi B/b and b every `DEPTH_STEP_CM`: (4, n)."""
    depth = np.arange(0.0, MAX_DEPTH_CM + 0.5 * DEPTH_STEP_CM, DEPTH_STEP_CM)
    kernel = pencil_kernel(machine.tpr20_10)
    (big_a, a), (big_b, b) = kernel.primary(depth), kernel.scatter(depth)
    return np.stack([2 * np.pi * big_a, a / 10, 2 * np.pi * big_b, b / 10])


def family(limits: Float, ratio: float) -> Float:
    """Slopes from the lowest to the highest, neighbours at most `ratio` apart and at least two."""
    count = max(2, int(np.ceil(np.log(limits[1] / limits[0]) / np.log(ratio))) + 1)
    slopes: Float = np.geomspace(limits[0], max(limits[1], limits[0] * 1.0001), count)
    return slopes


@numba.njit(cache=True, inline="always")
def at_depth(table: Float, row: int, depth_cm: float) -> Any:  # pragma: no cover - compiled
    """Value of a row of the depth table at a depth in cm of water."""
    place = min(max(depth_cm / DEPTH_STEP_CM, 0.0), table.shape[1] - 1.0)
    n = min(int(place), table.shape[1] - 2)
    return table[row, n] + (place - n) * (table[row, n + 1] - table[row, n])


@numba.njit(cache=True)
def slope_ranges(
    s: Float, depth: NDArray[np.float32], table: Float, sad: float
) -> Float:  # pragma: no cover - compiled
    """Lowest and highest slope in the isocentre plane, 1/mm, of the primary (row 0) and the scatter term (row 1)."""
    out = np.empty((2, 2))
    for term in range(2):
        low, high = 1e30, 0.0
        for n in range(s.size):
            slope = at_depth(table, 1 + 2 * term, depth[n]) * s[n] / sad
            low, high = min(low, slope), max(high, slope)
        out[term, 0], out[term, 1] = low, high
    return out
