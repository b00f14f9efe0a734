"""A cut takes off what lies beyond its borders, nothing else, and says where it cut and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_shapes import FRAME, PLANES, cylinder, drawn, sphere

from tailort.errors import GeometryError, InputError, MissingStructureError, UndecidedError
from tailort.patient import Point, StructureSet
from tailort.targets import Border, CutAt, Step, derive
from tailort.targets.borders import between

CASE = drawn(GTVp=sphere(9, (0, 0, 6)), Rod=cylinder(12, -51, 51), Ball=sphere(30))
HEIGHTS = st.floats(-55, 55)


def marked(**heights: float) -> StructureSet:
    """The case with points, such as Carina."""
    return replace(CASE, points=tuple(Point(name, (0.0, 0.0, z), FRAME) for name, z in heights.items()))


def cut(case: StructureSet, operation: CutAt, of: str = "Rod") -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Planes that are left, and what was written down."""
    made = derive((Step("Cut", "CONTROL", of=(of,), then=(operation,), rules=("EX-01",)),), case, PLANES)["Cut"]
    return tuple(made.slice_positions_mm.tolist()), made.made_by


@given(low=HEIGHTS, high=HEIGHTS)
@settings(max_examples=40, deadline=None)
def test_cutting_twice_is_cutting_once_and_only_takes_off(low: float, high: float) -> None:
    for body in (CASE["Rod"].contours, CASE["Ball"].contours):
        once = between(body, low, high)
        assert between(once, low, high) == once
        assert all(any(kept is own for own in body) for kept in once)
        assert all(low <= kept[0, 2] <= high for kept in once)


@given(at=HEIGHTS)
@settings(max_examples=40, deadline=None)
def test_the_two_pieces_make_the_whole(at: float) -> None:
    body = CASE["Ball"].contours
    pieces = (*between(body, None, at), *between(body, at, None))
    assert {id(contour) for contour in pieces} == {id(contour) for contour in body}


@given(first=HEIGHTS, second=HEIGHTS)
@settings(max_examples=30, deadline=None)
def test_a_wider_cut_contains_a_narrower_one(first: float, second: float) -> None:
    wide, narrow = max(abs(first), abs(second)), min(abs(first), abs(second))
    body = CASE["Ball"].contours
    kept = {id(contour) for contour in between(body, -wide, wide)}
    assert {id(contour) for contour in between(body, -narrow, narrow)} <= kept


@given(carina=st.floats(-20, 20), offset=st.floats(-15, 15))
@settings(max_examples=15, deadline=None)
def test_what_is_left_ends_at_the_last_plane_before_the_border(carina: float, offset: float) -> None:
    border = Border(landmark="carina", above_mm=offset)
    above, _ = cut(marked(Carina=carina), CutAt(inferior=(border,)))
    below, _ = cut(marked(Carina=carina), CutAt(superior=(border,)))
    assert carina + offset <= above[0] <= carina + offset + 3 + 1e-9
    assert carina + offset - 3 - 1e-9 <= below[-1] <= carina + offset
    assert (above[-1], below[0]) == (51.0, -51.0)


def test_the_outermost_border_counts() -> None:
    upper = (Border(landmark="carina"), Border(top_of="GTVp", above_mm=15), Border(landmark="sternal-notch"))
    lower = (Border(landmark="carina", above_mm=-20), Border(bottom_of="GTVp", above_mm=-15))
    planes, told = cut(marked(Carina=0.0, SternalNotch=21.0), CutAt(upper, lower))
    # The ball of 9 mm around z = 6 is drawn from 0 to 12: its solid ends at -1.5 and 13.5.
    assert (planes[0], planes[-1]) == (-18.0, 27.0)
    assert "cut above z = 28.5 mm, 15 mm above top of GTVp [EX-01]" in told
    assert "cut below z = -20.0 mm, 20 mm below carina (point Carina) [EX-01]" in told


def test_a_border_counts_only_where_its_volume_was_made() -> None:
    upper = (Border(landmark="carina"), Border(landmark="sternal-notch", if_made="CTVn_I"))
    case = marked(Carina=0.0, SternalNotch=21.0)
    assert cut(case, CutAt(upper))[0][-1] == 0.0
    assert cut(case.with_structures(replace(CASE["GTVp"], name="CTVn_I")), CutAt(upper))[0][-1] == 21.0


def test_a_landmark_of_a_border_that_does_not_count_is_not_asked_for() -> None:
    upper = (Border(landmark="carina"), Border(landmark="sternal-notch", if_made="CTVn_I"))
    assert cut(marked(Carina=0.0), CutAt(upper))[0][-1] == 0.0


def test_where_no_border_counts_nothing_is_cut_and_it_is_said() -> None:
    planes, told = cut(CASE, CutAt(superior=(Border(landmark="carina", if_made="CTVn_I"),)))
    assert (planes[0], planes[-1]) == (-51.0, 51.0)
    assert "not cut: no border counts here [EX-01]" in told


def test_missing_landmarks_are_all_asked_for_at_once() -> None:
    operation = CutAt((Border(landmark="carina"),), (Border(landmark="coeliac-axis"),))
    with pytest.raises(UndecidedError, match=r"carina is not known \('Cut'\).*coeliac-axis is not known") as caught:
        cut(CASE, operation)
    assert caught.value.missing == ("carina", "coeliac-axis")


def test_a_missing_structure_of_a_border_is_asked_for_and_landmarks_are_told_beside_it() -> None:
    operation = CutAt((Border(top_of="GTVn"),), (Border(landmark="carina"),))
    with pytest.raises(MissingStructureError, match=r"'GTVn' \(for Cut.*moreover the landmark carina"):
        cut(CASE, operation)


def test_borders_in_the_wrong_order_are_refused() -> None:
    operation = CutAt((Border(landmark="carina"),), (Border(landmark="sternal-notch"),))
    with pytest.raises(
        GeometryError, match=r"lower border \(z = 21\.0 mm.*does not lie below the upper one \(z = 0\.0"
    ):
        cut(marked(Carina=0.0, SternalNotch=21.0), operation)


def test_a_cut_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(GeometryError, match="comes out empty"):
        cut(marked(Carina=57.0), CutAt(inferior=(Border(landmark="carina"),)))


@pytest.mark.parametrize(
    "wrong",
    [{}, {"landmark": "carina", "top_of": "GTVp"}, {"landmark": "navel"}, {"top_of": "GTVp", "above_mm": np.nan}],
)
def test_a_border_is_one_known_height(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Border(**wrong)  # type: ignore[arg-type]


def test_a_cut_names_a_border() -> None:
    with pytest.raises(InputError, match="names no border"):
        CutAt()


@pytest.mark.parametrize(
    ("border", "says"),
    [
        (Border(top_of="Empty", if_made="Ball"), "the top of 'Empty' is a border, and it has no contours"),
        (Border(bottom_of="Empty", if_made="Ball"), "the bottom of 'Empty' is a border"),
        (Border(top_of="Gone", if_made="Ball"), "'Gone' is needed"),
    ],
)
def test_an_edge_of_what_is_not_drawn_is_asked_for(border: Border, says: str) -> None:
    case = drawn(Rod=cylinder(12, -51, 51), Ball=sphere(30), Empty=())
    with pytest.raises(MissingStructureError, match=says):
        cut(case, CutAt(superior=(border,)))
