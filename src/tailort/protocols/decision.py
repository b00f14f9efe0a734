"""Does a protocol admit this patient, and to what: yes, no or not known yet, with every reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tailort.errors import NotEligibleError, UndecidedError
from tailort.patient import Fact
from tailort.protocols.condition import Answer, Condition, Finding, in_words
from tailort.protocols.consistency import walk
from tailort.protocols.known import PLAN, Seen, look, readings_of, readings_taken, require_consistent, seen
from tailort.protocols.missing import Domain, Fewest
from tailort.protocols.overlay_records import Overlay
from tailort.protocols.protocol import Protocol
from tailort.protocols.schema import LimitEntry
from tailort.protocols.tables import TableFinding


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
        return f"{self.condition}: {self.answer}{f' ({seen})' if seen else ''}"

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
class OtherReading:
    """Another reading of an ambiguous rule, and what it changes.

    Parameters
    ----------
    name, text : str
        The reading.
    changes : tuple of str
        Every condition of the file that comes out otherwise, by its place, also of plans that are not this patient's.
    effects : tuple of str or None
        What of it changes this patient's own course, in words; None as long as nobody asked.
    """

    name: str
    text: str
    changes: tuple[str, ...]
    effects: tuple[str, ...] | None = None

    @property
    def told(self) -> tuple[str, ...]:
        """What it changes for this patient, as far as that was asked."""
        return self.changes if self.effects is None else self.effects

    def as_dict(self) -> dict[str, Any]:
        """Return the reading ready for JSON."""
        own = {} if self.effects is None else {"for_this_patient": list(self.effects)}
        return {"name": self.name, "text": self.text, "changes": list(self.changes), **own}


@dataclass(frozen=True)
class AppliedDefault:
    """An ambiguous rule, the reading that was taken, and the other one.

    Parameters
    ----------
    rule, text, source : str
        The rule: id, sentence, document.
    taken, other : str
        What the reading that was taken says, and the other ones.
    name : str
        Name of the reading that was taken; "default" where the file names none.
    chosen : bool
        Whether a person named it.
    others : tuple of OtherReading or None
        The patient decided once with each other reading; None where the file tells another one but cannot take it.
    """

    rule: str
    text: str
    taken: str
    other: str
    source: str
    name: str = "default"
    chosen: bool = False
    others: tuple[OtherReading, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the reading ready for JSON; what another one changes is null where it is only told."""
        others = None
        if self.others is not None:
            others = [one.as_dict() for one in self.others]
        return {
            "rule": self.rule,
            "text": self.text,
            "taken": self.taken,
            "other": self.other,
            "source": self.source,
            "reading": self.name,
            "chosen": self.chosen,
            "other_readings": others,
        }


@dataclass(frozen=True)
class Stratum:
    """What one decision table says of the patient.

    Parameters
    ----------
    table, text : str
        Name of the table and what it decides.
    outcome : str or None
        The outcome; None while several are possible, and where no row applies.
    possible : tuple of str
        Outcomes that are possible; none where no row applies.
    note : str
        What the row that holds says beside its outcome.
    reasons : tuple of Reason
        Rows from the top down to the first that holds.
    missing : tuple of str
        Facts that are unknown and could still settle it.
    fewest : tuple of str
        The fewest of them that could, not looked for where the answer is no; `proved` tells whether it is certain that
        no fewer would do.
    """

    table: str
    text: str
    outcome: str | None
    possible: tuple[str, ...]
    note: str
    reasons: tuple[Reason, ...]
    missing: tuple[str, ...]
    fewest: tuple[str, ...] = ()
    proved: bool = True

    @property
    def is_open(self) -> bool:
        """Whether facts could still settle it."""
        return bool(self.missing)

    @property
    def told(self) -> str:
        """The outcome in words."""
        if self.is_open:
            return " or ".join(name or "none" for name in self.possible) or "unknown"
        return "none: no row applies" if self.outcome is None else self.outcome

    def as_dict(self) -> dict[str, Any]:
        """Return the stratum ready for JSON."""
        return {
            "table": self.table,
            "text": self.text,
            "outcome": self.outcome,
            "possible": list(self.possible),
            "note": self.note,
            "reasons": [reason.as_dict() for reason in self.reasons],
            "missing": list(self.missing),
            "fewest_missing": list(self.fewest),
            "fewest_is_proved": self.proved,
        }


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
    strata : tuple of Stratum
        What each decision table says.
    fewest : Fewest or None
        The fewest facts that could still settle the answer; None when it is settled, or was not asked for.
    overlays : tuple of Overlay
        What sites changed in the protocol.
    """

    protocol: str
    version: str
    status: str
    answer: Answer
    reasons: tuple[Reason, ...]
    missing: tuple[str, ...]
    defaults: tuple[AppliedDefault, ...]
    strata: tuple[Stratum, ...] = ()
    fewest: Fewest | None = None
    overlays: tuple[Overlay, ...] = ()

    @property
    def failed_rules(self) -> tuple[str, ...]:
        """Rules, or conditions that name none, that do not hold."""
        return tuple(dict.fromkeys(reason.rule or reason.condition for reason in self.reasons if reason.answer == "no"))

    @property
    def missing_everywhere(self) -> tuple[str, ...]:
        """Facts that are unknown and could still settle the answer or, for a yes, a decision table."""
        names = list(self.missing)
        if self.answer == "yes":
            names += [name for stratum in self.strata for name in stratum.missing]
        return tuple(dict.fromkeys(names))

    @property
    def stopped(self) -> bool:
        """Whether the protocol stops here: it does not admit the patient, or none of its plans is for this patient."""
        if self.answer != "yes":
            return self.answer == "no"
        return any(one.table == PLAN and not one.is_open and one.outcome is None for one in self.strata)

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
                f"protocol '{self.protocol}' cannot decide without: {self._told_to_yes()}; add them to the clinical "
                "record",
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

    def require_outcome(self, table: str) -> str:
        """Return what a decision table says of the patient.

        Raises
        ------
        UndecidedError
            While several outcomes are possible, with the fewest facts that could settle it.
        NotEligibleError
            When no row of the table applies.
        """
        stratum = next(one for one in self.strata if one.table == table)
        if stratum.is_open:
            possible = " and ".join(name for name in stratum.possible if name)
            which = "tell whether this patient has" if len([n for n in stratum.possible if n]) < 2 else "choose between"
            raise UndecidedError(
                f"protocol '{self.protocol}' cannot {which} {table} {possible} without: "
                f"{_fewest_told(stratum.fewest, stratum.missing)}; add them to the clinical record",
                stratum.missing,
            )
        if stratum.outcome is None:
            found = [f"{one.table} is {one.told}" for one in self.strata if one.table != table]
            because = f" ({', '.join(found)})" if found else ""
            raise NotEligibleError(
                f"protocol '{self.protocol}' has no {table} for this patient: no row applies{because}"
            )
        return stratum.outcome

    def _told_to_yes(self) -> str:
        """The fewest facts that could make it a yes; all that are missing where that was not asked."""
        if self.fewest is None or self.fewest.to_yes is None:
            return ", ".join(self.missing)
        return _fewest_told(self.fewest.to_yes, self.missing)

    def as_dict(self) -> dict[str, Any]:
        """Return the decision ready for JSON."""
        return {
            "protocol": self.protocol,
            "version": self.version,
            "status": self.status,
            "answer": self.answer,
            "reasons": [reason.as_dict() for reason in self.reasons],
            "missing": list(self.missing),
            "fewest_missing": None if self.fewest is None else self.fewest.as_dict(),
            "strata": [stratum.as_dict() for stratum in self.strata],
            "ambiguous_defaults": [default.as_dict() for default in self.defaults],
            "overlays": [overlay.as_dict() for overlay in self.overlays],
        }


Detail = Literal["answers", "missing", "all"]


@dataclass(frozen=True)
class Deciding:
    """A protocol made ready to decide many patients.

    Parameters
    ----------
    protocol : Protocol
        Whose rules are asked.
    named : dict of str
        Readings that a person named, by rule.
    taken : dict of str
        Reading of every rule that has several which can be taken.
    domain : Domain
        Values that its conditions tell apart.
    whens : tuple of (str, Condition)
        What the file makes or does for some patients only.
    today : date or None
        What the fact `today` is.
    told : list
        Ambiguous rules as they are read, once they were asked for without what other readings change.
    """

    protocol: Protocol
    named: Mapping[str, str]
    taken: Mapping[str, str]
    domain: Domain
    whens: tuple[tuple[str, Condition], ...]
    today: dt.date | None
    told: list[tuple[AppliedDefault, ...]] = field(default_factory=list)

    @staticmethod
    def of(protocol: Protocol, readings: Mapping[str, str] | None = None, today: dt.date | None = None) -> Deciding:
        """Make a protocol ready; parameters and errors are those of `decide`."""
        require_consistent(protocol.file, protocol.origin)
        named = dict(readings or {})
        taken = readings_taken(protocol.file, named)
        return Deciding(protocol, named, taken, Domain.of(protocol.file), tuple(_whens(protocol)), today)

    def decide(self, facts: Mapping[str, Fact], detail: Detail = "all") -> Decision:
        """Decide one patient.

        Parameters
        ----------
        facts : dict of Fact
            The clinical record.
        detail : {"answers", "missing", "all"}
            "missing" looks also for the fewest facts that could settle what is open, of a table only where the answer
            is yes; "all" looks for those of every table unless the answer is no, for what other readings of ambiguous
            rules would change, and tells the reasons of tables and the parts of each reason, which else are left out.

        Raises
        ------
        InputError
            When facts are of the wrong type, out of range, no choice of the protocol, or contradict each other.
        """
        protocol = self.protocol
        patient = seen(protocol.file, facts, self.taken, self.today)
        eligibility = protocol.file.eligibility
        answer: Answer = "yes"
        reasons: tuple[Reason, ...] = ()
        missing: tuple[str, ...] = ()
        if eligibility is not None:
            found = eligibility.evaluate(patient.values)
            answer, missing = found.answer, found.open_facts()
            deep = detail == "all"
            reasons = tuple(_reason(protocol, one, rule, patient.facts, deep) for one, rule in _criteria(found, ""))
        fewest = None
        if answer == "unknown" and eligibility is not None and detail != "answers":
            fewest = self.domain.fewest(eligibility, patient.values)
        return Decision(
            protocol.id,
            protocol.version,
            protocol.status,
            answer,
            reasons,
            missing,
            self._defaults(patient, detail),
            tuple(self._stratum(one, patient, detail, answer) for one in patient.tables),
            fewest,
            protocol.overlays,
        )

    def _stratum(self, finding: TableFinding, patient: Seen, detail: Detail, answer: Answer) -> Stratum:
        table = finding.table
        settled = len(finding.possible) == 1
        facts: tuple[str, ...] = ()
        proved = True
        if not settled and detail in {"yes": ("missing", "all"), "unknown": ("all",), "no": ()}[answer]:
            facts, proved = self.domain.fewest_for_table(finding, patient.values)
        row = None if finding.taken is None else table.rows[finding.taken]
        return Stratum(
            table=table.name,
            text=table.text,
            outcome=(finding.possible[0] or None) if settled else None,
            possible=tuple(name for name in finding.possible if name) if settled else finding.possible,
            note=row.note if row is not None and settled else "",
            reasons=tuple(
                _reason(self.protocol, one, one.rule or next(iter(entry.rules), ""), patient.facts)
                for one, entry in zip(finding.rows, table.rows, strict=False)
            )
            if detail == "all"
            else (),
            missing=finding.open_facts,
            fewest=facts,
            proved=proved,
        )

    def _defaults(self, patient: Seen, detail: Detail) -> tuple[AppliedDefault, ...]:
        if detail != "all" and self.told:
            return self.told[0]
        choices = readings_of(self.protocol.file)
        found = []
        here = None
        for rule in self.protocol.rules:
            if rule.reading is None:
                continue
            choice = choices.get(rule.id)
            if choice is None:
                found.append(
                    AppliedDefault(
                        rule.id, rule.text, rule.reading.default, rule.reading.other, rule.source,
                        chosen=rule.id in self.named,
                    )
                )  # fmt: skip
                continue
            taken = self.taken[rule.id]
            others = []
            for name, text in choice.names.items():
                if name == taken:
                    continue
                changes: tuple[str, ...] = ()
                if detail == "all":
                    here = self._outcomes(patient) if here is None else here
                    there = self._outcomes(look(self.protocol.file, patient.facts, {**self.taken, rule.id: name}))
                    changes = tuple(
                        f"{what}: {was} becomes {there[what]}" for what, was in here.items() if there[what] != was
                    )
                others.append(OtherReading(name, text, changes))
            found.append(
                AppliedDefault(
                    rule.id, rule.text, choice.names[taken], "; ".join(one.text for one in others), rule.source, taken,
                    rule.id in self.named, tuple(others) if detail == "all" else None,
                )
            )  # fmt: skip
        if detail != "all":
            self.told.append(tuple(found))
        return tuple(found)

    def _outcomes(self, patient: Seen) -> dict[str, str]:
        """Everything that the file decides of a patient, in words."""
        told: dict[str, str] = {}
        if self.protocol.file.eligibility is not None:
            told["answer"] = self.protocol.file.eligibility.evaluate(patient.values).answer
        for finding in patient.tables:
            told[finding.table.name] = " or ".join(name or "none" for name in finding.possible)
        for what, when in self.whens:
            told[what] = {"yes": "applies", "no": "does not apply", "unknown": "not known"}[
                when.evaluate(patient.values).answer
            ]
        return told


def decide(
    protocol: Protocol,
    facts: Mapping[str, Fact],
    readings: Mapping[str, str] | None = None,
    today: dt.date | None = None,
) -> Decision:
    """Answer whether a protocol admits a patient, and to which of its strata.

    Parameters
    ----------
    protocol : Protocol
        Whose eligibility is asked.
    facts : dict of Fact
        The clinical record. Facts that the protocol does not know are passed over; a missing one, and one whose value
        is None, is unknown.
    readings : dict of str
        Readings of ambiguous rules to take in place of the file's defaults, by rule.
    today : date or None
        The day that conditions see as the fact `today`; None leaves it unknown.

    Raises
    ------
    InputError
        When a fact is of the wrong type, out of range or no choice of the protocol, facts contradict each other, or a
        reading is not known.

    Notes
    -----
    Strong three-valued logic: more facts never turn a yes into a no or a no into a yes, only an unknown into an answer.
    A protocol that states no eligibility admits everybody.
    """
    return Deciding.of(protocol, readings, today).decide(facts)


def _fewest_told(fewest: tuple[str, ...], missing: tuple[str, ...]) -> str:
    """The fewest facts, and how many more are open."""
    if not fewest or len(fewest) >= len(missing):
        return ", ".join(missing)
    return f"{', '.join(fewest)} (the fewest that could settle it; {len(missing)} facts are open)"


_TOLD_ELSEWHERE = ("eligibility", "tables", "contradictions")


def _whens(protocol: Protocol) -> list[tuple[str, Condition]]:
    """What the file does for some patients only, by a name that a person finds in it."""
    found: list[tuple[str, Condition]] = []
    for place, section in walk(protocol.file):
        when = getattr(section, "when", None)
        # Conditions inside of conditions, and those of tables, plans and contradictions, are told as what they decide.
        if when is None or place[0] in _TOLD_ELSEWHERE or "when" in place or (place[0] == "plans" and len(place) == 2):
            continue
        where = ".".join(str(part) for part in place)
        name = next(
            (one for key in ("id", "name", "target", "patient") if isinstance(one := getattr(section, key, None), str)),
            "",
        )
        if isinstance(section, LimitEntry):
            name = f"{section.structure} {section.metric} {section.operator} {section.limit:g}, {section.priority}"
        found.append((f"{name} ({where})" if name else where, when))
    return found


def _criteria(finding: Finding, rule: str) -> list[tuple[Finding, str]]:
    """Conditions that must all hold; one without a rule stands under the rule of the group it is in."""
    rule = finding.rule or rule
    if finding.joined != "and":
        return [(finding, rule)]
    return [criterion for part in finding.parts for criterion in _criteria(part, rule)]


def _reason(protocol: Protocol, finding: Finding, rule_id: str, facts: Mapping[str, Fact], deep: bool = True) -> Reason:
    rule = protocol.rule(rule_id) if rule_id else None
    return Reason(
        rule=rule.id if rule else "",
        rule_text=rule.text if rule else "",
        source=rule.source if rule else "",
        mark=rule.mark if rule else "",
        condition=finding.text,
        answer=finding.answer,
        facts={name: facts.get(name) for name in finding.facts},
        parts=tuple(_reason(protocol, part, part.rule or rule_id, facts) for part in finding.parts) if deep else (),
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
