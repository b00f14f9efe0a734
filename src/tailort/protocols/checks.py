"""Checks of a prescription by a protocol's own rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tailort.protocols.condition import COMPARE
from tailort.protocols.schema import DosePerFraction, PrescriptionEntry, SameFractions


@dataclass(frozen=True)
class CheckResult:
    """One check and whether the prescription passes it.

    Parameters
    ----------
    rule : str
        Rule id.
    text : str
        What was asked and what was found.
    holds : bool
        Whether it passes.
    """

    rule: str
    text: str
    holds: bool


def judge(check: SameFractions | DosePerFraction, prescriptions: Sequence[PrescriptionEntry]) -> Iterator[CheckResult]:
    """Judge a prescription by one check; doses per fraction are compared as exact fractions, not rounded."""
    if isinstance(check, SameFractions):
        for phase in sorted({p.phase for p in prescriptions}):
            counts = {p.target: p.fractions for p in prescriptions if p.phase == phase}
            told = ", ".join(f"{target} {n}" for target, n in counts.items())
            text = f"every target of phase {phase} has the same number of fractions: {told}"
            yield CheckResult(check.rule, text, len(set(counts.values())) == 1)
        return
    for prescription in prescriptions:
        if prescription.target == check.target:
            dose = prescription.dose_per_fraction_gy
            text = f"dose per fraction of {check.target} {check.operator} {check.gy:g} Gy: {float(dose):g} Gy"
            yield CheckResult(check.rule, text, COMPARE[check.operator](dose, Fraction(str(check.gy))))
