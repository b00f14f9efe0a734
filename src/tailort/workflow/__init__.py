"""A patient's way from start to end, as a few functions."""

from tailort.workflow.clock import StageClock
from tailort.workflow.evaluating import evaluate
from tailort.workflow.planning import PlanningOptions, plan
from tailort.workflow.recalculating import Recalculation, recalculate
from tailort.workflow.records import Convergence, Evaluation, PlanningRun, PlanResult, Stage

__all__ = [
    "Convergence",
    "Evaluation",
    "PlanResult",
    "PlanningOptions",
    "PlanningRun",
    "Recalculation",
    "Stage",
    "StageClock",
    "evaluate",
    "plan",
    "recalculate",
]
