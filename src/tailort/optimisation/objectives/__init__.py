"""What is asked of the dose of one structure, as functions with their derivatives."""

from tailort.optimisation.objectives.at_most import AtMost
from tailort.optimisation.objectives.dose_volume import MaxDoseVolume, MinDoseVolume
from tailort.optimisation.objectives.equivalent_uniform import SquaredEUDOverdose, SquaredEUDUnderdose
from tailort.optimisation.objectives.fall_off import FallOff, ring_rows
from tailort.optimisation.objectives.homogeneity import SquaredSpread
from tailort.optimisation.objectives.mean import MeanDose, SquaredMeanOverdose
from tailort.optimisation.objectives.objective import Objective
from tailort.optimisation.objectives.outcome import ComplicationAbove, ControlBelow, outcome_objective
from tailort.optimisation.objectives.quantity import Added, LinearQuadratic, Physical, Quantity
from tailort.optimisation.objectives.squared import SquaredOverdose, SquaredUnderdose, UniformDose
from tailort.optimisation.objectives.tail import SquaredTailOverdose, SquaredTailUnderdose, TailMean, convex_form

OBJECTIVES: dict[str, type[Objective]] = {
    "squared-overdose": SquaredOverdose,
    "squared-underdose": SquaredUnderdose,
    "uniform-dose": UniformDose,
    "max-dose-volume": MaxDoseVolume,
    "min-dose-volume": MinDoseVolume,
    "mean-dose": MeanDose,
    "squared-mean-overdose": SquaredMeanOverdose,
    "squared-eud-overdose": SquaredEUDOverdose,
    "squared-eud-underdose": SquaredEUDUnderdose,
    "tail-mean": TailMean,
    "squared-tail-overdose": SquaredTailOverdose,
    "squared-tail-underdose": SquaredTailUnderdose,
    "squared-spread": SquaredSpread,
    "fall-off": FallOff,
    "complication-above": ComplicationAbove,
    "control-below": ControlBelow,
}

__all__ = [
    "OBJECTIVES",
    "Added",
    "AtMost",
    "ComplicationAbove",
    "ControlBelow",
    "FallOff",
    "LinearQuadratic",
    "MaxDoseVolume",
    "MeanDose",
    "MinDoseVolume",
    "Objective",
    "Physical",
    "Quantity",
    "SquaredEUDOverdose",
    "SquaredEUDUnderdose",
    "SquaredMeanOverdose",
    "SquaredOverdose",
    "SquaredSpread",
    "SquaredTailOverdose",
    "SquaredTailUnderdose",
    "SquaredUnderdose",
    "TailMean",
    "UniformDose",
    "convex_form",
    "outcome_objective",
    "ring_rows",
]
