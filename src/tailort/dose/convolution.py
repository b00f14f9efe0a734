"""Dose of any fluence everywhere: convolutions for some members of the kernel's family, interpolated at each voxel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tailort.dose.terms import at_depth, depth_table, family, slope_ranges
from tailort.physics.machine import Machine

Float = NDArray[np.float64]

# Pixels of the fluence for the short primary and for the wide scatter term, mm.
PRIMARY_PIXEL_MM, SCATTER_PIXEL_MM = 1.0, 2.5
# How far the square on which the convolutions are periodic reaches beyond the largest field, mm.
PRIMARY_MARGIN_MM, SCATTER_MARGIN_MM = 50.0, 400.0
# Ratio of neighbouring members of the family of kernels between which is interpolated.
PRIMARY_RATIO, SCATTER_RATIO = 1.1, 1.15


def add_dose(
    total: Float,
    fan_mm: Float,
    depth_cm: NDArray[np.float32],
    fluence: Callable[[Float, Float], Float],
    machine: Machine,
    scale: float,
) -> None:
    """Add the dose of one direction.

    Parameters
    ----------
    total : (n,) float
        Dose so far, Gy; it is added to.
    fan_mm : (n, 3) float
        Fan coordinates u, v, s of the points, mm.
    depth_cm : (n,) float
        Their radiological depths, cm of water.
    fluence : callable
        Takes the edges of pixels along x and y (mm, isocentre plane) to the mean fluence (ny, nx) in each, MU.
    machine : Machine
        The beam.
    scale : float
        Gy per MU and unit of the kernel.
    """
    if not len(total):
        return
    table = depth_table(machine)
    limits = slope_ranges(fan_mm[:, 2], depth_cm, table, machine.source_axis_distance_mm)
    primary_slopes = family(limits[0], PRIMARY_RATIO)
    scatter_slopes = family(limits[1], SCATTER_RATIO)
    primary = _Lattice.around(machine, PRIMARY_MARGIN_MM, PRIMARY_PIXEL_MM)
    scatter = _Lattice.around(machine, SCATTER_MARGIN_MM, SCATTER_PIXEL_MM)
    _gather(
        total,
        fan_mm,
        depth_cm,
        table,
        machine.source_axis_distance_mm,
        scale,
        primary.convolve(fluence(primary.edges, primary.edges), primary_slopes, machine.penumbra_sigma_mm),
        primary.first_mm,
        primary.pixel_mm,
        np.log(primary_slopes),
        scatter.convolve(fluence(scatter.edges, scatter.edges), scatter_slopes, machine.penumbra_sigma_mm),
        scatter.first_mm,
        scatter.pixel_mm,
        np.log(scatter_slopes),
    )


@dataclass(frozen=True, eq=False)
class _Lattice:
    """Square pixels of the isocentre plane, periodic at its border."""

    edges: Float
    pixel_mm: float

    @classmethod
    def around(cls, machine: Machine, margin_mm: float, pixel_mm: float) -> _Lattice:
        half = fft.next_fast_len(int(np.ceil((machine.jaw_limit_mm + margin_mm) / pixel_mm)), real=True)
        edges: Float = np.arange(-half, half + 1, dtype=np.float64) * pixel_mm
        return cls(edges, pixel_mm)

    @property
    def first_mm(self) -> float:
        """Centre of the first pixel, mm."""
        return float(self.edges[0]) + 0.5 * self.pixel_mm

    def convolve(self, pixels: Float, slopes_per_mm: Float, blur_mm: float) -> NDArray[np.float32]:
        """Pixels of even fluence, blurred by a Gaussian and convolved with K of each slope: (slopes, y, x).

        The values are coefficients of cubic B-splines, whose sum runs through the convolution at the pixel centres.
        """
        size = len(self.edges) - 1
        along_x = 2 * np.pi * fft.rfftfreq(size, self.pixel_mm)
        along_y = 2 * np.pi * fft.fftfreq(size, self.pixel_mm)
        blurred = fft.rfft2(pixels, workers=-1)
        for frequency, shape in ((along_x, (1, -1)), (along_y, (-1, 1))):
            pixel = np.sinc(frequency * self.pixel_mm / (2 * np.pi))
            pixel /= (2 + np.cos(frequency * self.pixel_mm)) / 3
            blurred *= (pixel * np.exp(-0.5 * (frequency * blur_mm) ** 2)).reshape(shape)
        squared = along_y[:, None] ** 2 + along_x[None, :] ** 2
        out = np.empty((len(slopes_per_mm), size, size), dtype=np.float32)
        for n, slope in enumerate(slopes_per_mm):
            # The Hankel transform of exp(-k q)/q is 1/sqrt(k^2 + f^2).
            out[n] = fft.irfft2(blurred * (slope / np.sqrt(slope**2 + squared)), s=(size, size), workers=-1)
        return out


@numba.njit(cache=True, inline="always")
def _spline_weights(f: float) -> tuple[float, float, float, float]:  # pragma: no cover - compiled
    """Cubic B-splines of the four nearest pixels, f of a pixel beyond the second."""
    g = 1.0 - f
    return g * g * g / 6, (4 - 3 * f * f * (2 - f)) / 6, (4 - 3 * g * g * (2 - g)) / 6, f * f * f / 6


@numba.njit(cache=True, inline="always")
def _between_maps(
    maps: NDArray[np.float32], logs: Float, slope: float, x: float, y: float
) -> Any:  # pragma: no cover - compiled
    """Convolution for this slope at pixel coordinates x, y; 0 beyond the lattice."""
    levels, rows, columns = maps.shape
    if not (1.0 <= x < columns - 2.0 and 1.0 <= y < rows - 2.0):
        return 0.0
    place = min(max((np.log(slope) - logs[0]) / (logs[1] - logs[0]), 0.0), levels - 1.0)
    m = min(int(place), levels - 2)
    i, j = int(x), int(y)
    fm = place - m
    (a0, a1, a2, a3), (b0, b1, b2, b3) = _spline_weights(x - i), _spline_weights(y - j)
    low = high = 0.0
    for row, b in ((j - 1, b0), (j, b1), (j + 1, b2), (j + 2, b3)):
        below, above = maps[m, row], maps[m + 1, row]
        low += b * (a0 * below[i - 1] + a1 * below[i] + a2 * below[i + 1] + a3 * below[i + 2])
        high += b * (a0 * above[i - 1] + a1 * above[i] + a2 * above[i + 1] + a3 * above[i + 2])
    return low * (1 - fm) + high * fm


@numba.njit(cache=True, parallel=True)
def _gather(
    total: Float,
    fan: Float,
    depth: NDArray[np.float32],
    table: Float,
    sad: float,
    scale: float,
    primary: NDArray[np.float32],
    primary_start: float,
    primary_pixel: float,
    primary_logs: Float,
    scatter: NDArray[np.float32],
    scatter_start: float,
    scatter_pixel: float,
    scatter_logs: Float,
) -> None:  # pragma: no cover - compiled
    for n in numba.prange(total.size):
        u, v, s = fan[n, 0], fan[n, 1], fan[n, 2]
        z = depth[n]
        short = _between_maps(
            primary,
            primary_logs,
            at_depth(table, 1, z) * s / sad,
            (u - primary_start) / primary_pixel,
            (v - primary_start) / primary_pixel,
        )
        wide = _between_maps(
            scatter,
            scatter_logs,
            at_depth(table, 3, z) * s / sad,
            (u - scatter_start) / scatter_pixel,
            (v - scatter_start) / scatter_pixel,
        )
        dose = at_depth(table, 0, z) * short + at_depth(table, 2, z) * wide
        # Rounding of the transforms leaves about 1e-8 of either sign far outside the field.
        total[n] += scale * (sad / s) ** 2 * max(dose, 0.0)
