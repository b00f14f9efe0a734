"""Response by RECIST 1.1 (NM-110 to NM-118)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols.scores import TargetLesion, measurable, respond


def lesion(*sizes: float | None, nodal: bool = False, name: str = "a", organ: str = "lung") -> TargetLesion:
    return TargetLesion(name, organ, nodal, sizes)


def test_we_95_growth_of_20_percent_and_10_mm_from_the_nadir_is_progression() -> None:
    assert respond([lesion(80, 50, 60)], "none", False).target == "PD"
    answer = respond([lesion(80, 50, 56)], "none", False)
    assert (answer.target, answer.overall) == ("PR", "PR")
    assert (answer.baseline_mm, answer.nadir_mm, answer.sum_mm) == (80, 50, 56)


def test_we_96_growth_of_20_percent_but_4_mm_is_no_progression() -> None:
    assert respond([lesion(40, 20, 24)], "none", False).target == "PR"
    assert respond([lesion(20, 24)], "none", False).target == "SD"
    assert respond([lesion(20, 25)], "none", False).target == "PD"


@pytest.mark.parametrize(("now", "response"), [(70.1, "SD"), (70, "PR"), (119.9, "SD"), (120, "PD"), (0, "CR")])
def test_nm_113_limits_are_met_exactly(now: float, response: str) -> None:
    assert respond([lesion(100, now)], "none", False).target == response


def test_nm_113_limits_are_met_exactly_with_decimals() -> None:
    assert respond([lesion(30.3, 21.21)], "none", False).target == "PR"


def test_nm_113_nodes_are_gone_below_10_mm_and_other_lesions_at_0() -> None:
    node, tumour = lesion(20, 9.9, nodal=True, name="n", organ="nodes"), lesion(20, 0)
    assert respond([node, tumour], "none", False).target == "CR"
    assert respond([lesion(20, 10, nodal=True)], "none", False).target == "PR"
    assert respond([lesion(20, 5)], "none", False).target == "PR"


def test_nodes_that_grow_below_10_mm_stay_gone_and_the_other_reading_is_told() -> None:
    nodes = [lesion(20, 3, 8, nodal=True, name=name, organ="nodes") for name in "ab"]
    answer = respond(nodes, "none", False)
    assert answer.target == "CR"
    assert answer.readings[0].others == ("PD",)


OVERALL = [
    ("CR", "CR", "CR"), ("CR", "none", "CR"), ("CR", "non-CR/non-PD", "PR"), ("CR", "NE", "PR"), ("PR", "CR", "PR"),
    ("PR", "non-CR/non-PD", "PR"), ("PR", "NE", "PR"), ("SD", "CR", "SD"), ("SD", "NE", "SD"),
    ("SD", "non-CR/non-PD", "SD"), ("NE", "CR", "NE"), ("NE", "non-CR/non-PD", "NE"), ("PD", "CR", "PD"),
    ("CR", "PD", "PD"), ("SD", "PD", "PD"), ("NE", "PD", "PD"),
]  # fmt: skip
NOW = {"CR": 0, "PR": 50, "SD": 100, "PD": 130, "NE": None}


@pytest.mark.parametrize(("target", "non_target", "overall"), OVERALL)
def test_nm_115_overall_response(target: str, non_target: str, overall: str) -> None:
    answer = respond([lesion(100, NOW[target])], non_target, False)
    assert (answer.target, answer.overall) == (target, overall)
    assert respond([lesion(100, NOW[target])], non_target, True).overall == "PD"


def test_a_response_stays_unknown_while_progression_is_possible() -> None:
    assert respond([lesion(100, 50)], None, None).missing == ("non_target", "new_lesion")
    assert respond([lesion(100, 50)], None, None).overall is None
    assert respond([lesion(100, 50)], "CR", None).missing == ("new_lesion",)
    assert respond([lesion(100, 130)], None, None).overall == "PD"
    assert respond([lesion(100, 50)], None, True).overall == "PD"


def test_a_lesion_that_was_not_measured_makes_the_target_not_evaluable_unless_the_rest_progresses() -> None:
    first, second = lesion(50, None, name="a"), lesion(50, 50, name="b")
    answer = respond([first, second], "none", False)
    assert (answer.overall, answer.missing, answer.sum_mm) == ("NE", ("size of a",), None)
    grown = respond([first, lesion(50, 121, name="b")], "none", False)
    assert grown.overall == "PD"
    assert "already" in grown.flags[0]


def test_an_examination_that_was_not_complete_gives_no_nadir_and_is_flagged() -> None:
    answer = respond([lesion(50, None, 50, name="a"), lesion(50, 10, 50, name="b")], "none", False)
    assert answer.nadir_mm == 100
    assert "not complete" in answer.flags[0]


def test_without_target_lesions_the_others_decide() -> None:
    assert respond([], "CR", False).overall == "CR"
    assert respond([], "PD", False).overall == "PD"
    partly = respond([], "non-CR/non-PD", False)
    assert partly.overall is None
    assert "NM-115" in partly.flags[0]


@given(st.lists(st.integers(10, 200), min_size=2, max_size=6), st.integers(1, 50))
def test_a_larger_lesion_is_never_a_better_response(sizes: list[int], more: int) -> None:
    order = ["CR", "PR", "SD", "PD"]
    smaller = respond([lesion(*sizes)], "none", False).overall
    larger = respond([lesion(*sizes[:-1], sizes[-1] + more)], "none", False).overall
    assert smaller is not None
    assert larger is not None
    assert order.index(smaller) <= order.index(larger)


@given(st.lists(st.integers(15, 200), min_size=2, max_size=6))
def test_the_order_of_lesions_does_not_matter(sizes: list[int]) -> None:
    table = [lesion(*sizes, name="a"), lesion(*reversed(sizes), name="b")]
    assert respond(table, "CR", False) == respond(table[::-1], "CR", False)


@pytest.mark.parametrize(
    ("size", "nodal", "kind"),
    [(10, False, "measurable"), (9.9, False, "non-target"), (15, True, "measurable"), (14.9, True, "non-target"),
     (10, True, "non-target"), (9.9, True, "normal")],
)  # fmt: skip
def test_nm_110_sizes_from_which_a_lesion_is_measurable(size: float, nodal: bool, kind: str) -> None:
    assert measurable(size, nodal, 5, False, None, False).kind == kind


def test_nm_112_an_irradiated_lesion_is_measurable_only_after_progression() -> None:
    assert measurable(20, False, 3, True, True, False).kind == "measurable"
    assert measurable(20, False, 3, True, False, False).kind == "non-target"
    assert measurable(20, False, 3, True, None, False).missing == ("progressed_since",)
    assert measurable(20, False, 3, None, True, False).kind == "measurable"
    assert measurable(20, False, None, None, None, False).missing == ("slice_mm", "irradiated", "progressed_since")
    assert measurable(None, False, 3, False, None, False).missing == ("size_mm",)


def test_nm_110_and_118_thick_slices_and_hollow_organs_are_flagged() -> None:
    assert measurable(20, False, 8, False, None, False).kind is None
    assert "NM-118" in measurable(20, False, 5, False, None, True).flags[0]


def test_bad_tables_of_lesions_are_named() -> None:
    with pytest.raises(InputError, match="no size at baseline"):
        lesion(None, 10)
    with pytest.raises(InputError, match="at least 15 mm"):
        lesion(14, 10, nodal=True)
    with pytest.raises(InputError, match="at least 10 mm"):
        lesion(9, 10)
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="0 or more"):
            lesion(20, bad)
    with pytest.raises(InputError, match="at most 5"):
        respond([lesion(20, 20, name=str(n), organ=str(n)) for n in range(6)], "none", False)
    with pytest.raises(InputError, match="at most 2 an organ"):
        respond([lesion(20, 20, name=str(n)) for n in range(3)], "none", False)
    with pytest.raises(InputError, match="as many sizes"):
        respond([lesion(20, 20), lesion(20, 20, 20, name="b")], "none", False)
    with pytest.raises(InputError, match="as many sizes"):
        respond([lesion(20)], "none", False)
    with pytest.raises(InputError, match="is there 2 times"):
        respond([lesion(20, 20), lesion(20, 20)], "none", False)
    with pytest.raises(InputError, match="neither target"):
        respond([], "none", False)
    with pytest.raises(InputError, match="one of"):
        respond([lesion(20, 20)], "stable", False)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="above 0"):
        measurable(0, False, 5, False, None, False)
