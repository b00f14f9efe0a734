"""Dose-volume histograms: how much of a structure gets how much dose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError
from tailort.evaluation.biological import converted_values
from tailort.geometry import Grid, interpolate
from tailort.geometry.solid import EndCap, PartialVolume, partial_volume, surface_points, volume_cm3
from tailort.patient import Dose, Metric, Structure
from tailort.patient.dose import Per, Quantity
from tailort.radiobiology import geud

Float = NDArray[np.float64]
Samples = NDArray[np.float32]
Whole = NDArray[np.int64]
Scope = Literal["course", "cumulative"]

# The sampling pitch is the edge of a cube of 1/SAMPLES of the volume, within these limits, and never wider than the
# dose grid. The law that sets it is in `tests/evaluation/test_nelms.py`: no metric off by more than 3 %.
SAMPLES = 60_000
FINEST_MM = 0.2
BOX = 8_000_000
# Samples whose doses differ by less than 1/LEVELS of the structure's range are kept as one, with their mean.
LEVELS = 1 << 16
# Above this volume the cells alone give the extremes: a point on the surface changes nothing that is judged.
SURFACE_BELOW_CM3 = 500.0
# Part of a dose voxel within which a point counts as on its outer face.
ON_FACE = 1e-4


@dataclass(frozen=True, eq=False)
class DVH:
    """Cumulative dose-volume histogram of one structure, kept as its samples.

    Parameters
    ----------
    structure : str
        Name.
    volume_cm3 : float
        Volume of the solid between and beyond the contours, cm3.
    doses_gy : (n,) float32
        Dose of each sample (or of several of nearly the same dose), hottest first, Gy; the quantity is `label`.
    volumes_cm3 : (n,) float
        Volume of each sample; their sum and `outside_cm3` make the volume.
    highest_gy, lowest_gy : float
        Over the samples and the points on the surface.
    outside_cm3 : float
        Volume beyond the dose grid, where the dose is unknown (not 0).
    quantity, per, fractions, alpha_beta_gy
        What a gray means, as in `Dose`.
    scope : {"course", "cumulative"}
        This course, or all.

    Notes
    -----
    The dose to the hottest volume v runs from the highest dose at v = 0 through every sample at the middle of its
    volume to the lowest dose at the whole volume, straight in between. The volume at a dose is its inverse.
    """

    structure: str
    volume_cm3: float
    doses_gy: NDArray[np.float32]
    volumes_cm3: Float
    highest_gy: float
    lowest_gy: float
    outside_cm3: float
    quantity: Quantity
    per: Per
    fractions: int | None
    alpha_beta_gy: float | None
    scope: Scope = "course"

    @property
    def label(self) -> str:
        """The quantity as scorecards print it: physical, EQD2(a/b=3), BED(a/b=3)."""
        return self.quantity if self.alpha_beta_gy is None else f"{self.quantity}(a/b={self.alpha_beta_gy:g})"

    @property
    def known_cm3(self) -> float:
        """Volume inside the dose grid."""
        return self.volume_cm3 - self.outside_cm3

    @cached_property
    def _knots(self) -> tuple[Float, NDArray[np.float32]]:
        """Volume and dose along the curve, hottest first."""
        ends = np.cumsum(self.volumes_cm3)
        volume = np.concatenate(([0.0], ends - 0.5 * self.volumes_cm3, [self.known_cm3]))
        dose = np.concatenate(([self.highest_gy], self.doses_gy, [self.lowest_gy])).astype(np.float32)
        return volume, dose

    def value(self, metric: Metric | str, prescription_gy: float | None = None) -> float:
        """One metric, in its own unit.

        Parameters
        ----------
        metric : Metric or str
            Such as "D95%[Gy]"; doses are those of `label`.
        prescription_gy : float or None
            What 100 % of a dose is; only metrics in percent of the prescription need it.

        Raises
        ------
        InputError
            When the metric asks for more volume than there is, or for a prescription that is not given.
        GeometryError
            When the part of the structure beyond the dose grid could change the answer.
        """
        low, high = self.bounds(metric, prescription_gy)
        if low != high:
            raise GeometryError(
                f"{metric} of '{self.structure}' is unknown: {self.outside_cm3:.3g} of its {self.volume_cm3:.3g} cm3 "
                f"lie outside the dose grid; compute the dose on a larger grid"
            )
        return low

    def bounds(self, metric: Metric | str, prescription_gy: float | None = None) -> tuple[float, float]:
        """Lowest and highest value that a metric can have, whatever the dose beyond the grid (0 to infinity).

        Both are the same when the structure lies within the dose grid. Parameters and errors as in `value`.
        """
        m = Metric.parse(metric) if isinstance(metric, str) else metric
        if m.kind == "Volume":
            return self.volume_cm3, self.volume_cm3
        percent_of_dose = m.is_dose and m.unit == "%" or m.at_unit == "%" and m.kind in ("V", "CV")
        if percent_of_dose and not prescription_gy:
            raise InputError(f"{m} of '{self.structure}' is in percent of a prescription, and none is given")
        full_gy = float(prescription_gy or 0.0) / 100.0
        if m.is_dose:
            low, high = self._dose_bounds(m)
            return (low / full_gy, high / full_gy) if m.unit == "%" else (low, high)
        at = float(m.at or 0.0)
        low, high = self._volume_bounds(at * full_gy if m.at_unit == "%" else at)
        if m.kind == "CV":
            low, high = self.volume_cm3 - high, self.volume_cm3 - low
        if m.unit == "%":
            low, high = 100.0 * low / self.volume_cm3, 100.0 * high / self.volume_cm3
        return low, high

    def _dose_bounds(self, m: Metric) -> tuple[float, float]:
        outside = self.outside_cm3
        if m.kind == "Mean":
            mean = float(self.doses_gy.astype(np.float64) @ self.volumes_cm3) / self.volume_cm3
            return mean, np.inf if outside else mean
        if m.kind == "Max":
            return self.highest_gy, np.inf if outside else self.highest_gy
        if m.kind == "Min":
            return 0.0 if outside else self.lowest_gy, self.lowest_gy
        at, unit = (50.0, "%") if m.kind == "Median" else (float(m.at or 0.0), m.at_unit)
        volume = at / 100.0 * self.volume_cm3 if unit == "%" else at
        if volume > self.volume_cm3:
            raise InputError(f"{m} of '{self.structure}' asks for more than its volume of {self.volume_cm3:.3g} cm3")
        if outside and self.known_cm3 <= 0:
            return 0.0, np.inf
        low = self._dose_of(volume) if not outside or volume <= self.known_cm3 else 0.0
        high = self._dose_of(volume - outside) if not outside or volume > outside else np.inf
        return low, high

    def _volume_bounds(self, dose_gy: float) -> tuple[float, float]:
        if dose_gy <= 0:
            return self.volume_cm3, self.volume_cm3
        known = self._volume_of(dose_gy)
        return known, known + self.outside_cm3

    def _dose_of(self, volume_cm3: float) -> float:
        volume, dose = self._knots
        return float(np.interp(volume_cm3, volume, dose))

    def _volume_of(self, dose_gy: float) -> float:
        # Compared in the precision of the samples, so that a uniform 20.3 Gy counts as at least 20.3 Gy.
        level = np.float32(dose_gy)
        volume, dose = self._knots
        above = int(np.searchsorted(-dose, -level, side="right"))
        if above == 0:
            return 0.0
        if above == len(dose):
            return self.known_cm3
        hot, cold = float(dose[above - 1]), float(dose[above])
        share = (hot - float(level)) / (hot - cold)
        return float(volume[above - 1] + share * (volume[above] - volume[above - 1]))

    def curve(self, bin_gy: float) -> tuple[Float, Float]:
        """Cumulative absolute histogram: volume with at least each dose.

        Parameters
        ----------
        bin_gy : float
            Distance of the doses, Gy.

        Returns
        -------
        dose_gy, volume_cm3 : (m,) float
            From 0 Gy, where it is the whole volume, to the first dose above the highest. Volume beyond the dose
            grid counts at 0 Gy only.
        """
        if not bin_gy > 0:
            raise InputError(f"the distance of the doses of a DVH must be above 0 Gy; found {bin_gy:g}")
        doses = bin_gy * np.arange(int(np.floor(self.highest_gy / bin_gy)) + 2)
        knot_volume, knot_dose = self._knots
        level = doses.astype(np.float32)
        above = np.searchsorted(-knot_dose, -level, side="right")
        inner = np.clip(above, 1, len(knot_dose) - 1)
        hot, cold = knot_dose[inner - 1].astype(float), knot_dose[inner].astype(float)
        share = np.divide(hot - level, hot - cold, out=np.zeros(len(doses)), where=hot > cold)
        volumes = knot_volume[inner - 1] + share * (knot_volume[inner] - knot_volume[inner - 1])
        volumes[above == 0] = 0.0
        volumes[above == len(knot_dose)] = self.known_cm3
        volumes[0] = self.volume_cm3
        return doses, volumes

    def gEUD(self, a: float) -> float:  # noqa: N802
        """Generalised equivalent uniform dose of the samples, Gy of `label`; see `tailort.radiobiology.geud`."""
        if self.outside_cm3:
            raise GeometryError(
                f"gEUD of '{self.structure}' is unknown: {self.outside_cm3:.3g} of its {self.volume_cm3:.3g} cm3 lie "
                "outside the dose grid; compute the dose on a larger grid"
            )
        return geud(self.doses_gy, self.volumes_cm3, a)

    def converted(self, quantity: Quantity, alpha_beta_gy: float | None) -> DVH:
        """Return the histogram in BED or EQD2: every sample is converted with its own dose per fraction.

        Raises
        ------
        InputError
            When the number of fractions is unknown, or a BED or EQD2 would change its alpha/beta.
        """
        if (quantity, alpha_beta_gy) == (self.quantity, self.alpha_beta_gy):
            return self

        def change(dose_gy: NDArray[np.floating]) -> Float:
            return converted_values(
                dose_gy, (self.quantity, self.alpha_beta_gy), (quantity, alpha_beta_gy), self.per, self.fractions
            )

        ends = change(np.array([self.highest_gy, self.lowest_gy]))
        return replace(
            self,
            doses_gy=change(self.doses_gy).astype(np.float32),
            highest_gy=float(ends[0]),
            lowest_gy=float(ends[1]),
            quantity=quantity,
            alpha_beta_gy=alpha_beta_gy,
            per="course",
        )

    def per_fraction(self) -> DVH:
        """Return the histogram of the physical dose of one fraction."""
        if self.per == "fraction":
            return self
        if self.quantity != "physical":
            raise InputError(f"{self.label} belongs to a course, not to one fraction; divide the physical dose")
        if self.fractions is None:
            raise InputError(f"the dose per fraction of '{self.structure}' is unknown: the fractions are not given")
        n = self.fractions
        return replace(
            self,
            doses_gy=(self.doses_gy.astype(np.float64) / n).astype(np.float32),
            highest_gy=self.highest_gy / n,
            lowest_gy=self.lowest_gy / n,
            per="fraction",
        )


def dvh(structure: Structure, dose: Dose, *, end_cap: EndCap = "half_slice", scope: Scope = "course") -> DVH:
    """Dose-volume histogram of a structure.

    The solid is sampled on a lattice of its own: fine for small structures, as wide as the dose grid for large ones,
    each lattice cell with the part of it that is inside. Every dose voxel's centre is also the centre of a cell, so
    that peaks are not missed. Highest and lowest dose are also sought on the surface.

    Parameters
    ----------
    structure : Structure
        Contours, LPS mm.
    dose : Dose
        In the same frame of reference.
    end_cap : str
        How the solid ends beyond the first and last contour; see `tailort.geometry.solid`.
    scope : {"course", "cumulative"}
        What the dose counts.

    Raises
    ------
    GeometryError
        When the structure is empty or in another frame of reference, or the dose has values that are not finite.

    References
    ----------
    Nelms B et al. Methods, software and datasets to verify DVH calculations against analytical values. Med Phys
    2015;42:4435-4448, doi:10.1118/1.4923175.
    """
    grid = dose.image.grid
    grid.require_same_frame(structure.frame_of_reference, f"structure '{structure.name}'")
    if structure.is_empty:
        raise GeometryError(f"structure '{structure.name}' has no contours, so it has no DVH")
    volume = volume_cm3(structure.contours, end_cap)
    if not volume > 0:
        raise GeometryError(f"structure '{structure.name}' has contours but no volume")
    lattice = _lattice(structure, grid, volume)
    solid = partial_volume(structure.contours, lattice, end_cap)
    doses, parts = _sample(dose, lattice, solid)
    if not parts.sum() > 0:
        raise GeometryError(f"structure '{structure.name}' is too small to be sampled ({volume:.2g} cm3)")

    # A cell whose centre lies outside the solid must not set the extremes; the surface and the inner cells do.
    core = doses[parts >= 0.5]
    if volume < SURFACE_BELOW_CM3:
        edge = _dose_at(dose, surface_points(structure.contours, end_cap, max(lattice.spacing_mm)))
        core = np.concatenate((core, edge))
    core = core[np.isfinite(core)]
    if len(core) == 0:
        core = doses[np.isfinite(doses)]
    lowest, highest = (float(core.min()), float(core.max())) if len(core) else (0.0, 0.0)
    volumes, sums, outside = _gather(doses, parts, lowest, highest, LEVELS)
    filled = np.flatnonzero(volumes)[::-1]
    means = np.clip(sums[filled] / volumes[filled], lowest, highest)
    scale = volume / float(volumes.sum() + outside)
    return DVH(
        structure=structure.name,
        volume_cm3=volume,
        doses_gy=means.astype(np.float32),
        volumes_cm3=volumes[filled] * scale,
        highest_gy=highest,
        lowest_gy=lowest,
        outside_cm3=outside * scale,
        quantity=dose.quantity,
        per=dose.per,
        fractions=dose.fractions,
        alpha_beta_gy=dose.alpha_beta_gy,
        scope=scope,
    )


def histograms(
    structures: Iterable[Structure], dose: Dose, *, end_cap: EndCap = "half_slice", scope: Scope = "course"
) -> dict[str, DVH]:
    """Histograms of all structures that have contours, by name."""
    return {s.name: dvh(s, dose, end_cap=end_cap, scope=scope) for s in structures if not s.is_empty}


def _lattice(structure: Structure, grid: Grid, volume: float) -> Grid:
    """Axial grid over the structure; where the dose grid is axial, its voxels' centres are centres of cells."""
    low, high = structure.bounds_mm()
    z = structure.slice_positions_mm
    beyond = float(np.diff(z).max()) if len(z) > 1 else 10.0
    extent = high - low + [0.0, 0.0, 2.0 * beyond]
    pitch = max(FINEST_MM, (1000.0 * volume / SAMPLES) ** (1 / 3), float(extent.prod() / BOX) ** (1 / 3))
    if grid.is_axial:
        voxel, anchor = np.array(grid.spacing_mm)[::-1], grid.origin_mm
    else:
        voxel, anchor = np.full(3, min(grid.spacing_mm)), low
    cell = voxel / np.maximum(1, np.round(voxel / pitch))
    first = np.floor((low - [0.0, 0.0, beyond] - anchor) / cell).astype(int)
    last = np.ceil((high + [0.0, 0.0, beyond] - anchor) / cell).astype(int)
    return Grid.axial((last - first + 1)[::-1], cell[::-1], anchor + first * cell, grid.frame_of_reference)


def _sample(dose: Dose, lattice: Grid, solid: PartialVolume) -> tuple[Samples, Samples]:
    """Dose at the centre of every cell that is partly inside, and the part; no number beyond the dose grid."""
    grid = dose.image.grid
    if not grid.is_axial:
        flat, parts = solid.indices()
        index = np.stack(np.unravel_index(flat, lattice.shape), axis=-1)
        return _dose_at(dose, lattice.to_world(index)), parts
    centres = lattice.axes_mm()
    first, weight = [], []
    for axis, (origin, spacing) in enumerate(zip(grid.origin_mm[::-1], grid.spacing_mm, strict=True)):
        count, start = grid.shape[axis], solid.low[axis]
        position = (centres[axis][start : start + solid.fractions.shape[axis]] - origin) / spacing
        outside = (position < -0.5 - ON_FACE) | (position > count - 0.5 + ON_FACE)
        position = np.clip(position, 0.0, count - 1.0)
        lower = np.clip(np.floor(position), 0, max(count - 2, 0)).astype(np.int64)
        first.append(np.where(outside, -1, lower))
        weight.append(position - lower)
    values = np.ascontiguousarray(dose.image.values, dtype=np.float32)
    fractions = np.ascontiguousarray(solid.fractions, dtype=np.float32)
    doses, parts = _on_cells(values, fractions, first[0], first[1], first[2], weight[0], weight[1], weight[2])
    return doses, parts


@numba.njit(cache=True, nogil=True)
def _on_cells(
    values: Samples,
    fractions: Samples,
    k_first: Whole,
    j_first: Whole,
    i_first: Whole,
    k_weight: Float,
    j_weight: Float,
    i_weight: Float,
) -> Any:  # pragma: no cover - compiled
    nk, nj, ni = values.shape
    count = 0
    for k in range(fractions.shape[0]):
        for j in range(fractions.shape[1]):
            for i in range(fractions.shape[2]):
                count += fractions[k, j, i] > 0
    doses, parts = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    n = 0
    for k in range(fractions.shape[0]):
        k0, wk = k_first[k], k_weight[k]
        k1 = min(k0 + 1, nk - 1)
        for j in range(fractions.shape[1]):
            j0, wj = j_first[j], j_weight[j]
            j1 = min(j0 + 1, nj - 1)
            for i in range(fractions.shape[2]):
                if fractions[k, j, i] <= 0:
                    continue
                parts[n] = fractions[k, j, i]
                i0, wi = i_first[i], i_weight[i]
                if k0 < 0 or j0 < 0 or i0 < 0:
                    doses[n] = np.nan
                elif wk == 0 and wj == 0 and wi == 0:
                    doses[n] = values[k0, j0, i0]
                else:
                    i1 = min(i0 + 1, ni - 1)
                    low = (values[k0, j0, i0] * (1 - wi) + values[k0, j0, i1] * wi) * (1 - wj) + (
                        values[k0, j1, i0] * (1 - wi) + values[k0, j1, i1] * wi
                    ) * wj
                    high = (values[k1, j0, i0] * (1 - wi) + values[k1, j0, i1] * wi) * (1 - wj) + (
                        values[k1, j1, i0] * (1 - wi) + values[k1, j1, i1] * wi
                    ) * wj
                    doses[n] = low * (1 - wk) + high * wk
                n += 1
    return doses, parts


@numba.njit(cache=True, nogil=True)
def _gather(
    doses: Samples, parts: Samples, lowest: float, highest: float, levels: int
) -> Any:  # pragma: no cover - compiled
    """Volume and volume x dose of each level between the extremes, and the volume without a dose."""
    volumes, sums = np.zeros(levels + 1), np.zeros(levels + 1)
    outside = 0.0
    per_gy = (levels - 1) / (highest - lowest) if highest > lowest else 0.0
    for n in range(doses.size):
        if np.isnan(doses[n]):
            outside += parts[n]
            continue
        gy = min(max(doses[n], lowest), highest)
        # Level 0 holds the lowest dose alone, so that an exact 0 Gy stays 0.
        level = 0 if gy == lowest else 1 + int((gy - lowest) * per_gy)
        volumes[level] += parts[n]
        sums[level] += parts[n] * gy
    return volumes, sums, outside


def _dose_at(dose: Dose, points_mm: Float) -> Samples:
    """Dose at points (n, 3), LPS mm; no number beyond the outer faces of the dose grid."""
    grid = dose.image.grid
    index = grid.to_index(points_mm)
    # A point on the outer face is inside, whatever the last digit of its coordinates.
    inner = np.clip(index, -0.5 + 1e-9, np.array(grid.shape) - 0.5 - 1e-9)
    off = np.abs(index - inner).max(axis=-1)
    on_face = (off > 0) & (off < ON_FACE)
    points = np.array(points_mm, dtype=np.float64)
    points[on_face] = grid.to_world(inner[on_face])
    return interpolate(dose.image, points, outside=np.nan).astype(np.float32)
