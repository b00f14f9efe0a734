"""Chances of complication and of control, as the uniform dose by which they are beyond a level.

NTCP at most p is the same as: the uniform dose of the same effect at most NTCP^-1(p). That dose is smooth, in Gy beside
all others, and does not flatten out where the chance is nearly 0 or 1.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.objectives.measured import SquaredMeasure
from tailort.optimisation.objectives.objective import Objective
from tailort.optimisation.objectives.squared import SquaredOverdose
from tailort.radiobiology import OnEquivalentDose, OnMaximum, OutcomeSet, VolumeResponse

Float = NDArray[np.float64]


@dataclass(frozen=True)
class _SquaredOutcome(SquaredMeasure, ABC):
    """Square of how far the uniform dose of the same effect is beyond a level."""

    response: VolumeResponse

    def __post_init__(self) -> None:
        if isinstance(self.response, OnMaximum):
            raise InputError("a model of the highest dose is kept voxel by voxel: use `outcome_objective`")

    def measure_gy(self, dose_gy: Float, volume: Float) -> float:
        """Return the uniform dose of the same effect, Gy of the model's quantity."""
        return self.response.equivalent_gy(dose_gy, volume)

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        slope = self._by_measure(self.measure_gy(dose_gy, volume))
        return slope * self.response.equivalent_gradient(dose_gy, volume)


@dataclass(frozen=True)
class ComplicationAbove(_SquaredOutcome):
    """Square of what a risk is above a level, in Gy of uniform dose: (E - L)+^2, E the equivalent dose of the model.

    Never falls with dose; convex for models of the mean and of a gEUD with a >= 1.

    Parameters
    ----------
    level_gy : float
        L, uniform dose that has the risk that is allowed, Gy of the model's quantity.
    response : VolumeResponse
        The model; the doses that it is given must be in its quantity (`OutcomeSet.quantity`).

    References
    ----------
    Romeijn HE, Dempsey JF, Li JG. A unifying framework for multi-criteria fluence map optimization models. Phys Med
    Biol 2004;49:1991-2013, doi:10.1088/0031-9155/49/10/011 (criteria may be replaced by rising functions of them).
    """

    @classmethod
    def of(cls, by: OutcomeSet, most_percent: float) -> Self:
        """Make it of a named set and the most that its NTCP or excess relative risk may be, %."""
        return cls(by.level_gy(most_percent), by.response)

    @property
    def is_convex(self) -> bool:
        """Whether it is known to be convex in the dose of the model's quantity."""
        return isinstance(self.response, OnEquivalentDose) and self.response.a >= 1.0


@dataclass(frozen=True)
class ControlBelow(_SquaredOutcome):
    """Square of what the chance of control lacks below a level, in Gy of uniform dose: (L - E)+^2.

    Never rises with dose; convex for models of a gEUD with a < 0.

    Parameters
    ----------
    level_gy : float
        L, uniform dose that has the chance that is wanted, Gy of the model's quantity.
    response : VolumeResponse
        As of `ComplicationAbove`.
    """

    side: ClassVar[float] = -1.0

    @classmethod
    def of(cls, by: OutcomeSet, least_percent: float) -> Self:
        """Make it of a named set and the least that its TCP is to be, %."""
        return cls(by.level_gy(least_percent), by.response)


def outcome_objective(by: OutcomeSet, at_most: bool, percent: float) -> Objective:
    """Objective that holds where a limit on an outcome holds.

    Parameters
    ----------
    by : OutcomeSet
        The named set; the objective must be given doses of its quantity.
    at_most : bool
        Whether the limit is from above.
    percent : float
        The limit, %.

    Raises
    ------
    InputError
        For a lowest risk or a highest chance of control, and for a limit that no dose has.
    """
    if at_most == (by.outcome == "TCP"):
        way = "highest" if at_most else "lowest"
        raise InputError(f"a {way} {by.metric} cannot be planned for; limit risks from above and control from below")
    if not at_most:
        return ControlBelow.of(by, percent)
    if isinstance(by.response, OnMaximum):
        return SquaredOverdose(by.level_gy(percent))
    return ComplicationAbove.of(by, percent)
