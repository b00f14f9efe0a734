"""An earlier scan of a virtual patient: the same body under a known deformation, before its first course.

The oesophagus then had a tumour, which is gone today, and nothing of today's growth was there yet.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.geometry import Grid, Image
from tailort.patient import Case, Fact, Person
from tailort.phantom import bending, ct, parameters, record, truth, warped
from tailort.phantom.anatomy import Body, Organs
from tailort.phantom.anatomy.node import Growth
from tailort.phantom.anatomy.oesophagus import Oesophagus
from tailort.phantom.bending import Bending
from tailort.phantom.parameters import Build
from tailort.phantom.salvage import OperatedBody
from tailort.phantom.scans import scan_of, uid
from tailort.phantom.spine import MetastaticBody
from tailort.phantom.virtual_patient import Size, VirtualPatient, structure_set, whole_grid

LABEL = "first course"
DOSE_GY, FRACTIONS = 66.0, 30
_WEEKS = 6
_PLANNED_BEFORE_DAYS = 10
_TUMOUR_MM = (40.0, 50.0)
# What an oesophagectomy moves or divides has no counterpart on a scan from before it.
_OPERATED = ("Stomach", "Spleen", "V_Azygos")
# Spacing of the solids and of the image from which the earlier scan is made: slices, rows, columns; lines of contours.
BASE_MM: dict[Size, tuple[float, float, float]] = {"full": (1.5, 1.0, 1.0), "coarse": (2.0, 2.0, 2.0)}
LINES_MM: dict[Size, float] = {"full": 1.0, "coarse": 2.0}
SOLIDS_MM: dict[Size, float] = {"full": 1.5, "coarse": 2.0}


@dataclass(frozen=True, eq=False)
class UntreatedBody(Body):
    """A body with a tumour of the oesophagus and no other growth."""

    @cached_property
    def oesophagus(self) -> Oesophagus:
        """The oesophagus with its wall and lumen, and the tumour in it."""
        return Oesophagus(self.build, self.spine, self.course, self.airways, self.arteries)

    @property
    def node(self) -> Growth:
        """No growth outside of the oesophagus."""
        return Growth()

    @cached_property
    def organs(self) -> Organs:
        """Name, role and solids of every structure that is drawn."""
        return {**self.shared_organs, "GTVp": ("GTV", (self.oesophagus.tumour,)), **self.node_regions}


@dataclass(frozen=True, eq=False)
class EarlierAnatomy:
    """An earlier scan of a patient with all that is known of it.

    Parameters
    ----------
    case : Case
        CT and structures in their own frame of reference, and the clinical record of then.
    bending : Bending
        Where every point of today lay then.
    body : Body
        The anatomy of then, in the coordinates of today's body.
    record : dict
        The clinical record as plain values.
    last_fraction : date
        Of the course that was planned on the scan.
    pairs : dict
        See `landmark_pairs`.
    without : tuple of str
        Structures without a counterpart on the other scan.
    """

    case: Case
    bending: Bending
    body: Body
    record: record.Record
    last_fraction: dt.date
    pairs: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    without: tuple[str, ...] = ()

    @property
    def truth(self) -> dict[str, Any]:
        """The true map with pairs of points, world LPS mm of either frame, as plain values."""
        return {
            "label": LABEL,
            "last_fraction": self.last_fraction.isoformat(),
            "bending": self.bending.describe(),
            "pairs_mm": {
                name: {"today": np.round(today, 3).tolist(), "earlier": np.round(then, 3).tolist()}
                for name, (today, then) in self.pairs.items()
            },
        }


def earlier_scan(patient: VirtualPatient, seed: int = 0) -> EarlierAnatomy:
    """Scan a patient as he lay before his first course; the same arguments give the same scan.

    Parameters
    ----------
    patient : VirtualPatient
        `spine`: before the oesophagus was irradiated at the level of the later metastasis. `salvage`: before surgery,
        with the oesophagus and its tumour in place.
    seed : int
        Of the deformation, 0 or above.

    Returns
    -------
    EarlierAnatomy
        A whole planning CT from the skull's base to L2: 4 mm voxels of a coarse patient, 1 x 1 x 3 mm of a full one.

    Raises
    ------
    InputError
        For a patient without an earlier course, or a negative seed.
    """
    if seed < 0:
        raise InputError(f"the seed of an earlier scan is {seed}; it must be 0 or above")
    body, last = _then(patient)
    made_from = f"earlier/{patient.scan.series_uid}/{seed}"
    today = patient.scan.image.grid
    bent = bending.draw(patient.anatomy, seed, today.frame_of_reference, uid(made_from, "frame of reference"))
    grid = whole_grid(body, patient.size, bent.frame.to_frame, bent.motions.table_shift_mm)
    image = _image(body, bent, grid, today.shape, patient.size)
    scan = scan_of(image, made_from, f"Virtual patient {patient.name}, seed {patient.seed}, earlier {seed}")
    date = last - dt.timedelta(days=7 * _WEEKS + _PLANNED_BEFORE_DAYS)
    told = _record(body, date)
    solids = list(dict.fromkeys(part for _, parts in body.organs.values() for part in parts))
    planes, _, _ = grid.axes_mm()
    base = warped.around(body, grid, bent.to_today, (SOLIDS_MM[patient.size],) * 3)
    blocks = warped.sampled(solids, body.build.offset_mm, base)
    lines = warped.draw(blocks, base, planes, bent.to_today, LINES_MM[patient.size])
    structures = structure_set(body, dict(zip(solids, lines, strict=True)), grid.frame_of_reference, scan.series_uid)
    facts = {
        name: Fact(name, fact["value"], fact["source"], dt.date.fromisoformat(fact["date"]))
        for name, fact in told.items()
    }
    case = Case(_person(patient.person, date), (scan,), structures, facts=facts)
    without = _OPERATED if isinstance(patient.anatomy, OperatedBody) else ()
    return EarlierAnatomy(case, bent, body, told, last, landmark_pairs(patient, bent), without)


def with_course_told(patient: VirtualPatient) -> VirtualPatient:
    """Today's patient whose record tells the course that was planned on the earlier scan: 66 Gy in 30 fractions.

    What the cord got of it is for a reconstruction to find, so the record leaves it out.
    """
    told = {name: fact for name, fact in patient.record.items() if name != "prior_cord_bed_gy"}
    given = {
        "prior_radiotherapy": True,
        "prior_radiotherapy_dose_gy": DOSE_GY,
        "prior_radiotherapy_fractions": FRACTIONS,
    }
    return replace(
        patient, record=told | {name: told[name] | {"value": value} for name, value in given.items() if name in told}
    )


def landmark_pairs(
    patient: VirtualPatient, bent: Bending
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Points (n, 3) of today and where they lay then, of each organ, within today's scan.

    Middle lines of oesophagus, cord and aorta every 4 mm, six points of each vertebra, and the forks of vessels in the
    lungs. The oesophagus of an operated patient is left out, and the cord where a metastasis has pushed it.
    """
    body = patient.anatomy
    low, high = truth.end_faces(patient.scan.image.grid)
    offset = np.array(body.build.offset_mm)
    spine = body.spine
    z = np.arange(low - offset[2], high - offset[2], 4.0)
    cord = np.array([(spine.x(at), spine.canal_y(at), at) for at in z.tolist() if at > spine.cord.z_range[0] + 30])
    if isinstance(body, MetastaticBody):
        level, reach = body.metastasis.level.middle, body.metastasis.half_length + 8
        cord = cord[np.abs(cord[:, 2] - level) > reach]
    points = {
        "SpinalCord": cord,
        "A_Aorta": body.arteries.aorta.points,
        "Lungs": np.array([tree.points[-1] for tree in body.lungs.trees]),
        "Vertebrae": np.concatenate([_of_vertebra(body, v.name) for v in spine.vertebrae]),
    }
    if not isinstance(body, OperatedBody):
        points["Esophagus"] = body.course.line[::2]
    found = {}
    for name, there in points.items():
        today = there.reshape(-1, 3) + offset
        today = today[(today[:, 2] >= low) & (today[:, 2] <= high)]
        if len(today):
            found[name] = (today, bent.to_earlier(today))
    return found


def _of_vertebra(body: Body, name: str) -> NDArray[np.float64]:
    """Middle of the body, its ends, the tips of the transverse processes and of the spinous one."""
    spine = body.spine
    v = spine.vertebra(name)
    arch = cast(Any, spine.arch(v))
    ends = [(spine.x(z), spine.y(z), z) for z in (v.bottom, v.middle, v.top)]
    return np.array([*ends, arch[2].points[-1], arch[5].points[-1], arch[6].points[-1]])


def _then(patient: VirtualPatient) -> tuple[UntreatedBody, dt.date]:
    """Body before the first course, and the day of that course's last fraction."""
    body = patient.anatomy
    if isinstance(body, MetastaticBody):
        last = patient.record["prior_radiotherapy_last_date"]["value"]
        return UntreatedBody(_with_tumour(body, body.metastasis.level.middle)), last
    if isinstance(body, OperatedBody):
        operated = patient.record["surgery_date"]["value"]
        return UntreatedBody(body.build), operated - dt.timedelta(days=70)
    raise InputError(f"the virtual patient '{patient.name}' has no earlier course; 'spine' and 'salvage' have")


def _with_tumour(body: Body, z: float) -> Build:
    """Build with a tumour of the oesophagus at a height, or as near to it as the oesophagus reaches."""
    rng = np.random.default_rng([body.build.seed, 6972593])
    course = body.course
    n = int(np.argmin(np.abs(course.line[:, 2] - z)))
    centre = course.incisors_cm(float(course.along[n]))
    level = next((name for name, (_, low) in parameters.LEVELS_CM.items() if centre < low), "lower")
    return replace(
        body.build,
        level=cast(parameters.Level, level),
        tumour_centre_cm=centre,
        tumour_length_mm=float(rng.uniform(*_TUMOUR_MM)),
        wall_thickness_mm=float(rng.uniform(*parameters.TUMOUR_WALL_MM[cast(parameters.Level, level)])),
    )


def _record(body: UntreatedBody, date: dt.date) -> record.Record:
    told = record.write(body.build, body.course.tumour_centre_cm, body.course.tumour_to_junction_cm, date)
    return told | {"n_stage": told["n_stage"] | {"value": "N0"}}


def _person(person: Person, date: dt.date) -> Person:
    return replace(person, study_date=date.strftime("%Y%m%d"), study_id=f"{person.study_id}E"[:16])


def _image(body: Body, bent: Bending, grid: Grid, texture_of: tuple[int, int, int], size: Size) -> Image:
    """CT of then: the body of then on today's place, seen from the table of then, with couch and fresh noise."""
    base = warped.around(body, grid, bent.to_today, BASE_MM[size])
    still = ct.tissues(body, base, texture_of, grid.spacing_mm[2])
    return warped.scanned(still, grid, bent.to_today, np.random.default_rng([body.build.seed, bent.seed, 122949823]))
