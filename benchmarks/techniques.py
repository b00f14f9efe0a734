"""Plans of many virtual patients by each technique: exit status, hard limits, goals and cost.

    python benchmarks/techniques.py [--size coarse] [--seeds 20] [--first 0] [--techniques imrt vmat 3dcrt]

Every plan is `tailort plan CASE --protocol FILE --technique ...`, its dose by the collapsed cone; the file is
`smart-imrt` without its comparator.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tailort.cli.app import run


def alone(folder: Path) -> Path:
    """The protocol without the conventional plan that it is compared with."""
    text = (resources.files("tailort.protocols") / "library" / "smart-imrt.yaml").read_text()
    content = YAML(typ="safe").load(text)
    del content["comparator"]
    # A file states no rule that it does not use.
    rest = json.dumps({key: value for key, value in content.items() if key != "rules"}, default=str)
    content["rules"] = [rule for rule in content["rules"] if f'"{rule["id"]}"' in rest]
    file = folder / "alone.yaml"
    with file.open("w") as stream:
        YAML().dump(content, stream)
    return file


def row(case: Path, protocol: Path, technique: str, dose_grid_mm: float, out: Path) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        asked = ("--technique", technique, "--dose-grid", str(dose_grid_mm), "--out", str(out))
        status = run(["plan", str(case), "--protocol", str(protocol), *asked])
    told: dict[str, Any] = {"exit": status, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    if not (out / "scorecard.json").is_file():
        return told
    metrics = json.loads((out / "scorecard.json").read_text())["metrics"]
    plans = json.loads((out / "run.json").read_text())["plans"]
    phase = next(iter(plans.values()))["phases"][0]
    told["hard"] = [m for m in metrics if m["priority"] == "hard"]
    told["goals"] = [m for m in metrics if m["priority"] == "goal"]
    told["phase"] = phase
    return told


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", choices=("full", "coarse"), default="coarse")
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--dose-grid", type=float, default=3.0)
    options.add_argument("--techniques", nargs="+", default=["imrt", "vmat", "3dcrt"])
    asked = options.parse_args()
    kept = reached = whole = 0
    with tempfile.TemporaryDirectory() as folder:
        protocol = alone(Path(folder))
        for seed in range(asked.first, asked.first + asked.seeds):
            case = Path(folder) / f"case{seed}"
            with contextlib.redirect_stdout(io.StringIO()):
                run(["phantom", "oesophagus", "--seed", str(seed), "--size", asked.size, "--out", str(case)])
            for technique in asked.techniques:
                told = row(case, protocol, technique, asked.dose_grid, Path(folder) / f"{technique}{seed}")
                hard = ", ".join(f"{m['structure']} {m['metric']} {m['value']:.1f}" for m in told.get("hard", []))
                missed = [m for m in told.get("goals", []) if m["verdict"] != "pass"]
                lacks = ", ".join(f"{m['structure']} {m['metric']} {m['value']} ({m['limit']})" for m in missed)
                phase = told.get("phase", {})
                print(
                    f"seed {seed:2d} {technique:5s} exit {told['exit']}; {hard}; {phase.get('mu_per_fraction')} MU, "
                    f"{phase.get('seconds_per_fraction')} s; {told['wall']:.0f} s wall, {told['cpu']:.0f} CPU-s; "
                    f"goals missed: {lacks or 'none'}",
                    flush=True,
                )
                whole += 1
                kept += told["exit"] == 0 and all(m["verdict"] == "pass" for m in told.get("hard", []))
                reached += not missed
    print(f"{kept} of {whole} plans with exit 0 and every hard limit, {reached} with every goal")


if __name__ == "__main__":
    main()
