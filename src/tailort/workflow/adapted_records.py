"""What an adaptation knows when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tailort.evaluation import DVH, Scorecard
from tailort.patient import Case, Dose, Plan, Prescription
from tailort.physics import Machine
from tailort.protocols import Protocol
from tailort.protocols.proposals import Proposals
from tailort.radiobiology import course_dose
from tailort.registration import Registration
from tailort.workflow.adaptation_facts import Measured, PlannedImage, asks_for_a_plan
from tailort.workflow.clock import Stage
from tailort.workflow.daily_doses import Day, OnScan
from tailort.workflow.replanning import Replanned


@dataclass(frozen=True)
class SideBySide:
    """One metric of one structure: as planned, of what was given, if nothing changes, and with the new plan.

    Parameters
    ----------
    structure, metric, quantity : str
        Such as "PTV_6600", "D95%[Gy]", "physical".
    planned, so_far, projected, replanned : float or None
        In the unit of the metric; None where it is not known or was not made.
    """

    structure: str
    metric: str
    quantity: str
    planned: float | None
    so_far: float | None
    projected: float | None
    replanned: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            name: round(value, 3) if isinstance(value, float) else value for name, value in vars(self).items()
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Adaptation:
    """A course that is looked at again on the anatomy of today.

    Parameters
    ----------
    case : Case
        Of today: the last CT and the structures on it, each telling whether it was carried from the planning CT.
    planned : Case
        The planning CT with its structures.
    scans : Case
        Of today, with the other scans of the course as courses without a dose: for pictures of registrations.
    plans : tuple of Plan
        That was treated by, in the order in which they are given: one for each phase.
    machine : Machine
        Of its beams.
    days : tuple of Day
        The planning CT and the new ones, with the fractions counted on each.
    registrations : dict of Registration
        From today's frame to that of each other scan, and of earlier courses, by label.
    planned_doses : tuple of Dose
        Physical, on the planning CT, of all fractions of each plan.
    given : tuple of Dose
        What was given, on today's anatomy: physical, one part for the fractions of a plan on a scan.
    projected : tuple of Dose
        The same and what would follow if nothing changes.
    on_scans : dict of tuple of OnScan
        Each plan as it was set up on today's scan and on every one with fractions, by label.
    planned_card, projected_card : Scorecard or None
        By the protocol's limits; None without one.
    dvhs : dict of tuple of DVH
        "planned", "projected", "replanned": physical, whole course.
    rows : tuple of SideBySide
        Of targets and organs, physical and in EQD2.
    facts : tuple of Measured
        Of the triggers.
    triggers : Proposals
        By the protocol of individualised radiotherapy.
    images : tuple of PlannedImage
        That the protocol of the course plans.
    protocol : Protocol or None
        Of the course, as it is for the patient.
    replanned : Replanned or None
        The plan of the remaining fractions.
    why_not : str
        Why there is no new plan; empty where there is one.
    notes, warnings : tuple of str
        What a reader must know, and what of it belongs on the first page.
    unjudged : str
        Why the protocol's limits could not be judged; empty where they were, or no protocol was named.
    stages : tuple of Stage
        Seconds.
    """

    case: Case
    planned: Case
    scans: Case
    plans: tuple[Plan, ...]
    machine: Machine
    days: tuple[Day, ...]
    registrations: Mapping[str, Registration]
    planned_doses: tuple[Dose, ...]
    given: tuple[Dose, ...]
    projected: tuple[Dose, ...]
    on_scans: Mapping[str, tuple[OnScan, ...]]
    planned_card: Scorecard | None
    projected_card: Scorecard | None
    dvhs: Mapping[str, tuple[DVH, ...]]
    rows: tuple[SideBySide, ...]
    facts: tuple[Measured, ...]
    triggers: Proposals
    images: tuple[PlannedImage, ...]
    protocol: Protocol | None
    replanned: Replanned | None
    why_not: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    unjudged: str = ""
    stages: tuple[Stage, ...] = ()

    @property
    def label(self) -> str:
        """Labels of the plans."""
        return ", ".join(plan.label for plan in self.plans)

    @property
    def fractions(self) -> int:
        """Of the course as it was planned."""
        return sum(plan.fractions for plan in self.plans)

    @property
    def planned_dose(self) -> Dose:
        """Physical dose of the whole course on the planning CT."""
        return course_dose(self.planned_doses)

    @property
    def prescriptions(self) -> tuple[Prescription, ...]:
        """Of all phases."""
        return tuple(p for plan in self.plans for p in plan.prescriptions)

    @property
    def delivered(self) -> int:
        """Fractions that were given."""
        return sum(day.fractions for day in self.days)

    @property
    def fired(self) -> tuple[str, ...]:
        """Ids of the triggers that have fired."""
        return tuple(one.entry.id for one in self.triggers.triggers if one.answer == "yes")

    @property
    def asks_for_a_plan(self) -> bool:
        """Whether a trigger that has fired needs another plan."""
        return any(asks_for_a_plan(one) for one in self.triggers.triggers)

    @property
    def final_card(self) -> Scorecard | None:
        """Of the course as it goes on: with the new plan where there is one, else if nothing changes."""
        return self.projected_card if self.replanned is None else self.replanned.result.scorecard

    def as_dict(self) -> dict[str, Any]:
        """Return what adaptation.json holds."""
        return {
            "plan": {"label": self.label, "fractions": self.fractions},
            "phases": [
                {
                    "label": plan.label,
                    "fractions": plan.fractions,
                    "delivered": sum(day.by_plan[n] for day in self.days),
                }
                for n, plan in enumerate(self.plans)
            ],
            "delivered": self.delivered,
            "remaining": self.fractions - self.delivered,
            "scans": [
                {
                    "label": day.label,
                    "date": day.date.isoformat() if day.date else None,
                    "fractions_counted_on_it": day.fractions,
                    "by_phase": list(day.by_plan),
                }
                for day in self.days
            ],
            "registrations": {
                label: {
                    "method": found.method,
                    "verdict": None if found.quality is None else found.quality.verdict,
                    "measures": []
                    if found.quality is None
                    else [
                        {"name": m.name, "value": round(m.value, 4), "verdict": m.verdict}
                        for m in found.quality.measures
                    ],
                }
                for label, found in self.registrations.items()
            },
            "facts": [fact.as_dict() for fact in self.facts],
            "triggers": [one.as_dict() for one in self.triggers.triggers],
            "fired": list(self.fired),
            "planned_images": [image.as_dict() for image in self.images],
            "side_by_side": [row.as_dict() for row in self.rows],
            "replanned": self.replanned is not None,
            "why_not": self.why_not,
            "structures": {
                s.name: "to be reviewed" if s.made_by else "drawn" for s in self.case.structures if not s.is_empty
            },
            "unknown": [fact.name for fact in self.facts if fact.value is None],
            "warnings": list(self.warnings),
        }
