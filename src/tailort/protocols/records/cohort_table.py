"""A cohort from a table: one row a patient, or one a visit, adverse event, lesion, course or cycle; CSV in."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

from tailort.cohort.patients import (
    AdverseEvent,
    CourseGiven,
    CycleGiven,
    FollowedPatient,
    LesionSize,
    Patients,
    Visit,
)
from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols.cohort_endpoints import Endpoint
from tailort.protocols.records.cohort_mapping import MOMENTS, PARTS, PATIENT, CohortMapping, RowKind
from tailort.protocols.records.cohort_times import (
    TableRows,
    are_in_order,
    contradictions,
    in_order,
)
from tailort.protocols.records.table import AbsentFact, CellFault, RowReader, TableError, require_units, table_rows
from tailort.protocols.schema import FactEntry

_LAST = dt.date.max


def parse_cohort(
    text: str,
    mapping: CohortMapping,
    *,
    today: dt.date,
    entries: Sequence[FactEntry] = (),
    endpoints: Sequence[Endpoint] = (),
    origin: str = "table.csv",
) -> Patients:
    """Read the patients of a cohort.

    Parameters
    ----------
    text : str
        CSV.
    mapping : CohortMapping
        Which column is what.
    today : date
        Dates after it are refused.
    entries : sequence of FactEntry
        Facts of a protocol: type, range, choices and unit are checked as well.
    endpoints : sequence of Endpoint
        What the dates of a patient must be in order for.
    origin : str
        The table's name, for messages.

    Returns
    -------
    Patients
        By pseudonym; what each has several of is in the order of time. The order of the rows does not matter.

    Raises
    ------
    InputError
        When the columns are not those of the mapping.
    TableError
        With row, column and patient: a wrong value, unit, date or code, a row that is there twice, rows that contradict
        each other, and what cannot be, such as a visit after death.
    """
    known = {entry.name: entry for entry in entries}
    require_units(mapping, known, origin)
    header, rows = table_rows(text, mapping, origin)
    reader = _CohortReader(mapping, today, known)
    at_once = reader.by_columns(header, rows, endpoints)
    if at_once is not None:
        return at_once
    faults: list[CellFault] = []
    for row, cells in rows:
        if len(cells) != len(header):
            faults.append(_ragged(row, cells, header, mapping))
            continue
        told = dict(zip(header, cells, strict=True))
        if all(told[name] in wanted for name, wanted in mapping.only_rows.items()):
            faults.extend(reader.read(row, told))
    faults.extend(reader.finish(endpoints))
    if faults:
        raise TableError(origin, sorted(dict.fromkeys(faults), key=lambda fault: fault.row))
    if not reader.patients:
        raise InputError(f"{origin}: no row is a patient's; correct 'only_rows' or 'row_kind' in the mapping")
    return Patients(_patient(name, reader.patients[name]) for name in sorted(reader.patients))


class _CohortReader:
    """Reads rows one after the other, and keeps what they tell of each patient."""

    def __init__(self, mapping: CohortMapping, today: dt.date, known: Mapping[str, FactEntry]) -> None:
        self.mapping = mapping
        self.patients: dict[str, TableRows] = {}
        self.patient_reader = RowReader(mapping, today, known)
        self.parts: dict[RowKind, RowReader] = {
            kind: RowReader(mapping.of(part.columns), today, known if kind == "visit" else {})
            for kind, part in mapping.parts()
        }
        self.places: dict[RowKind, dict[str, str]] = {
            kind: {column.fact: name for name, column in part.columns.items()} for kind, part in mapping.parts()
        }
        worst, metrics = mapping.worst_grades, mapping.metrics
        self.worst = RowReader(mapping.of(worst.columns), today, {}) if worst is not None else None
        self.metrics = RowReader(mapping.of(metrics), today, {}) if metrics else None
        self.worst_scale = worst.scale if worst is not None else ""
        self.graded: dict[tuple[str, int], AdverseEvent] = {}
        # Rows with equal cells of worst grades, and of what bears on them, are read once.
        self.graded_rows: dict[tuple[str, ...], list[AdverseEvent]] = {}
        self.worst_cells = [
            cell
            for name, column in (worst.columns if worst is not None else {}).items()
            for cell in (name, column.date_column, column.unit_column)
            if cell is not None
        ]
        self.columns = {column.fact: name for name, column in mapping.columns.items()}
        self.scale = mapping.adverse_event.scale if mapping.adverse_event is not None else ""
        # Boxes of a patient's own form are exported as not ticked with every other row.
        self.plain = [name for name, column in mapping.columns.items() if column.type != "member"]

    def by_columns(
        self, header: Sequence[str], rows: Sequence[tuple[int, list[str]]], endpoints: Sequence[Endpoint]
    ) -> Patients | None:
        """Patients of a sound table whose rows tell one thing each; None of any other: row by row it is told why."""
        mapping = self.mapping
        if any(len(cells) != len(header) for _, cells in rows):
            return None
        places = {name: n for n, name in enumerate(header)}
        wanted = [cells for _, cells in rows]
        for name, told in mapping.only_rows.items():
            wanted = [cells for cells in wanted if cells[places[name]] in told]
        of_kinds = self._of_kinds(wanted, places)
        if of_kinds is None:
            return None
        own_rows = sorted(of_kinds.pop(PATIENT, []), key=itemgetter(places[mapping.id_column]))
        columns = _columns(own_rows, places, mapping.columns_needed())
        names = columns[mapping.id_column]
        if not names or not names[0] or any(map(operator.eq, names, names[1:])):
            return None
        read = self.patient_reader.by_columns(columns)
        events, metrics = self._grades_by_columns(columns), self._doses_by_columns(columns)
        if read is None or events is None or metrics is None:
            return None
        facts = dict(zip((fact for fact, _, _ in self.patient_reader.quick), read, strict=True))
        for flag, day in mapping.flags.items():
            days = _flagged_column(flag, facts[flag], day, facts[day])
            if days is None:
                return None
            facts[day] = days
        own: list[dict[str, Fact]] = list(map(dict, map(zip, repeat(tuple(facts)), zip(*facts.values(), strict=True))))
        records = {name: TableRows(0, 0, told) for name, told in zip(names, own, strict=True)} if of_kinds else {}
        if not all(self._parts_by_columns(kind, part, places, records) for kind, part in of_kinds.items()):
            return None
        if of_kinds:
            found = Patients.with_columns(map(_patient, names, records.values()), facts)
        else:
            none: repeat[tuple[()]] = repeat(())
            made = map(FollowedPatient, names, own, events, none, none, none, none, metrics)
            found = Patients.with_columns(made, facts)
        in_months = [endpoint for endpoint in endpoints if endpoint.months is not None]
        whole = records.values() if of_kinds else (TableRows(0, 0, told) for told in own if in_months)
        if any(any(contradictions(one, (), in_months)) for one in whole):
            return None
        return found if are_in_order(found, in_order(endpoints)) else None

    def _of_kinds(self, rows: Sequence[list[str]], places: Mapping[str, int]) -> dict[RowKind, list[list[str]]] | None:
        """Rows by what they tell; None where one is of no kind, or tells of the patient beside something else."""
        kinds = self.mapping.row_kind
        if kinds is None:
            return None if self.parts else {PATIENT: list(rows)}
        found: dict[RowKind, list[list[str]]] = {kind: [] for kind in kinds.kinds.values()}
        for cells in rows:
            kind = kinds.kinds.get(cells[places[kinds.column]])
            if kind is None:
                return None
            found[kind].append(cells)
        beside = itemgetter(*(places[name] for name in self.plain)) if self.plain else tuple
        if any(any(map(any, map(beside, some))) for kind, some in found.items() if kind != PATIENT):
            return None
        return None if self.worst is not None or self.metrics is not None else found

    def _parts_by_columns(
        self, kind: RowKind, rows: Sequence[list[str]], places: Mapping[str, int], patients: Mapping[str, TableRows]
    ) -> bool:
        """Take in what rows of one kind tell of patients; whether nothing is wrong with it."""
        reader = self.parts.get(kind)
        names = list(map(itemgetter(places[self.mapping.id_column]), rows))
        if not patients.keys() >= set(names):
            return False
        if reader is None or not rows:
            return True
        read = reader.by_columns(_columns(rows, places, reader.mapping.columns))
        if read is None:
            return False
        facts = dict(zip((fact for fact, _, _ in reader.quick), read, strict=True))
        if any(fact.value is None for name in PARTS[kind].needed for fact in facts[name]):
            return False
        for name, told in zip(names, zip(*read, strict=True), strict=True):
            values = self._values(kind, dict(zip(facts, told, strict=True)))
            is_wrong = kind == "adverse event" and self._no_times(values)
            made = values if is_wrong else self._made(kind, values)
            if isinstance(made, str | dict):
                return False
            patients[name].records.setdefault(kind, []).append((made, 0))
        if kind != "visit":
            return True
        days = [[one.day for one, _ in patient.records.get(kind, ())] for patient in patients.values()]
        return all(len(set(of_one)) == len(of_one) for of_one in days)

    def _grades_by_columns(self, columns: Mapping[str, Sequence[str]]) -> list[tuple[AdverseEvent, ...]] | None:
        """Adverse events of each row; None where a cell is wrong."""
        if self.worst is None:
            return [()] * len(columns[self.mapping.id_column])
        rows = list(zip(*(columns[name] for name in self.worst_cells), strict=True))
        found: dict[tuple[str, ...], tuple[AdverseEvent, ...]] = {}
        for cells in set(rows):
            events, faults = self._events_of(self.worst, 0, dict(zip(self.worst_cells, cells, strict=True)))
            if faults:
                return None
            found[cells] = tuple(sorted(events, key=_by_day))
        return list(map(found.__getitem__, rows))

    def _doses_by_columns(self, columns: Mapping[str, Sequence[str]]) -> list[dict[str, float]] | None:
        """Dose metrics of each row; None where a cell is wrong."""
        number = len(columns[self.mapping.id_column])
        if self.metrics is None:
            return [{} for _ in range(number)]
        read = self.metrics.by_columns(columns)
        if read is None:
            return None
        found: list[dict[str, float]] = [{} for _ in range(number)]
        for (key, _, kept), facts in zip(self.metrics.quick, read, strict=True):
            doses = {id(fact): float(fact.value) for fact in kept.values() if isinstance(fact.value, int | float)}
            if any(dose < 0 for dose in doses.values()):
                return None
            for metrics, dose in zip(found, map(doses.get, map(id, facts)), strict=True):
                if dose is not None:
                    metrics[key] = dose
        return found

    def read(self, row: int, told: Mapping[str, str]) -> list[CellFault]:
        """Take in one row; return what is wrong with it."""
        mapping = self.mapping
        name = told[mapping.id_column]
        if not name:
            return [CellFault(row, mapping.id_column, "nothing", "the pseudonym of a patient")]
        kind: RowKind | None = None
        if mapping.row_kind is not None:
            cell = told[mapping.row_kind.column]
            kind = mapping.row_kind.kinds.get(cell)
            if kind is None:
                wanted = ", ".join(f"'{one}'" for one in mapping.row_kind.kinds)
                return [CellFault(row, mapping.row_kind.column, f"'{cell}' of patient '{name}'", f"one of {wanted}")]
        patient = self.patients.get(name)
        alone = patient is None
        if patient is None:
            patient = self.patients[name] = TableRows(row)
        faults: list[CellFault] = []
        if kind in (None, PATIENT):
            if patient.own_row and (kind is not None or not self.parts):
                what = "one row of the kind 'patient'" if kind else "one row a patient, unless the mapping tells visits"
                found = f"'{name}', which row {patient.own_row} has too"
                return [CellFault(row, mapping.id_column, found, what)]
            patient.own_row = patient.own_row or row
            faults += self._own(patient, row, told, alone)
        elif any(map(told.__getitem__, self.plain)):
            faults += self._repeated(patient, row, told)
        for part, reader in self.parts.items():
            if part == kind or (kind is None and any(told[one] for one in reader.mapping.columns)):
                faults += self._part(patient, part, reader, row, told)
        return [replace(fault, found=_of(fault.found, name)) for fault in faults] if faults else faults

    def _own(self, patient: TableRows, row: int, told: Mapping[str, str], alone: bool) -> list[CellFault]:
        facts, faults = self.patient_reader.facts(row, told)
        if alone:
            patient.facts = facts
        else:
            faults += self._agree(patient, facts, row, told)
        return faults + self._grades(patient, row, told) + self._doses(patient, row, told)

    def _grades(self, patient: TableRows, row: int, told: Mapping[str, str]) -> list[CellFault]:
        if self.worst is None:
            return []
        cells = tuple(map(told.__getitem__, self.worst_cells))
        events, faults = self.graded_rows.get(cells), list[CellFault]()
        if events is None:
            events, faults = self._events_of(self.worst, row, told)
            if not faults:
                self.graded_rows[cells] = events
        have = patient.records.setdefault("adverse event", [])
        have += [(event, row) for event in events if all(event is not other for other, _ in have)]
        return faults

    def _events_of(
        self, worst: RowReader, row: int, told: Mapping[str, str]
    ) -> tuple[list[AdverseEvent], list[CellFault]]:
        """Worst grades of one row as events; equal grades of a term are one and the same event."""
        found, faults = worst.facts(row, told)
        events = []
        for name, column in worst.mapping.columns.items():
            fact = found.get(column.fact)
            if fact is None or not isinstance(fact.value, int):
                continue
            made = self.graded.get((name, fact.value))
            if made is None:
                made = self._made(
                    "adverse event", {"term": column.fact, "grade": fact.value, "scale": self.worst_scale}
                )
                if isinstance(made, str):
                    faults.append(_no_record(row, name, told, made))
                    continue
                self.graded[name, fact.value] = made
            events.append(made)
        return events, faults

    def _doses(self, patient: TableRows, row: int, told: Mapping[str, str]) -> list[CellFault]:
        if self.metrics is None:
            return []
        found, faults = self.metrics.facts(row, told)
        for name, column in self.metrics.mapping.columns.items():
            fact = found.get(column.fact)
            if fact is None or not isinstance(fact.value, int | float):
                continue
            if fact.value < 0:
                faults.append(CellFault(row, name, f"'{told[name]}'", "0 or more: no dose or volume is negative"))
                continue
            have = patient.metrics.setdefault(column.fact, float(fact.value))
            if have != float(fact.value):
                faults.append(CellFault(row, name, f"'{told[name]}'", f"{have:g} as in an earlier row"))
        return faults

    def _repeated(self, patient: TableRows, row: int, told: Mapping[str, str]) -> list[CellFault]:
        """What a row that is not the patient's own tells of the patient: only that which stands there."""
        facts, faults = self.patient_reader.facts(row, told)
        given = {self.mapping.columns[name].fact for name in self.plain if told[name]}
        return faults + self._agree(patient, {name: facts[name] for name in given if name in facts}, row, told)

    def _agree(
        self, patient: TableRows, facts: Mapping[str, Fact], row: int, told: Mapping[str, str]
    ) -> list[CellFault]:
        """Take in facts of another row of a patient; an empty cell says nothing against what another row tells."""
        faults = []
        for name, fact in facts.items():
            have = patient.facts.get(name)
            if have is fact or (have is not None and _is_empty(fact)):
                continue
            if have is None or _is_empty(have):
                patient.facts[name] = fact
                patient.rows[name] = row
            elif have.value != fact.value or _code(have) != _code(fact):
                column = self.columns[name]
                faults.append(
                    CellFault(
                        row, column, f"'{told[column]}'",
                        f"{_told(have)} as in row {patient.row_of(name)}: a patient has one '{name}'",
                    )
                )  # fmt: skip
        return faults

    def _part(
        self, patient: TableRows, kind: RowKind, reader: RowReader, row: int, told: Mapping[str, str]
    ) -> list[CellFault]:
        facts, faults = reader.facts(row, told)
        if faults:
            return faults
        columns = self.places[kind]
        for fact in PARTS[kind].needed:
            if facts[fact].value is None:
                cell = told[columns[fact]]
                wanted = f"the {fact} of {PARTS[kind].name}"
                faults.append(CellFault(row, columns[fact], f"'{cell}'" if cell else "nothing", wanted))
        if faults:
            return faults
        values = self._values(kind, facts)
        for moment in self._no_times(values):
            example = dt.datetime(2026, 1, 31, 13, 45).strftime(self.mapping.time_format)
            faults.append(CellFault(row, columns[moment], f"'{told[columns[moment]]}'", f"a time such as {example}"))
        if faults:
            return faults
        made = self._made(kind, values)
        if isinstance(made, str):
            blamed = columns["grade"] if kind == "adverse event" else columns[PARTS[kind].needed[0]]
            return [_no_record(row, blamed, told, made)]
        if isinstance(made, Visit):
            return self._visit(patient, made, row, columns["day"])
        patient.records.setdefault(kind, []).append((made, row))
        return []

    def _values(self, kind: RowKind, facts: Mapping[str, Fact]) -> dict[str, Any]:
        """What a record is made of; a moment that is no time stays a text."""
        if kind == "visit":
            others = dict(facts)
            told = {name: others.pop(name).value for name in PARTS[kind].types if name in facts}
            return {**told, "facts": others}
        values: dict[str, Any] = {name: fact.value for name, fact in facts.items() if fact.value is not None}
        if kind == "adverse event":
            values = {"scale": self.scale} | values | {"term": str(values["term"])}
            for moment in MOMENTS:
                with suppress(ValueError, KeyError):
                    values[moment] = dt.datetime.strptime(values[moment], self.mapping.time_format)
        return values

    @staticmethod
    def _no_times(values: Mapping[str, Any]) -> list[str]:
        return [moment for moment in MOMENTS if isinstance(values.get(moment), str)]

    def _visit(self, patient: TableRows, visit: Visit, row: int, column: str) -> list[CellFault]:
        have = patient.records.setdefault("visit", [])
        for other, at in have:
            if other.day == visit.day:
                if other == visit and self.mapping.row_kind is None:
                    return []
                wanted = f"one row a visit; row {at} has a visit on that day already"
                return [CellFault(row, column, f"'{visit.day.isoformat()}'", wanted)]
        have.append((visit, row))
        return []

    @staticmethod
    def _made(kind: RowKind, values: Mapping[str, Any]) -> Any:
        """A record; or a sentence that says what it should have been."""
        try:
            return _RECORDS[kind](**values)
        except InputError as error:
            return str(error)

    def finish(self, endpoints: Sequence[Endpoint]) -> Iterator[CellFault]:
        """What is wrong with the patients as wholes, and what flags say of days that are not told."""
        mapping = self.mapping
        pairs = in_order(endpoints)
        in_months = tuple(endpoint for endpoint in endpoints if endpoint.months is not None)
        for name, patient in self.patients.items():
            if not patient.own_row:
                column = mapping.row_kind.column if mapping.row_kind is not None else mapping.id_column
                wanted = "a row of the kind 'patient' for each patient"
                yield CellFault(patient.row, column, f"no such row of patient '{name}'", wanted)
                continue
            for flag, day in mapping.flags.items():
                yield from self._flagged(name, patient, flag, day)
            for row, fact, kind, found, expected in contradictions(patient, pairs, in_months):
                column = self.columns[fact] if kind is None else self.places[kind][fact]
                yield CellFault(row, column, _of(found, name), expected)

    def _flagged(self, name: str, patient: TableRows, flag: str, day: str) -> Iterator[CellFault]:
        happened, when = patient.facts.get(flag), patient.facts.get(day)
        if happened is None or when is None:  # a cell that cannot be read is told already
            return
        if happened.value is True and _is_empty(when):
            found = _of("nothing", name)
            yield CellFault(patient.row_of(day), self.columns[day], found, f"the day, as '{flag}' is yes")
        elif happened.value is False and isinstance(when.value, dt.date):
            found = _of(f"'{when.value.isoformat()}'", name)
            yield CellFault(patient.row_of(day), self.columns[day], found, f"no day, as '{flag}' is no")
        elif happened.value is None and _is_empty(when):
            patient.facts[day] = _open_day(flag, day, when)


_RECORDS: dict[RowKind, Callable[..., Any]] = {
    "visit": Visit,
    "adverse event": AdverseEvent,
    "lesion": LesionSize,
    "course": CourseGiven,
    "cycle": CycleGiven,
}


def _patient(name: str, told: TableRows) -> FollowedPatient:
    def of(kind: RowKind, key: Callable[[Any], Any]) -> tuple[Any, ...]:
        found = told.records.get(kind)
        return tuple(sorted([one for one, _ in found], key=key)) if found else ()

    return FollowedPatient(
        name,
        told.facts,
        of("adverse event", _by_day),
        of("lesion", lambda one: (one.day, one.lesion)),
        of("visit", lambda one: one.day),
        of("course", lambda one: (one.first_day or _LAST, one.name)),
        of("cycle", lambda one: (one.number, one.day or _LAST)),
        told.metrics,
    )


def _by_day(event: AdverseEvent) -> tuple[dt.date, str, int]:
    return event.day or _LAST, event.term, event.grade


def _open_day(flag: str, day: str, empty: Fact) -> AbsentFact:
    """Whether it happened is not known: no day is then no proof that it did not."""
    return AbsentFact(day, None, empty.source, None, "unknown", f"'{flag}' is unknown")


def _flagged_column(flag: str, happened: Sequence[Fact], day: str, days: Sequence[Fact]) -> list[Fact] | None:
    """Days of all patients with what a flag says of those that are not told; None where it contradicts one."""
    pairs = list(zip(map(id, happened), map(id, days), strict=True))
    # Equal cells are one and the same fact, so there are few pairs of them.
    told: dict[tuple[int, int], Fact] = {}
    for pair, (did, when) in dict(zip(pairs, zip(happened, days, strict=True), strict=True)).items():
        if did.value is True and _is_empty(when):
            return None
        if did.value is False and isinstance(when.value, dt.date):
            return None
        told[pair] = _open_day(flag, day, when) if did.value is None and _is_empty(when) else when
    return list(map(told.__getitem__, pairs))


def _columns(rows: Sequence[list[str]], places: Mapping[str, int], names: Iterable[str]) -> dict[str, Sequence[str]]:
    """Cells of some columns; `rows` are as long as each other."""
    width, cells = len(places), list(chain.from_iterable(rows))
    return {name: cells[places[name] :: width] for name in names}


def _ragged(row: int, cells: Sequence[str], header: Sequence[str], mapping: CohortMapping) -> CellFault:
    return CellFault(
        row,
        header[min(len(cells), len(header)) - 1],
        f"{len(cells)} cells",
        f"{len(header)} as in the header; a text that has '{mapping.delimiter}' in it stands in quotation marks",
    )


def _no_record(row: int, column: str, told: Mapping[str, str], error: str) -> CellFault:
    """The sentence of a record that cannot be, as the fault of a cell."""
    what, _, expected = error.rpartition("; expected ")
    return CellFault(row, column, f"'{told[column]}'", f"{expected} ({what})" if what else expected)


def _of(found: str, name: str) -> str:
    return f"{found} of patient '{name}'"


def _is_empty(fact: Fact) -> bool:
    return isinstance(fact, AbsentFact) and not fact.code


def _code(fact: Fact) -> str:
    return fact.code if isinstance(fact, AbsentFact) else ""


def _told(fact: Fact) -> str:
    return f"'{_code(fact) or fact.value}'"
