"""Tables of a cohort: adverse events by grade, doses of patients with and without an event, effects in subgroups."""

from __future__ import annotations

from collections.abc import Mapping

from tailort.cohort.adverse_events import ANY_TERM, GradeTable, TermGrades
from tailort.cohort.dose_comparison import DoseComparison, metric_name
from tailort.cohort.patients import HIGHEST_GRADE
from tailort.cohort.subgroups import SubgroupEffect, Subgroups
from tailort.cohort.summaries import QUARTILES
from tailort.web.cohort_cells import ALL, CANNOT, p_told, proportion_told, share
from tailort.web.plain_tables import PlainTable
from tailort.workflow.cohort_records import AdverseEvents, DoseEvents


def toxicity(events: AdverseEvents) -> list[PlainTable]:
    """Worst grade of each patient and term, in all and by group, and proportions with exact limits."""
    grades = tuple(str(grade) for grade in range(1, HIGHEST_GRADE + 1))
    overall = events.overall
    rows = [
        (line.term, _scale(line),
         *(share(line.by_grade[n], line.patients) for n in range(1, HIGHEST_GRADE + 1)),
         *(share(line.at_least(grade), line.patients) for grade in (1, 2, 3)))
        for line in (overall.any_term, *overall.terms)
    ]  # fmt: skip
    note = (
        f"Worst grade of each patient and term; n (% of {overall.patients} patients). {overall.without_entry} patients "
        "have no entry of any term: nothing was recorded of them, which is not the same as that they had nothing."
    )
    found = [
        PlainTable(
            "adverse_events", "Adverse events by grade", note,
            ("term", "scale", *(f"grade {n}" for n in grades), "any", "grade 2 and higher", "grade 3 and higher"),
            tuple(rows),
        )
    ]  # fmt: skip
    if events.groups:
        found.append(_by_group(overall, events.groups))
    compared = []
    for one in events.compared:
        groups = [proportion_told(one.overall), *(f"{g.group}: {proportion_told(g)}" for g in one.groups)]
        told = [f"{test.method}: p {p_told(test.p_value)}" for test in one.tests]
        told += dict.fromkeys([*(note for test in one.tests for note in test.notes), *([one.note] if one.note else [])])
        compared.append((one.what, groups[0], "; ".join(groups[1:]), "; ".join(told)))
    found.append(
        PlainTable(
            "adverse_events_rates", "Patients with adverse events", "Exact intervals (Clopper and Pearson 1934).",
            ("what", ALL, "groups", "tests"), tuple(compared),
        )
    )  # fmt: skip
    return found


def doses(found: DoseEvents) -> PlainTable:
    """Patients with the event beside the maximum and the quartiles of the others."""
    rows = []
    for one in found.metrics:
        name, others = metric_name(one.metric), one.others
        rest = "not known"
        if others.largest is not None and others.lower_quartile is not None and others.upper_quartile is not None:
            rest = f"{others.largest:.1f} [{others.lower_quartile:.1f} to {others.upper_quartile:.1f}]"
        missing = one.event_missing + others.missing
        rows.append(
            (name.structure, name.metric, name.quantity, name.scope, _events_told(one), rest,
             "" if others.median is None else f"{others.median:.1f}", str(others.known),
             "" if one.area is None else f"{one.area:.2f}", p_told(one.p_value) if one.p_value is not None else "",
             str(missing))
        )  # fmt: skip
    note = (
        f"Event: {found.event}. Patients with it: {found.with_event}; without: {found.without}; of whom it is not "
        f"known: {found.unknown}. Others: maximum [quartiles], {QUARTILES}. Area: under the receiver operating "
        "characteristic; p: Mann-Whitney, two-sided, exact without ties in groups below 50, else by the normal "
        f"approximation, not corrected for {len(found.metrics)} metrics. Doses in the unit of the metric."
    )
    header = ("structure", "metric", "quantity", "scope", "with the event", "others: maximum [quartiles]", "median",
              "n", "area", "p", "dose not known")  # fmt: skip
    return PlainTable("doses", f"Doses of patients with and without {found.event}", note, header, tuple(rows))


def thresholds(found: DoseEvents) -> PlainTable:
    """What threshold the doses support, in words."""
    rows = []
    for one in found.metrics:
        told = one.threshold
        where = (
            "none" if told.above is None or told.up_to is None else f"above {told.above:.1f}, up to {told.up_to:.1f}"
        )
        spread = "" if told.lower is None or told.upper is None else f"{told.lower:.1f} to {told.upper:.1f}"
        rows.append((one.metric, where, spread, told.sentence))
    note = (
        f"{len(found.metrics)} metrics of the same patients were looked at, and the best of them looks better than it "
        "is. None of these is a tolerance: patients who were given more are not among them."
    )
    header = ("metric", "threshold lies", "95 % of resampled cuts", "in words")
    return PlainTable("dose_thresholds", "Thresholds that these doses support", note, header, tuple(rows))


def subgroups(found: Subgroups) -> PlainTable:
    """Effects in subgroups with the tests of interaction."""
    rows: list[tuple[str, ...]] = [("", *_effect_cells(found.overall), "", "", "", "")]
    for test in found.tests:
        for n, effect in enumerate(test.levels):
            told = [p_told(p) if p is not None else CANNOT for p in (test.p_value, test.bonferroni, test.holm)]
            of_test = (*told, test.note) if n == 0 else ("", "", "", "")
            missing = f" ({test.missing} not known)" if test.missing and n == 0 else ""
            rows.append((f"{test.factor}{missing}" if n == 0 else "", *_effect_cells(effect), *of_test))
    header = ("factor", "patients", f"events/n, {found.compared}", f"events/n, {found.reference}",
              "hazard ratio (95 %)", "p of interaction", "by Bonferroni", "by Holm", "notes")  # fmt: skip
    note = f"{found.warning} Interaction: likelihood ratio of Cox's models, not stratified."
    name = f"subgroups_{found.endpoint.replace(' ', '_')}"
    return PlainTable(name, f"Subgroups: {found.endpoint}", note, header, tuple(rows))


def _by_group(overall: GradeTable, groups: Mapping[str, GradeTable]) -> PlainTable:
    lines: dict[str, dict[tuple[str, str], TermGrades]] = {
        group: {(line.term.casefold(), line.scale): line for line in (table.any_term, *table.terms)}
        for group, table in groups.items()
    }
    rows = []
    for line in (overall.any_term, *overall.terms):
        cells = []
        for group, table in groups.items():
            own = lines[group].get((line.term.casefold(), line.scale))
            cells += [share(own.at_least(grade) if own else 0, table.patients) for grade in (1, 2, 3)]
        rows.append((line.term, _scale(line), *cells))
    header = tuple(
        f"{group} (n = {table.patients}), {what}"
        for group, table in groups.items()
        for what in ("any", "grade 2 and higher", "grade 3 and higher")
    )
    return PlainTable(
        "adverse_events_by_group", "Adverse events by group", "Worst grade of each patient and term.",
        ("term", "scale", *header), tuple(rows),
    )  # fmt: skip


def _scale(line: TermGrades) -> str:
    return "any" if line.term == ANY_TERM else line.scale or "not told"


def _events_told(one: DoseComparison) -> str:
    values = ", ".join(f"{value:.1f}" for value in one.event_values[:8])
    return (values or "not known") + (f" ... ({len(one.event_values)})" if len(one.event_values) > 8 else "")


def _effect_cells(effect: SubgroupEffect) -> tuple[str, ...]:
    counts = [f"{events}/{n}" for events, n in zip(effect.events, effect.patients, strict=True)]
    term = effect.term
    ratio = effect.note
    if term is not None and term.hazard_ratio is not None and term.lower is not None and term.upper is not None:
        ratio = f"{term.hazard_ratio:.2f} ({term.lower:.2f} to {term.upper:.2f})"
    return (effect.level, counts[1], counts[0], ratio)
