"""Beam directions: never worse than the start, out of the way of an organ, and the same for any order of candidates."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_patient import toy

from tailort.errors import InputError
from tailort.geometry.gantry_angles import candidates_deg, is_excluded, nearest_free
from tailort.optimisation import Effort, Limit, Problem, VoxelSet, Wish, reference_weight, solve
from tailort.optimisation.angles import ChosenBeams, Worth, choose_beams, of_beams
from tailort.optimisation.fewer_rows import FewerRows
from tailort.optimisation.objectives import MeanDose, Physical, SquaredOverdose, SquaredUnderdose
from tailort.optimisation.objectives.quantity import Added
from tailort.patient import Influence

CANDIDATES = 12
angle = st.integers(0, 359).map(float)
ranges = st.lists(st.tuples(angle, angle), max_size=3)


@cache
def asked(blocked: bool = False) -> tuple[Problem, float]:
    """A C-shaped target round a core among twelve directions; an organ with a hard limit where gantry 0 comes in."""
    influence, sets = toy(CANDIDATES, spacing_mm=8.0, slices=4)
    index = np.stack(np.unravel_index(influence.voxels, influence.grid.shape), axis=-1)
    points = influence.grid.to_world(index)
    # In front: y is towards the back.
    organ = np.flatnonzero((np.abs(points[:, 0]) < 40) & (points[:, 1] < -50))
    sets = {**sets, "Shield": VoxelSet("Shield", organ, np.ones(len(organ)))}
    wishes = (
        Wish("PTV", SquaredUnderdose(50.0), 100.0),
        Wish("PTV", SquaredOverdose(53.0), 50.0),
        Wish("Core", SquaredOverdose(15.0), 20.0),
        Wish("Body", SquaredOverdose(20.0), 20.0),
    )
    limits = (Limit("Shield", SquaredOverdose(2.0), 0.05, label="Max"),) if blocked else ()
    problem = Problem(influence, 25, sets, wishes, limits)
    some = replace(problem, dose_map=of_beams(influence, (0, 4, 8)))
    return problem, reference_weight(some, 50.0, "PTV")


@cache
def chosen(blocked: bool, start: tuple[int, ...]) -> ChosenBeams:
    problem, reference_mu = asked(blocked)
    return choose_beams(problem, start, reference_mu, 1.0)


def shuffled(problem: Problem, order: np.ndarray) -> Problem:
    """The same candidates, listed in another order."""
    influence = problem.dose_map
    assert isinstance(influence, Influence)
    beamlets = influence.beamlets
    place = np.argsort(order)
    columns = np.argsort(place[beamlets.beam], kind="stable")
    turned = replace(
        beamlets,
        beam=place[beamlets.beam][columns].astype(np.int32),
        x_mm=beamlets.x_mm[columns],
        y_mm=beamlets.y_mm[columns],
        setups=tuple(beamlets.setups[n] for n in order),
    )
    dense = np.zeros(influence.shape, dtype=np.float32)
    rows = np.repeat(np.arange(influence.shape[0]), np.diff(influence.starts))
    dense[rows, influence.columns] = influence.values
    dense = dense[:, columns]
    row, column = np.nonzero(dense)
    starts = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))]).astype(np.int64)
    moved = replace(
        influence, values=dense[row, column], columns=column.astype(np.uint32), starts=starts, beamlets=turned
    )
    return replace(problem, dose_map=moved)


@pytest.mark.parametrize("start", [(0, 4, 8), (0, 1, 2)], ids=["evenly spaced", "side by side"])
@pytest.mark.parametrize("blocked", [False, True])
def test_the_result_is_never_worse_than_the_start(blocked: bool, start: tuple[int, ...]) -> None:
    found = chosen(blocked, start)
    problem, _ = asked(blocked)
    assert len(found.beams) == len(set(found.beams)) == 3
    assert not found.start_worth.better_than(found.worth)
    # What is told of the fluence is what the fluence has.
    own = replace(problem, dose_map=of_beams(problem.dose_map, found.beams))  # type: ignore[arg-type]
    dose_gy = own.dose_gy(found.weights_mu)
    assert own.violation_gy(dose_gy) <= found.worth.violation_gy
    assert own.value_of_dose(dose_gy) <= found.worth.value


def test_beams_side_by_side_are_spread() -> None:
    found = chosen(False, (0, 1, 2))
    assert found.exchanges
    assert found.worth.value < 0.8 * found.start_worth.value


def test_a_beam_through_an_organ_with_a_hard_limit_goes() -> None:
    found = chosen(True, (0, 4, 8))
    assert 0 not in found.beams
    assert found.worth.violation_gy == 0
    assert found.worth.better_than(found.start_worth, 0.2)
    # Without the limit it is as good as the others.
    free = chosen(False, (0, 4, 8))
    assert free.start_worth.better_than(found.start_worth, 0.2)


def test_the_best_of_all_pairs_is_found_where_all_can_be_tried() -> None:
    problem, reference_mu = asked(True)
    effort = Effort(iterations=60, rounds=6, value_tolerance=2e-3)
    values = {}
    for one in range(CANDIDATES):
        for other in range(one + 1, CANDIDATES):
            own = replace(problem, dose_map=of_beams(problem.dose_map, (one, other)))  # type: ignore[arg-type]
            solution = solve(own, np.full(own.size, 1.5 * reference_mu), effort)
            values[one, other] = solution.value if solution.feasible else np.inf
    found = choose_beams(problem, (0, 6), 1.5 * reference_mu, 0.0, passes=4)
    rank = sum(value < 0.98 * found.worth.value for value in values.values())
    assert found.worth.violation_gy == 0
    # An exchange of one at a time ends in a local optimum, which is among the best tenth.
    assert rank <= len(values) // 10


def test_the_order_of_the_candidates_does_not_matter() -> None:
    problem, reference_mu = asked(True)
    order = np.random.default_rng(3).permutation(CANDIDATES)
    place = {int(beam): n for n, beam in enumerate(order)}
    found = chosen(True, (0, 4, 8))
    again = choose_beams(shuffled(problem, order), [place[n] for n in (8, 0, 4)], reference_mu, 1.0)
    assert [int(order[n]) for n in again.beams] == list(found.beams)
    assert again.worth.value == pytest.approx(found.worth.value, rel=1e-6)


def test_the_same_question_has_the_same_answer() -> None:
    problem, reference_mu = asked(True)
    found, again = chosen(True, (0, 4, 8)), choose_beams(problem, (0, 4, 8), reference_mu, 1.0)
    assert again.beams == found.beams
    assert np.array_equal(again.weights_mu, found.weights_mu)


def test_a_stopped_search_returns_the_best_so_far() -> None:
    problem, reference_mu = asked()
    full = chosen(False, (0, 1, 2))
    calls = iter(range(10**9))
    halfway = choose_beams(problem, (0, 1, 2), reference_mu, 1.0, stop=lambda: next(calls) > 400)
    assert halfway.stopped
    assert not full.stopped
    assert not halfway.start_worth.better_than(halfway.worth)
    assert halfway.trials < full.trials
    at_once = choose_beams(problem, (0, 1, 2), reference_mu, 1.0, stop=lambda: True)
    assert at_once.beams == (0, 1, 2)


def test_progress_rises_to_its_end() -> None:
    problem, reference_mu = asked()
    told: list[float] = []
    choose_beams(problem, (0, 4), reference_mu, 0.0, progress=told.append)
    assert told == sorted(told)
    assert told[0] == 0.0
    assert all(0.0 <= share < 1.0 for share in told)


@pytest.mark.parametrize("start", [(), (0, 0), (0, CANDIDATES)])
def test_a_start_that_is_none_is_refused(start: tuple[int, ...]) -> None:
    problem, reference_mu = asked()
    with pytest.raises(InputError, match="starts from different ones of the 12 candidates"):
        choose_beams(problem, start, reference_mu, 0.0)


def test_limits_come_before_the_value() -> None:
    assert Worth(0.0, 100.0).better_than(Worth(0.1, 1.0))
    assert not Worth(0.1, 1.0).better_than(Worth(0.0, 100.0))
    assert Worth(0.1, 100.0).better_than(Worth(0.2, 1.0))
    assert Worth(0.0, 98.9).better_than(Worth(0.0, 100.0), 0.01)
    assert not Worth(0.0, 99.1).better_than(Worth(0.0, 100.0), 0.01)


def test_some_beams_give_the_dose_of_their_beamlets() -> None:
    influence = asked()[0].dose_map
    assert isinstance(influence, Influence)
    weights_mu = np.random.default_rng(0).uniform(0, 2, influence.shape[1])
    mine = np.isin(influence.beamlets.beam, (2, 7))
    some = of_beams(influence, (7, 2))
    assert some.dose(weights_mu[mine]) == pytest.approx(influence.dose(np.where(mine, weights_mu, 0.0)), rel=1e-9)
    by_dose = np.random.default_rng(1).normal(size=influence.shape[0])
    assert some.gradient(by_dose) == pytest.approx(influence.gradient(by_dose)[mine], rel=1e-9, abs=1e-12)
    assert [setup.gantry_deg for setup in some.beamlets.setups] == [60.0, 210.0]
    assert set(some.beamlets.beam.tolist()) == {0, 1}


def test_candidates_stand_on_the_lattice_and_where_the_class_solution_is() -> None:
    assert candidates_deg(90.0) == (0.0, 90.0, 180.0, 270.0)
    assert candidates_deg(120.0, (72.0, 240.0)) == (0.0, 72.0, 120.0, 240.0)
    assert candidates_deg(90.0, excluded_deg=((300.0, 100.0),)) == (180.0, 270.0)
    for wrong in (0.0, -10.0, 181.0, float("nan")):
        with pytest.raises(InputError, match="between 0 and 180"):
            candidates_deg(wrong)


@given(st.floats(2, 90), st.lists(angle, max_size=5), ranges)
def test_no_candidate_is_in_an_excluded_range(every: float, also: list[float], excluded: list[Any]) -> None:
    found = candidates_deg(every, also, excluded)
    assert list(found) == sorted(set(found))
    assert not any(is_excluded(one, excluded) for one in found)
    assert set(found) <= set(candidates_deg(every, also))
    assert {one for one in also if not is_excluded(one, excluded)} <= set(found)


@given(angle, angle, angle)
def test_a_range_goes_clockwise_and_its_ends_are_in_it(first: float, last: float, at: float) -> None:
    assert is_excluded(first, [(first, last)])
    assert is_excluded(last, [(first, last)])
    plain = first <= at <= last if first <= last else at >= first or at <= last
    assert is_excluded(at, [(first, last)]) == plain


@given(st.integers(1, 9), ranges)
def test_the_class_solution_moves_only_where_it_is_excluded(beams: int, excluded: list[Any]) -> None:
    even = [360.0 * n / beams for n in range(beams)]
    candidates = candidates_deg(10.0, even, excluded)
    if len(candidates) < beams:
        with pytest.raises(InputError, match="cannot be chosen from"):
            nearest_free(even, candidates)
        return
    found = nearest_free(even, candidates)
    assert len(set(found)) == beams
    assert set(found) <= set(candidates)
    assert set(found) >= set(candidates) & {round(one, 6) for one in even}


def test_fewer_rows_ask_the_same_where_none_is_left_out() -> None:
    problem, reference_mu = asked(True)
    few = FewerRows.of(list(problem.sets.values()), problem.wishes, problem.limits, 10**6, np.random.default_rng(0))
    dose_gy = problem.dose_gy(np.full(problem.size, reference_mu))
    own = replace(problem, sets=few.sets, wishes=few.wishes, limits=few.limits)
    assert own.value_of_dose(dose_gy[few.rows]) == pytest.approx(problem.value_of_dose(dose_gy), rel=1e-12)
    assert own.violation_gy(dose_gy[few.rows]) == pytest.approx(problem.violation_gy(dose_gy), rel=1e-12)


def test_a_sample_keeps_each_voxel_with_its_own_level_and_earlier_dose() -> None:
    rows = np.arange(100, 200)
    voxels = VoxelSet("Organ", rows, np.ones(100))
    level_gy, earlier_gy = np.arange(100.0), np.linspace(0, 5, 100)
    wish = Wish("Organ", SquaredOverdose(level_gy), 3.0, Added(Physical(), earlier_gy))
    few = FewerRows.of([voxels], [wish, Wish("Organ", MeanDose(), 1.0)], [], 10, np.random.default_rng(0))
    assert len(few.rows) == 10
    # Spread through the structure: one voxel from each tenth.
    assert ((few.rows - 100) // 10).tolist() == list(range(10))
    (sampled, _), kept = few.wishes, few.rows - 100
    assert np.array_equal(sampled.objective.level_gy, level_gy[kept])  # type: ignore[attr-defined]
    assert sampled.quantity.of(np.zeros(10)) == pytest.approx(earlier_gy[kept])
    assert few.sets["Organ"].volume.sum() == pytest.approx(1.0)
