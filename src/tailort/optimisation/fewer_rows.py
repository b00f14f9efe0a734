"""What is asked of a plan, on a sample of its voxels: enough to compare plans, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.problem import Limit, VoxelSet, Wish

Indices = NDArray[np.int64]
Asked = TypeVar("Asked", Wish, Limit)


@dataclass(frozen=True, eq=False)
class FewerRows:
    """Wishes and limits on some of the rows.

    Parameters
    ----------
    rows : (n,) int
        Of the whole problem, ascending.
    sets : dict of VoxelSet
        In the new rows.
    wishes, limits : tuple
        On the voxels that are left.
    """

    rows: Indices
    sets: dict[str, VoxelSet]
    wishes: tuple[Wish, ...]
    limits: tuple[Limit, ...]

    @classmethod
    def of(
        cls,
        sets: Collection[VoxelSet],
        wishes: Sequence[Wish],
        limits: Sequence[Limit],
        most: int,
        generator: np.random.Generator,
    ) -> FewerRows:
        """Keep at most so many voxels of each structure, spread evenly through it.

        Parameters
        ----------
        sets : collection of VoxelSet
            Of the whole problem.
        wishes, limits : sequence
            On these sets.
        most : int
            Voxels of a structure.
        generator : numpy Generator
            Draws them.
        """
        kept = {one.name: _drawn(len(one.rows), most, generator) for one in sets}
        rows = np.unique(np.concatenate([one.rows[kept[one.name]] for one in sets]))
        fewer = {
            one.name: VoxelSet(one.name, np.searchsorted(rows, one.rows[kept[one.name]]), one.volume[kept[one.name]])
            for one in sets
        }
        return cls(
            rows,
            fewer,
            tuple(_on(wish, kept[wish.structure]) for wish in wishes),
            tuple(_on(limit, kept[limit.structure]) for limit in limits),
        )


def _drawn(size: int, most: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Which of so many voxels are kept: one draw from each of equal stretches of the list."""
    if size <= most:
        return np.ones(size, dtype=np.bool_)
    edges = np.ceil(np.linspace(0, size, most + 1)).astype(np.int64)
    kept = np.zeros(size, dtype=np.bool_)
    kept[edges[:-1] + (generator.random(most) * np.diff(edges)).astype(np.int64)] = True
    return kept


def _on(asked: Asked, kept: NDArray[np.bool_]) -> Asked:
    """The same of some of its voxels."""
    objective: Any = asked.objective
    levels = {
        one.name: value[kept]
        for one in (fields(objective) if is_dataclass(objective) else ())
        if isinstance(value := getattr(objective, one.name), np.ndarray) and value.shape == kept.shape
    }
    return replace(asked, objective=replace(objective, **levels), quantity=asked.quantity.only(kept))
