"""Where the voxels of an array lie in the patient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular lattice of voxels: the one bridge between array index and patient space.

    Parameters
    ----------
    shape : (3,) int
        Number of voxels along (k, j, i).
    affine : (4, 4) float
        Takes a voxel's index (k, j, i, 1) to its centre (x, y, z, 1), LPS mm.
    frame_of_reference : str
        DICOM Frame of Reference UID of the LPS coordinates.

    Raises
    ------
    GeometryError
        When the shape is empty, the affine is singular or not finite.
    """

    shape: tuple[int, int, int]
    affine: Float
    frame_of_reference: str

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"a grid needs at least one voxel along each of k, j, i; found shape {self.shape}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            raise GeometryError("a grid's affine must be a finite 4 x 4 matrix whose last row is 0 0 0 1")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise GeometryError("a grid's affine is singular: two of its voxel directions are parallel")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def axial(cls, shape: ArrayLike, spacing_mm: ArrayLike, origin_mm: ArrayLike, frame_of_reference: str) -> Grid:
        """Grid with i to the patient's left (+x), j to the back (+y), k to the head (+z).

        Parameters
        ----------
        shape, spacing_mm : (3,)
            Along (k, j, i), that is (z, y, x).
        origin_mm : (3,)
            Centre of voxel (0, 0, 0) as x, y, z, LPS mm.
        frame_of_reference : str
            DICOM Frame of Reference UID.
        """
        dz, dy, dx = (float(s) for s in np.asarray(spacing_mm, dtype=float))
        if min(dz, dy, dx) <= 0:
            raise GeometryError(f"voxel spacing must be above 0 mm; found {(dz, dy, dx)}")
        x, y, z = (float(o) for o in np.asarray(origin_mm, dtype=float))
        affine = np.array([[0, 0, dx, x], [0, dy, 0, y], [dz, 0, 0, z], [0, 0, 0, 1]], dtype=float)
        k, j, i = (int(n) for n in np.asarray(shape))
        return cls((k, j, i), affine, frame_of_reference)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along (k, j, i), mm."""
        k, j, i = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @property
    def origin_mm(self) -> Float:
        """Centre of voxel (0, 0, 0) as x, y, z, LPS mm."""
        return self.affine[:3, 3].copy()

    @cached_property
    def voxel_volume_cm3(self) -> float:
        """Volume of one voxel, cm3."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @cached_property
    def is_axial(self) -> bool:
        """Whether i runs to +x, j to +y and k to +z, exactly along the axes."""
        turned = self.affine[:3, :3][::-1]
        off_axis = turned - np.diag(np.diag(turned))
        return bool(np.abs(off_axis).max() < 1e-6 and np.diag(turned).min() > 0)

    def require_axial(self, what: str) -> None:
        """Refuse a grid that is not along the patient's axes, naming `what` needs it."""
        if not self.is_axial:
            raise GeometryError(f"{what} needs a grid along the patient's axes (transverse slices); resample it first")

    def axes_mm(self) -> tuple[Float, Float, Float]:
        """Return the z of every slice, y of every row, x of every column (axial grids), LPS mm."""
        self.require_axial("axes_mm")
        dz, dy, dx = self.spacing_mm
        x, y, z = self.affine[:3, 3]
        k, j, i = self.shape
        return z + dz * np.arange(k), y + dy * np.arange(j), x + dx * np.arange(i)

    def to_world(self, index: ArrayLike) -> Float:
        """Take indices (..., 3) in order (k, j, i) to points (..., 3) x, y, z, LPS mm."""
        points: Float = np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return points

    def to_index(self, points_mm: ArrayLike) -> Float:
        """Take points (..., 3) x, y, z, LPS mm to fractional indices (..., 3) in order (k, j, i)."""
        index: Float = (np.asarray(points_mm, dtype=np.float64) - self.affine[:3, 3]) @ self._inverse.T
        return index

    @cached_property
    def _inverse(self) -> Float:
        inverse: Float = np.asarray(np.linalg.inv(self.affine[:3, :3]), dtype=np.float64)
        return inverse

    def faces_mm(self) -> tuple[Float, Float]:
        """Outer faces of the lattice: lowest and highest x, y, z, LPS mm."""
        corners = [
            (k, j, i)
            for k in (-0.5, self.shape[0] - 0.5)
            for j in (-0.5, self.shape[1] - 0.5)
            for i in (-0.5, self.shape[2] - 0.5)
        ]
        points = self.to_world(corners)
        return points.min(axis=0), points.max(axis=0)

    def same_as(self, other: Grid) -> bool:
        """Whether both grids have the same voxels in the same frame of reference."""
        return (
            self.shape == other.shape
            and self.frame_of_reference == other.frame_of_reference
            and bool(np.allclose(self.affine, other.affine, rtol=0, atol=1e-6))
        )

    def require_same_frame(self, frame_of_reference: str, what: str) -> None:
        """Refuse `what` when it lies in another frame of reference."""
        if frame_of_reference != self.frame_of_reference:
            raise GeometryError(
                f"{what} is in frame of reference {frame_of_reference}, the grid in {self.frame_of_reference}: "
                "give a transform between them or the matching file"
            )

    def with_spacing(self, spacing_mm: ArrayLike) -> Grid:
        """Grid over the same outer faces with another spacing along (k, j, i), mm.

        Where the spacing does not divide the extent, the grid grows evenly on both sides.
        """
        spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=float), (3,))
        if spacing.min() <= 0:
            raise GeometryError(f"voxel spacing must be above 0 mm; found {tuple(spacing)}")
        extent = np.array(self.shape) * np.array(self.spacing_mm)
        shape = np.maximum(1, np.ceil(extent / spacing - 1e-6)).astype(int)
        directions = self.affine[:3, :3] / np.array(self.spacing_mm)
        centre = self.to_world((np.array(self.shape) - 1) / 2)
        affine = np.eye(4)
        affine[:3, :3] = directions * spacing
        affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, self.frame_of_reference)

    def crop(self, low: ArrayLike, high: ArrayLike) -> Grid:
        """Grid of the voxels with low <= index < high, clipped to this grid; both (k, j, i)."""
        first = np.clip(np.asarray(low, dtype=int), 0, np.array(self.shape) - 1)
        last = np.clip(np.asarray(high, dtype=int), first + 1, self.shape)
        affine = np.array(self.affine)
        affine[:3, 3] = self.to_world(first)
        k, j, i = (int(n) for n in last - first)
        return Grid((k, j, i), affine, self.frame_of_reference)
