"""Heights of anatomical landmarks, read from structures or points of the case.

A point that was drawn under the landmark's name wins; otherwise the landmark is where the rule beside it says, in the
structures that are drawn. Nothing is guessed: a landmark whose structures are missing is asked for by name.

The outermost contour of a volume lies up to one distance of the planes inside its true end. An upper or lower edge is
therefore taken half a distance beyond that contour, where the solid of the contours ends; it is then within half a
distance of the edge that was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError, UndecidedError
from tailort.geometry.contours import PLANE_TOLERANCE_MM, area_mm2, by_plane, resample_edge
from tailort.patient import Structure, StructureSet

Float = NDArray[np.float64]
Sections = dict[float, list[Float]]
Reading = tuple[float, str]

NEAR_EQUAL_MM = 1.0
TOUCHES_MM, AROUND_TUBE_MM = 5.0, 15.0
"""Where the diaphragm is this near to the oesophagus it is the edge of its hiatus, and so far around it."""
MEDIAL_END_MM = 5.0
BODY_SHARE = 0.5
BRANCH_SHARE = 0.1


@dataclass(frozen=True)
class Landmark:
    """A landmark of one patient.

    Parameters
    ----------
    name : str
        One of `LANDMARKS`.
    z_mm : float
        Its height, LPS mm.
    found : str
        Where it was read, in words.
    """

    name: str
    z_mm: float
    found: str

    def __str__(self) -> str:
        return f"{self.name} at z = {self.z_mm:.1f} mm ({self.found})"


@dataclass(frozen=True)
class LandmarkRule:
    """How a landmark is found.

    Parameters
    ----------
    text : str
        What it is.
    point : str
        Name under which it may be drawn as a point.
    draw : str
        Structures to draw where it is not found, in words.
    read : callable
        From structures and the distance of the CT planes, mm, to height and words; None where it cannot be read.
    """

    text: str
    point: str
    draw: str
    read: Callable[[StructureSet, float], Reading | None]


def find(name: str, structures: StructureSet, planes_mm: Float) -> Landmark | None:
    """Return a landmark, or None when nothing that was drawn shows it.

    Parameters
    ----------
    name : str
        One of `LANDMARKS`.
    structures : StructureSet
        What is drawn, LPS mm.
    planes_mm : (k,) float
        z of the CT planes, ascending.

    Raises
    ------
    InputError
        When there is no such landmark.
    GeometryError
        When the landmark lies outside the CT.
    """
    rule = LANDMARKS.get(name)
    if rule is None:
        raise InputError(f"there is no landmark '{name}'; known are: {', '.join(LANDMARKS)}")
    spacing = float(np.median(np.diff(planes_mm)))
    drawn = next((p for p in structures.points if _plain(p.name) in (_plain(rule.point), _plain(name))), None)
    read = (drawn.position_mm[2], f"point {drawn.name}") if drawn is not None else rule.read(structures, spacing)
    if read is None:
        return None
    z, found = read
    if not planes_mm[0] - spacing <= z <= planes_mm[-1] + spacing:
        raise GeometryError(
            f"the landmark {name} ({found}) lies at z = {z:.1f} mm, outside the CT (z = {planes_mm[0]:g} to "
            f"{planes_mm[-1]:g} mm): check what was drawn"
        )
    return Landmark(name, float(z), found)


def locate(name: str, structures: StructureSet, planes_mm: Float) -> Landmark:
    """Return a landmark.

    Raises
    ------
    UndecidedError
        When it is not drawn and cannot be read from the structures, with what to draw.
    InputError, GeometryError
        As `find`.
    """
    found = find(name, structures, planes_mm)
    if found is None:
        raise UndecidedError(f"the landmark {name} is not known: {what_to_draw(name)}", (name,))
    return found


def what_to_draw(name: str) -> str:
    """Return in words how a landmark is supplied."""
    rule = LANDMARKS[name]
    return f"draw a point '{rule.point}' or {rule.draw}"


def sections_of(*structures: Structure) -> Sections:
    """Return the polygons (n, 2) of structures by the z of their plane."""
    planes, polygons = by_plane([contour for structure in structures for contour in structure.contours])
    return dict(zip(planes.tolist(), polygons, strict=True))


def at_plane(sections: Sections, z_mm: float) -> list[Float]:
    """Return the polygons of the plane at a height, none where there is no such plane."""
    nearest = min(sections, key=lambda z: abs(z - z_mm), default=np.inf)
    return sections[nearest] if abs(nearest - z_mm) < PLANE_TOLERANCE_MM else []


def centroid(rings: Iterable[Float]) -> Float:
    """Return the centre of the largest polygon of a section, mm."""
    ring = max(rings, key=lambda r: abs(area_mm2(r)))
    x, y = ring[:, 0], ring[:, 1]
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    moment = (ring + np.roll(ring, -1, axis=0)) * cross[:, None]
    centre: Float = moment.sum(axis=0) / (3 * cross.sum())
    return centre


def distance_between(a: Iterable[Float], b: Iterable[Float]) -> float:
    """Return the shortest distance of the corners of two sections, mm."""
    p, q = np.concatenate(list(a)), np.concatenate(list(b))
    return float(np.sqrt(((p[:, None, :] - q[None, :, :]) ** 2).sum(axis=2).min()))


def foodway(structures: StructureSet) -> tuple[str, ...]:
    """Names of the structures that are the oesophagus from neck to diaphragm, or what replaced it.

    An oesophagus that reaches below the top of the diaphragm is whole; a remnant goes on as Stomach, the gastric tube.
    """
    oesophagus, tube = (_drawn(structures, name) for name in ("Esophagus", "Stomach"))
    dome = _drawn(structures, "Diaphragm")
    if oesophagus is None:
        return ("Stomach",) if tube is not None and _rises_above(tube, dome) else ()
    whole = dome is None or oesophagus.slice_positions_mm[0] < dome.slice_positions_mm[-1]
    if whole or tube is None:
        return (oesophagus.name,)
    return (oesophagus.name, tube.name)


def _rises_above(tube: Structure, dome: Structure | None) -> bool:
    return dome is not None and bool(tube.slice_positions_mm[-1] > dome.slice_positions_mm[-1])


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _drawn(structures: StructureSet, name: str) -> Structure | None:
    found = structures.find(name)
    return None if found is None or found.is_empty else found


def _upper_edge(name: str) -> Callable[[StructureSet, float], Reading | None]:
    def read(structures: StructureSet, spacing: float) -> Reading | None:
        found = _drawn(structures, name)
        if found is None:
            return None
        return float(found.slice_positions_mm[-1]) + 0.5 * spacing, f"upper edge of {found.name}"

    return read


def _lower_edge(name: str) -> Callable[[StructureSet, float], Reading | None]:
    def read(structures: StructureSet, spacing: float) -> Reading | None:
        found = _drawn(structures, name)
        if found is None:
            return None
        return float(found.slice_positions_mm[0]) - 0.5 * spacing, f"lower edge of {found.name}"

    return read


def _sternal_notch(structures: StructureSet, spacing: float) -> Reading | None:
    """Highest plane in which the sternum reaches across its own middle."""
    sternum = _drawn(structures, "Sternum")
    if sternum is None:
        return None
    sections = sections_of(sternum)
    low, high = sternum.bounds_mm()
    middle = 0.5 * (low[0] + high[0])
    across = [z for z, rings in sections.items() if any(r[:, 0].min() < middle < r[:, 0].max() for r in rings)]
    return max(across) + 0.5 * spacing, "upper edge of Sternum in its middle"


def _upper_margin_t1(structures: StructureSet, spacing: float) -> Reading | None:
    """Top of the body of T1: of the part before the spinal canal, where that is drawn."""
    vertebra = _drawn(structures, "VB_T01")
    if vertebra is None:
        return None
    canal = _drawn(structures, "SpinalCanal") or _drawn(structures, "SpinalCord")
    at = sections_of(canal) if canal is not None else {}
    areas: dict[float, float] = {}
    for z, rings in sections_of(vertebra).items():
        # Where the canal is not drawn, its nearest contour tells what lies before it: else arch would count as body.
        front = min(r[:, 1].min() for r in at[min(at, key=lambda level: abs(level - z))]) if at else np.inf
        areas[z] = abs(sum(_area_before(ring, front) for ring in rings))
    enough = BODY_SHARE * max(areas.values())
    top = max(z for z, area in areas.items() if area >= enough)
    return top + 0.5 * spacing, "upper edge of the body of VB_T01"


def _area_before(ring: Float, y_mm: float) -> float:
    """Signed area of the part of a polygon before (y below) a line, mm2."""
    kept: list[Float] = []
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if a[1] <= y_mm:
            kept.append(a)
        if (a[1] <= y_mm) != (b[1] <= y_mm):
            kept.append(a + (b - a) * (y_mm - a[1]) / (b[1] - a[1]))
    return area_mm2(np.array(kept)) if len(kept) > 2 else 0.0


def _clavicular_head(structures: StructureSet, spacing: float) -> Reading | None:
    """Middle height of the medial ends of both clavicles."""
    bones = [_drawn(structures, name) for name in ("Clavicle_L", "Clavicle_R")]
    if any(bone is None for bone in bones):
        return None
    heights = []
    for bone, side in zip(bones, (1.0, -1.0), strict=True):
        assert bone is not None
        medial = {z: min(float((side * r[:, 0]).min()) for r in rings) for z, rings in sections_of(bone).items()}
        end = min(medial.values())
        heights.append(float(np.mean([z for z, x in medial.items() if x <= end + MEDIAL_END_MM])))
    return 0.5 * sum(heights), "middle of the medial ends of Clavicle_L and Clavicle_R"


def _carina(structures: StructureSet, spacing: float) -> Reading | None:
    """Middle of a structure of that name; else where Trachea divides, or goes over into Bronchus_Main."""
    drawn = _drawn(structures, "Carina")
    if drawn is not None:
        z = drawn.slice_positions_mm
        return 0.5 * float(z[0] + z[-1]), f"middle of {drawn.name}"
    trachea, bronchi = _drawn(structures, "Trachea"), _drawn(structures, "Bronchus_Main")
    if trachea is None:
        return None
    sections = sections_of(trachea)
    # A speck beside the trachea is no bronchus, and one plane alone is no fork where there is a longer one.
    runs = groupby(sorted(sections), lambda z: _branches(sections[z]) > 1)
    apart = max((list(run) for divided, run in runs if divided), key=len, default=[])
    above = [z for z in sections if not apart or z > max(apart)]
    if apart and above:
        return 0.5 * (max(apart) + min(above)), "where Trachea divides in two"
    if bronchi is None or apart:
        return None
    return 0.5 * float(trachea.slice_positions_mm[0] + bronchi.slice_positions_mm[-1]), (
        "between the lowest contour of Trachea and the highest of Bronchus_Main"
    )


def _branches(rings: list[Float]) -> int:
    """Outer polygons that are no specks beside the largest one."""
    area = np.array([area_mm2(ring) for ring in rings])
    largest = float(area[int(np.argmax(np.abs(area)))])
    return int((area / largest >= BRANCH_SHARE).sum())


def _brachiocephalic(structures: StructureSet, spacing: float) -> Reading | None:
    """Lower edge of the artery where it lies before the trachea."""
    artery, trachea = _drawn(structures, "A_Brachiocephls"), _drawn(structures, "Trachea")
    if artery is None or trachea is None:
        return None
    airway = sections_of(trachea)
    before = [
        z
        for z, rings in sections_of(artery).items()
        if (lumen := at_plane(airway, z))
        and min(r[:, 0].min() for r in rings) < max(r[:, 0].max() for r in lumen)
        and max(r[:, 0].max() for r in rings) > min(r[:, 0].min() for r in lumen)
    ]
    return (min(before) - 0.5 * spacing, "lower edge of A_Brachiocephls before Trachea") if before else None


def _coeliac_axis(structures: StructureSet, spacing: float) -> Reading | None:
    """Where the trunk leaves the aorta: the planes in which it comes nearest to it."""
    trunk, aorta = _drawn(structures, "A_Celiac"), _drawn(structures, "A_Aorta")
    if trunk is None or aorta is None:
        return None
    z = _nearest(sections_of(trunk), sections_of(aorta))
    return None if z is None else (z, "where A_Celiac leaves A_Aorta")


def _hiatus(structures: StructureSet, spacing: float) -> Reading | None:
    """Where the middle of the oesophagus, or of what replaced it, crosses the diaphragm around it."""
    dome = _drawn(structures, "Diaphragm")
    way = foodway(structures)
    if dome is None or not way:
        return None
    tube, sheet = sections_of(*(structures[name] for name in way)), sections_of(dome)
    z_mm = _crossing(tube, sheet, 1.5 * spacing)
    if z_mm is None:
        z_mm = _nearest(tube, sheet)
    return None if z_mm is None else (z_mm, f"where {' and '.join(way)} cross Diaphragm")


def _crossing(tube: Sections, sheet: Sections, beyond_mm: float) -> float | None:
    """Height at which the middle line of a tube meets the sheet around it, a plane through what lies within a reach.

    None where the sheet lies on too few sides of the tube to show one, or nowhere near what was drawn.
    """
    # Takes long to load.
    from scipy.spatial import cKDTree

    points = []
    for z, rings in tube.items():
        edges = [resample_edge(ring, NEAR_EQUAL_MM) for ring in at_plane(sheet, z)]
        if not edges:
            continue
        edge = np.concatenate(edges)
        apart = np.asarray(cKDTree(np.concatenate(rings)).query(edge)[0])
        # Crura pass the tube further away, below the plane in which the sheet around it touches it.
        if apart.min() <= TOUCHES_MM:
            near = edge[apart <= AROUND_TUBE_MM]
            points.append(np.column_stack([near, np.full(len(near), z)]))
    around = np.concatenate(points) if points else np.zeros((0, 3))
    if len(around) < 3:
        return None
    planar = np.column_stack([np.ones(len(around)), around[:, :2]])
    tilted, _, rank, _ = np.linalg.lstsq(planar, around[:, 2], rcond=None)
    if rank < 3:
        return None
    low, high = around[:, 2].min() - beyond_mm, around[:, 2].max() + beyond_mm
    heights = np.array(sorted(z for z in tube if low <= z <= high))
    above = heights - np.array([tilted[0] + tilted[1:] @ centroid(tube[z]) for z in heights.tolist()])
    crossed = np.flatnonzero((above[:-1] < 0) & (above[1:] >= 0))
    if len(crossed) != 1:
        return None
    n = int(crossed[0])
    return float(np.interp(0.0, above[n : n + 2], heights[n : n + 2]))


def _nearest(a: Sections, b: Sections) -> float | None:
    """Mean height of the planes in which two structures are nearest to each other."""
    apart = {z: distance_between(rings, other) for z, rings in a.items() if (other := at_plane(b, z))}
    if not apart:
        return None
    least = min(apart.values())
    return float(np.mean([z for z, d in apart.items() if d <= least + NEAR_EQUAL_MM]))


def _junction(structures: StructureSet, spacing: float) -> Reading | None:
    """Lower end of an oesophagus that reaches the diaphragm; after its resection there is none."""
    oesophagus, dome = _drawn(structures, "Esophagus"), _drawn(structures, "Diaphragm")
    if oesophagus is None or dome is None or oesophagus.slice_positions_mm[0] > dome.slice_positions_mm[-1]:
        return None
    return float(oesophagus.slice_positions_mm[0]) - 0.5 * spacing, "lower edge of Esophagus"


LANDMARKS: dict[str, LandmarkRule] = {
    "cricoid-lower-edge": LandmarkRule(
        "Lower edge of the cricoid, where the trachea begins", "Cricoid_Inf", "Trachea up to the cricoid",
        _upper_edge("Trachea"),
    ),
    "t1-upper-margin": LandmarkRule(
        "Upper margin of the body of T1", "VB_T01_Sup", "VB_T01 (and SpinalCanal)", _upper_margin_t1
    ),
    "lung-apex-left": LandmarkRule("Apex of the left lung", "Lung_L_Apex", "Lung_L", _upper_edge("Lung_L")),
    "lung-apex-right": LandmarkRule("Apex of the right lung", "Lung_R_Apex", "Lung_R", _upper_edge("Lung_R")),
    "clavicular-head": LandmarkRule(
        "Middle of the medial ends of the clavicles", "Clavicle_Head", "Clavicle_L and Clavicle_R", _clavicular_head
    ),
    "sternal-notch": LandmarkRule(
        "Upper edge of the manubrium in the midline", "SternalNotch", "Sternum", _sternal_notch
    ),
    "aortic-arch-top": LandmarkRule("Top of the aortic arch", "A_Aorta_Arch", "A_Aorta", _upper_edge("A_Aorta")),
    "brachiocephalic-lower-margin": LandmarkRule(
        "Caudal margin of the brachiocephalic artery where it crosses the trachea", "A_Brachio_Inf",
        "A_Brachiocephls and Trachea", _brachiocephalic,
    ),
    "azygos-upper-border": LandmarkRule(
        "Cephalic border of the azygos vein", "V_Azygos_Sup", "V_Azygos with its arch", _upper_edge("V_Azygos")
    ),
    "carina": LandmarkRule(
        "Where the trachea divides", "Carina", "a structure Carina, or Trachea and Bronchus_Main", _carina
    ),
    "inferior-pulmonary-vein": LandmarkRule(
        "Caudal margin of the inferior pulmonary veins", "V_Pulm_Inf", "V_Pulmonary", _lower_edge("V_Pulmonary")
    ),
    "diaphragm-dome": LandmarkRule(
        "Higher dome of the diaphragm", "Diaphragm_Dome", "Diaphragm", _upper_edge("Diaphragm")
    ),
    "hiatus": LandmarkRule(
        "Where the oesophagus or what replaced it crosses the diaphragm", "Hiatus",
        "Diaphragm and Esophagus (or Stomach)", _hiatus,
    ),
    "oesophagogastric-junction": LandmarkRule(
        "Where an oesophagus that was not resected ends in the stomach", "EGJ", "Esophagus and Diaphragm", _junction
    ),
    "coeliac-axis": LandmarkRule(
        "Where the coeliac trunk leaves the aorta", "Celiac_Axis", "A_Celiac and A_Aorta", _coeliac_axis
    ),
}  # fmt: skip
