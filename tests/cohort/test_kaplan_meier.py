"""Kaplan-Meier: its laws, what cannot be told, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.cohort.survival import INTERVALS, kaplan_meier, reverse_kaplan_meier
from tailort.errors import InputError

ROWS = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40)


def split(rows) -> tuple[np.ndarray, np.ndarray]:
    times, events = zip(*rows, strict=True)
    return np.array(times, dtype=float), np.array(events)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40))
def test_without_censoring_it_is_the_share_that_lived_longer(times) -> None:
    curve = kaplan_meier(times, np.ones(len(times), dtype=int))
    share = [np.mean(np.array(times) > time) for time in curve.times]
    np.testing.assert_allclose(curve.survival, share, atol=1e-12)


@given(st.lists(st.integers(0, 20), min_size=2, max_size=40))
def test_without_censoring_greenwoods_error_is_that_of_a_share(times) -> None:
    curve = kaplan_meier(times, np.ones(len(times), dtype=int))
    some = curve.survival > 0
    binomial = np.sqrt(curve.survival * (1 - curve.survival) / len(times))
    np.testing.assert_allclose(curve.standard_error[some], binomial[some], atol=1e-12)


@given(ROWS, st.randoms(use_true_random=False), st.sampled_from(INTERVALS))
def test_the_order_of_rows_does_not_matter(rows, random, interval) -> None:
    other = random.sample(rows, len(rows))
    one, two = (kaplan_meier(*split(some), interval=interval) for some in (rows, other))
    for word in ("times", "at_risk", "survival", "standard_error", "lower", "upper"):
        np.testing.assert_array_equal(getattr(one, word), getattr(two, word))


@given(ROWS, st.sampled_from([1 / 30.4375, 7.0, 1e-3, 365.25]))
def test_the_unit_of_time_does_not_matter(rows, factor) -> None:
    times, events = split(rows)
    one, two = kaplan_meier(times, events), kaplan_meier(times * factor, events)
    np.testing.assert_array_equal(one.survival, two.survival)
    for fraction in (0.25, 0.5, 0.75):
        found, scaled = one.quantile(fraction), two.quantile(fraction)
        for word in ("time", "lower", "upper"):
            in_first = getattr(found, word)
            assert getattr(scaled, word) == (None if in_first is None else pytest.approx(in_first * factor))


@given(ROWS, st.sampled_from(INTERVALS), st.floats(0.5, 0.99))
def test_limits_are_shares_around_the_estimate(rows, interval, confidence) -> None:
    curve = kaplan_meier(*split(rows), interval=interval, confidence=confidence)
    told = np.isfinite(curve.lower)
    assert np.all(curve.lower[told] >= 0)
    assert np.all(curve.upper[told] <= 1)
    assert np.all(curve.lower[told] <= curve.survival[told] + 1e-12)
    assert np.all(curve.survival[told] <= curve.upper[told] + 1e-12)
    assert np.all(told == np.isfinite(curve.upper))


@given(ROWS)
def test_survival_falls_and_everybody_is_counted_once(rows) -> None:
    curve = kaplan_meier(*split(rows))
    assert np.all(np.diff(curve.survival) <= 0)
    assert curve.events.sum() + curve.censored.sum() == curve.patients == len(rows)
    np.testing.assert_array_equal(curve.at_risk_at(curve.times), curve.at_risk)


@given(ROWS)
def test_a_quantile_is_where_the_curve_read_at_it_reaches_the_share(rows) -> None:
    curve = kaplan_meier(*split(rows))
    median = curve.median()
    reached = curve.survival <= 0.5 + 1e-9
    if median.time is None:
        assert not reached.any()
    else:
        assert curve.times[reached].min() <= median.time
        assert curve.at([median.time])[0].estimate == pytest.approx(min(0.5, curve.survival[reached].max()))


def test_times_that_differ_by_rounding_are_one_time() -> None:
    days = np.array([92, 92, 121, 365])
    months = np.array([92 / 30.4375, 92 * (1 / 30.4375), 121 / 30.4375, 365 / 30.4375])
    months[1] = np.nextafter(months[0], 99)
    one, two = kaplan_meier(days, [1, 0, 1, 0]), kaplan_meier(months, [1, 0, 1, 0])
    np.testing.assert_array_equal(one.survival, two.survival)
    assert two.at([3.022587268993839])[0].estimate == 0.75


def test_a_patient_censored_at_the_time_of_an_event_was_at_risk() -> None:
    assert kaplan_meier([5, 5, 9], [1, 0, 0]).survival[0] == pytest.approx(2 / 3)


def test_a_median_on_a_flat_part_is_its_middle() -> None:
    assert kaplan_meier([1, 2, 6, 8], [1, 1, 1, 1]).median().time == 4.0


def test_a_median_that_is_not_reached_is_none() -> None:
    median = kaplan_meier(np.arange(1, 21), [1] + 19 * [0]).median()
    assert (median.time, median.lower, median.upper) == (None, None, None)


def test_beyond_the_last_follow_up_survival_is_unknown_unless_nobody_was_left() -> None:
    alive, dead = kaplan_meier([1, 2], [1, 0]), kaplan_meier([1, 2], [0, 1])
    assert alive.at([2])[0].estimate == 0.5
    assert alive.at([2.5])[0].estimate is None
    assert alive.at([2.5])[0].at_risk == 0
    assert dead.at([2.5])[0].estimate == 0.0


def test_before_the_first_event_survival_is_1_without_limits() -> None:
    early = kaplan_meier([3, 4], [1, 0]).at([1])[0]
    assert (early.estimate, early.lower, early.upper, early.at_risk) == (1.0, None, None, 2)


def test_all_censored_is_told() -> None:
    curve = kaplan_meier([3, 4, 5], [0, 0, 0])
    assert curve.survival.tolist() == [1, 1, 1]
    assert curve.median().time is None
    assert curve.notes == ("no event among 3 patients: the curve stays at 1 and its limits cannot be told",)


def test_one_patient_is_told() -> None:
    assert "one patient" in kaplan_meier([3], [1]).notes[0]


@given(ROWS)
def test_follow_up_takes_the_end_of_follow_up_as_event(rows) -> None:
    times, events = split(rows)
    follow = reverse_kaplan_meier(times, events)
    assert follow.event_count == np.sum(~events)


def test_follow_up_of_those_who_all_live_is_their_median_time() -> None:
    assert reverse_kaplan_meier([10, 20, 30], [0, 0, 0]).median().time == 20.0


def test_arrays_of_a_curve_cannot_be_written() -> None:
    curve = kaplan_meier([3, 4], [1, 0])
    with pytest.raises(ValueError, match="read-only"):
        curve.survival[0] = 1.0


@pytest.mark.parametrize(
    ("times", "events", "text"),
    [
        ([], [], "no rows"),
        ([1, -2], [1, 0], "row 2 has the negative time -2"),
        ([1, np.nan], [1, 0], "row 2 has no finite time"),
        ([1, np.inf], [1, 0], "row 2 has no finite time"),
        ([1, 2], [1, 2], "row 2 has event 2; known are 0, 1"),
        ([1, 2], [1, np.nan], "row 2 has event nan"),
        ([1, 2], [1], "found 2 times and event of shape"),
        ([1, 2], ["yes", "no"], "not a number"),
        (["a", "b"], [1, 0], "a time is not a number"),
        ([[1, 2]], [1, 0], "one number per row"),
    ],
)
def test_bad_rows_are_refused_in_one_sentence(times, events, text) -> None:
    with pytest.raises(InputError, match=text):
        kaplan_meier(times, events)


def test_bad_wishes_are_refused() -> None:
    curve = kaplan_meier([3, 4], [1, 0])
    with pytest.raises(InputError, match="interval 'arcsin' is not known"):
        kaplan_meier([3, 4], [1, 0], interval="arcsin")
    with pytest.raises(InputError, match="confidence of 95"):
        kaplan_meier([3, 4], [1, 0], confidence=95)
    with pytest.raises(InputError, match="fraction 50"):
        curve.quantile(50)
    with pytest.raises(InputError, match="negative or not a number"):
        curve.at([-1])
