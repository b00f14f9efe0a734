"""Cox's partial likelihood with its derivatives, and the question whether it has a maximum at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailort.cohort.observed import Float, Labels, Mask, Whole, by_stratum
from tailort.errors import InputError

MOST_ITERATIONS = 60
# In standard deviations of a covariate: smaller steps change no digit that is told.
_STEP = 1e-9
# Steps by which a covariate with an estimate has come near it, and what is left of its step then.
_SETTLED, _STILL = 5, 1e-4
# Most that one step may change the logarithm of a hazard ratio between two patients.
_FURTHEST = 10.0
# Of the log likelihood: what rises less has reached its end.
_GAIN = 1e-10
# Share of the information of one event per covariate below which the risk sets say nothing about a combination.
_NOTHING = 1e-10
# Of the spread of a covariate: a patient that lies this much above one with the event is no exception.
_NO_EXCEPTION = 1e-8


@dataclass(frozen=True)
class Derivatives:
    """Log partial likelihood, its slope (p,) and its negative second derivative (p, p)."""

    value: float
    score: Float
    information: Float


@dataclass(frozen=True)
class RiskSets:
    """Rows sorted by stratum and time, and who is at risk at each event.

    Attributes
    ----------
    covariates : (n, p) float
        Centred in each stratum, one standard deviation as unit.
    units : (p,) float
        That standard deviation.
    events : (n,) bool
    strata : sequence of slice
    start : (u,) int
        First row at each distinct time with events in a stratum: it and all later rows of the stratum are at risk.
    tie : (d,) int
        Place in `start` of each event, in the order of the rows.
    earlier : (d,) float
        Share of the tied events that count as gone before this one: Efron's; 0 for Breslow's.
    order : (n,) int
        Row numbers as they were given.
    times : (n,) float
        Sorted like the rows.
    """

    covariates: Float
    units: Float
    events: Mask
    strata: Sequence[slice]
    start: Whole
    tie: Whole
    earlier: Float
    order: Whole
    times: Float

    def cumulated(self, values: Float) -> Float:
        """Sum over each row and the rows before it in its stratum."""
        return np.concatenate([np.cumsum(values[part], axis=0) for part in self.strata])

    def at_risk(self, values: Float) -> Float:
        """Sum over those at risk at each distinct event time."""
        later = np.concatenate([np.cumsum(values[part][::-1], axis=0)[::-1] for part in self.strata])
        return later[self.start]

    def tied(self, values: Float) -> Float:
        """Sum over the events of each distinct event time."""
        sums = np.zeros((len(self.start), *values.shape[1:]))
        np.add.at(sums, self.tie, values)
        return sums

    def derivatives(self, coefficients: Float, weights: Float | None = None) -> Derivatives:
        """Log partial likelihood and derivatives; each event counts `weights` times in the slope and its square.

        Parameters
        ----------
        coefficients : (p,) float
            Per standard deviation.
        weights : (d,) float, optional
            1 when absent. The information then is the sum of weight * variance.
        """
        x = self.covariates
        linear = x @ coefficients
        for part in self.strata:
            linear[part] -= linear[part].max()
        risk = np.exp(linear)
        own, own_x = risk[self.events], x[self.events]
        total, gone = self.at_risk(risk)[self.tie], self.tied(own)[self.tie]
        total_x, gone_x = self.at_risk(risk[:, None] * x)[self.tie], self.tied(own[:, None] * own_x)[self.tie]
        left = total - self.earlier * gone
        mean = (total_x - self.earlier[:, None] * gone_x) / left[:, None]
        weight = np.ones(len(left)) if weights is None else weights
        # The second moments of all risk sets together: each row counts by the hazard up to its own time.
        hazard = np.zeros(len(x))
        np.add.at(hazard, self.start[self.tie], weight / left)
        early = np.zeros(len(self.start))
        np.add.at(early, self.tie, weight * self.earlier / left)
        second = (x * (risk * self.cumulated(hazard))[:, None]).T @ x
        second -= (own_x * (own * early[self.tie])[:, None]).T @ own_x
        second -= (mean * weight[:, None]).T @ mean
        value = float(linear[self.events].sum() - np.log(left).sum())
        return Derivatives(value, weight @ (own_x - mean), second)

    def rises_for_ever(self, direction: Float) -> bool:
        """Whether nobody at risk lies above a patient with the event in this direction, and somebody below."""
        along = self.covariates @ direction
        highest = np.concatenate([np.maximum.accumulate(along[part][::-1])[::-1] for part in self.strata])
        lowest = np.concatenate([np.minimum.accumulate(along[part][::-1])[::-1] for part in self.strata])
        least = _NO_EXCEPTION * float(np.ptp(along))
        own, at = along[self.events], self.start[self.tie]
        return bool(np.all(highest[at] - own <= least) and np.any(own - lowest[at] > least))


def risk_sets(times: Float, events: Mask, covariates: Float, strata: Labels | None, efron: bool) -> RiskSets:
    """Sorted rows; arguments already checked, with at least one event."""
    layers = by_stratum(strata, len(times))
    order = np.concatenate([rows[np.argsort(times[rows], kind="stable")] for rows in layers])
    ends = np.cumsum([len(rows) for rows in layers])
    parts = [slice(int(end) - len(rows), int(end)) for end, rows in zip(ends, layers, strict=True)]
    sorted_times, happened, x = times[order], events[order], covariates[order].copy()
    for part in parts:
        x[part] -= x[part].mean(axis=0)
    units = x.std(axis=0)
    units[units <= 1e-12 * np.abs(covariates).max(axis=0)] = 1.0
    first = np.append(True, np.diff(sorted_times) != 0)
    first[[part.start for part in parts]] = True
    # First row with the same stratum and time, of every row and then of the events.
    begin = np.flatnonzero(first)[np.cumsum(first) - 1][happened]
    start, tie, number = np.unique(begin, return_inverse=True, return_counts=True)
    place = np.arange(len(begin)) - np.repeat(np.cumsum(number) - number, number)
    earlier = place / number[tie] if efron else np.zeros(len(begin))
    return RiskSets(x / units, units, happened, parts, start, tie, earlier, order, sorted_times)


@dataclass(frozen=True)
class Maximum:
    """Where the likelihood is highest.

    Attributes
    ----------
    coefficients : (p,) float
        Per standard deviation.
    at, null : Derivatives
        There, and without covariates.
    endless : (p,) bool
        Coefficients that the likelihood drives to infinity.
    iterations : int
    """

    coefficients: Float
    at: Derivatives
    null: Derivatives
    endless: Mask
    iterations: int


def maximise(sets: RiskSets, names: tuple[str, ...]) -> Maximum:
    """Newton's method from 0, each step halved until the likelihood does not fall.

    Raises
    ------
    InputError
        Covariates that the risk sets cannot tell apart; no convergence.
    """
    coefficients = np.zeros(len(names))
    now = null = sets.derivatives(coefficients)
    spread, axes = np.linalg.eigh(null.information)
    if spread[0] <= _NOTHING * len(sets.tie):
        mixed = [f"'{name}'" for name, part in zip(names, axes[:, 0], strict=True) if abs(part) > 1e-4]
        raise InputError(
            f"{' and '.join(mixed)} cannot be estimated: the same in all patients at risk at an event, or given by "
            "the other covariates; leave one out"
        )
    endless = np.zeros(len(names), dtype=bool)
    for iteration in range(1, MOST_ITERATIONS + 1):
        try:
            step = np.linalg.solve(now.information, now.score)
        except np.linalg.LinAlgError:
            break
        # A first step that overshoots would leave no patient in the risk sets to come back from.
        size = _FURTHEST / max(_FURTHEST, float(np.ptp(sets.covariates @ step)))
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            then = sets.derivatives(coefficients + size * step)
            while not then.value >= now.value - 1e-9 * abs(now.value) and size > 1e-6:
                size /= 2.0
                then = sets.derivatives(coefficients + size * step)
        if not (np.isfinite(then.value) and np.all(np.isfinite(then.information))):
            break
        gain = then.value - now.value
        coefficients, now = coefficients + size * step, then
        moved = np.abs(size * step) > _STEP
        if not moved.any():
            return Maximum(coefficients, now, null, endless, iteration)
        # Steps that stay long after the others have ended lead to infinity.
        far = moved & (np.abs(step) > _STILL * np.abs(step).max())
        if iteration > _SETTLED and not endless.any() and sets.rises_for_ever(np.where(far, step, 0.0)):
            endless = far
        if endless.any() and gain < _GAIN and not np.any(moved & ~endless):
            break
    if endless.any():
        return Maximum(coefficients, now, null, endless, iteration)
    raise InputError(
        f"the Cox model of {', '.join(names)} did not converge in {MOST_ITERATIONS} steps; "
        "a covariate may separate the patients with the event almost wholly, look at it in a table"
    )
