"""The dose that an objective looks at: physical, EQD2 or BED of the course, voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError

Float = NDArray[np.float64]


class Quantity(Protocol):
    """A dose quantity as a function of the physical course dose of each voxel.

    It never falls with the physical dose and is convex in it, so that a convex objective that never falls with
    dose stays convex on it.
    """

    def of(self, dose_gy: Float) -> Float:
        """Quantity, Gy per course, of the physical dose, Gy per course."""
        ...

    def derivative(self, dose_gy: Float) -> Float:
        """Derivative of the quantity by the physical dose of the same voxel."""
        ...

    def physical(self, level_gy: float) -> float:
        """Physical dose, Gy per course, at which the quantity takes this level."""
        ...


@dataclass(frozen=True)
class Physical:
    """Absorbed dose of the course."""

    def of(self, dose_gy: Float) -> Float:
        """Return the dose itself, Gy per course."""
        return dose_gy

    def derivative(self, dose_gy: Float) -> Float:
        """Return one for each voxel."""
        return np.ones_like(dose_gy)

    def physical(self, level_gy: float) -> float:
        """Return the level itself."""
        return level_gy


@dataclass(frozen=True)
class LinearQuadratic:
    """EQD2 or BED of a course, from each voxel's own dose per fraction D / n.

    Parameters
    ----------
    kind : {"EQD2", "BED"}
        BED = D (1 + D / (n ab)); EQD2 = BED / (1 + 2 / ab).
    alpha_beta_gy : float
        Of the tissue, Gy.
    fractions : int
        Number of fractions of the course.

    References
    ----------
    Fowler 1989, Br J Radiol 62:679, doi 10.1259/0007-1285-62-740-679.
    """

    kind: Literal["EQD2", "BED"]
    alpha_beta_gy: float
    fractions: int

    def __post_init__(self) -> None:
        if not self.alpha_beta_gy > 0 or self.fractions < 1:
            raise InputError(
                f"{self.kind} needs an alpha/beta above 0 Gy and at least 1 fraction; found {self.alpha_beta_gy:g} Gy "
                f"and {self.fractions}"
            )

    @property
    def _scale(self) -> float:
        return 1.0 if self.kind == "BED" else 1.0 / (1.0 + 2.0 / self.alpha_beta_gy)

    def of(self, dose_gy: Float) -> Float:
        """BED or EQD2, Gy per course, of the physical dose, Gy per course."""
        return self._scale * dose_gy * (1.0 + dose_gy / (self.fractions * self.alpha_beta_gy))

    def derivative(self, dose_gy: Float) -> Float:
        """Derivative by the physical dose of the same voxel."""
        return self._scale * (1.0 + 2.0 * dose_gy / (self.fractions * self.alpha_beta_gy))

    def physical(self, level_gy: float) -> float:
        """Physical dose, Gy per course, at which the quantity takes this level."""
        n_ab = self.fractions * self.alpha_beta_gy
        return float(0.5 * n_ab * (np.sqrt(1.0 + 4.0 * level_gy / (self._scale * n_ab)) - 1.0))
