"""What a trial tells of all patients at once is what it tells of each."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.cohort.patients import CycleGiven, FollowedPatient, Patients
from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols.records.table import AbsentFact
from tailort.workflow import trial_completeness, trial_completion
from tailort.workflow.trial_completion import COMPLETED
from tailort.workflow.trial_facts import PROGRESSION, days_in, days_of, group_name, group_names, truth_of
from tailort.workflow.trial_recurrence import OUTSIDE

TODAY = dt.date(2024, 6, 1)
NAMES = ("sex", PROGRESSION, OUTSIDE, COMPLETED)
ABSENCES = st.tuples(st.sampled_from(("unknown", "not done", "not applicable")), st.sampled_from(("", "?")))
TOLD = {
    "sex": st.sampled_from(("male", "female", True, 3)),
    PROGRESSION: st.dates(dt.date(2024, 1, 1), dt.date(2024, 12, 31)),
    OUTSIDE: st.booleans(),
    COMPLETED: st.booleans(),
}


@st.composite
def cohorts(draw: st.DrawFn) -> list[FollowedPatient]:
    made: dict[str, list[Fact | None]] = {}
    for name in NAMES:
        told = draw(st.lists(TOLD[name], max_size=3))
        absent = draw(st.lists(ABSENCES, max_size=3))
        facts = [Fact(name, value) for value in told]
        made[name] = [*facts, *(AbsentFact(name, None, "", None, *why) for why in absent), None]
    cohort = []
    for n in range(draw(st.integers(0, 6))):
        own = {name: draw(st.sampled_from(facts)) for name, facts in made.items()}
        cohort.append(FollowedPatient(f"P{n}", {name: fact for name, fact in own.items() if fact is not None}))
    return cohort


@given(cohorts(), st.booleans())
def test_gaps_are_those_of_each_patient(cohort: list[FollowedPatient], is_event: bool) -> None:
    found = trial_completeness.completeness(cohort, NAMES, event_dates=NAMES if is_event else ())
    for one in found.facts:
        states = {who.pseudonym: trial_completeness._told(who, one.name, is_event) for who in cohort}
        assert one.told == list(states.values()).count(True)
        assert one.missing == tuple(name for name, state in states.items() if state is False)
        assert one.expected == len([state for state in states.values() if state is not None])
    for who, names in found.by_patient.items():
        assert names == tuple(one.name for one in found.facts if who in one.missing)
    assert list(found.by_patient) == [one.pseudonym for one in cohort]


@given(cohorts(), st.sampled_from(NAMES))
def test_groups_and_what_is_recorded_are_those_of_each_patient(cohort: list[FollowedPatient], name: str) -> None:
    for patients in (cohort, Patients(cohort)):
        assert group_names(patients, name) == [group_name(one, name) for one in cohort]
        assert trial_completion._recorded(patients) == [truth_of(one, COMPLETED) for one in cohort]


def test_a_record_that_is_no_yes_or_no_is_refused() -> None:
    with pytest.raises(InputError, match="expected yes or no"):
        trial_completion._recorded([FollowedPatient("P", {COMPLETED: Fact(COMPLETED, "partly")})])


@given(st.lists(st.dates(dt.date(2024, 1, 1), dt.date(2024, 12, 31)), max_size=4), st.dates(dt.date(2024, 1, 1)))
def test_days_that_are_kept_are_those_of_each_patient_and_cut_off(days: list[dt.date], other: dt.date) -> None:
    cohort = Patients(FollowedPatient(f"P{n}", {}, cycles=(CycleGiven(1, day, 100.0),)) for n, day in enumerate(days))
    for today in (TODAY, other, TODAY):
        for one in cohort:
            assert days_in(cohort, one, today) == days_of(one, today)
