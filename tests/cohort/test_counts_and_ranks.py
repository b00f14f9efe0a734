"""Shares, tables of counts and rank tests: worked examples, laws, and what is refused."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from tailort.cohort.proportions import binomial_test, chi_square, fisher, proportion
from tailort.cohort.ranks import kruskal_wallis, mann_whitney
from tailort.errors import InputError

COUNTS = st.integers(1, 60).flatmap(lambda number: st.tuples(st.integers(0, number), st.just(number)))
TABLES = st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=2, max_size=3)


@pytest.mark.parametrize(
    ("seen", "percent", "printed"), [(1, 4.76, 4.8), (5, 23.81, 23.8), (10, 47.62, 47.6), (11, 52.38, 52.4)]
)
def test_we_97_shares_of_21_patients(seen, percent, printed) -> None:
    share = 100 * proportion(seen, 21).estimate
    assert round(share, 2) == percent
    assert round(share, 1) == printed


def test_we_98_exact_limits_of_5_of_21() -> None:
    share = proportion(5, 21)
    assert round(100 * share.lower, 2) == 8.22
    assert round(100 * share.upper, 2) == 47.17


@given(COUNTS, st.floats(0.8, 0.99))
@settings(max_examples=30)
def test_exact_limits_leave_half_of_the_rest_in_each_tail(count, confidence) -> None:
    seen, number = count
    share = proportion(seen, number, confidence=confidence)
    tail = (1 - confidence) / 2
    assert 0 <= share.lower <= share.estimate <= share.upper <= 1
    if seen:
        assert stats.binom.sf(seen - 1, number, share.lower) == pytest.approx(tail)
    if seen < number:
        assert stats.binom.cdf(seen, number, share.upper) == pytest.approx(tail)


@given(COUNTS)
@settings(max_examples=30)
def test_limits_of_those_without_mirror_those_of_those_with(count) -> None:
    seen, number = count
    one, two = proportion(seen, number), proportion(number - seen, number)
    assert one.lower == pytest.approx(1 - two.upper, abs=1e-9)


@given(COUNTS, st.floats(0.05, 0.95))
def test_the_binomial_test_sums_the_counts_that_are_no_more_likely(count, null) -> None:
    seen, number = count
    chance = [comb(number, k) * null**k * (1 - null) ** (number - k) for k in range(number + 1)]
    two_sided = sum(one for one in chance if one <= chance[seen] * (1 + 1e-7))
    assert binomial_test(seen, number, null) == pytest.approx(min(two_sided, 1.0))
    assert binomial_test(seen, number, null, alternative="less") == pytest.approx(sum(chance[: seen + 1]))
    assert binomial_test(seen, number, null, alternative="greater") == pytest.approx(sum(chance[seen:]))


def test_chi_squared_of_a_table_by_hand() -> None:
    # 20 of 50 against 10 of 50: n (ad - bc)^2 over the product of the margins.
    found = chi_square([[20, 30], [10, 40]], continuity=False)
    assert found.statistic == pytest.approx(100 * 500**2 / (50 * 50 * 30 * 70))
    corrected = chi_square([[20, 30], [10, 40]], continuity=True)
    assert corrected.statistic == pytest.approx(100 * (500 - 50) ** 2 / (50 * 50 * 30 * 70))
    assert found.p_value < corrected.p_value


def test_a_difference_below_a_half_is_corrected_to_none() -> None:
    assert chi_square([[5, 5], [5, 5]], continuity=True).statistic == 0.0


@given(TABLES)
@settings(max_examples=30)
def test_turning_a_table_or_its_rows_round_changes_no_test(table) -> None:
    counts = np.array(table)
    assume(counts.sum(axis=0).all())
    assume(counts.sum(axis=1).all())
    for test in (lambda t: chi_square(t, continuity=False), fisher):
        p_value = test(counts).p_value
        assert test(counts.T).p_value == pytest.approx(p_value)
        assert test(counts[::-1, ::-1]).p_value == pytest.approx(p_value)


def tables_with(rows: tuple[int, ...], columns: tuple[int, ...]):
    """Every table with these margins, cell by cell."""
    if len(rows) == 1:
        yield (columns,)
        return
    for first in np.ndindex(*(total + 1 for total in columns)):
        if sum(first) == rows[0]:
            left = tuple(total - taken for total, taken in zip(columns, first, strict=True))
            for rest in tables_with(rows[1:], left):
                yield (first, *rest)


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=3, max_size=3))
@settings(max_examples=30)
def test_fishers_test_of_a_larger_table_counts_through_all_tables(table) -> None:
    counts = np.array(table)
    assume(counts.sum(axis=0).all())
    assume(counts.sum(axis=1).all())
    everything = [np.array(one) for one in tables_with(tuple(counts.sum(axis=1)), tuple(counts.sum(axis=0)))]
    chances = np.array([1 / np.prod([float(np.prod(np.arange(1, n + 1))) for n in one.ravel()]) for one in everything])
    seen = 1 / np.prod([float(np.prod(np.arange(1, n + 1))) for n in counts.ravel()])
    expected = chances[chances <= seen * (1 + 1e-7)].sum() / chances.sum()
    assert fisher(counts).p_value == pytest.approx(expected)


def test_the_odds_ratio_is_the_one_under_which_the_table_is_expected() -> None:
    found = fisher([[8, 1], [2, 5]])
    assert stats.nchypergeom_fisher(16, 10, 9, found.odds_ratio).mean() == pytest.approx(8)
    assert stats.nchypergeom_fisher(16, 10, 9, found.lower).sf(7) == pytest.approx(0.025, rel=1e-3)
    assert stats.nchypergeom_fisher(16, 10, 9, found.upper).cdf(8) == pytest.approx(0.025, rel=1e-3)


def test_an_odds_ratio_without_end_is_none() -> None:
    found = fisher([[5, 0], [2, 6]])
    assert (found.odds_ratio, found.upper) == (None, None)
    assert found.lower > 0


def test_small_expected_counts_are_told() -> None:
    assert "below 5 prefer Fisher" in chi_square([[1, 20], [4, 9]], continuity=False).notes[0]
    assert chi_square([[20, 20], [14, 19]], continuity=False).notes == ()


def test_a_row_without_patients_gives_no_answer() -> None:
    assert chi_square([[0, 0], [4, 9]], continuity=False).p_value is None
    assert fisher([[0, 0], [4, 9]]).p_value == 1.0


def test_a_table_too_large_to_count_through_is_refused() -> None:
    with pytest.raises(InputError, match="too many possible tables"):
        fisher(np.full((6, 6), 40))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: proportion(2, 0), "found 2 of 0"),
        (lambda: proportion(3, 2), "found 3 of 2"),
        (lambda: proportion(-1, 2), "found -1 of 2"),
        (lambda: proportion(1.5, 2), "whole numbers"),
        (lambda: proportion(1, 2, confidence=95), "confidence of 95"),
        (lambda: binomial_test(1, 2, 55), "found the null 55"),
        (lambda: binomial_test(1, 2, 0.5, alternative="both"), "alternative 'both' is not known"),
        (lambda: chi_square([[1, 2]], continuity=False), "at least 2 rows and 2 columns"),
        (lambda: chi_square([[1, 2], [3, -4]], continuity=False), "negative, missing or not whole"),
        (lambda: chi_square([[0, 0], [0, 0]], continuity=False), "without any patient"),
        (lambda: chi_square([[1, 2, 3], [4, 5, 6]], continuity=True), "2 x 2"),
        (lambda: chi_square([["a", 2], [3, 4]], continuity=True), "not a number"),
        (lambda: mann_whitney([], [1.0]), "the first group has no values"),
        (lambda: mann_whitney([1.0, np.nan], [1.0]), "row 2 of the first group"),
        (lambda: kruskal_wallis([[1.0]]), "found 1 group"),
        (lambda: kruskal_wallis([[1.0], ["x"]]), "group 2 holds a value that is not a number"),
    ],
)
def test_bad_counts_are_refused_in_one_sentence(call, text) -> None:
    with pytest.raises(InputError, match=text):
        call()


def test_the_exact_rank_test_of_three_against_three_apart_is_one_in_ten() -> None:
    found = mann_whitney([1, 2, 3], [4, 5, 6])
    assert (found.statistic, found.exact) == (0.0, True)
    assert found.p_value == pytest.approx(2 / comb(6, 3))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=20), st.lists(st.integers(0, 9), min_size=2, max_size=20))
@settings(max_examples=30)
def test_rank_tests_do_not_see_the_scale_nor_which_group_is_first(one, other) -> None:
    assume(len(set(one + other)) > 1)
    first, second = np.array(one, dtype=float), np.array(other, dtype=float)
    found = mann_whitney(first, second).p_value
    assert mann_whitney(np.exp(first), np.exp(second)).p_value == pytest.approx(found)
    assert mann_whitney(second, first).p_value == pytest.approx(found)
    several = kruskal_wallis([first, second])
    assert kruskal_wallis([np.exp(second), np.exp(first)]).statistic == pytest.approx(several.statistic)


def test_values_that_are_all_the_same_tell_nothing() -> None:
    assert mann_whitney([1, 1], [1, 1]).p_value is None
    assert kruskal_wallis([[1, 1], [1, 1], [1]]).p_value is None


def test_ties_are_told() -> None:
    assert "not exact" in mann_whitney([1, 2, 2], [2, 3, 4]).notes[0]
