"""The rows of a problem that matter: those whose dose can meet a wish or a limit.

Far from a plan's edges most voxels are below every level that is asked of them: they add nothing to the value or its
derivative. A search that leaves them out costs a small part of one with all of them, and is exact as long as none of
them rises to its level, which one product with the whole matrix tells. Mean doses are linear in the weights: one vector
stands for all their voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.objectives import MeanDose, Objective, Physical, SquaredOverdose, SquaredUnderdose
from tailort.optimisation.problem import Problem, VoxelSet, WeightTerm, Wish
from tailort.patient.influence import Columns, column_type, multiply

Float = NDArray[np.float64]
Indices = NDArray[np.int64]

# A map of fewer rows is made anew when fewer than this share of its rows are still needed: making one costs as much as
# tens of products with it.
SERVES_AGAIN, SPARE = 0.5, 2.5


@runtime_checkable
class SparseMap(Protocol):
    """A dose map whose rows can be taken out."""

    values: NDArray[np.float32]
    columns: Columns
    starts: Indices

    @property
    def shape(self) -> tuple[int, int]:
        """Number of voxels and of weights."""
        ...


@dataclass(frozen=True, eq=False)
class CompactMap:
    """Some rows of a sparse map, kept by rows and by columns, so that both products read in order.

    Parameters
    ----------
    by_row, by_column : (values, columns or rows, starts)
        The same entries twice.
    """

    by_row: tuple[NDArray[np.float32], Columns, Indices]
    by_column: tuple[NDArray[np.float32], Columns, Indices]

    @classmethod
    def of(cls, whole: SparseMap, rows: Indices) -> CompactMap:
        """Take rows out of a map."""
        starts = np.concatenate([[0], np.cumsum(whole.starts[rows + 1] - whole.starts[rows])])
        values = np.empty(starts[-1], dtype=np.float32)
        columns = np.empty(starts[-1], dtype=whole.columns.dtype)
        _copy_rows(whole.values, whole.columns, whole.starts, rows, starts, values, columns)
        count = np.bincount(columns, minlength=whole.shape[1])
        ends = np.concatenate([[0], np.cumsum(count)])
        turned = np.empty_like(values)
        row_of = np.empty(len(values), dtype=column_type(len(rows)))
        _turn(values, columns, starts, ends[:-1].copy(), turned, row_of)
        return cls((values, columns, starts), (turned, row_of, ends))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of voxels and of weights."""
        return len(self.by_row[2]) - 1, len(self.by_column[2]) - 1

    def dose(self, weights_mu: Float) -> Float:
        """Dose of the voxels, Gy per fraction."""
        dose: Float = multiply(*self.by_row, np.ascontiguousarray(weights_mu, dtype=np.float64))
        return dose

    def gradient(self, by_dose: Float) -> Float:
        """Transpose of the map times a vector of the voxels."""
        by_weight: Float = multiply(*self.by_column, np.ascontiguousarray(by_dose, dtype=np.float64))
        return by_weight


@dataclass(frozen=True, eq=False)
class Linear:
    """A term that is linear in the weights, beside another one or none.

    Parameters
    ----------
    slope : (n,) float
        Per MU.
    constant : float
        At weights of 0.
    beside : WeightTerm or None
        What is added.
    """

    slope: Float
    constant: float
    beside: WeightTerm | None

    def value(self, weights_mu: Float) -> float:
        """Value of the terms."""
        value = self.constant + float(self.slope @ weights_mu)
        return value + self.beside.value(weights_mu) if self.beside else value

    def derivative(self, weights_mu: Float) -> Float:
        """Derivative by the weights, per MU."""
        return self.slope + self.beside.derivative(weights_mu) if self.beside else self.slope


@dataclass(frozen=True, eq=False)
class Screened:
    """A problem on fewer rows.

    Parameters
    ----------
    problem : Problem
        Its value and derivative are those of the whole problem while `holds`.
    whole : Problem
        The problem on all rows, its mean doses as one linear term.
    rows : (n,) int
        Rows of the whole problem that are kept.
    """

    problem: Problem
    whole: Problem
    rows: Indices

    def holds(self, dose_gy: Float) -> bool:
        """Whether no row that is left out matters at this dose of all rows, Gy per course."""
        matter = _rows_that_matter(self.whole, dose_gy, 0.0)
        matter[self.rows] = False
        return not matter.any()


def screened(problem: Problem, dose_gy: Float, reach: float, before: Screened | None = None) -> Screened | None:
    """Leave out the rows that do not matter, and are far from it.

    Parameters
    ----------
    problem : Problem
        Without limits (`Problem.with_penalties`).
    dose_gy : (rows,) float
        Physical dose of all rows, Gy per course.
    reach : float
        Rows that come within this share of their level are kept.
    before : Screened or None
        Of the same dose map: where it keeps all these rows, and not many more, its map serves again.

    Returns
    -------
    Screened or None
        None where the map's rows cannot be taken out.
    """
    if not isinstance(problem.dose_map, SparseMap):
        return None
    whole = _with_linear_means(problem)
    matter = _rows_that_matter(whole, dose_gy, reach)
    count = int(matter.sum())
    if not count:
        return None
    kept_before = None if before is None else _serving(before, problem, matter, count)
    if before is not None and kept_before is not None:
        matter, dose_map = kept_before, before.problem.dose_map
        rows = before.rows
    else:
        spare, before = before is not None, None
        if spare:
            # The dose still moves: with some spare rows the next map need not be made.
            matter = _rows_that_matter(whole, dose_gy, SPARE * reach)
        rows = np.flatnonzero(matter)
        dose_map = CompactMap.of(problem.dose_map, rows)
    new = np.cumsum(matter) - 1
    sets: dict[str, VoxelSet] = {}
    wishes = []
    for n, wish in enumerate(whole.wishes):
        voxels = whole.sets[wish.structure]
        kept = matter[voxels.rows]
        share = float(voxels.volume[kept].sum())
        if share <= 0:
            continue
        objective = wish.objective
        if not kept.all():
            if not isinstance(objective, SquaredOverdose | SquaredUnderdose):
                raise AssertionError("only squared deviations leave voxels out")
            level = np.asarray(objective.level_gy)
            objective = replace(objective, level_gy=level[kept] if level.size > 1 else objective.level_gy)
        name = f"{n} {wish.structure}"
        sets[name] = VoxelSet(name, new[voxels.rows[kept]], voxels.volume[kept])
        quantity = wish.quantity.only(kept)
        wishes.append(replace(wish, structure=name, objective=objective, weight=wish.weight * share, quantity=quantity))
    reduced = replace(
        whole,
        dose_map=dose_map,
        sets=sets,
        wishes=tuple(wishes),
        offset_gy=None if whole.offset_gy is None else whole.offset_gy[rows],
    )
    return Screened(reduced, whole, rows)


def _serving(before: Screened, problem: Problem, matter: NDArray[np.bool_], count: int) -> NDArray[np.bool_] | None:
    """The rows of a map made before, where they hold all that matter and are not many more."""
    if before.whole.dose_map is not problem.dose_map or count < SERVES_AGAIN * len(before.rows):
        return None
    kept = np.zeros(len(matter), dtype=np.bool_)
    kept[before.rows] = True
    return None if (matter & ~kept).any() else kept


def _rows_that_matter(problem: Problem, dose_gy: Float, reach: float) -> NDArray[np.bool_]:
    matter = np.zeros(len(dose_gy), dtype=np.bool_)
    for wish in problem.wishes:
        voxels = problem.sets[wish.structure]
        matter[voxels.rows] |= _matters(wish, wish.quantity.of(dose_gy[voxels.rows]), reach)
    return matter


def _matters(wish: Wish, seen: Float, reach: float) -> NDArray[np.bool_]:
    """Which voxels add to a wish, or would with a dose (1 + reach) times as far."""
    objective: Objective = wish.objective
    if isinstance(objective, SquaredOverdose):
        return np.asarray(seen * (1.0 + reach) > objective.level_gy)
    if isinstance(objective, SquaredUnderdose):
        return np.asarray(seen < np.asarray(objective.level_gy) * (1.0 + reach))
    # Volumes and equivalent doses need the whole structure.
    return np.ones(len(seen), dtype=np.bool_)


def _with_linear_means(problem: Problem) -> Problem:
    """Return the problem with its wishes for low mean doses as a term of the weights."""
    means = [wish for wish in problem.wishes if _is_linear(wish)]
    if not means:
        return problem
    by_dose = np.zeros(problem.dose_map.shape[0])
    for wish in means:
        voxels = problem.sets[wish.structure]
        by_dose[voxels.rows] += wish.weight * voxels.volume
    slope = problem.fractions * problem.dose_map.gradient(by_dose)
    constant = 0.0 if problem.offset_gy is None else float(by_dose @ problem.offset_gy)
    rest = tuple(wish for wish in problem.wishes if not _is_linear(wish))
    return replace(problem, wishes=rest, smoothness=Linear(slope, constant, problem.smoothness))


def _is_linear(wish: Wish) -> bool:
    return isinstance(wish.objective, MeanDose) and isinstance(wish.quantity, Physical)


@numba.njit(cache=True, parallel=True)
def _copy_rows(
    values: NDArray[np.float32],
    columns: Columns,
    starts: Indices,
    rows: Indices,
    new_starts: Indices,
    new_values: NDArray[np.float32],
    new_columns: Columns,
) -> None:  # pragma: no cover - compiled
    for r in numba.prange(rows.size):
        start, first = starts[rows[r]], new_starts[r]
        for n in range(new_starts[r + 1] - first):
            new_values[first + n] = values[start + n]
            new_columns[first + n] = columns[start + n]


@numba.njit(cache=True)
def _turn(
    values: NDArray[np.float32],
    columns: Columns,
    starts: Indices,
    next_place: Indices,
    turned: NDArray[np.float32],
    row_of: Columns,
) -> None:  # pragma: no cover - compiled
    for r in range(starts.size - 1):
        for n in range(starts[r], starts[r + 1]):
            place = next_place[columns[n]]
            turned[place] = values[n]
            row_of[place] = r
            next_place[columns[n]] = place + 1
