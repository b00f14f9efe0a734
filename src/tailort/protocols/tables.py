"""Decision tables, contradictions and readings: what a protocol decides beside admitting or not.

A table is read from the top: the first row that holds gives the outcome. As long as a row is unknown, its outcome and
those below it stay possible; the table is settled as soon as all that are possible are the same. Where rows exclude
each other the order does not count, and one row that holds settles it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field, model_validator

from tailort.errors import ProtocolError
from tailort.protocols.condition import Candidates, Condition, Finding
from tailort.protocols.section import Name, Section


class TableRow(Section):
    """One row: the outcome for patients of whom `when` holds and no row above did."""

    when: Condition
    outcome: Name
    note: str = ""
    rules: tuple[str, ...] = ()


class DecisionTable(Section):
    """Which of several outcomes a patient belongs to, such as a stratum or a plan.

    Without `otherwise` a patient of whom no row holds has no outcome, and the protocol does not say what to do. With
    `exclusive` at most one row can hold, whatever their order.
    """

    name: Name
    text: str = ""
    rows: tuple[TableRow, ...] = Field(min_length=1)
    otherwise: Name | None = None
    exclusive: bool = False
    rules: tuple[str, ...] = ()

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Every outcome that the table can give, in its order."""
        last = (self.otherwise,) if self.otherwise is not None else ()
        return tuple(dict.fromkeys((*(row.outcome for row in self.rows), *last)))

    def ask(self, values: Mapping[str, Any]) -> TableFinding:
        """Read the table for known values; a missing or None value is unknown.

        Raises
        ------
        ProtocolError
            When two rows hold that should exclude each other.
        """
        if self.exclusive:
            return self._ask_each(values)
        rows: list[Finding] = []
        possible: dict[str, None] = {}
        for row in self.rows:
            found = row.when.evaluate(values)
            rows.append(found)
            if found.answer != "no":
                possible[row.outcome] = None
            if found.answer == "yes":
                break
        else:
            possible[self.otherwise or ""] = None
        taken = len(rows) - 1 if rows[-1].answer == "yes" else None
        return TableFinding(self, tuple(rows), tuple(possible), _open_facts(rows, possible), taken)

    def _ask_each(self, values: Mapping[str, Any]) -> TableFinding:
        rows = [row.when.evaluate(values) for row in self.rows]
        holds = [n for n, found in enumerate(rows) if found.answer == "yes"]
        if len(holds) > 1:
            told = " and ".join(self.rows[n].outcome for n in holds)
            raise ProtocolError(
                f"decision table '{self.name}': the rows of {told} both hold for this patient; they must exclude each "
                "other"
            )
        if holds:
            return TableFinding(self, tuple(rows), (self.rows[holds[0]].outcome,), (), holds[0])
        possible = dict.fromkeys(
            row.outcome for row, found in zip(self.rows, rows, strict=True) if found.answer == "unknown"
        )
        possible[self.otherwise or ""] = None
        return TableFinding(self, tuple(rows), tuple(possible), _open_facts(rows, possible), None)


def _open_facts(rows: Sequence[Finding], possible: Collection[str]) -> tuple[str, ...]:
    if len(possible) < 2:
        return ()
    return tuple(dict.fromkeys(name for found in rows for name in found.open_facts()))


@dataclass(frozen=True)
class TableFinding:
    """A table and what came of it.

    Parameters
    ----------
    table : DecisionTable
        Which was read.
    rows : tuple of Finding
        Of its rows from the top down to the first that holds; of all where rows exclude each other.
    possible : tuple of str
        Outcomes that are still possible, in the table's order; empty text is that no row applies.
    open_facts : tuple of str
        Facts that are unknown and could still settle it.
    taken : int or None
        Number of the row that holds.
    """

    table: DecisionTable
    rows: tuple[Finding, ...]
    possible: tuple[str, ...]
    open_facts: tuple[str, ...]
    taken: int | None

    @property
    def candidates(self) -> Candidates:
        """What conditions that look at this table see."""
        return Candidates(frozenset(self.possible), self.open_facts)


class Contradiction(Section):
    """What cannot be true of one patient: a record of whom it holds is bad input."""

    when: Condition
    text: Name
    rule: str = ""


class ReadingChoice(Section):
    """The readings of an ambiguous rule that can be taken by name; `default` is taken unless another is named."""

    rule: Name
    default: Name
    names: dict[Name, Name] = Field(min_length=2)

    @model_validator(mode="after")
    def _default_is_one(self) -> Self:
        if self.default not in self.names:
            raise ValueError(f"the default '{self.default}' is not among the readings {', '.join(self.names)}")
        return self
