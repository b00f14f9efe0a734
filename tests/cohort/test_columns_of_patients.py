"""Facts of all patients at once are the facts of each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.cohort.patients import FollowedPatient, Patients, column
from tailort.errors import InputError
from tailort.patient import Fact
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
