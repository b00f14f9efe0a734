"""The patient after oesophagectomy: surgery, recurrence, landmarks and stations are where the truth says they are."""

from __future__ import annotations

import datetime as dt
import json
import math
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from body_overlaps import overlaps

from tailort import dicom
from tailort.cli.write import write_patient
from tailort.errors import InputError
from tailort.geometry import Margin, check_contours, contract, expand, volume_cm3
from tailort.patient import Fact, Structure
from tailort.phantom import VirtualPatient, contours, parameters, salvage, truth
from tailort.phantom.anatomy.nodal_levels import NARROWEST_MM, REGION_OF, REGIONS
from tailort.phantom.anatomy.recurrence import Recurrence
from tailort.phantom.salvage import OperatedBody
from tailort.phantom.shapes import Lattice, Shape, field_at
from tailort.protocols import decide, load
from tailort.protocols.known import seen
from tailort.protocols.plans import choose_plan

SEEDS = (0, 5)
NESTED = {
    frozenset(pair)
    for pair in (
        ("Heart", "Pericardium"), ("Esophagus", "Esophagus^Lumen"), ("SpinalCord", "SpinalCanal"),
        ("Pericardium", "A_Aorta"), ("Pericardium", "V_Pulmonary"), ("Carina", "Trachea"), ("Carina", "Bronchus_Main"),
        ("LN_Celiac", "A_Celiac"), ("LN_Sclav_L", "GTVn"), ("LN_Sclav_R", "GTVn"), ("LN_Celiac", "GTVn"),
        ("A_Gastric_L", "GTVn"), ("A_Hepatic", "GTVn"), ("A_Splenic", "GTVn"),
    )
}  # fmt: skip


@cache
def coarse(seed: int) -> VirtualPatient:
    return salvage.make(seed, "coarse")


@cache
def operated(seed: int) -> tuple[OperatedBody, Recurrence, salvage.Salvage]:
    build, wanted = salvage.draw(seed, None, None, None, None, None)
    return (*salvage.operate(build, wanted, shrink=True), wanted)


def facts_of(seed: int) -> dict[str, Fact]:
    body, growth, wanted = operated(seed)
    record = salvage.write_record(body, growth, wanted, dt.date(2026, 3, 2))
    return {n: Fact(n, f["value"], f["source"], dt.date.fromisoformat(f["date"])) for n, f in record.items()}


def gtv(patient: VirtualPatient) -> Structure:
    return patient.structures[patient.truth["recurrence"]["structure"]]


def test_the_same_seed_gives_the_same_patient_and_another_seed_another() -> None:
    again, first = salvage.make(0, "coarse"), coarse(0)
    assert np.array_equal(first.scan.image.values, again.scan.image.values)
    assert first.scan.instance_uids == again.scan.instance_uids
    assert (first.person, first.record) == (again.person, again.record)
    for a, b in combinations((coarse(seed) for seed in SEEDS), 2):
        assert a.scan.image.grid.frame_of_reference != b.scan.image.grid.frame_of_reference
        assert a.anatomy.oesophagus.organ.z_range != b.anatomy.oesophagus.organ.z_range
        assert a.anatomy.node.solid.z_range != b.anatomy.node.solid.z_range
        assert a.record != b.record


@pytest.mark.parametrize("seed", [0, 1, 3, 5])
def test_organs_do_not_lie_in_one_another(seed: int) -> None:
    body, _, _ = operated(seed)
    assert list(overlaps(body, NESTED)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_the_stomach_is_one_tube_in_the_chest_from_the_anastomosis_to_the_abdomen(seed: int) -> None:
    patient = coarse(seed)
    mark, spacing = patient.truth["landmarks_mm"], patient.scan.image.grid.spacing_mm[0]
    remnant, tube = patient.structures["Esophagus"], patient.structures["Stomach"]
    join = mark["anastomosis"][2]
    assert remnant.bounds_mm()[0][2] == pytest.approx(join, abs=spacing)
    assert tube.bounds_mm()[1][2] == pytest.approx(join, abs=spacing)
    assert tube.bounds_mm()[0][2] < mark["diaphragm_hiatus"][2] - 60
    # Every plane in between shows it, and above the hiatus as one ring.
    assert np.diff(tube.slice_positions_mm).max() < 1.5 * spacing
    rings = [c[0, 2] for c in tube.contours if c[0, 2] > mark["diaphragm_hiatus"][2]]
    assert len(rings) == len(set(rings))
    # Collapsed tubes of 3 to 4 cm: 150 to 320 cm3 between neck and pylorus, and never thinner than the oesophagus.
    assert 110 < patient.truth["volumes_cm3"]["Stomach"] < 320
    from_incisors = patient.truth["surgery"]["anastomosis_from_incisors_cm"]
    low, high = {"cervical": (16.0, 20.5), "intrathoracic": (20.5, 26.0)}[patient.truth["surgery"]["anastomosis"]]
    assert low < from_incisors < high


@pytest.mark.parametrize("seed", SEEDS)
def test_volumes_in_contours_are_the_true_ones(seed: int) -> None:
    patient = coarse(seed)
    for name in ("Stomach", "Heart", "Lungs", "Liver", "SpinalCanal", patient.truth["recurrence"]["structure"]):
        structure = patient.structures[name]
        check_contours(structure.contours, name)
        low, high = structure.bounds_mm()
        ends = 0.5 * patient.scan.image.grid.spacing_mm[0] / (high[2] - low[2])
        assert volume_cm3(structure.contours) == pytest.approx(
            patient.truth["volumes_cm3"][name], rel=0.02 + 1.5 * ends
        ), name


@pytest.mark.parametrize(
    ("kind", "region", "anastomosis", "diameter", "distance"),
    [
        ("node", "II", "cervical", 20.0, 65.0),
        ("node", "III", "intrathoracic", 24.0, 60.0),
        ("node", "I", "intrathoracic", 15.0, 75.0),
        ("node", "IV", "cervical", 30.0, 270.0),
        ("bed", "II", "cervical", 30.0, 60.0),
        ("bed", "III", "intrathoracic", 44.0, 80.0),
    ],
)
def test_the_recurrence_asked_for_is_the_recurrence_drawn(
    kind: str, region: str, anastomosis: str, diameter: float, distance: float
) -> None:
    build, wanted = salvage.draw(2, anastomosis, kind, region, diameter, distance)  # type: ignore[arg-type]
    body, growth = salvage.operate(build, wanted, shrink=False)
    # Drawn on planes of 1 mm and measured on the contours alone.
    planes = np.arange(np.ceil(body.z_limits[0]), body.z_limits[1], 1.0)
    (lines,) = contours.draw([growth.solid], planes, (0.0, 0.0, 0.0), 72)
    points = np.concatenate(lines)
    assert np.ptp(points[:, 2]) + 1.0 == pytest.approx(diameter, abs=1.6)
    width = max(np.ptp(c[:, axis]) for c in lines for axis in (0, 1))
    assert width < diameter
    middle = np.array([*growth.whole.centre[:2], 0.5 * (points[:, 2].min() + points[:, 2].max())])
    assert math.dist(middle, body.oesophagus.anastomosis) == pytest.approx(distance, abs=1.0)
    # More than half of the ellipsoid is left by its neighbours.
    whole = 4e-3 / 3 * math.pi * math.prod(growth.whole.radii)
    assert 0.45 * whole < volume_cm3(lines, single_slice_thickness_mm=1.0) < 1.02 * whole
    assert (growth.kind, growth.region, wanted.anastomosis) == (kind, region, anastomosis)
    assert ("GTVn" in body.organs, "GTVp" in body.organs) == (kind == "node", kind == "bed")


def test_a_recurrence_in_the_gastric_tube_takes_its_whole_cross_section_over_its_length() -> None:
    build, wanted = salvage.draw(0, "intrathoracic", "tube", "III", 120.0, 117.0)
    body, growth = salvage.operate(build, wanted, shrink=False)
    x, y, z = growth.whole.centre
    assert math.dist((x, y, z), body.oesophagus.anastomosis) == pytest.approx(117.0, abs=3.0)
    assert growth.diameter_mm == 120.0
    tube, solid = body.oesophagus.conduit, growth.solid
    across = np.arange(x - 60, x + 60, 1.0)[None, :], np.arange(y - 60, y + 60, 1.0)[:, None]
    for height in (z - 59.0, z - 30.0, z, z + 30.0, z + 59.0):
        at = Lattice(*across, float(height))
        inside, grown = at.field(tube) < 0, at.field(solid) < 0
        assert inside.sum() > 300
        assert (inside & ~grown).sum() <= 0.02 * inside.sum()
        assert inside.sum() < grown.sum() < 3 * inside.sum()
        assert not (grown & (at.field(body.arteries.aorta) < 0)).any()
    assert np.allclose(solid.z_range, (z - 60.0, z + 60.0))
    record = salvage.write_record(body, growth, wanted, dt.date(2026, 3, 2))
    assert record["gtv_to_stomach_cm"]["value"] == 0.0
    assert record["largest_lesion_cm"]["value"] == 12.0
    assert "GTVp" in body.organs


def test_a_recurrence_longer_than_the_tube_is_refused_with_where_it_fits() -> None:
    build, wanted = salvage.draw(0, "intrathoracic", "tube", "II", 140.0, None)
    with pytest.raises(InputError, match="in the gastric tube has no room in region II anywhere"):
        salvage.operate(build, wanted, shrink=False)


@pytest.mark.parametrize("seed", range(8))
def test_the_recurrence_lies_in_its_region_between_the_borders(seed: int) -> None:
    """Rules MS-24 and MS-25: the neck to the sternal notch, to the carina, to the hiatus, below it."""
    body, growth, _ = operated(seed)
    z = growth.whole.centre[2]
    notch, carina = parameters.STERNAL_NOTCH_Z * body.sz, body.airways.carina[2]
    hiatus = body.hiatus[2]
    apex = max(body.levels.borders["lung_apex_left"], body.levels.borders["lung_apex_right"])
    bottom, top = {
        "I": (notch - 8, 1e3), "II": (carina, apex), "III": (hiatus, carina), "IV": (-1e3, hiatus)
    }[growth.region]  # fmt: skip
    assert bottom - 3.0 <= z <= top + 3.0
    if growth.kind == "node":
        assert REGION_OF[growth.station] == growth.region
    else:
        assert growth.station.startswith("8")


def test_every_region_and_both_kinds_and_joins_are_drawn_over_seeds() -> None:
    drawn = [salvage.draw(seed, None, None, None, None, None)[1] for seed in range(60)]
    assert {d.region for d in drawn} == set(REGIONS)
    assert {d.kind for d in drawn} == {"node", "bed"}
    assert {d.anastomosis for d in drawn} == {"cervical", "intrathoracic"}
    assert min(d.diameter_mm for d in drawn) < 25
    assert max(d.diameter_mm for d in drawn) > 50


def test_lungs_make_room_for_the_recurrence() -> None:
    body, growth, _ = operated(7)
    x, y, z = growth.whole.centre
    at = Lattice(np.arange(x - 35, x + 35, 1.0)[None, :], np.arange(y - 35, y + 35, 1.0)[:, None], z)
    assert (at.field(growth.solid) < 0).sum() > 400
    assert not ((at.field(growth.solid) < 0) & (at.field(body.lungs.both) < 0)).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_landmarks_follow_each_other_from_head_to_foot(seed: int) -> None:
    patient = coarse(seed)
    mark, bodies = patient.truth["landmarks_mm"], patient.truth["vertebral_bodies_mm"]
    order = (
        "upper_margin_t1", "clavicular_head", "sternal_notch", "aortic_arch_top", "carina", "diaphragm_dome_right",
        "diaphragm_hiatus", "coeliac_axis",
    )  # fmt: skip
    assert all(upper > lower for upper, lower in pairwise(mark[name][2] for name in order))
    assert mark["upper_margin_t1"][2] == bodies["VB_T01"]["top"]
    assert bodies["VB_T03"]["bottom"] < mark["sternal_notch"][2] < bodies["VB_T02"]["top"]
    assert bodies["VB_T05"]["bottom"] < mark["carina"][2] < bodies["VB_T04"]["top"]
    assert bodies["VB_L1"]["top"] - 15 < mark["coeliac_axis"][2] < bodies["VB_T12"]["top"]
    # Points lie in, or at the edge of, what they are named after.
    assert mark["clavicular_head_right"][0] < mark["carina"][0] < mark["clavicular_head_left"][0]
    for side in ("L", "R"):
        low, high = patient.structures[f"Clavicle_{side}"].bounds_mm()
        point = mark[f"clavicular_head_{'left' if side == 'L' else 'right'}"]
        assert all(low - 1.0 < point)
        assert all(point < high + 1.0)
    shift = np.array(patient.anatomy.build.offset_mm)
    assert field_at(patient.anatomy.arteries.aorta, np.array(mark["coeliac_axis"]) - shift) < 0
    assert field_at(patient.anatomy.airways.trachea, np.array(mark["carina"]) - shift) < 0


@pytest.mark.parametrize("seed", SEEDS)
def test_stations_lie_between_their_borders_and_in_no_organ_or_each_other(seed: int) -> None:
    patient = coarse(seed)
    told, borders = patient.truth["stations"], patient.truth["station_borders_mm"]
    assert set(told) == set(REGION_OF) - {"LN_Sclav_L", "LN_Sclav_R"}
    for name, station in told.items():
        assert station["region"] == REGION_OF[name]
        assert station["volume_cm3"] > 0.02, name
        lines = [np.array(line) for line in station["contours_mm"]]
        if name[0] in "1248" and "upper_border" in station and name != "15":
            z = [line[0, 2] for line in lines]
            step = patient.scan.image.grid.spacing_mm[0]
            assert max(z) <= borders[station["upper_border"]] + 1e-6, name
            assert min(z) >= borders[station["lower_border"]] - 1e-6, name
            # A station that reaches its borders is drawn on the last planes before them.
            assert max(z) > borders[station["upper_border"]] - 2.6 * step, name
    body = patient.anatomy
    assert isinstance(body, OperatedBody)
    organs: dict[str, Shape] = {n: body.organs[n][1][0] for n in ("Stomach", "Heart", "A_Aorta", "Trachea", "V_Azygos")}
    x, y = np.arange(-60, 61, 1.5)[None, :], np.arange(-90, 76, 1.5)[:, None]
    for z in np.arange(-230.0, 100.0, 13.0):
        at = Lattice(x, y, float(z))
        inside = {
            name: at.field(solid) < -0.3
            for name, solid in (body.levels.solids | organs).items()
            if solid.z_range[0] <= z <= solid.z_range[1]
        }
        for a, b in combinations(inside, 2):
            numbered = {name for name in (a, b) if name in body.levels.solids}
            if not numbered or (len(numbered) == 2 and {"9L", "9R"} & numbered):
                continue
            if numbered <= {"15", "16", "17", "18", "19", "8Lo"} and len(numbered) == 2:
                continue
            assert not (inside[a] & inside[b]).any(), (a, b, z)


@pytest.mark.parametrize("seed", range(6))
def test_the_hiatus_is_where_the_tube_meets_the_diaphragm(seed: int) -> None:
    body, _, _ = operated(seed)
    x, y, z = body.hiatus
    assert field_at(body.dome, body.hiatus) == pytest.approx(0.0, abs=0.3)
    for step, side in ((4.0, 1), (-4.0, -1)):
        at = np.array([np.interp(-(z + step), -body.oesophagus.line[:, 2], body.oesophagus.line[:, n]) for n in (0, 1)])
        assert side * field_at(body.dome, (*at, z + step)) > 0
    assert np.hypot(*(np.array(body.levels.junction[:2]) - (x, y))) < 25


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_pulmonary_ligaments_lie_on_the_lungs_beside_the_mediastinum_and_above_the_diaphragm(seed: int) -> None:
    patient = coarse(seed)
    body, told = patient.anatomy, patient.truth["stations"]
    for name, lung in (("9L", body.lungs.sides[0]), ("9R", body.lungs.sides[1])):
        lines = [np.array(line) - np.array(body.build.offset_mm) for line in told[name]["contours_mm"]]
        assert len({line[0, 2] for line in lines}) > 4
        for line in lines:
            fields = np.array([field_at(lung, point) for point in line])
            assert fields.min() < 0.0 < fields.max(), (name, line[0, 2])
            assert min(field_at(body.dome, point) for point in line) > -1.0, (name, line[0, 2])


def test_stations_have_no_seams() -> None:
    """Nothing of the contours of station 8M is lost when they are shrunk and grown again by less than half a seam."""
    patient = coarse(0)
    lines = [np.array(line) for line in patient.truth["stations"]["8M"]["contours_mm"]]
    planes = np.unique([line[0, 2] for line in lines])
    room = 0.8 * NARROWEST_MM / 2
    inner = contract(lines, Margin.radial(room, 0.0), planes)
    again = expand(inner, Margin.radial(room, 0.0), planes)
    assert volume_cm3(again) > 0.97 * volume_cm3(lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_left_stations_lie_left_of_the_right_ones(seed: int) -> None:
    stations = coarse(seed).truth["stations"]
    for number in ("1", "2", "4", "9"):
        left, right = (
            np.concatenate([np.array(line) for line in stations[f"{number}{side}"]["contours_mm"]]) for side in "LR"
        )
        assert right[:, 0].mean() + 8 < left[:, 0].mean()


@pytest.mark.parametrize("seed", range(12))
def test_the_record_is_that_of_a_patient_whom_the_trial_takes(seed: int) -> None:
    facts = facts_of(seed)
    value = {name: fact.value for name, fact in facts.items()}
    assert 16 <= value["age_years"] <= 70
    assert value["kps"] >= 70
    assert value["white_cells_10e9_per_l"] > 4.0
    assert value["creatinine_clearance_ml_per_min"] >= 60
    assert dt.timedelta(days=90) < value["recurrence_date"] - value["surgery_date"] < dt.timedelta(days=900)
    assert sum(value[f"region_{name.lower()}_involved"] for name in REGIONS) == 1
    assert decide(load("salvage-crt"), facts).answer == "yes"
    body, growth, _ = operated(seed)
    assert value["largest_lesion_cm"] == pytest.approx(growth.diameter_mm / 10, abs=0.051)
    assert value["gtv_to_stomach_cm"] == pytest.approx(nearest_mm(body, growth) / 10, abs=0.16)


def nearest_mm(body: OperatedBody, growth: Recurrence) -> float:
    """Shortest way from a lattice of the growth to a lattice of the gastric tube, both of 1.5 mm."""
    from scipy.spatial import cKDTree

    found = []
    for solid in (growth.solid, body.oesophagus.conduit):
        low, high = max(solid.z_range[0], body.z_limits[0]), min(solid.z_range[1], body.z_limits[1])
        points = []
        for z in np.arange(low, high, 1.5):
            window = solid.window(float(z))
            if window is None:
                continue
            x, y = np.arange(window[0], window[1], 1.5), np.arange(window[2], window[3], 1.5)
            rows, columns = np.nonzero(Lattice(x[None, :], y[:, None], float(z)).field(solid) < 0)
            points.append(np.column_stack([x[columns], y[rows], np.full(len(rows), z)]))
        found.append(np.concatenate(points))
    return float(np.min(cKDTree(found[1]).query(found[0])[0]))


def test_each_plan_of_the_trial_has_its_patient() -> None:
    """Seeds 2, 3, 0 and 1 of the first dozen."""
    protocol = load("salvage-crt")
    plans = {choose_plan(protocol, seen(protocol.file, facts_of(seed))).plan for seed in (2, 3, 0, 1)}
    assert plans == {"A", "B", "C", "D"}


def test_the_patient_comes_back_from_dicom(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "case"
    patient = coarse(0)
    write_patient(patient, folder, lambda stage, share: None)
    case = dicom.read_case(folder)
    assert np.array_equal(case.ct.image.values, patient.scan.image.values)
    assert set(case.structures.names) == set(patient.structures.names)
    back = case.structures[gtv(patient).name]
    assert volume_cm3(back.contours) == pytest.approx(volume_cm3(gtv(patient).contours), rel=1e-3)
    assert back.role == "GTV"
    told = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert told["parameters"]["region"] == patient.truth["recurrence"]["region"]
    assert told["landmarks_mm"] == patient.truth["landmarks_mm"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"region": "V"}, "known are I, II, III, IV"),
        ({"kind": "liver"}, "node"),
        ({"anastomosis": "abdominal"}, "cervical"),
        ({"kind": "bed", "region": "IV"}, "region II or III"),
        ({"diameter_mm": 200.0}, "8 to 80"),
        ({"from_anastomosis_mm": -4.0}, "above 0"),
        ({"region": "III", "kind": "node", "anastomosis": "cervical", "from_anastomosis_mm": 10.0}, "mm from the"),
        ({"size": "huge"}, "coarse"),
        ({"seed": -1}, "0 or above"),
    ],
)
def test_a_patient_that_cannot_be_made_is_refused_with_what_can(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        salvage.make(**({"seed": 2, "size": "coarse"} | wrong))  # type: ignore[arg-type]


def test_the_volume_of_a_small_node_that_touches_nothing_is_that_of_an_ellipsoid() -> None:
    build, wanted = salvage.draw(2, "cervical", "node", "II", 10.0, None)
    body, growth = salvage.operate(build, wanted, shrink=False)
    a, b, c = growth.whole.radii
    assert truth.volume_cm3(growth.solid, *body.z_limits) == pytest.approx(4e-3 / 3 * math.pi * a * b * c, rel=0.02)
