"""Which voxels the optimiser looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.geometry import Grid, PartialVolume
from tailort.optimisation import VoxelSet

Float = NDArray[np.float64]

# Voxels of an organ beyond this number are sampled; their weights grow so that the volume stays right.
ORGAN_VOXELS = 6000
TARGET_VOXELS = 20000
SHELL_VOXELS = 14000
FAR_VOXELS = 6000
SHELL_MM = 30.0
NORMAL_TISSUE = "normal tissue"


@dataclass(frozen=True, eq=False)
class Rows:
    """Voxels chosen for optimisation.

    Parameters
    ----------
    voxels : (rows,) uint32
        Flat indices into the dose grid, ascending.
    sets : dict of VoxelSet
        Each structure's rows.
    normal_distance_mm : (n,) float
        Distance of the normal tissue's rows to the targets, in the order of its set.
    """

    voxels: NDArray[np.uint32]
    sets: dict[str, VoxelSet]
    normal_distance_mm: Float


def choose_rows(
    grid: Grid,
    volumes: Mapping[str, PartialVolume],
    targets: Sequence[str],
    whole: Sequence[str],
    body: str,
    generator: np.random.Generator,
) -> Rows:
    """Choose the voxels of the dose grid that the optimiser sees.

    Parameters
    ----------
    grid : Grid
        Dose grid.
    volumes : mapping of PartialVolume
        Every structure that is judged, and `body`.
    targets : sequence of str
        Names of the targets.
    whole : sequence of str
        Structures of which every voxel is taken, because a single voxel can break a limit.
    body : str
        Name of the outline.
    generator : numpy Generator
        Draws the samples of large structures.

    Notes
    -----
    Normal tissue is the body outside the targets: dense in a shell of 30 mm around them, sparse beyond.
    """
    chosen: dict[str, tuple[NDArray[np.int64], Float]] = {}
    for name, volume in volumes.items():
        if name == body:
            continue
        flat, fraction = volume.indices()
        budget = len(flat) if name in whole else TARGET_VOXELS if name in targets else ORGAN_VOXELS
        chosen[name] = _sample(flat.astype(np.int64), fraction.astype(np.float64), budget, generator)
    inside = np.zeros(grid.shape, dtype=bool)
    for name in targets:
        inside |= volumes[name].full() > 0
    distance = _distance_mm(inside, grid)
    tissue = np.flatnonzero((volumes[body].full() >= 0.5) & ~inside)
    near = tissue[distance.ravel()[tissue] <= SHELL_MM]
    far = tissue[distance.ravel()[tissue] > SHELL_MM]
    parts = [
        _sample(part, np.ones(len(part)), budget, generator)
        for part, budget in ((near, SHELL_VOXELS), (far, FAR_VOXELS))
    ]
    normal = np.concatenate([p[0] for p in parts])
    normal_weight = np.concatenate([p[1] for p in parts])
    voxels = np.unique(np.concatenate([normal, *(flat for flat, _ in chosen.values())]))
    sets = {
        name: VoxelSet(name, np.searchsorted(voxels, flat), weight)
        for name, (flat, weight) in chosen.items()
        if len(flat)
    }
    if len(normal):
        sets[NORMAL_TISSUE] = VoxelSet(NORMAL_TISSUE, np.searchsorted(voxels, normal), normal_weight)
    return Rows(voxels.astype(np.uint32), sets, distance.ravel()[normal].astype(np.float64))


def _sample(
    flat: NDArray[np.int64], weight: Float, budget: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], Float]:
    """Draw `budget` voxels evenly through the list; their weights keep the total."""
    if len(flat) <= budget:
        return flat, weight
    # One draw from each of `budget` equal stretches of the list keeps the sample spread over the organ.
    edges = np.linspace(0, len(flat), budget + 1)
    drawn = (edges[:-1] + generator.random(budget) * np.diff(edges)).astype(np.int64)
    kept = weight[drawn]
    return flat[drawn], kept * (weight.sum() / kept.sum())


def _distance_mm(inside: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Distance of each voxel centre to the nearest voxel inside, mm."""
    if not inside.any():
        return np.full(grid.shape, np.inf, dtype=np.float32)
    distance: NDArray[np.float32] = ndimage.distance_transform_edt(~inside, sampling=grid.spacing_mm).astype(np.float32)
    return distance
