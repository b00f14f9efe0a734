"""What a registration was measured by, as tables of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tailort.registration import Quality, Registration


def measured_rows(quality: Quality) -> list[list[str]]:
    """Return name, value, tolerance, verdict and where the tolerance comes from, of every measure."""
    return [
        [m.name, f"{m.value:.3g}", "" if m.limit is None else f"{m.operator} {m.limit:g}", m.verdict, m.source]
        for m in quality.measures
    ]


def measured_tables(registrations: Mapping[str, Registration], called: str) -> list[dict[str, Any]]:
    """Return one table of all registrations that were judged; none where none was.

    Parameters
    ----------
    registrations : mapping of str to Registration
        By the label of what was registered.
    called : str
        What that is: a course, a scan.
    """
    rows = [
        [label, *row]
        for label, found in registrations.items()
        if found.quality is not None
        for row in measured_rows(found.quality)
    ]
    if not rows:
        return []
    return [
        {
            "title": "Registration",
            "note": "What AAPM TG-132 asks to look at, measured on these scans.",
            "header": [called, "measure", "value", "tolerance", "verdict", "tolerance from"],
            "rows": rows,
        }
    ]
