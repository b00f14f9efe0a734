"""Doses of patients with an event against those without, and what threshold they support.

A threshold is never told more closely than the doses lie: it is somewhere above one observed dose and at or below the
next. One event supports a bound alone. With several, the cut with the largest Youden index is told with the interval
that resampled patients give (Youden, Cancer 1950;3:32; Efron and Tibshirani, An Introduction to the Bootstrap 1993,
chapter 13), and none where a rank test does not tell the two apart. The best of many metrics looks better than it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailort.cohort.patients import FollowedPatient
from tailort.cohort.ranks import mann_whitney
from tailort.cohort.summaries import NumberSummary, summarise_numbers
from tailort.errors import InputError

Float = NDArray[np.float64]
DRAWS = 2000
# Below this a rank test tells events and others apart.
LEVEL = 0.05
CONFIDENCE = 0.95
# Draws are held in memory by so many numbers at a time.
_AT_ONCE = 2_000_000
_NAME = re.compile(r"^(?P<structure>.+) (?P<metric>\S+\[\S+\]) (?P<quantity>.+) (?P<scope>\S+)$")
Support = Literal["none", "bound", "cut"]


@dataclass(frozen=True)
class Threshold:
    """What the doses say about a threshold.

    Parameters
    ----------
    support : {"none", "bound", "cut"}
        Nothing; that it lies in an interval and no more; a cut that separates best.
    above, up_to : float or None
        It lies above the one and at or below the other: neighbouring observed doses.
    youden : float or None
        Sensitivity + specificity - 1 of that cut, in these patients.
    lower, upper : float or None
        95 % percentile interval of the cut in resampled patients.
    sentence : str
        All of it in words.
    """

    support: Support
    above: float | None
    up_to: float | None
    youden: float | None
    lower: float | None
    upper: float | None
    sentence: str


@dataclass(frozen=True)
class DoseComparison:
    """One dose metric of patients with an event and of those without.

    Parameters
    ----------
    metric : str
        "structure metric quantity scope".
    event_values : tuple of float
        Of each patient with the event of whom it is known, the highest first.
    event_missing : int
        Patients with the event of whom it is not known.
    others : NumberSummary
        Of the patients without it. The spine study prints their maximum with the quartiles (KO-115).
    area : float or None
        Chance that a patient with the event has the higher value, ties half: the area under the ROC curve.
    p_value : float or None
        Two-sided, of the Mann-Whitney test.
    threshold : Threshold
        What is suggested.
    """

    metric: str
    event_values: tuple[float, ...]
    event_missing: int
    others: NumberSummary
    area: float | None
    p_value: float | None
    threshold: Threshold


@dataclass(frozen=True)
class MetricName:
    """Structure, metric, quantity and scope of a metric's name."""

    structure: str
    metric: str
    quantity: str
    scope: str


def metric_name(name: str) -> MetricName:
    """Take apart a name such as "Esophagus Max[Gy] BED(a/b=3) cumulative"; others stay whole, as the structure."""
    found = _NAME.match(name)
    if found is None:
        return MetricName(name, "", "", "")
    return MetricName(found["structure"], found["metric"], found["quantity"], found["scope"])


def compare_doses(
    patients: Sequence[FollowedPatient],
    event: Mapping[str, bool | None],
    generator: np.random.Generator,
    metrics: Sequence[str] | None = None,
    draws: int = DRAWS,
) -> tuple[DoseComparison, ...]:
    """Compare every dose metric of patients with an event and without.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        The cohort.
    event : mapping of str to (bool or None)
        Whether each had the event, by pseudonym; of whom it is not known does not count.
    generator : numpy Generator
        Draws the resampled patients.
    metrics : sequence of str or None
        Which; None is every one that is known of anybody.
    draws : int
        Resampled cohorts.

    Raises
    ------
    InputError
        Where no metric is known, or one that is asked for is not.
    """
    known = sorted({name for patient in patients for name in patient.metrics})
    if not known:
        raise InputError("no dose metric is known of any patient; give the scorecards of their plans")
    unknown = [name for name in metrics or () if name not in known]
    if unknown:
        raise InputError(f"the dose metric '{unknown[0]}' is known of no patient; known are {', '.join(known)}")
    ill = [patient for patient in patients if event.get(patient.pseudonym) is True]
    well = [patient for patient in patients if event.get(patient.pseudonym) is False]
    return tuple(
        _compare(name, [p.metrics.get(name) for p in ill], [p.metrics.get(name) for p in well], generator, draws)
        for name in metrics or known
    )


def _compare(
    name: str,
    with_event: Sequence[float | None],
    without: Sequence[float | None],
    generator: np.random.Generator,
    draws: int,
) -> DoseComparison:
    events = np.array(sorted((v for v in with_event if v is not None), reverse=True), dtype=np.float64)
    others = np.array([v for v in without if v is not None], dtype=np.float64)
    area = p_value = None
    if len(events) and len(others):
        area = _area(events, others)
        p_value = mann_whitney(events, others).p_value
    return DoseComparison(
        name, tuple(events.tolist()), len(with_event) - len(events), summarise_numbers(without), area, p_value,
        threshold(events, others, p_value, generator, draws),
    )  # fmt: skip


def threshold(
    events: Float, others: Float, p_value: float | None, generator: np.random.Generator, draws: int = DRAWS
) -> Threshold:
    """Say what threshold the doses support.

    Parameters
    ----------
    events, others : (n,) float
        Doses of patients with the event and without, in one unit.
    p_value : float or None
        Of a rank test of the two.
    generator : numpy Generator
        Draws the resampled patients.
    draws : int
        How many times.
    """
    if not len(events):
        return _none("no patient with the event has a known dose: nothing can be said of a threshold")
    if not len(others):
        return _none("no patient without the event has a known dose: nothing can be said of a threshold")
    highest, lowest = float(others.max()), float(events.min())
    number = f"{len(events)} events" if len(events) > 1 else "one event"
    if lowest > highest:
        sentence = (
            f"{number}: the doses support only a bound. The highest without the event is {highest:.1f}, the "
            f"{'lowest' if len(events) > 1 else 'only one'} with it {lowest:.1f}; any threshold between fits as well"
        )
        return Threshold("bound", highest, lowest, 1.0, None, None, sentence)
    if len(events) == 1:
        as_high = int((others >= lowest).sum())
        return _none(
            f"one event, at {lowest:.1f}; {as_high} of {len(others)} patients without it had as much or more (highest "
            f"{highest:.1f}): no threshold is supported"
        )
    area = _area(events, others)
    if area <= 0.5 or p_value is None or p_value >= LEVEL:
        p_told = "" if p_value is None else f", p {p_value:.2g}"
        return _none(
            f"{number}: their doses are not told apart from those of the others (area under the ROC curve "
            f"{area:.2f}{p_told}): no threshold is supported"
        )
    return _best_cut(events, others, generator, draws, number)


def _none(sentence: str) -> Threshold:
    return Threshold("none", None, None, None, None, None, sentence)


def _area(events: Float, others: Float) -> float:
    ordered = np.sort(others)
    below, up_to = np.searchsorted(ordered, events, "left"), np.searchsorted(ordered, events, "right")
    return float((below + up_to).mean() / (2 * len(others)))


def _best_cut(events: Float, others: Float, generator: np.random.Generator, draws: int, number: str) -> Threshold:
    """The lowest of the cuts with the largest Youden index, and where it lies in resampled patients."""
    cuts = np.unique(np.concatenate([events, others]))
    of_events, of_others = np.searchsorted(cuts, events), np.searchsorted(cuts, others)
    scores = _scores(_counted(of_events[None], len(cuts)), _counted(of_others[None], len(cuts)))[0]
    best = int(np.argmax(scores))
    middles = np.concatenate([[cuts[0]], (cuts[:-1] + cuts[1:]) / 2])
    found = []
    size = max(1, _AT_ONCE // len(cuts))
    for first in range(0, draws, size):
        some = min(size, draws - first)
        drawn_events = of_events[generator.integers(0, len(events), (some, len(events)))]
        drawn_others = of_others[generator.integers(0, len(others), (some, len(others)))]
        index = np.argmax(_scores(_counted(drawn_events, len(cuts)), _counted(drawn_others, len(cuts))), axis=1)
        found.append(middles[index])
    tail = 50.0 * (1.0 - CONFIDENCE)
    lower, upper = (float(v) for v in np.percentile(np.concatenate(found), (tail, 100.0 - tail)))
    above, up_to = float(cuts[best - 1]), float(cuts[best])
    youden = float(scores[best]) / (len(events) * len(others))
    sentence = (
        f"{number}: the cut that separates best lies above {above:.1f} and at or below {up_to:.1f} (Youden index "
        f"{youden:.2f}, in the patients it was chosen by); in resampled patients 95 % of the cuts lie from "
        f"{lower:.1f} to {upper:.1f}"
    )
    return Threshold("cut", above, up_to, youden, lower, upper, sentence)


def _counted(positions: NDArray[np.int64], cuts: int) -> NDArray[np.int64]:
    """Patients at or above each cut, (draws, cuts), of their positions among the cuts, (draws, patients)."""
    rows = np.arange(len(positions))[:, None] * cuts
    at = np.bincount((positions + rows).ravel(), minlength=len(positions) * cuts).reshape(len(positions), cuts)
    return at[:, ::-1].cumsum(axis=1)[:, ::-1]


def _scores(events: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """Youden index times both numbers of patients: whole numbers, so that equal cuts are equal."""
    return events * others[:, :1] - others * events[:, :1]
