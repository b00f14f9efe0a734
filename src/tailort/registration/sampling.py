"""Draws of a registration within its uncertainty: where the tissue may have been instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError
from tailort.geometry import Grid, Image, resample
from tailort.registration.field import Field, Vectors
from tailort.registration.registration import Registration

# Errors of a deformable registration hang together over about this distance, mm.
TOGETHER_MM = 30.0
# Lattice on which errors are drawn, in parts of that distance.
PARTS = 6.0
# The estimate is made so that 98 % of the lengths of errors lie below twice of it; of a normal distribution in three
# directions they lie below 3.137 standard deviations of one direction.
ALONG_AN_AXIS = 2.0 / 3.137


def drawn_images(
    registration: Registration, images: Sequence[Image], grid: Grid, outside: float, count: int, seed: int
) -> Iterator[tuple[Image, ...]]:
    """Images of the earlier frame on a grid of today, by so many draws of the registration.

    Parameters
    ----------
    registration : Registration
        With its uncertainty.
    images : sequence of Image
        In the earlier frame of reference; each draw maps all of them alike.
    grid : Grid
        In today's frame of reference.
    outside : float
        Value of points that an image does not reach.
    count : int
        Number of draws.
    seed : int
        Of the random numbers: the same seed, the same draws.

    Yields
    ------
    tuple of Image
        Of one draw.

    Raises
    ------
    InputError
        When the registration has no uncertainty, or no draw is asked for.

    Notes
    -----
    A draw adds to each point's displacement a smooth random one: normal in each direction, its size that of the
    estimated uncertainty there, correlated over about 30 mm. It does not know which errors anatomy would forbid.
    """
    if registration.uncertainty is None:
        raise InputError("a registration without an estimate of its uncertainty cannot be drawn from")
    if count < 1:
        raise InputError(f"at least one draw is needed; found {count}")
    known = registration.uncertainty
    size_mm = ALONG_AN_AXIS * resample(known, grid, float(known.values.max())).values
    centres = _centres(grid)
    middle = np.zeros((*grid.shape, 3), dtype=np.float32)
    if registration.displacement is not None:
        middle = (registration.displacement.move(centres) - centres).astype(np.float32)
    generator = np.random.default_rng(seed)
    lattice = _lattice(grid)
    for _ in range(count):
        errors = [resample(Image(lattice, smooth(lattice, generator), "1"), grid, 0.0).values for _ in range(3)]
        vectors = middle + size_mm[..., None] * np.stack(errors, axis=-1)
        other = replace(registration, displacement=Field(grid, vectors.astype(np.float32)), quality=None)
        yield tuple(other.map_image(image, grid, outside) for image in images)


def smooth(lattice: Grid, generator: np.random.Generator) -> Vectors:
    """Random numbers of mean 0 and standard deviation 1 in each voxel, correlated over `TOGETHER_MM`.

    Parameters
    ----------
    lattice : Grid
        Where.
    generator : numpy Generator
        Of the random numbers.
    """
    widths = [TOGETHER_MM / 2.0 / spacing for spacing in lattice.spacing_mm]
    noise = ndimage.gaussian_filter(generator.normal(size=lattice.shape), widths, mode="wrap")
    # White noise through a Gaussian of width w keeps a variance of 1 / (2 w sqrt(pi)) along each axis.
    kept = float(np.prod([_variance_left(width, n) for width, n in zip(widths, lattice.shape, strict=True)]))
    drawn: Vectors = (noise / np.sqrt(kept)).astype(np.float32)
    return drawn


def _variance_left(width: float, size: int) -> float:
    """Variance of unit noise after the filter along an axis that wraps."""
    peak = np.zeros(size)
    peak[0] = 1.0
    return float((ndimage.gaussian_filter1d(peak, width, mode="wrap") ** 2).sum())


def _lattice(grid: Grid) -> Grid:
    """Coarse grid over all of a grid, a voxel farther on every side."""
    spacing = TOGETHER_MM / PARTS
    low, high = np.zeros(3), np.array(grid.shape, dtype=np.float64) - 1.0
    corners = grid.to_world(np.array([[a, b, c] for a in (low[0], high[0]) for b in (low[1], high[1])
                                      for c in (low[2], high[2])]))  # fmt: skip
    first, last = corners.min(axis=0) - spacing, corners.max(axis=0) + spacing
    count = np.ceil((last - first) / spacing).astype(int) + 1
    return Grid.axial(count[::-1], (spacing,) * 3, first, grid.frame_of_reference)


def _centres(grid: Grid) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float64) for n in grid.shape], indexing="ij"), axis=-1)
    return np.asarray(grid.to_world(index))
