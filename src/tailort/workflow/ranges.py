"""Between which values the dose of all courses in an organ lies, for all that their registrations may be off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse
from tailort.evaluation.hottest import hottest_in
from tailort.evaluation.sampling import Cells
from tailort.geometry import Grid, Image
from tailort.patient import Case, Dose
from tailort.registration import Registration
from tailort.registration.sampling import drawn_values
from tailort.workflow.earlier import seed_of

Float = NDArray[np.float64]
Voxels = NDArray[np.int64]
Key = tuple[str, str, float]
Drawn = tuple[tuple[NDArray[np.float32], ...] | None, ...]

# Part of the draws that a range holds.
HELD = 0.95
# Down to which volume a draw's histogram is needed, cm3: the largest of the metrics'.
VOLUME_CM3 = 1.0
# BED = sum D + sum (D^2 / n) / (alpha/beta): two sums of each draw serve every alpha/beta.


@dataclass(frozen=True, eq=False)
class Sums:
    """Courses together, as what every alpha/beta needs.

    Parameters
    ----------
    linear_gy : (n,) float
        Physical dose, Gy.
    squared_gy2 : (n,) float
        Squared dose over the fractions of its phase, Gy2.
    """

    linear_gy: Float
    squared_gy2: Float

    def plus(self, dose_gy: NDArray[np.float32], fractions: int) -> Sums:
        """Return the sums with one more phase."""
        gy = np.asarray(dose_gy, dtype=np.float64)
        return Sums(self.linear_gy + gy, self.squared_gy2 + gy * gy / fractions)

    def bed_gy(self, alpha_beta_gy: float) -> Float:
        """BED, Gy."""
        bed: Float = self.linear_gy + self.squared_gy2 / alpha_beta_gy
        return bed


def voxels_of(cells: Sequence[Cells], grid: Grid) -> Voxels:
    """Flat indices of the voxels of the dose grid that structures read, ascending.

    Parameters
    ----------
    cells : sequence of Cells
        Of the structures.
    grid : Grid
        Of the dose; the one they were cut for.
    """
    touched = np.zeros(grid.shape, dtype=bool)
    for each in cells:
        flat, _ = each.inside.indices()
        centres = each.lattice.to_world(np.stack(np.unravel_index(flat, each.lattice.shape), axis=-1))
        for points in (centres, each.surface_mm):
            nearest = np.rint(grid.to_index(points)).astype(int)
            k, j, i = np.clip(nearest, 0, np.array(grid.shape) - 1).T
            touched[k, j, i] = True
    # A cell is no wider than a voxel, and what is read of it lies within it: at most a voxel beyond the nearest one.
    return np.flatnonzero(ndimage.binary_dilation(touched, np.ones((3, 3, 3), dtype=bool)))


def drawn_in(
    case: Case, grid: Grid, voxels: Voxels, registrations: Mapping[str, Registration], count: int, seed: int
) -> Iterator[Drawn]:
    """Physical doses of the courses in some voxels, by so many draws of what their registrations may be off.

    Parameters
    ----------
    case : Case
        With its earlier courses.
    grid : Grid
        Of today.
    voxels : (n,) int
        Flat indices on it.
    registrations : mapping of str to Registration
        By the course's label; a course without one, or of unknown uncertainty, stays where it is.
    count, seed : int
        Of the draws; every course is drawn by itself, and not otherwise where courses are named in another order.

    Yields
    ------
    tuple
        Of one draw, by course: Gy per course of each phase, (n,); None of a course that stays where it is.
    """
    draws: list[Iterator[tuple[NDArray[np.float32], ...]] | None] = []
    for course in case.courses:
        found = registrations.get(course.label)
        images = [dose.per_course().image for dose in course.doses]
        unsure = found is not None and found.uncertainty is not None and images
        own_seed = seed_of(case, course, seed)
        draws.append(drawn_values(found, images, grid, voxels, np.nan, count, own_seed) if found and unsure else None)
    for _ in range(count):
        yield tuple(None if drawn is None else next(drawn) for drawn in draws)


def ranges(
    keys: Sequence[Key],
    cells: Sequence[Cells],
    voxels: Voxels,
    earlier: Sequence[EarlierCourse],
    own: Sequence[Dose],
    draws: Iterator[Drawn],
    progress: Callable[[int], None],
) -> dict[Key, tuple[float, float]]:
    """Between which values `HELD` of the draws lie, BED, Gy.

    Parameters
    ----------
    keys : sequence of (structure, metric, alpha/beta)
        What is asked; metrics of the hottest `VOLUME_CM3`, and the mean.
    cells : sequence of Cells
        Of the structures, cut for the dose grid.
    voxels : (n,) int
        Of `voxels_of`.
    earlier : sequence of EarlierCourse
        As mapped, in the order of the draws.
    own : sequence of Dose
        Physical dose of each phase of today on the same grid; may be empty.
    draws : iterator
        Of `drawn_in`.
    progress : callable
        Called with the number of draws done.

    Returns
    -------
    dict
        Without the metrics that are not known in every draw.
    """
    grid = earlier[0].grid
    values: dict[Key, list[float]] = {key: [] for key in keys}
    alpha_betas = sorted({alpha_beta_gy for _, _, alpha_beta_gy in keys})
    asked: dict[str, list[str]] = {}
    for structure, metric, _ in keys:
        metrics = asked.setdefault(structure, [])
        if metric not in metrics:
            metrics.append(metric)
    judged = [each for each in cells if each.name in asked]
    fixed = Sums(np.zeros(len(voxels)), np.zeros(len(voxels)))
    for dose in own:
        fixed = fixed.plus(dose.per_course().image.values.reshape(-1)[voxels], dose.known_fractions())
    stays: Sums | None = None
    like = earlier[0].doses[0]
    image = np.full(grid.size, np.nan, dtype=np.float32)
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        for n, drawn in enumerate(draws, 1):
            stays = stays or _with_unmoved(fixed, earlier, drawn, voxels)
            sums = stays
            for course, phases in zip(earlier, drawn, strict=True):
                for dose, gy in zip(course.doses, phases or (), strict=False):
                    sums = sums.plus(np.maximum(gy, 0.0), dose.known_fractions())
            for alpha_beta_gy in alpha_betas:
                image[voxels] = sums.bed_gy(alpha_beta_gy)
                total = Dose(
                    Image(grid, image.reshape(grid.shape), "Gy"), "BED", "course", None, alpha_beta_gy, like.engine
                )
                judge = partial(_metrics, total=total, asked=asked)
                for each, found in zip(judged, pool.map(judge, judged), strict=True):
                    for metric, value in found.items():
                        values[each.name, metric, alpha_beta_gy].append(value)
            progress(n)
    low, high = (1.0 - HELD) / 2.0, (1.0 + HELD) / 2.0
    return {
        key: (float(np.quantile(drawn, low)), float(np.quantile(drawn, high)))
        for key, drawn in values.items()
        if drawn and np.isfinite(drawn).all()
    }


def _with_unmoved(fixed: Sums, earlier: Sequence[EarlierCourse], drawn: Drawn, voxels: Voxels) -> Sums:
    """Sums with the courses that are not drawn; not a number where a course is known by bounds only."""
    sums = fixed
    for course, phases in zip(earlier, drawn, strict=True):
        for dose in course.doses:
            whole = dose.per_course()
            most = whole.image.values.reshape(-1)[voxels]
            if phases is None:
                sums = sums.plus(most, dose.known_fractions())
            if whole.least is not None:
                unsure = whole.least.values.reshape(-1)[voxels] != most
                sums = Sums(np.where(unsure, np.nan, sums.linear_gy), sums.squared_gy2)
    return sums


def _metrics(cells: Cells, total: Dose, asked: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Value of each metric; not a number where it is not known, none where the structure is smaller than it asks."""
    curve, mean_gy = hottest_in(cells, total, VOLUME_CM3, "cumulative")
    found = {}
    for metric in asked[cells.name]:
        if metric == "Mean[Gy]":
            found[metric] = mean_gy
            continue
        try:
            low, high = curve.bounds(metric)
        except InputError:
            continue
        found[metric] = low if low == high else float("nan")
    return found
