"""Arcs: the machine's limits hold in every interval, the dose is that of the moving leaves, plans are nearly ideal."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_patient import toy
from toy_plan import GENERIC, TIGHT, TINY, asked, beam_on_s, delivered, require_moving_beam

from tailort.dose.fluence import exposures, fluence
from tailort.errors import InputError
from tailort.optimisation import Effort, Limit, Problem, Wish, leaf_fields, solve
from tailort.optimisation.aperture import SegmentDose, worth_summing
from tailort.optimisation.arc import REACH, Arc, ArcDelivery, arc_fields, reweighed_arcs, sequence_arcs
from tailort.optimisation.arc_complexity import modulation_complexity
from tailort.optimisation.arc_motion import ArcDose, ArcField, ArcTrack, by_ends
from tailort.optimisation.arc_start import sweeps
from tailort.optimisation.delivery_time import interval_seconds
from tailort.optimisation.leaf_room import ArcRoom
from tailort.optimisation.moving_leaves import value_and_price
from tailort.optimisation.objectives import MeanDose, SquaredOverdose, SquaredUnderdose
from tailort.optimisation.screening import screened
from tailort.physics.machine import Machine, Motion

LIMITS = GENERIC.motion
INTERVALS = 3
seeds = st.integers(0, 2**32 - 1)


def ring(sectors: int) -> tuple[Arc, Arc]:
    """One arc to and one fro about a toy of `sectors` + 1 beams at equal angles; the one at 180 degrees is left out."""
    step = 360.0 / (sectors + 1)
    first = Arc("to", 1, 180.0 + step / 2, step, sectors)
    return first, Arc("fro", 2, 180.0 - step / 2, -step, sectors)


TO, FRO = ring(39)
SMALL, _ = ring(23)


@pytest.fixture(scope="module")
def patient():
    return toy(n_beams=40, spacing_mm=5.0, slices=6)


@pytest.fixture(scope="module")
def planned(patient):
    return asked(*patient)


@pytest.fixture(scope="module")
def delivery(patient, planned):
    problem, ideal = planned
    return sequence_arcs(problem, patient[0], ideal.weights_mu, GENERIC, (TO,), LIMITS, INTERVALS)


@pytest.fixture(scope="module")
def small():
    """A small ring, for what is repeated."""
    return toy(n_beams=24, spacing_mm=8.0, slices=4)


@pytest.fixture(scope="module")
def field(small) -> ArcField:
    return arc_fields(small[0], (SMALL,), GENERIC, 2)[0]


def random_track(field: ArcField, seed: int, step: float = 2.0) -> ArcTrack:
    """Ends that wander, sometimes stand still, sometimes exactly on the edges of columns."""
    rng = np.random.default_rng(seed)
    shape = (field.points, field.pairs)
    middle = np.cumsum(rng.uniform(-step, step, shape), axis=0) % 14 - 7
    half = rng.uniform(0.2, 3.0, shape)
    left, right = middle - half, middle + half
    if seed % 3 == 0:
        left, right = np.round(left), np.round(right) + 1
    left[::4], right[1::4] = left[1::4][: len(left[::4])], right[1::4]
    low, high = field.lowest.max(), field.highest.min()
    left, right = np.clip(left, low, high), np.clip(right, low, high)
    return ArcTrack.wide(field, np.minimum(left, right), np.maximum(left, right))


# ------------------------------------------------------------------------------------------------ moving leaves


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_moving_opening_is_the_mean_of_many_still_ones(small, field, seed) -> None:
    track = random_track(field, seed)
    pieces = 200
    for sector in (0, 7, 22):
        opening = track.openings(sector, pieces)
        own = opening.field
        count = len(opening)
        jaws = (
            np.full(count, float(field.lowest.min() - own.first_column)),
            np.full(count, float(field.highest.max() - own.first_column)),
            np.zeros(count, dtype=np.int64),
            np.full(count, own.pairs),
        )
        still = opening.exposure(GENERIC, jaws).reshape(field.intervals, pieces, -1).mean(axis=1)
        # The middle rule is off by less than a piece of the longest way where an end passes an edge.
        np.testing.assert_allclose(track.exposures(GENERIC)[sector], still, atol=2.0 * 7 / pieces**2 + 1e-4)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_derivative_by_leaf_ends_is_that_of_differences(small, field, seed) -> None:
    track = random_track(field, seed)
    rng = np.random.default_rng(seed)
    mu = rng.uniform(1, 5, len(track))
    price = rng.normal(size=small[0].shape[1])
    left, right = by_ends(track, mu, price, GENERIC)

    def value(track: ArcTrack) -> float:
        return float(ArcDose.of(small[0], (track,), GENERIC).fluence(mu) @ price)

    for gradient, bank in ((left, "left"), (right, "right")):
        way = rng.normal(size=gradient.shape)
        ends = getattr(track, bank)
        # Ends that stand on an edge have two slopes, of which the derivative is the mean, as is the difference.
        difference = value(replace(track, **{bank: ends + 1e-5 * way})) - value(
            replace(track, **{bank: ends - 1e-5 * way})
        )
        assert difference / 2e-5 == pytest.approx(float((gradient * way).sum()), rel=1e-3, abs=1e-2)


def test_gradient_and_dose_of_an_arc_are_transposed(small, field) -> None:
    influence = small[0]
    arcs = ArcDose.of(influence, (random_track(field, 1), random_track(field, 2)), GENERIC)
    rng = np.random.default_rng(0)
    mu, rows = rng.uniform(size=arcs.shape[1]), rng.normal(size=arcs.shape[0])
    assert arcs.dose(mu) @ rows == pytest.approx(mu @ arcs.gradient(rows), rel=1e-6)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_a_column_for_each_interval_gives_the_dose_of_its_beamlets(small, field, seed) -> None:
    """Two arcs over the same beamlets; summed where it is the smaller matrix, whatever the order of the arcs."""
    influence = small[0]
    arcs = ArcDose.of(influence, (random_track(field, seed), random_track(field, seed + 1)), GENERIC)
    mu = np.random.default_rng(seed).uniform(size=arcs.shape[1])
    summed = arcs.summed()
    assert isinstance(summed, SegmentDose)
    assert summed.shape == arcs.shape
    np.testing.assert_allclose(summed.dose(mu), arcs.dose(mu), rtol=1e-6)
    by_dose = np.random.default_rng(seed + 1).normal(size=arcs.shape[0])
    np.testing.assert_allclose(summed.gradient(by_dose), arcs.gradient(by_dose), rtol=1e-5, atol=1e-6)


def test_intervals_keep_to_their_beamlets_where_columns_for_them_would_be_larger(small) -> None:
    influence = small[0]
    as_many = (influence.values.nbytes + influence.columns.nbytes) // (8 * influence.shape[0])
    assert worth_summing(influence, as_many)
    assert not worth_summing(influence, as_many + 1)
    (many,) = arc_fields(influence, (SMALL,), GENERIC, 41)
    arc = ArcDose.of(influence, (random_track(many, 5, 0.1),), GENERIC)
    assert arc.summed() is arc


def test_the_control_points_expose_the_beamlets_as_optimised(patient, delivery) -> None:
    """The dose engines' way from control points to fluence, by another code, gives the optimised fluence."""
    beamlets = patient[0].beamlets
    expected = ArcDose.of(patient[0], delivery.tracks, GENERIC).fluence(delivery.solution.weights_mu)
    beam = delivery.beams[0]
    step = TO.sector_deg
    found = np.zeros(len(beamlets))
    x_edges, y_edges = np.arange(-50.0, 51.0, 5.0), np.arange(-50.0, 51.0, 5.0)
    for exposure in exposures(beam):
        sector = int((exposure.setup.gantry_deg - TO.start_deg) % 360.0 // step)
        own = delivery.tracks[0].field.fields[sector].beamlets
        mu = fluence(exposure, beam, GENERIC, x_edges, y_edges)
        column = np.searchsorted(x_edges, beamlets.x_mm[own]) - 1
        row = np.searchsorted(y_edges, beamlets.y_mm[own]) - 1
        found[own] += mu[row, column]
    # Engines cut the motion into steps of 2 mm, four tenths of a beamlet.
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max())
    assert found.sum() == pytest.approx(expected.sum(), rel=1e-6)


# ------------------------------------------------------------------------------------------------ what a machine can do


def require_deliverable(found: ArcDelivery, m: Machine, limits: Motion = LIMITS) -> None:
    m = replace(m, motion=limits)
    for arc, beam in zip(found.arcs, found.beams, strict=True):
        shown = require_moving_beam(beam, m)
        points = beam.control_points
        assert len(points) == arc.sectors * found.tracks[0].field.intervals + 1
        step = abs(arc.sector_deg) / found.tracks[0].field.intervals
        for n, ((a, b), seconds) in enumerate(zip(pairwise(points), interval_seconds(beam, m), strict=True)):
            turn = (b.gantry_deg - a.gantry_deg + 180.0) % 360.0 - 180.0
            assert turn * np.sign(arc.sector_deg) == pytest.approx(step)
            assert a.gantry_deg == pytest.approx((arc.start_deg + np.sign(arc.sector_deg) * step * n) % 360.0)
            assert abs(turn) / seconds <= limits.gantry_deg_per_s + TINY
            assert abs(turn) / seconds >= limits.slowest_gantry_deg_per_s - TINY
            assert (b.mu - a.mu) / step >= limits.least_mu_per_deg - TINY
        # The jaws are where the beam ends between round leaf ends.
        leaves = np.array([point.leaves_mm for point in points])
        x1, x2 = points[0].jaws_x_mm
        round_end = 0.5 * m.head.leaf_end_gap_mm
        assert leaves[:, 0, shown].min() - round_end == pytest.approx(x1)
        assert leaves[:, 1, shown].max() + round_end == pytest.approx(x2)


def test_the_plan_can_be_delivered(delivery) -> None:
    require_deliverable(delivery, GENERIC)


@given(seeds)
@settings(max_examples=8, deadline=None)
def test_machine_limits_hold_in_every_interval_whatever_the_fluence_and_the_machine(small, seed) -> None:
    influence, sets = small
    rng = np.random.default_rng(seed)
    limits = Motion(rng.uniform(1, 8), 0.4, rng.uniform(5, 60), rng.uniform(0, 0.3))
    gap = float(rng.choice([0.0, 0.5, 5.0]))
    linac = replace(GENERIC, leaf_gap_mm=gap, max_mu_per_minute=float(rng.uniform(200, 2400)))
    wishes = (Wish("PTV", SquaredUnderdose(60.0), 10.0), Wish("Body", SquaredOverdose(20.0), 5.0))
    problem = Problem(influence, 30, sets, wishes)
    weights = rng.uniform(0, 5, influence.shape[1]) * (rng.uniform(size=influence.shape[1]) < 0.5)
    arcs = ring(23)[: 1 + seed % 2]
    found = sequence_arcs(problem, influence, weights, linac, arcs, limits, 1 + seed % 4, leaf_steps=8)
    require_deliverable(found, linac, limits)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_tracks_are_put_within_speed_gap_and_bounds(field, seed) -> None:
    rng = np.random.default_rng(seed)
    window = (-9.0, 9.0) if seed % 2 else (-6.5, 4.0)
    room = ArcRoom.of(field, GENERIC, 1.0, window)
    room = replace(room, travel=rng.uniform(0.1, 3.0, field.points - 1))
    shape = (field.points, field.pairs)
    left, right = room.kept(rng.uniform(-15, 15, shape), rng.uniform(-15, 15, shape))
    for ends in (left, right):
        assert (np.abs(np.diff(ends, axis=0)) <= room.travel[:, None] + 1e-9).all()
        assert (ends >= room.low - 1e-9).all()
        assert (ends <= room.high + 1e-9).all()
    assert (right - left).min() >= room.least - 1e-9
    # What keeps to everything is left alone.
    again = room.kept(left, right)
    np.testing.assert_allclose(again, (left, right), atol=1e-9)


def test_pairs_without_beamlets_open_no_more_than_they_must(field) -> None:
    gone = replace(field, lowest=field.lowest.copy(), highest=field.highest.copy())
    gone.lowest[10, 1], gone.highest[10, 1] = np.inf, -np.inf
    room = ArcRoom.of(gone, GENERIC, 5.0, (-9.0, 9.0))
    rng = np.random.default_rng(0)
    left, right = room.kept(rng.uniform(-9, 0, room.low.shape), rng.uniform(0, 9, room.low.shape))
    unseen = slice(10 * field.intervals, 11 * field.intervals + 1)
    np.testing.assert_allclose((right - left)[unseen, 1], room.least)
    assert (right - left)[unseen, 0].max() > 2 * room.least


def test_leaves_that_cannot_follow_the_target_are_reported(field) -> None:
    far = replace(field, lowest=field.lowest.copy(), highest=field.highest.copy())
    far.highest[3] = -6.0
    far.lowest[5] = 6.0
    with pytest.raises(InputError, match="cannot follow"):
        ArcRoom.of(far, GENERIC, 10.0, (-9.0, 9.0)).kept(*np.zeros((2, field.points, field.pairs)))


def test_a_field_wider_than_the_leaf_span_is_shared_by_the_arcs(patient, planned) -> None:
    problem, ideal = planned
    short = replace(GENERIC, leaf_span_mm=60.0)
    found = sequence_arcs(problem, patient[0], ideal.weights_mu, short, (TO, FRO), LIMITS, INTERVALS, leaf_steps=20)
    require_deliverable(found, short)
    one, other = (beam.control_points[0].jaws_x_mm for beam in found.beams)
    assert one[0] < other[0]
    assert one[1] < other[1]
    assert other[1] - one[0] > 60.0


# ------------------------------------------------------------------------------------------------ time and complexity


def test_time_of_a_simple_arc_is_that_of_a_hand_calculation(small) -> None:
    """Without any wish for dose every interval gets the fewest MU, and the gantry turns at its highest speed."""
    influence, sets = small
    problem = Problem(influence, 30, sets, (Wish("Body", MeanDose(), 1.0),))
    found = sequence_arcs(problem, influence, np.ones(influence.shape[1]), GENERIC, (SMALL,), LIMITS, 5, leaf_steps=0)
    # 23 sectors of 15 degrees at 6 degrees/s; 0.1 MU a degree.
    assert beam_on_s(found.beams) == pytest.approx(345.0 / 6.0)
    assert found.mu == pytest.approx(34.5)


def test_leaves_keep_up_with_the_pace(patient, planned, delivery) -> None:
    problem, ideal = planned
    step = TO.sector_deg / INTERVALS
    for pace in (6.0, 3.0):
        still = sequence_arcs(
            problem, patient[0], ideal.weights_mu, GENERIC, (TO,), LIMITS, INTERVALS, pace_deg_per_s=pace, leaf_steps=0
        )
        leaves = np.array([point.leaves_mm for point in still.beams[0].control_points])
        assert np.abs(np.diff(leaves, axis=0)).max() <= 25.0 * step / pace + 1e-6
    # Leaves that moved with the MU take hardly any time beyond that of the gantry and that of the MU.
    assert beam_on_s(delivery.beams) <= 39 * TO.sector_deg / 6.0 + delivery.mu / 10.0


def test_more_monitor_units_take_longer(delivery) -> None:
    beam = delivery.beams[0]
    double = replace(beam, control_points=tuple(replace(p, mu=2 * p.mu) for p in beam.control_points))
    assert (interval_seconds(double, GENERIC) >= interval_seconds(beam, GENERIC) - 1e-9).all()
    (one,), (other,) = (delivered((turned,)).beams for turned in (beam, double))
    assert other.seconds > 1.2 * one.seconds
    assert other.complexity == pytest.approx(one.complexity)


def test_thrift_saves_monitor_units_and_widens_openings(patient, planned, delivery) -> None:
    problem, ideal = planned
    found = sequence_arcs(problem, patient[0], ideal.weights_mu, GENERIC, (TO,), LIMITS, INTERVALS, thrift=6.0)
    assert found.mu < 0.85 * delivery.mu
    assert delivered(found.beams).beams[0].complexity > delivered(delivery.beams).beams[0].complexity
    assert found.solution.value > delivery.solution.value


def test_a_rectangle_all_the_way_has_complexity_one() -> None:
    left = np.full((6, 4), -30.0)
    assert modulation_complexity(np.arange(1.0, 6.0), left, left + 50.0) == pytest.approx(1.0)


def test_complexity_of_a_small_arc_is_that_of_a_hand_calculation() -> None:
    # Three pairs, two control points. First: left level, right 10, 20, 30: neighbours differ by 10 of a range of 20,
    # variability 1 * (1 - 0.5); area 60. Second: level, 30 wide: variability 1, area 90. All together 90.
    left = np.zeros((2, 3))
    right = np.array([[10.0, 20.0, 30.0], [30.0, 30.0, 30.0]])
    expected = 0.5 * (0.5 + 1.0) * 0.5 * (60 / 90 + 1.0)
    assert modulation_complexity(np.array([7.0]), left, right) == pytest.approx(expected)


def test_complexity_is_weighted_by_monitor_units() -> None:
    left = np.zeros((3, 2))
    right = np.array([[10.0, 10.0], [10.0, 10.0], [20.0, 20.0]])
    light, heavy = (modulation_complexity(np.array([1.0, mu]), left, right) for mu in (0.0, 1.0))
    assert light == pytest.approx(0.5)
    assert heavy == pytest.approx(0.5 * (0.5 + 0.75))


# ------------------------------------------------------------------------------------------------ plans


def test_a_slow_sweep_delivers_the_sum_of_its_fluences(small) -> None:
    influence = small[0]
    fine = arc_fields(influence, (SMALL,), TIGHT, 60)[0]
    rng = np.random.default_rng(3)
    weights = rng.uniform(1, 5, influence.shape[1])
    for number, parts in ((1, [(0, 23)]), (2, [(0, 12), (12, 23)])):
        left, right, mu = sweeps(fine, weights, number, (-9.0, 9.0))
        track = ArcTrack.wide(fine, left, right)
        given = ArcDose.of(influence, (track,), TIGHT).fluence(mu)
        for a, b in parts:
            wanted, found = (
                sum(w[fine.fields[s].beamlets].reshape(fine.pairs, -1) for s in range(a, b)) for w in (weights, given)
            )
            # Ends go evenly from middle to middle: a column gets six eighths of its own and one of each neighbour.
            padded = np.pad(wanted, ((0, 0), (1, 1)), mode="edge")
            smeared = (padded[:, :-2] + 6 * wanted + padded[:, 2:]) / 8
            np.testing.assert_allclose(found, smeared, atol=0.03 * wanted.max())


def test_sweeps_that_come_early_cross_where_the_others_turn(small, field) -> None:
    """Of two lobes a sweep keeps to one about its turning points and changes to the other in its middle."""
    weights = (np.abs(small[0].beamlets.x_mm) > 25.0).astype(float)
    one, other = (sweeps(field, weights, 4, (-9.0, 9.0), early) for early in (0.0, 0.5))
    sides = [np.sign((left + right).sum(axis=1)) for left, right, _ in (one, other)]
    turns = np.round(np.arange(1, 4) * 23 / 4).astype(int) * field.intervals
    assert (sides[0][turns - 3] == sides[0][turns + 3]).all()
    assert (sides[1][turns - 3] == -sides[1][turns + 3]).all()


def test_the_limit_holds_in_the_deliverable_plan(planned, delivery) -> None:
    problem, _ = planned
    assert delivery.solution.feasible
    assert delivery.solution.dose_gy[problem.sets["Core"].rows].max() <= 30.0


def test_a_limit_that_is_hard_to_keep_holds_too(patient, planned) -> None:
    problem, ideal = planned
    strict = replace(problem, limits=(Limit("Core", SquaredOverdose(20.0), 0.5, label="Max"),))
    fluence = solve(strict, ideal.weights_mu)
    found = sequence_arcs(strict, patient[0], fluence.weights_mu, GENERIC, (TO,), LIMITS, INTERVALS)
    assert found.solution.feasible
    assert found.solution.dose_gy[problem.sets["Core"].rows].max() <= 20.0


def test_the_dose_of_the_plan_is_that_of_its_intervals(patient, planned, delivery) -> None:
    dose = 30 * ArcDose.of(patient[0], delivery.tracks, GENERIC).dose(delivery.solution.weights_mu)
    np.testing.assert_allclose(delivery.solution.dose_gy, dose, rtol=1e-6, atol=1e-9)
    steps = np.diff([point.mu for point in delivery.beams[0].control_points])
    np.testing.assert_allclose(steps, delivery.solution.weights_mu, rtol=1e-9)


def test_the_plan_is_within_three_and_a_half_times_the_ideal_value(delivery) -> None:
    assert delivery.fluence_value < delivery.solution.value < 3.5 * delivery.fluence_value


def test_moving_the_leaves_halves_the_value_of_the_first_tracks(delivery) -> None:
    assert delivery.solution.value < 0.5 * delivery.start_value


def test_rows_left_out_while_leaves_move_change_neither_value_nor_price(planned) -> None:
    problem, ideal = planned
    whole = replace(problem, smoothness=None).with_penalties()
    part = screened(whole, whole.dose_gy(ideal.weights_mu), REACH)
    assert part is not None
    assert len(part.rows) < 0.9 * problem.dose_map.shape[0]
    weights = ideal.weights_mu * np.random.default_rng(1).uniform(0.9, 1.1, problem.size)
    value, price = value_and_price(part.problem, weights)
    assert value == pytest.approx(whole.value(weights), rel=1e-9)
    np.testing.assert_allclose(price, whole.derivative(weights), rtol=1e-7, atol=1e-9 * np.abs(price).max())


def test_the_plan_is_far_better_than_a_conformal_arc(patient, planned, delivery) -> None:
    """Leaves about the target in every beam's eye view, MU optimised without the limit, which they could not keep."""
    problem, _ = planned
    found = arc_fields(patient[0], (TO,), GENERIC, INTERVALS)[0]
    # The target is a ring of 36 mm about the axis; slices of 5 mm, the outer two on each side without target.
    edge = 40.0 / 5.0
    left = np.full((found.points, found.pairs), -edge)
    track = ArcTrack.wide(found, left, -left)
    left[:, [0, -1]] = 0.0
    track = replace(track, left=left, right=-left)
    free = replace(problem, smoothness=None, limits=(), dose_map=ArcDose.of(patient[0], (track,), GENERIC))
    conformal = solve(free, np.full(free.size, 3.0))
    assert conformal.converged
    assert conformal.dose_gy[problem.sets["Core"].rows].max() > 50.0
    assert delivery.solution.value < 0.2 * conformal.value


def test_two_arcs_serve_the_wishes_better_than_one(patient, planned, delivery) -> None:
    problem, ideal = planned
    found = sequence_arcs(problem, patient[0], ideal.weights_mu, GENERIC, (TO, FRO), LIMITS, INTERVALS)
    require_deliverable(found, GENERIC)
    assert found.solution.feasible
    assert found.solution.value < delivery.solution.value


def test_what_a_better_dose_finds_is_made_up_for(patient, planned, delivery) -> None:
    problem, _ = planned
    own = delivery.solution.dose_gy
    same = reweighed_arcs(problem, patient[0], delivery, GENERIC, LIMITS, own)
    assert same.solution.value <= delivery.solution.value * 1.001
    # Three percent less everywhere: the target lacks that much, so the MU rise.
    less = reweighed_arcs(problem, patient[0], delivery, GENERIC, LIMITS, 0.97 * own)
    assert less.mu > 1.01 * delivery.mu
    assert less.solution.feasible
    moved = reweighed_arcs(problem, patient[0], delivery, GENERIC, LIMITS, 0.97 * own, leaf_steps=80, thrift=0.0)
    require_deliverable(moved, GENERIC)
    assert moved.solution.feasible
    assert moved.solution.value < less.solution.value


def test_progress_counts_up_and_a_stopped_plan_keeps_the_limit(patient, planned) -> None:
    problem, ideal = planned
    seen = []
    found = sequence_arcs(
        problem,
        patient[0],
        ideal.weights_mu,
        GENERIC,
        (TO,),
        LIMITS,
        INTERVALS,
        stop=lambda: len(seen) >= 20,
        progress=seen.append,
    )
    assert [step.iteration for step in seen] == sorted({step.iteration for step in seen})
    assert min(step.value for step in seen[10:]) < seen[0].value
    assert found.solution.feasible
    require_deliverable(found, GENERIC)
    assert found.solution.value < found.start_value


def test_a_plan_stopped_at_once_keeps_the_limit(patient, planned) -> None:
    problem, ideal = planned
    found = sequence_arcs(problem, patient[0], ideal.weights_mu, GENERIC, (TO,), LIMITS, INTERVALS, stop=lambda: True)
    assert found.solution.feasible
    require_deliverable(found, GENERIC)


# ------------------------------------------------------------------------------------------------ bad input


def test_an_arc_tells_its_sectors_and_what_it_passes() -> None:
    assert Arc("a", 1, 181.0, 10.0, 3).middles_deg == (186.0, 196.0, 206.0)
    assert Arc("a", 1, 5.0, -10.0, 2).middles_deg == (0.0, 350.0)
    assert not Arc("a", 1, 180.0, 10.0, 36).passes(180.0)
    assert not Arc("a", 1, 181.0, 2.0, 179).passes(180.0)
    assert Arc("a", 1, 175.0, 2.0, 10).passes(180.0)
    assert Arc("a", 1, 185.0, -2.0, 10).passes(180.0)
    assert not Arc("a", 1, 175.0, -2.0, 10).passes(180.0)


def test_arcs_that_cannot_be_are_refused(small) -> None:
    influence, sets = small
    problem = Problem(influence, 30, sets, (Wish("PTV", SquaredUnderdose(60.0), 1.0),))
    ones = np.ones(influence.shape[1])

    def plan(arcs, fluence=ones, limits=LIMITS, **more):
        return sequence_arcs(problem, influence, fluence, GENERIC, arcs, limits, leaf_steps=0, **more)

    with pytest.raises(InputError, match="full turn"):
        Arc("a", 1, 180.0, 10.0, 37)
    with pytest.raises(InputError, match="at least one arc"):
        plan(())
    with pytest.raises(InputError, match="passes 180"):
        plan((replace(SMALL, start_deg=100.0),))
    with pytest.raises(InputError, match="one beam with beamlets"):
        plan((replace(SMALL, start_deg=SMALL.start_deg + 1.0),))
    with pytest.raises(InputError, match="one beam with beamlets"):
        plan((replace(SMALL, collimator_deg=10.0),))
    with pytest.raises(InputError, match="zero"):
        plan((SMALL,), fluence=0 * ones)
    with pytest.raises(InputError, match="pace"):
        plan((SMALL,), pace_deg_per_s=9.0)
    with pytest.raises(InputError, match="thrift"):
        plan((SMALL,), thrift=-1.0)
    with pytest.raises(InputError, match="plan more arcs"):
        sequence_arcs(problem, influence, ones, replace(GENERIC, leaf_span_mm=40.0), ring(23), LIMITS, leaf_steps=0)
    with pytest.raises(InputError, match="gantry"):
        Motion(0.0, 0.0, 25.0, 0.1)
    with pytest.raises(InputError, match="leaves"):
        Motion(6.0, 0.5, 0.0, 0.1)
    with pytest.raises(InputError, match="sector"):
        ArcField.of(leaf_fields(influence.beamlets, GENERIC), 0)
    setups = list(influence.beamlets.setups)
    setups[3] = replace(setups[3], couch_deg=10.0)
    turned = replace(influence, beamlets=replace(influence.beamlets, setups=tuple(setups)))
    with pytest.raises(InputError, match="couch"):
        arc_fields(turned, (SMALL,), GENERIC, 1)


def test_one_effort_for_all(patient, planned) -> None:
    """The effort reaches the last solve: with next to none it ends at its iteration limit."""
    problem, ideal = planned
    found = sequence_arcs(
        problem,
        patient[0],
        ideal.weights_mu,
        GENERIC,
        (TO,),
        LIMITS,
        INTERVALS,
        leaf_steps=10,
        effort=Effort(iterations=3, rounds=1, value_tolerance=0.0),
    )
    assert not found.solution.converged
