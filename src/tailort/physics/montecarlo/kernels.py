"""Energy-deposition kernels: what a photon that interacts at a point leaves around it in water."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.physics.montecarlo.materials import medium
from tailort.physics.montecarlo.transport import (
    ATTENUATION,
    DEFLECTION,
    ELECTRON_CUTOFF_MEV,
    FIRST_ELECTRON,
    LATER,
    PHOTON,
    POSITRON,
    RADIATIVE,
    SOFT_SHARE,
    STACK,
    STEP_LOSS,
    STOPPING,
    annihilate,
    interact,
    look,
    push,
    scatter_cosine,
    seeded,
    tables_of,
    turn,
    uniform,
)

Float = NDArray[np.float64]

RADII_CM = (
    0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    40.0, 50.0, 60.0,
)  # fmt: skip
CONES = 48
BATCHES = 20


def monoenergetic_kernel(energy_mev: float, histories: int, seed: int) -> tuple[Float, Float, Float, float]:
    """Shares of a photon's energy left in cells of polar angle and radius around its first interaction in water.

    Parameters
    ----------
    energy_mev : float
        0.02 to 15 MeV.
    histories : int
        Photons; rounded up to `BATCHES` equal batches.
    seed : int

    Returns
    -------
    total, primary : (CONES, radii) float
        Shares of the energy: all, and that of the charged particles of the first interaction without their
        bremsstrahlung and annihilation photons.
    error : (CONES, radii) float
        Standard error of `total`.
    beyond : float
        Share that leaves the largest sphere.
    """
    each = -(-histories // BATCHES)
    sums = np.zeros((BATCHES, 2, CONES, len(RADII_CM) + 1))
    _run(energy_mev, each, seed, tables_of([medium("water")]), np.array(RADII_CM) ** 2, STEP_LOSS, sums)
    sums /= each * energy_mev
    mean = sums.mean(axis=0)
    error = sums[:, 0].std(axis=0, ddof=1) / np.sqrt(BATCHES)
    return mean[0, :, :-1], mean[1, :, :-1], error[:, :-1], float(mean[0, :, -1].sum())


@numba.njit(cache=True, inline="always")
def _leave(
    energy: float, place: Float, primary: bool, radii2: Float, own: Float
) -> None:  # pragma: no cover - compiled
    r2 = place[0] ** 2 + place[1] ** 2 + place[2] ** 2
    shell = np.searchsorted(radii2, r2)
    cosine = place[2] / np.sqrt(r2) if r2 > 0 else 1.0
    cone = min(int(np.arccos(min(max(cosine, -1.0), 1.0)) * CONES / np.pi), CONES - 1)
    own[0, cone, shell] += energy
    if primary:
        own[1, cone, shell] += energy


@numba.njit(cache=True, parallel=True)
def _run(
    energy_mev: float, each: int, seed: int, tables: Float, radii2: Float, step_loss: float, sums: Float
) -> None:  # pragma: no cover - compiled
    table = tables[0]
    far2 = radii2[-1]
    for batch in numba.prange(sums.shape[0]):
        own = sums[batch]
        state = seeded(seed, batch)
        stack = np.empty((STACK, 9))
        place, direction, at = np.empty(3), np.empty(3), np.empty(3)
        for _ in range(each):
            place[:] = 0.0
            direction[:] = 0.0
            direction[2] = 1.0
            size, left = interact(energy_mev, place, direction, table, FIRST_ELECTRON, stack, 0, state)
            if left > 0.0:
                _leave(left, place, left < energy_mev * 0.999999, radii2, own)
            while size > 0:
                size -= 1
                energy, kind, generation = stack[size, 0], stack[size, 7], stack[size, 8]
                place[:] = stack[size, 1:4]
                direction[:] = stack[size, 4:7]
                if kind == PHOTON:
                    path = -np.log(uniform(state)) / look(table[ATTENUATION], energy)
                    for axis in range(3):
                        place[axis] += path * direction[axis]
                    if place[0] ** 2 + place[1] ** 2 + place[2] ** 2 > far2:
                        _leave(energy, place, False, radii2, own)
                        continue
                    size, left = interact(energy, place, direction, table, LATER, stack, size, state)
                    if left > 0.0:
                        _leave(left, place, False, radii2, own)
                    continue
                primary = generation == FIRST_ELECTRON
                while energy > ELECTRON_CUTOFF_MEV:
                    size, energy = _step(
                        energy, place, direction, table, step_loss, at, stack, size, state, primary, radii2, own
                    )
                _leave(energy, place, primary, radii2, own)
                if kind == POSITRON:
                    size = annihilate(place, direction, stack, size, state)


@numba.njit(cache=True)
def _step(
    energy: float,
    place: Float,
    direction: Float,
    table: Float,
    step_loss: float,
    at: Float,
    stack: Float,
    size: int,
    state: NDArray[np.uint64],
    primary: bool,
    radii2: Float,
    own: Float,
) -> Any:  # pragma: no cover - compiled
    """One step of an electron; return the stack's size and the energy after it."""
    loss = min(step_loss * energy, energy)
    middle = energy - 0.5 * loss
    length = loss / look(table[STOPPING], middle)
    hinge = uniform(state)
    mark = uniform(state)
    for n in range(2):
        part = length * (hinge if n == 0 else 1.0 - hinge)
        # The energy of the step is left at one place of it, drawn evenly along it.
        if (mark < hinge) == (n == 0):
            along = length * (mark if n == 0 else mark - hinge)
            for axis in range(3):
                at[axis] = place[axis] + along * direction[axis]
            _leave(loss, at, primary, radii2, own)
        for axis in range(3):
            place[axis] += part * direction[axis]
        if n == 0:
            turn(
                direction,
                scatter_cosine(length * look(table[DEFLECTION], middle), state),
                2.0 * np.pi * uniform(state),
            )
    energy -= loss
    # One photon stands for all of the step: its energy goes as 1/k, and so often that the mean loss is right.
    logs = -np.log(SOFT_SHARE)
    mean = (1.0 - SOFT_SHARE) * middle / logs
    if uniform(state) < length * look(table[RADIATIVE], middle) / mean:
        k = middle * np.exp(-logs * uniform(state))
        if k < energy and k > 0.01:
            size = push(stack, size, k, place, direction, PHOTON, LATER)
            energy -= k
    return size, energy
