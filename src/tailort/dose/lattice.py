"""The beamlets of one beam as a matrix, and what the treatment head makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tailort.errors import InputError
from tailort.patient.influence import Beamlets
from tailort.physics.machine import Machine

Float = NDArray[np.float64]

# Beamlets this share of their width off the lattice are not on it.
OFF_LATTICE = 0.02


@dataclass(frozen=True, eq=False)
class Lattice:
    """The beamlets of one beam as a matrix.

    Parameters
    ----------
    column : (ny, nx) int
        Column of the influence matrix, -1 where there is no beamlet.
    x_mm, y_mm : (nx,), (ny,) float
        Centres, IEC 61217 beam limiting device axes in the isocentre plane, mm.
    width_mm : (float, float)
        Of each beamlet along x and y.
    """

    column: NDArray[np.int64]
    x_mm: Float
    y_mm: Float
    width_mm: tuple[float, float]

    @property
    def edges_mm(self) -> tuple[Float, Float]:
        """Edges of the columns along x and of the rows along y, mm."""
        x, y = (
            np.append(at - wide / 2, at[-1:] + wide / 2)
            for at, wide in zip((self.x_mm, self.y_mm), self.width_mm, strict=True)
        )
        return x, y

    def opened(self, weights_mu: Float | None) -> Float:
        """MU of each place, (ny, nx); 1 for each beamlet without weights."""
        there = self.column >= 0
        opened = there.astype(np.float64)
        if weights_mu is not None:
            opened[there] = weights_mu[self.column[there]]
        return opened

    @classmethod
    def of(cls, beamlets: Beamlets, beam: int) -> Lattice:
        """Return the lattice of one beam's beamlets.

        Raises
        ------
        InputError
            When they are not on a lattice of their own width, or two are on one place.
        """
        own = np.flatnonzero(np.asarray(beamlets.beam) == beam)
        width = (beamlets.width_x_mm, beamlets.width_y_mm)
        if not len(own):
            return cls(np.full((0, 0), -1, dtype=np.int64), np.zeros(0), np.zeros(0), width)
        name = beamlets.setups[beam].name
        places, centres = [], []
        for at, wide in ((beamlets.x_mm[own], width[0]), (beamlets.y_mm[own], width[1])):
            place = (at - at.min()) / wide
            places.append(np.round(place).astype(np.int64))
            if np.abs(place - places[-1]).max() > OFF_LATTICE:
                raise InputError(
                    f"beamlets of beam '{name}' are not on a lattice of their width of {wide:g} mm; the collapsed-cone "
                    "influence needs one: move them there or use another engine"
                )
            centres.append(float(at.min()) + wide * np.arange(places[-1].max() + 1))
        column = np.full((len(centres[1]), len(centres[0])), -1, dtype=np.int64)
        column[places[1], places[0]] = own
        if np.count_nonzero(column >= 0) < len(own):
            raise InputError(f"two beamlets of beam '{name}' are on the same place; give each place once")
        return cls(column, centres[0], centres[1], width)


def head_view(machine: Machine, collimator_mm: float) -> tuple[float, float]:
    """Where in the extra-focal source an edge at this distance from the source hides it: (by_edge, by_point).

    From the point u an edge at x hides what lies beyond by_edge x + by_point u (`tailort.dose.head`).
    """
    sad, f = machine.source_axis_distance_mm, machine.head.extrafocal_distance_mm
    return (
        collimator_mm * (sad - f) / (sad * (sad - collimator_mm)),
        -(collimator_mm - f) / (sad - collimator_mm),
    )


def source_blur_mm(machine: Machine, collimator_mm: float) -> float:
    """Standard deviation by which the source blurs an edge at this distance from it, mm of the isocentre plane."""
    return machine.head.source_sigma_mm * (machine.source_axis_distance_mm - collimator_mm) / collimator_mm


def beamlet_fluence(
    lattice: Lattice, machine: Machine, x_edges_mm: Float, y_edges_mm: Float, weights_mu: Float | None = None
) -> tuple[Float, Float]:
    """Energy fluence of the beamlets of one beam and what contaminates it, as `tailort.dose.head.head_fluence`.

    Jaws stand at the outermost beamlets and leaves end between beamlets, so a rectangle of beamlets is an open field.
    Transmission, leaf ends and tongues belong to plans.

    Parameters
    ----------
    lattice : Lattice
        The beamlets.
    machine : Machine
        Tells source and head.
    x_edges_mm, y_edges_mm : (n + 1,) float
        Edges of pixels in the isocentre plane, mm.
    weights_mu : (beamlets,) float, optional
        MU of each; 1 without it.

    Returns
    -------
    energy, contamination : (ny, nx) float
        MU.
    """
    head, opened = machine.head, lattice.opened(weights_mu)
    jaws = (head.jaw_x_distance_mm, head.jaw_y_distance_mm)
    x, y = (
        _shares(pixels, edges, jaw, machine)
        for pixels, edges, jaw in zip((x_edges_mm, y_edges_mm), lattice.edges_mm, jaws, strict=True)
    )
    middles = [0.5 * (edges[1:] + edges[:-1]) for edges in (x_edges_mm, y_edges_mm)]
    profile = machine.primary_fluence(np.hypot(middles[0], middles[1][:, None]))
    energy: Float = (1.0 - head.extrafocal_share) * profile * (y.T @ opened @ x)
    energy += head_scatter(lattice, machine, middles[0], middles[1], weights_mu)
    if head.contamination_cm2_g <= 0:
        return energy, np.zeros_like(energy)
    x, y = (
        np.diff(
            special.ndtr((np.clip(edges, *_jaws(edges, machine))[:, None] - at) / head.contamination_sigma_mm), axis=0
        )
        for at, edges in zip(middles, lattice.edges_mm, strict=True)
    )
    return energy, y.T @ opened @ x


def head_scatter(
    lattice: Lattice, machine: Machine, x_mm: Float, y_mm: Float, weights_mu: Float | None = None
) -> Float:
    """Extra-focal energy fluence (ny, nx) of the beamlets of one beam at points of the isocentre plane, MU.

    Parameters
    ----------
    lattice, machine, weights_mu
        As for `beamlet_fluence`.
    x_mm, y_mm : (nx,), (ny,) float
        Points, mm.
    """
    head = machine.head
    if head.extrafocal_share <= 0:
        return np.zeros((len(y_mm), len(x_mm)))
    jaws = (head.jaw_x_distance_mm, head.jaw_y_distance_mm)
    x, y = (
        _scattered(at, edges, jaw, machine) for at, edges, jaw in zip((x_mm, y_mm), lattice.edges_mm, jaws, strict=True)
    )
    seen: Float = head.extrafocal_share / open_view(machine) * (y.T @ lattice.opened(weights_mu) @ x)
    return seen


def open_view(machine: Machine) -> float:
    """Share of the extra-focal source that the axis sees through the largest field."""
    reach = machine.jaw_limit_mm / (math.sqrt(2) * machine.head.extrafocal_sigma_mm)
    jaws = (machine.head.jaw_x_distance_mm, machine.head.jaw_y_distance_mm)
    return math.prod(math.erf(head_view(machine, jaw)[0] * reach) for jaw in jaws)


def _shares(pixels: Float, edges: Float, jaw: float, machine: Machine) -> Float:
    """Mean over each pixel of what each beamlet of a row lets through of the primary source: (beamlets, pixels)."""
    blur, by_jaw = (source_blur_mm(machine, at) for at in (machine.head.leaf_distance_mm, jaw))
    low, high = (_mean_step(pixels, at, by_jaw) for at in _jaws(edges, machine))
    beyond = [np.clip(_mean_step(pixels, float(edge), blur), high, low) for edge in edges[1:-1]]
    shares: Float = -np.diff([low, *beyond, high], axis=0)
    return shares


def _scattered(at: Float, edges: Float, jaw: float, machine: Machine) -> Float:
    """What each beamlet of a row lets points see of the extra-focal source: (beamlets, points)."""
    (leaf_edge, leaf_point), (jaw_edge, jaw_point) = (
        head_view(machine, c) for c in (machine.head.leaf_distance_mm, jaw)
    )
    low, high = (jaw_edge * end + jaw_point * at for end in _jaws(edges, machine))
    between = [np.clip(leaf_edge * edge + leaf_point * at, low, high) for edge in edges[1:-1]]
    seen: Float = np.diff(special.ndtr(np.array([low, *between, high]) / machine.head.extrafocal_sigma_mm), axis=0)
    return seen


def _jaws(edges: Float, machine: Machine) -> tuple[float, float]:
    """Jaws set at the outermost edges."""
    offset = machine.head.jaw_offset_mm
    return float(edges[0]) + offset, float(edges[-1]) - offset


def _mean_step(pixels: Float, edge: float, sigma: float) -> Float:
    """Mean over each pixel of a Gaussian step from 0 to 1 at an edge."""
    step: Float = np.diff(_ramp(pixels - edge, sigma)) / np.diff(pixels)
    return step


def _ramp(t: Float, sigma: float) -> Float:
    """Integral of the Gaussian step up to t."""
    if sigma <= 0.0:
        return np.maximum(t, 0.0)
    ramp: Float = t * special.ndtr(t / sigma) + sigma * np.exp(-0.5 * (t / sigma) ** 2) / np.sqrt(2 * np.pi)
    return ramp
