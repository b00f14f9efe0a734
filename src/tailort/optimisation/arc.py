"""From the ideal fluence of many angles to arcs that a linac can deliver (VMAT).

Three steps: the fluences of neighbouring angles are merged and swept by a sliding window, to and fro; leaf ends of all
control points and MU of all intervals are then moved together down the gradient of the same wishes, with the speed of
the leaves kept; at last the MU alone are optimised, with the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tailort.errors import InputError
from tailort.optimisation.aperture import leaf_fields
from tailort.optimisation.arc_complexity import modulation_complexity
from tailort.optimisation.arc_limits import Room, interval_seconds
from tailort.optimisation.arc_motion import ArcDose, ArcField, ArcTrack, by_ends
from tailort.optimisation.arc_start import sweeps
from tailort.optimisation.problem import Problem
from tailort.optimisation.screening import screened
from tailort.optimisation.solve import Effort, Progress, Solution, never, solve
from tailort.patient import Beam, ControlPoint, Influence
from tailort.physics.machine import Machine, Motion

Float = NDArray[np.float64]
FIRST_WEIGHTS = Effort(iterations=40, rounds=1, value_tolerance=5e-3)
AFTER_STOP = Effort(iterations=20, rounds=6)
ANGLE_TOLERANCE_DEG = 1e-3
# Share of the evaluations in each round of moving leaves; after a round the tracks are put back within the leaf speed.
ROUNDS = (0.75, 0.25)
# Weight of the limits while leaves move, against the usual; the next where the MU alone cannot keep them.
PRESSURES = (1.0, 10.0)
# Weight of a column beyond the leaf speed, as a share of the plan's first value, and its growth from round to round.
STIFFNESS = 0.01
STIFFER = 5.0
# While leaves move, rows that are farther than this share from their level are left out. Each round chooses them anew,
# and the plan that is kept is the best by all rows.
REACH = 0.25
# Columns that a leaf end moves as easily as the MU of an interval change by their mean.
LEAF_UNIT = 2.0


@dataclass(frozen=True)
class Arc:
    """One turn of the gantry, cut into sectors of the same angle.

    Parameters
    ----------
    name, number : str, int
        As shown on the console.
    start_deg : float
        IEC 61217 gantry angle of the first control point.
    sector_deg : float
        Turn of a sector; above 0 the gantry turns clockwise (angles rise), below 0 anticlockwise.
    sectors : int
        Number of sectors; the whole turn is at most 360 degrees.
    collimator_deg : float
        IEC 61217.
    """

    name: str
    number: int
    start_deg: float
    sector_deg: float
    sectors: int
    collimator_deg: float = 0.0

    def __post_init__(self) -> None:
        turn = abs(self.sector_deg) * self.sectors
        if not (self.sectors >= 1 and 0 < abs(self.sector_deg) <= 20 and turn <= 360 + ANGLE_TOLERANCE_DEG):
            raise InputError(
                f"arc '{self.name}' has {self.sectors} sectors of {self.sector_deg:g} degrees; expected at least one, "
                "of at most 20 degrees, and no more than a full turn"
            )

    @property
    def middles_deg(self) -> tuple[float, ...]:
        """Gantry angle in the middle of each sector, in order of delivery: where beamlets are needed."""
        return tuple((self.start_deg + (n + 0.5) * self.sector_deg) % 360.0 for n in range(self.sectors))

    def passes(self, angle_deg: float) -> bool:
        """Whether the gantry passes over an angle; to begin or end there is not to pass it."""
        way = abs(self.sector_deg) * self.sectors
        ahead = (angle_deg - self.start_deg) * np.sign(self.sector_deg) % 360.0
        return bool(ANGLE_TOLERANCE_DEG < ahead < way - ANGLE_TOLERANCE_DEG)


@dataclass(frozen=True, eq=False)
class ArcReport:
    """What one arc takes to deliver.

    Parameters
    ----------
    seconds : (intervals,) float
        Shortest time of each interval between control points, s.
    complexity : float
        Modulation complexity score (`modulation_complexity`); 1 is simplest.
    """

    seconds: Float
    complexity: float

    @property
    def delivery_s(self) -> float:
        """Time of the whole arc, s."""
        return float(self.seconds.sum())


@dataclass(frozen=True, eq=False)
class ArcDelivery:
    """A deliverable plan of arcs, and what it costs against the ideal fluence.

    Parameters
    ----------
    beams : tuple of Beam
        One dynamic beam an arc; MU of one fraction.
    arcs : tuple of Arc
        What each beam turns.
    tracks : tuple of ArcTrack
        Leaf ends and jaws of each arc on the lattice of beamlets.
    rooms : tuple of Room
        Where they may be.
    solution : Solution
        Of the MU of all intervals, arc after arc; its dose is the sum of the beamlets, transmission included.
    fluence_value, start_value : float
        Value of the wishes (without smoothness) for the ideal fluence, and for the first leaf tracks; to compare with
        `solution.value`, Gy2.
    reports : tuple of ArcReport
        Time and complexity of each arc.
    """

    beams: tuple[Beam, ...]
    arcs: tuple[Arc, ...]
    tracks: tuple[ArcTrack, ...]
    rooms: tuple[Room, ...]
    solution: Solution
    fluence_value: float
    start_value: float
    reports: tuple[ArcReport, ...]

    @property
    def mu(self) -> float:
        """Monitor units of one fraction over all beams."""
        return sum(beam.mu for beam in self.beams)

    @property
    def delivery_s(self) -> float:
        """Time of all arcs with the beam on, s."""
        return sum(report.delivery_s for report in self.reports)


def arc_fields(
    influence: Influence, arcs: Sequence[Arc], machine: Machine, intervals_per_sector: int
) -> tuple[ArcField, ...]:
    """Find the beamlets of each arc, by the angles of gantry and collimator; arcs may share them.

    Raises
    ------
    InputError
        When a sector has no beam or no beamlets, or the couch or isocentre moves within an arc.
    """
    setups = influence.beamlets.setups
    by_beam = {field.beam: field for field in leaf_fields(influence.beamlets, machine)}
    found = []
    for arc in arcs:
        fields = [
            by_beam[b]
            for angle in arc.middles_deg
            for b in sorted(by_beam)
            if _same(setups[b].gantry_deg, angle) and _same(setups[b].collimator_deg, arc.collimator_deg)
        ]
        if len(fields) != arc.sectors:
            raise InputError(
                f"arc '{arc.name}' needs one beam with beamlets at the middle of each of its {arc.sectors} sectors; "
                f"found {len(fields)}: make them with arrange(arc.middles_deg, isocentre, arc.collimator_deg)"
            )
        if len({(setups[field.beam].couch_deg, setups[field.beam].isocentre_mm) for field in fields}) > 1:
            raise InputError(f"couch and isocentre must stay the same during arc '{arc.name}'")
        found.append(ArcField.of(fields, intervals_per_sector))
    return tuple(found)


def _same(one_deg: float, other_deg: float) -> bool:
    return abs((one_deg - other_deg + 180.0) % 360.0 - 180.0) <= ANGLE_TOLERANCE_DEG


def sequence_arcs(
    problem: Problem,
    influence: Influence,
    fluence_mu: Float,
    machine: Machine,
    arcs: Sequence[Arc],
    limits: Motion,
    intervals_per_sector: int = 2,
    pace_deg_per_s: float | None = None,
    leaf_steps: int = 200,
    thrift: float = 1.0,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> ArcDelivery:
    """Turn the fluence of many angles into arcs that serve the same wishes and limits.

    Parameters
    ----------
    problem : Problem
        What the fluence was optimised for, on `influence`.
    influence : Influence
        Dose of the beamlets at the middles of the sectors.
    fluence_mu : (beamlets,) float
        MU per fraction.
    machine : Machine
        Leaves, jaws, transmission and dose rate.
    arcs : sequence of Arc
        In order of delivery.
    limits : Motion
        Speeds.
    intervals_per_sector : int
        Control points are this much closer than sectors.
    pace_deg_per_s : float or None
        Gantry speed with which the leaves keep up where MU are few; None is the gantry's highest. The slower, the
        farther leaves go between control points, and the longer the arcs may take. Where MU take longer, leaves may
        go farther in that time.
    leaf_steps : int
        Evaluations of the plan while leaves and MU move together; 0 leaves the leaves on their first tracks.
    thrift : float
        What the first tracks' MU are worth while the leaves move, as a share of the ideal fluence's value: the more,
        the wider the openings, with fewer MU and less leakage for a somewhat worse dose.
    effort, progress
        As for `solve`.
    stop : callable
        When it says True the leaves stay where they are and the MU get little effort, enough to keep the limits;
        the solution is then not marked converged by this function alone: look at what `solve` said of the fluence.

    Raises
    ------
    InputError
        When an arc passes where the gantry stops, has no beamlets, its leaves cannot follow the target, or the field
        is wider than the leaves of all arcs span.

    References
    ----------
    Otto 2008, Med Phys 35:310, doi 10.1118/1.2818738 (arcs with moving leaves and dose rate);
    Cassioli & Unkelbach 2013, PMB 58:301, doi 10.1088/0031-9155/58/2/301 (gradient of leaf positions).
    """
    _check(arcs, limits)
    pace = limits.gantry_deg_per_s if pace_deg_per_s is None else pace_deg_per_s
    if not limits.slowest_gantry_deg_per_s <= pace <= limits.gantry_deg_per_s:
        raise InputError(
            f"a pace of {pace:g} degrees/s is not between the gantry's lowest and highest speed, "
            f"{limits.slowest_gantry_deg_per_s:g} and {limits.gantry_deg_per_s:g} degrees/s"
        )
    if not thrift >= 0:
        raise InputError(f"a thrift of {thrift:g} would pay for monitor units; expected 0 or more")
    if not np.max(fluence_mu, initial=0.0) > 0:
        raise InputError("the fluence to be delivered by arcs is zero everywhere")
    fields = arc_fields(influence, arcs, machine, intervals_per_sector)
    bare = _bounded(problem, arcs, limits, machine, intervals_per_sector)
    rooms: list[Room] = []
    tracks: list[ArcTrack] = []
    first_mu: list[Float] = []
    for n, (arc, field) in enumerate(zip(arcs, fields, strict=True)):
        window = _window(field, n, len(arcs), machine)
        seconds = abs(arc.sector_deg) / intervals_per_sector / pace
        room = Room.of(field, machine, limits.leaf_mm_per_s * seconds, window)
        crossings = float(room.travel.sum()) / (window[1] - window[0])
        left, right, mu = sweeps(field, fluence_mu, max(1, round(crossings)), window, n / len(arcs))
        tracks.append(_with_jaws(ArcTrack.wide(field, *room.kept(left, right)), room, machine))
        rooms.append(room)
        first_mu.append(mu)
    even = np.concatenate(first_mu)
    first = _weighted(bare.with_penalties(), influence, tracks, even, machine, FIRST_WEIGHTS, never, None)
    fluence_value, start_value = bare.value(fluence_mu), bare.value_of_dose(first.dose_gy)
    price = thrift * fluence_value / float(first.weights_mu.sum())
    mu = first.weights_mu
    if leaf_steps > 0 and not stop():
        # Even MU leave every control point something to do while the leaves move.
        mu = np.clip(even * (mu.sum() / even.sum()), bare.lower_mu, bare.upper_mu)
    start = _Plan(tuple(tracks), tuple(rooms), mu)
    plan, solution = _planned(bare, influence, start, machine, limits, leaf_steps, price, effort, stop, progress)
    delivery = ArcDelivery((), tuple(arcs), plan.tracks, plan.rooms, solution, fluence_value, start_value, ())
    return _told(delivery, influence, machine, limits)


def reweighed_arcs(
    problem: Problem,
    influence: Influence,
    delivery: ArcDelivery,
    machine: Machine,
    limits: Motion,
    rows_gy: Float,
    leaf_steps: int = 0,
    thrift: float = 1.0,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> ArcDelivery:
    """Optimise arcs again, with what a better dose engine finds of them.

    The difference between that dose and the influence's is kept while the arcs change, so the plan is optimal for the
    better dose as far as the difference stays.

    Parameters
    ----------
    problem, influence, machine, limits, effort, stop, progress
        As for `sequence_arcs`.
    delivery : ArcDelivery
        The plan.
    rows_gy : (rows,) float
        Its dose in the rows of the influence, Gy per course, physical.
    leaf_steps : int
        Evaluations while leaves and MU move together; with 0 the leaves stay and only the MU change.
    thrift : float
        As for `sequence_arcs`, of the plan's MU.

    References
    ----------
    Siebers et al. 2001, Med Phys 28:1925 (hybrid of a fast and an accurate dose in optimisation; recalled).
    """
    mu = delivery.solution.weights_mu
    offset = rows_gy - problem.fractions * ArcDose.of(influence, delivery.tracks, machine).dose(mu)
    intervals = delivery.tracks[0].field.intervals
    bare = replace(_bounded(problem, delivery.arcs, limits, machine, intervals), offset_gy=offset)
    start = _Plan(delivery.tracks, delivery.rooms, mu)
    price = thrift * delivery.fluence_value / delivery.mu
    plan, solution = _planned(bare, influence, start, machine, limits, leaf_steps, price, effort, stop, progress)
    return _told(replace(delivery, tracks=plan.tracks, solution=solution), influence, machine, limits)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Leaf tracks of all arcs, their room, and the MU of all intervals."""

    tracks: tuple[ArcTrack, ...]
    rooms: tuple[Room, ...]
    mu: Float


def _planned(
    problem: Problem,
    influence: Influence,
    plan: _Plan,
    machine: Machine,
    limits: Motion,
    leaf_steps: int,
    price_of_mu: float,
    effort: Effort | None,
    stop: Callable[[], bool],
    progress: Callable[[Progress], None] | None,
) -> tuple[_Plan, Solution]:
    """Move the leaves, draw the jaws, optimise the MU; where a limit does not hold then, move the leaves once more."""
    done = 0
    tried: list[tuple[float, _Plan, Solution]] = []
    for pressure in PRESSURES:
        if leaf_steps > 0 and not stop():
            plan, done = _Moving(
                problem, influence, machine, limits.leaf_mm_per_s, pressure, price_of_mu, stop, progress
            ).moved(plan, leaf_steps, done)
            drawn = [_with_jaws(track, room, machine) for track, room in zip(plan.tracks, plan.rooms, strict=True)]
            plan = replace(plan, tracks=tuple(drawn))
        solution = _weighted(problem, influence, plan.tracks, plan.mu, machine, effort, stop, _later(progress, done))
        if stop() and not solution.feasible:
            # Whoever stops still gets a plan that keeps the limits.
            solution = _weighted(problem, influence, plan.tracks, plan.mu, machine, AFTER_STOP, never, None)
        done += solution.iterations
        plan = replace(plan, mu=solution.weights_mu)
        tried.append((max(0.0, problem.violation_gy(solution.dose_gy)), plan, solution))
        if solution.feasible or leaf_steps == 0 or stop():
            break
    _, plan, solution = min(tried, key=lambda one: one[0])
    return plan, solution


def _check(arcs: Sequence[Arc], limits: Motion) -> None:
    if not arcs:
        raise InputError("a plan of arcs needs at least one arc")
    for arc in arcs:
        if arc.passes(limits.gantry_stop_deg):
            raise InputError(
                f"arc '{arc.name}' passes {limits.gantry_stop_deg:g} degrees, where the gantry stops; begin it on the "
                "other side"
            )


def _bounded(
    problem: Problem, arcs: Sequence[Arc], limits: Motion, machine: Machine, intervals_per_sector: int
) -> Problem:
    """Return the problem of the intervals' MU: as many as the slowest gantry gives time for, and not too few."""
    steps = [abs(arc.sector_deg) / intervals_per_sector for arc in arcs]
    most = machine.max_mu_per_minute / 60.0 / limits.slowest_gantry_deg_per_s
    return replace(problem, smoothness=None, lower_mu=limits.least_mu_per_deg * max(steps), upper_mu=most * min(steps))


def _window(field: ArcField, number: int, arcs: int, machine: Machine) -> tuple[float, float]:
    """Columns that one bank can span; where the field is wider, the arcs share its width."""
    low, high = float(field.lowest.min()), float(field.highest.max())
    low = max(low, machine.leaf_reach_mm[0] / field.width_mm)
    high = min(high, machine.leaf_reach_mm[1] / field.width_mm)
    if (high - low) * field.width_mm > arcs * machine.leaf_span_mm:
        raise InputError(
            f"the field is {(high - low) * field.width_mm:g} mm wide, the leaves of a bank span "
            f"{machine.leaf_span_mm:g} mm in each of {arcs} arc(s); plan more arcs or turn the collimator"
        )
    spare = max(0.0, high - low - machine.leaf_span_mm / field.width_mm)
    share = 0.5 if arcs == 1 else number / (arcs - 1)
    return low + share * spare, high - (1.0 - share) * spare


def _weighted(
    problem: Problem,
    influence: Influence,
    tracks: Sequence[ArcTrack],
    mu: Float,
    machine: Machine,
    effort: Effort | None,
    stop: Callable[[], bool],
    progress: Callable[[Progress], None] | None,
) -> Solution:
    """Optimise the MU of fixed leaf tracks."""
    return solve(replace(problem, dose_map=ArcDose.of(influence, tracks, machine)), mu, effort, stop, progress)


def _later(progress: Callable[[Progress], None] | None, done: int) -> Callable[[Progress], None] | None:
    """Count on from the iterations that are done."""
    if progress is None:
        return None
    return lambda step: progress(replace(step, iteration=step.iteration + done))


def _ranges(tracks: Sequence[ArcTrack]) -> list[tuple[int, int]]:
    """First and last interval of each arc in the vector of all MU."""
    return list(pairwise(np.cumsum([0] + [len(track) for track in tracks]).tolist()))


@dataclass(frozen=True, eq=False)
class _Moving:
    """Leaf ends and MU that move together down the gradient.

    While an end moves within a beamlet, the plan's value changes by the beamlet's price (the derivative by its weight)
    times the MU. Speed and openings enter as squared penalties that grow from round to round; after each round the
    tracks are put back within them exactly, and the levels of limits that do not hold are shifted as in `solve`.
    """

    problem: Problem
    influence: Influence
    machine: Machine
    leaf_mm_per_s: float
    pressure: float
    price_of_mu: float
    stop: Callable[[], bool]
    progress: Callable[[Progress], None] | None

    def moved(self, plan: _Plan, evaluations: int, done: int) -> tuple[_Plan, int]:
        problem = self.problem
        # The jaws show the whole field again: one that followed a leaf would make the value jump.
        plan = replace(
            plan,
            tracks=tuple(
                ArcTrack.wide(track.field, *room.kept(track.left, track.right))
                for track, room in zip(plan.tracks, self._longer(plan), strict=True)
            ),
        )
        weight = self.pressure * 10.0 * max((wish.weight for wish in problem.wishes), default=1.0)
        weights = [weight] * len(problem.limits)
        shift: list[Float] = [np.zeros(1)] * len(problem.limits)
        measure = problem.with_penalties(weights)
        dose = self._dose(plan)
        best, merit = plan, measure.value_of_dose(dose) + self.price_of_mu * float(plan.mu.sum())
        stiff = STIFFNESS * max(problem.value_of_dose(dose), 1e-12)
        for share in ROUNDS:
            wanted = problem.with_penalties(weights, shift)
            plan, done = self._round(wanted, plan, stiff, max(2, round(share * evaluations)), done)
            dose = self._dose(plan)
            now = measure.value_of_dose(dose) + self.price_of_mu * float(plan.mu.sum())
            if now <= merit:
                best, merit = plan, now
            if self.stop():
                break
            stiff *= STIFFER
            for n, limit in enumerate(problem.limits):
                aim = replace(limit, objective=limit.objective.tightened(limit.gap_gy))
                shift[n] = np.maximum(shift[n] + problem.excess_gy(dose, aim), 0.0)
        return best, done

    def _longer(self, plan: _Plan) -> tuple[Room, ...]:
        """Let ends go farther in intervals that take longer anyway, for their MU or a leaf."""
        rooms = []
        for track, room, (s, e) in zip(plan.tracks, plan.rooms, _ranges(plan.tracks), strict=True):
            by_mu = plan.mu[s:e] * 60.0 / self.machine.max_mu_per_minute * self.leaf_mm_per_s / track.field.width_mm
            rooms.append(replace(room, travel=np.maximum(np.maximum(room.travel, by_mu), track.travel)))
        return tuple(rooms)

    def _dose(self, plan: _Plan) -> Float:
        return self.problem.dose_gy(ArcDose.of(self.influence, plan.tracks, self.machine).fluence(plan.mu))

    def _round(self, wanted: Problem, plan: _Plan, stiff: float, evaluations: int, done: int) -> tuple[_Plan, int]:
        tracks, rooms, mu = plan.tracks, self._longer(plan), plan.mu
        unit = float(mu.mean())
        first = self._dose(plan)
        part = screened(wanted, first, REACH)
        inner = wanted if part is None else part.problem
        sizes = [2 * track.left.size for track in tracks]
        ends = list(pairwise(np.cumsum([len(mu), *sizes]).tolist()))
        seen = Progress(done, np.inf, self.problem.violation_gy(first))

        def unpacked(z: Float) -> tuple[list[ArcTrack], Float]:
            moved = []
            for track, (a, b) in zip(tracks, ends, strict=True):
                left, right = LEAF_UNIT * z[a:b].reshape(2, *track.left.shape)
                moved.append(replace(track, left=left, right=right))
            return moved, z[: len(mu)] * unit

        def value_and_gradient(z: Float) -> tuple[float, Float]:
            nonlocal seen
            moved, weights = unpacked(z)
            arcs = ArcDose.of(self.influence, moved, self.machine)
            value, price = value_and_price(inner, arcs.fluence(weights))
            seen = replace(seen, value=value)
            gradient = np.zeros_like(z)
            gradient[: len(mu)] = unit * (arcs.by_price(price) + self.price_of_mu)
            value += self.price_of_mu * float(weights.sum())
            for track, room, (s, e), (a, b) in zip(moved, rooms, _ranges(moved), ends, strict=True):
                left, right = by_ends(track, weights[s:e], price, self.machine)
                beyond, by_left, by_right = room.excess(track.left, track.right)
                value += stiff * beyond
                gradient[a:b] = LEAF_UNIT * np.stack([left + stiff * by_left, right + stiff * by_right]).ravel()
            return value, gradient

        def told(_: Float) -> None:
            nonlocal seen
            seen = replace(seen, iteration=seen.iteration + 1)
            if self.progress is not None:
                self.progress(seen)
            if self.stop():
                raise StopIteration

        bounds = optimize.Bounds(
            np.concatenate(
                [np.full(len(mu), wanted.lower_mu / unit)]
                + [np.stack([r.low, r.low]).ravel() / LEAF_UNIT for r in rooms]
            ),
            np.concatenate(
                [np.full(len(mu), wanted.upper_mu / unit)]
                + [np.stack([r.high, r.high]).ravel() / LEAF_UNIT for r in rooms]
            ),
        )
        start = np.concatenate(
            [mu / unit] + [np.stack([track.left, track.right]).ravel() / LEAF_UNIT for track in tracks]
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
        kept = []
        for track, room in zip(moved, rooms, strict=True):
            left, right = room.kept(track.left, track.right)
            kept.append(replace(track, left=left, right=right))
        return replace(plan, tracks=tuple(kept), mu=weights), seen.iteration


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


def _with_jaws(track: ArcTrack, room: Room, machine: Machine) -> ArcTrack:
    """Draw the jaws up to what is open at any control point, and close the pairs beyond them."""
    field = track.field
    used = np.flatnonzero((track.right - track.left > room.least + 1e-6).any(axis=0))
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, field.pairs)
    limit = machine.jaw_limit_mm / field.width_mm
    low = max(float(track.left[:, first:last].min()), -limit)
    high = min(float(track.right[:, first:last].max()), limit)
    left, right = track.left.copy(), track.right.copy()
    for beyond in (slice(0, first), slice(last, None)):
        left[:, beyond] = right[:, beyond] = 0.5 * (low + high)
    return replace(track, left=left, right=right, jaws=(low, high, first, last))


def _told(delivery: ArcDelivery, influence: Influence, machine: Machine, limits: Motion) -> ArcDelivery:
    """Add beams and reports."""
    beams = tuple(
        _beam(arc, track, delivery.solution.weights_mu[s:e], influence, machine)
        for arc, track, (s, e) in zip(delivery.arcs, delivery.tracks, _ranges(delivery.tracks), strict=True)
    )
    return replace(delivery, beams=beams, reports=tuple(arc_report(beam, machine, limits) for beam in beams))


def arc_report(beam: Beam, machine: Machine, limits: Motion) -> ArcReport:
    """Time and complexity of an arc, from its control points alone.

    Raises
    ------
    InputError
        When the beam has no leaves, or its gantry does not turn evenly.
    """
    points = beam.control_points
    ends = [point.leaves_mm for point in points if point.leaves_mm is not None]
    turns = np.array([(b.gantry_deg - a.gantry_deg + 180.0) % 360.0 - 180.0 for a, b in pairwise(points)])
    if len(ends) != len(points) or np.ptp(turns) > ANGLE_TOLERANCE_DEG:
        raise InputError(f"beam '{beam.name}' is no arc with leaves whose control points are equally far apart")
    leaves = np.array(ends)
    edges = np.asarray(beam.leaf_boundaries_mm)
    low, high = np.array([point.jaws_y_mm for point in points]).T
    shown = (edges[1:] > low.min()) & (edges[:-1] < high.max())
    mu = np.diff([point.mu for point in points])
    return ArcReport(
        interval_seconds(float(turns[0]), mu, leaves[:, 0], leaves[:, 1], limits, machine),
        modulation_complexity(mu, leaves[:, 0, shown], leaves[:, 1, shown]),
    )


def _beam(arc: Arc, track: ArcTrack, mu: Float, influence: Influence, machine: Machine) -> Beam:
    """Control points of one arc; pairs that no sector sees stay closed behind the Y jaws."""
    field = track.field
    setup = influence.beamlets.setups[field.fields[0].beam]
    edges = np.asarray(machine.leaf_boundaries_mm)
    low, high, first, last = track.jaws
    jaws_x = (low * field.width_mm, high * field.width_mm)
    jaws_y = (float(edges[field.first_pair + first]), float(edges[field.first_pair + last]))
    # Round ends open a pair by more than it is set.
    round_end = 0.5 * machine.head.leaf_end_gap_mm
    own = slice(field.first_pair, field.first_pair + field.pairs)
    reached = np.concatenate([[0.0], np.cumsum(mu)])
    points = []
    for n, (left, right) in enumerate(zip(track.left, track.right, strict=True)):
        leaves = np.full((2, len(edges) - 1), 0.5 * (jaws_x[0] + jaws_x[1]))
        inset = np.where(right > left, round_end, 0.0)
        leaves[:, own] = left * field.width_mm + inset, right * field.width_mm - inset
        gantry = (arc.start_deg + n * arc.sector_deg / field.intervals) % 360.0
        points.append(
            ControlPoint(float(reached[n]), gantry, setup.collimator_deg, setup.couch_deg, jaws_x, jaws_y, leaves)
        )
    return Beam(
        arc.name,
        arc.number,
        machine.id,
        machine.energy_mv,
        machine.flattened,
        setup.isocentre_mm,
        machine.leaf_boundaries_mm,
        tuple(points),
        dynamic=True,
        source_axis_distance_mm=machine.source_axis_distance_mm,
    )
