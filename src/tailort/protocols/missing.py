"""Which facts, and how few of them, could still settle what a protocol leaves open.

A set of unknown facts settles a condition when there are values for them, permitted by the protocol, with which the
condition is answered although everything else stays unknown. The sets are found from the condition itself: each leaf
on an unknown fact is a set of values that make it yes and a set that make it no; "all" and "any" join them as the truth
tables do. Only the places between the numbers that a file names matter, so each fact has a few values to look at.
Parts of a condition that share no fact are looked at apart, which keeps this exact and short; where parts share facts
their combinations are counted, up to `MOST_WAYS`.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Any, Literal

from tailort.errors import InputError
from tailort.protocols.condition import (
    COMPARE,
    AllOf,
    AnyOf,
    Between,
    ByReading,
    Compare,
    CompareFacts,
    Condition,
    Known,
    Not,
    OneOf,
    OutcomeIs,
    ReadingIs,
)
from tailort.protocols.consistency import walk
from tailort.protocols.known import contradictions_of, tables_of
from tailort.protocols.schema import FactEntry, ProtocolFile
from tailort.protocols.tables import DecisionTable, TableFinding

# Combinations that are kept where parts of a condition share facts; beyond it the result is not proved smallest.
MOST_WAYS = 512
# Values of a fact that is compared with others, likewise.
MOST_VALUES = 40

# A way: by fact (its number in the file) the values that will do, one bit each.
Way = dict[int, int]
Leaf = Compare | OneOf | Between | Known


@dataclass(frozen=True)
class Fewest:
    """The fewest facts that could still settle an answer.

    Parameters
    ----------
    to_yes, to_no : tuple of str or None
        Fewest facts with which the answer could become yes, or no; None where no permitted values would do.
    proved : bool
        Whether it is certain that no smaller set would do.
    """

    to_yes: tuple[str, ...] | None
    to_no: tuple[str, ...] | None
    proved: bool = True

    @property
    def facts(self) -> tuple[str, ...]:
        """The smaller of both sets, that to a yes where they are equally large."""
        sets = [names for names in (self.to_yes, self.to_no) if names is not None]
        return min(sets, key=len) if sets else ()

    def as_dict(self) -> dict[str, Any]:
        """Return the sets ready for JSON."""
        return {
            "facts": list(self.facts),
            "to_yes": None if self.to_yes is None else list(self.to_yes),
            "to_no": None if self.to_no is None else list(self.to_no),
            "proved": self.proved,
        }


@dataclass(frozen=True)
class _Formula:
    """Ways joined by and/or, without negation; `facts` has one bit for each fact in it."""

    kind: Literal["ways", "and", "or"]
    ways: tuple[Way, ...] = ()
    parts: tuple[_Formula, ...] = ()
    facts: int = 0


_TRUE = _Formula("ways", ({},))
_FALSE = _Formula("ways", ())


@dataclass(frozen=True)
class Domain:
    """Values that tell apart all that a protocol's conditions can tell apart.

    Parameters
    ----------
    entries : tuple of FactEntry
        Facts of the protocol.
    values : tuple of tuple
        By fact, some permitted value from each stretch between the values that the file names.
    links : tuple of CompareFacts
        Comparisons of two facts.
    masks : dict
        By leaf, which of the values it holds for; filled as leaves are met.
    """

    file: ProtocolFile
    entries: tuple[FactEntry, ...]
    values: tuple[tuple[Any, ...], ...]
    links: tuple[CompareFacts, ...]
    masks: dict[int, int]

    @staticmethod
    def of(file: ProtocolFile) -> Domain:
        """Return the values that the conditions of a file tell apart."""
        named: dict[str, set[Any]] = {entry.name: set() for entry in file.facts}
        links = []
        for _, node in walk(file):
            if isinstance(node, Compare):
                named[node.fact].add(node.value)
            elif isinstance(node, OneOf):
                named[node.fact].update(node.among)
            elif isinstance(node, Between):
                named[node.fact].update(node.between)
            elif isinstance(node, CompareFacts):
                links.append(node)
        values = tuple(_representatives(entry, named[entry.name]) for entry in file.facts)
        return Domain(file, file.facts, values, tuple(links), {})

    def fewest(self, condition: Condition, values: Mapping[str, Any]) -> Fewest:
        """Return the fewest facts that could settle a condition which known values leave open.

        Parameters
        ----------
        condition : Condition
            Of the file.
        values : dict
            Known values, outcomes and readings, as conditions are evaluated on.
        """
        search = _Search(self, values)
        yes = search.smallest(search.formula(condition, True))
        no = search.smallest(search.formula(condition, False))
        return Fewest(yes, no, search.proved)

    def fewest_for_table(self, finding: TableFinding, values: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
        """Return the fewest facts that could settle a table on one outcome, and whether that is proved."""
        search = _Search(self, values)
        sets = [search.smallest(search.outcome(finding.table, {name})) for name in finding.possible]
        known = [names for names in sets if names is not None]
        return (min(known, key=len) if known else ()), search.proved


def _representatives(entry: FactEntry, named: Iterable[Any]) -> tuple[Any, ...]:
    """Permitted values: those named, and one from each stretch between and beyond them."""
    if entry.type == "boolean":
        return (False, True)
    if entry.type == "choice":
        return entry.choices
    if entry.type == "text":
        return (*sorted(named), "".join(named) + " other")
    return _in_order(entry, sorted(named))


def _in_order(entry: FactEntry, points: Sequence[Any]) -> tuple[Any, ...]:
    found: set[Any] = set()
    if entry.type == "date":
        for day in points:
            found.update(_near(day, 1))
        if not points:
            found.add(dt.date(2000, 1, 1))
        for low, high in pairwise(points):
            found.add(low + (high - low) / 2)
    else:
        step = entry.step or (1 if entry.type == "integer" else None)
        reach = step or 1
        low, high = entry.range or (min(points, default=0) - reach, max(points, default=0) + reach)
        if step is None:
            ordered = sorted({low, *(p for p in points if low <= p <= high), high})
            found.update(ordered)
            found.update((a + b) / 2 for a, b in pairwise(ordered))
        else:
            exact = Fraction(str(step))
            first, last = math.ceil(low / exact), math.floor(high / exact)
            for point in points:
                below = math.floor(Fraction(str(point)) / exact)
                found.update(range(max(below - 1, first), min(below + 2, last) + 1))
            whole = entry.type == "integer"
            found = {int(n * exact) if whole else float(n * exact) for n in {*found, first, last}}
    return tuple(sorted(value for value in found if _is_permitted(entry, value)))


def _near(day: dt.date, reach: int) -> Iterable[dt.date]:
    first, last = max(day.toordinal() - reach, 1), min(day.toordinal() + reach, dt.date.max.toordinal())
    return (dt.date.fromordinal(n) for n in range(first, last + 1))


def _is_permitted(entry: FactEntry, value: object) -> bool:
    try:
        return entry.read(value) is not None
    except InputError:
        return False


class _Search:
    """One patient's open conditions as formulas."""

    def __init__(self, domain: Domain, values: Mapping[str, Any]) -> None:
        self.domain, self.known = domain, values
        self.proved = True
        self.number = {entry.name: n for n, entry in enumerate(domain.entries)}
        self.values = list(domain.values)
        self.moved: set[int] = set()
        self.capped: set[int] = set()
        self._link()
        self.allowed: dict[int, int] = {}

    def _link(self) -> None:
        """Add the values at which comparisons of two facts turn."""
        for _ in range(2 if self.domain.links else 0):
            for link in self.domain.links:
                plus = link.plus.added if link.plus else None
                self._follow(link.than, link.fact, lambda v, plus=plus: plus(v) if plus else v)  # type: ignore[misc]
                self._follow(link.fact, link.than, lambda v, plus=plus: plus(v, -1) if plus else v)  # type: ignore[misc]

    def _follow(self, one: str, other: str, moved: Callable[[Any], Any]) -> None:
        n = self.number.get(other)
        if n is None or self.known.get(other) is not None:
            return
        value = self.known.get(one)
        points = self.values[self.number[one]] if value is None and one in self.number else (value,)
        if any(point is None for point in points):
            return
        entry = self.domain.entries[n]
        if entry.type == "date":
            # Months taken off a known date end up to three days beside where they would start.
            reach = 1 if value is None else 4
            more = tuple(day for point in points for day in _near(moved(point), reach))
        elif entry.type in ("number", "integer"):
            more = _in_order(entry, sorted({moved(point) for point in points}))
        else:
            more = tuple(point for point in points if _is_permitted(entry, point))
        every = tuple(dict.fromkeys((*self.values[n], *more)))
        if len(every) > MOST_VALUES:
            self.capped.add(n)
        self.values[n] = every[:MOST_VALUES]
        self.moved.add(n)

    def permitted(self, n: int) -> int:
        """Values of a fact with which the facts known so far do not contradict each other."""
        if n not in self.allowed:
            mask = (1 << len(self.values[n])) - 1
            contradictions = contradictions_of(self.domain.file)
            if contradictions:
                values = dict(self.known)
                for bit, value in enumerate(self.values[n]):
                    values[self.domain.entries[n].name] = value
                    if any(one.when.evaluate(values).answer == "yes" for one in contradictions):
                        mask &= ~(1 << bit)
            self.allowed[n] = mask
        return self.allowed[n]

    def formula(self, node: Condition, wanted: bool) -> _Formula:
        """When the condition is answered as wanted."""
        if isinstance(node, Not):
            return self.formula(node.negated, not wanted)
        if isinstance(node, AllOf | AnyOf):
            parts = node.all if isinstance(node, AllOf) else node.any
            every = isinstance(node, AllOf) == wanted
            return (_all if every else _any)([self.formula(part, wanted) for part in parts])
        if isinstance(node, ByReading):
            return self.formula(node.chosen(self.known), wanted)
        if isinstance(node, ReadingIs):
            return _TRUE if (node.evaluate(self.known).answer == "yes") == wanted else _FALSE
        if isinstance(node, OutcomeIs):
            table = next(table for table in tables_of(self.domain.file) if table.name == node.outcome)
            inside = set(node.among)
            return self.outcome(table, inside if wanted else {*table.outcomes, ""} - inside)
        if isinstance(node, CompareFacts):
            return self._two_facts(node, wanted)
        return self._one_fact(node, wanted)

    def outcome(self, table: DecisionTable, inside: set[str]) -> _Formula:
        """When only these outcomes are possible: every other row is no, or one above it (or apart from it) is yes."""
        rows = [(row.when, row.outcome) for row in table.rows]
        holds = [self.formula(when, True) for when, _ in rows]
        if table.exclusive:
            one = [formula for formula, (_, outcome) in zip(holds, rows, strict=True) if outcome in inside]
            if (table.otherwise or "") in inside:
                one.append(_all([self.formula(when, False) for when, outcome in rows if outcome not in inside]))
            return _any(one)
        parts = [
            _any([self.formula(when, False), *holds[:n]]) for n, (when, outcome) in enumerate(rows)
            if outcome not in inside
        ]  # fmt: skip
        if (table.otherwise or "") not in inside:
            parts.append(_any(holds))
        return _all(parts)

    def _one_fact(self, leaf: Leaf, wanted: bool) -> _Formula:
        if self.known.get(leaf.fact) is not None:
            return _TRUE if (leaf.evaluate(self.known).answer == "yes") == wanted else _FALSE
        n = self.number[leaf.fact]
        self.proved = self.proved and n not in self.capped
        mask = self.domain.masks.get(id(leaf)) if n not in self.moved else None
        if mask is None:
            mask = sum(
                1 << bit
                for bit, value in enumerate(self.values[n])
                if leaf.evaluate({leaf.fact: value}).answer == "yes"
            )
            if n not in self.moved:
                self.domain.masks[id(leaf)] = mask
        whole = self.permitted(n)
        mask = mask & whole if wanted else whole & ~mask
        return _Formula("ways", ({n: mask},), facts=1 << n) if mask else _FALSE

    def _two_facts(self, node: CompareFacts, wanted: bool) -> _Formula:
        one, other = self.known.get(node.fact), self.known.get(node.than)
        if one is not None and other is not None:
            return _TRUE if node.holds(one, other) == wanted else _FALSE
        if node.than not in self.number and other is None:
            return _FALSE  # `today`, which nobody can supply as a fact
        if node.fact not in self.number and one is None:
            return _FALSE
        open_ = [name for name, value in ((node.fact, one), (node.than, other)) if value is None]
        self.proved = self.proved and not self.capped & {self.number[name] for name in open_}
        plus = node.plus.added if node.plus else None
        right = (other,) if other is not None else self.values[self.number[node.than]]
        moved = [value if plus is None else plus(value) for value in right]
        compare, bits_right = COMPARE[node.operator], ([0] if other is not None else self._bits(node.than))
        ways: dict[int, int] = {}
        first = (None,) if one is not None else self._bits(node.fact)
        for bit in first:
            left = one if bit is None else self.values[self.number[node.fact]][bit]
            mask = sum(1 << n for n in bits_right if compare(left, moved[n]) == wanted)
            if mask:
                # First values that go with the same second ones make one way.
                ways[mask] = ways.get(mask, 0) | (0 if bit is None else 1 << bit)
        found: list[Way] = []
        for mask, bits in ways.items():
            way: Way = {}
            if one is None:
                way[self.number[node.fact]] = bits
            if other is None:
                way[self.number[node.than]] = mask
            found.append(way)
        return _Formula("ways", tuple(found), facts=_facts(found)) if found else _FALSE

    def _bits(self, name: str) -> list[int]:
        n = self.number[name]
        return [bit for bit in range(len(self.values[n])) if self.permitted(n) >> bit & 1]

    def smallest(self, formula: _Formula) -> tuple[str, ...] | None:
        """Names of the fewest facts of a way, in the file's order; None when there is no way."""
        facts = self._fewest(formula)
        if facts is None:
            return None
        return tuple(entry.name for n, entry in enumerate(self.domain.entries) if facts >> n & 1)

    def _fewest(self, formula: _Formula) -> int | None:
        if formula.kind == "ways":
            return min((_facts([way]) for way in formula.ways), key=_order, default=None)
        if formula.kind == "or":
            found = [facts for part in formula.parts if (facts := self._fewest(part)) is not None]
            return min(found, key=_order, default=None)
        whole = 0
        for group in _apart(formula.parts):
            if len(group) == 1:
                facts = self._fewest(group[0])
            else:
                ways = self._ways(_Formula("and", parts=tuple(group), facts=0))
                facts = min((_facts([way]) for way in ways), key=_order, default=None)
            if facts is None:
                return None
            whole |= facts
        return whole

    def _ways(self, formula: _Formula) -> list[Way]:
        if formula.kind == "ways":
            return list(formula.ways)
        each = [self._ways(part) for part in formula.parts]
        if formula.kind == "or":
            return self._shortened([way for ways in each for way in ways])
        return reduce(lambda a, b: self._shortened(_both(a, b)), sorted(each, key=len))

    def _shortened(self, ways: list[Way]) -> list[Way]:
        """Leave out what another way needs less for."""
        kept: list[Way] = []
        for way in sorted(ways, key=lambda way: _order(_facts([way]))):
            if not any(_covers(other, way) for other in kept):
                kept.append(way)
            if len(kept) > MOST_WAYS:
                self.proved = False
                return kept[:MOST_WAYS]
        return kept


def _all(parts: Iterable[_Formula]) -> _Formula:
    flat: list[_Formula] = []
    for part in parts:
        if part is _FALSE:
            return _FALSE
        if part is not _TRUE:
            flat.extend(part.parts if part.kind == "and" else (part,))
    return _joined("and", flat) if flat else _TRUE


def _any(parts: Iterable[_Formula]) -> _Formula:
    flat: list[_Formula] = []
    for part in parts:
        if part is _TRUE:
            return _TRUE
        if part is not _FALSE:
            flat.extend(part.parts if part.kind == "or" else (part,))
    return _joined("or", flat) if flat else _FALSE


def _joined(kind: Literal["and", "or"], parts: Sequence[_Formula]) -> _Formula:
    if len(parts) == 1:
        return parts[0]
    return _Formula(kind, parts=tuple(parts), facts=reduce(lambda a, b: a | b.facts, parts, 0))


def _apart(parts: Sequence[_Formula]) -> list[list[_Formula]]:
    """Groups of parts that share no fact with each other."""
    groups: list[tuple[int, list[_Formula]]] = []
    for part in parts:
        facts, together = part.facts, [part]
        apart = []
        for group in groups:
            if group[0] & facts:
                facts |= group[0]
                together = group[1] + together
            else:
                apart.append(group)
        groups = [*apart, (facts, together)]
    return [group for _, group in groups]


def _both(some: list[Way], others: list[Way]) -> list[Way]:
    found = []
    for a in some:
        for b in others:
            way = dict(a)
            for n, mask in b.items():
                way[n] = way.get(n, mask) & mask
                if not way[n]:
                    break
            else:
                found.append(way)
    return found


def _covers(one: Way, other: Way) -> bool:
    return all(n in other and not other[n] & ~mask for n, mask in one.items())


def _facts(ways: Iterable[Way]) -> int:
    return reduce(lambda facts, n: facts | 1 << n, (n for way in ways for n in way), 0)


def _order(facts: int) -> tuple[int, list[int]]:
    """Fewer facts first; among equally many those that stand first in the file."""
    numbers = [n for n in range(facts.bit_length()) if facts >> n & 1]
    return len(numbers), numbers
