"""What a report of a re-irradiation has to tell, as tables of a page."""

from __future__ import annotations

from typing import Any

import numpy as np

from tailort.radiobiology.recurrence_fields import field_definitions
from tailort.workflow.recurrence_places import DEFAULT, RecurrencePlace
from tailort.workflow.reporting import NOT_RECORDED, UNKNOWN, Reporting


def reporting_table(reporting: Reporting | None) -> dict[str, Any] | None:
    """Return the items, what is unknown, and how each recurrence lies to each earlier course."""
    if reporting is None:
        return None
    return {
        "note": "What ESTRO, EORTC and ReCOG ask a report of a re-irradiation to tell. What is unknown is told so.",
        "told": [
            {
                "title": one.item.title,
                "lines": [{"text": line, "open": UNKNOWN in line or line == NOT_RECORDED} for line in one.lines],
                "rules": ", ".join(one.item.rules),
                "mark": one.item.mark,
            }
            for one in reporting.items
        ],
        "unknown": reporting.gaps,
        "places": [_place(row) for row in reporting.recurrences],
    }


def _place(row: RecurrencePlace) -> dict[str, Any]:
    found = field_definitions()[row.definition]
    share = "" if row.share_percent is None else _percent(*row.share_percent)
    possible = f": {' or '.join(row.places)}" if len(row.places) > 1 else ""
    return {
        "structure": row.structure,
        "course": row.course,
        "definition": row.definition,
        "default": row.definition == DEFAULT,
        "title": found.title,
        "share": share,
        "place": f"{row.told}{possible}",
        "kind": "unknown" if row.told == UNKNOWN else "",
        "reason": row.reason,
        "source": f"{', '.join(found.rules)}; {found.source}",
        "mark": found.mark,
    }


def _percent(low: float, high: float) -> str:
    return f"{low:.0f} %" if np.isclose(low, high, atol=0.05) else f"{low:.0f} to {high:.0f} %"
