"""Patients of two arms whose proportions are compared: chi-square test by its normal approximation.

References
----------
Fleiss, Tytun, Ury, Biometrics 1980;36:343 (unequal arms, continuity correction), doi:10.2307/2529990.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from tailort.cohort.designs.asked import Sides, check_proportions, quantiles
from tailort.errors import InputError

Pooling = Literal["pooled", "unpooled", "corrected"]
"""Variance under the null hypothesis: of the pooled proportion, of both, or pooled with continuity correction."""


def check_ratio(ratio: float) -> None:
    """Refuse a ratio of patients of two arms that no trial has."""
    if not 0.001 <= ratio <= 1000:
        raise InputError(f"the ratio of the arms is {ratio:g}; expected 0.001 to 1000")


def two_proportions_size(
    control: float,
    assumed: float,
    alpha: float,
    power: float,
    variance: Pooling = "pooled",
    *,
    sides: Sides = 2,
    ratio: float = 1.0,
) -> float:
    """Patients of the control arm, not rounded; the other arm has `ratio` times as many.

    Parameters
    ----------
    control, assumed : float
        Proportions of the control arm and, as assumed, of the other.
    alpha, power : float
        Level, and chance to reject that they are equal.
    variance : {"pooled", "unpooled", "corrected"}
        Under the null hypothesis: of the pooled proportion (the chi-square test), of the two proportions, or pooled
        with continuity correction (the corrected chi-square test).
    sides : {1, 2}
        Of the test.
    ratio : float
        Patients of the other arm for each of the control arm.

    Raises
    ------
    InputError
        When a proportion, alpha or the power is not between 0 and 1, the proportions are equal, or a choice is unknown.
    """
    check_proportions(control, assumed, ("control", "assumed"))
    check_ratio(ratio)
    za, zb = quantiles(alpha, power, sides)
    if variance not in get_args(Pooling):
        raise InputError(f"there is no variance '{variance}'; known are {', '.join(get_args(Pooling))}")
    difference = abs(assumed - control)
    separate = control * (1 - control) + assumed * (1 - assumed) / ratio
    mean = (control + ratio * assumed) / (1 + ratio)
    pooled = (1 + 1 / ratio) * mean * (1 - mean)
    under_null = separate if variance == "unpooled" else pooled
    size = ((za * math.sqrt(under_null) + zb * math.sqrt(separate)) / difference) ** 2
    if variance != "corrected":
        return size
    return size / 4 * (1 + math.sqrt(1 + 2 * (1 + ratio) / (size * ratio * difference))) ** 2


def arms_of(control: float, ratio: float) -> tuple[int, int]:
    """Patients of both arms, rounded up, of a number of the control arm that is not rounded."""
    return math.ceil(control - 1e-9), math.ceil(control * ratio - 1e-9)
