"""Facts of a record that a series of uptake tells: for the triggers of protocols."""

from __future__ import annotations

from tailort.patient import Fact
from tailort.workflow.response import Series

FALL_AT_2_WEEKS, HIGHEST_BEFORE, CHANGED = (
    "suv_max_fall_at_2_weeks_percent", "fdg_suv_max", "hypoxia_or_proliferation_changed",
)  # fmt: skip
TWO_WEEKS = (14, 3)
"""A scan counts as one of 2 weeks within so many days of that day; RB-155 prints none: a convention of this program."""


def facts_of(series: Series) -> tuple[Fact, ...]:
    """What protocols ask of a series, with how it came about; a value of None is unknown."""
    return (_highest_before(series), _fall_at_2_weeks(series), _changed(series))


def _highest_before(series: Series) -> Fact:
    first = series.scans[0]
    if series.quantity.id != "fdg-suv":
        return Fact(HIGHEST_BEFORE, None, f"the series is of {series.quantity.id}")
    if first.day is None:
        return Fact(HIGHEST_BEFORE, None, "the start of treatment is not known")
    if first.day >= 0:
        return Fact(HIGHEST_BEFORE, None, "no scan is of a day before treatment")
    return Fact(HIGHEST_BEFORE, round(first.uptake.maximum, 2), f"scan of {first.image.date}", first.image.date)


def _fall_at_2_weeks(series: Series) -> Fact:
    """Fall of SUVmax against the first scan; unknown unless one of 2 weeks compares with one before treatment."""
    name, first = FALL_AT_2_WEEKS, series.scans[0]
    if series.quantity.id != "fdg-suv":
        return Fact(name, None, f"the series is of {series.quantity.id}")
    if first.day is None:
        return Fact(name, None, "the start of treatment is not known")
    if first.day >= 0:
        return Fact(name, None, "no scan is of a day before treatment")
    middle, apart = TWO_WEEKS
    near = [scan for scan in series.scans if scan.day is not None and abs(scan.day - middle) <= apart]
    if not near:
        return Fact(name, None, f"no scan lies {middle - apart} to {middle + apart} days after the start of treatment")
    alike = [scan for scan in near if not scan.unlike]
    if not alike:
        return Fact(name, None, f"the scan of day {near[0].day} is not to be compared with the first")
    scan = min(alike, key=lambda one: abs((one.day or 0) - middle))
    change = scan.change_percent["maximum"]
    value = None if change is None else round(-change, 2)
    return Fact(name, value, f"scans of {first.image.date} and {scan.image.date}, day {scan.day}", scan.image.date)


def _changed(series: Series) -> Fact:
    """Whether the latest scan shows another uptake: yes beyond what repeats, else not known."""
    last = series.scans[-1]
    if last.repeats is None:
        why = "its repeatability is not known" if not last.unlike else "it is not to be compared with the first"
        return Fact(CHANGED, None, f"scan of {last.image.date}: {why}")
    if last.repeats:
        return Fact(CHANGED, None, f"scan of {last.image.date}: its change is no larger than what repeats")
    return Fact(CHANGED, True, f"scan of {last.image.date}: its change is larger than what repeats", last.image.date)
