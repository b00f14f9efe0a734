"""A toy patient: a water cylinder with a C-shaped target around a core, and blurred exponential beamlets."""

from __future__ import annotations

import numpy as np

from tailort.geometry import Grid, beam_axes
from tailort.optimisation.problem import VoxelSet
from tailort.patient import Beamlets, BeamSetup, Influence

FRAME = "1.2.3"


def toy(
    n_beams: int = 7, spacing_mm: float = 4.0, slices: int = 6, radius_mm: float = 80.0
) -> tuple[Influence, dict[str, VoxelSet]]:
    """Influence and voxel sets of target, core and body."""
    n = 2 * int(radius_mm / spacing_mm) + 1
    half = (n - 1) / 2 * spacing_mm
    z0 = -(slices - 1) / 2 * 5.0
    grid = Grid.axial((slices, n, n), (5.0, spacing_mm, spacing_mm), (-half, -half, z0), FRAME)
    points = grid.to_world(np.stack(np.meshgrid(*(np.arange(s) for s in grid.shape), indexing="ij"), -1).reshape(-1, 3))
    r = np.hypot(points[:, 0], points[:, 1])
    voxels = np.flatnonzero(r <= radius_mm)
    points, r = points[voxels], r[voxels]
    inside = np.abs(points[:, 2]) < slices * 2.5 - 5.0 if slices > 2 else np.ones(len(r), bool)
    target = (r > 18) & (r < 36) & ~((points[:, 1] > 0) & (np.abs(points[:, 0]) < 12)) & inside
    core = (r < 12) & inside
    setups = tuple(BeamSetup(f"beam {b + 1}", b + 1, (0.0, 0.0, 0.0), 360.0 * b / n_beams) for b in range(n_beams))
    x = np.arange(-45, 46, 5.0) + 0.0
    x = (x[:-1] + x[1:]) / 2
    y = np.arange(-slices * 2.5, slices * 2.5 + 1, 5.0)
    y = (y[:-1] + y[1:]) / 2
    xx, yy = np.meshgrid(x, y)
    count = xx.size
    beam = np.repeat(np.arange(n_beams, dtype=np.int32), count)
    beamlets = Beamlets(beam, np.tile(xx.ravel(), n_beams), np.tile(yy.ravel(), n_beams), 5.0, 5.0, setups)
    dense = np.zeros((len(voxels), n_beams * count), np.float32)
    for b, setup in enumerate(setups):
        axes = beam_axes(setup.gantry_deg, 0, 0, "HFS")
        p = points @ axes.T
        scale = 1000.0 / (1000.0 - p[:, 2])
        u, v = p[:, 0] * scale, p[:, 1] * scale
        depth = np.sqrt(np.maximum(radius_mm**2 - p[:, 0] ** 2, 0)) - p[:, 2]
        central = 0.01 * np.exp(-0.005 * depth) * scale**2
        lateral = np.exp(-0.5 * ((u[:, None] - xx.ravel()) / 3.5) ** 2 - 0.5 * ((v[:, None] - yy.ravel()) / 3.5) ** 2)
        lateral[lateral < 1e-3] = 0
        dense[:, b * count : (b + 1) * count] = central[:, None] * lateral
    starts = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))]).astype(np.int64)
    row, column = np.nonzero(dense)
    influence = Influence(
        dense[row, column], column.astype(np.uint32), starts, grid, voxels.astype(np.uint32), beamlets, "toy"
    )
    sets = {
        "PTV": VoxelSet("PTV", np.flatnonzero(target), np.ones(target.sum())),
        "Core": VoxelSet("Core", np.flatnonzero(core), np.ones(core.sum())),
        "Body": VoxelSet("Body", np.flatnonzero(~target), np.ones((~target).sum())),
    }
    return influence, sets
