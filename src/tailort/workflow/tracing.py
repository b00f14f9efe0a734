"""Which rule led to which structure and which number of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tailort.protocols import Decision, Protocol
from tailort.protocols.decision import AppliedDefault, Reason
from tailort.protocols.painting import painting_in_words
from tailort.protocols.phases import course_gy
from tailort.protocols.recipe import StepEntry
from tailort.protocols.recipe_words import in_words, operation_in_words, technique_in_words
from tailort.protocols.schema import LimitEntry, PrescriptionEntry

if TYPE_CHECKING:
    from tailort.workflow.records import PlanningRun


@dataclass(frozen=True)
class Trace:
    """One structure or number and the rules it rests on.

    Parameters
    ----------
    of : str
        The structure, or what the number is of.
    told : str
        How the structure is made, or the number, in words.
    rules : tuple of str
        Ids of the rules; none where the file names none.
    """

    of: str
    told: str
    rules: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the trace ready for JSON."""
        return {"of": self.of, "told": self.told, "rules": list(self.rules)}


def structures_traced(protocol: Protocol) -> tuple[Trace, ...]:
    """Structures that the recipe of a patient's protocol makes, each with every rule that it or a step of it names."""
    return tuple(Trace(step.name, in_words(step), _rules_of(step)) for step in protocol.file.targets)


def numbers_traced(protocol: Protocol) -> tuple[Trace, ...]:
    """Doses, margins, limits and other numbers of a patient's protocol; doses are physical, Gy per course."""
    return tuple(_numbers(protocol))


def doses_traced(protocol: Protocol) -> tuple[Trace, ...]:
    """What a patient's protocol prescribes."""
    return tuple(Trace(f"dose of {p.target}", _dose(p, protocol), p.rules) for p in protocol.file.prescriptions)


def targets_and_rules(run: PlanningRun) -> list[dict[str, Any]]:
    """Volumes of a run as they were made, with their rules, ready for JSON."""
    rules = {trace.of.lower(): trace.rules for trace in structures_traced(run.protocol)}
    return [
        {"structure": s.name, "role": s.role, "made_by": list(s.made_by), "rules": list(rules.get(s.name.lower(), ()))}
        for s in run.structures
        if s.made_by
    ]


def rules_used(decision: Decision, protocol: Protocol) -> dict[str, tuple[str, ...]]:
    """What of a plan rests on which rule: names of structures and numbers, and what was decided, by rule id."""
    found: dict[str, dict[str, None]] = {}
    traces = [*structures_traced(protocol), *numbers_traced(protocol)]
    for reason in decision.reasons:
        traces += [Trace("eligibility", "", rules) for rules in _of_reason(reason)]
    for stratum in decision.strata:
        # The last row is the one that holds; those above it were asked too.
        traces += [Trace(stratum.table, "", rules) for reason in stratum.reasons for rules in _of_reason(reason)]
    for trace in traces:
        for rule in trace.rules:
            found.setdefault(rule, {})[trace.of] = None
    return {rule: tuple(names) for rule, names in found.items()}


def defaults_used(decision: Decision, protocol: Protocol) -> tuple[tuple[AppliedDefault, tuple[str, ...]], ...]:
    """Ambiguous rules on which the plan rests, each with what rests on it."""
    used = rules_used(decision, protocol)
    return tuple((default, used[default.rule]) for default in decision.defaults if default.rule in used)


def _rules_of(step: StepEntry) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*step.rules, *(rule for operation in step.then for rule in operation.rules))))


def _of_reason(reason: Reason) -> Iterator[tuple[str, ...]]:
    yield (reason.rule,) if reason.rule else ()
    for part in reason.parts:
        yield from _of_reason(part)


def _numbers(protocol: Protocol) -> Iterator[Trace]:
    file = protocol.file
    yield from doses_traced(protocol)
    for step in file.targets:
        for operation in step.then:
            yield Trace(step.name, operation_in_words(operation), operation.rules or step.rules)
    for limit in file.limits:
        yield Trace(limit.structure, _limit(limit, protocol), (limit.rule,) if limit.rule else ())
    yield from _techniques(protocol)
    for extra in file.supplements:
        told = f"up to {extra.up_to_gy:g} Gy at {extra.depth_mm:g} mm below the anterior skin"
        yield Trace(extra.target, f"{told}, at most {extra.fraction_gy_at_most:g} Gy a fraction", extra.rules)
    for change in file.amendments:
        doses = ", ".join(f"{p.dose_gy:g} Gy in {p.fractions} fractions to {p.target}" for p in change.prescriptions)
        told = f"{doses} where {change.metric} {change.operator} {change.value:g}"
        yield Trace(change.structure, told, change.rules)
    for new in file.adaptations:
        yield Trace(new.target, f"{new.image} at {new.at_gy:g} Gy ({new.strength}), then {new.then}", new.rules)


def _techniques(protocol: Protocol) -> Iterator[Trace]:
    """Every technique that the plan may have been made with, and what moves fractions between its phases."""
    technique, first = protocol.technique, protocol.file.preferred
    if first is not None:
        rules = dict.fromkeys((*first.rules, *first.technique.rules))
        yield Trace("technique that is tried first", technique_in_words(first.technique), tuple(rules))
    yield Trace("technique", technique_in_words(technique), technique.rules)
    for own in technique.phases:
        told = technique_in_words(technique.of_phase(own.phase))
        yield Trace(f"technique of phase {own.phase}", told, own.rules or technique.rules)
    if technique.hand_over is not None:
        move = technique.hand_over
        told = f"fractions move from phase {move.from_phase} to phase {move.to_phase} until {move.structure}"
        yield Trace("hand-over", f"{told} {move.metric} is below {move.below_gy:g} Gy", move.rules)


def _dose(entry: PrescriptionEntry, protocol: Protocol) -> str:
    each = float(entry.dose_per_fraction_gy)
    told = f"{entry.dose_gy:g} Gy in {entry.fractions} fractions of {each:.4g} Gy, phase {entry.phase}"
    if entry.boosts is not None:
        told += f", {course_gy(protocol.file.prescriptions, entry.target):g} Gy with that of {entry.boosts}"
    tied = entry.normalisation or protocol.file.normalisation
    if entry.painted is not None:
        return f"{told}: {painting_in_words(entry.dose_gy, entry.painted)}"
    if tied is not None and tied.coverage is not None:
        told += f", {tied.coverage}"
    elif tied is not None and tied.isodose_percent is not None:
        told += f", {tied.isodose_percent:g} % isodose"
    return told


def _limit(limit: LimitEntry, protocol: Protocol) -> str:
    percent = "" if limit.percent_of is None else f" % of the prescription of {limit.percent_of}"
    quantity = "" if limit.quantity == "physical" else f" {limit.quantity}(a/b={limit.alpha_beta_gy:g})"
    then = "" if limit.on_violation is None else f", otherwise {limit.on_violation}"
    courses = " of all courses together" if limit.scope == "cumulative" else ""
    return f"{limit.metric}{quantity}{courses} {limit.operator} {limit.limit:g}{percent} ({limit.priority}{then})"
