"""Grades of toxicity as dose modification asks for them, from the adverse events of a patient.

Of an event it may be open whether it counts: its day is not told, it began on the very day of the cycle, or its term
belongs to no known group. Grades are therefore ranges: what is certain, and what is possible.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from tailort.cohort.patients import AdverseEvent, FollowedPatient
from tailort.cohort.toxicity_groups import GROUPS, Group, group_of

Unlisted = Literal["grade 0", "unknown"]
FACTS: dict[Group, str] = {
    "haematological": "haematological_grade",
    "hepatic": "hepatic_grade",
    "renal": "renal_grade",
    "pneumonitis": "radiation_pneumonitis_grade",
    "other": "other_non_haematological_grade",
}
"""Facts of the protocol by group; they may be told beside the events, and then the worse counts."""
RECOVERED = "toxicity_recovered"
RECOVERED_UP_TO = 1


@dataclass(frozen=True)
class GradeRange:
    """Worst grade of one group.

    Parameters
    ----------
    certain : int or None
        That was reached for certain; None where nobody has told any.
    possible : int or None
        That may have been reached; the same where nothing is open.
    """

    certain: int | None
    possible: int | None


@dataclass(frozen=True)
class Graded:
    """Worst grades of one patient within some days.

    Parameters
    ----------
    grades : mapping of Group to GradeRange
        Of every group.
    open_events : tuple of str
        Events of which it is open whether they count, and why.
    scales_differ : tuple of str
        Groups that several scales graded differently; the worse counts (NM-141).
    """

    grades: Mapping[Group, GradeRange]
    open_events: tuple[str, ...]
    scales_differ: tuple[str, ...]

    def values(self, *, possible: bool) -> dict[str, int | None]:
        """Grades by the names of facts: those that are possible, or those that are certain."""
        return {FACTS[group]: one.possible if possible else one.certain for group, one in self.grades.items()}

    @property
    def recovered(self) -> bool | None:
        """True where no toxicity was ever above grade 1; else it does not follow from grades."""
        highest = [one.possible for one in self.grades.values()]
        return True if all(grade is not None and grade <= RECOVERED_UP_TO for grade in highest) else None


def graded(
    patient: FollowedPatient,
    since: Mapping[Group, dt.date | None],
    before: dt.date | None,
    *,
    unlisted: Unlisted,
    groups: Mapping[str, str],
    with_facts: bool = True,
) -> Graded:
    """Worst grades of each group from one day until before another.

    Parameters
    ----------
    patient : FollowedPatient
        Whose events and facts.
    since : mapping of Group to date or None
        First day that counts; without one every event only may count.
    before : date or None
        Events from the next day on do not count, one on this day may. None: every event since then only may count.
    unlisted : {"grade 0", "unknown"}
        What a group without any event is.
    groups : mapping of str to str
        Groups that a person tells, by term.
    with_facts : bool
        Whether grades that are told once a patient count too.
    """
    certain: dict[Group, list[AdverseEvent]] = {group: [] for group in GROUPS}
    perhaps: dict[Group, list[int]] = {group: [] for group in GROUPS}
    told: list[str] = []
    for event in patient.adverse_events:
        found = group_of(event.term, event.scale, groups)
        for group in GROUPS if found is None else (found.group,):
            counts = _counts(event.day, since.get(group), before)
            if counts is True and found is not None:
                certain[group].append(event)
            elif counts is not False and event.grade > 0:
                perhaps[group].append(event.grade)
                told.append(_why(event, found is None, before))
    grades = {}
    for group in GROUPS:
        known = [event.grade for event in certain[group]]
        fact = patient.facts.get(FACTS[group]) if with_facts else None
        if fact is not None and isinstance(fact.value, int) and not isinstance(fact.value, bool):
            known.append(fact.value)
        least = max(known) if known else 0 if unlisted == "grade 0" else None
        most = max([*known, *perhaps[group]]) if perhaps[group] else least
        grades[group] = _range(least, most)
    several = len({event.scale for event in patient.adverse_events}) > 1
    differ = tuple(group for group in GROUPS if _differ(certain[group])) if several else ()
    return Graded(grades, tuple(dict.fromkeys(told)), differ)


@cache
def _range(certain: int | None, possible: int | None) -> GradeRange:
    """Few different ones are asked for very often."""
    return GradeRange(certain, possible)


def _counts(day: dt.date | None, since: dt.date | None, before: dt.date | None) -> bool | None:
    """Whether an event of one day counts; None is open."""
    if day is None:
        return None
    if (before is not None and day > before) or (since is not None and day < since):
        return False
    return True if since is not None and before is not None and day < before else None


def _why(event: AdverseEvent, ungrouped: bool, before: dt.date | None) -> str:
    name = f"'{event.term}' grade {event.grade}"
    if ungrouped:
        return f"{name} belongs to no known group"
    if event.day is None:
        return f"{name} has no day"
    return (
        f"{name} began on the day of the cycle" if event.day == before else f"{name}: whether before the cycle is open"
    )


def _differ(events: Sequence[AdverseEvent]) -> bool:
    worst: dict[str, int] = {}
    for event in events:
        scale = event.scale.casefold()
        worst[scale] = max(worst.get(scale, 0), event.grade)
    return len(set(worst.values())) > 1
