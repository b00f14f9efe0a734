"""Boundaries that stop a trial: exact binomial and Bayesian."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.cohort.monitoring import MonitoringDesign, boundary, chance_of_stopping, monitored
from tailort.errors import InputError


def exact(limit: float = 0.1, looks: tuple[int, ...] = (10, 20), level: float = 0.05) -> MonitoringDesign:
    return MonitoringDesign("grade 5", limit, looks, level, "exact-binomial")


def at_least(x: int, n: int, p: float) -> float:
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(x, n + 1))


@given(st.floats(0.02, 0.6), st.integers(1, 40), st.floats(0.005, 0.3))
def test_the_exact_boundary_is_the_smallest_number_that_is_rare_enough(limit: float, n: int, level: float) -> None:
    found = boundary(exact(limit, (n,), level))[0].stop_from
    allowed = [x for x in range(n + 1) if at_least(x, n, limit) <= level * (1 - 1e-9)]
    close = [x for x in range(n + 1) if at_least(x, n, limit) <= level * (1 + 1e-9)]
    assert found in {min(allowed, default=None), min(close, default=None)}


def test_a_uniform_prior_gives_the_posterior_that_counting_gives() -> None:
    # With beta(1, 1), P(p > limit | x of n) is P(at most x of n + 1 at the limit).
    design = MonitoringDesign("grade 5", 0.1, (12,), 0.9, "bayes", (1.0, 1.0))
    posterior = [1 - at_least(x + 1, 13, 0.1) for x in range(13)]
    assert boundary(design)[0].stop_from == next(x for x, p in enumerate(posterior) if p >= 0.9)


@settings(max_examples=25)
@given(st.floats(0.0, 1.0), st.floats(0.05, 0.5), st.floats(0.01, 0.3))
def test_the_chance_of_stopping_is_that_of_counting_every_course(rate: float, limit: float, level: float) -> None:
    design = exact(limit, (2, 3, 6), level)
    total = 0.0
    for course in itertools.product((False, True), repeat=6):
        if monitored(design, course).answer == "stop":
            total += math.prod(rate if one else 1 - rate for one in course)
    assert chance_of_stopping(design, rate) == pytest.approx(total, abs=1e-12)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_never_lowers_the_chance_of_stopping(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert chance_of_stopping(exact(), low) <= chance_of_stopping(exact(), high) + 1e-12


@given(st.lists(st.booleans() | st.none(), max_size=25))
def test_what_is_unknown_can_only_open_an_answer(outcomes: list[bool | None]) -> None:
    found = monitored(exact(), outcomes).answer
    best = monitored(exact(), [one is True for one in outcomes]).answer
    worst = monitored(exact(), [one is not False for one in outcomes]).answer
    assert found == (best if best == worst else "unknown")


def test_a_look_that_is_not_reached_has_no_count() -> None:
    found = monitored(exact(), [True] * 3 + [False] * 9)
    assert (found.answer, found.looks[0].events, found.looks[1].events) == ("go on", 3, None)
    assert monitored(exact(), [True] * 9).answer == "no look yet"
    assert monitored(exact(), [True] * 4 + [False] * 6).answer == "stop"


def test_a_rule_that_no_number_of_events_can_meet_never_stops() -> None:
    design = exact(0.5, (2,), 0.01)
    assert boundary(design)[0].stop_from is None
    assert chance_of_stopping(design, 1.0) == 0.0


def test_the_rule_is_told_in_words() -> None:
    assert "after 10, 20 patients" in exact().described()
    assert "prior beta 1, 9" in MonitoringDesign("x", 0.1, (5,), 0.9, "bayes", (1.0, 9.0)).described()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"limit": 0.0}, "limit"), ({"level": 1.0}, "level"), ({"looks": ()}, "ascending"),
        ({"looks": (5, 5)}, "ascending"), ({"method": "guess"}, "expected 'exact-binomial'"),
        ({"method": "bayes"}, "needs one"), ({"prior": (1.0, 1.0)}, "needs one"),
        ({"method": "bayes", "prior": (0.0, 1.0)}, "above 0"),
    ],
)  # fmt: skip
def test_designs_that_cannot_be_are_refused(told: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"event": "x", "limit": 0.1, "looks": (5,), "level": 0.05, "method": "exact-binomial"}
    with pytest.raises(InputError, match=message):
        MonitoringDesign(**(values | told))  # type: ignore[arg-type]
