"""Target volumes and helper structures from a recipe."""

from tailort.targets.borders import Border, CutAt
from tailort.targets.landmarks import LANDMARKS
from tailort.targets.recipe import (
    Contract,
    Crop,
    DropParts,
    Expand,
    Intersect,
    Lengthen,
    Operation,
    Ring,
    Step,
    Subtract,
    TakeStations,
    Unite,
    derive,
    require_inputs,
)
from tailort.targets.station_rules import STATIONS, stations_named
from tailort.targets.stations import to_review

__all__ = [
    "LANDMARKS",
    "STATIONS",
    "Border",
    "Contract",
    "Crop",
    "CutAt",
    "DropParts",
    "Expand",
    "Intersect",
    "Lengthen",
    "Operation",
    "Ring",
    "Step",
    "Subtract",
    "TakeStations",
    "Unite",
    "derive",
    "require_inputs",
    "stations_named",
    "to_review",
]
