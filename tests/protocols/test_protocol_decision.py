"""A decision is yes, no or not known yet, with every reason and nothing filled in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError, NotEligibleError, UndecidedError
from tailort.patient import Fact
from tailort.protocols import decide, load, parse, read_record

SMART = load("smart-imrt")
ELIGIBLE = {"tumour_level": "middle", "surgery": "none", "concurrent_chemotherapy": True, "age_years": 61, "kps": 80}

WITH_EXCLUSIONS = parse(
    """\
id: exclusions
version: "1"
title: Alternatives and exclusions
rules:
  - {id: A, text: R1 or R2 resection., source: Paper, mark: seed}
  - {id: B, text: Recurrence after surgery., source: Paper, mark: seed}
  - {id: C, text: Not pregnant., source: Paper, mark: seed}
facts:
  - {name: surgery, type: choice, choices: [none, R0, R1, R2]}
  - {name: recurrence, type: boolean}
  - {name: pregnant, type: boolean}
  - {name: infection, type: boolean}
eligibility:
  all:
    - any:
        - {fact: surgery, in: [R1, R2], rule: A}
        - {fact: recurrence, operator: "==", value: true, rule: B}
    - not: {any: [{fact: pregnant, operator: "==", value: true}, {fact: infection, operator: "==", value: true}]}
      rule: C
normalisation: {coverage: "D95%[Gy]"}
prescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]
technique: {kind: imrt, beams: 7}
""",
    "exclusions.yaml",
)


def facts(values: dict[str, Any]) -> dict[str, Fact]:
    return {name: Fact(name, value, "record") for name, value in values.items()}


def test_the_setting_of_the_smart_trial_is_admitted_with_its_rule_and_the_values_seen() -> None:
    decision = decide(SMART, facts(ELIGIBLE))
    assert decision.answer == "yes"
    assert not decision.missing
    assert {reason.rule for reason in decision.reasons} == {"SM-01"}
    seen = {name: fact.value for reason in decision.reasons for name, fact in reason.facts.items() if fact}
    assert seen == {"tumour_level": "middle", "surgery": "none", "concurrent_chemotherapy": True}


def test_surgery_stops_the_smart_trial() -> None:
    decision = decide(SMART, facts(ELIGIBLE | {"surgery": "R0"}))
    assert decision.answer == "no"
    with pytest.raises(NotEligibleError, match=r"surgery is none \(SM-01\), but surgery is R0") as caught:
        decision.require_yes()
    assert caught.value.exit_status == 5


def test_radiotherapy_alone_stops_the_smart_trial() -> None:
    assert decide(SMART, facts(ELIGIBLE | {"concurrent_chemotherapy": False})).answer == "no"


@pytest.mark.parametrize("name", ["tumour_level", "surgery", "concurrent_chemotherapy"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_missing_fact_leaves_the_answer_open_and_is_named(name: str, how: str) -> None:
    record = facts(ELIGIBLE | {name: None})
    if how == "absent":
        del record[name]
    decision = decide(SMART, record)
    assert decision.answer == "unknown"
    assert decision.missing == (name,)
    with pytest.raises(UndecidedError) as caught:
        decision.require_yes()
    assert caught.value.missing == (name,)
    assert caught.value.exit_status == 4


def test_a_no_stands_without_the_other_facts() -> None:
    decision = decide(SMART, facts({"surgery": "R1"}))
    assert (decision.answer, decision.missing) == ("no", ())


def test_facts_that_no_condition_asks_for_are_never_missing() -> None:
    record = facts(ELIGIBLE)
    del record["age_years"], record["kps"]
    assert decide(SMART, record).answer == "yes"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("age_years", 121, "expected 0 to 120"),
        ("age_years", -1, "expected 0 to 120"),
        ("age_years", "61", "expected a number"),
        ("age_years", True, "expected a number"),
        ("kps", 75, "expected a multiple of 10"),
        ("kps", 110, "expected 0 to 100"),
        ("kps", 80.0, "expected a whole number"),
        ("surgery", "maybe", "expected one of none"),
        ("concurrent_chemotherapy", 1, "expected yes or no"),
        ("concurrent_chemotherapy", "planned", "expected yes or no"),
        ("tumour_level", 28, "expected text"),
    ],
)
def test_an_invalid_fact_is_bad_input_and_never_an_answer(name: str, value: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        decide(SMART, facts(ELIGIBLE | {name: value}))
    assert f"'{name}'" in str(caught.value)
    assert caught.value.exit_status == 2


def test_yes_and_no_in_a_record_mean_true_and_false() -> None:
    record = read_record("tumour_level: upper\nsurgery: None\nconcurrent_chemotherapy: yes\n")
    assert decide(SMART, record).answer == "yes"


def test_every_ambiguous_rule_is_told_with_both_readings() -> None:
    decision = decide(SMART, facts(ELIGIBLE))
    assert {default.rule for default in decision.defaults} == {r.id for r in SMART.rules if r.mark == "ambiguous"}
    assert {"SM-12", "MS-75", "MS-79"} <= {default.rule for default in decision.defaults}
    assert all(default.taken and default.other and default.taken != default.other for default in decision.defaults)


def test_a_decision_is_ready_for_json() -> None:
    record = read_record("surgery: {value: none, source: letter, date: 2026-01-02}\n")
    told = json.loads(json.dumps(decide(SMART, record).as_dict()))
    assert told["answer"] == "unknown"
    assert told["missing"] == ["tumour_level", "concurrent_chemotherapy"]
    seen = {name: fact for reason in told["reasons"] for name, fact in reason["facts"].items()}
    assert seen["surgery"] == {"value": "none", "source": "letter", "date": "2026-01-02"}
    assert seen["tumour_level"] is None


def test_an_exclusion_that_holds_is_a_no_with_its_rule() -> None:
    decision = decide(WITH_EXCLUSIONS, facts({"surgery": "R1", "pregnant": True}))
    assert decision.answer == "no"
    (against,) = [reason for reason in decision.reasons if reason.answer == "no"]
    assert against.rule == "C"
    assert [part.answer for part in against.parts] == ["yes"]


def test_one_of_several_ways_in_is_enough_and_needs_no_other_fact() -> None:
    decision = decide(WITH_EXCLUSIONS, facts({"recurrence": True, "pregnant": False, "infection": False}))
    assert (decision.answer, decision.missing) == ("yes", ())


def test_a_protocol_without_eligibility_admits_everybody() -> None:
    bare = parse(
        'id: bare\nversion: "1"\ntitle: Bare\nnormalisation: {coverage: "D95%[Gy]"}\n'
        "prescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]\ntechnique: {kind: imrt, beams: 7}\n",
        "bare.yaml",
    )
    assert decide(bare, {}).answer == "yes"


smart_values = {
    "tumour_level": st.sampled_from(["upper", "middle", "lower", None]),
    "surgery": st.sampled_from(["none", "planned", "R0", None]),
    "concurrent_chemotherapy": st.sampled_from([True, False, None]),
    "age_years": st.one_of(st.none(), st.floats(0, 120)),
    "kps": st.sampled_from([None, *range(0, 101, 10)]),
}


@given(st.fixed_dictionaries({}, optional=smart_values), st.fixed_dictionaries({}, optional=smart_values))
def test_more_facts_never_turn_a_yes_into_a_no(known: dict[str, Any], more: dict[str, Any]) -> None:
    known = {name: value for name, value in known.items() if value is not None}
    before = decide(SMART, facts(known)).answer
    after = decide(SMART, facts(more | known)).answer
    assert before in ("unknown", after)


@given(st.fixed_dictionaries({}, optional=smart_values))
def test_an_unknown_always_names_what_is_missing(known: dict[str, Any]) -> None:
    decision = decide(SMART, facts(known))
    assert bool(decision.missing) == (decision.answer == "unknown")
