"""Dose of an arc in a box of layers with vacuum about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.physics.montecarlo.histories import (
    BATCHES,
    BEYOND_CM,
    Bins,
    Energies,
    Layer,
    Layers,
    drawn,
    energies_of,
    follow,
    layers_of,
    mean_and_error,
)
from tailort.physics.montecarlo.transport import FIRST_ELECTRON, PHOTON, STACK, push, seeded, uniform
from tailort.physics.spectrum import Spectrum

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Arc:
    """What shapes the photons of an arc: between two control points gantry and leaves move evenly with the MU.

    Parameters
    ----------
    mu : (n,) float
        Delivered up to each control point; starts at 0.
    gantry_deg : (n,) float
        IEC 61217, without jumps by 360 degrees: the gantry goes the way between two numbers.
    leaves_cm : (n, 2, pairs) float
        x of the leaf ends of both banks in the isocentre plane.
    boundaries_cm : (pairs + 1,) float
        y of the leaf edges in the isocentre plane; beyond the outermost nothing passes.
    """

    mu: Float
    gantry_deg: Float
    leaves_cm: Float
    boundaries_cm: Float

    def __post_init__(self) -> None:
        for name in ("mu", "gantry_deg", "leaves_cm", "boundaries_cm"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.float64))
        points, pairs = len(self.mu), len(self.boundaries_cm) - 1
        if points < 2 or self.mu[0] != 0 or (np.diff(self.mu) < 0).any() or self.mu[-1] <= 0:
            raise InputError("an arc needs at least two control points whose MU start at 0 and never fall")
        if self.gantry_deg.shape != (points,) or self.leaves_cm.shape != (points, 2, pairs):
            raise InputError(
                f"an arc of {points} control points and {pairs} leaf pairs needs as many gantry angles and leaf ends; "
                f"found {self.gantry_deg.shape} and {self.leaves_cm.shape}"
            )
        if pairs < 1 or (np.diff(self.boundaries_cm) <= 0).any() or (self.leaves_cm[:, 0] > self.leaves_cm[:, 1]).any():
            raise InputError("an arc's leaf edges must ascend and its leaves must not overlap")

    @classmethod
    def static(cls, gantry_deg: float, field_cm: tuple[float, float]) -> Arc:
        """A rectangular field from one direction, by its sides along x and y."""
        x, y = (0.5 * side for side in field_cm)
        return cls(
            np.array([0.0, 1.0]), np.full(2, gantry_deg), np.tile(np.array([[-x], [x]]), (2, 1, 1)), np.array([-y, y])
        )

    @property
    def bounds_cm(self) -> tuple[float, float, float, float]:
        """Rectangle about every opening: lowest and highest x, lowest and highest y."""
        is_open = self.leaves_cm[:, 1] > self.leaves_cm[:, 0]
        used = np.flatnonzero(is_open.any(axis=0))
        if not len(used):
            raise InputError("no leaf pair of the arc opens")
        return (
            float(self.leaves_cm[:, 0][is_open].min()), float(self.leaves_cm[:, 1][is_open].max()),
            float(self.boundaries_cm[used[0]]), float(self.boundaries_cm[used[-1] + 1]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class BoxDose:
    """Dose in the voxels of a box about the isocentre, in the directions of a head-first supine patient.

    Parameters
    ----------
    back_cm, left_cm, head_cm : (n + 1,) float
        Faces of the voxels; gantry 0 shines to the back, gantry 90 comes from the left.
    dose : (batches, back, left, head) float
        To the medium, MeV/g per photon/cm2 in the isocentre plane of an open beam over the whole arc; each batch is an
        independent estimate.
    sent, kept, gone : (batches,) float
        Energy of the photons that passed the apertures, what of it is in the voxels, and what left the box or missed
        it, MeV.
    """

    back_cm: Float
    left_cm: Float
    head_cm: Float
    dose: Float
    sent: Float
    kept: Float
    gone: Float

    def mean(self) -> tuple[Float, Float]:
        """Mean over the batches and its standard error, (back, left, head)."""
        return mean_and_error(self.dose)


def box_dose(
    spectrum: Spectrum,
    arc: Arc,
    layers: Sequence[Layer],
    width_cm: float,
    photons: int,
    seed: int,
    *,
    voxel_cm: float = 0.5,
    source_distance_cm: float = 100.0,
) -> BoxDose:
    """Dose of an arc of a point source with sharp edges about the middle of a box.

    Parameters
    ----------
    spectrum : Spectrum
        Photon number, the same in all directions.
    arc : Arc
        The photons are spread evenly over the isocentre plane, in number as the MU.
    layers : sequence of (medium, g/cm3, cm)
        From the side of gantry 0 to the back; all of them are the height of the box.
    width_cm : float
        Of the box from right to left and from foot to head.
    photons : int
        Drawn in the rectangle about all openings; those that no opening lets pass count.
    seed : int
    voxel_cm : float
        Side of the voxels; layers should end on their faces.
    source_distance_cm : float
        From the source to the isocentre.
    """
    height = sum(thickness for _, _, thickness in layers)
    # Inside, the layers lie along z: x is left, y head, z back.
    low = np.array([-0.5 * width_cm, -0.5 * width_cm, -0.5 * height])
    if source_distance_cm <= float(np.hypot(low[0], low[2])):
        raise InputError(f"a source at {source_distance_cm:g} cm would turn within a box of {width_cm:g} cm")
    space = layers_of(layers, low[2], (-low[0], -low[1]))
    faces = [start + voxel_cm * np.arange(round(-2 * start / voxel_cm) + 1) for start in low]
    each = -(-photons // BATCHES)
    sums = np.zeros((BATCHES, *(len(faces[axis]) - 1 for axis in (2, 0, 1))))
    energy = np.zeros((BATCHES, 2))
    bounds = np.array(arc.bounds_cm)
    bins = Bins(low, np.full(3, voxel_cm), False)
    _run(
        energies_of(spectrum), arc.mu, np.deg2rad(arc.gantry_deg), arc.leaves_cm, arc.boundaries_cm, bounds,
        source_distance_cm, space, each, seed, bins, sums, energy,
    )  # fmt: skip
    middles = 0.5 * (faces[2][1:] + faces[2][:-1])
    mass = space.densities[np.searchsorted(space.ends, middles) - 1] * voxel_cm**3
    fluence = each / ((bounds[1] - bounds[0]) * (bounds[3] - bounds[2]))
    doses = sums / mass[None, :, None, None] / fluence
    left, head, back = faces
    return BoxDose(back, left, head, doses, energy[:, 0], sums.sum(axis=(1, 2, 3)), energy[:, 1])


@numba.njit(cache=True)
def aim(
    mu: Float,
    gantry: Float,
    leaves: Float,
    boundaries: Float,
    bounds: Float,
    distance: float,
    place: Float,
    direction: Float,
    state: NDArray[np.uint64],
) -> Any:  # pragma: no cover - compiled
    """Draw a photon of an arc: put `place` at the source and `direction` to its point in the isocentre plane.

    Return that point's x and y in the beam's system, and whether an opening lets the photon pass.
    """
    at = uniform(state) * mu[-1]
    n = min(np.searchsorted(mu, at), mu.size - 1)
    t = (at - mu[n - 1]) / (mu[n] - mu[n - 1])
    x = bounds[0] + (bounds[1] - bounds[0]) * uniform(state)
    y = bounds[2] + (bounds[3] - bounds[2]) * uniform(state)
    pair = min(max(np.searchsorted(boundaries, y, side="right") - 1, 0), boundaries.size - 2)
    low = leaves[n - 1, 0, pair] + t * (leaves[n, 0, pair] - leaves[n - 1, 0, pair])
    high = leaves[n - 1, 1, pair] + t * (leaves[n, 1, pair] - leaves[n - 1, 1, pair])
    angle = gantry[n - 1] + t * (gantry[n] - gantry[n - 1])
    c, s = np.cos(angle), np.sin(angle)
    # Gantry 0 is above (-z), gantry 90 at the patient's left (+x).
    place[0], place[1], place[2] = distance * s, 0.0, -distance * c
    direction[0], direction[1], direction[2] = x * c - place[0], y, x * s - place[2]
    norm = 1.0 / np.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
    for axis in range(3):
        direction[axis] *= norm
    return x, y, low <= x < high


@numba.njit(cache=True)
def _enter(place: Float, direction: Float, low: Float, high: Float) -> Any:  # pragma: no cover - compiled
    """Move a photon from outside into a box; return whether it meets it."""
    first, last = 0.0, 1e30
    for axis in range(3):
        if direction[axis] == 0.0:
            if place[axis] < low[axis] or place[axis] > high[axis]:
                return False
            continue
        one, other = (low[axis] - place[axis]) / direction[axis], (high[axis] - place[axis]) / direction[axis]
        first, last = max(first, min(one, other)), min(last, max(one, other))
    if last - first <= 2 * BEYOND_CM:
        return False
    for axis in range(3):
        place[axis] += (first + BEYOND_CM) * direction[axis]
    return True


@numba.njit(cache=True, parallel=True)
def _run(
    energies: Energies,
    mu: Float,
    gantry: Float,
    leaves: Float,
    boundaries: Float,
    bounds: Float,
    distance: float,
    space: Layers,
    each: int,
    seed: int,
    bins: Bins,
    sums: Float,
    energy: Float,
) -> None:  # pragma: no cover - compiled
    low = np.array([-space.walls[0], -space.walls[1], space.ends[0]])
    high = np.array([space.walls[0], space.walls[1], space.ends[-1]])
    for batch in numba.prange(sums.shape[0]):
        state = seeded(seed, batch)
        stack = np.empty((STACK, 9))
        place, direction, at = np.empty(3), np.empty(3), np.empty(3)
        for _ in range(each):
            _, _, passes = aim(mu, gantry, leaves, boundaries, bounds, distance, place, direction, state)
            if not passes:
                continue
            first = drawn(energies, state)
            energy[batch, 0] += first
            if _enter(place, direction, low, high):
                size = push(stack, 0, first, place, direction, PHOTON, FIRST_ELECTRON)
                energy[batch, 1] += follow(stack, size, space, bins, sums[batch], place, direction, at, state)
            else:
                energy[batch, 1] += first
