"""The dose that an adaptation tells on the anatomy of today, beside the true one of a virtual patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.evaluation import histograms
from tailort.geometry import Image, interpolate
from tailort.patient import Dose, Structure, StructureSet
from tailort.phantom import WeeklyScan
from tailort.radiobiology import course_dose
from tailort.workflow.adapted_records import Adaptation
from tailort.workflow.daily_doses import PLANNED, dose_on
from tailort.workflow.options import PlanningOptions

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


@dataclass(frozen=True, eq=False)
class TrueScan:
    """What is true of a scan of the course.

    Parameters
    ----------
    from_today : callable
        Place on this scan of the tissue that lies at each point (..., 3) of today, LPS mm of either.
    doses : tuple of Dose
        Physical, of one fraction of each plan, on the true anatomy of this scan.
    """

    from_today: Callable[[Float], Float]
    doses: tuple[Dose, ...]


def true_scans(
    result: Adaptation, weeks: Mapping[str, WeeklyScan], today: str, doses: Mapping[str, tuple[Dose, ...]] | None = None
) -> dict[str, TrueScan]:
    """What is true of the planning CT and of each week's scan of a virtual patient.

    Parameters
    ----------
    result : Adaptation
        Whose doses are true on what is a CT: there a dose is what the engine makes of it.
    weeks : mapping of str to WeeklyScan
        By the labels of the scans.
    today : str
        Label of the last one.
    doses : mapping of str to tuple of Dose
        True doses of scans whose CT numbers are not those of the body.
    """
    own = dict(doses or {})
    now = weeks[today].map

    def on(label: str) -> Callable[[Float], Float]:
        if label == today:
            return lambda points: points
        if label == PLANNED:
            return now.to_planning
        return lambda points: weeks[label].map.to_week(now.to_planning(points))

    return {
        label: TrueScan(on(label), own.get(label, tuple(one.dose for one in found)))
        for label, found in result.on_scans.items()
    }


def doses_on(
    result: Adaptation, label: str, true: WeeklyScan, options: PlanningOptions, spacing_mm: float
) -> tuple[Dose, ...]:
    """Dose of one fraction of each plan as it was set up on a scan, on the true CT and outline of that day.

    Parameters
    ----------
    result : Adaptation
        That tells how the plans were set up.
    label : str
        Of the scan.
    true : WeeklyScan
        CT of the same day.
    options : PlanningOptions
        Of these engine and density table.
    spacing_mm : float
        Of the dose grid.
    """
    case = true.case
    return tuple(
        dose_on(case, case.ct, case.structures, one.plan, result.machine, options, spacing_mm, lambda share: None)[0]
        for one in result.on_scans[label]
    )


def against_truth(
    result: Adaptation, scans: Mapping[str, TrueScan], true: StructureSet, slice_mm: float
) -> tuple[Held, ...]:
    """Compare what an adaptation tells with what is true.

    Parameters
    ----------
    result : Adaptation
        Of a virtual patient.
    scans : mapping of str to TrueScan
        By label: today's and every one with fractions.
    true : StructureSet
        True contours on today's CT.
    slice_mm : float
        Distance of the CT's planes.
    """
    grid = result.projected[0].image.grid
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64)).reshape(-1, 3)

    def exact(label: str, plan: int, fractions: int) -> Dose:
        seen = scans[label]
        values = interpolate(seen.doses[plan].image, seen.from_today(places), 0.0).reshape(grid.shape)
        one = Image(grid, (fractions * values).astype(np.float32), "Gy")
        return Dose(one, "physical", "course", fractions, None, "true map")

    given = [exact(day.label, n, count) for day in result.days for n, count in enumerate(day.by_plan) if count]
    today = result.days[-1].label
    left = [plan.fractions - sum(day.by_plan[n] for day in result.days) for n, plan in enumerate(result.plans)]
    projected = [*given, *(exact(today, n, count) for n, count in enumerate(left) if count)]
    told = result.case.structures
    return (
        *(_held("given", result.given, given, told, true, slice_mm) if given else ()),
        *_held("projected", result.projected, projected, told, true, slice_mm),
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
