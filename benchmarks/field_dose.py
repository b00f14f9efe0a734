"""Cost of whole doses: an open field beside other codes, a 9-beam thorax plan, an arc; and how it grows.

Run: python benchmarks/field_dose.py [--opentps-python VENV/bin/python] [--pydosert-python VENV/bin/python]
     [--parts field plan arc growth] [--engines NAME ...]

"field" is an open 10 x 10 cm at SSD 90 on 2.4 million voxels of 2.5 mm, water with a lung slab from 8 to 18 cm depth.
The virtual environments have opentps-core, whose collapsed cone gives a dose only in and near the field, and pydosert,
whose pencil beam (10 MV) gives one in every voxel, as ours do. Beside the time stands the dose on the axis, all scaled
to the same dose at 5 cm. "plan" and "arc" are on the full-size virtual patient, dose grid 2.5 mm over all of its body:
9 beams of 8 segments on 14 cm of the oesophagus, and 178 control points with leaves that move up to 4 mm between two of
them. "growth" repeats one beam of the plan on finer grids (wider voxels than 3.2 mm are divided by the collapsed cone,
so 3.5 mm would cost more than 2.5), and the transport alone for more voxels and more cones in water.

Everything runs on a few voxels before, so that compilation is not counted. CPU seconds are what counts; wall seconds
are of this machine under the load that is printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np

from tailort.dose import ENGINES
from tailort.dose.cones import Cones, transport
from tailort.geometry import Grid, Image
from tailort.optimisation.arrange import arrange, beamlets_covering, equispaced, isocentre
from tailort.patient.plan import Beam, ControlPoint, Plan
from tailort.phantom import VirtualPatient, make
from tailort.physics import density, machine
from tailort.physics.machine import Machine
from tailort.physics.point_kernel import point_kernel

PEERS = Path(__file__).parent / "peers"
FRAME = "1.2.826.0.1.3680043.8.498.3"
SPACING_MM = 2.5
SHAPE = (136, 132, 136)
SIDES_MM = (100.0, 100.0)
LUNG_MM = (80.0, 180.0)
SAD_MM = 1000.0
ISOCENTRE_DEPTH_MM = 100.0
DEPTHS_MM = (15, 30, 50, 75, 85, 110, 130, 150, 175, 185, 200, 250, 300)
SEGMENTS = 8
CONTROL_POINTS = 178
MARGIN_MM = 15.0


def used_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(engine: str, plan: Plan, mass: Image, grid: Grid, linac: Machine, body: np.ndarray | None) -> Any:
    """Dose of a plan, CPU and wall seconds."""
    cpu, wall = used_cpu(), time.perf_counter()
    dose = ENGINES[engine].compute(plan, mass, linac, grid, body=body)
    return dose, used_cpu() - cpu, time.perf_counter() - wall


def tell(name: str, cpu: float, wall: float, more: str = "", peak: float | None = None) -> None:
    """Print a line; the peak of this process is the largest so far."""
    peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    load = os.getloadavg()[0]
    print(f"{name:34s} {cpu:8.2f} CPU-s {wall:8.2f} s wall  load {load:4.1f}  peak {peak:5.0f} MB  {more}", flush=True)


def compile_engines(engines: list[str], linac: Machine) -> None:
    grid = Grid.axial((24, 24, 24), (5.0, 5.0, 5.0), (-57.5, -57.5, -57.5), FRAME)
    water = Image(grid, np.ones(grid.shape, dtype=np.float32), "g/cm3")
    leaves = np.zeros((2, linac.leaf_pairs)) + np.array([[-20.0], [20.0]])
    points = tuple(
        ControlPoint(mu, angle, 0.0, 0.0, (-20.0, 20.0), (-20.0, 20.0), leaves + mu)
        for mu, angle in ((0.0, 0.0), (1.0, 4.0), (2.0, 8.0))
    )
    beam = Beam(
        "B1", 1, linac.id, linac.energy_mv, linac.flattened, (0.0, 0.0, 0.0), linac.leaf_boundaries_mm, points, True
    )
    plan = Plan("warm", (beam,), (), 1, "HFS", FRAME)
    for engine in engines:
        ENGINES[engine].compute(plan, water, linac, grid)


def field(engines: list[str], linac: Machine, peers: dict[str, Path]) -> None:
    half_i, half_k = (0.5 * (SHAPE[n] - 1) * SPACING_MM for n in (2, 0))
    surface = -ISOCENTRE_DEPTH_MM
    origin = (-half_i, surface + SPACING_MM / 2, -half_k)
    grid = Grid.axial(SHAPE, (SPACING_MM,) * 3, origin, FRAME)
    depth = grid.axes_mm()[1] - surface
    mass = np.ones(SHAPE, dtype=np.float32)
    mass[:, (depth > LUNG_MM[0]) & (depth < LUNG_MM[1])] = 0.26
    print(f"\nopen field, {mass.size / 1e6:.2f} million voxels")
    along: dict[str, np.ndarray] = {}
    cpu: dict[str, float] = {}

    def axis(values: np.ndarray) -> np.ndarray:
        middle = values[SHAPE[0] // 2 - 1 : SHAPE[0] // 2 + 1, :, SHAPE[2] // 2 - 1 : SHAPE[2] // 2 + 1]
        found = np.interp(DEPTHS_MM, depth, middle.mean(axis=(0, 2)))
        return found / found[DEPTHS_MM.index(50)]

    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "field.npz", Path(folder) / "dose.npz"
        np.savez(
            given, density=mass, origin_mm=np.array(origin), spacing_mm=SPACING_MM, isocentre_mm=np.zeros(3),
            sides_mm=np.array(SIDES_MM), sad_mm=SAD_MM,
        )  # fmt: skip
        for name, python in peers.items():
            ran = subprocess.run(
                [str(python), str(PEERS / f"{name}_field.py"), str(given), str(made)],
                capture_output=True,
                text=True,
                check=False,
            )
            if ran.returncode:
                raise SystemExit(ran.stderr)
            peer = np.load(made)
            cpu[name] = float(peer["cpu"])
            again = f", {float(peer['cpu_again']):.2f} CPU-s when repeated" if "cpu_again" in peer else ""
            told = f"{np.count_nonzero(peer['dose']) / 1e6:.2f} M voxels with dose{again}"
            tell(f"{name} {peer['version']}", cpu[name], float(peer["wall"]), told, float(peer["peak_mb"]))
            along[name] = axis(peer["dose"])
    jaws = tuple((-side / 2, side / 2) for side in SIDES_MM)
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, jaws[0], jaws[1], None) for mu in (0.0, 1.0))
    beam = Beam("B1", 1, linac.id, linac.energy_mv, linac.flattened, (0.0, 0.0, 0.0), (), points)
    plan = Plan("field", (beam,), (), 1, "HFS", FRAME)
    for engine in engines:
        dose, used, wall = measure(engine, plan, Image(grid, mass, "g/cm3"), grid, linac, np.ones(SHAPE, dtype=bool))
        tell(engine, used, wall, ", ".join(f"{used / other:.4g} of {name}" for name, other in cpu.items()))
        along[engine] = axis(dose.image.values)
    print("dose on the axis over that at 50 mm, at mm  " + "".join(f"{mm:7d}" for mm in DEPTHS_MM))
    for name, values in along.items():
        print(f"{name:44s}" + "".join(f"{value:7.3f}" for value in values))


@dataclass(frozen=True, eq=False)
class Thorax:
    """The virtual patient, the part of its oesophagus that is irradiated, and the dose grid."""

    mass: Image
    target: list[np.ndarray]
    isocentre_mm: tuple[float, float, float]
    outline: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, patient: VirtualPatient) -> Thorax:
        structures = patient.structures
        low, high = structures["GTVp"].bounds_mm()
        middle, reach = (low[2] + high[2]) / 2, (high[2] - low[2]) / 2 + 50.0
        target = [c for c in structures["Esophagus"].contours if abs(c[0, 2] - middle) <= reach]
        mass = density(patient.scan.image, "schneider2000")
        return cls(mass, target, isocentre(structures["GTVp"]), structures["External"].bounds_mm())

    def grid(self, spacing_mm: float) -> Grid:
        ct = self.mass.grid
        first, last = (ct.to_index(corner) for corner in self.outline)
        inner = ct.crop(np.floor(np.minimum(first, last)), np.ceil(np.maximum(first, last)) + 1)
        return inner.with_spacing(spacing_mm)

    def apertures(self, angles: tuple[float, ...], linac: Machine) -> list[np.ndarray]:
        """Leaf ends (2, pairs) that open the target with its margin from each angle."""
        beamlets = beamlets_covering(
            arrange(angles, self.isocentre_mm), self.target, linac, "HFS", MARGIN_MM, width_mm=5.0
        )
        edges = np.array(linac.leaf_boundaries_mm)
        leaf = np.searchsorted(edges, beamlets.y_mm) - 1
        made = []
        for n in range(len(angles)):
            ends = np.zeros((2, len(edges) - 1))
            for pair in np.unique(leaf[beamlets.beam == n]):
                x = beamlets.x_mm[(beamlets.beam == n) & (leaf == pair)]
                ends[:, pair] = x.min() - 2.5, x.max() + 2.5
            made.append(ends)
        return made


def control_point(linac: Machine, mu: float, gantry: float, leaves: np.ndarray) -> ControlPoint:
    """Jaws stand at the outermost open leaves."""
    open_pairs = np.flatnonzero(leaves[1] > leaves[0])
    edges = linac.leaf_boundaries_mm
    jaws_x = (float(leaves[0, open_pairs].min()), float(leaves[1, open_pairs].max()))
    jaws_y = (float(edges[open_pairs[0]]), float(edges[open_pairs[-1] + 1]))
    return ControlPoint(mu, gantry, 0.0, 0.0, jaws_x, jaws_y, leaves)


def beam_of(linac: Machine, thorax: Thorax, number: int, points: list[ControlPoint], dynamic: bool) -> Beam:
    return Beam(
        f"B{number}", number, linac.id, linac.energy_mv, linac.flattened, thorax.isocentre_mm,
        linac.leaf_boundaries_mm, tuple(points), dynamic, linac.source_axis_distance_mm,
    )  # fmt: skip


def static_plan(thorax: Thorax, linac: Machine, beams: int) -> Plan:
    """Step and shoot: segments whose leaves close in on the target's outline by up to a third of its width."""
    generator = np.random.default_rng(1)
    angles = equispaced(beams)
    made = []
    for n, ends in enumerate(thorax.apertures(angles, linac)):
        width = ends[1] - ends[0]
        points = []
        for segment in range(SEGMENTS):
            shut = width * generator.uniform(0, 1 / 3, ends.shape) if segment else np.zeros_like(ends)
            leaves = ends + np.array([[1.0], [-1.0]]) * shut
            points += [control_point(linac, mu, angles[n], leaves) for mu in (10.0 * segment, 10.0 * segment + 10.0)]
        made.append(beam_of(linac, thorax, n + 1, points, False))
    return Plan("nine beams", tuple(made), (), 1, "HFS", thorax.mass.grid.frame_of_reference)


def arc_plan(thorax: Thorax, linac: Machine) -> Plan:
    """One arc from 181 to 179 degrees whose leaves open and close smoothly in front of the target."""
    angles = tuple(float(a) % 360.0 for a in np.linspace(181.0, 539.0, CONTROL_POINTS))
    apertures = thorax.apertures(angles, linac)
    pairs = np.arange(apertures[0].shape[1])
    points = []
    for n, (angle, ends) in enumerate(zip(angles, apertures, strict=True)):
        wave = np.stack([np.sin(0.11 * n + 0.4 * pairs), np.sin(0.13 * n + 0.3 * pairs + 2.0)])
        shut = (ends[1] - ends[0]) * (1 + wave) / 6
        leaves = ends + np.array([[1.0], [-1.0]]) * shut
        if points:
            before = points[-1].leaves_mm
            leaves = np.clip(leaves, before - 4.0, before + 4.0)
        points.append(control_point(linac, 2.0 * n, angle, leaves))
    return Plan("arc", (beam_of(linac, thorax, 1, points, True),), (), 1, "HFS", thorax.mass.grid.frame_of_reference)


def transport_growth(linac: Machine) -> None:
    """Cost of cones alone: a uniform field that fills a third of a cube of water across."""
    kernel = point_kernel(linac.spectrum)
    every = Cones.around(np.array([0.2, 0.9, 0.1]), kernel.primary)
    print("transport of primary energy: voxels, cones, CPU-s, ns a voxel and cone")
    for side in (4, 64, 96, 128):
        soft = np.zeros((side, side, side), dtype=np.float32)
        soft[side // 3 : 2 * side // 3, :, side // 3 : 2 * side // 3] = 1.0
        hard, flow, water = np.zeros_like(soft), np.zeros((3, *soft.shape), dtype=np.float32), np.ones_like(soft)
        for share in (4, 2, 1):
            part = (every.directions, every.slopes, every.weights, every.turns)
            directions, slopes, weights, turns = (np.ascontiguousarray(values[::share]) for values in part)
            cones = Cones(directions, slopes, weights, every.across, turns)
            cpu = used_cpu()
            transport(soft, hard, flow, water, np.full(3, 0.25), np.eye(3)[::-1].copy(), np.zeros(3), cones)
            cpu = used_cpu() - cpu
            # The smallest cube is there for its compilation.
            if side > 4:
                print(f"{soft.size:10d} {len(directions):6d} {cpu:8.3f} {1e9 * cpu / soft.size / len(directions):8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opentps-python", type=Path)
    parser.add_argument("--pydosert-python", type=Path)
    usual = [name for name in sorted(ENGINES) if "gpu" not in name]
    parser.add_argument("--engines", nargs="+", default=usual, choices=sorted(ENGINES))
    parser.add_argument("--parts", nargs="+", default=["field", "plan", "arc", "growth"])
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    linac = machine("generic-6MV")
    compile_engines(options.engines, linac)
    if "field" in options.parts:
        given = {"opentps": options.opentps_python, "pydosert": options.pydosert_python}
        field(options.engines, linac, {name: python for name, python in given.items() if python})
    if {"plan", "arc", "growth"} & set(options.parts):
        thorax = Thorax.of(make("oesophagus", 0))
    if "plan" in options.parts:
        plan, grid = static_plan(thorax, linac, 9), thorax.grid(SPACING_MM)
        print(f"\nthorax, {grid.size / 1e6:.2f} million voxels, 9 beams of {SEGMENTS} segments")
        for engine in options.engines:
            for part in (plan, replace(plan, beams=plan.beams[:1])):
                _, cpu, wall = measure(engine, part, thorax.mass, grid, linac, None)
                tell(f"{engine}, {len(part.beams)} beams", cpu, wall, f"{cpu / len(part.beams):.2f} CPU-s a beam")
    if "arc" in options.parts:
        plan, grid = arc_plan(thorax, linac), thorax.grid(SPACING_MM)
        moved = max(np.abs(b.leaves_mm - a.leaves_mm).max() for a, b in pairwise(plan.beams[0].control_points))
        print(f"\narc of {len(plan.beams[0].control_points)} control points, leaves move up to {moved:.1f} mm")
        for engine in options.engines:
            _, cpu, wall = measure(engine, plan, thorax.mass, grid, linac, None)
            tell(engine, cpu, wall, f"{cpu / (CONTROL_POINTS - 1):.3f} CPU-s an interval")
    if "growth" in options.parts:
        print("\none beam on finer grids")
        plan = static_plan(thorax, linac, 1)
        for engine in options.engines:
            for spacing in (3.2, SPACING_MM, 2.0):
                grid = thorax.grid(spacing)
                _, cpu, wall = measure(engine, plan, thorax.mass, grid, linac, None)
                tell(f"{engine}, {spacing:g} mm", cpu, wall, f"{1e6 * cpu / grid.size:.2f} CPU-us a voxel")
        transport_growth(linac)


if __name__ == "__main__":
    main()
