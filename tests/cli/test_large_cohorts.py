"""Outputs of very large cohorts: the same numbers in fewer lines, and tables as long as a person reads."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.cli.cohort_write import _json_lines, _words, as_plain, csv_lines
from tailort.web.cohort_tables import MOST_ROWS, to_read
from tailort.web.plain_tables import PlainTable


@dataclass(frozen=True)
class Seen:
    who: str
    day: dt.date
    values: tuple[float, ...]


@pytest.mark.parametrize("number", [0, 1, 1000, 1001, 2345])
def test_results_of_any_length_read_back_as_the_same_numbers(number: int) -> None:
    rows = tuple(Seen(f"ö-{n}", dt.date(2024, 1, 1), (n / 3, 1.0)) for n in range(number))
    told = {"rows": rows, "by": {row.who: row.values for row in rows}, "view": MappingProxyType({1: rows[:2]})}
    text = "".join(_json_lines(told, ""))
    assert json.loads(text) == as_plain(told)
    assert text.count("\n") < 14 * 1000 + number


def test_short_results_are_indented_as_json_is() -> None:
    told = {"one": [1, {"two": [], "three": {}}], "day": dt.date(2024, 1, 2)}
    assert "".join(_json_lines(told, "")) == json.dumps(as_plain(told), indent=2)


def test_what_is_no_number_is_null_in_long_lists_too() -> None:
    assert json.loads("".join(_json_lines([float("nan")] * 1001, ""))) == [None] * 1001


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.builds(Seen, st.text(), st.dates(), st.tuples(inner))
    ),
)


@given(st.lists(VALUES))
def test_values_are_written_as_json_writes_them_however_often_they_are_there(values: list[object]) -> None:
    written = [json.dumps(as_plain(value), ensure_ascii=False) for value in values]
    assert _words(values) == written
    assert _words([*values, *values]) == 2 * written


def test_a_long_table_is_cut_and_says_where_all_of_it_is() -> None:
    whole = PlainTable("left_out", "Left out", "They do not count.", ("who",), (("x",),) * (MOST_ROWS + 1))
    short = to_read(whole)
    assert len(short.rows) == MOST_ROWS
    assert f"of {MOST_ROWS + 1} rows" in short.note
    assert "tables/left_out.csv" in short.note
    assert short.note.endswith(whole.note)


def test_a_table_that_a_person_can_read_stays_whole() -> None:
    whole = PlainTable("left_out", "Left out", "", ("who",), (("x",),) * MOST_ROWS)
    assert to_read(whole) is whole


CELLS = st.text("ab1 .'") | st.text('ab,;"\r\n\t ') | st.text()


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[CELLS] * width), max_size=5)))
def test_rows_are_written_as_csv_is(rows: list[tuple[str, ...]]) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(rows)
    assert csv_lines(list(zip(*rows, strict=True))) == stream.getvalue()


@dataclass(frozen=True)
class Kept:
    """A record that keeps what it was asked once."""

    name: str
    day: dt.date | dt.datetime

    @cached_property
    def doubled(self) -> str:
        return 2 * self.name


@dataclass(frozen=True, slots=True)
class Slotted:
    """A record without a place for more than its fields."""

    inner: Kept


DAYS = st.dates() | st.datetimes()


@given(st.lists(st.builds(Slotted, st.builds(Kept, st.text(), DAYS)) | st.builds(Kept, st.text(), DAYS), min_size=1))
def test_a_record_of_a_long_list_has_its_fields_and_no_more(records: list[Kept | Slotted]) -> None:
    for one in records:
        if isinstance(one, Kept) and len(one.name) % 2:
            assert one.doubled
    many = records * (1001 // len(records) + 1)
    assert json.loads("".join(_json_lines(many, ""))) == as_plain(many)
