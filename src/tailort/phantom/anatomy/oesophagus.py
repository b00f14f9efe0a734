"""The oesophagus with its wall and lumen, and the tumour in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.airways import Airways
from tailort.phantom.anatomy.arteries import Arteries
from tailort.phantom.anatomy.course import Course
from tailort.phantom.anatomy.region import Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.shapes import Cut, Grown, Minus, Nothing, Shape, Tube, Union, inside


class Gullet(Protocol):
    """The way of food through the chest, whatever surgery has left or made of it."""

    @property
    def organ(self) -> Shape:
        """Everything of it that other organs make room for."""

    @property
    def tumour(self) -> Shape:
        """Tumour in its wall."""

    @property
    def lumen(self) -> Shape:
        """Inside of the oesophagus."""

    @property
    def conduit(self) -> Shape | None:
        """The stomach as a tube in the oesophagus' place; None where the stomach lies in the abdomen."""


@dataclass(frozen=True, eq=False)
class Oesophagus(Region):
    """The organ along its course, dented by its neighbours."""

    spine: Spine
    course: Course
    airways: Airways
    arteries: Arteries

    conduit: ClassVar[Shape | None] = None

    @cached_property
    def _tumour_line(self) -> NDArray[np.float64]:
        upper, lower = self.course.tumour_along_mm
        between = (self.course.along > upper) & (self.course.along < lower)
        at = np.concatenate(([upper], self.course.along[between], [lower]))
        return np.array([self.course.point(float(along)) for along in at])

    def _dented(self, pipe: Shape) -> Shape:
        return Minus(pipe, (self.airways.wall, self.arteries.aorta, self.spine.column), 0.8)

    @cached_property
    def tumour(self) -> Shape:
        """GTVp: the whole cross-section of the organ over the tumour's length, thickened."""
        line = self._tumour_line
        # How much of the full thickness is there: 1 in the middle, 0 at both ends.
        bulge = 1 - np.abs(np.linspace(-1, 1, len(line))) ** 3
        normal = self.course.radii(line)
        full = (p.TUMOUR_LUMEN_MM + self.build.wall_thickness_mm) * np.sqrt(p.OESOPHAGUS_FLATNESS)
        side = np.array([*self.build.tumour_side_mm, 0.0]) * bulge[:, None]
        radii = normal + np.maximum(full - normal, 0.5) * bulge
        swollen = Tube(line + side, radii, (1.0, p.OESOPHAGUS_FLATNESS, 1.0))
        solid = self._dented(swollen)
        top, bottom = float(line[0, 2]), float(line[-1, 2])
        return Cut(solid, limits=(bottom, top))

    @cached_property
    def organ(self) -> Shape:
        """The whole organ with wall and lumen, and the tumour in it."""
        line = self.course.line
        radii = self.course.radii(line)
        pipe = Tube(line, radii, (1.0, p.OESOPHAGUS_FLATNESS, 1.0))
        high, low = float(line[0, 2]), float(line[-1, 2])
        return Union((Cut(self._dented(pipe), limits=(low, high)), self.tumour))

    @cached_property
    def lumen(self) -> Shape:
        """Inside of the oesophagus, narrow in the tumour."""
        line = self.course.line[1:-1]
        upper, lower = self.course.tumour_along_mm
        share = np.clip((2 * self.course.along[1:-1] - upper - lower) / (lower - upper), -1, 1)
        inner = self.course.radii(line) - p.OESOPHAGEAL_WALL_MM
        radii = inner + (p.TUMOUR_LUMEN_MM - inner) * (1 - np.abs(share) ** 3)
        return Cut(Tube(line, radii, (1.0, 1.35, 1.0)), inside(Grown(self.organ, -1.2)))


@dataclass(frozen=True, eq=False)
class Spared(Region):
    """The oesophagus without a tumour."""

    spine: Spine
    course: Course
    airways: Airways
    arteries: Arteries

    tumour: ClassVar[Shape] = Nothing()
    conduit: ClassVar[Shape | None] = None

    @cached_property
    def organ(self) -> Shape:
        """The whole organ with wall and lumen."""
        line = self.course.line
        pipe = Tube(line, self.course.radii(line), (1.0, p.OESOPHAGUS_FLATNESS, 1.0))
        fitted = Minus(pipe, (self.airways.wall, self.arteries.aorta, self.spine.column), 0.8)
        return Cut(fitted, limits=(float(line[-1, 2]), float(line[0, 2])))

    @cached_property
    def lumen(self) -> Shape:
        """Inside of the oesophagus."""
        line = self.course.line[1:-1]
        pipe = Tube(line, self.course.radii(line) - p.OESOPHAGEAL_WALL_MM, (1.0, 1.35, 1.0))
        return Cut(pipe, inside(Grown(self.organ, -1.2)))
