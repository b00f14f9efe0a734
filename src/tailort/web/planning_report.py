"""The report of a planning run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailort.evaluation import ComparedRow, Comparison, Robustness
from tailort.patient import Prescription, StructureSet
from tailort.web import figures
from tailort.web.page import (
    IN_PICTURES,
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
from tailort.web.painting_tables import painting_blocks
from tailort.web.prior_tables import drawn_tables, price_tables
from tailort.web.registration_figures import registration_blocks
from tailort.web.reporting_tables import reporting_table
from tailort.web.robustness_figures import robustness_plot
from tailort.web.rule_tables import made_tables, overlay_warnings, rule_tables, rule_warnings
from tailort.workflow.clock import Stage
from tailort.workflow.records import PhasePlan, PlanningRun, PlanResult
from tailort.workflow.registering import warnings_of

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
    plans = [main, *(plan for plan in (run.comparator, run.without_prior) if plan is not None), *run.superseded]
    other = plans[1] if len(plans) > 1 else None
    prescriptions = [p for plan in plans for p in plan.prescriptions]
    palette = figures.colours(run.structures, prescriptions)
    shown = structures_shown(
        run.structures, [c.structure for plan in plans for c in plan.constraints], main.prescriptions
    )
    drawn = structures_drawn(shown)
    centre = np.asarray(main.plan.beams[0].isocentre_mm, dtype=np.float64)
    reference_gy = _highest_gy(main.prescriptions)
    contents = {
        "title": f"{run.protocol.title}",
        "subtitle": f"Patient {run.case.pseudonym}; protocol {run.protocol.id} {run.protocol.version}; "
        f"TailoRT {described['tailort']}",
        "warnings": [*overlay_warnings(run.protocol), *rule_warnings(run), *_warnings(run)],
        "cards": _cards(main),
        "summary": _summary(run),
        "reporting": reporting_table(run.reporting),
        "painted": painting_blocks(run),
        "decision": decision_table(run.decision, run.protocol),
        "planes": [
            figures.planes(run.ct, run.structures, plan.dose, palette, drawn, centre, reference_gy, _titled(plan, run))
            for plan in plans
        ],
        **leaves(run.case, run.structures, main.dose, palette, drawn, reference_gy),
        "dvh": figures.dvh_plot(
            main.dvhs,
            other.dvhs if other else (),
            palette,
            [d for d in palette if d not in NOT_IN_DVH and d in shown],
            (main.label, other.label if other else ""),
        ),
        "scorecards": [scorecard_table(f"Scorecard: {_titled(plan, run)}", plan.scorecard) for plan in plans],
        "robustness": None if run.robustness is None else _robustness(run.robustness, run.structures, palette),
        "tables": [*price_tables(run), *drawn_tables(run), *_plan_tables(plans)],
        "comparison": None if run.comparison is None else _comparison(run.comparison, plans[:2]),
        "registered": registration_blocks(run.ct.image, run.case.courses, run.registrations, centre),
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
    return render(contents)


def _warnings(run: PlanningRun) -> list[str]:
    told, _ = engine_told(run.main.dose.engine, run.engine_note)
    told += [f"{text[:1].upper()}{text[1:]}." for text in (*warnings_of(run.registrations), *run.warnings)]
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
    coverage = {(p.tied_to, p.normalisation.metric) for p in plan.prescriptions}
    for row in plan.scorecard.rows:
        if row.priority == "hard" or (row.structure, row.metric) in coverage:
            kind = {"pass": "good", "fail": "bad"}.get(row.verdict, "")
            asked = "" if row.limit is None else f"asked {row.operator} {row.limit:g}; "
            dose = f"{row.quantity} dose {'over all courses' if row.scope == 'cumulative' else 'of the course'}"
            value = "unknown" if row.value is None else f"{row.value:.2f} {_unit(row.metric)}"
            cards.append({"label": f"{row.structure} {row.metric}", "value": value, "note": asked + dose, "kind": kind})
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


def _unit(metric: str) -> str:
    return metric[metric.index("[") + 1 : -1].replace("cc", "cm3")


def _summary(run: PlanningRun) -> list[str]:
    doses = "; then ".join(
        ", ".join(p.in_words for p in phase.plan.prescriptions) + f" in {phase.plan.fractions} fractions"
        for phase in run.main.phases
    )
    lines = [
        f"{run.main.title}: {doses}, physical dose of the course. "
        "Dose, scorecard and DICOM files are those of the deliverable control points and monitor units."
    ]
    _, engine = engine_told(run.main.dose.engine, run.engine_note)
    lines += [f"{text}." for text in engine]
    if run.comparison is not None:
        organs = list(dict.fromkeys(row.structure for row in run.comparison.organs))
        worse = run.comparison.worse_by_organ
        lines.append(
            f"Against the {run.comparison.comparator}, {len(worse)} of {len(organs)} organs are worse in some metric; "
            "each is named in the comparison below."
        )
    return lines


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
                    ", ".join(p.in_words for p in phase.plan.prescriptions),
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


def _repeated(row: ComparedRow, comparison: Comparison) -> bool:
    """Whether another row says the same of one fraction."""
    return row.per == "course" and any(
        other.per == "fraction" and other.structure == row.structure and other.metric == row.metric
        for other in comparison.organs
    )


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
            "expected": "" if robustness.scenarios.weights is None else shown(row.expected),
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
        if s.name in robustness.bands and (s.name.lower() in limited or s.role in IN_PICTURES)
    ]
    picture = robustness_plot(robustness, palette, [name for name in bands if name not in NOT_IN_DVH])
    return {"positions": len(robustness.scenarios), "method": robustness.method, "picture": picture, "rows": rows}


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


def _provenance(described: Mapping[str, Any], run: PlanningRun) -> list[tuple[str, str]]:
    rows = plain_provenance(described)
    rows.append(("CT numbers to density", run.density_table))
    for phase in [phase for plan in described["plans"].values() for phase in plan["phases"]]:
        end = "converged" if phase["converged"] else "not converged"
        residual = phase["kkt_residual"]
        kkt = "a limit does not hold" if residual is None else f"KKT residual {residual:.2g}"
        how = f"{end}: {phase['reason']}; {phase['iterations']} iterations, {kkt}"
        rows.append((phase["label"], how))
    return rows
