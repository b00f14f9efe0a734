"""Leaving out the rows that do not matter changes neither a problem's value nor its derivative."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_patient import toy

from tailort.optimisation import Problem, Wish
from tailort.optimisation.objectives import (
    LinearQuadratic,
    MaxDoseVolume,
    MeanDose,
    SquaredEUDOverdose,
    SquaredOverdose,
    SquaredUnderdose,
)
from tailort.optimisation.screening import CompactMap, screened

INFLUENCE, SETS = toy()
NAMES = sorted(SETS)


def problem(seed: int) -> Problem:
    """Levels between which many voxels lie, on every kind of wish."""
    rng = np.random.default_rng(seed)
    name = rng.choice(NAMES, 6)
    level = rng.uniform(5.0, 60.0, len(SETS[name[1]].rows))
    wishes = (
        Wish(name[0], SquaredOverdose(30.0), 3.0),
        Wish(name[1], SquaredOverdose(level), 2.0),
        Wish(name[2], SquaredUnderdose(50.0), 5.0),
        Wish(name[3], MeanDose(), 0.7),
        Wish(name[4], MaxDoseVolume(20.0, 0.3), 1.0),
        Wish(name[5], SquaredOverdose(25.0), 1.5, LinearQuadratic("EQD2", 3.0, 25)),
    )
    return Problem(INFLUENCE, 25, SETS, wishes, offset_gy=rng.uniform(0.0, 3.0, INFLUENCE.shape[0]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.5))
def test_value_and_derivative_are_those_of_all_rows_while_it_holds(seed: int, reach: float) -> None:
    whole = problem(seed)
    weights = np.random.default_rng(seed + 1).uniform(0.0, 0.2, whole.size)
    found = screened(whole, whole.dose_gy(weights), reach)
    assert found is not None
    assert found.holds(whole.dose_gy(weights))
    near = weights * (1.0 + 0.5 * reach)
    for point in (weights, near):
        if found.holds(whole.dose_gy(point)):
            assert found.problem.value(point) == pytest.approx(whole.value(point), rel=1e-9)
            np.testing.assert_allclose(found.problem.derivative(point), whole.derivative(point), rtol=1e-6, atol=1e-9)


def test_a_row_that_rises_to_its_level_is_noticed() -> None:
    only = replace(
        problem(0), wishes=(Wish(NAMES[0], SquaredOverdose(30.0), 1.0), Wish(NAMES[1], SquaredUnderdose(50.0), 1.0))
    )
    weights = np.full(only.size, 1e-3)
    found = screened(only, only.dose_gy(weights), 0.1)
    assert found is not None
    assert len(found.rows) < only.dose_map.shape[0]
    assert not found.holds(only.dose_gy(weights * 1e4))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.5))
def test_a_map_that_serves_again_keeps_value_and_derivative(seed: int, reach: float) -> None:
    whole = problem(seed)
    weights = np.random.default_rng(seed + 1).uniform(0.0, 0.2, whole.size)
    before = screened(whole, whole.dose_gy(weights), 2.5 * reach)
    assert before is not None
    point = 1.001 * weights
    other = replace(whole, wishes=tuple(replace(wish, weight=2.0 * wish.weight) for wish in whole.wishes))
    again = screened(other, other.dose_gy(point), reach, before)
    assert again is not None
    needed = screened(other, other.dose_gy(point), reach)
    assert needed is not None
    if len(needed.rows) > 0.6 * len(before.rows):
        assert again.problem.dose_map is before.problem.dose_map
    assert again.problem.value(point) == pytest.approx(other.value(point), rel=1e-9)
    np.testing.assert_allclose(again.problem.derivative(point), other.derivative(point), rtol=1e-6, atol=1e-9)


def test_equivalent_doses_and_volumes_keep_their_structure() -> None:
    name = NAMES[0]
    only = replace(problem(0), wishes=(Wish(name, SquaredEUDOverdose(20.0, 8.0), 1.0),))
    found = screened(only, only.dose_gy(np.full(only.size, 1e-4)), 0.0)
    assert found is not None
    np.testing.assert_array_equal(found.rows, np.sort(SETS[name].rows))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_rows_taken_out_give_the_same_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = INFLUENCE
    rows = np.flatnonzero(rng.uniform(size=whole.shape[0]) < 0.1)
    part = CompactMap.of(whole, rows)
    weights, by_dose = rng.uniform(size=whole.shape[1]), rng.uniform(-1, 1, len(rows))
    all_rows = np.zeros(whole.shape[0])
    all_rows[rows] = by_dose
    np.testing.assert_allclose(part.dose(weights), whole.dose(weights)[rows], rtol=1e-12)
    np.testing.assert_allclose(part.gradient(by_dose), whole.gradient(all_rows), rtol=1e-9, atol=1e-12)
