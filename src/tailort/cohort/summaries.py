"""Characteristics of patients as papers print them: median, quartiles and range of numbers, n and % of categories.

Quartiles are those of R's type 7, the default of R and numpy: straight lines between the ordered values, the smallest
at 0 and the largest at 1 (Hyndman and Fan, Am Stat 1996;50:361, doi:10.1080/00031305.1996.10473566). Percentages are of
the patients of whom the fact is known; how many are not is told beside.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailort.cohort.patients import DistinctFacts, FollowedPatient, distinct, fact_names
from tailort.errors import InputError
from tailort.patient.case import FactValue

QUARTILES = "quartiles by R type 7 (Hyndman and Fan 1996)"
# Whole numbers up to this are grades, stages or performance states, and are counted.
HIGHEST_COUNTED = 5
# More different texts than this are notes about patients, no categories.
MOST_CATEGORIES = 12
Kind = Literal["number", "category"]


@dataclass(frozen=True)
class NumberSummary:
    """Numbers of some patients.

    Parameters
    ----------
    known, missing : int
        Patients of whom the number is told, and is not.
    median, lower_quartile, upper_quartile, smallest, largest : float or None
        None where it is told of nobody.
    """

    known: int
    missing: int
    median: float | None
    lower_quartile: float | None
    upper_quartile: float | None
    smallest: float | None
    largest: float | None


@dataclass(frozen=True)
class CategorySummary:
    """Categories of some patients.

    Parameters
    ----------
    known, missing : int
        Patients of whom it is told, and is not.
    counts : mapping of str to int
        Patients of each category; where a patient may have several they add up to more than `known`.
    """

    known: int
    missing: int
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Characteristic:
    """One fact over a cohort.

    Parameters
    ----------
    fact : str
        Its name.
    kind : {"number", "category"}
        How it is summarised.
    overall : NumberSummary or CategorySummary
        Of all patients.
    groups : mapping of str to NumberSummary or CategorySummary
        Of each group.
    """

    fact: str
    kind: Kind
    overall: NumberSummary | CategorySummary
    groups: Mapping[str, NumberSummary | CategorySummary] = field(default_factory=dict)


def summarise_numbers(values: Sequence[float | None]) -> NumberSummary:
    """Summarise numbers; None is not known."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    return _of_numbers(known, len(values) - len(known))


def _of_numbers(known: NDArray[np.float64], missing: int) -> NumberSummary:
    if not len(known):
        return NumberSummary(0, missing, None, None, None, None, None)
    if not np.isfinite(known).all():
        raise InputError("a number to summarise is not finite; leave it out where it is not known")
    smallest, lower, median, upper, largest = (float(v) for v in np.quantile(known, (0.0, 0.25, 0.5, 0.75, 1.0)))
    return NumberSummary(len(known), missing, median, lower, upper, smallest, largest)


def summarise_categories(values: Sequence[FactValue], order: Sequence[str] = ()) -> CategorySummary:
    """Count categories; each patient has one, or several as a tuple; None is not known.

    Parameters
    ----------
    values : sequence of FactValue
        Of each patient.
    order : sequence of str
        Categories that are listed, in this order, also where nobody has them.
    """
    alike = Counter(values)
    return _of_categories(list(alike), list(alike.values()), order)


def _of_categories(values: Sequence[FactValue], patients: Sequence[int], order: Sequence[str]) -> CategorySummary:
    """Count categories of values that so many patients have."""
    counts = dict.fromkeys(order, 0)
    known = missing = 0
    for value, number in zip(values, patients, strict=True):
        if value is None:
            missing += number
            continue
        known += number
        for category in dict.fromkeys(_categories(value) or ()):
            counts[category] = counts.get(category, 0) + number
    return CategorySummary(known, missing, counts)


def _values(told: DistinctFacts) -> list[FactValue]:
    """What the different ones of a fact tell; None is not known."""
    return [None if fact is None else fact.value for fact in told.facts]


def category_of(value: FactValue) -> str | None:
    """A value as the name of a group: "yes", "no", a number or a text; None stays unknown."""
    if value is None or value == ():
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)


def groups_of(patients: Sequence[FollowedPatient], fact: str) -> dict[str, str | None]:
    """Group of each patient by a fact, by pseudonym; None is not known. A yes or a number is named with its fact.

    Raises
    ------
    InputError
        Where the fact is told of nobody.
    """
    told = distinct(patients, fact)
    names = [group_of(fact, value) for value in _values(told)]
    found = dict(zip([patient.pseudonym for patient in patients], told.spread(names), strict=True))
    if not any(name is not None for name in names):
        known = sorted({name for one in patients for name, told in one.facts.items() if told.value is not None})
        raise InputError(f"the fact '{fact}' is told of no patient; told are {', '.join(known) or 'none'}")
    return found


def group_of(fact: str, value: FactValue) -> str | None:
    """A value as the name of a group; a yes or a number is named with its fact, "oligo recurrence: yes"."""
    name = category_of(value)
    return name if name is None or isinstance(value, str | tuple) else f"{fact.replace('_', ' ')}: {name}"


def characteristics(
    patients: Sequence[FollowedPatient],
    facts: Sequence[str] | None = None,
    groups: Mapping[str, str | None] | None = None,
) -> tuple[tuple[Characteristic, ...], Mapping[str, str]]:
    """Summarise facts over a cohort and over its groups.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        The cohort.
    facts : sequence of str or None
        Which, in this order; None is every fact that can be summarised, in the order in which patients tell them.
    groups : mapping of str to (str or None), optional
        Group of each patient by pseudonym; patients of no known group count overall alone.

    Returns
    -------
    tuple of Characteristic
        One a fact.
    mapping of str to str
        Facts left out, and why.

    Raises
    ------
    InputError
        Where a fact that is asked for is told of nobody.
    """
    told = fact_names(patients)
    unknown = [name for name in facts or () if name not in told]
    if unknown:
        raise InputError(f"the fact '{unknown[0]}' is told of no patient; told are {', '.join(told) or 'none'}")
    members = places_of_groups(patients, groups or {})
    rows, left_out = [], {}
    for fact in told if facts is None else facts:
        column = distinct(patients, fact)
        values = _values(column)
        kind, why = _kind(values)
        if kind is None:
            left_out[fact] = why
            continue
        order = () if kind == "number" else _order(values)
        summaries = {
            name: _summary(values, np.bincount(column.which[some], minlength=len(values)), kind, order)
            for name, some in members.items()
        }
        rows.append(Characteristic(fact, kind, _summary(values, column.counts, kind, order), summaries))
    return tuple(rows), left_out


def places_of_groups(
    patients: Sequence[FollowedPatient], groups: Mapping[str, str | None]
) -> dict[str, NDArray[np.intp]]:
    """Places of the patients of each group, by its name in sorted order."""
    names = sorted({name for name in groups.values() if name is not None})
    place: dict[str | None, int] = {None: -1} | {name: n for n, name in enumerate(names)}
    own = np.array([place[groups.get(patient.pseudonym)] for patient in patients], dtype=np.intp)
    return {name: np.flatnonzero(own == n) for n, name in enumerate(names)}


def _kind(values: Sequence[FactValue]) -> tuple[Kind | None, str]:
    """How values are summarised, or why they are not."""
    # True is 1 to a set, but a yes is no number: types come from all values.
    types = {type(value) for value in values} - {type(None)}
    known = set(values) - {None}
    if not known:
        return None, "told of nobody"
    if any(issubclass(one, dt.date) for one in types):
        return None, "dates are not summarised"
    if types <= {int, float}:
        graded = all(float(v) in range(HIGHEST_COUNTED + 1) for v in known if isinstance(v, int | float))
        return ("category" if graded else "number"), ""
    if types & {int, float}:
        return None, "some patients have numbers, others words"
    different = {name for value in known for name in _categories(value) or ()}
    if len(different) > MOST_CATEGORIES:
        return None, f"{len(different)} different texts, more than {MOST_CATEGORIES}"
    return "category", ""


def _categories(value: FactValue) -> tuple[str, ...] | None:
    if isinstance(value, tuple):
        return value or ("none",)
    name = category_of(value)
    return None if name is None else (name,)


def _order(values: Sequence[FactValue]) -> list[str]:
    """Categories in the order of their values; yes stands before no."""
    names = {name: value for value in set(values) for name in _categories(value) or ()}
    if set(names) <= {"yes", "no"}:
        return ["yes", "no"]
    if all(isinstance(value, int | float) for value in names.values()):
        return sorted(names, key=float)
    return sorted(names)


def _summary(
    values: Sequence[FactValue], patients: NDArray[np.intp], kind: Kind, order: Sequence[str]
) -> NumberSummary | CategorySummary:
    """Summarise values that so many patients have."""
    if kind == "category":
        return _of_categories(values, patients.tolist(), order)
    numbers = np.array([float(v) if isinstance(v, int | float) else np.nan for v in values])
    is_known = np.array([isinstance(v, int | float) for v in values])
    return _of_numbers(np.repeat(numbers[is_known], patients[is_known]), int(patients[~is_known].sum()))
