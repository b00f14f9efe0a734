"""Ribs, sternum, clavicles and shoulder blades."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.region import Point, Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.shapes import Array, Column, Cut, Lattice, Minus, Shape, Tube, mirrored, smooth_line

_FIRST = p.VERTEBRA_NAMES.index("VB_T01")
# Of the first to the twelfth rib: fall from the spine to its lowest part (mm), and end of its bone around the cage
# (degrees from the back); of the first to the tenth: height of its cartilage's end (mm from the carina).
_DROP = (36, 45, 52, 58, 63, 66, 70, 72, 72, 66, 38, 22)
_END = (142, 148, 150, 150, 150, 148, 145, 138, 130, 118, 84, 56)
_STERNAL_Z = (38, 6, -20, -40, -58, -74, -88, -104, -122, -140)


@dataclass(frozen=True, eq=False)
class ChestWall(Region):
    """The bones around the chest."""

    spine: Spine

    @cached_property
    def cage(self) -> Column:
        """Surface in which the middle lines of the ribs run."""

        def clear(z: float) -> float:
            # Where the cavity narrows to the apices a rib must keep its distance along the slope of the wall.
            return (5.6 + 6.5 * float(np.clip(z / (45 * self.sz), 0, 1))) * self.r

        return self._outline((*p.CAGE_TOP, *p.CAVITY_OUTLINE[3:]), clear)

    @cached_property
    def ribs(self) -> tuple[Shape, ...]:
        """Twelve pairs, from the spine around the cage and down to the front."""
        ribs: list[Shape] = []
        above: dict[int, tuple[Shape, ...]] = {-1: (), 1: ()}
        spine = self.spine
        for n in range(len(_DROP)):
            level = self._rib_level(n)
            bones = tuple(spine.bones[name] for name in p.VERTEBRA_NAMES[_FIRST + n - 1 : _FIRST + n + 2])
            for side in (-1, 1):
                line = self._rib_line(n, side)
                head = (
                    spine.x(level) + side * (spine.half_width(level) + 4.0),
                    spine.y(level) + 0.8 * spine.half_depth(level),
                    level,
                )
                neck = (0.55 * head[0] + 0.45 * line[0][0], 0.5 * (head[1] + line[0][1]) + 3, level - 1)
                tube = Tube(smooth_line([head, neck, *line]), (4.6 if n else 4.2) * self.r, (1.0, 1.0, 0.68))
                ribs.append(Minus(tube, (*bones, *above[side]), 0.6))
                above[side] = (tube,)
        return tuple(ribs)

    @cached_property
    def cartilages(self) -> tuple[Shape, ...]:
        """From the ends of the ribs to the sternum."""
        cartilages = []
        for n, height in enumerate(_STERNAL_Z):
            z = height * self.sz
            for side in (-1, 1):
                end = self._rib_line(n, side)[-1]
                x = side * (21 if n == 0 else 15 if n < 7 else 15 + 12 * (n - 6)) * self.sx
                meet = (x, self.sternum_y(z) + (0 if n < 7 else 3 * (n - 6)), z)
                between = self._on_cage(0.5 * (float(np.radians(_END[n])) + np.pi), 0.5 * (end[2] + z), side)
                if n == 0:
                    between = (0.5 * (end[0] + x), 0.5 * (end[1] + meet[1]), 0.5 * (end[2] + z))
                cartilages.append(Tube(smooth_line([end, between, meet]), 4.6 * self.r, (1.0, 1.0, 0.75)))
        return tuple(cartilages)

    def _rib_level(self, n: int) -> float:
        return self.spine.vertebrae[_FIRST + n].top - 2.0

    def _rib_line(self, n: int, side: int) -> list[Point]:
        """Middle line of a rib's bone on the cage, beside the spine first."""
        line = []
        for angle in np.radians(np.linspace(16, _END[n], 30)).tolist():
            fall = _DROP[n] * self.sz * float(np.sin(angle / 2) ** 1.6) / float(np.sin(np.radians(75)) ** 1.6)
            line.append(self._on_cage(angle, self._rib_level(n) - fall, side))
        return line

    def _on_cage(self, angle: float, z: float, side: int) -> Point:
        """Point of the rib cage: angle 0 at the back, pi at the front."""
        power = 2 / p.BODY_EXPONENT
        s, c = abs(np.sin(angle)) ** power, np.sign(np.cos(angle)) * abs(np.cos(angle)) ** power
        return (
            float(side * self.cage.half_width(z) * s),
            float(self.cage.y(z) + self.cage.back(z) * c),
            z,
        )

    @cached_property
    def sternum_y(self) -> Callable[[float], float]:
        """Centre of the sternum, front to back."""
        front = self._profile([(z, f) for z, _, f, _ in p.MUSCLE_OUTLINE], self.sy)
        return lambda z: front(z) + 6.8 * self.sy

    @cached_property
    def sternum(self) -> Shape:
        """Manubrium with the sternal notch, body and xiphoid."""
        width = self._profile(
            [(50, 27), (30, 25), (6, 17), (0, 16), (-60, 19), (-98, 13), (-104, 7), (-126, 5)], self.r
        )
        depth = self._profile([(50, 6), (10, 5.4), (-100, 4.6), (-126, 3.0)], self.r)
        column = Column(
            (-126 * self.sz, (p.STERNAL_NOTCH_Z + 5) * self.sz), lambda z: 0.0, self.sternum_y, width, depth, depth, 2.5
        )

        def under_notch(at: Lattice) -> Array:
            edge = p.STERNAL_NOTCH_Z * self.sz + 4.0 * np.minimum((at.x / (14.0 * self.sx)) ** 2, 1.2)
            return np.broadcast_to(at.z - edge, at.shape)

        return Cut(column, under_notch)

    @cached_property
    def clavicle_lines(self) -> dict[str, NDArray[np.float64]]:
        """Middle lines (n, 3) of both clavicles from their heads outwards."""
        line = [(20, -43, 49), (35, -44, 54), (62, -40, 59), (92, -25, 61), (114, -8, 61), (128, 4, 59)]
        return {name: self._line(mirrored(line, side)) for name, side in (("Clavicle_L", 1), ("Clavicle_R", -1))}

    @cached_property
    def clavicles(self) -> dict[str, Shape]:
        """Both clavicles with their heads at the manubrium."""
        found: dict[str, Shape] = {}
        for name, points in self.clavicle_lines.items():
            along = np.linspace(0, 1, len(points))
            radii = np.interp(along, [0, 0.1, 0.3, 0.7, 1.0], [8.0, 7.4, 5.6, 5.2, 5.6]) * self.r
            found[name] = Minus(Tube(points, radii), (self.sternum,), 1.0)
        return found

    @cached_property
    def scapulae(self) -> tuple[Shape, ...]:
        """Blades behind the ribs, and the heads of the humeri at the shoulders."""
        parts: list[Shape] = []
        for side in (-1, 1):
            for z in np.arange(46.0, -74.0, -6.0):
                share = (46 - z) / 120
                inner = self._points([(side * (64 + 8 * share), 84 - 2 * share, z)])[0]
                outer = self._points([(side * (142 - 50 * share), 48 + 28 * share, z)])[0]
                bend = 0.5 * (inner + outer) + np.array([side * 4.0, 4.0, 0.0])
                parts.append(Tube(smooth_line([inner, bend, outer], 12.0), 2.6 * self.r, (1.0, 1.0, 0.7)))
            spine = self._points([(side * 72, 85, 36), (side * 108, 74, 44), (side * 134, 46, 52)])
            parts.append(Tube(smooth_line(spine), 4.2 * self.r))
            parts.append(self._ball((side * 138, 24, 38), (18, 18, 17)))
        return tuple(parts)
