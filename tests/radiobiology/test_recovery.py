"""Recovery between courses: the published tables, what they leave unknown, and months between dates."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols.condition import months_later
from tailort.radiobiology import RecoveryTable, assumptions, limit_sets, months_between, recovery, stays

days = st.dates(dt.date(1970, 1, 1), dt.date(2080, 12, 31))
NAMED = [(each, organ) for each in assumptions() for table in each.tables for organ in table.organs or ("Esophagus",)]


def test_every_assumption_has_a_source_a_mark_and_rules() -> None:
    for each in assumptions():
        assert all((each.title, each.text, each.source, each.mark, each.rules))
        assert all(table.mark and table.rules for table in each.tables)
    assert [each.id for each in assumptions()] == ["none", "percent-25-50", "michigan"]


def test_what_is_read_in_two_ways_tells_the_other() -> None:
    for each in assumptions():
        assert bool(each.other_reading) == (each.mark == "ambiguous")
        for table in each.tables:
            assert bool(table.other_reading) == (table.mark == "ambiguous"), table.name


def test_an_unknown_assumption_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="none, percent-25-50, michigan"):
        recovery("ang")


@given(st.text(max_size=12), st.none() | st.floats(0, 600))
def test_none_discounts_nothing_of_any_organ(organ: str, months: float | None) -> None:
    assert recovery("none").discount(organ, months) == 0.0


@pytest.mark.parametrize(("months", "part"), [(0, 0), (5.99, 0), (6, 0.25), (11.99, 0.25), (12, 0.5), (120, 0.5)])
def test_rb_101_a_quarter_from_6_months_and_half_from_12(months: float, part: float) -> None:
    assert recovery("percent-25-50").discount("SpinalCord", months) == part


# RB-107: less than 3 months, from 3, from 6, from 12, beyond 36 months.
@pytest.mark.parametrize(
    ("organ", "parts"),
    [
        ("SpinalCord", (0, 0.10, 0.25, 0.50, 0.50)),
        ("Esophagus", (0, 0.10, 0.25, 0.50, 0.50)),
        ("Heart", (0, 0.10, 0.25, 0.50, 0.50)),
        ("Stomach", (0, 0, 0.25, 0.40, 0.40)),
        ("Bowel_Small", (0, 0, 0.25, 0.40, 0.40)),
        ("Duodenum", (0, 0, 0.25, 0.25, 0.25)),
        ("Kidney_L", (0, 0, 0, 0, 0)),
    ],
)
def test_rb_107_michigan_by_organ_and_interval(organ: str, parts: tuple[float, ...]) -> None:
    michigan = recovery("michigan")
    assert tuple(michigan.discount(organ, months) for months in (1, 4, 8, 24, 48)) == parts
    # RB-108: the lower bound belongs to its bin.
    assert tuple(michigan.discount(organ, months) for months in (0, 3, 6, 12, 36)) == parts


@pytest.mark.parametrize(("organ", "metric", "parts"), [("Lungs", "V16Gy", (0, 0, 0.25, 0.25, 0.5)),
                                                         ("Liver", "V32Gy", (0, 0, 0.5, 0.5, 1))])  # fmt: skip
def test_rb_107_of_parallel_organs_a_volume_is_discounted_and_no_dose(
    organ: str, metric: str, parts: tuple[float, ...]
) -> None:
    michigan = recovery("michigan")
    assert [michigan.volume_discount(organ, months) for months in (1, 4, 6, 23, 24)] == [(metric, p) for p in parts]
    assert michigan.discount(organ, 24) is None
    assert michigan.volume_discount("SpinalCord", 24) is None


def test_what_no_table_names_and_an_unknown_interval_stay_unknown() -> None:
    assert recovery("michigan").discount("Larynx", 24) is None
    assert recovery("percent-25-50").discount("Esophagus", 24) is None
    assert recovery("michigan").discount("SpinalCord", None) is None
    assert recovery("michigan").volume_discount("Lungs", None) is None
    # Nothing that the interval could be changes these.
    assert recovery("michigan").discount("Kidneys", None) == 0.0


@pytest.mark.parametrize("name", ["spinalcord", "SPINALCORD", "SpinalCord_PRV", "SpinalCord_PRV05", " SpinalCord "])
def test_names_count_in_any_case_and_with_their_margin(name: str) -> None:
    assert recovery("michigan").discount(name, 8) == 0.25


def test_the_stomach_as_a_conduit_is_the_stomach() -> None:
    assert recovery("michigan").discount("Stomach^Conduit", 24) == 0.4


@given(st.sampled_from(NAMED), st.floats(0, 400), st.floats(0, 400))
def test_a_longer_interval_never_takes_recovery_away(case, first, second):
    each, organ = case
    short, long = sorted((first, second))
    table = each.table_of(organ)
    assert 0 <= table.at(short) <= table.at(long) <= 1


@pytest.mark.parametrize("months", [-0.1, float("nan"), float("inf")])
def test_an_interval_that_cannot_be_is_refused(months: float) -> None:
    with pytest.raises(InputError, match="0 months or more"):
        recovery("michigan").discount("SpinalCord", months)


@pytest.mark.parametrize(
    ("bounds", "parts", "message"),
    [((0, 6), (0,), "ascend"), ((3, 6), (0, 0.1), "ascend"), ((0, 6, 6), (0, 0.1, 0.2), "ascend"),
     ((0,), (1.2,), "0 and 1")],
)  # fmt: skip
def test_a_table_that_makes_no_sense_is_refused(bounds, parts, message):
    with pytest.raises(InputError, match=message):
        RecoveryTable("example", ("Heart",), bounds, parts)


@given(st.floats(0, 300), st.floats(0, 1), st.floats(0, 1))
def test_more_discount_leaves_less_and_none_leaves_all(prior: float, first: float, second: float) -> None:
    small, large = sorted((first, second))
    assert float(stays(prior, 0.0)) == prior
    assert float(stays(prior, 1.0)) == 0.0
    assert float(stays(prior, large)) <= float(stays(prior, small))


def test_what_stays_is_told_voxel_by_voxel() -> None:
    np.testing.assert_allclose(stays([[40.0, 60.0], [0.0, 10.0]], 0.25), [[30.0, 45.0], [0.0, 7.5]], rtol=1e-15)


@pytest.mark.parametrize(("prior", "part"), [(-1, 0), (np.nan, 0), (10, -0.1), (10, 1.1), (10, np.nan)])
def test_a_dose_or_discount_that_cannot_be_is_refused(prior: float, part: float) -> None:
    with pytest.raises(InputError):
        stays(prior, part)


@given(days, st.integers(0, 400))
def test_g_06_so_many_calendar_months_later_are_so_many_months(day: dt.date, months: int) -> None:
    assert months_between(day, months_later(day, months)) == months


@given(days, st.integers(1, 60), st.integers(-40, 40))
def test_an_interval_is_above_so_many_months_exactly_after_their_day(day: dt.date, months: int, off: int) -> None:
    due = months_later(day, months)
    end = max(due + dt.timedelta(off), day)
    assert (months_between(day, end) > months) == (end > due)
    assert (months_between(day, end) < months) == (end < due)


@given(days, st.integers(0, 3000))
def test_a_day_later_is_a_longer_interval(start: dt.date, length: int) -> None:
    end = start + dt.timedelta(length)
    assert months_between(start, end) < months_between(start, end + dt.timedelta(1))


def test_half_a_month_is_half_the_month_that_has_begun() -> None:
    assert months_between(dt.date(2026, 3, 1), dt.date(2026, 6, 16)) == 3.5


def test_courses_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InputError, match="before the earlier one"):
        months_between(dt.date(2026, 3, 2), dt.date(2026, 3, 1))


def test_rb_109_the_limits_of_the_study_go_with_no_recovery() -> None:
    assert {each.recovery for each in limit_sets() if each.id.startswith("koide")} == {"none"}
