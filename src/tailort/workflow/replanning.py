"""A plan for the remaining fractions of a course: limits hold on the sum with the fractions that were given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tailort.errors import InputError
from tailort.geometry import Grid, resample
from tailort.patient import Case, Dose, Plan, Prescription, StructureSet
from tailort.protocols import Protocol
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
    """The plan of the remaining fractions.

    Parameters
    ----------
    result : PlanResult
        Its phase is the new plan; its dose and scorecard are those of the whole course.
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
    def plan(self) -> Plan:
        """The plan of the remaining fractions."""
        return self.result.phases[0].plan


def remaining(prescriptions: Sequence[Prescription], delivered: int) -> tuple[Prescription, ...]:
    """Prescriptions of the fractions that are left, each with the dose per fraction that was planned.

    Raises
    ------
    InputError
        When a course has several phases, or nothing is left.
    """
    if len({p.phase for p in prescriptions}) != 1:
        raise InputError("a course of several phases cannot be planned anew from within one of them; plan it by hand")
    left = prescriptions[0].fractions - delivered
    if left < 1:
        raise InputError(f"all {delivered} fractions were given; nothing is left to be planned")
    return tuple(replace(p, dose_gy=p.dose_per_fraction_gy * left, fractions=left) for p in prescriptions)


def require_same_course(plan: Plan, prescriptions: Sequence[Prescription]) -> tuple[str, ...]:
    """Refuse a protocol of another number of fractions than the plan; tell of other doses.

    Raises
    ------
    InputError
        Naming both numbers.
    """
    asked = {p.fractions for p in prescriptions}
    if asked != {plan.fractions}:
        told = " + ".join(str(n) for n in sorted(asked)) or "none"
        raise InputError(
            f"plan '{plan.label}' has {plan.fractions} fractions, the protocol {told}; name the protocol and option "
            "that the plan was made by"
        )
    own = {p.target.lower(): p.dose_gy for p in plan.prescriptions}
    return tuple(
        f"the plan prescribes {own[p.target.lower()]:g} Gy to {p.target}, the protocol {p.dose_gy:g} Gy; what remains "
        "is prescribed as the protocol does"
        for p in prescriptions
        if p.target.lower() in own and abs(own[p.target.lower()] - p.dose_gy) > SAME_GY
    )


def replan(
    case: Case,
    structures: StructureSet,
    protocol: Protocol,
    options: PlanningOptions,
    given: Sequence[Dose],
    delivered: int,
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
    delivered : int
        Their number.
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
    request, notes = request_of(
        own, asked.techniques, f"Adapted: {asked.title}", LABEL, own.target_steps(), structures, ()
    )
    request = replace(request, prescriptions=remaining(request.prescriptions, delivered), supplements=())
    with clock.stage("dose grid"):
        bench = bench_of(case, structures, asked.machine, options, [request], registrations)
        on_grid = tuple(_on(dose, bench.grid) for dose in given)
        bench = replace(bench, delivered=on_grid)
    result = plan_course(bench, request, [request], clock, stop, keep)
    told = (*asked.notes, *notes, *bench.case.notes, *result.notes)
    return Replanned(result, asked, bench.engine.label, tuple(dict.fromkeys(told)))


def _on(dose: Dose, grid: Grid) -> Dose:
    """A dose on the grid of the plan."""
    return dose if dose.image.grid.same_as(grid) else replace(dose, image=resample(dose.image, grid, 0.0))
