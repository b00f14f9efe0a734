"""Photon dose by collapsed-cone superposition: the engine of every reported dose.

From the fluence of the control points come the TERMA of each voxel (`tailort.dose.terma`) and, by the point kernels of
the machine's spectrum (`tailort.physics.point_kernel`) along cones about the beam's direction (`tailort.dose.cones`),
the dose. Distances scale with electron density, along each cone and for the photons' way to the voxel; that electrons
turn on their way is made good where the density changes (`tailort.dose.bent_tracks`).

What is assumed: composition between the tissues of the density table (no metal), kernels about one axis for each
direction and, in arcs, for each `SECTOR_DEG` of gantry, whose angles differ from the local ray's by at most half the
field's and the sector's opening. The dose is that to the tissue of the voxel ("medium") or, by the ratio of the
electrons' stopping powers, that to water in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailort.dose.bent_tracks import bent_along_lines
from tailort.dose.cones import Cones, transport
from tailort.dose.fan import Fan
from tailort.dose.fluence import Exposure, exposures
from tailort.dose.head import head_fluence
from tailort.dose.inputs import outline_mask, require_matching
from tailort.dose.terma import add_terma
from tailort.errors import GeometryError
from tailort.geometry import Grid, Image, PatientPosition, average
from tailort.patient.dose import Dose
from tailort.patient.plan import Beam, ControlPoint, Plan
from tailort.physics.machine import Machine
from tailort.physics.materials import relative_electron_density, water_over_medium
from tailort.physics.point_kernel import PointKernel, point_kernel

Progress = Callable[[float], None]
Float = NDArray[np.float64]
Values = NDArray[np.float32]

DoseTo = Literal["medium", "water"]
NAMES: dict[DoseTo, str] = {"medium": "collapsed-cone", "water": "collapsed-cone-water"}
LABELS: dict[DoseTo, str] = {to: f"collapsed-cone superposition, dose to {to}" for to in NAMES}

# Directions of an arc within this angle share the axis of their kernels, degrees.
SECTOR_DEG = 9.0
# Directions are the same to so many decimals of a degree.
DIGITS_OF_ANGLE = 3
# Dose grids with wider voxels are computed on voxels divided until they are not, mm.
WIDEST_VOXEL_MM = 3.2
# Half the side by which a water tank exceeds the field, and what lies below the deepest point, mm.
TANK_MARGIN_MM = 100.0
# Voxels of the tank across and along the beam, mm.
TANK_VOXEL_MM = (5.0, 2.5)


def compute(
    plan: Plan,
    density: Image,
    machine: Machine,
    grid: Grid,
    *,
    body: NDArray[Any] | None = None,
    progress: Progress | None = None,
    dose_to: DoseTo = "medium",
    widest_voxel_mm: float = WIDEST_VOXEL_MM,
) -> Dose:
    """Physical dose of one fraction of a deliverable plan.

    Parameters
    ----------
    plan : Plan
        Static, step-and-shoot or dynamic beams.
    density : Image
        Mass density of the patient, g/cm3; all of the patient that the beams pass, also beyond the dose grid.
    machine : Machine
        The beam; must be of the energy of the plan's beams.
    grid : Grid
        Dose grid, along the patient's axes.
    body : (k, j, i) array, optional
        The patient's outline on the dose grid (mask or partial volumes); voxels above 0 get a dose, the others 0.
        Without it, what is denser than `tailort.dose.inputs.BODY_DENSITY_G_CM3`, with its holes filled.
    progress : callable, optional
        Called with the finished share, 0 to 1.
    dose_to : {"medium", "water"}
        To what the dose is, in each voxel.
    widest_voxel_mm : float
        Voxels of wider dose grids are divided until they are not wider. Larger than usual only for doses on the way
        to a plan.

    Returns
    -------
    Dose
        Gy per fraction, physical.

    Raises
    ------
    InputError
        When the plan's beams are not of this machine's kind.
    GeometryError
        When frames of reference or shapes differ, or the grid is oblique.
    """
    require_matching(plan, density, machine, grid)
    inside = outline_mask(density, grid, body)
    space = Space.around(grid, density, dose_to, widest_voxel_mm)
    parts = sectors(plan)
    total = np.zeros(space.grid.shape, dtype=np.float32)
    for n, (beam, sector) in enumerate(parts):
        total += space.released_and_spread(beam, sector, plan.patient_position, machine)
        if progress is not None:
            progress((n + 1) / len(parts))
    return space.dose_of(plan, total, machine, grid, inside, NAMES[dose_to])


@dataclass(frozen=True, eq=False)
class Space:
    """The voxels in which energy is transported: those of the lattice of the dose grid with tissue or close to it.

    Parameters
    ----------
    grid : Grid
        The voxels.
    traced : Image
        Electron density relative to water, through which the photons come to the voxels.
    electrons : (k, j, i) float32
        Its mean in each voxel.
    to_dose : (k, j, i) float32
        Dose to the voxel's medium, or to water in it, over the energy left per electron density.
    """

    grid: Grid
    traced: Image
    electrons: Values
    to_dose: Values

    @classmethod
    def around(cls, grid: Grid, density: Image, dose_to: DoseTo, widest_mm: float = WIDEST_VOXEL_MM) -> Space:
        """Voxels, divided where wider than told, about a dose grid in a patient of this mass density."""
        grid.require_axial("the collapsed-cone dose")
        traced = relative_electron_density(density)
        fine = _tissue_voxels(grid, density, widest_mm)
        mass = average(density, fine, 0.0)
        electrons = relative_electron_density(mass)
        ratio = electrons.values / np.maximum(mass.values, np.float32(1e-4))
        if dose_to == "water":
            ratio *= water_over_medium(mass).values
        return cls(fine, traced, electrons.values, ratio.astype(np.float32))

    def released_and_spread(
        self, beam: Beam, sector: tuple[Exposure, ...], position: PatientPosition, machine: Machine
    ) -> Values:
        """Energy left per electron density by a part of a beam, in the unit of the fluence."""
        kernel = point_kernel(machine.spectrum)
        soft, hard, surface = (np.zeros(self.grid.shape, dtype=np.float32) for _ in range(3))
        flow = np.zeros((3, *self.grid.shape), dtype=np.float32)
        direction = np.zeros(3)
        for exposure in sector:
            fan = Fan.of(exposure.setup, position, machine.source_axis_distance_mm)
            direction += add_terma(
                soft, hard, flow, surface, self.grid, fan, partial(head_fluence, exposure, beam, machine), self.traced,
                kernel, machine,
            )  # fmt: skip
        if not direction.any():
            return np.zeros(self.grid.shape, dtype=np.float32)
        for left in self.spread(soft, hard, flow, direction, kernel, sector[0].setup.isocentre_mm):
            surface += left
        return surface

    def spread(
        self,
        soft: Values,
        hard: Values,
        flow: Values,
        direction: Float,
        kernel: PointKernel,
        anchor_mm: Float | Sequence[float],
    ) -> tuple[Values, Values]:
        """Energy left per electron density by primary electrons and by scattered photons.

        The TERMA is as `transport` takes it, the kernels' axis the direction (LPS), and the lines' jumps are counted
        from the anchor.
        """
        spacing = np.array(self.grid.spacing_mm)
        to_index = (self.grid.affine[:3, :3] / spacing).T
        anchor = self.grid.to_index(np.asarray(anchor_mm, dtype=np.float64))
        kernels = [Cones.around(direction, rings) for rings in (kernel.primary, kernel.scatter)]
        primary, scatter = transport(soft, hard, flow, self.electrons, spacing / 10, to_index, anchor, *kernels)
        radius = kernel.primary_radius
        return bent_along_lines(primary, self.electrons, direction, radius, spacing / 10, to_index, anchor), scatter

    def dose_of(
        self, plan: Plan, left: Values, machine: Machine, grid: Grid, inside: NDArray[np.bool_], engine: str
    ) -> Dose:
        """Dose of one fraction within the outline, of the energy that all sectors left per electron density."""
        dose = self.on(left, grid) * np.float32(scale_gy_per_mu(machine))
        image = Image(grid, np.where(inside, dose, np.float32(0.0)), "Gy")
        return Dose(image, "physical", "fraction", plan.fractions, None, engine, plan.sop_instance_uid)

    def on(self, left: Values, grid: Grid) -> Values:
        """Dose on the dose grid about which these voxels are, of energy left per electron density."""
        dose = left * self.to_dose
        parts = np.round(np.array(grid.spacing_mm) / np.array(self.grid.spacing_mm)).astype(int)
        if (parts > 1).any():
            k, j, i = np.array(dose.shape) // parts
            dose = dose.reshape(k, parts[0], j, parts[1], i, parts[2]).mean(axis=(1, 3, 5))
        start = np.round(grid.to_index(self.grid.to_world((parts - 1) / 2))).astype(int)
        here, there = np.maximum(start, 0), np.minimum(start + dose.shape, grid.shape)
        out = np.zeros(grid.shape, dtype=np.float32)
        if (there > here).all():
            into = tuple(slice(a, b) for a, b in zip(here, there, strict=True))
            out[into] = dose[tuple(slice(a, b) for a, b in zip(here - start, there - start, strict=True))]
        return out


def _tissue_voxels(grid: Grid, density: Image, widest_mm: float) -> Grid:
    """Grid with the voxels of the lattice of `grid`, divided if wide, where there is tissue and close about it."""
    steps = np.array(grid.spacing_mm)
    parts = np.ceil(steps / widest_mm - 1e-6).astype(int)
    tissue = density.values > TISSUE_G_CM3
    if not tissue.any():
        raise GeometryError("the density image has no tissue; check the table from CT number to density")
    reach = []
    for axis in range(3):
        there = np.flatnonzero(tissue.any(axis=tuple(other for other in range(3) if other != axis)))
        reach.append((there[0] - 0.5, there[-1] + 0.5))
    ends = grid.to_index(density.grid.to_world(np.array(reach).T))
    low = np.floor(ends.min(axis=0) - ABOUT_TISSUE_MM / steps + 0.5).astype(int)
    high = np.ceil(ends.max(axis=0) + ABOUT_TISSUE_MM / steps - 0.5).astype(int)
    origin = grid.to_world(low - 0.5 + 0.5 / parts)
    return Grid.axial((high - low + 1) * parts, steps / parts, origin, grid.frame_of_reference)


# What is denser belongs to the patient or to what the beam passes, g/cm3; an outline may hold so much air about it, mm.
TISSUE_G_CM3 = 0.05
ABOUT_TISSUE_MM = 5.0


def sectors(plan: Plan) -> list[tuple[Beam, tuple[Exposure, ...]]]:
    """Parts of a plan's beams whose energy is spread together.

    Arcs about one isocentre with the same leaves are taken together, by their angles: what they deliver from the same
    direction is released at once, so that a second arc costs little.
    """
    together: dict[Any, list[Beam]] = {}
    for n, beam in enumerate(plan.beams):
        alike = (beam.isocentre_mm, beam.leaf_boundaries_mm) if beam.dynamic else n
        together.setdefault(alike, []).append(beam)
    return [(beams[0], sector) for beams in together.values() for sector in _sectors(_united(beams))]


def _united(beams: Sequence[Beam]) -> list[Exposure]:
    """Exposures of beams that differ in their control points only, one for each direction."""
    if len(beams) == 1:
        return exposures(beams[0])
    found: dict[tuple[float, ...], Exposure] = {}
    for part in (part for beam in beams for part in exposures(beam)):
        to = part.setup
        key = tuple(round(angle, DIGITS_OF_ANGLE) for angle in (to.couch_deg, to.gantry_deg, to.collimator_deg))
        same = found.get(key)
        found[key] = part if same is None else replace(same, segments=same.segments + part.segments)
    return [found[key] for key in sorted(found)]


def _sectors(parts: list[Exposure]) -> Iterator[tuple[Exposure, ...]]:
    """Runs of exposures whose gantry angles lie within `SECTOR_DEG`, with one collimator and couch."""
    run: list[Exposure] = []
    for part in parts:
        if run and _apart(run[0], part) > SECTOR_DEG:
            yield tuple(run)
            run = []
        run.append(part)
    if run:
        yield tuple(run)


def _apart(one: Exposure, other: Exposure) -> float:
    turns = [
        abs((a - b + 180.0) % 360.0 - 180.0)
        for a, b in (
            (one.setup.gantry_deg, other.setup.gantry_deg),
            (one.setup.couch_deg, other.setup.couch_deg),
        )
    ]
    return max(turns)


@cache
def scale_gy_per_mu(machine: Machine) -> float:
    """Gy per unit of the engine and MU, from the machine's reference conditions."""
    side, depth = machine.reference_field_mm, machine.reference_depth_mm
    tank = _tank(machine, (side, side), machine.reference_ssd_mm, depth, TANK_VOXEL_MM)
    return machine.reference_dose_gy_per_mu / float(tank.along_axis(np.array([depth]))[0])


def water_dose(
    machine: Machine,
    field_mm: tuple[float, float],
    ssd_mm: float,
    depths_mm: Float,
    off_axis_mm: tuple[Literal["x", "y"], Float] | None = None,
    voxel_mm: tuple[float, float] = TANK_VOXEL_MM,
) -> Float:
    """Dose of an open rectangular field in a water tank, Gy per MU.

    Parameters
    ----------
    machine : Machine
    field_mm : (float, float)
        Sides along x and y in the isocentre plane, at the source-axis distance, mm.
    ssd_mm : float
        From the source to the water, mm.
    depths_mm : (n,) float
        On the axis, mm.
    off_axis_mm : (axis, (m,) float), optional
        Positions along x or y *at the depth* (not projected to the isocentre), mm; the result is then (n, m).
    voxel_mm : (float, float)
        Voxels across and along the beam, mm.

    Returns
    -------
    (n,) or (n, m) float
    """
    depths = np.asarray(depths_mm, dtype=np.float64)
    tank = _tank(machine, field_mm, ssd_mm, float(depths.max()), voxel_mm)
    if off_axis_mm is None:
        return tank.along_axis(depths) * scale_gy_per_mu(machine)
    return tank.across(depths, *off_axis_mm) * scale_gy_per_mu(machine)


@dataclass(frozen=True, eq=False)
class _Tank:
    """Dose in water below a vertical beam; i runs along beam limiting device x, k along y, j down."""

    grid: Grid
    surface_mm: float
    values: Values

    def along_axis(self, depths_mm: Float) -> Float:
        return self.across(depths_mm, "x", np.zeros(1))[:, 0]

    def across(self, depths_mm: Float, axis: Literal["x", "y"], off_axis_mm: Float) -> Float:
        from scipy import ndimage

        depth, off = np.meshgrid(depths_mm + self.surface_mm, off_axis_mm, indexing="ij")
        zero = np.zeros_like(off)
        points = np.stack([off, depth, zero] if axis == "x" else [zero, depth, off], axis=-1)
        index = self.grid.to_index(points)
        out: Float = ndimage.map_coordinates(
            self.values, np.moveaxis(index, -1, 0), order=1, mode="nearest", output=np.float64
        )
        return out


def _tank(
    machine: Machine, field_mm: tuple[float, float], ssd_mm: float, depth_mm: float, voxel_mm: tuple[float, float]
) -> _Tank:
    sad = machine.source_axis_distance_mm
    surface = ssd_mm - sad
    across, along = voxel_mm
    deepest = depth_mm + TANK_MARGIN_MM
    wide = [int(np.ceil((0.5 * side * (ssd_mm + depth_mm) / sad + TANK_MARGIN_MM) / across)) for side in field_mm]
    shape = (2 * wide[1] + 1, int(np.ceil(deepest / along)), 2 * wide[0] + 1)
    grid = Grid.axial(
        shape, (across, along, across), (-wide[0] * across, surface + along / 2, -wide[1] * across), "tank"
    )
    water = Image(grid, np.ones(shape, dtype=np.float32), "g/cm3")
    jaws = [(-side / 2, side / 2) for side in field_mm]
    field = ControlPoint(0.0, 0.0, 0.0, 0.0, jaws[0], jaws[1], None)
    end = ControlPoint(1.0, 0.0, 0.0, 0.0, jaws[0], jaws[1], None)
    beam = Beam("open field", 1, machine.id, machine.energy_mv, machine.flattened, (0.0, 0.0, 0.0), (), (field, end))
    space = Space(grid, relative_electron_density(water), np.ones(shape, np.float32), np.ones(shape, np.float32))
    return _Tank(grid, surface, space.released_and_spread(beam, tuple(exposures(beam)), "HFS", machine))
