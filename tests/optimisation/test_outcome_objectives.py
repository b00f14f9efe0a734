"""Limits on outcomes as objectives: in Gy, with derivatives, the same as the limits that they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from toy_patient import toy

from tailort.errors import InputError
from tailort.optimisation import Limit, Problem, VoxelSet, Wish, objectives_from, reference_weight, solve
from tailort.optimisation.objectives import (
    ComplicationAbove,
    ControlBelow,
    LinearQuadratic,
    SquaredMeanOverdose,
    SquaredOverdose,
    UniformDose,
    outcome_objective,
)
from tailort.optimisation.pareto_kept import is_convex
from tailort.patient import Constraint, Normalisation, Prescription
from tailort.radiobiology import OnMaximum, outcome_set, outcome_sets

N = 12
EXAMPLES = {
    "complication-above, mean": ComplicationAbove.of(outcome_set("lung-quantec"), 30.0),
    "complication-above, LKB": ComplicationAbove.of(outcome_set("oesophagitis-chapet-2005"), 20.0),
    "complication-above, serial": ComplicationAbove.of(outcome_set("oesophagus-stricture-burman-1991"), 1.0),
    "complication-above, seriality": ComplicationAbove.of(outcome_set("cardiac-death-gagliardi-1996"), 3.0),
    "complication-above, relative risk": ComplicationAbove.of(outcome_set("coronary-darby-2013"), 150.0),
    "control-below, logistic": ControlBelow.of(outcome_set("oesophagus-demonstration"), 60.0),
    "control-below, Poisson": ControlBelow.of(outcome_set("oesophagus-demonstration-poisson"), 60.0),
}
PROVEN = [name for name in EXAMPLES if "seriality" not in name]
QUANTITIES = {"as it is": None, "EQD2": LinearQuadratic("EQD2", 3.0, 30)}
doses = arrays(np.float64, N, elements=st.floats(1.0, 70.0))
volumes = arrays(np.float64, N, elements=st.floats(0.01, 1.0)).map(lambda v: v / v.sum())
objectives = pytest.mark.parametrize("objective", EXAMPLES.values(), ids=EXAMPLES.keys())


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
@objectives
@given(dose=doses, volume=volumes)
@settings(max_examples=20)
def test_derivatives_are_those_of_the_values(objective, quantity, dose, volume) -> None:
    step = 1e-4

    def value(d):
        return objective.value(d if quantity is None else quantity.of(d), volume)

    seen, inner = (dose, 1.0) if quantity is None else (quantity.of(dose), quantity.derivative(dose))
    found = objective.derivative(seen, volume) * inner
    differences = np.array([(value(dose + step * e) - value(dose - step * e)) / (2 * step) for e in np.eye(N)])
    np.testing.assert_allclose(found, differences, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", PROVEN)
@given(a=doses, b=doses, volume=volumes, t=st.floats(0.0, 1.0))
@settings(max_examples=30)
def test_those_said_to_be_convex_are(name, a, b, volume, t) -> None:
    f = EXAMPLES[name]
    chord = t * f.value(a, volume) + (1 - t) * f.value(b, volume)
    assert f.value(t * a + (1 - t) * b, volume) <= chord + 1e-9 * (1 + abs(chord))


@objectives
@given(dose=doses, more=arrays(np.float64, N, elements=st.floats(0.0, 20.0)), volume=volumes)
@settings(max_examples=30)
def test_risks_never_get_cheaper_and_control_never_dearer_with_dose(objective, dose, more, volume) -> None:
    sign = 1.0 if isinstance(objective, ComplicationAbove) else -1.0
    assert sign * objective.value(dose + more, volume) >= sign * objective.value(dose, volume) - 1e-9


@pytest.mark.parametrize("name", [one.id for one in outcome_sets().values() if not isinstance(one.response, OnMaximum)])
@given(dose=doses, volume=volumes, percent=st.floats(5.0, 90.0))
@settings(max_examples=20)
def test_an_objective_holds_exactly_where_the_outcome_does(name, dose, volume, percent) -> None:
    by = outcome_set(name)
    f = outcome_objective(by, by.outcome != "TCP", percent)
    side = -1.0 if by.outcome == "TCP" else 1.0
    beyond = side * (100.0 * by.response.effect(dose, volume) - percent)
    if abs(beyond) > 1e-6:
        assert (beyond > 0) == (f.excess_gy(dose, volume)[0] > 0) == (f.value(dose, volume) > 0)


@objectives
@given(dose=doses, volume=volumes, by=st.floats(0.0, 5.0))
@settings(max_examples=20)
def test_a_level_made_stricter_by_a_gray_is_a_gray_farther_beyond(objective, dose, volume, by) -> None:
    stricter = objective.tightened(by)
    np.testing.assert_allclose(stricter.excess_gy(dose, volume), objective.excess_gy(dose, volume) + by, atol=1e-9)


def test_a_risk_by_the_mean_is_a_limit_on_the_mean() -> None:
    # NTCP 15.08 % of RB-51 is a mean of 17 Gy.
    dose, volume = np.linspace(0.0, 50.0, N), np.full(N, 1 / N)
    risk = ComplicationAbove.of(outcome_set("lung-quantec"), 100 / (1 + np.exp(3.87 - 0.126 * 17)))
    assert risk.value(dose, volume) == pytest.approx(SquaredMeanOverdose(17.0).value(dose, volume))


def test_a_risk_by_the_highest_dose_is_kept_in_every_voxel() -> None:
    found = outcome_objective(outcome_set("myelopathy-schultheiss-2008"), True, 50.0)
    assert isinstance(found, SquaredOverdose)
    assert found.level_gy == pytest.approx(69.4)
    with pytest.raises(InputError, match="voxel by voxel"):
        ComplicationAbove.of(outcome_set("myelopathy-schultheiss-2008"), 5.0)


@pytest.mark.parametrize(
    ("name", "at_most", "percent", "says"),
    [
        ("lung-quantec", False, 20.0, "a lowest NTCP"),
        ("oesophagus-demonstration", True, 20.0, "a highest TCP"),
        ("lung-quantec", True, 1.0, "without any dose"),
        ("lung-quantec", True, 100.0, "between 0 and 100 %"),
    ],
)
def test_limits_that_mean_nothing_are_refused(name: str, at_most: bool, percent: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        outcome_objective(outcome_set(name), at_most, percent)


def test_convexity_is_claimed_only_where_it_is_known() -> None:
    eqd2 = QUANTITIES["EQD2"]
    assert is_convex(EXAMPLES["complication-above, LKB"], eqd2)
    assert not is_convex(EXAMPLES["complication-above, seriality"], eqd2)
    assert not is_convex(EXAMPLES["control-below, logistic"], eqd2)


def test_limits_of_a_protocol_are_on_the_dose_of_their_set() -> None:
    cover = Normalisation("coverage", metric="D95%[Gy]")
    sets = {name: VoxelSet(name, np.arange(N), np.ones(N)) for name in ("PTV_6000", "Lungs", "SpinalCord")}
    asked = [
        Constraint("Lungs", "NTCP(lung-quantec)[%]", "<=", 15.0, "hard", "test"),
        Constraint("Lungs", "NTCP(lung-quantec)[%]", "<=", 10.0, "goal", "test"),
        Constraint("SpinalCord", "NTCP(myelopathy-schultheiss-2008)[%]", "<", 0.2, "hard", "test"),
        Constraint("PTV_6000", "TCP(oesophagus-demonstration)[%]", ">=", 50.0, "goal", "test"),
        Constraint("Lungs", "NTCP(lung-seppenwoolde-2003)[%]", "<=", 10.0, "report", "test"),
    ]
    found = objectives_from(
        [Prescription("PTV_6000", 60.0, 30, cover)], asked, sets, dict.fromkeys(sets, 100.0), {"PTV_6000": np.zeros(N)}
    )
    lungs, cord = found.limits
    assert lungs.quantity == LinearQuadratic("EQD2", 3.0, 30)
    assert lungs.objective == ComplicationAbove.of(outcome_set("lung-quantec"), 15.0)
    assert cord.quantity == LinearQuadratic("EQD2", 0.87, 30)
    goal, control = found.asked
    assert goal in found.ceilings
    assert control not in found.ceilings
    assert isinstance(control.objective, ControlBelow)
    # A goal's wish aims inside it.
    (wish,) = [w for w in found.wishes if isinstance(w.objective, ComplicationAbove)]
    assert wish.objective.level_gy < goal.objective.level_gy


def test_a_plan_keeps_a_risk_that_it_would_exceed_without_the_limit() -> None:
    influence, sets = toy(n_beams=5, spacing_mm=8.0, slices=2)
    by = outcome_set("lung-quantec")
    wishes = (Wish("PTV", UniformDose(60.0), 100.0), Wish("Body", SquaredOverdose(30.0), 1.0))
    free = Problem(influence, 30, sets, wishes)
    start = np.full(free.size, reference_weight(free, 60.0, "PTV"))

    def risk(problem: Problem) -> float:
        dose = solve(problem, start).dose_gy[sets["Core"].rows]
        return 100.0 * by.effect(dose, 30, sets["Core"].volume)

    most = 0.5 * risk(free)
    limit = Limit("Core", outcome_objective(by, True, most), 0.0, LinearQuadratic("EQD2", 3.0, 30))
    assert risk(replace(free, limits=(limit,))) <= 1.02 * most
