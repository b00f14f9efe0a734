"""Tables, readings and contradictions: strata, what another reading changes, and what cannot be true."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from deciding_protocol import SALVAGE, protocol_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import InputError, ProtocolError
from tailort.patient import Fact
from tailort.protocols import Decision, decide, load
from tailort.protocols.condition import months_later
from tailort.protocols.decision import Deciding
from tailort.protocols.known import require_consistent

EXAMPLE = protocol_of(SALVAGE)
TODAY = dt.date(2026, 11, 21)
READY = Deciding.of(EXAMPLE, today=TODAY)
WHOLE: dict[str, Any] = {
    "surgery": "R0",
    "recurrence": True,
    "age_years": 60,
    "kps": 80,
    "diameter_cm": 3.0,
    "surgery_date": dt.date(2024, 1, 31),
    "recurrence_date": dt.date(2025, 1, 31),
    "stomach_distance_cm": 2.0,
}


def decided(values: dict[str, Any], **readings: str) -> Decision:
    named = {rule.replace("_", "-"): name for rule, name in readings.items()}
    return decide(EXAMPLE, {name: Fact(name, value) for name, value in values.items()}, named, TODAY)


def strata(decision: Decision) -> dict[str, str]:
    return {stratum.table: stratum.told for stratum in decision.strata}


@pytest.mark.parametrize(
    ("changed", "field", "course"),
    [
        ({}, "ENI", "A"),
        ({"stomach_distance_cm": 1.0}, "ENI", "B"),
        ({"diameter_cm": 5.0}, "ENI", "A"),  # MS-31: exactly 5.0 cm goes on
        ({"diameter_cm": 5.1}, "IFI", "C"),
        ({"diameter_cm": 5.1, "stomach_distance_cm": 0.9}, "IFI", "D"),
        ({"recurrence_date": dt.date(2025, 5, 31)}, "ENI", "A"),  # MS-33: 16 calendar months are not more than 16
        ({"recurrence_date": dt.date(2025, 6, 1)}, "IFI", "C"),
        ({"surgery": "R1", "diameter_cm": 9.0}, "ENI", "A"),
    ],
)
def test_each_branch_of_the_tree_has_its_stratum(changed: dict[str, Any], field: str, course: str) -> None:
    decision = decided(WHOLE | changed)
    assert decision.answer == "yes"
    assert strata(decision) == {"field": field, "course": course}
    assert not decision.missing_everywhere


def test_a_row_that_holds_tells_its_note_and_the_rows_asked_before_it() -> None:
    course = decided(WHOLE | {"diameter_cm": 6.0}).strata[1]
    assert course.note == "60 Gy in 30 fractions"
    assert [reason.answer for reason in course.reasons] == ["no", "no", "yes"]


def test_an_unknown_distance_leaves_both_plans_open_and_is_never_far() -> None:
    values = {name: value for name, value in WHOLE.items() if name != "stomach_distance_cm"}
    course = decided(values).strata[1]
    assert (course.outcome, course.possible) == (None, ("A", "B"))
    assert (course.missing, course.fewest) == (("stomach_distance_cm",), ("stomach_distance_cm",))


def test_a_table_is_settled_when_all_that_is_possible_is_the_same() -> None:
    values = WHOLE | {"diameter_cm": None, "recurrence_date": dt.date(2026, 1, 1)}
    assert strata(decided(values))["field"] == "IFI"


def test_the_fewest_facts_of_a_table_go_through_the_tables_it_looks_at() -> None:
    values = {name: value for name, value in WHOLE.items() if name not in ("diameter_cm", "stomach_distance_cm")}
    field, course = decided(values).strata
    assert field.fewest == ("diameter_cm",)
    assert course.possible == ("A", "B", "C", "D")
    assert course.fewest == ("diameter_cm", "stomach_distance_cm")


def test_a_reading_is_applied_with_the_other_one_and_what_it_would_have_changed() -> None:
    by_rule = {default.rule: default for default in decided(WHOLE | {"kps": 70}).defaults}
    assert by_rule["MS-07"].name == "paper"
    assert not by_rule["MS-07"].chosen
    (other,) = by_rule["MS-07"].others or ()
    assert (other.name, other.changes) == ("registry", ("answer: yes becomes no",))
    (other,) = by_rule["MS-30"].others or ()
    assert other.changes == ()
    assert by_rule["MS-35"].others is None


def test_another_reading_tells_the_strata_and_volumes_that_it_changes() -> None:
    values = WHOLE | {"surgery": "R2", "diameter_cm": 9.0}
    (other,) = next(d for d in decided(values).defaults if d.rule == "MS-30").others or ()
    assert other.changes == (
        "field: ENI becomes IFI",
        "course: A becomes C",
        "PTV_Elective (targets.1): applies becomes does not apply",
    )
    assert strata(decided(values, MS_30="tree")) == {"field": "IFI", "course": "C"}


def test_a_named_reading_is_taken_and_marked_as_chosen() -> None:
    decision = decided(WHOLE | {"kps": 70}, MS_07="registry")
    assert decision.answer == "no"
    assert decision.failed_rules == ("MS-07",)
    taken = next(default for default in decision.defaults if default.rule == "MS-07")
    assert (taken.name, taken.chosen, taken.taken) == ("registry", True, "KPS above 70")
    assert decided(WHOLE | {"kps": 70}, MS_07="default").answer == "yes"


@pytest.mark.parametrize(
    ("rule", "name", "says"),
    [
        ("MS-07", "papr", "MS-07=paper"),
        ("MS-06", "default", "not ambiguous"),
        ("XX-01", "default", "not one of its rules"),
        ("MS-35", "other", "cannot take it"),
    ],
)
def test_a_reading_that_is_not_there_is_bad_input(rule: str, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        decide(EXAMPLE, {}, {rule: name})


def test_an_event_after_today_is_bad_input() -> None:
    with pytest.raises(InputError, match="'surgery_date' is 2026-11-22, which is after today") as caught:
        decided(WHOLE | {"surgery_date": dt.date(2026, 11, 22), "recurrence_date": None})
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"recurrence_date": dt.date(2023, 1, 1)}, "recurrence is before the surgery"),
        ({"residual": True}, "left tumour behind"),
        ({"v40_percent": 20.0, "v50_percent": 20.5}, "gets 50 Gy than 40 Gy"),
    ],
)
def test_facts_that_contradict_each_other_are_bad_input(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        decided(WHOLE | changed)
    assert caught.value.exit_status == 2
    assert "G-03" in str(caught.value)


def test_facts_at_the_edge_of_a_contradiction_are_none() -> None:
    decided(WHOLE | {"v40_percent": 20.0, "v50_percent": 20.0, "recurrence_date": WHOLE["surgery_date"]})
    decided(WHOLE | {"surgery_date": TODAY, "recurrence_date": None})


def test_a_fact_found_after_today_is_bad_input() -> None:
    with pytest.raises(InputError, match="after today"):
        decide(EXAMPLE, {"kps": Fact("kps", 80, "letter", dt.date(2026, 11, 22))}, None, TODAY)


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (dt.date(2024, 1, 31), 1, dt.date(2024, 2, 29)),
        (dt.date(2024, 1, 31), 16, dt.date(2025, 5, 31)),
        (dt.date(2024, 12, 15), -12, dt.date(2023, 12, 15)),
        (dt.date(9999, 6, 1), 12, dt.date.max),
    ],
)
def test_months_are_calendar_months(day: dt.date, months: int, expected: dt.date) -> None:
    assert months_later(day, months) == expected


def test_a_decision_with_strata_is_ready_for_json() -> None:
    told = json.loads(json.dumps(decided({"surgery": "R0"}).as_dict()))
    assert told["answer"] == "unknown"
    assert told["fewest_missing"]["to_yes"] == ["recurrence", "age_years", "kps"]
    assert told["fewest_missing"]["to_no"] == ["recurrence"]
    assert told["strata"][1]["possible"] == ["A", "B", "C", "D"]
    assert told["ambiguous_defaults"][0]["other_readings"][0]["name"] == "registry"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("B, when: {outcome: field, in: [ENI]}", "B, when: {outcome: course, in: [A]}", "no decision table 'course'"),
        ("B, when: {outcome: field, in: [ENI]}", "B, when: {outcome: field, in: [EN]}", "never gives 'EN'"),
        ("taken: registry, when", "taken: register, when", "every reading of 'MS-07' has one case"),
        ("taken: always}", "taken: ever}", "'ever' is no reading of 'MS-30'"),
        ("plus: {months: 16}", "plus: {number: 16}", "16 cannot be added to a date"),
        ('operator: "<", than: surgery_date', 'operator: "<", than: kps', "cannot be compared"),
        ('operator: "<", than: surgery_date', 'operator: "<", than: surgery_day', "'surgery_day' is not among"),
        ("- name: course", "- name: field", "'field' is given twice"),
        ("- {rule: MS-30, default: always", "- {rule: MS-31, default: always", "'MS-31' is no ambiguous rule"),
    ],
)  # fmt: skip
def test_a_file_whose_tables_or_readings_contradict_themselves_is_refused(old: str, new: str, says: str) -> None:
    assert SALVAGE.count(old) == 1
    with pytest.raises(ProtocolError, match=says):
        Deciding.of(protocol_of(SALVAGE.replace(old, new)))


@pytest.mark.parametrize(
    "protocol", [EXAMPLE, load("smart-imrt"), load("rtog-9405"), load("rtog-e0113")], ids=lambda p: p.id
)
def test_a_sound_file_is_accepted(protocol: Any) -> None:
    require_consistent(protocol.file)


EXCLUSIVE = SALVAGE.replace(
    "  - name: course\n",
    """\
  - name: side
    exclusive: true
    rows:
      - {outcome: small, when: {fact: diameter_cm, operator: "<", value: 2}}
      - {outcome: large, when: {fact: diameter_cm, operator: ">", value: 5}}
      - {outcome: far, when: {fact: stomach_distance_cm, operator: ">", value: 15}}
  - name: course
""",
)


def test_one_row_settles_a_table_whose_rows_exclude_each_other() -> None:
    deciding = Deciding.of(protocol_of(EXCLUSIVE))
    side = deciding.decide({"stomach_distance_cm": Fact("stomach_distance_cm", 16.0)}).strata[1]
    assert (side.outcome, side.missing) == ("far", ())
    side = deciding.decide({"stomach_distance_cm": Fact("stomach_distance_cm", 1.0)}).strata[1]
    assert side.possible == ("small", "large", "")
    assert side.fewest == ("diameter_cm",)
    none = {"stomach_distance_cm": Fact("d", 1.0), "diameter_cm": Fact("s", 3.0)}
    assert deciding.decide(none).strata[1].told == "none: no row applies"
    both = {"stomach_distance_cm": Fact("d", 16.0), "diameter_cm": Fact("s", 1.0)}
    with pytest.raises(ProtocolError, match="small and far both hold"):
        deciding.decide(both)


record_values = {
    "surgery": st.sampled_from(["R0", "R1", "R2"]),
    "recurrence": st.booleans(),
    "age_years": st.sampled_from([15.9, 16.0, 70.0, 70.1]),
    "kps": st.sampled_from([60, 70, 80]),
    "diameter_cm": st.sampled_from([0.0, 5.0, 5.1]),
    "surgery_date": st.just(dt.date(2024, 1, 31)),
    "recurrence_date": st.sampled_from([dt.date(2024, 3, 1), dt.date(2025, 5, 31), dt.date(2025, 6, 1)]),
    "stomach_distance_cm": st.sampled_from([0.0, 1.0, 1.1]),
}


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=record_values), st.fixed_dictionaries({}, optional=record_values))
def test_more_facts_never_change_a_stratum_that_is_settled(known: dict[str, Any], more: dict[str, Any]) -> None:
    before, after = (
        READY.decide({name: Fact(name, value) for name, value in one.items()}, "answers")
        for one in (known, more | known)
    )
    assert before.answer in ("unknown", after.answer)
    for was, now in zip(before.strata, after.strata, strict=True):
        assert set(now.possible) <= set(was.possible)
