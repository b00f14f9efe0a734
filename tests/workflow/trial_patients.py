"""Patients of a trial for tests: treated from Monday 2020-03-02 to 2020-04-10, two cycles 21 days apart."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tailort.cohort.patients import AdverseEvent, CourseGiven, CycleGiven, FollowedPatient, Visit
from tailort.patient import Fact
from tailort.patient.case import FactValue

START, END = dt.date(2020, 3, 2), dt.date(2020, 4, 10)
SECOND_CYCLE = START + dt.timedelta(days=21)


def facts(**values: FactValue) -> dict[str, Fact]:
    return {name: Fact(name, value) for name, value in values.items()}


def seen(day: dt.date, month: int | None = None, **values: FactValue) -> Visit:
    return Visit(day, month, facts(**values))


def patient(pseudonym: str = "P-01", **told: Any) -> FollowedPatient:
    """A patient whose course of the trial was given; facts by name, everything else as of `FollowedPatient`."""
    records = ("adverse_events", "lesions", "visits", "courses", "cycles")
    rest = {name: tuple(told.pop(name)) for name in records if name in told}
    rest.setdefault("courses", (CourseGiven("salvage", START, END, 60.0, 60.0, 30, 30),))
    return FollowedPatient(pseudonym, facts(**told), **rest)


def two_cycles(percent: float | None, day: dt.date | None = SECOND_CYCLE) -> tuple[CycleGiven, CycleGiven]:
    return CycleGiven(1, START, 100.0), CycleGiven(2, day, percent)


def event(
    term: str, grade: int, days_after_start: int | None = 10, scale: str = "CTCAE 4.0", **told: Any
) -> AdverseEvent:
    day = None if days_after_start is None else START + dt.timedelta(days=days_after_start)
    return AdverseEvent(term, grade, day, scale, **told)
