"""Simulated trials agree with what is known exactly, and with the power the formulas promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import CensoredData, binom, chi2_contingency, logrank

from tailort.cohort.designs import (
    FollowUp,
    SimulatedChance,
    TwoStage,
    VirtualTrial,
    arms_of,
    exact_design,
    hazard_of,
    log_rank_size,
    log_rank_trial,
    one_proportion_trial,
    one_sample_log_rank_trial,
    schoenfeld_events,
    simulate,
    two_arms,
    two_proportions_size,
    two_proportions_trial,
    two_stage_trial,
)
from tailort.cohort.designs.simulation import log_rank
from tailort.errors import InputError

TRIALS = 20_000


def simulated(trial: VirtualTrial, seed: int = 11) -> SimulatedChance:
    return simulate(trial, TRIALS, np.random.default_rng(seed))


def agrees(found: SimulatedChance, exact: float) -> bool:
    return abs(found.share - exact) <= 4 * math.sqrt(exact * (1 - exact) / found.trials)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize(("null", "assumed"), [(0.55, 0.70), (0.50, 0.40)])
def test_the_exact_binomial_test_rejects_as_often_as_computed(null: float, assumed: float, sides: int) -> None:
    exact = exact_design(83, null, assumed, 0.05, sides)  # type: ignore[arg-type]
    for true, chance in ((assumed, exact.power), (null, exact.alpha)):
        trial = one_proportion_trial(83, null, assumed, true, 0.05, sides)  # type: ignore[arg-type]
        assert agrees(simulated(trial), chance)


def test_with_losses_the_exact_test_has_the_mean_power_of_the_numbers_that_remain() -> None:
    remain = range(1, 90)
    power = sum(binom.pmf(n, 89, 0.94) * exact_design(n, 0.55, 0.70, 0.05).power for n in remain)
    assert agrees(simulated(one_proportion_trial(89, 0.55, 0.70, 0.70, 0.05, lost=0.06)), power)


@pytest.mark.parametrize("lost", [0.0, 0.1])
def test_simons_design_rejects_as_often_as_computed_and_who_is_lost_counts_as_no_response(lost: float) -> None:
    design = TwoStage(1, 10, 5, 29)
    for true in (0.10, 0.30):
        assert agrees(simulated(two_stage_trial(design, true, lost)), design.rejected(true * (1 - lost)))


@pytest.mark.parametrize("variance", ["pooled", "corrected"])
def test_two_proportions_are_rejected_as_often_as_the_sum_over_every_table(variance: str) -> None:
    control, other, true = 24, 30, (0.3, 0.6)
    power = 0.0
    for first in range(control + 1):
        for second in range(other + 1):
            table = [[first, control - first], [second, other - second]]
            if 0 < first + second < control + other and (
                chi2_contingency(table, correction=variance == "corrected").pvalue < 0.05
            ):
                power += binom.pmf(first, control, true[0]) * binom.pmf(second, other, true[1])
    trial = two_proportions_trial(control, other, true, True, 0.05, variance=variance)  # type: ignore[arg-type]
    assert agrees(simulated(trial), power)


def test_the_log_rank_statistic_is_that_of_scipy() -> None:
    generator = np.random.default_rng(3)
    years, died = generator.exponential(1.0, (5, 40)), generator.random((5, 40)) < 0.7
    in_other = np.arange(40) >= 15
    difference, square = log_rank(years, died, in_other)
    for row in range(5):
        arms = [
            CensoredData(uncensored=years[row][arm & died[row]], right=years[row][arm & ~died[row]])
            for arm in (in_other, ~in_other)
        ]
        assert difference[row] / math.sqrt(square[row]) == pytest.approx(logrank(*arms).statistic)


@pytest.mark.parametrize("lost", [0.0, 0.1])
def test_schoenfelds_design_has_about_its_power_and_level(lost: float) -> None:
    hazard, ratio, followed = hazard_of(0.41, 2.0), 0.6, FollowUp(2.0, 3.0, lost)
    arms = two_arms(schoenfeld_events(ratio, 0.05, 0.8), hazard, ratio, followed)
    power, level = (
        simulate(
            log_rank_trial(arms.control, arms.other, (hazard, hazard * true), followed, 0.05),
            5000,
            np.random.default_rng(7),
        )
        for true in (ratio, 1.0)
    )
    # A formula of large numbers: within 1.5 points beyond the Monte-Carlo error.
    assert power.share == pytest.approx(0.80, abs=0.015 + 4 * power.standard_error)
    assert level.share == pytest.approx(0.05, abs=0.01 + 4 * level.standard_error)


@pytest.mark.parametrize("variance", ["null", "mean"])
def test_the_one_sample_log_rank_test_has_about_its_power_and_level(variance: str) -> None:
    followed, hazards = FollowUp(1.0, 2.0, 0.05), (hazard_of(0.55, 1.0), hazard_of(0.70, 1.0))
    size = log_rank_size(0.55, 0.70, 0.05, 0.80, variance, follow_up=followed, spread="exact")  # type: ignore[arg-type]
    power, level = (
        simulated(
            one_sample_log_rank_trial(math.ceil(size), hazards[0], true, followed, 0.05, variance)  # type: ignore[arg-type]
        )
        for true in (hazards[1], hazards[0])
    )
    assert power.share == pytest.approx(0.80, abs=0.025 + 4 * power.standard_error)
    assert level.share == pytest.approx(0.05, abs=0.01 + 4 * level.standard_error)


def test_the_normal_size_of_two_proportions_has_about_its_power_in_unequal_arms() -> None:
    arms = arms_of(two_proportions_size(0.55, 0.70, 0.05, 0.80, ratio=2.0), 2.0)
    found = simulated(two_proportions_trial(*arms, (0.55, 0.70), True, 0.05))
    assert found.share == pytest.approx(0.80, abs=0.01 + 4 * found.standard_error)


def test_a_one_sided_test_never_rejects_against_its_side() -> None:
    followed = FollowUp(5.0)
    assert simulated(one_sample_log_rank_trial(60, 0.5, 1.5, followed, 0.05, "null", 1)).share < 0.001
    assert simulated(log_rank_trial(60, 60, (0.5, 1.5), followed, 0.05, 1)).share < 0.001
    assert simulated(two_proportions_trial(60, 60, (0.7, 0.3), True, 0.05, 1)).share < 0.001


def test_the_same_seed_gives_the_same_answer_and_progress_ends_at_one() -> None:
    trial, told = one_proportion_trial(83, 0.55, 0.70, 0.70, 0.05), list[float]()
    one, same = (simulate(trial, 30_000, np.random.default_rng(2), told.append) for _ in range(2))
    assert one == same
    assert told[-1] == 1.0
    assert len(told) > 2
    assert one != simulate(trial, 30_000, np.random.default_rng(3))
    assert SimulatedChance(25, 100).standard_error == pytest.approx(math.sqrt(0.25 * 0.75 / 100))


def test_what_cannot_be_simulated_is_refused() -> None:
    trial = one_proportion_trial(10, 0.5, 0.6, 0.6, 0.05)
    with pytest.raises(InputError, match="0 simulated trials"):
        simulate(trial, 0, np.random.default_rng(1))
    with pytest.raises(InputError, match="share lost"):
        one_proportion_trial(10, 0.5, 0.6, 0.6, 0.05, lost=1.0)
    with pytest.raises(InputError, match="not simulated"):
        log_rank_trial(100_000, 100_000, (0.5, 0.6), FollowUp(1.0), 0.05)
    with pytest.raises(InputError, match="true proportion"):
        two_stage_trial(TwoStage(1, 10, 5, 29), 1.0)
