"""What only shows when the sections of a protocol file are compared with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from tailort.errors import InputError
from tailort.protocols.checks import judge
from tailort.protocols.condition import COMPARE, Between, Compare, Condition, Known, OneOf
from tailort.protocols.endpoints import endpoint_mistakes
from tailort.protocols.recipe import LengthenEntry, StepEntry
from tailort.protocols.schema import (
    CourseEntry,
    DosePerFraction,
    FactEntry,
    LimitEntry,
    PrescriptionEntry,
    ProtocolFile,
    Technique,
)
from tailort.protocols.sectors import SectorsEntry

Place = tuple[str | int, ...]
Mistake = tuple[Place, str]


def mistakes(file: ProtocolFile, *, as_written: bool = True) -> Iterator[Mistake]:
    """Find what contradicts itself in a protocol file.

    Parameters
    ----------
    file : ProtocolFile
        What it says.
    as_written : bool
        Whether it is as it was read; once decided for a patient it no longer uses all of its rules.

    Yields
    ------
    tuple
        The place in the file (keys and positions from the top) and what is wrong there.
    """
    yield from _doubles(file)
    yield from _dangling_rules(file)
    facts = {fact.name: fact for fact in file.facts}
    yield from _lengths(file, facts)
    yield from _computed(file)
    yield from _table_limits(file)
    if file.eligibility is not None:
        yield from _condition(file.eligibility, facts, ("eligibility",))
    for place, section in walk(file):
        for key in ("when", "holds"):
            condition: Any = getattr(section, key, None)
            # Comparisons have a method of that name.
            if condition is not None and not callable(condition):
                yield from _condition(condition, facts, (*place, key))
    yield from _steps(file.targets, (), ("targets",))
    if file.plans:
        yield from _plans(file)
    else:
        yield from _prescriptions(file, file.prescriptions, ("prescriptions",))
        yield from _technique(file.technique, file.prescriptions, ("technique",))
        if file.preferred is not None:
            yield from _technique(file.preferred.technique, file.prescriptions, ("preferred", "technique"))
        yield from _limits(file.limits, file.prescriptions, ("limits",))
    yield from _supplements(file)
    courses = [file.prescriptions] if file.prescriptions else [course.prescriptions for _, course in _courses(file)]
    for n, check in enumerate(file.checks):
        if isinstance(check, DosePerFraction) and check.target not in {p.target for own in courses for p in own}:
            yield ("checks", n, "target"), f"'{check.target}' is not prescribed"
        for prescribed in courses:
            for result in judge(check, prescribed):
                if not result.holds:
                    yield ("checks", n), f"the prescriptions break this check: {result.text}"
    yield from _amendments(file)
    yield from _sections(file)
    yield from endpoint_mistakes(file.endpoints, {name: fact.type for name, fact in facts.items()})
    if as_written:
        yield from _not_executed(file)
    if file.comparator is not None:
        yield from _comparator(file)


def _lengths(file: ProtocolFile, facts: dict[str, FactEntry]) -> Iterator[Mistake]:
    for place, section in walk(file):
        for name in section.to_largest_of if isinstance(section, LengthenEntry) else ():
            if name not in facts or facts[name].type != "number" or facts[name].unit != "cm":
                yield (*place, "to_largest_of"), f"'{name}' is no number in cm among the file's facts"


def _computed(file: ProtocolFile) -> Iterator[Mistake]:
    kinds = {fact.name: fact.type for fact in file.facts}
    choices = {fact.name: fact.choices for fact in file.facts}
    for n, fact in enumerate(file.facts):
        for fault in fact.computed.mistakes(fact.name, kinds, choices) if fact.computed is not None else ():
            yield ("facts", n, "computed"), fault
        pair = (fact.computed.pair if fact.computed is not None else None) or ()
        if len({fact.unit, *(other.unit for other in file.facts if other.name in pair)}) > 1:
            yield ("facts", n, "computed"), f"'{fact.name}' and the facts that it is computed from have different units"


def _table_limits(file: ProtocolFile) -> Iterator[Mistake]:
    tables = {table.name: table for table in file.tables}
    numbers = {fact.name for fact in file.facts if fact.type in ("number", "integer")}
    for place, section in walk(file):
        for name in section.asks if isinstance(section, SectorsEntry) else ():
            if name not in {fact.name for fact in file.facts}:
                yield place, f"fact '{name}' is not among the file's facts"
    for n, limit in enumerate(file.table_limits):
        for name in limit.with_earlier.earlier if limit.with_earlier is not None else ():
            if name not in numbers:
                yield ("table_limits", n, "with_earlier"), f"'{name}' is no number among the file's facts"
        if limit.table not in tables:
            have = ", ".join(tables) or "none"
            yield ("table_limits", n, "table"), f"there is no decision table '{limit.table}', there are: {have}"
            continue
        for outcome in tables[limit.table].outcomes:
            if not re.fullmatch(r"\d+(\.\d+)?", outcome):
                yield (
                    ("table_limits", n, "table"),
                    f"'{outcome}', which the table '{limit.table}' can give, is no number for {limit.metric}",
                )


def _doubles(file: ProtocolFile) -> Iterator[Mistake]:
    sections = (
        ("sources", "id"), ("rules", "id"), ("facts", "name"), ("plans", "id"), ("definitions", "id"), ("flags", "id"),
        ("amendments", "id"), ("modifications", "id"), ("endpoints", "name"),
    )  # fmt: skip
    for section, key in sections:
        seen: set[str] = set()
        for n, entry in enumerate(getattr(file, section)):
            name = getattr(entry, key)
            if name in seen:
                yield (section, n, key), f"'{name}' is given twice"
            seen.add(name)


def _dangling_rules(file: ProtocolFile) -> Iterator[Mistake]:
    known = {rule.id for rule in file.rules}
    for n, entry in enumerate(file.not_executed or ()):
        if entry.rule not in known:
            yield ("not_executed", n, "rule"), f"rule '{entry.rule}' is not among the file's rules"
    have = ", ".join(sorted(known)) or "none"
    for place, section in walk(file):
        if section is file or place[:1] in (("rules",), ("not_executed",)):
            continue
        one, several = getattr(section, "rule", ""), getattr(section, "rules", ())
        if one and one not in known:
            yield (*place, "rule"), f"rule '{one}' is not among the file's rules, which are: {have}"
        for n, rule in enumerate(several):
            if rule not in known:
                yield (*place, "rules", n), f"rule '{rule}' is not among the file's rules, which are: {have}"


def walk(section: BaseModel, place: Place = ()) -> Iterator[tuple[Place, BaseModel]]:
    """Go through a section and all below it, each with its place in the file."""
    yield place, section
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        key = field.alias or name
        if isinstance(value, BaseModel):
            yield from walk(value, (*place, key))
        elif isinstance(value, tuple):
            for n, entry in enumerate(value):
                if isinstance(entry, BaseModel):
                    yield from walk(entry, (*place, key, n))


def _condition(node: Condition, facts: dict[str, FactEntry], place: Place) -> Iterator[Mistake]:
    for at, leaf in walk(node, place):
        if not isinstance(leaf, Compare | OneOf | Between | Known):
            continue
        key = "known" if isinstance(leaf, Known) else "fact"
        fact = facts.get(leaf.fact)
        if fact is None:
            yield (
                (*at, key),
                f"fact '{leaf.fact}' is not among the file's facts, which are: {', '.join(facts) or 'none'}",
            )
            continue
        values: tuple[tuple[str, object], ...] = ()
        ordered = False
        if isinstance(leaf, Compare):
            values, ordered = (("value", leaf.value),), leaf.operator not in ("==", "!=")
        elif isinstance(leaf, OneOf):
            values = tuple(("in", value) for value in leaf.among)
        elif isinstance(leaf, Between):
            values, ordered = tuple(("between", value) for value in leaf.between), True
        if ordered and fact.type not in ("number", "integer", "date"):
            yield (
                (*at, key),
                f"fact '{fact.name}' is a {fact.type}: it has no order, so only ==, != and in can be asked",
            )
            continue
        read: list[object] = []
        for where, value in values:
            try:
                read.append(fact.read(value))
            except InputError as error:
                yield (*at, where), f"{error}"
                break
            if read[-1] != value:
                yield (*at, where), f"{value!r} must be written as the fact says it: {read[-1]!r}"
        if isinstance(leaf, Between) and len(read) == 2 and COMPARE[">"](*read):
            yield (*at, "between"), f"{leaf.between[0]} is above {leaf.between[1]}: nothing lies between them"


def _steps(steps: Sequence[StepEntry], earlier: Sequence[StepEntry], place: Place) -> Iterator[Mistake]:
    names = [step.name.lower() for step in steps]
    before = {step.name.lower() for step in earlier}
    for n, step in enumerate(steps):
        # Of several ways of making a structure, each for some patients, `for_patient` leaves one.
        same = [other for other, name in zip(steps[:n], names, strict=False) if name == names[n]]
        if names[n] in before or any(step.when is None or other.when is None for other in same):
            yield (*place, n, "name"), f"'{step.name}' is made twice"
        later = set(names[n:]) - set(names[:n])
        for name in (part for group in step.record().inputs() for part in group):
            if name.lower() in later:
                which = "itself" if name.lower() == names[n] else f"'{name}', which is made only later"
                yield (*place, n), f"'{step.name}' is made of {which}"


def _prescriptions(file: ProtocolFile, entries: Sequence[PrescriptionEntry], place: Place) -> Iterator[Mistake]:
    seen: set[tuple[str, int]] = set()
    fractions: dict[int, PrescriptionEntry] = {}
    for n, entry in enumerate(entries):
        if (entry.target.lower(), entry.phase) in seen:
            yield (*place, n, "target"), f"'{entry.target}' is prescribed twice in phase {entry.phase}"
        seen.add((entry.target.lower(), entry.phase))
        first = fractions.setdefault(entry.phase, entry)
        if entry.fractions != first.fractions:
            yield (
                (*place, n, "fractions"),
                f"'{entry.target}' has {entry.fractions} fractions and '{first.target}' {first.fractions} in the same "
                f"phase {entry.phase}: one plan has one number of fractions",
            )
        if entry.normalisation is None and entry.painted is None and file.normalisation is None:
            yield (
                (*place, n),
                f"it is not said how the dose of '{entry.target}' is tied to the plan: give 'normalisation' here or at "
                'the top of the file, such as {coverage: "D95%[Gy]"}',
            )
        yield from _boost(entry, entries, (*place, n, "boosts"))
    phases = sorted(fractions)
    if phases != list(range(1, len(phases) + 1)):
        yield place, f"phases are counted 1, 2, 3; found {', '.join(str(phase) for phase in phases)}"


def _boost(entry: PrescriptionEntry, entries: Sequence[PrescriptionEntry], place: Place) -> Iterator[Mistake]:
    if entry.boosts is None:
        return
    below = [other for other in entries if other.target.lower() == entry.boosts.lower()]
    if not below:
        told = ", ".join(dict.fromkeys(other.target for other in entries))
        yield place, f"'{entry.boosts}' is not prescribed; prescribed are: {told}"
    elif entry.boosts.lower() == entry.target.lower():
        yield place, f"'{entry.target}' cannot boost itself"
    elif max(other.phase for other in below) >= entry.phase:
        yield (
            place,
            f"'{entry.target}' in phase {entry.phase} boosts '{entry.boosts}', which is prescribed in phase "
            f"{max(other.phase for other in below)}: a boost comes after what it boosts",
        )


def _supplements(file: ProtocolFile) -> Iterator[Mistake]:
    courses = (file.prescriptions, *(course.prescriptions for _, course in _courses(file)))
    prescribed = {entry.target.lower() for own in courses for entry in own}
    seen: set[str] = set()
    for n, entry in enumerate(file.supplements):
        if entry.target.lower() in seen:
            yield ("supplements", n, "target"), f"'{entry.target}' is supplemented twice"
        if entry.target.lower() in prescribed:
            yield (
                ("supplements", n, "target"),
                f"'{entry.target}' has a prescription of its own: only a region without one is supplemented",
            )
        seen.add(entry.target.lower())


def _technique(technique: Technique | None, prescribed: Sequence[PrescriptionEntry], place: Place) -> Iterator[Mistake]:
    if technique is None:
        return
    phases = sorted({entry.phase for entry in prescribed})
    have = f"the prescriptions have phase {' and '.join(str(phase) for phase in phases)}"
    for n, own in enumerate(technique.phases):
        if own.phase not in phases:
            yield (*place, "phases", n, "phase"), f"phase {own.phase} is not prescribed: {have}"
    moving = technique.hand_over
    if moving is None:
        return
    ends = (("from_phase", moving.from_phase), ("to_phase", moving.to_phase))
    for key, phase in ends:
        if phase not in phases:
            yield (*place, "hand_over", key), f"phase {phase} is not prescribed: {have}"
    per_fraction = [
        {entry.target.lower(): entry.dose_per_fraction_gy for entry in prescribed if entry.phase == phase}
        for _, phase in ends
    ]
    if all(per_fraction) and per_fraction[0] != per_fraction[1]:
        told = " and ".join(
            f"in phase {phase} "
            + ", ".join(
                f"'{entry.target}' {float(entry.dose_per_fraction_gy):g} Gy" for entry in prescribed
                if entry.phase == phase
            )
            for _, phase in ends
        )  # fmt: skip
        yield (
            (*place, "hand_over"),
            f"fractions can move only between phases with the same targets and doses per fraction; found {told}",
        )


def _courses(file: ProtocolFile) -> Iterator[tuple[Place, CourseEntry]]:
    """Every plan and every option of one, with its place."""
    for n, plan in enumerate(file.plans):
        yield ("plans", n), plan
        for m, option in enumerate(plan.options):
            yield ("plans", n, "options", m), option


def _plans(file: ProtocolFile) -> Iterator[Mistake]:
    for n, plan in enumerate(file.plans):
        ids = [option.id for option in plan.options]
        for m, option in enumerate(plan.options):
            if ids[m] in ids[:m]:
                yield ("plans", n, "options", m, "id"), f"'{option.id}' is given twice"
    for place, course in _courses(file):
        before = file.targets + (file.plans[int(place[1])].targets if len(place) > 2 else ())
        yield from _course(file, course, before, place)
        yield from _technique_of_course(file.technique, course, place, "the file's technique")
        if file.preferred is not None:
            yield from _technique_of_course(file.preferred.technique, course, place, "the preferred technique")
    in_all = set.intersection(*({entry.target for entry in plan.prescriptions} for plan in file.plans))
    shared = [entry for entry in file.plans[0].prescriptions if entry.target in in_all]
    yield from _limits(file.limits, shared, ("limits",))


def _course(file: ProtocolFile, course: CourseEntry, before: Sequence[StepEntry], place: Place) -> Iterator[Mistake]:
    yield from _steps(course.targets, before, (*place, "targets"))
    yield from _prescriptions(file, course.prescriptions, (*place, "prescriptions"))
    yield from _limits(course.limits, course.prescriptions, (*place, "limits"))


def _technique_of_course(
    technique: Technique | None, course: CourseEntry, place: Place, whose: str
) -> Iterator[Mistake]:
    for _, fault in _technique(technique, course.prescriptions, place):
        yield place, f"{whose} does not fit: {fault}"


def _amendments(file: ProtocolFile) -> Iterator[Mistake]:
    for n, entry in enumerate(file.amendments):
        yield from _course(file, entry, file.targets, ("amendments", n))
        yield from _technique_of_course(file.technique, entry, ("amendments", n), "the file's technique")
        numbers = [fact.name for fact in file.facts if fact.type in ("number", "integer")]
        if entry.fact is not None and entry.fact not in numbers:
            told = ", ".join(numbers) or "none"
            yield ("amendments", n, "fact"), f"'{entry.fact}' is no number among the file's facts, which are: {told}"


def _sections(file: ProtocolFile) -> Iterator[Mistake]:
    plans = {plan.id: plan for plan in file.plans}
    for n, entry in enumerate(file.adaptations):
        if entry.plan is not None and entry.plan not in plans:
            have = ", ".join(plans) or "none"
            yield ("adaptations", n, "plan"), f"there is no plan '{entry.plan}'; plans are: {have}"
            continue
        if entry.plan is None and plans:
            yield ("adaptations", n), "say in 'plan' to which of the plans this belongs"
            continue
        # An option of the plan may have a target of its own.
        courses = (plans[entry.plan], *plans[entry.plan].options) if entry.plan is not None else (file,)
        doses = [[own.dose_gy for own in one.prescriptions if own.target == entry.target] for one in courses]
        if not any(doses):
            yield ("adaptations", n, "target"), f"'{entry.target}' is not prescribed"
        elif any(own and sum(own) < entry.at_gy for own in doses):
            yield ("adaptations", n, "at_gy"), f"'{entry.target}' never gets {entry.at_gy:g} Gy"
    if file.drugs is None:
        return
    ids = [regimen.id for regimen in file.drugs.regimens]
    own = {regimen.id for regimen in file.drugs.regimens if regimen.drugs or regimen.one_of}
    for n, regimen in enumerate(file.drugs.regimens):
        if regimen.id in ids[:n]:
            yield ("drugs", "regimens", n, "id"), f"'{regimen.id}' is given twice"
        if regimen.same_as is not None and regimen.same_as not in own:
            yield (
                ("drugs", "regimens", n, "same_as"),
                f"'{regimen.same_as}' is no regimen with drugs; those are: {', '.join(sorted(own)) or 'none'}",
            )
        if regimen.after is not None and regimen.after.regimen not in set(ids) - {regimen.id}:
            yield ("drugs", "regimens", n, "after"), f"'{regimen.after.regimen}' is no other regimen of the file"
    for n, window in enumerate(file.drugs.windows):
        if window.regimen not in own:
            yield ("drugs", "windows", n, "regimen"), f"'{window.regimen}' is no regimen with drugs"


def _not_executed(file: ProtocolFile) -> Iterator[Mistake]:
    if file.not_executed is None:
        return
    used: set[str] = set()
    for place, section in walk(file):
        if section is not file and place[:1] not in (("rules",), ("not_executed",)):
            used |= {getattr(section, "rule", ""), *getattr(section, "rules", ())}
    seen: set[tuple[str, str]] = set()
    for n, entry in enumerate(file.not_executed):
        if (entry.rule, entry.part) in seen:
            yield ("not_executed", n), f"rule '{entry.rule}' is listed twice"
        seen.add((entry.rule, entry.part))
        if not entry.part and entry.rule in used:
            yield ("not_executed", n), f"rule '{entry.rule}' is used in this file: name the 'part' that is not executed"
        if entry.part and entry.rule not in used:
            yield ("not_executed", n, "part"), f"no part of rule '{entry.rule}' is used in this file: leave 'part' out"
    told = {entry.rule for entry in file.not_executed}
    for n, rule in enumerate(file.rules):
        if rule.id not in used | told and rule.mark != "site":
            yield ("rules", n), f"rule '{rule.id}' is neither used nor listed in 'not_executed'"


def _limits(limits: Sequence[LimitEntry], prescribed: Sequence[PrescriptionEntry], place: Place) -> Iterator[Mistake]:
    targets = {entry.target for entry in prescribed}
    seen: set[tuple[object, ...]] = set()
    for n, limit in enumerate(limits):
        if limit.percent_of is not None and limit.percent_of not in targets:
            yield (
                (*place, n, "percent_of"),
                f"'{limit.percent_of}' is not prescribed; prescribed are: {', '.join(sorted(targets))}",
            )
        same = (
            limit.structure.lower(), limit.metric, limit.operator, limit.priority, limit.quantity, limit.alpha_beta_gy,
            limit.scope, limit.when,
        )  # fmt: skip
        if same in seen:
            yield (*place, n), f"{limit.structure} {limit.metric} {limit.operator} ({limit.priority}) is limited twice"
        seen.add(same)


def _comparator(file: ProtocolFile) -> Iterator[Mistake]:
    other = file.comparator
    assert other is not None
    yield from _steps(other.targets, file.targets, ("comparator", "targets"))
    yield from _prescriptions(file, other.prescriptions, ("comparator", "prescriptions"))
    where: Place = ("comparator", "technique") if other.technique else ("comparator",)
    for place, fault in _technique(other.technique or file.technique, other.prescriptions, where):
        yield place, fault if other.technique else f"it shares the protocol's technique, but {fault}"
    yield from _limits(other.limits, other.prescriptions, ("comparator", "limits"))
    targets = {entry.target for entry in other.prescriptions}
    for limit in shared_limits(file):
        if limit.percent_of is not None and limit.percent_of not in targets:
            yield (
                ("comparator",),
                f"the limit {limit.metric} of {limit.structure} is in percent of '{limit.percent_of}', which the "
                "comparator does not prescribe: give it a limit of its own on the same structure and metric",
            )


def shared_limits(file: ProtocolFile) -> tuple[LimitEntry, ...]:
    """Limits that the comparator shares: all but those on the protocol's own targets and those it replaces."""
    if file.comparator is None:
        return file.limits
    own = {entry.target.lower() for entry in file.prescriptions}
    replaced = {(limit.structure.lower(), limit.metric) for limit in file.comparator.limits}
    return tuple(
        limit
        for limit in file.limits
        if limit.structure.lower() not in own and (limit.structure.lower(), limit.metric) not in replaced
    )
