"""The course of one patient: which of a protocol's plans, which of its options, and what an amendment makes of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from tailort.errors import NotEligibleError, ProtocolError, UndecidedError
from tailort.patient import Fact
from tailort.protocols.condition import COMPARE, Answer, Finding
from tailort.protocols.known import seen
from tailort.protocols.protocol import Protocol
from tailort.protocols.schema import AmendmentEntry, CourseEntry, OptionEntry, PlanEntry, ProtocolFile, StatementEntry

PRINTED = "printed"
"""The doses that the protocol's text gives for a plan, where a site has chosen an option."""

Entry = TypeVar("Entry", PlanEntry, OptionEntry, AmendmentEntry)


@dataclass(frozen=True)
class PlanFinding:
    """One plan and whether it is this patient's.

    Parameters
    ----------
    id, title : str
        Of the plan.
    finding : Finding
        Its condition, with every part, rule and value seen.
    """

    id: str
    title: str
    finding: Finding

    @property
    def answer(self) -> Answer:
        """Yes, no or unknown."""
        return self.finding.answer


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
    findings : tuple of PlanFinding
        Every plan with its reasons.
    """

    protocol: str
    plan: str | None
    possible: tuple[str, ...]
    missing: tuple[str, ...]
    findings: tuple[PlanFinding, ...]

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
            told = ", ".join(entry.id for entry in self.findings)
            raise NotEligibleError(f"protocol '{self.protocol}' has no plan for this patient: none of {told} applies")
        asked = "choose between the plans" if len(self.possible) > 1 else "tell whether this patient has plan"
        raise UndecidedError(
            f"protocol '{self.protocol}' cannot {asked} {' and '.join(self.possible)} without: "
            f"{', '.join(self.missing)}; add them to the clinical record",
            self.missing,
        )


def choose_plan(
    protocol: Protocol,
    facts: Mapping[str, Fact],
    readings: Mapping[str, str] | None = None,
    today: dt.date | None = None,
) -> PlanChoice:
    """Find the plan that a patient has.

    Parameters
    ----------
    protocol : Protocol
        One with several plans.
    facts : dict of Fact
        The clinical record, by name.
    readings : dict of str
        Readings of ambiguous rules to take in place of the file's defaults, by rule.
    today : date or None
        The day that conditions see as the fact `today`; None leaves it unknown.

    Raises
    ------
    ProtocolError
        When the protocol has no plans to choose from, or two of them hold for this patient.
    InputError
        When a fact is of the wrong type, out of range or no choice of the protocol, facts contradict each other, or
        a reading is not known.
    """
    file = protocol.file
    if not file.plans:
        raise ProtocolError(f"protocol '{protocol.id}' has one course for all patients: there is no plan to choose")
    patient = seen(file, facts, readings, today)
    findings = tuple(PlanFinding(plan.id, plan.title, plan.when.evaluate(patient.values)) for plan in file.plans)
    found = patient.tables[-1]
    possible = tuple(name for name in found.possible if name)
    settled = len(found.possible) == 1 and bool(possible)
    return PlanChoice(protocol.id, possible[0] if settled else None, possible, found.open_facts, findings)


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


def amendments_due(protocol: Protocol, measured: Mapping[tuple[str, str], float]) -> tuple[AmendmentEntry, ...]:
    """Amendments that an assessed plan calls for.

    Parameters
    ----------
    protocol : Protocol
        With the patient's plan.
    measured : dict
        Value of each metric by structure and metric, such as `("Stomach", "V50Gy[%]")`, in the metric's unit.

    Raises
    ------
    UndecidedError
        When a metric that an amendment looks at was not measured.
    """
    absent = [
        f"{entry.metric} of {entry.structure}"
        for entry in protocol.file.amendments
        if (entry.structure, entry.metric) not in measured
    ]
    if absent:
        raise UndecidedError(
            f"protocol '{protocol.id}' cannot tell whether the doses must be amended without: {', '.join(absent)}",
            tuple(absent),
        )
    return tuple(
        entry
        for entry in protocol.file.amendments
        if COMPARE[entry.operator](measured[entry.structure, entry.metric], entry.value)
    )


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
    """Definitions or flags of a protocol, each with what came of it for one patient; see `choose_plan`."""
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
