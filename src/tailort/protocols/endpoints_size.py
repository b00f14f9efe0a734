"""How many patients one arm of a trial needs: the exact binomial test of one proportion, and approximations of it.

The salvage trial prints 83 and 199 patients and not how they were found (MS-108); the exact test gives both, the
approximations do not (MS-109, MS-111). Two-sided tests have half of alpha in each tail, one-sided ones the whole in
that of the assumed proportion.

References
----------
Chernick and Liu, Am Stat 2002;56:149 (saw-toothed power), doi:10.1198/000313002317572835.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import bdtr, ndtri

from tailort.errors import InputError

MOST_PATIENTS = 5000
Variance = Literal["null", "mean"]
Sides = Literal[1, 2]


@dataclass(frozen=True)
class ExactDesign:
    """An exact binomial test of one proportion.

    Parameters
    ----------
    patients : int
        Number of patients.
    reject_at_most, reject_at_least : int
        The null hypothesis is rejected with so few or so many successes; -1 and `patients` + 1 are never reached.
    alpha : float
        True chance to reject the null hypothesis where it holds.
    power : float
        Chance to reject it where the assumed proportion holds.
    """

    patients: int
    reject_at_most: int
    reject_at_least: int
    alpha: float
    power: float


def exact_design(patients: int, null: float, assumed: float, alpha: float, sides: Sides = 2) -> ExactDesign:
    """Return the exact test with a given number of patients.

    Parameters
    ----------
    patients : int
        At least 1.
    null, assumed : float
        Proportions under the null hypothesis and as assumed, between 0 and 1.
    alpha : float
        Nominal level; of a two-sided test no tail has more than half of it.
    sides : {1, 2}
        Of the test.

    Raises
    ------
    InputError
        When a proportion or alpha is not between 0 and 1, or there is no patient.

    Examples
    --------
    >>> design = exact_design(83, 0.55, 0.70, 0.05)
    >>> design.reject_at_most, design.reject_at_least
    (36, 55)
    """
    _check(null, assumed, alpha)
    if patients < 1:
        raise InputError(f"a trial of {patients} patients is none; expected 1 or more")
    low = _most(patients, null, alpha / 2 if sides == 2 else alpha)
    # So many successes are as likely as so many failures of the opposite proportion.
    high = patients - _most(patients, 1 - null, alpha / 2 if sides == 2 else alpha)
    if sides == 1:
        low, high = (-1, high) if assumed > null else (low, patients + 1)

    def rejected(proportion: float) -> float:
        return _at_most(low, patients, proportion) + _at_most(patients - high, patients, 1 - proportion)

    return ExactDesign(patients, low, high, rejected(null), rejected(assumed))


def smallest_design(null: float, assumed: float, alpha: float, power: float, sides: Sides = 2) -> ExactDesign:
    """Return the exact test with the fewest patients whose power is enough.

    The power is saw-toothed: with a few more patients it may fall below again.

    Raises
    ------
    InputError
        As `exact_design`; when the proportions are equal, or 5000 patients are too few.
    """
    _check(null, assumed, alpha)
    _differ(null, assumed)
    for patients in range(1, MOST_PATIENTS + 1):
        design = exact_design(patients, null, assumed, alpha, sides)
        if design.power >= power:
            return design
    raise InputError(
        f"{MOST_PATIENTS} patients are too few to tell {assumed:g} from {null:g} with power {power:g}; expected "
        "proportions that differ more"
    )


def enough_from(design: ExactDesign, null: float, assumed: float, alpha: float, power: float, sides: Sides = 2) -> int:
    """Return the number from which on, up to twice that of a design, the power is enough with every number."""
    patients = 2 * design.patients
    while exact_design(patients, null, assumed, alpha, sides).power >= power:
        patients -= 1
    return patients + 1


def approximations(null: float, assumed: float, alpha: float, power: float) -> dict[str, float]:
    """Patients of a two-sided test by each approximation, by its name, not rounded."""
    asked = null, assumed, alpha, power
    return {
        "normal approximation": normal_size(*asked),
        "with continuity correction": corrected_size(*asked),
        "with the assumed variance only": one_variance_size(*asked, of=assumed),
        "with the null variance only": one_variance_size(*asked, of=null),
        "arcsine": arcsine_size(*asked),
        "log-rank of one sample": log_rank_size(*asked, "null"),
        "log-rank of one sample, mean variance": log_rank_size(*asked, "mean"),
    }


def normal_size(null: float, assumed: float, alpha: float, power: float) -> float:
    """Patients by the normal approximation with the variances of both hypotheses, not rounded."""
    za, zb = _quantiles(null, assumed, alpha, power)
    spread = za * math.sqrt(null * (1 - null)) + zb * math.sqrt(assumed * (1 - assumed))
    return (spread / (assumed - null)) ** 2


def corrected_size(null: float, assumed: float, alpha: float, power: float) -> float:
    """Patients by the normal approximation with continuity correction, not rounded."""
    plain = normal_size(null, assumed, alpha, power)
    return plain / 4 * (1 + math.sqrt(1 + 2 / (plain * abs(assumed - null)))) ** 2


def arcsine_size(null: float, assumed: float, alpha: float, power: float) -> float:
    """Patients by the arcsine transformation, not rounded."""
    za, zb = _quantiles(null, assumed, alpha, power)
    return ((za + zb) / (2 * math.asin(math.sqrt(assumed)) - 2 * math.asin(math.sqrt(null)))) ** 2


def one_variance_size(null: float, assumed: float, alpha: float, power: float, of: float) -> float:
    """Patients by the normal approximation with the variance of one proportion, `of`, not rounded."""
    za, zb = _quantiles(null, assumed, alpha, power)
    return (za + zb) ** 2 * of * (1 - of) / (assumed - null) ** 2


def log_rank_size(null: float, assumed: float, alpha: float, power: float, variance: Variance) -> float:
    """Patients by the one-sample log-rank test of exponential survival, not rounded.

    Parameters
    ----------
    null, assumed : float
        Survival at the end of a follow-up that is the same for everybody, without losses.
    alpha, power : float
        Two-sided level, and chance to reject the null hypothesis.
    variance : {"null", "mean"}
        Of observed less expected deaths under the null hypothesis: the expected deaths, or their mean with the
        observed ones.
    """
    za, zb = _quantiles(null, assumed, alpha, power)
    observed = 1 - assumed
    expected = math.log(null) / math.log(assumed) * observed
    under_null = expected if variance == "null" else (expected + observed) / 2
    return ((za * math.sqrt(under_null) + zb * math.sqrt(observed)) / (observed - expected)) ** 2


def _quantiles(null: float, assumed: float, alpha: float, power: float) -> tuple[float, float]:
    _check(null, assumed, alpha)
    _differ(null, assumed)
    if not 0 < power < 1:
        raise InputError(f"the power is {power}; expected a number between 0 and 1")
    return -float(ndtri(alpha / 2)), float(ndtri(power))


def _most(patients: int, proportion: float, tail: float) -> int:
    """Most successes of which so many or fewer are no likelier than a tail; -1 where even none is."""
    below = bdtr(np.arange(patients + 1), patients, proportion)
    return int(np.searchsorted(below, tail, side="right")) - 1


def _at_most(count: int, patients: int, proportion: float) -> float:
    return 0.0 if count < 0 else float(bdtr(count, patients, proportion))


def _differ(null: float, assumed: float) -> None:
    if null == assumed:
        raise InputError(f"null and assumed proportion are both {null:g}: no number of patients tells them apart")


def _check(null: float, assumed: float, alpha: float) -> None:
    for value, what in ((null, "null proportion"), (assumed, "assumed proportion"), (alpha, "alpha")):
        if not 0 < value < 1:
            raise InputError(f"the {what} is {value}; expected a number between 0 and 1")
