"""The linear map from beamlet weights to dose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError
from tailort.geometry import Grid
from tailort.patient.plan import BeamSetup


@dataclass(frozen=True, eq=False)
class Beamlets:
    """The small fields into which the beams are divided.

    Parameters
    ----------
    beam : (n,) int
        Index of the beam's setup in `setups`.
    x_mm, y_mm : (n,) float
        Centre at the isocentre plane, IEC 61217 beam limiting device axes, mm.
    width_x_mm, width_y_mm : float
        Size at the isocentre plane, mm; y is across the leaves.
    setups : tuple of BeamSetup
        The beams.
    """

    beam: NDArray[np.int32]
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]
    width_x_mm: float
    width_y_mm: float
    setups: tuple[BeamSetup, ...]

    def __post_init__(self) -> None:
        if not len(self.beam) == len(self.x_mm) == len(self.y_mm):
            raise GeometryError("beamlets need one beam, one x and one y each")

    def __len__(self) -> int:
        return len(self.beam)


Columns = NDArray[np.unsignedinteger[Any]]


def column_type(beamlets: int) -> type[np.unsignedinteger[Any]]:
    """Smallest type for the columns of so many beamlets: products with the matrix wait for the memory."""
    return np.uint16 if beamlets <= 1 << 16 else np.uint32


@dataclass(frozen=True, eq=False)
class Influence:
    """Dose of each beamlet in each voxel, by sparse rows.

    Row r belongs to voxel `voxels[r]` (flat index into `grid`); its entries are
    `values[starts[r]:starts[r+1]]` in columns `columns[starts[r]:starts[r+1]]`.

    Parameters
    ----------
    values : (nnz,) float32
        Gy per fraction per MU of the beamlet.
    columns : (nnz,) uint16 or uint32
        Beamlet; of the smaller type that holds their number (`column_type`).
    starts : (rows + 1,) int64
        First entry of each row.
    grid : Grid
        Dose grid.
    voxels : (rows,) uint32
        Flat (C order) indices of the rows' voxels.
    beamlets : Beamlets
        The columns.
    engine : str
        What computed it.
    """

    values: NDArray[np.float32]
    columns: Columns
    starts: NDArray[np.int64]
    grid: Grid
    voxels: NDArray[np.uint32]
    beamlets: Beamlets
    engine: str

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.voxels) + 1 or len(self.values) != len(self.columns):
            raise GeometryError("an influence matrix needs one row a voxel and one column an entry")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of voxels and of beamlets."""
        return len(self.voxels), len(self.beamlets)

    def dose(self, weights_mu: NDArray[np.float64]) -> NDArray[np.float64]:
        """Dose of the rows' voxels, Gy per fraction, for beamlet weights in MU."""
        weights = np.ascontiguousarray(weights_mu, dtype=np.float64)
        dose: NDArray[np.float64] = multiply(self.values, self.columns, self.starts, weights)
        return dose

    def gradient(self, by_dose: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivative by the weights, from the derivative by each row's dose: the transpose times `by_dose`."""
        by_weight: NDArray[np.float64] = _multiply_transposed(
            self.values,
            self.columns,
            self.starts,
            np.ascontiguousarray(by_dose, dtype=np.float64),
            len(self.beamlets),
            numba.get_num_threads(),
        )
        return by_weight


# In any order the sum of a row can be taken in vectors: four times as fast, and in float64 as exact.
@numba.njit(cache=True, parallel=True, fastmath={"reassoc", "contract"})
def multiply(
    values: NDArray[np.float32], columns: Columns, starts: NDArray[np.int64], x: NDArray[np.float64]
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Products of the rows of a sparse matrix with a vector, summed in float64."""
    rows = starts.size - 1
    out = np.empty(rows, dtype=np.float64)
    for r in numba.prange(rows):
        own, column = values[starts[r] : starts[r + 1]], columns[starts[r] : starts[r + 1]]
        total = 0.0
        for n in range(own.size):
            total += own[n] * x[column[n]]
        out[r] = total
    return out


@numba.njit(cache=True, parallel=True)
def _multiply_transposed(
    values: NDArray[np.float32],
    columns: Columns,
    starts: NDArray[np.int64],
    y: NDArray[np.float64],
    size: int,
    parts: int,
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    # Each part sums a run of rows with about the same number of entries into its own vector.
    sums = np.zeros((parts, size), dtype=np.float64)
    entries = starts[-1]
    for part in numba.prange(parts):
        first = np.searchsorted(starts, entries * part // parts)
        last = np.searchsorted(starts, entries * (part + 1) // parts) if part + 1 < parts else starts.size - 1
        own = sums[part]
        for r in range(first, last):
            if y[r] != 0.0:
                for n in range(starts[r], starts[r + 1]):
                    own[columns[n]] += values[n] * y[r]
    total = np.zeros(size, dtype=np.float64)
    for part in range(parts):
        total += sums[part]
    return total
