"""Patients of the log-rank test of one sample against a known survival; exponential survival.

The test compares the deaths O with those E expected of the same follow-up under the null hypothesis:
(O - E)/sqrt(E), or with the mean of both, (O - E)/sqrt((O + E)/2), as the variance.

References
----------
Finkelstein, Muzikansky, Schoenfeld, J Natl Cancer Inst 2003;95:1434, doi:10.1093/jnci/djg052.
Wu, Pharm Stat 2015;14:26 (exact variance of O - E under the assumed survival), doi:10.1002/pst.1654.
Wu, J Biom Biostat 2014;5:210 (mean variance).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from tailort.cohort.designs.asked import Sides, check_proportions, quantiles
from tailort.cohort.designs.follow_up import FollowUp, hazard_of
from tailort.errors import InputError

Variance = Literal["null", "mean"]
"""Of O - E in the test: the expected deaths, or their mean with the observed ones."""
Spread = Literal["deaths", "exact"]
"""Of O - E where the assumed survival holds: the deaths then seen, or the exact variance."""


def log_rank_size(
    null: float,
    assumed: float,
    alpha: float,
    power: float,
    variance: Variance,
    *,
    sides: Sides = 2,
    at_years: float = 1.0,
    follow_up: FollowUp | None = None,
    spread: Spread = "deaths",
) -> float:
    """Patients by the one-sample log-rank test of exponential survival, not rounded.

    Parameters
    ----------
    null, assumed : float
        Survival at `at_years` under the null hypothesis and as assumed.
    alpha, power : float
        Level, and chance to reject the null hypothesis.
    variance : {"null", "mean"}
        Of observed less expected deaths in the test: the expected deaths, or their mean with the observed ones.
    sides : {1, 2}
        Of the test.
    at_years : float
        Time of the two proportions, years.
    follow_up : FollowUp or None
        Accrual, follow-up and losses; None follows everybody for `at_years` without losses.
    spread : {"deaths", "exact"}
        Variance of observed less expected deaths under the assumed survival: the deaths then seen, which holds near the
        null hypothesis, or the exact one.

    Raises
    ------
    InputError
        When a proportion, alpha or the power is not between 0 and 1, the proportions are equal, or a choice is unknown.
    """
    check_proportions(null, assumed)
    za, zb = quantiles(alpha, power, sides)
    if variance not in get_args(Variance):
        raise InputError(f"there is no variance '{variance}'; known are {', '.join(get_args(Variance))}")
    if spread not in get_args(Spread):
        raise InputError(f"there is no spread '{spread}'; known are {', '.join(get_args(Spread))}")
    hazard = hazard_of(assumed, at_years)
    ratio = hazard_of(null, at_years) / hazard
    followed = follow_up or FollowUp(at_years)
    observed = followed.seen(hazard)
    expected = ratio * observed
    under_null = expected if variance == "null" else (expected + observed) / 2
    under_assumed = observed if spread == "deaths" else exact_variance(hazard, ratio, followed)
    return ((za * math.sqrt(under_null) + zb * math.sqrt(under_assumed)) / (observed - expected)) ** 2


def exact_variance(hazard: float, ratio: float, follow_up: FollowUp) -> float:
    """Variance, per patient, of observed less expected deaths where the assumed survival holds.

    Parameters
    ----------
    hazard : float
        Assumed hazard of death, per year.
    ratio : float
        Null hazard divided by it.
    follow_up : FollowUp
        Accrual, follow-up and losses.

    Notes
    -----
    With deaths O and cumulative hazard L at the end of follow-up, O - L has mean 0 and variance E[O], so that
    E[L^2] = 2 E[O L], and Var(O - r L) = E[O] - r (1 - r) E[L^2] - (1 - r)^2 E[O]^2.
    """
    deaths = follow_up.seen(hazard)
    square = hazard**2 * follow_up.mean_square_years(hazard)
    return deaths - ratio * (1 - ratio) * square - ((1 - ratio) * deaths) ** 2
