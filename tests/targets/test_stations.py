"""Nodal stations: taken as drawn, else constructed by their definition and marked so, else asked for; never guessed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from target_shapes import FRAME, PLANES, circle, cylinder, drawn

from tailort.errors import GeometryError, InputError, UndecidedError
from tailort.geometry import Margin, intersect, unite, volume_cm3
from tailort.patient import Point, Structure, StructureSet
from tailort.targets import STATIONS, Expand, Step, TakeStations, derive, require_inputs, stations_named
from tailort.targets.stations import AIRWAY_WALL_MM, TO_REVIEW, StationAtlas

SPACING, REACH, TRACHEA_MM = 3.0, 10.0, 8.0
MARKS = {
    "Cricoid_Inf": 55.0, "Lung_L_Apex": 40.0, "Lung_R_Apex": 37.0, "A_Aorta_Arch": 20.0, "A_Brachio_Inf": 22.0,
    "V_Azygos_Sup": 8.0, "Carina": 0.0, "V_Pulm_Inf": -30.0, "Hiatus": -55.0,
}  # fmt: skip


def forked() -> tuple[np.ndarray, ...]:
    return tuple(circle(s * (9 - z / 2), 0, float(z), 5) for z in PLANES if -45 <= z < 0 for s in (-1, 1))


def chest(**more: tuple[np.ndarray, ...]) -> StructureSet:
    """Trachea before an oesophagus, all in straight tubes; landmarks are points."""
    case = drawn(
        Trachea=cylinder(TRACHEA_MM, 0, 57), Bronchus_Main=forked(), Esophagus=cylinder(7, -60, 60, (0, 24)),
        Glnd_Thyroid=cylinder(3, 54, 60, (0, -25)), **more,
    )  # fmt: skip
    return replace(case, points=tuple(Point(name, (0.0, 0.0, z), FRAME) for name, z in MARKS.items()))


def without(case: StructureSet, *names: str) -> StructureSet:
    return replace(
        case,
        structures=tuple(s for s in case if s.name not in names),
        points=tuple(p for p in case.points if p.name not in names),
    )


def atlas(case: StructureSet, reach_mm: float = REACH) -> StationAtlas:
    return StationAtlas(case, PLANES, reach_mm)


@cache
def standard(station: str) -> Structure:
    """Made once for all tests."""
    return atlas(chest()).construct(station)


def veins() -> tuple[np.ndarray, ...]:
    """Upper and inferior pulmonary veins of both sides, the lower ones at x = 24."""
    return tuple(circle(side * 24, 0, float(z), 4) for z in PLANES if -27 <= z <= -9 for side in (-1, 1))


def flat_lung(side: int, low: float) -> tuple[np.ndarray, ...]:
    """A lung whose medial surface is the plane x = 20."""
    corners = np.array([(20, -80), (90, -80), (90, 80), (20, 80)]) * (side, 1)
    return tuple(np.column_stack([corners, np.full(4, z)]) for z in PLANES if low <= z <= 39)


def extent(structure: Structure) -> tuple[float, float]:
    z = structure.slice_positions_mm
    return float(z[0]), float(z[-1])


def overlap_cm3(a: Structure, b: Structure) -> float:
    both = intersect(a.contours, b.contours, PLANES, "half_slice", SPACING)
    return volume_cm3(both, "half_slice", SPACING) if both else 0.0


# --- names


@pytest.mark.parametrize(
    ("name", "parts"),
    [("4R", ("4R",)), ("4", ("4L", "4R")), ("8M/L", ("8M", "8Lo")), ("20", ("20",)),
     ("supraclavicular", ("supraclavicular_L", "supraclavicular_R"))],
)  # fmt: skip
def test_a_name_means_its_parts(name: str, parts: tuple[str, ...]) -> None:
    assert stations_named(name) == parts


@pytest.mark.parametrize(
    ("name", "says"),
    [("8", "not clear: expected 8U, 8M or 8Lo"), ("8L", "not clear.*or the left side"), ("5", "of the lung .IASLC."),
     ("3", "Japanese"), ("10", "IASLC"), ("11R", "IASLC"), ("106", "Japanese"), ("14", "IASLC"), ("VIII", "no station"),
     ("20R", "no station"), ("7L", "no station"), ("", "no station"), ("LN_7", "no station")],
)  # fmt: skip
def test_names_that_are_not_clear_or_of_another_system_are_refused(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        stations_named(name)
    with pytest.raises(InputError, match=says):
        TakeStations((name,), 8.0)


@pytest.mark.parametrize("reach", [0.0, -1.0, float("nan")])
def test_a_reach_that_is_no_length_is_refused(reach: float) -> None:
    with pytest.raises(InputError, match="reach above 0"):
        TakeStations(("7",), reach)
    with pytest.raises(InputError, match="depth of station 7 must be above 0"):
        TakeStations(("7",), 8.0, reach)


# --- what is drawn is taken


def test_a_station_that_is_drawn_is_taken_as_drawn() -> None:
    case = chest(LN_4=cylinder(4, 0, 15, (15, 0)))
    (taken,) = atlas(case).take("4")
    assert taken is case["LN_4"]


def test_sides_that_are_drawn_make_the_whole() -> None:
    case = chest(LN_4L=cylinder(4, 0, 15, (15, 0)), LN_4R=cylinder(4, 9, 21, (-15, 0)))
    assert atlas(case).take("4") == (case["LN_4L"], case["LN_4R"])


def test_one_side_that_is_drawn_is_taken_and_the_other_constructed() -> None:
    case = chest(LN_4L=cylinder(4, 0, 15, (15, 0)))
    left, right = atlas(case).take("4")
    assert left is case["LN_4L"]
    assert right.name == "LN_4R"
    assert right.made_by[0].startswith(TO_REVIEW)


def test_the_coeliac_nodes_are_station_20() -> None:
    case = chest(LN_Celiac=cylinder(9, -60, -48))
    assert atlas(case).take("20") == (case["LN_Celiac"],)


def test_a_pulmonary_ligament_that_is_drawn_counts_for_its_side_only() -> None:
    case = chest(
        LN_9R=cylinder(5, -50, -33, (-30, 10)), V_Pulmonary=veins(), Lung_L=flat_lung(1, -45), Lung_R=flat_lung(-1, -45)
    )
    left, right = atlas(without(case, "V_Pulm_Inf")).take("9")
    assert right is case["LN_9R"]
    assert left.made_by[0].startswith(f"{TO_REVIEW}: station 9L")


# --- what is constructed


@pytest.mark.parametrize(
    ("station", "low", "high"),
    [("1L", 42, 54), ("1R", 39, 54), ("2L", 21, 39), ("2R", 24, 36), ("4L", 0, 18), ("4R", 9, 21), ("7", -45, -3),
     ("8U", 0, 39), ("8M", -30, -3), ("8Lo", -54, -33)],
)  # fmt: skip
def test_a_station_lies_in_the_planes_between_its_borders(station: str, low: float, high: float) -> None:
    assert extent(standard(station)) == (low, high)


def test_a_paratracheal_station_is_its_half_of_the_ring_before_the_hind_wall() -> None:
    for station, side in (("2L", 1), ("2R", -1)):
        made = standard(station)
        points = np.concatenate(made.contours)
        assert (side * points[:, 0]).min() >= -0.1
        assert points[:, 1].max() <= TRACHEA_MM + 0.1
        assert np.hypot(points[:, 0], points[:, 1]).max() <= TRACHEA_MM + AIRWAY_WALL_MM + REACH + 0.1
        # Quarter of the ring before the middle, and the strip beside the trachea back to its hind wall.
        inner, outer = TRACHEA_MM + AIRWAY_WALL_MM, TRACHEA_MM + AIRWAY_WALL_MM + REACH

        def beside(r: float) -> float:
            """Area of a half disc of radius r before the line y = TRACHEA_MM."""
            return 0.25 * np.pi * r**2 + 0.5 * (
                TRACHEA_MM * np.sqrt(r**2 - TRACHEA_MM**2) + r**2 * np.arcsin(TRACHEA_MM / r)
            )

        planes = len(made.slice_positions_mm)
        assert volume_cm3(made.contours, "half_slice", SPACING) == pytest.approx(
            (beside(outer) - beside(inner)) * planes * SPACING / 1000, rel=0.03
        )


def test_a_para_oesophageal_station_is_the_ring_around_the_oesophagus() -> None:
    made = standard("8Lo")
    ring = np.pi * ((7 + REACH) ** 2 - 7**2) * len(made.slice_positions_mm) * SPACING / 1000
    assert volume_cm3(made.contours, "half_slice", SPACING) == pytest.approx(ring, rel=0.02)


def test_the_subcarinal_station_lies_between_the_bronchi() -> None:
    made = standard("7")
    for contour in made.contours:
        z = contour[0, 2]
        if z < -9:  # the bronchi have parted by more than the trachea's width
            assert np.abs(contour[:, 0]).max() <= 9 - z / 2 - 4
        assert np.abs(contour[:, 1]).max() <= 5 + AIRWAY_WALL_MM + 0.1


def test_the_subcarinal_station_goes_to_the_end_of_the_main_bronchi_or_as_deep_as_the_protocol_says() -> None:
    whole, short = standard("7"), StationAtlas(chest(), PLANES, REACH, subcarinal_mm=30.0).construct("7")
    assert extent(whole) == (-45, -3)
    assert extent(short) == (-30, -3)
    assert "from the end of Bronchus_Main at z = -46.5 mm up to carina" in whole.made_by[1]
    assert "from 30 mm below the carina up to carina" in short.made_by[1]


def abdomen(**more: tuple[np.ndarray, ...]) -> StructureSet:
    """A gastric tube through the hiatus at -9, in front of the aorta; the trunk leaves that at -48."""
    trunk = tuple(circle(0, -14 - 2 * (-z - 42), float(z), 3) for z in PLANES if -54 <= z <= -42)
    case = drawn(
        Esophagus=cylinder(7, 48, 60, (0, -30)), Stomach=cylinder(12, -60, 45, (0, -30)),
        Diaphragm=cylinder(2, -60, -9, (60, 0)), A_Aorta=cylinder(10, -60, 21), A_Celiac=trunk, **more,
    )  # fmt: skip
    return replace(case, points=(Point("Hiatus", (0.0, 0.0, -9.0), FRAME), Point("Celiac_Axis", (0, 0, -48.0), FRAME)))


def test_the_paracardial_station_lies_around_the_tube_from_1_cm_above_to_2_cm_below_where_the_junction_was() -> None:
    made = atlas(abdomen()).construct("16")
    # 2 cm below the hiatus: from -9 - 20 - 20 = -49 to -19, planes every 3 mm.
    assert extent(made) == (-48, -21)
    points = np.concatenate(made.contours)
    assert np.hypot(points[:, 0], points[:, 1] + 30).max() == pytest.approx(12 + REACH, abs=0.2)
    assert "the junction, taken 20 mm below hiatus at z = -9.0 mm" in made.made_by[1]


def test_below_an_oesophagus_that_was_not_resected_the_paracardial_station_lies_around_its_end() -> None:
    case = drawn(
        Esophagus=cylinder(7, -30, 60, (0, -30)), Stomach=cylinder(20, -60, -33, (30, -30)),
        Diaphragm=cylinder(2, -60, -9, (60, 0)),
    )  # fmt: skip
    case = replace(case, points=(Point("Hiatus", (0.0, 0.0, -9.0), FRAME),))
    made = atlas(case).construct("16")
    low, high = extent(made)
    # The junction is the lower edge of Esophagus at -31.5.
    assert high <= -31.5 + 10 < high + SPACING
    assert -31.5 - 20 - SPACING < low < -31.5 - 9
    assert overlap_cm3(made, case["Stomach"]) < 0.01


def test_the_diaphragmatic_station_lies_around_the_aorta_to_the_trunk_and_around_the_tube_above_the_cardia() -> None:
    case = abdomen()
    made, cardia, trunk = (atlas(case).construct(name) for name in ("15", "16", "20"))
    assert extent(made) == (-48, -12)
    for other in (cardia, trunk):
        assert overlap_cm3(made, other) < 0.02
    at = {z: np.concatenate([c for c in made.contours if c[0, 2] == z]) for z in (-12.0, -30.0)}
    assert at[-12.0][:, 1].min() == pytest.approx(-30 - 12 - REACH, abs=0.2)
    assert at[-30.0][:, 1].max() == pytest.approx(10 + REACH, abs=0.2)


@pytest.mark.parametrize(("station", "side"), [("9L", 1), ("9R", -1)])
def test_the_ligament_comes_down_the_medial_surface_of_its_lung_as_far_as_the_lung_goes(
    station: str, side: int
) -> None:
    case = chest(V_Pulmonary=veins(), Lung_L=flat_lung(1, -45), Lung_R=flat_lung(-1, -45))
    made = atlas(without(case, "V_Pulm_Inf", "Bronchus_Main")).construct(station)
    assert extent(made) == (-45, -30)
    for contour in made.contours:
        # From the vein at y = 0 to the wall of the oesophagus at y = 24; the lung keeps it at x = 20.
        y = 24 * (-28.5 - contour[0, 2]) / (-28.5 + 55)
        assert np.hypot(contour[:, 0] - side * 20, contour[:, 1] - y) == pytest.approx(REACH, abs=0.8)


@pytest.mark.parametrize("off_mm", [0.004, -0.004])
def test_contours_that_lie_beside_their_plane_by_less_than_a_hundredth_of_a_mm_count(off_mm: float) -> None:
    case = without(chest(V_Pulmonary=veins(), Lung_R=flat_lung(-1, -45)), "V_Pulm_Inf")
    beside = replace(case, structures=tuple(
        replace(s, contours=tuple(c + np.array([0.0, 0.0, off_mm]) for c in s.contours)) for s in case
    ))  # fmt: skip
    for station in ("4L", "7", "9R"):
        there, here = (atlas(one).construct(station) for one in (case, beside))
        assert extent(there) == pytest.approx(extent(here), abs=0.01)
        volumes = [volume_cm3(s.contours, "half_slice", SPACING) for s in (there, here)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.01)


def test_the_coeliac_station_is_a_margin_around_the_first_part_of_the_trunk() -> None:
    trunk = tuple(circle(0, -14 - 2 * (-z - 30), float(z), 3) for z in PLANES if -48 <= z <= -30)
    case = chest(A_Aorta=cylinder(10, -60, 21), A_Celiac=trunk)
    made = atlas(case).construct("20")
    points = np.concatenate(made.contours)
    # 15 mm of trunk from the wall at y = -10, and the margin.
    assert points[:, 1].min() == pytest.approx(-10 - 15 - REACH, abs=3)
    assert overlap_cm3(made, case["A_Aorta"]) < 0.02


@pytest.mark.parametrize(("station", "artery"), [("17", "A_Gastric_L"), ("18", "A_Hepatic"), ("19", "A_Splenic")])
def test_an_arterial_station_is_a_margin_around_its_artery(station: str, artery: str) -> None:
    case = chest(**{artery: cylinder(3, -45, -30, (60, -40))})
    made = atlas(case).construct(station)
    points = np.concatenate(made.contours)
    assert np.hypot(points[:, 0] - 60, points[:, 1] + 40).max() == pytest.approx(3 + REACH, abs=0.2)
    assert extent(made) == (-54, -21)


def test_constructed_stations_of_a_level_do_not_overlap() -> None:
    made = [standard(name) for name in ("2L", "2R", "4L", "4R", "7", "8U", "8M", "8Lo")]
    for n, a in enumerate(made):
        for b in made[n + 1 :]:
            assert overlap_cm3(a, b) < 0.01 * volume_cm3(a.contours, "half_slice", SPACING) + 0.01


def test_a_station_keeps_out_of_organs_that_are_drawn() -> None:
    vein = cylinder(6, 21, 39, (-15, -9))
    case = chest(V_VenaCava_S=vein)
    free, made = standard("2R"), atlas(case).construct("2R")
    assert overlap_cm3(free, case["V_VenaCava_S"]) > 0.5
    assert overlap_cm3(made, case["V_VenaCava_S"]) < 0.01
    assert "V_VenaCava_S" in made.made_by[-2]


def test_a_wider_reach_contains_a_narrower_one() -> None:
    for name in ("2L", "8Lo"):
        narrow, wide = (atlas(chest(), reach).construct(name) for reach in (6.0, 9.0))
        assert overlap_cm3(narrow, wide) == pytest.approx(volume_cm3(narrow.contours, "half_slice", SPACING), rel=0.01)


def test_what_is_constructed_says_so_with_its_definition_and_borders() -> None:
    made = standard("4L")
    assert (
        made.made_by[0] == "constructed, to be reviewed: station 4L (left lower paratracheal) by its definition [NM-85]"
    )
    assert made.made_by[1] == (
        "from carina at z = 0.0 mm (point Carina) up to aortic-arch-top at z = 20.0 mm (point A_Aorta_Arch)"
    )


# --- what is missing


@pytest.mark.parametrize(
    ("station", "gone", "draw"),
    [("4R", ("V_Azygos_Sup",), ("LN_4R", "azygos-upper-border")), ("2L", ("Trachea",), ("LN_2L", "Trachea")),
     ("1R", ("Glnd_Thyroid", "Cricoid_Inf", "Trachea"), ("LN_1R", "Trachea", "Glnd_Thyroid", "cricoid-lower-edge")),
     ("8Lo", ("Hiatus",), ("LN_8Lo", "hiatus")), ("20", (), ("LN_Celiac", "A_Celiac", "A_Aorta")),
     ("18", (), ("LN_18", "A_Hepatic")), ("15", (), ("LN_15", "A_Aorta", "coeliac-axis")),
     ("16", ("Hiatus",), ("LN_16", "hiatus")), ("9R", (), ("LN_9R", "V_Pulmonary", "Lung_R")),
     ("supraclavicular_L", (), ("LN_Sclav_L",))],
)  # fmt: skip
def test_a_station_that_cannot_be_made_says_what_to_draw(
    station: str, gone: tuple[str, ...], draw: tuple[str, ...]
) -> None:
    with pytest.raises(UndecidedError, match=f"station {station} ") as caught:
        atlas(without(chest(), *gone)).take(station)
    assert caught.value.missing == draw
    assert caught.value.exit_status == 4


def test_everything_that_stations_lack_is_told_at_once_before_anything_is_made() -> None:
    steps = (
        Step("CTVn_a", "CTV", stations=TakeStations(("4", "15"), 8.0)),
        Step("CTVn_b", "CTV", stations=TakeStations(("18",), 8.0)),
    )
    with pytest.raises(UndecidedError) as caught:
        require_inputs(steps, without(chest(), "V_Azygos_Sup"), planes_mm=PLANES)
    assert caught.value.missing == ("LN_4R", "azygos-upper-border", "LN_15", "A_Aorta", "coeliac-axis", "LN_18",
                                     "A_Hepatic")  # fmt: skip


def test_borders_in_the_wrong_order_are_refused() -> None:
    case = chest()
    turned = replace(case, points=tuple(replace(p, position_mm=(0, 0, -9.0)) if p.name == "A_Aorta_Arch" else p
                                        for p in case.points))  # fmt: skip
    with pytest.raises(
        GeometryError, match=r"station 4L has its lower border, carina at z = 0\.0 mm.*above its upper one"
    ):
        atlas(turned).construct("4L")


def test_a_station_between_two_planes_is_refused() -> None:
    case = chest()
    flat = replace(case, points=tuple(replace(p, position_mm=(0, 0, 1.0)) if p.name == "Carina" else
                                      replace(p, position_mm=(0, 0, 2.0)) if p.name == "A_Aorta_Arch" else p
                                      for p in case.points))  # fmt: skip
    with pytest.raises(GeometryError, match="station 4L lies between two planes of the CT"):
        atlas(flat).construct("4L")


# --- in a recipe


def test_a_recipe_unites_stations_and_leaves_the_constructed_ones_to_be_reviewed() -> None:
    case = chest(LN_7=cylinder(6, -24, -3, (0, 3)))
    steps = (
        Step("CTVn", "CTV", stations=TakeStations(("4", "7"), 8.0), rules=("EX-01",)),
        Step("PTVn", "PTV", of=("CTVn",), then=(Expand(Margin.uniform(3.0)),)),
    )
    made = derive(steps, case, PLANES)
    assert made["CTVn"].made_by[0] == "nodal stations 4 constructed, to be reviewed, 7 as drawn [EX-01]"
    assert {name for name in made.names if name.startswith("LN_")} == {"LN_7", "LN_4L", "LN_4R"}
    whole = made["LN_4L"].contours
    for other in ("LN_4R", "LN_7"):
        whole = unite(whole, made[other].contours, PLANES, "half_slice", SPACING)
    assert volume_cm3(made["CTVn"].contours, "half_slice", SPACING) == pytest.approx(
        volume_cm3(whole, "half_slice", SPACING), rel=0.01
    )


def test_a_later_step_takes_the_same_constructed_station() -> None:
    steps = tuple(Step(name, "CTV", stations=TakeStations(("7",), 8.0)) for name in ("CTVn_a", "CTVn_b"))
    made = derive(steps, chest(), PLANES)
    assert "7 constructed, to be reviewed" in made["CTVn_b"].made_by[0]
    assert [c.tolist() for c in made["CTVn_a"].contours] == [c.tolist() for c in made["CTVn_b"].contours]


def test_every_station_of_the_classification_is_known() -> None:
    assert set(STATIONS) == {
        "supraclavicular_L", "supraclavicular_R", "1L", "1R", "2L", "2R", "4L", "4R", "7", "8U", "8M", "8Lo", "9L",
        "9R", "15", "16", "17", "18", "19", "20",
    }  # fmt: skip
