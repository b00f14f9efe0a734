"""A field of displacements: where each point of a grid goes, in mm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError
from tailort.geometry import Grid
from tailort.geometry.resample import trilinear

Float = NDArray[np.float64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Field:
    """Displacements of the points of a grid, within one frame of reference.

    Parameters
    ----------
    grid : Grid
        Where the displacements are known.
    vectors_mm : (k, j, i, 3) float32
        x, y, z, LPS mm, of each voxel centre; not written to afterwards. Between centres they are interpolated
        trilinearly, beyond the outermost centres the nearest one holds.
    """

    grid: Grid
    vectors_mm: Vectors

    def __post_init__(self) -> None:
        if self.vectors_mm.shape != (*self.grid.shape, 3):
            raise GeometryError(
                f"displacements of shape {self.vectors_mm.shape} do not fit a grid of shape {self.grid.shape}: "
                "three components a voxel are expected"
            )
        if not np.isfinite(self.vectors_mm).all():
            raise GeometryError("a field of displacements has values that are not finite")
        view = np.ascontiguousarray(self.vectors_mm, dtype=np.float32).view()
        view.setflags(write=False)
        object.__setattr__(self, "vectors_mm", view)

    def move(self, points_mm: ArrayLike) -> Float:
        """Return the points (..., 3), LPS mm, with their displacement added."""
        points = np.asarray(points_mm, dtype=np.float64)
        index = np.ascontiguousarray(self.grid.to_index(points).reshape(-1, 3))
        moved: Float = points + _displacements(self.vectors_mm, index).reshape(points.shape)
        return moved

    def on(self, grid: Grid) -> Field:
        """Return the same displacements on another grid of the same frame."""
        grid.require_same_frame(self.grid.frame_of_reference, "a field of displacements")
        vectors = np.empty((*grid.shape, 3), dtype=np.float32)
        for k in range(grid.shape[0]):
            points = centres(grid, k)
            vectors[k] = self.move(points) - points
        return Field(grid, vectors)

    def determinant(self) -> NDArray[np.float32]:
        """Return the Jacobian determinant of point -> moved point at each voxel centre, (k, j, i).

        Central differences inside, one-sided ones at the outer voxels. 1 keeps the volume, below 0 is a fold.
        """
        self._require_two()
        return _central(self.vectors_mm, self._per_mm)

    def least_determinant(self) -> NDArray[np.float32]:
        """Return the lowest Jacobian determinant of the trilinear map in the corners that meet at each voxel centre.

        One-sided differences to each of the eight sides: a fold between two centres, which central differences
        step over, shows here.
        """
        self._require_two()
        return _one_sided(self.vectors_mm, self._per_mm)

    @property
    def _per_mm(self) -> Float:
        """Change of the index k, j, i per mm of x, y, z."""
        return np.asarray(np.linalg.inv(self.grid.affine[:3, :3]), dtype=np.float64)

    def _require_two(self) -> None:
        if min(self.grid.shape) < 2:
            raise GeometryError(
                f"the derivative of a field needs two voxels along each direction; found shape {self.grid.shape}"
            )


def centres(grid: Grid, k: int) -> Float:
    """Voxel centres (j, i, 3) of one slice of a grid, x, y, z, LPS mm."""
    j, i = np.indices(grid.shape[1:])
    return grid.to_world(np.stack([np.full(j.shape, k), j, i], axis=-1))


def pull(
    values: NDArray[np.float32],
    to_source: Float,
    shape: tuple[int, int, int],
    outside: float,
    field: Field | None,
    to_world: Float,
) -> NDArray[np.float32]:
    """Read an image where the voxel centres of a lattice are taken to.

    Parameters
    ----------
    values : (k, j, i) float32
        The image that is read.
    to_source : (4, 4) float
        Takes a displaced point x, y, z, LPS mm, to the index k, j, i in `values`.
    shape : (3,) int
        Of the lattice.
    outside : float
        Value beyond the outer voxel faces of the image.
    field : Field or None
        Displacement of the points; None is none.
    to_world : (4, 4) float
        Takes an index of the lattice to its point x, y, z, LPS mm.

    Returns
    -------
    (k, j, i) float32
        On the lattice.
    """
    if field is None:
        vectors, to_field = np.zeros((1, 1, 1, 3), dtype=np.float32), np.eye(4)
    else:
        vectors, to_field = field.vectors_mm, np.asarray(np.linalg.inv(field.grid.affine), dtype=np.float64)
    return _pull(values, to_source, np.array(shape), float(outside), vectors, to_field, to_world)


def inverted(field: Field, grid: Grid, tolerance_mm: float = 0.02, most: int = 60) -> tuple[Field, float]:
    """Return the field that leads back, and the largest error that is left, mm.

    Parameters
    ----------
    field : Field
        x -> x + u(x).
    grid : Grid
        Where the inverse is wanted: at its centres y the field v with (y + v) + u(y + v) = y.
    tolerance_mm : float
        The search for a point ends when it comes back this near.
    most : int
        Steps at most.

    References
    ----------
    Chen et al., Med Phys 2008;35:81 (fixed-point inversion of a displacement field), doi:10.1118/1.2816107.
    """
    to_field = np.asarray(np.linalg.inv(field.grid.affine), dtype=np.float64)
    vectors, errors = _inverted(
        field.vectors_mm, to_field, np.array(grid.shape), np.array(grid.affine), tolerance_mm, most
    )
    return Field(grid, vectors), float(errors.max())


@numba.njit(cache=True, inline="always")
def _cell(k: float, n: int) -> Any:
    k = min(max(k, 0.0), n - 1.0)
    k0 = min(int(k), max(n - 2, 0))
    return k0, min(k0 + 1, n - 1), k - k0


@numba.njit(cache=True)
def _vector(vectors: Vectors, k: float, j: float, i: float) -> Any:  # pragma: no cover - compiled
    k0, k1, fk = _cell(k, vectors.shape[0])
    j0, j1, fj = _cell(j, vectors.shape[1])
    i0, i1, fi = _cell(i, vectors.shape[2])
    a, b, c, d = (1 - fk) * (1 - fj), (1 - fk) * fj, fk * (1 - fj), fk * fj
    x, y, z = 0.0, 0.0, 0.0
    for at_i, share in ((i0, 1 - fi), (i1, fi)):
        x += share * (
            a * vectors[k0, j0, at_i, 0]
            + b * vectors[k0, j1, at_i, 0]
            + c * vectors[k1, j0, at_i, 0]
            + d * vectors[k1, j1, at_i, 0]
        )
        y += share * (
            a * vectors[k0, j0, at_i, 1]
            + b * vectors[k0, j1, at_i, 1]
            + c * vectors[k1, j0, at_i, 1]
            + d * vectors[k1, j1, at_i, 1]
        )
        z += share * (
            a * vectors[k0, j0, at_i, 2]
            + b * vectors[k0, j1, at_i, 2]
            + c * vectors[k1, j0, at_i, 2]
            + d * vectors[k1, j1, at_i, 2]
        )
    return x, y, z


@numba.njit(cache=True, inline="always")
def _at(m: Float, row: int, a: float, b: float, c: float) -> Any:
    return m[row, 0] * a + m[row, 1] * b + m[row, 2] * c + m[row, 3]


@numba.njit(cache=True, parallel=True)
def _displacements(vectors: Vectors, index: Float) -> Float:  # pragma: no cover - compiled
    out = np.empty((index.shape[0], 3), dtype=np.float64)
    for n in numba.prange(index.shape[0]):
        out[n, 0], out[n, 1], out[n, 2] = _vector(vectors, index[n, 0], index[n, 1], index[n, 2])
    return out


@numba.njit(cache=True, parallel=True)
def _pull(
    values: NDArray[np.float32],
    to_source: Float,
    shape: NDArray[np.int64],
    outside: float,
    vectors: Vectors,
    to_field: Float,
    to_world: Float,
) -> NDArray[np.float32]:  # pragma: no cover - compiled
    out = np.empty((shape[0], shape[1], shape[2]), dtype=np.float32)
    for k in numba.prange(shape[0]):
        for j in range(shape[1]):
            for i in range(shape[2]):
                x, y, z = _at(to_world, 0, k, j, i), _at(to_world, 1, k, j, i), _at(to_world, 2, k, j, i)
                u, v, w = _vector(
                    vectors, _at(to_field, 0, x, y, z), _at(to_field, 1, x, y, z), _at(to_field, 2, x, y, z)
                )
                x, y, z = x + u, y + v, z + w
                out[k, j, i] = trilinear(
                    values, _at(to_source, 0, x, y, z), _at(to_source, 1, x, y, z), _at(to_source, 2, x, y, z), outside
                )
    return out


@numba.njit(cache=True, parallel=True)
def _inverted(
    vectors: Vectors, to_field: Float, shape: NDArray[np.int64], to_world: Float, tolerance: float, most: int
) -> Any:  # pragma: no cover - compiled
    out = np.empty((shape[0], shape[1], shape[2], 3), dtype=np.float32)
    errors = np.zeros(shape[0], dtype=np.float64)
    for k in numba.prange(shape[0]):
        worst = 0.0
        for j in range(shape[1]):
            for i in range(shape[2]):
                x, y, z = _at(to_world, 0, k, j, i), _at(to_world, 1, k, j, i), _at(to_world, 2, k, j, i)
                a, b, c = 0.0, 0.0, 0.0
                left, step = np.inf, 1.0
                for _ in range(most):
                    p, q, r = x + a, y + b, z + c
                    u, v, w = _vector(
                        vectors, _at(to_field, 0, p, q, r), _at(to_field, 1, p, q, r), _at(to_field, 2, p, q, r)
                    )
                    da, db, dc = a + u, b + v, c + w
                    now = np.sqrt(da * da + db * db + dc * dc)
                    if now > 0.9 * left:
                        step *= 0.7
                    left = now
                    if now < tolerance:
                        break
                    a, b, c = a - step * da, b - step * db, c - step * dc
                worst = max(worst, left)
                out[k, j, i, 0], out[k, j, i, 1], out[k, j, i, 2] = a, b, c
        errors[k] = worst
    return out, errors


@numba.njit(cache=True, inline="always")
def _determinant(g: Float, to_index: Float, m: Float) -> Any:
    """Determinant of m = I + (du / d index) (d index / dx)."""
    for row in range(3):
        for column in range(3):
            m[row, column] = (
                g[row, 0] * to_index[0, column] + g[row, 1] * to_index[1, column] + g[row, 2] * to_index[2, column]
            )
        m[row, row] += 1.0
    return (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )


@numba.njit(cache=True, parallel=True)
def _central(vectors: Vectors, to_index: Float) -> NDArray[np.float32]:  # pragma: no cover - compiled
    nk, nj, ni = vectors.shape[:3]
    out = np.empty((nk, nj, ni), dtype=np.float32)
    for k in numba.prange(nk):
        g, m = np.empty((3, 3)), np.empty((3, 3))
        k0, k1 = max(k - 1, 0), min(k + 1, nk - 1)
        for j in range(nj):
            j0, j1 = max(j - 1, 0), min(j + 1, nj - 1)
            for i in range(ni):
                i0, i1 = max(i - 1, 0), min(i + 1, ni - 1)
                for c in range(3):
                    g[c, 0] = (vectors[k1, j, i, c] - vectors[k0, j, i, c]) / (k1 - k0)
                    g[c, 1] = (vectors[k, j1, i, c] - vectors[k, j0, i, c]) / (j1 - j0)
                    g[c, 2] = (vectors[k, j, i1, c] - vectors[k, j, i0, c]) / (i1 - i0)
                out[k, j, i] = _determinant(g, to_index, m)
    return out


@numba.njit(cache=True, parallel=True)
def _one_sided(vectors: Vectors, to_index: Float) -> NDArray[np.float32]:  # pragma: no cover - compiled
    nk, nj, ni = vectors.shape[:3]
    out = np.empty((nk, nj, ni), dtype=np.float32)
    for k in numba.prange(nk):
        g, m = np.empty((3, 3)), np.empty((3, 3))
        for j in range(nj):
            for i in range(ni):
                least = np.inf
                for corner in range(8):
                    k0 = min(max(k - (corner & 1), 0), nk - 2)
                    j0 = min(max(j - ((corner >> 1) & 1), 0), nj - 2)
                    i0 = min(max(i - ((corner >> 2) & 1), 0), ni - 2)
                    for c in range(3):
                        g[c, 0] = vectors[k0 + 1, j, i, c] - vectors[k0, j, i, c]
                        g[c, 1] = vectors[k, j0 + 1, i, c] - vectors[k, j0, i, c]
                        g[c, 2] = vectors[k, j, i0 + 1, c] - vectors[k, j, i0, c]
                    least = min(least, _determinant(g, to_index, m))
                out[k, j, i] = least
    return out
