"""Regions of recurrence by nodal station, and which of them lie close to or far from each other."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

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
