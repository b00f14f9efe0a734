"""What the correction for bent electron tracks costs: python benchmarks/bent_tracks.py [--parts ...] [--turns N].

The doses of `benchmarks/field_dose.py` (an open field, nine beams of the thorax, and the first quarter of the arc) with
the correction and without it, in turn, so that both are computed under the same load; everything is compiled before.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from unittest.mock import patch

import field_dose as doses
import numpy as np

from tailort.dose import collapsed_cone
from tailort.geometry import Grid, Image
from tailort.patient.plan import Beam, ControlPoint, Plan
from tailort.phantom import make
from tailort.physics import machine
from tailort.physics.machine import Machine


def compare(name: str, plan: Plan, mass: Image, grid: Grid, linac: Machine, turns: int) -> None:
    spent: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    highest = 0.0
    for _ in range(turns):
        found = {}
        for corrected in (False, True):
            correction = collapsed_cone.bent_along_lines if corrected else lambda primary, *_: primary
            with patch.object(collapsed_cone, "bent_along_lines", correction):
                cpu, wall = doses.used_cpu(), time.perf_counter()
                dose = collapsed_cone.compute(plan, mass, linac, grid)
            spent[corrected].append((doses.used_cpu() - cpu, time.perf_counter() - wall))
            found[corrected] = dose.image.values
        highest = float(np.abs(found[True] - found[False]).max() / found[False].max())
    without, with_it = (min(spent[corrected]) for corrected in (False, True))
    print(
        f"{name:12s} without {without[0]:6.2f} CPU-s {without[1]:6.2f} s wall   with {with_it[0]:6.2f} CPU-s "
        f"{with_it[1]:6.2f} s wall   ratio {with_it[0] / without[0]:.3f} (CPU)   dose changes by {100 * highest:.1f} % "
        "of its maximum",
        flush=True,
    )


def open_field(linac: Machine) -> tuple[Plan, Image, Grid]:
    half_i, half_k = (0.5 * (doses.SHAPE[n] - 1) * doses.SPACING_MM for n in (2, 0))
    surface = -doses.ISOCENTRE_DEPTH_MM
    grid = Grid.axial(
        doses.SHAPE, (doses.SPACING_MM,) * 3, (-half_i, surface + doses.SPACING_MM / 2, -half_k), doses.FRAME
    )
    depth = grid.axes_mm()[1] - surface
    mass = np.ones(doses.SHAPE, dtype=np.float32)
    mass[:, (depth > doses.LUNG_MM[0]) & (depth < doses.LUNG_MM[1])] = 0.26
    jaws = tuple((-side / 2, side / 2) for side in doses.SIDES_MM)
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, jaws[0], jaws[1], None) for mu in (0.0, 1.0))
    beam = Beam("B1", 1, linac.id, linac.energy_mv, linac.flattened, (0.0, 0.0, 0.0), (), points)
    return Plan("field", (beam,), (), 1, "HFS", doses.FRAME), Image(grid, mass, "g/cm3"), grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["field", "plan", "arc"])
    parser.add_argument("--turns", type=int, default=3, help="of which the quickest counts")
    options = parser.parse_args()
    linac = machine("generic-6MV")
    doses.compile_engines(["collapsed-cone"], linac)
    plan, mass, grid = open_field(linac)
    coarse = Grid.axial((20, 20, 20), (15.0, 15.0, 15.0), tuple(grid.to_world(np.zeros(3))), doses.FRAME)
    collapsed_cone.compute(plan, mass, linac, coarse, widest_voxel_mm=15.0)
    if "field" in options.parts:
        compare("open 10x10", plan, mass, grid, linac, options.turns)
    if not {"plan", "arc"} & set(options.parts):
        return
    thorax = doses.Thorax.of(make("oesophagus", 0))
    grid = thorax.grid(doses.SPACING_MM)
    if "plan" in options.parts:
        compare("9 beams", doses.static_plan(thorax, linac, 9), thorax.mass, grid, linac, options.turns)
    if "arc" in options.parts:
        arc = doses.arc_plan(thorax, linac)
        quarter = replace(arc.beams[0], control_points=arc.beams[0].control_points[: doses.CONTROL_POINTS // 4])
        compare("arc, 1/4", replace(arc, beams=(quarter,)), thorax.mass, grid, linac, options.turns)


if __name__ == "__main__":
    main()
