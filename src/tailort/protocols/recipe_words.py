"""Target recipes and techniques in words, for people who do not read protocol files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from tailort.protocols.recipe import BorderEntry, MarginEntry, NamesEntry, StationsEntry, StepEntry
from tailort.protocols.schema import NormalisationEntry, Technique
from tailort.protocols.sectors import SectorsEntry

_SIDES = ("left", "right", "anterior", "posterior", "superior", "inferior")
_KINDS = {"imrt": "IMRT", "vmat": "VMAT", "3dcrt": "3-D conformal"}


def in_words(step: StepEntry) -> str:
    """Say how a structure is made: its inputs, then what is done to them in order.

    Examples
    --------
    >>> in_words(StepEntry(name="Lungs", role="ORGAN", of=("Lung_L", "Lung_R")))
    'Lung_L and Lung_R'
    """
    told = [_names(step), _stations(step.stations), *(operation_in_words(operation) for operation in step.then)]
    return ", ".join(part for part in told if part)


def operation_in_words(operation: BaseModel) -> str:
    """Say what one operation of a recipe does; one without words of its own is told by its keys and values."""
    for name in type(operation).model_fields:
        value = getattr(operation, name)
        if name in ("rules", "when") or value is None:
            continue
        match name, value:
            case "expand", MarginEntry():
                return f"plus {margin_in_words(value)}"
            case "contract", MarginEntry():
                return f"less {margin_in_words(value)}"
            case "unite", NamesEntry():
                return f"with {_names(value)}"
            case "subtract", NamesEntry():
                return f"without {_names(value)}"
            case "intersect", tuple():
                return f"what lies in {_listed(value)} too"
            case "crop", _:
                return f"kept {value.by_mm:g} mm inside {value.inside}"
            case "ring", _:
                return f"the shell from {value.from_mm:g} to {value.to_mm:g} mm around it"
            case "drop_parts", _:
                return f"without parts below {value.below_cm3:g} cm3"
            case "lengthen", _:
                largest = f"the largest of {_listed(value.to_largest_of)}"
                length = largest if value.to_mm is None else f"{value.to_mm:g} mm"
                if value.at_each_end == "nothing":
                    return f"left as drawn, whatever {length} is"
                return f"made as long as {length}, the {value.at_each_end} of what is lacking at each end"
            case "sectors", _:
                return _sectors(value)
            case "borders", _:
                ends = (("above", value.superior), ("below", value.inferior))
                return "cut " + " and ".join(f"{end} {_borders(told)}" for end, told in ends if told)
            case _:
                return f"{name.replace('_', ' ')} {_plain(value)}".strip()
    return ""


def margin_in_words(margin: MarginEntry) -> str:
    """Say a margin.

    Examples
    --------
    >>> margin_in_words(MarginEntry(radial_mm=6, craniocaudal_mm=30))
    '6 mm horizontally and 30 mm craniocaudally'
    """
    if margin.mm is not None:
        return f"{margin.mm:g} mm"
    if margin.radial_mm is not None:
        return f"{margin.radial_mm:g} mm horizontally and {margin.craniocaudal_mm:g} mm craniocaudally"
    return " ".join(f"{side} {getattr(margin, f'{side}_mm'):g}" for side in _SIDES) + " mm"


def technique_in_words(technique: Technique) -> str:
    """Say how the dose is delivered, without the phases that differ."""
    told = _KINDS[technique.kind]
    if technique.arcs is not None:
        told += f", {technique.arcs} arc{'s' * (technique.arcs > 1)}"
    elif technique.arrangement is not None:
        told += f", {technique.arrangement} arrangement"
    elif technique.beams is not None:
        evenly = "evenly spaced" if technique.angles == "equally-spaced" else "at chosen angles"
        told += f", {technique.beams} beams {evenly}"
    else:
        told += f", beams at {', '.join(f'{angle:g}' for angle in technique.gantry_deg)} degrees"
    return told if technique.energy_mv is None else f"{told}, {technique.energy_mv:g} MV"


def normalisation_in_words(entry: NormalisationEntry) -> str:
    """Say how a prescribed dose is tied to the plan."""
    if entry.coverage is not None:
        return f"{entry.coverage} of the target"
    if entry.isodose_percent is not None:
        return f"{entry.isodose_percent:g} % isodose of the point dose"
    if entry.depth_mm is not None:
        return f"{entry.depth_mm:g} mm below the anterior skin"
    assert entry.point_mm is not None
    return f"point {', '.join(f'{mm:g}' for mm in entry.point_mm)} mm"


def _stations(entry: StationsEntry | None) -> str:
    if entry is None:
        return ""
    deep = "" if entry.subcarinal_mm is None else f", 7 down to {entry.subcarinal_mm:g} mm below the carina"
    many = "s" * (len(entry.of) > 1)
    return f"station{many} {_listed(entry.of)} as drawn, else constructed with {entry.reach_mm:g} mm{deep}"


def _borders(borders: Sequence[BorderEntry]) -> str:
    """Heights at which a volume may end; of several the outermost counts."""
    told: dict[str, list[str]] = {}
    for one in borders:
        at = one.landmark or (f"the top of {one.top_of}" if one.top_of else f"the bottom of {one.bottom_of}")
        shift = f"{one.above_mm:g} mm above " if one.above_mm else f"{one.below_mm:g} mm below " if one.below_mm else ""
        told.setdefault(f" (where {one.if_made} is made)" if one.if_made else "", []).append(shift + at)
    groups = [" or ".join(heights) + where for where, heights in told.items()]
    return groups[0] if len(borders) == 1 else f"the outermost of {'; '.join(groups)}"


def _sectors(entry: SectorsEntry) -> str:
    """Vertebral sectors by the protocol's rule, and the facts or findings that they rest on."""
    rule = {"ring": "those that it touches and their neighbours", "isrc_2012": "by the table of Cox et al."}
    told = f"vertebral sectors: {rule.get(entry.by, entry.by)}"
    facts = (entry.levels_from, entry.involved_from, entry.body_extent_from)
    asked = [name for name in facts if name is not None]
    known = [*(entry.levels or ()), *entry.involved]
    told += f", of {_listed(known)}" if known else ""
    return f"{told} (from the record: {_listed(asked)})" if asked else told


def _names(entry: NamesEntry) -> str:
    drawn = f"{_listed(entry.if_drawn)} where drawn" if entry.if_drawn else ""
    return " and ".join(part for part in (_listed(entry.of), drawn) if part)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _plain(value: Any) -> str:
    if isinstance(value, BaseModel):
        given = ((name, getattr(value, name)) for name in type(value).model_fields if name in value.model_fields_set)
        return ", ".join(f"{name.replace('_', ' ')} {_plain(one)}" for name, one in given if name != "rules")
    if isinstance(value, tuple | list):
        return " and ".join(_plain(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
