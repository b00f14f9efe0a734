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
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Any

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
    Shift,
    of_reading,
)
from tailort.protocols.consistency import walk
from tailort.protocols.known import TODAY, tables_of
from tailort.protocols.schema import FactEntry, ProtocolFile
from tailort.protocols.tables import DecisionTable, TableFinding
from tailort.protocols.ways import (
    FALSE,
    TRUE,
    Formula,
    Way,
    apart,
    both,
    by_number,
    conjunction,
    covers,
    disjunction,
    facts_of,
)

# Combinations that are kept where parts of a condition share facts; beyond it the result is not proved smallest.
MOST_WAYS = 512
# Values of a fact that is compared with others, likewise.
MOST_VALUES = 40
# Results that are kept for records that know the same.
MOST_KEPT = 200_000

Leaf = Compare | OneOf | Between | Known
# What asks for facts: a condition, several that are looked at together, or a table.
Asking = Condition | tuple[Condition, ...] | DecisionTable


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
    tables : dict of DecisionTable
        Decision tables of the file, by name.
    number : dict of int
        Place of each fact in the file, by name.
    kept : Kept
        What was found before: records that know the same share it.
    """

    file: ProtocolFile
    entries: tuple[FactEntry, ...]
    values: tuple[tuple[Any, ...], ...]
    links: tuple[CompareFacts, ...]
    tables: Mapping[str, DecisionTable]
    number: Mapping[str, int]
    kept: Kept

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
        number = {entry.name: n for n, entry in enumerate(file.facts)}
        tables = {table.name: table for table in tables_of(file)}
        return Domain(file, file.facts, values, tuple(links), tables, number, Kept())

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
        yes, no = search.fewest(condition, True), search.fewest(condition, False)
        return Fewest(self.names(yes.facts), self.names(no.facts), yes.proved and no.proved)

    def fewest_for_table(self, finding: TableFinding, values: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
        """Return the fewest facts that could settle a table on one outcome, and whether that is proved."""
        search = _Search(self, values)
        found = [search.fewest_for_outcome(finding.table.name, name) for name in finding.possible]
        best = _best(found)
        return self.names(best.facts) or (), best.proved

    def names(self, facts: int | None) -> tuple[str, ...] | None:
        """Names of a set of facts, in the file's order."""
        if facts is None:
            return None
        return tuple(entry.name for n, entry in enumerate(self.entries) if facts >> n & 1)

    def asked(self, node: Asking) -> frozenset[str]:
        """Facts that conditions or a table look at, through the tables that they look at too."""
        found = self.kept.asked.get(id(node))
        if found is None:
            found = self.kept.asked[id(node)] = frozenset(self._asked(node))
        return found

    def _asked(self, node: Asking) -> Iterable[str]:
        if isinstance(node, tuple):
            whens: Sequence[Condition] = node
        else:
            whens = [row.when for row in node.rows] if isinstance(node, DecisionTable) else [node]
        for when in whens:
            for _, part in walk(when):
                if isinstance(part, Leaf):
                    yield part.fact
                elif isinstance(part, CompareFacts):
                    yield from (name for name in (part.fact, part.than) if name in self.number)
                elif isinstance(part, OutcomeIs):
                    yield from self.asked(self.tables[part.outcome])

    def neighbours(self, node: Asking) -> tuple[str, ...]:
        """Facts whose values say what a search finds for a condition: those it asks, and what bears on them."""
        found = self.kept.neighbours.get(id(node))
        if found is None:
            names = set(self.asked(node))
            linked = [{link.fact, link.than} for link in self.links]
            if any(pair & names for pair in linked):
                names.update(name for pair in linked for name in pair)
            for one in self.file.contradictions:
                asked = self.asked(one.when)
                if asked & names:
                    names |= asked
            found = self.kept.neighbours[id(node)] = tuple(sorted(names))
        return found

    def groups(self, node: AllOf | AnyOf) -> tuple[tuple[Condition, ...], ...]:
        """Parts of a condition, those together that share a fact."""
        found = self.kept.groups.get(id(node))
        if found is None:
            groups: list[tuple[set[str], list[Condition]]] = []
            for part in node.parts:
                names, together = set(self.asked(part)), [part]
                rest = []
                for group in groups:
                    if group[0] & names:
                        names |= group[0]
                        together = group[1] + together
                    else:
                        rest.append(group)
                groups = [*rest, (names, together)]
            found = self.kept.groups[id(node)] = tuple(tuple(group) for _, group in groups)
        return found


@dataclass(frozen=True)
class Found:
    """Fewest facts as one bit each, None where no permitted values would do, and whether that is certain."""

    facts: int | None
    proved: bool


@dataclass(frozen=True)
class Kept:
    """What searches of one protocol have found so far, by what they depend on; nodes of the file by their `id`."""

    masks: dict[int, int] = field(default_factory=dict)
    asked: dict[int, frozenset[str]] = field(default_factory=dict)
    neighbours: dict[int, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[int, tuple[tuple[Condition, ...], ...]] = field(default_factory=dict)
    values: dict[tuple[Any, ...], tuple[tuple[tuple[Any, ...], ...], frozenset[int], frozenset[int]]] = field(
        default_factory=dict
    )
    found: dict[tuple[Any, ...], Found] = field(default_factory=dict)


def _best(found: Sequence[Found]) -> Found:
    """The smallest of several sets that would all do."""
    facts = min((one.facts for one in found if one.facts is not None), key=by_number, default=None)
    return Found(facts, all(one.proved for one in found))


def _representatives(entry: FactEntry, named: Iterable[Any]) -> tuple[Any, ...]:
    """Permitted values: those named, and one from each stretch between and beyond them."""
    if entry.type == "boolean":
        return (False, True)
    if entry.type == "choice":
        return entry.choices
    if entry.type == "list":
        return (("one",),)
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
        self.number = domain.number
        self.values: list[tuple[Any, ...]] = []
        self.moved: set[int] = set()
        self.capped: set[int] = set()
        self.allowed: dict[int, int] = {}
        self.context = (
            values.get(TODAY), *(values.get(of_reading(choice.rule)) for choice in domain.file.readings)
        )  # fmt: skip

    def fewest(self, node: Condition, wanted: bool) -> Found:
        """Fewest facts with which a condition is answered as wanted."""
        return self._kept((id(node), wanted), node, lambda: self._fewest_of(node, wanted))

    def fewest_for_outcome(self, table: str, outcome: str) -> Found:
        """Fewest facts with which a table says one outcome."""
        own = self.domain.tables[table]
        return self._kept((table, outcome), own, lambda: self._of_formula(lambda: self.outcome(own, {outcome})))

    def _kept(self, key: tuple[Any, ...], node: Asking, find: Callable[[], Found]) -> Found:
        """What was found for a record that knows the same of the facts that matter, else what is found now."""
        whole = (*key, self.context, *(self.known.get(name) for name in self.domain.neighbours(node)))
        found = self.domain.kept.found.get(whole)
        if found is None:
            if len(self.domain.kept.found) >= MOST_KEPT:
                self.domain.kept.found.clear()
            found = self.domain.kept.found[whole] = find()
        return found

    def _fewest_of(self, node: Condition, wanted: bool) -> Found:
        if isinstance(node, Not):
            return self.fewest(node.negated, not wanted)
        if isinstance(node, AllOf | AnyOf):
            if isinstance(node, AllOf) != wanted:
                return _best([self.fewest(part, wanted) for part in node.parts])
            whole, proved = 0, True
            for group in self.domain.groups(node):
                found = self.fewest(group[0], wanted) if len(group) == 1 else self._together(group, wanted)
                if found.facts is None:
                    return Found(None, proved and found.proved)
                whole, proved = whole | found.facts, proved and found.proved
            return Found(whole, proved)
        return self._of_formula(lambda: self.formula(node, wanted))

    def _together(self, group: tuple[Condition, ...], wanted: bool) -> Found:
        """Fewest facts with which parts that share facts are all answered as wanted."""

        def find() -> Found:
            return self._of_formula(lambda: conjunction([self.formula(part, wanted) for part in group]))

        return self._kept((id(group), wanted), group, find)

    def _of_formula(self, make: Callable[[], Formula]) -> Found:
        if not self.values:
            self._link()
        self.proved = True
        facts = self._fewest(make())
        return Found(facts, self.proved)

    def _link(self) -> None:
        """Add the values at which comparisons of two facts turn."""
        names = {name for link in self.domain.links for name in (link.fact, link.than)}
        key = (self.context[0], *(self.known.get(name) for name in sorted(names)))
        kept = self.domain.kept.values
        if key not in kept:
            self.values = list(self.domain.values)
            self._follow_all()
            if len(kept) >= MOST_KEPT:
                kept.clear()
            kept[key] = tuple(self.values), frozenset(self.moved), frozenset(self.capped)
        values, moved, capped = kept[key]
        self.values, self.moved, self.capped = list(values), set(moved), set(capped)

    def _follow_all(self) -> None:
        for _ in range(2 if self.domain.links else 0):
            for link in self.domain.links:
                self._follow(link.than, link.fact, link.plus, 1)
                self._follow(link.fact, link.than, link.plus, -1)

    def _follow(self, one: str, other: str, plus: Shift | None, times: int) -> None:
        n = self.number.get(other)
        if n is None or self.known.get(other) is not None:
            return
        value = self.known.get(one)
        points = self.values[self.number[one]] if value is None and one in self.number else (value,)
        if any(point is None for point in points):
            return
        moved = points if plus is None else [plus.added(point, times) for point in points]
        entry = self.domain.entries[n]
        if entry.type == "date":
            # Months taken off a known date end up to three days beside where they would start.
            reach = 1 if value is None else 4
            more = tuple(day for point in moved for day in _near(point, reach))
        elif entry.type in ("number", "integer"):
            more = _in_order(entry, sorted(set(moved)))
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
            name = self.domain.entries[n].name
            # More facts never make one hold that does not: only those that are open and ask this fact can.
            contradictions = [
                one
                for one in self.domain.file.contradictions
                if name in self.domain.asked(one.when) and one.when.evaluate(self.known).answer == "unknown"
            ]
            if contradictions:
                values = dict(self.known)
                for bit, value in enumerate(self.values[n]):
                    values[name] = value
                    if any(one.when.evaluate(values).answer == "yes" for one in contradictions):
                        mask &= ~(1 << bit)
            self.allowed[n] = mask
        return self.allowed[n]

    def formula(self, node: Condition, wanted: bool) -> Formula:
        """When the condition is answered as wanted."""
        if isinstance(node, Not):
            return self.formula(node.negated, not wanted)
        if isinstance(node, AllOf | AnyOf):
            every = isinstance(node, AllOf) == wanted
            return (conjunction if every else disjunction)([self.formula(part, wanted) for part in node.parts])
        if isinstance(node, ByReading):
            return self.formula(node.chosen(self.known), wanted)
        if isinstance(node, ReadingIs):
            return TRUE if (node.evaluate(self.known).answer == "yes") == wanted else FALSE
        if isinstance(node, OutcomeIs):
            table = self.domain.tables[node.outcome]
            inside = set(node.among)
            return self.outcome(table, inside if wanted else {*table.outcomes, ""} - inside)
        if isinstance(node, CompareFacts):
            return self._two_facts(node, wanted)
        return self._one_fact(node, wanted)

    def outcome(self, table: DecisionTable, inside: set[str]) -> Formula:
        """When only these outcomes are possible: every other row is no, or one above it (or apart from it) is yes."""
        rows = [(row.when, row.outcome) for row in table.rows]
        holds = [self.formula(when, True) for when, _ in rows]
        if table.exclusive:
            one = [formula for formula, (_, outcome) in zip(holds, rows, strict=True) if outcome in inside]
            if (table.otherwise or "") in inside:
                one.append(conjunction([self.formula(when, False) for when, outcome in rows if outcome not in inside]))
            return disjunction(one)
        parts = [
            disjunction([self.formula(when, False), *holds[:n]]) for n, (when, outcome) in enumerate(rows)
            if outcome not in inside
        ]  # fmt: skip
        if (table.otherwise or "") not in inside:
            parts.append(disjunction(holds))
        return conjunction(parts)

    def _one_fact(self, leaf: Leaf, wanted: bool) -> Formula:
        if self.known.get(leaf.fact) is not None:
            return TRUE if (leaf.evaluate(self.known).answer == "yes") == wanted else FALSE
        n = self.number[leaf.fact]
        self.proved = self.proved and n not in self.capped
        mask = self.domain.kept.masks.get(id(leaf)) if n not in self.moved else None
        if mask is None:
            mask = sum(
                1 << bit
                for bit, value in enumerate(self.values[n])
                if leaf.evaluate({leaf.fact: value}).answer == "yes"
            )
            if n not in self.moved:
                self.domain.kept.masks[id(leaf)] = mask
        whole = self.permitted(n)
        mask = mask & whole if wanted else whole & ~mask
        return Formula("ways", ({n: mask},), facts=1 << n) if mask else FALSE

    def _two_facts(self, node: CompareFacts, wanted: bool) -> Formula:
        one, other = self.known.get(node.fact), self.known.get(node.than)
        if one is not None and other is not None:
            return TRUE if node.holds(one, other) == wanted else FALSE
        if node.than not in self.number and other is None:
            return FALSE  # `today`, which nobody can supply as a fact
        if node.fact not in self.number and one is None:
            return FALSE
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
        return Formula("ways", tuple(found), facts=facts_of(found)) if found else FALSE

    def _bits(self, name: str) -> list[int]:
        n = self.number[name]
        return [bit for bit in range(len(self.values[n])) if self.permitted(n) >> bit & 1]

    def _fewest(self, formula: Formula) -> int | None:
        if formula.kind == "ways":
            return min((facts_of([way]) for way in formula.ways), key=by_number, default=None)
        if formula.kind == "or":
            found = [facts for part in formula.parts if (facts := self._fewest(part)) is not None]
            return min(found, key=by_number, default=None)
        whole = 0
        for group in apart(formula.parts):
            if len(group) == 1:
                facts = self._fewest(group[0])
            else:
                ways = self._ways(Formula("and", parts=tuple(group), facts=0))
                facts = min((facts_of([way]) for way in ways), key=by_number, default=None)
            if facts is None:
                return None
            whole |= facts
        return whole

    def _ways(self, formula: Formula) -> list[Way]:
        if formula.kind == "ways":
            return list(formula.ways)
        each = [self._ways(part) for part in formula.parts]
        if formula.kind == "or":
            return self._shortened([way for ways in each for way in ways])
        return reduce(lambda a, b: self._shortened(both(a, b)), sorted(each, key=len))

    def _shortened(self, ways: list[Way]) -> list[Way]:
        """Leave out what another way needs less for."""
        kept: list[Way] = []
        for way in sorted(ways, key=lambda way: by_number(facts_of([way]))):
            if not any(covers(other, way) for other in kept):
                kept.append(way)
            if len(kept) > MOST_WAYS:
                self.proved = False
                return kept[:MOST_WAYS]
        return kept
