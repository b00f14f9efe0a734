"""Simon's two-stage designs of one arm: the trial stops early when too few patients respond.

The search is exact and complete: every first stage, every limit, every total up to a largest one.

References
----------
Simon, Control Clin Trials 1989;10:1, doi:10.1016/0197-2456(89)90015-9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrc

from tailort.cohort.designs.asked import check_chance, check_errors, check_proportions
from tailort.cohort.designs.one_proportion import binomial_chances, most_powerful
from tailort.errors import InputError

MOST_SEARCHED = 200


@dataclass(frozen=True)
class TwoStage:
    """A design in two stages, printed r1/n1, r/n.

    Parameters
    ----------
    stop_at_most : int
        r1: the trial stops after the first stage with so many responses or fewer.
    first_patients : int
        n1, patients of the first stage.
    fail_at_most : int
        r: the null hypothesis stays with so many responses or fewer in all.
    patients : int
        n, patients of both stages.
    """

    stop_at_most: int
    first_patients: int
    fail_at_most: int
    patients: int

    def __post_init__(self) -> None:
        in_order = 0 <= self.stop_at_most < self.first_patients < self.patients
        if not (in_order and self.stop_at_most <= self.fail_at_most < self.patients):
            raise InputError(f"{self} is no design in two stages; expected r1 < n1 < n and r1 <= r < n")

    def __str__(self) -> str:
        return f"{self.stop_at_most}/{self.first_patients}, {self.fail_at_most}/{self.patients}"

    def rejected(self, proportion: float) -> float:
        """Chance to reject the null hypothesis where this is the proportion of responses."""
        check_chance(proportion, "proportion")
        responses = np.arange(self.stop_at_most + 1, self.first_patients + 1)
        more_needed = self.fail_at_most - responses
        second = self.patients - self.first_patients
        goes_on = binomial_chances(responses, self.first_patients, proportion)
        return float(goes_on @ _above(more_needed, second, proportion))

    def stopped_early(self, proportion: float) -> float:
        """Chance to stop after the first stage."""
        check_chance(proportion, "proportion")
        return float(bdtr(self.stop_at_most, self.first_patients, proportion))

    def expected_patients(self, proportion: float) -> float:
        """Mean number of patients."""
        second = self.patients - self.first_patients
        return self.first_patients + (1 - self.stopped_early(proportion)) * second


@dataclass(frozen=True)
class SimonDesigns:
    """Simon's two choices among the designs that keep alpha and power.

    Parameters
    ----------
    optimal : TwoStage
        Fewest patients expected under the null hypothesis.
    minimax : TwoStage
        Fewest patients in all; of those the fewest expected.
    searched : int
        Largest total that was looked at.
    """

    optimal: TwoStage
    minimax: TwoStage
    searched: int


def simon_designs(null: float, assumed: float, alpha: float, power: float, most: int = 100) -> SimonDesigns:
    """Search the optimal and the minimax design; one-sided.

    Parameters
    ----------
    null, assumed : float
        Proportions of responses not worth going on with and hoped for; the second is the larger.
    alpha, power : float
        Largest chance to go on with the first, least chance to go on with the second.
    most : int
        Largest total to look at, at most 200.

    Raises
    ------
    InputError
        When a number cannot be, or no design of so many patients keeps both.

    Examples
    --------
    >>> print(simon_designs(0.10, 0.30, 0.05, 0.80).optimal)
    1/10, 5/29
    """
    check_proportions(null, assumed)
    check_errors(alpha, power)
    if assumed < null:
        raise InputError(
            f"the assumed proportion {assumed:g} is below the null proportion {null:g}; a two-stage design asks "
            "whether more respond: give the proportions of who does not fail"
        )
    if not 2 <= most <= MOST_SEARCHED:
        raise InputError(f"designs of up to {most} patients are asked for; expected 2 to {MOST_SEARCHED}")
    best: tuple[float, TwoStage] | None = None
    minimax: TwoStage | None = None
    for patients in range(2, most + 1):
        found = _best_of(patients, null, assumed, alpha, power, np.inf if best is None else best[0])
        if found is None:
            continue
        if minimax is None:
            minimax = found[1]
        best = found
    if best is None or minimax is None:
        raise InputError(
            f"no two-stage design of up to {most} patients tells {assumed:g} from {null:g} with alpha {alpha:g} and "
            f"power {power:g}; search further (at most {MOST_SEARCHED}), or expect proportions that differ more"
        )
    return SimonDesigns(best[1], minimax, most)


def _best_of(
    patients: int, null: float, assumed: float, alpha: float, power: float, below: float
) -> tuple[float, TwoStage] | None:
    """Fewest patients expected of the designs with one total, and the design; None where none has fewer than told."""
    if most_powerful(patients, null, assumed, alpha) < power - 1e-12:
        return None
    best: tuple[float, TwoStage] | None = None
    stops_of_all = np.arange(patients - 1)
    for first in range(1, patients):
        if first >= below:
            break
        keeps = _rejected(first, patients, null) <= alpha
        stops = stops_of_all[:first]
        # The chance falls with the limit: the first that keeps alpha has the most power.
        limits = np.maximum(np.argmax(keeps, axis=1), stops)
        enough = keeps[stops, limits] & (_rejected(first, patients, assumed)[stops, limits] >= power)
        for stop in stops[enough]:
            design = TwoStage(int(stop), first, int(limits[stop]), patients)
            expected = design.expected_patients(null)
            if expected < below:
                below, best = expected, (expected, design)
    return best


def _rejected(first: int, patients: int, proportion: float) -> npt.NDArray[np.float64]:
    """Chance to reject by the limit of the first stage, 0 to n1 - 1, and that of both, 0 to n - 1."""
    responses = np.arange(first + 1)
    more_needed = np.arange(patients)[None, :] - responses[:, None]
    each = binomial_chances(responses, first, proportion)[:, None] * _above(more_needed, patients - first, proportion)
    return np.asarray(np.cumsum(each[::-1], axis=0)[::-1][1:], dtype=np.float64)


def _above(counts: npt.NDArray[np.int64], patients: int, proportion: float) -> npt.NDArray[np.float64]:
    """Chance of more responses than each number, which may be negative or too large."""
    table = np.concatenate([[1.0], bdtrc(np.arange(patients + 1), patients, proportion)])
    return np.asarray(table[np.clip(counts, -1, patients) + 1], dtype=np.float64)
