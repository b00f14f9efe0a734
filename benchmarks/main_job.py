"""CPU-seconds, wall seconds and peak memory of each stage of the main job.

    python benchmarks/main_job.py [--size full] [--seed 0] [--dose-grid 3]

The job runs twice in processes of their own: the first fills the caches of compiled kernels, the second is reported.
Peak memory is the largest resident set of the whole process so far, so it can only grow from stage to stage.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

Size = Literal["full", "coarse"]


def once(size: Size, seed: int, dose_grid_mm: float, out: Path) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    from tailort.cli import demos

    rows: list[tuple[str, float]] = [("import", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)]
    imported = ("import", time.perf_counter() - wall, time.process_time() - cpu)

    def tell(stage: str, share: float) -> None:
        if share == 1.0:
            rows.append((stage, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))

    run = demos.demo("oesophagus", out=out, seed=seed, size=size, dose_grid_mm=dose_grid_mm, progress=tell)
    stages = [imported, *((s.name, s.wall_s, s.cpu_s) for s in run.stages)]
    peak = dict(rows)
    total = (time.perf_counter() - wall, time.process_time() - cpu)
    print(json.dumps({"stages": [(n, w, c, peak.get(n, 0.0)) for n, w, c in stages], "total": total}))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--size", choices=("full", "coarse"), default="full")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--dose-grid", type=float, default=3.0)
    options.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.once:
        once(given.size, given.seed, given.dose_grid, given.once)
        return
    with tempfile.TemporaryDirectory() as folder:
        for attempt in ("warm", "measured"):
            command = [sys.executable, __file__, "--size", given.size, "--seed", str(given.seed)]
            command += ["--dose-grid", str(given.dose_grid), "--once", str(Path(folder) / attempt)]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    measured = json.loads(told.splitlines()[-1])
    print(f"{'stage':<32}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}")
    for name, wall, cpu, peak in measured["stages"]:
        print(f"{name:<32}{wall:9.2f}{cpu:9.2f}{peak:9.0f}")
    print(f"{'whole job':<32}{measured['total'][0]:9.2f}{measured['total'][1]:9.2f}")


if __name__ == "__main__":
    main()
