"""One phase of a course: what is asked of it, and what the phases before it leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tailort.evaluation import EarlierCourse, Scenario, accumulate
from tailort.geometry import Grid, Image
from tailort.patient import Constraint, Dose, Metric, Prescription
from tailort.protocols.schema import Technique
from tailort.radiobiology import course_dose
from tailort.workflow.parts import cut_course, cut_dose


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
    drawn : tuple of tuple of EarlierCourse
        The same by draws of their registrations, on a part of the dose grid: hard limits hold in each.
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
    drawn: tuple[tuple[EarlierCourse, ...], ...] = ()

    @property
    def weighs_goals(self) -> bool:
        """Whether goals that cannot all be had are weighed against each other, not served in order."""
        return self.technique.goals == "weighed"

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

    def wholes(self, c: Constraint, own: Dose) -> tuple[Dose, ...]:
        """Dose that a constraint is about, with this as the phase's own, on its grid.

        Of a constraint on all courses the first is the sum as the registrations say, the others are those of the draws.
        """
        part = own.image.grid
        doses = [*(cut_dose(dose, part) for dose in self.earlier), own]
        if not self.counts_before(c) or c.alpha_beta_gy is None:
            return (course_dose(doses, c.quantity, c.alpha_beta_gy),)
        return tuple(
            accumulate([cut_course(course, part) for course in courses], doses, c.quantity, c.alpha_beta_gy)
            for courses in (self.before, *self.drawn)
        )

    def spent(self, c: Constraint, part: Grid) -> tuple[Image, ...]:
        """Dose of the phases before in the quantity of a constraint, Gy, on a part of the dose grid; none before none.

        A limit on all courses counts the earlier ones too: as the registrations say, then in each draw; where their
        dose is not known it is not a number.
        """
        doses = [cut_dose(dose, part) for dose in self.earlier]
        if self.counts_before(c) and c.alpha_beta_gy is not None:
            return tuple(
                accumulate([cut_course(course, part) for course in courses], doses, c.quantity, c.alpha_beta_gy).image
                for courses in (self.before, *self.drawn)
            )
        return (course_dose(doses, c.quantity, c.alpha_beta_gy).image,) if doses else ()


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
