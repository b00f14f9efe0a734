"""What leaves and jaws let through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.patient.plan import Beam, BeamSetup, ControlPoint, Pair
from tailort.physics.machine import Machine

Float = NDArray[np.float64]

# A beam that moves is cut into pieces no longer than these.
MAX_LEAF_STEP_MM = 2.0
MAX_GANTRY_STEP_DEG = 2.5
# Opposite leaves nearer than this touch.
TOUCHING_MM = 0.05
# Between two control points the gantry takes the shorter way; beyond this the way is not certain.
MAX_GANTRY_INTERVAL_DEG = 90.0


@dataclass(frozen=True, eq=False)
class Exposure:
    """A part of a beam during which it stands in one direction.

    Parameters
    ----------
    setup : BeamSetup
        Direction.
    segments : tuple of (float, ControlPoint)
        MU and aperture.
    """

    setup: BeamSetup
    segments: tuple[tuple[float, ControlPoint], ...]


def exposures(beam: Beam) -> list[Exposure]:
    """Divide a beam into directions, each with its apertures and MU.

    Segments from the same direction are collected. A dynamic beam is cut into steps of at most `MAX_LEAF_STEP_MM`
    of any leaf or jaw and `MAX_GANTRY_STEP_DEG` of the gantry, each at its middle.

    Raises
    ------
    InputError
        When the gantry of a dynamic beam turns so far between two control points that its way is not certain.
    """
    by_direction: dict[tuple[float, float, float], list[tuple[float, ControlPoint]]] = {}
    for mu, segment in _steps(beam) if beam.dynamic else beam.segments():
        direction = (segment.gantry_deg, segment.collimator_deg, segment.couch_deg)
        by_direction.setdefault(direction, []).append((mu, segment))
    return [
        Exposure(replace(beam.setup, gantry_deg=g, collimator_deg=c, couch_deg=s), tuple(segments))
        for (g, c, s), segments in by_direction.items()
    ]


def fluence(exposure: Exposure, beam: Beam, machine: Machine, x_edges_mm: Float, y_edges_mm: Float) -> Float:
    """Mean fluence in each pixel of the isocentre plane, in MU of open beam.

    Leaf ends and jaws may lie anywhere: a pixel that is partly open counts partly, exactly by area. Behind leaves
    and jaws their transmission remains; beyond the largest field and beyond the leaves' side there is nothing. Round
    leaf ends open a pair by `Head.leaf_end_gap_mm` more than it is set (`leaf_ends_mm`).

    Parameters
    ----------
    exposure : Exposure
        Apertures and MU.
    beam : Beam
        Tells the leaf boundaries.
    machine : Machine
        Tells the transmissions and the largest field.
    x_edges_mm : (nx + 1,) float
        Pixel edges, IEC 61217 beam limiting device axes at the isocentre, mm.
    y_edges_mm : (ny + 1,) float
        The same along y.

    Returns
    -------
    (ny, nx) float
        MU.
    """
    limit = machine.jaw_limit_mm
    boundaries = np.clip(np.array(beam.leaf_boundaries_mm or (-limit, limit), dtype=np.float64), -limit, limit)
    bank = np.stack([boundaries[:-1], boundaries[1:]])
    largest = _inside(np.array([[-limit], [limit]]), x_edges_mm)
    leaf_rows = _inside(bank, y_edges_mm)
    by_jaw, by_leaf = machine.jaw_transmission, machine.leaf_transmission
    # Segments with the same Y jaws differ along the leaves only.
    by_jaws_y: dict[Pair, Float] = {}
    for mu, segment in exposure.segments:
        jaws_x = np.clip(np.array(segment.jaws_x_mm), -limit, limit)
        if segment.leaves_mm is None:
            ends = np.tile([[-limit], [limit]], bank.shape[1])
        else:
            ends = np.clip(leaf_ends_mm(segment.leaves_mm, machine.head.leaf_end_gap_mm), -limit, limit)
        jaw = _inside(jaws_x[:, None], x_edges_mm)
        leaf = _inside(ends, x_edges_mm)
        both = _inside(np.stack([np.maximum(ends[0], jaws_x[0]), np.minimum(ends[1], jaws_x[1])]), x_edges_mm)
        neither = largest - jaw - leaf + both
        along_x = both + by_jaw * (leaf - both) + by_leaf * (jaw - both) + by_jaw * by_leaf * neither
        sums = by_jaws_y.setdefault(segment.jaws_y_mm, np.zeros_like(along_x))
        sums += mu * along_x
    total = np.zeros((len(y_edges_mm) - 1, len(x_edges_mm) - 1))
    for jaws_y, along_x in by_jaws_y.items():
        low, high = np.clip(np.array(jaws_y), -limit, limit)
        open_rows = _inside(np.stack([np.maximum(bank[0], low), np.minimum(bank[1], high)]), y_edges_mm)
        total += (open_rows + by_jaw * (leaf_rows - open_rows)).T @ along_x
    return total


def leaf_ends_mm(leaves_mm: Float, gap_mm: float) -> Float:
    """Where leaves with round ends let the beam begin and end, (2, pairs) mm.

    Parameters
    ----------
    leaves_mm : (2, pairs) float
        Set positions.
    gap_mm : float
        By which an opening is wider than it is set; pairs that touch stay closed.
    """
    half = np.where(leaves_mm[1] - leaves_mm[0] > TOUCHING_MM, 0.5 * gap_mm, 0.0)
    ends: Float = np.stack([leaves_mm[0] - half, leaves_mm[1] + half])
    return ends


def _inside(intervals: Float, edges: Float) -> Float:
    """Share (n, pixels) of each pixel that lies within each interval (2, n)."""
    low = np.maximum(intervals[0][:, None], edges[None, :-1])
    high = np.minimum(intervals[1][:, None], edges[None, 1:])
    share: Float = np.maximum(high - low, 0.0) / np.diff(edges)
    return share


def _steps(beam: Beam) -> Iterator[tuple[float, ControlPoint]]:
    for before, after in pairwise(beam.control_points):
        mu = after.mu - before.mu
        if mu <= 1e-9:
            continue
        turn = _turn(before.gantry_deg, after.gantry_deg)
        if abs(turn) > MAX_GANTRY_INTERVAL_DEG:
            raise InputError(
                f"beam '{beam.name}': the gantry turns by {abs(turn):g} degrees between two control points, so its way "
                f"is not certain; give control points at most {MAX_GANTRY_INTERVAL_DEG:g} degrees apart"
            )
        move = max(
            float(np.abs(np.subtract(before.jaws_x_mm, after.jaws_x_mm)).max()),
            float(np.abs(np.subtract(before.jaws_y_mm, after.jaws_y_mm)).max()),
        )
        if before.leaves_mm is not None and after.leaves_mm is not None:
            move = max(move, float(np.abs(before.leaves_mm - after.leaves_mm).max()))
        turns = max(1, int(np.ceil(abs(turn) / MAX_GANTRY_STEP_DEG)))
        pieces = turns * max(1, int(np.ceil(move / MAX_LEAF_STEP_MM / turns)))
        for n in range(pieces):
            part = (n + 0.5) / pieces
            # Pieces of one gantry step share its middle angle.
            angle = (n * turns // pieces + 0.5) / turns
            leaves = None
            if before.leaves_mm is not None and after.leaves_mm is not None:
                leaves = before.leaves_mm + part * (after.leaves_mm - before.leaves_mm)
            yield (
                mu / pieces,
                ControlPoint(
                    before.mu + part * mu,
                    (before.gantry_deg + angle * turn) % 360.0,
                    (before.collimator_deg + angle * _turn(before.collimator_deg, after.collimator_deg)) % 360.0,
                    (before.couch_deg + angle * _turn(before.couch_deg, after.couch_deg)) % 360.0,
                    _between(before.jaws_x_mm, after.jaws_x_mm, part),
                    _between(before.jaws_y_mm, after.jaws_y_mm, part),
                    leaves,
                ),
            )


def _turn(from_deg: float, to_deg: float) -> float:
    """Angle of the shorter way, degrees in (-180, 180]."""
    return -((from_deg - to_deg + 180.0) % 360.0 - 180.0)


def _between(before: Pair, after: Pair, part: float) -> Pair:
    return (before[0] + part * (after[0] - before[0]), before[1] + part * (after[1] - before[1]))
