"""The solid of a stack of contours: volumes and partial volumes against formulas, and their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solid_shapes import (
    blobs,
    box,
    keyhole,
    lying_cone,
    lying_cone_centre_mm,
    many_holed,
    moved,
    ring,
    slab_of_sphere_cm3,
    sphere,
    sphere_volume_cm3,
)

from tailort.errors import GeometryError
from tailort.geometry import Grid, partial_volume, surface_points, volume_cm3
from tailort.geometry.contours import area_mm2
from tailort.geometry.solid import build_solid, section, sections

FRAME = "1.2.3"


def grid_over(contours: list[np.ndarray], spacing: tuple[float, float, float], offset: float = 0.0) -> Grid:
    points = np.concatenate(contours)
    low, high = points.min(axis=0) - 8 + offset, points.max(axis=0) + 8
    shape = np.ceil((high - low)[::-1] / np.array(spacing)).astype(int) + 1
    return Grid.axial(shape, spacing, low, FRAME)


# --- spheres ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", np.linspace(0, 1, 9)[:-1])
def test_a_tapered_sphere_of_5_mm_with_contours_every_1_mm_has_its_volume_at_every_phase(phase: float) -> None:
    volume = volume_cm3(sphere(5, 1, phase), "tapered")
    assert volume == pytest.approx(sphere_volume_cm3(5), rel=0.001)


@pytest.mark.parametrize("phase", np.linspace(0, 1, 9)[:-1])
def test_a_sphere_of_5_mm_every_1_mm_closed_by_half_slices_is_within_1_4_percent_of_the_sphere(phase: float) -> None:
    # What the rule itself does to a sphere: +1.40 % where the planes end half a distance from the poles.
    error = volume_cm3(sphere(5, 1, phase)) / sphere_volume_cm3(5) - 1
    assert -0.0025 < error < 0.0141
    if abs(phase) < 0.2 or abs(phase - 1) < 0.2:
        assert abs(error) < 0.01


@pytest.mark.parametrize(("radius", "spacing"), [(5, 1), (5, 3), (12, 1), (12, 2), (12, 3)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_sphere_has_the_volume_of_the_solid_that_each_end_cap_closes(
    radius: float, spacing: float, share: float
) -> None:
    contours = sphere(radius, spacing, share * spacing)
    low, high = contours[0][0, 2], contours[-1][0, 2]
    slab = slab_of_sphere_cm3(radius, low, high)
    ends = spacing / 2 * np.pi * ((radius**2 - low**2) + (radius**2 - high**2)) / 1000
    assert volume_cm3(contours, "none") == pytest.approx(slab, rel=0.002)
    assert volume_cm3(contours, "half_slice") == pytest.approx(slab + ends, rel=0.002)
    assert volume_cm3(contours, "tapered") == pytest.approx(sphere_volume_cm3(radius), rel=0.002)


@pytest.mark.parametrize("end_cap", ["half_slice", "none", "tapered"])
@pytest.mark.parametrize("spacing", [(0.4, 0.5, 0.5), (1.0, 1.3, 0.9), (3.0, 3.0, 3.0), (2.5, 4.0, 4.0)])
def test_the_voxels_of_a_sphere_add_up_to_its_volume(end_cap: str, spacing: tuple[float, float, float]) -> None:
    contours = sphere(5, 1, 0.3)
    grid = grid_over(contours, spacing, 0.17)
    assert partial_volume(contours, grid, end_cap).volume_cm3(grid) == pytest.approx(
        volume_cm3(contours, end_cap), rel=0.002
    )


def test_the_voxels_of_a_sphere_are_filled_where_the_sphere_is() -> None:
    contours = sphere(10, 3, 0.7)
    grid = grid_over(contours, (1.0, 1.0, 1.0), 0.3)
    got = partial_volume(contours, grid, "tapered").full()
    fine = 8
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    expected = np.zeros(grid.shape)
    z, y, x = grid.axes_mm()
    for dz in steps:
        for dy in steps:
            for dx in steps:
                inside = (x + dx)[None, None, :] ** 2 + (y + dy)[None, :, None] ** 2 + (z + dz)[
                    :, None, None
                ] ** 2 < 100
                expected += inside / fine**3
    assert np.abs(got - expected).max() < 0.12
    assert np.abs(got - expected).mean() < 5e-4


# --- other solids between their planes ----------------------------------------------------------------------------


def test_a_sheared_cylinder_keeps_its_section_between_the_planes() -> None:
    contours = [ring(4, z, (1.3 * z, -0.4 * z)) for z in np.arange(0, 22, 3.0)]
    solid = build_solid(contours, "none")
    for z, polygons in zip((8.0, 10.5, 13.1), sections(solid, [8.0, 10.5, 13.1]), strict=True):
        (polygon,) = polygons
        radius = np.linalg.norm(polygon - [1.3 * z, -0.4 * z], axis=1)
        assert np.abs(radius - 4).max() < 0.05
    assert volume_cm3(contours, "none") == pytest.approx(np.pi * 16 * 21 / 1000, rel=1e-3)


def test_a_cone_is_a_cone_between_its_planes() -> None:
    contours = [ring(12 - 0.5 * z, z) for z in np.arange(0.0, 22, 3.0)]
    assert volume_cm3(contours, "none") == pytest.approx(np.pi * (12**3 - 1.5**3) / 1.5 / 1000, rel=1e-3)
    (polygon,) = section(build_solid(contours), 10.0)
    assert np.abs(np.linalg.norm(polygon, axis=1) - 7).max() < 0.03


def test_an_ellipsoid_of_revolution_has_its_volume_with_unequal_distances() -> None:
    planes = np.array([-19.0, -17, -14, -12, -8, -5.5, -3, 0, 2, 5, 8, 10, 13, 16, 18.5])
    contours = [ring(10 * np.sqrt(1 - (z / 20) ** 2), z) for z in planes]
    assert volume_cm3(contours, "tapered") == pytest.approx(4 / 3 * np.pi * 10 * 10 * 20 / 1000, rel=0.002)


@pytest.mark.parametrize(("end_cap", "distances"), [("half_slice", 8), ("none", 7), ("tapered", 8)])
def test_a_cylinder_is_as_long_as_its_end_cap_says(end_cap: str, distances: int) -> None:
    contours = [ring(9, 3.0 * k) for k in range(8)]
    assert volume_cm3(contours, end_cap) == pytest.approx(np.pi * 81 * 3 * distances / 1000, rel=0.003)


def test_a_staircase_of_voxels_keeps_the_volume_of_its_voxels() -> None:
    # A bent cord of 4 mm voxels, moved sideways by whole voxels: blending alone would lose several percent.
    x = [0, 0, 4, 4, 4, 8, 4, 0, 0, -4, -4, 0, 0]
    contours = [box((a, a + 12), (0, 8), 3.0 * k) for k, a in enumerate(x)]
    assert volume_cm3(contours) == pytest.approx(len(x) * 96 * 3 / 1000, rel=0.005)


def centre_y_mm(contours: list[np.ndarray], spacing: float) -> float:
    grid = grid_over(contours, (spacing,) * 3, 0.13)
    filled = partial_volume(contours, grid).full().sum(axis=(0, 2), dtype=float)
    return float(filled @ grid.axes_mm()[1] / filled.sum())


@pytest.mark.parametrize("spacing", [1.0, 2.0, 3.0])
def test_a_lying_cone_has_its_centre_on_every_lattice(spacing: float) -> None:
    # Its tip moves by twice the distance of the planes from each to the next.
    contours = lying_cone(spacing)
    centres = [centre_y_mm(contours, step) for step in (0.3, 0.5, 0.7, 1.0)]
    assert centres == pytest.approx([lying_cone_centre_mm(spacing)] * 4, abs=0.02)
    assert np.ptp(centres) < 0.005


@pytest.mark.parametrize("spacing", [2.0, 3.0])
def test_the_base_of_a_lying_cone_stays_where_it_is_between_the_planes(spacing: float) -> None:
    heights = spacing * np.array([0.5, 1.5, 2.4])
    for polygons in sections(build_solid(lying_cone(spacing)), heights, 0.25):
        (polygon,) = polygons
        assert polygon[:, 1].min() == pytest.approx(-12, abs=0.03)


# --- exact areas ----------------------------------------------------------------------------------------------------


@given(st.floats(0, 3), st.floats(4, 9), st.floats(0, 3), st.floats(4, 9))
def test_voxels_of_a_box_are_filled_exactly(x0: float, x1: float, y0: float, y1: float) -> None:
    contours = [box((x0, x1), (y0, y1), z) for z in (2.0, 4.0, 6.0)]
    grid = Grid.axial((10, 10, 10), (1, 1, 1), (0.5, 0.5, 0.5), FRAME)
    edges = np.arange(11.0)

    def share(low: float, high: float) -> np.ndarray:
        return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, 1)

    expected = share(1, 7)[:, None, None] * share(y0, y1)[None, :, None] * share(x0, x1)[None, None, :]
    np.testing.assert_allclose(partial_volume(contours, grid).full(), expected, atol=2e-6)


@settings(max_examples=25)
@given(blobs(), st.tuples(st.floats(0.7, 6), st.floats(0.8, 6), st.floats(0.8, 6)), st.floats(0, 3))
def test_partial_volumes_add_up_to_the_volume_on_any_grid(
    contours: list[np.ndarray], spacing: tuple[float, float, float], offset: float
) -> None:
    grid = grid_over(contours, spacing, offset)
    pv = partial_volume(contours, grid)
    assert pv.volume_cm3(grid) == pytest.approx(volume_cm3(contours), rel=0.003)
    assert pv.fractions.min() >= 0
    assert pv.fractions.max() <= 1


@settings(max_examples=10)
@given(blobs(), st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-2, 2)))
def test_moving_contours_and_grid_together_changes_nothing(
    contours: list[np.ndarray], by: tuple[float, float, float]
) -> None:
    grid = grid_over(contours, (2.0, 1.5, 1.5))
    there = Grid.axial(grid.shape, grid.spacing_mm, grid.origin_mm + np.array(by), FRAME)
    np.testing.assert_allclose(
        partial_volume(moved(contours, by), there).full(), partial_volume(contours, grid).full(), atol=2e-3
    )


@settings(max_examples=10)
@given(blobs(), st.randoms(use_true_random=False))
def test_order_and_sense_of_the_contours_do_not_matter(contours: list[np.ndarray], random) -> None:
    other = [c[::-1] if random.random() < 0.5 else c for c in contours]
    random.shuffle(other)
    grid = grid_over(contours, (2.0, 2.0, 2.0))
    np.testing.assert_allclose(partial_volume(other, grid).full(), partial_volume(contours, grid).full(), atol=1e-5)


def test_indices_and_fractions_are_the_full_array_where_it_is_not_empty() -> None:
    contours = sphere(6, 2, 0.5)
    grid = grid_over(contours, (2, 1.5, 1.0))
    pv = partial_volume(contours, grid)
    where, fractions = pv.indices()
    flat = pv.full().reshape(-1)
    assert where.dtype == np.uint32
    np.testing.assert_array_equal(where, np.flatnonzero(flat))
    np.testing.assert_array_equal(fractions, flat[where])


# --- holes, keyholes, parts, gaps, ends ------------------------------------------------------------------------------


def test_a_tube_is_the_outer_solid_without_the_inner_one_and_its_keyhole_form_is_the_same() -> None:
    planes = np.arange(0, 16, 3.0)
    tube = [c for z in planes for c in (ring(10 + 0.1 * z, z), ring(4, z))]
    keyed = [keyhole(ring(10 + 0.1 * z, z), ring(4, z)) for z in planes]
    expected = volume_cm3(tube[::2]) - volume_cm3(tube[1::2])
    assert volume_cm3(tube) == pytest.approx(expected, rel=1e-4)
    assert volume_cm3(keyed) == pytest.approx(expected, rel=1e-4)
    grid = grid_over(tube, (1.5, 1, 1))
    np.testing.assert_allclose(partial_volume(keyed, grid).full(), partial_volume(tube, grid).full(), atol=1e-5)


def test_an_island_in_a_hole_counts() -> None:
    planes = np.arange(0, 9, 2.0)
    contours = [ring(r, z) for z in planes for r in (12, 8, 3)]
    assert volume_cm3(contours) == pytest.approx(np.pi * (144 - 64 + 9) * 10 / 1000, rel=1e-6)


def test_a_hole_in_one_slice_only_is_as_high_as_the_slice() -> None:
    contours = [ring(12, 3.0 * k) for k in range(7)] + [ring(4, 9.0)]
    expected = np.pi * (144 * 21 - 16 * 3) / 1000
    assert volume_cm3(contours) == pytest.approx(expected, rel=1e-4)
    grid = grid_over(contours, (1, 1, 1))
    assert partial_volume(contours, grid).volume_cm3(grid) == pytest.approx(expected, rel=1e-3)
    (whole,) = section(build_solid(contours), 7.3)
    assert area_mm2(whole) == pytest.approx(np.pi * 144, rel=2e-3)
    assert len(section(build_solid(contours), 7.6)) == 2


def test_a_hole_that_ends_where_the_edge_recedes_is_taken_off_once() -> None:
    # A waist with a hole by its edge, over a bridged gap: half-way the section is narrower than the hole is far out.
    waist = [ring(20, 0.0), ring(14, 3.0), ring(14, 12.0), ring(20, 15.0)]
    hole = ring(2, 3.0, (11.5, 0))
    contours = [*waist, hole]
    loss = volume_cm3(waist) - volume_cm3(contours)
    assert 0 < loss < 0.95 * np.pi * 4 * 6 / 1000
    for step in (0.7, 1.5, 3.0):
        grid = grid_over(contours, (step,) * 3)
        assert partial_volume(contours, grid).volume_cm3(grid) == pytest.approx(volume_cm3(contours), rel=0.0008)


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_voxels_of_a_shape_with_many_holes_add_up_to_its_volume(seed: int) -> None:
    contours = many_holed(np.random.default_rng(seed))
    for step in (0.8, 2.0):
        grid = grid_over(contours, (step,) * 3)
        assert partial_volume(contours, grid).volume_cm3(grid) == pytest.approx(volume_cm3(contours), rel=0.002)


def test_parts_far_apart_are_not_joined() -> None:
    # One rod ends where another one starts, far to the side.
    contours = [ring(5, 3.0 * k, (0, 0)) for k in range(4)] + [ring(5, 3.0 * k, (60, 0)) for k in range(4, 8)]
    assert volume_cm3(contours) == pytest.approx(np.pi * 25 * 24 / 1000, rel=1e-6)
    assert volume_cm3(contours, "none") == pytest.approx(np.pi * 25 * 18 / 1000, rel=1e-6)
    solid = build_solid(contours)
    (below,), (above,) = sections(solid, [10.4, 10.6])
    assert below[:, 0].max() < 10
    assert above[:, 0].min() > 50


def test_a_part_that_splits_in_two_keeps_its_area_between() -> None:
    contours = [box((-10, 10), (-4, 4), 3.0 * k) for k in range(4)]
    contours += [box(x, (-4, 4), 3.0 * k) for k in range(4, 8) for x in ((-10, -2), (2, 10))]
    expected = (160 * 4 + 128 * 4) * 3 / 1000
    assert volume_cm3(contours) == pytest.approx(expected, rel=0.005)
    grid = grid_over(contours, (1, 1, 1))
    assert partial_volume(contours, grid).volume_cm3(grid) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("left_out", "joined"), [(1, True), (2, True), (3, False), (6, False)])
def test_up_to_two_slices_left_out_are_bridged_and_more_are_a_gap(left_out: int, joined: bool) -> None:
    ks = [*range(6), *range(6 + left_out, 12 + left_out)]
    contours = [ring(8, 3.0 * k) for k in ks]
    slices = 12 + left_out if joined else 12
    assert volume_cm3(contours) == pytest.approx(np.pi * 64 * 3 * slices / 1000, rel=1e-6)


def test_a_single_slice_needs_its_thickness() -> None:
    with pytest.raises(GeometryError, match=r"one plane only \(z = 4 mm\).*single_slice_thickness_mm"):
        volume_cm3([ring(8, 4.0)])
    assert volume_cm3([ring(8, 4.0)], single_slice_thickness_mm=3) == pytest.approx(np.pi * 64 * 3 / 1000, rel=1e-9)
    assert volume_cm3([ring(8, 4.0)], "none", 3) == 0


def test_nothing_has_no_volume() -> None:
    grid = Grid.axial((3, 3, 3), (1, 1, 1), (0, 0, 0), FRAME)
    assert volume_cm3([]) == 0
    assert partial_volume([], grid).full().sum() == 0
    assert len(partial_volume([], grid).indices()[0]) == 0
    assert surface_points([]).shape == (0, 3)


def test_an_unknown_end_cap_is_refused_with_the_known_ones() -> None:
    with pytest.raises(GeometryError, match="known are half_slice, none, tapered"):
        volume_cm3([ring(3, 0), ring(3, 1)], "round")


def test_an_oblique_grid_is_refused() -> None:
    affine = np.eye(4)
    with pytest.raises(GeometryError, match="axes"):
        partial_volume([ring(3, 0), ring(3, 1)], Grid((4, 4, 4), affine, FRAME))


# --- the rim of the grid ----------------------------------------------------------------------------------------------


def test_what_sticks_out_of_the_grid_is_left_off_and_the_rest_is_unchanged() -> None:
    contours = sphere(10, 2, 0.3)
    whole = grid_over(contours, (2, 1.5, 1.5))
    part = whole.crop((4, 5, 6), (9, 14, 20))
    inside = partial_volume(contours, whole).full()[4:9, 5:14, 6:20]
    np.testing.assert_allclose(partial_volume(contours, part).full(), inside, atol=1e-5)


def test_a_solid_beside_the_grid_fills_nothing() -> None:
    grid = Grid.axial((5, 5, 5), (1, 1, 1), (100, 100, 100), FRAME)
    assert partial_volume(sphere(5, 1, 0), grid).full().sum() == 0


# --- surface points ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [0.5, 1.0])
def test_surface_points_of_a_tapered_sphere_lie_on_it_and_leave_no_place_bare(spacing: float) -> None:
    points = surface_points(sphere(5, 1, 0.4), "tapered", spacing)
    assert np.abs(np.linalg.norm(points, axis=1) - 5).max() < 0.06
    rng = np.random.default_rng(0)
    places = rng.normal(size=(300, 3))
    places *= 5 / np.linalg.norm(places, axis=1, keepdims=True)
    nearest = np.sqrt(((places[:, None] - points[None]) ** 2).sum(-1)).min(axis=1)
    assert nearest.max() < 1.5 * spacing


def test_surface_points_reach_the_half_slice_faces_and_cover_them() -> None:
    points = surface_points([ring(5, z) for z in (0.0, 2.0, 4.0)], "half_slice", 0.5)
    assert points[:, 2].min() == pytest.approx(-1)
    assert points[:, 2].max() == pytest.approx(5)
    top = points[points[:, 2] > 4.999]
    assert np.linalg.norm(top[:, :2], axis=1).min() < 0.5


@settings(max_examples=10)
@given(blobs(hole=False))
def test_a_linear_field_is_greatest_on_the_surface_points(contours: list[np.ndarray]) -> None:
    points = surface_points(contours, "none", 1.0)
    for direction in np.eye(3):
        assert (points @ direction).max() >= (np.concatenate(contours) @ direction).max() - 1e-9
