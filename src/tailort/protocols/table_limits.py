"""Limits whose number a decision table gives, such as one that depends on earlier doses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from tailort.errors import NotEligibleError, UndecidedError
from tailort.patient.prescription import Operator, Priority
from tailort.protocols.condition import Candidates, of_table
from tailort.protocols.section import Count, Name, Positive, Section
from tailort.radiobiology import bed


class WithEarlier(Section):
    """What limit and earlier BED make together: told, and marked for review above `review_above_gy`, Gy BED.

    `earlier` are facts, each a BED of all earlier courses, of which the largest that is known counts; the sum is told
    as a lower bound while one of them is unknown.
    """

    earlier: tuple[Name, ...] = Field(min_length=1)
    fractions: Count
    alpha_beta_gy: Positive
    review_above_gy: Positive
    rules: tuple[str, ...] = ()

    def text(self, limit_gy: float, values: Mapping[str, Any]) -> str:
        """Tell the sum for one patient; empty while no earlier BED is known."""
        known = {name: float(values[name]) for name in self.earlier if values.get(name) is not None}
        if not known:
            return ""
        by = max(known, key=lambda name: known[name])
        together = known[by] + float(bed(limit_gy, self.fractions, self.alpha_beta_gy))
        bound = "" if len(known) == len(self.earlier) else "at least "
        told = f"with {by} of {known[by]:g} Gy together {bound}{together:.1f} Gy BED (a/b={self.alpha_beta_gy:g})"
        if together > self.review_above_gy + 1e-6:
            told += f", above {self.review_above_gy:g} Gy: to be reviewed"
        return f"{told} [{', '.join(self.rules)}]" if self.rules else told


class TableLimit(Section):
    """A limit on one metric of one structure, in the metric's unit: the number that a decision table gives."""

    structure: Name
    metric: Name
    operator: Operator
    table: Name
    priority: Priority
    with_earlier: WithEarlier | None = None
    rule: str = ""

    def number(self, values: Mapping[str, Any], outcomes: Sequence[str]) -> float:
        """Return the limit for one patient.

        Raises
        ------
        UndecidedError
            While several outcomes are possible, with the facts that are missing.
        NotEligibleError
            When no row of the table applies.
        """
        found: Candidates = values[of_table(self.table)]
        if len(found.outcomes) != 1:
            possible = ", ".join(name for name in outcomes if name in found.outcomes)
            raise UndecidedError(
                f"the limit {self.metric} of {self.structure} is one of {possible} as long as is not known: "
                f"{', '.join(found.open_facts)}; add them to the clinical record",
                found.open_facts,
            )
        (outcome,) = found.outcomes
        if not outcome:
            raise NotEligibleError(
                f"the table '{self.table}' gives no {self.metric} of {self.structure}: no row applies"
            )
        return float(outcome)
