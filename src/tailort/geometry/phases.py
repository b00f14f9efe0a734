"""What phases of breathing have in common: highest, mean and lowest value of each voxel, and the union of a volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError
from tailort.geometry.contours import Contours
from tailort.geometry.grid import Grid
from tailort.geometry.image import Image
from tailort.geometry.margins import unite


def require_one_grid(grids: Sequence[Grid], called: Sequence[str]) -> None:
    """Refuse phases that do not share their voxels and frame of reference.

    Raises
    ------
    GeometryError
        Naming the first that differs, and in what.
    """
    for grid, name in zip(grids[1:], called[1:], strict=True):
        if grid.frame_of_reference != grids[0].frame_of_reference:
            raise GeometryError(
                f"phase {name} is in frame of reference {grid.frame_of_reference}, phase {called[0]} in "
                f"{grids[0].frame_of_reference}: phases of one scan share it"
            )
        if not grid.same_as(grids[0]):
            raise GeometryError(
                f"phase {name} has {grid.shape} voxels of {grid.spacing_mm} mm from {grid.origin_mm} mm, phase "
                f"{called[0]} {grids[0].shape} of {grids[0].spacing_mm} from {grids[0].origin_mm}: phases of one scan "
                "share their voxels"
            )


def over_phases(phases: Iterable[Image]) -> tuple[Image, Image, Image]:
    """Highest, mean and lowest value of every voxel over phases, as float32.

    Parameters
    ----------
    phases : iterable of Image
        On one grid, in one unit; taken one after the other, so that they need not be held at once.

    Returns
    -------
    highest, mean, lowest : Image
        The mean is that of the density where the values are linear in it, the highest shows where anything dense ever
        lies (in lung: the tumour), the lowest where anything light does.

    Raises
    ------
    GeometryError
        When there is no phase, or they do not share grid or unit.
    """
    first: Image | None = None
    for count, phase in enumerate(phases, 1):
        values = np.asarray(phase.values, dtype=np.float32)
        if first is None:
            first = phase
            highest, lowest, total = values.copy(), values.copy(), values.astype(np.float64)
            number = count
            continue
        require_one_grid((first.grid, phase.grid), ("1", str(count)))
        if phase.unit != first.unit:
            raise GeometryError(f"phase {count} is in {phase.unit}, phase 1 in {first.unit}")
        np.maximum(highest, values, out=highest)
        np.minimum(lowest, values, out=lowest)
        total += values
        number = count
    if first is None:
        raise GeometryError("there is no phase to look at")
    mean = (total / number).astype(np.float32)
    return first.with_values(highest), first.with_values(mean), first.with_values(lowest)


def union_over_phases(volumes: Sequence[Contours], planes_mm: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Contours of what lies in a volume in any phase.

    Parameters
    ----------
    volumes : sequence of contours
        Of each phase, LPS mm in one frame of reference.
    planes_mm : (p,) float
        z of the planes of the result.

    Raises
    ------
    GeometryError
        When there is none.
    """
    if not volumes:
        raise GeometryError("a union over phases needs at least one volume")
    planes = np.asarray(planes_mm, dtype=np.float64)
    thickness = float(np.min(np.diff(planes))) if len(planes) > 1 else None
    united: tuple[NDArray[np.float64], ...] = ()
    for contours in volumes:
        united = unite(united, contours, planes, single_slice_thickness_mm=thickness)
    return united
