"""Seconds and memory of summing earlier courses: registration, mapping, organs at three alpha/beta, ranges.

    python benchmarks/reirradiation.py TODAY --prior EARLIER [--prior EARLIER ...]

Folders as `tailort reirradiate` takes them. Stages as in run.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path

from tailort.cli.reirradiate_commands import sum_courses


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("today", type=Path)
    options.add_argument("--prior", type=Path, action="append", required=True)
    options.add_argument("--fractions", type=int, default=None, help="of a new course, for the map of what is left")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        result = sum_courses(asked.today, tuple(asked.prior), fractions=asked.fractions, out=out)
        stages = json.loads((out / "run.json").read_text())["stages"]
    for stage in stages:
        print(f"{stage['name']:40s} {stage['wall_s']:7.1f} s wall {stage['cpu_s']:7.1f} CPU-s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    structures = len({row.structure for row in result.rows})
    ranged = [row for row in result.rows if row.range_gy is not None and row.cumulative_gy[0] > 10.0]
    widths = sorted(0.5 * (r.range_gy[1] - r.range_gy[0]) / r.cumulative_gy[0] for r in ranged if r.range_gy)
    grid = result.totals[0].image.grid
    print(f"{len(result.earlier)} courses, {structures} structures, dose grid {grid.shape}, at most {peak:.1f} GB")
    if widths:
        print(f"half-widths of {len(widths)} ranges above 10 Gy BED: median {100 * widths[len(widths) // 2]:.1f} %")


if __name__ == "__main__":
    main()
