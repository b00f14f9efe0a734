"""Two arms: events of the log-rank test, patients in whom they are seen, sizes of compared proportions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from tailort.cohort.designs import (
    FollowUp,
    arms_of,
    enrolled,
    freedman_events,
    hazard_of,
    log_rank_size,
    schoenfeld_events,
    two_arms,
    two_proportions_size,
)
from tailort.cohort.designs.one_sample_log_rank import exact_variance
from tailort.errors import InputError

CHANCE = st.floats(0.05, 0.95)


@pytest.mark.parametrize(("hazard_ratio", "patients"), [(1.25, 1264), (1.5, 384), (1.75, 204), (2.0, 132)])
def test_schoenfelds_numbers_are_those_printed_by_a_trials_journal(hazard_ratio: float, patients: int) -> None:
    """doi:10.1186/s13063-015-0727-9, Table 1: 5 %, power 80 %, half censored; the events of each arm are rounded up."""
    of_each_arm = math.ceil(schoenfeld_events(hazard_ratio, 0.05, 0.80) / 2)
    assert 2 * of_each_arm / 0.5 == patients


def test_r_documents_the_same_number_for_two_proportions() -> None:
    """Help page of power.prop.test: p1 = .50, p2 = .75, power = .90 needs n = 76.7 in each group."""
    assert round(two_proportions_size(0.50, 0.75, 0.05, 0.90), 1) == 76.7


def test_fleiss_numbers_with_and_without_correction() -> None:
    assert math.ceil(two_proportions_size(0.6, 0.7, 0.05, 0.80)) == 356
    assert math.ceil(two_proportions_size(0.6, 0.7, 0.05, 0.80, "corrected")) == 376


@given(st.floats(1.1, 5.0), st.floats(0.2, 5.0))
def test_events_do_not_depend_on_which_arm_is_called_control(hazard_ratio: float, ratio: float) -> None:
    for events in (schoenfeld_events, freedman_events):
        one = events(hazard_ratio, 0.05, 0.8, ratio=ratio)
        assert events(1 / hazard_ratio, 0.05, 0.8, ratio=1 / ratio) == pytest.approx(one)
    assert schoenfeld_events(hazard_ratio, 0.05, 0.8, ratio=ratio) >= schoenfeld_events(hazard_ratio, 0.05, 0.8) * (
        1 - 1e-12
    )


@given(CHANCE, CHANCE, st.sampled_from(["pooled", "unpooled", "corrected"]))
def test_sizes_fall_with_the_difference_and_rise_with_the_power(one: float, other: float, variance: str) -> None:
    near, far = 0.5 + (one - 0.5) / 2, one
    if abs(far - 0.5) < 0.02:
        return
    size = two_proportions_size(0.5, near, 0.05, 0.8, variance)  # type: ignore[arg-type]
    assert two_proportions_size(0.5, far, 0.05, 0.8, variance) < size  # type: ignore[arg-type]
    assert two_proportions_size(0.5, near, 0.05, 0.9, variance) > size  # type: ignore[arg-type]
    assert two_proportions_size(0.5, near, 0.05, 0.8, variance, sides=1) < size  # type: ignore[arg-type]
    assert two_proportions_size(0.5, 1 - near, 0.05, 0.8, variance) == pytest.approx(size)  # type: ignore[arg-type]


@given(st.floats(0.05, 3.0), st.floats(0.0, 5.0), st.floats(0.1, 5.0), st.floats(0.0, 0.5))
def test_deaths_seen_and_years_followed_are_the_integrals_over_entry_and_time(
    hazard: float, accrual: float, after: float, lost: float
) -> None:
    accrual = 0.0 if accrual < 1e-3 else accrual
    followed = FollowUp(after, accrual, lost)

    def still_followed(time: float) -> float:
        entered = 1.0 if time <= after else (after + accrual - time) / accrual if accrual else 0.0
        return math.exp(-(hazard + followed.loss_hazard) * time) * max(entered, 0.0)

    def integral(weight: int) -> float:
        parts = [(0.0, after), (after, after + accrual)]
        return sum(quad(lambda time: time**weight * still_followed(time), *part, epsabs=1e-12)[0] for part in parts)

    assert followed.seen(hazard) == pytest.approx(hazard * integral(0), rel=1e-6)
    assert followed.mean_square_years(hazard) == pytest.approx(2 * integral(1), rel=1e-6)


def test_more_losses_or_less_follow_up_ask_for_more_patients_and_the_expected_deaths_are_enough() -> None:
    hazard, events = hazard_of(0.41, 2.0), schoenfeld_events(0.7, 0.05, 0.8)
    kept, lost = (two_arms(events, hazard, 0.7, FollowUp(2.0, 3.0, share)) for share in (0.0, 0.1))
    shorter = two_arms(events, hazard, 0.7, FollowUp(1.0, 3.0))
    assert kept.patients < lost.patients
    assert kept.patients < shorter.patients
    for arms in (kept, lost, shorter):
        assert arms.control * arms.seen_control + arms.other * arms.seen_other >= arms.events
    uneven = two_arms(events, hazard, 0.7, FollowUp(2.0, 3.0), ratio=2.0)
    assert uneven.other == pytest.approx(2 * uneven.control, abs=1)


def test_followed_for_ever_every_death_is_seen() -> None:
    assert FollowUp(1000.0).seen(0.5) == pytest.approx(1.0)
    assert two_arms(65.35, 0.5, 2.0, FollowUp(1000.0)).patients == 66


def test_the_exact_variance_is_that_of_drawn_patients() -> None:
    followed, hazard, ratio = FollowUp(1.0, 2.0, 0.1), 0.5, 1.6
    years, died = followed.draw(hazard, (400_000,), np.random.default_rng(5))
    drawn = died - ratio * hazard * years
    assert exact_variance(hazard, ratio, followed) == pytest.approx(np.var(drawn), rel=0.01)
    assert exact_variance(hazard, 1.0, followed) == pytest.approx(followed.seen(hazard))


def test_the_one_sample_log_rank_test_needs_fewer_patients_the_longer_they_are_followed() -> None:
    sizes = [
        log_rank_size(0.55, 0.70, 0.05, 0.8, "null", follow_up=FollowUp(after, 2.0), spread="exact")
        for after in (0.5, 1.0, 3.0)
    ]
    assert sizes == sorted(sizes, reverse=True)
    lost = log_rank_size(0.55, 0.70, 0.05, 0.8, "null", follow_up=FollowUp(1.0, 2.0, 0.1), spread="exact")
    assert lost > sizes[1]


@given(st.integers(1, 5000), st.floats(0.0, 0.9))
def test_of_the_enrolled_enough_remain_and_of_one_fewer_not(patients: int, lost: float) -> None:
    number = enrolled(patients, lost)
    assert number * (1 - lost) >= patients - 1e-6
    assert (number - 1) * (1 - lost) < patients


def test_282_of_300_remain_of_whom_6_percent_are_lost() -> None:
    assert enrolled(282, 0.06) == 300


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="hazard ratio is 1:"):
        schoenfeld_events(1.0, 0.05, 0.8)
    with pytest.raises(InputError, match="hazard ratio is -2"):
        schoenfeld_events(-2.0, 0.05, 0.8)
    with pytest.raises(InputError, match="ratio of the arms"):
        two_proportions_size(0.5, 0.6, 0.05, 0.8, ratio=0.0)
    with pytest.raises(InputError, match="control and assumed"):
        two_proportions_size(0.5, 0.5, 0.05, 0.8)
    with pytest.raises(InputError, match="1 or 2"):
        schoenfeld_events(2.0, 0.05, 0.8, sides=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"accrual takes 1e-09 years; expected 0, or 0.001 to 1000"):
        FollowUp(1.0, 1e-9)
    with pytest.raises(InputError, match=r"told at 0 years; expected 0.001 to 1000"):
        hazard_of(0.5, 0.0)
    with pytest.raises(InputError, match="both 0 years"):
        FollowUp(0.0)
    with pytest.raises(InputError, match="lost in a year"):
        FollowUp(1.0, 0.0, 1.0)
    with pytest.raises(InputError, match="no death is seen"):
        FollowUp(1.0).seen(1e-12)
    with pytest.raises(InputError, match="share lost"):
        enrolled(10, 1.0)
    with pytest.raises(InputError, match="no variance 'median'"):
        log_rank_size(0.5, 0.6, 0.05, 0.8, "median")  # type: ignore[arg-type]
    assert arms_of(99.5, 2.0) == (100, 199)
