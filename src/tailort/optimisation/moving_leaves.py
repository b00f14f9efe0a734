"""Leaves that move while the beam is on: their ends and the MU of all intervals, moved together for the same wishes.

Arcs and sliding windows share this; what they do not share is a `Technique`. While an end moves within a beamlet, the
plan's value changes by the beamlet's price (the derivative by its weight) times the MU. Speed and openings enter as
squared penalties that grow from round to round; after each round the tracks are put back within them exactly, and the
levels of limits that do not hold are shifted as in `solve`. At last the MU alone are optimised, with the limits.

References
----------
Cassioli & Unkelbach 2013, PMB 58:301, doi 10.1088/0031-9155/58/2/301 (gradient of leaf positions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.aperture import beam_of, ranges
from tailort.optimisation.arc_motion import ArcDose, ArcField, ArcTrack
from tailort.optimisation.leaf_descent import AFTER_STOP, descended
from tailort.optimisation.leaf_room import ArcRoom, SlideRoom
from tailort.optimisation.problem import Problem
from tailort.optimisation.screening import screened
from tailort.optimisation.sliding_track import SlideDose, SlideTrack
from tailort.optimisation.solve import Effort, Progress, Solution, never, solve
from tailort.patient import Beam, BeamSetup, ControlPoint
from tailort.physics.machine import Machine

Float = NDArray[np.float64]

# Share of the evaluations in each round of moving leaves; after a round the tracks are put back within the leaf speed.
ROUNDS = (0.75, 0.25)
# Weight of the limits while leaves move, against the usual; the next where the MU alone cannot keep them.
PRESSURES = (1.0, 10.0)
# Weight of a column beyond the leaf speed, as a share of the plan's first value, and its growth from round to round.
STIFFNESS = 0.01
STIFFER = 5.0
# Columns that a leaf end moves as easily as the MU of an interval change by their mean.
LEAF_UNIT = 2.0
# Steps of which the search remembers the curvature.
MEMORY = 20


TrackT = TypeVar("TrackT", bound=ArcTrack | SlideTrack)
RoomT = TypeVar("RoomT", bound=ArcRoom | SlideRoom)
DoseT = TypeVar("DoseT", bound=ArcDose | SlideDose)


@dataclass(frozen=True, eq=False)
class MovingPlan(Generic[TrackT, RoomT]):
    """Leaf tracks of all beams, their room, and the MU of all intervals, beam after beam."""

    tracks: tuple[TrackT, ...]
    rooms: tuple[RoomT, ...]
    mu: Float

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First interval of each beam in the vector of all MU, and the one after its last."""
        return ranges(self.tracks)


class Technique(Protocol[TrackT, RoomT, DoseT]):
    """What one kind of moving leaves does in its own way."""

    @property
    def machine(self) -> Machine:
        """What delivers it."""
        ...

    @property
    def leaf_mm_per_s(self) -> float:
        """Highest speed of a leaf."""
        ...

    @property
    def reach(self) -> float | None:
        """While leaves move, rows farther than this share from their level are left out; None keeps all."""
        ...

    @property
    def ends_pass(self) -> bool:
        """Whether ends that pass each other take fluence away while leaves move; else the gap stays open."""
        ...

    @property
    def stiff_by_merit(self) -> bool:
        """Whether penalties of speed begin as a share of all that counts, limits and MU too, or of the wishes alone."""
        ...

    def dose_of(self, tracks: Sequence[TrackT]) -> DoseT:
        """Find what tracks let through."""
        ...

    def begun(self, problem: Problem, plan: MovingPlan[TrackT, RoomT]) -> Self:
        """Look at a plan whose leaves are to move."""
        ...

    def opened(self, track: TrackT, room: RoomT) -> TrackT:
        """Prepare a track for moving."""
        ...

    def drawn(self, track: TrackT, room: RoomT) -> TrackT:
        """Finish a track that has moved."""
        ...

    def cost(self, dose: DoseT, mu: Float) -> float:
        """What fluence that no row sees counts."""
        ...

    def by_mu(self, dose: DoseT, price: Float) -> Float:
        """Derivative by the MU of each interval of a value with this price of each beamlet, and of the cost."""
        ...

    def by_ends(self, track: TrackT, mu: Float, price: Float) -> tuple[Float, Float]:
        """The same by the left and right ends of one track."""
        ...


def weighted(
    technique: Technique[TrackT, RoomT, DoseT],
    problem: Problem,
    plan: MovingPlan[TrackT, RoomT],
    effort: Effort | None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> Solution:
    """Optimise the MU of fixed leaf tracks."""
    return solve(replace(problem, dose_map=technique.dose_of(plan.tracks).summed()), plan.mu, effort, stop, progress)


def planned(
    technique: Technique[TrackT, RoomT, DoseT],
    problem: Problem,
    plan: MovingPlan[TrackT, RoomT],
    leaf_steps: int,
    price_of_mu: float,
    effort: Effort | None,
    stop: Callable[[], bool],
    progress: Callable[[Progress], None] | None,
) -> tuple[MovingPlan[TrackT, RoomT], Solution]:
    """Move the leaves, optimise the MU; where a limit does not hold then, move the leaves once more.

    Parameters
    ----------
    technique : Technique
        Arcs or sliding windows.
    problem : Problem
        Of the beamlets, with the bounds of the intervals' MU.
    plan : MovingPlan
        Where to start.
    leaf_steps : int
        Evaluations while leaves and MU move together; 0 leaves the leaves where they are.
    price_of_mu : float
        What a MU counts while the leaves move.
    effort, stop, progress
        As for `solve`. Whoever stops still gets a plan that keeps the limits.
    """
    done = 0
    tried: list[tuple[float, MovingPlan[TrackT, RoomT], Solution]] = []
    for pressure in PRESSURES:
        if leaf_steps > 0 and not stop():
            moving = _Moving(technique.begun(problem, plan), problem, pressure, price_of_mu, stop, progress)
            plan, done = moving.moved(plan, leaf_steps, done)
            drawn = (technique.drawn(*beam) for beam in zip(plan.tracks, plan.rooms, strict=True))
            plan = replace(plan, tracks=tuple(drawn))
        solution = weighted(technique, problem, plan, effort, stop, _later(progress, done))
        if stop() and not solution.feasible:
            solution = weighted(technique, problem, plan, AFTER_STOP)
        done += solution.iterations
        plan = replace(plan, mu=solution.weights_mu)
        tried.append((max(0.0, problem.violation_gy(solution.dose_gy)), plan, solution))
        if solution.feasible or leaf_steps == 0 or stop():
            break
    _, plan, solution = min(tried, key=lambda one: one[0])
    return plan, solution


def _later(progress: Callable[[Progress], None] | None, done: int) -> Callable[[Progress], None] | None:
    """Count on from the iterations that are done."""
    if progress is None:
        return None
    return lambda step: progress(replace(step, iteration=step.iteration + done))


@dataclass(frozen=True, eq=False)
class _Moving(Generic[TrackT, RoomT, DoseT]):
    """Leaf ends and MU that move together down the gradient."""

    technique: Technique[TrackT, RoomT, DoseT]
    problem: Problem
    pressure: float
    price_of_mu: float
    stop: Callable[[], bool]
    progress: Callable[[Progress], None] | None

    def moved(
        self, plan: MovingPlan[TrackT, RoomT], evaluations: int, done: int
    ) -> tuple[MovingPlan[TrackT, RoomT], int]:
        problem, technique = self.problem, self.technique
        opened = (technique.opened(*beam) for beam in zip(plan.tracks, self._longer(plan), strict=True))
        plan = replace(plan, tracks=tuple(opened))
        weight = self.pressure * 10.0 * max((wish.weight for wish in problem.wishes), default=1.0)
        weights = [weight] * len(problem.limits)
        shift: list[Float] = [np.zeros(1)] * len(problem.limits)
        measure = problem.with_penalties(weights)
        dose_gy, cost = self._dose_and_cost(plan)
        best, merit = plan, measure.value_of_dose(dose_gy) + cost
        stiff = STIFFNESS * max(merit if technique.stiff_by_merit else problem.value_of_dose(dose_gy), 1e-12)
        for share in ROUNDS:
            wanted = problem.with_penalties(weights, shift)
            plan, done = self._round(wanted, plan, dose_gy, stiff, max(2, round(share * evaluations)), done)
            dose_gy, cost = self._dose_and_cost(plan)
            now = measure.value_of_dose(dose_gy) + cost
            if now <= merit:
                best, merit = plan, now
            if self.stop():
                break
            stiff *= STIFFER
            for n, limit in enumerate(problem.limits):
                aim = replace(limit, objective=limit.objective.tightened(limit.gap_gy))
                shift[n] = np.maximum(shift[n] + problem.excess_gy(dose_gy, aim), 0.0)
        return best, done

    def _dose_and_cost(self, plan: MovingPlan[TrackT, RoomT]) -> tuple[Float, float]:
        """Dose of the rows, Gy per course, and what counts beyond it."""
        dose = self.technique.dose_of(plan.tracks)
        return self.problem.dose_gy(dose.fluence(plan.mu)), self._cost(dose, plan.mu)

    def _cost(self, dose: DoseT, mu: Float) -> float:
        return self.price_of_mu * float(mu.sum()) + self.technique.cost(dose, mu)

    def _longer(self, plan: MovingPlan[TrackT, RoomT]) -> tuple[RoomT, ...]:
        """Let ends go farther in intervals that take longer anyway, for their MU or a leaf."""
        most = self.technique.machine.max_mu_per_minute
        rooms = []
        for track, room, (s, e) in zip(plan.tracks, plan.rooms, plan.ranges, strict=True):
            by_mu = plan.mu[s:e] * 60.0 / most * self.technique.leaf_mm_per_s / track.width_mm
            rooms.append(replace(room, travel=np.maximum(np.maximum(room.travel, by_mu), track.travel)))
        return tuple(rooms)

    def _round(
        self,
        wanted: Problem,
        plan: MovingPlan[TrackT, RoomT],
        dose_gy: Float,
        stiff: float,
        evaluations: int,
        done: int,
    ) -> tuple[MovingPlan[TrackT, RoomT], int]:
        technique, tracks, rooms, mu = self.technique, plan.tracks, self._longer(plan), plan.mu
        unit = float(mu.mean())
        part = None if technique.reach is None else screened(wanted, dose_gy, technique.reach)
        inner = wanted if part is None else part.problem
        own = list(pairwise(np.cumsum([len(mu), *(2 * track.left.size for track in tracks)]).tolist()))
        seen = Progress(done, np.inf, self.problem.violation_gy(dose_gy))

        def unpacked(z: Float) -> tuple[list[TrackT], Float]:
            ends = [LEAF_UNIT * z[a:b].reshape(2, *track.left.shape) for track, (a, b) in zip(tracks, own, strict=True)]
            return [_at(track, *pair) for track, pair in zip(tracks, ends, strict=True)], z[: len(mu)] * unit

        def value_and_gradient(z: Float) -> tuple[float, Float]:
            nonlocal seen
            moved, weights = unpacked(z)
            shown = moved if technique.ends_pass else [_gaping(*beam) for beam in zip(moved, rooms, strict=True)]
            dose = technique.dose_of(shown)
            value, price = value_and_price(inner, dose.fluence(weights))
            seen = replace(seen, value=value)
            value += self._cost(dose, weights)
            gradient = np.zeros_like(z)
            gradient[: len(mu)] = unit * (technique.by_mu(dose, price) + self.price_of_mu)
            for track, open_track, room, (s, e), (a, b) in zip(moved, shown, rooms, plan.ranges, own, strict=True):
                left, right = technique.by_ends(open_track, weights[s:e], price)
                # Right ends that the gap held open went with the left ones.
                held = open_track.right > track.right
                left, right = left + np.where(held, right, 0.0), np.where(held, 0.0, right)
                beyond, by_left, by_right = room.excess(track.left, track.right)
                value += stiff * beyond
                gradient[a:b] = LEAF_UNIT * np.stack([left + stiff * by_left, right + stiff * by_right]).ravel()
            return value, gradient

        def told() -> None:
            nonlocal seen
            seen = replace(seen, iteration=seen.iteration + 1)
            if self.progress is not None:
                self.progress(seen)

        found = descended(
            value_and_gradient,
            _packed(mu / unit, [(track.left, track.right) for track in tracks]),
            _packed(np.full(len(mu), wanted.lower_mu / unit), _bounds(tracks, [room.low for room in rooms])),
            _packed(np.full(len(mu), wanted.upper_mu / unit), _bounds(tracks, [room.high for room in rooms])),
            evaluations,
            self.stop,
            told,
            MEMORY,
        )
        moved, weights = unpacked(found.z)
        kept = (_at(track, *room.kept(track.left, track.right)) for track, room in zip(moved, rooms, strict=True))
        return replace(plan, tracks=tuple(kept), mu=weights), seen.iteration


def _packed(shares: Float, ends: Sequence[tuple[Float, Float]]) -> Float:
    """One vector of MU, as shares of their mean, and both ends of all tracks."""
    return np.concatenate([shares, *(np.stack(pair).ravel() / LEAF_UNIT for pair in ends)])


def _bounds(tracks: Sequence[ArcTrack | SlideTrack], bounds: Sequence[Float | float]) -> list[tuple[Float, Float]]:
    whole = [np.broadcast_to(bound, track.left.shape) for track, bound in zip(tracks, bounds, strict=True)]
    return [(bound, bound) for bound in whole]


def _at(track: TrackT, left: Float, right: Float) -> TrackT:
    return replace(track, left=left, right=right)


def _gaping(track: TrackT, room: ArcRoom | SlideRoom) -> TrackT:
    """Return a track whose right ends are where the gap ends at least."""
    return replace(track, right=np.maximum(track.right, track.left + room.least))


def value_and_price(problem: Problem, fluence_mu: Float) -> tuple[float, Float]:
    """Value of a problem of beamlets, and its derivative by the weight of each.

    Parameters
    ----------
    problem : Problem
        Without limits (`Problem.with_penalties`).
    fluence_mu : (beamlets,) float
        MU per fraction.
    """
    dose = problem.dose_gy(fluence_mu)
    value = problem.value_of_dose(dose)
    price = problem.fractions * problem.dose_map.gradient(problem.derivative_of_dose(dose))
    if problem.smoothness is not None:
        value, price = value + problem.smoothness.value(fluence_mu), price + problem.smoothness.derivative(fluence_mu)
    return value, price


def moving_beam(
    setup: BeamSetup,
    machine: Machine,
    field: ArcField,
    jaws: tuple[float, float, int, int],
    first_row: int,
    ends: tuple[Float, Float],
    gantry_deg: Sequence[float],
    mu: Float,
) -> Beam:
    """Beam whose leaves move between control points; pairs without a track stay closed behind the Y jaws.

    Parameters
    ----------
    setup : BeamSetup
        Name, number, isocentre, collimator and couch.
    machine : Machine
        What delivers it.
    field : ArcField
        Lattice of pairs and columns.
    jaws : (low, high, first, last)
        Columns between which the X jaws are open, first pair of the field between the Y jaws, the one after the last.
    first_row : int
        Pair of the field to which the tracks' first pair belongs.
    ends : two of (points, pairs) float
        Left and right ends, columns.
    gantry_deg : (points,) float
        IEC 61217.
    mu : (intervals,) float
        Of one fraction.
    """
    edges = np.asarray(machine.leaf_boundaries_mm)
    low, high, first, last = jaws
    jaws_x = (low * field.width_mm, high * field.width_mm)
    jaws_y = (float(edges[field.first_pair + first]), float(edges[field.first_pair + last]))
    # Round ends open a pair by more than it is set.
    round_end = 0.5 * machine.head.leaf_end_gap_mm
    start = field.first_pair + first_row
    own = slice(start, start + ends[0].shape[1])
    reached = np.concatenate([[0.0], np.cumsum(mu)]).tolist()
    points = []
    for total, gantry, left, right in zip(reached, gantry_deg, *ends, strict=True):
        leaves = np.full((2, len(edges) - 1), 0.5 * (jaws_x[0] + jaws_x[1]))
        inset = np.where(right > left, round_end, 0.0)
        leaves[:, own] = left * field.width_mm + inset, right * field.width_mm - inset
        points.append(ControlPoint(total, gantry, setup.collimator_deg, setup.couch_deg, jaws_x, jaws_y, leaves))
    return beam_of(setup, machine, points, dynamic=True)
