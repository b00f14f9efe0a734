"""A protocol's course and follow-up as dates: fractions, drugs, new images, response, visits.

Fractions are counted from Monday to Friday, one a day. Holidays, breaks and delays are not known here: every date is
as planned, and moves with the day that it is counted from.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tailort.errors import InputError
from tailort.protocols.condition import months_later
from tailort.protocols.drugs import DrugEntry, RegimenEntry, SupportEntry
from tailort.protocols.regimen_days import RegimenDays, runs_of
from tailort.protocols.schedule import AdaptationEntry, FollowUpSection, SafetySection, visit_months
from tailort.protocols.schema import PrescriptionEntry
from tailort.protocols.scores.calendar_text import Event

START, END = "start of radiotherapy", "end of radiotherapy"
CHEMOTHERAPY = "start of chemotherapy"
AS_PLANNED = "one fraction a day from Monday to Friday, without holidays or breaks"
NO_ORDER = "No order; a clinician decides whether and how much."
_SATURDAY = 5


@dataclass(frozen=True)
class Appointment:
    """What is planned for a day, or for several in a row.

    Parameters
    ----------
    key : str
        Names it within the calendar; the same when only its day or its number of fractions changes.
    what : str
        In words.
    first_day, last_day : date
        Both included.
    text : str
        What else is to be known.
    rules : tuple of str
        Ids of the rules it rests on.
    """

    key: str
    what: str
    first_day: dt.date
    last_day: dt.date
    text: str = ""
    rules: tuple[str, ...] = ()

    def event(self) -> Event:
        """Return it as an event of a calendar file."""
        told = [self.text, f"Rules: {', '.join(self.rules)}" if self.rules else "", "As planned; for research only."]
        return Event(self.key, self.first_day, self.last_day, self.what, "\n".join(part for part in told if part))


def fraction_days(start: dt.date, fractions: int) -> tuple[dt.date, ...]:
    """Days of so many fractions, Monday to Friday.

    Parameters
    ----------
    start : date
        Of the first fraction.
    fractions : int
        At least 1.

    Raises
    ------
    InputError
        When there is no fraction, or the first is on a Saturday or Sunday.

    Examples
    --------
    >>> fraction_days(dt.date(2026, 1, 8), 3)[-1]
    datetime.date(2026, 1, 12)
    """
    if fractions < 1:
        raise InputError(f"{fractions} fractions are no course; expected 1 or more")
    if start.weekday() >= _SATURDAY:
        raise InputError(
            f"radiotherapy starts on {start.isoformat()}, a {start:%A}; fractions are given from Monday to Friday"
        )
    days: list[dt.date] = []
    day = start
    while len(days) < fractions:
        if day.weekday() < _SATURDAY:
            days.append(day)
        day += dt.timedelta(days=1)
    return tuple(days)


def phase_fractions(prescriptions: Sequence[PrescriptionEntry]) -> dict[int, int]:
    """Number of fractions of each phase, in the order of the phases."""
    return {
        n: next(p.fractions for p in prescriptions if p.phase == n) for n in sorted({p.phase for p in prescriptions})
    }


def fraction_of_course(prescriptions: Sequence[PrescriptionEntry], target: str, at_gy: float) -> int | None:
    """First fraction of the course after which a target has got a dose; None when it never does.

    Parameters
    ----------
    prescriptions : sequence of PrescriptionEntry
        Of all phases. A target that boosts another has got the dose of that one before.
    target : str
        Whose dose is counted.
    at_gy : float
        Physical dose to reach, Gy.
    """
    around = _around(prescriptions, target)
    given, count, asked = Fraction(0), 0, Fraction(str(at_gy))
    for phase, fractions in phase_fractions(prescriptions).items():
        of_phase = [p for p in prescriptions if p.phase == phase]
        own = next((p for name in around for p in of_phase if p.target == name), None)
        if own is not None:
            needed = math.ceil((asked - given) / own.dose_per_fraction_gy)
            if needed <= fractions:
                return count + needed
            given += own.dose_per_fraction_gy * fractions
        count += fractions
    return None


def fractions_of_course(prescriptions: Sequence[PrescriptionEntry], target: str) -> int:
    """Fractions in which a target gets dose by its own prescription or by that of a target it boosts, in all phases."""
    around = _around(prescriptions, target)
    return sum({p.phase: p.fractions for p in prescriptions if p.target in around}.values())


def _around(prescriptions: Sequence[PrescriptionEntry], target: str) -> list[str]:
    """A target and those that it boosts, the nearest first."""
    around = [target]
    for name in around:
        around.extend(p.boosts for p in prescriptions if p.target == name and p.boosts and p.boosts not in around)
    return around


def radiotherapy(prescriptions: Sequence[PrescriptionEntry], start: dt.date) -> tuple[Appointment, ...]:
    """Phases of the course as planned, each on the working day after the one before."""
    counts = phase_fractions(prescriptions)
    days = fraction_days(start, sum(counts.values()))
    found, done = [], 0
    for phase, fractions in counts.items():
        of_phase = [p for p in prescriptions if p.phase == phase]
        told = ", ".join(f"{p.target} {p.dose_gy:g} Gy" for p in of_phase)
        name = f"radiotherapy, phase {phase}" if len(counts) > 1 else "radiotherapy"
        rules = tuple(dict.fromkeys(rule for p in of_phase for rule in p.rules))
        found.append(
            Appointment(
                f"radiotherapy/{phase}",
                f"{name}: {fractions} fractions",
                days[done],
                days[done + fractions - 1],
                f"{told}; {AS_PLANNED}",
                rules,
            )
        )
        done += fractions
    return tuple(found)


def new_images(
    adaptations: Sequence[AdaptationEntry], prescriptions: Sequence[PrescriptionEntry], start: dt.date
) -> tuple[Appointment, ...]:
    """Images that are made during the course, on the day of the fraction with which the dose is reached."""
    days = fraction_days(start, sum(phase_fractions(prescriptions).values()))
    found = []
    for n, entry in enumerate(adaptations, start=1):
        fraction = fraction_of_course(prescriptions, entry.target, entry.at_gy)
        if fraction is not None:
            what = f"{entry.image} at fraction {fraction} ({entry.strength})"
            text = f"{entry.target} has got {entry.at_gy:g} Gy; {entry.then}"
            found.append(Appointment(f"image/{n}", what, days[fraction - 1], days[fraction - 1], text, entry.rules))
    return tuple(found)


def cycles(
    regimen: RegimenEntry, support: Sequence[SupportEntry], first_day: dt.date, count: int
) -> tuple[Appointment, ...]:
    """Days of a regimen's drugs and of what supports it.

    Parameters
    ----------
    regimen : RegimenEntry
        One with drugs of its own.
    support : sequence of SupportEntry
        Counted from the last drug of a cycle.
    first_day : date
        Day 1 of the first cycle.
    count : int
        Number of cycles.
    """
    assert regimen.cycle_days is not None  # a regimen with drugs has it
    found = []
    drugs = [*((drug.name, drug) for drug in regimen.drugs), *_choice(regimen.one_of)]
    last = max(drug.days[-1] for _, drug in drugs)
    for cycle in range(count):
        day_1 = first_day + dt.timedelta(days=cycle * regimen.cycle_days)
        for name, drug in drugs:
            for first, final in runs_of(drug.days):
                days = f"day {first}" if first == final else f"days {first}-{final}"
                found.append(
                    Appointment(
                        f"{regimen.id}/{cycle + 1}/{name}/{first}",
                        f"{regimen.setting} cycle {cycle + 1}, {days}: {name}",
                        day_1 + dt.timedelta(days=first - 1), day_1 + dt.timedelta(days=final - 1),
                        NO_ORDER, drug.rules,
                    )
                )  # fmt: skip
        for entry in support:
            day = day_1 + dt.timedelta(days=last - 1 + math.ceil(entry.hours_after_chemotherapy / 24))
            told = f"{entry.hours_after_chemotherapy:g} h after the last drug of the cycle"
            found.append(
                Appointment(
                    f"{regimen.id}/{cycle + 1}/{entry.name}",
                    f"{regimen.setting} cycle {cycle + 1}: {entry.name} ({entry.strength})",
                    day,
                    day,
                    told,
                    entry.rules,
                )
            )
    return tuple(found)


def after_induction(
    days: RegimenDays, settings: Mapping[str, str], regimen: str, first_day: dt.date
) -> tuple[Appointment, ...]:
    """Days of a regimen that comes after induction, of the induction, and of what supports them.

    Parameters
    ----------
    days : RegimenDays
        Of the regimen and of the one before it.
    settings : dict of str
        Setting of each regimen by id.
    regimen : str
        Id of the one that begins on `first_day`.
    first_day : date
        Its first day.
    """
    day_0 = first_day - dt.timedelta(days=days.starts[regimen])
    found = []
    for one in days.drugs:
        several = one.first_day != one.last_day
        told = f"days {one.first_day}-{one.last_day}" if several else f"day {one.first_day}"
        name = one.drug if one.infusion_hours is None else f"{one.drug} over {one.infusion_hours:g} hours"
        cycle = "" if one.cycle is None else f" cycle {one.cycle}"
        found.append(
            Appointment(
                f"{one.regimen}/{one.cycle or 'support'}/{one.drug}/{one.first_day}",
                f"{settings[one.regimen]}{cycle}, {told}: {name}",
                day_0 + dt.timedelta(days=one.first_day),
                day_0 + dt.timedelta(days=one.last_day),
                NO_ORDER,
                one.rules,
            )
        )
    return tuple(found)


def serious_event(safety: SafetySection, noticed: dt.date) -> Appointment:
    """Until when a serious adverse event is reported; the hours count from when it was noticed."""
    text = f"Within {safety.within_hours:g} hours after it was noticed on {noticed}."
    last = noticed + dt.timedelta(days=math.ceil(safety.within_hours / 24))
    return Appointment(
        "serious-event",
        f"report the serious adverse event to the {safety.report_to}",
        noticed,
        last,
        text,
        safety.rules,
    )


def visits(follow_up: FollowUpSection, counted_from: dt.date, until_month: int) -> tuple[Appointment, ...]:
    """Visits after treatment, and when response is judged, in calendar months from one day.

    A month too short for the day has the visit on its last day (G-06).
    """
    always = [entry.what for entry in follow_up.at_each_visit if entry.strength == "always"]
    if_needed = [entry.what for entry in follow_up.at_each_visit if entry.strength == "if-needed"]
    text = "; ".join([*always, *(f"if needed: {what}" for what in if_needed)])
    at_visit = tuple(dict.fromkeys(rule for entry in follow_up.at_each_visit for rule in entry.rules))
    found = []
    response = follow_up.response
    if response is not None:
        first, last = (_months_later(counted_from, month) for month in (response.from_month, response.to_month))
        found.append(Appointment("response", f"response by {response.criteria}", first, last, "", response.rules))
    for month in visit_months(follow_up, until_month):
        day = months_later(counted_from, month)
        own = next(v for v in follow_up.visits if v.from_month <= month and (v.to_month is None or month <= v.to_month))
        rules = tuple(dict.fromkeys((*own.rules, *follow_up.rules, *at_visit)))
        found.append(Appointment(f"follow-up/{month}", f"follow-up, month {month}", day, day, text, rules))
    return tuple(found)


def _months_later(day: dt.date, months: float) -> dt.date:
    if months != int(months):
        raise InputError(f"{months:g} months have no date: months are calendar months; give a whole number")
    return months_later(day, int(months))


def _choice(drugs: Sequence[DrugEntry]) -> list[tuple[str, DrugEntry]]:
    """Drugs of which one is given: one entry where all have the same days."""
    if drugs and len({drug.days for drug in drugs}) == 1:
        rules = tuple(dict.fromkeys(rule for drug in drugs for rule in drug.rules))
        return [(" or ".join(drug.name for drug in drugs), drugs[0].model_copy(update={"rules": rules}))]
    others = {drug.name: [one.name for one in drugs if one is not drug] for drug in drugs}
    return [(f"{drug.name} (unless {' or '.join(others[drug.name])} is given)", drug) for drug in drugs]
