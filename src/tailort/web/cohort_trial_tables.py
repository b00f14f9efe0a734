"""Tables of how a trial runs: visits, cycles against their rules, serious events, response, weight, completeness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tailort.cohort.patients import fact_names
from tailort.web.cohort_cells import percent_told
from tailort.web.plain_tables import PlainTable
from tailort.workflow.cohort_records import CohortAnalysis
from tailort.workflow.trial_completeness import Centre, Completeness
from tailort.workflow.trial_completion import Completion, Rate
from tailort.workflow.trial_measures import MeasureOverTime
from tailort.workflow.trial_modifications import DoseModifications
from tailort.workflow.trial_recurrence import OutOfField
from tailort.workflow.trial_response import Responses
from tailort.workflow.trial_serious import SeriousEvents
from tailort.workflow.trial_stopping import StoppingRule
from tailort.workflow.trial_visits import VisitCalendar

_RESPONSE = {
    "CR": "complete response",
    "PR": "partial response",
    "SD": "stable disease",
    "PD": "progressive disease",
    "NE": "not evaluable",
}
# Pseudonyms that a cell names.
_MOST_NAMES = 12


def trial_tables(result: CohortAnalysis) -> list[PlainTable]:
    """Every table that there is something to put in."""
    trial, calendar = result.trial, calendar_of(result)
    if trial is None:
        return []
    tables = []
    if calendar is not None:
        tables += [_visits(calendar), _outstanding(calendar), _measures(trial.measures)]
    if any(patient.lesions for patient in result.patients):
        tables += [_responses(trial.responses), _best(trial.responses)]
    if any(patient.cycles for patient in result.patients) and trial.modifications is not None:
        tables.append(_modifications(trial.modifications))
    if any(patient.adverse_events for patient in result.patients):
        tables.append(_serious(trial.serious))
    tables += [
        _stopping(trial.stopping),
        _rates(trial.completion, trial.recurrence),
        _completeness(trial.completeness, result),
    ]
    if len(trial.centres) > 1:
        tables.append(_centres(trial.centres))
    return [table for table in tables if table.rows]


def calendar_of(result: CohortAnalysis) -> VisitCalendar | None:
    """The visits against their plan; None where the table tells none."""
    return None if result.trial is None else result.trial.calendar


def trial_lines(result: CohortAnalysis) -> list[str]:
    """The same in sentences: what was counted, and what is not told."""
    trial, calendar = result.trial, calendar_of(result)
    if trial is None:
        return ["No protocol was given: nothing is known of what the trial asks for."]
    lines, not_told = [], []
    if calendar is not None:
        counted = ", ".join(f"{number} {status}" for status, number in calendar.counted().items())
        lines.append(f"Visits to {calendar.today}: {counted}.")
    elif result.protocol is not None and result.protocol.file.follow_up is not None:
        not_told.append("visits")
    if not any(patient.lesions for patient in result.patients):
        not_told.append("lesions, so no response")
    if trial.modifications is not None:
        if any(patient.cycles for patient in result.patients):
            judged = ", ".join(f"{verdict} {number}" for verdict, number in trial.modifications.counted().items())
            lines.append(f"Cycles against the rules of dose modification: {judged}.")
        else:
            not_told.append("cycles of chemotherapy")
    if not any(patient.adverse_events for patient in result.patients):
        not_told.append("adverse events")
    elif trial.serious.rows:
        lines.append(f"Serious events: {len(trial.serious.rows)}, {trial.serious.late} of them late or not reported.")
    if trial.stopping:
        lines.append(trial.group_rule)
    if not_told:
        lines.append(f"The table tells no {', no '.join(not_told)}.")
    if trial.completeness.percent is not None:
        lines.append(f"Of all facts that are expected {trial.completeness.percent:.1f} % are told.")
    return lines


def _visits(calendar: VisitCalendar) -> PlainTable:
    """Visits by month of the plan and by what became of them."""
    counted = Counter((v.month, v.status) for patient in calendar.patients for v in patient.planned)
    statuses = list(dict.fromkeys(status for _, status in counted))
    rows = []
    for month in sorted({month for month, _ in counted}):
        numbers = [counted[month, status] for status in statuses]
        rows.append((str(month), str(sum(numbers)), *map(str, numbers)))
    return PlainTable(
        "visits", f"Visits, in months from {calendar.counted_from}", " ".join(calendar.readings),
        ("month", "patients", *statuses), tuple(rows),
    )  # fmt: skip


def _outstanding(calendar: VisitCalendar) -> PlainTable:
    rows = []
    for patient in calendar.patients:
        if patient.outstanding:
            months = {
                status: [str(v.month) for v in patient.planned if v.status == status]
                for status in ("missed", "overdue")
            }
            since = [f"{v.days_off} days" for v in patient.planned if v.status == "overdue" and v.days_off is not None]
            rows.append(
                (patient.pseudonym, ", ".join(months["missed"]), ", ".join(months["overdue"]), ", ".join(since))
            )
    return PlainTable(
        "visits_outstanding", "Visits overdue or missed", "Months of the plan; an overdue one can still be made up.",
        ("patient", "missed", "overdue", "for"), tuple(rows),
    )  # fmt: skip


def _measures(measures: tuple[MeasureOverTime, ...]) -> PlainTable:
    rows = []
    for one in measures:
        for month in one.months:
            numbers = month.numbers
            told = "known of nobody"
            if numbers.median is not None:
                told = f"{numbers.median:.1f} [{numbers.lower_quartile:.1f} to {numbers.upper_quartile:.1f}]"
            name = f"{one.name}, {one.unit}" if one.unit else one.name
            rows.append((name, str(month.month), str(month.expected), str(numbers.known), told))
    return PlainTable(
        "measures", "Numbers of visits over time",
        "Median [quartiles] of the patients whose visit was made or is outstanding; month 0 is before treatment.",
        ("what", "month", "patients expected", "known", "median"), tuple(rows),
    )  # fmt: skip


def _responses(found: Responses) -> PlainTable:
    """Best response of the cohort."""
    counted = found.counted()
    total = sum(counted.values())
    rows = [
        (_RESPONSE.get(name, name), f"{number} ({100 * number / total:.1f} %)")
        for name, number in counted.items()
        if total
    ]
    note = f"{len(found.without_lesions)} patients have no lesion in the table. {' '.join(found.readings)}"
    return PlainTable("response", "Best response by RECIST 1.1", note, ("response", "patients"), tuple(rows))


def _best(found: Responses) -> PlainTable:
    rows = [
        (one.pseudonym, _RESPONSE.get(one.best or "", "unknown"), _day(one.progression_day), _day(one.recorded_day),
         one.agreement, "; ".join(one.notes))
        for one in found.patients
    ]  # fmt: skip
    return PlainTable(
        "response_by_patient", "Response of each patient", "",
        ("patient", "best", "progression by lesions", "as recorded", "the two", "notes"), tuple(rows),
    )  # fmt: skip


def _modifications(found: DoseModifications) -> PlainTable:
    """Cycles and courses that do not agree with the rules, or of which it is not known."""
    rows = []
    for row in found.rows:
        if row.verdict == "agrees":
            continue
        given = "not told" if row.given_percent is None else f"{row.given_percent:g} %"
        rows.append((row.pseudonym, row.part, row.asked or "not known", given, row.verdict, "; ".join(row.reasons),
                     " ".join(row.rules)))  # fmt: skip
    note = " ".join(found.readings)
    if found.ungrouped:
        note += f" Terms of no known group: {', '.join(found.ungrouped)}."
    agreeing = found.counted()["agrees"]
    return PlainTable(
        "dose_modifications", "Dose modification: what deviates or is not known", f"{agreeing} more agree. {note}",
        ("patient", "part", "the rules ask", "given", "verdict", "why", "rules"), tuple(rows),
    )  # fmt: skip


def _stopping(found: Sequence[StoppingRule]) -> PlainTable:
    rows = [(rule.name, rule.when, rule.action, " ".join(rule.rules)) for rule in found]
    return PlainTable(
        "stopping_rules", "Rules that stop the treatment of one patient", "", ("rule", "when", "then", "rules"),
        tuple(rows),
    )  # fmt: skip


def _serious(found: SeriousEvents) -> PlainTable:
    rows = []
    for told, seriousness in ((found.rows, "yes"), (found.not_told, "not told")):
        for row in told:
            hours = "" if row.hours is None else f"{row.hours:.1f}"
            rows.append(
                (row.pseudonym, row.centre, row.term, str(row.grade), seriousness, hours, row.status, row.reason)
            )
    note = "The protocol tells no hours within which they are reported. "
    if found.within_hours is not None:
        note = f"To be reported within {found.within_hours:g} hours{' to ' * bool(found.report_to)}{found.report_to}. "
    note += " ".join(found.contradictions)
    return PlainTable(
        "serious_events", "Serious adverse events against their clock", note,
        ("patient", "centre", "term", "grade", "serious", "hours", "status", "why"), tuple(rows),
    )  # fmt: skip


def _rates(completion: Completion, recurrence: OutOfField) -> PlainTable:
    """Completion of treatment and recurrence outside the field, with exact limits."""
    every: Sequence[Rate] = (*completion.rates, *recurrence.among_patients, *recurrence.among_recurrences)
    known = {one.what for one in every if one.found is not None}
    rows = [
        (one.what, one.group, "cannot be told" if one.found is None else percent_told(one.found), str(one.unknown))
        for one in every
        if one.what in known
    ]
    note = " ".join((*completion.readings, *recurrence.readings))
    header = ("what", "patients", "n/N, % (95 %)", "not known")
    return PlainTable(
        "completion", "Completion of treatment, and recurrence outside the field", note, header, tuple(rows)
    )


def _completeness(found: Completeness, result: CohortAnalysis) -> PlainTable:
    """Facts that are missing of somebody."""
    rows = []
    for one in found.facts:
        if one.missing:
            share = "" if one.percent is None else f"{one.percent:.1f} %"
            more = "" if len(one.missing) <= _MOST_NAMES else f" and {len(one.missing) - _MOST_NAMES} more"
            rows.append((one.name, f"{one.told}/{one.expected}", share, ", ".join(one.missing[:_MOST_NAMES]) + more))
    complete = sum(not one.missing for one in found.facts)
    note = f"{complete} more facts are told of every patient. A day of an event that has not happened is no gap."
    asked = {one.name for one in found.facts}
    others = sorted(set(fact_names(result.patients)) - asked)
    if others:
        note += f" Not counted, because an empty cell may be an event that has not happened: {', '.join(others)}."
    return PlainTable(
        "completeness", "What is missing", note, ("fact", "told", "share", "missing of"), tuple(rows)
    )  # fmt: skip


def _centres(found: Sequence[Centre]) -> PlainTable:
    rows = []
    for one in found:
        share = "" if one.percent is None else f"{one.percent:.1f} %"
        numbers = (one.patients, one.overdue_visits, one.missed_visits, one.incomplete_visits, one.adverse_events,
                   one.serious, one.late_reports)  # fmt: skip
        rows.append((one.name, *(str(number) for number in numbers), share))
    header = ("centre", "patients", "visits overdue", "visits missed", "visits without every examination",
              "adverse events", "serious", "reported late", "facts told")  # fmt: skip
    return PlainTable("centres", "Centres", "", header, tuple(rows))


def _day(day: object) -> str:
    return "none" if day is None else str(day)
