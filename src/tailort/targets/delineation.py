"""What an image of function singles out on its voxels: delineated, cut, smoothed, and moved to see how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError
from tailort.targets.steepest_edge import require_contrast, steepness, within_gradient
from tailort.targets.uptake_methods import Chosen, level_of

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

_SURFACE_PERCENTILE = 95.0


@dataclass(frozen=True, eq=False)
class Delineation:
    """What a method singles out, before it is cut to the target.

    Parameters
    ----------
    height : (k, j, i) float
        At and above 0 inside: how far a voxel lies above the level that divides, or within the edge, mm.
    level : float
        In the unit of the image: that level, or the mean on the edge.
    height_per_unit : float
        By how much the height falls where the level rises by one: 1, or for an edge 1 over its steepness.
    """

    height: Values
    level: float
    height_per_unit: float

    @property
    def mask(self) -> Mask:
        """Voxels inside."""
        return np.asarray(self.height >= 0, dtype=np.bool_)


@dataclass(frozen=True)
class Spread:
    """What a sub-volume becomes when something that is not known exactly is moved.

    Parameters
    ----------
    moved : str
        What, and by how much.
    least_cm3, most_cm3 : float
        Smallest and largest volume.
    surface_mm : float or None
        By how far the surface moves, 95th percentile of both ways and both directions; None where nothing remains.
    """

    moved: str
    least_cm3: float
    most_cm3: float
    surface_mm: float | None


@dataclass(frozen=True)
class Shaping:
    """Choices after the delineation.

    Parameters
    ----------
    smoothing_mm : float
        Standard deviation of a Gaussian over the sub-volume, which is then cut at one half: corners go, flat walls
        stay. 0 leaves it as it is.
    least_cm3 : float
        Separate parts that are smaller are dropped, and told.
    """

    smoothing_mm: float = 0.0
    least_cm3: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("smoothing", self.smoothing_mm), ("least size", self.least_cm3)):
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"the {name} of a sub-volume is 0 or more; found {value:g}")


def delineate(
    values: Values, within: Mask, spacing_mm: Spacing, chosen: Chosen, background: float | None = None,
    *, blur_mm: float = 0.0, sign: float = 1.0,
) -> Delineation:  # fmt: skip
    """Single out what is high, in the target and around it.

    Parameters
    ----------
    values : (k, j, i) float
        Around the target, what is sought high; not a number where nothing is known, which is outside.
    within : (k, j, i) bool
        The target; its values set the level.
    spacing_mm : (3,) float
        Of the voxels, mm.
    chosen : Chosen
        Method and number.
    background : float or None
        Uptake around, for the methods that need it.
    blur_mm : float
        Standard deviation of the blur with which a slope is taken.
    sign : float
        -1 where values were turned because low ones are sought: an absolute number is turned with them.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, np.nanmin(values))
    if chosen.method.id != "gradient":
        level = level_of(filled[within], chosen, background, sign)
        return Delineation(np.where(known, filled - level, -np.inf), level, 1.0)
    inside = within_gradient(
        filled, within, spacing_mm, require_contrast(float(filled[within].max()), background), blur_mm
    )
    inside &= known
    edge = _surface(inside)
    # Distances between voxel centres; the edge lies half-way between the last inside and the first outside.
    half_mm = min(spacing_mm) / 2.0
    depth_mm = ndimage.distance_transform_edt(inside, sampling=spacing_mm) - half_mm
    height_mm = np.where(inside, depth_mm, half_mm - ndimage.distance_transform_edt(~inside, sampling=spacing_mm))
    steep = float(steepness(filled, spacing_mm, blur_mm)[edge].mean())
    return Delineation(np.asarray(height_mm), float(filled[edge].mean()), 1.0 / steep)


def shape(height: Values, free: Mask, spacing_mm: Spacing, shaping: Shaping) -> tuple[Mask, Values, tuple[float, ...]]:
    """Cut a delineation to where it may lie, smooth it, and drop parts that are too small.

    Parameters
    ----------
    height : (k, j, i) float
        At and above 0 inside.
    free : (k, j, i) bool
        The target without what is spared.
    spacing_mm : (3,) float
        Of the voxels, mm.
    shaping : Shaping
        As chosen.

    Returns
    -------
    kept : (k, j, i) bool
        Inside `free`.
    height : (k, j, i) float
        With its edge at 0, for contours; smoothed where that was asked.
    dropped_cm3 : tuple of float
        Parts that were too small, the largest first.
    """
    inside = (height >= 0) & free
    if shaping.smoothing_mm > 0:
        sigma = [shaping.smoothing_mm / spacing for spacing in spacing_mm]
        height = ndimage.gaussian_filter(inside.astype(np.float64), sigma, mode="constant") - 0.5
        inside = (height >= 0) & free
    voxel_cm3 = float(np.prod(spacing_mm)) / 1000.0
    parts, count = ndimage.label(inside, ndimage.generate_binary_structure(3, 3))
    sizes = np.bincount(parts.ravel(), minlength=count + 1) * voxel_cm3
    small = (sizes < shaping.least_cm3) & (np.arange(len(sizes)) > 0)
    dropped = tuple(sorted((float(size) for size in sizes[small]), reverse=True))
    return inside & ~small[parts], np.where(small[parts], -np.abs(height), height), dropped


def uncertainties(
    made: Delineation, free: Mask, spacing_mm: Spacing, shaping: Shaping, noise: float | None, reach_mm: float,
    reach_known: bool,
) -> tuple[Spread, ...]:  # fmt: skip
    """What a sub-volume becomes when its level is moved by the noise, and when the image is moved.

    Parameters
    ----------
    made : Delineation
        Of the image as it lies.
    free, spacing_mm, shaping
        As for `shape`.
    noise : float or None
        Standard deviation, in the unit of the image; None is unknown and gives no spread.
    reach_mm : float
        By how far the image is moved along each axis, there and back.
    reach_known : bool
        Whether that is the uncertainty of a registration, or the least that it can be.
    """
    room = np.ceil((reach_mm + 3.0 * shaping.smoothing_mm) / np.array(spacing_mm)).astype(int) + 1
    held = [np.flatnonzero(free.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(max(0, h[0] - r), h[-1] + r + 1) for h, r in zip(held, room, strict=True))
    free, height = free[box], made.height[box]
    as_it_is = shape(height, free, spacing_mm, shaping)[0]
    found = []
    if noise is not None:
        step = noise * made.height_per_unit
        raised = [shape(height + by, free, spacing_mm, shaping)[0] for by in (-step, step)]
        told = f"level by +-{noise:.3g}, the noise of single voxels"
        found.append(_spread(told, raised, as_it_is, spacing_mm))
    known = finite(height)
    shifted = []
    for axis in range(3):
        for way in (-1.0, 1.0):
            by = [way * reach_mm / spacing_mm[axis] if a == axis else 0.0 for a in range(3)]
            moved = ndimage.shift(known, by, order=1, mode="nearest")
            shifted.append(shape(moved, free, spacing_mm, shaping)[0])
    told = "what is known of its registration" if reach_known else "half a voxel, its registration is not known"
    found.append(_spread(f"image by {reach_mm:.1f} mm along each axis: {told}", shifted, as_it_is, spacing_mm))
    return tuple(found)


def _spread(moved: str, masks: Sequence[Mask], as_it_is: Mask, spacing_mm: Spacing) -> Spread:
    volumes = [float(mask.sum() * np.prod(spacing_mm) / 1000.0) for mask in masks]
    distances = [surface_distance_mm(as_it_is, mask, spacing_mm) for mask in masks]
    known = [d for d in distances if d is not None]
    return Spread(moved, min(volumes), max(volumes), max(known) if len(known) == len(distances) else None)


def surface_distance_mm(one: Mask, other: Mask, spacing_mm: Spacing) -> float | None:
    """95th percentile of the distances from the surface of each mask to that of the other, mm; None if one is empty."""
    if not one.any() or not other.any():
        return None
    mine, theirs = (np.argwhere(_surface(mask)) * np.array(spacing_mm) for mask in (one, other))
    # Takes long to load.
    from scipy.spatial import KDTree

    away = (KDTree(theirs).query(mine)[0], KDTree(mine).query(theirs)[0])
    return float(np.percentile(np.concatenate(away), _SURFACE_PERCENTILE))


def _surface(mask: Mask) -> Mask:
    return np.asarray(mask & ~ndimage.binary_erosion(mask, border_value=0), dtype=np.bool_)


def finite(height: Values) -> Values:
    """A height whose unknown voxels are as low as the lowest known one."""
    known = np.isfinite(height)
    return np.where(known, height, np.min(height, where=known, initial=0.0))
