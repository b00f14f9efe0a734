"""The calendar of visits against what was done: what is done, due, overdue or missed, and which examinations were made.

No protocol here prints by how many days a visit may be early or late, nor until when a late one can be made up. What is
taken instead, and told with every calendar:

- a visit belongs to the planned one that the table names, or else to the nearest by its day (half-way rule); from half
  way to the next planned visit on, one that was not made is missed;
- without `window_days` nothing is called early or late: the days off are told, and a visit is overdue from the day
  after the planned one.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from tailort.cohort.patients import FollowedPatient, Visit
from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols import Protocol
from tailort.protocols.condition import months_later
from tailort.protocols.records.table import AbsentFact
from tailort.protocols.schedule import FollowUpSection, visit_months
from tailort.workflow.trial_facts import TrialDays, by_pseudonym, days_in

Status = Literal[
    "done", "done early", "done late", "due", "overdue", "missed", "upcoming", "not due: died", "not due: withdrawn",
    "unknown",
]  # fmt: skip
DONE: tuple[Status, ...] = ("done", "done early", "done late")
OUTSTANDING: tuple[Status, ...] = ("overdue", "missed")
Made = Literal["yes", "no", "not told"]
MADE: tuple[Made, ...] = ("yes", "no", "not told")

HALF_WAY = (
    "The protocol prints no window of visits: a visit belongs to the planned one that the table names, or else to the "
    "nearest by its day; one that was not made is missed from half way to the next planned visit on (convention)."
)
NO_WINDOW = (
    "No window was given: no visit is called early or late, and one is overdue from the day after it was planned."
)
_LONGEST_FOLLOW_UP_MONTHS = 1200


@dataclass(frozen=True)
class ExaminationMade:
    """One examination that the protocol asks for at a visit.

    Parameters
    ----------
    what : str
        In the protocol's words.
    strength : {"always", "if-needed"}
        Whether it belongs to every visit; of "if-needed" nothing is missing.
    made : {"yes", "no", "not told"}
        By the table.
    """

    what: str
    strength: str
    made: Made


@dataclass(frozen=True)
class PlannedVisit:
    """One visit of the plan and what became of it.

    Parameters
    ----------
    month : int
        Of the plan.
    planned_day : date
        In calendar months from what the protocol counts from; a month too short has it on its last day.
    status : Status
        At the day of the calendar. "due" has time left, "overdue" can still be made up, "missed" cannot.
    day : date or None
        When it was made: of several the day nearest to the planned one.
    days_off : int or None
        Days after the planned one; negative before. Of an overdue visit days up to the day of the calendar.
    days : tuple of date
        All days on which it was made.
    examinations : tuple of ExaminationMade
        Of a visit that was made.
    rules : tuple of str
        Ids of its rules.
    """

    month: int
    planned_day: dt.date
    status: Status
    day: dt.date | None
    days_off: int | None
    days: tuple[dt.date, ...] = ()
    examinations: tuple[ExaminationMade, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def not_made(self) -> tuple[str, ...]:
        """Examinations of every visit that were not made here, or of which that is not told."""
        return tuple(one.what for one in self.examinations if one.strength == "always" and one.made != "yes")


@dataclass(frozen=True)
class PatientVisits:
    """Visits of one patient.

    Parameters
    ----------
    pseudonym : str
        The patient.
    counted_from : date or None
        Day from which months count; None is unknown, and then there is no plan.
    planned : tuple of PlannedVisit
        Up to the day of the calendar, and the next one.
    others : tuple of date
        Visits that belong to no planned one.
    notes : tuple of str
        What a reader must know.
    """

    pseudonym: str
    counted_from: dt.date | None
    planned: tuple[PlannedVisit, ...]
    others: tuple[dt.date, ...]
    notes: tuple[str, ...]

    @property
    def outstanding(self) -> int:
        """Visits that should have been made and were not: overdue and missed."""
        return sum(one.status in OUTSTANDING for one in self.planned)


@dataclass(frozen=True)
class VisitCalendar:
    """Visits of a trial at one day.

    Parameters
    ----------
    today : date
        Cut-off; what is dated later is not looked at.
    counted_from : str
        What months count from, in the protocol's words.
    window_days : int or None
        By how many days a visit may be early or late; None was not given.
    patients : tuple of PatientVisits
        By pseudonym.
    readings : tuple of str
        Conventions that were taken.
    """

    today: dt.date
    counted_from: str
    window_days: int | None
    patients: tuple[PatientVisits, ...]
    readings: tuple[str, ...]

    @property
    def outstanding(self) -> int:
        """Visits of all patients that should have been made and were not."""
        return sum(one.outstanding for one in self.patients)

    def counted(self) -> dict[str, int]:
        """Number of planned visits by status, of all patients."""
        found: dict[str, int] = {}
        for patient in self.patients:
            for one in patient.planned:
                found[one.status] = found.get(one.status, 0) + 1
        return found


@dataclass(frozen=True)
class _Plan:
    """What is the same for all patients: names of facts of each examination, months with their rules."""

    follow_up: FollowUpSection
    today: dt.date
    window_days: int | None
    examinations: tuple[tuple[frozenset[str], Mapping[Made, ExaminationMade]], ...]
    months: tuple[int, ...]
    rules: Mapping[int, tuple[str, ...]]
    # Most visits tell of the same examinations.
    kept: dict[frozenset[tuple[str, Made]], tuple[ExaminationMade, ...]] = field(default_factory=dict)

    def made(self, told: frozenset[tuple[str, Made]]) -> tuple[ExaminationMade, ...]:
        """Examinations of a visit by what its facts tell."""
        if told not in self.kept:
            names: dict[Made, set[str]] = {made: set() for made in MADE}
            for name, made in told:
                names[made].add(name.casefold())
            self.kept[told] = tuple(answers[_made(names, own)] for own, answers in self.examinations)
        return self.kept[told]


@dataclass(frozen=True)
class _Span:
    """One planned visit with the days that belong to it."""

    month: int
    planned: dt.date
    first: dt.date
    last: dt.date
    visits: list[Visit] = field(default_factory=list)


def visit_calendar(
    protocol: Protocol,
    patients: Sequence[FollowedPatient],
    today: dt.date,
    *,
    window_days: int | None = None,
    examinations: Mapping[str, Sequence[str]] | None = None,
    course: str | None = None,
) -> VisitCalendar:
    """Hold the visits of a trial against its protocol.

    Parameters
    ----------
    protocol : Protocol
        With a follow-up.
    patients : sequence of FollowedPatient
        In any order.
    today : date
        Cut-off.
    window_days : int or None
        By how many days a visit may be early or late, as a trial's manual tells it. No protocol here does.
    examinations : mapping of str to sequence of str, optional
        Names of facts of a visit by which an examination of the protocol is known; one that is not here goes by the
        protocol's own words.
    course : str or None
        Name of the trial's course where patients have several.

    Raises
    ------
    InputError
        Where the protocol has no follow-up, a window reaches half way to the next visit, an examination is none of the
        protocol's, or something took place after death.
    """
    follow_up = protocol.file.follow_up
    if follow_up is None:
        raise InputError(f"protocol '{protocol.file.id}' tells no follow-up; there is no calendar of visits")
    known = {entry.what for entry in follow_up.at_each_visit}
    for what in examinations or {}:
        if what not in known:
            raise InputError(
                f"protocol '{protocol.file.id}' asks for no '{what}' at a visit; it asks for {'; '.join(sorted(known))}"
            )
    months = visit_months(follow_up, _LONGEST_FOLLOW_UP_MONTHS)
    shortest = min(b - a for a, b in pairwise((0, *months)))
    if window_days is not None and not 0 <= window_days <= shortest * 14:
        raise InputError(
            f"a window of {window_days} days is none: expected 0 to {shortest * 14} days, as visits are {shortest} "
            "months apart"
        )
    named = {what: frozenset(name.casefold() for name in (examinations or {}).get(what, (what,))) for what in known}
    asked = tuple(
        (named[entry.what], {made: ExaminationMade(entry.what, entry.strength, made) for made in MADE})
        for entry in follow_up.at_each_visit
    )
    rules = {month: _rules(follow_up, month) for month in months}
    plan = _Plan(follow_up, today, window_days, asked, tuple(months), rules)
    ordered = by_pseudonym(patients)
    found = tuple(_patient(one, days_in(ordered, one, today, course), plan) for one in ordered)
    readings = (HALF_WAY,) if window_days is not None else (HALF_WAY, NO_WINDOW)
    return VisitCalendar(today, follow_up.counted_from, window_days, found, readings)


def _rules(follow_up: FollowUpSection, month: int) -> tuple[str, ...]:
    own = next(v for v in follow_up.visits if v.from_month <= month and (v.to_month is None or month <= v.to_month))
    return tuple(dict.fromkeys((*own.rules, *follow_up.rules)))


def _patient(patient: FollowedPatient, days: TrialDays, plan: _Plan) -> PatientVisits:
    today, follow_up = plan.today, plan.follow_up
    visits = sorted((visit for visit in patient.visits if visit.day <= today), key=lambda v: (v.day, v.month or 0))
    notes = []
    if len(visits) < len(patient.visits):
        notes.append(f"{len(patient.visits) - len(visits)} visits dated after {today} are not looked at")
    origin = days.counted_from(follow_up.counted_from)
    if origin is None:
        notes.append(f"the day of '{follow_up.counted_from}' is not known: no visit has a date")
        return PatientVisits(patient.pseudonym, None, (), tuple(visit.day for visit in visits), tuple(notes))
    spans = _spans(plan.months, origin, today)
    others: list[dt.date] = []
    for visit in visits:
        nearest = next((one for one in spans if one.first <= visit.day <= one.last), None)
        named = nearest if visit.month is None else next((one for one in spans if one.month == visit.month), None)
        if named is None:
            others.append(visit.day)
            if visit.month:
                notes.append(
                    f"the visit of {visit.day} is called month {visit.month}, which is none of the plan by {today}"
                )
        else:
            named.visits.append(visit)
            if named is not nearest:
                notes.append(
                    f"the visit of {visit.day} counts as month {named.month} as the table says, though it is not the "
                    "nearest"
                )
    if days.end_unknown:
        notes.append("died or withdrew on a day that is not known: whether a visit is outstanding is not known either")
    if days.ended_by == "withdrawn" and any(visit.day > days.ended for visit in visits if days.ended):
        notes.append(f"was seen after the withdrawal on {days.ended}")
    planned = tuple(_judged(one, days, plan) for one in spans)
    return PatientVisits(patient.pseudonym, origin, planned, tuple(others), tuple(notes))


def _spans(months: tuple[int, ...], origin: dt.date, today: dt.date) -> list[_Span]:
    """Visits up to today and the next one, each with the days that are nearer to it than to any other."""
    return [_Span(*days) for days in _days_of_spans(months, origin, today)]


@lru_cache(maxsize=4096)
def _days_of_spans(
    months: tuple[int, ...], origin: dt.date, today: dt.date
) -> tuple[tuple[int, dt.date, dt.date, dt.date], ...]:
    """Month, planned, first and last day: the same for all who began on one day."""
    reached = (today.year - origin.year) * 12 + today.month - origin.month
    count = bisect_right(months, reached) + 1
    days = [origin, *(months_later(origin, month) for month in months[: count + 1])]
    if len(months) <= count:
        # After the last visit of all as long as before it.
        days.append(days[-1] + (days[-1] - days[-2]))
    found = []
    for n, month in enumerate(months[:count], start=1):
        first = days[n - 1] + (days[n] - days[n - 1]) // 2 + dt.timedelta(days=1)
        last = days[n] + (days[n + 1] - days[n]) // 2
        found.append((month, days[n], first, last))
        if days[n] > today:
            break
    return tuple(found)


def _judged(span: _Span, days: TrialDays, plan: _Plan) -> PlannedVisit:
    today, window_days, rules = plan.today, plan.window_days, plan.rules[span.month]
    if span.visits:
        nearest = min(span.visits, key=lambda visit: (abs(visit.day - span.planned), visit.day))
        off = (nearest.day - span.planned).days
        status: Status = "done"
        if window_days is not None and abs(off) > window_days:
            status = "done early" if off < 0 else "done late"
        made = plan.made(frozenset((name, _one(fact)) for visit in span.visits for name, fact in visit.facts.items()))
        return PlannedVisit(
            span.month, span.planned, status, nearest.day, off, tuple(v.day for v in span.visits), made, rules
        )
    allowed_until = span.planned + dt.timedelta(days=window_days or 0)
    if days.ended is not None and days.ended <= allowed_until:
        # Whoever died while there was still time for the visit owes none.
        status = "not due: died" if days.ended_by == "died" else "not due: withdrawn"
    elif span.planned > today:
        status = "upcoming"
    elif today <= allowed_until:
        status = "due"
    elif days.end_unknown:
        status = "unknown"
    else:
        status = "overdue" if min(today, days.ended or today) <= span.last and days.ended is None else "missed"
    late = (today - span.planned).days if status == "overdue" else None
    return PlannedVisit(span.month, span.planned, status, None, late, rules=rules)


def _made(told: Mapping[Made, set[str]], names: frozenset[str]) -> Made:
    """Whether any of these facts was found at a visit: what has a value was examined."""
    return next((made for made in MADE if not names.isdisjoint(told[made])), "not told")


def _one(fact: Fact) -> Made:
    if fact.value is None:
        return "no" if isinstance(fact, AbsentFact) and fact.absence == "not done" else "not told"
    return "no" if fact.value is False else "yes"
