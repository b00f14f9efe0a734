"""From the ideal fluence of many angles to arcs that a linac can deliver (VMAT).

Three steps: the fluences of neighbouring angles are merged and swept by a sliding window, to and fro; leaf ends of all
control points and MU of all intervals are then moved together down the gradient of the same wishes, with the speed of
the leaves kept; at last the MU alone are optimised, with the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.aperture import leaf_fields
from tailort.optimisation.arc_motion import ArcDose, ArcField, ArcTrack, by_ends
from tailort.optimisation.arc_start import sweeps
from tailort.optimisation.leaf_descent import FIRST_WEIGHTS
from tailort.optimisation.leaf_room import ArcRoom
from tailort.optimisation.moving_leaves import MovingPlan, moving_beam, planned, weighted
from tailort.optimisation.problem import Problem
from tailort.optimisation.solve import Effort, Progress, Solution, never
from tailort.patient import Beam, Influence
from tailort.physics.machine import Machine, Motion

Float = NDArray[np.float64]
ANGLE_TOLERANCE_DEG = 1e-3
# While leaves move, rows that are farther than this share from their level are left out. Each round chooses them anew,
# and the plan that is kept is the best by all rows.
REACH = 0.25


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
    rooms : tuple of ArcRoom
        Where they may be.
    solution : Solution
        Of the MU of all intervals, arc after arc; its dose is the sum of the beamlets, transmission included.
    fluence_value, start_value : float
        Value of the wishes (without smoothness) for the ideal fluence, and for the first leaf tracks; to compare with
        `solution.value`, Gy2.
    """

    beams: tuple[Beam, ...]
    arcs: tuple[Arc, ...]
    tracks: tuple[ArcTrack, ...]
    rooms: tuple[ArcRoom, ...]
    solution: Solution
    fluence_value: float
    start_value: float

    @property
    def mu(self) -> float:
        """Monitor units of one fraction over all beams."""
        return sum(beam.mu for beam in self.beams)


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
    rooms: list[ArcRoom] = []
    tracks: list[ArcTrack] = []
    first_mu: list[Float] = []
    for n, (arc, field) in enumerate(zip(arcs, fields, strict=True)):
        window = _window(field, n, len(arcs), machine)
        seconds = abs(arc.sector_deg) / intervals_per_sector / pace
        room = ArcRoom.of(field, machine, limits.leaf_mm_per_s * seconds, window)
        crossings = float(room.travel.sum()) / (window[1] - window[0])
        left, right, mu = sweeps(field, fluence_mu, max(1, round(crossings)), window, n / len(arcs))
        tracks.append(_with_jaws(ArcTrack.wide(field, *room.kept(left, right)), room, machine))
        rooms.append(room)
        first_mu.append(mu)
    even = np.concatenate(first_mu)
    technique = _Arcs(influence, machine, limits.leaf_mm_per_s)
    start = MovingPlan(tuple(tracks), tuple(rooms), even)
    first = weighted(technique, bare.with_penalties(), start, FIRST_WEIGHTS)
    fluence_value, start_value = bare.value(fluence_mu), bare.value_of_dose(first.dose_gy)
    price = thrift * fluence_value / float(first.weights_mu.sum())
    mu = first.weights_mu
    if leaf_steps > 0 and not stop():
        # Even MU leave every control point something to do while the leaves move.
        mu = np.clip(even * (mu.sum() / even.sum()), bare.lower_mu, bare.upper_mu)
    start = replace(start, mu=mu)
    plan, solution = planned(technique, bare, start, leaf_steps, price, effort, stop, progress)
    beams = _beams(arcs, plan, influence, machine)
    return ArcDelivery(beams, tuple(arcs), plan.tracks, plan.rooms, solution, fluence_value, start_value)


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
    technique = _Arcs(influence, machine, limits.leaf_mm_per_s)
    start = MovingPlan(delivery.tracks, delivery.rooms, mu)
    price = thrift * delivery.fluence_value / delivery.mu
    plan, solution = planned(technique, bare, start, leaf_steps, price, effort, stop, progress)
    beams = _beams(delivery.arcs, plan, influence, machine)
    return replace(delivery, beams=beams, tracks=plan.tracks, solution=solution)


@dataclass(frozen=True, eq=False)
class _Arcs:
    """How the leaves of arcs move."""

    influence: Influence
    machine: Machine
    leaf_mm_per_s: float
    reach: float | None = REACH
    ends_pass: bool = True
    stiff_by_merit: bool = False

    def dose_of(self, tracks: Sequence[ArcTrack]) -> ArcDose:
        return ArcDose.of(self.influence, tracks, self.machine)

    def begun(self, problem: Problem, plan: MovingPlan[ArcTrack, ArcRoom]) -> Self:
        return self

    def opened(self, track: ArcTrack, room: ArcRoom) -> ArcTrack:
        """The jaws show the whole field again: one that followed a leaf would make the value jump."""
        return ArcTrack.wide(track.field, *room.kept(track.left, track.right))

    def drawn(self, track: ArcTrack, room: ArcRoom) -> ArcTrack:
        return _with_jaws(track, room, self.machine)

    def cost(self, dose: ArcDose, mu: Float) -> float:
        """Nothing: the sectors' beamlets are all that is seen."""
        return 0.0

    def by_mu(self, dose: ArcDose, price: Float) -> Float:
        return dose.by_price(price)

    def by_ends(self, track: ArcTrack, mu: Float, price: Float) -> tuple[Float, Float]:
        return by_ends(track, mu, price, self.machine)


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


def _with_jaws(track: ArcTrack, room: ArcRoom, machine: Machine) -> ArcTrack:
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


def _beams(
    arcs: Sequence[Arc], plan: MovingPlan[ArcTrack, ArcRoom], influence: Influence, machine: Machine
) -> tuple[Beam, ...]:
    """One dynamic beam an arc; pairs that no sector sees stay closed behind the Y jaws."""
    beams = []
    for arc, track, (s, e) in zip(arcs, plan.tracks, plan.ranges, strict=True):
        field, ends = track.field, (track.left, track.right)
        setup = replace(influence.beamlets.setups[field.fields[0].beam], name=arc.name, number=arc.number)
        gantry = [(arc.start_deg + n * arc.sector_deg / field.intervals) % 360.0 for n in range(field.points)]
        beams.append(moving_beam(setup, machine, field, track.jaws, 0, ends, gantry, plan.mu[s:e]))
    return tuple(beams)
