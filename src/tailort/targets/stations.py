"""Nodal stations of the oesophagus (AJCC, 8th edition): as they were drawn, else constructed, else asked for.

What was drawn is taken. A station that was not drawn is built between the borders that its definition prints, from
landmarks and vessels, and is **constructed, to be reviewed**: the borders along the body are printed, how far a station
reaches in a plane is not. It reaches `reach_mm`, which the protocol gives, from the wall of the organ that it follows,
less every organ that is drawn:

- 1, 2 and 4 lie around the trachea, before the plane of its hind wall; its middle parts right from left.
- 7 lies between the main bronchi, from their front to their back. Its definition prints no depth ("caudal to the
  carina"): it goes down to the end of the main bronchi as they are drawn or, in the other reading, to a distance below
  the carina that the protocol gives.
- 8U, 8M and 8Lo lie around the oesophagus, or what replaced it in its bed, less 1, 2, 4 and 7.
- 9 lies around the base of the pulmonary ligament of its side, see `tailort.targets.ligament`.
- 15 lies around the oesophagus, or what replaced it, from the hiatus to where 16 begins, and around the aorta, less the
  crura where they are drawn with the diaphragm, from the hiatus to the coeliac trunk.
- 16 lies around the junction of oesophagus and stomach, `CARDIA_MM` above and below it; where that was resected it
  is taken `ABDOMINAL_OESOPHAGUS_MM` below the hiatus.
- 17, 18 and 19 lie around their artery, 20 around the first `TRUNK_MM` of the coeliac trunk.

The supraclavicular nodes are bordered by muscles, which planning structures do not show, and must be drawn.

References
----------
Rice, Ishwaran, Ferguson, Blackstone, Goldstraw 2017, doi:10.1016/j.jtho.2016.10.016 (stations and their borders).
Goodman, Regine, Dawson et al. 2012, doi:10.1016/j.ijrobp.2012.01.022 (first 10 to 15 mm of the coeliac trunk).
Siewert and Stein 1998, doi:10.1046/j.1365-2168.1998.00940.x (cardia: 1 cm above to 2 cm below the junction).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, UndecidedError
from tailort.geometry import EndCap, Margin, contract, expand, intersect, subtract, unite
from tailort.geometry.contours import PLANE_TOLERANCE_MM, nesting_depth
from tailort.patient import Structure, StructureSet
from tailort.targets.landmarks import Landmark, at_plane, centroid, find, foodway, sections_of, what_to_draw
from tailort.targets.ligament import Side, around_ligament
from tailort.targets.station_rules import STATIONS, stations_named

Float = NDArray[np.float64]
Contours = tuple[Float, ...]

CARDIA_MM = (10.0, 20.0)
"""Above and below the junction of oesophagus and stomach."""
ABDOMINAL_OESOPHAGUS_MM = 20.0
"""From the hiatus to a junction that was resected; the abdominal part is about 1 to 2.5 cm long."""
TRUNK_MM = 15.0
AIRWAY_WALL_MM = 2.0
"""Contours of the airways follow their lumen; the wall of about 1 to 3 mm around it holds no node."""
HALF_DISC_MM = 4.0
"""Vertebrae are drawn without the discs; each is taken with half of the disc above and below."""
SEAM_MM = 3.0
"""Seams between organs that are narrower than this are left out."""
TO_REVIEW = "constructed, to be reviewed"

ORGANS = (
    "Trachea", "Bronchus_Main", "Esophagus", "Stomach", "Heart", "Pericardium", "A_Aorta",
    "A_Brachiocephls", "A_Carotid_L", "A_Carotid_R", "A_Subclavian_L", "A_Subclavian_R", "A_Pulmonary", "V_Pulmonary",
    "V_Azygos", "V_VenaCava_S", "V_VenaCava_I", "V_Brachioceph_L", "V_Brachioceph_R", "Larynx", "Pharynx",
    "Glnd_Thyroid", "Sternum", "Clavicle_L", "Clavicle_R", "Ribs", "SpinalCanal", "Liver", "Spleen", "Bowel",
    "Kidney_L", "Kidney_R",
)  # fmt: skip
"""What no station lies in, where it is drawn; and every vertebra, and for all but the ligaments the lungs."""
AIRWAYS = ("Trachea", "Bronchus_Main")

_BESIDE = ("1L", "1R", "2L", "2R", "4L", "4R")
_LIGAMENTS = ("9L", "9R")
_FOLLOW_FOODWAY = ("8U", "8M", "8Lo", "9L", "9R", "15", "16")
_FIRST = {**dict.fromkeys(("8U", "8M", "8Lo"), (*_BESIDE, "7")), "15": ("16", "20"), "17": ("16", "20")}
_FIRST |= dict.fromkeys(("18", "19"), ("20",))
"""What belongs to other stations before it belongs to this one."""
_ARTERY = {"17": "A_Gastric_L", "18": "A_Hepatic", "19": "A_Splenic"}


def to_review(structures: StructureSet) -> tuple[str, ...]:
    """Return what a reader must know of stations that were constructed; nothing where there are none."""
    made = [s.name for s in structures if s.made_by and s.made_by[0].startswith(TO_REVIEW)]
    return (f"nodal stations {TO_REVIEW} before the plan is used: {', '.join(made)}",) if made else ()


@dataclass(frozen=True)
class Lacking:
    """What a station waits for.

    Parameters
    ----------
    station : str
        Its number.
    draw : tuple of str
        Names of what could be drawn: the station itself, or the landmarks and structures it is constructed from.
    text : str
        The same in words.
    """

    station: str
    draw: tuple[str, ...]
    text: str


class StationAtlas:
    """Stations of one case.

    Parameters
    ----------
    structures : StructureSet
        What is drawn, LPS mm.
    planes_mm : (k,) float
        z of the CT planes, ascending, LPS mm.
    end_cap : EndCap
        How solids end, see `tailort.geometry.solid`.
    subcarinal_mm : float or None
        Depth of station 7 below the carina, mm; None is to the end of the main bronchi.
    """

    def __init__(
        self,
        structures: StructureSet,
        planes_mm: Float,
        reach_mm: float,
        end_cap: EndCap = "half_slice",
        subcarinal_mm: float | None = None,
    ) -> None:
        self.structures = structures
        self.planes = np.asarray(planes_mm, dtype=np.float64)
        self.reach_mm = reach_mm
        self.end_cap: EndCap = end_cap
        self.subcarinal_mm = subcarinal_mm
        self.spacing_mm = float(np.median(np.diff(self.planes)))
        self._rooms: dict[str, Contours] = {}
        self._landmarks: dict[str, Landmark | None] = {}

    def drawn(self, name: str) -> tuple[Structure, ...]:
        """Contours of a station as drawn: of the whole, or of its parts; empty unless all of it is there."""
        whole = self._structure(f"LN_{name}")
        if whole is not None:
            return (whole,)
        parts = [part for part in map(self._drawn_part, stations_named(name)) if part is not None]
        return tuple(parts) if len(parts) == len(stations_named(name)) else ()

    def _drawn_part(self, station: str) -> Structure | None:
        return next((s for s in map(self._structure, STATIONS[station].names) if s is not None), None)

    def lacking(self, name: str) -> tuple[Lacking, ...]:
        """What would have to be drawn for a station, part by part; nothing when it is drawn or can be constructed."""
        if self.drawn(name):
            return ()
        return tuple(
            lacking
            for part in stations_named(name)
            if self._drawn_part(part) is None and (lacking := self._lacking_part(part)) is not None
        )

    def _lacking_part(self, station: str) -> Lacking | None:
        rule = STATIONS[station]
        own = rule.names[0]
        if not rule.constructed:
            return Lacking(
                station,
                (own,),
                f"station {station} ({rule.title}) is never constructed, as muscles border it: draw {own}, from the "
                "lower edge of the cricoid to that of the head of the clavicle, from the carotid outwards between "
                "sternomastoid and scalenes",
            )
        missing = [name for name in rule.needs if self._structure(name) is None]
        if station in _FOLLOW_FOODWAY and not foodway(self.structures):
            missing.append("Esophagus (after oesophagectomy Stomach with Diaphragm)")
        marks = [name for name in rule.upper if self._landmark(name) is None]
        if rule.lower and all(self._landmark(name) is None for name in rule.lower):
            marks.append(rule.lower[-1])
        if not missing and not marks:
            return None
        wanted = ([f"draw {', '.join(missing)}"] if missing else []) + [what_to_draw(name) for name in marks]
        return Lacking(
            station,
            (own, *missing, *marks),
            f"station {station} ({rule.title}): draw {own}, or, to construct it, {'; '.join(wanted)}",
        )

    def take(self, name: str) -> tuple[Structure, ...]:
        """Return a station, drawn or constructed, in one structure or one for each part.

        Raises
        ------
        UndecidedError
            When it is not drawn and something to construct it from is missing, with what to draw.
        InputError
            When there is no such station.
        GeometryError
            When what is constructed comes out empty.
        """
        drawn = self.drawn(name)
        if drawn:
            return drawn
        lacking = self.lacking(name)
        if lacking:
            raise UndecidedError(
                "; ".join(entry.text for entry in lacking), tuple(draw for entry in lacking for draw in entry.draw)
            )
        return tuple(self._drawn_part(part) or self.construct(part) for part in stations_named(name))

    def construct(self, station: str) -> Structure:
        """Return a station built from landmarks and organs, whether it is drawn or not.

        Raises
        ------
        UndecidedError
            When something is missing.
        GeometryError
            When it comes out empty.
        """
        lacking = self._lacking_part(station)
        if lacking is not None:
            raise UndecidedError(lacking.text, lacking.draw)
        rule = STATIONS[station]
        room = self._room(station)
        for other in _FIRST.get(station, ()):
            if self._lacking_part(other) is None and len(self._within(other)):
                room = self._without(room, self._room(other))
        contours, organs = self._cleared(room, () if station in _LIGAMENTS else ("Lung_L", "Lung_R"))
        if not contours:
            raise GeometryError(
                f"station {station} comes out empty ({self._borders_in_words(station)}): check the structures that it "
                f"is constructed from, or draw {rule.names[0]}"
            )
        made_by = (
            f"{TO_REVIEW}: station {station} ({rule.title}) by its definition [{rule.rule}]",
            *self._described(station),
            f"less {', '.join(organs) or 'nothing'}",
            f"contours on the CT planes, end cap {self.end_cap}",
        )
        return Structure(rule.names[0], "OTHER", contours, self.structures.frame_of_reference, made_by=made_by)

    def _described(self, station: str) -> tuple[str, ...]:
        borders = self._borders_in_words(station)
        if station in _BESIDE:
            side = "left" if station.endswith("L") else "right"
            return borders, f"{side} half of {self.reach_mm:g} mm around Trachea, before its hind wall"
        if station == "7":
            return borders, "between the main bronchi, from their front to their back"
        if station in _LIGAMENTS:
            return borders, (
                f"{self.reach_mm:g} mm around a line on Lung_{station[-1]} from below the vein towards "
                f"{' and '.join(foodway(self.structures))}"
            )
        if station == "15":
            way = " and ".join(foodway(self.structures))
            crura = "" if self._structure("Diaphragm") is None else " less Diaphragm"
            around = f"{self.reach_mm:g} mm around A_Aorta{crura}, and around {way} above station 16, less 16 and 20"
            return borders, around
        if station == "16":
            return borders, f"{self.reach_mm:g} mm around {' and '.join(foodway(self.structures))}"
        if station in _ARTERY:
            return (f"{self.reach_mm:g} mm around {_ARTERY[station]}",)
        if station == "20":
            return (f"{self.reach_mm:g} mm around the first {TRUNK_MM:g} mm of A_Celiac",)
        return (
            borders,
            f"{self.reach_mm:g} mm around {' and '.join(foodway(self.structures))}, less what belongs to 1, 2, 4 and 7",
        )

    def _borders_in_words(self, station: str) -> str:
        low, high, below, above = self._limits(station)
        return f"from {below} up to {above}" if below and above else f"z = {low:.1f} to {high:.1f} mm"

    def _limits(self, station: str) -> tuple[float, float, str, str]:
        """Lowest and highest z of a station, and what these are."""
        rule = STATIONS[station]
        if not rule.upper:
            return float(self.planes[0]), float(self.planes[-1]), "", ""
        uppers = [mark for mark in map(self._landmark, rule.upper) if mark is not None]
        top = max(uppers, key=lambda mark: mark.z_mm)
        if station == "7":
            low = float(self.structures["Bronchus_Main"].slice_positions_mm[0]) - 0.5 * self.spacing_mm
            told = f"the end of Bronchus_Main at z = {low:.1f} mm"
            if self.subcarinal_mm is not None:
                low, told = top.z_mm - self.subcarinal_mm, f"{self.subcarinal_mm:g} mm below the carina"
            return low, top.z_mm, told, str(top)
        if station == "16":
            return self._cardia(top)
        bottom = next(mark for mark in map(self._landmark, rule.lower) if mark is not None)
        if bottom.z_mm >= top.z_mm:
            raise GeometryError(
                f"station {station} has its lower border, {bottom}, above its upper one, {top}: check what was drawn"
            )
        return bottom.z_mm, top.z_mm, str(bottom), str(top)

    def _cardia(self, hiatus: Landmark) -> tuple[float, float, str, str]:
        """Lower and upper border of 16, which does not reach above the hiatus."""
        junction = self._landmark("oesophagogastric-junction")
        z = hiatus.z_mm - ABDOMINAL_OESOPHAGUS_MM if junction is None else junction.z_mm
        at = f"the junction, taken {ABDOMINAL_OESOPHAGUS_MM:g} mm below {hiatus}" if junction is None else str(junction)
        above, below = CARDIA_MM
        if z + above > hiatus.z_mm:
            return z - below, hiatus.z_mm, f"{below:g} mm below {at}", str(hiatus)
        return z - below, z + above, f"{below:g} mm below {at}", f"{above:g} mm above it"

    def _landmark(self, name: str) -> Landmark | None:
        if name not in self._landmarks:
            self._landmarks[name] = find(name, self.structures, self.planes)
        return self._landmarks[name]

    def _structure(self, name: str) -> Structure | None:
        found = self.structures.find(name)
        return None if found is None or found.is_empty else found

    def _room(self, station: str) -> Contours:
        if station not in self._rooms:
            if station in _BESIDE:
                room = self._beside_trachea(station)
            elif station == "7":
                room = self._between_bronchi()
            elif station in _ARTERY:
                room = self._grown(self.structures[_ARTERY[station]].contours, Margin.uniform(self.reach_mm))
            elif station == "20":
                room = self._around_trunk()
            elif station in _LIGAMENTS:
                low, high, _, _ = self._limits(station)
                side: Side = "L" if station.endswith("L") else "R"
                room = around_ligament(side, self.structures, self._planes_of(station), (low, high), self.reach_mm)
            elif station == "15":
                room = self._at_diaphragm()
            elif station == "16":
                room = self._around_cardia()
            else:
                room = self._around_foodway(station)
            self._rooms[station] = room
        return self._rooms[station]

    def _within(self, station: str) -> Float:
        """Planes of the CT between the borders; one on a border that two stations share belongs to the upper one."""
        low, high, _, _ = self._limits(station)
        within: Float = self.planes[(self.planes >= low) & (self.planes < high)]
        return within

    def _planes_of(self, station: str) -> Float:
        low, high, _, _ = self._limits(station)
        within = self._within(station)
        if not len(within):
            raise GeometryError(
                f"station {station} lies between two planes of the CT (z = {low:.1f} to {high:.1f} mm, planes "
                f"{self.spacing_mm:g} mm apart): draw {STATIONS[station].names[0]}, or give a CT with thinner slices"
            )
        return within

    def _beside_trachea(self, station: str) -> Contours:
        planes = self._planes_of(station)
        left = station.endswith("L")
        boxes = []
        sections = sections_of(self.structures["Trachea"])
        airway = self._walled("Trachea", planes)
        ring = self._around(airway, planes)
        for z in planes:
            section = at_plane(sections, z)
            if not section:
                continue
            middle, points = float(centroid(section)[0]), np.concatenate(section)
            back, far = float(points[:, 1].max()), 2 * self.reach_mm + float(np.ptp(points[:, 0]))
            x = (middle, middle + far) if left else (middle - far, middle)
            boxes.append(_box(x, (back - far - np.ptp(points[:, 1]), back), float(z)))
        return self._both(ring, boxes)

    def _between_bronchi(self) -> Contours:
        boxes = []
        sections = sections_of(self.structures["Bronchus_Main"])
        for z in self._planes_of("7"):
            rings = at_plane(sections, z)
            if not rings:
                continue
            depth = nesting_depth(rings)
            outer = [ring for ring, d in zip(rings, depth, strict=True) if d == 0]
            if len(outer) < 2:
                continue
            ends = sorted(outer, key=lambda ring: float(ring[:, 0].mean()))
            x = float(ends[0][:, 0].mean()), float(ends[-1][:, 0].mean())
            points = np.concatenate(outer)
            y = float(points[:, 1].min()) - AIRWAY_WALL_MM, float(points[:, 1].max()) + AIRWAY_WALL_MM
            boxes.append(_box(x, y, float(z)))
        return tuple(boxes)

    def _at_diaphragm(self) -> Contours:
        planes = self._planes_of("15")
        behind = self._around(self._near(self.structures["A_Aorta"].contours, planes), planes)
        crura = self._structure("Diaphragm")
        if crura is not None:
            behind = self._without(behind, crura.contours)
        _, top, _, _ = self._limits("16")
        above = planes[planes >= top]
        beside = self._beside_foodway(above) if len(above) else ()
        return unite(behind, beside, planes, self.end_cap, self.spacing_mm) if behind and beside else behind or beside

    def _around_cardia(self) -> Contours:
        """Around what leads to the stomach; below an oesophagus that was not resected, around where it ends."""
        planes = self._planes_of("16")
        beside = self._beside_foodway(planes)
        way = self._structure("Esophagus")
        if way is None or foodway(self.structures) != (way.name,):
            return beside
        end = tuple(c for c in way.contours if c[0, 2] - way.slice_positions_mm[0] < PLANE_TOLERANCE_MM)
        margin = Margin(*(self.reach_mm,) * 4, 0.0, CARDIA_MM[1])
        below = expand(end, margin, planes, self.end_cap, self.spacing_mm)
        return unite(beside, below, planes, self.end_cap, self.spacing_mm) if beside and below else beside or below

    def _around_foodway(self, station: str) -> Contours:
        return self._beside_foodway(self._planes_of(station))

    def _beside_foodway(self, planes: Float) -> Contours:
        way: Contours = ()
        for name in foodway(self.structures):
            near = self._near(self.structures[name].contours, planes)
            way = unite(way, near, planes, self.end_cap, self.spacing_mm) if way and near else (way or near)
        return self._around(way, planes)

    def _around_trunk(self) -> Contours:
        """First part of the trunk, by distance from the aorta, with a margin."""
        trunk, aorta = self.structures["A_Celiac"], self.structures["A_Aorta"]
        planes = self.planes
        near = self._grown(self._near(aorta.contours, trunk.slice_positions_mm), Margin.uniform(TRUNK_MM))
        first = intersect(trunk.contours, near, planes, self.end_cap, self.spacing_mm)
        return self._grown(first, Margin.uniform(self.reach_mm))

    def _walled(self, name: str, planes: Float) -> Contours:
        """An airway with its wall."""
        near = self._near(self.structures[name].contours, planes)
        if not near:
            return ()
        return expand(near, Margin.radial(AIRWAY_WALL_MM, 0.0), planes, self.end_cap, self.spacing_mm)

    def _as_organ(self, organ: Structure, levels: Float) -> tuple[Contours, ...]:
        """An organ as it is taken off: airways with their wall, vertebrae with half a disc above and below."""
        if organ.name in AIRWAYS:
            return (self._walled(organ.name, levels),)
        if not organ.name.upper().startswith("VB_"):
            return (organ.contours,)
        shift = np.array([0.0, 0.0, max(1, round(HALF_DISC_MM / self.spacing_mm)) * self.spacing_mm])
        near = self._near(organ.contours, levels, float(shift[2]))
        return near, tuple(c + shift for c in near), tuple(c - shift for c in near)

    def _near(self, contours: Iterable[Float], planes: Float, room_mm: float = 0.0) -> Contours:
        reach = 1.5 * self.spacing_mm + room_mm
        return tuple(c for c in contours if planes[0] - reach <= c[0, 2] <= planes[-1] + reach)

    def _around(self, contours: Iterable[Float], planes: Float) -> Contours:
        near = self._near(contours, planes)
        if not near:
            return ()
        return expand(near, Margin.radial(self.reach_mm, 0.0), planes, self.end_cap, self.spacing_mm)

    def _grown(self, contours: Contours, margin: Margin) -> Contours:
        return expand(contours, margin, self.planes, self.end_cap, self.spacing_mm) if contours else ()

    def _both(self, a: Contours, b: Sequence[Float]) -> Contours:
        return intersect(a, tuple(b), self._levels(a), self.end_cap, self.spacing_mm) if a and b else ()

    def _without(self, a: Contours, b: Contours) -> Contours:
        near = self._near(b, self._levels(a)) if a and b else ()
        return subtract(a, near, self._levels(a), self.end_cap, self.spacing_mm) if near else a

    def _levels(self, contours: Contours) -> Float:
        return np.unique(np.round([c[0, 2] for c in contours], 4))

    def _cleared(self, room: Contours, lungs: Sequence[str]) -> tuple[Contours, list[str]]:
        """Take every organ off that is drawn; specks of less than a square millimetre go too."""
        names = [*ORGANS, *lungs, *(s.name for s in self.structures if s.name.upper().startswith("VB_"))]
        taken = []
        for name in names:
            organ = self._structure(name)
            if organ is None or not room:
                continue
            found = False
            for contours in self._as_organ(organ, self._levels(room)):
                levels = self._levels(room) if room else np.zeros(0)
                near = tuple(c for c in contours if len(levels) and _on(c, levels) and _touch(c, room))
                room = self._without(room, near) if near else room
                found = found or bool(near)
            if found:
                taken.append(organ.name)
        seam = Margin.radial(0.5 * SEAM_MM, 0.0)
        wide = contract(room, seam, self._levels(room), self.end_cap, self.spacing_mm) if room else ()
        room = expand(wide, seam, self._levels(wide), self.end_cap, self.spacing_mm) if wide else ()
        return room, taken


def _box(x: tuple[float, float], y: tuple[float, float], z: float) -> Float:
    return np.array([[x[0], y[0], z], [x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z]])


def _on(contour: Float, levels: Float) -> bool:
    return bool(np.abs(levels - contour[0, 2]).min() < PLANE_TOLERANCE_MM)


def _touch(contour: Float, room: Contours) -> bool:
    """Whether the boxes around a contour and around the room's contours of its plane overlap."""
    own = [c for c in room if abs(c[0, 2] - contour[0, 2]) < PLANE_TOLERANCE_MM]
    if not own:
        return False
    points = np.concatenate(own)[:, :2]
    low, high = contour[:, :2].min(axis=0), contour[:, :2].max(axis=0)
    return bool((low < points.max(axis=0)).all() and (high > points.min(axis=0)).all())
