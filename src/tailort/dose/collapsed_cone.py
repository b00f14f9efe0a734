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
from numpy.typing import ArrayLike, NDArray

from tailort.dose.fan import Fan
from tailort.dose.fluence import Exposure, exposures
from tailort.dose.head import head_fluence
from tailort.dose.inputs import outline_mask, require_matching
from tailort.dose.space import WIDEST_VOXEL_MM, DoseTo, Space, Voxels
from tailort.dose.terma import Field
from tailort.geometry import Grid, Image, PatientPosition
from tailort.patient.dose import Dose
from tailort.patient.plan import Beam, ControlPoint, Plan
from tailort.physics.machine import Machine
from tailort.physics.materials import relative_electron_density
from tailort.physics.point_kernel import point_kernel

Progress = Callable[[float], None]
Float = NDArray[np.float64]
Values = NDArray[np.float32]

NAMES: dict[DoseTo, str] = {"medium": "collapsed-cone", "water": "collapsed-cone-water"}
LABELS: dict[DoseTo, str] = {to: f"collapsed-cone superposition, dose to {to}" for to in NAMES}

# Directions of an arc within this angle share the axis of their kernels, degrees.
SECTOR_DEG = 9.0
# Directions are the same to so many decimals of a degree.
DIGITS_OF_ANGLE = 3
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
    detailed_mm: ArrayLike | None = None,
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
    detailed_mm : (2, 3) float or None
        Opposite corners, LPS, of the box in which the dose is asked for in voxels as small as the grid's; far from it
        energy may be carried in wider ones (`tailort.dose.space`). None: all of the grid.

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
    voxels = Voxels.around(grid, density, dose_to, widest_voxel_mm, detailed_mm, inside)
    parts = sectors(plan)
    totals = [np.zeros(space.grid.shape, dtype=np.float32) for space in voxels.spaces]
    for n, (beam, sector) in enumerate(parts):
        fields = fields_of(beam, sector, plan.patient_position, machine)
        for total, space in zip(totals, voxels.spaces, strict=True):
            for left in space.released_and_spread(fields, machine):
                total += left
        if progress is not None:
            progress((n + 1) / len(parts))
    return dose_of(plan, voxels.fine.on(voxels.joined(totals), grid), machine, grid, inside, NAMES[dose_to])


def dose_of(plan: Plan, values: Values, machine: Machine, grid: Grid, inside: NDArray[np.bool_], engine: str) -> Dose:
    """Dose of one fraction within the outline, of values on the dose grid in the unit of the engine."""
    dose = values * np.float32(scale_gy_per_mu(machine))
    image = Image(grid, np.where(inside, dose, np.float32(0.0)), "Gy")
    return Dose(image, "physical", "fraction", plan.fractions, None, engine, plan.sop_instance_uid)


def fields_of(beam: Beam, sector: Sequence[Exposure], position: PatientPosition, machine: Machine) -> tuple[Field, ...]:
    """What comes down from each direction of a part of a beam, where anything does."""
    kernel = point_kernel(machine.spectrum)
    fans = [Fan.of(exposure.setup, position, machine.source_axis_distance_mm) for exposure in sector]
    found = (
        Field.of(fan, partial(head_fluence, exposure, beam, machine), kernel, machine)
        for fan, exposure in zip(fans, sector, strict=True)
    )
    return tuple(field for field in found if field is not None)


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
    primary, scatter, electrons = space.released_and_spread(fields_of(beam, exposures(beam), "HFS", machine), machine)
    return _Tank(grid, surface, primary + scatter + electrons)
