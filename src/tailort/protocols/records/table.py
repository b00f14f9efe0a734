"""Clinical records from a table: one row a patient, CSV in, facts out."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from tailort.errors import InputError
from tailort.patient import Fact, FactValue
from tailort.protocols.records.mapping import Absence, Column, TableMapping, code_key
from tailort.protocols.records.units import unit_name
from tailort.protocols.schema import FactEntry
from tailort.text_files import number, parse_csv

_WORDS = {"yes": True, "no": False, "true": True, "false": False}
_SHOWN = 40
_ISO, _ISO_DAY = "%Y-%m-%d", re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Letters of a message.
LONGEST_FAULT = 600


@dataclass(frozen=True)
class AbsentFact(Fact):
    """A fact without a value, and why: its value is None, so that no rule takes it for an answer.

    Parameters
    ----------
    absence : {"unknown", "not done", "not applicable"}
        Nobody told it, the examination was not made, or it cannot exist for this patient.
    code : str
        What the table had in its place; empty for an empty cell.
    """

    absence: Absence = "unknown"
    code: str = ""

    def __post_init__(self) -> None:
        if self.value is not None:
            raise InputError(f"fact '{self.name}' is {self.absence} and cannot have the value {self.value}")


class PatientRecord(NamedTuple):
    """One patient of a table: the id, and the facts by name."""

    patient_id: str
    facts: dict[str, Fact]


@dataclass(frozen=True)
class CellFault:
    """What is wrong with one cell.

    Parameters
    ----------
    row : int
        Row of the sheet; the header is row 1.
    column : str
        Its header.
    found, expected : str
        What stands there and what should.
    """

    row: int
    column: str
    found: str
    expected: str

    @property
    def text(self) -> str:
        """Row, column, what was found and what was expected."""
        return f"row {self.row}, column '{self.column}': found {self.found}, expected {self.expected}"


def _on_one_line(text: str) -> str:
    """What a cell holds can have lines and be as long as a book; a message cannot."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= LONGEST_FAULT else f"{line[: LONGEST_FAULT // 2]} ... {line[-LONGEST_FAULT // 2 :]}"


class TableError(InputError):
    """A table that cannot be read as the records it claims to be.

    Parameters
    ----------
    origin : str
        The file's name.
    faults : sequence of CellFault
        All of them; the message tells the first.
    """

    def __init__(self, origin: str, faults: Sequence[CellFault]) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{origin}, {_on_one_line(faults[0].text)}{more}")
        self.faults = tuple(faults)


def parse_table(
    text: str,
    mapping: TableMapping,
    *,
    today: dt.date,
    entries: Sequence[FactEntry] = (),
    origin: str = "table.csv",
) -> list[PatientRecord]:
    """Read the clinical records of a table.

    Parameters
    ----------
    text : str
        CSV.
    mapping : TableMapping
        Which column is which fact.
    today : date
        Dates after it are refused.
    entries : sequence of FactEntry
        Facts of a protocol: type, range, choices and unit are checked as well.
    origin : str
        The table's name, for messages.

    Returns
    -------
    list of PatientRecord
        (patient id, facts) in the order of the file. A fact without a value is an `AbsentFact`.

    Raises
    ------
    InputError
        When the columns are not those of the mapping.
    TableError
        With row and column: a wrong value, unit or date, an unknown code, an id that is empty or there twice.
    """
    known = {entry.name: entry for entry in entries}
    require_units(mapping, known, origin)
    header, rows = table_rows(text, mapping, origin)
    reader = RowReader(mapping, today, known)
    faults: list[CellFault] = []
    records: list[PatientRecord] = []
    first_row: dict[str, int] = {}
    for row, cells in rows:
        if len(cells) != len(header):
            faults.append(
                CellFault(
                    row,
                    header[min(len(cells), len(header)) - 1],
                    f"{len(cells)} cells",
                    f"{len(header)} as in the header; a text that has '{mapping.delimiter}' in it stands in quotation "
                    "marks",
                )
            )
            continue
        told = dict(zip(header, cells, strict=True))
        if any(told[name] not in wanted for name, wanted in mapping.only_rows.items()):
            continue
        patient = told[mapping.id_column]
        if not patient:
            faults.append(CellFault(row, mapping.id_column, "nothing", "the id of a patient"))
        elif first_row.setdefault(patient, row) != row:
            faults.append(
                CellFault(
                    row,
                    mapping.id_column,
                    f"'{patient}', which row {first_row[patient]} has too",
                    "one row a patient; choose among visits with 'only_rows'",
                )
            )
        facts, wrong = reader.facts(row, told)
        records.append(PatientRecord(patient, facts))
        faults.extend(wrong)
    if faults:
        raise TableError(origin, faults)
    if not records:
        asked = " and ".join(f"'{name}' {' or '.join(wanted)}" for name, wanted in mapping.only_rows.items())
        raise InputError(f"{origin}: no row has {asked}; correct 'only_rows' in the mapping")
    return records


def table_rows(text: str, mapping: TableMapping, origin: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header of a table that has the columns of its mapping, and the other rows with their numbers.

    Raises
    ------
    InputError
        When the columns are not those of the mapping, or there is no row below them.
    """
    table = parse_csv(text, origin, mapping.delimiter)
    header = table[0]
    needed = mapping.columns_needed()
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise InputError(
            f"{origin}, row 1: the mapping needs the column{'s' * (len(lacking) > 1)} {_quoted(lacking)}; the table "
            f"has {_quoted(header)} (read with '{mapping.delimiter}' between cells, which 'delimiter' in the mapping "
            "tells)"
        )
    others = [name for name in header if name not in needed]
    if others and mapping.other_columns == "refuse":
        raise InputError(
            f"{origin}, row 1: the mapping does not tell the column{'s' * (len(others) > 1)} {_quoted(others)}; map "
            "them, or say 'other_columns: ignore'"
        )
    filled = [(row, cells) for row, cells in enumerate(table[1:], 2) if any(cells)]
    if not filled:
        raise InputError(f"{origin}: the table has a header and no patient")
    return header, filled


def require_units(mapping: TableMapping, known: Mapping[str, FactEntry], origin: str) -> None:
    """Refuse a mapping that gives a fact in another unit than the protocol takes it in."""
    for name, column in mapping.columns.items():
        entry = known.get(column.fact)
        if entry is not None and entry.unit and unit_name(entry.unit) != column.fact_unit:
            told = f"in {column.fact_unit}" if column.fact_unit else "without a unit"
            raise InputError(
                f"{origin}, column '{name}': the mapping gives the fact '{column.fact}' {told}, the protocol takes it "
                f"in {entry.unit}; tell 'unit' and 'to' in the mapping"
            )


class RowReader:
    """What reading any row takes, worked out once.

    Parameters
    ----------
    mapping : TableMapping
        Which column is which fact.
    today : date
        Dates after it are refused.
    known : dict of FactEntry
        Facts of a protocol by name: type, range, choices are checked as well.
    """

    def __init__(self, mapping: TableMapping, today: dt.date, known: Mapping[str, FactEntry]) -> None:
        self.mapping, self.today, self.known = mapping, today, known
        self.absences = {name: mapping.absences_of(column) for name, column in mapping.columns.items()}
        self.codes = {
            name: {code_key(code): value for code, value in column.code_values().items()}
            for name, column in mapping.columns.items()
        }
        # Where no other cell bears on a fact, equal cells of a column are one and the same fact.
        self.columns: list[tuple[str, Column, bool, dict[str, Fact]]] = [
            (name, column, column.date_column is None and column.unit_column is None, {})
            for name, column in mapping.columns.items()
        ]
        quick = [(column.fact, name, kept) for name, column, alone, kept in self.columns if alone and not column.member]
        # Of most rows every cell has been read before.
        self.quick = quick if len(quick) == len(self.columns) else []

    def facts(self, row: int, told: Mapping[str, str]) -> tuple[dict[str, Fact], list[CellFault]]:
        """Facts of one row by name, and what is wrong with it: all, so that a person sees it at once."""
        if self.quick:
            try:
                return {fact: kept[told[name]] for fact, name, kept in self.quick}, []
            except KeyError:
                pass
        found: dict[str, Fact] = {}
        faults: list[CellFault] = []
        boxes: dict[str, list[tuple[str, Fact]]] = {}
        for name, column, alone, kept in self.columns:
            cell = told[name]
            fact = kept.get(cell)
            if fact is None:
                try:
                    fact = self._fact(name, column, told)
                except _CellError as wanted:
                    place = wanted.column or name
                    blamed = told[place]
                    shown = blamed if len(blamed) <= _SHOWN else blamed[:_SHOWN] + "..."
                    faults.append(CellFault(row, place, f"'{shown}'" if blamed else "nothing", str(wanted)))
                    continue
                if alone:
                    kept[cell] = fact
            if column.member:
                boxes.setdefault(column.fact, []).append((column.member, fact))
            else:
                found[fact.name] = fact
        if boxes:
            found |= {name: _ticked(name, members) for name, members in boxes.items()}
        # One wrong date is the date of many facts, and one mistake.
        return found, list(dict.fromkeys(faults)) if faults else faults

    def by_columns(self, cells: Mapping[str, Sequence[str]]) -> list[list[Fact]] | None:
        """Facts of all rows, a list a column; None where a cell is wrong, or another one bears on it: `facts` tells.

        Parameters
        ----------
        cells : mapping of str to sequence of str
            Of each column.
        """
        found = []
        for _, name, kept in self.quick:
            for cell in set(cells[name]).difference(kept):
                try:
                    kept[cell] = self._fact(name, self.mapping.columns[name], {name: cell})
                except _CellError:
                    return None
            found.append(list(map(kept.__getitem__, cells[name])))
        return found or None

    def _fact(self, name: str, column: Column, told: Mapping[str, str]) -> Fact:
        cell = told[name]
        source = f"{self.mapping.source}, column {name}"
        date = self._date_of(column, told)
        absences = self.absences[name]
        absence: Absence | None = "unknown" if not cell else absences.get(self._key(cell)) if absences else None
        if absence is not None:
            return AbsentFact(column.fact, None, source, date, absence, cell)
        value = self._value(name, column, told)
        entry = self.known.get(column.fact)
        if entry is not None:
            try:
                value = entry.read(value)
            except InputError as error:
                raise _CellError(f"what the protocol takes: {error}") from error
        return Fact(column.fact, value, source, date)

    def _key(self, cell: str) -> str:
        """Key of a code, with the table's own decimal mark."""
        point = cell.replace(",", ".") if self.mapping.decimal == "," else cell
        return code_key(point if number(point) is not None else cell)

    def _value(self, name: str, column: Column, told: Mapping[str, str]) -> FactValue:
        cell = told[name]
        if column.type in ("number", "integer"):
            return self._amount(name, column, told)
        if column.codes:
            return self._coded(name, column, cell)
        if column.type in ("boolean", "member"):
            if cell.lower() not in _WORDS:
                raise _CellError("yes or no; tell what other codes mean with 'codes'")
            return _WORDS[cell.lower()]
        return self._date(name, cell, column.future) if column.type == "date" else cell

    def _coded(self, name: str, column: Column, cell: str) -> bool | int | float | str:
        value = self.codes[name].get(self._key(cell))
        if value is None:
            told = ", ".join(f"{code} ({meaning})" for code, meaning in column.code_values().items())
            raise _CellError(f"one of the codes {told}")
        return value

    def _amount(self, name: str, column: Column, told: Mapping[str, str]) -> int | float:
        """A number in the unit of the fact, converted exactly and rounded once."""
        cell = told[name]
        if column.codes:
            amount = Fraction(str(self._coded(name, column, cell)))
        else:
            point = cell.replace(",", ".") if self.mapping.decimal == "," else cell
            read = None if self.mapping.decimal == "," and "." in cell else number(point)
            if read is None:
                unit = f" in {column.unit}, without the unit" if column.unit else ""
                raise _CellError(
                    f"a number{unit}, with '{self.mapping.decimal}' before decimals and nothing between thousands"
                )
            amount = read
        amount *= self._factor(column, told)
        low, high = column.range or (-math.inf, math.inf)
        if not low <= amount <= high:
            unit = f" {column.fact_unit}" if column.fact_unit else ""
            raise _CellError(f"{low:g} to {high:g}{unit}, not {float(amount):g}{unit}; is the unit right?")
        if column.type == "number":
            return float(amount)
        if amount.denominator != 1:
            raise _CellError("a whole number")
        return int(amount)

    def _factor(self, column: Column, told: Mapping[str, str]) -> Fraction:
        if column.unit_column is None:
            return column.unit_factor(column.unit) if column.unit else Fraction(1)
        unit = told[column.unit_column]
        try:
            return column.unit_factor(unit)
        except ValueError as error:
            raise _CellError(f"a unit that can be turned into {column.fact_unit}", column.unit_column) from error

    def _date_of(self, column: Column, told: Mapping[str, str]) -> dt.date | None:
        """When a fact was found; None where the table does not tell."""
        name = column.date_column
        if name is None or not told[name]:
            return None
        absences = self.absences.get(name) or self.mapping.absences()
        return None if self._key(told[name]) in absences else self._date(name, told[name], future=False)

    def _date(self, name: str, cell: str, future: bool) -> dt.date:
        form = self.mapping.format_of(name)
        try:
            date = day_of_text(cell, form)
        except ValueError as error:
            example = dt.datetime(2026, 1, 31, 13, 45).strftime(form)
            raise _CellError(f"a date such as {example}", name) from error
        if date > self.today and not future:
            raise _CellError(f"a date up to today, {self.today.isoformat()}", name)
        return date


def day_of_text(cell: str, form: str) -> dt.date:
    """The day that a cell tells in a format of `strptime`.

    Raises
    ------
    ValueError
        Where it tells none.
    """
    # The usual way to write a day, read without a look at the format: there may be very many of them.
    if form == _ISO and _ISO_DAY.fullmatch(cell):
        return dt.date.fromisoformat(cell)
    return dt.datetime.strptime(cell, form).date()


class _CellError(Exception):
    """What a cell should have been; `column` where it is another one than the fact's."""

    def __init__(self, expected: str, column: str = "") -> None:
        super().__init__(expected)
        self.column = column


def _ticked(name: str, members: Sequence[tuple[str, Fact]]) -> Fact:
    """Members whose box is ticked; as long as one box is unknown, so is the list."""
    absent = [fact for _, fact in members if isinstance(fact, AbsentFact)]
    first = members[0][1]
    if not absent:
        return replace(first, value=tuple(member for member, fact in members if fact.value))
    why = {fact.absence for fact in absent}
    alike = len(absent) == len(members) and len(why) == 1
    return AbsentFact(name, None, first.source, first.date, why.pop() if alike else "unknown")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
