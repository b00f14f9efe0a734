"""Dose painting by an image of function: from the uptake of each point of a tumour to the dose that it is to get.

The painted dose never leaves the range that is given. What the true function from image to dose is, nobody knows; among
shapes the line is the usual one, and a sigmoid is the hardest to deliver.

A PET shows the edge of a tumour darker than it is: its blur carries uptake over the surface. In a tumour of which most
lies near its surface a painting follows this, and not the biology, unless the blur is known and taken back.

References
----------
Bentzen 2005, Lancet Oncol 6:112 (dose painting); Vanderstraeten et al. 2006, PMB 51:5697 (dose painting by numbers, the
line and the quality factor); Bowen et al. 2009, Radiother Oncol 93:70 (other shapes); Erlandsson et al. 2012, PMB
57:R119 (blur of PET over the surface of a region, and its correction by the blurred region).
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
# Uptake is never raised by more than the inverse of this for what blur has carried away: noise would be raised with it.
LEAST_SHARE = 0.25
# What lies around is told by this much tissue beyond the reach of the blur, mm.
AROUND_MM = 10.0


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
    weight, total = (
        _blurred(values, fwhm_mm, spacing_mm) for values in (inside.astype(np.float64), np.where(inside, uptake, 0.0))
    )
    return np.where(inside, total / np.maximum(weight, 1e-12), uptake)


def without_blur(
    uptake: Float, volume: Float, inside: Bool, point_spread_mm: float, fwhm_mm: float,
    spacing_mm: tuple[float, float, float],
) -> Float:  # fmt: skip
    """Uptake inside as it would be seen if the image's blur carried nothing over the surface, and smoothed as asked.

    Parameters
    ----------
    uptake : (k, j, i) float
        As the image shows it; not a number where it shows nothing.
    volume : (k, j, i) float
        Share of each voxel that is inside.
    inside : (k, j, i) bool
        Voxels that are painted.
    point_spread_mm : float
        Of the image: full width at half maximum, mm, above 0.
    fwhm_mm : float
        Of the Gaussian by which it is smoothed; 0 is not smoothed.
    spacing_mm : (3,) float
        Of the voxels, (k, j, i).

    Raises
    ------
    GeometryError
        When the image shows nothing of what lies around.

    Notes
    -----
    A share R of what a voxel shows comes from inside: the structure blurred by the point spread. The rest is what lies
    around, B, the median beyond the reach of the blur. Smoothed are u - (1 - R) B and R, each by itself, and then
    divided, so that voxels count by how much they show of the inside. What varies inside stays blurred.
    """
    away_mm = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    around = (away_mm > point_spread_mm) & (away_mm <= point_spread_mm + AROUND_MM) & np.isfinite(uptake)
    if not around.any():
        raise GeometryError("the image shows nothing of what lies around the painted structures: no blur is corrected")
    share = _blurred(np.asarray(volume, dtype=np.float64), point_spread_mm, spacing_mm)
    own = np.where(inside, uptake - (1.0 - share) * np.median(uptake[around]), 0.0)
    share, whole = np.where(inside, share, 0.0), inside.astype(np.float64)
    if fwhm_mm > 0.0:
        own, share, whole = (_blurred(values, fwhm_mm, spacing_mm) for values in (own, share, whole))
    return np.where(inside, own / np.maximum(np.maximum(share, LEAST_SHARE * whole), 1e-12), uptake)


def _blurred(values: Float, fwhm_mm: float, spacing_mm: tuple[float, float, float]) -> Float:
    found: Float = ndimage.gaussian_filter(values, [fwhm_mm / FWHM / step_mm for step_mm in spacing_mm])
    return found


def extended(dose_gy: Float, inside: Bool, spacing_mm: tuple[float, float, float]) -> Float:
    """Every point outside gets the dose of the nearest point inside."""
    nearest = ndimage.distance_transform_edt(~inside, sampling=spacing_mm, return_distances=False, return_indices=True)
    found: Float = dose_gy[tuple(nearest)]
    return found
