"""The voxels through which the collapsed cone carries energy, and its way through them.

A `Space` is one lattice of voxels. `Voxels` are those on which a dose grid is computed: one lattice, or, where only a
part of a fine grid needs small voxels, wide ones everywhere and small ones about that part. There the energy left is

    wide(all) + share x [small(near) - wide(near)]

with what all voxels release carried in wide ones, and what those near the part release in both: so energy from nearby
is carried in small voxels, energy from afar in wide ones, and none twice. The share falls from 1 to 0 beyond the part,
so that the dose has no edge there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tailort.dose.bent_tracks import bent_along_lines
from tailort.dose.cones import Cones, transport
from tailort.dose.terma import Field, add_terma
from tailort.errors import GeometryError
from tailort.geometry import Grid, Image, average
from tailort.physics.machine import Machine
from tailort.physics.materials import relative_electron_density, water_over_medium
from tailort.physics.point_kernel import PointKernel, point_kernel

Float = NDArray[np.float64]
Values = NDArray[np.float32]
Mask = NDArray[np.bool_]
Whole = NDArray[np.int64]

DoseTo = Literal["medium", "water"]

# Voxels wider than this are divided until they are not, mm; far from a part that needs small ones, small ones are
# joined as long as they are not.
WIDEST_VOXEL_MM = 3.2
# Beyond the part that needs small voxels: where their share falls to 0, and whence energy is carried in them, mm.
FADING_MM, NEARBY_MM = 10.0, 15.0
# So far about voxels whose dose is wanted the energy is carried too: the way of electrons there tells on theirs, mm.
ABOUT_ASKED_MM = 5.0
# Voxels of two sizes are worth it where they are fewer than this share of small ones alone.
WORTH = 0.7


@dataclass(frozen=True, eq=False)
class Space:
    """The voxels in which energy is transported: those of the lattice of the dose grid with tissue or close to it.

    Parameters
    ----------
    grid : Grid
        The voxels.
    traced : Image
        Electron density relative to water, through which the photons come to the voxels.
    electrons : (k, j, i) float32
        Its mean in each voxel.
    to_dose : (k, j, i) float32
        Dose to the voxel's medium, or to water in it, over the energy left per electron density.
    asked : (k, j, i) bool or None
        Voxels whose dose is wanted, and what is close about them; None: all.
    """

    grid: Grid
    traced: Image
    electrons: Values
    to_dose: Values
    asked: Mask | None = None

    @classmethod
    def around(cls, grid: Grid, density: Image, dose_to: DoseTo, widest_mm: float = WIDEST_VOXEL_MM) -> Space:
        """Voxels, divided where wider than told, about a dose grid in a patient of this mass density."""
        return cls.of(_tissue_voxels(grid, density, widest_mm), density, relative_electron_density(density), dose_to)

    @classmethod
    def of(cls, voxels: Grid, density: Image, traced: Image, dose_to: DoseTo, asked: Image | None = None) -> Space:
        """These voxels of a patient of this mass density, and with it relative to water.

        Dose is wanted where `asked`, on the dose grid, is above 0; None: everywhere.
        """
        mass = average(density, voxels, 0.0)
        electrons = relative_electron_density(mass)
        ratio = electrons.values / np.maximum(mass.values, np.float32(1e-4))
        if dose_to == "water":
            ratio *= water_over_medium(mass).values
        wanted = None
        if asked is not None:
            here = average(asked, voxels, 0.0).values > 0.0
            about = np.ceil(ABOUT_ASKED_MM / np.array(voxels.spacing_mm)).astype(int)
            wanted = ndimage.binary_dilation(here, np.ones(2 * about + 1, dtype=np.bool_))
        return cls(voxels, traced, electrons.values, ratio.astype(np.float32), wanted)

    def released_and_spread(self, fields: Sequence[Field], machine: Machine) -> tuple[Values, Values, Values]:
        """Energy left per electron density by fields from about the same direction, in the unit of the fluence.

        Returns
        -------
        by primary electrons, scattered photons and contaminating electrons
        """
        kernel = point_kernel(machine.spectrum)
        soft, hard, surface = (np.zeros(self.grid.shape, dtype=np.float32) for _ in range(3))
        flow = np.zeros((3, *self.grid.shape), dtype=np.float32)
        direction = np.zeros(3)
        for field in fields:
            direction += add_terma(soft, hard, flow, surface, self.grid, field, self.traced, kernel, machine)
        if not direction.any():
            return surface, surface, surface
        return *self.spread(soft, hard, flow, direction, kernel, fields[0].fan.isocentre_mm), surface

    def spread(
        self,
        soft: Values,
        hard: Values,
        flow: Values,
        direction: Float,
        kernel: PointKernel,
        anchor_mm: Float | Sequence[float],
    ) -> tuple[Values, Values]:
        """Energy left per electron density by primary electrons and by scattered photons.

        The TERMA is as `transport` takes it, the kernels' axis the direction (LPS), and the lines' jumps are counted
        from the anchor.
        """
        spacing = np.array(self.grid.spacing_mm)
        to_index = (self.grid.affine[:3, :3] / spacing).T
        anchor = self.grid.to_index(np.asarray(anchor_mm, dtype=np.float64))
        kernels = [Cones.around(direction, rings) for rings in (kernel.primary, kernel.scatter)]
        primary, scatter = transport(
            soft, hard, flow, self.electrons, spacing / 10, to_index, anchor, *kernels, asked=self.asked
        )
        radius = kernel.primary_radius
        return bent_along_lines(primary, self.electrons, direction, radius, spacing / 10, to_index, anchor), scatter

    def on(self, left: Values, grid: Grid) -> Values:
        """Dose on the dose grid about which these voxels are, of energy left per electron density."""
        dose = left * self.to_dose
        parts = np.round(np.array(grid.spacing_mm) / np.array(self.grid.spacing_mm)).astype(int)
        if (parts > 1).any():
            k, j, i = np.array(dose.shape) // parts
            dose = dose.reshape(k, parts[0], j, parts[1], i, parts[2]).mean(axis=(1, 3, 5))
        start = np.round(grid.to_index(self.grid.to_world((parts - 1) / 2))).astype(int)
        here, there = np.maximum(start, 0), np.minimum(start + dose.shape, grid.shape)
        out = np.zeros(grid.shape, dtype=np.float32)
        if (there > here).all():
            into = tuple(slice(a, b) for a, b in zip(here, there, strict=True))
            out[into] = dose[tuple(slice(a, b) for a, b in zip(here - start, there - start, strict=True))]
        return out

    def part(self, start: Whole, stop: Whole) -> Space:
        """Voxels from one index (k, j, i) to before another."""
        own = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        grid = Grid.axial(
            stop - start, self.grid.spacing_mm, self.grid.to_world(start.astype(np.float64)),
            self.grid.frame_of_reference,
        )  # fmt: skip
        electrons, to_dose = (np.ascontiguousarray(a[own]) for a in (self.electrons, self.to_dose))
        return Space(grid, self.traced, electrons, to_dose, None if self.asked is None else self.asked[own])


@dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels on which a dose grid is computed.

    Parameters
    ----------
    fine : Space
        Voxels of the dose grid, divided if wide.
    spaces : tuple of Space
        In which energy is carried: `fine` alone; or wide voxels everywhere, small ones near the part that needs them,
        and wide ones there.
    joined_to_one : (3,) int
        Small voxels to a wide one along k, j, i.
    start : (3,) int
        Index in `fine` of the first voxel near that part.
    share : (k, j, i) float32
        Of the small ones.
    """

    fine: Space
    spaces: tuple[Space, ...]
    joined_to_one: Whole
    start: Whole
    share: Values

    @classmethod
    def around(
        cls,
        grid: Grid,
        density: Image,
        dose_to: DoseTo,
        widest_mm: float = WIDEST_VOXEL_MM,
        detailed_mm: ArrayLike | None = None,
        asked: Mask | None = None,
    ) -> Voxels:
        """Voxels about a dose grid in a patient of this mass density.

        Parameters
        ----------
        grid, density, dose_to, widest_mm
            As of `Space.around`.
        detailed_mm : (2, 3) float or None
            Opposite corners of the box that needs the grid's own voxels, LPS; None: all of the grid needs them.
        asked : (k, j, i) bool or None
            Voxels of the dose grid whose dose is wanted; None: all.
        """
        wanted = None if asked is None else Image(grid, asked.astype(np.float32), "1")
        traced = relative_electron_density(density)
        voxels = _tissue_voxels(grid, density, widest_mm)
        steps, shape = np.array(voxels.spacing_mm), np.array(voxels.shape)
        joined = voxels_to_one(steps, widest_mm)
        whole = -(-shape // joined)
        low = high = 0 * whole
        corners = np.zeros((2, 3))
        if detailed_mm is not None:
            corners = np.sort(voxels.to_index(np.asarray(detailed_mm, dtype=np.float64)), axis=0)
            reach = (FADING_MM + NEARBY_MM) / steps
            low = np.clip(np.floor((corners[0] - reach) / joined).astype(np.int64), 0, whole)
            high = np.clip(np.ceil((corners[1] + reach + 1) / joined).astype(np.int64), low, whole)
        near = (high - low) * joined
        if near.prod() == 0 or near.prod() + whole.prod() + (high - low).prod() > WORTH * shape.prod():
            fine = Space.of(voxels, density, traced, dose_to, wanted)
            return cls(fine, (fine,), np.ones_like(joined), np.zeros_like(joined), np.ones((1, 1, 1), np.float32))
        padded = Grid.axial(whole * joined, steps, voxels.origin_mm, voxels.frame_of_reference)
        wider = Grid.axial(whole, steps * joined, voxels.to_world((joined - 1) / 2.0), voxels.frame_of_reference)
        fine, wide = (Space.of(one, density, traced, dose_to, wanted) for one in (padded, wider))
        start = low * joined
        spaces = (wide, fine.part(start, start + near), wide.part(low, high))
        return cls(fine, spaces, joined, start, _share(corners - start, near, FADING_MM / steps))

    def joined(self, lefts: Sequence[Values]) -> Values:
        """Energy left per electron density in the fine voxels, of what is left in those of `spaces`."""
        if len(self.spaces) == 1:
            return lefts[0]
        wide, small, near = lefts
        total = divided(wide, self.joined_to_one)
        own = tuple(slice(a, a + n) for a, n in zip(self.start, small.shape, strict=True))
        total[own] += self.share * (small - divided(near, self.joined_to_one))
        return total


def voxels_to_one(spacing_mm: ArrayLike, widest_mm: float = WIDEST_VOXEL_MM) -> Whole:
    """Voxels of this spacing (3,) that make a wide one, along each axis; 1 where two would be too wide."""
    joined: Whole = np.maximum(np.floor(widest_mm / np.asarray(spacing_mm) + 1e-6), 1).astype(np.int64)
    return joined


def _share(corners: Float, shape: Whole, fading: Float) -> Values:
    """1 in a box of these corners (indices), falling to 0 over so many voxels beyond it."""
    share = np.ones((1, 1, 1))
    for axis in range(3):
        at = np.arange(shape[axis])
        beyond = np.maximum(corners[0, axis] - at, at - corners[1, axis]) / fading[axis]
        along = np.clip(1.0 - beyond, 0.0, 1.0)
        share = share * along.reshape([-1 if n == axis else 1 for n in range(3)])
    return share.astype(np.float32)


def divided(values: Values, parts: Whole) -> Values:
    """Values of voxels, interpolated at the centres of the equal parts into which they are divided.

    Beyond the outermost centres the values stay what they are there.
    """
    out = np.empty(np.array(values.shape) * parts, dtype=np.float32)
    between = [_between(size, int(n)) for size, n in zip(values.shape, parts, strict=True)]
    _interpolate(values, *between[0], *between[1], *between[2], out)
    return out


def _between(size: int, parts: int) -> tuple[Whole, Values]:
    """For each part the voxel whose centre lies before it, and how far it is from there to the next."""
    at = np.clip((np.arange(size * parts) + 0.5) / parts - 0.5, 0.0, size - 1.0)
    low = np.minimum(at.astype(np.int64), max(size - 2, 0))
    return low, (at - low).astype(np.float32)


@numba.njit(cache=True, parallel=True)
def _interpolate(
    values: Values, k0: Whole, fk: Values, j0: Whole, fj: Values, i0: Whole, fi: Values, out: Values
) -> None:  # pragma: no cover - compiled
    planes, rows, columns = values.shape
    for k in numba.prange(out.shape[0]):
        line = np.empty(columns, dtype=np.float32)
        a, b = k0[k], min(k0[k] + 1, planes - 1)
        u = fk[k]
        for j in range(out.shape[1]):
            c, d = j0[j], min(j0[j] + 1, rows - 1)
            v = fj[j]
            for i in range(columns):
                before = values[a, c, i] + v * (values[a, d, i] - values[a, c, i])
                after = values[b, c, i] + v * (values[b, d, i] - values[b, c, i])
                line[i] = before + u * (after - before)
            for i in range(out.shape[2]):
                m = i0[i]
                out[k, j, i] = line[m] + fi[i] * (line[min(m + 1, columns - 1)] - line[m])


# What is denser belongs to the patient or to what the beam passes, g/cm3; an outline may hold so much air about it, mm.
TISSUE_G_CM3 = 0.05
ABOUT_TISSUE_MM = 5.0


def _tissue_voxels(grid: Grid, density: Image, widest_mm: float) -> Grid:
    """Grid with the voxels of the lattice of `grid`, divided if wide, where there is tissue and close about it."""
    grid.require_axial("the collapsed-cone dose")
    steps = np.array(grid.spacing_mm)
    parts = np.ceil(steps / widest_mm - 1e-6).astype(int)
    tissue = density.values > TISSUE_G_CM3
    if not tissue.any():
        raise GeometryError("the density image has no tissue; check the table from CT number to density")
    reach = []
    for axis in range(3):
        there = np.flatnonzero(tissue.any(axis=tuple(other for other in range(3) if other != axis)))
        reach.append((there[0] - 0.5, there[-1] + 0.5))
    ends = grid.to_index(density.grid.to_world(np.array(reach).T))
    low = np.floor(ends.min(axis=0) - ABOUT_TISSUE_MM / steps + 0.5).astype(int)
    high = np.ceil(ends.max(axis=0) + ABOUT_TISSUE_MM / steps - 0.5).astype(int)
    origin = grid.to_world(low - 0.5 + 0.5 / parts)
    return Grid.axial((high - low + 1) * parts, steps / parts, origin, grid.frame_of_reference)
