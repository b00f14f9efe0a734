"""Which of two limits is the stricter one: the one that refuses whatever the other refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tailort.patient.prescription import Operator, Priority

_SEVERITY: dict[Priority, int] = {"report": 0, "goal": 1, "hard": 2}


class Limited(Protocol):
    """Whatever limits one metric of one structure."""

    @property
    def structure(self) -> str:
        """Name of the structure."""
        ...

    @property
    def metric(self) -> str:
        """What is limited."""
        ...

    @property
    def operator(self) -> Operator:
        """As printed."""
        ...

    @property
    def limit(self) -> float:
        """In the metric's unit, or in percent of a prescription."""
        ...

    @property
    def percent_of(self) -> str | None:
        """Target of that prescription."""
        ...

    @property
    def quantity(self) -> str:
        """Physical dose, BED or EQD2."""
        ...

    @property
    def alpha_beta_gy(self) -> float | None:
        """Of BED and EQD2."""
        ...

    @property
    def scope(self) -> str:
        """Of the course or cumulative."""
        ...


@dataclass(frozen=True)
class Bound:
    """One side of what a limit allows: values below `limit` (`upper`) or above it, `limit` itself where `included`."""

    upper: bool
    limit: float
    included: bool

    @staticmethod
    def of(operator: Operator, limit: float) -> Bound:
        """Return the bound of a limit with its printed operator."""
        return Bound(operator in ("<", "<="), limit, operator in ("<=", ">="))

    def within(self, other: Bound) -> bool:
        """Whether all that this one allows is allowed by the other one too; only for bounds of the same side."""
        if self.limit == other.limit:
            return other.included or not self.included
        return self.limit < other.limit if self.upper else self.limit > other.limit


def comparable(one: Limited, other: Limited) -> bool:
    """Whether two limits bound the same metric of the same structure on the same side, in the same unit."""
    return (
        one.structure.lower() == other.structure.lower()
        and one.metric == other.metric
        and Bound.of(one.operator, one.limit).upper == Bound.of(other.operator, other.limit).upper
        and one.quantity == other.quantity
        and one.alpha_beta_gy == other.alpha_beta_gy
        and one.scope == other.scope
        and (one.percent_of or "").lower() == (other.percent_of or "").lower()
    )


def loosens(was: Limited, now: Limited) -> bool:
    """Whether a limit allows something that the comparable one in force does not."""
    return not Bound.of(now.operator, now.limit).within(Bound.of(was.operator, was.limit))


def less_severe(was: Priority, now: Priority) -> bool:
    """Whether a violation would weigh less than it does."""
    return _SEVERITY[now] < _SEVERITY[was]
