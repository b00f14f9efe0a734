"""Text of a table is read alike whether its cells are looked at one by one or not."""

from __future__ import annotations

import csv
import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.text_files import parse_csv

BLANKS = [letter for letter in map(chr, range(sys.maxunicode + 1)) if letter.isspace()]
TEXTS = (
    st.text("ab ,\n", max_size=20)
    | st.text('ab ,;\t\r\n"', max_size=20)
    | st.text(st.sampled_from("ab,\n" + "".join(BLANKS)))
)


@given(TEXTS, st.sampled_from(",;\t|"))
def test_cells_are_without_the_blanks_around_them(text: str, delimiter: str) -> None:
    try:
        rows = list(csv.reader(io.StringIO(f"x\n{text}", newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        with pytest.raises(InputError, match="not a table"):
            parse_csv(f"x\n{text}", "t.csv", delimiter)
        return
    assert parse_csv(f"x\n{text}", "t.csv", delimiter) == [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("text", ["x,y\n{}a,b", "x,y\na{},b", "x,y\na,{}b", "x,y\na,b{}", "x,y\na,b{}\nc,d"])
def test_every_blank_is_taken_away(text: str, blank: str) -> None:
    cells = [cell for row in parse_csv(text.format(blank), "t.csv") for cell in row]
    assert all(cell == cell.strip() for cell in cells)
