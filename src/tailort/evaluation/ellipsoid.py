"""Lowest and highest dose within an ellipsoid around each voxel: what a registration that is off may have hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.evaluation.accumulation import EarlierCourse
from tailort.geometry import Grid
from tailort.geometry.resample import trilinear
from tailort.patient import Dose
from tailort.radiobiology import bed

Float = NDArray[np.float64]
Values = NDArray[np.float32]
Voxels = NDArray[np.int64]
Mask = NDArray[np.bool_]
HalfAxes = tuple[float, float, float]

# x, y, z: how far a registration was taken to be off by Mechalakos et al. 2024, mm.
HALF_AXES_MM: HalfAxes = (3.0, 3.0, 3.0)
# Ways to the surface that are looked along beside that of the steepest dose.
_WAYS = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z], dtype=float)
_WAYS /= np.linalg.norm(_WAYS, axis=1)[:, None]


def within_ellipsoid(
    values: Values,
    grid: Grid,
    voxels: Voxels,
    half_axes_mm: HalfAxes = HALF_AXES_MM,
    radius_mm: Float | None = None,
    inside: Mask | None = None,
) -> tuple[Values, Values]:
    """Lowest and highest value within an ellipsoid around some voxels.

    Parameters
    ----------
    values : (k, j, i) float32
        On the grid; not a number where it is not known.
    grid : Grid
        Of the values.
    voxels : (n,) int
        Flat indices of the voxels that are asked for.
    half_axes_mm : (3,) float
        Along x, y, z.
    radius_mm : (n,) float, optional
        Radius of a ball around each voxel in place of the half-axes, such as how far the registration is off there.
    inside : (k, j, i) bool, optional
        Only points whose nearest voxel lies in this mask count, and the voxel itself.

    Returns
    -------
    least, most : (n,) float32
        Not a number where the ellipsoid reaches a point whose value is not known.

    Raises
    ------
    InputError
        When a half-axis is negative.

    Notes
    -----
    Between voxels values are trilinear, so that within a region they are highest and lowest at voxel centres or on its
    edge. Looked at are the centres within the ellipsoid and its surface along 26 ways and that of the steepest dose,
    for which a dose that changes linearly is exact. Sharp ridges between these ways may be missed a little.
    """
    radii = np.ones(len(voxels)) if radius_mm is None else np.asarray(radius_mm, dtype=np.float64)
    axes = np.asarray(half_axes_mm if radius_mm is None else (1.0, 1.0, 1.0), dtype=np.float64)
    if axes.min() < 0 or (len(radii) and not radii.min() >= 0):
        raise InputError("the half-axes of an ellipsoid around a voxel must be 0 mm or more")
    mask = np.ones((1, 1, 1), dtype=bool) if inside is None else inside
    to_index = np.asarray(np.linalg.inv(grid.affine[:3, :3]), dtype=np.float64)
    least, most = np.empty(len(voxels), dtype=np.float32), np.empty(len(voxels), dtype=np.float32)
    _look(
        least, most, np.ascontiguousarray(values, dtype=np.float32), np.asarray(voxels, dtype=np.int64), axes, radii,
        np.ascontiguousarray(grid.affine[:3, :3]), to_index, mask, inside is not None, _WAYS,
    )  # fmt: skip
    return least, most


def worst_cases(
    courses: Sequence[EarlierCourse],
    own: Sequence[Dose],
    alpha_betas_gy: Sequence[float],
    voxels: Voxels,
    half_axes_mm: HalfAxes = HALF_AXES_MM,
    inside: Mask | None = None,
) -> dict[float, tuple[Float, Float]]:
    """Lowest and highest BED of all courses in some voxels if each earlier course lies elsewhere by an ellipsoid.

    Parameters
    ----------
    courses : sequence of EarlierCourse
        On one grid.
    own : sequence of Dose
        Physical dose of each phase of today on the same grid; it lies where it lies.
    alpha_betas_gy : sequence of float
        Of the tissue, Gy.
    voxels : (n,) int
        Flat indices.
    half_axes_mm, inside
        As in `within_ellipsoid`.

    Returns
    -------
    dict
        Of each alpha/beta the lowest and the highest BED, (n,) Gy.

    Notes
    -----
    Phases of one course share their registration, so that one point of the ellipsoid is meant for all of them: their
    sum in BED is looked at, not each phase. Courses are registered by themselves, each with its own point. Where a
    course has one phase its physical dose is looked at: the highest BED is that of the highest dose.

    References
    ----------
    Mechalakos J et al. Pract Radiat Oncol 2024;15:187 (worst dose within 3 mm of each voxel, free and within the
    organ).
    """
    grid = (*own, *(dose for course in courses for dose in course.doses))[0].image.grid
    lowest = {ab: np.zeros(len(voxels)) for ab in alpha_betas_gy}
    highest = {ab: np.zeros(len(voxels)) for ab in alpha_betas_gy}

    def look(values: Values) -> tuple[Values, Values]:
        return within_ellipsoid(values, grid, voxels, half_axes_mm, None, inside)

    for course in courses:
        single = course.doses[0].per_course() if len(course.doses) == 1 else None
        physical = None if single is None else _bounded(look, _most(single), _least(single))
        for ab in alpha_betas_gy:
            if single is not None and physical is not None:
                n = single.known_fractions()
                low, high = (_bed(gy, n, ab) for gy in physical)
            else:
                sums = [
                    sum(_bed(of(dose.per_course()), dose.known_fractions(), ab) for dose in course.doses)
                    for of in (_most, _least)
                ]
                found = _bounded(look, *(np.asarray(each, dtype=np.float32) for each in sums))
                low, high = (np.asarray(each, dtype=np.float64) for each in found)
            lowest[ab] += low
            highest[ab] += high
    for dose in own:
        gy = dose.per_course().image.values.reshape(-1)[voxels]
        for ab in alpha_betas_gy:
            given = _bed(gy, dose.known_fractions(), ab)
            lowest[ab] += given
            highest[ab] += given
    return {ab: (lowest[ab], highest[ab]) for ab in alpha_betas_gy}


def _bounded(look: Any, most: Values, least: Values) -> tuple[Values, Values]:
    """Lowest of the least and highest of the most that a dose may be."""
    low, high = look(most)
    return (low if least is most else look(least)[0]), high


def _most(dose: Dose) -> Values:
    return np.asarray(dose.image.values, dtype=np.float32)


def _least(dose: Dose) -> Values:
    return _most(dose) if dose.least is None else np.asarray(dose.least.values, dtype=np.float32)


def _bed(gy: Values, fractions: int, alpha_beta_gy: float) -> Float:
    known = np.isfinite(gy)
    found = np.full(gy.shape, np.nan)
    found[known] = bed(np.maximum(gy[known], 0.0), fractions, alpha_beta_gy)
    return found


@numba.njit(cache=True, nogil=True, inline="always")
def _counts(inside: Mask, k: float, j: float, i: float) -> Any:
    a, b, c = int(np.floor(k + 0.5)), int(np.floor(j + 0.5)), int(np.floor(i + 0.5))
    nk, nj, ni = inside.shape
    return 0 <= a < nk and 0 <= b < nj and 0 <= c < ni and inside[a, b, c]


@numba.njit(cache=True, parallel=True)
def _look(
    least: Values, most: Values, values: Values, voxels: Voxels, axes: Float, radii: Float, to_mm: Float,
    to_index: Float, inside: Mask, kept_inside: bool, ways: Float,
) -> None:  # pragma: no cover - compiled  # fmt: skip
    nk, nj, ni = values.shape
    for n in numba.prange(len(voxels)):
        k, j, i = voxels[n] // (nj * ni), voxels[n] // ni % nj, voxels[n] % ni
        ax, ay, az = axes[0] * radii[n], axes[1] * radii[n], axes[2] * radii[n]
        low = high = values[k, j, i]
        # Voxel centres within the ellipsoid.
        reach_k = int(np.sqrt((to_index[0, 0] * ax) ** 2 + (to_index[0, 1] * ay) ** 2 + (to_index[0, 2] * az) ** 2))
        reach_j = int(np.sqrt((to_index[1, 0] * ax) ** 2 + (to_index[1, 1] * ay) ** 2 + (to_index[1, 2] * az) ** 2))
        reach_i = int(np.sqrt((to_index[2, 0] * ax) ** 2 + (to_index[2, 1] * ay) ** 2 + (to_index[2, 2] * az) ** 2))
        for a in range(-reach_k, reach_k + 1):
            for b in range(-reach_j, reach_j + 1):
                for c in range(-reach_i, reach_i + 1):
                    x = to_mm[0, 0] * a + to_mm[0, 1] * b + to_mm[0, 2] * c
                    y = to_mm[1, 0] * a + to_mm[1, 1] * b + to_mm[1, 2] * c
                    z = to_mm[2, 0] * a + to_mm[2, 1] * b + to_mm[2, 2] * c
                    # A centre on the edge counts, whatever rounding says.
                    if _part(x, ax) + _part(y, ay) + _part(z, az) > 1.000001:
                        continue
                    if kept_inside and (a or b or c) and not _counts(inside, k + a, j + b, i + c):
                        continue
                    gy = np.float32(np.nan)
                    if 0 <= k + a < nk and 0 <= j + b < nj and 0 <= i + c < ni:
                        gy = values[k + a, j + b, i + c]
                    low, high = _widened(low, high, gy)
        if ax + ay + az > 0:
            # Steepest dose in mm, by central differences where both neighbours are known.
            dk = _slope(values[max(k - 1, 0), j, i], values[min(k + 1, nk - 1), j, i])
            dj = _slope(values[k, max(j - 1, 0), i], values[k, min(j + 1, nj - 1), i])
            di = _slope(values[k, j, max(i - 1, 0)], values[k, j, min(i + 1, ni - 1)])
            gx = (dk * to_index[0, 0] + dj * to_index[1, 0] + di * to_index[2, 0]) * ax
            gy_ = (dk * to_index[0, 1] + dj * to_index[1, 1] + di * to_index[2, 1]) * ay
            gz = (dk * to_index[0, 2] + dj * to_index[1, 2] + di * to_index[2, 2]) * az
            size = np.sqrt(gx * gx + gy_ * gy_ + gz * gz)
            for way in range(-2 if size > 0 else 0, len(ways)):
                if way < 0:
                    sign = 1.0 if way == -1 else -1.0
                    x, y, z = sign * ax * gx / size, sign * ay * gy_ / size, sign * az * gz / size
                else:
                    x, y, z = ax * ways[way, 0], ay * ways[way, 1], az * ways[way, 2]
                p = k + to_index[0, 0] * x + to_index[0, 1] * y + to_index[0, 2] * z
                q = j + to_index[1, 0] * x + to_index[1, 1] * y + to_index[1, 2] * z
                r = i + to_index[2, 0] * x + to_index[2, 1] * y + to_index[2, 2] * z
                if kept_inside and not _counts(inside, p, q, r):
                    continue
                low, high = _widened(low, high, np.float32(trilinear(values, p, q, r, np.nan)))
        least[n], most[n] = low, high


@numba.njit(cache=True, nogil=True, inline="always")
def _part(mm: float, half_axis_mm: float) -> Any:
    if half_axis_mm > 0:
        return (mm / half_axis_mm) ** 2
    return 0.0 if mm == 0 else np.inf


@numba.njit(cache=True, nogil=True, inline="always")
def _widened(low: Any, high: Any, gy: Any) -> Any:
    """Bounds with one value more; one that is not known makes them unknown for good."""
    if np.isnan(gy) or np.isnan(low):
        return np.float32(np.nan), np.float32(np.nan)
    return min(low, gy), max(high, gy)


@numba.njit(cache=True, nogil=True, inline="always")
def _slope(before: float, after: float) -> Any:
    slope = 0.5 * (after - before)
    return 0.0 if np.isnan(slope) else slope
