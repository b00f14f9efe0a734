"""Each organ's dose of every course and of all together, as BED of several alpha/beta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.evaluation import DVH, EarlierCourse, accumulate, dvh_in
from tailort.evaluation.ellipsoid import worst_cases
from tailort.evaluation.hottest import hottest_in
from tailort.evaluation.sampling import Cells
from tailort.geometry import Grid, Image
from tailort.patient import Dose
from tailort.radiobiology.high_dose import LinearQuadraticLinear, UniversalSurvivalCurve, high_dose_sets
from tailort.workflow.ranges import VOLUME_CM3, voxels_of

METRICS = ("Max[Gy]", "D0.035cc[Gy]", "D1cc[Gy]", "Mean[Gy]")
# alpha/beta of the spine study's table: cord, late-reacting tissue, tumour, Gy.
ALPHA_BETAS_GY = (2.0, 3.0, 10.0)
# The model beside LQ for high doses per fraction.
LQL = next(found for found in high_dose_sets().values() if isinstance(found, LinearQuadraticLinear))
USC = next(found for found in high_dose_sets().values() if isinstance(found, UniversalSurvivalCurve))
# The survival curve is of a tumour's cells: it stands beside this alpha/beta, Gy.
USC_BESIDE_GY = 10.0
# EQD2 is BED over 1 + 2 / (alpha/beta): one histogram serves both.
TWO_GY = 2.0

# Share of a value that reading an earlier dose grid between its voxels may be off, found on virtual patients of known
# deformation (seeds 101 to 105 of benchmarks/cumulative_truth.py).
BETWEEN_GRIDS = 0.003


@dataclass(frozen=True)
class Cumulated:
    """One metric of one organ, course by course and all together, in BED of one alpha/beta.

    Parameters
    ----------
    structure, metric : str
        Which.
    alpha_beta_gy : float
        Of the organ, Gy.
    per_course_gy : tuple of (float, float)
        Lowest and highest value that the dose known of each course allows, BED, Gy; earlier courses first, today's
        last where there is one.
    cumulative_gy : (float, float)
        The same of the sum, voxel by voxel: not the sum of the values.
    range_gy : (float, float) or None
        Between which the sum's value lies in 95 % of the draws of the registrations; None where nothing was drawn.
    lql_gy : (float, float) or None
        As `cumulative_gy`, by LQ-L; None where no fraction is high enough for a difference. Never compared with limits.
    usc_eqd2_gy : (float, float) or None
        The same by the universal survival curve, as EQD2 of the curve's own alpha/beta; only beside that of a tumour.
    ellipsoid_gy, ellipsoid_inside_gy : (float, float) or None
        Least and most of the metric if each earlier course's dose lay elsewhere by up to 3 mm around every
        voxel, anywhere and within the structure; None for the mean.
    """

    structure: str
    metric: str
    alpha_beta_gy: float
    per_course_gy: tuple[tuple[float, float], ...]
    cumulative_gy: tuple[float, float]
    range_gy: tuple[float, float] | None = None
    lql_gy: tuple[float, float] | None = None
    usc_eqd2_gy: tuple[float, float] | None = None
    ellipsoid_gy: tuple[float, float] | None = None
    ellipsoid_inside_gy: tuple[float, float] | None = None

    @property
    def eqd2(self) -> float:
        """What a BED is divided by to be an EQD2."""
        return 1.0 + TWO_GY / self.alpha_beta_gy

    def as_dict(self) -> dict[str, object]:
        """Return a row of cumulative.json; a value that is not known is null, with its bounds."""

        def told(bounds: tuple[float, float]) -> dict[str, float | None]:
            low, high = bounds
            top = float(high) if np.isfinite(high) else None
            return {
                "bed_gy": round(low, 3) if low == high else None,
                "eqd2_gy": round(low / self.eqd2, 3) if low == high else None,
                "bed_low_gy": round(low, 3),
                "bed_high_gy": None if top is None else round(top, 3),
            }

        return {
            "structure": self.structure,
            "metric": self.metric,
            "alpha_beta_gy": self.alpha_beta_gy,
            "courses": [told(bounds) for bounds in self.per_course_gy],
            "cumulative": told(self.cumulative_gy),
            "lql_bed_gy": None if self.lql_gy is None else [round(value, 3) for value in self.lql_gy],
            "usc_eqd2_gy": None if self.usc_eqd2_gy is None else [round(value, 3) for value in self.usc_eqd2_gy],
            "range_bed_gy": None if self.range_gy is None else [round(value, 3) for value in self.range_gy],
            "ellipsoid_bed_gy": _listed(self.ellipsoid_gy),
            "ellipsoid_inside_bed_gy": _listed(self.ellipsoid_inside_gy),
        }


def cumulated(
    cells: Sequence[Cells], earlier: Sequence[EarlierCourse], own: Sequence[Dose]
) -> tuple[tuple[Dose, ...], tuple[Cumulated, ...], tuple[DVH, ...]]:
    """Return the sums in BED of `ALPHA_BETAS_GY`, each organ's dose of every course and of all, and its histograms.

    Parameters
    ----------
    cells : sequence of Cells
        Of the structures, cut for the grid of the doses.
    earlier : sequence of EarlierCourse
        On one grid.
    own : sequence of Dose
        Physical dose of each phase of today on the same grid; may be empty.
    """
    totals: list[Dose] = []
    rows: list[Cumulated] = []
    dvhs: list[DVH] = []
    for alpha_beta_gy in ALPHA_BETAS_GY:
        parts = [accumulate([course], (), "BED", alpha_beta_gy) for course in earlier]
        if own:
            parts.append(accumulate((), own, "BED", alpha_beta_gy))
        total = accumulate(earlier, own, "BED", alpha_beta_gy)
        totals.append(total)
        bent = curved = None
        highest_gy = _highest_per_fraction_gy(earlier, own)
        if alpha_beta_gy == USC_BESIDE_GY and highest_gy > USC.transition_gy:
            curved = accumulate(earlier, own, "BED", USC.alpha_beta_gy, high_dose=USC)
        if highest_gy > float(LQL.threshold(alpha_beta_gy)):
            bent = accumulate(earlier, own, "BED", alpha_beta_gy, high_dose=LQL)
        for inside in cells:
            curves = [*(dvh_in(inside, part) for part in parts), dvh_in(inside, total, "cumulative")]
            dvhs.append(curves[-1])
            by_lql = None if bent is None else dvh_in(inside, bent)
            by_usc = None if curved is None else dvh_in(inside, curved)
            for metric in METRICS:
                values = [_bounds(curve, metric) for curve in curves]
                if all(value is not None for value in values):
                    known = tuple(value for value in values if value is not None)
                    rows.append(
                        Cumulated(
                            inside.name,
                            metric,
                            alpha_beta_gy,
                            known[:-1],
                            known[-1],
                            None,
                            None if by_lql is None else _bounds(by_lql, metric),
                            None if by_usc is None else _as_eqd2(_bounds(by_usc, metric), USC.alpha_beta_gy),
                        )
                    )
    order = {inside.name: n for n, inside in enumerate(cells)}
    rows.sort(key=lambda r: (order[r.structure], METRICS.index(r.metric), r.alpha_beta_gy))
    return tuple(totals), tuple(rows), tuple(dvhs)


def _highest_per_fraction_gy(earlier: Sequence[EarlierCourse], own: Sequence[Dose]) -> float:
    doses = [*own, *(dose for course in earlier for dose in course.doses)]
    return max(float(np.nanmax(dose.per_course().image.values)) / dose.known_fractions() for dose in doses)


def with_worst_cases(
    rows: Sequence[Cumulated], cells: Sequence[Cells], earlier: Sequence[EarlierCourse], own: Sequence[Dose]
) -> tuple[Cumulated, ...]:
    """Return the rows with their bounds if each earlier dose lay elsewhere by an ellipsoid; see `worst_cases`.

    Parameters
    ----------
    rows : sequence of Cumulated
        As mapped.
    cells : sequence of Cells
        Of the structures, cut for the grid of the doses.
    earlier, own
        As in `cumulated`.
    """
    grid = earlier[0].grid
    free = worst_cases(earlier, own, ALPHA_BETAS_GY, every := voxels_of(cells, grid))
    anywhere = {ab: [_image(grid, every, bed) for bed in bounds] for ab, bounds in free.items()}
    found: dict[tuple[str, str, float], list[tuple[float, float] | None]] = {}
    for inside in cells:
        voxels = voxels_of([inside], grid)
        kept = worst_cases(earlier, own, ALPHA_BETAS_GY, voxels, inside=whole_voxels(inside, grid))
        for ab in ALPHA_BETAS_GY:
            within = [_image(grid, voxels, bed) for bed in kept[ab]]
            for least, most in (anywhere[ab], within):
                low, high = (_hottest(inside, image, ab, earlier[0].doses[0].engine) for image in (least, most))
                for metric in METRICS:
                    if metric != "Mean[Gy]":
                        bounds = _bounds(low, metric), _bounds(high, metric)
                        told = None if bounds[0] is None or bounds[1] is None else (bounds[0][0], bounds[1][1])
                        found.setdefault((inside.name, metric, ab), []).append(told)
    made = []
    for row in rows:
        pair = found.get((row.structure, row.metric, row.alpha_beta_gy), [None, None])
        made.append(replace(row, ellipsoid_gy=pair[0], ellipsoid_inside_gy=pair[1]))
    return tuple(made)


def whole_voxels(cells: Cells, grid: Grid) -> NDArray[np.bool_]:
    """Voxels of a dose that hold most of a cell of a structure that is cut for its grid, (k, j, i)."""
    k, j, i = np.nonzero(cells.inside.fractions >= 0.5)
    index = np.stack([k, j, i], axis=-1) + np.array(cells.inside.low)
    nearest = np.rint(grid.to_index(cells.lattice.to_world(index))).astype(int)
    mask = np.zeros(grid.shape, dtype=bool)
    inside = ((nearest >= 0) & (nearest < np.array(grid.shape))).all(axis=-1)
    mask[tuple(nearest[inside].T)] = True
    return mask


def _image(grid: Grid, voxels: NDArray[np.int64], bed_gy: NDArray[np.float64]) -> Image:
    values = np.full(grid.size, np.nan, dtype=np.float32)
    values[voxels] = bed_gy
    return Image(grid, values.reshape(grid.shape), "Gy")


def _hottest(cells: Cells, image: Image, alpha_beta_gy: float, engine: str) -> DVH:
    total = Dose(image, "BED", "course", None, alpha_beta_gy, engine)
    return hottest_in(cells, total, VOLUME_CM3, "cumulative")[0]


def _as_eqd2(bounds: tuple[float, float] | None, alpha_beta_gy: float) -> tuple[float, float] | None:
    factor = 1.0 + TWO_GY / alpha_beta_gy
    return None if bounds is None else (bounds[0] / factor, bounds[1] / factor)


def _listed(bounds: tuple[float, float] | None) -> list[float | None] | None:
    return None if bounds is None else [round(value, 3) if np.isfinite(value) else None for value in bounds]


def with_ranges(
    rows: Sequence[Cumulated], found: Mapping[tuple[str, str, float], tuple[float, float]]
) -> tuple[Cumulated, ...]:
    """Return the rows with the range of each sum over draws of the registrations.

    Parameters
    ----------
    rows : sequence of Cumulated
        As mapped.
    found : mapping of (structure, metric, alpha/beta) to (float, float)
        Of `tailort.workflow.ranges.ranges`, BED, Gy.

    Notes
    -----
    A range also holds the value as mapped, and is wider by what reading doses between voxels may be off
    (`BETWEEN_GRIDS`): where the dose is even no draw tells of that. A value that is not known in a draw, or as mapped,
    leaves none.
    """
    return tuple(replace(row, range_gy=_range(row, found)) for row in rows)


def _range(row: Cumulated, found: Mapping[tuple[str, str, float], tuple[float, float]]) -> tuple[float, float] | None:
    drawn = found.get((row.structure, row.metric, row.alpha_beta_gy))
    low, high = row.cumulative_gy
    if low != high or drawn is None:
        return None
    spare = BETWEEN_GRIDS * low
    return min(low, drawn[0]) - spare, max(low, drawn[1]) + spare


def _bounds(curve: DVH, metric: str) -> tuple[float, float] | None:
    """Lowest and highest value; None where the structure is smaller than the volume that is asked about."""
    try:
        low, high = curve.bounds(metric)
    except InputError:
        return None
    return low, high
