"""Draws of a registration within its uncertainty."""

from __future__ import annotations

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.geometry import Grid, Image, Transform
from tailort.registration import Registration
from tailort.registration.sampling import ALONG_AN_AXIS, drawn_images, smooth

TODAY, EARLIER = "1.1", "2.2"
GRID = Grid.axial((12, 14, 16), (4.0, 4.0, 4.0), (-30.0, -26.0, -22.0), TODAY)
WIDE = Grid.axial((40, 40, 40), (4.0, 4.0, 4.0), (-80.0, -80.0, -80.0), EARLIER)
TO_EARLIER = Transform(TODAY, EARLIER, np.eye(4), None, "test")


def registration(uncertainty_mm: float) -> Registration:
    values = np.full(GRID.shape, uncertainty_mm, dtype=np.float32)
    return Registration(TO_EARLIER, None, "test", None, Image(GRID, values, "mm"))


def slope(axis: int) -> Image:
    """An image whose value is the coordinate along x, y or z, so that a mapped value is the place it came from."""
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in WIDE.shape], indexing="ij"), axis=-1)
    return Image(WIDE, WIDE.to_world(index)[..., axis].astype(np.float32), "mm")


def test_a_registration_that_is_sure_has_one_draw_only() -> None:
    image = slope(0)
    nominal = registration(0.0).map_image(image, GRID, np.nan).values
    for (drawn,) in drawn_images(registration(0.0), [image], GRID, np.nan, 3, seed=1):
        np.testing.assert_allclose(drawn.values, nominal, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_draws_spread_by_the_uncertainty_along_every_axis(axis: int) -> None:
    image = slope(axis)
    nominal = registration(3.0).map_image(image, GRID, np.nan).values
    moved = np.stack([d.values - nominal for (d,) in drawn_images(registration(3.0), [image], GRID, np.nan, 200, 7)])
    assert moved.std(axis=0).mean() == pytest.approx(3.0 * ALONG_AN_AXIS, rel=0.06)
    assert abs(moved.mean()) < 0.15


def test_errors_of_neighbours_hang_together_and_of_far_points_do_not() -> None:
    lattice = Grid.axial((24, 24, 24), (10.0, 10.0, 10.0), (0.0, 0.0, 0.0), TODAY)
    generator = np.random.default_rng(3)
    drawn = np.stack([smooth(lattice, generator) for _ in range(60)])
    near = np.mean(drawn[:, 5, 5, 5:15] * drawn[:, 5, 5, 6:16])
    far = np.mean(drawn[:, 5, 5, 2:8] * drawn[:, 5, 5, 12:18])
    assert drawn.std() == pytest.approx(1.0, rel=0.05)
    assert near > 0.7
    assert abs(far) < 0.2


def test_the_same_seed_gives_the_same_draws_and_images_of_one_draw_move_alike() -> None:
    image = slope(0)
    first = list(drawn_images(registration(2.0), [image, image], GRID, np.nan, 2, seed=5))
    again = list(drawn_images(registration(2.0), [image], GRID, np.nan, 2, seed=5))
    other = list(drawn_images(registration(2.0), [image], GRID, np.nan, 1, seed=6))
    for (one, two), (same,) in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
        np.testing.assert_array_equal(one.values, same.values)
    assert np.abs(first[0][0].values - other[0][0].values).max() > 0.1


def test_draws_without_an_uncertainty_are_refused() -> None:
    with pytest.raises(InputError, match="without an estimate"):
        next(drawn_images(Registration(TO_EARLIER), [slope(0)], GRID, 0.0, 1, 0))
    with pytest.raises(InputError, match="at least one draw"):
        next(drawn_images(registration(1.0), [slope(0)], GRID, 0.0, 0, 0))
