"""The report of several courses together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.web import figures
from tailort.web.budget_figures import budget_picture
from tailort.web.page import (
    IN_PICTURES,
    NOT_IN_DVH,
    decision_table,
    leaves,
    plain_provenance,
    render,
    scorecard_table,
    structures_drawn,
    structures_shown,
)
from tailort.web.registration_figures import registration_blocks
from tailort.web.registration_tables import measured_tables
from tailort.web.reporting_tables import reporting_table
from tailort.web.rule_tables import overlay_warnings
from tailort.workflow.clock import Stage
from tailort.workflow.cumulating import ALPHA_BETAS_GY, Cumulated
from tailort.workflow.recurrence_places import DEFAULT, RecurrencePlace
from tailort.workflow.reirradiating import Reirradiation

Float = NDArray[np.float64]

# The picture and the histograms show the sum for late-reacting tissue.
SHOWN_ALPHA_BETA_GY = 3.0


def reirradiation_report(result: Reirradiation, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of a re-irradiation as HTML; see `planning_report`."""
    case = result.case
    palette = figures.colours(case.structures, ())
    shown = structures_shown(case.structures, [row.structure for row in result.scorecard.rows], ())
    total = result.totals[ALPHA_BETAS_GY.index(SHOWN_ALPHA_BETA_GY)]
    values = total.image.values
    highest_gy = float(np.nanmax(values))
    hottest = np.unravel_index(int(np.nanargmax(values)), values.shape)
    centre = total.image.grid.to_world(np.array(hottest, dtype=float))
    contents = {
        "title": "Re-irradiation: all courses together",
        "subtitle": f"Patient {case.pseudonym}; TailoRT {described['tailort']}",
        "warnings": [*overlay_warnings(result.protocol), *result.warnings],
        "cards": _cards(result, highest_gy),
        "summary": [
            "Every course was converted in every voxel with its own fractions before it was added; no recovery is "
            "assumed. Doses of different alpha/beta are never added."
        ],
        "reporting": reporting_table(result.reporting),
        "decision": None
        if result.decision is None or result.protocol is None
        else decision_table(result.decision, result.protocol),
        "planes": [
            figures.planes(
                case.ct,
                case.structures,
                total,
                palette,
                structures_drawn(shown),
                centre,
                highest_gy,
                f"All courses, {total.label}: the plane of the hottest voxel",
            ),
            *_left_picture(result, _looked_at(result, centre)),
        ],
        **leaves(case, case.structures, total, palette, structures_drawn(shown), highest_gy),
        "dvh": figures.dvh_plot(
            [d for d in result.dvhs if d.alpha_beta_gy == SHOWN_ALPHA_BETA_GY],
            (),
            palette,
            [d for d in palette if d not in NOT_IN_DVH and d in shown],
            ("", ""),
        ),
        "tables": [
            _courses(result),
            *measured_tables(result.registrations, "course"),
            _budget(result),
            *_left(result),
            *_step_rule(result),
            *_cord(result),
            *_organs(result),
        ],
        "scorecards": [scorecard_table("Limits", result.scorecard)] if result.scorecard.rows else [],
        "comparison": None,
        "registered": registration_blocks(
            case.ct.image, case.courses, result.registrations, _looked_at(result, centre)
        ),
        "bevs": [],
        "made": [],
        "rules": [] if result.protocol is None else result.protocol.rules,
        "provenance": plain_provenance(described),
        "notes": result.notes,
        "stages": stages,
    }
    return render(contents)


def _looked_at(result: Reirradiation, hottest_mm: Float) -> Float:
    """Point whose planes show registrations: the middle of what is to be treated, else the hottest voxel, LPS mm."""
    for role in ("GTV", "CTV", "PTV"):
        found = [s.bounds_mm() for s in result.case.structures if s.role == role and not s.is_empty]
        if found:
            return np.asarray((np.min(found, axis=(0, 1)) + np.max(found, axis=(0, 1))) / 2, dtype=np.float64)
    return hottest_mm


def _left_picture(result: Reirradiation, centre_mm: Float) -> list[figures.Picture]:
    if result.left is None:
        return []
    targets = tuple(s for s in result.case.structures if s.role in IN_PICTURES and not s.is_empty)
    asked = "the strictest published limit on the hottest voxel of its organ, each with its own assumption of recovery"
    return [budget_picture(result.case.ct.image, result.left.dose, result.left.fractions, centre_mm, targets, asked)]


def _left(result: Reirradiation) -> list[dict[str, Any]]:
    if result.left is None:
        return []
    titles = {(row.structure, row.limits): row.title for row in result.budget}
    rows = [
        [
            one.structure,
            titles.get((one.structure, one.limits), one.limits),
            one.metric,
            f"{one.alpha_beta_gy:g}",
            "unknown" if one.least_gy is None else f"{one.least_gy:.1f}",
        ]
        for one in result.left.governing
    ]
    out = f" Not asked: {'; '.join(result.left.left_out)}." if result.left.left_out else ""
    return [
        {
            "title": f"What every voxel may still get in {result.left.fractions} fractions",
            "note": "Limits that the map of the dose that is left was made of, and what is left where least is: "
            f"physical dose of the new course, Gy.{out}",
            "header": ["structure", "limits", "metric", "alpha/beta, Gy", "least left, Gy"],
            "rows": rows,
        }
    ]


def _same(one: RecurrencePlace, other: RecurrencePlace) -> bool:
    return (one.structure, one.course) == (other.structure, other.course)


def _cards(result: Reirradiation, highest_gy: float) -> list[dict[str, str]]:
    judged = [row for row in result.scorecard.rows if row.limit is not None and row.verdict != "report"]
    failed = [row for row in judged if row.verdict == "fail"]
    unknown = [row for row in judged if row.verdict == "unknown"]
    cards = [
        {
            "label": "highest dose, all courses",
            "value": f"{highest_gy:.1f} Gy",
            "note": f"BED, alpha/beta {SHOWN_ALPHA_BETA_GY:g} Gy",
            "kind": "",
        }
    ]
    if result.reporting is not None:
        rows = result.reporting.recurrences
        places = [row for row in rows if row.definition == DEFAULT]
        seen = {(row.structure, row.course): {one.told for one in rows if _same(one, row)} for row in places}
        cards.append(
            {
                "label": "type of re-irradiation",
                "value": " and ".join(dict.fromkeys(kind.told for kind in result.reporting.kinds)),
                "note": "; ".join(
                    f"{row.structure}: {row.told}, '{row.course}'"
                    + (" (readings differ)" if len(seen[row.structure, row.course] - {"unknown"}) > 1 else "")
                    for row in places
                ),
                "kind": "",
            }
        )
    if judged:
        cards.append(
            {
                "label": "limits that fail",
                "value": f"{len(failed)} of {len(judged)}",
                "note": ", ".join(f"{row.structure} {row.metric}" for row in failed) or f"unknown: {len(unknown)}",
                "kind": "bad" if failed else "" if unknown else "good",
            }
        )
    return cards


def _courses(result: Reirradiation) -> dict[str, Any]:
    rows = []
    for course in result.earlier:
        fractions = " + ".join(str(dose.fractions) for dose in course.doses)
        highest = " + ".join(f"{float(np.nanmax(dose.image.values)):.1f}" for dose in course.doses)
        if any(dose.least is not None for dose in course.doses):
            highest = f"at most {highest}"
        months = "unknown" if course.months is None else f"{course.months:.1f}"
        rows.append([course.label, fractions, highest, months, course.mapped])
    if result.own:
        own = result.own
        fractions = " + ".join(str(dose.fractions) for dose in own)
        highest = " + ".join(f"{float(np.nanmax(dose.image.values)):.1f}" for dose in own)
        rows.append(["today", fractions, highest, "0", "planning CT"])
    return {
        "title": "Courses",
        "note": "Highest physical dose on today's dose grid, Gy per course; months since the last fraction.",
        "header": ["course", "fractions", "highest dose", "months", "brought here by"],
        "rows": rows,
    }


def _budget(result: Reirradiation) -> dict[str, Any]:
    rows = []
    for row in result.budget:
        discounts = ", ".join("?" if d is None else f"{100 * d:g} %" for d in row.discounts)
        left = "" if row.left_gy is None else f"{row.left_gy:.1f}"
        dose = "" if row.dose_gy is None else f"{row.dose_gy:.1f} in {row.fractions}"
        rows.append(
            [
                row.structure,
                f"{row.metric} {row.quantity}",
                row.limit,
                f"{row.title} ({', '.join(row.rules)}, {row.mark})",
                _told(row.prior_gy, 1.0),
                f"{row.recovery}: {discounts}",
                left,
                dose,
                _told(row.total_gy, 1.0),
                row.verdict,
                "governs" if row.governs else "",
            ]
        )
    return {
        "title": "Published limits over all courses",
        "note": "Spent, recovered and left, Gy, each by the assumption of recovery that belongs to the limit; the "
        "physical dose that is left is exact where today's hottest voxels are those of before, and no promise for a "
        "D0.035cc or D1cc whose hot spots lie apart: the sum with a plan of today decides. Limits of other sources "
        "than the protocol's are shown, not obeyed.",
        "header": [
            "structure", "metric", "limit", "source", "earlier courses", "recovered", "left", "physical dose left",
            "with today's", "verdict", "",
        ],
        "rows": rows,
    }  # fmt: skip


def _step_rule(result: Reirradiation) -> list[dict[str, Any]]:
    if not result.cord_steps:
        return []
    told = {True: "above 140: to be reviewed (KO-84)", False: "", None: ""}
    return [
        {
            "title": "Spinal cord, limit by the earlier dose (KO-80 to KO-86)",
            "note": "D0.035cc of the cord's PRV in 2 fractions, physical Gy, by every reading; earlier BED and the BED "
            "of earlier dose and limit together with alpha/beta 2 Gy, without recovery.",
            "header": ["by the BED of", "reading", "earlier BED", "limit", "together", "", ""],
            "rows": [
                [
                    row.prior,
                    f"{row.rule}: {row.text}",
                    _amount(row.prior_bed_gy),
                    _amount(row.limit_gy),
                    _amount(row.together_bed_gy),
                    told[row.above_review],
                    "governs" if row.governs else "",
                ]
                for row in result.cord_steps
            ],
        }
    ]


def _cord(result: Reirradiation) -> list[dict[str, Any]]:
    if result.cord is None:
        return []
    nieder, told = result.cord.nieder, {True: "met", False: "not met", None: "unknown"}
    points = "unknown" if nieder.points is None else f"{nieder.points:g}"
    risk = "" if nieder.risk_percent is None else f", {nieder.risk_percent:g} % in the reports"
    rows = [
        [
            "HyTEC, all four count",
            one.text,
            _amount(one.value),
            f"{one.operator} {one.limit:g} {one.unit}",
            told[one.met],
        ]
        for one in result.cord.hytec
    ]
    rows += [
        ["Nieder, small risk", one.text, _amount(one.value), f"{one.operator} {one.limit:g} {one.unit}", told[one.met]]
        for one in nieder.conditions
    ]
    rows.append(["Nieder, points (recalled)", "score", points, "", f"{nieder.group or 'unknown'}{risk}"])
    return [
        {
            "title": "Spinal cord, published rules",
            "note": f"By the maximum of {result.cord.structure}, alpha/beta 2 Gy, without recovery"
            f"{', the most that it can be' if result.cord.is_bound else ''}. Reported; nothing is blocked by them.",
            "header": ["rule", "what", "value", "limit", ""],
            "rows": rows,
        }
    ]


def _amount(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _organs(result: Reirradiation) -> list[dict[str, Any]]:
    names = [course.label for course in result.earlier] + (["today"] if result.own else [])
    return [
        {
            "title": f"Organs, alpha/beta {ab:g} Gy",
            "note": "EQD2 of each course and, voxel by voxel, of all; BED of all, and between which it lies in 95 % of "
            "the draws of what the registrations may be off; the most if each earlier dose lay up to 3 mm elsewhere "
            "around every voxel, anywhere and within the structure; by LQ-L and a survival curve (USC, of its own "
            "alpha/beta) where fractions are high, which no limit is compared with. Gy.",
            "header": [
                "structure",
                "metric",
                *names,
                "all, EQD2",
                "all, BED",
                "range, BED",
                "most within 3 mm, BED",
                "of which in the structure",
                "LQ-L, BED",
                "USC, EQD2",
            ],
            "rows": [
                [
                    row.structure,
                    row.metric,
                    *(_told(bounds, row.eqd2) for bounds in row.per_course_gy),
                    _told(row.cumulative_gy, row.eqd2),
                    _told(row.cumulative_gy, 1.0),
                    "" if row.range_gy is None else _told(row.range_gy, 1.0),
                    _most(row.ellipsoid_gy),
                    _most(row.ellipsoid_inside_gy),
                    "" if row.lql_gy is None else _told(row.lql_gy, 1.0),
                    "" if row.usc_eqd2_gy is None else _told(row.usc_eqd2_gy, 1.0),
                ]
                for row in _with(result.rows, ab)
            ],
        }
        for ab in ALPHA_BETAS_GY
    ]


def _with(rows: Sequence[Cumulated], alpha_beta_gy: float) -> list[Cumulated]:
    return [row for row in rows if row.alpha_beta_gy == alpha_beta_gy]


def _most(bounds: tuple[float, float] | None) -> str:
    if bounds is None:
        return ""
    return f"{bounds[1]:.1f}" if np.isfinite(bounds[1]) else "unknown"


def _told(bounds: tuple[float, float] | None, divided_by: float) -> str:
    if bounds is None:
        return ""
    low, high = (value / divided_by for value in bounds)
    if low == high:
        return f"{low:.1f}"
    return f"{low:.1f} to {high:.1f}" if np.isfinite(high) else f"at least {low:.1f}"
