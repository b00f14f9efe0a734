"""The report of an evaluated dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailort.web import figures
from tailort.web.page import (
    NOT_IN_DVH,
    decision_table,
    leaves,
    plain_provenance,
    render,
    scorecard_table,
    structures_drawn,
    structures_shown,
)
from tailort.web.rule_tables import amendment_warnings, evaluation_rule_tables, overlay_warnings
from tailort.workflow.clock import Stage
from tailort.workflow.records import Evaluation


def evaluation_report(result: Evaluation, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of an evaluated dose as HTML; see `planning_report`."""
    case = result.case
    prescriptions = result.prescriptions
    palette = figures.colours(case.structures, prescriptions)
    shown = structures_shown(case.structures, [row.structure for row in result.scorecard.rows], prescriptions)
    drawn = structures_drawn(shown)
    hottest = np.unravel_index(int(np.argmax(result.dose.image.values)), result.dose.image.grid.shape)
    centre = result.dose.image.grid.to_world(np.array(hottest, dtype=float))
    reference_gy = max((p.dose_gy for p in prescriptions), default=float(result.dose.image.values.max()))
    contents = {
        "title": "Evaluation of an existing dose",
        "subtitle": f"Patient {case.pseudonym}; TailoRT {described['tailort']}",
        "warnings": [*overlay_warnings(result.protocol), *amendment_warnings(result.amendments)],
        "cards": _evaluation_cards(result),
        "summary": [],
        "decision": None
        if result.decision is None or result.protocol is None
        else decision_table(result.decision, result.protocol),
        "planes": [
            figures.planes(
                case.ct,
                case.structures,
                result.dose,
                palette,
                drawn,
                centre,
                reference_gy,
                "The plane of the hottest voxel",
            )
        ],
        **leaves(case, case.structures, result.dose, palette, drawn, reference_gy),
        "dvh": figures.dvh_plot(
            result.dvhs, (), palette, [d for d in palette if d not in NOT_IN_DVH and d in shown], ("", "")
        ),
        "scorecards": [scorecard_table("Scorecard", result.scorecard)],
        "tables": [],
        "comparison": None,
        "bevs": [],
        "made": [],
        "traced": evaluation_rule_tables(result),
        "rules": [] if result.protocol is None else result.protocol.rules,
        "provenance": plain_provenance(described),
        "notes": result.notes,
        "stages": stages,
    }
    return render(contents)


def _evaluation_cards(result: Evaluation) -> list[dict[str, str]]:
    judged = [
        row for row in result.scorecard.rows if row.verdict in ("pass", "fail", "unknown") and row.limit is not None
    ]
    failed = [row for row in judged if row.verdict == "fail"]
    return [
        {
            "label": "dose",
            "value": f"{float(result.dose.image.values.max()):.2f} Gy",
            "note": f"maximum of the grid, {result.dose.label}, per {result.dose.per}; "
            f"fractions: {result.dose.fractions or 'unknown'}",
            "kind": "",
        },
        {
            "label": "limits that fail",
            "value": f"{len(failed)} of {len(judged)}",
            "note": ", ".join(f"{row.structure} {row.metric}" for row in failed) or "none",
            "kind": "bad" if failed else "good" if judged else "",
        },
    ]
