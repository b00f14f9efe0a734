"""Trade-offs: the front lies between plans and planes, mixtures keep what is asked, anchors cannot be bettered."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from toy_patient import toy

from tailort.errors import InputError, MissingStructureError, StoppedError
from tailort.optimisation import Effort, Limit, Problem, Smoothness, VoxelSet, Wish, reference_weight, solve
from tailort.optimisation.objectives import (
    LinearQuadratic,
    MaxDoseVolume,
    MeanDose,
    MinDoseVolume,
    SquaredOverdose,
    SquaredUnderdose,
)
from tailort.optimisation.pareto import trade_offs
from tailort.optimisation.pareto_goals import TradeGoal, trade_goal
from tailort.optimisation.pareto_hull import Plane, facets
from tailort.optimisation.pareto_kept import kept_beside
from tailort.optimisation.pareto_navigation import navigate
from tailort.optimisation.priorities import Slack
from tailort.patient import Prescription
from tailort.patient.prescription import Normalisation
from tailort.web.pareto_figures import trade_off_plot

EXACT = Effort(iterations=3000, rounds=60, value_tolerance=1e-11, gradient_tolerance=1e-12, complementarity=2e-5)
PRESCRIBED = (Prescription("PTV", 60.0, 30, Normalisation("coverage", metric="D95%[Gy]")),)


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


def voxel_set(name: str, rows: list[int]) -> VoxelSet:
    return VoxelSet(name, np.array(rows), np.ones(len(rows)))


def goal(problem: Problem, structure: str, metric: str, worst_gy: float | None = None) -> TradeGoal:
    return trade_goal(structure, metric, PRESCRIBED, problem.sets, dict.fromkeys(problem.sets, 100.0), worst_gy)


def curved() -> tuple[Problem, tuple[TradeGoal, TradeGoal]]:
    """Two beamlets x and y with x + y of at least 60 Gy: of A the root mean square of both counts, of B only x.

    On the front B is x from 0 to 30 and A the root of (x^2 + (60 - x)^2) / 2.
    """
    a = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    sets = {"PTV": voxel_set("PTV", [0]), "A": voxel_set("A", [1, 2]), "B": voxel_set("B", [3])}
    problem = Problem(Matrix(a), 1, sets, (), (Limit("PTV", SquaredUnderdose(60.0), 1e-5),))
    return problem, (goal(problem, "A", "gEUD(a=2)[Gy]"), goal(problem, "B", "Mean[Gy]"))


def true_a(b: np.ndarray) -> np.ndarray:
    b = np.minimum(b, 30.0)
    return np.sqrt((b**2 + (60.0 - b) ** 2) / 2)


@pytest.fixture(scope="module")
def curve():
    problem, goals = curved()
    return trade_offs(problem, goals, np.array([30.0, 40.0]), gap=0.004, most_plans=14, effort=EXACT)


def test_plans_lie_on_a_known_front(curve) -> None:
    for plan in curve.plans[1:]:
        a, b = plan.measures_gy
        assert a == pytest.approx(true_a(np.array(b)), abs=2e-3)


def test_anchors_are_the_ends_of_a_known_front_but_for_the_share_of_the_others(curve) -> None:
    best_a, best_b = (plan.measures_gy for plan in curve.anchors)
    # A share of 1 % of B moves the anchor of A by 1 % of a slope: from 30 Gy to 29.7 or so.
    assert best_a[0] == pytest.approx(30.0, abs=0.02)
    assert best_a[1] == pytest.approx(30.0, abs=0.8)
    assert best_b == pytest.approx((np.sqrt(1800.0), 0.0), abs=5e-3)
    assert curve.ideal_gy == (best_a[0], best_b[1])
    assert curve.nadir_gy == (best_b[0], best_a[1])


def test_the_gap_closes_to_what_was_asked_and_never_widens(curve) -> None:
    assert curve.reason == "gap"
    assert curve.gap <= 0.004
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(curve.gaps))
    assert curve.gaps[0] > 0.1


def test_no_point_of_a_known_front_is_below_a_plane(curve) -> None:
    b = np.linspace(0.0, 30.0, 301)
    costs = np.column_stack([true_a(b), b]) / curve.unit_gy
    for plane in curve.planes:
        assert (costs @ plane.normal).min() >= plane.offset - 1e-4


def test_a_mixture_is_as_good_as_the_gap_says(curve) -> None:
    ranges = np.subtract(curve.nadir_gy, curve.ideal_gy)
    for asked in (3.0, 9.5, 16.0, 24.0):
        found = navigate(curve, (None, asked))
        a, b = found.measures_gy
        assert found.met
        assert b <= asked + 1e-4
        assert a >= true_a(np.array(b)) - 2e-3
        # What is better by the gap in both goals at once is on or beyond the front.
        a, b = found.promised_gy
        assert a - curve.gap * ranges[0] <= true_a(np.array(b - curve.gap * ranges[1])) + 2e-3


def test_less_than_the_best_of_one_goal_is_impossible_though_nothing_is_asked_of_the_other(curve) -> None:
    assert navigate(curve, (25.0, None)).impossible
    assert not navigate(curve, (31.0, None)).impossible


def test_the_trade_is_the_slope_of_a_known_front(curve) -> None:
    found = navigate(curve, (None, 12.0))
    a, b = found.promised_gy
    # dA/dB = (2 B - 60) / (2 A), over a step of 5 % of the range and between neighbouring plans.
    assert found.trades[1, 0] == pytest.approx(-(2 * b - 60.0) / (2 * a), rel=0.15)
    assert np.isnan(found.trades[0, 0])


def small(seed: int) -> Problem:
    """Ten beamlets; a target that needs 50 Gy everywhere, and three organs."""
    rng = np.random.default_rng(seed)
    a = (rng.random((40, 10)) < 0.4) * rng.uniform(0.2, 1.0, (40, 10))
    a[:10, :] += 0.5 * np.eye(10)
    names = ("PTV", "Lungs", "Heart", "Cord")
    sets = {name: voxel_set(name, list(range(10 * n, 10 * n + 10))) for n, name in enumerate(names)}
    return Problem(Matrix(a), 1, sets, (), (Limit("PTV", SquaredUnderdose(50.0), 1e-5, label="Min"),))


@pytest.fixture(scope="module", params=range(2))
def linear(request):
    problem = small(request.param)
    goals = [goal(problem, name, "Mean[Gy]") for name in ("Lungs", "Heart", "Cord")]
    return problem, trade_offs(problem, goals, np.full(10, 60.0), gap=0.02, most_plans=14, effort=EXACT)


def test_linear_fronts_lie_between_plans_and_planes(linear) -> None:
    problem, front = linear
    a, units = problem.dose_map.a, np.array(front.unit_gy)
    means = np.array([a[10 * n : 10 * n + 10].mean(axis=0) for n in (1, 2, 3)])
    costs = np.array([plan.costs for plan in front.plans])
    rng = np.random.default_rng(5)
    for weights in rng.dirichlet(np.ones(3), 40):
        true = linprog((weights / units) @ means, A_ub=-a[:10], b_ub=np.full(10, -50.0)).fun
        outer = linprog(
            weights,
            A_ub=-np.array([plane.normal for plane in front.planes]),
            b_ub=-np.array([plane.offset for plane in front.planes]),
        ).fun
        assert outer <= true + 1e-4
        assert true <= (costs @ weights).min() + 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_planes_leave_room_for_what_aiming_inside_the_limits_costs(seed) -> None:
    problem = small(seed)
    problem = replace(problem, limits=tuple(replace(limit, gap_gy=0.5) for limit in problem.limits))
    goals = [goal(problem, name, "Mean[Gy]") for name in ("Lungs", "Heart", "Cord")]
    hasty = Effort(iterations=60, rounds=12, value_tolerance=5e-3, penalty=0.1, complementarity=0.05)
    front = trade_offs(problem, goals, np.full(10, 60.0), gap=0.02, most_plans=3, effort=hasty)
    means = np.array([problem.dose_map.a[10 * n : 10 * n + 10].mean(axis=0) for n in (1, 2, 3)])
    found = np.array([plan.costs for plan in front.plans])
    above = []
    for plane in front.planes:
        weights = (plane.normal / np.array(front.unit_gy)) @ means
        true = linprog(weights, A_ub=-problem.dose_map.a[:10], b_ub=np.full(10, -50.0)).fun
        assert plane.offset <= true + 1e-6
        above.append((found @ plane.normal).min() - true)
    # The plans alone would have made planes above the front.
    assert min(above) > 1e-3


def test_bounds_between_the_planes_and_the_plans_are_not_called_impossible(linear) -> None:
    _, front = linear
    asked = front.plans[-1].measures_gy
    found = navigate(front, asked)
    assert found.met
    assert not found.impossible
    assert found.violation_gy <= 0


def test_bounds_that_no_plan_can_keep_are_missed_least_and_called_impossible(linear) -> None:
    problem, front = linear
    a = problem.dose_map.a
    asked = tuple(0.98 * ideal for ideal in front.ideal_gy)
    found = navigate(front, asked)
    assert not found.met
    assert found.impossible
    means = np.array([a[10 * n : 10 * n + 10].mean(axis=0) for n in (1, 2, 3)])
    ranges = np.subtract(front.nadir_gy, front.ideal_gy)
    # The same by a linear programme over all plans: the least share t of the ranges.
    least = linprog(
        np.append(np.zeros(10), 1.0),
        A_ub=np.vstack([np.column_stack([means, -ranges]), np.column_stack([-a[:10], np.zeros(10)])]),
        b_ub=np.concatenate([asked, np.full(10, -50.0)]),
    ).fun
    assert least - 1e-3 <= max(np.array(found.short_gy) / ranges) <= least + front.gap + 1e-3


def test_no_plan_is_better_than_an_anchor_in_one_goal_and_as_good_in_the_others(linear) -> None:
    _, front = linear
    for anchor in front.anchors:
        for plan in front.plans:
            if plan is not anchor:
                assert max(np.subtract(plan.measures_gy, anchor.measures_gy)) > -1e-4


@pytest.fixture(scope="module")
def patient():
    """A toy patient, its plan, and the front of three goals beside it."""
    influence, sets = toy(n_beams=5, spacing_mm=5.0, slices=4)
    wishes = (
        Wish("PTV", SquaredUnderdose(60.0), 100.0, label="reach"),
        Wish("PTV", SquaredOverdose(64.0), 50.0, label="no more"),
        Wish("Core", SquaredOverdose(20.0), 5.0, label="core"),
        Wish("Body", SquaredOverdose(40.0), 20.0, label="fall off"),
        Wish("Body", MeanDose(), 0.1, label="as low as reasonable"),
    )
    problem = Problem(influence, 30, sets, wishes, (Limit("Core", SquaredOverdose(45.0), 0.5, label="Max"),))
    reference = reference_weight(problem, 60.0, "PTV")
    problem = replace(problem, smoothness=Smoothness.of(influence.beamlets, reference, 1.0))
    plan = solve(problem, np.full(problem.size, reference))
    goals = (
        goal(problem, "PTV", "D95%[Gy]", worst_gy=50.0),
        goal(problem, "Core", "Mean[Gy]"),
        goal(problem, "Body", "Mean[Gy]"),
    )
    kept = kept_beside(problem, plan, goals)
    return problem, plan, kept, trade_offs(kept, goals, plan.weights_mu, gap=0.1, most_plans=6)


def test_every_plan_and_every_mixture_keeps_the_limits(patient) -> None:
    problem, _, kept, front = patient
    for plan in front.plans:
        assert kept.violation_gy(plan.dose_gy) <= 0
    rng = np.random.default_rng(1)
    for shares in rng.dirichlet(np.ones(len(front.plans)), 20):
        dose = shares @ np.array([plan.dose_gy for plan in front.plans])
        assert kept.violation_gy(dose) <= 1e-9
        assert problem.violation_gy(dose) <= 1e-9


def test_the_dose_of_a_mixture_is_that_of_its_weights(patient) -> None:
    _, _, kept, front = patient
    found = navigate(front, (58.0, None, None))
    assert found.shares.sum() == pytest.approx(1.0)
    assert found.dose_gy == pytest.approx(kept.dose_gy(found.weights_mu), abs=1e-3)


def test_navigation_keeps_metrics_and_measures_promised(patient) -> None:
    _, _, _, front = patient
    core = 0.5 * (front.ideal_gy[1] + front.nadir_gy[1])
    found = navigate(front, (57.0, core, None))
    assert found.met
    # The mean of the coldest 5 % stands for D95%: what it keeps, D95% keeps.
    assert found.metrics_gy[0] >= 57.0 - 1e-3
    assert found.metrics_gy[1] <= core + 1e-3
    assert all(m <= p + 1e-6 for m, p in zip(found.measures_gy, found.promised_gy, strict=True))


def test_asking_for_less_of_a_goal_never_helps_the_goal_that_is_left(patient) -> None:
    _, _, _, front = patient
    low, high = front.ideal_gy[1], front.nadir_gy[1]
    left = [navigate(front, (57.0, low + s * (high - low), None)).promised_gy[2] for s in (0.4, 0.6, 0.8, 1.0)]
    assert all(later <= earlier + 1e-3 for earlier, later in pairwise(left))


def test_no_goal_becomes_worse_than_the_worst_that_was_allowed(patient) -> None:
    _, _, _, front = patient
    assert min(plan.metrics_gy[0] for plan in front.plans) >= 50.0 - 1e-3


def test_what_is_not_traded_is_kept_with_slack(patient) -> None:
    problem, plan, kept, front = patient
    labels = {limit.label for limit in kept.limits}
    # Coverage is traded and the means are replaced; the rest is kept.
    assert "keep 'no more'" in labels
    assert "keep 'reach'" not in labels
    assert "keep 'as low as reasonable'" not in labels
    over = problem.wishes[1]
    voxels = problem.sets["PTV"]
    before = np.sqrt(over.objective.value(plan.dose_gy[voxels.rows], voxels.volume))
    for one in front.plans:
        now = np.sqrt(over.objective.value(one.dose_gy[voxels.rows], voxels.volume))
        assert now <= 1.1 * before + 0.2 + 1e-9


def test_the_plan_itself_keeps_everything_that_is_kept_beside_the_trade(patient) -> None:
    _, plan, kept, front = patient
    assert kept.violation_gy(plan.dose_gy) < 0
    assert front.start is not None
    assert front.start.dose_gy == pytest.approx(plan.dose_gy, abs=1e-3)


def test_of_a_traded_organ_goals_that_are_met_are_kept_and_others_given_up(patient) -> None:
    problem, plan, _, front = patient
    hottest = float(plan.dose_gy[problem.sets["Core"].rows].max())
    wishes = tuple(
        Wish("Core", SquaredOverdose(hottest + by), 1.0, label=name) for name, by in (("met", 1.0), ("not met", -1.0))
    )
    asked = replace(problem, wishes=wishes)
    labels = {limit.label for limit in kept_beside(asked, plan, front.goals).limits}
    assert "keep 'met'" in labels
    assert "keep 'not met'" not in labels
    # Without a trade of the core both are kept.
    both = kept_beside(asked, plan, (front.goals[0], front.goals[2]))
    assert {"keep 'met'", "keep 'not met'"} <= {limit.label for limit in both.limits}


def test_a_prescription_is_asked_of_the_metric_not_of_its_stand_in(patient) -> None:
    _, _, _, front = patient
    best = front.anchors[0]
    # Between the mean of the coldest 5 % and D95% of the anchor lies what only the metric reaches.
    apart = best.metrics_gy[0] - front.goals[0].stand_in_gy(best.measures_gy[0])
    asked = min(best.metrics_gy[0] - 0.3 * apart, 60.0)
    assert apart > 0.02
    assert front.goals[0].bound_gy(asked) < best.measures_gy[0]
    found = navigate(front, (asked, None, None))
    assert found.met
    assert found.metrics_gy[0] >= asked - 1e-3


def test_a_stand_in_is_moved_until_the_metric_is_what_was_asked() -> None:
    problem, (a, _) = curved()
    # Of B one half gets 3 x, the other x: the mean of the hottest 60 % is 2.67 x, D60% is x.
    matrix = np.vstack([problem.dose_map.a, [3.0, 0.0]])
    sets = {**problem.sets, "B": voxel_set("B", [3, 4])}
    problem = replace(problem, dose_map=Matrix(matrix), sets=sets)
    front = trade_offs(
        problem, (a, goal(problem, "B", "D60%[Gy]")), np.array([30.0, 40.0]), gap=0.05, most_plans=6, effort=EXACT
    )
    found = navigate(front, (None, 10.0))
    assert found.met
    assert found.metrics_gy[1] == pytest.approx(10.0, abs=0.05)
    assert found.measures_gy[1] == pytest.approx(26.67, abs=0.2)


def test_the_figure_shows_each_pair_of_goals(patient) -> None:
    _, _, _, front = patient
    picture = trade_off_plot(front, navigate(front, (57.0, None, None)))
    drawn = base64.b64decode(picture.source.partition(",")[2]).decode()
    assert drawn.count('<g id="axes_') == 3
    assert f"{100 * front.gap:.1f} %" in picture.caption


def test_a_front_can_be_written_as_json(patient) -> None:
    _, _, _, front = patient
    told = json.loads(json.dumps(front.as_dict()))
    assert [g["metric"] for g in told["goals"]] == ["D95%[Gy]", "Mean[Gy]", "Mean[Gy]"]
    assert len(told["plans"]) == len(front.plans)
    mixture = json.loads(json.dumps(navigate(front, (None, None, None)).as_dict()))
    assert mixture["trades"][0][0] is None


def test_dose_volume_limits_take_their_convex_form_and_others_are_refused(patient) -> None:
    problem, plan, _, front = patient
    limited = replace(
        problem, limits=(*problem.limits, Limit("Body", MaxDoseVolume(30.0, 0.5), 0.1, label="V30Gy[%] < 50"))
    )
    kept = kept_beside(limited, plan, front.goals)
    assert not any(isinstance(limit.objective, MaxDoseVolume | MinDoseVolume) for limit in kept.limits)
    with pytest.raises(InputError, match="not convex"):
        trade_offs(limited, front.goals, plan.weights_mu)
    low = Limit("PTV", SquaredUnderdose(50.0), 0.1, LinearQuadratic("EQD2", 10.0, 30), "EQD2")
    with pytest.raises(InputError, match="physical dose"):
        kept_beside(replace(problem, limits=(low,)), plan, front.goals)


def test_limits_that_contradict_each_other_are_named(patient) -> None:
    problem, plan, _, front = patient
    none = Limit("Core", SquaredOverdose(0.5), 0.01, label="Max < 0.5")
    kept = kept_beside(replace(problem, limits=(none,)), plan, front.goals, Slack(0.0, 0.01))
    with pytest.raises(InputError, match="cannot hold together"):
        trade_offs(kept, front.goals, plan.weights_mu, effort=Effort(iterations=30, rounds=3))


def test_a_stop_before_the_anchors_leaves_nothing_and_later_what_there_is(patient) -> None:
    _, plan, kept, front = patient
    with pytest.raises(StoppedError):
        trade_offs(kept, front.goals, plan.weights_mu, stop=lambda: True)
    seen: list[int] = []
    stopped = trade_offs(
        kept,
        front.goals,
        plan.weights_mu,
        gap=1e-6,
        most_plans=5,
        effort=Effort(iterations=20, rounds=2, penalty=0.1),
        stop=lambda: len(seen) >= 3,
        progress=lambda p: seen.append(p.plans),
    )
    assert stopped.reason == "stopped"
    assert len(stopped.anchors) == 3


TWO = {"PTV": voxel_set("PTV", [0, 1]), "Heart": voxel_set("Heart", [2, 3])}


@pytest.mark.parametrize(
    ("structure", "metric", "found"),
    [
        ("Heart", "V40Gy[%]", "not convex"),
        ("Heart", "CV40Gy[cc]", "not convex"),
        ("Heart", "Volume[cc]", "not convex"),
        ("Heart", "Median[Gy]", "D50%"),
        ("Heart", "Mean[%]", "in Gy"),
        ("PTV", "Mean[Gy]", "neither"),
        ("Heart", "Min[Gy]", "lowest dose"),
        ("Heart", "D500cc[Gy]", "more than"),
        ("Heart", "gEUD(a=0.5)[Gy]", "convex for"),
        ("Heart", "gEUD(a=-5)[Gy]", "convex for"),
        ("Heart", "Average", "not a metric"),
    ],
)
def test_metrics_that_cannot_be_traded_are_refused_by_name(structure, metric, found) -> None:
    with pytest.raises(InputError, match=found):
        trade_goal(structure, metric, PRESCRIBED, TWO, {"PTV": 100.0, "Heart": 300.0})


def test_structures_without_voxels_and_unreachable_numbers_are_refused() -> None:
    with pytest.raises(MissingStructureError, match="Liver"):
        trade_goal("Liver", "Mean[Gy]", PRESCRIBED, TWO, {})
    with pytest.raises(InputError, match="not sought"):
        trade_goal("PTV", "D95%[Gy]", PRESCRIBED, TWO, {}, worst_gy=61.0)
    with pytest.raises(InputError, match="physical dose"):
        trade_goal("PTV", "D95%[Gy]", PRESCRIBED, TWO, {}, quantity=LinearQuadratic("EQD2", 10.0, 30))


ALL = (
    ("Heart", "Mean[Gy]"),
    ("Heart", "Max[Gy]"),
    ("Heart", "D20%[Gy]"),
    ("Heart", "D0.03cc[Gy]"),
    ("Heart", "gEUD(a=8)[Gy]"),
    ("PTV", "D95%[Gy]"),
    ("PTV", "Min[Gy]"),
    ("PTV", "D2%[Gy]"),
    ("PTV", "gEUD(a=-10)[Gy]"),
)
MANY = {"PTV": voxel_set("PTV", list(range(20))), "Heart": voxel_set("Heart", list(range(20)))}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(ALL), st.floats(0.05, 0.95))
def test_a_measure_of_a_mixture_is_at_most_the_mixture_of_the_measures(seed, asked, share) -> None:
    one = trade_goal(*asked, PRESCRIBED, MANY, {"PTV": 100.0, "Heart": 300.0})
    first, second = np.random.default_rng(seed).uniform(20.0, 70.0, (2, 20))
    values = [one.measure_gy(MANY, dose) for dose in (first, second)]
    mixed = one.measure_gy(MANY, share * first + (1 - share) * second)
    assert mixed <= share * values[0] + (1 - share) * values[1] + 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(ALL), st.floats(1.0, 59.0))
def test_what_a_measure_keeps_the_metric_keeps(seed, asked, bound_gy) -> None:
    one = trade_goal(*asked, PRESCRIBED, MANY, {"PTV": 100.0, "Heart": 300.0})
    dose = np.random.default_rng(seed).uniform(0.0, 70.0) + np.random.default_rng(seed + 1).uniform(0.0, 5.0, 20)
    if one.measure_gy(MANY, dose) <= one.bound_gy(bound_gy):
        metric = one.metric_gy(MANY, dose)
        assert metric >= bound_gy - 1e-6 if one.rising else metric <= bound_gy + 1e-6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(ALL))
def test_derivatives_of_measures_are_their_differences(seed, asked) -> None:
    one = trade_goal(*asked, PRESCRIBED, MANY, {"PTV": 100.0, "Heart": 300.0})
    rng = np.random.default_rng(seed)
    dose, way, volume = rng.uniform(30.0, 58.0, 20), rng.normal(size=20), np.full(20, 0.05)
    step = 1e-5
    ahead, behind = (one.objective.value(dose + s * way, volume) for s in (step, -step))
    assert one.objective.derivative(dose, volume) @ way == pytest.approx((ahead - behind) / (2 * step), abs=2e-3)


def test_faces_of_three_plans_are_known() -> None:
    # Of (0, 1), (0.2, 0.2), (1, 0): two faces, and the walls at either end.
    points = np.array([[0.0, 1.0], [0.2, 0.2], [1.0, 0.0]])
    planes = [Plane(np.array([1.0, 0.0]), 0.0), Plane(np.array([0.0, 1.0]), 0.0)]
    found = facets(points, planes, np.zeros(2), np.ones(2))
    inner = {face.points: face for face in found if min(face.normal) > 1e-6}
    assert set(inner) == {(0, 1), (1, 2)}
    assert inner[(0, 1)].normal == pytest.approx([0.8, 0.2])
    assert inner[(0, 1)].offset == pytest.approx(0.2)
    # The planes only say that nothing is below 0.
    assert inner[(0, 1)].gap == pytest.approx(0.2)
    walls = [face for face in found if min(face.normal) <= 1e-6]
    assert len(walls) == 2
    assert max(abs(face.gap) for face in walls) < 1e-9


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 3))
def test_every_plan_is_on_or_above_every_face(seed, size) -> None:
    points = np.random.default_rng(seed).random((9, size))
    for face in facets(points, [], np.zeros(size), np.ones(size)):
        assert face.normal.min() >= 0
        assert face.normal.sum() == pytest.approx(1.0)
        assert (points @ face.normal).min() == pytest.approx(face.offset)
