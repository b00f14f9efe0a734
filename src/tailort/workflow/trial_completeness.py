"""What a trial's tables do not tell: per fact, per patient and per centre; and what each centre owes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tailort.cohort.patients import FollowedPatient, distinct, numbers_of_events
from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols.records.table import AbsentFact
from tailort.workflow.trial_facts import CENTRE, PROGRESSION, by_pseudonym, group_names, happened
from tailort.workflow.trial_recurrence import OUTSIDE
from tailort.workflow.trial_serious import SeriousEvents
from tailort.workflow.trial_visits import VisitCalendar


@dataclass(frozen=True)
class FactTold:
    """How often one fact is told.

    Parameters
    ----------
    name : str
        Of the fact.
    told, expected : int
        Patients of whom it is told, and of whom it could be: those to whom it does not apply are not among them.
    missing : tuple of str
        Pseudonyms of the others.
    """

    name: str
    told: int
    expected: int
    missing: tuple[str, ...]

    @property
    def percent(self) -> float | None:
        """Part of the expected patients; None where nobody is expected."""
        return 100 * self.told / self.expected if self.expected else None


@dataclass(frozen=True)
class Completeness:
    """What is told and what is missing.

    Parameters
    ----------
    facts : tuple of FactTold
        In the order in which they were asked for.
    by_patient : mapping of str to tuple of str
        Names of the facts that are missing of each patient; of all patients.
    """

    facts: tuple[FactTold, ...]
    by_patient: Mapping[str, tuple[str, ...]]

    @property
    def percent(self) -> float | None:
        """Part of everything that is expected; None where nothing is."""
        expected = sum(one.expected for one in self.facts)
        return 100 * sum(one.told for one in self.facts) / expected if expected else None


@dataclass(frozen=True)
class Centre:
    """One centre.

    Parameters
    ----------
    name : str
        "not told" for patients without one.
    patients, adverse_events : int
        How many; grade 0 is no event.
    overdue_visits, missed_visits : int
        Of its patients.
    incomplete_visits : int
        Visits that were made without every examination that belongs to each, or where that is not told.
    serious, late_reports : int
        Serious adverse events; those reported late, or overdue.
    told, expected : int
        Facts of its patients.
    """

    name: str
    patients: int
    adverse_events: int
    overdue_visits: int
    missed_visits: int
    incomplete_visits: int
    serious: int
    late_reports: int
    told: int
    expected: int

    @property
    def percent(self) -> float | None:
        """Part of the expected facts that is told; None where none is expected."""
        return 100 * self.told / self.expected if self.expected else None


def completeness(
    patients: Sequence[FollowedPatient], names: Sequence[str], *, event_dates: Sequence[str] = ()
) -> Completeness:
    """Tell which facts are missing of whom.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        In any order.
    names : sequence of str
        Facts that every patient should have.
    event_dates : sequence of str
        Those of them that are days of events: an empty cell means that it has not happened and is no gap, a code for
        an unknown day is one.
    """
    ordered = by_pseudonym(patients)
    facts = []
    pseudonyms = [one.pseudonym for one in ordered]
    gaps: dict[str, tuple[str, ...]] = dict.fromkeys(pseudonyms, ())
    for name in dict.fromkeys(names):
        told, places = _states(ordered, name, name in event_dates)
        missing = tuple(pseudonyms[place] for place in places)
        for pseudonym in missing:
            gaps[pseudonym] += (name,)
        facts.append(FactTold(name, told, told + len(missing), missing))
    return Completeness(tuple(facts), gaps)


def _states(patients: Sequence[FollowedPatient], name: str, is_event: bool) -> tuple[int, list[int]]:
    """Of how many patients a fact is told, and the places of those of whom it is missing."""
    if name == OUTSIDE:
        states = [_told(one, name, is_event) for one in patients]
        return states.count(True), [n for n, state in enumerate(states) if state is False]
    told = distinct(patients, name)
    of_facts = [_is_told(fact, is_event) for fact in told.facts]
    is_told = np.array([state is True for state in of_facts], dtype=bool)
    is_missing = np.array([state is False for state in of_facts], dtype=bool)
    return int(told.counts[is_told].sum()), np.flatnonzero(is_missing[told.which]).tolist()


def _told(patient: FollowedPatient, name: str, is_event: bool) -> bool | None:
    """Whether a fact is told; None where it does not apply."""
    fact = patient.facts.get(name)
    # Where a recurrence lies is asked only of those who have one.
    is_asked = name != OUTSIDE or happened(patient, PROGRESSION) is not False
    return _is_told(fact, is_event) if is_asked or (fact is not None and fact.value is not None) else None


def _is_told(fact: Fact | None, is_event: bool) -> bool | None:
    if fact is not None and fact.value is not None:
        return True
    if not isinstance(fact, AbsentFact):
        return False
    if fact.absence == "not applicable":
        return None
    return is_event and not fact.code


def centres(
    patients: Sequence[FollowedPatient],
    complete: Completeness,
    *,
    calendar: VisitCalendar | None = None,
    serious: SeriousEvents | None = None,
) -> tuple[Centre, ...]:
    """Put together what belongs to each centre.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        In any order.
    complete : Completeness
        Of the same patients.
    calendar : VisitCalendar or None
        Of the same patients; None where the protocol has no follow-up.
    serious : SeriousEvents or None
        Of the same patients; None where the protocol tells nothing of them.

    Raises
    ------
    InputError
        Where the others are of other patients.
    """
    ordered = by_pseudonym(patients)
    of_centre: dict[str, list[FollowedPatient]] = {}
    for one, name in zip(ordered, group_names(ordered, CENTRE), strict=True):
        of_centre.setdefault(name, []).append(one)
    everybody = {one.pseudonym for one in ordered}
    if set(complete.by_patient) != everybody:
        raise InputError("completeness was told of other patients; make it of these")
    if calendar is not None and {one.pseudonym for one in calendar.patients} != everybody:
        raise InputError("the calendar of visits is of other patients; make it of these")
    partly = [one.name for one in complete.facts if one.expected < len(ordered)]
    found = []
    for name in sorted(of_centre):
        members = of_centre[name]
        own = {one.pseudonym for one in members}
        planned = [v for one in (calendar.patients if calendar else ()) if one.pseudonym in own for v in one.planned]
        rows = [row for row in (serious.rows if serious else ()) if row.pseudonym in own]
        missing = sum(map(len, map(complete.by_patient.__getitem__, own)))
        expected = len(own) * (len(complete.facts) - len(partly))
        expected += sum(_told(one, fact, False) is not None for one in members for fact in partly)
        found.append(
            Centre(
                name=name,
                patients=len(own),
                adverse_events=sum(
                    number * sum(event.grade > 0 for event in had) for had, number in numbers_of_events(members)
                ),
                overdue_visits=sum(visit.status == "overdue" for visit in planned),
                missed_visits=sum(visit.status == "missed" for visit in planned),
                incomplete_visits=sum(bool(visit.not_made) for visit in planned),
                serious=len(rows),
                late_reports=sum(row.is_late for row in rows),
                told=expected - missing,
                expected=expected,
            )
        )
    return tuple(found)
