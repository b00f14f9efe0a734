"""A dose that is prescribed voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.geometry import Image, interpolate


@dataclass(frozen=True, eq=False)
class Painted:
    """What each point of a target is to get.

    Parameters
    ----------
    image : Image
        Physical dose of the phase, Gy, around the target; beyond its surface that of the nearest point inside.
    least_gy, most_gy : float
        Range in which the protocol lets the dose be painted, Gy.
    text : str
        How it was made, for people.
    """

    image: Image
    least_gy: float
    most_gy: float
    text: str

    def __post_init__(self) -> None:
        if self.image.unit != "Gy":
            raise InputError(f"a painted dose is an image in Gy; found one in {self.image.unit}")
        values = self.image.values
        low, high = float(np.min(values)), float(np.max(values))
        # Images are float32: a bound may be missed by its rounding.
        slack = 1e-5 * self.most_gy
        if not (0 < self.least_gy <= self.most_gy and low >= self.least_gy - slack and high <= self.most_gy + slack):
            raise InputError(
                f"a dose is painted from {low:g} to {high:g} Gy, outside the range of {self.least_gy:g} to "
                f"{self.most_gy:g} Gy that the protocol gives"
            )

    @property
    def is_even(self) -> bool:
        """Whether every point is to get the same."""
        return float(np.ptp(self.image.values)) == 0.0

    def at(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Dose that points (..., 3), LPS mm, are to get, Gy; far from the target the least."""
        return interpolate(self.image, points_mm, self.least_gy)
