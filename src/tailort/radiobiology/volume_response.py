"""From an uneven dose to an effect: the uniform dose that has the same effect, and the curve of that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.radiobiology.dose_response import Curve
from tailort.radiobiology.equivalent_uniform_dose import geud, geud_gradient

Float = NDArray[np.float64]


class VolumeResponse(ABC):
    """Effect of the doses of a structure's voxels, all in the quantity of the model (mostly EQD2), Gy per course."""

    @property
    @abstractmethod
    def uniform(self) -> Curve:
        """Effect of a uniform dose."""

    @abstractmethod
    def equivalent_gy(self, dose_gy: ArrayLike, volumes: ArrayLike) -> float:
        """Uniform dose with the same effect, Gy, of doses and volumes (any unit), both (voxels,)."""

    @abstractmethod
    def equivalent_gradient(self, dose_gy: ArrayLike, volumes: ArrayLike) -> Float:
        """Derivative of `equivalent_gy` by the dose of each voxel."""

    @abstractmethod
    def effect(self, dose_gy: ArrayLike, volumes: ArrayLike) -> float:
        """Effect of doses and volumes (any unit), both (voxels,)."""

    @abstractmethod
    def gradient(self, dose_gy: ArrayLike, volumes: ArrayLike) -> Float:
        """Derivative of `effect` by the dose of each voxel, 1/Gy."""


class ByEquivalent(VolumeResponse, ABC):
    """A model whose effect is that of its uniform dose."""

    def effect(self, dose_gy: ArrayLike, volumes: ArrayLike) -> float:
        """Effect of doses and volumes (any unit), both (voxels,)."""
        return self.uniform.at(self.equivalent_gy(dose_gy, volumes))

    def gradient(self, dose_gy: ArrayLike, volumes: ArrayLike) -> Float:
        """Derivative of `effect` by the dose of each voxel, 1/Gy."""
        slope = self.uniform.derivative(self.equivalent_gy(dose_gy, volumes))
        return slope * self.equivalent_gradient(dose_gy, volumes)


@dataclass(frozen=True)
class OnEquivalentDose(ByEquivalent):
    """A curve of the generalised equivalent uniform dose; with a = 1 of the mean.

    Parameters
    ----------
    curve : Curve
        Effect of a uniform dose.
    a : float
        Exponent of gEUD: 1/n of an LKB model; below 0 for tumours.
    """

    curve: Curve
    a: float

    @property
    def uniform(self) -> Curve:
        """Effect of a uniform dose."""
        return self.curve

    def equivalent_gy(self, dose_gy: ArrayLike, volumes: ArrayLike) -> float:
        """Return the gEUD, Gy."""
        return geud(dose_gy, volumes, self.a)

    def equivalent_gradient(self, dose_gy: ArrayLike, volumes: ArrayLike) -> Float:
        """Derivative of `equivalent_gy` by the dose of each voxel."""
        return geud_gradient(dose_gy, volumes, self.a)


@dataclass(frozen=True)
class OnMaximum(ByEquivalent):
    """A curve of the highest dose.

    Parameters
    ----------
    curve : Curve
        Effect of a uniform dose.
    """

    curve: Curve

    @property
    def uniform(self) -> Curve:
        """Effect of a uniform dose."""
        return self.curve

    def equivalent_gy(self, dose_gy: ArrayLike, volumes: ArrayLike) -> float:
        """Return the highest dose of a voxel that has a volume, Gy."""
        dose, volume = of_voxels(dose_gy, volumes)
        return float(dose[volume > 0].max())

    def equivalent_gradient(self, dose_gy: ArrayLike, volumes: ArrayLike) -> Float:
        """Return one for the hottest voxel (the first of several), 0 elsewhere."""
        dose, volume = of_voxels(dose_gy, volumes)
        gradient = np.zeros_like(dose)
        gradient[np.argmax(np.where(volume > 0, dose, -np.inf))] = 1.0
        return gradient


def of_voxels(dose_gy: ArrayLike, volumes: ArrayLike) -> tuple[Float, Float]:
    """Return doses, Gy, and shares of the volume (sum 1), both (voxels,); refuse what is none."""
    dose, volume = np.asarray(dose_gy, dtype=np.float64), np.asarray(volumes, dtype=np.float64)
    if dose.ndim != 1 or dose.shape != volume.shape:
        raise InputError(
            f"an outcome needs one volume for each dose; found {dose.shape} doses and {volume.shape} volumes"
        )
    if not (np.isfinite(dose).all() and np.isfinite(volume).all() and (dose >= 0).all() and (volume >= 0).all()):
        raise InputError("an outcome needs doses and volumes that are finite and not negative")
    if not volume.sum() > 0:
        raise InputError("no volume has no outcome")
    return dose, volume / volume.sum()
