"""Does a protocol admit this patient: yes, no or not known yet, with every reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tailort.errors import NotEligibleError, UndecidedError
from tailort.patient import Fact
from tailort.protocols.condition import Answer, Finding, in_words
from tailort.protocols.known import known_facts
from tailort.protocols.protocol import Protocol


@dataclass(frozen=True)
class Reason:
    """One condition that was looked at.

    Parameters
    ----------
    rule, rule_text, source, mark : str
        The rule: id, sentence, document, how sure it is; empty where the file names no rule.
    condition : str
        What was asked.
    answer : {"yes", "no", "unknown"}
        Whether the condition holds.
    facts : dict of Fact or None
        The facts seen; None is unknown.
    parts : tuple of Reason
        Of the conditions it is made of, when it is an alternative or an exclusion.
    """

    rule: str
    rule_text: str
    source: str
    mark: str
    condition: str
    answer: Answer
    facts: Mapping[str, Fact | None]
    parts: tuple[Reason, ...] = ()

    @property
    def text(self) -> str:
        """What was asked, the answer, and the values seen, in one line."""
        seen = ", ".join(
            f"{name} {'not known' if fact is None else in_words(fact.value)}" for name, fact in self.facts.items()
        )
        return f"{self.condition}: {self.answer} ({seen})"

    def as_dict(self) -> dict[str, Any]:
        """Return the reason ready for JSON; an unknown fact is null."""
        return {
            "rule": self.rule,
            "text": self.text,
            "rule_text": self.rule_text,
            "source": self.source,
            "mark": self.mark,
            "condition": self.condition,
            "answer": self.answer,
            "facts": {name: _fact_as_dict(fact) for name, fact in self.facts.items()},
            "parts": [part.as_dict() for part in self.parts],
        }


@dataclass(frozen=True)
class AppliedDefault:
    """An ambiguous rule, the reading that was taken, and the other one."""

    rule: str
    text: str
    taken: str
    other: str
    source: str


@dataclass(frozen=True)
class Decision:
    """A protocol's answer for one patient.

    Parameters
    ----------
    protocol, version, status : str
        Which protocol answered.
    answer : {"yes", "no", "unknown"}
        Whether it admits the patient.
    reasons : tuple of Reason
        Every criterion with the values seen; the answer is yes when each of them is.
    missing : tuple of str
        Facts that are unknown and could still change the answer; empty for yes and no.
    defaults : tuple of AppliedDefault
        Ambiguous rules of the protocol and how they were read.
    """

    protocol: str
    version: str
    status: str
    answer: Answer
    reasons: tuple[Reason, ...]
    missing: tuple[str, ...]
    defaults: tuple[AppliedDefault, ...]

    def require_yes(self) -> None:
        """Stop unless the answer is yes.

        Raises
        ------
        NotEligibleError
            For no, with the conditions that do not hold.
        UndecidedError
            For unknown, with the facts that are missing.
        """
        if self.answer == "unknown":
            raise UndecidedError(
                f"protocol '{self.protocol}' cannot decide without: {', '.join(self.missing)}; add them to "
                "the clinical record",
                self.missing,
            )
        if self.answer == "no":
            failed = "; ".join(
                f"{reason.condition}{f' ({reason.rule})' if reason.rule else ''}, but "
                + ", ".join(f"{name} is {in_words(fact.value)}" for name, fact in reason.facts.items() if fact)
                for reason in self.reasons
                if reason.answer == "no"
            )
            raise NotEligibleError(f"protocol '{self.protocol}' does not admit this patient: it asks for {failed}")

    def as_dict(self) -> dict[str, Any]:
        """Return the decision ready for JSON."""
        return {
            "protocol": self.protocol,
            "version": self.version,
            "status": self.status,
            "answer": self.answer,
            "reasons": [reason.as_dict() for reason in self.reasons],
            "missing": list(self.missing),
            "ambiguous_defaults": [
                {
                    "rule": default.rule,
                    "text": default.text,
                    "taken": default.taken,
                    "other": default.other,
                    "source": default.source,
                }
                for default in self.defaults
            ],
        }


def decide(protocol: Protocol, facts: Mapping[str, Fact]) -> Decision:
    """Answer whether a protocol admits a patient.

    Parameters
    ----------
    protocol : Protocol
        Whose eligibility is asked.
    facts : dict of Fact
        The clinical record. Facts that the protocol does not know are passed over; a missing one, and one whose value
        is None, is unknown.

    Raises
    ------
    InputError
        When a fact is of the wrong type, out of range or no choice of the protocol.

    Notes
    -----
    Strong three-valued logic: more facts never turn a yes into a no or a no into a yes, only an unknown into an answer.
    A protocol that states no eligibility admits everybody.
    """
    known = known_facts(protocol.file, facts)
    defaults = tuple(
        AppliedDefault(rule.id, rule.text, rule.reading.default, rule.reading.other, rule.source)
        for rule in protocol.rules
        if rule.reading is not None
    )
    eligibility = protocol.file.eligibility
    if eligibility is None:
        return Decision(protocol.id, protocol.version, protocol.status, "yes", (), (), defaults)
    found = eligibility.evaluate({name: fact.value for name, fact in known.items()})
    reasons = tuple(_reason(protocol, criterion, rule, known) for criterion, rule in _criteria(found, ""))
    return Decision(protocol.id, protocol.version, protocol.status, found.answer, reasons, found.open_facts(), defaults)


def _criteria(finding: Finding, rule: str) -> list[tuple[Finding, str]]:
    """Conditions that must all hold; one without a rule stands under the rule of the group it is in."""
    rule = finding.rule or rule
    if finding.joined != "and":
        return [(finding, rule)]
    return [criterion for part in finding.parts for criterion in _criteria(part, rule)]


def _reason(protocol: Protocol, finding: Finding, rule_id: str, facts: Mapping[str, Fact]) -> Reason:
    rule = protocol.rule(rule_id) if rule_id else None
    return Reason(
        rule=rule.id if rule else "",
        rule_text=rule.text if rule else "",
        source=rule.source if rule else "",
        mark=rule.mark if rule else "",
        condition=finding.text,
        answer=finding.answer,
        facts={name: facts.get(name) for name in finding.facts},
        parts=tuple(_reason(protocol, part, part.rule or rule_id, facts) for part in finding.parts),
    )


def _fact_as_dict(fact: Fact | None) -> dict[str, Any] | None:
    if fact is None:
        return None
    value = fact.value.isoformat() if isinstance(fact.value, dt.date) else fact.value
    return {
        "value": list(value) if isinstance(value, tuple) else value,
        "source": fact.source,
        "date": fact.date.isoformat() if fact.date else None,
    }
