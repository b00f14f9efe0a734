"""How many patients one arm of a trial needs: the exact binomial test of one proportion, and approximations of it.

The salvage trial prints 83 and 199 patients and not how they were found (MS-108); the exact test gives both, the
approximations do not (MS-109, MS-111). All are two-sided with half of alpha in each tail.

References
----------
Chernick and Liu, Am Stat 2002;56:149 (saw-toothed power), doi:10.1198/000313002317572835.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binom, norm

from tailort.errors import InputError

MOST_PATIENTS = 5000
Variance = Literal["null", "mean"]


@dataclass(frozen=True)
class ExactDesign:
    """An exact binomial test of one proportion, alpha/2 in each tail.

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


def exact_design(patients: int, null: float, assumed: float, alpha: float) -> ExactDesign:
    """Return the exact test with a given number of patients.

    Parameters
    ----------
    patients : int
        At least 1.
    null, assumed : float
        Proportions under the null hypothesis and as assumed, between 0 and 1.
    alpha : float
        Nominal two-sided level; no tail has more than half of it.

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
    counts = np.arange(-1, patients + 1)
    below = binom.cdf(counts, patients, null)
    low = int(counts[below <= alpha / 2][-1])
    # P(X >= k) is 1 - P(X <= k - 1).
    above = binom.sf(counts, patients, null)
    high = int(counts[above <= alpha / 2][0]) + 1
    true = float(binom.cdf(low, patients, null) + binom.sf(high - 1, patients, null))
    power = float(binom.cdf(low, patients, assumed) + binom.sf(high - 1, patients, assumed))
    return ExactDesign(patients, low, high, true, power)


def smallest_design(null: float, assumed: float, alpha: float, power: float) -> ExactDesign:
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
        design = exact_design(patients, null, assumed, alpha)
        if design.power >= power:
            return design
    raise InputError(
        f"{MOST_PATIENTS} patients are too few to tell {assumed:g} from {null:g} with power {power:g}; expected "
        "proportions that differ more"
    )


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
    return float(norm.isf(alpha / 2)), float(norm.ppf(power))


def _differ(null: float, assumed: float) -> None:
    if null == assumed:
        raise InputError(f"null and assumed proportion are both {null:g}: no number of patients tells them apart")


def _check(null: float, assumed: float, alpha: float) -> None:
    for value, what in ((null, "null proportion"), (assumed, "assumed proportion"), (alpha, "alpha")):
        if not 0 < value < 1:
            raise InputError(f"the {what} is {value}; expected a number between 0 and 1")
