"""Homogeneity of a target: the distance between its hottest and its coldest part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.objectives.measured import SquaredMeasure
from tailort.optimisation.objectives.tail import WIDTH_GY, lower_tail, upper_tail

Float = NDArray[np.float64]


@dataclass(frozen=True)
class SquaredSpread(SquaredMeasure):
    """Square of the spread of the dose above a level: (T_hot - T_cold - L)+^2. Convex in physical dose.

    T_hot and T_cold are the mean doses of the hottest and of the coldest `share`. Where it is 0, the homogeneity index
    (D2% - D98%) / D50% of `share` 0.02 is at most L / D50%. It does not look at the level of the dose.

    Parameters
    ----------
    level_gy : float
        L, Gy per course: the spread that is allowed.
    share : float
        Of the volume, at either end; above 0, at most 0.5.
    width_gy : float
        Of the soft border of the shares.

    References
    ----------
    ICRU Report 83 (2010) (homogeneity index); tails as in Engberg et al. 2017, Med Phys 44:2045.
    """

    share: float = 0.02
    width_gy: float = WIDTH_GY

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 0.5:
            raise InputError(f"a spread needs a share of the volume above 0 and up to 0.5; found {self.share:g}")

    def _spread(self, dose_gy: Float, volume: Float) -> tuple[float, Float]:
        hot, hot_part = upper_tail(dose_gy, volume, self.share, self.width_gy)
        cold, cold_part = lower_tail(dose_gy, volume, self.share, self.width_gy)
        return hot - cold, (hot_part - cold_part) / self.share

    def measure_gy(self, dose_gy: Float, volume: Float) -> float:
        """Return the spread, Gy."""
        return self._spread(dose_gy, volume)[0]

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        spread, slope = self._spread(dose_gy, volume)
        return self._by_measure(spread) * slope
