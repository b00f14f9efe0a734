"""The spinal cord once more: the step rule by earlier BED, HyTEC's four conditions and Nieder's score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols import load
from tailort.protocols.condition import of_reading
from tailort.radiobiology import all_met, bed, cord_limit, cord_limit_gy, eqd2, hytec_cord, nieder_score

beds = st.floats(0.0, 300.0)
steps = st.sampled_from(["upper_edge", "mid_bin", "continuous"])


@pytest.mark.parametrize(
    ("example", "prior", "limit"),
    [
        ("WE-20", 80, 12.2), ("WE-20", 90, 12.2), ("WE-21", 95.5, 11.4), ("WE-21", 96, 11.4), ("WE-22", 95.0, 11.5),
        ("WE-23", 100, 10.8), ("WE-24", 100.01, 10.8), ("WE-24", 120, 10.8), ("WE-25", 90.01, 12.1),
        ("WE-25", 91.5, 11.9), ("WE-25", 92, 11.9), ("WE-25", 93, 11.8), ("WE-25", 94, 11.6), ("WE-25", 97, 11.2),
        ("WE-25", 98, 11.1), ("WE-25", 99, 10.9), ("WE-26", float(bed(48, 24, 2)), 11.4),
        ("WE-26", float(bed(50.4, 28, 2)), 11.4),
    ],
)  # fmt: skip
def test_ko_81_the_limit_by_the_upper_edge_of_the_step(example: str, prior: float, limit: float) -> None:
    assert float(cord_limit_gy(prior)) == limit, example


def test_we_25_the_limit_by_the_middle_of_the_step() -> None:
    prior = [90.01, 91.5, 92, 93, 94, 97, 98, 99, 100, 100.01]
    expected = [12.1, 12.0, 12.0, 11.9, 11.7, 11.3, 11.2, 11.0, 10.9, 10.8]
    assert cord_limit_gy(prior, "mid_bin").tolist() == expected


def test_ko_82_the_line_itself() -> None:
    np.testing.assert_allclose(cord_limit_gy([80, 90, 95.5, 96, 100, 120], "continuous"),
                               [12.2, 12.2, 11.43, 11.36, 10.8, 10.8], rtol=1e-12)  # fmt: skip


def test_24_fractions_of_2_gy_are_not_pushed_over_their_edge() -> None:
    assert float(cord_limit_gy(np.nextafter(96.0, 97.0))) == 11.4
    assert float(cord_limit_gy(96.00001)) == 11.2


@given(beds, beds, steps)
def test_more_before_never_allows_more(first: float, second: float, reading) -> None:
    low, high = sorted((first, second))
    assert 10.8 <= float(cord_limit_gy(high, reading)) <= float(cord_limit_gy(low, reading)) <= 12.2


@given(beds)
def test_the_upper_edge_is_never_above_the_other_readings_by_more_than_its_rounding(prior: float) -> None:
    edge, middle, line = (float(cord_limit_gy(prior, reading)) for reading in ("upper_edge", "mid_bin", "continuous"))
    assert edge <= middle
    # It is the line at the upper edge, rounded to 0.1 Gy, of a step that falls by 0.14 Gy.
    assert line - 0.14 - 0.05 - 1e-9 <= edge <= line + 0.05 + 1e-9


@pytest.mark.parametrize("reading", ["upper_edge", "mid_bin"])
def test_the_protocol_s_table_has_the_same_limits(reading: str) -> None:
    table = next(t for t in load("reirradiation-spine").file.tables if t.name == "cord_prv_limit_gy")
    readings = {of_reading("KO-85"): "larger", of_reading("KO-82"): reading}
    for prior in (85.0, *(edge + off for edge in range(90, 101) for off in (0.0, 0.01, 0.5)), 120.0):
        facts = {"prior_prescription_bed_gy": prior, "prior_cord_bed_gy": prior} | readings
        assert table.ask(facts).possible == (f"{float(cord_limit_gy(prior, reading)):.1f}",), prior


@pytest.mark.parametrize(("prior", "known", "limit"), [(-1, "negative", None), (math.nan, "finite", None)])
def test_an_earlier_dose_that_cannot_be_is_refused(prior, known, limit) -> None:
    with pytest.raises(InputError, match=known):
        cord_limit_gy(prior)


def test_an_unknown_reading_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="upper_edge, mid_bin, continuous"):
        cord_limit_gy(95.0, "lower_edge")
    with pytest.raises(InputError, match="larger, cord, prescription"):
        cord_limit(100.0, 90.0, prior="mean")


@pytest.mark.parametrize(
    ("prior", "bed_gy", "limit"), [("larger", 97.0, 11.2), ("prescription", 97.0, 11.2), ("cord", 92.0, 11.9)]
)
def test_ko_85_by_which_dose_the_limit_is(prior, bed_gy: float, limit: float) -> None:
    found = cord_limit(97.0, 92.0, prior)
    assert (found.prior_bed_gy, found.limit_gy, found.missing) == (bed_gy, limit, ())


def test_ko_84_the_sum_is_told_and_reviewed_above_140_gy() -> None:
    # WE-27: 12.2 and 10.8 Gy in 2 fractions are 49.41 and 39.96 Gy.
    low, high = cord_limit(90.0, 80.0), cord_limit(120.0, 80.0)
    assert low.together_bed_gy == pytest.approx(139.41, abs=0.005)
    assert high.together_bed_gy == pytest.approx(159.96, abs=0.005)
    assert (low.to_be_reviewed, high.to_be_reviewed) == (False, True)


@given(st.floats(0, 100))
def test_ko_83_up_to_100_gy_before_there_is_nothing_to_review(prior: float) -> None:
    assert cord_limit(prior, prior).to_be_reviewed is False


@given(st.floats(100.05, 300))
def test_ko_84_above_100_gy_before_there_always_is(prior: float) -> None:
    assert cord_limit(prior, prior).to_be_reviewed is True


def test_an_unknown_earlier_dose_leaves_the_limit_open_unless_it_cannot_change_it() -> None:
    open_ = cord_limit(95.0, None)
    assert (open_.limit_gy, open_.prior_bed_gy, open_.missing, open_.to_be_reviewed) == (None, 95.0, ("cord",), None)
    settled = cord_limit(None, 104.0)
    assert (settled.limit_gy, settled.missing, settled.to_be_reviewed) == (10.8, ("prescription",), True)
    # 10.8 Gy whatever the cord had, but not known whether both together exceed 140 Gy.
    edge = cord_limit(100.0, None)
    assert (edge.limit_gy, edge.to_be_reviewed) == (10.8, None)
    assert cord_limit(None, None).missing == ("prescription", "cord")
    assert cord_limit(None, 92.0, "cord").limit_gy == 11.9


# HyTEC


def course(dose_gy: float, n: int) -> float:
    return float(eqd2(dose_gy, n, 2.0))


@pytest.mark.parametrize(
    ("example", "prior", "sbrt", "cumulative", "ratio", "met"),
    [
        ("WE-85 10.8 Gy", course(50, 25), course(10.8, 2), 69.98, 0.286, True),
        ("WE-85 11 Gy", course(50, 25), course(11, 2), 70.63, 0.292, False),
        ("WE-86", 60.0, course(10.8, 2), 79.98, None, False),
    ],
)
def test_we_85_and_we_86_hytec_by_the_sum_and_its_part(example, prior, sbrt, cumulative, ratio, met) -> None:
    verdicts = hytec_cord(sbrt, prior + sbrt, 12.0)
    assert verdicts[1].value == pytest.approx(cumulative, abs=0.0051), example
    if ratio is not None:
        assert verdicts[2].value == pytest.approx(ratio, abs=0.0005)
    assert [each.met for each in verdicts] == [True, met, True, True]
    assert all_met(verdicts) is met


def test_we_86_the_step_rule_is_met_where_hytec_is_not() -> None:
    assert cord_limit(120.0, 120.0).limit_gy == 10.8


@pytest.mark.parametrize(
    ("sbrt", "cumulative", "months", "met"),
    [
        (25, 70, 5, (True, True, True, True)), (25.01, 70, 5, (False, True, True, True)),
        (25, 70.01, 5, (True, False, True, True)), (25, 49.9, 5, (True, True, False, True)),
        (25, 50, 4.99, (True, True, True, False)), (20.000000001 + 5, 70 + 1e-12, 5, (True, True, True, True)),
    ],
)  # fmt: skip
def test_rb_102_each_condition_with_its_printed_operator(sbrt, cumulative, months, met) -> None:
    assert tuple(each.met for each in hytec_cord(sbrt, cumulative, months)) == met


def test_an_unknown_value_leaves_hytec_open_unless_another_condition_fails() -> None:
    assert all_met(hytec_cord(20.0, 60.0, None)) is None
    assert all_met(hytec_cord(20.0, 80.0, None)) is False
    assert all_met(hytec_cord(None, 60.0, 8.0)) is None
    assert hytec_cord(0.0, 0.0, 8.0)[2].value == 0.0


def test_a_sum_without_the_course_is_refused() -> None:
    with pytest.raises(InputError, match="includes the SBRT"):
        hytec_cord(25.0, 20.0, 8.0)
    with pytest.raises(InputError, match="negative"):
        hytec_cord(-1.0, 20.0, 8.0)


# Nieder


@pytest.mark.parametrize(
    ("example", "courses", "months", "cumulative", "points", "group", "risk"),
    [
        ("WE-82", (85.5, 49.41), 8, 134.91, 2, "low", 3),
        ("WE-83", (120, 39.96), 14, 159.96, 8.5, "high", 90),
        ("WE-84", (75, 40), 5, 115, 4.5, "intermediate", 25),
    ],
)
def test_we_82_to_84_nieders_score(example, courses, months, cumulative, points, group, risk) -> None:
    score = nieder_score(courses, months)
    assert score.cumulative_bed_gy == pytest.approx(cumulative, abs=0.005), example
    assert (score.points, score.group, score.risk_percent) == (points, group, risk)


@pytest.mark.parametrize(
    ("cumulative", "points"),
    [(0, 0), (120, 0), (120.1, 1), (130, 1), (130.1, 2), (190, 7), (190.1, 8), (200, 8), (200.1, 9), (400, 9)],
)
def test_rb_104_a_point_for_each_started_10_gy_above_120(cumulative: float, points: int) -> None:
    assert nieder_score([cumulative / 4] * 4, 12).dose_points == points


def test_rb_104_early_and_high_courses() -> None:
    assert [nieder_score([50.0, 50.0], months).points for months in (5.99, 6.0)] == [4.5, 0.0]
    assert [nieder_score([highest, 10.0], 12).points for highest in (101.99, 102.0)] == [0.0, 4.5]


@pytest.mark.parametrize(
    ("courses", "months", "group"),
    [((75, 75), 12, "low"), ((80, 80), 12, "intermediate"), ((60, 60, 60), 12, "intermediate"),
     ((65, 65, 55), 12, "high"), ((70, 70), 5, "high"), ((102, 18), 12, "intermediate")],
)  # fmt: skip
def test_rb_104_groups_up_to_3_and_up_to_6_points(courses, months, group) -> None:
    assert nieder_score(courses, months).group == group


@given(st.lists(st.floats(0, 150), min_size=1, max_size=4), st.floats(0, 60), st.floats(0, 60), st.floats(0, 40))
def test_more_dose_or_less_time_never_lowers_the_score(courses, first, second, more) -> None:
    short, long = sorted((first, second))
    assert nieder_score(courses, short).points >= nieder_score(courses, long).points
    assert nieder_score([*courses, more], short).points >= nieder_score(courses, short).points


def test_an_unknown_interval_leaves_points_open_and_the_group_where_it_could_change() -> None:
    unknown = nieder_score([60.0, 60.0], None)
    assert (unknown.points, unknown.group, unknown.risk_percent) == (None, None, None)
    assert nieder_score([120.0, 80.0], None).group == "high"


def test_rb_103_a_small_risk_and_no_case_reported() -> None:
    both = nieder_score([85.5, 34.5], 6.0)
    assert (all_met(both.conditions), all_met(both.none_reported)) == (True, True)
    small = nieder_score([90.0, 45.5], 6.0)
    assert (all_met(small.conditions), all_met(small.none_reported)) == (True, False)
    for courses, months in (((90.0, 45.6), 6.0), ((98.1, 20.0), 6.0), ((60.0, 50.0), 5.9)):
        assert all_met(nieder_score(courses, months).conditions) is False
    assert all_met(nieder_score([60.0, 50.0], None).conditions) is None


def test_the_sum_by_voxel_counts_where_it_is_known() -> None:
    assert nieder_score([85.5, 49.41], 8, cumulative_bed_gy=118.0).points == 0
    with pytest.raises(InputError, match="includes each course"):
        nieder_score([85.5, 49.41], 8, cumulative_bed_gy=80.0)


def test_a_score_needs_a_course() -> None:
    with pytest.raises(InputError, match="every course"):
        nieder_score([], 8)
