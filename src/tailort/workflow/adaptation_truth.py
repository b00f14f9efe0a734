"""The dose that an adaptation tells on the anatomy of today, beside the true one of a virtual patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.evaluation import histograms
from tailort.geometry import Image, interpolate
from tailort.patient import Dose, Structure, StructureSet
from tailort.radiobiology import course_dose
from tailort.workflow.adapted_records import Adaptation

Float = NDArray[np.float64]
ASKED: Mapping[str, tuple[str, ...]] = {
    "GTVp": ("D95%[Gy]", "Mean[Gy]"),
    "SpinalCord": ("Max[Gy]", "D0.035cc[Gy]"),
    "Esophagus": ("Mean[Gy]",),
    "Heart": ("Mean[Gy]",),
}


@dataclass(frozen=True)
class Held:
    """One metric as an adaptation tells it and as it is.

    Parameters
    ----------
    structure, metric : str
        Of which.
    scope : {"given", "projected"}
        Of the fractions so far, or of all if nothing changes.
    told_gy, true_gy : float
        By the registration's contours and dose, and by the exact map; physical, Gy of those fractions.
    """

    structure: str
    metric: str
    scope: str
    told_gy: float
    true_gy: float

    def as_dict(self) -> dict[str, Any]:
        """Return the metric ready for JSON, with the difference."""
        return {
            "structure": self.structure,
            "metric": self.metric,
            "scope": self.scope,
            "told_gy": round(self.told_gy, 3),
            "true_gy": round(self.true_gy, 3),
            "difference_gy": round(self.told_gy - self.true_gy, 3),
        }


def against_truth(
    result: Adaptation, to_planning: Callable[[Float], Float], true: StructureSet, slice_mm: float
) -> tuple[Held, ...]:
    """Compare what an adaptation tells with what is true.

    Parameters
    ----------
    result : Adaptation
        With all fractions so far counted on the planning CT: there is one new CT.
    to_planning : callable
        True place in planning of each point (..., 3) of today, LPS mm.
    true : StructureSet
        True contours on today's CT.
    slice_mm : float
        Distance of the CT's planes.

    Raises
    ------
    InputError
        When fractions were counted on another CT than that of planning.
    """
    if result.days[0].fractions != result.delivered:
        raise InputError("the truth is known for fractions that are counted on the planning CT only")
    grid = result.given[0].image.grid
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64))
    share = result.delivered / result.plan.fractions
    planned = result.planned_dose.per_course().image
    exact = interpolate(planned, to_planning(places.reshape(-1, 3)), 0.0).reshape(grid.shape) * share
    given = Dose(
        Image(grid, exact.astype(np.float32), "Gy"), "physical", "course", result.delivered, None, "true map",
    )  # fmt: skip
    rest = result.projected[len(result.given) :]
    return (
        *_held("given", result.given, (given,), result.case.structures, true, slice_mm),
        *_held("projected", result.projected, (given, *rest), result.case.structures, true, slice_mm),
    )


def _held(
    scope: str, told: Sequence[Dose], exact: Sequence[Dose], carried: StructureSet, true: StructureSet, slice_mm: float
) -> tuple[Held, ...]:
    found = []
    for name, metrics in ASKED.items():
        ours, theirs = carried.find(name), true.find(name)
        if ours is None or theirs is None or ours.is_empty or theirs.is_empty:
            continue
        for metric in metrics:
            values = [
                _value(structure, course_dose(list(doses)), metric, slice_mm)
                for structure, doses in ((ours, told), (theirs, exact))
            ]
            found.append(Held(name, metric, scope, *values))
    return tuple(found)


def _value(structure: Structure, dose: Dose, metric: str, slice_mm: float) -> float:
    return histograms([structure], dose, single_slice_thickness_mm=slice_mm)[structure.name].value(metric)
