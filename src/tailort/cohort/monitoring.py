"""Stopping a trial when one kind of event is too frequent: exact binomial or Bayesian boundaries at planned looks.

A limit, the looks and the level are the trial's own: nothing is taken where they are not given. Boundaries say from how
many events on a trial stops; how often it would stop at a true rate is computed exactly, over all looks together.

References
----------
Thall PF, Simon R. Biometrics 1994;50:337. DOI 10.2307/2533377 (stopping by the posterior of a binomial rate)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tailort.errors import InputError

Answer = Literal["stop", "go on", "unknown", "no look yet"]


@dataclass(frozen=True)
class MonitoringDesign:
    """When a trial stops because of one kind of event.

    Parameters
    ----------
    event : str
        Of which it is said.
    limit : float
        Proportion of patients above which the event is too frequent, 0 to 1.
    looks : tuple of int
        Numbers of patients at which it is looked at, ascending.
    level : float
        With "exact-binomial" the largest chance of so many events or more at one look if the true proportion were the
        limit: the trial stops at it or below. With "bayes" the least posterior probability that the proportion is
        above the limit.
    method : {"exact-binomial", "bayes"}
        By which the boundary is made.
    prior : (float, float) or None
        Of the beta distribution, for "bayes" and only for it.
    """

    event: str
    limit: float
    looks: tuple[int, ...]
    level: float
    method: Literal["exact-binomial", "bayes"]
    prior: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for value, what in ((self.limit, "limit"), (self.level, "level")):
            if not 0 < value < 1:
                raise InputError(f"the {what} of '{self.event}' is {value}; expected a number between 0 and 1")
        if not self.looks or self.looks[0] < 1 or any(a >= b for a, b in pairwise(self.looks)):
            raise InputError(f"looks are numbers of patients, ascending, the first at least 1; found {self.looks}")
        if self.method not in ("exact-binomial", "bayes"):
            raise InputError(f"the method is '{self.method}'; expected 'exact-binomial' or 'bayes'")
        if (self.prior is not None) != (self.method == "bayes"):
            raise InputError("a prior goes with the method 'bayes', and it needs one")
        if self.prior is not None and not all(math.isfinite(value) and value > 0 for value in self.prior):
            raise InputError(f"both numbers of a beta prior are above 0; found {self.prior}")

    def described(self) -> str:
        """The rule in words."""
        looks = ", ".join(str(look) for look in self.looks)
        if self.prior is None:
            rule = f"so many events have a chance of at most {self.level:g} if the true proportion is {self.limit:g}"
        else:
            a, b = self.prior
            rule = (
                f"the posterior probability of a proportion above {self.limit:g} is at least {self.level:g} "
                f"(prior beta {a:g}, {b:g})"
            )
        return f"Stop for '{self.event}' when after {looks} patients {rule}."


@dataclass(frozen=True)
class Look:
    """One look.

    Parameters
    ----------
    patients : int
        At which it is.
    stop_from : int or None
        Number of events that stops the trial; None where no number does.
    events, unknown : int or None
        Events among these patients, and patients of whom it is not known; None before the look is reached.
    """

    patients: int
    stop_from: int | None
    events: int | None = None
    unknown: int | None = None


@dataclass(frozen=True)
class Monitored:
    """A trial held against its rule.

    Parameters
    ----------
    design : MonitoringDesign
        The rule.
    answer : Answer
        "stop" once a boundary is reached by what is known, "unknown" where it would be with patients of whom it is not
        known.
    looks : tuple of Look
        All of the design.
    patients : int
        Who are looked at.
    """

    design: MonitoringDesign
    answer: Answer
    looks: tuple[Look, ...]
    patients: int


def boundary(design: MonitoringDesign) -> tuple[Look, ...]:
    """Smallest number of events at each look that stops the trial.

    Examples
    --------
    >>> boundary(MonitoringDesign("grade 5", 0.1, (10, 20), 0.05, "exact-binomial"))[0].stop_from
    4
    """
    found = []
    for look in design.looks:
        events = np.arange(look + 1)
        if design.prior is None:
            stops = special.bdtrc(events - 1.0, look, design.limit) <= design.level
        else:
            a, b = design.prior
            stops = special.betaincc(a + events, b + look - events, design.limit) >= design.level
        found.append(Look(look, int(np.argmax(stops)) if stops.any() else None))
    return tuple(found)


def chance_of_stopping(design: MonitoringDesign, rate: float) -> float:
    """Exact chance that the trial stops at one of its looks when this is the true proportion.

    Parameters
    ----------
    design : MonitoringDesign
        The rule.
    rate : float
        True proportion, 0 to 1.

    Examples
    --------
    >>> chance_of_stopping(MonitoringDesign("grade 5", 0.1, (10,), 0.05, "exact-binomial"), 0.0)
    0.0
    """
    if not 0 <= rate <= 1:
        raise InputError(f"the true proportion is {rate}; expected 0 to 1")
    going, before, stopped = np.ones(1), 0, 0.0
    for look in boundary(design):
        new = look.patients - before
        going = np.convolve(going, _chances(new, rate))
        if look.stop_from is not None:
            stopped += float(going[look.stop_from :].sum())
            going = going[: look.stop_from]
        before = look.patients
    return min(stopped, 1.0)


def _chances(number: int, rate: float) -> NDArray[np.float64]:
    """Chance of 0, 1, ... events in so many patients; in logarithms, as scipy's own overflows at tiny rates."""
    events = np.arange(number + 1)
    ways = special.gammaln(number + 1) - special.gammaln(events + 1) - special.gammaln(number - events + 1)
    chances = np.exp(ways + special.xlogy(events, rate) + special.xlog1py(number - events, -rate))
    return np.asarray(chances, dtype=np.float64)


def monitored(design: MonitoringDesign, outcomes: Sequence[bool | None]) -> Monitored:
    """Hold the patients so far against the rule.

    Parameters
    ----------
    design : MonitoringDesign
        The rule.
    outcomes : sequence of bool or None
        Whether each patient had the event, in the order in which they came into the trial; None is unknown.
    """
    looks: list[Look] = []
    answer: Answer = "no look yet"
    for one in boundary(design):
        if one.patients > len(outcomes):
            looks.append(one)
            continue
        so_far = outcomes[: one.patients]
        events, unknown = sum(o is True for o in so_far), sum(o is None for o in so_far)
        looks.append(Look(one.patients, one.stop_from, events, unknown))
        if answer == "no look yet":
            answer = "go on"
        if one.stop_from is not None and events >= one.stop_from:
            answer = "stop"
        elif one.stop_from is not None and events + unknown >= one.stop_from and answer != "stop":
            answer = "unknown"
    return Monitored(design, answer, tuple(looks), len(outcomes))
