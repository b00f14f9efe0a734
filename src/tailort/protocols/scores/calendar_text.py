"""Visits as iCalendar text, for any calendar program.

All events are whole days. The same events give the same text: the time stamp is handed in, and each UID follows from
the calendar's and the event's key, so that an event that moves to another day replaces itself.

References
----------
RFC 5545: content lines (3.1), text values (3.3.11), UID (3.8.4.7)
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tailort.errors import InputError

_FOLD_OCTETS = 75
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tailort:icalendar")


@dataclass(frozen=True)
class Event:
    """One event of whole days.

    Parameters
    ----------
    key : str
        Names the event within its calendar, such as "visit-3".
    first_day, last_day : date
        Both included.
    summary, description : str
        What is shown.
    """

    key: str
    first_day: date
    last_day: date
    summary: str
    description: str = ""

    def __post_init__(self) -> None:
        if not self.key or not self.summary:
            raise InputError("an event needs a key and a summary")
        if self.last_day < self.first_day:
            raise InputError(f"event '{self.key}' ends on {self.last_day}, before it begins on {self.first_day}")
        if self.last_day == date.max:
            raise InputError(f"event '{self.key}' has no day after its last one, {self.last_day}")


def icalendar(events: Sequence[Event], calendar_id: str, stamp: datetime) -> str:
    """Write events as one iCalendar object.

    Parameters
    ----------
    events : sequence of Event
        At least one, no key twice.
    calendar_id : str
        Names the calendar, such as a pseudonym and a protocol; UIDs follow from it.
    stamp : datetime
        When the text was made, with its time zone.

    Returns
    -------
    str
        Lines of at most 75 octets in UTF-8, each ended by CR LF. Write it as bytes, so that they stay as they are.

    Raises
    ------
    InputError
        When there is no event, a key is there twice, the stamp has no time zone, or a text has control characters.
    """
    if not events:
        raise InputError("a calendar without an event cannot be written; give at least one")
    keys = [event.key for event in events]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"event '{twice}' is twice in the calendar; each key must be there once")
    if not calendar_id:
        raise InputError("a calendar needs an id")
    if stamp.utcoffset() is None:
        raise InputError(f"the calendar's time stamp {stamp.isoformat()} has no time zone; give one")
    stamped = stamp.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return "".join(f"{folded}\r\n" for line in _lines(events, calendar_id, stamped) for folded in _fold(line))


def uid(calendar_id: str, key: str) -> str:
    """UID of an event: always the same for the same calendar and key."""
    # The length keeps apart what would otherwise run together.
    return f"{uuid.uuid5(_NAMESPACE, f'{len(calendar_id)}:{calendar_id}:{key}')}@tailort"


def _lines(events: Sequence[Event], calendar_id: str, stamped: str) -> Iterator[str]:
    yield from ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//TailoRT//visit calendar//EN", "CALSCALE:GREGORIAN")
    for event in events:
        yield from ("BEGIN:VEVENT", f"UID:{uid(calendar_id, event.key)}", f"DTSTAMP:{stamped}")
        yield f"DTSTART;VALUE=DATE:{_basic(event.first_day)}"
        # RFC 5545 3.6.1: the end is not part of the event.
        yield f"DTEND;VALUE=DATE:{_basic(event.last_day + timedelta(days=1))}"
        yield f"SUMMARY:{_text(event.summary)}"
        if event.description:
            yield f"DESCRIPTION:{_text(event.description)}"
        yield "TRANSP:TRANSPARENT"
        yield "END:VEVENT"
    yield "END:VCALENDAR"


def _basic(day: date) -> str:
    return f"{day.year:04d}{day.month:02d}{day.day:02d}"


def _text(value: str) -> str:
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    if any((ord(sign) < 32 and sign not in "\n\t") or ord(sign) == 127 for sign in lines):
        raise InputError(f"a calendar text has control characters: {value!r}; remove them")
    for sign, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        lines = lines.replace(sign, escaped)
    return lines


def _fold(line: str) -> Iterator[str]:
    part, octets = "", 0
    for sign in line:
        width = len(sign.encode("utf-8"))
        if octets + width > _FOLD_OCTETS:
            yield part
            part, octets = " ", 1
        part += sign
        octets += width
    yield part
