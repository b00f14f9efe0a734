"""Recovery of tissue between courses: how much of an earlier EQD2 or BED still counts.

Every assumption is cited data (data/recovery.yaml), and none is taken unless it is named. The cumulative limits of the
re-irradiation study (set `koide` of `limit_sets`) were found without recovery: a discounted dose is never compared
with them, only shown beside.
"""

from __future__ import annotations

import calendar
import datetime as dt
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.radiobiology.organ_names import organ_of, same_name
from tailort.radiobiology.packaged import packaged

Float = NDArray[np.float64]


@dataclass(frozen=True)
class RecoveryTable:
    """Discounts of one group of organs, by the months between two courses.

    Parameters
    ----------
    name : str
        Of the group.
    organs : tuple of str
        TG-263 names; empty means every organ.
    from_months : tuple of float
        Lower bounds of the bins, each included in its own bin; the last bin has no end.
    discounts : tuple of float
        Of each bin, 0 to 1.
    of_volume : str
        Empty where the discount is of the dose; else the volume metric that it is of, such as "V16Gy".
    mark : str
        How sure the numbers are.
    rules : tuple of str
        Rule ids.
    note : str
        What else there is to know.
    other_reading : str
        The reading that was not taken, of an ambiguous table.
    """

    name: str
    organs: tuple[str, ...]
    from_months: tuple[float, ...]
    discounts: tuple[float, ...]
    of_volume: str = ""
    mark: str = ""
    rules: tuple[str, ...] = ()
    note: str = ""
    other_reading: str = ""

    def __post_init__(self) -> None:
        bounds = self.from_months
        if not bounds or bounds[0] != 0 or len(bounds) != len(self.discounts) or list(bounds) != sorted(set(bounds)):
            raise InputError(
                f"recovery of {self.name}: bins must begin at 0 months and ascend, with one discount each; found "
                f"{bounds} months and {len(self.discounts)} discounts"
            )
        if not all(0 <= part <= 1 for part in self.discounts):
            raise InputError(f"recovery of {self.name}: a discount lies between 0 and 1; found {self.discounts}")

    def names(self, organ: str) -> bool:
        """Whether the table is for this organ."""
        return not self.organs or organ_of(organ) in {same_name(name) for name in self.organs}

    def at(self, months: float | None) -> float | None:
        """Return the discount after so many months; None while they are unknown and could change it."""
        if months is None:
            return self.discounts[0] if len(set(self.discounts)) == 1 else None
        if not (math.isfinite(months) and months >= 0):
            raise InputError(f"an interval between courses is 0 months or more; found {months:g}")
        return [part for bound, part in zip(self.from_months, self.discounts, strict=True) if months >= bound][-1]


@dataclass(frozen=True)
class Recovery:
    """One published assumption about the recovery of tissues.

    Parameters
    ----------
    id, title : str
        What it is called.
    text : str
        What it says, in words.
    source, doi : str
        Where it is from.
    mark : str
        How sure it is.
    rules : tuple of str
        Rule ids.
    tables : tuple of RecoveryTable
        By group of organs; no organ is in two of them.
    other_reading : str
        The reading that was not taken, of an ambiguous assumption.
    """

    id: str
    title: str
    text: str
    source: str
    doi: str
    mark: str
    rules: tuple[str, ...]
    tables: tuple[RecoveryTable, ...]
    other_reading: str = ""

    def __post_init__(self) -> None:
        if not (self.id and self.source and self.mark):
            raise InputError("an assumption of recovery needs an id, a source and a mark")
        named = [same_name(organ) for table in self.tables for organ in table.organs]
        if len(named) != len(set(named)):
            raise InputError(f"recovery '{self.id}': an organ stands in two of its tables")

    def table_of(self, organ: str) -> RecoveryTable | None:
        """Return the table that names an organ, or None."""
        return next((table for table in self.tables if table.names(organ)), None)

    def discount(self, organ: str, months: float | None) -> float | None:
        """Part of the earlier EQD2 or BED that no longer counts, 0 to 1.

        Parameters
        ----------
        organ : str
            TG-263 name, in any case; a PRV, a part or a subtraction is taken as its organ.
        months : float or None
            From the end of the earlier course to the start of the later one (`months_between`); None is unknown.

        Returns
        -------
        float or None
            None where the assumption tells nothing: it does not name the organ, its discount is of a volume and not of
            a dose (`volume_discount`), or the interval is unknown. None is not 0: whether to refuse, or to count the
            whole earlier dose, is for the caller to decide and to tell.

        Raises
        ------
        InputError
            When the interval is negative.
        """
        table = self.table_of(organ)
        return table.at(months) if table is not None and not table.of_volume else None

    def volume_discount(self, organ: str, months: float | None) -> tuple[str, float] | None:
        """Volume metric of the earlier course and the part of it that no longer counts (parallel organs), or None."""
        table = self.table_of(organ)
        part = table.at(months) if table is not None and table.of_volume else None
        return None if table is None or part is None else (table.of_volume, part)


@cache
def assumptions() -> tuple[Recovery, ...]:
    """Return the packaged assumptions, "none" first."""
    return tuple(_assumption(name, entry) for name, entry in packaged("recovery.yaml").items())


def recovery(id: str) -> Recovery:
    """Return the packaged assumption of this id.

    Raises
    ------
    InputError
        When there is none; the known ones are listed.
    """
    found = {each.id: each for each in assumptions()}
    if id not in found:
        raise InputError(f"unknown assumption of recovery '{id}'; known are {', '.join(found)}")
    return found[id]


def stays(prior_gy: ArrayLike, discount: ArrayLike) -> Float:
    """Part of an earlier EQD2 or BED that still counts, prior x (1 - discount), Gy.

    Parameters
    ----------
    prior_gy : (...) float
        EQD2 or BED of the earlier course, Gy; the answer is the same kind.
    discount : (...) float
        0 to 1; 0 keeps all of it.

    Raises
    ------
    InputError
        When a dose is negative or not finite, or a discount lies outside 0 to 1.
    """
    prior = np.asarray(prior_gy, dtype=np.float64)
    part = np.asarray(discount, dtype=np.float64)
    if not (np.all(prior >= 0) and np.all(np.isfinite(prior))):
        raise InputError("an earlier EQD2 or BED is negative or not finite")
    if not np.all((part >= 0) & (part <= 1)):
        raise InputError("a discount of an earlier dose lies between 0 and 1")
    kept: Float = prior * (1.0 - part)
    return kept


def months_between(start: dt.date, end: dt.date) -> float:
    """Calendar months from one day to a later one.

    Whole months are counted to the same day of the month, or to the last day of a month that has no such day; what is
    left is days over the length of the month that has begun. So an interval is above 6 exactly when the end lies after
    the day 6 calendar months later.

    Raises
    ------
    InputError
        When the end lies before the start.

    Examples
    --------
    >>> months_between(dt.date(2026, 1, 31), dt.date(2026, 2, 28))
    1.0
    """
    if end < start:
        raise InputError(f"the later course begins on {end}, before the earlier one has ended on {start}")
    whole = 12 * (end.year - start.year) + end.month - start.month
    if end < _same_day(start, whole):
        whole -= 1
    begun, over = _same_day(start, whole), _same_day(start, whole + 1)
    return whole + (end - begun).days / (over - begun).days


def _same_day(day: dt.date, months: int) -> dt.date:
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _assumption(id: str, entry: dict[str, Any]) -> Recovery:
    return Recovery(
        id,
        entry["title"],
        entry["text"],
        entry["source"],
        entry["doi"],
        entry["mark"],
        entry["rules"],
        tuple(_table(table) for table in entry["tables"]),
        _other(entry),
    )


def _table(entry: dict[str, Any]) -> RecoveryTable:
    return RecoveryTable(
        entry["name"],
        () if entry["organs"] == "every" else entry["organs"],
        entry["from_months"],
        entry["discounts"],
        entry.get("of_volume", ""),
        entry["mark"],
        entry["rules"],
        entry.get("note", ""),
        _other(entry),
    )


def _other(entry: dict[str, Any]) -> str:
    other: str = entry.get("reading", {}).get("other", "")
    return other
