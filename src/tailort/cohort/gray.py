"""Do groups differ in the cumulative incidence of one cause? Gray's test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tailort.cohort.log_rank import tested
from tailort.cohort.observed import (
    Float,
    Steps,
    by_stratum,
    checked_labels,
    checked_status,
    checked_times,
    freeze,
    quotient,
    steps,
)
from tailort.errors import InputError


@dataclass(frozen=True)
class GrayTest:
    """Result of Gray's test, summed over the strata.

    Attributes
    ----------
    cause : int
        The cause whose incidence is compared.
    groups : (g,)
        Labels in sorted order.
    patients, events : (g,) int
        Events of this cause.
    scores : (g,) float
        Weighted excess of events of each group; they sum to 0.
    covariance : (g, g) float
    rho : float
        Weight of a time: (1 - incidence) ** rho.
    statistic, p_value : float or None
        Chi-squared; None when the data cannot tell, the notes say why.
    degrees_of_freedom : int
    notes : tuple of str
    """

    cause: int
    groups: tuple[Any, ...]
    patients: tuple[int, ...]
    events: tuple[int, ...]
    scores: Float
    covariance: Float
    rho: float
    statistic: float | None
    degrees_of_freedom: int
    p_value: float | None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze(self.scores, self.covariance)


def gray_test(
    times: ArrayLike,
    status: ArrayLike,
    groups: ArrayLike,
    *,
    cause: int,
    causes: Sequence[int],
    strata: ArrayLike | None = None,
    rho: float = 0.0,
) -> GrayTest:
    """Gray's test of equal cumulative incidence of one cause.

    Parameters
    ----------
    times : (n,) float
        From the origin to the first event of any cause or to the last follow-up.
    status : (n,) int
        0 censored, else the code of the cause.
    groups : (n,) text or whole numbers
    cause : int
        Code of the cause that is compared.
    causes : sequence of int
        Codes of all causes.
    strata : (n,) text or whole numbers, optional
        Patients are compared within their stratum only.
    rho : float
        0 gives all times the same weight.

    Raises
    ------
    InputError
        Fewer than two rows or groups; a bad time or code; a missing group or stratum.

    References
    ----------
    Gray, Ann Stat 1988;16:1141, DOI 10.1214/aos/1176350951; the correction for ties is that of R's cmprsk::cuminc.
    """
    if not np.isfinite(rho):
        raise InputError(f"found rho {rho}; give 0 for equal weights")
    if cause not in causes:
        raise InputError(f"cause {cause} is not among {', '.join(map(str, causes))}")
    checked = checked_times(times, least_rows=2)
    codes = checked_status(status, len(checked), causes)
    labels = checked_labels(groups, len(checked), "group", least=2)
    layers = None if strata is None else checked_labels(strata, len(checked), "stratum")
    kinds = np.where(codes == 0, 0, np.where(codes == list(causes).index(cause) + 1, 1, 2))
    count = len(labels.names)
    scores, covariance = np.zeros(count), np.zeros((count, count))
    for rows in by_stratum(layers, len(checked)):
        layer_scores, layer_covariance = _layer(steps(checked[rows], kinds[rows], 3, labels.index[rows], count), rho)
        scores += layer_scores
        covariance += layer_covariance
    events = np.bincount(labels.index[kinds == 1], minlength=count)
    notes = [f"no event of cause {cause} in group '{labels.names[i]}'" for i in np.flatnonzero(events == 0)]
    told = tested(scores, covariance)
    if not np.all(np.isfinite(covariance)):
        notes.append("the common incidence reaches 1 while patients are still at risk: the test cannot tell anything")
    elif told[0] is None:
        notes.append("the test cannot tell anything: no events, or groups never at risk together at an event")
    had = tuple(events.tolist())
    return GrayTest(cause, labels.names, labels.patients, had, scores, covariance, rho, *told, tuple(notes))


def _layer(counted: Steps, rho: float) -> tuple[Float, Float]:
    """Scores and their covariance in one stratum; symbols as in the paper, arrays (time, group)."""
    some = counted.counts[:, :, 1:].sum(axis=(1, 2)) > 0
    n, d, other = counted.at_risk[some], counted.counts[some, :, 1], counted.counts[some, :, 2]
    if not d.any():
        return np.zeros(n.shape[1]), np.zeros((n.shape[1], n.shape[1]))
    both = d + other
    # Share of each group without any event, and its incidence, after and just before each time.
    S = np.cumprod(np.where(n > 0, 1.0 - quotient(both, n), 1.0), axis=0)
    S_before = np.vstack([np.ones_like(S[:1]), S[:-1]])
    F_before = np.vstack([np.zeros_like(S[:1]), np.cumsum(S_before * quotient(d, n), axis=0)[:-1]])
    # Risk set of the subdistribution: those who died of another cause stay in it for as long as they would be followed.
    weight = quotient(n, S_before)
    R = weight * (1.0 - F_before)
    D: Float = d.sum(axis=1)
    W: Float = weight.sum(axis=1)
    F_all: Float = np.cumsum(D / W)
    F_all_before = np.append(0.0, F_all[:-1])
    K = (1.0 - F_all_before) ** rho
    scores = (K[:, None] * (d - R * (D / R.sum(axis=1))[:, None])).sum(axis=0)

    groups = n.shape[1]
    # a[t, i, k]: what an event of group k at t adds to the score of group i; c gathers it over time.
    part = weight / W[:, None]
    a = K[:, None, None] * (weight[:, :, None] * np.eye(groups) - weight[:, :, None] * part[:, None, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        c = np.cumsum(a * (D / (W * (1.0 - F_all_before)))[:, None, None], axis=0)
    later = c[-1] - c
    rest = quotient((1.0 - F_all)[:, None], S)
    own_rest = np.where(S > 0, 1.0 - rest, 1.0)
    expected = W[:, None] * S_before
    tied = np.where(D[:, None] > 1, 1.0 - quotient((D - 1.0)[:, None], expected - 1.0), 1.0)
    own_spread = tied * quotient(S_before * D[:, None], W[:, None] * n)
    other_tied = np.where(other > 1, 1.0 - quotient(other - 1.0, n - 1.0), 1.0)
    other_spread = np.where(S > 0, other_tied * S_before**2 * quotient(other, n**2), 0.0)
    own = a + own_rest[:, None, :] * later
    others = rest[:, None, :] * later
    covariance = np.einsum("tik,tjk,tk->ij", own, own, own_spread) + np.einsum(
        "tik,tjk,tk->ij", others, others, other_spread
    )
    return scores, covariance
