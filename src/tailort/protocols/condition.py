"""Conditions on clinical facts: a typed tree, answered yes, no or unknown.

The logic is Kleene's strong three-valued one: an unknown stays unknown until the known facts alone settle the answer.
Nothing is ever evaluated as code. Beside facts a condition may look at what a decision table says and at how an
ambiguous rule is read; both stand among the values under names of their own (`of_table`, `of_reading`).

References
----------
S. C. Kleene, Introduction to Metamathematics (1952), section 64.
"""

from __future__ import annotations

import calendar
import datetime as dt
import operator as op
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Discriminator, Field, Tag, model_validator

from tailort.errors import ProtocolError
from tailort.protocols.section import Name, Number, Section

Answer = Literal["yes", "no", "unknown"]
FIRED: dict[Answer, str] = {"yes": "fired", "no": "not fired", "unknown": "unknown"}
"""What the answer says of a trigger."""
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


class Finding(NamedTuple):
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


@dataclass(frozen=True)
class Candidates:
    """What a decision table says: the outcomes that are still possible, and the facts that keep them apart.

    An empty outcome means that no row of the table applies.
    """

    outcomes: frozenset[str]
    open_facts: tuple[str, ...] = ()


def of_table(table: str) -> str:
    """Name under which the `Candidates` of a decision table stand among the values."""
    return f"#outcome of {table}"


def of_reading(rule: str) -> str:
    """Name under which the reading of an ambiguous rule stands among the values."""
    return f"#reading of {rule}"


def months_later(day: dt.date, months: int) -> dt.date:
    """Calendar months later; a day that the month does not have becomes its last one.

    Examples
    --------
    >>> months_later(dt.date(2026, 8, 31), 6)
    datetime.date(2027, 2, 28)
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not dt.MINYEAR <= year <= dt.MAXYEAR:
        return dt.date.max if months > 0 else dt.date.min
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


class _Node(Section):
    rule: str = ""


class _Group(_Node):
    def _join(self, word: Literal["and", "or"], parts: tuple[Condition, ...], values: Mapping[str, Any]) -> Finding:
        found = tuple(part.evaluate(values) for part in parts)
        text = f" {word} ".join(f"({f.text})" if f.parts else f.text for f in found)
        facts: dict[str, object] = {}
        for f in found:
            facts.update(f.facts)
        answer = (all_of if word == "and" else any_of)(f.answer for f in found)
        return Finding(text, self.rule, answer, facts, found, word)


class AllOf(_Group):
    """Every part must hold."""

    all: tuple[Condition, ...] = Field(min_length=1)

    @property
    def parts(self) -> tuple[Condition, ...]:
        """What is joined."""
        return self.all

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        return self._join("and", self.all, values)


class AnyOf(_Group):
    """At least one part must hold."""

    any: tuple[Condition, ...] = Field(min_length=1)

    @property
    def parts(self) -> tuple[Condition, ...]:
        """What is joined."""
        return self.any

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
    fact: str

    # Every leaf below has its own two; the models of pydantic cannot be made abstract.
    @property
    def text(self) -> str:
        """The condition in words."""
        raise NotImplementedError

    def holds(self, value: Any) -> bool:
        """Whether it holds for a known value."""
        raise NotImplementedError

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        value = values.get(self.fact)
        answer: Answer = "unknown" if value is None else "yes" if self.holds(value) else "no"
        return Finding(self.text, self.rule, answer, {self.fact: value})


class Compare(_Leaf):
    """A fact against one value, by the printed operator."""

    operator: Comparison
    value: Scalar

    @property
    def text(self) -> str:
        """The condition in words."""
        return f"{self.fact} {_WORDS[self.operator]} {in_words(self.value)}"

    def holds(self, value: Any) -> bool:
        """Whether it holds for a known value."""
        return COMPARE[self.operator](value, self.value)


class OneOf(_Leaf):
    """A fact that is one of several values."""

    among: tuple[Scalar, ...] = Field(alias="in", min_length=1)

    @property
    def text(self) -> str:
        """The condition in words."""
        return f"{self.fact} is one of {', '.join(in_words(v) for v in self.among)}"

    def holds(self, value: Any) -> bool:
        """Whether it holds for a known value."""
        return value in self.among


class Between(_Leaf):
    """A fact from a lowest to a highest value, both included."""

    between: tuple[Scalar, Scalar]

    @property
    def text(self) -> str:
        """The condition in words."""
        low, high = self.between
        return f"{in_words(low)} <= {self.fact} <= {in_words(high)}"

    def holds(self, value: Any) -> bool:
        """Whether it holds for a known value."""
        low, high = self.between
        return COMPARE["<="](low, value) and COMPARE["<="](value, high)


class Known(_Leaf):
    """A fact that must be supplied, whatever it says: yes once it is known, unknown before (never no)."""

    fact: str = Field(alias="known")

    @property
    def text(self) -> str:
        """The condition in words."""
        return f"{self.fact} is known"

    def holds(self, value: Any) -> bool:
        """Whether it holds for a known value."""
        return True


class Shift(Section):
    """What is added to a fact before it is compared: calendar months and years, weeks of 7 days, or a plain number."""

    number: Number | None = None
    days: int | None = None
    weeks: int | None = None
    months: int | None = None
    years: int | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(getattr(self, name) is not None for name in type(self).model_fields) != 1:
            raise ValueError("give exactly one of number, days, weeks, months, years")
        return self

    @property
    def is_time(self) -> bool:
        """Whether it moves dates."""
        return self.number is None

    def added(self, value: Any, times: int = 1) -> Any:
        """Return the value with this added, or with -1 taken off (months: to within the days that months differ by)."""
        if self.number is not None:
            return value + times * self.number
        if self.days is not None or self.weeks is not None:
            try:
                return value + dt.timedelta(days=times * ((self.days or 0) + 7 * (self.weeks or 0)))
            except OverflowError:
                return dt.date.max if times * ((self.days or 0) + (self.weeks or 0)) > 0 else dt.date.min
        return months_later(value, times * ((self.months or 0) + 12 * (self.years or 0)))

    @property
    def text(self) -> str:
        """What is added, in words."""
        if self.number is not None:
            return f"{self.number:g}"
        return next(f"{value} {name}" for name in type(self).model_fields if (value := getattr(self, name)) is not None)


class CompareFacts(_Node):
    """A fact against another one, with something added to it where `plus` says so."""

    fact: str
    operator: Comparison
    than: str
    plus: Shift | None = None

    @property
    def text(self) -> str:
        """The condition in words."""
        plus = f" + {self.plus.text}" if self.plus else ""
        return f"{self.fact} {_WORDS[self.operator]} {self.than}{plus}"

    def holds(self, value: Any, other: Any) -> bool:
        """Whether it holds for two known values."""
        return COMPARE[self.operator](value, other if self.plus is None else self.plus.added(other))

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition for known values; a missing or None value is unknown."""
        one, other = values.get(self.fact), values.get(self.than)
        answer: Answer = "unknown"
        if one is not None and other is not None:
            answer = "yes" if self.holds(one, other) else "no"
        return Finding(self.text, self.rule, answer, {self.fact: one, self.than: other})


class OutcomeIs(_Node):
    """What a decision table says; unknown while outcomes inside and outside the list are possible."""

    outcome: Name
    among: tuple[Name, ...] = Field(alias="in", min_length=1)

    @property
    def text(self) -> str:
        """The condition in words."""
        return f"{self.outcome} is {' or '.join(self.among)}"

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition from the table's `Candidates`, which must be among the values."""
        found = values.get(of_table(self.outcome))
        if not isinstance(found, Candidates):
            raise ProtocolError(f"the decision table '{self.outcome}' has not been asked before it is looked at")
        inside = found.outcomes & set(self.among)
        answer: Answer = "no" if not inside else "yes" if inside == found.outcomes else "unknown"
        return Finding(self.text, self.rule, answer, dict.fromkeys(found.open_facts if answer == "unknown" else ()))


class ReadingIs(_Node):
    """How an ambiguous rule is read: always known."""

    reading: Name
    taken: Name

    @property
    def text(self) -> str:
        """The condition in words."""
        return f"{self.reading} is read as '{self.taken}'"

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition from the reading that was taken, which must be among the values."""
        answer: Answer = "yes" if _reading(self.reading, values) == self.taken else "no"
        return Finding(self.text, self.rule or self.reading, answer, {})


class ReadingCase(Section):
    """What is asked under one reading."""

    taken: Name
    when: Condition


class ByReading(_Node):
    """A condition that depends on how an ambiguous rule is read."""

    reading: Name
    cases: tuple[ReadingCase, ...] = Field(min_length=2)

    def chosen(self, values: Mapping[str, Any]) -> Condition:
        """Return the condition under the reading that was taken."""
        name = _reading(self.reading, values)
        for case in self.cases:
            if case.taken == name:
                return case.when
        raise ProtocolError(
            f"there is no case for the reading '{name}' of rule '{self.reading}'; there are "
            f"{', '.join(case.taken for case in self.cases)}"
        )

    def evaluate(self, values: Mapping[str, Any]) -> Finding:
        """Answer the condition of the reading that was taken."""
        found = self.chosen(values).evaluate(values)
        return found._replace(rule=found.rule or self.rule or self.reading)


def _reading(rule: str, values: Mapping[str, Any]) -> Any:
    name = values.get(of_reading(rule))
    if name is None:
        raise ProtocolError(f"it is not said how the ambiguous rule '{rule}' is read")
    return name


# The first key that a node has tells its kind.
NODES = {
    "all": AllOf, "any": AnyOf, "not": Not, "than": CompareFacts, "outcome": OutcomeIs, "cases": ByReading,
    "taken": ReadingIs, "operator": Compare, "in": OneOf, "between": Between, "known": Known,
}  # fmt: skip


def _kind(node: Any) -> str | None:
    """Tell the nodes apart by their keys; the mark in the tag keeps it from being read as a key of the file."""
    for key, model in NODES.items():
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
    | Annotated[Known, Tag("#known")]
    | Annotated[CompareFacts, Tag("#than")]
    | Annotated[OutcomeIs, Tag("#outcome")]
    | Annotated[ByReading, Tag("#cases")]
    | Annotated[ReadingIs, Tag("#taken")],
    Discriminator(
        _kind,
        custom_error_type="condition",
        custom_error_message="a condition has a key all, any, not or known, or fact with operator, in or between",
    ),
]

for _model in (AllOf, AnyOf, Not, ReadingCase, ByReading):
    _model.model_rebuild()


def in_words(value: object) -> str:
    """Return a fact's value as people write it: true and false are yes and no."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
