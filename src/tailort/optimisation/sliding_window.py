"""From an ideal fluence to beams whose leaves slide over the field while the gantry stands (sliding window).

Three steps: each beam's fluence becomes one sweep of the leaves in the fewest monitor units; leaf ends of all control
points and MU of all intervals are then moved together down the gradient of the same wishes, with the speed of the
leaves kept; at last the MU alone are optimised, with the limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tailort.errors import InputError
from tailort.optimisation.aperture import leaf_fields
from tailort.optimisation.arc_complexity import modulation_complexity
from tailort.optimisation.arc_limits import interval_seconds
from tailort.optimisation.problem import Problem
from tailort.optimisation.sliding_start import Sweeping, first_sweeps
from tailort.optimisation.sliding_track import SlideDose, SlideRoom, SlideTrack
from tailort.optimisation.solve import Effort, Progress, Solution, never, solve
from tailort.patient import Beam, BeamSetup, ControlPoint, Influence
from tailort.physics.machine import Machine, Motion

Float = NDArray[np.float64]

# Fewest MU of an interval, as a share of the mean interval of the beam that needs the fewest: the beam stays on.
LEAST_SHARE = 0.1
AFTER_STOP = Effort(iterations=20, rounds=6)
# Share of the evaluations in each round of moving leaves; after a round the tracks are put back within the leaf speed.
ROUNDS = (0.75, 0.25)
# Weight of the limits while leaves move, against the usual; the next where the MU alone cannot keep them.
PRESSURES = (1.0, 10.0)
# Weight of a column beyond the leaf speed, as a share of the plan's first value, and its growth from round to round.
STIFFNESS = 0.01
STIFFER = 5.0
# Columns that a leaf end moves as easily as the MU of an interval change by their mean.
LEAF_UNIT = 2.0


@dataclass(frozen=True, eq=False)
class SlideReport:
    """What one beam takes to deliver.

    Parameters
    ----------
    seconds : (intervals,) float
        Shortest time of each interval between control points, s: dose rate or the fastest leaf decides.
    complexity : float
        Modulation complexity score of what is seen between the jaws (`modulation_complexity`); 1 is simplest.
    steady_mu_per_minute : float
        Highest dose rate, the same all the way, at which no leaf is too slow.
    """

    seconds: Float
    complexity: float
    steady_mu_per_minute: float

    @property
    def delivery_s(self) -> float:
        """Time with the beam on, s."""
        return float(self.seconds.sum())


@dataclass(frozen=True, eq=False)
class SlideDelivery:
    """A deliverable sliding-window plan, and what it costs against the ideal fluence.

    Parameters
    ----------
    beams : tuple of Beam
        One dynamic beam for each sweep; MU of one fraction. Beams that need no MU are left out; a field wider than
        the leaves span is one beam for each position of the carriage.
    tracks : tuple of SlideTrack
        Leaf ends of each on the lattice of beamlets.
    rooms : tuple of SlideRoom
        Where they may be.
    solution : Solution
        Of the MU of all intervals, beam after beam; its dose is the sum of the beamlets, transmission included.
    fluence_value, start_value : float
        Value of the wishes (without smoothness) for the ideal fluence, and for the sweeps before leaves and MU were
        optimised; to compare with `solution.value`, Gy2.
    beside_share : float
        Fluence at places between the jaws that have no beamlets, as a share of all fluence: the optimiser does not see
        its dose.
    reports : tuple of SlideReport
        Time and complexity of each beam.
    """

    beams: tuple[Beam, ...]
    tracks: tuple[SlideTrack, ...]
    rooms: tuple[SlideRoom, ...]
    solution: Solution
    fluence_value: float
    start_value: float
    beside_share: float
    reports: tuple[SlideReport, ...]

    @property
    def mu(self) -> float:
        """Monitor units of one fraction over all beams."""
        return sum(beam.mu for beam in self.beams)

    @property
    def delivery_s(self) -> float:
        """Time of all beams with the beam on, s."""
        return sum(report.delivery_s for report in self.reports)


def slide(
    problem: Problem,
    influence: Influence,
    fluence_mu: Float,
    machine: Machine,
    limits: Motion,
    intervals: int = 60,
    most_travel: float = 0.35,
    interdigitation: bool = True,
    leaf_steps: int = 120,
    thrift: float = 0.1,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> SlideDelivery:
    """Turn a fluence into sliding-window beams that serve the same wishes and limits.

    Parameters
    ----------
    problem : Problem
        What the fluence was optimised for, on `influence`.
    influence : Influence
        Dose of the beamlets.
    fluence_mu : (beamlets,) float
        MU per fraction.
    machine : Machine
        Leaves, jaws, transmission and dose rate.
    limits : Motion
        Its leaf speed.
    intervals : int
        Of each beam; it has one control point more.
    most_travel : float
        MU that a beam's first sweep may deliver because its leaves have to cross the field, as a share of those that
        its fluence needs; where they would be more, the dose rate is lower. The lower, the fewer MU in a longer time.
    interdigitation : bool
        Whether leaves may pass the opposite leaves of the next pairs.
    leaf_steps : int
        Evaluations of the plan while leaves and MU move together; 0 leaves the leaves on their first tracks.
    thrift : float
        What the first sweeps' MU are worth while the leaves move, as a share of the ideal fluence's value.
    effort, progress
        As for `solve`.
    stop : callable
        When it says True the leaves stay where they are and the MU get little effort, enough to keep the limits;
        the solution is then not marked converged by this function alone: look at what `solve` said of the fluence.

    Raises
    ------
    InputError
        When the fluence is zero or too low to deliver, the machine has no leaves, or their span leaves no room for an
        opening.

    References
    ----------
    Spirou & Chui 1994, Med Phys 21:1031, doi 10.1118/1.597345 (leaf motion for a fluence);
    Cassioli & Unkelbach 2013, PMB 58:301, doi 10.1088/0031-9155/58/2/301 (gradient of leaf positions).
    """
    _check(fluence_mu, thrift)
    how = Sweeping(machine, limits, intervals, most_travel, interdigitation)
    rules = _Rules(influence, machine, limits, stop, progress)
    tracks: list[SlideTrack] = []
    rooms: list[SlideRoom] = []
    units: list[float] = []
    for field in leaf_fields(influence.beamlets, machine):
        for first in first_sweeps(field, fluence_mu, how):
            seen = first.track.field
            travel = np.full(intervals, limits.leaf_mm_per_s * first.seconds / intervals / field.width_mm)
            room = SlideRoom(*seen.reach, how.least(field.width_mm), travel, not interdigitation)
            tracks.append(SlideTrack(seen, *room.kept(first.track.left, first.track.right)))
            rooms.append(room)
            units.append(first.units)
    if not tracks:
        raise InputError(
            f"no sweep of the plan reaches {machine.min_segment_mu:g} MU: the prescribed dose is too low to deliver"
        )
    mu = np.repeat(np.array(units) / intervals, intervals)
    bare = replace(problem, smoothness=None, lower_mu=_least_mu(mu, intervals, machine))
    start = _Plan(tuple(tracks), tuple(rooms), mu)
    fluence_value, start_value = bare.value(fluence_mu), bare.value_of_dose(rules.dose_gy(bare, start))
    price = thrift * fluence_value / float(mu.sum())
    plan, solution = _planned(bare, rules, start, leaf_steps, price, effort)
    return _delivered(plan, solution, rules, fluence_value, start_value)


def reslid(
    problem: Problem,
    influence: Influence,
    delivery: SlideDelivery,
    machine: Machine,
    limits: Motion,
    rows_gy: Float,
    leaf_steps: int = 0,
    thrift: float = 0.1,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> SlideDelivery:
    """Optimise a sliding-window plan again, with what a better dose engine finds of it.

    The difference between that dose and the influence's is kept while the plan changes, so it is optimal for the
    better dose as far as the difference stays.

    Parameters
    ----------
    problem, influence, machine, limits, effort, stop, progress
        As for `slide`.
    delivery : SlideDelivery
        The plan.
    rows_gy : (rows,) float
        Its dose in the rows of the influence, Gy per course, physical.
    leaf_steps : int
        Evaluations while leaves and MU move together; with 0 the leaves stay and only the MU change.
    thrift : float
        As for `slide`, of the plan's MU.

    References
    ----------
    Siebers et al. 2001, Med Phys 28:1925 (hybrid of a fast and an accurate dose in optimisation; recalled).
    """
    mu = delivery.solution.weights_mu
    start = _Plan(delivery.tracks, delivery.rooms, mu)
    rules = _Rules(influence, machine, limits, stop, progress)
    even = np.array([beam.mu / len(track) for beam, track in zip(delivery.beams, start.tracks, strict=True)])
    least = min(_least_mu(even, len(start.tracks[0]), machine), float(mu.min()))
    bare = replace(problem, smoothness=None, offset_gy=None, lower_mu=least)
    bare = replace(bare, offset_gy=rows_gy - rules.dose_gy(bare, start))
    price = thrift * delivery.fluence_value / delivery.mu
    plan, solution = _planned(bare, rules, start, leaf_steps, price, effort)
    return _delivered(plan, solution, rules, delivery.fluence_value, delivery.start_value)


def slide_report(beam: Beam, machine: Machine, limits: Motion) -> SlideReport:
    """Time and complexity of a sliding-window beam, from its control points alone.

    Raises
    ------
    InputError
        When the beam has no leaves or no MU.
    """
    ends = [point.leaves_mm for point in beam.control_points if point.leaves_mm is not None]
    if len(ends) != len(beam.control_points) or not beam.mu > 0:
        raise InputError(f"beam '{beam.name}' is no sliding window: it needs leaves at every control point, and MU")
    leaves = np.array(ends)
    mu = np.diff([point.mu for point in beam.control_points])
    edges = np.asarray(beam.leaf_boundaries_mm)
    first = beam.control_points[0]
    shown = (edges[1:] > first.jaws_y_mm[0]) & (edges[:-1] < first.jaws_y_mm[1])
    seen = np.clip(leaves[:, :, shown], *first.jaws_x_mm)
    travel = np.abs(np.diff(leaves, axis=0)).max(axis=(1, 2), initial=0.0)
    steady = 60.0 * limits.leaf_mm_per_s * float(np.min(mu / np.maximum(travel, 1e-9)))
    return SlideReport(
        interval_seconds(0.0, mu, leaves[:, 0], leaves[:, 1], limits, machine),
        modulation_complexity(mu, seen[:, 0], seen[:, 1]),
        min(steady, machine.max_mu_per_minute),
    )


@dataclass(frozen=True, eq=False)
class _Rules:
    """What all steps share: the beamlets' dose, what the machine can do, and who is told and asked."""

    influence: Influence
    machine: Machine
    limits: Motion
    stop: Callable[[], bool]
    progress: Callable[[Progress], None] | None

    def dose_gy(self, problem: Problem, plan: _Plan) -> Float:
        """Dose of a plan for a problem of beamlet weights, Gy per course."""
        return problem.dose_gy(SlideDose.of(self.influence, plan.tracks, self.machine).fluence(plan.mu))

    def weighted(
        self, problem: Problem, plan: _Plan, effort: Effort | None, stop: Callable[[], bool], done: int
    ) -> Solution:
        """Optimise the MU of fixed leaf tracks; progress counts on from the iterations that are done."""
        told = self.progress
        later = None if told is None else (lambda step: told(replace(step, iteration=step.iteration + done)))
        dose_map = SlideDose.of(self.influence, plan.tracks, self.machine)
        return solve(replace(problem, dose_map=dose_map), plan.mu, effort, stop, later)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Leaf tracks of all sweeps, their room, and the MU of all intervals."""

    tracks: tuple[SlideTrack, ...]
    rooms: tuple[SlideRoom, ...]
    mu: Float

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last interval of each sweep in the vector of all MU."""
        return list(pairwise(np.cumsum([0] + [len(track) for track in self.tracks]).tolist()))


def _check(fluence_mu: Float, thrift: float) -> None:
    if not (np.isfinite(fluence_mu).all() and np.min(fluence_mu, initial=0.0) >= 0):
        raise InputError("the fluence to be delivered by sliding windows must be numbers not below 0")
    if not np.max(fluence_mu, initial=0.0) > 0:
        raise InputError("the fluence to be delivered by sliding windows is zero everywhere")
    if not thrift >= 0:
        raise InputError(f"a thrift of {thrift:g} would pay for monitor units; expected 0 or more")


def _least_mu(even_mu: Float, intervals: int, machine: Machine) -> float:
    """Fewest MU of an interval, so that the beam stays on and every beam reaches the fewest MU of the machine."""
    return max(LEAST_SHARE * float(even_mu.min()), machine.min_segment_mu / intervals)


# ------------------------------------------------------------------------------------------------ moving leaves


def _planned(
    problem: Problem, rules: _Rules, plan: _Plan, leaf_steps: int, price_of_mu: float, effort: Effort | None
) -> tuple[_Plan, Solution]:
    """Move the leaves, optimise the MU; where a limit does not hold then, move the leaves once more."""
    done = 0
    tried: list[tuple[float, _Plan, Solution]] = []
    for pressure in PRESSURES:
        if leaf_steps > 0 and not rules.stop():
            plan, done = _Moving(problem, rules, pressure, price_of_mu, _price_of_place(problem, rules, plan)).moved(
                plan, leaf_steps, done
            )
        solution = rules.weighted(problem, plan, effort, rules.stop, done)
        if rules.stop() and not solution.feasible:
            # Whoever stops still gets a plan that keeps the limits.
            solution = rules.weighted(problem, plan, AFTER_STOP, never, done)
        done += solution.iterations
        plan = replace(plan, mu=solution.weights_mu)
        tried.append((max(0.0, problem.violation_gy(solution.dose_gy)), plan, solution))
        if solution.feasible or leaf_steps == 0 or rules.stop():
            break
    _, plan, solution = min(tried, key=lambda one: one[0])
    return plan, solution


def _price_of_place(problem: Problem, rules: _Rules, plan: _Plan) -> float:
    """What a MU at a place without beamlets is taken to cost: as much as at the beamlets where less is wanted."""
    slope = problem.derivative_of_dose(rules.dose_gy(problem, plan))
    price = problem.fractions * rules.influence.gradient(slope)
    dear = price[price > 0]
    return float(dear.mean()) if len(dear) else 0.0


@dataclass(frozen=True, eq=False)
class _Moving:
    """Leaf ends and MU that move together down the gradient.

    While an end moves within a beamlet, the plan's value changes by the beamlet's price (the derivative by its weight)
    times the MU. Speed and openings enter as squared penalties that grow from round to round; after each round the
    tracks are put back within them exactly, and the levels of limits that do not hold are shifted as in `solve`.
    """

    problem: Problem
    rules: _Rules
    pressure: float
    price_of_mu: float
    price_of_place: float

    def moved(self, plan: _Plan, evaluations: int, done: int) -> tuple[_Plan, int]:
        problem = self.problem
        weight = self.pressure * 10.0 * max((wish.weight for wish in problem.wishes), default=1.0)
        weights = [weight] * len(problem.limits)
        shift: list[Float] = [np.zeros(1)] * len(problem.limits)
        measure = problem.with_penalties(weights)
        best, merit = plan, self._merit(measure, plan)
        stiff = STIFFNESS * max(merit, 1e-12)
        for share in ROUNDS:
            wanted = problem.with_penalties(weights, shift)
            plan, done = self._round(wanted, plan, stiff, max(2, round(share * evaluations)), done)
            now = self._merit(measure, plan)
            if now <= merit:
                best, merit = plan, now
            if self.rules.stop():
                break
            stiff *= STIFFER
            dose = self.rules.dose_gy(problem, plan)
            for n, limit in enumerate(problem.limits):
                aim = replace(limit, objective=limit.objective.tightened(limit.gap_gy))
                shift[n] = np.maximum(shift[n] + problem.excess_gy(dose, aim), 0.0)
        return best, done

    def _merit(self, measure: Problem, plan: _Plan) -> float:
        beams = SlideDose.of(self.rules.influence, plan.tracks, self.rules.machine)
        return measure.value_of_dose(measure.dose_gy(beams.fluence(plan.mu))) + self._cost(beams, plan.mu)

    def _cost(self, beams: SlideDose, mu: Float) -> float:
        """What MU, and fluence beside the beamlets, cost beyond their dose in the rows."""
        return self.price_of_mu * float(mu.sum()) + self.price_of_place * beams.beside(mu)

    def _longer(self, plan: _Plan) -> tuple[SlideRoom, ...]:
        """Let ends go farther in intervals that take longer anyway, for their MU or a leaf."""
        speed, mu_per_s = self.rules.limits.leaf_mm_per_s, self.rules.machine.max_mu_per_minute / 60.0
        rooms = []
        for track, room, (s, e) in zip(plan.tracks, plan.rooms, plan.ranges, strict=True):
            by_mu = plan.mu[s:e] / mu_per_s * speed / track.field.field.width_mm
            rooms.append(replace(room, travel=np.maximum(np.maximum(room.travel, by_mu), track.travel)))
        return tuple(rooms)

    def _round(self, wanted: Problem, plan: _Plan, stiff: float, evaluations: int, done: int) -> tuple[_Plan, int]:
        rules, influence, mu = self.rules, self.rules.influence, plan.mu
        rooms = self._longer(plan)
        unit = float(mu.mean())
        ends = list(pairwise(np.cumsum([len(mu)] + [2 * track.left.size for track in plan.tracks]).tolist()))
        seen = Progress(done, np.inf, np.inf)

        def unpacked(z: Float) -> tuple[list[SlideTrack], Float]:
            moved = []
            for track, (a, b) in zip(plan.tracks, ends, strict=True):
                left, right = LEAF_UNIT * z[a:b].reshape(2, *track.left.shape)
                moved.append(replace(track, left=left, right=right))
            return moved, z[: len(mu)] * unit

        def opened(track: SlideTrack, room: SlideRoom) -> SlideTrack:
            # Ends that passed each other would take fluence away: the right one is where the gap ends at least.
            return replace(track, right=np.maximum(track.right, track.left + room.least))

        def value_and_gradient(z: Float) -> tuple[float, Float]:
            nonlocal seen
            moved, weights = unpacked(z)
            shown = [opened(track, room) for track, room in zip(moved, rooms, strict=True)]
            beams = SlideDose.of(influence, shown, rules.machine)
            dose = wanted.dose_gy(beams.fluence(weights))
            price = wanted.fractions * influence.gradient(wanted.derivative_of_dose(dose))
            value = wanted.value_of_dose(dose)
            seen = Progress(seen.iteration, value, self.problem.violation_gy(dose))
            value += self._cost(beams, weights)
            gradient = np.zeros_like(z)
            gradient[: len(mu)] = unit * (beams.by_price(price, self.price_of_place) + self.price_of_mu)
            for track, seen_track, room, (s, e), (a, b) in zip(moved, shown, rooms, plan.ranges, ends, strict=True):
                prices = track.field.prices(price, self.price_of_place)
                left, right = seen_track.by_ends(weights[s:e], prices, rules.machine)
                pushed = seen_track.right > track.right
                left, right = left + np.where(pushed, right, 0.0), np.where(pushed, 0.0, right)
                beyond, by_left, by_right = room.excess(track.left, track.right)
                value += stiff * beyond
                gradient[a:b] = LEAF_UNIT * np.stack([left + stiff * by_left, right + stiff * by_right]).ravel()
            return value, gradient

        def told(_: Float) -> None:
            nonlocal seen
            seen = replace(seen, iteration=seen.iteration + 1)
            if rules.progress is not None:
                rules.progress(seen)
            if rules.stop():
                raise StopIteration

        sizes = [track.left.size for track in plan.tracks]
        low = [np.full(2 * size, room.low) for size, room in zip(sizes, rooms, strict=True)]
        high = [np.full(2 * size, room.high) for size, room in zip(sizes, rooms, strict=True)]
        bounds = optimize.Bounds(
            np.concatenate([np.full(len(mu), wanted.lower_mu / unit), np.concatenate(low) / LEAF_UNIT]),
            np.concatenate([np.full(len(mu), wanted.upper_mu / unit), np.concatenate(high) / LEAF_UNIT]),
        )
        start = np.concatenate(
            [mu / unit] + [np.stack([track.left, track.right]).ravel() / LEAF_UNIT for track in plan.tracks]
        )
        found: Any = optimize.minimize(  # type: ignore[call-overload]
            value_and_gradient,
            np.clip(start, bounds.lb, bounds.ub),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            callback=told,
            options={"maxfun": evaluations, "maxiter": evaluations, "maxcor": 20},
        )
        moved, weights = unpacked(np.asarray(found.x))
        kept = [
            replace(track, left=left, right=right)
            for track, (left, right) in (
                (track, room.kept(track.left, track.right)) for track, room in zip(moved, rooms, strict=True)
            )
        ]
        return replace(plan, tracks=tuple(kept), mu=weights), seen.iteration


# ------------------------------------------------------------------------------------------------ beams


def _delivered(
    plan: _Plan, solution: Solution, rules: _Rules, fluence_value: float, start_value: float
) -> SlideDelivery:
    """Add beams and reports."""
    setups = rules.influence.beamlets.setups
    spare = max(setup.number for setup in setups)
    beams = []
    for track, (s, e) in zip(plan.tracks, plan.ranges, strict=True):
        field = track.field
        setup = setups[field.beam]
        if field.parts > 1:
            number = setup.number
            if field.part > 0:
                spare += 1
                number = spare
            setup = replace(setup, name=f"{setup.name}.{field.part + 1}", number=number)
        beams.append(_beam(setup, track, solution.weights_mu[s:e], rules.machine))
    dose = SlideDose.of(rules.influence, plan.tracks, rules.machine)
    beside = dose.beside(solution.weights_mu)
    share = beside / (beside + float(dose.fluence(solution.weights_mu).sum()))
    reports = tuple(slide_report(beam, rules.machine, rules.limits) for beam in beams)
    return SlideDelivery(tuple(beams), plan.tracks, plan.rooms, solution, fluence_value, start_value, share, reports)


def _beam(setup: BeamSetup, track: SlideTrack, mu: Float, machine: Machine) -> Beam:
    """Control points of one sweep; pairs behind the Y jaws stay closed."""
    field = track.field.field
    edges = np.asarray(machine.leaf_boundaries_mm)
    low, high, first, last = track.field.jaws
    jaws_x = (low * field.width_mm, high * field.width_mm)
    jaws_y = (float(edges[field.first_pair + first]), float(edges[field.first_pair + last]))
    own = slice(field.first_pair + first, field.first_pair + last)
    # Round ends open a pair by more than it is set.
    round_end = 0.5 * machine.head.leaf_end_gap_mm
    reached = np.concatenate([[0.0], np.cumsum(mu)])
    points = []
    for total, left, right in zip(reached.tolist(), track.left, track.right, strict=True):
        leaves = np.full((2, len(edges) - 1), 0.5 * (jaws_x[0] + jaws_x[1]))
        leaves[:, own] = left * field.width_mm + round_end, right * field.width_mm - round_end
        points.append(
            ControlPoint(total, setup.gantry_deg, setup.collimator_deg, setup.couch_deg, jaws_x, jaws_y, leaves)
        )
    return Beam(
        setup.name,
        setup.number,
        machine.id,
        machine.energy_mv,
        machine.flattened,
        setup.isocentre_mm,
        machine.leaf_boundaries_mm,
        tuple(points),
        dynamic=True,
        source_axis_distance_mm=machine.source_axis_distance_mm,
    )
