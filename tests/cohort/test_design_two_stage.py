"""Simon's two-stage designs: the published table, and every design of small trials by enumeration."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.cohort.designs import TwoStage, simon_designs
from tailort.errors import InputError


def by_outcomes(design: TwoStage, proportion: float) -> tuple[float, float, float]:
    """Chance to reject, to stop early, and patients expected: the sum over every sequence of outcomes."""
    rejected = stopped = expected = 0.0
    for outcome in itertools.product((0, 1), repeat=design.patients):
        chance = proportion ** sum(outcome) * (1 - proportion) ** (design.patients - sum(outcome))
        stops = sum(outcome[: design.first_patients]) <= design.stop_at_most
        stopped += chance * stops
        expected += chance * (design.first_patients if stops else design.patients)
        rejected += chance * (not stops and sum(outcome) > design.fail_at_most)
    return rejected, stopped, expected


def every_design(most: int) -> list[TwoStage]:
    return [
        TwoStage(stop, first, fail, patients)
        for patients in range(2, most + 1)
        for first in range(1, patients)
        for stop in range(first)
        for fail in range(stop, patients)
    ]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(every_design(9)), st.floats(0.05, 0.95))
def test_chances_are_the_sums_over_every_sequence_of_outcomes(design: TwoStage, proportion: float) -> None:
    own = design.rejected(proportion), design.stopped_early(proportion), design.expected_patients(proportion)
    assert own == pytest.approx(by_outcomes(design, proportion), abs=1e-12)


@pytest.mark.parametrize(
    ("null", "assumed", "alpha", "power"),
    [(0.1, 0.6, 0.1, 0.8), (0.2, 0.7, 0.1, 0.8), (0.3, 0.8, 0.05, 0.7), (0.05, 0.5, 0.05, 0.8), (0.4, 0.8, 0.15, 0.7)],
)
def test_no_design_of_a_small_trial_is_better_than_the_two_found(
    null: float, assumed: float, alpha: float, power: float
) -> None:
    keep = [one for one in every_design(14) if one.rejected(null) <= alpha and one.rejected(assumed) >= power]
    found = simon_designs(null, assumed, alpha, power, most=14)
    assert found.optimal in keep
    assert found.minimax in keep
    fewest = min(one.expected_patients(null) for one in keep)
    assert found.optimal.expected_patients(null) == pytest.approx(fewest, abs=1e-12)
    smallest = min(one.patients for one in keep)
    assert found.minimax.patients == smallest
    of_smallest = min(one.expected_patients(null) for one in keep if one.patients == smallest)
    assert found.minimax.expected_patients(null) == pytest.approx(of_smallest, abs=1e-12)


@pytest.mark.parametrize(
    ("asked", "optimal", "expected", "early", "minimax", "expected_of_minimax"),
    [
        ((0.10, 0.30, 0.05, 0.80), "1/10, 5/29", 15.0, 0.74, "1/15, 5/25", 19.5),
        ((0.10, 0.30, 0.10, 0.90), "1/12, 5/35", 19.8, 0.65, "1/16, 4/25", 20.4),
        ((0.10, 0.30, 0.05, 0.90), "2/18, 6/35", 22.5, 0.73, "2/22, 6/33", 26.2),
        ((0.20, 0.40, 0.05, 0.80), "3/13, 12/43", 20.6, 0.75, "4/18, 10/33", 22.3),
        ((0.30, 0.50, 0.05, 0.80), "5/15, 18/46", 23.6, 0.72, "6/19, 16/39", 25.7),
    ],
)
def test_the_designs_are_those_of_simons_table(
    asked: tuple[float, float, float, float], optimal: str, expected: float, early: float, minimax: str,
    expected_of_minimax: float,
) -> None:  # fmt: skip
    found = simon_designs(*asked)
    assert (str(found.optimal), str(found.minimax)) == (optimal, minimax)
    # The table cuts or rounds to one and two decimals.
    assert found.optimal.expected_patients(asked[0]) == pytest.approx(expected, abs=0.06)
    assert found.optimal.stopped_early(asked[0]) == pytest.approx(early, abs=0.01)
    assert found.minimax.expected_patients(asked[0]) == pytest.approx(expected_of_minimax, abs=0.06)


def test_level_and_power_are_those_that_another_program_prints() -> None:
    """R package rawr, simon(0.1, 0.3): size, type2, Pstop1.H0, E.tot.n.H0 of 1/12, 5/35."""
    design = TwoStage(1, 12, 5, 35)
    assert design.rejected(0.1) == pytest.approx(0.09771828, abs=5e-9)
    assert 1 - design.rejected(0.3) == pytest.approx(0.09855051, abs=5e-9)
    assert design.stopped_early(0.1) == pytest.approx(0.6590023, abs=5e-8)
    assert design.expected_patients(0.1) == pytest.approx(19.84295, abs=5e-6)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.05, 0.4), st.floats(0.25, 0.4), st.floats(0.02, 0.15), st.floats(0.7, 0.9))
def test_alpha_and_power_are_kept_and_the_optimal_design_expects_no_more_patients_than_the_minimax(
    null: float, more: float, alpha: float, power: float
) -> None:
    found = simon_designs(null, null + more, alpha, power)
    for design in (found.optimal, found.minimax):
        assert design.rejected(null) <= alpha
        assert design.rejected(null + more) >= power
        # A better drug is rejected never less often, and stopped never more often.
        assert design.rejected(null + more) > design.rejected(null)
        assert design.stopped_early(null + more) < design.stopped_early(null)
    assert found.optimal.expected_patients(null) <= found.minimax.expected_patients(null)
    assert found.minimax.patients <= found.optimal.patients


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="below the null"):
        simon_designs(0.3, 0.1, 0.05, 0.8)
    with pytest.raises(InputError, match="up to 20 patients"):
        simon_designs(0.1, 0.2, 0.05, 0.8, most=20)
    with pytest.raises(InputError, match="2 to 200"):
        simon_designs(0.1, 0.3, 0.05, 0.8, most=1000)
    with pytest.raises(InputError, match="not above alpha"):
        simon_designs(0.1, 0.3, 0.05, 0.05)
    with pytest.raises(InputError, match="r1 < n1 < n"):
        TwoStage(3, 3, 4, 10)
