"""Dates of a course: fractions from Monday to Friday, new images, cycles of drugs, visits."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols import load
from tailort.protocols.course_dates import (
    Appointment,
    cycles,
    fraction_days,
    fraction_of_course,
    fractions_of_course,
    new_images,
    radiotherapy,
    visits,
)
from tailort.protocols.plans import with_plan
from tailort.protocols.schedule import FollowUpSection, VisitsEntry
from tailort.protocols.schema import PrescriptionEntry
from tailort.protocols.scores import icalendar

SALVAGE = load("salvage-crt")
MONDAY = dt.date(2026, 1, 5)
WEEKDAYS = st.dates(dt.date(2000, 1, 1), dt.date(2090, 1, 1)).filter(lambda day: day.weekday() < 5)


@pytest.mark.parametrize(("n", "days"), [(25, 33), (28, 38), (30, 40), (33, 45), (34, 46), (36, 50)])
def test_we_54_days_from_the_first_to_the_last_fraction_of_a_monday_start(n: int, days: int) -> None:
    made = fraction_days(MONDAY, n)
    assert (made[-1] - made[0]).days + 1 == days


@given(WEEKDAYS, st.integers(1, 40))
def test_fractions_are_on_working_days_in_a_row(start: dt.date, n: int) -> None:
    made = fraction_days(start, n)
    assert made[0] == start
    assert len(made) == n
    assert all(day.weekday() < 5 for day in made)
    for before, after in pairwise(made):
        assert (after - before).days == (3 if before.weekday() == 4 else 1)


def test_a_start_on_a_weekend_is_refused() -> None:
    with pytest.raises(InputError, match="a Saturday"):
        fraction_days(dt.date(2026, 1, 3), 25)
    with pytest.raises(InputError, match="0 fractions"):
        fraction_days(MONDAY, 0)


@pytest.mark.parametrize(("plan", "option", "fraction", "gy"), [
    ("A", None, 24, 51.36), ("A", "6216", 23, 51.06), ("C", None, 25, 50.0), ("D", None, 28, 50.4),
])  # fmt: skip
def test_we_46_the_fraction_that_reaches_50_gy_and_the_dose_then(
    plan: str, option: str | None, fraction: int, gy: float
) -> None:
    prescribed = with_plan(SALVAGE, plan, option).file.prescriptions
    highest = max(prescribed, key=lambda p: p.dose_gy)
    assert fraction_of_course(prescribed, highest.target, 50.0) == fraction
    assert float(highest.dose_per_fraction_gy * fraction) == pytest.approx(gy)


def test_a_boost_has_got_the_dose_of_the_target_it_boosts() -> None:
    prescribed = with_plan(SALVAGE, "B").file.prescriptions
    assert fraction_of_course(prescribed, "PTV_6040", 50.0) == 28
    assert fraction_of_course(prescribed, "PTV_6040", 50.5) == 29
    assert fraction_of_course(prescribed, "PTV_6040", 60.4) == 33
    assert fraction_of_course(prescribed, "PTV_6040", 60.5) is None
    assert fraction_of_course(prescribed, "PTV_5040", 50.5) is None


def test_fractions_of_a_target_are_those_of_all_phases_in_which_it_gets_dose() -> None:
    prescribed = with_plan(SALVAGE, "B").file.prescriptions
    assert fractions_of_course(prescribed, "PTV_6040") == 33
    assert fractions_of_course(prescribed, "PTV_5040") == 28
    assert fractions_of_course(load("rtog-e0113").file.prescriptions, "PTV_5040") == 28
    assert fractions_of_course(with_plan(SALVAGE, "A").file.prescriptions, "PTV_5992") == 28


def test_phases_follow_each_other_on_working_days() -> None:
    first, second = radiotherapy(with_plan(SALVAGE, "B").file.prescriptions, MONDAY)
    assert (first.first_day, first.last_day) == (MONDAY, dt.date(2026, 2, 11))
    assert (second.first_day, second.last_day) == (dt.date(2026, 2, 12), dt.date(2026, 2, 18))
    assert "PTV_6040 10 Gy" in second.text


def test_the_new_ct_is_on_the_day_of_its_fraction() -> None:
    file = with_plan(SALVAGE, "C").file
    (image,) = new_images(file.adaptations, file.prescriptions, MONDAY)
    assert image.first_day == image.last_day == fraction_days(MONDAY, 25)[-1]
    assert image.what == "chest CT at fraction 25 (required)"
    assert "MS-67" in image.rules


def test_ms_80_and_84_cycles_every_3_weeks_with_growth_factor_48_hours_after() -> None:
    drugs = SALVAGE.file.drugs
    assert drugs is not None
    made = {one.what: (one.first_day, one.last_day) for one in cycles(drugs.regimens[0], drugs.support, MONDAY, 2)}
    tuesday = MONDAY + dt.timedelta(days=1)
    assert made["concurrent cycle 1, day 1: paclitaxel"] == (MONDAY, MONDAY)
    assert made["concurrent cycle 1, days 1-2: lobaplatin or nedaplatin"] == (MONDAY, tuesday)
    assert made["concurrent cycle 1: PEG-rhG-CSF (recommended)"] == (dt.date(2026, 1, 8), dt.date(2026, 1, 8))
    assert made["concurrent cycle 2, day 1: paclitaxel"] == (dt.date(2026, 1, 26), dt.date(2026, 1, 26))
    assert len(made) == 6


def test_we_47_visits_of_five_years_as_dates_and_the_response_before() -> None:
    follow_up = SALVAGE.file.follow_up
    assert follow_up is not None
    made = visits(follow_up, dt.date(2024, 11, 30), 60)
    assert [one.what for one in made[:2]] == ["response by RECIST 1.1", "follow-up, month 3"]
    assert (made[0].first_day, made[0].last_day) == (dt.date(2024, 12, 30), dt.date(2025, 1, 30))
    # A month too short for the day has the visit on its last day.
    assert [one.first_day for one in made[1:5]] == [
        dt.date(2025, 2, 28), dt.date(2025, 5, 30), dt.date(2025, 8, 30), dt.date(2025, 11, 30),
    ]  # fmt: skip
    months = [3, 6, 9, 12, 15, 18, 21, 24, 30, 36, 42, 48, 54, 60]
    assert [one.key for one in made[1:]] == [f"follow-up/{month}" for month in months]
    assert "quality of life" in made[1].text
    assert {"MS-101", "MS-102"} <= set(made[1].rules)


def test_visits_without_an_end_stop_at_the_month_that_is_asked_for() -> None:
    yearly = FollowUpSection(
        counted_from="end of radiotherapy", visits=(VisitsEntry(every_months=12, from_month=12, to_month=None),)
    )
    assert [one.first_day.year for one in visits(yearly, MONDAY, 40)] == [2027, 2028, 2029]


def test_a_course_of_phases_counts_the_fractions_before() -> None:
    one = PrescriptionEntry(target="a", dose_gy=40, fractions=20)
    two = PrescriptionEntry(target="b", dose_gy=20, fractions=10, phase=2)
    assert fraction_of_course([one, two], "b", 20) == 30
    assert fraction_of_course([one, two], "a", 41) is None


def test_an_event_keeps_its_key_when_its_day_moves() -> None:
    def uids(start: dt.date) -> list[str]:
        file = with_plan(SALVAGE, "A").file
        made = [*radiotherapy(file.prescriptions, start), *new_images(file.adaptations, file.prescriptions, start)]
        text = icalendar([one.event() for one in made], "P1", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        return [line for line in text.split("\r\n") if line.startswith("UID:")]

    assert uids(MONDAY) == uids(MONDAY + dt.timedelta(days=2))
    assert len(set(uids(MONDAY))) == 2


def test_an_event_tells_its_rules_and_that_it_is_planned() -> None:
    told = Appointment("k", "visit", MONDAY, MONDAY, "blood count", ("MS-101",)).event()
    assert told.description == "blood count\nRules: MS-101\nAs planned; for research only."
