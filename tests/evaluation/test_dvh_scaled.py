"""A histogram of the same dose times a factor, in another number of fractions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.evaluation import DVH

DOSES = np.array([44.0, 30.0, 12.5, 3.0], dtype=np.float32)
HEART = DVH("Heart", 4.0, DOSES, np.ones(4), 45.0, 2.0, 0.0, "physical", "course", 30, None)
METRICS = ("Max[Gy]", "Mean[Gy]", "Min[Gy]", "D50%[Gy]", "D1cc[Gy]")


@given(st.floats(0.2, 3.0), st.integers(1, 60))
def test_doses_scale_and_the_volume_stays(factor: float, fractions: int) -> None:
    scaled = HEART.scaled(factor, fractions)
    assert scaled.fractions == fractions
    assert scaled.value("Volume[cc]") == HEART.value("Volume[cc]")
    for metric in METRICS:
        assert scaled.value(metric) == pytest.approx(factor * HEART.value(metric), rel=1e-6)
    assert scaled.value(f"V{20.0 * factor:.6f}Gy[%]") == pytest.approx(HEART.value("V20Gy[%]"), abs=1e-3)


def test_a_factor_of_one_changes_nothing() -> None:
    same = HEART.scaled(1.0, 30)
    np.testing.assert_array_equal(same.doses_gy, HEART.doses_gy)
    assert (same.highest_gy, same.lowest_gy, same.fractions) == (45.0, 2.0, 30)


@given(st.integers(2, 59))
def test_more_fractions_of_the_same_dose_never_raise_the_eqd2(fractions: int) -> None:
    fewer, more = (HEART.scaled(1.2, n).converted("EQD2", 3.0) for n in (fractions, fractions + 1))
    for metric in METRICS:
        assert more.value(metric) <= fewer.value(metric)


def test_the_least_of_a_bounded_dose_scales_too() -> None:
    least = replace(HEART, doses_gy=(0.5 * DOSES).astype(np.float32), highest_gy=22.5, lowest_gy=1.0)
    low, high = replace(HEART, least=least).scaled(2.0, 30).bounds("Max[Gy]")
    assert (low, high) == (45.0, 90.0)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="factor above 0"):
        HEART.scaled(factor, 30)


def test_no_fraction_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 fraction"):
        HEART.scaled(1.0, 0)


@pytest.mark.parametrize("other", [HEART.converted("EQD2", 3.0), HEART.per_fraction()])
def test_only_the_physical_dose_of_a_course_is_scaled(other: DVH) -> None:
    with pytest.raises(InputError, match="only the physical dose of a course"):
        other.scaled(1.1, 30)
