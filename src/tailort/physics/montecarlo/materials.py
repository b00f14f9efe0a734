"""Cross sections of photons and stopping powers of electrons, tabulated for the transport."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.physics.attenuation import attenuation_cm2_g, energy_absorption_cm2_g

Float = NDArray[np.float64]

ELECTRON_MASS_MEV = 0.51099895
# Classical electron radius, cm; electrons per gram of water.
ELECTRON_RADIUS_CM = 2.8179403e-13
WATER_ELECTRONS_PER_G = 3.3428e23
FINE_STRUCTURE = 1 / 137.035999

# Common logarithmic lattice of kinetic and photon energies, MeV.
FIRST_MEV, LAST_MEV, NODES = 0.01, 20.0, 600
PAIR_THRESHOLD_MEV = 2 * ELECTRON_MASS_MEV
# Above this the photoelectric effect is carried on as E^-3; mu_en less Compton tells it below.
PHOTO_KNOWN_TO_MEV = 0.15


@dataclass(frozen=True)
class _Composition:
    """What a medium is made of.

    Parameters
    ----------
    electrons : float
        Per gram, relative to water.
    excitation_ev : float
        Mean excitation energy I.
    density_effect : tuple of float
        x0, x1, a, m, -C of Sternheimer's parametrisation.
    shares : dict
        Atomic number to share of mass, with the atomic weight: {Z: (share, A)}.
    radiative : float
        Radiative stopping power relative to water's.
    """

    electrons: float
    excitation_ev: float
    density_effect: tuple[float, float, float, float, float]
    shares: dict[int, tuple[float, float]]
    radiative: float


# Elements: ICRU 44 compositions. I values and density effect: recalled (ICRU 37; Sternheimer), water's as in the
# reference; radiative stopping power goes as Z(Z+1).
_COMPOSITIONS = {
    "water": _Composition(
        1.0, 75.0, (0.2400, 2.8004, 0.09116, 3.4773, 3.5017), {1: (0.1119, 1.008), 8: (0.8881, 15.999)}, 1.0
    ),
    "lung": _Composition(
        0.992,
        75.3,
        (0.2261, 2.8001, 0.08588, 3.5353, 3.4708),
        {1: (0.103, 1.008), 6: (0.105, 12.011), 7: (0.031, 14.007), 8: (0.749, 15.999), 17: (0.012, 35.0)},
        1.0,
    ),
    "bone": _Composition(
        0.927,
        112.0,
        (0.1161, 3.0919, 0.06198, 3.5919, 3.6488),
        {
            1: (0.034, 1.008), 6: (0.155, 12.011), 7: (0.042, 14.007), 8: (0.435, 15.999), 12: (0.003, 24.3),
            15: (0.103, 30.97), 20: (0.228, 40.08),
        },
        1.6,
    ),
}  # fmt: skip

# Radiative stopping power of water, MeV cm2/g, recalled from ESTAR within a few per cent.
_RADIATIVE = np.array(
    [[0.01, 3.9e-3], [0.1, 5.8e-3], [0.5, 9.0e-3], [1.0, 1.28e-2], [2.0, 2.68e-2], [5.0, 8.0e-2], [10.0, 0.183],
     [20.0, 0.40]]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Medium:
    """Tables of one medium on the common lattice of energies (`NODES`).

    Parameters
    ----------
    name : str
    attenuation, compton, pair : (n,) float
        Photons: all processes, and the shares of two of them; cm2/g and 1.
    stopping : (n,) float
        Collision stopping power, MeV cm2/g.
    radiative : (n,) float
        Radiative stopping power, MeV cm2/g.
    deflection : (n,) float
        Inverse of the first transport mean free path of elastic scattering, cm2/g.
    """

    name: str
    attenuation: Float
    compton: Float
    pair: Float
    stopping: Float
    radiative: Float
    deflection: Float


def energies_mev() -> Float:
    """Return the lattice of energies, MeV."""
    return np.geomspace(FIRST_MEV, LAST_MEV, NODES)


@cache
def medium(name: str) -> Medium:
    """Return the tables of a medium: water, lung or bone (cortical)."""
    if name not in _COMPOSITIONS:
        raise InputError(f"the Monte Carlo knows no medium '{name}'; known are {', '.join(sorted(_COMPOSITIONS))}")
    made_of, e = _COMPOSITIONS[name], energies_mev()
    per_gram = made_of.electrons * WATER_ELECTRONS_PER_G
    compton = per_gram * klein_nishina_cm2(e)
    photo = _photoelectric(name, e, per_gram)
    nist = attenuation_cm2_g(name, e)
    pair = np.where(e > PAIR_THRESHOLD_MEV, np.maximum(nist - compton - photo, 0.0), 0.0)
    # The difference of large numbers is noise below the energy where pairs matter.
    pair *= np.clip((e - PAIR_THRESHOLD_MEV) / 0.25, 0.0, 1.0)
    total = compton + photo + pair
    return Medium(
        name,
        total,
        compton / total,
        pair / total,
        collision_stopping(e, made_of.electrons, made_of.excitation_ev, made_of.density_effect),
        made_of.radiative * np.exp(np.interp(np.log(e), np.log(_RADIATIVE[:, 0]), np.log(_RADIATIVE[:, 1]))),
        _deflection(e, made_of.shares),
    )


def klein_nishina_cm2(energy_mev: Float) -> Float:
    """Total Klein-Nishina cross section per electron, cm2."""
    a = np.asarray(energy_mev) / ELECTRON_MASS_MEV
    b = 1 + 2 * a
    log = np.log(b)
    return 2 * np.pi * ELECTRON_RADIUS_CM**2 * (
        (1 + a) / a**2 * (2 * (1 + a) / b - log / a) + log / (2 * a) - (1 + 3 * a) / b**2
    )  # fmt: skip


def klein_nishina_transfer_cm2(energy_mev: Float) -> Float:
    """Klein-Nishina cross section per electron times the mean share of energy given to the electron, cm2."""
    a = np.asarray(energy_mev) / ELECTRON_MASS_MEV
    # By Gauss-Legendre over the cosine of the scattering angle.
    nodes, weights = np.polynomial.legendre.leggauss(64)
    k = 1 / (1 + a[..., None] * (1 - nodes))
    by_angle = 0.5 * ELECTRON_RADIUS_CM**2 * k**2 * (k + 1 / k - (1 - nodes**2))
    transfer: Float = 2 * np.pi * ((1 - k) * by_angle) @ weights
    return transfer


def _photoelectric(name: str, e: Float, per_gram: float) -> Float:
    known = e <= PHOTO_KNOWN_TO_MEV
    low = np.maximum(energy_absorption_cm2_g(name, e) - per_gram * klein_nishina_transfer_cm2(e), 0.0)
    edge = np.flatnonzero(known)[-1]
    return np.where(known, low, low[edge] * (PHOTO_KNOWN_TO_MEV / e) ** 3)


def collision_stopping(
    kinetic_mev: Float, electrons: float, excitation_ev: float, density_effect: tuple[float, float, float, float, float]
) -> Float:
    """Mass collision stopping power of electrons, MeV cm2/g.

    References
    ----------
    Berger and Seltzer 1983, NBSIR 82-2550; Sternheimer et al. 1984, At Data Nucl Data Tables 30:261.
    """
    tau = np.asarray(kinetic_mev) / ELECTRON_MASS_MEV
    beta2 = tau * (tau + 2) / (tau + 1) ** 2
    f = 1 - beta2 + (tau**2 / 8 - (2 * tau + 1) * np.log(2)) / (tau + 1) ** 2
    x0, x1, a, m, c = density_effect
    x = np.log10(np.sqrt(tau * (tau + 2)))
    delta = np.where(
        x < x0,
        0.0,
        2 * np.log(10) * x - c + np.where(x < x1, a * np.maximum(x1 - x, 0.0) ** m, 0.0),
    )
    excitation = excitation_ev * 1e-6 / ELECTRON_MASS_MEV
    factor = 2 * np.pi * ELECTRON_RADIUS_CM**2 * ELECTRON_MASS_MEV * WATER_ELECTRONS_PER_G * electrons
    stopping: Float = factor / beta2 * (np.log(tau**2 * (tau + 2) / (2 * excitation**2)) + f - np.maximum(delta, 0.0))
    return stopping


def _deflection(e: Float, shares: dict[int, tuple[float, float]]) -> Float:
    """Inverse first transport mean free path: screened Rutherford (Moliere) with the first-order spin factor."""
    tau = e / ELECTRON_MASS_MEV
    momentum = np.sqrt(tau * (tau + 2))
    beta2 = tau * (tau + 2) / (tau + 1) ** 2
    total = np.zeros_like(e)
    for z, (share, weight) in shares.items():
        atoms_per_g = 6.02214e23 * share / weight
        angle2 = (FINE_STRUCTURE * z ** (1 / 3) / (0.885 * momentum)) ** 2
        screening = angle2 * (1.13 + 3.76 * (z * FINE_STRUCTURE) ** 2 / beta2) / 4
        shape = np.log(1 + 1 / screening) - 1 / (1 + screening)
        # Integral of (beta^2 / 2) x^2 / (x + 2 screening)^2 over x from 0 to 2, screening much below 1.
        spin = beta2 * (1.0 - 2 * screening * np.log(1 + 1 / screening))
        total += atoms_per_g * 2 * np.pi * z * (z + 1) * ELECTRON_RADIUS_CM**2 / (momentum**2 * beta2) * (shape - spin)
    return total
