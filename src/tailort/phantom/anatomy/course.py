"""Where the oesophagus runs, and where along it the tumour lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.region import Point, Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.shapes import Profile, smooth_line


@dataclass(frozen=True, eq=False)
class Course(Region):
    """Centre-line of the oesophagus and distances along it, from the inlet and from the incisors."""

    spine: Spine

    @cached_property
    def radius(self) -> Profile:
        """Half width of the collapsed organ."""
        return self._profile(p.OESOPHAGUS_RADIUS, self.r)

    @cached_property
    def line(self) -> NDArray[np.float64]:
        """Centre-line (n, 3) from the cricoid to the junction, 2 mm apart."""
        points = []
        sway, ripple = self.build.oesophagus_sway_mm
        for z, x, gap in p.OESOPHAGUS:
            zs = z * self.sz
            share = np.clip((z + 85) / 165, 0, 1)
            swing = sway * np.sin(np.pi * share) + ripple * np.sin(2 * np.pi * share)
            depth = self.radius(zs) / p.OESOPHAGUS_FLATNESS
            points.append((x * self.sx + swing + self.spine.x(zs), self.spine.front_y(zs) - gap * self.sy - depth, zs))
        return smooth_line(points, 2.0)

    def radii(self, line: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half width of the collapsed organ at the points (n, 3) of a line."""
        return np.array([self.radius(float(z)) for z in line[:, 2]])

    @cached_property
    def along(self) -> NDArray[np.float64]:
        """Distance of the centre-line's points from its upper end."""
        steps = np.linalg.norm(np.diff(self.line, axis=0), axis=1)
        along: NDArray[np.float64] = np.concatenate(([0.0], np.cumsum(steps)))
        return along

    @property
    def length_mm(self) -> float:
        """From the cricoid to the junction with the stomach, along the organ."""
        return float(self.along[-1])

    def incisors_cm(self, along_mm: float) -> float:
        """Distance from the incisors of a point this far below the inlet, along the organ, cm."""
        return p.INCISORS_TO_INLET_CM * self.sz + along_mm / 10

    def point(self, along_mm: float) -> Point:
        """Point of the centre-line this far below the inlet."""
        x, y, z = (float(np.interp(along_mm, self.along, self.line[:, axis])) for axis in range(3))
        return x, y, z

    def at_incisors_cm(self, from_incisors_cm: float) -> Point:
        """Point of the centre-line this far from the incisors."""
        at = (from_incisors_cm - p.INCISORS_TO_INLET_CM * self.sz) * 10
        return self.point(at)

    @cached_property
    def tumour_along_mm(self) -> tuple[float, float]:
        """Upper and lower end of the tumour below the inlet, along the organ."""
        centre = (self.build.tumour_centre_cm - p.INCISORS_TO_INLET_CM * self.sz) * 10
        half = self.build.tumour_length_mm / 2
        centre = float(np.clip(centre, half + 4, self.length_mm - half - 4))
        return centre - half, centre + half

    @property
    def tumour_centre_cm(self) -> float:
        """Distance of the tumour's middle from the incisors."""
        return self.incisors_cm(0.5 * sum(self.tumour_along_mm))

    @property
    def tumour_to_junction_cm(self) -> float:
        """From the tumour's lower end to the junction with the stomach, along the organ."""
        return (self.length_mm - self.tumour_along_mm[1]) / 10
