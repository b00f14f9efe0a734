"""Conditions in words, with both sides of what an ambiguous rule may mean; no patient is needed."""

from __future__ import annotations

from typing import Any, TypeGuard

from tailort.protocols.condition import NODES, AllOf, AnyOf, ByReading, Condition, Not


def is_condition(value: Any) -> TypeGuard[Condition]:
    """Whether a value is a condition, of any kind."""
    return isinstance(value, tuple(NODES.values()))


def condition_in_words(condition: Condition) -> str:
    """Say a condition, with the rules that its parts name.

    Examples
    --------
    >>> from tailort.protocols.condition import Compare
    >>> condition_in_words(Compare(fact="age_years", operator=">=", value=18, rule="EX-01"))
    'age_years >= 18 [EX-01]'
    """
    return _words(condition) + (f" [{condition.rule}]" if condition.rule else "")


def criteria(condition: Condition, rule: str = "") -> tuple[str, ...]:
    """Split a condition into those that must all hold, each in words; one without a rule has that of its group."""
    rule = condition.rule or rule
    if isinstance(condition, AllOf):
        return tuple(text for part in condition.all for text in criteria(part, rule))
    return (_words(condition) + (f" [{rule}]" if rule else ""),)


def _words(node: Condition) -> str:
    match node:
        case AllOf():
            return " and ".join(_inside(part) for part in node.all)
        case AnyOf():
            return " or ".join(_inside(part) for part in node.any)
        case Not():
            return f"not ({condition_in_words(node.negated)})"
        case ByReading():
            cases = "; ".join(f"read as '{case.taken}': {condition_in_words(case.when)}" for case in node.cases)
            return f"by the reading of {node.reading} ({cases})"
        case _:
            return node.text


def _inside(part: Condition) -> str:
    told = condition_in_words(part)
    return f"({told})" if isinstance(part, AllOf | AnyOf) else told
