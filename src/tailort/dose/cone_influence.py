"""Dose of single beamlets that agrees with the collapsed cone.

Each row starts from the pencil kernel, whose primary part spreads sideways in the density about the row's voxel. Then
the row's entries of each beam are multiplied by one factor: the collapsed-cone dose of the beam's whole open field
there over the sum of the entries. So the open field of each beam has its collapsed-cone dose in every voxel, build-up,
lung and what lies behind it included; the pencil kernel only tells how the dose is shared among the beamlets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.dose.beamlets import NEAR_MM
from tailort.dose.collapsed_cone import NAME, Space, scale_gy_per_mu
from tailort.dose.fluence import exposures
from tailort.dose.pencil import pencil_rows
from tailort.geometry import Grid, Image, PatientPosition, average
from tailort.patient.influence import Beamlets, Influence
from tailort.patient.plan import Beam, ControlPoint
from tailort.physics.machine import Machine
from tailort.physics.materials import relative_electron_density

Float = NDArray[np.float64]
Progress = Callable[[float], None]

# Standard deviation of the Gaussian that tells the density about a voxel, mm.
ABOUT_MM = 4.0
# The density in which the primary dose spreads is taken between these, relative to water.
SPREADS_IN = (0.15, 1.2)
# Where the sum of a row's entries of a beam is less than this share of the beam's highest, no factor is trusted: 1.
LEAST_SUM = 0.002
FACTORS = (0.2, 5.0)


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

    Parameters
    ----------
    density, beamlets, machine, grid, voxels, position, near_mm, progress
        As for `tailort.dose.pencil.influence`.

    Returns
    -------
    Influence
        Gy per fraction per MU, to medium.

    Raises
    ------
    InputError
        When `near_mm` is too small or a voxel is not in the grid.
    GeometryError
        When frames of reference differ or the grid is oblique.
    """
    space = Space.around(grid, density)
    rows = np.ascontiguousarray(voxels, dtype=np.uint32)
    about = average(relative_electron_density(density), grid, 0.0)
    smooth = ndimage.gaussian_filter(about.values, ABOUT_MM / np.array(grid.spacing_mm), mode="nearest")
    lateral = np.clip(smooth.reshape(-1)[rows], *SPREADS_IN).astype(np.float32)
    values, columns, starts = pencil_rows(
        density, beamlets, machine, grid, rows, position, near_mm, lateral,
        None if progress is None else lambda share: progress(0.5 * share),
    )  # fmt: skip
    beam_of = np.asarray(beamlets.beam, dtype=np.int64)
    sums = _sums(values, columns, starts, beam_of, len(beamlets.setups))
    factors = np.ones((len(beamlets.setups), len(rows)), dtype=np.float32)
    bare = _without_collimator(machine)
    for n in range(len(beamlets.setups)):
        opened = open_field(beamlets, n, machine)
        left = space.released_and_spread(opened, tuple(exposures(opened)), position, bare)
        wanted = space.on(left, grid).reshape(-1)[rows] * scale_gy_per_mu(machine)
        trusted = sums[n] > LEAST_SUM * max(float(sums[n].max(initial=0.0)), 1e-30)
        factors[n, trusted] = np.clip(wanted[trusted] / sums[n, trusted], *FACTORS)
        if progress is not None:
            progress(0.5 + 0.5 * (n + 1) / len(beamlets.setups))
    _multiply(values, columns, starts, beam_of, factors)
    return Influence(values, columns, starts, grid, rows, beamlets, NAME)


def open_field(beamlets: Beamlets, beam: int, machine: Machine) -> Beam:
    """Beam whose segments of 1 MU each open all beamlets of one direction, each once.

    Parameters
    ----------
    beamlets : Beamlets
    beam : int
        Index in `beamlets.setups`.
    machine : Machine
        Tells its name and energy.
    """
    own = np.flatnonzero(beamlets.beam == beam)
    wide, high = beamlets.width_x_mm, beamlets.width_y_mm
    row = np.round(beamlets.y_mm[own] / high - 0.5).astype(int)
    column = np.round(beamlets.x_mm[own] / wide - 0.5).astype(int)
    first, last = int(row.min()), int(row.max())
    runs: list[list[tuple[int, int]]] = []
    for r in range(first, last + 1):
        across = np.sort(column[row == r])
        breaks = np.flatnonzero(np.diff(across) > 1)
        starts = across[np.append(0, breaks + 1)] if len(across) else []
        ends = across[np.append(breaks, len(across) - 1)] + 1 if len(across) else []
        runs.append(list(zip(starts, ends, strict=True)))
    setup = beamlets.setups[beam]
    jaws_y = (first * high, (last + 1) * high)
    jaws_x = (float(column.min()) * wide, float(column.max() + 1) * wide)
    points: list[ControlPoint] = []
    for n in range(max(len(run) for run in runs)):
        leaves = np.full((2, len(runs)), jaws_x[0])
        for r, run in enumerate(runs):
            if n < len(run):
                leaves[:, r] = run[n][0] * wide, run[n][1] * wide
        for mu in (float(n), n + 1.0):
            points.append(
                ControlPoint(mu, setup.gantry_deg, setup.collimator_deg, setup.couch_deg, jaws_x, jaws_y, leaves)
            )
    edges = tuple(float(edge) * high for edge in range(first, last + 2))
    return Beam(
        setup.name, setup.number, machine.id, machine.energy_mv, machine.flattened, setup.isocentre_mm, edges,
        tuple(points), source_axis_distance_mm=machine.source_axis_distance_mm,
    )  # fmt: skip


def _without_collimator(machine: Machine) -> Machine:
    """Machine whose leaves and jaws let nothing through and have no gap and no tongue: that belongs to a plan."""
    head = replace(machine.head, leaf_end_gap_mm=0.0, tongue_mm=0.0)
    return replace(machine, head=head, leaf_transmission=0.0, jaw_transmission=0.0)


@numba.njit(cache=True, parallel=True)
def _sums(
    values: NDArray[np.float32],
    columns: NDArray[np.uint32],
    starts: NDArray[np.int64],
    beam_of: NDArray[np.int64],
    beams: int,
) -> Float:  # pragma: no cover - compiled
    """Sum of each row's entries by beam: (beams, rows)."""
    out = np.zeros((beams, starts.size - 1))
    for r in numba.prange(starts.size - 1):
        for n in range(starts[r], starts[r + 1]):
            out[beam_of[columns[n]], r] += values[n]
    return out


@numba.njit(cache=True, parallel=True)
def _multiply(
    values: NDArray[np.float32],
    columns: NDArray[np.uint32],
    starts: NDArray[np.int64],
    beam_of: NDArray[np.int64],
    factors: NDArray[np.float32],
) -> None:  # pragma: no cover - compiled
    for r in numba.prange(starts.size - 1):
        for n in range(starts[r], starts[r + 1]):
            values[n] *= factors[beam_of[columns[n]], r]
