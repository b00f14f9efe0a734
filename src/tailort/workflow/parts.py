"""Parts of the dose grid: what is asked of a structure needs the dose around it only."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError
from tailort.evaluation import EarlierCourse
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Structure

# Beyond the contours: solids end half a slice beyond their last one, and doses are interpolated.
AROUND_MM, AROUND_VOXELS = 10.0, 2


def part_around(grid: Grid, structures: Iterable[Structure]) -> Grid:
    """Return the part of a grid that holds structures, with what their histograms look at around them.

    Parameters
    ----------
    grid : Grid
        Of the dose.
    structures : iterable of Structure
        With contours, at least one.
    """
    corners = []
    for structure in structures:
        low, high = structure.bounds_mm()
        ends = np.stack([np.asarray(low) - AROUND_MM, np.asarray(high) + AROUND_MM])
        corners += [[ends[a, 0], ends[b, 1], ends[c, 2]] for a, b, c in itertools.product((0, 1), repeat=3)]
    index = grid.to_index(np.array(corners))
    return grid.crop(np.floor(index.min(axis=0)) - AROUND_VOXELS, np.ceil(index.max(axis=0)) + AROUND_VOXELS + 1)


def cut_image(image: Image, part: Grid) -> Image:
    """Return an image on a part of its grid, voxel by voxel.

    Raises
    ------
    GeometryError
        When it is no part of the image's grid.
    """
    if image.grid.same_as(part):
        return image
    first = _first(image.grid, part)
    if not image.grid.crop(first, first + np.array(part.shape)).same_as(part):
        raise GeometryError("a dose can be cut to voxels of its own grid only; resample it first")
    where = tuple(slice(int(a), int(a) + n) for a, n in zip(first, part.shape, strict=True))
    return Image(part, np.ascontiguousarray(image.values[where]), image.unit)


def cut_dose(dose: Dose, part: Grid) -> Dose:
    """Return a dose on a part of its grid, voxel by voxel."""
    least = None if dose.least is None else cut_image(dose.least, part)
    most_in = {name: cut_image(most, part) for name, most in dose.most_in.items()}
    return replace(dose, image=cut_image(dose.image, part), least=least, most_in=most_in)


def cut_course(course: EarlierCourse, part: Grid) -> EarlierCourse:
    """Return an earlier course on a part of its grid, voxel by voxel."""
    return replace(course, doses=tuple(cut_dose(dose, part) for dose in course.doses))


def in_voxels(image: Image, grid: Grid, voxels: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Values of an image on a part of a grid in voxels of that grid; 0 beyond the part, and where it is not known.

    Parameters
    ----------
    image : Image
        On a part of the grid.
    grid : Grid
        The whole.
    voxels : (n,) uint32
        Flat index of each voxel in the grid.
    """
    index = np.stack(np.unravel_index(voxels, grid.shape), axis=-1) - _first(grid, image.grid)
    inside = ((index >= 0) & (index < image.grid.shape)).all(axis=-1)
    found = np.zeros(len(voxels))
    found[inside] = np.nan_to_num(image.values[tuple(index[inside].T)].astype(np.float64), nan=0.0)
    return found


def _first(grid: Grid, part: Grid) -> NDArray[np.int64]:
    return np.round(grid.to_index(part.origin_mm)).astype(np.int64)
