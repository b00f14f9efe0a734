"""The report of the doses that a patient's organs allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tailort.evaluation import Row, Scorecard
from tailort.web.individual_dose_figures import dose_plot, held_by, limit_told
from tailort.web.page import decision_table, plain_provenance, render, scorecard_table
from tailort.web.rule_tables import overlay_warnings
from tailort.workflow.clock import Stage
from tailort.workflow.dose_levels import DoseLevel, Proposal
from tailort.workflow.individual_dose import NOT_DONE, IndividualDose


def individual_dose_report(result: IndividualDose, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of an individual dose as HTML; see `planning_report`."""
    given, decision = result.given, result.decision
    contents = {
        "title": f"Individual dose: {result.protocol.title}",
        "subtitle": f"Patient {result.case.pseudonym}; protocol {result.protocol.id} {result.protocol.version}; "
        f"TailoRT {described['tailort']}",
        "warnings": [*overlay_warnings(result.protocol), *_warnings(result)],
        "cards": [_card(one, result) for one in result.proposals],
        "summary": list(NOT_DONE),
        "decision": None if decision is None else decision_table(decision, result.protocol),
        "planes": [], "dvh": None, "tables": [_reach(result)],
        "scorecards": [_card_at(one) for one in result.proposals if one.level is not None],
        "comparison": None, "bevs": [], "made": [],
        "painted": [
            {
                "title": "Largest dose by number of fractions",
                "note": f"Doses of {given.lead.target}, physical, Gy per course, from {result.range_gy[0]:g} to "
                f"{result.range_gy[1]:g} Gy ({result.range_by}). The given dose was made for {given.planned_gy:g} Gy "
                f"in {given.dose.fractions or 'an unknown number of'} fractions ({result.planned_by}). The choice is a "
                "person's.",
                "header": _HEADER,
                "rows": [_row(one, result) for one in result.proposals],
                "pictures": [dose_plot(result)],
                "facts": _facts(result),
                "notes": [],
            }
        ],
        "rules": [{"id": r.id, "text": r.text, "source": r.source, "mark": r.mark} for r in result.protocol.rules],
        "provenance": plain_provenance(described), "notes": result.notes, "stages": stages,
    }  # fmt: skip
    return render(contents)


_HEADER = ["fractions", "largest dose, Gy", "per fraction, Gy", "BED, Gy", "EQD2, Gy", "held by", "goals it breaks",
           "needs signature"]  # fmt: skip


def _row(one: Proposal, result: IndividualDose) -> list[str]:
    level, held = one.level, held_by(one, result.range_gy)
    if level is None:
        return [str(one.fractions), "none in the range", "", "", "", held, "", ""]
    return [
        str(one.fractions), f"{level.dose_gy:.2f}", f"{level.dose_per_fraction_gy:.3f}", number(level.bed_gy),
        number(level.eqd2_gy), held, "; ".join(limit_told(row) for row in level.broken_goals) or "none",
        "; ".join(level.signature) or "no",
    ]  # fmt: skip


def number(value: float | None) -> str:
    """A dose with two decimals, or that it is unknown."""
    return "unknown" if value is None else f"{value:.2f}"


def _card(one: Proposal, result: IndividualDose) -> dict[str, str]:
    level = one.level
    return {
        "label": f"{one.fractions} fractions: organs allow",
        "value": "no dose of the range" if level is None else f"{level.dose_gy:.2f} Gy",
        "note": f"held by {held_by(one, result.range_gy)}" if one.binding else held_by(one, result.range_gy),
        "kind": "bad" if level is None else "",
    }


def _warnings(result: IndividualDose) -> list[str]:
    told = []
    for row in _every(one.unjudged for one in result.proposals):
        told.append(f"Hard limit not judged, it may not hold at any of these doses: {limit_told(row)}: {row.reason}")
    for one in result.proposals:
        if one.level is None:
            told.append(
                f"{one.fractions} fractions: {held_by(one, result.range_gy)} does not hold at "
                f"{result.range_gy[0]:g} Gy already; no dose is proposed"
            )
    for one in result.proposals:
        outside = [] if one.level is None else _extrapolated(one.level)
        if one.level is not None and outside:
            names = ", ".join(dict.fromkeys(f"{row.structure} {row.metric}" for row in outside))
            told.append(
                f"{one.level.dose_gy:.2f} Gy in {one.fractions} fractions ({one.level.dose_per_fraction_gy:.2f} Gy a "
                f"fraction) is outside what these were made for: {names}"
            )
    return told


def _every(groups: Any) -> list[Row]:
    """Rows of several numbers of fractions, each limit once."""
    return list({limit_told(row): row for group in groups for row in group}.values())


def _extrapolated(level: DoseLevel) -> list[Row]:
    """Limits and caps beyond what they were made for; the tables tell it of outcomes too."""
    return [row for row in level.limits if row.extrapolated.startswith("yes")]


def _reach(result: IndividualDose) -> dict[str, Any]:
    """For each limit the last of the curve's doses at which it holds."""
    rows = []
    first = result.proposals[0].curve[0]
    for n, limit in enumerate(first.limits):
        cells = []
        for one in result.proposals:
            held = [level.dose_gy for level in one.curve if level.limits[n].verdict == "pass"]
            unknown = one.curve[0].limits[n].verdict == "unknown"
            cells.append("unknown" if unknown else f"{held[-1]:.1f}" if held else "none")
        rows.append([limit_told(limit), "cap" if limit.source.startswith("--cap") else limit.priority, *cells])
    steps = len(result.proposals[0].curve)
    return {
        "title": "How far each limit goes",
        "note": f"Last of {steps} doses over the range at which it holds, Gy; to 0.01 Gy only in the table above.",
        "header": ["limit", "priority", *(f"{one.fractions} fractions" for one in result.proposals)],
        "rows": rows,
    }


def _card_at(one: Proposal) -> dict[str, Any]:
    assert one.level is not None
    level = one.level
    title = f"At {level.dose_gy:.2f} Gy in {level.fractions} fractions"
    return scorecard_table(title, Scorecard((*level.limits, *level.outcomes)))


def _facts(result: IndividualDose) -> list[tuple[str, str]]:
    given = result.given
    known = given.alpha_beta_gy
    return [
        ("prescribed by the protocol", f"{given.printed_gy:g} Gy at most, in {given.lead.fractions} fractions"),
        ("alpha/beta of targets", "unknown" if known is None else f"{known:g} Gy"),
        ("TCP by", "not asked for" if result.tcp is None else f"{result.tcp.cited}; {result.tcp.every_mark}"),
    ]
