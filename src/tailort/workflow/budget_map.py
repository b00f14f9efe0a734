"""What each voxel of an organ may still get by published limits over all courses, as a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse, accumulate
from tailort.evaluation.sampling import Cells
from tailort.geometry import Grid, Image
from tailort.patient.metric import Metric
from tailort.radiobiology import eqd2_from_bed
from tailort.radiobiology.budget import budget_of
from tailort.radiobiology.recovery import recovery
from tailort.radiobiology.tolerances import CumulativeLimit, LimitSet, alpha_beta, limits_of
from tailort.workflow.cumulating import whole_voxels

# A limit on the hottest volume of at most this is one of every voxel, cm3.
VOXEL_CM3 = 0.05


@dataclass(frozen=True)
class Governing:
    """One limit that a map was made of.

    Parameters
    ----------
    structure, limits, metric : str
        Organ, id of the set, and what the set limits.
    alpha_beta_gy : float
        By which the courses were added and the rest turned into dose, Gy.
    least_gy : float or None
        Physical dose that the organ's voxel with least left may still get, Gy per course; None where an earlier dose is
        unknown in part of the organ.
    """

    structure: str
    limits: str
    metric: str
    alpha_beta_gy: float
    least_gy: float | None

    def as_dict(self) -> dict[str, object]:
        """Return a row of cumulative.json."""
        return {
            "structure": self.structure,
            "set": self.limits,
            "metric": self.metric,
            "alpha_beta_gy": self.alpha_beta_gy,
            "least_physical_dose_left_gy": None if self.least_gy is None else round(self.least_gy, 2),
        }


@dataclass(frozen=True, eq=False)
class BudgetMap:
    """What is left in each voxel for a new course.

    Parameters
    ----------
    fractions : int
        Of the new course.
    dose : Image
        Physical dose that the voxel may still get in so many fractions, Gy per course: the smallest over the limits of
        the organs that hold it. 0 where nothing is left; not a number outside these organs and where an earlier dose
        is unknown.
    left : Image
        The same as EQD2 at the alpha/beta of the limit that governs the voxel, Gy.
    governing : tuple of Governing
        The limits.
    which : (k, j, i) int16
        Index in `governing` of the limit that is smallest in each voxel; -1 where the map has no number.
    left_out : tuple of str
        What could not be asked, and why.
    """

    fractions: int
    dose: Image
    left: Image
    governing: tuple[Governing, ...]
    which: NDArray[np.int16]
    left_out: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return a part of cumulative.json."""
        return {
            "fractions": self.fractions,
            "limits": [each.as_dict() for each in self.governing],
            "left_out": list(self.left_out),
        }


def budget_map(
    cells: Sequence[Cells], earlier: Sequence[EarlierCourse], fractions: int, sets: Sequence[str] | None = None
) -> BudgetMap | None:
    """Map what earlier courses have left in each voxel of the organs that have a limit on their hottest voxel.

    Parameters
    ----------
    cells : sequence of Cells
        Of the organs, cut for the grid of the doses.
    earlier : sequence of EarlierCourse
        On one grid.
    fractions : int
        Of the new course.
    sets : sequence of str or None
        Ids of the sets of limits that count; None is every set that holds limits. Each is asked with the assumption of
        recovery that belongs to it.

    Returns
    -------
    BudgetMap or None
        None where no organ that is drawn has such a limit.

    Raises
    ------
    InputError
        When the new course has no fraction.

    Notes
    -----
    What a voxel may get alone says nothing of its neighbours: a plan that gives every voxel its own rest keeps limits
    on the maximum, and those on D0.035cc too, as their hottest volume then holds no voxel above the limit.
    """
    if fractions < 1:
        raise InputError(f"a new course has at least one fraction; found {fractions}")
    grid = earlier[0].grid
    dose, left = np.full(grid.shape, np.nan), np.full(grid.shape, np.nan)
    which = np.full(grid.shape, -1, dtype=np.int16)
    unknown = np.zeros(grid.shape, dtype=bool)
    governing: list[Governing] = []
    left_out: list[str] = []
    made: dict[tuple[object, ...], NDArray[np.float64]] = {}
    for organ in cells:
        asked = [
            (found, limit)
            for found, limit in limits_of(organ.name)
            if found.is_limit and _of_a_voxel(limit) and (sets is None or found.id in sets)
        ]
        mask = whole_voxels(organ, grid) if asked else None
        for found, limit in asked:
            assert mask is not None
            answer = _prior(organ.name, found, limit, earlier, grid, made)
            if isinstance(answer, str):
                left_out.append(f"{organ.name} by {found.title}: {answer}")
                continue
            ab, prior = answer
            known = mask & np.isfinite(prior)
            unknown |= mask & ~known
            budget = budget_of(limit.limit_gy, prior[known], 0.0, fractions, ab, limit.quantity)
            lower = np.full(grid.shape, np.inf)
            lower[known] = budget.dose_gy
            better = known & ~(dose <= lower)
            rest = np.zeros(grid.shape)
            rest[known] = budget.left_gy if limit.quantity == "EQD2" else eqd2_from_bed(budget.left_gy, ab)
            dose[better], left[better], which[better] = lower[better], rest[better], len(governing)
            least = float(budget.dose_gy.min()) if known.any() and known.sum() == mask.sum() else None
            governing.append(Governing(organ.name, found.id, limit.metric, ab, least))
    if not governing:
        return None
    dose[unknown], left[unknown], which[unknown] = np.nan, np.nan, -1
    return BudgetMap(
        fractions, _image(grid, dose), _image(grid, left), tuple(governing), which, tuple(dict.fromkeys(left_out))
    )


def _of_a_voxel(limit: CumulativeLimit) -> bool:
    metric = Metric.parse(limit.metric)
    return metric.kind == "Max" or (metric.kind == "D" and metric.at_unit == "cc" and (metric.at or 0.0) <= VOXEL_CM3)


def _prior(
    organ: str, found: LimitSet, limit: CumulativeLimit, earlier: Sequence[EarlierCourse], grid: Grid,
    made: dict[tuple[object, ...], NDArray[np.float64]],
) -> tuple[float, NDArray[np.float64]] | str:  # fmt: skip
    """alpha/beta and what still counts of the earlier courses in each voxel, Gy; or why it is not known."""
    tissue = alpha_beta(organ)
    ab = limit.alpha_beta_gy or (None if tissue is None else tissue.value_gy)
    if ab is None:
        return "no alpha/beta is known"
    assumed = recovery(found.recovery)
    discounts = [assumed.discount(organ, course.months) for course in earlier]
    known = tuple(discount for discount in discounts if discount is not None)
    if len(known) < len(discounts):
        return "recovery is unknown without the time between the courses"
    key = (limit.quantity, ab, known)
    if key not in made:
        made[key] = np.asarray(
            accumulate(earlier, (), limit.quantity, ab, known).image.values.reshape(grid.shape), dtype=np.float64
        )
    return ab, made[key]


def _image(grid: Grid, values: NDArray[np.float64]) -> Image:
    return Image(grid, values.astype(np.float32), "Gy")
