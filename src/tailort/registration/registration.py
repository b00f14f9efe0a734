"""How points of today's scan lie in an earlier one, and how far that is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError
from tailort.geometry import Grid, Image, Transform
from tailort.registration.field import Field, centres, inverted, pull
from tailort.registration.records import Quality


@dataclass(frozen=True, eq=False)
class Registration:
    """A map of points of one frame of reference (today's) to another one (the earlier scan's).

    A point x goes to rigid(x + displacement(x)): the displacement lies in the frame that the map comes from and the
    rigid part follows, as in DICOM's deformable spatial registration with a post-deformation matrix (PS3.3, C.20.3).
    Images are read against the arrows: a dose of the earlier frame is brought onto a grid of today.

    Parameters
    ----------
    rigid : Transform
        From today's frame to the earlier one.
    displacement : Field or None
        In today's frame; None is a rigid registration.
    method : str
        In words, for the report.
    quality : Quality or None
        What was measured of it; None is not judged.
    uncertainty : Image or None
        Standard deviation of a mapped point, mm, on a grid of today's frame; None is unknown.
    """

    rigid: Transform
    displacement: Field | None = None
    method: str = ""
    quality: Quality | None = None
    uncertainty: Image | None = None

    def __post_init__(self) -> None:
        if self.displacement is not None:
            self.displacement.grid.require_same_frame(self.from_frame, "the map that a displacement belongs to")
        if self.uncertainty is not None:
            self.uncertainty.grid.require_same_frame(self.from_frame, "the map that an uncertainty belongs to")
            if self.uncertainty.unit != "mm":
                raise GeometryError(f"the uncertainty of a registration is in mm; found '{self.uncertainty.unit}'")

    @classmethod
    def identity(cls, frame_of_reference: str) -> Registration:
        """Return the map that changes nothing."""
        return cls(Transform.identity(frame_of_reference), method="identity")

    @property
    def from_frame(self) -> str:
        """Frame of reference of the points that are mapped, today's."""
        return self.rigid.from_frame

    @property
    def to_frame(self) -> str:
        """Frame of reference that they are mapped to, the earlier scan's."""
        return self.rigid.to_frame

    @property
    def is_rigid(self) -> bool:
        """Whether nothing is deformed."""
        return self.displacement is None

    def map_points(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Map points (..., 3) x, y, z, LPS mm of today to the earlier frame."""
        moved = points_mm if self.displacement is None else self.displacement.move(points_mm)
        return self.rigid.apply(moved)

    def map_image(self, image: Image, grid: Grid, outside: float) -> Image:
        """Bring an image of the earlier frame onto a grid of today, trilinear, as float32.

        Values are kept as they are: an absorbed dose stays the dose of the same tissue.

        Parameters
        ----------
        image : Image
            In the earlier frame of reference.
        grid : Grid
            In today's frame of reference.
        outside : float
            Value of the points that the image does not reach.

        Raises
        ------
        GeometryError
            When the image or the grid lies in another frame of reference.
        """
        self._require(image.grid, self.to_frame, "the image to map")
        self._require(grid, self.from_frame, "the grid to map to")
        to_source = np.asarray(np.linalg.inv(image.grid.affine) @ self.rigid.affine, dtype=np.float64)
        values = pull(
            np.ascontiguousarray(image.values, dtype=np.float32),
            to_source,
            grid.shape,
            outside,
            self.displacement,
            np.array(grid.affine),
        )
        return Image(grid, values, image.unit)

    def jacobian(self) -> Image:
        """Volume at the earlier scan over volume today, per voxel of the displacement's grid.

        Below 1 the tissue has grown since, at 0 and below the map folds and is no map of tissue. The Jacobian-weighted
        integral of a mapped image is the integral of the image.

        Raises
        ------
        GeometryError
            For a rigid registration, which has no grid (its determinant is that of the matrix).
        """
        if self.displacement is None:
            raise GeometryError("a rigid registration has no field of displacements, so it has no Jacobian per voxel")
        scale = abs(float(np.linalg.det(self.rigid.affine[:3, :3])))
        return Image(self.displacement.grid, self.displacement.determinant() * np.float32(scale), "1")

    def then(self, following: Registration) -> Registration:
        """Return this map followed by another one; quality and uncertainty of the chain are unknown.

        Notes
        -----
        Exact when at most one of the two deforms; otherwise the second's displacement is sampled on the grid of the
        first.
        """
        rigid = self.rigid.then(following.rigid)
        method = f"{self.method}; then {following.method}"
        if following.displacement is None:
            return Registration(rigid, self.displacement, method)
        if self.displacement is None:
            back = self.rigid.inverse()
            grid = following.displacement.grid
            moved = Grid(grid.shape, back.affine @ grid.affine, self.from_frame)
            turned = following.displacement.vectors_mm @ back.affine[:3, :3].T.astype(np.float32)
            return Registration(rigid, Field(moved, turned.astype(np.float32)), method)
        grid = self.displacement.grid
        vectors = np.empty((*grid.shape, 3), dtype=np.float32)
        back = self.rigid.inverse()
        for k in range(grid.shape[0]):
            here = centres(grid, k)
            vectors[k] = back.apply(following.displacement.move(self.map_points(here))) - here
        return Registration(rigid, Field(grid, vectors), method)

    def inverse(self, grid: Grid | None = None) -> Registration:
        """Return the map back; quality and uncertainty are those of the forward map and are left off.

        Parameters
        ----------
        grid : Grid or None
            In the earlier frame: where the inverse displacement is wanted. A rigid registration needs none.

        Raises
        ------
        GeometryError
            When a deformable registration is to be inverted without a grid, or folds so that it has no inverse there.
        """
        back = self.rigid.inverse()
        method = f"inverse of {self.method}"
        if self.displacement is None:
            return Registration(back, method=method)
        if grid is None:
            raise GeometryError("the inverse of a deformable registration needs the grid on which it is wanted")
        self._require(grid, self.to_frame, "the grid of the inverse")
        at_home = Grid(grid.shape, back.affine @ grid.affine, self.from_frame)
        field, left_mm = inverted(self.displacement, at_home)
        if left_mm > _INVERTED_WITHIN_MM:
            raise GeometryError(
                f"a deformable registration cannot be inverted: a point comes back {left_mm:.1f} mm away "
                f"(at most {_INVERTED_WITHIN_MM:g} mm is an inverse); it folds, register again with a smoother field"
            )
        turned = (field.vectors_mm @ self.rigid.affine[:3, :3].T.astype(np.float32)).astype(np.float32)
        return Registration(back, Field(grid, turned), method)

    def judged(self, quality: Quality, uncertainty: Image | None = None) -> Registration:
        """Return the same map with what was measured of it."""
        return replace(self, quality=quality, uncertainty=uncertainty or self.uncertainty)

    def _require(self, grid: Grid, frame: str, what: str) -> None:
        if grid.frame_of_reference != frame:
            raise GeometryError(
                f"{what} is in frame of reference {grid.frame_of_reference}; this registration leads from "
                f"{self.from_frame} to {self.to_frame} and expects it in {frame}"
            )


_INVERTED_WITHIN_MM = 0.5
