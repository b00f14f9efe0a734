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
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrc, gammaln, xlog1py, xlogy

from tailort.cohort.designs.asked import Sides, check_chance, check_errors, check_proportions, check_sides, quantiles
from tailort.cohort.designs.one_sample_log_rank import log_rank_size
from tailort.errors import InputError

# Most that a size is looked for among, and most that a test is made of.
MOST_PATIENTS, LARGEST = 5000, 100_000


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

    @property
    def rejects(self) -> str:
        """With how many successes the null hypothesis is rejected, in words."""
        told = [
            f"{self.reject_at_most} or fewer" if self.reject_at_most >= 0 else "",
            f"{self.reject_at_least} or more" if self.reject_at_least <= self.patients else "",
        ]
        return " and with ".join(one for one in told if one) or "no number"


def exact_design(patients: int, null: float, assumed: float, alpha: float, sides: Sides = 2) -> ExactDesign:
    """Return the exact test with a given number of patients.

    Parameters
    ----------
    patients : int
        1 to 100,000.
    null, assumed : float
        Proportions under the null hypothesis and as assumed, between 0 and 1.
    alpha : float
        Nominal level; of a two-sided test no tail has more than half of it.
    sides : {1, 2}
        Of the test.

    Raises
    ------
    InputError
        When a proportion or alpha is not between 0 and 1, or there is no patient or more than 100,000.

    Examples
    --------
    >>> design = exact_design(83, 0.55, 0.70, 0.05)
    >>> design.reject_at_most, design.reject_at_least
    (36, 55)
    """
    check_chance(null, "null proportion")
    check_chance(assumed, "assumed proportion")
    check_chance(alpha, "alpha")
    check_sides(sides)
    if not 1 <= patients <= LARGEST:
        raise InputError(f"a trial of {patients} patients is none; expected 1 to {LARGEST}")
    low = _most(patients, null, alpha / sides)
    # So many successes are as likely as so many failures of the opposite proportion.
    high = patients - _most(patients, 1 - null, alpha / sides)
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
        As `exact_design`; when the proportions are equal, the power is not between alpha and 1, or 5000 patients are
        too few.
    """
    check_proportions(null, assumed)
    check_errors(alpha, power)

    def too_few(patients: int) -> bool:
        # The tail on the other side rejects no more often than under the null hypothesis.
        other_tail = alpha / 2 if sides == 2 else 0.0
        return most_powerful(patients, null, assumed, alpha / sides) + other_tail < power - 1e-12

    fewest = bisect_left(range(1, MOST_PATIENTS + 1), True, key=lambda patients: not too_few(patients)) + 1
    for patients in range(fewest, MOST_PATIENTS + 1):
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


def most_powerful(patients: int, null: float, assumed: float, alpha: float) -> float:
    """Most power that any test of so many patients has: the one-sided test with a lot cast at its limit.

    Notes
    -----
    By Neyman and Pearson. It never falls with the number of patients, unlike the power of the exact test.
    """
    if assumed < null:
        return most_powerful(patients, 1 - null, 1 - assumed, alpha)
    counts = np.arange(patients + 1)
    above = bdtrc(counts, patients, null)
    limit = int(np.argmax(above <= alpha))
    at_limit = (binomial_chances(counts[limit : limit + 1], patients, chance)[0] for chance in (null, assumed))
    under_null, as_assumed = at_limit
    return float(bdtrc(limit, patients, assumed) + (alpha - above[limit]) / under_null * as_assumed)


def binomial_chances(counts: npt.NDArray[np.int64], patients: int, proportion: float) -> npt.NDArray[np.float64]:
    """Chance of each number of successes."""
    ways = gammaln(patients + 1) - gammaln(counts + 1) - gammaln(patients - counts + 1)
    logs = ways + xlogy(counts, proportion) + xlog1py(patients - counts, -proportion)
    return np.asarray(np.exp(logs), dtype=np.float64)


def approximations(null: float, assumed: float, alpha: float, power: float, sides: Sides = 2) -> dict[str, float]:
    """Patients by each approximation, by its name, not rounded; two-sided unless told."""
    asked = null, assumed, alpha, power
    return {
        "normal approximation": normal_size(*asked, sides),
        "with continuity correction": corrected_size(*asked, sides),
        "with the assumed variance only": one_variance_size(*asked, of=assumed, sides=sides),
        "with the null variance only": one_variance_size(*asked, of=null, sides=sides),
        "arcsine": arcsine_size(*asked, sides),
        "log-rank of one sample": log_rank_size(*asked, "null", sides=sides),
        "log-rank of one sample, mean variance": log_rank_size(*asked, "mean", sides=sides),
    }


def normal_size(null: float, assumed: float, alpha: float, power: float, sides: Sides = 2) -> float:
    """Patients by the normal approximation with the variances of both hypotheses, not rounded."""
    za, zb = _quantiles(null, assumed, alpha, power, sides)
    spread = za * math.sqrt(null * (1 - null)) + zb * math.sqrt(assumed * (1 - assumed))
    return (spread / (assumed - null)) ** 2


def corrected_size(null: float, assumed: float, alpha: float, power: float, sides: Sides = 2) -> float:
    """Patients by the normal approximation with continuity correction, not rounded."""
    plain = normal_size(null, assumed, alpha, power, sides)
    return plain / 4 * (1 + math.sqrt(1 + 2 / (plain * abs(assumed - null)))) ** 2


def arcsine_size(null: float, assumed: float, alpha: float, power: float, sides: Sides = 2) -> float:
    """Patients by the arcsine transformation, not rounded."""
    za, zb = _quantiles(null, assumed, alpha, power, sides)
    return ((za + zb) / (2 * math.asin(math.sqrt(assumed)) - 2 * math.asin(math.sqrt(null)))) ** 2


def one_variance_size(null: float, assumed: float, alpha: float, power: float, of: float, sides: Sides = 2) -> float:
    """Patients by the normal approximation with the variance of one proportion, `of`, not rounded."""
    za, zb = _quantiles(null, assumed, alpha, power, sides)
    return (za + zb) ** 2 * of * (1 - of) / (assumed - null) ** 2


def _quantiles(null: float, assumed: float, alpha: float, power: float, sides: Sides) -> tuple[float, float]:
    check_proportions(null, assumed)
    return quantiles(alpha, power, sides)


def _most(patients: int, proportion: float, tail: float) -> int:
    """Most successes of which so many or fewer are no likelier than a tail; -1 where even none is."""
    below = bdtr(np.arange(patients + 1), patients, proportion)
    return int(np.searchsorted(below, tail, side="right")) - 1


def _at_most(count: int, patients: int, proportion: float) -> float:
    return 0.0 if count < 0 else float(bdtr(count, patients, proportion))
