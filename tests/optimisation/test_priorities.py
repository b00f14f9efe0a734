"""Goals in order: exact on linear programmes, earlier goals are kept, and what each one costs is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog
from toy_patient import toy

from tailort.errors import InputError
from tailort.optimisation import Effort, Limit, Problem, Smoothness, VoxelSet, Wish, reference_weight, solve
from tailort.optimisation.objectives import MeanDose, SquaredOverdose, SquaredUnderdose
from tailort.optimisation.priorities import Goal, Slack, measures_gy, prioritise

EXACT = Effort(iterations=4000, rounds=60, value_tolerance=1e-11, gradient_tolerance=1e-12, complementarity=2e-5)
USUAL = Effort(iterations=200, rounds=8, value_tolerance=1e-3)


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


def small(seed: int) -> Problem:
    """Ten beamlets; a target that needs 50 Gy everywhere, and three organs."""
    rng = np.random.default_rng(seed)
    a = (rng.random((40, 10)) < 0.4) * rng.uniform(0.2, 1.0, (40, 10))
    a[:10, :] += 0.5 * np.eye(10)
    names = ("PTV", "Lungs", "Heart", "Cord")
    sets = {name: VoxelSet(name, np.arange(10 * n, 10 * n + 10), np.ones(10)) for n, name in enumerate(names)}
    return Problem(Matrix(a), 1, sets, (), (Limit("PTV", SquaredUnderdose(50.0), 1e-5, label="Min"),))


MEANS = tuple(Goal(name, (Wish(name, MeanDose(), 1.0),)) for name in ("Lungs", "Heart", "Cord"))


@pytest.mark.parametrize("seed", range(4))
def test_linear_goals_in_order_are_linear_programmes_in_order(seed) -> None:
    problem = small(seed)
    slack = Slack(0.02, 0.01)
    found = prioritise(problem, MEANS, np.full(10, 30.0), EXACT, slack)
    a = problem.dose_map.a
    rows, most = [-a[:10]], [np.full(10, -50.0)]
    for n, step in enumerate(found.steps):
        mean = a[10 * (n + 1) : 10 * (n + 2)].mean(axis=0)
        # A kept goal is aimed at half the slack inside; the result lies between both.
        best, worst = (
            linprog(mean, A_ub=np.vstack(rows), b_ub=np.concatenate([most[0], *(b - g for b, g in most[1:])]))
            for most in (
                [most[0], *((b, 0.0) for b, _ in most[1:])],
                [most[0], *((b, g) for b, g in most[1:])],
            )
        )
        assert best.fun * (1 - 1e-4) <= step.reached_gy[0] <= worst.fun * (1 + 1e-4)
        rows.append(mean[None])
        most.append((np.array([step.kept_gy[0]]), 0.5 * (step.kept_gy[0] - step.reached_gy[0])))
        assert step.kept_gy[0] == pytest.approx(step.reached_gy[0] * 1.02 + 0.01)
    assert found.feasible


@pytest.fixture(scope="module")
def planned():
    influence, sets = toy(n_beams=5, spacing_mm=5.0, slices=4)
    problem = Problem(influence, 30, sets, ())
    reference = reference_weight(problem, 60.0, "PTV")
    problem = replace(
        problem,
        smoothness=Smoothness.of(influence.beamlets, reference, 0.1),
        limits=(Limit("Core", SquaredOverdose(40.0), 0.4, label="Max"),),
    )
    goals = (
        Goal("cover", (Wish("PTV", SquaredUnderdose(60.0), 10.0), Wish("PTV", SquaredOverdose(64.0), 5.0))),
        Goal("core", (Wish("Core", MeanDose(), 1.0),)),
        Goal("body", (Wish("Body", SquaredOverdose(10.0), 1.0),)),
    )
    start = np.full(problem.size, reference)
    return problem, goals, start, prioritise(problem, goals, start, USUAL, alone_beside=0)


def test_later_goals_keep_what_earlier_ones_reached(planned) -> None:
    problem, goals, _, found = planned
    assert [step.goal for step in found.steps] == list(goals)
    for n, step in enumerate(found.steps):
        for earlier in found.steps[:n]:
            now = measures_gy(problem, earlier.goal, step.solution.dose_gy)
            assert all(value <= kept for value, kept in zip(now, earlier.kept_gy, strict=True))


def test_hard_limits_hold_after_every_step(planned) -> None:
    problem, _, _, found = planned
    for step in found.steps:
        assert problem.violation_gy(step.solution.dose_gy) <= 0
    assert found.feasible
    assert not found.interrupted
    assert len(found.solution.excess) == 1


def test_each_goal_gets_better_in_its_own_step(planned) -> None:
    for n, step in enumerate(planned[3].steps):
        assert max(step.after_gy[n]) <= max(step.before_gy[n])
        assert step.after_gy[n] == step.reached_gy


def test_what_a_goal_costs_the_next_is_told(planned) -> None:
    found = planned[3]
    assert found.steps[0].price_gy == tuple(0.0 for _ in found.steps[0].reached_gy)
    for step in found.steps[1:]:
        # Covering the target costs the organs a lot.
        assert step.price_gy is not None
        assert step.price_gy[0] > 1.0
    for first, second in zip(found.steps[:-1], found.steps[1:], strict=True):
        assert second.before_gy == first.after_gy


def test_what_a_goal_would_reach_beside_the_first_is_told(planned) -> None:
    problem, goals, start, found = planned
    beside = prioritise(problem, goals, start, USUAL, alone_beside=1)
    first, second, third = beside.steps
    # The second goal has only the first before it, so it is alone with it already.
    assert first.price_gy == (0.0, 0.0)
    assert second.price_gy == (0.0,)
    assert third.alone_gy is not None
    assert found.steps[2].alone_gy is not None
    assert found.steps[2].alone_gy[0] < third.alone_gy[0] < third.reached_gy[0]


def test_the_order_decides_who_pays(planned) -> None:
    problem, goals, start, found = planned
    turned = prioritise(problem, (goals[0], goals[2], goals[1]), start, USUAL)
    assert turned.steps[1].reached_gy[0] < found.steps[2].reached_gy[0]
    assert turned.steps[2].reached_gy[0] > found.steps[1].reached_gy[0]


def test_an_aspiration_that_is_met_leaves_its_room_to_the_next_goal(planned) -> None:
    problem, goals, start, found = planned
    enough = 1.5 * found.steps[1].reached_gy[0]
    eased = (goals[0], replace(goals[1], aspiration_gy=enough), goals[2])
    better = prioritise(problem, eased, start, USUAL)
    assert better.steps[1].met
    assert not found.steps[1].met
    assert better.steps[1].kept_gy == (enough,)
    assert better.steps[2].reached_gy[0] < found.steps[2].reached_gy[0] - 0.01
    used = better.steps[2].after_gy[1][0]
    assert found.steps[1].kept_gy[0] < used <= enough


def test_the_weights_that_stand_for_an_order_give_the_same_plan() -> None:
    problem = small(1)
    goals = (
        Goal("Lungs", (Wish("Lungs", SquaredOverdose(5.0), 1.0),)),
        Goal("Heart", (Wish("Heart", MeanDose(), 1.0),)),
        Goal("Cord", (Wish("Cord", SquaredOverdose(0.0), 1.0),)),
    )
    found = prioritise(problem, goals, np.full(10, 30.0), EXACT)
    again = solve(found.weighted(), np.full(10, 30.0), EXACT)
    assert again.feasible
    for n, goal in enumerate(goals):
        assert measures_gy(problem, goal, again.dose_gy) == pytest.approx(found.steps[-1].after_gy[n], rel=5e-3)


def test_a_stopped_plan_keeps_the_steps_that_are_done(planned) -> None:
    problem, goals, start, _ = planned
    seen = []
    found = prioritise(problem, goals, start, USUAL, stop=lambda: len(seen) >= 150, progress=seen.append)
    assert found.interrupted
    assert 1 <= len(found.steps) <= 3
    assert found.feasible
    assert prioritise(problem, goals[:1], start, USUAL, stop=lambda: True).interrupted


def test_goals_end_where_hard_limits_contradict_each_other(planned) -> None:
    problem, goals, start, _ = planned
    limits = (Limit("PTV", SquaredUnderdose(60.0), 0.1), Limit("PTV", SquaredOverdose(50.0), 0.1))
    found = prioritise(replace(problem, limits=limits), goals, start, replace(USUAL, iterations=40, rounds=3))
    assert not found.feasible
    assert len(found.steps) == 1
    assert not found.interrupted


@pytest.mark.parametrize(
    "make",
    [
        lambda: Goal("none", ()),
        lambda: Goal("weightless", (Wish("PTV", MeanDose(), 0.0),)),
        lambda: Goal("backwards", (Wish("PTV", MeanDose(), 1.0),), -1.0),
        lambda: Slack(-0.1),
        lambda: Slack(0.1, 0.0),
        lambda: prioritise(small(0), (), np.ones(10)),
        lambda: prioritise(small(0), MEANS, np.ones(10), alone_beside=-1),
    ],
)
def test_goals_without_meaning_are_refused(make) -> None:
    with pytest.raises(InputError):
        make()
