"""A protocol as it applies to one patient."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tailort.errors import InputError, UndecidedError
from tailort.patient import Fact
from tailort.protocols.condition import Condition
from tailort.protocols.known import seen
from tailort.protocols.missing import Domain
from tailort.protocols.plans import as_recorded, choose_plan, with_plan
from tailort.protocols.protocol import Protocol
from tailort.protocols.recipe import LengthenStep, OperationEntry, SectorsStep, StepEntry
from tailort.protocols.schema import (
    FieldMarginEntry,
    LimitEntry,
    PositionEntry,
    PreferredTechnique,
    ProtocolFile,
    Supplement,
    Technique,
)
from tailort.protocols.tumour_extent import largest_length

Conditional = TypeVar(
    "Conditional", StepEntry, Supplement, PositionEntry, PreferredTechnique, LimitEntry, FieldMarginEntry
)


def for_patient(
    protocol: Protocol,
    facts: Mapping[str, Fact],
    readings: Mapping[str, str] | None = None,
    today: dt.date | None = None,
    option: str | None = None,
) -> Protocol:
    """Return the protocol with what holds for some patients only decided for this one.

    Parameters
    ----------
    protocol : Protocol
        Whose plans, volumes, supplements, positions or preferred technique may have a `when`.
    facts : dict of Fact
        The clinical record, by name.
    readings : dict of str
        Readings of ambiguous rules to take in place of the file's defaults, by rule.
    today : date or None
        The day that conditions see as the fact `today`; None leaves it unknown.
    option : str or None
        Other doses of the patient's plan, by the id of the option.

    Returns
    -------
    Protocol
        Without any `when`: what does not hold is left out. A protocol without conditions comes back as it is.

    Raises
    ------
    UndecidedError
        When a condition cannot be answered, with the facts that are missing for all of them.
    InputError
        When a fact is of the wrong type, out of range or no choice of the protocol, facts contradict each other, or
        there is no such reading or option.
    NotEligibleError
        When none of the protocol's plans is for this patient.
    """
    whole = protocol.file
    # What tables say, that of the plans too, is known of the whole file only.
    patient = seen(whole, facts, readings, today)
    values = patient.values
    if whole.plans:
        protocol = with_plan(protocol, choose_plan(protocol, patient).require_one(), option)
    elif option is not None:
        raise InputError(f"protocol '{protocol.id}' has no plans with options; leave --option {option} out")
    protocol = as_recorded(protocol, values)
    file = protocol.file
    missing: dict[str, None] = {}
    undecided: list[Condition] = []

    def holding(entries: tuple[Conditional, ...]) -> Iterator[Conditional]:
        for entry in entries:
            if entry.when is None:
                yield entry
                continue
            found = entry.when.evaluate(values)
            if found.answer == "unknown":
                missing.update(dict.fromkeys(found.open_facts()))
                undecided.append(entry.when)
            if found.answer == "yes":
                yield entry.model_copy(update={"when": None})

    other = file.comparator
    decided = file.model_copy(
        update={
            "targets": tuple(holding(file.targets)),
            "supplements": tuple(holding(file.supplements)),
            "positions": tuple(holding(file.positions)),
            "preferred": next(holding((file.preferred,)), None) if file.preferred else None,
            "comparator": other.model_copy(update={"targets": tuple(holding(other.targets))}) if other else None,
            "limits": tuple(holding(file.limits)),
            "field_margins": tuple(holding(file.field_margins)),
        }
    )
    if undecided:
        domain = Domain.of(whole)
        few = dict.fromkeys(name for when in undecided for name in domain.fewest(when, values).facts)
        more = f" (these could settle it; {len(missing)} facts are open)" if 0 < len(few) < len(missing) else ""
        raise UndecidedError(
            f"protocol '{protocol.id}' cannot tell what applies to this patient without: "
            f"{', '.join(few if more else missing)}{more}; add them to the clinical record",
            tuple(missing),
        )
    limits = _of_tables(file, values)
    if decided == file and not limits and not _waiting(file.targets):
        return protocol
    decided = decided.model_copy(update={"limits": (*limits, *decided.limits), "table_limits": ()})
    return replace(protocol, file=_with_margins(decided).model_copy(update={"targets": _lengthened(decided, values)}))


def _with_margins(file: ProtocolFile) -> ProtocolFile:
    """Put the field margins that hold into the techniques."""

    def changed(technique: Technique) -> Technique:
        for entry in file.field_margins if technique.kind == "3dcrt" else ():
            technique = technique.model_copy(
                update={"aperture_margin_mm": entry.aperture_margin_mm, "rules": (*technique.rules, *entry.rules)}
            )
        return technique

    preferred = file.preferred
    return file.model_copy(
        update={
            "technique": changed(file.technique) if file.technique else None,
            "preferred": preferred.model_copy(update={"technique": changed(preferred.technique)})
            if preferred
            else None,
            "field_margins": (),
        }
    )


def _of_tables(file: ProtocolFile, values: Mapping[str, Any]) -> tuple[LimitEntry, ...]:
    """Limits with the numbers that decision tables give for the patient."""
    tables = {table.name: table for table in file.tables}
    made = []
    for entry in file.table_limits:
        number = entry.number(values, tables[entry.table].outcomes)
        earlier = "" if entry.with_earlier is None else entry.with_earlier.text(number, values)
        made.append(
            LimitEntry(
                structure=entry.structure, metric=entry.metric, operator=entry.operator, limit=number,
                priority=entry.priority, rule=entry.rule,
                note="; ".join(part for part in (f"{number:g} by the table '{entry.table}'", earlier) if part),
            )
        )  # fmt: skip
    return tuple(made)


def _waiting(steps: Sequence[StepEntry]) -> bool:
    """Whether an operation waits for what the record tells."""
    every = [operation for step in steps for operation in step.then]
    return any(
        bool(one.lengthen.to_largest_of) if isinstance(one, LengthenStep) else bool(one.sectors.asks)
        for one in every if isinstance(one, LengthenStep | SectorsStep)
    )  # fmt: skip


def _lengthened(file: ProtocolFile, values: Mapping[str, Any]) -> tuple[StepEntry, ...]:
    """Steps with lengths and sectors of the record in place of the facts that tell them.

    Raises
    ------
    UndecidedError
        When none of the lengths that an operation asks for is recorded.
    """

    def known(operation: OperationEntry) -> OperationEntry:
        if isinstance(operation, SectorsStep):
            return operation.model_copy(update={"sectors": operation.sectors.decided(values)})
        if not (isinstance(operation, LengthenStep) and operation.lengthen.to_largest_of):
            return operation
        found = largest_length({name: values.get(name) for name in operation.lengthen.to_largest_of})
        own = operation.lengthen.model_copy(
            update={"to_largest_of": (), "to_mm": round(10 * found.longest_cm, 6), "told": found.text}
        )
        return operation.model_copy(update={"lengthen": own})

    return tuple(
        step.model_copy(update={"then": tuple(known(operation) for operation in step.then)}) for step in file.targets
    )
