"""Doses of several courses added up voxel by voxel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError
from tailort.evaluation import EarlierCourse, accumulate, assess
from tailort.geometry import Grid, Image
from tailort.patient import Constraint, Dose, Structure, StructureSet

FRAME = "1.2.3"
GRID = Grid.axial((4, 5, 6), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), FRAME)


def dose(gy: float | np.ndarray, fractions: int | None, grid: Grid = GRID, per: str = "course") -> Dose:
    values = np.broadcast_to(np.asarray(gy, dtype=np.float32), grid.shape).copy()
    return Dose(Image(grid, values, "Gy"), "physical", per, fractions, None, "test")


def course(gy: float | np.ndarray, fractions: int, months: float | None = 12.0) -> EarlierCourse:
    return EarlierCourse("earlier", (dose(gy, fractions),), months, "same frame of reference")


def test_fifty_in_25_and_24_in_3_are_110_eqd2_of_alpha_beta_2() -> None:
    found = accumulate([course(50.0, 25)], [dose(24.0, 3)], "EQD2", 2.0)
    np.testing.assert_allclose(found.image.values, 110.0, rtol=1e-6)
    assert (found.quantity, found.alpha_beta_gy, found.fractions) == ("EQD2", 2.0, None)


@pytest.mark.parametrize(
    ("name", "alpha_beta_gy", "expected_gy"),
    [("WE-05 and WE-16, alpha/beta 2", 2.0, 120.0 + 168.0), ("alpha/beta 3", 3.0, 100.0 + 120.0)],
)
def test_sixty_in_30_and_24_in_2_add_up_to_their_bed(name: str, alpha_beta_gy: float, expected_gy: float) -> None:
    found = accumulate([course(60.0, 30)], [dose(24.0, 2)], "BED", alpha_beta_gy)
    np.testing.assert_allclose(found.image.values, expected_gy, rtol=1e-6)


def test_phases_count_each_with_their_own_fractions() -> None:
    """WE-12: 28 x 1.8 and 8 x 1.8 Gy are 61.56 Gy EQD2 of alpha/beta 2."""
    both = EarlierCourse("two phases", (dose(50.4, 28), dose(14.4, 8)), None, "same")
    np.testing.assert_allclose(accumulate([both], [], "EQD2", 2.0).image.values, 61.56, rtol=1e-6)


def test_a_dose_of_one_fraction_counts_as_often_as_it_was_given() -> None:
    one = EarlierCourse("a fraction", (dose(2.0, 25, per="fraction"),), None, "same")
    np.testing.assert_allclose(accumulate([one], [], "BED", 2.0).image.values, 100.0, rtol=1e-6)


@given(
    st.lists(st.tuples(st.floats(0.0, 80.0), st.integers(1, 40)), min_size=2, max_size=4),
    st.sampled_from(["BED", "EQD2"]),
    st.floats(0.5, 20.0),
    st.integers(0, 2**31),
)
def test_the_order_of_courses_does_not_matter(
    courses: list[tuple[float, int]], quantity: str, alpha_beta_gy: float, seed: int
) -> None:
    shape = np.random.default_rng(seed).random(GRID.shape)
    made = [course(gy * shape, n) for gy, n in courses]
    first = accumulate(made, [], quantity, alpha_beta_gy).image.values
    for order in itertools.islice(itertools.permutations(made), 6):
        np.testing.assert_array_equal(accumulate(order, [], quantity, alpha_beta_gy).image.values, first)


@given(st.floats(0.0, 70.0), st.integers(1, 40), st.integers(1, 4), st.floats(0.5, 20.0))
def test_identical_courses_are_multiples_of_one(gy: float, fractions: int, times: int, alpha_beta_gy: float) -> None:
    one = accumulate([course(gy, fractions)], [], "BED", alpha_beta_gy).image.values.astype(np.float64)
    many = accumulate([course(gy, fractions)] * times, [], "BED", alpha_beta_gy).image.values
    np.testing.assert_allclose(many, times * one, rtol=2e-7)


@given(st.floats(0.0, 1.0), st.floats(1.0, 70.0))
def test_a_discount_takes_its_part_of_the_earlier_course_only(discount: float, gy: float) -> None:
    spent = accumulate([course(gy, 30)], [], "EQD2", 3.0).image.values.astype(np.float64)
    new = accumulate([], [dose(12.0, 2)], "EQD2", 3.0).image.values
    left = accumulate([course(gy, 30)], [dose(12.0, 2)], "EQD2", 3.0, [discount]).image.values
    np.testing.assert_allclose(left, (1.0 - discount) * spent + new, rtol=1e-6)


def test_what_is_unknown_in_one_course_is_unknown_in_the_sum() -> None:
    gy = np.full(GRID.shape, 30.0)
    gy[0] = np.nan
    found = accumulate([course(gy, 15)], [dose(10.0, 5)], "BED", 3.0).image.values
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:], 30.0 * (1 + 2.0 / 3.0) + 10.0 * (1 + 2.0 / 3.0), rtol=1e-6)


def test_what_cannot_be_added_is_refused_by_name() -> None:
    other = Grid.axial((4, 5, 6), (3.0, 2.0, 2.0), (0.0, 0.0, 0.0), FRAME)
    with pytest.raises(InputError, match="no number of fractions"):
        EarlierCourse("2019", (dose(50.0, None),), 12.0, "same")
    with pytest.raises(InputError, match="no dose"):
        EarlierCourse("2019", (), 12.0, "same")
    with pytest.raises(InputError, match="not in physical"):
        accumulate([course(50.0, 25)], [], "physical", 3.0)
    with pytest.raises(GeometryError, match="different grids"):
        accumulate([course(50.0, 25)], [dose(10.0, 5, other)], "BED", 3.0)
    with pytest.raises(InputError, match="discounts"):
        accumulate([course(50.0, 25)], [], "BED", 3.0, [1.5])
    biological = accumulate([course(50.0, 25)], [], "BED", 3.0)
    with pytest.raises(InputError, match="physical doses"):
        EarlierCourse("2019", (biological,), 12.0, "same")


def cube(name: str, low: float, high: float) -> Structure:
    planes = np.arange(0.0, 7.0, 2.0)
    square = [(low, low), (high, low), (high, high), (low, high)]
    return Structure(name, "ORGAN", tuple(np.array([(x, y, z) for x, y in square]) for z in planes), FRAME)


LIMIT = Constraint(
    "Esophagus", "Max[Gy]", "<", 203.0, "goal", "KO-90", quantity="BED", alpha_beta_gy=3.0, scope="cumulative"
)


@pytest.mark.parametrize(
    ("new_gy", "verdict"),
    # WE-36 asks 203.0 to fail and 202.9 to pass; 60 Gy in 30 are 100 Gy BED, so just below 103 are left in 2 fractions.
    [(22.05, "fail"), (22.03, "pass")],
)
def test_a_cumulative_limit_is_judged_on_the_sum(new_gy: float, verdict: str) -> None:
    structures = StructureSet((cube("Esophagus", 1.0, 7.0),), FRAME)
    card = assess(structures, dose(new_gy, 2), [LIMIT], [], earlier=[course(60.0, 30)])
    (row,) = card.rows
    assert row.value == pytest.approx(100.0 + new_gy * (1 + new_gy / 6.0), abs=0.01)
    assert (row.verdict, row.scope) == (verdict, "cumulative")


def test_a_course_that_meets_every_limit_of_its_own_can_break_the_sum() -> None:
    structures = StructureSet((cube("Esophagus", 1.0, 7.0),), FRAME)
    own = Constraint("Esophagus", "Max[Gy]", "<=", 23.0, "hard", "single course")
    single, summed = assess(structures, dose(22.4, 2), [own, LIMIT], [], earlier=[course(60.0, 30)]).rows
    assert (single.verdict, summed.verdict) == ("pass", "fail")


def test_a_sum_that_is_unknown_in_a_part_gives_bounds_and_fails_only_where_they_do() -> None:
    structures = StructureSet((cube("Esophagus", 1.0, 7.0),), FRAME)
    gy = np.full(GRID.shape, 60.0)
    gy[3] = np.nan
    (low,) = assess(structures, dose(5.0, 2), [LIMIT], [], earlier=[course(gy, 30)]).rows
    (high,) = assess(structures, dose(30.0, 2), [LIMIT], [], earlier=[course(gy, 30)]).rows
    assert (low.verdict, low.value) == ("unknown", None)
    assert "any higher value" in low.reason
    assert high.verdict == "fail"


def test_without_earlier_courses_a_cumulative_limit_stays_unknown() -> None:
    structures = StructureSet((cube("Esophagus", 1.0, 7.0),), FRAME)
    (row,) = assess(structures, dose(20.0, 2), [LIMIT], []).rows
    assert row.verdict == "unknown"
