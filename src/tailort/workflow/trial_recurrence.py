"""Recurrence outside the field after the trial's treatment (MS-103): among patients and among recurrences.

It is a fact of the table, or follows from where the recurrences lie to the trial's own course. The protocol gives no
number for "outside"; for the latter the default definition of `tailort.radiobiology.recurrence_fields` holds, with its
mark.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tailort.cohort.patients import FollowedPatient, distinct
from tailort.protocols import Answer
from tailort.radiobiology.recurrence_fields import field_definitions
from tailort.workflow.recurrence_places import DEFAULT, RecurrencePlace
from tailort.workflow.trial_completion import Rate, rates_of
from tailort.workflow.trial_facts import ARM, PROGRESSION, by_pseudonym, day_of, group_name, happened, truth_of

OUTSIDE = "recurrence_outside_field"
Source = Literal["table", "places", ""]


@dataclass(frozen=True)
class PatientRecurrence:
    """Recurrence of one patient.

    Parameters
    ----------
    pseudonym, arm : str
        Who, and in which arm.
    recurred, outside : {"yes", "no", "unknown"}
        Whether at all, and whether any recurrence lies outside the field.
    source : {"table", "places", ""}
        What the second rests on.
    reason : str
        Why it is unknown, or how the table and the places differ.
    """

    pseudonym: str
    arm: str
    recurred: Answer
    outside: Answer
    source: Source
    reason: str


@dataclass(frozen=True)
class OutOfField:
    """Recurrence outside the field over a trial.

    Parameters
    ----------
    rows : tuple of PatientRecurrence
        By pseudonym.
    among_patients, among_recurrences : tuple of Rate
        Of all and of each arm, with exact intervals; unknown ones are not in the rate.
    readings : tuple of str
        What "outside" means here.
    """

    rows: tuple[PatientRecurrence, ...]
    among_patients: tuple[Rate, ...]
    among_recurrences: tuple[Rate, ...]
    readings: tuple[str, ...]


def out_of_field(
    patients: Sequence[FollowedPatient],
    today: dt.date,
    *,
    places: Mapping[str, Sequence[RecurrencePlace]] | None = None,
    arm: str = ARM,
) -> OutOfField:
    """Tell whose recurrence lies outside the field.

    A patient without a progression up to today has no recurrence outside the field so far.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        In any order.
    today : date
        Cut-off.
    places : mapping of str to sequence of RecurrencePlace, optional
        How recurrences lie to the trial's course, by pseudonym; where the table tells it, the table counts.
    arm : str
        Fact that tells the arm.
    """
    rows = []
    # Patients with the same three facts are told alike.
    alike: dict[tuple[int, ...], PatientRecurrence] = {}
    ordered = by_pseudonym(patients)
    keys = zip(*(distinct(ordered, name).which.tolist() for name in (PROGRESSION, OUTSIDE, arm)), strict=True)
    for one, key in zip(ordered, keys, strict=True):
        own = () if places is None else places.get(one.pseudonym, ())
        if own or key not in alike:
            rows.append(_row(one, today, own, arm))
            if not own:
                alike[key] = rows[-1]
        else:
            same = alike[key]
            rows.append(
                PatientRecurrence(one.pseudonym, same.arm, same.recurred, same.outside, same.source, same.reason)
            )
    all_, recurred = _by_arm(rows), _by_arm([row for row in rows if row.recurred == "yes"])
    definition = field_definitions()[DEFAULT]
    readings = ["The protocol gives no number for 'outside the field'; where the table says it, it is taken as it is."]
    if any(row.source == "places" for row in rows):
        readings.append(f"From places: {definition.text} [{definition.mark}]")
    return OutOfField(
        tuple(rows),
        rates_of("recurrence outside the field, of all patients", all_),
        rates_of("recurrence outside the field, of patients with a recurrence", recurred),
        tuple(readings),
    )


def _by_arm(rows: Sequence[PatientRecurrence]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for row in rows:
        found.setdefault(row.arm, []).append(row.outside)
    return found


def _row(patient: FollowedPatient, today: dt.date, places: Sequence[RecurrencePlace], arm: str) -> PatientRecurrence:
    day = day_of(patient, PROGRESSION)
    ever = False if day is not None and day > today else happened(patient, PROGRESSION)
    told = truth_of(patient, OUTSIDE) if ever is not False else None
    own = [row for row in places if row.definition == DEFAULT] if ever is not False else []
    from_places = _outside(own)
    source: Source = "table" if told is not None else "places" if own else ""
    outside: Answer = from_places if told is None else "yes" if told else "no"
    reason = ""
    if ever is False:
        outside = "no"
    elif told is not None and own and from_places not in ("unknown", outside):
        reason = f"the table says {outside}, the places say {from_places}; the table was taken"
    elif outside == "unknown":
        reason = "where the recurrence lies is not told" if ever else "whether there is a recurrence is not told"
    recurred: Answer = "no" if ever is False else "yes" if ever or told or own else "unknown"
    return PatientRecurrence(patient.pseudonym, group_name(patient, arm), recurred, outside, source, reason)


def _outside(places: Sequence[RecurrencePlace]) -> Answer:
    if any(row.told == "out of field" for row in places):
        return "yes"
    return "no" if places and all("out of field" not in row.places and row.places for row in places) else "unknown"
