"""Days of treatment and follow-up as dates: visits, drugs, infusions, growth factors.

| rule | what | mark |
|---|---|---|
| MS-80 | two cycles, every 3 weeks; the platinum on days 1 and 2 | seed |
| MS-84 | PEG-rhG-CSF 48 h after chemotherapy | seed |
| MS-100 | response within 1 to 2 months after treatment | seed |
| MS-101 | every 3 months in years 1-2, every 6 in years 3-5, then yearly | seed |
| RT-60 | arm 1: from day 29 of the last cycle 96-h 5-FU, weekly paclitaxel; G-CSF days 6-15 and 34-42 | seed |
| RT-61 | arm 2: from day 29 of the last cycle 96-h paclitaxel, weekly cisplatin; no routine G-CSF | seed |
| G-06 | months are calendar months | derived |

Day 1 of a cycle is its first day, so day 29 is 28 days later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

from tailort.errors import InputError
from tailort.protocols.scores.basis import Cited, ReadingTaken, one_of
from tailort.protocols.scores.calendar_text import Event
from tailort.protocols.scores.months import add_months

Arm = Literal["1", "2"]

_MOD = "modularised salvage chemoradiation, NCT03731442"
_RTOG = "RTOG technique, E-0113"
_CHEMORADIATION_DAY = 29
_INFUSION_DAYS = 4  # 96 hours
_GCSF_DAYS = ((6, 15), (34, 42))
_MOST_INDUCTION_CYCLES = 2
_CYCLE_DAYS = 21
_LAST_REGULAR_MONTH = 60


@dataclass(frozen=True)
class Days:
    """What is on a day or on several days in a row.

    Parameters
    ----------
    what : str
        In words.
    first_day, last_day : date
        Both included.
    rule : str
        Id of the rule.
    """

    what: str
    first_day: date
    last_day: date
    rule: str

    def __post_init__(self) -> None:
        if self.last_day < self.first_day:
            raise InputError(f"'{self.what}' ends on {self.last_day}, before it begins on {self.first_day}")


@dataclass(frozen=True)
class CalendarAnswer:
    """Days of a calendar.

    Parameters
    ----------
    days : tuple of Days
        By date.
    open_days : tuple of Days
        What is on these days only by a reading that is not taken, or by one of several of which none is taken.
    flags : tuple of str
        What a clinician must see.
    missing : tuple of str
        What is unknown, and hence not in the calendar.
    readings : tuple of ReadingTaken
        Readings that took part.
    cited : tuple of Cited
        Rules that took part.
    """

    days: tuple[Days, ...]
    open_days: tuple[Days, ...]
    flags: tuple[str, ...]
    missing: tuple[str, ...]
    readings: tuple[ReadingTaken, ...]
    cited: tuple[Cited, ...]


def cycle_day(first_day: date, day: int) -> date:
    """Date of a day of a cycle, of which day 1 is the first.

    Raises
    ------
    InputError
        When `day` is below 1.

    Examples
    --------
    >>> cycle_day(date(2026, 1, 1), 29)
    datetime.date(2026, 1, 29)
    """
    if day < 1:
        raise InputError(f"day {day} of a cycle does not exist; the first is day 1")
    return first_day + timedelta(days=day - 1)


def follow_up_months(until_month: int) -> tuple[int, ...]:
    """Months of the salvage protocol's visits, up to one month (MS-101).

    Raises
    ------
    InputError
        When `until_month` is negative.

    Examples
    --------
    >>> len(follow_up_months(60))
    14
    """
    if until_month < 0:
        raise InputError(f"visits until month {until_month} are none; expected 0 or more")
    months = (*range(3, 25, 3), *range(30, _LAST_REGULAR_MONTH + 1, 6), *range(72, until_month + 1, 12))
    return tuple(month for month in months if month <= until_month)


def follow_up(start: date | None, counted_from: str, until_month: int) -> CalendarAnswer:
    """Visits of the salvage protocol as dates.

    Parameters
    ----------
    start : date or None
        The day that months are counted from; None is unknown.
    counted_from : str
        What that day is, such as "end of radiotherapy"; the text does not say.
    until_month : int
        Last month that is wanted.

    Raises
    ------
    InputError
        When `until_month` is negative or `counted_from` is empty.
    """
    if not counted_from:
        raise InputError("follow-up needs to know what its months are counted from")
    months = follow_up_months(until_month)
    cited = (Cited("MS-101", "seed", _MOD), Cited("G-06", "derived", "protocols, general rules"))
    if start is None:
        return CalendarAnswer((), (), (), (counted_from,), (), cited)
    readings = [
        ReadingTaken("MS-101", f"months from {counted_from}", ("from another day, which the text does not name",))
    ]
    short = [month for month in months if add_months(start, month).day != start.day]
    if short:
        readings.append(
            ReadingTaken(
                "G-06",
                "in a month too short for the day, its last day: month " + ", ".join(map(str, short)),
                ("the first day of the next month",),
            )
        )
    days = tuple(
        Days(f"follow-up, month {month}", day, day, "MS-101")
        for month, day in ((month, add_months(start, month)) for month in months)
    )
    return CalendarAnswer(days, (), (), (), tuple(readings), cited)


def response_window(end_of_treatment: date) -> Days:
    """When response is judged: from 1 to 2 calendar months after treatment (MS-100)."""
    first, last = add_months(end_of_treatment, 1), add_months(end_of_treatment, 2)
    return Days("response by RECIST 1.1", first, last, "MS-100")


def salvage_drug_days(first_day: date | None, cycles: int) -> CalendarAnswer:
    """Days of the salvage protocol's drugs, as planned; None is unknown.

    Parameters
    ----------
    first_day : date or None
        Day 1 of the first cycle.
    cycles : {2, 4}
        2 concurrent cycles; 2 or 4 of consolidation.

    Raises
    ------
    InputError
        When another number of cycles is asked for.
    """
    if cycles not in (2, 4):
        raise InputError(f"{cycles} cycles were asked for; the protocol has 2, or 4 of consolidation")
    cited = (Cited("MS-80", "seed", _MOD), Cited("MS-84", "seed", _MOD))
    if first_day is None:
        return CalendarAnswer((), (), (), ("first_day",), (), cited)
    days: list[Days] = []
    for cycle in range(cycles):
        day_1 = first_day + timedelta(days=cycle * _CYCLE_DAYS)
        days.append(Days(f"cycle {cycle + 1}, paclitaxel", day_1, day_1, "MS-80"))
        days.append(Days(f"cycle {cycle + 1}, platinum", day_1, cycle_day(day_1, 2), "MS-80"))
        growth = cycle_day(day_1, 4)
        days.append(Days(f"cycle {cycle + 1}, PEG-rhG-CSF recommended", growth, growth, "MS-84"))
    reading = ReadingTaken("MS-84", "48 h after the last drug, day 4", ("48 h after the first drug, day 3",))
    return CalendarAnswer(tuple(days), (), (), (), (reading,), cited)


def e0113_drug_days(arm: Arm, induction_days: Sequence[date], last_fraction: date | None) -> CalendarAnswer:
    """Days of E-0113's drugs that the text prints; doses are not (RT-62) and are never calculated.

    Parameters
    ----------
    arm : {"1", "2"}
        Of the study.
    induction_days : sequence of date
        First day of each induction cycle that is given, one or two; empty is unknown.
    last_fraction : date or None
        Last day of radiotherapy, until which the weekly drug is given; None is unknown.

    Returns
    -------
    CalendarAnswer
        `open_days` has what the text leaves open: further infusions week by week, and G-CSF counted from the last
        cycle.

    Raises
    ------
    InputError
        When there are more cycles than two, they do not follow each other, or radiotherapy ends before day 29.
    """
    one_of(arm, get_args(Arm), "the arm")
    rule = "RT-60" if arm == "1" else "RT-61"
    infused, weekly = ("5-fluorouracil", "paclitaxel") if arm == "1" else ("paclitaxel", "cisplatin")
    cited = (Cited(rule, "seed", _RTOG),)
    if not induction_days:
        return CalendarAnswer((), (), (), ("induction_days",), (), cited)
    if len(induction_days) > _MOST_INDUCTION_CYCLES:
        raise InputError(f"{len(induction_days)} induction cycles were given; {rule} has up to 2")
    if list(induction_days) != sorted(set(induction_days)):
        raise InputError("the first days of the induction cycles must ascend, none twice")
    chemoradiation = cycle_day(induction_days[-1], _CHEMORADIATION_DAY)
    if last_fraction is not None and last_fraction < chemoradiation:
        raise InputError(
            f"radiotherapy ends on {last_fraction}, before day 29 of the last cycle, {chemoradiation}, when it begins"
        )
    days = [Days(f"induction cycle {n}, day 1", day, day, rule) for n, day in enumerate(induction_days, start=1)]
    days.append(_infusion(infused, chemoradiation, rule))
    open_days: list[Days] = []
    missing: tuple[str, ...] = ()
    if last_fraction is None:
        missing = ("last_fraction",)
    else:
        for week in range((last_fraction - chemoradiation).days // 7 + 1):
            day = chemoradiation + timedelta(days=7 * week)
            days.append(Days(f"weekly {weekly}", day, day, rule))
            if week:
                open_days.append(_infusion(infused, day, rule))
    readings = [
        ReadingTaken(rule, "one 96-hour infusion, days 29 to 32 and to the same hour of day 33", ("one every week",))
    ]
    flags: tuple[str, ...] = ()
    if arm == "1":
        windows = _gcsf(induction_days[0])
        days.extend(windows)
        if len(induction_days) > 1:
            open_days.extend(_gcsf(induction_days[-1]))
        readings.append(
            ReadingTaken(rule, "G-CSF days count from day 1 of the first cycle", ("from day 1 of the last cycle",))
        )
        if windows[-1].last_day >= chemoradiation:
            flags = (f"G-CSF of days 34-42 falls into chemoradiation, which begins on {chemoradiation}",)
        elif induction_days[-1] != cycle_day(induction_days[0], _CHEMORADIATION_DAY):
            flags = ("the second cycle does not begin on day 29, so G-CSF of days 34-42 is not its days 6-14",)
    return CalendarAnswer(_by_date(days), _by_date(open_days), flags, missing, tuple(readings), cited)


def events_of(days: Sequence[Days]) -> tuple[Event, ...]:
    """Make calendar events of days; the n-th of the same name has the key "NAME/n", whenever it is."""
    counts: dict[str, int] = {}
    events = []
    for entry in days:
        counts[entry.what] = counts.get(entry.what, 0) + 1
        key = f"{entry.what}/{counts[entry.what]}"
        events.append(Event(key, entry.first_day, entry.last_day, entry.what, f"rule {entry.rule}"))
    return tuple(events)


def _infusion(drug: str, first_day: date, rule: str) -> Days:
    return Days(f"{drug} over 96 hours", first_day, first_day + timedelta(days=_INFUSION_DAYS - 1), rule)


def _gcsf(day_1: date) -> list[Days]:
    return [
        Days(f"G-CSF, days {first}-{last}", cycle_day(day_1, first), cycle_day(day_1, last), "RT-60")
        for first, last in _GCSF_DAYS
    ]


def _by_date(days: Sequence[Days]) -> tuple[Days, ...]:
    return tuple(sorted(days, key=lambda entry: (entry.first_day, entry.last_day, entry.what)))
