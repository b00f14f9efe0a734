"""Openings of the leaves on the lattice of beamlets, their dose, and their place on the machine."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.patient import Beam, Beamlets, BeamSetup, ControlPoint, Influence
from tailort.patient.influence import Columns
from tailort.physics.machine import Machine

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Jaws = tuple[Float, Float, Int, Int]

# Closed pairs wait this far behind a jaw.
PARK_MM = 5.0


@dataclass(frozen=True, eq=False)
class LeafField:
    """The beamlets of one beam, by leaf pair and column.

    Parameters
    ----------
    beam : int
        Index of the beam in `Beamlets.setups`.
    first_pair, pairs : int
        First leaf pair that sees beamlets, and number of pairs.
    first_column, columns : int
        First column (its lower edge is at first_column * width), and number of columns.
    beamlets : (n,) int
        The beam's beamlets in the order of `Beamlets`.
    pair, column : (n,) int
        Place of each, counted from the first pair and column; wide leaves hold several beamlets at one place.
    usable : (pairs, columns) bool
        Where the whole leaf width has beamlets.
    width_mm : float
        Of a column at the isocentre plane.
    """

    beam: int
    first_pair: int
    pairs: int
    first_column: int
    columns: int
    beamlets: Int
    pair: Int
    column: Int
    usable: NDArray[np.bool_]
    width_mm: float

    def gather(self, per_beamlet: Float) -> Float:
        """Sum a quantity of all beamlets at each place: (pairs, columns)."""
        places = self.pair * self.columns + self.column
        total = np.bincount(places, per_beamlet[self.beamlets], self.pairs * self.columns)
        return total.astype(np.float64).reshape(self.pairs, self.columns)

    def mean(self, per_beamlet: Float) -> Float:
        """Mean of a quantity of all beamlets at each place: (pairs, columns); 0 where there are none."""
        count = np.bincount(self.pair * self.columns + self.column, minlength=self.pairs * self.columns)
        return self.gather(per_beamlet) / np.maximum(count, 1).reshape(self.pairs, self.columns)


def leaf_fields(beamlets: Beamlets, machine: Machine) -> tuple[LeafField, ...]:
    """Arrange the beamlets of every beam by leaf pair and column.

    Raises
    ------
    InputError
        When the beamlets do not follow the leaf edges or the columns.
    """
    edges = np.asarray(machine.leaf_boundaries_mm)
    half = beamlets.width_y_mm / 2
    pair = np.clip(np.searchsorted(edges, beamlets.y_mm, side="right") - 1, 0, len(edges) - 2)
    place = beamlets.x_mm / beamlets.width_x_mm - 0.5
    fits = (
        (np.abs(place - np.round(place)) < 1e-6)
        & (beamlets.y_mm - half > edges[pair] - 1e-6)
        & (beamlets.y_mm + half < edges[pair + 1] + 1e-6)
    )
    if not fits.all():
        raise InputError(
            f"the beamlets do not lie on the leaves of machine '{machine.id}'; make them with beamlets_covering"
        )
    column = np.round(place).astype(np.int64)
    needed = np.round(np.diff(edges) / beamlets.width_y_mm)
    fields = []
    for beam in range(len(beamlets.setups)):
        own = np.flatnonzero(beamlets.beam == beam)
        if len(own) == 0:
            continue
        p0, c0 = int(pair[own].min()), int(column[own].min())
        pairs, columns = int(pair[own].max()) - p0 + 1, int(column[own].max()) - c0 + 1
        count = np.zeros((pairs, columns))
        places = (pair[own] - p0, column[own] - c0)
        np.add.at(count, places, 1)
        usable = count == needed[p0 : p0 + pairs, None]
        fields.append(LeafField(beam, p0, pairs, c0, columns, own, *places, usable, beamlets.width_x_mm))
    return tuple(fields)


@dataclass(frozen=True, eq=False)
class Openings:
    """Openings of the leaves of one beam, one a segment; leaf ends are counted in columns of the beam's field.

    Parameters
    ----------
    field : LeafField
        Of the beam.
    left, right : (segments, pairs) float
        Open from left to right, from the lower edge of the field's first column; equal where the pair is closed.
    """

    field: LeafField
    left: Float
    right: Float

    def __len__(self) -> int:
        return len(self.left)

    @property
    def is_open(self) -> NDArray[np.bool_]:
        """Which pairs of which segment are open: (segments, pairs)."""
        opened: NDArray[np.bool_] = self.right > self.left
        return opened

    def take(self, segments: NDArray[np.bool_] | Int) -> Openings:
        """Return some of the segments."""
        return Openings(self.field, self.left[segments], self.right[segments])

    def jaws(self) -> Jaws:
        """Lowest and highest open column edge, first open pair and the one after the last, of each segment."""
        opened = self.is_open
        last = self.field.pairs - np.argmax(opened[:, ::-1], axis=1)
        return (
            np.where(opened, self.left, np.inf).min(axis=1),
            np.where(opened, self.right, -np.inf).max(axis=1),
            np.argmax(opened, axis=1),
            np.where(opened.any(axis=1), last, 0),
        )

    def exposure(self, machine: Machine, jaws: Jaws | None = None) -> Float:
        """Share of the open fluence that each beamlet gets: (segments, n), in the order of `field.beamlets`.

        1 in the opening, the covered part where a leaf end lies within a beamlet, the leaves' transmission behind
        leaves, the leaves' times the jaws' behind both. Jaws are drawn up to the opening unless other `jaws` are given.
        """
        column, pair = self.field.column, self.field.pair
        opened = _covered(self.left[:, pair], self.right[:, pair], column)
        low, high, first, last = self.jaws() if jaws is None else jaws
        within = _covered(low[:, None], high[:, None], column)
        within *= (pair >= first[:, None]) & (pair < last[:, None])
        leaf = machine.leaf_transmission
        # Behind a jaw the leaves are closed too, so that both weaken the beam.
        hidden = leaf * machine.jaw_transmission
        return hidden + (leaf - hidden) * within + (1.0 - leaf) * opened


def _covered(low: Float, high: Float, column: Int) -> Float:
    """Part of each column between low and high."""
    part: Float = np.minimum(high, column + 1.0) - np.maximum(low, column)
    return np.maximum(part, 0.0, out=part)


def fluence_of(openings: Sequence[Openings], mu: Float, machine: Machine, beamlets: int) -> Float:
    """Weight of each beamlet, MU, that the segments of all beams add up to, transmission included."""
    fluence = np.zeros(beamlets)
    first = 0
    for opening in openings:
        fluence[opening.field.beamlets] += mu[first : first + len(opening)] @ opening.exposure(machine)
        first += len(opening)
    return fluence


def ranges(parts: Sequence[Sized]) -> list[tuple[int, int]]:
    """First entry of each part, and the one after its last, in the vector of all parts one after the other."""
    return list(pairwise(np.cumsum([0] + [len(part) for part in parts]).tolist()))


def least_opening_mm(machine: Machine) -> float:
    """Narrowest field between two leaf ends, mm: the smallest gap, and what round ends open beyond it."""
    return machine.leaf_gap_mm + machine.head.leaf_end_gap_mm


def beam_of(setup: BeamSetup, machine: Machine, points: Sequence[ControlPoint], dynamic: bool = False) -> Beam:
    """Beam of a machine from its control points.

    Parameters
    ----------
    setup : BeamSetup
        Name, number and isocentre.
    machine : Machine
        What delivers it.
    points : sequence of ControlPoint
        In order of delivery.
    dynamic : bool
        Whether leaves or gantry move while the beam is on.
    """
    return Beam(
        setup.name,
        setup.number,
        machine.id,
        machine.energy_mv,
        machine.flattened,
        setup.isocentre_mm,
        machine.leaf_boundaries_mm,
        tuple(points),
        dynamic=dynamic,
        source_axis_distance_mm=machine.source_axis_distance_mm,
    )


@dataclass(frozen=True, eq=False)
class SegmentDose:
    """Dose of segments in the rows of an influence matrix: a `DoseMap` by the MU of each segment.

    Parameters
    ----------
    per_mu : (rows, segments) float
        Gy per fraction per MU.
    """

    per_mu: Float

    @classmethod
    def of(cls, influence: Influence, openings: Sequence[Openings], machine: Machine) -> SegmentDose:
        """Sum the beamlets of each segment."""
        return cls.summed(influence, [(opening.field.beamlets, opening.exposure(machine)) for opening in openings])

    @classmethod
    def summed(cls, influence: Influence, parts: Sequence[tuple[Int, Float]]) -> SegmentDose:
        """Sum the beamlets of each segment.

        Parameters
        ----------
        influence : Influence
            Dose of the beamlets.
        parts : sequence of (beamlets (n,), share (segments, n))
            Segments one after the other, and what of the open fluence each gives to some beamlets.
        """
        ends = np.cumsum([len(share) for _, share in parts])
        per_mu = np.zeros((influence.shape[0], int(ends[-1])))
        left = list(zip(parts, ends.tolist(), strict=True))
        # In one walk over the matrix each beamlet serves one part.
        while left:
            longest = max(len(share) for (_, share), _ in left)
            exposure = np.zeros((influence.shape[1], longest))
            first, number = np.zeros((2, influence.shape[1]), dtype=np.int64)
            later = []
            for (own, share), end in left:
                if number[own].any():
                    later.append(((own, share), end))
                    continue
                exposure[own, : len(share)] = share.T
                first[own] = end - len(share)
                number[own] = len(share)
            _add_segments(per_mu, influence.values, influence.columns, influence.starts, exposure, first, number)
            left = later
        return cls(per_mu)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of voxels and of segments."""
        rows, segments = self.per_mu.shape
        return rows, segments

    def dose(self, weights_mu: Float) -> Float:
        """Dose of the rows, Gy per fraction."""
        dose: Float = self.per_mu @ weights_mu
        return dose

    def gradient(self, by_dose: Float) -> Float:
        """Transpose of the map times a vector of the rows."""
        gradient: Float = by_dose @ self.per_mu
        return gradient


def worth_summing(influence: Influence, segments: int) -> bool:
    """Whether a matrix with a column for each of so many segments is smaller than that of the beamlets."""
    whole = 8 * influence.shape[0] * segments
    return whole <= influence.values.nbytes + influence.columns.nbytes


@numba.njit(cache=True, parallel=True)
def _add_segments(
    out: Float,
    values: NDArray[np.float32],
    columns: Columns,
    starts: Int,
    exposure: Float,
    first: Int,
    number: Int,
) -> None:  # pragma: no cover - compiled
    for r in numba.prange(starts.size - 1):
        for n in range(starts[r], starts[r + 1]):
            c = columns[n]
            for s in range(number[c]):
                out[r, first[c] + s] += values[n] * exposure[c, s]
