"""What a protocol sees of a patient: facts in its own types, what its tables say, and how ambiguous rules are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tailort.errors import InputError, ProtocolError
from tailort.patient import Fact
from tailort.protocols.condition import ByReading, CompareFacts, OutcomeIs, ReadingIs, in_words, of_reading, of_table
from tailort.protocols.consistency import Mistake, Place, walk
from tailort.protocols.drugs import FORMULAS
from tailort.protocols.schema import FactEntry, ProtocolFile
from tailort.protocols.tables import DecisionTable, ReadingChoice, TableFinding, TableRow

TODAY = "today"
PLAN = "plan"


def known_facts(file: ProtocolFile, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Facts that the protocol knows and the record supplies, in the protocol's types.

    Raises
    ------
    InputError
        When a fact is of the wrong type, out of range or no choice of the protocol.
    """
    known = {}
    for entry in file.facts:
        fact = facts.get(entry.name)
        if fact is None or fact.value is None:
            continue
        try:
            value = entry.read(fact.value)
            known[entry.name] = fact if value is fact.value else replace(fact, value=value)
        except InputError as error:
            raise InputError(f"protocol '{file.id}': {error}; correct the clinical record") from error
    return known | _computed(file, known)


def _computed(file: ProtocolFile, known: Mapping[str, Fact]) -> dict[str, Fact]:
    """Facts that follow from others by arithmetic; one that the record tells as well must agree."""
    made: dict[str, Fact] = {}
    values = {name: fact.value for name, fact in known.items()}
    for entry in file.facts:
        value = None if entry.computed is None else entry.computed.value(values)
        if entry.computed is None or value is None:
            continue
        of = ", ".join(entry.computed.of)
        try:
            told = known.get(entry.name)
            if told is not None and isinstance(told.value, int | float):
                entry.computed.require_agreement(entry.name, told.value, value)
            else:
                made[entry.name] = Fact(entry.name, entry.read(value), f"computed from {of}")
        except InputError as error:
            raise InputError(f"protocol '{file.id}': from {of}: {error}") from error
    return made


def tables_of(file: ProtocolFile) -> tuple[DecisionTable, ...]:
    """Decision tables of a protocol file, in the order in which they are read; its `plans` are the last, PLAN."""
    if not file.plans:
        return file.tables
    rows = tuple(
        TableRow.model_construct(when=plan.when, outcome=plan.id, note=plan.title, rules=plan.rules)
        for plan in file.plans
    )
    text = "Which of the protocol's plans is this patient's"
    alone = file.plans_read == "exclusive"
    plans = DecisionTable.model_construct(name=PLAN, text=text, rows=rows, otherwise=None, exclusive=alone, rules=())
    return (*file.tables, plans)


def readings_of(file: ProtocolFile) -> dict[str, ReadingChoice]:
    """Readings that can be taken by name, by rule."""
    return {choice.rule: choice for choice in file.readings}


def readings_taken(file: ProtocolFile, named: Mapping[str, str]) -> dict[str, str]:
    """Reading of each ambiguous rule that has several which can be taken: the one named, else the file's default.

    Parameters
    ----------
    file : ProtocolFile
        Whose rules are read.
    named : dict of str
        Name of a reading by rule. A rule with no other reading that can be taken accepts "default" only.

    Raises
    ------
    InputError
        When there is no such rule or reading, or the other reading is only told and cannot be taken.
    """
    choices = readings_of(file)
    for rule, name in named.items():
        own = next((one for one in file.rules if one.id == rule), None)
        if own is None or own.reading is None:
            several = ", ".join(one.id for one in file.rules if one.reading is not None) or "none"
            what = "is not ambiguous" if own else "is not one of its rules"
            raise InputError(f"protocol '{file.id}': '{rule}' {what}; ambiguous are: {several}")
        if rule not in choices and name != "default":
            raise InputError(
                f"protocol '{file.id}' tells another reading of '{rule}' but cannot take it: only "
                f"'{rule}=default' ({own.reading.default}) is executed"
            )
        if rule in choices and name != "default" and name not in choices[rule].names:
            told = "; ".join(f"{rule}={key} ({text})" for key, text in choices[rule].names.items())
            raise InputError(f"protocol '{file.id}': there is no reading '{name}' of '{rule}'; give one of {told}")
    taken = {}
    for rule, choice in choices.items():
        name = named.get(rule, "default")
        taken[rule] = name if name in choice.names else choice.default
    return taken


@dataclass(frozen=True)
class Seen:
    """What a protocol sees of a patient.

    Parameters
    ----------
    facts : dict of Fact
        Known facts, in the protocol's types.
    values : dict
        What conditions are evaluated on: values of the facts, `Candidates` of the tables, readings taken.
    tables : tuple of TableFinding
        What each decision table says.
    """

    facts: Mapping[str, Fact]
    values: Mapping[str, Any]
    tables: tuple[TableFinding, ...]


def seen(
    file: ProtocolFile,
    facts: Mapping[str, Fact],
    readings: Mapping[str, str] | None = None,
    today: dt.date | None = None,
) -> Seen:
    """Return what a protocol sees of a patient.

    Parameters
    ----------
    file : ProtocolFile
        Which asks.
    facts : dict of Fact
        The clinical record.
    readings : dict of str
        Readings to take in place of the file's defaults, by rule.
    today : date or None
        What the fact `today` is; None leaves it unknown.

    Raises
    ------
    InputError
        When a fact cannot be, facts contradict each other, or a reading is not known.
    """
    known = known_facts(file, facts)
    if today is not None:
        for fact in known.values():
            if fact.date is not None and fact.date > today:
                raise InputError(
                    f"fact '{fact.name}' is dated {fact.date}, which is after today ({today}); correct the clinical "
                    "record"
                )
        planned = {entry.name for entry in file.facts if entry.planned}
        for fact in known.values():
            if isinstance(fact.value, dt.date) and fact.value > today and fact.name not in planned:
                raise InputError(
                    f"fact '{fact.name}' is {fact.value}, which is after today ({today}); correct the clinical record"
                )
        known.setdefault(TODAY, Fact(TODAY, today, "calendar"))
    seen_facts = look(file, known, readings_taken(file, readings or {}))
    _refuse_contradictions(file, seen_facts)
    return seen_facts


def look(file: ProtocolFile, known: Mapping[str, Fact], taken: Mapping[str, str]) -> Seen:
    """Read the tables for facts that are checked already, with readings that are all told."""
    values: dict[str, Any] = {name: fact.value for name, fact in known.items()}
    values.update((of_reading(rule), name) for rule, name in taken.items())
    found = []
    for table in tables_of(file):
        found.append(table.ask(values))
        values[of_table(table.name)] = found[-1].candidates
    return Seen(known, values, tuple(found))


def _refuse_contradictions(file: ProtocolFile, patient: Seen) -> None:
    for contradiction in file.contradictions:
        finding = contradiction.when.evaluate(patient.values)
        if finding.answer == "yes":
            told = ", ".join(
                f"{name} is {in_words(patient.facts[name].value)}" for name in finding.facts if name in patient.facts
            )
            rule = f" ({contradiction.rule})" if contradiction.rule else ""
            raise InputError(
                f"protocol '{file.id}': facts contradict each other: {contradiction.text}{rule}, found {told}; correct "
                "the clinical record"
            )


def decision_mistakes(file: ProtocolFile) -> Iterator[Mistake]:
    """Find what contradicts itself in tables, readings, and conditions that look at them or at two facts.

    Yields
    ------
    tuple
        The place in the file (keys and positions from the top) and what is wrong there.
    """
    facts = {entry.name: entry for entry in file.facts}
    tables = {table.name: table for table in tables_of(file)}
    choices = readings_of(file)
    yield from _doubles(file)
    for n, choice in enumerate(choices.values()):
        rule = next((one for one in file.rules if one.id == choice.rule), None)
        if rule is None or rule.reading is None:
            yield ("readings", n, "rule"), f"'{choice.rule}' is no ambiguous rule of the file"
    surface = None if file.drugs is None else file.drugs.body_surface
    if surface is not None and surface.reading is not None:
        names = choices[surface.reading].names if surface.reading in choices else {"": ""}
        if not set(names) <= set(FORMULAS):
            yield (
                ("drugs", "body_surface", "reading"),
                f"the readings of '{surface.reading}' must have names of formulas: {', '.join(FORMULAS)}",
            )
    before = list(tables)
    for place, node in walk(file):
        if isinstance(node, CompareFacts):
            yield from _two_facts(node, facts, place)
        elif isinstance(node, OutcomeIs):
            # Rows may look only at tables above their own, plans at all but themselves.
            known, where = before, "in the file"
            if place[0] == "tables":
                known, where = before[: int(place[1])], "above it"
            elif place[0] == "plans" and place[2:3] == ("when",):
                known = [name for name in before if name != PLAN]
            if node.outcome not in known:
                yield (
                    (*place, "outcome"),
                    f"there is no decision table '{node.outcome}' {where}, there are: {', '.join(known) or 'none'}",
                )
                continue
            for among in node.among:
                if among not in tables[node.outcome].outcomes:
                    have = ", ".join(tables[node.outcome].outcomes)
                    yield (*place, "in"), f"the table '{node.outcome}' never gives '{among}'; it gives {have}"
        elif isinstance(node, ByReading | ReadingIs):
            yield from _reading(node, choices, place)


def _doubles(file: ProtocolFile) -> Iterator[Mistake]:
    named: tuple[tuple[str, str, list[str]], ...] = (
        ("tables", "name", [table.name for table in tables_of(file)]),
        ("readings", "rule", [choice.rule for choice in file.readings]),
    )
    for section, key, names in named:
        for n, name in enumerate(names):
            if name in names[:n]:
                yield (section, n, key), f"'{name}' is given twice"


def _two_facts(node: CompareFacts, facts: Mapping[str, FactEntry], place: Place) -> Iterator[Mistake]:
    kinds = []
    for key, name in (("fact", node.fact), ("than", node.than)):
        if name not in facts and name != TODAY:
            have = ", ".join(facts) or "none"
            yield (*place, key), f"fact '{name}' is not among the file's facts, which are: {have}"
            return
        kinds.append(facts[name].type if name in facts else "date")
    kinds = ["number" if kind == "integer" else kind for kind in kinds]
    if kinds[0] != kinds[1]:
        yield place, f"'{node.fact}' is a {kinds[0]} and '{node.than}' a {kinds[1]}: they cannot be compared"
    elif kinds[0] not in ("number", "date") and (node.operator not in ("==", "!=") or node.plus):
        yield place, f"a {kinds[0]} has no order: only == and != can be asked"
    elif node.plus is not None and node.plus.is_time != (kinds[0] == "date"):
        yield (*place, "plus"), f"{node.plus.text} cannot be added to a {kinds[0]}"


def _reading(node: ByReading | ReadingIs, choices: Mapping[str, ReadingChoice], place: Place) -> Iterator[Mistake]:
    choice = choices.get(node.reading)
    if choice is None:
        have = ", ".join(choices) or "none"
        yield (*place, "reading"), f"the file names no readings of '{node.reading}'; it names those of: {have}"
        return
    names = ", ".join(choice.names)
    if isinstance(node, ReadingIs):
        if node.taken not in choice.names:
            yield (*place, "taken"), f"'{node.taken}' is no reading of '{node.reading}'; there are {names}"
        return
    told = [case.taken for case in node.cases]
    if sorted(told) != sorted(choice.names):
        yield (*place, "cases"), f"every reading of '{node.reading}' has one case: {names}; found {', '.join(told)}"


def require_consistent(file: ProtocolFile, origin: str = "") -> None:
    """Refuse a protocol file whose tables, readings or comparisons contradict themselves.

    Raises
    ------
    ProtocolError
        With the place in the file.
    """
    for place, fault in decision_mistakes(file):
        raise ProtocolError(f"{origin or file.id}, {'.'.join(str(part) for part in place)}: {fault}")
