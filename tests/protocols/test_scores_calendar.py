"""Months, visits, drug days and iCalendar text (G-06, MS-84, MS-100, MS-101, RT-60, RT-61)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols.scores import (
    Event,
    add_months,
    completed_months,
    completed_years,
    cycle_day,
    e0113_drug_days,
    events_of,
    follow_up,
    follow_up_months,
    icalendar,
    longer_than_months,
    response_window,
    salvage_drug_days,
    within_months,
    within_weeks,
)
from tailort.protocols.scores.calendar_text import uid

DATES = st.dates(date(1950, 1, 1), date(2100, 1, 1))
STAMP = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@given(DATES, st.integers(-600, 600))
def test_adding_months_moves_the_month_and_keeps_the_day_where_there_is_one(day: date, months: int) -> None:
    later = add_months(day, months)
    assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == months
    assert later.day == day.day or (later.day < day.day and (later + timedelta(days=1)).day == 1)


@given(DATES, DATES)
def test_completed_months_are_the_most_that_fit(first: date, second: date) -> None:
    first, second = min(first, second), max(first, second)
    months = completed_months(first, second)
    assert add_months(first, months) <= second < add_months(first, months + 1)


@given(DATES, st.integers(0, 5000), st.integers(0, 60))
def test_within_and_longer_than_are_opposites(first: date, days: int, months: int) -> None:
    second = first + timedelta(days=days)
    assert within_months(first, second, months) != longer_than_months(first, second, months)


def test_g_06_months_are_calendar_months_and_weeks_are_7_days() -> None:
    first = date(2024, 7, 31)
    assert add_months(date(2024, 1, 31), 1) == date(2024, 2, 29)
    assert not longer_than_months(first, date(2025, 11, 30), 16)
    assert longer_than_months(first, date(2025, 12, 1), 16)
    assert within_weeks(first, first + timedelta(days=28), 4)
    assert not within_weeks(first, first + timedelta(days=29), 4)
    assert within_weeks(first, first, 0)


def test_ages_are_completed_years() -> None:
    assert completed_years(date(1956, 11, 21), date(2026, 11, 20)) == 69
    assert completed_years(date(1956, 11, 21), date(2026, 11, 21)) == 70
    with pytest.raises(InputError, match="120"):
        completed_years(date(1800, 1, 1), date(2026, 1, 1))
    with pytest.raises(InputError, match="before"):
        completed_years(date(2026, 1, 2), date(2026, 1, 1))


def test_dates_the_wrong_way_round_are_invalid() -> None:
    early, late = date(2026, 1, 1), date(2026, 1, 2)
    for count in (within_weeks, within_months, longer_than_months):
        with pytest.raises(InputError, match="before"):
            count(late, early, 1)
        with pytest.raises(InputError, match="no interval"):
            count(early, late, -1)
    with pytest.raises(InputError, match="outside the calendar"):
        add_months(date(9999, 12, 1), 1)
    with pytest.raises(InputError, match="day 0"):
        cycle_day(early, 0)


def test_we_47_follow_up_months() -> None:
    assert follow_up_months(60) == (3, 6, 9, 12, 15, 18, 21, 24, 30, 36, 42, 48, 54, 60)
    assert follow_up_months(90)[-2:] == (72, 84)
    assert follow_up_months(2) == ()
    with pytest.raises(InputError, match="month -1"):
        follow_up_months(-1)


def test_follow_up_visits_are_dates_and_a_month_too_short_is_told() -> None:
    answer = follow_up(date(2024, 11, 30), "end of radiotherapy", 12)
    assert [day.first_day for day in answer.days] == [
        date(2025, 2, 28), date(2025, 5, 30), date(2025, 8, 30), date(2025, 11, 30),
    ]  # fmt: skip
    assert [reading.rule for reading in answer.readings] == ["MS-101", "G-06"]
    assert [reading.rule for reading in follow_up(date(2024, 11, 1), "x", 12).readings] == ["MS-101"]
    unknown = follow_up(None, "end of radiotherapy", 12)
    assert (unknown.days, unknown.missing) == ((), ("end of radiotherapy",))
    with pytest.raises(InputError, match="counted from"):
        follow_up(date(2024, 1, 1), "", 12)


def test_ms_100_response_is_judged_from_1_to_2_months_after_treatment() -> None:
    window = response_window(date(2026, 1, 31))
    assert (window.first_day, window.last_day) == (date(2026, 2, 28), date(2026, 3, 31))


def test_ms_80_and_84_cycles_every_3_weeks_with_growth_factor_48_hours_after() -> None:
    answer = salvage_drug_days(date(2026, 1, 5), 2)
    days = {entry.what: (entry.first_day, entry.last_day) for entry in answer.days}
    assert days["cycle 1, platinum"] == (date(2026, 1, 5), date(2026, 1, 6))
    assert days["cycle 1, PEG-rhG-CSF recommended"] == (date(2026, 1, 8), date(2026, 1, 8))
    assert days["cycle 2, paclitaxel"] == (date(2026, 1, 26), date(2026, 1, 26))
    assert len(salvage_drug_days(date(2026, 1, 5), 4).days) == 12
    assert salvage_drug_days(None, 2).missing == ("first_day",)
    with pytest.raises(InputError, match="3 cycles"):
        salvage_drug_days(date(2026, 1, 5), 3)


def test_rt_60_days_of_arm_1_after_two_cycles_of_28_days() -> None:
    start = date(2026, 1, 5)
    answer = e0113_drug_days("1", [start, date(2026, 2, 2)], date(2026, 4, 8))
    days = {entry.what: (entry.first_day, entry.last_day) for entry in answer.days if "weekly" not in entry.what}
    assert days["G-CSF, days 6-15"] == (date(2026, 1, 10), date(2026, 1, 19))
    assert days["G-CSF, days 34-42"] == (date(2026, 2, 7), date(2026, 2, 15))
    # Day 29 of the second cycle; 96 hours are four days.
    assert days["5-fluorouracil over 96 hours"] == (date(2026, 3, 2), date(2026, 3, 5))
    weekly = [entry.first_day for entry in answer.days if entry.what == "weekly paclitaxel"]
    assert weekly == [date(2026, 3, 2) + timedelta(days=7 * week) for week in range(6)]
    assert answer.flags == ()
    assert sum("96 hours" in entry.what for entry in answer.open_days) == 5
    assert sum("G-CSF" in entry.what for entry in answer.open_days) == 2


def test_rt_60_one_cycle_puts_the_second_gcsf_window_into_chemoradiation_and_says_so() -> None:
    answer = e0113_drug_days("1", [date(2026, 1, 5)], None)
    assert "falls into chemoradiation, which begins on 2026-02-02" in answer.flags[0]
    assert answer.missing == ("last_fraction",)
    assert not [entry for entry in answer.days if "weekly" in entry.what]
    odd = e0113_drug_days("1", [date(2026, 1, 5), date(2026, 2, 9)], None)
    assert "does not begin on day 29" in odd.flags[0]


def test_rt_61_arm_2_has_no_routine_gcsf_and_swaps_the_drugs() -> None:
    answer = e0113_drug_days("2", [date(2026, 1, 5)], date(2026, 2, 3))
    assert [entry.what for entry in answer.days] == [
        "induction cycle 1, day 1", "weekly cisplatin", "paclitaxel over 96 hours",
    ]  # fmt: skip
    assert {entry.rule for entry in answer.days} == {"RT-61"}


def test_bad_input_of_the_arms_is_named() -> None:
    day = date(2026, 1, 5)
    assert e0113_drug_days("1", [], None).missing == ("induction_days",)
    with pytest.raises(InputError, match="one of: 1, 2"):
        e0113_drug_days("3", [day], None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="up to 2"):
        e0113_drug_days("1", [day, day, day], None)
    with pytest.raises(InputError, match="ascend"):
        e0113_drug_days("1", [day, day], None)
    with pytest.raises(InputError, match="before day 29"):
        e0113_drug_days("1", [day], date(2026, 2, 1))


def unfolded(text: str) -> list[str]:
    return text.replace("\r\n ", "").split("\r\n")


def test_an_icalendar_has_the_lines_of_rfc_5545() -> None:
    day = date(2026, 2, 28)
    text = icalendar([Event("v1", day, day, "visit; CT, blood", "first\nsecond \\ line")], "p1/salvage-crt", STAMP)
    assert unfolded(text) == [
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//TailoRT//visit calendar//EN", "CALSCALE:GREGORIAN",
        "BEGIN:VEVENT", f"UID:{uid('p1/salvage-crt', 'v1')}", "DTSTAMP:20260102T030405Z", "DTSTART;VALUE=DATE:20260228",
        "DTEND;VALUE=DATE:20260301", "SUMMARY:visit\\; CT\\, blood", "DESCRIPTION:first\\nsecond \\\\ line",
        "TRANSP:TRANSPARENT", "END:VEVENT", "END:VCALENDAR", "",
    ]  # fmt: skip


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=300))
def test_lines_are_folded_at_75_octets_without_breaking_a_letter(summary: str) -> None:
    day = date(2026, 1, 1)
    raw = icalendar([Event("k", day, day, summary)], "c", STAMP).encode("utf-8")
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r")
    lines = raw.split(b"\r\n")
    assert all(len(line) <= 75 for line in lines)
    escaped = summary.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    assert f"SUMMARY:{escaped}" in unfolded(raw.decode("utf-8"))


@pytest.mark.parametrize("letter", ["a", "é", "食", "𝒯"])
def test_a_long_line_is_folded_at_75_octets_whatever_its_letters(letter: str) -> None:
    day = date(2026, 1, 1)
    raw = icalendar([Event("k", day, day, letter * 200)], "c", STAMP).encode("utf-8")
    lines = raw.split(b"\r\n")
    assert max(map(len, lines)) <= 75
    assert max(map(len, lines)) > 75 - len(letter.encode("utf-8"))
    assert "SUMMARY:" + letter * 200 in unfolded(raw.decode("utf-8"))
    for line in lines:
        line.decode("utf-8")


def test_uids_are_the_same_again_and_differ_by_calendar_and_key() -> None:
    assert uid("a", "b") == uid("a", "b")
    assert len({uid("a", "b"), uid("a", "c"), uid("b", "b"), uid("a:b", "c"), uid("a", "b:c")}) == 5
    days = follow_up(date(2026, 1, 1), "end of radiotherapy", 60).days
    first = icalendar(events_of(days), "p1", STAMP)
    assert first == icalendar(events_of(days), "p1", STAMP.astimezone(timezone(timedelta(hours=8))))
    moved = icalendar(events_of(follow_up(date(2026, 1, 9), "end of radiotherapy", 60).days), "p1", STAMP)
    of = [[line for line in unfolded(text) if line.startswith("UID:")] for text in (first, moved)]
    assert of[0] == of[1]
    assert len(set(of[0])) == 14


def test_events_of_the_same_name_have_their_own_keys() -> None:
    days = e0113_drug_days("1", [date(2026, 1, 5)], date(2026, 3, 11)).days
    events = events_of(days)
    assert len({event.key for event in events}) == len(events) == len(days)
    assert icalendar(events, "p1", STAMP).count("BEGIN:VEVENT") == len(days)


def test_bad_calendars_are_named() -> None:
    day = date(2026, 1, 1)
    event = Event("k", day, day, "visit")
    with pytest.raises(InputError, match="at least one"):
        icalendar([], "c", STAMP)
    with pytest.raises(InputError, match="twice"):
        icalendar([event, event], "c", STAMP)
    with pytest.raises(InputError, match="time zone"):
        icalendar([event], "c", datetime(2026, 1, 1))
    with pytest.raises(InputError, match="needs an id"):
        icalendar([event], "", STAMP)
    with pytest.raises(InputError, match="control"):
        icalendar([Event("k", day, day, "a\x00b")], "c", STAMP)
    with pytest.raises(InputError, match="ends on"):
        Event("k", day, day - timedelta(days=1), "visit")
    with pytest.raises(InputError, match="key and a summary"):
        Event("", day, day, "visit")
