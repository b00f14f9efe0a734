"""The quality factor of a painted plan."""

from __future__ import annotations

import numpy as np
import pytest

from tailort.evaluation.painting import PaintingQuality, painting_quality
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Painted, Structure


def quality(prescribed: list[float], given: list[float], volume: list[float]) -> PaintingQuality:
    return PaintingQuality("GTVp", np.array(prescribed), np.array(given), np.array(volume))


def test_a_dose_as_prescribed_has_the_factor_0() -> None:
    assert quality([54.0, 72.0], [54.0, 72.0], [1.0, 2.0]).quality_factor == 0.0


def test_the_factor_is_the_mean_of_the_relative_differences_by_volume() -> None:
    """RB-144: 1 cm3 10 % too hot and 3 cm3 2 % too cold are 0.25 x 0.10 + 0.75 x 0.02."""
    found = quality([60.0, 50.0], [66.0, 49.0], [1.0, 3.0])
    assert found.quality_factor == pytest.approx(0.04)
    assert found.mean_gy == pytest.approx(53.25)
    assert found.prescribed_mean_gy == pytest.approx(52.5)
    assert found.share_within(0.05) == pytest.approx(0.75)
    assert found.ratio_of_hottest(0.1) == pytest.approx(1.1)
    assert found.ratio_of_hottest(0.95) == pytest.approx(0.98)


def test_the_histogram_falls_from_all_to_nothing() -> None:
    found = quality([60.0, 50.0, 40.0], [66.0, 49.0, 40.0], [1.0, 3.0, 2.0])
    assert found.histogram(np.array([0.0, 0.99, 1.0, 1.05, 1.2])) == pytest.approx([1, 0.5, 0.5, 1 / 6, 0])


def test_it_is_measured_in_the_voxels_of_the_dose_by_the_part_of_the_structure_in_them() -> None:
    """A box over one and a half voxels of a dose that is right in one and 20 % too high in the next."""
    affine = np.array([[0, 0, 10.0, 0], [0, 10.0, 0, 0], [10.0, 0, 0, 0], [0, 0, 0, 1.0]])
    grid = Grid((3, 3, 3), affine, "1.2.3")
    values = np.full(grid.shape, 60.0, dtype=np.float32)
    values[:, :, 2] = 72.0
    # Voxel faces of the middle row lie at 5 and 15 mm; the box ends in the middle of the voxel beside it.
    square = np.array([[5.0, 5.0], [20.0, 5.0], [20.0, 15.0], [5.0, 15.0]])
    box = Structure("GTVp", "GTV", [np.column_stack([square, np.full(4, z)]) for z in (7.5, 12.5)], "1.2.3")
    painted = Painted(Image(grid, np.full(grid.shape, 60.0, dtype=np.float32), "Gy"), 54.0, 72.0, "60 Gy everywhere")
    dose = Dose(Image(grid, values, "Gy"), "physical", "course", 30, None, "test")
    found = painting_quality(dose, painted, box, None)
    assert found.volume_cm3.sum() == pytest.approx(1.5, rel=1e-3)
    assert found.quality_factor == pytest.approx(0.2 / 3, rel=1e-3)
