"""The diaphragm and the organs under it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.arteries import Arteries
from tailort.phantom.anatomy.chest_wall import ChestWall
from tailort.phantom.anatomy.dome import Dome
from tailort.phantom.anatomy.node import Lump
from tailort.phantom.anatomy.oesophagus import Gullet
from tailort.phantom.anatomy.region import Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.anatomy.surface import Surface
from tailort.phantom.anatomy.veins import Veins
from tailort.phantom.shapes import Array, Cut, Grown, Lattice, Minus, Shape, Tube, Union, inside, smooth_line


@dataclass(frozen=True, eq=False)
class Abdomen(Region):
    """The room under the diaphragm and what lies in it."""

    surface: Surface
    spine: Spine
    chest_wall: ChestWall
    dome: Dome
    arteries: Arteries
    oesophagus: Gullet
    veins: Veins
    node: Lump

    @cached_property
    def room(self) -> Shape:
        """Room under the diaphragm."""
        room = Cut(
            Grown(self.surface.cavity, -0.5),
            inside(self.dome, p.DIAPHRAGM_MM),
            (-1e3, p.DOME_RIGHT_Z * self.sz + 20),
        )
        lowest = tuple(Grown(self.spine.bones[name], 1.0) for name in p.VERTEBRA_NAMES[-5:])
        return Minus(room, (*lowest, Grown(self.node.solid, 1.0), *(Grown(rib, 0.8) for rib in self.chest_wall.ribs)))

    @cached_property
    def diaphragm(self) -> Shape:
        """The muscle sheet between chest and abdomen, and its crura."""
        x, y = np.linspace(-60, 60, 121)[None, :], np.linspace(-40, 40, 81)[:, None]
        top = float(self.dome.height(x, y).max())

        def sheet(at: Lattice) -> Array:
            under = at.field(self.dome)
            field: Array = np.maximum(under, -p.DIAPHRAGM_MM - under)
            return field

        soft = (
            self.spine.paraspinal, Grown(self.oesophagus.organ, 1.0), self.arteries.aorta, self.veins.cava_inferior,
            self.veins.azygos, self.node.solid,
        )  # fmt: skip
        walled = Minus(self.surface.cavity, (*soft, *self.chest_wall.ribs, *self.spine.bones.values()), 0.3)
        others = (
            self.oesophagus.organ, self.arteries.aorta, self.veins.cava_inferior, self.veins.azygos, self.node.solid,
            *self.spine.bones.values(), self.liver, self.stomach, self.bowel, self.spleen, *self.kidneys.values(),
            self.arteries.celiac,
        )  # fmt: skip
        return Union((
            Cut(walled, sheet, (self.spine.vertebra("VB_L1").middle, top)), Minus(Union(self.crura), others, 0.3)
        ))  # fmt: skip

    def _in_abdomen(self, shape: Shape, gap: float = 1.0) -> Shape:
        return Cut(shape, inside(self.room, gap), (-1e3, self.room.z_range[1]))

    @cached_property
    def stomach(self) -> Shape:
        """Fundus under the left dome, body and antrum; or the tube that surgery made of it."""
        if self.oesophagus.conduit is not None:
            return self.oesophagus.conduit
        fundus = self._ball((62, 8, -146), (37, 40, 34))
        body = self._tube([(60, -8, -160), (58, -28, -185), (46, -48, -208), (22, -58, -222), (-2, -56, -224)], 22.0)
        inlet = self._tube([(27, -10, -142), (46, 0, -148)], 9.0)
        return Minus(
            self._in_abdomen(Union((fundus, body, inlet), 14.0)),
            (self.oesophagus.organ, self.arteries.aorta, self.spine.paraspinal, *self.kidneys.values()),
            0.8,
        )

    @cached_property
    def bowel(self) -> Shape:
        """Transverse colon and loops of small bowel."""
        course = self._line([
            (-90, -20, -285), (-84, -40, -250), (-66, -54, -240), (-30, -62, -258), (8, -62, -268), (40, -60, -256),
            (76, -44, -228), (92, -10, -208),
        ])  # fmt: skip
        haustra = 16.0 + 2.6 * np.sin(np.arange(len(course)) * 4.0 * 2 * np.pi / 26.0)
        colon = Tube(course, haustra * self.r)
        loops = tuple(
            self._tube(line, 13.0)
            for line in (
                [(10, -25, -245), (40, -22, -258), (70, -20, -248), (88, -12, -262)],
                [(-45, -30, -270), (-15, -30, -262), (5, -48, -275), (45, -50, -282)],
                [(30, -8, -268), (62, -2, -278), (90, -30, -285)],
            )
        )
        around = (
            self.stomach, self.spleen, *self.kidneys.values(), self.arteries.aorta, self.veins.cava_inferior,
            self.spine.paraspinal,
        )  # fmt: skip
        return Minus(self._in_abdomen(Union((colon, *loops))), around, 1.0)

    @cached_property
    def kidneys(self) -> dict[str, Shape]:
        """Both kidneys; the right one lies lower."""
        tilt = np.array([[0.93, 0.05, -0.36], [-0.05, 1.0, 0.0], [0.36, 0.0, 0.93]])
        tilt = np.linalg.qr(tilt.T)[0].T
        mirror = np.diag([-1.0, 1.0, 1.0])
        left = self._ball((64, 40, -214), (27, 25, 54), tilt @ mirror)
        right = self._ball((-64, 40, -227), (27, 25, 53), tilt)
        around = (self.spine.paraspinal,)
        return {
            "Kidney_L": Minus(self._in_abdomen(left), around, 1.0),
            "Kidney_R": Minus(self._in_abdomen(right), around, 1.0),
        }

    @cached_property
    def renal_sinuses(self) -> tuple[Shape, ...]:
        """Fat in the kidneys, open towards the spine."""
        left, right = self._ball((53, 34, -214), (17, 9, 26)), self._ball((-53, 34, -227), (17, 9, 26))
        return Cut(left, inside(self.kidneys["Kidney_L"])), Cut(right, inside(self.kidneys["Kidney_R"]))

    @cached_property
    def spleen(self) -> Shape:
        """The spleen behind the stomach."""
        return Minus(
            self._in_abdomen(self._ball((100, 34, -160), (32, 50, 54))), (self.stomach, self.kidneys["Kidney_L"]), 1.5
        )

    @cached_property
    def gallbladder(self) -> Shape:
        """The gall bladder under the liver."""
        return self._ball((-46, -48, -216), (15, 18, 22))

    @cached_property
    def liver(self) -> Shape:
        """Right and left lobe under the diaphragm."""
        right = self._ball((-72, -2, -166), (66, 92, 84))
        left = self._ball((-6, -38, -146), (74, 46, 44))
        # What was the lesser omentum lies as fat around a stomach that was drawn up.
        fat = 1.0 if self.oesophagus.conduit is None else p.OMENTUM_MM
        around = (
            Grown(self.stomach, fat), Grown(self.oesophagus.organ, 1.0), self.veins.cava_inferior,
            self.arteries.aorta, self.spine.paraspinal, self.veins.azygos, Grown(self.kidneys["Kidney_R"], 2.0),
            self.gallbladder, self.bowel,
        )  # fmt: skip
        return Minus(self._in_abdomen(Union((right, left), 16.0), 0.2), around, 0.3)

    @cached_property
    def crura(self) -> tuple[Shape, ...]:
        """The diaphragm's limbs beside the aorta."""
        limbs = ((-135, 17.0), (-160, 15.75), (-190, 14.25), (-215, 13.0))
        lines = (
            smooth_line([self.spine.before(9 + side * aside, -9, z * self.sz) for z, aside in limbs])
            for side in (-1, 1)
        )
        return tuple(Tube(line, 4.2 * self.r, (1.3, 0.5, 1.0)) for line in lines)

    @cached_property
    def crura_and_psoas(self) -> tuple[Shape, ...]:
        """Crura and psoas muscles, for the picture."""
        parts: list[Shape] = [*self.crura]
        for side in (-1, 1):
            psoas = []
            for z, aside in ((-195, 7.2), (-220, 9.2), (-250, 11.6), (-285, 14.4)):
                x, y, zs = self.spine.x(z * self.sz), self.spine.y(z * self.sz) + 6, z * self.sz
                psoas.append((x + side * (self.spine.half_width(zs) + aside * self.sx), y, zs))
            line = smooth_line(psoas)
            parts.append(Tube(line, np.linspace(5, 15, len(line)) * self.r))
        return tuple(parts)
