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
# Of a structure whose hottest drop is limited: so many voxels within this distance of the targets, the nearest ones,
# and a sample of the others.
NEAREST_VOXELS, NEAREST_MM, OTHER_VOXELS = 12_000, 40.0, 2000


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
    hottest: Collection[str],
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
    hottest : collection of str
        Structures whose hottest drop is limited, wherever it is: of those near the targets up to `NEAREST_VOXELS` are
        taken, the others sampled, because far from the targets the dose changes slowly. Histograms judge all of them.
    generator : numpy Generator
        Draws the samples of large structures.

    Notes
    -----
    The body outside the targets is dense in a shell of 30 mm around them and sparse beyond.
    """
    chosen: dict[str, tuple[NDArray[np.int64], Float]] = {}
    inside = np.zeros(grid.shape, dtype=bool)
    for name in targets:
        inside.ravel()[volumes[name].indices()[0]] = True
    distance = ndimage.distance_transform_edt(~inside, sampling=grid.spacing_mm).ravel()
    for name, volume in volumes.items():
        at, share = volume.indices()
        flat, fraction = at.astype(np.int64), share.astype(np.float64)
        if name in targets or name in whole:
            chosen[name] = flat, fraction
        elif name in hottest:
            away = distance[flat]
            beside = np.zeros(len(flat), dtype=bool)
            beside[np.argsort(away, kind="stable")[:NEAREST_VOXELS]] = True
            beside &= away <= NEAREST_MM
            far = _sample(flat[~beside], fraction[~beside], OTHER_VOXELS, generator)
            both = np.concatenate([flat[beside], far[0]]), np.concatenate([fraction[beside], far[1]])
            order = np.argsort(both[0])
            chosen[name] = both[0][order], both[1][order]
        else:
            chosen[name] = _sample(flat, fraction, ORGAN_VOXELS, generator)
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
