"""The fewest missing facts: enough to settle the answer, and none fewer would do."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from deciding_protocol import SALVAGE, protocol_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols import Protocol, available, load
from tailort.protocols.decision import Deciding

HEAD = 'id: made\nversion: "1"\ntitle: Made by a test\n'
TAIL = (
    'normalisation: {coverage: "D95%[Gy]"}\nprescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]\n'
    "technique: {kind: imrt, beams: 7}\n"
)
NAMES = ("a", "b", "c", "d")
FACTS = "facts:\n" + "".join(f"  - {{name: {name}, type: integer, range: [0, 4]}}\n" for name in NAMES)
PERMITTED: Mapping[str, Sequence[Any]] = {name: range(5) for name in NAMES}
EXAMPLE = protocol_of(SALVAGE)


def flow(node: Any) -> str:
    if isinstance(node, dict):
        return "{" + ", ".join(f"{key}: {flow(value)}" for key, value in node.items()) + "}"
    if isinstance(node, list | tuple):
        return "[" + ", ".join(flow(value) for value in node) + "]"
    return f'"{node}"' if isinstance(node, str) and node in ("==", "!=", "<", "<=", ">", ">=") else str(node)


def made(eligibility: Any, tables: str = "", facts: str = FACTS) -> Protocol:
    return protocol_of(f"{HEAD}{facts}eligibility: {flow(eligibility)}\n{tables}{TAIL}")


def facts(values: Mapping[str, Any]) -> dict[str, Fact]:
    return {name: Fact(name, value) for name, value in values.items()}


operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
leaves = st.one_of(
    st.builds(
        lambda f, o, v: {"fact": f, "operator": o, "value": v}, st.sampled_from(NAMES), operators, st.integers(0, 4)
    ),
    st.builds(
        lambda f, v: {"fact": f, "in": v}, st.sampled_from(NAMES), st.lists(st.integers(0, 4), min_size=1, max_size=3)
    ),
    st.builds(lambda f: {"known": f}, st.sampled_from(NAMES)),
    st.builds(
        lambda f, o, g, n: {"fact": f, "operator": o, "than": g, "plus": {"number": n}},
        st.sampled_from(NAMES),
        operators,
        st.sampled_from(NAMES),
        st.integers(-2, 2),
    ).filter(lambda leaf: leaf["fact"] != leaf["than"]),
)
trees = st.recursive(
    leaves,
    lambda below: st.one_of(
        st.builds(lambda parts: {"all": parts}, st.lists(below, min_size=1, max_size=3)),
        st.builds(lambda parts: {"any": parts}, st.lists(below, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, below),
    ),
    max_leaves=7,
)
records = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 4), max_size=3)


def answers_with(
    deciding: Deciding, known: Mapping[str, Any], names: Sequence[str], permitted: Mapping[str, Sequence[Any]]
) -> Iterator[str]:
    """Every answer that these facts can give, each with each value; records that contradict themselves give none."""
    for values in itertools.product(*(permitted[name] for name in names)):
        try:
            yield deciding.decide(facts({**known, **dict(zip(names, values, strict=True))}), "answers").answer
        except InputError:
            continue


def fewest_by_trying(
    deciding: Deciding,
    known: Mapping[str, Any],
    wanted: str,
    permitted: Mapping[str, Sequence[Any]],
    at_most: int | None = None,
) -> int | None:
    """Size of the smallest set of unknown facts that can give the answer, by trying every set with every value."""
    unknown = [name for name in permitted if name not in known]
    for size in range((len(unknown) if at_most is None else at_most) + 1):
        for names in itertools.combinations(unknown, size):
            if wanted in answers_with(deciding, known, names, permitted):
                return size
    return None


@settings(max_examples=15, deadline=None)
@given(trees, records)
def test_the_fewest_facts_are_as_few_as_trying_every_set_finds(tree: Any, known: dict[str, int]) -> None:
    deciding = Deciding.of(made(tree))
    found = deciding.decide(facts(known)).fewest
    if found is None:
        assert deciding.decide(facts(known)).answer != "unknown"
        return
    assert found.proved
    for wanted, names in (("yes", found.to_yes), ("no", found.to_no)):
        tried = fewest_by_trying(deciding, known, wanted, PERMITTED)
        assert (None if names is None else len(names)) == tried
        if names is not None:
            assert wanted in answers_with(deciding, known, names, PERMITTED)


tables = st.builds(
    lambda rows, last: (
        "tables:\n  - name: t\n    rows:\n"
        + "".join(f"      - {{outcome: {outcome}, when: {flow(when)}}}\n" for when, outcome in rows)
        + (f"    otherwise: {last}\n" if last else "")
    ),
    st.lists(st.tuples(trees, st.sampled_from("xyz")), min_size=1, max_size=3),
    st.sampled_from(["", "x", "w"]),
)


@settings(max_examples=10, deadline=None)
@given(tables, records)
def test_the_fewest_facts_of_a_table_settle_it_and_none_fewer_do(text: str, known: dict[str, int]) -> None:
    deciding = Deciding.of(made({"fact": "a", "operator": ">=", "value": 0}, text))
    (stratum,) = deciding.decide(facts(known)).strata
    if not stratum.is_open:
        assert len(stratum.possible) <= 1
        return
    assert stratum.proved

    def settles(names: Sequence[str]) -> bool:
        return any(
            not deciding.decide(facts({**known, **dict(zip(names, values, strict=True))}), "answers").strata[0].is_open
            for values in itertools.product(*(PERMITTED[name] for name in names))
        )

    assert settles(stratum.fewest)
    unknown = [name for name in NAMES if name not in known]
    assert not any(settles(names) for names in itertools.combinations(unknown, len(stratum.fewest) - 1))


def test_one_fact_that_can_exclude_is_fewer_than_all_that_admit() -> None:
    found = Deciding.of(EXAMPLE).decide({}).fewest
    assert found is not None
    assert found.to_no == ("age_years",)
    assert found.to_yes == ("surgery", "age_years", "kps")
    assert found.facts == ("age_years",)


def test_what_the_range_of_a_fact_does_not_permit_cannot_settle_anything() -> None:
    names = "facts:\n  - {name: a, type: integer, range: [5, 9]}\n  - {name: b, type: boolean}\n"
    tree = {"all": [{"fact": "a", "operator": ">=", "value": 5}, {"fact": "b", "operator": "==", "value": "true"}]}
    found = Deciding.of(made(tree, facts=names)).decide({}).fewest
    assert found is not None
    assert found.to_no == ("b",)


def test_the_steps_of_a_fact_are_kept() -> None:
    names = "facts:\n  - {name: a, type: number, range: [0, 1], step: 0.1}\n"
    between = {"all": [{"fact": "a", "operator": ">", "value": 0.3}, {"fact": "a", "operator": "<", "value": 0.4}]}
    found = Deciding.of(made(between, facts=names)).decide({}).fewest
    assert found is not None
    assert (found.to_yes, found.to_no) == (None, ("a",))


def test_a_value_that_would_contradict_the_record_is_not_counted_on() -> None:
    # Residual tumour and R0 contradict each other, so with residual tumour R0 cannot be what settles it.
    record = {"residual": True, "recurrence": True, "age_years": 60, "kps": 80}
    found = Deciding.of(EXAMPLE).decide(facts(record)).fewest
    assert found is not None
    assert (found.to_yes, found.to_no) == (("surgery",), None)


def test_two_facts_that_are_compared_are_both_missing_or_one_when_the_other_is_known() -> None:
    tree = {"fact": "a", "operator": ">", "than": "b"}
    found = Deciding.of(made(tree)).decide({}).fewest
    assert found is not None
    assert (found.to_yes, found.to_no) == (("a", "b"), ("a", "b"))
    found = Deciding.of(made(tree)).decide(facts({"b": 4})).fewest
    assert found is not None
    assert (found.to_yes, found.to_no) == (None, ("a",))


def test_months_between_two_dates_are_found_from_either_date() -> None:
    names = "facts:\n  - {name: a, type: date}\n  - {name: b, type: date}\n"
    tree = {
        "all": [
            {"fact": "a", "operator": ">=", "than": "b", "plus": {"months": 1}},
            {"fact": "a", "operator": "<=", "than": "b", "plus": {"days": 28}},
        ]
    }
    deciding = Deciding.of(made(tree, facts=names))
    found = deciding.decide(facts({"a": dt.date(2025, 2, 28)})).fewest
    assert found is not None
    assert found.to_yes == ("b",)
    found = deciding.decide(facts({"a": dt.date(2025, 4, 15)})).fewest
    assert found is not None
    assert found.to_yes is None


# Combinations of values that are tried for a set of facts; larger sets are left to the small protocols above.
MOST_TRIED = 3000
LIBRARY = [load(name) for name in available()]


def values_of(protocol: Protocol) -> dict[str, list[Any]]:
    domain = Deciding.of(protocol).domain
    return {entry.name: list(values) for entry, values in zip(domain.entries, domain.values, strict=True)}


@pytest.mark.parametrize("protocol", LIBRARY, ids=lambda p: p.id)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_more_facts_never_turn_an_answer_of_a_library_protocol_round(protocol: Protocol, data: Any) -> None:
    strategies = {name: st.sampled_from(values) for name, values in values_of(protocol).items()}
    known = data.draw(st.fixed_dictionaries({}, optional=strategies))
    more = data.draw(st.fixed_dictionaries({}, optional=strategies))
    deciding = Deciding.of(protocol)
    try:
        before, after = (deciding.decide(facts(one), "answers") for one in (known, more | known))
    except InputError:
        return  # a record that contradicts itself has no answer
    assert before.answer in ("unknown", after.answer)
    for was, now in zip(before.strata, after.strata, strict=True):
        assert set(now.possible) <= set(was.possible) or not was.is_open


@pytest.mark.parametrize("protocol", LIBRARY, ids=lambda p: p.id)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_answers_of_a_library_protocol_do_not_depend_on_the_order_of_the_facts(protocol: Protocol, data: Any) -> None:
    strategies = {name: st.sampled_from(values) for name, values in values_of(protocol).items()}
    known = data.draw(st.fixed_dictionaries({}, optional=strategies))
    turned = dict(data.draw(st.permutations(list(known.items()))))
    deciding = Deciding.of(protocol)
    try:
        one = deciding.decide(facts(known)).as_dict()
    except InputError:
        with pytest.raises(InputError):
            deciding.decide(facts(turned))
        return
    assert one == deciding.decide(facts(turned)).as_dict()


@pytest.mark.parametrize("protocol", LIBRARY, ids=lambda p: p.id)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_fewest_facts_of_a_library_protocol_settle_it_and_none_fewer_do(protocol: Protocol, data: Any) -> None:
    permitted = values_of(protocol)
    strategies = {name: st.sampled_from(values) for name, values in permitted.items()}
    known = data.draw(st.fixed_dictionaries({}, optional=strategies))
    deciding = Deciding.of(protocol)
    try:
        decision = deciding.decide(facts(known))
    except InputError:
        return
    if decision.fewest is None:
        return
    # Facts that are compared with each other have more values to look at than the file names.
    compared = {name for link in deciding.domain.links for name in (link.fact, link.than)}
    for wanted, names in (("yes", decision.fewest.to_yes), ("no", decision.fewest.to_no)):
        if names is None or compared & set(names):
            continue
        reduced = {name: permitted[name] for name in names}
        if math.prod(len(values) for values in reduced.values()) > MOST_TRIED:
            continue
        assert wanted in answers_with(deciding, known, names, reduced)
        if len(names) <= 1 and decision.fewest.proved:
            asked = {name: permitted[name] for name in decision.missing}
            assert fewest_by_trying(deciding, known, wanted, asked, len(names) - 1) is None
