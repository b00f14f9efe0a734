"""Serious adverse events against the 24-hour clock (MS-97)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_patients import START, event, patient

from tailort.cohort.patients import AdverseEvent
from tailort.errors import InputError
from tailort.protocols import load
from tailort.workflow.trial_serious import SeriousEvents, serious_events

SALVAGE = load("salvage-crt")
NOTICED = dt.datetime(2020, 3, 13, 8, 0)
LATER = NOTICED + dt.timedelta(days=30)
HOUR = dt.timedelta(hours=1)


def serious(**told: Any) -> AdverseEvent:
    return event("Esophageal fistula", 4, 10, serious=True, **told)


def run(events: Sequence[AdverseEvent], now: dt.datetime = LATER) -> SeriousEvents:
    return serious_events(SALVAGE, [patient(adverse_events=events, centre="A")], now)


@pytest.mark.parametrize(("hours", "status"), [(0, "in time"), (24, "in time"), (24.02, "late"), (100, "late")])
def test_ms_97_reported_within_24_hours_is_in_time(hours: float, status: str) -> None:
    found = run([serious(noticed=NOTICED, reported=NOTICED + hours * HOUR)])
    assert (found.rows[0].status, found.rows[0].hours) == (status, pytest.approx(hours, abs=1e-6))
    assert (found.within_hours, found.report_to, found.rules) == (24, "ethics committee", ("MS-97",))


@pytest.mark.parametrize(
    ("hours", "status"),
    [(1, "not reported, time left"), (24, "not reported, time left"), (25, "not reported, overdue")],
)
def test_what_is_not_reported_becomes_overdue(hours: float, status: str) -> None:
    found = run([serious(noticed=NOTICED)], NOTICED + hours * HOUR)
    assert found.rows[0].status == status
    assert found.late == (status == "not reported, overdue")


@given(st.floats(0, 500), st.floats(0, 500), st.none() | st.floats(0, 500))
def test_a_later_time_never_lowers_the_number_of_late_reports(
    first: float, more: float, reported: float | None
) -> None:
    told = serious(noticed=NOTICED, reported=None if reported is None else NOTICED + reported * HOUR)
    early = run([told], NOTICED + first * HOUR)
    assert early.late <= run([told], NOTICED + (first + more) * HOUR).late


def test_without_the_time_of_notice_it_is_unknown() -> None:
    found = run([serious(reported=NOTICED), serious()])
    assert [row.status for row in found.rows] == ["unknown", "unknown"]
    assert found.rows[0].reason != found.rows[1].reason
    assert found.late == 0


def test_a_severe_event_without_a_word_on_seriousness_is_listed_apart() -> None:
    found = run([event("Esophageal fistula", 4), event("Nausea", 3), event("Death", 5, serious=False)])
    assert found.rows == ()
    assert [row.term for row in found.not_told] == ["Esophageal fistula"]
    assert found.contradictions == ("patient 'P-01': 'Death' grade 5 is called not serious",)


def test_a_protocol_without_a_clock_tells_hours_and_no_verdict() -> None:
    one = patient(adverse_events=[serious(noticed=NOTICED, reported=NOTICED + 48 * HOUR)])
    found = serious_events(load("rtog-0436"), [one], LATER)
    assert (found.rows[0].hours, found.rows[0].status, found.within_hours) == (48, "no deadline told", None)


def test_times_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="before it was noticed"):
        run([serious(noticed=NOTICED, reported=NOTICED - HOUR)])
    with pytest.raises(InputError, match="before it began"):
        run([serious(noticed=dt.datetime.combine(START, dt.time(8)))])
    with pytest.raises(InputError, match="give both a time zone, or none"):
        run([serious(noticed=NOTICED.replace(tzinfo=dt.UTC))])
