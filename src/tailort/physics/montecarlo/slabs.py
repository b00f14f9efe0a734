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
from tailort.physics.montecarlo.transport import FIRST_ELECTRON, PHOTON, STACK, push, seeded
from tailort.physics.spectrum import Spectrum

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PencilDose:
    """What one ray leaves in layers, by depth and by how far from the ray: with it the dose of any field about it.

    A field of a point source is a bundle of rays. As long as they are nearly parallel each leaves what the middle one
    does, so the dose of a point is the sum over the rays that pass it, in the coordinates of the surface to which
    places are projected from the source. Every history counts for every point and every field: a field of 2 x 2 cm
    needs a hundredth of the photons that scoring about its axis would need.

    Parameters
    ----------
    depth_cm : (d + 1,) float
        Edges of the bins.
    across_cm : (n + 1,) float
        Edges in |x| and in |y| from the ray, projected to the surface.
    dose : (batches, d, n, n) float
        MeV/g times cm2 per photon, the sum over both signs of x and of y; each batch is an independent estimate.
    """

    depth_cm: Float
    across_cm: Float
    dose: Float

    def field(self, side_cm: float, half_cm: float, off_axis_cm: float = 0.0) -> tuple[Float, Float]:
        """Mean dose in a square about a point on x, by depth, and its standard error: MeV/g per photon/cm2.

        Parameters
        ----------
        side_cm : float
            Of the field on the surface.
        half_cm : float
            Half the side of the square, projected to the surface.
        off_axis_cm : float
            Of the point, projected to the surface.
        """
        x, y = (self._share(side_cm, half_cm, at) for at in (off_axis_cm, 0.0))
        return mean_and_error(np.einsum("bdmn,m,n->bd", self.dose, x, y, optimize=True))

    def _share(self, side_cm: float, half_cm: float, at_cm: float) -> Float:
        """Mean over an interval of the share of each bin from which rays of the field come."""
        points = at_cm + half_cm * (np.arange(32) + 0.5 - 16.0) / 16.0
        low, high = points[:, None] - side_cm / 2, points[:, None] + side_cm / 2
        inner, outer = self.across_cm[:-1], self.across_cm[1:]
        right = np.clip(np.minimum(outer, high) - np.maximum(inner, low), 0.0, None)
        left = np.clip(np.minimum(-inner, high) - np.maximum(-outer, low), 0.0, None)
        share: Float = 0.5 * (right + left).mean(axis=0) / (outer - inner)
        return share


def pencil_dose(
    spectrum: Spectrum,
    layers: Sequence[Layer],
    histories: int,
    seed: int,
    *,
    depth_bin_cm: float = 0.25,
    across_bin_cm: float = 0.125,
    reach_cm: float = 10.0,
    source_distance_cm: float = 100.0,
) -> PencilDose:
    """Dose of one ray of a point source, perpendicular to layers without lateral end.

    Parameters
    ----------
    spectrum : Spectrum
        Photon number.
    layers : sequence of (medium, g/cm3, cm)
        From the surface on, which is in the isocentre plane.
    histories : int
        Photons.
    seed : int
    depth_bin_cm, across_bin_cm : float
        Scoring bins.
    reach_cm : float
        Scored so far from the ray.
    source_distance_cm : float
        From the source to the surface.
    """
    space = layers_of(layers)
    depths: Float = np.arange(round(space.ends[-1] / depth_bin_cm) + 1, dtype=np.float64) * depth_bin_cm
    edges: Float = np.arange(round(reach_cm / across_bin_cm) + 1, dtype=np.float64) * across_bin_cm
    each = -(-histories // BATCHES)
    sums = np.zeros((BATCHES, len(depths) - 1, len(edges) - 1, len(edges) - 1))
    bins = Bins(np.zeros(3), np.array([across_bin_cm, across_bin_cm, depth_bin_cm]), True, 1.0 / source_distance_cm)
    _run(energies_of(spectrum), space, each, seed, bins, sums)
    middles = 0.5 * (depths[1:] + depths[:-1])
    mass = space.densities[np.searchsorted(space.ends, middles) - 1] * depth_bin_cm
    # Both foldings, |x| on |y|, are the same.
    return PencilDose(depths, edges, 0.5 * (sums + sums.transpose(0, 1, 3, 2)) / mass[None, :, None, None] / each)


@numba.njit(cache=True, parallel=True)
def _run(
    energies: Energies, space: Layers, each: int, seed: int, bins: Bins, sums: Float
) -> None:  # pragma: no cover - compiled
    for batch in numba.prange(sums.shape[0]):
        state = seeded(seed, batch)
        stack = np.empty((STACK, 9))
        place, direction, at = np.empty(3), np.empty(3), np.empty(3)
        for _ in range(each):
            first = drawn(energies, state)
            place[:] = 0.0
            direction[0], direction[1], direction[2] = 0.0, 0.0, 1.0
            size = push(stack, 0, first, place, direction, PHOTON, FIRST_ELECTRON)
            follow(stack, size, space, bins, sums[batch], place, direction, at, state)
