"""What a cone-beam CT of a treatment machine shows: less of the body than a planning CT, and other CT numbers.

Every number is invented, of the size that texts on image guidance give.
"""

from __future__ import annotations

import numpy as np

from tailort.geometry import Grid, Image
from tailort.phantom import parameters

SLOPE, OFFSET_HU, CUPPING_HU, NOISE_HU = 0.94, -20.0, 45.0, 28.0
RADIUS_MM, LENGTH_MM = 225.0, 180.0
_LOWEST_HU, _HIGHEST_HU = -1024, 3071


def field_of_view(grid: Grid, middle_z_mm: float) -> Grid:
    """Part of an axial grid that is seen: the square about the circle, and 180 mm along the body."""
    z, y, x = grid.axes_mm()
    ends = ((x, x.mean(), RADIUS_MM), (y, y.mean(), RADIUS_MM), (z, middle_z_mm, 0.5 * LENGTH_MM))
    kept = [np.flatnonzero(np.abs(axis - at) < reach) for axis, at, reach in ends]
    first = (float(x[kept[0][0]]), float(y[kept[1][0]]), float(z[kept[2][0]]))
    return Grid.axial([len(one) for one in kept[::-1]], grid.spacing_mm, first, grid.frame_of_reference)


def shown(image: Image, rng: np.random.Generator) -> Image:
    """A CT as a cone beam shows it: HU scaled and shifted, darker in the middle, noisier, nothing beyond the circle."""
    _, y, x = image.grid.axes_mm()
    across = np.hypot(*np.meshgrid(x - x.mean(), y - y.mean())) / RADIUS_MM
    values = np.empty(image.grid.shape, dtype=np.int16)
    for k, plane in enumerate(image.values):
        dimmed = CUPPING_HU * (1.0 - across**2) * np.clip((plane + 1000.0) / 1000.0, 0.0, 1.0)
        seen = SLOPE * plane + OFFSET_HU - dimmed + rng.normal(0.0, NOISE_HU, plane.shape)
        values[k] = np.where(across <= 1.0, np.clip(np.rint(seen), _LOWEST_HU, _HIGHEST_HU), _LOWEST_HU)
    return Image(image.grid, values, "HU")


def told() -> dict[str, float]:
    """How the CT numbers differ from those of a planning CT, as plain values."""
    return {
        "slope": SLOPE,
        "offset_hu": OFFSET_HU,
        "darker_in_the_middle_by_hu": CUPPING_HU,
        "noise_hu": round(float(np.hypot(NOISE_HU, SLOPE * parameters.NOISE_HU)), 2),
        "radius_mm": RADIUS_MM,
        "length_mm": LENGTH_MM,
    }
