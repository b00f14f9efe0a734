"""Conformity, homogeneity and gradient of spheres in a dose that falls with the radius."""

from dataclasses import replace

import numpy as np
import pytest

from tailort.errors import GeometryError, InputError
from tailort.evaluation import (
    dvh,
    gradient_index,
    histograms,
    homogeneity_index,
    index_rows,
    isodose_volume_cm3,
    paddick_conformity_index,
    rtog_conformity_index,
)
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Normalisation, Prescription, Structure, StructureSet
from tailort.patient.painted import Painted

FRAME = "1.2.3"
ANGLES = np.linspace(0, 2 * np.pi, 120, endpoint=False)


def ball(radius, centre=(0, 0, 0), spacing=1.0) -> Structure:
    contours = []
    for z in np.arange(-radius + spacing / 2, radius, spacing):
        r = np.sqrt(radius**2 - z**2)
        contours.append(np.stack([r * np.cos(ANGLES), r * np.sin(ANGLES), np.full(120, z)], -1) + centre)
    return Structure("Ball", "PTV", tuple(contours), FRAME)


@pytest.fixture(scope="module")
def cone_dose() -> Dose:
    """80 - r Gy at a distance of r mm: the isodose of D Gy is a ball of radius 80 - D."""
    grid = Grid.axial((61, 61, 61), (2.0,) * 3, (-60.0,) * 3, FRAME)
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    values = np.maximum(0.0, 80 - np.sqrt(x**2 + y**2 + z**2)).astype(np.float32)
    return Dose(Image(grid, values, "Gy"), "physical", "course", 30, None, "formula")


def volume(radius) -> float:
    return 4 / 3 * np.pi * radius**3 / 1000


# The voxels of 2 mm flatten the top of the cone: its small isodoses are smaller than their balls.
@pytest.mark.parametrize(("radius", "tolerance"), [(8.0, 0.04), (12.0, 0.02), (20.0, 0.01), (35.0, 0.005)])
def test_the_volume_of_an_isodose_is_that_of_its_ball(cone_dose, radius, tolerance):
    assert isodose_volume_cm3(cone_dose, 80 - radius) == pytest.approx(volume(radius), rel=tolerance)


def test_an_isodose_that_leaves_the_grid_has_no_known_volume(cone_dose):
    with pytest.raises(GeometryError, match="edge of the dose grid"):
        isodose_volume_cm3(cone_dose, 15.0)


def test_a_perfect_fit_has_a_paddick_index_of_1(cone_dose):
    target = dvh(ball(20), cone_dose)
    assert paddick_conformity_index(target, isodose_volume_cm3(cone_dose, 60), 60) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("isodose_radius", [15.0, 25.0])
def test_paddick_index_of_concentric_balls_is_the_ratio_of_their_volumes(cone_dose, isodose_radius):
    target = dvh(ball(20), cone_dose)
    level = 80 - isodose_radius
    expected = volume(min(20, isodose_radius)) ** 2 / (volume(20) * volume(isodose_radius))
    found = paddick_conformity_index(target, isodose_volume_cm3(cone_dose, level), level)
    assert found == pytest.approx(expected, rel=0.02)


def test_paddick_sees_an_isodose_beside_the_target_and_rtog_does_not(cone_dose):
    target = dvh(ball(8, centre=(25, 0, 0)), cone_dose)
    isodose = isodose_volume_cm3(cone_dose, 72)
    assert paddick_conformity_index(target, isodose, 72) == 0.0
    assert rtog_conformity_index(target, isodose) == pytest.approx(1.0, abs=0.04)


def test_nothing_prescribed_nothing_conformal(cone_dose):
    assert paddick_conformity_index(dvh(ball(8), cone_dose), isodose_volume_cm3(cone_dose, 90), 90) == 0.0
    with pytest.raises(InputError, match="no gradient index"):
        gradient_index(1.0, 0.0)


def test_gradient_index_of_the_cone_is_the_cube_of_its_radii(cone_dose):
    found = gradient_index(isodose_volume_cm3(cone_dose, 32), isodose_volume_cm3(cone_dose, 64))
    assert found == pytest.approx((48 / 16) ** 3, rel=0.01)


def test_homogeneity_index_of_a_ball_in_the_cone_follows_from_the_radii(cone_dose):
    # D(v) = 80 - 20 v^(1/3)
    d = [80 - 20 * v ** (1 / 3) for v in (0.02, 0.98, 0.5)]
    assert homogeneity_index(dvh(ball(20), cone_dose)) == pytest.approx((d[0] - d[1]) / d[2], rel=0.01)


def test_without_dose_there_is_no_homogeneity(cone_dose):
    empty = Dose(cone_dose.image.with_values(np.zeros((61, 61, 61), np.float32)), "physical", "course", 30, None, "0")
    with pytest.raises(InputError, match="no homogeneity"):
        homogeneity_index(dvh(ball(8), empty))


def prescribed(target: str, dose_gy: float, phase: int = 1) -> Prescription:
    return Prescription(target, dose_gy, 30, Normalisation("coverage", "D95%[Gy]"), phase)


def drawn(*structures: Structure) -> StructureSet:
    return StructureSet(structures, FRAME)


def test_each_dose_level_has_its_indices_and_the_highest_its_homogeneity(cone_dose):
    inner, outer = replace(ball(10), name="Inner"), replace(ball(20), name="Outer")
    curves = {s.name: dvh(s, cone_dose) for s in (inner, outer)}
    asked = [prescribed("Inner", 70.0), prescribed("Outer", 60.0)]
    rows = index_rows(drawn(inner, outer), curves, cone_dose, asked)
    told = {(row.structure, row.metric): row.value for row in rows}
    assert told["Inner", "CI(Paddick)"] == pytest.approx(1.0, abs=0.04)
    assert told["Outer", "CI(RTOG)"] == pytest.approx(1.0, abs=0.02)
    # Half of 60 Gy is a ball of 50 mm, that of 60 Gy one of 20 mm.
    assert told["Outer", "GI(Paddick)"] == pytest.approx((50 / 20) ** 3, rel=0.02)
    assert ("Outer", "HI(ICRU83)") not in told
    # In a cone the dose at D% is 80 Gy less the radius that holds D% of the ball.
    d2, d50, d98 = (80 - 10 * share ** (1 / 3) for share in (0.02, 0.5, 0.98))
    assert told["Inner", "HI(ICRU83)"] == pytest.approx((d2 - d98) / d50, rel=0.05)
    assert {row.verdict for row in rows} == {"report"}


def test_a_target_around_a_painted_one_is_not_the_highest_level(cone_dose):
    inner, outer = replace(ball(10), name="Inner"), replace(ball(20), name="Outer")
    curves = {s.name: dvh(s, cone_dose) for s in (inner, outer)}
    grid = cone_dose.image.grid
    painted = Painted(Image(grid, np.full(grid.shape, 70.0, np.float32), "Gy"), 60.0, 80.0, "even")
    asked = [replace(prescribed("Inner", 70.0), painted=painted), prescribed("Outer", 60.0)]
    rows = index_rows(drawn(inner, outer), curves, cone_dose, asked)
    assert {(row.structure, row.metric) for row in rows} == {
        ("Outer", "CI(Paddick)"), ("Outer", "CI(RTOG)"), ("Outer", "GI(Paddick)")
    }  # fmt: skip


def test_phases_of_one_target_are_one_dose_level(cone_dose):
    balls, curves = drawn(ball(20)), {"Ball": dvh(ball(20), cone_dose)}
    once = index_rows(balls, curves, cone_dose, [prescribed("Ball", 60.0)])
    twice = index_rows(balls, curves, cone_dose, [prescribed("Ball", 40.0), prescribed("Ball", 20.0, phase=2)])
    assert once == twice


def test_an_index_without_a_value_is_unknown_and_says_why(cone_dose):
    rows = index_rows(drawn(ball(20)), {"Ball": dvh(ball(20), cone_dose)}, cone_dose, [prescribed("Ball", 30.0)])
    gradient = next(row for row in rows if row.metric == "GI(Paddick)")
    assert (gradient.value, gradient.verdict) == (None, "unknown")
    assert "edge of the dose grid" in gradient.reason


def test_a_lower_level_is_judged_together_with_the_higher_targets_beside_it(cone_dose):
    """Halves of the ball of 60 Gy, one of which is to get 70 Gy: alone the other fills half of the isodose."""
    whole = ball(20)
    upper, lower = (
        replace(whole, name=name, contours=tuple(c for c in whole.contours if side * c[0, 2] > 0))
        for name, side in (("Upper", 1.0), ("Lower", -1.0))
    )
    asked = [prescribed("Lower", 60.0), prescribed("Upper", 70.0)]
    curves = histograms([upper, lower], cone_dose)
    together = index_rows(drawn(upper, lower), curves, cone_dose, asked)
    # A target that is not drawn is in no whole.
    alone = index_rows(drawn(lower), {"Lower": curves["Lower"]}, cone_dose, asked)
    of_lower, before = ({r.metric: r for r in rows if r.structure == "Lower"} for rows in (together, alone))
    assert of_lower["CI(Paddick)"].value == pytest.approx(1.0, abs=0.03)
    assert of_lower["CI(RTOG)"].value == pytest.approx(1.0, abs=0.03)
    assert before["CI(Paddick)"].value == pytest.approx(0.5, abs=0.03)
    assert "together with the targets of higher doses" in of_lower["CI(Paddick)"].source
    assert "together" not in before["CI(Paddick)"].source
    # The highest level is about its own target: half of the ball of 20 mm holds half of that of 10 mm.
    (of_upper,) = [r for r in together if (r.structure, r.metric) == ("Upper", "CI(RTOG)")]
    assert of_upper.value == pytest.approx(volume(10) / (0.5 * volume(20)), rel=0.03)
    assert "together" not in of_upper.source
