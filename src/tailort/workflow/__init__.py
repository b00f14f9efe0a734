"""A patient's way from start to end, as a few functions."""

from tailort.workflow.clock import StageClock
from tailort.workflow.evaluating import evaluate
from tailort.workflow.options import PlanningOptions, setup_errors
from tailort.workflow.planning import plan
from tailort.workflow.recalculating import Recalculation, recalculate
from tailort.workflow.records import (
    AmendmentFinding,
    Convergence,
    Evaluation,
    PhasePlan,
    PlanningRun,
    PlanResult,
    Stage,
)
from tailort.workflow.registering import register_courses
from tailort.workflow.reirradiating import Reirradiation, reirradiate
from tailort.workflow.trading import Asked, Trading, trade

__all__ = [
    "AmendmentFinding",
    "Asked",
    "Convergence",
    "Evaluation",
    "PhasePlan",
    "PlanResult",
    "PlanningOptions",
    "PlanningRun",
    "Recalculation",
    "Reirradiation",
    "Stage",
    "StageClock",
    "Trading",
    "evaluate",
    "plan",
    "recalculate",
    "register_courses",
    "reirradiate",
    "setup_errors",
    "trade",
]
