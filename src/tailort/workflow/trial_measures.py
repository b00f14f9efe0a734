"""Quality of life, weight and other numbers of visits over time: by planned visit, and each patient against baseline.

Baseline is the last value before treatment began, or on its first day. Quartiles are as in
`tailort.cohort.summaries`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailort.cohort.patients import FollowedPatient, Visit
from tailort.cohort.summaries import NumberSummary, summarise_numbers
from tailort.errors import InputError
from tailort.workflow.trial_facts import by_pseudonym, days_in, number_of
from tailort.workflow.trial_visits import DONE, OUTSTANDING, VisitCalendar

WEIGHT, HEIGHT = "weight_kg", "height_cm"
BODY_MASS_INDEX, WEIGHT_LOSS = "body mass index", "weight loss"
BASELINE_MONTH = 0
_EXPECTED = frozenset((*DONE, *OUTSTANDING))


@dataclass(frozen=True)
class MonthSummary:
    """A number at one planned visit.

    Parameters
    ----------
    month : int
        Of the plan; 0 is the baseline.
    expected : int
        Patients who should have had it by now: those whose visit was made, is overdue or was missed.
    numbers : NumberSummary
        Of these patients; `missing` are those without a value.
    """

    month: int
    expected: int
    numbers: NumberSummary

    @property
    def complete_percent(self) -> float | None:
        """Part of the expected patients with a value; None where nobody was expected."""
        return 100 * self.numbers.known / self.expected if self.expected else None


@dataclass(frozen=True)
class PatientCourse:
    """A number of one patient.

    Parameters
    ----------
    pseudonym : str
        The patient.
    baseline : float or None
        Before treatment.
    by_month : mapping of int to float
        At planned visits.
    change : mapping of int to float
        From baseline; empty without one.
    """

    pseudonym: str
    baseline: float | None
    by_month: Mapping[int, float]
    change: Mapping[int, float]


@dataclass(frozen=True)
class MeasureOverTime:
    """A number over the planned visits of a trial: its name, its unit, a summary by month, and each patient."""

    name: str
    unit: str
    months: tuple[MonthSummary, ...]
    changes: tuple[MonthSummary, ...]
    patients: tuple[PatientCourse, ...]


def numeric_measures(patients: Sequence[FollowedPatient]) -> tuple[str, ...]:
    """Names of facts of visits that are numbers, by name."""
    return tuple(
        sorted(
            {
                name
                for patient in patients
                for visit in patient.visits
                for name, fact in visit.facts.items()
                if isinstance(fact.value, int | float) and not isinstance(fact.value, bool)
            }
        )
    )


def measures_over_time(
    calendar: VisitCalendar, patients: Sequence[FollowedPatient], *, course: str | None = None
) -> tuple[MeasureOverTime, ...]:
    """Follow every number of the visits, the weight with what follows from it first; as of `measure_over_time`."""
    names = numeric_measures(patients)
    if not names:
        return ()
    starts = _starts(calendar, patients, course)
    found = _nutrition(calendar, patients, starts) if WEIGHT in names else ()
    return (*found, *(_measure(calendar, patients, name, "", starts) for name in names if name != WEIGHT))


def measure_over_time(
    calendar: VisitCalendar,
    patients: Sequence[FollowedPatient],
    name: str,
    *,
    unit: str = "",
    course: str | None = None,
) -> MeasureOverTime:
    """Follow one number of the visits.

    Parameters
    ----------
    calendar : VisitCalendar
        Of the same patients.
    patients : sequence of FollowedPatient
        In any order.
    name : str
        Of the fact of visits.
    unit : str
        Told with it.
    course : str or None
        Name of the trial's course where patients have several.

    Raises
    ------
    InputError
        Where a value is no number, or patients and calendar are not the same.
    """
    return _measure(calendar, patients, name, unit, _starts(calendar, patients, course))


def nutrition(
    calendar: VisitCalendar, patients: Sequence[FollowedPatient], *, course: str | None = None
) -> tuple[MeasureOverTime, MeasureOverTime, MeasureOverTime]:
    """Weight (kg), body mass index (kg/m2) and weight loss from baseline (%; negative is a gain).

    The height is a fact of the patient; without it there is no index.
    """
    return _nutrition(calendar, patients, _starts(calendar, patients, course))


def _starts(
    calendar: VisitCalendar, patients: Sequence[FollowedPatient], course: str | None
) -> dict[str, dt.date | None]:
    """When treatment of each patient began."""
    ordered = by_pseudonym(patients)
    return {one.pseudonym: days_in(ordered, one, calendar.today, course).start for one in ordered}


def _measure(
    calendar: VisitCalendar,
    patients: Sequence[FollowedPatient],
    name: str,
    unit: str,
    starts: Mapping[str, dt.date | None],
) -> MeasureOverTime:
    values = {one.pseudonym: _values(one, name, calendar.today) for one in by_pseudonym(patients)}
    return _followed(calendar, patients, values, name, unit, starts)


def _nutrition(
    calendar: VisitCalendar, patients: Sequence[FollowedPatient], starts: Mapping[str, dt.date | None]
) -> tuple[MeasureOverTime, MeasureOverTime, MeasureOverTime]:
    ordered = by_pseudonym(patients)
    weights = {one.pseudonym: _values(one, WEIGHT, calendar.today) for one in ordered}
    for name, own in weights.items():
        if any(weight <= 0 for weight in own.values()):
            raise InputError(f"patient '{name}' weighs {min(own.values()):g} kg; expected a number above 0")
    index: dict[str, dict[dt.date, float]] = {}
    loss: dict[str, dict[dt.date, float]] = {}
    for one in ordered:
        height, own = number_of(one, HEIGHT), weights[one.pseudonym]
        if height is not None and height <= 0:
            raise InputError(f"patient '{one.pseudonym}' is {height:g} cm tall; expected a number above 0")
        index[one.pseudonym] = {} if height is None else {day: w / (height / 100) ** 2 for day, w in own.items()}
        before = _baseline(own, starts[one.pseudonym])
        loss[one.pseudonym] = {} if before is None else {day: 100 * (before - w) / before for day, w in own.items()}
    return (
        _followed(calendar, patients, weights, WEIGHT, "kg", starts),
        _followed(calendar, patients, index, BODY_MASS_INDEX, "kg/m2", starts),
        _followed(calendar, patients, loss, WEIGHT_LOSS, "%", starts),
    )


def _values(patient: FollowedPatient, name: str, today: dt.date) -> dict[dt.date, float]:
    """Values of one patient by day; of several on one day the table must tell one."""
    found: dict[dt.date, float] = {}
    for visit in patient.visits:
        value = _value(patient, visit, name)
        if value is not None and visit.day <= today and found.setdefault(visit.day, value) != value:
            raise InputError(
                f"patient '{patient.pseudonym}': '{name}' on {visit.day} is {found[visit.day]:g} and {value:g}"
            )
    return found


def _value(patient: FollowedPatient, visit: Visit, name: str) -> float | None:
    value = visit.facts[name].value if name in visit.facts else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(
            f"patient '{patient.pseudonym}': '{name}' on {visit.day} is '{value}'; expected a number, as it is "
            "followed over time"
        )
    return float(value)


def _baseline(values: Mapping[dt.date, float], start: dt.date | None) -> float | None:
    before = [day for day in values if start is not None and day <= start]
    return values[max(before)] if before else None


def _followed(
    calendar: VisitCalendar,
    patients: Sequence[FollowedPatient],
    values: Mapping[str, Mapping[dt.date, float]],
    name: str,
    unit: str,
    starts: Mapping[str, dt.date | None],
) -> MeasureOverTime:
    ordered = by_pseudonym(patients)
    if [one.pseudonym for one in ordered] != [one.pseudonym for one in calendar.patients]:
        raise InputError("the calendar of visits is of other patients; make it of these")
    rows: list[PatientCourse] = []
    expected: dict[int, list[float | None]] = {}
    changes: dict[int, list[float | None]] = {}
    for patient, own in zip(ordered, calendar.patients, strict=True):
        told = values[patient.pseudonym]
        start = starts[patient.pseudonym]
        baseline = _baseline(told, start)
        if start is not None:
            expected.setdefault(BASELINE_MONTH, []).append(baseline)
        by_month: dict[int, float] = {}
        for visit in own.planned:
            if visit.status not in _EXPECTED:
                continue
            days = [day for day in visit.days if day in told]
            if len(days) > 1:
                # A planned visit may have been made on several days: the value nearest to the planned one counts.
                days.sort(key=lambda day: (abs(day - visit.planned_day), day))
            value = told[days[0]] if days else None
            expected.setdefault(visit.month, []).append(value)
            changes.setdefault(visit.month, []).append(None if value is None or baseline is None else value - baseline)
            if value is not None:
                by_month[visit.month] = value
        change = {} if baseline is None else {month: value - baseline for month, value in by_month.items()}
        rows.append(PatientCourse(patient.pseudonym, baseline, by_month, change))
    return MeasureOverTime(name, unit, _summaries(expected), _summaries(changes), tuple(rows))


def _summaries(by_month: Mapping[int, Sequence[float | None]]) -> tuple[MonthSummary, ...]:
    return tuple(
        MonthSummary(month, len(by_month[month]), summarise_numbers(by_month[month])) for month in sorted(by_month)
    )
