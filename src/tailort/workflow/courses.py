"""A course: its phases planned one after the other, fractions handed over, regions brought up, the sum judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tailort.errors import GeometryError
from tailort.evaluation import histograms
from tailort.geometry import interpolate
from tailort.patient import Dose, Prescription, Structure
from tailort.protocols import Technique, after_hand_over, fractions_to_move, joined
from tailort.protocols.schema import HandOver, Supplement
from tailort.radiobiology import course_dose
from tailort.workflow.bench import Bench, steering
from tailort.workflow.clock import StageClock
from tailort.workflow.conformal_plans import plan_conformal, plan_supplement
from tailort.workflow.fluence_plans import plan_by_fluence
from tailort.workflow.joint_plans import plan_together
from tailort.workflow.judging import judge
from tailort.workflow.normalising import reference_point
from tailort.workflow.phases import Phase, in_gray, phase_label
from tailort.workflow.records import PhasePlan, PlanResult
from tailort.workflow.requesting import Request
from tailort.workflow.robustness import is_coverage

# Smaller overlaps of targets are not worth a reader's time, cm3.
LEAST_OVERLAP_CM3 = 0.1
MAKERS = {"imrt": plan_by_fluence, "vmat": plan_by_fluence, "3dcrt": plan_conformal}


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
    for one in requests:
        for technique in one.techniques:
            for number in one.phases:
                bench.require_deliverable(technique.of_phase(number))
    tried: list[str] = []
    for technique in request.techniques:
        is_last = technique is request.techniques[-1]
        wanted = replace(request, prescriptions=joined(request.prescriptions, technique))
        try:
            phases, notes = _planned(bench, wanted, technique, requests, clock, stop, keep)
        except GeometryError as error:
            if is_last:
                raise
            tried.append(f"{request.label}: {technique.kind}, which the protocol prefers, cannot be had: {error}")
            continue
        with clock.stage(f"judge {request.label}"):
            result = judge(bench, request, phases, (*tried, *notes))
        if is_last or not result.scorecard.hard_failures or stop():
            return result
        failed = ", ".join(f"{row.structure} {row.metric} {row.value}" for row in result.scorecard.hard_failures)
        tried.append(f"{request.label}: {technique.kind}, which the protocol prefers, fails hard limits ({failed})")
    raise AssertionError("a protocol has a technique")


def _planned(
    bench: Bench,
    request: Request,
    technique: Technique,
    requests: Sequence[Request],
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> tuple[tuple[PhasePlan, ...], tuple[str, ...]]:
    """All phases by one technique, with what fractions were handed over and the fields that bring regions up."""
    notes = (*_together(request, technique), *_precedence(bench, request))
    phases, moved = _phases(bench, request, technique, requests, clock, stop, keep)
    hand_over = technique.hand_over

    def delivered(moved: int) -> tuple[PhasePlan, ...]:
        made = _after(request, hand_over, phases, moved)
        for supplement in request.supplements:
            made += _supplement(bench, request, supplement, made, clock, stop)
        return made

    best = delivered(moved)
    if hand_over is None or _organ(bench, hand_over, phases) is None:
        return best, notes
    (before,) = (phase.plan.fractions for phase in phases if phase.number == hand_over.from_phase)
    found_gy = last_gy = _metric_gy(bench, hand_over, best)
    # Fields that bring a region up give the organ dose too, and more of it where fewer fractions reach the region: more
    # fractions move as long as that helps.
    for further in range(moved + 1, before + 1) if len(best) > len(_after(request, hand_over, phases, moved)) else ():
        if last_gy < hand_over.below_gy or stop():
            break
        other = delivered(further)
        other_gy = _metric_gy(bench, hand_over, other)
        if other_gy >= last_gy:
            break
        last_gy = other_gy
        if other_gy < hand_over.below_gy:
            best, moved, found_gy = other, further, other_gy
    if moved:
        organ = f"{hand_over.structure} {hand_over.metric}"
        kept = (
            f"stays below {hand_over.below_gy:g} Gy"
            if found_gy < hand_over.below_gy
            else f"is {found_gy:.1f} Gy, where {hand_over.below_gy:g} Gy were wanted"
        )
        notes += (
            f"{moved} of {before} fractions moved from phase {hand_over.from_phase} to phase {hand_over.to_phase}, so "
            f"that {organ} {kept}",
        )
    return best, notes


def _precedence(bench: Bench, request: Request) -> tuple[str, ...]:
    """Where targets of different dose in the same fractions overlap, and which holds there; painted ones have many."""
    notes = []
    for number in request.phases:
        plain = [p for p in request.prescribed_in(number) if p.painted is None]
        levels = sorted(plain, key=lambda p: -p.dose_gy)
        for n, high in enumerate(levels):
            for low in levels[n + 1 :]:
                common = bench.overlaps_cm3(high.target, low.target) if low.dose_gy < high.dose_gy else 0.0
                if common >= LEAST_OVERLAP_CM3:
                    notes.append(
                        f"{request.label}: {high.target} ({high.dose_gy:g} Gy) and {low.target} ({low.dose_gy:g} Gy) "
                        f"overlap in {common:.1f} cm3, where the higher dose holds"
                    )
    return tuple(notes)


def _together(request: Request, technique: Technique) -> tuple[str, ...]:
    """That the phases are planned together, where they are."""
    if technique.phases_planned != "together" or len(request.phases) == 1:
        return ()
    numbers = [str(number) for number in request.phases]
    return (f"{request.label}: phases {', '.join(numbers[:-1])} and {numbers[-1]} were planned together",)


def _phases(
    bench: Bench,
    request: Request,
    technique: Technique,
    requests: Sequence[Request],
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> tuple[tuple[PhasePlan, ...], int]:
    """Plans of all phases with the fractions that the protocol gives them, and how many of these are handed over."""
    made: list[PhasePlan] = []
    moved = 0
    if _together(request, technique):
        asked = [phase_of(bench, request, requests, technique, number, ()) for number in request.phases]
        return plan_together(bench, asked, request.course, clock, stop, keep), 0
    for number in request.phases:
        earlier = tuple(done.dose for done in _after(request, technique.hand_over, made, moved))
        phase = phase_of(bench, request, requests, technique, number, earlier)
        # A plan is kept once its last phase holds its limits.
        tell = keep if number == request.phases[-1] else lambda: None
        made.append(MAKERS[phase.technique.kind](bench, phase, clock, stop, tell))
        with clock.stage(f"hand over {request.label}"):
            moved = _to_move(bench, request, technique.hand_over, made)
        if _is_without_room(bench, request, technique.hand_over, made, moved) and not stop():
            # It is planned beside what helps most: beside the fewest that its forerunners need there is no room at all.
            earlier = tuple(done.dose for done in _after(request, technique.hand_over, made[:-1], moved))
            phase = phase_of(bench, request, requests, technique, number, earlier, no_room=True)
            made[-1] = MAKERS[phase.technique.kind](bench, phase, clock, stop, tell)
            with clock.stage(f"hand over {request.label}"):
                moved = _to_move(bench, request, technique.hand_over, made)
    return tuple(made), moved


def _is_without_room(
    bench: Bench, request: Request, hand_over: HandOver | None, phases: Sequence[PhasePlan], moved: int
) -> bool:
    """Whether a phase after those that share fractions gives an organ too much, however many of them move."""
    if hand_over is None or phases[-1].number <= hand_over.to_phase or _organ(bench, hand_over, phases) is None:
        return False
    return _metric_gy(bench, hand_over, _after(request, hand_over, phases, moved)) >= hand_over.below_gy


def phase_of(
    bench: Bench,
    request: Request,
    requests: Sequence[Request],
    technique: Technique,
    number: int,
    earlier: tuple[Dose, ...],
    *,
    no_room: bool = False,
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
    no_room : bool
        Whether it was seen that handing fractions over makes no room for this phase.
    """
    # What fractions are handed over for is not in the way of the two phases that share them, nor, as long as more of
    # them can move, of a later one.
    moves = technique.hand_over
    shares = moves is not None and (number in (moves.from_phase, moves.to_phase) or number > moves.to_phase)
    steered = moves.structure.lower() if moves is not None and shares and not no_room else None
    numbers = request.phases
    # A robust plan serves its prescriptions in the worst position: as goals of the planned one they only cost time.
    served = {p.target.lower() for p in request.prescribed_in(number)} if request.positions else set[str]()
    whole_gy = request.given_gy + sum(request.highest_gy(n) for n in numbers)
    so_far_gy = request.given_gy + sum(request.highest_gy(n) for n in numbers if n <= number)
    return Phase(
        number=number,
        label=phase_label(request.label, number, len(numbers) + len(request.supplements)),
        technique=technique.of_phase(number),
        prescriptions=request.prescribed_in(number),
        constraints=tuple(
            in_gray(c, request.course)
            for c in steering(request.constraints, bench.structures)
            if c.structure.lower() != steered
            and not (c.structure.lower() in served and c.priority == "goal" and is_coverage(c))
        ),
        earlier=(*bench.delivered, *earlier),
        share=1.0 if number == numbers[-1] else so_far_gy / whole_gy,
        shadows=_shadows(requests, request, technique, number),
        positions=request.positions,
        before=bench.earlier,
        drawn=bench.drawn,
    )


def _shadows(requests: Sequence[Request], request: Request, technique: Technique, phase: int) -> tuple[str, ...]:
    """Targets of this phase in all plans of the same technique, which share their beamlets."""
    own = technique.of_phase(phase)
    alike = [r for r in requests if r.label != request.label and any(t.of_phase(phase) == own for t in r.techniques)]
    return tuple(sorted({p.target for r in (request, *alike) for p in r.prescribed_in(phase)}))


def _after(
    request: Request, hand_over: HandOver | None, phases: Sequence[PhasePlan], moved: int
) -> tuple[PhasePlan, ...]:
    """Phases when so many fractions have moved from one to another; doses per fraction stay."""
    if hand_over is None or not moved:
        return tuple(phases)
    prescriptions = after_hand_over(request.prescriptions, hand_over, moved)
    return tuple(
        _with_fractions(phase, own)
        for phase in phases
        if (own := tuple(p for p in prescriptions if p.phase == phase.number))
    )


def _to_move(bench: Bench, request: Request, hand_over: HandOver | None, phases: Sequence[PhasePlan]) -> int:
    """How many fractions have to move for the organ to stay below its dose."""
    if hand_over is None or _organ(bench, hand_over, phases) is None:
        return 0
    (before,) = (phase.plan.fractions for phase in phases if phase.number == hand_over.from_phase)
    return fractions_to_move(
        hand_over, before, lambda moved: _metric_gy(bench, hand_over, _after(request, hand_over, phases, moved))
    )


def _organ(bench: Bench, hand_over: HandOver, phases: Sequence[PhasePlan]) -> Structure | None:
    """The organ for which fractions move; None where it is not drawn or one of the phases is not there (yet)."""
    organ = bench.structures.find(hand_over.structure)
    there = {hand_over.from_phase, hand_over.to_phase} <= {phase.number for phase in phases}
    return organ if there and organ is not None and not organ.is_empty else None


def _metric_gy(bench: Bench, hand_over: HandOver, phases: Sequence[PhasePlan]) -> float:
    organ = bench.structures[hand_over.structure]
    dose = course_dose([phase.dose for phase in phases])
    return histograms([organ], dose, single_slice_thickness_mm=bench.slice_mm)[organ.name].value(hand_over.metric)


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
