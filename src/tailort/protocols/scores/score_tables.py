"""Lesions and vertebrae from CSV tables, for RECIST 1.1 and SINS. A wrong cell is told with its row and column.

A table of lesions has the columns `lesion`, `organ` and `kind`, then one column for each examination, named by its
date, the baseline first. What a cell says depends on the kind of its row:

| kind | cell |
|---|---|
| target, target node | size in mm (of a node the short axis; NM-116: 5 if too small, 0 if gone); empty: not measured |
| non-target | present, absent (of a node: below 10 mm), progression or not evaluated; empty: unknown |
| new | yes or no: whether there is a new lesion; empty: unknown |

Without a row of kind `new` nobody has told whether there are new lesions, so the response stays unknown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from tailort.errors import InputError
from tailort.protocols.protocol import Protocol
from tailort.protocols.scores.instability import (
    SpinalLevel,
    collapse_of,
    components,
    location_of,
    score_level,
    vertebra_of,
)
from tailort.protocols.scores.recist import NonTarget, ResponseAnswer, TargetLesion, respond
from tailort.text_files import number, parse_csv

_LESION = ("lesion", "organ", "kind")
_KINDS = ("target", "target node", "non-target", "new")
_NON_TARGET = ("present", "absent", "progression", "not evaluated")
_LEVEL = ("vertebra", "pain", "bone_lesion", "alignment", "posterolateral")
_PERCENT = ("collapse_percent", "involved_percent")
# No lesion of a person is longer, mm; of a wrong cell no more characters are shown.
_LONGEST_MM, _SHOWN = 1000.0, 40


@dataclass(frozen=True)
class LesionTable:
    """Lesions of one patient at all examinations.

    Parameters
    ----------
    days : tuple of date
        Examinations, the baseline first.
    targets : tuple of TargetLesion
        With a size for each examination.
    non_target : tuple of NonTarget or None
        Of all non-target lesions together, for each examination; None is unknown.
    new_lesion : tuple of bool or None
        Whether there is a new lesion at or before each examination; None is unknown.
    """

    days: tuple[dt.date, ...]
    targets: tuple[TargetLesion, ...]
    non_target: tuple[NonTarget | None, ...]
    new_lesion: tuple[bool | None, ...]

    def responses(self) -> tuple[tuple[dt.date, ResponseAnswer], ...]:
        """Response at each examination after the baseline."""
        found = []
        for n in range(1, len(self.days)):
            until = [TargetLesion(one.name, one.organ, one.nodal, one.sizes_mm[: n + 1]) for one in self.targets]
            found.append((self.days[n], respond(until, self.non_target[n], self.new_lesion[n])))
        return tuple(found)


def parse_lesions(text: str, origin: str, today: dt.date) -> LesionTable:
    """Read a table of lesions.

    Parameters
    ----------
    text : str
        CSV with commas.
    origin : str
        The table's name, for messages.
    today : date
        Later examinations are refused.

    Raises
    ------
    InputError
        When the table or a cell is not as this module says, with row and column.
    """
    table = _Table(text, origin, _LESION)
    days = tuple(_examination(table, name, today) for name in table.header[len(_LESION) :])
    if len(days) < 2 or list(days) != sorted(set(days)):
        raise InputError(
            f"{origin}, row 1: expected two examinations or more by date, the baseline first, each once; found "
            f"{', '.join(table.header[len(_LESION) :]) or 'none'}"
        )
    names = table.header[len(_LESION) :]
    targets, others, new = [], [], []
    for row in table.rows:
        kind = table.word(row, "kind", _KINDS)
        if kind in ("target", "target node"):
            sizes = tuple(table.size(row, name) for name in names)
            lesion, organ = table.text(row, "lesion"), table.text(row, "organ")
            try:
                targets.append(TargetLesion(lesion, organ, "node" in kind, sizes))
            except InputError as error:
                raise InputError(f"{origin}, row {row}: {error}") from error
        elif kind == "non-target":
            others.append([table.word_or_none(row, name, _NON_TARGET) for name in names])
        else:
            words = [table.word_or_none(row, name, ("yes", "no")) for name in names]
            if words[0] == "yes":
                raise InputError(f"{origin}, row {row}: no lesion is new at the baseline, {names[0]}")
            new.append([None if word is None else word == "yes" for word in words])
    for n, found in enumerate(others):
        if found[0] != "present":
            raise InputError(
                f"{origin}: a non-target lesion is present at the baseline, {names[0]}; found "
                f"'{found[0] or 'nothing'}' in the {n + 1}. row of that kind"
            )
    return LesionTable(
        days,
        tuple(targets),
        tuple(_together([row[n] for row in others]) for n in range(len(days))),
        tuple(_seen([answer for row in new for answer in row[1 : n + 1]], bool(new)) for n in range(len(days))),
    )


def parse_levels(protocol: Protocol, text: str, origin: str) -> tuple[SpinalLevel, ...]:
    """Read a table of vertebrae for SINS, one a row, each once, and give them the points of a protocol's file.

    Columns are vertebra, pain, bone_lesion, alignment, posterolateral, and either collapse or collapse_percent and
    involved_percent (of the vertebral body). An empty cell is unknown.

    Raises
    ------
    InputError
        When the table or a cell is not as this says, with row and column.
    """
    table = _Table(text, origin, _LEVEL)
    rest = table.header[len(_LEVEL) :]
    if rest not in (["collapse"], list(_PERCENT)):
        raise InputError(
            f"{origin}, row 1: expected 'collapse', or 'collapse_percent' and 'involved_percent', after "
            f"{', '.join(_LEVEL)}; found {', '.join(rest) or 'nothing'}"
        )
    words = {component: entry.choices for component, entry in components(protocol).items()}
    levels: dict[tuple[str, int], SpinalLevel] = {}
    for row in table.rows:
        name = table.text(row, "vertebra")
        try:
            vertebra, location = vertebra_of(name), location_of(name)
        except InputError as error:
            raise InputError(f"{origin}, row {row}: {error}") from error
        if vertebra in levels:
            raise InputError(f"{origin}, row {row}: the vertebra '{name}' is there twice; one row a vertebra")
        found = {one: table.word_or_none(row, one, words[one]) for one in _LEVEL[1:]}
        if rest == ["collapse"]:
            collapse = table.word_or_none(row, "collapse", words["collapse"])
        else:
            collapse = collapse_of(*(table.number(row, one, "a percentage from 0 to 100", 100) for one in _PERCENT))
        levels[vertebra] = score_level(protocol, name, found | {"location": location, "collapse": collapse})
    return tuple(levels.values())


def _examination(table: _Table, name: str, today: dt.date) -> dt.date:
    try:
        day = dt.date.fromisoformat(name)
    except ValueError as error:
        raise InputError(
            f"{table.origin}, row 1: column '{name}' is no examination; expected its date, such as 2026-01-31"
        ) from error
    if day > today:
        raise InputError(f"{table.origin}, row 1: the examination of {name} is after today, {today.isoformat()}")
    return day


def _together(found: Sequence[str | None]) -> NonTarget | None:
    """Response of all non-target lesions (NM-114): one that progresses decides, else one that is not known."""
    if not found:
        return "none"
    if "progression" in found:
        return "PD"
    if None in found:
        return None
    if "not evaluated" in found:
        return "NE"
    return "CR" if set(found) == {"absent"} else "non-CR/non-PD"


def _seen(answers: Sequence[bool | None], told: bool) -> bool | None:
    if True in answers:
        return True
    return None if not told or None in answers else False


class _Table:
    """Cells of a CSV table by row, as a spreadsheet counts them, and name of the column."""

    def __init__(self, text: str, origin: str, first: Sequence[str]) -> None:
        self.origin = origin
        sheet = parse_csv(text, origin)
        self.header = sheet[0]
        if self.header[: len(first)] != list(first):
            raise InputError(
                f"{origin}, row 1: expected the columns {', '.join(first)} first, with ',' between cells; found "
                f"{', '.join(self.header)}"
            )
        self.cells = {n: row for n, row in enumerate(sheet[1:], start=2) if any(row)}
        for n, row in self.cells.items():
            if len(row) != len(self.header):
                raise InputError(f"{origin}, row {n}: expected {len(self.header)} cells, found {len(row)}")
        if not self.cells:
            raise InputError(f"{origin}: expected at least one row below the header; found none")
        self.rows = tuple(self.cells)

    def cell(self, row: int, name: str) -> str:
        return self.cells[row][self.header.index(name)]

    def text(self, row: int, name: str) -> str:
        return self.cell(row, name) or self._refuse(row, name, "text")

    def word(self, row: int, name: str, known: Sequence[str]) -> str:
        found = self.word_or_none(row, name, known)
        return found if found is not None else self._refuse(row, name, f"one of {', '.join(known)}")

    def word_or_none(self, row: int, name: str, known: Sequence[str]) -> str | None:
        cell = self.cell(row, name).casefold()
        return None if not cell else cell if cell in known else self._refuse(row, name, f"one of {', '.join(known)}")

    def size(self, row: int, name: str) -> float | None:
        return self.number(row, name, f"a size in mm, without the unit, 0 to {_LONGEST_MM:g}", _LONGEST_MM)

    def number(self, row: int, name: str, expected: str, most: float) -> float | None:
        cell = self.cell(row, name)
        if not cell:
            return None
        value = number(cell)
        return float(value) if value is not None and 0 <= value <= most else self._refuse(row, name, expected)

    def _refuse(self, row: int, name: str, expected: str) -> NoReturn:
        cell = self.cell(row, name)
        shown = cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}..."
        raise InputError(f"{self.origin}, row {row}, column '{name}': found '{shown}', expected {expected}")
