"""What a plan of one phase is to do, told to the optimiser."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tailort import optimisation
from tailort.optimisation import Goals
from tailort.optimisation.goals import Recipe
from tailort.patient import Constraint
from tailort.workflow.bench import Bench
from tailort.workflow.parts import in_voxels, part_around
from tailort.workflow.phases import Phase
from tailort.workflow.robust_plans import united_sets

# A tenth of the volume of a vertebral target, cm3, and the weight of a fall-off so steep that coverage feels it.
WEIGHED_DROP_CM3, WEIGHED_FALL_OFF = 2.0, 100.0

Float = NDArray[np.float64]


def _recipe(phase: Phase) -> Recipe:
    """How strongly wishes pull; where goals are weighed against each other a hot drop must count by itself."""
    hottest = phase.technique.hottest_percent / 100.0
    if phase.weighs_goals:
        return Recipe(hottest=hottest, drop_cm3=WEIGHED_DROP_CM3, fall_off=WEIGHED_FALL_OFF)
    return Recipe(hottest=hottest)


def wanted_of(bench: Bench, phase: Phase) -> Goals:
    """Wishes and limits of a phase beside what the phases before it have given, in the rows of the bench.

    Of a robust plan a target is the voxels of all its positions (`in_every_position` takes them apart).

    Parameters
    ----------
    bench : Bench
        The patient; a structure outside the body has no dose to steer, and nothing is asked of it.
    phase : Phase
        What is asked.
    """
    rows = bench.rows
    asked = tuple(c for c in phase.limits_so_far() if c.structure in rows.sets)
    targets = [p.target for p in phase.prescriptions]
    sets = {name: rows.sets[name] for name in dict.fromkeys([*targets, *(c.structure for c in asked)])}
    if phase.positions:
        sets |= united_sets(rows.sets, targets, phase.positions)
    return optimisation.objectives_from(
        phase.prescriptions,
        asked,
        sets,
        {name: bench.volumes_cm3[name] for name in sets},
        {name: optimisation.distances_mm(bench.grid, rows.voxels, sets[name]) for name in targets},
        recipe=_recipe(phase),
        painted_gy=painted_in(bench, phase, (0.0, 0.0, 0.0)),
        earlier=lambda c: before_of(bench, phase, c),
        courses_known=bool(phase.before),
    )


def painted_in(bench: Bench, phase: Phase, shift_mm: tuple[float, float, float]) -> dict[str, Float]:
    """What each row is to get of the targets whose dose is painted, Gy, where the patient lies off by a shift.

    Parameters
    ----------
    bench : Bench
        The patient.
    phase : Phase
        What is asked.
    shift_mm : (3,) float
        LPS mm; the painting moves with the patient.
    """
    painted = {p.target: p.painted for p in phase.prescriptions if p.painted is not None}
    if not painted:
        return {}
    centres = bench.grid.to_world(np.stack(np.unravel_index(bench.rows.voxels, bench.grid.shape), axis=-1))
    return {name: own.at(centres - np.asarray(shift_mm)) for name, own in painted.items()}


def before_of(bench: Bench, phase: Phase, c: Constraint) -> tuple[Float, ...]:
    """Return what each row has had of a constraint's quantity before a phase, Gy, in each way that it may have been.

    Where an earlier dose is not known it counts as 0; the scorecard says that it is unknown.

    Parameters
    ----------
    bench : Bench
        The patient.
    phase : Phase
        What is asked.
    c : Constraint
        On a structure of the bench.
    """
    if not phase.earlier and not phase.counts_before(c):
        return ()
    part = part_around(bench.grid, [bench.structures[c.structure]])
    return tuple(in_voxels(image, bench.grid, bench.rows.voxels) for image in phase.spent(c, part))
