"""Dose-volume objectives: at most, or at least, a share of the volume at or above a dose.

Both look only at the part of the volume that would have to change: "at most v above L" at the colder share 1 - v,
"at least v above L" at the hotter share v. The voxel that the border runs through counts with its part, so that
value and derivative do not depend on the voxel size. Neither is convex: which voxels count depends on the dose.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.objectives.measured import Measured

Float = NDArray[np.float64]


def hottest_share(dose_gy: Float, volume: Float, share: float) -> Float:
    """Part of each voxel's volume that lies in the hottest `share` of the structure.

    Parameters
    ----------
    dose_gy, volume : (voxels,) float
        Doses and shares of the volume (sum 1).
    share : float
        0 to 1.

    Returns
    -------
    (voxels,) float
        Between 0 and `volume`, with the sum `share`.
    """
    hot = np.argsort(-dose_gy, kind="stable")
    before = np.cumsum(volume[hot]) - volume[hot]
    part = np.empty_like(volume)
    part[hot] = np.clip(share - before, 0.0, volume[hot])
    return part


def dose_at(dose_gy: Float, volume: Float, share: float) -> float:
    """Dose that the hottest `share` of the volume gets at least, Gy (D95% is share 0.95)."""
    hot = np.argsort(-dose_gy, kind="stable")
    reached = np.cumsum(volume[hot])
    at = min(int(np.searchsorted(reached, share - 1e-12)), len(hot) - 1)
    return float(dose_gy[hot[at]])


@dataclass(frozen=True)
class _DoseVolume(Measured, ABC):
    """Sum of the squares beyond a level, over the part of the volume that would have to change."""

    share: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise InputError(f"a dose-volume objective needs a share of the volume from 0 to 1; found {self.share:g}")

    @abstractmethod
    def _counting(self, dose_gy: Float, volume: Float) -> Float:
        """Part of each voxel's volume that counts."""

    def _beyond_gy(self, dose_gy: Float) -> Float:
        beyond: Float = np.maximum(self.side * (dose_gy - self.level_gy), 0.0)
        return beyond

    def measure_gy(self, dose_gy: Float, volume: Float) -> float:
        """Return the dose that the hottest `share` gets at least, Gy."""
        return dose_at(dose_gy, volume, self.share)

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        beyond = self._beyond_gy(dose_gy)
        return float(self._counting(dose_gy, volume) @ (beyond * beyond))

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        return 2.0 * self.side * self._counting(dose_gy, volume) * self._beyond_gy(dose_gy)


@dataclass(frozen=True)
class MaxDoseVolume(_DoseVolume):
    """At most `share` of the volume above L: sum over the colder 1 - share of v (D - L)+^2. Not convex.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    share : float
        0 to 1.

    References
    ----------
    Wu & Mohan 2000, Med Phys 27:701, doi 10.1118/1.598932; here the border voxel counts with its part.
    """

    def _counting(self, dose_gy: Float, volume: Float) -> Float:
        return volume - hottest_share(dose_gy, volume, self.share)


@dataclass(frozen=True)
class MinDoseVolume(_DoseVolume):
    """At least `share` of the volume above L: sum over the hotter share of v (L - D)+^2. Not convex.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    share : float
        0 to 1.

    References
    ----------
    As for `MaxDoseVolume`.
    """

    side: ClassVar[float] = -1.0

    def _counting(self, dose_gy: Float, volume: Float) -> Float:
        return hottest_share(dose_gy, volume, self.share)
