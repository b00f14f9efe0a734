"""Gamma of 2.1 million voxels, ours and pymedphys' in one run: CPU seconds, wall, share that passes, agreement.

Run: python benchmarks/gamma.py [--peer-python VENV/bin/python]

VENV has pymedphys and interpolation. Two pairs of doses on 128^3 voxels of 2.5 mm, 3 %/2 mm global, down to 10 % of the
highest dose: one that agrees (noise and a shift of a millimetre), one in which half of the beam is 5 % too high. Both
search up to a gamma of 2.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from tailort.evaluation.gamma import GammaCriterion, gamma
from tailort.geometry import Grid, Image
from tailort.patient.dose import Dose

SIDE, SPACING_MM = 128, 2.5
CRITERION = GammaCriterion(3.0, 2.0)

PEER = """
import json, resource, sys, time
import numpy as np, pymedphys
pair = np.load(sys.argv[1])
axes = tuple(np.arange(n) * float(sys.argv[2]) for n in pair["one"].shape)
def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime
small = tuple(a[:20] for a in axes)
cut = np.s_[54:74, 54:74, 54:74]
pymedphys.gamma(small, pair["one"][cut].copy(), small, pair["two"][cut].copy(), 3, 2, max_gamma=2, quiet=True)
start, used = time.perf_counter(), cpu()
found = pymedphys.gamma(axes, pair["one"], axes, pair["two"], 3, 2, lower_percent_dose_cutoff=10, interp_fraction=10,
                        max_gamma=2, quiet=True)
used, wall = cpu() - used, time.perf_counter() - start
np.save(sys.argv[3], found)
print(json.dumps({"cpu": used, "wall": wall, "version": pymedphys.__version__}))
"""


def used_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reference and evaluated dose of each case, Gy."""
    rng = np.random.default_rng(0)
    k, j, i = np.meshgrid(*[SPACING_MM * (np.arange(SIDE) - SIDE / 2)] * 3, indexing="ij")
    reference = 60.0 / (1 + np.exp((np.sqrt(k**2 + j**2 + (0.8 * i) ** 2) - 110.0) / 6.0))
    reference *= 1 + 0.1 * np.sin(i / 25.0)
    noise = ndimage.gaussian_filter(rng.standard_normal(reference.shape), 2.0)
    agrees = ndimage.shift(reference, (0.4, 0.0, 0.0), order=1, mode="nearest") * (1 + 0.005 * noise / noise.std())
    fails = np.where(j > 25.0, 1.05 * agrees, agrees)
    return {"agreeing": (reference, agrees), "a part 5 % too high": (reference, fails)}


def dose_of(values: np.ndarray) -> Dose:
    grid = Grid.axial(values.shape, (SPACING_MM,) * 3, (0.0, 0.0, 0.0), "1.2.3")
    return Dose(Image(grid, values.astype(np.float32), "Gy"), "physical", "course", 30, None, "benchmark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path)
    options = parser.parse_args()
    cut = np.s_[54:74, 54:74, 54:74]
    one, two = pairs()["agreeing"]
    gamma(dose_of(one[cut]), dose_of(two[cut]), CRITERION)
    print(f"{'':24}{'':18}{'CPU s':>8}{'wall s':>8}{'pass %':>9}{'mean':>8}")
    for name, (one, two) in pairs().items():
        start, cpu = time.perf_counter(), used_cpu()
        ours = gamma(dose_of(one), dose_of(two), CRITERION)
        cpu, wall = used_cpu() - cpu, time.perf_counter() - start
        print(f"{name:24}{'TailoRT':18}{cpu:8.2f}{wall:8.2f}{ours.pass_percent:9.2f}{ours.mean:8.3f}")
        if options.peer_python is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            pair, found = Path(folder) / "pair.npz", Path(folder) / "gamma.npy"
            np.savez(pair, one=one.astype(np.float32), two=two.astype(np.float32))
            command = [str(options.peer_python), "-c", PEER, str(pair), str(SPACING_MM), str(found)]
            told = json.loads(
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            )
            theirs = np.load(found)
        judged = np.isfinite(theirs)
        passed = 100.0 * np.mean(theirs[judged] <= 1.0)
        apart = np.abs(theirs - ours.image.values)[judged & np.isfinite(ours.image.values)]
        print(
            f"{'':24}{'pymedphys ' + told['version']:18}{told['cpu']:8.2f}{told['wall']:8.2f}{passed:9.2f}"
            f"{theirs[judged].mean():8.3f}   apart: mean {apart.mean():.4f}, 99 % {np.quantile(apart, 0.99):.3f}; CPU "
            f"ratio {told['cpu'] / cpu:.1f}"
        )


main()
