"""How the columns of a table become facts: a mapping file (YAML), checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from tailort.errors import InputError
from tailort.protocols.records.units import conversion_factor, unit_name
from tailort.protocols.section import Name, Number, Positive, Section
from tailort.text_files import first_fault, number, parse_yaml, read_text

M = TypeVar("M", bound=BaseModel)
Absence = Literal["unknown", "not done", "not applicable"]
ABSENCES: tuple[Absence, ...] = get_args(Absence)
_DATE_PARTS = {"%Y", "%m", "%d", "%H", "%M", "%S"}


def code_key(text: str) -> str:
    """What a code is looked up by: case and the spelling of a number (1, 1.0, 01) do not count."""
    bare = text.strip()
    value = number(bare)
    return bare.casefold() if value is None else str(value)


class _Codes(Section):
    """Codes that stand for no value; an empty cell is always unknown."""

    missing: tuple[str, ...] = ()
    not_done: tuple[str, ...] = ()
    not_applicable: tuple[str, ...] = ()

    @field_validator("missing", "not_done", "not_applicable", mode="before")
    @classmethod
    def _as_texts(cls, codes: Any) -> Any:
        return tuple(_text(code) for code in codes) if isinstance(codes, list | tuple) else codes

    def absences(self) -> dict[str, Absence]:
        """Key of each code -> what it means.

        Raises
        ------
        ValueError
            When a code is empty, or means two things.
        """
        found: dict[str, Absence] = {}
        for meaning, codes in zip(ABSENCES, (self.missing, self.not_done, self.not_applicable), strict=True):
            for code in codes:
                if not code.strip():
                    raise ValueError("an empty cell is always unknown; it cannot be a code")
                if found.setdefault(code_key(code), meaning) != meaning:
                    raise ValueError(f"the code '{code}' means both {found[code_key(code)]} and {meaning}")
        return found


class Column(_Codes):
    """One column of the table and the fact that it is.

    `unit` is that of the cells, `to` that of the fact (the same when it is not given); a pair that is no mere change of
    prefix, such as mg/dL to umol/L, takes its `factor`. With `unit_column` each row tells its own unit. `codes` are the
    only values that a cell may have, beside those that mean no value. `type: member` is a checkbox: the fact is the
    list of the members whose box is ticked. A date may lie after today only with `future: true`.
    """

    fact: Name
    type: Literal["text", "choice", "number", "integer", "boolean", "date", "member"]
    unit: str = ""
    to: str = ""
    factor: Positive | None = None
    unit_column: Name | None = None
    range: tuple[Number, Number] | None = None
    codes: dict[str, bool | int | float | str] = Field(default_factory=dict)
    member: str = ""
    format: str = ""
    future: bool = False
    date_column: Name | None = None

    @field_validator("codes", mode="before")
    @classmethod
    def _keys_as_texts(cls, codes: Any) -> Any:
        return {_text(key): value for key, value in codes.items()} if isinstance(codes, Mapping) else codes

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        numeric = self.type in ("number", "integer")
        if not numeric and (self.unit or self.to or self.factor or self.unit_column or self.range):
            raise ValueError("only a number or an integer has 'unit', 'to', 'factor', 'unit_column' or 'range'")
        if self.type == "choice" and not self.codes:
            raise ValueError("a column of type choice has 'codes': code in the table -> choice")
        if self.type == "date" and self.codes:
            raise ValueError("a date has no 'codes'")
        if (self.type == "member") != bool(self.member):
            raise ValueError("a column of type member, and no other, has 'member': what it means when it is ticked")
        if self.type != "date" and (self.format or self.future):
            raise ValueError("only a date has 'format' or 'future'")
        if self.range and self.range[0] >= self.range[1]:
            raise ValueError(f"the range {self.range[0]:g} to {self.range[1]:g} is empty")
        _check_format(self.format)
        return self

    @model_validator(mode="after")
    def _units_are_told(self) -> Self:
        if self.unit and self.unit_column:
            raise ValueError("give 'unit', or 'unit_column' where each row tells its own, not both")
        if (self.unit_column and (not self.to or self.factor)) or ((self.to or self.factor) and not self._has_unit()):
            raise ValueError("'unit_column' goes with 'to' alone, 'to' and 'factor' go with 'unit'")
        if self.unit:
            self.unit_factor(self.unit)
        return self

    @model_validator(mode="after")
    def _codes_are_of_the_type(self) -> Self:
        kinds: dict[str, tuple[type, ...]] = {
            "text": (str,),
            "choice": (str,),
            "number": (int, float),
            "integer": (int,),
            "boolean": (bool,),
            "member": (bool,),
            "date": (),
        }
        seen: dict[str, str] = {}
        absent = self.absences()
        for code, meaning in self.code_values().items():
            right = isinstance(meaning, kinds[self.type])
            if not right or (isinstance(meaning, bool) and bool not in kinds[self.type]):
                raise ValueError(f"the code '{code}' means {meaning!r}, which is no value of type {self.type}")
            other = seen.setdefault(code_key(code), code)
            if other != code:
                raise ValueError(f"the codes '{other}' and '{code}' are the same")
            if code_key(code) in absent:
                raise ValueError(f"the code '{code}' is both a value and {absent[code_key(code)]}")
        return self

    def _has_unit(self) -> bool:
        return bool(self.unit or self.unit_column)

    @property
    def fact_unit(self) -> str:
        """Unit of the fact; empty when none is told."""
        return unit_name(self.to or self.unit)

    def code_values(self) -> dict[str, bool | int | float | str]:
        """Codes with yes and no as true and false where the column is a boolean or a checkbox."""
        words = {"yes": True, "no": False} if self.type in ("boolean", "member") else {}
        return {
            code: words.get(meaning.lower(), meaning) if isinstance(meaning, str) else meaning
            for code, meaning in self.codes.items()
        }

    def unit_factor(self, unit: str) -> Fraction:
        """Number by which a cell in `unit` is multiplied to be the fact, exact.

        Raises
        ------
        ValueError
            When the units do not fit each other, or the file's factor contradicts them.
        """
        told = None if self.factor is None else Fraction(str(self.factor))
        try:
            known = conversion_factor(unit, self.fact_unit)
        except InputError as error:
            if told is None:
                raise ValueError(f"{error}; give 'factor'") from error
            return told
        if told is not None and told != known:
            raise ValueError(
                f"'factor' is {self.factor:g}, but 1 {unit_name(unit)} is {float(known):g} {self.fact_unit}"
            )
        return known


class TableMapping(_Codes):
    """A whole mapping file.

    Codes that mean no value hold for every column; a column may add its own, and its `codes` win over them. With
    `only_rows` (column -> contents) other rows are passed over, such as later visits in a longitudinal export.
    """

    source: Name
    id_column: Name
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."
    date_format: str = ""
    only_rows: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    other_columns: Literal["refuse", "ignore"] = "refuse"
    columns: dict[str, Column] = Field(min_length=1)

    @field_validator("only_rows", mode="before")
    @classmethod
    def _contents_as_texts(cls, rows: Any) -> Any:
        if not isinstance(rows, Mapping):
            return rows
        return {
            key: tuple(_text(one) for one in wanted) if isinstance(wanted, list | tuple) else wanted
            for key, wanted in rows.items()
        }

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        self.require_consistent()
        return self

    def require_consistent(self) -> None:
        """Refuse columns that contradict each other or the codes of the file.

        Raises
        ------
        ValueError
            With the first contradiction.
        """
        _check_format(self.date_format)
        self.absences()
        if self.id_column in self.columns:
            raise ValueError(f"'{self.id_column}' is the id of the patient and cannot be a fact as well")
        members: dict[str, set[str]] = {}
        first: dict[str, str] = {}
        for name, column in self.columns.items():
            self._require_apart(name, column)
            if (column.type == "date" or column.date_column) and not self.format_of(
                name if column.type == "date" else column.date_column
            ):
                raise ValueError(f"column '{name}' is or has a date: give 'date_format', such as \"%Y-%m-%d\"")
            other = first.setdefault(column.fact, name)
            if other != name and not (column.type == self.columns[other].type == "member"):
                raise ValueError(f"the columns '{other}' and '{name}' are both the fact '{column.fact}'")
            if column.type == "member":
                if column.member in members.setdefault(column.fact, set()):
                    raise ValueError(f"two columns are the member '{column.member}' of the fact '{column.fact}'")
                members[column.fact].add(column.member)

    def _require_apart(self, name: str, column: Column) -> None:
        """Refuse a code of the whole file that could be a value of this column; a column's own code is meant so."""
        own = column.absences()
        self.absences_of(column)
        if column.range is None or column.codes:
            return
        factor = column.unit_factor(column.unit) if column.unit else Fraction(1)
        for code in (*self.missing, *self.not_done, *self.not_applicable):
            value = number(code.strip())
            if value is None or code_key(code) in own:
                continue
            if column.range[0] <= value * factor <= column.range[1]:
                raise ValueError(
                    f"the code '{code}' of the whole file lies within the range of column '{name}'; give it to the "
                    "columns in which it is a code"
                )

    def format_of(self, column: str | None) -> str:
        """Format of the dates in a column."""
        known = self.columns.get(column or "")
        return (known.format if known else "") or self.date_format

    def absences_of(self, column: Column) -> dict[str, Absence]:
        """Key of each code of a column that stands for no value -> what it means.

        Raises
        ------
        ValueError
            When the file and the column give a code two meanings.
        """
        found = self.absences()
        for key, meaning in column.absences().items():
            if found.setdefault(key, meaning) != meaning:
                raise ValueError(f"a code means {meaning} in one column and {found[key]} in the whole file")
        values = {code_key(code) for code in column.codes}
        return {key: meaning for key, meaning in found.items() if key not in values}

    def columns_needed(self) -> tuple[str, ...]:
        """Columns that the table must have."""
        names = [self.id_column, *self.only_rows]
        for name, column in self.columns.items():
            names += [one for one in (name, column.unit_column, column.date_column) if one]
        return tuple(dict.fromkeys(names))


def parse_mapping(text: str, origin: str = "mapping.yaml") -> TableMapping:
    """Read a mapping from YAML text.

    Parameters
    ----------
    text : str
        The file's content.
    origin : str
        The file's name, for messages.

    Raises
    ------
    InputError
        When it is not valid, with file, line and place.
    """
    return checked(TableMapping, text, origin, "docs/records.md")


def checked(kind: type[M], text: str, origin: str, explained_in: str) -> M:
    """Read a mapping file of a kind from YAML text; a mistake is told with file, line and place."""
    told = parse_yaml(text, origin)
    if not isinstance(told, Mapping):
        raise InputError(f"{origin}: a mapping file is a list of 'key: value' lines; see {explained_in}")
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        raise InputError(first_fault(error, text, origin)) from error


def load_mapping(path: str | Path) -> TableMapping:
    """Read a mapping file."""
    return parse_mapping(read_text(path, "mapping file"), str(path))


def _text(code: Any) -> Any:
    """A code as text: YAML reads -9 as a number."""
    return str(code) if isinstance(code, int) and not isinstance(code, bool) else code


def _check_format(text: str) -> None:
    parts = re.findall(r"%.?", text)
    if text and not ({"%Y", "%m", "%d"} <= set(parts) <= _DATE_PARTS and len(set(parts)) == len(parts)):
        raise ValueError(
            f"the date format '{text}' must have %Y (a year of four digits), %m and %d, and may have %H, %M and %S, "
            "each once"
        )
