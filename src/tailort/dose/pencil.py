"""Photon dose by pencil kernels: fast enough for optimisation, not for judging plans in lung.

Dose at a point with fan coordinates (u, v, s) and radiological depth z, for a fluence F(u', v') in MU:

    D = c (SAD/s)^2 2 pi [ (A/a)(z) (F * K_alpha)(u, v) + (B/b)(z) (F * K_beta)(u, v) ]
    K_k(q) = k exp(-k q) / (2 pi q),   alpha = a(z) s/SAD,   beta = b(z) s/SAD,   F blurred by the source

with the kernel of `tailort.physics.pencil_kernel`; the integral of K over the plane is 1 for every k, so depth and
divergence only choose the member of one family of convolutions. c makes the reference conditions of the machine true.

What is assumed: water scaled by electron density along the ray and nowhere else (scatter and electrons do not see the
density beside the ray), flat primary fluence, no head scatter, no electron contamination. The build-up is that of the
kernel's fit (surface 39 % of the maximum, maximum at 16 mm for 6 MV): smooth, and not to be trusted before 15 mm.
Dose is that to water, in lung and bone too. Beyond 50 cm of water the kernel of 50 cm is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.dose.beamlets import NEAR_MM, fill_rows
from tailort.dose.convolution import add_dose
from tailort.dose.fan import Fan, voxel_centres_mm
from tailort.dose.fluence import exposures, fluence
from tailort.dose.inputs import outline_mask, require_matching
from tailort.errors import InputError
from tailort.geometry import Grid, Image, PatientPosition
from tailort.patient.dose import Dose
from tailort.patient.influence import Beamlets, Influence
from tailort.patient.plan import Beam, ControlPoint, Plan
from tailort.physics.machine import Machine
from tailort.physics.materials import relative_electron_density

Progress = Callable[[float], None]

NAME = "pencil-nyholm"
LABEL = "pencil kernel, not for judging plans in lung"


def compute(
    plan: Plan,
    density: Image,
    machine: Machine,
    grid: Grid,
    *,
    body: NDArray[Any] | None = None,
    progress: Progress | None = None,
) -> Dose:
    """Physical dose of one fraction of a deliverable plan.

    Parameters
    ----------
    plan : Plan
        Static, step-and-shoot or dynamic beams.
    density : Image
        Mass density of the patient, g/cm3.
    machine : Machine
        The beam; must be of the energy of the plan's beams.
    grid : Grid
        Dose grid.
    body : (k, j, i) array, optional
        The patient's outline on the dose grid (mask or partial volumes); voxels above 0 get a dose, the others 0.
        Without it, what is denser than `tailort.dose.inputs.BODY_DENSITY_G_CM3`, with its holes filled slice by slice.
    progress : callable, optional
        Called with the finished share, 0 to 1.

    Returns
    -------
    Dose
        Gy per fraction, physical.

    Raises
    ------
    InputError
        When the plan's beams are not of this machine's kind.
    GeometryError
        When frames of reference or shapes differ.
    """
    require_matching(plan, density, machine, grid)
    inside = outline_mask(density, grid, body)
    voxels = np.flatnonzero(inside).astype(np.uint32)
    points = voxel_centres_mm(grid.affine, grid.shape, voxels)
    electrons = relative_electron_density(density)
    total = np.zeros(len(voxels))
    parts = [(beam, exposure) for beam in plan.beams for exposure in exposures(beam)]
    for n, (beam, exposure) in enumerate(parts):
        fan = Fan.of(exposure.setup, plan.patient_position, machine.source_axis_distance_mm)
        coordinates = fan.coordinates(points)
        depth = fan.radiological_depth_cm(electrons, coordinates)
        add_dose(
            total, coordinates, depth, partial(fluence, exposure, beam, machine), machine, scale_gy_per_mu(machine)
        )
        if progress is not None:
            progress((n + 1) / len(parts))
    values = np.zeros(grid.shape, dtype=np.float32)
    values.reshape(-1)[voxels] = total
    return Dose(Image(grid, values, "Gy"), "physical", "fraction", plan.fractions, None, NAME, plan.sop_instance_uid)


def influence(
    density: Image,
    beamlets: Beamlets,
    machine: Machine,
    grid: Grid,
    voxels: NDArray[Any],
    *,
    position: PatientPosition,
    near_mm: float = NEAR_MM,
    progress: Progress | None = None,
) -> Influence:
    """Dose of each beamlet, as an open field of its own, in chosen voxels.

    No scatter is cut off. Within `near_mm` each beamlet has its own entry. Beamlets farther away are taken together,
    in blocks of about 15 mm and, beyond 75 mm, of 30 mm: the block's whole dose stands in one entry, whose column is
    one of its beamlets, drawn by a hash of voxel and block. A row's sum is therefore that of all beamlets and each
    column's mean over voxels its own dose; fluence that varies within a block shows as noise: 0.1 % of the highest dose
    (RMS, in the field) for fluence with hills some beamlets wide, 0.2 % for one without any pattern.

    Parameters
    ----------
    density : Image
        Mass density of the patient, g/cm3.
    beamlets : Beamlets
        Any positions; all of one size.
    machine : Machine
        The beam. Transmission through leaves and jaws belongs to a plan, not to a beamlet, and is not included.
    grid : Grid
        Dose grid.
    voxels : (rows,) int
        Flat (C order) indices into the grid of the voxels that are wanted; memory grows with their number.
    position : str
        HFS, HFP, FFS or FFP.
    near_mm : float
        Distance at the isocentre plane, mm; at least 20, where the primary dose has died away.
    progress : callable, optional
        Called with the finished share, 0 to 1.

    Returns
    -------
    Influence
        Gy per fraction per MU.

    Raises
    ------
    InputError
        When `near_mm` is too small or a voxel is not in the grid.
    GeometryError
        When frames of reference differ.
    """
    rows = np.ascontiguousarray(voxels, dtype=np.uint32)
    grid.require_same_frame(density.grid.frame_of_reference, "the density image")
    if near_mm < 20.0:
        raise InputError(f"near_mm of {near_mm:g} would cut the primary dose; give at least 20 mm")
    rows = np.ascontiguousarray(voxels, dtype=np.uint32)
    if rows.size and int(rows.max()) >= grid.size:
        raise InputError(f"voxel {int(rows.max())} is not in a dose grid of {grid.size} voxels")
    points = voxel_centres_mm(grid.affine, grid.shape, rows)
    electrons = relative_electron_density(density)
    places = np.empty((len(beamlets.setups), len(rows), 4), dtype=np.float32)
    for n, setup in enumerate(beamlets.setups):
        fan = Fan.of(setup, position, machine.source_axis_distance_mm)
        coordinates = fan.coordinates(points)
        places[n, :, :3] = coordinates
        places[n, :, 3] = fan.radiological_depth_cm(electrons, coordinates)
        if progress is not None:
            progress(0.5 * (n + 1) / len(beamlets.setups))
    filled = fill_rows(places, rows, beamlets, machine, scale_gy_per_mu(machine), near_mm)
    if progress is not None:
        progress(1.0)
    return Influence(*filled, grid, rows, beamlets, NAME)


@cache
def scale_gy_per_mu(machine: Machine) -> float:
    """Gy per unit of kernel dose and MU, from the machine's reference conditions."""
    half = machine.reference_field_mm / 2
    field = ControlPoint(0.0, 0.0, 0.0, 0.0, (-half, half), (-half, half), None)
    beam = Beam(
        "calibration",
        1,
        machine.id,
        machine.energy_mv,
        machine.flattened,
        (0.0, 0.0, 0.0),
        (),
        (field, replace(field, mu=1.0)),
    )
    dose = np.zeros(1)
    add_dose(
        dose,
        np.array([[0.0, 0.0, machine.source_axis_distance_mm]]),
        np.array([machine.reference_depth_mm / 10], dtype=np.float32),
        partial(fluence, exposures(beam)[0], beam, machine),
        machine,
        1.0,
    )
    return machine.reference_dose_gy_per_mu / float(dose[0])
