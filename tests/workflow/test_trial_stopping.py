"""Stopping rules: printed ones for one patient, designed ones for a trial."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_patients import START, event, patient

from tailort.cohort.monitoring import MonitoringDesign
from tailort.cohort.patients import CourseGiven
from tailort.errors import InputError
from tailort.protocols import load
from tailort.workflow.trial_stopping import individual_stopping, monitor_event

TODAY = dt.date(2021, 1, 1)
# Chances of 2 or more of 3, and of 3 or more of 6, at a rate of 0.2 are 0.104 and 0.099.
DESIGN = MonitoringDesign("grade 5", 0.2, (3, 6), 0.11, "exact-binomial")


def begun(n: int, *events: object) -> object:
    start = START + dt.timedelta(days=n)
    return patient(f"P-{n}", courses=[CourseGiven("salvage", start)], adverse_events=events)


def test_ms_92_to_ms_95_are_the_printed_rules_that_stop_treatment() -> None:
    found = individual_stopping(load("salvage-crt"))
    assert {rule for one in found for rule in one.rules} == {"MS-92", "MS-93", "MS-94", "MS-95", "MS-96", "MS-98"}
    assert {one.action for one in found} == {"stop-all", "stop-chemotherapy"}


@given(st.permutations(range(6)))
def test_patients_count_in_the_order_in_which_treatment_began(order: Sequence[int]) -> None:
    people = [begun(n, *([event("Death NOS", 5, 20)] if n in (0, 2) else [])) for n in range(6)]
    found = monitor_event([people[n] for n in order], TODAY, DESIGN, from_grade=5)
    assert found.patients == tuple(f"P-{n}" for n in range(6))
    assert found.with_event == ("P-0", "P-2")
    assert (found.monitored.answer, found.monitored.looks[0].events) == ("stop", 2)


def test_an_event_without_a_day_or_a_group_leaves_the_answer_open() -> None:
    undated = [begun(0, event("Death NOS", 5, None)), begun(1, event("Death NOS", 5, 20)), begun(2)]
    assert monitor_event(undated, TODAY, DESIGN, from_grade=5).monitored.answer == "unknown"
    strange = [begun(0, event("Strange", 5, 20)), begun(1, event("Pneumonitis", 5, 20)), begun(2)]
    assert monitor_event(strange, TODAY, DESIGN, from_grade=5, group="pneumonitis").unknown == ("P-0",)
    told = monitor_event(strange, TODAY, DESIGN, from_grade=5, group="pneumonitis", groups={"strange": "pneumonitis"})
    assert told.monitored.answer == "stop"


def test_only_the_named_terms_and_grades_after_treatment_began_count() -> None:
    people = [begun(0, event("Nausea", 3, 5)), begun(1, event("Nausea", 2, 5)), begun(2, event("Nausea", 3, -5))]
    assert monitor_event(people, TODAY, DESIGN, from_grade=3, terms=["nausea"]).with_event == ("P-0",)
    assert monitor_event(people, TODAY, DESIGN, from_grade=3, terms=["Fatigue"]).with_event == ()


def test_who_has_not_begun_is_not_counted() -> None:
    found = monitor_event([begun(0), patient("Q", courses=[])], TODAY, DESIGN, from_grade=5)
    assert (found.patients, found.not_started) == (("P-0",), ("Q",))
    assert found.monitored.answer == "no look yet"


def test_a_rule_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="from grade 0"):
        monitor_event([], TODAY, DESIGN, from_grade=0)
    with pytest.raises(InputError, match="give terms or one of the groups"):
        monitor_event([], TODAY, DESIGN, from_grade=3, terms=["Nausea"], group="other")
