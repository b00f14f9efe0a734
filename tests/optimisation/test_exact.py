"""The solver against exact solvers on small problems, and the conditions of an optimum that every result reports."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog, lsq_linear

from tailort.optimisation import Effort, Limit, Problem, VoxelSet, Wish, solve
from tailort.optimisation.minimise import minimise
from tailort.optimisation.objectives import (
    MeanDose,
    SquaredMeanOverdose,
    SquaredOverdose,
    SquaredTailOverdose,
    SquaredUnderdose,
    TailMean,
    UniformDose,
)

# Far beyond what a plan needs: the comparison is to 0.01 %.
EXACT = Effort(iterations=4000, rounds=60, value_tolerance=1e-11, gradient_tolerance=1e-12, complementarity=2e-5)
GAP_GY = 1e-5


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


def small(seed: int, target: int = 12, organ: int = 18, weights: int = 10) -> Problem:
    """Beamlets that each hit some voxels of a target (rows first) and of an organ."""
    rng = np.random.default_rng(seed)
    hit = rng.random((target + organ, weights)) < np.where(np.arange(target + organ) < target, 0.6, 0.35)[:, None]
    a = hit * rng.uniform(0.3, 1.0, hit.shape)
    a[np.arange(target), rng.integers(0, weights, target)] = 1.0
    sets = {
        "PTV": VoxelSet("PTV", np.arange(target), rng.uniform(0.5, 1.0, target)),
        "Organ": VoxelSet("Organ", np.arange(target, target + organ), rng.uniform(0.5, 1.0, organ)),
    }
    return Problem(Matrix(a), 1, sets, ())


def of(problem: Problem, wishes, limits=()) -> Problem:
    return Problem(problem.dose_map, 1, problem.sets, tuple(wishes), tuple(limits))


def parts(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of target and organ, and the shares of their volumes."""
    target, organ = problem.sets["PTV"], problem.sets["Organ"]
    return problem.dose_map.a[target.rows], problem.dose_map.a[organ.rows], target.volume, organ.volume


@pytest.mark.parametrize("seed", range(6))
def test_squares_without_limits_are_bounded_least_squares(seed) -> None:
    bare = small(seed)
    target, organ, v, u = parts(bare)
    problem = of(bare, [Wish("PTV", UniformDose(60.0), 3.0), Wish("Organ", SquaredOverdose(0.0), 0.5)])
    stacked = np.vstack([np.sqrt(3.0 * v)[:, None] * target, np.sqrt(0.5 * u)[:, None] * organ])
    wanted = np.concatenate([np.sqrt(3.0 * v) * 60.0, np.zeros(len(u))])
    exact = lsq_linear(stacked, wanted, bounds=(0.0, np.inf), method="bvls", tol=1e-14)
    found = solve(problem, np.full(problem.size, 10.0), EXACT)
    assert found.value == pytest.approx(2 * exact.cost, rel=1e-4)
    assert found.kkt_residual < 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_a_mean_dose_under_linear_limits_is_the_linear_programme(seed) -> None:
    bare = small(seed)
    target, organ, _, u = parts(bare)
    # Least mean of the organ while every voxel of the target gets 50 Gy, none more than a maximum.
    lowest = linprog(np.append(np.zeros(bare.size), 1.0), A_ub=np.block([
        [-target, np.zeros((len(target), 1))], [target, -np.ones((len(target), 1))]]),
        b_ub=np.concatenate([np.full(len(target), -50.0), np.zeros(len(target))]), method="highs")  # fmt: skip
    most = 1.1 * lowest.fun
    exact = linprog(
        u @ organ,
        A_ub=np.vstack([-target, target]),
        b_ub=np.concatenate([np.full(len(target), -50.0), np.full(len(target), most)]),
        method="highs",
    )
    limits = [Limit("PTV", SquaredUnderdose(50.0), GAP_GY, label="Min"), Limit("PTV", SquaredOverdose(most), GAP_GY)]
    found = solve(of(bare, [Wish("Organ", MeanDose(), 1.0)], limits), np.full(bare.size, 20.0), EXACT)
    assert found.feasible
    assert found.value == pytest.approx(exact.fun, rel=1e-4)
    assert found.kkt_residual < 1e-3
    # The price of a limit is the multiplier of the linear programme.
    prices = -exact.ineqlin.marginals
    assert found.excess[0].price == pytest.approx(prices[: len(target)].sum(), rel=0.02, abs=2e-3)
    assert found.excess[1].price == pytest.approx(prices[len(target) :].sum(), rel=0.02, abs=2e-3)


def tail_programme(problem: Problem, share: float, most_gy: float | None) -> float:
    """Least mean of the organ's hottest share while every voxel of the target gets 50 Gy and the mean of its hottest
    20 % at most `most_gy`; without it, the least mean of the target's hottest 20 %.

    Exact: each tail is min over h of h + sum v (D - h)+ / share (Rockafellar & Uryasev), a linear programme.
    """
    target, organ, v, u = parts(problem)
    n, m, k = problem.size, len(organ), len(target)
    # Columns: weights, h and what is above it of the organ, the same of the target.
    of_target = np.concatenate([np.zeros(n + 1 + m), [1.0], v / 0.2])
    of_organ = np.concatenate([np.zeros(n), [1.0], u / share, np.zeros(1 + k)])
    rows = np.vstack(
        [
            np.hstack([-target, np.zeros((k, 1 + m + 1 + k))]),
            np.hstack([organ, -np.ones((m, 1)), -np.eye(m), np.zeros((m, 1 + k))]),
            np.hstack([target, np.zeros((k, 1 + m)), -np.ones((k, 1)), -np.eye(k)]),
            of_target[None],
        ]
    )
    most = np.concatenate([np.full(k, -50.0), np.zeros(m + k), [np.inf if most_gy is None else most_gy]])
    bounds = [(0, None)] * n + [(None, None)] + [(0, None)] * m + [(None, None)] + [(0, None)] * k
    kept = np.isfinite(most)
    cost = of_target if most_gy is None else of_organ
    found = linprog(cost, A_ub=rows[kept], b_ub=most[kept], bounds=bounds, method="highs")
    assert found.status == 0
    return float(found.fun)


@pytest.mark.parametrize("seed", range(5))
def test_mean_tail_doses_reach_their_linear_programme(seed) -> None:
    bare = small(seed)
    most = 1.05 * tail_programme(bare, 0.3, None)
    exact = tail_programme(bare, 0.3, most)
    # A border as soft as 0.01 Gy makes the tail stricter by less than the tolerance.
    limits = [
        Limit("PTV", SquaredUnderdose(50.0), GAP_GY),
        Limit("PTV", SquaredTailOverdose(most, 0.2, 0.01), GAP_GY),
    ]
    found = solve(of(bare, [Wish("Organ", TailMean(0.3, 0.01), 1.0)], limits), np.full(bare.size, 20.0), EXACT)
    assert found.feasible
    assert found.value == pytest.approx(exact, rel=1e-4)
    assert found.value > exact * (1 - 1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_squares_under_limits_are_the_quadratic_programme(seed) -> None:
    bare = small(seed)
    target, organ, v, u = parts(bare)
    free = solve(of(bare, [Wish("PTV", UniformDose(60.0), 1.0)]), np.full(bare.size, 20.0), EXACT)
    most = 0.7 * float(u @ free.dose_gy[bare.sets["Organ"].rows])
    limit = Limit("Organ", SquaredMeanOverdose(most), GAP_GY, label="Mean")
    found = solve(of(bare, [Wish("PTV", UniformDose(60.0), 1.0)], [limit]), free.weights_mu, EXACT)
    # The same with the limit as a row of least squares so heavy that it holds; its weight is the reference's error.
    heavy = 1e4
    stacked = np.vstack([np.sqrt(v)[:, None] * target, heavy * (u @ organ)[None]])
    exact = lsq_linear(
        stacked, np.append(np.sqrt(v) * 60.0, heavy * most), bounds=(0, np.inf), method="bvls", tol=1e-14
    )
    missed = np.sqrt(v) * (target @ exact.x - 60.0)
    assert found.feasible
    assert found.value == pytest.approx(missed @ missed, rel=1e-4)
    # What a Gy more would be worth, by trying.
    eased = Limit("Organ", SquaredMeanOverdose(most + 0.05), GAP_GY)
    better = solve(of(bare, [Wish("PTV", UniformDose(60.0), 1.0)], [eased]), found.weights_mu, EXACT)
    assert found.excess[0].price == pytest.approx((found.value - better.value) / 0.05, rel=0.02)


def test_what_complementarity_says_is_what_can_be_gained() -> None:
    bare = small(1)
    wishes = [Wish("Organ", SquaredOverdose(0.0), 1.0)]

    def found(gap_gy: float, effort: Effort):
        return solve(of(bare, wishes, [Limit("PTV", SquaredUnderdose(50.0), gap_gy)]), np.full(bare.size, 20.0), effort)

    best = found(GAP_GY, EXACT)
    inside = found(2.0, Effort(iterations=4000, rounds=60, value_tolerance=1e-11, gradient_tolerance=1e-12))
    assert inside.feasible
    assert 0 < inside.value - best.value <= inside.complementarity * (1 + 1e-6)
    assert inside.kkt_residual > 100 * best.kkt_residual


def test_a_result_that_breaks_a_limit_has_no_finite_residual() -> None:
    bare = small(2)
    limits = [Limit("PTV", SquaredUnderdose(50.0), 0.1), Limit("PTV", SquaredOverdose(40.0), 0.1)]
    found = solve(of(bare, [], limits), np.full(bare.size, 20.0), Effort(iterations=60, rounds=3))
    assert found.kkt_residual == np.inf
    assert found.violation_gy >= 5.0 - 1e-6


def test_a_start_that_keeps_the_limits_is_never_left_for_a_plan_that_breaks_them() -> None:
    bare = small(3)
    start = np.full(bare.size, 5.0)
    organ = bare.dose_gy(start)[bare.sets["Organ"].rows]
    # The wish pulls hard out of the limit, and one iteration is too few to come back.
    limit = Limit("Organ", SquaredOverdose(float(organ.max())), 0.0)
    wishes = [Wish("PTV", SquaredUnderdose(60.0), 1.0)]
    found = solve(of(bare, wishes, [limit]), start, Effort(iterations=1, rounds=1, penalty=1e-3))
    assert found.feasible


class Bent:
    """100 ((1 - x)+)^2 - 0.01 x: steep, then straight."""

    def image(self, x: np.ndarray) -> np.ndarray:
        return x

    def value(self, image: np.ndarray, x: np.ndarray) -> float:
        return float((100.0 * np.maximum(1.0 - x, 0.0) ** 2 - 0.01 * x).sum())

    def gradient(self, image: np.ndarray, x: np.ndarray) -> np.ndarray:
        return -200.0 * np.maximum(1.0 - x, 0.0) - 0.01

    def slope(self, image, x, by_image, by_x) -> tuple[float, float]:
        return self.value(image, x), float(self.gradient(image, x) @ by_x)


def test_a_straight_slope_after_a_steep_one_is_not_crept_down() -> None:
    lower, upper = np.zeros(1), np.full(1, 1000.0)
    found = minimise(Bent(), np.zeros(1), lower, upper, 60, 0.0, 1e-12, lambda: False, lambda *_: None)
    assert found.x[0] == 1000.0
    assert found.reason == "optimal"
