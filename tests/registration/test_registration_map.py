"""Laws of a registration as a map of points and of images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tailort.errors import GeometryError
from tailort.geometry import Grid, Image, Transform, resample
from tailort.registration import Field, Registration

A, B, C = "1.2.1", "1.2.2", "1.2.3"
GRID = Grid.axial((24, 26, 28), (4.0, 3.5, 3.0), (-42.0, -45.0, -46.0), A)
angles = st.tuples(*[st.floats(-40, 40)] * 3)
shifts = st.tuples(*[st.floats(-200, 200)] * 3)
POINTS = np.random.default_rng(3).uniform(-30, 30, (40, 3))


def turned(angle: tuple[float, ...], shift: tuple[float, ...], to: tuple[str, str] = (A, B)) -> Transform:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angle, degrees=True).as_matrix()
    affine[:3, 3] = shift
    return Transform(*to, affine)


def waves(points: np.ndarray, size_mm: float = 4.0) -> np.ndarray:
    """Smooth displacement, 0 at the faces of the grid so that nothing enters or leaves."""
    x, y, z = np.moveaxis(points, -1, 0)
    inside = np.prod([np.cos(np.clip(c / 40.0, -1, 1) * np.pi / 2) ** 2 for c in (x, y, z)], axis=0)
    bent = np.stack([np.sin(y / 14 + 1), np.cos(z / 16), np.sin(x / 15)], axis=-1)
    return size_mm * inside[..., None] * bent


def centres(grid: Grid) -> np.ndarray:
    return grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))


def bent(grid: Grid = GRID, size_mm: float = 4.0) -> Field:
    return Field(grid, waves(centres(grid), size_mm).astype(np.float32))


def smooth_dose(points: np.ndarray) -> np.ndarray:
    return 60.0 * np.exp(-0.5 * (points**2).sum(axis=-1) / 11.0**2)


def test_the_identity_maps_every_point_and_every_image_to_itself() -> None:
    same = Registration.identity(A)
    image = Image(GRID, np.random.default_rng(0).random(GRID.shape).astype(np.float32), "Gy")
    np.testing.assert_array_equal(same.map_points(POINTS), POINTS)
    np.testing.assert_allclose(same.map_image(image, GRID, 0.0).values, image.values, atol=1e-6)


@given(angles, shifts)
def test_a_rigid_map_and_its_inverse_leave_points_where_they_are(
    angle: tuple[float, ...], shift: tuple[float, ...]
) -> None:
    there = Registration(turned(angle, shift))
    np.testing.assert_allclose(there.inverse().map_points(there.map_points(POINTS)), POINTS, atol=1e-9)


@given(angles, shifts)
def test_an_image_is_read_at_the_point_that_the_map_names(angle: tuple[float, ...], shift: tuple[float, ...]) -> None:
    there = Registration(turned(angle, shift), bent())
    # A linear image is interpolated exactly, so the mapped image is the linear function of the mapped points.
    wide = Grid.axial((30, 30, 30), (40.0,) * 3, np.array(shift) - 580.0, B)
    slope = np.array([0.3, -0.2, 0.5])
    image = Image(wide, (centres(wide) @ slope).astype(np.float32), "1")
    expected = there.map_points(centres(GRID)) @ slope
    np.testing.assert_allclose(there.map_image(image, GRID, np.nan).values, expected, atol=2e-3)


def test_a_rigid_map_without_turn_on_matching_voxels_is_resampling() -> None:
    image = Image(GRID, np.random.default_rng(0).random(GRID.shape).astype(np.float32), "Gy")
    fine = GRID.with_spacing(2.2)
    shifted = Registration(turned((0, 0, 0), (11.0, -5.0, 3.0), (A, A)))
    moved = Grid(fine.shape, shifted.rigid.affine @ fine.affine, A)
    np.testing.assert_allclose(
        shifted.map_image(image, fine, -1.0).values, resample(image, moved, -1.0).values, atol=1e-6
    )


@given(angles)
def test_a_rigid_map_keeps_the_integral_of_a_smooth_dose(angle: tuple[float, ...]) -> None:
    there = Registration(turned(angle, (120.0, -60.0, 300.0)))
    at = Grid(GRID.shape, turned((0, 0, 0), (120.0, -60.0, 300.0)).affine @ GRID.affine, B)
    dose = Image(at, smooth_dose(centres(GRID)).astype(np.float32), "Gy")
    here = GRID.with_spacing(2.7)
    mapped = there.map_image(dose, here, 0.0)
    before = dose.values.sum(dtype=float) * at.voxel_volume_cm3
    assert mapped.values.sum(dtype=float) * here.voxel_volume_cm3 == pytest.approx(before, rel=0.01)


def test_a_deformable_map_keeps_the_jacobian_weighted_integral_and_not_the_plain_one() -> None:
    points = centres(GRID)
    shrinking = -0.15 * points * np.exp(-0.5 * (points**2).sum(axis=-1, keepdims=True) / 15.0**2)
    there = Registration(turned((5, -8, 10), (20.0, 0.0, -50.0)), Field(GRID, shrinking.astype(np.float32)))
    wide = Grid.axial((50, 50, 50), (2.2,) * 3, (-33.9, -53.9, -103.9), B)
    dose = Image(wide, smooth_dose(centres(wide) - there.rigid.affine[:3, 3]).astype(np.float32), "Gy")
    mapped = there.map_image(dose, GRID, 0.0).values.astype(float)
    before = dose.values.sum(dtype=float) * wide.voxel_volume_cm3
    weighted = (mapped * there.jacobian().values).sum() * GRID.voxel_volume_cm3
    assert weighted == pytest.approx(before, rel=0.01)
    assert mapped.sum() * GRID.voxel_volume_cm3 > 1.1 * before


def test_a_linear_stretch_has_its_determinant_everywhere() -> None:
    stretch = np.array([[0.1, 0.03, 0.0], [0.0, -0.2, 0.05], [0.02, 0.0, 0.3]])
    field = Field(GRID, (centres(GRID) @ stretch.T).astype(np.float32))
    expected = np.linalg.det(np.eye(3) + stretch)
    np.testing.assert_allclose(Registration(turned((0, 0, 0), (0, 0, 0)), field).jacobian().values, expected, rtol=1e-4)
    np.testing.assert_allclose(field.least_determinant(), expected, rtol=1e-4)


def test_a_fold_between_two_centres_shows_in_the_least_determinant() -> None:
    vectors = np.zeros((*GRID.shape, 3), dtype=np.float32)
    vectors[12, 12, 14, 0], vectors[12, 12, 15, 0] = 2.5, -2.5
    assert Field(GRID, vectors).least_determinant().min() < 0


@pytest.mark.parametrize(("first_bends", "second_bends"), [(True, False), (False, True), (True, True)])
def test_one_map_after_another_maps_points_in_that_order(first_bends: bool, second_bends: bool) -> None:
    first = Registration(turned((4, 3, -9), (30.0, -10.0, 5.0)), bent() if first_bends else None)
    middle = first.rigid.apply((0.0, 0.0, 0.0))
    at_b = Grid.axial((40, 40, 40), (3.0,) * 3, middle - 58.5, B)
    second_field = Field(at_b, waves(centres(at_b) - middle, 3.0).astype(np.float32)) if second_bends else None
    second = Registration(turned((-7, 2, 12), (-80.0, 15.0, 60.0), (B, C)), second_field)
    both = first.then(second)
    assert (both.from_frame, both.to_frame) == (A, C)
    # The second displacement is sampled on the grid of the first where both bend.
    np.testing.assert_allclose(
        both.map_points(POINTS), second.map_points(first.map_points(POINTS)), atol=0.15 if first_bends else 1e-4
    )
    assert np.abs(both.map_points(POINTS) - first.rigid.apply(second.rigid.apply(POINTS))).max() > 5.0


def test_maps_follow_each_other_only_through_a_common_frame() -> None:
    with pytest.raises(GeometryError, match="cannot be followed"):
        Registration(turned((0, 0, 0), (0, 0, 0))).then(Registration(turned((0, 0, 0), (0, 0, 0))))


def test_the_inverse_of_a_deformable_map_leads_back() -> None:
    there = Registration(turned((5, -8, 10), (20.0, 0.0, -50.0)), bent(size_mm=6.0))
    grid = Grid(GRID.shape, there.rigid.affine @ GRID.affine, B).with_spacing(3.0)
    back = there.inverse(grid)
    assert np.linalg.norm(back.map_points(there.map_points(POINTS)) - POINTS, axis=1).max() < 0.3
    assert np.linalg.norm(there.map_points(POINTS) - there.rigid.apply(POINTS), axis=1).max() > 3.0


def test_a_map_that_folds_has_no_inverse() -> None:
    steep = Registration(turned((0, 0, 0), (0, 0, 0)), bent(size_mm=60.0))
    assert steep.jacobian().values.min() < 0
    with pytest.raises(GeometryError, match="folds"):
        steep.inverse(Grid(GRID.shape, GRID.affine, B))


def test_frames_units_and_shapes_that_do_not_belong_are_refused() -> None:
    there = Registration(turned((0, 0, 0), (1.0, 0, 0)), bent())
    image = Image(GRID, np.zeros(GRID.shape, dtype=np.float32), "Gy")
    with pytest.raises(GeometryError, match="the image to map"):
        there.map_image(image, GRID, 0.0)
    with pytest.raises(GeometryError, match="displacement belongs to"):
        Registration(turned((0, 0, 0), (0, 0, 0), (B, A)), bent())
    with pytest.raises(GeometryError, match="is in mm"):
        Registration(turned((0, 0, 0), (0, 0, 0)), uncertainty=image)
    with pytest.raises(GeometryError, match="three components"):
        Field(GRID, np.zeros((*GRID.shape, 2), dtype=np.float32))
    with pytest.raises(GeometryError, match="not finite"):
        Field(GRID, np.full((*GRID.shape, 3), np.nan, dtype=np.float32))
    with pytest.raises(GeometryError, match="needs the grid"):
        there.inverse()
    with pytest.raises(GeometryError, match="no Jacobian"):
        Registration.identity(A).jacobian()
