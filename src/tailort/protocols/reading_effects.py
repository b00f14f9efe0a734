"""What another reading of an ambiguous rule would change in this patient's course, in words.

A decision tells every condition of the file that would come out otherwise, by its place. Here the patient is treated
once more under the other reading, and only what differs in the patient's own plan is told.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols.decision import AppliedDefault, Deciding, Decision, OtherReading, decide
from tailort.protocols.known import PLAN, readings_taken, seen
from tailort.protocols.protocol import Protocol
from tailort.protocols.scores.body_surface import BsaAnswer
from tailort.protocols.treatment import treatment
from tailort.protocols.treatment_records import Course, Drugs, Limit, Part, Treatment

_OPERATORS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}
_PRIORITIES = {"hard": "a hard limit", "goal": "a goal", "report": "only reported"}
_APPLIES = {"yes": "for this patient", "no": "not for this patient", "unknown": "open"}


def decide_with_effects(
    protocol: Protocol,
    facts: Mapping[str, Fact],
    readings: Mapping[str, str] | None = None,
    today: dt.date | None = None,
) -> tuple[Decision, Treatment | None]:
    """Decide as `decide` does and treat the patient, and tell in words what each other reading would change of it.

    Raises
    ------
    InputError
        As of `decide` and of `treatment`.
    """
    decision = decide(protocol, facts, readings, today)
    made = treatment(protocol, facts, decision, readings=readings, today=today)
    return with_effects(protocol, facts, decision, made, readings, today), made


def with_effects(
    protocol: Protocol,
    facts: Mapping[str, Fact],
    decision: Decision,
    made: Treatment | None,
    readings: Mapping[str, str] | None = None,
    today: dt.date | None = None,
) -> Decision:
    """Return a decision of which each other reading tells in words what it would change for this patient.

    Parameters
    ----------
    protocol : Protocol
        As it was loaded.
    facts : dict of Fact
        The clinical record.
    decision, made : Decision, Treatment or None
        Of this protocol for this record.
    readings, today
        As of `decide`.
    """
    named = dict(readings or {})
    deciding = Deciding.of(protocol, named, today)
    here = seen(protocol.file, facts, named, today).values
    # No condition asks for it: it changes doses only.
    drugs = protocol.file.drugs
    of_surface = drugs.body_surface.reading if drugs is not None and drugs.body_surface is not None else None

    def told(default: AppliedDefault, other: OtherReading) -> OtherReading:
        if not other.changes and default.rule != of_surface:
            return replace(other, effects=())
        read = {**named, default.rule: other.name}
        try:
            taken = readings_taken(protocol.file, read)
            there = replace(deciding, named=read, taken=taken, told=[]).decide(facts, "answers")
            found = treatment(protocol, facts, there, readings=read, today=today)
        except InputError as error:
            return replace(other, effects=(f"the record would be refused: {error}",))
        effects = [*_effects(protocol, (decision, made), (there, found))]
        if protocol.file.only_proposes:
            effects += _proposed(protocol, here, seen(protocol.file, facts, read, today).values)
        return replace(other, effects=tuple(effects))

    defaults = tuple(
        default
        if default.others is None
        else replace(default, others=tuple(told(default, other) for other in default.others))
        for default in decision.defaults
    )
    return replace(decision, defaults=defaults)


def _effects(
    protocol: Protocol, here: tuple[Decision, Treatment | None], there: tuple[Decision, Treatment | None]
) -> Iterator[str]:
    was, now = here[0], there[0]
    if now.answer != was.answer:
        needs = f", open without {', '.join(now.missing)}" if now.missing else ""
        failed = f", by {', '.join(now.failed_rules)}" if now.failed_rules else ""
        yield f"admitted: {now.answer} instead of {was.answer}{needs}{failed}"
    # A table that gives the number of a limit is told as the limit.
    as_limits = {one.table for one in protocol.file.table_limits}
    for before, after in zip(was.strata, now.strata, strict=True):
        if after.possible != before.possible and after.table not in as_limits:
            needs = f" (open without {', '.join(after.missing)})" if after.is_open else ""
            yield f"{after.table}: {after.told}{needs} instead of {before.told}"
    first, second = here[1], there[1]
    if first is None or second is None:
        return
    if _plans(was) == _plans(now):
        for before_course, after_course in zip(first.courses, second.courses, strict=True):
            of = f"plan {after_course.plan}, " if len(second.courses) > 1 else ""
            yield from (f"{of}{text}" for text in _course(before_course, after_course))
    yield from _parts("note", first.statements, second.statements)
    yield from _drugs(first.drugs, second.drugs)


def _plans(decision: Decision) -> tuple[str, ...]:
    return next((tuple(filter(None, one.possible)) for one in decision.strata if one.table == PLAN), ())


def _proposed(protocol: Protocol, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Modifiers and triggers of a file that proposes, for the values of both readings."""
    for kind, entries in (("modifier", protocol.file.modifiers), ("trigger", protocol.file.triggers)):
        for entry in entries:
            before, after = entry.when.evaluate(was).answer, entry.when.evaluate(now).answer
            if before != after:
                yield f"{kind} {entry.id}: {_APPLIES[after]} instead of {_APPLIES[before]}"


def _course(was: Course, now: Course) -> Iterator[str]:
    for before, after in (
        (was.techniques, now.techniques), (was.positions, now.positions), (was.targets, now.targets),
        (was.supplements, now.supplements),
    ):  # fmt: skip
        yield from _parts("", before, after)
    yield from _limits(was.limits, now.limits)


def _parts(title: str, was: Sequence[Part], now: Sequence[Part]) -> Iterator[str]:
    before, after = _by_name(was), _by_name(now)
    title = f"{title} " if title else ""
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            yield f"{title}{name} is left out"
        elif name not in before:
            yield f"{title}{name} as well: {after[name]}"
        elif before[name] != after[name]:
            yield f"{title}{name}: {_only_what_differs(after[name], before[name])}"


def _by_name(parts: Sequence[Part]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        perhaps = "" if part.applies == "yes" else f" (open without {', '.join(part.missing)})"
        text = f"{part.text}{perhaps}"
        found[part.name] = f"{found[part.name]}, or {text}" if part.name in found else text
    return found


def _only_what_differs(now: str, was: str) -> str:
    """Two texts made of parts, without the parts that they begin and end with alike."""
    new, old = now.split(", "), was.split(", ")
    while len(new) > 1 and len(old) > 1 and new[0] == old[0]:
        new, old = new[1:], old[1:]
    while len(new) > 1 and len(old) > 1 and new[-1] == old[-1]:
        new, old = new[:-1], old[:-1]
    return f"{', '.join(new)} instead of {', '.join(old)}"


def _limits(was: Sequence[Limit], now: Sequence[Limit]) -> Iterator[str]:
    before, after = _by_metric(was), _by_metric(now)
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key, ()), after.get(key, ())
        gone, come = [one for one in old if one not in new], [one for one in new if one not in old]
        name = f"{key[0]} {key[1].partition('[')[0]}"
        if not gone and not come:
            continue
        if not come:
            yield f"{name} {_number(gone[0])} is no longer {_priority(gone)}"
        elif not gone:
            yield f"{name} {_number(come[0])} is {_priority(come)}"
        elif _number(come[0]) == _number(gone[0]):
            yield f"{name} {_number(come[0])} is {_priority(come)} instead of {_priority(gone)}"
        else:
            own = "" if _priority(come) == _priority(gone) else f", {_priority(come)} instead of {_priority(gone)}"
            yield f"{name} {_number(come[0])} instead of {_number(gone[0])}{own}"


def _by_metric(limits: Sequence[Limit]) -> dict[tuple[str, str, str, str], tuple[Limit, ...]]:
    """Limits of the same structure, metric, quantity and direction."""
    found: dict[tuple[str, str, str, str], tuple[Limit, ...]] = {}
    for one in limits:
        key = (one.structure, one.metric, f"{one.quantity} {one.scope}", one.operator[0])
        found[key] = (*found.get(key, ()), one)
    return found


def _number(limit: Limit) -> str:
    unit = limit.metric.partition("[")[2].rstrip("]")
    # The sum with earlier courses stands beside the limit itself.
    note = f" ({limit.note})" if limit.note and not limit.note.startswith(("100 %", "with ")) else ""
    if limit.quantity != "physical":
        unit += f" {limit.quantity}"
    number = "open" if limit.limit is None else f"{limit.limit:g} {unit}"
    return f"{_OPERATORS[limit.operator]} {number}{note}"


def _priority(limits: Sequence[Limit]) -> str:
    return " and ".join(dict.fromkeys(_PRIORITIES[one.priority] for one in limits))


def _drugs(was: Drugs | None, now: Drugs | None) -> Iterator[str]:
    if was is None or now is None:
        return
    if was.body_surface is not None and now.body_surface is not None and was.body_surface != now.body_surface:
        yield f"body surface area, and doses per m2: {_area(now.body_surface)} instead of {_area(was.body_surface)}"
    before: dict[str, Any] = {one.id: one.applies for one in was.regimens}
    for one in now.regimens:
        if one.applies != before[one.id]:
            yield f"drugs, {one.id}: {_APPLIES[one.applies]} instead of {_APPLIES[before[one.id]]}"


def _area(size: BsaAnswer) -> str:
    return f"by {size.formula}" if size.bsa_m2 is None else f"{size.bsa_m2:.3f} m2 by {size.formula}"
