"""Protocols as data: rules with their sources, what they prescribe, and whom they admit."""

from tailort.protocols.checks import CheckResult
from tailort.protocols.condition import Answer, Condition, all_of, any_of, not_of
from tailort.protocols.decision import AppliedDefault, Decision, Reason, decide
from tailort.protocols.individual import for_patient
from tailort.protocols.phases import after_hand_over, fractions_to_move, joined
from tailort.protocols.protocol import Comparator, Protocol, ReportMetric
from tailort.protocols.reading import available, describe, load, load_record, parse, read_record
from tailort.protocols.schema import HandOver, PhaseTechnique, ProtocolFile, Rule, Supplement, Technique

__all__ = [
    "Answer",
    "AppliedDefault",
    "CheckResult",
    "Comparator",
    "Condition",
    "Decision",
    "HandOver",
    "PhaseTechnique",
    "Protocol",
    "ProtocolFile",
    "Reason",
    "ReportMetric",
    "Rule",
    "Supplement",
    "Technique",
    "after_hand_over",
    "all_of",
    "any_of",
    "available",
    "decide",
    "describe",
    "for_patient",
    "fractions_to_move",
    "joined",
    "load",
    "load_record",
    "not_of",
    "parse",
    "read_record",
]
