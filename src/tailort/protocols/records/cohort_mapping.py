"""How the columns of a table become a cohort: a mapping of records with what is told more than once a patient."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from tailort.cohort.patients import LesionKind
from tailort.errors import InputError
from tailort.patient import Metric
from tailort.protocols.endpoints import EndpointEntry, endpoint_mistakes
from tailort.protocols.records.mapping import Column, TableMapping, checked
from tailort.protocols.section import Name, Section
from tailort.text_files import read_text

PATIENT: Final = "patient"
RowKind = Literal["patient", "visit", "adverse event", "lesion", "course", "cycle"]
CENSORED_WORD, EVENT_WORD = "censored", "event"
_QUANTITY = r"physical|(?:BED|EQD2)\(a/b=\d+(?:\.\d+)?\)"
_METRIC_KEY = re.compile(rf"(?P<structure>\S+) (?P<metric>\S+) (?:{_QUANTITY}) (?:course|cumulative)")
_TIME_PARTS = {"%Y", "%m", "%d", "%H", "%M", "%S"}


@dataclass(frozen=True)
class Parts:
    """What a row can tell of a thing that a patient may have several of.

    Parameters
    ----------
    name : str
        Of one of them, with its article.
    types : dict
        Types that a column may have, by the name of its fact.
    needed : tuple of str
        What each must have.
    """

    name: str
    types: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...]


_WORD = ("text", "choice")
PARTS: dict[RowKind, Parts] = {
    "visit": Parts("a visit", {"day": ("date",), "month": ("integer",)}, ("day",)),
    "adverse event": Parts(
        "an adverse event",
        {
            "term": _WORD, "grade": ("integer",), "day": ("date",), "scale": _WORD, "serious": ("boolean",),
            "noticed": ("text",), "reported": ("text",), "related_to": _WORD,
        },
        ("term", "grade"),
    ),
    "lesion": Parts(
        "a lesion",
        {
            "lesion": _WORD, "organ": _WORD, "nodal": ("boolean",), "kind": ("choice",), "day": ("date",),
            "size_mm": ("number", "integer"),
        },
        ("lesion", "organ", "nodal", "kind", "day"),
    ),
    "course": Parts(
        "a course",
        {
            "name": _WORD, "first_day": ("date",), "last_day": ("date",), "planned_dose_gy": ("number", "integer"),
            "dose_gy": ("number", "integer"), "planned_fractions": ("integer",), "fractions": ("integer",),
        },
        ("name",),
    ),
    "cycle": Parts(
        "a cycle", {"number": ("integer",), "day": ("date",), "percent": ("number", "integer")}, ("number",)
    ),
}  # fmt: skip
LESION_KINDS: tuple[LesionKind, ...] = get_args(LesionKind)
MOMENTS = ("noticed", "reported")


class RowKinds(Section):
    """Column that tells what a row is, and what each of its contents means; "" is an empty cell."""

    column: Name
    kinds: dict[str, RowKind] = Field(min_length=1)

    @field_validator("kinds", mode="before")
    @classmethod
    def _contents_as_texts(cls, kinds: object) -> object:
        return {str(key): kind for key, kind in kinds.items()} if isinstance(kinds, Mapping) else kinds

    @field_validator("kinds")
    @classmethod
    def _patients_are_told(cls, kinds: dict[str, RowKind]) -> dict[str, RowKind]:
        if PATIENT not in kinds.values():
            raise ValueError("no rows are of kind 'patient'")
        return kinds


class PartColumns(Section):
    """Columns of what a patient may have several of; `scale` is that of adverse events that have none of their own."""

    columns: dict[str, Column] = Field(min_length=1)
    scale: str = ""


class MonthsGiven(Section):
    """A time that a table gives in months, with what came at its end: facts `months` and `status`.

    `counted_from` says in words what the months are counted from; it must be what the endpoint is counted from. The
    fact `status` is "censored", "event", or the name of a competing event: one of `competing` where the endpoint has no
    dates.
    """

    endpoint: Name
    counted_from: Name
    months: Name
    status: Name
    competing: tuple[Name, ...] = ()


class CohortMapping(TableMapping):
    """A whole mapping file of a cohort.

    `columns` are told once a patient; a table that repeats them in several rows of a patient must agree with itself.
    Without `row_kind` every row tells the patient and all that it has cells of. `worst_grades` are columns of one term
    each, the worst grade in the cell. `metrics` are doses by "structure metric quantity scope". `flags` are facts that
    say whether something happened, and the fact that is its day. `endpoints` are those that no protocol tells.
    """

    time_format: str = ""
    row_kind: RowKinds | None = None
    visit: PartColumns | None = None
    adverse_event: PartColumns | None = None
    lesion: PartColumns | None = None
    course: PartColumns | None = None
    cycle: PartColumns | None = None
    worst_grades: PartColumns | None = None
    metrics: dict[str, Column] = Field(default_factory=dict)
    flags: dict[Name, Name] = Field(default_factory=dict)
    endpoints: tuple[EndpointEntry, ...] = ()
    times: tuple[MonthsGiven, ...] = ()

    @field_validator("time_format")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        parts = re.findall(r"%.?", text)
        if text and not ({"%Y", "%m", "%d", "%H", "%M"} <= set(parts) <= _TIME_PARTS and len(set(parts)) == len(parts)):
            raise ValueError(f"the time format '{text}' must have %Y, %m, %d, %H and %M, and may have %S, each once")
        return text

    @model_validator(mode="after")
    def _parts_are_whole(self) -> Self:
        for kind, part in self.parts():
            self._require_part(PARTS[kind], kind, part)
        told = {kind for kind, _ in self.parts()}
        for kind in self.row_kind.kinds.values() if self.row_kind is not None else ():
            if kind != PATIENT and kind not in told:
                raise ValueError(f"'row_kind' has rows of kind '{kind}', but '{key_of(kind)}' tells no columns of them")
        if self.row_kind is not None and told - set(self.row_kind.kinds.values()):
            lacking = sorted(told - set(self.row_kind.kinds.values()))[0]
            raise ValueError(f"'{key_of(lacking)}' tells columns, but no rows of 'row_kind' are of kind '{lacking}'")
        worst = self.worst_grades.columns if self.worst_grades is not None else {}
        for name, column in worst.items():
            if column.type != "integer":
                raise ValueError(f"column '{name}', the worst grade of '{column.fact}', is of type integer")
        for name, column in self.metrics.items():
            require_metric_key(column.fact)
            if column.type not in ("number", "integer"):
                raise ValueError(f"column '{name}', the metric '{column.fact}', is of type number")
        self.of(worst)
        self.of(self.metrics)
        return self

    @model_validator(mode="after")
    def _times_are_of_facts(self) -> Self:
        kinds = {column.fact: column.type for column in self.columns.values()}
        for flag, day in self.flags.items():
            if kinds.get(flag) != "boolean" or kinds.get(day) != "date":
                raise ValueError(f"the flag '{flag}' must be a boolean and its day '{day}' a date among the columns")
        for given in self.times:
            if kinds.get(given.months) not in ("number", "integer") or kinds.get(given.status) != "choice":
                raise ValueError(
                    f"the time to '{given.endpoint}' has a number '{given.months}' and a choice '{given.status}' among "
                    "the columns"
                )
        named = [entry.name for entry in self.endpoints]
        for n, entry in enumerate(self.endpoints):
            if entry.name in named[:n] or entry.when is not None:
                raise ValueError(f"the endpoint '{entry.name}' is told twice, or has a 'when', which is a protocol's")
        for _, fault in endpoint_mistakes(self.endpoints, dict(kinds)):
            raise ValueError(f"endpoints: {fault}")
        return self

    def _require_part(self, what: Parts, kind: RowKind, part: PartColumns) -> None:
        self.of(part.columns)
        facts = {column.fact: (name, column) for name, column in part.columns.items()}
        for fact, (name, column) in facts.items():
            types = what.types.get(fact)
            if types is None and kind != "visit":
                raise ValueError(f"column '{name}': {what.name} has {', '.join(what.types)}, no '{fact}'")
            if types is not None and column.type not in types:
                raise ValueError(f"column '{name}': the {fact} of {what.name} is of type {' or '.join(types)}")
        if kind == "lesion" and "kind" in facts:
            for meaning in facts["kind"][1].codes.values():
                if meaning not in LESION_KINDS:
                    raise ValueError(f"the kind of a lesion is one of {', '.join(LESION_KINDS)}, not '{meaning}'")
        for fact in what.needed:
            if fact not in facts:
                raise ValueError(f"'{key_of(kind)}' has no column for the {fact} of {what.name}")
        if any(fact in facts for fact in MOMENTS) and kind == "adverse event" and not self.time_format:
            raise ValueError("times of day are told: give 'time_format', such as \"%Y-%m-%d %H:%M\"")

    def parts(self) -> Iterator[tuple[RowKind, PartColumns]]:
        """Kinds of rows that are told beside the patient's own, with their columns."""
        for kind in PARTS:
            part: PartColumns | None = getattr(self, key_of(kind))
            if part is not None:
                yield kind, part

    def of(self, columns: Mapping[str, Column]) -> TableMapping:
        """Return a mapping of some columns alone, with the codes, formats and signs of the whole file.

        Raises
        ------
        ValueError
            When they contradict each other or the file's codes.
        """
        made = TableMapping.model_construct(
            source=self.source, id_column=self.id_column, delimiter=self.delimiter, decimal=self.decimal,
            date_format=self.date_format, missing=self.missing, not_done=self.not_done,
            not_applicable=self.not_applicable, only_rows=self.only_rows, other_columns=self.other_columns,
            columns=dict(columns),
        )  # fmt: skip
        made.require_consistent()
        return made

    def columns_needed(self) -> tuple[str, ...]:
        """Columns that the table must have."""
        names = list(super().columns_needed())
        if self.row_kind is not None:
            names.append(self.row_kind.column)
        for part in (*(part for _, part in self.parts()), self.worst_grades):
            names += self.of(part.columns).columns_needed() if part is not None else ()
        names += self.of(self.metrics).columns_needed() if self.metrics else ()
        return tuple(dict.fromkeys(names))


def key_of(kind: RowKind) -> str:
    """Key of the mapping file under which the columns of a kind of row are told."""
    return kind.replace(" ", "_")


def require_metric_key(key: str) -> None:
    """Refuse what is not "structure metric quantity scope", such as "Esophagus Max[Gy] BED(a/b=3) cumulative".

    Raises
    ------
    ValueError
        With what was expected.
    """
    found = _METRIC_KEY.fullmatch(key)
    wanted = (
        f"'{key}' is no metric with its quantity and scope, such as 'Esophagus Max[Gy] BED(a/b=3) cumulative' or "
        "'Heart Mean[Gy] physical course'"
    )
    if found is None:
        raise ValueError(wanted)
    try:
        Metric.parse(found["metric"])
    except InputError as error:
        raise ValueError(f"{wanted}: {error}") from error


def parse_cohort_mapping(text: str, origin: str = "mapping.yaml") -> CohortMapping:
    """Read the mapping of a cohort from YAML text.

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
    return checked(CohortMapping, text, origin, "docs/cohort-tables.md")


def load_cohort_mapping(path: str | Path) -> CohortMapping:
    """Read the mapping file of a cohort."""
    return parse_cohort_mapping(read_text(path, "mapping file"), str(path))
