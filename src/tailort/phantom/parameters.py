"""Every size of the virtual body, in one place, and how one person is drawn from them.

Lengths are mm of a nominal adult of 1.70 m; z = 0 is the carina, x grows to the left, y to the back, z to the head,
and y = 0 lies about half way through the chest. A person's body is the nominal one scaled along x, y and z.
Unless a source is named, a number is "typical adult": the middle of what anatomy and radiology texts give for a
supine adult with raised arms in quiet breathing, rounded; none is meant as a norm.

References
----------
ICRP Publication 89 (2002), doi:10.1016/S0146-6453(03)00002-2: reference adults, male 176 cm and 73 kg, female
163 cm and 60 kg; the spread of stature here is centred between them.
ICRP Publication 110 (2009), doi:10.1016/j.icrp.2009.09.001: organ positions in the reference voxel phantoms.
AJCC Cancer Staging Manual, 8th edition (2017), oesophagus: see `LEVELS_CM`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Level = Literal["upper", "middle", "lower"]
Anastomosis = Literal["cervical", "intrathoracic"]
Pairs = tuple[tuple[float, float], ...]

NOMINAL_STATURE_M = 1.70
STATURE_M = {"M": (1.74, 0.055), "F": (1.62, 0.05)}
"""Mean and spread of stature by sex; ICRP 89 gives 1.76 and 1.63 for its reference adults."""

# --- spine -----------------------------------------------------------------------------------------------------
VERTEBRA_NAMES = (
    *(f"VB_C{n}" for n in range(1, 8)), *(f"VB_T{n:02d}" for n in range(1, 13)), "VB_L1", "VB_L2",
)  # fmt: skip
VERTEBRA_PITCH = (16, 20, 17, 17, 17, 17.5, 18, 19.5, 20.5, 21, 21.5, 22, 22.5, 23, 23.5, 24.5, 26, 27.5, 29, 33, 35)
"""Height of body and the disc below it, C1 to L2."""
CARINA_BELOW_T4 = 2.0
"""The carina lies at the disc of T4/T5, here at the upper edge of T5."""
DISC_SHARE = 0.22
"""Share of the pitch that is disc."""
VERTEBRA_HALF_WIDTH: Pairs = (
    (215, 15), (190, 12.5), (140, 13), (95, 15), (60, 14.5), (10, 14), (-60, 15.5), (-140, 18.5), (-200, 21), (-260, 23)
)  # fmt: skip
VERTEBRA_HALF_DEPTH: Pairs = (
    (215, 7.5), (140, 8), (95, 8.5), (60, 9.5), (10, 11), (-60, 13.5), (-140, 15.2), (-200, 16), (-260, 17)
)  # fmt: skip
SPINE_Y: Pairs = (
    (220, -6), (190, -5), (170, -3), (140, 0), (110, 6), (85, 16), (60, 27), (30, 37), (0, 43), (-40, 47), (-80, 47),
    (-120, 42), (-160, 34), (-200, 25), (-270, 13),
)  # fmt: skip
"""Centre of the vertebral bodies: lordosis of the neck, kyphosis of the chest, lordosis of the loin."""
CANAL_HALF_WIDTH: Pairs = ((215, 13), (140, 12.5), (85, 10.5), (0, 9), (-60, 8.8), (-180, 11), (-260, 12))
CANAL_HALF_DEPTH: Pairs = ((215, 8.5), (140, 7.8), (60, 8.0), (-100, 8.0), (-200, 8.8), (-260, 8.8))
CORD_HALF_WIDTH: Pairs = ((215, 6), (150, 6.3), (110, 6.8), (70, 5.4), (20, 4.8), (-130, 4.8), (-175, 5.2), (-215, 4.2))
CORD_HALF_DEPTH: Pairs = ((215, 4.6), (110, 4.4), (20, 4.2), (-130, 4.2), (-175, 4.5), (-215, 3.8))
"""Spinal cord with its cervical and lumbar enlargements; the diameter of the thoracic cord is about 8 to 10 mm."""
CONUS_Z = -222.0
"""The cord ends at L1."""
SPINOUS_LENGTH = 23.0
TRANSVERSE_LENGTH = 19.0

# --- outlines: (z, half width, foremost y, hindmost y) ----------------------------------------------------------
MUSCLE_OUTLINE = (
    (220, 66, -94, 80), (205, 65, -92, 78), (190, 62, -86, 73), (172, 58, -78, 67), (158, 56, -60, 64),
    (145, 55, -50, 63), (120, 55, -49, 65), (100, 61, -46, 71), (85, 84, -44, 79), (70, 124, -46, 86),
    (55, 156, -50, 91), (40, 170, -57, 95), (20, 170, -68, 98), (0, 165, -78, 99), (-30, 157, -88, 100),
    (-60, 152, -95, 101), (-100, 149, -100, 101), (-140, 146, -101, 99), (-190, 141, -98, 95), (-270, 137, -92, 91),
)  # fmt: skip
"""Body without its subcutaneous fat."""
CAVITY_OUTLINE = (
    (71, 12, 14, 30), (69, 24, 8, 36), (65, 36, 0, 42), (58, 52, -12, 50), (48, 69, -24, 58), (35, 89, -39, 65),
    (20, 106, -50, 72), (0, 120, -62, 78), (-30, 129, -74, 83), (-60, 132, -80, 85), (-100, 132, -85, 85),
    (-140, 129, -86, 83), (-190, 124, -84, 77), (-270, 119, -79, 66),
)  # fmt: skip
"""Inner wall of chest and abdomen; chest about 260 mm wide and 165 mm deep inside."""
CAGE_TOP = ((90, 26, 0, 40), (78, 44, -16, 48))
"""Where the first ribs run above the cavity."""
BODY_EXPONENT = 2.5
SKIN_MM = 4.0
"""Thickness of the structure `Skin`; a layer of 3 to 5 mm is usual in planning."""
SKIN_DRAWN_MM = 1.6

# --- diaphragm: peaks of both domes and of the saddle, fall to the edges ------------------------------------------
DOME_RIGHT_Z, DOME_LEFT_Z, SADDLE_Z = -92.0, -105.0, -116.0
DOME_X = 62.0
DOME_FALL_FRONT, DOME_FALL_BACK, DOME_FALL_SIDE = 42.0, 98.0, 70.0
DIAPHRAGM_MM = 4.0

# --- oesophagus ---------------------------------------------------------------------------------------------------
INCISORS_TO_INLET_CM = 14.5
"""From the incisors to the lower edge of the cricoid (C6), along the way of an endoscope."""
OESOPHAGUS = (
    # z, x, gap between the front of the vertebrae and the organ's back
    (106, 0, 3.2), (80, 2, 3.8), (60, 4, 4.2), (40, 4, 4.2), (15, 2, 4.0), (-20, 2, 3.7), (-50, 3, 3.5), (-70, 4, 6.0),
    (-90, 8, 17), (-108, 12, 24), (-122, 16, 29), (-135, 21, 32), (-141, 25, 33),
)  # fmt: skip
"""Left of the midline at the thoracic inlet, behind trachea and left atrium, forward and left to the hiatus at T10."""
OESOPHAGUS_RADIUS: Pairs = ((110, 7.0), (60, 7.6), (0, 8.2), (-60, 8.6), (-120, 9.0), (-155, 10))
OESOPHAGUS_FLATNESS = 1.15
"""Width over depth of the collapsed organ."""
OESOPHAGEAL_WALL_MM = 3.5
"""Of the normal, collapsed organ; above 5 mm counts as thickened on CT."""
HIATUS_Z = -122.0
"""About where the staples on a gastric tube end; the hiatus itself is where the way of food meets the diaphragm."""
ABDOMINAL_OESOPHAGUS_MM = 20.0
"""From the hiatus to the junction with the stomach, 1 to 2.5 cm."""
LEVELS_CM: dict[Level, tuple[float, float]] = {"upper": (20.0, 25.0), "middle": (25.0, 30.0), "lower": (30.0, 40.0)}
"""From the incisors (AJCC, 8th edition: upper, middle and lower thoracic; the cervical part ends at 20 cm)."""
TUMOUR_CENTRE_CM: dict[Level, tuple[float, float]] = {
    "upper": (21.6, 24.4),
    "middle": (25.6, 29.4),
    "lower": (31.0, 33.6),
}
"""Range from which the tumour's centre is drawn, away from the borders of its level."""
TUMOUR_LENGTH_MM: dict[Level, tuple[float, float]] = {
    "upper": (35.0, 55.0),
    "middle": (40.0, 70.0),
    "lower": (40.0, 65.0),
}
TUMOUR_WALL_MM: dict[Level, tuple[float, float]] = {"upper": (8.0, 9.0), "middle": (9.0, 13.5), "lower": (9.0, 13.5)}
TUMOUR_LENGTH_LIMITS_MM = (10.0, 100.0)
TUMOUR_WALL_LIMITS_MM = (5.0, 16.0)
TUMOUR_LUMEN_MM = 2.0
"""Radius of the lumen where the tumour narrows it."""
NODE_RADIUS_MM = (5.5, 8.0)
"""Half the short axis of the involved node; above 5 mm it counts as enlarged."""

# --- after oesophagectomy: the stomach as a tube in the posterior mediastinum ---------------------------------------
CONDUIT = (
    # z, x from the middle of the bodies, y from their front (below 0: before it)
    (60, 3, -12), (40, 0, -12), (18, -7, -13), (0, -16, -10), (-20, -23, -4), (-60, -24, -5), (-85, -14, -16),
    (-106, 3, -29), (-122, 15, -37), (-145, 22, -44), (-165, 16, -52), (-185, 6, -60), (-203, -6, -64),
    (-216, -19, -62),
)  # fmt: skip
"""From the inlet through the bed of the oesophagus, right of the spine behind the heart, to the hiatus and pylorus."""
CONDUIT_RADIUS: Pairs = ((80, 9.5), (45, 10.5), (15, 13), (-20, 14.5), (-95, 14.5), (-122, 12), (-145, 15), (-220, 16))
"""Half width; a tube of 3 to 4 cm is cut from the greater curvature and collapses lying down."""
CONDUIT_FLATNESS = 1.15
OMENTUM_MM = 8.0
"""Fat between the tube and the liver."""
CONDUIT_WIDENS_OVER = 30.0
CONDUIT_WALL_MM = 3.5
STAPLE_RADIUS = 0.7
AZYGOS_DIVIDED_Z = -14.0
"""Above this the azygos vein gives way to the tube."""
ANASTOMOSIS_Z: dict[Anastomosis, tuple[float, float]] = {"cervical": (74.0, 84.0), "intrathoracic": (19.0, 30.0)}
"""Left of the neck about T1 (McKeown), or above the arch of the azygos vein (Ivor Lewis)."""
RECURRENCE_MM: dict[str, tuple[float, float]] = {"node": (14.0, 58.0), "bed": (20.0, 58.0), "tube": (40.0, 100.0)}
"""Range from which the longest diameter is drawn, on both sides of the 5 cm of NCT03731442."""
RECURRENCE_LIMITS_MM: dict[str, tuple[float, float]] = {"node": (8.0, 80.0), "bed": (8.0, 80.0), "tube": (20.0, 140.0)}
TUBE_GROWTH_MM = 5.0
"""How far a growth in the wall of the gastric tube reaches beyond it."""
RECURRENCE_SLIMNESS = 0.82
"""Short over long diameter."""

# --- epidural metastasis ------------------------------------------------------------------------------------------
SAC_MM = 2.0
"""Fat and veins between the bony canal and the thecal sac."""
METASTASIS_LEVELS = (*(f"VB_C{n}" for n in range(3, 8)), *(f"VB_T{n:02d}" for n in range(1, 13)))
SPINE_REACH_MM = {"full": 100.0, "coarse": 42.0}
"""Scanned above and below the middle of the vertebra with the metastasis."""
SPINE_PIXELS = {"full": (512, 1.0), "coarse": (256, 2.0)}
SPINE_SLICE_MM = 1.0
"""CT slice of spine SBRT in Koide 2024 (rule KO-41)."""

# --- airways ------------------------------------------------------------------------------------------------------
CRICOID_Z = 108.0
TRACHEA_RADIUS = 9.2
"""Inner diameter about 18 mm; ICRP 66 gives 16.5 mm for the reference male."""
TRACHEA_WALL = 1.5
BRONCHUS_RADIUS = 6.4
STERNAL_NOTCH_Z = 47.0
"""At the disc T2/T3, 4.5 to 6 cm above the carina."""

# --- vessels ------------------------------------------------------------------------------------------------------
ASCENDING_RADIUS, ARCH_RADIUS, DESCENDING_RADIUS, ABDOMINAL_RADIUS = 15.5, 13.2, 12.2, 10.0
"""Diameters 31, 26, 24 and 20 mm."""
CAROTID_RADIUS, BRACHIOCEPHALIC_RADIUS, SUBCLAVIAN_RADIUS, CELIAC_RADIUS, AZYGOS_RADIUS = 3.6, 6.2, 4.8, 3.6, 4.2
CELIAC_BRANCH_RADIUS = 2.4
"""Left gastric, common hepatic and splenic artery, about 4 to 6 mm wide."""
CAVA_RADIUS, PULMONARY_TRUNK_RADIUS, PULMONARY_ARTERY_RADIUS, PULMONARY_VEIN_RADIUS = 9.5, 13.0, 10.0, 6.0

# --- regions of lymph nodes: see `anatomy.stations` for the atlases ----------------------------------------------
SUPRACLAVICULAR_OUTLINE = (
    (46, 25, 54, -35, -14), (55, 24, 60, -34, -8), (62, 24, 60, -33, -8), (74, 26, 58, -32, -8), (85, 28, 52, -31, 3),
    (102, 28, 44, -26, 1),
)  # fmt: skip
"""(z, medial and lateral x, foremost and hindmost y), from behind the clavicle's head, under which first rib and lung
leave no room, to the lower edge of the cricoid; behind, the subclavian artery is the border and then the scalenes."""
CELIAC_NODES_ALONG_MM, CELIAC_NODES_MARGIN_MM = 12.0, 10.0
"""How much of the trunk, from the aorta's front, and how far around it; the same in every body, as margins are."""
CELIAC_NODES_TOP_MM = 7.0
"""Above the trunk's origin; higher up the liver lies against the aorta."""

# --- tissue: mean HU at about 120 kV, without contrast medium ------------------------------------------------------
HU = {
    "air": -1000.0, "lung": -790.0, "lung vessel": 10.0, "fat": -102.0, "mediastinal fat": -92.0, "skin": 15.0,
    "muscle": 52.0, "soft tissue": 35.0, "blood": 43.0, "heart": 46.0, "airway wall": 20.0, "oesophagus": 40.0,
    "mucus": 5.0, "tumour": 47.0, "node": 44.0, "liver": 60.0, "spleen": 50.0, "kidney": 31.0, "renal sinus": -60.0,
    "stomach wall": 42.0, "stomach fluid": 12.0, "bowel": 25.0, "gas": -950.0, "bile": 8.0, "cord": 36.0, "csf": 10.0,
    "disc": 85.0, "cortical": 620.0, "marrow": 190.0, "rib cortical": 480.0, "rib marrow": 230.0, "cartilage": 105.0,
    "thyroid": 105.0, "thyroid cartilage": 160.0, "tooth": 1500.0, "couch shell": -250.0, "couch core": -960.0,
    "staple": 2600.0, "mixed metastasis": 160.0, "blastic metastasis": 700.0,
    "streak": -95.0, "swallowed air": -820.0, "gland": 25.0, "jaw": 900.0,
}  # fmt: skip
NOISE_HU = 12.0
"""Standard deviation of one pixel after the reconstruction filter; a 3 mm planning CT has about 10 to 15."""
LUNG_TEXTURE_HU = 30.0
LUNG_GRADIENT_HU_PER_MM = 0.45
"""The lung is denser where it lies lower, here towards the back."""


@dataclass(frozen=True)
class Build:
    """What makes this person unlike the next: scales of the nominal body and the tumour asked for.

    Lengths are mm of this person; scales are factors on the nominal body.
    """

    seed: int
    sex: Literal["M", "F"]
    age_years: int
    stature_m: float
    scale: tuple[float, float, float]
    fat_mm: float
    body_mass_index: float
    scoliosis_mm: float
    kyphosis: float
    heart: float
    vessel: float
    dome_shift_mm: float
    oesophagus_sway_mm: tuple[float, float]
    level: Level
    tumour_centre_cm: float
    tumour_length_mm: float
    wall_thickness_mm: float
    tumour_side_mm: tuple[float, float]
    node_radius_mm: float
    offset_mm: tuple[float, float, float]
    tree_seed: int

    @property
    def girth(self) -> float:
        """Mean scale in the transverse plane, for radii."""
        return float(np.sqrt(self.scale[0] * self.scale[1]))


def draw(
    seed: int,
    level: Level | None,
    tumour_length_mm: float | None,
    wall_thickness_mm: float | None,
    fat_mm: float | None = None,
) -> Build:
    """Draw one person; what is given is kept, everything else comes from the seed alone."""
    rng = np.random.default_rng([seed, 7919])
    sex: Literal["M", "F"] = "M" if rng.random() < 0.7 else "F"
    mean, spread = STATURE_M[sex]
    stature = float(np.clip(rng.normal(mean, spread), mean - 0.11, mean + 0.11))
    length = stature / NOMINAL_STATURE_M
    width = float(np.clip((0.6 + 0.4 * length) * rng.normal(1.0, 0.025), 0.92, 1.08))
    depth = float(np.clip((0.6 + 0.4 * length) * rng.normal(1.0, 0.02), 0.94, 1.07))
    fat = float(rng.uniform(6.0, 17.0) + (3.0 if sex == "F" else 0.0))
    fat = fat if fat_mm is None else fat_mm
    levels: tuple[Level, ...] = ("upper", "middle", "lower")
    drawn: Level = levels[int(rng.choice(3, p=(0.3, 0.45, 0.25)))]
    where, long, thick = (float(u) for u in rng.random(3))
    chosen = level or drawn

    def within(limits: tuple[float, float], share: float) -> float:
        return limits[0] + share * (limits[1] - limits[0])

    return Build(
        seed=seed,
        sex=sex,
        age_years=int(rng.integers(48, 79)),
        stature_m=round(stature, 2),
        scale=(width, depth, length),
        fat_mm=fat,
        body_mass_index=round(17.0 + 0.48 * fat + float(rng.normal(0, 0.5)), 1),
        scoliosis_mm=float(rng.uniform(-3.5, 3.5)),
        kyphosis=float(rng.uniform(0.92, 1.02)),
        heart=float(rng.uniform(0.93, 1.07)),
        vessel=float(rng.uniform(0.94, 1.07)),
        dome_shift_mm=float(rng.uniform(-8.0, 6.0)),
        oesophagus_sway_mm=(float(rng.uniform(-2.0, 3.5)), float(rng.uniform(-1.5, 1.5))),
        level=chosen,
        tumour_centre_cm=within(TUMOUR_CENTRE_CM[chosen], where),
        tumour_length_mm=within(TUMOUR_LENGTH_MM[chosen], long) if tumour_length_mm is None else tumour_length_mm,
        wall_thickness_mm=within(TUMOUR_WALL_MM[chosen], thick) if wall_thickness_mm is None else wall_thickness_mm,
        tumour_side_mm=(float(rng.uniform(-1.5, 1.5)), float(rng.uniform(-1.5, 0.0))),
        node_radius_mm=float(rng.uniform(*NODE_RADIUS_MM)),
        offset_mm=(
            round(float(rng.uniform(-9, 9)), 1),
            round(float(rng.uniform(-15, 15)), 1),
            round(float(rng.uniform(-300, 300)), 0),
        ),
        tree_seed=int(rng.integers(2**31)),
    )
