"""How good a registration is, by the measures that AAPM TG-132 asks for.

Limits are those of TG-132 (doi:10.1002/mp.12256): target registration error 2 mm on average and 5 mm at most as
Latifi et al. 2018 quote it (doi:10.1002/acm2.12348, read); Dice, surface distance, Jacobian determinant and consistency
from its table of tolerances as recalled, which names the contouring uncertainty (about 0.80 to 0.90), the largest voxel
dimension (about 2 to 3 mm), no negative value, and the largest voxel dimension.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tailort.errors import GeometryError
from tailort.geometry import Grid, Image
from tailort.registration.records import Measure, Quality
from tailort.registration.registration import Registration
from tailort.registration.scan import Mask, bounds

_QUOTED = "TG-132, quoted by doi:10.1002/acm2.12348"
_RECALLED = "TG-132 table of tolerances, recalled"
MEAN_ERROR_MM = 2.0
LARGEST_ERROR_MM = 5.0
LEAST_DICE = 0.80
LEAST_TOLERANCE_MM = 2.0
# Part of the tolerance of a surface by which that of a thin structure may be off: between what a patient and what
# another person reaches, on virtual patients.
OFF_SHARE = 0.5

Float = NDArray[np.float64]


def landmark_errors_mm(registration: Registration, today_mm: ArrayLike, earlier_mm: ArrayLike) -> Float:
    """Distance between each mapped landmark of today and its place in the earlier scan, (n,) mm.

    Parameters
    ----------
    registration : Registration
        From today to the earlier scan.
    today_mm, earlier_mm : (n, 3) float
        Pairs of points, LPS mm, each in its own frame.
    """
    today, earlier = np.atleast_2d(np.asarray(today_mm, float)), np.atleast_2d(np.asarray(earlier_mm, float))
    if today.shape != earlier.shape or today.shape[-1] != 3 or not len(today):
        raise GeometryError(
            f"landmarks come in pairs of points x, y, z; found arrays of shape {today.shape} and {earlier.shape}"
        )
    errors: Float = np.linalg.norm(registration.map_points(today) - earlier, axis=-1)
    return errors


def landmarks(registration: Registration, today_mm: ArrayLike, earlier_mm: ArrayLike) -> Quality:
    """Target registration error on pairs of landmarks, mm."""
    errors = landmark_errors_mm(registration, today_mm, earlier_mm)
    return Quality(
        (
            Measure("target registration error, mean [mm]", float(errors.mean()), "<=", MEAN_ERROR_MM, _QUOTED),
            Measure("target registration error, largest [mm]", float(errors.max()), "<=", LARGEST_ERROR_MM, _QUOTED),
        )
    )


def structures(
    registration: Registration, today: Mapping[str, Mask], earlier: Mapping[str, Mask], grid: Grid, earlier_grid: Grid
) -> Quality:
    """Agreement of structures drawn on both scans, after those of the earlier one are mapped to today.

    Parameters
    ----------
    registration : Registration
        From today to the earlier scan.
    today, earlier : mapping of name to (k, j, i) bool
        The same names in both.
    grid, earlier_grid : Grid
        Of the masks.

    Returns
    -------
    Quality
        For each structure its Dice coefficient and its mean surface distance, mm.
    """
    if set(today) != set(earlier):
        raise GeometryError(
            f"structures must be drawn on both scans; found {', '.join(sorted(today))} of today and "
            f"{', '.join(sorted(earlier))} before"
        )
    tolerance = largest_voxel_mm(grid, earlier_grid)
    found = []
    for name in sorted(today):
        mapped = registration.map_image(Image(earlier_grid, earlier[name].astype(np.float32), "1"), grid, 0.0)
        moved = mapped.values >= 0.5
        least = least_dice(today[name], grid, OFF_SHARE * tolerance)
        found += [
            Measure(f"{name}: Dice", dice(today[name], moved), ">=", least, _RECALLED),
            Measure(
                f"{name}: mean surface distance [mm]",
                mean_surface_distance_mm(today[name], moved, grid),
                "<=",
                tolerance,
                _RECALLED,
            ),
        ]
    return Quality(tuple(found))


def largest_voxel_mm(*grids: Grid) -> float:
    """Longest edge of a voxel, at least 2 mm: the tolerance for distances."""
    return max(LEAST_TOLERANCE_MM, *(max(grid.spacing_mm) for grid in grids))


def dice(one: Mask, other: Mask) -> float:
    """Twice the common volume over the sum of both, 0 to 1; two empty volumes agree.

    References
    ----------
    Dice, Ecology 1945;26:297, doi:10.2307/1932409.
    """
    both = int(one.sum()) + int(other.sum())
    return 1.0 if both == 0 else 2.0 * int((one & other).sum()) / both


def least_dice(mask: Mask, grid: Grid, off_mm: float) -> float:
    """Dice coefficient that is asked of a structure: 0.80, or what its surface being off by so much leaves.

    A thin or small structure loses more of its overlap by the same distance than a large one; its surface distance
    judges it then.
    """
    block = tuple(slice(max(a - 1, 0), b + 1) for a, b in bounds(mask))
    inside = np.pad(mask[block], 1)
    # Distances lead to the next voxel outside, half a voxel beyond the surface.
    deep = ndimage.distance_transform_edt(inside, sampling=grid.spacing_mm) - 0.5 * min(grid.spacing_mm)
    kept = float(np.clip((deep - off_mm) / min(grid.spacing_mm) + 0.5, 0.0, 1.0)[inside].sum())
    whole = int(mask.sum())
    return min(LEAST_DICE, 2.0 * kept / (whole + kept))


def mean_surface_distance_mm(one: Mask, other: Mask, grid: Grid) -> float:
    """Mean distance between the surfaces of two volumes, from each to the other, mm; infinite when one is empty."""
    if not one.any() or not other.any():
        return 0.0 if one.any() == other.any() else float("inf")
    block = tuple(slice(max(a - 1, 0), b + 1) for a, b in bounds(one | other))
    surfaces = [_surface(mask[block]) for mask in (one, other)]
    distances = [ndimage.distance_transform_edt(~surface, sampling=grid.spacing_mm) for surface in surfaces]
    sums = distances[1][surfaces[0]].sum() + distances[0][surfaces[1]].sum()
    return float(sums / (surfaces[0].sum() + surfaces[1].sum()))


def jacobian(registration: Registration, within: Mask | None = None) -> Quality:
    """Determinant of the displacement's derivative: least value and its spread.

    Parameters
    ----------
    registration : Registration
        A deformable one.
    within : (k, j, i) bool or None
        On the displacement's grid; None is all of it.
    """
    values = registration.jacobian().values
    field = registration.displacement
    assert field is not None
    least = field.least_determinant()
    inside = np.ones(values.shape, dtype=bool) if within is None else within
    low, high = (float(np.percentile(values[inside], q)) for q in (1, 99))
    return Quality(
        (
            Measure("Jacobian determinant, least", float(least[inside].min()), ">", 0.0, _RECALLED),
            Measure("Jacobian determinant, 1st percentile", low),
            Measure("Jacobian determinant, 99th percentile", high),
        )
    )


def round_trip_mm(forward: Registration, backward: Registration, points_mm: ArrayLike) -> Float:
    """Distance from each point of today to where it comes back after both maps, mm."""
    points = np.asarray(points_mm, dtype=np.float64)
    distance: Float = np.linalg.norm(backward.map_points(forward.map_points(points)) - points, axis=-1)
    return distance


def consistency(forward: Registration, backward: Registration, grid: Grid, within: Mask) -> Quality:
    """Inverse consistency of a registration with one that was made the other way round.

    Parameters
    ----------
    forward, backward : Registration
        Today to earlier, and earlier to today, each found by itself.
    grid : Grid
        Of today.
    within : (k, j, i) bool
        On that grid, the body.
    """
    index = np.argwhere(within)
    distance = round_trip_mm(forward, backward, grid.to_world(index[:: max(1, len(index) // 200_000)]))
    return Quality(
        (
            Measure("inverse consistency, mean [mm]", float(distance.mean()), "<=", largest_voxel_mm(grid), _RECALLED),
            Measure("inverse consistency, 95th percentile [mm]", float(np.percentile(distance, 95))),
        )
    )


def _surface(mask: Mask) -> Mask:
    inner = ndimage.binary_erosion(mask, border_value=0)
    return np.asarray(mask & ~inner, dtype=bool)
