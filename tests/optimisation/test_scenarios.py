"""Robust plans: the mean over scenarios, limits in every scenario, targets that stay covered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_patient import toy

from tailort.dose import engine
from tailort.errors import InputError, MissingStructureError
from tailort.geometry import Grid, Image, interpolate, partial_volume
from tailort.optimisation import (
    Effort,
    Limit,
    Problem,
    Smoothness,
    VoxelSet,
    Wish,
    distances_mm,
    objectives_from,
    reference_weight,
    sequence,
    solve,
)
from tailort.optimisation.objectives import (
    LinearQuadratic,
    MaxDoseVolume,
    MeanDose,
    MinDoseVolume,
    SquaredMeanOverdose,
    SquaredOverdose,
    SquaredUnderdose,
    UniformDose,
)
from tailort.optimisation.scenarios import (
    OverScenarios,
    Part,
    ScenarioSets,
    moved_volumes,
    named,
    robust,
    structure_of,
    united,
)
from tailort.patient import Beamlets, BeamSetup, Constraint, Normalisation, Prescription
from tailort.physics import machine

FRACTIONS = 30
SHIFTS = {
    "nominal": (0.0, 0.0, 0.0),
    "4 mm left": (4.0, 0.0, 0.0),
    "4 mm right": (-4.0, 0.0, 0.0),
    "4 mm posterior": (0.0, 4.0, 0.0),
    "4 mm anterior": (0.0, -4.0, 0.0),
    "5 mm superior": (0.0, 0.0, 5.0),
    "5 mm inferior": (0.0, 0.0, -5.0),
}
EFFORT = Effort(iterations=400, rounds=10, value_tolerance=1e-3)


def points_of(influence, rows) -> np.ndarray:
    return influence.grid.to_world(np.stack(np.unravel_index(influence.voxels[rows], influence.grid.shape), axis=-1))


def moved(influence, voxels: VoxelSet, shift) -> VoxelSet:
    """The voxel set that a shift by whole voxels moves it to."""
    index = np.round(influence.grid.to_index(points_of(influence, voxels.rows) + np.array(shift))).astype(int)
    flat = np.ravel_multi_index(tuple(index.T), influence.grid.shape)
    rows = np.searchsorted(influence.voxels, flat)
    assert (influence.voxels[rows] == flat).all()
    return VoxelSet(voxels.name, rows, voxels.volume)


@pytest.fixture(scope="module")
def patient():
    influence, sets = toy(n_beams=7, spacing_mm=4.0, slices=6)
    points = points_of(influence, sets["PTV"].rows)
    # The toy's target is a CTV here, less its outermost slices, so that it can move within the beamlets; the core is
    # small enough for the two not to meet.
    kept = np.abs(points[:, 2]) < 5.0
    sets["CTV"] = VoxelSet("CTV", sets["PTV"].rows[kept], np.ones(int(kept.sum())))
    near = np.hypot(*points_of(influence, sets["Core"].rows)[:, :2].T) < 7.0
    sets["Core"] = VoxelSet("Core", sets["Core"].rows[near], np.ones(int(near.sum())))
    scenarios = tuple(
        ScenarioSets(name, {key: moved(influence, sets[key], shift) for key in ("CTV", "Core")}, 1 / len(SHIFTS))
        for name, shift in SHIFTS.items()
    )
    return influence, sets, scenarios


WISHES = (
    Wish("CTV", SquaredUnderdose(60.6), 100.0),
    Wish("CTV", SquaredOverdose(64.0), 50.0),
    Wish("Body", MeanDose(), 1.0),
)


def nominal_problem(patient, limits=()) -> tuple[Problem, np.ndarray]:
    influence, sets, _ = patient
    outside = np.setdiff1d(np.arange(influence.shape[0]), sets["CTV"].rows)
    own = {**sets, "Body": VoxelSet("Body", outside, np.ones(len(outside)))}
    problem = Problem(influence, FRACTIONS, own, WISHES, limits)
    reference = reference_weight(problem, 60.0, "CTV")
    smooth = Smoothness.of(influence.beamlets, reference, 1.0)
    return replace(problem, smoothness=smooth), np.full(problem.size, reference)


def robust_problem(patient, limits=(), **more) -> tuple[Problem, np.ndarray]:
    problem, start = nominal_problem(patient, limits)
    _, _, scenarios = patient
    ctv = united("CTV", [one.sets["CTV"] for one in scenarios])
    asked = {"targets": ["CTV"], "limited": ["Core"], "aim": "worst"} | more
    return robust(replace(problem, sets={**problem.sets, "CTV": ctv}), scenarios, **asked), start


def in_the_room(patient, solution, name, shift) -> np.ndarray:
    """Course dose of a structure's own points when the patient is shifted, read from the dose as an image."""
    influence, sets, _ = patient
    values = np.zeros(influence.grid.size, dtype=np.float32)
    values[influence.voxels] = solution.dose_gy
    image = Image(influence.grid, values.reshape(influence.grid.shape), "Gy")
    return interpolate(image, points_of(influence, sets[name].rows) + np.array(shift), 0.0)


@pytest.fixture(scope="module")
def plans(patient):
    limit = Limit("Core", SquaredOverdose(20.0), 0.3, label="Max <= 20")
    found = {}
    for kind, (problem, start) in {
        "nominal": nominal_problem(patient, (limit,)),
        "worst": robust_problem(patient, (limit,)),
        "average": robust_problem(patient, (limit,), aim="average"),
    }.items():
        found[kind] = solve(problem, start, EFFORT)
    return found


def coldest(patient, solution) -> dict[str, float]:
    """D98% of the CTV in each scenario."""
    return {
        name: float(np.quantile(in_the_room(patient, solution, "CTV", shift), 0.02)) for name, shift in SHIFTS.items()
    }


def hottest(patient, solution) -> dict[str, float]:
    return {name: float(in_the_room(patient, solution, "Core", shift).max()) for name, shift in SHIFTS.items()}


def test_the_robust_plan_covers_the_target_where_the_nominal_plan_does_not(patient, plans) -> None:
    nominal, worst = coldest(patient, plans["nominal"]), coldest(patient, plans["worst"])
    assert nominal["nominal"] > 57.0
    assert min(nominal.values()) < 50.0
    assert min(worst.values()) > 57.0


def test_the_limit_holds_in_every_scenario_of_the_robust_plan_only(patient, plans) -> None:
    for kind in ("worst", "average"):
        assert plans[kind].feasible
        assert max(hottest(patient, plans[kind]).values()) <= 20.0 + 1e-3
    assert plans["nominal"].feasible
    assert hottest(patient, plans["nominal"])["nominal"] <= 20.0 + 1e-3
    assert max(hottest(patient, plans["nominal"]).values()) > 24.0


def test_the_worst_case_is_better_when_it_is_aimed_at_and_the_average_when_that_is(patient, plans) -> None:
    problem, _ = robust_problem(patient)
    mean, _ = robust_problem(patient, aim="average")

    def under(kind) -> np.ndarray:
        wish = problem.wishes[0]
        rows = problem.sets["CTV"].rows
        return wish.objective.by_scenario(plans[kind].dose_gy[rows])

    assert under("worst").max() < under("average").max() < under("nominal").max()
    assert mean.value(plans["average"].weights_mu) < mean.value(plans["nominal"].weights_mu)


def test_the_segments_of_a_robust_plan_keep_its_limits_and_cover_its_target(patient, plans) -> None:
    influence, _, _ = patient
    problem, _ = robust_problem(patient, (Limit("Core", SquaredOverdose(20.0), 0.3, label="Max"),))
    made = sequence(problem, influence, plans["worst"].weights_mu, machine("generic-6MV"), 10, 6, Effort(60, 6))
    assert made.solution.feasible
    assert max(hottest(patient, made.solution).values()) <= 20.0 + 1e-3
    assert min(coldest(patient, made.solution).values()) > min(coldest(patient, plans["nominal"]).values()) + 3.0


@pytest.mark.parametrize(
    "objective",
    [SquaredMeanOverdose(15.0), MaxDoseVolume(20.0, 0.3)],
    ids=["mean", "dose-volume"],
)
def test_limits_on_a_whole_structure_hold_in_each_scenario_by_its_own_voxels(patient, objective) -> None:
    problem, start = robust_problem(patient, (Limit("Core", objective, 0.2, label="core"),))
    assert [limit.structure for limit in problem.limits] == [named("Core", name) for name in SHIFTS]
    assert {structure_of(limit.structure) for limit in problem.limits} == {"Core"}
    found = solve(problem, start, Effort(150, 10))
    assert found.feasible
    for shift in SHIFTS.values():
        dose = in_the_room(patient, found, "Core", shift)
        assert objective.value(dose, np.full(len(dose), 1 / len(dose))) < 1e-6


def test_one_nominal_scenario_asks_what_the_nominal_plan_asks(patient) -> None:
    _, _, scenarios = patient
    limit = Limit("Core", SquaredOverdose(20.0), 0.3, label="Max")
    problem, start = nominal_problem(patient, (limit,))
    same = robust(problem, scenarios[:1], targets=["CTV"], limited=["Core"], aim="worst")
    weights = start * np.random.default_rng(0).uniform(0.0, 2.0, len(start))
    dose = problem.dose_gy(weights)
    assert same.value(weights) == pytest.approx(problem.value(weights), rel=1e-12)
    np.testing.assert_allclose(same.derivative(weights), problem.derivative(weights), rtol=1e-9)
    assert same.violation_gy(dose) == pytest.approx(problem.violation_gy(dose))


def over(objectives, exponent, weights=None) -> OverScenarios:
    """Three scenarios of four voxels among six."""
    rng = np.random.default_rng(5)
    places = [np.array([0, 1, 2, 3]), np.array([2, 3, 4, 5]), np.array([5, 0, 3, 1])]
    volumes = [rng.dirichlet(np.ones(4)) for _ in places]
    weights = weights or [0.5, 0.3, 0.2]
    parts = tuple(Part(o, p, v, w) for o, p, v, w in zip(objectives, places, volumes, weights, strict=True))
    return OverScenarios(parts, exponent)


EVEN = np.full(6, 1 / 6)
doses = st.lists(st.floats(0.0, 80.0), min_size=6, max_size=6).map(np.array)


@given(doses, st.sampled_from([1.0, 2.0, 8.0, 40.0]))
def test_the_mean_lies_between_the_expected_value_and_the_worst_case(dose, exponent) -> None:
    objective = over([SquaredUnderdose(60.0)] * 3, exponent)
    values, weights = objective.by_scenario(dose), np.array([0.5, 0.3, 0.2])
    mean = objective.value(dose, EVEN)
    assert mean <= values.max() * (1 + 1e-9)
    assert mean >= weights @ values * (1 - 1e-9)
    assert mean >= values.max() * 0.2 ** (1 / exponent) * (1 - 1e-9)


@given(doses, doses, st.floats(0.0, 1.0), st.sampled_from([1.0, 3.0, 8.0]))
def test_a_convex_objective_stays_convex_over_scenarios(one, other, share, exponent) -> None:
    objective = over([UniformDose(60.0)] * 3, exponent)
    between = objective.value(share * one + (1 - share) * other, EVEN)
    chord = share * objective.value(one, EVEN) + (1 - share) * objective.value(other, EVEN)
    assert between <= chord + 1e-9 * max(chord, 1.0)


@given(doses, st.sampled_from([1.0, 2.0, 8.0]))
@settings(max_examples=50)
def test_the_derivative_is_that_of_the_value(dose, exponent) -> None:
    levels = [SquaredUnderdose(60.0), SquaredUnderdose(np.array([20.0, 50.0, 60.0, 90.0])), MeanDose()]
    objective, step = over(levels, exponent), 1e-4
    slope = objective.derivative(dose, EVEN)
    for n in range(6):
        move = step * (np.arange(6) == n)
        difference = (objective.value(dose + move, EVEN) - objective.value(dose - move, EVEN)) / (2 * step)
        assert slope[n] == pytest.approx(difference, rel=1e-4, abs=2e-3)


def test_a_wish_that_is_served_in_every_scenario_has_no_slope() -> None:
    objective = over([SquaredUnderdose(60.0)] * 3, 8.0)
    assert objective.value(np.full(6, 61.0), EVEN) == 0.0
    assert not objective.derivative(np.full(6, 61.0), EVEN).any()


@given(doses, st.floats(0.0, 10.0))
def test_tightening_moves_the_level_of_every_scenario(dose, by) -> None:
    objective = over([SquaredUnderdose(60.0), SquaredUnderdose(55.0), SquaredMeanOverdose(30.0)], 4.0)
    apart = objective.excess_gy(dose, EVEN)
    assert len(apart) == 4 + 4 + 1
    np.testing.assert_allclose(objective.tightened(by).excess_gy(dose, EVEN), apart + by, atol=1e-9)
    one_by_one = [*np.linspace(0.0, 2.0, 8).tolist(), 2.0]
    np.testing.assert_allclose(
        objective.tightened(np.array(one_by_one)).excess_gy(dose, EVEN), apart + one_by_one, atol=1e-9
    )


def box(low, high) -> list[np.ndarray]:
    (x0, y0, z0), (x1, y1, z1) = low, high
    ring = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)
    return [np.column_stack([ring, np.full(4, z)]) for z in np.arange(z0 + 1.0, z1, 2.0)]


@given(st.tuples(*[st.floats(-9.0, 9.0)] * 3))
@settings(max_examples=20)
def test_the_mean_of_a_linear_dose_in_the_moved_volume_is_that_at_the_patients_shifted_points(shift) -> None:
    grid = Grid.axial((21, 21, 21), (3.0,) * 3, (-30.0,) * 3, "1.2.3")
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    dose = 50.0 + 0.3 * x - 0.2 * y + 0.1 * z
    volume = moved_volumes(box((-10, -8, -6), (8, 8, 10)), grid, {"a": shift})["a"]
    share = volume.full().astype(float)
    centre = np.array([-1.0, 0.0, 2.0]) + shift
    # A voxel counts with the dose at its centre, so half a voxel of the gradient is the most that a face can be off.
    assert (share * dose).sum() / share.sum() == pytest.approx(50.0 + centre @ [0.3, -0.2, 0.1], abs=0.05)
    assert share.sum() == pytest.approx(partial_volume(box((-10, -8, -6), (8, 8, 10)), grid).fractions.sum(), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [(3.0, 0.0, 0.0), (0.0, -5.0, 0.0), (0.0, 0.0, 5.0)])
def test_moved_voxels_have_nearly_the_dose_that_the_engine_finds_for_the_shifted_patient(shift) -> None:
    # Water, three beams, a fluence that covers a ball with 5 mm to spare.
    grid = Grid.axial((44, 44, 44), (3.0,) * 3, (-64.5,) * 3, "1.2.3")
    density = Image(grid, np.ones(grid.shape, dtype=np.float32), "g/cm3")
    along = (np.arange(12) - 5.5) * 5.0
    of_y, of_x = (axis.ravel() for axis in np.meshgrid(along, along, indexing="ij"))
    setups = tuple(BeamSetup(f"B{n}", n + 1, (0.0, 0.0, 0.0), 120.0 * n) for n in range(3))
    beam = np.repeat(np.arange(3, dtype=np.int32), len(of_x))
    beamlets = Beamlets(beam, np.tile(of_x, 3), np.tile(of_y, 3), 5.0, 5.0, setups)
    weights = (np.hypot(beamlets.x_mm, beamlets.y_mm) < 27.0).astype(float)
    turn = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    circle = np.column_stack([np.cos(turn), np.sin(turn), np.zeros(48)])
    ball = [np.sqrt(18.0**2 - z**2) * circle + (0.0, 0.0, z) for z in np.arange(-16.0, 17.0, 2.0)]
    volumes = moved_volumes(ball, grid, {"nominal": (0.0, 0.0, 0.0), "moved": shift})
    rows = np.unique(np.concatenate([volume.indices()[0] for volume in volumes.values()]))
    compute, linac = engine("collapsed-cone").influence, machine("generic-6MV")
    own, share = volumes["nominal"].indices()
    back = (-shift[0], -shift[1], -shift[2])
    off = replace(beamlets, setups=tuple(replace(setup, isocentre_mm=back) for setup in setups))
    exact = compute(density, off, linac, grid, own, position="HFS").dose(weights)
    planned = compute(density, beamlets, linac, grid, rows, position="HFS").dose(weights)
    there, part = volumes["moved"].indices()
    cloud = planned[np.searchsorted(rows, there)]
    full = np.average(exact, weights=share)
    assert np.average(cloud, weights=part) == pytest.approx(full, rel=0.01)

    def at(dose, volume, quantile) -> float:
        order = np.argsort(dose)
        return float(np.interp(quantile, np.cumsum(volume[order]) / volume.sum(), dose[order]))

    for quantile in (0.02, 0.5, 0.98):
        assert at(cloud, part, quantile) == pytest.approx(at(exact, share, quantile), abs=0.02 * full)


def test_what_cannot_be_robust_is_refused(patient) -> None:
    influence, sets, scenarios = patient
    problem, _ = nominal_problem(patient)
    with pytest.raises(InputError, match="at least one"):
        robust(problem, scenarios, targets=[], limited=[], aim="worst")
    with pytest.raises(MissingStructureError, match="'Body'"):
        robust(problem, scenarios, targets=["Body"], limited=[], aim="worst")
    with pytest.raises(InputError, match="united"):
        robust(problem, scenarios, targets=["CTV"], limited=[], aim="worst")
    with pytest.raises(InputError, match="worst, average"):
        robust(problem, scenarios, targets=["CTV"], limited=[], aim="median")
    bare = [replace(one, weight=None) for one in scenarios]
    with pytest.raises(InputError, match="weight for each"):
        robust_problem((influence, sets, bare), aim="average")
    with pytest.raises(InputError, match="exponent"):
        robust_problem(patient, exponent=0.5)
    painted = Limit("Core", SquaredOverdose(np.linspace(20.0, 30.0, len(sets["Core"].rows))), 0.1)
    with pytest.raises(InputError, match="voxel by voxel"):
        robust_problem(patient, (painted,))


def test_levels_painted_voxel_by_voxel_follow_the_voxels_of_each_scenario(patient) -> None:
    problem, _ = nominal_problem(patient)
    _, _, scenarios = patient
    ctv = united("CTV", [one.sets["CTV"] for one in scenarios])
    level = np.linspace(50.0, 70.0, len(ctv.rows))
    painted = replace(problem, sets={**problem.sets, "CTV": ctv}, wishes=(Wish("CTV", SquaredUnderdose(level), 1.0),))
    asked = robust(painted, scenarios, targets=["CTV"], limited=[], aim="average", exponent=1.0)
    dose = np.full(len(ctv.rows), 60.0)
    at = dict(zip(ctv.rows.tolist(), level.tolist(), strict=True))
    wanted = np.mean([np.mean([max(at[row] - 60.0, 0.0) ** 2 for row in one.sets["CTV"].rows]) for one in scenarios])
    assert asked.wishes[0].objective.value(dose, ctv.volume) == pytest.approx(wanted, rel=1e-9)


def test_a_painting_moves_with_the_patient(patient) -> None:
    """In each scenario a dose that has moved with the patient is what was painted, and the one that stayed is not."""
    influence, sets, scenarios = patient
    every = points_of(influence, np.arange(len(influence.voxels)))

    def painting(points):
        return 60.0 + points @ np.array([0.3, 0.25, 0.2])

    whole = united("CTV", [one.sets["CTV"] for one in scenarios])
    problem = Problem(
        influence, FRACTIONS, {**sets, "CTV": whole}, (Wish("CTV", UniformDose(painting(every)[whole.rows]), 1.0),)
    )
    levels = {name: painting(every - np.array(shift)) for name, shift in SHIFTS.items()}
    made = robust(problem, scenarios, targets=["CTV"], limited=[], aim="worst", painted_gy={"CTV": levels})
    (wish,) = made.wishes
    for name, shift in SHIFTS.items():
        (n,) = [n for n, one in enumerate(scenarios) if one.name == name]
        values = wish.objective.by_scenario(levels[name][whole.rows])
        assert values[n] == pytest.approx(0.0, abs=1e-12)
        if any(shift):
            assert values[0] > 0.1


@pytest.mark.parametrize("aim", [None, "worst", "average"])
def test_the_wishes_of_a_protocol_cover_the_target_in_every_scenario_when_they_are_robust(patient, aim) -> None:
    influence, sets, scenarios = patient
    prescription = Prescription("CTV", 60.0, FRACTIONS, Normalisation("coverage", metric="D95%[Gy]"))
    cord = Constraint("Core", "Max[Gy]", "<=", 20.0, "hard", "test")
    own = {"CTV": united("CTV", [one.sets["CTV"] for one in scenarios]) if aim else sets["CTV"], "Core": sets["Core"]}
    volumes = {name: 0.08 * len(voxels.rows) for name, voxels in own.items()}
    distance = {"CTV": distances_mm(influence.grid, influence.voxels, own["CTV"])}
    goals = objectives_from([prescription], [cord], own, volumes, distance)
    problem = Problem(influence, FRACTIONS, goals.sets, goals.wishes, goals.limits)
    start = np.full(problem.size, reference_weight(problem, 60.0, "CTV"))
    if aim:
        problem = robust(problem, scenarios, targets=["CTV"], limited=["Core"], aim=aim)
    found = solve(problem, start, Effort(150, 8))
    assert found.feasible
    d95 = min(np.quantile(in_the_room(patient, found, "CTV", shift), 0.05) for shift in SHIFTS.values())
    cord_gy = max(hottest(patient, found).values())
    if aim is None:
        assert d95 < 45.0
        assert cord_gy > 25.0
    else:
        assert d95 > 58.0
        assert cord_gy <= 20.0 + 1e-3


def test_a_limit_in_eqd2_on_each_voxel_is_one_limit_on_all_places(patient) -> None:
    quantity = LinearQuadratic("EQD2", 2.0, FRACTIONS)
    problem, start = robust_problem(patient, (Limit("Core", SquaredOverdose(40.0), 0.2, quantity, "Max"),))
    (limit,) = problem.limits
    assert limit.structure == named("Core")
    assert "every scenario" in limit.label
    dose = problem.dose_gy(start)
    _, _, scenarios = patient
    rows = np.concatenate([one.sets["Core"].rows for one in scenarios])
    assert problem.violation_gy(dose) == pytest.approx(quantity.of(dose[rows]).max() - 40.0)


def test_dose_volume_wishes_become_robust_too(patient) -> None:
    problem, start = nominal_problem(patient)
    _, _, scenarios = patient
    ctv = united("CTV", [one.sets["CTV"] for one in scenarios])
    wish = Wish("CTV", MinDoseVolume(60.0, 0.95), 400.0)
    asked = robust(
        replace(problem, sets={**problem.sets, "CTV": ctv}, wishes=(wish, *WISHES)), scenarios, targets=["CTV"],
        limited=[], aim="worst",
    )  # fmt: skip
    found = solve(asked, start, Effort(150, 1))
    assert min(coldest(patient, found).values()) > 57.0
