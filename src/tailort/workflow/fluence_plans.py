"""Plans by fluence: beamlets are optimised, then made deliverable as segments or arcs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort import optimisation
from tailort.errors import InputError
from tailort.optimisation import Delivery, Goals, Limit, Problem, Progress, Solution, delivery_of
from tailort.optimisation.arc import ArcDelivery, reweighed_arcs, sequence_arcs
from tailort.optimisation.objectives.dose_volume import dose_at
from tailort.optimisation.scenarios import structure_of
from tailort.optimisation.sliding_window import SlideDelivery, reslid, slide
from tailort.optimisation.solve import Effort
from tailort.workflow.angles import with_angles
from tailort.workflow.bench import Bench, Fluence
from tailort.workflow.calibrating import beyond_gy, calibrated, disagreement, tightened
from tailort.workflow.clock import StageClock
from tailort.workflow.normalising import Scaled, scaled_to_prescription
from tailort.workflow.ordering import BESIDE_LIMITS, Served, asked_inside, serve
from tailort.workflow.phases import Phase
from tailort.workflow.records import Convergence, PhasePlan
from tailort.workflow.robust_plans import in_every_position
from tailort.workflow.wanted import painted_in, wanted_of

Float = NDArray[np.float64]

# Weight of the smoothness of the fluence, in the unit of the wishes.
SMOOTHNESS = 100.0
# A segment a beam for so many beamlets, between these numbers.
BEAMLETS_A_SEGMENT = 60
SEGMENTS_A_BEAM = (12, 14)
# Sectors of arcs are cut into so many intervals between control points, and leaves take so many steps at first.
INTERVALS_A_SECTOR, ARC_STEPS = 4, 400
# Most corrections by the dose of the deliverable plan, each with so many steps of the leaves.
SEGMENT_CORRECTIONS, SLIDING_CORRECTIONS, ARC_CORRECTIONS = (40, 20, 20, 20), (40, 20, 20, 20), (100, 50, 50)
# A target's metrics agree when the optimiser and the engine differ by no more than this share of its prescription.
AGREES = 0.01
# What a limit still lacks is asked for so many times over: the next correction moves doses between voxels again.
ASKED_OVER = 2.0
# A lost goal is asked for no farther inside than this share of its dose: it must not cost the targets theirs.
MOST_INSIDE = 0.08

Made = Delivery | SlideDelivery | ArcDelivery
Held = Callable[[Scaled], Scaled]


def plan_by_fluence(
    bench: Bench, phase: Phase, clock: StageClock, stop: Callable[[], bool], keep: Callable[[], None]
) -> PhasePlan:
    """Optimise, sequence and compute one phase with fixed beams or arcs."""
    angled = with_angles(bench, phase, fluence_problem, clock, stop)
    phase = angled.phase
    with clock.stage(f"influence {phase.label}") as tell:
        beams = bench.fluence(phase.technique, phase.shadows, phase.positions, tell)
    with clock.stage(f"optimise {phase.label}") as tell:
        problem, goals, reference_mu = fluence_problem(bench, phase, beams)
        start = first_weights(bench, phase, problem.size, reference_mu)
        served = serve(problem, goals, start, stop, lambda p: tell(share_done(p.iteration)), weighed=phase.weighs_goals)
        if served.solution.feasible:
            keep()
    made = deliverable(bench, phase, beams, served, clock, stop)
    # The fluence of angles that were not chosen to the end is no start for a run that chooses them to the end.
    kept = None if angled.stopped else made.fluence_mu
    return replace(made, notes=(*angled.notes, *made.notes), fluence_mu=kept)


def deliverable(
    bench: Bench,
    phase: Phase,
    beams: Fluence,
    served: Served,
    clock: StageClock,
    stop: Callable[[], bool],
    held: Held | None = None,
) -> PhasePlan:
    """Make a fluence deliverable, at its prescriptions.

    Parameters
    ----------
    bench, phase, beams
        The patient, what is asked, and the beamlets.
    served : Served
        The fluence.
    clock, stop
        As for `plan`.
    held : callable or None
        Holds a plan that is scaled to its prescriptions to more than `scaled_to_prescription` looks at.
    """
    fluence = served.solution
    work = _Work(bench, phase, beams, clock, stop, held)
    delivery, scaled, apart = work.delivered(served)
    end = _end(fluence, delivery.solution, stop())
    return PhasePlan(
        phase.number,
        phase.technique.kind,
        scaled.plan,
        scaled.dose,
        end,
        delivery_of(scaled.plan, bench.machine),
        served.order,
        (*served.notes, *scaled.notes),
        fluence.weights_mu,
        apart,
        scaled.held_down,
    )


def first_weights(bench: Bench, phase: Phase, size: int, reference_mu: float) -> Float:
    """First weights, MU per fraction: those of an interrupted run, else even ones."""
    kept = bench.options.starts.get(phase.label)
    if kept is None:
        return np.full(size, reference_mu)
    if kept.shape != (size,) or not np.isfinite(kept).all() or kept.min() < 0:
        raise InputError(
            f"the run to be resumed has {kept.size} beamlets in plan '{phase.label}', this one {size}; resume "
            "with the same case, protocol and technique"
        )
    return kept.astype(np.float64)


def _end(fluence: Solution, last: Solution, stopped: bool) -> Convergence:
    return Convergence(
        converged=fluence.converged and last.converged and not stopped,
        reason=f"fluence: {fluence.reason}; segments: {last.reason}",
        iterations=fluence.iterations + last.iterations,
        optimality=last.optimality,
        kkt_residual=last.kkt_residual,
        interrupted=stopped,
    )


def fluence_problem(bench: Bench, phase: Phase, beams: Fluence) -> tuple[Problem, Goals, float]:
    """Tell what is asked of the beamlets' weights, what that is made of, and the even weight to start from, MU.

    Parameters
    ----------
    bench : Bench
        The patient.
    phase : Phase
        What is asked.
    beams : Fluence
        The beamlets.
    """
    goals = wanted_of(bench, phase)
    problem = Problem(beams.influence, phase.lead.fractions, goals.sets, goals.wishes, goals.limits)
    reference_mu = optimisation.reference_weight(problem, phase.lead.dose_gy, phase.lead.target)
    if phase.positions:
        problem, goals = in_every_position(
            problem, goals, bench.rows.sets, [p.target for p in phase.prescriptions], phase.positions,
            _painted_by_position(bench, phase),
        )  # fmt: skip
    smooth = optimisation.Smoothness.of(beams.influence.beamlets, reference_mu, SMOOTHNESS)
    return replace(problem, smoothness=smooth), goals, reference_mu


def _painted_by_position(bench: Bench, phase: Phase) -> dict[str, dict[str, Float]]:
    """What each row is to get of painted targets, by target and position of the patient."""
    found: dict[str, dict[str, Float]] = {}
    for one in phase.positions:
        for name, level_gy in painted_in(bench, phase, one.shift_mm).items():
            found.setdefault(name, {})[one.name] = level_gy
    return found


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
    held: Held | None = None

    def delivered(self, served: Served) -> tuple[Made, Scaled, float]:
        """Make a fluence deliverable, and let the dose that the engine finds of it correct it until both agree.

        Hard limits that lack something, and goals that the fluence meets and its plan does not, are asked for farther
        inside each time.

        Returns
        -------
        what is delivered, the same as a plan at its prescription, and how far the optimiser's dose for it is from the
        engine's, as a share of a target's prescription
        """
        label, problem = self.phase.label, served.problem
        # What a phase may take of a goal for the course is a guide until the last one.
        kept = served.kept if self.phase.share >= 1.0 else ()
        with self.clock.stage(f"{self._parts} {label}") as tell:
            delivery = self._first(problem, served.solution.weights_mu, lambda p: tell(share_done(p.iteration)))
        share = self._share_reached(served.solution)
        scaled, apart = self._scaled(delivery, share)
        tried: list[tuple[Made, Scaled, float, float]] = []
        farther_gy, lost_gy = dict[str, float](), dict[int, float]()
        beyond, known = self._beyond(problem, kept, scaled), problem.limits
        for leaf_steps in self._corrections:
            if self.stop():
                break
            # The first correction is by the engine's dose alone: most of what lacks before it is the optimiser's error.
            for name, lack_gy in scaled.lack_gy.items() if tried else ():
                farther_gy[name] = farther_gy.get(name, 0.0) + ASKED_OVER * lack_gy
            for n, gy in beyond.items() if tried else ():
                most_gy = MOST_INSIDE * float(np.min(getattr(kept[n].objective, "level_gy", 0.0)))
                lost_gy[n] = min(lost_gy.get(n, 0.0) + ASKED_OVER * gy, most_gy)
            with self.clock.stage(f"correct {label}") as tell:
                met = calibrated(self.bench, replace(problem, limits=known), scaled.made)
                # What still lacks is not asked for less because the histogram of the last plan was nearer its voxels.
                pairs = zip(met.limits, problem.limits, strict=True)
                known = tuple(one if structure_of(one.structure) in farther_gy else own for one, own in pairs)
                aim = tightened(met, farther_gy, after_courses=bool(self.phase.before))
                aim = asked_inside(aim, served, [(kept[n], gy) for n, gy in lost_gy.items()])
                rows_gy = self.bench.in_rows(scaled.made.image)
                delivery = self._again(aim, delivery, rows_gy, leaf_steps, lambda p: tell(share_done(p.iteration)))
            scaled, apart = self._scaled(delivery, share)
            beyond = self._beyond(problem, kept, scaled)
            tried.append((delivery, scaled, apart, sum(beyond.values())))
            if not scaled.lack_gy and not beyond and apart <= AGREES:
                break
        if not tried:
            return delivery, scaled, apart
        best = min(tried, key=lambda one: (one[1].most_lack_gy, max(one[2], AGREES), one[3], one[2]))
        return best[:3]

    def _beyond(self, problem: Problem, kept: tuple[Limit, ...], scaled: Scaled) -> dict[int, float]:
        """By how much goals that the fluence meets are lost in the plan that is made of it, Gy."""
        if not kept:
            return {}
        found = beyond_gy(self.bench, problem, kept, scaled.dose)
        return {n: gy for n, gy in enumerate(found) if gy > 0}

    @property
    def _slides(self) -> bool:
        return self.phase.technique.delivery == "sliding-window"

    @property
    def _parts(self) -> str:
        return "arcs" if self.beams.arcs else "leaves" if self._slides else "segments"

    @property
    def _corrections(self) -> tuple[int, ...]:
        return ARC_CORRECTIONS if self.beams.arcs else SLIDING_CORRECTIONS if self._slides else SEGMENT_CORRECTIONS

    @property
    def _effort(self) -> Effort | None:
        """How hard limits are held while the MU of what is delivered are found."""
        return BESIDE_LIMITS if self.phase.weighs_goals else None

    def _first(self, problem: Problem, fluence_mu: Float, tell: Callable[[Progress], None]) -> Made:
        influence, machine = self.beams.influence, self.bench.machine
        if self.beams.arcs:
            return sequence_arcs(
                problem, influence, fluence_mu, machine, self.beams.arcs, machine.motion,
                intervals_per_sector=INTERVALS_A_SECTOR, leaf_steps=ARC_STEPS, effort=self._effort,
                stop=self.stop, progress=tell,
            )  # fmt: skip
        if self._slides:
            return slide(
                problem, influence, fluence_mu, machine, machine.motion,
                interdigitation=machine.motion.interdigitates, effort=self._effort, stop=self.stop, progress=tell,
            )  # fmt: skip
        count, beamlets = len(influence.beamlets.setups), len(influence.beamlets)
        segments = int(np.clip(round(beamlets / count / BEAMLETS_A_SEGMENT), *SEGMENTS_A_BEAM))
        return optimisation.sequence(
            problem,
            influence,
            fluence_mu,
            machine,
            segments_per_beam=segments,
            effort=self._effort,
            stop=self.stop,
            progress=tell,
        )

    def _again(
        self, problem: Problem, delivery: Made, rows_gy: Float, leaf_steps: int, tell: Callable[[Progress], None]
    ) -> Made:
        influence, machine = self.beams.influence, self.bench.machine
        if isinstance(delivery, ArcDelivery):
            return reweighed_arcs(
                problem, influence, delivery, machine, machine.motion, rows_gy, leaf_steps=leaf_steps,
                effort=self._effort, stop=self.stop, progress=tell,
            )  # fmt: skip
        if isinstance(delivery, SlideDelivery):
            return reslid(
                problem, influence, delivery, machine, machine.motion, rows_gy, leaf_steps=leaf_steps,
                effort=self._effort, stop=self.stop, progress=tell,
            )  # fmt: skip
        return optimisation.reweighed(
            problem,
            influence,
            delivery,
            machine,
            rows_gy,
            leaf_steps=leaf_steps,
            effort=self._effort,
            stop=self.stop,
            progress=tell,
        )

    def _share_reached(self, fluence: Solution) -> float:
        """Share of its prescriptions that the fluence reaches, at most 1.

        Where goals are weighed limits may cost a target its coverage. What the fluence does not reach no correction
        brings back: a limit that lacks something only then need not be asked for farther inside.
        """
        share = 1.0
        for p in self.phase.prescriptions if self.phase.weighs_goals else ():
            # A structure in the target of which no limit asks anything has no voxels of its own.
            covered, voxels = p.normalisation.covered_share, self.bench.rows.sets.get(p.tied_to)
            if covered is not None and voxels is not None:
                reached = dose_at(fluence.dose_gy[voxels.rows], voxels.volume, covered)
                share = min(share, max(reached / p.dose_gy, 1e-9))
        return share

    def _scaled(self, delivery: Made, share: float) -> tuple[Scaled, float]:
        bench, phase = self.bench, self.phase
        with self.clock.stage(f"dose of {phase.label}") as tell:
            made, dose = bench.dose_of(phase.label, delivery.beams, phase.prescriptions, tell)
        sets = {p.target: bench.rows.sets[p.target] for p in phase.prescriptions}
        apart = disagreement(phase.prescriptions, sets, delivery.solution.dose_gy, bench.in_rows(dose.image))
        scaled = scaled_to_prescription(bench, phase, made, dose, share)
        return (scaled if self.held is None else self.held(scaled)), apart
