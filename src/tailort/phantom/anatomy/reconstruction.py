"""The way of food after oesophagectomy: what is left of the oesophagus, and the stomach drawn up as a tube."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.airways import Airways
from tailort.phantom.anatomy.arteries import Arteries
from tailort.phantom.anatomy.course import Course
from tailort.phantom.anatomy.oesophagus import Spared
from tailort.phantom.anatomy.region import Point, Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.anatomy.veins import Veins
from tailort.phantom.shapes import Array, Cut, Grown, Lattice, Minus, Nothing, Shape, Tube, Union, inside, smooth_line


@dataclass(frozen=True, eq=False)
class Reconstruction(Region):
    """Oesophagus down to the anastomosis, and from there the gastric tube in the posterior mediastinum."""

    spine: Spine
    course: Course
    airways: Airways
    arteries: Arteries
    anastomosis_z: float

    tumour: ClassVar[Shape] = Nothing()

    @cached_property
    def anastomosis(self) -> Point:
        """Middle of the join of oesophagus and gastric tube, on the oesophagus' old course."""
        return self.course.point(self.anastomosis_along_mm)

    @property
    def anastomosis_along_mm(self) -> float:
        """How far below the inlet of the oesophagus the join lies, along the organ."""
        return float(np.interp(-self.anastomosis_z, -self.course.line[:, 2], self.course.along))

    @cached_property
    def _neighbours(self) -> tuple[Shape, ...]:
        whole = Veins(self.build, self.spine, self.airways, self._before).azygos_course
        # Its arch is divided at the operation: the tube runs where it was.
        azygos = Cut(whole, limits=(-1e3, p.AZYGOS_DIVIDED_Z * self.sz))
        return (
            self.airways.wall, self.arteries.aorta, self.spine.column, azygos, *self.arteries.subclavian,
            *self.arteries.carotids.values(),
        )  # fmt: skip

    @cached_property
    def _before(self) -> Spared:
        return Spared(self.build, self.spine, self.course, self.airways, self.arteries)

    @cached_property
    def remnant(self) -> Shape:
        """The oesophagus above the anastomosis."""
        return Cut(self._before.organ, limits=(self.anastomosis_z, 1e3))

    @cached_property
    def line(self) -> NDArray[np.float64]:
        """Centre-line (n, 3) of the gastric tube from the anastomosis to the pylorus."""
        points = [self.anastomosis]
        for z, x, behind in p.CONDUIT:
            if z * self.sz < self.anastomosis_z - 12:
                points.append(self.spine.before(x, behind, z * self.sz))
        return smooth_line(points, 3.0)

    @cached_property
    def conduit(self) -> Shape:
        """The stomach as a tube, with its wall and content."""
        steps = np.linalg.norm(np.diff(self.line, axis=0), axis=1)
        along = np.concatenate(([0.0], np.cumsum(steps)))
        start = self.course.radius(self.anastomosis_z)
        wide = np.interp(
            -self.line[:, 2] / self.sz, [-z for z, _ in p.CONDUIT_RADIUS], [r for _, r in p.CONDUIT_RADIUS]
        )
        share = np.clip(along / p.CONDUIT_WIDENS_OVER, 0, 1)
        radii = start + (wide * self.r - start) * share
        pipe = Tube(self.line, radii, (1.0, p.CONDUIT_FLATNESS, 1.0))
        return Cut(Minus(pipe, self._neighbours, 0.8), limits=(-1e3, self.anastomosis_z))

    @cached_property
    def organ(self) -> Shape:
        """Both together, which other organs make room for."""
        return Union((self.remnant, self.conduit))

    @cached_property
    def lumen(self) -> Shape:
        """Inside of the oesophagus above the anastomosis."""
        return Cut(self._before.lumen, limits=(self.anastomosis_z + 1.0, 1e3))

    @cached_property
    def content(self) -> tuple[Shape, Shape]:
        """Fluid in the gastric tube, and gas over it where there is some: the patient lies on the back."""
        low, high = float(self.line[-1, 2]) - 8.0, self.anastomosis_z - 8.0
        fluid = Cut(Grown(self.conduit, -p.CONDUIT_WALL_MM), limits=(low, high))
        heights, middle = -self.line[:, 2], self.line[:, 1]

        def over_fluid(at: Lattice) -> Array:
            # Filled unevenly along its length, nearly collapsed in between.
            level = (
                float(np.interp(-at.z, heights, middle)) + 7.0 * np.sin(at.z / (19.0 * self.sz) + self.build.seed) - 2
            )
            return np.broadcast_to(at.y - level, at.shape)

        return fluid, Cut(fluid, over_fluid)

    @cached_property
    def staples(self) -> tuple[Shape, ...]:
        """Ring of clips at the anastomosis and the staple line along the tube's right side."""
        x, y, z = self.anastomosis
        around = self.course.radius(z) - 1.0
        parts: list[Shape] = []
        for angle in np.linspace(0, 2 * np.pi, 10, endpoint=False):
            at = np.array([x + around * np.cos(angle), y + 0.85 * around * np.sin(angle), z])
            parts.append(Tube(np.stack([at, at - (0, 0, 2.0)]), p.STAPLE_RADIUS))
        for point in self.line[8::3]:
            if point[2] < p.HIATUS_Z * self.sz:
                break
            beside = np.array([point[0] - 0.8 * 12.0 * self.r, point[1] - 2.0, point[2]])
            parts.append(Tube(np.stack([beside, beside - (0, 0, 2.5)]), p.STAPLE_RADIUS))
        return tuple(Cut(part, inside(Grown(self.organ, -0.8))) for part in parts)
