"""The steepest edge around the brightest part of a target."""

from __future__ import annotations

import heapq
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Parts of the contrast above and below which a voxel is inside and outside for sure, before the gradient is asked.
_SURELY_IN, _SURELY_OUT = 0.8, 0.2
# Beyond the target by so much nothing belongs to it, mm.
_BEYOND_MM = 10.0


def require_contrast(top: float, background: float | None) -> float:
    """Return the background; refuse one that is missing or not below the target's highest value."""
    if background is None or not np.isfinite(background):
        raise InputError("this method needs the uptake around the target, and it is not known; give --background")
    if background >= top:
        raise InputError(f"the uptake around ({background:g}) is not below the highest in the target ({top:g})")
    return background


def steepness(values: Values, spacing_mm: tuple[float, float, float], blur_mm: float) -> Values:
    """Length of the gradient after a Gaussian blur of that standard deviation, per mm."""
    sigma = [blur_mm / spacing for spacing in spacing_mm]
    squared = np.zeros(values.shape)
    for axis in range(3):
        slope = np.gradient(ndimage.gaussian_filter(values, sigma, mode="nearest"), spacing_mm[axis], axis=axis)
        squared += slope**2
    return np.asarray(np.sqrt(squared))


def within_gradient(
    values: Values, target: Mask, spacing_mm: tuple[float, float, float], background: float, blur_mm: float
) -> Mask:
    """What the steepest edge around the brightest part of a target encloses, also beyond the target.

    Parameters
    ----------
    values : (k, j, i) float
        Around the target.
    target : (k, j, i) bool
        On the same voxels.
    spacing_mm : (3,) float
        Of the voxels, mm.
    background : float
        Uptake around.
    blur_mm : float
        Standard deviation of the Gaussian that calms noise before the slope is taken; a Gaussian spot of standard
        deviation s gets its edge at the square root of s squared and blur squared.

    Notes
    -----
    A watershed: from what is inside and what is outside for sure the voxels are taken one after the other, the flattest
    first, each to the side that reaches it; both sides meet on the steepest edge.
    """
    top = float(values[target].max())
    contrast = (values - background) / (top - require_contrast(top, background))
    away_mm = ndimage.distance_transform_edt(~target, sampling=spacing_mm)
    labels = np.zeros(values.shape, dtype=np.int8)
    labels[(contrast >= _SURELY_IN) & target] = 1
    labels[(contrast <= _SURELY_OUT) | (away_mm > _BEYOND_MM)] = 2
    _flood(steepness(values, spacing_mm, blur_mm), labels)
    return np.asarray(labels == 1, dtype=np.bool_)


@numba.njit(cache=True)
def _flood(height: Values, labels: NDArray[np.int8]) -> Any:  # pragma: no cover - compiled
    """Give every voxel without a label that of the side which reaches it first, the lowest first."""
    nk, nj, ni = labels.shape
    steps = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
    queue = [(0.0, 0, 0, 0, 0, np.int8(0))]
    queue.pop()
    count = 0
    for k in range(nk):
        for j in range(nj):
            for i in range(ni):
                if labels[k, j, i] != 0:
                    for dk, dj, di in steps:
                        a, b, c = k + dk, j + dj, i + di
                        if 0 <= a < nk and 0 <= b < nj and 0 <= c < ni and labels[a, b, c] == 0:
                            heapq.heappush(queue, (height[a, b, c], count, a, b, c, labels[k, j, i]))
                            count += 1
    while len(queue) > 0:
        _, _, k, j, i, label = heapq.heappop(queue)
        if labels[k, j, i] != 0:
            continue
        labels[k, j, i] = label
        for dk, dj, di in steps:
            a, b, c = k + dk, j + dj, i + di
            if 0 <= a < nk and 0 <= b < nj and 0 <= c < ni and labels[a, b, c] == 0:
                heapq.heappush(queue, (height[a, b, c], count, a, b, c, label))
                count += 1
