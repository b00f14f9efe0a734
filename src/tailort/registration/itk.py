"""The bridge to SimpleITK: arrays with the place of their voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from tailort.geometry import Grid

WORK_UNITS = 8
"""Parts that sums are split into, whatever the number of cores: the same input gives the same result."""


def to_itk(grid: Grid, values: NDArray[Any], kind: type[np.generic] = np.float32) -> SimpleITK.Image:
    """Copy an array (k, j, i), or (k, j, i, 3) of vectors, with the place of its voxels."""
    image = SimpleITK.GetImageFromArray(values.astype(kind, copy=False), isVector=values.ndim == 4)
    columns = np.asarray(grid.affine[:3, :3])[:, ::-1]
    spacing = np.linalg.norm(columns, axis=0)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection([float(d) for d in (columns / spacing).ravel()])
    image.SetOrigin([float(o) for o in grid.origin_mm])
    return image
