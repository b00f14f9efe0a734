"""Numbers of patients of the salvage trial's arms (MS-108, MS-109, MS-111)."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.cohort.designs import approximations, enough_from, exact_design, log_rank_size, smallest_design
from tailort.cohort.designs.one_proportion import (
    arcsine_size,
    corrected_size,
    most_powerful,
    normal_size,
    one_variance_size,
)
from tailort.errors import InputError

ELECTIVE, INVOLVED = (0.55, 0.70, 0.05, 0.80), (0.50, 0.60, 0.05, 0.80)


def rounded_up(size: float) -> tuple[float, int]:
    return round(size, 2), math.ceil(size)


@pytest.mark.parametrize(
    ("asked", "patients", "power", "alpha", "low", "high", "one_fewer"),
    [(ELECTIVE, 83, 0.8069, 0.0465, 36, 55, 0.7602), (INVOLVED, 199, 0.8037, 0.0469, 85, 114, 0.7796)],
    ids=["WE-38", "WE-39"],
)
def test_we_38_and_we_39_the_exact_test_needs_the_printed_numbers(
    asked: tuple[float, float, float, float], patients: int, power: float, alpha: float, low: int, high: int,
    one_fewer: float,
) -> None:  # fmt: skip
    design = smallest_design(*asked)
    assert (design.patients, design.reject_at_most, design.reject_at_least) == (patients, low, high)
    assert design.power == pytest.approx(power, abs=5e-5)
    assert design.alpha == pytest.approx(alpha, abs=5e-5)
    assert exact_design(patients - 1, *asked[:3]).power == pytest.approx(one_fewer, abs=5e-5)


def test_we_40_normal_approximation() -> None:
    assert rounded_up(normal_size(*ELECTIVE)) == (82.30, 83)
    assert rounded_up(normal_size(*INVOLVED)) == (193.85, 194)


def test_we_41_arcsine() -> None:
    assert rounded_up(arcsine_size(*ELECTIVE)) == (80.97, 81)
    assert rounded_up(arcsine_size(*INVOLVED)) == (193.58, 194)


def test_we_42_continuity_correction() -> None:
    assert rounded_up(corrected_size(*ELECTIVE)) == (88.84, 89)
    assert rounded_up(corrected_size(*INVOLVED)) == (203.72, 204)


def test_we_43_variance_of_one_proportion_only() -> None:
    assert rounded_up(one_variance_size(*ELECTIVE, of=0.70)) == (73.26, 74)
    assert rounded_up(one_variance_size(*INVOLVED, of=0.60)) == (188.37, 189)
    assert rounded_up(one_variance_size(*ELECTIVE, of=0.55)) == (86.34, 87)
    assert rounded_up(one_variance_size(*INVOLVED, of=0.50)) == (196.22, 197)


def test_we_44_one_sample_log_rank() -> None:
    assert rounded_up(log_rank_size(*ELECTIVE, "null")) == (83.25, 84)
    assert rounded_up(log_rank_size(*INVOLVED, "null")) == (191.62, 192)
    assert rounded_up(log_rank_size(*ELECTIVE, "mean")) == (70.47, 71)
    assert rounded_up(log_rank_size(*INVOLVED, "mean")) == (173.03, 174)


def test_we_45_both_arms_together() -> None:
    assert smallest_design(*ELECTIVE).patients + smallest_design(*INVOLVED).patients == 282


def test_ms_111_the_power_falls_below_again_above_199_and_stays_from_210() -> None:
    enough = [exact_design(n, *INVOLVED[:3]).power >= 0.80 for n in range(199, 300)]
    assert not all(enough[: 210 - 199])
    assert all(enough[210 - 199 :])
    assert enough_from(smallest_design(*INVOLVED), *INVOLVED) == 210


def test_ms_111_no_approximation_gives_the_numbers_of_the_exact_test() -> None:
    elective, involved = approximations(*ELECTIVE), approximations(*INVOLVED)
    assert len(elective) == 7
    for name in elective:
        assert (math.ceil(elective[name]), math.ceil(involved[name])) != (83, 199)


@pytest.mark.parametrize(("null", "assumed"), [(0.55, 0.70), (0.70, 0.55)])
def test_a_one_sided_test_has_the_whole_of_alpha_on_the_side_of_the_assumed_proportion(
    null: float, assumed: float
) -> None:
    from scipy.stats import binomtest

    side = "greater" if assumed > null else "less"
    design = exact_design(60, null, assumed, 0.05, sides=1)
    rejected = [n for n in range(61) if n <= design.reject_at_most or n >= design.reject_at_least]
    assert rejected == [n for n in range(61) if binomtest(n, 60, null, side).pvalue <= 0.05]
    assert design.power > exact_design(60, null, assumed, 0.05).power
    assert smallest_design(null, assumed, 0.05, 0.8, sides=1).patients < 83


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.01, 0.2))
def test_no_tail_has_more_than_half_of_alpha_and_one_more_would(
    n: int, null: float, assumed: float, alpha: float
) -> None:
    from scipy.stats import binom

    design = exact_design(n, null, assumed, alpha)
    low, high = design.reject_at_most, design.reject_at_least
    assert design.alpha <= alpha
    assert low < high
    assert binom.cdf(low, n, null) <= alpha / 2 < binom.cdf(low + 1, n, null)
    assert binom.sf(high - 1, n, null) <= alpha / 2 < binom.sf(high - 2, n, null)


@pytest.mark.parametrize(("null", "assumed"), [(0.3, 0.5), (0.55, 0.4), (0.05, 0.2)])
@pytest.mark.parametrize("sides", [1, 2])
def test_no_smaller_exact_test_has_the_power(null: float, assumed: float, sides: Literal[1, 2]) -> None:
    found = smallest_design(null, assumed, 0.05, 0.8, sides)
    assert found.power >= 0.8
    assert all(exact_design(n, null, assumed, 0.05, sides).power < 0.8 for n in range(1, found.patients))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.floats(0.05, 0.9), st.floats(0.02, 0.5), st.floats(0.01, 0.2))
def test_no_exact_test_beats_the_most_powerful_one_whose_power_never_falls(
    n: int, null: float, more: float, alpha: float
) -> None:
    assumed = min(null + more, 0.97)
    best = most_powerful(n, null, assumed, alpha)
    assert exact_design(n, null, assumed, alpha, 1).power <= best + 1e-12
    assert best <= most_powerful(n + 1, null, assumed, alpha) + 1e-12
    assert best == pytest.approx(most_powerful(n, 1 - null, 1 - assumed, alpha))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 300), st.floats(0.05, 0.9), st.floats(0.01, 0.04))
def test_the_power_of_a_test_rises_with_the_effect(n: int, null: float, step: float) -> None:
    powers = [exact_design(n, null, null + times * step, 0.05, 1).power for times in (1, 2)]
    assert exact_design(n, null, null + step, 0.05, 1).alpha <= powers[0] <= powers[1]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        smallest_design(0.5, 1.0, 0.05, 0.8)
    with pytest.raises(InputError, match="tells them apart"):
        normal_size(0.5, 0.5, 0.05, 0.8)
    with pytest.raises(InputError, match="0 patients"):
        exact_design(0, 0.5, 0.6, 0.05)
    with pytest.raises(InputError, match="power"):
        arcsine_size(0.5, 0.6, 0.05, 1.0)
