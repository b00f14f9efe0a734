"""Seconds and memory of summing earlier courses: registration, mapping, organs at three alpha/beta, ranges.

    python benchmarks/reirradiation.py TODAY --prior EARLIER [--prior EARLIER ...] [--organs 15]

Folders as `tailort reirradiate` takes them. Stages as in run.json. With --organs the case of today has only so many
organs, the first of its RTSTRUCT that are no targets.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import tempfile
from pathlib import Path

import pydicom

from tailort.cli.reirradiate_commands import sum_courses

TARGET = re.compile(r"[GCIP]TV")


def with_organs(case: Path, number: int, copy: Path) -> Path:
    """Copy of a case whose RTSTRUCT has the outline and so many organs."""
    shutil.copytree(case, copy)
    for path in copy.glob("*.dcm"):
        one = pydicom.dcmread(path)
        if one.Modality != "RTSTRUCT":
            continue
        names = {int(roi.ROINumber): str(roi.ROIName) for roi in one.StructureSetROISequence}
        organs = [n for n, name in names.items() if name != "External" and not TARGET.search(name)][:number]
        kept = {*organs, *(n for n, name in names.items() if name == "External")}
        one.StructureSetROISequence = [roi for roi in one.StructureSetROISequence if int(roi.ROINumber) in kept]
        for sequence in ("ROIContourSequence", "RTROIObservationsSequence"):
            setattr(one, sequence, [roi for roi in getattr(one, sequence) if int(roi.ReferencedROINumber) in kept])
        one.save_as(path)
    return copy


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("today", type=Path)
    options.add_argument("--prior", type=Path, action="append", required=True)
    options.add_argument("--fractions", type=int, default=None, help="of a new course, for the map of what is left")
    options.add_argument("--organs", type=int, default=None, help="of today's case; None takes all its structures")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        today = asked.today if asked.organs is None else with_organs(asked.today, asked.organs, Path(folder) / "today")
        result = sum_courses(today, tuple(asked.prior), fractions=asked.fractions, out=out)
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
