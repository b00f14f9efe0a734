"""The upper surface of the diaphragm, which parts the chest from the abdomen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.region import Region
from tailort.phantom.shapes import EVERYWHERE, Array, Lattice, Window


@dataclass(frozen=True, eq=False)
class Dome(Region):
    """The diaphragm's upper surface as a height over x and y; as a solid, the room under it."""

    def height(self, x: Array, y: Array) -> Array:
        """Height of the diaphragm's upper surface."""
        xn, yn = x / self.sx, y / self.sy
        u = xn / 132.0
        v = np.where(yn < 0, yn / 84.0, yn / 86.0)
        q4 = (np.abs(u) ** 2.5 + np.abs(v) ** 2.5) ** 1.6
        swing = np.clip((xn + p.DOME_X) / (2 * p.DOME_X), 0, 1)
        middle = 1 - (2 * swing - 1) ** 2
        peak = p.DOME_RIGHT_Z + (p.DOME_LEFT_Z - p.DOME_RIGHT_Z) * (swing * swing * (3 - 2 * swing))
        line = 0.5 * (p.DOME_RIGHT_Z + p.DOME_LEFT_Z)
        peak = peak + (p.SADDLE_Z - line) * middle**2
        towards = np.clip(yn / 60.0, -1, 1)
        fall = p.DOME_FALL_SIDE + np.where(
            towards > 0,
            (p.DOME_FALL_BACK - p.DOME_FALL_SIDE) * towards,
            (p.DOME_FALL_SIDE - p.DOME_FALL_FRONT) * towards,
        )
        height: Array = (peak - fall * q4) * self.sz + self.build.dome_shift_mm
        return height

    z_range = EVERYWHERE

    def window(self, z: float) -> Window:
        """See `Shape.window`."""
        return (*EVERYWHERE, *EVERYWHERE)

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`: below 0 under the surface."""
        return self._slant(at.x, at.y) * (at.z - self.height(at.x, at.y))

    def _slant(self, x: Array, y: Array) -> Array:
        """Cosine of the surface's slope, which turns a height into a distance."""
        step = 1.0
        dx = (self.height(x + step, y) - self.height(x - step, y)) / (2 * step)
        dy = (self.height(x, y + step) - self.height(x, y - step)) / (2 * step)
        slant: Array = 1 / np.sqrt(1 + dx * dx + dy * dy)
        return slant
