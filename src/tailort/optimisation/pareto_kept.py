"""What a plan keeps while some of its goals are traded: hard limits, and every other wish nearly as well as reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.objectives import (
    AtMost,
    ComplicationAbove,
    ControlBelow,
    MaxDoseVolume,
    MeanDose,
    MinDoseVolume,
    Objective,
    Quantity,
    SquaredEUDUnderdose,
    SquaredOverdose,
    SquaredSpread,
    SquaredTailUnderdose,
    SquaredUnderdose,
    TailMean,
    UniformDose,
    convex_form,
)
from tailort.optimisation.pareto_goals import TradeGoal, is_affine
from tailort.optimisation.priorities import Slack
from tailort.optimisation.problem import Limit, Problem, VoxelSet
from tailort.optimisation.solve import Solution

Float = NDArray[np.float64]

# Part of the room by which the solver aims inside: what lies between is lost to the trade.
GAP = 0.05
UNDER = (SquaredUnderdose, SquaredTailUnderdose, SquaredEUDUnderdose, MinDoseVolume, ControlBelow)
BOTH_WAYS = (UniformDose, SquaredSpread)


def is_convex(objective: Objective, quantity: Quantity) -> bool:
    """Whether a wish or limit is convex in the beamlets' weights."""
    if isinstance(objective, AtMost):
        return is_convex(objective.objective, quantity)
    if isinstance(objective, MaxDoseVolume | MinDoseVolume):
        return False
    if isinstance(objective, ComplicationAbove) and not objective.is_convex:
        return False
    # EQD2 and BED are convex in the dose: at most so much of them is convex, at least so much is not.
    return is_affine(quantity) or not isinstance(objective, UNDER + BOTH_WAYS)


def kept_beside(
    problem: Problem, solution: Solution, goals: Sequence[TradeGoal], slack: Slack | None = None
) -> Problem:
    """The problem whose plans keep what is not traded.

    Hard limits stay. Every wish becomes a limit on its measure in Gy (`measures_gy`): at most what the plan has reached
    times 1 + `slack.share` plus `slack.least_gy`, so that a protocol's goal that is met stays met within `least_gy`.
    Left out are, on the structures that are traded, the wishes that the trade replaces: those that ask for more of a
    target that is to rise, and on the others those for the lowest mean or tail and those that the plan does not meet.
    The worst that a goal may become (`TradeGoal.worst_gy`) is a limit too. Dose-volume wishes and limits take their
    convex form, which at the plan's dose is kept or broken together with them.

    Parameters
    ----------
    problem : Problem
        With the protocol's wishes and limits.
    solution : Solution
        Its plan.
    goals : sequence of TradeGoal
        What will be traded.
    slack : Slack or None
        None is 10 % and 0.2 Gy.

    Raises
    ------
    InputError
        For wishes or limits on the lowest dose in EQD2 or BED, which have no convex form.
    """
    slack = slack or Slack(0.10, 0.2)
    dose = solution.dose_gy
    limits = tuple(
        replace(one, objective=_convex(problem.sets[one.structure], one.objective, one.quantity, dose))
        for one in problem.limits
    )
    kept = []
    for wish in problem.wishes:
        voxels = problem.sets[wish.structure]
        objective = _convex(voxels, wish.objective, wish.quantity, dose)
        reached = AtMost(objective, 0.0).measure_gy(wish.quantity.of(dose[voxels.rows]), voxels.volume)
        own = [goal for goal in goals if goal.structure == wish.structure]
        if wish.weight == 0 or any(_replaces(goal, wish.objective, reached) for goal in own):
            continue
        room = slack.share * reached + slack.least_gy
        kept.append(
            Limit(wish.structure, AtMost(objective, reached + room), GAP * room, wish.quantity, f"keep '{wish.label}'")
        )
    kept += [
        Limit(
            goal.structure,
            AtMost(goal.objective, goal.bound_gy(goal.worst_gy)),
            GAP * slack.least_gy,
            goal.quantity,
            f"{goal.metric} no worse than {goal.worst_gy:g}",
        )
        for goal in goals
        if goal.worst_gy is not None
    ]
    return replace(problem, wishes=(), limits=(*limits, *kept))


def _convex(voxels: VoxelSet, objective: Objective, quantity: Quantity, dose_gy: Float) -> Objective:
    if isinstance(objective, MaxDoseVolume | MinDoseVolume):
        if 0.0 < objective.share < 1.0:
            objective = convex_form(objective, quantity.of(dose_gy[voxels.rows]), voxels.volume)
        else:
            upper = isinstance(objective, MaxDoseVolume)
            objective = (SquaredOverdose if upper else SquaredUnderdose)(objective.level_gy)
    if not is_convex(objective, quantity):
        raise InputError(
            f"a wish or limit on '{voxels.name}' is on the lowest dose in EQD2 or BED, on a TCP or on a risk by "
            "relative seriality, which is not convex; give it in physical dose to look at trade-offs"
        )
    return objective


def _replaces(goal: TradeGoal, objective: Objective, reached_gy: float) -> bool:
    if goal.rising:
        return isinstance(objective, UNDER)
    return isinstance(objective, MeanDose | TailMean) or (not isinstance(objective, UNDER) and reached_gy > 0)
