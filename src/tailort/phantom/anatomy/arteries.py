"""The aorta and its branches, and the pulmonary arteries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.region import Point, Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.shapes import Minus, Shape, Tube, mirrored, smooth_line


@dataclass(frozen=True, eq=False)
class Arteries(Region):
    """Arteries of the neck, the chest and the upper abdomen."""

    spine: Spine

    @cached_property
    def aorta(self) -> Tube:
        """Ascending aorta, arch and descending aorta, beside and then before the spine on the left."""
        wide = self.build.vessel * self.r
        rise = self._points([
            (-1, -33, -48), (-8, -33, -34), (-13, -32, -15), (-13, -32, 0), (-6, -31, 11), (6, -26, 16), (18, -12, 17),
            (25, 4, 14),
        ])  # fmt: skip
        fall = []
        for z, x, behind in (
            (0, 26.5, -3.2), (-15, 26.5, -3.0), (-40, 25.5, -3.0), (-60, 24.5, -4.0), (-90, 21.5, -7.0),
            (-120, 16.5, -10.5), (-150, 10.5, -12.0), (-180, 6.5, -12.5), (-220, 4.5, -12.5), (-285, 3.0, -12.5),
        ):  # fmt: skip
            fall.append(self.spine.before(x, behind, z * self.sz))
        line = smooth_line(np.vstack([rise, fall]))
        apex = int(np.argmax(line[:, 2]))
        ascending, arch, descending, abdominal = (
            wide * r for r in (p.ASCENDING_RADIUS, p.ARCH_RADIUS, p.DESCENDING_RADIUS, p.ABDOMINAL_RADIUS)
        )
        radii = np.empty(len(line))
        radii[: apex + 1] = np.interp(np.arange(apex + 1), [0, 0.5 * apex, apex], [ascending, ascending, arch])
        height = line[apex:, 2] / self.sz
        radii[apex:] = np.interp(
            -height, [-18, 5, 40, 110, 190], [arch, arch, descending, descending * 0.96, abdominal]
        )
        return Tube(line, radii)

    @cached_property
    def arch_top(self) -> Point:
        """Highest point of the aorta."""
        n = int(np.argmax(self.aorta.points[:, 2] + self.aorta.radii))
        x, y, z = (float(v) for v in self.aorta.points[n])
        return x, y, z + float(self.aorta.radii[n])

    @cached_property
    def descending(self) -> Shape:
        """The aorta behind the heart (its root belongs inside the sac)."""
        top = int(np.argmax(self.aorta.points[:, 2]))
        return Tube(self.aorta.points[top:], self.aorta.radii[top:])

    @cached_property
    def brachiocephalic(self) -> Shape:
        """The brachiocephalic artery."""
        return Minus(
            self._tube([(-6, -30, 14), (-11, -30, 32), (-17, -24, 50), (-24, -18, 62)], p.BRACHIOCEPHALIC_RADIUS),
            (self.aorta,),
        )  # fmt: skip

    @cached_property
    def carotids(self) -> dict[str, Shape]:
        """Both common carotid arteries."""
        up = [(26, -14, 86), (27, -13, 110), (27, -11, 140), (29, -10, 165), (30, -8, 190), (31, -6, 225)]
        right = [(-24, -18, 62), (-25, -16, 72), *mirrored(up, -1)]
        left = [(8, -25, 20), (12, -22, 36), (17, -17, 55), (22, -15, 70), *up]
        return {
            "A_Carotid_R": Minus(self._tube(right, p.CAROTID_RADIUS), (self.brachiocephalic,)),
            "A_Carotid_L": Minus(self._tube(left, p.CAROTID_RADIUS), (self.aorta,)),
        }

    @cached_property
    def subclavian(self) -> tuple[Shape, ...]:
        """Both subclavian arteries over the apices of the lungs."""
        right = [(-24, -18, 62), (-36, -12, 68), (-58, -6, 72), (-88, -2, 62), (-118, 4, 44)]
        left = [(20, -8, 22), (25, -4, 42), (28, 0, 58), (38, -2, 68), (60, -6, 72), (88, -2, 62), (118, 4, 44)]
        return self._tube(right, p.SUBCLAVIAN_RADIUS), self._tube(left, p.SUBCLAVIAN_RADIUS)

    @cached_property
    def pulmonary(self) -> tuple[Shape, ...]:
        """Pulmonary trunk and both arteries."""
        return (
            self._tube([(20, -50, -44), (17, -45, -28), (14, -36, -16)], p.PULMONARY_TRUNK_RADIUS),
            self._tube(
                [(14, -33, -17), (0, -16, -22), (-18, -12, -24), (-40, -10, -30)], p.PULMONARY_ARTERY_RADIUS * 0.9
            ),
            self._tube([(14, -33, -16), (28, -22, -14), (40, -6, -14), (47, 4, -24)], p.PULMONARY_ARTERY_RADIUS * 0.95),
        )

    @cached_property
    def celiac_origin(self) -> Point:
        """Where the coeliac trunk leaves the aorta, in the aorta's middle."""
        return self.spine.before(5.5, -12.5, self.spine.vertebra("VB_T12").bottom)

    @cached_property
    def celiac(self) -> Shape:
        """The coeliac trunk, from the front of the aorta at T12/L1."""
        x, y, z = self.celiac_origin
        line = [(x, y, z), (x, y - 14 * self.sy, z - 2), (x - 3, y - 26 * self.sy, z - 4)]
        return Minus(Tube(smooth_line(line), p.CELIAC_RADIUS * self.r), (self.aorta,))
