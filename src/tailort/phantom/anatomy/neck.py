"""Pharynx, larynx, thyroid, muscles and fat of the neck, jaw and teeth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.airways import Airways
from tailort.phantom.anatomy.chest_wall import ChestWall
from tailort.phantom.anatomy.oesophagus import Gullet
from tailort.phantom.anatomy.region import Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.anatomy.surface import Surface
from tailort.phantom.shapes import (
    FAR_MM,
    Array,
    Column,
    Cut,
    Ellipsoid,
    Grown,
    Lattice,
    Minus,
    Shape,
    inside,
    mirrored,
)


@dataclass(frozen=True, eq=False)
class Neck(Region):
    """Everything between the skull's base and the clavicles but vessels, spine and airway below the cricoid."""

    surface: Surface
    spine: Spine
    chest_wall: ChestWall
    airways: Airways
    oesophagus: Gullet

    @cached_property
    def pharynx(self) -> Column:
        """From the skull's base to the inlet of the oesophagus, with its walls."""
        half = self._profile([(220, 16), (170, 17), (140, 16), (118, 11), (106, 8)], self.r)
        depth = self._profile([(220, 9), (185, 10), (160, 9), (140, 6.5), (118, 5.6), (106, 5.4)], self.r)

        def middle(z: float) -> float:
            return self.spine.front_y(z) - 3.0 * self.sy - depth(z)

        return Column((p.CRICOID_Z * self.sz - 1.5, 1e3), self.spine.x, middle, half, depth, depth, 2.3)

    @cached_property
    def pharynx_air(self) -> Shape:
        """Air in the pharynx above the larynx."""
        inner = self.pharynx

        def half(z: float) -> float:
            return inner.half_width(z) - 5.0

        depth = self._profile([(220, 5.0), (185, 6.5), (165, 6), (150, 3.4), (140, 1.8), (132, 0.6)], self.r)
        return Column((132 * self.sz, 1e3), self.spine.x, lambda z: inner.y(z) - 1.0, half, depth, depth)

    @cached_property
    def _larynx_frame(self) -> Column:
        half = self._profile([(150, 13), (140, 18), (125, 20), (112, 16), (102, 13)], self.r)
        depth = self._profile([(150, 8), (140, 10.5), (125, 12), (112, 11.6), (102, 11.2)], self.r)

        def middle(z: float) -> float:
            behind = self.pharynx.y(z) - self.pharynx.front(z)
            return behind - depth(z) - 0.3

        low = (p.CRICOID_Z - 6) * self.sz + 0.01
        return Column((low, 150 * self.sz), self.spine.x, middle, half, depth, depth, 2.2)

    @cached_property
    def larynx(self) -> Shape:
        """From the hyoid to the cricoid's lower edge."""
        return Minus(self._larynx_frame, (self.pharynx, self.oesophagus.organ), 0.2)

    @cached_property
    def larynx_air(self) -> Shape:
        """Airway through the larynx, narrow at the glottis."""
        frame = self._larynx_frame
        half = self._profile([(152, 9), (138, 6.5), (127, 2.6), (124, 2.6), (116, 7), (102, 8.6)], self.r)
        depth = self._profile([(152, 4), (138, 7), (126, 9), (116, 9), (102, 8.6)], self.r)
        low, high = frame.z_range
        return Column((low, high + 3), self.spine.x, frame.y, half, depth, depth)

    @cached_property
    def laryngeal_cartilage(self) -> Shape:
        """Thyroid and cricoid cartilage, for the picture."""
        shell = Minus(Grown(self.larynx, -0.5), (Grown(self.larynx, -3.0),))
        split = 112 * self.sz

        def open_behind(at: Lattice) -> Array:
            behind = at.y - (self._larynx_frame.y(at.z) + 5.0) if at.z > split else np.full_like(at.y, -FAR_MM)
            return np.broadcast_to(behind, at.shape)

        return Cut(shell, open_behind, ((p.CRICOID_Z - 4) * self.sz, 142 * self.sz))

    @cached_property
    def neck_fat(self) -> Shape:
        """Fat planes between the muscles of the neck."""
        inset = Grown(self.surface.muscle_outline, -4.0)

        def in_front(at: Lattice) -> Array:
            outward = np.abs(at.x) / self.sx
            back = self.spine.y(at.z) + 4.0 + 14.0 * np.minimum((outward / 45) ** 2, 1.5)
            floor = (48.0 + 0.7 * np.maximum(outward - 28.0, 0.0) + 0.012 * np.maximum(at.y + 5.0, 0.0) ** 2) * self.sz
            field: Array = np.maximum(at.y - back, 0.7 * (floor - at.z))
            return field

        return Cut(inset, in_front, (48 * self.sz, 172 * self.sz))

    @cached_property
    def neck_muscles(self) -> tuple[Shape, ...]:
        """Sternomastoids, scalenes, prevertebral and strap muscles, floor of the mouth."""
        parts: list[Shape] = []
        for side in (-1, 1):
            sternomastoid = [(21, -44, 55), (28, -38, 80), (36, -28, 105), (45, -6, 145), (52, 12, 190), (54, 16, 215)]
            parts.append(self._tube(mirrored(sternomastoid, side), 9.5, (1.35, 0.85, 1.0)))
            scalene = [(62, 22, 60), (44, 18, 80), (32, 12, 105), (27, 4, 140)]
            parts.append(self._tube(mirrored(scalene, side), 10.5))
            strap = [(10, -45, 50), (12, -41, 85), (15, -42, 110), (15, -45, 140)]
            parts.append(self._tube(mirrored(strap, side), 6.5, (0.7, 1.8, 1.0)))
            prevertebral = [(9, y - 10.5, z) for z, y in p.SPINE_Y if z >= 60]
            parts.append(self._tube(mirrored(prevertebral, side), 6.5, (0.8, 1.5, 1.0)))
        parts.append(self._tube([(0, -44, 160), (0, -44, 178), (0, -40, 200)], 22, (0.9, 1.0, 1.0)))
        return tuple(Cut(part, inside(self.surface.muscle_outline)) for part in parts)

    @cached_property
    def fat_pads(self) -> tuple[Shape, ...]:
        """Fat beside the pharynx, in the cheeks and in the armpits."""

        def lateral(at: Lattice) -> Array:
            return np.broadcast_to(20.0 * self.sx - np.abs(at.x), at.shape)

        parts: list[Shape] = []
        for side in (-1, 1):
            pharyngeal = [(25, -18, 160), (27, -18, 185), (28, -16, 225)]
            parts.append(self._tube(mirrored(pharyngeal, side), 6.0, (1.4, 0.7, 1.0)))
            buccal = [(46, -50, 188), (46, -46, 225)]
            parts.append(self._tube(mirrored(buccal, side), 9.0, (1.3, 0.6, 1.0)))
            parts.append(Minus(self._ball((side * 132, -4, 6), (19, 44, 52)), (Grown(self.chest_wall.cage, 9.0),)))
            parts.append(Minus(self._ball((side * 78, -44, 42), (46, 9, 24)), (Grown(self.chest_wall.cage, 8.0),)))
        between = Minus(Grown(self.chest_wall.cage, 8.6), (Grown(self.chest_wall.cage, 7.2),))
        parts.append(Cut(between, lateral, (-FAR_MM, 42 * self.sz)))
        return tuple(Cut(part, inside(self.surface.muscle_outline, 4.0)) for part in parts)

    @cached_property
    def jaw(self) -> tuple[Shape, ...]:
        """Mandible and hyoid."""
        arch = [
            (52, -12, 224), (50, -10, 212), (47, -14, 196), (42, -34, 186), (34, -54, 181), (20, -70, 179),
            (0, -75, 178),
        ]  # fmt: skip
        parts: list[Shape] = []
        for side in (-1, 1):
            parts.append(self._tube(mirrored(arch, side), 5.6, (1.0, 1.0, 0.6)))
            horn = [(18, -20, 153), (13, -34, 151), (0, -42, 150)]
            parts.append(self._tube(mirrored(horn, side), 2.6))
        return tuple(parts)

    @cached_property
    def teeth(self) -> tuple[Shape, ...]:
        """Lower and upper rows of teeth."""
        parts: list[Shape] = []
        for z in (191, 206):
            for side in (-1, 1):
                row = [(28, -40, z), (26, -53, z), (17, -68, z), (0, -75, z)]
                parts.append(self._tube(mirrored(row, side), 3.6, (1.0, 1.0, 0.62)))
        return tuple(parts)

    @cached_property
    def thyroid(self) -> tuple[Shape, ...]:
        """Both lobes of the thyroid gland."""
        x, y, _ = self.airways.trachea_centre(86 * self.sz)
        z = 88 * self.sz
        radii = (8 * self.r, 9.5 * self.r, 22 * self.sz)
        lobes = (Ellipsoid((x + side * 16 * self.sx, y + 1, z), radii) for side in (-1, 1))
        return tuple(Minus(lobe, (self.airways.wall,), 0.3) for lobe in lobes)
