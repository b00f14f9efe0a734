"""Plans by fluence: beamlets are optimised, then made deliverable as segments or arcs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort import optimisation
from tailort.optimisation import Delivery, Problem, Solution
from tailort.optimisation.arc import ArcDelivery, reweighed_arcs, sequence_arcs
from tailort.optimisation.arc_limits import RECALLED_LIMITS
from tailort.patient import Dose, Plan
from tailort.workflow.bench import Bench, Fluence
from tailort.workflow.clock import StageClock
from tailort.workflow.normalising import Scaled, scaled_to_prescription
from tailort.workflow.phases import Phase
from tailort.workflow.records import Convergence, PhasePlan

Float = NDArray[np.float64]

# Weight of the smoothness of the fluence, in the unit of the wishes.
SMOOTHNESS = 100.0
# A segment a beam for so many beamlets, between these numbers.
BEAMLETS_A_SEGMENT = 60
SEGMENTS_A_BEAM = (12, 14)
# How often the dose of the deliverable plan corrects the dose that its MU were optimised on.
CORRECTIONS = 1
# Steps that leaves may take in each correction of arcs.
ARC_CORRECTIONS = (40, 0)


def plan_by_fluence(
    bench: Bench, phase: Phase, clock: StageClock, stop: Callable[[], bool], keep: Callable[[], None]
) -> PhasePlan:
    """Optimise, sequence and compute one phase with fixed beams or arcs."""
    with clock.stage(f"influence {phase.label}") as tell:
        beams = bench.fluence(phase.technique, phase.shadows, tell)
    with clock.stage(f"optimise {phase.label}") as tell:
        problem, reference_mu = _problem(bench, phase, beams)
        start = np.full(problem.size, reference_mu)
        fluence = optimisation.solve(problem, start, stop=stop, progress=lambda p: tell(share_done(p.iteration)))
        if fluence.feasible:
            keep()
    work = _Work(bench, phase, beams, clock, stop)
    deliver = work.arcs if beams.arcs else work.segments
    delivery, scaled = deliver(problem, fluence.weights_mu)
    if scaled.lack_gy and not stop():
        # The dose between voxel centres came closer to a hard limit than the optimiser saw: once more, farther inside.
        tightened = replace(
            problem,
            limits=tuple(replace(t, gap_gy=t.gap_gy + scaled.lack_gy.get(t.structure, 0.0)) for t in problem.limits),
        )
        delivery, scaled = deliver(tightened, fluence.weights_mu)
    return PhasePlan(
        phase.number, phase.technique.kind, scaled.plan, scaled.dose, _end(fluence, delivery.solution, stop())
    )


def _end(fluence: Solution, last: Solution, stopped: bool) -> Convergence:
    return Convergence(
        converged=fluence.converged and last.converged and not stopped,
        reason=f"fluence: {fluence.reason}; segments: {last.reason}",
        iterations=fluence.iterations + last.iterations,
        optimality=last.optimality,
        interrupted=stopped,
    )


def _problem(bench: Bench, phase: Phase, beams: Fluence) -> tuple[Problem, float]:
    """What is asked of the beamlets' weights, and the even weight to start from, MU."""
    rows = bench.rows
    # A structure outside the body has no dose to steer.
    asked = tuple(c for c in phase.limits_so_far() if c.structure in rows.sets)
    named = [p.target for p in phase.prescriptions] + [c.structure for c in asked]
    sets = {name: rows.sets[name] for name in dict.fromkeys(named)}
    distance = {
        p.target: optimisation.distances_mm(bench.grid, rows.voxels, sets[p.target]) for p in phase.prescriptions
    }
    goals = optimisation.objectives_from(
        phase.prescriptions, asked, sets, {name: bench.volumes_cm3[name] for name in sets}, distance,
        earlier=(lambda c: phase.earlier_gy(c, rows.voxels)) if phase.earlier else None,
    )  # fmt: skip
    problem = Problem(beams.influence, phase.lead.fractions, goals.sets, goals.wishes, goals.limits)
    reference_mu = optimisation.reference_weight(problem, phase.lead.dose_gy, phase.lead.target)
    smooth = optimisation.Smoothness.of(beams.influence.beamlets, reference_mu, SMOOTHNESS)
    return replace(problem, smoothness=smooth), reference_mu


def share_done(iteration: int) -> float:
    """Share done that a person is shown: the number of iterations is not known before."""
    return 1.0 - float(0.5 ** (iteration / 60.0))


@dataclass(frozen=True, eq=False)
class _Work:
    """From a fluence to the plan that is scaled to its prescriptions.

    The scale meets every prescription unless a hard limit stops it short; then the coverage that is left is what the
    scorecard shows.
    """

    bench: Bench
    phase: Phase
    beams: Fluence
    clock: StageClock
    stop: Callable[[], bool]

    def segments(self, problem: Problem, fluence_mu: Float) -> tuple[Delivery, Scaled]:
        influence, label = self.beams.influence, self.phase.label
        count, beamlets = len(influence.beamlets.setups), len(influence.beamlets)
        with self.clock.stage(f"segments {label}") as tell:
            delivery = optimisation.sequence(
                problem,
                influence,
                fluence_mu,
                self.bench.machine,
                segments_per_beam=int(np.clip(round(beamlets / count / BEAMLETS_A_SEGMENT), *SEGMENTS_A_BEAM)),
                stop=self.stop,
                progress=lambda p: tell(share_done(p.iteration)),
            )
        made, dose = self._dose(delivery)
        for _ in range(CORRECTIONS):
            if self.stop():
                break
            with self.clock.stage(f"correct {label}") as tell:
                delivery = optimisation.reweighed(
                    problem, influence, delivery, self.bench.machine, self.bench.in_rows(dose.image),
                    stop=self.stop, progress=lambda p: tell(share_done(p.iteration)),
                )  # fmt: skip
            made, dose = self._dose(delivery)
        return delivery, scaled_to_prescription(self.bench, self.phase, made, dose)

    def arcs(self, problem: Problem, fluence_mu: Float) -> tuple[ArcDelivery, Scaled]:
        influence, machine, label = self.beams.influence, self.bench.machine, self.phase.label
        with self.clock.stage(f"arcs {label}") as tell:
            delivery = sequence_arcs(
                problem, influence, fluence_mu, machine, self.beams.arcs, RECALLED_LIMITS, stop=self.stop,
                progress=lambda p: tell(share_done(p.iteration)),
            )  # fmt: skip
        made, dose = self._dose(delivery)
        # Leaves and MU, then the MU alone, follow the dose that the engine finds.
        for leaf_steps in ARC_CORRECTIONS:
            if self.stop():
                break
            with self.clock.stage(f"correct {label}") as tell:
                delivery = reweighed_arcs(
                    problem, influence, delivery, machine, RECALLED_LIMITS, self.bench.in_rows(dose.image),
                    leaf_steps=leaf_steps, stop=self.stop, progress=lambda p: tell(share_done(p.iteration)),
                )  # fmt: skip
            made, dose = self._dose(delivery)
        return delivery, scaled_to_prescription(self.bench, self.phase, made, dose)

    def _dose(self, delivery: Delivery | ArcDelivery) -> tuple[Plan, Dose]:
        with self.clock.stage(f"dose of {self.phase.label}") as tell:
            return self.bench.dose_of(self.phase.label, delivery.beams, self.phase.prescriptions, tell)
