"""First leaf tracks of a sliding window: each beam's fluence as one sweep, or one for each carriage position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.aperture import PARK_MM, LeafField, least_opening_mm
from tailort.optimisation.sliding_sweep import needed_units, sweep
from tailort.optimisation.sliding_track import SlideField, SlideTrack
from tailort.physics.machine import Machine, Motion

Float = NDArray[np.float64]

# Carriage positions of a wide field overlap by so much, mm.
OVERLAP_MM = 20.0
# Rounds in which a sweep's own leakage is taken from what the leaves are to let through.
LEAKAGE_ROUNDS = 4


@dataclass(frozen=True)
class Sweeping:
    """How a machine sweeps.

    Parameters
    ----------
    machine : Machine
        Leaves, jaws, transmission and dose rate.
    limits : Motion
        Its leaf speed.
    intervals : int
        Of each sweep, all of the same MU.
    most_travel : float
        MU that a sweep may deliver because its leaves have to cross the field, as a share of those that its fluence
        needs; where they would be more, the dose rate is lower.
    interdigitation : bool
        Whether leaves may pass the opposite leaves of the next pairs.
    """

    machine: Machine
    limits: Motion
    intervals: int
    most_travel: float
    interdigitation: bool

    def __post_init__(self) -> None:
        if self.machine.leaf_pairs == 0:
            raise InputError(f"machine '{self.machine.id}' has no leaves: it cannot deliver a sliding window")
        if self.intervals < 2:
            raise InputError(
                f"a sliding window of {self.intervals} interval(s) cannot follow a fluence; expected at least 2"
            )
        if not self.most_travel > 0:
            raise InputError(f"leaves cannot cross a field in {self.most_travel:g} of its MU; expected a share above 0")


@dataclass(frozen=True, eq=False)
class FirstSweep:
    """One sweep that delivers a fluence.

    Parameters
    ----------
    track : SlideTrack
        Leaf ends at control points of which each comes as many MU after the one before it.
    units : float
        MU of the sweep.
    seconds : float
        It takes so long at the dose rate for which its leaves are fast enough.
    """

    track: SlideTrack
    units: float
    seconds: float


def first_sweeps(field: LeafField, fluence_mu: Float, how: Sweeping) -> list[FirstSweep]:
    """Sweeps that deliver the fluence of a beam with their leakage, one for each carriage position.

    Parameters
    ----------
    field : LeafField
        Of the beam.
    fluence_mu : (beamlets,) float
        Wanted weight of each beamlet of all beams, MU.
    how : Sweeping
        What the machine can do.

    Returns
    -------
    list of FirstSweep
        Empty where nothing is wanted. Sweeps of fewer MU than the machine gives are left out.

    Raises
    ------
    InputError
        When the leaves' span leaves no room for an opening.

    References
    ----------
    Spirou & Chui 1994, Med Phys 21:1031, doi 10.1118/1.597345.
    """
    wanted = np.where(field.usable, field.mean(fluence_mu), 0.0)
    machine = how.machine
    limit = machine.jaw_limit_mm / field.width_mm
    edges = field.first_column + np.arange(field.columns)
    wanted[:, (edges < -limit) | (edges + 1 > limit)] = 0.0
    leak, total = machine.leaf_transmission, 0.0
    found: list[FirstSweep] = []
    for _ in range(LEAKAGE_ROUNDS):
        # What comes through the leaves need not come between them.
        profile = np.maximum(wanted - leak * total, 0.0) / (1.0 - leak)
        if not profile.any():
            return []
        found = _swept(field, profile, how)
        total = sum(one.units for one in found) / len(found)
    return [one for one in found if one.units >= machine.min_segment_mu]


def _swept(field: LeafField, profile: Float, how: Sweeping) -> list[FirstSweep]:
    machine, speed = how.machine, how.limits.leaf_mm_per_s
    least = least_opening_mm(machine) / field.width_mm
    beyond = int(np.ceil(PARK_MM / field.width_mm + least))
    rows, columns = np.flatnonzero(profile.any(axis=1)), np.flatnonzero(profile.any(axis=0))
    first, last = int(rows[0]), int(rows[-1]) + 1
    parts = _carriages(int(columns[-1] - columns[0]) + 1, field, machine, beyond)
    found = []
    for n, (start, shares) in enumerate(parts):
        low = int(columns[0]) + start
        own = profile[first:last, low : low + len(shares)] * shares
        if not own.any():
            continue
        needed = max(needed_units(row, 0.0) for row in own)
        # The dose rate at which the leaves' way takes no more MU than it may.
        way_s = len(shares) * field.width_mm / speed
        mu_per_s = min(machine.max_mu_per_minute / 60.0, how.most_travel * needed / way_s)
        swept = sweep(own, mu_per_s * field.width_mm / speed, least, beyond, not how.interdigitation)
        low += field.first_column
        high = low + len(shares)
        reach = (
            max(low - beyond, machine.leaf_reach_mm[0] / field.width_mm),
            min(high + beyond, machine.leaf_reach_mm[1] / field.width_mm),
        )
        left, right = swept.ends(np.linspace(0.0, swept.units, how.intervals + 1))
        seen = SlideField.of(field, how.intervals, (low, high, first, last), reach, (n, len(parts)))
        found.append(FirstSweep(SlideTrack(seen, low + left, low + right), swept.units, swept.units / mu_per_s))
    return found


def _carriages(width: int, field: LeafField, machine: Machine, beyond: int) -> list[tuple[int, Float]]:
    """First column of each carriage position and its share of the fluence of its columns.

    Shares fade where positions overlap, so that no edge of one meets an edge of the other; they add up to 1.
    """
    most = int(machine.leaf_span_mm / field.width_mm) - 2 * beyond
    if most < 1:
        raise InputError(
            f"leaves of machine '{machine.id}' span {machine.leaf_span_mm:g} mm, which leaves no room for a sliding "
            f"window whose pairs wait {beyond * field.width_mm:g} mm beyond each jaw"
        )
    if width <= most:
        return [(0, np.ones(width))]
    overlap = min(int(OVERLAP_MM / field.width_mm), most - 1)
    number = -(-(width - overlap) // (most - overlap))
    size = -(-(width + (number - 1) * overlap) // number)
    starts = np.linspace(0, width - size, number).round().astype(int)
    columns = np.arange(width)
    ramps = np.zeros((number, width))
    for n, start in enumerate(starts):
        up = columns - start + 0.5 if n > 0 else np.full(width, np.inf)
        down = start + size - columns - 0.5 if n < number - 1 else np.full(width, np.inf)
        inside = (columns >= start) & (columns < start + size)
        ramps[n, inside] = np.minimum(np.minimum(up, down), width)[inside]
    shares = ramps / ramps.sum(axis=0)
    return [(int(start), shares[n, start : start + size]) for n, start in enumerate(starts)]
