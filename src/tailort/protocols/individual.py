"""A protocol as it applies to one patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from tailort.errors import UndecidedError
from tailort.patient import Fact
from tailort.protocols.known import known_facts
from tailort.protocols.plans import choose_plan, with_plan
from tailort.protocols.protocol import Protocol
from tailort.protocols.recipe import StepEntry
from tailort.protocols.schema import PositionEntry, PreferredTechnique, Supplement

Conditional = TypeVar("Conditional", StepEntry, Supplement, PositionEntry, PreferredTechnique)


def for_patient(protocol: Protocol, facts: Mapping[str, Fact]) -> Protocol:
    """Return the protocol with what holds for some patients only decided for this one.

    Parameters
    ----------
    protocol : Protocol
        Whose plans, volumes, supplements, positions or preferred technique may have a `when`.
    facts : dict of Fact
        The clinical record, by name.

    Returns
    -------
    Protocol
        Without any `when`: what does not hold is left out. A protocol without conditions comes back as it is.

    Raises
    ------
    UndecidedError
        When a condition cannot be answered, with the facts that are missing for all of them.
    InputError
        When a fact is of the wrong type, out of range or no choice of the protocol.
    NotEligibleError
        When none of the protocol's plans is for this patient.
    """
    if protocol.file.plans:
        protocol = with_plan(protocol, choose_plan(protocol, facts).require_one())
    file = protocol.file
    values = {name: fact.value for name, fact in known_facts(file, facts).items()}
    missing: dict[str, None] = {}

    def holding(entries: tuple[Conditional, ...]) -> Iterator[Conditional]:
        for entry in entries:
            if entry.when is None:
                yield entry
                continue
            found = entry.when.evaluate(values)
            missing.update(dict.fromkeys(found.open_facts()))
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
        }
    )
    if missing:
        raise UndecidedError(
            f"protocol '{protocol.id}' cannot tell what applies to this patient without: {', '.join(missing)}; add "
            "them to the clinical record",
            tuple(missing),
        )
    return protocol if decided == file else replace(protocol, file=decided)
