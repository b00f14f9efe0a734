"""Trilinear interpolation of images at points and on other grids."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.geometry.grid import Grid
from tailort.geometry.image import Image


def interpolate(image: Image, points_mm: ArrayLike, outside: float) -> NDArray[np.float64]:
    """Trilinear value of `image` at points (..., 3) x, y, z, LPS mm.

    Beyond the outer voxel faces the value is `outside`; between the outermost centres and the faces
    the nearest centre's value holds.
    """
    points = np.asarray(points_mm, dtype=np.float64)
    index = image.grid.to_index(points).reshape(-1, 3)
    values = _at_indices(np.ascontiguousarray(image.values, dtype=np.float32), index, float(outside))
    return values.reshape(points.shape[:-1])


def resample(image: Image, grid: Grid, outside: float) -> Image:
    """Trilinear values of `image` at the voxel centres of `grid` (same frame of reference), as float32.

    Raises
    ------
    GeometryError
        When the two frames of reference differ.
    """
    grid.require_same_frame(image.grid.frame_of_reference, "the image to resample")
    if image.grid.same_as(grid):
        return image
    to_source = np.linalg.inv(image.grid.affine) @ grid.affine
    values = _on_lattice(
        np.ascontiguousarray(image.values, dtype=np.float32), to_source, np.array(grid.shape), float(outside)
    )
    return Image(grid, values, image.unit)


@numba.njit(cache=True, inline="always")
def trilinear(values: NDArray[np.float32], k: float, j: float, i: float, outside: float) -> Any:
    """Value at a fractional index, for compiled loops; the rules of `interpolate` hold."""
    nk, nj, ni = values.shape
    if not (-0.5 <= k <= nk - 0.5 and -0.5 <= j <= nj - 0.5 and -0.5 <= i <= ni - 0.5):
        return outside
    k = min(max(k, 0.0), nk - 1.0)
    j = min(max(j, 0.0), nj - 1.0)
    i = min(max(i, 0.0), ni - 1.0)
    k0 = min(int(k), max(nk - 2, 0))
    j0 = min(int(j), max(nj - 2, 0))
    i0 = min(int(i), max(ni - 2, 0))
    k1, j1, i1 = min(k0 + 1, nk - 1), min(j0 + 1, nj - 1), min(i0 + 1, ni - 1)
    fk, fj, fi = k - k0, j - j0, i - i0
    near = (values[k0, j0, i0] * (1 - fi) + values[k0, j0, i1] * fi) * (1 - fj) + (
        values[k0, j1, i0] * (1 - fi) + values[k0, j1, i1] * fi
    ) * fj
    far = (values[k1, j0, i0] * (1 - fi) + values[k1, j0, i1] * fi) * (1 - fj) + (
        values[k1, j1, i0] * (1 - fi) + values[k1, j1, i1] * fi
    ) * fj
    return near * (1 - fk) + far * fk


@numba.njit(cache=True, parallel=True)
def _at_indices(
    values: NDArray[np.float32], index: NDArray[np.float64], outside: float
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    out = np.empty(index.shape[0], dtype=np.float64)
    for n in numba.prange(index.shape[0]):
        out[n] = trilinear(values, index[n, 0], index[n, 1], index[n, 2], outside)
    return out


@numba.njit(cache=True, parallel=True)
def _on_lattice(
    values: NDArray[np.float32], to_source: NDArray[np.float64], shape: NDArray[np.int64], outside: float
) -> NDArray[np.float32]:  # pragma: no cover - compiled
    out = np.empty((shape[0], shape[1], shape[2]), dtype=np.float32)
    for k in numba.prange(shape[0]):
        for j in range(shape[1]):
            for i in range(shape[2]):
                out[k, j, i] = trilinear(
                    values,
                    to_source[0, 0] * k + to_source[0, 1] * j + to_source[0, 2] * i + to_source[0, 3],
                    to_source[1, 0] * k + to_source[1, 1] * j + to_source[1, 2] * i + to_source[1, 3],
                    to_source[2, 0] * k + to_source[2, 1] * j + to_source[2, 2] * i + to_source[2, 3],
                    outside,
                )
    return out
