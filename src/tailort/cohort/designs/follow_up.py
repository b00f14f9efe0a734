"""How long the patients of a trial are followed, and how many deaths are seen: exponential survival and losses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tailort.cohort.designs.asked import check_chance
from tailort.errors import InputError

# Below this chance of a death a difference of exponentials means nothing.
RAREST = 1e-9
SHORTEST_YEARS, LONGEST_YEARS = 0.001, 1000.0


def hazard_of(survival: float, at_years: float) -> float:
    """Hazard, per year, of exponential survival that is `survival` at a time.

    Raises
    ------
    InputError
        When the survival is not between 0 and 1, or the time not 0.001 to 1000 years.
    """
    check_chance(survival, "survival")
    if not SHORTEST_YEARS <= at_years <= LONGEST_YEARS:
        raise InputError(f"survival is told at {at_years:g} years; expected {SHORTEST_YEARS:g} to {LONGEST_YEARS:g}")
    return -math.log(survival) / at_years


@dataclass(frozen=True)
class FollowUp:
    """Who is followed how long.

    Patients enter evenly over the accrual and are followed until the last one was for `follow_up_years`; some are lost
    before, at a constant rate.

    Parameters
    ----------
    follow_up_years : float
        From the last entry to the analysis, years.
    accrual_years : float
        From the first entry to the last, years; 0 follows everybody equally long.
    lost_per_year : float
        Share of those still followed who are lost in a year, 0 to less than 1.
    """

    follow_up_years: float
    accrual_years: float = 0.0
    lost_per_year: float = 0.0

    def __post_init__(self) -> None:
        for value, what in ((self.follow_up_years, "follow-up"), (self.accrual_years, "accrual")):
            if value != 0 and not SHORTEST_YEARS <= value <= LONGEST_YEARS:
                raise InputError(
                    f"the {what} takes {value:g} years; expected 0, or {SHORTEST_YEARS:g} to {LONGEST_YEARS:g}"
                )
        if self.follow_up_years + self.accrual_years == 0:
            raise InputError("accrual and follow-up are both 0 years: no death is seen; give one of them")
        if not 0 <= self.lost_per_year < 1:
            raise InputError(f"the share lost in a year is {self.lost_per_year:g}; expected at least 0 and less than 1")

    @property
    def loss_hazard(self) -> float:
        """Hazard of being lost, per year."""
        return -math.log1p(-self.lost_per_year)

    def seen(self, hazard: float) -> float:
        """Chance that the death of a patient is seen, by the hazard of death per year.

        Raises
        ------
        InputError
            When it is almost 0.

        Notes
        -----
        h/(h+l) (1 - mean of exp(-(h+l) u)) over follow-up u, l the hazard of losses.
        """
        rate = hazard + self.loss_hazard
        start, end = self.follow_up_years, self.follow_up_years + self.accrual_years
        if self.accrual_years == 0:
            remaining = math.exp(-rate * start)
        else:
            remaining = (math.exp(-rate * start) - math.exp(-rate * end)) / (rate * self.accrual_years)
        seen = hazard / rate * (1 - remaining)
        if seen < RAREST:
            raise InputError(
                f"of {1 / RAREST:.0e} patients no death is seen; expected a lower survival or longer follow-up"
            )
        return seen

    def mean_square_years(self, hazard: float) -> float:
        """Mean of the square of the time until death, loss or analysis, years squared."""
        rate = hazard + self.loss_hazard
        start, end = self.follow_up_years, self.follow_up_years + self.accrual_years
        if self.accrual_years == 0:
            remaining = math.exp(-rate * start) * (1 + rate * start)
        else:
            inside = (start + 2 / rate) * math.exp(-rate * start) - (end + 2 / rate) * math.exp(-rate * end)
            remaining = inside / self.accrual_years
        return 2 / rate**2 * (1 - remaining)

    def draw(
        self, hazard: float, shape: tuple[int, ...], generator: np.random.Generator
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Draw patients: years until death, loss or analysis, and whether it was death; both of `shape`."""
        death = generator.exponential(1 / hazard, shape)
        until = self.follow_up_years + self.accrual_years * generator.random(shape)
        if self.lost_per_year > 0:
            until = np.minimum(until, generator.exponential(1 / self.loss_hazard, shape))
        return np.minimum(death, until), death <= until
