"""What the tests of deliverable plans share: what is asked of the toy patient, and what every beam must keep to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_patient import FRAME

from tailort.optimisation import (
    Limit,
    PlanDelivery,
    Problem,
    Smoothness,
    Solution,
    VoxelSet,
    Wish,
    delivery_of,
    reference_weight,
    solve,
)
from tailort.optimisation.delivery_time import interval_seconds
from tailort.optimisation.objectives import MeanDose, SquaredOverdose, SquaredUnderdose
from tailort.patient import Beam, ControlPoint, Influence, Plan
from tailort.physics.machine import Machine
from tailort.physics.machines import machine

GENERIC = machine("generic-6MV")
# Leaves and jaws that let nothing through.
TIGHT = replace(GENERIC, leaf_transmission=0.0, jaw_transmission=0.0)
TINY = 1e-6


def asked(influence: Influence, sets: dict[str, VoxelSet]) -> tuple[Problem, Solution]:
    """Ask for 60 Gy in the target and at most 30 Gy in the core, and return that with its ideal fluence."""
    wishes = (
        Wish("PTV", SquaredUnderdose(60.0), 100.0),
        Wish("PTV", SquaredOverdose(63.0), 50.0),
        Wish("Body", SquaredOverdose(35.0), 20.0),
        Wish("Body", MeanDose(), 0.1),
    )
    problem = Problem(influence, 30, sets, wishes, (Limit("Core", SquaredOverdose(30.0), 0.5, label="Max"),))
    reference = reference_weight(problem, 60.0, "PTV")
    problem = replace(problem, smoothness=Smoothness.of(influence.beamlets, reference, 1.0))
    return problem, solve(problem, np.full(problem.size, reference))


def delivered(beams: tuple[Beam, ...], m: Machine = GENERIC) -> PlanDelivery:
    """Time and complexity of beams."""
    return delivery_of(Plan("toy", beams, (), 30, "HFS", FRAME), m)


def beam_on_s(beams: tuple[Beam, ...], m: Machine = GENERIC) -> float:
    """Time of all beams, without that between them."""
    return sum(beam.seconds for beam in delivered(beams, m).beams)


def require_reach(leaves: np.ndarray, m: Machine) -> None:
    """Leaf ends (..., pairs) of single banks lie where the machine reaches, and not farther apart than its carriage."""
    assert leaves.min() >= m.leaf_reach_mm[0]
    assert leaves.max() <= m.leaf_reach_mm[1]
    assert np.ptp(leaves, axis=-1).max() <= m.leaf_span_mm + 1e-9


def require_jaws(point: ControlPoint, m: Machine) -> None:
    (x1, x2), (y1, y2) = point.jaws_x_mm, point.jaws_y_mm
    assert -m.jaw_limit_mm <= x1 < x2 <= m.jaw_limit_mm
    assert -m.jaw_limit_mm <= y1 < y2 <= m.jaw_limit_mm


def require_moving_beam(beam: Beam, m: Machine) -> np.ndarray:
    """Dose rate, leaves and jaws keep to the machine while leaves move; returns which pairs lie between the Y jaws."""
    points = beam.control_points
    assert beam.dynamic
    seconds = interval_seconds(beam, m)
    assert len(seconds) == len(points) - 1
    leaves = np.array([point.leaves_mm for point in points])
    mu = np.diff([point.mu for point in points])
    assert (mu / seconds <= m.max_mu_per_minute / 60.0 + TINY).all()
    assert (np.abs(np.diff(leaves, axis=0)).max(axis=(1, 2)) <= m.motion.leaf_mm_per_s * seconds + TINY).all()
    assert len({(point.jaws_x_mm, point.jaws_y_mm) for point in points}) == 1
    require_jaws(points[0], m)
    require_reach(leaves, m)
    y1, y2 = points[0].jaws_y_mm
    edges = np.asarray(m.leaf_boundaries_mm)
    assert {y1, y2} <= set(edges)
    shown = (edges[:-1] >= y1) & (edges[1:] <= y2)
    gap = leaves[:, 1] - leaves[:, 0]
    assert gap[:, shown].min() >= m.leaf_gap_mm - TINY
    assert (gap[:, ~shown] == 0).all()
    (found,) = delivered((beam,), m).beams
    assert found.seconds == pytest.approx(seconds.sum())
    assert found.complexity is not None
    assert 0 < found.complexity <= 1
    return shown
