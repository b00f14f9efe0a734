"""The report of what can be traded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tailort.web.page import decision_table, engine_told, plain_provenance, render
from tailort.web.pareto_figures import trade_off_plot
from tailort.web.rule_tables import overlay_warnings
from tailort.web.trading_tables import trading_cards, trading_summary, trading_tables, trading_warnings
from tailort.workflow.clock import Stage
from tailort.workflow.trading import Trading


def trading_report(result: Trading, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of trade-offs as HTML; see `planning_report`."""
    front = result.front
    warned, engine = engine_told(str(described["engine"]), result.engine_note)
    contents = {
        "title": f"Trade-offs: {result.protocol.title}",
        "subtitle": f"Patient {result.case.pseudonym}; protocol {result.protocol.id} {result.protocol.version}; "
        f"TailoRT {described['tailort']}",
        "warnings": [
            *overlay_warnings(result.protocol),
            *warned,
            *trading_warnings(result),
        ],
        "cards": trading_cards(result),
        "summary": [*trading_summary(result), *(f"{text}." for text in engine)],
        "decision": decision_table(result.decision, result.protocol),
        "planes": [],
        "dvh": None,
        "trade_offs": None if front is None else trade_off_plot(front, result.mixture),
        "tables": trading_tables(result),
        "scorecards": [],
        "comparison": None,
        "bevs": [],
        "made": [],
        "rules": [{"id": r.id, "text": r.text, "source": r.source, "mark": r.mark} for r in result.protocol.rules],
        "provenance": [*plain_provenance(described), ("CT numbers to density", result.density_table)],
        "notes": result.case.notes,
        "stages": stages,
    }
    return render(contents)
