"""From CT numbers to mass density and electron density."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from tailort.errors import InputError
from tailort.geometry.image import Image

# Dry air at 20 degrees and 101.3 kPa, g/cm3: what is around the patient.
AIR_G_CM3 = 0.0012
# Nothing is denser than osmium and iridium, g/cm3.
DENSEST_G_CM3 = 22.7
# A table that starts with this or less starts with air: what has a lower CT number is air too.
_AS_AIR_G_CM3 = 0.01
# Below this no noise of air is expected: padding, or the edge of the scanned field, HU.
_NO_AIR_HU = -1100.0
# Water lies within this in the table of any scanner, g/cm3.
_WATER_G_CM3 = (0.8, 1.2)
_HEADER = ("hu", "density_g_cm3")


@dataclass(frozen=True)
class DensityTable:
    """Mass density of CT numbers: straight lines between points, clamped to the outermost points.

    Parameters
    ----------
    name : str
        By which it is chosen.
    label : str
        What it is, for reports.
    hu, density_g_cm3 : tuple of float
        The points, CT number ascending (HU) and mass density (g/cm3).
    sources : tuple of str
        One line a point.
    """

    name: str
    label: str
    hu: tuple[float, ...]
    density_g_cm3: tuple[float, ...]
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.hu) < 2 or len(self.hu) != len(self.density_g_cm3):
            raise InputError(f"density table '{self.name}' needs at least two points of CT number and density")
        if not (np.isfinite(self.hu).all() and np.isfinite(self.density_g_cm3).all()):
            raise InputError(f"density table '{self.name}' holds values that are not numbers")
        if np.diff(self.hu).min() <= 0 or np.diff(self.density_g_cm3).min() < 0 or self.density_g_cm3[0] < 0:
            raise InputError(f"density table '{self.name}': CT numbers must ascend and densities never fall")
        if self.density_g_cm3[-1] > DENSEST_G_CM3:
            raise InputError(
                f"density table '{self.name}' has a density of {self.density_g_cm3[-1]:g} g/cm3, and nothing is denser "
                f"than {DENSEST_G_CM3:g}; densities are in g/cm3"
            )

    @property
    def range_hu(self) -> tuple[float, float]:
        """Lowest and highest CT number of which the table tells the density, HU.

        A table that starts with air tells it of the noise of air too.
        """
        low, high = self.hu[0], self.hu[-1]
        return (min(low, _NO_AIR_HU) if self.density_g_cm3[0] <= _AS_AIR_G_CM3 else low), high


@cache
def density_tables() -> dict[str, DensityTable]:
    """Return the packaged tables from CT number to mass density, by name."""
    text = resources.files("tailort.physics").joinpath("data/ct_density.yaml").read_text(encoding="utf-8")
    tables = {}
    for name, entry in YAML(typ="safe", pure=True).load(text).items():
        points, sources = entry["points"], entry["sources"]
        tables[name] = DensityTable(
            name,
            entry["label"],
            tuple(float(p["hu"]) for p in points),
            tuple(float(p["density_g_cm3"]) for p in points),
            tuple(f"HU {p['hu']}: {p['note']} [{sources[p['source']]}]" for p in points),
        )
    return tables


def density_table(name: str) -> DensityTable:
    """Return the packaged table of this name.

    Raises
    ------
    InputError
        When there is none; the known ones are listed.
    """
    tables = density_tables()
    if name not in tables:
        raise InputError(f"unknown table from CT number to density '{name}'; known are {', '.join(sorted(tables))}")
    return tables[name]


def density_table_of_csv(text: str, where: str) -> DensityTable:
    """Table of a scanner from CSV: columns hu and density_g_cm3, ascending; lines that start with # are comments.

    Parameters
    ----------
    text : str
        The file's text.
    where : str
        The file's name, for messages and reports.

    Raises
    ------
    InputError
        When a line cannot be used; names the line.
    """
    hu: list[float] = []
    density_g_cm3: list[float] = []
    titled = False
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        at = f"{where}, line {number}"
        cells = [cell.strip() for cell in line.split(",")]
        if not titled:
            if tuple(cell.lower() for cell in cells) != _HEADER:
                raise InputError(f"{at}: found '{line.strip()}'; expected the heading '{','.join(_HEADER)}'")
            titled = True
            continue
        try:
            here, dense = (float(cell) for cell in cells)
        except ValueError as error:
            raise InputError(f"{at}: found '{line.strip()}'; expected two numbers, a CT number and g/cm3") from error
        if not (math.isfinite(here) and 0 <= dense <= DENSEST_G_CM3):
            raise InputError(
                f"{at}: a density of {dense:g} g/cm3 at HU {here:g} cannot be; expected 0 to {DENSEST_G_CM3:g} g/cm3"
            )
        if hu and (here <= hu[-1] or dense < density_g_cm3[-1]):
            raise InputError(
                f"{at}: HU {here:g} with {dense:g} g/cm3 follows HU {hu[-1]:g} with {density_g_cm3[-1]:g} g/cm3; CT "
                "numbers must ascend and densities never fall"
            )
        hu.append(here)
        density_g_cm3.append(dense)
    if len(hu) < 2:
        raise InputError(f"{where} has {len(hu)} point(s); expected at least two lines of '{','.join(_HEADER)}'")
    water = float(np.interp(0.0, hu, density_g_cm3))
    if not _WATER_G_CM3[0] <= water <= _WATER_G_CM3[1]:
        raise InputError(
            f"{where} gives water, HU 0, a density of {water:g} g/cm3; expected one near 1: check the columns, and "
            "that the CT numbers are in HU"
        )
    sources = tuple(f"HU {n:g}: given in {where}" for n in hu)
    label = f"given by the user, {len(hu)} points from HU {hu[0]:g} to {hu[-1]:g}"
    return DensityTable(where, label, tuple(hu), tuple(density_g_cm3), sources)


def density(ct: Image, table: DensityTable | str) -> Image:
    """Mass density of a CT.

    Parameters
    ----------
    ct : Image
        In HU.
    table : DensityTable or str
        The scanner's table, or the name of a packaged one.

    Returns
    -------
    Image
        float32, g/cm3.

    Raises
    ------
    InputError
        When the image is not in HU or holds values that are not finite, or the table is unknown.
    """
    if ct.unit != "HU":
        raise InputError(f"density needs a CT in HU; found an image in {ct.unit}")
    chosen = density_table(table) if isinstance(table, str) else table
    values = _on_lines(ct.values, np.array(chosen.hu), np.array(chosen.density_g_cm3))
    if not np.isfinite(values).all():
        raise InputError("the CT holds values that are not numbers; density needs a CT number in every voxel")
    return ct.with_values(values, "g/cm3")


def relative_electron_density(mass_density: Image) -> Image:
    """Electron density relative to water, from mass density.

    Parameters
    ----------
    mass_density : Image
        g/cm3.

    Returns
    -------
    Image
        float32, without unit; water is 1.

    Notes
    -----
    Megavoltage photons are attenuated by electrons almost alone, so this is what a radiological depth in water sums.

    Raises
    ------
    InputError
        When the image is not in g/cm3.
    """
    if mass_density.unit != "g/cm3":
        raise InputError(f"electron density needs a density in g/cm3; found an image in {mass_density.unit}")
    points, per_gram = _table("per_gram")
    values = _on_lines(mass_density.values, points, per_gram) * np.asarray(mass_density.values, dtype=np.float32)
    return mass_density.with_values(values, "1")


def water_over_medium(mass_density: Image) -> Image:
    """Collision stopping power of water over that of the tissue, from mass density.

    Parameters
    ----------
    mass_density : Image
        g/cm3.

    Returns
    -------
    Image
        float32, without unit: dose to a small cavity of water over the dose to the tissue about it.

    Notes
    -----
    Of electrons of 1.5 MeV; over the energies in megavoltage photon beams it changes by less than 1 %.

    Raises
    ------
    InputError
        When the image is not in g/cm3.

    References
    ----------
    Siebers et al. 2000, Phys Med Biol 45:983.
    """
    if mass_density.unit != "g/cm3":
        raise InputError(f"a stopping power needs a density in g/cm3; found an image in {mass_density.unit}")
    points, ratio = _table("water_stopping")
    return mass_density.with_values(_on_lines(mass_density.values, points, ratio), "1")


@cache
def _table(column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    text = resources.files("tailort.physics").joinpath("data/electron_density.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    return np.array([float(r["density_g_cm3"]) for r in rows]), np.array([float(r[column]) for r in rows])


def _on_lines(values: NDArray[Any], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
    flat = np.ascontiguousarray(values).reshape(-1)
    out: NDArray[np.float32] = _interpolate(flat, x, y).reshape(values.shape)
    return out


@numba.njit(cache=True, parallel=True)
def _interpolate(
    values: NDArray[Any], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float32]:  # pragma: no cover - compiled
    out = np.empty(values.size, dtype=np.float32)
    last = x.size - 1
    for n in numba.prange(values.size):
        value = float(values[n])
        if not np.isfinite(value):
            out[n] = np.nan
        elif value <= x[0]:
            out[n] = y[0]
        elif value >= x[last]:
            out[n] = y[last]
        else:
            m = 1
            while x[m] < value:
                m += 1
            out[n] = y[m - 1] + (y[m] - y[m - 1]) * (value - x[m - 1]) / (x[m] - x[m - 1])
    return out
