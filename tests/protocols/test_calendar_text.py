"""iCalendar text by RFC 5545: lines, folding, UIDs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols.scores import Event, icalendar
from tailort.protocols.scores.calendar_text import uid

STAMP = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


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
    events = [Event(f"visit/{n}", date(2026, n, 1), date(2026, n, 1), "visit") for n in range(1, 13)]
    first = icalendar(events, "p1", STAMP)
    assert first == icalendar(events, "p1", STAMP.astimezone(timezone(timedelta(hours=8))))
    moved = icalendar([replace(event, last_day=date(2027, 1, 1)) for event in events], "p1", STAMP)
    of = [[line for line in unfolded(text) if line.startswith("UID:")] for text in (first, moved)]
    assert of[0] == of[1]
    assert len(set(of[0])) == 12


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
