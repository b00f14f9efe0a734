"""Which voxels the optimiser looks at."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.geometry import Grid, PartialVolume
from tailort.optimisation import VoxelSet

Float = NDArray[np.float64]

# Beyond these numbers the voxels of an organ are sampled; their weights grow so that the volume stays right.
ORGAN_VOXELS = 6000
SHELL_VOXELS = 14000
FAR_VOXELS = 6000
SHELL_MM = 30.0


@dataclass(frozen=True, eq=False)
class Rows:
    """Voxels chosen for optimisation.

    Parameters
    ----------
    voxels : (rows,) uint32
        Flat indices into the dose grid, ascending.
    sets : dict of VoxelSet
        Each structure's rows.
    """

    voxels: NDArray[np.uint32]
    sets: dict[str, VoxelSet]


def choose_rows(
    grid: Grid,
    volumes: Mapping[str, PartialVolume],
    body: PartialVolume,
    targets: Collection[str],
    whole: Collection[str],
    generator: np.random.Generator,
) -> Rows:
    """Choose the voxels of the dose grid that the optimiser sees.

    Parameters
    ----------
    grid : Grid
        Dose grid.
    volumes : mapping of PartialVolume
        Every structure with a wish or a limit.
    body : PartialVolume
        The patient's outline.
    targets : collection of str
        Names of the targets, of which every voxel is taken.
    whole : collection of str
        Further structures of which every voxel is taken, because a single one can break a limit.
    generator : numpy Generator
        Draws the samples of large structures.

    Notes
    -----
    The body outside the targets is dense in a shell of 30 mm around them and sparse beyond.
    """
    chosen: dict[str, tuple[NDArray[np.int64], Float]] = {}
    inside = np.zeros(grid.shape, dtype=bool)
    for name, volume in volumes.items():
        flat, fraction = volume.indices()
        budget = len(flat) if name in whole or name in targets else ORGAN_VOXELS
        chosen[name] = _sample(flat.astype(np.int64), fraction.astype(np.float64), budget, generator)
        if name in targets:
            inside.ravel()[flat] = True
    distance = ndimage.distance_transform_edt(~inside, sampling=grid.spacing_mm).ravel()
    tissue = np.flatnonzero((body.full() >= 0.5) & ~inside)
    near = distance[tissue] <= SHELL_MM
    for part, budget in ((tissue[near], SHELL_VOXELS), (tissue[~near], FAR_VOXELS)):
        chosen[f"tissue {budget}"] = _sample(part, np.ones(len(part)), budget, generator)
    voxels = np.unique(np.concatenate([flat for flat, _ in chosen.values()]))
    sets = {
        name: VoxelSet(name, np.searchsorted(voxels, chosen[name][0]), chosen[name][1])
        for name in volumes
        if len(chosen[name][0])
    }
    return Rows(voxels.astype(np.uint32), sets)


def _sample(
    flat: NDArray[np.int64], weight: Float, budget: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], Float]:
    """Draw `budget` voxels evenly through the list; their weights keep the total."""
    if len(flat) <= budget:
        return flat, weight
    # One draw from each of `budget` equal stretches of the list keeps the sample spread over the organ.
    edges = np.ceil(np.linspace(0, len(flat), budget + 1)).astype(np.int64)
    drawn = edges[:-1] + (generator.random(budget) * np.diff(edges)).astype(np.int64)
    kept = weight[drawn]
    return flat[drawn], kept * (weight.sum() / kept.sum())
