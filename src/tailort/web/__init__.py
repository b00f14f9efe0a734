"""The report page."""

from tailort.web.report import evaluation_report, planning_report, recalculation_report, trading_report

__all__ = ["evaluation_report", "planning_report", "recalculation_report", "trading_report"]
