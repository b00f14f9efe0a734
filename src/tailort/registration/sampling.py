"""Draws of a registration within its uncertainty: where the tissue may have been instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError
from tailort.geometry import Grid, Image, interpolate
from tailort.geometry.resample import trilinear
from tailort.registration.field import Vectors
from tailort.registration.registration import Registration

Float = NDArray[np.float64]
Values = NDArray[np.float32]

# Errors of a deformable registration hang together over about this distance, mm.
TOGETHER_MM = 30.0
# Lattice on which errors are drawn, in parts of that distance.
PARTS = 4.0
# The estimate is made so that 98 % of the lengths of errors lie below twice of it; of a normal distribution in three
# directions they lie below 3.137 standard deviations of one direction.
ALONG_AN_AXIS = 2.0 / 3.137


def drawn_images(
    registration: Registration,
    images: Sequence[Image],
    grid: Grid,
    outside: float,
    count: int,
    seed: int,
) -> Iterator[tuple[Image, ...]]:
    """Images of the earlier frame on a grid of today, by so many draws of the registration.

    Parameters
    ----------
    registration, images, grid, outside, count, seed
        As in `drawn_values`.

    Yields
    ------
    tuple of Image
        Of one draw.

    Raises
    ------
    InputError
        When the registration has no uncertainty, or no draw is asked for.
    """
    voxels = np.arange(grid.size)
    for drawn in drawn_values(registration, images, grid, voxels, outside, count, seed):
        yield tuple(
            Image(grid, values.reshape(grid.shape), image.unit) for values, image in zip(drawn, images, strict=True)
        )


def drawn_values(
    registration: Registration,
    images: Sequence[Image],
    grid: Grid,
    voxels: NDArray[np.integer],
    outside: float,
    count: int,
    seed: int,
) -> Iterator[tuple[Values, ...]]:
    """Values of images of the earlier frame in some voxels of a grid of today, by so many draws of the registration.

    Parameters
    ----------
    registration : Registration
        With its uncertainty.
    images : sequence of Image
        In the earlier frame of reference; each draw maps all of them alike.
    grid : Grid
        In today's frame of reference.
    voxels : (n,) int
        Flat indices of the voxels of the grid that are asked for.
    outside : float
        Value of points that an image does not reach.
    count : int
        Number of draws.
    seed : int
        Of the random numbers: the same seed, the same draws, whatever voxels are asked for.

    Yields
    ------
    tuple of (n,) float32
        Of one draw, one an image.

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
    points = grid.to_world(np.stack(np.unravel_index(voxels, grid.shape), axis=-1))
    middle = points if registration.displacement is None else registration.displacement.move(points)
    generator = np.random.default_rng(seed)
    lattice = _lattice(grid)
    size_mm = interpolate(known, points, float(known.values.max())) * ALONG_AN_AXIS / np.sqrt(_between_nodes(lattice))
    to_lattice = np.asarray(np.linalg.inv(lattice.affine), dtype=np.float64)
    maps = [np.asarray(np.linalg.inv(i.grid.affine) @ registration.rigid.affine, dtype=np.float64) for i in images]
    read = [np.ascontiguousarray(image.values, dtype=np.float32) for image in images]
    for _ in range(count):
        errors = [smooth(lattice, generator) for _ in range(3)]
        moved = _moved(points, middle, size_mm, to_lattice, errors[0], errors[1], errors[2])
        yield tuple(_read(values, to_source, moved, outside) for values, to_source in zip(read, maps, strict=True))


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
    white = generator.standard_normal(lattice.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(white, widths, mode="wrap")
    # White noise through a Gaussian of width w keeps a variance of 1 / (2 w sqrt(pi)) along each axis.
    kept = float(np.prod([_variance_left(width, n) for width, n in zip(widths, lattice.shape, strict=True)]))
    drawn: Vectors = (noise / np.float32(np.sqrt(kept))).astype(np.float32)
    return drawn


def _variance_left(width: float, size: int) -> float:
    """Variance of unit noise after the filter along an axis that wraps."""
    return float((_kernel(width, size) ** 2).sum())


def _between_nodes(lattice: Grid) -> float:
    """Mean variance of `smooth` between the nodes of its lattice over that at the nodes: interpolation takes some."""
    left = 1.0
    for spacing, size in zip(lattice.spacing_mm, lattice.shape, strict=True):
        kernel = _kernel(TOGETHER_MM / 2.0 / spacing, size)
        # (1 - f)^2 + f^2 and 2 f (1 - f) have the means 2/3 and 1/3.
        left *= (2.0 + float(kernel @ np.roll(kernel, 1)) / float(kernel @ kernel)) / 3.0
    return left


def _kernel(width: float, size: int) -> Float:
    peak = np.zeros(size)
    peak[0] = 1.0
    return np.asarray(ndimage.gaussian_filter1d(peak, width, mode="wrap"))


@numba.njit(cache=True, parallel=True)
def _moved(
    points: Float, middle: Float, size_mm: Float, to_lattice: Float, x_error: Values, y_error: Values, z_error: Values
) -> Float:  # pragma: no cover - compiled
    """Where points are displaced to when their displacement is off by so many standard deviations."""
    out = np.empty_like(middle)
    for n in numba.prange(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        k = to_lattice[0, 0] * x + to_lattice[0, 1] * y + to_lattice[0, 2] * z + to_lattice[0, 3]
        j = to_lattice[1, 0] * x + to_lattice[1, 1] * y + to_lattice[1, 2] * z + to_lattice[1, 3]
        i = to_lattice[2, 0] * x + to_lattice[2, 1] * y + to_lattice[2, 2] * z + to_lattice[2, 3]
        out[n, 0] = middle[n, 0] + size_mm[n] * trilinear(x_error, k, j, i, 0.0)
        out[n, 1] = middle[n, 1] + size_mm[n] * trilinear(y_error, k, j, i, 0.0)
        out[n, 2] = middle[n, 2] + size_mm[n] * trilinear(z_error, k, j, i, 0.0)
    return out


@numba.njit(cache=True, parallel=True)
def _read(values: Values, to_source: Float, points: Float, outside: float) -> Values:  # pragma: no cover - compiled
    out = np.empty(len(points), dtype=np.float32)
    for n in numba.prange(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        k = to_source[0, 0] * x + to_source[0, 1] * y + to_source[0, 2] * z + to_source[0, 3]
        j = to_source[1, 0] * x + to_source[1, 1] * y + to_source[1, 2] * z + to_source[1, 3]
        i = to_source[2, 0] * x + to_source[2, 1] * y + to_source[2, 2] * z + to_source[2, 3]
        out[n] = trilinear(values, k, j, i, outside)
    return out


def _lattice(grid: Grid) -> Grid:
    """Coarse grid over all of a grid, a voxel farther on every side."""
    spacing = TOGETHER_MM / PARTS
    low, high = np.zeros(3), np.array(grid.shape, dtype=np.float64) - 1.0
    corners = grid.to_world(np.array([[a, b, c] for a in (low[0], high[0]) for b in (low[1], high[1])
                                      for c in (low[2], high[2])]))  # fmt: skip
    first, last = corners.min(axis=0) - spacing, corners.max(axis=0) + spacing
    count = np.ceil((last - first) / spacing).astype(int) + 1
    return Grid.axial(count[::-1], (spacing,) * 3, first, grid.frame_of_reference)
