"""The voxels that the optimiser sees stand for the structures they are drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tailort.geometry import Grid, PartialVolume
from tailort.workflow import rows

GRID = Grid.axial((30, 40, 40), (3, 3, 3), (0, 0, 0), "1.2.3")


def ball(centre: tuple[float, float, float], radius: float) -> PartialVolume:
    k, j, i = np.indices(GRID.shape)
    away = np.sqrt((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2)
    return PartialVolume((0, 0, 0), np.clip(radius - away + 0.5, 0, 1).astype(np.float32), GRID.shape)


@pytest.fixture
def chosen() -> tuple[rows.Rows, dict[str, PartialVolume]]:
    volumes = {"PTV": ball((15, 20, 20), 6), "Lungs": ball((15, 20, 20), 14), "SpinalCord": ball((15, 34, 20), 2)}
    body = ball((15, 20, 20), 19)
    return rows.choose_rows(GRID, volumes, body, {"PTV"}, {"SpinalCord"}, (), np.random.default_rng(0)), volumes


def test_targets_and_structures_with_hard_limits_are_taken_whole(
    chosen: tuple[rows.Rows, dict[str, PartialVolume]],
) -> None:
    found, volumes = chosen
    for name in ("PTV", "SpinalCord"):
        flat, fraction = volumes[name].indices()
        assert np.array_equal(found.voxels[found.sets[name].rows], flat)
        assert np.allclose(found.sets[name].volume, fraction / fraction.sum())


def test_a_sampled_organ_keeps_its_dose_volume_histogram(chosen: tuple[rows.Rows, dict[str, PartialVolume]]) -> None:
    found, volumes = chosen
    flat, fraction = volumes["Lungs"].indices()
    assert len(found.sets["Lungs"].rows) == rows.ORGAN_VOXELS < len(flat)
    height = np.arange(GRID.size) // (GRID.shape[1] * GRID.shape[2])
    for level in (8, 15, 22):
        truth = fraction[height[flat] >= level].sum() / fraction.sum()
        sample = found.sets["Lungs"].volume[height[found.voxels[found.sets["Lungs"].rows]] >= level].sum()
        assert sample == pytest.approx(truth, abs=0.01)


def test_rows_are_ascending_and_inside_the_body_or_a_structure(
    chosen: tuple[rows.Rows, dict[str, PartialVolume]],
) -> None:
    found, volumes = chosen
    assert (np.diff(found.voxels.astype(np.int64)) > 0).all()
    allowed = ball((15, 20, 20), 19).full() >= 0.5
    for volume in volumes.values():
        allowed |= volume.full() > 0
    assert allowed.ravel()[found.voxels].all()


def test_of_a_structure_whose_hottest_drop_is_limited_the_voxels_beside_the_target_are_all_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "NEAREST_VOXELS", 3000)
    monkeypatch.setattr(rows, "NEAREST_MM", 18.0)
    monkeypatch.setattr(rows, "OTHER_VOXELS", 500)
    target, shell = ball((15, 20, 20), 4), ball((15, 20, 20), 13)
    volumes, body = {"PTV": target, "Tissue": shell}, ball((15, 20, 20), 19)
    found = rows.choose_rows(GRID, volumes, body, {"PTV"}, (), {"Tissue"}, np.random.default_rng(0))
    inside = np.zeros(GRID.size, dtype=bool)
    inside[target.indices()[0]] = True
    away = ndimage.distance_transform_edt(~inside.reshape(GRID.shape), sampling=GRID.spacing_mm).ravel()
    flat, fraction = shell.indices()
    kept = found.voxels[found.sets["Tissue"].rows]
    nearest = np.sort(away[flat])[:3000].max()
    within = flat[away[flat] < min(nearest, 18.0)]
    assert np.isin(within, kept).all()
    assert 500 < len(kept) < len(flat)
    # The sample stands for the rest: what is far away keeps its share of the volume.
    truth = fraction[away[flat] > 24].sum() / fraction.sum()
    assert found.sets["Tissue"].volume[away[kept] > 24].sum() == pytest.approx(truth, abs=0.02)
