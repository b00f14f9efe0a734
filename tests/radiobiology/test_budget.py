"""What is left for the next course: plain subtraction, recovery, and the physical dose that uses it up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.radiobiology import bed, budget_of, eqd2, limits_of, recovery, remaining

limits = st.floats(1, 400)
priors = st.floats(0, 400)
parts = st.floats(0, 1)
courses = st.integers(1, 35)
ratios = st.floats(0.5, 20)
kinds = st.sampled_from(["BED", "EQD2"])


def of(kind, dose, n, ab):
    return float((bed if kind == "BED" else eqd2)(dose, n, ab))


def test_we_80_cord_after_13_months() -> None:
    part = recovery("michigan").discount("SpinalCord", 13)
    found = budget_of(50.0, float(eqd2(45, 25, 2)), part, 2, 2.0, "EQD2")
    assert float(found.left_gy) == pytest.approx(28.625, abs=1e-9)
    assert float(found.dose_gy) == pytest.approx(13.26, abs=0.005)
    assert float(found.recovered_gy) == float(found.spent_gy) == pytest.approx(21.375, abs=1e-9)


def test_we_81_oesophagus_after_7_8_months() -> None:
    part = recovery("michigan").discount("Esophagus", 7.8)
    assert part == 0.25
    found = budget_of(70.0, float(eqd2(60, 30, 3)), part, 2, 3.0, "EQD2")
    assert float(found.left_gy) == pytest.approx(25.0, abs=1e-9)
    assert float(found.dose_gy) == pytest.approx(13.09, abs=0.005)


def test_we_34_the_cumulative_value_less_the_sbrt_is_the_earlier_course() -> None:
    # The patient with severe toxicity, BED (alpha/beta 3 Gy): maximum, D0.035cc, D1cc.
    np.testing.assert_allclose(remaining([227, 209, 175], [127, 114, 83], 0.0), [100, 95, 92])


def test_ko_90_after_60_gy_the_oesophagus_limit_leaves_103_gy() -> None:
    (_, limit), *_ = limits_of("Esophagus")
    found = budget_of(limit.limit_gy, bed(60, 30, 3), 0.0, 2, 3.0, "BED")
    assert float(found.left_gy) == pytest.approx(103.0)
    assert of("BED", found.dose_gy, 2, 3.0) == pytest.approx(103.0)


@given(limits, priors, courses, ratios, kinds)
def test_without_recovery_it_is_plain_subtraction(limit, prior, n, ab, kind) -> None:
    found = budget_of(limit, prior, 0.0, n, ab, kind)
    assert float(found.left_gy) - float(found.overspent_gy) == pytest.approx(limit - prior, rel=1e-12, abs=1e-9)
    assert float(found.recovered_gy) == 0.0


@given(limits, priors, parts, courses, ratios, kinds)
def test_a_budget_that_is_spent_gives_the_limit_back(limit, prior, part, n, ab, kind) -> None:
    found = budget_of(limit, prior, part, n, ab, kind)
    spent = float(found.spent_gy) + of(kind, found.dose_gy, n, ab)
    assert spent - float(found.overspent_gy) == pytest.approx(limit, rel=1e-9)


@given(limits, priors, parts, courses, ratios, kinds)
def test_either_something_is_left_or_it_is_told_by_how_much_it_is_overspent(limit, prior, part, n, ab, kind) -> None:
    found = budget_of(limit, prior, part, n, ab, kind)
    assert min(float(found.left_gy), float(found.overspent_gy)) == 0.0
    assert (float(found.dose_gy) == 0.0) == (float(found.left_gy) == 0.0)


@given(limits, priors, parts, parts, courses, ratios, kinds)
def test_more_recovery_never_leaves_less(limit, prior, first, second, n, ab, kind) -> None:
    low, high = sorted((first, second))
    less, more = (budget_of(limit, prior, part, n, ab, kind) for part in (low, high))
    assert float(less.dose_gy) <= float(more.dose_gy) * (1 + 1e-12)


@given(limits, priors, courses, ratios, kinds)
def test_more_fractions_allow_at_least_the_same_dose(limit, prior, n, ab, kind) -> None:
    few, many = (budget_of(limit, prior, 0.0, count, ab, kind) for count in (n, n + 1))
    assert float(few.dose_gy) <= float(many.dose_gy) * (1 + 1e-12)
    assert float(many.dose_per_fraction_gy) == float(many.dose_gy) / (n + 1)


def test_a_map_has_the_budget_of_every_voxel() -> None:
    prior = np.array([[[0.0, 40.0], [60.0, 90.0]]])
    found = budget_of(70.0, prior, 0.25, 2, 3.0, "EQD2")
    np.testing.assert_allclose(found.left_gy, [[[70.0, 40.0], [25.0, 2.5]]])
    np.testing.assert_allclose(found.overspent_gy, np.zeros_like(prior))
    np.testing.assert_allclose(eqd2(found.dose_gy, 2, 3.0), found.left_gy)
    by_organ = budget_of(70.0, prior, np.array([[[0.0, 0.5], [0.0, 0.0]]]), 2, 3.0, "EQD2")
    np.testing.assert_allclose(by_organ.left_gy, [[[70.0, 50.0], [10.0, 0.0]]])
    np.testing.assert_allclose(by_organ.overspent_gy, [[[0.0, 0.0], [0.0, 20.0]]])
    assert by_organ.limit_gy.shape == by_organ.prior_gy.shape == by_organ.recovered_gy.shape == prior.shape


def test_nothing_left_is_0_gy() -> None:
    found = budget_of(100.0, 120.0, 0.0, 2, 2.0, "BED")
    assert (float(found.left_gy), float(found.overspent_gy), float(found.dose_gy)) == (0.0, 20.0, 0.0)


@pytest.mark.parametrize(
    ("limit", "prior", "part", "n", "ab", "kind", "named"),
    [
        (0.0, 10, 0, 2, 3, "BED", "above 0"), (np.nan, 10, 0, 2, 3, "BED", "above 0"),
        (70, -1, 0, 2, 3, "BED", "negative"), (70, 10, 1.5, 2, 3, "BED", "between 0 and 1"),
        (70, 10, 0, 0, 3, "BED", "fraction"), (70, 10, 0, 2, 0, "EQD2", "alpha/beta"),
        (70, 10, 0, 2, 3, "physical", "BED or EQD2"),
    ],
)  # fmt: skip
def test_what_makes_no_budget_is_refused(limit, prior, part, n, ab, kind, named) -> None:
    with pytest.raises(InputError, match=named):
        budget_of(limit, prior, part, n, ab, kind)
