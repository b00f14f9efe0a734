"""Regions of recurrence by nodal station, and which of them lie close to or far from each other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from tailort.errors import InputError
from tailort.protocols.section import Name, Section


class RegionEntry(Section):
    """A region and the stations (AJCC, 8th edition, without side) and other sites that belong to it."""

    name: Name
    stations: tuple[Name, ...] = Field(min_length=1)
    rules: tuple[str, ...] = ()


class RegionsSection(Section):
    """Regions, and the pairs that make a recurrence distant regional; every other combination is close."""

    regions: tuple[RegionEntry, ...] = Field(min_length=1)
    distant: tuple[tuple[Name, Name], ...] = ()
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_are_known_and_single(self) -> Self:
        names = [region.name for region in self.regions]
        stations = [station for region in self.regions for station in region.stations]
        for told in (names, stations):
            for name in told:
                if told.count(name) > 1:
                    raise ValueError(f"'{name}' is given twice")
        for pair in self.distant:
            for name in pair:
                if name not in names:
                    raise ValueError(f"'{name}' is no region; known are {', '.join(names)}")
        return self


@dataclass(frozen=True)
class Involved:
    """Regions in which a recurrence lies.

    Parameters
    ----------
    regions : tuple of str
        In the order of the protocol.
    undetermined : tuple of str
        Stations that are in no region of the protocol.
    """

    regions: tuple[str, ...]
    undetermined: tuple[str, ...]


def regions_of(section: RegionsSection, stations: Iterable[str]) -> Involved:
    """Return the regions of stations such as 4L, 7 or 8M; the side is not needed.

    Raises
    ------
    InputError
        When a station is written so that it could lie in several regions, such as 8 or 8L.
    """
    of = {station: region.name for region in section.regions for station in region.stations}
    found: set[str] = set()
    undetermined: dict[str, None] = {}
    for told in stations:
        name = told.strip()
        bare = name if name in of else name[:-1] if name[-1:] in ("R", "L") else name
        if bare in of:
            found.add(of[bare])
            continue
        parts = [station for station in of if re.fullmatch(rf"{re.escape(bare)}[A-Za-z]+", station)]
        if parts:
            raise InputError(f"station '{told}' is not clear: expected one of {', '.join(parts)}")
        undetermined[told] = None
    return Involved(tuple(r.name for r in section.regions if r.name in found), tuple(undetermined))


def pairing(section: RegionsSection, regions: Iterable[str]) -> Literal["close", "distant"]:
    """Return whether any two of the regions are a distant pair; one region alone is close."""
    involved = set(regions)
    return "distant" if any(set(pair) <= involved for pair in section.distant) else "close"
