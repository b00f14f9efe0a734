"""True solids of the numbered nodal stations of the oesophagus, between the borders that the body itself gives.

The borders along the body are those printed for the AJCC-8 stations. How far a station reaches in a plane is printed
nowhere: it is the distance that NCT03731442 takes around what it treats (`REACH_MM`), from the wall of the organ or
vessel that the station follows. Room between organs that is narrower than `NARROWEST_MM`, two pixels of a planning CT,
is drawn by nobody.

- 7, printed as caudal to the carina, lies between the main bronchi, from their front to their back, down to their ends.
- 9, printed as within the pulmonary ligament, lies around the base of that fold, on the medial surface of the lung from
  below the middle of the inferior pulmonary vein towards the way of food at the hiatus, as far as the lung goes there.
- 15, printed as on the dome or beside and behind the crura, lies around the way of food at the hiatus and around the
  aorta from there to the coeliac trunk.
- 16, printed as adjacent to the junction of oesophagus and stomach, lies around the way of food from 10 mm above to
  20 mm below it; after surgery the junction is where it was, `ABDOMINAL_OESOPHAGUS_MM` below the hiatus.

References
----------
Rice, Ishwaran, Ferguson, Blackstone and Goldstraw 2017, doi:10.1016/j.jtho.2016.10.016 (AJCC-8, stations 1 to 20).
Cooper, Moss, Buy and Stark 1983, doi:10.2214/ajr.141.2.237 (the ligament tethers the lower lobe to the mediastinum).
Berkmen, Drossman and Marboe 1992, Radiology 185(2) (its base lies on the medial surface of the lung, between the
inferior pulmonary vein and the diaphragm).
NCT03731442, doi:10.1186/s12885-020-07315-0 (rule MS-51: 0.6 to 0.8 cm horizontally).
Siewert and Stein 1998, doi:10.1046/j.1365-2168.1998.00940.x (cardia: 1 cm above to 2 cm below the junction).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.node import Growth
from tailort.phantom.anatomy.person import Body
from tailort.phantom.anatomy.region import Point
from tailort.phantom.opening import Opened
from tailort.phantom.shapes import (
    EVERYWHERE,
    Array,
    Column,
    Cut,
    Grown,
    Lattice,
    Minus,
    Profile,
    Shape,
    Tube,
    Union,
    constant,
    field_at,
    smooth_line,
)

REACH_MM, NARROWEST_MM = 8.0, 2.0
CARDIA_MM = (10.0, 20.0)
"""Above and below the junction of oesophagus and stomach."""
LUNG_AWAY_MM = 10.0
"""Of a lung whose surface is further from it no ligament hangs."""
REGION_OF = {
    "LN_Sclav_L": "I", "LN_Sclav_R": "I", "1L": "I", "1R": "I", "2L": "II", "2R": "II", "4L": "II", "4R": "II",
    "8U": "II", "7": "III", "8M": "III", "8Lo": "III", "9L": "III", "9R": "III", "15": "IV", "16": "IV", "17": "IV",
    "18": "IV", "19": "IV", "20": "IV",
}  # fmt: skip
"""Region of NCT03731442 (rules MS-24, MS-25) of each station; the supraclavicular regions are no numbered stations."""
REGIONS = ("I", "II", "III", "IV")


@dataclass(frozen=True, eq=False)
class NodalLevels:
    """Stations of one body, each the room between its borders less every organ in it."""

    body: Body

    @cached_property
    def borders(self) -> dict[str, float]:
        """Height of every landmark that is a border, mm of body coordinates."""
        b = self.body
        left, right = b.lungs.sides
        return {
            "cricoid_lower_edge": (p.CRICOID_Z - 6) * b.sz,
            "lung_apex_left": _top(left, b),
            "lung_apex_right": _top(right, b),
            "brachiocephalic_artery_lower_margin": self._below_brachiocephalic,
            "azygos_arch_top": b.veins.azygos_course.z_range[1],
            "aortic_arch_top": b.arteries.arch_top[2],
            "carina": b.airways.carina[2],
            "main_bronchi_lower_end": b.airways.bronchi.z_range[0],
            "inferior_pulmonary_vein_lower_margin": b.heart.pulmonary_veins.z_range[0],
            "diaphragm_hiatus": b.hiatus[2],
            "gastro_oesophageal_junction": self.junction[2],
            "coeliac_axis": b.arteries.celiac_origin[2],
        }

    @cached_property
    def junction(self) -> Point:
        """Where the oesophagus goes over into the stomach, or did before surgery."""
        line, z = self.body.food_line, self.body.hiatus[2] - p.ABDOMINAL_OESOPHAGUS_MM * self.body.sz
        x, y = (float(np.interp(-z, -line[:, 2], line[:, axis])) for axis in (0, 1))
        return x, y, z

    @cached_property
    def artery_lines(self) -> dict[str, NDArray[np.float64]]:
        """Middle lines of the three branches of the coeliac trunk, from its end.

        The left gastric artery is divided when the stomach becomes a tube; its line is the bed in which it ran,
        behind the tube.
        """
        b = self.body
        x, y, z = b.arteries.celiac_origin
        end = (x - 3, y - 26 * b.sy, z - 4)
        jx, jy, jz = self.junction
        return {
            "A_Gastric_L": smooth_line([end, (x + 2, end[1] + 6, z + 18), (jx - 3, jy + 17 * b.sy, jz)]),
            "A_Hepatic": smooth_line([end, (x - 9 * b.sx, end[1] - 1, z - 12), (x - 17 * b.sx, end[1] - 3, z - 22)]),
            "A_Splenic": smooth_line([end, (x + 18 * b.sx, end[1] + 6, z - 2), (x + 38 * b.sx, end[1] + 22, z + 4)]),
        }

    @cached_property
    def arteries(self) -> dict[str, Shape]:
        """Those branches, outside of the region around the trunk and of other organs; a growth may run around them."""
        b, a = self.body, self.body.abdomen
        others = (
            b.stations.celiac, b.oesophagus.organ, b.arteries.aorta, a.liver, a.spleen, a.bowel,
            *a.kidneys.values(), *a.crura_and_psoas,
        )  # fmt: skip
        return {
            name: Minus(Tube(line, p.CELIAC_BRANCH_RADIUS * b.r), others, 0.6)
            for name, line in self.artery_lines.items()
        }

    @cached_property
    def _below_brachiocephalic(self) -> float:
        """Lowest plane in which the brachiocephalic artery lies before the trachea."""
        b = self.body
        artery = b.arteries.brachiocephalic
        for z in np.arange(artery.z_range[0], artery.z_range[1], 0.5).tolist():
            x, y, _ = b.airways.trachea_centre(z)
            width = p.TRACHEA_RADIUS * b.r
            at = Lattice(np.arange(x - width, x + width, 1.0)[None, :], np.arange(y - 45, y, 1.0)[:, None], z)
            if (at.field(artery) < 0).any():
                return float(z)
        return artery.z_range[0]

    @cached_property
    def extents(self) -> dict[str, tuple[str, str]]:
        """Upper and lower border of the stations that the borders in `borders` limit."""
        apex, arch, carina = "lung_apex_", "aortic_arch_top", "carina"
        brachiocephalic, azygos = "brachiocephalic_artery_lower_margin", "azygos_arch_top"
        vein, hiatus = "inferior_pulmonary_vein_lower_margin", "diaphragm_hiatus"
        higher = max(("lung_apex_left", "lung_apex_right"), key=self.borders.__getitem__)
        return {
            "1L": ("cricoid_lower_edge", f"{apex}left"), "1R": ("cricoid_lower_edge", f"{apex}right"),
            "2L": (f"{apex}left", arch), "2R": (f"{apex}right", brachiocephalic),
            "4L": (arch, carina), "4R": (brachiocephalic, azygos),
            "7": (carina, "main_bronchi_lower_end"),
            "8U": (higher, carina), "8M": (carina, vein), "8Lo": (vein, hiatus),
            "9L": (vein, hiatus), "9R": (vein, hiatus),
            "15": (hiatus, "coeliac_axis"),
        }  # fmt: skip

    def limits(self, station: str) -> tuple[float, float]:
        """Lowest and highest plane of a station between two borders."""
        upper, lower = (self.borders[name] for name in self.extents[station])
        return lower, upper

    @cached_property
    def solids(self) -> dict[str, Shape]:
        """Every station by its number."""
        return {name: self._cleared(room, self.obstacles) for name, room in self._rooms.items()} | {
            name: self._cleared(room, self.hard_obstacles) for name, room in self._ligaments.items()
        }

    def _cleared(self, room: Shape, others: tuple[Shape, ...]) -> Shape:
        return Opened(Minus(room, others, 0.3), 0.5 * NARROWEST_MM)

    @cached_property
    def hard_obstacles(self) -> tuple[Shape, ...]:
        """What neither a node nor a station lies in; lungs give way to a node and are not among them."""
        b = self.body
        return (
            b.airways.wall, b.oesophagus.organ, b.spine.column, b.heart.pericardium, b.heart.pulmonary_veins,
            b.veins.azygos, *b.veins.great_veins, b.veins.cava_inferior, b.arteries.aorta, b.arteries.brachiocephalic,
            *b.arteries.carotids.values(), *b.arteries.subclavian, *b.arteries.pulmonary, b.neck.larynx,
            b.neck.pharynx, *b.neck.thyroid, *b.neck.neck_muscles, *b.chest_wall.clavicles.values(),
            b.chest_wall.sternum, *b.chest_wall.ribs, *b.chest_wall.cartilages, *b.spine.bones.values(),
        )  # fmt: skip

    @cached_property
    def obstacles(self) -> tuple[Shape, ...]:
        """Those, the lungs and the organs of the abdomen."""
        a = self.body.abdomen
        return (
            *self.hard_obstacles, self.body.lungs.both, a.liver, a.spleen, a.bowel, *a.kidneys.values(),
            *a.crura_and_psoas,
        )  # fmt: skip

    @cached_property
    def _rooms(self) -> dict[str, Shape]:
        b = self.body
        beside = {f"{n}{side}": self._beside_trachea(f"{n}{side}") for n in (1, 2, 4) for side in "LR"}
        around = Grown(b.oesophagus.organ, REACH_MM)
        along = {name: Cut(around, limits=self.limits(name)) for name in ("8U", "8M", "8Lo")}
        trunk, (low, high) = self.body.stations.celiac, self.limits("15")
        top, bottom = (self.junction[2] + step for step in (CARDIA_MM[0], -CARDIA_MM[1]))
        cardia = Cut(around, limits=(bottom, min(top, high)))
        crural = Union((Cut(around, limits=(top, high)), Cut(Grown(b.arteries.aorta, REACH_MM), limits=(low, high))))
        beds = {
            name: Tube(line, p.CELIAC_BRANCH_RADIUS * b.r + REACH_MM)
            for name, line in zip(("17", "18", "19"), self.artery_lines.values(), strict=True)
        }
        first = {**beside, "7": self._subcarinal}
        return {
            **first,
            **{name: Minus(room, tuple(first.values()), 0.3) for name, room in along.items()},
            "15": Minus(crural, (trunk, cardia), 0.3),
            "16": cardia,
            **{name: Minus(room, (trunk, cardia), 0.3) for name, room in beds.items()},
            "20": trunk,
        }

    def _beside_trachea(self, station: str) -> Shape:
        """Left or right half of the fat around the trachea, not behind it."""
        b = self.body
        sign = 1.0 if station.endswith("L") else -1.0

        def half(at: Lattice) -> Array:
            x, y, _ = b.airways.trachea_centre(at.z)
            field: Array = np.maximum(sign * (x - at.x), at.y - (y + p.TRACHEA_RADIUS * b.r))
            return field

        return Cut(Grown(b.airways.wall, REACH_MM), half, self.limits(station))

    @cached_property
    def _subcarinal(self) -> Shape:
        """Room between the middle lines of the main bronchi, as deep as they are with their walls."""
        b = self.body
        lines, depth = b.airways.bronchus_lines, (p.BRONCHUS_RADIUS + p.TRACHEA_WALL) * b.r

        def along(z: float, axis: int) -> list[float]:
            return [float(np.interp(-z, -line[:, 2], line[:, axis])) for line in lines]

        def between(at: Lattice) -> Array:
            left, right = sorted(along(at.z, 0), reverse=True)
            y = along(at.z, 1)
            across = np.maximum(right - at.x, at.x - left)
            field: Array = np.maximum(across, np.maximum(min(y) - depth - at.y, at.y - max(y) - depth))
            return field

        span = np.concatenate(lines)
        (x0, y0, _), (x1, y1, _) = span.min(axis=0) - depth, span.max(axis=0) + depth
        whole = Column(
            EVERYWHERE, lambda z: 0.5 * (x0 + x1), lambda z: 0.5 * (y0 + y1), lambda z: 0.6 * (x1 - x0),
            lambda z: 0.6 * (y1 - y0), lambda z: 0.6 * (y1 - y0), 8.0,
        )  # fmt: skip
        return Cut(whole, between, self.limits("7"))

    @cached_property
    def _ligaments(self) -> dict[str, Shape]:
        """Room around the bases of the pulmonary ligaments, folds that tether the lungs to the mediastinum.

        Each leaves the medial surface of the lung below the middle of the inferior pulmonary vein, comes down along it
        towards the wall of the way of food at the hiatus, and ends where the lung does; a growth is not there yet.
        """
        b = self.body
        lungs = replace(b.lungs, node=Growth()).sides
        found: dict[str, Shape] = {}
        for side, sign, lung in (("L", 1.0, lungs[0]), ("R", -1.0, lungs[1])):
            low, high = self.limits(f"9{side}")
            x, y, _ = b.hiatus
            while field_at(b.oesophagus.organ, (x, y, low)) < 0:
                x += 0.25 * sign
            vein = b.heart.inferior_veins[side].points
            free = np.array([field_at(b.heart.pericardium, point) > 0 for point in vein])
            heights = np.arange(low, high, 1.0)
            straight = np.linspace((x, y), vein[free].mean(axis=0)[:2], len(heights))
            surface = [_onto(lung, at, z) for at, z in zip(straight, heights.tolist(), strict=True)]
            line = [at if on is None else on for at, on in zip(straight, surface, strict=True)]
            end = next((n for n, on in enumerate(surface) if on is not None), 0)
            x_of, y_of = (Profile(np.column_stack([heights, [at[axis] for at in line]])) for axis in (0, 1))
            reach = constant(REACH_MM)
            found[f"9{side}"] = Column((float(heights[end]), high), x_of, y_of, reach, reach, reach)
        return found


def _onto(solid: Shape, at: NDArray[np.float64], z: float) -> NDArray[np.float64] | None:
    """Nearest point of a solid's surface in a plane, to 0.5 mm; None where there is none within reach."""
    steps = np.arange(-LUNG_AWAY_MM, LUNG_AWAY_MM + 0.5, 0.5)
    apart = np.hypot(steps[None, :], steps[:, None])
    within = Lattice(at[0] + steps[None, :], at[1] + steps[:, None], z).field(solid) < 0
    rows, columns = np.nonzero((within != within[len(steps) // 2, len(steps) // 2]) & (apart <= LUNG_AWAY_MM))
    if not len(rows):
        return None
    n = int(np.argmin(apart[rows, columns]))
    on: NDArray[np.float64] = at + np.array([steps[columns[n]], steps[rows[n]]])
    return on


def _top(lung: Shape, body: Body) -> float:
    """Highest plane of a lung, to 0.5 mm."""
    x, y = np.arange(-70.0, 71.0, 1.5)[None, :], np.arange(-30.0, 71.0, 1.5)[:, None]
    for z in np.arange(75.0 * body.sz, 20.0 * body.sz, -0.5).tolist():
        if (Lattice(x, y, z).field(lung) < 0).any():
            return float(z)
    return 20.0 * body.sz
