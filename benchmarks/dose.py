"""Cost of the dose engines on a thorax-like body: CPU seconds, wall seconds, peak memory, and accuracy beside them.

Run: python benchmarks/dose.py [--beams 9] [--rows 100000]

A body of 350 x 230 x 250 mm with lungs in a CT of 512 x 512 voxels of 1 x 1 x 3 mm, dose grid of 3 mm, beams of
16 x 36 beamlets of 5 mm. "influence, full grid" is one beam in every voxel of the body, "influence, rows" all beams in
as many voxels as an optimisation asks for, "compute" all beams of a step-and-shoot plan in every voxel of the body.
Compilation is not counted: everything runs once on a few voxels before.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tailort.dose import ENGINES
from tailort.geometry import Grid, Image, resample
from tailort.patient.influence import Beamlets
from tailort.patient.plan import Beam, BeamSetup, ControlPoint, Plan
from tailort.physics import machine

FRAME = "1.2.826.0.1.3680043.8.498.1"
COLUMNS, ROWS, SIZE_MM = 16, 36, 5.0


def thorax() -> Image:
    grid = Grid.axial((100, 512, 512), (3.0, 1.0, 1.0), (-255.5, -255.5, -148.5), FRAME)
    z, y, x = (
        axis.reshape(shape) for axis, shape in zip(grid.axes_mm(), ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
    )
    body = ((x / 175) ** 2 + (y / 115) ** 2 < 1) & (np.abs(z) < 125)
    lungs = ((np.abs(x) - 90) / 60) ** 2 + ((y + 5) / 85) ** 2 + (z / 140) ** 2 < 1
    spine = (x / 22) ** 2 + ((y - 70) / 22) ** 2 < 1
    values = np.where(body, np.where(lungs, 0.26, np.where(spine, 1.2, 1.0)), 0.0012)
    return Image(grid, values.astype(np.float32), "g/cm3")


def fields(beams: int) -> Beamlets:
    x = (np.arange(COLUMNS) - (COLUMNS - 1) / 2) * SIZE_MM
    y = (np.arange(ROWS) - (ROWS - 1) / 2) * SIZE_MM
    of_y, of_x = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    setups = tuple(BeamSetup(f"B{n}", n + 1, (0.0, 20.0, 0.0), 360.0 * n / beams) for n in range(beams))
    beam = np.repeat(np.arange(beams, dtype=np.int32), of_x.size)
    return Beamlets(beam, np.tile(of_x, beams), np.tile(of_y, beams), SIZE_MM, SIZE_MM, setups)


def sliding_strip_plan(beamlets: Beamlets, weights: np.ndarray) -> Plan:
    """Return a plan that delivers whole multiples of a MU to each beamlet, one column of beamlets at a time."""
    kind = machine("generic-6MV")
    pairs = len(kind.leaf_boundaries_mm) - 1
    first = (pairs - ROWS) // 2
    beams = []
    for n, setup in enumerate(beamlets.setups):
        levels = weights[beamlets.beam == n].reshape(ROWS, COLUMNS)
        points, mu = [], 0.0
        for column in range(COLUMNS):
            centre = beamlets.x_mm[column]
            for level in range(1, int(levels.max()) + 1):
                leaves = np.full((2, pairs), centre)
                width = np.where(levels[:, column] >= level, SIZE_MM / 2, 0.0)
                leaves[0, first : first + ROWS] -= width
                leaves[1, first : first + ROWS] += width
                for _ in range(2):
                    points.append(
                        ControlPoint(mu, setup.gantry_deg, 0.0, 0.0, (-200.0, 200.0), (-200.0, 200.0), leaves)
                    )
                    mu += 1.0
                mu -= 1.0
        boundaries = kind.leaf_boundaries_mm
        beams.append(Beam(setup.name, setup.number, kind.id, 6.0, True, setup.isocentre_mm, boundaries, tuple(points)))
    return Plan("benchmark", tuple(beams), (), 1, "HFS", FRAME)


def measure(name: str, function: Callable[[], Any]) -> tuple[Any, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:28s} {cpu:8.2f} CPU-s {wall:8.2f} s wall   peak so far {peak:6.0f} MB", flush=True)
    return result, cpu


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--beams", type=int, default=9)
    arguments.add_argument("--rows", type=int, default=100_000)
    chosen = arguments.parse_args()
    # Beamlets have no transmission, so that both ways to the dose can be compared the plan has none either.
    kind = replace(machine("generic-6MV"), leaf_transmission=0.0, jaw_transmission=0.0)
    density = thorax()
    grid = density.grid.with_spacing(3.0)
    body = resample(density, grid, 0.0).values > 0.1
    voxels = np.flatnonzero(body).astype(np.uint32)
    generator = np.random.default_rng(1)
    beamlets = fields(chosen.beams)
    one = fields(1)
    # A fluence as an optimiser leaves it: hills of some beamlets' width, in steps of a MU.
    wave = np.cos(beamlets.x_mm / 9 + beamlets.beam) * np.cos(beamlets.y_mm / 14 + 2 * beamlets.beam)
    weights = np.round(3 + 2 * wave)
    plan = sliding_strip_plan(beamlets, weights)
    print(f"{len(voxels)} body voxels, {len(one)} beamlets a beam, {chosen.beams} beams, {plan.mu:.0f} MU")
    few = np.zeros(grid.shape, dtype=bool)
    few.reshape(-1)[voxels[::5000]] = True
    for engine in ENGINES.values():
        print(f"\n{engine.name}: {engine.label}")
        engine.influence(density, one, kind, grid, voxels[::5000], position="HFS")
        engine.compute(plan, density, kind, grid, body=few)

        full, cpu = measure(
            "influence, full grid, 1 beam",
            partial(engine.influence, density, one, kind, grid, voxels, position="HFS"),
        )
        print(f"    {1000 * cpu / len(one):.2f} ms CPU a beamlet, {len(full.values) / len(voxels):.0f} entries a voxel")
        del full
        rows = np.sort(generator.choice(voxels, min(chosen.rows, len(voxels)), replace=False))
        matrix, cpu = measure(
            "influence, rows", partial(engine.influence, density, beamlets, kind, grid, rows, position="HFS")
        )
        print(
            f"    {1000 * cpu / len(beamlets):.2f} ms CPU a beamlet, {len(matrix.values) / 1e6:.0f} M entries, "
            f"{len(matrix.values) * 8 / 1e6:.0f} MB"
        )
        found, _ = measure("influence times weights", partial(matrix.dose, weights))
        dose, _ = measure("compute", partial(engine.compute, plan, density, kind, grid, body=body))
        planned = dose.image.values.reshape(-1)[rows]
        difference = 100 * (found - planned) / planned.max()
        high = planned > 0.5 * planned.max()
        print(
            f"    influence against compute, % of the highest dose: mean {difference.mean():+.3f}, RMS where the dose "
            f"is above half of it {np.sqrt((difference[high] ** 2).mean()):.3f}, largest {np.abs(difference).max():.2f}"
        )


main()
