"""Goals one after the other: each is served as well as the ones before it, kept as they are, allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.objectives import AtMost
from tailort.optimisation.problem import Limit, Problem, Wish
from tailort.optimisation.solve import Effort, Progress, Solution, never, solve

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Goal:
    """A wish, or several of the same rank, and how well it has to be served.

    Parameters
    ----------
    label : str
        For reports.
    wishes : tuple of Wish
        Their weights count only among each other.
    aspiration_gy : float
        Value of each wish that is good enough, Gy (`measures_gy`): later goals may use what is better than this.
    """

    label: str
    wishes: tuple[Wish, ...]
    aspiration_gy: float = 0.0

    def __post_init__(self) -> None:
        if not self.wishes or not any(wish.weight > 0 for wish in self.wishes):
            raise InputError(f"goal '{self.label}' needs a wish with a weight above 0")
        if not 0.0 <= self.aspiration_gy < np.inf:
            raise InputError(
                f"goal '{self.label}' has the aspiration {self.aspiration_gy:g} Gy; it must not be below 0"
            )


@dataclass(frozen=True)
class Slack:
    """How much worse than reached an earlier goal may become, so that later ones have room.

    Parameters
    ----------
    share : float
        Of what was reached.
    least_gy : float
        Added to it, Gy: what was reached may be 0. Above 0.
    """

    share: float = 0.03
    least_gy: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.share < np.inf and 0 < self.least_gy < np.inf):
            raise InputError(
                f"slack needs a share of 0 or more and Gy above 0, both finite; found {self.share:g}, {self.least_gy:g}"
            )


@dataclass(frozen=True, eq=False)
class Step:
    """What one goal reached and what it cost the goals before it.

    Parameters
    ----------
    goal : Goal
        Which.
    reached_gy : tuple of float
        Value of each of its wishes at the end of its own step.
    kept_gy : tuple of float
        What later steps had to keep each below.
    before_gy, after_gy : tuple of (tuple of float)
        Values of all goals' wishes, goal by goal, before and after this step.
    alone_gy : tuple of float or None
        What it would have reached without the goals between, where that was asked for (`alone_beside`).
    solution : Solution
        Of this step.
    """

    goal: Goal
    reached_gy: tuple[float, ...]
    kept_gy: tuple[float, ...]
    before_gy: tuple[tuple[float, ...], ...]
    after_gy: tuple[tuple[float, ...], ...]
    alone_gy: tuple[float, ...] | None
    solution: Solution

    @property
    def met(self) -> bool:
        """Whether every wish is as good as its aspiration."""
        return max(self.reached_gy) <= self.goal.aspiration_gy

    @property
    def price_gy(self) -> tuple[float, ...] | None:
        """How much better each wish would have been without the goals between, Gy."""
        if self.alone_gy is None:
            return None
        return tuple(reached - alone for reached, alone in zip(self.reached_gy, self.alone_gy, strict=True))


@dataclass(frozen=True, eq=False)
class Priorities:
    """A plan by goals in order.

    Parameters
    ----------
    steps : tuple of Step
        In the order of the goals; fewer than goals when the hard limits do not hold or a person stopped.
    solution : Solution
        The last one, with the excess over the hard limits only.
    problem : Problem
        What was given: the hard limits, and the wishes that count in every step.
    interrupted : bool
        Whether a person stopped before the last goal was done.
    """

    steps: tuple[Step, ...]
    solution: Solution
    problem: Problem
    interrupted: bool

    @property
    def feasible(self) -> bool:
        """Whether every hard limit holds."""
        return self.solution.feasible

    def weighted(self) -> Problem:
        """One problem with weights that stands for the goals in order, for sequencing and for small corrections.

        Its limits are the hard ones. Each earlier wish has the weight that its price in the last step stands for: at
        that weight giving it up pays as little as keeping it did, so that a convex problem has the same optimum. A
        further wish holds it where it was kept.
        """
        last = self.steps[-1]
        paid = last.solution.excess[len(self.problem.limits) :]
        earlier = [
            (wish, kept) for step in self.steps[:-1] for wish, kept in zip(step.goal.wishes, step.kept_gy, strict=True)
        ]
        reached = [value for values in last.after_gy[: len(self.steps) - 1] for value in values]
        weights = [
            excess.price / (wish.objective.power * max(value, 1e-3) ** (wish.objective.power - 1))
            for (wish, _), excess, value in zip(earlier, paid, reached, strict=True)
        ]
        most = max([wish.weight for wish in last.goal.wishes] + weights)
        held = [
            wish
            for (one, kept), weight in zip(earlier, weights, strict=True)
            for wish in (
                replace(one, weight=weight),
                replace(one, objective=AtMost(one.objective, kept), weight=most, label=f"keep '{one.label}'"),
            )
        ]
        return replace(self.problem, wishes=(*last.goal.wishes, *self.problem.wishes, *held))


def measures_gy(problem: Problem, goal: Goal, dose_gy: Float) -> tuple[float, ...]:
    """Value of each wish of a goal in Gy: of a mean dose itself, of a (mean) square its root; without its weight."""
    return tuple(_measure_gy(problem, wish, dose_gy) for wish in goal.wishes)


def _measure_gy(problem: Problem, wish: Wish, dose_gy: Float) -> float:
    voxels = problem.sets[wish.structure]
    seen = wish.quantity.of(dose_gy[voxels.rows])
    return AtMost(wish.objective, 0.0).measure_gy(seen, voxels.volume)


def prioritise(
    problem: Problem,
    goals: Sequence[Goal],
    start_mu: Float,
    effort: Effort | None = None,
    slack: Slack | None = None,
    *,
    alone_beside: int | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> Priorities:
    """Serve goals in their order, none at the cost of an earlier one beyond a slack.

    Each step makes one goal as good as it can be while the hard limits hold and every earlier wish stays below what it
    has reached times 1 + `slack.share` plus `slack.least_gy`, or below its aspiration, whichever is weaker.

    Parameters
    ----------
    problem : Problem
        Its limits are hard and hold from the first step. Its wishes and smoothness count in every step and decide
        between plans that serve the goal alike: keep their weights small beside the goals'.
    goals : sequence of Goal
        Most important first.
    start_mu : (n,) float
        First weights, MU per fraction; every later step starts from the plan before it.
    effort : Effort or None
        Of each step.
    slack : Slack or None
        None is the usual slack.
    alone_beside : int or None
        With a number, each goal's value is also found with only so many of the first goals kept (a solution more for
        each): 0 is with the hard limits only, 1 keeps the first goal too, usually the targets, without which organs
        would want no dose at all. None is not to.
    stop, progress
        As for `solve`.

    References
    ----------
    Breedveld et al. 2012, Med Phys 39:951, doi 10.1118/1.3676689 (goals in order, kept with slack); Jee et al. 2007,
    PMB 52:1845, doi 10.1088/0031-9155/52/7/006 (lexicographic ordering).
    """
    if alone_beside is not None and alone_beside < 0:
        raise InputError(f"goals are kept beside another by number; found {alone_beside}")
    if not goals:
        raise InputError("a plan by priorities needs at least one goal")
    slack = slack or Slack()
    current = np.asarray(start_mu, dtype=np.float64)
    dose = problem.dose_gy(np.clip(current, problem.lower_mu, problem.upper_mu))
    kept: tuple[Limit, ...] = ()
    steps: list[Step] = []
    for goal in goals:
        asked = replace(problem, wishes=(*goal.wishes, *problem.wishes), limits=(*problem.limits, *kept))
        before = tuple(measures_gy(problem, one, dose) for one in goals)
        solution = solve(asked, current, effort, stop, progress)
        hard = _hard(problem, solution)
        stopped = solution.reason == "stopped"
        reached = measures_gy(problem, goal, solution.dose_gy)
        rooms = tuple(slack.share * r + slack.least_gy for r in reached)
        bounds = tuple(max(r + room, goal.aspiration_gy) for r, room in zip(reached, rooms, strict=True))
        by_itself = None
        if alone_beside is not None and hard.feasible and not stopped:
            beside = (*problem.limits, *kept[: sum(len(one.wishes) for one in goals[:alone_beside])])
            single = solution
            if len(beside) < len(asked.limits):
                single = solve(replace(asked, limits=beside), current, effort, stop, progress)
            by_itself = measures_gy(problem, goal, single.dose_gy)
        after = tuple(measures_gy(problem, one, solution.dose_gy) for one in goals)
        steps.append(Step(goal, reached, bounds, before, after, by_itself, solution))
        if not hard.feasible or stopped or (len(steps) < len(goals) and stop()):
            break
        # The solver aims inside by half of the slack.
        kept += tuple(
            Limit(wish.structure, AtMost(wish.objective, bound), 0.5 * room, wish.quantity, f"keep '{goal.label}'")
            for wish, bound, room in zip(goal.wishes, bounds, rooms, strict=True)
        )
        current, dose = solution.weights_mu, solution.dose_gy
    interrupted = stopped or (len(steps) < len(goals) and hard.feasible)
    return Priorities(tuple(steps), hard, problem, interrupted)


def _hard(problem: Problem, solution: Solution) -> Solution:
    """The solution judged by the hard limits only."""
    excess = solution.excess[: len(problem.limits)]
    return replace(solution, excess=excess, feasible=all(one.excess_gy <= 0 for one in excess))
