"""How long a plan takes to deliver, and how complex its apertures are, from its control points alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.arc_complexity import modulation_complexity
from tailort.patient import Beam, Plan
from tailort.physics.machine import Machine

Float = NDArray[np.float64]


@dataclass(frozen=True)
class BeamDelivery:
    """What one beam takes.

    Parameters
    ----------
    name : str
        Beam.
    seconds : float
        With the beam on or held for the leaves.
    complexity : float or None
        Modulation complexity score; 1 is one rectangle all the way; None without leaves or MU.
    """

    name: str
    seconds: float
    complexity: float | None


@dataclass(frozen=True)
class PlanDelivery:
    """What one fraction of a plan takes.

    Parameters
    ----------
    beams : tuple of BeamDelivery
        In order.
    between_s : float
        For the gantry from beam to beam; nobody enters the room.
    """

    beams: tuple[BeamDelivery, ...]
    between_s: float

    @property
    def seconds(self) -> float:
        """From the first MU to the last."""
        return sum(beam.seconds for beam in self.beams) + self.between_s


def delivery_of(plan: Plan, machine: Machine) -> PlanDelivery:
    """Shortest time of a plan with the machine's speeds; acceleration and verification are not counted.

    Parameters
    ----------
    plan : Plan
        Control points and MU.
    machine : Machine
        Dose rate, and speeds of gantry and leaves.

    References
    ----------
    McNiven et al. 2010, Med Phys 37:505, doi 10.1118/1.3276775 (complexity).
    """
    stop = machine.motion.gantry_stop_deg
    ends = [
        ((beam.control_points[0].gantry_deg - stop) % 360.0, (beam.control_points[-1].gantry_deg - stop) % 360.0)
        for beam in plan.beams
    ]
    way = sum(abs(after[0] - before[1]) for before, after in pairwise(ends))
    beams = tuple(_beam(beam, machine) for beam in plan.beams)
    return PlanDelivery(beams, way / machine.motion.gantry_deg_per_s)


def interval_seconds(beam: Beam, machine: Machine) -> Float:
    """Shortest time of each interval between control points, s: gantry, dose rate or the fastest leaf decides.

    Acceleration of gantry and leaves and changes of the dose rate are taken as instant.

    Parameters
    ----------
    beam : Beam
        Its control points.
    machine : Machine
        Dose rate, and speeds of gantry and leaves.
    """
    points, motion = beam.control_points, machine.motion
    mu = np.diff([point.mu for point in points])
    turns = np.array([abs((b.gantry_deg - a.gantry_deg + 180.0) % 360.0 - 180.0) for a, b in pairwise(points)])
    seconds: Float = np.maximum(mu * 60.0 / machine.max_mu_per_minute, turns / motion.gantry_deg_per_s)
    ends = _leaf_ends(beam)
    if ends is not None:
        ways = np.abs(np.diff(ends, axis=0)).max(axis=(1, 2), initial=0.0)
        seconds = np.maximum(seconds, ways / motion.leaf_mm_per_s)
    return seconds


def _beam(beam: Beam, machine: Machine) -> BeamDelivery:
    return BeamDelivery(beam.name, float(interval_seconds(beam, machine).sum()), _complexity(beam))


def _leaf_ends(beam: Beam) -> Float | None:
    """Leaf ends at the control points, mm: (points, 2, pairs)."""
    leaves = [point.leaves_mm for point in beam.control_points if point.leaves_mm is not None]
    return np.array(leaves) if len(leaves) == len(beam.control_points) else None


def _complexity(beam: Beam) -> float | None:
    """Modulation complexity score of what is seen between the jaws: closed pairs are parked behind them."""
    points, ends = beam.control_points, _leaf_ends(beam)
    mu = np.diff([point.mu for point in points])
    if ends is None or not mu.sum() > 0:
        return None
    edges = np.asarray(beam.leaf_boundaries_mm)
    low = min(point.jaws_y_mm[0] for point in points)
    high = max(point.jaws_y_mm[1] for point in points)
    x1, x2 = np.array([point.jaws_x_mm for point in points]).T[:, :, None, None]
    seen = np.clip(ends[:, :, (edges[1:] > low) & (edges[:-1] < high)], x1, x2)
    return modulation_complexity(mu, seen[:, 0], seen[:, 1])
