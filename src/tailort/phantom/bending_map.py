"""The arithmetic of `bending`, point by point: body coordinates (x to the left, y to the back, z to the head, mm).

A point of today first moves with the stomach, then slides inside the cavity of chest and abdomen, which it never
leaves, then goes with the vertebrae, the mediastinum, the fat and the shoulders, all of which move without a jump.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STEP_MM = 0.5
"""Of the tables along z."""
# Columns of the table along z: outlines (half width, middle, half depth), the spine, its motion, the other motions.
(
    CAVITY_WIDTH, CAVITY_Y, CAVITY_DEPTH, MUSCLE_WIDTH, MUSCLE_Y, MUSCLE_DEPTH, FAT, SPINE_X, SPINE_Y, FRONT_Y, BACK_Y,
    NEAR_WIDTH, TURN_X, TURN_Y, TURN_Z, SHIFT_X, SHIFT_Y, SHIFT_Z, FOOD_X, FOOD_Y, SLIDE, PUSH_X,
    PUSH_Y, PUSH_Z,
) = range(24)  # fmt: skip
COLUMNS = PUSH_Z + 1
# Of a vertebra: upper and lower edge, centre (3), shift (3), matrix of its turn by rows (9); upper and lower edge of
# its spinous process where it begins, that place from front to back, and its fall by length.
VERTEBRA = 21
# Single numbers.
(
    Z_START, CAVITY_TOP, EXPONENT, FAT_GROWS, SHOULDER_X, SHOULDER_Z_LOW, SHOULDER_Z_HIGH, SHOULDER_REACH, SHOULDER_L_X,
    SHOULDER_L_Y, SHOULDER_L_Z, SHOULDER_R_X, SHOULDER_R_Y, SHOULDER_R_Z, STOMACH_X, STOMACH_Y, STOMACH_Z,
    STOMACH_REACH, STOMACH_MOVES_X, STOMACH_MOVES_Y, STOMACH_MOVES_Z, MEDIASTINUM_REACH,
    FRONT_FAT_GROWS,
) = range(23)  # fmt: skip
NUMBERS = FRONT_FAT_GROWS + 1

_MIDLINE_MM = (5.0, 22.0)
_BEGINS_MM = 3.0
_STEPWISE_MM = 14.0
_SPINE_REACH_MM = 90.0
_FREE_MM = (1.0, 16.0)
_FREER_MM = (1.0, 30.0)
_SLIDES_FROM_MM = (4.0, 40.0)
_SLIDES_IN_THE_MIDDLE = 0.35
# Between these sines of the angle in front of the side the loss of fat in front begins.
_FRONT = (-0.3, 0.3)
_SLIDES_ASIDE = (0.15, 0.55)
_CLOSE_ENOUGH_MM = 1e-5
_ROUNDS = 200


@numba.njit(cache=True, inline="always")
def _smooth(value: float, low: float, high: float) -> float:  # pragma: no cover - compiled
    """0 below `low`, 1 above `high`, without a kink."""
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    found: float = t * t * (3.0 - 2.0 * t)
    return found


@numba.njit(cache=True, inline="always")
def _at(table: Array, column: int, row: int, share: float) -> float:  # pragma: no cover - compiled
    value: float = table[row, column] + share * (table[row + 1, column] - table[row, column])
    return value


@numba.njit(cache=True, inline="always")
def _place(table: Array, numbers: Array, z: float) -> tuple[int, float]:  # pragma: no cover - compiled
    at = min(max((z - numbers[Z_START]) / STEP_MM, 0.0), table.shape[0] - 1.001)
    row = int(at)
    return row, at - row


@numba.njit(cache=True)
def _from_spine(x: float, y: float, table: Array, row: int, share: float) -> float:  # pragma: no cover - compiled
    """Distance from the room of the vertebrae, mm; 0 in it."""
    front = max(_at(table, FRONT_Y, row, share) - y, 0.0)
    back = max(y - _at(table, BACK_Y, row, share), 0.0)
    aside = max(abs(x - _at(table, SPINE_X, row, share)) - _at(table, NEAR_WIDTH, row, share), 0.0)
    return float(np.sqrt(front * front + back * back + aside * aside))


@numba.njit(cache=True)
def _turned(bone: Array, x: float, y: float, z: float) -> tuple[float, float, float]:  # pragma: no cover - compiled
    """Displacement of a point that belongs to a vertebra."""
    u, v, w = x - bone[2], y - bone[3], z - bone[4]
    return (
        bone[8] * u + bone[9] * v + bone[10] * w - u + bone[5],
        bone[11] * u + bone[12] * v + bone[13] * w - v + bone[6],
        bone[14] * u + bone[15] * v + bone[16] * w - w + bone[7],
    )


@numba.njit(cache=True, inline="always")
def _edge(bone: Array, which: int, y: float, midline: float) -> float:  # pragma: no cover - compiled
    """Upper (0) or lower (1) edge of a vertebra: behind, its spinous process hangs over the next one."""
    behind = midline * _smooth(y, bone[19] - _BEGINS_MM, bone[19] + _BEGINS_MM)
    edge: float = bone[which] + behind * (bone[17 + which] - bone[20] * max(y - bone[19], 0.0) - bone[which])
    return edge


@numba.njit(cache=True)
def _stepwise(
    x: float, y: float, z: float, table: Array, row: int, share: float, bones: Array
) -> tuple[float, float, float]:  # pragma: no cover - compiled
    """Displacement with the vertebra of this height; in a disc between those of its neighbours."""
    midline = 1.0 - _smooth(abs(x - _at(table, SPINE_X, row, share)), _MIDLINE_MM[0], _MIDLINE_MM[1])
    n = 0
    upper = _edge(bones[1], 0, y, midline)
    while n < bones.shape[0] - 1 and z < upper:
        n += 1
        if n < bones.shape[0] - 1:
            upper = _edge(bones[n + 1], 0, y, midline)
    ux, uy, uz = _turned(bones[n], x, y, z)
    if n < bones.shape[0] - 1:
        lower = _edge(bones[n], 1, y, midline)
        if z < lower:
            t = _smooth(lower - z, 0.0, lower - upper)
            vx, vy, vz = _turned(bones[n + 1], x, y, z)
            ux, uy, uz = ux + t * (vx - ux), uy + t * (vy - uy), uz + t * (vz - uz)
    return ux, uy, uz


@numba.njit(cache=True)
def _gradual(
    x: float, y: float, table: Array, row: int, share: float
) -> tuple[float, float, float]:  # pragma: no cover - compiled
    """Displacement with a spine that bends everywhere a little."""
    a, b, c = _at(table, TURN_X, row, share), _at(table, TURN_Y, row, share), _at(table, TURN_Z, row, share)
    u, v = x - _at(table, SPINE_X, row, share), y - _at(table, SPINE_Y, row, share)
    return (
        _at(table, SHIFT_X, row, share) - c * v,
        _at(table, SHIFT_Y, row, share) + c * u,
        _at(table, SHIFT_Z, row, share) + a * v - b * u,
    )


@numba.njit(cache=True)
def _continuous(
    x: float, y: float, z: float, table: Array, numbers: Array, bones: Array
) -> tuple[float, float, float]:  # pragma: no cover - compiled
    """Displacement of everything that moves without a jump."""
    row, share = _place(table, numbers, z)
    away = _from_spine(x, y, table, row, share)
    ux, uy, uz = 0.0, 0.0, 0.0
    near = 1.0 - _smooth(away, 0.0, _STEPWISE_MM)
    if near > 0.0:
        vx, vy, vz = _stepwise(x, y, z, table, row, share, bones)
        ux, uy, uz = near * vx, near * vy, near * vz
    far = 1.0 - _smooth(away, 0.0, _SPINE_REACH_MM) - near
    if far > 0.0:
        vx, vy, vz = _gradual(x, y, table, row, share)
        ux, uy, uz = ux + far * vx, uy + far * vy, uz + far * vz
    free = _smooth(away, _FREE_MM[0], _FREE_MM[1])
    if free == 0.0:
        return ux, uy, uz

    u, v = x - _at(table, FOOD_X, row, share), y - _at(table, FOOD_Y, row, share)
    q = (u * u + v * v) / numbers[MEDIASTINUM_REACH] ** 2
    if q < 1.0:
        push = free * (1.0 - q) ** 2
        ux += push * _at(table, PUSH_X, row, share)
        uy += push * _at(table, PUSH_Y, row, share)
        uz += push * _at(table, PUSH_Z, row, share)

    free = _smooth(away, _FREER_MM[0], _FREER_MM[1])
    width, depth = _at(table, MUSCLE_WIDTH, row, share), _at(table, MUSCLE_DEPTH, row, share)
    v = y - _at(table, MUSCLE_Y, row, share)
    power = numbers[EXPONENT]
    q = (abs(x / width) ** power + abs(v / depth) ** power) ** (1.0 / power)
    if q > 1.0:
        radius = np.sqrt(x * x + v * v)
        under = radius * (1.0 - 1.0 / q)
        thick = _at(table, FAT, row, share)
        share_of_fat = numbers[FAT_GROWS] + numbers[FRONT_FAT_GROWS] * _smooth(-v / radius, _FRONT[0], _FRONT[1])
        grow = free * share_of_fat * thick * _smooth(under, 0.0, thick) / radius
        ux += grow * x
        uy += grow * v

    outer = _smooth(abs(x), numbers[SHOULDER_X], numbers[SHOULDER_X] + numbers[SHOULDER_REACH])
    upper = _smooth(z, numbers[SHOULDER_Z_LOW], numbers[SHOULDER_Z_HIGH])
    raised = free * outer * upper
    if raised > 0.0:
        side = SHOULDER_L_X if x > 0.0 else SHOULDER_R_X
        ux += raised * numbers[side]
        uy += raised * numbers[side + 1]
        uz += raised * numbers[side + 2]
    return ux, uy, uz


@numba.njit(cache=True)
def _in_cavity(x: float, y: float, z: float, table: Array, numbers: Array) -> bool:  # pragma: no cover - compiled
    if z >= numbers[CAVITY_TOP]:
        return False
    row, share = _place(table, numbers, z)
    u = abs(x / _at(table, CAVITY_WIDTH, row, share))
    v = abs((y - _at(table, CAVITY_Y, row, share)) / _at(table, CAVITY_DEPTH, row, share))
    inside: bool = u ** numbers[EXPONENT] + v ** numbers[EXPONENT] < 1.0
    return inside


@numba.njit(cache=True)
def _slide(u: float, v: float, z: float, table: Array, numbers: Array) -> float:  # pragma: no cover - compiled
    """How far a point slides along the body; u and v are its place in the cavity's cross-section, -1 to 1."""
    row, share = _place(table, numbers, z)
    most = _at(table, SLIDE, row, share)
    if most == 0.0:
        return 0.0
    x = u * _at(table, CAVITY_WIDTH, row, share)
    y = _at(table, CAVITY_Y, row, share) + v * _at(table, CAVITY_DEPTH, row, share)
    free = _smooth(_from_spine(x, y, table, row, share), _SLIDES_FROM_MM[0], _SLIDES_FROM_MM[1])
    aside = _smooth(abs(u), _SLIDES_ASIDE[0], _SLIDES_ASIDE[1])
    return most * free * (_SLIDES_IN_THE_MIDDLE + (1.0 - _SLIDES_IN_THE_MIDDLE) * aside)


@numba.njit(cache=True)
def _slid(
    x: float, y: float, z: float, to: float, table: Array, numbers: Array
) -> tuple[float, float]:  # pragma: no cover - compiled
    """X and y of a point of the cavity that slides from plane z to plane `to`."""
    row, share = _place(table, numbers, z)
    u = x / _at(table, CAVITY_WIDTH, row, share)
    v = (y - _at(table, CAVITY_Y, row, share)) / _at(table, CAVITY_DEPTH, row, share)
    row, share = _place(table, numbers, to)
    return (
        u * _at(table, CAVITY_WIDTH, row, share),
        _at(table, CAVITY_Y, row, share) + v * _at(table, CAVITY_DEPTH, row, share),
    )


@numba.njit(cache=True)
def _with_stomach(
    x: float, y: float, z: float, table: Array, numbers: Array
) -> tuple[float, float, float]:  # pragma: no cover - compiled
    """Displacement with the stomach."""
    u, v, w = x - numbers[STOMACH_X], y - numbers[STOMACH_Y], z - numbers[STOMACH_Z]
    q = (u * u + v * v + w * w) / numbers[STOMACH_REACH] ** 2
    if q >= 1.0:
        return 0.0, 0.0, 0.0
    row, share = _place(table, numbers, z)
    move = (1.0 - q) ** 2 * _smooth(_from_spine(x, y, table, row, share), _FREER_MM[0], _FREER_MM[1])
    return move * numbers[STOMACH_MOVES_X], move * numbers[STOMACH_MOVES_Y], move * numbers[STOMACH_MOVES_Z]


@numba.njit(cache=True, parallel=True)
def forward(points: Array, table: Array, numbers: Array, bones: Array) -> Array:  # pragma: no cover - compiled
    """Points (n, 3) of today as they lay then."""
    found = np.empty_like(points)
    for n in numba.prange(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        if _in_cavity(x, y, z, table, numbers):
            ux, uy, uz = _with_stomach(x, y, z, table, numbers)
            x, y, z = x + ux, y + uy, z + uz
            row, share = _place(table, numbers, z)
            u = x / _at(table, CAVITY_WIDTH, row, share)
            v = (y - _at(table, CAVITY_Y, row, share)) / _at(table, CAVITY_DEPTH, row, share)
            to = z + _slide(u, v, z, table, numbers)
            x, y = _slid(x, y, z, to, table, numbers)
            z = to
        ux, uy, uz = _continuous(x, y, z, table, numbers, bones)
        found[n, 0], found[n, 1], found[n, 2] = x + ux, y + uy, z + uz
    return found


@numba.njit(cache=True, parallel=True)
def backward(points: Array, table: Array, numbers: Array, bones: Array) -> Array:  # pragma: no cover - compiled
    """Points (n, 3) of then as they lie today: each motion undone by itself, the last one first."""
    found = np.empty_like(points)
    for n in numba.prange(points.shape[0]):
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        x, y, z = px, py, pz
        # Whole steps, and shorter ones where tissue is stretched so much that they would not come closer.
        step, last = 1.0, np.inf
        for _ in range(_ROUNDS):
            ux, uy, uz = _continuous(x, y, z, table, numbers, bones)
            dx, dy, dz = px - ux - x, py - uy - y, pz - uz - z
            left = np.sqrt(dx * dx + dy * dy + dz * dz)
            if left < _CLOSE_ENOUGH_MM:
                break
            if left > 0.7 * last:
                step = max(0.7 * step, 0.2)
            last = left
            x, y, z = x + step * dx, y + step * dy, z + step * dz
        if _in_cavity(x, y, z, table, numbers):
            row, share = _place(table, numbers, z)
            u = x / _at(table, CAVITY_WIDTH, row, share)
            v = (y - _at(table, CAVITY_Y, row, share)) / _at(table, CAVITY_DEPTH, row, share)
            to = z
            for _ in range(_ROUNDS):
                before = to
                to = z - _slide(u, v, to, table, numbers)
                if abs(to - before) < _CLOSE_ENOUGH_MM:
                    break
            px, py = _slid(x, y, z, to, table, numbers)
            pz = to
            x, y, z = px, py, pz
            for _ in range(_ROUNDS):
                ux, uy, uz = _with_stomach(x, y, z, table, numbers)
                left = abs(px - ux - x) + abs(py - uy - y) + abs(pz - uz - z)
                x, y, z = px - ux, py - uy, pz - uz
                if left < _CLOSE_ENOUGH_MM:
                    break
        found[n, 0], found[n, 1], found[n, 2] = x, y, z
    return found
