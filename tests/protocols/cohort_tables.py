"""Small cohorts as tables, in the shape of the spine study, for tests of reading and of endpoints."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from tailort.cohort.patients import FollowedPatient
from tailort.protocols import load
from tailort.protocols.cohort_endpoints import Endpoint, cohort_endpoints
from tailort.protocols.records.cohort_mapping import parse_cohort_mapping
from tailort.protocols.records.cohort_table import parse_cohort

TODAY = dt.date(2026, 2, 1)
DAY = dt.date(2020, 1, 1)
SPINE = load("reirradiation-spine")

HEAD = """\
source: study
id_column: id
date_format: "%Y-%m-%d"
time_format: "%Y-%m-%d %H:%M"
missing: [UNK]
"""
COLUMNS = """\
columns:
  mescc: {fact: mescc_date, type: date}
  sbrt: {fact: sbrt_start_date, type: date}
  failure: {fact: local_failure_date, type: date}
  dead: {fact: dead, type: boolean, codes: {1: yes, 0: no}}
  death: {fact: death_date, type: date}
  seen: {fact: last_follow_up_date, type: date}
flags: {dead: death_date}
"""
VISITS = """\
visit:
  columns:
    visit: {fact: day, type: date}
    kg: {fact: weight_kg, type: number, unit: kg}
"""
PATIENTS = HEAD + COLUMNS
A_ROW_A_VISIT = PATIENTS + VISITS
BY_KIND = (
    A_ROW_A_VISIT
    + """\
row_kind: {column: row, kinds: {"": patient, visit: visit, ae: adverse event}}
adverse_event:
  scale: CTCAE 4.0
  columns:
    term: {fact: term, type: text}
    grade: {fact: grade, type: integer}
    noticed: {fact: noticed, type: text}
"""
)
HEADER = "id,mescc,sbrt,failure,dead,death,seen"


@dataclass(frozen=True)
class Course:
    """Days of one patient after DAY; None did not happen."""

    sbrt: int
    failure: int | None
    death: int | None
    seen: int

    def cells(self, name: str, shift: int = 0) -> list[str]:
        def on(day: int | None) -> str:
            return "" if day is None else (DAY + dt.timedelta(day + shift)).isoformat()

        dead = str(int(self.death is not None))
        return [name, on(0), on(self.sbrt), on(self.failure), dead, on(self.death), on(self.seen)]


def table(courses: Sequence[Course], shift: int = 0) -> str:
    """One row a patient."""
    return "\n".join([HEADER, *(",".join(one.cells(f"S-{n:03d}", shift)) for n, one in enumerate(courses))])


_mapping = cache(parse_cohort_mapping)


def read(text: str, mapping: str = PATIENTS, readings: dict[str, str] | None = None) -> tuple[FollowedPatient, ...]:
    """Patients of a table of the spine study."""
    told = _mapping(mapping)
    entries = SPINE.file.facts
    return parse_cohort(text, told, today=TODAY, entries=entries, endpoints=endpoints(mapping, readings))


def endpoints(mapping: str = PATIENTS, readings: dict[str, str] | None = None) -> tuple[Endpoint, ...]:
    """Local failure and overall survival, in this order."""
    return cohort_endpoints(_mapping(mapping), SPINE, readings)
