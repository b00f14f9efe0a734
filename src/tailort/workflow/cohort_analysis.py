"""The whole analysis of a cohort: patients and endpoints go in; estimates, tests and how the trial runs come out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from tailort.cohort.adverse_events import grade_table, grade_tables
from tailort.cohort.dose_comparison import compare_doses
from tailort.cohort.patients import FollowedPatient, Patients, distinct, fact_names, numbers_of_events
from tailort.cohort.proportions import chi_square, fisher, proportion
from tailort.cohort.subgroups import Subgroups
from tailort.cohort.summaries import Characteristic, characteristics, groups_of, places_of_groups
from tailort.errors import InputError
from tailort.protocols import Protocol
from tailort.protocols.cohort_endpoints import Endpoint, days_told, endpoint_times, missing_facts
from tailort.workflow.clock import StageClock
from tailort.workflow.cohort_records import (
    MOST_GROUPS,
    AdverseEvents,
    CohortAnalysis,
    CohortOptions,
    DoseEvents,
    EndpointAnalysis,
    GroupProportion,
    ProportionComparison,
)
from tailort.workflow.cohort_survival import analyse_endpoint, subgroups_of
from tailort.workflow.trial_completion import COMPLETED
from tailort.workflow.trial_facts import (
    ARM,
    RADIOTHERAPY_END,
    STARTS,
    WITHDRAWAL,
    happened,
    truth_of,
)
from tailort.workflow.trial_grades import RECOVERED
from tailort.workflow.trial_recurrence import OUTSIDE
from tailort.workflow.trial_running import EVENT_DATES, TrialRunning, trial_running

# Of more patients than this there is no exact test: of two groups, and of more.
MOST_FOR_EXACT, MOST_FOR_EXACT_OF_SEVERAL = 2000, 200
COMPARED_GRADES = (2, 3)
OUTCOMES = ("dead", "treatment_related_death", COMPLETED, OUTSIDE, RECOVERED)
"""Facts that tell what became of a patient: no characteristics, unless they are asked for."""


def analyse(
    patients: Sequence[FollowedPatient],
    protocol: Protocol | None,
    endpoints: Sequence[Endpoint],
    options: CohortOptions,
    today: dt.date,
    clock: StageClock | None = None,
) -> CohortAnalysis:
    """Analyse a cohort.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        The cohort, as `parse_cohort` reads it.
    protocol : Protocol or None
        Tells visits, modifications and reporting; None looks at outcomes alone.
    endpoints : sequence of Endpoint
        Times to an event, of the protocol or of the table's mapping file.
    options : CohortOptions
        What is asked.
    today : date
        Day of the analysis; follow-up ends at `options.until` where that is given.
    clock : StageClock or None
        Times the stages and tells their progress.

    Raises
    ------
    InputError
        Where the cohort is empty, or a fact, an endpoint or a group that is asked for is not there.
    """
    if not patients:
        raise InputError("the cohort has no patient; expected one or more")
    clock = clock or StageClock(lambda stage, share: None)
    patients, notes = _entered(patients, endpoints, options.until)
    wanted = _wanted(endpoints, options.endpoints)
    groups = {} if options.by is None else _few_groups(patients, options.by)
    strata = None if options.strata is None else groups_of(patients, options.strata)
    factors = {fact: _few_groups(patients, fact) for fact in options.subgroups}
    cut_off = options.until or today
    with clock.stage("characteristics"):
        rows, left_out = _characteristics(patients, options, groups)
    analysed = []
    if not wanted:
        notes.append("neither the protocol nor the mapping file defines a time to an event, so there is no curve")
    for endpoint in wanted:
        with clock.stage(endpoint.name):
            analysed.append(_endpoint(patients, endpoint, options, groups, strata))
    with clock.stage("subgroups"):
        subgroups, untold = _subgroups(analysed, groups, factors)
        notes += untold
    with clock.stage("adverse events"):
        recorded, later = _until(patients, cut_off)
        events = _adverse_events(recorded, groups)
        if later:
            notes.append(f"{later} adverse events after {cut_off} are not counted")
        undated = sum(
            number * sum(event.day is None and event.grade > 0 for event in had)
            for had, number in numbers_of_events(patients)
        )
        if undated and options.until is not None:
            notes.append(f"{undated} adverse events without a day count, whenever they were")
    doses = None
    if options.event_for_doses is not None:
        with clock.stage("doses"):
            doses = _doses(patients, options.event_for_doses, options.seed, cut_off)
        if options.until is not None and not _dated(patients, options.event_for_doses):
            notes.append(f"'{options.event_for_doses}' is told without a day: it counts whenever it happened")
    with clock.stage("trial"):
        trial = None if protocol is None else _trial(patients, protocol, endpoints, options, cut_off)
    found = CohortAnalysis(
        patients if isinstance(patients, tuple) else tuple(patients),
        protocol, options, cut_off, groups, rows, left_out, tuple(analysed), subgroups, events, doses,
        trial, tuple(notes),
    )  # fmt: skip
    return replace(found, stages=clock.stages)


def event_of(patients: Sequence[FollowedPatient], fact: str, until: dt.date) -> dict[str, bool | None]:
    """Whether each patient had the event of a fact: yes or no, or a day on which it happened; None is not known.

    A day after `until` is an event that had not happened by then; a yes without a day counts.

    Raises
    ------
    InputError
        Where nobody is told to have it or not, or the fact is neither.
    """
    dated = _dated(patients, fact)
    found = {p.pseudonym: happened(p, fact) if dated else truth_of(p, fact) for p in patients}
    for patient in patients:
        day = patient.facts[fact].value if fact in patient.facts else None
        if isinstance(day, dt.date) and day > until:
            found[patient.pseudonym] = False
    if all(value is None for value in found.values()):
        known = sorted({name for one in patients for name, told in one.facts.items() if told.value is not None})
        raise InputError(f"the event '{fact}' is told of no patient; told are {', '.join(known) or 'none'}")
    return found


def _dated(patients: Sequence[FollowedPatient], fact: str) -> bool:
    return any(isinstance(p.facts[fact].value, dt.date) for p in patients if fact in p.facts)


def _entered(
    patients: Sequence[FollowedPatient], endpoints: Sequence[Endpoint], until: dt.date | None
) -> tuple[Sequence[FollowedPatient], list[str]]:
    """Patients who had entered by the cut-off, and a note on the others: they are no part of that day's cohort."""
    if until is None:
        return patients, []
    origins = [endpoint.origin for endpoint in endpoints if endpoint.origin is not None]
    cut_off = until.toordinal()
    # Who has no day of entry counts as entered.
    firsts = [days_told(distinct(patients, name))[0] for name in origins]
    is_in = ~(np.fmin.reduce(firsts) > cut_off) if origins else np.ones(len(patients), dtype=bool)
    kept = list(compress(patients, is_in.tolist()))
    if not kept:
        raise InputError(f"every patient enters after {until.isoformat()}, the day of the cut-off; choose a later one")
    later = len(patients) - len(kept)
    if not later:
        return patients, []
    note = f"{later} of {len(patients)} patients enter after {until.isoformat()} and are left out of everything"
    return Patients(kept), [note]


def _trial(
    patients: Sequence[FollowedPatient],
    protocol: Protocol,
    endpoints: Sequence[Endpoint],
    options: CohortOptions,
    day: dt.date,
) -> TrialRunning:
    """How the trial runs at the end of a day; what a table does not tell of toxicity stays unknown."""
    of_endpoints = [fact for one in endpoints for fact in (*one.event_facts, *one.competing_facts)]
    asked = [] if options.event_for_doses is None else [options.event_for_doses]
    events = tuple(dict.fromkeys((*EVENT_DATES, WITHDRAWAL, *of_endpoints, *asked)))
    starts = {one.origin for one in endpoints} | {one.last_follow_up for one in endpoints}
    names = set(fact_names(patients))
    dates = {
        name
        for name in names
        if any(fact is not None and isinstance(fact.value, dt.date) for fact in distinct(patients, name).facts)
    }
    # Of another day nobody knows whether an empty cell is a gap or an event that has not happened.
    unclear = dates - {*starts, *events, *STARTS, RADIOTHERAPY_END}
    told = sorted(names - unclear)
    times = (event.noticed or event.reported for had, _ in numbers_of_events(patients) for event in had)
    zone = next((time.tzinfo for time in times if time is not None), None)
    return trial_running(
        protocol, patients, dt.datetime.combine(day, dt.time.max, tzinfo=zone), unlisted=options.unlisted,
        course=options.course, arm=options.by or ARM, facts=told, event_dates=events,
    )  # fmt: skip


def _characteristics(
    patients: Sequence[FollowedPatient], options: CohortOptions, groups: Mapping[str, str | None]
) -> tuple[tuple[Characteristic, ...], Mapping[str, str]]:
    """What patients were, by the facts that are asked for, or by all but those of what became of them."""
    if options.characteristics:
        return characteristics(patients, options.characteristics, groups)
    told = fact_names(patients)
    outcomes = [name for name in told if name in (*OUTCOMES, options.event_for_doses)]
    rows, left_out = characteristics(patients, [name for name in told if name not in outcomes], groups)
    return rows, {**left_out, **dict.fromkeys(outcomes, "outcomes have tables of their own")}


def _wanted(endpoints: Sequence[Endpoint], names: Sequence[str]) -> list[Endpoint]:
    if not names:
        return list(endpoints)
    known = {endpoint.name: endpoint for endpoint in endpoints}
    for name in names:
        if name not in known:
            raise InputError(f"there is no endpoint '{name}'; known are {', '.join(known) or 'none'}")
    return [known[name] for name in names]


def _few_groups(patients: Sequence[FollowedPatient], fact: str) -> dict[str, str | None]:
    groups = groups_of(patients, fact)
    number = len({name for name in groups.values() if name is not None})
    if number > MOST_GROUPS:
        raise InputError(f"'{fact}' makes {number} groups; compare {MOST_GROUPS} at most, by a fact with categories")
    return groups


def _endpoint(
    patients: Sequence[FollowedPatient],
    endpoint: Endpoint,
    options: CohortOptions,
    groups: Mapping[str, str | None],
    strata: Mapping[str, str | None] | None,
) -> EndpointAnalysis:
    missing = missing_facts(patients, endpoint)
    if missing:
        return EndpointAnalysis(endpoint, None, f"no patient of the table has {', '.join(missing)}")
    times = endpoint_times(patients, endpoint, until=options.until)
    return analyse_endpoint(endpoint, times, groups, strata, options.strata or "")


def _subgroups(
    analysed: Sequence[EndpointAnalysis],
    groups: Mapping[str, str | None],
    factors: Mapping[str, Mapping[str, str | None]],
) -> tuple[tuple[Subgroups, ...], list[str]]:
    """Interactions of each endpoint, and where there are none because too few groups or levels are left at it."""
    if not factors:
        return (), []
    found, notes = [], []
    for one in analysed:
        if one.times is None or not one.overall:
            continue
        if len(one.groups) == 1:
            notes.append(f"{one.endpoint.name}: '{one.groups[0].name}' alone is left, so no subgroups are compared")
            continue
        seen = [name for name in one.times.pseudonyms if groups.get(name) is not None]
        left = {fact: {told.get(name) for name in seen} - {None} for fact, told in factors.items()}
        single = [fact for fact, told in factors.items() if len(left[fact]) < 2 <= len(set(told.values()) - {None})]
        notes += [f"{one.endpoint.name}: one level of '{fact}' alone is left, so it is not compared" for fact in single]
        several = {fact: told for fact, told in factors.items() if fact not in single}
        if several:
            found.append(subgroups_of(one.times, groups, several))
    return tuple(found), notes


def _until(patients: Sequence[FollowedPatient], day: dt.date) -> tuple[Sequence[FollowedPatient], int]:
    """Patients with the adverse events up to a day, and how many later ones there were; undated ones stay."""
    if not any(event.day is not None and event.day > day for had, _ in numbers_of_events(patients) for event in had):
        return patients, 0
    kept, later = [], 0
    for patient in patients:
        left = sum(event.day is not None and event.day > day for event in patient.adverse_events)
        if left:
            events = tuple(e for e in patient.adverse_events if e.day is None or e.day <= day)
            kept.append(replace(patient, adverse_events=events))
        else:
            kept.append(patient)
        later += left
    return kept, later


def _adverse_events(patients: Sequence[FollowedPatient], groups: Mapping[str, str | None]) -> AdverseEvents | None:
    if not any(patient.adverse_events for patient in patients):
        return None
    worst = {id(had): max((event.grade for event in had), default=0) for had, _ in numbers_of_events(patients)}
    grades = np.array([worst[id(one.adverse_events)] for one in patients], dtype=np.int64)
    members = places_of_groups(patients, groups)
    compared = tuple(
        _compare(f"any adverse event of grade {grade} and higher", grades >= grade, members)
        for grade in COMPARED_GRADES
    )
    return AdverseEvents(grade_table(patients), grade_tables(patients, groups), compared)


def _compare(what: str, had: NDArray[np.bool_], members: Mapping[str, NDArray[np.intp]]) -> ProportionComparison:
    """Compare who had something, by the places of each group's patients."""
    overall = GroupProportion("", proportion(int(had.sum()), len(had)))
    yes = {name: int(had[some].sum()) for name, some in members.items()}
    shares = tuple(GroupProportion(name, proportion(yes[name], len(some))) for name, some in members.items())
    if len(members) < 2:
        return ProportionComparison(what, overall, shares)
    counts = np.array([[yes[name], len(some) - yes[name]] for name, some in members.items()], dtype=np.int64)
    if not counts.sum(axis=0).all():
        told = "everybody" if counts[:, 0].any() else "nobody"
        return ProportionComparison(what, overall, shares, note=f"{told} had it: there is nothing to compare")
    tests, note = [chi_square(counts, continuity=False)], ""
    if len(members) == 2:
        tests.append(chi_square(counts, continuity=True))
    if counts.sum() <= (MOST_FOR_EXACT if len(members) == 2 else MOST_FOR_EXACT_OF_SEVERAL):
        try:
            tests.append(fisher(counts))
        except InputError as error:
            note = f"no exact test: {error}"
    return ProportionComparison(what, overall, shares, tuple(tests), note)


def _doses(patients: Sequence[FollowedPatient], fact: str, seed: int, until: dt.date) -> DoseEvents:
    had = event_of(patients, fact, until)
    values = list(had.values())
    metrics = compare_doses(patients, had, np.random.default_rng(seed))
    return DoseEvents(fact, values.count(True), values.count(False), values.count(None), metrics)
