"""Dose of single beamlets that agrees with the collapsed cone.

For each beam the collapsed cone computes the dose of all its beamlets together, open for 1 MU each. In every voxel this
dose is then shared out among the beamlets (`tailort.dose.cone_rows`): so even fluence has its collapsed-cone dose
everywhere, build-up, lung and what lies behind it included, and any other fluence as far as the shares are right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tailort.dose.beamlets import NEAR_MM
from tailort.dose.collapsed_cone import NAMES, scale_gy_per_mu
from tailort.dose.cone_rows import OpenDose, fill_rows
from tailort.dose.fan import Fan, voxel_centres_mm
from tailort.dose.inputs import outline_mask
from tailort.dose.lattice import Lattice, beamlet_fluence, head_scatter
from tailort.dose.space import WIDEST_VOXEL_MM, DoseTo, Space, Voxels
from tailort.dose.terma import Field
from tailort.errors import InputError
from tailort.geometry import Grid, Image, PatientPosition
from tailort.patient.influence import Beamlets, Influence
from tailort.physics.machine import Machine
from tailort.physics.point_kernel import point_kernel

Float = NDArray[np.float64]
Values = NDArray[np.float32]
Progress = Callable[[float], None]

# Standard deviation of the Gaussian that tells the density in which scattered photons come to a voxel, mm, and the
# densities between which it is taken.
ABOUT_MM = 25.0
SPREADS_IN = (0.3, 1.1)
# Distance of the nodes at which head scatter is computed, mm of the isocentre plane.
HEAD_NODE_MM = 5.0


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
    dose_to: DoseTo = "medium",
    widest_voxel_mm: float = WIDEST_VOXEL_MM,
    detailed_mm: ArrayLike | None = None,
) -> Influence:
    """Dose of each beamlet, as an open field of its own, in chosen voxels.

    The sum of each beam's entries in a row is the collapsed-cone dose of all its beamlets together. Entries are drawn
    together away from a voxel as `tailort.dose.pencil.influence` does it.

    Parameters
    ----------
    density, machine, grid, voxels, position, progress
        As for `tailort.dose.pencil.influence`.
    near_mm : float
        The same, for beamlets of 5 mm: for smaller ones the distance shrinks in proportion. Of one arc plan with
        2.5 mm beamlets the dose of a voxel so has an error of 0.4 % (rms) by the drawing, with the whole distance
        0.2 %, for 1.8 times the entries.
    dose_to : {"medium", "water"}
        To what the dose is, in each voxel.
    widest_voxel_mm : float
        As for `tailort.dose.collapsed_cone.compute`; 4 mm instead of 2 mm doubles the error of a random fluence, to
        1.3 % of its highest dose, for a seventh of the time.
    detailed_mm : (2, 3) float or None
        As for `tailort.dose.collapsed_cone.compute`.
    beamlets : Beamlets
        Of one size; those of each beam on a lattice of that size, with or without gaps.

    Returns
    -------
    Influence
        Gy per fraction per MU.

    Raises
    ------
    InputError
        When `near_mm` is too small, a voxel is not in the grid or beamlets are not on a lattice.
    GeometryError
        When frames of reference differ or the grid is oblique.
    """
    grid.require_same_frame(density.grid.frame_of_reference, "the density image")
    rows = np.ascontiguousarray(voxels, dtype=np.uint32)
    if near_mm < 20.0:
        raise InputError(f"near_mm of {near_mm:g} is less than the reach of electrons in water; give at least 20 mm")
    if rows.size and int(rows.max()) >= grid.size:
        raise InputError(f"voxel {int(rows.max())} is not in a dose grid of {grid.size} voxels")
    count = len(beamlets.setups)
    lattices = [Lattice.of(beamlets, n) for n in range(count)]
    fans = [Fan.of(setup, position, machine.source_axis_distance_mm) for setup in beamlets.setups]
    # The whole body, so that no row depends on which others are asked for.
    asked = outline_mask(density, grid, None)
    asked.reshape(-1)[rows] = True
    carried = Voxels.around(grid, density, dose_to, widest_voxel_mm, detailed_mm, asked)
    space = carried.fine
    kernel = point_kernel(machine.spectrum)
    points = voxel_centres_mm(grid.affine, grid.shape, rows)
    places = np.empty((count, len(rows), 4), dtype=np.float32)
    opened = OpenDose.empty(count, len(rows))
    for n, (fan, lattice) in enumerate(zip(fans, lattices, strict=True)):
        coordinates = fan.coordinates(points)
        places[n, :, :3] = coordinates
        places[n, :, 3] = fan.radiological_depth_cm(space.traced, coordinates)
        there = lattice.column.size > 0
        field = Field.of(fan, partial(beamlet_fluence, lattice, machine), kernel, machine) if there else None
        if field is not None:
            kinds = zip(*(part.released_and_spread([field], machine) for part in carried.spaces), strict=True)
            lefts = [space.on(carried.joined(kind), grid) for kind in kinds]
            doses = [np.maximum(left, 0.0) * np.float32(scale_gy_per_mu(machine)) for left in lefts]
            opened.highest[n] = doses[0].max()
            for wanted, dose in zip((opened.primary, opened.scatter, opened.surface), doses, strict=True):
                wanted[n] = dose.reshape(-1)[rows]
            opened.head_scatter[n] = _seen_head(lattice, machine, coordinates)
        if progress is not None:
            progress(0.5 * (n + 1) / count)
    step = np.linalg.inv(space.grid.affine[:3, :3])
    to_index = np.column_stack([step, -step @ space.grid.affine[:3, 3]])
    widths = [np.array(kind.spacing_mm) for kind in (grid, space.grid)]
    blur = float(np.sqrt(sum((wide**2).mean() for wide in widths) / 12))
    filled = fill_rows(
        places, rows, points, beamlets, lattices, fans, opened, space.electrons, _about(space, points), to_index,
        kernel, machine, scale_gy_per_mu(machine), blur, near_mm,
    )  # fmt: skip
    if progress is not None:
        progress(1.0)
    return Influence(*filled, grid, rows, beamlets, NAMES[dose_to])


def _about(space: Space, points: Float) -> Values:
    """Mean electron density in a wide neighbourhood of points (n, 3), LPS mm."""
    wide = ndimage.gaussian_filter(space.electrons, ABOUT_MM / np.array(space.grid.spacing_mm), mode="nearest")
    about: Values = ndimage.map_coordinates(wide, space.grid.to_index(points).T, order=1, mode="nearest")
    return np.clip(about, *SPREADS_IN)


def _seen_head(lattice: Lattice, machine: Machine, coordinates: Float) -> Values:
    """Extra-focal fluence of all beamlets of a beam at fan coordinates (n, 3), MU."""
    if machine.head.extrafocal_share <= 0 or not len(coordinates):
        return np.zeros(len(coordinates), dtype=np.float32)
    low, high = coordinates[:, :2].min(axis=0), coordinates[:, :2].max(axis=0)
    x, y = (np.arange(a, b + HEAD_NODE_MM, HEAD_NODE_MM) for a, b in zip(low, high, strict=True))
    place = ((coordinates[:, :2] - low) / HEAD_NODE_MM).T[::-1]
    seen: Values = ndimage.map_coordinates(
        head_scatter(lattice, machine, x, y), place, output=np.float32, order=1, mode="nearest"
    )
    return seen
