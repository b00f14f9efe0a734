"""Do groups differ in survival? The log-rank test of any number of groups, stratified if wished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from tailort.cohort.observed import (
    Float,
    by_stratum,
    checked_labels,
    checked_status,
    checked_times,
    chosen,
    freeze,
    steps,
)
from tailort.errors import InputError

Told = tuple[float | None, int, float | None]
TieRule = Literal["hypergeometric", "binomial"]
# A direction of the covariance this much smaller than the largest is none.
SINGULAR = 1e-12
TIE_RULES: tuple[TieRule, ...] = ("hypergeometric", "binomial")


@dataclass(frozen=True)
class LogRank:
    """Result of a log-rank test, summed over the strata.

    Attributes
    ----------
    groups : (g,)
        Labels in sorted order.
    patients : (g,) int
    observed, expected : (g,) float
        Events, weighted when rho is not 0.
    covariance : (g, g) float
        Of observed - expected.
    rho : float
        Weight of a time: survival ** rho (Fleming-Harrington); 0 is the log-rank test.
    ties : {"hypergeometric", "binomial"}
    statistic, p_value : float or None
        Chi-squared; None when the data cannot tell, the notes say why.
    degrees_of_freedom : int
    notes : tuple of str
    """

    groups: tuple[Any, ...]
    patients: tuple[int, ...]
    observed: Float
    expected: Float
    covariance: Float
    rho: float
    ties: TieRule
    statistic: float | None
    degrees_of_freedom: int
    p_value: float | None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze(self.observed, self.expected, self.covariance)


def log_rank(
    times: ArrayLike,
    events: ArrayLike,
    groups: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    rho: float = 0.0,
    ties: TieRule = "hypergeometric",
) -> LogRank:
    """Log-rank test.

    Parameters
    ----------
    times : (n,) float
    events : (n,) int or bool
        1 event, 0 censored.
    groups : (n,) text or whole numbers
    strata : (n,) text or whole numbers, optional
        Patients are compared within their stratum only.
    rho : float
        0 log-rank, 1 Peto and Peto's Wilcoxon test.
    ties : {"hypergeometric", "binomial"}
        Variance of d events at one time among n: with the factor (n - d) / (n - 1), as the log-rank test of the books
        and R's survdiff; or without it, as the score test of a Cox model with Breslow's ties.

    Raises
    ------
    InputError
        Fewer than two rows or groups; a bad time or code; a missing group or stratum.

    References
    ----------
    Mantel, Cancer Chemother Rep 1966;50:163. Harrington and Fleming, Biometrika 1982;69:553,
    DOI 10.1093/biomet/69.3.553 (rho).
    """
    rule = chosen(ties, TIE_RULES, "tie rule")
    if not np.isfinite(rho):
        raise InputError(f"found rho {rho}; give 0 for the log-rank test, 1 for more weight on early events")
    checked = checked_times(times, least_rows=2)
    codes = checked_status(events, len(checked), (1,), "event")
    labels = checked_labels(groups, len(checked), "group", least=2)
    layers = None if strata is None else checked_labels(strata, len(checked), "stratum")
    count = len(labels.names)
    observed, expected, covariance = np.zeros(count), np.zeros(count), np.zeros((count, count))
    for rows in by_stratum(layers, len(checked)):
        counted = steps(checked[rows], codes[rows], 2, labels.index[rows], count)
        some = counted.counts[:, :, 1].sum(axis=1) > 0
        at_risk, gone = counted.at_risk[some], counted.counts[some, :, 1]
        n, d = at_risk.sum(axis=1), gone.sum(axis=1)
        weight = np.cumprod(np.append(1.0, (n - d) / n))[:-1] ** rho
        observed += weight @ gone
        share = at_risk / n[:, None]
        expected += (weight * d) @ share
        spread = weight**2 * d
        if rule == "hypergeometric":
            spread *= np.where(n > 1, (n - d) / np.maximum(n - 1, 1), 0.0)
        covariance += np.diag(spread @ share) - (share * spread[:, None]).T @ share
    told, notes = _judged(labels.names, observed, expected, covariance)
    return LogRank(labels.names, labels.patients, observed, expected, covariance, rho, rule, *told, notes)


def _judged(
    names: tuple[Any, ...], observed: Float, expected: Float, covariance: Float
) -> tuple[Told, tuple[str, ...]]:
    notes = [f"no event in group '{name}'" for name, seen in zip(names, observed, strict=True) if not seen]
    if not observed.any():
        return (None, len(names) - 1, None), ("no event in any group: the test cannot tell anything",)
    # A group that nobody was at risk in when events happened takes no part.
    part = np.flatnonzero(expected > 0)
    notes += [f"nobody of group '{names[i]}' was at risk at any event" for i in np.flatnonzero(expected == 0)]
    told = tested((observed - expected)[part], covariance[np.ix_(part, part)])
    if told[0] is None:
        notes.append("the groups were never at risk together at an event: the test cannot tell anything")
    return told, tuple(notes)


def tested(scores: Float, covariance: Float) -> Told:
    """Statistic, degrees of freedom and p of scores that sum to 0; None when a group has nothing to compare with."""
    freedom = len(scores) - 1
    if freedom < 1 or not np.all(np.isfinite(covariance)):
        return None, freedom, None
    spread = np.linalg.eigvalsh(covariance[1:, 1:])
    if spread[0] <= SINGULAR * max(spread[-1], 1.0):
        return None, freedom, None
    statistic = float(scores[1:] @ np.linalg.solve(covariance[1:, 1:], scores[1:]))
    return statistic, freedom, float(chdtrc(freedom, statistic))
