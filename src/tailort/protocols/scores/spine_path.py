"""Surgery or SBRT first for a re-irradiated spine: Bilsky grade, and the path by Bilsky grade and SINS.

| rule | what | mark |
|---|---|---|
| KO-10 | low grade, SINS below 9: SBRT alone | seed |
| KO-11 | high grade: decompression, then SBRT | seed |
| KO-12 | SINS 9 or more: stabilisation, then SBRT | seed |
| KO-13 | both: their union | ambiguous |
| KO-14 | surgery called for but not possible: SBRT alone, flagged | seed |
| KO-15 | the cut 9 is the institution's | seed |
| KO-16 | a score is missing: undetermined | derived |
| KO-30 | Bilsky grades and their order | seed |

References
----------
Bilsky MH et al., J Neurosurg Spine 2010;13:324. DOI 10.3171/2010.3.SPINE09459
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tailort.protocols.scores.basis import Cited, ReadingTaken, one_of
from tailort.protocols.scores.instability import check_sins

Bilsky = Literal["0", "1a", "1b", "1c", "2", "3"]
SpinePath = Literal[
    "sbrt-alone",
    "decompression-then-sbrt",
    "stabilisation-then-sbrt",
    "decompression-and-stabilisation-then-sbrt",
]

BILSKY_ORDER: tuple[Bilsky, ...] = ("0", "1a", "1b", "1c", "2", "3")
"""KO-30: grades of epidural spinal cord compression, the least first."""

SINS_CUT = 9
"""KO-15: from this score on the institution stabilises; the published classes cut at 7 and 13."""

_SOURCE = "Koide 2024"
_HIGH_FROM: Bilsky = "1c"
_FLAG = (
    "surgery is called for but not possible: 4 of 4 such patients failed early (median 3.7 months) and 3 of 4 "
    "fractured (KO-14)"
)


@dataclass(frozen=True)
class PathAnswer:
    """What comes first, surgery or SBRT.

    Parameters
    ----------
    path : SpinePath or None
        None is undetermined.
    may_add : {"stabilisation", "decompression"} or None
        What the text leaves open beside the path's surgery.
    flags : tuple of str
        What a clinician must see.
    missing : tuple of str
        What is unknown.
    readings : tuple of ReadingTaken
        Ambiguous rules that took part.
    cited : tuple of Cited
        Rules that took part.
    """

    path: SpinePath | None
    may_add: Literal["stabilisation", "decompression"] | None
    flags: tuple[str, ...]
    missing: tuple[str, ...]
    readings: tuple[ReadingTaken, ...]
    cited: tuple[Cited, ...]


def bilsky_rank(grade: str) -> int:
    """Place of a Bilsky grade in the order 0 < 1a < 1b < 1c < 2 < 3, from 0 (KO-30).

    Raises
    ------
    InputError
        When it is no grade; a bare "1" is none.

    Examples
    --------
    >>> bilsky_rank("1b") < bilsky_rank("1c")
    True
    """
    one_of(grade, BILSKY_ORDER, "the Bilsky grade")
    return list[str](BILSKY_ORDER).index(grade)


def is_high_grade(grade: str) -> bool:
    """Tell whether a Bilsky grade is a high one, 1c or more (KO-10, KO-11).

    Raises
    ------
    InputError
        When it is no grade.
    """
    return bilsky_rank(grade) >= bilsky_rank(_HIGH_FROM)


def spine_path(bilsky: str | None, sins: int | None, surgery_possible: bool | None) -> PathAnswer:
    """Choose the path by Bilsky grade, SINS and whether surgery is possible; None is unknown.

    Parameters
    ----------
    bilsky : str or None
        Bilsky grade.
    sins : int or None
        Spinal Instability Neoplastic Score, 0 to 18.
    surgery_possible : bool or None
        Not needed where no surgery is called for.

    Raises
    ------
    InputError
        When a grade or score does not exist.
    """
    if bilsky is not None:
        bilsky_rank(bilsky)
    if sins is not None:
        check_sins(sins)
    if bilsky is None or sins is None:
        missing = [name for name, value in (("bilsky", bilsky), ("sins", sins)) if value is None]
        return PathAnswer(None, None, (), tuple(missing), (), _cited("KO-16"))
    compressed, unstable = is_high_grade(bilsky), sins >= SINS_CUT
    if not compressed and not unstable:
        return PathAnswer("sbrt-alone", None, (), (), (), _cited("KO-10", "KO-15", "KO-30"))
    readings = (_UNION,) if compressed and unstable else ()
    fired = "KO-13" if compressed and unstable else ("KO-11" if compressed else "KO-12")
    if surgery_possible is None:
        return PathAnswer(None, None, (), ("surgery_possible",), readings, _cited(fired, "KO-15", "KO-30"))
    if not surgery_possible:
        return PathAnswer("sbrt-alone", None, (_FLAG,), (), readings, _cited(fired, "KO-14", "KO-15", "KO-30"))
    cited = _cited(fired, "KO-15", "KO-30")
    if compressed and unstable:
        return PathAnswer("decompression-and-stabilisation-then-sbrt", None, (), (), readings, cited)
    if compressed:
        return PathAnswer("decompression-then-sbrt", "stabilisation", (), (), readings, cited)
    return PathAnswer("stabilisation-then-sbrt", "decompression", (), (), readings, cited)


_UNION = ReadingTaken(
    "KO-13",
    "both criteria call for surgery: decompression and stabilisation",
    ("KO-11 alone: decompression, stabilisation optional", "KO-12 alone: stabilisation, decompression optional"),
)


def _cited(*rules: str) -> tuple[Cited, ...]:
    marks: dict[str, Cited] = {
        "KO-13": Cited("KO-13", "ambiguous", _SOURCE),
        "KO-16": Cited("KO-16", "derived", _SOURCE),
    }
    return tuple(marks.get(rule, Cited(rule, "seed", _SOURCE)) for rule in rules)
