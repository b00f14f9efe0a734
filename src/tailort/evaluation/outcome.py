"""TCP, NTCP and excess relative risk of a structure, from its histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tailort.errors import InputError
from tailort.radiobiology import OnMaximum, OutcomeSet

if TYPE_CHECKING:
    from tailort.evaluation.dvh import DVH


def equivalent_gy(histogram: DVH, by: OutcomeSet) -> float:
    """Uniform dose with the same effect, Gy of the set's quantity; what lies beyond the dose grid counts as 0 Gy.

    Parameters
    ----------
    histogram : DVH
        Physical with known fractions, or in the set's quantity.
    by : OutcomeSet
        Model and parameters.

    Raises
    ------
    InputError
        When the number of fractions is unknown and needed, or the histogram is that of one fraction.
    """
    seen = histogram.converted(by.quantity, by.alpha_beta_gy)
    if seen.per != "course":
        raise InputError(f"{by.metric} of '{seen.structure}' is of a course; found the dose of one fraction")
    if isinstance(by.response, OnMaximum):
        return seen.highest_gy
    doses = np.append(seen.doses_gy.astype(np.float64), 0.0)
    return by.response.equivalent_gy(doses, np.append(seen.volumes_cm3, seen.outside_cm3))


def outcome_bounds(histogram: DVH, by: OutcomeSet) -> tuple[float, float]:
    """Lowest and highest effect, %, whatever the dose beyond the grid; arguments and errors as of `equivalent_gy`."""
    low = 100.0 * by.response.uniform.at(equivalent_gy(histogram, by))
    if not histogram.outside_cm3:
        return low, low
    return low, np.inf if by.outcome == "ERR" else 100.0
