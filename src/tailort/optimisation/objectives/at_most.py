"""Another objective held at or below what it has reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.objectives.objective import Objective

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AtMost:
    """Square of what an objective is above a level, measured in Gy: (m - L)+^2, m the root of its value.

    The root of a mean square, or of the square of what is beyond a level, is a norm of it and convex, so that this is
    convex wherever the objective is built so.

    Parameters
    ----------
    objective : Objective
        What is held: its value in Gy, or the root of its value in Gy2.
    level_gy : float
        L, Gy.
    """

    objective: Objective
    level_gy: float
    power: ClassVar[int] = 2

    def measure_gy(self, dose_gy: Float, volume: Float) -> float:
        """Return the objective's value in Gy."""
        return float(self.objective.value(dose_gy, volume) ** (1.0 / self.objective.power))

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        return max(self.measure_gy(dose_gy, volume) - self.level_gy, 0.0) ** 2

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        measure = self.measure_gy(dose_gy, volume)
        above = max(measure - self.level_gy, 0.0)
        if above == 0.0 or measure == 0.0:
            return np.zeros_like(dose_gy)
        slope = above * 2.0 / (self.objective.power * measure ** (self.objective.power - 1))
        return slope * self.objective.derivative(dose_gy, volume)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far the objective is above L, Gy, as one number."""
        return np.array([self.measure_gy(dose_gy, volume) - self.level_gy])

    def tightened(self, by_gy: float | Float) -> AtMost:
        """Return the same objective with its level made stricter by `by_gy`."""
        return replace(self, level_gy=self.level_gy - float(np.max(by_gy)))
