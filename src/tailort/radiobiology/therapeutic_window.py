"""The therapeutic window: cure and complications of one dose distribution at several dose levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.radiobiology.complication import uncomplicated_control
from tailort.radiobiology.outcome_models import OutcomeSet
from tailort.radiobiology.volume_response import of_voxels

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Exposed:
    """A structure's dose and the model of its outcome.

    Parameters
    ----------
    by : OutcomeSet
        Model and parameters.
    dose_gy : (voxels,) float
        Physical dose of each voxel, Gy per course.
    volumes : (voxels,) float
        Volume of each, any unit.
    fractions : int
        Of the course.
    """

    by: OutcomeSet
    dose_gy: ArrayLike
    volumes: ArrayLike
    fractions: int

    def __post_init__(self) -> None:
        of_voxels(self.dose_gy, self.volumes)

    def at(self, factor: float) -> float:
        """Effect of the dose times a factor, in the same number of fractions."""
        return self.by.effect(factor * np.asarray(self.dose_gy, dtype=np.float64), self.fractions, self.volumes)


@dataclass(frozen=True, eq=False)
class TherapeuticWindow:
    """Outcomes by dose level.

    Parameters
    ----------
    factors : (levels,) float
        Of all doses of the plan.
    control : (levels,) float
        TCP.
    complications : mapping of str to (levels,) float
        NTCP by name.
    uncomplicated : (levels,) float
        P+ = TCP prod (1 - NTCP).
    """

    factors: Float
    control: Float
    complications: Mapping[str, Float]
    uncomplicated: Float

    @property
    def best_factor(self) -> float:
        """Factor of the highest P+ among the levels; the lowest of several."""
        return float(self.factors[int(np.argmax(self.uncomplicated))])


def therapeutic_window(factors: Sequence[float], tumour: Exposed, organs: Mapping[str, Exposed]) -> TherapeuticWindow:
    """TCP, every NTCP and P+ of a plan whose doses are all multiplied by a factor, fractions unchanged.

    Parameters
    ----------
    factors : sequence of float
        Not below 0.
    tumour : Exposed
        With a set of the outcome TCP.
    organs : mapping of str to Exposed
        With sets of the outcome NTCP, by the names they are to have in the answer.

    Raises
    ------
    InputError
        For factors that are none, and for a set of another outcome.
    """
    levels = np.asarray(factors, dtype=np.float64)
    if levels.ndim != 1 or not len(levels) or not (np.isfinite(levels).all() and (levels >= 0).all()):
        raise InputError("dose levels are factors that are finite and not below 0, at least one")
    for name, one, wanted in (("tumour", tumour, "TCP"), *((name, one, "NTCP") for name, one in organs.items())):
        if one.by.outcome != wanted:
            raise InputError(f"'{name}' needs a set that gives {wanted}; '{one.by.id}' gives {one.by.outcome}")
    control = np.array([tumour.at(level) for level in levels])
    risks = {name: np.array([organ.at(level) for level in levels]) for name, organ in organs.items()}
    both = [uncomplicated_control(c, [risk[n] for risk in risks.values()]) for n, c in enumerate(control)]
    return TherapeuticWindow(levels, control, risks, np.array(both))
