"""Power and level of a design by simulated trials, as a check of its formula and where there is none.

A `VirtualTrial` draws trials and tells which of them reject the null hypothesis; `simulate` counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tailort.cohort.designs.asked import Sides, check_chance, check_sides, critical
from tailort.cohort.designs.follow_up import FollowUp
from tailort.cohort.designs.one_proportion import LARGEST, exact_design
from tailort.cohort.designs.one_sample_log_rank import Variance
from tailort.cohort.designs.two_proportions import Pooling
from tailort.cohort.designs.two_stage import TwoStage
from tailort.errors import InputError

MOST_TRIALS = 1_000_000
# Patients of all trials that are drawn at once: some tens of megabytes.
AT_ONCE = 1_000_000
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SimulatedChance:
    """How many of the simulated trials rejected the null hypothesis.

    Parameters
    ----------
    rejected, trials : int
        Trials that did, and all.
    """

    rejected: int
    trials: int

    @property
    def share(self) -> float:
        """Of the trials: the power where the assumed proportion was drawn, the level where the null was."""
        return self.rejected / self.trials

    @property
    def standard_error(self) -> float:
        """Monte-Carlo standard error of the share; 0 where no trial rejected, or all."""
        return math.sqrt(self.share * (1 - self.share) / self.trials)


@dataclass(frozen=True)
class VirtualTrial:
    """A trial to simulate.

    Parameters
    ----------
    patients : int
        Of one trial.
    rejects : callable
        Of a generator and a number of trials: whether each rejects the null hypothesis.
    """

    patients: int
    rejects: Callable[[np.random.Generator, int], Bools]

    def __post_init__(self) -> None:
        if not 1 <= self.patients <= LARGEST:
            raise InputError(f"a trial of {self.patients} patients is not simulated; expected 1 to {LARGEST}")


def simulate(
    trial: VirtualTrial,
    trials: int,
    generator: np.random.Generator,
    progress: Callable[[float], None] = lambda share: None,
) -> SimulatedChance:
    """Simulate a trial many times.

    Parameters
    ----------
    trial : VirtualTrial
        What to simulate.
    trials : int
        How often, 1 to 1,000,000.
    generator : numpy.random.Generator
        Same seed, same answer.
    progress : callable
        Told the share done.

    Raises
    ------
    InputError
        When the number of trials is out of range.
    """
    if not 1 <= trials <= MOST_TRIALS:
        raise InputError(f"{trials} simulated trials are asked for; expected 1 to {MOST_TRIALS}")
    batch = max(1, AT_ONCE // trial.patients)
    rejected = 0
    for done in range(0, trials, batch):
        rejected += int(np.count_nonzero(trial.rejects(generator, min(batch, trials - done))))
        progress(min(done + batch, trials) / trials)
    return SimulatedChance(rejected, trials)


def one_proportion_trial(
    patients: int, null: float, assumed: float, true: float, alpha: float, sides: Sides = 2, lost: float = 0.0
) -> VirtualTrial:
    """One arm judged by the exact binomial test of those who are not lost.

    Parameters
    ----------
    patients : int
        Enrolled.
    null, assumed : float
        Proportions under the null hypothesis, and as assumed: it tells the side of a one-sided test.
    true : float
        Proportion that is drawn.
    alpha, sides
        As in `exact_design`.
    lost : float
        Chance that a patient cannot be judged, whatever the outcome.
    """
    exact_design(patients, null, assumed, alpha, sides)
    check_chance(true, "true proportion")
    kept = 1 - _share(lost)

    def rejects(generator: np.random.Generator, trials: int) -> Bools:
        judged = generator.binomial(patients, kept, trials)
        successes = generator.binomial(judged, true)
        low, high = np.full(patients + 1, -1), np.full(patients + 1, patients + 1)
        for number in np.unique(judged[judged > 0]):
            design = exact_design(int(number), null, assumed, alpha, sides)
            low[number], high[number] = design.reject_at_most, design.reject_at_least
        return np.asarray((successes <= low[judged]) | (successes >= high[judged]))

    return VirtualTrial(patients, rejects)


def two_stage_trial(design: TwoStage, true: float, lost: float = 0.0) -> VirtualTrial:
    """Simon's design; who is lost counts as no response."""
    check_chance(true, "true proportion")
    seen = true * (1 - _share(lost))
    second = design.patients - design.first_patients

    def rejects(generator: np.random.Generator, trials: int) -> Bools:
        first = generator.binomial(design.first_patients, seen, trials)
        both = first + generator.binomial(second, seen, trials)
        return np.asarray((first > design.stop_at_most) & (both > design.fail_at_most))

    return VirtualTrial(design.patients, rejects)


def two_proportions_trial(
    control: int, other: int, true: tuple[float, float], rises: bool, alpha: float, sides: Sides = 2,
    variance: Pooling = "pooled", lost: float = 0.0,
) -> VirtualTrial:  # fmt: skip
    """Two arms judged by the normal test of their proportions, of those who are not lost.

    Parameters
    ----------
    control, other : int
        Enrolled in the arms.
    true : (float, float)
        Proportions that are drawn, of the control arm and of the other.
    rises : bool
        Whether a one-sided test asks for more in the other arm.
    alpha, sides, variance
        As in `two_proportions_size`.
    lost : float
        Chance that a patient cannot be judged, whatever the outcome.
    """
    for value in true:
        check_chance(value, "true proportion")
    check_chance(alpha, "alpha")
    check_sides(sides)
    kept, beyond = 1 - _share(lost), critical(alpha, sides)

    def rejects(generator: np.random.Generator, trials: int) -> Bools:
        judged = [np.maximum(generator.binomial(enrolled, kept, trials), 1) for enrolled in (control, other)]
        counts = [generator.binomial(number, chance) for number, chance in zip(judged, true, strict=True)]
        first, second = (count / number for count, number in zip(counts, judged, strict=True))
        inverse = 1 / judged[0] + 1 / judged[1]
        if variance == "unpooled":
            square = first * (1 - first) / judged[0] + second * (1 - second) / judged[1]
        else:
            mean = (counts[0] + counts[1]) / (judged[0] + judged[1])
            square = mean * (1 - mean) * inverse
        difference = second - first
        if variance == "corrected":
            difference = np.sign(difference) * np.maximum(np.abs(difference) - inverse / 2, 0)
        return _beyond(difference, square, beyond, sides, rises)

    return VirtualTrial(control + other, rejects)


def one_sample_log_rank_trial(
    patients: int, null_hazard: float, true_hazard: float, follow_up: FollowUp, alpha: float, variance: Variance,
    sides: Sides = 2, fewer_deaths: bool = True,
) -> VirtualTrial:  # fmt: skip
    """One arm judged by the one-sample log-rank test.

    Parameters
    ----------
    patients : int
        Enrolled; losses are those of the follow-up.
    null_hazard, true_hazard : float
        Hazards of death, per year: under the null hypothesis, and drawn.
    follow_up : FollowUp
        Accrual, follow-up and losses.
    alpha, variance, sides
        As in `log_rank_size`.
    fewer_deaths : bool
        Whether a one-sided test asks for fewer deaths than under the null hypothesis.
    """
    beyond = critical(alpha, sides)

    def rejects(generator: np.random.Generator, trials: int) -> Bools:
        years, died = follow_up.draw(true_hazard, (trials, patients), generator)
        observed, expected = died.sum(axis=1), null_hazard * years.sum(axis=1)
        square = expected if variance == "null" else (observed + expected) / 2
        return _beyond(observed - expected, square, beyond, sides, not fewer_deaths)

    return VirtualTrial(patients, rejects)


def log_rank_trial(
    control: int, other: int, hazards: tuple[float, float], follow_up: FollowUp, alpha: float, sides: Sides = 2,
    fewer_deaths: bool = True,
) -> VirtualTrial:  # fmt: skip
    """Two arms judged by the log-rank test at the end of follow-up.

    Parameters
    ----------
    control, other : int
        Enrolled in the arms; losses are those of the follow-up.
    hazards : (float, float)
        Hazards of death that are drawn, per year, of the control arm and of the other.
    follow_up : FollowUp
        Accrual, follow-up and losses.
    alpha, sides
        Of the test.
    fewer_deaths : bool
        Whether a one-sided test asks for fewer deaths in the other arm.
    """
    beyond = critical(alpha, sides)

    def rejects(generator: np.random.Generator, trials: int) -> Bools:
        drawn = [
            follow_up.draw(hazard, (trials, number), generator)
            for hazard, number in zip(hazards, (control, other), strict=True)
        ]
        years, died = (np.concatenate(parts, axis=1) for parts in zip(*drawn, strict=True))
        difference, square = log_rank(years, died.astype(bool), np.arange(control + other) >= control)
        return _beyond(difference, square, beyond, sides, not fewer_deaths)

    return VirtualTrial(control + other, rejects)


def log_rank(years: Floats, died: Bools, in_other: Bools) -> tuple[Floats, Floats]:
    """Deaths of the other arm less those expected of equal hazards, and the variance, of each row; no ties.

    Parameters
    ----------
    years : (trials, patients) float
        Time of death, loss or analysis.
    died : (trials, patients) bool
        Whether it was death.
    in_other : (patients,) bool
        Whether the patient is in the other arm.
    """
    order = np.argsort(years, axis=1)
    died, arm = np.take_along_axis(died, order, axis=1), in_other[order]
    at_risk = np.arange(years.shape[1], 0, -1)
    share = np.cumsum(arm[:, ::-1], axis=1)[:, ::-1] / at_risk
    return (died * (arm - share)).sum(axis=1), (died * share * (1 - share)).sum(axis=1)


def _beyond(difference: Floats, square: Floats, beyond: float, sides: Sides, rises: bool) -> Bools:
    """Whether a difference is further from 0 than the critical quantile; never without variance."""
    towards = np.abs(difference) if sides == 2 else difference if rises else -difference
    return np.asarray((square > 0) & (towards > beyond * np.sqrt(square)))


def _share(lost: float) -> float:
    if not 0 <= lost < 1:
        raise InputError(f"the share lost is {lost:g}; expected at least 0 and less than 1")
    return lost
