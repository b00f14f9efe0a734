"""Protocols as data: rules with their sources, what they prescribe, and whom they admit."""

from tailort.protocols.checks import CheckResult, DoseLevel
from tailort.protocols.condition import Answer, Condition, all_of, any_of, not_of
from tailort.protocols.decision import AppliedDefault, Decision, Reason, decide
from tailort.protocols.protocol import Comparator, Protocol, ReportMetric
from tailort.protocols.reading import available, describe, load, load_record, parse, read_record
from tailort.protocols.schema import ProtocolFile, Rule, Technique

__all__ = [
    "Answer",
    "AppliedDefault",
    "CheckResult",
    "Comparator",
    "Condition",
    "Decision",
    "DoseLevel",
    "Protocol",
    "ProtocolFile",
    "Reason",
    "ReportMetric",
    "Rule",
    "Technique",
    "all_of",
    "any_of",
    "available",
    "decide",
    "describe",
    "load",
    "load_record",
    "not_of",
    "parse",
    "read_record",
]
