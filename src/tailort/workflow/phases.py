"""One phase of a course: what is asked of it, and what the phases before it leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.evaluation import EarlierCourse, Scenario, accumulate
from tailort.patient import Constraint, Dose, Metric, Prescription
from tailort.protocols.schema import Technique
from tailort.radiobiology import bed, course_dose, eqd2

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Phase:
    """What is asked of one phase.

    Parameters
    ----------
    number : int
        1 for the first.
    label : str
        Of its plan, at most 16 characters.
    technique : Technique
        Of this phase.
    prescriptions : tuple of Prescription
        Of this phase, all with the same number of fractions.
    constraints : tuple of Constraint
        Of the whole course, on structures that are drawn.
    earlier : tuple of Dose
        Of the phases before, physical, each the total of its own fractions.
    share : float
        Prescribed dose up to the end of this phase as a share of the course's.
    shadows : tuple of str
        Structures whose shadows beamlets cover.
    positions : tuple of Scenario
        Where the patient may lie, the planned position first, for a robust plan; else nothing.
    before : tuple of EarlierCourse
        Earlier courses, which limits on all courses count too.
    """

    number: int
    label: str
    technique: Technique
    prescriptions: tuple[Prescription, ...]
    constraints: tuple[Constraint, ...]
    earlier: tuple[Dose, ...]
    share: float
    shadows: tuple[str, ...]
    positions: tuple[Scenario, ...] = ()
    before: tuple[EarlierCourse, ...] = ()

    @property
    def lead(self) -> Prescription:
        """The highest dose of the phase."""
        return max(self.prescriptions, key=lambda p: p.dose_gy)

    def limits_so_far(self) -> tuple[Constraint, ...]:
        """Constraints that the sum has to keep at the end of this phase.

        Later phases need their part: doses that a limit allows, or asks about, are taken in proportion to what is
        prescribed until then. What a target must reach is asked of the last phase.
        """
        if self.share >= 1.0:
            return self.constraints
        return tuple(_in_part(c, self.share) for c in self.constraints if is_ceiling(c))

    def counts_before(self, c: Constraint) -> bool:
        """Whether a constraint is on all courses together, and earlier ones are known."""
        return c.scope == "cumulative" and c.alpha_beta_gy is not None and bool(self.before)

    def whole(self, c: Constraint, own: Dose) -> Dose:
        """Dose that a constraint is about, with this as the phase's own."""
        if self.counts_before(c) and c.alpha_beta_gy is not None:
            return accumulate(self.before, [*self.earlier, own], c.quantity, c.alpha_beta_gy)
        return course_dose([*self.earlier, own], c.quantity, c.alpha_beta_gy)

    def earlier_gy(self, c: Constraint, rows: NDArray[np.uint32]) -> Float:
        """Dose of the phases before in the quantity of a constraint, Gy, in rows of the dose grid.

        A limit on all courses counts the earlier ones too; where their dose is not known it is 0 here, and the
        scorecard says that it is unknown.
        """
        total = np.zeros(len(rows))
        if self.counts_before(c):
            assert c.alpha_beta_gy is not None
            spent = accumulate(self.before, (), c.quantity, c.alpha_beta_gy)
            total += np.nan_to_num(spent.image.values.reshape(-1)[rows].astype(np.float64))
        for dose in self.earlier:
            physical = dose.image.values.reshape(-1)[rows].astype(np.float64)
            if c.quantity == "physical" or c.alpha_beta_gy is None:
                total += physical
            else:
                convert = bed if c.quantity == "BED" else eqd2
                total += convert(physical, dose.known_fractions(), c.alpha_beta_gy)
        return total


def is_ceiling(c: Constraint) -> bool:
    """Whether more dose breaks a limit: a dose or volume that is at most so much, or what stays below a dose."""
    below = Metric.parse(c.metric).kind == "CV"
    return (c.operator in ("<", "<=")) != below


def phase_label(label: str, number: int, phases: int) -> str:
    """Name of a phase's plan."""
    return label if phases == 1 else f"{label[:11]} ph {number}"


def in_gray(c: Constraint, course: Sequence[Prescription]) -> Constraint:
    """A constraint whose percent of a prescription are Gy of the course: a target's own, else the highest."""
    metric = Metric.parse(c.metric)
    own = [p.dose_gy for p in course if p.target.lower() == c.structure.lower()]
    percent_gy = max(own or [p.dose_gy for p in course]) / 100.0
    if metric.is_dose and metric.unit == "%":
        return replace(c, metric=str(replace(metric, unit="Gy")), limit=c.limit * percent_gy)
    if metric.kind in ("V", "CV") and metric.at is not None and metric.at_unit == "%":
        return replace(c, metric=str(replace(metric, at=round(metric.at * percent_gy, 4), at_unit="Gy")))
    return c


def _in_part(c: Constraint, share: float) -> Constraint:
    """A constraint with its dose times a share."""
    metric = Metric.parse(c.metric)
    if c.scope == "cumulative":
        # What earlier courses have spent is not in proportion; later phases are planned on what this one leaves.
        return c
    if metric.is_dose:
        return replace(c, limit=c.limit * share) if metric.unit == "Gy" else c
    if metric.at is not None and metric.at_unit == "Gy":
        return replace(c, metric=str(replace(metric, at=round(metric.at * share, 4))))
    return c
