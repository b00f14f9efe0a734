"""Dates of one patient's treatment, from the days that the record or a person tells."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tailort.errors import InputError
from tailort.protocols.course_dates import (
    CHEMOTHERAPY,
    END,
    START,
    Appointment,
    after_induction,
    cycles,
    fraction_days,
    new_images,
    phase_fractions,
    radiotherapy,
    serious_event,
    visits,
)
from tailort.protocols.regimen_days import regimen_days
from tailort.protocols.schema import ProtocolFile
from tailort.protocols.treatment_drugs import STOPS
from tailort.protocols.treatment_records import Calendar, Drugs, ToxicityAnswer

FOLLOW_UP_MONTHS = 60
"""Last month of the visits that are dated; those of later years are told in words."""


@dataclass(frozen=True)
class Dates:
    """What dates are counted from; None is unknown.

    Parameters
    ----------
    start, end : date or None
        First and last fraction; the last one once it was given.
    chemotherapy : date or None
        Day 1 of the first concurrent cycle.
    induction_cycles : int or None
        Cycles of induction before it.
    serious_event : date or None
        When a serious adverse event was noticed.
    """

    start: dt.date | None
    end: dt.date | None
    chemotherapy: dt.date | None
    induction_cycles: int | None
    serious_event: dt.date | None


def dates_of(known: Mapping[str, Any]) -> Dates:
    """Days that a record tells.

    Raises
    ------
    InputError
        When they contradict each other.
    """
    start: dt.date | None = known.get("radiotherapy_start_date")
    end: dt.date | None = known.get("radiotherapy_end_date")
    if start is not None and end is not None and end < start:
        raise InputError(f"radiotherapy ends on {end}, before it starts on {start}; correct the clinical record")
    return Dates(
        start, end, known.get("chemotherapy_start_date"), known.get("induction_cycles"), known.get("serious_event_date")
    )


def calendar_of(
    file: ProtocolFile, only: ProtocolFile | None, dates: Dates, drugs: Drugs | None, toxicity: ToxicityAnswer | None
) -> Calendar:
    """Dates of one patient, as planned.

    Parameters
    ----------
    file : ProtocolFile
        Of the protocol.
    only : ProtocolFile or None
        The file with the patient's own plan; None as long as it is not settled.
    dates : Dates
        What is counted from.
    drugs, toxicity : Drugs, ToxicityAnswer or None
        Of the patient; toxicity that stops treatment leaves its dates out.
    """
    found: list[Appointment] = []
    missing: dict[str, None] = {}
    notes: list[str] = []
    stop = toxicity.action if toxicity else None
    end = dates.end
    if only is None:
        notes.append("without one settled course there are no dates of fractions")
    elif dates.start is None:
        missing[START] = None
    elif stop == "stop-all":
        notes.append("toxicity calls for stopping radiotherapy: its further dates are left out")
    else:
        found += radiotherapy(only.prescriptions, dates.start)
        found += new_images(only.adaptations, only.prescriptions, dates.start)
        end = end or fraction_days(dates.start, sum(phase_fractions(only.prescriptions).values()))[-1]
    given = _drug_dates(file, dates, drugs, stop)
    found += given.appointments
    missing.update(dict.fromkeys(given.missing))
    notes += given.notes
    if file.safety is not None and dates.serious_event is not None:
        found.append(serious_event(file.safety, dates.serious_event))
    follow_up = file.follow_up
    if follow_up is not None:
        day = {END: end, START: dates.start}.get(follow_up.counted_from)
        if day is None:
            missing[follow_up.counted_from] = None
        else:
            found += visits(follow_up, day, FOLLOW_UP_MONTHS)
            if dates.end is None and follow_up.counted_from == END:
                notes.append(f"follow-up is counted from {day}, the last fraction as planned")
    return Calendar(
        tuple(sorted(found, key=lambda one: (one.first_day, one.last_day, one.what))), tuple(missing), tuple(notes)
    )


def _drug_dates(file: ProtocolFile, dates: Dates, drugs: Drugs | None, stop: str | None) -> Calendar:
    """Dates of what is given with radiotherapy, and of the induction that comes before it."""
    if file.drugs is None or drugs is None:
        return Calendar((), (), ())
    own = {regimen.id for regimen in drugs.regimens if regimen.applies == "yes"}
    concurrent = [
        entry
        for entry in file.drugs.regimens
        if entry.setting == "concurrent" and entry.id in own and (entry.drugs or entry.one_of)
    ]
    if concurrent and stop in STOPS:
        return Calendar((), (), ("toxicity calls for stopping chemotherapy: its dates are left out",))
    found: list[Appointment] = []
    missing: list[str] = []
    notes = [
        f"{one.id}: no dates, as it is open whether it applies"
        for one in drugs.regimens
        if one.setting == "concurrent" and one.applies == "unknown"
    ]
    if concurrent and stop == "hold-cycle":
        notes.append("toxicity holds the next cycle: its dates wait for recovery")
    for entry in concurrent:
        # Only a regimen that comes after another one begins with radiotherapy by the file's own words.
        day = dates.chemotherapy or (dates.start if entry.after is not None else None)
        if day is None:
            missing.append(CHEMOTHERAPY if entry.after is None else START)
        elif entry.after is None:
            found += cycles(entry, file.drugs.support, day, min(entry.cycles))
            if len(entry.cycles) > 1:
                notes.append(f"{entry.id}: dates are those of {min(entry.cycles)} cycles, the fewest")
        elif dates.induction_cycles is None:
            missing.append("induction_cycles")
        else:
            made = regimen_days(file.drugs, entry.id, dates.induction_cycles)
            found += after_induction(made, {one.id: one.setting for one in file.drugs.regimens}, entry.id, day)
            notes += made.notes
    return Calendar(tuple(found), tuple(missing), tuple(notes))
