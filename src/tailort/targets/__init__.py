"""Target volumes and helper structures from a recipe."""

from tailort.targets.borders import Border, CutAt
from tailort.targets.delineation import Shaping
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
from tailort.targets.subvolumes import SubVolume, subvolume
from tailort.targets.uptake_methods import METHODS, Chosen, chosen_method

__all__ = [
    "LANDMARKS",
    "METHODS",
    "STATIONS",
    "Border",
    "Chosen",
    "Contract",
    "Crop",
    "CutAt",
    "DropParts",
    "Expand",
    "Intersect",
    "Lengthen",
    "Operation",
    "Ring",
    "Shaping",
    "Step",
    "SubVolume",
    "Subtract",
    "TakeStations",
    "Unite",
    "chosen_method",
    "derive",
    "require_inputs",
    "stations_named",
    "subvolume",
    "to_review",
]
