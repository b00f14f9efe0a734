"""Trade-offs to look at: plans along the Pareto front of a few goals, and how far the front can still be from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError, StoppedError
from tailort.optimisation.pareto_goals import TradeGoal
from tailort.optimisation.pareto_hull import Facet, Plane, facets
from tailort.optimisation.pareto_kept import is_convex
from tailort.optimisation.problem import Limit, Problem, WeightTerm, Wish
from tailort.optimisation.solve import Effort, Solution, never, solve

Float = NDArray[np.float64]

# Share of every other goal in an anchor, so that it is Pareto optimal.
BESIDE = 0.01
# Least range of a goal, Gy: below it there is nothing to trade.
LEAST_RANGE_GY = 0.1
# A search that ends by `Effort.value_tolerance` has up to so many times that share of the value still to go: 3 to 5
# were found on a virtual patient by searches fifty times as strict.
TO_GO = 6.0
USUAL_EFFORT = Effort(iterations=200, rounds=10, value_tolerance=5e-4, penalty=0.1, complementarity=5e-3)


@dataclass(frozen=True)
class Times:
    """A term of the weights times a factor.

    Parameters
    ----------
    term : WeightTerm
        Which.
    factor : float
        Not below 0.
    """

    term: WeightTerm
    factor: float

    def value(self, weights_mu: Float) -> float:
        """Value of the term."""
        return self.factor * self.term.value(weights_mu)

    def derivative(self, weights_mu: Float) -> Float:
        """Derivative by the weights, per MU."""
        return self.factor * self.term.derivative(weights_mu)


@dataclass(frozen=True, eq=False)
class TradePlan:
    """One plan along the front.

    Parameters
    ----------
    origin : str
        "start", "anchor: Heart: Mean[Gy]" or "between".
    weights_mu : (n,) float
        MU per fraction.
    dose_gy : (rows,) float
        Physical dose of the rows, Gy per course.
    measures_gy, metrics_gy : tuple of float
        Of each goal: its convex measure, and the metric itself on whole voxels.
    costs : tuple of float
        Of each goal: its measure in units of `TradeOffs.unit_gy`, with the part that evenness of the fluence has.
    converged : bool
        Whether its search ended at an optimum.
    iterations : int
        Of its search.
    """

    origin: str
    weights_mu: Float
    dose_gy: Float
    measures_gy: tuple[float, ...]
    metrics_gy: tuple[float, ...]
    costs: tuple[float, ...]
    converged: bool
    iterations: int


@dataclass(frozen=True, eq=False)
class TradeOffs:
    """Plans along the Pareto front of some goals and planes that bound it.

    Parameters
    ----------
    problem : Problem
        Whose limits every plan keeps.
    goals : tuple of TradeGoal
        What is traded.
    unit_gy : tuple of float
        Unit of each goal's cost, Gy.
    plans : tuple of TradePlan
        The start where it keeps the limits, the anchors in the order of the goals, then those between.
    planes : tuple of Plane
        Below which there is no plan, in costs.
    gaps : tuple of float
        After each plan from the last anchor on: how much better than the mixtures of the plans another plan between
        ideal and nadir could be in all goals at once, as a share of each goal's range.
    lowered : float
        Largest distance by which a plane had to give way to a better plan, as a share of the ranges: how far the
        solver was from an optimum, as far as is known.
    reason : str
        Why the search ended.
    """

    problem: Problem
    goals: tuple[TradeGoal, ...]
    unit_gy: tuple[float, ...]
    plans: tuple[TradePlan, ...]
    planes: tuple[Plane, ...]
    gaps: tuple[float, ...]
    lowered: float
    reason: str

    @property
    def anchors(self) -> tuple[TradePlan, ...]:
        """The plan that is best for each goal."""
        return tuple(plan for plan in self.plans if plan.origin.startswith("anchor"))

    @property
    def start(self) -> TradePlan | None:
        """The plan from which the search began, where it keeps the limits."""
        return self.plans[0] if self.plans[0].origin == "start" else None

    @property
    def ideal_gy(self) -> tuple[float, ...]:
        """Best measure of each goal among the anchors, Gy."""
        return tuple(float(best) for best in self.payoff_gy.min(axis=0))

    @property
    def nadir_gy(self) -> tuple[float, ...]:
        """Worst measure of each goal among the anchors, Gy: of two goals that of the front, of more an estimate."""
        return tuple(float(worst) for worst in self.payoff_gy.max(axis=0))

    @property
    def payoff_gy(self) -> Float:
        """Measure of each goal (column) in the anchor of each goal (row), Gy."""
        return np.array([plan.measures_gy for plan in self.anchors])

    @property
    def gap(self) -> float:
        """The last of the gaps."""
        return self.gaps[-1]

    def as_dict(self) -> dict[str, Any]:
        """Goals, payoff and plans as plain values, without doses and weights."""
        return {
            "goals": [
                {**goal.as_dict(), "ideal_gy": ideal, "nadir_gy": nadir}
                for goal, ideal, nadir in zip(self.goals, self.ideal_gy, self.nadir_gy, strict=True)
            ],
            "payoff_gy": self.payoff_gy.tolist(),
            "plans": [
                {
                    "origin": plan.origin,
                    "measures_gy": list(plan.measures_gy),
                    "metrics_gy": list(plan.metrics_gy),
                    "converged": plan.converged,
                    "iterations": plan.iterations,
                }
                for plan in self.plans
            ],
            "gaps": list(self.gaps),
            "lowered": self.lowered,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class TradeProgress:
    """What a caller is told after each plan: how many there are, of how many at most, and the gap once it is known."""

    plans: int
    most: int
    gap: float | None


def trade_offs(
    problem: Problem,
    goals: Sequence[TradeGoal],
    start_mu: Float,
    *,
    gap: float = 0.05,
    most_plans: int = 16,
    evenness: float = 0.01,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[TradeProgress], None] | None = None,
) -> TradeOffs:
    """Find plans along the Pareto front of some goals.

    First the anchors: each goal as good as it can be, the others with a share of a hundredth, so that no anchor can be
    bettered in one goal without another paying. Then, again and again, the weighted sum at right angles to the face of
    the plans' hull that lies farthest from what is ruled out, until that distance is small. Each search starts
    from a mixture of the plans of its face, which keeps the limits and is no worse.

    Parameters
    ----------
    problem : Problem
        Whose convex limits hold in every plan (`kept_beside`). Its wishes and smoothness decide between plans that
        serve the goals alike.
    goals : sequence of TradeGoal
        Two to four.
    start_mu : (n,) float
        A plan, MU per fraction.
    gap : float
        Ends when no plan can be better than the mixtures of those found by more than this share of every goal's range.
    most_plans : int
        Most plans, with the anchors.
    evenness : float
        Part of the problem's own wishes and smoothness: in the start as much as this share of a goal (of at least
        1 Gy).
    effort : Effort or None
        For each plan; None is enough for a gap of some percent.
    stop, progress
        As for `solve`; told after each plan.

    Raises
    ------
    InputError
        When the limits cannot hold together, or are not convex.
    StoppedError
        When a person stops before all anchors are there.

    Notes
    -----
    A plane is the lowest weighted sum that the solver found, less its complementarity and less what a search that ends
    so early has still to go: an estimate from experience, no proof. Where a later plan lies below, the plane gives way,
    and `TradeOffs.lowered` tells how far that plan is below what the plane's own search found.

    References
    ----------
    Craft et al. 2006, Med Phys 33:3399, doi 10.1118/1.2335486 (sandwich algorithm in planning); Bokrantz & Forsgren
    2013, INFORMS J Comput 25:377, doi 10.1287/ijoc.1120.0508; Geoffrion 1968, J Math Anal Appl 22:618,
    doi 10.1016/0022-247X(68)90201-1 (why no weight is 0); Benayoun et al. 1971, Math Program 1:366,
    doi 10.1007/BF01584098 (the payoff table).
    """
    _require(problem, goals, gap, most_plans, evenness)
    search = _Search(problem, tuple(goals), np.asarray(start_mu, dtype=np.float64), evenness, effort, stop)

    def tell(now: float | None) -> None:
        if progress is not None:
            progress(TradeProgress(len(search.plans), most_plans, now))

    size = len(goals)
    for n, goal in enumerate(goals):
        weights = np.full(size, BESIDE / (size - 1))
        weights[n] = 1.0 - BESIDE
        if not search.add(f"anchor: {goal.label}", weights, search.best_start(weights), required=True):
            raise StoppedError("stopped before there was a best plan for each goal")
        tell(None)
    low, ranges = search.frame()
    gaps: list[float] = []
    tried: list[Float] = []
    reason = "number of plans"
    while True:
        faces = search.faces(low, ranges)
        gaps.append(max([0.0, *(face.gap for face in faces)]))
        tell(gaps[-1])
        if gaps[-1] <= gap:
            reason = "gap"
            break
        if stop():
            reason = "stopped"
            break
        # A direction that was tried has what the solver can do.
        new = [f for f in faces if f.gap > gap and all(np.abs(f.normal - old).max() > 1e-3 for old in tried)]
        if not new:
            reason = "no further progress"
            break
        if len(search.plans) >= most_plans:
            break
        tried.append(new[0].normal)
        weights = (1.0 - size * BESIDE) * new[0].normal + BESIDE
        weights = weights / ranges
        if not search.add("between", weights / weights.sum(), search.middle(new[0]), required=False):
            reason = "stopped"
            break
    return search.result(tuple(gaps), float(search.lowered(ranges)), reason)


def _require(problem: Problem, goals: Sequence[TradeGoal], gap: float, most_plans: int, evenness: float) -> None:
    if not 2 <= len(goals) <= 4:
        raise InputError(f"trade-offs are between two, three or four goals; found {len(goals)}")
    labels = [goal.label for goal in goals]
    if len(set(labels)) < len(labels):
        raise InputError(f"the goals to trade are not all different: {', '.join(labels)}")
    if not (gap > 0 and most_plans >= len(goals) and evenness > 0):
        raise InputError(
            f"trade-offs need a gap and an evenness above 0 and a plan for each goal; found {gap:g}, {evenness:g} and "
            f"{most_plans} plans"
        )
    asked: tuple[Limit | Wish, ...] = (*problem.limits, *problem.wishes)
    for one in asked:
        if not is_convex(one.objective, one.quantity):
            raise InputError(
                f"'{one.structure} {one.label}' is not convex in the dose, so that mixed plans may break it; take its "
                "convex form (kept_beside)"
            )


class _Search:
    """The plans and planes so far."""

    def __init__(
        self,
        problem: Problem,
        goals: tuple[TradeGoal, ...],
        start_mu: Float,
        evenness: float,
        effort: Effort | None,
        stop: Callable[[], bool],
    ) -> None:
        self.problem, self.goals, self.stop = problem, goals, stop
        self.effort = effort or USUAL_EFFORT
        self.start = np.clip(start_mu, problem.lower_mu, problem.upper_mu)
        dose = problem.dose_gy(self.start)
        self.units = np.array([max(goal.measure_gy(problem.sets, dose), 1.0) for goal in goals])
        own = problem.value(self.start)
        self.even = evenness / own if own > 0 else 0.0
        self.plans: list[TradePlan] = []
        self.planes: list[tuple[Plane, float]] = []
        self.first: TradePlan | None = None
        if problem.violation_gy(dose) <= 0:
            self.first = self._plan("start", self.start, dose, converged=True, iterations=0)

    def add(self, origin: str, weights: Float, start_mu: Float, *, required: bool) -> bool:
        """Make a weighted sum smallest; whether that was done to its end."""
        asked = self._asked(weights)
        found = solve(asked, start_mu, self.effort, self.stop)
        if found.reason == "stopped":
            return False
        if not found.feasible:
            worst = max(found.excess, key=lambda one: one.excess_gy)
            if required:
                raise InputError(
                    f"the limits cannot hold together: '{worst.structure} {worst.label}' is exceeded by "
                    f"{worst.excess_gy:.2f} Gy in the plan for {origin}; give more slack or weaker limits"
                )
            return True
        self._keep(origin, weights, found)
        return True

    def _asked(self, weights: Float) -> Problem:
        """Weighted sum of the goals' costs; the weights sum to 1, so that evenness counts once."""
        wishes = tuple(
            Wish(goal.structure, goal.objective, float(weight / unit), goal.quantity, goal.label)
            for goal, weight, unit in zip(self.goals, weights, self.units, strict=True)
        )
        own = tuple(replace(wish, weight=self.even * wish.weight) for wish in self.problem.wishes)
        smooth = self.problem.smoothness
        even = None if smooth is None or self.even == 0 else Times(smooth, self.even)
        return replace(self.problem, wishes=wishes + own, smoothness=even)

    def _keep(self, origin: str, weights: Float, found: Solution) -> None:
        self.plans.append(self._plan(origin, found.weights_mu, found.dose_gy, found.converged, found.iterations))
        value = float(weights @ np.array(self.plans[-1].costs))
        missing = found.complementarity + TO_GO * self.effort.value_tolerance * value
        self.planes.append((Plane(weights, value - missing), value))

    def _plan(self, origin: str, weights_mu: Float, dose: Float, converged: bool, iterations: int) -> TradePlan:
        measures = tuple(goal.measure_gy(self.problem.sets, dose) for goal in self.goals)
        smooth = self.problem.smoothness
        own = self.problem.value_of_dose(dose) + (smooth.value(weights_mu) if smooth else 0.0)
        return TradePlan(
            origin,
            weights_mu,
            dose,
            measures,
            tuple(goal.metric_gy(self.problem.sets, dose) for goal in self.goals),
            tuple(float(cost) for cost in np.array(measures) / self.units + self.even * own),
            converged,
            iterations,
        )

    @property
    def costs(self) -> Float:
        return np.array([plan.costs for plan in self.all])

    @property
    def all(self) -> tuple[TradePlan, ...]:
        return tuple(self.plans) if self.first is None else (self.first, *self.plans)

    def best_start(self, weights: Float) -> Float:
        """The plan with the lowest weighted sum; the start where there is none."""
        if not self.all:
            return self.start
        return self.all[int(np.argmin(self.costs @ weights))].weights_mu

    def middle(self, face: Facet) -> Float:
        """Mixture of the plans of a face in equal parts."""
        middle: Float = np.mean([self.all[n].weights_mu for n in face.points], axis=0)
        return middle

    def frame(self) -> tuple[Float, Float]:
        """Best cost of each goal among the anchors, and its range."""
        anchors = np.array([plan.costs for plan in self.plans])
        low = anchors.min(axis=0)
        return low, np.maximum(np.ptp(anchors, axis=0), LEAST_RANGE_GY / self.units)

    def valid_planes(self) -> list[Plane]:
        """The planes, each given way to the best plan beyond it."""
        return [
            replace(plane, offset=min(plane.offset, float((self.costs @ plane.normal).min())))
            for plane, _ in self.planes
        ]

    def lowered(self, ranges: Float) -> float:
        """How far planes gave way, as a share of the ranges."""
        return max(
            (value - float((self.costs @ plane.normal).min())) / float(plane.normal @ ranges)
            for plane, value in self.planes
        )

    def faces(self, low: Float, ranges: Float) -> tuple[Facet, ...]:
        scaled = []
        for plane in self.valid_planes():
            normal = plane.normal * ranges
            scaled.append(Plane(normal / normal.sum(), (plane.offset - float(plane.normal @ low)) / normal.sum()))
        # Measures are not below 0, and neither is what evenness adds.
        return facets((self.costs - low) / ranges, scaled, -low / ranges, np.ones(len(low)))

    def result(self, gaps: tuple[float, ...], lowered: float, reason: str) -> TradeOffs:
        return TradeOffs(
            self.problem,
            self.goals,
            tuple(float(unit) for unit in self.units),
            self.all,
            tuple(self.valid_planes()),
            gaps,
            lowered,
            reason,
        )
