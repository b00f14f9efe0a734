"""Serious adverse events against their clock: from when the centre noticed one to when it was reported (MS-97)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tailort.cohort.patients import AdverseEvent, FollowedPatient, numbers_of_events
from tailort.errors import InputError
from tailort.protocols import Protocol
from tailort.workflow.trial_facts import CENTRE, by_pseudonym, group_name

ReportStatus = Literal[
    "in time", "late", "not reported, time left", "not reported, overdue", "unknown", "no deadline told"
]
# From this grade on an event is life-threatening or death; whether it is serious should have been told.
_SURELY_ASKED = 4


@dataclass(frozen=True)
class SeriousEvent:
    """One serious adverse event, or one of which it is not told whether it is.

    Parameters
    ----------
    pseudonym, centre, term : str
        Whose, where, what.
    grade : int
        0 to 5.
    noticed, reported : datetime or None
        As told.
    hours : float or None
        From noticed to reported, or until now where it is not reported.
    status : ReportStatus
        Against the protocol's hours; the last hour itself is in time.
    reason : str
        Why it is unknown.
    """

    pseudonym: str
    centre: str
    term: str
    grade: int
    noticed: dt.datetime | None
    reported: dt.datetime | None
    hours: float | None
    status: ReportStatus
    reason: str = ""

    @property
    def is_late(self) -> bool:
        """Whether it was reported too late, or is not reported though the hours are over."""
        return self.status in ("late", "not reported, overdue")


@dataclass(frozen=True)
class SeriousEvents:
    """Serious adverse events of a trial.

    Parameters
    ----------
    now : datetime
        Until when clocks run; what was noticed or reported later is not known yet.
    within_hours : float or None
        The protocol's; None where it tells none.
    report_to : str
        To whom.
    rows : tuple of SeriousEvent
        By pseudonym, then by when they were noticed.
    not_told : tuple of SeriousEvent
        Of grade 4 and 5 without a word on whether they are serious.
    contradictions : tuple of str
        Deaths that are called not serious.
    rules : tuple of str
        Ids of the protocol's rules.
    """

    now: dt.datetime
    within_hours: float | None
    report_to: str
    rows: tuple[SeriousEvent, ...]
    not_told: tuple[SeriousEvent, ...]
    contradictions: tuple[str, ...]
    rules: tuple[str, ...]

    @property
    def late(self) -> int:
        """Events reported too late, or not reported though the hours are over."""
        return sum(row.is_late for row in self.rows)


def serious_events(protocol: Protocol, patients: Sequence[FollowedPatient], now: dt.datetime) -> SeriousEvents:
    """Hold serious adverse events against the protocol's clock.

    Parameters
    ----------
    protocol : Protocol
        Whose section on safety tells the hours.
    patients : sequence of FollowedPatient
        In any order.
    now : datetime
        Until when clocks run. Without a time zone where the table's have none, with one where they have.

    Raises
    ------
    InputError
        Where an event was reported before it was noticed, or only some times have a time zone.
    """
    safety = protocol.file.safety
    within = None if safety is None else safety.within_hours
    rows, not_told, contradictions = [], [], []
    ordered = by_pseudonym(patients)
    # Most patients have none, or the very same as others.
    asked = {id(had) for had, _ in numbers_of_events(ordered) if any(map(_is_asked, had))}
    for patient in ordered:
        if id(patient.adverse_events) not in asked:
            continue
        for event in sorted(patient.adverse_events, key=_order):
            if event.day is not None and event.day > now.date():
                continue
            if event.serious:
                rows.append(_row(patient, event, now, within))
            elif event.serious is None and event.grade >= _SURELY_ASKED:
                not_told.append(_row(patient, event, now, within))
            elif event.serious is False and event.grade > _SURELY_ASKED:
                contradictions.append(
                    f"patient '{patient.pseudonym}': '{event.term}' grade {event.grade} is called not serious"
                )
    return SeriousEvents(
        now=now,
        within_hours=within,
        report_to="" if safety is None else safety.report_to,
        rows=tuple(rows),
        not_told=tuple(not_told),
        contradictions=tuple(contradictions),
        rules=() if safety is None else safety.rules,
    )


def _is_asked(event: AdverseEvent) -> bool:
    """Whether anything is told of an event here: it is serious, or so grave that it should be."""
    return bool(event.serious) or event.grade >= _SURELY_ASKED


def _order(event: AdverseEvent) -> tuple[str, str, str, int]:
    noticed = "" if event.noticed is None else event.noticed.isoformat()
    return noticed, "" if event.day is None else event.day.isoformat(), event.term, event.grade


def _row(patient: FollowedPatient, event: AdverseEvent, now: dt.datetime, within: float | None) -> SeriousEvent:
    name = f"patient '{patient.pseudonym}': '{event.term}' grade {event.grade}"
    noticed, reported = event.noticed, event.reported
    for time in (noticed, reported):
        if time is not None and (time.tzinfo is None) != (now.tzinfo is None):
            raise InputError(
                f"{name} has the time {time.isoformat()}, now is {now.isoformat()}: give both a time zone, or none"
            )
    if noticed is not None and reported is not None and reported < noticed:
        raise InputError(f"{name} was reported at {reported}, before it was noticed at {noticed}; correct the table")
    if noticed is not None and event.day is not None and noticed.date() < event.day:
        raise InputError(f"{name} was noticed at {noticed}, before it began on {event.day}; correct the table")
    noticed = None if noticed is not None and noticed > now else noticed
    reported = None if reported is not None and reported > now else reported
    hours, reason = None, ""
    status: ReportStatus = "unknown"
    if noticed is None:
        reason = "when it was noticed is not told" if reported is not None else "neither noticed nor reported is told"
    else:
        hours = ((reported or now) - noticed) / dt.timedelta(hours=1)
        if within is None:
            status = "no deadline told"
        elif reported is not None:
            status = "in time" if hours <= within else "late"
        else:
            status = "not reported, time left" if hours <= within else "not reported, overdue"
    return SeriousEvent(
        patient.pseudonym,
        group_name(patient, CENTRE),
        event.term,
        event.grade,
        noticed,
        reported,
        hours,
        status,
        reason,
    )
