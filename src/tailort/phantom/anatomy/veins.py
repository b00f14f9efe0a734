"""Caval, brachiocephalic, jugular and azygos veins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.airways import Airways
from tailort.phantom.anatomy.oesophagus import Gullet
from tailort.phantom.anatomy.region import Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.shapes import Minus, Shape, Tube, smooth_line


@dataclass(frozen=True, eq=False)
class Veins(Region):
    """Veins of the neck, the chest and the upper abdomen."""

    spine: Spine
    airways: Airways
    oesophagus: Gullet

    @cached_property
    def great_veins(self) -> tuple[Shape, ...]:
        """Upper caval vein, brachiocephalic and jugular veins."""
        right = [(-36, -12, 165), (-36, -14, 110), (-34, -22, 75), (-32, -27, 58), (-29, -28, 40), (-27, -27, 20)]
        left = [
            (37, -12, 165), (37, -14, 110), (34, -24, 75), (30, -34, 56), (14, -42, 44), (-6, -42, 34), (-22, -33, 22),
        ]  # fmt: skip
        cava = [(-27, -27, 22), (-29, -24, 0), (-31, -22, -25), (-31, -22, -45)]
        return self._tube(right, 6.3), self._tube(left, 6.3), self._tube(cava, p.CAVA_RADIUS)

    @cached_property
    def cava_inferior(self) -> Shape:
        """Lower caval vein, right of the aorta and through the liver into the right atrium."""
        course = (
            (-285, -20, -11), (-230, -21, -13), (-190, -23, -19), (-150, -25, -32), (-125, -27, -42), (-102, -29, -50),
        )  # fmt: skip
        line = [self.spine.before(x, behind, z * self.sz) for z, x, behind in course]
        return Tube(smooth_line(line), 10.5 * self.r, (0.9, 1.05, 1.0))

    @cached_property
    def azygos(self) -> Shape:
        """Azygos vein: up the right front of the spine, then forward over the right bronchus into the caval vein."""
        return Minus(self.azygos_course, (self.oesophagus.organ, self.airways.wall), 0.5)

    @cached_property
    def azygos_course(self) -> Tube:
        """The azygos vein before it is fitted to its neighbours."""
        course = ((-195, -7), (-150, -9), (-100, -10), (-50, -10.5), (-15, -11))
        line = [self.spine.before(x, -2.6, z * self.sz) for z, x in course]
        x, y, _ = self.airways.carina
        edge = x - (p.TRACHEA_RADIUS + p.TRACHEA_WALL + p.AZYGOS_RADIUS + 1.5) * self.r
        line += [
            (edge + 4, y + 26 * self.sy, 0.0), (edge - 1.5, y + 16 * self.sy, 8 * self.sz), (edge - 2, y, 11 * self.sz),
            (-25 * self.sx, -16 * self.sy, 10 * self.sz),
        ]  # fmt: skip
        return Tube(smooth_line(line), p.AZYGOS_RADIUS * self.r)
