"""Leaf sequences: sums are exact, machine limits hold, the deliverable plan is nearly as good as the ideal one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from toy_patient import toy
from toy_plan import GENERIC, TIGHT, asked, require_jaws, require_reach

from tailort.errors import InputError
from tailort.optimisation import (
    Openings,
    SegmentDose,
    decompose,
    fluence_of,
    leaf_fields,
    monitor_units,
    sequence,
)
from tailort.optimisation.sequence import split
from tailort.patient import Beam, Beamlets
from tailort.physics.machine import Machine

levels = arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 9))


@given(levels)
@settings(max_examples=150, deadline=None)
def test_openings_add_up_to_the_fluence_in_the_fewest_units(fluence) -> None:
    openings = decompose(fluence)
    total = np.zeros_like(fluence)
    columns = np.arange(fluence.shape[1])
    for units, left, right in openings:
        assert units > 0
        assert (left <= right).all()
        assert (right > left).any()
        total += units * ((columns >= left[:, None]) & (columns < right[:, None]))
    np.testing.assert_array_equal(total, fluence)
    assert sum(units for units, _, _ in openings) == monitor_units(fluence)


def test_units_are_the_rises_of_the_worst_row() -> None:
    assert monitor_units(np.array([[1, 3, 1, 2], [0, 2, 2, 0]])) == 4
    assert monitor_units(np.zeros((3, 4), dtype=int)) == 0


def test_large_weights_are_taken_first_so_openings_are_fewer_than_units() -> None:
    fluence = np.array([[4, 5, 0, 1, 4, 5], [2, 4, 1, 3, 1, 4], [2, 3, 2, 1, 2, 4], [5, 3, 3, 2, 5, 3]])
    weights = [units for units, _, _ in decompose(fluence)]
    assert sum(weights) == 10
    assert weights == sorted(weights, reverse=True)
    assert len(weights) < 8


def test_a_negative_fluence_is_refused() -> None:
    with pytest.raises(InputError):
        decompose(np.array([[1, -1]]))


@pytest.fixture(scope="module")
def patient():
    return toy(n_beams=5, spacing_mm=5.0, slices=6)


@pytest.fixture(scope="module")
def planned(patient):
    return asked(*patient)


@pytest.fixture(scope="module")
def delivery(patient, planned):
    problem, fluence = planned
    return sequence(problem, patient[0], fluence.weights_mu, GENERIC)


def beam_fluence(beam: Beam, beamlets: Beamlets, own: np.ndarray, m: Machine) -> np.ndarray:
    """MU of beamlets by the control points alone, from geometry: a second way to the same number."""
    total = np.zeros(len(own))
    edges = np.asarray(beam.leaf_boundaries_mm)
    half = beamlets.width_x_mm / 2
    for mu, point in beam.segments():
        for n, b in enumerate(own):
            x, y = beamlets.x_mm[b], beamlets.y_mm[b]
            pair = int(np.searchsorted(edges, y)) - 1
            left, right = point.leaves_mm[:, pair]
            if right > left:
                left, right = left - 0.5 * m.head.leaf_end_gap_mm, right + 0.5 * m.head.leaf_end_gap_mm

            def share(low, high, x=x):
                return max(0.0, min(high, x + half) - max(low, x - half)) / (2 * half)

            in_jaws = share(*point.jaws_x_mm) if point.jaws_y_mm[0] < y < point.jaws_y_mm[1] else 0.0
            opened = share(left, right) if in_jaws > 0 else 0.0
            hidden = m.leaf_transmission * m.jaw_transmission
            total[n] += mu * (opened + m.leaf_transmission * (in_jaws - opened) + hidden * (1.0 - in_jaws))
    return total


def test_split_openings_give_the_rounded_fluence_exactly(patient, planned) -> None:
    influence, _ = patient
    _, fluence = planned
    openings, mu = split(leaf_fields(influence.beamlets, TIGHT), fluence.weights_mu, 4.0, TIGHT)
    total = fluence_of(openings, mu, TIGHT, influence.shape[1])
    np.testing.assert_allclose(total, 4.0 * np.round(fluence.weights_mu / 4.0), atol=1e-9)


def test_the_dose_of_segments_is_the_sum_of_their_beamlets(patient, delivery) -> None:
    influence, _ = patient
    mu = delivery.solution.weights_mu
    by_segment = SegmentDose.of(influence, delivery.openings, GENERIC)
    by_beamlet = influence.dose(fluence_of(delivery.openings, mu, GENERIC, influence.shape[1]))
    np.testing.assert_allclose(by_segment.dose(mu), by_beamlet, rtol=1e-6)
    np.testing.assert_allclose(delivery.solution.dose_gy, 30 * by_beamlet, rtol=1e-6)
    y = np.random.default_rng(0).normal(size=influence.shape[0])
    assert by_segment.gradient(y) @ mu == pytest.approx(y @ by_segment.dose(mu), rel=1e-9)


def test_control_points_say_what_was_optimised(patient, delivery) -> None:
    influence, _ = patient
    wanted = fluence_of(delivery.openings, delivery.solution.weights_mu, GENERIC, influence.shape[1])
    for opening, beam in zip(delivery.openings, delivery.beams, strict=True):
        own = opening.field.beamlets
        np.testing.assert_allclose(
            beam_fluence(beam, influence.beamlets, own, GENERIC), wanted[own], rtol=1e-6, atol=1e-6
        )
    assert delivery.mu == pytest.approx(delivery.solution.weights_mu.sum())


def require_deliverable(beams, m: Machine) -> None:
    for beam in beams:
        assert beam.machine == m.id
        assert len(beam.control_points) % 2 == 0
        for start, end in zip(beam.control_points[::2], beam.control_points[1::2], strict=True):
            np.testing.assert_array_equal(start.leaves_mm, end.leaves_mm)
            assert end.mu - start.mu >= m.min_segment_mu - 1e-9
            left, right = start.leaves_mm
            gap = right - left
            assert ((gap == 0) | (gap >= m.leaf_gap_mm)).all()
            assert (gap > 0).any()
            require_reach(start.leaves_mm, m)
            require_jaws(start, m)
            x1, x2 = start.jaws_x_mm
            # Closed pairs wait under a jaw; the round ends of open ones let the beam through as far as the jaws are.
            round_end = 0.5 * m.head.leaf_end_gap_mm
            closed = gap == 0
            assert ((left[closed] < x1) | (left[closed] > x2)).all()
            assert left[~closed].min() - round_end == pytest.approx(x1)
            assert right[~closed].max() + round_end == pytest.approx(x2)


def test_every_segment_can_be_delivered(delivery) -> None:
    require_deliverable(delivery.beams, GENERIC)


def test_segments_stay_within_their_number(delivery) -> None:
    assert 5 < delivery.segments <= 5 * 8


def test_the_limit_holds_in_the_deliverable_plan(planned, delivery) -> None:
    problem, _ = planned
    assert delivery.solution.feasible
    assert delivery.solution.dose_gy[problem.sets["Core"].rows].max() <= 30.0


def test_moving_the_leaves_wins_back_most_of_what_the_split_lost(patient, planned, delivery) -> None:
    problem, fluence = planned
    fixed = sequence(problem, patient[0], fluence.weights_mu, GENERIC, leaf_steps=0)
    assert delivery.fluence_value < delivery.solution.value < fixed.solution.value < fixed.split_value
    lost, kept = fixed.split_value - fixed.fluence_value, delivery.solution.value - delivery.fluence_value
    assert kept < 0.35 * lost


def test_a_field_wider_than_the_leaf_span_is_split_side_by_side(patient, planned) -> None:
    influence, _ = patient
    problem, fluence = planned
    short = replace(GENERIC, leaf_span_mm=60.0)
    found = sequence(problem, influence, fluence.weights_mu, short, segments_per_beam=14, leaf_steps=5)
    require_deliverable(found.beams, short)


def test_wide_leaves_move_all_their_beamlets(patient) -> None:
    influence, _ = patient
    wide = replace(TIGHT, leaf_boundaries_mm=tuple(np.arange(-200.0, 201.0, 10.0)))
    shifted = replace(influence.beamlets, y_mm=influence.beamlets.y_mm)
    fields = leaf_fields(shifted, wide)
    weights = np.random.default_rng(0).uniform(0, 30, influence.shape[1])
    openings, mu = split(fields, weights, 1.0, wide)
    total = fluence_of(openings, mu, wide, influence.shape[1])
    leaf = np.floor(shifted.y_mm / 10.0)
    for beam in range(5):
        for x in np.unique(shifted.x_mm):
            for one in np.unique(leaf):
                both = (shifted.beam == beam) & (shifted.x_mm == x) & (leaf == one)
                if both.sum() == 2:
                    assert np.ptp(total[both]) < 1e-9
                    assert total[both].mean() == pytest.approx(weights[both].mean(), abs=0.51)


def test_beamlets_off_the_leaves_are_refused(patient) -> None:
    influence, _ = patient
    with pytest.raises(InputError, match="leaves"):
        leaf_fields(replace(influence.beamlets, y_mm=influence.beamlets.y_mm + 1.0), GENERIC)


def test_a_closed_opening_lets_only_transmission_through(patient) -> None:
    influence, _ = patient
    field = leaf_fields(influence.beamlets, GENERIC)[0]
    left = np.full((1, field.pairs), 3.0)
    right = left.copy()
    right[0, 1] = 6.5
    exposure = Openings(field, left, right).exposure(GENERIC)[0]
    row = exposure[(field.pair == 1)][np.argsort(field.column[field.pair == 1])]
    leaf = GENERIC.leaf_transmission
    hidden = leaf * GENERIC.jaw_transmission
    np.testing.assert_allclose(row[:8], [hidden, hidden, hidden, 1, 1, 1, 0.5 + 0.5 * hidden, hidden])
    np.testing.assert_allclose(exposure[field.pair != 1], hidden)


def test_a_stopped_sequence_still_keeps_the_limit(patient, planned) -> None:
    problem, fluence = planned
    found = sequence(problem, patient[0], fluence.weights_mu, GENERIC, stop=lambda: True)
    assert found.solution.feasible
    require_deliverable(found.beams, GENERIC)
