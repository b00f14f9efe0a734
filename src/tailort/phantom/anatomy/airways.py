"""Trachea, carina and main bronchi."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.course import Course
from tailort.phantom.anatomy.region import Point, Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.shapes import FAR_MM, Cut, Ellipsoid, Grown, Shape, Tube, Union, smooth_line


@dataclass(frozen=True, eq=False)
class Airways(Region):
    """The airways down to the hila of the lungs."""

    spine: Spine
    course: Course

    def trachea_centre(self, z: float) -> Point:
        """Centre of the trachea in a plane."""
        zn = z / self.sz
        e = self.course.line
        y = float(np.interp(-z, -e[:, 2], e[:, 1])) - self.course.radius(z) / p.OESOPHAGUS_FLATNESS
        x = float(np.interp(zn, [0, 20, 60, 105], [-5.0, -5.5, -1.5, 0.0]))
        return x * self.sx + self.spine.x(z), y - (p.TRACHEA_RADIUS + p.TRACHEA_WALL) * self.r - 0.8, z

    @cached_property
    def carina(self) -> Point:
        """Where the trachea divides."""
        return self.trachea_centre(0.0)

    @cached_property
    def carina_marker(self) -> Ellipsoid:
        """A small volume around the point where the trachea divides."""
        return Ellipsoid(self.carina, (4.0, 4.0, 4.0))

    @cached_property
    def trachea(self) -> Shape:
        """From the cricoid to the carina, with its wall's inner surface."""
        points = np.array([self.trachea_centre(z) for z in np.linspace((p.CRICOID_Z - 6) * self.sz, 0.0, 30)])
        radii = np.linspace(p.TRACHEA_RADIUS * 0.95, p.TRACHEA_RADIUS, 30) * self.r
        radii[-3:] *= 0.98
        return Cut(Tube(points, radii), limits=(0.0, (p.CRICOID_Z - 6) * self.sz))

    @cached_property
    def bronchus_lines(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Middle lines (n, 3) of the right and the left main bronchus."""
        x, y, z = self.carina
        start = (x, y, z + 4)

        def from_carina(left: float, back: float, down: float) -> Point:
            return x + left * self.sx, y + back * self.sy, z - down * self.sz

        right = [start, from_carina(-17, 6, 17), from_carina(-34, 12, 33)]
        left = [start, from_carina(19, 4.5, 16), from_carina(41, 10, 33)]
        return smooth_line(right), smooth_line(left)

    @cached_property
    def bronchi(self) -> Shape:
        """Both main bronchi."""
        right_line, left_line = self.bronchus_lines
        radius = p.BRONCHUS_RADIUS * self.r
        right_radii = np.full(len(right_line), radius)
        right_radii[0] *= 1.1
        tubes = (Tube(right_line, right_radii), Tube(left_line, radius * 0.92))
        return Cut(Union(tubes), limits=(-FAR_MM, -0.01))

    @cached_property
    def lumen(self) -> Shape:
        """The air in trachea and main bronchi."""
        return Union((self.trachea, self.bronchi))

    @cached_property
    def wall(self) -> Shape:
        """Trachea and main bronchi with their walls."""
        return Grown(self.lumen, p.TRACHEA_WALL)

    def hilum(self, side: int) -> NDArray[np.float64]:
        """Where the vessels of a lung begin to branch, beside the end of its bronchus."""
        x, y, z = self.carina
        out = 38 if side > 0 else 32
        return np.array([x + side * out * self.sx, y + 10 * self.sy, z - 31 * self.sz])
