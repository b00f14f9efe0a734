"""What `tailort adapt` tells of a virtual patient's course, beside what is true: several CTs, cone-beam CTs, phases.

    python benchmarks/adaptation_course.py [--seed 1] [--courses several,cbct,phases,phases-again] [--engine ENGINE]

A coarse patient `adaptive` is planned once, 50 Gy in 25 fractions to the tumour with its surroundings and 10 Gy in 5 to
the tumour, and adapted in each of these ways. The GTVs of the last scan are drawn as they are (`--carried`: carried).
True are the exact maps and contours and, of a cone-beam CT, the dose on the CT of the same moment.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from tailort.cli.adapt_commands import adapt_course
from tailort.cli.commands import plan, silent
from tailort.cli.write_phantom import write_adaptive, write_drawn
from tailort.phantom import AdaptivePatient, WeeklyScan, adaptive
from tailort.workflow.adaptation_truth import against_truth, doses_on, true_scans
from tailort.workflow.options import PlanningOptions

PROTOCOL = """
id: two-phases
version: "1"
title: Elective volume, then a boost
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV_5000, dose_gy: 50, fractions: 25}
  - {target: PTV_6000, dose_gy: 10, fractions: 5, phase: 2, boosts: PTV_5000}
targets:
  - {name: CTV, role: CTV, of: [GTVp, GTVn], then: [{expand: {radial_mm: 8, craniocaudal_mm: 20}}]}
  - {name: PTV_5000, role: PTV, of: [CTV], then: [{expand: {radial_mm: 7, craniocaudal_mm: 7}}]}
  - {name: PTV_6000, role: PTV, of: [GTVp, GTVn], then: [{expand: {radial_mm: 8, craniocaudal_mm: 8}}]}
technique: {kind: imrt, beams: 5}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 48, priority: hard}
  - {structure: Lungs, metric: "V20Gy[%]", operator: "<", limit: 35, priority: goal}
  - {structure: Heart, metric: "Mean[Gy]", operator: "<", limit: 26, priority: goal}
"""
# Scans by week, fractions before each, cone-beam CT or CT, its correction, whether what is left is planned anew.
COURSES = {
    "several": ((2, 4), (10, 20), None, "no"),
    "cbct": ((3,), (15,), "histogram", "no"),
    "cbct-uncorrected": ((3,), (15,), "none", "no"),
    "cbct-several": ((2, 4), (10, 20), "histogram", "no"),
    "phases": ((4,), (27,), None, "no"),
    "phases-again": ((2,), (10,), None, "yes"),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--courses", default=",".join(COURSES))
    options.add_argument("--change", choices=("large", "small", "contour"), default="large")
    options.add_argument("--engine", default="pencil-nyholm")
    options.add_argument("--dose-grid", type=float, default=5.0, help="mm")
    options.add_argument("--carried", action="store_true", help="GTVs of the last scan are carried, not drawn")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        patient = adaptive.make(asked.seed, "coarse", change=asked.change)
        write_adaptive(patient, (), folder / "case", silent)
        (folder / "two-phases.yaml").write_text(PROTOCOL)
        plan(
            folder / "case" / "planning", str(folder / "two-phases.yaml"), out=folder / "plan",
            dose_grid_mm=asked.dose_grid, engine=asked.engine,
        )  # fmt: skip
        for name in asked.courses.split(","):
            one(name, patient, folder, asked)


def one(name: str, patient: AdaptivePatient, folder: Path, asked: argparse.Namespace) -> None:
    """Adapt in one way and print what was told beside the truth."""
    weeks, delivered, how, replan = COURSES[name]
    scans = [patient.week(week, "ct" if how is None else "cbct") for week in weeks]
    place = folder / name
    write_adaptive(patient, scans, place, silent)
    if not asked.carried:
        write_drawn(scans[-1], place)
    begun = time.process_time()
    result = adapt_course(
        folder / "plan", tuple(place / scan.name for scan in scans), delivered=delivered,
        case_dir=folder / "case" / "planning", hu_correction=how, replan=replan, out=folder / f"{name}-out",
    )  # fmt: skip
    seconds = time.process_time() - begun
    by_label: dict[str, WeeklyScan] = {scan.name: scan for scan in scans}
    own = PlanningOptions(engine=asked.engine, dose_grid_mm=asked.dose_grid)
    doses = {
        scan.name: doses_on(result, scan.name, patient.week(scan.map.week), own, asked.dose_grid)
        for scan in (scans if how is not None else ())
    }
    today = scans[-1]
    held = against_truth(
        result, true_scans(result, by_label, today.name, doses), today.structures, today.scan.image.grid.spacing_mm[0]
    )  # fmt: skip
    most_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    counted = "; ".join(f"{day.label} {' + '.join(map(str, day.by_plan))}" for day in result.days)
    print(
        f"{name} ({seconds:.0f} CPU-s, at most {most_gb:.1f} GB): fractions {counted}; fired {result.fired or 'none'}"
    )
    for found in held:
        share = 100 * (found.told_gy / found.true_gy - 1)
        print(
            f"    {found.scope:9s} {found.structure} {found.metric}: told {found.told_gy:.2f} Gy, true "
            f"{found.true_gy:.2f} Gy, {found.told_gy - found.true_gy:+.2f} Gy or {share:+.1f} %",
            flush=True,
        )
    for warning in result.warnings:
        print(f"    ! {warning}")
    if result.replanned is not None:
        for phase in result.replanned.result.phases:
            told = ", ".join(f"{p.target} {p.dose_gy:g} Gy" for p in phase.plan.prescriptions)
            print(f"    new plan {phase.plan.label}: {phase.plan.fractions} fractions, {told}")
        for row in result.replanned.result.scorecard.rows:
            print(
                f"    on the sum: {row.structure} {row.metric} {row.value} ({row.operator} {row.limit}) {row.verdict}"
            )


if __name__ == "__main__":
    main()
