"""What is asked of a design, checked: chances, quantiles of the normal distribution, patients lost."""

from __future__ import annotations

import math
from typing import Literal

from scipy.special import ndtri

from tailort.errors import InputError

Sides = Literal[1, 2]
# Proportions that are nearer ask for more patients than there are people.
NEAREST = 1e-6


def check_chance(value: float, what: str) -> None:
    """Refuse a chance or proportion that is not between 0 and 1.

    Raises
    ------
    InputError
        When it is not.
    """
    if not 0 < value < 1:
        raise InputError(f"the {what} is {value:g}; expected a number between 0 and 1")


def check_proportions(one: float, other: float, names: tuple[str, str] = ("null", "assumed")) -> None:
    """Refuse proportions that are not between 0 and 1, or are as good as equal."""
    check_chance(one, f"{names[0]} proportion")
    check_chance(other, f"{names[1]} proportion")
    if abs(one - other) < NEAREST:
        raise InputError(
            f"{names[0]} and {names[1]} proportion are both {one:g}: no number of patients tells them apart"
        )


def check_errors(alpha: float, power: float) -> None:
    """Refuse a level or a power that is not between 0 and 1, and a power that chance alone reaches."""
    check_chance(alpha, "alpha")
    check_chance(power, "power")
    if power <= alpha:
        raise InputError(f"the power {power:g} is not above alpha {alpha:g}: a test of no patient has as much")


def check_sides(sides: int) -> None:
    """Refuse a number of sides of a test that is neither 1 nor 2."""
    if sides not in (1, 2):
        raise InputError(f"a test of {sides} sides is none; expected 1 or 2")


def quantiles(alpha: float, power: float, sides: Sides = 2) -> tuple[float, float]:
    """Normal quantiles of the level (of half of it in a two-sided test) and of the power.

    Raises
    ------
    InputError
        When alpha or power is not between 0 and 1, the power not above alpha, or the sides are neither 1 nor 2.
    """
    check_errors(alpha, power)
    check_sides(sides)
    return critical(alpha, sides), float(ndtri(power))


def critical(alpha: float, sides: Sides) -> float:
    """Normal quantile beyond which a test rejects."""
    return -float(ndtri(alpha / sides))


def enrolled(patients: int, lost: float) -> int:
    """Patients to enrol so that, of them, `patients` remain when a share is lost.

    Parameters
    ----------
    patients : int
        Who must remain.
    lost : float
        Share of the enrolled who cannot be judged, 0 to less than 1.

    Raises
    ------
    InputError
        When the share is not at least 0 and less than 1.

    Examples
    --------
    >>> enrolled(282, 0.06)
    300
    """
    if not 0 <= lost < 1:
        raise InputError(f"the share lost is {lost:g}; expected at least 0 and less than 1")
    # 282 of 300 are a quotient of floats: a hair above 300 is 300.
    return math.ceil(patients / (1 - lost) - 1e-9)
