"""Nodal stations of the oesophagus (AJCC, 8th edition): as they were drawn, else constructed, else asked for.

What was drawn is taken. A station that was not drawn is built between the borders that its definition prints, from
landmarks and vessels, and is **constructed, to be reviewed**: the borders along the body are printed, how far a station
reaches in a plane is not. It reaches `reach_mm`, which the protocol gives, from the wall of the organ that it follows,
less every organ that is drawn:

- 1, 2 and 4 lie around the trachea, before the plane of its hind wall; its middle parts right from left.
- 7 lies between the main bronchi, at least as wide as the trachea, from their front to `reach_mm` behind them, down to
  `SUBCARINAL_MM` below the carina or to the end of the bronchi, whichever comes first.
- 8U, 8M and 8Lo lie around the oesophagus, or what replaced it in its bed, less 1, 2, 4 and 7.
- 17, 18 and 19 lie around their artery, 20 around the first `TRUNK_MM` of the coeliac trunk.

The supraclavicular nodes, 9, 15 and 16 are bordered by what planning structures do not show (muscles, pulmonary
ligament, crura, a junction that may be resected) and must be drawn.

References
----------
Rice, Ishwaran, Ferguson, Blackstone, Goldstraw 2017, doi:10.1016/j.jtho.2016.10.016 (stations and their borders).
Goodman, Regine, Dawson et al. 2012, doi:10.1016/j.ijrobp.2012.01.022 (first 10 to 15 mm of the coeliac trunk).
NCT03731442, doi:10.1186/s12885-020-07315-0 (lower border of elective fields, 2 to 3 cm below the carina).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError, UndecidedError
from tailort.geometry import EndCap, Margin, contract, expand, intersect, subtract, unite
from tailort.geometry.contours import nesting_depth
from tailort.patient import Structure, StructureSet
from tailort.targets.landmarks import Landmark, centroid, find, foodway, sections_of, what_to_draw

Float = NDArray[np.float64]
Contours = tuple[Float, ...]

SUBCARINAL_MM = 30.0
"""Lowest border that NCT03731442 prints for fields whose lowest midline station is 7 (rule MS-44, 2.0 to 3.0 cm)."""
TRUNK_MM = 15.0
AIRWAY_WALL_MM = 2.0
"""Contours of the airways follow their lumen; the wall of about 1 to 3 mm around it holds no node."""
HALF_DISC_MM = 4.0
"""Vertebrae are drawn without the discs; each is taken with half of the disc above and below."""
SEAM_MM = 2.0
"""Seams between organs that are narrower than this are left out."""
TO_REVIEW = "constructed, to be reviewed"

ORGANS = (
    "Trachea", "Bronchus_Main", "Esophagus", "Stomach", "Lung_L", "Lung_R", "Heart", "Pericardium", "A_Aorta",
    "A_Brachiocephls", "A_Carotid_L", "A_Carotid_R", "A_Subclavian_L", "A_Subclavian_R", "A_Pulmonary", "V_Pulmonary",
    "V_Azygos", "V_VenaCava_S", "V_VenaCava_I", "V_Brachioceph_L", "V_Brachioceph_R", "Larynx", "Pharynx",
    "Glnd_Thyroid", "Sternum", "Clavicle_L", "Clavicle_R", "Ribs", "SpinalCanal", "Liver", "Spleen", "Bowel",
    "Kidney_L", "Kidney_R",
)  # fmt: skip
"""What no station lies in, where it is drawn; and every vertebra."""
AIRWAYS = ("Trachea", "Bronchus_Main")


@dataclass(frozen=True)
class StationRule:
    """What a station is.

    Parameters
    ----------
    title, rule : str
        Its name, and the id of the definition.
    names : tuple of str
        Names under which it may be drawn; the first one is given to what is constructed.
    upper, lower : tuple of str
        Landmarks that border it; of several the higher one above, and of several below the first that is found.
    needs : tuple of str
        Structures without which it cannot be constructed.
    constructed : bool
        Whether it ever is.
    """

    title: str
    rule: str
    names: tuple[str, ...]
    upper: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    constructed: bool = True


_APICES = ("lung-apex-left", "lung-apex-right")
_VEIN = "inferior-pulmonary-vein"
STATIONS: dict[str, StationRule] = {
    "supraclavicular_L": StationRule(
        "left supraclavicular", "NM-97", ("LN_Sclav_L",), constructed=False
    ),
    "supraclavicular_R": StationRule(
        "right supraclavicular", "NM-97", ("LN_Sclav_R",), constructed=False
    ),
    "1L": StationRule(
        "left lower cervical paratracheal", "NM-81", ("LN_1L",), ("cricoid-lower-edge",), ("lung-apex-left",),
        ("Trachea", "Glnd_Thyroid"),
    ),
    "1R": StationRule(
        "right lower cervical paratracheal", "NM-81", ("LN_1R",), ("cricoid-lower-edge",), ("lung-apex-right",),
        ("Trachea", "Glnd_Thyroid"),
    ),
    "2L": StationRule(
        "left upper paratracheal", "NM-83", ("LN_2L",), ("lung-apex-left",), ("aortic-arch-top",), ("Trachea",)
    ),
    "2R": StationRule(
        "right upper paratracheal", "NM-82", ("LN_2R",), ("lung-apex-right",), ("brachiocephalic-lower-margin",),
        ("Trachea",),
    ),
    "4L": StationRule("left lower paratracheal", "NM-85", ("LN_4L",), ("aortic-arch-top",), ("carina",), ("Trachea",)),
    "4R": StationRule(
        "right lower paratracheal", "NM-84", ("LN_4R",), ("brachiocephalic-lower-margin",), ("azygos-upper-border",),
        ("Trachea",),
    ),
    "7": StationRule("subcarinal", "NM-86", ("LN_7",), ("carina",), (), ("Trachea", "Bronchus_Main")),
    "8U": StationRule("upper thoracic para-oesophageal", "NM-87", ("LN_8U",), _APICES, ("carina",)),
    "8M": StationRule("middle thoracic para-oesophageal", "NM-88", ("LN_8M",), ("carina",), (_VEIN,)),
    "8Lo": StationRule(
        "lower thoracic para-oesophageal", "NM-89", ("LN_8Lo",), (_VEIN,), ("oesophagogastric-junction", "hiatus")
    ),
    "9L": StationRule("left pulmonary ligament", "NM-90", ("LN_9L",), constructed=False),
    "9R": StationRule("right pulmonary ligament", "NM-90", ("LN_9R",), constructed=False),
    "15": StationRule("diaphragmatic", "NM-91", ("LN_15",), constructed=False),
    "16": StationRule("paracardial", "NM-92", ("LN_16",), constructed=False),
    "17": StationRule("left gastric", "NM-93", ("LN_17",), needs=("A_Gastric_L",)),
    "18": StationRule("common hepatic", "NM-94", ("LN_18",), needs=("A_Hepatic",)),
    "19": StationRule("splenic", "NM-95", ("LN_19",), needs=("A_Splenic",)),
    "20": StationRule("coeliac", "NM-96", ("LN_Celiac", "LN_20"), needs=("A_Celiac", "A_Aorta")),
}  # fmt: skip

WHOLE = {
    "1": ("1L", "1R"), "2": ("2L", "2R"), "4": ("4L", "4R"), "9": ("9L", "9R"),
    "supraclavicular": ("supraclavicular_L", "supraclavicular_R"), "8M/L": ("8M", "8Lo"),
}  # fmt: skip
"""Stations of two parts; a contour of the whole is taken for both."""
EITHER_SIDE = ("9",)
"""Of these one side is enough where the other is not drawn: they are treated where they are involved."""
_BESIDE = ("1L", "1R", "2L", "2R", "4L", "4R")
_ARTERY = {"17": "A_Gastric_L", "18": "A_Hepatic", "19": "A_Splenic"}


def stations_named(name: str) -> tuple[str, ...]:
    """Return the stations (keys of `STATIONS`) that a name of AJCC, 8th edition, means.

    Raises
    ------
    InputError
        When the name is not clear, or one of another system of numbers.
    """
    if name in STATIONS:
        return (name,)
    if name in WHOLE:
        return WHOLE[name]
    if name in ("8", "8L"):
        other = ", or the left side" if name == "8L" else ""
        raise InputError(f"station '{name}' is not clear: expected 8U, 8M or 8Lo (8L could be the lower part{other})")
    number = name.rstrip("LR")
    if number.isdigit() and (int(number) in (3, 5, 6, *range(10, 15)) or int(number) > 20):
        raise InputError(
            f"station '{name}' is a number of the lung (IASLC) or of the Japanese classification; expected stations of "
            f"AJCC, 8th edition: {', '.join((*STATIONS, *WHOLE))}"
        )
    raise InputError(f"there is no station '{name}'; known are: {', '.join((*STATIONS, *WHOLE))}")


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
    """

    def __init__(
        self, structures: StructureSet, planes_mm: Float, reach_mm: float, end_cap: EndCap = "half_slice"
    ) -> None:
        self.structures = structures
        self.planes = np.asarray(planes_mm, dtype=np.float64)
        self.reach_mm = reach_mm
        self.end_cap: EndCap = end_cap
        self.spacing_mm = float(np.median(np.diff(self.planes)))
        self._rooms: dict[str, Contours] = {}
        self._landmarks: dict[str, Landmark | None] = {}

    def drawn(self, name: str) -> tuple[Structure, ...]:
        """Contours of a station as drawn: of the whole, or of its parts; empty unless all of it is there."""
        whole = self._structure(f"LN_{name}")
        if whole is not None:
            return (whole,)
        parts = [part for part in map(self._drawn_part, stations_named(name)) if part is not None]
        return tuple(parts) if len(parts) == len(stations_named(name)) or (parts and name in EITHER_SIDE) else ()

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
            return Lacking(station, (own,), f"station {station} ({rule.title}) is never constructed: draw {own}")
        missing = [name for name in rule.needs if self._structure(name) is None]
        if station.startswith("8") and not foodway(self.structures):
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
        if station.startswith("8"):
            for other in (*_BESIDE, "7"):
                if self._lacking_part(other) is None:
                    room = self._without(room, self._room(other))
        contours, organs = self._cleared(room)
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
            return (
                borders,
                f"between the main bronchi, from their front to {self.reach_mm:g} mm behind them",
            )
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
            end = float(self.structures["Bronchus_Main"].slice_positions_mm[0]) - 0.5 * self.spacing_mm
            low = max(top.z_mm - SUBCARINAL_MM, end)
            return low, top.z_mm, f"z = {low:.1f} mm ({top.z_mm - low:.0f} mm below the carina)", str(top)
        bottom = next(mark for mark in map(self._landmark, rule.lower) if mark is not None)
        if bottom.z_mm >= top.z_mm:
            raise GeometryError(
                f"station {station} has its lower border, {bottom}, above its upper one, {top}: check what was drawn"
            )
        return bottom.z_mm, top.z_mm, str(bottom), str(top)

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
            else:
                room = self._around_foodway(station)
            self._rooms[station] = room
        return self._rooms[station]

    def _planes_of(self, station: str) -> Float:
        low, high, _, _ = self._limits(station)
        # A plane on a border that two stations share belongs to the upper one.
        within: Float = self.planes[(self.planes >= low) & (self.planes < high)]
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
            section = sections.get(round(float(z), 4))
            if section is None:
                continue
            middle, points = float(centroid(section)[0]), np.concatenate(section)
            back, far = float(points[:, 1].max()), 2 * self.reach_mm + float(np.ptp(points[:, 0]))
            x = (middle, middle + far) if left else (middle - far, middle)
            boxes.append(_box(x, (back - far - np.ptp(points[:, 1]), back), float(z)))
        return self._both(ring, boxes)

    def _between_bronchi(self) -> Contours:
        boxes = []
        sections = sections_of(self.structures["Bronchus_Main"])
        trachea = self.structures["Trachea"]
        lowest = np.concatenate([c for c in trachea.contours if c[0, 2] - trachea.slice_positions_mm[0] < 0.01])
        width = float(lowest[:, 0].min()), float(lowest[:, 0].max())
        for z in self._planes_of("7"):
            rings = sections.get(round(float(z), 4))
            if rings is None:
                continue
            depth = nesting_depth(rings)
            outer = [ring for ring, d in zip(rings, depth, strict=True) if d == 0]
            ends = sorted(outer, key=lambda ring: float(ring[:, 0].min()))
            between = (float(ends[0][:, 0].max()), float(ends[-1][:, 0].min())) if len(ends) > 1 else width
            x = min(between[0], width[0]), max(between[1], width[1])
            points = np.concatenate(outer)
            boxes.append(_box(x, (float(points[:, 1].min()), float(points[:, 1].max()) + self.reach_mm), float(z)))
        return tuple(boxes)

    def _around_foodway(self, station: str) -> Contours:
        planes = self._planes_of(station)
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

    def _cleared(self, room: Contours) -> tuple[Contours, list[str]]:
        """Take every organ off that is drawn; specks of less than a square millimetre go too."""
        names = [*ORGANS, *(s.name for s in self.structures if s.name.upper().startswith("VB_"))]
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
    return bool(np.abs(levels - contour[0, 2]).min() < 0.01)


def _touch(contour: Float, room: Contours) -> bool:
    """Whether the boxes around a contour and around the room's contours of its plane overlap."""
    own = [c for c in room if abs(c[0, 2] - contour[0, 2]) < 0.01]
    if not own:
        return False
    points = np.concatenate(own)[:, :2]
    low, high = contour[:, :2].min(axis=0), contour[:, :2].max(axis=0)
    return bool((low < points.max(axis=0)).all() and (high > points.min(axis=0)).all())
