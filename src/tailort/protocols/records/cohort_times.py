"""What cannot be of one patient of a cohort: days out of order, and times that contradict each other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tailort.cohort.patients import FollowedPatient, distinct
from tailort.patient import Fact
from tailort.protocols.cohort_endpoints import DEATH, Endpoint, by_months, days_told, outcome
from tailort.protocols.records.cohort_mapping import RowKind

AGREEMENT_MONTHS = 0.1
AGREEMENT_SHARE = 0.005
"""Months that a table rounds, or takes with 30.4 days, are not told as a contradiction."""
# Which day of a record cannot be after death.
_DAYS: dict[RowKind, str] = {
    "visit": "day", "adverse event": "day", "lesion": "day", "course": "first_day", "cycle": "day",
}  # fmt: skip


@dataclass(slots=True)
class TableRows:
    """What the rows of one patient tell, and in which of them it stands.

    Parameters
    ----------
    row : int
        The first row.
    facts : dict of Fact
        Told once a patient.
    rows : dict of int
        Row of a fact that does not stand in the first.
    records : dict
        Of each kind the records with the rows in which they stand.
    metrics : dict of float
        By name.
    """

    row: int
    own_row: int = 0
    facts: dict[str, Fact] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    records: dict[RowKind, list[tuple[Any, int]]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    def row_of(self, fact: str) -> int:
        """Row in which a fact stands."""
        return self.rows.get(fact, self.own_row or self.row)


class Contradiction(NamedTuple):
    """Where something stands (row, fact, kind of record; None of the patient), what, and what was expected."""

    row: int
    fact: str
    kind: RowKind | None
    found: str
    expected: str


def in_order(endpoints: Sequence[Endpoint]) -> tuple[tuple[str, str], ...]:
    """Pairs of facts, both dates, of which the first cannot be before the second."""
    return tuple(dict.fromkeys(pair for endpoint in endpoints for pair in _ordered(endpoint)))


def contradictions(
    told: TableRows, pairs: Sequence[tuple[str, str]], in_months: Sequence[Endpoint]
) -> Iterator[Contradiction]:
    """Find days out of order and times that contradict each other.

    Parameters
    ----------
    told : TableRows
        What the rows of one patient tell.
    pairs : sequence of (str, str)
        As `in_order` gives them.
    in_months : sequence of Endpoint
        Those that are told in months.
    """
    facts = told.facts
    for late, early in pairs:
        one, other = facts.get(late), facts.get(early)
        if one is None or other is None:
            continue
        day, first = one.value, other.value
        if isinstance(day, dt.date) and isinstance(first, dt.date) and day < first:
            expected = f"a day not before {first.isoformat()}, the '{early}'"
            yield Contradiction(told.row_of(late), late, None, f"'{day.isoformat()}'", expected)
    for endpoint in in_months:
        yield from _months(told, endpoint)
    death = _value(facts, DEATH)
    if not isinstance(death, dt.date):
        return
    for kind, records in told.records.items():
        name = _DAYS[kind]
        for record, row in records:
            day = getattr(record, name)
            if day is not None and day > death:
                after = f"a day up to {death.isoformat()}, the '{DEATH}'"
                yield Contradiction(row, name, kind, f"'{day.isoformat()}'", after)


def are_in_order(patients: Sequence[FollowedPatient], pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether `contradictions` would find no days of facts out of order, looked for in all patients at once.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        As read.
    pairs : sequence of (str, str)
        As `in_order` gives them.
    """
    days = {name: days_told(distinct(patients, name))[0] for name in {name for pair in pairs for name in pair}}
    return not any((days[late] < days[early]).any() for late, early in pairs)


def _ordered(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    origin, last = endpoint.origin, endpoint.last_follow_up
    if origin is None or last is None:
        return
    events = (*endpoint.event_facts, *endpoint.competing_facts)
    yield last, origin
    for event in events:
        yield event, origin
        # A death becomes known without a visit; whatever else happened was seen at one.
        if event != DEATH:
            yield last, event
    if DEATH in events:
        yield from ((DEATH, event) for event in events if event != DEATH)


def _months(told: TableRows, endpoint: Endpoint) -> Iterator[Contradiction]:
    given = endpoint.months
    assert given is not None
    months, status = _value(told.facts, given.months), _value(told.facts, given.status)
    row = told.row_of(given.months)
    if isinstance(months, int | float) and months < 0:
        yield Contradiction(row, given.months, None, f"'{months:g}'", "months from 0: no time is negative")
        return
    if (months is None) != (status is None):
        known, lacking = (given.months, given.status) if status is None else (given.status, given.months)
        expected = f"a value, as '{known}' has one"
        yield Contradiction(told.row_of(lacking), lacking, None, "nothing that is known", expected)
        return
    by_dates = outcome(told.facts, endpoint) if endpoint.dates else ""
    in_months = by_months(told.facts, endpoint)
    if isinstance(by_dates, str) or isinstance(in_months, str):
        return
    if abs(by_dates.months - in_months.months) > max(AGREEMENT_MONTHS, AGREEMENT_SHARE * by_dates.months):
        expected = f"{by_dates.months:.1f} months, as the dates of {endpoint.name} say"
        yield Contradiction(row, given.months, None, f"'{in_months.months:g}'", expected)
    if by_dates.status != in_months.status:
        expected = f"what the dates of {endpoint.name} say"
        yield Contradiction(told.row_of(given.status), given.status, None, f"'{status}'", expected)


def _value(facts: Mapping[str, Fact], name: str) -> object:
    fact = facts.get(name)
    return None if fact is None else fact.value
