"""A virtual patient with an epidural metastasis of one vertebra, irradiated there before.

Made for re-irradiation by spine SBRT (Koide et al. 2024, rules KO-01 to KO-95): the facts of the record are those
that choose between radiotherapy and surgery, and vertebra and Bilsky grade can be asked for.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tailort.errors import InputError
from tailort.geometry import Grid
from tailort.phantom import landmarks, parameters, record, truth
from tailort.phantom.anatomy import Body, Organs
from tailort.phantom.anatomy.metastasis import BILSKY, SECTORS, Bilsky, Metastasis
from tailort.phantom.anatomy.node import Growth
from tailort.phantom.anatomy.oesophagus import Spared
from tailort.phantom.parameters import VERTEBRA_NAMES
from tailort.phantom.scans import uid
from tailort.phantom.shapes import Grown, Shape
from tailort.phantom.virtual_patient import Size, VirtualPatient, assemble, person_of, require_known

# Spine Instability Neoplastic Score, rules KO-20 to KO-25: points of each answer.
SINS_POINTS: dict[str, dict[str, int]] = {
    "sins_location": {"junctional": 3, "mobile": 2, "semirigid": 1, "rigid": 0},
    "sins_pain": {"mechanical": 3, "occasional": 1, "none": 0},
    "sins_bone_lesion": {"lytic": 2, "mixed": 1, "blastic": 0},
    "sins_alignment": {"subluxation": 4, "deformity": 2, "normal": 0},
    "sins_collapse": {"above-half": 3, "half": 3, "below-half": 2, "none-body-above-half": 1, "none": 0},
    "sins_posterolateral": {"bilateral": 3, "unilateral": 1, "none": 0},
}
# From this score on the spine is stabilised (rule KO-15).
SINS_CUT = 9
# Share of the body's width from which a tumour is called diffuse; a convention of this patient.
DIFFUSE_ABOVE = 0.85
_LESION_HU = {"lytic": "tumour", "mixed": "mixed metastasis", "blastic": "blastic metastasis"}


@dataclass(frozen=True)
class Spread:
    """What was drawn or asked for: where the metastasis lies, how far it grows into the canal, what it does to bone."""

    vertebra: str
    bilsky: Bilsky
    share_of_width: float
    side: int
    pedicle: bool
    bone_lesion: str


@dataclass(frozen=True, eq=False)
class MetastaticBody(Body):
    """A body with a metastasis in the spine and no tumour of the oesophagus left."""

    spread: Spread

    @cached_property
    def oesophagus(self) -> Spared:
        """The oesophagus without a tumour."""
        return Spared(self.build, self.spine, self.course, self.airways, self.arteries)

    @property
    def node(self) -> Growth:
        """No growth outside of the spine."""
        return Growth()

    @cached_property
    def metastasis(self) -> Metastasis:
        """Tumour, cord and thecal sac."""
        s = self.spread
        return Metastasis(self.build, self.spine, s.vertebra, s.bilsky, s.share_of_width, s.side, s.pedicle)

    @property
    def additions(self) -> tuple[tuple[Shape, str], ...]:
        """Tumour in bone and canal, the sac and the cord as they now lie."""
        m = self.metastasis
        epidural = () if m.epidural is None else ((m.epidural, "tumour"),)
        sac = Grown(self.spine.canal, -parameters.SAC_MM)
        return (m.in_bone, _LESION_HU[self.spread.bone_lesion]), (sac, "csf"), *epidural, (m.cord, "cord")

    @cached_property
    def organs(self) -> Organs:
        """Name, role and solids of every structure that is drawn."""
        m = self.metastasis
        return {
            **self.shared_organs,
            "SpinalCord": ("ORGAN", (m.cord,)),
            "ThecalSac": ("ORGAN", (m.sac,)),
            "GTV": ("GTV", (m.solid,)),
        }


def make(
    seed: int = 0, size: Size = "full", *, vertebra: str | None = None, bilsky: Bilsky | None = None
) -> VirtualPatient:
    """Make a patient with an epidural metastasis; the same arguments give the same patient.

    The CT has slices of 1 mm (rule KO-41) and reaches 100 mm ("coarse": 42 mm) above and below the vertebra, with
    pixels of 1 mm ("coarse": 2 mm); what it does not reach is not drawn.

    Parameters
    ----------
    seed : int
        0 or above; what is not given comes from it.
    size : {"full", "coarse"}
        Detail and length of the scan.
    vertebra : str or None
        TG-263 name, VB_C3 to VB_T12.
    bilsky : {"0", "1a", "1b", "1c", "2", "3"} or None
        Grade of epidural compression.

    Raises
    ------
    InputError
        For an unknown vertebra, grade or size, or a negative seed.
    """
    require_known(size, seed)
    spread = draw(seed, vertebra, bilsky)
    build = parameters.draw(seed, None, None, None)
    body = MetastaticBody(build, spread)
    made_from = f"spine/{seed}/{size}/{vertebra}/{bilsky}"
    date = dt.date(2026, 1, 12) + dt.timedelta(days=seed % 200)
    return assemble(
        ("spine", seed, size), body, _grid(body, size, uid(made_from, "frame of reference")), made_from,
        person_of(build, f"VP-SPI-{seed:04d}", date), write_record(body, date),
        lambda scanned: describe(body, scanned),
    )  # fmt: skip


def draw(seed: int, vertebra: str | None, bilsky: Bilsky | None) -> Spread:
    """Draw the metastasis; what is given is kept, everything else comes from the seed alone."""
    if vertebra is not None and vertebra not in parameters.METASTASIS_LEVELS:
        raise InputError(
            f"no metastasis is made in the vertebra '{vertebra}'; known are {', '.join(parameters.METASTASIS_LEVELS)}"
        )
    if bilsky is not None and bilsky not in BILSKY:
        raise InputError(f"unknown Bilsky grade '{bilsky}'; known are {', '.join(BILSKY)}")
    rng = np.random.default_rng([seed, 87178291])
    where = parameters.METASTASIS_LEVELS[int(rng.integers(2, len(parameters.METASTASIS_LEVELS) - 2))]
    grade = BILSKY[int(rng.choice(len(BILSKY), p=(0.1, 0.15, 0.2, 0.25, 0.2, 0.1)))]
    return Spread(
        vertebra or where,
        bilsky or grade,
        float(rng.uniform(0.6, 0.95)),
        1 if rng.random() < 0.5 else -1,
        bool(rng.random() < 0.4),
        str(rng.choice(["lytic", "mixed", "blastic"], p=(0.5, 0.35, 0.15))),
    )


def _grid(body: MetastaticBody, size: Size, frame_of_reference: str) -> Grid:
    pixels, pixel = parameters.SPINE_PIXELS[size]
    reach, slice_mm = parameters.SPINE_REACH_MM[size], parameters.SPINE_SLICE_MM
    middle, (lowest, highest) = body.metastasis.level.middle, body.z_limits
    low, high = max(middle - reach, lowest), min(middle + reach, highest)
    _, dy, dz = body.build.offset_mm
    half = 0.5 * (pixels - 1) * pixel
    origin = (-half, -half + round(dy), np.ceil(low + dz))
    return Grid.axial(
        (int((high - low) / slice_mm), pixels, pixels), (slice_mm, pixel, pixel), origin, frame_of_reference
    )


def location(vertebra: str) -> str:
    """SINS class of a vertebra's place (rule KO-20)."""
    n = VERTEBRA_NAMES.index(vertebra)
    of = {name: VERTEBRA_NAMES.index(name) for name in ("VB_C2", "VB_C7", "VB_T02", "VB_T10")}
    if n <= of["VB_C2"] or of["VB_C7"] <= n <= of["VB_T02"] or vertebra in ("VB_T11", "VB_T12", "VB_L1"):
        return "junctional"
    return "semirigid" if of["VB_T02"] < n <= of["VB_T10"] else "mobile"


def share_of_body(body: MetastaticBody) -> float:
    """Share of the vertebral body's volume that is tumour."""
    m = body.metastasis
    low, high = m.level.bottom, m.level.top
    whole = m.sectors(m.vertebra)["body"]
    alone = Metastasis(m.build, m.spine, m.vertebra, m.bilsky, m.share, m.side, pedicle=False)
    return truth.volume_cm3(alone.in_bone, low, high) / truth.volume_cm3(whole, low, high)


def _body_extent(spread: Spread) -> str:
    """Where in the vertebral body the tumour lies, in the words of the table of rules KO-60 to KO-62."""
    if spread.share_of_width > DIFFUSE_ABOVE:
        return "diffuse"
    return "lateral_left" if spread.side > 0 else "lateral_right"


def write_record(body: MetastaticBody, date: dt.date) -> record.Record:
    """Clinical record: the metastasis with its scores, and the radiotherapy that was given there before."""
    build, spread = body.build, body.spread
    rng = np.random.default_rng([build.seed, 27644437])
    base = record.write(build, 0.0, 0.0, date)
    kept = (
        "age_years", "sex", "weight_kg", "height_cm", "histology", "white_cells_10e9_per_l", "neutrophils_10e9_per_l",
        "platelets_10e9_per_l", "haemoglobin_g_per_l", "creatinine_clearance_ml_per_min",
    )  # fmt: skip
    imaging, clinic = date - dt.timedelta(days=4), date - dt.timedelta(days=6)
    found = date - dt.timedelta(days=int(rng.integers(7, 20)))
    months = float(rng.uniform(7.5, 40.0))
    last = date - dt.timedelta(days=round(months * 30.44))
    dose, fractions = ((60.0, 30), (66.0, 33), (50.0, 25), (50.4, 28))[int(rng.choice(4, p=(0.5, 0.15, 0.15, 0.2)))]
    ecog = int(rng.integers(0, 3))
    sins = {
        "sins_location": location(spread.vertebra),
        "sins_pain": str(rng.choice(["mechanical", "occasional", "none"], p=(0.3, 0.45, 0.25))),
        "sins_bone_lesion": spread.bone_lesion,
        "sins_alignment": "normal",
        "sins_collapse": "none-body-above-half" if share_of_body(body) > 0.5 else "none",
        "sins_posterolateral": "unilateral" if spread.pedicle else "none",
    }
    score = sum(SINS_POINTS[name][answer] for name, answer in sins.items())
    frankel = "D" if spread.bilsky in ("2", "3") and rng.random() < 0.6 else "E"
    # Who could be operated on first would not lie on the planning CT yet.
    surgery_called_for = spread.bilsky in ("1c", "2", "3") or score >= SINS_CUT
    surgery_possible = bool(rng.random() < 0.7) and not surgery_called_for
    expected_months = int(rng.integers(3, 19))
    cord_share = float(rng.uniform(0.85, 1.02))
    cord_dose = dose * cord_share
    first_day = date + dt.timedelta(days=7 + (7 - (date + dt.timedelta(days=7)).weekday()) % 7)
    facts: dict[str, tuple[Any, str, dt.date]] = {
        "ecog": (ecog, "consultation", clinic),
        "kps": ({0: 90, 1: 80, 2: 60}[ecog], "consultation", clinic),
        "mescc": (spread.bilsky != "0", "MRI", found),
        "mescc_date": (found, "MRI", found),
        "target_vertebrae": ([spread.vertebra], "MRI", imaging),
        "target_region": ("cervical" if spread.vertebra.startswith("VB_C") else "thoracic", "MRI", imaging),
        "bilsky_grade": (spread.bilsky, "MRI", imaging),
        "circumferential_epidural": (spread.bilsky == "3", "MRI", imaging),
        "body_extent": (_body_extent(spread), "MRI", imaging),
        **{name: (answer, "CT", imaging) for name, answer in sins.items()},
        "sins_score": (score, "spine board", imaging),
        "frankel_grade": (frankel, "consultation", clinic),
        "surgery_possible": (surgery_possible, "spine board", clinic),
        "surgery_done": ("none", "hospital record", clinic),
        "multidisciplinary_decision": (True, "spine board", clinic),
        "expected_survival_months": (expected_months, "tumour board", clinic),
        "prior_radiotherapy": (True, "radiotherapy record", last),
        "prior_radiotherapy_at_target": (True, "radiotherapy record", last),
        "prior_radiotherapy_courses": (1, "radiotherapy record", last),
        "prior_radiotherapy_technique": ("conventional external beam", "radiotherapy record", last),
        "prior_radiotherapy_dose_gy": (dose, "radiotherapy record", last),
        "prior_radiotherapy_fractions": (fractions, "radiotherapy record", last),
        "prior_radiotherapy_last_date": (last, "radiotherapy record", last),
        "prior_cord_bed_gy": (round(cord_dose * (1 + cord_dose / fractions / 2), 1), "reconstructed plan", clinic),
        "prior_sbrt_at_target": (False, "radiotherapy record", last),
        "prior_surgery_at_target": (False, "hospital record", clinic),
        "metal_at_target": (False, "CT", imaging),
        "treatment_intent": ("palliative", "tumour board", clinic),
        "radiotherapy_start_date": (first_day, "radiotherapy schedule", date),
        "immobilisation": (
            "thermoplastic mask" if spread.vertebra.startswith("VB_C") else "vacuum bag",
            "planning CT",
            date,
        ),
        "mr_t1_t2_gadolinium": (True, "MRI", imaging),
        "mr_in_treatment_position": (True, "MRI", imaging),
        "cord_contoured_on": ("T2 MR", "contouring", date),
    }
    return {name: base[name] for name in kept} | {
        name: {"value": value, "source": source, "date": day.isoformat()}
        for name, (value, source, day) in facts.items()
    }


def describe(body: MetastaticBody, grid: Grid) -> dict[str, Any]:
    """Truth about the body as scanned, world LPS mm; plain values, ready for JSON."""
    m, at = body.metastasis, truth.placed(body)
    planes = truth.end_faces(grid)
    low, high = (z - body.build.offset_mm[2] for z in planes)
    n = VERTEBRA_NAMES.index(m.vertebra)
    sectors = {
        name if key == "body" else f"{name}^{key}": solid
        for name in VERTEBRA_NAMES[n - 1 : n + 2]
        for key, solid in m.sectors(name).items()
    }
    told = {name: {"sector": SECTORS.index(name.partition("^")[2] or "body") + 1} for name in sectors}
    parts = {"in_bone": m.in_bone} | ({} if m.epidural is None else {"epidural": m.epidural})
    volumes = {name: cm3 for name, cm3 in truth.volumes_cm3(body, low, high).items() if cm3 > 0}
    return {
        "name": "spine",
        "seed": body.build.seed,
        "parameters": asdict(body.spread),
        **truth.extent(volumes, planes),
        "landmarks_mm": {name: at(point) for name, point in landmarks.points(body).items()},
        "vertebral_bodies_mm": truth.vertebral_bodies(body),
        "metastasis": {
            "vertebra": m.vertebra,
            "bilsky_grade": m.bilsky,
            "epidural_thickness_mm": round(m.thickness_mm, 3),
            "epidural_length_mm": 0.0 if m.epidural is None else round(2 * m.half_length, 3),
            "share_of_vertebral_body": round(share_of_body(body), 4),
            "pedicle": ("left" if m.side > 0 else "right") if m.pedicle else "none",
            "volumes_cm3": {name: round(truth.volume_cm3(part, low, high), 4) for name, part in parts.items()},
        },
        "sectors": truth.drawn(body, sectors, grid, told),
        "body": truth.described_build(body.build),
    }
