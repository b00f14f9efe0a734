"""The log-rank test and Gray's test: their laws, what they cannot tell, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tailort.cohort.gray import gray_test
from tailort.cohort.log_rank import TIE_RULES, log_rank
from tailort.errors import InputError

ROWS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)), min_size=6, max_size=50
)


def split(rows) -> tuple[np.ndarray, ...]:
    """Times, status, groups, strata; at least two groups."""
    times, status, groups, strata = (np.array(column) for column in zip(*rows, strict=True))
    assume(len(np.unique(groups)) > 1)
    return times.astype(float), status, groups, strata


def close(one: float | None, two: float | None) -> bool:
    return one == two if one is None or two is None else one == pytest.approx(two, rel=1e-8, abs=1e-10)


def by_hand(times, events, groups) -> tuple[np.ndarray, np.ndarray]:
    """Observed - expected and covariance of the log-rank test, event time by event time."""
    labels = np.unique(groups)
    score, covariance = np.zeros(len(labels)), np.zeros((len(labels), len(labels)))
    for time in np.unique(times[events]):
        n = np.array([np.sum((times >= time) & (groups == g)) for g in labels], dtype=float)
        d = np.array([np.sum((times == time) & events & (groups == g)) for g in labels], dtype=float)
        score += d - d.sum() * n / n.sum()
        if n.sum() > 1:
            factor = d.sum() * (n.sum() - d.sum()) / (n.sum() - 1)
            covariance += factor * (np.diag(n / n.sum()) - np.outer(n, n) / n.sum() ** 2)
    return score, covariance


@given(ROWS)
def test_the_log_rank_test_sums_hypergeometric_tables(rows) -> None:
    times, status, groups, _ = split(rows)
    found = log_rank(times, status > 0, groups)
    score, covariance = by_hand(times, status > 0, groups)
    np.testing.assert_allclose(found.observed - found.expected, score, atol=1e-10)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-10)


@given(ROWS)
@settings(max_examples=25)
def test_scores_and_covariances_sum_to_0_over_the_groups(rows) -> None:
    times, status, groups, strata = split(rows)
    ranks = log_rank(times, status > 0, groups, strata=strata)
    gray = gray_test(times, status, groups, cause=1, causes=(1, 2), strata=strata)
    assert ranks.observed.sum() == pytest.approx(ranks.expected.sum())
    np.testing.assert_allclose(ranks.covariance.sum(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(gray.scores.sum(), 0, atol=1e-9)


@given(ROWS, st.permutations([0, 1, 2]))
@settings(max_examples=25)
def test_the_names_of_groups_do_not_matter(rows, names) -> None:
    times, status, groups, strata = split(rows)
    renamed = np.array(["abc"[names[group]] for group in groups])
    for more in ({}, {"strata": strata}):
        one, two = log_rank(times, status > 0, groups, **more), log_rank(times, status > 0, renamed, **more)
        assert close(one.statistic, two.statistic)
        gray, other = (gray_test(times, status, g, cause=1, causes=(1, 2), **more) for g in (groups, renamed))
        assert close(gray.statistic, other.statistic)


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_the_order_of_rows_does_not_matter(rows, random) -> None:
    one, two = split(rows), split(random.sample(rows, len(rows)))
    ranks = [log_rank(t, s > 0, g, strata=layer).statistic for t, s, g, layer in (one, two)]
    gray = [gray_test(t, s, g, cause=2, causes=(1, 2), strata=layer).statistic for t, s, g, layer in (one, two)]
    assert close(*ranks)
    assert close(*gray)


@given(ROWS)
def test_identical_groups_do_not_differ(rows) -> None:
    times, status, _, _ = split(rows)
    twice = [np.concatenate([column, column]) for column in (times, status)]
    groups = np.repeat(["one", "other"], len(times))
    ranks = log_rank(twice[0], twice[1] > 0, groups)
    gray = gray_test(*twice, groups, cause=1, causes=(1, 2))
    for found in (ranks.statistic, gray.statistic):
        assert found is None or found == pytest.approx(0.0, abs=1e-12)


@given(ROWS)
@settings(max_examples=25)
def test_one_stratum_is_no_stratum_and_two_equal_strata_double_all(rows) -> None:
    times, status, groups, _ = split(rows)
    one = log_rank(times, status > 0, groups)
    assert close(log_rank(times, status > 0, groups, strata=np.zeros(len(times), dtype=int)).statistic, one.statistic)
    twice = [np.concatenate([column, column]) for column in (times, status, groups)]
    layers = np.repeat([1, 2], len(times))
    two = log_rank(twice[0], twice[1] > 0, twice[2], strata=layers)
    np.testing.assert_allclose(two.covariance, 2 * one.covariance, atol=1e-10)
    gray = gray_test(times, status, groups, cause=1, causes=(1, 2))
    both = gray_test(*twice, cause=1, causes=(1, 2), strata=layers)
    np.testing.assert_allclose(both.covariance, 2 * gray.covariance, atol=1e-9)


@given(ROWS)
def test_without_competing_events_grays_scores_are_those_of_the_log_rank_test(rows) -> None:
    times, status, groups, _ = split(rows)
    ranks = log_rank(times, status > 0, groups)
    gray = gray_test(times, status > 0, groups, cause=1, causes=(1,))
    np.testing.assert_allclose(gray.scores, ranks.observed - ranks.expected, atol=1e-9)


@given(ROWS)
def test_tie_rules_agree_where_nothing_is_tied(rows) -> None:
    _, status, groups, _ = split(rows)
    times = np.arange(1.0, len(status) + 1)
    one, two = (log_rank(times, status > 0, groups, ties=rule) for rule in TIE_RULES)
    np.testing.assert_allclose(one.covariance, two.covariance, atol=1e-12)


def test_grays_test_without_censoring_waits_for_those_who_died_of_another_cause() -> None:
    # Nobody is censored: who died of another cause stays at risk for ever, so it is a log-rank test of those times.
    rng = np.random.default_rng(3)
    times, status, groups = rng.permutation(60) + 1.0, rng.integers(1, 3, 60), rng.integers(0, 2, 60)
    gray = gray_test(times, status, groups, cause=1, causes=(1, 2))
    for_ever = log_rank(np.where(status == 1, times, 1000.0), status == 1, groups)
    np.testing.assert_allclose(gray.scores, for_ever.observed - for_ever.expected, atol=1e-10)


def test_under_no_difference_p_values_of_grays_test_are_even() -> None:
    rng = np.random.default_rng(11)
    small = 0
    for _ in range(400):
        time, cause = np.ceil(rng.exponential(10, 100)), rng.integers(1, 3, 100)
        end = rng.uniform(2, 25, 100)
        status = np.where(time <= end, cause, 0)
        found = gray_test(np.minimum(time, end), status, rng.integers(0, 2, 100), cause=1, causes=(1, 2))
        assert found.p_value is not None
        small += found.p_value < 0.05
    # 20 expected, standard deviation 4.4.
    assert 7 <= small <= 34


def test_a_group_without_events_is_told_and_tested() -> None:
    times, events, groups = [1, 2, 3, 4, 5, 6], [1, 1, 1, 0, 0, 0], ["a", "a", "a", "b", "b", "b"]
    found = log_rank(times, events, groups)
    assert found.notes == ("no event in group 'b'",)
    assert found.p_value is not None
    gray = gray_test(times, events, groups, cause=1, causes=(1, 2))
    assert gray.notes == ("no event of cause 1 in group 'b'",)
    assert gray.p_value is not None


def test_all_censored_gives_no_p_value_but_says_so() -> None:
    found = log_rank([1, 2, 3], [0, 0, 0], ["a", "b", "b"])
    assert (found.statistic, found.p_value, found.degrees_of_freedom) == (None, None, 1)
    assert found.notes == ("no event in any group: the test cannot tell anything",)
    gray = gray_test([1, 2, 3], [0, 0, 0], ["a", "b", "b"], cause=1, causes=(1, 2))
    assert gray.p_value is None
    assert "cannot tell" in gray.notes[-1]


def test_a_group_that_had_ended_before_the_first_event_takes_no_part() -> None:
    found = log_rank([1, 1, 4, 5, 6, 7], [0, 0, 1, 1, 1, 0], ["a", "a", "b", "c", "b", "c"])
    assert found.degrees_of_freedom == 1
    assert "nobody of group 'a' was at risk at any event" in found.notes
    alone = log_rank([1, 5, 6], [0, 1, 1], ["a", "b", "b"])
    assert alone.p_value is None
    assert "never at risk together" in alone.notes[-1]


BAD = [
    ({"times": [], "groups": [], "status": []}, "no rows"),
    ({"times": [1], "groups": ["a"], "status": [1]}, "found one row of follow-up; at least 2 needed"),
    ({"groups": ["a", "a", "a"]}, r"found 1 group \('a'\); a comparison needs at least 2"),
    ({"groups": ["a", "", "b"]}, "row 2 has no group"),
    ({"groups": ["a", None, "b"]}, "row 2 has no group"),
    ({"groups": [0.0, np.nan, 1.0]}, "row 2 has no group"),
    ({"groups": ["a", "b"]}, "give one group per row"),
    ({"strata": ["x", "x", ""]}, "row 3 has no stratum"),
    ({"status": [1, 0, 7]}, "row 3 has (status|event) 7"),
    ({"times": [1, -1, 3]}, "negative time"),
    ({"rho": float("nan")}, "rho"),
]


@pytest.mark.parametrize(("bad", "text"), BAD)
@pytest.mark.parametrize("which", ["log-rank", "gray"])
def test_bad_rows_are_refused_in_one_sentence(which, bad, text) -> None:
    given_ = {"times": [1, 2, 3], "status": [1, 0, 1], "groups": ["a", "b", "b"]} | bad
    rows = (given_.pop("times"), given_.pop("status"), given_.pop("groups"))
    more = {"cause": 1, "causes": (1, 2)} if which == "gray" else {}
    with pytest.raises(InputError, match=text):
        (gray_test if which == "gray" else log_rank)(*rows, **more, **given_)


def test_an_unknown_cause_or_tie_rule_is_refused() -> None:
    with pytest.raises(InputError, match="cause 3 is not among 1, 2"):
        gray_test([1, 2], [1, 2], ["a", "b"], cause=3, causes=(1, 2))
    with pytest.raises(InputError, match="tie rule 'efron' is not known; give one of hypergeometric, binomial"):
        log_rank([1, 2], [1, 1], ["a", "b"], ties="efron")


def test_many_strata_are_sums_of_their_tests() -> None:
    rng = np.random.default_rng(5)
    times, events, groups, strata = (
        rng.integers(1, 9, 90),
        rng.integers(0, 2, 90),
        rng.integers(0, 2, 90),
        np.arange(90) % 9,
    )
    whole = log_rank(times, events, groups, strata=strata)
    parts = [log_rank(times[s], events[s], groups[s]) for s in (strata == layer for layer in range(9))]
    np.testing.assert_allclose(whole.covariance, sum(part.covariance for part in parts), atol=1e-12)
    np.testing.assert_allclose(whole.observed, sum(part.observed for part in parts))
