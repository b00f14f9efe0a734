"""Courses whose phases are planned together: one search for all fluences, then phase by phase beside the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailort import optimisation
from tailort.optimisation import Limit, Problem, solve
from tailort.optimisation.objectives import Added, Physical
from tailort.patient import Dose, Prescription
from tailort.workflow.bench import Bench, Fluence
from tailort.workflow.calibrating import calibrated
from tailort.workflow.clock import StageClock
from tailort.workflow.fluence_plans import SMOOTHNESS, deliverable, first_weights, share_done
from tailort.workflow.joint import Joint, PhasePart, joint_problem
from tailort.workflow.normalising import TOLD, Scaled, reached_gy, times
from tailort.workflow.ordering import Served, serve
from tailort.workflow.phases import Phase
from tailort.workflow.records import PhasePlan
from tailort.workflow.wanted import before_of

Float = NDArray[np.float64]

# Halvings of the range in which the factor of a plan is looked for.
STEPS = 16
# How often all plans are made at most, and how much more dose the last may need to be done.
ROUNDS, ENOUGH = 2, 1.002


def plan_together(
    bench: Bench,
    phases: Sequence[Phase],
    course: Sequence[Prescription],
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> tuple[PhasePlan, ...]:
    """Plan all phases of a course as one.

    The fluences of all phases are found together. Then each is made deliverable in turn, beside the doses of the plans
    before it, as the engine finds them, and those of the fluences after it; its own fluence is found again where the
    plans before it came out otherwise. The MU of the last plan hold the limits on the sum as the engine finds it; those
    of the others hold them on the sum with the later fluences' doses, which only the optimiser's voxels know. Where
    that leaves the last plan too little for its prescriptions, all are made once more beside the dose that it needs.

    Parameters
    ----------
    bench : Bench
        The patient.
    phases : sequence of Phase
        In order, each by fluence.
    course : sequence of Prescription
        What each target gets in all phases.
    clock, stop, keep
        As for `plan`.
    """
    beams = []
    for phase in phases:
        with clock.stage(f"influence {phase.label}") as tell:
            beams.append(bench.fluence(phase.technique, phase.shadows, phase.positions, tell))
    with clock.stage("optimise all phases") as tell:
        joint, start = _asked(bench, phases, course, beams)
        served = serve(
            joint.problem, joint.goals, start, stop, lambda p: tell(share_done(p.iteration)),
            weighed=any(phase.weighs_goals for phase in phases),
        )  # fmt: skip
        if served.solution.feasible:
            keep()
    fluences_mu = joint.dose_map.split(served.solution.weights_mu)
    doses_gy = joint.dose_map.of_phases(served.solution.weights_mu)
    rounds: list[tuple[PhasePlan, ...]] = []
    for _ in range(ROUNDS):
        made: list[PhasePlan] = []
        for n, phase in enumerate(phases):
            problem = replace(joint, problem=served.problem).alone(n, doses_gy)
            own = Served(problem, replace(served.solution, weights_mu=fluences_mu[n]), served.order, served.notes)
            if made or rounds:
                own = _found_again(own, phase, clock, stop)
            if made:
                own = replace(own, order=(), notes=())
            # Nothing is kept for later phases in part: their dose is known.
            phase = replace(phase, earlier=tuple(one.dose for one in made), share=1.0)
            held = None if n + 1 == len(phases) else _held(bench, joint.alone(n, doses_gy))
            made.append(deliverable(bench, phase, beams[n], own, clock, stop, held))
            doses_gy[n] = bench.in_rows(made[-1].dose.image)
        rounds.append(tuple(made))
        needed = _needed(bench, made[-1])
        if needed <= ENOUGH or not served.solution.feasible or stop():
            break
        # The last phase found too little left: the ones before it make room for what it needs.
        doses_gy[-1] = needed * doses_gy[-1]
    return min(rounds, key=lambda plans: max(_needed(bench, plan) for plan in plans))


def _needed(bench: Bench, made: PhasePlan) -> float:
    """How many times its dose a plan would need to meet all its prescriptions."""
    return max(p.dose_gy / max(reached_gy(bench, p, made.plan, made.dose), 1e-9) for p in made.plan.prescriptions)


def _found_again(before: Served, phase: Phase, clock: StageClock, stop: Callable[[], bool]) -> Served:
    """The fluence of one phase beside what the others' plans have become."""
    with clock.stage(f"optimise {phase.label}") as tell:
        solution = solve(
            before.problem, before.solution.weights_mu, None, stop, lambda p: tell(share_done(p.iteration))
        )
    return replace(before, solution=solution)


def _asked(
    bench: Bench, phases: Sequence[Phase], course: Sequence[Prescription], beams: Sequence[Fluence]
) -> tuple[Joint, Float]:
    """The problem of all phases and the weights to start from, MU per fraction."""
    rows = bench.rows
    constraints = tuple(c for c in phases[0].constraints if c.structure in rows.sets)
    targets = list(dict.fromkeys(p.target for phase in phases for p in phase.prescriptions))
    names = dict.fromkeys([*targets, *(c.structure for c in constraints)])
    parts, starts = [], []
    for phase, own in zip(phases, beams, strict=True):
        influence = own.influence
        bare = Problem(influence, phase.lead.fractions, rows.sets, ())
        reference_mu = optimisation.reference_weight(bare, phase.lead.dose_gy, phase.lead.target)
        smooth = optimisation.Smoothness.of(influence.beamlets, reference_mu, SMOOTHNESS)
        parts.append(PhasePart(phase.number, phase.prescriptions, influence, smooth))
        starts.append(first_weights(bench, phase, bare.size, reference_mu))
    joint = joint_problem(
        parts,
        constraints,
        course,
        {name: rows.sets[name] for name in names},
        {name: bench.volumes_cm3[name] for name in names},
        {name: optimisation.distances_mm(bench.grid, rows.voxels, rows.sets[name]) for name in targets},
        (lambda c: before_of(bench, phases[0], c)) if phases[0].before else None,
    )
    return joint, np.concatenate(starts)


def _held(bench: Bench, limited: Problem) -> Callable[[Scaled], Scaled]:
    """Keep a plan within the limits with the doses of the phases after it, which only the optimiser's voxels know.

    What histograms say beyond the voxels is taken from the plan's own dose.
    """

    def held(scaled: Scaled) -> Scaled:
        rows_gy = bench.in_rows(scaled.dose.image)
        farther_gy = [_farther_gy(bench, limited, limit, scaled.dose) for limit in limited.limits]

        def beyond_gy(factor: float) -> dict[str, float]:
            found = dict[str, float]()
            for limit, more_gy in zip(limited.limits, farther_gy, strict=True):
                gy = float(np.max(limited.excess_gy(factor * rows_gy, limit))) + factor * more_gy
                found[limit.structure] = max(gy, found.get(limit.structure, 0.0))
            return {name: gy for name, gy in found.items() if gy > 0}

        lack_gy = beyond_gy(1.0)
        if not lack_gy:
            return scaled
        low, high = 0.0, 1.0
        # Where the others alone are beyond a limit, this plan cannot mend that: it stays as it is prescribed.
        if not beyond_gy(0.0):
            for _ in range(STEPS):
                middle = 0.5 * (low + high)
                low, high = (low, middle) if beyond_gy(middle) else (middle, high)
        lack_gy |= {name: max(gy, lack_gy.get(name, 0.0)) for name, gy in scaled.lack_gy.items()}
        factor = low or 1.0
        plan, dose = times(scaled.plan, scaled.dose, factor)
        told = f"hard limits keep the dose, beside that of later phases, at {100.0 * factor:.1f} % of what it would be"
        more = (told,) if factor < 1.0 - TOLD else ()
        return replace(
            scaled, plan=plan, dose=dose, lack_gy=lack_gy, notes=(*scaled.notes, *more),
            held_down=(*scaled.held_down, *more),
        )  # fmt: skip

    return held


def _farther_gy(bench: Bench, limited: Problem, limit: Limit, dose: Dose) -> float:
    """By how much a structure's histogram is beyond a limit where its voxels just hold it, Gy of the quantity."""
    if isinstance(limit.quantity, Added):
        values = limit.quantity.own.of(dose.image.values.astype(np.float64))
        dose = replace(dose, image=dose.image.with_values(values.astype(np.float32)))
    alone = replace(limited, wishes=(), limits=(replace(limit, quantity=Physical(), gap_gy=0.0),))
    return calibrated(bench, alone, dose).limits[0].gap_gy
