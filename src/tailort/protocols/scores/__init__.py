"""Scores as pure functions: answers with their rules, an unknown stays unknown."""

from tailort.protocols.scores.basis import Cited, Mark, ReadingTaken
from tailort.protocols.scores.body_surface import BsaAnswer, BsaFormula, body_surface
from tailort.protocols.scores.calendar_text import Event, icalendar
from tailort.protocols.scores.instability import SinsAnswer, SpinalLevel, collapse_of, location_of, sins, sins_class
from tailort.protocols.scores.recist import (
    MeasurableAnswer,
    ResponseAnswer,
    TargetLesion,
    measurable,
    respond,
)
from tailort.protocols.scores.score_tables import LesionTable, parse_lesions, parse_levels
from tailort.protocols.scores.spine_path import BILSKY_ORDER, PathAnswer, bilsky_rank, is_high_grade, spine_path

__all__ = [
    "BILSKY_ORDER", "BsaAnswer", "BsaFormula", "Cited", "Event", "LesionTable", "Mark", "MeasurableAnswer",
    "PathAnswer", "ReadingTaken", "ResponseAnswer", "SinsAnswer", "SpinalLevel", "TargetLesion", "bilsky_rank",
    "body_surface", "collapse_of", "icalendar", "is_high_grade", "location_of", "measurable", "parse_lesions",
    "parse_levels", "respond", "sins", "sins_class", "spine_path",
]  # fmt: skip
