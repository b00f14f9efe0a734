"""Oxygen: how much less a dose is worth in tissue that lacks it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.radiobiology.packaged import packaged

Float = NDArray[np.float64]


@dataclass(frozen=True)
class OxygenEffect:
    """Dependence of the oxygen enhancement ratio on the partial pressure: one named set of parameters.

    Parameters
    ----------
    name, version : str
        What the set is called.
    maximum : float
        m, enhancement with much oxygen, above 1.
    half_mmhg : float
        K, pressure at which half of the enhancement is there, mmHg.
    most_fraction_gy : float
        Dose per fraction above which it is not to be applied, Gy.
    source, mark : str
        Where the numbers are from, and how sure they are.
    doi : str
        Of the source.
    rules : tuple of str
        Rule ids.
    """

    name: str
    version: str
    maximum: float
    half_mmhg: float
    most_fraction_gy: float
    source: str
    mark: str
    doi: str = ""
    rules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.name and self.version and self.source and self.mark):
            raise InputError("a set of parameters for oxygen needs a name, a version, a source and a mark")
        if not (self.maximum > 1 and self.half_mmhg > 0 and self.most_fraction_gy > 0):
            raise InputError(f"oxygen set '{self.name}': the maximum is above 1, pressure and dose are above 0")

    def extrapolated(self, fraction_gy: float) -> str:
        """Why the set does not hold at a dose per fraction, Gy; empty where it may."""
        if fraction_gy <= self.most_fraction_gy:
            return ""
        return (
            f"{fraction_gy:.3g} Gy per fraction is above the {self.most_fraction_gy:g} Gy up to which LQ is used with "
            "care; the effect of oxygen may differ there (RB-72)"
        )


@cache
def oxygen_sets() -> dict[str, OxygenEffect]:
    """Return the packaged sets of parameters, by name."""
    return {name: OxygenEffect(name=name, **entry) for name, entry in packaged("oxygen.yaml").items()}


def oer(po2_mmhg: ArrayLike, by: OxygenEffect) -> Float:
    """Oxygen enhancement ratio, (m p + K) / (p + K): 1 without oxygen, m with much.

    Parameters
    ----------
    po2_mmhg : (...) float
        p, partial pressure of oxygen, mmHg.
    by : OxygenEffect
        m and K, with their source.

    References
    ----------
    Alper T, Howard-Flanders P. Role of oxygen in modifying the radiosensitivity of E. coli B. Nature
    1956;178:978-979, doi:10.1038/178978a0.

    Examples
    --------
    >>> float(oer(3.0, oxygen_sets()["alper-howard-flanders"]))
    2.0
    """
    p = np.asarray(po2_mmhg, dtype=np.float64)
    if not (np.isfinite(p).all() and (p >= 0).all()):
        raise InputError("a partial pressure of oxygen is finite and not below 0 mmHg")
    ratio: Float = (by.maximum * p + by.half_mmhg) / (p + by.half_mmhg)
    return ratio


def relative_effect(po2_mmhg: ArrayLike, by: OxygenEffect) -> Float:
    """What a dose is worth beside that in fully oxic tissue, h = OER(p) / m: alpha h, beta h^2.

    For equal effect a voxel needs the oxic dose over h (at the same number of fractions).
    """
    return oer(po2_mmhg, by) / by.maximum
