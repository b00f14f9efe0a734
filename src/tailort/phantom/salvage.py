"""A virtual patient after oesophagectomy: gastric tube in the chest, and a recurrence in a nodal station or the bed.

Made for NCT03731442 (doi:10.1186/s12885-020-07315-0): the surgical facts of the record are those that decide between
its plans, and region, size and place of the recurrence can be asked for.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tailort.errors import InputError
from tailort.geometry import Grid
from tailort.phantom import contours, landmarks, parameters, record, truth
from tailort.phantom.anatomy import Body, Organs
from tailort.phantom.anatomy.nodal_levels import REGION_OF, REGIONS, NodalLevels
from tailort.phantom.anatomy.node import Growth, Lump
from tailort.phantom.anatomy.reconstruction import Reconstruction
from tailort.phantom.anatomy.recurrence import Kind, Recurrence, place, place_in_tube
from tailort.phantom.parameters import Anastomosis, Build
from tailort.phantom.scans import uid
from tailort.phantom.shapes import Minus, Shape
from tailort.phantom.virtual_patient import Size, VirtualPatient, assemble, person_of, require_known, whole_grid

SITES = {"node": "lymph node", "bed": "tumour bed", "tube": "tumour bed, growing along the gastric tube"}
APPROACHES: dict[Anastomosis, str] = {"cervical": "McKeown", "intrathoracic": "Ivor Lewis"}
# Of a recurrence whose size was not asked for: how much smaller it is tried when it has no room.
_SHRINK = 0.85
_PLANE_STEP_MM = 2.0
ABSENT = (
    "other_malignancy_within_5_years", "pregnant_or_breastfeeding", "severe_cardiovascular_disease", "infection",
    "active_ulceration", "diabetes_with_unstable_glucose", "mental_disorder",
)  # fmt: skip
"""What excludes from the trial (rules MS-10 to MS-15) and the patient has not."""


@dataclass(frozen=True)
class Salvage:
    """What was drawn or asked for: the join, and the recurrence.

    Lengths are mm; `from_anastomosis_mm` is None where any distance will do.
    """

    anastomosis: Anastomosis
    anastomosis_z: float
    kind: Kind
    region: str
    diameter_mm: float
    from_anastomosis_mm: float | None


@dataclass(frozen=True, eq=False)
class OperatedBody(Body):
    """A body whose oesophagus was replaced by the stomach.

    Parameters
    ----------
    anastomosis_z : float
        Height of the join, body coordinates.
    growth : Lump
        The recurrence, or none.
    """

    anastomosis_z: float
    growth: Lump

    @cached_property
    def oesophagus(self) -> Reconstruction:
        """Remnant and gastric tube."""
        return Reconstruction(self.build, self.spine, self.course, self.airways, self.arteries, self.anastomosis_z)

    @property
    def node(self) -> Lump:
        """The recurrence."""
        return self.growth

    @property
    def food_line(self) -> NDArray[np.float64]:
        """Centre-line of the gastric tube."""
        return self.oesophagus.line

    @property
    def additions(self) -> tuple[tuple[Shape, str], ...]:
        """Content of the gastric tube, staples, and the arteries of the upper abdomen that surgery leaves."""
        fluid, gas = self.oesophagus.content
        left = [self.levels.arteries[name] for name in ("A_Hepatic", "A_Splenic")]
        return (
            (fluid, "stomach fluid"), (gas, "gas"), *((staple, "staple") for staple in self.oesophagus.staples),
            *((artery, "blood") for artery in left),
        )  # fmt: skip

    @cached_property
    def levels(self) -> NodalLevels:
        """Nodal stations of this body."""
        return NodalLevels(self)

    @cached_property
    def organs(self) -> Organs:
        """Name, role and solids of every structure that is drawn."""
        way, carotids = self.oesophagus, tuple(self.arteries.carotids.values())
        growth = {} if not isinstance(self.growth, Recurrence) else {
            "GTVn" if self.growth.kind == "node" else "GTVp": ("GTV", (self.growth.solid,))
        }  # fmt: skip
        return {
            **self.shared_organs,
            "Esophagus": ("ORGAN", (way.remnant,)),
            "Stomach": ("ORGAN", (way.conduit,)),
            "Glnd_Thyroid": ("ORGAN", tuple(Minus(lobe, carotids, 0.3) for lobe in self.neck.thyroid)),
            **{name: ("ORGAN", (artery,)) for name, artery in self.levels.arteries.items()},
            **growth,
            **self.node_regions,
        }


def make(
    seed: int = 0,
    size: Size = "full",
    *,
    anastomosis: Anastomosis | None = None,
    kind: Kind | None = None,
    region: str | None = None,
    diameter_mm: float | None = None,
    from_anastomosis_mm: float | None = None,
) -> VirtualPatient:
    """Make a patient with a recurrence after oesophagectomy; the same arguments give the same patient.

    Parameters
    ----------
    seed : int
        0 or above; what is not given comes from it.
    size : {"full", "coarse"}
        As of the patient `oesophagus`.
    anastomosis : {"cervical", "intrathoracic"} or None
        Where oesophagus and gastric tube are joined.
    kind : {"node", "bed", "tube"} or None
        Lymph node (GTVn), bed of the resected tumour (GTVp), or bed and gastric tube together (GTVp): the latter two in
        region II or III, and in the tube only where it is asked for.
    region : {"I", "II", "III", "IV"} or None
        Of NCT03731442: neck to sternal notch, to the carina, to the hiatus, below it.
    diameter_mm : float or None
        Longest diameter of the recurrence: 8 to 80 mm, in the tube 20 to 140 mm along it.
    from_anastomosis_mm : float or None
        Straight from the middle of the anastomosis to the middle of the recurrence.

    Raises
    ------
    InputError
        For an unknown choice, a size outside its limits, or when there is no room at that distance.
    """
    require_known(size, seed)
    build, wanted = draw(seed, anastomosis, kind, region, diameter_mm, from_anastomosis_mm)
    body, growth = operate(build, wanted, shrink=diameter_mm is None)
    made_from = f"salvage/{seed}/{size}/{anastomosis}/{kind}/{region}/{diameter_mm}/{from_anastomosis_mm}"
    grid = whole_grid(body, size, uid(made_from, "frame of reference"))
    date = dt.date(2026, 1, 12) + dt.timedelta(days=seed % 200)
    return assemble(
        ("salvage", seed, size), body, grid, made_from, person_of(build, f"VP-SAL-{seed:04d}", date),
        write_record(body, growth, wanted, date), lambda scanned: describe(body, growth, wanted, scanned),
    )  # fmt: skip


def draw(
    seed: int,
    anastomosis: Anastomosis | None,
    kind: Kind | None,
    region: str | None,
    diameter_mm: float | None,
    from_anastomosis_mm: float | None,
) -> tuple[Build, Salvage]:
    """Draw person and recurrence; what is given is kept, everything else comes from the seed alone."""
    for what, value, known in (
        ("anastomosis", anastomosis, parameters.ANASTOMOSIS_Z), ("kind of recurrence", kind, SITES),
        ("region", region, REGIONS),
    ):  # fmt: skip
        if value is not None and value not in known:
            raise InputError(f"unknown {what} '{value}' of a virtual patient; known are {', '.join(known)}")
    low, high = parameters.RECURRENCE_LIMITS_MM[kind or "node"]
    if diameter_mm is not None and not low <= diameter_mm <= high:
        raise InputError(
            f"the recurrence of a virtual patient is {diameter_mm:g} mm; it must be {low:g} to {high:g} mm"
        )
    if from_anastomosis_mm is not None and not 0 < from_anastomosis_mm < 500:
        raise InputError(
            f"the recurrence lies {from_anastomosis_mm:g} mm from the anastomosis; it must be above 0 and below 500 mm"
        )
    if kind in ("bed", "tube") and region in ("I", "IV"):
        raise InputError(f"the bed of a thoracic oesophageal tumour lies in region II or III, not {region}")
    rng = np.random.default_rng([seed, 6700417])
    drawn_join: Anastomosis = "cervical" if rng.random() < 0.55 else "intrathoracic"
    drawn_kind: Kind = "bed" if rng.random() < 0.3 else "node"
    drawn_region, share, height = str(rng.choice(REGIONS, p=(0.25, 0.35, 0.25, 0.15))), rng.random(), rng.random()
    if kind is None and region in ("I", "IV"):
        drawn_kind = "node"
    sort: Kind = kind or drawn_kind
    if region is None and sort != "node" and drawn_region in ("I", "IV"):
        drawn_region = "II" if drawn_region == "I" else "III"
    join = anastomosis or drawn_join
    smallest, largest = parameters.RECURRENCE_MM[sort]
    build = parameters.draw(seed, None, None, None)
    # The trial takes patients of up to 70 years (MS-06).
    build = replace(build, age_years=48 + (build.age_years - 48) % 23)
    bottom, top = parameters.ANASTOMOSIS_Z[join]
    return build, Salvage(
        join,
        (bottom + height * (top - bottom)) * build.scale[2],
        sort,
        region or drawn_region,
        diameter_mm or smallest + float(share) ** 1.5 * (largest - smallest),
        from_anastomosis_mm,
    )


def operate(build: Build, wanted: Salvage, *, shrink: bool) -> tuple[OperatedBody, Recurrence]:
    """Build the operated body and find room for its recurrence; with `shrink` a smaller one when there is none."""
    bare = OperatedBody(build, wanted.anastomosis_z, Growth())
    diameter, smallest = wanted.diameter_mm, parameters.RECURRENCE_LIMITS_MM[wanted.kind][0]
    levels, join = bare.levels, bare.oesophagus.anastomosis
    while True:
        rng = np.random.default_rng([build.seed, 2147483647])
        try:
            if wanted.kind == "tube":
                growth = place_in_tube(levels, join, wanted.region, diameter, wanted.from_anastomosis_mm, rng)
            else:
                growth = place(levels, join, wanted.kind, wanted.region, diameter, wanted.from_anastomosis_mm, rng)
        except InputError:
            if not shrink or diameter * _SHRINK < smallest:
                raise
            diameter *= _SHRINK
            continue
        return OperatedBody(build, wanted.anastomosis_z, growth), growth


def to_conduit_mm(body: OperatedBody, growth: Recurrence) -> float:
    """Shortest distance of the recurrence from the gastric tube, mm, to about 1 mm; 0 where it grows in the tube."""
    if growth.kind == "tube":
        return 0.0
    tube = body.oesophagus.conduit
    low, high = tube.z_range
    low = max(low, float(body.oesophagus.line[-1, 2]) - 25.0)
    drawn: list[NDArray[np.float64]] = []
    for solid, (bottom, top) in ((growth.solid, growth.whole.z_range), (tube, (low, high))):
        planes = np.arange(bottom + 0.25, top, _PLANE_STEP_MM)
        (lines,) = contours.draw([solid], planes, (0.0, 0.0, 0.0), 36)
        drawn.append(np.concatenate(lines))
    return float(np.min(cKDTree(drawn[1]).query(drawn[0])[0]))


def write_record(body: OperatedBody, growth: Recurrence, wanted: Salvage, date: dt.date) -> record.Record:
    """Clinical record: the surgery, the recurrence, and a patient fit for chemoradiation."""
    build = body.build
    rng = np.random.default_rng([build.seed, 39916801])
    base = record.write(build, 0.0, 0.0, date)
    kept = (
        "age_years", "sex", "kps", "weight_kg", "height_cm", "dysphagia_grade", "histology", "fev1_percent",
        "white_cells_10e9_per_l", "neutrophils_10e9_per_l", "platelets_10e9_per_l", "haemoglobin_g_per_l",
        "creatinine_clearance_ml_per_min",
    )  # fmt: skip
    bloods = dt.date.fromisoformat(base["white_cells_10e9_per_l"]["date"])
    imaging, clinic = date - dt.timedelta(days=14), date - dt.timedelta(days=7)
    months = round(float(rng.uniform(4.0, 28.0)), 1)
    found = date - dt.timedelta(days=int(rng.integers(20, 36)))
    operated = found - dt.timedelta(days=round(months * 30.44))
    residual = growth.kind != "node" and float(rng.random()) < 0.4
    resection = "R0" if not residual else ("R1" if rng.random() < 0.75 else "R2")
    adjuvant = str(rng.choice(["none", "chemotherapy"], p=(0.6, 0.4)))
    join_cm = body.course.incisors_cm(body.oesophagus.anastomosis_along_mm)
    report = "operation report"
    facts: dict[str, tuple[Any, str, dt.date]] = {
        "bilirubin_times_uln": (round(float(rng.uniform(0.3, 0.9)), 2), "laboratory", bloods),
        "ast_times_uln": (round(float(rng.uniform(0.3, 0.9)), 2), "laboratory", bloods),
        "alt_times_uln": (round(float(rng.uniform(0.3, 0.9)), 2), "laboratory", bloods),
        "tumour_site": ("thoracic oesophagus", "pathology report", operated),
        "primary_level": (build.level, "pathology report", operated),
        "surgery": (resection, "pathology report", operated),
        "surgery_date": (operated, report, operated),
        "surgical_approach": (APPROACHES[wanted.anastomosis], report, operated),
        "anastomosis_site": (wanted.anastomosis, report, operated),
        "anastomosis_from_incisors_cm": (round(join_cm, 1), "endoscopy", imaging),
        "conduit": ("gastric tube", report, operated),
        "conduit_route": ("posterior mediastinum", report, operated),
        "adjuvant_therapy": (adjuvant, "hospital record", operated),
        "locoregional_recurrence": (True, "PET-CT", found),
        "recurrence_date": (found, "PET-CT", found),
        "recurrence_site": (SITES[growth.kind], "CT", imaging),
        "recurrence_stations": ([growth.station], "CT", imaging),
        **{f"region_{name.lower()}_involved": (name == growth.region, "CT", imaging) for name in REGIONS},
        "station_8lo_involved": (growth.kind == "node" and growth.station == "8Lo", "CT", imaging),
        "station_9_involved": (growth.station in ("9L", "9R"), "CT", imaging),
        "largest_lesion_cm": (round(growth.diameter_mm / 10, 1), "CT", imaging),
        "gtv_to_stomach_cm": (round(to_conduit_mm(body, growth) / 10, 1), "CT", imaging),
        "recurrence_biopsy": (bool(rng.random() < 0.7), "pathology report", found),
        "therapy_after_recurrence": (False, "hospital record", clinic),
        "salvage_surgery_possible": (False, "tumour board", clinic),
        "prior_radiotherapy": (False, "hospital record", clinic),
        "intolerant_of_simultaneous_boost": (False, "tumour board", clinic),
        "concurrent_chemotherapy": (True, "tumour board", clinic),
        "consent": (True, "consultation", clinic),
        "drug_allergy": ("none", "consultation", clinic),
        **dict.fromkeys(("non_regional_nodes", "distant_metastasis"), (False, "PET-CT", found)),
        **dict.fromkeys(ABSENT, (False, "hospital record", clinic)),
    }
    return {name: base[name] for name in kept} | {
        name: {"value": value, "source": source, "date": day.isoformat()}
        for name, (value, source, day) in facts.items()
    }


def describe(body: OperatedBody, growth: Recurrence, wanted: Salvage, grid: Grid) -> dict[str, Any]:
    """Truth about the operated body as scanned, world LPS mm; plain values, ready for JSON."""
    planes = truth.end_faces(grid)
    shift = np.array(body.build.offset_mm)
    way, centre = body.oesophagus, np.array(growth.whole.centre)
    distance = float(np.linalg.norm(centre - np.array(way.anastomosis)))
    short, long = 2 * min(growth.whole.radii), growth.diameter_mm
    at = truth.placed(body)
    volumes = truth.volumes_cm3(body, planes[0] - shift[2], planes[1] - shift[2])
    return {
        "name": "salvage",
        "seed": body.build.seed,
        "parameters": asdict(wanted),
        **truth.extent(volumes, planes),
        "landmarks_mm": {name: at(point) for name, point in landmarks.points(body).items()}
        | {"anastomosis": at(way.anastomosis), "recurrence_centre": at(centre), "pylorus": at(way.line[-1])},
        "vertebral_bodies_mm": truth.vertebral_bodies(body),
        "surgery": {
            "anastomosis": wanted.anastomosis,
            "anastomosis_from_incisors_cm": round(body.course.incisors_cm(way.anastomosis_along_mm), 3),
            "remnant_length_mm": round(way.anastomosis_along_mm, 3),
        },
        "recurrence": {
            "kind": growth.kind,
            "structure": "GTVn" if growth.kind == "node" else "GTVp",
            "region": growth.region,
            "station": growth.station,
            "long_diameter_mm": round(long, 3),
            "short_diameter_mm": round(short, 3),
            "centre_from_anastomosis_mm": round(distance, 3),
            "to_gastric_tube_mm": round(to_conduit_mm(body, growth), 2),
        },
        "station_borders_mm": {name: round(float(z + shift[2]), 3) for name, z in body.levels.borders.items()},
        "stations": truth.drawn(body, body.levels.solids, grid, _described_stations(body)),
        "body": truth.described_build(body.build),
    }


def _described_stations(body: OperatedBody) -> dict[str, dict[str, Any]]:
    return {
        name: {"region": REGION_OF[name]}
        | (dict(zip(("upper_border", "lower_border"), body.levels.extents[name], strict=True))
           if name in body.levels.extents else {})
        for name in body.levels.solids
    }  # fmt: skip
