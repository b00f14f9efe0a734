"""The report of a recalculated plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailort.web import figures
from tailort.web.page import NOT_IN_DVH, leaves, plain_provenance, render, structures_drawn, structures_shown
from tailort.workflow.clock import Stage
from tailort.workflow.recalculating import Recalculation


def recalculation_report(result: Recalculation, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of a recalculated plan as HTML; see `planning_report`."""
    case, plan = result.case, result.plan
    palette = figures.colours(case.structures, plan.prescriptions)
    shown = structures_shown(case.structures, [], plan.prescriptions)
    drawn = structures_drawn(shown)
    hottest = np.unravel_index(int(np.argmax(result.dose.image.values)), result.dose.image.grid.shape)
    centre = result.dose.image.grid.to_world(np.array(hottest, dtype=float))
    reference_gy = float(result.dose.image.values.max())
    doses = [(result.dose, "Recalculated: the plane of its hottest voxel")]
    if result.given is not None:
        doses.append((result.given, "As it came with the plan, same planes"))
    pictures = [
        figures.planes(case.ct, case.structures, dose, palette, drawn, centre, reference_gy, title)
        for dose, title in doses
    ]
    if result.gammas:
        pictures.append(figures.gamma_planes(case.ct, result.gammas[0].image, centre, result.gammas[0].criterion.label))
    contents = {
        "title": f"Recalculation of plan '{plan.label}'",
        "subtitle": f"Patient {case.pseudonym}; machine {result.machine.id}; TailoRT {described['tailort']}",
        "warnings": [],
        "cards": _recalculation_cards(result),
        "summary": [f"Machine {result.machine.id}: {result.machine.label}. Engine: {result.engine_note}."],
        "decision": None,
        "planes": pictures,
        **leaves(case, case.structures, result.dose, palette, drawn, reference_gy),
        "dvh": figures.dvh_plot(
            result.dvhs,
            result.given_dvhs,
            palette,
            [d for d in palette if d not in NOT_IN_DVH and d in shown],
            ("recalculated", "as it came"),
        ),
        "tables": _recalculation_tables(result),
        "scorecards": [],
        "comparison": None,
        "bevs": [{"title": plan.label, "pictures": figures.beams_eye_views(plan, case.structures, palette, drawn)}],
        "made": [],
        "rules": [],
        "provenance": [*plain_provenance(described), ("CT numbers to density", result.density_table)],
        "notes": case.notes,
        "stages": stages,
    }
    return render(contents)


def _recalculation_cards(result: Recalculation) -> list[dict[str, str]]:
    cards = [
        {
            "label": f"gamma {g.criterion.label}",
            "value": f"{g.pass_percent:.1f} %",
            "note": f"of {g.points} voxels above {g.criterion.threshold_percent:g} % agree",
            "kind": "",
        }
        for g in result.gammas
    ]
    if result.given is None:
        cards.append({"label": "compared with", "value": "nothing", "note": "no RTDOSE in the folder", "kind": ""})
    cards.append(
        {
            "label": "highest dose, course",
            "value": f"{float(result.dose.image.values.max()):.2f} Gy",
            "note": "recalculated, physical",
            "kind": "",
        }
    )
    return cards


def _recalculation_tables(result: Recalculation) -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = [
        {
            "title": "Beams",
            "note": "Dose of one fraction at the isocentre, physical.",
            "header": ["beam", "MU", "Gy at the isocentre", "cGy a MU", "radiological depth, cm"],
            "rows": [
                [
                    b.name,
                    f"{b.mu:.1f}",
                    f"{b.isocentre_gy:.3f}",
                    f"{100 * b.isocentre_gy / b.mu:.3f}" if b.mu > 0 else "",
                    f"{b.depth_cm:.1f}",
                ]
                for b in result.beams
            ],
        }
    ]
    if result.differences:
        tables.append(
            {
                "title": "What differs",
                "note": "Gy of the course, physical.",
                "header": ["structure", "metric", "recalculated", "as it came", "difference"],
                "rows": [
                    [d.structure, d.metric, f"{d.recalculated_gy:.2f}", f"{d.given_gy:.2f}", f"{d.difference_gy:+.2f}"]
                    for d in result.differences
                ],
            }
        )
    return tables
