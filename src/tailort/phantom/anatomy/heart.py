"""The heart, its sac and the pulmonary veins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.airways import Airways
from tailort.phantom.anatomy.arteries import Arteries
from tailort.phantom.anatomy.dome import Dome
from tailort.phantom.anatomy.oesophagus import Gullet
from tailort.phantom.anatomy.region import Region
from tailort.phantom.anatomy.surface import Surface
from tailort.phantom.anatomy.veins import Veins
from tailort.phantom.shapes import Cut, Grown, Minus, Shape, Tube, Union, inside, outside


@dataclass(frozen=True, eq=False)
class Heart(Region):
    """The heart on the diaphragm, before the oesophagus and the descending aorta."""

    surface: Surface
    dome: Dome
    airways: Airways
    arteries: Arteries
    oesophagus: Gullet
    veins: Veins

    @cached_property
    def mass(self) -> Shape:
        """Ventricles and atria before they are fitted to their neighbours."""
        h = self.build.heart
        towards = np.array([0.66, -0.42, -0.62])
        towards /= np.linalg.norm(towards)
        across = np.cross(towards, (0.0, 0.0, 1.0))
        across /= np.linalg.norm(across)
        axes = np.stack([towards, across, np.cross(towards, across)])
        ventricles = self._ball((25, -40, -80), (61 * h, 44 * h, 42 * h), axes)
        left_atrium = self._ball((2, -6, -49), (33 * h, 17, 23 * h))
        right_atrium = self._ball((-30, -27, -70), (24 * h, 29 * h, 35 * h))
        return Union((ventricles, left_atrium, right_atrium), 20.0)

    def _fitted(self, grow: float, gap: float) -> Shape:
        mass = Grown(self.mass, grow) if grow else self.mass
        around = (self.oesophagus.organ, self.airways.wall, self.veins.azygos, self.arteries.descending)
        fitted = Minus(Cut(mass, outside(self.dome, gap)), around, gap)
        return Cut(fitted, inside(Grown(self.surface.cavity, -2.0 - gap)))

    @cached_property
    def organ(self) -> Shape:
        """The heart with its chambers."""
        return Minus(self._fitted(0.0, 3.5), (self.arteries.aorta, *self.arteries.pulmonary))

    @cached_property
    def pericardium(self) -> Shape:
        """The sac around the heart, with what is in it."""
        return self._fitted(2.5, 1.0)

    @cached_property
    def inferior_veins(self) -> dict[str, Tube]:
        """Inferior pulmonary vein of each side, from the lung into the heart."""
        return {
            "R": self._tube([(-50, 18, -66), (-36, 11, -60), (-18, 4, -55)], p.PULMONARY_VEIN_RADIUS),
            "L": self._tube([(50, 11, -64), (38, 7, -58), (22, 2, -54)], p.PULMONARY_VEIN_RADIUS),
        }

    @cached_property
    def pulmonary_veins(self) -> Shape:
        """The four pulmonary veins up to the heart."""
        upper = ([(-48, -14, -36), (-34, -4, -42), (-18, 0, -46)], [(46, -16, -34), (36, -8, -39), (22, -2, -43)])
        tubes = (self._tube(line, p.PULMONARY_VEIN_RADIUS) for line in upper)
        veins = Union((*tubes, *self.inferior_veins.values()))
        return Minus(veins, (self.organ, self.arteries.aorta, self.airways.wall), 0.3)
