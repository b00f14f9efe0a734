"""Plans on the test geometries of AAPM TG-119 beside the means that the report's institutions reached.

    python benchmarks/tg119.py [--technique vmat] [--dose-grid 4] [--size coarse] [--only tg119-prostate ...]

Every plan is deliverable, and its dose is that of its control points by the reporting engine. The phantoms are rebuilt
from words and a few lengths, and the report's goals and means are recalled: the columns stand side by side, nobody
passes or fails by them. The phantom is water of 1 g/cm3.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

from tailort.phantom import tg119
from tailort.protocols import load
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.planning import plan

FOLDER = Path(__file__).parent / "tg119"
PHANTOMS = {
    "tg119-c-shape-easy": "tg119-c-shape",
    "tg119-c-shape-hard": "tg119-c-shape",
    **{name: name for name in tg119.NAMES if name != "tg119-c-shape"},
}


def published() -> dict[tuple[str, str, str], float]:
    with (FOLDER / "published.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {(row["protocol"], row["structure"], row["metric"]): float(row["mean_gy"]) for row in rows}


def run(name: str, technique: str | None, dose_grid_mm: float, size: str, engine: str) -> dict[str, Any]:
    phantom = tg119.make(PHANTOMS[name], size=size)  # type: ignore[arg-type]
    options = PlanningOptions(
        dose_grid_mm=dose_grid_mm, technique=technique, densities=(("External", 1.0),), engine=engine
    )
    wall, cpu = time.perf_counter(), time.process_time()
    clock = StageClock(lambda stage, share: None)
    protocol = load(FOLDER / f"{name}.yaml")
    made = plan(phantom.case, protocol, options, clock, stop=lambda: False, keep=lambda: None).main
    means = published()
    rows = [
        {
            "structure": row.structure,
            "metric": row.metric,
            "goal": f"{row.operator} {row.limit:g}",
            "published_gy": means.get((name, row.structure, row.metric)),
            "ours_gy": row.value,
            "verdict": row.verdict,
        }
        for row in made.scorecard.rows
        if row.limit is not None
    ]
    return {
        "protocol": name,
        "rows": rows,
        "mu": made.plan.mu,
        "segments": sum(len(list(beam.segments())) for beam in made.plan.beams),
        "converged": made.converged,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "stages": [(stage.name, stage.cpu_s) for stage in clock.stages],
    }


def tell(result: dict[str, Any]) -> None:
    print(
        f"\n{result['protocol']}: {result['mu']:.0f} MU a fraction, {result['segments']} segments, "
        f"{result['wall_s']:.0f} s wall, {result['cpu_s']:.0f} CPU-s"
    )
    print(f"  {'structure':<12}{'metric':<10}{'goal, Gy':>10}{'published':>11}{'ours':>8}")
    for row in result["rows"]:
        mean = "-" if row["published_gy"] is None else f"{row['published_gy']:.1f}"
        ours = "-" if row["ours_gy"] is None else f"{row['ours_gy']:.1f}"
        print(
            f"  {row['structure']:<12}{row['metric'].removesuffix('[Gy]'):<10}{row['goal']:>10}{mean:>11}{ours:>8}"
            f"  {row['verdict']}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--technique", choices=("imrt", "vmat", "3dcrt"), help="default: the report's fixed beams")
    parser.add_argument("--dose-grid", type=float, default=3.0, help="spacing, mm")
    parser.add_argument("--size", choices=("full", "coarse"), default="full", help="of the CT")
    parser.add_argument("--engine", default=PlanningOptions().engine)
    parser.add_argument("--only", nargs="+", choices=tuple(PHANTOMS), default=tuple(PHANTOMS), metavar="PROTOCOL")
    parser.add_argument("--json", type=Path, help="write everything there too")
    given = parser.parse_args()
    results = []
    for name in given.only:
        results.append(run(name, given.technique, given.dose_grid, given.size, given.engine))
        tell(results[-1])
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
