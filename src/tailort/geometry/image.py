"""Values on a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from tailort.errors import GeometryError
from tailort.geometry.grid import Grid

UNITS = ("HU", "g/cm3", "Gy", "1", "Bq/ml", "SUV", "mm", "mm2/s", "1/Gy", "1/cm3")


@dataclass(frozen=True, eq=False)
class Image:
    """A scalar field on a grid.

    Parameters
    ----------
    grid : Grid
        Where the voxels are.
    values : (k, j, i) array
        One value a voxel; not written to afterwards.
    unit : str
        One of `UNITS`; "1" is a number without unit.
    """

    grid: Grid
    values: NDArray[Any]
    unit: str

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise GeometryError(f"unknown unit {self.unit!r} of an image; known are {', '.join(UNITS)}")
        if self.values.shape != self.grid.shape:
            raise GeometryError(f"values of shape {self.values.shape} do not fit a grid of shape {self.grid.shape}")
        view = self.values.view()
        view.setflags(write=False)
        object.__setattr__(self, "values", view)

    def with_values(self, values: NDArray[Any], unit: str | None = None) -> Image:
        """Return the same voxels with other values."""
        return replace(self, values=values, unit=unit or self.unit)
