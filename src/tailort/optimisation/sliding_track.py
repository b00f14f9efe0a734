"""Leaves that slide over the field of a gantry at rest: what each beamlet gets, and its derivative by the ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.aperture import LeafField, SegmentDose, worth_summing
from tailort.optimisation.arc_motion import ArcField, ArcTrack, by_ends, longest_moves
from tailort.patient import Influence
from tailort.physics.machine import Machine

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SlideField:
    """What one sweep sees: the beamlets of a beam, or of the part of it that one carriage position reaches.

    Places within the jaws that have no beamlets are there too, after the beamlets, so that what leaves let through
    there is counted. Columns are from the axis; the X jaws are on edges of columns.

    Parameters
    ----------
    field : ArcField
        Beamlets and places, as one sector.
    beam : int
        Index of the beam in `Beamlets.setups`.
    part, parts : int
        Which of the carriage positions of this beam, from 0, and their number.
    beamlets : int
        Number of beamlets; what follows in `field` are places without.
    jaws : (low, high, first, last)
        Columns between which the X jaws are open, first pair between the Y jaws and the one after the last.
    reach : (float, float)
        Columns between which all leaf ends stay; beyond the X jaws pairs wait.
    """

    field: ArcField
    beam: int
    part: int
    parts: int
    beamlets: int
    jaws: tuple[int, int, int, int]
    reach: tuple[float, float]

    @classmethod
    def of(
        cls,
        field: LeafField,
        intervals: int,
        jaws: tuple[int, int, int, int],
        reach: tuple[float, float],
        part: tuple[int, int] = (0, 1),
    ) -> SlideField:
        """Add the places without beamlets to those of a beam."""
        whole = ArcField.of((field,), intervals)
        low, high, first, last = jaws
        has_beamlets = np.zeros((whole.pairs, high - low), dtype=bool)
        columns = np.arange(low, high) - field.first_column
        inside = (columns >= 0) & (columns < field.columns)
        has_beamlets[:, inside] = field.usable[:, columns[inside]]
        pair, column = np.nonzero(~has_beamlets[first:last])
        extended = replace(
            whole,
            starts=np.array([0, len(whole.beamlets) + len(pair)]),
            # Places in the vectors of this sweep alone (`prices`), not columns of the influence matrix.
            beamlets=np.arange(len(whole.beamlets) + len(pair)),
            pair=np.concatenate([whole.pair, pair + first]),
            column=np.concatenate([whole.column, column + low]),
        )
        return cls(extended, field.beam, *part, len(whole.beamlets), jaws, reach)

    @property
    def own(self) -> NDArray[np.int64]:
        """Columns of the influence matrix."""
        return self.field.fields[0].beamlets

    @property
    def pairs(self) -> int:
        """Number of leaf pairs between the Y jaws."""
        return self.jaws[3] - self.jaws[2]

    def prices(self, price: Float, price_of_place: float) -> Float:
        """Price of each beamlet, and the one price of all places without."""
        places = len(self.field.beamlets) - self.beamlets
        return np.concatenate([price[self.own], np.full(places, price_of_place)])


@dataclass(frozen=True, eq=False)
class SlideTrack:
    """Where the leaf ends of one sweep are.

    Parameters
    ----------
    field : SlideField
        What it sees.
    left, right : (points, pairs) float
        Of the pairs between the Y jaws: open from left to right at each control point, columns from the axis; in
        between the ends move evenly. This is where the beam begins and ends: with round leaf ends a pair is set closer
        than it is open.
    """

    field: SlideField
    left: Float
    right: Float

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
        return self.field.field.width_mm

    def exposure(self, machine: Machine) -> Float:
        """Share of the open fluence that each beamlet and then each place without gets: (intervals, n).

        What leaves cover keeps their transmission, what a jaw covers that of the jaw, what several cover that of all.
        """
        opened = self._track().exposures(replace(machine, leaf_transmission=0.0, jaw_transmission=0.0))[0]
        leaf = machine.leaf_transmission
        exposure: Float = self._past_jaws(machine) * (leaf + (1.0 - leaf) * opened)
        return exposure

    def by_ends(self, mu: Float, prices: Float, machine: Machine) -> tuple[Float, Float]:
        """Derivative by the leaf ends of a value whose derivative by each entry of `exposure` is its price.

        Parameters
        ----------
        mu : (intervals,) float
            Of this sweep.
        prices : (n,) float
            Of beamlets and places, per MU (`SlideField.prices`).
        machine : Machine
            Its transmissions.

        Returns
        -------
        (points, pairs) by the left ends and by the right ends, per column
        """
        rows = slice(self.field.jaws[2], self.field.jaws[3])
        left, right = by_ends(self._track(), mu, self._past_jaws(machine) * prices, machine)
        return left[:, rows], right[:, rows]

    def _track(self) -> ArcTrack:
        """The same with all pairs of the beam; those behind the Y jaws are closed."""
        field = self.field.field
        rows = slice(self.field.jaws[2], self.field.jaws[3])
        ends = np.zeros((2, len(self.left), field.pairs))
        ends[:, :, rows] = self.left, self.right
        return ArcTrack.wide(field, ends[0], ends[1])

    def _past_jaws(self, machine: Machine) -> Float:
        """Share that the jaws let through to each beamlet and place."""
        low, high, first, last = self.field.jaws
        field = self.field.field
        x = (field.column >= low) & (field.column < high)
        y = (field.pair >= first) & (field.pair < last)
        past: Float = np.where(x, 1.0, machine.jaw_transmission) * np.where(y, 1.0, machine.jaw_transmission)
        return past


@dataclass(frozen=True, eq=False)
class SlideDose:
    """Dose of the intervals of all sweeps: a `DoseMap` by the MU of each interval, sweep after sweep.

    Parameters
    ----------
    influence : Influence
        Dose of the beamlets.
    fields : tuple of SlideField
        Of the sweeps.
    exposures : tuple of (intervals, n) float
        What each interval lets through to the beamlets and places of its sweep.
    """

    influence: Influence
    fields: tuple[SlideField, ...]
    exposures: tuple[Float, ...]

    @classmethod
    def of(cls, influence: Influence, tracks: Sequence[SlideTrack], machine: Machine) -> SlideDose:
        """Find what the intervals let through."""
        return cls(
            influence, tuple(track.field for track in tracks), tuple(track.exposure(machine) for track in tracks)
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of voxels and of intervals."""
        return self.influence.shape[0], sum(len(exposure) for exposure in self.exposures)

    def fluence(self, weights_mu: Float) -> Float:
        """Weight of each beamlet, MU, that the intervals add up to, transmission included."""
        total = np.zeros(self.influence.shape[1])
        for field, exposure, mu in zip(self.fields, self.exposures, self.parted(weights_mu), strict=True):
            total[field.own] += mu @ exposure[:, : field.beamlets]
        return total

    def beside(self, weights_mu: Float) -> float:
        """Sum of what all places without beamlets get, MU."""
        return sum(
            float((mu @ exposure[:, field.beamlets :]).sum())
            for field, exposure, mu in zip(self.fields, self.exposures, self.parted(weights_mu), strict=True)
        )

    def dose(self, weights_mu: Float) -> Float:
        """Dose of the rows, Gy per fraction."""
        return self.influence.dose(self.fluence(weights_mu))

    def gradient(self, by_dose: Float) -> Float:
        """Transpose of the map times a vector of the rows."""
        return self.by_price(self.influence.gradient(by_dose))

    def summed(self) -> SlideDose | SegmentDose:
        """The same by a column for each interval, where that is the smaller matrix."""
        if not worth_summing(self.influence, self.shape[1]):
            return self
        parts = [
            (field.own, exposure[:, : field.beamlets])
            for field, exposure in zip(self.fields, self.exposures, strict=True)
        ]
        return SegmentDose.summed(self.influence, parts)

    def by_price(self, price: Float, price_of_place: float = 0.0) -> Float:
        """Price of a MU of each interval, from that of each beamlet and of each place without."""
        return np.concatenate(
            [
                exposure @ field.prices(price, price_of_place)
                for field, exposure in zip(self.fields, self.exposures, strict=True)
            ]
        )

    def parted(self, per_interval: Float) -> list[Float]:
        """Part a vector of all intervals by sweep."""
        return np.split(per_interval, np.cumsum([len(exposure) for exposure in self.exposures])[:-1])
