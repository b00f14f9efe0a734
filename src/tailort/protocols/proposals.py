"""Modifiers and triggers of one patient: what is proposed, on which evidence, and what stands against it.

The safety rule: a proposal never loosens a limit. In a file of its own it is refused when the file is read; beside
another protocol the stricter limit stays in force, and that is told. A dose above what the protocol prints waits for
sign-off.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tailort.patient import Fact
from tailort.protocols.condition import Answer, Finding, in_words
from tailort.protocols.individualising import (
    DoseProposal,
    LimitProposal,
    ModifierEntry,
    SubvolumeProposal,
    TriggerEntry,
)
from tailort.protocols.known import seen
from tailort.protocols.loosening import limit_in_words
from tailort.protocols.phases import course_gy
from tailort.protocols.protocol import Protocol
from tailort.protocols.schema import LimitEntry, ProtocolFile
from tailort.protocols.strictness import comparable, less_severe, loosens

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Proposed:
    """One proposal or action, in words.

    Parameters
    ----------
    text : str
        What is proposed.
    rules : tuple of str
        It rests on.
    standing : {"as proposed", "clipped", "needs sign-off"}
        What becomes of it beside the protocol that prescribes.
    note : str
        Why, and within what it stays.
    """

    text: str
    rules: tuple[str, ...]
    standing: Literal["as proposed", "clipped", "needs sign-off"] = "as proposed"
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the proposal ready for JSON."""
        return {"text": self.text, "rules": list(self.rules), "standing": self.standing, "note": self.note}


@dataclass(frozen=True)
class Individual:
    """A modifier or trigger and what came of it.

    Parameters
    ----------
    entry : ModifierEntry or TriggerEntry
        Of the protocol file.
    finding : Finding
        Its condition, with the values seen.
    proposed : tuple of Proposed
        Proposals or actions; they count where the answer is yes.
    """

    entry: ModifierEntry | TriggerEntry
    finding: Finding
    proposed: tuple[Proposed, ...]

    @property
    def answer(self) -> Answer:
        """Whether it applies to this patient."""
        return self.finding.answer

    @property
    def missing(self) -> tuple[str, ...]:
        """Facts that are unknown and could still change the answer."""
        return self.finding.open_facts()

    @property
    def reason(self) -> str:
        """The condition, the answer and the values seen."""
        told = ", ".join(
            f"{name} {'not known' if value is None else in_words(value)}" for name, value in self.finding.facts.items()
        )
        return f"{self.finding.text}: {self.answer} ({told})"

    def as_dict(self) -> dict[str, Any]:
        """Return what came of it ready for JSON."""
        entry = self.entry
        kind = {"between": entry.between} if isinstance(entry, ModifierEntry) else {"change": entry.change}
        key = "proposes" if isinstance(entry, ModifierEntry) else "actions"
        return {
            "id": entry.id,
            "text": entry.text,
            **kind,
            "guidance": entry.guidance,
            "evidence": {"level": entry.evidence.level, "kind": entry.evidence.kind, "text": entry.evidence.text},
            "answer": self.answer,
            "reason": self.reason,
            "missing": list(self.missing),
            key: [one.as_dict() for one in self.proposed],
            "rules": list(entry.rules),
        }


@dataclass(frozen=True)
class Proposals:
    """What a protocol proposes for one patient; nothing of it is applied.

    Parameters
    ----------
    modifiers, triggers : tuple of Individual
        In the order of the file.
    beside : str
        Id of the protocol whose limits and doses the proposals were held against; empty for that of the file itself.
    """

    modifiers: tuple[Individual, ...]
    triggers: tuple[Individual, ...]
    beside: str = ""

    def applying(self) -> dict[str, list[str]]:
        """Ids of modifiers and triggers that apply, and of those that more facts could make apply."""
        return {
            f"{section}{ending}": [one.entry.id for one in getattr(self, section) if one.answer == answer]
            for section in ("modifiers", "triggers")
            for ending, answer in (("", "yes"), ("_open", "unknown"))
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the proposals ready for JSON."""
        return {
            "beside": self.beside or None,
            "modifiers": [one.as_dict() for one in self.modifiers],
            "triggers": [one.as_dict() for one in self.triggers],
        }


def proposals(
    protocol: Protocol,
    facts: Mapping[str, Fact],
    readings: Mapping[str, str] | None = None,
    today: dt.date | None = None,
    beside: Protocol | None = None,
) -> Proposals:
    """Ask the modifiers and triggers of a protocol about one patient.

    Parameters
    ----------
    protocol : Protocol
        Which has them.
    facts : dict of Fact
        The clinical record.
    readings : dict of str
        Readings of ambiguous rules to take in place of the file's defaults, by rule.
    today : date or None
        The day that conditions see as the fact `today`.
    beside : Protocol or None
        The one that prescribes, whose limits and printed doses bound what is proposed; None for the file itself.

    Raises
    ------
    InputError
        When a fact cannot be, facts contradict each other, or a reading is not known.
    """
    values = seen(protocol.file, facts, readings, today).values
    bounds = (beside or protocol).file

    def of_modifier(entry: ModifierEntry) -> Individual:
        proposed = tuple(_held_against(bounds, one) for one in entry.proposes)
        return Individual(entry, entry.when.evaluate(values), proposed)

    def of_trigger(entry: TriggerEntry) -> Individual:
        proposed = tuple(Proposed(one.told, one.rules) for one in entry.actions)
        return Individual(entry, entry.when.evaluate(values), proposed)

    return Proposals(
        tuple(of_modifier(entry) for entry in protocol.file.modifiers),
        tuple(of_trigger(entry) for entry in protocol.file.triggers),
        beside.id if beside else "",
    )


def limits_with(limits: Sequence[LimitEntry], proposal: LimitProposal) -> tuple[LimitEntry, ...]:
    """Return the limits that are in force with a proposal: all that were, or stricter ones in their place.

    Whatever was refused stays refused, as severely as before: a proposal that would loosen a limit changes nothing.
    """
    if any(_undercut(limit, proposal) for limit in limits):
        return tuple(limits)
    made = [
        limit.model_copy(update={"operator": proposal.operator, "limit": proposal.limit})
        if _replaces(limit, proposal)
        else limit
        for limit in limits
    ]
    if not any(_replaces(limit, proposal) for limit in limits):
        made.append(_entry(proposal))
    return tuple(made)


def _replaces(limit: LimitEntry, proposal: LimitProposal) -> bool:
    """Whether a proposal stands in the place of a limit, not beside it: that is as severe, and holds for everybody."""
    return comparable(limit, proposal) and limit.priority == proposal.priority and limit.when is None


def _undercut(limit: LimitEntry, proposal: LimitProposal) -> bool:
    """Whether a proposal allows what a limit refuses that is as severe or more severe."""
    return (
        comparable(limit, proposal)
        and loosens(limit, proposal)
        and not less_severe(was=proposal.priority, now=limit.priority)
    )


def every_limit(file: ProtocolFile) -> tuple[LimitEntry, ...]:
    """Limits of a file and of all its plans, options and amendments; one by a table as its strictest outcome."""
    courses = [*file.plans, *(option for plan in file.plans for option in plan.options), *file.amendments]
    every = [*file.limits, *(limit for course in courses for limit in course.limits)]
    for entry in file.table_limits:
        numbers = [float(name) for table in file.tables if table.name == entry.table for name in table.outcomes]
        every.append(
            LimitEntry(
                structure=entry.structure, metric=entry.metric, operator=entry.operator, priority=entry.priority,
                limit=min(numbers) if entry.operator in ("<", "<=") else max(numbers), rule=entry.rule,
            )
        )  # fmt: skip
    return tuple(dict.fromkeys(every))


def _entry(proposal: LimitProposal) -> LimitEntry:
    return LimitEntry(
        structure=proposal.structure, metric=proposal.metric, operator=proposal.operator, limit=proposal.limit,
        priority=proposal.priority, percent_of=proposal.percent_of, quantity=proposal.quantity,
        alpha_beta_gy=proposal.alpha_beta_gy, scope=proposal.scope,
    )  # fmt: skip


def printed_range_gy(file: ProtocolFile, target: str) -> tuple[float, float] | None:
    """Lowest and highest physical dose of the course that a protocol prints for a target, Gy; None for no target.

    Every plan and every option of one counts; an amendment does not, it is for patients whose plan turned out so.
    """
    courses = [file.prescriptions] if file.prescriptions else []
    for plan in file.plans:
        courses += [plan.prescriptions, *(option.prescriptions for option in plan.options)]
    names = {entry.target.lower(): entry.target for own in courses for entry in own}
    name = names.get(target.lower())
    if name is None:
        return None
    doses = [course_gy(own, name) for own in courses if name in {entry.target for entry in own}]
    return min(doses), max(doses)


def proposal_mistakes(file: ProtocolFile) -> Iterator[tuple[Place, str]]:
    """Find proposals of a file that would loosen its own limits, or raise its doses without sign-off.

    Yields
    ------
    tuple
        The place in the file and what is wrong there.
    """
    for section in ("modifiers", "triggers"):
        ids: set[str] = set()
        for n, entry in enumerate(getattr(file, section)):
            if entry.id in ids:
                yield (section, n, "id"), f"'{entry.id}' is given twice"
            ids.add(entry.id)
    for n, modifier in enumerate(file.modifiers):
        for m, proposal in enumerate(modifier.proposes):
            place: Place = ("modifiers", n, "proposes", m)
            if isinstance(proposal, LimitProposal):
                for limit in every_limit(file):
                    if _undercut(limit, proposal):
                        yield place, f"a modifier never loosens a limit: {limit_in_words(limit)} is in force"
            elif isinstance(proposal, DoseProposal):
                printed = printed_range_gy(file, proposal.target)
                if printed is not None and proposal.dose_gy > printed[1] and proposal.sign_off is None:
                    yield (
                        (*place, "dose_gy"),
                        f"{proposal.dose_gy:g} Gy is above the {printed[1]:g} Gy that the protocol prints for "
                        f"'{proposal.target}': it needs 'sign_off: required'",
                    )


def _held_against(file: ProtocolFile, proposal: Any) -> Proposed:
    """What becomes of a proposal beside the limits and doses of a protocol."""
    text, rules = proposal.told, proposal.rules
    if isinstance(proposal, LimitProposal):
        before = every_limit(file)
        if undercut := [limit for limit in before if _undercut(limit, proposal)]:
            told = "; ".join(limit_in_words(limit) for limit in undercut)
            return Proposed(text, rules, "clipped", f"a proposal never loosens a limit: {told} stays in force")
        after = [limit for limit in limits_with(before, proposal) if comparable(limit, proposal)]
        return Proposed(text, rules, note="in force with it: " + "; ".join(limit_in_words(limit) for limit in after))
    if isinstance(proposal, DoseProposal):
        printed = printed_range_gy(file, proposal.target)
        if printed is None:
            return Proposed(
                text, rules, "needs sign-off", f"protocol '{file.id}' prints no dose for '{proposal.target}'"
            )
        low, high = printed
        told = f"{low:g} Gy" if low == high else f"{low:g} to {high:g} Gy"
        if not low <= proposal.dose_gy <= high or proposal.sign_off is not None:
            return Proposed(
                text, rules, "needs sign-off", f"protocol '{file.id}' prints {told} for '{proposal.target}'"
            )
        return Proposed(text, rules, note=f"within the {told} that protocol '{file.id}' prints")
    if isinstance(proposal, SubvolumeProposal) and (file.prescriptions or file.plans):
        return Proposed(
            text, rules, note="its dose stays within what the protocol prints, and no organ's limit changes"
        )
    return Proposed(text, rules)
