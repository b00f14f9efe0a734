"""The calendar of visits against what was done (MS-101, MS-102)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_patients import END, facts, patient, seen

from tailort.cohort.patients import CourseGiven, FollowedPatient, Visit
from tailort.errors import InputError
from tailort.protocols import load
from tailort.protocols.condition import months_later
from tailort.protocols.records.table import AbsentFact
from tailort.workflow.trial_visits import PatientVisits, PlannedVisit, visit_calendar

SALVAGE = load("salvage-crt")
MONTHS = (3, 6, 9, 12, 15, 18, 21, 24, 30, 36, 42, 48, 54, 60, 72)
DAY = dt.timedelta(days=1)


def planned(month: int) -> dt.date:
    return months_later(END, month)


def calendar(one: FollowedPatient, today: dt.date, window_days: int | None = None) -> PatientVisits:
    return visit_calendar(SALVAGE, [one], today, window_days=window_days).patients[0]


def at(one: FollowedPatient, month: int, today: dt.date, window_days: int | None = None) -> PlannedVisit:
    return next(v for v in calendar(one, today, window_days).planned if v.month == month)


@given(st.integers(0, 2200), st.sampled_from([None, 0, 14]))
def test_who_came_to_every_visit_on_its_day_owes_none(after: int, window_days: int | None) -> None:
    today = END + dt.timedelta(days=after)
    one = patient(visits=[seen(planned(month)) for month in MONTHS if planned(month) <= today])
    found = calendar(one, today, window_days)
    assert found.outstanding == 0
    assert {v.status for v in found.planned} <= {"done", "upcoming"}
    assert not found.others


@given(
    st.lists(st.integers(0, 700), max_size=8), st.integers(0, 1500), st.integers(0, 1500), st.sampled_from([None, 14]),
    st.none() | st.integers(700, 2000),
)  # fmt: skip
def test_a_later_day_never_lowers_what_is_outstanding(
    visits: list[int], first: int, more: int, window_days: int | None, death: int | None
) -> None:
    told = {} if death is None else {"death_date": END + dt.timedelta(days=death)}
    one = patient(visits=[seen(END + dt.timedelta(days=day)) for day in visits], **told)
    early, late = (END + dt.timedelta(days=700 + n) for n in (first, first + more))
    assert calendar(one, early, window_days).outstanding <= calendar(one, late, window_days).outstanding


@given(st.permutations(range(4)), st.permutations(range(6)))
def test_the_order_of_patients_and_of_rows_does_not_matter(people: Sequence[int], rows: Sequence[int]) -> None:
    days = [END + dt.timedelta(days=d) for d in (80, 100, 95, 190, 300, 20)]
    visits = [seen(day, None, weight_kg=50.0 + n) for n, day in enumerate(days)]
    today = END + dt.timedelta(days=500)
    straight = [patient(f"P-{n}", visits=visits) for n in range(4)]
    mixed = [patient(f"P-{n}", visits=[visits[row] for row in rows]) for n in people]
    assert visit_calendar(SALVAGE, mixed, today) == visit_calendar(SALVAGE, straight, today)


def test_ms_101_visits_are_every_3_then_6_then_12_months_from_the_end_of_radiotherapy() -> None:
    found = calendar(patient(), planned(72))
    assert tuple(v.month for v in found.planned) == (*MONTHS, 84)
    assert found.counted_from == END
    assert {rule for v in found.planned for rule in v.rules} == {"MS-101", "SC-06"}


def test_without_a_window_a_visit_is_overdue_from_the_next_day_and_missed_from_half_way_on() -> None:
    one, day = patient(), planned(3)
    half_way = day + (planned(6) - day) // 2
    assert at(one, 3, day - DAY).status == "upcoming"
    assert at(one, 3, day).status == "due"
    assert (at(one, 3, day + DAY).status, at(one, 3, day + DAY).days_off) == ("overdue", 1)
    assert at(one, 3, half_way).status == "overdue"
    assert at(one, 3, half_way + DAY).status == "missed"


def test_a_window_tells_early_and_late_and_when_a_visit_is_overdue() -> None:
    day, today = planned(3), planned(6)
    for off, status in ((-15, "done early"), (-14, "done"), (14, "done"), (15, "done late")):
        made = at(patient(visits=[seen(day + off * DAY)]), 3, today, 14)
        assert (made.status, made.days_off) == (status, off)
    assert at(patient(visits=[seen(day + 15 * DAY)]), 3, today).status == "done"
    assert at(patient(), 3, day + 14 * DAY, 14).status == "due"
    assert at(patient(), 3, day + 15 * DAY, 14).status == "overdue"


def test_no_visit_is_owed_after_death_or_withdrawal_but_one_missed_before_stays_missed() -> None:
    died = planned(7)
    for name, status in (("death_date", "not due: died"), ("withdrawal_date", "not due: withdrawn")):
        found = calendar(patient(**{name: died}), planned(24))
        by_month = {v.month: v.status for v in found.planned}
        assert (by_month[3], by_month[6]) == ("missed", "missed")
        assert {s for month, s in by_month.items() if month > 6} == {status}
    assert at(patient(death_date=planned(3)), 3, planned(12)).status == "not due: died"


def test_who_died_while_the_window_was_open_owes_no_visit() -> None:
    assert at(patient(death_date=planned(3) + 10 * DAY), 3, planned(12), 14).status == "not due: died"
    assert at(patient(death_date=planned(3) + 15 * DAY), 3, planned(12), 14).status == "missed"


def test_a_death_on_an_unknown_day_leaves_open_what_is_outstanding() -> None:
    unknown = AbsentFact("death_date", None, absence="unknown", code="UNK")
    one = replace(patient(visits=[seen(planned(3))]), facts={"death_date": unknown})
    found = calendar(one, planned(9))
    assert [v.status for v in found.planned] == ["done", "unknown", "due", "upcoming"]


def test_a_visit_belongs_to_the_month_that_the_table_names_and_else_to_the_nearest() -> None:
    near_six = planned(6) - 10 * DAY
    assert calendar(patient(visits=[seen(near_six)]), planned(9)).planned[1].status == "done"
    named = calendar(patient(visits=[seen(near_six, 3)]), planned(9))
    assert [v.status for v in named.planned[:2]] == ["done", "missed"]
    assert "month 3 as the table says" in named.notes[0]
    odd = calendar(patient(visits=[seen(near_six, 5)]), planned(9))
    assert odd.others == (near_six,)
    assert "month 5, which is none of the plan" in odd.notes[0]


def test_a_visit_before_half_the_way_to_the_first_one_is_none_of_the_plan() -> None:
    found = calendar(patient(visits=[seen(END + 10 * DAY)]), planned(3))
    assert found.others == (END + 10 * DAY,)
    assert found.planned[0].status == "due"


def test_ms_102_examinations_are_done_not_done_or_not_told() -> None:
    ct = "CT with contrast medium"
    visit = seen(planned(3), None, **{ct: True, "late effects": False, "weight_kg": 61.0})
    found = visit_calendar(SALVAGE, [patient(visits=[visit])], planned(3), examinations={"nutrition": ["weight_kg"]})
    made = {one.what: one for one in found.patients[0].planned[0].examinations}
    assert (made[ct].made, made["late effects"].made, made["quality of life"].made) == ("yes", "no", "not told")
    assert made["nutrition"].made == "yes"
    assert made["blood count and chemistry"].strength == "if-needed"
    owed = found.patients[0].planned[0].not_made
    assert "late effects" in owed
    assert "quality of life" in owed
    assert not {ct, "nutrition", "blood count and chemistry"} & set(owed)


def test_an_examination_counts_at_any_of_the_days_of_one_visit() -> None:
    ct = "CT with contrast medium"
    first, second = seen(planned(3), None, **{ct: False}), seen(planned(3) + 5 * DAY, None, **{ct: True})
    made = at(patient(visits=[first, second]), 3, planned(4))
    assert made.day == planned(3)
    assert next(one.made for one in made.examinations if one.what == ct) == "yes"


def test_an_examination_that_was_not_done_by_its_code_is_not_done() -> None:
    ct = "CT with contrast medium"
    visit = Visit(planned(3), None, {ct: AbsentFact(ct, None, absence="not done", code="-8")})
    made = at(patient(visits=[visit]), 3, planned(3))
    assert next(one.made for one in made.examinations if one.what == ct) == "no"


def test_without_the_day_that_is_counted_from_no_visit_has_a_date() -> None:
    found = calendar(patient(courses=[CourseGiven("salvage")], visits=[seen(planned(3))]), planned(9))
    assert found.planned == ()
    assert found.counted_from is None
    assert "'end of radiotherapy' is not known" in found.notes[0]


def test_what_is_dated_after_the_day_is_told_and_not_looked_at() -> None:
    found = calendar(patient(visits=[seen(planned(3)), seen(planned(6))]), planned(4))
    assert [v.status for v in found.planned] == ["done", "upcoming"]
    assert "1 visits dated after" in found.notes[0]


def test_conventions_are_told() -> None:
    assert any("half way" in one for one in visit_calendar(SALVAGE, [patient()], END).readings)
    assert any("No window" in one for one in visit_calendar(SALVAGE, [patient()], END).readings)
    assert not any("No window" in one for one in visit_calendar(SALVAGE, [patient()], END, window_days=7).readings)


def test_a_visit_after_death_is_refused_by_name_and_day() -> None:
    one = patient(death_date=planned(3), visits=[seen(planned(3) + DAY)])
    with pytest.raises(InputError, match=r"'P-01' died on 2020-07-10, but a visit is dated 2020-07-11"):
        calendar(one, planned(9))


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="'P-01' is there 2 times"):
        visit_calendar(SALVAGE, [patient(), patient()], END)
    with pytest.raises(InputError, match="a window of 43 days"):
        visit_calendar(SALVAGE, [patient()], END, window_days=43)
    with pytest.raises(InputError, match="asks for no 'PET'"):
        visit_calendar(SALVAGE, [patient()], END, examinations={"PET": ["pet"]})
    with pytest.raises(InputError, match="tells no follow-up"):
        visit_calendar(load("rtog-0436"), [patient()], END)
    several = patient(courses=[CourseGiven("first"), CourseGiven("second")])
    with pytest.raises(InputError, match="has 2 courses"):
        visit_calendar(SALVAGE, [several], END)
    with pytest.raises(InputError, match="expected a date"):
        visit_calendar(SALVAGE, [replace(patient(), facts=facts(death_date="soon"))], END)
