"""Squared deviations from a dose level: over-dose, under-dose, uniform dose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SquaredOverdose:
    """Mean square of the dose above a level: sum v (D - L)+^2. Convex; never falls with dose.

    Parameters
    ----------
    level_gy : float or (voxels,) float
        L, Gy per course; an array gives each voxel its own level.

    References
    ----------
    Wu & Mohan 2000, Med Phys 27:701, doi 10.1118/1.598932; Bortfeld et al. 1990, PMB 35:1423.
    """

    level_gy: float | Float
    power: ClassVar[int] = 2

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        above = np.maximum(dose_gy - self.level_gy, 0.0)
        return float(volume @ (above * above))

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        return 2.0 * volume * np.maximum(dose_gy - self.level_gy, 0.0)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far each voxel is beyond its level, Gy; not above 0 where it holds."""
        return dose_gy - self.level_gy

    def tightened(self, by_gy: float | Float) -> SquaredOverdose:
        """Return the same objective with its level made stricter by `by_gy`."""
        return replace(self, level_gy=self.level_gy - by_gy)


@dataclass(frozen=True, eq=False)
class SquaredUnderdose:
    """Mean square of the dose that lacks below a level: sum v (L - D)+^2. Convex; never rises with dose.

    Parameters
    ----------
    level_gy : float or (voxels,) float
        L, Gy per course; an array gives each voxel its own level.

    References
    ----------
    Wu & Mohan 2000, Med Phys 27:701, doi 10.1118/1.598932.
    """

    level_gy: float | Float
    power: ClassVar[int] = 2

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        below = np.maximum(self.level_gy - dose_gy, 0.0)
        return float(volume @ (below * below))

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        return -2.0 * volume * np.maximum(self.level_gy - dose_gy, 0.0)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far each voxel is beyond its level, Gy; not above 0 where it holds."""
        return self.level_gy - dose_gy

    def tightened(self, by_gy: float | Float) -> SquaredUnderdose:
        """Return the same objective with its level made stricter by `by_gy`."""
        return replace(self, level_gy=self.level_gy + by_gy)


@dataclass(frozen=True, eq=False)
class UniformDose:
    """Mean square of the distance from a dose: sum v (D - L)^2. Convex.

    Parameters
    ----------
    level_gy : float or (voxels,) float
        L, Gy per course; an array is a dose painted voxel by voxel.

    References
    ----------
    Bortfeld et al. 1990, PMB 35:1423, doi 10.1088/0031-9155/35/10/007.
    """

    level_gy: float | Float
    power: ClassVar[int] = 2

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        off = dose_gy - self.level_gy
        return float(volume @ (off * off))

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        return 2.0 * volume * (dose_gy - self.level_gy)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far each voxel is from its level, Gy."""
        return np.abs(dose_gy - self.level_gy)

    def tightened(self, by_gy: float | Float) -> UniformDose:
        """Return itself: a wish for one dose cannot be made stricter."""
        return self
