"""What a plan of one phase is to do, told to the optimiser."""

from __future__ import annotations

from tailort import optimisation
from tailort.optimisation import Goals
from tailort.workflow.bench import Bench
from tailort.workflow.phases import Phase
from tailort.workflow.robust_plans import united_sets


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
        earlier=(lambda c: phase.earlier_gy(c, rows.voxels)) if phase.earlier or phase.before else None,
        courses_known=bool(phase.before),
    )
