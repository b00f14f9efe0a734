"""A clinical target volume of whole vertebral sectors, as one operation of a target recipe.

The volume that the recipe has so far, the tumour, is spread to the sectors that it touches and those beside them,
vertebra by vertebra. A vertebra is any structure that is called as TG-263 asks, such as VB_C5 or VB_T05, with its whole
bone: body, pedicles, laminae and processes. Where a sector itself is drawn (VB_T05^PedL) it is taken as drawn.

| rule | what | mark |
|---|---|---|
| KO-50 to KO-52 | tumour, six sectors, the ring | seed; ring derived |
| KO-68 | ring or table | ambiguous, default the ring |
| KO-70 | after surgery: extent before it and the bone next to it | first part verified, the rest recalled |
| - | a CTV contains its GTV, with what of it lies outside the bone | derived |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError, MissingStructureError, UndecidedError
from tailort.geometry import EndCap, Margin, expand, intersect, subtract, unite, volume_cm3
from tailort.patient import Structure, StructureSet
from tailort.targets.spreading import RING, BodyExtent, Sector, Spread, Spreading, spread
from tailort.targets.vertebra import (
    LEAST_TOUCH_CM3,
    SECTOR_SUFFIX,
    VertebraSectors,
    sector_name,
    shared_cm3,
    vertebra_sectors,
)

Float = NDArray[np.float64]
Contours = tuple[Float, ...]

BORDER_MM = 2.0
"""How far a constructed border may be off: tumour that reaches no further into a sector, from one beside it in which it
is for sure, touches it at the border only. Constructed, to be reviewed."""

_VERTEBRA = re.compile(r"VB_[CTLS]\d{1,2}", re.IGNORECASE)
_SECTOR_OF: Mapping[str, Sector] = {suffix.lower(): sector for sector, suffix in SECTOR_SUFFIX.items()}


@dataclass(frozen=True)
class SpreadToSectors:
    """Replace a tumour by the vertebral sectors that it touches and those beside them, the tumour with them.

    Parameters
    ----------
    rule : {"ring", "isrc_2012", "all"}
        The ring (KO-52), the table of Cox et al., or all six sectors of every vertebra that is touched (epidural
        disease all round the cord, KO-69).
    canal, cord : str
        Around which sectors lie: the spinal canal or, where it is not drawn, the cord.
    after_surgery : bool
        Whether the volume is the extent before surgery (KO-70), so that bone may be missing.
    levels : tuple of str or None
        Vertebrae that are known to be the target; the tumour must touch these and no others. None is not told.
    involved : tuple of str
        Sectors that a person names beside those that are touched, such as VB_T05^PedL.
    body_extent : str or None
        For the table, where only the body is touched.
    spinous_with_both_pedicles : bool
        For the table: the other reading of KO-64.
    rules : tuple of str
        Ids of the rules that ask for it.
    """

    rule: Spread | Literal["all"] = "ring"
    canal: str = "SpinalCanal"
    cord: str = "SpinalCord"
    after_surgery: bool = False
    levels: tuple[str, ...] | None = None
    involved: tuple[str, ...] = ()
    body_extent: BodyExtent | None = None
    spinous_with_both_pedicles: bool = False
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SectorVolume:
    """What a tumour becomes.

    Parameters
    ----------
    contours : tuple of (n, 3) float
        The sectors and the tumour, LPS mm.
    sectors : tuple of Structure
        All sectors of the vertebrae with tumour that were made.
    notes : tuple of str
        How it came about, vertebra by vertebra.
    """

    contours: Contours
    sectors: tuple[Structure, ...]
    notes: tuple[str, ...] = field(default=())


def spread_to_sectors(
    operation: SpreadToSectors,
    tumour: Structure,
    structures: StructureSet,
    planes_mm: Float,
    *,
    end_cap: EndCap = "half_slice",
) -> SectorVolume:
    """Find the volume of whole sectors that a tumour becomes.

    Parameters
    ----------
    operation : SpreadToSectors
        By which rule.
    tumour : Structure
        GTV, or after surgery the extent before it.
    structures : StructureSet
        With vertebrae and canal or cord.
    planes_mm : (k,) float
        z of the CT planes, ascending, LPS mm.
    end_cap : EndCap
        How the ends of the structures close.

    Raises
    ------
    MissingStructureError
        When no vertebra, or neither canal nor cord, is drawn.
    InputError
        When the tumour touches other vertebrae than those that are named, or a named sector is none.
    GeometryError
        When a sector of the volume has no bone although nothing was operated on.
    UndecidedError
        When the tumour touches no bone, or bone with tumour was removed, and no sector is named; or the table needs
        what is not known.
    """
    spacing = float(np.median(np.diff(planes_mm)))
    vertebrae = {s.name: s for s in structures if _VERTEBRA.fullmatch(s.name) and not s.is_empty}
    if not vertebrae:
        raise MissingStructureError(
            f"no vertebra is drawn that sectors of '{tumour.name}' could be made of; draw the whole bone of each "
            "vertebra with tumour and call it as TG-263 does, such as VB_T05, or map its name with --names FILE"
        )
    around, is_cord = _around(operation, structures)
    named = _named_sectors(operation.involved, vertebrae)
    touched = [
        name for name, vertebra in vertebrae.items()
        if _shared_cm3(vertebra, tumour, planes_mm, end_cap, spacing) >= LEAST_TOUCH_CM3
    ]  # fmt: skip
    levels = list(dict.fromkeys([*touched, *named]))
    _require_levels(operation, tumour.name, touched, levels)

    contours: Contours = tumour.contours
    made: list[Structure] = []
    notes: list[str] = []
    for level in levels:
        own = vertebra_sectors(
            level, vertebrae[level], around, planes_mm, canal_is="cord" if is_cord else "canal", end_cap=end_cap
        )
        own, drawn = _as_drawn(own, structures)
        shared = shared_cm3(own, tumour, planes_mm, end_cap=end_cap)
        found = {sector: cm3 for sector, cm3 in shared.items() if cm3 >= LEAST_TOUCH_CM3}
        at_border = _at_border(own, found, drawn, tumour, planes_mm, end_cap, spacing)
        sure = {sector for sector in found if sector not in at_border} | set(named.get(level, ()))
        involved = [sector for sector in RING if sector in sure]
        _require_bone_before_surgery(operation, own, named.get(level, ()))
        spreading = _spread(operation, level, involved)
        included = _with_bone(operation, own, spreading)
        made += [s for sector, s in own.sectors.items() if not s.is_empty and sector not in drawn]
        for sector in included:
            contours = unite(contours, own.sectors[sector].contours, planes_mm, end_cap, spacing)
        notes.append(_told(own, spreading, found, at_border, included, drawn, around.name))
    return SectorVolume(contours, tuple(made), tuple(notes))


def _around(operation: SpreadToSectors, structures: StructureSet) -> tuple[Structure, bool]:
    for name, is_cord in ((operation.canal, False), (operation.cord, True)):
        found = structures.find(name)
        if found is not None and not found.is_empty:
            return found, is_cord
    raise MissingStructureError(
        f"vertebral sectors lie around '{operation.canal}' or '{operation.cord}', and neither is drawn; draw one of "
        "them along the whole vertebra"
    )


def _named_sectors(names: Sequence[str], vertebrae: Iterable[str]) -> dict[str, tuple[Sector, ...]]:
    """Sectors that a person named, by vertebra as it is drawn."""
    level_of = {name.lower(): name for name in vertebrae}
    found: dict[str, tuple[Sector, ...]] = {}
    for name in names:
        level, _, suffix = name.strip().partition("^")
        if level.lower() not in level_of or suffix.lower() not in _SECTOR_OF:
            raise InputError(
                f"'{name}' is no sector of a vertebra that is drawn: give one of {', '.join(level_of.values())} with "
                f"^ and one of {', '.join(SECTOR_SUFFIX.values())}, such as VB_T05^PedL"
            )
        level = level_of[level.lower()]
        found[level] = (*found.get(level, ()), _SECTOR_OF[suffix.lower()])
    return found


def _shared_cm3(one: Structure, other: Structure, planes: Float, end_cap: EndCap, spacing: float) -> float:
    (low, high), (other_low, other_high) = one.bounds_mm(), other.bounds_mm()
    if (np.minimum(high, other_high) + spacing < np.maximum(low, other_low)).any():
        return 0.0
    both = intersect(one.contours, other.contours, planes, end_cap, spacing)
    return volume_cm3(both, end_cap, spacing) if both else 0.0


def _require_levels(operation: SpreadToSectors, tumour: str, touched: Sequence[str], levels: Sequence[str]) -> None:
    if operation.levels is not None:
        told = {name.lower() for name in operation.levels}
        other = [name for name in levels if name.lower() not in told]
        if other:
            raise InputError(
                f"'{tumour}' involves {', '.join(other)}, and the vertebrae that are to be treated are "
                f"{', '.join(operation.levels)}: check the level and correct the contours or the clinical record"
            )
        there = {name.lower() for name in levels}
        missed = [name for name in operation.levels if name.lower() not in there]
        if missed:
            raise UndecidedError(
                f"'{tumour}' touches no bone of {', '.join(missed)}, which is to be treated: name the sectors that "
                f"are involved, such as {missed[0]}^Body, in involved_sectors",
                ("involved_sectors",),
            )
    if not levels:
        raise UndecidedError(
            f"'{tumour}' shares less than {LEAST_TOUCH_CM3:g} cm3 with every vertebra that is drawn: name the sectors "
            "that are involved, such as VB_T05^Body, in involved_sectors",
            ("involved_sectors",),
        )


def _as_drawn(own: VertebraSectors, structures: StructureSet) -> tuple[VertebraSectors, tuple[Sector, ...]]:
    """Sectors of which those that a person drew are as drawn, and which these are."""
    found = {sector: structures.find(sector_name(own.level, sector)) for sector in RING}
    drawn = {sector: s for sector, s in found.items() if s is not None and not s.is_empty}
    return VertebraSectors(own.level, {**own.sectors, **drawn}, own.anterior), tuple(drawn)


def _at_border(
    own: VertebraSectors,
    found: Mapping[Sector, float],
    drawn: Sequence[Sector],
    tumour: Structure,
    planes: Float,
    end_cap: EndCap,
    spacing: float,
) -> tuple[Sector, ...]:
    """Constructed sectors in which the tumour lies only along the border to a neighbour that has more of it."""
    out: list[Sector] = []
    for sector, cm3 in found.items():
        place = RING.index(sector)
        beside = [RING[(place + step) % len(RING)] for step in (-1, 1)]
        more = [other for other in beside if found.get(other, 0.0) > cm3]
        if sector in drawn or not more:
            continue
        rest = intersect(own.sectors[sector].contours, tumour.contours, planes, end_cap, spacing)
        for other in more:
            near = expand(own.sectors[other].contours, Margin.uniform(BORDER_MM), planes, end_cap, spacing)
            rest = subtract(rest, near, planes, end_cap, spacing) if rest else rest
        if not rest or volume_cm3(rest, end_cap, spacing) < LEAST_TOUCH_CM3:
            out.append(sector)
    return tuple(out)


def _require_bone_before_surgery(operation: SpreadToSectors, own: VertebraSectors, named: Sequence[Sector]) -> None:
    if operation.after_surgery and own.without_bone and not named:
        lacking = ", ".join(sector_name(own.level, sector) for sector in own.without_bone)
        raise UndecidedError(
            f"bone of {lacking} was removed, so whether it had tumour before surgery [KO-70] cannot be seen: name all "
            f"sectors of {own.level} that were involved before, in involved_sectors",
            ("involved_sectors",),
        )


def _spread(operation: SpreadToSectors, level: str, involved: Sequence[Sector]) -> Spreading:
    if not involved:
        raise UndecidedError(
            f"no sector of {level} shares {LEAST_TOUCH_CM3:g} cm3 with the tumour: name those that are involved in "
            "involved_sectors",
            ("involved_sectors",),
        )
    return spread(
        level,
        involved,
        "ring" if operation.rule == "all" else operation.rule,
        body_extent=operation.body_extent,
        spinous_with_both_pedicles=operation.spinous_with_both_pedicles,
        after_surgery=operation.after_surgery,
        circumferential_epidural=operation.rule == "all",
    )


def _with_bone(operation: SpreadToSectors, own: VertebraSectors, spreading: Spreading) -> tuple[Sector, ...]:
    lacking = [sector_name(own.level, sector) for sector in spreading.included if own.sectors[sector].is_empty]
    if lacking and not operation.after_surgery:
        raise GeometryError(
            f"{', '.join(lacking)} would be treated, and '{own.level}' has no bone there: draw the whole vertebra with "
            "its arch, not the body alone"
        )
    return tuple(sector for sector in spreading.included if not own.sectors[sector].is_empty)


def _told(
    own: VertebraSectors,
    spreading: Spreading,
    found: Mapping[Sector, float],
    at_border: Sequence[Sector],
    included: Sequence[Sector],
    drawn: Sequence[Sector],
    around: str,
) -> str:
    def listed(sectors: Iterable[Sector]) -> str:
        return ", ".join(SECTOR_SUFFIX[sector] for sector in sectors)

    touched = ", ".join(
        f"{SECTOR_SUFFIX[sector]} ({f'{found[sector]:.2f} cm3' if sector in found else 'named'})"
        for sector in spreading.touched
    )
    removed = [sector for sector in spreading.included if sector not in included]
    told = [
        f"{own.level}: tumour in {touched}, so {listed(included)}",
        f"sectors drawn: {listed(drawn)}" if drawn else "",
        f"sectors constructed around {around}, to be reviewed" if len(drawn) < len(RING) else "",
        *(
            f"{SECTOR_SUFFIX[sector]} holds {found[sector]:.2f} cm3 within {BORDER_MM:g} mm of the border, which does "
            "not count as touched: to be reviewed"
            for sector in at_border
            if sector not in spreading.touched
        ),
        f"no bone left in {listed(removed)}" if removed else "",
        *spreading.notes,
    ]
    return "; ".join(part for part in told if part) + f" [{', '.join(spreading.rules)}]"
