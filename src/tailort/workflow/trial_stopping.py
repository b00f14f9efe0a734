"""Stopping rules: what a protocol prints for one patient, and a rule for the whole trial as a person designs it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailort.cohort.monitoring import Monitored, MonitoringDesign, monitored
from tailort.cohort.patients import HIGHEST_GRADE, FollowedPatient
from tailort.cohort.toxicity_groups import GROUPS, Group, group_of
from tailort.errors import InputError
from tailort.protocols import Protocol
from tailort.protocols.treatment_drugs import STOPS
from tailort.workflow.trial_facts import by_pseudonym, days_of

NO_GROUP_RULE = "The protocol prints no rule that stops the whole trial."
"""Of every protocol here: their files have no such rule."""


@dataclass(frozen=True)
class StoppingRule:
    """A rule that stops the treatment of one patient: its name, when, what is stopped, and its ids."""

    name: str
    when: str
    action: str
    rules: tuple[str, ...]


@dataclass(frozen=True)
class EventMonitored:
    """One kind of event over a trial.

    Parameters
    ----------
    monitored : Monitored
        Against its design.
    patients : tuple of str
        In the order in which treatment began.
    with_event, unknown : tuple of str
        Who had it, and of whom it is open, because an event has no day or no known group.
    not_started : tuple of str
        Patients who are not counted: their treatment has not begun, or on a day that is not told.
    """

    monitored: Monitored
    patients: tuple[str, ...]
    with_event: tuple[str, ...]
    unknown: tuple[str, ...]
    not_started: tuple[str, ...]


def individual_stopping(protocol: Protocol) -> tuple[StoppingRule, ...]:
    """Rules of a protocol that stop chemotherapy, or all treatment, of one patient."""
    return tuple(
        StoppingRule(entry.id, entry.when.evaluate({}).text, entry.action, entry.rules)
        for entry in protocol.file.modifications
        if entry.action in STOPS
    )


def monitor_event(
    patients: Sequence[FollowedPatient],
    today: dt.date,
    design: MonitoringDesign,
    *,
    from_grade: int,
    terms: Sequence[str] = (),
    group: Group | None = None,
    groups: Mapping[str, str] | None = None,
    course: str | None = None,
) -> EventMonitored:
    """Hold adverse events of a trial against a stopping rule.

    A patient without such an entry in the table counts as one without the event.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        In any order; they count in the order in which treatment began.
    today : date
        Cut-off.
    design : MonitoringDesign
        The trial's own.
    from_grade : int
        Lowest grade that counts, 1 to 5.
    terms : sequence of str
        That count; none counts all.
    group : Group or None
        Whose terms count, in place of `terms`.
    groups : mapping of str to str, optional
        Groups of terms that the packaged table does not know.
    course : str or None
        Name of the trial's course where patients have several.
    """
    if not 1 <= from_grade <= HIGHEST_GRADE:
        raise InputError(f"events count from grade {from_grade}; expected 1 to {HIGHEST_GRADE}")
    if group is not None and (terms or group not in GROUPS):
        raise InputError(f"give terms or one of the groups {', '.join(GROUPS)}; found '{group}' and {len(terms)} terms")
    wanted = {term.strip().casefold() for term in terms}
    started: list[tuple[dt.date, str, bool | None]] = []
    waiting = []
    for patient in by_pseudonym(patients):
        start = days_of(patient, today, course).start
        if start is None:
            waiting.append(patient.pseudonym)
            continue
        answers: set[bool | None] = set()
        for event in patient.adverse_events:
            if event.grade < from_grade or (event.day is not None and not start <= event.day <= today):
                continue
            counts: bool | None = not wanted or event.term.strip().casefold() in wanted
            if group is not None:
                own = group_of(event.term, event.scale, groups)
                counts = None if own is None else own.group == group
            answers.add(None if counts and event.day is None else counts)
        outcome = True if True in answers else None if None in answers else False
        started.append((start, patient.pseudonym, outcome))
    started.sort(key=lambda one: one[:2])
    return EventMonitored(
        monitored=monitored(design, [outcome for _, _, outcome in started]),
        patients=tuple(name for _, name, _ in started),
        with_event=tuple(name for _, name, outcome in started if outcome),
        unknown=tuple(name for _, name, outcome in started if outcome is None),
        not_started=tuple(waiting),
    )
