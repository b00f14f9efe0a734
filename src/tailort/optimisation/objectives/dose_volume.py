"""Dose-volume objectives: at most, or at least, a share of the volume at or above a dose.

Both look only at the part of the volume that would have to change: "at most v above L" at the colder share 1 - v,
"at least v above L" at the hotter share v. The voxel that the border runs through counts with its part, so that
value and derivative do not depend on the voxel size. Neither is convex: which voxels count depends on the dose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError

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


def _require_share(share: float) -> None:
    if not 0.0 <= share <= 1.0:
        raise InputError(f"a dose-volume objective needs a share of the volume from 0 to 1; found {share:g}")


@dataclass(frozen=True)
class MaxDoseVolume:
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

    level_gy: float
    share: float
    power: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _require_share(self.share)

    def _counting(self, dose_gy: Float, volume: Float) -> Float:
        return volume - hottest_share(dose_gy, volume, self.share)

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        above = np.maximum(dose_gy - self.level_gy, 0.0)
        return float(self._counting(dose_gy, volume) @ (above * above))

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        return 2.0 * self._counting(dose_gy, volume) * np.maximum(dose_gy - self.level_gy, 0.0)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far the dose of the hottest `share` is above L, Gy, as one number."""
        return np.array([dose_at(dose_gy, volume, self.share) - self.level_gy])

    def tightened(self, by_gy: float | Float) -> MaxDoseVolume:
        """Return the same objective with its level made stricter by `by_gy`."""
        return replace(self, level_gy=self.level_gy - float(np.max(by_gy)))


@dataclass(frozen=True)
class MinDoseVolume:
    """At least `share` of the volume above L: sum over the hotter share of v (L - D)+^2. Not convex.

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

    level_gy: float
    share: float
    power: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _require_share(self.share)

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        below = np.maximum(self.level_gy - dose_gy, 0.0)
        return float(hottest_share(dose_gy, volume, self.share) @ (below * below))

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        below = np.maximum(self.level_gy - dose_gy, 0.0)
        return -2.0 * hottest_share(dose_gy, volume, self.share) * below

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far the dose of the hottest `share` is below L, Gy, as one number."""
        return np.array([self.level_gy - dose_at(dose_gy, volume, self.share)])

    def tightened(self, by_gy: float | Float) -> MinDoseVolume:
        """Return the same objective with its level made stricter by `by_gy`."""
        return replace(self, level_gy=self.level_gy + float(np.max(by_gy)))
