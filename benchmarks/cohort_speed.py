"""Cohorts of 100,000: the whole command `tailort cohort`, or all estimates; CPU seconds, wall and peak memory.

Run: python benchmarks/cohort_speed.py --command [--rows 100000]
     python benchmarks/cohort_speed.py [--patients 100000] [--rscript Rscript]

The command: one row a patient in the shape of the spine study, and rows of six kinds in the shape of the salvage trial,
from the table to the written run folder, with a cohort of 21 before it for what every run costs. A loop of pure Python
is timed right before and after each, as a shared machine makes CPU seconds longer.
Estimates: three arms, ten centres as strata, two causes; continuous times (all distinct), then times in whole months;
and R's for comparison.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tailort.cli.write_cohort import write_virtual_cohort
from tailort.cohort.cox import cox, proportional_hazards
from tailort.cohort.gray import gray_test
from tailort.cohort.incidence import aalen_johansen
from tailort.cohort.log_rank import log_rank
from tailort.cohort.survival import kaplan_meier, reverse_kaplan_meier
from tailort.phantom.virtual_cohort import VirtualCohort, salvage_cohort, spine_cohort

SEED = 3
ASKED = {"spine": ["--by", "oligo_recurrence"], "salvage": ["--by", "irradiation", "--subgroup", "sex"]}
START = "from tailort.cli import main; main()"

R = """
suppressPackageStartupMessages({library(survival); library(cmprsk)})
d <- read.csv(commandArgs(trailingOnly = TRUE)[1])
cpu <- function(name, work) { used <- system.time(work); cat(sprintf("R %-34s %7.2f s\\n", name, sum(used[1:2]))) }
cpu("Kaplan-Meier of 3 arms", survfit(Surv(time, status > 0) ~ arm, d, conf.type = "log-log"))
cpu("log-rank, 10 strata", survdiff(Surv(time, status > 0) ~ arm + strata(centre), d))
cpu("cumulative incidence and Gray", cuminc(d$time, d$status, d$arm, d$centre))
cpu("Cox, 3 covariates, 10 strata", fit <- coxph(Surv(time, status > 0) ~ arm + age + marker + strata(centre), d))
cpu("proportional hazards", cox.zph(fit))
"""


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def drawn(patients: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arm, centre, marker = rng.integers(0, 3, patients), rng.integers(0, 10, patients), rng.integers(0, 2, patients)
    age = rng.normal(64, 9, patients)
    event = rng.exponential(12 * np.exp(-0.1 * arm - 0.02 * (age - 64) - 0.3 * marker))
    end = rng.uniform(6, 60, patients)
    status = np.where(event <= end, rng.integers(1, 3, patients), 0)
    return {
        "time": np.minimum(event, end),
        "status": status,
        "arm": arm,
        "centre": centre,
        "age": age,
        "marker": marker,
    }


def timed(title: str, work: dict[str, Callable[[], object]]) -> None:
    print(title)
    begin = cpu()
    for name, one in work.items():
        before, start = cpu(), time.perf_counter()
        one()
        print(f"  {name:36} {cpu() - before:7.2f} s CPU {time.perf_counter() - start:7.2f} s  peak {peak_mb():6.0f} MB")
    print(f"  {'all':36} {cpu() - begin:7.2f} s CPU {'':10}  peak {peak_mb():6.0f} MB")


def estimates(d: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    events = d["status"] > 0
    x, names = np.c_[d["arm"], d["age"], d["marker"]], ["arm", "age", "marker"]
    return {
        "Kaplan-Meier of 3 arms, medians": lambda: [
            kaplan_meier(d["time"][part], events[part]).median() for part in (d["arm"] == arm for arm in range(3))
        ],
        "follow-up": lambda: reverse_kaplan_meier(d["time"], events).median(),
        "log-rank, 10 strata": lambda: log_rank(d["time"], events, d["arm"], strata=d["centre"]),
        "cumulative incidence, 2 causes": lambda: aalen_johansen(d["time"], d["status"], causes=(1, 2)),
        "Gray, 10 strata": lambda: gray_test(
            d["time"], d["status"], d["arm"], cause=1, causes=(1, 2), strata=d["centre"]
        ),
        "Gray, no strata": lambda: gray_test(d["time"], d["status"], d["arm"], cause=1, causes=(1, 2)),
        "Cox, 3 covariates, 10 strata": lambda: cox(d["time"], events, x, names, strata=d["centre"]),
        "proportional hazards": lambda: proportional_hazards(d["time"], events, x, names, strata=d["centre"]),
    }


def timed_in_r(rscript: str, table: dict[str, np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder) / "cohort.csv", Path(folder) / "time.R"
        np.savetxt(path, np.column_stack(list(table.values())), delimiter=",", header=",".join(table), comments="")
        script.write_text(R, encoding="utf-8")
        subprocess.run([rscript, str(script), str(path)], check=True)


def loop_s() -> float:
    """CPU seconds of a loop that is always the same."""
    before, total = cpu(), 0
    for number in range(10_000_000):
        total += number * number % 7
    return cpu() - before


def time_command(cohort: VirtualCohort, folder: Path) -> None:
    """Run `tailort cohort` in a process of its own and print what it took, from its start to its end."""
    folder.mkdir()
    table = write_virtual_cohort(cohort, folder)
    told = f"{cohort.name}, {len(cohort.rows)} rows of {len({row['id'] for row in cohort.rows})} patients"
    until = cohort.last_day.isoformat()
    words = ["cohort", str(table), "--protocol", cohort.protocol, "--until", until, "--out", str(folder / "out")]
    # An installation has its modules compiled: a shell that forbids to keep them would pay for it in every run.
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, start = loop_s(), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", START, *words, *ASKED[cohort.name]], stdout=subprocess.DEVNULL, env=compiled
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"tailort cohort ended with status {process.returncode}")
    print(
        f"{told:48} {used.ru_utime + used.ru_stime:7.2f} s CPU {wall:7.2f} s  peak {used.ru_maxrss / 1024:5.0f} MB"
        f"  loop {before:.2f} before, {loop_s():.2f} after",
        flush=True,
    )


def time_commands(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # The first run compiles modules for the others.
        for name in ("compiling", "start"):
            time_command(spine_cohort(), Path(folder) / name)
        time_command(spine_cohort(SEED, rows), Path(folder) / "spine")
        small = salvage_cohort(SEED)
        patients = len({row["id"] for row in small.rows})
        time_command(salvage_cohort(SEED, round(rows * patients / len(small.rows))), Path(folder) / "salvage")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", action="store_true")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--rscript")
    asked = parser.parse_args()
    if asked.command:
        time_commands(asked.rows)
        return
    table = drawn(asked.patients)
    months = table | {"time": np.ceil(table["time"])}
    print(f"{asked.patients} patients; memory at the start {peak_mb():.0f} MB")
    timed("continuous times", estimates(table))
    timed("whole months", estimates(months))
    if asked.rscript:
        for title, one in (("continuous times", table), ("whole months", months)):
            print(title, flush=True)
            timed_in_r(asked.rscript, one)


if __name__ == "__main__":
    main()
