"""Limits that cannot all hold: which of them contradict each other, and how far they would have to give way.

A limit gives way by its relaxation, Gy of its quantity: a further variable of the problem, so that the solver of plans
is the solver of this question too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError, StoppedError
from tailort.optimisation.objectives import MeanDose, Objective, Quantity
from tailort.optimisation.problem import DoseMap, Limit, Problem, VoxelSet, Wish
from tailort.optimisation.solve import Effort, Progress, never, solve
from tailort.patient import Influence

Float = NDArray[np.float64]

# Limits that hold within this are said to hold together.
TOLERANCE_GY = 0.1
# Relaxations in a dose a person can see the sense of, Gy, where the solver starts to count.
SCALE_GY = 5.0


@dataclass(frozen=True)
class Conflict:
    """Limits that contradict each other, none of which could be left out.

    Parameters
    ----------
    limits : tuple of int
        Their places in `Problem.limits`.
    names : tuple of str
        Structure and label of each.
    alone_gy : tuple of float
        How far each would have to give way for the others of the conflict to hold, Gy of its quantity.
    """

    limits: tuple[int, ...]
    names: tuple[str, ...]
    alone_gy: tuple[float, ...]

    @property
    def sentence(self) -> str:
        """What a person is told: the limits, and the choices."""
        if len(self.names) == 1:
            return f"{self.names[0]} cannot hold, whatever the plan: it lacks {self.alone_gy[0]:.1f} Gy"
        choices = " or ".join(f"{name} by {gy:.1f} Gy" for name, gy in zip(self.names, self.alone_gy, strict=True))
        return f"{' and '.join(self.names)} cannot hold together; weaken {choices}"


@dataclass(frozen=True, eq=False)
class Contradiction:
    """Why limits cannot all hold.

    Parameters
    ----------
    conflicts : tuple of Conflict
        Smallest contradicting groups, no two with a limit in common; empty when the limits can hold together.
    relaxation_gy : tuple of float
        How far each limit would have to give way so that all hold and the weighted sum is smallest, Gy.
    equal_gy : float
        How far all limits would have to give way together, in units of one over their weights.
    weights_mu : (n,) float
        A plan that keeps the relaxed limits.
    """

    conflicts: tuple[Conflict, ...]
    relaxation_gy: tuple[float, ...]
    equal_gy: float
    weights_mu: Float


def contradiction(
    problem: Problem,
    start_mu: Float,
    weights: Sequence[float] | None = None,
    effort: Effort | None = None,
    tolerance_gy: float = TOLERANCE_GY,
    overall: bool = True,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> Contradiction:
    """Find which limits contradict each other, and the smallest relaxation with which all can hold.

    The plan nearest to all limits, by least squares, shows a group that cannot hold (Farkas: only limits that it breaks
    take part in the proof). Limits are taken out of the group one by one and stay out when the rest is still
    contradicting; what remains is a smallest group. The search goes on without it until the others hold together.

    Parameters
    ----------
    problem : Problem
        With limits; its wishes and smoothness do not matter here.
    start_mu : (n,) float
        First weights, MU per fraction.
    weights : sequence of float or None
        How much a Gy of each limit counts in the sum, above 0; None is 1 each.
    effort : Effort or None
        Of each of the solutions that this needs, one for each limit and some more; None is enough for `tolerance_gy`.
    tolerance_gy : float
        Limits that hold within this hold.
    overall : bool
        Whether the smallest relaxation of all limits together is wanted too (two solutions more, the longest ones);
        if not, `relaxation_gy` and `equal_gy` are enough, but not the smallest.
    stop, progress
        As for `solve`.

    Raises
    ------
    StoppedError
        When a person stops the search: half of it proves nothing.

    Notes
    -----
    Every relaxation is shown by a plan, so it is enough; that it is the smallest holds, for convex limits, as far as
    the effort lets the solver converge: to the tolerance for hundreds of weights, while for thousands the sum over all
    limits may be well above the smallest. Dose-volume limits, and lowest doses in EQD2 or BED, are not convex: a
    conflict of these is one for the solver.

    References
    ----------
    Chinneck & Dravnieks 1991, ORSA J Comput 3:157, doi 10.1287/ijoc.3.2.157 (deletion filter, elastic filter).
    """
    if not problem.limits:
        raise InputError("a problem without limits has none that contradict each other")
    count = [1.0] * len(problem.limits) if weights is None else [float(weight) for weight in weights]
    if len(count) != len(problem.limits) or not all(0 < weight < np.inf for weight in count):
        raise InputError(f"relaxations need {len(problem.limits)} weights above 0, one for each limit")
    effort = effort or Effort(iterations=300, rounds=12, value_tolerance=1e-6, complementarity=1e-3)
    search = _Search(_only_limited_rows(problem), effort, tolerance_gy, stop, progress)
    plan = np.clip(np.asarray(start_mu, dtype=np.float64), problem.lower_mu, problem.upper_mu)
    groups: list[tuple[int, ...]] = []
    left = every = tuple(range(len(problem.limits)))
    nearest = None
    while left:
        broken, plan = search.broken(left, plan)
        nearest = plan if nearest is None else nearest
        if not broken:
            break
        group = search.smallest(broken if search.broken(broken, plan)[0] else left, plan)
        groups.append(group)
        left = tuple(n for n in left if n not in group)
    if not groups or nearest is None:
        return Contradiction((), (0.0,) * len(every), 0.0, plan)
    # From the plan nearest to all limits the relaxations are not far.
    search.keep(nearest)
    # Where a little more effort finds a plan after all, a group does not contradict itself.
    conflicts = tuple(one for one in map(search.conflict, groups) if min(one.alone_gy) > tolerance_gy)
    costs = dict(zip(every, count, strict=True))
    if overall:
        search.relaxed(every, costs)
        search.relaxed(every, costs, shared=True)
    # What was found on the way to another answer may be better still.
    relaxation, plan = search.best(every, costs)
    together, _ = search.best(every, costs, shared=True)
    return Contradiction(
        conflicts,
        tuple(relaxation[n] for n in every),
        max(together[n] * costs[n] for n in every),
        plan,
    )


def _name(limit: Limit) -> str:
    return f"{limit.structure} {limit.label}".strip()


def _only_limited_rows(problem: Problem) -> Problem:
    """The problem on the rows that a limit sees, where they can be taken out of the dose map."""
    influence = problem.dose_map
    if not isinstance(influence, Influence):
        return problem
    names = {limit.structure for limit in problem.limits}
    rows = np.unique(np.concatenate([problem.sets[name].rows for name in names]))
    lengths = np.diff(influence.starts)
    kept = np.zeros(len(lengths), dtype=bool)
    kept[rows] = True
    entries = np.repeat(kept, lengths)
    smaller = replace(
        influence,
        values=influence.values[entries],
        columns=influence.columns[entries],
        starts=np.concatenate([[0], np.cumsum(lengths[rows])]).astype(np.int64),
        voxels=influence.voxels[rows],
    )
    sets = {
        name: VoxelSet(name, np.searchsorted(rows, problem.sets[name].rows), problem.sets[name].volume)
        for name in names
    }
    offset = None if problem.offset_gy is None else problem.offset_gy[rows]
    return replace(problem, dose_map=smaller, sets=sets, offset_gy=offset, wishes=(), smoothness=None)


@dataclass(frozen=True, eq=False)
class _Search:
    """Questions about some of a problem's limits; plans are MU per fraction."""

    problem: Problem
    effort: Effort
    tolerance_gy: float
    stop: Callable[[], bool]
    progress: Callable[[Progress], None] | None
    plans: list[tuple[list[float], Float]] = field(default_factory=list)

    def keep(self, weights_mu: Float) -> None:
        """Keep a plan, with its excess over each limit: it may be an answer to a later question, or near to one."""
        self.plans.append((self.excess_gy(weights_mu), weights_mu))

    def best(
        self, numbers: tuple[int, ...], costs: dict[int, float], shared: bool = False
    ) -> tuple[dict[int, float], Float]:
        """The plan met so far that needs the least relaxation, and each relaxation."""

        def needed(plan: tuple[list[float], Float]) -> tuple[float, float]:
            excess = plan[0]
            hard = max((excess[n] for n in numbers if n not in costs), default=0.0)
            each = [cost * max(excess[n], 0.0) for n, cost in costs.items()]
            return max(hard, 0.5 * self.tolerance_gy), max(each) if shared else sum(each)

        excess, weights_mu = min(self.plans, key=needed)
        return {n: max(excess[n], 0.0) for n in costs}, weights_mu

    def _go_on(self) -> None:
        if self.stop():
            raise StoppedError("stopped while looking for the limits that contradict each other")

    def excess_gy(self, weights_mu: Float) -> list[float]:
        """How far a plan is beyond each limit, Gy."""
        dose = self.problem.dose_gy(weights_mu)
        return [float(np.max(self.problem.excess_gy(dose, limit))) for limit in self.problem.limits]

    def broken(self, numbers: tuple[int, ...], start_mu: Float) -> tuple[tuple[int, ...], Float]:
        """Which of some limits the plan nearest to all of them breaks, and that plan; none when all can hold."""
        weaker = tuple(
            replace(
                self.problem.limits[n],
                objective=self.problem.limits[n].objective.tightened(-self.tolerance_gy),
                gap_gy=self.tolerance_gy,
            )
            for n in numbers
        )
        asked = replace(self.problem, wishes=(), limits=weaker, smoothness=None)
        found = [False]

        def watch(step: Progress) -> None:
            found[0] = step.violation_gy <= 0
            if self.progress is not None:
                self.progress(step)

        # The first plan that keeps all limits is as good as any other, and a few rounds find it if there is one.
        effort = replace(self.effort, complementarity=np.inf, rounds=min(self.effort.rounds, 4))
        plan = solve(asked, start_mu, effort, lambda: found[0] or self.stop(), watch).weights_mu
        self._go_on()
        excess = self.excess_gy(plan)
        if max(excess[n] for n in numbers) <= self.tolerance_gy:
            return (), plan
        return tuple(n for n in numbers if excess[n] > 0), plan

    def smallest(self, numbers: tuple[int, ...], start_mu: Float) -> tuple[int, ...]:
        """A contradicting group of which every part can hold."""
        group = numbers
        for n in numbers:
            rest = tuple(m for m in group if m != n)
            if rest and self.broken(rest, start_mu)[0]:
                group = rest
        return group

    def conflict(self, group: tuple[int, ...]) -> Conflict:
        """A contradicting group with how far each of its limits would have to give way."""
        names = tuple(_name(self.problem.limits[n]) for n in group)
        return Conflict(group, names, tuple(self.relaxed(group, {n: 1.0})[0][n] for n in group))

    def relaxed(
        self, numbers: tuple[int, ...], costs: dict[int, float], shared: bool = False
    ) -> tuple[dict[int, float], Float]:
        """Least excess of some limits, by cost for each Gy, with which they and the others of the group can hold.

        With `shared` all give way by the same number of Gy over their costs, and that number is smallest.
        """
        problem = self.problem
        start_mu = self.best(numbers, costs, shared)[1]
        rows, size = problem.dose_map.shape
        slacks = 1 if shared else len(costs)
        unit = float(start_mu[start_mu > 0].mean())
        per_mu = max(SCALE_GY / unit, 40.0 * SCALE_GY / problem.upper_mu) / problem.fractions
        sets = dict(problem.sets)
        wishes: list[Wish] = []
        limits: list[Limit] = []
        first: list[float] = []
        excess = self.excess_gy(start_mu)
        for n in numbers:
            limit = replace(problem.limits[n], gap_gy=0.1 * self.tolerance_gy)
            if n in costs:
                slack = 0 if shared else list(costs).index(n)
                each = costs[n] if shared else 1.0
                voxels = sets[limit.structure]
                name = f"relaxation {n}"
                volume = np.append(voxels.volume, voxels.volume.mean())
                sets[f"{limit.structure} and {name}"] = VoxelSet(name, np.append(voxels.rows, rows + slack), volume)
                limit = replace(
                    limit,
                    structure=f"{limit.structure} and {name}",
                    objective=_Relaxed(limit.objective, each),
                    quantity=_Beside(limit.quantity),
                )
                if slack == len(wishes):
                    sets[name] = VoxelSet(name, np.array([rows + slack]), np.ones(1))
                    wishes.append(Wish(name, MeanDose(), 1.0 if shared else costs[n]))
                    first.append(0.0)
                first[slack] = max(first[slack], excess[n] * each + self.tolerance_gy)
            limits.append(limit)
        offset = np.zeros(rows) if problem.offset_gy is None else problem.offset_gy
        none_gy = -problem.fractions * per_mu * problem.lower_mu
        asked = replace(
            problem,
            dose_map=_WithSlack(problem.dose_map, slacks, per_mu),
            sets=sets,
            wishes=tuple(wishes),
            limits=tuple(limits),
            smoothness=None,
            offset_gy=np.append(offset, np.full(slacks, none_gy)),
        )
        start = np.append(start_mu, (np.array(first) - none_gy) / (problem.fractions * per_mu))
        found = solve(asked, start, self.effort, self.stop, self.progress)
        self._go_on()
        self.keep(found.weights_mu[:size])
        return self.best(numbers, costs, shared)


@dataclass(frozen=True, eq=False)
class _WithSlack:
    """A dose map with further weights, each of which is the only one in a further row."""

    dose_map: DoseMap
    slacks: int
    per_mu: float

    @property
    def shape(self) -> tuple[int, int]:
        rows, size = self.dose_map.shape
        return rows + self.slacks, size + self.slacks

    def dose(self, weights_mu: Float) -> Float:
        return np.append(self.dose_map.dose(weights_mu[: -self.slacks]), self.per_mu * weights_mu[-self.slacks :])

    def gradient(self, by_dose: Float) -> Float:
        return np.append(self.dose_map.gradient(by_dose[: -self.slacks]), self.per_mu * by_dose[-self.slacks :])


@dataclass(frozen=True, eq=False)
class _Relaxed:
    """An objective whose level is weaker by what the last voxel holds, over a cost."""

    objective: Objective
    cost: float
    power: ClassVar[int] = 2

    def _weaker(self, dose_gy: Float, volume: Float, by_gy: float = 0.0) -> float:
        shares = volume[:-1] / volume[:-1].sum()
        return self.objective.tightened(-(dose_gy[-1] + by_gy) / self.cost).value(dose_gy[:-1], shares)

    def value(self, dose_gy: Float, volume: Float) -> float:
        return self._weaker(dose_gy, volume)

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        shares = volume[:-1] / volume[:-1].sum()
        inner = self.objective.tightened(-dose_gy[-1] / self.cost).derivative(dose_gy[:-1], shares)
        # Squares: central differences have no error but rounding, and at the corner of a hinge half a step.
        step = 1e-6
        by_slack = (self._weaker(dose_gy, volume, step) - self._weaker(dose_gy, volume, -step)) / (2 * step)
        return np.append(inner, by_slack)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        shares = volume[:-1] / volume[:-1].sum()
        excess: Float = self.objective.excess_gy(dose_gy[:-1], shares) - dose_gy[-1] / self.cost
        return excess

    def tightened(self, by_gy: float | Float) -> _Relaxed:
        return replace(self, objective=self.objective.tightened(by_gy))


@dataclass(frozen=True)
class _Beside:
    """A quantity of all voxels but the last."""

    quantity: Quantity

    def of(self, dose_gy: Float) -> Float:
        return np.append(self.quantity.of(dose_gy[:-1]), dose_gy[-1])

    def derivative(self, dose_gy: Float) -> Float:
        return np.append(self.quantity.derivative(dose_gy[:-1]), 1.0)

    def only(self, kept: NDArray[np.bool_]) -> Quantity:
        if not kept[-1]:
            raise AssertionError("the last voxel is what limits are relaxed by")
        return _Beside(self.quantity.only(kept[:-1]))
