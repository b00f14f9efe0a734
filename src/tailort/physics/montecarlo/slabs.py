"""Dose of an open field in water, lung and bone in layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.physics.montecarlo.kernels import annihilate
from tailort.physics.montecarlo.materials import medium
from tailort.physics.montecarlo.transport import (
    ATTENUATION,
    DEFLECTION,
    ELECTRON_CUTOFF_MEV,
    FIRST_ELECTRON,
    PHOTON,
    POSITRON,
    RADIATIVE,
    SOFT_SHARE,
    STACK,
    STEP_LOSS,
    STOPPING,
    interact,
    look,
    push,
    scatter_cosine,
    seeded,
    tables_of,
    turn,
    uniform,
)
from tailort.physics.spectrum import Spectrum

Float = NDArray[np.float64]

BATCHES = 20
MEDIA = ("water", "lung", "bone")
# A particle on a boundary is put this far beyond it, cm.
BEYOND_CM = 1e-7


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
        return _mean_and_error(self.dose[:, :, inside][:, :, :, inside].mean(axis=(2, 3)))

    def profile(self, half_side_cm: float) -> tuple[Float, Float]:
        """Dose by depth and |x|, within a strip about x = 0 of this half width in y, and its standard error."""
        inside = self.off_axis_cm[1:] <= half_side_cm + 1e-9
        return _mean_and_error(self.dose[:, :, :, inside].mean(axis=3))


def _mean_and_error(batches: Float) -> tuple[Float, Float]:
    return batches.mean(axis=0), batches.std(axis=0, ddof=1) / np.sqrt(len(batches))


def slab_dose(
    spectrum: Spectrum,
    field_cm: float,
    layers: Sequence[tuple[str, float, float]],
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
    ends = np.cumsum([0.0, *(thickness for _, _, thickness in layers)])
    densities = np.array([density for _, density, _ in layers])
    of_medium = np.array([MEDIA.index(name) for name, _, _ in layers])
    depths: Float = np.arange(round(ends[-1] / depth_bin_cm) + 1, dtype=np.float64) * depth_bin_cm
    edges: Float = np.arange(round(half_width_cm / off_axis_bin_cm) + 1, dtype=np.float64) * off_axis_bin_cm
    each = -(-histories // BATCHES)
    sums = np.zeros((BATCHES, len(depths) - 1, len(edges) - 1, len(edges) - 1))
    cumulative = np.cumsum(spectrum.number)
    energies = spectrum.energies_mev
    widths = np.gradient(energies) if len(energies) > 1 else np.zeros(1)
    _run(
        energies, widths, cumulative, field_cm, source_distance_cm, ends, densities, of_medium, each, seed,
        tables_of([medium(name) for name in MEDIA]), depth_bin_cm, off_axis_bin_cm, sums,
    )  # fmt: skip
    # Both foldings, |x| on |y|, are the same square.
    sums = 0.5 * (sums + sums.transpose(0, 1, 3, 2))
    middles = 0.5 * (depths[1:] + depths[:-1])
    mass = densities[np.searchsorted(ends, middles) - 1] * depth_bin_cm * 4 * off_axis_bin_cm**2
    fluence = each / field_cm**2
    return SlabDose(depths, edges, sums / mass[None, :, None, None] / fluence)


@numba.njit(cache=True, inline="always")
def _leave(
    energy: float, at: Float, depth_bin: float, side_bin: float, own: Float
) -> None:  # pragma: no cover - compiled
    if at[2] < 0.0:
        return
    d, m, n = int(at[2] / depth_bin), int(abs(at[0]) / side_bin), int(abs(at[1]) / side_bin)
    if d < own.shape[0] and m < own.shape[1] and n < own.shape[2]:
        own[d, m, n] += energy


@numba.njit(cache=True)
def _fly(
    place: Float, direction: Float, path_g: float, layer: int, ends: Float, densities: Float
) -> Any:  # pragma: no cover - compiled
    """Move by a path in g/cm2 through the layers; return the layer, -1 outside, and what of the path is left."""
    while True:
        z = direction[2]
        if z > 0.0:
            to_end = (ends[layer + 1] - place[2]) / z
        elif z < 0.0:
            to_end = (ends[layer] - place[2]) / z
        else:
            to_end = 1e30
        to_end = max(to_end, 0.0)
        length = path_g / densities[layer]
        if length <= to_end:
            for axis in range(3):
                place[axis] += length * direction[axis]
            return layer, 0.0
        for axis in range(3):
            place[axis] += (to_end + BEYOND_CM) * direction[axis]
        path_g -= to_end * densities[layer]
        layer += 1 if z > 0.0 else -1
        if layer < 0 or layer >= densities.size:
            return -1, path_g


@numba.njit(cache=True, parallel=True)
def _run(
    energies: Float,
    widths: Float,
    cumulative: Float,
    field: float,
    distance: float,
    ends: Float,
    densities: Float,
    of_medium: NDArray[np.int64],
    each: int,
    seed: int,
    tables: Float,
    depth_bin: float,
    side_bin: float,
    sums: Float,
) -> None:  # pragma: no cover - compiled
    for batch in numba.prange(sums.shape[0]):
        own = sums[batch]
        state = seeded(seed, batch)
        stack = np.empty((STACK, 9))
        place, direction, at = np.empty(3), np.empty(3), np.empty(3)
        for _ in range(each):
            n = np.searchsorted(cumulative, uniform(state) * cumulative[-1])
            first = max(energies[n] + widths[n] * (uniform(state) - 0.5), 0.011)
            place[0], place[1] = field * (uniform(state) - 0.5), field * (uniform(state) - 0.5)
            place[2] = 0.0
            norm = 1.0 / np.sqrt(place[0] ** 2 + place[1] ** 2 + distance**2)
            direction[0], direction[1], direction[2] = place[0] * norm, place[1] * norm, distance * norm
            size = push(stack, 0, first, place, direction, PHOTON, FIRST_ELECTRON)
            while size > 0:
                size -= 1
                energy, kind = stack[size, 0], stack[size, 7]
                place[:] = stack[size, 1:4]
                direction[:] = stack[size, 4:7]
                layer = min(max(np.searchsorted(ends, place[2], side="right") - 1, 0), densities.size - 1)
                if kind == PHOTON:
                    # The optical path is used up layer by layer, each with its own attenuation.
                    optical = -np.log(uniform(state))
                    while layer >= 0:
                        mu = look(tables[of_medium[layer], ATTENUATION], energy)
                        path = optical / mu
                        z = direction[2]
                        to_end = (
                            (ends[layer + 1] - place[2]) / z if z > 0 else (ends[layer] - place[2]) / min(z, -1e-30)
                        )
                        to_end = max(to_end, 0.0)
                        length = path / densities[layer]
                        if length <= to_end:
                            for axis in range(3):
                                place[axis] += length * direction[axis]
                            break
                        for axis in range(3):
                            place[axis] += (to_end + BEYOND_CM) * direction[axis]
                        optical -= to_end * densities[layer] * mu
                        layer += 1 if z > 0 else -1
                        if layer >= densities.size:
                            layer = -1
                    if layer < 0 or abs(place[0]) > 100.0 or abs(place[1]) > 100.0:
                        continue
                    size, left = interact(
                        energy, place, direction, tables[of_medium[layer]], FIRST_ELECTRON, stack, size, state
                    )
                    if left > 0.0:
                        _leave(left, place, depth_bin, side_bin, own)
                    continue
                while energy > ELECTRON_CUTOFF_MEV and layer >= 0:
                    table = tables[of_medium[layer]]
                    loss = STEP_LOSS * energy
                    middle = energy - 0.5 * loss
                    length = loss / look(table[STOPPING], middle)
                    hinge, mark = uniform(state), uniform(state)
                    before = mark < hinge
                    if before:
                        at[:] = place
                        inside, _ = _fly(at, direction, length * mark, layer, ends, densities)
                        if inside >= 0:
                            _leave(loss, at, depth_bin, side_bin, own)
                    layer, _ = _fly(place, direction, length * hinge, layer, ends, densities)
                    if layer < 0:
                        break
                    strength = length * look(table[DEFLECTION], middle)
                    turn(direction, scatter_cosine(strength, state), 2.0 * np.pi * uniform(state))
                    if not before:
                        at[:] = place
                        inside, _ = _fly(at, direction, length * (mark - hinge), layer, ends, densities)
                        if inside >= 0:
                            _leave(loss, at, depth_bin, side_bin, own)
                    layer, _ = _fly(place, direction, length * (1.0 - hinge), layer, ends, densities)
                    energy -= loss
                    logs = -np.log(SOFT_SHARE)
                    mean = (1.0 - SOFT_SHARE) * middle / logs
                    if layer >= 0 and uniform(state) < length * look(table[RADIATIVE], middle) / mean:
                        k = middle * np.exp(-logs * uniform(state))
                        if k < energy and k > 0.01:
                            size = push(stack, size, k, place, direction, PHOTON, FIRST_ELECTRON)
                            energy -= k
                if layer >= 0:
                    _leave(energy, place, depth_bin, side_bin, own)
                    if kind == POSITRON:
                        size = annihilate(place, direction, stack, size, state)
