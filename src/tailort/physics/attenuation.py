"""Attenuation of photons in tissues and filters: NIST tables."""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError

Float = NDArray[np.float64]


@cache
def _columns() -> dict[str, tuple[Float, Float]]:
    """Energies and values of each column of the packaged tables."""
    columns = {}
    for file in ("nist_attenuation.csv", "nist_filters.csv"):
        text = resources.files("tailort.physics").joinpath(f"data/{file}").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        values = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]]).T
        columns.update({name: (values[0], column) for name, column in zip(lines[0].split(","), values, strict=True)})
    return columns


def _at(column: str, energies_mev: ArrayLike) -> Float:
    columns = _columns()
    if column not in columns:
        known = sorted({name.rsplit("_", 1)[0] for name in columns if name != "E_MeV"})
        raise InputError(f"no attenuation table of '{column.rsplit('_', 1)[0]}'; known are {', '.join(known)}")
    nodes, table = columns[column]
    # Below the first energy of the table nothing of a linac's beam is left that counts.
    at = np.clip(np.asarray(energies_mev, dtype=np.float64), nodes[0], nodes[-1])
    values: Float = np.exp(np.interp(np.log(at), np.log(nodes), np.log(table)))
    return values


def attenuation_cm2_g(material: str, energies_mev: ArrayLike) -> Float:
    """Mass attenuation coefficient mu/rho, cm2/g, log-log interpolated between the energies of the table.

    Parameters
    ----------
    material : str
        water, lung, bone (cortical), muscle (skeletal), adipose or air; aluminium or tungsten.
    energies_mev : (...) float
        Photon energies, MeV.

    References
    ----------
    Hubbell and Seltzer, NISTIR 5632, doi:10.18434/T4D01F.
    """
    return _at(f"{material}_mu", energies_mev)


def energy_absorption_cm2_g(material: str, energies_mev: ArrayLike) -> Float:
    """Mass energy-absorption coefficient mu_en/rho, cm2/g; as `attenuation_cm2_g`."""
    return _at(f"{material}_muen", energies_mev)
