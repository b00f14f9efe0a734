import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import GeometryError
from tailort.geometry import Grid, Image, interpolate, resample

FRAME = "1.2.3"
GRID = Grid.axial((6, 7, 8), (3.0, 2.0, 1.5), (-5.0, 4.0, 10.0), FRAME)
coefficients = st.tuples(*[st.floats(-2, 2)] * 4)
RNG = np.random.default_rng(1)


def linear(grid: Grid, c: tuple[float, float, float, float]) -> Image:
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return Image(grid, (points @ np.array(c[:3]) + c[3]).astype(np.float32), "1")


@given(coefficients, st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=5))
def test_a_linear_field_is_interpolated_exactly(
    c: tuple[float, float, float, float], where: list[tuple[float, float, float]]
) -> None:
    points = GRID.to_world(np.array(where) * (np.array(GRID.shape) - 1))
    expected = points @ np.array(c[:3]) + c[3]
    np.testing.assert_allclose(interpolate(linear(GRID, c), points, np.nan), expected, atol=2e-5)


@given(coefficients, st.tuples(*[st.floats(0.7, 4)] * 3))
def test_a_linear_field_is_resampled_exactly_within_the_voxel_centres(
    c: tuple[float, float, float, float], spacing: tuple[float, float, float]
) -> None:
    new = GRID.with_spacing(spacing)
    got = resample(linear(GRID, c), new, np.nan)
    points = new.to_world(np.moveaxis(np.indices(new.shape), 0, -1))
    index = GRID.to_index(points)
    inside = ((index >= 0) & (index <= np.array(GRID.shape) - 1)).all(axis=-1)
    np.testing.assert_allclose(got.values[inside], (points @ np.array(c[:3]) + c[3])[inside], atol=3e-5)


def test_beyond_the_outer_faces_the_value_is_the_one_for_outside_and_up_to_them_the_last_centre() -> None:
    image = Image(GRID, RNG.random(GRID.shape).astype(np.float32), "1")
    index = np.array([[2, 3, -0.49], [2, 3, -0.51], [5.49, 0, 0], [5.51, 0, 0]])
    got = interpolate(image, GRID.to_world(index), -7.0)
    np.testing.assert_allclose(got, [image.values[2, 3, 0], -7, image.values[5, 0, 0], -7])


def test_resampling_agrees_with_interpolating_at_the_centres_of_an_oblique_grid() -> None:
    image = Image(GRID, RNG.random(GRID.shape).astype(np.float32), "1")
    turn, _ = np.linalg.qr(np.array([[1, 0.2, 0.1], [-0.2, 1, 0.3], [0, -0.1, 1]]))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn[:, ::-1] * 1.3, GRID.to_world([1, 1, 1])
    oblique = Grid((5, 5, 5), affine, FRAME)
    points = oblique.to_world(np.moveaxis(np.indices(oblique.shape), 0, -1))
    np.testing.assert_allclose(resample(image, oblique, -1.0).values, interpolate(image, points, -1.0), atol=1e-6)


def test_resampling_on_the_same_grid_returns_the_image() -> None:
    image = linear(GRID, (1, 2, 3, 4))
    assert resample(image, GRID, 0.0) is image


def test_an_image_in_another_frame_of_reference_is_refused() -> None:
    with pytest.raises(GeometryError, match="frame of reference"):
        resample(linear(GRID, (1, 0, 0, 0)), Grid.axial((2, 2, 2), (1, 1, 1), (0, 0, 0), "other"), 0.0)


def test_an_image_of_wrong_shape_or_unit_is_refused() -> None:
    with pytest.raises(GeometryError, match="do not fit"):
        Image(GRID, np.zeros((1, 2, 3)), "HU")
    with pytest.raises(GeometryError, match="known are HU"):
        Image(GRID, np.zeros(GRID.shape), "cGy")
