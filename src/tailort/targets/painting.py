"""Dose painting by an image of function: from the uptake of each point of a tumour to the dose that it is to get.

The painted dose never leaves the range that is given. What the true function from image to dose is, nobody knows; among
shapes the line is the usual one, and a sigmoid is the hardest to deliver.

References
----------
Bentzen 2005, Lancet Oncol 6:112 (dose painting); Vanderstraeten et al. 2006, PMB 51:5697 (dose painting by numbers, the
line and the quality factor); Bowen et al. 2009, Radiother Oncol 93:70 (other shapes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import GeometryError, InputError

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Shape = Callable[[Float], Float]
FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
# How near the mean of a redistributed dose comes to what is asked, Gy.
MEAN_WITHIN_GY = 1e-4


@dataclass(frozen=True)
class Range:
    """Dose range, and the uptakes at its ends.

    Parameters
    ----------
    least_gy, most_gy : float
        Physical dose of the phase, Gy.
    low, high : float
        Uptakes at or below which the least, at or above which the most is given, in the image's unit.
    """

    least_gy: float
    most_gy: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.least_gy <= self.most_gy < np.inf:
            raise InputError(f"dose cannot be painted from {self.least_gy:g} to {self.most_gy:g} Gy")
        if not -np.inf < self.low < self.high < np.inf:
            raise InputError(
                f"dose is painted between two uptakes, the lower one first; found {self.low:g} and {self.high:g}"
            )


def line(share: Float) -> Float:
    """Dose rises in proportion to the uptake between the ends (RB-141)."""
    return share


def power(exponent: float) -> Shape:
    """Dose rises with a power of the uptake's place between the ends."""
    return lambda share: np.asarray(share**exponent, dtype=np.float64)


def sigmoid(steepness: float) -> Shape:
    """Dose rises by a logistic function, `steepness` times as steep as the line in the middle; 0 and 1 at the ends."""
    rate = 4.0 * steepness
    end = 1.0 / (1.0 + np.exp(0.5 * rate))

    def shape(share: Float) -> Float:
        raw = 1.0 / (1.0 + np.exp(-rate * (share - 0.5)))
        return np.asarray((raw - end) / (1.0 - 2.0 * end), dtype=np.float64)

    return shape


def step(at: float) -> Shape:
    """Two levels: the most from a place between the ends on, the least below (painting by contours, RB-140)."""
    return lambda share: np.where(share >= at, 1.0, 0.0)


def falling(shape: Shape) -> Shape:
    """The same shape for an image in which what is sought is low: the most dose at the lower uptake."""
    return lambda share: shape(1.0 - share)


def by_numbers(uptake: Float, within: Range, shape: Shape = line) -> Float:
    """Dose that each uptake asks for, Gy: Dmin + shape(s) (Dmax - Dmin), s the place between the two uptakes in [0, 1].

    Parameters
    ----------
    uptake : array of float
        In any shape.
    within : Range
        The range; doses never leave it.
    shape : callable
        From [0, 1] to [0, 1].

    Examples
    --------
    >>> by_numbers(np.array([2.0, 7.0, 10.0, 16.0, 20.0]), Range(60.0, 72.0, 4.0, 16.0))
    array([60., 63., 66., 72., 72.])
    """
    share = np.clip((np.asarray(uptake, dtype=np.float64) - within.low) / (within.high - within.low), 0.0, 1.0)
    return within.least_gy + np.clip(shape(share), 0.0, 1.0) * (within.most_gy - within.least_gy)


def with_mean(dose_gy: Float, volume: Float, mean_gy: float, within: Range) -> Float:
    """Doses shifted by one amount inside the range, so that their mean is as asked (redistribution).

    Parameters
    ----------
    dose_gy, volume : (n,) float
        Painted dose, Gy, and volume of each point.
    mean_gy : float
        Mean that is asked, Gy.
    within : Range
        The range.

    Raises
    ------
    InputError
        When the mean is outside the range.
    """
    least, most = within.least_gy, within.most_gy
    if not least <= mean_gy <= most:
        raise InputError(f"a mean dose of {mean_gy:g} Gy is outside the range of {least:g} to {most:g} Gy")
    share = np.asarray(volume, dtype=np.float64) / np.sum(volume)
    low, high = least - most, most - least
    while high - low > MEAN_WITHIN_GY:
        middle = 0.5 * (low + high)
        if float(share @ np.clip(dose_gy + middle, least, most)) < mean_gy:
            low = middle
        else:
            high = middle
    return np.asarray(np.clip(dose_gy + high, least, most), dtype=np.float64)


def percentile_in(uptake: Float, inside: Bool, percent: float) -> float:
    """Uptake that a percentage of the points inside do not exceed.

    Raises
    ------
    GeometryError
        When there is no point inside, or the image does not cover all of them.
    """
    values = uptake[inside]
    if values.size == 0:
        raise GeometryError("the structure to be painted has no point in the image's grid")
    if not np.isfinite(values).all():
        missing = 100.0 * float(np.mean(~np.isfinite(values)))
        raise GeometryError(f"the image does not cover {missing:.1f} % of the structure that is to be painted")
    return float(np.percentile(values, percent))


def smoothed(uptake: Float, inside: Bool, fwhm_mm: float, spacing_mm: tuple[float, float, float]) -> Float:
    """Uptake smoothed by a Gaussian over the points inside alone, so that nothing comes in over the surface."""
    if fwhm_mm == 0.0:
        return uptake
    sigma = [fwhm_mm / FWHM / step_mm for step_mm in spacing_mm]
    weight = ndimage.gaussian_filter(inside.astype(np.float64), sigma)
    total = ndimage.gaussian_filter(np.where(inside, uptake, 0.0), sigma)
    return np.where(inside, total / np.maximum(weight, 1e-12), uptake)


def extended(dose_gy: Float, inside: Bool, spacing_mm: tuple[float, float, float]) -> Float:
    """Every point outside gets the dose of the nearest point inside."""
    nearest = ndimage.distance_transform_edt(~inside, sampling=spacing_mm, return_distances=False, return_indices=True)
    found: Float = dose_gy[tuple(nearest)]
    return found
