"""Sectors of a vertebra, on vertebrae of boxes and cylinders whose sectors are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from target_shapes import FRAME, circle, cylinder, left_over_cm3, structure

from tailort.errors import GeometryError, InputError, UndecidedError
from tailort.geometry import Margin, check_contours, intersect, volume_cm3
from tailort.geometry.contours import by_plane, oriented
from tailort.patient import Structure, StructureSet
from tailort.targets import Expand, Step, Subtract, derive
from tailort.targets.sectors import SpreadToSectors
from tailort.targets.spreading import RING, Sector, ring_neighbourhood, spread
from tailort.targets.vertebra import VertebraSectors, shared_cm3, vertebra_sectors

Float = NDArray[np.float64]
Contours = tuple[Float, ...]
PLANES = np.arange(-20.0, 20.1, 2.0)
UPPER = PLANES[(PLANES >= 2) & (PLANES <= 10)]
LOWER = PLANES[(PLANES >= -10) & (PLANES <= 0)]
TAN20 = np.tan(np.radians(20))
MIRROR: dict[Sector, Sector] = {
    "body": "body", "spinous": "spinous", "pedicle_left": "pedicle_right", "pedicle_right": "pedicle_left",
    "lamina_left": "lamina_right", "lamina_right": "lamina_left",
}  # fmt: skip
ORGAN = "ORGAN"

subsets = st.sets(st.sampled_from(RING), min_size=1)


def ring(*points: tuple[float, float]) -> Float:
    """Polygon of points (left, anterior) mm around the canal's centre as x, y, LPS."""
    return np.array([(v, -u) for v, u in points], dtype=float)


def box(v0: float, v1: float, u0: float, u1: float) -> Float:
    return ring((v0, u0), (v1, u0), (v1, u1), (v0, u1))


def pedicle_plane(left_tip: float = 34.0, right_tip: float = 34.0) -> list[Float]:
    """Body 36 x 26, pedicles 10 x 8, transverse processes and arch 6 deep, spinous process 8 x 20; canal 16 x 16."""
    right = [(-18.0, -14.0), (-18.0, -3.0), (-right_tip, -3.0), (-right_tip, 3.0), (-18.0, 3.0), (-18.0, 34.0)]
    left = [(18.0, 34.0), (18.0, 3.0), (left_tip, 3.0), (left_tip, -3.0), (18.0, -3.0), (18.0, -14.0)]
    return [ring(*right, *left, (4, -14), (4, -34), (-4, -34), (-4, -14)), box(-8, 8, -8, 8)]


def foramen_plane() -> list[Float]:
    """Body with corners 6 x 3 behind the canal's front, and, apart from it, the arch with facets up to 3 mm."""
    body = ring((-18, 34), (-18, 5), (-12, 5), (-12, 8), (12, 8), (12, 5), (18, 5), (18, 34))
    outer = [(-18, 3), (-18, -14), (-4, -14), (-4, -34), (4, -34), (4, -14), (18, -14), (18, 3)]
    return [body, ring(*outer, (8, 3), (8, -8), (-8, -8), (-8, 3))]


def moved(
    polygon: Float, z: float, degrees: float = 0.0, shift: tuple[float, float] = (0, 0), mirror: bool = False
) -> Float:
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    points = polygon * (-1 if mirror else 1, 1) @ turn.T + shift
    return np.column_stack([points, np.full(len(points), z)])


def boxes(
    left_tip: float = 34.0,
    degrees: float = 0.0,
    shift: tuple[float, float] = (0, 0),
    shear: float = 0.0,
    mirror: bool = False,
) -> tuple[Structure, Structure]:
    bone, canal = [], []
    for z in (*LOWER, *UPPER):
        here = (shift[0], shift[1] + shear * z)
        plane = pedicle_plane(left_tip) if z > 1 else foramen_plane()
        bone += [moved(p, z, degrees, here, mirror) for p in plane]
    for z in PLANES:
        canal.append(moved(box(-8, 8, -8, 8), z, degrees, (shift[0], shift[1] + shear * z), mirror))
    return structure("VB_T05", ORGAN, tuple(bone)), structure("SpinalCanal", ORGAN, tuple(canal))


def cut(pair: tuple[Structure, Structure], level: str = "VB_T05") -> VertebraSectors:
    return vertebra_sectors(level, *pair, PLANES)


def area(contours: Contours, z: float) -> float:
    planes, polygons = by_plane(contours)
    near = [p for at, p in zip(planes, polygons, strict=True) if abs(at - z) < 1e-6] if len(planes) else []
    return sum(shoelace(p) for p in oriented(near[0])) if near else 0.0


def shoelace(polygon: Float) -> float:
    x, y = polygon.T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def areas(made: VertebraSectors, z: float) -> dict[Sector, float]:
    return {sector: area(made.sectors[sector].contours, z) for sector in RING}


def inside(contours: Contours, z: float, points: Float) -> NDArray[np.bool_]:
    out = np.zeros(len(points), dtype=bool)
    for contour in contours:
        if abs(contour[0, 2] - z) > 1e-6:
            continue
        for p, q in zip(contour, np.roll(contour, -1, axis=0), strict=True):
            between = (p[1] > points[:, 1]) != (q[1] > points[:, 1])
            if p[1] != q[1]:
                out ^= between & (points[:, 0] < p[0] + (points[:, 1] - p[1]) / (q[1] - p[1]) * (q[0] - p[0]))
    return out


@pytest.fixture(scope="module")
def made() -> VertebraSectors:
    return cut(boxes())


def rounded() -> tuple[Structure, Structure]:
    """Body and canal are cylinders, the arch is a ring of the canal's with a spinous box."""
    bone: list[Float] = []
    canal: list[Float] = []
    for z in PLANES:
        canal.append(circle(0, 0, z, 8))
        if abs(z) <= 10:
            arch = np.radians(np.linspace(60, -240, 61))
            outer = [(14 * np.cos(t), 14 * np.sin(t)) for t in arch]
            front = np.radians(np.linspace(-120, -60 + 360, 91))
            body = [(20 * np.cos(t), 26 + 20 * np.sin(t)) for t in front[::-1]]
            bone += [moved(ring(*outer, *[p for p in body if p[1] > 12.2]), z), canal[-1]]
    return structure("VB_L03", ORGAN, tuple(bone)), structure("SpinalCanal", ORGAN, tuple(canal))


# The borders


def test_at_the_pedicles_every_sector_has_the_area_of_its_boxes(made: VertebraSectors) -> None:
    wedge = TAN20 * (14**2 - 8**2)
    lamina = 10 * 4 + 16 * 6 + (36 * 6 - wedge) / 2
    expected = {
        "body": 36 * 26, "pedicle_left": 120, "pedicle_right": 120, "spinous": 160 + wedge, "lamina_left": lamina,
        "lamina_right": lamina,
    }  # fmt: skip
    for z in UPPER:
        assert areas(made, z) == pytest.approx(expected, abs=1e-3)


def test_below_the_pedicles_corners_are_of_the_body_and_facets_of_the_arch(made: VertebraSectors) -> None:
    wedge = TAN20 * (14**2 - 8**2)
    lamina = 10 * 11 + (36 * 6 - wedge) / 2
    expected = {
        "body": 36 * 26 + 2 * 6 * 3, "pedicle_left": 0, "pedicle_right": 0, "spinous": 160 + wedge,
        "lamina_left": lamina, "lamina_right": lamina,
    }  # fmt: skip
    for z in LOWER:
        assert areas(made, z) == pytest.approx(expected, abs=1e-3)


def test_left_is_the_side_of_positive_x(made: VertebraSectors) -> None:
    for name in ("pedicle", "lamina"):
        left, right = made.sectors[f"{name}_left"], made.sectors[f"{name}_right"]  # type: ignore[index]
        assert left.bounds_mm()[0][0] > 0 > right.bounds_mm()[1][0]


def test_sectors_are_named_after_the_level_and_say_that_they_are_constructed(made: VertebraSectors) -> None:
    assert {s.name for s in made.sectors.values()} == {
        "VB_T05^Body", "VB_T05^PedL", "VB_T05^LamL", "VB_T05^SP", "VB_T05^LamR", "VB_T05^PedR"
    }  # fmt: skip
    for sector in made.sectors.values():
        assert any("constructed, to be reviewed" in line for line in sector.made_by)
        assert "KO-51" in sector.made_by[0]


# Laws


@pytest.mark.parametrize(
    "pair", [boxes(), boxes(left_tip=45, degrees=17), rounded()], ids=["boxes", "turned", "rounded"]
)
def test_sectors_are_disjoint_and_fill_the_vertebra(pair: tuple[Structure, Structure]) -> None:
    made = cut(pair)
    low, high = pair[0].bounds_mm()
    points = np.random.default_rng(3).uniform(low[:2], high[:2], (4000, 2))
    for z in (-4.0, 4.0):
        times = sum(inside(s.contours, z, points).astype(int) for s in made.sectors.values())
        bone = inside(pair[0].contours, z, points)
        assert np.array_equal(times, bone.astype(int))
        assert sum(areas(made, z).values()) == pytest.approx(area(pair[0].contours, z), abs=1e-3)
    for a, b in itertools.combinations(made.sectors.values(), 2):
        both = intersect(a.contours, b.contours, PLANES, "half_slice", 2.0)
        assert not both or volume_cm3(both, "half_slice", 2.0) < 1e-3
    whole = sum(volume_cm3(s.contours, "half_slice", 2.0) for s in made.sectors.values() if not s.is_empty)
    assert whole == pytest.approx(volume_cm3(pair[0].contours, "half_slice", 2.0), rel=0.01)


@settings(max_examples=8, deadline=None)
@given(left_tip=st.floats(22, 40), shift=st.tuples(st.floats(-90, 90), st.floats(-90, 90)))
def test_a_mirrored_vertebra_has_mirrored_sectors(left_tip: float, shift: tuple[float, float]) -> None:
    made, other = cut(boxes(left_tip)), cut(boxes(left_tip, shift=shift, mirror=True))
    for z in (-4.0, 4.0):
        mirrored = areas(other, z)
        assert areas(made, z) == pytest.approx({sector: mirrored[MIRROR[sector]] for sector in RING}, abs=1e-3)
    tip = made.sectors["lamina_left"].bounds_mm()[1][0]
    assert other.sectors["lamina_right"].bounds_mm()[0][0] == pytest.approx(shift[0] - tip, abs=1e-3)


@settings(max_examples=8, deadline=None)
@given(degrees=st.floats(-40, 40), shift=st.tuples(st.floats(-90, 90), st.floats(-90, 90)), left_tip=st.floats(22, 40))
def test_a_turned_and_shifted_patient_has_turned_and_shifted_sectors(
    degrees: float, shift: tuple[float, float], left_tip: float
) -> None:
    made, other = cut(boxes(left_tip)), cut(boxes(left_tip, degrees, shift))
    for z in (-4.0, 4.0):
        assert areas(made, z) == pytest.approx(areas(other, z), abs=1e-3)
    for sector in RING:
        here = [
            moved(c[:, :2], c[0, 2], degrees, shift) for c in made.sectors[sector].contours if c[0, 2] in (-4.0, 4.0)
        ]
        there = np.concatenate([c for c in other.sectors[sector].contours if c[0, 2] in (-4.0, 4.0)])
        for point in np.concatenate(here):
            assert np.linalg.norm(there - point, axis=1).min() < 1e-3


def test_a_tilted_vertebra_has_the_sectors_of_an_upright_one(made: VertebraSectors) -> None:
    tilted = cut(boxes(shear=0.4))
    for z in (-4.0, 4.0):
        assert areas(tilted, z) == pytest.approx(areas(made, z), abs=1e-3)


def test_the_cord_in_the_middle_of_the_canal_gives_the_sectors_of_the_canal(made: VertebraSectors) -> None:
    bone, _ = boxes()
    cord = structure("SpinalCord", ORGAN, cylinder(5, -20, 20, planes=PLANES))
    by_cord = vertebra_sectors("T05", bone, cord, PLANES, canal_is="cord")
    for z in (-4.0, 4.0):
        assert areas(by_cord, z) == pytest.approx(areas(made, z), abs=1e-2)


def test_a_vertebra_drawn_over_its_canal_gives_the_sectors_of_the_bone(made: VertebraSectors) -> None:
    bone, canal = boxes()
    filled = tuple(c for c in bone.contours if not (c[0, 2] > 1 and len(c) == 4))
    over = vertebra_sectors("T05", structure("VB_T05", ORGAN, filled), canal, PLANES)
    assert "taken off" in over.sectors["body"].made_by[0]
    assert areas(over, 4.0) == pytest.approx(areas(made, 4.0), abs=1.0)


def test_an_anterior_direction_that_is_given_is_taken() -> None:
    made = vertebra_sectors("T05", *boxes(degrees=10), PLANES, anterior=(0.0, -2.0))
    assert made.anterior == pytest.approx([0, -1])
    assert areas(made, 4.0)["body"] != pytest.approx(areas(cut(boxes()), 4.0)["body"], abs=1)


def test_borders_of_pedicles_and_spinous_process_move_as_asked(made: VertebraSectors) -> None:
    other = vertebra_sectors("T05", *boxes(), PLANES, pedicle_share=0.5, spinous_half_angle_deg=25)
    before, after = areas(made, 4.0), areas(other, 4.0)
    assert after["body"] == pytest.approx(before["body"], abs=1e-3)
    assert after["pedicle_left"] == pytest.approx(80, abs=1e-3)
    assert after["spinous"] == pytest.approx(160 + np.tan(np.radians(25)) * (14**2 - 8**2), abs=1e-3)
    for wrong in ({"pedicle_share": 0.0}, {"pedicle_share": 1.1}, {"spinous_half_angle_deg": 90.0}):
        with pytest.raises(GeometryError, match="half angle"):
            vertebra_sectors("T05", *boxes(), PLANES, **wrong)  # type: ignore[arg-type]


def test_without_laminae_and_spinous_process_these_sectors_have_no_bone() -> None:
    _, canal = boxes()
    body = tuple(
        moved(p, z)
        for z in UPPER
        for p in [ring((-18, 0), (-8, 0), (-8, 8), (8, 8), (8, 0), (18, 0), (18, 34), (-18, 34))]
    )
    made = vertebra_sectors("T05", structure("VB_T05", ORGAN, body), canal, PLANES)
    assert made.without_bone == ("lamina_left", "spinous", "lamina_right")
    assert areas(made, 4.0)["pedicle_left"] == pytest.approx(80, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), by_cord=st.booleans())
def test_uneven_bone_with_holes_is_filled_once_by_contours_that_do_not_cross(seed: int, by_cord: bool) -> None:
    chance = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    waves = sum(chance.uniform(-1, 1) * np.cos(n * angle + chance.uniform(0, 6)) for n in range(2, 12))
    outer = (25 + 0.5 * waves)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]) + (0, -10)
    holes = [circle(*chance.uniform((-8, -24), (8, -14)), 0, 2)[:, :2], circle(0, 0, 0, 8)[:, :2]]
    bone = structure("VB", ORGAN, tuple(moved(p, z) for z in (-2.0, 0.0, 2.0) for p in (outer, *holes)))
    planes = np.array([-2.0, 0.0, 2.0])
    canal = structure("Canal", ORGAN, cylinder(5 if by_cord else 8, -2, 2, (0.5, 0.3) if by_cord else (0, 0), planes))
    made = vertebra_sectors("T05", bone, canal, planes, canal_is="cord" if by_cord else "canal")
    points = chance.uniform((-30, -45), (30, 25), (3000, 2))
    times = sum(inside(s.contours, 0.0, points).astype(int) for s in made.sectors.values())
    assert np.array_equal(times, inside(bone.contours, 0.0, points).astype(int))
    for sector in made.sectors.values():
        check_contours(sector.contours, sector.name)


# The ring


def test_we_92_body_takes_both_pedicles() -> None:
    assert set(ring_neighbourhood(["body"])) == {"body", "pedicle_left", "pedicle_right"}


def test_we_93_other_neighbourhoods() -> None:
    assert set(ring_neighbourhood(["spinous"])) == {"spinous", "lamina_left", "lamina_right"}
    assert set(ring_neighbourhood(["lamina_left"])) == {"lamina_left", "pedicle_left", "spinous"}
    assert set(ring_neighbourhood(["body", "pedicle_left"])) == {"body", "pedicle_left", "pedicle_right", "lamina_left"}


@given(subsets, subsets)
def test_a_neighbourhood_has_three_to_six_sectors_and_grows_with_the_tumour(a: set[Sector], b: set[Sector]) -> None:
    assert 3 <= len(ring_neighbourhood(a)) <= 6
    assert a <= set(ring_neighbourhood(a))
    assert set(ring_neighbourhood(a)) | set(ring_neighbourhood(b)) == set(ring_neighbourhood(a | b))
    assert {MIRROR[s] for s in ring_neighbourhood(a)} == set(ring_neighbourhood({MIRROR[s] for s in a}))


COX: list[tuple[set[int], str | None, set[int], set[int]]] = [
    ({1}, "any", {1}, {1, 2, 6}),
    ({1}, "lateral_left", {1, 2}, {1, 2, 6}),
    ({1}, "lateral_right", {1, 6}, {1, 2, 6}),
    ({1}, "diffuse", {1, 2, 6}, {1, 2, 6}),
    ({1, 2}, None, {1, 2, 3}, {1, 2, 3, 6}),
    ({1, 6}, None, {1, 5, 6}, {1, 2, 5, 6}),
    ({1, 2, 6}, None, {1, 2, 3, 5, 6}, {1, 2, 3, 5, 6}),
    ({2}, None, {2, 3}, {1, 2, 3}),
    ({6}, None, {5, 6}, {1, 5, 6}),
    ({3}, None, {2, 3, 4}, {2, 3, 4}),
    ({5}, None, {4, 5, 6}, {4, 5, 6}),
    ({4}, None, {3, 4, 5}, {3, 4, 5}),
]  # fmt: skip


def sectors_of(numbers: set[int]) -> set[Sector]:
    return {RING[n - 1] for n in numbers}


@pytest.mark.parametrize(("gtv", "extent", "cox", "by_ring"), COX)
def test_ko_60_to_67_the_table_of_cox_and_the_ring(
    gtv: set[int], extent: str | None, cox: set[int], by_ring: set[int]
) -> None:
    assert set(ring_neighbourhood(sectors_of(gtv))) == sectors_of(by_ring)
    assert cox <= by_ring
    spreading = spread("T05", sectors_of(gtv), "isrc_2012", body_extent=extent)  # type: ignore[arg-type]
    assert set(spreading.included) == sectors_of(cox)
    assert any(rule in {f"KO-{n}" for n in range(60, 68)} for rule in spreading.rules)


def test_ko_64_has_its_other_reading() -> None:
    closed = spread("T05", sectors_of({1, 2, 6}), "isrc_2012", spinous_with_both_pedicles=True)
    assert closed.included == RING
    assert closed.rules == ("KO-51", "KO-64", "KO-68")
    assert "KO-69" in closed.notes[0]


def test_ko_69_the_table_closes_the_ring_for_tumour_in_every_sector_or_all_round_the_cord() -> None:
    assert spread("T05", RING, "isrc_2012").included == RING
    assert spread("T05", ["body"], "isrc_2012", circumferential_epidural=True).included == RING
    assert spread("T05", ["body"], "isrc_2012", body_extent="any").included == ("body",)


def test_the_table_asks_where_in_the_body_and_for_what_it_does_not_list() -> None:
    with pytest.raises(UndecidedError, match="body_extent"):
        spread("T05", ["body"], "isrc_2012")
    with pytest.raises(UndecidedError, match="no row") as found:
        spread("T05", ["body", "spinous"], "isrc_2012")
    assert "KO-68=ring" in str(found.value)


def test_a_ring_that_closes_without_tumour_everywhere_is_to_be_reviewed() -> None:
    closed = spread("T05", ["body", "spinous"])
    assert closed.included == RING
    assert "KO-69" in closed.notes[0]
    assert not spread("T05", ["body"]).notes
    assert not spread("T05", RING).notes


def test_ko_70_after_surgery_the_extent_before_it_takes_the_bone_next_to_it() -> None:
    after = spread("T05", ["lamina_left"], after_surgery=True)
    assert set(after.included) == {"pedicle_left", "lamina_left", "spinous"}
    assert {"KO-70", "KO-71"} <= set(after.rules)
    donut = spread("T05", ["body"], after_surgery=True, circumferential_epidural=True)
    assert donut.included == RING
    with pytest.raises(InputError, match="intact spine"):
        spread("T05", ["body"], "isrc_2012", after_surgery=True)


def test_sectors_that_do_not_exist_and_no_sector_at_all_are_refused() -> None:
    with pytest.raises(InputError, match="unknown sectors facet"):
        ring_neighbourhood(["facet"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="at least one"):
        spread("T05", [])
    with pytest.raises(InputError, match="unknown rule"):
        spread("T05", ["body"], "nearest")  # type: ignore[arg-type]


# The targets


def gtv_in(v: float, u: float, z: float, radius: float = 5.0) -> Structure:
    contours = tuple(
        circle(v, -u, float(at), float(np.sqrt(radius**2 - (at - z) ** 2)))
        for at in PLANES
        if abs(at - z) < radius - 0.2
    )
    return structure("GTV", "GTV", contours)


def spread_by(operation: SpreadToSectors, *structures: Structure, planes: Float = PLANES) -> StructureSet:
    steps = (Step("CTV_2400", "CTV", of=("GTV",), then=(operation,), rules=("KO-52",)),)
    return derive(steps, StructureSet(structures, FRAME), planes)


def sectors_in(got: StructureSet, planes: Float = PLANES) -> set[str]:
    """Sectors that lie whole in the CTV."""
    made = [s for s in got if "^" in s.name]
    return {s.name for s in made if left_over_cm3(s, got["CTV_2400"], planes) < 0.02}


@pytest.mark.parametrize(
    ("tumour", "touched", "treated"),
    [
        (gtv_in(0, 20, 4), "Body", {"Body", "PedL", "PedR"}),
        (gtv_in(0, -25, 4), "SP", {"SP", "LamL", "LamR"}),
        (gtv_in(13, 8, 6, 4.0), "Body", {"Body", "PedL", "PedR", "LamL"}),
    ],
)
def test_a_tumour_is_spread_to_the_sectors_that_it_shares_bone_with_and_their_neighbours(
    tumour: Structure, touched: str, treated: set[str]
) -> None:
    bone, canal = boxes()
    got = spread_by(SpreadToSectors(), tumour, bone, canal)
    assert sectors_in(got) == {f"VB_T05^{name}" for name in treated}
    assert left_over_cm3(tumour, got["CTV_2400"], PLANES) < 0.01
    told = got["CTV_2400"].made_by
    assert any(line.startswith(f"VB_T05: tumour in {touched}") and "KO-52" in line for line in told)


def test_bone_that_a_tumour_shares_with_a_sector_is_measured(made: VertebraSectors) -> None:
    tumour = gtv_in(0, 20, 4)
    shared = shared_cm3(made, tumour, PLANES)
    assert shared["body"] == pytest.approx(volume_cm3(tumour.contours, "half_slice", 2.0), rel=0.01)
    assert sum(shared.values()) == shared["body"]


def test_a_tumour_in_the_canal_alone_leaves_the_sectors_to_a_person() -> None:
    bone, canal = boxes()
    tumour = gtv_in(0, 0, 4, 4.0)
    with pytest.raises(UndecidedError, match="name the sectors") as found:
        spread_by(SpreadToSectors(), tumour, bone, canal)
    assert found.value.missing == ("involved_sectors",)
    got = spread_by(SpreadToSectors(involved=("VB_T05^LamL",)), tumour, bone, canal)
    assert sectors_in(got) == {"VB_T05^PedL", "VB_T05^LamL", "VB_T05^SP"}
    assert "LamL (named)" in " ".join(got["CTV_2400"].made_by)


def test_epidural_tumour_all_round_the_cord_takes_every_sector() -> None:
    bone, canal = boxes()
    got = spread_by(SpreadToSectors("all"), gtv_in(0, 20, 4), bone, canal)
    assert len(sectors_in(got)) == 6
    assert "KO-69" in " ".join(got["CTV_2400"].made_by)


def test_the_table_treats_less_than_the_ring_and_asks_for_the_extent_in_the_body() -> None:
    bone, canal = boxes()
    tumour = gtv_in(0, 20, 4)
    with pytest.raises(UndecidedError) as found:
        spread_by(SpreadToSectors("isrc_2012"), tumour, bone, canal)
    assert found.value.missing == ("body_extent",)
    got = spread_by(SpreadToSectors("isrc_2012", body_extent="lateral_left"), tumour, bone, canal)
    assert sectors_in(got) == {"VB_T05^Body", "VB_T05^PedL"}


def test_a_sector_that_a_person_drew_is_taken_as_drawn() -> None:
    bone, canal = boxes()
    drawn = structure("VB_T05^PedL", "OTHER", tuple(moved(box(8, 40, -8, 8), z) for z in UPPER))
    got = spread_by(SpreadToSectors(), gtv_in(0, 20, 4), bone, canal, drawn)
    assert got["VB_T05^PedL"].contours == drawn.contours
    assert got["CTV_2400"].bounds_mm()[1][0] == pytest.approx(40, abs=0.01)
    assert "sectors drawn: PedL" in " ".join(got["CTV_2400"].made_by)


def test_margins_prv_and_ptv_eval_compose_as_steps() -> None:
    bone, canal = boxes()
    cord = structure("SpinalCord", ORGAN, cylinder(5, -20, 20, planes=PLANES))
    steps = (
        Step("CTV_2400", "CTV", of=("GTV",), then=(SpreadToSectors(),), rules=("KO-52",)),
        Step("PTV_2400", "PTV", of=("CTV_2400",), then=(Expand(Margin.uniform(2)),), rules=("KO-54",)),
        Step("SpinalCord_PRV", "AVOIDANCE", of=("SpinalCord",), then=(Expand(Margin.uniform(1.5)),), rules=("KO-54",)),
        Step("PTV_Eval", "PTV", of=("PTV_2400",), then=(Subtract(("SpinalCord_PRV",)),), rules=("KO-54", "KO-55")),
    )
    got = derive(steps, StructureSet((gtv_in(0, 8, 4), cord, bone, canal), FRAME), PLANES)
    volume = {s.name: volume_cm3(s.contours, "half_slice", 2.0) for s in got}
    for name in ("VB_T05^Body", "VB_T05^PedL", "VB_T05^PedR", "GTV"):
        assert left_over_cm3(got[name], got["CTV_2400"], PLANES) < 0.02
    assert left_over_cm3(got["CTV_2400"], got["PTV_2400"], PLANES) < 0.01
    prv = got["SpinalCord_PRV"]
    assert prv.bounds_mm()[1][0] == pytest.approx(6.5, abs=0.05)
    both = intersect(prv.contours, got["PTV_Eval"].contours, PLANES, "half_slice", 2.0)
    assert not both or volume_cm3(both, "half_slice", 2.0) < 0.005
    assert volume["PTV_Eval"] < volume["PTV_2400"]
    assert got["PTV_2400"].bounds_mm()[1][0] == pytest.approx(20, abs=0.1)


TWO_PLANES = np.arange(-44.0, 20.1, 2.0)


def two_vertebrae() -> tuple[Structure, Structure, Structure]:
    upper, canal = boxes()
    low = tuple(c - np.array([0.0, 0.0, 24.0]) for c in upper.contours)
    long = tuple(np.column_stack([canal.contours[0][:, :2], np.full(4, z)]) for z in TWO_PLANES)
    return upper, structure("VB_T06", ORGAN, low), structure("SpinalCanal", ORGAN, long)


def test_several_vertebrae_each_have_their_ring() -> None:
    tumour = structure("GTV", "GTV", tuple(circle(0, -20, z, 4) for z in TWO_PLANES if -18 <= z <= -6))
    operation = SpreadToSectors(levels=("VB_T05", "VB_T06"), involved=("VB_T06^SP",))
    got = spread_by(operation, tumour, *two_vertebrae(), planes=TWO_PLANES)
    assert sectors_in(got, TWO_PLANES) == {
        "VB_T05^Body", "VB_T05^PedL", "VB_T05^PedR", *(f"VB_T06^{name}" for name in
        ("Body", "PedL", "PedR", "LamL", "SP", "LamR")),
    }  # fmt: skip
    assert "to be reviewed [KO-69]" in " ".join(got["CTV_2400"].made_by)


def test_a_tumour_at_another_level_than_the_record_says_is_refused() -> None:
    tumour = structure("GTV", "GTV", tuple(circle(0, -20, z, 4) for z in TWO_PLANES if -18 <= z <= -14))
    vertebrae = two_vertebrae()
    with pytest.raises(InputError, match="involves VB_T06, and the vertebrae that are to be treated are VB_T05"):
        spread_by(SpreadToSectors(levels=("VB_T05",)), tumour, *vertebrae, planes=TWO_PLANES)
    with pytest.raises(UndecidedError, match="touches no bone of VB_T05"):
        spread_by(SpreadToSectors(levels=("VB_T05", "VB_T06")), tumour, *vertebrae, planes=TWO_PLANES)


def without_arch() -> tuple[Structure, Structure]:
    _, canal = boxes()
    outline = ring((-18, 0), (-8, 0), (-8, 8), (8, 8), (8, 0), (18, 0), (18, 34), (-18, 34))
    return structure("VB_T05", ORGAN, tuple(moved(outline, z) for z in UPPER)), canal


def test_after_surgery_removed_bone_must_be_named_and_is_told() -> None:
    bone, canal = without_arch()
    tumour = gtv_in(0, 20, 4)
    with pytest.raises(UndecidedError, match="was removed") as found:
        spread_by(SpreadToSectors(after_surgery=True), tumour, bone, canal)
    assert found.value.missing == ("involved_sectors",)
    operation = SpreadToSectors(after_surgery=True, involved=("VB_T05^LamL",))
    got = spread_by(operation, tumour, bone, canal)
    assert sectors_in(got) == {"VB_T05^Body", "VB_T05^PedL", "VB_T05^PedR"}
    assert "no bone left in LamL, SP" in " ".join(got["CTV_2400"].made_by)


def test_a_vertebra_that_is_drawn_without_its_arch_is_refused_before_surgery() -> None:
    bone, canal = without_arch()
    with pytest.raises(GeometryError, match=r"VB_T05\^SP would be treated.*draw the whole vertebra"):
        spread_by(SpreadToSectors(involved=("VB_T05^LamL",)), gtv_in(0, 20, 4), bone, canal)


@pytest.mark.parametrize(
    ("operation", "left_out", "says"),
    [
        (SpreadToSectors(), "VB_T05", "no vertebra is drawn"),
        (SpreadToSectors(), "SpinalCanal", "neither is drawn"),
        (SpreadToSectors(involved=("T05^PedL",)), "", "'T05\\^PedL' is no sector"),
        (SpreadToSectors(involved=("VB_T05^Facet",)), "", "no sector"),
    ],
)
def test_sectors_say_what_they_lack(operation: SpreadToSectors, left_out: str, says: str) -> None:
    drawn = [s for s in (gtv_in(0, 20, 4), *boxes()) if s.name != left_out]
    with pytest.raises(InputError, match=says):
        spread_by(operation, *drawn)


# Bad input


def test_a_canal_that_ends_within_the_vertebra_is_refused() -> None:
    bone, canal = boxes()
    short = structure("SpinalCanal", ORGAN, tuple(c for c in canal.contours if c[0, 2] >= 0))
    with pytest.raises(GeometryError, match=r"not drawn from z = -10 to -2 mm"):
        vertebra_sectors("T05", bone, short, PLANES)


def test_a_vertebra_whose_body_lies_behind_the_canal_is_refused() -> None:
    with pytest.raises(GeometryError, match="not found within 60 degrees"):
        cut(boxes(degrees=180))


def test_a_cord_in_bone_is_refused() -> None:
    bone, _ = boxes()
    cord = structure("SpinalCord", ORGAN, cylinder(5, -20, 20, centre=(0, -20), planes=PLANES))
    with pytest.raises(GeometryError, match="lies in 'VB_T05'"):
        vertebra_sectors("T05", bone, cord, PLANES, canal_is="cord")


def test_structures_of_two_frames_are_refused(made: VertebraSectors) -> None:
    bone, canal = boxes()
    elsewhere = Structure("SpinalCanal", ORGAN, canal.contours, "9.9")
    with pytest.raises(GeometryError, match="one frame"):
        vertebra_sectors("T05", bone, elsewhere, PLANES)
    with pytest.raises(GeometryError, match="one frame"):
        shared_cm3(made, Structure("GTV", "GTV", bone.contours, "9.9"), PLANES)
