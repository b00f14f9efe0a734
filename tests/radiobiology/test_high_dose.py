"""LQ-L and the universal survival curve: what they share with LQ, where they leave it, and the worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.radiobiology import (
    LinearQuadraticLinear,
    UniversalSurvivalCurve,
    bed,
    bed_derivative,
    bed_lql,
    bed_lql_derivative,
    bed_usc,
    bed_usc_derivative,
    high_dose_sets,
)

USC = high_dose_sets()["usc-park-2008"]
LQL = high_dose_sets()["lql-2-alpha-beta"]
assert isinstance(USC, UniversalSurvivalCurve)
assert isinstance(LQL, LinearQuadraticLinear)

fractions = st.integers(1, 35)
ratios = st.floats(0.5, 20.0)
per_fraction = st.floats(0.05, 40.0)


def at(threshold_gy: float, slope: float | None = None) -> LinearQuadraticLinear:
    return LinearQuadraticLinear("test", "1", "this test", "derived", threshold_gy=threshold_gy, slope=slope)


def exact_curve(alpha: float, d0: float, dq: float) -> UniversalSurvivalCurve:
    beta = (1 - alpha * d0) ** 2 / (4 * d0 * dq)
    return UniversalSurvivalCurve("test", "1", "this test", "derived", alpha, alpha / beta, d0, dq)


@pytest.mark.parametrize(
    ("example", "ab", "threshold_gy", "bed_gy"),
    [("WE-62 no line", 10, 20, 52.80), ("WE-62 from 10 Gy", 10, 10, 52.00), ("WE-62 from 4 Gy", 2, 4, 104.00)],
)
def test_we_62_lql_of_2_fractions_of_12_gy(example: str, ab: float, threshold_gy: float, bed_gy: float) -> None:
    assert float(bed_lql(24, 2, ab, at(threshold_gy))) == pytest.approx(bed_gy, abs=0.005), example


def test_we_62_with_the_packaged_threshold_of_2_alpha_beta() -> None:
    np.testing.assert_allclose(bed_lql(24, 2, [10.0, 2.0], LQL), [52.80, 104.00], atol=0.005)
    # RB-22: 20 Gy for 10, 4 Gy for 2, 6 Gy for 3.
    np.testing.assert_allclose(LQL.threshold([10.0, 2.0, 3.0]), [20.0, 4.0, 6.0])


def test_we_63_universal_survival_curve_of_2_fractions_of_12_gy() -> None:
    assert pytest.approx(6.128, abs=0.0005) == USC.transition_gy
    assert float(bed_usc(24, 2, USC)) == pytest.approx(49.45, abs=0.005)


@given(per_fraction, fractions, ratios, st.floats(0.5, 25.0))
def test_lql_is_lq_up_to_the_joint_and_below_it_above(d: float, n: int, ab: float, joint: float) -> None:
    lq, lql = float(bed(n * d, n, ab)), float(bed_lql(n * d, n, ab, at(joint)))
    if d <= joint:
        assert lql == pytest.approx(lq, rel=1e-12)
    else:
        # The tangent lies below the parabola by n (d - dT)^2 / (alpha/beta).
        assert lq - lql == pytest.approx(n * (d - joint) ** 2 / ab, rel=1e-6, abs=1e-9 * lq)


@given(fractions, ratios, st.floats(0.5, 25.0), st.none() | st.floats(0.2, 5.0))
def test_lql_is_continuous_at_the_joint_with_any_slope(n: int, ab: float, joint: float, slope: float | None) -> None:
    by = at(joint, slope)
    below, above = (float(bed_lql(n * joint * side, n, ab, by)) for side in (1 - 1e-9, 1 + 1e-9))
    assert above == pytest.approx(below, rel=1e-7)


@given(fractions, ratios, st.floats(0.5, 25.0))
def test_the_tangent_has_no_kink(n: int, ab: float, joint: float) -> None:
    by = at(joint)
    below, above = (float(bed_lql_derivative(n * joint * side, n, ab, by)) for side in (1 - 1e-9, 1 + 1e-9))
    assert above == pytest.approx(below, rel=1e-7)


@given(per_fraction, per_fraction, fractions, ratios)
def test_lql_rises_with_the_dose(first: float, second: float, n: int, ab: float) -> None:
    low, high = sorted((first, second))
    assert float(bed_lql(n * low, n, ab, LQL)) <= float(bed_lql(n * high, n, ab, LQL))


@given(per_fraction, fractions, ratios, st.floats(0.5, 25.0), st.none() | st.floats(0.2, 5.0))
def test_the_derivative_of_lql_is_the_limit_of_differences(
    d: float, n: int, ab: float, joint: float, slope: float | None
) -> None:
    assume(abs(d - joint) > 0.01)
    by, h = at(joint, slope), 1e-4
    difference = (float(bed_lql(n * d + h, n, ab, by)) - float(bed_lql(n * d - h, n, ab, by))) / (2 * h)
    assert float(bed_lql_derivative(n * d, n, ab, by)) == pytest.approx(difference, rel=1e-6)


@given(per_fraction, fractions)
def test_the_derivative_of_the_universal_curve_is_the_limit_of_differences(d: float, n: int) -> None:
    assume(abs(d - USC.transition_gy) > 0.01)
    h = 1e-4
    difference = (float(bed_usc(n * d + h, n, USC)) - float(bed_usc(n * d - h, n, USC))) / (2 * h)
    assert float(bed_usc_derivative(n * d, n, USC)) == pytest.approx(difference, rel=1e-6)


curves = st.builds(exact_curve, st.floats(0.05, 0.5), st.floats(0.5, 1.9), st.floats(0.5, 4.0))


@given(curves, fractions)
def test_consistent_curves_touch_lq_at_the_transition(by: UniversalSurvivalCurve, n: int) -> None:
    dose = n * by.transition_gy
    assert float(bed_usc(dose, n, by)) == pytest.approx(float(bed(dose, n, by.alpha_beta_gy)), rel=1e-9)
    below = float(bed_derivative(dose, n, by.alpha_beta_gy))
    assert float(bed_usc_derivative(dose, n, by)) == pytest.approx(below, rel=1e-9)


@given(curves, per_fraction, fractions)
def test_the_universal_curve_never_lies_above_lq(by: UniversalSurvivalCurve, d: float, n: int) -> None:
    assert float(bed_usc(n * d, n, by)) <= float(bed(n * d, n, by.alpha_beta_gy)) * (1 + 1e-9)


def test_a_whole_dose_grid_is_converted_voxel_by_voxel() -> None:
    dose = np.array([[4.0, 24.0], [0.0, 60.0]])
    each = [[float(bed_usc(d, 2, USC)) for d in row] for row in dose]
    np.testing.assert_array_equal(bed_usc(dose, 2, USC), each)
    each = [[float(bed_lql(d, 2, 3.0, LQL)) for d in row] for row in dose]
    np.testing.assert_array_equal(bed_lql(dose, 2, 3.0, LQL), each)


def test_a_curve_that_does_not_meet_its_line_is_refused() -> None:
    with pytest.raises(InputError, match=r"touches LQ only with 0\.03835"):
        UniversalSurvivalCurve("test", "1", "this test", "derived", 0.33, 10.0, 1.25, 1.8)
    with pytest.raises(InputError, match="below 1"):
        UniversalSurvivalCurve("test", "1", "this test", "derived", 0.9, 8.6, 1.25, 1.8)
    with pytest.raises(InputError, match="above 0"):
        UniversalSurvivalCurve("test", "1", "this test", "derived", 0.33, 8.6, 1.25, 0.0)


@pytest.mark.parametrize("given_", [{}, {"threshold_gy": 4.0, "threshold_in_alpha_beta": 2.0}, {"threshold_gy": 0.0}])
def test_lql_needs_one_threshold(given_: dict[str, float]) -> None:
    with pytest.raises(InputError, match="one threshold"):
        LinearQuadraticLinear("test", "1", "this test", "derived", **given_)


@pytest.mark.parametrize("lacking", ["name", "version", "source", "mark"])
def test_a_set_without_name_version_source_or_mark_is_refused(lacking: str) -> None:
    told = {"name": "test", "version": "1", "source": "this test", "mark": "derived"} | {lacking: ""}
    with pytest.raises(InputError, match="needs a name, a version, a source and a mark"):
        LinearQuadraticLinear(**told, threshold_gy=4.0)
    with pytest.raises(InputError, match="needs a name, a version, a source and a mark"):
        UniversalSurvivalCurve(**told, alpha_per_gy=0.33, alpha_beta_gy=8.6, d0_gy=1.25, dq_gy=1.8)


def test_every_packaged_set_is_marked_as_recalled() -> None:
    assert {each.mark for each in high_dose_sets().values()} == {"lit-recalled"}
    assert all(each.source and each.doi and each.rules for each in high_dose_sets().values())


@pytest.mark.parametrize(("dose", "n"), [(-1.0, 2), (np.nan, 2), (24.0, 0)])
def test_what_has_no_bed_in_lq_has_none_here(dose: float, n: int) -> None:
    with pytest.raises(InputError):
        bed_lql(dose, n, 3.0, LQL)
    with pytest.raises(InputError):
        bed_usc(dose, n, USC)
