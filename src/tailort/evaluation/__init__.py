"""Judging a dose: histograms, metrics, indices, scorecard and comparison."""

from tailort.evaluation.accumulation import EarlierCourse, accumulate
from tailort.evaluation.biological import convert
from tailort.evaluation.comparison import Arm, ComparedRow, Comparison, PrescribedLevel, compare
from tailort.evaluation.dvh import DVH, cells_of, dvh, dvh_in, histograms
from tailort.evaluation.indices import (
    INDICES,
    gradient_index,
    homogeneity_index,
    index_rows,
    isodose_volume_cm3,
    paddick_conformity_index,
    rtog_conformity_index,
)
from tailort.evaluation.robustness import Band, Robustness, RobustRow, judge_scenarios, over_scenarios
from tailort.evaluation.robustness_doses import from_cloud, from_engine
from tailort.evaluation.robustness_scenarios import Scenario, ScenarioSet, within
from tailort.evaluation.scorecard import DEFAULT_METRICS, Row, Scorecard, assess

__all__ = [
    "DEFAULT_METRICS",
    "DVH",
    "INDICES",
    "Arm",
    "Band",
    "ComparedRow",
    "Comparison",
    "EarlierCourse",
    "PrescribedLevel",
    "RobustRow",
    "Robustness",
    "Row",
    "Scenario",
    "ScenarioSet",
    "Scorecard",
    "accumulate",
    "assess",
    "cells_of",
    "compare",
    "convert",
    "dvh",
    "dvh_in",
    "from_cloud",
    "from_engine",
    "gradient_index",
    "histograms",
    "homogeneity_index",
    "index_rows",
    "isodose_volume_cm3",
    "judge_scenarios",
    "over_scenarios",
    "paddick_conformity_index",
    "rtog_conformity_index",
    "within",
]
