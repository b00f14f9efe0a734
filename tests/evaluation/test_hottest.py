"""The hottest part of a structure, found without the whole histogram, is that of the histogram."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.evaluation import cells_of, dvh_in
from tailort.evaluation.hottest import hottest_in
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Structure

FRAME = "1.2.3"
GRID = Grid.axial((12, 20, 24), (3.0, 2.5, 2.5), (-29.0, -24.0, -16.0), FRAME)
ANGLES = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)


def cylinder(radius_mm: float, low_mm: float, high_mm: float) -> Structure:
    ring = radius_mm * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    planes = np.arange(low_mm, high_mm + 0.1, 3.0)
    return Structure("rod", "ORGAN", tuple(np.column_stack([ring, np.full(40, z)]) for z in planes), FRAME)


def dose(values: np.ndarray) -> Dose:
    return Dose(Image(GRID, values.astype(np.float32), "Gy"), "BED", "course", None, 3.0, "test")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(5.0, 18.0), st.sampled_from([0.035, 0.5, 1.0]), st.floats(0.0, 4.0))
def test_the_hottest_part_and_the_mean_are_those_of_the_whole_histogram(
    seed: int, radius_mm: float, volume_cm3: float, power: float
) -> None:
    """Highest dose and dose to the hottest volumes to the rounding of a sample, the mean to that of all samples."""
    random = np.random.default_rng(seed)
    values = 100.0 * random.random(GRID.shape) ** power
    cells = cells_of(cylinder(radius_mm, -9.0, 12.0), GRID)
    whole = dvh_in(cells, dose(values))
    curve, mean_gy = hottest_in(cells, dose(values), volume_cm3)
    assert curve.value("Max[Gy]") == whole.value("Max[Gy]")
    for volume in (0.01, 0.5 * volume_cm3, volume_cm3):
        asked = f"D{volume:g}cc[Gy]"
        assert curve.value(asked) == pytest.approx(whole.value(asked), rel=1e-6, abs=1e-4)
    assert mean_gy == pytest.approx(whole.value("Mean[Gy]"), rel=1e-6, abs=1e-5)


def test_a_uniform_dose_is_that_dose_at_every_volume() -> None:
    curve, mean_gy = hottest_in(cells_of(cylinder(12.0, -9.0, 12.0), GRID), dose(np.full(GRID.shape, 20.3)), 1.0)
    assert {curve.value(m) for m in ("Max[Gy]", "D0.035cc[Gy]", "D1cc[Gy]")} == {float(np.float32(20.3))}
    assert mean_gy == pytest.approx(20.3, abs=1e-5)


def test_a_structure_smaller_than_the_asked_volume_has_its_whole_histogram() -> None:
    cells = cells_of(cylinder(2.0, -3.0, 3.0), GRID)
    values = np.random.default_rng(3).random(GRID.shape)
    curve, _ = hottest_in(cells, dose(values), 1.0)
    assert cells.volume_cm3 < 1.0
    assert curve.value("D90%[Gy]") == dvh_in(cells, dose(values)).value("D90%[Gy]")


def test_a_dose_that_is_not_known_everywhere_has_no_mean_and_no_highest() -> None:
    values = np.full(GRID.shape, 30.0)
    values[:6] = np.nan
    curve, mean_gy = hottest_in(cells_of(cylinder(12.0, -9.0, 12.0), GRID), dose(values), 1.0)
    assert np.isnan(mean_gy)
    assert curve.bounds("Max[Gy]") == (pytest.approx(30.0), np.inf)
