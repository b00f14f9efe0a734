"""The course of one patient: which of a protocol's plans, which of its options, and what an amendment makes of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tailort.errors import NotEligibleError, ProtocolError, UndecidedError
from tailort.patient import Fact
from tailort.protocols.condition import Finding
from tailort.protocols.known import Seen, seen
from tailort.protocols.protocol import Protocol
from tailort.protocols.schema import AmendmentEntry, CourseEntry, OptionEntry, PlanEntry, ProtocolFile, StatementEntry

PRINTED = "printed"
"""The doses that the protocol's text gives for a plan, where a site has chosen an option."""

Entry = TypeVar("Entry", PlanEntry, OptionEntry, AmendmentEntry)


@dataclass(frozen=True)
class PlanChoice:
    """Which of a protocol's plans a patient has.

    Parameters
    ----------
    protocol : str
        Id of the protocol.
    plan : str or None
        The plan; None as long as facts are missing, and where no plan is for this patient.
    possible : tuple of str
        Plans that are not ruled out.
    missing : tuple of str
        Facts that could still change the answer; empty when it stands.
    plans : tuple of str
        All that the protocol has.
    """

    protocol: str
    plan: str | None
    possible: tuple[str, ...]
    missing: tuple[str, ...]
    plans: tuple[str, ...]

    def require_one(self) -> str:
        """Return the plan.

        Raises
        ------
        UndecidedError
            When several are possible, with the facts that are missing.
        NotEligibleError
            When no plan is for this patient.
        """
        if self.plan is not None:
            return self.plan
        if not self.possible:
            told = ", ".join(self.plans)
            raise NotEligibleError(f"protocol '{self.protocol}' has no plan for this patient: none of {told} applies")
        asked = "choose between the plans" if len(self.possible) > 1 else "tell whether this patient has plan"
        raise UndecidedError(
            f"protocol '{self.protocol}' cannot {asked} {' and '.join(self.possible)} without: "
            f"{', '.join(self.missing)}; add them to the clinical record",
            self.missing,
        )


def choose_plan(protocol: Protocol, patient: Seen) -> PlanChoice:
    """Find the plan that a patient has.

    Parameters
    ----------
    protocol : Protocol
        One with several plans.
    patient : Seen
        What it sees of the patient.

    Raises
    ------
    ProtocolError
        When the protocol has no plans to choose from.
    """
    if not protocol.file.plans:
        raise ProtocolError(f"protocol '{protocol.id}' has one course for all patients: there is no plan to choose")
    found = patient.tables[-1]
    possible = tuple(name for name in found.possible if name)
    settled = len(found.possible) == 1 and bool(possible)
    return PlanChoice(protocol.id, possible[0] if settled else None, possible, found.open_facts, found.table.outcomes)


def with_plan(protocol: Protocol, plan: str, option: str | None = None) -> Protocol:
    """Return the protocol with one of its plans as its course, or one of the plan's options.

    Where a site has chosen an option for the plan, it is taken unless another is named; PRINTED takes none.

    Raises
    ------
    ProtocolError
        When there is no such plan or option; the known ones are listed.
    """
    chosen = _named(protocol, "plan", plan, {entry.id: entry for entry in protocol.file.plans})
    file = _applied(protocol.file, chosen)
    if option is None:
        option = dict(pair for overlay in protocol.overlays for pair in overlay.options).get(plan)
    if option == PRINTED and PRINTED not in {entry.id for entry in chosen.options}:
        option = None
    if option is not None:
        what = f"option of plan '{plan}'"
        file = _applied(file, _named(protocol, what, option, {entry.id: entry for entry in chosen.options}))
    return replace(protocol, file=_only_adaptations_of(file, chosen))


def recorded_amendments(protocol: Protocol, values: Mapping[str, Any]) -> tuple[AmendmentEntry, ...]:
    """Amendments that a plan which was made already asks for, by what the record tells of it.

    Parameters
    ----------
    protocol : Protocol
        With the patient's plan.
    values : dict
        Facts of the patient, in the protocol's types.
    """
    return tuple(
        entry for entry in protocol.file.amendments if entry.fact and entry.due(values.get(entry.fact)) == "yes"
    )


def as_recorded(protocol: Protocol, values: Mapping[str, Any]) -> Protocol:
    """Return the protocol with the doses of its `recorded_amendments`."""
    for entry in recorded_amendments(protocol, values):
        protocol = amended(protocol, entry.id)
    return protocol


def amended_title(title: str, entries: Sequence[AmendmentEntry]) -> str:
    """Title of a plan with the amendments that the record asks for."""
    return ", amended by ".join((title, *(entry.id for entry in entries)))


def amended(protocol: Protocol, amendment: str) -> Protocol:
    """Return the protocol with the doses of an amendment, which is then used up: it comes at most once.

    Raises
    ------
    ProtocolError
        When there is no such amendment; the known ones are listed.
    """
    entry = _named(protocol, "amendment", amendment, {entry.id: entry for entry in protocol.file.amendments})
    file = _applied(protocol.file, entry)
    left = tuple(other for other in file.amendments if other.id != entry.id)
    prescribed = {own.target for own in file.prescriptions}
    reached = tuple(own for own in file.adaptations if own.target in prescribed)
    return replace(protocol, file=file.model_copy(update={"amendments": left, "adaptations": reached}))


def statements(
    entries: tuple[StatementEntry, ...],
    protocol: Protocol,
    facts: Mapping[str, Fact],
    readings: Mapping[str, str] | None = None,
    today: dt.date | None = None,
) -> tuple[tuple[StatementEntry, Finding], ...]:
    """Definitions or flags of a protocol, each with what came of it for one patient; see `seen`."""
    values = seen(protocol.file, facts, readings, today).values
    return tuple((entry, entry.when.evaluate(values)) for entry in entries)


def _named(protocol: Protocol, what: str, name: str, known: Mapping[str, Entry]) -> Entry:
    if name not in known:
        have = ", ".join(known) or "none"
        raise ProtocolError(f"protocol '{protocol.id}' has no {what} '{name}'; known are: {have}")
    return known[name]


def _applied(file: ProtocolFile, course: CourseEntry) -> ProtocolFile:
    """Put a course's doses in place of those of the file; limits on what is no longer prescribed go with it."""
    before = {
        entry.target.lower() for entry in (*file.prescriptions, *(p for o in file.plans for p in o.prescriptions))
    }
    now = {entry.target.lower() for entry in course.prescriptions}
    gone = before - now
    replaced = {(limit.structure.lower(), limit.metric, limit.operator) for limit in course.limits}
    kept = tuple(
        limit
        for limit in file.limits
        if (limit.structure.lower(), limit.metric, limit.operator) not in replaced
        and limit.structure.lower() not in gone
        and (limit.percent_of or "").lower() not in gone
    )
    reported = tuple(entry for entry in file.report if entry.structure.lower() not in gone)
    return file.model_copy(
        update={
            "plans": (),
            "targets": file.targets + course.targets,
            "prescriptions": course.prescriptions,
            "limits": course.limits + kept,
            "report": course.report + reported,
            "checks": tuple(
                check for check in file.checks if getattr(check, "target", None) in (None, *_targets(course))
            ),
        }
    )


def _targets(course: CourseEntry) -> tuple[str, ...]:
    return tuple(entry.target for entry in course.prescriptions)


def _only_adaptations_of(file: ProtocolFile, plan: PlanEntry) -> ProtocolFile:
    """Keep the adaptations of a plan, or of its option: those whose target the course prescribes."""
    prescribed = {entry.target for entry in file.prescriptions}
    own = tuple(
        entry.model_copy(update={"plan": None})
        for entry in file.adaptations
        if entry.plan in (None, plan.id) and entry.target in prescribed
    )
    return file.model_copy(update={"adaptations": own})
