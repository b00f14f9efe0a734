"""From the positions of image planes to one regular lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import DicomError
from tailort.geometry import Grid

# A direction this close to an axis is along it: 0.05 mm at 250 mm from the centre.
ALONG_AXIS = 2e-4
# Planes closer than this are the same plane.
SAME_PLANE_MM = 0.01
# How far a plane may shift sideways, and how far a gap may differ, before the stack is not a lattice.
SHIFT_MM = 0.05
GAP_SHARE = 0.02


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes in order, and how each is turned to lie along the patient's axes.

    Parameters
    ----------
    grid : Grid
        Of the turned planes; axial where the planes are transverse.
    order : tuple of int
        Which plane is slice k.
    transposed, flip_j, flip_i : bool
        How each plane is turned.
    """

    grid: Grid
    order: tuple[int, ...]
    transposed: bool = False
    flip_j: bool = False
    flip_i: bool = False

    def turn(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Turn one plane (rows, columns) to (j, i)."""
        turned = plane.T if self.transposed else plane
        return turned[:: -1 if self.flip_j else 1, :: -1 if self.flip_i else 1]


def stack_planes(
    positions_mm: ArrayLike,
    orientation: Sequence[float],
    pixel_spacing_mm: Sequence[float],
    plane_shape: tuple[int, int],
    frame_of_reference: str,
    what: str,
    labels: Sequence[str],
) -> Stack:
    """Regular lattice of parallel planes.

    Parameters
    ----------
    positions_mm : (n, 3)
        Image Position (Patient) of each plane, LPS mm.
    orientation : (6,)
        Image Orientation (Patient): directions of increasing column, then of increasing row index.
    pixel_spacing_mm : (2,)
        Between rows, between columns.
    plane_shape : (rows, columns)
        Of each plane.
    frame_of_reference : str
        DICOM Frame of Reference UID.
    what : str
        What the planes are, for messages ("CT series 1.2.3").
    labels : sequence of str
        File names of the planes, for messages.

    Raises
    ------
    DicomError
        Fewer than two planes, two at one position, a missing one, unequal distances, planes that shift sideways
        (gantry tilt).

    References
    ----------
    DICOM PS3.3 C.7.6.2.1.1 (image position and orientation).
    """
    positions = np.asarray(positions_mm, dtype=float)
    row, column = np.array(orientation[:3], dtype=float), np.array(orientation[3:], dtype=float)
    if abs(np.linalg.norm(row) - 1) > 1e-3 or abs(np.linalg.norm(column) - 1) > 1e-3 or abs(row @ column) > 1e-3:
        raise DicomError(f"{what}: Image Orientation {tuple(orientation)} is not two perpendicular unit vectors")
    if min(pixel_spacing_mm) <= 0:
        raise DicomError(f"{what}: Pixel Spacing {tuple(pixel_spacing_mm)} is not above 0 mm")
    if len(positions) < 2:
        raise DicomError(f"{what} has one slice: the distance between slices needs at least two")
    normal = np.cross(row, column)
    if abs(normal[2]) > 1 - ALONG_AXIS and normal[2] < 0:
        normal = -normal
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    transverse = bool(abs(normal[2]) > 1 - ALONG_AXIS)
    step = _step(along[order], positions[order], [labels[n] for n in order], what, transverse)
    sideways = positions[order] - np.outer(along[order], normal)
    shift = float(np.abs(sideways - sideways[0]).max())
    if shift > SHIFT_MM:
        raise DicomError(
            f"{what} is sheared: its slices shift sideways by {shift:.1f} mm from the first to the last, as with a "
            "tilted gantry; resample it to upright slices first"
        )

    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = (
        normal * step,
        column * pixel_spacing_mm[0],
        row * pixel_spacing_mm[1],
    )
    affine[:3, 3] = positions[order[0]]
    natural = Grid((len(positions), *plane_shape), affine, frame_of_reference)
    turned = _along_axes(row, column) if transverse else None
    indices = tuple(int(n) for n in order)
    if turned is None:
        return Stack(natural, indices)
    transposed, flip_j, flip_i = turned
    rows, columns = (plane_shape[1], plane_shape[0]) if transposed else plane_shape
    dy, dx = (pixel_spacing_mm[1], pixel_spacing_mm[0]) if transposed else (pixel_spacing_mm[0], pixel_spacing_mm[1])
    last = (0, plane_shape[0] - 1, plane_shape[1] - 1)
    corners = np.array([natural.to_world((0, j, i)) for j in (0, last[1]) for i in (0, last[2])])
    origin = (corners[:, 0].min(), corners[:, 1].min(), positions[order[0]][2])
    grid = Grid.axial((len(positions), rows, columns), (step, dy, dx), origin, frame_of_reference)
    return Stack(grid, indices, transposed, flip_j, flip_i)


def _along_axes(row: NDArray[np.float64], column: NDArray[np.float64]) -> tuple[bool, bool, bool] | None:
    """Whether planes are transposed, and flipped along j and i; None when they are turned by another angle."""
    for transposed, (to_i, to_j) in ((False, (row, column)), (True, (column, row))):
        off_axis = max(abs(to_i[1]), abs(to_i[2]), abs(to_j[0]), abs(to_j[2]))
        if off_axis < ALONG_AXIS:
            return transposed, bool(to_j[1] < 0), bool(to_i[0] < 0)
    return None


def _step(
    along: NDArray[np.float64],
    positions: NDArray[np.float64],
    labels: Sequence[str],
    what: str,
    transverse: bool,
) -> float:
    """Distance of neighbouring planes, or the reason why there is none."""

    def at(n: int) -> str:
        if transverse:
            return f"z = {positions[n, 2]:.2f} mm"
        return "(x, y, z) = ({:.2f}, {:.2f}, {:.2f}) mm".format(*positions[n])

    gaps = np.diff(along)
    same = np.flatnonzero(gaps < SAME_PLANE_MM)
    if same.size:
        n = int(same[0])
        others = f", and {same.size - 1} more such pair(s)" if same.size > 1 else ""
        raise DicomError(
            f"{what} has two slices at {at(n)} ('{labels[n]}' and '{labels[n + 1]}'{others}): keep one at each position"
        )
    usual = float(gaps.min())
    tolerance = max(GAP_SHARE * usual, 2 * SAME_PLANE_MM)
    wide = np.flatnonzero(gaps > usual + tolerance)
    if wide.size:
        missing: list[str] = []
        for n in wide.tolist():
            times = gaps[n] / usual
            if abs(times - round(times)) * usual > tolerance * round(times):
                raise DicomError(
                    f"{what} has unequal slice distances: {gaps[n]:.3f} mm after {at(n)}, {usual:.3f} mm "
                    "elsewhere; a slice is missing there, or the series must be resampled to equal distances"
                )
            for lost in range(1, round(times)):
                point = positions[n] + (positions[n + 1] - positions[n]) * lost / round(times)
                missing.append(f"z = {point[2]:.2f} mm" if transverse else "({:.2f}, {:.2f}, {:.2f}) mm".format(*point))
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise DicomError(
            f"{what}: {len(missing)} slice(s) missing at {shown} (slices are {usual:.3f} mm apart elsewhere); "
            "export the series again"
        )
    return float((along[-1] - along[0]) / (len(along) - 1))
