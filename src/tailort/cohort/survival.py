"""What share is still without the event at each time? Kaplan-Meier, its intervals, medians, and follow-up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tailort.cohort.observed import (
    TIE_TOLERANCE,
    Float,
    Interval,
    Rate,
    Whole,
    at_risk_at,
    checked_confidence,
    checked_status,
    checked_times,
    chosen,
    freeze,
    limits,
    rates_at,
    steps,
)
from tailort.errors import InputError

INTERVALS: tuple[Interval, ...] = ("log-log", "log", "plain")


@dataclass(frozen=True)
class Quantile:
    """Time by which a share of the patients had the event; None where it is not reached.

    Attributes
    ----------
    fraction : float
        Share with the event: 0.5 is the median.
    time, lower, upper : float or None
    """

    fraction: float
    time: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class SurvivalCurve:
    """Kaplan-Meier's curve.

    Attributes
    ----------
    times : (t,) float
        Each distinct time of an event or of a censoring, in the unit that was given.
    at_risk, events, censored : (t,) float
        Patients followed up to this time, and how many of them end here with and without the event.
    survival : (t,) float
        Share without the event just after this time.
    standard_error : (t,) float
        Greenwood's, of the survival; not a number where the survival is 0.
    lower, upper : (t,) float
        Limits at each time; not a number where they cannot be told (log-log: before the first event; survival 0).
    interval : {"log-log", "log", "plain"}
    confidence : float
    notes : tuple of str
        What a reader must know beside the numbers.
    """

    times: Float
    at_risk: Float
    events: Float
    censored: Float
    survival: Float
    standard_error: Float
    lower: Float
    upper: Float
    interval: Interval
    confidence: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze(self.times, self.at_risk, self.events, self.censored, self.survival)
        freeze(self.standard_error, self.lower, self.upper)

    @property
    def patients(self) -> int:
        """Patients at the start."""
        return int(self.at_risk[0])

    @property
    def event_count(self) -> int:
        """Patients with the event."""
        return int(self.events.sum())

    def at(self, times: ArrayLike) -> tuple[Rate, ...]:
        """Survival at chosen times, with limits; unknown beyond the last follow-up unless nobody was left."""
        columns = (self.survival, self.standard_error, self.lower, self.upper)
        return rates_at(times, self.times, columns, self.at_risk, 1.0, bool(self.survival[-1] == 0.0))

    def at_risk_at(self, times: ArrayLike) -> Whole:
        """Patients whose time is at or after each chosen time: the numbers under a figure."""
        return at_risk_at(self.times, self.at_risk, times)

    def quantile(self, fraction: float) -> Quantile:
        """Time by which this share had the event, with the times at which the limits cross it.

        A curve that is flat at exactly this share gives the middle of the flat part.

        References
        ----------
        Brookmeyer and Crowley, Biometrics 1982;38:29, DOI 10.2307/2530286 (the limits).
        """
        if not 0.0 < fraction < 1.0:
            raise InputError(f"found the fraction {fraction}; a quantile needs one between 0 and 1, 0.5 for the median")
        found = (_crossing(self.times, 1.0 - curve, fraction) for curve in (self.survival, self.lower, self.upper))
        return Quantile(fraction, *found)

    def median(self) -> Quantile:
        """Time by which half had the event."""
        return self.quantile(0.5)


def _crossing(times: Float, events: Float, fraction: float) -> float | None:
    """Time at which a share with the event is reached: of the values at or above it, the least one's first time."""
    at, share = np.append(0.0, times), np.append(0.0, events)
    told = ~np.isnan(share)
    levels, first = np.unique(share[told], return_index=True)
    starts = at[told][first]
    reached = np.searchsorted(levels + TIE_TOLERANCE, fraction)
    if reached == len(levels):
        return None
    start = starts[reached]
    later = np.searchsorted(levels - TIE_TOLERANCE, fraction)
    if later < len(levels):
        return float((start + starts[later]) / 2.0)
    # Flat at this very share up to the last follow-up; nothing is known when a later value is missing.
    return float((start + at[-1]) / 2.0) if told[-1] else None


def kaplan_meier(
    times: ArrayLike, events: ArrayLike, *, interval: Interval = "log-log", confidence: float = 0.95
) -> SurvivalCurve:
    """Kaplan-Meier's estimate with Greenwood's variance.

    Parameters
    ----------
    times : (n,) float
        From the origin to the event or to the last follow-up, all in one unit.
    events : (n,) int or bool
        1 event, 0 censored. A patient censored at the time of another's event was still at risk.
    interval : {"log-log", "log", "plain"}
        Scale of the limits: log(-log S), log S or S.
    confidence : float

    Raises
    ------
    InputError
        No rows; a time that is negative or missing; another code than 0 and 1.

    References
    ----------
    Kaplan and Meier, J Am Stat Assoc 1958;53:457, DOI 10.1080/01621459.1958.10501452.
    Kalbfleisch and Prentice, The Statistical Analysis of Failure Time Data, 2nd ed. 2002, 1.4.1 (log(-log) limits).
    """
    scale, z = chosen(interval, INTERVALS, "interval"), checked_confidence(confidence)
    checked = checked_times(times)
    codes = checked_status(events, len(checked), (1,), "event")
    counted = steps(checked, codes, 2)
    at_risk, gone, censored = counted.at_risk[:, 0], counted.counts[:, 0, 1], counted.counts[:, 0, 0]
    survival: Float = np.multiply.accumulate((at_risk - gone) / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = survival * np.sqrt(np.cumsum(gone / (at_risk * (at_risk - gone))))
    lower, upper = limits(survival, error, scale, z)
    notes = _notes(len(checked), int(gone.sum()))
    return SurvivalCurve(
        counted.times, at_risk, gone, censored, survival, error, lower, upper, scale, confidence, notes
    )


def _notes(patients: int, events: int) -> tuple[str, ...]:
    if patients == 1:
        return ("one patient: the curve is that patient's own course, not an estimate for others",)
    if not events:
        return (f"no event among {patients} patients: the curve stays at 1 and its limits cannot be told",)
    return ()


def reverse_kaplan_meier(
    times: ArrayLike, events: ArrayLike, *, interval: Interval = "log-log", confidence: float = 0.95
) -> SurvivalCurve:
    """Length of follow-up: Kaplan-Meier with the end of follow-up as event, and the event as censoring.

    Its median is the median follow-up. Arguments and errors as of `kaplan_meier`.

    References
    ----------
    Schemper and Smith, Control Clin Trials 1996;17:343, DOI 10.1016/0197-2456(96)00075-X.
    """
    checked = checked_times(times)
    codes = checked_status(events, len(checked), (1,), "event")
    return kaplan_meier(checked, 1 - codes, interval=interval, confidence=confidence)
