"""A protocol's decision for one record or for every row of a table."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tailort.errors import InputError
from tailort.protocols import Decision, Protocol
from tailort.protocols.decision import Deciding, Detail
from tailort.protocols.proposals import Proposals, proposals
from tailort.protocols.records import TableMapping, parse_table

ID = "id"
DATES = "%Y-%m-%d"
_HEADER = re.compile(r"(?P<fact>[^\[\]]+?)\s*(?:\[(?P<unit>[^\[\]]*)\])?")


@dataclass(frozen=True)
class CohortLine:
    """One patient of a table and what the protocol decides; `proposals` where it has modifiers or triggers."""

    patient: str
    decision: Decision
    proposals: Proposals | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the line ready for JSON and for a table."""
        decision = self.decision
        applying = {} if self.proposals is None else self.proposals.applying()
        return {
            "id": self.patient,
            "answer": decision.answer,
            "strata": {stratum.table: stratum.told for stratum in decision.strata},
            "missing": list(decision.missing_everywhere),
            "fewest_missing": list(fewest_missing(decision)),
            "failed_rules": list(decision.failed_rules),
            **applying,
        }


def fewest_missing(decision: Decision) -> tuple[str, ...]:
    """Fewest facts that could settle what is open next: the answer, then for a yes the first table that is open."""
    if decision.fewest is not None:
        return decision.fewest.facts
    if decision.answer == "yes":
        return next((stratum.fewest for stratum in decision.strata if stratum.is_open), ())
    return ()


def plain_mapping(protocol: Protocol, header: Sequence[str], origin: str, delimiter: str = ",") -> TableMapping:
    """Mapping of a table whose columns are called as the protocol's facts, with `id` for the patient.

    Parameters
    ----------
    protocol : Protocol
        Whose facts are looked for; other columns are passed over.
    header : sequence of str
        Names of the columns; a unit may stand behind the fact in brackets, "tumour_length_cm [mm]".
    origin : str
        The table's name, for messages.
    delimiter : str
        Between cells.

    Raises
    ------
    InputError
        When there is no column `id` or none of a fact, a unit cannot be turned into the fact's, or two columns are the
        same fact.
    """
    entries = {entry.name: entry for entry in protocol.file.facts}
    columns: dict[str, dict[str, Any]] = {}
    if ID not in header:
        raise InputError(
            f"{origin}, row 1: expected a column '{ID}' for the patient; found {', '.join(header) or 'nothing'} (read "
            f"with '{delimiter}' between cells; another one is told by a mapping)"
        )
    for name in header:
        form = _HEADER.fullmatch(name)
        entry = entries.get(form["fact"]) if form else None
        if form is None or entry is None:
            continue
        # The choices of a protocol are its own codes: the fact reads them, in either case.
        kind = "text" if entry.type in ("choice", "list") else entry.type
        told: dict[str, Any] = {"fact": entry.name, "type": kind}
        if entry.type in ("number", "integer"):
            told |= {"unit": form["unit"] or entry.unit, "to": entry.unit} if entry.unit else {}
        told |= {"future": True} if entry.planned else {}
        if form["unit"] is not None and not entry.unit:
            raise InputError(f"{origin}, row 1, column '{name}': the fact '{entry.name}' has no unit")
        columns[name] = told
    if not columns:
        raise InputError(
            f"{origin}, row 1: no column is a fact of protocol '{protocol.id}'; its facts are: "
            f"{', '.join(entries) or 'none'}"
        )
    try:
        return TableMapping.model_validate(
            {
                "source": origin,
                "id_column": ID,
                "delimiter": delimiter,
                "date_format": DATES,
                "other_columns": "ignore",
                "columns": columns,
            }
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        column = next((f", column '{part}'" for part in fault["loc"] if part in columns), "")
        raise InputError(f"{origin}, row 1{column}: {fault['msg'].removeprefix('Value error, ')}") from error


def columns_passed_over(protocol: Protocol, text: str, mapping: TableMapping | None = None) -> tuple[str, ...]:
    """Columns of a table that are no fact of the protocol; with a mapping those that it makes another fact of."""
    known = {entry.name for entry in protocol.file.facts} | {ID}
    if mapping is not None:
        return tuple(f"{name} ({column.fact})" for name, column in mapping.columns.items() if column.fact not in known)
    return tuple(
        name for name in _header(text) if (form := _HEADER.fullmatch(name)) is None or form["fact"] not in known
    )


def decide_table(
    protocol: Protocol,
    text: str,
    origin: str,
    *,
    today: dt.date,
    mapping: TableMapping | None = None,
    readings: Mapping[str, str] | None = None,
    detail: Detail = "missing",
) -> tuple[CohortLine, ...]:
    """Decide every row of a table.

    Parameters
    ----------
    protocol : Protocol
        Which decides.
    text : str
        The table, CSV.
    origin : str
        Its name, for messages.
    today : date
        Dates after it are refused, and conditions see it as the fact `today`.
    mapping : TableMapping or None
        Which column is which fact; None where columns are called as facts (`plain_mapping`).
    readings : dict of str
        Readings of ambiguous rules to take, by rule.
    detail : {"answers", "missing", "all"}
        As of `Deciding.decide`.

    Raises
    ------
    InputError
        When the table cannot be read, or a record is invalid: with row and column, nothing is decided.
    """
    deciding = Deciding.of(protocol, readings, today)
    mapping = mapping or plain_mapping(protocol, _header(text), origin)
    records = parse_table(text, mapping, today=today, entries=protocol.file.facts, origin=origin)
    lines: list[CohortLine] = []
    faults: list[str] = []
    individual = bool(protocol.file.modifiers or protocol.file.triggers)
    for patient, facts in records:
        try:
            decision = deciding.decide(facts, detail)
            told = proposals(protocol, facts, readings, today) if individual else None
            lines.append(CohortLine(patient, decision, told))
        except InputError as error:
            faults.append(f"{_place(text, mapping, patient)} (patient '{patient}'): {error}")
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"{origin}, {faults[0]}{more}")
    return tuple(lines)


def _header(text: str, delimiter: str = ",") -> list[str]:
    return [name.strip() for name in next(csv.reader(io.StringIO(text), delimiter=delimiter), [])]


def _place(text: str, mapping: TableMapping, patient: str) -> str:
    """Row of a patient in the sheet; the header is row 1."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=mapping.delimiter)
    at = [name.strip() for name in next(rows)].index(mapping.id_column)
    row = next(n for n, cells in enumerate(rows, 2) if len(cells) > at and cells[at].strip() == patient)
    return f"row {row}"
