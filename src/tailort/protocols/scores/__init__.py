"""Scores as pure functions: answers with their rules, an unknown stays unknown."""

from tailort.protocols.scores.basis import Cited, ReadingTaken
from tailort.protocols.scores.body_surface import BsaAnswer, BsaFormula, body_surface
from tailort.protocols.scores.calendar_text import Event, icalendar
from tailort.protocols.scores.instability import (
    SinsAnswer,
    SpinalLevel,
    collapse_of,
    level_of_record,
    located,
    location_of,
    score_level,
    sins,
)
from tailort.protocols.scores.recist import (
    MeasurableAnswer,
    ResponseAnswer,
    TargetLesion,
    measurable,
    respond,
)
from tailort.protocols.scores.score_tables import LesionTable, parse_lesions, parse_levels
from tailort.protocols.scores.spine_path import PathAnswer, spine_path

__all__ = [
    "BsaAnswer", "BsaFormula", "Cited", "Event", "LesionTable", "MeasurableAnswer", "PathAnswer", "ReadingTaken",
    "ResponseAnswer", "SinsAnswer", "SpinalLevel", "TargetLesion", "body_surface", "collapse_of", "icalendar",
    "level_of_record", "located", "location_of", "measurable", "parse_lesions", "parse_levels", "respond",
    "score_level", "sins", "spine_path",
]  # fmt: skip
