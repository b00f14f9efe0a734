"""Do measurements differ between groups, whatever their distribution? Rank tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tailort.cohort.observed import Float
from tailort.errors import InputError

# Patients per group up to which the exact distribution is used when no values are tied; as R's wilcox.test.
_EXACT_BELOW = 50


@dataclass(frozen=True)
class RankTest:
    """Result of a rank test.

    Attributes
    ----------
    method : str
        Its name for a paper.
    statistic : float or None
        Mann-Whitney's U of the first group, or Kruskal and Wallis' H.
    degrees_of_freedom : int or None
        Of Kruskal and Wallis' H.
    p_value : float or None
        None when all values are the same.
    exact : bool
    notes : tuple of str
    """

    method: str
    statistic: float | None
    degrees_of_freedom: int | None
    p_value: float | None
    exact: bool
    notes: tuple[str, ...] = ()


def mean_ranks(values: Float) -> Float:
    """Rank of each value from 1 on, ascending; equal ones have the mean of theirs."""
    _, place, number = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(number)
    ranks: Float = (last - 0.5 * (number - 1.0))[place]
    return ranks


def _checked(values: ArrayLike, which: str) -> Float:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{which} holds a value that is not a number") from error
    if numbers.ndim != 1 or not len(numbers):
        raise InputError(f"{which} has no values; a comparison needs at least one in each group")
    if not np.all(np.isfinite(numbers)):
        row = int(np.argmax(~np.isfinite(numbers))) + 1
        raise InputError(f"row {row} of {which} has no finite value; give it or leave the row out")
    return numbers


def mann_whitney(one: ArrayLike, other: ArrayLike) -> RankTest:
    """Mann and Whitney's (Wilcoxon's rank-sum) two-sided test.

    Exact when no values are tied and both groups have fewer than 50; else the normal approximation with corrections
    for ties and continuity.

    Raises
    ------
    InputError
        A group without values, or with one that is missing.

    References
    ----------
    Mann and Whitney, Ann Math Stat 1947;18:50, DOI 10.1214/aoms/1177730491.
    """
    x, y = _checked(one, "the first group"), _checked(other, "the second group")
    both = np.concatenate([x, y])
    tied = len(np.unique(both)) < len(both)
    exact = not tied and max(len(x), len(y)) < _EXACT_BELOW
    method = f"Mann-Whitney test ({'exact' if exact else 'normal approximation'})"
    if np.ptp(both) == 0.0:
        return RankTest(method, None, None, None, exact, ("all values are the same: the test cannot tell anything",))
    # Takes long to load, and most cohorts compare no measurements.
    from scipy.stats import mannwhitneyu

    found = mannwhitneyu(x, y, method="exact" if exact else "asymptotic", use_continuity=True)
    notes = ("values are tied, so the test is not exact",) if tied and max(len(x), len(y)) < _EXACT_BELOW else ()
    return RankTest(method, float(found.statistic), None, float(found.pvalue), exact, notes)


def kruskal_wallis(groups: Sequence[ArrayLike]) -> RankTest:
    """Kruskal and Wallis' test of two or more groups, corrected for ties.

    Raises
    ------
    InputError
        Fewer than two groups; a group without values, or with one that is missing.

    References
    ----------
    Kruskal and Wallis, J Am Stat Assoc 1952;47:583, DOI 10.1080/01621459.1952.10483441.
    """
    if len(groups) < 2:
        raise InputError(f"found {len(groups)} group; a comparison needs at least 2")
    checked = [_checked(values, f"group {place}") for place, values in enumerate(groups, start=1)]
    freedom = len(checked) - 1
    if np.ptp(np.concatenate(checked)) == 0.0:
        note = "all values are the same: the test cannot tell anything"
        return RankTest("Kruskal-Wallis test", None, freedom, None, False, (note,))
    from scipy.stats import kruskal

    found = kruskal(*checked)
    return RankTest("Kruskal-Wallis test", float(found.statistic), freedom, float(found.pvalue), False)
