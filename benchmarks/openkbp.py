"""A head-and-neck case of the OpenKBP data beside its reference plan: three dose levels, hard limits, organ means.

    python benchmarks/openkbp.py CASE_DIR [--technique vmat] [--dose-grid 3]

CASE_DIR is a DICOM folder with CT, RTSTRUCT and the RTDOSE of the reference plan (fluence of nine beams by another
engine); ours is the dose of control points by the collapsed cone. Babier et al. 2021, Med Phys 48:5549.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tailort import dicom
from tailort.evaluation import histograms
from tailort.protocols import load
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.planning import plan

LEVELS = {"PTV70": 70.0, "PTV63": 63.0, "PTV56": 56.0}
# Organ means may be at most this far above those of the reference plan, Gy.
ABOVE_GY = 2.0
HEAD = """
id: openkbp
version: "1"
title: OpenKBP, 70, 63 and 56 Gy in 35 fractions
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV70, dose_gy: 70, fractions: 35}
  - {target: PTV63, dose_gy: 63, fractions: 35}
  - {target: PTV56, dose_gy: 56, fractions: 35}
technique: {kind: imrt, beams: 9}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard}
  - {structure: Brainstem, metric: "Max[Gy]", operator: "<", limit: 54, priority: hard}
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("case", type=Path)
    options.add_argument("--technique", choices=("imrt", "vmat"))
    options.add_argument("--dose-grid", type=float, default=3.0)
    asked = options.parse_args()
    case = dicom.read_case(asked.case)
    (reference,) = case.doses
    before = {name: d.value("Mean[Gy]") for name, d in histograms(case.structures, reference.per_course()).items()}
    organs = [name for name in before if name not in LEVELS and name not in ("External", "SpinalCord", "Brainstem")]
    limits = "".join(
        f'  - {{structure: {name}, metric: "Mean[Gy]", operator: "<=", limit: {before[name]:.2f}, priority: goal}}\n'
        for name in organs
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "openkbp.yaml"
        file.write_text(HEAD + limits, encoding="utf-8")
        protocol = load(file)
    wall, cpu = time.perf_counter(), time.process_time()
    made = plan(
        case,
        protocol,
        PlanningOptions(dose_grid_mm=asked.dose_grid, technique=asked.technique),
        StageClock(lambda stage, share: None),
        stop=lambda: False,
        keep=lambda: None,
    ).main
    seconds = f"{time.perf_counter() - wall:.0f} s wall, {time.process_time() - cpu:.0f} CPU-s"
    delivered = f"{made.plan.mu:.0f} MU, {made.phases[0].delivery.seconds:.0f} s a fraction"
    print(f"{made.phases[0].technique}, {asked.dose_grid:g} mm: {seconds}; {delivered}")
    curves = {d.structure: d for d in made.dvhs}
    for name in ("SpinalCord", "Brainstem"):
        print(f"  {name:14s} Max  {curves[name].value('Max[Gy]'):6.2f} Gy")
    for name, dose_gy in LEVELS.items():
        d95 = curves[name].value("D95%[Gy]")
        print(f"  {name:14s} D95% {d95:6.2f} Gy, {100 * d95 / dose_gy:.1f} % of {dose_gy:g}; asked 97 %")
    for name in organs:
        own = curves[name].value("Mean[Gy]")
        told = "" if own <= before[name] + ABOVE_GY else "  more than 2 Gy above"
        print(f"  {name:14s} Mean {own:6.2f} Gy, reference {before[name]:6.2f}{told}")
    for goal in made.phases[0].order:
        print(f"  in order: {goal.label}: {goal.reached_gy:.2f} Gy from its aim, cost {goal.cost_gy:.2f} Gy")


if __name__ == "__main__":
    main()
