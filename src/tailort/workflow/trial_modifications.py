"""Dose modification as the protocol's rules ask for it, against what was given: agrees, deviates, or unknown and why.

The rules of the salvage trial (MS-90 to MS-98) name the worst toxicity after cycle 1 and change cycle 2. For later
cycles they are asked only whether chemotherapy had to be stopped by then. That radiotherapy stops as well (MS-95) is
held against its last fraction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tailort.cohort.patients import CycleGiven, FollowedPatient
from tailort.cohort.toxicity_groups import GROUPS, Group, group_of
from tailort.errors import InputError
from tailort.protocols import Answer, Protocol
from tailort.protocols.schema import ProtocolFile
from tailort.protocols.treatment_drugs import STOPS, toxicity_of
from tailort.protocols.treatment_records import ToxicityAnswer
from tailort.workflow.trial_facts import TrialDays, by_pseudonym, days_in
from tailort.workflow.trial_grades import RECOVERED, Graded, Unlisted, graded

Verdict = Literal["agrees", "deviates", "unknown"]
FULL_DOSE, RADIOTHERAPY = "full dose", "radiotherapy"
FIRST, JUDGED = 1, 2
STOP_BOTH = "stop-all"

UNLISTED_READINGS: dict[Unlisted, str] = {
    "grade 0": "A group of toxicity without any entry in the table is taken as grade 0.",
    "unknown": "A group of toxicity without any entry in the table is unknown.",
}
WORSE_OF_SCALES = "NM-141, ambiguous: where RTOG and CTCAE grade differently the worse grade counts."
GROUPS_RECALLED = "Which terms are haematological, hepatic, renal or pneumonitis is recalled (NM-130 to NM-133)."
WHOLE_PERCENT = "Doses of cycles are compared in whole per cent."


@dataclass(frozen=True)
class Judged:
    """One cycle, or the course of radiotherapy, of one patient.

    Parameters
    ----------
    pseudonym : str
        The patient.
    part : str
        "cycle 2", "radiotherapy".
    grades : mapping of Group to (int or None, int or None)
        Worst grade that is certain and that is possible.
    asked : str or None
        What the rules ask for by what is certain; None where a more severe action is as possible.
    asked_percent, given_percent : float or None
        Of the full dose; None is unknown, and of radiotherapy not asked.
    verdict : {"agrees", "deviates", "unknown"}
        What was given against what is asked.
    reasons : tuple of str
        How it deviates, or why it is unknown.
    rules : tuple of str
        Ids of the rules that ask for it.
    """

    pseudonym: str
    part: str
    grades: Mapping[Group, tuple[int | None, int | None]]
    asked: str | None
    asked_percent: float | None
    given_percent: float | None
    verdict: Verdict
    reasons: tuple[str, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True)
class DoseModifications:
    """Dose modification of a trial.

    Parameters
    ----------
    rows : tuple of Judged
        By pseudonym, cycles in their order, then radiotherapy where it had to be stopped.
    without_cycles : tuple of str
        Patients of whom no cycle is told.
    ungrouped : tuple of str
        Terms that belong to no known group; name their group to settle them.
    readings : tuple of str
        What was taken where the protocol or the table leaves it open.
    """

    rows: tuple[Judged, ...]
    without_cycles: tuple[str, ...]
    ungrouped: tuple[str, ...]
    readings: tuple[str, ...]

    def counted(self) -> dict[Verdict, int]:
        """Number of rows by verdict."""
        found: dict[Verdict, int] = {"agrees": 0, "deviates": 0, "unknown": 0}
        for row in self.rows:
            found[row.verdict] += 1
        return found


@dataclass(frozen=True)
class _Trial:
    """What is the same for all patients; `answers` to facts that were asked before, as most patients are alike."""

    file: ProtocolFile
    today: dt.date
    unlisted: Unlisted
    groups: Mapping[str, str]
    cycle_days: int | None
    facts: tuple[str, ...]
    answers: dict[tuple[tuple[Any, ...], tuple[Any, ...]], _Asked] = field(default_factory=dict)


@dataclass(frozen=True)
class _Asked:
    """What the rules ask for by certain grades; every per cent that is possible; whether the cycle is held."""

    certain: ToxicityAnswer
    percents: frozenset[int]
    held: Answer
    open_facts: tuple[str, ...]
    settled: bool


def dose_modifications(
    protocol: Protocol,
    patients: Sequence[FollowedPatient],
    today: dt.date,
    *,
    unlisted: Unlisted,
    groups: Mapping[str, str] | None = None,
    course: str | None = None,
) -> DoseModifications:
    """Hold the cycles that were given against the protocol's rules of dose modification.

    Parameters
    ----------
    protocol : Protocol
        With rules of dose modification.
    patients : sequence of FollowedPatient
        In any order.
    today : date
        Cut-off; what is dated later is not looked at.
    unlisted : {"grade 0", "unknown"}
        What a group of toxicity is of which a patient has no entry. A table of adverse events alone does not say it.
    groups : mapping of str to str, optional
        Groups of terms that the packaged table does not know.
    course : str or None
        Name of the trial's course where patients have several.

    Raises
    ------
    InputError
        Where the protocol has no such rules, a cycle is told twice, or days contradict each other.
    """
    file = protocol.file
    if not file.modifications:
        raise InputError(f"protocol '{file.id}' has no rules of dose modification")
    own = groups or {}
    concurrent = [] if file.drugs is None else [r for r in file.drugs.regimens if r.setting == "concurrent"]
    lengths = {regimen.cycle_days for regimen in concurrent if regimen.cycle_days is not None}
    looked_at = dict.fromkeys(name for entry in file.modifications for name in entry.when.evaluate({}).facts)
    trial = _Trial(file, today, unlisted, own, lengths.pop() if len(lengths) == 1 else None, tuple(looked_at))
    rows: list[Judged] = []
    without, differ = [], False
    ordered = by_pseudonym(patients)
    for patient in ordered:
        days = days_in(ordered, patient, today, course)
        found, scales = _cycles(trial, patient, days)
        rows += found
        differ = differ or scales
        if not patient.cycles:
            without.append(patient.pseudonym)
        stopped = _radiotherapy(trial, patient, days)
        if stopped is not None:
            rows.append(stopped)
    terms = {
        event.term.strip() for p in patients for event in p.adverse_events if not group_of(event.term, event.scale, own)
    }
    named = {rule for row in rows for rule in row.rules}
    readings = [UNLISTED_READINGS[unlisted], GROUPS_RECALLED, WHOLE_PERCENT]
    readings += [WORSE_OF_SCALES] if differ else []
    readings += [
        f"{rule.id}, ambiguous: {rule.reading.default}; it can also mean: {rule.reading.other}."
        for rule in file.rules
        if rule.reading is not None and rule.id in named
    ]
    return DoseModifications(tuple(rows), tuple(without), tuple(sorted(terms)), tuple(readings))


def _cycles(trial: _Trial, patient: FollowedPatient, days: TrialDays) -> tuple[list[Judged], bool]:
    """Rows of the cycles after the first; and whether scales differ in one of them."""
    cycles: dict[int, CycleGiven] = {}
    for one in patient.cycles:
        if one.number in cycles:
            raise InputError(f"patient '{patient.pseudonym}' has cycle {one.number} twice; tell it once")
        if one.day is None or one.day <= trial.today:
            cycles[one.number] = one
    if FIRST not in cycles:
        return [], False
    first = cycles[FIRST].day
    rows, differ = [], False
    for number in sorted({JUDGED, *cycles} - {FIRST}):
        cycle = cycles.get(number, CycleGiven(number))
        planned = None
        if first is not None and trial.cycle_days is not None:
            planned = first + dt.timedelta(days=trial.cycle_days * (number - 1))
        # Without a day of its own a cycle that was left out is judged by what was known on its planned day.
        until = cycle.day or (None if planned is None else min(planned, trial.today + dt.timedelta(days=1)))
        found = _grades(trial, patient, days, first, until, with_facts=number == JUDGED)
        differ = differ or bool(found.scales_differ)
        asked = _asked(trial, patient, found, cycle.day)
        if number == JUDGED:
            rows.append(_second(trial, patient, days, cycle, planned, found, asked))
        else:
            rows.append(_later(patient, cycle, found, asked))
    return rows, differ


def _grades(
    trial: _Trial,
    patient: FollowedPatient,
    days: TrialDays,
    first: dt.date | None,
    until: dt.date | None,
    *,
    with_facts: bool,
) -> Graded:
    # Pneumonitis counts from the first fraction on, whatever cycle; the rest after cycle 1 began.
    since: dict[Group, dt.date | None] = dict.fromkeys(GROUPS, first)
    since["pneumonitis"] = days.start or first
    return graded(patient, since, until, unlisted=trial.unlisted, groups=trial.groups, with_facts=with_facts)


def _asked(trial: _Trial, patient: FollowedPatient, found: Graded, day: dt.date | None) -> _Asked:
    facts: dict[str, Any] = {name: patient.facts[name].value for name in trial.facts if name in patient.facts}
    told = patient.facts.get(RECOVERED)
    if told is None or told.value is None or (told.date is not None and day is not None and told.date > day):
        facts[RECOVERED] = found.recovered
    least, most = facts | found.values(possible=False), facts | found.values(possible=True)
    key = (tuple(map(least.get, trial.facts)), tuple(map(most.get, trial.facts)))
    if key not in trial.answers:
        trial.answers[key] = _answer(trial.file, least, most)
    return trial.answers[key]


def _answer(file: ProtocolFile, least: Mapping[str, Any], most: Mapping[str, Any]) -> _Asked:
    """What the rules ask for by facts that are certain and by those that are possible."""
    certain, possible = toxicity_of(file, least), toxicity_of(file, most)
    assert certain is not None
    assert possible is not None
    percents = {_percent(certain), _percent(possible)}
    held: Answer = "no"
    # Nothing that is still open makes a stop milder.
    for line in certain.lines if certain.dose_factor is not None else ():
        if line.action == "hold-cycle" and line.answer != "no":
            held = line.answer
            percents.add(0)
        elif line.answer == "unknown":
            percents.add(round(100 * line.dose_factor) if line.dose_factor else 0)
    open_facts = tuple(dict.fromkeys((*certain.missing, *possible.missing)))
    settled = certain.action == possible.action and certain.dose_factor == possible.dose_factor and not open_facts
    return _Asked(certain, frozenset(percents), held, open_facts, settled)


def _percent(answer: ToxicityAnswer) -> int:
    return 0 if answer.dose_factor is None else round(100 * answer.dose_factor)


def _second(
    trial: _Trial,
    patient: FollowedPatient,
    days: TrialDays,
    cycle: CycleGiven,
    planned: dt.date | None,
    found: Graded,
    asked: _Asked,
) -> Judged:
    given = cycle.percent
    verdict: Verdict = "agrees"
    reasons: list[str] = []
    if given is None:
        verdict = "unknown"
        if planned is not None and days.ended is not None and days.ended <= planned:
            reasons.append(f"{days.ended_by} on {days.ended}, before the cycle")
        elif planned is not None and planned > trial.today:
            reasons.append(f"the cycle is planned for {planned}")
        else:
            reasons.append("what was given is not told")
    elif round(given) not in asked.percents:
        verdict = "deviates"
        wanted = " or ".join(f"{percent} %" for percent in sorted(asked.percents))
        reasons.append(f"{wanted} asked, {given:g} % given")
    elif asked.held == "yes" and given > 0:
        on_time = cycle.day is not None and planned is not None and cycle.day <= planned
        verdict = "deviates" if on_time else "unknown"
        told = "" if on_time else "; whether it had by the day on which it was given is not told"
        reasons.append(f"given {'as planned ' if on_time else ''}though toxicity had not recovered{told}")
    elif len(asked.percents) > 1 and asked.held != "yes":
        verdict = "unknown"
    if verdict != "agrees" and not asked.settled:
        reasons += [f"'{name}' is not known" for name in asked.open_facts] + list(found.open_events)
    return _row(patient, f"cycle {cycle.number}", found, asked, given, verdict, reasons)


def _later(patient: FollowedPatient, cycle: CycleGiven, found: Graded, asked: _Asked) -> Judged:
    """A cycle of which the rules say only that it is not given once chemotherapy had to stop."""
    given = cycle.percent
    verdict: Verdict = "unknown"
    reasons = ["the rules are printed for cycle 2; of later ones it is asked only whether chemotherapy had to stop"]
    if asked.certain.action in STOPS and given is not None:
        verdict = "agrees" if given == 0 else "deviates"
        reasons = [] if given == 0 else [f"chemotherapy had to stop by then, {given:g} % given"]
    return _row(patient, f"cycle {cycle.number}", found, asked, given, verdict, reasons)


def _row(
    patient: FollowedPatient,
    part: str,
    found: Graded,
    asked: _Asked,
    given: float | None,
    verdict: Verdict,
    reasons: Sequence[str],
) -> Judged:
    rules = tuple(dict.fromkeys(rule for line in asked.certain.lines if line.answer == "yes" for rule in line.rules))
    return Judged(
        pseudonym=patient.pseudonym,
        part=part,
        grades={group: (one.certain, one.possible) for group, one in found.grades.items()},
        asked=(asked.certain.action or FULL_DOSE) if asked.settled or asked.certain.action == STOP_BOTH else None,
        asked_percent=float(next(iter(asked.percents))) if len(asked.percents) == 1 else None,
        given_percent=given,
        verdict=verdict,
        reasons=tuple(reasons),
        rules=rules,
    )


def _radiotherapy(trial: _Trial, patient: FollowedPatient, days: TrialDays) -> Judged | None:
    """Whether radiotherapy ended with the toxicity that stops it; None where none stops it for certain."""
    first = min((one.day for one in patient.cycles if one.day is not None), default=days.start)
    seen = sorted({event.day for event in patient.adverse_events if event.day is not None and event.day <= trial.today})
    last = days.radiotherapy_end
    for day in seen:
        found = _grades(trial, patient, days, first, day + dt.timedelta(days=1), with_facts=False)
        asked = _asked(trial, patient, found, day)
        if asked.certain.action == STOP_BOTH:
            verdict: Verdict = "unknown" if last is None else "agrees" if last <= day else "deviates"
            reasons: dict[Verdict, list[str]] = {
                "agrees": [],
                "deviates": [f"it had to stop on {day}, the last fraction was on {last}"],
                "unknown": ["the last fraction is not told"],
            }
            return _row(patient, RADIOTHERAPY, found, asked, None, verdict, reasons[verdict])
    found = _grades(trial, patient, days, first, trial.today + dt.timedelta(days=1), with_facts=True)
    asked = _asked(trial, patient, found, None)
    if asked.certain.action != STOP_BOTH:
        return None
    return _row(patient, RADIOTHERAPY, found, asked, None, "unknown", ["the day on which it had to stop is not told"])
