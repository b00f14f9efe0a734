"""What was measured of a registration, and against what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "fail", "report"]


@dataclass(frozen=True)
class Measure:
    """One number that tells how good a registration is.

    Parameters
    ----------
    name : str
        What was measured, with its unit.
    value : float
        As found.
    operator : {"<=", ">=", ">", ""}
        How it is compared; empty is not compared.
    limit : float or None
        What it is compared with; None is only reported.
    source : str
        Where the limit comes from, and whether it was read there or recalled.
    """

    name: str
    value: float
    operator: Literal["<=", ">=", ">", ""] = ""
    limit: float | None = None
    source: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the value keeps its limit; "report" where there is none."""
        if self.limit is None or not self.operator:
            return "report"
        kept = {
            "<=": self.value <= self.limit,
            ">=": self.value >= self.limit,
            ">": self.value > self.limit,
        }[self.operator]
        return "pass" if kept else "fail"


@dataclass(frozen=True)
class Quality:
    """What was measured of a registration.

    Parameters
    ----------
    measures : tuple of Measure
        In the order of the report.
    """

    measures: tuple[Measure, ...]

    @property
    def verdict(self) -> Verdict:
        """Return "fail" when one measure fails, "pass" when at least one is compared and all of these pass."""
        verdicts = {measure.verdict for measure in self.measures}
        if "fail" in verdicts:
            return "fail"
        return "pass" if "pass" in verdicts else "report"

    @property
    def failed(self) -> tuple[Measure, ...]:
        """The measures that do not keep their limit."""
        return tuple(measure for measure in self.measures if measure.verdict == "fail")

    def __add__(self, other: Quality) -> Quality:
        return Quality((*self.measures, *other.measures))
