"""Sets of gantry angles: candidates, excluded ranges, the candidate nearest to an angle (IEC 61217)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tailort.errors import InputError


def candidates_deg(
    every_deg: float, also_deg: Sequence[float] = (), excluded_deg: Sequence[tuple[float, float]] = ()
) -> tuple[float, ...]:
    """Gantry angles to choose from, ascending, IEC 61217 degrees.

    Parameters
    ----------
    every_deg : float
        Distance of the candidates, from 0 on.
    also_deg : sequence of float
        Further ones.
    excluded_deg : sequence of (float, float)
        Ranges without candidates, clockwise from the first to the second angle, ends included; (350, 10) holds 0.

    Raises
    ------
    InputError
        When the distance is not a number of degrees above 0, at most 180.
    """
    if not 0 < every_deg <= 180:
        raise InputError(f"candidates for beam angles lie between 0 and 180 degrees apart; found {every_deg:g}")
    lattice = [every_deg * n for n in range(math.ceil(360.0 / every_deg - 1e-9))]
    angles = {round(angle % 360.0, 6) % 360.0 for angle in (*lattice, *also_deg)}
    return tuple(sorted(angle for angle in angles if not is_excluded(angle, excluded_deg)))


def is_excluded(angle_deg: float, excluded_deg: Sequence[tuple[float, float]]) -> bool:
    """Whether a gantry angle lies in one of the ranges, which go clockwise from the first to the second angle."""
    return any((angle_deg - first) % 360.0 <= (last - first) % 360.0 for first, last in excluded_deg)


def nearest_free(wanted_deg: Sequence[float], candidates: Sequence[float]) -> tuple[float, ...]:
    """For each wanted angle the candidate nearest to it, none twice, ascending.

    Wanted angles that are candidates themselves are taken first; of two as near the one with the lower angle.

    Raises
    ------
    InputError
        When there are fewer candidates than angles.
    """
    if len(wanted_deg) > len(candidates):
        raise InputError(f"{len(wanted_deg)} beams cannot be chosen from {len(candidates)} candidate angles")
    left = sorted(candidates)
    found = []
    for wanted in sorted(wanted_deg, key=lambda angle: (_nearest_deg(angle, left), angle)):
        nearest = min(left, key=lambda angle: (_apart_deg(angle, wanted), angle))
        left.remove(nearest)
        found.append(nearest)
    return tuple(sorted(found))


def _nearest_deg(wanted: float, candidates: Sequence[float]) -> float:
    return min(_apart_deg(wanted, candidate) for candidate in candidates)


def _apart_deg(one: float, other: float) -> float:
    away = abs(one - other) % 360.0
    return min(away, 360.0 - away)
