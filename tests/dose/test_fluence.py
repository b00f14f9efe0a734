"""Leaves and jaws let through what their geometry says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dose_phantoms import GENERIC, WIDE, field
from hypothesis import given
from hypothesis import strategies as st

from tailort.dose.fluence import exposures, fluence
from tailort.errors import InputError
from tailort.patient.plan import Beam, ControlPoint

EDGES = np.arange(-200.0, 200.1, 2.5)
TIGHT = replace(GENERIC, leaf_transmission=0.0, jaw_transmission=0.0, head=replace(GENERIC.head, leaf_end_gap_mm=0.0))


def aperture(leaves: np.ndarray, jaws_x=WIDE, jaws_y=WIDE, mu: float = 1.0) -> Beam:
    points = tuple(ControlPoint(at, 0.0, 0.0, 0.0, jaws_x, jaws_y, leaves) for at in (0.0, mu))
    return Beam("B", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), GENERIC.leaf_boundaries_mm, points)


def of(beam: Beam, machine=TIGHT) -> np.ndarray:
    return sum(fluence(part, beam, machine, EDGES, EDGES) for part in exposures(beam))


def all_leaves(left: float, right: float) -> np.ndarray:
    return np.repeat([[left], [right]], GENERIC.leaf_pairs, axis=1)


@given(st.floats(-150, 150), st.floats(0, 50), st.floats(-150, 100), st.floats(0, 100))
def test_open_area_is_exact_wherever_leaf_ends_and_jaws_lie(
    left: float, width: float, low: float, height: float
) -> None:
    beam = aperture(all_leaves(left, left + width), jaws_y=(low, low + height), mu=3.0)
    assert of(beam).sum() * 2.5**2 == pytest.approx(3.0 * width * height, abs=1e-6)


def test_a_jaw_on_a_leaf_end_does_not_count_twice() -> None:
    # Both end in the middle of the pixel from 0 to 2.5 mm.
    found = of(aperture(all_leaves(-10.0, 1.25), jaws_x=(-50.0, 1.25)))
    column = int(np.searchsorted(EDGES, 0.0))
    np.testing.assert_allclose(found[:, column], 0.5)


def test_behind_leaves_jaws_and_both_their_transmission_remains() -> None:
    found = of(aperture(all_leaves(-10.0, 10.0), jaws_x=(-50.0, 50.0), jaws_y=(-20.0, 20.0)), GENERIC)

    def at(x: float, y: float) -> float:
        return float(found[int(np.searchsorted(EDGES, y)) - 1, int(np.searchsorted(EDGES, x)) - 1])

    assert at(1.0, 1.0) == pytest.approx(1.0)
    assert at(31.0, 1.0) == pytest.approx(0.015)
    assert at(1.0, 31.0) == pytest.approx(0.005)
    assert at(71.0, 1.0) == pytest.approx(0.005 * 0.015)
    assert at(31.0, 31.0) == pytest.approx(0.005 * 0.015)


def test_segments_from_one_direction_are_collected_and_their_mu_added() -> None:
    leaves = [all_leaves(-10.0, 10.0), all_leaves(-5.0, 20.0)]
    marks = ((0.0, 0), (2.0, 0), (2.0, 1), (5.0, 1))
    points = tuple(ControlPoint(mu, 30.0, 0.0, 0.0, WIDE, WIDE, leaves[n]) for mu, n in marks)
    beam = Beam("B", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), GENERIC.leaf_boundaries_mm, points)
    parts = exposures(beam)
    assert [part.setup.gantry_deg for part in parts] == [30.0]
    row = fluence(parts[0], beam, TIGHT, EDGES, EDGES)[80]
    inside = {x: float(row[int(np.searchsorted(EDGES, x)) - 1]) for x in (-9.0, 1.0, 19.0, 21.0)}
    assert inside == {-9.0: 2.0, 1.0: 5.0, 19.0: 3.0, 21.0: 0.0}


def test_a_sliding_window_leaves_its_width_over_its_way() -> None:
    # A slit of 20 mm goes 100 mm: between its end positions every point sees it for a fifth of the time.
    points = (
        ControlPoint(0.0, 0.0, 0.0, 0.0, WIDE, WIDE, all_leaves(-60.0, -40.0)),
        ControlPoint(50.0, 0.0, 0.0, 0.0, WIDE, WIDE, all_leaves(40.0, 60.0)),
    )
    beam = Beam("B", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), GENERIC.leaf_boundaries_mm, points, dynamic=True)
    row = of(beam)[80]
    middle = np.abs(EDGES[:-1] + 1.25) < 38
    np.testing.assert_allclose(row[middle], 10.0, rtol=0.05)
    assert row.sum() * 2.5 == pytest.approx(50.0 * 20.0)


def test_an_arc_goes_the_shorter_way_through_zero_and_keeps_its_mu() -> None:
    points = tuple(
        ControlPoint(mu, angle, 0.0, 0.0, (-50.0, 50.0), (-50.0, 50.0), None)
        for mu, angle in ((0.0, 350.0), (10.0, 0.0), (30.0, 10.0))
    )
    beam = Beam("B", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), (), points, dynamic=True)
    parts = exposures(beam)
    angles = [((part.setup.gantry_deg + 180) % 360) - 180 for part in parts]
    assert angles == sorted(angles)
    assert min(angles) > -10
    assert max(angles) < 10
    assert sum(mu for part in parts for mu, _ in part.segments) == pytest.approx(30.0)


def test_a_gantry_way_that_is_not_certain_is_refused() -> None:
    points = tuple(ControlPoint(mu, angle, 0.0, 0.0, WIDE, WIDE, None) for mu, angle in ((0.0, 0.0), (1.0, 180.0)))
    beam = Beam("B", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), (), points, dynamic=True)
    with pytest.raises(InputError, match="not certain"):
        exposures(beam)


def test_nothing_comes_from_beyond_the_largest_field() -> None:
    wide = np.arange(-300.0, 300.1, 5.0)
    beam = field((-200.0, 200.0), (-200.0, 200.0), mu=1.0)
    total = fluence(exposures(beam)[0], beam, GENERIC, wide, wide).sum() * 25.0
    assert total == pytest.approx(400.0**2)
