"""What the histograms of a dose say beyond the voxels that the optimiser sees, fed back into the problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailort.evaluation import DVH, histograms
from tailort.optimisation import Limit, Problem, VoxelSet, Wish
from tailort.optimisation.objectives import (
    Added,
    LinearQuadratic,
    MaxDoseVolume,
    MinDoseVolume,
    Physical,
    SquaredMeanOverdose,
    SquaredOverdose,
    SquaredUnderdose,
)
from tailort.optimisation.objectives.dose_volume import dose_at
from tailort.optimisation.scenarios import structure_of
from tailort.patient import Dose, Prescription
from tailort.workflow.bench import Bench

Float = NDArray[np.float64]

# Beyond what is found, as a share of the level: the plan still changes.
SPARE = 0.002
# A limit is asked for no farther inside than by this share of its level: what lacks more is not lost in segments, and
# no plan reaches its prescription inside that. Segments can lose an eighth of a level, which is asked for twice over.
MOST_FARTHER = 0.3
# A limit that voxels hold by this share of its level is held in the histogram too.
NEAR = 0.1
# Shares of a target's volume at which two doses are compared.
COMPARED = (0.98, 0.95, 0.5, 0.02)


def calibrated(bench: Bench, problem: Problem, dose: Dose) -> Problem:
    """Problem whose limits, and whose targets' coverage, hold in the histograms as they hold in its voxels.

    A histogram follows the dose between voxel centres and the structure within voxels; where gradients are steep the
    optimiser's voxels say something else. The difference found for a dose is taken off each limit and added to each
    coverage.

    Parameters
    ----------
    bench : Bench
        The patient.
    problem : Problem
        On the rows of the bench.
    dose : Dose
        Of a plan for this problem, by the reporting engine.
    """
    rows_gy = bench.in_rows(dose.image)
    terms: list[Limit | Wish] = [*problem.limits, *problem.wishes]
    names = [term.structure for term in terms if _kind(term) is not None]
    drawn = [found for name in dict.fromkeys(names) if (found := bench.structures.find(name)) is not None]
    curves = histograms(drawn, dose, single_slice_thickness_mm=bench.slice_mm)
    limits = tuple(_limit(limit, problem, rows_gy, curves) for limit in problem.limits)
    wishes = tuple(_wish(wish, problem, rows_gy, curves) for wish in problem.wishes)
    return replace(problem, limits=limits, wishes=wishes)


def tightened(problem: Problem, farther_gy: Mapping[str, float], *, after_courses: bool = False) -> Problem:
    """Problem whose limits aim farther inside, by so many Gy a structure and at most by a share of their level.

    With earlier courses it is, of a limit on a sum, a share of what is left of it: the rest is there whatever the plan
    does. Phases of one course make room for each other.
    """

    def farther(limit: Limit) -> float:
        asked_gy = farther_gy.get(structure_of(limit.structure), 0.0)
        level_gy = getattr(limit.objective, "level_gy", None)
        if level_gy is None or asked_gy <= 0.0:
            return asked_gy
        left_gy = float(np.min(level_gy))
        if after_courses and isinstance(limit.quantity, Added):
            unplanned = problem.excess_gy(np.zeros(problem.dose_map.shape[0]), limit)
            left_gy = min(left_gy, max(-float(np.max(unplanned)), 0.0))
        return min(asked_gy, MOST_FARTHER * left_gy)

    limits = tuple(replace(limit, gap_gy=limit.gap_gy + farther(limit)) for limit in problem.limits)
    return replace(problem, limits=limits)


def beyond_gy(bench: Bench, problem: Problem, limits: Sequence[Limit], dose: Dose) -> tuple[float, ...]:
    """By how much each limit is broken where a dose is judged, Gy of its quantity; 0 or less where it holds.

    Parameters
    ----------
    bench : Bench
        The patient.
    problem : Problem
        On the rows of the bench.
    limits : sequence of Limit
        On structures of the problem, without what their gaps ask beyond them.
    dose : Dose
        Of a plan for this problem, by the reporting engine.
    """
    rows_gy = bench.in_rows(dose.image)
    own = [float(np.max(problem.excess_gy(rows_gy, limit))) for limit in limits]
    # A histogram takes its time; it is not that far from the voxels.
    near = [
        gy > -NEAR * float(np.min(getattr(limit.objective, "level_gy", 0.0)))
        for gy, limit in zip(own, limits, strict=True)
    ]
    names = dict.fromkeys(limit.structure for limit, close in zip(limits, near, strict=True) if close and _kind(limit))
    drawn = [found for name in names if (found := bench.structures.find(name)) is not None]
    curves = histograms(drawn, dose, single_slice_thickness_mm=bench.slice_mm)
    return tuple(
        gy + (_beyond_gy(limit, problem, rows_gy, curves) if close else 0.0)
        for gy, limit, close in zip(own, limits, near, strict=True)
    )


def disagreement(
    prescriptions: Sequence[Prescription], sets: Mapping[str, VoxelSet], one_gy: Float, other_gy: Float
) -> float:
    """Largest difference of two doses in a target's D98%, D95%, D50% and D2%, as a share of its prescription.

    Parameters
    ----------
    prescriptions : sequence of Prescription
        Of the phase.
    sets : mapping of str to VoxelSet
        Of each target.
    one_gy, other_gy : (rows,) float
        Physical doses of the phase, Gy.
    """
    apart = [0.0]
    for prescription in prescriptions:
        voxels = sets[prescription.target]
        for share in COMPARED:
            one, other = (dose_at(dose_gy[voxels.rows], voxels.volume, share) for dose_gy in (one_gy, other_gy))
            apart.append(abs(one - other) / prescription.dose_gy)
    return max(apart)


def _limit(limit: Limit, problem: Problem, rows_gy: Float, curves: dict[str, DVH]) -> Limit:
    more = _beyond_gy(limit, problem, rows_gy, curves)
    level = float(np.min(getattr(limit.objective, "level_gy", 0.0)))
    return replace(limit, gap_gy=max(limit.gap_gy, more + SPARE * level)) if more > 0 else limit


def _wish(wish: Wish, problem: Problem, rows_gy: Float, curves: dict[str, DVH]) -> Wish:
    if not isinstance(wish.objective, MinDoseVolume):
        return wish
    more = _beyond_gy(wish, problem, rows_gy, curves)
    return replace(wish, objective=wish.objective.tightened(more)) if more > 0 else wish


def _kind(term: Limit | Wish) -> str | None:
    """Metric of the histogram that an objective looks at; None where there is none, as for a sum of phases."""
    if not isinstance(term.quantity, Physical | LinearQuadratic):
        return None
    objective = term.objective
    if isinstance(objective, MaxDoseVolume | MinDoseVolume):
        return f"D{100.0 * objective.share:.6g}%[Gy]" if 0 < objective.share < 1 else None
    if np.size(getattr(objective, "level_gy", ())) != 1:
        return None
    if isinstance(objective, SquaredOverdose):
        return "Max[Gy]"
    if isinstance(objective, SquaredUnderdose):
        return "Min[Gy]"
    return "Mean[Gy]" if isinstance(objective, SquaredMeanOverdose) else None


def _beyond_gy(term: Limit | Wish, problem: Problem, rows_gy: Float, curves: dict[str, DVH]) -> float:
    """By how much the histogram is farther on the wrong side than the voxels, Gy."""
    metric = _kind(term)
    if metric is None or term.structure not in curves or curves[term.structure].outside_cm3:
        # Of what lies beyond the dose grid a histogram knows as little as the voxels.
        return 0.0
    voxels = problem.sets[term.structure]
    seen = term.quantity.of(rows_gy[voxels.rows])
    if metric == "Max[Gy]":
        own = float(seen.max())
    elif metric == "Min[Gy]":
        own = float(seen.min())
    elif metric == "Mean[Gy]":
        own = float(voxels.volume @ seen)
    else:
        assert isinstance(term.objective, MaxDoseVolume | MinDoseVolume)
        own = dose_at(seen, voxels.volume, term.objective.share)
    curve, quantity = curves[term.structure], term.quantity
    if isinstance(quantity, LinearQuadratic):
        curve = curve.converted(quantity.kind, quantity.alpha_beta_gy)
    difference = curve.value(metric) - own
    return -difference if isinstance(term.objective, MinDoseVolume | SquaredUnderdose) else difference
