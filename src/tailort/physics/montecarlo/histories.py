"""Histories of photons and of all that they set moving, in layers along z within walls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.physics.montecarlo.materials import ELECTRON_MASS_MEV, medium
from tailort.physics.montecarlo.transport import (
    ATTENUATION,
    DEFLECTION,
    ELECTRON_CUTOFF_MEV,
    FIRST_ELECTRON,
    PHOTON,
    POSITRON,
    RADIATIVE,
    SOFT_SHARE,
    STEP_LOSS,
    STOPPING,
    annihilate,
    interact,
    look,
    push,
    scatter_cosine,
    tables_of,
    turn,
    uniform,
)
from tailort.physics.spectrum import Spectrum

Float = NDArray[np.float64]
Layer = tuple[str, float, float]

BATCHES = 20
MEDIA = ("water", "lung", "bone")
# A particle on a boundary is put this far beyond it, cm.
BEYOND_CM = 1e-7
# Photons that interact farther from the axis than this are lost, cm: what is left of them would not come back.
LOST_CM = 100.0
# What a positron gives back when it comes to rest, MeV.
_PAIR_MEV = 2 * ELECTRON_MASS_MEV


class Layers(NamedTuple):
    """What the particles fly through; outside is vacuum.

    Parameters
    ----------
    ends : (n + 1,) float
        z of the layers' faces, ascending, cm.
    walls : (2,) float
        Half widths in x and y, cm; infinite without walls.
    densities : (n,) float
        g/cm3.
    of_medium : (n,) int
        Row of `tables`.
    tables : (media, rows, energies) float
        See `tables_of`.
    """

    ends: Float
    walls: Float
    densities: Float
    of_medium: NDArray[np.int64]
    tables: Float


class Bins(NamedTuple):
    """Where energy is scored.

    Parameters
    ----------
    low, width : (3,) float
        First faces and widths along x, y, z, cm.
    folded : bool
        Whether |x| and |y| are counted.
    divergence : float
        By which x and y are counted smaller, and areas larger, for each cm of z, 1/cm.
    """

    low: Float
    width: Float
    folded: bool
    divergence: float = 0.0


class Energies(NamedTuple):
    """A spectrum to draw from: middles and widths of the bins, MeV, and the cumulated photon number."""

    middles: Float
    widths: Float
    cumulative: Float


def layers_of(layers: Sequence[Layer], first_cm: float = 0.0, walls_cm: tuple[float, float] | None = None) -> Layers:
    """Layers of (medium, g/cm3, cm) from a first face on, within walls or without lateral end."""
    return Layers(
        first_cm + np.cumsum([0.0, *(thickness for _, _, thickness in layers)]),
        np.array(walls_cm or (np.inf, np.inf), dtype=np.float64),
        np.array([density for _, density, _ in layers], dtype=np.float64),
        np.array([MEDIA.index(name) for name, _, _ in layers], dtype=np.int64),
        tables_of([medium(name) for name in MEDIA]),
    )


def energies_of(spectrum: Spectrum) -> Energies:
    """A spectrum to draw from."""
    middles = np.array(spectrum.energies_mev)
    widths = np.gradient(middles) if len(middles) > 1 else np.zeros(1)
    return Energies(middles, widths, np.cumsum(spectrum.number))


def mean_and_error(batches: Float) -> tuple[Float, Float]:
    """Mean over batches (the first axis) and its standard error."""
    return batches.mean(axis=0), batches.std(axis=0, ddof=1) / np.sqrt(len(batches))


@numba.njit(cache=True, inline="always")
def drawn(energies: Energies, state: NDArray[np.uint64]) -> Any:  # pragma: no cover - compiled
    """Energy of a photon, evenly within its bin, MeV."""
    n = np.searchsorted(energies.cumulative, uniform(state) * energies.cumulative[-1])
    return max(energies.middles[n] + energies.widths[n] * (uniform(state) - 0.5), 0.011)


@numba.njit(cache=True, inline="always")
def _leave(energy: float, at: Float, bins: Bins, own: Float) -> None:  # pragma: no cover - compiled
    x, y = (abs(at[0]), abs(at[1])) if bins.folded else (at[0], at[1])
    far = 1.0 + bins.divergence * at[2]
    x, y, z = x / far - bins.low[0], y / far - bins.low[1], at[2] - bins.low[2]
    if x < 0.0 or y < 0.0 or z < 0.0:
        return
    k, m, n = int(z / bins.width[2]), int(x / bins.width[0]), int(y / bins.width[1])
    if k < own.shape[0] and m < own.shape[1] and n < own.shape[2]:
        own[k, m, n] += energy / (far * far)


@numba.njit(cache=True, inline="always")
def _move(place: Float, direction: Float, length: float, walls: Float) -> Any:  # pragma: no cover - compiled
    """Move by a length; return whether this ends within the walls, and then so did all of the way."""
    for axis in range(3):
        place[axis] += length * direction[axis]
    return abs(place[0]) <= walls[0] and abs(place[1]) <= walls[1]


@numba.njit(cache=True, inline="always")
def _to_end(place: Float, direction: Float, layer: int, ends: Float) -> Any:  # pragma: no cover - compiled
    """Way to the end of the layer, cm."""
    z = direction[2]
    if z > 0.0:
        return max((ends[layer + 1] - place[2]) / z, 0.0)
    if z < 0.0:
        return max((ends[layer] - place[2]) / z, 0.0)
    return 1e30


@numba.njit(cache=True)
def _fly(
    place: Float, direction: Float, path_g: float, layer: int, space: Layers
) -> Any:  # pragma: no cover - compiled
    """Move by a path in g/cm2 through the layers; return the layer, -1 outside."""
    while True:
        to_end = _to_end(place, direction, layer, space.ends)
        length = path_g / space.densities[layer]
        if length <= to_end:
            return layer if _move(place, direction, length, space.walls) else -1
        if not _move(place, direction, to_end + BEYOND_CM, space.walls):
            return -1
        path_g -= to_end * space.densities[layer]
        layer += 1 if direction[2] > 0.0 else -1
        if layer < 0 or layer >= space.densities.size:
            return -1


@numba.njit(cache=True)
def _to_interaction(
    energy: float, place: Float, direction: Float, layer: int, space: Layers, state: NDArray[np.uint64]
) -> Any:  # pragma: no cover - compiled
    """Move a photon to its next interaction; return the layer, -1 outside."""
    # The optical path is used up layer by layer, each with its own attenuation.
    optical = -np.log(uniform(state))
    while True:
        mu = look(space.tables[space.of_medium[layer], ATTENUATION], energy)
        to_end = _to_end(place, direction, layer, space.ends)
        length = optical / mu / space.densities[layer]
        if length <= to_end:
            inside = _move(place, direction, length, space.walls)
            return layer if inside and abs(place[0]) <= LOST_CM and abs(place[1]) <= LOST_CM else -1
        if not _move(place, direction, to_end + BEYOND_CM, space.walls):
            return -1
        optical -= to_end * space.densities[layer] * mu
        layer += 1 if direction[2] > 0.0 else -1
        if layer < 0 or layer >= space.densities.size:
            return -1


@numba.njit(cache=True)
def follow(
    stack: Float,
    size: int,
    space: Layers,
    bins: Bins,
    own: Float,
    place: Float,
    direction: Float,
    at: Float,
    state: NDArray[np.uint64],
) -> Any:  # pragma: no cover - compiled
    """Follow the particles on a stack, and all that they set moving, until none is left.

    Parameters
    ----------
    stack, size : (STACK, 9) float and int
        Particles within the layers.
    space, bins : Layers and Bins
    own : (z, x, y) float
        Energy left in each bin, MeV; added to.
    place, direction, at : (3,) float
        Room to work in.
    state : (1,) uint64
        Of the generator.

    Returns
    -------
    float
        Energy that left the layers, MeV.
    """
    gone = 0.0
    while size > 0:
        size -= 1
        energy, kind = stack[size, 0], stack[size, 7]
        place[:] = stack[size, 1:4]
        direction[:] = stack[size, 4:7]
        layer = min(max(np.searchsorted(space.ends, place[2], side="right") - 1, 0), space.densities.size - 1)
        if kind == PHOTON:
            layer = _to_interaction(energy, place, direction, layer, space, state)
            if layer < 0:
                gone += energy
                continue
            table = space.tables[space.of_medium[layer]]
            size, left = interact(energy, place, direction, table, FIRST_ELECTRON, stack, size, state)
            if left > 0.0:
                _leave(left, place, bins, own)
            continue
        while energy > ELECTRON_CUTOFF_MEV and layer >= 0:
            table = space.tables[space.of_medium[layer]]
            loss = STEP_LOSS * energy
            middle = energy - 0.5 * loss
            length = loss / look(table[STOPPING], middle)
            hinge, mark = uniform(state), uniform(state)
            before = mark < hinge
            # The energy of the step is left at one place of it, drawn evenly along it.
            left_here = False
            if before:
                at[:] = place
                left_here = _fly(at, direction, length * mark, layer, space) >= 0
                if left_here:
                    _leave(loss, at, bins, own)
            layer = _fly(place, direction, length * hinge, layer, space)
            if layer >= 0:
                strength = length * look(table[DEFLECTION], middle)
                turn(direction, scatter_cosine(strength, state), 2.0 * np.pi * uniform(state))
                if not before:
                    at[:] = place
                    left_here = _fly(at, direction, length * (mark - hinge), layer, space) >= 0
                    if left_here:
                        _leave(loss, at, bins, own)
                layer = _fly(place, direction, length * (1.0 - hinge), layer, space)
            if left_here:
                energy -= loss
            if layer < 0:
                break
            logs = -np.log(SOFT_SHARE)
            mean = (1.0 - SOFT_SHARE) * middle / logs
            if uniform(state) < length * look(table[RADIATIVE], middle) / mean:
                k = middle * np.exp(-logs * uniform(state))
                if k < energy and k > 0.01:
                    size = push(stack, size, k, place, direction, PHOTON, FIRST_ELECTRON)
                    energy -= k
        if layer >= 0:
            _leave(energy, place, bins, own)
            if kind == POSITRON:
                size = annihilate(place, direction, stack, size, state)
        else:
            gone += energy + (_PAIR_MEV if kind == POSITRON else 0.0)
    return gone
