"""Which sectors of a vertebra make the clinical target volume: by the ring, or by the table of Cox et al.

| rule | what | mark |
|---|---|---|
| KO-51 | six sectors | seed |
| KO-52 | touched sectors and their neighbours; the ring | seed; ring derived |
| KO-60 to KO-62, KO-64 | table of Cox et al.: body, body and both pedicles | recalled; the spinous process ambiguous |
| KO-63, KO-65 to KO-67 | table of Cox et al.: other rows | verified |
| KO-68 | ring or table | ambiguous, default the ring |
| KO-69 | when a CTV may close around the cord | verified |
| KO-70, KO-71 | after surgery | first part of KO-70 verified, the rest recalled |

References
----------
Cox et al., Int J Radiat Oncol Biol Phys 2012;83:e597, doi:10.1016/j.ijrobp.2012.03.009: intact spine.
Redmond et al., Int J Radiat Oncol Biol Phys 2017;97:64, doi:10.1016/j.ijrobp.2016.09.014: after surgery.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tailort.errors import InputError, UndecidedError

Sector = Literal["body", "pedicle_left", "lamina_left", "spinous", "lamina_right", "pedicle_right"]
Spread = Literal["ring", "isrc_2012"]
BodyExtent = Literal["any", "lateral_left", "lateral_right", "diffuse"]

RING: tuple[Sector, ...] = ("body", "pedicle_left", "lamina_left", "spinous", "lamina_right", "pedicle_right")
"""Sectors in the order of the ring (KO-52) and of the numbers 1 to 6 of Cox et al.; a lamina has its transverse
process with it."""


@dataclass(frozen=True)
class Spreading:
    """Which sectors of one vertebra make the clinical target volume, and why.

    Parameters
    ----------
    level : str
        TG-263 name of the vertebra, such as VB_T05.
    touched : tuple of Sector
        Sectors with tumour, in the order of the ring.
    included : tuple of Sector
        Sectors of the CTV, in the order of the ring.
    rules : tuple of str
        Ids of the rules that were applied.
    notes : tuple of str
        What a person should look at.
    """

    level: str
    touched: tuple[Sector, ...]
    included: tuple[Sector, ...]
    rules: tuple[str, ...]
    notes: tuple[str, ...] = ()


def ring_neighbourhood(touched: Iterable[Sector]) -> tuple[Sector, ...]:
    """Sectors with tumour and their neighbours on the ring (KO-52), in the order of the ring."""
    places = [RING.index(sector) for sector in _known(touched)]
    near = {(place + step) % len(RING) for place in places for step in (-1, 0, 1)}
    return tuple(RING[place] for place in sorted(near))


def _cox(found: tuple[Sector, ...], body_extent: BodyExtent | None, spinous: bool) -> tuple[str, tuple[Sector, ...]]:
    """Rule of the row of the table of Cox et al., and its sectors."""
    number = frozenset(RING.index(sector) + 1 for sector in found)
    if number == {1}:
        of_extent: dict[BodyExtent, tuple[str, set[int]]] = {
            "any": ("KO-60", {1}),
            "lateral_left": ("KO-61", {1, 2}),
            "lateral_right": ("KO-61", {1, 6}),
            "diffuse": ("KO-62", {1, 2, 6}),
        }
        if body_extent is None:
            raise UndecidedError(
                "the table of Cox et al. [KO-60 to KO-62] needs to know where in the body the tumour lies: any part, "
                "lateral left, lateral right or diffuse; give body_extent",
                ("body_extent",),
            )
        if body_extent not in of_extent:
            raise InputError(f"unknown extent '{body_extent}' in the body; known are {', '.join(of_extent)}")
        rule, numbers = of_extent[body_extent]
        return rule, _named(numbers)
    rows: dict[frozenset[int], tuple[str, set[int]]] = {
        frozenset({1, 2}): ("KO-63", {1, 2, 3}),
        frozenset({1, 6}): ("KO-63", {1, 5, 6}),
        frozenset({1, 2, 6}): ("KO-64", {1, 2, 3, 5, 6} | ({4} if spinous else set())),
        frozenset({2}): ("KO-65", {2, 3}),
        frozenset({6}): ("KO-65", {5, 6}),
        frozenset({3}): ("KO-66", {2, 3, 4}),
        frozenset({5}): ("KO-66", {4, 5, 6}),
        frozenset({4}): ("KO-67", {3, 4, 5}),
        frozenset(range(1, 7)): ("KO-69", set(range(1, 7))),
    }
    if number not in rows:
        raise UndecidedError(
            f"the table of Cox et al. [KO-60 to KO-69] has no row for tumour in {', '.join(found)}; take the rule of "
            "the ring (KO-68=ring)"
        )
    rule, numbers = rows[number]
    return rule, _named(numbers)


def spread(
    level: str,
    touched: Iterable[Sector],
    rule: Spread = "ring",
    *,
    body_extent: BodyExtent | None = None,
    spinous_with_both_pedicles: bool = False,
    after_surgery: bool = False,
    circumferential_epidural: bool = False,
) -> Spreading:
    """Find the sectors of the CTV of one vertebra.

    Parameters
    ----------
    level : str
        TG-263 name of the vertebra, such as VB_T05.
    touched : iterable of Sector
        Sectors with tumour. After surgery those with tumour before it (KO-70), whether their bone is still there.
    rule : {"ring", "isrc_2012"}
        The rule of the ring (KO-52), the default of KO-68, or the table of Cox et al. for an intact spine.
    body_extent : {"any", "lateral_left", "lateral_right", "diffuse"}, optional
        For the table, where in the body the tumour lies, when only the body is touched (KO-60 to KO-62).
    spinous_with_both_pedicles : bool
        For the table, the other reading of KO-64, in which body and both pedicles take the spinous process too; it
        closes the ring, which KO-69 keeps for tumour in every sector.
    after_surgery : bool
        Whether the vertebra was operated on: sectors before surgery and the bone next to them (KO-70); the bone next
        to them is that of the ring.
    circumferential_epidural : bool
        Epidural disease all round the cord (before surgery, if there was one): every sector (KO-69, KO-70).

    Raises
    ------
    InputError
        For an unknown sector, no sector, or the table of Cox et al. after surgery.
    UndecidedError
        When the table needs the extent in the body and it is unknown, or has no row for these sectors.

    Notes
    -----
    The rows of KO-63 and KO-65 to KO-67 are verified in a stored source, the others recalled.
    """
    found = _known(touched)
    if rule not in ("ring", "isrc_2012"):
        raise InputError(f"unknown rule '{rule}' for the sectors of a CTV; known are ring, isrc_2012")
    if after_surgery and rule == "isrc_2012":
        raise InputError(
            f"{level}: the table of Cox et al. is for an intact spine; after surgery take the rule of the ring [KO-70]"
        )
    if circumferential_epidural:
        return Spreading(level, found, RING, ("KO-51", *(("KO-70", "KO-71") if after_surgery else ("KO-69",))))
    if rule == "isrc_2012":
        row, included = _cox(found, body_extent, spinous_with_both_pedicles)
        rules: tuple[str, ...] = ("KO-51", row, "KO-68")
    else:
        included = ring_neighbourhood(found)
        rules = ("KO-51", "KO-52", *(("KO-70", "KO-71") if after_surgery else ("KO-68",)))
    notes: tuple[str, ...] = ()
    if included == RING and found != RING:
        notes = ("the CTV closes around the cord although not every sector has tumour: to be reviewed [KO-69]",)
    return Spreading(level, found, included, rules, notes)


def _known(sectors: Iterable[Sector]) -> tuple[Sector, ...]:
    found = set(sectors)
    if unknown := found - set(RING):
        raise InputError(f"unknown sectors {', '.join(sorted(unknown))}; known are {', '.join(RING)}")
    if not found:
        raise InputError("no sector with tumour is named; at least one is needed")
    return tuple(sector for sector in RING if sector in found)


def _named(numbers: set[int]) -> tuple[Sector, ...]:
    return tuple(RING[number - 1] for number in sorted(numbers))
