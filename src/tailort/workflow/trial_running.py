"""How a trial runs at one day: visits, dose modification, serious events, response, completion, centres, gaps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailort.cohort.patients import FollowedPatient
from tailort.protocols import Protocol
from tailort.workflow.trial_completeness import Centre, Completeness, centres, completeness
from tailort.workflow.trial_completion import Completion, completion
from tailort.workflow.trial_facts import ARM, DEATH, PROGRESSION, by_pseudonym
from tailort.workflow.trial_grades import Unlisted
from tailort.workflow.trial_measures import MeasureOverTime, measures_over_time
from tailort.workflow.trial_modifications import DoseModifications, dose_modifications
from tailort.workflow.trial_recurrence import OutOfField, out_of_field
from tailort.workflow.trial_response import Responses, responses
from tailort.workflow.trial_serious import SeriousEvents, serious_events
from tailort.workflow.trial_stopping import NO_GROUP_RULE, StoppingRule, individual_stopping
from tailort.workflow.trial_visits import VisitCalendar, visit_calendar

EVENT_DATES = (DEATH, PROGRESSION)
"""Days of events: an empty cell means that it has not happened."""


@dataclass(frozen=True)
class TrialRunning:
    """A trial at one day; each part is told in its own module.

    Parameters
    ----------
    now : datetime
        Cut-off.
    protocol : str
        Its id.
    calendar : VisitCalendar or None
        None where the protocol has no follow-up, or the table tells no visit.
    modifications : DoseModifications or None
        None where it has no rules of dose modification.
    stopping : tuple of StoppingRule
        Rules that stop the treatment of one patient.
    group_rule : str
        What the protocol says of stopping the whole trial.
    serious : SeriousEvents
        Against their clock.
    responses : Responses
        By RECIST 1.1.
    measures : tuple of MeasureOverTime
        Weight, body mass index, weight loss, and every other number of the visits; none without a calendar.
    completion : Completion
        Of treatment.
    recurrence : OutOfField
        Outside the field.
    completeness : Completeness
        Of the facts that were asked for.
    centres : tuple of Centre
        By name.
    """

    now: dt.datetime
    protocol: str
    calendar: VisitCalendar | None
    modifications: DoseModifications | None
    stopping: tuple[StoppingRule, ...]
    group_rule: str
    serious: SeriousEvents
    responses: Responses
    measures: tuple[MeasureOverTime, ...]
    completion: Completion
    recurrence: OutOfField
    completeness: Completeness
    centres: tuple[Centre, ...]


def trial_running(
    protocol: Protocol,
    patients: Sequence[FollowedPatient],
    now: dt.datetime,
    *,
    unlisted: Unlisted,
    window_days: int | None = None,
    examinations: Mapping[str, Sequence[str]] | None = None,
    groups: Mapping[str, str] | None = None,
    course: str | None = None,
    arm: str = ARM,
    facts: Sequence[str] | None = None,
    event_dates: Sequence[str] = EVENT_DATES,
) -> TrialRunning:
    """Tell how a trial runs.

    Parameters
    ----------
    protocol : Protocol
        Of the trial.
    patients : sequence of FollowedPatient
        In any order.
    now : datetime
        Cut-off; its day is that of everything but the clock of serious events.
    unlisted, groups
        As of `dose_modifications`.
    window_days, examinations
        As of `visit_calendar`.
    course : str or None
        Name of the trial's course where patients have several.
    arm : str
        Fact that tells the arm.
    facts : sequence of str, optional
        Facts that every patient should have; when not given all that are told of anybody.
    event_dates : sequence of str
        Those of them that are days of events.

    Raises
    ------
    InputError
        Where the table contradicts itself; see the modules of the parts.
    """
    ordered, today = by_pseudonym(patients), now.date()
    calendar = None
    measures: tuple[MeasureOverTime, ...] = ()
    # A table without any visit tells nothing of visits, not that none was made.
    if protocol.file.follow_up is not None and any(one.visits for one in ordered):
        calendar = visit_calendar(
            protocol, ordered, today, window_days=window_days, examinations=examinations, course=course
        )
        measures = measures_over_time(calendar, ordered, course=course)
    changed = None
    if protocol.file.modifications:
        changed = dose_modifications(protocol, ordered, today, unlisted=unlisted, groups=groups, course=course)
    serious = serious_events(protocol, ordered, now)
    asked = facts if facts is not None else sorted({name for one in ordered for name in one.facts})
    complete = completeness(ordered, asked, event_dates=event_dates)
    return TrialRunning(
        now=now,
        protocol=protocol.file.id,
        calendar=calendar,
        modifications=changed,
        stopping=individual_stopping(protocol),
        group_rule=NO_GROUP_RULE,
        serious=serious,
        responses=responses(ordered, today, course=course),
        measures=measures,
        completion=completion(protocol, ordered, today, course=course, arm=arm),
        recurrence=out_of_field(ordered, today, arm=arm),
        completeness=complete,
        centres=centres(ordered, complete, calendar=calendar, serious=serious),
    )
