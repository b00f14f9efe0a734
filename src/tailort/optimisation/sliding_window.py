"""From an ideal fluence to beams whose leaves slide over the field while the gantry stands (sliding window).

Three steps: each beam's fluence becomes one sweep of the leaves in the fewest monitor units; leaf ends of all control
points and MU of all intervals are then moved together down the gradient of the same wishes, with the speed of the
leaves kept; at last the MU alone are optimised, with the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.aperture import leaf_fields, least_opening_mm
from tailort.optimisation.leaf_room import SlideRoom
from tailort.optimisation.moving_leaves import MovingPlan, moving_beam, planned
from tailort.optimisation.problem import Problem
from tailort.optimisation.sliding_start import Sweeping, first_sweeps
from tailort.optimisation.sliding_track import SlideDose, SlideTrack
from tailort.optimisation.solve import Effort, Progress, Solution, never
from tailort.patient import Beam, Influence
from tailort.physics.machine import Machine, Motion

Float = NDArray[np.float64]

# Fewest MU of an interval, as a share of the mean interval of the beam that needs the fewest: the beam stays on.
LEAST_SHARE = 0.1


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
    """

    beams: tuple[Beam, ...]
    tracks: tuple[SlideTrack, ...]
    rooms: tuple[SlideRoom, ...]
    solution: Solution
    fluence_value: float
    start_value: float
    beside_share: float

    @property
    def mu(self) -> float:
        """Monitor units of one fraction over all beams."""
        return sum(beam.mu for beam in self.beams)


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
    technique = _Slides(influence, machine, limits.leaf_mm_per_s)
    tracks: list[SlideTrack] = []
    rooms: list[SlideRoom] = []
    units: list[float] = []
    for field in leaf_fields(influence.beamlets, machine):
        for first in first_sweeps(field, fluence_mu, how):
            seen = first.track.field
            least = least_opening_mm(machine) / field.width_mm
            travel = np.full(intervals, limits.leaf_mm_per_s * first.seconds / intervals / field.width_mm)
            room = SlideRoom(*seen.reach, least, travel, not interdigitation)
            tracks.append(SlideTrack(seen, *room.kept(first.track.left, first.track.right)))
            rooms.append(room)
            units.append(first.units)
    if not tracks:
        raise InputError(
            f"no sweep of the plan reaches {machine.min_segment_mu:g} MU: the prescribed dose is too low to deliver"
        )
    mu = np.repeat(np.array(units) / intervals, intervals)
    bare = replace(problem, smoothness=None, lower_mu=_least_mu(mu, intervals, machine))
    start = MovingPlan(tuple(tracks), tuple(rooms), mu)
    fluence_value, start_value = bare.value(fluence_mu), bare.value_of_dose(_dose_gy(bare, technique, start))
    price = thrift * fluence_value / float(mu.sum())
    plan, solution = planned(technique, bare, start, leaf_steps, price, effort, stop, progress)
    return _delivered(plan, solution, technique, fluence_value, start_value)


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
    start = MovingPlan(delivery.tracks, delivery.rooms, mu)
    technique = _Slides(influence, machine, limits.leaf_mm_per_s)
    even = np.array([beam.mu / len(track) for beam, track in zip(delivery.beams, start.tracks, strict=True)])
    least = min(_least_mu(even, len(start.tracks[0]), machine), float(mu.min()))
    bare = replace(problem, smoothness=None, offset_gy=None, lower_mu=least)
    bare = replace(bare, offset_gy=rows_gy - _dose_gy(bare, technique, start))
    price = thrift * delivery.fluence_value / delivery.mu
    plan, solution = planned(technique, bare, start, leaf_steps, price, effort, stop, progress)
    return _delivered(plan, solution, technique, delivery.fluence_value, delivery.start_value)


@dataclass(frozen=True, eq=False)
class _Slides:
    """How sliding leaves move: fluence beside the beamlets costs something, so that it does not grow unseen."""

    influence: Influence
    machine: Machine
    leaf_mm_per_s: float
    price_of_place: float = 0.0
    reach: float | None = None
    ends_pass: bool = False
    stiff_by_merit: bool = True

    def dose_of(self, tracks: Sequence[SlideTrack]) -> SlideDose:
        return SlideDose.of(self.influence, tracks, self.machine)

    def begun(self, problem: Problem, plan: MovingPlan[SlideTrack, SlideRoom]) -> Self:
        return replace(self, price_of_place=_price_of_place(problem, self, plan))

    def opened(self, track: SlideTrack, room: SlideRoom) -> SlideTrack:
        return track

    def drawn(self, track: SlideTrack, room: SlideRoom) -> SlideTrack:
        return track

    def cost(self, dose: SlideDose, mu: Float) -> float:
        return self.price_of_place * dose.beside(mu)

    def by_mu(self, dose: SlideDose, price: Float) -> Float:
        return dose.by_price(price, self.price_of_place)

    def by_ends(self, track: SlideTrack, mu: Float, price: Float) -> tuple[Float, Float]:
        return track.by_ends(mu, track.field.prices(price, self.price_of_place), self.machine)


def _dose_gy(problem: Problem, technique: _Slides, plan: MovingPlan[SlideTrack, SlideRoom]) -> Float:
    """Dose of a plan in the rows, Gy per course."""
    return problem.dose_gy(technique.dose_of(plan.tracks).fluence(plan.mu))


def _price_of_place(problem: Problem, technique: _Slides, plan: MovingPlan[SlideTrack, SlideRoom]) -> float:
    """What a MU at a place without beamlets is taken to cost: as much as at the beamlets where less is wanted."""
    slope = problem.derivative_of_dose(_dose_gy(problem, technique, plan))
    price = problem.fractions * technique.influence.gradient(slope)
    dear = price[price > 0]
    return float(dear.mean()) if len(dear) else 0.0


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


def _delivered(
    plan: MovingPlan[SlideTrack, SlideRoom],
    solution: Solution,
    technique: _Slides,
    fluence_value: float,
    start_value: float,
) -> SlideDelivery:
    """Add the beams, and what they let through beside the beamlets."""
    setups, machine = technique.influence.beamlets.setups, technique.machine
    spare = max(setup.number for setup in setups)
    beams: list[Beam] = []
    for track, (s, e) in zip(plan.tracks, plan.ranges, strict=True):
        field = track.field
        setup = setups[field.beam]
        if field.parts > 1:
            number = setup.number
            if field.part > 0:
                spare += 1
                number = spare
            setup = replace(setup, name=f"{setup.name}.{field.part + 1}", number=number)
        ends, gantry = (track.left, track.right), [setup.gantry_deg] * len(track.left)
        beams.append(moving_beam(setup, machine, field.field, field.jaws, field.jaws[2], ends, gantry, plan.mu[s:e]))
    dose = technique.dose_of(plan.tracks)
    beside = dose.beside(plan.mu)
    share = beside / (beside + float(dose.fluence(plan.mu).sum()))
    return SlideDelivery(tuple(beams), plan.tracks, plan.rooms, solution, fluence_value, start_value, share)
