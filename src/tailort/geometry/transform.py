"""From one frame of reference to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError


@dataclass(frozen=True, eq=False)
class Transform:
    """A rigid or affine map of points from one frame of reference to another.

    Parameters
    ----------
    from_frame, to_frame : str
        DICOM Frame of Reference UIDs.
    affine : (4, 4) float
        Takes (x, y, z, 1) LPS mm in `from_frame` to LPS mm in `to_frame`.
    uncertainty_mm : float or None
        Standard deviation of a mapped point; None is unknown.
    provenance : str
        How the map was found.
    """

    from_frame: str
    to_frame: str
    affine: NDArray[np.float64]
    uncertainty_mm: float | None = None
    provenance: str = ""

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            raise GeometryError("a transform's affine must be a finite 4 x 4 matrix whose last row is 0 0 0 1")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise GeometryError("a transform's affine is singular: it cannot be inverted")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def identity(cls, frame_of_reference: str) -> Transform:
        """Return the map that changes nothing."""
        return cls(frame_of_reference, frame_of_reference, np.eye(4), 0.0, "identity")

    def apply(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Map points (..., 3) x, y, z, LPS mm."""
        moved: NDArray[np.float64] = (
            np.asarray(points_mm, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]
        )
        return moved

    def inverse(self) -> Transform:
        """Return the map back."""
        return Transform(
            self.to_frame,
            self.from_frame,
            np.asarray(np.linalg.inv(self.affine), dtype=np.float64),
            self.uncertainty_mm,
            f"inverse of {self.provenance}",
        )

    def then(self, following: Transform) -> Transform:
        """Return this map followed by another one."""
        if following.from_frame != self.to_frame:
            raise GeometryError(
                f"a transform into frame {self.to_frame} cannot be followed by one from frame {following.from_frame}"
            )
        both_known = self.uncertainty_mm is not None and following.uncertainty_mm is not None
        uncertainty = (
            float(np.hypot(self.uncertainty_mm or 0.0, following.uncertainty_mm or 0.0)) if both_known else None
        )
        return Transform(
            self.from_frame,
            following.to_frame,
            following.affine @ self.affine,
            uncertainty,
            f"{self.provenance}; {following.provenance}",
        )
