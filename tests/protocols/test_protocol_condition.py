"""Conditions on facts answer by Kleene's strong three-valued logic."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tailort.protocols import Answer, Condition, all_of, any_of, not_of

CONDITION: TypeAdapter[Any] = TypeAdapter(Condition)
NAMES = ("a", "b", "c", "d")

# Kleene 1952, section 64: conjunction and disjunction of t, f, u.
YES, NO, OPEN = "yes", "no", "unknown"
TABLE: list[tuple[Answer, Answer, Answer, Answer]] = [
    # p, q, p and q, p or q
    (YES, YES, YES, YES),
    (YES, NO, NO, YES),
    (YES, OPEN, OPEN, YES),
    (NO, YES, NO, YES),
    (NO, NO, NO, NO),
    (NO, OPEN, NO, OPEN),
    (OPEN, YES, OPEN, YES),
    (OPEN, NO, NO, OPEN),
    (OPEN, OPEN, OPEN, OPEN),
]


@pytest.mark.parametrize(("p", "q", "both", "either"), TABLE)
def test_and_and_or_follow_the_published_truth_tables(p: Answer, q: Answer, both: Answer, either: Answer) -> None:
    assert all_of((p, q)) == both
    assert any_of((p, q)) == either


@pytest.mark.parametrize(("p", "negated"), [(YES, NO), (NO, YES), (OPEN, OPEN)])
def test_not_turns_yes_and_no_and_leaves_unknown(p: Answer, negated: Answer) -> None:
    assert not_of(p) == negated


answers = st.lists(st.sampled_from([YES, NO, OPEN]), min_size=1, max_size=5)


@given(answers)
def test_de_morgan_holds_with_unknowns(parts: list[Answer]) -> None:
    assert not_of(all_of(parts)) == any_of(not_of(p) for p in parts)


leaves = st.one_of(
    st.builds(
        lambda fact, operator, value: {"fact": fact, "operator": operator, "value": value},
        st.sampled_from(NAMES),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
        st.integers(0, 4),
    ),
    st.builds(
        lambda fact, a, b: {"fact": fact, "in": (a, b)}, st.sampled_from(NAMES), st.integers(0, 4), st.integers(0, 4)
    ),
    st.builds(
        lambda fact, a, b: {"fact": fact, "between": (min(a, b), max(a, b))},
        st.sampled_from(NAMES),
        st.integers(0, 4),
        st.integers(0, 4),
    ),
    st.builds(lambda fact: {"known": fact}, st.sampled_from(NAMES)),
)
trees = st.recursive(
    leaves,
    lambda below: st.one_of(
        st.builds(lambda parts: {"all": tuple(parts)}, st.lists(below, min_size=1, max_size=3)),
        st.builds(lambda parts: {"any": tuple(parts)}, st.lists(below, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, below),
    ),
    max_leaves=8,
)
records = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 4))


@given(trees, records, records)
def test_more_facts_never_turn_an_answer_round(
    tree: dict[str, Any], known: dict[str, int], more: dict[str, int]
) -> None:
    condition = CONDITION.validate_python(tree)
    before = condition.evaluate(known).answer
    after = condition.evaluate(more | known).answer
    assert before in (OPEN, after)


@given(trees, st.fixed_dictionaries({name: st.integers(0, 4) for name in NAMES}))
def test_with_every_fact_known_there_is_an_answer(tree: dict[str, Any], known: dict[str, int]) -> None:
    assert CONDITION.validate_python(tree).evaluate(known).answer in (YES, NO)


@given(trees, records)
def test_an_unknown_answer_names_facts_that_are_missing_and_an_answer_names_none(
    tree: dict[str, Any], known: dict[str, int]
) -> None:
    found = CONDITION.validate_python(tree).evaluate(known)
    if found.answer == OPEN:
        assert found.open_facts()
        assert not set(found.open_facts()) & set(known)
    else:
        assert not found.open_facts()


@given(trees, records, records)
def test_facts_that_are_not_named_as_missing_cannot_settle_the_answer_alone(
    tree: dict[str, Any], known: dict[str, int], more: dict[str, int]
) -> None:
    condition = CONDITION.validate_python(tree)
    found = condition.evaluate(known)
    others = {name: value for name, value in more.items() if name not in found.open_facts()}
    assert condition.evaluate(others | known).answer == found.answer


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [("<", 45, NO), ("<=", 45, YES), (">", 45, NO), (">=", 45, YES), ("==", 45, YES), ("!=", 45, NO)],
)
def test_operators_are_taken_as_printed_at_equality(operator: str, value: int, expected: Answer) -> None:
    condition = CONDITION.validate_python({"fact": "x", "operator": operator, "value": value})
    assert condition.evaluate({"x": 45}).answer == expected


def test_between_includes_both_ends() -> None:
    condition = CONDITION.validate_python({"fact": "age", "between": (16, 70)})
    assert [condition.evaluate({"age": age}).answer for age in (15, 16, 70, 71)] == [NO, YES, YES, NO]


def test_a_fact_that_is_only_asked_to_be_known_is_unknown_without_it_and_never_no() -> None:
    condition = CONDITION.validate_python({"known": "age"})
    assert condition.evaluate({}).answer == OPEN
    assert condition.evaluate({"age": None}).answer == OPEN
    assert condition.evaluate({"age": 0}).answer == YES
