"""Influence on the TG-119 phantom, ours and pyRadPlan's side by side: CPU seconds, wall, entries, bytes, agreement.

Run: python benchmarks/influence.py --peer-python VENV/bin/python [--spacing 5 3] [--engines NAME ...] [--keep DIR]

VENV has pyRadPlan 0.5.0 and pydantic 2.13; its wheel carries the phantom. It runs first and hands over its beams,
beamlets, electron density, dose grid and voxels, so both compute the same: nine beams of 5 mm beamlets on dose grids of
5 and 3 mm. Two sets of voxels for ours: "body", all that the peer's outline encloses; "reached", those in which the
peer, which stops 50 mm from a beamlet's axis, has any entry. Ours has no cutoff in either.

Ours are measured beside the peer's, after a run on a few voxels that compiles them. The last columns say how far the
dose of equal weights agrees where it is above half the highest: mean and standard deviation of ours over the peer's
after both are scaled to the same mean. They are two models of one beam, so a few per cent are expected, and more means
that they do not compute the same geometry. Below, on the first grid, what taking far beamlets together costs in mean
organ dose, for a fluence with hills some beamlets wide and for random weights, and that the cost grows with the number
of beams. With --keep the peer's files stay in DIR, and are taken from there if they are there already: the peer's
figures are then of the day they were made.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np

from tailort.dose import ENGINES
from tailort.geometry import Grid, Image
from tailort.patient.influence import Beamlets
from tailort.patient.plan import BeamSetup
from tailort.physics import machine

PEER = Path(__file__).parent / "peers" / "pyradplan_influence.py"
FRAME = "1.2.826.0.1.3680043.8.498.2"


@dataclass(frozen=True, eq=False)
class Case:
    """What both compute, and what the peer measured."""

    peer: Any
    density: Image
    grid: Grid
    beamlets: Beamlets
    voxels: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Case:
        peer = np.load(path)
        grids = [
            Grid.axial(shape, peer[f"{name}_spacing_mm"], peer[f"{name}_origin_mm"], FRAME)
            for name, shape in (("ct", peer["electron_density"].shape), ("grid", tuple(peer["grid_shape"])))
        ]
        setups = tuple(
            BeamSetup(f"B{n + 1}", n + 1, tuple(isocentre), float(gantry))
            for n, (gantry, isocentre) in enumerate(zip(peer["gantry_deg"], peer["isocentre_mm"], strict=True))
        )
        size = float(peer["beamlet_mm"])
        beamlets = Beamlets(peer["beam"].astype(np.int32), peer["x_mm"], peer["y_mm"], size, size, setups)
        density = Image(grids[0], np.maximum(peer["electron_density"], np.float32(0.0012)), "g/cm3")
        return cls(peer, density, grids[1], beamlets, peer["voxels"].astype(np.uint32))


def used_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def row(name: str, cpu: float, wall: float, entries: int, size: int, peer: Any, agreement: str) -> None:
    print(
        f"{name:34s} {cpu:8.2f} {wall:8.2f} {cpu / float(peer['cpu']):8.3f} {entries / 1e6:9.2f} {size / 1e6:9.1f} "
        f"{size / entries:7.2f} {size / float(peer['bytes']):7.2f}  {agreement}",
        flush=True,
    )


def measure(case: Case, engine: str, label: str, chosen: np.ndarray, near_mm: float) -> None:
    peer = case.peer
    linac = machine("generic-6MV")
    cpu, wall = used_cpu(), time.perf_counter()
    matrix = ENGINES[engine].influence(
        case.density, case.beamlets, linac, case.grid, case.voxels[chosen], position="HFS", near_mm=near_mm
    )
    cpu, wall = used_cpu() - cpu, time.perf_counter() - wall
    ours = matrix.dose(np.ones(len(case.beamlets)))
    theirs = np.asarray(peer["open_dose"], dtype=np.float64)[chosen]
    high = theirs > 0.5 * theirs.max()
    ratio = ours[high] / ours[high].mean() / (theirs[high] / theirs[high].mean())
    size = matrix.values.nbytes + matrix.columns.nbytes + matrix.starts.nbytes
    agreement = f"{ratio.mean():.3f} +- {ratio.std():.3f}"
    row(f"{engine}, {label}", cpu, wall, len(matrix.values), size, peer, agreement)


def compression(case: Case, engine: str, rows: int = 4000) -> None:
    """Mean organ doses, blocks of far beamlets against every beamlet with an entry of its own."""
    generator = np.random.default_rng(1)
    organs = case.peer["organs"]
    chosen = np.zeros(len(case.voxels), dtype=bool)
    for organ in organs:
        of_organ = np.flatnonzero(organ)
        chosen[generator.choice(of_organ, min(rows, len(of_organ)), replace=False)] = True
    compute = partial(
        ENGINES[engine].influence, case.density, case.beamlets, machine("generic-6MV"), case.grid, case.voxels[chosen],
        position="HFS",
    )  # fmt: skip
    blocks, every = compute(), compute(near_mm=1000.0)
    beamlets = case.beamlets
    hills = 1 + 0.7 * np.cos(beamlets.x_mm / 9 + beamlets.beam) * np.cos(beamlets.y_mm / 14 + 2 * beamlets.beam)
    print(
        f"{engine}: {len(blocks.values) / len(every.values):.2f} of the entries; error of mean dose, % of the highest"
    )
    for name, weights in (("hills", hills), ("random", generator.uniform(0, 2, len(beamlets)))):
        told, true = blocks.dose(weights), every.dose(weights)
        means = [100 * (told - true)[organ[chosen]].mean() / true.max() for organ in organs]
        rms = 100 * np.sqrt(((told - true) ** 2).mean()) / true.max()
        listed = ", ".join(f"{organ} {mean:+.3f}" for organ, mean in zip(case.peer["organ_names"], means, strict=True))
        print(f"    {name:8s} {listed}; RMS of a voxel {rms:.3f}", flush=True)


def growth(case: Case, engine: str) -> None:
    """CPU seconds by the number of beams, one voxel in three."""
    rows = case.voxels[::3]
    for beams in (1, 3, 9):
        own = case.beamlets.beam < beams
        at = (case.beamlets.beam[own], case.beamlets.x_mm[own], case.beamlets.y_mm[own])
        size = case.beamlets.width_x_mm
        some = Beamlets(*at, size, size, case.beamlets.setups[:beams])
        cpu = used_cpu()
        ENGINES[engine].influence(case.density, some, machine("generic-6MV"), case.grid, rows, position="HFS")
        cpu = used_cpu() - cpu
        of_one = f"{1e3 * cpu / len(some):8.3f} ms a beamlet"
        print(f"{engine}: {beams} beams, {len(some):5d} beamlets {cpu:8.2f} CPU-s {of_one}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, required=True)
    parser.add_argument("--spacing", type=float, nargs="+", default=[5.0, 3.0])
    parser.add_argument("--engines", nargs="+", default=sorted(ENGINES), choices=sorted(ENGINES))
    parser.add_argument("--near", type=float, nargs="+", default=[25.0], help="mm; 55 is finer than the peer's cutoff")
    parser.add_argument("--voxels", nargs="+", default=["body", "reached"], choices=["body", "reached"])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for spacing in options.spacing:
            path = folder / f"pyradplan_{spacing:g}mm.npz"
            kept = path.exists()
            if not kept:
                command = [str(options.peer_python), str(PEER), f"{spacing:g}", str(path)]
                ran = subprocess.run(command, capture_output=True, text=True, check=False)
                if ran.returncode:
                    raise SystemExit(f"{' '.join(command)}\n{ran.stderr}")
            case = Case.read(path)
            peer = case.peer
            print(
                f"\n{spacing:g} mm grid: {len(case.beamlets)} beamlets, {len(case.voxels)} voxels in the outline, "
                f"{np.count_nonzero(peer['entries_of_voxel'])} of them reached; load {os.getloadavg()[0]:.1f}"
            )
            print(
                f"{'':34s} {'CPU s':>8s} {'wall s':>8s} {'ratio':>8s} {'M entr.':>9s} {'MB':>9s} {'B/entr.':>7s} "
                f"{'ratio':>7s}  dose over peer's"
            )
            name = f"pyRadPlan {peer['version']}{' (kept)' if kept else ''}"
            told = f"({float(peer['system']):.1f} of the CPU s in the system)"
            row(name, float(peer["cpu"]), float(peer["wall"]), int(peer["entries"]), int(peer["bytes"]), peer, told)
            chosen = {"body": np.ones(len(case.voxels), dtype=bool), "reached": peer["entries_of_voxel"] > 0}
            linac = machine("generic-6MV")
            for engine in options.engines:
                few = case.voxels[:: max(1, len(case.voxels) // 50)]
                ENGINES[engine].influence(case.density, case.beamlets, linac, case.grid, few, position="HFS")
                for near in options.near:
                    for label in options.voxels:
                        measure(case, engine, f"{label}, {near:g} mm", chosen[label], near)
            if spacing == options.spacing[0]:
                for engine in options.engines:
                    compression(case, engine)
                    growth(case, engine)


main()
