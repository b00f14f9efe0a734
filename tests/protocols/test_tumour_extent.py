"""The longest examination counts, and ends in cm from the incisors tell length, middle and distance."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tailort.errors import InputError, ProtocolError, UndecidedError
from tailort.patient import Fact
from tailort.protocols import load, parse
from tailort.protocols.computed import Computed
from tailort.protocols.known import known_facts
from tailort.protocols.tumour_extent import largest_length

E0113 = load("rtog-e0113").file
UPPER, LOWER = "tumour_upper_end_from_incisors_cm", "tumour_lower_end_from_incisors_cm"


def _known(**values: Any) -> dict[str, Any]:
    facts = {name: Fact(name, value) for name, value in values.items()}
    return {name: fact.value for name, fact in known_facts(E0113, facts).items()}


@given(st.dictionaries(st.sampled_from("abcd"), st.none() | st.floats(0.1, 30), min_size=1))
def test_the_largest_recorded_length_counts_and_nothing_that_is_absent(lengths: dict[str, float | None]) -> None:
    told = [cm for cm in lengths.values() if cm is not None]
    if not told:
        with pytest.raises(UndecidedError) as caught:
            largest_length(lengths)
        assert caught.value.missing == tuple(lengths)
        return
    found = largest_length(lengths)
    assert found.longest_cm == max(told)
    assert lengths[found.by] == max(told)
    assert set(found.not_told) == {name for name, cm in lengths.items() if cm is None}
    assert all(f"{name} not recorded" in found.text for name in found.not_told)


def test_both_ends_tell_length_middle_and_distance_to_the_junction() -> None:
    made = _known(**{UPPER: 28.0, LOWER: 33.5}, junction_from_incisors_cm=39.0)
    assert made["tumour_length_endoscopy_cm"] == 5.5
    assert made["tumour_centre_from_incisors_cm"] == 30.75
    assert made["tumour_to_junction_cm"] == 5.5


def test_a_tumour_across_the_junction_is_at_no_distance_from_it() -> None:
    assert _known(**{UPPER: 34.0, LOWER: 41.0}, junction_from_incisors_cm=39.0)["tumour_to_junction_cm"] == 0.0


def test_one_end_alone_tells_nothing() -> None:
    assert set(_known(**{UPPER: 28.0})) == {UPPER}


def test_what_is_computed_says_of_what() -> None:
    facts = {name: Fact(name, value) for name, value in {UPPER: 28.0, LOWER: 33.5}.items()}
    assert known_facts(E0113, facts)["tumour_length_endoscopy_cm"].source == f"computed from {LOWER}, {UPPER}"


def test_a_recorded_fact_must_agree_with_what_follows_from_the_ends() -> None:
    ends = {UPPER: 28.0, LOWER: 33.5}
    assert _known(**ends, tumour_length_endoscopy_cm=5.5)["tumour_length_endoscopy_cm"] == 5.5
    with pytest.raises(InputError, match=r"'tumour_length_endoscopy_cm' is 4.2, but 5.5 follows"):
        _known(**ends, tumour_length_endoscopy_cm=4.2)


def test_a_computed_fact_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"'tumour_length_endoscopy_cm' cannot be -5\.5"):
        _known(**{UPPER: 33.5, LOWER: 28.0})


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "one of 'points'"), ({"difference": ("a", "b"), "middle": ("a", "b")}, "one of 'points'"),
        ({"middle": ("a", "b"), "at_least": 0}, "'at_least' goes with 'difference'"),
    ],
)  # fmt: skip
def test_a_fact_is_computed_in_one_way(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Computed(**keys)


FILE = """\
id: small
version: "1"
title: Small
facts:
  - {name: upper_cm, type: number, unit: cm}
  - {name: lower_cm, type: number, unit: UNIT}
  - {name: length_cm, type: KIND, unit: cm, computed: {difference: [lower_cm, OTHER]}}
targets:
  - {name: PTV, role: PTV, of: [GTV], then: [{lengthen: {to_largest_of: [LENGTH], at_each_end: whole}}]}
normalisation: {coverage: "D95%[Gy]"}
prescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]
technique: {kind: imrt, beams: 9}
"""
SOUND = {"UNIT": "cm", "KIND": "number", "OTHER": "upper_cm", "LENGTH": "length_cm"}


def _file(**changed: str) -> str:
    text = FILE
    for name, word in (SOUND | changed).items():
        text = text.replace(name, word)
    return text


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"UNIT": "mm"}, "'length_cm' and the facts that it is computed from have different units"),
        ({"OTHER": "length_cm"}, "'length_cm' cannot be computed from 'length_cm'"),
        ({"OTHER": "absent"}, "'length_cm' cannot be computed from 'absent'"),
        ({"LENGTH": "absent"}, "'absent' is no number in cm"),
    ],
)
def test_a_file_that_computes_or_lengthens_by_what_is_not_there_is_refused(changed: dict[str, str], says: str) -> None:
    assert parse(_file(), "small.yaml").id == "small"
    with pytest.raises(ProtocolError, match=says):
        parse(_file(**changed), "small.yaml")
