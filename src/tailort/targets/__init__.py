"""Target volumes and helper structures from a recipe."""

from tailort.targets.recipe import (
    Contract,
    Crop,
    DropParts,
    Expand,
    Intersect,
    Operation,
    Ring,
    Step,
    Subtract,
    Unite,
    derive,
    require_inputs,
)

__all__ = [
    "Contract",
    "Crop",
    "DropParts",
    "Expand",
    "Intersect",
    "Operation",
    "Ring",
    "Step",
    "Subtract",
    "Unite",
    "derive",
    "require_inputs",
]
