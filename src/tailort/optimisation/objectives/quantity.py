"""The dose that an objective looks at: physical, EQD2 or BED of the course, voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.radiobiology.linear_quadratic import bed, bed_derivative, eqd2, eqd2_derivative

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

    def only(self, kept: NDArray[np.bool_]) -> Quantity:
        """The quantity of some of the voxels."""
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

    def only(self, kept: NDArray[np.bool_]) -> Quantity:
        """Return itself."""
        return self


@dataclass(frozen=True)
class LinearQuadratic:
    """EQD2 or BED of a course, from each voxel's own dose per fraction D / n (see `radiobiology.linear_quadratic`).

    Parameters
    ----------
    kind : {"EQD2", "BED"}
        Which of the two.
    alpha_beta_gy : float
        Of the tissue, Gy.
    fractions : int
        Number of fractions of the course.
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

    def of(self, dose_gy: Float) -> Float:
        """BED or EQD2, Gy per course, of the physical dose, Gy per course."""
        return (bed if self.kind == "BED" else eqd2)(_from_zero(dose_gy), self.fractions, self.alpha_beta_gy)

    def derivative(self, dose_gy: Float) -> Float:
        """Derivative by the physical dose of the same voxel."""
        derivative = bed_derivative if self.kind == "BED" else eqd2_derivative
        return derivative(_from_zero(dose_gy), self.fractions, self.alpha_beta_gy)

    def only(self, kept: NDArray[np.bool_]) -> Quantity:
        """Return itself."""
        return self


def _from_zero(dose_gy: Float) -> Float:
    """Return the dose without what a step of a search undershoots 0 by rounding."""
    return np.maximum(dose_gy, 0.0)


@dataclass(frozen=True, eq=False)
class Added:
    """A quantity beside what the voxels have had already: the sum over phases or courses.

    Parameters
    ----------
    own : Quantity
        Of the dose that is planned.
    earlier_gy : (voxels,) float
        Of everything before, Gy of the same quantity; the voxels are those of one structure.
    """

    own: Quantity
    earlier_gy: Float

    def of(self, dose_gy: Float) -> Float:
        """Return the sum, Gy."""
        return self.own.of(dose_gy) + self.earlier_gy

    def derivative(self, dose_gy: Float) -> Float:
        """Derivative by the physical dose of the same voxel."""
        return self.own.derivative(dose_gy)

    def only(self, kept: NDArray[np.bool_]) -> Quantity:
        """Return the sum for some of the voxels."""
        return Added(self.own, self.earlier_gy[kept])
