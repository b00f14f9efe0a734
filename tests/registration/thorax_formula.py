"""A thorax that is a formula, so that it can be scanned under any map without interpolation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tailort.geometry import Grid, Image

Points = NDArray[np.float64]
Map = Callable[[Points], Points]

TODAY, EARLIER = "1.2.826.1", "1.2.826.2"
TODAYS_GRID = Grid.axial((56, 60, 76), (4.5, 4.5, 5.0), (-187.5, -130.0, -120.0), TODAY)
# Far from today's, other voxels.
EARLIER_GRID = Grid.axial((62, 62, 80), (4.0, 4.5, 5.0), (302.5, -440.0, 655.0), EARLIER)
_RNG = np.random.default_rng(7)
_BLOBS = [
    (_RNG.uniform((-110, -75, -120), (110, 75, 120)), _RNG.uniform(9, 18), _RNG.uniform(60, 130)) for _ in range(70)
]


def _soft(distance: Points) -> Points:
    """Share of a voxel inside a surface at distance 0, 3 mm wide."""
    return np.clip(0.5 - distance / 3.0, 0.0, 1.0)


def _ellipsoid(p: Points, centre: tuple[float, ...], radii: tuple[float, ...]) -> Points:
    q = np.linalg.norm((p - np.array(centre)) / np.array(radii), axis=-1)
    return _soft((q - 1.0) * min(radii))


def thorax(p: Points) -> Points:
    """CT number at points (..., 3) of the body's own coordinates, mm."""
    x, y, z = np.moveaxis(p, -1, 0)
    body = _soft((np.hypot(x / 160.0, y / 105.0) - 1.0) * 105.0)
    hu = -1000.0 + 960.0 * body
    muscle = _soft((np.hypot(x / 145.0, y / 92.0) - 1.0) * 92.0)
    hu += muscle * 90.0
    for centre, size, strength in _BLOBS:
        hu += body * strength * np.exp(-0.5 * ((p - centre) ** 2).sum(axis=-1) / size**2)
    for side in (-1, 1):
        lung = _ellipsoid(p, (85.0 * side, -5.0, 10.0 * side), (48.0, 68.0, 110.0))
        hu += lung * (-780.0 - hu) * 0.9
    for shape, value in (
        (_ellipsoid(p, (18.0, -35.0, -40.0), (52.0, 42.0, 55.0)), 45.0),
        (_soft(np.hypot(x, y - 55.0) - 17.0) * (0.45 + 0.55 * np.clip(np.cos(z / 4.2) * 3 + 1.5, 0, 1)), 380.0),
        (_soft(np.hypot(x, y - 80.0) - 6.0), 35.0),
        (_soft(np.hypot(x - 22.0 - z / 30.0, y - 28.0) - 12.0), 45.0),
        (_soft(np.hypot(x + 6.0 + 6.0 * np.sin(z / 40.0), y - 20.0) - 9.0), 40.0),
    ):
        hu += shape * (value - hu)
    couch = _soft(np.abs(y - 121.0) - 5.0) * (np.abs(x) < 180.0)
    return hu + couch * (-300.0 - hu)


def scan(
    grid: Grid, to_body: Map, seed: int, noise_hu: float = 8.0, seen: Callable[[Points], Points] = thorax
) -> Image:
    """CT of the thorax: each voxel shows the point of the body that `to_body` names, with its own noise."""
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    values = seen(to_body(points)) + noise_hu * np.random.default_rng(seed).standard_normal(grid.shape)
    return Image(grid, values.astype(np.float32), "HU")
