"""What an objective is: a function of the doses of one structure, with its derivative."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class Objective(Protocol):
    """A wish on the doses of one structure's voxels; smaller is better. Its value is in Gy to the `power`."""

    power: ClassVar[int]

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value for doses, Gy per course, and shares of the volume (sum 1), both (voxels,)."""
        ...

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel."""
        ...

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far the dose is beyond the wish, Gy, voxel by voxel or as one number; 0 or less where it holds."""
        ...

    def tightened(self, by_gy: float | Float) -> Objective:
        """Return the same wish with its level made stricter, in the shape of `excess_gy`."""
        ...
