"""Phases of breathing: highest, mean and lowest values, and the union of a volume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import GeometryError
from tailort.geometry import Grid, Image, volume_cm3
from tailort.geometry.phases import over_phases, require_one_grid, union_over_phases

GRID = Grid.axial((3, 4, 5), (3.0, 2.0, 2.0), (0.0, 0.0, 0.0), "1.2")


def image(seed: int) -> Image:
    return Image(GRID, np.random.default_rng(seed).integers(-1000, 1500, GRID.shape).astype(np.int16), "HU")


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6))
def test_the_highest_is_nowhere_below_the_mean_and_the_mean_nowhere_below_the_lowest(seeds: list[int]) -> None:
    highest, mean, lowest = over_phases(image(seed) for seed in seeds)
    assert (highest.values >= mean.values - 1e-3).all()
    assert (mean.values >= lowest.values - 1e-3).all()


@given(st.permutations([1, 2, 3, 4]))
def test_the_order_of_phases_does_not_matter(seeds: list[int]) -> None:
    for made, sorted_ in zip(over_phases(map(image, seeds)), over_phases(map(image, (1, 2, 3, 4))), strict=True):
        assert np.allclose(made.values, sorted_.values, atol=1e-3)


def test_phases_that_are_alike_change_nothing() -> None:
    for made in over_phases([image(5)] * 3):
        assert np.allclose(made.values, image(5).values, atol=1e-3)


def square(centre_x: float, half: float = 10.0) -> list[np.ndarray]:
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    corners = corners + np.array([centre_x, 0.0])
    return [np.column_stack([corners, np.full(4, z)]) for z in np.arange(0.0, 31.0, 3.0)]


def test_the_union_of_a_shifted_box_is_the_box_of_its_way() -> None:
    planes = np.arange(-6.0, 40.0, 3.0)
    union = union_over_phases([square(x) for x in (0.0, 4.0, 8.0)], planes)
    assert volume_cm3(union) == pytest.approx(volume_cm3(square(0.0)) * 28.0 / 20.0, rel=0.01)
    assert min(c[:, 0].min() for c in union) == pytest.approx(-10.0, abs=0.05)
    assert max(c[:, 0].max() for c in union) == pytest.approx(18.0, abs=0.05)


def test_phases_that_differ_in_voxels_or_frame_are_refused() -> None:
    other = Grid.axial((3, 4, 5), (3.0, 2.0, 2.5), (0.0, 0.0, 0.0), "1.2")
    elsewhere = Grid.axial((3, 4, 5), (3.0, 2.0, 2.0), (0.0, 0.0, 0.0), "1.3")
    with pytest.raises(GeometryError, match="share their voxels"):
        require_one_grid([GRID, other], ["0%", "50%"])
    with pytest.raises(GeometryError, match=r"phase 50% is in frame of reference 1\.3"):
        require_one_grid([GRID, elsewhere], ["0%", "50%"])
    with pytest.raises(GeometryError, match="no phase"):
        over_phases([])
