"""Means of an image over the voxels of a coarser grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tailort.geometry.grid import Grid
from tailort.geometry.image import Image


def average(image: Image, grid: Grid, outside: float) -> Image:
    """Mean of `image` over each voxel of `grid`, as float32; `outside` holds beyond the image.

    Both grids must be along the patient's axes. Unlike interpolation at voxel centres it keeps the integral,
    so a density on the dose grid has the mass of the CT.

    Raises
    ------
    GeometryError
        When the frames of reference differ or a grid is oblique.
    """
    grid.require_same_frame(image.grid.frame_of_reference, "the image to average")
    if image.grid.same_as(grid):
        return image
    shares = [
        _overlap(target, target_step, source, source_step)
        for target, target_step, source, source_step in zip(
            grid.axes_mm(), grid.spacing_mm, image.grid.axes_mm(), image.grid.spacing_mm, strict=True
        )
    ]
    inside = [np.asarray(share.sum(axis=1)).ravel() for share in shares]
    in_k, in_j, in_i = shares
    rows = np.flatnonzero(inside[0] > 0)
    out = np.full(grid.shape, outside, dtype=np.float32)
    for k in rows:
        line = in_k[[k], :]
        plane = np.tensordot(line.data, image.values[line.indices].astype(np.float32), axes=1)
        plane = (in_i @ (in_j @ plane).T).T
        covered = inside[0][k] * inside[1][:, None] * inside[2][None, :]
        out[k] = plane + (1.0 - covered) * outside
    return Image(grid, out, image.unit)


def _overlap(
    target: NDArray[np.float64], target_step: float, source: NDArray[np.float64], source_step: float
) -> sparse.csr_array:
    """Share of each target interval that each source interval covers."""
    low = np.maximum(target[:, None] - target_step / 2, source[None, :] - source_step / 2)
    high = np.minimum(target[:, None] + target_step / 2, source[None, :] + source_step / 2)
    share = np.clip(high - low, 0.0, None) / target_step
    share[share < 1e-9] = 0.0
    return sparse.csr_array(share)
