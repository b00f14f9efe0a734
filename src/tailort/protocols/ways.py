"""Sets of values that will do, joined by "and" and "or": the algebra of the search for the fewest missing facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

# A way: by fact (its number in the file) the values that will do, one bit each.
Way = dict[int, int]


@dataclass(frozen=True)
class Formula:
    """Ways joined by and/or, without negation; `facts` has one bit for each fact in it."""

    kind: Literal["ways", "and", "or"]
    ways: tuple[Way, ...] = ()
    parts: tuple[Formula, ...] = ()
    facts: int = 0


TRUE = Formula("ways", ({},))
FALSE = Formula("ways", ())


def conjunction(parts: Iterable[Formula]) -> Formula:
    """Formulas that must all hold."""
    flat: list[Formula] = []
    for part in parts:
        if part is FALSE:
            return FALSE
        if part is not TRUE:
            flat.extend(part.parts if part.kind == "and" else (part,))
    return _joined("and", flat) if flat else TRUE


def disjunction(parts: Iterable[Formula]) -> Formula:
    """Formulas of which one must hold."""
    flat: list[Formula] = []
    for part in parts:
        if part is TRUE:
            return TRUE
        if part is not FALSE:
            flat.extend(part.parts if part.kind == "or" else (part,))
    return _joined("or", flat) if flat else FALSE


def _joined(kind: Literal["and", "or"], parts: Sequence[Formula]) -> Formula:
    if len(parts) == 1:
        return parts[0]
    return Formula(kind, parts=tuple(parts), facts=reduce(lambda a, b: a | b.facts, parts, 0))


def apart(parts: Sequence[Formula]) -> list[list[Formula]]:
    """Groups of parts that share no fact with each other."""
    groups: list[tuple[int, list[Formula]]] = []
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


def both(some: list[Way], others: list[Way]) -> list[Way]:
    """Ways that are a way of either list."""
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


def covers(one: Way, other: Way) -> bool:
    """Whether one way needs no more than the other, and permits no less."""
    return all(n in other and not other[n] & ~mask for n, mask in one.items())


def facts_of(ways: Iterable[Way]) -> int:
    """Facts of some ways, one bit each."""
    return reduce(lambda facts, n: facts | 1 << n, (n for way in ways for n in way), 0)


def by_number(facts: int) -> tuple[int, list[int]]:
    """Fewer facts first; among equally many those that stand first in the file."""
    numbers = [n for n in range(facts.bit_length()) if facts >> n & 1]
    return len(numbers), numbers
