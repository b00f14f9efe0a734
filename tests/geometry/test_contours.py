import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solid_shapes import blobs, box, keyhole, ring

from tailort.errors import GeometryError
from tailort.geometry import check_contours
from tailort.geometry.contours import (
    area_mm2,
    by_plane,
    level_set,
    nesting_depth,
    oriented,
    resample_edge,
    rings_without_channels,
    simplify,
)


@given(st.floats(1, 50), st.floats(-100, 100), st.floats(-100, 100))
def test_the_area_of_a_polygon_does_not_depend_on_where_it_lies(radius: float, x: float, y: float) -> None:
    assert area_mm2(ring(radius, 0, (x, y))) == pytest.approx(np.pi * radius**2, rel=1e-9)
    assert area_mm2(ring(radius, 0, (x, y))[::-1]) == pytest.approx(-np.pi * radius**2, rel=1e-9)


def test_contours_are_grouped_by_plane_from_feet_to_head() -> None:
    planes, polygons = by_plane([ring(5, 6.0), ring(5, 0.0), ring(2, 6.0004)])
    np.testing.assert_allclose(planes, [0, 6])
    assert [len(p) for p in polygons] == [1, 2]


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 3)),
        np.zeros((5, 3)),
        np.array([[0.0, 0, 7], [5, 0, 7]]),
        np.array([[0.0, 0, 7], [5, 0, 7], [0, 0, 7]]),
    ],
)
def test_an_open_contour_is_refused(points: np.ndarray) -> None:
    with pytest.raises(GeometryError, match="open contour"):
        check_contours([ring(5, 0), points])


def test_a_contour_out_of_a_transverse_plane_is_refused() -> None:
    tilted = ring(5, 0)
    tilted[:, 2] = 0.1 * tilted[:, 0]
    with pytest.raises(GeometryError, match="transverse"):
        check_contours([tilted])


def test_a_contour_that_crosses_itself_is_refused_with_its_plane_and_place() -> None:
    bow = np.array([[0.0, 0, 12], [10, 10, 12], [10, 0, 12], [0, 10, 12]])
    with pytest.raises(
        GeometryError, match=r"GTVp: a contour crosses itself at x = 5\.0, y = 5\.0 mm in the plane z = 12"
    ):
        check_contours([ring(5, 0), bow], "GTVp")


def test_contours_that_cross_each_other_are_refused() -> None:
    with pytest.raises(GeometryError, match="two contours cross"):
        check_contours([ring(5, 0), ring(5, 0, (4.0, 0.1))])


@pytest.mark.parametrize(
    "contours",
    [
        [keyhole(ring(10, 0), ring(4, 0))],
        [ring(10, 0), ring(4, 0)],
        [box((0, 5), (0, 5), 0), box((5, 9), (0, 5), 0)],
        [box((0, 5), (0, 5), 0), box((5, 9), (5, 9), 0)],
        [np.array([[0.0, 0, 0], [4, 0, 0], [4, 4, 0], [8, 4, 0], [8, 8, 0], [4, 8, 0], [4, 4, 0], [0, 4, 0]])],
    ],
    ids=["keyhole", "hole", "shared edge", "shared corner", "touches itself"],
)
def test_contours_that_touch_are_legal(contours: list[np.ndarray]) -> None:
    check_contours(contours)


@settings(max_examples=30)
@given(blobs())
def test_smooth_contours_are_legal(contours: list[np.ndarray]) -> None:
    check_contours(contours)


@pytest.mark.parametrize("turned", [False, True])
def test_a_keyhole_becomes_an_outer_ring_and_a_hole(turned: bool) -> None:
    contour = keyhole(ring(10, 0), ring(4, 0))[:, :2]
    rings = oriented(rings_without_channels([contour[::-1] if turned else contour]))
    assert sorted(round(area_mm2(r) / np.pi) for r in rings) == [-16, 100]


def test_a_channel_whose_two_ways_have_different_corners_is_still_taken_out() -> None:
    outer, inner = box((0, 10), (0, 10), 0), box((4, 6), (4, 6), 0)
    # The way in has a stop that the way back has not.
    contour = np.vstack([outer, outer[:1], [[2.0, 2, 0]], inner[:1], inner[:0:-1], inner[:1]])
    rings = oriented(rings_without_channels([contour[:, :2]]))
    assert sorted(round(area_mm2(r), 6) for r in rings) == [-4, 100]


def test_pieces_that_share_an_edge_become_one() -> None:
    rings = rings_without_channels([box((0, 5), (0, 5), 0)[:, :2], box((5, 9), (0, 5), 0)[:, :2]])
    assert [abs(area_mm2(r)) for r in rings] == [pytest.approx(45)]


def test_nesting_counts_the_contours_around() -> None:
    rings = [ring(r, 0, c)[:, :2] for r, c in ((2, (0, 0)), (10, (0, 0)), (5, (0, 0)), (1, (8, 0)), (3, (30, 0)))]
    assert nesting_depth(rings).tolist() == [2, 0, 1, 1, 0]
    assert [area_mm2(r) > 0 for r in oriented(rings)] == [True, True, False, False, True]


@given(st.floats(0.2, 5))
def test_resampling_the_edge_keeps_corners_and_leaves_no_greater_distance(spacing: float) -> None:
    square = box((0, 7), (0, 3), 1.0)
    points = resample_edge(square, spacing)
    steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    assert steps.max() <= spacing + 1e-9
    for corner in square:
        assert np.linalg.norm(points - corner, axis=1).min() < 1e-12
    assert steps.sum() == pytest.approx(20)


def distance_to_ring(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    a, u = polygon, np.roll(polygon, -1, axis=0) - polygon
    rel = points[:, None] - a[None]
    s = np.clip((rel * u).sum(-1) / np.maximum((u * u).sum(-1), 1e-30), 0, 1)
    return np.linalg.norm(rel - s[..., None] * u, axis=-1).min(axis=1)


@settings(max_examples=40)
@given(blobs(hole=False), st.floats(0.001, 2))
def test_simplifying_moves_no_point_further_than_the_tolerance(contours: list[np.ndarray], tolerance: float) -> None:
    before = contours[0][:, :2]
    after = simplify(before, tolerance)
    assert 3 <= len(after) <= len(before)
    assert distance_to_ring(before, after).max() <= tolerance + 1e-9


def test_a_level_set_of_distances_is_the_circle_and_keeps_the_hole() -> None:
    axis = np.arange(-12, 12.1, 0.5)
    rho = np.hypot(axis[None, :], axis[:, None])
    rings = level_set(np.minimum(10 - rho, rho - 4), axis, axis)
    assert sorted(round(area_mm2(r) / np.pi) for r in rings) == [-16, 100]
    for polygon in rings:
        radius = np.linalg.norm(polygon, axis=1)
        assert min(np.abs(radius - 10).max(), np.abs(radius - 4).max()) < 0.015


def test_a_level_set_that_reaches_the_rim_is_closed_there() -> None:
    axis = np.arange(0.0, 5)
    (only,) = level_set(np.ones((5, 5)), axis, axis)
    assert area_mm2(only) == pytest.approx(16, rel=1e-4)
