"""Margins and boolean operations: laws, and solids known from formulas."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solid_shapes import blobs, box, keyhole, moved, ring, sphere, sphere_volume_cm3

from tailort.errors import GeometryError
from tailort.geometry import Grid, Margin, contract, expand, intersect, partial_volume, subtract, unite, volume_cm3
from tailort.geometry.contours import area_mm2

FINE = np.arange(-40.0, 40.01, 0.5) + 0.123
margins = st.builds(Margin, *[st.floats(0.5, 6)] * 6)


def planes_of(contours: list[np.ndarray]) -> np.ndarray:
    return np.unique([c[0, 2] for c in contours])


def excess(points: np.ndarray, contours: list[np.ndarray]) -> float:
    """How far points of a plane lie outside contours of the same plane at most, mm."""
    worst = 0.0
    for z in np.unique(points[:, 2]):
        rings = [c[:, :2] for c in contours if abs(c[0, 2] - z) < 1e-6]
        if not rings:
            return np.inf
        p = points[points[:, 2] == z][:, :2]
        inside = np.zeros(len(p), dtype=bool)
        distance = np.full(len(p), np.inf)
        for r in rings:
            a, b = r, np.roll(r, -1, axis=0)
            u, rel = b - a, p[:, None] - a[None]
            s = np.clip((rel * u).sum(-1) / np.maximum((u * u).sum(-1), 1e-30), 0, 1)
            distance = np.minimum(distance, np.linalg.norm(rel - s[..., None] * u, axis=-1).min(axis=1))
            crosses = (a[:, 1] > p[:, 1:2]) != (b[:, 1] > p[:, 1:2])
            with np.errstate(divide="ignore", invalid="ignore"):
                x = a[:, 0] + (p[:, 1:2] - a[:, 1]) / u[:, 1] * u[:, 0]
            inside ^= ((p[:, :1] < x) & crosses).sum(axis=1) % 2 == 1
        worst = max(worst, float(np.where(inside, 0, distance).max()))
    return worst


# --- margins --------------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(blobs())
def test_a_margin_of_0_returns_the_same_contours(contours: list[np.ndarray]) -> None:
    for change in (expand, contract):
        got = change(contours, Margin.uniform(0), planes_of(contours))
        assert len(got) == len(contours)
        assert sum(len(c) for c in got) == sum(len(c) for c in contours)
        assert volume_cm3(got) == pytest.approx(volume_cm3(contours), rel=1e-12)


@pytest.mark.parametrize(("radius", "spacing"), [(5, 1), (20, 3)])
@pytest.mark.parametrize("margin", [0.4, 3.3, 8.0])
def test_a_sphere_with_a_margin_is_a_bigger_sphere(radius: float, spacing: float, margin: float) -> None:
    grown = expand(sphere(radius, spacing, 0.3), Margin.uniform(margin), FINE, "tapered")
    distance = np.linalg.norm(np.concatenate(grown), axis=1) - (radius + margin)
    assert np.abs(distance).max() < 0.1
    assert np.abs(distance).mean() < 0.02
    assert volume_cm3(grown, "tapered") == pytest.approx(sphere_volume_cm3(radius + margin), rel=0.008)


@pytest.mark.parametrize(("radius", "spacing", "margin"), [(12, 1, 4.0), (20, 3, 7.5), (20, 2, 0.4)])
def test_a_sphere_less_a_margin_is_a_smaller_sphere(radius: float, spacing: float, margin: float) -> None:
    shrunk = contract(sphere(radius, spacing, 0.3), Margin.uniform(margin), FINE, "tapered")
    distance = np.linalg.norm(np.concatenate(shrunk), axis=1) - (radius - margin)
    assert np.abs(distance).max() < 0.15
    assert volume_cm3(shrunk, "tapered") == pytest.approx(sphere_volume_cm3(radius - margin), rel=0.008)


def support(grown: list[np.ndarray], direction: np.ndarray) -> float:
    return float((np.concatenate(grown) @ direction).max())


@pytest.mark.parametrize(
    "margin",
    [Margin.radial(10, 4), Margin.radial(4, 10), Margin(4, 7, 5, 8, 9, 6), Margin(2, 6, 6, 2, 3, 3)],
)
def test_a_sphere_reaches_in_every_direction_as_far_as_its_radius_and_the_ellipsoid_octant(margin: Margin) -> None:
    # The support function of a Minkowski sum is the sum of the support functions.
    grown = expand(sphere(12, 1, 0.3), margin, FINE, "tapered")
    rng = np.random.default_rng(3)
    directions = np.vstack([np.eye(3), -np.eye(3), rng.normal(size=(60, 3))])
    for u in directions / np.linalg.norm(directions, axis=1, keepdims=True):
        semi = (
            margin.left_mm if u[0] > 0 else margin.right_mm,
            margin.posterior_mm if u[1] > 0 else margin.anterior_mm,
            margin.superior_mm if u[2] > 0 else margin.inferior_mm,
        )
        expected = 12 + np.linalg.norm(u * semi)
        # Planes every 0.5 mm: the highest point along z may lie between two of them.
        assert -0.1 - 0.5 * u[2] ** 2 < support(grown, u) - expected < 0.1


@pytest.mark.parametrize(
    ("margin", "low", "high"),
    [
        (Margin(8, 0, 0, 0, 0, 0), (0, 0), (8, 0)),
        (Margin(0, 5, 3, 0, 0, 0), (-5, -3), (0, 0)),
        (Margin(0, 0, 0, 0, 6, 6), (0, 0), (0, 0)),
    ],
)
def test_a_margin_to_one_side_only_moves_that_side(
    margin: Margin, low: tuple[float, float], high: tuple[float, float]
) -> None:
    contours = [ring(12, z) for z in np.arange(0, 31, 3.0)]
    grown = np.concatenate(expand(contours, margin, np.arange(-12, 42, 3.0)))
    # The size of the lattice shows where the margin is 0 beside one that is not.
    tolerance = 0.3 if max(margin.in_plane_mm) > 0 else 0.02
    np.testing.assert_allclose(grown[:, :2].min(axis=0), np.array([-12, -12]) + low, atol=tolerance)
    np.testing.assert_allclose(grown[:, :2].max(axis=0), np.array([12, 12]) + high, atol=tolerance)


def test_a_margin_along_the_patient_only_reaches_planes_within_it() -> None:
    contours = [ring(12, z) for z in np.arange(0, 31, 3.0)]
    grown = expand(contours, Margin(0, 0, 0, 0, 7, 2), np.arange(-12, 60, 1.0), "none")
    assert min(c[0, 2] for c in grown) == -1
    assert max(c[0, 2] for c in grown) == 36


@settings(max_examples=5)
@given(blobs(), margins, st.floats(1.05, 1.5))
def test_a_bigger_margin_contains_the_smaller_and_both_the_volume(
    contours: list[np.ndarray], margin: Margin, factor: float
) -> None:
    planes = planes_of(contours)
    bigger = Margin(*(factor * m for m in astuple(margin)))
    small, big = expand(contours, margin, planes), expand(contours, bigger, planes)
    assert excess(np.concatenate(small), big) < 0.05
    outer = [c for c in contours if area_mm2(c) > 30]
    assert excess(np.concatenate(outer), small) < 0.02


@settings(max_examples=6)
@given(blobs(hole=False), st.floats(1, 4), st.floats(1, 4))
def test_two_margins_in_turn_are_one_in_the_middle_of_a_tube(
    contours: list[np.ndarray], first: float, second: float
) -> None:
    once = expand(contours, Margin.uniform(first + second), FINE, "none")
    middle = expand(contours, Margin.uniform(first), FINE, "none")
    twice = expand(middle, Margin.uniform(second), FINE, "none")
    z = np.median(planes_of(contours))
    nearest = FINE[np.argmin(np.abs(FINE - z))]
    a, b = ([c for c in cs if c[0, 2] == nearest] for cs in (once, twice))
    assert excess(np.concatenate(a), b) < 0.06
    assert excess(np.concatenate(b), a) < 0.06


def test_two_margins_in_turn_make_a_sphere_of_both() -> None:
    twice = sphere(10, 2, 0.3)
    for margin in (3.0, 4.5):
        twice = expand(twice, Margin.uniform(margin), FINE, "tapered")
    distance = np.linalg.norm(np.concatenate(twice), axis=1) - 17.5
    assert np.abs(distance).max() < 0.12
    assert volume_cm3(twice, "tapered") == pytest.approx(sphere_volume_cm3(17.5), rel=0.006)


@settings(max_examples=4)
@given(blobs(), margins, st.tuples(*[st.floats(-1, 1)] * 3))
def test_moving_a_volume_by_less_than_a_voxel_moves_its_margin_by_as_much(
    contours: list[np.ndarray], margin: Margin, by: tuple[float, float, float]
) -> None:
    planes = np.arange(-3.0, 12, 3.0)
    here, there = expand(contours, margin, planes), expand(moved(contours, by), margin, planes + by[2])
    assert [c[0, 2] for c in moved(here, by)] == pytest.approx([c[0, 2] for c in there])
    for z in planes[1:4]:
        a = [c for c in moved(here, by) if abs(c[0, 2] - z - by[2]) < 1e-6]
        b = [c[:, :] * [1, 1, 0] + [0, 0, a[0][0, 2]] for c in there if abs(c[0, 2] - z - by[2]) < 1e-6] if a else []
        if a:
            assert excess(np.concatenate(a), b) < 0.06
            assert excess(np.concatenate(b), a) < 0.06


@settings(max_examples=6)
@given(blobs(), st.floats(0.5, 3))
def test_contracting_is_expanding_what_lies_around(contours: list[np.ndarray], margin: float) -> None:
    planes = planes_of(contours)
    low, high = np.concatenate(contours).min(axis=0) - 15, np.concatenate(contours).max(axis=0) + 15
    around = [box((low[0], high[0]), (low[1], high[1]), z) for z in planes] + contours
    flat = Margin.radial(margin, 0)
    shrunk = contract(contours, flat, planes)
    outside = expand(around, flat, planes)
    frame = volume_cm3([c for c in outside if np.ptp(c[:, 0]) > high[0] - low[0] - 1])
    holes = volume_cm3([c for c in outside if np.ptp(c[:, 0]) > high[0] - low[0] - 1]) - volume_cm3(outside)
    assert frame > holes
    assert volume_cm3(shrunk) == pytest.approx(holes, rel=0.01, abs=0.02)


def test_a_hole_is_narrowed_by_the_margin_and_closed_by_one_beyond_its_radius() -> None:
    planes = np.arange(0, 31, 3.0)
    tube = [c for z in planes for c in (ring(12, z), ring(5, z))]
    narrow = expand(tube, Margin.radial(2, 0), planes)
    assert sorted({round(np.ptp(c[:, 0]) / 2, 1) for c in narrow}) == [3.0, 14.0]
    assert len(expand(tube, Margin.radial(5.5, 0), planes)) == len(planes)
    keyed = [keyhole(ring(12, z), ring(5, z)) for z in planes]
    assert volume_cm3(expand(keyed, Margin.radial(2, 0), planes)) == pytest.approx(volume_cm3(narrow), rel=1e-6)


def test_two_parts_that_grow_into_each_other_become_one() -> None:
    planes = np.arange(0, 31, 3.0)
    rods = [ring(5, z, (x, 0.0)) for z in planes for x in (-7, 7)]
    assert len(expand(rods, Margin.radial(1.9, 0), planes)) == 2 * len(planes)
    assert len(expand(rods, Margin.radial(2.2, 0), planes)) == len(planes)


def test_contracting_by_more_than_the_radius_leaves_nothing() -> None:
    assert contract(sphere(8, 2, 0.0), Margin.uniform(8.5), FINE) == ()


def test_contracting_moves_each_side_by_its_own_margin() -> None:
    planes = np.arange(-30, 31, 2.0)
    contours = [box((-20, 20), (-15, 15), z) for z in planes]
    shrunk = np.concatenate(contract(contours, Margin(4, 2, 3, 5, 6, 8), planes, "none"))
    np.testing.assert_allclose(shrunk.min(axis=0), [-18, -12, -20], atol=0.1)
    np.testing.assert_allclose(shrunk.max(axis=0), [16, 10, 22], atol=0.1)


def test_a_negative_margin_is_refused_by_name() -> None:
    with pytest.raises(GeometryError, match="anterior_mm = -1"):
        Margin(0, 0, -1, 0, 0, 0)


# --- boolean operations -----------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(blobs(), blobs(), st.tuples(st.floats(-12, 12), st.floats(-12, 12), st.floats(-4, 4)))
def test_volumes_of_union_intersection_and_difference_add_up(
    a: list[np.ndarray], b: list[np.ndarray], by: tuple[float, float, float]
) -> None:
    b = moved(b, by)
    planes = np.arange(-12.0, 40, 1.0)
    va, vb = (volume_cm3(unite(c, [], planes)) for c in (a, b))
    both = volume_cm3(intersect(a, b, planes))
    tolerance = 0.004 * (va + vb)
    assert volume_cm3(unite(a, b, planes)) == pytest.approx(va + vb - both, abs=tolerance)
    assert volume_cm3(subtract(a, b, planes)) == pytest.approx(va - both, abs=tolerance)


def test_overlapping_boxes_give_the_areas_of_plane_geometry() -> None:
    planes = np.arange(0, 13, 3.0)
    a, b = [box((0, 20), (0, 20), z) for z in planes], [box((15, 40), (10, 40), z) for z in planes]
    for operation, area in ((unite, 400 + 750 - 50), (intersect, 50), (subtract, 350)):
        got = operation(a, b, planes)
        assert len(got) == len(planes)
        assert area_mm2(got[2]) == pytest.approx(area, abs=1.0)


def test_what_is_taken_from_the_middle_leaves_a_hole() -> None:
    planes = np.arange(0, 13, 3.0)
    shell = subtract([ring(15, z) for z in planes], [ring(6, z) for z in planes], planes)
    assert len(shell) == 2 * len(planes)
    assert volume_cm3(shell) == pytest.approx(np.pi * (225 - 36) * 15 / 1000, rel=0.002)


def test_volumes_that_share_an_edge_leave_no_slivers() -> None:
    planes = np.arange(0, 13, 3.0)
    a, b = [box((0, 20), (0, 20), z) for z in planes], [box((0, 10), (0, 20), z) for z in planes]
    rest = subtract(a, b, planes)
    assert len(rest) == len(planes)
    assert volume_cm3(rest) == pytest.approx(200 * 15 / 1000, rel=0.005)
    assert subtract(a, a, planes) == ()
    assert volume_cm3(intersect(a, a, planes)) == pytest.approx(volume_cm3(a), rel=0.002)


def test_volumes_apart_are_returned_as_they_are() -> None:
    planes = np.arange(0, 13, 3.0)
    a, b = [ring(5, z) for z in planes], [ring(4, z, (30, 0)) for z in planes]
    assert intersect(a, b, planes) == ()
    assert volume_cm3(subtract(a, b, planes)) == pytest.approx(volume_cm3(a), rel=1e-12)
    assert volume_cm3(unite(a, b, planes)) == pytest.approx(volume_cm3(a) + volume_cm3(b), rel=1e-12)


def test_a_result_of_margins_fills_voxels_like_any_contours() -> None:
    grown = expand(sphere(10, 2, 0.0), Margin.uniform(5), np.arange(-20, 21, 2.0), "tapered")
    grid = Grid.axial((22, 40, 40), (2, 1, 1), (-19.5, -19.5, -21), "1.2.3")
    assert partial_volume(grown, grid).volume_cm3(grid) == pytest.approx(volume_cm3(grown), rel=0.002)
