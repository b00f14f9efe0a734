"""Mean dose: as low as possible, or the square of what is above a level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.objectives.measured import SquaredMeasure

Float = NDArray[np.float64]


@dataclass(frozen=True)
class MeanDose:
    """Mean dose: sum v D. Linear, so convex; never falls with dose."""

    power: ClassVar[int] = 1

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy, for doses and shares of the volume (sum 1), both (voxels,)."""
        return float(volume @ dose_gy)

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel."""
        return volume.astype(np.float64, copy=True)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """Return the mean dose, Gy, as one number."""
        return np.array([volume @ dose_gy])

    def tightened(self, by_gy: float | Float) -> MeanDose:
        """Return itself: there is no level to make stricter."""
        return self


@dataclass(frozen=True)
class SquaredMeanOverdose(SquaredMeasure):
    """Square of the mean dose above a level: (sum v D - L)+^2. Convex; never falls with dose.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    """

    def measure_gy(self, dose_gy: Float, volume: Float) -> float:
        """Return the mean dose, Gy."""
        return float(volume @ dose_gy)

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        return self._by_measure(self.measure_gy(dose_gy, volume)) * volume
