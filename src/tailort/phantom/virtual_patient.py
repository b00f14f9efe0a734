"""Virtual patients: one call makes a CT, its structures, a clinical record and the truth about them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tailort.errors import InputError
from tailort.geometry import Grid
from tailort.patient import Case, Fact, Person, Scan, Structure, StructureSet
from tailort.phantom import contours, ct, parameters, record, truth
from tailort.phantom.anatomy import Anatomy, Body
from tailort.phantom.parameters import Build, Level
from tailort.phantom.scans import scan_of, uid
from tailort.phantom.shapes import Shape

Size = Literal["full", "coarse"]
NAMES = ("oesophagus",)

# Pixels along each side, then spacing of slices, rows and columns in mm.
WHOLE_SIZES: dict[Size, tuple[int, tuple[float, float, float]]] = {
    "full": (512, (3.0, 1.0, 1.0)),
    "coarse": (128, (4.0, 4.0, 4.0)),
}
# Lines of the lattice across a solid whose contours are drawn: on 4 mm pixels half the detail is enough.
_LINES: dict[Size, int] = {"full": 72, "coarse": 36}

_COLOURS: dict[str, tuple[int, int, int]] = {
    "External": (190, 190, 190), "Skin": (205, 170, 140), "Lung_L": (120, 190, 235), "Lung_R": (120, 190, 235),
    "Lungs": (80, 160, 220), "Heart": (225, 90, 110), "Pericardium": (240, 150, 160), "Trachea": (90, 220, 220),
    "Bronchus_Main": (70, 190, 200), "Carina": (255, 255, 120), "Esophagus": (235, 160, 60),
    "Esophagus^Lumen": (160, 110, 40), "A_Aorta": (215, 50, 50), "A_Brachiocephls": (230, 80, 60),
    "A_Carotid_L": (235, 100, 80), "A_Carotid_R": (235, 100, 80), "A_Celiac": (235, 110, 70),
    "V_Azygos": (80, 90, 210), "V_Pulmonary": (110, 110, 230), "Pharynx": (200, 120, 180), "Larynx": (180, 140, 210),
    "SpinalCord": (250, 230, 60), "SpinalCanal": (200, 190, 90), "Sternum": (225, 215, 190), "Ribs": (215, 205, 180),
    "Diaphragm": (190, 110, 110), "Stomach": (160, 205, 110), "Bowel": (180, 150, 90), "Liver": (165, 95, 60),
    "Spleen": (150, 70, 120), "Kidney_L": (200, 120, 90), "Kidney_R": (200, 120, 90), "GTVp": (255, 0, 0),
    "Glnd_Thyroid": (180, 90, 140),
    "GTVn": (255, 0, 160), "LN_Sclav_L": (255, 150, 60), "LN_Sclav_R": (255, 150, 60), "LN_Celiac": (255, 150, 60),
    "GTV": (255, 0, 0), "ThecalSac": (150, 220, 150),
}  # fmt: skip
_BONE_COLOUR = (230, 220, 200)


@dataclass(frozen=True, eq=False)
class VirtualPatient:
    """A patient who does not exist and of whom everything is known.

    Parameters
    ----------
    name, seed, size : str, int, str
        What it was made from.
    scan : Scan
        The CT, int16 HU, head first supine.
    person : Person
        An invented identity.
    structures : StructureSet
        Contours of every organ and of the tumour on the planes of the CT.
    record : dict
        Clinical record: fact name -> {"value", "source", "date"}, plain values.
    anatomy : Body
        The analytic body, in its own coordinates; world = body + `anatomy.build.offset_mm`.
    describe : callable
        Tells the truth about the body as scanned on a grid.
    """

    name: str
    seed: int
    size: Size
    scan: Scan
    person: Person
    structures: StructureSet
    record: dict[str, dict[str, Any]]
    anatomy: Body
    describe: Callable[[Grid], dict[str, Any]]

    @cached_property
    def truth(self) -> dict[str, Any]:
        """Volumes (cm3), landmarks (LPS mm), levels and tumour, as plain values; worked out when first asked for."""
        return self.describe(self.scan.image.grid)

    @property
    def facts(self) -> dict[str, Fact]:
        """The clinical record as facts."""
        return {
            name: Fact(name, fact["value"], fact["source"], dt.date.fromisoformat(fact["date"]))
            for name, fact in self.record.items()
        }

    @property
    def case(self) -> Case:
        """The patient as a case without treatment."""
        return Case(self.person, (self.scan,), self.structures, facts=self.facts)


def make(
    name: str = "oesophagus",
    seed: int = 0,
    size: Size = "full",
    *,
    level: Level | None = None,
    tumour_length_mm: float | None = None,
    wall_thickness_mm: float | None = None,
) -> VirtualPatient:
    """Make a virtual patient; the same arguments give the same patient, voxel by voxel.

    Parameters
    ----------
    name : str
        Kind of patient, one of `NAMES`.
    seed : int
        0 or above; another seed is another person with another tumour.
    size : {"full", "coarse"}
        512 x 512 of 1 x 1 x 3 mm, or 128 x 128 of 4 x 4 x 4 mm for tests.
    level : {"upper", "middle", "lower"} or None
        Part of the thoracic oesophagus with the tumour; None leaves it to the seed.
    tumour_length_mm : float or None
        Along the oesophagus, 10 to 100 mm; None leaves it to the seed.
    wall_thickness_mm : float or None
        Of the tumour in its middle, 5 to 16 mm; None leaves it to the seed.

    Raises
    ------
    InputError
        For an unknown name, size or level, a negative seed, or a tumour outside its limits.
    """
    if name not in NAMES:
        raise InputError(f"there is no virtual patient '{name}'; known are {', '.join(NAMES)}")
    return untreated(name, "OES", seed, size, level, tumour_length_mm, wall_thickness_mm)


def untreated(
    name: str,
    code: str,
    seed: int,
    size: Size,
    level: Level | None = None,
    tumour_length_mm: float | None = None,
    wall_thickness_mm: float | None = None,
    fat_mm: float | None = None,
) -> VirtualPatient:
    """Make a patient with an untreated tumour of the oesophagus, under the name of his kind.

    Parameters
    ----------
    name, code : str
        Kind of patient, and what stands for it in the pseudonym.
    seed, size, level, tumour_length_mm, wall_thickness_mm
        See `make`.
    fat_mm : float or None
        Thickness of the fat under the skin, in place of what the seed draws; the weight goes with it.
    """
    require_known(size, seed)
    if level is not None and level not in parameters.LEVELS_CM:
        raise InputError(f"unknown tumour level '{level}'; known are {', '.join(parameters.LEVELS_CM)}")
    _require("tumour length", tumour_length_mm, parameters.TUMOUR_LENGTH_LIMITS_MM)
    _require("tumour wall", wall_thickness_mm, parameters.TUMOUR_WALL_LIMITS_MM)

    build = parameters.draw(seed, level, tumour_length_mm, wall_thickness_mm, fat_mm)
    anatomy = Anatomy(build)
    made_from = f"{name}/{seed}/{size}/{level}/{tumour_length_mm}/{wall_thickness_mm}"
    if fat_mm is not None:
        made_from += f"/{fat_mm}"
    grid = whole_grid(anatomy, size, uid(made_from, "frame of reference"))
    date = dt.date(2026, 1, 12) + dt.timedelta(days=seed % 200)
    pseudonym = f"VP-{code}-{seed:04d}"
    written = record.write(build, anatomy.course.tumour_centre_cm, anatomy.course.tumour_to_junction_cm, date)
    return assemble(
        (name, seed, size), anatomy, grid, made_from, person_of(build, pseudonym, date), written,
        lambda grid: truth.describe(anatomy, truth.end_faces(grid)),
    )  # fmt: skip


def assemble(
    asked: tuple[str, int, Size],
    body: Body,
    grid: Grid,
    made_from: str,
    person: Person,
    written: record.Record,
    describe: Callable[[Grid], dict[str, Any]],
) -> VirtualPatient:
    """Scan a body and draw its structures; what the scan does not reach is not drawn.

    Parameters
    ----------
    asked : (3,) tuple
        Name, seed and size.
    body, grid : Body, Grid
        What is scanned, and where.
    made_from : str
        Everything that the patient was made from.
    person, written, describe : Person, dict, callable
        Identity, clinical record, and the truth about the body as scanned on a grid.
    """
    name, seed, size = asked
    scan = scan_of(ct.render(body, grid), made_from, f"Virtual patient {name}, seed {seed}, {size}")
    structures = _structures(body, grid, size, scan.series_uid)
    return VirtualPatient(name, seed, size, scan, person, structures, written, body, describe)


def require_known(size: str, seed: int) -> None:
    """Refuse a size or a seed of which no patient is made."""
    if size not in WHOLE_SIZES:
        raise InputError(f"unknown size '{size}' of a virtual patient; known are {', '.join(WHOLE_SIZES)}")
    if seed < 0:
        raise InputError(f"the seed of a virtual patient is {seed}; it must be 0 or above")


def _require(what: str, value: float | None, limits: tuple[float, float]) -> None:
    if value is not None and not limits[0] <= value <= limits[1]:
        raise InputError(
            f"the {what} of a virtual patient is {value:g} mm; it must lie between {limits[0]:g} and {limits[1]:g} mm"
        )


def whole_grid(
    anatomy: Body, size: Size, frame_of_reference: str, table_shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Grid:
    """Planes from the skull's base to L2, of a body that may lie shifted on the table."""
    pixels, spacing = WHOLE_SIZES[size]
    low, high = anatomy.z_limits
    slices = int(np.ceil((high - low) / spacing[0]))
    _, dy, dz = (a + b for a, b in zip(anatomy.build.offset_mm, table_shift_mm, strict=True))
    half = 0.5 * (pixels - 1)
    # The scanner's field of view is centred on its own origin, not on the patient.
    origin = (-half * spacing[2], -half * spacing[1] + round(dy), np.ceil(low + dz))
    return Grid.axial((slices, pixels, pixels), spacing, origin, frame_of_reference)


def person_of(build: Build, pseudonym: str, date: dt.date) -> Person:
    """Invented identity that goes with a body."""
    rng = np.random.default_rng([build.seed, 32452843])
    birthday = date.replace(year=date.year - build.age_years) - dt.timedelta(days=int(rng.integers(1, 360)))
    return Person(
        patient_id=pseudonym,
        name=f"Virtual^{pseudonym}",
        birth_date=birthday.strftime("%Y%m%d"),
        sex=build.sex,
        study_id=f"{build.seed:04d}",
        study_date=date.strftime("%Y%m%d"),
        study_time="083000",
    )


def _structures(anatomy: Body, grid: Grid, size: Size, series_uid: str) -> StructureSet:
    planes, _, _ = grid.axes_mm()
    frame = grid.frame_of_reference
    solids = list(dict.fromkeys(part for _, parts in anatomy.organs.values() for part in parts))
    drawn_lines = contours.draw(solids, planes, anatomy.build.offset_mm, _LINES[size])
    return structure_set(anatomy, dict(zip(solids, drawn_lines, strict=True)), frame, series_uid)


def structure_set(anatomy: Body, lines: Mapping[Shape, contours.Lines], frame: str, series_uid: str) -> StructureSet:
    """Structures of a body from the lines of its solids; what has none is not drawn."""
    drawn = []
    for name, (role, parts) in anatomy.organs.items():
        polygons = tuple(line for part in parts for line in lines[part])
        if not polygons:
            continue
        colour = _COLOURS.get(name, _BONE_COLOUR)
        drawn.append(Structure(name, role, polygons, frame, made_by=("analytic body",), colour=colour))
    return StructureSet(tuple(drawn), frame, label="Virtual patient", series_uid=series_uid)
