"""Plans made for a patient who may lie off: tumours in place of their PTVs, targets and limits in every position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.evaluation import Scenario
from tailort.optimisation import Goals, Problem, VoxelSet
from tailort.optimisation.scenarios import ScenarioSets, named, robust, united
from tailort.patient import Constraint, Prescription, StructureSet
from tailort.protocols import Technique
from tailort.targets import Step
from tailort.workflow.robustness import clinical_targets, inside

Float = NDArray[np.float64]


def tumours_for(
    prescriptions: Sequence[Prescription],
    techniques: Sequence[Technique],
    steps: Sequence[Step],
    structures: StructureSet,
) -> tuple[Prescription, ...]:
    """What is prescribed to PTVs, asked of the volumes that they are grown from.

    Raises
    ------
    InputError
        For courses of several phases, 3-D conformal fields, and PTVs of which nobody knows what they are grown from.
    """
    if len({p.phase for p in prescriptions}) > 1:
        raise InputError(
            "--robust plans courses of one phase; this protocol has "
            f"{len({p.phase for p in prescriptions})}; leave it out, and --setup-errors judges the plan"
        )
    for technique in techniques:
        if technique.kind == "3dcrt":
            raise InputError(
                "--robust needs beamlets to optimise (imrt or vmat), and this plan is 3dcrt, whose aperture margin "
                "stands for set-up errors; leave it out or choose another --technique"
            )
    for p in prescriptions:
        if not inside(p.target, steps, structures):
            raise InputError(
                f"--robust prescribes to what lies inside a PTV's margin, and nobody knows what '{p.target}' was grown "
                "from; make it by a target recipe, or prescribe to its CTV"
            )
    return tuple(one.prescription for one in clinical_targets(prescriptions, steps, structures))


def moving(prescriptions: Sequence[Prescription], constraints: Sequence[Constraint]) -> tuple[str, ...]:
    """Structures whose voxels are needed in every position: targets, and those with a hard limit."""
    hard = [c.structure for c in constraints if c.priority == "hard"]
    return tuple(dict.fromkeys([*(p.target for p in prescriptions), *hard]))


def united_sets(
    sets: Mapping[str, VoxelSet], targets: Sequence[str], positions: Sequence[Scenario]
) -> dict[str, VoxelSet]:
    """Each target with the voxels of all its positions."""
    found = {name: [sets[_in(name, one)] for one in positions if _in(name, one) in sets] for name in targets}
    return {name: united(name, own) for name, own in found.items()}


def in_every_position(
    problem: Problem, goals: Goals, sets: Mapping[str, VoxelSet], targets: Sequence[str], positions: Sequence[Scenario],
    painted_gy: Mapping[str, Mapping[str, Float]] | None = None,
) -> tuple[Problem, Goals]:  # fmt: skip
    """The problem whose targets are served in the worst position and whose limits hold in each, and its goals.

    Parameters
    ----------
    problem, goals : Problem, Goals
        Of the planned position, with the targets' `united_sets`.
    sets : mapping of str to VoxelSet
        Of the rows: of each target and limited structure one for each position, named by `named`.
    targets : sequence of str
        Of the prescriptions.
    positions : sequence of Scenario
        The planned one first.
    painted_gy : mapping of str to mapping of str to (rows,) float or None
        What every row is to get of each painted target, by position.
    """
    limited = list(dict.fromkeys(limit.structure for limit in problem.limits))
    wanted = [*targets, *limited]
    scenarios = [
        ScenarioSets(one.name, {name: sets[_in(name, one)] for name in wanted if _in(name, one) in sets})
        for one in positions
    ]

    def over(asked: Problem) -> Problem:
        return robust(asked, scenarios, targets=targets, limited=limited, aim="worst", painted_gy=painted_gy)

    made = over(problem)
    ranks = tuple(
        replace(goal, wishes=over(replace(problem, wishes=goal.wishes, limits=())).wishes) for goal in goals.ranks
    )
    return made, replace(goals, wishes=made.wishes, limits=made.limits, sets=made.sets, ranks=ranks)


def _in(name: str, position: Scenario) -> str:
    return name if position.is_nominal else named(name, position.name)
