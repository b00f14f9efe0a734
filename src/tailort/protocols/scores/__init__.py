"""Scores, drugs and calendars of the protocols as pure functions: answers with their rules, never orders."""

from tailort.protocols.scores.basis import Cited, Mark, ReadingTaken
from tailort.protocols.scores.body_surface import BsaAnswer, BsaFormula, body_surface
from tailort.protocols.scores.calendar_text import Event, icalendar
from tailort.protocols.scores.drug_doses import (
    DoseReading,
    DrugAnswer,
    YesNoUnknown,
    consolidation,
    drug_dose,
    salvage_cycle,
    second_line,
    weight_loss_percent,
)
from tailort.protocols.scores.instability import SinsAnswer, SpinalLevel, collapse_of, location_of, sins, sins_class
from tailort.protocols.scores.months import (
    add_months,
    completed_months,
    completed_years,
    longer_than_months,
    within_months,
    within_weeks,
)
from tailort.protocols.scores.recist import (
    MeasurableAnswer,
    ResponseAnswer,
    TargetLesion,
    measurable,
    respond,
)
from tailort.protocols.scores.spine_path import BILSKY_ORDER, PathAnswer, bilsky_rank, is_high_grade, spine_path
from tailort.protocols.scores.toxicity import ActionAnswer, Toxicity, action_after, recovered, report_by
from tailort.protocols.scores.visits import (
    CalendarAnswer,
    Days,
    cycle_day,
    e0113_drug_days,
    events_of,
    follow_up,
    follow_up_months,
    response_window,
    salvage_drug_days,
)

__all__ = [
    "BILSKY_ORDER", "ActionAnswer", "BsaAnswer", "BsaFormula", "CalendarAnswer", "Cited", "Days", "DoseReading",
    "DrugAnswer", "Event", "Mark", "MeasurableAnswer", "PathAnswer", "ReadingTaken", "ResponseAnswer", "SinsAnswer",
    "SpinalLevel", "TargetLesion", "Toxicity", "YesNoUnknown", "action_after", "add_months", "bilsky_rank",
    "body_surface", "collapse_of", "completed_months", "completed_years", "consolidation", "cycle_day", "drug_dose",
    "e0113_drug_days", "events_of", "follow_up", "follow_up_months", "icalendar", "is_high_grade", "location_of",
    "longer_than_months", "measurable", "recovered", "report_by", "respond", "response_window", "salvage_cycle",
    "salvage_drug_days", "second_line", "sins", "sins_class", "spine_path", "weight_loss_percent", "within_months",
    "within_weeks",
]  # fmt: skip
