"""Intervals between dates as the protocols count them (G-06).

Months are calendar months; "within N weeks" is 7 N days or fewer. Where a month is too short for the day, its last day
is taken: the 31st of January and one month is the last day of February.
"""

from __future__ import annotations

import calendar
from datetime import date, timedelta

from tailort.errors import InputError


def add_months(day: date, months: int) -> date:
    """Return the same day of the month, so many calendar months later.

    Raises
    ------
    InputError
        When the result is not a date of this calendar.

    Examples
    --------
    >>> add_months(date(2024, 1, 31), 1)
    datetime.date(2024, 2, 29)
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not date.min.year <= year <= date.max.year:
        raise InputError(f"{months} months from {day.isoformat()} is outside the calendar")
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def within_weeks(first: date, second: date, weeks: int) -> bool:
    """Tell whether the second date is at most so many weeks (7 days each) after the first.

    Raises
    ------
    InputError
        When the second date is before the first, or `weeks` is negative.
    """
    _ordered(first, second)
    if weeks < 0:
        raise InputError(f"{weeks} weeks are no interval; expected 0 or more")
    return second - first <= timedelta(days=7 * weeks)


def within_months(first: date, second: date, months: int) -> bool:
    """Tell whether the second date is at most so many calendar months after the first.

    Raises
    ------
    InputError
        When the second date is before the first, or `months` is negative.
    """
    _ordered(first, second)
    if months < 0:
        raise InputError(f"{months} months are no interval; expected 0 or more")
    return second <= add_months(first, months)


def longer_than_months(first: date, second: date, months: int) -> bool:
    """Tell whether more than so many calendar months lie between two dates; exactly so many is not more.

    Raises
    ------
    InputError
        When the second date is before the first, or `months` is negative.
    """
    return not within_months(first, second, months)


def completed_months(first: date, second: date) -> int:
    """Whole calendar months from the first date to the second.

    Raises
    ------
    InputError
        When the second date is before the first.
    """
    _ordered(first, second)
    months = (second.year - first.year) * 12 + second.month - first.month
    return months if add_months(first, months) <= second else months - 1


def completed_years(birth: date, day: date) -> int:
    """Age in completed years.

    Raises
    ------
    InputError
        When the day is before birth, or the age is above 120 (G-05).
    """
    years = completed_months(birth, day) // 12
    if years > 120:
        raise InputError(f"born {birth.isoformat()}, the age on {day.isoformat()} is {years}; expected 0 to 120")
    return years


def _ordered(first: date, second: date) -> None:
    if second < first:
        raise InputError(f"{second.isoformat()} is before {first.isoformat()}; expected the earlier date first")
