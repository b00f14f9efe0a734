"""A course: its phases planned one after the other, fractions handed over, regions brought up, the sum judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailort.evaluation import Scenario, assess, histograms
from tailort.geometry import interpolate
from tailort.patient import Constraint, Dose, Prescription
from tailort.protocols import Technique, after_hand_over, fractions_to_move, joined
from tailort.protocols.protocol import ReportMetric
from tailort.protocols.schema import HandOver, Supplement
from tailort.workflow.bench import Bench, steering
from tailort.workflow.clock import StageClock
from tailort.workflow.conformal_plans import plan_conformal, plan_supplement
from tailort.workflow.fluence_plans import plan_by_fluence
from tailort.workflow.normalising import reference_point
from tailort.workflow.phases import Phase, course_dose, phase_label
from tailort.workflow.records import PhasePlan, PlanResult

# Smaller overlaps of targets are not worth a reader's time, cm3.
LEAST_OVERLAP_CM3 = 0.1
MAKERS = {"imrt": plan_by_fluence, "vmat": plan_by_fluence, "3dcrt": plan_conformal}


@dataclass(frozen=True)
class Request:
    """One plan that is wanted.

    Parameters
    ----------
    title, label : str
        For people, and short.
    prescriptions, course, constraints, report : tuple
        As the protocol gives them.
    techniques : tuple of Technique
        In the order in which they are tried: the first whose plan keeps every hard limit is taken.
    supplements : tuple of Supplement
        Fields that bring a region up.
    positions : tuple of Scenario
        Where the patient may lie, the planned position first, for a robust plan; else nothing.
    """

    title: str
    label: str
    prescriptions: tuple[Prescription, ...]
    course: tuple[Prescription, ...]
    constraints: tuple[Constraint, ...]
    report: tuple[ReportMetric, ...]
    techniques: tuple[Technique, ...]
    supplements: tuple[Supplement, ...] = ()
    positions: tuple[Scenario, ...] = ()

    @property
    def phases(self) -> list[int]:
        """Numbers of the phases, in order."""
        return sorted({p.phase for p in self.prescriptions})

    def prescribed_in(self, phase: int) -> tuple[Prescription, ...]:
        """Prescriptions of one phase."""
        return tuple(p for p in self.prescriptions if p.phase == phase)

    def highest_gy(self, phase: int) -> float:
        """Highest dose of one phase, Gy."""
        return max(p.dose_gy for p in self.prescribed_in(phase))


def plan_course(
    bench: Bench,
    request: Request,
    requests: Sequence[Request],
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> PlanResult:
    """Plan a course by the first technique that keeps its hard limits, and judge it.

    Parameters
    ----------
    bench : Bench
        The patient.
    request : Request
        What is wanted.
    requests : sequence of Request
        All plans of the run: those with the same technique share their beamlets.
    clock, stop, keep
        As for `plan`.

    Raises
    ------
    InputError
        When the machine cannot deliver a technique of the run.
    """
    result = None
    for one in requests:
        for technique in one.techniques:
            for number in one.phases:
                bench.require_deliverable(technique.of_phase(number))
    for technique in request.techniques:
        wanted = replace(request, prescriptions=joined(request.prescriptions, technique))
        phases = _phases(bench, wanted, technique, requests, clock, stop, keep)
        notes = _precedence(bench, wanted)
        if technique.hand_over is not None:
            with clock.stage(f"hand over {request.label}"):
                phases, moved = _handed_over(bench, wanted, technique.hand_over, phases)
                notes += moved
        for supplement in request.supplements:
            phases += _supplement(bench, wanted, supplement, phases, clock, stop)
        with clock.stage(f"judge {request.label}"):
            result = _judge(bench, request, phases, notes)
        if not result.scorecard.hard_failures or stop():
            break
    assert result is not None  # a protocol has a technique
    return result


def _precedence(bench: Bench, request: Request) -> tuple[str, ...]:
    """Where targets of different dose in the same fractions overlap, and which dose holds there."""
    notes = []
    for number in request.phases:
        levels = sorted(request.prescribed_in(number), key=lambda p: -p.dose_gy)
        for n, high in enumerate(levels):
            for low in levels[n + 1 :]:
                common = bench.overlaps_cm3(high.target, low.target) if low.dose_gy < high.dose_gy else 0.0
                if common >= LEAST_OVERLAP_CM3:
                    notes.append(
                        f"{request.label}: {high.target} ({high.dose_gy:g} Gy) and {low.target} ({low.dose_gy:g} Gy) "
                        f"overlap in {common:.1f} cm3, where the higher dose holds"
                    )
    return tuple(notes)


def _phases(
    bench: Bench,
    request: Request,
    technique: Technique,
    requests: Sequence[Request],
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> tuple[PhasePlan, ...]:
    made: list[PhasePlan] = []
    for number in request.phases:
        earlier = tuple(done.dose for done in made)
        phase = phase_of(bench, request, requests, technique, number, earlier)
        # A plan is kept once its last phase holds its limits.
        last = number == request.phases[-1]
        made.append(MAKERS[phase.technique.kind](bench, phase, clock, stop, keep if last else lambda: None))
    return tuple(made)


def phase_of(
    bench: Bench,
    request: Request,
    requests: Sequence[Request],
    technique: Technique,
    number: int,
    earlier: tuple[Dose, ...],
) -> Phase:
    """Tell what is asked of one phase of a course.

    Parameters
    ----------
    bench : Bench
        The patient.
    request : Request
        The course, its prescriptions joined for the technique.
    requests : sequence of Request
        All plans of the run: those with the same technique share their beamlets.
    technique : Technique
        Of the course.
    number : int
        Of the phase.
    earlier : tuple of Dose
        Of the phases before it.
    """
    # What fractions are handed over for is not in the way of the phase that they leave.
    steered = technique.hand_over.structure.lower() if technique.hand_over else None
    numbers = request.phases
    whole_gy = sum(request.highest_gy(n) for n in numbers)
    so_far_gy = sum(request.highest_gy(n) for n in numbers if n <= number)
    return Phase(
        number=number,
        label=phase_label(request.label, number, len(numbers) + len(request.supplements)),
        technique=technique.of_phase(number),
        prescriptions=request.prescribed_in(number),
        constraints=tuple(c for c in steering(request.constraints, bench.structures) if c.structure.lower() != steered),
        earlier=earlier,
        share=1.0 if number == numbers[-1] else so_far_gy / whole_gy,
        shadows=_shadows(requests, request, technique, number),
        positions=request.positions,
    )


def _shadows(requests: Sequence[Request], request: Request, technique: Technique, phase: int) -> tuple[str, ...]:
    """Targets of this phase in all plans of the same technique, which share their beamlets."""
    own = technique.of_phase(phase)
    alike = [r for r in requests if r.label != request.label and any(t.of_phase(phase) == own for t in r.techniques)]
    return tuple(sorted({p.target for r in (request, *alike) for p in r.prescribed_in(phase)}))


def _handed_over(
    bench: Bench, request: Request, hand_over: HandOver, phases: tuple[PhasePlan, ...]
) -> tuple[tuple[PhasePlan, ...], tuple[str, ...]]:
    """Move fractions from one phase to another until the organ stays below its dose; doses per fraction stay."""
    organ = bench.structures.find(hand_over.structure)
    by_number = {phase.number: phase for phase in phases}
    if organ is None or organ.is_empty or not {hand_over.from_phase, hand_over.to_phase} <= by_number.keys():
        return phases, ()
    before = by_number[hand_over.from_phase].plan.fractions

    def after(moved: int) -> tuple[PhasePlan, ...]:
        prescriptions = after_hand_over(request.prescriptions, hand_over, moved)
        return tuple(
            _with_fractions(phase, own)
            for phase in phases
            if (own := tuple(p for p in prescriptions if p.phase == phase.number))
        )

    def metric_gy(moved: int) -> float:
        dose = course_dose([phase.dose for phase in after(moved)])
        return histograms([organ], dose, single_slice_thickness_mm=bench.slice_mm)[organ.name].value(hand_over.metric)

    moved = fractions_to_move(hand_over, before, metric_gy)
    if not moved:
        return phases, ()
    note = (
        f"{moved} of {before} fractions moved from phase {hand_over.from_phase} to phase {hand_over.to_phase}, so that "
        f"{organ.name} {hand_over.metric} stays below {hand_over.below_gy:g} Gy"
    )
    return after(moved), (note,)


def _with_fractions(phase: PhasePlan, prescriptions: tuple[Prescription, ...]) -> PhasePlan:
    """The same dose per fraction in another number of fractions."""
    fractions = prescriptions[0].fractions
    factor = np.float32(fractions / phase.plan.fractions)
    dose = replace(
        phase.dose, image=phase.dose.image.with_values(phase.dose.image.values * factor), fractions=fractions
    )
    plan = replace(phase.plan, prescriptions=prescriptions, fractions=fractions)
    return replace(phase, plan=plan, dose=dose)


def _supplement(
    bench: Bench,
    request: Request,
    supplement: Supplement,
    phases: tuple[PhasePlan, ...],
    clock: StageClock,
    stop: Callable[[], bool],
) -> tuple[PhasePlan, ...]:
    """A field that brings a region up to a dose; none where little is missing."""
    number = phases[-1].number + 1
    asked = supplement.prescription(0.0, number)
    if asked is None:
        return ()
    point = reference_point(bench, asked, (0.0, 0.0, 0.0))
    delivered_gy = float(interpolate(course_dose([phase.dose for phase in phases]).image, point, 0.0))
    missing = supplement.prescription(delivered_gy, number)
    if missing is None:
        return ()
    label = phase_label(request.label, number, number)
    return (plan_supplement(bench, label, supplement, missing, clock, stop),)


def _judge(bench: Bench, request: Request, phases: tuple[PhasePlan, ...], notes: tuple[str, ...]) -> PlanResult:
    course = course_dose([phase.dose for phase in phases])
    report: dict[str, tuple[str, ...]] = {}
    for metric in request.report:
        report[metric.structure] = (*report.get(metric.structure, ()), metric.metric)
    thick = bench.slice_mm
    card = assess(
        bench.structures,
        course,
        request.constraints,
        request.course,
        metrics=report,
        single_slice_thickness_mm=thick,
    )
    others = [s for s in bench.structures if s.name not in card.histograms]
    curves = {**histograms(others, course, single_slice_thickness_mm=thick), **card.histograms}
    return PlanResult(
        title=request.title,
        label=request.label,
        prescriptions=request.prescriptions,
        constraints=request.constraints,
        phases=phases,
        dose=course,
        scorecard=card,
        dvhs=tuple(curves[s.name] for s in bench.structures if s.name in curves),
        notes=(*notes, *(f"{phase.plan.label}: {note}" for phase in phases for note in phase.notes)),
    )
