"""Vertebrae with their arches, discs, the canal and the cord."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.region import Point, Region
from tailort.phantom.anatomy.surface import Surface
from tailort.phantom.shapes import EVERYWHERE, Column, Cut, Grown, Minus, Profile, Shape, Tube, Union, inside


@dataclass(frozen=True)
class Vertebra:
    """Where one vertebra is: upper and lower edge of its body, mm."""

    name: str
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        """Middle of the body."""
        return 0.5 * (self.top + self.bottom)


@dataclass(frozen=True, eq=False)
class Spine(Region):
    """The column of C1 to L2; most organs are placed by their distance from its front."""

    surface: Surface

    @cached_property
    def vertebrae(self) -> tuple[Vertebra, ...]:
        """C1 to L2, from the head down."""
        t4 = p.VERTEBRA_NAMES.index("VB_T04")
        top = (p.CARINA_BELOW_T4 + sum(p.VERTEBRA_PITCH[: t4 + 1])) * self.sz
        found = []
        for name, pitch in zip(p.VERTEBRA_NAMES, p.VERTEBRA_PITCH, strict=True):
            share = 0.0 if name in ("VB_C1",) else p.DISC_SHARE
            found.append(Vertebra(name, top, top - pitch * self.sz * (1 - share)))
            top -= pitch * self.sz
        return tuple(found)

    def vertebra(self, name: str) -> Vertebra:
        """The vertebra of this TG-263 name."""
        return next(v for v in self.vertebrae if v.name == name)

    @cached_property
    def y(self) -> Profile:
        """Centre of the vertebral bodies, front to back."""
        return self._profile([(z, y * self.build.kyphosis if y > 0 else y) for z, y in p.SPINE_Y], self.sy)

    def x(self, z: float) -> float:
        """Centre of the vertebral bodies, side to side."""
        return self.build.scoliosis_mm * float(np.sin(2 * np.pi * (z / self.sz + 20) / 420))

    @cached_property
    def half_depth(self) -> Profile:
        """Of the vertebral bodies."""
        return self._profile(p.VERTEBRA_HALF_DEPTH, self.r)

    @cached_property
    def half_width(self) -> Profile:
        """Of the vertebral bodies."""
        return self._profile(p.VERTEBRA_HALF_WIDTH, self.r)

    def front_y(self, z: float) -> float:
        """Y of the front of the vertebral bodies."""
        return self.y(z) - self.half_depth(z)

    def before(self, x: float, behind: float, z: float) -> Point:
        """Point in plane z, at nominal distances to the left of the bodies' middle and behind their front."""
        return x * self.sx + self.x(z), self.front_y(z) + behind * self.sy, z

    @cached_property
    def _canal_depth(self) -> Profile:
        return self._profile(p.CANAL_HALF_DEPTH, self.r)

    def canal_y(self, z: float) -> float:
        """Centre of the spinal canal, front to back."""
        return self.y(z) + self.half_depth(z) + self._canal_depth(z) - 1.0

    @cached_property
    def canal(self) -> Column:
        """The bony canal over the whole scan."""
        depth = self._canal_depth
        width = self._profile(p.CANAL_HALF_WIDTH, self.r)
        return Column(EVERYWHERE, self.x, self.canal_y, width, depth, depth, 2.3)

    @cached_property
    def cord(self) -> Column:
        """The spinal cord down to the conus."""
        low = p.CONUS_Z * self.sz
        taper = self._profile([(p.CONUS_Z, 0.15), (p.CONUS_Z + 10, 0.6), (p.CONUS_Z + 26, 1.0)], 1.0)
        width, depth = self._profile(p.CORD_HALF_WIDTH, self.r), self._profile(p.CORD_HALF_DEPTH, self.r)

        def half_depth(z: float) -> float:
            return depth(z) * taper(z)

        return Column((low, 1e3), self.x, self.canal_y, lambda z: width(z) * taper(z), half_depth, half_depth)

    def body(self, top: float, bottom: float, shrink: float = 0.0) -> Column:
        """A vertebral body between two planes, with its waist."""
        half = 0.5 * (top - bottom)
        middle = 0.5 * (top + bottom)

        def waist(z: float) -> float:
            return 1.6 * (1 - ((z - middle) / half) ** 2) + shrink

        def depth(z: float) -> float:
            return self.half_depth(z) - 0.5 * waist(z)

        return Column(
            (bottom, top), self.x, self.y, lambda z: self.half_width(z) - waist(z), depth, depth,
            2.5,
        )  # fmt: skip

    @cached_property
    def column(self) -> Column:
        """The bodies and discs as one, which soft organs keep away from."""
        return self.body(1e3, -1e3)

    def arch(self, vertebra: Vertebra) -> tuple[Shape, ...]:
        """What lies behind the body, overlapping and not yet without the canal.

        For the right side, then the left: pedicle, lamina, transverse process; last the spinous process.
        """
        z = vertebra.middle + 0.15 * (vertebra.top - vertebra.bottom)
        x0, y0 = self.x(z), self.y(z)
        a, b, h = self.half_width(z), self.half_depth(z), vertebra.top - vertebra.bottom
        canal_back = self.canal_y(z) + self._canal_depth(z)
        width = self.canal.half_width(z)
        cervical, lumbar = vertebra.name.startswith("VB_C"), vertebra.name.startswith("VB_L")
        drop = 0.3 if cervical else 0.15 if lumbar else 0.62
        thick = (2.8 if cervical else 3.4) * self.r
        parts: list[Shape] = []
        for side in (-1, 1):
            pedicle = (x0 + side * (width + 0.55 * thick + 0.6), y0 + 0.75 * b, z)
            joint = (x0 + side * (width + 0.8 * thick), canal_back - 1.5, z - 0.1 * h)
            root = (x0, canal_back + 1.1 * thick, z - 0.22 * h)
            parts.append(Tube([pedicle, joint], [thick, thick * 1.25], (1.0, 1.0, 0.75)))
            parts.append(Tube([joint, root], thick, (1.0, 1.0, 0.55)))
            reach = p.TRANSVERSE_LENGTH * self.r * (0.45 if cervical else 1.0)
            back = -4.0 if cervical else 9.0 if not lumbar else 1.0
            tip = (x0 + side * (a * 0.75 + reach), canal_back - 3.0 + back, z)
            parts.append(Tube([joint, tip], [thick, thick * 0.85], (1.0, 1.0, 0.8)))
        spinous = (
            p.SPINOUS_LENGTH
            * self.r
            * (0.25 if vertebra.name == "VB_C1" else 0.75 if cervical and vertebra.name != "VB_C7" else 1.0)
        )
        start = (x0, canal_back + thick, z - 0.2 * h)
        tip = (x0, canal_back + thick + spinous, z - 0.2 * h - drop * spinous)
        parts.append(Tube([start, tip], [thick * 0.85, thick], (1.25, 1.0, 0.5)))
        return tuple(parts)

    @cached_property
    def bones(self) -> dict[str, Shape]:
        """Every vertebra: body, pedicles, laminae, transverse and spinous processes, without the canal."""
        solids: dict[str, Shape] = {}
        for vertebra in self.vertebrae:
            body = self.body(vertebra.top, vertebra.bottom)
            solids[vertebra.name] = Minus(Union((body, *self.arch(vertebra))), (self.canal,))
        return solids

    @cached_property
    def discs(self) -> tuple[Shape, ...]:
        """The discs between the bodies, C2 downwards."""
        pairs = zip(self.vertebrae[1:], self.vertebrae[2:], strict=False)
        return tuple(Minus(self.body(upper.bottom, lower.top, 0.3), (self.canal,)) for upper, lower in pairs)

    @cached_property
    def paraspinal(self) -> Shape:
        """Soft tissue around the column inside the cavity: ligaments, crura and deep muscles."""

        def middle(z: float) -> float:
            return self.y(z) + self.half_depth(z)

        def front(z: float) -> float:
            return 2 * self.half_depth(z) + 1.2

        def half(z: float) -> float:
            return self.half_width(z) + 4.0 * self.r

        reach = 60.0 * self.sy
        hull = Column(EVERYWHERE, self.x, middle, half, front, lambda z: reach, 3.0)
        back = Column(
            EVERYWHERE, self.x, lambda z: self.canal_y(z) + 28.0 * self.sy, lambda z: 48.0 * self.sx,
            lambda z: 30.0 * self.sy, lambda z: reach,
        )  # fmt: skip
        return Cut(Union((hull, back), 6.0), inside(Grown(self.surface.cavity, 1.5)))
