"""Time and complexity of a plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tailort.optimisation.delivery_time import delivery_of, interval_seconds
from tailort.patient import Beam, ControlPoint, Plan
from tailort.physics import machine

LINAC = machine("generic-6MV")
PAIRS = LINAC.leaf_pairs


def point(mu: float, gantry_deg: float = 0.0, half_mm: float = 20.0, shift_mm: float = 0.0) -> ControlPoint:
    leaves = np.array([np.full(PAIRS, shift_mm - half_mm), np.full(PAIRS, shift_mm + half_mm)])
    return ControlPoint(mu, gantry_deg, 0.0, 0.0, (-50.0, 50.0), (-50.0, 50.0), leaves)


def beam(number: int, *points: ControlPoint, dynamic: bool = False) -> Beam:
    return Beam(f"{number}", number, LINAC.id, 6.0, True, (0.0, 0.0, 0.0), LINAC.leaf_boundaries_mm, points, dynamic)


def plan(*beams: Beam) -> Plan:
    return Plan("test", beams, (), 1, "HFS", "1.2.3")


def test_an_open_field_takes_its_mu_at_the_dose_rate() -> None:
    (found,) = delivery_of(plan(beam(1, point(0.0), point(100.0))), LINAC).beams
    assert found.seconds == pytest.approx(100.0 / LINAC.max_mu_per_minute * 60.0)
    assert found.complexity == pytest.approx(1.0)


def test_leaves_between_segments_take_their_way_at_their_speed() -> None:
    made = beam(1, point(0.0), point(50.0), point(50.0, shift_mm=40.0), point(100.0, shift_mm=40.0))
    whole = 100.0 / LINAC.max_mu_per_minute * 60.0 + 40.0 / LINAC.motion.leaf_mm_per_s
    assert delivery_of(plan(made), LINAC).seconds == pytest.approx(whole)


def test_an_arc_takes_what_is_slowest() -> None:
    arc = beam(1, point(0.0, 181.0), point(0.1, 191.0), point(100.0, 201.0), dynamic=True)
    slow = 10.0 / LINAC.motion.gantry_deg_per_s + 99.9 / LINAC.max_mu_per_minute * 60.0
    assert delivery_of(plan(arc), LINAC).seconds == pytest.approx(slow)


def test_time_of_an_interval_is_that_of_the_slowest_part() -> None:
    # 3 degrees at 6 degrees/s are 0.5 s, 10 MU at 600 MU/min 1 s, 50 mm of one leaf at 25 mm/s 2 s.
    far = point(16.0, 351.0)
    leaves = far.leaves_mm.copy()
    leaves[0, 3] -= 50.0
    arc = beam(1, point(0.0), point(1.0, 357.0), point(11.0, 354.0), replace(far, leaves_mm=leaves), dynamic=True)
    np.testing.assert_allclose(interval_seconds(arc, LINAC), [0.5, 1.0, 2.0])


def test_time_and_complexity_of_a_sliding_window_are_those_of_a_hand_calculation() -> None:
    # Two pairs between the Y jaws, both open by 20 mm, go 50 mm while 10 MU come, then stand for 30 MU.
    edges = LINAC.leaf_boundaries_mm
    low = edges.index(0.0)
    points = []
    for mu, left in ((0.0, -20.0), (10.0, 30.0), (40.0, 30.0)):
        leaves = np.zeros((2, PAIRS))
        leaves[:, low : low + 2] = [[left], [left + 20.0]]
        points.append(replace(point(mu), leaves_mm=leaves, jaws_x_mm=(-20.0, 60.0), jaws_y_mm=(0.0, edges[low + 2])))
    made = beam(1, *points, dynamic=True)
    # 50 mm at 25 mm/s are 2 s, 30 MU at 600 MU/min 3 s.
    np.testing.assert_allclose(interval_seconds(made, LINAC), [2.0, 3.0])
    (found,) = delivery_of(plan(made), LINAC).beams
    assert found.seconds == pytest.approx(5.0)
    # Level ends; each opening is 20 of the 70 mm that are seen together.
    assert found.complexity == pytest.approx(20.0 / 70.0)


def test_the_gantry_goes_from_beam_to_beam_without_passing_its_stop() -> None:
    two = plan(beam(1, point(0.0, 170.0), point(10.0, 170.0)), beam(2, point(0.0, 190.0), point(10.0, 190.0)))
    assert delivery_of(two, LINAC).between_s == pytest.approx(340.0 / LINAC.motion.gantry_deg_per_s)


def test_twice_the_dose_rate_halves_an_open_field() -> None:
    fast = replace(LINAC, max_mu_per_minute=2 * LINAC.max_mu_per_minute)
    made = plan(beam(1, point(0.0), point(100.0)))
    assert delivery_of(made, fast).seconds == pytest.approx(0.5 * delivery_of(made, LINAC).seconds)


def test_uneven_leaves_are_more_complex() -> None:
    rough = np.array([np.where(np.arange(PAIRS) % 2, -20.0, -5.0), np.where(np.arange(PAIRS) % 2, 20.0, 5.0)])
    jagged = [replace(point(mu), leaves_mm=rough) for mu in (0.0, 100.0)]
    (found,) = delivery_of(plan(beam(1, *jagged)), LINAC).beams
    assert found.complexity is not None
    assert found.complexity < 0.2


def test_without_leaves_there_is_no_complexity() -> None:
    open_points = [replace(point(mu), leaves_mm=None) for mu in (0.0, 100.0)]
    made = replace(beam(1, point(0.0), point(1.0)), leaf_boundaries_mm=(), control_points=tuple(open_points))
    (found,) = delivery_of(plan(made), LINAC).beams
    assert found.complexity is None


def test_how_far_behind_a_jaw_a_closed_pair_is_parked_is_not_complex() -> None:
    found = []
    for park in (-50.0, -55.0, -90.0):
        leaves = np.array([np.full(PAIRS, -20.0), np.full(PAIRS, 20.0)])
        leaves[:, PAIRS // 2] = park
        made = beam(1, *(replace(point(mu), leaves_mm=leaves) for mu in (0.0, 100.0)))
        found.append(delivery_of(plan(made), LINAC).beams[0].complexity)
    assert found[0] is not None
    assert found[0] < 1.0
    assert found == pytest.approx([found[0]] * 3)
