"""Adverse events by grade: the worst of each patient and term, and how many patients had it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tailort.cohort.patients import HIGHEST_GRADE, AdverseEvent, FollowedPatient, numbers_of_events
from tailort.errors import InputError

ANY_TERM = "any adverse event"


@dataclass(frozen=True)
class TermGrades:
    """One term over some patients.

    Parameters
    ----------
    term, scale : str
        As told; grades of unlike scales are not put together.
    by_grade : tuple of int
        Patients whose worst grade is 0, 1, ... 5; who has no entry of the term is not among them.
    patients : int
        Everybody who could have had it: the denominator.
    """

    term: str
    scale: str
    by_grade: tuple[int, ...]
    patients: int

    def __post_init__(self) -> None:
        if len(self.by_grade) != HIGHEST_GRADE + 1:
            raise InputError(f"'{self.term}' has counts of {len(self.by_grade)} grades; expected {HIGHEST_GRADE + 1}")
        if sum(self.by_grade) > self.patients:
            raise InputError(f"'{self.term}' was seen in {sum(self.by_grade)} of {self.patients} patients")

    def at_least(self, grade: int) -> int:
        """Patients whose worst grade is so high or higher."""
        return sum(self.by_grade[grade:])


@dataclass(frozen=True)
class GradeTable:
    """Adverse events of some patients.

    Parameters
    ----------
    patients : int
        How many they are: the denominator of every line.
    without_entry : int
        Those with no entry of any term. They count as patients in whom nothing was recorded; whether somebody
        looked is not known.
    any_term : TermGrades
        Worst grade of any term and scale of each patient.
    terms : tuple of TermGrades
        One a term and scale, the most frequent of grade 2 and higher first.
    """

    patients: int
    without_entry: int
    any_term: TermGrades
    terms: tuple[TermGrades, ...]


def worst_grades(events: Sequence[AdverseEvent]) -> dict[tuple[str, str], int]:
    """Worst grade by term and scale; small and capital letters of a term are the same term."""
    worst: dict[tuple[str, str], int] = {}
    for event in events:
        key = _key(event.term, event.scale)
        worst[key] = max(worst.get(key, 0), event.grade)
    return worst


@lru_cache(maxsize=4096)
def _key(term: str, scale: str) -> tuple[str, str]:
    return term.strip().casefold(), scale


def grade_table(patients: Sequence[FollowedPatient]) -> GradeTable:
    """Count patients by the worst grade of each term."""
    return _counted(numbers_of_events(patients), len(patients))


def _counted(told: Iterable[tuple[tuple[AdverseEvent, ...], int]], patients: int) -> GradeTable:
    """Count events that so many patients have."""
    names: dict[tuple[str, str], str] = {}
    by_term: dict[tuple[str, str], list[int]] = {}
    highest = [0] * (HIGHEST_GRADE + 1)
    for events, number in told:
        worst = worst_grades(events)
        for key, grade in worst.items():
            if key not in by_term:
                by_term[key], names[key] = [0] * (HIGHEST_GRADE + 1), _as_written(events, key)
            by_term[key][grade] += number
        if worst:
            highest[max(worst.values())] += number
    terms = [TermGrades(names[key], key[1], tuple(grades), patients) for key, grades in by_term.items()]
    terms.sort(key=lambda t: (-t.at_least(2), -t.at_least(1), t.term.casefold(), t.scale))
    any_term = TermGrades(ANY_TERM, "", tuple(highest), patients)
    return GradeTable(patients, patients - sum(highest), any_term, tuple(terms))


def grade_tables(patients: Sequence[FollowedPatient], groups: Mapping[str, str | None]) -> Mapping[str, GradeTable]:
    """One table a group; patients of no known group are in none."""
    own = [groups.get(patient.pseudonym) for patient in patients]
    told = [patient.adverse_events for patient in patients]
    keys = list(zip(own, map(id, told), strict=True))
    sizes, numbers, held = Counter(own), Counter(keys), dict(zip(keys, told, strict=True))
    return {
        name: _counted([(held[key], number) for key, number in numbers.items() if key[0] == name], sizes[name])
        for name in sorted({name for name in groups.values() if name is not None})
    }


def _as_written(events: Sequence[AdverseEvent], key: tuple[str, str]) -> str:
    """How a patient's first event of a term is written."""
    return next(event.term.strip() for event in events if _key(event.term, event.scale) == key)
