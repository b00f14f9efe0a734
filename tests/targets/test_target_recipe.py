"""Targets are made as the recipe says, exactly in mm, and remember it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_shapes import PLANES, circle, cylinder, drawn, left_over_cm3, sphere

from tailort.errors import GeometryError, InputError, MissingStructureError
from tailort.geometry import Margin, volume_cm3
from tailort.patient import Structure, StructureSet
from tailort.targets import Contract, Crop, DropParts, Expand, Intersect, Ring, Step, Subtract, Unite, derive

CASE = drawn(
    External=cylinder(60, -60, 60),
    GTVp=cylinder(10, -15, 15),
    GTVn=sphere(8, (20, 5, 9)),
    SpinalCord=cylinder(5, -60, 60, (0, 30)),
)
RECIPE = (
    Step("CTVp", "CTV", of=("GTVp",), then=(Expand(Margin.radial(5, 20)),), rules=("SM-08",)),
    Step("CTVn", "CTV", if_drawn=("GTVn",), then=(Expand(Margin.uniform(5)),), rules=("SM-08",)),
    Step("CTV", "CTV", of=("CTVp",), if_drawn=("CTVn",), rules=("SM-08",)),
    Step(
        "PTV_5400", "PTV", of=("CTV",), then=(Expand(Margin.uniform(5)), Crop(3, rules=("TR-02",))), rules=("SM-08",)
    ),
)  # fmt: skip


def without(case: StructureSet, name: str) -> StructureSet:
    return StructureSet(tuple(s for s in case if s.name != name), case.frame_of_reference)


def same_contours(a: Structure, b: Structure) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a.contours, b.contours, strict=True))


def radii(contours: tuple[np.ndarray, ...], centre: tuple[float, float] = (0, 0)) -> dict[float, tuple[float, float]]:
    """Smallest and largest distance of the outline from an axis, by plane."""
    out = {}
    for contour in contours:
        r = np.hypot(contour[:, 0] - centre[0], contour[:, 1] - centre[1])
        out[float(contour[0, 2])] = (float(r.min()), float(r.max()))
    return out


def test_ptv_contains_ctv_contains_gtv() -> None:
    made = derive(RECIPE, CASE, PLANES)
    assert left_over_cm3(made["GTVp"], made["CTV"]) < 0.001
    assert left_over_cm3(made["GTVn"], made["CTV"]) < 0.001
    assert left_over_cm3(made["CTV"], made["PTV_5400"]) < 0.001


@pytest.mark.parametrize("margin_mm", [2.0, 5.0, 7.3])
def test_a_uniform_margin_of_a_sphere_is_the_sphere_of_the_larger_radius(margin_mm: float) -> None:
    case = drawn(GTVp=sphere(16.5))
    step = Step("PTV", "PTV", of=("GTVp",), then=(Expand(Margin.uniform(margin_mm)),))
    made = derive((step,), case, PLANES, end_cap="tapered")["PTV"]
    whole = 16.5 + margin_mm
    for z, (low, high) in radii(made.contours).items():
        if abs(z) < 0.8 * whole:
            assert np.sqrt(whole**2 - z**2) == pytest.approx((low + high) / 2, abs=0.1)
    expected = 4 / 3 * np.pi * whole**3 / 1000
    assert volume_cm3(made.contours, "tapered") == pytest.approx(expected, rel=0.006)


def test_a_radial_and_a_craniocaudal_margin_of_a_cylinder_are_exact_along_its_side() -> None:
    made = derive(RECIPE[:1], CASE, PLANES)["CTVp"]
    at = radii(made.contours)
    assert at[0.0][0] == pytest.approx(15.0, abs=0.1)
    assert at[0.0][1] == pytest.approx(15.0, abs=0.1)
    # Solid of the drawn cylinder: 15 mm and half a slice; 20 mm on; planes every 3 mm within.
    assert (min(at), max(at)) == (-36.0, 36.0)


def test_six_sides_of_a_margin_go_to_the_sides_of_the_patient() -> None:
    margin = Margin(left_mm=2, right_mm=4, anterior_mm=6, posterior_mm=8, superior_mm=12, inferior_mm=3)
    step = Step("PTV", "PTV", of=("GTVp",), then=(Expand(margin),))
    made = derive((step,), CASE, PLANES)["PTV"]
    middle = next(c for c in made.contours if c[0, 2] == 0.0)
    # LPS: +x is left, +y posterior, +z superior.
    assert middle[:, 0].max() == pytest.approx(12, abs=0.1)
    assert middle[:, 0].min() == pytest.approx(-14, abs=0.1)
    assert middle[:, 1].min() == pytest.approx(-16, abs=0.1)
    assert middle[:, 1].max() == pytest.approx(18, abs=0.1)
    z = made.slice_positions_mm
    assert (z.min(), z.max()) == (-18.0, 27.0)


def test_a_margin_of_nothing_changes_nothing() -> None:
    step = Step("CTV", "CTV", of=("GTVn",), then=(Expand(Margin.uniform(0)),))
    made = derive((step,), CASE, PLANES)["CTV"]
    assert volume_cm3(made.contours) == pytest.approx(volume_cm3(CASE["GTVn"].contours), rel=1e-6)


@settings(max_examples=8, deadline=None)
@given(st.floats(0, 9), st.floats(0.5, 6))
def test_a_bigger_margin_contains_the_smaller(mm: float, more_mm: float) -> None:
    case = drawn(GTVp=sphere(9))
    small, large = (
        Step(name, "PTV", of=("GTVp",), then=(Expand(Margin.uniform(m)),))
        for name, m in (("small", mm), ("large", mm + more_mm))
    )
    made = derive((small, large), case, PLANES)
    assert left_over_cm3(made["small"], made["large"]) < 0.01


def test_what_is_contracted_after_expanding_comes_back() -> None:
    margin = Margin.uniform(6)
    step = Step("CTV", "CTV", of=("GTVn",), then=(Expand(margin), Contract(margin)))
    made = derive((step,), CASE, PLANES)
    assert left_over_cm3(made["GTVn"], made["CTV"]) < 0.05
    assert volume_cm3(made["CTV"].contours) == pytest.approx(volume_cm3(made["GTVn"].contours), rel=0.08)


def test_a_crop_keeps_its_distance_from_the_skin() -> None:
    case = drawn(External=cylinder(60, -60, 60), GTVp=sphere(10, (48, 0, 0)))
    step = Step("PTV", "PTV", of=("GTVp",), then=(Expand(Margin.uniform(8)), Crop(3)))
    made = derive((step,), case, PLANES)["PTV"]
    points = np.concatenate(made.contours)
    assert np.hypot(points[:, 0], points[:, 1]).max() == pytest.approx(57.0, abs=0.1)
    # Away from the skin nothing is lost: the side to the middle reaches 48 - 18 = 30 mm.
    assert points[:, 0].min() == pytest.approx(30.0, abs=0.2)


def test_the_ends_of_the_scan_are_no_skin() -> None:
    case = drawn(External=cylinder(60, -60, 60), GTVp=cylinder(10, -51, 51))
    step = Step("PTV", "PTV", of=("GTVp",), then=(Expand(Margin.uniform(9)), Crop(5)))
    z = derive((step,), case, PLANES)["PTV"].slice_positions_mm
    assert (z.min(), z.max()) == (-60.0, 60.0)


def test_air_that_was_left_out_of_the_body_has_no_skin() -> None:
    body = tuple(c for z in PLANES for c in (circle(0, 0, z, 60), circle(0, 0, z, 8)))
    case = drawn(External=body, GTVp=cylinder(20, -9, 9))
    made = derive((Step("PTV", "PTV", of=("GTVp",), then=(Crop(5),)),), case, PLANES)["PTV"]
    assert volume_cm3(made.contours) == pytest.approx(volume_cm3(case["GTVp"].contours), rel=0.001)


def test_the_top_of_a_head_within_the_scan_is_skin() -> None:
    case = drawn(External=cylinder(60, -60, 30), GTVp=cylinder(10, 0, 24))
    step = Step("PTV", "PTV", of=("GTVp",), then=(Crop(9),))
    z = derive((step,), case, PLANES)["PTV"].slice_positions_mm
    # The body ends half a slice above 30 mm.
    assert z.max() == 21.0


def test_a_crop_takes_the_skin_of_the_slices_beside_into_account() -> None:
    # The body narrows from 60 to 30 mm at z = 0: a step, whose flat face is skin too.
    body = cylinder(60, -60, 0) + cylinder(30, 3, 60)
    case = drawn(External=body, GTVp=cylinder(50, -30, -3))
    step = Step("PTV", "PTV", of=("GTVp",), then=(Crop(6),))
    at = radii(derive((step,), case, PLANES)["PTV"].contours)
    assert at[-12.0][0] == pytest.approx(50.0, abs=0.2)
    assert at[-3.0][1] < 40.0


def test_every_made_structure_tells_each_step_in_mm_with_its_rule() -> None:
    made = derive(RECIPE, CASE, PLANES)
    assert made["CTVp"].made_by[:2] == (
        "from GTVp [SM-08]",
        "expanded by 5 mm radially and 20 mm craniocaudally [SM-08]",
    )
    assert made["CTV"].made_by[0] == "union of CTVp, CTVn [SM-08]"
    assert made["PTV_5400"].made_by == (
        "from CTV [SM-08]",
        "expanded by 5 mm in all directions [SM-08]",
        "cropped to 3 mm inside External [TR-02]",
        "contours on the CT planes, end cap half_slice",
    )


def test_what_was_drawn_is_left_as_it_was() -> None:
    made = derive(RECIPE, CASE, PLANES)
    assert made.names == (*CASE.names, "CTVp", "CTVn", "CTV", "PTV_5400")
    for drawn_structure in CASE:
        assert made[drawn_structure.name] is drawn_structure


def test_made_contours_lie_on_the_planes_of_the_ct() -> None:
    planes = np.arange(-70.0, 70.0, 2.5)
    for name in ("CTVp", "CTV", "PTV_5400"):
        z = derive(RECIPE, CASE, planes)[name].slice_positions_mm
        assert np.isin(z, planes).all()
        assert np.diff(z) == pytest.approx(2.5)


def test_an_optional_structure_that_is_not_drawn_is_left_out_and_that_is_told() -> None:
    made = derive(RECIPE, without(CASE, "GTVn"), PLANES)
    assert "CTVn" not in made
    assert made["CTV"].made_by[0] == "from CTVp (CTVn not drawn) [SM-08]"
    assert volume_cm3(made["CTV"].contours) == pytest.approx(volume_cm3(made["CTVp"].contours))


def test_an_optional_structure_without_contours_counts_as_not_drawn() -> None:
    empty = CASE.with_structures(CASE["GTVn"].__class__("GTVn", "GTV", (), CASE.frame_of_reference))
    assert "CTVn" not in derive(RECIPE, empty, PLANES)


@pytest.mark.parametrize("name", ["GTVp", "External"])
def test_a_missing_structure_is_told_with_the_step_that_needs_it_and_what_is_there(name: str) -> None:
    with pytest.raises(MissingStructureError) as caught:
        derive(RECIPE, without(CASE, name), PLANES)
    told = str(caught.value)
    assert f"'{name}' (for " in told
    assert "[SM-08]" in told
    assert "SpinalCord" in told


def test_a_target_that_leaves_the_ct_is_an_error_that_tells_how_much_ct_is_missing() -> None:
    planes = PLANES[(PLANES >= -27) & (PLANES <= 39)]
    with pytest.raises(GeometryError, match=r"'CTVp' .* z = -27 and 39 mm: 8.0 mm at the lower end of CT are missing"):
        derive(RECIPE[:1], CASE, planes)


def test_a_target_that_just_fits_the_ct_is_made() -> None:
    planes = np.arange(-35.0, 35.1, 1.0)
    z = derive(RECIPE[:1], CASE, planes)["CTVp"].slice_positions_mm
    assert (z.min(), z.max()) == (-35.0, 35.0)


def test_a_helper_structure_ends_with_the_ct_and_says_so() -> None:
    planes = PLANES[(PLANES >= -27) & (PLANES <= 27)]
    step = Step("zWide", "CONTROL", of=("GTVp",), then=(Expand(Margin.uniform(20)),))
    made = derive((step,), CASE, planes)["zWide"]
    assert "expanded by 20 mm in all directions, ending with the CT" in made.made_by
    assert made.slice_positions_mm.min() == -27.0


def test_a_drawn_structure_is_kept_and_says_that_the_recipe_was_not_applied() -> None:
    case = CASE.with_structures(replace(CASE["GTVn"], name="CTVp", role="CTV"))
    made = derive(RECIPE, case, PLANES)
    assert same_contours(made["CTVp"], case["CTVp"])
    assert made["CTVp"].made_by == ("drawn in the case and kept as it is: the recipe [SM-08] was not applied",)


def test_a_drawn_structure_is_made_anew_when_the_step_says_so() -> None:
    case = CASE.with_structures(replace(CASE["GTVn"], name="CTVp", role="CTV"))
    step = Step("CTVp", "CTV", of=("GTVp",), then=(Expand(Margin.uniform(5)),), existing="replace")
    made = derive((step,), case, PLANES)["CTVp"]
    assert made.made_by[0] == "from GTVp"
    assert volume_cm3(made.contours) > 2 * volume_cm3(case["CTVp"].contours)


def test_deriving_again_from_what_was_derived_changes_no_contour() -> None:
    once = derive(RECIPE, CASE, PLANES)
    twice = derive(RECIPE, once, PLANES)
    assert twice.names == once.names
    assert all(same_contours(a, b) for a, b in zip(twice, once, strict=True))


def test_a_union_has_both_volumes_less_what_they_share() -> None:
    case = drawn(A=sphere(12, (0, 0, 0)), B=sphere(12, (10, 0, 0)))
    steps = (
        Step("union", "CTV", of=("A",), then=(Unite(("B",)),)),
        Step("shared", "CTV", of=("A",), then=(Intersect(("B",)),)),
        Step("rest", "CTV", of=("A",), then=(Subtract(("B",)),)),
    )
    made = derive(steps, case, PLANES)
    volume = {s.name: volume_cm3(s.contours) for s in made}
    assert volume["union"] == pytest.approx(volume["A"] + volume["B"] - volume["shared"], rel=0.005)
    assert volume["rest"] == pytest.approx(volume["A"] - volume["shared"], rel=0.01)
    # Lens of two spheres of radius r at distance d: pi (4 r + d)(2 r - d)^2 / 12.
    assert volume["shared"] == pytest.approx(np.pi * 58 * 14**2 / 12 / 1000, rel=0.03)


def test_a_ring_is_the_shell_between_two_distances() -> None:
    case = drawn(PTV=sphere(15))
    step = Step("zRing", "CONTROL", of=("PTV",), then=(Ring(5, 15),))
    made = derive((step,), case, PLANES)["zRing"]
    assert volume_cm3(made.contours) == pytest.approx(4 / 3 * np.pi * (30**3 - 20**3) / 1000, rel=0.03)
    middle = sorted(float(np.hypot(*c[0, :2])) for c in made.contours if c[0, 2] == 0.0)
    assert middle == pytest.approx([20, 30], abs=0.2)


def test_a_ring_from_the_surface_touches_the_volume_and_shares_nothing_with_it() -> None:
    case = drawn(PTV=sphere(15))
    step = Step("zRing", "CONTROL", of=("PTV",), then=(Ring(0, 10),))
    check = Step("both", "CONTROL", of=("zRing",), then=(Unite(("PTV",)),))
    made = derive((step, check), case, PLANES)
    assert volume_cm3(made["both"].contours) == pytest.approx(
        volume_cm3(made["PTV"].contours) + volume_cm3(made["zRing"].contours), rel=0.005
    )


def test_small_separate_parts_are_dropped_and_large_ones_stay() -> None:
    case = drawn(GTVp=sphere(10, (-20, 0, 0)) + sphere(4, (20, 0, 0)) + sphere(5, (-20, 0, 40)))
    step = Step("CTV", "CTV", of=("GTVp",), then=(DropParts(1.0),))
    made = derive((step,), case, PLANES)["CTV"]
    assert made.made_by[1] == "2 of 3 separate parts of less than 1 cm3 removed"
    assert np.concatenate(made.contours)[:, 0].max() < 0
    assert made.slice_positions_mm.max() < 12


def test_a_hole_belongs_to_its_part() -> None:
    ring = tuple(c for z in PLANES[10:20] for c in (circle(0, 0, z, 20), circle(0, 0, z, 10)))
    case = drawn(GTVp=ring)
    step = Step("CTV", "CTV", of=("GTVp",), then=(DropParts(0.5),))
    made = derive((step,), case, PLANES)["CTV"]
    assert volume_cm3(made.contours) == pytest.approx(np.pi * (20**2 - 10**2) * 30 / 1000, rel=0.001)


def test_a_target_that_comes_out_empty_tells_how_it_was_made() -> None:
    step = Step("PTV", "PTV", of=("GTVn",), then=(Contract(Margin.uniform(20)),), rules=("X-1",))
    with pytest.raises(GeometryError, match=r"'PTV' comes out empty \(from GTVn \[X-1\]; contracted by 20 mm"):
        derive((step,), CASE, PLANES)


def test_a_step_of_nothing_and_an_unknown_role_are_refused() -> None:
    with pytest.raises(InputError, match="names no structure"):
        Step("PTV", "PTV")
    with pytest.raises(InputError, match="unknown role"):
        Step("PTV", "TARGET", of=("GTVp",))


@pytest.mark.parametrize("planes", [[0.0], [0.0, 3.0, 2.0], [[0.0, 3.0]]])
def test_planes_that_do_not_ascend_are_refused(planes: list[float]) -> None:
    with pytest.raises(GeometryError, match="ascending"):
        derive(RECIPE, CASE, planes)


def test_contours_that_skip_slices_are_filled_in() -> None:
    case = drawn(GTVp=cylinder(10, -18, 18, planes=PLANES[::2]))
    made = derive((Step("CTV", "CTV", of=("GTVp",)),), case, PLANES)["CTV"]
    assert np.diff(made.slice_positions_mm) == pytest.approx(3.0)
