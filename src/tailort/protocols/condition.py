"""Conditions on clinical facts: a typed tree, answered yes, no or unknown.

The logic is Kleene's strong three-valued one: an unknown stays unknown until the known facts alone settle the answer.
Nothing is ever evaluated as code.

References
----------
S. C. Kleene, Introduction to Metamathematics (1952), section 64.
"""

from __future__ import annotations

import datetime as dt
import operator as op
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from tailort.protocols.section import Section

Answer = Literal["yes", "no", "unknown"]
Scalar = bool | int | float | str | dt.date
Comparison = Literal["==", "!=", "<", "<=", ">", ">="]

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": op.eq, "!=": op.ne, "<": op.lt, "<=": op.le, ">": op.gt, ">=": op.ge,
}  # fmt: skip
_WORDS = {"==": "is", "!=": "is not", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def all_of(answers: Iterable[Answer]) -> Answer:
    """Conjunction: no as soon as one is no, else unknown as soon as one is unknown."""
    seen = set(answers)
    return "no" if "no" in seen else "unknown" if "unknown" in seen else "yes"


def any_of(answers: Iterable[Answer]) -> Answer:
    """Disjunction: yes as soon as one is yes, else unknown as soon as one is unknown."""
    seen = set(answers)
    return "yes" if "yes" in seen else "unknown" if "unknown" in seen else "no"


def not_of(answer: Answer) -> Answer:
    """Negation: an unknown stays unknown."""
    opposite: dict[Answer, Answer] = {"yes": "no", "no": "yes", "unknown": "unknown"}
    return opposite[answer]


@dataclass(frozen=True)
class Finding:
    """One node of a condition and what came of it.

    Parameters
    ----------
    text : str
        The condition in words.
    rule : str
        Rule id; empty when the node names none.
    answer : {"yes", "no", "unknown"}
        Whether the condition holds.
    facts : dict
        Names and values of the facts it looked at; None is unknown.
    parts : tuple of Finding
        Of the nodes below.
    joined : {"and", "or", "not", ""}
        How the parts make the answer; empty for a condition on one fact.
    """

    text: str
    rule: str
    answer: Answer
    facts: Mapping[str, object]
    parts: tuple[Finding, ...] = ()
    joined: Literal["and", "or", "not", ""] = ""

    def open_facts(self) -> tuple[str, ...]:
        """Facts that are unknown and could still change the answer; none when the answer stands."""
        if self.answer != "unknown":
            return ()
        if not self.parts:
            return tuple(name for name, value in self.facts.items() if value is None)
        return tuple(dict.fromkeys(name for part in self.parts for name in part.open_facts()))


class _Node(Section):
    rule: str = ""


class _Group(_Node):
    def _join(self, word: Literal["and", "or"], parts: tuple[Condition, ...], values: Mapping[str, Any]) -> Finding:
        found = tuple(part.evaluate(values) for part in parts)
        text = f" {word} ".join(f"({f.text})" if f.parts else f.text for f in found)
        facts = {name: value for f in found for name, value in f.facts.items()}
        answer = (all_of if word == "and" else any_of)(f.answer for f in found)
        return Finding(text, self.rule, answer, facts, found, word)


class AllOf(_Group):
    """Every part must hold."""

    all: tuple[Condition, ...] = Field(min_length=1)

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        return self._join("and", self.all, values)


class AnyOf(_Group):
    """At least one part must hold."""

    any: tuple[Condition, ...] = Field(min_length=1)

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        return self._join("or", self.any, values)


class Not(_Node):
    """The part must not hold."""

    negated: Condition = Field(alias="not")

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        found = self.negated.evaluate(values)
        return Finding(f"not ({found.text})", self.rule, not_of(found.answer), found.facts, (found,), "not")


class _Leaf(_Node):
    def _finding(self, fact: str, text: str, values: Mapping[str, Any], holds: Callable[[Any], bool]) -> Finding:
        value = values.get(fact)
        answer: Answer = "unknown" if value is None else "yes" if holds(value) else "no"
        return Finding(text, self.rule, answer, {fact: value})


class Compare(_Leaf):
    """A fact against one value, by the printed operator."""

    fact: str
    operator: Comparison
    value: Scalar

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        text = f"{self.fact} {_WORDS[self.operator]} {in_words(self.value)}"
        return self._finding(self.fact, text, values, lambda v: COMPARE[self.operator](v, self.value))


class OneOf(_Leaf):
    """A fact that is one of several values."""

    fact: str
    among: tuple[Scalar, ...] = Field(alias="in", min_length=1)

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        text = f"{self.fact} is one of {', '.join(in_words(v) for v in self.among)}"
        return self._finding(self.fact, text, values, lambda v: v in self.among)


class Between(_Leaf):
    """A fact from a lowest to a highest value, both included."""

    fact: str
    between: tuple[Scalar, Scalar]

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        low, high = self.between
        text = f"{in_words(low)} <= {self.fact} <= {in_words(high)}"
        return self._finding(self.fact, text, values, lambda v: COMPARE["<="](low, v) and COMPARE["<="](v, high))


class Known(_Leaf):
    """A fact that must be supplied, whatever it says: yes once it is known, unknown before (never no)."""

    fact: str = Field(alias="known")

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        return self._finding(self.fact, f"{self.fact} is known", values, lambda _: True)


_NODES = {"all": AllOf, "any": AnyOf, "not": Not, "operator": Compare, "in": OneOf, "between": Between, "known": Known}


def _kind(node: Any) -> str | None:
    """Tell the nodes apart by their keys; the mark in the tag keeps it from being read as a key of the file."""
    for key, model in _NODES.items():
        if (isinstance(node, Mapping) and key in node) or isinstance(node, model):
            return f"#{key}"
    return None


Condition = Annotated[
    Annotated[AllOf, Tag("#all")]
    | Annotated[AnyOf, Tag("#any")]
    | Annotated[Not, Tag("#not")]
    | Annotated[Compare, Tag("#operator")]
    | Annotated[OneOf, Tag("#in")]
    | Annotated[Between, Tag("#between")]
    | Annotated[Known, Tag("#known")],
    Discriminator(
        _kind,
        custom_error_type="condition",
        custom_error_message="a condition has a key all, any, not or known, or fact with operator, in or between",
    ),
]

for _model in (AllOf, AnyOf, Not):
    _model.model_rebuild()


def in_words(value: object) -> str:
    """Return a fact's value as people write it: true and false are yes and no."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
