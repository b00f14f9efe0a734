"""Response by RECIST 1.1 from a table of lesions.

| rule | what | mark |
|---|---|---|
| MS-100 | response by RECIST 1.1 | seed |
| NM-110 | what is measurable | lit-verified, the slice thickness lit-recalled |
| NM-111 | at most 5 target lesions, at most 2 an organ; their sum | lit-verified |
| NM-112 | irradiated lesions | lit-verified |
| NM-113 | response of target lesions | lit-verified, the order derived |
| NM-114 | response of non-target lesions | lit-recalled |
| NM-115 | overall response | lit-recalled |
| NM-116 | too small to measure 5 mm, disappeared 0 | lit-recalled |
| NM-118 | hollow organs are usually non-target | lit-recalled |

References
----------
Eisenhauer EA et al., Eur J Cancer 2009;45:228. DOI 10.1016/j.ejca.2008.10.026
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal, get_args

from tailort.errors import InputError
from tailort.protocols.scores.basis import Cited, ReadingTaken, one_of, positive

Response = Literal["CR", "PR", "SD", "PD", "NE"]
NonTarget = Literal["CR", "non-CR/non-PD", "PD", "NE", "none"]
Measurable = Literal["measurable", "non-target", "normal"]

MOST_TARGETS = 5
MOST_TARGETS_PER_ORGAN = 2

_SHORTEST_MM = 10
_SHORTEST_NODE_MM = 15
_NORMAL_NODE_MM = 10
_THICKEST_SLICE_MM = 5
_REMAINS = Fraction(7, 10)
_GROWN = Fraction(12, 10)
_GROWN_BY_MM = 5
_SOURCE = "RECIST 1.1"
_MEASURABLE_BY = (
    Cited("NM-110", "lit-recalled", _SOURCE),
    Cited("NM-112", "lit-verified", _SOURCE),
    Cited("NM-118", "lit-recalled", _SOURCE),
)
_ASKED_BY = Cited("MS-100", "seed", "modularised salvage chemoradiation, NCT03731442")
_TARGETS_BY = tuple(Cited(rule, "lit-verified", _SOURCE) for rule in ("NM-111", "NM-113"))
_RESPONSE_BY = tuple(Cited(rule, "lit-recalled", _SOURCE) for rule in ("NM-114", "NM-115", "NM-116"))


@dataclass(frozen=True)
class MeasurableAnswer:
    """Whether a lesion is measurable.

    Parameters
    ----------
    kind : Measurable or None
        "normal" is a node below 10 mm; None is unknown.
    flags : tuple of str
        What a clinician must see.
    missing : tuple of str
        What is unknown.
    cited : tuple of Cited
        Rules that took part.
    """

    kind: Measurable | None
    flags: tuple[str, ...]
    missing: tuple[str, ...]
    cited: tuple[Cited, ...]


@dataclass(frozen=True)
class TargetLesion:
    """A target lesion, measured at every examination.

    Parameters
    ----------
    name, organ : str
        The lesion; nodes of all stations are one organ, named by the caller.
    nodal : bool
        Whether it is a lymph node, measured by its short axis; others by their longest diameter.
    sizes_mm : tuple of float or None
        At baseline first, then at each examination up to the one that is judged; None was not measured.
    """

    name: str
    organ: str
    nodal: bool
    sizes_mm: tuple[float | None, ...]

    def __post_init__(self) -> None:
        if not self.sizes_mm or self.sizes_mm[0] is None:
            raise InputError(f"target lesion '{self.name}' has no size at baseline; without it there is no response")
        for size in self.sizes_mm:
            if size is not None and (isinstance(size, bool) or not math.isfinite(size) or size < 0):
                raise InputError(f"target lesion '{self.name}' is {size} mm; expected a finite number of 0 or more")
        shortest = _SHORTEST_NODE_MM if self.nodal else _SHORTEST_MM
        if self.sizes_mm[0] < shortest:
            raise InputError(
                f"target lesion '{self.name}' is {self.sizes_mm[0]:g} mm at baseline; a target "
                f"{'node (short axis)' if self.nodal else 'lesion'} has at least {shortest} mm: make it non-target"
            )


@dataclass(frozen=True)
class ResponseAnswer:
    """Response at the last examination of a table.

    Parameters
    ----------
    overall : Response or None
        None is unknown; "NE" is known to be not evaluable.
    target : Response or None
        Of the target lesions; None without any.
    non_target : NonTarget or None
        As it was given.
    sum_mm, baseline_mm, nadir_mm : float or None
        Sums of sizes: now, at baseline, and the smallest one before now, baseline included. `sum_mm` is None when a
        lesion was not measured.
    flags : tuple of str
        What a clinician must see.
    missing : tuple of str
        What is unknown.
    readings : tuple of ReadingTaken
        Readings that took part.
    cited : tuple of Cited
        Rules that took part.
    """

    overall: Response | None
    target: Response | None
    non_target: NonTarget | None
    sum_mm: float | None
    baseline_mm: float | None
    nadir_mm: float | None
    flags: tuple[str, ...]
    missing: tuple[str, ...]
    readings: tuple[ReadingTaken, ...]
    cited: tuple[Cited, ...]


def measurable(
    size_mm: float | None,
    nodal: bool,
    slice_mm: float | None,
    irradiated: bool | None,
    progressed_since: bool | None,
    hollow_organ: bool | None,
) -> MeasurableAnswer:
    """Tell whether a lesion can be a target; None is unknown.

    Parameters
    ----------
    size_mm : float or None
        Longest diameter, of a node the short axis, mm.
    nodal : bool
        Whether it is a lymph node.
    slice_mm : float or None
        Slice thickness of the CT, mm; the sizes are those for 5 mm and less.
    irradiated : bool or None
        Whether it lies in an irradiated area (NM-112).
    progressed_since : bool or None
        Whether it has progressed since then.
    hollow_organ : bool or None
        Whether it is an oesophageal primary or lies in the gastric tube (NM-118, a flag only).

    Raises
    ------
    InputError
        When a size is not above zero.
    """
    for value, what in ((size_mm, "the size in mm"), (slice_mm, "the slice thickness in mm")):
        if value is not None:
            positive(value, what)
    cited = _MEASURABLE_BY
    if size_mm is None:
        return MeasurableAnswer(None, (), ("size_mm",), cited)
    if nodal and size_mm < _NORMAL_NODE_MM:
        return MeasurableAnswer("normal", (), (), cited)
    if size_mm < (_SHORTEST_NODE_MM if nodal else _SHORTEST_MM):
        return MeasurableAnswer("non-target", (), (), cited)
    if irradiated and progressed_since is False:
        return MeasurableAnswer("non-target", ("in an irradiated area without progression (NM-112)",), (), cited)
    if slice_mm is not None and slice_mm > _THICKEST_SLICE_MM:
        flag = f"slices of {slice_mm:g} mm: the smallest measurable size is not told for more than 5 mm (NM-110)"
        return MeasurableAnswer(None, (flag,), (), cited)
    missing = ["slice_mm"] if slice_mm is None else []
    if irradiated is None and progressed_since is not True:
        missing.append("irradiated")
    if irradiated is not False and progressed_since is None:
        missing.append("progressed_since")
    if missing:
        return MeasurableAnswer(None, (), tuple(missing), cited)
    if hollow_organ is None:
        return MeasurableAnswer("measurable", ("whether it lies in a hollow organ is not known (NM-118)",), (), cited)
    flags = ("in a hollow organ: usually non-target (NM-118)",) if hollow_organ else ()
    return MeasurableAnswer("measurable", flags, (), cited)


def respond(lesions: Sequence[TargetLesion], non_target: NonTarget | None, new_lesion: bool | None) -> ResponseAnswer:
    """Judge the last examination of a table of lesions.

    Parameters
    ----------
    lesions : sequence of TargetLesion
        Target lesions, all with equally many sizes, at least two; none where there is only non-target disease.
    non_target : NonTarget or None
        Response of the non-target lesions as a reader judged it; "none" where there are none; "NE" where they were not
        evaluated; None when it is unknown.
    new_lesion : bool or None
        Whether there is a new lesion; None is unknown.

    Raises
    ------
    InputError
        When there are too many target lesions, a name is there twice, or the sizes do not go together.

    Examples
    --------
    >>> respond([TargetLesion("node", "lymph nodes", True, (80.0, 50.0, 60.0))], "none", False).overall
    'PD'
    """
    _check(lesions, non_target)
    target = _target(lesions) if lesions else None
    overall, missing = _overall(target.response if target else None, non_target, new_lesion)
    cited = (_ASKED_BY, *(_TARGETS_BY if lesions else ()), *_RESPONSE_BY)
    return ResponseAnswer(
        overall=overall,
        target=target.response if target else None,
        non_target=non_target,
        sum_mm=target.sum_mm if target else None,
        baseline_mm=target.baseline_mm if target else None,
        nadir_mm=target.nadir_mm if target else None,
        flags=target.flags if target else ((_NO_RESPONSE_TOLD,) if overall is None and not missing else ()),
        missing=(*(target.missing if target and overall == "NE" else ()), *missing),
        readings=target.readings if target else (),
        cited=cited,
    )


@dataclass(frozen=True)
class _Target:
    response: Response
    sum_mm: float | None
    baseline_mm: float
    nadir_mm: float
    flags: tuple[str, ...]
    missing: tuple[str, ...]
    readings: tuple[ReadingTaken, ...]


def _check(lesions: Sequence[TargetLesion], non_target: NonTarget | None) -> None:
    if non_target is not None:
        one_of(non_target, get_args(NonTarget), "the response of the non-target lesions")
    if not lesions and non_target == "none":
        raise InputError("there are neither target nor non-target lesions; a response needs one")
    if len(lesions) > MOST_TARGETS:
        raise InputError(f"there are {len(lesions)} target lesions; RECIST 1.1 takes at most {MOST_TARGETS}")
    for organ, count in Counter(lesion.organ for lesion in lesions).items():
        if count > MOST_TARGETS_PER_ORGAN:
            raise InputError(
                f"there are {count} target lesions of '{organ}'; at most {MOST_TARGETS_PER_ORGAN} an organ"
            )
    for name, count in Counter(lesion.name for lesion in lesions).items():
        if count > 1:
            raise InputError(f"target lesion '{name}' is there {count} times")
    counts = {len(lesion.sizes_mm) for lesion in lesions}
    if len(counts) > 1 or counts == {1}:
        raise InputError(
            "every target lesion needs as many sizes as the others, at baseline and at one examination or more; found "
            + ", ".join(f"{lesion.name} {len(lesion.sizes_mm)}" for lesion in lesions)
        )


@lru_cache(maxsize=4096)
def _exact(size: float) -> Fraction | int:
    # 0.7 x 80 mm is 56 mm, not a bit less: sizes are decimals as printed.
    exact = Fraction(str(size))
    return exact.numerator if exact.denominator == 1 else exact


def _target(lesions: Sequence[TargetLesion]) -> _Target:
    visits = list(zip(*(lesion.sizes_mm for lesion in lesions), strict=True))
    earlier = [sum(map(_exact, known)) for sizes in visits[:-1] if len(known := _known(sizes)) == len(sizes)]
    baseline, nadir = earlier[0], min(earlier)
    flags = []
    if len(earlier) < len(visits) - 1:
        flags.append("an earlier examination was not complete and is not asked for the smallest sum")
    measured = _known(visits[-1])
    now = sum(map(_exact, measured))
    missing = tuple(f"size of {lesion.name}" for lesion in lesions if lesion.sizes_mm[-1] is None)
    grown = now >= _GROWN * nadir and now - nadir >= _GROWN_BY_MM
    gone = not missing and all(
        size < _NORMAL_NODE_MM if lesion.nodal else size == 0 for lesion, size in zip(lesions, measured, strict=True)
    )
    readings: tuple[ReadingTaken, ...] = ()
    response: Response
    if gone:
        response = "CR"
        if grown:
            readings = (ReadingTaken("NM-113", "all nodes below 10 mm are CR although their sum has grown", ("PD",)),)
    elif grown:
        response = "PD"
        if missing:
            flags.append("what was measured is already progression")
    elif missing:
        response = "NE"
    else:
        response = "PR" if now <= _REMAINS * baseline else "SD"
    return _Target(
        response, None if missing else float(now), float(baseline), float(nadir), tuple(flags), missing, readings
    )


def _known(sizes: Sequence[float | None]) -> list[float]:
    return [size for size in sizes if size is not None]


def _overall(
    target: Response | None, non_target: NonTarget | None, new_lesion: bool | None
) -> tuple[Response | None, tuple[str, ...]]:
    if new_lesion or target == "PD" or non_target == "PD":
        return "PD", ()
    unknown = [name for name, value in (("non_target", non_target), ("new_lesion", new_lesion)) if value is None]
    if unknown:
        # Each could still be progression.
        return None, tuple(unknown)
    if target is None:
        return _NON_TARGET_ONLY[non_target or "NE"], ()
    if target == "CR":
        return ("CR" if non_target in ("CR", "none") else "PR"), ()
    return target, ()


# Without measurable disease there is no partial response; NM-115 does not print this, so it is not made up.
_NO_RESPONSE_TOLD = "no target lesion and non-target lesions neither gone nor progressing: NM-115 names no response"
_NON_TARGET_ONLY: dict[str, Response | None] = {"CR": "CR", "non-CR/non-PD": None, "NE": "NE"}
