"""Means over coarser voxels keep the integral."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import GeometryError
from tailort.geometry import Grid, Image, average

FINE = Grid.axial((6, 9, 12), (2.0, 1.0, 1.5), (5, -7, 11), "1.2.3")


def noise(seed: int) -> Image:
    return Image(FINE, np.random.default_rng(seed).random(FINE.shape).astype(np.float32), "g/cm3")


@given(st.integers(0, 99), st.tuples(*[st.floats(0.7, 6.0)] * 3))
def test_the_integral_is_kept_when_the_coarse_grid_covers_the_image(seed: int, spacing: tuple[float, ...]) -> None:
    image = noise(seed)
    coarse = FINE.with_spacing(spacing)
    mean = average(image, coarse, outside=0.0)
    mass = float(mean.values.sum(dtype=float)) * coarse.voxel_volume_cm3
    assert mass == pytest.approx(float(image.values.sum(dtype=float)) * FINE.voxel_volume_cm3, rel=1e-5)


@given(st.floats(0.1, 3.0))
def test_a_uniform_image_stays_uniform_and_the_outside_is_what_is_said(value: float) -> None:
    image = Image(FINE, np.full(FINE.shape, value, np.float32), "g/cm3")
    wide = Grid.axial((4, 4, 4), (4, 4, 4), (100, 100, 100), "1.2.3")
    assert np.allclose(average(image, FINE.with_spacing(3.0).crop((1, 1, 1), (2, 2, 2)), 9.0).values, value)
    assert np.allclose(average(image, wide, 9.0).values, 9.0)


def test_a_coarse_voxel_is_the_mean_of_the_fine_ones_inside() -> None:
    image = noise(3)
    coarse = FINE.with_spacing((4.0, 3.0, 3.0))
    expected = image.values.reshape(3, 2, 3, 3, 6, 2).mean(axis=(1, 3, 5))
    assert np.allclose(average(image, coarse, 0.0).values, expected, atol=1e-6)


def test_another_frame_is_refused() -> None:
    with pytest.raises(GeometryError, match="frame of reference"):
        average(noise(0), Grid.axial((2, 2, 2), (2, 2, 2), (0, 0, 0), "9.9"), 0.0)
