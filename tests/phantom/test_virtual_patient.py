"""The virtual patient: the same from the same seed, believable, and true to what it says of itself."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.path import Path
from scipy.spatial import cKDTree

from tailort import phantom
from tailort.errors import InputError
from tailort.geometry import check_contours, volume_cm3
from tailort.patient import Structure
from tailort.phantom import VirtualPatient, contours, parameters
from tailort.phantom.anatomy import Anatomy
from tailort.phantom.shapes import Lattice

SEEDS = (0, 1, 2)
AGREED_FACTS = (
    "age_years", "sex", "kps", "histology", "t_stage", "n_stage", "m_stage", "tumour_level", "tumour_length_cm",
    "treatment_intent", "surgery", "concurrent_chemotherapy", "prior_radiotherapy", "weight_kg", "height_cm",
    "white_cells_e9_per_l", "neutrophils_e9_per_l", "platelets_e9_per_l", "haemoglobin_g_per_l",
    "creatinine_clearance_ml_min",
)  # fmt: skip
VERTEBRAE = (*(f"VB_C{n}" for n in range(1, 8)), *(f"VB_T{n:02d}" for n in range(1, 13)), "VB_L1", "VB_L2")
WANTED = (
    "External", "Skin", "Lung_L", "Lung_R", "Lungs", "Heart", "Pericardium", "Trachea", "Bronchus_Main", "Esophagus",
    "A_Aorta", "A_Brachiocephls", "A_Carotid_L", "A_Carotid_R", "V_Azygos", "V_Pulmonary", "A_Celiac", "Pharynx",
    "Larynx", "SpinalCord", "SpinalCanal", "Sternum", "Clavicle_L", "Clavicle_R", "Ribs", "Diaphragm", "Stomach",
    "Bowel", "Liver", "Kidney_L", "Kidney_R", "GTVp", "GTVn", *VERTEBRAE,
)  # fmt: skip
NESTED = {
    frozenset(pair)
    for pair in (
        ("Heart", "Pericardium"), ("Esophagus", "GTVp"), ("Esophagus", "Esophagus^Lumen"), ("GTVp", "Esophagus^Lumen"),
        ("SpinalCord", "SpinalCanal"), ("Pericardium", "A_Aorta"), ("Pericardium", "V_Pulmonary"),
        ("Carina", "Trachea"), ("Carina", "Bronchus_Main"),
    )
}  # fmt: skip


@cache
def coarse(seed: int) -> VirtualPatient:
    return phantom.make(seed=seed, size="coarse")


def centre(structure: Structure) -> np.ndarray:
    return np.concatenate(structure.contours).mean(axis=0)


def test_the_same_seed_gives_the_same_patient_voxel_by_voxel() -> None:
    again = phantom.make(seed=1, size="coarse")
    first = coarse(1)
    assert np.array_equal(first.scan.image.values, again.scan.image.values)
    assert first.scan.instance_uids == again.scan.instance_uids
    assert (first.person, first.record) == (again.person, again.record)
    for a, b in zip(first.structures, again.structures, strict=True):
        assert a.name == b.name
        assert all(np.array_equal(p, q) for p, q in zip(a.contours, b.contours, strict=True))


def test_other_seeds_are_other_patients() -> None:
    for a, b in combinations((coarse(seed) for seed in SEEDS), 2):
        assert a.scan.image.grid.frame_of_reference != b.scan.image.grid.frame_of_reference
        assert a.person.patient_id != b.person.patient_id
        assert a.anatomy.build.scale != b.anatomy.build.scale
        assert volume_cm3(a.structures["Heart"].contours) != pytest.approx(
            volume_cm3(b.structures["Heart"].contours), rel=1e-3
        )
    drawn = [parameters.draw(seed, None, None, None) for seed in range(40)]
    assert {build.level for build in drawn} == {"upper", "middle", "lower"}
    assert {build.sex for build in drawn} == {"M", "F"}


def test_the_ct_is_what_a_planning_system_expects() -> None:
    scan = coarse(0).scan
    assert scan.image.values.dtype == np.int16
    assert scan.image.unit == "HU"
    assert scan.patient_position == "HFS"
    assert len(set(scan.instance_uids)) == scan.image.grid.shape[0]
    for uid in (*scan.instance_uids, scan.series_uid, scan.study_uid, scan.image.grid.frame_of_reference):
        assert len(uid) <= 64
        assert re.fullmatch(r"2\.25\.(0|[1-9]\d*)", uid)


def test_every_wanted_structure_is_drawn_under_a_tg263_name() -> None:
    structures = coarse(0).structures
    assert set(WANTED) <= set(structures.names)
    for structure in structures:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_^]{0,15}", structure.name), structure.name
        assert structure.role == {"External": "EXTERNAL", "GTVp": "GTV", "GTVn": "GTV"}.get(structure.name, "ORGAN")
        assert not structure.is_empty, structure.name


@pytest.mark.parametrize("seed", SEEDS)
def test_contours_are_valid_smooth_and_on_the_planes_of_the_ct(seed: int) -> None:
    patient = coarse(seed)
    planes, _, _ = patient.scan.image.grid.axes_mm()
    for structure in patient.structures:
        check_contours(structure.contours, structure.name)
        assert np.isin(np.round(structure.slice_positions_mm, 3), np.round(planes, 3)).all()
        assert max(len(line) for line in structure.contours) < 800
    # A staircase would turn by 90 degrees; the cord's outline turns by a few degrees from point to point.
    for line in patient.structures["SpinalCord"].contours:
        side = np.diff(np.vstack([line, line[:1], line[1:2]])[:, :2], axis=0)
        long = np.hypot(*side.T) > 0.05
        turn = np.abs(np.diff(np.unwrap(np.arctan2(side[long, 1], side[long, 0]))))
        assert np.degrees(turn).max() < 60


@pytest.mark.parametrize("seed", [3, 4, 5, 22])
def test_contours_of_no_structure_cross_at_either_detail(seed: int) -> None:
    anatomy = Anatomy(parameters.draw(seed, None, None, None))
    low, high = anatomy.z_limits
    for lines, step in ((72, 11.0), (36, 6.0)):
        for name, (_, parts) in anatomy.organs.items():
            drawn = contours.draw(parts, np.arange(low + 1, high, step), (0.0, 0.0, 0.0), lines)
            check_contours([line for rings in drawn for line in rings], name)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_volume_inside_the_contours_is_the_true_one(seed: int) -> None:
    """1.5 %, and half the distance of the planes over the height of the structure for its ends.

    Left out: sheets thinner than the distance of the planes (Diaphragm, whose parts between two planes are not drawn)
    and bones whose arches are no thicker than it.
    """
    patient = coarse(seed)
    for structure in patient.structures:
        true = patient.truth["volumes_cm3"][structure.name]
        if true < 5 or structure.name in ("Diaphragm", "Ribs") or structure.name.startswith("VB_"):
            continue
        low, high = structure.bounds_mm()
        ends = 0.5 * patient.scan.image.grid.spacing_mm[0] / (high[2] - low[2])
        assert volume_cm3(structure.contours) == pytest.approx(true, rel=0.015 + ends), structure.name


def test_the_true_volume_of_the_node_is_that_of_an_ellipsoid() -> None:
    for seed in SEEDS:
        patient = coarse(seed)
        a, b, c = patient.anatomy.node.solid.radii
        assert patient.truth["volumes_cm3"]["GTVn"] == pytest.approx(4e-3 / 3 * math.pi * a * b * c, rel=5e-3)
        assert patient.truth["tumour"]["node_short_axis_mm"] == pytest.approx(2 * min(a, b, c), abs=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_picture_shows_the_lungs_that_the_truth_tells(seed: int) -> None:
    patient = coarse(seed)
    grid, hu = patient.scan.image.grid, patient.scan.image.values
    z, y, x = grid.axes_mm()
    inside = np.zeros(grid.shape, dtype=bool)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    for line in patient.structures["External"].contours:
        inside[int(np.argmin(np.abs(z - line[0, 2])))] ^= (
            Path(line[:, :2]).contains_points(points).reshape(len(y), len(x))
        )
    true = patient.truth["volumes_cm3"]
    airy = (hu < -420) & (hu > -960) & inside
    low, high = patient.structures["Lungs"].bounds_mm()
    airy &= ((z >= low[2]) & (z <= high[2]))[:, None, None]
    airy &= ((y >= low[1]) & (y <= high[1]))[None, :, None]
    airy &= ((x >= low[0]) & (x <= high[0]))[None, None, :]
    # Vessels in the lung are missing here, rims of gas in gut and airways are counted: 6 %.
    assert airy.sum() * grid.voxel_volume_cm3 == pytest.approx(true["Lungs"], rel=0.06)


RANGES_HU = {
    "Lungs": (-870, -650), "Heart": (30, 60), "A_Aorta": (35, 55), "Liver": (50, 70), "Spleen": (40, 60),
    "Kidney_L": (0, 40), "SpinalCord": (25, 50), "GTVp": (-60, 60), "Trachea": (-1000, -900), "VB_T08": (150, 450),
    "VB_L1": (150, 450),
}  # fmt: skip


@pytest.mark.parametrize("name", RANGES_HU)
def test_tissues_have_believable_hounsfield_units(name: str) -> None:
    patient = coarse(2)
    grid, hu = patient.scan.image.grid, patient.scan.image.values
    z, y, x = grid.axes_mm()
    dx, dy, dz = patient.anatomy.build.offset_mm
    samples = []
    for k, height in enumerate(z):
        for shape in patient.anatomy.organs[name][1]:
            found = Lattice((x - dx)[None, :], (y - dy)[:, None], float(height) - dz).near(shape, 0.0)
            if found is not None:
                rows, columns, field = found
                samples.append(hu[k, rows, columns][field < -2.0])
    low, high = RANGES_HU[name]
    assert low < float(np.mean(np.concatenate(samples))) < high


@pytest.mark.parametrize("seed", SEEDS)
def test_every_structure_lies_inside_the_external(seed: int) -> None:
    patient = coarse(seed)
    outer: dict[float, list[Path]] = {}
    for line in patient.structures["External"].contours:
        outer.setdefault(round(float(line[0, 2]), 3), []).append(Path(line[:, :2]))
    for structure in patient.structures:
        if structure.name in ("External", "Skin"):
            continue
        for line in structure.contours:
            paths = outer[round(float(line[0, 2]), 3)]
            assert any(path.contains_points(line[:, :2]).all() for path in paths), (structure.name, line[0, 2])


@pytest.mark.parametrize("seed", [0, 5])
def test_organs_do_not_lie_in_one_another(seed: int) -> None:
    anatomy = Anatomy(parameters.draw(seed, None, None, None))
    x, y = np.arange(-190, 191, 2.0)[None, :], np.arange(-140, 141, 2.0)[:, None]
    for z in np.arange(anatomy.z_limits[0] + 1, anatomy.z_limits[1], 11.0):
        deep: dict[str, np.ndarray] = {}
        at = Lattice(x, y, float(z))
        for name, (_, shapes) in anatomy.organs.items():
            if name in ("External", "Skin", "Lungs"):
                continue
            for shape in shapes:
                found = at.near(shape, 0.0)
                if found is not None:
                    rows, columns, field = found
                    deep.setdefault(name, np.zeros((y.size, x.size), dtype=bool))[rows, columns] |= field < -0.5
        for a, b in combinations(deep, 2):
            assert frozenset((a, b)) in NESTED or not (deep[a] & deep[b]).any(), (a, b, z)


@pytest.mark.parametrize("seed", SEEDS)
def test_left_and_right_are_where_dicom_has_them(seed: int) -> None:
    structures = coarse(seed).structures
    middle = centre(structures["SpinalCord"])[0]
    for pair in ("Lung", "Kidney", "A_Carotid", "Clavicle"):
        assert centre(structures[f"{pair}_R"])[0] < middle < centre(structures[f"{pair}_L"])[0], pair
    assert centre(structures["Liver"])[0] < middle < centre(structures["Stomach"])[0]
    assert centre(structures["V_Azygos"])[0] < middle < centre(structures["Spleen"])[0]
    assert middle < centre(structures["Heart"])[0]
    # The descending aorta, below the carina and above the diaphragm, lies left of the cord.
    truth = coarse(seed).truth["landmarks_mm"]
    low, high = truth["diaphragm_hiatus"][2] + 20, truth["carina"][2] - 20
    lines = [c for c in structures["A_Aorta"].contours if low < c[0, 2] < high]
    behind = [c for c in lines if c[:, 1].mean() > truth["carina"][1]]
    assert behind
    assert all(c[:, 0].mean() > middle + 8 for c in behind)


@pytest.mark.parametrize("seed", SEEDS)
def test_landmarks_follow_each_other_from_head_to_foot(seed: int) -> None:
    patient = coarse(seed)
    mark = {name: np.array(point) for name, point in patient.truth["landmarks_mm"].items()}
    order = (
        "incisors", "oesophagus_inlet", "sternal_notch", "aortic_arch_top", "carina", "diaphragm_hiatus",
        "gastro_oesophageal_junction", "coeliac_origin",
    )  # fmt: skip
    heights = [mark[name][2] for name in order]
    assert all(upper > lower for upper, lower in pairwise(heights))
    bodies = patient.truth["vertebral_bodies_mm"]
    assert tuple(bodies) == VERTEBRAE
    tops = [body["top"] for body in bodies.values()]
    assert all(upper > lower for upper, lower in pairwise(tops))
    # Surface anatomy: cricoid at C6, notch at T2/T3, carina at T4/T5, hiatus at T9 to T10, coeliac trunk at T12/L1.
    assert bodies["VB_C6"]["bottom"] - 6 < mark["cricoid_lower_edge"][2] < bodies["VB_C6"]["top"]
    assert bodies["VB_T03"]["bottom"] < mark["sternal_notch"][2] < bodies["VB_T02"]["top"]
    assert bodies["VB_T05"]["bottom"] < mark["carina"][2] < bodies["VB_T04"]["top"]
    assert bodies["VB_T10"]["bottom"] < mark["diaphragm_hiatus"][2] < bodies["VB_T09"]["top"]
    assert bodies["VB_L1"]["top"] - 15 < mark["coeliac_origin"][2] < bodies["VB_T12"]["top"]
    assert mark["diaphragm_dome_right"][2] > mark["diaphragm_dome_left"][2]


def test_sizes_are_those_of_adults() -> None:
    """Wide ranges of adult anatomy, so that a slip of scale is seen."""
    limits = {
        "Lungs": (2500, 6500), "Heart": (400, 900), "Liver": (1000, 2200), "Kidney_L": (90, 220), "Spleen": (60, 250),
        "SpinalCord": (18, 45), "A_Aorta": (120, 350), "Trachea": (15, 45), "Esophagus": (30, 110), "VB_T08": (8, 35),
    }  # fmt: skip
    for seed in SEEDS:
        patient = coarse(seed)
        for name, (low, high) in limits.items():
            assert low < patient.truth["volumes_cm3"][name] < high, (seed, name)
        low, high = patient.structures["External"].bounds_mm()
        assert 290 < high[0] - low[0] < 430
        assert 180 < high[1] - low[1] < 300
        assert 36 < patient.truth["oesophagus"]["incisors_to_junction_cm"] < 46


@pytest.mark.parametrize("level", ["upper", "middle", "lower"])
def test_the_tumour_keeps_20_mm_from_the_cord_and_lies_in_its_level_of_the_oesophagus(level: parameters.Level) -> None:
    for seed in range(25):
        anatomy = Anatomy(parameters.draw(seed, level, None, None))
        low, high = parameters.LEVELS_CM[level]
        assert low < anatomy.course.tumour_centre_cm < high
        gtv, cord = anatomy.oesophagus.tumour, anatomy.spine.cord
        planes = np.arange(gtv.z_range[0] - 21.0, gtv.z_range[1] + 21.0, 2.0)
        drawn = [np.concatenate(lines) for lines in contours.draw([gtv, cord], planes, (0, 0, 0), 36)]
        assert cKDTree(drawn[1]).query(drawn[0])[0].min() > 20.0, seed
        upper, lower = anatomy.course.tumour_along_mm
        assert 0 < upper < lower < anatomy.course.length_mm


def test_the_tumour_asked_for_is_the_tumour_drawn() -> None:
    volume = []
    for length, wall in ((40, 8), (80, 8), (40, 14)):
        anatomy = Anatomy(parameters.draw(2, "middle", length, wall))
        assert anatomy.build.scale == coarse(2).anatomy.build.scale
        upper, lower = anatomy.course.tumour_along_mm
        assert lower - upper == pytest.approx(length)
        planes = np.arange(np.ceil(anatomy.z_limits[0]), anatomy.z_limits[1], 1.0)
        (drawn,) = contours.draw([anatomy.oesophagus.tumour], planes, (0.0, 0.0, 0.0), 72)
        # The oesophagus runs nearly straight down in the chest, so its length is height to a few per cent.
        assert np.ptp([c[0, 2] for c in drawn]) + 1 == pytest.approx(length, rel=0.06)
        # Lumen and two walls: the diameter of the circle of that area; aorta, airways and spine dent thick tumours.
        area = 4e3 * max(volume_cm3([c], single_slice_thickness_mm=1.0) for c in drawn) / math.pi
        assert math.sqrt(area) == pytest.approx(2 * (wall + parameters.TUMOUR_LUMEN_MM), rel=0.1)
        volume.append(volume_cm3(drawn))
    assert volume[0] < volume[1]
    assert volume[0] < volume[2]
    patient = phantom.make(seed=2, size="coarse", level="middle", tumour_length_mm=40, wall_thickness_mm=14)
    assert patient.record["tumour_level"]["value"] == "middle"
    assert patient.record["tumour_length_cm"]["value"] == 4.0
    assert volume_cm3(patient.structures["GTVp"].contours) == pytest.approx(volume[2], rel=0.06)
    assert patient.scan.series_uid != coarse(2).scan.series_uid


def test_the_record_is_complete_dated_and_agrees_with_the_body() -> None:
    for seed in SEEDS:
        patient = coarse(seed)
        assert set(AGREED_FACTS) <= set(patient.record)
        for fact in patient.record.values():
            assert set(fact) == {"value", "source", "date"}
            assert fact["source"]
            assert (
                dt.date.fromisoformat(fact["date"]) < dt.datetime.strptime(patient.person.study_date, "%Y%m%d").date()
            )
        value = {name: fact["value"] for name, fact in patient.record.items()}
        assert value["sex"] == patient.person.sex
        assert value["kps"] % 10 == 0
        born = dt.datetime.strptime(patient.person.birth_date, "%Y%m%d").date()
        scanned = dt.datetime.strptime(patient.person.study_date, "%Y%m%d").date()
        assert scanned.year - born.year - ((scanned.month, scanned.day) < (born.month, born.day)) == value["age_years"]
        low, high = parameters.LEVELS_CM[value["tumour_level"]]
        assert low <= value["tumour_centre_from_incisors_cm"] <= high
        assert 17 < value["weight_kg"] / (value["height_cm"] / 100) ** 2 < 32
        assert value["neutrophils_e9_per_l"] < value["white_cells_e9_per_l"]
        assert {name: fact.value for name, fact in patient.facts.items()} == value
        assert json.loads(json.dumps({"record": patient.record, "truth": patient.truth}))


def test_the_patient_is_a_case_without_treatment() -> None:
    case = coarse(0).case
    assert case.pseudonym == "VP-OES-0000"
    assert case.ct is coarse(0).scan
    assert (case.courses, case.plans, case.doses) == ((), (), ())
    assert case.structures.series_uid == case.ct.series_uid


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "knee"}, "oesophagus"),
        ({"size": "huge"}, "coarse"),
        ({"seed": -1}, "0 or above"),
        ({"level": "abdominal"}, "middle"),
        ({"tumour_length_mm": 300.0}, "100 mm"),
        ({"wall_thickness_mm": 1.0}, "5"),
    ],
)
def test_a_patient_that_cannot_be_made_is_refused_with_what_can(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        phantom.make(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_full_size_shows_the_same_body_on_a_finer_grid() -> None:
    full, small = phantom.make(seed=1), coarse(1)
    assert full.scan.image.grid.shape[1:] == (512, 512)
    assert full.scan.image.grid.spacing_mm == (3.0, 1.0, 1.0)
    assert 140 <= full.scan.image.grid.shape[0] <= 170
    assert full.anatomy.build == small.anatomy.build
    for name in ("Heart", "Lungs", "Liver", "GTVp", "SpinalCanal", "Esophagus"):
        fine, rough = (volume_cm3(p.structures[name].contours) for p in (full, small))
        true = full.truth["volumes_cm3"][name]
        assert fine == pytest.approx(true, rel=0.015), name
        assert abs(fine - true) <= abs(rough - true) + 0.01 * true
