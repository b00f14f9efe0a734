"""Landmarks are read where their rule says, a point that was drawn wins, and what is not there is asked for by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_shapes import FRAME, PLANES, circle, cylinder, drawn

from tailort.errors import GeometryError, InputError, UndecidedError
from tailort.patient import Point, StructureSet
from tailort.targets.landmarks import LANDMARKS, find, foodway, locate

SPACING = 3.0


def box(x: tuple[float, float], y: tuple[float, float], z: float) -> np.ndarray:
    return np.array([[x[0], y[0], z], [x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z]])


def with_point(case: StructureSet, name: str, z: float) -> StructureSet:
    return replace(case, points=(Point(name, (0.0, 0.0, z), FRAME),))


def height(name: str, case: StructureSet) -> float:
    return locate(name, case, PLANES).z_mm


@given(z=st.floats(-59, 59), name=st.sampled_from(sorted(LANDMARKS)))
@settings(max_examples=40, deadline=None)
def test_a_point_of_the_landmarks_name_is_the_landmark(z: float, name: str) -> None:
    for called in (LANDMARKS[name].point, name, LANDMARKS[name].point.lower()):
        assert height(name, with_point(drawn(Heart=cylinder(5, -9, 9)), called, z)) == z


def test_a_point_wins_over_structures() -> None:
    case = drawn(Carina=cylinder(3, -6, 6))
    assert height("carina", case) == 0.0
    assert height("carina", with_point(case, "Carina", 12.0)) == 12.0


@given(low=st.integers(-15, 0), tall=st.integers(1, 15))
@settings(max_examples=25, deadline=None)
def test_an_edge_lies_where_the_solid_of_the_contours_ends(low: int, tall: int) -> None:
    bottom, top = SPACING * low, SPACING * (low + tall)
    case = drawn(
        Lung_L=cylinder(20, bottom, top), A_Aorta=cylinder(9, bottom, top), V_Pulmonary=cylinder(4, bottom, top)
    )
    assert height("lung-apex-left", case) == pytest.approx(top + SPACING / 2)
    assert height("aortic-arch-top", case) == pytest.approx(top + SPACING / 2)
    assert height("inferior-pulmonary-vein", case) == pytest.approx(bottom - SPACING / 2)


def test_the_carina_is_where_the_trachea_divides() -> None:
    trachea = cylinder(8, 0, 45)
    forked = tuple(circle(x, 0, float(z), 6) for z in PLANES if -30 <= z < 0 for x in (-9 + z / 3, 9 - z / 3))
    assert height("carina", drawn(Trachea=(*trachea, *forked))) == -1.5


@pytest.mark.parametrize(("speck_mm", "z"), [(1.0, 30.0), (1.0, -27.0), (5.0, 30.0), (5.0, 45.0)])
def test_a_speck_beside_the_trachea_is_no_fork(speck_mm: float, z: float) -> None:
    speck = circle(30, 0, z, speck_mm)
    trachea = cylinder(8, 0, 45)
    forked = tuple(circle(x, 0, float(z), 6) for z in PLANES if -30 <= z < 0 for x in (-9 + z / 3, 9 - z / 3))
    assert height("carina", drawn(Trachea=(*trachea, *forked, speck))) == -1.5


def test_bronchi_that_end_at_different_heights_leave_the_fork_where_it_is() -> None:
    trachea = cylinder(8, 0, 45)
    left = tuple(circle(9 - z / 3, 0, float(z), 6) for z in PLANES if -12 <= z < 0)
    right = tuple(circle(-9 + z / 3, 0, float(z), 6) for z in PLANES if -30 <= z < 0)
    assert height("carina", drawn(Trachea=(*trachea, *left, *right))) == -1.5


def test_without_a_fork_the_carina_lies_between_trachea_and_main_bronchi() -> None:
    bronchi = tuple(circle(x, 0, float(z), 6) for z in PLANES if -30 <= z <= -6 for x in (-9, 9))
    assert height("carina", drawn(Trachea=cylinder(8, 0, 45), Bronchus_Main=bronchi)) == -3.0


def test_a_trachea_that_does_not_divide_shows_no_carina() -> None:
    assert find("carina", drawn(Trachea=cylinder(8, 0, 45)), PLANES) is None


def test_the_upper_margin_of_t1_is_that_of_its_body_not_of_its_processes() -> None:
    canal = cylinder(7, -60, 60, (0, 20))
    body = tuple(box((-15, 15), (-10, 10), float(z)) for z in PLANES if -9 <= z <= 9)
    process = tuple(box((-3, 3), (30, 50), float(z)) for z in PLANES if -30 <= z <= 21)
    case = drawn(SpinalCanal=canal, VB_T01=(*body, *process))
    assert height("t1-upper-margin", case) == 10.5


def test_the_upper_margin_of_t1_is_that_of_its_body_where_the_canal_ends_below_its_arch() -> None:
    canal = cylinder(7, -60, 9, (0, 20))
    body = tuple(box((-15, 15), (-10, 10), float(z)) for z in PLANES if -9 <= z <= 9)
    arch = tuple(box((-25, 25), (28, 50), float(z)) for z in PLANES if -9 <= z <= 21)
    assert height("t1-upper-margin", drawn(SpinalCanal=canal, VB_T01=(*body, *arch))) == 10.5


def test_the_clavicular_head_is_the_middle_of_the_medial_ends() -> None:
    # The bones rise to the side: the ends lie between z = 0 and 6 on the left, -6 and 0 on the right.
    left = tuple(box((10 + 3 * max(0, z - 6), 60), (0, 9), float(z)) for z in PLANES if 0 <= z <= 18)
    right = tuple(box((-60, -10 - 3 * max(0, z)), (0, 9), float(z)) for z in PLANES if -6 <= z <= 12)
    assert height("clavicular-head", drawn(Clavicle_L=left, Clavicle_R=right)) == pytest.approx(0.0)


def test_the_sternal_notch_is_the_upper_edge_in_the_middle_not_at_the_joints() -> None:
    plate = tuple(box((-20, 20), (0, 8), float(z)) for z in PLANES if -30 <= z <= 12)
    joints = tuple(box((s * 20, s * 14), (0, 8), float(z)) for z in PLANES if 15 <= z <= 21 for s in (-1, 1))
    assert height("sternal-notch", drawn(Sternum=(*plate, *joints))) == 13.5


def test_the_brachiocephalic_artery_is_read_only_where_it_crosses_the_trachea() -> None:
    trachea = cylinder(8, -60, 60)
    artery = tuple(circle(-30 + z, -20, float(z), 5) for z in PLANES if -30 <= z <= 30)
    # Its right edge (x + 5) reaches the trachea's left end (-8) from z = 18 on.
    case = drawn(Trachea=trachea, A_Brachiocephls=artery)
    assert height("brachiocephalic-lower-margin", case) == 18 - SPACING / 2


def test_the_coeliac_axis_is_where_the_trunk_leaves_the_aorta() -> None:
    trunk = tuple(circle(0, -16 - 2 * abs(z + 12), float(z), 3) for z in PLANES if -24 <= z <= 0)
    assert height("coeliac-axis", drawn(A_Aorta=cylinder(10, -60, 60), A_Celiac=trunk)) == -12.0


@given(at=st.floats(-20, 20), slope=st.sampled_from([-0.8, -0.4, 0.4, 0.8]))
@settings(max_examples=20, deadline=None)
def test_the_hiatus_is_where_the_middle_of_the_tube_crosses_the_sheet_around_it(at: float, slope: float) -> None:
    # A sheet that rises with y, cut out around a tube of 9 mm that runs through it.
    sheet = []
    for z in PLANES:
        y = (z - at) / slope
        half = np.sqrt(max(81.0 - y * y, 0.0)) + 1
        sheet += [box((side * half, side * 40), (y - 1, y + 1), float(z)) for side in (-1, 1) if abs(y) < 50]
    assert height("hiatus", drawn(Esophagus=cylinder(9, -60, 60), Diaphragm=tuple(sheet))) == pytest.approx(at, abs=0.3)


def test_a_diaphragm_on_one_side_of_the_tube_shows_the_hiatus_where_it_comes_nearest() -> None:
    wall = tuple(box((30 + abs(z + 6), 60), (-20, 20), float(z)) for z in PLANES if -30 <= z <= 21)
    assert height("hiatus", drawn(Esophagus=cylinder(9, -60, 60), Diaphragm=wall)) == -6.0


def test_after_resection_the_gastric_tube_is_the_way_of_food_and_there_is_no_junction() -> None:
    dome = cylinder(50, -45, -15, (60, 0))
    operated = drawn(Esophagus=cylinder(6, 36, 60), Stomach=cylinder(14, -60, 33), Diaphragm=dome)
    whole = drawn(Esophagus=cylinder(6, -30, 60), Stomach=cylinder(30, -60, -33), Diaphragm=dome)
    assert foodway(operated) == ("Esophagus", "Stomach")
    assert find("oesophagogastric-junction", operated, PLANES) is None
    assert foodway(whole) == ("Esophagus",)
    assert height("oesophagogastric-junction", whole) == -31.5


@pytest.mark.parametrize("name", sorted(LANDMARKS))
def test_a_landmark_that_nothing_shows_is_asked_for_by_name(name: str) -> None:
    case = drawn(Heart=cylinder(9, -9, 9))
    assert find(name, case, PLANES) is None
    with pytest.raises(UndecidedError, match=f"'{LANDMARKS[name].point}'") as caught:
        locate(name, case, PLANES)
    assert caught.value.missing == (name,)
    assert caught.value.exit_status == 4


def test_a_landmark_outside_the_ct_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"carina \(point Carina\) lies at z = 90\.0 mm, outside the CT"):
        find("carina", with_point(drawn(Heart=cylinder(9, -9, 9)), "Carina", 90.0), PLANES)


def test_an_unknown_landmark_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="no landmark 'navel'; known are: cricoid-lower-edge"):
        find("navel", drawn(Heart=cylinder(9, -9, 9)), PLANES)
