"""Times to an event follow the protocol's own definitions, under the reading that is taken, and guess no day."""

from __future__ import annotations

import datetime as dt
from importlib import resources
from random import Random

import numpy as np
import pytest
from cohort_tables import A_ROW_A_VISIT, DAY, HEADER, PATIENTS, Course, endpoints, read, table
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.cohort.patients import DAYS_PER_MONTH, FollowedPatient, TimesToEvent
from tailort.errors import InputError, ProtocolError
from tailort.patient import Fact
from tailort.protocols import load, parse
from tailort.protocols.cohort_endpoints import (
    Endpoint,
    cohort_endpoints,
    endpoint_times,
    endpoints_of,
    missing_facts,
    outcome,
)
from tailort.protocols.records.cohort_mapping import parse_cohort_mapping
from tailort.protocols.records.cohort_table import parse_cohort
from tailort.protocols.records.cohort_times import TableRows, are_in_order, contradictions, in_order
from tailort.protocols.records.table import AbsentFact

FAILURE, SURVIVAL = endpoints()
SALVAGE = load("salvage-crt").file


@st.composite
def courses(draw: st.DrawFn) -> list[Course]:
    made = []
    for _ in range(draw(st.integers(1, 6))):
        sbrt = draw(st.integers(0, 30))
        seen = draw(st.integers(sbrt, sbrt + 900))
        failure = draw(st.none() | st.integers(sbrt, seen))
        made.append(Course(sbrt, failure, seen if draw(st.booleans()) else None, seen))
    return made


def same(one: TimesToEvent, other: TimesToEvent) -> bool:
    return (
        one.pseudonyms == other.pseudonyms
        and np.array_equal(one.months, other.months)
        and np.array_equal(one.status, other.status)
        and one.left_out == other.left_out
    )


# --- laws


@settings(max_examples=30, deadline=None)
@given(courses(), st.randoms())
def test_the_order_of_rows_does_not_matter(cohort: list[Course], shuffled: Random) -> None:
    head, *rows = table(cohort).split("\n")
    shuffled.shuffle(rows)
    for endpoint in (FAILURE, SURVIVAL):
        mixed = endpoint_times(read("\n".join([head, *rows])), endpoint)
        assert same(mixed, endpoint_times(read(table(cohort)), endpoint))


@settings(max_examples=30, deadline=None)
@given(courses(), st.data())
def test_a_row_a_visit_gives_the_endpoints_of_a_row_a_patient(cohort: list[Course], data: st.DataObject) -> None:
    lines = [f"{HEADER},visit,kg"]
    for n, one in enumerate(cohort):
        told = one.cells(f"S-{n:03d}")
        last = one.seen if one.death is None else one.death
        days = data.draw(st.lists(st.integers(0, last), min_size=1, max_size=3, unique=True))
        for k, day in enumerate(days):
            # A value may be repeated in each row, or stand in one of them alone.
            own = told if k == 0 or data.draw(st.booleans()) else [told[0], *[""] * (len(told) - 1)]
            lines.append(",".join([*own, (DAY + dt.timedelta(day)).isoformat(), "70"]))
    patients = read("\n".join(lines), A_ROW_A_VISIT)
    for endpoint in (FAILURE, SURVIVAL):
        assert same(endpoint_times(patients, endpoint), endpoint_times(read(table(cohort)), endpoint))


@settings(max_examples=30, deadline=None)
@given(courses(), st.integers(-3000, 500))
def test_shifting_all_dates_changes_nothing(cohort: list[Course], days: int) -> None:
    for endpoint in (FAILURE, SURVIVAL):
        shifted = endpoint_times(read(table(cohort, days)), endpoint)
        assert same(shifted, endpoint_times(read(table(cohort)), endpoint))


@settings(max_examples=30, deadline=None)
@given(courses(), st.integers(0, 1000), st.integers(0, 400))
def test_an_earlier_cut_off_adds_no_event_and_lengthens_no_time(cohort: list[Course], late: int, less: int) -> None:
    patients = read(table(cohort))
    for endpoint in (FAILURE, SURVIVAL):
        times = [
            endpoint_times(patients, endpoint, until=DAY + dt.timedelta(day)) for day in (late, max(late - less, 0))
        ]
        after, before = (
            dict(zip(one.pseudonyms, zip(one.months, one.status, strict=True), strict=True)) for one in times
        )
        assert set(before) <= set(after)
        for name, (months, status) in before.items():
            assert months <= after[name][0]
            assert status in (0, after[name][1])


@settings(max_examples=30, deadline=None)
@given(courses())
def test_without_a_competing_event_nothing_has_status_2_and_no_failure_comes_after_death(cohort: list[Course]) -> None:
    patients = read(table(cohort))
    assert set(endpoint_times(patients, SURVIVAL).status.tolist()) <= {0, 1}
    times = endpoint_times(patients, FAILURE)
    for one, months, status in zip(cohort, times.months, times.status, strict=True):
        assert status == (1 if one.failure is not None else 2 if one.death is not None else 0)
        last = one.seen if one.failure is None else one.failure
        assert months * DAYS_PER_MONTH == pytest.approx(last - one.sbrt)


# --- definitions


def times_of(*cells: str, endpoint: Endpoint = FAILURE, until: dt.date | None = None) -> TimesToEvent:
    return endpoint_times(read("\n".join([HEADER, *cells])), endpoint, until=until)


def test_a_year_of_365_and_a_quarter_days_has_twelve_months() -> None:
    assert DAYS_PER_MONTH * 12 == 365.25
    made = times_of("A,2020-01-01,2020-01-01,,0,,2024-01-01")
    assert made.months[0] == pytest.approx(48.0)
    assert any("30.4375" in note for note in made.notes)


def test_ko_104_local_failure_is_counted_from_sbrt_and_by_the_other_reading_from_the_diagnosis() -> None:
    row = "A,2020-01-01,2020-01-21,2020-02-20,0,,2020-03-01"
    by_default = times_of(row)
    other, _ = endpoints(readings={"KO-104": "diagnosis"})
    by_other = times_of(row, endpoint=other)
    assert (by_default.origin, by_other.origin) == ("first day of SBRT", "diagnosis of MESCC")
    assert by_default.months[0] == 30 / DAYS_PER_MONTH
    assert by_other.months[0] == 50 / DAYS_PER_MONTH
    assert "KO-104: the first day of SBRT" in by_default.readings
    assert "KO-104: the diagnosis of MESCC" in by_other.readings
    assert by_default.rules == ("KO-100", "KO-101", "KO-103", "KO-104", "KO-105")


def test_ko_102_overall_survival_is_counted_from_the_diagnosis_of_mescc() -> None:
    made = times_of("A,2020-01-01,2020-01-21,2020-02-20,1,2020-03-01,2020-03-01", endpoint=SURVIVAL)
    assert (made.origin, made.event, made.competing) == ("diagnosis of MESCC", "death", ())
    assert (made.months[0], made.status[0]) == (60 / DAYS_PER_MONTH, 1)


def test_ko_100_death_before_local_failure_competes_and_death_after_it_does_not() -> None:
    made = times_of(
        "A,2020-01-01,2020-01-01,,1,2020-01-31,2020-01-31", "B,2020-01-01,2020-01-01,2020-01-11,1,2020-01-31,2020-01-31"
    )
    assert made.competing == ("death without local recurrence",)
    assert made.status.tolist() == [2, 1]
    assert (made.months * DAYS_PER_MONTH).round(6).tolist() == [30, 10]


def test_a_death_after_the_last_follow_up_counts_on_its_day_and_is_told() -> None:
    late = "A,2020-01-01,2020-01-01,,1,2020-01-31,2020-01-11"
    for endpoint, status in ((SURVIVAL, 1), (FAILURE, 2)):
        made = times_of(late, endpoint=endpoint)
        assert (made.months[0] * DAYS_PER_MONTH, made.status[0]) == (pytest.approx(30), status)
        assert any("after the last follow-up" in note for note in made.notes)
    # Alive on the day of the cut-off is known because the patient died later.
    cut = times_of(late, endpoint=SURVIVAL, until=dt.date(2020, 1, 21))
    assert (cut.months[0] * DAYS_PER_MONTH, cut.status[0]) == (pytest.approx(20), 0)


def test_ko_105_groups_are_compared_by_gray_and_by_the_other_reading_by_log_rank_alone() -> None:
    assert FAILURE.tests == ("gray", "log-rank")
    assert endpoints(readings={"KO-105": "log_rank"})[0].tests == ("log-rank",)
    assert FAILURE.interval == "log-log"  # KO-103


def test_ms_106_progression_free_survival_is_disease_free_survival_and_else_not_computed() -> None:
    named = [one.name for one in endpoints_of(SALVAGE.endpoints, SALVAGE)]
    assert named == ["overall survival", "progression-free survival"]
    apart = endpoints_of(SALVAGE.endpoints, SALVAGE, {"MS-106": "apart"})
    assert [one.name for one in apart] == ["overall survival", "disease-free survival"]
    assert apart[1].event_facts == ("progression_date", "death_date")
    assert {one.counted_from for one in apart} == {"start of salvage chemoradiation"}  # MS-104


def test_failure_and_death_on_one_day_is_failure_and_told() -> None:
    made = times_of("A,2020-01-01,2020-01-01,2020-01-31,1,2020-01-31,2020-01-31")
    assert made.status.tolist() == [1]
    assert any("1 with the event" in note and "same day" in note for note in made.notes)


def test_an_event_on_the_day_of_origin_has_time_0_and_is_told() -> None:
    made = times_of("A,2020-01-01,2020-01-01,2020-01-01,0,,2020-02-01")
    assert (made.months[0], made.status[0]) == (0, 1)
    assert any("1 at time 0" in note for note in made.notes)


def test_days_that_are_not_known_leave_the_patient_out_with_the_reason() -> None:
    made = times_of(
        "A,2020-01-01,,,0,,2020-02-01", "B,2020-01-01,2020-01-01,UNK,0,,2020-02-01",
        "C,2020-01-01,2020-01-01,,0,,", "D,2020-01-01,2020-01-01,,1,UNK,2020-02-01",
        "E,2020-01-01,2020-01-01,,,,2020-02-01", "F,2020-01-01,2020-01-01,,0,,2020-02-01",
    )  # fmt: skip
    assert made.pseudonyms == ("F",)
    assert made.left_out["A"] == "sbrt_start_date is unknown"
    assert made.left_out["B"] == "local_failure_date is unknown (UNK)"
    assert "last_follow_up_date" in made.left_out["C"]
    assert made.left_out["D"] == "death_date is unknown (UNK)"
    assert "'dead' is unknown" in made.left_out["E"]


def test_a_failure_before_a_death_of_unknown_day_counts_because_nothing_comes_after_death() -> None:
    made = times_of("A,2020-01-01,2020-01-01,2020-01-11,1,UNK,2020-02-01")
    assert made.status.tolist() == [1]
    assert not made.left_out


def test_a_cut_off_leaves_out_who_enters_later_and_is_told() -> None:
    made = times_of(
        "A,2020-01-01,2020-01-01,2020-03-01,0,,2020-04-01", "B,2020-03-01,2020-03-01,,0,,2020-04-01",
        "C,2020-01-01,2020-01-01,2020-01-11,0,,2020-04-01", until=dt.date(2020, 2, 1),
    )  # fmt: skip
    assert made.pseudonyms == ("A", "C")
    assert (made.months * DAYS_PER_MONTH).round(6).tolist() == [31, 10]
    assert made.status.tolist() == [0, 1]
    assert "2020-02-01" in made.left_out["B"]
    assert any(note.startswith("cut off on 2020-02-01: 1 ") for note in made.notes)


def test_an_event_on_the_day_of_the_cut_off_is_seen() -> None:
    row = "A,2020-01-01,2020-01-01,2020-03-01,0,,2020-04-01"
    assert times_of(row, until=dt.date(2020, 3, 1)).status.tolist() == [1]
    assert times_of(row, until=dt.date(2020, 2, 29)).status.tolist() == [0]


def test_an_endpoint_whose_events_no_column_tells_is_refused_and_not_taken_as_none() -> None:
    patients = [FollowedPatient("A", {name: Fact(name, DAY) for name in ("sbrt_start_date", "last_follow_up_date")})]
    assert missing_facts(patients, FAILURE) == ("local_failure_date", "death_date")
    with pytest.raises(InputError, match="local_failure_date, death_date"):
        endpoint_times(patients, FAILURE)


# --- endpoints of a mapping file

OWN = """\
endpoints:
  - name: fracture
    kind: secondary
    counted_from: first day of SBRT
    events: [vertebral fracture]
    censored_at: last follow-up
"""
MONTHS = """\
times:
  - {endpoint: fracture, counted_from: first day of SBRT, months: fracture_months, status: fracture_status}
"""
IN_MONTHS = (
    """\
source: study
id_column: id
columns:
  months: {fact: fracture_months, type: number, unit: months}
  event: {fact: fracture_status, type: choice, codes: {0: censored, 1: event}}
"""
    + OWN
    + MONTHS
)


def test_without_a_protocol_endpoints_are_those_of_the_mapping_file() -> None:
    mapping = parse_cohort_mapping(IN_MONTHS)
    (endpoint,) = cohort_endpoints(mapping)
    patients = parse_cohort("id,months,event\nA,3.5,1\nB,12,0\nC,,\n", mapping, today=DAY, endpoints=(endpoint,))
    made = endpoint_times(patients, endpoint)
    assert (made.months.tolist(), made.status.tolist()) == ([3.5, 12.0], [1, 0])
    assert made.left_out == {"C": "fracture_months is unknown"}
    assert (made.origin, made.event) == ("first day of SBRT", "vertebral fracture")
    with pytest.raises(InputError, match="months, so it cannot be cut off"):
        endpoint_times(patients, endpoint, until=DAY)


def test_months_that_are_counted_from_another_day_are_refused() -> None:
    text = PATIENTS.replace(
        "flags", "  m: {fact: m, type: number}\n  s: {fact: s, type: choice, codes: {1: event}}\nflags"
    )
    text += "times: [{endpoint: local failure, counted_from: diagnosis of MESCC, months: m, status: s}]\n"
    with pytest.raises(InputError, match=r"counted from 'first day of SBRT'.*KO-104"):
        endpoints(text)
    assert endpoints(text, {"KO-104": "diagnosis"})[0].months is not None


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("fact: sbrt_start_date}", "fact: sbrt_begin}", "'sbrt_begin' is not among"),
        ("events: [death_date]", "events: [kps]", "'kps' is of type integer"),
        ("reading: KO-104, taken: diagnosis", "reading: KO-104, taken: birth", "'birth' is no reading"),
        ("        - {fact: sbrt_start_date}\n", "", "the last, and no other, goes without 'when'"),
        ("compared_by: [{tests: [log-rank]}]", "compared_by: [{tests: [t]}]", "'gray' or 'log-rank'"),
    ],
)
def test_an_endpoint_of_a_protocol_names_facts_and_readings_that_are_there(was: str, becomes: str, says: str) -> None:
    text = (resources.files("tailort.protocols") / "library/reirradiation-spine.yaml").read_text(encoding="utf-8")
    start = text.index("\nendpoints:\n")
    assert was in text[start:]
    with pytest.raises(ProtocolError, match=says):
        parse(text[:start] + text[start:].replace(was, becomes, 1), "own.yaml")


DAYS = st.one_of(
    st.integers(0, 6).map(lambda n: (DAY + dt.timedelta(n), None, "")),
    st.sampled_from([(None, "unknown", ""), (None, "unknown", "UNK"), (None, "not applicable", "NA"), (None, "", "")]),
)


def told(name: str, day: tuple[dt.date | None, str, str]) -> dict[str, Fact]:
    """A day, a cell without one, or nothing at all: the table may lack the column."""
    value, absence, code = day
    if value is not None:
        return {name: Fact(name, value)}
    return {name: AbsentFact(name, None, "table", None, absence, code)} if absence else {}


def in_days(days: tuple[tuple[dt.date | None, str, str], ...]) -> dict[str, Fact]:
    names = ("sbrt_start_date", "mescc_date", "local_failure_date", "death_date", "last_follow_up_date")
    return {key: fact for name, day in zip(names, days, strict=True) for key, fact in told(name, day).items()}


FACTS = st.tuples(DAYS, DAYS, DAYS, DAYS, DAYS).map(in_days)
# What the table must have for an endpoint to be there at all.
WHOLE = in_days(((DAY, None, ""),) * 5)


@given(st.lists(FACTS, max_size=6), st.none() | st.integers(0, 6).map(lambda n: DAY + dt.timedelta(n)))
def test_all_patients_at_once_are_each_patient_by_itself(facts: list[dict[str, Fact]], until: dt.date | None) -> None:
    cohort = [FollowedPatient(f"P{n}", own) for n, own in enumerate([*facts, WHOLE])]
    for endpoint in endpoints():
        alone = {one.pseudonym: outcome(one.facts, endpoint, until) for one in cohort}
        found = endpoint_times(cohort, endpoint, until=until)
        known = {name: one for name, one in alone.items() if not isinstance(one, str)}
        assert dict(found.left_out) == {name: why for name, why in alone.items() if isinstance(why, str)}
        assert found.pseudonyms == tuple(known)
        assert found.months.tolist() == [one.months for one in known.values()]
        assert found.status.tolist() == [one.status for one in known.values()]
        for flag, words in (("together", "on the same day"), ("unseen", "after the last follow-up")):
            number = sum(getattr(one, flag) for one in known.values())
            assert [note.split()[0] for note in found.notes if words in note] == ([str(number)] if number else [])


@given(st.lists(FACTS, min_size=1, max_size=6))
def test_days_in_order_are_those_that_contradict_nothing(facts: list[dict[str, Fact]]) -> None:
    pairs = in_order(endpoints())
    cohort = [FollowedPatient(f"P{n}", own) for n, own in enumerate(facts)]
    rows = [TableRows(n, n, own) for n, own in enumerate(facts)]
    assert are_in_order(cohort, pairs) == (not any(list(contradictions(one, pairs, ())) for one in rows))
