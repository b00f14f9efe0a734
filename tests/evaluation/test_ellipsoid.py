"""Worst case within an ellipsoid around each voxel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse, accumulate
from tailort.evaluation.ellipsoid import within_ellipsoid, worst_cases
from tailort.geometry import Grid, Image
from tailort.patient import Dose

GRID = Grid.axial((14, 16, 18), (3.0, 2.5, 2.0), (-17.0, -18.75, -19.5), "1.2.3")
EVERY = np.arange(GRID.size)
CENTRES = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1).astype(float))
MIDDLE = np.ravel_multi_index((7, 8, 9), GRID.shape)


def dose(values: np.ndarray, fractions: int) -> Dose:
    return Dose(Image(GRID, values.astype(np.float32), "Gy"), "physical", "course", fractions, None, "test")


def course(label: str, *doses: Dose) -> EarlierCourse:
    return EarlierCourse(label, doses, None, "test")


def inner(values: np.ndarray) -> np.ndarray:
    """Those far from the edge of the grid."""
    return values.reshape(GRID.shape)[3:-3, 4:-4, 4:-4]


@pytest.mark.parametrize("half_axes_mm", [(3.0, 3.0, 3.0), (1.2, 4.0, 2.9), (0.7, 0.7, 0.7), (5.0, 0.0, 2.0)])
@pytest.mark.parametrize("slope", [(1.0, 0.0, 0.0), (0.3, -0.8, 1.1), (-0.2, 0.05, 0.6)])
def test_a_dose_that_changes_linearly_has_the_exact_worst_case(
    half_axes_mm: tuple[float, float, float], slope: tuple[float, float, float]
) -> None:
    """Support of an ellipsoid: along a slope g it reaches |A g|, also where no half-axis is a multiple of a voxel."""
    values = (40.0 + CENTRES @ slope).astype(np.float32)
    least, most = within_ellipsoid(values, GRID, EVERY, half_axes_mm)
    reach = np.linalg.norm(np.array(half_axes_mm) * slope)
    np.testing.assert_allclose(inner(most) - inner(values), reach, atol=0.02 * reach + 1e-4)
    np.testing.assert_allclose(inner(values) - inner(least), reach, atol=0.02 * reach + 1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_no_radius_changes_nothing_and_a_larger_one_never_narrows(seed: int) -> None:
    values = np.random.default_rng(seed).random(GRID.shape).astype(np.float32)
    bounds = [within_ellipsoid(values, GRID, EVERY, (r, r, r)) for r in (0.0, 2.0, 2.5, 3.0, 6.1)]
    np.testing.assert_array_equal(bounds[0][0], values.ravel())
    np.testing.assert_array_equal(bounds[0][1], values.ravel())
    # Centres never leave a larger ball; points on its surface lie between them.
    for least, most in bounds[1:]:
        known = np.isfinite(most)
        assert np.all(least[known] <= values.ravel()[known])
        assert np.all(most[known] >= values.ravel()[known])
    smooth = (30.0 + 10.0 * np.sin(CENTRES / 9.0).sum(axis=-1)).astype(np.float32)
    widths = [np.subtract(*within_ellipsoid(smooth, GRID, EVERY, (r, r, r))[::-1]) for r in (1.0, 2.0, 3.0)]
    assert np.all(inner(widths[0]) <= inner(widths[1]) + 1e-5)
    assert np.all(inner(widths[1]) <= inner(widths[2]) + 1e-5)


def test_within_the_organ_it_is_never_wider_than_free_and_the_hot_spot_outside_is_not_seen() -> None:
    values = np.full(GRID.shape, 20.0, dtype=np.float32)
    values[..., 11:] = 60.0
    organ = np.zeros(GRID.shape, dtype=bool)
    organ[..., :11] = True
    free = within_ellipsoid(values, GRID, EVERY, (4.0, 4.0, 4.0))
    kept = within_ellipsoid(values, GRID, EVERY, (4.0, 4.0, 4.0), inside=organ)
    known = np.isfinite(free[1])
    assert np.all(kept[1][known] <= free[1][known])
    assert np.all(kept[0][known] >= free[0][known])
    at = MIDDLE
    assert free[1][at] == 60.0
    # Half a voxel beyond the organ's last centre is still its own; there the dose is half-way to the hot side.
    assert 20.0 <= kept[1][at] <= 40.0


def test_a_voxel_whose_ellipsoid_reaches_unknown_dose_is_unknown_and_others_are_not() -> None:
    values = np.full(GRID.shape, 20.0, dtype=np.float32)
    values[..., 13:] = np.nan
    least, most = within_ellipsoid(values, GRID, EVERY, (3.0, 3.0, 3.0))
    near = np.ravel_multi_index((7, 8, 12), GRID.shape)
    assert np.isnan([least[near], most[near]]).all()
    assert (least[MIDDLE], most[MIDDLE]) == (20.0, 20.0)
    # At the face of the grid what lies beyond is as unknown.
    assert np.isnan(most[np.ravel_multi_index((7, 8, 0), GRID.shape)])


def test_each_voxel_may_have_a_radius_of_its_own() -> None:
    values = (40.0 + CENTRES[..., 0]).astype(np.float32)
    radii = np.linspace(0.0, 4.0, GRID.size)
    _, most = within_ellipsoid(values, GRID, EVERY, radius_mm=radii)
    np.testing.assert_allclose(inner(most) - inner(values), inner(radii), atol=0.02)


def test_phases_of_a_course_share_their_point_and_courses_do_not() -> None:
    """Two phases whose slopes cancel leave nothing to be worse; two courses of them do."""
    left = dose(30.0 + CENTRES[..., 0], 100_000)
    right = dose(30.0 - CENTRES[..., 0], 100_000)
    voxels = np.array([MIDDLE])
    ((_, together),) = worst_cases([course("one", left, right)], (), (3.0,), voxels).values()
    ((low, apart),) = worst_cases([course("one", left), course("two", right)], (), (3.0,), voxels).values()
    assert together[0] == pytest.approx(60.0, abs=0.1)
    assert apart[0] == pytest.approx(66.0, abs=0.1)
    assert low[0] == pytest.approx(54.0, abs=0.1)


def test_todays_dose_stays_where_it_is_and_nothing_is_added_without_a_radius() -> None:
    random = np.random.default_rng(4)
    first = course("one", dose(50.0 * random.random(GRID.shape), 25), dose(9.0 * random.random(GRID.shape), 5))
    own = (dose(24.0 * random.random(GRID.shape), 2),)
    for alpha_beta_gy, (least, most) in worst_cases([first], own, (2.0, 10.0), EVERY, (0.0, 0.0, 0.0)).items():
        expected = accumulate([first], own, "BED", alpha_beta_gy).image.values.ravel()
        np.testing.assert_allclose(least, expected, rtol=1e-5)
        np.testing.assert_allclose(most, expected, rtol=1e-5)
    _, most = worst_cases([course("one", dose(np.full(GRID.shape, 50.0), 25))], own, (2.0,), EVERY)[2.0]
    alone = accumulate((), own, "BED", 2.0).image.values.ravel()
    np.testing.assert_allclose(inner(most), inner(alone) + 100.0, rtol=1e-5)


def test_a_dose_known_by_bounds_has_the_least_of_the_least_and_the_most_of_the_most() -> None:
    known = dose(np.full(GRID.shape, 30.0), 100_000)
    bounded = replace(known, least=known.image.with_values(np.full(GRID.shape, 10.0, dtype=np.float32)))
    ((least, most),) = worst_cases([course("one", bounded)], (), (3.0,), np.array([MIDDLE])).values()
    assert (least[0], most[0]) == (pytest.approx(10.0, abs=0.01), pytest.approx(30.0, abs=0.01))


def test_negative_half_axes_are_refused() -> None:
    with pytest.raises(InputError, match="half-axes"):
        within_ellipsoid(np.zeros(GRID.shape, dtype=np.float32), GRID, EVERY, (-1.0, 3.0, 3.0))
