"""Generalised equivalent uniform dose (gEUD) above or below a level."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.objectives.measured import SquaredMeasure
from tailort.radiobiology.equivalent_uniform_dose import geud, geud_gradient

Float = NDArray[np.float64]


@dataclass(frozen=True)
class _SquaredEUD(SquaredMeasure, ABC):
    """Square of how far the gEUD with the exponent `a` is beyond a level."""

    a: float

    def measure_gy(self, dose_gy: Float, volume: Float) -> float:
        """Return the gEUD, Gy."""
        return geud(dose_gy, volume, self.a)

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        return self._by_measure(geud(dose_gy, volume, self.a)) * geud_gradient(dose_gy, volume, self.a)


@dataclass(frozen=True)
class SquaredEUDOverdose(_SquaredEUD):
    """Square of the gEUD above a level: (gEUD - L)+^2. Convex for a >= 1; never falls with dose.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    a : float
        At least 1: 1 is the mean, large values approach the maximum.

    References
    ----------
    Niemierko 1999, Med Phys 26:1100 (abstract); Choi & Deasy 2002, PMB 47:3579, doi 10.1088/0031-9155/47/20/302
    (convexity); Wu et al. 2002, IJROBP 52:224, doi 10.1016/S0360-3016(01)02585-8.
    """

    def __post_init__(self) -> None:
        if self.a < 1.0:
            raise InputError(f"the gEUD of an organ needs a >= 1; found {self.a:g}")


@dataclass(frozen=True)
class SquaredEUDUnderdose(_SquaredEUD):
    """Square of the gEUD that lacks below a level: (L - gEUD)+^2. Convex for a < 0; never rises with dose.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    a : float
        Below 0: large negative values approach the minimum.

    References
    ----------
    As for `SquaredEUDOverdose`.
    """

    side: ClassVar[float] = -1.0

    def __post_init__(self) -> None:
        if self.a >= 0.0:
            raise InputError(f"the gEUD of a target needs a < 0; found {self.a:g}")
