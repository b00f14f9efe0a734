"""Decay and the standardised uptake value against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.physics.uptake import average_time_s, body_weight_suv, decay_factor

TIMES = st.floats(0.0, 1e5)


def test_a_half_life_leaves_one_half_and_two_a_quarter() -> None:
    assert decay_factor(6586.0, 6586.0) == pytest.approx(0.5, rel=1e-12)
    assert decay_factor(2 * 6586.0, 6586.0) == pytest.approx(0.25, rel=1e-12)


@given(TIMES, TIMES, st.floats(60.0, 1e5))
def test_decay_over_two_intervals_is_decay_over_their_sum(first: float, second: float, half_life: float) -> None:
    both = decay_factor(first, half_life) * decay_factor(second, half_life)
    assert both == pytest.approx(decay_factor(first + second, half_life), rel=1e-9, abs=1e-300)


def test_a_tracer_spread_evenly_has_an_suv_of_one() -> None:
    # 370 MBq in 74 kg of tissue of 1 g/ml are 5000 Bq/ml.
    assert body_weight_suv(np.array([5000.0, 20000.0]), 74.0, 370e6) == pytest.approx([1.0, 4.0], rel=1e-12)


def test_single_precision_stays_single() -> None:
    assert body_weight_suv(np.ones(3, dtype=np.float32), 70.0, 3e8).dtype == np.float32


@pytest.mark.parametrize(("weight", "dose"), [(0.0, 1e8), (70.0, 0.0), (float("nan"), 1e8), (70.0, float("inf"))])
def test_a_weight_or_dose_of_nothing_is_refused(weight: float, dose: float) -> None:
    with pytest.raises(InputError, match="weight and a dose"):
        body_weight_suv(np.ones(1), weight, dose)


def test_a_half_life_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="half-life"):
        decay_factor(1.0, 0.0)


@given(st.floats(1.0, 5000.0), st.floats(1000.0, 1e5))
def test_the_activity_at_the_average_time_is_the_mean_over_the_frame(duration: float, half_life: float) -> None:
    rate = np.log(2.0) / half_life
    mean = -np.expm1(-rate * duration) / (rate * duration)
    assert decay_factor(average_time_s(duration, half_life), half_life) == pytest.approx(mean, rel=1e-9)


def test_a_short_frame_has_its_average_in_the_middle() -> None:
    assert average_time_s(60.0, 1e6) == pytest.approx(30.0, rel=1e-4)
