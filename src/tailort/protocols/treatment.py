"""What a protocol asks for in one patient: targets, doses, limits, drugs, toxicity, dates, endpoints. Never an order.

Whatever depends on a fact that is unknown is told with that fact; nothing is guessed, and no plan is chosen here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from tailort.patient import Fact
from tailort.protocols.condition import Candidates, Condition, of_table
from tailort.protocols.course_dates import fraction_of_course
from tailort.protocols.decision import Decision
from tailort.protocols.known import PLAN, seen
from tailort.protocols.phases import course_gy
from tailort.protocols.plans import amended_title, as_recorded, recorded_amendments, with_plan
from tailort.protocols.protocol import Protocol
from tailort.protocols.recipe_words import in_words, normalisation_in_words, technique_in_words
from tailort.protocols.schema import FactEntry, PlanEntry, PrescriptionEntry, ProtocolFile, Technique
from tailort.protocols.treatment_dates import calendar_of, dates_of
from tailort.protocols.treatment_drugs import drugs_of, toxicity_of
from tailort.protocols.treatment_records import Course, Limit, Part, PrescribedDose, Treatment
from tailort.protocols.trial_words import design_in_words, endpoints_in_words, follow_up_in_words, safety_in_words
from tailort.radiobiology import bed, eqd2

STANDARD_FACTS = (
    FactEntry(name="height_cm", type="number", unit="cm", range=(50, 250), text="Body height"),
    FactEntry(name="weight_kg", type="number", unit="kg", range=(10, 350), text="Body weight"),
    FactEntry(name="radiotherapy_start_date", type="date", text="Day of the first fraction, also a planned one"),
    FactEntry(name="radiotherapy_end_date", type="date", text="Day of the last fraction, once it was given"),
    FactEntry(name="chemotherapy_start_date", type="date", text="Day 1 of the first concurrent cycle, also planned"),
    FactEntry(name="induction_cycles", type="integer", range=(1, 12), text="Cycles of induction, also planned"),
    FactEntry(name="serious_event_date", type="date", text="Day on which a serious adverse event was noticed"),
)
"""Facts that doses and dates are made of, whatever the protocol; a file may declare them itself."""


def treatment(
    protocol: Protocol,
    facts: Mapping[str, Fact],
    decision: Decision,
    *,
    readings: Mapping[str, str] | None = None,
    today: dt.date | None = None,
) -> Treatment | None:
    """Return what a protocol asks for in one patient; None where it does not admit, or only proposes.

    Parameters
    ----------
    protocol : Protocol
        As it was loaded.
    facts : dict of Fact
        The clinical record.
    decision : Decision
        Of this protocol for this record.
    readings, today
        As of `decide`.

    Raises
    ------
    InputError
        When a fact cannot be, dates contradict each other, or radiotherapy starts on a weekend.
    """
    if decision.answer == "no" or protocol.file.only_proposes:
        return None
    file = protocol.file
    known = {**seen(file, facts, readings, today).values, **_standard(file, facts)}
    dates = dates_of(known)
    plans: tuple[str, ...] = ()
    if file.plans:
        stratum = next(one for one in decision.strata if one.table == PLAN)
        plans = tuple(name for name in stratum.possible if name)
        of = {plan.id: plan for plan in file.plans}
        courses = tuple(_course(with_plan(protocol, name), known, of[name]) for name in plans)
    else:
        courses = (_course(protocol, known, None),) if file.prescriptions else ()
    settled = len(courses) == 1 and not decision.missing_everywhere
    toxicity = toxicity_of(file, known)
    drugs = drugs_of(file, known, toxicity)
    only = as_recorded(with_plan(protocol, plans[0]) if plans else protocol, known).file if settled else None
    calendar = calendar_of(file, only, dates, drugs, toxicity)
    if only is not None and courses[0].supplements:
        more = "fields that fill up may add fractions, which no date counts: their number follows from the plan"
        calendar = replace(calendar, notes=(*calendar.notes, more))
    made = Treatment(
        courses=courses,
        missing=tuple(dict.fromkeys(name for part in _planned(courses) for name in part.missing)) if settled else (),
        statements=tuple(_applying((*file.definitions, *file.flags), known)),
        drugs=drugs,
        toxicity=toxicity,
        calendar=calendar,
        follow_up=tuple(follow_up_in_words(file)),
        safety=tuple(safety_in_words(file)),
        endpoints=tuple(endpoints_in_words(file)),
        design=() if file.design is None else design_in_words(file.design),
        rules={},
    )
    named = dict.fromkeys(_rules_in(made))
    told = {
        rule.id: {"text": rule.text, "source": rule.source, "mark": rule.mark}
        for rule in protocol.rules
        if rule.id in named
    }
    return replace(made, rules=told)


def _standard(file: ProtocolFile, facts: Mapping[str, Fact]) -> dict[str, Any]:
    """Values of the standard facts that the file does not declare itself."""
    declared = {entry.name for entry in file.facts}
    return {
        entry.name: entry.read(facts[entry.name].value)
        for entry in STANDARD_FACTS
        if entry.name not in declared and entry.name in facts
    }


def _course(protocol: Protocol, known: Mapping[str, Any], plan: PlanEntry | None) -> Course:
    """Tell the course of a protocol that has one for all patients, or that one of its plans was made."""
    planned = as_recorded(protocol, known)
    file = planned.file
    techniques = [] if file.preferred is None else list(_applying([file.preferred], known))
    if file.technique is not None:
        techniques += _phases(file.technique, sorted({entry.phase for entry in file.prescriptions}))
    return Course(
        plan=plan.id if plan else "",
        title=amended_title(plan.title if plan else protocol.title, recorded_amendments(protocol, known)),
        techniques=tuple(techniques),
        targets=tuple(_applying(file.targets, known)),
        prescriptions=prescribed_doses(file),
        limits=tuple(_limits(planned, known)),
        supplements=tuple(_applying(file.supplements, known)),
        positions=tuple(_applying((*file.field_margins, *file.positions), known)),
        amendments=tuple(_amendments(protocol, known)),
        options=tuple(
            Part(option.id, f"{option.title}: {_doses(option.prescriptions)}", "yes", (), option.rules)
            for option in (plan.options if plan and planned is protocol else ())
        ),
        images=tuple(_images(file)),
        rules=plan.rules if plan else (),
    )  # fmt: skip


def _amendments(protocol: Protocol, known: Mapping[str, Any]) -> Iterator[Part]:
    """Other doses after assessment, and those that a plan which was made already has asked for."""
    recorded = recorded_amendments(protocol, known)
    for entry in protocol.file.amendments:
        doses = _doses(entry.prescriptions)
        if entry in recorded and entry.fact is not None:
            told = f"{entry.structure} {entry.metric} is {known[entry.fact]:g} in the plan that was made already, "
            told += f"{entry.operator} {entry.value:g}: {doses}, in place of {_doses(protocol.file.prescriptions)}"
        else:
            told = f"if {entry.asked} in the assessed plan: {doses}, planned once more"
        yield Part(entry.id, told, "yes", (), entry.rules)


def _phases(technique: Technique, phases: Sequence[int]) -> Iterator[Part]:
    """How each phase is delivered; phases that are alike are told once."""
    told: dict[str, list[int]] = {}
    for phase in phases:
        told.setdefault(technique_in_words(technique.of_phase(phase)), []).append(phase)
    own = {one.phase: one.rules for one in technique.phases}
    for text, same in told.items():
        name = "technique" if len(told) == 1 else f"technique of phase {' and '.join(str(phase) for phase in same)}"
        rules = (*technique.rules, *(rule for phase in same for rule in own.get(phase, ())))
        yield Part(name, text, "yes", (), tuple(dict.fromkeys(rules)))
    if technique.hand_over is not None:
        move = technique.hand_over
        text = (
            f"fractions move from phase {move.from_phase} to phase {move.to_phase} until {move.structure} "
            f"{move.metric} is below {move.below_gy:g} Gy"
        )
        yield Part("hand-over", text, "yes", (), move.rules)


def _planned(courses: Sequence[Course]) -> Iterator[Part | Limit]:
    for course in courses:
        yield from (*course.techniques, *course.targets, *course.supplements, *course.positions)
        yield from course.limits


def _applying(entries: Sequence[Any], known: Mapping[str, Any]) -> Iterator[Part]:
    """Entries of which `when` holds or could, in words."""
    for entry in entries:
        when: Condition | None = entry.when
        found = None if when is None else when.evaluate(known)
        if found is None or found.answer != "no":
            name, text = _told(entry)
            yield Part(name, text, found.answer if found else "yes", found.open_facts() if found else (), entry.rules)


def _told(entry: Any) -> tuple[str, str]:
    match type(entry).__name__:
        case "StepEntry":
            return entry.name, in_words(entry)
        case "Supplement":
            return entry.target, (
                f"{entry.modality} up to {entry.up_to_gy:g} Gy at {entry.depth_mm:g} mm below the anterior skin, at "
                f"most {entry.fraction_gy_at_most:g} Gy a fraction"
            )
        case "FieldMarginEntry":
            return "field margin", f"{entry.aperture_margin_mm:g} mm from the target to the field's edge"
        case "PositionEntry":
            return "position", entry.patient
        case "PreferredTechnique":
            return "tried first", technique_in_words(entry.technique)
        case _:
            return entry.id, entry.text


def _doses(entries: Sequence[PrescriptionEntry]) -> str:
    return ", ".join(f"{p.target} {p.dose_gy:g} Gy in {p.fractions}" for p in entries)


def prescribed_doses(file: ProtocolFile) -> tuple[PrescribedDose, ...]:
    """Doses of a file's course, phase by phase, with their BED and EQD2 where it has the tumour's alpha/beta."""
    return tuple(_prescribed(file))


def _prescribed(file: ProtocolFile) -> Iterator[PrescribedDose]:
    biology = file.biology.targets
    for entry in file.prescriptions:
        tied = entry.normalisation or file.normalisation
        assert tied is not None  # a loaded protocol has one for each
        ratio = None if biology is None else biology.alpha_beta_gy
        yield PrescribedDose(
            target=entry.target,
            phase=entry.phase,
            fractions=entry.fractions,
            dose_gy=entry.dose_gy,
            dose_per_fraction_gy=float(entry.dose_per_fraction_gy),
            course_gy=course_gy(file.prescriptions, entry.target),
            tied_to=normalisation_in_words(tied),
            alpha_beta_gy=ratio,
            bed_gy=None if ratio is None else float(bed(entry.dose_gy, entry.fractions, ratio)),
            eqd2_gy=None if ratio is None else float(eqd2(entry.dose_gy, entry.fractions, ratio)),
            rules=entry.rules,
        )


def _limits(protocol: Protocol, known: Mapping[str, Any]) -> Iterator[Limit]:
    for entry in protocol.file.limits:
        found = entry.when.evaluate(known) if entry.when else None
        if found is not None and found.answer == "no":
            continue
        value, note = entry.limit, ""
        if entry.percent_of is not None:
            value = round(course_gy(protocol.file.prescriptions, entry.percent_of) * entry.limit / 100, 6)
            note = f"{entry.limit:g} % of {entry.percent_of}"
        yield Limit(
            structure=entry.structure,
            metric=entry.metric,
            operator=entry.operator,
            limit=value,
            note=note,
            priority=entry.priority,
            quantity=entry.quantity,
            alpha_beta_gy=entry.alpha_beta_gy,
            scope=entry.scope,
            on_violation=entry.on_violation,
            applies=found.answer if found else "yes",
            missing=found.open_facts() if found else (),
            rules=(entry.rule,) if entry.rule else (),
            mark=entry.mark or _mark(protocol, entry.rule),
        )
    for one in protocol.file.table_limits:
        says: Candidates = known[of_table(one.table)]
        possible = sorted(name for name in says.outcomes if name)
        if not possible:
            continue
        number = float(possible[0]) if len(says.outcomes) == 1 else None
        together = one.with_earlier.text(number, known) if one.with_earlier and number is not None else ""
        yield Limit(
            structure=one.structure,
            metric=one.metric,
            operator=one.operator,
            limit=number,
            note=together if number is not None else f"one of {', '.join(possible)} by the table {one.table}",
            priority=one.priority,
            quantity="physical",
            alpha_beta_gy=None,
            scope="course",
            on_violation=None,
            applies="yes",
            missing=says.open_facts,
            rules=(one.rule,) if one.rule else (),
            mark=_mark(protocol, one.rule),
        )


def _mark(protocol: Protocol, rule: str) -> str:
    return protocol.rule(rule).mark if rule else ""


def _images(file: ProtocolFile) -> Iterator[Part]:
    for entry in file.adaptations:
        fraction = fraction_of_course(file.prescriptions, entry.target, entry.at_gy)
        when = "never reached" if fraction is None else f"with fraction {fraction}"
        text = f"{entry.strength}, {when}: {entry.target} has got {entry.at_gy:g} Gy; {entry.then}"
        yield Part(entry.image, text, "yes", (), entry.rules)


def _rules_in(value: Any) -> Iterator[str]:
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            one = getattr(value, field.name)
            if field.name == "rules" and isinstance(one, tuple):
                yield from one
            else:
                yield from _rules_in(one)
    elif isinstance(value, tuple):
        for one in value:
            yield from _rules_in(one)
