"""Skin, breasts, the layer of muscle under the fat, and the inner wall of chest and abdomen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.region import Region
from tailort.phantom.shapes import Column, Grown, Minus, Shape, Union


@dataclass(frozen=True, eq=False)
class Surface(Region):
    """The outlines that everything else lies in."""

    def fat(self, z: float) -> float:
        """Thickness of the subcutaneous fat and skin."""
        full = self.build.fat_mm
        knots = ((-270.0, 1.45), (-150.0, 1.2), (-40.0, 1.0), (40.0, 0.9), (75.0, 0.7), (105.0, 0.4), (220.0, 0.35))
        share = float(np.interp(z / self.sz, [k[0] for k in knots], [k[1] for k in knots]))
        return max(full * share, 3.2)

    @cached_property
    def muscle_outline(self) -> Column:
        """The body without subcutaneous fat."""
        return self._outline(p.MUSCLE_OUTLINE)

    @cached_property
    def external(self) -> Shape:
        """The skin's surface."""
        trunk = self._outline(p.MUSCLE_OUTLINE, self.fat)
        return Union((trunk, *self._breasts), 14.0 if self._breasts else 0.0)

    @cached_property
    def _breasts(self) -> tuple[Shape, ...]:
        if self.build.sex == "M":
            return ()
        big = 0.8 + 0.02 * self.build.fat_mm
        return tuple(self._ball((side * 78, -88, -58), (54 * big, 29 * big, 46 * big)) for side in (-1, 1))

    @cached_property
    def breast_glands(self) -> tuple[Shape, ...]:
        """Glandular tissue, for the picture."""
        if self.build.sex == "M":
            return ()
        return tuple(self._ball((side * 80, -104, -58), (24, 12, 22)) for side in (-1, 1))

    @cached_property
    def skin(self) -> Shape:
        """The outer layer of the body."""
        return Minus(self.external, (Grown(self.external, -p.SKIN_MM),))

    @cached_property
    def cavity(self) -> Column:
        """Chest and abdomen inside their walls."""
        return self._outline(p.CAVITY_OUTLINE, z_range=(-1e3, 70.5 * self.sz))
