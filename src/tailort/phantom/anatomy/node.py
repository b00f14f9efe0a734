"""One enlarged lymph node near the tumour."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from tailort.errors import InputError
from tailort.phantom.anatomy.airways import Airways
from tailort.phantom.anatomy.arteries import Arteries
from tailort.phantom.anatomy.course import Course
from tailort.phantom.anatomy.heart import Heart
from tailort.phantom.anatomy.oesophagus import Gullet
from tailort.phantom.anatomy.region import Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.anatomy.veins import Veins
from tailort.phantom.shapes import Ellipsoid, Nothing, Shape, field_at


class Lump(Protocol):
    """A growth in the fat, for which lungs and abdomen make room."""

    @property
    def solid(self) -> Shape:
        """The growth."""


@dataclass(frozen=True, eq=False)
class Growth:
    """A growth of known shape, or none."""

    solid: Shape = field(default_factory=Nothing)


@dataclass(frozen=True, eq=False)
class Node(Region):
    """GTVn and the search for a place where it touches nothing."""

    spine: Spine
    course: Course
    airways: Airways
    arteries: Arteries
    oesophagus: Gullet
    veins: Veins
    heart: Heart

    @cached_property
    def solid(self) -> Ellipsoid:
        """GTVn: one enlarged node in the fat near the tumour, clear of every other organ."""
        upper, lower = self.course.tumour_along_mm
        start = 0.5 * (upper + lower)
        obstacles: tuple[Shape, ...] = (
            self.airways.wall, self.oesophagus.organ, self.spine.column, self.heart.mass, self.heart.pulmonary_veins,
            self.veins.azygos, *self.veins.great_veins, self.arteries.aorta, self.arteries.brachiocephalic,
            *self.arteries.carotids.values(), *self.arteries.subclavian, *self.arteries.pulmonary,
        )  # fmt: skip
        for radius in (self.build.node_radius_mm, 5.0):
            for shift in (0.0, -8.0, 8.0, -16.0, 16.0, -24.0, 24.0, -34.0, 34.0, -46.0, 46.0):
                along = float(np.clip(start + shift, 6.0, self.course.length_mm - 6.0))
                cx, cy, cz = self.course.point(along)
                for distance in (1.0, 3.0, 6.0, 10.0, 14.0):
                    for degrees in (190, 210, 170, 230, 150, 250, 350, 330, 10, 270, 30, 300):
                        angle = np.radians(degrees)
                        reach = self.course.radius(cz) + radius + distance
                        centre = (cx + reach * float(np.cos(angle)), cy + reach * float(np.sin(angle)), cz)
                        if all(field_at(shape, centre) > radius + 0.8 for shape in obstacles):
                            return Ellipsoid(centre, (radius, radius, 1.25 * radius))
        raise InputError(
            f"the virtual patient of seed {self.build.seed} has no room for a lymph node near a tumour of "
            f"{self.build.tumour_length_mm:g} mm length and {self.build.wall_thickness_mm:g} mm wall: ask for less"
        )
