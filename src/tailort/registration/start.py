"""Where to begin: the shifts that bring two scans together, searched over all shifts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from tailort.errors import InputError
from tailort.geometry import Image, resample
from tailort.registration.scan import Scan, axial_cover, smoothed

GRID_MM = 8.0
LEAST_OVERLAP = 0.25
"""Part of the smaller scan that both must show."""
LEAST_LIKENESS = 0.3
"""Correlation of the scans at the best shift, below which they show different things."""
APART_MM = 24.0
"""Shifts nearer to each other than this lead to the same end."""
_RIM_MM = 24.0

Float = NDArray[np.float64]


def best_shifts(
    fixed: Scan, moving: Scan, compared: tuple[Image, Image], edges: bool, count: int = 1
) -> tuple[Float, ...]:
    """Return shifts x, y, z, mm, that take points of the fixed scan to the moving one, the likeliest first.

    Every shift is tried at once: the correlation of the two scans over what both show, the bodies with a rim around
    them, worked out by fast Fourier transforms.

    Parameters
    ----------
    fixed, moving : Scan
        Their bodies say what counts.
    compared : (Image, Image)
        Values that are compared.
    edges : bool
        Whether edges are compared (scans of two kinds) in place of values.
    count : int
        How many at most: vertebrae look alike, so that a wrong shift may seem the likeliest.

    Raises
    ------
    InputError
        When the scans have too little in common at every shift.

    References
    ----------
    Padfield, IEEE Trans Image Process 2012;21:2706 (masked normalised correlation), doi:10.1109/TIP.2011.2181402.
    """
    (values, weight, low), (other, other_weight, other_low) = (
        _coarse(scan, image, edges) for scan, image in zip((fixed, moving), compared, strict=True)
    )
    shape = [fft.next_fast_len(a + b - 1, real=True) for a, b in zip(values.shape, other.shape, strict=True)]

    def transformed(array: Float) -> NDArray[np.complex128]:
        return np.asarray(fft.rfftn(array, shape))

    f, f2, m = (transformed(a).conj() for a in (values * weight, values**2 * weight, weight))
    g, g2, n = (transformed(a) for a in (other * other_weight, other**2 * other_weight, other_weight))

    def correlated(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> Float:
        return np.asarray(fft.irfftn(a * b, shape))

    common = correlated(m, n)
    enough = common > LEAST_OVERLAP * min(weight.sum(), other_weight.sum())
    safe = np.where(enough, common, 1.0)
    sum_f, sum_g = correlated(f, n), correlated(m, g)
    spread = (correlated(f2, n) - sum_f**2 / safe) * (correlated(m, g2) - sum_g**2 / safe)
    varied = enough & (spread > 1e-6 * spread.max())
    alike = np.where(varied, (correlated(f, g) - sum_f * sum_g / safe) / np.sqrt(np.where(varied, spread, 1.0)), -1.0)
    # A larger common part is preferred where the likeness is nearly the same.
    share = common / min(weight.sum(), other_weight.sum())
    at = np.unravel_index(int(np.argmax(alike + 0.05 * np.minimum(share, 1.0))), alike.shape)
    if alike[at] < LEAST_LIKENESS:
        raise InputError(
            f"the scans do not overlap: at no shift do they show the same (best correlation {max(alike[at], 0.0):.2f} "
            f"over at least {100 * LEAST_OVERLAP:.0f} % of the smaller one, {LEAST_LIKENESS:g} is needed); give a scan "
            "of the same part of the body, or a start"
        )
    found: list[Float] = []
    while len(found) < count and alike[at] >= LEAST_LIKENESS:
        index = np.array([a if a < n else a - size for a, n, size in zip(at, other.shape, alike.shape, strict=True)])
        found.append(np.asarray(other_low - low + GRID_MM * index[::-1], dtype=np.float64))
        reach = np.arange(-round(APART_MM / GRID_MM), round(APART_MM / GRID_MM) + 1)
        alike[np.ix_(*((a + reach) % size for a, size in zip(at, alike.shape, strict=True)))] = -1.0
        at = np.unravel_index(int(np.argmax(alike + 0.05 * np.minimum(share, 1.0))), alike.shape)
    return tuple(found)


def _coarse(scan: Scan, image: Image, edges: bool) -> tuple[Float, Float, Float]:
    """Values, weights and the first voxel's place of a scan on a coarse axial grid."""
    grid = axial_cover(image.grid, GRID_MM)
    values = smoothed(image, GRID_MM, grid).values.astype(np.float64)
    body = smoothed(Image(image.grid, scan.body.astype(np.float32), "1"), GRID_MM, grid).values > 0.5
    seen = resample(Image(image.grid, np.ones(image.grid.shape, dtype=np.float32), "1"), grid, 0.0).values > 0.5
    near = ndimage.binary_dilation(body, ndimage.generate_binary_structure(3, 1), round(_RIM_MM / GRID_MM)) & seen
    if edges:
        values = np.sqrt(ndimage.gaussian_gradient_magnitude(values, 1.0))
        near = near & ndimage.binary_erosion(np.pad(seen, 1, mode="edge"))[1:-1, 1:-1, 1:-1]
    return values - values[near].mean(), near.astype(np.float64), grid.origin_mm
