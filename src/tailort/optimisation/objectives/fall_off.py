"""Conformity: rings round a target, and a dose that falls with the distance from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.objectives.squared import SquaredOverdose

Float = NDArray[np.float64]


def ring_rows(distance_mm: Float, inner_mm: float, outer_mm: float) -> NDArray[np.int64]:
    """Rows of the voxels farther than `inner_mm` and at most `outer_mm` from a target: a conformity ring.

    Parameters
    ----------
    distance_mm : (rows,) float
        Of each row's voxel from the target, 0 inside.
    inner_mm, outer_mm : float
        Not below 0; the ring never holds voxels of the target.
    """
    if not 0.0 <= inner_mm < outer_mm:
        raise InputError(f"a ring lies between two distances of which the first is smaller; {inner_mm:g}, {outer_mm:g}")
    return np.flatnonzero((distance_mm > inner_mm) & (distance_mm <= outer_mm))


@dataclass(frozen=True, eq=False)
class FallOff:
    """Mean square of the dose above one that falls with the distance: sum v (D - L(d))+^2. Convex; never falls.

    L(d) falls from the dose beside the target towards `floor` of it, by half of the rest in each `half_mm`. On the
    rows of a ring, with `floor` 1, it is the conformity objective: no more than one dose anywhere in the ring.

    Parameters
    ----------
    dose_gy : float
        Beside the target, Gy per course.
    distance_mm : (voxels,) float
        Of each voxel of the structure from the target.
    half_mm : float
        Above 0.
    floor : float
        Share of the dose that is allowed far away, 0 to 1.
    stricter_gy : float or (voxels,) float
        By how much every level is lowered.

    References
    ----------
    Feuvret et al. 2006, IJROBP 64:333, doi 10.1016/j.ijrobp.2005.09.028 (conformity indices, which it serves).
    """

    dose_gy: float
    distance_mm: Float
    half_mm: float
    floor: float
    stricter_gy: float | Float = 0.0
    power: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not (self.half_mm > 0.0 and 0.0 <= self.floor <= 1.0):
            raise InputError(
                f"a fall-off halves within a distance above 0 mm, towards a share from 0 to 1 of the dose; found "
                f"{self.half_mm:g} mm and {self.floor:g}"
            )

    @property
    def level_gy(self) -> Float:
        """Dose that each voxel may have, Gy per course."""
        fall = self.floor + (1.0 - self.floor) * 0.5 ** (self.distance_mm / self.half_mm)
        level: Float = self.dose_gy * fall - self.stricter_gy
        return level

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses and shares of the volume (sum 1), both (voxels,)."""
        return SquaredOverdose(self.level_gy).value(dose_gy, volume)

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        return SquaredOverdose(self.level_gy).derivative(dose_gy, volume)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far each voxel is beyond its level, Gy; not above 0 where it holds."""
        return SquaredOverdose(self.level_gy).excess_gy(dose_gy, volume)

    def tightened(self, by_gy: float | Float) -> FallOff:
        """Return the same objective with its levels made stricter by `by_gy`."""
        return replace(self, stricter_gy=self.stricter_gy + by_gy)
