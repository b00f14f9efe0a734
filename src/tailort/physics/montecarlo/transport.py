"""One photon's history, and all that it sets moving."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.physics.montecarlo.materials import ELECTRON_MASS_MEV, FIRST_MEV, LAST_MEV, NODES, Medium

Float = NDArray[np.float64]

# Electrons lose this share of their energy in a step, and stop at the cut-off; photons below theirs are absorbed.
STEP_LOSS = 0.08
ELECTRON_CUTOFF_MEV = 0.1
PHOTON_CUTOFF_MEV = 0.01
# Bremsstrahlung photons of less than this share of the electron's energy are part of the continuous loss.
SOFT_SHARE = 0.01
# Rows of a medium's table.
ATTENUATION, COMPTON, PAIR, STOPPING, RADIATIVE, DEFLECTION = range(6)
# Particles waiting: energy, place (3), direction (3), kind, generation.
STACK = 256
PHOTON, ELECTRON, POSITRON = 0.0, 1.0, 2.0
FIRST_ELECTRON, LATER = 0.0, 1.0

_LOG_STEP = (NODES - 1) / np.log(LAST_MEV / FIRST_MEV)
_LOG_FIRST = np.log(FIRST_MEV)
_M = ELECTRON_MASS_MEV


def tables_of(media: list[Medium]) -> Float:
    """Tables (medium, row, energy) for the compiled transport."""
    return np.stack(
        [np.stack([m.attenuation, m.compton, m.pair, m.stopping, m.radiative, m.deflection]) for m in media]
    )


@numba.njit(cache=True, inline="always")
def uniform(state: NDArray[np.uint64]) -> Any:  # pragma: no cover - compiled
    """Next number in (0, 1) of a xorshift64* generator."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return (np.float64((x * np.uint64(2685821657736338717)) >> np.uint64(11)) + 0.5) * 1.1102230246251565e-16


@numba.njit(cache=True)
def seeded(seed: int, stream: int) -> NDArray[np.uint64]:  # pragma: no cover - compiled
    """State of a generator; streams of a seed are unrelated (splitmix64)."""
    z = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(stream + 1) * np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = np.empty(1, dtype=np.uint64)
    state[0] = (z ^ (z >> np.uint64(31))) | np.uint64(1)
    return state


@numba.njit(cache=True, inline="always")
def look(table: Float, energy: float) -> Any:  # pragma: no cover - compiled
    """Value of a table at an energy, linear in the logarithm of the energy."""
    place = (np.log(energy) - _LOG_FIRST) * _LOG_STEP
    n = min(max(int(place), 0), NODES - 2)
    return table[n] + (place - n) * (table[n + 1] - table[n])


@numba.njit(cache=True, inline="always")
def turn(direction: Float, cosine: float, azimuth: float) -> None:  # pragma: no cover - compiled
    """Deflect a direction in place."""
    sine = np.sqrt(max(0.0, 1.0 - cosine * cosine))
    c, s = np.cos(azimuth), np.sin(azimuth)
    x, y, z = direction[0], direction[1], direction[2]
    across = np.sqrt(x * x + y * y)
    if across < 1e-7:
        direction[0], direction[1], direction[2] = sine * c, sine * s, cosine * np.sign(z)
    else:
        direction[0] = x * cosine + sine * (x * z * c - y * s) / across
        direction[1] = y * cosine + sine * (y * z * c + x * s) / across
        direction[2] = z * cosine - sine * across * c
    norm = 1.0 / np.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
    direction[0] *= norm
    direction[1] *= norm
    direction[2] *= norm


@numba.njit(cache=True)
def compton_share(energy: float, state: NDArray[np.uint64]) -> Any:  # pragma: no cover - compiled
    """Sample the share of its energy that a Compton-scattered photon keeps, by Klein-Nishina."""
    a = energy / _M
    least = 1.0 / (1.0 + 2.0 * a)
    one, two = -np.log(least), 0.5 * (1.0 - least * least)
    while True:
        if uniform(state) * (one + two) < one:
            share = np.exp(-one * uniform(state))
        else:
            share = np.sqrt(least * least + (1.0 - least * least) * uniform(state))
        t = (1.0 - share) / (a * share)
        if uniform(state) < 1.0 - share * t * (2.0 - t) / (1.0 + share * share):
            return share


@numba.njit(cache=True, inline="always")
def push(
    stack: Float, size: int, energy: float, place: Float, direction: Float, kind: float, generation: float
) -> int:  # pragma: no cover - compiled
    """Put a particle on the stack; return the new size."""
    own = stack[size]
    own[0], own[7], own[8] = energy, kind, generation
    own[1], own[2], own[3] = place[0], place[1], place[2]
    own[4], own[5], own[6] = direction[0], direction[1], direction[2]
    return size + 1


@numba.njit(cache=True, inline="always")
def annihilate(
    place: Float, direction: Float, stack: Float, size: int, state: NDArray[np.uint64]
) -> int:  # pragma: no cover - compiled
    """Put the two photons of a positron at rest on the stack; return its new size."""
    cosine = 2.0 * uniform(state) - 1.0
    sine, azimuth = np.sqrt(1.0 - cosine * cosine), 2.0 * np.pi * uniform(state)
    direction[0], direction[1], direction[2] = sine * np.cos(azimuth), sine * np.sin(azimuth), cosine
    size = push(stack, size, _M, place, direction, PHOTON, LATER)
    for axis in range(3):
        direction[axis] = -direction[axis]
    return push(stack, size, _M, place, direction, PHOTON, LATER)


@numba.njit(cache=True)
def interact(
    energy: float,
    place: Float,
    direction: Float,
    table: Float,
    generation: float,
    stack: Float,
    size: int,
    state: NDArray[np.uint64],
) -> Any:  # pragma: no cover - compiled
    """Let a photon interact; return the stack's new size and the energy that is absorbed on the spot."""
    dice = uniform(state)
    compton = look(table[COMPTON], energy)
    new = np.empty(3)
    if dice < compton:
        share = compton_share(energy, state)
        a = energy / _M
        azimuth = 2.0 * np.pi * uniform(state)
        kinetic = energy * (1.0 - share)
        left = 0.0
        if kinetic > ELECTRON_CUTOFF_MEV:
            new[:] = direction
            turn(new, (energy + _M) / energy * np.sqrt(kinetic / (kinetic + 2.0 * _M)), azimuth + np.pi)
            size = push(stack, size, kinetic, place, new, ELECTRON, generation)
        else:
            left = kinetic
        new[:] = direction
        turn(new, 1.0 - (1.0 - share) / (a * share), azimuth)
        if energy * share > PHOTON_CUTOFF_MEV:
            size = push(stack, size, energy * share, place, new, PHOTON, LATER)
        else:
            left += energy * share
        return size, left
    if dice < compton + look(table[PAIR], energy):
        kinetic = energy - 2.0 * _M
        share = uniform(state)
        for n in range(2):
            own = kinetic * (share if n == 0 else 1.0 - share)
            new[:] = direction
            turn(new, np.cos(_M / (own + _M) * min(1.0, own / 0.05)), 2.0 * np.pi * uniform(state))
            size = push(stack, size, own, place, new, ELECTRON if n == 0 else POSITRON, generation)
        return size, 0.0
    if energy > ELECTRON_CUTOFF_MEV:
        return push(stack, size, energy, place, direction, ELECTRON, generation), 0.0
    return size, energy


@numba.njit(cache=True, inline="always")
def scatter_cosine(strength: float, state: NDArray[np.uint64]) -> Any:  # pragma: no cover - compiled
    """Cosine of the deflection over a step whose mean cosine is exp(-strength), small angles exponential in 1 - cos."""
    wanted = 1.0 - np.exp(-strength)
    # Width b of exp(-x/b) on 0..2 with mean `wanted`: two steps of the fixed point b = mean + 2/(exp(2/b) - 1).
    b = wanted
    for _ in range(6):
        if b > 0.05:
            b = wanted + 2.0 / np.expm1(min(2.0 / b, 700.0))
    x = -b * np.log(1.0 - uniform(state) * (1.0 - np.exp(-min(2.0 / b, 700.0))))
    return 1.0 - min(x, 2.0)
