"""The report page."""

from tailort.web.evaluation_report import evaluation_report
from tailort.web.planning_report import planning_report
from tailort.web.recalculation_report import recalculation_report
from tailort.web.registration_report import registration_report
from tailort.web.reirradiation_report import reirradiation_report
from tailort.web.trading_report import trading_report

__all__ = [
    "evaluation_report", "planning_report", "recalculation_report", "registration_report", "reirradiation_report",
    "trading_report",
]  # fmt: skip
