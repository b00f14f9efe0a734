"""Events and patients of the log-rank test of two arms: Schoenfeld's and Freedman's numbers of events.

References
----------
Schoenfeld, Biometrics 1983;39:499, doi:10.2307/2531021.
Freedman, Stat Med 1982;1:121, doi:10.1002/sim.4780010204.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tailort.cohort.designs.asked import Sides, quantiles
from tailort.cohort.designs.follow_up import FollowUp
from tailort.cohort.designs.two_proportions import arms_of, check_ratio
from tailort.errors import InputError


def schoenfeld_events(
    hazard_ratio: float, alpha: float, power: float, *, sides: Sides = 2, ratio: float = 1.0
) -> float:
    """Events of both arms together, by Schoenfeld, not rounded.

    Parameters
    ----------
    hazard_ratio : float
        Hazard of the other arm divided by that of the control arm.
    alpha, power : float
        Level, and chance to reject equal hazards.
    sides : {1, 2}
        Of the test.
    ratio : float
        Patients of the other arm for each of the control arm.

    Raises
    ------
    InputError
        When the hazard ratio is 1 or not above 0, or alpha or the power is not between 0 and 1.

    Notes
    -----
    (za + zb)^2 / (p (1 - p) log(HR)^2), p the share of patients in one arm.

    Examples
    --------
    >>> math.ceil(schoenfeld_events(2.0, 0.05, 0.80))
    66
    """
    za, zb = _quantiles(hazard_ratio, alpha, power, sides, ratio)
    share = ratio / (1 + ratio)
    return (za + zb) ** 2 / (share * (1 - share) * math.log(hazard_ratio) ** 2)


def freedman_events(hazard_ratio: float, alpha: float, power: float, *, sides: Sides = 2, ratio: float = 1.0) -> float:
    """Events of both arms together, by Freedman, not rounded; as `schoenfeld_events`."""
    za, zb = _quantiles(hazard_ratio, alpha, power, sides, ratio)
    return ((za + zb) * (1 + ratio * hazard_ratio) / (1 - hazard_ratio)) ** 2 / ratio


@dataclass(frozen=True)
class TwoArms:
    """Patients of two arms in which enough events are expected.

    Parameters
    ----------
    events : int
        Events needed of both arms together.
    control, other : int
        Patients of the arms.
    seen_control, seen_other : float
        Chance that the death of a patient is seen, by arm.
    """

    events: int
    control: int
    other: int
    seen_control: float
    seen_other: float

    @property
    def patients(self) -> int:
        """Of both arms together."""
        return self.control + self.other


def two_arms(
    events: float, control_hazard: float, hazard_ratio: float, follow_up: FollowUp, ratio: float = 1.0
) -> TwoArms:
    """Patients of both arms, of whom so many deaths are expected to be seen.

    Parameters
    ----------
    events : float
        Of both arms together; rounded up first.
    control_hazard : float
        Hazard of death of the control arm, per year.
    hazard_ratio : float
        Of the other arm to it.
    follow_up : FollowUp
        Accrual, follow-up and losses of both arms.
    ratio : float
        Patients of the other arm for each of the control arm.
    """
    needed = math.ceil(events - 1e-9)
    seen = follow_up.seen(control_hazard), follow_up.seen(control_hazard * hazard_ratio)
    control, other = arms_of(needed / (seen[0] + ratio * seen[1]), ratio)
    return TwoArms(needed, control, other, *seen)


def _quantiles(hazard_ratio: float, alpha: float, power: float, sides: Sides, ratio: float) -> tuple[float, float]:
    if not 0 < hazard_ratio < math.inf:
        raise InputError(f"the hazard ratio is {hazard_ratio:g}; expected more than 0")
    if hazard_ratio == 1:
        raise InputError("the hazard ratio is 1: no number of events tells equal hazards apart")
    check_ratio(ratio)
    return quantiles(alpha, power, sides)
