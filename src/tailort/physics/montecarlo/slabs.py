"""Dose of an open field in water, lung and bone in layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.physics.montecarlo.histories import (
    BATCHES,
    Bins,
    Energies,
    Layer,
    Layers,
    drawn,
    energies_of,
    follow,
    layers_of,
    mean_and_error,
)
from tailort.physics.montecarlo.transport import FIRST_ELECTRON, PHOTON, STACK, push, seeded, uniform
from tailort.physics.spectrum import Spectrum

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SlabDose:
    """Dose in bins of depth and of |x| and |y|, folded on each other.

    Parameters
    ----------
    depth_cm : (d + 1,) float
        Edges of the bins.
    off_axis_cm : (n + 1,) float
        Edges in |x| and in |y|.
    dose : (batches, d, n, n) float
        MeV/g per photon/cm2 in the isocentre plane; each batch is an independent estimate.
    """

    depth_cm: Float
    off_axis_cm: Float
    dose: Float

    def axis(self, half_side_cm: float) -> tuple[Float, Float]:
        """Mean dose within a square about the axis by depth, and its standard error."""
        inside = self.off_axis_cm[1:] <= half_side_cm + 1e-9
        return mean_and_error(self.dose[:, :, inside][:, :, :, inside].mean(axis=(2, 3)))

    def profile(self, half_side_cm: float) -> tuple[Float, Float]:
        """Dose by depth and |x|, within a strip about x = 0 of this half width in y, and its standard error."""
        inside = self.off_axis_cm[1:] <= half_side_cm + 1e-9
        return mean_and_error(self.dose[:, :, :, inside].mean(axis=3))


def slab_dose(
    spectrum: Spectrum,
    field_cm: float,
    layers: Sequence[Layer],
    histories: int,
    seed: int,
    *,
    depth_bin_cm: float = 0.25,
    off_axis_bin_cm: float = 0.125,
    half_width_cm: float = 10.0,
    source_distance_cm: float = 100.0,
) -> SlabDose:
    """Dose of a square field of a point source with sharp edges, on layers without lateral end.

    Parameters
    ----------
    spectrum : Spectrum
        Photon number, the same in all directions.
    field_cm : float
        Side on the surface, which is in the isocentre plane; the photons are spread evenly over it.
    layers : sequence of (medium, g/cm3, cm)
        From the surface on.
    histories : int
        Photons.
    seed : int
    depth_bin_cm, off_axis_bin_cm : float
        Scoring bins.
    half_width_cm : float
        Scored up to this |x| and |y|.
    source_distance_cm : float
        From the source to the surface.
    """
    space = layers_of(layers)
    depths: Float = np.arange(round(space.ends[-1] / depth_bin_cm) + 1, dtype=np.float64) * depth_bin_cm
    edges: Float = np.arange(round(half_width_cm / off_axis_bin_cm) + 1, dtype=np.float64) * off_axis_bin_cm
    each = -(-histories // BATCHES)
    sums = np.zeros((BATCHES, len(depths) - 1, len(edges) - 1, len(edges) - 1))
    bins = Bins(np.zeros(3), np.array([off_axis_bin_cm, off_axis_bin_cm, depth_bin_cm]), True)
    _run(energies_of(spectrum), field_cm, source_distance_cm, space, each, seed, bins, sums)
    # Both foldings, |x| on |y|, are the same square.
    sums = 0.5 * (sums + sums.transpose(0, 1, 3, 2))
    middles = 0.5 * (depths[1:] + depths[:-1])
    mass = space.densities[np.searchsorted(space.ends, middles) - 1] * depth_bin_cm * 4 * off_axis_bin_cm**2
    fluence = each / field_cm**2
    return SlabDose(depths, edges, sums / mass[None, :, None, None] / fluence)


@numba.njit(cache=True, parallel=True)
def _run(
    energies: Energies, field: float, distance: float, space: Layers, each: int, seed: int, bins: Bins, sums: Float
) -> None:  # pragma: no cover - compiled
    for batch in numba.prange(sums.shape[0]):
        state = seeded(seed, batch)
        stack = np.empty((STACK, 9))
        place, direction, at = np.empty(3), np.empty(3), np.empty(3)
        for _ in range(each):
            first = drawn(energies, state)
            place[0], place[1] = field * (uniform(state) - 0.5), field * (uniform(state) - 0.5)
            place[2] = 0.0
            norm = 1.0 / np.sqrt(place[0] ** 2 + place[1] ** 2 + distance**2)
            direction[0], direction[1], direction[2] = place[0] * norm, place[1] * norm, distance * norm
            size = push(stack, 0, first, place, direction, PHOTON, FIRST_ELECTRON)
            follow(stack, size, space, bins, sums[batch], place, direction, at, state)
