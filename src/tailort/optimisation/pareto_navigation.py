"""Moving between the plans of a Pareto front: the mixture that keeps what is asked, and what a Gy costs there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, linprog

from tailort.errors import InputError
from tailort.optimisation.pareto import TradeOffs
from tailort.optimisation.pareto_goals import TradeGoal
from tailort.optimisation.pareto_hull import lowest_allowed

Float = NDArray[np.float64]

# Over this share of a goal's range a trade is told.
STEP = 0.05
# Weight of the sum of all goals beside the worst of them, so that nothing is given away.
SUM = 1e-3
# Of the linear programmes, as a share of a goal's range, and of what is asked.
TOLERANCE = 1e-7
KEPT_GY = 1e-4
# Mixtures until what is bounded stands for what was asked.
TRIES = 5


@dataclass(frozen=True, eq=False)
class Mixture:
    """A plan mixed from those of the front.

    Parameters
    ----------
    shares : (plans,) float
        Of each plan, sum 1.
    weights_mu : (n,) float
        MU per fraction.
    dose_gy : (rows,) float
        Physical dose of the rows, Gy per course: the same mixture of the plans' doses.
    asked_gy : tuple of float or None
        What was asked of each metric.
    measures_gy, metrics_gy : tuple of float
        Measure of each goal and the metric itself, of the mixed dose.
    promised_gy : tuple of float
        Mixture of the plans' measures: the measure of the mixed dose is never above it.
    short_gy : tuple of float
        How far each metric is from what was asked, Gy; 0 where it is kept.
    impossible : bool
        Whether no plan can keep what is asked, as far as planes and stand-ins go: none with as even a fluence, and with
        the goals of which nothing is asked no worse than nadir. False proves nothing.
    trades : (k, k) float
        Gy of goal k (column) that one Gy less of goal j (row) costs, the other goals no worse; not a number where goal
        j cannot go lower that way.
    violation_gy : float
        Largest excess over a limit of the problem, Gy; not above 0.
    """

    shares: Float
    weights_mu: Float
    dose_gy: Float
    asked_gy: tuple[float | None, ...]
    measures_gy: tuple[float, ...]
    metrics_gy: tuple[float, ...]
    promised_gy: tuple[float, ...]
    short_gy: tuple[float, ...]
    impossible: bool
    trades: Float
    violation_gy: float

    @property
    def met(self) -> bool:
        """Whether everything that was asked is kept."""
        return max(self.short_gy) <= 0.0

    def as_dict(self) -> dict[str, Any]:
        """Mixture as plain values, without dose and weights."""
        return {
            "shares": self.shares.tolist(),
            "asked_gy": list(self.asked_gy),
            "metrics_gy": list(self.metrics_gy),
            "measures_gy": list(self.measures_gy),
            "promised_gy": list(self.promised_gy),
            "short_gy": list(self.short_gy),
            "met": self.met,
            "impossible": self.impossible,
            "trades": [[None if np.isnan(t) else float(t) for t in row] for row in self.trades],
        }


def navigate(front: TradeOffs, asked_gy: Sequence[float | None]) -> Mixture:
    """Mix the plans so that the metrics are what is asked, and the other goals as even and as good as can be.

    Among the mixtures that keep the bounds, that one is taken whose worst goal without a bound (of all goals, when each
    has one), on the scale from ideal to nadir, is best. What cannot be kept is missed by the smallest and the same
    share of each goal's range. Limits and measures are convex, so that every mixture keeps the limits, and is at least
    as good in each measure as the mixture of the plans' measures.

    Where the mean of a tail stands for the metric, its bound is moved by the ratio of both in the mixture, a few
    times; what is asked is judged by the metric itself.

    Parameters
    ----------
    front : TradeOffs
        With its plans.
    asked_gy : sequence of float or None
        For each goal, Gy: at most this much of the metric, at least this much where more is better; None is free.

    Raises
    ------
    InputError
        When there is not one number (or None) for each goal, or one that cannot be.

    References
    ----------
    Monz et al. 2008, PMB 53:985, doi 10.1088/0031-9155/53/4/011 (navigation between plans by linear programmes); Craft
    et al. 2012, IJROBP 82:e83, doi 10.1016/j.ijrobp.2010.12.007.
    """
    goals = front.goals
    if len(asked_gy) != len(goals):
        raise InputError(
            f"navigation needs a number or none for each of {', '.join(goal.label for goal in goals)}; found "
            f"{len(asked_gy)}"
        )
    table, doses = _Table.of(front), np.array([plan.dose_gy for plan in front.plans])
    free = np.array([asked is None for asked in asked_gy])
    judged = free if free.any() else ~free
    aimed = list(asked_gy)
    tries: list[tuple[tuple[float, float], Mixture]] = []
    for _ in range(TRIES):
        most = np.array([np.inf if aim is None else goal.bound_gy(aim) for goal, aim in zip(goals, aimed, strict=True)])
        bounded = np.where(np.isinf(most), front.nadir_gy, most)
        missed = table.missed(most)
        shares = table.best(most + missed * table.range_gy, judged)
        dose = shares @ doses
        measures = tuple(goal.measure_gy(front.problem.sets, dose) for goal in goals)
        metrics = tuple(goal.metric_gy(front.problem.sets, dose) for goal in goals)
        short = tuple(_short(*one) for one in zip(goals, asked_gy, metrics, strict=True))
        promised = table.measures @ shares
        mixture = Mixture(
            shares=shares,
            weights_mu=shares @ np.array([plan.weights_mu for plan in front.plans]),
            dose_gy=dose,
            asked_gy=tuple(asked_gy),
            measures_gy=measures,
            metrics_gy=metrics,
            promised_gy=tuple(float(p) for p in promised),
            short_gy=short,
            impossible=missed > 0 and max(short) > 0 and bool(np.isinf(lowest_possible_gy(front, 0, bounded))),
            trades=table.trades(promised),
            violation_gy=front.problem.violation_gy(dose),
        )
        rank = (max(np.array(short) / table.range_gy), max(((promised - table.ideal_gy) / table.range_gy)[judged]))
        tries.append((rank, mixture))
        before, aimed = aimed, [_aim(*one) for one in zip(goals, asked_gy, measures, metrics, strict=True)]
        if all(a is None or b is None or abs(a - b) < KEPT_GY for a, b in zip(aimed, before, strict=True)):
            break
    return min(tries, key=lambda one: one[0])[1]


def _short(goal: TradeGoal, asked_gy: float | None, metric_gy: float) -> float:
    """How far a metric is from what was asked, Gy."""
    if asked_gy is None:
        return 0.0
    over = asked_gy - metric_gy if goal.rising else metric_gy - asked_gy
    return float(over) if over > KEPT_GY else 0.0


def _aim(goal: TradeGoal, asked_gy: float | None, measure_gy: float, metric_gy: float) -> float | None:
    """What to ask of the stand-in so that the metric is what was asked, Gy."""
    if asked_gy is None or goal.share is None or metric_gy <= 0:
        return asked_gy
    # Both grow with the dose, so that their ratio changes less than their distance.
    aim = asked_gy * max(goal.stand_in_gy(measure_gy), 0.0) / metric_gy
    return aim if goal.level_gy is None else min(aim, goal.level_gy)


@dataclass(frozen=True, eq=False)
class _Table:
    """Measures of the plans and the linear programmes on their mixtures.

    Parameters
    ----------
    measures : (k, plans) float
        Gy.
    ideal_gy, range_gy : (k,) float
        Best among the anchors, and from there to the worst.
    """

    measures: Float
    ideal_gy: Float
    range_gy: Float

    @classmethod
    def of(cls, front: TradeOffs) -> _Table:
        measures = np.array([plan.measures_gy for plan in front.plans]).T
        ideal = np.array(front.ideal_gy)
        return cls(measures, ideal, np.maximum(np.array(front.nadir_gy) - ideal, TOLERANCE))

    @property
    def count(self) -> int:
        return len(self.measures[0])

    def missed(self, most_gy: Float) -> float:
        """Smallest share of the ranges by which bounds must give way."""
        asked = np.isfinite(most_gy)
        if not asked.any():
            return 0.0
        rows = np.column_stack([self.measures[asked], -self.range_gy[asked]])
        found = self._solve(np.append(np.zeros(self.count), 1.0), rows, most_gy[asked])
        return float(found.fun) if found.fun > TOLERANCE else 0.0

    def best(self, most_gy: Float, judged: NDArray[np.bool_]) -> Float:
        """Shares with the best worst goal, then the best sum."""
        scaled = self.measures / self.range_gy[:, None]
        asked = np.isfinite(most_gy)
        low = (self.ideal_gy / self.range_gy)[judged]
        # The last variable is the worst goal, at least 0: better than ideal counts no more.
        rows = np.vstack(
            [
                np.column_stack([scaled[asked], np.zeros(asked.sum())]),
                np.column_stack([scaled[judged], -np.ones(judged.sum())]),
            ]
        )
        top = np.concatenate([(most_gy / self.range_gy)[asked] + TOLERANCE, low])
        found = self._solve(np.append(SUM * scaled.sum(axis=0), 1.0), rows, top)
        shares = np.where(found.x[:-1] > TOLERANCE, found.x[:-1], 0.0)
        return np.asarray(shares / shares.sum(), dtype=np.float64)

    def trades(self, at_gy: Float) -> Float:
        """Gy of each goal (column) for a Gy less of another (row), the rest no worse."""
        size = len(at_gy)
        price = np.full((size, size), np.nan)
        for less in range(size):
            step = STEP * self.range_gy[less]
            for pays in range(size):
                if pays == less:
                    continue
                most = at_gy + TOLERANCE * self.range_gy
                most[less] = at_gy[less] - step
                others = [n for n in range(size) if n != pays]
                found = linprog(
                    self.measures[pays],
                    A_ub=self.measures[others],
                    b_ub=most[others],
                    A_eq=np.ones((1, self.count)),
                    b_eq=[1.0],
                    method="highs",
                )
                if found.status == 0:
                    price[less, pays] = (found.fun - at_gy[pays]) / step
        return price

    def _solve(self, cost: Float, rows: Float, most: Float) -> OptimizeResult:
        return linprog(
            cost, A_ub=rows, b_ub=most, A_eq=np.append(np.ones(self.count), 0.0)[None], b_eq=[1.0], method="highs"
        )


def lowest_possible_gy(front: TradeOffs, goal: int, most_gy: Sequence[float] | Float) -> float:
    """Lowest measure of one goal that the planes leave possible beside bounds of the others, Gy.

    Parameters
    ----------
    front : TradeOffs
        With its planes.
    goal : int
        Which.
    most_gy : sequence of float
        Most of each goal's measure, Gy; infinite where there is none.

    Returns
    -------
    float
        Among plans whose fluence is no less even than that of the front's plans; infinite where nothing is left.
    """
    units, bounds = np.array(front.unit_gy), np.asarray(most_gy, dtype=np.float64)
    even = max(float(np.max(np.array(plan.costs) - np.array(plan.measures_gy) / units)) for plan in front.plans)
    lowest = lowest_allowed(np.eye(len(units))[goal], front.planes, np.zeros(len(units)), bounds / units + even)
    return max((lowest - even) * float(units[goal]), 0.0)
