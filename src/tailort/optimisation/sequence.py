"""From an ideal fluence to the beams of a step-and-shoot plan.

Three steps: the fluence in whole levels is split into openings with the fewest monitor units; leaf ends and MU are
then moved together down the gradient of the same wishes; at last the MU alone are optimised, with the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.aperture import (
    PARK_MM,
    LeafField,
    Openings,
    SegmentDose,
    beam_of,
    fluence_of,
    leaf_fields,
    least_opening_mm,
    ranges,
)
from tailort.optimisation.leaf_descent import AFTER_STOP, FIRST_WEIGHTS, descended
from tailort.optimisation.leaf_sequence import decompose
from tailort.optimisation.problem import Problem
from tailort.optimisation.solve import Effort, Progress, Solution, never, solve
from tailort.patient import Beam, BeamSetup, ControlPoint, Influence
from tailort.physics.machine import Machine

Float = NDArray[np.float64]
MOST_LEVELS = 30.0


@dataclass(frozen=True, eq=False)
class Delivery:
    """A deliverable plan, and what it costs against the ideal fluence.

    Parameters
    ----------
    beams : tuple of Beam
        Two control points a segment, same aperture; MU of one fraction. Beams that need no MU are left out.
    openings : tuple of Openings
        The same segments on the lattice of beamlets, beam by beam.
    solution : Solution
        Of the segments' MU; its dose is the sum of the beamlets in the openings, with transmission.
    fluence_value, split_value : float
        Value of the wishes (without smoothness) for the ideal fluence, and for its split into openings before their
        leaves and MU were optimised; to compare with `solution.value`, Gy2.
    """

    beams: tuple[Beam, ...]
    openings: tuple[Openings, ...]
    solution: Solution
    fluence_value: float
    split_value: float

    @property
    def segments(self) -> int:
        """Number of segments of all beams."""
        return sum(len(opening) for opening in self.openings)

    @property
    def mu(self) -> float:
        """Monitor units of one fraction over all beams."""
        return sum(beam.mu for beam in self.beams)


def sequence(
    problem: Problem,
    influence: Influence,
    fluence_mu: Float,
    machine: Machine,
    segments_per_beam: int = 8,
    leaf_steps: int = 30,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> Delivery:
    """Turn a fluence into the segments of a step-and-shoot plan that serves the same wishes and limits.

    Parameters
    ----------
    problem : Problem
        What the fluence was optimised for, on `influence`.
    influence : Influence
        Dose of the beamlets.
    fluence_mu : (beamlets,) float
        MU per fraction.
    machine : Machine
        Leaves, jaws, transmission and fewest MU.
    segments_per_beam : int
        Most segments, on average over the beams.
    leaf_steps : int
        Evaluations of the plan while leaves and MU move together; 0 leaves the openings on the lattice.
    effort, progress
        As for `solve`.
    stop : callable
        When it says True the leaves stay where they are and the MU get little effort, enough to keep the limits;
        the solution is then not marked converged by this function alone: look at what `solve` said of the fluence.

    References
    ----------
    Cassioli & Unkelbach 2013, PMB 58:301, doi 10.1088/0031-9155/58/2/301 (gradient of leaf positions);
    Shepard et al. 2002, Med Phys 29:1007, doi 10.1118/1.1477415 (direct aperture optimisation).
    """
    fields = leaf_fields(influence.beamlets, machine)
    openings, mu = _split_to(fields, fluence_mu, machine, segments_per_beam * len(fields))
    split = fluence_of(openings, mu, machine, problem.size)
    bare = replace(problem, smoothness=None)
    fluence_value, split_value = bare.value(fluence_mu), bare.value(split)
    mu = _weighted(bare, influence, openings, mu, machine, 0.0, FIRST_WEIGHTS, never, None).weights_mu
    openings, mu = _without_weak(openings, mu, 0.5 * machine.min_segment_mu)
    if leaf_steps > 0 and not stop():
        openings, mu = _leaves_moved(bare, influence, openings, mu, machine, leaf_steps, stop)
        openings, mu = _without_weak(openings, mu, 0.5 * machine.min_segment_mu)
    if stop():
        # Whoever stops still gets a plan that keeps the limits.
        effort, stop = AFTER_STOP, never
    solution = _weighted(bare, influence, openings, mu, machine, machine.min_segment_mu, effort, stop, progress)
    beams = _beams(influence.beamlets.setups, openings, solution.weights_mu, machine)
    return Delivery(beams, tuple(openings), solution, fluence_value, split_value)


def reweighed(
    problem: Problem,
    influence: Influence,
    delivery: Delivery,
    machine: Machine,
    rows_gy: Float,
    leaf_steps: int = 0,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> Delivery:
    """Optimise a plan's segments again, with what a better dose engine finds of it.

    The difference between that dose and the influence's is kept while the plan changes, so it is optimal for the
    better dose as far as the difference stays.

    Parameters
    ----------
    problem, influence, machine, effort, stop, progress
        As for `sequence`.
    delivery : Delivery
        The plan.
    rows_gy : (rows,) float
        Its dose in the rows of the influence, Gy per course, physical.
    leaf_steps : int
        Evaluations while leaves and MU move together; with 0 the openings stay and only the MU change.

    References
    ----------
    Siebers et al. 2001, Med Phys 28:1925 (hybrid of a fast and an accurate dose in optimisation; recalled).
    """
    openings: Sequence[Openings] = delivery.openings
    mu = delivery.solution.weights_mu
    offset = rows_gy - problem.fractions * SegmentDose.of(influence, openings, machine).dose(mu)
    bare = replace(problem, smoothness=None, offset_gy=offset)
    if leaf_steps > 0 and not stop():
        openings, mu = _leaves_moved(bare, influence, openings, mu, machine, leaf_steps, stop)
        openings, mu = _without_weak(openings, mu, 0.5 * machine.min_segment_mu)
    solution = _weighted(bare, influence, openings, mu, machine, machine.min_segment_mu, effort, stop, progress)
    beams = _beams(influence.beamlets.setups, openings, solution.weights_mu, machine)
    return replace(delivery, beams=beams, openings=tuple(openings), solution=solution)


def _beams(setups: Sequence[BeamSetup], openings: Sequence[Openings], mu: Float, machine: Machine) -> tuple[Beam, ...]:
    return tuple(
        _beam(setups[opening.field.beam], opening, mu[first:end], machine)
        for opening, (first, end) in zip(openings, ranges(openings), strict=True)
    )


def _split_to(
    fields: tuple[LeafField, ...], fluence_mu: Float, machine: Machine, most: int
) -> tuple[list[Openings], Float]:
    """Split into the finest levels that need no more than `most` openings; the same MU a level in all beams."""
    highest = max(float(field.mean(fluence_mu).max()) for field in fields)
    if not highest > 0:
        raise InputError("the fluence to be sequenced is zero everywhere")
    finest = min(MOST_LEVELS, max(1.0, highest / machine.min_segment_mu))
    low, high = 1.0, finest
    kept = split(fields, fluence_mu, highest, machine)
    for _ in range(8):
        levels = 0.5 * (low + high)
        found = split(fields, fluence_mu, highest / levels, machine)
        if len(found[1]) <= most:
            low, kept = levels, found
        else:
            high = levels
    return kept


def split(
    fields: tuple[LeafField, ...], fluence_mu: Float, mu_per_level: float, machine: Machine
) -> tuple[list[Openings], Float]:
    """Split a fluence, rounded to whole levels, into openings whose sum is the rounded fluence.

    Fields wider than the leaf span are split side by side, so that no bank has to reach farther.

    Returns
    -------
    openings of each beam that needs some, and the MU of all segments in their order
    """
    openings, mu = [], []
    for field in fields:
        levels = np.round(field.mean(fluence_mu) / mu_per_level).astype(np.int64)
        levels[~field.usable] = 0
        left, right = [], []
        for low, high in _windows(field, machine):
            window = np.zeros_like(levels)
            window[:, low:high] = levels[:, low:high]
            for units, first, last in decompose(window):
                closed = np.where(last > first, 0.0, 0.5 * (low + high))
                left.append(first + closed)
                right.append(last + closed)
                mu.append(units * mu_per_level)
        if left:
            openings.append(Openings(field, np.array(left), np.array(right)))
    return openings, np.array(mu)


def _windows(field: LeafField, machine: Machine) -> list[tuple[int, int]]:
    """Runs of columns that one bank of leaves can span with its closed pairs parked beside the opening."""
    parts = -(-field.columns // _most_columns(field, machine))
    edges = np.linspace(0, field.columns, parts + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in pairwise(edges)]


def _most_columns(field: LeafField, machine: Machine) -> int:
    return int((machine.leaf_span_mm - 2 * PARK_MM) // field.width_mm)


def _weighted(
    problem: Problem,
    influence: Influence,
    openings: Sequence[Openings],
    mu: Float,
    machine: Machine,
    lower_mu: float,
    effort: Effort | None,
    stop: Callable[[], bool],
    progress: Callable[[Progress], None] | None,
) -> Solution:
    """Optimise the MU of fixed openings."""
    dose_map = SegmentDose.of(influence, openings, machine)
    return solve(replace(problem, dose_map=dose_map, lower_mu=lower_mu), mu, effort, stop, progress)


def _without_weak(openings: Sequence[Openings], mu: Float, least_mu: float) -> tuple[list[Openings], Float]:
    """Leave out segments of too few MU or without an open pair."""
    kept_openings, kept_mu = [], []
    for opening, (first, end) in zip(openings, ranges(openings), strict=True):
        keep = (mu[first:end] >= least_mu) & opening.is_open.any(axis=1)
        if keep.any():
            kept_openings.append(opening.take(keep))
            kept_mu.append(mu[first:end][keep])
    if not kept_mu:
        raise InputError(f"no segment of the plan reaches {least_mu:g} MU: the prescribed dose is too low to deliver")
    return kept_openings, np.concatenate(kept_mu)


def _leaves_moved(
    problem: Problem,
    influence: Influence,
    openings: Sequence[Openings],
    mu: Float,
    machine: Machine,
    steps: int,
    stop: Callable[[], bool],
) -> tuple[list[Openings], Float]:
    """Move leaf ends and MU together down the gradient.

    While an end moves within a beamlet, the plan's value changes by the beamlet's price (the derivative by its
    weight) times the segment's MU.
    """
    wanted = problem.with_penalties()
    unit = float(mu.mean())
    price = problem.fractions * influence.gradient(
        wanted.derivative_of_dose(problem.dose_gy(fluence_of(openings, mu, machine, problem.size)))
    )
    # The jaws stay where they were: a jaw that follows the first slit of a leaf would make the value jump.
    drawn = [opening.jaws() for opening in openings]
    starts, lows, highs = [], [], []
    for opening in openings:
        left, right, low, high = _room(opening, opening.field.gather(price), machine)
        starts.append(np.stack([left, right]).ravel())
        lows.append(np.stack([low, low]).ravel())
        highs.append(np.stack([high, high]).ravel())
    segments = len(mu)
    first = np.cumsum([segments] + [len(start) for start in starts])

    def unpacked(z: Float) -> tuple[list[Openings], Float]:
        moved = []
        for opening, (a, b) in zip(openings, pairwise(first.tolist()), strict=True):
            left, right = z[a:b].reshape(2, *opening.left.shape)
            middle = 0.5 * (left + right)
            moved.append(Openings(opening.field, np.minimum(left, middle), np.maximum(right, middle)))
        return moved, z[:segments] * unit

    def value_and_gradient(z: Float) -> tuple[float, Float]:
        moved, weights = unpacked(z)
        exposures = [opening.exposure(machine, jaws) for opening, jaws in zip(moved, drawn, strict=True)]
        fluence = np.zeros(problem.size)
        for opening, exposure, (s, e) in zip(moved, exposures, ranges(moved), strict=True):
            fluence[opening.field.beamlets] += weights[s:e] @ exposure
        dose = problem.dose_gy(fluence)
        price = problem.fractions * influence.gradient(wanted.derivative_of_dose(dose))
        gradient = np.zeros_like(z)
        for opening, exposure, (s, e), (a, b) in zip(
            moved, exposures, ranges(moved), pairwise(first.tolist()), strict=True
        ):
            field = opening.field
            gradient[s:e] = unit * (exposure @ price[field.beamlets])
            by_end = _price_of_ends(opening, field.gather(price))
            gradient[a:b] = ((1.0 - machine.leaf_transmission) * weights[s:e, None] * by_end).ravel()
        return wanted.value_of_dose(dose), gradient

    z = np.concatenate([mu / unit, *starts])
    lower, upper = np.concatenate([np.zeros(segments), *lows]), np.concatenate([np.full(segments, np.inf), *highs])
    evaluations = steps
    # The value has kinks where an end crosses from one beamlet to the next: a line search may give up at one.
    while evaluations > 0:
        found = descended(value_and_gradient, z, lower, upper, evaluations, stop)
        z = found.z
        evaluations -= found.evaluations
        if found.iterations == 0 or stop():
            break
    moved, weights = unpacked(z)
    return [_without_slits(opening, machine) for opening in moved], weights


def _price_of_ends(opening: Openings, places: Float) -> Float:
    """Change of the value, per MU, for each column that a leaf end moves up: (2, segments, pairs).

    On the edge between two beamlets an end has two prices; it stays (0) unless moving one way pays. The ends of a
    closed pair stay unless opening pays.
    """
    padded = np.pad(places, ((0, 0), (1, 1)))
    pairs = np.arange(len(places))
    ends = np.stack([opening.left, opening.right])
    sign = np.array([-1.0, 1.0])[:, None, None]
    columns = places.shape[1]
    up = sign * padded[pairs, np.floor(ends).astype(np.int64).clip(-1, columns) + 1]
    down = sign * padded[pairs, np.ceil(ends).astype(np.int64).clip(0, columns + 1)]
    price = np.where(up + down < 0, np.minimum(up, 0.0), np.maximum(down, 0.0))
    closed = ~opening.is_open
    return np.where(closed & (sign * price > 0), 0.0, price)


def _room(opening: Openings, places: Float, machine: Machine) -> tuple[Float, Float, Float, Float]:
    """Leaf ends to start from and how far they may go; closed pairs wait in the column that pays most."""
    field = opening.field
    usable = field.usable.any(axis=1)
    lowest = np.where(usable, np.argmax(field.usable, axis=1), 0).astype(np.float64)
    highest = np.where(usable, field.columns - np.argmax(field.usable[:, ::-1], axis=1), 0).astype(np.float64)
    low, high = np.broadcast_to(lowest, opening.left.shape), np.broadcast_to(highest, opening.left.shape)
    most = _most_columns(field, machine)
    if field.columns > most:
        first, last, _, _ = opening.jaws()
        spare = 0.5 * (most - (last - first))
        low = np.maximum(low, (first - spare)[:, None])
        high = np.maximum(np.minimum(high, (last + spare)[:, None]), low)
    best = np.argmin(np.where(field.usable, places, np.inf), axis=1) + 0.5
    waiting = np.clip(np.broadcast_to(best, low.shape), low, high)
    closed = ~opening.is_open
    return np.where(closed, waiting, opening.left), np.where(closed, waiting, opening.right), low, high


def _without_slits(opening: Openings, machine: Machine) -> Openings:
    """Close pairs that are open by less than half a column or the machine's smallest gap."""
    least = max(0.5, least_opening_mm(machine) / opening.field.width_mm)
    slit = opening.right - opening.left < least
    middle = 0.5 * (opening.left + opening.right)
    return Openings(opening.field, np.where(slit, middle, opening.left), np.where(slit, middle, opening.right))


def _beam(setup: BeamSetup, opening: Openings, mu: Float, machine: Machine) -> Beam:
    """Control points of one beam: start and end of each segment; closed pairs are parked under a jaw."""
    field, edges = opening.field, np.asarray(machine.leaf_boundaries_mm)
    low, high, first, last = opening.jaws()
    points = []
    total = 0.0
    for n, weight in enumerate(mu):
        x1, x2 = ((field.first_column + float(end[n])) * field.width_mm for end in (low, high))
        park = x1 - PARK_MM if x1 - PARK_MM >= machine.leaf_reach_mm[0] else x2 + PARK_MM
        leaves = np.full((2, len(edges) - 1), park)
        opened = np.flatnonzero(opening.is_open[n])
        ends = np.stack([opening.left[n, opened], opening.right[n, opened]])
        # Round ends open a pair by more than it is set.
        round_end = 0.5 * machine.head.leaf_end_gap_mm
        leaves[:, field.first_pair + opened] = (field.first_column + ends) * field.width_mm + np.array(
            [[round_end], [-round_end]]
        )
        y1, y2 = float(edges[field.first_pair + first[n]]), float(edges[field.first_pair + last[n]])
        start = ControlPoint(total, setup.gantry_deg, setup.collimator_deg, setup.couch_deg, (x1, x2), (y1, y2), leaves)
        total += float(weight)
        points += [start, replace(start, mu=total)]
    return beam_of(setup, machine, points)
