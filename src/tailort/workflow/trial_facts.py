"""What running a trial asks of one patient: days that things are counted from, and until when somebody is followed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tailort.cohort.patients import CourseGiven, FollowedPatient, Patients, distinct
from tailort.cohort.summaries import group_of
from tailort.errors import InputError
from tailort.protocols.course_dates import END, START
from tailort.protocols.records.table import AbsentFact

DEATH, WITHDRAWAL, LAST_SEEN = "death_date", "withdrawal_date", "last_follow_up_date"
PROGRESSION, CENTRE, ARM = "progression_date", "centre", "irradiation"
STARTS = ("salvage_start_date", "sbrt_start_date")
"""Facts that tell when treatment began, as it was given."""
PLANNED_STARTS = ("radiotherapy_start_date", "chemotherapy_start_date")
"""Facts that may be planned days as well; they count where nothing else tells it."""
RADIOTHERAPY_END = "radiotherapy_end_date"


@dataclass(frozen=True)
class TrialDays:
    """Days of one patient as they are known at one day.

    Parameters
    ----------
    start : date or None
        First day of treatment: of radiotherapy or of chemotherapy, whichever came first, as given; as planned where
        only that is told.
    radiotherapy_start, radiotherapy_end : date or None
        First and last fraction.
    ended : date or None
        Day of death or of withdrawal, whichever came first.
    ended_by : {"died", "withdrawn", ""}
        Which of them.
    end_unknown : bool
        Whether the patient has died or withdrawn on a day that nobody knows.
    """

    start: dt.date | None
    radiotherapy_start: dt.date | None
    radiotherapy_end: dt.date | None
    ended: dt.date | None
    ended_by: str
    end_unknown: bool

    def counted_from(self, words: str) -> dt.date | None:
        """Day of what a protocol counts from; None where it is not known, or the words are not known here."""
        return {START: self.radiotherapy_start, END: self.radiotherapy_end}.get(words)


def by_pseudonym(patients: Sequence[FollowedPatient]) -> Patients:
    """Patients in the order of their pseudonyms.

    Raises
    ------
    InputError
        Where a pseudonym is there twice.
    """
    if isinstance(patients, Patients) and patients.are_in_order:
        return patients
    names = [patient.pseudonym for patient in patients]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"patient '{twice[0]}' is there {names.count(twice[0])} times; each pseudonym stands for one")
    return Patients(sorted(patients, key=lambda patient: patient.pseudonym))


def trial_course(patient: FollowedPatient, course: str | None) -> CourseGiven | None:
    """The patient's course of the trial: the one of this name, or without a name the only one.

    Raises
    ------
    InputError
        Where no name is given and there are several, or several have the name.
    """
    found = [one for one in patient.courses if course is None or one.name == course]
    if len(found) > 1:
        names = ", ".join(f"'{one.name}'" for one in found)
        raise InputError(
            f"patient '{patient.pseudonym}' has {len(found)} courses ({names}); name the one of the trial, each once"
        )
    return found[0] if found else None


def day_of(patient: FollowedPatient, name: str) -> dt.date | None:
    """Day that a fact tells; None where it is not told.

    Raises
    ------
    InputError
        Where it is something else.
    """
    value = patient.facts[name].value if name in patient.facts else None
    if value is None or isinstance(value, dt.date):
        return value
    raise InputError(f"patient '{patient.pseudonym}': '{name}' is '{value}'; expected a date such as 2026-01-31")


def number_of(patient: FollowedPatient, name: str) -> float | None:
    """Number that a fact tells once a patient; None where it is not told."""
    value = patient.facts[name].value if name in patient.facts else None
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise InputError(f"patient '{patient.pseudonym}': '{name}' is '{value}'; expected a number")


def truth_of(patient: FollowedPatient, name: str) -> bool | None:
    """Yes or no as a fact tells it once a patient; None where it is not told."""
    value = patient.facts[name].value if name in patient.facts else None
    if value is None or isinstance(value, bool):
        return value
    raise InputError(f"patient '{patient.pseudonym}': '{name}' is '{value}'; expected yes or no")


def happened(patient: FollowedPatient, name: str) -> bool | None:
    """Whether an event with a day of its own has happened.

    An empty cell is an event that has not happened up to the last follow-up; a code stands for a day that nobody
    knows, and a column that is not there for a question that nobody asked: both are None.
    """
    if name not in patient.facts:
        return None
    fact = patient.facts[name]
    if fact.value is not None:
        return True
    if not isinstance(fact, AbsentFact):
        return None
    return False if not fact.code or fact.absence == "not applicable" else None


def group_name(patient: FollowedPatient, name: str) -> str:
    """A fact as the name of a group of patients; "not told" where it is not."""
    value = patient.facts[name].value if name in patient.facts else None
    return group_of(name, value) or "not told"


def group_names(patients: Sequence[FollowedPatient], name: str) -> list[str]:
    """As `group_name`, of each patient."""
    told = distinct(patients, name)
    return told.spread([group_of(name, None if fact is None else fact.value) or "not told" for fact in told.facts])


def days_of(patient: FollowedPatient, today: dt.date, course: str | None = None) -> TrialDays:
    """Days of one patient; what is dated after `today` is not known yet.

    Parameters
    ----------
    patient : FollowedPatient
        Of the trial.
    today : date
        Cut-off.
    course : str or None
        Name of the trial's course where there are several.

    Raises
    ------
    InputError
        Where the days contradict each other, or something took place after death.
    """
    own = trial_course(patient, course)
    given = _first([own.first_day if own else None, day_of(patient, STARTS[1])], today)
    began = given or _first([day_of(patient, PLANNED_STARTS[0])], today)
    ended = _first([day_of(patient, RADIOTHERAPY_END)], today)
    if ended is None and own is not None:
        ended = _first([own.last_day], today)
    if began is not None and ended is not None and ended < began:
        raise InputError(f"patient '{patient.pseudonym}': radiotherapy ends on {ended}, before it starts on {began}")
    cycles = [one.day for one in patient.cycles if one.percent != 0]
    start = _first([given, *(day_of(patient, name) for name in STARTS), *cycles], today)
    start = start or _first([day_of(patient, name) for name in PLANNED_STARTS], today)
    death, withdrawal = day_of(patient, DEATH), day_of(patient, WITHDRAWAL)
    if death is not None:
        _none_after_death(patient, death, own)
    last = _first([death, withdrawal], today)
    unknown = any(_day_unknown(patient, name) for name in (DEATH, WITHDRAWAL))
    return TrialDays(
        start, began, ended, last, "" if last is None else "died" if last == death else "withdrawn", unknown
    )


def days_in(
    patients: Sequence[FollowedPatient], patient: FollowedPatient, today: dt.date, course: str | None = None
) -> TrialDays:
    """As `days_of` one of these patients; what was found once is kept with them."""
    if not isinstance(patients, Patients):
        return days_of(patient, today, course)
    key = ("days", patient.pseudonym, today, course)
    if key not in patients.kept:
        patients.kept[key] = days_of(patient, today, course)
    found: TrialDays = patients.kept[key]
    return found


def _day_unknown(patient: FollowedPatient, name: str) -> bool:
    fact = patient.facts.get(name)
    return isinstance(fact, AbsentFact) and bool(fact.code) and fact.absence != "not applicable"


def _none_after_death(patient: FollowedPatient, death: dt.date, course: CourseGiven | None) -> None:
    for what, day in _days_alive(patient, course):
        if day is not None and day > death:
            raise InputError(
                f"patient '{patient.pseudonym}' died on {death}, but {what} is dated {day}; correct the table"
            )


def _days_alive(patient: FollowedPatient, course: CourseGiven | None) -> Iterator[tuple[str, dt.date | None]]:
    """Days on which a patient was alive, and what tells it."""
    for visit in patient.visits:
        yield "a visit", visit.day
    for lesion in patient.lesions:
        yield "an examination of lesions", lesion.day
    for event in patient.adverse_events:
        yield "an adverse event", event.day
    for cycle in patient.cycles:
        if cycle.percent != 0:
            yield f"cycle {cycle.number}", cycle.day
    for name in (*STARTS, RADIOTHERAPY_END, PROGRESSION, LAST_SEEN):
        yield name, day_of(patient, name)
    if course is not None:
        yield "the first fraction", course.first_day
        yield "the last fraction", course.last_day


def _first(days: Iterable[dt.date | None], today: dt.date) -> dt.date | None:
    first: dt.date | None = None
    for day in days:
        if day is not None and day <= today and (first is None or day < first):
            first = day
    return first
