"""Set-up errors: scenarios, the dose of a shifted patient, and what the plan is worth then."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.dose import engine
from tailort.errors import GeometryError, InputError
from tailort.evaluation import assess, dvh
from tailort.evaluation.robustness import judge_scenarios
from tailort.evaluation.robustness_doses import blurred, from_cloud, from_engine, moved_dose, moved_plan
from tailort.evaluation.robustness_scenarios import (
    Scenario,
    ScenarioSet,
    SetupErrors,
    explicit,
    shift_name,
    within,
)
from tailort.geometry import Grid, Image, interpolate
from tailort.patient import (
    Beam,
    Constraint,
    ControlPoint,
    Dose,
    Normalisation,
    Plan,
    Prescription,
    Structure,
    StructureSet,
)
from tailort.physics import machine

FRAME = "1.2.3"
GRID = Grid.axial((41, 41, 41), (2.0,) * 3, (-40.0,) * 3, FRAME)
ERRORS = SetupErrors((2.0, 3.0, 1.5), (1.0, 2.0, 0.5), 25)


def box(name, low, high, role="ORGAN") -> Structure:
    (x0, y0, z0), (x1, y1, z1) = low, high
    ring = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)
    contours = tuple(np.column_stack([ring, np.full(4, z)]) for z in np.arange(z0 + 1.0, z1, 2.0))
    return Structure(name, role, contours, FRAME)


CTV = box("CTV", (-10, -10, -10), (10, 10, 10), "CTV")
CORD = box("SpinalCord", (18, -6, -10), (26, 6, 10))
STRUCTURES = StructureSet((CTV, CORD), FRAME)
PRESCRIPTION = Prescription("CTV", 50.0, 25, Normalisation("coverage", metric="D95%[Gy]"))
LIMITS = (
    Constraint("CTV", "D98%[Gy]", ">=", 47.0, "goal", "test"),
    Constraint("SpinalCord", "Max[Gy]", "<=", 45.0, "hard", "test"),
    Constraint("SpinalCord", "Mean[Gy]", "<", 40.0, "goal", "test", "EQD2", 2.0),
)


def dose_of_formula(formula) -> Dose:
    z, y, x = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    values = (formula(x, y, z) + 0.0 * x).astype(np.float32)
    return Dose(Image(GRID, values, "Gy"), "physical", "course", 25, None, "formula")


LINEAR = dose_of_formula(lambda x, y, z: 50.0 - 0.5 * x + 0.2 * y + 0.1 * z)
HILL = dose_of_formula(lambda x, y, z: 52.0 * np.exp(-((x / 30) ** 4) - (y / 35) ** 4 - (z / 32) ** 4))


def judged(dose, scenarios, **more):
    asked = {"method": "static dose cloud", "bin_gy": 0.1} | more
    return judge_scenarios(STRUCTURES, scenarios, from_cloud(dose, scenarios), LIMITS, (PRESCRIPTION,), **asked)


def pick(rows, structure, metric, quantity="physical"):
    (row,) = [r for r in rows if (r.structure, r.metric, r.quantity) == (structure, metric, quantity)]
    return row


shifts = st.tuples(*[st.floats(-8.0, 8.0)] * 3)


# ---- scenarios


def covariance(scenarios: ScenarioSet) -> np.ndarray:
    places, weights = np.array([one.shift_mm for one in scenarios.scenarios]), np.array(scenarios.weights)
    np.testing.assert_allclose(weights @ places, 0.0, atol=1e-12)
    return (weights[:, None] * places).T @ places


@pytest.mark.parametrize("make", [lambda e: e.along_axes(2.0), lambda e: e.along_axes(3**0.5), lambda e: e.product()])
def test_weighted_scenarios_have_the_covariance_of_the_errors(make) -> None:
    # Mean position of a course: systematic^2 + random^2 / fractions.
    wanted = np.diag([2.0**2 + 1.0 / 25, 3.0**2 + 4.0 / 25, 1.5**2 + 0.25 / 25])
    np.testing.assert_allclose(covariance(make(ERRORS)), wanted, atol=1e-12)


def test_the_product_rule_has_the_fourth_moment_of_the_normal_distribution() -> None:
    scenarios = ERRORS.product()
    assert len(scenarios) == 27
    x = np.array([one.shift_mm[0] for one in scenarios.scenarios])
    assert np.array(scenarios.weights) @ x**4 == pytest.approx(3 * (4.0 + 1.0 / 25) ** 2)


@given(st.floats(0.0, 5.0), st.floats(0.1, 5.0), st.integers(1, 40))
def test_scenarios_and_blur_together_have_the_variance_of_all_errors(systematic, random, fractions) -> None:
    errors = SetupErrors((systematic,) * 3, (random,) * 3, fractions)
    both = np.square(errors.of_course_mm) + np.square(errors.blur_mm)
    np.testing.assert_allclose(both, systematic**2 + random**2, rtol=1e-12)


def test_one_fraction_has_no_blur() -> None:
    assert SetupErrors((2.0, 2.0, 2.0), (3.0, 3.0, 3.0), 1).blur_mm == (0.0, 0.0, 0.0)


def test_draws_are_those_of_the_seed_and_spread_as_the_errors_do() -> None:
    one, same, other = (ERRORS.drawn(4000, seed) for seed in (7, 7, 8))
    assert one == same
    assert one != other
    assert one.scenarios[one.nominal].weight == 0.0
    drawn = np.array([scenario.shift_mm for scenario in one.scenarios if not scenario.is_nominal])
    np.testing.assert_allclose(drawn.std(axis=0), ERRORS.of_course_mm, rtol=0.05)


@pytest.mark.parametrize(("directions", "count"), [(6, 7), (14, 15), (26, 27)])
def test_shifts_within_a_reach_lie_on_its_ellipsoid(directions, count) -> None:
    scenarios = within((5.0, 4.0, 8.0), directions)
    assert len(scenarios) == count
    assert scenarios.weights is None
    lengths = np.linalg.norm([np.array(one.shift_mm) / (5.0, 4.0, 8.0) for one in scenarios.scenarios], axis=1)
    np.testing.assert_allclose(np.sort(lengths), [0.0] + [1.0] * (count - 1))


def test_an_axis_without_reach_leaves_the_plane_of_the_others() -> None:
    scenarios = within((5.0, 0.0, 5.0), 14)
    assert len(scenarios) == 9
    assert all(one.shift_mm[1] == 0.0 for one in scenarios.scenarios)


def test_shifts_are_told_in_the_words_of_the_clinic() -> None:
    assert shift_name((5.0, 0.0, 0.0)) == "5 mm left"
    assert shift_name((-2.5, 3.0, -1.0)) == "2.5 mm right, 3 mm posterior, 1 mm inferior"
    assert shift_name((0.0, -3.0, 4.0)) == "3 mm anterior, 4 mm superior"
    assert shift_name((0.0, 0.0, 0.0)) == "nominal"


def test_scenarios_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        explicit([(1.0, np.nan, 0.0)])
    with pytest.raises(InputError, match="named"):
        explicit([(1.0, 0.0, 0.0), (1.0, 0.0, 0.0)])
    with pytest.raises(InputError, match="sum 1"):
        explicit([(0.0, 0.0, 0.0), (1.0, 0.0, 0.0)], [0.5, 0.6])
    with pytest.raises(InputError, match="0 to 1"):
        explicit([(1.0, 0.0, 0.0), (2.0, 0.0, 0.0)], [0.7, 0.6])
    with pytest.raises(InputError, match="as many weights"):
        explicit([(1.0, 0.0, 0.0)], [0.5, 0.5])
    with pytest.raises(InputError, match="nominal position"):
        ScenarioSet((Scenario("a", (1.0, 0.0, 0.0)),), (0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="all of them or none"):
        ScenarioSet((Scenario("n", (0.0, 0.0, 0.0), 1.0), Scenario("a", (1.0, 0.0, 0.0))), (0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="below 0 mm"):
        SetupErrors((-1.0, 1.0, 1.0), (0.0, 0.0, 0.0), 25)
    with pytest.raises(InputError, match="fraction"):
        SetupErrors((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), 0)
    with pytest.raises(InputError, match=r"1\.732"):
        ERRORS.along_axes(1.0)
    with pytest.raises(InputError, match="give their size"):
        SetupErrors((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 25).product()
    with pytest.raises(InputError, match="reach"):
        within((0.0, 0.0, 0.0), 6)
    with pytest.raises(InputError, match="6, 14 and 26"):
        within((5.0, 5.0, 5.0), 8)


# ---- the dose of a shifted patient


@given(shifts, shifts)
@settings(max_examples=40)
def test_the_shifted_patient_has_at_a_point_the_planned_dose_at_the_point_plus_the_shift(shift, point) -> None:
    there = interpolate(moved_dose(HILL, shift).image, np.array(point), np.nan)
    planned = interpolate(HILL.image, np.array(point) + np.array(shift), np.nan)
    assert there == pytest.approx(planned, rel=1e-6)


@given(shifts, shifts)
@settings(max_examples=20)
def test_shifts_add_and_going_back_is_the_planned_dose(one, other) -> None:
    twice = moved_dose(moved_dose(HILL, one), other)
    assert twice.image.grid.same_as(moved_dose(HILL, np.add(one, other)).image.grid)
    assert moved_dose(moved_dose(HILL, one), np.negative(one)).image.grid.same_as(GRID)


def test_beyond_the_grid_the_dose_is_unknown_or_that_at_the_face() -> None:
    shift, point = (0.0, 0.0, 7.0), np.array([3.0, -2.0, 39.5])
    assert np.isnan(interpolate(moved_dose(LINEAR, shift).image, point, np.nan))
    continued = moved_dose(LINEAR, shift, "as at the face")
    assert interpolate(continued.image, point, np.nan) == pytest.approx(50.0 - 1.5 - 0.4 + 4.0, abs=1e-4)
    inside = np.array([3.0, -2.0, 20.0])
    assert interpolate(continued.image, inside, np.nan) == pytest.approx(50.0 - 1.5 - 0.4 + 2.7, abs=1e-4)


def open_field(isocentre=(0.0, 0.0, 0.0)) -> Plan:
    points = tuple(ControlPoint(at, 0.0, 0.0, 0.0, (-25.0, 25.0), (-25.0, 25.0), None) for at in (0.0, 100.0))
    beam = Beam("AP", 1, "generic-6MV", 6.0, True, isocentre, (), points)
    return Plan("test", (beam,), (), 25, "HFS", FRAME)


def test_a_moved_plan_has_its_isocentres_on_the_other_side_of_the_shift() -> None:
    plan = moved_plan(open_field((10.0, 20.0, 30.0)), (5.0, -3.0, 2.0))
    assert plan.beams[0].isocentre_mm == (5.0, 23.0, 28.0)
    assert (plan.mu, plan.fractions) == (100.0, 25)


@pytest.mark.parametrize("shift", [(6.0, 0.0, 0.0), (0.0, 0.0, -6.0)], ids=["6 mm left", "6 mm inferior"])
def test_across_the_beam_the_static_cloud_is_the_dose_that_the_engine_finds_for_the_shifted_patient(shift) -> None:
    grid = Grid.axial((30, 24, 30), (4.0,) * 3, (-58.0, -46.0, -58.0), FRAME)
    water = Image(grid, np.ones(grid.shape, dtype=np.float32), "g/cm3")
    compute, linac, body = engine("collapsed-cone").compute, machine("generic-6MV"), np.ones(grid.shape)
    planned = compute(open_field(), water, linac, grid, body=body)
    found = compute(moved_plan(open_field(), shift), water, linac, grid, body=body)
    # Voxels in the two penumbras, half-way down: 6 mm one way or the other differ by a third of the dose there.
    points = np.array([(x, 0.0, z) for x, z in ((25.0, 0.0), (-25.0, 0.0), (0.0, 25.0), (0.0, -25.0), (0.0, 0.0))])
    exact = interpolate(found.image, points, np.nan)
    cloud = interpolate(moved_dose(planned, shift).image, points, np.nan)
    full = exact[-1]
    np.testing.assert_allclose(cloud, exact, atol=0.03 * full)
    wrong = interpolate(moved_dose(planned, np.negative(shift)).image, points, np.nan)
    assert np.abs(wrong - exact).max() > 0.3 * full


# ---- random errors


@given(st.floats(0.3, 6.0), st.sampled_from([1.0, 3.0, 5.0]))
@settings(max_examples=25)
def test_the_blur_has_the_variance_of_the_errors_however_wide_the_voxels_are(spread, voxel) -> None:
    grid = Grid.axial((1, 1, 121), (voxel,) * 3, (-60 * voxel, 0.0, 0.0), FRAME)
    point = np.zeros(grid.shape)
    point[0, 0, 60] = 60.0
    found = blurred(
        Dose(Image(grid, point, "Gy"), "physical", "course", 25, None, "f"), (spread, 0.0, 0.0)
    ).image.values
    x = grid.axes_mm()[2]
    assert found.sum() == pytest.approx(60.0)
    assert (found[0, 0] @ x**2) / 60.0 == pytest.approx(spread**2, rel=1e-3)


def test_blurs_add_by_their_squares() -> None:
    twice = blurred(blurred(HILL, (1.5, 2.0, 0.0)), (2.0, 1.0, 3.0))
    once = blurred(HILL, (2.5, 5.0**0.5, 3.0))
    # Away from the faces, where both have continued the dose.
    inside = np.s_[10:-10, 10:-10, 10:-10]
    np.testing.assert_allclose(twice.image.values[inside], once.image.values[inside], atol=1e-3)
    assert np.abs(once.image.values - HILL.image.values)[inside].max() > 0.5


def test_a_blur_leaves_linear_doses_and_a_blur_of_nothing_every_dose() -> None:
    inside = np.s_[15:-15, 15:-15, 15:-15]
    np.testing.assert_allclose(
        blurred(LINEAR, (3.0, 3.0, 3.0)).image.values[inside], LINEAR.image.values[inside], atol=1e-3
    )
    assert blurred(HILL, (0.0, 0.0, 0.0)) is HILL


def test_with_an_outline_the_air_is_not_blurred_into_the_skin() -> None:
    body = np.abs(GRID.axes_mm()[2])[None, None, :] < 30.0
    body = np.broadcast_to(body, GRID.shape)
    dose = replace(LINEAR, image=LINEAR.image.with_values(np.where(body, 40.0, 0.0)))
    np.testing.assert_allclose(blurred(dose, (4.0, 4.0, 4.0), body).image.values, dose.image.values, atol=1e-9)
    assert blurred(dose, (4.0, 4.0, 4.0)).image.values[body].min() < 30.0


def test_what_cannot_be_blurred_is_refused() -> None:
    with pytest.raises(InputError, match="physical"):
        blurred(Dose(HILL.image, "EQD2", "course", 25, 2.0, "f"), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="0 mm or more"):
        blurred(HILL, (1.0, -1.0, 1.0))
    with pytest.raises(GeometryError, match="outline"):
        blurred(HILL, (1.0, 1.0, 1.0), np.ones((2, 2, 2)))


def test_the_cloud_of_a_set_of_scenarios_is_blurred_and_moved() -> None:
    scenarios = SetupErrors((2.0, 2.0, 2.0), (4.0, 2.0, 1.0), 25).along_axes(2.0)
    left = scenarios.scenarios[1]
    found = from_cloud(HILL, scenarios)(left)
    wanted = moved_dose(blurred(HILL, scenarios.blur_mm), left.shift_mm)
    assert found.image.grid.same_as(wanted.image.grid)
    np.testing.assert_allclose(found.image.values, wanted.image.values)
    assert np.abs(found.image.values - HILL.image.values).max() > 0.5


def test_the_engine_is_asked_for_the_moved_plan_and_its_dose_is_blurred() -> None:
    scenarios = SetupErrors((2.0, 2.0, 2.0), (4.0, 2.0, 1.0), 25).along_axes(2.0)
    asked = []

    def compute(plan):
        asked.append(plan.beams[0].isocentre_mm)
        return HILL

    found = from_engine(open_field(), scenarios, compute)(scenarios.scenarios[1])
    assert asked == [tuple(-c for c in scenarios.scenarios[1].shift_mm)]
    np.testing.assert_allclose(found.image.values, blurred(HILL, scenarios.blur_mm).image.values)


# ---- the plan in all scenarios


@pytest.fixture(scope="module")
def found():
    return judged(HILL, SetupErrors((3.0, 3.0, 3.0), (0.0, 0.0, 0.0), 25).along_axes(2.0))


def test_the_nominal_scenario_is_the_plans_scorecard_and_histogram(found) -> None:
    card = assess(STRUCTURES, HILL, LIMITS, (PRESCRIPTION,))
    assert [row.nominal for row in found.rows] == [row.value for row in card.rows]
    assert found.cards[found.scenarios.nominal].rows == card.rows
    dose, volume = card.histograms["CTV"].curve(0.1)
    np.testing.assert_array_equal(found.bands["CTV"].nominal_cm3[: len(volume)], volume)
    np.testing.assert_array_equal(found.bands["CTV"].dose_gy[: len(dose)], dose)


def test_no_shift_at_all_has_bands_without_width() -> None:
    only = judged(HILL, explicit([(0.0, 0.0, 0.0)], [1.0]))
    for band in only.bands.values():
        np.testing.assert_array_equal(band.lowest_cm3, band.highest_cm3)
        np.testing.assert_allclose(band.expected_cm3, band.nominal_cm3)
    for row in only.rows:
        assert row.worst == row.nominal == row.expected


@given(st.lists(shifts.filter(any), min_size=1, max_size=3, unique=True))
@settings(max_examples=6)
def test_bands_and_extremes_contain_every_scenario(chosen) -> None:
    try:
        scenarios = explicit(chosen)
    except InputError:
        return  # Two shifts that are told by the same name.
    result = judged(HILL, scenarios)
    for band in result.bands.values():
        assert (band.lowest_cm3 <= band.by_scenario_cm3).all()
        assert (band.highest_cm3 >= band.by_scenario_cm3).all()
        assert band.expected_cm3 is None
    for row, *own in zip(result.rows, *(card.rows for card in result.cards), strict=True):
        values = [one.value for one in own]
        assert row.lowest == min(values)
        assert row.highest == max(values)
        assert row.expected is None


def test_opposite_shifts_of_a_symmetric_patient_have_the_same_histogram() -> None:
    alone = StructureSet((CTV,), FRAME)
    scenarios = explicit([(4.0, 0.0, 0.0), (-4.0, 0.0, 0.0), (0.0, 0.0, 3.0), (0.0, 0.0, -3.0)])
    result = judge_scenarios(
        alone,
        scenarios,
        lambda one: moved_dose(HILL, one.shift_mm),
        LIMITS[:1],
        (PRESCRIPTION,),
        method="m",
        bin_gy=0.2,
    )
    curves = result.bands["CTV"].by_scenario_cm3
    # Of 8 cm3.
    np.testing.assert_allclose(curves[1], curves[2], atol=0.01)
    np.testing.assert_allclose(curves[3], curves[4], atol=0.01)
    assert np.abs(curves[1] - curves[3]).max() > 0.05


@given(shifts)
@settings(max_examples=8)
def test_in_a_linear_dose_every_dose_metric_moves_by_the_gradient_times_the_shift(shift) -> None:
    change = np.array([-0.5, 0.2, 0.1]) @ shift
    for metric in ("D98%[Gy]", "D50%[Gy]", "Mean[Gy]", "Max[Gy]", "Min[Gy]"):
        before, after = (dvh(CTV, dose).value(metric) for dose in (LINEAR, moved_dose(LINEAR, shift)))
        assert after - before == pytest.approx(change, abs=0.03)


def test_worst_values_are_on_the_side_of_the_limit_and_expected_ones_are_weighted() -> None:
    scenarios = explicit([(4.0, 0.0, 0.0), (-4.0, 0.0, 0.0)], [0.2, 0.3])
    rows = judged(LINEAR, scenarios).rows
    d98, hottest = pick(rows, "CTV", "D98%[Gy]"), pick(rows, "SpinalCord", "Max[Gy]")
    # Patient to the left, into the lower dose: the dose falls by 0.5 Gy per mm.
    assert d98.worst == pytest.approx(d98.nominal - 2.0, abs=0.02)
    assert d98.worst_scenario == "4 mm left"
    assert hottest.worst == pytest.approx(hottest.nominal + 2.0, abs=0.02)
    assert hottest.worst_scenario == "4 mm right"
    assert d98.expected == pytest.approx(d98.nominal - 0.2 * 2.0 + 0.3 * 2.0, abs=0.02)
    assert hottest.lowest == pytest.approx(hottest.nominal - 2.0, abs=0.02)


def test_a_limit_fails_when_it_does_in_one_scenario() -> None:
    scenarios = explicit([(4.0, 0.0, 0.0), (-4.0, 0.0, 0.0)], [0.2, 0.3])
    result = judged(LINEAR, scenarios)
    row = pick(result.rows, "SpinalCord", "Max[Gy]")
    # Highest at x = 18: 50 - 9 + 1.2 + 1 = 43.2, and 45.2 when shifted to the right.
    assert row.nominal == pytest.approx(43.2, abs=0.02)
    assert (row.verdict, row.held, row.scenarios) == ("fail", 2, 3)
    assert row.weight_held == pytest.approx(0.7)
    assert result.hard_failures == (row,)
    assert judged(LINEAR, explicit([(4.0, 0.0, 0.0)])).hard_failures == ()


def test_the_expected_mean_of_a_parabola_is_off_by_half_the_curvature_times_the_variance() -> None:
    parabola = dose_of_formula(lambda x, y, z: 30.0 + 0.02 * x**2 + 0.01 * y**2)
    errors = SetupErrors((2.0, 3.0, 1.0), (0.0, 0.0, 0.0), 25)
    for scenarios in (errors.along_axes(2.0), errors.product()):
        row = pick(judged(parabola, scenarios, metrics={"CTV": ["Mean[Gy]"]}).rows, "CTV", "Mean[Gy]")
        assert row.expected - row.nominal == pytest.approx(0.02 * 4.0 + 0.01 * 9.0, abs=0.005)
        assert (row.worst, row.verdict) == (None, "report")


def test_the_expected_histogram_is_the_weighted_mean(found) -> None:
    band = found.bands["SpinalCord"]
    wanted = sum(w * v for w, v in zip(found.scenarios.weights, band.by_scenario_cm3, strict=True))
    np.testing.assert_allclose(band.expected_cm3, wanted)
    assert (band.expected_cm3 >= band.lowest_cm3).all()
    assert (band.expected_cm3 <= band.highest_cm3).all()
    assert band.expected_cm3[0] == pytest.approx(band.volume_cm3)


def test_what_a_shift_brings_in_from_beyond_the_grid_makes_the_row_unknown() -> None:
    # As planned the cord gets 45.7 Gy, so that only what is not known can break the limit.
    limit = Constraint("SpinalCord", "Max[Gy]", "<=", 48.0, "hard", "test")
    scenarios = explicit([(0.0, 0.0, 35.0), (2.0, 0.0, 0.0)], [0.1, 0.1])
    result = judge_scenarios(
        STRUCTURES, scenarios, lambda one: moved_dose(HILL, one.shift_mm), [limit], (), method="cloud", bin_gy=0.1
    )
    (row,) = result.rows
    assert row.nominal == pytest.approx(45.7, abs=0.1)
    assert (row.worst, row.expected, row.weight_held) == (None, None, None)
    assert row.verdict == "unknown"
    assert row.reason.startswith("35 mm superior")
    assert "outside the dose grid" in row.reason
    band = result.bands["SpinalCord"]
    assert band.outside_cm3[1] > 0
    assert band.expected_cm3 is None
    # Not known is not 0 Gy: the band goes up to where the unknown part could be.
    assert (band.highest_cm3 >= band.outside_cm3[1] - 1e-9).all()


def test_every_dose_is_asked_for_once_and_in_order() -> None:
    asked, told = [], []

    def dose_of(scenario):
        asked.append(scenario.name)
        return moved_dose(HILL, scenario.shift_mm)

    scenarios = within((3.0, 3.0, 3.0), 6)
    result = judge_scenarios(
        STRUCTURES, scenarios, dose_of, LIMITS[:1], (), method="m", bin_gy=0.5, curves_of=["SpinalCord"],
        progress=told.append,
    )  # fmt: skip
    assert asked == [one.name for one in scenarios.scenarios]
    assert told[-1] == 1.0
    assert told == sorted(told)
    assert set(result.bands) == {"CTV", "SpinalCord"}


def test_the_result_is_json(found) -> None:
    text = json.dumps(found.as_dict(), allow_nan=False)
    again = json.loads(text)
    assert len(again["metrics"]) == len(found.rows) == 4
    assert [one["shift_mm"] for one in again["scenarios"]][1] == [6.0, 0.0, 0.0]


def test_a_bin_of_no_width_is_refused() -> None:
    with pytest.raises(InputError, match="above 0 Gy"):
        judged(HILL, explicit([(1.0, 0.0, 0.0)]), bin_gy=0.0)
