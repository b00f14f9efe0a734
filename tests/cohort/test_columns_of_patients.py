"""Facts of all patients at once are the facts of each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.cohort.adverse_events import grade_table, grade_tables
from tailort.cohort.patients import (
    AdverseEvent,
    FollowedPatient,
    Patients,
    column,
    distinct,
    fact_names,
    numbers_of_events,
)
from tailort.cohort.summaries import (
    NumberSummary,
    characteristics,
    group_of,
    groups_of,
    summarise_categories,
    summarise_numbers,
)
from tailort.errors import InputError
from tailort.patient import Fact, FactValue
from tailort.workflow.trial_facts import by_pseudonym

NAMES = ("age_years", "sex")
TOLD = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3))
COHORTS = st.dictionaries(st.text("abc", min_size=1, max_size=4), TOLD, max_size=8).map(
    lambda told: [
        FollowedPatient(name, {fact: Fact(fact, value) for fact, value in facts.items()})
        for name, facts in told.items()
    ]
)


@given(COHORTS, st.sampled_from(NAMES))
def test_a_column_has_the_fact_of_each_patient(patients: list[FollowedPatient], name: str) -> None:
    expected = [patient.facts.get(name) for patient in patients]
    assert column(patients, name) == expected
    kept = Patients(patients)
    assert column(kept, name) == expected
    assert column(kept, name) == expected, "the second time as well"


@given(COHORTS)
def test_patients_stand_by_their_pseudonyms(patients: list[FollowedPatient]) -> None:
    ordered = by_pseudonym(Patients(patients))
    assert [one.pseudonym for one in ordered] == sorted(one.pseudonym for one in patients)
    assert by_pseudonym(ordered) is ordered


@given(COHORTS.filter(bool))
def test_a_pseudonym_that_is_there_twice_is_refused(patients: list[FollowedPatient]) -> None:
    with pytest.raises(InputError, match="2 times"):
        by_pseudonym(Patients([*patients, patients[0]]))


@given(COHORTS, st.sampled_from(NAMES))
def test_different_facts_and_who_has_which_are_the_facts_of_each(patients: list[FollowedPatient], name: str) -> None:
    for cohort in (patients, Patients(patients)):
        told = distinct(cohort, name)
        expected = [patient.facts.get(name) for patient in patients]
        assert told.spread(told.facts) == expected
        assert [told.facts[place] for place in told.which.tolist()] == expected
        assert told.counts.tolist() == [sum(fact is one for fact in expected) for one in told.facts]


@given(COHORTS)
def test_names_of_facts_stand_in_the_order_in_which_patients_tell_them(patients: list[FollowedPatient]) -> None:
    expected = list(dict.fromkeys(name for patient in patients for name in patient.facts))
    assert list(fact_names(patients)) == list(fact_names(Patients(patients))) == expected
    read = Patients.with_columns(patients, {name: column(patients, name) for name in NAMES})
    assert [read.column(name) for name in NAMES] == [column(patients, name) for name in NAMES]


EVENTS = st.lists(st.builds(AdverseEvent, st.sampled_from(("Pain", "pain ", "Ulcer")), st.integers(0, 5)), max_size=3)


@given(st.lists(EVENTS.map(tuple), min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=8))
def test_events_are_counted_once_for_all_who_have_the_very_same(
    had: list[tuple[AdverseEvent, ...]], places: list[int]
) -> None:
    cohort = [FollowedPatient(f"P{n}", {}, had[place % len(had)]) for n, place in enumerate(places)]
    apart = [FollowedPatient(one.pseudonym, {}, tuple(map(replace, one.adverse_events))) for one in cohort]
    assert sum(number for _, number in numbers_of_events(cohort)) == len(cohort)
    assert grade_table(cohort) == grade_table(apart)
    groups = {one.pseudonym: (None, "a", "b")[n % 3] for n, one in enumerate(cohort)}
    expected = {name: grade_table([p for p in apart if groups[p.pseudonym] == name]) for name in ("a", "b")}
    assert grade_tables(cohort, groups) == {name: expected[name] for name in {*groups.values()} - {None}}


VALUES = st.none() | st.integers(0, 7) | st.booleans() | st.sampled_from(["x", "y", 2.5, ("a", "b"), ()])


@given(st.lists(VALUES, min_size=1, max_size=12), st.booleans())
def test_a_characteristic_is_the_summary_of_the_values_of_all(values: list[FactValue], shared: bool) -> None:
    made: dict[str, Fact] = {}
    facts = [made.setdefault(repr(v), Fact("f", v)) if shared else Fact("f", v) for v in values]
    cohort = Patients(FollowedPatient(f"P{n:02}", {"f": fact}) for n, fact in enumerate(facts))
    groups = {one.pseudonym: (None, "a", "b")[n % 3] for n, one in enumerate(cohort)}
    rows, _ = characteristics(cohort, ["f"], groups)
    for row in rows:
        for name, found in (("", row.overall), *row.groups.items()):
            own = [v for one, v in zip(cohort, values, strict=True) if not name or groups[one.pseudonym] == name]
            if isinstance(found, NumberSummary):
                assert found == summarise_numbers([v if isinstance(v, int | float) else None for v in own])
            else:
                assert found == summarise_categories(own, list(found.counts))
    if any(value is not None and value != () for value in values):
        assert groups_of(cohort, "f") == {
            one.pseudonym: group_of("f", v) for one, v in zip(cohort, values, strict=True)
        }
