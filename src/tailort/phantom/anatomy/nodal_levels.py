"""True solids of the numbered nodal stations of the oesophagus, between the borders that the body itself gives.

The borders along the body are those printed for the AJCC-8 stations; how far a station reaches in a plane is not
printed anywhere, so it is a distance of this file from the wall of the organ that the station follows.

References
----------
Rice, Ishwaran, Ferguson, Blackstone and Goldstraw 2017, doi:10.1016/j.jtho.2016.10.016 (AJCC-8, stations 1 to 20).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.person import Body
from tailort.phantom.shapes import (
    Array,
    Column,
    Cut,
    Ellipsoid,
    Grown,
    Lattice,
    Minus,
    Profile,
    Shape,
    Tube,
    constant,
    smooth_line,
)

TRACHEAL_REACH_MM, OESOPHAGEAL_REACH_MM, ARTERIAL_RADIUS_MM = 10.0, 8.0, 8.0
SUBCARINAL_DEPTH_MM, LIGAMENT_RADIUS_MM, CARDIAC_RADIUS_MM, DIAPHRAGMATIC_MM = 28.0, 6.0, 16.0, 14.0
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
            "subcarinal_lower_end": b.airways.carina[2] - SUBCARINAL_DEPTH_MM * b.sz,
            "inferior_pulmonary_vein_lower_margin": b.heart.pulmonary_veins.z_range[0],
            "diaphragm_hiatus": p.HIATUS_Z * b.sz,
            "gastro_oesophageal_junction": float(b.course.line[-1, 2]),
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
            "7": (carina, "subcarinal_lower_end"),
            "8U": (higher, carina), "8M": (carina, vein), "8Lo": (vein, hiatus),
            "9L": (vein, hiatus), "9R": (vein, hiatus),
            "15": (hiatus, hiatus),
        }  # fmt: skip

    def limits(self, station: str) -> tuple[float, float]:
        """Lowest and highest plane of a station between two borders."""
        upper, lower = (self.borders[name] for name in self.extents[station])
        return (lower - DIAPHRAGMATIC_MM, upper) if station == "15" else (lower, upper)

    @cached_property
    def solids(self) -> dict[str, Shape]:
        """Every station by its number."""
        return {name: self._cleared(room, self.obstacles) for name, room in self._rooms.items()} | {
            name: self._cleared(room, self.hard_obstacles) for name, room in self._ligaments.items()
        }

    def _cleared(self, room: Shape, others: tuple[Shape, ...]) -> Shape:
        return Minus(room, others, 0.3)

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
        around = Grown(b.oesophagus.organ, OESOPHAGEAL_REACH_MM)
        along = {name: Cut(around, limits=self.limits(name)) for name in ("8U", "8M", "8Lo")}
        hiatus, junction = b.course.point(0.94 * b.course.length_mm), b.course.point(b.course.length_mm)
        cardia = Ellipsoid(junction, (CARDIAC_RADIUS_MM,) * 3)
        ring = Grown(b.oesophagus.organ, CARDIAC_RADIUS_MM)
        x, y, z = b.arteries.celiac_origin
        end = (x - 3, y - 26 * b.sy, z - 4)
        arteries = {
            "17": [end, (x + 2, end[1] - 6, z + 18), (hiatus[0], hiatus[1] - 4, junction[2] - 6)],
            "18": [end, (x - 16 * b.sx, end[1] - 2, z - 8), (x - 32 * b.sx, end[1] - 4, z - 12)],
            "19": [end, (x + 18 * b.sx, end[1] + 6, z - 2), (x + 38 * b.sx, end[1] + 22, z + 4)],
        }
        trunk = self.body.stations.celiac
        first = {**beside, "7": self._subcarinal}
        return {
            **first,
            **{name: Minus(room, tuple(first.values()), 0.3) for name, room in along.items()},
            "15": Cut(ring, limits=self.limits("15")),
            "16": Cut(cardia, limits=(b.course.line[-1, 2] - CARDIAC_RADIUS_MM, self.limits("15")[0])),
            **{
                name: Minus(Tube(smooth_line(line), ARTERIAL_RADIUS_MM * b.r), (trunk, cardia), 0.3)
                for name, line in arteries.items()
            },
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

        return Cut(Grown(b.airways.wall, TRACHEAL_REACH_MM), half, self.limits(station))

    @cached_property
    def _subcarinal(self) -> Shape:
        b = self.body
        x, y, z = b.airways.carina
        width = Profile([(z, 7.0 * b.sx), (z - 0.6 * SUBCARINAL_DEPTH_MM, 16.0 * b.sx), (z - 40, 18.0 * b.sx)])
        depth = constant(11.0 * b.sy)
        return Column(self.limits("7"), constant(x), constant(y + 9 * b.sy), width, depth, depth, 2.5)

    @cached_property
    def _ligaments(self) -> dict[str, Shape]:
        """Stations of the pulmonary ligaments, folds between lung and mediastinum that no CT shows."""
        b = self.body
        found: dict[str, Shape] = {}
        for name, line in (
            ("9L", [(36, 8, -70), (36, 14, -90), (30, 18, -122)]),
            ("9R", [(-44, 16, -70), (-42, 18, -90), (-30, 14, -122)]),
        ):  # fmt: skip
            points = np.array(line, dtype=float) * np.array([b.sx, b.sy, b.sz])
            found[name] = Cut(Tube(smooth_line(points), LIGAMENT_RADIUS_MM * b.r), limits=self.limits(name))
        return found


def _top(lung: Shape, body: Body) -> float:
    """Highest plane of a lung, to 0.5 mm."""
    x, y = np.arange(-70.0, 71.0, 1.5)[None, :], np.arange(-30.0, 71.0, 1.5)[:, None]
    for z in np.arange(75.0 * body.sz, 20.0 * body.sz, -0.5).tolist():
        if (Lattice(x, y, z).field(lung) < 0).any():
            return float(z)
    return 20.0 * body.sz
