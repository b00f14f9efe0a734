"""Completion of treatment: radiotherapy by its fractions, chemotherapy by its cycles, and both together (MS-103).

The protocol names the rate and does not define it. What is counted is told: all prescribed fractions and no more; all
concurrent cycles at any dose, and beside it all at the full dose.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tailort.cohort.patients import FollowedPatient, distinct
from tailort.cohort.proportions import Proportion, proportion
from tailort.errors import InputError
from tailort.protocols import Answer, Protocol, all_of
from tailort.workflow.trial_facts import ARM, by_pseudonym, days_of, group_names, trial_course, truth_of

COMPLETED = "salvage_completed"
ALL_PATIENTS = "all patients"
READINGS = (
    "Completion is not defined by the protocol: radiotherapy is completed with exactly the prescribed fractions, "
    "chemotherapy with all concurrent cycles at any dose; that at full dose stands beside it.",
    "Rates are of the patients of whom it is known, with exact (Clopper-Pearson) intervals.",
)
What = Literal["radiotherapy", "chemotherapy", "chemotherapy at full dose", "both"]
WHAT: tuple[What, ...] = ("radiotherapy", "chemotherapy", "chemotherapy at full dose", "both")


@dataclass(frozen=True)
class Rate:
    """How many of a group of patients.

    Parameters
    ----------
    what, group : str
        Of what, and in whom.
    unknown : int
        Patients of whom it is not known; they are not in the rate.
    found : Proportion or None
        Of the others; None where there are none.
    """

    what: str
    group: str
    unknown: int
    found: Proportion | None


@dataclass(frozen=True)
class Completed:
    """Whether one patient completed treatment.

    Parameters
    ----------
    pseudonym, arm : str
        Who, and in which arm.
    answers : mapping of What to Answer
        "yes", "no" or "unknown".
    recorded : bool or None
        What the table itself says of the whole treatment.
    reasons : tuple of str
        Why not, or why it is unknown.
    """

    pseudonym: str
    arm: str
    answers: Mapping[What, Answer]
    recorded: bool | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Completion:
    """Completion of a trial's treatment: each patient, rates of all and of each arm, and how it was counted."""

    rows: tuple[Completed, ...]
    rates: tuple[Rate, ...]
    cycles: int | None
    readings: tuple[str, ...] = READINGS


def rates_of(what: str, answers: Mapping[str, Sequence[Answer]]) -> tuple[Rate, ...]:
    """Rate of "yes" in all patients and in each group.

    Parameters
    ----------
    what : str
        Told with it.
    answers : mapping of str to sequence of Answer
        By group.
    """
    everybody = [answer for own in answers.values() for answer in own]
    groups = {ALL_PATIENTS: everybody, **{name: answers[name] for name in sorted(answers)}}
    found = []
    for name, own in groups.items():
        told = Counter(own)
        yes, known = told["yes"], len(own) - told["unknown"]
        found.append(Rate(what, name, len(own) - known, proportion(yes, known) if known else None))
    return tuple(found)


def completion(
    protocol: Protocol,
    patients: Sequence[FollowedPatient],
    today: dt.date,
    *,
    course: str | None = None,
    arm: str = ARM,
    cycles: int | None = None,
) -> Completion:
    """Tell who completed treatment.

    Parameters
    ----------
    protocol : Protocol
        Which tells the number of concurrent cycles.
    patients : sequence of FollowedPatient
        In any order.
    today : date
        Cut-off.
    course : str or None
        Name of the trial's course where patients have several.
    arm : str
        Fact that tells the arm.
    cycles : int or None
        Concurrent cycles that were planned, where the protocol leaves a choice or tells none.
    """
    planned = cycles if cycles is not None else _planned_cycles(protocol)
    rows = []
    nothing: tuple[dict[What, Answer], tuple[str, ...]] | None = None
    ordered = by_pseudonym(patients)
    for patient, own_arm, recorded in zip(ordered, group_names(ordered, arm), _recorded(ordered), strict=True):
        # Of all of whom neither a course nor a cycle is told the same is known: nothing.
        is_blank = not patient.courses and not patient.cycles
        found = nothing if is_blank and nothing is not None else _answered(patient, today, course, planned)
        nothing = found if is_blank else nothing
        answers, reasons = found
        if recorded is not None and answers["both"] == ("no" if recorded else "yes"):
            said = "completed" if recorded else "not completed"
            reasons = (*reasons, f"the table says {said}, which its fractions and cycles contradict")
        rows.append(Completed(patient.pseudonym, own_arm, answers, recorded, reasons))
    by_arm: dict[str, list[Mapping[What, Answer]]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(row.answers)
    rates: list[Rate] = []
    for what in WHAT:
        rates += rates_of(what, {name: [answers[what] for answers in own] for name, own in by_arm.items()})
    return Completion(tuple(rows), tuple(rates), planned)


def _recorded(patients: Sequence[FollowedPatient]) -> list[bool | None]:
    """What the table says of the whole treatment of each patient."""
    told = distinct(patients, COMPLETED)
    if all(fact is None or fact.value is None or isinstance(fact.value, bool) for fact in told.facts):
        return told.spread(
            [fact.value if fact is not None and isinstance(fact.value, bool) else None for fact in told.facts]
        )
    return [truth_of(patient, COMPLETED) for patient in patients]


def _answered(
    patient: FollowedPatient, today: dt.date, course: str | None, planned: int | None
) -> tuple[dict[What, Answer], tuple[str, ...]]:
    """What of the treatment was completed, and why not or why it is unknown."""
    reasons: list[str] = []
    radio = _radiotherapy(patient, today, course, reasons)
    chemo, full = _chemotherapy(patient, today, planned, reasons)
    answers: dict[What, Answer] = {
        "radiotherapy": radio,
        "chemotherapy": chemo,
        "chemotherapy at full dose": full,
        "both": all_of((radio, chemo)),
    }
    return answers, tuple(reasons)


def _planned_cycles(protocol: Protocol) -> int | None:
    if protocol.file.drugs is None:
        return None
    told = {entry.cycles for entry in protocol.file.drugs.regimens if entry.setting == "concurrent" and entry.cycles}
    choices = {count for counts in told for count in counts}
    return choices.pop() if len(choices) == 1 else None


def _radiotherapy(patient: FollowedPatient, today: dt.date, name: str | None, reasons: list[str]) -> Answer:
    course = trial_course(patient, name)
    given, asked = (None, None) if course is None else (course.fractions, course.planned_fractions)
    for count in (given, asked):
        if count is not None and count < 0:
            raise InputError(f"patient '{patient.pseudonym}' has {count} fractions; expected 0 or more")
    if given is None or asked is None:
        reasons.append("fractions given or prescribed are not told")
        return "unknown"
    if given == asked:
        return "yes"
    ended = days_of(patient, today, name)
    if given < asked and ended.radiotherapy_end is None and ended.ended is None:
        reasons.append(f"{given} of {asked} fractions, and the last one is not dated: perhaps not ended")
        return "unknown"
    reasons.append(f"{given} of {asked} fractions")
    return "no"


def _chemotherapy(
    patient: FollowedPatient, today: dt.date, planned: int | None, reasons: list[str]
) -> tuple[Answer, Answer]:
    """Whether all cycles were given, at any dose and at the full dose."""
    if planned is None or not patient.cycles:
        reasons.append("no cycle is told" if planned is not None else "the number of cycles is not told")
        return "unknown", "unknown"
    percents = {one.number: one.percent for one in patient.cycles if one.day is None or one.day <= today}
    any_dose: list[Answer] = []
    full: list[Answer] = []
    for number in range(1, planned + 1):
        percent = percents.get(number)
        if percent is None:
            reasons.append(f"what was given of cycle {number} is not told")
            any_dose.append("unknown")
            full.append("unknown")
            continue
        any_dose.append("yes" if percent > 0 else "no")
        full.append("yes" if round(percent) >= 100 else "no")
        if round(percent) < 100:
            reasons.append(f"cycle {number} at {percent:g} %")
    return all_of(any_dose), all_of(full)
