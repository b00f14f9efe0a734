"""Parts of the dose grid say of a structure what the whole grid says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import GeometryError
from tailort.evaluation import dvh
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Structure
from tailort.workflow.parts import cut_dose, cut_image, in_voxels, part_around

FRAME = "1.2.3"
GRID = Grid.axial((24, 40, 44), (2.5, 3.0, 2.0), (-43.0, -61.0, -30.0), FRAME)


def rod(x_mm: float, y_mm: float) -> Structure:
    angles = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    rim = np.column_stack([x_mm + 6.0 * np.cos(angles), y_mm + 5.0 * np.sin(angles)])
    return Structure(
        "Rod", "ORGAN", tuple(np.column_stack([rim, np.full(24, z)]) for z in (-9.0, -6.0, -3.0, 0.0)), FRAME
    )


def rough(seed: int) -> Image:
    values = np.random.default_rng(seed).uniform(0.0, 60.0, GRID.shape).astype(np.float32)
    return Image(GRID, values, "Gy")


@settings(max_examples=12)
@given(st.floats(-30.0, 30.0), st.floats(-45.0, 45.0), st.integers(0, 1000))
def test_a_histogram_on_the_part_around_a_structure_is_that_on_the_whole_grid(x: float, y: float, seed: int) -> None:
    structure, image = rod(x, y), rough(seed)
    dose = Dose(image, "physical", "course", 20, None, "test")
    part = part_around(GRID, [structure])
    assert part.size < GRID.size
    whole, cut = dvh(structure, dose), dvh(structure, cut_dose(dose, part))
    assert cut.volume_cm3 == pytest.approx(whole.volume_cm3, rel=1e-6)
    for metric in ("Max[Gy]", "Min[Gy]", "Mean[Gy]", "D50%[Gy]", "D0.1cc[Gy]", "V30Gy[%]"):
        assert cut.value(metric) == pytest.approx(whole.value(metric), abs=2e-3)


@given(st.integers(0, 1000))
def test_values_in_voxels_are_those_of_the_whole_grid_and_0_beyond_the_part_or_where_they_are_not_known(
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    image = rough(seed)
    unknown = generator.random(GRID.shape) < 0.1
    image = image.with_values(np.where(unknown, np.nan, image.values).astype(np.float32))
    part = GRID.crop((3, 5, 7), (15, 30, 20))
    inside = np.zeros(GRID.shape, dtype=bool)
    inside[3:15, 5:30, 7:20] = True
    voxels = generator.choice(GRID.size, 500, replace=False).astype(np.uint32)
    expected = np.where(inside & ~unknown, image.values, 0.0).ravel()[voxels]
    np.testing.assert_array_equal(in_voxels(cut_image(image, part), GRID, voxels), expected)


def test_what_is_no_part_of_a_grid_is_refused() -> None:
    other = Grid.axial((4, 4, 4), (2.5, 3.0, 2.0), (-42.0, -61.0, -30.0), FRAME)
    with pytest.raises(GeometryError, match="its own grid"):
        cut_image(rough(0), other)
