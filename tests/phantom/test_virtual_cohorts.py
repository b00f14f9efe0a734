"""Virtual cohorts are tables of nobody: drawn from hazards that are told, the same for the same seed."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter

import numpy as np
import pytest

from tailort.phantom.virtual_cohort import SPINE_LAST_DAY, VirtualCohort, salvage_cohort, spine_cohort
from tailort.phantom.virtual_cohort_facts import DAYS_A_MONTH, Row
from tailort.phantom.virtual_trial import SALVAGE_LAST_DAY

SPINE, SALVAGE = spine_cohort(), salvage_cohort()
START = {row["id"]: row["start"] for row in SALVAGE.rows if row["row"] == "patient"}


def told(cohort: VirtualCohort, kind: str) -> list[Row]:
    return [row for row in cohort.rows if row["row"] == kind]


def days(row: Row, start: str, end: str) -> int:
    return (dt.date.fromisoformat(row[end]) - dt.date.fromisoformat(row[start])).days


@pytest.mark.parametrize("make", [spine_cohort, salvage_cohort])
def test_the_same_seed_gives_the_same_table_and_another_seed_another(make: type) -> None:
    assert make(3, 9).rows == make(3, 9).rows
    assert make(3, 9).rows != make(4, 9).rows


@pytest.mark.parametrize("cohort", [SPINE, SALVAGE], ids=["spine", "salvage"])
def test_every_row_says_that_it_is_synthetic(cohort: VirtualCohort) -> None:
    assert {row["source"] for row in cohort.rows} == {"synthetic"}
    assert cohort.truth["synthetic"] is True
    assert "source: synthetic cohort" in cohort.mapping


def test_the_spine_cohort_has_21_patients_6_failures_and_one_treatment_related_death() -> None:
    assert len({row["id"] for row in SPINE.rows}) == len(SPINE.rows) == 21
    assert sum(bool(row["failure"]) for row in SPINE.rows) == 6
    assert sum(bool(row["fracture"]) for row in SPINE.rows) == 5
    (treated,) = [row for row in SPINE.rows if row["treatment_death"] == "1"]
    doses = [float(row["oesophagus_max"]) for row in SPINE.rows if row["oesophagus_max"] and row["death"]]
    assert float(treated["oesophagus_max"]) == max(doses)


def test_the_salvage_cohort_has_282_patients_in_the_arms_of_the_trial() -> None:
    arms = Counter(row["arm"] for row in told(SALVAGE, "patient"))
    assert arms == {"ENI": 83, "IFI": 199}  # WE-45
    assert {row["row"] for row in SALVAGE.rows} == {
        "patient", "visit", "adverse event", "lesion", "course", "cycle",
    }  # fmt: skip
    assert len({row["centre"] for row in told(SALVAGE, "patient")}) == 6


@pytest.mark.parametrize(
    ("cohort", "last"), [(SPINE, SPINE_LAST_DAY), (SALVAGE, SALVAGE_LAST_DAY)], ids=["spine", "salvage"]
)
def test_nothing_is_after_the_end_of_follow_up_and_nothing_after_death(cohort: VirtualCohort, last: dt.date) -> None:
    deaths = {row["id"]: row["death"] for row in cohort.rows if row.get("death")}
    for row in cohort.rows:
        found = [cell for cell in row.values() if len(cell) == 10 and cell[4:8:3] == "--"]
        assert all(cell <= min(last.isoformat(), deaths.get(row["id"], "9999")) for cell in found)


def test_events_of_a_large_spine_cohort_come_at_the_hazards_that_are_told() -> None:
    cohort = spine_cohort(1, 4000)
    months = sum(days(row, "sbrt", "failure" if row["failure"] else "last_seen") for row in cohort.rows) / DAYS_A_MONTH
    failures = sum(bool(row["failure"]) for row in cohort.rows)
    rate = cohort.truth["local_failure_per_month"]
    # Four standard errors of a Poisson count; whole days cut off at most half a day of 20 months.
    assert abs(failures / months - rate) < 4 * rate / math.sqrt(failures) + rate * 0.5 / 365
    early = [row for row in cohort.rows if (SPINE_LAST_DAY - dt.date.fromisoformat(row["sbrt"])).days > 365]
    within = sum(bool(row["failure"]) and days(row, "sbrt", "failure") <= 12 * DAYS_A_MONTH for row in early)
    assert within / len(early) == pytest.approx(cohort.truth["local_failure_at_12_months_from_sbrt"], abs=0.03)


@pytest.mark.parametrize("arm", ["ENI", "IFI"])
def test_deaths_of_a_large_salvage_cohort_come_at_the_hazard_that_is_told(arm: str) -> None:
    rows = [row for row in told(salvage_cohort(2, 2000), "patient") if row["arm"] == arm]
    months = sum(days(row, "start", "last_seen") for row in rows) / DAYS_A_MONTH
    deaths = sum(bool(row["death"]) for row in rows)
    rate = SALVAGE.truth["death_per_month"][arm]
    assert abs(deaths / months - rate) < 4 * rate / math.sqrt(deaths)
    assert math.exp(-12 * rate) == pytest.approx(SALVAGE.truth["survival_at_12_months"][arm])  # MS-108


def test_some_visits_are_overdue_some_serious_events_late_and_some_cycles_reduced() -> None:
    alive = [row for row in told(SALVAGE, "patient") if not row["death"]]
    assert any((SALVAGE_LAST_DAY - dt.date.fromisoformat(row["last_seen"])).days > 100 for row in alive)
    serious = [row for row in told(SALVAGE, "adverse event") if row["serious"] == "1"]
    assert any("reported" not in row for row in serious)
    hours = [
        (dt.datetime.fromisoformat(row["reported"]) - dt.datetime.fromisoformat(row["noticed"])).total_seconds() / 3600
        for row in serious
        if "reported" in row
    ]
    assert min(hours) < 24 < max(hours)
    assert {row["percent"] for row in told(SALVAGE, "cycle")} == {"100", "80", "0"}


def test_most_of_what_the_trial_asks_is_told_and_some_is_not() -> None:
    patients = told(SALVAGE, "patient")
    for name in ("slice", "earlier", "in_field"):
        share = sum(bool(row[name]) for row in patients) / len(patients)
        # 95 %, within four standard errors of a share of 282.
        assert 0.89 < share < 1
    weighed = [row for row in told(SALVAGE, "visit") if row["visit_day"] < START[row["id"]]]
    assert {row["id"] for row in weighed} == set(START)
    assert 0.89 < sum(bool(row["weight"]) for row in weighed) / len(weighed) < 1
    ends = [row["sbrt_end"] for row in spine_cohort(1, 400).rows]
    assert 0.9 < sum(map(bool, ends)) / len(ends) < 1


def test_what_the_reader_said_stands_at_a_visit_of_every_examination() -> None:
    visits = {(row["id"], row["visit_day"]): row for row in told(SALVAGE, "visit")}
    assert len(visits) == len(told(SALVAGE, "visit"))
    read = [
        visits[row["id"], row["lesion_day"]] for row in told(SALVAGE, "lesion") if row["lesion_day"] >= START[row["id"]]
    ]
    assert 0.92 < sum("new_lesion" in row for row in read) / len(read) < 0.98
    progressed = {(row["id"], row["progression"]) for row in told(SALVAGE, "patient") if row["progression"]}
    new = {(row["id"], row["visit_day"]) for row in read if row.get("new_lesion") == "1"}
    assert new
    assert new < progressed


def test_what_was_looked_for_before_the_second_cycle_and_not_found_is_grade_0() -> None:
    events = told(SALVAGE, "adverse event")
    second = {row["id"]: row["cycle_day"] for row in told(SALVAGE, "cycle") if row["cycle"] == "2"}
    zero = [row for row in events if row["grade"] == "0"]
    assert 0.85 < len({row["id"] for row in zero}) / len(second) < 0.97
    for row in zero:
        assert row["event_day"] < second[row["id"]]
        worse = [one for one in events if (one["id"], one["term"]) == (row["id"], row["term"]) and one is not row]
        assert all(one["event_day"] > row["event_day"] for one in worse)
    assert {row["recovered"] for row in told(SALVAGE, "patient")} == {"", "0", "1"}


def test_outcomes_of_a_seed_do_not_depend_on_the_other_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailort.phantom.virtual_cohort.of_facts", lambda seed: np.random.default_rng(99))
    outcomes = ("id", "arm", "start", "progression", "death", "last_seen", "outside", "completed")
    other = told(salvage_cohort(), "patient")
    assert [[row[name] for name in outcomes] for row in other] == [
        [row[name] for name in outcomes] for row in told(SALVAGE, "patient")
    ]
    assert [row["weight"] for row in salvage_cohort().rows if "weight" in row] != [
        row["weight"] for row in SALVAGE.rows if "weight" in row
    ]
