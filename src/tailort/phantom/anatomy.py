"""The analytic body of one person: every organ as an implicit solid, and the lines and levels it is built on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.phantom import parameters as p
from tailort.phantom.shapes import (
    Array,
    Column,
    Cut,
    Ellipsoid,
    Grown,
    Minus,
    Profile,
    Shape,
    Tube,
    Union,
    constant,
    mirrored,
    smooth_line,
)

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Vertebra:
    """Where one vertebra is: upper and lower edge of its body, mm."""

    name: str
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        """Middle of the body."""
        return 0.5 * (self.top + self.bottom)


class Anatomy:
    """One person's body in its own coordinates (z = 0 at the carina, x to the left, y to the back, z to the head).

    Attributes are solids (`Shape`), made when first asked for; `organs` names those that are drawn as structures.
    """

    def __init__(self, build: p.Build) -> None:
        self.build = build
        self.sx, self.sy, self.sz = build.scale
        self.r = build.girth

    # --- from the nominal body to this one -------------------------------------------------------------------
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
        c = self._points([centre])[0]
        return Ellipsoid(
            (float(c[0]), float(c[1]), float(c[2])),
            (radii[0] * self.sx, radii[1] * self.sy, radii[2] * self.sz),
            axes,
        )

    def _outline(
        self,
        table: Sequence[tuple[float, float, float, float]],
        grow: Callable[[float], float],
        top: float,
        bottom: float,
    ) -> Column:
        half = self._profile([(z, a) for z, a, _, _ in table], self.sx)
        front = self._profile([(z, f) for z, _, f, _ in table], self.sy)
        back = self._profile([(z, b) for z, _, _, b in table], self.sy)

        def middle(z: float) -> float:
            return 0.5 * (front(z) + back(z))

        def depth(z: float) -> float:
            return 0.5 * (back(z) - front(z)) + grow(z)

        return Column(
            (bottom * self.sz, top * self.sz), lambda z: 0.0, middle, lambda z: half(z) + grow(z), depth, depth,
            p.BODY_EXPONENT,
        )  # fmt: skip

    # --- levels ----------------------------------------------------------------------------------------------
    @cached_property
    def vertebrae(self) -> tuple[Vertebra, ...]:
        """C1 to L2, from the head down."""
        t4 = p.VERTEBRA_NAMES.index("VB_T04")
        top = (p.CARINA_BELOW_T4 + sum(p.VERTEBRA_PITCH[: t4 + 1])) * self.sz
        found = []
        for name, pitch in zip(p.VERTEBRA_NAMES, p.VERTEBRA_PITCH, strict=True):
            share = 0.0 if name in ("VB_C1",) else p.DISC_SHARE
            found.append(Vertebra(name, top, top - pitch * self.sz * (1 - share)))
            top -= pitch * self.sz
        return tuple(found)

    def vertebra(self, name: str) -> Vertebra:
        """The vertebra of this TG-263 name."""
        return next(v for v in self.vertebrae if v.name == name)

    @cached_property
    def z_limits(self) -> tuple[float, float]:
        """Lowest and highest plane that the scan must reach: all of L2 to all of C1."""
        return self.vertebrae[-1].bottom - 4.0, self.vertebrae[0].top + 2.0

    # --- spine -----------------------------------------------------------------------------------------------
    @cached_property
    def spine_y(self) -> Profile:
        """Centre of the vertebral bodies, front to back."""
        return self._profile([(z, y * self.build.kyphosis if y > 0 else y) for z, y in p.SPINE_Y], self.sy)

    def spine_x(self, z: float) -> float:
        """Centre of the vertebral bodies, side to side."""
        return self.build.scoliosis_mm * float(np.sin(2 * np.pi * (z / self.sz + 20) / 420))

    @cached_property
    def vertebra_half_depth(self) -> Profile:
        """Of the vertebral bodies."""
        return self._profile(p.VERTEBRA_HALF_DEPTH, self.r)

    @cached_property
    def vertebra_half_width(self) -> Profile:
        """Of the vertebral bodies."""
        return self._profile(p.VERTEBRA_HALF_WIDTH, self.r)

    def spine_front(self, z: float) -> float:
        """Y of the front of the vertebral bodies."""
        return self.spine_y(z) - self.vertebra_half_depth(z)

    @cached_property
    def _canal_depth(self) -> Profile:
        return self._profile(p.CANAL_HALF_DEPTH, self.r)

    def canal_y(self, z: float) -> float:
        """Centre of the spinal canal, front to back."""
        return self.spine_y(z) + self.vertebra_half_depth(z) + self._canal_depth(z) - 1.0

    @cached_property
    def canal(self) -> Column:
        """The bony canal over the whole scan."""
        depth = self._canal_depth
        width = self._profile(p.CANAL_HALF_WIDTH, self.r)
        return Column((-1e3, 1e3), self.spine_x, self.canal_y, width, depth, depth, 2.3)

    @cached_property
    def cord(self) -> Column:
        """The spinal cord down to the conus."""
        low = p.CONUS_Z * self.sz
        taper = self._profile([(p.CONUS_Z, 0.15), (p.CONUS_Z + 10, 0.6), (p.CONUS_Z + 26, 1.0)], 1.0)
        width, depth = self._profile(p.CORD_HALF_WIDTH, self.r), self._profile(p.CORD_HALF_DEPTH, self.r)

        def half_depth(z: float) -> float:
            return depth(z) * taper(z)

        return Column((low, 1e3), self.spine_x, self.canal_y, lambda z: width(z) * taper(z), half_depth, half_depth)

    def _body(self, top: float, bottom: float, shrink: float = 0.0) -> Column:
        half = 0.5 * (top - bottom)
        middle = 0.5 * (top + bottom)

        def waist(z: float) -> float:
            return 1.6 * (1 - ((z - middle) / half) ** 2) + shrink

        def depth(z: float) -> float:
            return self.vertebra_half_depth(z) - 0.5 * waist(z)

        return Column(
            (bottom, top), self.spine_x, self.spine_y, lambda z: self.vertebra_half_width(z) - waist(z), depth, depth,
            2.5,
        )  # fmt: skip

    def _posterior_arch(self, vertebra: Vertebra) -> tuple[Shape, ...]:
        z = vertebra.middle + 0.15 * (vertebra.top - vertebra.bottom)
        x0, y0 = self.spine_x(z), self.spine_y(z)
        a, b, h = self.vertebra_half_width(z), self.vertebra_half_depth(z), vertebra.top - vertebra.bottom
        canal_back = self.canal_y(z) + self._canal_depth(z)
        width = self.canal.half_width(z)
        cervical, lumbar = vertebra.name.startswith("VB_C"), vertebra.name.startswith("VB_L")
        drop = 0.3 if cervical else 0.15 if lumbar else 0.62
        thick = (2.8 if cervical else 3.4) * self.r
        parts: list[Shape] = []
        for side in (-1, 1):
            pedicle = (x0 + side * (width + 0.55 * thick + 0.6), y0 + 0.75 * b, z)
            joint = (x0 + side * (width + 0.8 * thick), canal_back - 1.5, z - 0.1 * h)
            root = (x0, canal_back + 1.1 * thick, z - 0.22 * h)
            parts.append(Tube([pedicle, joint], [thick, thick * 1.25], (1.0, 1.0, 0.75)))
            parts.append(Tube([joint, root], thick, (1.0, 1.0, 0.55)))
            reach = p.TRANSVERSE_LENGTH * self.r * (0.45 if cervical else 1.0)
            back = -4.0 if cervical else 9.0 if not lumbar else 1.0
            tip = (x0 + side * (a * 0.75 + reach), canal_back - 3.0 + back, z)
            parts.append(Tube([joint, tip], [thick, thick * 0.85], (1.0, 1.0, 0.8)))
        spinous = (
            p.SPINOUS_LENGTH
            * self.r
            * (0.25 if vertebra.name == "VB_C1" else 0.75 if cervical and vertebra.name != "VB_C7" else 1.0)
        )
        start = (x0, canal_back + thick, z - 0.2 * h)
        tip = (x0, canal_back + thick + spinous, z - 0.2 * h - drop * spinous)
        parts.append(Tube([start, tip], [thick * 0.85, thick], (1.25, 1.0, 0.5)))
        return tuple(parts)

    @cached_property
    def vertebra_solids(self) -> dict[str, Shape]:
        """Every vertebra: body, pedicles, laminae, transverse and spinous processes, without the canal."""
        solids: dict[str, Shape] = {}
        for vertebra in self.vertebrae:
            body = self._body(vertebra.top, vertebra.bottom)
            solids[vertebra.name] = Minus(Union((body, *self._posterior_arch(vertebra))), (self.canal,))
        return solids

    @cached_property
    def discs(self) -> tuple[Shape, ...]:
        """The discs between the bodies, C2 downwards."""
        pairs = zip(self.vertebrae[1:], self.vertebrae[2:], strict=False)
        return tuple(Minus(self._body(upper.bottom, lower.top, 0.3), (self.canal,)) for upper, lower in pairs)

    @cached_property
    def paraspinal(self) -> Shape:
        """Soft tissue around the column inside the cavity: ligaments, crura and deep muscles."""

        def middle(z: float) -> float:
            return self.spine_y(z) + self.vertebra_half_depth(z)

        def front(z: float) -> float:
            return 2 * self.vertebra_half_depth(z) + 1.2

        def half(z: float) -> float:
            return self.vertebra_half_width(z) + 4.0 * self.r

        reach = 60.0 * self.sy
        hull = Column((-1e3, 1e3), self.spine_x, middle, half, front, lambda z: reach, 3.0)
        back = Column(
            (-1e3, 1e3), self.spine_x, lambda z: self.canal_y(z) + 28.0 * self.sy, lambda z: 48.0 * self.sx,
            lambda z: 30.0 * self.sy, lambda z: reach,
        )  # fmt: skip
        return Cut(Union((hull, back), 6.0), Grown(self.cavity, 1.5).field)

    # --- body wall -------------------------------------------------------------------------------------------
    def fat(self, z: float) -> float:
        """Thickness of the subcutaneous fat and skin."""
        full = self.build.fat_mm
        knots = ((-270.0, 1.45), (-150.0, 1.2), (-40.0, 1.0), (40.0, 0.9), (75.0, 0.7), (105.0, 0.4), (220.0, 0.35))
        share = float(np.interp(z / self.sz, [k[0] for k in knots], [k[1] for k in knots]))
        return max(full * share, 3.2)

    @cached_property
    def muscle_outline(self) -> Column:
        """The body without subcutaneous fat."""
        return self._outline(p.MUSCLE_OUTLINE, lambda z: 0.0, 400.0, -400.0)

    @cached_property
    def external(self) -> Shape:
        """The skin's surface."""
        trunk = self._outline(p.MUSCLE_OUTLINE, self.fat, 400.0, -400.0)
        return Union((trunk, *self._breasts), 14.0 if self._breasts else 0.0)

    @cached_property
    def _breasts(self) -> tuple[Shape, ...]:
        if self.build.sex == "M":
            return ()
        big = 0.8 + 0.02 * self.build.fat_mm
        return tuple(self._ball((side * 78, -88, -58), (54 * big, 29 * big, 46 * big)) for side in (-1, 1))

    @cached_property
    def breast_glands(self) -> tuple[Shape, ...]:
        """Glandular tissue, for the picture."""
        if self.build.sex == "M":
            return ()
        return tuple(self._ball((side * 80, -104, -58), (24, 12, 22)) for side in (-1, 1))

    @cached_property
    def skin(self) -> Shape:
        """The outer layer of the body."""
        return Minus(self.external, (Grown(self.external, -p.SKIN_MM),))

    @cached_property
    def cavity(self) -> Column:
        """Chest and abdomen inside their walls."""
        return self._outline(p.CAVITY_OUTLINE, lambda z: 0.0, 70.5, -400.0)

    @cached_property
    def _cage(self) -> Column:
        def clear(z: float) -> float:
            # Where the cavity narrows to the apices a rib must keep its distance along the slope of the wall.
            return (5.6 + 6.5 * float(np.clip(z / (45 * self.sz), 0, 1))) * self.r

        return self._outline((*p.CAGE_TOP, *p.CAVITY_OUTLINE[3:]), clear, 400.0, -400.0)

    @cached_property
    def ribs(self) -> tuple[Shape, ...]:
        """Twelve pairs, from the spine around the cage and down to the front."""
        return tuple(rib for rib, _ in self._rib_lines)

    @cached_property
    def cartilages(self) -> tuple[Shape, ...]:
        """From the ends of the ribs to the sternum."""
        return tuple(cartilage for _, cartilage in self._rib_lines if cartilage is not None)

    @cached_property
    def _rib_lines(self) -> tuple[tuple[Shape, Tube | None], ...]:
        drops = (36, 45, 52, 58, 63, 66, 70, 72, 72, 66, 38, 22)
        ends = (142, 148, 150, 150, 150, 148, 145, 138, 130, 118, 84, 56)
        sternal = (38, 6, -20, -40, -58, -74, -88, -104, -122, -140)
        pairs = []
        above: dict[int, tuple[Shape, ...]] = {-1: (), 1: ()}
        first = p.VERTEBRA_NAMES.index("VB_T01")
        for n, (drop, end) in enumerate(zip(drops, ends, strict=True)):
            level = self.vertebrae[first + n].top - 2.0
            angles = np.radians(np.linspace(16, end, 30))
            for side in (-1, 1):
                line = []
                for angle in angles:
                    z = level - drop * self.sz * float(np.sin(angle / 2) ** 1.6) / float(np.sin(np.radians(75)) ** 1.6)
                    line.append(self._on_cage(float(angle), z, side))
                head = (
                    self.spine_x(level) + side * (self.vertebra_half_width(level) + 4.0),
                    self.spine_y(level) + 0.8 * self.vertebra_half_depth(level),
                    level,
                )
                neck = (0.55 * head[0] + 0.45 * line[0][0], 0.5 * (head[1] + line[0][1]) + 3, level - 1)
                bones = tuple(self.vertebra_solids[name] for name in p.VERTEBRA_NAMES[first + n - 1 : first + n + 2])
                tube = Tube(smooth_line([head, neck, *line]), (4.6 if n else 4.2) * self.r, (1.0, 1.0, 0.68))
                rib = Minus(tube, (*bones, *above[side]), 0.6)
                above[side] = (tube,)
                cartilage = None
                if n < len(sternal):
                    z = sternal[n] * self.sz
                    x = side * (21 if n == 0 else 15 if n < 7 else 15 + 12 * (n - 6)) * self.sx
                    meet = (x, self.sternum_y(z) + (0 if n < 7 else 3 * (n - 6)), z)
                    between = self._on_cage(0.5 * (float(angles[-1]) + np.pi), 0.5 * (line[-1][2] + z), side)
                    if n == 0:
                        between = (0.5 * (line[-1][0] + x), 0.5 * (line[-1][1] + meet[1]), 0.5 * (line[-1][2] + z))
                    cartilage = Tube(smooth_line([line[-1], between, meet]), 4.6 * self.r, (1.0, 1.0, 0.75))
                pairs.append((rib, cartilage))
        return tuple(pairs)

    def _on_cage(self, angle: float, z: float, side: int) -> Point:
        """Point of the rib cage: angle 0 at the back, pi at the front."""
        power = 2 / p.BODY_EXPONENT
        s, c = abs(np.sin(angle)) ** power, np.sign(np.cos(angle)) * abs(np.cos(angle)) ** power
        return (
            float(side * self._cage.half_width(z) * s),
            float(self._cage.y(z) + self._cage.back(z) * c),
            z,
        )

    @cached_property
    def sternum_y(self) -> Callable[[float], float]:
        """Centre of the sternum, front to back."""
        front = self._profile([(z, f) for z, _, f, _ in p.MUSCLE_OUTLINE], self.sy)
        return lambda z: front(z) + 6.8 * self.sy

    @cached_property
    def sternum(self) -> Shape:
        """Manubrium with the sternal notch, body and xiphoid."""
        width = self._profile(
            [(50, 27), (30, 25), (6, 17), (0, 16), (-60, 19), (-98, 13), (-104, 7), (-126, 5)], self.r
        )
        depth = self._profile([(50, 6), (10, 5.4), (-100, 4.6), (-126, 3.0)], self.r)
        column = Column(
            (-126 * self.sz, (p.STERNAL_NOTCH_Z + 5) * self.sz), lambda z: 0.0, self.sternum_y, width, depth, depth, 2.5
        )

        def under_notch(x: Array, y: Array, z: float) -> Array:
            edge = p.STERNAL_NOTCH_Z * self.sz + 4.0 * np.minimum((x / (14.0 * self.sx)) ** 2, 1.2)
            return np.broadcast_to(z - edge, np.broadcast_shapes(x.shape, y.shape))

        return Cut(column, under_notch)

    @cached_property
    def clavicles(self) -> dict[str, Shape]:
        """Both clavicles with their heads at the manubrium."""
        found: dict[str, Shape] = {}
        for name, side in (("Clavicle_L", 1), ("Clavicle_R", -1)):
            line = [
                (20, -43, 49), (35, -44, 54), (62, -40, 59), (92, -25, 61), (114, -8, 61), (128, 4, 59),
            ]  # fmt: skip
            points = self._line(mirrored(line, side))
            along = np.linspace(0, 1, len(points))
            radii = np.interp(along, [0, 0.1, 0.3, 0.7, 1.0], [8.0, 7.4, 5.6, 5.2, 5.6]) * self.r
            found[name] = Minus(Tube(points, radii), (self.sternum,), 1.0)
        return found

    @cached_property
    def scapulae(self) -> tuple[Shape, ...]:
        """Blades behind the ribs, and the heads of the humeri at the shoulders."""
        parts: list[Shape] = []
        for side in (-1, 1):
            for z in np.arange(46.0, -74.0, -6.0):
                share = (46 - z) / 120
                inner = self._points([(side * (64 + 8 * share), 84 - 2 * share, z)])[0]
                outer = self._points([(side * (142 - 50 * share), 48 + 28 * share, z)])[0]
                bend = 0.5 * (inner + outer) + np.array([side * 4.0, 4.0, 0.0])
                parts.append(Tube(smooth_line([inner, bend, outer], 12.0), 2.6 * self.r, (1.0, 1.0, 0.7)))
            spine = self._points([(side * 72, 85, 36), (side * 108, 74, 44), (side * 134, 46, 52)])
            parts.append(Tube(smooth_line(spine), 4.2 * self.r))
            parts.append(self._ball((side * 138, 24, 38), (18, 18, 17)))
        return tuple(parts)

    # --- diaphragm -------------------------------------------------------------------------------------------
    def diaphragm_z(self, x: Array, y: Array) -> Array:
        """Height of the diaphragm's upper surface."""
        xn, yn = x / self.sx, y / self.sy
        u = xn / 132.0
        v = np.where(yn < 0, yn / 84.0, yn / 86.0)
        q4 = (np.abs(u) ** 2.5 + np.abs(v) ** 2.5) ** 1.6
        swing = np.clip((xn + p.DOME_X) / (2 * p.DOME_X), 0, 1)
        middle = 1 - (2 * swing - 1) ** 2
        peak = p.DOME_RIGHT_Z + (p.DOME_LEFT_Z - p.DOME_RIGHT_Z) * (swing * swing * (3 - 2 * swing))
        line = 0.5 * (p.DOME_RIGHT_Z + p.DOME_LEFT_Z)
        peak = peak + (p.SADDLE_Z - line) * middle**2
        towards = np.clip(yn / 60.0, -1, 1)
        fall = p.DOME_FALL_SIDE + np.where(
            towards > 0,
            (p.DOME_FALL_BACK - p.DOME_FALL_SIDE) * towards,
            (p.DOME_FALL_SIDE - p.DOME_FALL_FRONT) * towards,
        )
        height: Array = (peak - fall * q4) * self.sz + self.build.dome_shift_mm
        return height

    def _above_diaphragm(self, x: Array, y: Array, z: float) -> Array:
        return self._slant(x, y) * (self.diaphragm_z(x, y) - z)

    def _below_diaphragm(self, x: Array, y: Array, z: float) -> Array:
        return self._slant(x, y) * (z - self.diaphragm_z(x, y)) + p.DIAPHRAGM_MM

    def _slant(self, x: Array, y: Array) -> Array:
        """Cosine of the surface's slope, which turns a height into a distance."""
        step = 1.0
        dx = (self.diaphragm_z(x + step, y) - self.diaphragm_z(x - step, y)) / (2 * step)
        dy = (self.diaphragm_z(x, y + step) - self.diaphragm_z(x, y - step)) / (2 * step)
        slant: Array = 1 / np.sqrt(1 + dx * dx + dy * dy)
        return slant

    @cached_property
    def diaphragm(self) -> Shape:
        """The muscle sheet between chest and abdomen."""
        x, y = np.linspace(-60, 60, 121)[None, :], np.linspace(-40, 40, 81)[:, None]
        top = float(self.diaphragm_z(x, y).max())

        def sheet(x: Array, y: Array, z: float) -> Array:
            height = self._slant(x, y) * (z - self.diaphragm_z(x, y))
            field: Array = np.maximum(height, -p.DIAPHRAGM_MM - height)
            return field

        soft = (self.paraspinal, Grown(self.oesophagus, 1.0), self.aorta, self.cava_inferior, self.azygos, self.node)
        walled = Minus(self.cavity, (*soft, *self.ribs, *self.vertebra_solids.values()), 0.3)
        return Cut(walled, sheet, (self.vertebra("VB_L1").middle, top))

    @cached_property
    def abdomen(self) -> Shape:
        """Room under the diaphragm."""
        room = Cut(Grown(self.cavity, -0.5), self._below_diaphragm, (-1e3, p.DOME_RIGHT_Z * self.sz + 20))
        lowest = tuple(Grown(self.vertebra_solids[name], 1.0) for name in p.VERTEBRA_NAMES[-5:])
        return Minus(room, (*lowest, Grown(self.node, 1.0), *(Grown(rib, 0.8) for rib in self.ribs)))

    # --- oesophagus and tumour -------------------------------------------------------------------------------
    @cached_property
    def _oesophagus_radius(self) -> Profile:
        return self._profile(p.OESOPHAGUS_RADIUS, self.r)

    @cached_property
    def oesophagus_line(self) -> NDArray[np.float64]:
        """Centre-line (n, 3) from the cricoid to the junction, 2 mm apart."""
        points = []
        sway, ripple = self.build.oesophagus_sway_mm
        for z, x, gap in p.OESOPHAGUS:
            zs = z * self.sz
            share = np.clip((z + 85) / 165, 0, 1)
            swing = sway * np.sin(np.pi * share) + ripple * np.sin(2 * np.pi * share)
            depth = self._oesophagus_radius(zs) / p.OESOPHAGUS_FLATNESS
            points.append((x * self.sx + swing + self.spine_x(zs), self.spine_front(zs) - gap * self.sy - depth, zs))
        return smooth_line(points, 2.0)

    @cached_property
    def _along(self) -> NDArray[np.float64]:
        steps = np.linalg.norm(np.diff(self.oesophagus_line, axis=0), axis=1)
        along: NDArray[np.float64] = np.concatenate(([0.0], np.cumsum(steps)))
        return along

    @property
    def oesophagus_length_mm(self) -> float:
        """From the cricoid to the junction with the stomach, along the organ."""
        return float(self._along[-1])

    def incisors_cm(self, along_mm: float) -> float:
        """Distance from the incisors of a point this far below the inlet, along the organ, cm."""
        return p.INCISORS_TO_INLET_CM * self.sz + along_mm / 10

    def on_oesophagus(self, from_incisors_cm: float) -> Point:
        """Point of the centre-line this far from the incisors."""
        at = (from_incisors_cm - p.INCISORS_TO_INLET_CM * self.sz) * 10
        x, y, z = (float(np.interp(at, self._along, self.oesophagus_line[:, axis])) for axis in range(3))
        return x, y, z

    @cached_property
    def tumour_along_mm(self) -> tuple[float, float]:
        """Upper and lower end of the tumour below the inlet, along the organ."""
        centre = (self.build.tumour_centre_cm - p.INCISORS_TO_INLET_CM * self.sz) * 10
        half = self.build.tumour_length_mm / 2
        centre = float(np.clip(centre, half + 4, self.oesophagus_length_mm - half - 4))
        return centre - half, centre + half

    @property
    def tumour_centre_cm(self) -> float:
        """Distance of the tumour's middle from the incisors."""
        return self.incisors_cm(0.5 * sum(self.tumour_along_mm))

    @cached_property
    def _tumour_line(self) -> NDArray[np.float64]:
        upper, lower = self.tumour_along_mm
        inside = (self._along > upper) & (self._along < lower)
        at = np.concatenate(([upper], self._along[inside], [lower]))
        return np.stack([np.interp(at, self._along, self.oesophagus_line[:, axis]) for axis in range(3)], axis=1)

    def _bulge(self, line: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much of the tumour's full thickness is there: 1 in the middle, 0 at both ends."""
        share = np.linspace(-1, 1, len(line))
        bulge: NDArray[np.float64] = 1 - np.abs(share) ** 3
        return bulge

    @cached_property
    def tumour(self) -> Shape:
        """GTVp: the whole cross-section of the organ over the tumour's length, thickened."""
        line = self._tumour_line
        bulge = self._bulge(line)
        normal = np.array([self._oesophagus_radius(float(z)) for z in line[:, 2]])
        full = (p.TUMOUR_LUMEN_MM + self.build.wall_thickness_mm) * np.sqrt(p.OESOPHAGUS_FLATNESS)
        side = np.array([*self.build.tumour_side_mm, 0.0]) * bulge[:, None]
        radii = normal + np.maximum(full - normal, 0.5) * bulge
        swollen = Tube(line + side, radii, (1.0, p.OESOPHAGUS_FLATNESS, 1.0))
        solid = Minus(swollen, (self._airway_wall, self.aorta, *self._bodies), 0.8)
        top, bottom = float(line[0, 2]), float(line[-1, 2])
        return Cut(solid, _everywhere, (bottom, top))

    @cached_property
    def _bodies(self) -> tuple[Shape, ...]:
        return (self._body(1e3, -1e3),)

    @cached_property
    def _airway_wall(self) -> Shape:
        return Grown(self.airways, p.TRACHEA_WALL)

    @cached_property
    def oesophagus(self) -> Shape:
        """The whole organ with wall and lumen, and the tumour in it."""
        line = self.oesophagus_line
        radii = np.array([self._oesophagus_radius(float(z)) for z in line[:, 2]])
        pipe = Tube(line, radii, (1.0, p.OESOPHAGUS_FLATNESS, 1.0))
        high, low = float(line[0, 2]), float(line[-1, 2])
        clear = Minus(pipe, (self._airway_wall, self.aorta, *self._bodies), 0.8)
        return Union((Cut(clear, _everywhere, (low, high)), self.tumour))

    @cached_property
    def lumen(self) -> Shape:
        """Inside of the oesophagus, narrow in the tumour."""
        line = self.oesophagus_line[1:-1]
        upper, lower = self.tumour_along_mm
        share = np.clip((2 * self._along[1:-1] - upper - lower) / (lower - upper), -1, 1)
        inner = np.array([self._oesophagus_radius(float(z)) for z in line[:, 2]]) - p.OESOPHAGEAL_WALL_MM
        radii = inner + (p.TUMOUR_LUMEN_MM - inner) * (1 - np.abs(share) ** 3)
        return Cut(Tube(line, radii, (1.0, 1.35, 1.0)), Grown(self.oesophagus, -1.2).field)

    # --- airways ---------------------------------------------------------------------------------------------
    def trachea_centre(self, z: float) -> Point:
        """Centre of the trachea in a plane."""
        zn = z / self.sz
        e = self.oesophagus_line
        y = float(np.interp(-z, -e[:, 2], e[:, 1])) - self._oesophagus_radius(z) / p.OESOPHAGUS_FLATNESS
        x = float(np.interp(zn, [0, 20, 60, 105], [-5.0, -5.5, -1.5, 0.0]))
        return x * self.sx + self.spine_x(z), y - (p.TRACHEA_RADIUS + p.TRACHEA_WALL) * self.r - 0.8, z

    @cached_property
    def carina(self) -> Point:
        """Where the trachea divides."""
        return self.trachea_centre(0.0)

    @cached_property
    def trachea(self) -> Shape:
        """From the cricoid to the carina, with its wall's inner surface."""
        points = np.array([self.trachea_centre(z) for z in np.linspace((p.CRICOID_Z - 6) * self.sz, 0.0, 30)])
        radii = np.linspace(p.TRACHEA_RADIUS * 0.95, p.TRACHEA_RADIUS, 30) * self.r
        radii[-3:] *= 0.98
        column = Tube(points, radii)
        everywhere = (0.0, (p.CRICOID_Z - 6) * self.sz)
        return Cut(column, _everywhere, everywhere)

    @cached_property
    def bronchi(self) -> Shape:
        """Both main bronchi."""
        x, y, z = self.carina
        right = [
            (x, y, z + 4),
            (x - 17 * self.sx, y + 6 * self.sy, z - 17 * self.sz),
            (x - 34 * self.sx, y + 12 * self.sy, z - 33 * self.sz),
        ]
        left = [
            (x, y, z + 4),
            (x + 19 * self.sx, y + 4.5 * self.sy, z - 16 * self.sz),
            (x + 41 * self.sx, y + 10 * self.sy, z - 33 * self.sz),
        ]
        radius = p.BRONCHUS_RADIUS * self.r
        tubes = (
            Tube(smooth_line(right), [radius * 1.1, *[radius] * (len(smooth_line(right)) - 1)]),
            Tube(smooth_line(left), radius * 0.92),
        )
        keep = (-400.0, -0.01)
        return Cut(Union(tubes), _everywhere, keep)

    @cached_property
    def airways(self) -> Shape:
        """Trachea and main bronchi."""
        return Union((self.trachea, self.bronchi))

    def _hilum(self, side: int) -> NDArray[np.float64]:
        """Where the vessels of a lung begin to branch, beside the end of its bronchus."""
        x, y, z = self.carina
        out = 38 if side > 0 else 32
        return np.array([x + side * out * self.sx, y + 10 * self.sy, z - 31 * self.sz])

    # --- neck ------------------------------------------------------------------------------------------------
    @cached_property
    def pharynx(self) -> Column:
        """From the skull's base to the inlet of the oesophagus, with its walls."""
        half = self._profile([(220, 16), (170, 17), (140, 16), (118, 11), (106, 8)], self.r)
        depth = self._profile([(220, 9), (185, 10), (160, 9), (140, 6.5), (118, 5.6), (106, 5.4)], self.r)

        def middle(z: float) -> float:
            return self.spine_front(z) - 3.0 * self.sy - depth(z)

        return Column((p.CRICOID_Z * self.sz - 1.5, 1e3), self.spine_x, middle, half, depth, depth, 2.3)

    @cached_property
    def pharynx_air(self) -> Shape:
        """Air in the pharynx above the larynx."""
        inner = self.pharynx

        def half(z: float) -> float:
            return inner.half_width(z) - 5.0

        depth = self._profile([(220, 5.0), (185, 6.5), (165, 6), (150, 3.4), (140, 1.8), (132, 0.6)], self.r)
        return Column((132 * self.sz, 1e3), self.spine_x, lambda z: inner.y(z) - 1.0, half, depth, depth)

    @cached_property
    def _larynx_frame(self) -> Column:
        half = self._profile([(150, 13), (140, 18), (125, 20), (112, 16), (102, 13)], self.r)
        depth = self._profile([(150, 8), (140, 10.5), (125, 12), (112, 11.6), (102, 11.2)], self.r)

        def middle(z: float) -> float:
            behind = self.pharynx.y(z) - self.pharynx.front(z)
            return behind - depth(z) - 0.3

        low = (p.CRICOID_Z - 6) * self.sz + 0.01
        return Column((low, 150 * self.sz), self.spine_x, middle, half, depth, depth, 2.2)

    @cached_property
    def larynx(self) -> Shape:
        """From the hyoid to the cricoid's lower edge."""
        return Minus(self._larynx_frame, (self.pharynx, self.oesophagus), 0.2)

    @cached_property
    def larynx_air(self) -> Shape:
        """Airway through the larynx, narrow at the glottis."""
        frame = self._larynx_frame
        half = self._profile([(152, 9), (138, 6.5), (127, 2.6), (124, 2.6), (116, 7), (102, 8.6)], self.r)
        depth = self._profile([(152, 4), (138, 7), (126, 9), (116, 9), (102, 8.6)], self.r)
        low, high = frame.z_range
        return Column((low, high + 3), self.spine_x, frame.y, half, depth, depth)

    @cached_property
    def laryngeal_cartilage(self) -> Shape:
        """Thyroid and cricoid cartilage, for the picture."""
        assert isinstance(self.larynx, Minus)
        frame = Grown(self.larynx, -0.5)
        shell = Minus(frame, (Grown(self.larynx, -3.0),))
        split = 112 * self.sz

        def open_behind(x: Array, y: Array, z: float) -> Array:
            centre = self._larynx_frame.y(z)
            wings: Array = np.where(z > split, y - (centre + 5.0), np.full_like(y, -1e3)) + 0 * x
            return wings

        return Cut(shell, open_behind, ((p.CRICOID_Z - 4) * self.sz, 142 * self.sz))

    @cached_property
    def neck_fat(self) -> Shape:
        """Fat planes between the muscles of the neck."""
        inset = Grown(self.muscle_outline, -4.0)

        def in_front(x: Array, y: Array, z: float) -> Array:
            outward = np.abs(x) / self.sx
            back = self.spine_y(z) + 4.0 + 14.0 * np.minimum((outward / 45) ** 2, 1.5)
            floor = (48.0 + 0.7 * np.maximum(outward - 28.0, 0.0) + 0.012 * np.maximum(y + 5.0, 0.0) ** 2) * self.sz
            field: Array = np.maximum(y - back, 0.7 * (floor - z))
            return field

        return Cut(inset, in_front, (48 * self.sz, 172 * self.sz))

    @cached_property
    def neck_muscles(self) -> tuple[Shape, ...]:
        """Sternomastoids, scalenes, prevertebral and strap muscles, floor of the mouth."""
        parts: list[Shape] = []
        for side in (-1, 1):
            sternomastoid = [(21, -44, 55), (28, -38, 80), (36, -28, 105), (45, -6, 145), (52, 12, 190), (54, 16, 215)]
            parts.append(Tube(self._line(mirrored(sternomastoid, side)), 9.5 * self.r, (1.35, 0.85, 1.0)))
            scalene = [(62, 22, 60), (44, 18, 80), (32, 12, 105), (27, 4, 140)]
            parts.append(Tube(self._line(mirrored(scalene, side)), 10.5 * self.r, (1.0, 1.0, 1.0)))
            strap = [(10, -45, 50), (12, -41, 85), (15, -42, 110), (15, -45, 140)]
            parts.append(Tube(self._line(mirrored(strap, side)), 6.5 * self.r, (0.7, 1.8, 1.0)))
            prevertebral = [(9, y - 10.5, z) for z, y in p.SPINE_Y if z >= 60]
            parts.append(Tube(self._line(mirrored(prevertebral, side)), 6.5 * self.r, (0.8, 1.5, 1.0)))
        parts.append(Tube(self._line([(0, -44, 160), (0, -44, 178), (0, -40, 200)]), 22 * self.r, (0.9, 1.0, 1.0)))
        return tuple(Cut(part, self.muscle_outline.field) for part in parts)

    @cached_property
    def fat_pads(self) -> tuple[Shape, ...]:
        """Fat beside the pharynx, in the cheeks and in the armpits."""
        parts: list[Shape] = []
        for side in (-1, 1):
            parts.append(
                Tube(
                    self._line(mirrored([(25, -18, 160), (27, -18, 185), (28, -16, 225)], side)),
                    6.0 * self.r,
                    (1.4, 0.7, 1.0),
                )
            )
            parts.append(
                Tube(self._line(mirrored([(46, -50, 188), (46, -46, 225)], side)), 9.0 * self.r, (1.3, 0.6, 1.0))
            )
            parts.append(Minus(self._ball((side * 132, -4, 6), (19, 44, 52)), (Grown(self._cage, 9.0),)))
            parts.append(Minus(self._ball((side * 78, -44, 42), (46, 9, 24)), (Grown(self._cage, 8.0),)))
        between = Minus(Grown(self._cage, 8.6), (Grown(self._cage, 7.2),))
        parts.append(Cut(between, lambda x, y, z: 20.0 * self.sx - np.abs(x) + 0 * y, (-400.0, 42 * self.sz)))
        return tuple(Cut(part, Grown(self.muscle_outline, -4.0).field) for part in parts)

    @cached_property
    def jaw(self) -> tuple[Shape, ...]:
        """Mandible and hyoid."""
        arch = [
            (52, -12, 224), (50, -10, 212), (47, -14, 196), (42, -34, 186), (34, -54, 181), (20, -70, 179),
            (0, -75, 178),
        ]  # fmt: skip
        parts: list[Shape] = []
        for side in (-1, 1):
            parts.append(Tube(self._line(mirrored(arch, side)), 5.6 * self.r, (1.0, 1.0, 0.6)))
            horn = [(18, -20, 153), (13, -34, 151), (0, -42, 150)]
            parts.append(Tube(self._line(mirrored(horn, side)), 2.6 * self.r))
        return tuple(parts)

    @cached_property
    def teeth(self) -> tuple[Shape, ...]:
        """Lower and upper rows of teeth."""
        parts: list[Shape] = []
        for z in (191, 206):
            for side in (-1, 1):
                row = [(28, -40, z), (26, -53, z), (17, -68, z), (0, -75, z)]
                parts.append(Tube(self._line(mirrored(row, side)), 3.6 * self.r, (1.0, 1.0, 0.62)))
        return tuple(parts)

    @cached_property
    def thyroid(self) -> tuple[Shape, ...]:
        """Both lobes of the thyroid gland."""
        x, y, _ = self.trachea_centre(86 * self.sz)
        z = 88 * self.sz
        radii = (8 * self.r, 9.5 * self.r, 22 * self.sz)
        lobes = (Ellipsoid((x + side * 16 * self.sx, y + 1, z), radii) for side in (-1, 1))
        return tuple(Minus(lobe, (self._airway_wall,), 0.3) for lobe in lobes)

    # --- heart and vessels -----------------------------------------------------------------------------------
    @cached_property
    def aorta(self) -> Tube:
        """Ascending aorta, arch and descending aorta, beside and then before the spine on the left."""
        n, s = self.build.vessel * self.r, self._points
        rise = s(
            [
                (-1, -33, -48),
                (-8, -33, -34),
                (-13, -32, -15),
                (-13, -32, 0),
                (-6, -31, 11),
                (6, -26, 16),
                (18, -12, 17),
                (25, 4, 14),
            ]
        )
        fall = []
        for z, x, behind in (
            (0, 26.5, -3.2), (-15, 26.5, -3.0), (-40, 25.5, -3.0), (-60, 24.5, -4.0), (-90, 21.5, -7.0),
            (-120, 16.5, -10.5), (-150, 10.5, -12.0), (-180, 6.5, -12.5), (-220, 4.5, -12.5), (-285, 3.0, -12.5),
        ):  # fmt: skip
            zs = z * self.sz
            fall.append((x * self.sx + self.spine_x(zs), self.spine_front(zs) + behind * self.sy, zs))
        line = smooth_line(np.vstack([rise, fall]))
        apex = int(np.argmax(line[:, 2]))
        ascending, arch, descending, abdominal = (
            n * r for r in (p.ASCENDING_RADIUS, p.ARCH_RADIUS, p.DESCENDING_RADIUS, p.ABDOMINAL_RADIUS)
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
    def brachiocephalic(self) -> Shape:
        """The brachiocephalic artery."""
        return Minus(
            self._tube([(-6, -30, 14), (-11, -30, 32), (-17, -24, 50), (-24, -18, 62)], p.BRACHIOCEPHALIC_RADIUS),
            (self.aorta,), 0.0,
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
    def great_veins(self) -> tuple[Shape, ...]:
        """Upper caval vein, brachiocephalic and jugular veins."""
        right = [(-36, -12, 165), (-36, -14, 110), (-34, -22, 75), (-32, -27, 58), (-29, -28, 40), (-27, -27, 20)]
        left = [
            (37, -12, 165),
            (37, -14, 110),
            (34, -24, 75),
            (30, -34, 56),
            (14, -42, 44),
            (-6, -42, 34),
            (-22, -33, 22),
        ]
        cava = [(-27, -27, 22), (-29, -24, 0), (-31, -22, -25), (-31, -22, -45)]
        return (
            self._tube(right, 6.3), self._tube(left, 6.3), self._tube(cava, p.CAVA_RADIUS),
        )  # fmt: skip

    @cached_property
    def cava_inferior(self) -> Shape:
        """Lower caval vein, right of the aorta and through the liver into the right atrium."""
        line = []
        for z, x, behind in (
            (-285, -20, -11),
            (-230, -21, -13),
            (-190, -23, -19),
            (-150, -25, -32),
            (-125, -27, -42),
            (-102, -29, -50),
        ):
            zs = z * self.sz
            line.append((x * self.sx + self.spine_x(zs), self.spine_front(zs) + behind * self.sy, zs))
        return Tube(smooth_line(line), 10.5 * self.r, (0.9, 1.05, 1.0))

    @cached_property
    def azygos(self) -> Shape:
        """Azygos vein: up the right front of the spine, then forward over the right bronchus into the caval vein."""
        line = []
        for z, x in ((-195, -7), (-150, -9), (-100, -10), (-50, -10.5), (-15, -11)):
            zs = z * self.sz
            line.append((x * self.sx + self.spine_x(zs), self.spine_front(zs) - 2.6 * self.sy, zs))
        x, y, _ = self.carina
        edge = x - (p.TRACHEA_RADIUS + p.TRACHEA_WALL + p.AZYGOS_RADIUS + 1.5) * self.r
        line += [
            (edge + 4, y + 26 * self.sy, 0.0), (edge - 1.5, y + 16 * self.sy, 8 * self.sz), (edge - 2, y, 11 * self.sz),
            (-25 * self.sx, -16 * self.sy, 10 * self.sz),
        ]  # fmt: skip
        return Minus(Tube(smooth_line(line), p.AZYGOS_RADIUS * self.r), (self.oesophagus, self._airway_wall), 0.5)

    @cached_property
    def pulmonary_arteries(self) -> tuple[Shape, ...]:
        """Pulmonary trunk and both arteries."""
        return (
            self._tube([(20, -50, -44), (17, -45, -28), (14, -36, -16)], p.PULMONARY_TRUNK_RADIUS),
            self._tube(
                [(14, -33, -17), (0, -16, -22), (-18, -12, -24), (-40, -10, -30)], p.PULMONARY_ARTERY_RADIUS * 0.9
            ),
            self._tube([(14, -33, -16), (28, -22, -14), (40, -6, -14), (47, 4, -24)], p.PULMONARY_ARTERY_RADIUS * 0.95),
        )

    @cached_property
    def pulmonary_veins(self) -> Shape:
        """The four pulmonary veins up to the heart."""
        lines = (
            [(-48, -14, -36), (-34, -4, -42), (-18, 0, -46)],
            [(-50, 18, -66), (-36, 11, -60), (-18, 4, -55)],
            [(46, -16, -34), (36, -8, -39), (22, -2, -43)],
            [(50, 11, -64), (38, 7, -58), (22, 2, -54)],
        )
        veins = Union(tuple(self._tube(line, p.PULMONARY_VEIN_RADIUS) for line in lines))
        return Minus(veins, (self.heart, self.aorta, self._airway_wall), 0.3)

    @cached_property
    def celiac(self) -> Shape:
        """The coeliac trunk, from the front of the aorta at T12/L1."""
        z = self.vertebra("VB_T12").bottom
        x, y = self.spine_x(z) + 5.5 * self.sx, self.spine_front(z) - 12.5 * self.sy
        line = [(x, y, z), (x, y - 14 * self.sy, z - 2), (x - 3, y - 26 * self.sy, z - 4)]
        return Minus(Tube(smooth_line(line), p.CELIAC_RADIUS * self.r), (self.aorta,))

    @cached_property
    def _heart_mass(self) -> Shape:
        h = self.build.heart
        towards = np.array([0.66, -0.42, -0.62])
        towards /= np.linalg.norm(towards)
        across = np.cross(towards, (0.0, 0.0, 1.0))
        across /= np.linalg.norm(across)
        axes = np.stack([towards, across, np.cross(towards, across)])
        ventricles = self._ball((25, -40, -80), (61 * h, 44 * h, 42 * h), axes)
        left_atrium = self._ball((2, -6, -49), (33 * h, 17, 23 * h))
        right_atrium = self._ball((-30, -27, -70), (24 * h, 29 * h, 35 * h))
        return Union((ventricles, left_atrium, right_atrium), 20.0)

    def _fit_heart(self, grow: float, gap: float) -> Shape:
        def on_diaphragm(x: Array, y: Array, z: float) -> Array:
            return self._above_diaphragm(x, y, z) + gap

        mass = Grown(self._heart_mass, grow) if grow else self._heart_mass
        around = (self.oesophagus, self._airway_wall, self.azygos, self._descending)
        fitted = Minus(Cut(mass, on_diaphragm), around, gap)
        inside = Grown(self.cavity, -2.0 - gap)
        return Cut(fitted, inside.field)

    @cached_property
    def _descending(self) -> Shape:
        """The aorta behind the heart (its root belongs inside the sac)."""
        top = int(np.argmax(self.aorta.points[:, 2]))
        return Tube(self.aorta.points[top:], self.aorta.radii[top:])

    @cached_property
    def heart(self) -> Shape:
        """The heart with its chambers."""
        return Minus(self._fit_heart(0.0, 3.5), (self.aorta, *self.pulmonary_arteries), 0.0)

    @cached_property
    def pericardium(self) -> Shape:
        """The sac around the heart, with what is in it."""
        return self._fit_heart(2.5, 1.0)

    # --- lungs -----------------------------------------------------------------------------------------------
    @cached_property
    def mediastinum(self) -> Shape:
        """Everything between the lungs, its grooves filled with fat."""
        width = [(70, 29), (60, 27), (45, 24), (25, 14), (5, 9), (-30, 7), (-70, 8), (-110, 13), (-140, 13)]
        core = Column(
            (-400.0, 400.0), self.spine_x, lambda z: 0.0, self._profile(width, self.sx),
            lambda z: 1.15 * self.cavity.front(z) - self.cavity.y(z),
            lambda z: 1.15 * self.cavity.back(z) + self.cavity.y(z),
        )  # fmt: skip
        veins = self.great_veins
        parts: tuple[Shape, ...] = (
            core, self.paraspinal, Grown(self.aorta, 1.2), Grown(self.oesophagus, 2.0), Grown(self.airways, 3.0),
            Grown(self.brachiocephalic, 2.5), *(Grown(a, 2.5) for a in self.carotids.values()), self.subclavian[1],
            *(Grown(v, 1.5) for v in veins), Grown(self.azygos, 1.0), *(Grown(a, 0.8) for a in self.pulmonary_arteries),
            Grown(self.pericardium, 0.8), Grown(self.pulmonary_veins, 0.5), Grown(self.node, 2.0), self._cava_in_chest,
            self._ball((-17, -12, 12), (11, 15, 24)), self._ball((20, -10, -9), (13, 17, 13)),
            self._ball((28, 3, -24), (9, 10, 11)), self._heart_base,
        )  # fmt: skip
        return Union(parts, 7.0)

    @cached_property
    def _heart_base(self) -> Shape:
        """Fat between the sac and the diaphragm under it."""
        under = self._outline_of_heart_base

        def near(x: Array, y: Array, z: float) -> Array:
            field: Array = -self._above_diaphragm(x, y, z) - 2.5
            return field

        return Cut(under, near)

    @property
    def _outline_of_heart_base(self) -> Column:
        depth = constant(42.0 * self.sy)
        middle = constant(-30.0 * self.sy)
        limits = (-150.0 * self.sz, -80.0 * self.sz)
        return Column(limits, constant(14.0 * self.sx), middle, constant(54.0 * self.sx), depth, depth)

    @cached_property
    def _cava_in_chest(self) -> Shape:
        keep = (-200.0 * self.sz, -90.0 * self.sz)
        return Cut(Grown(self.cava_inferior, 1.0), _everywhere, keep)

    @cached_property
    def lungs(self) -> Shape:
        """Both lungs, from the apices to the recesses behind the diaphragm."""
        room = Cut(self.cavity, lambda x, y, z: self._above_diaphragm(x, y, z) + 0.6, (-205 * self.sz, 400.0))
        bones = (*self.vertebra_solids.values(), *self.ribs)
        return Minus(room, (self.mediastinum, *(Grown(bone, 1.0) for bone in bones)))

    @cached_property
    def lung_sides(self) -> tuple[Shape, Shape]:
        """The left and the right lung."""

        def left(x: Array, y: Array, z: float) -> Array:
            half: Array = self.spine_x(z) - x + 0 * y
            return half

        def right(x: Array, y: Array, z: float) -> Array:
            return -left(x, y, z)

        edge = abs(self.build.scoliosis_mm) + 1.0
        return Cut(self.lungs, left, x_limits=(-edge, 1e3)), Cut(self.lungs, right, x_limits=(-1e3, edge))

    @cached_property
    def lung_trees(self) -> tuple[Tube, ...]:
        """Branching vessels in both lungs, for the picture."""
        rng = np.random.default_rng(self.build.tree_seed)
        segments: list[Tube] = []
        for side in (-1, 1):
            hilum = self._hilum(side)
            for n in range(16):
                # Directions spread evenly over the half sphere away from the hilum (golden angle), then shaken.
                outward, turn = (n + 0.5) / 16 * 1.05 - 0.12, 2.39996 * n
                across = np.sqrt(max(1 - outward**2, 0.0))
                aim = (
                    np.array([side * outward, across * np.cos(turn), across * np.sin(turn)]) + rng.normal(size=3) * 0.12
                )
                self._branch(rng, hilum, aim / np.linalg.norm(aim), 3.6 * self.r, 6, segments)
        return tuple(segments)

    def _branch(
        self, rng: np.random.Generator, start: NDArray[np.float64], aim: NDArray[np.float64], radius: float, left: int,
        into: list[Tube],
    ) -> None:  # fmt: skip
        bend = rng.normal(size=3) * 0.28
        first = aim + bend
        middle = start + first / np.linalg.norm(first) * rng.uniform(9, 17)
        end = middle + aim * rng.uniform(8, 15)
        if _clearance(self.cavity, end) > -3.0 or end[2] > 66 * self.sz:
            return
        into.append(Tube(np.stack([start, middle, end]), [radius, radius * 0.9, radius * 0.8]))
        if left == 0 or radius < 0.6:
            return
        for _ in range(2):
            turn = aim + rng.normal(size=3) * 0.62
            self._branch(rng, end, turn / np.linalg.norm(turn), radius * float(rng.uniform(0.62, 0.82)), left - 1, into)

    # --- node ------------------------------------------------------------------------------------------------
    @cached_property
    def node(self) -> Ellipsoid:
        """GTVn: one enlarged node in the fat near the tumour, clear of every other organ."""
        upper, lower = self.tumour_along_mm
        start = 0.5 * (upper + lower)
        obstacles: tuple[Shape, ...] = (
            Grown(self.airways, p.TRACHEA_WALL), self.aorta, self.oesophagus, self.brachiocephalic, *self.great_veins,
            *self.carotids.values(), *self._bodies, self.azygos, *self.pulmonary_arteries, self._heart_mass,
            *self.subclavian, self.pulmonary_veins,
        )  # fmt: skip
        for radius in (self.build.node_radius_mm, 5.0):
            for shift in (0.0, -8.0, 8.0, -16.0, 16.0, -24.0, 24.0, -34.0, 34.0, -46.0, 46.0):
                along = float(np.clip(start + shift, 6.0, self.oesophagus_length_mm - 6.0))
                cx, cy, cz = (float(np.interp(along, self._along, self.oesophagus_line[:, axis])) for axis in range(3))
                for distance in (1.0, 3.0, 6.0, 10.0, 14.0):
                    for degrees in (190, 210, 170, 230, 150, 250, 350, 330, 10, 270, 30, 300):
                        angle = np.radians(degrees)
                        reach = self._oesophagus_radius(cz) + radius + distance
                        centre = (cx + reach * float(np.cos(angle)), cy + reach * float(np.sin(angle)), cz)
                        if all(_clearance(shape, centre) > radius + 0.8 for shape in obstacles):
                            return Ellipsoid(centre, (radius, radius, 1.25 * radius))
        raise InputError(
            f"the virtual patient of seed {self.build.seed} has no room for a lymph node near a tumour of "
            f"{self.build.tumour_length_mm:g} mm length and {self.build.wall_thickness_mm:g} mm wall: ask for less"
        )

    # --- abdomen ---------------------------------------------------------------------------------------------
    def _in_abdomen(self, shape: Shape, gap: float = 1.0) -> Shape:
        room = self.abdomen

        def keep(x: Array, y: Array, z: float) -> Array:
            return room.field(x, y, z) + gap

        return Cut(shape, keep, (-1e3, room.z_range[1]))

    @cached_property
    def stomach(self) -> Shape:
        """Fundus under the left dome, body and antrum."""
        fundus = self._ball((62, 8, -146), (37, 40, 34))
        body = self._tube([(60, -8, -160), (58, -28, -185), (46, -48, -208), (22, -58, -222), (-2, -56, -224)], 22.0)
        inlet = self._tube([(27, -10, -142), (46, 0, -148)], 9.0)
        return Minus(
            self._in_abdomen(Union((fundus, body, inlet), 14.0)),
            (self.oesophagus, self.aorta, self.paraspinal, *self.kidneys.values()),
            0.8,
        )

    @cached_property
    def bowel(self) -> Shape:
        """Transverse colon and loops of small bowel."""
        course = self._line(
            [
                (-90, -20, -285),
                (-84, -40, -250),
                (-66, -54, -240),
                (-30, -62, -258),
                (8, -62, -268),
                (40, -60, -256),
                (76, -44, -228),
                (92, -10, -208),
            ]
        )
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
            self.stomach,
            self.spleen,
            self.kidneys["Kidney_L"],
            self.kidneys["Kidney_R"],
            self.aorta,
            self.cava_inferior,
            self.paraspinal,
        )
        return Minus(self._in_abdomen(Union((colon, *loops))), around, 1.0)

    @cached_property
    def kidneys(self) -> dict[str, Shape]:
        """Both kidneys; the right one lies lower."""
        tilt = np.array([[0.93, 0.05, -0.36], [-0.05, 1.0, 0.0], [0.36, 0.0, 0.93]])
        tilt = np.linalg.qr(tilt.T)[0].T
        mirror = np.diag([-1.0, 1.0, 1.0])
        left = self._ball((64, 40, -214), (27, 25, 54), tilt @ mirror)
        right = self._ball((-64, 40, -227), (27, 25, 53), tilt)
        around = (self.paraspinal,)
        return {
            "Kidney_L": Minus(self._in_abdomen(left), around, 1.0),
            "Kidney_R": Minus(self._in_abdomen(right), around, 1.0),
        }

    @cached_property
    def renal_sinuses(self) -> tuple[Shape, ...]:
        """Fat in the kidneys, open towards the spine."""
        left, right = self._ball((53, 34, -214), (17, 9, 26)), self._ball((-53, 34, -227), (17, 9, 26))
        return Cut(left, self.kidneys["Kidney_L"].field), Cut(right, self.kidneys["Kidney_R"].field)

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
        around = (
            Grown(self.stomach, 1.0), Grown(self.oesophagus, 1.0), self.cava_inferior, self.aorta, self.paraspinal,
            self.azygos, Grown(self.kidneys["Kidney_R"], 2.0), self.gallbladder, self.bowel,
        )  # fmt: skip
        return Minus(self._in_abdomen(Union((right, left), 16.0), 0.2), around, 0.3)

    @cached_property
    def crura(self) -> tuple[Shape, ...]:
        """The diaphragm's limbs beside the aorta, and the psoas muscles."""
        parts: list[Shape] = []
        for side in (-1, 1):
            psoas, crus = [], []
            for z in (-195, -220, -250, -285):
                zs = z * self.sz
                grow = (-z - 180) / 100
                psoas.append(
                    (
                        self.spine_x(zs) + side * (self.vertebra_half_width(zs) + (6 + 8 * grow) * self.sx),
                        self.spine_y(zs) + 6,
                        zs,
                    )
                )
            for z in (-135, -160, -190, -215):
                zs = z * self.sz
                crus.append(
                    (
                        self.spine_x(zs) + (9 + side * (17 - 2 * (-z - 135) / 40)) * self.sx,
                        self.spine_front(zs) - 9 * self.sy,
                        zs,
                    )
                )
            parts.append(Tube(smooth_line(psoas), np.linspace(5, 15, len(smooth_line(psoas))) * self.r))
            parts.append(Tube(smooth_line(crus), 4.2 * self.r, (1.3, 0.5, 1.0)))
        return tuple(parts)

    # --- named -----------------------------------------------------------------------------------------------
    @cached_property
    def organs(self) -> dict[str, tuple[str, tuple[Shape, ...]]]:
        """TG-263 name -> (role, solids that do not touch each other) of every structure that is drawn."""
        single: dict[str, Shape] = {
            "External": self.external,
            "Skin": self.skin,
            "Lung_L": self.lung_sides[0],
            "Lung_R": self.lung_sides[1],
            "Heart": self.heart,
            "Pericardium": self.pericardium,
            "Trachea": self.trachea,
            "Carina": self.carina_marker,
            "Bronchus_Main": self.bronchi,
            "Esophagus": self.oesophagus,
            "Esophagus^Lumen": self.lumen,
            "A_Aorta": self.aorta,
            "A_Brachiocephls": self.brachiocephalic,
            **self.carotids,
            "V_Azygos": self.azygos,
            "V_Pulmonary": self.pulmonary_veins,
            "A_Celiac": self.celiac,
            "Pharynx": self.pharynx,
            "Larynx": self.larynx,
            "SpinalCord": self.cord,
            "SpinalCanal": self.canal,
            **self.vertebra_solids,
            "Sternum": self.sternum,
            **self.clavicles,
            "Diaphragm": self.diaphragm,
            "Stomach": self.stomach,
            "Bowel": self.bowel,
            "Liver": self.liver,
            "Spleen": self.spleen,
            **self.kidneys,
        }
        roles = {"External": "EXTERNAL"}
        found = {name: (roles.get(name, "ORGAN"), (shape,)) for name, shape in single.items()}
        several: dict[str, tuple[str, tuple[Shape, ...]]] = {
            "Lungs": ("ORGAN", self.lung_sides),
            "Ribs": ("ORGAN", self.ribs),
            "GTVp": ("GTV", (self.tumour,)),
            "GTVn": ("GTV", (self.node,)),
        }
        return {**found, **several}

    @cached_property
    def carina_marker(self) -> Ellipsoid:
        """A small volume around the point where the trachea divides."""
        return Ellipsoid(self.carina, (4.0, 4.0, 4.0))


def _everywhere(x: Array, y: Array, z: float) -> Array:
    """Keep all of a plane: for shapes that are cut by planes alone."""
    return np.full(np.broadcast_shapes(x.shape, y.shape), -1e3)


def _clearance(shape: Shape, point: Sequence[float] | NDArray[np.float64]) -> float:
    """Field of a shape at one point, mm."""
    x, y, z = (float(v) for v in point)
    return float(shape.field(np.array([[x]]), np.array([[y]]), z)[0, 0])
