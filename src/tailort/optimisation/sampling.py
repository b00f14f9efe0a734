"""Fewer voxels where a structure has many: the same problem at a fraction of the cost."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.problem import Problem, VoxelSet
from tailort.patient import Influence

Int = NDArray[np.int64]
GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


def sampled(problem: Problem, influence: Influence, voxels_per_structure: int = 5000) -> tuple[Problem, Influence]:
    """Keep about this many voxels of each structure, spread evenly over it; all voxels of those with a limit.

    Multiples of the golden section by the voxel's index, without their whole part, fill 0 to 1 as evenly as can be:
    a voxel is kept where that part is below the share that is wanted. The same voxels serve all structures.

    Parameters
    ----------
    problem : Problem
        On `influence`.
    influence : Influence
        Dose of the beamlets in all voxels.
    voxels_per_structure : int
        Structures with fewer keep all.

    Returns
    -------
    Problem, Influence
        With the kept rows only, in their order.

    References
    ----------
    Weyl 1916, Math Ann 77:313, doi 10.1007/BF01475864 (the sequence).
    """
    place = (influence.voxels.astype(np.float64) * GOLDEN) % 1.0
    limited = {limit.structure for limit in problem.limits}
    kept: dict[str, Int] = {}
    for name, voxels in problem.sets.items():
        share = 1.0 if name in limited else voxels_per_structure / len(voxels.rows)
        chosen = np.flatnonzero(place[voxels.rows] < share)
        kept[name] = chosen if voxels.volume[chosen].sum() > 0 else np.arange(len(voxels.rows))
    used = {term.structure for term in problem.wishes} | limited
    wanted = np.zeros(len(influence.voxels), dtype=bool)
    for name in used:
        wanted[problem.sets[name].rows[kept[name]]] = True
    rows = np.flatnonzero(wanted)
    new_row = np.cumsum(wanted) - 1
    sets = {
        name: VoxelSet(name, new_row[voxels.rows[kept[name]]], voxels.volume[kept[name]])
        for name, voxels in problem.sets.items()
        if name in used
    }
    smaller = _rows(influence, rows)
    return (
        replace(
            problem,
            dose_map=smaller,
            sets=sets,
            wishes=tuple(replace(w, objective=w.objective.of_voxels(kept[w.structure])) for w in problem.wishes),
            limits=tuple(replace(v, objective=v.objective.of_voxels(kept[v.structure])) for v in problem.limits),
            offset_gy=None if problem.offset_gy is None else problem.offset_gy[rows],
        ),
        smaller,
    )


def _rows(influence: Influence, rows: Int) -> Influence:
    count = influence.starts[rows + 1] - influence.starts[rows]
    starts = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    values = np.empty(starts[-1], dtype=np.float32)
    columns = np.empty(starts[-1], dtype=np.uint32)
    _copy(influence.values, influence.columns, influence.starts, rows, values, columns, starts)
    return replace(influence, values=values, columns=columns, starts=starts, voxels=influence.voxels[rows])


@numba.njit(cache=True, parallel=True)
def _copy(
    values: NDArray[np.float32],
    columns: NDArray[np.uint32],
    starts: Int,
    rows: Int,
    new_values: NDArray[np.float32],
    new_columns: NDArray[np.uint32],
    new_starts: Int,
) -> None:  # pragma: no cover - compiled
    for n in numba.prange(rows.size):
        first, at = starts[rows[n]], new_starts[n]
        for m in range(starts[rows[n] + 1] - first):
            new_values[at + m] = values[first + m]
            new_columns[at + m] = columns[first + m]
