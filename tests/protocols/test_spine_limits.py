"""Limits of re-irradiation spine SBRT (KO-80 to KO-94)."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError, UndecidedError
from tailort.protocols.spine_limits import (
    CORD_READINGS,
    ORDER_OF_LIMITS,
    OTHER_ORGANS,
    CordReading,
    PriorCourse,
    PriorDose,
    choose_prior,
    cord_limit,
    cord_limit_table,
    cord_prv_limit_gy,
    enters_cumulative_analysis,
    oesophagus_constraints,
    other_organ_constraints,
    prior_bed_gy,
)
from tailort.radiobiology import bed, eqd2

READINGS: tuple[CordReading, ...] = ("upper_edge", "mid_bin", "continuous")
beds = st.floats(0, 300)


def from_cord(bed_gy: float) -> PriorDose:
    return choose_prior(None, bed_gy, "cord")


# The cord: worked examples


@pytest.mark.parametrize(
    ("prior", "limit"),
    [
        pytest.param(80, 12.2, id="WE-20"),
        pytest.param(90, 12.2, id="WE-20"),
        pytest.param(95.5, 11.4, id="WE-21"),
        pytest.param(96, 11.4, id="WE-21"),
        pytest.param(95.0, 11.5, id="WE-22"),
        pytest.param(100, 10.8, id="WE-23"),
        pytest.param(100.01, 10.8, id="WE-24"),
        pytest.param(120, 10.8, id="WE-24"),
    ],
)
def test_we_20_to_24_limits_by_prior_bed(prior: float, limit: float) -> None:
    assert cord_prv_limit_gy(prior) == limit


WE_25 = [
    (90.01, 12.1, 12.1), (91.5, 11.9, 12.0), (92, 11.9, 12.0), (93, 11.8, 11.9), (94, 11.6, 11.7), (97, 11.2, 11.3),
    (98, 11.1, 11.2), (99, 10.9, 11.0),
]  # fmt: skip


@pytest.mark.parametrize(("prior", "upper_edge", "mid_bin"), WE_25)
def test_we_25_both_step_readings(prior: float, upper_edge: float, mid_bin: float) -> None:
    assert cord_prv_limit_gy(prior) == upper_edge
    assert cord_prv_limit_gy(prior, "mid_bin") == mid_bin


def test_we_26_24_times_2_gy_and_28_times_1_8_gy() -> None:
    whole = prior_bed_gy([PriorCourse(48, 24)])
    assert whole == pytest.approx(96)
    assert cord_prv_limit_gy(whole) == 11.4
    other = prior_bed_gy([PriorCourse(50.4, 28)])
    assert other == pytest.approx(95.76)
    assert cord_prv_limit_gy(other) == 11.4


def test_floating_point_does_not_push_a_bed_into_the_next_step() -> None:
    assert cord_prv_limit_gy(math.nextafter(96, 97)) == 11.4
    assert cord_prv_limit_gy(96.0 + 4e-14) == 11.4
    assert cord_prv_limit_gy(math.nextafter(90, 91)) == 12.2
    assert cord_prv_limit_gy(96.001) == 11.2


def test_we_18_prior_courses() -> None:
    courses = [
        (30, 10, 75),
        (40, 20, 80),
        (45, 25, 85.5),
        (20, 5, 60),
        (8, 1, 40),
        (46, 23, 92),
        (48, 24, 96),
        (50, 25, 100),
    ]
    for dose, fractions, expected in courses:
        assert prior_bed_gy([PriorCourse(dose, fractions)]) == pytest.approx(expected)


def test_we_05_to_07_prior_doses_of_the_cohort_all_take_the_lowest_limit() -> None:
    for dose, fractions, expected in ((60, 30, 120), (70, 35, 140), (50, 25, 100)):
        prior = prior_bed_gy([PriorCourse(dose, fractions)])
        assert prior == pytest.approx(expected)
        assert cord_prv_limit_gy(prior) == 10.8


def test_we_27_the_limits_as_bed_and_eqd2() -> None:
    for limit, in_bed, in_eqd2 in ((12.2, 49.41, 24.705), (10.8, 39.96, 19.98)):
        assert float(bed(limit, 2, 2)) == pytest.approx(in_bed, abs=0.005)
        assert float(eqd2(limit, 2, 2)) == pytest.approx(in_eqd2, abs=0.005)
    assert cord_limit(from_cord(90)).cumulative_bed_gy == pytest.approx(90 + 49.41, abs=0.005)


def test_ko_81_table() -> None:
    assert cord_limit_table() == (
        (91, 12.1), (92, 11.9), (93, 11.8), (94, 11.6), (95, 11.5), (96, 11.4), (97, 11.2), (98, 11.1), (99, 10.9),
        (100, 10.8),
    )  # fmt: skip


def test_ko_82_the_mid_bin_table_and_the_continuous_line() -> None:
    expected = {92: 12.0, 93: 11.9, 94: 11.7, 95: 11.6, 96: 11.4, 97: 11.3, 98: 11.2, 99: 11.0, 100: 10.9}
    table = dict(cord_limit_table("mid_bin"))
    assert {edge: table[edge] for edge in expected} == expected
    assert cord_prv_limit_gy(95.5, "continuous") == pytest.approx(11.43)
    assert cord_prv_limit_gy(96, "continuous") == pytest.approx(11.36)
    assert cord_prv_limit_gy(100, "continuous") == pytest.approx(10.8)


# The cord: laws


@given(beds, beds, st.sampled_from(READINGS))
def test_the_limit_never_rises_with_the_prior_bed(a: float, b: float, reading: CordReading) -> None:
    low, high = sorted((a, b))
    assert cord_prv_limit_gy(low, reading) >= cord_prv_limit_gy(high, reading)


@given(beds)
def test_the_default_is_never_above_the_mid_bin_reading(prior: float) -> None:
    assert 10.8 <= cord_prv_limit_gy(prior) <= cord_prv_limit_gy(prior, "mid_bin") <= 12.2


@given(st.floats(90.0001, 99.9999))
def test_within_a_step_the_limit_is_that_of_its_upper_edge(prior: float) -> None:
    assert cord_prv_limit_gy(prior) == dict(cord_limit_table())[math.ceil(prior - 1e-6)]


@given(st.floats(0, 100))
def test_ko_83_up_to_100_gy_prior_dose_and_limit_together_stay_below_140_gy(prior: float) -> None:
    assert not cord_limit(from_cord(prior)).exceeds_flag


def test_the_mid_bin_reading_exceeds_140_gy_at_93_gy() -> None:
    assert cord_limit(from_cord(93), "mid_bin").cumulative_bed_gy == pytest.approx(140.30, abs=0.005)


@given(st.floats(90, 100))
def test_ko_83_the_line_lies_within_0_1_gy_of_140_gy_together(prior: float) -> None:
    assert abs(cord_prv_limit_gy(prior, "continuous") - 2 * (math.sqrt(141 - prior) - 1)) < 0.1


def test_ko_84_above_100_gy_the_sum_is_shown_and_flagged() -> None:
    found = cord_limit(from_cord(120))
    assert found.limit_gy == 10.8
    assert found.cumulative_bed_gy == pytest.approx(159.96)
    assert found.exceeds_flag
    assert "KO-84" in found.in_words()
    assert "160.0 Gy" in found.in_words()
    assert "KO-84" not in cord_limit(from_cord(95)).in_words()


def test_ko_86_courses_add_up_each_with_its_own_fractions() -> None:
    a, b = PriorCourse(30, 10), PriorCourse(8, 1)
    assert prior_bed_gy([a, b]) == prior_bed_gy([b, a]) == pytest.approx(75 + 40)
    assert prior_bed_gy([PriorCourse(38, 11)]) != pytest.approx(75 + 40, abs=1)
    assert prior_bed_gy([]) == 0


# Which prior dose


def test_ko_85_the_larger_dose_unless_a_reading_is_named() -> None:
    assert choose_prior(120, 85).of == "prescription"
    assert choose_prior(80, 95).of == "cord"
    by_cord = choose_prior(120, 85, "cord")
    assert (by_cord.bed_gy, by_cord.other_bed_gy) == (85, 120)
    assert choose_prior(120, 85, "prescription").bed_gy == 120
    assert cord_limit(choose_prior(120, 85)).limit_gy < cord_limit(by_cord).limit_gy


@given(beds, beds)
def test_the_default_is_the_strictest_choice_of_prior_dose(prescription: float, cord: float) -> None:
    limit = cord_limit(choose_prior(prescription, cord)).limit_gy
    readings = [cord_limit(choose_prior(prescription, cord, reading)).limit_gy for reading in ("cord", "prescription")]
    assert limit == min(readings)


def test_an_unknown_prior_dose_is_asked_for_by_name() -> None:
    for arguments, missing in (
        ((None, None), ("prior_cord_bed_gy", "prior_prescription_bed_gy")),
        ((95, None), ("prior_cord_bed_gy",)),
        ((None, 95), ("prior_prescription_bed_gy",)),
        ((120, None, "cord"), ("prior_cord_bed_gy",)),
        ((None, 120, "prescription"), ("prior_prescription_bed_gy",)),
    ):
        with pytest.raises(UndecidedError) as found:
            choose_prior(*arguments)  # type: ignore[arg-type]
        assert found.value.missing == missing


@given(st.floats(100.001, 300), beds, st.sampled_from(READINGS))
def test_above_100_gy_the_other_dose_could_not_change_the_limit(
    known: float, other: float, reading: CordReading
) -> None:
    alone = cord_limit(choose_prior(known, None), reading)
    assert alone.prior.is_lower_bound
    assert "at least" in alone.in_words()
    assert alone.limit_gy == cord_limit(choose_prior(known, other), reading).limit_gy


def test_the_record_tells_the_other_readings_and_the_defaults() -> None:
    found = cord_limit(choose_prior(95.76, 80))
    assert found.limit_gy == 11.4
    assert found.other_limits_gy == {"mid_bin": 11.4, "continuous": pytest.approx(11.3936)}
    assert found.defaults == ("KO-82", "KO-85")
    assert cord_limit(from_cord(95), "mid_bin").defaults == ()
    constraint = found.constraint()
    assert (constraint.structure, constraint.metric, constraint.operator) == ("SpinalCord_PRV", "D0.035cc[Gy]", "<=")
    assert (constraint.limit, constraint.priority, constraint.quantity) == (11.4, "hard", "physical")
    assert constraint.holds(11.4)
    assert not constraint.holds(11.41)


# Other organs


def test_we_36_the_oesophagus_limits_are_strict() -> None:
    limits = {c.metric: c for c in oesophagus_constraints()}
    assert not limits["Max[Gy]"].holds(203.0)
    assert limits["Max[Gy]"].holds(202.9)
    assert {metric: c.limit for metric, c in limits.items()} == {"Max[Gy]": 203, "D0.035cc[Gy]": 187, "D1cc[Gy]": 167}
    for c in limits.values():
        assert (c.operator, c.label, c.scope, c.priority) == ("<", "BED(a/b=3)", "cumulative", "hard")


def test_we_35_the_oesophagus_limits_as_eqd2() -> None:
    assert [round(c.limit * 0.6, 1) for c in oesophagus_constraints()] == [121.8, 112.2, 100.2]


def test_we_30_the_oesophagus_limits_are_the_highest_values_without_severe_toxicity() -> None:
    without, with_disease = (203, 187, 167), (227, 209, 175)
    for c, safe, severe in zip(oesophagus_constraints(), without, with_disease, strict=True):
        assert c.limit == safe
        assert not c.holds(severe)


def test_we_28_and_we_33_the_20_gy_limit_and_doses_of_the_paper_above_it() -> None:
    for c in other_organ_constraints():
        assert (c.metric, c.operator, c.limit, c.scope) == ("D0.035cc[Gy]", "<=", 20, "course")
        assert c.holds(20.0)
        assert not c.holds(22.40)
        assert not c.holds(23.32)
    assert float(bed(20, 2, 3)) == pytest.approx(86.67, abs=0.005)
    assert "Esophagus" in OTHER_ORGANS


@pytest.mark.parametrize(
    ("organ", "least"),
    [("cord", 50), ("oesophagus", 60), ("trachea", 60), ("aorta", 60), ("carotid", 66), ("pharynx", 66)],
)
def test_ko_92_an_organ_enters_at_its_threshold(organ: str, least: float) -> None:
    assert enters_cumulative_analysis(organ, least)  # type: ignore[arg-type]
    assert not enters_cumulative_analysis(organ, least - 0.01)  # type: ignore[arg-type]


def test_ko_92_the_66_gy_may_be_read_as_physical_dose() -> None:
    assert enters_cumulative_analysis("carotid", 80, 60)
    assert not enters_cumulative_analysis("carotid", 80, 60, "physical")
    assert enters_cumulative_analysis("aorta", 80, 50, "physical")
    with pytest.raises(UndecidedError) as found:
        enters_cumulative_analysis("pharynx", 80, reading="physical")
    assert found.value.missing == ("pharynx_physical_max_gy",)
    with pytest.raises(UndecidedError):
        enters_cumulative_analysis("cord")


def test_ko_94_the_cord_comes_first_and_coverage_last() -> None:
    assert ORDER_OF_LIMITS[0].startswith("cord")
    assert ORDER_OF_LIMITS[-1].startswith("coverage")
    assert ORDER_OF_LIMITS.index("cumulative oesophagus") < ORDER_OF_LIMITS.index("D0.035cc of other organs")


# Bad input


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_a_prior_bed_that_is_no_dose_is_refused(value: float) -> None:
    with pytest.raises(InputError):
        cord_prv_limit_gy(value)
    with pytest.raises(InputError):
        choose_prior(value, 90)


def test_unknown_readings_organs_and_courses_are_refused() -> None:
    with pytest.raises(InputError, match="KO-82"):
        cord_prv_limit_gy(95, "lower_edge")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="KO-85"):
        choose_prior(95, 95, "mean")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="KO-92"):
        enters_cumulative_analysis("heart", 60)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="KO-92"):
        enters_cumulative_analysis("aorta", 60, reading="bed")  # type: ignore[arg-type]
    for dose, fractions in ((0, 10), (201, 30), (50, 0)):
        with pytest.raises(InputError):
            PriorCourse(dose, fractions)


def test_the_readings_are_those_of_the_register() -> None:
    assert tuple(CORD_READINGS) == READINGS
    for a, b in itertools.pairwise(cord_limit_table()):
        assert a[1] > b[1]
