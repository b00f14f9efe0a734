"""How large is a share, and do shares differ? Exact limits and tests of counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tailort.cohort.observed import Float, Whole, checked_confidence, chosen, freeze, known
from tailort.cohort.odds import ConditionalCount
from tailort.errors import InputError

Alternative = Literal["two-sided", "less", "greater"]
ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "less", "greater")

# Expected count below which the chi-squared distribution fits badly; Cochran, Biometrics 1954;10:417.
SMALL_EXPECTED = 5.0
# Tables whose probability differs from the observed one's by rounding only are as likely.
_AS_LIKELY = 1e-7
# Ways to fill a column, and distinct probabilities, that an exact test goes through.
_MOST_WAYS, _MOST_PROBABILITIES = 200_000, 2_000_000


@dataclass(frozen=True)
class Proportion:
    """A share with exact limits.

    Attributes
    ----------
    successes, number : int
    estimate, lower, upper : float
        Shares of 1.
    confidence : float
    """

    successes: int
    number: int
    estimate: float
    lower: float
    upper: float
    confidence: float


@dataclass(frozen=True)
class TableTest:
    """Test of a table of counts.

    Attributes
    ----------
    method : str
        Its name for a paper.
    statistic : float or None
        Chi-squared; None of an exact test.
    degrees_of_freedom : int or None
    p_value : float or None
        None when the table cannot tell; the notes say why.
    expected : (r, c) float
        Counts expected when rows and columns are independent.
    odds_ratio, lower, upper : float or None
        Conditional odds ratio of a 2 x 2 table with exact limits; None where it is not finite.
    notes : tuple of str
    """

    method: str
    statistic: float | None
    degrees_of_freedom: int | None
    p_value: float | None
    expected: Float
    odds_ratio: float | None = None
    lower: float | None = None
    upper: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze(self.expected)


def _checked_counts(successes: int, number: int) -> None:
    for value in (successes, number):
        if value % 1:
            raise InputError(f"found the count {value}; counts are whole numbers")
    if number < 1 or not 0 <= successes <= number:
        raise InputError(f"found {successes} of {number}; give at least one patient and a count from 0 to that number")


def proportion(successes: int, number: int, *, confidence: float = 0.95) -> Proportion:
    """Share with the exact limits of Clopper and Pearson.

    Raises
    ------
    InputError
        No patients; a count that is not from 0 to the number.

    References
    ----------
    Clopper and Pearson, Biometrika 1934;26:404, DOI 10.1093/biomet/26.4.404.
    """
    checked_confidence(confidence)
    _checked_counts(successes, number)
    tail = (1.0 - confidence) / 2.0
    low = float(special.betaincinv(successes, number - successes + 1, tail)) if successes else 0.0
    high = float(special.betainccinv(successes + 1, number - successes, tail)) if successes < number else 1.0
    return Proportion(int(successes), int(number), successes / number, low, high, confidence)


def binomial_test(successes: int, number: int, null: float, *, alternative: Alternative = "two-sided") -> float:
    """p of the exact one-sample binomial test; two-sided sums all counts that are no more likely than the one seen.

    Raises
    ------
    InputError
        As of `proportion`; a null that is not a share from 0 to 1.
    """
    _checked_counts(successes, number)
    if not 0.0 <= null <= 1.0:
        raise InputError(f"found the null {null}; give a share from 0 to 1")
    side = chosen(alternative, ALTERNATIVES, "alternative")
    # Takes long to load, and few ask for it.
    from scipy.stats import binomtest

    return float(binomtest(int(successes), int(number), null, alternative=side).pvalue)


def _checked_table(table: ArrayLike) -> tuple[Float, Float]:
    """Counts, and those expected; rows and columns without any patient are not taken out."""
    try:
        counts = np.asarray(table, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("a table of counts holds something that is not a number") from error
    if counts.ndim != 2 or min(counts.shape) < 2:
        raise InputError(f"found a table of shape {counts.shape}; a comparison needs at least 2 rows and 2 columns")
    if not np.all(np.isfinite(counts)) or np.any(counts < 0) or np.any(counts != np.round(counts)):
        raise InputError("a table of counts holds a number that is negative, missing or not whole")
    if not counts.any():
        raise InputError("found a table without any patient")
    return counts, counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()


def chi_square(table: ArrayLike, *, continuity: bool) -> TableTest:
    """Pearson's chi-squared test of independence.

    Parameters
    ----------
    table : (r, c) int
    continuity : bool
        Yates' correction, of a 2 x 2 table only: each difference is made smaller by 1/2, at most to 0.

    Raises
    ------
    InputError
        Not a table of counts with at least 2 rows and 2 columns; a correction of a larger table.

    References
    ----------
    Yates, J R Stat Soc Suppl 1934;1:217, DOI 10.2307/2983604.
    """
    counts, expected = _checked_table(table)
    if continuity and counts.shape != (2, 2):
        raise InputError(f"the continuity correction is for 2 x 2 tables; found shape {counts.shape}")
    method = f"chi-squared test {'with' if continuity else 'without'} continuity correction"
    freedom = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    if not expected.all():
        note = "a row or column has no patient: the test cannot tell anything"
        return TableTest(method, None, freedom, None, expected, notes=(note,))
    apart = np.abs(counts - expected)
    apart -= min(0.5, float(apart.max())) if continuity else 0.0
    statistic = float((apart**2 / expected).sum())
    notes = (
        ()
        if expected.min() >= SMALL_EXPECTED
        else (f"the smallest expected count is {expected.min():.2g}: below 5 prefer Fisher's exact test",)
    )
    return TableTest(method, statistic, freedom, float(special.chdtrc(freedom, statistic)), expected, notes=notes)


def fisher(table: ArrayLike, *, confidence: float = 0.95) -> TableTest:
    """Fisher's exact test, of tables of any size that can be counted through.

    A 2 x 2 table also has its odds ratio, the maximum of the conditional likelihood, with exact limits.

    Raises
    ------
    InputError
        Not a table of counts with at least 2 rows and 2 columns; a table with too many possible tables.

    References
    ----------
    Fisher, J R Stat Soc 1935;98:39, DOI 10.2307/2342435. Freeman and Halton, Biometrika 1951;38:141,
    DOI 10.1093/biomet/38.1-2.141 (larger tables).
    """
    counts, expected = _checked_table(table)
    checked_confidence(confidence)
    whole = counts.astype(np.int64)
    if not expected.all():
        note = "a row or column has no patient: every such table is as likely, the test cannot tell anything"
        return TableTest("Fisher's exact test", None, None, 1.0, expected, notes=(note,))
    if counts.shape != (2, 2):
        return TableTest("Fisher's exact test (Freeman-Halton)", None, None, _as_unlikely(whole), expected)
    given = ConditionalCount.of(whole)
    odds, low, high = (known(value) for value in (given.likeliest_odds(), *given.limits(confidence)))
    return TableTest("Fisher's exact test", None, None, given.p_value(), expected, odds, low, high)


def _as_unlikely(counts: Whole) -> float:
    """Probability of all tables with these margins that are no more likely than this one.

    Columns are filled one after the other. What matters of the columns so far is which row totals are left and how
    likely they are; equal ones are put together.
    """
    if counts.shape[0] > counts.shape[1]:
        counts = counts.T
    too_many = (
        f"a table of {counts.sum()} patients and shape {counts.shape} has too many possible tables for an exact test; "
        "use the chi-squared test"
    )
    rows, columns = counts.sum(axis=1), np.sort(counts.sum(axis=0))[::-1]
    factorial = special.gammaln(np.arange(counts.sum() + 1) + 1.0).tolist()

    def logarithm(numbers: Iterable[int]) -> float:
        """Of the product of their factorials."""
        return math.fsum(factorial[number] for number in numbers)

    fixed = logarithm(rows) + logarithm(columns) - factorial[-1]
    seen = fixed - logarithm(counts.ravel())
    # Left row totals -> logarithms of the distinct probabilities so far, and how many tables have each.
    states: dict[tuple[int, ...], tuple[Float, Float]] = {tuple(rows.tolist()): (np.array([fixed]), np.array([1.0]))}
    ways = 0
    for total in columns[:-1].tolist():
        following: dict[tuple[int, ...], list[tuple[Float, Float]]] = {}
        for left, (logs, number) in states.items():
            for column in _columns(left, total):
                ways += 1
                if ways > _MOST_WAYS:
                    raise InputError(too_many)
                rest = tuple(have - taken for have, taken in zip(left, column, strict=True))
                following.setdefault(rest, []).append((logs - logarithm(column), number))
        states = {rest: _merged(parts) for rest, parts in following.items()}
        if sum(len(logs) for logs, _ in states.values()) > _MOST_PROBABILITIES:
            raise InputError(too_many)
    p_value = 0.0
    for left, (logs, number) in states.items():
        final = logs - logarithm(left)
        p_value += float((number * np.exp(final))[final <= seen + _AS_LIKELY].sum())
    return min(p_value, 1.0)


def _merged(parts: list[tuple[Float, Float]]) -> tuple[Float, Float]:
    logs, number = (np.concatenate(some) for some in zip(*parts, strict=True))
    _, first, index = np.unique(np.round(logs, 9), return_index=True, return_inverse=True)
    together: Float = np.bincount(index, weights=number).astype(np.float64)
    return logs[first], together


def _columns(left: tuple[int, ...], total: int) -> Iterator[tuple[int, ...]]:
    """Every way to take a total from what is left of each row."""
    if len(left) == 1:
        yield (total,)
        return
    least = max(0, total - sum(left[1:]))
    for taken in range(least, min(left[0], total) + 1):
        for rest in _columns(left[1:], total - taken):
            yield (taken, *rest)
