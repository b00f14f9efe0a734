"""What all reports share: the page itself, the pictures to leaf through, decision, scorecard and provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tailort.patient import Case, Dose, Prescription, StructureSet
from tailort.protocols import Decision, Protocol
from tailort.web import figures
from tailort.web.rule_tables import default_tables, strata

if TYPE_CHECKING:
    from tailort.evaluation import Scorecard

MAX_LEAVES = 28
IN_PICTURES = ("GTV", "CTV", "PTV")
NOT_IN_DVH = ("External", "Skin")
_ALWAYS_SHOWN = ("SpinalCord", "Lung_L", "Lung_R", "Heart", "Esophagus", "Stomach", "Liver")


def render(contents: Mapping[str, Any]) -> str:
    """Return the page with its contents: one HTML file that opens anywhere, without a network."""
    return str(_template().render(**contents))


@cache
def _template() -> Any:
    source = resources.files("tailort.web").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(source)


def structures_shown(
    structures: StructureSet, judged: Sequence[str], prescriptions: Sequence[Prescription]
) -> list[str]:
    """Structures worth drawing: targets, what is judged, and a few that orient the reader."""
    wanted = {name.lower() for name in (*judged, *(p.target for p in prescriptions), *_ALWAYS_SHOWN)}
    return [
        s.name
        for s in structures
        if not s.is_empty and (s.role in IN_PICTURES or s.role == "EXTERNAL" or s.name.lower() in wanted)
    ]


def structures_drawn(shown: Sequence[str]) -> list[str]:
    """Structures in the pictures: both lungs are drawn as left and right, not once more together."""
    sides = {"Lung_L", "Lung_R"} <= set(shown)
    return [name for name in shown if not (sides and name.startswith("Lungs"))]


def decision_table(decision: Decision, protocol: Protocol) -> dict[str, Any]:
    """Decision of a protocol: answer, reasons, tables, and how ambiguous rules were read."""
    told = decision.as_dict()
    return {
        "answer": told["answer"],
        "protocol": f"{protocol.id} {protocol.version}",
        "overlays": protocol.overlays,
        "status": protocol.status,
        "reasons": [
            {
                "id": reason["rule"],
                "text": reason["text"],
                "source": protocol.rule(reason["rule"]).source if reason["rule"] else "",
                "mark": protocol.rule(reason["rule"]).mark if reason["rule"] else "",
            }
            for reason in told["reasons"]
        ],
        "defaults": default_tables(decision, protocol),
        "strata": strata(decision),
        "checks": [{"id": c.rule, "text": c.text, "verdict": "pass" if c.holds else "fail"} for c in protocol.checks()],
    }


def scorecard_table(title: str, card: Scorecard) -> dict[str, Any]:
    """Rows of a scorecard, ready to show."""
    rows = []
    for row in card.rows:
        rows.append(
            {
                "structure": row.structure,
                "metric": row.metric,
                "quantity": row.quantity,
                "scope": row.scope,
                "value": "unknown" if row.value is None else f"{row.value:.2f}",
                "limit": "" if row.limit is None or row.operator is None else f"{row.operator} {row.limit:g}",
                "priority": row.priority,
                "verdict": row.verdict,
                "source": row.source,
                "mark": row.mark,
                "reason": row.reason,
                "extrapolated": row.extrapolated,
            }
        )
    return {"title": title, "rows": rows}


def leaves(
    case: Case, structures: StructureSet, dose: Dose, palette: dict[str, str], shown: Sequence[str], reference_gy: float
) -> dict[str, Any]:
    """Slices to leaf through: over the targets, or over the dose where there is no target."""
    targets = [s for s in structures if s.role in IN_PICTURES and not s.is_empty]
    planes = case.ct.image.grid.axes_mm()[0]
    if targets:
        low = min(float(s.bounds_mm()[0][2]) for s in targets) - 10.0
        high = max(float(s.bounds_mm()[1][2]) for s in targets) + 10.0
        planes = planes[(planes >= low) & (planes <= high)]
    chosen = planes[np.unique(np.linspace(0, len(planes) - 1, min(MAX_LEAVES, len(planes))).astype(int))]
    pictures = figures.transverse_slices(
        case.ct, structures, dose, palette, shown, [float(z) for z in chosen], reference_gy
    )
    pairs = json.dumps([[p.source, p.caption] for p in pictures]).replace("<", "\\u003c")

    return {"leaves": pictures, "leaves_json": Markup(pairs)}


def engine_told(engine: str, note: str) -> tuple[list[str], list[str]]:
    """What belongs to a report's warnings, and what to its summary: an engine that plans are not judged by is one.

    Parameters
    ----------
    engine : str
        Its name.
    note : str
        What must be known to judge by it.
    """
    # Engines take long to load, and not every report has a dose.
    from tailort.dose import REPORTING_ENGINES

    told = [f"Dose engine: {note}"] if note else []
    return ([], told) if engine in REPORTING_ENGINES else (told, [])


def plain_provenance(described: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What every run tells of itself: versions, options, engine, input."""
    libraries = ", ".join(f"{name} {version}" for name, version in described["libraries"].items())
    options = ", ".join(f"{key} {value}" for key, value in described["options"].items() if value not in (None, []))
    hashes = described["inputs_sha256"]
    return [
        ("TailoRT", described["tailort"]),
        ("Python", described["python"]),
        ("Libraries", libraries),
        ("Options", options or "none"),
        ("Dose engine", described["engine"]),
        ("Input", f"{len(hashes)} files; their SHA-256 are in run.json"),
    ]
