"""Patients of a cohort as they were followed, and what becomes of them as times to an event.

Dates are calendar days. What a table does not tell is None or absent, and stays so.
"""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.patient import Fact

HIGHEST_GRADE = 5
Found = TypeVar("Found")
LesionKind = Literal["target", "non-target", "new"]
CENSORED = 0
EVENT = 1
DAYS_PER_MONTH = 30.4375  # a year of 365.25 days has twelve months


@dataclass(frozen=True)
class AdverseEvent:
    """One adverse event.

    Parameters
    ----------
    term : str
        As the scale names it, "Esophagitis".
    grade : int
        0 to 5.
    day : date or None
        When it began, or was seen first.
    scale : str
        "CTCAE 4.0", "RTOG"; empty where it is not told.
    serious : bool or None
        Whether it was a serious adverse event.
    noticed, reported : datetime or None
        When the centre knew of it, and when it was reported.
    related_to : str
        To what it was attributed, as told.
    """

    term: str
    grade: int
    day: dt.date | None = None
    scale: str = ""
    serious: bool | None = None
    noticed: dt.datetime | None = None
    reported: dt.datetime | None = None
    related_to: str = ""

    def __post_init__(self) -> None:
        if not self.term.strip():
            raise InputError("an adverse event has no term; expected a name such as 'Esophagitis'")
        if isinstance(self.grade, bool) or self.grade not in range(HIGHEST_GRADE + 1):
            raise InputError(f"'{self.term}' has grade {self.grade}; expected a whole number from 0 to 5")


@dataclass(frozen=True)
class LesionSize:
    """One lesion at one examination.

    Parameters
    ----------
    lesion, organ : str
        Its name, and the organ; nodes of all stations are one organ.
    nodal : bool
        Whether it is a lymph node, measured by its short axis; others by their longest diameter.
    kind : {"target", "non-target", "new"}
        By RECIST 1.1.
    day : date
        Of the examination.
    size_mm : float or None
        None was not measured; 0 has disappeared.
    """

    lesion: str
    organ: str
    nodal: bool
    kind: LesionKind
    day: dt.date
    size_mm: float | None

    def __post_init__(self) -> None:
        if self.size_mm is not None and not 0 <= self.size_mm < math.inf:
            raise InputError(f"lesion '{self.lesion}' has a size of {self.size_mm:g} mm; expected 0 or more")


@dataclass(frozen=True)
class Visit:
    """One visit.

    Parameters
    ----------
    day : date
        When it took place.
    month : int or None
        Which visit of the plan it was, where that is told.
    facts : mapping of str to Fact
        What was found or done, by name: weight, quality of life, "contrast CT" done or not.
    """

    day: dt.date
    month: int | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True)
class CourseGiven:
    """One course of radiotherapy.

    Parameters
    ----------
    name : str
        "salvage", "SBRT".
    first_day, last_day : date or None
        Of treatment.
    planned_dose_gy, dose_gy : float or None
        Physical dose of the whole course to its target, as prescribed and as given.
    planned_fractions, fractions : int or None
        As prescribed and as given.
    """

    name: str
    first_day: dt.date | None = None
    last_day: dt.date | None = None
    planned_dose_gy: float | None = None
    dose_gy: float | None = None
    planned_fractions: int | None = None
    fractions: int | None = None

    def __post_init__(self) -> None:
        for name in ("planned_dose_gy", "dose_gy", "planned_fractions", "fractions"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise InputError(f"course '{self.name}' has {name} {value:g}; expected 0 or more")
        if self.first_day is not None and self.last_day is not None and self.last_day < self.first_day:
            raise InputError(
                f"course '{self.name}' ends on {self.last_day}; expected a day from {self.first_day}, its first"
            )


@dataclass(frozen=True)
class CycleGiven:
    """One cycle of chemotherapy.

    Parameters
    ----------
    number : int
        1 is the first.
    day : date or None
        Its first day.
    percent : float or None
        Of the full dose that was given; 0 when it was left out.
    """

    number: int
    day: dt.date | None = None
    percent: float | None = None

    def __post_init__(self) -> None:
        if self.number < 1:
            raise InputError(f"a cycle has the number {self.number}; expected 1 or more")
        if self.percent is not None and not 0 <= self.percent < math.inf:
            raise InputError(f"cycle {self.number} has {self.percent:g} % of the full dose; expected 0 or more")


@dataclass(frozen=True, slots=True)
class FollowedPatient:
    """One patient of a cohort.

    Parameters
    ----------
    pseudonym : str
        Unique in the cohort.
    facts : mapping of str to Fact
        What is told once a patient, dates of events included, by the names of the protocol.
    adverse_events, lesions, visits, courses, cycles
        What is told any number of times.
    metrics : mapping of str to float
        Dose metrics of scorecards, by "structure metric quantity scope", for example
        "Esophagus Max[Gy] BED(a/b=3) cumulative".
    """

    pseudonym: str
    facts: Mapping[str, Fact]
    adverse_events: tuple[AdverseEvent, ...] = ()
    lesions: tuple[LesionSize, ...] = ()
    visits: tuple[Visit, ...] = ()
    courses: tuple[CourseGiven, ...] = ()
    cycles: tuple[CycleGiven, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class DistinctFacts:
    """A fact of each patient: the different ones, and which each patient has.

    Equal cells of a table are one and the same fact, so what follows from a fact is found once for all who have it.

    Parameters
    ----------
    facts : tuple of Fact or None
        In the order in which patients have them; None where the table has none of that name.
    which : int array, shape (patients,)
        Place of each patient's in `facts`.
    """

    facts: tuple[Fact | None, ...]
    which: NDArray[np.intp]

    @property
    def counts(self) -> NDArray[np.intp]:
        """Number of patients who have each."""
        return np.bincount(self.which, minlength=len(self.facts))

    def spread(self, found: Sequence[Found]) -> list[Found]:
        """What was found of each of `facts`, for each patient."""
        return list(map(found.__getitem__, self.which.tolist()))


def _distinct(told: Sequence[Fact | None]) -> DistinctFacts:
    keys = np.fromiter(map(id, told), dtype=np.intp, count=len(told))
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    # Their order is that of the patients, not of what they are in memory.
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return DistinctFacts(tuple([told[n] for n in first[order].tolist()]), place[which])


class Patients(tuple[FollowedPatient, ...]):
    """Patients of a cohort, of whom facts are looked up once: there may be very many of them."""

    @cached_property
    def _columns(self) -> dict[str, Sequence[Fact | None]]:
        return {}

    @cached_property
    def _distinct(self) -> dict[str, DistinctFacts]:
        return {}

    @cached_property
    def kept(self) -> dict[Hashable, Any]:
        """What others have worked out of these patients and will ask for again."""
        return {}

    @classmethod
    def with_columns(
        cls, patients: Iterable[FollowedPatient], columns: Mapping[str, Sequence[Fact | None]]
    ) -> Patients:
        """Patients and, by name, all their facts as columns, where these are at hand already."""
        found = cls(patients)
        found._columns.update(columns)
        found.__dict__["names"] = tuple(columns) if found else ()
        return found

    @cached_property
    def are_in_order(self) -> bool:
        """Whether they stand by their pseudonyms, each once."""
        names = [patient.pseudonym for patient in self]
        return all(map(operator.lt, names, names[1:]))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all facts, in the order in which patients tell them."""
        return tuple(dict.fromkeys(chain.from_iterable(patient.facts for patient in self)))

    @cached_property
    def events(self) -> tuple[tuple[tuple[AdverseEvent, ...], int], ...]:
        """Adverse events of patients, and how many have the very same: those with equal rows of a table do."""
        told = [patient.adverse_events for patient in self]
        keys = list(map(id, told))
        numbers, held = Counter(keys), dict(zip(keys, told, strict=True))
        return tuple((held[key], number) for key, number in numbers.items())

    def column(self, name: str) -> Sequence[Fact | None]:
        """A fact of each patient; None where the table has none of that name."""
        if name not in self._columns:
            is_told = name in self.names
            self._columns[name] = [patient.facts.get(name) for patient in self] if is_told else [None] * len(self)
        return self._columns[name]

    def distinct(self, name: str) -> DistinctFacts:
        """The different ones of a fact, and who has which."""
        if name not in self._distinct:
            self._distinct[name] = _distinct(self.column(name))
        return self._distinct[name]


def column(patients: Sequence[FollowedPatient], name: str) -> Sequence[Fact | None]:
    """A fact of each patient; None where the table has none of that name."""
    return patients.column(name) if isinstance(patients, Patients) else [one.facts.get(name) for one in patients]


def distinct(patients: Sequence[FollowedPatient], name: str) -> DistinctFacts:
    """The different ones of a fact, and who has which."""
    return patients.distinct(name) if isinstance(patients, Patients) else _distinct(column(patients, name))


def fact_names(patients: Sequence[FollowedPatient]) -> tuple[str, ...]:
    """Names of all facts, in the order in which patients tell them."""
    return patients.names if isinstance(patients, Patients) else Patients(patients).names


def numbers_of_events(patients: Sequence[FollowedPatient]) -> tuple[tuple[tuple[AdverseEvent, ...], int], ...]:
    """Adverse events of patients, and how many have the very same: those with equal rows of a table do."""
    return patients.events if isinstance(patients, Patients) else Patients(patients).events


@dataclass(frozen=True, eq=False)
class TimesToEvent:
    """One endpoint of a cohort: from which day each patient is counted, and what came first.

    Parameters
    ----------
    endpoint : str
        Its name in the protocol.
    origin : str
        What the time is counted from.
    event : str
        What counts as the event (status 1).
    competing : tuple of str
        Events that make it impossible; the first has status 2, the next 3.
    pseudonyms : tuple of str
        Patients, without those of whom the endpoint is unknown.
    months : float array, shape (patients,)
        From the origin to the event, or to the last day at which nothing had happened.
    status : int array, shape (patients,)
        0 censored, 1 the event, 2 and more competing events.
    left_out : mapping of str to str
        Patients of whom the endpoint is unknown, and why.
    rules : tuple of str
        Rules of the protocol that define it.
    readings : tuple of str
        What was taken where the protocol is ambiguous, in words.
    notes : tuple of str
        What a reader of the times should know, each a sentence.
    """

    endpoint: str
    origin: str
    event: str
    competing: tuple[str, ...]
    pseudonyms: tuple[str, ...]
    months: NDArray[np.float64]
    status: NDArray[np.int64]
    left_out: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.pseudonyms) == len(self.months) == len(self.status):
            raise InputError(
                f"{self.endpoint} has {len(self.pseudonyms)} patients, {len(self.months)} times and "
                f"{len(self.status)} outcomes; expected as many of each"
            )
        if len(self.months) and not (np.isfinite(self.months).all() and self.months.min() >= 0):
            worst = self.pseudonyms[int(np.argmin(np.where(np.isfinite(self.months), self.months, -math.inf)))]
            raise InputError(f"{self.endpoint} of patient '{worst}' has a time that is negative or no number")
        unknown = set(self.status.tolist()) - set(range(EVENT + len(self.competing) + 1))
        if unknown:
            raise InputError(f"{self.endpoint} has the status {min(unknown)}, which is no event of it")
