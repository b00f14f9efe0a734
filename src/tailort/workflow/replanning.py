"""A plan for the remaining fractions of a course: limits hold on the sum with the fractions that were given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tailort.errors import InputError
from tailort.geometry import Grid, resample
from tailort.patient import Case, Dose, Plan, Prescription, StructureSet
from tailort.protocols import Protocol, Technique, joined
from tailort.registration import Registration
from tailort.workflow.clock import StageClock
from tailort.workflow.courses import plan_course
from tailort.workflow.options import PlanningOptions
from tailort.workflow.planning import Decided, decided
from tailort.workflow.records import PlanResult
from tailort.workflow.requesting import bench_of, request_of

LABEL = "adapted"
# Prescriptions that differ by less are the same, Gy.
SAME_GY = 0.05


@dataclass(frozen=True, eq=False)
class Replanned:
    """The plans of the remaining fractions.

    Parameters
    ----------
    result : PlanResult
        Its phases are the new plans; its dose and scorecard are those of the whole course.
    asked : Decided
        What the protocol decided.
    engine_note : str
        What must be known of the engine.
    notes : tuple of str
        What a reader must know.
    """

    result: PlanResult
    asked: Decided
    engine_note: str
    notes: tuple[str, ...]

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Of the remaining fractions, one for each phase that has some left."""
        return tuple(phase.plan for phase in self.result.phases)


def remaining(prescriptions: Sequence[Prescription], left: Mapping[int, int]) -> tuple[Prescription, ...]:
    """Prescriptions of the fractions that are left, each with the dose per fraction that was planned.

    Parameters
    ----------
    prescriptions : sequence of Prescription
        Of the course.
    left : mapping of int to int
        Fractions that are left of each phase, by its number.

    Raises
    ------
    InputError
        When nothing is left.
    """
    found = tuple(
        replace(p, dose_gy=p.dose_per_fraction_gy * left[p.phase], fractions=left[p.phase])
        for p in prescriptions
        if left[p.phase]
    )
    if not found:
        raise InputError("all fractions were given; nothing is left to be planned")
    return found


def phases_of_plans(
    plans: Sequence[Plan], prescriptions: Sequence[Prescription], technique: Technique
) -> tuple[int, ...] | None:
    """Numbers of the phases that the plans are for, in their order; None where they are of another course.

    Phases that a protocol plans alike are one plan, and fractions that it hands over lie in another phase than its file
    has them.
    """
    asked = {p.phase: p.fractions for p in joined(prescriptions, technique)}
    numbers, planned = sorted(asked), [plan.fractions for plan in plans]
    if len(numbers) != len(planned):
        return None
    moving = technique.hand_over
    change = {number: own - asked[number] for number, own in zip(numbers, planned, strict=True)}
    if moving is not None and change.get(moving.from_phase, 0) <= 0:
        moved = -change.pop(moving.from_phase, 0)
        change[moving.to_phase] = change.get(moving.to_phase, 0) - moved
    return None if any(change.values()) else tuple(numbers)


def require_same_course(
    plans: Sequence[Plan], prescriptions: Sequence[Prescription], techniques: Sequence[Technique]
) -> tuple[tuple[Technique, tuple[int, ...]], ...]:
    """The techniques of a protocol by which a course can have been planned, each with the phases of its plans.

    Raises
    ------
    InputError
        When there is none, naming both numbers of fractions.
    """
    fitting = [(technique, phases_of_plans(plans, prescriptions, technique)) for technique in techniques]
    found = tuple((technique, numbers) for technique, numbers in fitting if numbers is not None)
    if not found:
        counts = {p.phase: p.fractions for p in prescriptions}
        told, asked = (
            " + ".join(map(str, each)) or "no"
            for each in ([plan.fractions for plan in plans], [counts[number] for number in sorted(counts)])
        )
        labels = ", ".join(f"'{plan.label}'" for plan in plans)
        raise InputError(
            f"plan {labels} has {told} fractions, the protocol {asked}; name the protocol and option that the course "
            "was planned by"
        )
    return found


def other_doses(
    plans: Sequence[Plan], numbers: Sequence[int], prescriptions: Sequence[Prescription]
) -> tuple[str, ...]:
    """Where a fraction of the plans is prescribed otherwise than by the protocol."""
    own = {
        (number, p.target.lower()): p.dose_per_fraction_gy * plan.fractions
        for number, plan in zip(numbers, plans, strict=True)
        for p in plan.prescriptions
    }
    count = dict(zip(numbers, (plan.fractions for plan in plans), strict=True))
    found = []
    for p in prescriptions:
        planned_gy, asked_gy = own.get((p.phase, p.target.lower())), p.dose_per_fraction_gy * count.get(p.phase, 0)
        if planned_gy is not None and abs(planned_gy - asked_gy) > SAME_GY:
            found.append(
                f"the plan prescribes {planned_gy:g} Gy to {p.target}, the protocol {asked_gy:g} Gy; what remains is "
                "prescribed as the protocol does"
            )
    return tuple(found)


def require_even(protocol: Protocol) -> None:
    """Refuse a course whose dose is painted: what was given of it is not taken off the dose of each point.

    Raises
    ------
    InputError
        When the protocol paints.
    """
    if protocol.painted():
        told = ", ".join(entry.target for entry in protocol.painted())
        raise InputError(
            f"protocol '{protocol.id}' paints the dose of {told} by an image, and what is left of a painted dose is "
            "not planned anew; say --replan no, or plan it by hand"
        )


def replan(
    case: Case,
    structures: StructureSet,
    protocol: Protocol,
    options: PlanningOptions,
    given: Sequence[Dose],
    course: Sequence[tuple[Plan, int]],
    clock: StageClock,
    *,
    stop: Callable[[], bool],
    keep: Callable[[], None],
    registrations: Mapping[str, Registration],
) -> Replanned:
    """Plan the fractions that are left on today's anatomy.

    Parameters
    ----------
    case : Case
        Of today: its CT, the facts of the clinical record and earlier courses.
    structures : StructureSet
        Of today, with the targets of the protocol's recipe.
    protocol : Protocol
        By which the course was planned; without a comparator.
    options : PlanningOptions
        What a person chose.
    given : sequence of Dose
        Physical dose of the fractions given, on today's anatomy, in parts with their own numbers of fractions.
    course : sequence of (Plan, int)
        The plans of the course in their order, and how many fractions of each were given.
    clock, stop, keep
        As for `tailort.workflow.plan`.
    registrations : mapping of str to Registration
        Of earlier courses.

    Raises
    ------
    UndecidedError, NotEligibleError
        When the protocol does not say yes.
    MissingStructureError, GeometryError, InputError
        When the case cannot be planned.

    Notes
    -----
    The fractions given are to the optimiser what the phases before are to a later one: limits, and what targets are to
    reach, are asked of the sum, in EQD2 or BED each part with its own fractions. The prescription of what remains keeps
    the dose per fraction: a target that has got too little is not given more in each remaining fraction than was
    planned, beyond what the goals on the sum ask for.
    """
    with clock.stage("decide"):
        asked = decided(replace(case, structures=structures), protocol, options)
    own = asked.protocol
    require_even(own)
    plans = [plan for plan, _ in course]
    fitting = require_same_course(plans, own.prescriptions(), asked.techniques)
    numbers = fitting[0][1]
    # Fractions stay in the phase that they were planned in, and a later phase is planned beside what was given.
    techniques = tuple(
        technique.model_copy(update={"hand_over": None, "phases_planned": "one-after-the-other"})
        for technique, phases in fitting
        if phases == numbers
    )
    request = request_of(own, techniques, f"Adapted: {asked.title}", LABEL, own.target_steps(), structures, ())
    prescribed = joined(request.prescriptions, techniques[0])
    left = {number: plan.fractions - given_ for number, (plan, given_) in zip(numbers, course, strict=True)}
    spent_gy = [
        max(p.dose_per_fraction_gy for p in prescribed if p.phase == number) * given_
        for number, (_, given_) in zip(numbers, course, strict=True)
    ]
    request = replace(
        request, prescriptions=remaining(prescribed, left), supplements=(), given_gy=sum(spent_gy)
    )  # fmt: skip
    with clock.stage("dose grid"):
        bench = bench_of(case, structures, asked.machine, options, [request], registrations)
        on_grid = tuple(_on(dose, bench.grid) for dose in given)
        bench = replace(bench, delivered=on_grid)
    result = plan_course(bench, request, [request], clock, stop, keep)
    told = (
        *other_doses(plans, numbers, prescribed), *_as_planned(fitting[0][0], own), *asked.notes,
        *bench.case.notes, *result.notes,
    )  # fmt: skip
    return Replanned(result, asked, bench.engine_note, tuple(dict.fromkeys(told)))


def _as_planned(technique: Technique, protocol: Protocol) -> tuple[str, ...]:
    """What of the protocol's course is not done again with what is left."""
    notes = []
    if technique.hand_over is not None:
        notes.append("fractions stay in the phases of the plans that were treated by: none is handed over anew")
    if protocol.supplements():
        notes.append("fields that bring a region up to a dose are not planned with what is left; look at its dose")
    return tuple(notes)


def _on(dose: Dose, grid: Grid) -> Dose:
    """A dose on the grid of the plan."""
    return dose if dose.image.grid.same_as(grid) else replace(dose, image=resample(dose.image, grid, 0.0))
