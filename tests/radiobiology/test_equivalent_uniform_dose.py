"""gEUD: laws, derivative and worked examples."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tailort.errors import InputError
from tailort.radiobiology import eqd2, geud, geud_gradient

positive = arrays(np.float64, 6, elements=st.floats(1.0, 80.0))
shares = arrays(np.float64, 6, elements=st.floats(0.01, 1.0))
exponents = st.sampled_from([-1000.0, -20.0, -10.0, -1.0, 0.5, 1.0, 3.0, 13.0, 20.0, 1000.0])


@given(st.floats(0.0, 100.0), shares, exponents)
def test_geud_of_a_uniform_dose_is_that_dose(dose, volumes, a):
    assert geud(np.full(6, dose), volumes, a) == pytest.approx(dose, rel=1e-9)


@given(positive, shares)
def test_geud_with_a_1_is_the_mean(dose, volumes):
    assert geud(dose, volumes, 1.0) == pytest.approx(np.average(dose, weights=volumes), rel=1e-12)


@given(positive, shares)
def test_geud_rises_with_a_from_minimum_to_maximum(dose, volumes):
    values = [geud(dose, volumes, a) for a in (-1e6, -10.0, -1.0, 0.5, 1.0, 2.0, 10.0, 1e6)]
    assert values == sorted(values) or np.ptp(values) < 1e-9 or np.diff(values).min() > -1e-9
    assert values[0] == pytest.approx(dose.min(), rel=1e-4)
    assert values[-1] == pytest.approx(dose.max(), rel=1e-4)


@given(positive, shares, exponents, st.floats(0.01, 100.0))
def test_geud_scales_with_dose_and_not_with_the_unit_of_volume(dose, volumes, a, factor):
    value = geud(dose, volumes, a)
    assert geud(factor * dose, volumes, a) == pytest.approx(factor * value, rel=1e-9)
    assert geud(dose, factor * volumes, a) == pytest.approx(value, rel=1e-9)


@given(positive, shares, st.sampled_from([-20.0, -10.0, -1.0, 0.5, 1.0, 3.0, 13.0]))
def test_the_gradient_is_the_limit_of_differences(dose, volumes, a):
    gradient = geud_gradient(dose, volumes, a)
    h = 1e-5
    for n in range(6):
        step = np.zeros(6)
        step[n] = h
        difference = (geud(dose + step, volumes, a) - geud(dose - step, volumes, a)) / (2 * h)
        assert gradient[n] == pytest.approx(difference, rel=1e-5, abs=1e-7)


@given(positive, shares, exponents)
def test_the_gradient_obeys_eulers_theorem_of_a_function_of_degree_one(dose, volumes, a):
    assert geud_gradient(dose, volumes, a) @ dose == pytest.approx(geud(dose, volumes, a), rel=1e-6)


@pytest.mark.parametrize("a", [-1.0, -10.0, -500.0])
def test_a_target_with_any_zero_dose_has_geud_0(a):
    assert geud([0.0, 60.0, 60.0], [1e-6, 1.0, 1.0], a) == 0.0


@pytest.mark.parametrize("a", [-1.0, -10.0])
def test_at_geud_0_the_gradient_is_the_slope_of_all_zero_doses_rising_together(a):
    volumes = np.array([0.2, 0.1, 0.7])
    gradient = geud_gradient([0.0, 0.0, 60.0], volumes, a)
    t = 1e-6
    assert gradient[:2].sum() == pytest.approx(geud([t, t, 60.0], volumes, a) / t, rel=1e-4)
    assert gradient[2] == 0.0


@pytest.mark.parametrize("a", [1.0, 8.0])
def test_without_any_dose_the_gradient_is_that_of_a_uniform_rise(a):
    assert geud([0.0, 0.0], [1.0, 3.0], a) == 0.0
    assert geud_gradient([0.0, 0.0], [1.0, 3.0], a).sum() == pytest.approx(1.0)


@given(positive, shares, exponents)
def test_parts_without_volume_count_for_nothing(dose, volumes, a):
    assume(np.ptp(dose) > 0)
    more = np.append(dose, 0.0), np.append(volumes, 0.0)
    assert geud(*more, a) == pytest.approx(geud(dose, volumes, a), rel=1e-12)
    assert geud_gradient(*more, a)[-1] == 0.0


def test_we_74_target_with_a_cold_tenth():
    assert geud([50.0, 60.0], [0.1, 0.9], -10) == pytest.approx(57.54, abs=0.005)


def test_we_31_bins_are_converted_before_the_geud():
    doses, volumes = np.array([10.0, 30.0, 60.0]), np.array([0.5, 0.3, 0.2])
    bins = eqd2(doses, 30, 3.0)
    np.testing.assert_allclose(bins, [6.6667, 24.0, 60.0], atol=5e-5)
    assert geud(bins, volumes, 1.0) == pytest.approx(22.53, abs=0.005)
    assert float(eqd2(geud(doses, volumes, 1.0), 30, 3.0)) == pytest.approx(20.11, abs=0.005)


@pytest.mark.parametrize(
    ("dose", "volumes", "a", "names"),
    [([1.0], [1.0], 0, "not 0"), ([1.0], [1.0], np.nan, "finite"), ([-1.0], [1.0], 1, "negative"),
     ([1.0], [0.0], 1, "no volume"), ([1.0, 2.0], [1.0], 1, "one volume"), ([np.nan], [1.0], 1, "finite")],
)  # fmt: skip
def test_what_has_no_geud_is_refused(dose, volumes, a, names):
    with pytest.raises(InputError, match=names):
        geud(dose, volumes, a)
