"""Openings of the leaves on the lattice of beamlets, their dose, and their place on the machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.patient import Beamlets, Influence
from tailort.physics.machine import Machine

Float = NDArray[np.float64]
Int = NDArray[np.int64]


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

    def gather(self, per_beamlet: Float) -> Float:
        """Sum a quantity of all beamlets at each place: (pairs, columns)."""
        total: Float = np.bincount(
            self.pair * self.columns + self.column, per_beamlet[self.beamlets], self.pairs * self.columns
        ).reshape(self.pairs, self.columns)
        return total


@dataclass(frozen=True, eq=False)
class Aperture:
    """One opening of the leaves of one beam; leaf ends are in columns of the beam's field.

    Parameters
    ----------
    field : LeafField
        Of its beam.
    left, right : (pairs,) float
        Open from left to right, counted in columns from the field's first column; equal where the pair is closed.
    """

    field: LeafField
    left: Float
    right: Float

    @property
    def open_pairs(self) -> NDArray[np.bool_]:
        """Which pairs are open."""
        return self.right > self.left

    def jaws(self) -> tuple[float, float, int, int]:
        """Return the lowest and highest open column edge, the first open pair and the one after the last."""
        opened = np.flatnonzero(self.open_pairs)
        return (
            float(self.left[opened].min()),
            float(self.right[opened].max()),
            int(opened[0]),
            int(opened[-1]) + 1,
        )

    def exposure(self, leaf_transmission: float, jaw_transmission: float) -> Float:
        """Share of the open fluence that each beamlet of the field gets, in the order of `field.beamlets`.

        1 in the opening, the covered part where a leaf end lies within a beamlet, the leaves' transmission behind
        leaves, the jaws' behind jaws that are drawn up to the opening.
        """
        field = self.field
        column = field.column.astype(np.float64)

        def inside(low: Float | float, high: Float | float) -> Float:
            covered: Float = np.clip(high - column, 0.0, 1.0) - np.clip(low - column, 0.0, 1.0)
            return covered

        opened = inside(self.left[field.pair], self.right[field.pair])
        low, high, first, last = self.jaws()
        within = inside(low, high) * ((field.pair >= first) & (field.pair < last))
        return jaw_transmission + (leaf_transmission - jaw_transmission) * within + (1.0 - leaf_transmission) * opened


def leaf_fields(beamlets: Beamlets, machine: Machine) -> tuple[LeafField, ...]:
    """Arrange the beamlets of every beam by leaf pair and column.

    Raises
    ------
    InputError
        When the beamlets do not follow the leaf edges or the columns.
    """
    width = beamlets.width_x_mm
    edges = np.asarray(machine.leaf_boundaries_mm)
    half = beamlets.width_y_mm / 2
    pair = np.searchsorted(edges, beamlets.y_mm, side="right") - 1
    place = beamlets.x_mm / width - 0.5
    fits = (pair >= 0) & (pair < len(edges) - 1) & (np.abs(place - np.round(place)) < 1e-6)
    if not fits.all() or (
        (beamlets.y_mm - half < edges[pair] - 1e-6) | (beamlets.y_mm + half > edges[pair + 1] + 1e-6)
    ).any():
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
        np.add.at(count, (pair[own] - p0, column[own] - c0), 1)
        usable = count == needed[p0 : p0 + pairs, None]
        fields.append(LeafField(beam, p0, pairs, c0, columns, own, pair[own] - p0, column[own] - c0, usable))
    return tuple(fields)


def fluence_of(apertures: list[Aperture], mu: Float, machine: Machine, beamlets: int) -> Float:
    """Weight of each beamlet, MU, that the apertures add up to, transmission included."""
    fluence = np.zeros(beamlets)
    for aperture, weight in zip(apertures, mu, strict=True):
        fluence[aperture.field.beamlets] += weight * aperture.exposure(
            machine.leaf_transmission, machine.jaw_transmission
        )
    return fluence


@dataclass(frozen=True, eq=False)
class ApertureDose:
    """Dose of apertures in the rows of an influence matrix: a `DoseMap` by the MU of each aperture.

    Parameters
    ----------
    per_mu : (apertures, rows) float
        Gy per fraction per MU.
    """

    per_mu: Float

    @classmethod
    def of(cls, influence: Influence, apertures: list[Aperture], machine: Machine) -> ApertureDose:
        """Sum the beamlets of each aperture."""
        rows, beamlets = influence.shape
        per_mu = np.empty((len(apertures), rows))
        for n, aperture in enumerate(apertures):
            per_mu[n] = influence.dose(fluence_of([aperture], np.ones(1), machine, beamlets))
        return cls(per_mu)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of voxels and of apertures."""
        return self.per_mu.shape[1], self.per_mu.shape[0]

    def dose(self, weights_mu: Float) -> Float:
        """Dose of the rows, Gy per fraction."""
        return weights_mu @ self.per_mu

    def gradient(self, by_dose: Float) -> Float:
        """Transpose of the map times a vector of the rows."""
        return self.per_mu @ by_dose
