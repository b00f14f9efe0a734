"""The test geometries of AAPM TG-119 as phantoms of water: C shape, multi-target, mock prostate, mock head and neck.

The report describes its geometries in words and a few lengths. These are rebuilt from that; which lengths are the
report's, which are measured on a copy of the C shape and which are our own is told in data/tg119.yaml, and again in
each phantom's truth. Results on them may be set beside the report's, never be taken for the same test.

References
----------
Ezzell et al. 2009, Med Phys 36:5359, doi:10.1118/1.3238104.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tailort.errors import InputError
from tailort.geometry import Grid, Image
from tailort.patient import Case, Fact, Person, Scan, Structure, StructureSet
from tailort.phantom import contours, truth
from tailort.phantom.scans import scan_of, uid
from tailort.phantom.shapes import Lattice, Shape
from tailort.phantom.tg119_solids import Part, facts, parts
from tailort.phantom.virtual_patient import Size

NAMES = ("tg119-c-shape", "tg119-multi-target", "tg119-prostate", "tg119-head-and-neck")
WATER_HU, AIR_HU = 0, -1000
SOURCE = "AAPM TG-119, Ezzell et al. 2009, doi:10.1118/1.3238104, rebuilt"
DATE = dt.date(2026, 1, 12)

# Pixels along each side, then spacing of slices, rows and columns in mm. Every flat end of a solid lies half-way
# between two planes, so that planes times spacing is its length.
_SIZES: dict[Size, tuple[int, tuple[float, float, float]]] = {
    "full": (256, (2.5, 1.25, 1.25)),
    "coarse": (128, (5.0, 2.5, 2.5)),
}
_LINES: dict[Size, int] = {"full": 72, "coarse": 36}
# Air above and below the body, mm.
_BEYOND_MM = 10.0

_COLOURS: dict[str, tuple[int, int, int]] = {
    "External": (190, 190, 190), "PTV_5000": (255, 0, 0), "PTV_2500": (255, 150, 0), "PTV_1250": (255, 220, 0),
    "PTV_7560": (255, 0, 0), "CTV_7560": (255, 0, 160), "Core": (80, 160, 220), "SpinalCord": (250, 230, 60),
    "Parotid_L": (90, 200, 120), "Parotid_R": (90, 200, 120), "Rectum": (180, 120, 60), "Bladder": (240, 240, 90),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class SolidPhantom:
    """A body of water with targets and organs drawn into it; read like a `VirtualPatient`.

    Parameters
    ----------
    name, size : str
        What it was made from.
    scan : Scan
        The CT, int16: 0 HU in air of -1000 HU, head first supine.
    person : Person
        Its name in the place of a patient's.
    structures : StructureSet
        Contours of the body, targets and organs on the planes of the CT.
    record : dict
        Fact name -> {"value", "source", "date"}: that it is no patient.
    parts : tuple of Part
        The analytic solids, world LPS mm.
    """

    name: str
    size: Size
    scan: Scan
    person: Person
    structures: StructureSet
    record: dict[str, dict[str, Any]]
    parts: tuple[Part, ...]

    @cached_property
    def truth(self) -> dict[str, Any]:
        """Volumes (cm3) by integration of the solids, and every length (mm) with its mark, as plain values."""
        told = facts()[self.name]
        return {
            "name": self.name,
            "source": SOURCE,
            "volumes_cm3": {
                part.name: round(truth.volume_cm3(part.solid, *part.solid.z_range), 4) for part in self.parts
            },
            "dimensions_mm": {key: dict(fact) for key, fact in told.items() if key != "title"},
            "body": {"hu": WATER_HU},
        }

    @property
    def facts(self) -> dict[str, Fact]:
        """The record as facts."""
        return {
            name: Fact(name, fact["value"], fact["source"], dt.date.fromisoformat(fact["date"]))
            for name, fact in self.record.items()
        }

    @property
    def case(self) -> Case:
        """The phantom as a case without treatment."""
        return Case(self.person, (self.scan,), self.structures, facts=self.facts)


def make(name: str, seed: int = 0, size: Size = "full") -> SolidPhantom:
    """Make a test geometry of TG-119.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    seed : int
        0: there is one phantom of each kind.
    size : {"full", "coarse"}
        CT of 256 x 256 pixels of 1.25 mm every 2.5 mm, or of 128 x 128 pixels of 2.5 mm every 5 mm.

    Raises
    ------
    InputError
        For an unknown name or size, or another seed.
    """
    if name not in NAMES:
        raise InputError(f"there is no TG-119 phantom '{name}'; known are {', '.join(NAMES)}")
    if size not in _SIZES:
        raise InputError(f"unknown size '{size}' of a phantom; known are {', '.join(_SIZES)}")
    if seed != 0:
        raise InputError(f"phantom '{name}' has no seed {seed}: there is one, with seed 0")
    solids = parts(name)
    made_from, title = f"{name}/{size}", str(facts()[name]["title"])
    grid = _grid(solids[0].solid, size, uid(made_from, "frame of reference"))
    scan = scan_of(_render(solids[0].solid, grid), made_from, f"{title}, rebuilt, {size}")
    person = Person(
        patient_id=name.upper(),
        name=f"Phantom^{title}",
        birth_date="",
        sex="O",
        study_id="0",
        study_date=DATE.strftime("%Y%m%d"),
        study_time="083000",
    )
    return SolidPhantom(
        name=name,
        size=size,
        scan=scan,
        person=person,
        structures=_structures(solids, grid, size, scan.series_uid),
        record={"phantom": {"value": title, "source": SOURCE, "date": DATE.isoformat()}},
        parts=solids,
    )


def _grid(body: Shape, size: Size, frame_of_reference: str) -> Grid:
    pixels, spacing = _SIZES[size]
    low, high = body.z_range
    slices = round((high - low + 2 * _BEYOND_MM) / spacing[0])
    origin = tuple(-0.5 * (n - 1) * step for n, step in zip((pixels, pixels, slices), spacing[::-1], strict=True))
    return Grid.axial((slices, pixels, pixels), spacing, origin, frame_of_reference)


def _render(body: Shape, grid: Grid) -> Image:
    """Water in air; a voxel that the body holds in part has a number in between."""
    z, y, x = grid.axes_mm()
    values = np.full(grid.shape, AIR_HU, dtype=np.int16)
    low, high = body.z_range
    for k in np.flatnonzero((low < z) & (z < high)):
        share = np.clip(0.5 - body.field(Lattice(x[None, :], y[:, None], float(z[k]))) / grid.spacing_mm[2], 0.0, 1.0)
        values[k] = np.rint(AIR_HU + share * (WATER_HU - AIR_HU))
    return Image(grid, values, "HU")


def _structures(solids: tuple[Part, ...], grid: Grid, size: Size, series_uid: str) -> StructureSet:
    planes, _, _ = grid.axes_mm()
    frame = grid.frame_of_reference
    lines = contours.draw([part.solid for part in solids], planes, (0.0, 0.0, 0.0), _LINES[size])
    drawn = tuple(
        Structure(part.name, part.role, polygons, frame, made_by=("analytic body",), colour=_COLOURS[part.name])
        for part, polygons in zip(solids, lines, strict=True)
    )
    return StructureSet(drawn, frame, label="TG-119", series_uid=series_uid)
