"""How far a deformable registration is known, voxel by voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError
from tailort.geometry import Grid, Image
from tailort.registration.field import centres
from tailort.registration.quality import round_trip_mm
from tailort.registration.registration import Registration
from tailort.registration.scan import on_scale, smoothed

Values = NDArray[np.float32]

GRID_MM = 4.0
WINDOW_MM = 6.0
"""Standard deviation of the neighbourhood in which contrast and disagreement are judged."""
FLOOR_MM = 0.5
"""No voxel is known better: noise and interpolation."""
LONGEST_MM = 10.0
"""What is not seen at all is not called less certain than this; where the earlier scan does not reach, it holds."""
# Weights of the round trip and of what is not seen, found on two virtual thoraces of known deformation.
_ROUND_TRIP = 0.7
_UNSEEN = 0.17


def estimate(fixed: Image, moving: Image, forward: Registration, backward: Registration) -> Image:
    """Standard deviation of a mapped point, mm, per voxel of a coarse grid of today.

    Parameters
    ----------
    fixed, moving : Image
        Today's and the earlier CT, HU.
    forward, backward : Registration
        Today to earlier, and earlier to today, each found by itself.

    Returns
    -------
    Image
        mm, on voxels of about 4 mm over the forward displacement's grid.

    Raises
    ------
    InputError
        When a scan is not a CT.

    Notes
    -----
    Three parts are added in squares: a floor; the round trip there and back, which shows where the two searches
    disagree; and what the images cannot show, the residual difference divided by the contrast along the direction
    that has least of it (square root of the least eigenvalue of the averaged structure tensor), so that inside an
    organ without texture, or along a smooth edge, the estimate is wide.

    Calibrated on thoraces of known deformation (breathing, weight loss, vertebrae that turned rigidly): below twice the
    estimate lie 98 % of the errors of two virtual patients, and 92 % of those of a
    thorax whose lungs show nothing. It holds for scans and deformations of that kind.

    References
    ----------
    Christensen and Johnson, IEEE Trans Med Imaging 2001;20:568 (inverse consistency), doi:10.1109/42.932742.
    """
    if (fixed.unit, moving.unit) != ("HU", "HU"):
        raise InputError(
            f"the uncertainty of a registration is read off CT numbers; found '{fixed.unit}' and '{moving.unit}'"
        )
    whole = forward.displacement.grid if forward.displacement is not None else fixed.grid
    grid = whole.with_spacing(GRID_MM)
    today = smoothed(on_scale(fixed), GRID_MM, grid).values
    earlier = smoothed(on_scale(moving), GRID_MM, moving.grid)
    read = forward.map_image(earlier, grid, np.nan).values
    reached = np.isfinite(read)
    residual = np.where(reached, today - read, 0.0)
    window = [WINDOW_MM / spacing for spacing in grid.spacing_mm]
    disagreement = np.sqrt(ndimage.gaussian_filter(residual**2, window, mode="nearest"))
    # Noise has slopes too: white noise of half the residual's variance leaves this in a central difference.
    noise = disagreement**2 / (4.0 * max(grid.spacing_mm) ** 2)
    contrast = np.sqrt(np.maximum(_least_contrast(today, grid, window) - noise, 1e-9))
    unseen = np.minimum(_UNSEEN * disagreement / contrast, LONGEST_MM)
    trip = ndimage.gaussian_filter(_round_trip(forward, backward, grid) ** 2, window, mode="nearest")
    variance = FLOOR_MM**2 + _ROUND_TRIP**2 * trip + unseen**2
    return Image(grid, np.where(reached, np.sqrt(variance), LONGEST_MM).astype(np.float32), "mm")


def _least_contrast(values: Values, grid: Grid, window: list[float]) -> NDArray[np.float64]:
    """Least eigenvalue of the averaged structure tensor: squared change per mm where the image changes least."""
    slopes = np.gradient(values.astype(np.float32), *grid.spacing_mm)
    tensor = np.empty((*grid.shape, 3, 3), dtype=np.float32)
    for a in range(3):
        for b in range(a, 3):
            tensor[..., a, b] = ndimage.gaussian_filter(slopes[a] * slopes[b], window, mode="nearest")
            tensor[..., b, a] = tensor[..., a, b]
    return np.asarray(np.linalg.eigvalsh(tensor)[..., 0], dtype=np.float64)


def _round_trip(forward: Registration, backward: Registration, grid: Grid) -> NDArray[np.float64]:
    """Distance of each voxel centre from where it comes back, mm."""
    out = np.empty(grid.shape)
    for k in range(grid.shape[0]):
        out[k] = round_trip_mm(forward, backward, centres(grid, k))
    return out
