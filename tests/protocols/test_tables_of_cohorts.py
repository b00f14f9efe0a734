"""Tables become cohorts: rows of every kind, and every mistake is told with its row, column and patient."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from unittest import mock

import pytest
from cohort_tables import A_ROW_A_VISIT, BY_KIND, HEAD, HEADER, PATIENTS, TODAY, endpoints, read
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.cohort.patients import AdverseEvent, CourseGiven, CycleGiven, FollowedPatient, LesionSize, Visit, column
from tailort.errors import InputError
from tailort.patient import Fact
from tailort.phantom.virtual_cohort import VirtualCohort, salvage_cohort, spine_cohort
from tailort.protocols import load
from tailort.protocols.cohort_endpoints import Endpoint, cohort_endpoints
from tailort.protocols.records import TableError, cohort_table
from tailort.protocols.records.cohort_mapping import CohortMapping, parse_cohort_mapping
from tailort.protocols.records.cohort_scorecards import with_scorecards
from tailort.protocols.records.cohort_table import parse_cohort
from tailort.protocols.records.table import day_of_text

GOOD = "A,2020-01-01,2020-01-11,2020-03-01,1,2020-06-01,2020-06-01"
OTHER = "B,2020-01-01,2020-01-11,,0,,2021-06-01"
BY_KIND_HEADER = f"{HEADER},row,visit,kg,term,grade,noticed"
MONTHS = PATIENTS.replace(
    "flags:",
    "  lf: {fact: lf, type: number, unit: months}\n"
    "  lf_event: {fact: lf_event, type: choice, codes: {0: censored, 1: event, 2: death without local recurrence}}\n"
    "times: [{endpoint: local failure, counted_from: first day of SBRT, months: lf, status: lf_event}]\nflags:",
)


def faults_of(*rows: str, mapping: str = PATIENTS, header: str = HEADER) -> list[str]:
    """What is told of a table, or of rows below the usual header."""
    with pytest.raises(TableError) as told:
        read("\n".join([header, *rows]), mapping)
    return [fault.text for fault in told.value.faults]


def test_the_table_that_the_faults_are_put_into_is_right() -> None:
    assert [patient.pseudonym for patient in read("\n".join([HEADER, GOOD, OTHER]))] == ["A", "B"]


BAD = {
    "death before the start": (
        "A,2020-01-01,2020-01-11,,1,2020-01-05,2020-06-01", "death", "2020-01-05", "2020-01-11, the 'sbrt_start_date'",
    ),
    "follow-up before the origin": (
        "A,2020-01-01,2020-01-11,,0,,2020-01-05", "seen", "2020-01-05", "not before 2020-01-11, the 'sbrt_start_date'",
    ),
    "event after last follow-up": (
        "A,2020-01-01,2020-01-11,2020-06-01,0,,2020-05-01", "seen", "2020-05-01", "the 'local_failure_date'",
    ),
    "failure after death": (
        "A,2020-01-01,2020-01-11,2020-06-01,1,2020-05-01,2020-07-01", "death", "2020-05-01", "the 'local_failure_date'",
    ),
    "dates in mixed formats": (
        "A,2020-01-01,11/01/2020,,0,,2020-05-01", "sbrt", "11/01/2020", "a date such as 2026-01-31",
    ),
    "a day that is still to come": (
        "A,2020-01-01,2020-01-11,,0,,2027-05-01", "seen", "2027-05-01", "up to today, 2026-02-01",
    ),
    "an unknown code": ("A,2020-01-01,2020-01-11,,7,,2020-05-01", "dead", "'7'", "codes 1 (True), 0 (False)"),
    "an event flag without a date": (
        "A,2020-01-01,2020-01-11,,1,,2020-05-01", "death", "nothing", "the day, as 'dead' is yes",
    ),
    "a date against its event flag": (
        "A,2020-01-01,2020-01-11,,0,2020-04-01,2020-05-01", "death", "2020-04-01", "no day, as 'dead' is no",
    ),
    "a row that is cut short": ("A,2020-01-01", "mescc", "2 cells", "7 as in the header"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_told_with_row_column_and_what_was_expected(what: str) -> None:
    row, column, found, expected = BAD[what]
    told = [text for text in faults_of(OTHER, row) if f"column '{column}'" in text]
    assert any(text.startswith("row 3, ") and found in text and expected in text for text in told)
    if what != "a row that is cut short":
        assert all("of patient 'A'" in text for text in told)


def test_duplicate_pseudonyms_are_refused_with_both_rows() -> None:
    (text,) = faults_of(GOOD, OTHER, GOOD)
    assert text.startswith("row 4, column 'id': found 'A', which row 2 has too")


def test_a_row_without_a_pseudonym_is_refused() -> None:
    (text,) = faults_of(GOOD[1:])
    assert "column 'id': found nothing" in text


def test_every_fault_is_found_at_once_in_the_order_of_the_rows() -> None:
    told = faults_of(
        "A,2020-01-01,2020-01-11,,7,,2020-05-01", OTHER, "C,2020-01-01,2020-01-11,,0,,2020-01-02",
        "D,2020-13-01,2020-01-11,,0,,2020-05-01",
    )  # fmt: skip
    assert [text.split(",")[0] for text in told] == ["row 2", "row 4", "row 5"]


def test_two_deaths_of_one_patient_are_refused_with_the_row_of_the_other() -> None:
    first = "A,2020-01-01,2020-01-11,,1,2020-05-01,2020-05-01,2020-02-01,70"
    second = "A,2020-01-01,2020-01-11,,1,2020-05-02,2020-05-01,2020-03-01,70"
    (text,) = faults_of(first, second, mapping=A_ROW_A_VISIT, header=f"{HEADER},visit,kg")
    assert text.startswith(
        "row 3, column 'death': found '2020-05-02' of patient 'A', expected '2020-05-01' as in row 2"
    )


def test_a_visit_after_death_is_refused() -> None:
    row = "A,2020-01-01,2020-01-11,,1,2020-05-01,2020-05-01,2020-05-02,70"
    (text,) = faults_of(row, mapping=A_ROW_A_VISIT, header=f"{HEADER},visit,kg")
    assert text == (
        "row 2, column 'visit': found '2020-05-02' of patient 'A', expected a day up to 2020-05-01, the 'death_date'"
    )


def test_two_visits_on_one_day_that_differ_are_refused() -> None:
    row = "A,2020-01-01,2020-01-11,,0,,2020-05-01,2020-03-02,"
    (text,) = faults_of(row + "70", row + "71", mapping=A_ROW_A_VISIT, header=f"{HEADER},visit,kg")
    assert "row 2 has a visit on that day already" in text
    assert len(read("\n".join([f"{HEADER},visit,kg", row + "70", row + "70"]), A_ROW_A_VISIT)[0].visits) == 1


@pytest.mark.parametrize(
    ("cells", "column", "says"),
    [
        ("-1,1", "lf", "no time is negative"),
        ("9,1", "lf", "1.6 months, as the dates of local failure say"),
        ("1.6,2", "lf_event", "what the dates of local failure say"),
        ("1.6,", "lf_event", "a value, as 'lf' has one"),
        (",1", "lf", "a value, as 'lf_event' has one"),
        ("1.6,3", "lf_event", "one of the codes"),
    ],
)
def test_months_that_cannot_be_or_contradict_the_dates_are_refused(cells: str, column: str, says: str) -> None:
    told = faults_of(f"{GOOD},{cells}", mapping=MONTHS, header=f"{HEADER},lf,lf_event")
    assert any(f"column '{column}'" in text and says in text and "of patient 'A'" in text for text in told)


def test_months_that_are_rounded_agree_with_the_dates() -> None:
    assert read(f"{HEADER},lf,lf_event\n{GOOD},1.6,1", MONTHS)


# --- rows of several kinds


def by_kind(*rows: str) -> tuple[FollowedPatient, ...]:
    return read("\n".join([BY_KIND_HEADER, *rows]), BY_KIND)


def kinds_faults(*rows: str) -> list[str]:
    return faults_of(*rows, mapping=BY_KIND, header=BY_KIND_HEADER)


PATIENT_ROW = f"{GOOD},,,,,,"
EVENT_ROW = "A,,,,,,,ae,,,Esophagitis,3,2020-02-01 08:30"


def test_rows_of_every_kind_belong_to_their_patient_wherever_they_stand() -> None:
    (patient,) = by_kind(EVENT_ROW, "A,,,,,,,visit,2020-04-01,61,,,", PATIENT_ROW, "A,,,,,,,visit,2020-02-01,,,,")
    assert patient.facts["sbrt_start_date"].value == dt.date(2020, 1, 11)
    assert patient.adverse_events == (
        AdverseEvent("Esophagitis", 3, scale="CTCAE 4.0", noticed=dt.datetime(2020, 2, 1, 8, 30)),
    )
    assert [visit.day for visit in patient.visits] == [dt.date(2020, 2, 1), dt.date(2020, 4, 1)]
    assert [visit.facts["weight_kg"].value for visit in patient.visits] == [None, 61.0]


@pytest.mark.parametrize(
    ("row", "column", "says"),
    [
        (EVENT_ROW.replace(",3,", ",7,"), "grade", "a whole number from 0 to 5"),
        (EVENT_ROW.replace(",3,", ",,"), "grade", "the grade of an adverse event"),
        (EVENT_ROW.replace("Esophagitis", ""), "term", "the term of an adverse event"),
        (EVENT_ROW.replace(" 08:30", ""), "noticed", "a time such as 2026-01-31 13:45"),
        (EVENT_ROW.replace(",ae,", ",lab,"), "row", "one of '', 'visit', 'ae'"),
        ("A,,,,,,,visit,,60,,,", "visit", "the day of a visit"),
        ("C,,,,,,,visit,2020-03-01,60,,,", "row", "a row of the kind 'patient' for each patient"),
        (PATIENT_ROW, "id", "one row of the kind 'patient'"),
        ("A,,2020-01-12,,,,,visit,2020-03-01,60,,,", "sbrt", "expected '2020-01-11' as in row 2"),
    ],
)
def test_a_row_of_a_kind_that_cannot_be_is_told_with_its_column(row: str, column: str, says: str) -> None:
    told = kinds_faults(PATIENT_ROW, row)
    assert any(text.startswith("row 3, ") and f"column '{column}'" in text and says in text for text in told)


def test_a_box_that_another_row_exports_as_not_ticked_says_nothing_of_the_patient() -> None:
    mapping = BY_KIND.replace(
        "flags:", "  neck: {fact: places, type: member, member: neck, codes: {1: yes, 0: no}}\nflags:"
    )
    rows = [f"{BY_KIND_HEADER},neck", f"{PATIENT_ROW},1", "A,,,,,,,visit,2020-03-01,60,,,,0"]
    (patient,) = read("\n".join(rows), mapping)
    assert patient.facts["places"].value == ("neck",)


WIDE = (
    HEAD
    + """\
columns: {sbrt: {fact: sbrt_start_date, type: date}}
worst_grades: {scale: RTOG, columns: {eso: {fact: Esophagitis, type: integer}, skin: {fact: Skin, type: integer}}}
metrics: {heart: {fact: "Heart Mean[Gy] physical course", type: number, unit: Gy}}
"""
)


def test_a_column_a_term_holds_worst_grades_and_an_empty_cell_is_not_grade_0() -> None:
    first, second = read("id,sbrt,eso,skin,heart\nA,2020-01-01,2,0,12.5\nB,2020-01-01,,3,\n", WIDE)
    assert {(event.term, event.grade, event.scale) for event in first.adverse_events} == {
        ("Esophagitis", 2, "RTOG"), ("Skin", 0, "RTOG"),
    }  # fmt: skip
    assert [(event.term, event.grade) for event in second.adverse_events] == [("Skin", 3)]
    assert (first.metrics, second.metrics) == ({"Heart Mean[Gy] physical course": 12.5}, {})


def test_a_negative_dose_is_refused_and_what_cannot_be_is_told_as_found_and_expected() -> None:
    header, row = f"{HEADER},oes", f"{OTHER},-3"
    mapping = (
        f'{PATIENTS}\nmetrics:\n  oes: {{fact: "Esophagus Max[Gy] physical cumulative", type: number, unit: Gy}}\n'
    )
    (text,) = faults_of(row, mapping=mapping, header=header)
    assert text == ("row 2, column 'oes': found '-3' of patient 'B', expected 0 or more: no dose or volume is negative")
    (grade,) = faults_of("A,2020-01-01,7,,", mapping=WIDE, header="id,sbrt,eso,skin,heart")
    assert grade.endswith("expected a whole number from 0 to 5 ('Esophagitis' has grade 7)")


def test_a_cell_of_several_lines_or_without_end_is_told_on_one_short_line() -> None:
    for cell in ('"7\n8\x1b[31m"', "9" * 100_000):
        with pytest.raises(TableError) as told:
            read("\n".join([HEADER, f"A,2020-01-01,2020-01-11,,{cell},,2020-05-01"]), PATIENTS)
        assert str(told.value).isprintable()
        assert len(str(told.value)) < 700


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LesionSize("N1", "lymph nodes", True, "target", dt.date(2020, 1, 1), -3.0), "size of -3 mm"),
        (lambda: CourseGiven("salvage", fractions=-1), "has fractions -1"),
        (lambda: CourseGiven("salvage", dose_gy=-0.5), "has dose_gy -0.5"),
        (lambda: CourseGiven("salvage", dt.date(2020, 2, 1), dt.date(2020, 1, 1)), "ends on 2020-01-01"),
        (lambda: CycleGiven(0), "number 0"),
        (lambda: CycleGiven(2, percent=-20.0), "-20 % of the full dose"),
    ],
)
def test_negative_sizes_doses_and_fractions_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_a_worst_grade_of_7_is_refused() -> None:
    (text,) = faults_of("A,2020-01-01,7,,", mapping=WIDE, header="id,sbrt,eso,skin,heart")
    assert text.startswith("row 2, column 'eso': found '7' of patient 'A'")
    assert "0 to 5" in text


# --- scorecards


ROW = {"structure": "Heart", "metric": "Mean[Gy]", "quantity": "physical", "scope": "course", "value": 12.5}


def test_scorecards_are_joined_by_pseudonym_and_an_unknown_value_stays_absent() -> None:
    cohort = (FollowedPatient("A", {}), FollowedPatient("B", {}))
    first, second = with_scorecards(cohort, {"A": [ROW, {**ROW, "metric": "Max[Gy]", "value": None}]})
    assert (first.metrics, second.metrics) == ({"Heart Mean[Gy] physical course": 12.5}, {})


@pytest.mark.parametrize(
    ("cards", "says"),
    [
        ({"Z": [ROW]}, "'Z' belongs to no patient"),
        ({"A": [ROW, {**ROW, "value": 13}]}, "is 12.5 and, in its scorecard, 13"),
        ({"A": [{"structure": "Heart"}]}, "a row without"),
    ],
)
def test_a_scorecard_that_cannot_be_joined_is_refused(cards: dict[str, list[dict[str, object]]], says: str) -> None:
    with pytest.raises(InputError, match=says):
        with_scorecards((FollowedPatient("A", {}),), cards)


# --- the mapping file


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("fact: grade, type: integer", "fact: degree, type: integer", "an adverse event has term, grade"),
        ("fact: grade, type: integer", "fact: grade, type: text", "the grade of an adverse event is of type integer"),
        ("    grade: {fact: grade, type: integer}\n", "", "no column for the grade"),
        ('time_format: "%Y-%m-%d %H:%M"\n', "", "give 'time_format'"),
        ('"%Y-%m-%d %H:%M"', '"%H:%M"', "must have %Y"),
        ("ae: adverse event", "ae: event", "'adverse event'"),
        ('"": patient, ', "", "no rows are of kind 'patient'"),
        ("visit: visit, ", "", "'visit' tells columns, but no rows"),
        ("ae: adverse event}", "ae: adverse event, l: lesion}", "'lesion' tells no columns"),
        ("flags: {dead: death_date}", "flags: {dead: failure}", "the flag 'dead'"),
        ("flags:", 'metrics: {m: {fact: "Heart Mean[Gy]", type: number}}\nflags:', "quantity and scope"),
        ("flags:", 'metrics: {m: {fact: "Heart Mean physical course", type: number}}\nflags:', "no metric"),
        (
            "flags:",
            "times: [{endpoint: x, counted_from: y, months: m, status: s}]\nflags:",
            "a number 'm' and a choice",
        ),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(was: str, becomes: str, says: str) -> None:
    assert was in BY_KIND
    with pytest.raises(InputError, match=says):
        parse_cohort_mapping(BY_KIND.replace(was, becomes, 1))


def test_a_mapping_cannot_tell_a_protocols_endpoint_anew_or_months_of_one_that_is_not_there() -> None:
    own = "endpoints: [{name: local failure, kind: primary, counted_from: a, events: [b], censored_at: c}]\n"
    with pytest.raises(InputError, match="which the protocol defines"):
        endpoints(PATIENTS + own)
    with pytest.raises(InputError, match="which is no endpoint"):
        endpoints(MONTHS.replace("endpoint: local failure", "endpoint: cure"))
    with pytest.raises(InputError, match="the mapping has 'relapse'"):
        endpoints(MONTHS.replace("1: event, 2: death without local recurrence", "1: event, 2: relapse"))
    with pytest.raises(InputError, match="no protocol is given"):
        cohort_endpoints(parse_cohort_mapping(PATIENTS), None, {"KO-104": "sbrt"})


def test_facts_of_visits_are_checked_by_no_protocol_that_is_not_given() -> None:
    (patient,) = parse_cohort(
        f"{HEADER},visit,kg\n{OTHER},2020-03-01,70", parse_cohort_mapping(A_ROW_A_VISIT), today=TODAY
    )
    weight = Fact("weight_kg", 70.0, "study, column kg")
    assert patient.visits == (Visit(dt.date(2020, 3, 1), None, {"weight_kg": weight}),)


A_ROW_A_PATIENT = """
id_column: id
date_format: "%Y-%m-%d"
only_rows: {source: [own, ours]}
source: study
missing: ["?"]
columns:
  age: {fact: age_years, type: integer, range: [0, 120]}
  start: {fact: sbrt_start_date, type: date}
  mescc: {fact: mescc_date, type: date}
  failure: {fact: local_failure_date, type: date}
  dead: {fact: dead, type: boolean, codes: {1: yes, 0: no}}
  death: {fact: death_date, type: date}
  seen: {fact: last_follow_up_date, type: date}
flags: {dead: death_date}
worst_grades: {columns: {burn: {fact: Ulcer, type: integer}, pain: {fact: Back pain, type: integer}}}
metrics: {heart: {fact: "Heart Mean[Gy] physical course", type: number, unit: Gy}}
"""
IN_MONTHS = """
endpoints: [{name: relapse, kind: primary, counted_from: a, events: [b], censored_at: c}]
times: [{endpoint: relapse, counted_from: a, months: months, status: status}]
"""
# Mostly sound cells, so that whole tables are sound; and some of all that can be wrong.
SOUND_ROW = {
    "source": ("own", "ours", "other"), "age": ("60", "61", "", "?"), "start": ("2020-01-05", "2020-01-06"),
    "mescc": ("2020-01-01", "2020-01-02"), "failure": ("", "2020-03-01"), "dead": ("0", "1", "?", ""),
    "death": ("", "2021-02-28"), "seen": ("2021-02-28", "2021-03-01"), "pain": ("", "0", "3"), "burn": ("", "5", "3"),
    "heart": ("", "3.5", "12"), "months": ("", "3", "12"), "status": ("", "0", "1"),
}  # fmt: skip
WRONG = st.sampled_from(
    [
        {"heart": "-1"}, {"failure": "2019-12-31"}, {"dead": "0", "death": "2021-02-28"}, {"dead": "1", "death": ""},
        {"start": "2019-12-31"}, {"seen": "2020-01-03"}, {"age": "200"}, {"age": "1,5"}, {"id": ""}, {"burn": "9"},
        {"months": "-1", "status": "0"}, {"months": "3", "status": ""}, {"mescc": "2020-02-30"}, {"seen": "2099-01-01"},
    ]
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, bool]:
    """A table with one row a patient, and whether its mapping has times in months."""
    in_months = draw(st.booleans())
    rows = []
    for number in draw(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=draw(st.integers(0, 3)) > 0)):
        row = {"id": f"P{number}", **{name: draw(st.sampled_from(cells)) for name, cells in SOUND_ROW.items()}}
        if row["dead"] == "0" or (row["dead"] == "1" and not row["death"]):
            row["dead"] = "1" if row["death"] else "0"
        row["status"] = row["status"] if row["months"] else ""
        row["months"] = row["months"] if row["status"] else ""
        rows.append(row)
    if draw(st.booleans()):
        rows[-1] |= {"source": "own"} | draw(WRONG)
    lines = [",".join(cells) for cells in (rows[0], *(row.values() for row in rows))]
    return "\n".join(lines), in_months


@cache
def a_row_a_patient(in_months: bool) -> tuple[CohortMapping, tuple[Endpoint, ...]]:
    """The mapping of `tables`, and the endpoints whose days must be in order."""
    if not in_months:
        return parse_cohort_mapping(A_ROW_A_PATIENT + "other_columns: ignore\n"), endpoints()
    columns = (
        "  months: {fact: months, type: number}\n"
        "  status: {fact: status, type: choice, codes: {0: censored, 1: event}}\n"
    )
    mapping = parse_cohort_mapping(A_ROW_A_PATIENT.replace("flags:", f"{columns}flags:") + IN_MONTHS)
    return mapping, (*endpoints(), *cohort_endpoints(mapping))


@given(tables())
@settings(max_examples=1000)
def test_a_table_read_by_columns_is_the_table_read_row_by_row(drawn: tuple[str, bool]) -> None:
    """With worst grades, doses, a flag, times in months and rows of another source; and what is wrong is told alike."""
    text, in_months = drawn
    mapping, asked = a_row_a_patient(in_months)

    def read() -> tuple[FollowedPatient, ...] | str:
        try:
            return parse_cohort(text, mapping, today=TODAY, endpoints=asked)
        except InputError as error:
            return str(error)

    quick = read()
    # No fixture: hypothesis draws many tables in one call of the test.
    with mock.patch.object(cohort_table._CohortReader, "by_columns", return_value=None):
        slow = read()
    assert quick == slow
    if not isinstance(quick, str):
        for one, other in zip(quick, slow, strict=True):
            assert isinstance(other, FollowedPatient)
            assert list(one.facts) == list(other.facts)
        for name in quick[0].facts:
            assert column(quick, name) == [one.facts[name] for one in quick]


def as_text(cohort: VirtualCohort, rows: Sequence[Mapping[str, str]]) -> str:
    told = io.StringIO()
    writer = csv.DictWriter(told, cohort.columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return told.getvalue()


@pytest.mark.parametrize("cohort", [spine_cohort(1, 200), spine_cohort(2, 200), salvage_cohort(1, 8)])
def test_a_sound_table_is_read_by_columns(cohort: VirtualCohort, monkeypatch: pytest.MonkeyPatch) -> None:
    text = as_text(cohort, [*cohort.rows, {**cohort.rows[0], "source": "other"}])
    monkeypatch.setattr(cohort_table._CohortReader, "read", None)
    read = parse_cohort(text, parse_cohort_mapping(cohort.mapping), today=TODAY, endpoints=endpoints())
    assert len(read) == len({row["id"] for row in cohort.rows})


@cache
def of_six_kinds() -> tuple[VirtualCohort, CohortMapping, tuple[Endpoint, ...]]:
    cohort = salvage_cohort(5, 4)
    mapping = parse_cohort_mapping(cohort.mapping)
    return cohort, mapping, cohort_endpoints(mapping, load(cohort.protocol))


@given(st.randoms(use_true_random=False))
@settings(max_examples=500)
def test_rows_of_all_kinds_are_read_by_columns_as_row_by_row(random: Random) -> None:
    """In any order, most with one cell or row that is wrong, or told where it need not be."""
    cohort, mapping, asked = of_six_kinds()
    rows = [dict.fromkeys(cohort.columns, "") | row for row in cohort.rows]
    random.shuffle(rows)
    row, change = random.choice(rows), random.choice(("none", "cell", "cell", "cell", "twice", "gone"))
    if change == "cell":
        other = random.choice(rows)[column := random.choice(cohort.columns)]
        row[column] = random.choice(("", "x", "-1", "1", "2099-01-01", "2019-01-01", "2023-01-01 10:00", other))
    elif change == "twice":
        rows.append(row)
    elif change == "gone":
        rows.remove(row)
    text = as_text(cohort, rows)

    def read() -> tuple[FollowedPatient, ...] | str:
        try:
            return parse_cohort(text, mapping, today=TODAY, endpoints=asked)
        except InputError as error:
            return str(error)

    quick = read()
    with mock.patch.object(cohort_table._CohortReader, "by_columns", return_value=None):
        assert quick == read()


@given(
    st.dates() | st.from_regex(r"[0-9]{1,5}-[0-9]{1,2}-[0-9]{1,2}", fullmatch=True) | st.text("0123-W ", max_size=10)
)
def test_a_day_is_read_as_its_format_says(cell: dt.date | str) -> None:
    def read(by: Callable[[str, str], dt.date]) -> dt.date | None:
        try:
            return by(str(cell), "%Y-%m-%d")
        except ValueError:
            return None

    assert read(day_of_text) == read(lambda text, form: dt.datetime.strptime(text, form).date())
