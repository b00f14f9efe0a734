"""Judging a dose: histograms, metrics, indices, scorecard and comparison."""

from tailort.evaluation.biological import convert
from tailort.evaluation.comparison import Arm, ComparedRow, Comparison, PrescribedLevel, compare
from tailort.evaluation.dvh import DVH, dvh, histograms
from tailort.evaluation.indices import (
    gradient_index,
    homogeneity_index,
    isodose_volume_cm3,
    paddick_conformity_index,
    rtog_conformity_index,
)
from tailort.evaluation.scorecard import DEFAULT_METRICS, Row, Scorecard, assess

__all__ = [
    "DEFAULT_METRICS",
    "DVH",
    "Arm",
    "ComparedRow",
    "Comparison",
    "PrescribedLevel",
    "Row",
    "Scorecard",
    "assess",
    "compare",
    "convert",
    "dvh",
    "gradient_index",
    "histograms",
    "homogeneity_index",
    "isodose_volume_cm3",
    "paddick_conformity_index",
    "rtog_conformity_index",
]
