"""Fit the constants of tailort.dose.bent_tracks to electrons: python tools/fit_bent_tracks.py [--photons N]."""

import argparse
import itertools
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tailort.physics import machine
from tailort.physics.attenuation import attenuation_cm2_g
from tailort.physics.montecarlo.histories import Energies, drawn, energies_of
from tailort.physics.montecarlo.materials import medium
from tailort.physics.montecarlo.transport import (
    ATTENUATION,
    DEFLECTION,
    ELECTRON_CUTOFF_MEV,
    FIRST_ELECTRON,
    PHOTON,
    STACK,
    STEP_LOSS,
    STOPPING,
    interact,
    look,
    scatter_cosine,
    seeded,
    tables_of,
    turn,
    uniform,
)
from tailort.physics.point_kernel import point_kernel
from tailort.physics.spectrum import Spectrum

Float = NDArray[np.float64]

MACHINES = ("point-6MV", "point-10MV-FFF")
# g/cm2 behind the last step of the density, and layers upstream from there: (density, g/cm2), the last without end.
BEHIND = (0.05, 0.15, 0.3, 0.5, 0.8, 1.2, 1.8)
FITTED = (
    ((0.26, 0.0), (1.0, 9.0)), ((0.4, 0.0), (1.0, 9.0)), ((1.85, 0.0), (1.0, 9.0)), ((1.0, 0.0), (0.26, 9.0)),
    ((1.0, 0.0), (1.85, 9.0)),
)  # fmt: skip
HELD_OUT = (((0.15, 0.0), (1.0, 9.0)), ((1.0, 0.0), (0.4, 9.0)), ((1.0, 0.0), (0.26, 0.78), (1.0, 9.0)))
# Depths upstream of the deposit at which densities are tabulated, g/cm2.
STEP, UP, DOWN = 0.02, 8.0, 2.0
# Wave numbers (1/cm), half widths of slits (cm), and the Gaussian by which voxels average, 1/cm.
WAVES = np.concatenate([[0.02, 0.05], np.geomspace(0.1, 12.0, 30)])
HALF_WIDTHS = np.array([1.0, 1.5, 2.5, 5.0])
VOXEL = 6.0


def inverse_densities() -> tuple[Float, NDArray[np.bool_]]:
    """1/density (profile, depth upstream) of all steps, and which are fitted."""
    up = np.arange(-DOWN, UP, STEP)
    rows = []
    for layers in (*FITTED, *HELD_OUT):
        for behind in BEHIND:
            row, end = np.full(len(up), 1.0 / layers[0][0]), behind
            for (_, thick), (density, _) in itertools.pairwise(layers):
                end += thick
                row[up > end] = 1.0 / density
            rows.append(row)
    return np.array(rows), np.repeat([True, False], [len(FITTED) * len(BEHIND), len(HELD_OUT) * len(BEHIND)])


@numba.njit
def _at(values: Float, depth: float) -> Any:
    place = min(max((depth + DOWN) / STEP, 0.0), values.size - 1.001)
    n = int(place)
    return values[n] + (place - n) * (values[n + 1] - values[n])


@numba.njit
def track(energies: Energies, table: Float, photons: int, inverse: Float, crossed: Float, waves: Float) -> Float:
    """Mean cosine of each wave at the deposits of bent and of straight tracks: (profile, wave, 2)."""
    state = seeded(3, 0)
    stack, way = np.empty((STACK, 9)), np.zeros((4096, 3))
    place, direction = np.empty(3), np.empty(3)
    sums, total = np.zeros((inverse.shape[0], waves.size, 2)), 0.0
    for _ in range(photons):
        first = drawn(energies, state)
        weight = look(table[ATTENUATION], first)
        place[:] = 0.0
        direction[0], direction[1], direction[2] = 0.0, 0.0, 1.0
        size, _ = interact(first, place, direction, table, FIRST_ELECTRON, stack, 0, state)
        while size > 0:
            size -= 1
            if stack[size, 7] == PHOTON:
                continue
            energy, kept, steps = stack[size, 0], 0.0, 0
            place[:], direction[:] = stack[size, 1:4], stack[size, 4:7]
            way[0] = place
            while energy > ELECTRON_CUTOFF_MEV:
                loss = STEP_LOSS * energy
                length = loss / look(table[STOPPING], energy - 0.5 * loss)
                hinge = uniform(state)
                place += length * hinge * direction
                strength = length * look(table[DEFLECTION], energy - 0.5 * loss)
                turn(direction, scatter_cosine(strength, state), 2 * np.pi * uniform(state))
                place += length * (1.0 - hinge) * direction
                steps += 1
                way[steps] = place
                energy -= loss
                kept += weight * loss
                # What a few steps leave is counted together.
                if uniform(state) < 0.7 and energy > ELECTRON_CUTOFF_MEV:
                    continue
                total += kept
                for b in range(inverse.shape[0]):
                    x, y = 0.0, 0.0
                    for n in range(1, steps + 1):
                        scale = _scale(inverse[b], crossed[b], place[2] - way[n - 1, 2], place[2] - way[n, 2])
                        x += scale * (way[n, 0] - way[n - 1, 0])
                        y += scale * (way[n, 1] - way[n - 1, 1])
                    scale = _scale(inverse[b], crossed[b], place[2], 0.0)
                    for m in range(waves.size):
                        k = waves[m]
                        sums[b, m, 0] += 0.5 * kept * (np.cos(k * x) + np.cos(k * y))
                        sums[b, m, 1] += 0.5 * kept * (np.cos(k * scale * place[0]) + np.cos(k * scale * place[1]))
                kept = 0.0
    return sums / total


@numba.njit
def _scale(inverse: Float, crossed: Float, one: float, other: float) -> Any:
    """Mean 1/density between two depths upstream."""
    if abs(one - other) < 1e-4:
        return _at(inverse, one)
    return (_at(crossed, one) - _at(crossed, other)) / (one - other)


def in_slits(cosines: Float) -> Float:
    """Shares of the energy within the half widths, of mean cosines (profile, wave)."""
    k = np.concatenate([[0.0], np.geomspace(0.01, 12.0, 600)])
    nodes = np.concatenate([[0.0], WAVES])
    full = np.concatenate([np.ones((len(cosines), 1)), cosines], axis=1)
    fine = np.array([np.interp(k, nodes, row) for row in full])
    window = np.exp(-((k / VOXEL) ** 2)) * np.gradient(k)
    shares: Float = (fine * window) @ (2 / np.pi * np.sinc(k[:, None] * HALF_WIDTHS / np.pi) * HALF_WIDTHS)
    return shares


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photons", type=int, default=40_000)
    options = parser.parse_args()
    inverse, fitted = inverse_densities()
    crossed = np.cumsum(inverse, axis=1) * STEP - 0.5 * STEP * inverse
    up = np.arange(-DOWN, UP, STEP)
    cosines, radii = [], []
    for name in MACHINES:
        beam = machine(name).spectrum
        hardened = beam.number * np.exp(-5.0 * attenuation_cm2_g("water", beam.energies_mev))
        spectrum = energies_of(Spectrum(beam.energies_mev, hardened))
        cosines.append(track(spectrum, tables_of([medium("water")])[0], options.photons, inverse, crossed, WAVES))
        radii.append(point_kernel(beam).primary_radius)

    def misses(log: Float, rows: NDArray[np.bool_]) -> list[Float]:
        short, long, strength, reach = np.exp(log)
        out = []
        for found, radius in zip(cosines, radii, strict=True):
            means = []
            for length in (short, long):
                weights = np.where(up >= 0, np.exp(-np.maximum(up, 0.0) / (length * radius)), 0.0)
                means.append(inverse @ weights / weights.sum())
            share = strength * np.log(means[0] / means[1])
            far = reach * radius * np.sqrt(means[0] * means[1])
            spread = 1.0 / np.sqrt(1.0 + (far[:, None] * WAVES) ** 2)
            made = found[..., 1] * (1.0 - share[:, None] * (1.0 - spread))
            out.append((in_slits(made) - in_slits(found[..., 0]))[rows])
        return out

    start = np.log([0.1, 1.0, 0.25, 1.0])
    best = optimize.least_squares(lambda log: np.concatenate([m.ravel() for m in misses(log, fitted)]), start).x
    print("SHORT, LONG, STRENGTH, REACH", np.round(np.exp(best), 3))
    for label, rows in (("fitted", fitted), ("held out", ~fitted)):
        for name, found, left in zip(MACHINES, cosines, misses(best, rows), strict=True):
            before = (in_slits(found[..., 1]) - in_slits(found[..., 0]))[rows]
            rms = [100 * np.sqrt(np.mean(values**2)) for values in (before, left)]
            print(f"{label}, {name}: {rms[0]:.2f} % rms of straight tracks, {rms[1]:.2f} % left")


main()
