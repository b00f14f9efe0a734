"""How many have had each kind of event by a time, when one kind takes away the others? Aalen-Johansen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tailort.cohort.observed import (
    Float,
    Interval,
    Rate,
    Steps,
    Whole,
    at_risk_at,
    checked_confidence,
    checked_status,
    checked_times,
    chosen,
    freeze,
    limits,
    quotient,
    rates_at,
    steps,
)
from tailort.errors import InputError

Variance = Literal["aalen", "delta"]
VARIANCES: tuple[Variance, ...] = ("aalen", "delta")


@dataclass(frozen=True)
class CumulativeIncidence:
    """Cumulative incidence of each cause.

    Attributes
    ----------
    causes : (c,) int
        Their codes, in the order of the columns.
    times : (t,) float
        Each distinct time of an event or of a censoring.
    at_risk, censored : (t,) float
        Patients followed up to this time, and those censored here.
    events : (t, c) float
    event_free : (t,) float
        Share without any event just after this time: Kaplan-Meier of all causes together.
    incidence, standard_error, lower, upper : (t, c) float
        Shares of 1; limits are not a number before the first event of a cause.
    variance : {"aalen", "delta"}
    confidence : float
    notes : tuple of str
    interval : "log-log"
        The scale of the limits; no other is offered.
    """

    causes: tuple[int, ...]
    times: Float
    at_risk: Float
    censored: Float
    events: Float
    event_free: Float
    incidence: Float
    standard_error: Float
    lower: Float
    upper: Float
    variance: Variance
    confidence: float
    notes: tuple[str, ...] = ()
    interval: Interval = "log-log"

    def __post_init__(self) -> None:
        freeze(self.times, self.at_risk, self.censored, self.events, self.event_free)
        freeze(self.incidence, self.standard_error, self.lower, self.upper)

    @property
    def patients(self) -> int:
        """Patients at the start."""
        return int(self.at_risk[0])

    def place(self, cause: int) -> int:
        """Column of a cause."""
        if cause not in self.causes:
            raise InputError(f"cause {cause} is not among {', '.join(map(str, self.causes))}")
        return self.causes.index(cause)

    def at(self, cause: int, times: ArrayLike) -> tuple[Rate, ...]:
        """Incidence of a cause at chosen times; unknown beyond the last follow-up unless all have had an event."""
        column = self.place(cause)
        columns = [part[:, column] for part in (self.incidence, self.standard_error, self.lower, self.upper)]
        ended = bool(self.event_free[-1] == 0.0)
        return rates_at(times, self.times, columns, self.at_risk, 0.0, ended)

    def at_risk_at(self, times: ArrayLike) -> Whole:
        """Patients whose time is at or after each chosen time: the numbers under a figure."""
        return at_risk_at(self.times, self.at_risk, times)


def aalen_johansen(
    times: ArrayLike,
    status: ArrayLike,
    *,
    causes: Sequence[int],
    variance: Variance = "aalen",
    confidence: float = 0.95,
) -> CumulativeIncidence:
    """Aalen-Johansen's cumulative incidence with log(-log) limits; tied times stay tied.

    Parameters
    ----------
    times : (n,) float
        From the origin to the first event of any cause or to the last follow-up, all in one unit.
    status : (n,) int
        0 censored, else the code of the cause.
    causes : sequence of int
        Codes of all causes; one that nobody had keeps an incidence of 0.
    variance : {"aalen", "delta"}
        "aalen": from the counting process, with a correction for ties; as R's cmprsk::cuminc. "delta": Greenwood's
        formula carried over by the delta method, which equals the sum of the squared influence of each patient
        (infinitesimal jackknife); as R's survival::survfit. Of one cause alone it is Greenwood's.
    confidence : float

    Raises
    ------
    InputError
        No rows; a time that is negative or missing; a code that is not among the causes.

    Notes
    -----
    Limits are F ** exp(+-z se / (F log F)).

    References
    ----------
    Aalen and Johansen, Scand J Stat 1978;5:141. Aalen, Ann Stat 1978;6:534, DOI 10.1214/aos/1176344198 (variance).
    Marubini and Valsecchi, Analysing Survival Data, 1995, eq. 10.12 (delta).
    Choudhury, Stat Med 2002;21:1129, DOI 10.1002/sim.1070 (limits).
    """
    kind, z = chosen(variance, VARIANCES, "variance"), checked_confidence(confidence)
    checked = checked_times(times)
    codes = checked_status(status, len(checked), causes)
    counted = steps(checked, codes, len(causes) + 1)
    at_risk, events = counted.at_risk[:, 0], counted.counts[:, 0, 1:]
    event_free: Float = np.cumprod((at_risk - events.sum(axis=1)) / at_risk)
    before = np.append(1.0, event_free[:-1])
    incidence: Float = np.cumsum(before[:, None] * events / at_risk[:, None], axis=0)
    spread = {"aalen": _aalen, "delta": _delta}[kind]
    error = np.stack(
        [np.sqrt(np.maximum(spread(counted, event_free, incidence, c), 0.0)) for c in range(len(causes))], axis=1
    )
    lower, upper = limits(incidence, error, "log-log", z)
    never = [cause for cause, total in zip(causes, events.sum(axis=0), strict=True) if not total]
    notes = tuple(f"no event of cause {one} among {len(checked)} patients: its limits cannot be told" for one in never)
    censored = counted.counts[:, 0, 0]
    return CumulativeIncidence(
        tuple(causes),
        counted.times,
        at_risk,
        censored,
        events,
        event_free,
        incidence,
        error,
        lower,
        upper,
        kind,
        confidence,
        notes,
    )


def _aalen(counted: Steps, event_free: Float, incidence: Float, cause: int) -> Float:
    """Sum over earlier times u of (F(t)-F(u))^2/S(u)^2 of other events and (1-(F(t)-F(u))/S(u))^2 of the cause's.

    Each is times the variance of the number of events at u, S(u-)^2 d (n - d) / ((n - 1) n^2). The squares are opened,
    so that each sum over u is one cumulative sum.
    """
    n, share = counted.at_risk[:, 0], incidence[:, cause]
    own = counted.counts[:, 0, cause + 1]
    other = counted.counts[:, 0, 1:].sum(axis=1) - own
    before = np.append(1.0, event_free[:-1])

    def spread(events: Float) -> Float:
        # The last patient's own event has no spread of ties to correct.
        return before**2 * events * np.where(n > 1, (n - events) / np.maximum(n - 1, 1), 1.0) / n**2

    slope = quotient(np.ones(1), event_free)
    rest = 1.0 + share * slope
    # No one is left without an event after the last step: nothing rests on its other events.
    own_spread, other_spread = spread(own), np.where(event_free > 0, spread(other), 0.0)
    squares = np.cumsum(rest**2 * own_spread + (share * slope) ** 2 * other_spread)
    mixed = np.cumsum(slope * (rest * own_spread + share * slope * other_spread))
    slopes = np.cumsum(slope**2 * (own_spread + other_spread))
    result: Float = squares - 2.0 * share * mixed + share**2 * slopes
    return result


def _delta(counted: Steps, event_free: Float, incidence: Float, cause: int) -> Float:
    """Greenwood's formula by the delta method."""
    n, share = counted.at_risk[:, 0], incidence[:, cause]
    own, every = counted.counts[:, 0, cause + 1], counted.counts[:, 0, 1:].sum(axis=1)
    before = np.append(1.0, event_free[:-1])
    greenwood = quotient(every, n * (n - every))
    covariance = before * own / n**2
    own_part = before**2 * (n - own) * own / n**3
    # Sum of (F(t)-F(u))^2 g + own - 2 (F(t)-F(u)) c, with the brackets opened.
    constant = np.cumsum(share**2 * greenwood + own_part + 2.0 * share * covariance)
    linear = np.cumsum(share * greenwood + covariance)
    result: Float = constant - 2.0 * share * linear + share**2 * np.cumsum(greenwood)
    return result
