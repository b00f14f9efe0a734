"""A level for one number of a structure's dose: its mean, its gEUD, the mean of a tail, the dose at a volume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Measured(ABC):
    """A wish that a number of the dose be on the right side of a level; what is beyond it counts as a square.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    """

    level_gy: float
    power: ClassVar[int] = 2
    # 1: at most L; -1: at least L.
    side: ClassVar[float] = 1.0

    @abstractmethod
    def measure_gy(self, dose_gy: Float, volume: Float) -> float:
        """Return the number, Gy, of doses and shares of the volume (sum 1), both (voxels,)."""

    @abstractmethod
    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""

    @abstractmethod
    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far the number is beyond L, Gy, as one number."""
        return np.array([self.side * (self.measure_gy(dose_gy, volume) - self.level_gy)])

    def tightened(self, by_gy: float | Float) -> Self:
        """Return the same objective with its level made stricter by `by_gy`."""
        return replace(self, level_gy=self.level_gy - self.side * float(np.max(by_gy)))


@dataclass(frozen=True)
class SquaredMeasure(Measured):
    """Square of how far a number m of the dose is beyond a level: (m - L)+^2, or (L - m)+^2.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    """

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        return self._beyond_gy(self.measure_gy(dose_gy, volume)) ** 2

    def _beyond_gy(self, measure_gy: float) -> float:
        return max(self.side * (measure_gy - self.level_gy), 0.0)

    def _by_measure(self, measure_gy: float) -> float:
        """Derivative of the square by the number, Gy."""
        return 2.0 * self.side * self._beyond_gy(measure_gy)
