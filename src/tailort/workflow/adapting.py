"""Adaptation: what was given on the anatomy of today, what follows if nothing changes, and a plan for what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tailort.errors import InputError
from tailort.patient import Case, Dose, Fact, Plan, Prescription, StructureSet
from tailort.protocols import Protocol
from tailort.protocols.proposals import proposals
from tailort.registration import Registration
from tailort.workflow.adaptation_asked import (
    Asked,
    NewScan,
    around_drawn_tumours,
    beyond_today,
    date_of,
    days_of_fractions,
    in_order,
    plans_of_course,
    require_held,
    require_known,
    spacing_of,
)
from tailort.workflow.adaptation_facts import (
    WEIGHT,
    Measured,
    contour_change,
    coverage_falls,
    delivered_gy,
    hard_limit_exceeded,
    planned_images,
    tumour_change,
    weight_loss,
    with_measured,
)
from tailort.workflow.adaptation_judging import Judged
from tailort.workflow.adaptation_work import Work
from tailort.workflow.adapted_records import Adaptation
from tailort.workflow.clock import StageClock
from tailort.workflow.daily_doses import PLANNED, Day, fractions_by_plan, times_fractions
from tailort.workflow.options import PlanningOptions
from tailort.workflow.propagating import is_identity
from tailort.workflow.registering import warnings_of
from tailort.workflow.replanning import Replanned, replan


def adapt(
    asked: Asked,
    clock: StageClock,
    *,
    stop: Callable[[], bool] = lambda: False,
    keep: Callable[[], None] = lambda: None,
) -> Adaptation:
    """Look at a course again on the anatomy of today, and plan what is left anew where that is asked for.

    Parameters
    ----------
    asked : Asked
        The case, the new scans, the protocols and a person's choices.
    clock : StageClock
        Times the stages.
    stop, keep : callable
        As for `tailort.workflow.plan`.

    Raises
    ------
    InputError
        When the fractions are not known or too many, a scan is of another patient, older than the planning CT or does
        not hold the targets, a registration fails its own check, or the plan cannot be adapted.
    UndecidedError, NotEligibleError
        When a new plan is asked for and the protocol does not say yes.

    Notes
    -----
    Every fraction is counted on the latest scan before it. What a scan before today's shows is brought onto today's
    anatomy as physical dose of the same tissue; fractions of different days are different parts of the course, each
    converted to EQD2 with its own number of fractions. What remains is counted on today's anatomy.
    """
    work = Work(asked, clock, stop)
    plans = plans_of_course(asked.planned, asked.plans)
    for plan in plans:
        require_known(asked.planned, plan)
    new = in_order(asked.planned, asked.new)
    counts = fractions_by_plan(
        [date_of(asked.planned), *(scan.date for scan in new)],
        [scan.delivered for scan in new if scan.delivered is not None],
        days_of_fractions(asked, plans),
        [plan.fractions for plan in plans],
    )
    lost = weight_loss(_weight(asked.planned), asked.weight_kg or _weight(new[-1].case))
    labels = (PLANNED, *(scan.label for scan in new))
    dates = (date_of(asked.planned), *(scan.date for scan in new))
    days = tuple(Day(*each) for each in zip(labels, dates, counts, strict=True))
    new = work.corrected(new)
    today = new[-1]
    scans = work.scans(new)
    registrations = work.registered(scans)
    back = registrations[PLANNED]
    require_held(asked.planned, plans, back, today.case)
    with clock.stage("carry the contours"):
        planned_structures, structures, own, unjudged, notes = work.structures(today.case, back)
    case = replace(
        today.case, structures=structures, courses=asked.earlier, plans=(), doses=(),
        facts={**asked.planned.facts, **today.case.facts},
    )  # fmt: skip
    cut = beyond_today(planned_structures, structures, back, today.case.ct.image)
    slice_mm = (asked.planned.ct.image.grid.spacing_mm[0], today.case.ct.image.grid.spacing_mm[0])
    held = () if is_identity(back) else around_drawn_tumours(planned_structures, structures, slice_mm)
    earlier_by = work.earlier(case)
    doses = work.doses(plans, new, days, registrations, planned_structures, structures)
    given = doses.given
    so_far = [sum(of_plan) for of_plan in zip(*counts, strict=True)]
    left = [plan.fractions - done for plan, done in zip(plans, so_far, strict=True)]
    projected = (*given, *(times_fractions(one, n) for one, n in zip(doses.here, left, strict=True) if n))
    judged = Judged(case, own, planned_structures, asked.planned, earlier_by, asked.options)
    with clock.stage("judge the course"):
        planned_card = judged.card(doses.planned, planned=True)
        projected_card = judged.card(projected)
        whole_today = [times_fractions(one, plan.fractions) for one, plan in zip(doses.here, plans, strict=True)]
        curves = {
            "planned": judged.curves(doses.planned, planned=True), "projected": judged.curves(projected),
            "today": judged.curves(whole_today),
        }  # fmt: skip
    with clock.stage("facts and triggers"):
        facts = (
            delivered_gy(_phases(plans, so_far, own)),
            *coverage_falls(structures, _course(plans, own), curves["planned"], curves["today"]),
            hard_limit_exceeded(projected_card),
            lost,
            contour_change(asked.planned.ct.image, today.case.ct.image, back, structures),
            tumour_change(planned_structures, structures, slice_mm, same_ct=is_identity(back)),
        )  # fmt: skip
        case = case.with_facts(_of_today(case, facts, asked, today))
        found = proposals(
            asked.triggers, _known_to(asked.triggers, case), _readings_of(asked.triggers, asked.options), today.date
        )
    said = (*_warnings(registrations, structures), *_cut(cut, own), *held)
    result = Adaptation(
        case, replace(asked.planned, structures=planned_structures), scans, plans, asked.machine, days,
        {**registrations, **earlier_by}, doses.planned, given, projected, doses.on_scans, planned_card, projected_card,
        {name: tuple(made.values()) for name, made in curves.items() if name != "today"}, (), facts, found,
        () if own is None else planned_images(own, sum(so_far)), own, None, "", (*notes, *doses.notes),
        (*said, *((unjudged,) if unjudged else ())), unjudged,
    )  # fmt: skip
    made, why_not = _new_plan(asked, result, given, earlier_by, clock, stop, keep)
    dvhs = dict(result.dvhs) | ({} if made is None else {"replanned": made.result.dvhs})
    with clock.stage("side by side"):
        replanned = None if made is None else (*given, *(phase.dose for phase in made.result.phases))
        rows = judged.side_by_side(doses.planned, given, projected, replanned)
    more = () if made is None else made.notes
    return replace(
        result, rows=rows, replanned=made, why_not=why_not, dvhs=dvhs,
        notes=tuple(dict.fromkeys((*result.notes, *more))), stages=clock.stages,
    )  # fmt: skip


def _new_plan(
    asked: Asked,
    result: Adaptation,
    given: tuple[Dose, ...],
    earlier_by: Mapping[str, Registration],
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> tuple[Replanned | None, str]:
    """The plan of what is left, or why there is none."""
    if asked.replan == "no":
        return None, "nobody asked for a new plan (--replan no)"
    if asked.replan == "if-triggered" and not result.asks_for_a_plan:
        return None, "no trigger that asks for another plan has fired"
    if result.delivered >= result.fractions and asked.replan == "if-triggered":
        return None, "all fractions were given"
    if asked.protocol is None or result.protocol is None:
        if asked.replan == "yes":
            raise InputError("a new plan needs the protocol by which the course was planned; name it with --protocol")
        return None, "a trigger asks for another plan; name the protocol of the course with --protocol"
    plain = replace(asked.protocol, file=asked.protocol.file.model_copy(update={"comparator": None}))
    case = replace(result.case, notes=())
    options = replace(asked.options, dose_grid_mm=spacing_of(asked))
    so_far = [sum(of_plan) for of_plan in zip(*(day.by_plan for day in result.days), strict=True)]
    made = replan(
        case, result.case.structures, plain, options, given, tuple(zip(result.plans, so_far, strict=True)), clock,
        stop=stop, keep=keep, registrations=earlier_by,
    )  # fmt: skip
    return made, ""


def _phases(
    plans: Sequence[Plan], so_far: Sequence[int], own: Protocol | None
) -> list[tuple[tuple[Prescription, ...], int]]:
    """What is prescribed by each plan, and how many of its fractions were given."""
    told = [plan.prescriptions for plan in plans]
    if len(plans) == 1 and own is not None and not told[0]:
        told = [own.course()]
    return list(zip(told, so_far, strict=True))


def _course(plans: Sequence[Plan], own: Protocol | None) -> tuple[Prescription, ...]:
    """What each target gets in the whole course; of several phases only the protocol tells which boosts which."""
    if len(plans) == 1 and plans[0].prescriptions:
        return plans[0].prescriptions
    return () if own is None else own.course()


def _cut(names: Sequence[str], own: Protocol | None) -> tuple[str, ...]:
    """That doses of organs in which today's CT ends are those of a part: what the protocol limits, else all."""
    limited = None if own is None else {c.structure.lower() for c in own.constraints()}
    told = [name for name in names if limited is None or name.lower() in limited]
    if not told:
        return ()
    return (
        f"today's CT ends within {', '.join(told)}: volumes, means and limits of them are of the part that it shows",
    )


def _weight(case: Case) -> float | None:
    fact = case.facts.get(WEIGHT)
    value = None if fact is None else fact.value
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _of_today(case: Case, facts: Sequence[Measured], asked: Asked, today: NewScan) -> dict[str, Fact]:
    """Facts of the clinical record, of today's, and those that were computed."""
    made = with_measured(case.facts, facts, today.date)
    if asked.weight_kg is not None:
        made[WEIGHT] = Fact(WEIGHT, asked.weight_kg, "--weight-kg", today.date)
    return made


def _known_to(protocol: Protocol, case: Case) -> dict[str, Fact]:
    """The facts that a protocol asks for: a record may tell more."""
    names = {entry.name for entry in protocol.file.facts}
    return {name: fact for name, fact in case.facts.items() if name in names}


def _readings_of(protocol: Protocol, options: PlanningOptions) -> dict[str, str]:
    """The readings that a protocol knows."""
    known = {entry.rule for entry in protocol.file.readings}
    return {rule: name for rule, name in options.readings.items() if rule in known}


def _warnings(registrations: Mapping[str, Registration], structures: StructureSet) -> list[str]:
    """What belongs on the first page: registrations that fail or were not checked, contours nobody has reviewed."""
    carried = [s.name for s in structures if s.made_by and not s.is_empty]
    judged = {label: found for label, found in registrations.items() if found.method != "identity"}
    told = [text.replace("of course", "with") for text in warnings_of(judged)]
    if carried:
        told.append(
            f"{len(carried)} of {len(structures)} structures on today's CT were carried or made by TailoRT and are to "
            "be reviewed by a person before anything is treated by them"
        )
    return told
