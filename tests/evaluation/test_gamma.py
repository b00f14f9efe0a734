"""Gamma: laws, and answers known on paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError
from tailort.evaluation.gamma import GammaCriterion, gamma
from tailort.geometry import Grid, Image
from tailort.patient import Dose


def dose(values: np.ndarray, spacing: tuple[float, float, float] = (2.5, 2.5, 2.5), origin=(0.0, 0.0, 0.0)) -> Dose:  # type: ignore[no-untyped-def, type-arg]
    grid = Grid.axial(values.shape, spacing, origin, "frame")
    return Dose(Image(grid, values.astype(np.float32), "Gy"), "physical", "fraction", 1, None, "test")


def bumps(seed: int, shape: tuple[int, int, int] = (8, 12, 10)) -> np.ndarray:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    k, j, i = np.indices(shape)
    centre = rng.uniform(3, 6, 3)
    return 2.0 * np.exp(-((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2) / 18.0)


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_dose_agrees_with_itself(seed: int, local: bool) -> None:
    found = gamma(dose(bumps(seed)), dose(bumps(seed)), GammaCriterion(2.0, 2.0, local))
    assert np.nanmax(found.image.values) == pytest.approx(0.0, abs=1e-6)
    assert found.pass_percent == 100.0


@given(st.floats(0.2, 1.9), st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_shift_across_a_linear_gradient_is_what_is_nearer_in_the_space_of_both(shift: float, local: bool) -> None:
    """D = g x against g (x - s): the distance of parallel lines, s / sqrt(d^2 + (D/g)^2)."""
    x = np.arange(30) * 2.5
    gradient, offset = 0.02, 1.0
    line = np.broadcast_to(offset + gradient * x, (6, 6, 30))
    moved = np.broadcast_to(offset + gradient * (x - shift), (6, 6, 30))
    criterion = GammaCriterion(3.0, 2.0, local)
    found = gamma(dose(line), dose(moved), criterion).image.values[3, 3, 10:20]
    allowed = 0.03 * (line[3, 3, 10:20] if local else line.max())
    # |D_e - D_r| = g |t - s| at the place t away: minimum of t^2/d^2 + g^2 (t - s)^2 / a^2.
    expected = (gradient * shift / allowed) / np.sqrt(1 + (gradient * 2.0 / allowed) ** 2)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_an_even_dose_that_is_too_high_by_the_criterion_has_gamma_one() -> None:
    even = np.full((5, 6, 7), 2.0)
    found = gamma(dose(even), dose(even * 1.03), GammaCriterion(3.0, 2.0))
    np.testing.assert_allclose(found.image.values, 1.0, atol=1e-4)
    assert gamma(dose(even), dose(even * 1.0301), GammaCriterion(3.0, 2.0)).pass_percent == 0.0


def test_a_step_moved_by_the_distance_passes_and_by_more_does_not() -> None:
    step = np.where(np.arange(40) < 20, 1.0, 3.0) + np.zeros((6, 6, 1))
    for moved, passes in ((1, True), (4, False)):
        other = np.where(np.arange(40) < 20 + moved, 1.0, 3.0) + np.zeros((6, 6, 1))
        found = gamma(
            dose(step, (2.0, 2.0, 1.0)), dose(other, (2.0, 2.0, 1.0)), GammaCriterion(1.0, 1.2, threshold_percent=0.0)
        ).image.values[3, 3]
        assert (np.nanmax(found) <= 1.0) == passes


@given(st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_wider_criteria_agree_more_often(seed: int) -> None:
    one = bumps(seed)
    other = one + 0.08 * bumps(seed + 1) - 0.03
    narrow, more, farther = (
        gamma(dose(one), dose(other), GammaCriterion(*criterion)) for criterion in ((2.0, 2.0), (3.0, 2.0), (2.0, 3.0))
    )
    # The lattice follows the distance, so single points may differ by a little.
    assert more.pass_percent >= narrow.pass_percent - 0.5
    assert farther.pass_percent >= narrow.pass_percent - 0.5
    assert max(more.mean, farther.mean) <= narrow.mean + 1e-3


def test_doses_on_different_grids_are_compared_where_they_lie() -> None:
    k, j, i = np.indices((12, 12, 12)) * 2.0
    plane = 1.0 + 0.01 * i + 0.02 * j + 0.005 * k
    k, j, i = np.indices((9, 9, 9)) * 2.5
    finer = 1.0 + 0.01 * (i + 1.0) + 0.02 * (j + 0.5) + 0.005 * k
    found = gamma(dose(finer, (2.5, 2.5, 2.5), (1.0, 0.5, 0.0)), dose(plane, (2.0, 2.0, 2.0)), GammaCriterion(1.0, 1.0))
    inner = found.image.values[:8, :8, :8]
    np.testing.assert_allclose(inner, 0.0, atol=1e-4)


def test_points_below_the_threshold_are_not_judged() -> None:
    values = np.full((4, 4, 4), 0.05)
    values[2, 2, 2] = 1.0
    found = gamma(dose(values), dose(values), GammaCriterion(3.0, 2.0))
    assert found.points == 1


def test_doses_of_unlike_quantity_are_refused() -> None:
    one = dose(np.ones((3, 3, 3)))
    with pytest.raises(InputError, match="one quantity"):
        gamma(one, one.per_course(), GammaCriterion(3.0, 2.0))
    with pytest.raises(GeometryError, match="0 everywhere"):
        gamma(dose(np.zeros((3, 3, 3))), one, GammaCriterion(3.0, 2.0))
    with pytest.raises(InputError, match="above 0"):
        GammaCriterion(0.0, 2.0)
