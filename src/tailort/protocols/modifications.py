"""What toxicity changes: conditions and actions, of which the most severe one wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tailort.protocols.condition import Condition, Finding
from tailort.protocols.section import Name, Section

Action = Literal["stop-all", "stop-chemotherapy", "hold-cycle", "reduce-dose"]
SEVERITY: tuple[Action, ...] = ("stop-all", "stop-chemotherapy", "hold-cycle", "reduce-dose")


class ModificationEntry(Section):
    """An action for patients of whom `when` holds; `dose_factor` is what remains of the original dose of all drugs."""

    id: Name
    when: Condition
    action: Action
    dose_factor: Annotated[float, Field(gt=0, lt=1)] | None = None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _factor_goes_with_reduction(self) -> Self:
        if (self.action == "reduce-dose") != (self.dose_factor is not None):
            raise ValueError("'dose_factor' goes with the action reduce-dose, and with no other")
        return self


@dataclass(frozen=True)
class Modification:
    """What is to be done, as far as it is known.

    Parameters
    ----------
    entry : ModificationEntry or None
        The most severe action that is called for; None when none is.
    missing : tuple of str
        Facts that are unknown and could still call for a more severe one; empty when the answer stands.
    findings : tuple of (ModificationEntry, Finding)
        Every entry and what came of its condition.
    """

    entry: ModificationEntry | None
    missing: tuple[str, ...]
    findings: tuple[tuple[ModificationEntry, Finding], ...]


def modification(entries: Sequence[ModificationEntry], values: Mapping[str, Any]) -> Modification:
    """Return the most severe action that known facts call for.

    Parameters
    ----------
    entries : sequence of ModificationEntry
        Of a protocol file.
    values : dict
        Values of facts by name, in the file's types; a missing or None value is unknown.
    """
    findings = tuple((entry, entry.when.evaluate(values)) for entry in entries)
    called = [entry for entry, found in findings if found.answer == "yes"]
    rank = {action: n for n, action in enumerate(SEVERITY)}
    # Of two reductions the larger one is the more severe.
    worst = min(called, key=lambda entry: (rank[entry.action], entry.dose_factor or 0.0), default=None)
    missing: dict[str, None] = {}
    for entry, found in findings:
        if worst is None or (rank[entry.action], entry.dose_factor or 0.0) < (
            rank[worst.action],
            worst.dose_factor or 0.0,
        ):
            missing.update(dict.fromkeys(found.open_facts()))
    return Modification(worst, tuple(missing), findings)
