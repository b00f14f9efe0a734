"""The report of a cohort: how endpoints are defined, who is counted, curves, toxicity, doses, how the trial runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tailort.cohort.survival import Quantile
from tailort.protocols import Protocol
from tailort.web.cohort_cells import CANNOT, p_told, quantile_told
from tailort.web.cohort_figures import (
    MOST_ROWS,
    Drawing,
    forest_drawing,
    incidence_drawing,
    stacked_drawing,
    survival_drawing,
    visit_drawing,
)
from tailort.web.cohort_tables import (
    characteristics,
    definitions,
    follow_up,
    hazards,
    left_out,
    rates,
    tests,
    to_read,
)
from tailort.web.cohort_toxicity_tables import doses, subgroups, thresholds, toxicity
from tailort.web.cohort_trial_tables import calendar_of, trial_lines, trial_tables
from tailort.web.page import plain_provenance, render
from tailort.web.plain_tables import PlainTable
from tailort.web.rule_tables import overlay_warnings
from tailort.workflow.clock import Stage
from tailort.workflow.cohort_records import CohortAnalysis, EndpointAnalysis


def cohort_report(
    result: CohortAnalysis,
    described: Mapping[str, Any],
    stages: Sequence[Stage],
    drawings: Sequence[Drawing] | None = None,
    before: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the report of a cohort as HTML.

    Parameters
    ----------
    result : CohortAnalysis
        What was found.
    described : mapping
        Of the run: versions, options, hashes.
    stages : sequence of Stage
        Seconds.
    drawings : sequence of Drawing or None
        Its figures; None draws them.
    before : sequence of mapping
        Sections that stand before the others, such as the truth of a virtual cohort.
    """
    pictures = {one.name: one.picture() for one in (cohort_drawings(result) if drawings is None else drawings)}
    protocol = result.protocol
    by = "no protocol" if protocol is None else f"protocol {protocol.id} {protocol.version}"
    contents = {
        "title": "Cohort" if protocol is None else f"Cohort: {protocol.title}",
        "subtitle": f"{_counted(len(result.patients))}; {by}; to {result.today}; TailoRT {described['tailort']}",
        "warnings": [] if protocol is None else overlay_warnings(protocol),
        "cards": _cards(result), "summary": _summary(result), "decision": None, "planes": [], "dvh": None,
        "sections": [*before, *_sections(result, pictures)], "tables": [], "scorecards": [], "comparison": None,
        "bevs": [], "made": [],
        "rules": [] if protocol is None else protocol.rules,
        "provenance": [line for line in plain_provenance(described) if line[0] != "Dose engine"],
        "notes": [], "stages": stages,
    }  # fmt: skip
    return render(contents)


def cohort_drawings(result: CohortAnalysis) -> list[Drawing]:
    """Every figure of a cohort, each by the name of its files."""
    drawn = []
    for n, one in enumerate(result.endpoints):
        if one.overall is None:
            continue
        drawn += _curves(_name(n, one), one)
    drawn += [forest_drawing(f"forest_{n + 1}", one) for n, one in enumerate(result.subgroups)]
    calendar = calendar_of(result)
    if calendar is not None:
        rows = [(p.pseudonym, [(v.month, v.status) for v in p.planned]) for p in calendar.patients if p.planned]
        if 0 < len(rows) <= MOST_ROWS:
            drawn.append(visit_drawing("visits", rows))
    return drawn


def _curves(name: str, one: EndpointAnalysis) -> list[Drawing]:
    assert one.overall is not None
    says, causes = one.endpoint.name, (one.endpoint.name, *one.endpoint.competing)
    shown = list(one.groups) if len(one.groups) > 1 else [one.overall]
    first = next((test for test in one.tests), None)
    told = "" if first is None or first.p_value is None else f"{first.method}: p {p_told(first.p_value)}"
    remark = f"Counted from: {one.endpoint.counted_from}."
    if one.overall.survival is not None:
        curves = [(outcome.name, outcome.survival) for outcome in shown if outcome.survival is not None]
        return [survival_drawing(name, curves, says, remark, told)]
    assert one.overall.incidence is not None
    lines = [(outcome.name, outcome.incidence) for outcome in shown if outcome.incidence is not None]
    return [
        incidence_drawing(name, lines, causes, says, remark, told),
        stacked_drawing(f"{name}_stacked", one.overall.incidence, causes, says),
    ]


def _name(n: int, one: EndpointAnalysis) -> str:
    """Name of an endpoint's figures: letters, figures and underscores alone, and its number."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in one.endpoint.name.lower())
    return f"{n + 1}_{plain}"


def _sections(result: CohortAnalysis, pictures: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = [one for one in result.endpoints if one.overall is not None]
    sections = [
        _section("What is counted", [definitions(result.endpoints), _readings(result), left_out(known)]),
        _section("Who the patients are", [characteristics(result)]),
    ]
    for n, one in enumerate(result.endpoints):
        if one.overall is None:
            continue
        drawn = [pictures[name] for name in (_name(n, one), f"{_name(n, one)}_stacked") if name in pictures]
        lines = [*one.notes]
        if one.ungrouped:
            lines.append(f"{_counted(one.ungrouped)} of no known group or stratum count in the whole cohort alone.")
        for outcome in (one.overall, *one.groups):
            curve = outcome.survival or outcome.incidence
            assert curve is not None
            lines += [f"{outcome.name}: {note}" if outcome.name else note for note in curve.notes]
        own = [_own(table) for table in (rates([one]), follow_up([one]), tests([one]), hazards([one]))]
        sections.append(_section(one.endpoint.name, own, drawn, list(dict.fromkeys(lines))))
    for n, found in enumerate(result.subgroups):
        forest = [pictures[name] for name in (f"forest_{n + 1}",) if name in pictures]
        sections.append(_section(f"Who benefits: {found.endpoint}", [subgroups(found)], forest))
    if result.adverse_events is not None:
        sections.append(_section("Toxicity", toxicity(result.adverse_events)))
    if result.doses is not None:
        sections.append(_section("Dose and event", [doses(result.doses), thresholds(result.doses)]))
    visits = [pictures["visits"]] if "visits" in pictures else []
    sections.append(_section("How the trial runs", trial_tables(result), visits, trial_lines(result)))
    return [section for section in sections if section["tables"] or section["pictures"] or section["lines"]]


def _section(
    title: str, tables: Sequence[PlainTable], pictures: Sequence[Any] = (), lines: Sequence[str] = ()
) -> dict[str, Any]:
    shown = [to_read(table).for_page() for table in tables if table.rows]
    return {"title": title, "lines": list(lines), "pictures": list(pictures), "tables": shown}


def _own(table: PlainTable) -> PlainTable:
    """A table of one endpoint without the column that names it and nothing else."""
    if len({row[0] for row in table.rows}) > 1:
        return table
    return replace(table, header=table.header[1:], rows=tuple(row[1:] for row in table.rows))


def _readings(result: CohortAnalysis) -> PlainTable:
    """Ambiguous rules of the endpoints with what the protocol takes and what else it could mean."""
    rows = []
    protocol: Protocol | None = result.protocol
    for one in result.endpoints:
        for rule in map(protocol.rule, one.endpoint.rules) if protocol is not None else ():
            if rule.reading is not None:
                told = (one.endpoint.name, rule.id, rule.text, rule.reading.default, rule.reading.other, rule.source)
                rows.append(told)
    header = ("endpoint", "rule", "what it says", "default", "other reading", "source")
    return PlainTable("readings", "Ambiguous rules of the endpoints", "", header, tuple(rows))


def _counted(number: int) -> str:
    return "1 patient" if number == 1 else f"{number} patients"


def _followed(result: CohortAnalysis) -> tuple[str, Quantile] | None:
    """Median follow-up of the first endpoint that nothing competes with, or of the first."""
    known = [one for one in result.endpoints if one.overall is not None]
    chosen = next((one for one in known if not one.endpoint.competing), known[0] if known else None)
    if chosen is None or chosen.overall is None:
        return None
    return chosen.endpoint.name, chosen.overall.follow_up


def _cards(result: CohortAnalysis) -> list[dict[str, str]]:
    cards = [_card("patients", str(len(result.patients)), _groups_told(result))]
    followed = _followed(result)
    if followed is not None:
        name, median = followed
        cards.append(_card("median follow-up, months", quantile_told(median), f"of {name}, by reverse Kaplan-Meier"))
    for one in result.endpoints:
        if one.overall is None:
            cards.append(_card(one.endpoint.name, CANNOT, one.unknown))
            continue
        outcome = one.overall
        if outcome.rates:
            year, first = one.endpoint.at_years[0], outcome.rates[0]
            label = f"{one.endpoint.name} at {year} year{'s' * (year > 1)}"
            told = f"{outcome.events} events; median in months {quantile_told(outcome.median)}"
            if outcome.median is None:
                told = f"{outcome.events} events; cumulative incidence"
            cards.append(_card(label, CANNOT if first.estimate is None else f"{100 * first.estimate:.1f} %", told))
    return cards


def _card(label: str, value: str, note: str) -> dict[str, str]:
    return {"label": label, "value": value, "note": note, "kind": ""}


def _groups_told(result: CohortAnalysis) -> str:
    names = [name for name in result.groups.values() if name is not None]
    return "; ".join(f"{name}: {names.count(name)}" for name in sorted(set(names)))


def _summary(result: CohortAnalysis) -> list[str]:
    """The first page in sentences: what each endpoint is, and who is left out of it."""
    lines = []
    for one in result.endpoints:
        asked = one.endpoint
        line = f"{asked.name[:1].upper()}{asked.name[1:]}: from {asked.counted_from} to {' or '.join(asked.events)}"
        if asked.competing:
            line += f"; {' and '.join(asked.competing)} competes" if len(asked.competing) == 1 else (
                f"; {', '.join(asked.competing)} compete"
            )  # fmt: skip
        line += f". Rules {', '.join(asked.rules)}." if asked.rules else "."
        if one.unknown:
            line += f" Not told here: {one.unknown}."
        elif one.times is not None and one.times.left_out:
            line += f" Left out: {_counted(len(one.times.left_out))}, of whom it is not known."
        lines.append(line)
    options = result.options
    if options.by is not None:
        stratified = f", stratified by {options.strata}" if options.strata is not None else ""
        lines.append(f"Groups by {options.by}{stratified}.")
    lines += [f"{note[:1].upper()}{note[1:]}." for note in result.notes]
    lines.append("Observed groups were not allotted by chance unless the table says so: a difference is no effect.")
    return lines
