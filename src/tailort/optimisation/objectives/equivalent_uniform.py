"""Generalised equivalent uniform dose (gEUD) above or below a level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.radiobiology.equivalent_uniform_dose import geud, geud_gradient

Float = NDArray[np.float64]


@dataclass(frozen=True)
class SquaredEUDOverdose:
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

    level_gy: float
    a: float
    power: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.a < 1.0:
            raise InputError(f"the gEUD of an organ needs a >= 1; found {self.a:g}")

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        return max(geud(dose_gy, volume, self.a) - self.level_gy, 0.0) ** 2

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        above = max(geud(dose_gy, volume, self.a) - self.level_gy, 0.0)
        return 2.0 * above * geud_gradient(dose_gy, volume, self.a)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far the gEUD is above L, Gy, as one number."""
        return np.array([geud(dose_gy, volume, self.a) - self.level_gy])

    def tightened(self, by_gy: float | Float) -> SquaredEUDOverdose:
        """Return the same objective with its level made stricter by `by_gy`."""
        return replace(self, level_gy=self.level_gy - float(np.max(by_gy)))


@dataclass(frozen=True)
class SquaredEUDUnderdose:
    """Square of the gEUD that lacks below a level: (L - gEUD)+^2. Convex for a < 0; never rises with dose.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    a : float
        Below 0: large negative values approach the minimum.

    References
    ----------
    Niemierko 1999, Med Phys 26:1100 (abstract); Choi & Deasy 2002, PMB 47:3579, doi 10.1088/0031-9155/47/20/302
    (convexity); Wu et al. 2002, IJROBP 52:224, doi 10.1016/S0360-3016(01)02585-8.
    """

    level_gy: float
    a: float
    power: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.a >= 0.0:
            raise InputError(f"the gEUD of a target needs a < 0; found {self.a:g}")

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        return max(self.level_gy - geud(dose_gy, volume, self.a), 0.0) ** 2

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        below = max(self.level_gy - geud(dose_gy, volume, self.a), 0.0)
        return -2.0 * below * geud_gradient(dose_gy, volume, self.a)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far the gEUD is below L, Gy, as one number."""
        return np.array([self.level_gy - geud(dose_gy, volume, self.a)])

    def tightened(self, by_gy: float | Float) -> SquaredEUDUnderdose:
        """Return the same objective with its level made stricter by `by_gy`."""
        return replace(self, level_gy=self.level_gy + float(np.max(by_gy)))
