"""The report: one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tailort.evaluation import ComparedRow, Comparison, Robustness, Scorecard
from tailort.patient import Case, Dose, Prescription, StructureSet
from tailort.protocols import Decision, Protocol
from tailort.web import figures
from tailort.web.pareto_figures import trade_off_plot
from tailort.web.robustness_figures import robustness_plot
from tailort.web.rule_tables import default_tables, made_tables, overlay_warnings, rule_tables, rule_warnings, strata
from tailort.web.trading_tables import trading_cards, trading_summary, trading_tables, trading_warnings
from tailort.workflow import Evaluation, PhasePlan, PlanningRun, PlanResult, Recalculation, Stage, Trading

MAX_LEAVES = 28
_IN_PICTURES = ("GTV", "CTV", "PTV")
_ALWAYS_SHOWN = ("SpinalCord", "Lung_L", "Lung_R", "Heart", "Esophagus", "Stomach", "Liver")
_NOT_IN_DVH = ("External", "Skin")
_TECHNIQUES = {"imrt": "IMRT", "vmat": "VMAT", "3dcrt": "3-D conformal"}


def planning_report(run: PlanningRun, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of a planning run as HTML.

    Parameters
    ----------
    run : PlanningRun
        What was planned.
    described : mapping
        What run.json says: versions, options, hashes of the inputs, convergence.
    stages : sequence of Stage
        Seconds of each stage.
    """
    main = run.main
    plans = [main, *([run.comparator] if run.comparator else []), *run.superseded]
    other = plans[1] if len(plans) > 1 else None
    prescriptions = [p for plan in plans for p in plan.prescriptions]
    palette = figures.colours(run.structures, prescriptions)
    shown = _shown(run.structures, [c.structure for plan in plans for c in plan.constraints], main.prescriptions)
    drawn = _drawn(shown)
    centre = np.asarray(main.plan.beams[0].isocentre_mm, dtype=np.float64)
    reference_gy = _highest_gy(main.prescriptions)
    contents = {
        "title": f"{run.protocol.title}",
        "subtitle": f"Patient {run.case.pseudonym}; protocol {run.protocol.id} {run.protocol.version}; "
        f"TailoRT {described['tailort']}",
        "warnings": [*overlay_warnings(run.protocol), *rule_warnings(run), *_warnings(run)],
        "cards": _cards(main),
        "summary": _summary(run),
        "decision": _decision(run.decision, run.protocol),
        "planes": [
            figures.planes(run.ct, run.structures, plan.dose, palette, drawn, centre, reference_gy, _titled(plan, run))
            for plan in plans
        ],
        **_leaves(run.case, run.structures, main.dose, palette, drawn, reference_gy),
        "dvh": figures.dvh_plot(
            main.dvhs,
            other.dvhs if other else (),
            palette,
            [d for d in palette if d not in _NOT_IN_DVH and d in shown],
            (main.label, other.label if other else ""),
        ),
        "scorecards": [_scorecard(f"Scorecard: {_titled(plan, run)}", plan.scorecard) for plan in plans],
        "robustness": None if run.robustness is None else _robustness(run.robustness, run.structures, palette),
        "tables": _plan_tables(plans),
        "comparison": None if run.comparison is None else _comparison(run.comparison, plans[:2]),
        "bevs": [
            {
                "title": _titled(plan, run) + (f", phase {phase.number}" if len(plan.phases) > 1 else ""),
                "pictures": figures.beams_eye_views(phase.plan, run.structures, palette, _seen(phase, shown)),
            }
            for plan in plans
            for phase in plan.phases
        ],
        "made": made_tables(run),
        "traced": rule_tables(run),
        "rules": [{"id": r.id, "text": r.text, "source": r.source, "mark": r.mark} for r in run.protocol.rules],
        "provenance": _provenance(described, run),
        "notes": run.case.notes,
        "stages": stages,
    }
    return str(_template().render(**contents))


def evaluation_report(result: Evaluation, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of an evaluated dose as HTML; see `planning_report`."""
    case = result.case
    prescriptions = result.prescriptions
    palette = figures.colours(case.structures, prescriptions)
    shown = _shown(case.structures, [row.structure for row in result.scorecard.rows], prescriptions)
    drawn = _drawn(shown)
    hottest = np.unravel_index(int(np.argmax(result.dose.image.values)), result.dose.image.grid.shape)
    centre = result.dose.image.grid.to_world(np.array(hottest, dtype=float))
    reference_gy = max((p.dose_gy for p in prescriptions), default=float(result.dose.image.values.max()))
    contents = {
        "title": "Evaluation of an existing dose",
        "subtitle": f"Patient {case.pseudonym}; TailoRT {described['tailort']}",
        "warnings": overlay_warnings(result.protocol),
        "cards": _evaluation_cards(result),
        "summary": [],
        "decision": None
        if result.decision is None or result.protocol is None
        else _decision(result.decision, result.protocol),
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
        **_leaves(case, case.structures, result.dose, palette, drawn, reference_gy),
        "dvh": figures.dvh_plot(
            result.dvhs, (), palette, [d for d in palette if d not in _NOT_IN_DVH and d in shown], ("", "")
        ),
        "scorecards": [_scorecard("Scorecard", result.scorecard)],
        "tables": [],
        "comparison": None,
        "bevs": [],
        "made": [],
        "rules": [] if result.protocol is None else result.protocol.rules,
        "provenance": _plain_provenance(described),
        "notes": result.notes,
        "stages": stages,
    }
    return str(_template().render(**contents))


def recalculation_report(result: Recalculation, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of a recalculated plan as HTML; see `planning_report`."""
    case, plan = result.case, result.plan
    palette = figures.colours(case.structures, plan.prescriptions)
    shown = _shown(case.structures, [], plan.prescriptions)
    drawn = _drawn(shown)
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
        **_leaves(case, case.structures, result.dose, palette, drawn, reference_gy),
        "dvh": figures.dvh_plot(
            result.dvhs,
            result.given_dvhs,
            palette,
            [d for d in palette if d not in _NOT_IN_DVH and d in shown],
            ("recalculated", "as it came"),
        ),
        "tables": _recalculation_tables(result),
        "scorecards": [],
        "comparison": None,
        "bevs": [{"title": plan.label, "pictures": figures.beams_eye_views(plan, case.structures, palette, drawn)}],
        "made": [],
        "rules": [],
        "provenance": [*_plain_provenance(described), ("CT numbers to density", result.density_table)],
        "notes": case.notes,
        "stages": stages,
    }
    return str(_template().render(**contents))


def _plan_tables(plans: Sequence[PlanResult]) -> list[dict[str, Any]]:
    """What each phase takes to deliver, and goals that were served one after the other."""
    rows = []
    for plan in plans:
        for phase in plan.phases:
            scores = [beam.complexity for beam in phase.delivery.beams if beam.complexity is not None]
            rows.append(
                [
                    phase.plan.label,
                    _TECHNIQUES[phase.technique],
                    ", ".join(f"{p.target} {p.dose_gy:g} Gy" for p in phase.plan.prescriptions),
                    str(phase.plan.fractions),
                    f"{phase.plan.mu:.0f}",
                    f"{phase.delivery.seconds:.0f}",
                    f"{min(scores):.2f} to {max(scores):.2f}" if scores else "",
                ]
            )
    tables: list[dict[str, Any]] = [
        {
            "title": "Delivery",
            "note": "Shortest time of a fraction with the machine's speeds, without acceleration or verification. "
            "Complexity: modulation complexity score, 1 is one rectangle.",
            "header": ["plan", "technique", "prescribed", "fractions", "MU a fraction", "s a fraction", "complexity"],
            "rows": rows,
        }
    ]
    tables += [
        {
            "title": f"Goals in order: {phase.plan.label}",
            "note": "The usual weights did not meet every goal, so each was served in turn. Distances from its aim are "
            "root mean squares of what is beyond, or mean doses, Gy of the fluence; the cost is how much nearer it "
            "would have come after the targets' coverage alone.",
            "header": ["goal", "met", "distance, Gy", "kept below, Gy", "goals before it cost it, Gy"],
            "rows": [
                [
                    goal.label,
                    "" if goal.met is None else "yes" if goal.met else "no",
                    f"{goal.reached_gy:.2f}",
                    f"{goal.kept_gy:.2f}",
                    f"{goal.cost_gy:.2f}",
                ]
                for goal in phase.order
            ],
        }
        for plan in plans
        for phase in plan.phases
        if phase.order
    ]
    return tables


def trading_report(result: Trading, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of trade-offs as HTML; see `planning_report`."""
    front = result.front
    contents = {
        "title": f"Trade-offs: {result.protocol.title}",
        "subtitle": f"Patient {result.case.pseudonym}; protocol {result.protocol.id} {result.protocol.version}; "
        f"TailoRT {described['tailort']}",
        "warnings": [
            *overlay_warnings(result.protocol),
            f"Dose engine: {result.engine_note}",
            *trading_warnings(result),
        ],
        "cards": trading_cards(result),
        "summary": trading_summary(result),
        "decision": _decision(result.decision, result.protocol),
        "planes": [],
        "dvh": None,
        "trade_offs": None if front is None else trade_off_plot(front, result.mixture),
        "tables": trading_tables(result),
        "scorecards": [],
        "comparison": None,
        "bevs": [],
        "made": [],
        "rules": [{"id": r.id, "text": r.text, "source": r.source, "mark": r.mark} for r in result.protocol.rules],
        "provenance": [*_plain_provenance(described), ("CT numbers to density", result.density_table)],
        "notes": result.case.notes,
        "stages": stages,
    }
    return str(_template().render(**contents))


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


@cache
def _template() -> Any:
    source = resources.files("tailort.web").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(source)


def _shown(structures: StructureSet, judged: Sequence[str], prescriptions: Sequence[Prescription]) -> list[str]:
    """Structures worth drawing: targets, what is judged, and a few that orient the reader."""
    wanted = {name.lower() for name in (*judged, *(p.target for p in prescriptions), *_ALWAYS_SHOWN)}
    return [
        s.name
        for s in structures
        if not s.is_empty and (s.role in _IN_PICTURES or s.role == "EXTERNAL" or s.name.lower() in wanted)
    ]


def _drawn(shown: Sequence[str]) -> list[str]:
    """Structures in the pictures: both lungs are drawn as left and right, not once more together."""
    sides = {"Lung_L", "Lung_R"} <= set(shown)
    return [name for name in shown if not (sides and name.startswith("Lungs"))]


def _highest_gy(prescriptions: Sequence[Prescription]) -> float:
    """Highest dose that a target is prescribed in the whole course, Gy."""
    total: dict[str, float] = {}
    for p in prescriptions:
        total[p.target] = total.get(p.target, 0.0) + p.dose_gy
    return max(total.values())


def _seen(phase: PhasePlan, shown: Sequence[str]) -> list[str]:
    """Structures in a beam's eye view: this phase's targets and the organs at risk."""
    targets = [p.target for p in phase.plan.prescriptions]
    organs = [name for name in ("SpinalCord", "Heart") if name in shown]
    return [*sorted(organs), *targets]


def _titled(plan: PlanResult, run: PlanningRun) -> str:
    return f"{plan.title} (superseded)" if plan in run.superseded else plan.title


def _warnings(run: PlanningRun) -> list[str]:
    told = [f"Dose engine: {run.engine_note}"] if run.engine_note else []
    for plan in (run.main, run.comparator):
        if plan is None:
            continue
        if plan.interrupted:
            told.append(f"{plan.title}: interrupted by a person; the plan is not converged.")
        else:
            told += [
                f"{phase.plan.label}: the optimisation did not converge ({phase.convergence.reason})."
                for phase in plan.phases
                if not phase.convergence.converged
            ]
        told += [
            f"{plan.title}: hard limit violated: {row.structure} {row.metric} is {row.value:.2f}, "
            f"limit {row.operator} {row.limit:g}."
            for row in plan.scorecard.hard_failures
            if row.value is not None
        ]
    told += [f"Interrupted: {text}." for text in run.unfinished]
    if run.robustness is not None:
        told += [
            f"{run.main.title}: hard limit violated with set-up errors: {row.structure} {row.metric} is "
            f"{'unknown' if row.worst is None else f'{row.worst:.2f} ({row.worst_scenario})'}, "
            f"limit {row.operator} {row.limit:g}; it holds in {row.held} of {row.scenarios} positions."
            for row in run.robustness.hard_failures
        ]
    return told


def _cards(plan: PlanResult) -> list[dict[str, str]]:
    cards = []
    coverage = {(p.target, p.normalisation.metric) for p in plan.prescriptions}
    for row in plan.scorecard.rows:
        if row.priority == "hard" or (row.structure, row.metric) in coverage:
            kind = {"pass": "good", "fail": "bad"}.get(row.verdict, "")
            limit = "" if row.limit is None else f"asked {row.operator} {row.limit:g}"
            value = "unknown" if row.value is None else f"{row.value:.2f} {_unit(row.metric)}"
            cards.append({"label": f"{row.structure} {row.metric}", "value": value, "note": limit, "kind": kind})
    missed = [row for row in plan.scorecard.rows if row.verdict == "fail"]
    cards.append(
        {
            "label": "rows of the scorecard that fail",
            "value": str(len(missed)),
            "note": ", ".join(f"{row.structure} {row.metric}" for row in missed) or "none",
            "kind": "bad" if missed else "good",
        }
    )
    for phase in plan.phases:
        made = phase.plan
        segments = sum(len(list(beam.segments())) for beam in made.beams)
        parts = f"{segments} control point intervals" if any(b.dynamic for b in made.beams) else f"{segments} segments"
        cards.append(
            {
                "label": _TECHNIQUES[phase.technique] + ("" if len(plan.phases) == 1 else f", phase {phase.number}"),
                "value": f"{made.mu:.0f} MU",
                "note": f"{len(made.beams)} beams, {parts} a fraction, {made.fractions} fractions",
                "kind": "",
            }
        )
    return cards


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


def _summary(run: PlanningRun) -> list[str]:
    doses = "; then ".join(
        ", ".join(f"{p.target} {p.dose_gy:g} Gy" for p in phase.plan.prescriptions)
        + f" in {phase.plan.fractions} fractions"
        for phase in run.main.phases
    )
    lines = [
        f"{run.main.title}: {doses}, physical dose of the course. "
        "Dose, scorecard and DICOM files are those of the deliverable control points and monitor units."
    ]
    if run.comparison is not None:
        organs = list(dict.fromkeys(row.structure for row in run.comparison.organs))
        worse = run.comparison.worse_by_organ
        lines.append(
            f"Against the {run.comparison.comparator}, {len(worse)} of {len(organs)} organs are worse in some metric; "
            "each is named in the comparison below."
        )
    return lines


def _repeated(row: ComparedRow, comparison: Comparison) -> bool:
    """Whether another row says the same of one fraction."""
    return row.per == "course" and any(
        other.per == "fraction" and other.structure == row.structure and other.metric == row.metric
        for other in comparison.organs
    )


def _decision(decision: Decision, protocol: Protocol) -> dict[str, Any]:
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


def _scorecard(title: str, card: Scorecard) -> dict[str, Any]:
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
            }
        )
    return {"title": title, "rows": rows}


def _robustness(robustness: Robustness, structures: StructureSet, palette: dict[str, str]) -> dict[str, Any]:
    def shown(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.2f}"

    rows = [
        {
            "structure": row.structure,
            "metric": row.metric,
            "quantity": row.quantity,
            "nominal": shown(row.nominal),
            "lowest": shown(row.lowest),
            "highest": shown(row.highest),
            "limit": "" if row.limit is None else f"{row.operator} {row.limit:g}",
            "worst_in": row.worst_scenario,
            "held": "" if row.verdict == "report" else f"{row.held} of {row.scenarios}",
            "priority": row.priority,
            "verdict": row.verdict,
            "source": row.source,
            "reason": row.reason,
        }
        for row in robustness.rows
    ]
    limited = {row.structure.lower() for row in robustness.rows if row.verdict != "report" and row.limit is not None}
    bands = [
        s.name
        for s in structures
        if s.name in robustness.bands and (s.name.lower() in limited or s.role in _IN_PICTURES)
    ]
    picture = robustness_plot(robustness, palette, [name for name in bands if name not in _NOT_IN_DVH])
    return {"positions": len(robustness.scenarios), "method": robustness.method, "picture": picture, "rows": rows}


def _comparison(comparison: Comparison, plans: Sequence[PlanResult]) -> dict[str, Any]:
    def shown(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.2f}"

    targets = [
        {
            "structure": f"{level.target} (prescribed, {level.plan})",
            "quantity": f"{level.dose_gy:g} Gy in {level.fractions}: {level.dose_per_fraction_gy:.3g} Gy per fraction",
            "main": f"BED {level.bed_gy:.2f}" if level.plan == comparison.plan else "",
            "other": f"BED {level.bed_gy:.2f}" if level.plan != comparison.plan else "",
            "difference": f"EQD2 {level.eqd2_gy:.2f}",
        }
        for level in comparison.levels
    ]
    for row in comparison.targets:
        difference = "" if row.plan is None or row.comparator is None else f"{row.plan - row.comparator:+.2f}"
        targets.append(
            {
                "structure": row.structure,
                "quantity": f"{row.metric}, {row.quantity}, per {row.per}",
                "main": shown(row.plan),
                "other": shown(row.comparator),
                "difference": difference,
            }
        )
    organs = [
        {
            "structure": row.structure,
            "quantity": f"{row.metric}, {row.quantity}, per {row.per}",
            "main": shown(row.plan) if row.per == "course" or row.plan is None else f"{row.plan:.3f}",
            "other": shown(row.comparator)
            if row.per == "course" or row.comparator is None
            else f"{row.comparator:.3f}",
            "lower": row.lower,
            "kind": "fail" if row.worse == "yes" else "unknown" if row.worse == "unknown" else "pass",
        }
        for row in comparison.organs
        if not _repeated(row, comparison)
    ]
    worse = list(comparison.statements) if comparison.worse_organs else []
    return {
        "labels": (comparison.plan, comparison.comparator),
        "techniques": " against ".join(_TECHNIQUES[plan.phases[0].technique] for plan in plans),
        "targets": targets,
        "organs": organs,
        "worse": worse,
    }


def _leaves(
    case: Case, structures: StructureSet, dose: Dose, palette: dict[str, str], shown: Sequence[str], reference_gy: float
) -> dict[str, Any]:
    """Slices to leaf through: over the targets, or over the dose where there is no target."""
    targets = [s for s in structures if s.role in _IN_PICTURES and not s.is_empty]
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


def _provenance(described: Mapping[str, Any], run: PlanningRun) -> list[tuple[str, str]]:
    rows = _plain_provenance(described)
    rows.append(("CT numbers to density", run.density_table))
    for phase in [phase for plan in described["plans"].values() for phase in plan["phases"]]:
        end = "converged" if phase["converged"] else "not converged"
        how = f"{end}: {phase['reason']}; {phase['iterations']} iterations, optimality {phase['optimality']:.2g}"
        rows.append((phase["label"], how))
    return rows


def _plain_provenance(described: Mapping[str, Any]) -> list[tuple[str, str]]:
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


def _unit(metric: str) -> str:
    return metric[metric.index("[") + 1 : -1].replace("cc", "cm3")
