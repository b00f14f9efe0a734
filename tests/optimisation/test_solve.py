"""The solver: optimality against scipy, limits, interruption."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, minimize, nnls
from toy_patient import toy

from tailort.errors import InputError, MissingStructureError
from tailort.optimisation import (
    Effort,
    Limit,
    Problem,
    Smoothness,
    VoxelSet,
    Wish,
    reference_weight,
    solve,
)
from tailort.optimisation.objectives import (
    LinearQuadratic,
    MaxDoseVolume,
    MeanDose,
    SquaredMeanOverdose,
    SquaredOverdose,
    SquaredUnderdose,
    UniformDose,
)

LONG = Effort(iterations=600, rounds=8, value_tolerance=1e-6)
FRACTIONS = 30


class Matrix:
    """A small dense dose map."""

    def __init__(self, a: np.ndarray) -> None:
        self.a = a

    @property
    def shape(self) -> tuple[int, int]:
        return self.a.shape

    def dose(self, weights_mu: np.ndarray) -> np.ndarray:
        return self.a @ weights_mu

    def gradient(self, by_dose: np.ndarray) -> np.ndarray:
        return self.a.T @ by_dose


@pytest.fixture(scope="module")
def patient():
    return toy(n_beams=5, spacing_mm=5.0, slices=4)


WISHES = (
    Wish("PTV", SquaredUnderdose(60.0), 100.0),
    Wish("PTV", SquaredOverdose(63.0), 50.0),
    Wish("Core", SquaredOverdose(30.0), 5.0),
    Wish("Body", SquaredOverdose(35.0), 10.0),
    Wish("Body", MeanDose(), 0.5),
)


def problem_of(patient, limits=(), wishes=WISHES, **more) -> tuple[Problem, np.ndarray]:
    influence, sets = patient
    problem = Problem(influence, FRACTIONS, sets, wishes, limits, **more)
    reference = reference_weight(problem, 60.0, "PTV")
    return replace(problem, smoothness=Smoothness.of(influence.beamlets, reference, 1.0)), np.full(
        problem.size, reference
    )


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_a_uniform_dose_alone_is_non_negative_least_squares(seed) -> None:
    rng = np.random.default_rng(seed)
    a, level = rng.random((30, 12)), rng.random(30) * 50
    voxels = VoxelSet("T", np.arange(30), np.ones(30))
    found = solve(Problem(Matrix(a), 1, {"T": voxels}, (Wish("T", UniformDose(level), 1.0),)), np.ones(12), LONG)
    expected, residual = nnls(a, level)
    assert found.value == pytest.approx(residual**2 / 30, rel=1e-6)
    np.testing.assert_allclose(found.weights_mu, expected, atol=1e-2 * expected.max())


def test_the_optimum_of_a_convex_plan_is_scipys(patient) -> None:
    problem, start = problem_of(patient)
    unit = start[0]
    ours = solve(problem, start, LONG)
    theirs = minimize(
        lambda x: problem.value(x * unit),
        np.ones(problem.size),
        jac=lambda x: unit * problem.derivative(x * unit),
        method="L-BFGS-B",
        bounds=Bounds(0.0, np.inf),
        options={"maxiter": 600, "maxfun": 700, "ftol": 1e-9},
    )
    assert ours.converged
    assert ours.value == pytest.approx(theirs.fun, rel=1e-4)


def test_at_the_optimum_weights_are_at_the_bound_or_without_slope(patient) -> None:
    problem, start = problem_of(patient)
    found = solve(problem, start, LONG)
    slope = start[0] * problem.derivative(found.weights_mu)
    off = found.weights_mu > 0
    assert np.abs(slope[off]).max() < 2e-3 * found.value
    assert slope[~off].min() > -2e-3 * found.value


def test_the_gradient_of_the_problem_is_that_of_its_value(patient) -> None:
    wishes = (*WISHES, Wish("Core", SquaredMeanOverdose(5.0), 3.0, LinearQuadratic("EQD2", 2.0, FRACTIONS)))
    problem, start = problem_of(patient, wishes=wishes)
    rng = np.random.default_rng(1)
    weights = start * rng.uniform(0.2, 2.0, problem.size)
    direction = rng.normal(size=problem.size)
    step = 1e-3
    difference = (problem.value(weights + step * direction) - problem.value(weights - step * direction)) / (2 * step)
    assert problem.derivative(weights) @ direction == pytest.approx(difference, rel=1e-4)


def test_a_hard_limit_holds_in_every_voxel_and_costs_something(patient) -> None:
    free, start = problem_of(patient)
    before = solve(free, start, LONG)
    core = free.sets["Core"].rows
    level = 0.8 * before.dose_gy[core].max()
    limited = replace(free, limits=(Limit("Core", SquaredOverdose(level), 0.2, label="Max"),))
    found = solve(limited, start, replace(LONG, iterations=1500, value_tolerance=1e-5))
    assert found.feasible
    assert found.converged
    assert found.dose_gy[core].max() <= level
    assert found.excess[0].excess_gy == pytest.approx(found.dose_gy[core].max() - level)
    # Not far below the limit either: the gap is all that is given away.
    assert found.dose_gy[core].max() > level - 1.0
    assert found.value > before.value


@pytest.mark.parametrize(
    "limit",
    [
        Limit("Core", SquaredMeanOverdose(12.0), 0.1),
        Limit("Core", MaxDoseVolume(12.0, 0.5), 0.1),
        Limit("Core", SquaredOverdose(12.0), 0.2, LinearQuadratic("EQD2", 2.0, FRACTIONS)),
        Limit("PTV", SquaredUnderdose(54.0), 0.2),
    ],
    ids=["mean", "dose-volume", "EQD2", "lowest dose"],
)
def test_limits_of_every_kind_hold(patient, limit) -> None:
    problem, start = problem_of(patient, limits=(limit,))
    found = solve(problem, start, Effort(iterations=200, rounds=12))
    voxels = problem.sets[limit.structure]
    dose = limit.quantity.of(found.dose_gy[voxels.rows])
    assert found.feasible
    assert limit.objective.value(dose, voxels.volume) == 0.0


def test_contradicting_limits_are_reported_with_their_excess(patient) -> None:
    limits = (
        Limit("PTV", SquaredUnderdose(60.0), 0.1, label="Min"),
        Limit("PTV", SquaredOverdose(50.0), 0.1, label="Max"),
    )
    problem, start = problem_of(patient, limits=limits)
    found = solve(problem, start, Effort(iterations=60, rounds=3))
    assert not found.feasible
    assert not found.converged
    dose = found.dose_gy[problem.sets["PTV"].rows]
    assert [e.label for e in found.excess] == ["Min", "Max"]
    assert found.excess[0].excess_gy == pytest.approx(60.0 - dose.min())
    assert found.excess[1].excess_gy == pytest.approx(dose.max() - 50.0)
    assert "limit" in found.reason


def test_a_stopped_solver_returns_its_best_feasible_plan_not_converged(patient) -> None:
    problem, start = problem_of(patient, limits=(Limit("Core", SquaredOverdose(30.0), 0.3),))
    seen = []
    found = solve(problem, start, stop=lambda: len(seen) >= 25, progress=seen.append)
    assert found.reason == "stopped"
    assert not found.converged
    assert len(seen) == 25
    assert found.iterations == 25
    assert any(step.violation_gy <= 0 for step in seen)
    assert found.feasible
    assert found.value < problem.value(start)


def test_a_solver_stopped_at_once_returns_the_start(patient) -> None:
    problem, start = problem_of(patient)
    found = solve(problem, start, stop=lambda: True)
    np.testing.assert_array_equal(found.weights_mu, start)
    assert found.reason == "stopped"


def test_the_value_never_rises_within_a_round(patient) -> None:
    problem, start = problem_of(patient)
    history = np.array(solve(problem, start).history)
    assert (np.diff(history) <= 1e-9 * history[:-1]).all()


def test_weights_stay_between_their_bounds(patient) -> None:
    problem, start = problem_of(patient, lower_mu=2.0, upper_mu=20.0)
    found = solve(problem, start)
    assert found.weights_mu.min() >= 2.0 - 1e-9
    assert found.weights_mu.max() <= 20.0 + 1e-9


def test_twice_the_fractions_need_half_the_weights(patient) -> None:
    problem, start = problem_of(patient)
    problem = replace(problem, smoothness=None)
    once = solve(problem, start, LONG)
    twice = solve(replace(problem, fractions=2 * FRACTIONS), start / 2, LONG)
    assert twice.value == pytest.approx(once.value, rel=1e-3)
    np.testing.assert_allclose(twice.dose_gy, once.dose_gy, atol=0.5)


def test_dose_that_is_there_anyway_counts(patient) -> None:
    influence, _ = patient
    problem, start = problem_of(patient)
    there = np.full(influence.shape[0], 5.0)
    found = solve(replace(problem, offset_gy=there), start)
    np.testing.assert_allclose(found.dose_gy, FRACTIONS * influence.dose(found.weights_mu) + 5.0, rtol=1e-9)
    core = problem.sets["PTV"].rows
    assert np.median(found.dose_gy[core]) == pytest.approx(61.0, abs=1.5)


def test_a_smoother_fluence_is_asked_for_and_given(patient) -> None:
    problem, start = problem_of(patient)
    rough = solve(replace(problem, smoothness=None), start)
    smooth = solve(replace(problem, smoothness=replace(problem.smoothness, weight=1000.0)), start)
    measure = replace(problem.smoothness, weight=1.0)
    assert measure.value(smooth.weights_mu) < 0.5 * measure.value(rough.weights_mu)
    assert measure.value(np.full(problem.size, 7.0)) == 0.0


def test_problems_that_cannot_be_are_refused(patient) -> None:
    influence, sets = patient
    with pytest.raises(MissingStructureError, match="Heart"):
        Problem(influence, 30, sets, (Wish("Heart", MeanDose(), 1.0),))
    with pytest.raises(InputError, match="fraction"):
        Problem(influence, 0, sets, WISHES)
    with pytest.raises(InputError, match="row"):
        Problem(influence, 30, {"X": VoxelSet("X", np.array([10**7]), np.ones(1))}, ())
    with pytest.raises(InputError, match="twice"):
        VoxelSet("X", np.array([1, 1]), np.ones(2))
    with pytest.raises(InputError, match="volume"):
        VoxelSet("X", np.array([1, 2]), np.zeros(2))
    with pytest.raises(InputError, match="weights"):
        solve(Problem(influence, 30, sets, WISHES), np.zeros(influence.shape[1]))
