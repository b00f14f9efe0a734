"""What registration looks at: CT numbers on a scale of their own, the body without the couch, scans made coarser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError
from tailort.geometry import Grid, Image, resample

Mask = NDArray[np.bool_]
Tell = Callable[[float], None]
Stop = Callable[[], bool]

LEAST_EXTENT_MM = 60.0
"""A scan that is shorter than this in one direction shows too little to be registered."""
LEAST_PLANES = 5

# Soft tissue keeps its CT numbers, lung and bone are compressed: a vessel in the lung or the edge of a rib shall
# not outweigh the mediastinum.
_HU = (-1000.0, -900.0, -500.0, -200.0, 300.0, 1500.0)
_TONE = (0.0, 40.0, 140.0, 220.0, 720.0, 920.0)
_BODY_ABOVE_HU = -400.0
_BODY_GRID_MM = 4.0
_COUCH_MM = 8.0


def tone(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return CT numbers on the scale that is compared, 0 (air) to 920."""
    return np.interp(hu, _HU, _TONE).astype(np.float32)


def on_scale(image: Image) -> Image:
    """Return an image as it is compared: CT numbers by `tone`, anything else as it is."""
    values = np.asarray(image.values, dtype=np.float32)
    return Image(image.grid, tone(values) if image.unit == "HU" else values, "1")


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan as it is compared.

    Parameters
    ----------
    image : Image
        As given.
    body : Mask
        On the image's grid: the patient without couch.
    """

    image: Image
    body: Mask


def look_at(image: Image, called: str) -> Scan:
    """Find the body in a scan.

    Raises
    ------
    InputError
        When the scan is too small to be registered, or nothing but air.
    """
    extent = np.array(image.grid.shape) * np.array(image.grid.spacing_mm)
    if extent.min() < LEAST_EXTENT_MM or min(image.grid.shape) < LEAST_PLANES:
        found = " x ".join(f"{mm:.0f}" for mm in extent[::-1])
        raise InputError(
            f"{called} is too small to be registered: {found} mm in {min(image.grid.shape)} planes at least, at least "
            f"{LEAST_EXTENT_MM:g} mm and {LEAST_PLANES} planes are needed in every direction; give the whole scan"
        )
    body = _body(image)
    if not body.any():
        raise InputError(f"{called} shows no body (nothing stands out from the background); give another scan")
    return Scan(image, body)


def smoothed(image: Image, spacing_mm: float, grid: Grid | None = None, outside: float = 0.0) -> Image:
    """Return an image on voxels of about `spacing_mm`, first smoothed where that is coarser than its own.

    Parameters
    ----------
    image : Image
        As it is compared.
    spacing_mm : float
        Of the result.
    grid : Grid or None
        The voxels of the result; None takes the image's own extent, and its own voxels where they are coarser.
    outside : float
        Value beyond the image.
    """
    # Squares of widths add up: going coarser in two steps is going there at once.
    sigma = [0.4 * max(0.0, (spacing_mm / own) ** 2 - 1.0) ** 0.5 for own in image.grid.spacing_mm]
    values = np.asarray(image.values, dtype=np.float32)
    if max(sigma) > 0:
        values = ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3.0)
    target = grid if grid is not None else image.grid.with_spacing(np.maximum(spacing_mm, image.grid.spacing_mm))
    return resample(Image(image.grid, values, "1"), target, outside)


def bounds(mask: Mask) -> list[tuple[int, int]]:
    """First voxel and one past the last that a mask holds along k, j, i."""
    found = []
    for axis in range(3):
        held = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        found.append((int(held[0]), int(held[-1]) + 1))
    return found


def axial_cover(grid: Grid, spacing_mm: float) -> Grid:
    """Return the axial grid over all that a grid covers, in voxels of `spacing_mm`."""
    low, high = grid.faces_mm()
    shape = np.maximum(1, np.ceil((high - low) / spacing_mm - 1e-6)).astype(int)
    middle = (low + high) / 2
    return Grid.axial(shape[::-1], (spacing_mm,) * 3, middle - (shape - 1) / 2 * spacing_mm, grid.frame_of_reference)


def _body(image: Image) -> Mask:
    """Largest connected part above the background that the couch has been opened away from, filled slice by slice."""
    coarse = smoothed(Image(image.grid, image.values, "1"), _BODY_GRID_MM, outside=float(image.values.min()))
    above = coarse.values > (_BODY_ABOVE_HU if image.unit == "HU" else _between(coarse.values))
    radius = [max(1, round(_COUCH_MM / spacing)) for spacing in coarse.grid.spacing_mm[1:]]
    j, i = np.ogrid[-radius[0] : radius[0] + 1, -radius[1] : radius[1] + 1]
    disc = ((j / radius[0]) ** 2 + (i / radius[1]) ** 2 <= 1.0)[None]
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in above])
    opened = ndimage.binary_opening(np.pad(filled, ((0, 0), (radius[0],) * 2, (radius[1],) * 2), mode="edge"), disc)
    opened = opened[:, radius[0] : -radius[0], radius[1] : -radius[1]]
    parts, count = ndimage.label(opened)
    if not count:
        return np.zeros(image.grid.shape, dtype=bool)
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return resample(Image(coarse.grid, largest.astype(np.float32), "1"), image.grid, 0.0).values > 0.5


def _between(values: NDArray[np.float32]) -> float:
    """Threshold between background and body by Otsu's criterion (doi:10.1109/TSMC.1979.4310076)."""
    counts, edges = np.histogram(values, 128, (float(values.min()), float(np.percentile(values, 99.5)) + 1e-6))
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(apart))])
