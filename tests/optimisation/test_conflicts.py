"""Contradicting limits: groups, and how far they must give way, against linear programmes solved exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog
from toy_patient import toy

from tailort.errors import InputError, StoppedError
from tailort.optimisation import Limit, Problem, VoxelSet, reference_weight
from tailort.optimisation.conflicts import contradiction
from tailort.optimisation.objectives import (
    LinearQuadratic,
    SquaredMeanOverdose,
    SquaredOverdose,
    SquaredUnderdose,
)

NAMES = ("PTV", "Lungs", "Heart", "Cord")
WEIGHTS = (1.0, 1.0, 0.5, 1.0, 2.0, 1.0)


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


class Linear:
    """Limits A x <= b, and the exact answers about them."""

    def __init__(self, problem: Problem, matrix: np.ndarray) -> None:
        self.a, self.b = [], []
        for limit in problem.limits:
            voxels, objective = problem.sets[limit.structure], limit.objective
            rows = matrix[voxels.rows]
            if isinstance(objective, SquaredMeanOverdose):
                rows = (voxels.volume @ rows)[None]
            sign = -1.0 if isinstance(objective, SquaredUnderdose) else 1.0
            self.a.append(sign * rows)
            self.b.append(np.full(len(rows), sign * objective.level_gy))

    def relaxation(self, group: Sequence[int], soft: dict[int, float], shared: bool = False) -> float:
        """Least weighted sum (or, shared, the least common multiple) of the relaxations of the soft ones."""
        columns = 1 if shared else len(soft)
        rows = []
        for n in group:
            slack = np.zeros((len(self.b[n]), columns))
            if n in soft:
                slack[:, 0 if shared else list(soft).index(n)] = -1.0 / soft[n] if shared else -1.0
            rows.append(np.hstack([self.a[n], slack]))
        cost = np.concatenate([np.zeros(self.a[0].shape[1]), [1.0] if shared else list(soft.values())])
        found = linprog(cost, np.vstack(rows), np.concatenate([self.b[n] for n in group]), method="highs")
        assert found.status == 0
        return float(found.fun)

    def hold(self, group: Sequence[int]) -> bool:
        """Whether all of a group can hold, within what the search tolerates."""
        return self.relaxation(group, dict.fromkeys(group, 1.0), shared=True) <= 0.1


def small(seed: int) -> Problem:
    """A target that needs 50 Gy everywhere between three organs, whose limits are in places too low."""
    rng = np.random.default_rng(seed)
    a = (rng.random((40, 10)) < 0.4) * rng.uniform(0.2, 1.0, (40, 10))
    a[:10, :] += 0.5 * np.eye(10)
    sets = {name: VoxelSet(name, np.arange(10 * n, 10 * n + 10), np.ones(10)) for n, name in enumerate(NAMES)}
    limits = (
        Limit("PTV", SquaredUnderdose(50.0), 0.1, label="Min >= 50"),
        Limit("Lungs", SquaredMeanOverdose(20.0), 0.1, label="Mean <= 20"),
        Limit("Heart", SquaredOverdose(60.0), 0.1, label="Max <= 60"),
        Limit("Cord", SquaredMeanOverdose(30.0), 0.1, label="Mean <= 30"),
        Limit("PTV", SquaredOverdose(150.0), 0.1, label="Max <= 150"),
        Limit("Cord", SquaredOverdose(100.0), 0.1, label="Max <= 100"),
    )
    return Problem(Matrix(a), 1, sets, (), limits)


@pytest.mark.parametrize("seed", range(5))
def test_relaxations_and_groups_are_those_of_the_linear_programme(seed) -> None:
    problem = small(seed)
    exact = Linear(problem, problem.dose_map.a)
    found = contradiction(problem, np.full(10, 30.0), WEIGHTS)
    every, costs = range(6), dict(enumerate(WEIGHTS))
    assert np.dot(found.relaxation_gy, WEIGHTS) == pytest.approx(exact.relaxation(every, costs), abs=0.05)
    assert found.equal_gy == pytest.approx(exact.relaxation(every, costs, shared=True), abs=0.05)
    assert found.conflicts
    for conflict in found.conflicts:
        assert not exact.hold(conflict.limits)
        for n, alone in zip(conflict.limits, conflict.alone_gy, strict=True):
            others = [m for m in conflict.limits if m != n]
            assert exact.hold(others)
            assert alone == pytest.approx(exact.relaxation(conflict.limits, {n: 1.0}), abs=0.05)
    named = [n for conflict in found.conflicts for n in conflict.limits]
    assert len(set(named)) == len(named)
    assert exact.hold([n for n in every if n not in named])


@pytest.mark.parametrize("seed", range(3))
def test_the_plan_it_gives_keeps_the_relaxed_limits(seed) -> None:
    problem = small(seed)
    found = contradiction(problem, np.full(10, 30.0), WEIGHTS)
    dose = problem.dose_gy(found.weights_mu)
    for limit, relaxation in zip(problem.limits, found.relaxation_gy, strict=True):
        assert float(np.max(problem.excess_gy(dose, limit))) <= relaxation + 1e-9


def test_limits_that_hold_together_have_no_conflict() -> None:
    problem = small(0)
    easy = replace(problem, limits=problem.limits[1:])
    found = contradiction(easy, np.full(10, 30.0))
    assert found.conflicts == ()
    assert found.relaxation_gy == (0.0,) * 5
    assert found.equal_gy == 0.0
    assert easy.violation_gy(easy.dose_gy(found.weights_mu)) <= 0.1


def test_a_minimum_above_a_maximum_is_named_with_its_difference() -> None:
    limits = (
        Limit("Lungs", SquaredMeanOverdose(200.0), 0.1, label="Mean <= 200"),
        Limit("PTV", SquaredUnderdose(60.0), 0.1, label="Min >= 60"),
        Limit("PTV", SquaredOverdose(52.0), 0.1, label="Max <= 52"),
    )
    problem = replace(small(0), limits=limits)
    # Beamlets that can give the target one dose everywhere.
    problem = replace(problem, dose_map=Matrix(np.vstack([np.eye(10), 0.1 * np.ones((30, 10))])))
    found = contradiction(problem, np.full(10, 30.0))
    (conflict,) = found.conflicts
    assert conflict.limits == (1, 2)
    assert conflict.names == ("PTV Min >= 60", "PTV Max <= 52")
    assert conflict.alone_gy == pytest.approx((8.0, 8.0), abs=0.05)
    assert found.equal_gy == pytest.approx(4.0, abs=0.05)
    assert sum(found.relaxation_gy) == pytest.approx(8.0, abs=0.05)
    assert conflict.sentence == (
        "PTV Min >= 60 and PTV Max <= 52 cannot hold together; "
        "weaken PTV Min >= 60 by 8.0 Gy or PTV Max <= 52 by 8.0 Gy"
    )


def test_conflicts_that_have_nothing_to_do_with_each_other_are_told_apart() -> None:
    limits = (
        Limit("PTV", SquaredUnderdose(60.0), 0.1, label="Min >= 60"),
        Limit("Lungs", SquaredUnderdose(20.0), 0.1, label="Min >= 20"),
        Limit("PTV", SquaredOverdose(52.0), 0.1, label="Max <= 52"),
        Limit("Lungs", SquaredMeanOverdose(15.0), 0.1, label="Mean <= 15"),
        Limit("Heart", SquaredMeanOverdose(30.0), 0.1, label="Mean <= 30"),
    )
    a = np.zeros((40, 20))
    a[:10, :10], a[10:20, 10:] = np.eye(10), np.eye(10)
    problem = replace(small(0), limits=limits, dose_map=Matrix(a))
    found = contradiction(problem, np.full(20, 30.0))
    assert sorted(conflict.limits for conflict in found.conflicts) == [(0, 2), (1, 3)]
    assert sum(found.relaxation_gy) == pytest.approx(8.0 + 5.0, abs=0.1)


def test_a_limit_that_no_beam_can_reach_conflicts_with_none() -> None:
    problem = small(0)
    a = problem.dose_map.a.copy()
    a[3] = 0.0
    found = contradiction(replace(problem, limits=problem.limits[:1], dose_map=Matrix(a)), np.full(10, 30.0))
    (conflict,) = found.conflicts
    assert conflict.limits == (0,)
    assert conflict.alone_gy == pytest.approx((50.0,), abs=0.05)
    assert "whatever the plan" in conflict.sentence


def test_lowest_weights_of_segments_take_part() -> None:
    # Two segments of at least 20 MU give the cord 10 Gy, whatever the plan.
    a = np.array([[1.0, 0.0], [0.25, 0.25]])
    sets = {"PTV": VoxelSet("PTV", np.array([0]), np.ones(1)), "Cord": VoxelSet("Cord", np.array([1]), np.ones(1))}
    limits = (Limit("PTV", SquaredUnderdose(30.0), 0.1), Limit("Cord", SquaredOverdose(9.0), 0.1, label="Max <= 9"))
    found = contradiction(Problem(Matrix(a), 1, sets, (), limits, lower_mu=20.0), np.full(2, 30.0))
    (conflict,) = found.conflicts
    assert conflict.limits == (1,)
    assert conflict.alone_gy == pytest.approx((1.0,), abs=0.05)


def test_a_limit_in_eqd2_gives_way_in_eqd2() -> None:
    # The target's 60 Gy in 30 fractions are 60 Gy EQD2, and the cord's voxel gets three quarters of them.
    a = np.array([[1.0], [0.75]])
    sets = {"PTV": VoxelSet("PTV", np.array([0]), np.ones(1)), "Cord": VoxelSet("Cord", np.array([1]), np.ones(1))}
    limits = (
        Limit("PTV", SquaredUnderdose(60.0), 0.1),
        Limit("Cord", SquaredOverdose(30.0), 0.1, LinearQuadratic("EQD2", 2.0, 30)),
    )
    found = contradiction(Problem(Matrix(a), 30, sets, (), limits), np.full(1, 1.0))
    (conflict,) = found.conflicts
    # 45 Gy in 30 fractions at alpha/beta 2 are 45 (1.5 + 2) / 4.
    assert conflict.alone_gy[1] == pytest.approx(39.375 - 30.0, abs=0.05)


@pytest.mark.slow
def test_a_patients_conflict_is_that_of_the_linear_programme() -> None:
    influence, sets = toy(n_beams=5, spacing_mm=5.0, slices=3)
    limits = (
        Limit("PTV", SquaredUnderdose(60.0), 0.1, label="Min >= 60"),
        Limit("PTV", SquaredOverdose(66.0), 0.1, label="Max <= 66"),
        Limit("Core", SquaredMeanOverdose(10.0), 0.1, label="Mean <= 10"),
        Limit("Body", SquaredMeanOverdose(40.0), 0.1, label="Mean <= 40"),
    )
    problem = Problem(influence, 30, sets, (), limits)
    start = np.full(problem.size, reference_weight(problem, 60.0, "PTV"))
    dense = np.zeros(influence.shape)
    row = np.repeat(np.arange(influence.shape[0]), np.diff(influence.starts))
    dense[row, influence.columns] = 30 * influence.values
    exact = Linear(problem, dense)
    found = contradiction(problem, start)
    every = range(len(limits))
    assert sum(found.relaxation_gy) == pytest.approx(exact.relaxation(every, dict.fromkeys(every, 1.0)), abs=0.1)
    for conflict in found.conflicts:
        assert not exact.hold(conflict.limits)
        for n, alone in zip(conflict.limits, conflict.alone_gy, strict=True):
            assert exact.hold([m for m in conflict.limits if m != n])
            # To the tolerance of the search, and a hundredth.
            needed = exact.relaxation(conflict.limits, {n: 1.0})
            assert needed - 1e-6 <= alone <= 1.01 * needed + 0.1


def test_a_stopped_search_proves_nothing() -> None:
    with pytest.raises(StoppedError):
        contradiction(small(0), np.full(10, 30.0), stop=lambda: True)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: contradiction(replace(small(0), limits=()), np.full(10, 30.0)),
        lambda: contradiction(small(0), np.full(10, 30.0), [1.0]),
        lambda: contradiction(small(0), np.full(10, 30.0), [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_questions_without_meaning_are_refused(ask) -> None:
    with pytest.raises(InputError):
        ask()
