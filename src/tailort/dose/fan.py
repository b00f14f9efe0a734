"""The beam's own space: divergent coordinates and radiological depth.

A point has fan coordinates (u, v, s): s is its distance from the source along the beam's axis, u and v are where the
ray from the source through it crosses the isocentre plane, all mm, in IEC 61217 beam limiting device axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError
from tailort.geometry import Image, PatientPosition, beam_axes
from tailort.patient.plan import BeamSetup

Float = NDArray[np.float64]

# Distance of neighbouring rays in the isocentre plane, and of the samples along a ray, mm.
FAN_PITCH_MM = 2.5
# A point nearer to the source than this cannot be in a patient.
NEAREST_MM = 200.0


@dataclass(frozen=True, eq=False)
class Fan:
    """Where a static beam's source, isocentre and axes are.

    Parameters
    ----------
    source_mm : (3,) float
        LPS mm.
    axes : (3, 3) float
        Rows: beam limiting device x, y and the direction from the isocentre to the source, LPS.
    isocentre_mm : (3,) float
        LPS mm.
    source_axis_distance_mm : float
        mm.
    """

    source_mm: Float
    axes: Float
    isocentre_mm: Float
    source_axis_distance_mm: float

    @classmethod
    def of(cls, setup: BeamSetup, position: PatientPosition, source_axis_distance_mm: float) -> Fan:
        """Return the fan of a beam on a patient in this position."""
        axes = beam_axes(setup.gantry_deg, setup.collimator_deg, setup.couch_deg, position)
        isocentre = np.asarray(setup.isocentre_mm, dtype=np.float64)
        return cls(isocentre + source_axis_distance_mm * axes[2], axes, isocentre, source_axis_distance_mm)

    def coordinates(self, points_mm: Float) -> Float:
        """Take points (n, 3) LPS mm to fan coordinates (n, 3) u, v, s mm.

        Raises
        ------
        GeometryError
            When a point lies behind the source or so near that it cannot be in the patient.
        """
        fan = _to_fan(np.ascontiguousarray(points_mm), self.source_mm, self.axes, self.source_axis_distance_mm)
        if fan.size and fan[:, 2].min() < NEAREST_MM:
            raise GeometryError(
                f"a dose voxel lies {fan[:, 2].min():.0f} mm from the source; expected at least {NEAREST_MM:.0f} mm: "
                "check the isocentre"
            )
        return fan

    def radiological_depth_cm(self, electron_density: Image, fan_mm: Float) -> NDArray[np.float32]:
        """Depth in cm of water of points given in fan coordinates.

        Rays are traced exactly through the voxels (each of one density) on a fan of `FAN_PITCH_MM`; between rays
        and between samples the depth is interpolated. Outside the image there is vacuum.

        Parameters
        ----------
        electron_density : Image
            Relative to water.
        fan_mm : (n, 3) float
            u, v, s, mm.

        References
        ----------
        Amanatides and Woo 1987, Eurographics 87:3; Siddon 1985, Med Phys 12:252, doi:10.1118/1.595715.
        """
        if not len(fan_mm):
            return np.zeros(0, dtype=np.float32)
        low = np.floor(fan_mm.min(axis=0) / FAN_PITCH_MM) * FAN_PITCH_MM
        count = np.ceil((fan_mm.max(axis=0) - low) / FAN_PITCH_MM).astype(np.int64) + 1
        depth = self.depths_cm(electron_density, low, count, FAN_PITCH_MM)
        at_points: NDArray[np.float32] = _sample(depth, (fan_mm - low) / FAN_PITCH_MM)
        return at_points

    def depths_cm(
        self, electron_density: Image, low_mm: Float, count: NDArray[np.int64], pitch_mm: float
    ) -> NDArray[np.float32]:
        """Depths in cm of water at the nodes of a regular fan.

        Parameters
        ----------
        electron_density : Image
            Relative to water.
        low_mm : (3,) float
            u, v, s of the first node, mm.
        count : (3,) int
            Nodes along u, v, s.
        pitch_mm : float
            Distance of neighbouring nodes along each, mm.

        Returns
        -------
        (v, u, s) float32
        """
        to_index: Float = np.asarray(np.linalg.inv(electron_density.grid.affine[:3, :3]), dtype=np.float64)
        start = electron_density.grid.to_index(self.source_mm)
        depths: NDArray[np.float32] = _trace(
            np.asarray(electron_density.values, dtype=np.float32),
            start,
            to_index,
            self.axes,
            self.source_axis_distance_mm,
            np.asarray(low_mm, dtype=np.float64),
            np.asarray(count, dtype=np.int64),
            pitch_mm,
        )
        return depths


@numba.njit(cache=True, parallel=True)
def _to_fan(points: Float, source: Float, axes: Float, sad: float) -> Float:  # pragma: no cover - compiled
    fan = np.empty_like(points)
    for n in numba.prange(points.shape[0]):
        x, y, z = points[n, 0] - source[0], points[n, 1] - source[1], points[n, 2] - source[2]
        s = -(axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z)
        fan[n, 2] = s
        fan[n, 0] = (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) * sad / s if s > 0 else 0.0
        fan[n, 1] = (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) * sad / s if s > 0 else 0.0
    return fan


@numba.njit(cache=True, parallel=True)
def _trace(
    density: NDArray[np.float32],
    start: Float,
    to_index: Float,
    axes: Float,
    sad: float,
    low: Float,
    count: NDArray[np.int64],
    pitch: float,
) -> NDArray[np.float32]:  # pragma: no cover - compiled
    """Return radiological depths (v, u, s), cm, of a regular fan; `low` and `count` are for u, v, s."""
    out = np.empty((count[1], count[0], count[2]), dtype=np.float32)
    for row in numba.prange(count[1]):
        direction = np.empty(3)
        step = np.empty(3)
        index = np.empty(3, dtype=np.int64)
        to_next = np.empty(3)
        by_voxel = np.empty(3)
        turn = np.empty(3, dtype=np.int64)
        v = low[1] + row * pitch
        for column in range(count[0]):
            u = low[0] + column * pitch
            # Everything along the ray is measured by s; a millimetre of s is `stretch` millimetres of path.
            for axis in range(3):
                direction[axis] = (u * axes[0, axis] + v * axes[1, axis]) / sad - axes[2, axis]
            stretch = np.sqrt(1.0 + (u * u + v * v) / (sad * sad))
            first, last = 0.0, 1e30
            for axis in range(3):
                step[axis] = (
                    to_index[axis, 0] * direction[0]
                    + to_index[axis, 1] * direction[1]
                    + to_index[axis, 2] * direction[2]
                )
                if abs(step[axis]) < 1e-12:
                    if start[axis] < -0.5 or start[axis] >= density.shape[axis] - 0.5:
                        last = -1.0
                else:
                    one = (-0.5 - start[axis]) / step[axis]
                    other = (density.shape[axis] - 0.5 - start[axis]) / step[axis]
                    first = max(first, min(one, other))
                    last = min(last, max(one, other))
            n, size = 0, count[2]
            depth = 0.0
            if first < last:
                while n < size and low[2] + n * pitch <= first:
                    out[row, column, n] = 0.0
                    n += 1
                middle = first + min(1e-9 * sad, 0.5 * (last - first))
                for axis in range(3):
                    index[axis] = min(max(round(start[axis] + middle * step[axis]), 0), density.shape[axis] - 1)
                    if abs(step[axis]) < 1e-12:
                        to_next[axis], by_voxel[axis], turn[axis] = 1e30, 1e30, 0
                    else:
                        turn[axis] = 1 if step[axis] > 0 else -1
                        by_voxel[axis] = 1.0 / abs(step[axis])
                        to_next[axis] = (index[axis] + 0.5 * turn[axis] - start[axis]) / step[axis]
                here = first
                while n < size and here < last:
                    axis = 0
                    if to_next[1] < to_next[axis]:
                        axis = 1
                    if to_next[2] < to_next[axis]:
                        axis = 2
                    leave = min(to_next[axis], last)
                    rate = density[index[0], index[1], index[2]] * stretch * 0.1
                    while n < size and low[2] + n * pitch <= leave:
                        out[row, column, n] = depth + rate * (low[2] + n * pitch - here)
                        n += 1
                    depth += rate * max(leave - here, 0.0)
                    here = max(leave, here)
                    index[axis] += turn[axis]
                    to_next[axis] += by_voxel[axis]
                    if index[axis] < 0 or index[axis] >= density.shape[axis]:
                        break
            while n < size:
                out[row, column, n] = depth
                n += 1
    return out


@numba.njit(cache=True, parallel=True)
def _sample(depth: NDArray[np.float32], index: Float) -> NDArray[np.float32]:  # pragma: no cover - compiled
    """Trilinear depth at fractional (u, v, s) indices of a (v, u, s) lattice that holds them all."""
    out = np.empty(index.shape[0], dtype=np.float32)
    rows, columns, layers = depth.shape
    for n in numba.prange(index.shape[0]):
        u0 = min(int(index[n, 0]), max(columns - 2, 0))
        v0 = min(int(index[n, 1]), max(rows - 2, 0))
        s0 = min(int(index[n, 2]), max(layers - 2, 0))
        u1, v1, s1 = min(u0 + 1, columns - 1), min(v0 + 1, rows - 1), min(s0 + 1, layers - 1)
        fu, fv, fs = index[n, 0] - u0, index[n, 1] - v0, index[n, 2] - s0
        total = 0.0
        for v, wv in ((v0, 1 - fv), (v1, fv)):
            for u, wu in ((u0, 1 - fu), (u1, fu)):
                total += wv * wu * (depth[v, u, s0] * (1 - fs) + depth[v, u, s1] * fs)
        out[n] = total
    return out


def voxel_centres_mm(affine: Float, shape: tuple[int, int, int], voxels: NDArray[Any]) -> Float:
    """Return the centres (n, 3) x, y, z, LPS mm of voxels given by flat index."""
    return np.asarray(_centres(affine, np.array(shape), np.ascontiguousarray(voxels)), dtype=np.float64)


@numba.njit(cache=True, parallel=True)
def _centres(
    affine: Float, shape: NDArray[np.int64], voxels: NDArray[np.uint32]
) -> Float:  # pragma: no cover - compiled
    out = np.empty((voxels.size, 3), dtype=np.float64)
    for n in numba.prange(voxels.size):
        flat = np.int64(voxels[n])
        i = flat % shape[2]
        j = (flat // shape[2]) % shape[1]
        k = flat // (shape[2] * shape[1])
        for axis in range(3):
            out[n, axis] = affine[axis, 0] * k + affine[axis, 1] * j + affine[axis, 2] * i + affine[axis, 3]
    return out
