"""What every dose engine asks of its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, resample
from tailort.patient.plan import Plan
from tailort.physics.machine import Machine

# Without an outline the patient is what is denser than this in each slice, holes filled.
BODY_DENSITY_G_CM3 = 0.3


def require_matching(plan: Plan, density: Image, machine: Machine, grid: Grid) -> None:
    """Refuse a plan, a density or a machine that do not belong together."""
    grid.require_same_frame(density.grid.frame_of_reference, "the density image")
    grid.require_same_frame(plan.frame_of_reference, f"plan '{plan.label}'")
    for beam in plan.beams:
        if abs(beam.energy_mv - machine.energy_mv) > 0.5 or beam.flattened != machine.flattened:
            kinds = [
                f"{kind.energy_mv:g} MV {'flattened' if kind.flattened else 'flattening-filter-free'}"
                for kind in (beam, machine)
            ]
            raise InputError(
                f"beam '{beam.name}' is {kinds[0]}, machine '{machine.id}' {kinds[1]}: choose a machine of that beam"
            )
        if abs(beam.source_axis_distance_mm - machine.source_axis_distance_mm) > 0.5:
            raise InputError(
                f"beam '{beam.name}' has a source-axis distance of {beam.source_axis_distance_mm:g} mm, machine "
                f"'{machine.id}' one of {machine.source_axis_distance_mm:g} mm: choose another machine"
            )


def outline_mask(density: Image, grid: Grid, body: NDArray[Any] | None) -> NDArray[np.bool_]:
    """Voxels of the dose grid that get a dose: where `body` (mask or partial volumes) is above 0.

    Without it, what is denser than `BODY_DENSITY_G_CM3`, with its holes filled slice by slice.

    Raises
    ------
    GeometryError
        When the outline's shape is not the grid's.
    """
    if body is None:
        dense = resample(density, grid, 0.0).values > BODY_DENSITY_G_CM3
        return np.stack([ndimage.binary_fill_holes(plane) for plane in dense]).astype(np.bool_)
    if body.shape != grid.shape:
        raise GeometryError(f"an outline of shape {body.shape} does not fit a dose grid of shape {grid.shape}")
    return np.asarray(body > 0)
