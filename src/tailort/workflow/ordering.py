"""Goals in their order, where they cannot all be had at once, and limits that contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.optimisation import Goals, Limit, Problem, Progress, Solution, Wish, solve
from tailort.optimisation.conflicts import contradiction
from tailort.optimisation.priorities import Priorities, Slack, prioritise
from tailort.optimisation.solve import Effort
from tailort.workflow.records import OrderedGoal

Float = NDArray[np.float64]

# Of each goal in turn, and how much of it later ones may take: what is beyond a volume is a small part of a structure,
# so that a tenth of a gray of its root mean square is a gray of the dose at that volume. Kept goals are as tight as
# that: a search that runs out of rounds before all of them hold again would end where it began.
EACH, SLACK = Effort(iterations=120, rounds=24), Slack(0.03, 0.02)
# Where a target borders on a hard limit the wish for its dose pulls hard: penalties are stiff from the start.
BESIDE_LIMITS = Effort(penalty=300.0, rounds=16)
# How far inside what a goal has reached the deliverable plan aims, as a share of its dose.
INSIDE = 0.01
# Weight of a goal that was lost on the way, in the unit of the recipe's.
KEPT = 300.0
# Of the search for limits that contradict each other.
SEARCH = Effort(iterations=120, rounds=6, value_tolerance=1e-4, complementarity=1e-2)


@dataclass(frozen=True, eq=False)
class Served:
    """A fluence, the problem that it solves, and how it came about.

    Parameters
    ----------
    problem : Problem
        Weighted: for what is made of the fluence.
    solution : Solution
        Of the fluence.
    order : tuple of OrderedGoal
        Empty where all goals could be had at once.
    notes : tuple of str
        Limits that contradict each other, or that the search did not reach.
    kept : tuple of Limit
        Goals for organs, as they are printed, that the fluence meets: what is made of it should not lose them.
    """

    problem: Problem
    solution: Solution
    order: tuple[OrderedGoal, ...]
    notes: tuple[str, ...]
    kept: tuple[Limit, ...] = ()


def serve(
    problem: Problem,
    goals: Goals,
    start_mu: Float,
    stop: Callable[[], bool],
    progress: Callable[[Progress], None],
    *,
    weighed: bool = False,
) -> Served:
    """Find the fluence: by the recipe's weights where every goal is met, else goal by goal in the protocol's order.

    Parameters
    ----------
    problem : Problem
        With the recipe's weights.
    goals : Goals
        What it is made of.
    start_mu : (n,) float
        First weights, MU per fraction.
    stop, progress
        As for `solve`.
    weighed : bool
        Whether goals that cannot all be had stay weighed by the recipe, as where limits beside a target are known to
        cost it dose.
    """
    effort = BESIDE_LIMITS if weighed else Effort()
    solution = solve(problem, start_mu, effort=effort, stop=stop, progress=progress)
    if stop():
        return Served(problem, solution, (), ())
    if not solution.feasible:
        found = contradiction(problem, solution.weights_mu, effort=SEARCH, overall=False, stop=stop, progress=progress)
        if found.conflicts:
            return Served(problem, solution, (), tuple(conflict.sentence for conflict in found.conflicts))
        # The limits can hold together: the search goes on from a plan that shows it.
        solution = solve(problem, found.weights_mu, effort=effort, stop=stop, progress=progress)
        if not solution.feasible or stop():
            return Served(problem, solution, (), () if stop() else (_fell_short(solution),))
    if not unmet(problem, goals, solution.dose_gy):
        return Served(problem, solution, (), (), goals.ceilings)
    if weighed:
        missed = unmet(problem, goals, solution.dose_gy)
        return Served(problem, solution, (), (), _met(goals, missed))
    order = prioritise(
        replace(problem, wishes=()),
        goals.ranks,
        solution.weights_mu,
        EACH,
        SLACK,
        alone_beside=1,
        stop=stop,
        progress=progress,
    )
    if not order.feasible or order.interrupted:
        return Served(problem, solution, (), ())
    missed = unmet(problem, goals, order.solution.dose_gy)
    delivered = _to_deliver(problem, goals, order)
    return Served(delivered, order.solution, _told(problem, goals, order), (), _met(goals, missed))


def _met(goals: Goals, missed: tuple[str, ...]) -> tuple[Limit, ...]:
    """Limits of priority "goal" that hold."""
    return tuple(limit for limit in goals.ceilings if f"{limit.structure} {limit.label}" not in missed)


def _to_deliver(problem: Problem, goals: Goals, found: Priorities) -> Problem:
    """The goals in order as one problem, in which what organs have reached is a limit: segments must not lose it."""
    dose_gy = found.solution.dose_gy
    kept = [
        replace(
            limit,
            objective=limit.objective.tightened(-max(0.0, float(np.max(problem.excess_gy(dose_gy, limit))))),
            gap_gy=INSIDE * float(np.min(getattr(limit.objective, "level_gy", 0.0))),
        )
        for limit in goals.ceilings
    ]
    return replace(problem, limits=(*problem.limits, *kept))


def asked_inside(problem: Problem, served: Served, lost: Sequence[tuple[Limit, float]]) -> Problem:
    """The problem with goals that were lost on the way to a deliverable plan, each aimed at so many Gy inside.

    Goals in order are limits already, which then hold farther inside. Goals that could all be had at once become strong
    wishes: what segments cannot do must not cost the targets their dose.
    """
    if served.order:
        by = {(goal.structure, goal.label): gy for goal, gy in lost}
        limits = (replace(one, gap_gy=one.gap_gy + by.get((one.structure, one.label), 0.0)) for one in problem.limits)
        return replace(problem, limits=tuple(limits))
    wishes = (Wish(goal.structure, goal.objective.tightened(gy), KEPT, goal.quantity, goal.label) for goal, gy in lost)
    return replace(problem, wishes=(*problem.wishes, *wishes))


def unmet(problem: Problem, goals: Goals, dose_gy: Float) -> tuple[str, ...]:
    """Goals that a dose of the rows, Gy per course, does not meet."""
    return tuple(
        f"{limit.structure} {limit.label}"
        for limit in goals.asked
        if float(np.max(problem.excess_gy(dose_gy, limit))) > 0
    )


def _told(problem: Problem, goals: Goals, found: Priorities) -> tuple[OrderedGoal, ...]:
    missed = set(unmet(problem, goals, found.solution.dose_gy))
    printed = {f"{limit.structure} {limit.label}" for limit in goals.asked}
    return tuple(
        OrderedGoal(
            label=step.goal.label,
            reached_gy=max(step.reached_gy),
            kept_gy=max(step.kept_gy),
            met=step.goal.label not in missed if step.goal.label in printed else None,
            cost_gy=max(0.0, *step.price_gy) if step.price_gy else 0.0,
        )
        for step in found.steps
    )


def _fell_short(solution: Solution) -> str:
    """Sentence about hard limits that the search did not reach although they can hold together."""
    beyond = [excess for excess in solution.excess if excess.excess_gy > 0]
    listed = ", ".join(f"{excess.structure} {excess.label} by {excess.excess_gy:.2f} Gy" for excess in beyond)
    return f"the hard limits do not contradict each other, but the optimiser's plan is still beyond {listed}"
