"""Cumulative incidence with competing events: its laws, a worked example, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.cohort.incidence import VARIANCES, aalen_johansen
from tailort.cohort.survival import kaplan_meier
from tailort.errors import InputError

ROWS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=40)
CAUSES = (1, 2, 3)


def split(rows) -> tuple[np.ndarray, np.ndarray]:
    times, status = zip(*rows, strict=True)
    return np.array(times, dtype=float), np.array(status)


def test_we_99_local_failure_with_death_as_the_competing_event() -> None:
    times, status = [2, 3, 4, 5, 6, 8], [1, 2, 0, 1, 2, 0]
    curve = aalen_johansen(times, status, causes=(1, 2))
    assert curve.at(1, [8])[0].estimate == pytest.approx(0.388889, abs=1e-6)
    assert curve.event_free[-1] == pytest.approx(0.222222, abs=1e-6)
    wrong = 1 - kaplan_meier(times, np.array(status) == 1).survival[-1]
    assert wrong == pytest.approx(0.444444, abs=1e-6)


@given(ROWS)
def test_all_causes_and_those_without_any_event_are_everybody(rows) -> None:
    times, status = split(rows)
    curve = aalen_johansen(times, status, causes=CAUSES)
    free = kaplan_meier(times, status > 0)
    np.testing.assert_array_equal(curve.times, free.times)
    np.testing.assert_allclose(curve.incidence.sum(axis=1) + free.survival, 1.0, atol=1e-12)
    np.testing.assert_allclose(curve.event_free, free.survival, atol=1e-14)


@given(ROWS)
def test_incidence_is_at_most_1_minus_kaplan_meier_that_censors_the_others(rows) -> None:
    times, status = split(rows)
    curve = aalen_johansen(times, status, causes=CAUSES)
    for place, cause in enumerate(CAUSES):
        naive = 1 - kaplan_meier(times, status == cause).survival
        assert np.all(curve.incidence[:, place] <= naive + 1e-12)


@given(ROWS)
def test_without_censoring_it_is_the_share_that_had_the_event(rows) -> None:
    times, status = split(rows)
    status[status == 0] = 1
    curve = aalen_johansen(times, status, causes=CAUSES, variance="delta")
    for place, cause in enumerate(CAUSES):
        share = np.array([np.mean((times <= time) & (status == cause)) for time in curve.times])
        np.testing.assert_allclose(curve.incidence[:, place], share, atol=1e-12)
        error = np.sqrt(share * (1 - share) / len(times))
        np.testing.assert_allclose(curve.standard_error[:, place], error, atol=1e-7)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1)), min_size=2, max_size=40))
def test_the_delta_variance_of_one_cause_is_greenwoods(rows) -> None:
    times, status = split(rows)
    curve, free = aalen_johansen(times, status, causes=(1,), variance="delta"), kaplan_meier(times, status)
    some = free.survival > 0
    np.testing.assert_allclose(curve.standard_error[some, 0], free.standard_error[some], atol=1e-7)


@given(ROWS)
def test_the_delta_variance_is_the_sum_of_squared_influences(rows) -> None:
    times, status = split(rows)
    curve = aalen_johansen(times, status, causes=CAUSES, variance="delta")
    step = 1e-5

    def weighted(row: int, change: float) -> np.ndarray:
        """Incidence of cause 1 at the last time when one patient counts a little more."""
        weight = np.ones(len(times))
        weight[row] += change
        free, incidence = 1.0, 0.0
        for time in np.unique(times):
            n = weight[times >= time].sum()
            own, every = (weight[(times == time) & wanted].sum() for wanted in (status == 1, status > 0))
            incidence += free * own / n
            free *= 1 - every / n
        return incidence

    influence = [(weighted(row, step) - weighted(row, -step)) / (2 * step) for row in range(len(times))]
    assert curve.standard_error[-1, 0] ** 2 == pytest.approx(np.sum(np.square(influence)), abs=1e-7)


@given(ROWS, st.randoms(use_true_random=False), st.sampled_from(VARIANCES))
def test_the_order_of_rows_and_of_causes_does_not_matter(rows, random, variance) -> None:
    other = random.sample(rows, len(rows))
    one = aalen_johansen(*split(rows), causes=(1, 2, 3), variance=variance)
    two = aalen_johansen(*split(other), causes=(3, 1, 2), variance=variance)
    for word in ("incidence", "standard_error", "lower", "upper"):
        np.testing.assert_allclose(getattr(one, word), getattr(two, word)[:, [1, 2, 0]], atol=1e-12)


@given(ROWS, st.sampled_from(VARIANCES))
def test_limits_are_shares_around_the_estimate(rows, variance) -> None:
    curve = aalen_johansen(*split(rows), causes=CAUSES, variance=variance)
    told = np.isfinite(curve.lower)
    assert np.all((curve.lower >= 0)[told])
    assert np.all((curve.upper <= 1)[told])
    assert np.all((curve.lower <= curve.incidence + 1e-12)[told])
    assert np.all((curve.incidence <= curve.upper + 1e-12)[told])
    assert np.array_equal(told, (curve.incidence > 0) & (curve.incidence < 1))


@given(ROWS, st.sampled_from([1 / 30.4375, 365.25]), st.sampled_from(VARIANCES))
def test_the_unit_of_time_does_not_matter(rows, factor, variance) -> None:
    times, status = split(rows)
    one = aalen_johansen(times, status, causes=CAUSES, variance=variance)
    two = aalen_johansen(times * factor, status, causes=CAUSES, variance=variance)
    np.testing.assert_array_equal(one.incidence, two.incidence)
    np.testing.assert_array_equal(one.standard_error, two.standard_error)


def test_ties_stay_tied_and_nothing_is_drawn_at_random() -> None:
    curves = [aalen_johansen([1, 1, 1, 2], [1, 2, 1, 0], causes=(1, 2)) for _ in range(2)]
    np.testing.assert_array_equal(curves[0].incidence, curves[1].incidence)
    assert curves[0].incidence[0].tolist() == [0.5, 0.25]


def test_a_cause_that_nobody_had_keeps_an_incidence_of_0_and_is_told() -> None:
    curve = aalen_johansen([1, 2, 3], [1, 0, 1], causes=(1, 2))
    assert not curve.incidence[:, 1].any()
    assert curve.notes == ("no event of cause 2 among 3 patients: its limits cannot be told",)
    rate = curve.at(2, [2])[0]
    assert (rate.estimate, rate.lower, rate.upper) == (0.0, None, None)


def test_beyond_the_last_follow_up_incidence_is_unknown_unless_all_had_an_event() -> None:
    assert aalen_johansen([1, 2], [1, 0], causes=(1, 2)).at(1, [3])[0].estimate is None
    assert aalen_johansen([1, 2], [1, 2], causes=(1, 2)).at(1, [3])[0].estimate == 0.5


@pytest.mark.parametrize(
    ("times", "status", "causes", "text"),
    [
        ([], [], (1,), "no rows"),
        ([1, 2], [1, 3], (1, 2), "row 2 has status 3; known are 0, 1, 2"),
        ([1, -2], [1, 0], (1, 2), "negative time"),
        ([1, 2], [1, 0], (1, 1), "each once"),
        ([1, 2], [1, 0], (0, 1), "each once"),
    ],
)
def test_bad_rows_are_refused_in_one_sentence(times, status, causes, text) -> None:
    with pytest.raises(InputError, match=text):
        aalen_johansen(times, status, causes=causes)


def test_an_unknown_variance_or_cause_is_refused() -> None:
    with pytest.raises(InputError, match="variance 'best' is not known; give one of aalen, delta"):
        aalen_johansen([1, 2], [1, 0], causes=(1, 2), variance="best")
    with pytest.raises(InputError, match="cause 3 is not among 1, 2"):
        aalen_johansen([1, 2], [1, 0], causes=(1, 2)).at(3, [1])
