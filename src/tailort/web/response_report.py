"""The report of a monitored response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tailort.web.page import plain_provenance, render
from tailort.web.response_figures import scan_planes, series_plot
from tailort.web.rule_tables import overlay_warnings, trigger_table
from tailort.workflow.clock import Stage
from tailort.workflow.responding import NOT_SEEN, Response, told
from tailort.workflow.response import SeriesScan


def response_report(result: Response, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of a response as HTML; see `planning_report`."""
    series, quantity = result.series, result.series.quantity
    unit = "" if quantity.unit == "1" else f", {quantity.unit}"
    block = {
        "title": f"{series.structure}: {quantity.text} over time",
        "note": f"Change against the first scan in brackets. {quantity.text} stands for {quantity.shows} "
        f"({quantity.source}, {quantity.mark}).",
        "header": ["scan", "days since the first fraction", "minutes of uptake", f"maximum{unit}", f"peak{unit}",
                   f"mean{unit}", "volume, cm3", "total", "maximum beyond what repeats"],
        "rows": [_row(scan, scan is series.scans[0]) for scan in series.scans],
        "pictures": [series_plot(result), scan_planes(result)],
        "facts": [(str(n), line) for n, line in enumerate(result.conventions, 1)],
        "notes": list(NOT_SEEN),
    }  # fmt: skip
    contents = {
        "title": f"Response of '{series.structure}'",
        "subtitle": f"Patient {result.case.pseudonym}; {len(series.scans)} scans; TailoRT {described['tailort']}",
        "warnings": [*overlay_warnings(result.protocol), *result.warnings],
        "cards": _cards(result),
        "summary": [
            "A response proposes and never orders: a trigger that has fired asks people to look, and no dose, target "
            "or limit is changed by it."
        ],
        "decision": None, "planes": [], "dvh": None,
        "tables": [_triggers(result), _facts(result), _scans(result)],
        "scorecards": [], "comparison": None, "bevs": [], "made": [], "rules": result.protocol.rules,
        "painted": [block], "provenance": plain_provenance(described), "notes": result.notes, "stages": stages,
    }  # fmt: skip
    return render(contents)


def change_told(change_percent: float | None) -> str:
    """A change in words."""
    return "change unknown" if change_percent is None else f"{change_percent:+.0f} %"


def _row(scan: SeriesScan, first: bool) -> list[str]:
    uptake = scan.uptake

    def number(name: str, digits: int) -> str:
        value = getattr(uptake, name)
        if value is None:
            return "unknown"
        return f"{value:.{digits}f}" if first else f"{value:.{digits}f} ({change_told(scan.change_percent[name])})"

    if first:
        beyond = ""
    elif scan.unlike:
        beyond = "not to be compared"
    else:
        beyond = "not known" if scan.repeats is None else "no" if scan.repeats else "yes"
    return [
        str(scan.image.date), "unknown" if scan.day is None else str(scan.day),
        "unknown" if scan.minutes is None else f"{scan.minutes:.0f}", number("maximum", 2), number("peak", 2),
        number("mean", 2), number("volume_cm3", 1), number("total", 1), beyond,
    ]  # fmt: skip


def _cards(result: Response) -> list[dict[str, str]]:
    first, last = result.series.scans[0], result.series.scans[-1]
    fired = [one.entry.id for one in result.triggers if one.answer == "yes"]
    open_ = [one.entry.id for one in result.triggers if one.answer == "unknown"]
    return [
        {
            "label": f"maximum, {first.image.date} to {last.image.date}",
            "value": change_told(last.change_percent["maximum"]), "note": "; ".join(last.unlike), "kind": "",
        },
        {
            "label": "triggers that fired", "value": str(len(fired)),
            "note": ", ".join(fired) or (f"unknown: {', '.join(open_)}" if open_ else ""),
            "kind": "bad" if fired else "" if open_ else "good",
        },
    ]  # fmt: skip


def _triggers(result: Response) -> dict[str, Any]:
    note = (
        "They propose, never order; what is done is decided by people."
        if result.triggers
        else "None of its triggers asks for what a series of uptake tells."
    )
    title = f"Triggers of protocol {result.protocol.id} that ask about uptake"
    return trigger_table(title, note, result.triggers, "would ask for", with_missing=True)


def _facts(result: Response) -> dict[str, Any]:
    return {
        "title": "Facts for the clinical record",
        "note": "What the series tells, or the record told before; what cannot be told stays unknown.",
        "header": ["fact", "value", "from"],
        "rows": [[fact.name, told(fact.value), fact.source] for fact in result.facts],
    }


def _scans(result: Response) -> dict[str, Any]:
    """What every scan's values were worked out from, side by side."""
    scans = result.series.scans
    names = list(dict.fromkeys(name for scan in scans for name in scan.image.facts))
    return {
        "title": "How the scans were made",
        "note": "Values of scans made in different ways do not compare.",
        "header": ["", *(str(scan.image.date) for scan in scans)],
        "rows": [[name, *(scan.image.facts.get(name, "not told") for scan in scans)] for name in names],
    }
