"""From the nominal body to this person's: what every region of the body is built with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tailort.phantom import parameters as p
from tailort.phantom.shapes import EVERYWHERE, Column, Ellipsoid, Profile, Tube, smooth_line

Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Region:
    """One region of a person's body, built from the nominal one by scaling along x, y and z.

    Coordinates are the body's own: z = 0 at the carina, x to the left, y to the back, z to the head, mm. A region's
    attributes are solids (`Shape`) and the lines and levels they are built on, made when first asked for; the fields
    of a region are the regions that it is fitted to.
    """

    build: p.Build

    @cached_property
    def sx(self) -> float:
        """Scale from side to side."""
        return self.build.scale[0]

    @cached_property
    def sy(self) -> float:
        """Scale from front to back."""
        return self.build.scale[1]

    @cached_property
    def sz(self) -> float:
        """Scale along the body."""
        return self.build.scale[2]

    @cached_property
    def r(self) -> float:
        """Scale of radii."""
        return self.build.girth

    def _profile(self, pairs: Sequence[tuple[float, float]], scale: float) -> Profile:
        return Profile([(z * self.sz, value * scale) for z, value in pairs])

    def _points(self, points: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = np.array(points, dtype=np.float64) * np.array([self.sx, self.sy, self.sz])
        return scaled

    def _line(self, points: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        return smooth_line(self._points(points))

    def _tube(
        self, points: Sequence[Sequence[float]], radius: float, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> Tube:
        return Tube(self._line(points), radius * self.r, stretch)

    def _ball(
        self, centre: Sequence[float], radii: Sequence[float], axes: NDArray[np.float64] | None = None
    ) -> Ellipsoid:
        x, y, z = (float(c) for c in self._points([centre])[0])
        return Ellipsoid((x, y, z), (radii[0] * self.sx, radii[1] * self.sy, radii[2] * self.sz), axes)

    def _outline(
        self,
        table: Sequence[tuple[float, float, float, float]],
        grow: Callable[[float], float] = lambda z: 0.0,
        z_range: tuple[float, float] = EVERYWHERE,
    ) -> Column:
        """Column through a table of (z, half width, foremost y, hindmost y), widened by `grow` mm at each z."""
        half = self._profile([(z, a) for z, a, _, _ in table], self.sx)
        front = self._profile([(z, f) for z, _, f, _ in table], self.sy)
        back = self._profile([(z, b) for z, _, _, b in table], self.sy)

        def middle(z: float) -> float:
            return 0.5 * (front(z) + back(z))

        def depth(z: float) -> float:
            return 0.5 * (back(z) - front(z)) + grow(z)

        return Column(z_range, lambda z: 0.0, middle, lambda z: half(z) + grow(z), depth, depth, p.BODY_EXPONENT)
