"""The finished plans of a course, judged as a whole."""

from __future__ import annotations

from dataclasses import replace

from tailort.evaluation import Row, assess, histograms, index_rows
from tailort.evaluation.scorecard import Verdict
from tailort.radiobiology import course_dose
from tailort.workflow.bench import Bench
from tailort.workflow.normalising import reached_gy
from tailort.workflow.outcomes import after_oesophagectomy
from tailort.workflow.records import PhasePlan, PlanResult
from tailort.workflow.requesting import Request

# What a prescription that is not a coverage is called in a scorecard.
POINTS = {"isodose": "Isodose[Gy]", "point": "Point[Gy]", "depth": "Depth[Gy]"}


def judge(bench: Bench, request: Request, phases: tuple[PhasePlan, ...], notes: tuple[str, ...]) -> PlanResult:
    """Judge the plans of a course by its prescriptions and limits, beside earlier courses where the bench has some.

    Parameters
    ----------
    bench : Bench
        The patient.
    request : Request
        What was wanted.
    phases : tuple of PhasePlan
        In order of delivery.
    notes : tuple of str
        What a reader must know of how they were made.
    """
    doses = [*bench.delivered, *(phase.dose for phase in phases)]
    course = course_dose(doses)
    report: dict[str, tuple[str, ...]] = {}
    for metric in request.report:
        report[metric.structure] = (*report.get(metric.structure, ()), metric.metric)
    thick = bench.slice_mm
    card = assess(
        bench.structures,
        doses,
        request.constraints,
        request.course,
        metrics=report,
        earlier=bench.earlier,
        after_oesophagectomy=after_oesophagectomy(bench.case.facts),
        single_slice_thickness_mm=thick,
    )
    points = (row for phase in phases for row in _point_rows(bench, phase))
    indices = index_rows(bench.structures, card.histograms, course, request.course, thick)
    card = replace(card, rows=(*points, *card.rows, *indices))
    others = [s for s in bench.structures if s.name not in card.histograms]
    curves = {**histograms(others, course, single_slice_thickness_mm=thick), **card.histograms}
    return PlanResult(
        title=request.title,
        label=request.label,
        prescriptions=request.prescriptions,
        constraints=request.constraints,
        phases=phases,
        dose=course,
        scorecard=card,
        dvhs=tuple(curves[s.name] for s in bench.structures if s.name in curves),
        notes=(*notes, *(f"{phase.plan.label}: {note}" for phase in phases for note in phase.notes)),
    )


def _point_rows(bench: Bench, phase: PhasePlan) -> list[Row]:
    """What prescriptions to a point, an isodose or a depth get in their phase: no metric of a volume tells it."""
    rows = []
    for p in phase.plan.prescriptions:
        how = p.normalisation
        if how.kind == "coverage":
            continue
        value = round(reached_gy(bench, p, phase.plan, phase.dose), 2)
        verdict: Verdict = "pass" if value >= round(p.dose_gy, 2) else "fail"
        rows.append(
            Row(
                p.target, POINTS[how.kind], "physical", "course", value, ">=", p.dose_gy, "goal", verdict,
                f"prescription of {phase.plan.label}",
            )
        )  # fmt: skip
    return rows
