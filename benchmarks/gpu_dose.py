"""The collapsed cone on a graphics processor beside the CPU's: agreement and seconds.

Run: python benchmarks/gpu_dose.py [--spacing 2.5] [--repeat 3] [--threads N]

The plans are those of field_dose.py on the full-size virtual patient: nine beams of 8 segments, and an arc of 178
control points. Both engines compute one beam before, so that compilation is not counted. The CPU seconds of a dose on
the GPU are the host's, for fluence maps above all. Where there is no device, one line says so.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace

import numba
import numpy as np
from field_dose import SPACING_MM, Thorax, arc_plan, static_plan, used_cpu

from tailort.dose import collapsed_cone, collapsed_cone_gpu
from tailort.errors import InputError
from tailort.patient.dose import Dose
from tailort.phantom import make
from tailort.physics import machine
from tailort.physics.point_kernel import point_kernel

ENGINES = {engine.NAMES["medium"]: engine.compute for engine in (collapsed_cone, collapsed_cone_gpu)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spacing", type=float, default=SPACING_MM)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    linac = machine("generic-6MV")
    try:
        collapsed_cone_gpu.Cuda(collapsed_cone_gpu.most_terms(point_kernel(linac.spectrum)))
    except InputError as error:
        raise SystemExit(f"nothing is compared: {error}") from error
    thorax = Thorax.of(make("oesophagus", 0))
    grid = thorax.grid(options.spacing)
    nine, arc = static_plan(thorax, linac, 9), arc_plan(thorax, linac)
    for compute in ENGINES.values():
        compute(replace(nine, beams=nine.beams[:1]), thorax.mass, linac, grid)

    def measure(engine: str, compute: Callable[[], Dose]) -> Dose:
        cpu, wall = used_cpu(), time.perf_counter()
        dose = compute()
        cpu, wall = used_cpu() - cpu, time.perf_counter() - wall
        print(f"{engine:20s} {wall:8.2f} s wall {cpu:8.2f} CPU-s  load {os.getloadavg()[0]:4.1f}", flush=True)
        return dose

    for name, plan in (("nine beams", nine), ("arc", arc)):
        print(
            f"\n{name}, {grid.size / 1e6:.2f} million voxels of {options.spacing:g} mm, {options.threads} CPU threads"
        )
        doses = {}
        for engine, compute in ENGINES.items():
            for _ in range(options.repeat if engine == collapsed_cone_gpu.NAMES["medium"] else 1):
                doses[engine] = measure(engine, lambda: compute(plan, thorax.mass, linac, grid))  # noqa: B023
        expected, found = (doses[engine].image.values for engine in ENGINES)
        apart = np.abs(found - expected) / expected.max()
        print(f"apart by at most {100 * apart.max():.5f} % of the maximum, on average by {100 * apart.mean():.6f} %")


main()
