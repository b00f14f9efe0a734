"""Regions of lymph nodes that are treated as a whole, at the neck's foot and around the coeliac trunk.

Borders follow the atlases below and are fitted to this body; what the CT shows there stays fat, muscle and vessels.

References
----------
RTOG, Breast cancer atlas for radiation therapy planning: consensus definitions (White, Tai, Arthur et al. 2009):
supraclavicular nodes from below the cricoid to the lower edge of the clavicle's head, behind the sternomastoid, before
the scalenes, to the sternomastoid's lateral edge above and to where first rib and clavicle meet below; without thyroid
and trachea.
Grégoire, Ang, Budach et al. 2014, doi:10.1016/j.radonc.2013.10.010: levels IVb and Vc, from the carotid's medial edge.
Goodman, Regine, Dawson et al. 2012, doi:10.1016/j.ijrobp.2012.01.022: the first 10 to 15 mm of the coeliac trunk with
10 to 15 mm around them.
Wu, Bosch, Chang et al. 2015, doi:10.1016/j.ijrobp.2015.03.030: elective nodes in oesophageal cancer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.abdomen import Abdomen
from tailort.phantom.anatomy.airways import Airways
from tailort.phantom.anatomy.arteries import Arteries
from tailort.phantom.anatomy.chest_wall import ChestWall
from tailort.phantom.anatomy.lungs import Lungs
from tailort.phantom.anatomy.neck import Neck
from tailort.phantom.anatomy.oesophagus import Gullet
from tailort.phantom.anatomy.region import Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.anatomy.surface import Surface
from tailort.phantom.anatomy.veins import Veins
from tailort.phantom.shapes import Column, Cut, Grown, Minus, Shape, Tube, inside, smooth_line


@dataclass(frozen=True, eq=False)
class Stations(Region):
    """Supraclavicular nodes of both sides and coeliac nodes."""

    surface: Surface
    spine: Spine
    chest_wall: ChestWall
    airways: Airways
    arteries: Arteries
    oesophagus: Gullet
    veins: Veins
    lungs: Lungs
    abdomen: Abdomen
    neck: Neck

    @cached_property
    def supraclavicular(self) -> dict[str, Shape]:
        """Fossa of each side; the jugular vein, along which its nodes lie, is part of it, arteries are not."""
        bones = (
            *self.chest_wall.clavicles.values(), *self.chest_wall.ribs[:4], *self.chest_wall.cartilages[:2],
            self.chest_wall.sternum, *(self.spine.bones[name] for name in p.VERTEBRA_NAMES[4:10]),
        )  # fmt: skip
        others = (
            *self.neck.neck_muscles, *self.neck.thyroid, self.neck.larynx, self.neck.pharynx, self.airways.wall,
            self.oesophagus.organ, *self.arteries.carotids.values(), self.arteries.brachiocephalic,
            *self.arteries.subclavian, Grown(self.lungs.both, 1.0), *bones,
        )  # fmt: skip
        return {
            name: Minus(Cut(self._fossa(side), inside(self.surface.muscle_outline, 2.0)), others, 0.6)
            for name, side in (("LN_Sclav_L", 1), ("LN_Sclav_R", -1))
        }

    def _fossa(self, side: int) -> Column:
        """Room between carotid, sternomastoid and scalenes, before they are taken out of it."""
        table = p.SUPRACLAVICULAR_OUTLINE
        middle = self._profile([(z, side * 0.5 * (inner + outer)) for z, inner, outer, _, _ in table], self.sx)
        half = self._profile([(z, 0.5 * (outer - inner)) for z, inner, outer, _, _ in table], self.sx)
        y = self._profile([(z, 0.5 * (front + back)) for z, _, _, front, back in table], self.sy)
        depth = self._profile([(z, 0.5 * (back - front)) for z, _, _, front, back in table], self.sy)
        low, high = table[0][0] * self.sz, (p.CRICOID_Z - 6) * self.sz
        return Column((low, high), middle, y, half, depth, depth, p.BODY_EXPONENT)

    @cached_property
    def celiac(self) -> Shape:
        """Around the first part of the coeliac trunk, before the aorta; the trunk is part of it."""
        x, y, z = self.arteries.celiac_origin
        aorta = self.arteries.aorta
        wall = float(np.interp(-z, -aorta.points[-60:, 2], aorta.radii[-60:]))
        trunk = [(x, y - wall, z - 1), (x - 1, y - wall - p.CELIAC_NODES_ALONG_MM, z - 3)]
        around = Tube(smooth_line(trunk), p.CELIAC_RADIUS * self.r + p.CELIAC_NODES_MARGIN_MM)
        others = (
            aorta, self.veins.cava_inferior, self.spine.paraspinal, *self.abdomen.crura_and_psoas,
            self.abdomen.liver, self.abdomen.stomach, self.abdomen.bowel, *self.abdomen.kidneys.values(),
        )  # fmt: skip
        return Minus(Cut(around, limits=(around.z_range[0], z + p.CELIAC_NODES_TOP_MM * self.sz)), others, 0.6)
