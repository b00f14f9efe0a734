"""BED and EQD2: laws, inverses, derivatives and the worked examples of the protocols."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.radiobiology import (
    Repopulation,
    bed,
    bed_derivative,
    bed_from_eqd2,
    bed_with_time,
    bed_with_time_derivative,
    dose_from_bed,
    dose_from_bed_derivative,
    dose_from_eqd2,
    dose_from_eqd2_derivative,
    eqd2,
    eqd2_derivative,
    eqd2_from_bed,
    fractions_from_bed,
    isoeffective_dose,
    overall_days,
)

doses = st.floats(0.0, 150.0)
courses = st.integers(1, 45)
ratios = st.floats(0.5, 20.0)
SQUAMOUS = Repopulation("squamous", np.log(2) / (0.3 * 3.0), 21.0, "radiobiology.md RB-12", "lit-recalled")


def near(value: float, printed: float, digits: int) -> bool:
    """Whether a value rounds to the printed one: half a unit of the last digit."""
    return abs(float(value) - printed) <= 0.5 * 10.0**-digits + 1e-9


@given(courses, ratios)
def test_eqd2_at_2_gy_per_fraction_is_the_dose(n, ab):
    assert float(eqd2(2.0 * n, n, ab)) == pytest.approx(2.0 * n, rel=1e-12)


@given(doses, courses, ratios)
def test_eqd2_is_bed_over_one_plus_two_over_alpha_beta(dose, n, ab):
    assert float(eqd2(dose, n, ab)) == pytest.approx(float(bed(dose, n, ab)) / (1 + 2 / ab), rel=1e-12)
    assert float(eqd2_from_bed(bed(dose, n, ab), ab)) == pytest.approx(float(eqd2(dose, n, ab)), rel=1e-12)
    assert float(bed_from_eqd2(eqd2(dose, n, ab), ab)) == pytest.approx(float(bed(dose, n, ab)), rel=1e-12)


@given(st.lists(st.tuples(doses, courses), min_size=2, max_size=4), ratios)
def test_bed_of_courses_adds_in_any_order(plan, ab):
    totals = [sum(float(bed(d, n, ab)) for d, n in order) for order in itertools.permutations(plan)]
    assert totals == pytest.approx([totals[0]] * len(totals), rel=1e-12)


@given(st.floats(0.1, 5.0), courses, courses, ratios)
def test_one_course_split_into_two_of_the_same_fraction_has_the_same_bed(d, n, m, ab):
    whole = float(bed(d * (n + m), n + m, ab))
    assert float(bed(d * n, n, ab)) + float(bed(d * m, m, ab)) == pytest.approx(whole, rel=1e-12)


@given(doses, courses, ratios)
def test_the_inverse_of_the_forward_is_the_dose(dose, n, ab):
    assert float(dose_from_bed(bed(dose, n, ab), n, ab)) == pytest.approx(dose, rel=1e-9, abs=1e-12)
    assert float(dose_from_eqd2(eqd2(dose, n, ab), n, ab)) == pytest.approx(dose, rel=1e-9, abs=1e-12)


@given(st.floats(1.0, 10.0), courses, ratios)
def test_the_number_of_fractions_comes_back_from_the_bed(d, n, ab):
    assert float(fractions_from_bed(bed(d * n, n, ab), d, ab)) == pytest.approx(n, rel=1e-9)


@given(st.floats(1.0, 100.0), st.floats(1.0, 12.0), st.floats(1.0, 12.0), ratios)
def test_isoeffective_doses_have_the_same_bed(dose, d1, d2, ab):
    other = float(isoeffective_dose(dose, d1, d2, ab))
    assert other * (1 + d2 / ab) == pytest.approx(dose * (1 + d1 / ab), rel=1e-12)


@pytest.mark.parametrize(
    ("value", "derivative"),
    [
        (bed, bed_derivative),
        (eqd2, eqd2_derivative),
        (dose_from_bed, dose_from_bed_derivative),
        (dose_from_eqd2, dose_from_eqd2_derivative),
        (lambda d, n, ab: bed_with_time(d, n, ab, 40, SQUAMOUS),
         lambda d, n, ab: bed_with_time_derivative(d, n, ab, 40, SQUAMOUS)),
    ],
    ids=["bed", "eqd2", "dose_from_bed", "dose_from_eqd2", "bed_with_time"],
)  # fmt: skip
@given(st.floats(20.0, 150.0), courses, ratios)
def test_each_derivative_is_the_limit_of_differences(value, derivative, x, n, ab):
    h = 1e-4
    difference = (float(value(x + h, n, ab)) - float(value(x - h, n, ab))) / (2 * h)
    assert float(derivative(x, n, ab)) == pytest.approx(difference, rel=1e-6, abs=1e-8)


@given(doses, courses, ratios)
def test_more_fractions_of_the_same_dose_never_raise_the_bed(dose, n, ab):
    assert float(bed(dose, n + 1, ab)) <= float(bed(dose, n, ab)) * (1 + 1e-12)


def test_arrays_are_converted_voxel_by_voxel():
    dose = np.array([[10.0, 30.0], [60.0, 0.0]])
    np.testing.assert_allclose(eqd2(dose, 30, 3.0), [[6.0 + 2.0 / 3.0, 24.0], [60.0, 0.0]], rtol=1e-12)
    np.testing.assert_allclose(bed(60.0, 30, np.array([2.0, 3.0, 10.0])), [120.0, 100.0, 72.0], rtol=1e-12)


# worked-examples.md: id, function of the course, printed answer, digits printed
EXAMPLES = [
    ("WE-01 EQD2", eqd2(28 * 2.14, 28, 10), 60.62, 2),
    ("WE-02 EQD2", eqd2(28 * 2.22, 28, 10), 63.30, 2),
    ("WE-02 BED", bed(28 * 2.22, 28, 10), 75.96, 2),
    ("WE-03 EQD2(10)", eqd2(50.4, 28, 10), 49.56, 2),
    ("WE-03 BED10", bed(50.4, 28, 10), 59.47, 2),
    ("WE-03 EQD2(3)", eqd2(50.4, 28, 3), 48.38, 2),
    ("WE-03 BED2", bed(50.4, 28, 2), 95.76, 2),
    ("WE-04 33", eqd2(59.4, 33, 10), 58.41, 2),
    ("WE-04 34", eqd2(61.2, 34, 10), 60.18, 2),
    ("WE-05 BED10", bed(60, 30, 10), 72, 0),
    ("WE-05 BED2", bed(60, 30, 2), 120, 0),
    ("WE-05 BED3", bed(60, 30, 3), 100, 0),
    ("WE-06", bed(70, 35, 2), 140, 0),
    ("WE-07 50", bed_from_eqd2(50, 2), 100, 0),
    ("WE-07 105", bed_from_eqd2(105, 2), 210, 0),
    ("WE-08 EQD2(10)", eqd2(45, 25, 10), 44.25, 2),
    ("WE-08 EQD2(3)", eqd2(45, 25, 3), 43.20, 2),
    ("WE-10", eqd2(50.4, 28, 10) + eqd2(10, 5, 10), 59.56, 2),
    ("WE-11 2.0", eqd2(50.4, 28, 10) + eqd2(12, 6, 10), 61.56, 2),
    ("WE-11 1.8", eqd2(50.4, 28, 10) + eqd2(10.8, 6, 10), 60.18, 2),
    ("WE-12 EQD2(10)", eqd2(50.4, 28, 10) + eqd2(14.4, 8, 10), 63.72, 2),
    ("WE-12 EQD2(2)", eqd2(50.4, 28, 2) + eqd2(14.4, 8, 2), 61.56, 2),
    ("WE-16 BED10", bed(24, 2, 10), 52.8, 1),
    ("WE-16 BED2", bed(24, 2, 2), 168, 0),
    ("WE-16 BED3", bed(24, 2, 3), 120, 0),
    ("WE-16 EQD2(10)", eqd2(24, 2, 10), 44, 0),
    ("WE-16 EQD2(2)", eqd2(24, 2, 2), 84, 0),
    ("WE-16 EQD2(3)", eqd2(24, 2, 3), 72, 0),
    ("WE-17 66", eqd2(66, 30, 10), 67.10, 2),
    ("WE-17 54", eqd2(54, 30, 10), 53.10, 2),
    *[
        (f"WE-18 {n}x{d}", bed(n * d, n, 2), answer, 1)
        for n, d, answer in [
            (10, 3, 75), (20, 2, 80), (25, 1.8, 85.5), (5, 4, 60), (1, 8, 40), (23, 2, 92), (24, 2, 96), (25, 2, 100)
        ]
    ],
    ("WE-26 24x2", bed(48, 24, 2), 96, 1),
    ("WE-26 28x1.8", bed(50.4, 28, 2), 95.76, 2),
    ("WE-27 BED2 12.2", bed(12.2, 2, 2), 49.41, 2),
    ("WE-27 EQD2 12.2", eqd2(12.2, 2, 2), 24.705, 3),
    ("WE-27 BED2 10.8", bed(10.8, 2, 2), 39.96, 2),
    ("WE-27 EQD2 10.8", eqd2(10.8, 2, 2), 19.98, 2),
    ("WE-28 BED3", bed(20, 2, 3), 86.67, 2),
    ("WE-28 EQD2(3)", eqd2(20, 2, 3), 52.0, 1),
    ("WE-28 BED2", bed(20, 2, 2), 120, 0),
    ("WE-32 BED3 127", dose_from_bed(127, 2, 3), 24.77, 2),
    ("WE-32 BED2 178", dose_from_bed(178, 2, 2), 24.76, 2),
    ("WE-32 BED10 55", dose_from_bed(55, 2, 10), 24.64, 2),
    ("WE-33 114", dose_from_bed(114, 2, 3), 23.32, 2),
    ("WE-33 106", dose_from_bed(106, 2, 3), 22.40, 2),
    ("WE-35 203", eqd2_from_bed(203, 3), 121.8, 1),
    ("WE-35 187", eqd2_from_bed(187, 3), 112.2, 1),
    ("WE-35 167", eqd2_from_bed(167, 3), 100.2, 1),
    ("WE-60", bed_with_time(28 * 2.14, 28, 10, 38, SQUAMOUS), 59.65, 2),
    ("WE-61", bed_with_time(60, 30, 10, 40, SQUAMOUS), 57.37, 2),
    ("WE-80 prior", eqd2(45, 25, 2), 42.75, 2),
    ("WE-80 left in 2 fractions", dose_from_eqd2(28.625, 2, 2), 13.26, 2),
    ("WE-81 left in 2 fractions", dose_from_eqd2(25.0, 2, 3), 13.09, 2),
]  # fmt: skip


@pytest.mark.parametrize(("value", "printed", "digits"), [e[1:] for e in EXAMPLES], ids=[e[0] for e in EXAMPLES])
def test_worked_example(value, printed, digits):
    assert near(value, printed, digits)


# KOIDE Table 3: EQD2/BED pairs by alpha/beta 2, 3, 10.
KOIDE_TABLE_3 = {
    2: [(89, 178), (82, 164), (80, 160), (74, 148), (57, 114), (148, 296), (131, 262), (136, 272), (120, 240),
        (112, 224), (106, 212)],
    3: [(76, 127), (70, 117), (68, 114), (64, 106), (50, 83), (136, 227), (122, 203), (125, 209), (112, 187),
        (105, 175), (100, 167)],
    10: [(46, 55), (43, 52), (42, 51), (40, 48), (32, 38), (106, 127), (102, 122), (100, 120), (97, 117), (89, 107),
         (88, 106)],
}  # fmt: skip


@pytest.mark.parametrize(
    ("ab", "eqd2_gy", "bed_gy"), [(ab, e, b) for ab, pairs in KOIDE_TABLE_3.items() for e, b in pairs]
)
def test_we_30_pairs_of_koide_table_3_agree_within_their_rounding(ab, eqd2_gy, bed_gy):
    factor = float(bed_from_eqd2(1.0, ab))
    assert abs(bed_gy - float(bed_from_eqd2(eqd2_gy, ab))) <= 0.5 * factor + 0.5


@pytest.mark.parametrize(("n", "days"), [(25, 33), (28, 38), (30, 40), (33, 45), (34, 46), (36, 50)])
def test_we_54_overall_time_of_a_monday_start(n, days):
    assert overall_days(n) == days


def test_repopulation_never_takes_more_than_there_is():
    assert float(bed_with_time(2.0, 1, 10, 100, SQUAMOUS)) == 0.0
    assert float(bed_with_time_derivative(2.0, 1, 10, 100, SQUAMOUS)) == 0.0


@pytest.mark.parametrize(
    ("dose", "n", "ab", "names"),
    [(-1.0, 30, 3, "negative"), (np.nan, 30, 3, "finite"), (60, 0, 3, "fraction"), (60, 30, 0, "alpha/beta"),
     (60, 30, -3, "alpha/beta"), (60, 30, np.nan, "alpha/beta")],
)  # fmt: skip
def test_what_has_no_bed_is_refused(dose, n, ab, names):
    with pytest.raises(InputError, match=names):
        bed(dose, n, ab)


def test_parameters_without_name_or_source_are_refused():
    with pytest.raises(InputError, match="name"):
        Repopulation("", 0.77, 21.0, "somewhere", "lit-recalled")
