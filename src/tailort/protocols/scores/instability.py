"""Spinal Instability Neoplastic Score (SINS) of one vertebra or several, by the protocol file that scores it.

The points of each finding, the classes and who is seen by a surgeon stand in the file (KO-20 to KO-27): its fact
`sins_score`, which is computed from `sins_location` and five more, its table `sins_class` and its flag
`surgical-consultation`. Here stands what it does not say: where a vertebra lies, what a percentage is, between which
scores an unknown one lies, and which of several is the worst.

References
----------
Fisher CG et al., Spine 2010;35:E1221. DOI 10.1097/BRS.0b013e3181e16ae2
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols.condition import Answer
from tailort.protocols.known import known_facts, look, readings_taken
from tailort.protocols.protocol import Protocol
from tailort.protocols.schema import FactEntry
from tailort.protocols.scores.basis import Cited, ReadingTaken, within

Location = Literal["junctional", "mobile", "semirigid", "rigid"]
Collapse = Literal["above-half", "half", "below-half", "none-body-above-half", "none"]

SCORE, LOCATION, TARGETS = "sins_score", "sins_location", "target_vertebrae"
CLASS = "sins_class"
CONSULTATION = "surgical-consultation"
OF_HALF = "KO-27"

_PART = "sins_"
_HALF_OTHERWISE = 2
_VERTEBRA = re.compile(r"(?:VB_)?(C|T|Th|L|S)([0-9]{1,2})", re.IGNORECASE)
_LAST = {"C": 7, "T": 12, "L": 5, "S": 5}


@dataclass(frozen=True)
class SpinalLevel:
    """One vertebra and its points; `score_level` makes it.

    Parameters
    ----------
    name : str
        The vertebra.
    findings : dict of str or None
        By component, such as "pain"; None is unknown.
    lowest, highest : int
        Points of what is known, and those that it has at most, whatever the unknown components are.
    """

    name: str
    findings: Mapping[str, str | None]
    lowest: int
    highest: int

    @property
    def missing(self) -> tuple[str, ...]:
        """Components that are unknown."""
        return tuple(component for component, found in self.findings.items() if found is None)


@dataclass(frozen=True)
class SinsAnswer:
    """SINS of the worst level.

    Parameters
    ----------
    score : int or None
        0 to 18; None when unknown.
    lowest, highest : int
        Between which the score lies, whatever is unknown.
    klass : str or None
        None when unknown; known without the score where all possible scores have the same class.
    worst_level : str or None
        The vertebra that the score belongs to, the first of equal ones.
    surgical_consultation : bool or None
        Whether a surgeon is to be asked; None when unknown.
    scores : tuple of (str, int or None)
        Score of each level.
    missing : tuple of str
        What is unknown, as "T4 pain".
    readings : tuple of ReadingTaken
        Ambiguous rules that took part.
    cited : tuple of Cited
        Rules that took part.
    """

    score: int | None
    lowest: int
    highest: int
    klass: str | None
    worst_level: str | None
    surgical_consultation: bool | None
    scores: tuple[tuple[str, int | None], ...]
    missing: tuple[str, ...]
    readings: tuple[ReadingTaken, ...]
    cited: tuple[Cited, ...]


def location_of(name: str) -> Location:
    """Location of a vertebra by its name (KO-20).

    Raises
    ------
    InputError
        When there is no such vertebra.

    Examples
    --------
    >>> location_of("C7"), location_of("Th4"), location_of("VB_L02")
    ('junctional', 'semirigid', 'mobile')
    """
    region, number = vertebra_of(name)
    junctional = {"C": (0, 1, 2, 7), "T": (1, 2, 11, 12), "L": (1, 5), "S": (1,)}
    if number in junctional[region]:
        return "junctional"
    elsewhere: dict[str, Location] = {"C": "mobile", "L": "mobile", "T": "semirigid", "S": "rigid"}
    return elsewhere[region]


def vertebra_of(name: str) -> tuple[str, int]:
    """Region and number of a vertebra, however it is written; the occiput is ("C", 0).

    Raises
    ------
    InputError
        When there is no such vertebra.

    Examples
    --------
    >>> vertebra_of("T4") == vertebra_of("Th4") == vertebra_of("VB_T04")
    True
    """
    if name.casefold() == "occiput":
        return "C", 0
    matched = _VERTEBRA.fullmatch(name)
    region = matched[1].upper()[0] if matched else ""
    number = int(matched[2]) if matched else 0
    if not 1 <= number <= _LAST.get(region, 0):
        raise InputError(f"there is no vertebra '{name}'; expected C1-C7, T1-T12, L1-L5, S1-S5 or occiput")
    return region, number


def collapse_of(collapse_percent: float | None, involved_percent: float | None) -> Collapse | None:
    """Return the collapse component from percentages (KO-24, KO-27).

    Parameters
    ----------
    collapse_percent : float or None
        Loss of height of the vertebral body, %; None is unknown.
    involved_percent : float or None
        Share of the body that is involved, %; needed only without a collapse.

    Raises
    ------
    InputError
        When a percentage is outside 0 to 100.
    """
    for value, what in ((collapse_percent, "the collapse in %"), (involved_percent, "the involved share in %")):
        if value is not None:
            within(value, 0, 100, what)
    if collapse_percent is None:
        return None
    if collapse_percent > 50:
        return "above-half"
    if collapse_percent == 50:
        return "half"
    if collapse_percent > 0:
        return "below-half"
    if involved_percent is None:
        return None
    return "none-body-above-half" if involved_percent > 50 else "none"


def components(protocol: Protocol) -> dict[str, FactEntry]:
    """Facts of the file that SINS is made of, by component: "location", "pain" and so on."""
    entries = {entry.name: entry for entry in protocol.file.facts}
    return {fact.removeprefix(_PART): entries[fact] for fact in _points(protocol)}


def _points(protocol: Protocol) -> dict[str, Mapping[str, int]]:
    """Points of each finding, by fact."""
    (computed,) = (entry.computed for entry in protocol.file.facts if entry.name == SCORE)
    return {} if computed is None else {entry.fact: entry.points for entry in computed.points}


def score_level(protocol: Protocol, name: str, findings: Mapping[str, str | None]) -> SpinalLevel:
    """Give a vertebra its points.

    Parameters
    ----------
    protocol : Protocol
        Whose file scores.
    name : str
        Of the vertebra, for people.
    findings : dict of str or None
        By component, all of `components`; None is unknown.

    Raises
    ------
    InputError
        When a finding is none that the file has points for.
    """
    points = _points(protocol)
    read: dict[str, str | None] = {}
    lowest = highest = 0
    for component, entry in components(protocol).items():
        try:
            found = entry.read(findings[component])
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        own = points[entry.name]
        read[component] = None if found is None else str(found)
        lowest += 0 if found is None else own[str(found)]
        highest += max(own.values()) if found is None else own[str(found)]
    return SpinalLevel(name, read, lowest, highest)


def level_of_record(protocol: Protocol, facts: Mapping[str, Fact]) -> SpinalLevel:
    """Give the vertebra of a record its points, by `target_vertebrae` and the facts that the score is made of.

    Raises
    ------
    InputError
        As of `located`, and when a fact cannot be.
    """
    known = known_facts(protocol.file, located(protocol, facts))
    findings = {name: _told(known, entry.name) for name, entry in components(protocol).items()}
    names = _targets(known)
    return score_level(protocol, names[0] if len(names) == 1 else "worst level", findings)


def located(protocol: Protocol, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Add to a record where its only vertebra lies; of several it must tell the location of the worst.

    Raises
    ------
    InputError
        When it does not, or tells a location that is not that of the vertebra.
    """
    known = known_facts(protocol.file, facts)
    names, told = _targets(known), _told(known, LOCATION)
    if len(names) != 1:
        if told is None:
            raise InputError(
                f"SINS of a record is that of the one vertebra in '{TARGETS}', found {', '.join(names) or 'none'}; "
                f"tell the '{LOCATION}' of the worst, or give several as a CSV table"
            )
        return dict(facts)
    follows = location_of(names[0])
    if told not in (None, follows):
        raise InputError(
            f"facts contradict each other: '{LOCATION}' is {told}, but {names[0]} is {follows} (KO-20); correct the "
            "clinical record"
        )
    return {**facts, LOCATION: facts[LOCATION] if told else Fact(LOCATION, follows, f"location of {names[0]}")}


def _told(known: Mapping[str, Fact], name: str) -> str | None:
    return str(known[name].value) if name in known else None


def _targets(known: Mapping[str, Fact]) -> tuple[str, ...]:
    names = known[TARGETS].value if TARGETS in known else ()
    return names if isinstance(names, tuple) else ()


def sins(protocol: Protocol, levels: Sequence[SpinalLevel]) -> SinsAnswer:
    """Return the score of the worst of all levels, and its class.

    Parameters
    ----------
    protocol : Protocol
        Whose file scores.
    levels : sequence of SpinalLevel
        At least one.

    Raises
    ------
    InputError
        When there is no level.
    """
    if not levels:
        raise InputError("SINS was asked for without a vertebra; give at least one level")
    lowest, highest = max(level.lowest for level in levels), max(level.highest for level in levels)
    score = lowest if lowest == highest else None
    # Of a level that cannot be the worst one nothing is missing.
    missing = tuple(
        f"{level.name} {component}" for level in levels if level.highest > lowest for component in level.missing
    )
    low, high = _class(protocol, lowest), _class(protocol, highest)
    worst = next((level for level in levels if level.lowest == score), None) if score is not None else None
    readings = _readings(protocol, levels)
    return SinsAnswer(
        score=score,
        lowest=lowest,
        highest=highest,
        klass=low[0] if low[0] == high[0] else None,
        worst_level=None if worst is None else worst.name,
        surgical_consultation=low[1] == "yes" if low[1] == high[1] else None,
        scores=tuple((level.name, None if level.missing else level.lowest) for level in levels),
        missing=missing,
        readings=readings,
        cited=_cited(protocol, bool(readings)),
    )


def _class(protocol: Protocol, score: int) -> tuple[str, Answer]:
    """Class of a score, and whether it is one that a surgeon sees."""
    patient = look(protocol.file, {SCORE: Fact(SCORE, score)}, readings_taken(protocol.file, {}))
    ((outcome,),) = (found.possible for found in patient.tables if found.table.name == CLASS)
    (flag,) = (entry for entry in protocol.file.flags if entry.id == CONSULTATION)
    return outcome, flag.when.evaluate(patient.values).answer


def _readings(protocol: Protocol, levels: Sequence[SpinalLevel]) -> tuple[ReadingTaken, ...]:
    readings = []
    half = [level for level in levels if level.findings["collapse"] == "half"]
    if half:
        points = _points(protocol)[components(protocol)["collapse"].name]["half"]
        others = [level.lowest - (points - _HALF_OTHERWISE if level in half else 0) for level in levels]
        otherwise = f"SINS {max(others)}" if not any(level.missing for level in levels) else "one point less there"
        readings.append(
            ReadingTaken(
                OF_HALF,
                f"a collapse of exactly 50 % is {points} points ({', '.join(level.name for level in half)})",
                (f"it is {_HALF_OTHERWISE} points: {otherwise}",),
            )
        )
    if len(levels) > 1:
        readings.append(ReadingTaken(OF_HALF, "of several levels the highest score", ("each level by itself",)))
    return tuple(readings)


def _cited(protocol: Protocol, with_readings: bool) -> tuple[Cited, ...]:
    """Rules of the components and classes; the ambiguous one only where it took part."""
    named = [rule for entry in components(protocol).values() for rule in entry.rules]
    named += [rule for table in protocol.file.tables if table.name == CLASS for rule in table.rules]
    rules = (protocol.rule(rule) for rule in sorted(set(named)))
    return tuple(Cited(one.id, one.mark, one.source) for one in rules if with_readings or one.id != OF_HALF)
