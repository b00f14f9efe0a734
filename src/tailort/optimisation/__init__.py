"""Optimisation: from prescriptions and limits to the beams of a deliverable plan.

`arrange` and `beamlets_covering` place the beams, `objectives_from` reads the protocol, `solve` finds the fluence,
`sequence` makes it deliverable.
"""

from tailort.optimisation.aperture import LeafField, Openings, SegmentDose, fluence_of, leaf_fields
from tailort.optimisation.arrange import arrange, beamlets_covering, equispaced, isocentre
from tailort.optimisation.delivery_time import BeamDelivery, PlanDelivery, delivery_of
from tailort.optimisation.goals import Goals, Recipe, allowed_dose_gy, distances_mm, objectives_from
from tailort.optimisation.leaf_sequence import decompose, monitor_units
from tailort.optimisation.objectives import OBJECTIVES, Objective
from tailort.optimisation.problem import DoseMap, Limit, Problem, Smoothness, VoxelSet, Wish
from tailort.optimisation.sequence import Delivery, reweighed, sequence
from tailort.optimisation.solve import Effort, Excess, Progress, Solution, reference_weight, solve

__all__ = [
    "OBJECTIVES",
    "BeamDelivery",
    "Delivery",
    "DoseMap",
    "Effort",
    "Excess",
    "Goals",
    "LeafField",
    "Limit",
    "Objective",
    "Openings",
    "PlanDelivery",
    "Problem",
    "Progress",
    "Recipe",
    "SegmentDose",
    "Smoothness",
    "Solution",
    "VoxelSet",
    "Wish",
    "allowed_dose_gy",
    "arrange",
    "beamlets_covering",
    "decompose",
    "delivery_of",
    "distances_mm",
    "equispaced",
    "fluence_of",
    "isocentre",
    "leaf_fields",
    "monitor_units",
    "objectives_from",
    "reference_weight",
    "reweighed",
    "sequence",
    "solve",
]
