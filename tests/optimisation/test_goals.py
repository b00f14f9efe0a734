"""Protocols become wishes and limits: every metric of the grammar, several dose levels, distances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_patient import toy

from tailort.errors import InputError, MissingStructureError
from tailort.optimisation import (
    Limit,
    Problem,
    Recipe,
    Smoothness,
    VoxelSet,
    Wish,
    allowed_dose_gy,
    distances_mm,
    objectives_from,
    reference_weight,
    sequence,
    solve,
)
from tailort.optimisation.goals import NEAR
from tailort.optimisation.objectives import LinearQuadratic, MeanDose
from tailort.optimisation.objectives.dose_volume import dose_at
from tailort.patient import Constraint, Metric, Normalisation, Prescription
from tailort.physics.machines import machine

COVER = Normalisation("coverage", metric="D95%[Gy]")
BOOST, LOW = Prescription("PTV_6600", 66.0, 30, COVER), Prescription("PTV_5400", 54.0, 30, COVER)
N = 1000
SETS = {
    "Organ": VoxelSet("Organ", np.arange(N), np.ones(N)),
    "PTV_6600": VoxelSet("PTV_6600", np.arange(N), np.ones(N)),
}
FAR = {"PTV_6600": np.zeros(N)}
VOLUMES = {"Organ": 200.0, "PTV_6600": 50.0}


def limit_of(metric: str, operator: str, limit: float, structure: str = "Organ", **more):
    constraint = Constraint(structure, metric, operator, limit, "hard", "test", **more)
    return objectives_from([BOOST], [constraint], SETS, VOLUMES, FAR).limits


def metric_value(metric: str, dose: np.ndarray, volume_cm3: float, prescribed_gy: float) -> float:
    """The metric of equal voxels, by counting."""
    m = Metric.parse(metric)
    share = np.full(len(dose), 1 / len(dose))
    percent = prescribed_gy / 100.0
    if m.kind in ("Max", "Min", "Mean", "Median"):
        gy = {"Max": dose.max(), "Min": dose.min(), "Mean": dose.mean(), "Median": dose_at(dose, share, 0.5)}[m.kind]
        return gy / percent if m.unit == "%" else gy
    if m.kind == "D":
        gy = dose_at(dose, share, m.at / 100 if m.at_unit == "%" else m.at / volume_cm3)
        return gy / percent if m.unit == "%" else gy
    level = m.at * (percent if m.at_unit == "%" else 1.0)
    part = (dose > level).mean() if m.kind == "V" else (dose < level).mean()
    return part * (volume_cm3 if m.unit == "cc" else 100.0)


CASES = [
    ("Max[Gy]", "<", 45.0), ("Mean[Gy]", "<=", 20.0), ("Min[Gy]", ">=", 20.0), ("Median[Gy]", "<", 30.0),
    ("Median[Gy]", ">", 30.0), ("D0.035cc[Gy]", "<", 50.0), ("D20cc[Gy]", "<", 40.0), ("D95%[Gy]", ">=", 10.0),
    ("D2%[Gy]", "<=", 50.0), ("V20Gy[%]", "<=", 28.0), ("V40Gy[cc]", "<", 60.0), ("V20Gy[%]", ">=", 60.0),
    ("CV20Gy[cc]", ">=", 100.0), ("CV20Gy[%]", "<=", 40.0), ("V95%[%]", "<=", 5.0), ("Max[%]", "<", 70.0),
    ("D2%[%]", "<=", 80.0),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "operator", "limit"), CASES, ids=[f"{m} {o} {v:g}" for m, o, v in CASES])
def test_a_limit_holds_exactly_where_its_metric_does(metric, operator, limit) -> None:
    (found,) = limit_of(metric, operator, limit)
    constraint = Constraint("Organ", metric, operator, limit, "hard", "test")
    share = SETS["Organ"].volume
    rng = np.random.default_rng(7)
    answers = set()
    for _ in range(150):
        dose = rng.uniform(0, 30) + rng.uniform(0, 1, N) ** rng.uniform(0.1, 4) * rng.uniform(20, 75)
        holds = constraint.holds(metric_value(metric, dose, VOLUMES["Organ"], 66.0))
        value = float(np.max(found.objective.excess_gy(dose, share)))
        if abs(value) < 0.15:
            continue  # within the dose step of one voxel of the border
        # A limit on a small hot volume is kept in every voxel, which is stricter.
        if metric.startswith("D0.035cc") and holds and value > 0:
            continue
        assert (value <= 0) == holds
        answers.add(holds)
    assert answers == {True, False}


def test_a_percentage_of_a_targets_dose_is_of_its_own_prescription() -> None:
    sets = {**SETS, "PTV_5400": SETS["PTV_6600"]}
    distance = {**FAR, "PTV_5400": np.zeros(N)}
    constraint = Constraint("PTV_5400", "Max[%]", "<", 110.0, "hard", "test")
    (found,) = objectives_from([BOOST, LOW], [constraint], sets, VOLUMES, distance).limits
    assert found.objective.level_gy == pytest.approx(59.4)


def test_a_limit_in_eqd2_sees_eqd2() -> None:
    (found,) = limit_of("Max[Gy]", "<", 50.0, quantity="EQD2", alpha_beta_gy=2.0)
    assert found.quantity == LinearQuadratic("EQD2", 2.0, 30)
    assert found.gap_gy > 0


def test_goals_become_wishes_and_reports_nothing() -> None:
    constraints = [
        Constraint("Organ", "V20Gy[%]", "<=", 28.0, "goal", "test"),
        Constraint("Organ", "Mean[Gy]", "<=", 17.0, "report", "test"),
    ]
    goals = objectives_from([BOOST], constraints, SETS, VOLUMES, FAR)
    assert goals.limits == ()
    labels = [wish.label for wish in goals.wishes if wish.structure == "Organ"]
    assert labels == ["V20Gy[%] <= 28", "as low as reasonable"]


def test_goals_in_order_are_those_that_the_recipe_asks_for() -> None:
    constraints = [Constraint("Organ", "V20Gy[%]", "<=", 28.0, "goal", "test")]
    # Every row is in the target: there is nothing for dose to fall off in.
    labels = [goal.label for goal in objectives_from([BOOST], constraints, SETS, VOLUMES, FAR).ranks]
    assert labels == [
        "targets covered",
        "Organ V20Gy[%] <= 28",
        "even dose in targets",
        "organs as low as reasonable",
    ]
    light = objectives_from([BOOST], constraints, SETS, VOLUMES, FAR, Recipe(mean=0.0, organ=0.0)).ranks
    assert [goal.label for goal in light] == ["targets covered", "even dose in targets"]


def test_a_painting_leaves_more_room_to_later_goals_than_one_level_does() -> None:
    painted_gy = {BOOST.target: np.linspace(60.0, 72.0, N)}
    plain, painted = (
        objectives_from([BOOST], [], SETS, VOLUMES, FAR, painted_gy=p).ranks[0] for p in (None, painted_gy)
    )
    assert painted.aspiration_gy == pytest.approx(0.015 * BOOST.dose_gy)
    assert plain.aspiration_gy == pytest.approx(0.005 * BOOST.dose_gy)


def test_what_cannot_be_optimised_is_refused() -> None:
    with pytest.raises(MissingStructureError, match="Heart"):
        limit_of("Max[Gy]", "<", 45.0, structure="Heart")
    with pytest.raises(InputError, match="fractions"):
        objectives_from([BOOST, replace(LOW, fractions=27)], [], SETS, VOLUMES, FAR)
    with pytest.raises(InputError, match="lowest mean"):
        limit_of("Mean[Gy]", ">", 20.0)
    with pytest.raises(InputError, match="volume"):
        objectives_from([BOOST], [Constraint("Organ", "D1cc[Gy]", "<", 9.0, "hard", "t")], SETS, {}, FAR)


def test_allowed_dose_falls_with_distance_and_the_boost_counts_first() -> None:
    recipe = Recipe()
    x = np.linspace(0, 100, 201)
    only = allowed_dose_gy([BOOST], {"PTV_6600": x})
    assert only[0] == pytest.approx(66.0 * recipe.hottest)
    assert (np.diff(only) < 0).all()
    half = 66.0 * (recipe.fall_off_floor + (1 - recipe.fall_off_floor) / 2)
    assert np.interp(recipe.fall_off_half_mm, x, only) == pytest.approx(half, rel=1e-3)
    both = allowed_dose_gy([LOW, BOOST], {"PTV_6600": x, "PTV_5400": np.maximum(x - 15.0, 0.0)})
    assert (both >= only).all()
    # Inside the low level but away from the boost, the low level's own ceiling counts.
    assert both[x == 14.5] == pytest.approx(54.0 * recipe.hottest)


@pytest.fixture(scope="module")
def patient():
    influence, sets = toy(n_beams=7, spacing_mm=4.0, slices=6)
    return influence, sets


def test_distances_are_zero_inside_and_grow_outside(patient) -> None:
    influence, sets = patient
    distance = distances_mm(influence.grid, influence.voxels, sets["PTV"])
    assert (distance[sets["PTV"].rows] == 0).all()
    points = influence.grid.to_world(np.stack(np.unravel_index(influence.voxels, influence.grid.shape), axis=-1))
    target = points[sets["PTV"].rows]
    rng = np.random.default_rng(0)
    for row in rng.choice(sets["Body"].rows, 40, replace=False):
        nearest = np.linalg.norm(target - points[row], axis=1).min()
        assert distance[row] == pytest.approx(nearest - 2.0, abs=1e-6)


@pytest.mark.parametrize("levels", [("PTV_6600", "PTV_5400"), ("PTV_6000",)], ids=["two levels", "one level"])
def test_prescriptions_are_met_without_tuning_and_hold_in_the_deliverable_plan(patient, levels) -> None:
    influence, toys = patient
    points = influence.grid.to_world(np.stack(np.unravel_index(influence.voxels, influence.grid.shape), axis=-1))
    outer = toys["PTV"]
    inner_rows = outer.rows[points[outer.rows, 1] < -10.0]
    sets = {"Core": toys["Core"], "Lungs": toys["Body"]}
    sets[levels[-1]] = replace(outer, name=levels[-1])
    if len(levels) == 2:
        sets[levels[0]] = VoxelSet(levels[0], inner_rows, np.ones(len(inner_rows)))
    prescriptions = [Prescription(name, float(name[4:6]), 30, COVER) for name in levels]
    constraints = [
        Constraint("Core", "Max[Gy]", "<", 45.0, "hard", "test"),
        Constraint("Lungs", "V20Gy[%]", "<=", 60.0, "goal", "test"),
    ]
    distance = {name: distances_mm(influence.grid, influence.voxels, sets[name]) for name in levels}
    goals = objectives_from(prescriptions, constraints, sets, {}, distance)
    assert NEAR in goals.sets
    problem = Problem(influence, 30, goals.sets, goals.wishes, goals.limits)
    reference = reference_weight(problem, prescriptions[0].dose_gy, levels[0])
    problem = replace(problem, smoothness=Smoothness.of(influence.beamlets, reference, 1.0))
    fluence = solve(problem, np.full(problem.size, reference))
    delivery = sequence(problem, influence, fluence.weights_mu, machine("generic-6MV"))
    dose = delivery.solution.dose_gy
    assert dose[sets["Core"].rows].max() < 45.0
    for prescription in prescriptions:
        voxels = sets[prescription.target]
        assert dose_at(dose[voxels.rows], voxels.volume, 0.95) >= 0.985 * prescription.dose_gy
        assert dose_at(dose[voxels.rows], voxels.volume, 0.02) <= 1.12 * prescriptions[0].dose_gy
    if len(levels) == 2:
        # The boost is a boost: the rest of the low level stays well below it.
        rest = np.setdiff1d(outer.rows, inner_rows)
        assert np.median(dose[rest]) < 61.0


@pytest.mark.parametrize("weight", [np.inf, np.nan, -1.0])
def test_a_weight_that_is_no_number_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match="weight"):
        Wish("PTV", MeanDose(), weight)


def test_a_gap_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="inside"):
        Limit("PTV", MeanDose(), np.nan)


def test_a_goal_for_the_hottest_drop_of_a_large_structure_weighs_as_in_a_small_one() -> None:
    def weight(drop_cm3: float, metric: str) -> float:
        asked = Constraint("Organ", metric, "<=", 20.0, "goal", "test")
        goals = objectives_from(
            [BOOST], [asked], SETS, {**VOLUMES, "Organ": 500.0}, FAR, recipe=Recipe(drop_cm3=drop_cm3)
        )
        (found,) = [wish.weight for wish in goals.wishes if wish.structure == "Organ" and "<=" in wish.label]
        return found

    assert weight(20.0, "D0.035cc[Gy]") == pytest.approx(25.0 * weight(0.0, "D0.035cc[Gy]"))
    assert weight(1000.0, "D0.035cc[Gy]") == weight(0.0, "D0.035cc[Gy]")
    # A dose to a part of the volume knows how large the structure is.
    assert weight(20.0, "D30%[Gy]") == weight(0.0, "D30%[Gy]")
