"""Spinal Instability Neoplastic Score (SINS) of one vertebra or several.

| rule | what | mark |
|---|---|---|
| KO-20..25 | points of the six components | lit-verified |
| KO-26 | classes; 7 to 18 go to a surgeon | lit-verified |
| KO-27 | collapse of exactly 50 %, several levels | ambiguous; default 3 points, the worst level |

References
----------
Fisher CG et al., Spine 2010;35:E1221. DOI 10.1097/BRS.0b013e3181e16ae2
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tailort.errors import InputError
from tailort.protocols.scores.basis import Cited, ReadingTaken, one_of, within

Location = Literal["junctional", "mobile", "semirigid", "rigid"]
Pain = Literal["mechanical", "occasional", "none"]
BoneLesion = Literal["lytic", "mixed", "blastic"]
Alignment = Literal["subluxation", "deformity", "normal"]
Collapse = Literal["above-half", "half", "below-half", "none-body-above-half", "none"]
Posterolateral = Literal["bilateral", "unilateral", "none"]
SinsClass = Literal["stable", "potentially-unstable", "unstable"]

POINTS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "location": MappingProxyType({"junctional": 3, "mobile": 2, "semirigid": 1, "rigid": 0}),
        "pain": MappingProxyType({"mechanical": 3, "occasional": 1, "none": 0}),
        "bone_lesion": MappingProxyType({"lytic": 2, "mixed": 1, "blastic": 0}),
        "alignment": MappingProxyType({"subluxation": 4, "deformity": 2, "normal": 0}),
        "collapse": MappingProxyType(
            {"above-half": 3, "half": 3, "below-half": 2, "none-body-above-half": 1, "none": 0}
        ),
        "posterolateral": MappingProxyType({"bilateral": 3, "unilateral": 1, "none": 0}),
    }
)
"""KO-20 to KO-25 and KO-27: points by component and finding."""

HIGHEST_SCORE = 18
_SOURCE = "SINS, encyclopaedia of radiology"
_RULES = {
    "location": "KO-20",
    "pain": "KO-21",
    "bone_lesion": "KO-22",
    "alignment": "KO-23",
    "collapse": "KO-24",
    "posterolateral": "KO-25",
}
_HALF_OTHERWISE = 2
_VERTEBRA = re.compile(r"(C|T|Th|L|S)(\d{1,2})", re.IGNORECASE)
_LAST = {"C": 7, "T": 12, "L": 5, "S": 5}


@dataclass(frozen=True)
class SpinalLevel:
    """What is found at one vertebra; None is unknown.

    Parameters
    ----------
    name : str
        The vertebra: "C1" to "S5", or "occiput"; thoracic ones as "T4" or "Th4". Its location follows from it.
    pain : Pain or None
        "mechanical": better lying, or with movement or loading; "occasional": not mechanical.
    bone_lesion : BoneLesion or None
        Kind of the lesion.
    alignment : Alignment or None
        "subluxation" includes translation; "deformity" is a new kyphosis or scoliosis.
    collapse : Collapse or None
        Of the vertebral body; "none-body-above-half": no collapse, more than 50 % of the body involved. See
        `collapse_of` for percentages.
    posterolateral : Posterolateral or None
        Involvement of facet, pedicle or costovertebral joint.
    """

    name: str
    pain: Pain | None
    bone_lesion: BoneLesion | None
    alignment: Alignment | None
    collapse: Collapse | None
    posterolateral: Posterolateral | None

    def __post_init__(self) -> None:
        location_of(self.name)
        for component, found in self.components.items():
            if found is not None:
                one_of(found, tuple(POINTS[component]), f"{component} of {self.name}")

    @property
    def components(self) -> dict[str, str | None]:
        """Findings by component, the location first."""
        return {
            "location": location_of(self.name),
            "pain": self.pain,
            "bone_lesion": self.bone_lesion,
            "alignment": self.alignment,
            "collapse": self.collapse,
            "posterolateral": self.posterolateral,
        }

    @property
    def missing(self) -> tuple[str, ...]:
        """Components that are unknown."""
        return tuple(component for component, found in self.components.items() if found is None)

    @property
    def lowest(self) -> int:
        """Points of what is known."""
        return sum(POINTS[component][found] for component, found in self.components.items() if found is not None)

    @property
    def highest(self) -> int:
        """Points that the level has at most, whatever the unknown components are."""
        return self.lowest + sum(max(POINTS[component].values()) for component in self.missing)


@dataclass(frozen=True)
class SinsAnswer:
    """SINS of the worst level.

    Parameters
    ----------
    score : int or None
        0 to 18; None when unknown.
    lowest, highest : int
        Between which the score lies, whatever is unknown.
    klass : SinsClass or None
        None when unknown; known without the score where all possible scores have the same class.
    worst_level : str or None
        The vertebra that the score belongs to, the first of equal ones.
    surgical_consultation : bool or None
        Whether a surgeon is to be asked (7 or more); None when unknown.
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
    klass: SinsClass | None
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
    >>> location_of("C7"), location_of("Th4")
    ('junctional', 'semirigid')
    """
    if name.casefold() == "occiput":
        return "junctional"
    matched = _VERTEBRA.fullmatch(name)
    region = matched[1].upper()[0] if matched else ""
    number = int(matched[2]) if matched else 0
    if not 1 <= number <= _LAST.get(region, 0):
        raise InputError(f"there is no vertebra '{name}'; expected C1-C7, T1-T12, L1-L5, S1-S5 or occiput")
    junctional = {"C": (1, 2, 7), "T": (1, 2, 11, 12), "L": (1, 5), "S": (1,)}
    if number in junctional[region]:
        return "junctional"
    elsewhere: dict[str, Location] = {"C": "mobile", "L": "mobile", "T": "semirigid", "S": "rigid"}
    return elsewhere[region]


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


def sins_class(score: int) -> SinsClass:
    """Class of a score (KO-26).

    Raises
    ------
    InputError
        When the score is not a whole number from 0 to 18.
    """
    check_sins(score)
    if score <= 6:
        return "stable"
    return "potentially-unstable" if score <= 12 else "unstable"


def check_sins(score: int) -> None:
    """Stop at a score that does not exist (G-05).

    Raises
    ------
    InputError
        When the score is not a whole number from 0 to 18.
    """
    if isinstance(score, bool) or not isinstance(score, int) or not 0 <= score <= HIGHEST_SCORE:
        raise InputError(f"SINS is {score}; expected a whole number from 0 to {HIGHEST_SCORE}")


def sins(levels: Sequence[SpinalLevel]) -> SinsAnswer:
    """Score all levels and return the worst one.

    Parameters
    ----------
    levels : sequence of SpinalLevel
        At least one, no vertebra twice.

    Raises
    ------
    InputError
        When there is no level, or one is given twice.

    Examples
    --------
    >>> level = SpinalLevel("T4", "occasional", "mixed", "normal", "none-body-above-half", "unilateral")
    >>> sins([level]).score
    5
    """
    if not levels:
        raise InputError("SINS was asked for without a vertebra; give at least one level")
    names = [level.name.casefold().replace("th", "t") for level in levels]
    if len(set(names)) != len(names):
        raise InputError(f"a vertebra is given twice for SINS: {', '.join(level.name for level in levels)}")
    lowest, highest = max(level.lowest for level in levels), max(level.highest for level in levels)
    score = lowest if lowest == highest else None
    # Of a level that cannot be the worst one nothing is missing.
    missing = tuple(
        f"{level.name} {component}" for level in levels if level.highest > lowest for component in level.missing
    )
    low_class, high_class = sins_class(lowest), sins_class(highest)
    worst = next((level for level in levels if level.lowest == score), None) if score is not None else None
    return SinsAnswer(
        score=score,
        lowest=lowest,
        highest=highest,
        klass=low_class if low_class == high_class else None,
        worst_level=None if worst is None else worst.name,
        surgical_consultation=(lowest >= 7) if (lowest >= 7) == (highest >= 7) else None,
        scores=tuple((level.name, None if level.missing else level.lowest) for level in levels),
        missing=missing,
        readings=_readings(levels),
        cited=(
            *(Cited(rule, "lit-verified", _SOURCE) for rule in _RULES.values()),
            Cited("KO-26", "lit-verified", _SOURCE),
            *((Cited("KO-27", "ambiguous", _SOURCE),) if _readings(levels) else ()),
        ),
    )


def _readings(levels: Sequence[SpinalLevel]) -> tuple[ReadingTaken, ...]:
    readings = []
    half = [level for level in levels if level.collapse == "half"]
    if half:
        fewer = POINTS["collapse"]["half"] - _HALF_OTHERWISE
        others = [level.lowest - (fewer if level.collapse == "half" else 0) for level in levels]
        otherwise = f"SINS {max(others)}" if not any(level.missing for level in levels) else "one point less there"
        readings.append(
            ReadingTaken(
                "KO-27",
                f"a collapse of exactly 50 % is 3 points ({', '.join(level.name for level in half)})",
                (f"it is {_HALF_OTHERWISE} points: {otherwise}",),
            )
        )
    if len(levels) > 1:
        readings.append(ReadingTaken("KO-27", "of several levels the highest score", ("each level by itself",)))
    return tuple(readings)
