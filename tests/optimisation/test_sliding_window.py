"""Sliding windows: sweeps are exact and the shortest, leaves keep to the machine, plans are nearly ideal."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.optimize import linprog
from toy_patient import toy
from toy_plan import GENERIC, asked, beam_on_s, require_moving_beam

from tailort.dose.fluence import exposures, fluence
from tailort.dose.head import head_fluence
from tailort.errors import InputError
from tailort.optimisation import Effort, leaf_fields, sequence, sliding_window
from tailort.optimisation.leaf_room import SlideRoom
from tailort.optimisation.sliding_start import Sweeping, first_sweeps
from tailort.optimisation.sliding_sweep import needed_units, sweep
from tailort.optimisation.sliding_track import SlideDose, SlideField, SlideTrack
from tailort.optimisation.sliding_window import SlideDelivery, reslid, slide
from tailort.patient import Beam, ControlPoint, Influence
from tailort.physics.machine import Machine

# Leaves and jaws that let nothing through, a head that blurs nothing.
SHARP = replace(
    GENERIC,
    head=replace(
        GENERIC.head, source_sigma_mm=0.0, extrafocal_share=0.0, contamination_cm2_g=0.0, tongue_mm=0.0,
        jaw_offset_mm=0.0, profile=((0.0, 1.0),),
    ),
)  # fmt: skip
LIMITS = GENERIC.motion
INTERVALS = 40
seeds = st.integers(0, 2**32 - 1)
levels = st.floats(0.0, 50.0).map(lambda level: round(level, 3))
profiles = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=levels)
slowness = st.floats(0.05, 5.0)


# ------------------------------------------------------------------------------------------------ one sweep


def open_for(trailing: np.ndarray, leading: np.ndarray, x: np.ndarray) -> np.ndarray:
    """MU between the passage of the leading and of the trailing end over places that are not edges of columns."""
    return np.interp(x, trailing[1], trailing[0]) - np.interp(x, leading[1], leading[0])


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(0.1, 50.0)), slowness)
@settings(max_examples=100, deadline=None)
def test_one_pair_delivers_the_wanted_profile_in_the_units_of_the_formula(profile, slow) -> None:
    """Spirou & Chui 1994, Stein et al. 1994: beam-on units are the sum of rises and the way at full speed."""
    found = sweep(profile[None], slow, 0.0, 1)
    x = np.arange(len(profile))[:, None] + np.array([0.01, 0.3, 0.5, 0.99])
    given_mu = open_for(found.trailing[0], found.leading[0], x.ravel()).reshape(x.shape)
    np.testing.assert_allclose(given_mu, np.repeat(profile[:, None], 4, axis=1), atol=1e-6 * profile.max())
    rises = profile[0] + sum(max(b - a, 0.0) for a, b in pairwise(profile))
    assert found.units == pytest.approx(rises + slow * len(profile))
    # All of it is delivered within the sweep.
    low, high = found.ends(np.array([0.0, found.units]))
    assert high[0, 0] <= 1e-6
    assert low[1, 0] >= len(profile) - 1e-6


@given(arrays(np.float64, st.integers(1, 8), elements=st.floats(0.1, 50.0)), slowness)
@settings(max_examples=25, deadline=None)
def test_no_sweep_of_one_pair_is_shorter(profile, slow) -> None:
    """The moments at which both ends enter and leave each column, by linear programming."""
    n = len(profile)
    # Variables: the leading end enters (0..n-1) and leaves (n..2n-1) each column, and the end of the sweep.
    rows, bounds = [], []
    for c in range(n):
        row = np.zeros(2 * n + 1)
        row[c], row[n + c] = 1.0, -1.0
        rows.append(row)
        bounds.append(-slow)
    for c in range(n - 1):
        for rise in (0.0, profile[c + 1] - profile[c]):
            # The leading end enters the next column after this; the trailing one does so the fluence later.
            row = np.zeros(2 * n + 1)
            row[n + c], row[c + 1] = 1.0, -1.0
            rows.append(row)
            bounds.append(rise)
    row = np.zeros(2 * n + 1)
    row[2 * n - 1], row[2 * n] = 1.0, -1.0
    rows.append(row)
    bounds.append(-profile[-1])
    best = linprog(np.eye(2 * n + 1)[-1], A_ub=np.array(rows), b_ub=np.array(bounds))
    assert best.success
    assert needed_units(profile, slow) == pytest.approx(best.fun, rel=1e-7)


@given(profiles, slowness, st.floats(0.0, 1.0), st.booleans())
@settings(max_examples=100, deadline=None)
def test_ends_of_a_sweep_keep_gap_and_speed_and_never_go_back(wanted, slow, gap, together) -> None:
    wanted[0, 0] = 1.0
    found = sweep(wanted, slow, gap, 2, together)
    mu = np.union1d(found.moments, np.linspace(0.0, found.units, 50))
    low, high = found.ends(mu)
    tiny = 1e-6
    assert (high - low >= gap - tiny).all()
    assert low.min() >= -2 - tiny
    assert high.max() <= wanted.shape[1] + 2 + tiny
    for ends in (low, high):
        steps = np.diff(ends, axis=0)
        assert (steps >= -tiny).all()
        assert (steps <= np.diff(mu)[:, None] / slow * (1 + tiny) + tiny).all()


@given(profiles, slowness, st.floats(0.0, 1.0), st.booleans())
@settings(max_examples=100, deadline=None)
def test_all_pairs_give_their_profile_in_the_units_of_the_slowest(wanted, slow, gap, together) -> None:
    wanted[0, 0] = 20.0
    found = sweep(wanted, slow, gap, 2, together)
    lowest = gap * found.units / wanted.shape[1] if together else gap * slow
    for row, low, high in zip(wanted, found.trailing, found.leading, strict=True):
        inside = np.flatnonzero(row > 0)
        if len(inside) == 0:
            continue
        own = np.arange(inside[0], inside[-1] + 1)
        given_mu = open_for(low, high, own + 0.5)
        # Between its first and last wanted place a pair passes with its gap, which lets something through.
        assert (given_mu >= row[own] - 1e-6).all()
        assert (given_mu <= np.maximum(row[own], lowest) + 1e-6).all()
    if gap == 0.0:
        assert found.units == pytest.approx(max(needed_units(row, slow) for row in wanted), rel=1e-6)


def test_a_pair_without_fluence_waits_under_the_jaw() -> None:
    found = sweep(np.array([[3.0, 5.0, 2.0], [0.0, 0.0, 0.0], [0.0, 4.0, 0.0]]), 0.5, 0.3, 1)
    low, high = found.ends(np.linspace(0.0, found.units, 9))
    assert (high[:, 1] <= 0).all()
    # One that needs less is under a jaw at the beginning and at the end.
    assert high[0, 2] <= 0 < 3 <= low[-1, 2]


def test_sweeps_that_cannot_be_are_refused() -> None:
    row = np.array([[1.0, 2.0]])
    for wrong in (0 * row, -row):
        with pytest.raises(InputError, match="fluence"):
            sweep(wrong, 1.0, 0.0, 1)
    for slow, gap, beyond in ((0.0, 0.1, 1), (1.0, -0.1, 1), (1.0, 1.5, 1)):
        with pytest.raises(InputError, match="not possible"):
            sweep(row, slow, gap, beyond)


# ------------------------------------------------------------------------------------------------ tracks and room


@pytest.fixture(scope="module")
def patient():
    return toy(n_beams=5, spacing_mm=5.0, slices=6)


def without(influence: Influence, gone: np.ndarray) -> Influence:
    """The same without some beamlets."""
    kept = np.flatnonzero(~gone)
    number = np.cumsum(~gone) - 1
    stays = ~gone[influence.columns]
    counts = np.add.reduceat(np.concatenate([stays, [False]]).astype(np.int64), influence.starts[:-1])
    counts[np.diff(influence.starts) == 0] = 0
    beamlets = influence.beamlets
    return replace(
        influence,
        values=influence.values[stays],
        columns=number[influence.columns[stays]].astype(np.uint32),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        beamlets=replace(
            beamlets, beam=beamlets.beam[kept], x_mm=beamlets.x_mm[kept], y_mm=beamlets.y_mm[kept]
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def rounded(patient):
    """The toy with beamlets in an ellipse, as targets cast their shadows."""
    influence, sets = patient
    beamlets = influence.beamlets
    return without(influence, np.hypot(beamlets.x_mm / 46.0, beamlets.y_mm / 15.0) > 1.0), sets


def random_track(influence: Influence, seed: int) -> SlideTrack:
    """Ends that wander, also under the jaws and where no beamlets are."""
    rng = np.random.default_rng(seed)
    field = SlideField.of(leaf_fields(influence.beamlets, GENERIC)[2], 12, (-7, 6, 1, 5), (-9.0, 8.0))
    middle = np.clip(np.cumsum(rng.uniform(-3, 3, (13, field.pairs)), axis=0), -8, 7)
    half = rng.uniform(0.1, 3.0, middle.shape)
    return SlideTrack(field, np.maximum(middle - half, -9.0), np.minimum(middle + half, 8.0))


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_the_derivative_by_leaf_ends_is_that_of_differences(rounded, seed) -> None:
    track = random_track(rounded[0], seed)
    rng = np.random.default_rng(seed)
    mu, prices = rng.uniform(1, 5, len(track)), rng.normal(size=len(track.field.field.beamlets))
    slopes = track.by_ends(mu, prices, GENERIC)
    for slope, bank in zip(slopes, ("left", "right"), strict=True):
        way, ends = rng.normal(size=slope.shape), getattr(track, bank)
        values = [
            float(mu @ replace(track, **{bank: ends + step * way}).exposure(GENERIC) @ prices) for step in (1e-5, -1e-5)
        ]
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float((slope * way).sum()), rel=1e-3, abs=1e-2)


def test_a_column_for_each_interval_gives_the_dose_of_its_beamlets(rounded, monkeypatch) -> None:
    """Of two sweeps over the same beamlets; summed whether it is the smaller matrix or not."""
    influence, _ = rounded
    sweeps = SlideDose.of(influence, (random_track(influence, 1), random_track(influence, 2)), GENERIC)
    monkeypatch.setattr("tailort.optimisation.sliding_track.worth_summing", lambda influence, segments: False)
    assert sweeps.summed() is sweeps
    monkeypatch.setattr("tailort.optimisation.sliding_track.worth_summing", lambda influence, segments: True)
    mu = np.random.default_rng(3).uniform(size=sweeps.shape[1])
    np.testing.assert_allclose(sweeps.summed().dose(mu), sweeps.dose(mu), rtol=1e-6)
    by_dose = np.random.default_rng(4).normal(size=sweeps.shape[0])
    np.testing.assert_allclose(sweeps.summed().gradient(by_dose), sweeps.gradient(by_dose), rtol=1e-5, atol=1e-6)


def test_dose_is_linear_in_the_units_and_its_gradient_transposed(rounded) -> None:
    influence = rounded[0]
    beams = SlideDose.of(influence, (random_track(influence, 1), random_track(influence, 2)), GENERIC)
    rng = np.random.default_rng(0)
    one, other, rows = *rng.uniform(size=(2, beams.shape[1])), rng.normal(size=beams.shape[0])
    np.testing.assert_allclose(
        beams.dose(2 * one + 3 * other), 2 * beams.dose(one) + 3 * beams.dose(other), rtol=1e-5, atol=1e-9
    )
    assert beams.dose(one) @ rows == pytest.approx(one @ beams.gradient(rows), rel=1e-6)
    price, place = rng.normal(size=influence.shape[1]), 0.7
    total = beams.fluence(one) @ price + place * beams.beside(one)
    assert one @ beams.by_price(price, place) == pytest.approx(total)


def test_what_still_leaves_and_jaws_let_through_is_that_of_the_dose_engine(patient) -> None:
    """Open, behind leaves, behind one jaw, behind both, and a pair that waits under a jaw."""
    field = SlideField.of(leaf_fields(patient[0].beamlets, GENERIC)[0], 1, (-6, 5, 1, 5), (-8.0, 7.0))
    left = np.array([[-5.3, -8.0, 4.0, -2.5]])
    right = np.array([[3.7, -7.6, 6.5, 2.0]])
    track = SlideTrack(field, np.repeat(left, 2, axis=0), np.repeat(right, 2, axis=0))
    places = field.field
    edges = np.asarray(GENERIC.leaf_boundaries_mm)
    leaves = np.zeros((2, len(edges) - 1))
    half = 0.5 * GENERIC.head.leaf_end_gap_mm
    own = slice(places.first_pair + 1, places.first_pair + 5)
    leaves[:, own] = left[0] * 5.0 + half, right[0] * 5.0 - half
    jaws_y = (edges[own.start], edges[own.stop])
    point = ControlPoint(0.0, 0.0, 0.0, 0.0, (-30.0, 25.0), jaws_y, leaves)
    beam = Beam(
        "b", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), GENERIC.leaf_boundaries_mm, (point, replace(point, mu=1.0))
    )
    y = ((edges[places.first_pair + places.pair] + 50.0) / 5.0).astype(int)
    expected = lattice(beam, GENERIC)[y, places.column + 10]
    assert len(np.unique(expected.round(9))) > 8
    np.testing.assert_allclose(track.exposure(GENERIC)[0], expected, atol=1e-12)


def require_kept(room: SlideRoom, left: np.ndarray, right: np.ndarray) -> None:
    tiny = 1e-9
    assert min(left.min(), right.min()) >= room.low - tiny
    assert max(left.max(), right.max()) <= room.high + tiny
    assert (right - left >= room.least - tiny).all()
    for ends in (left, right):
        assert (np.abs(np.diff(ends, axis=0)) <= room.travel[:, None] + tiny).all()
    if room.apart:
        assert (right[:, 1:] - left[:, :-1] >= room.least - tiny).all()
        assert (right[:, :-1] - left[:, 1:] >= room.least - tiny).all()
    assert room.excess(left, right)[0] < 1e-15


@given(seeds, st.booleans())
@settings(max_examples=40, deadline=None)
def test_kept_tracks_keep_to_everything_and_stay_when_they_do(seed, apart) -> None:
    rng = np.random.default_rng(seed)
    room = SlideRoom(-6.0, 5.0, 0.3, rng.uniform(0.1, 3.0, 9), apart)
    left, right = rng.uniform(-8, 8, (2, 10, 4))
    kept = room.kept(left, right)
    require_kept(room, *kept)
    np.testing.assert_allclose(room.kept(*kept), kept, atol=1e-9)


@given(seeds, st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_derivative_of_the_excess_is_that_of_differences(seed, apart) -> None:
    rng = np.random.default_rng(seed)
    room = SlideRoom(-6.0, 5.0, 0.3, rng.uniform(0.1, 3.0, 9), apart)
    ends, way = rng.uniform(-6, 5, (2, 10, 4)), rng.normal(size=(2, 10, 4))
    _, by_left, by_right = room.excess(*ends)
    difference = room.excess(*(ends + 1e-6 * way))[0] - room.excess(*(ends - 1e-6 * way))[0]
    assert difference / 2e-6 == pytest.approx(float((by_left * way[0] + by_right * way[1]).sum()), rel=1e-4, abs=1e-5)


# ------------------------------------------------------------------------------------------------ plans


@pytest.fixture(scope="module")
def planned(rounded):
    return asked(*rounded)


def plan(planned, m: Machine = GENERIC, **options) -> SlideDelivery:
    problem, ideal = planned
    return slide(problem, problem.dose_map, ideal.weights_mu, m, LIMITS, INTERVALS, **options)


@pytest.fixture(scope="module")
def delivery(planned):
    return plan(planned)


@pytest.fixture(scope="module")
def wide(planned):
    """Leaves that span 60 mm, a field of 90 mm."""
    return plan(planned, replace(GENERIC, leaf_span_mm=60.0), leaf_steps=40)


@pytest.fixture(scope="module")
def apart(planned):
    return plan(planned, interdigitation=False)


def lattice(beam: Beam, m: Machine, how=fluence) -> np.ndarray:
    """MU of the toy's columns and leaf pairs by the control points alone."""
    edges = np.arange(-50.0, 51.0, 5.0)
    (exposure,) = exposures(beam)
    found = how(exposure, beam, m, edges, edges)
    return found if how is fluence else found[0]


def modelled(delivery: SlideDelivery, number: int, m: Machine) -> np.ndarray:
    """The same by the optimiser's model; where it has no beamlet and no place, not a number."""
    track = delivery.tracks[number]
    first = sum(len(other) for other in delivery.tracks[:number])
    mu = delivery.solution.weights_mu[first : first + len(track)]
    field = track.field.field
    found = np.full((20, 20), np.nan)
    y = (np.asarray(m.leaf_boundaries_mm)[field.first_pair + field.pair] + 50.0) / 5.0
    found[y.astype(int), field.column + 10] = mu @ track.exposure(m)
    return found


@pytest.mark.parametrize("kind", ["delivery", "wide", "apart"])
def test_the_control_points_expose_the_lattice_as_optimised(kind, request) -> None:
    """The dose engines' ways from control points to fluence, by other code, give the optimised fluence."""
    found = request.getfixturevalue(kind)
    for number, beam in enumerate(found.beams):
        expected = modelled(found, number, GENERIC)
        seen = np.isfinite(expected)
        assert seen.sum() > 50
        # Engines cut the motion into steps of 2 mm, four tenths of a beamlet.
        for engine in (lattice(beam, GENERIC), lattice(beam, SHARP, head_fluence)):
            np.testing.assert_allclose(engine[seen], expected[seen], atol=0.02 * np.nanmax(expected))
            assert engine[seen].sum() == pytest.approx(expected[seen].sum(), rel=1e-3)


def test_fluence_beside_the_beamlets_is_counted_and_small(delivery, rounded) -> None:
    beamlets = rounded[0].beamlets
    beside = total = 0.0
    for beam in delivery.beams:
        found = lattice(beam, GENERIC)
        (x1, x2), (y1, y2) = beam.control_points[0].jaws_x_mm, beam.control_points[0].jaws_y_mm
        centres = np.arange(-47.5, 50.0, 5.0)
        in_jaws = ((centres > x1) & (centres < x2))[None, :] & ((centres > y1) & (centres < y2))[:, None]
        has = np.zeros_like(in_jaws)
        own = beamlets.beam == beam.number - 1
        has[((beamlets.y_mm[own] + 50) // 5).astype(int), ((beamlets.x_mm[own] + 50) // 5).astype(int)] = True
        beside += found[in_jaws & ~has].sum()
        total += found[in_jaws | has].sum()
    assert beside > 0
    assert delivery.beside_share == pytest.approx(beside / total, rel=0.02)
    assert delivery.beside_share < 0.02


def require_deliverable(found: SlideDelivery, m: Machine) -> None:
    for beam in found.beams:
        require_moving_beam(beam, m)
        points = beam.control_points
        assert len(points) == INTERVALS + 1
        assert (np.diff([point.mu for point in points]) > 0).all()
        assert len({point.gantry_deg for point in points}) == 1
    assert len({beam.number for beam in found.beams}) == len(found.beams)


def test_every_beam_keeps_to_what_the_machine_can_do(delivery, wide, apart) -> None:
    require_deliverable(delivery, GENERIC)
    require_deliverable(wide, replace(GENERIC, leaf_span_mm=60.0))
    require_deliverable(apart, GENERIC)


def test_leaves_keep_up_with_the_pace(planned, delivery, apart) -> None:
    still = plan(planned, leaf_steps=0)
    for track, room in zip(still.tracks, still.rooms, strict=True):
        require_kept(room, track.left, track.right)
    # Leaves that moved with the MU take hardly any time beyond that of the first sweeps and that of the MU.
    for found in (delivery, apart):
        pace_s = sum(room.travel.sum() * 5.0 / LIMITS.leaf_mm_per_s for room in found.rooms)
        assert beam_on_s(found.beams) <= 1.01 * (pace_s + found.mu * 60.0 / GENERIC.max_mu_per_minute)
        for track, room in zip(found.tracks, found.rooms, strict=True):
            require_kept(replace(room, travel=np.full(INTERVALS, np.inf)), track.left, track.right)


def crossings(found: SlideDelivery) -> float:
    """Farthest that a leaf end is beyond the opposite end of the next pair, mm."""
    worst = -np.inf
    for beam in found.beams:
        leaves = np.array([point.leaves_mm for point in beam.control_points])
        y = beam.control_points[0].jaws_y_mm
        edges = np.asarray(beam.leaf_boundaries_mm)
        left, right = leaves[:, :, (edges[:-1] >= y[0]) & (edges[1:] <= y[1])].swapaxes(0, 1)
        worst = max(worst, (left[:, 1:] - right[:, :-1]).max(), (left[:, :-1] - right[:, 1:]).max())
    return float(worst)


def test_leaves_that_may_not_pass_each_other_do_not(delivery, apart) -> None:
    assert crossings(apart) <= -GENERIC.leaf_gap_mm + 1e-6
    assert crossings(delivery) > 0
    assert apart.solution.feasible
    assert apart.solution.value < 1.3 * delivery.solution.value


def test_a_field_wider_than_the_span_is_one_beam_for_each_carriage_position(delivery, wide) -> None:
    assert len(delivery.beams) == 5
    assert len(wide.beams) == 15
    assert [beam.name for beam in wide.beams[:3]] == ["beam 1.1", "beam 1.2", "beam 1.3"]
    assert wide.solution.feasible
    for whole, parts in zip(delivery.beams, np.array(wide.beams).reshape(5, 3), strict=True):
        jaws = [part.control_points[0].jaws_x_mm for part in parts]
        # With other MU there is other leakage, which decides where anything has to be opened for.
        np.testing.assert_allclose((jaws[0][0], jaws[-1][1]), whole.control_points[0].jaws_x_mm, atol=5.0)
        # Neighbours overlap, so that no edge meets an edge.
        assert all(b[0] < a[1] for a, b in pairwise(jaws))
        assert all(part.control_points[0].gantry_deg == whole.control_points[0].gantry_deg for part in parts)


def swept_fluence(influence: Influence, wanted: np.ndarray, m: Machine, **options) -> tuple[np.ndarray, np.ndarray]:
    """Fluence of all first sweeps, and the units of each beamlet's beam."""
    how = Sweeping(m, LIMITS, **{"intervals": 2000, "most_travel": 0.3, "interdigitation": True, **options})
    found, units = np.zeros((2, influence.shape[1]))
    for field in leaf_fields(influence.beamlets, m):
        for one in first_sweeps(field, wanted, how):
            exposure = one.track.exposure(m)[:, : one.track.field.beamlets]
            found[field.beamlets] += one.units * exposure.mean(axis=0)
            units[field.beamlets] += one.units
    return found, units


@pytest.mark.parametrize("span", [150.0, 60.0])
def test_first_sweeps_of_all_carriage_positions_add_up_to_the_wanted_fluence(rounded, span) -> None:
    influence = rounded[0]
    wanted = np.random.default_rng(4).uniform(5.0, 30.0, influence.shape[1])
    closed = replace(GENERIC, leaf_span_mm=span, leaf_transmission=0.0, jaw_transmission=0.0)
    found, _ = swept_fluence(influence, wanted, closed)
    # Ends that start or stop within an interval are off by its MU at most.
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_first_sweeps_give_the_wanted_fluence_with_their_leakage_within(planned) -> None:
    problem, ideal = planned
    found, units = swept_fluence(problem.dose_map, ideal.weights_mu, GENERIC)
    leaked = GENERIC.leaf_transmission * units
    # What a gap lets through where less is wanted: its way at full speed, 1.5 of 5 mm.
    enough = ideal.weights_mu > leaked + 1.0
    assert 0.3 < enough.mean() < 1.0
    np.testing.assert_allclose(found[enough], ideal.weights_mu[enough], atol=0.05)
    assert (found[~enough] <= leaked[~enough] + 1.1).all()


def test_a_slower_first_sweep_has_fewer_units_and_takes_longer(planned) -> None:
    problem, ideal = planned
    field = leaf_fields(problem.dose_map.beamlets, GENERIC)[0]
    (slow,), (fast,) = (
        first_sweeps(field, ideal.weights_mu, Sweeping(GENERIC, LIMITS, 60, share, True)) for share in (0.1, 0.3)
    )
    assert slow.units < fast.units
    assert slow.seconds > fast.seconds
    # The highest dose rate bounds both.
    assert fast.units / fast.seconds <= GENERIC.max_mu_per_minute / 60.0 * (1 + 1e-9)


def test_the_dose_of_the_plan_is_that_of_its_intervals(planned, delivery) -> None:
    problem, _ = planned
    dose = 30 * SlideDose.of(problem.dose_map, delivery.tracks, GENERIC).dose(delivery.solution.weights_mu)
    np.testing.assert_allclose(delivery.solution.dose_gy, dose, rtol=1e-6, atol=1e-9)
    steps = np.concatenate([np.diff([point.mu for point in beam.control_points]) for beam in delivery.beams])
    np.testing.assert_allclose(steps, delivery.solution.weights_mu, rtol=1e-9)


def test_moving_leaves_and_units_keeps_the_limit_and_comes_near_the_ideal(planned, delivery) -> None:
    problem, _ = planned
    assert delivery.solution.feasible
    assert delivery.solution.dose_gy[problem.sets["Core"].rows].max() <= 30.0
    still = plan(planned, leaf_steps=0)
    assert delivery.solution.value < still.solution.value
    assert delivery.fluence_value < delivery.solution.value < 1.1 * delivery.fluence_value


def test_leaves_gain_nothing_from_passing_each_other(planned, monkeypatch) -> None:
    """Where places without beamlets are dear, openings that count below nothing would be worth any other harm."""
    monkeypatch.setattr(sliding_window, "_price_of_place", lambda *_: 15.0)
    still, moved = (plan(planned, leaf_steps=steps) for steps in (0, 60))
    assert moved.beside_share < 0.9 * still.beside_share
    assert moved.solution.feasible
    require_deliverable(moved, GENERIC)


def test_few_segments_are_worse_than_a_sliding_window(planned, delivery) -> None:
    problem, ideal = planned
    few = sequence(problem, problem.dose_map, ideal.weights_mu, GENERIC, segments_per_beam=3)
    assert delivery.solution.value < few.solution.value


def test_thrift_saves_monitor_units_for_a_worse_dose(planned, delivery) -> None:
    dear = plan(planned, thrift=2.0)
    assert dear.mu < 0.9 * delivery.mu
    assert dear.solution.value > delivery.solution.value


def test_what_a_better_dose_finds_is_made_up_for(planned, delivery) -> None:
    problem, _ = planned
    own = delivery.solution.dose_gy
    same = reslid(problem, problem.dose_map, delivery, GENERIC, LIMITS, own)
    assert same.solution.value <= delivery.solution.value * 1.001
    # Three percent less everywhere: the target lacks that much, so the MU rise.
    less = reslid(problem, problem.dose_map, delivery, GENERIC, LIMITS, 0.97 * own)
    change = SlideDose.of(problem.dose_map, less.tracks, GENERIC).dose(less.solution.weights_mu) - own / 30
    np.testing.assert_allclose(less.solution.dose_gy, 0.97 * own + 30 * change, rtol=1e-6, atol=1e-6)
    assert less.mu > 1.01 * delivery.mu
    assert less.solution.feasible
    moved = reslid(problem, problem.dose_map, delivery, GENERIC, LIMITS, 0.97 * own, leaf_steps=60, thrift=0.0)
    require_deliverable(moved, GENERIC)
    assert moved.solution.feasible
    assert moved.solution.value < less.solution.value


def test_progress_counts_up_and_a_stopped_plan_keeps_the_limit(planned) -> None:
    seen = []
    found = plan(planned, stop=lambda: len(seen) >= 15, progress=seen.append)
    assert [step.iteration for step in seen] == sorted({step.iteration for step in seen})
    assert found.solution.feasible
    require_deliverable(found, GENERIC)
    at_once = plan(planned, stop=lambda: True)
    assert at_once.solution.feasible
    require_deliverable(at_once, GENERIC)


def test_one_effort_for_all(planned) -> None:
    """The effort reaches the last solve: with next to none it ends at its iteration limit."""
    found = plan(planned, leaf_steps=5, effort=Effort(iterations=3, rounds=1, value_tolerance=0.0))
    assert not found.solution.converged


# ------------------------------------------------------------------------------------------------ bad input


def test_what_cannot_be_is_refused(planned) -> None:
    problem, ideal = planned

    def attempt(m=GENERIC, fluence_mu=ideal.weights_mu, intervals=INTERVALS, **options):
        return slide(problem, problem.dose_map, fluence_mu, m, LIMITS, intervals, leaf_steps=0, **options)

    with pytest.raises(InputError, match="zero everywhere"):
        attempt(fluence_mu=0 * ideal.weights_mu)
    with pytest.raises(InputError, match="numbers not below 0"):
        attempt(fluence_mu=np.where(ideal.weights_mu > 0, np.nan, 0.0))
    with pytest.raises(InputError, match="too low to deliver"):
        attempt(fluence_mu=1e-3 * ideal.weights_mu)
    with pytest.raises(InputError, match="no leaves"):
        attempt(replace(GENERIC, leaf_boundaries_mm=()))
    with pytest.raises(InputError, match="interval"):
        attempt(intervals=1)
    with pytest.raises(InputError, match="share above 0"):
        attempt(most_travel=0.0)
    with pytest.raises(InputError, match="thrift"):
        attempt(thrift=-1.0)
    with pytest.raises(InputError, match="span 20 mm"):
        attempt(replace(GENERIC, leaf_span_mm=20.0))


def test_a_beam_without_fluence_is_left_out(planned) -> None:
    problem, ideal = planned
    dark = np.where(problem.dose_map.beamlets.beam == 1, 0.0, ideal.weights_mu)
    found = slide(problem, problem.dose_map, dark, GENERIC, LIMITS, INTERVALS, leaf_steps=0)
    assert [beam.number for beam in found.beams] == [1, 3, 4, 5]
