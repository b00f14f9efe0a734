"""Both lungs, the vessels in them, and the mediastinum between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tailort.phantom.anatomy.airways import Airways
from tailort.phantom.anatomy.arteries import Arteries
from tailort.phantom.anatomy.chest_wall import ChestWall
from tailort.phantom.anatomy.dome import Dome
from tailort.phantom.anatomy.heart import Heart
from tailort.phantom.anatomy.node import Lump
from tailort.phantom.anatomy.oesophagus import Gullet
from tailort.phantom.anatomy.region import Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.anatomy.surface import Surface
from tailort.phantom.anatomy.veins import Veins
from tailort.phantom.shapes import (
    EVERYWHERE,
    FAR_MM,
    Array,
    Column,
    Cut,
    Grown,
    Lattice,
    Minus,
    Shape,
    Tube,
    Union,
    constant,
    field_at,
    inside,
    outside,
)


@dataclass(frozen=True, eq=False)
class Lungs(Region):
    """What the chest's cavity leaves for the lungs."""

    surface: Surface
    spine: Spine
    chest_wall: ChestWall
    dome: Dome
    airways: Airways
    arteries: Arteries
    oesophagus: Gullet
    veins: Veins
    heart: Heart
    node: Lump

    @cached_property
    def mediastinum(self) -> Shape:
        """Everything between the lungs, its grooves filled with fat."""
        width = [(70, 29), (60, 27), (45, 24), (25, 14), (5, 9), (-30, 7), (-70, 8), (-110, 13), (-140, 13)]
        core = Column(
            EVERYWHERE, self.spine.x, lambda z: 0.0, self._profile(width, self.sx),
            lambda z: 1.15 * cavity.front(z) - cavity.y(z),
            lambda z: 1.15 * cavity.back(z) + cavity.y(z),
        )  # fmt: skip
        arteries, cavity = self.arteries, self.surface.cavity
        parts: tuple[Shape, ...] = (
            core, self.spine.paraspinal, Grown(arteries.aorta, 1.2), Grown(self.oesophagus.organ, 2.0),
            Grown(self.airways.lumen, 3.0), Grown(arteries.brachiocephalic, 2.5),
            *(Grown(a, 2.5) for a in arteries.carotids.values()), arteries.subclavian[1],
            *(Grown(v, 1.5) for v in self.veins.great_veins), Grown(self.veins.azygos, 1.0),
            *(Grown(a, 0.8) for a in arteries.pulmonary), Grown(self.heart.pericardium, 0.8),
            Grown(self.heart.pulmonary_veins, 0.5), Grown(self.node.solid, 2.0), self._cava_in_chest,
            self._ball((-17, -12, 12), (11, 15, 24)), self._ball((20, -10, -9), (13, 17, 13)),
            self._ball((28, 3, -24), (9, 10, 11)), self._heart_base,
        )  # fmt: skip
        return Union(parts, 7.0)

    @cached_property
    def _heart_base(self) -> Shape:
        """Fat between the sac and the diaphragm under it."""
        x, y = constant(14.0 * self.sx), constant(-30.0 * self.sy)
        width, depth = constant(54.0 * self.sx), constant(42.0 * self.sy)
        block = Column((-150.0 * self.sz, -80.0 * self.sz), x, y, width, depth, depth)
        return Cut(block, inside(self.dome, -2.5))

    @cached_property
    def _cava_in_chest(self) -> Shape:
        return Cut(Grown(self.veins.cava_inferior, 1.0), limits=(-200.0 * self.sz, -90.0 * self.sz))

    @cached_property
    def both(self) -> Shape:
        """Both lungs, from the apices to the recesses behind the diaphragm."""
        room = Cut(self.surface.cavity, outside(self.dome, 0.6), (-205 * self.sz, FAR_MM))
        bones = (*self.spine.bones.values(), *self.chest_wall.ribs)
        return Minus(room, (self.mediastinum, *(Grown(bone, 1.0) for bone in bones)))

    @cached_property
    def sides(self) -> tuple[Shape, Shape]:
        """The left and the right lung."""

        def left(at: Lattice) -> Array:
            half: Array = self.spine.x(at.z) - at.x + 0 * at.y
            return half

        def right(at: Lattice) -> Array:
            return -left(at)

        edge = abs(self.build.scoliosis_mm) + 1.0
        return Cut(self.both, left, x_limits=(-edge, 1e3)), Cut(self.both, right, x_limits=(-1e3, edge))

    @cached_property
    def trees(self) -> tuple[Tube, ...]:
        """Branching vessels in both lungs, for the picture."""
        rng = np.random.default_rng(self.build.tree_seed)
        segments: list[Tube] = []
        for side in (-1, 1):
            hilum = self.airways.hilum(side)
            for n in range(16):
                # Directions spread evenly over the half sphere away from the hilum (golden angle), then shaken.
                outward, turn = (n + 0.5) / 16 * 1.05 - 0.12, 2.39996 * n
                across = np.sqrt(max(1 - outward**2, 0.0))
                aim = (
                    np.array([side * outward, across * np.cos(turn), across * np.sin(turn)]) + rng.normal(size=3) * 0.12
                )
                self._branch(rng, hilum, aim / np.linalg.norm(aim), 3.6 * self.r, 6, segments)
        return tuple(segments)

    def _branch(
        self, rng: np.random.Generator, start: NDArray[np.float64], aim: NDArray[np.float64], radius: float, left: int,
        into: list[Tube],
    ) -> None:  # fmt: skip
        bend = rng.normal(size=3) * 0.28
        first = aim + bend
        middle = start + first / np.linalg.norm(first) * rng.uniform(9, 17)
        end = middle + aim * rng.uniform(8, 15)
        if field_at(self.surface.cavity, end) > -3.0 or end[2] > 66 * self.sz:
            return
        into.append(Tube(np.stack([start, middle, end]), [radius, radius * 0.9, radius * 0.8]))
        if left == 0 or radius < 0.6:
            return
        for _ in range(2):
            turn = aim + rng.normal(size=3) * 0.62
            self._branch(rng, end, turn / np.linalg.norm(turn), radius * float(rng.uniform(0.62, 0.82)), left - 1, into)
