"""Field-in-field: subfields whose leaves close over the hottest region, until the dose is as even as is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError
from tailort.geometry import PatientPosition, beam_axes
from tailort.optimisation.aperture import least_opening_mm
from tailort.optimisation.conformal import (
    Aperture,
    ApertureMargin,
    Side,
    beside,
    extents,
    opening,
    seen,
)
from tailort.optimisation.conformal_weights import Anchor, Segments, Weights, weigh
from tailort.optimisation.objectives import SquaredOverdose
from tailort.optimisation.problem import Problem, VoxelSet, Wish
from tailort.optimisation.solve import Effort, never
from tailort.physics.machine import Machine

Float = NDArray[np.float64]

# Subfields are tried that close over what is above these levels, from the goal (0) to the hottest dose (1).
LEVELS = (0.0, 0.4, 0.7)
# How many subfields are weighed with a guessed dose, and how many of these get a dose of their own, in one turn.
WEIGHED = 5
TRIES = 3
# A subfield is worth its place when it lowers the hottest dose by this share.
WORTH_SHARE = 1e-3
# The smallest subfield, as a share of its open field.
LEAST_AREA_SHARE = 0.15
RANKING = Effort(iterations=40, rounds=3, value_tolerance=1e-3)
# Weight of the hottest region in the wishes, in units of the largest of them.
HOT_WEIGHT = 10.0
_HOT = "hottest region"


@dataclass(frozen=True, eq=False)
class FieldInField:
    """Open fields and their subfields, weighted.

    Parameters
    ----------
    apertures : tuple of Aperture
        The open fields first, then the subfields in the order in which they were found.
    dose_map : Segments
        A column for each aperture, Gy per fraction per MU.
    weights : Weights
        Their MU.
    hottest_gy : tuple of float
        Highest dose of the watched structure with the open fields alone, then after each subfield, Gy.
    reached : bool
        Whether the last of these is at most the goal.
    """

    apertures: tuple[Aperture, ...]
    dose_map: Segments
    weights: Weights
    hottest_gy: tuple[float, ...]
    reached: bool


def field_in_field(
    problem: Problem,
    anchor: Anchor,
    apertures: Sequence[Aperture],
    points_mm: Float,
    dose_of: Callable[[Aperture], Float],
    machine: Machine,
    position: PatientPosition,
    watched: str,
    goal_gy: float,
    most_subfields: int,
    cover_mm: float,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
) -> FieldInField:
    """Add subfields to weighted open fields until the hottest dose is at most the goal.

    In each turn subfields of every open field that close over the region above some levels are ranked by what their
    parent's dose, cut out, promises; the best gets its dose from the engine, and stays when with new MU
    the hottest dose falls while limits and prescription are kept as well as before. So the hottest dose never rises.

    Parameters
    ----------
    problem : Problem
        Its dose map is a `Segments` with a column for each aperture.
    anchor : Anchor
        What the dose is prescribed to.
    apertures : sequence of Aperture
        The open fields.
    points_mm : (rows, 3) float
        Where the rows of the dose map are, LPS mm.
    dose_of : callable
        Dose of an aperture in these rows, Gy per fraction per MU: the caller's engine.
    machine, position
        As for `conform`.
    watched : str
        Voxel set in which the hottest dose is looked for, such as the body or a target.
    goal_gy : float
        Highest dose that is wanted there, offset included, Gy.
    most_subfields : int
        0 only weighs the open fields.
    cover_mm : float
        Distance, in the isocentre plane, of the leaves from the points of the hot region: half a voxel or more.
    effort, stop
        As for `solve`.

    References
    ----------
    Kestin et al. 2000, IJROBP 48:1559 (subfields that block the hottest isodoses; recalled).
    """
    if watched not in problem.sets:
        raise InputError(f"the hottest dose is looked for in '{watched}', which has no voxels in the dose matrix")
    rows = problem.sets[watched].rows
    dose_map = problem.dose_map
    if not isinstance(dose_map, Segments) or dose_map.shape != (len(points_mm), len(apertures)):
        raise InputError(
            f"field-in-field needs a dose matrix of {len(points_mm)} rows and {len(apertures)} columns, one an aperture"
        )
    if machine.leaf_pairs == 0:
        most_subfields = 0
    fields, found = list(apertures), weigh(problem, anchor, machine, effort, stop)
    hottest = [float(found.dose_gy[rows].max())]
    # Where a limit keeps the dose below its prescription, hot spots are not what is wrong.
    while len(fields) - len(apertures) < most_subfields and hottest[-1] > goal_gy and found.prescribed and not stop():
        bar = hottest[-1]
        aimed = _aimed(replace(problem, dose_map=dose_map), rows, found.dose_gy, goal_gy)
        guesses = _guesses(apertures, dose_map, points_mm, rows, found, machine, position, goal_gy, cover_mm)
        for candidate in _ranked(aimed, anchor, dose_map, guesses, rows, found, machine):
            column = np.asarray(dose_of(candidate), dtype=np.float64)
            wider = dose_map.with_column(column)
            start = np.append(found.mu, machine.min_segment_mu)
            tried = weigh(replace(aimed, dose_map=wider), anchor, machine, effort, stop, start_mu=start)
            top = float(tried.dose_gy[rows].max())
            if top <= (1.0 - WORTH_SHARE) * bar and _as_good(tried, found):
                fields.append(candidate)
                dose_map, found = wider, tried
                hottest.append(top)
                break
        else:
            break
    used = found.mu > 0
    used[: len(apertures)] = True
    return FieldInField(
        tuple(field for field, of_use in zip(fields, used, strict=True) if of_use),
        dose_map.only(used),
        replace(found, mu=found.mu[used]),
        tuple(hottest),
        hottest[-1] <= goal_gy,
    )


def _as_good(new: Weights, old: Weights) -> bool:
    """Whether limits and prescription are kept where they were."""
    return (new.feasible or not old.feasible) and new.reached_gy >= min(old.reached_gy, (1 - 1e-4) * old.wanted_gy)


def _aimed(problem: Problem, rows: NDArray[np.int64], dose_gy: Float, goal_gy: float) -> Problem:
    """The problem with a wish that the region that is hot, or nearly, comes down to the goal."""
    dose = dose_gy[rows]
    hot = rows[dose > min(goal_gy, 0.97 * float(dose.max()))]
    weight = HOT_WEIGHT * max((wish.weight for wish in problem.wishes), default=1.0)
    return replace(
        problem,
        sets={**problem.sets, _HOT: VoxelSet(_HOT, hot, np.ones(len(hot)))},
        wishes=(*problem.wishes, Wish(_HOT, SquaredOverdose(goal_gy), weight, label=f"at most {goal_gy:g} Gy")),
    )


def _guesses(
    parents: Sequence[Aperture],
    dose_map: Segments,
    points_mm: Float,
    rows: NDArray[np.int64],
    found: Weights,
    machine: Machine,
    position: PatientPosition,
    goal_gy: float,
    cover_mm: float,
) -> list[tuple[Aperture, Float]]:
    """Subfields that close over the region above some levels, and their doses as cut out of their parents'."""
    dose = found.dose_gy[rows]
    top = float(dose.max())
    guesses = []
    for n, parent in enumerate(parents):
        if found.mu[n] <= machine.min_segment_mu:
            continue
        at = seen(points_mm, parent.setup, position, machine.source_axis_distance_mm)
        known: list[Float] = []
        for level in LEVELS:
            hot = at[rows[dose > goal_gy + level * (top - goal_gy)]]
            for side in get_args(Side):
                candidate = without(parent, hot, machine, position, cover_mm, side)
                if candidate is None or candidate.open_mm is None:
                    continue
                if any(np.array_equal(candidate.open_mm, other) for other in known):
                    continue
                known.append(candidate.open_mm)
                share = np.where(candidate.contains(at, machine), 1.0, machine.leaf_transmission)
                guesses.append((candidate, dose_map.per_mu[:, n] * share))
    return guesses


def _ranked(
    problem: Problem,
    anchor: Anchor,
    dose_map: Segments,
    guesses: Sequence[tuple[Aperture, Float]],
    rows: NDArray[np.int64],
    found: Weights,
    machine: Machine,
) -> list[Aperture]:
    """The few subfields that promise most to lower the hottest dose, best first.

    Their price says which are worth weighing: the change of the plan's value while a subfield takes over from the
    open fields what these give the anchor, by the root of its squared doses in the hottest region.
    """
    if not guesses:
        return []
    cut = Segments(np.column_stack([column for _, column in guesses]))
    by_dose = problem.with_penalties().derivative_of_dose(found.dose_gy)
    by_anchor = np.zeros(len(by_dose))
    by_anchor[anchor.rows] = anchor.volume / anchor.volume.sum()
    a_gray = (dose_map.gradient(by_dose) @ found.mu) / (dose_map.gradient(by_anchor) @ found.mu)
    price = cut.gradient(by_dose) - a_gray * cut.gradient(by_anchor)
    size = np.sqrt((cut.per_mu[problem.sets[_HOT].rows] ** 2).sum(axis=0))
    promising = np.argsort(price / size, kind="stable")[:WEIGHED]
    start = np.append(found.mu, machine.min_segment_mu)
    promised: list[tuple[float, int]] = []
    for n in promising.tolist():
        wider = dose_map.with_column(cut.per_mu[:, n])
        tried = weigh(replace(problem, dose_map=wider), anchor, machine, RANKING, start_mu=start)
        promised.append((float(tried.dose_gy[rows].max()), n))
    return [guesses[n][0] for promise, n in sorted(promised)[:TRIES] if promise < found.dose_gy[rows].max()]


def without(
    parent: Aperture,
    hot_xy_mm: Float,
    machine: Machine,
    position: PatientPosition,
    cover_mm: float,
    side: Side | None = None,
) -> Aperture | None:
    """Subfield of an open field whose leaves close over a region; None when too little would be open or closed.

    Parameters
    ----------
    parent : Aperture
        The open field.
    hot_xy_mm : (n, 2) float
        Points of the region in the isocentre plane, mm.
    machine, position
        As for `conform`.
    cover_mm : float
        Distance of the leaves from the points, mm.
    side : {"x1", "x2"} or None
        The side of the region that stays open; None is the larger one.
    """
    if parent.open_mm is None or not len(hot_xy_mm):
        return None
    setup, strips = parent.setup, np.asarray(machine.leaf_boundaries_mm, dtype=np.float64)
    axes = beam_axes(setup.gantry_deg, setup.collimator_deg, setup.couch_deg, position)
    ellipse = ApertureMargin.uniform(cover_mm).ellipse(axes)
    shade = extents(np.hstack([hot_xy_mm, hot_xy_mm]), strips, ellipse)
    was_low, was_high = parent.open_mm
    low, high = beside(was_low, was_high, *shade, np.diff(strips), side)
    closed = high - low < least_opening_mm(machine)
    low, high = np.where(closed, was_low, low), np.where(closed, was_low, high)
    try:
        subfield = opening(setup, low, high, parent.jaws_y_mm, machine)
    except GeometryError:
        return None
    share = subfield.area_mm2(machine) / parent.area_mm2(machine)
    return subfield if LEAST_AREA_SHARE <= share < 0.999 else None
