"""Leaves that move while the gantry turns: what each beamlet of an arc gets, and its derivative by the leaf ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.aperture import LeafField, Openings, SegmentDose, worth_summing
from tailort.patient import Influence
from tailort.physics.machine import Machine

Float = NDArray[np.float64]
Int = NDArray[np.int64]

# Below this motion (columns) a leaf end counts as standing still: differences would lose their digits.
STILL = 1e-4


@dataclass(frozen=True, eq=False)
class ArcField:
    """The beamlets of one arc, sector by sector, by leaf pair and column.

    Each sector of the arc has the beamlets of the angle in its middle and is cut into the same number of intervals;
    control points are the ends of intervals. Columns are counted from the axis: column c is from c to c + 1 widths.

    Parameters
    ----------
    fields : tuple of LeafField
        Of each sector, in order of delivery.
    intervals : int
        Of each sector.
    first_pair, pairs : int
        First leaf pair that sees beamlets in any sector, and number of pairs.
    starts : (sectors + 1,) int
        First entry of each sector in the following.
    beamlets, pair, column : (n,) int
        Column of the influence matrix, leaf pair (from the first) and column of each beamlet.
    lowest, highest : (sectors, pairs) float
        Columns between which the whole leaf width has beamlets; infinite and the wrong way round where it has none.
    width_mm : float
        Of a column at the isocentre plane.
    """

    fields: tuple[LeafField, ...]
    intervals: int
    first_pair: int
    pairs: int
    starts: Int
    beamlets: Int
    pair: Int
    column: Int
    lowest: Float
    highest: Float
    width_mm: float

    @classmethod
    def of(cls, fields: Sequence[LeafField], intervals: int) -> ArcField:
        """Join the fields of an arc's sectors, in order of delivery."""
        if not fields or intervals < 1:
            raise InputError(f"an arc needs at least one sector and one interval; found {len(fields)} and {intervals}")
        first = min(field.first_pair for field in fields)
        pairs = max(field.first_pair + field.pairs for field in fields) - first
        lowest = np.full((len(fields), pairs), np.inf)
        highest = np.full((len(fields), pairs), -np.inf)
        for n, field in enumerate(fields):
            rows = np.flatnonzero(field.usable.any(axis=1))
            lowest[n, field.first_pair - first + rows] = field.first_column + np.argmax(field.usable[rows], axis=1)
            last = field.columns - np.argmax(field.usable[rows, ::-1], axis=1)
            highest[n, field.first_pair - first + rows] = field.first_column + last
        return cls(
            tuple(fields),
            intervals,
            first,
            pairs,
            np.cumsum([0] + [len(field.beamlets) for field in fields]),
            np.concatenate([field.beamlets for field in fields]),
            np.concatenate([field.pair + field.first_pair - first for field in fields]),
            np.concatenate([field.column + field.first_column for field in fields]),
            lowest,
            highest,
            fields[0].width_mm,
        )

    @property
    def points(self) -> int:
        """Number of control points."""
        return len(self.fields) * self.intervals + 1


def longest_moves(left: Float, right: Float) -> Float:
    """Largest motion of an end in each interval: (intervals,), from ends (points, pairs)."""
    longest: Float = np.maximum(*(np.abs(np.diff(ends, axis=0)).max(axis=1, initial=0.0) for ends in (left, right)))
    return longest


@dataclass(frozen=True, eq=False)
class ArcTrack:
    """Where the leaf ends and jaws of an arc are.

    Parameters
    ----------
    field : ArcField
        Of the arc.
    left, right : (points, pairs) float
        Open from left to right at each control point, columns; in between the ends move evenly. This is where the
        beam begins and ends: with round leaf ends a pair is set closer than it is open.
    jaws : (low, high, first, last)
        Columns between which the X jaws are open, first pair between the Y jaws and the one after the last.
    """

    field: ArcField
    left: Float
    right: Float
    jaws: tuple[float, float, int, int]

    @classmethod
    def wide(cls, field: ArcField, left: Float, right: Float) -> ArcTrack:
        """Return a track whose jaws show the whole field."""
        low, high = float(np.min(field.lowest)), float(np.max(field.highest))
        return cls(field, left, right, (low, high, 0, field.pairs))

    def __len__(self) -> int:
        """Return the number of intervals."""
        return len(self.left) - 1

    @property
    def travel(self) -> Float:
        """Largest motion of a leaf end in each interval, columns: (intervals,)."""
        return longest_moves(self.left, self.right)

    @property
    def width_mm(self) -> float:
        """Of a column at the isocentre plane."""
        return self.field.width_mm

    def exposures(self, machine: Machine) -> list[Float]:
        """Share of the open fluence that each beamlet gets in the intervals of each sector: [(intervals, n), ...]."""
        flat = _exposure(*self._arguments(machine))
        steps = self.field.intervals
        return [flat[steps * a : steps * b].reshape(steps, b - a) for a, b in pairwise(self.field.starts.tolist())]

    def openings(self, sector: int, pieces: int) -> Openings:
        """Cut each interval of a sector into pieces of the same MU, each with its leaves at its middle."""
        field, steps = self.field.fields[sector], self.field.intervals
        own = slice(field.first_pair - self.field.first_pair, field.first_pair - self.field.first_pair + field.pairs)
        share = (np.arange(pieces) + 0.5)[:, None] / pieces
        ends = []
        for bank in (self.left, self.right):
            points = bank[steps * sector : steps * (sector + 1) + 1, own] - field.first_column
            ends.append(np.concatenate([a + share * (b - a) for a, b in pairwise(points)]))
        return Openings(field, ends[0], ends[1])

    def _arguments(self, machine: Machine) -> tuple[Float, Float, int, Int, Int, Int, Float]:
        field = self.field
        low, high, first, last = self.jaws
        within = np.clip(np.minimum(high, field.column + 1.0) - np.maximum(low, field.column), 0.0, 1.0)
        within *= (field.pair >= first) & (field.pair < last)
        # Behind a jaw the leaves are closed too, so that both weaken the beam.
        hidden = machine.leaf_transmission * machine.jaw_transmission
        base = hidden + (machine.leaf_transmission - hidden) * within
        return (
            self.left,
            self.right,
            field.intervals,
            field.starts,
            field.pair,
            field.column,
            np.stack([base, np.full(len(base), 1.0 - machine.leaf_transmission)]),
        )


@dataclass(frozen=True, eq=False)
class ArcDose:
    """Dose of the intervals of one or several arcs: a `DoseMap` by the MU of each interval, arc after arc.

    Parameters
    ----------
    influence : Influence
        Dose of the beamlets.
    tracks : tuple of ArcTrack
        The arcs.
    exposures : tuple of list of (intervals, n) float
        What each interval lets through to the beamlets of its sector.
    """

    influence: Influence
    tracks: tuple[ArcTrack, ...]
    exposures: tuple[list[Float], ...]

    @classmethod
    def of(cls, influence: Influence, tracks: Sequence[ArcTrack], machine: Machine) -> ArcDose:
        """Find what the intervals let through."""
        return cls(influence, tuple(tracks), tuple(track.exposures(machine) for track in tracks))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of voxels and of intervals."""
        return self.influence.shape[0], sum(len(track) for track in self.tracks)

    def fluence(self, weights_mu: Float) -> Float:
        """Weight of each beamlet, MU, that the intervals add up to, transmission included."""
        total = np.zeros(self.influence.shape[1])
        first = 0
        for track, exposures in zip(self.tracks, self.exposures, strict=True):
            for field, exposure in zip(track.field.fields, exposures, strict=True):
                total[field.beamlets] += weights_mu[first : first + len(exposure)] @ exposure
                first += len(exposure)
        return total

    def dose(self, weights_mu: Float) -> Float:
        """Dose of the rows, Gy per fraction."""
        return self.influence.dose(self.fluence(weights_mu))

    def gradient(self, by_dose: Float) -> Float:
        """Transpose of the map times a vector of the rows."""
        return self.by_price(self.influence.gradient(by_dose))

    def summed(self) -> ArcDose | SegmentDose:
        """The same by a column for each interval, where that is the smaller matrix."""
        if not worth_summing(self.influence, self.shape[1]):
            return self
        parts = [
            (field.beamlets, exposure)
            for track, exposures in zip(self.tracks, self.exposures, strict=True)
            for field, exposure in zip(track.field.fields, exposures, strict=True)
        ]
        return SegmentDose.summed(self.influence, parts)

    def by_price(self, price: Float) -> Float:
        """Price of a MU of each interval, from that of each beamlet."""
        return np.concatenate(
            [
                exposure @ price[field.beamlets]
                for track, exposures in zip(self.tracks, self.exposures, strict=True)
                for field, exposure in zip(track.field.fields, exposures, strict=True)
            ]
        )


def by_ends(track: ArcTrack, mu: Float, price: Float, machine: Machine) -> tuple[Float, Float]:
    """Derivative by the leaf ends of a value whose derivative by each beamlet's weight is its price.

    Parameters
    ----------
    track : ArcTrack
        The arc.
    mu : (intervals,) float
        Of the arc.
    price : (beamlets,) float
        Of all beamlets of the influence, per MU.
    machine : Machine
        Its leaf transmission.

    Returns
    -------
    (points, pairs) by the left ends and by the right ends, per column
    """
    field = track.field
    own = (1.0 - machine.leaf_transmission) * price[field.beamlets]
    return _by_end(track.left, mu, field.intervals, field.starts, field.pair, field.column, -own), _by_end(
        track.right, mu, field.intervals, field.starts, field.pair, field.column, own
    )


@numba.njit(cache=True)
def _area(u: float) -> float:  # pragma: no cover - compiled
    """Integral of a ramp from 0 to 1 between 0 and 1."""
    if u <= 0.0:
        return 0.0
    return 0.5 * u * u if u < 1.0 else u - 0.5


@numba.njit(cache=True)
def _passed(start: float, end: float, column: float) -> float:  # pragma: no cover - compiled
    """Part of a column below a leaf end, mean over its motion."""
    if abs(end - start) < STILL:
        return min(max(0.5 * (start + end) - column, 0.0), 1.0)
    return (_area(end - column) - _area(start - column)) / (end - start)


@numba.njit(cache=True)
def _passed_by_end(start: float, end: float, column: float) -> float:  # pragma: no cover - compiled
    """Derivative of `_passed` by where the motion ends."""
    if abs(end - start) < STILL:
        u = 0.5 * (start + end) - column
        # On the edge of a column the mean of both sides.
        return 0.5 if 0.0 < u < 1.0 else (0.25 if u in (0.0, 1.0) else 0.0)
    return (min(max(end - column, 0.0), 1.0) - _passed(start, end, column)) / (end - start)


@numba.njit(cache=True)
def _exposure(
    left: Float, right: Float, intervals: int, starts: Int, pair: Int, column: Int, shares: Float
) -> Float:  # pragma: no cover - compiled
    out = np.empty(intervals * starts[-1])
    at = 0
    for sector in range(starts.size - 1):
        for k in range(intervals * sector, intervals * (sector + 1)):
            for n in range(starts[sector], starts[sector + 1]):
                p = pair[n]
                opened = _passed(right[k, p], right[k + 1, p], column[n]) - _passed(
                    left[k, p], left[k + 1, p], column[n]
                )
                out[at] = shares[0, n] + shares[1, n] * opened
                at += 1
    return out


@numba.njit(cache=True)
def _by_end(
    ends: Float, mu: Float, intervals: int, starts: Int, pair: Int, column: Int, price: Float
) -> Float:  # pragma: no cover - compiled
    out = np.zeros(ends.shape)
    for sector in range(starts.size - 1):
        for k in range(intervals * sector, intervals * (sector + 1)):
            for n in range(starts[sector], starts[sector + 1]):
                p = pair[n]
                here, there = ends[k, p], ends[k + 1, p]
                out[k, p] += mu[k] * price[n] * _passed_by_end(there, here, column[n])
                out[k + 1, p] += mu[k] * price[n] * _passed_by_end(here, there, column[n])
    return out
