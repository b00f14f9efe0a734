"""Photon spectra of linac beams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.physics.attenuation import attenuation_cm2_g

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Photon number fluence by energy.

    Parameters
    ----------
    energies_mev : (n,) float
        Middles of the energy bins, ascending, MeV.
    number : (n,) float
        Photons in each bin; the sum is 1.
    """

    energies_mev: Float
    number: Float

    def __post_init__(self) -> None:
        energies = np.array(self.energies_mev, dtype=np.float64)
        number = np.array(self.number, dtype=np.float64)
        if energies.ndim != 1 or energies.shape != number.shape or not len(energies):
            raise InputError("a spectrum needs one photon number for each of its energies")
        if not (np.diff(energies) > 0).all() or energies[0] <= 0:
            raise InputError("a spectrum's energies must be above 0 MeV and ascend")
        if not np.isfinite(number).all() or number.min() < 0 or number.sum() <= 0:
            raise InputError("a spectrum's photon numbers must be finite, not below 0 and not all 0")
        number = number / number.sum()
        for name, values in (("energies_mev", energies), ("number", number)):
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    @property
    def mean_energy_mev(self) -> float:
        """Mean over the photons, MeV."""
        return float(self.energies_mev @ self.number)


def filtered_bremsstrahlung(
    end_mev: float, tungsten_g_cm2: float, aluminium_g_cm2: float, shape: float = -1.186, bin_mev: float = 0.25
) -> Spectrum:
    """Spectrum of a thick target behind filters, in the form of Ali and Rogers.

    The energy fluence per MeV is

        [1 + C3 E/Ee + (E/Ee)^2] { ln[Ee (Ee - E)/E + 1.65] - 0.5 } exp(-mu_W t_W - mu_Al t_Al),   0 < E < Ee

    Parameters
    ----------
    end_mev : float
        Ee, kinetic energy of the electrons on the target, MeV.
    tungsten_g_cm2, aluminium_g_cm2 : float
        t_W and t_Al, the filtration.
    shape : float
        C3.
    bin_mev : float
        Width of the bins, MeV.

    References
    ----------
    Ali and Rogers 2012, Phys Med Biol 57:31, doi:10.1088/0031-9155/57/1/31.
    """
    count = int(np.ceil(end_mev / bin_mev))
    # Ten points a bin: the form falls steeply at its end.
    fine = (np.arange(count * 10) + 0.5) * bin_mev / 10
    inside = fine < end_mev
    e = np.where(inside, fine, 0.5 * end_mev)
    log = np.log(end_mev * (end_mev - e) / e + 1.65) - 0.5
    energy = (1 + shape * e / end_mev + (e / end_mev) ** 2) * np.maximum(log, 0.0)
    energy = energy * np.exp(
        -attenuation_cm2_g("tungsten", e) * tungsten_g_cm2 - attenuation_cm2_g("aluminium", e) * aluminium_g_cm2
    )
    number = np.where(inside, energy / e, 0.0).reshape(count, 10)
    filled = number.sum(axis=1) > 0
    middles = ((number * fine.reshape(count, 10)).sum(axis=1)[filled]) / number.sum(axis=1)[filled]
    return Spectrum(middles, number.sum(axis=1)[filled])


@cache
def packaged_spectrum(name: str) -> Spectrum:
    """Return a spectrum of the packaged table: g6 or fff10.

    Raises
    ------
    InputError
        When there is none of this name; the known ones are listed.
    """
    text = resources.files("tailort.physics").joinpath("data/spectra.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    names = lines[0].split(",")
    if name not in names[2:]:
        raise InputError(f"unknown spectrum '{name}'; known are {', '.join(names[2:])}")
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    used = rows[:, names.index(name)] > 0
    return Spectrum(rows[used, :2].mean(axis=1), rows[used, names.index(name)])
