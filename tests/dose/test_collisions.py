"""Couch angles at which gantry and couch may meet."""

from __future__ import annotations

import numpy as np
import pytest

from tailort.dose.collisions import collision_warnings
from tailort.patient import Beam, ControlPoint, Plan
from tailort.physics import machine

LINAC = machine("generic-6MV")


def plan(couch_deg: float, *gantry_deg: float) -> Plan:
    leaves = np.array([np.full(LINAC.leaf_pairs, -20.0), np.full(LINAC.leaf_pairs, 20.0)])
    points = tuple(
        ControlPoint(float(n), angle, 0.0, couch_deg, (-20.0, 20.0), (-20.0, 20.0), leaves)
        for n, angle in enumerate(gantry_deg)
    )
    beam = Beam("one", 1, LINAC.id, 6.0, True, (0.0, 0.0, 0.0), LINAC.leaf_boundaries_mm, points)
    return Plan("test", (beam,), (), 1, "HFS", "1.2.3")


@pytest.mark.parametrize("couch_deg", [30.0, 330.0, 90.0])
def test_a_turned_couch_with_the_gantry_at_the_side_or_below_is_warned_about(couch_deg: float) -> None:
    (told,) = collision_warnings(plan(couch_deg, 120.0, 120.0))
    assert "'one'" in told
    assert f"{couch_deg:g}" in told


def test_an_arc_is_warned_about_where_it_leaves_the_top() -> None:
    (told,) = collision_warnings(plan(30.0, 350.0, 20.0, 60.0))
    assert "gantry at 60" in told


@pytest.mark.parametrize(
    ("couch_deg", "gantry_deg"), [(0.0, 180.0), (5.0, 90.0), (355.0, 270.0), (45.0, 0.0), (45.0, 330.0)]
)
def test_a_couch_that_is_straight_or_a_gantry_above_it_is_not(couch_deg: float, gantry_deg: float) -> None:
    assert collision_warnings(plan(couch_deg, gantry_deg, gantry_deg)) == ()
