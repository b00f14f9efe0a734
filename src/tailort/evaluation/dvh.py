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
from tailort.evaluation.outcome import outcome_bounds
from tailort.evaluation.sampling import Cells, Sampled, cut
from tailort.geometry import Grid
from tailort.geometry.solid import EndCap
from tailort.patient import Dose, Metric, Structure
from tailort.patient.dose import Per, Quantity
from tailort.radiobiology import geud, set_of

Float = NDArray[np.float64]
Samples = NDArray[np.float32]
Scope = Literal["course", "cumulative"]

# Samples whose doses differ by less than 1/LEVELS of the structure's range are kept as one, with their mean.
LEVELS = 1 << 16
# Small structures count up to 8 points a cell, as long as there are no more than this in all.
POINTS = 600_000
# Share of a structure that may lie beyond the dose grid by rounding.
SLIVER = 1e-6


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
    least : DVH or None
        The same structure by the least dose that it can have, where this histogram is of the most; None where one dose
        is known.

    Notes
    -----
    The dose to the hottest volume v runs from the highest dose at v = 0 through every sample at the middle of its
    volume to the lowest dose at the whole volume, straight in between; samples of the same dose are a plateau. The
    volume at a dose is its inverse.
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
    least: DVH | None = None

    @property
    def label(self) -> str:
        """The quantity as scorecards print it: physical, EQD2(a/b=3), BED(a/b=3)."""
        return self.quantity if self.alpha_beta_gy is None else f"{self.quantity}(a/b={self.alpha_beta_gy:g})"

    @property
    def known_cm3(self) -> float:
        """Volume inside the dose grid."""
        return self.volume_cm3 - self.outside_cm3 if len(self.doses_gy) else 0.0

    @cached_property
    def _knots(self) -> tuple[Float, NDArray[np.float32]]:
        """Volume and dose along the curve, hottest first."""
        first = np.flatnonzero(np.concatenate([[True], np.diff(self.doses_gy) != 0]))
        count = np.diff(first, append=len(self.doses_gy))
        above = np.concatenate([[0.0], np.cumsum(self.volumes_cm3)])
        begin, end = above[first], above[first + count]
        middle = 0.5 * (begin + end)
        single = count == 1
        run = np.stack([np.where(single, middle, begin), np.where(single, middle, end)], axis=1)
        volume = np.concatenate(([0.0], run.ravel(), [self.known_cm3]))
        dose = np.concatenate(([self.highest_gy], np.repeat(self.doses_gy[first], 2), [self.lowest_gy]))
        return volume, dose.astype(np.float32)

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
        if low != high and self.least is not None:
            raise GeometryError(
                f"{metric} of '{self.structure}' is unknown: a dose in it is known by bounds only, from {low:.4g} to "
                f"{high:.4g}; ask for its bounds"
            )
        if low != high:
            raise GeometryError(
                f"{metric} of '{self.structure}' is unknown: {self.outside_cm3:.3g} of its {self.volume_cm3:.3g} cm3 "
                f"lie outside the dose grid; compute the dose on a larger grid"
            )
        return low

    def bounds(self, metric: Metric | str, prescription_gy: float | None = None) -> tuple[float, float]:
        """Lowest and highest value that a metric can have, whatever the dose beyond the grid (0 to infinity).

        Both are the same when the structure lies within the dose grid and one dose is known of every voxel. Parameters
        and errors as in `value`.
        """
        m = Metric.parse(metric) if isinstance(metric, str) else metric
        if self.least is not None:
            mine = replace(self, least=None).bounds(m, prescription_gy)
            its = self.least.bounds(m, prescription_gy)
            # Of less dose there is more volume below a dose.
            return (mine[0], its[1]) if m.kind == "CV" else (its[0], mine[1])
        if m.is_outcome:
            return outcome_bounds(self, set_of(m, self.structure))
        if m.kind == "Volume":
            return self.volume_cm3, self.volume_cm3
        if in_percent_of_prescription(m) and not prescription_gy:
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
            return 0.0 if outside else self.lowest_gy, self.lowest_gy if len(self.doses_gy) else np.inf
        at, unit = (50.0, "%") if m.kind == "Median" else (float(m.at or 0.0), m.at_unit)
        volume = at / 100.0 * self.volume_cm3 if unit == "%" else at
        if volume > self.volume_cm3:
            raise InputError(f"{m} of '{self.structure}' asks for more than its volume of {self.volume_cm3:.3g} cm3")
        if not len(self.doses_gy):
            return 0.0, np.inf
        low = self._dose_of(volume) if not outside or volume <= self.known_cm3 else 0.0
        high = self._dose_of(volume - outside) if not outside or volume > outside else np.inf
        return low, high

    def _volume_bounds(self, dose_gy: float) -> tuple[float, float]:
        if dose_gy <= 0:
            return self.volume_cm3, self.volume_cm3
        known = self._volume_of(dose_gy) if len(self.doses_gy) else 0.0
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
        if not len(self.doses_gy):
            return np.array([0.0, bin_gy]), np.array([float(self.volume_cm3), 0.0])
        doses: Float = bin_gy * np.arange(int(np.floor(self.highest_gy / bin_gy * (1 + 1e-6))) + 2, dtype=np.float64)
        knot_volume, knot_dose = self._knots
        level = doses.astype(np.float32)
        above = np.searchsorted(-knot_dose, -level, side="right")
        inner = np.clip(above, 1, len(knot_dose) - 1)
        hot, cold = knot_dose[inner - 1].astype(float), knot_dose[inner].astype(float)
        share = np.divide(hot - level, hot - cold, out=np.zeros(len(doses)), where=hot > cold)
        volumes: Float = knot_volume[inner - 1] + share * (knot_volume[inner] - knot_volume[inner - 1])
        volumes[above == 0] = 0.0
        volumes[above == len(knot_dose)] = self.known_cm3
        volumes[0] = self.volume_cm3
        return doses, volumes

    def gEUD(self, a: float) -> float:  # noqa: N802
        """Generalised equivalent uniform dose of the samples, Gy of `label`; see `tailort.radiobiology.geud`."""
        if self.least is not None:
            raise GeometryError(f"gEUD of '{self.structure}' is unknown: a dose in it is known by bounds only")
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
            least=None if self.least is None else self.least.converted(quantity, alpha_beta_gy),
        )

    def scaled(self, factor: float, fractions: int) -> DVH:
        """Return the histogram of the dose times a factor, delivered in another number of equal fractions.

        Raises
        ------
        InputError
            When it is not of the physical dose of a course, the factor is not above 0, or there is no fraction.
        """
        if self.quantity != "physical" or self.per != "course":
            raise InputError(
                f"only the physical dose of a course is scaled; found {self.label} per {self.per} of '{self.structure}'"
            )
        if not 0.0 < factor < np.inf or fractions < 1:
            raise InputError(f"a dose is scaled by a factor above 0 to at least 1 fraction; {factor:g}, {fractions}")
        return replace(
            self,
            doses_gy=(factor * self.doses_gy.astype(np.float64)).astype(np.float32),
            highest_gy=factor * self.highest_gy,
            lowest_gy=factor * self.lowest_gy,
            fractions=fractions,
            least=None if self.least is None else self.least.scaled(factor, fractions),
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
            least=None if self.least is None else self.least.per_fraction(),
        )


def in_percent_of_prescription(metric: Metric) -> bool:
    """Whether a metric needs to know what 100 % of the dose is."""
    return metric.unit == "%" if metric.is_dose else metric.at_unit == "%"


def dvh(
    structure: Structure,
    dose: Dose,
    *,
    end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
    scope: Scope = "course",
) -> DVH:
    """Dose-volume histogram of a structure.

    The solid is sampled on a lattice of its own: fine for small structures, as wide as the dose grid for large ones,
    each lattice cell with the part of it that is inside. Every dose voxel's centre is also the centre of a cell, so
    that peaks are not missed. Highest and lowest dose are also sought on the surface.

    Parameters
    ----------
    structure : Structure
        Contours, LPS mm.
    dose : Dose
        In the same frame of reference; where it is not a number, it is as unknown as beyond the grid.
    end_cap : str
        How the solid ends beyond the first and last contour; see `tailort.geometry.solid`.
    single_slice_thickness_mm : float, optional
        Slice distance of the image, for structures that are drawn on one slice only; without it they are refused.
    scope : {"course", "cumulative"}
        What the dose counts.

    Raises
    ------
    GeometryError
        When the structure is empty or in another frame of reference.

    References
    ----------
    Nelms B et al. Methods, software and datasets to verify DVH calculations against analytical values. Med Phys
    2015;42:4435-4448, doi:10.1118/1.4923175.
    """
    cells = cells_of(structure, dose.image.grid, end_cap=end_cap, single_slice_thickness_mm=single_slice_thickness_mm)
    return dvh_in(cells, dose, scope)


def cells_of(
    structure: Structure,
    grid: Grid,
    *,
    end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
) -> Cells:
    """Cut a structure into cells once for many doses on one grid; parameters and errors as of `dvh`."""
    grid.require_same_frame(structure.frame_of_reference, f"structure '{structure.name}'")
    if structure.is_empty:
        raise GeometryError(f"structure '{structure.name}' has no contours, so it has no DVH")
    return cut(structure, grid, end_cap, single_slice_thickness_mm)


def dvh_in(cells: Cells, dose: Dose, scope: Scope = "course") -> DVH:
    """Dose-volume histogram of a structure that is cut into cells for the dose's grid; see `dvh`.

    Of a dose that is known by bounds only it is that of the most, with that of the least beside it where they differ.
    """
    most = replace(dose, image=dose.most_in.get(cells.name.lower(), dose.image), least=None, most_in={})
    sampled = cells.sample(most)
    found = _of(cells, sampled, most, scope)
    if dose.least is None:
        return found
    other = replace(most, image=dose.least)
    least = cells.sample(other)
    if np.array_equal(sampled.doses_gy, least.doses_gy) and np.array_equal(sampled.surface_gy, least.surface_gy):
        return found
    return replace(found, least=_of(cells, least, other, scope))


def _of(cells: Cells, sampled: Sampled, dose: Dose, scope: Scope) -> DVH:
    """Histogram of what was sampled of a dose."""
    lowest, highest = extremes(sampled)
    gathered = gather(
        sampled.doses_gy, sampled.spreads_gy, sampled.parts, lowest, highest, LEVELS, points_of(sampled), 0
    )
    return histogram_of(cells, dose, scope, (lowest, highest), gathered, None)


def points_of(sampled: Sampled) -> int:
    """Points that a cell with a gradient counts as."""
    return int(np.clip(POINTS // len(sampled.doses_gy), 1, 8))


def histogram_of(
    cells: Cells, dose: Dose, scope: Scope, span_gy: tuple[float, float], gathered: Any, total: float | None
) -> DVH:
    """Histogram of what `gather` found.

    Parameters
    ----------
    cells, dose, scope
        As in `dvh_in`.
    span_gy : (float, float)
        Lowest and highest dose.
    gathered : tuple
        Of `gather`.
    total : float or None
        Parts of all cells of known dose together; None where `gathered` has them all.
    """
    lowest, highest = span_gy
    volume = cells.volume_cm3
    (volumes, sums), (flat_volumes, flat_sums), outside = gathered
    filled, flat = np.flatnonzero(volumes), np.flatnonzero(flat_volumes)
    means = np.clip(sums[filled] / volumes[filled], lowest, highest)
    if len(flat):
        # Twice the same dose is a plateau of the curve.
        plateau = np.clip(flat_sums[flat] / flat_volumes[flat], lowest, highest)
        means = np.concatenate([means, plateau, plateau])
        volumes = np.concatenate([volumes[filled], 0.5 * flat_volumes[flat], 0.5 * flat_volumes[flat]])
        order = np.argsort(-means, kind="stable")
    else:
        volumes, order = volumes[filled], np.arange(len(filled))[::-1]
    # A sliver beyond the face of the dose grid is rounding, not an unknown dose.
    whole = float(volumes.sum()) if total is None else total
    if outside < SLIVER * whole:
        outside = 0.0
    scale = volume / (whole + outside)
    return DVH(
        structure=cells.name,
        volume_cm3=volume,
        doses_gy=means[order].astype(np.float32),
        volumes_cm3=volumes[order] * scale,
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
    structures: Iterable[Structure],
    dose: Dose,
    *,
    end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
    scope: Scope = "course",
) -> dict[str, DVH]:
    """Histograms of all structures that have contours, by name."""
    return {
        s.name: dvh(s, dose, end_cap=end_cap, single_slice_thickness_mm=single_slice_thickness_mm, scope=scope)
        for s in structures
        if not s.is_empty
    }


def extremes(sampled: Sampled) -> tuple[float, float]:
    """Lowest and highest dose of the surface and of the cells; a sliver of a cell does not know well where it lies."""
    for least in (0.5, 0.0):
        found = (sampled.doses_gy[sampled.parts >= least], sampled.surface_gy)
        known = [d if np.isfinite(d.sum()) else d[np.isfinite(d)] for d in found]
        if any(len(d) for d in known):
            return min(float(d.min()) for d in known if len(d)), max(float(d.max()) for d in known if len(d))
    return 0.0, 0.0


@numba.njit(cache=True, nogil=True)
def gather(
    doses: Samples, spreads: Samples, parts: Samples, lowest: float, highest: float, levels: int, points: int,
    first: int,
) -> Any:  # pragma: no cover - compiled  # fmt: skip
    """Volume and volume x dose of each level: of cells with a gradient, of cells without; and volume without a dose.

    A cell with a gradient counts as several equal points over its spread: a layer of cells of one dose would make a
    stair of the curve. Levels below the `first` are left out.
    """
    steep, even = np.zeros((2, levels + 1 - first)), np.zeros((2, levels + 1 - first))
    outside = 0.0
    per_gy = (levels - 1) / (highest - lowest) if highest > lowest else 0.0
    least = 1e-6 * (highest - lowest)
    for n in range(doses.size):
        if np.isnan(doses[n]):
            outside += parts[n]
            continue
        if spreads[n] <= least:
            gy = min(max(doses[n], lowest), highest)
            level = int((gy - lowest) * per_gy) - first
            if level >= 0:
                even[0, level] += parts[n]
                even[1, level] += parts[n] * gy
            continue
        if 1 + int((min(doses[n] + spreads[n], highest) - lowest) * per_gy) < first:
            continue
        part = parts[n] / points
        for point in range(points):
            gy = doses[n] + spreads[n] * ((2.0 * point + 1.0) / points - 1.0)
            gy = min(max(gy, lowest), highest)
            # Level 0 holds the lowest dose alone, so that an exact 0 Gy stays 0.
            level = (0 if gy == lowest else 1 + int((gy - lowest) * per_gy)) - first
            if level >= 0:
                steep[0, level] += part
                steep[1, level] += part * gy
    return steep, even, outside
