"""Painted doses stay in their range, rise with the uptake, and keep a mean that is asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import GeometryError, InputError
from tailort.targets.painting import (
    FWHM,
    Range,
    Shape,
    by_numbers,
    extended,
    line,
    percentile_in,
    power,
    sigmoid,
    smoothed,
    step,
    with_mean,
    without_blur,
)

WITHIN = Range(54.0, 72.0, 2.0, 10.0)
SHAPES: dict[str, Shape] = {
    "line": line, "square": power(2.0), "root": power(0.5), "sigmoid": sigmoid(2.0), "step": step(0.4),
}  # fmt: skip
uptakes = st.lists(st.floats(-5.0, 30.0), min_size=1, max_size=40).map(np.array)


def test_the_worked_example_of_linear_painting() -> None:
    """WE-73."""
    asked = by_numbers(np.array([2.0, 7.0, 10.0, 16.0, 20.0]), Range(60.0, 72.0, 4.0, 16.0))
    assert asked.tolist() == [60.0, 63.0, 66.0, 72.0, 72.0]


@pytest.mark.parametrize("name", SHAPES)
@given(uptake=uptakes)
def test_dose_stays_in_its_range_and_never_falls_with_the_uptake(name: str, uptake: NDArray[np.float64]) -> None:
    dose = by_numbers(np.sort(uptake), WITHIN, SHAPES[name])
    assert dose.min() >= 54.0
    assert dose.max() <= 72.0
    assert (np.diff(dose) >= 0).all()


@pytest.mark.parametrize("name", SHAPES)
def test_the_ends_of_the_range_are_given_at_the_two_uptakes(name: str) -> None:
    assert by_numbers(np.array([2.0, 10.0]), WITHIN, SHAPES[name]) == pytest.approx([54.0, 72.0])


def test_a_sigmoid_is_as_much_steeper_than_the_line_in_the_middle_as_is_asked() -> None:
    near = np.array([6.0 - 1e-5, 6.0 + 1e-5])
    line_rise = float(np.diff(by_numbers(near, WITHIN))[0])
    # Both ends are stretched to 0 and 1, which makes it steeper by 1 / (1 - 2 end).
    end = 1.0 / (1.0 + np.exp(6.0))
    assert float(np.diff(by_numbers(near, WITHIN, sigmoid(3.0)))[0]) / line_rise == pytest.approx(
        3.0 / (1.0 - 2.0 * end), rel=1e-4
    )


@given(uptake=uptakes, mean_gy=st.floats(54.0, 72.0))
def test_redistribution_keeps_the_mean_the_range_and_the_order(uptake: NDArray[np.float64], mean_gy: float) -> None:
    volume = np.linspace(0.2, 1.0, len(uptake))
    before = by_numbers(uptake, WITHIN)
    after = with_mean(before, volume, mean_gy, WITHIN)
    assert float(np.average(after, weights=volume)) == pytest.approx(mean_gy, abs=2e-3)
    assert after.min() >= 54.0
    assert after.max() <= 72.0
    assert (np.diff(after[np.argsort(before)]) >= -1e-9).all()


def test_a_mean_outside_the_range_is_refused() -> None:
    with pytest.raises(InputError, match="80 Gy is outside the range of 54 to 72 Gy"):
        with_mean(np.array([60.0]), np.array([1.0]), 80.0, WITHIN)


@pytest.mark.parametrize("ends", [(72.0, 54.0, 1.0, 2.0), (54.0, 72.0, 2.0, 2.0), (0.0, 72.0, 1.0, 2.0)])
def test_an_impossible_range_is_refused(ends: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="painted"):
        Range(*ends)


def ball(size: int = 21, radius: float = 6.0) -> NDArray[np.bool_]:
    at = np.indices((size, size, size)) - size // 2
    return np.asarray((at**2).sum(axis=0) <= radius**2)


def test_smoothing_inside_leaves_an_even_uptake_even_up_to_the_surface() -> None:
    inside = ball()
    uptake = np.where(inside, 5.0, 100.0)
    assert smoothed(uptake, inside, 6.0, (2.0, 2.0, 2.0))[inside] == pytest.approx(5.0)


def test_smoothing_lowers_noise_by_what_a_gaussian_of_that_width_does() -> None:
    rng = np.random.default_rng(3)
    inside = np.ones((40, 40, 40), dtype=bool)
    fwhm_mm, spacing = 8.0, 2.0
    sigma = fwhm_mm / FWHM / spacing
    noise = rng.normal(0.0, 1.0, inside.shape)
    # White noise: the variance is the sum of the squared weights, along an axis 1 / (2 sigma sqrt(pi)).
    expected = (1.0 / (2.0 * sigma * np.sqrt(np.pi))) ** 1.5
    middle = smoothed(noise, inside, fwhm_mm, (spacing, spacing, spacing))[8:-8, 8:-8, 8:-8]
    assert float(middle.std()) == pytest.approx(expected, rel=0.1)


def seen_by_pet(true: NDArray[np.float64], fwhm_mm: float) -> NDArray[np.float64]:
    found: NDArray[np.float64] = ndimage.gaussian_filter(true, fwhm_mm / FWHM / 2.0)
    return found


def test_an_even_uptake_is_even_again_without_the_blur_up_to_the_surface() -> None:
    inside = ball()
    seen = seen_by_pet(np.where(inside, 8.0, 1.0), 6.0)
    assert smoothed(seen, inside, 8.0, (2.0, 2.0, 2.0))[inside].min() < 6.5
    for smooth_mm in (0.0, 8.0):
        found = without_blur(seen, inside.astype(float), inside, 6.0, smooth_mm, (2.0, 2.0, 2.0))
        assert found[inside] == pytest.approx(8.0, rel=0.02)


def test_without_the_blur_a_hotter_surface_is_seen_to_be_hotter() -> None:
    """The image shows it darker."""
    inside = ball(31, 9.0)
    deep = ndimage.distance_transform_edt(inside, sampling=(2.0, 2.0, 2.0))
    seen = seen_by_pet(np.where(inside, np.where(deep > 6.0, 8.0, 10.0), 1.0), 6.0)
    found = without_blur(seen, inside.astype(float), inside, 6.0, 0.0, (2.0, 2.0, 2.0))
    rim, middle = inside & (deep <= 3.0), inside & (deep > 9.0)
    assert seen[rim].mean() < seen[middle].mean() - 1.0
    assert found[rim].mean() > found[middle].mean() + 1.0


def test_what_blur_has_carried_away_is_raised_fourfold_at_most() -> None:
    inside = np.zeros((21, 21, 21), dtype=bool)
    inside[10, 10, 10] = True
    seen = seen_by_pet(np.where(inside, 8.0, 0.0), 12.0)
    found = without_blur(seen, inside.astype(float), inside, 12.0, 0.0, (2.0, 2.0, 2.0))
    assert 0.0 < found[10, 10, 10] <= 4.0 * seen[10, 10, 10] + 1e-9


def test_an_image_that_shows_nothing_around_is_not_corrected_in_silence() -> None:
    inside = ball()
    seen = np.where(inside, 5.0, np.nan)
    with pytest.raises(GeometryError, match="shows nothing of what lies around"):
        without_blur(seen, inside.astype(float), inside, 6.0, 8.0, (2.0, 2.0, 2.0))


def test_beyond_the_surface_a_point_has_the_dose_of_the_nearest_inside() -> None:
    inside = np.zeros((1, 1, 7), dtype=bool)
    inside[0, 0, 2:5] = True
    dose = np.array([[[0.0, 0.0, 54.0, 60.0, 72.0, 0.0, 0.0]]])
    assert extended(dose, inside, (1.0, 1.0, 1.0))[0, 0].tolist() == [54.0, 54.0, 54.0, 60.0, 72.0, 72.0, 72.0]


def test_an_image_that_ends_inside_the_structure_is_refused() -> None:
    inside = ball()
    uptake = np.ones(inside.shape)
    uptake[10:] = np.nan
    with pytest.raises(GeometryError, match=r"does not cover .* % of the structure"):
        percentile_in(uptake, inside, 95.0)
