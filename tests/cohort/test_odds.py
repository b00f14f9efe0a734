"""The conditional odds ratio: the tea tasting, scipy's own, and what must hold of any table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tailort.cohort.odds import ConditionalCount
from tailort.cohort.ranks import mean_ranks

TABLES = st.lists(st.integers(0, 60), min_size=4, max_size=4).map(lambda n: np.array(n).reshape(2, 2))


def test_the_lady_tasting_tea() -> None:
    """R's help of fisher.test: odds ratio 6.408309, at least 0.3135693 (one-sided 95 %), two-sided p 0.4857."""
    tea = ConditionalCount.of(np.array([[3, 1], [1, 3]]))
    assert tea.p_value() == pytest.approx(0.4857, abs=5e-5)
    # R stops its search for the root earlier.
    assert tea.likeliest_odds() == pytest.approx(6.408309, abs=2e-5)
    assert tea.limits(0.90)[0] == pytest.approx(0.3135693, abs=5e-6)


@given(TABLES)
def test_as_scipy_finds_it(table: np.ndarray) -> None:
    assume(table.sum(axis=0).all() and table.sum(axis=1).all())
    ours, theirs = ConditionalCount.of(table), stats.contingency.odds_ratio(table, kind="conditional")
    limits = theirs.confidence_interval(0.95)
    assert ours.p_value() == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-9)
    assert ours.likeliest_odds() == pytest.approx(theirs.statistic, rel=1e-7)
    assert ours.limits(0.95) == (pytest.approx(limits.low, rel=1e-7), pytest.approx(limits.high, rel=1e-7))


@given(TABLES)
def test_rows_that_change_places_turn_the_odds_over(table: np.ndarray) -> None:
    assume(table.all())
    one, other = ConditionalCount.of(table), ConditionalCount.of(table[::-1])
    low, high = one.limits(0.9)
    assert other.likeliest_odds() == pytest.approx(1 / one.likeliest_odds(), rel=1e-9)
    assert other.limits(0.9) == (pytest.approx(1 / high, rel=1e-9), pytest.approx(1 / low, rel=1e-9))
    assert low < one.likeliest_odds() < high


def test_a_hundred_thousand_patients_have_limits() -> None:
    found = ConditionalCount.of(np.array([[20000, 30000], [21000, 29000]]))
    low, high = found.limits(0.95)
    # Of so many the logarithm of the odds is normal, with Woolf's variance.
    width = 1.959964 * np.sqrt(1 / 20000 + 1 / 30000 + 1 / 21000 + 1 / 29000)
    odds = 20000 * 29000 / (30000 * 21000)
    assert (low, high) == (
        pytest.approx(odds * np.exp(-width), rel=1e-3),
        pytest.approx(odds * np.exp(width), rel=1e-3),
    )


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_equal_values_share_their_ranks(values: list[int]) -> None:
    numbers = np.array(values, dtype=np.float64)
    assert mean_ranks(numbers) == pytest.approx(stats.rankdata(numbers))
