"""The report of an adaptation: planned, if nothing changes, and planned anew, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailort.patient import Dose
from tailort.radiobiology import course_dose
from tailort.web import figures
from tailort.web.page import (
    NOT_IN_DVH,
    decision_table,
    engine_told,
    leaves,
    plain_provenance,
    render,
    scorecard_table,
    structures_drawn,
    structures_shown,
)
from tailort.web.registration_figures import registration_blocks
from tailort.web.registration_tables import measured_tables
from tailort.web.rule_tables import overlay_warnings, trigger_table
from tailort.workflow.adapted_records import Adaptation, SideBySide
from tailort.workflow.clock import Stage


def adaptation_report(result: Adaptation, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of an adaptation as HTML; see `planning_report`."""
    case, made = result.case, result.replanned
    palette = figures.colours(case.structures, ())
    palette |= {s.name: palette.get(s.name, colour) for s, colour in _planned_colours(result, palette)}
    prescriptions = result.prescriptions
    judged = [row.structure for row in result.rows]
    shown = structures_shown(case.structures, judged, prescriptions)
    drawn = structures_drawn(shown)
    planned = result.planned_dose
    # Of several phases no plan tells what a target gets in all of them.
    known_gy = max((p.dose_gy for p in prescriptions), default=0.0) if len(result.plans) == 1 else 0.0
    course_gy = 0.0 if result.protocol is None else max(p.dose_gy for p in result.protocol.course())
    reference_gy = known_gy or course_gy or float(planned.image.values.max())
    final = course_dose(result.projected) if made is None else made.result.dose
    centre = _centre(result)
    warned, told = engine_told(planned.engine, "" if made is None else made.engine_note)
    contents = {
        "title": "Adaptation during the course",
        "subtitle": f"Patient {case.pseudonym}; plan '{result.label}'; TailoRT {described['tailort']}",
        "warnings": [*overlay_warnings(result.protocol), *result.warnings, *warned],
        "cards": _cards(result),
        "summary": [
            "Every fraction is counted on the latest CT before it; what an earlier CT shows was brought onto today's "
            "anatomy. Doses of different days are converted to EQD2 each with its own fractions before they are added. "
            "'If nothing changes' gives all remaining fractions of the present plan on today's anatomy.",
            *told,
        ],
        "decision": None if made is None else decision_table(made.asked.decision, made.asked.protocol),
        "planes": _pictures(result, palette, drawn, centre, reference_gy),
        **leaves(case, case.structures, final, palette, drawn, reference_gy),
        "dvh": _histograms(result, palette, [name for name in shown if name not in NOT_IN_DVH]),
        "tables": [_fractions(result), _facts(result), _triggers(result), *_images(result), *_rows(result),
                   *measured_tables(result.registrations, "scan"), _structures(result), *_unknown(result)],
        "scorecards": _cards_of_limits(result),
        "comparison": None,
        "registered": registration_blocks(
            case.ct.image, result.scans.courses, result.registrations, centre
        ),
        "bevs": [],
        "made": [],
        "rules": [] if result.protocol is None else result.protocol.rules,
        "provenance": plain_provenance(described),
        "notes": result.notes,
        "stages": stages,
    }  # fmt: skip
    return render(contents)


def _planned_colours(result: Adaptation, palette: Mapping[str, str]) -> list[tuple[Any, str]]:
    """Colours of structures that the planning CT alone has."""
    own = figures.colours(result.planned.structures, ())
    return [(s, own[s.name]) for s in result.planned.structures if s.name not in palette and s.name in own]


def _centre(result: Adaptation) -> Any:
    """Middle of the targets, else of the dose, LPS mm."""
    for role in ("GTV", "CTV", "PTV"):
        found = [s.bounds_mm() for s in result.case.structures if s.role == role and not s.is_empty]
        if found:
            return (np.min(found, axis=(0, 1)) + np.max(found, axis=(0, 1))) / 2
    grid = result.projected[0].image.grid
    return grid.to_world((np.array(grid.shape, dtype=float) - 1) / 2)


def _pictures(
    result: Adaptation, palette: dict[str, str], drawn: Sequence[str], centre: Any, reference_gy: float
) -> list[figures.Picture]:
    """The planned dose on the planning CT, what follows of it today, and the new plan's."""
    back = result.registrations["planning CT"]
    then = back.map_points(centre)
    made = result.replanned
    planes = [
        figures.planes(
            result.planned.ct, result.planned.structures, result.planned_dose, palette, drawn, then, reference_gy,
            "Planned, on the planning CT, physical Gy per course",
        ),
        figures.planes(
            result.case.ct, result.case.structures, course_dose(result.projected), palette, drawn, centre,
            reference_gy, "If nothing changes, on today's CT, physical Gy per course",
        ),
    ]  # fmt: skip
    if made is not None:
        given_and_new: Dose = made.result.dose
        planes.append(
            figures.planes(
                result.case.ct, result.case.structures, given_and_new, palette, drawn, centre, reference_gy,
                "What was given and the new plan, on today's CT, physical Gy per course",
            )
        )  # fmt: skip
    return planes


def _histograms(result: Adaptation, palette: dict[str, str], shown: Sequence[str]) -> figures.Picture:
    if result.replanned is None:
        labels = ("if nothing changes", "planned")
        return figures.dvh_plot(result.dvhs["projected"], result.dvhs["planned"], palette, shown, labels)
    labels = ("with the new plan", "if nothing changes")
    return figures.dvh_plot(result.dvhs["replanned"], result.dvhs["projected"], palette, shown, labels)


def _cards(result: Adaptation) -> list[dict[str, str]]:
    left = result.fractions - result.delivered
    fired = ", ".join(result.fired)
    open_ = [one.entry.id for one in result.triggers.triggers if one.answer == "unknown"]
    cards = [
        {
            "label": "fractions given", "value": f"{result.delivered} of {result.fractions}",
            "note": f"{left} left", "kind": "",
        },
        {
            "label": "triggers that fired", "value": str(len(result.fired)), "note": fired or f"unknown: {len(open_)}",
            "kind": "bad" if result.fired else "" if open_ else "good",
        },
    ]  # fmt: skip
    card = result.final_card
    if card is not None:
        failed = card.hard_failures
        cards.append(
            {
                "label": "hard limits exceeded on the sum", "value": str(len(failed)),
                "note": ", ".join(f"{row.structure} {row.metric}" for row in failed),
                "kind": "bad" if failed else "good",
            }
        )  # fmt: skip
    cards.append(
        {
            "label": "new plan", "value": "made" if result.replanned else "none", "note": result.why_not, "kind": "",
        }
    )  # fmt: skip
    return cards


def _fractions(result: Adaptation) -> dict[str, Any]:
    return {
        "title": "Fractions and the scans they are counted on",
        "note": "A fraction is counted on the latest CT before it, or of its day.",
        "header": ["scan", "date", *(f"fractions of {plan.fractions} by '{plan.label}'" for plan in result.plans)],
        "rows": [
            [day.label, day.date.isoformat() if day.date else "unknown", *(str(n) for n in day.by_plan)]
            for day in result.days
        ],
    }


def _facts(result: Adaptation) -> dict[str, Any]:
    return {
        "title": "What has changed",
        "note": "Computed from the scans and doses; what could not be computed stays unknown.",
        "header": ["fact", "value", "from"],
        "rows": [
            [fact.name, "unknown" if fact.value is None else _told(fact.value), fact.source] for fact in result.facts
        ],
    }


def _triggers(result: Adaptation) -> dict[str, Any]:
    return trigger_table(
        "Triggers of adaptation",
        "They propose; what is done is decided by people. Most thresholds are recalled, not printed (IR-05).",
        result.triggers.triggers,
        "actions",
    )


def _images(result: Adaptation) -> list[dict[str, Any]]:
    if not result.images:
        return []
    return [
        {
            "title": "Images that the protocol plans during the course",
            "note": "",
            "header": ["image", "when", "due", "then", "rules"],
            "rows": [
                [
                    f"{one.image} ({one.strength})",
                    f"{one.target} has got {one.at_gy:g} Gy: fraction {one.fraction}",
                    "yes" if one.due else "not yet", one.then, ", ".join(one.rules),
                ]
                for one in result.images
            ],
        }
    ]  # fmt: skip


def _rows(result: Adaptation) -> list[dict[str, Any]]:
    tables = []
    for title, physical in (("Side by side, physical dose", True), ("Side by side, EQD2", False)):
        rows = [row for row in result.rows if (row.quantity == "physical") is physical]
        if rows:
            tables.append(
                {
                    "title": title,
                    "note": "Gy per course: the plan on the planning CT; what was given, on today's anatomy; with the "
                    "remaining fractions of the present plan; with those of the new plan.",
                    "header": ["structure", "metric", "quantity", "planned", "given so far", "if nothing changes",
                               "planned anew"],
                    "rows": [_row(row) for row in rows],
                }
            )  # fmt: skip
    return tables


def _row(row: SideBySide) -> list[str]:
    values = (row.planned, row.so_far, row.projected, row.replanned)
    return [row.structure, row.metric, row.quantity, *("" if value is None else f"{value:.2f}" for value in values)]


def _structures(result: Adaptation) -> dict[str, Any]:
    return {
        "title": "Structures on today's CT",
        "note": "What was carried or made is to be reviewed by a person; rtstruct.dcm says so of each.",
        "header": ["structure", "role", "how"],
        "rows": [
            [s.name, s.role, "; ".join(s.made_by) or "drawn on today's CT"]
            for s in result.case.structures
            if not s.is_empty
        ],
    }


def _unknown(result: Adaptation) -> list[dict[str, Any]]:
    rows = [[one.entry.id, ", ".join(one.missing)] for one in result.triggers.triggers if one.answer == "unknown"]
    if not rows:
        return []
    return [
        {
            "title": "What is not known",
            "note": "Triggers that more facts could make fire; write them into record.yaml of today's folder.",
            "header": ["trigger", "facts that are missing"],
            "rows": rows,
        }
    ]


def _cards_of_limits(result: Adaptation) -> list[dict[str, Any]]:
    cards = [("Limits, planned", result.planned_card), ("Limits, if nothing changes", result.projected_card)]
    if result.replanned is not None:
        cards.append(("Limits on the sum of what was given and the new plan", result.replanned.result.scorecard))
    return [scorecard_table(title, card) for title, card in cards if card is not None]


def _told(value: float | bool) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value:g}"
