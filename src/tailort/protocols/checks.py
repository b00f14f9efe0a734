"""Checks of a prescription by a protocol's own rules, and what its dose levels are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tailort.protocols.condition import COMPARE
from tailort.protocols.schema import DosePerFraction, PrescriptionEntry, SameFractions
from tailort.radiobiology import bed, eqd2


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


@dataclass(frozen=True)
class DoseLevel:
    """What one prescribed dose is worth.

    Parameters
    ----------
    target : str
        Structure.
    phase, fractions : int
        Phase of the course and its number of fractions.
    dose_gy, dose_per_fraction_gy : float
        Physical dose of the phase and of one fraction, Gy.
    alpha_beta_gy : float
        Gy.
    bed_gy, eqd2_gy : float
        BED and EQD2 of the phase with that alpha/beta, Gy.
    """

    target: str
    phase: int
    fractions: int
    dose_gy: float
    dose_per_fraction_gy: float
    alpha_beta_gy: float
    bed_gy: float
    eqd2_gy: float


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


def dose_level(prescription: PrescriptionEntry, alpha_beta_gy: float) -> DoseLevel:
    """Return BED and EQD2 of a prescription.

    Examples
    --------
    >>> entry = PrescriptionEntry(target="PTV_6600", dose_gy=66.0, fractions=30)
    >>> round(dose_level(entry, 10.0).bed_gy, 2)
    80.52
    """
    dose, n = prescription.dose_gy, prescription.fractions
    return DoseLevel(
        target=prescription.target,
        phase=prescription.phase,
        fractions=n,
        dose_gy=dose,
        dose_per_fraction_gy=float(prescription.dose_per_fraction_gy),
        alpha_beta_gy=alpha_beta_gy,
        bed_gy=float(bed(dose, n, alpha_beta_gy)),
        eqd2_gy=float(eqd2(dose, n, alpha_beta_gy)),
    )
