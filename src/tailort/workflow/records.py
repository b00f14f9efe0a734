"""What a run of the main job knows when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.evaluation import DVH, Comparison, Robustness, RobustRow, Scorecard
from tailort.evaluation.painting import PaintingQuality
from tailort.optimisation import PlanDelivery
from tailort.patient import (
    Case,
    Constraint,
    Dose,
    FunctionalImage,
    Painted,
    Plan,
    Prescription,
    Scan,
    StructureSet,
)
from tailort.physics import Machine
from tailort.protocols import Decision, Protocol
from tailort.protocols.condition import Answer
from tailort.protocols.schema import AmendmentEntry, StatementEntry
from tailort.registration import Registration
from tailort.workflow.clock import Stage
from tailort.workflow.imaging import ImagingRow
from tailort.workflow.reporting import Reporting


@dataclass(frozen=True)
class Convergence:
    """How an optimisation ended.

    Parameters
    ----------
    converged : bool
        Whether the solver met its own criterion.
    reason : str
        Why it stopped.
    iterations : int
        Of the fluence and of the segments' weights together.
    optimality : float
        Norm of the projected gradient at the end.
    kkt_residual : float
        How far the weights are from the conditions of an optimum (`tailort.optimisation.solve.Solution`), as a share of
        the value; infinite where a limit does not hold.
    interrupted : bool
        Whether a person stopped it.
    """

    converged: bool
    reason: str
    iterations: int
    optimality: float
    kkt_residual: float
    interrupted: bool = False


@dataclass(frozen=True)
class OrderedGoal:
    """A goal that was served in its turn.

    Parameters
    ----------
    label : str
        Which.
    reached_gy : float
        How far it stayed from its aim, Gy: root mean square of what is beyond it, or a mean dose; 0 is all of it.
    kept_gy : float
        What later goals had to leave it.
    met : bool or None
        Whether the fluence meets it as the protocol prints it; None where the protocol prints no limit.
    cost_gy : float
        What the goals between the targets' coverage and it cost it, Gy of the same measure.
    """

    label: str
    reached_gy: float
    kept_gy: float
    met: bool | None
    cost_gy: float


@dataclass(frozen=True, eq=False)
class PhasePlan:
    """The deliverable plan of one phase.

    Parameters
    ----------
    number : int
        1 for the first.
    technique : str
        "imrt", "vmat" or "3dcrt".
    plan : Plan
        Control points and MU.
    dose : Dose
        Of the control points, physical, total of the phase's fractions, from the reporting engine.
    convergence : Convergence
        How the optimisation ended.
    delivery : PlanDelivery
        Time and complexity of a fraction.
    order : tuple of OrderedGoal
        Where goals had to be served one after the other.
    fluence_mu : (beamlets,) float or None
        Ideal fluence that it was made of, MU per fraction: an interrupted run can go on from it.
    notes : tuple of str
        What a reader must know of it.
    disagreement : float or None
        Largest difference between the optimiser's dose of the control points and the engine's in a target's D98%, D95%,
        D50% and D2%, as a share of its prescription; None where the engine's own dose was optimised.
    held_down : tuple of str
        Hard limits that keep it below its prescription, in words; the notes tell them too.
    """

    number: int
    technique: str
    plan: Plan
    dose: Dose
    convergence: Convergence
    delivery: PlanDelivery
    order: tuple[OrderedGoal, ...] = ()
    notes: tuple[str, ...] = ()
    fluence_mu: NDArray[np.float64] | None = None
    disagreement: float | None = None
    held_down: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PlanResult:
    """The deliverable plans of a course, their dose and how it is judged.

    Parameters
    ----------
    title : str
        What the plan is, for people.
    prescriptions, constraints : tuple
        What was asked.
    phases : tuple of PhasePlan
        In order of delivery.
    dose : Dose
        Of all control points, physical, course total, from the reporting engine.
    scorecard : Scorecard
        Course total.
    dvhs : tuple of DVH
        Of every structure.
    label : str
        Short name.
    notes : tuple of str
        What a reader must know of how it was made.
    """

    title: str
    label: str
    prescriptions: tuple[Prescription, ...]
    constraints: tuple[Constraint, ...]
    phases: tuple[PhasePlan, ...]
    dose: Dose
    scorecard: Scorecard
    dvhs: tuple[DVH, ...]
    notes: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        """Plan of the first phase: the only one of most courses."""
        return self.phases[0].plan

    @property
    def fractions(self) -> int:
        """Of all phases together."""
        return sum(phase.plan.fractions for phase in self.phases)

    @property
    def interrupted(self) -> bool:
        """Whether a person stopped it."""
        return any(phase.convergence.interrupted for phase in self.phases)

    @property
    def converged(self) -> bool:
        """Whether every phase's solver met its own criterion."""
        return all(phase.convergence.converged for phase in self.phases) and not self.interrupted


@dataclass(frozen=True, eq=False)
class AmendmentFinding:
    """What a plan was measured for, and whether other doses take the place of its own.

    Parameters
    ----------
    entry : AmendmentEntry
        What the protocol asks: other doses where a metric (physical dose of the course) stands so to a number.
    measured : float or None
        What the plan has, in the metric's unit; None where it cannot be told.
    plan : str
        Title of the plan that was measured.
    doses, other_doses : str
        Those of that plan, and those of the amendment, in words.
    by_record : bool
        Whether the plan was made before, and the record tells of it.
    held_down : tuple of str
        What keeps the plan below its prescription, in words: it was measured with less than its dose.
    with_whole_dose : float or None
        The metric if all of such a plan's dose were raised to its prescription.
    superseded : PlanResult or None
        That plan, where another was made in its place.
    protocol : Protocol or None
        The protocol as it was for the superseded plan.
    reason : str
        Why the measured value is unknown.
    """

    entry: AmendmentEntry
    measured: float | None
    plan: str
    doses: str
    other_doses: str
    by_record: bool = False
    held_down: tuple[str, ...] = ()
    with_whole_dose: float | None = None
    superseded: PlanResult | None = None
    protocol: Protocol | None = None
    reason: str = ""

    @property
    def due(self) -> Answer:
        """Whether the doses are to be amended."""
        return self.entry.due(self.measured)

    @property
    def is_made(self) -> bool:
        """Whether the amended doses were planned."""
        return self.by_record or self.superseded is not None

    @property
    def is_measured_low(self) -> bool:
        """Whether no other doses are due by a plan that has less than its own dose."""
        return self.due == "no" and bool(self.held_down)

    @property
    def follows(self) -> str:
        """What follows of the doses, in words."""
        if self.due == "unknown":
            return f"not known: {self.reason}"
        if self.due == "yes":
            how = "" if self.by_record else "planned once more with " if self.is_made else "other doses are due: "
            return f"{how}{self.other_doses} in place of {self.doses}"
        if not self.held_down:
            return "the doses stay"
        told = f"the doses stay, but the plan has less than its dose: {'; '.join(self.held_down)}"
        if self.with_whole_dose is None:
            return told
        then = "other doses would be due" if self.entry.due(self.with_whole_dose) == "yes" else "the doses would stay"
        return f"{told}; with all of its dose it would be {self.with_whole_dose:.2f}, and {then}"

    @property
    def text(self) -> str:
        """What was measured and what follows, in one line."""
        entry, cited = self.entry, f" ({', '.join(self.entry.rules)})" if self.entry.rules else ""
        if self.measured is None:
            return f"{self.plan}: whether {entry.asked} asks for other doses{cited} is not known: {self.reason}"
        found = f"{self.plan.partition(':')[0]}: {entry.structure} {entry.metric} is {self.measured:.2f}"
        stands = "" if self.due == "yes" else "not "
        return f"{found}, {stands}{entry.operator} {entry.value:g}: {self.follows}{cited}"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding ready for JSON."""
        entry = self.entry
        return {
            "amendment": entry.id,
            "plan": self.plan,
            "by_record": self.by_record,
            "structure": entry.structure,
            "metric": entry.metric,
            "operator": entry.operator,
            "value": entry.value,
            "measured": self.measured,
            "due": self.due,
            "doses": self.doses,
            "other_doses": self.other_doses,
            "held_down_by": list(self.held_down),
            "with_whole_dose": self.with_whole_dose,
            "superseded": self.superseded is not None,
            "rules": list(entry.rules),
            "text": self.text,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class DrawnSums:
    """Limits over all courses, with the earlier doses as registered and in each draw of their registrations.

    Parameters
    ----------
    draws : int
        How many, beside the registrations as they are.
    rows : tuple of RobustRow
        One for each limit; the nominal value is the scorecard's.
    """

    draws: int
    rows: tuple[RobustRow, ...]

    @property
    def hard_failures(self) -> tuple[RobustRow, ...]:
        """Hard limits that do not hold in every draw."""
        return tuple(row for row in self.rows if row.priority == "hard" and row.verdict == "fail")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"draws": self.draws, "metrics": [row.as_dict() for row in self.rows]}


@dataclass(frozen=True, eq=False)
class PaintedTarget:
    """A target whose dose was painted, and how the plans follow it.

    Parameters
    ----------
    target, structure : str
        What is prescribed to, and the structure inside that is painted by its own uptake.
    painted : Painted
        What each point is to get.
    image : FunctionalImage
        By which.
    qualities : tuple of (str, PaintingQuality)
        Of each plan by its label, in the structure; that with one dose everywhere is held against the painting too.
    true_control : tuple of (str, float)
        Tumour control of each plan by the true biology, 0 to 1: only virtual patients have one that is known.
    """

    target: str
    structure: str
    painted: Painted
    image: FunctionalImage
    qualities: tuple[tuple[str, PaintingQuality], ...]
    true_control: tuple[tuple[str, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return figures and sources ready for JSON."""
        image = self.image
        return {
            "target": self.target,
            "structure": self.structure,
            "painting": self.painted.text,
            "range_gy": [self.painted.least_gy, self.painted.most_gy],
            "image": {
                "quantity": image.quantity.id,
                "mark": image.quantity.mark,
                "date": image.date.isoformat(),
                "source": image.source,
                "registered": image.registered,
                "uncertainty_mm": image.uncertainty_mm,
                "notes": list(image.notes),
            },
            "plans": {label: quality.as_dict() for label, quality in self.qualities},
            "true_tumour_control": {label: round(share, 5) for label, share in self.true_control},
        }


@dataclass(frozen=True, eq=False)
class PlanningRun:
    """The main job, whole.

    `robustness` where set-up errors were asked about, `unfinished` what a person stopped, `plan` the protocol's plan
    that the patient has (with the option), `amendments` what the assessed plans were measured for, `imaging` what the
    protocol asks of the images, `flags` what it tells of this patient, `without_prior` the plan that does not know of
    earlier courses, where it was asked for, `drawn_sums` the limits over all courses in draws of the registrations,
    `registrations` by which earlier courses came here, by their label,
    `warnings` what else belongs on the first page, `reporting` what a report of a re-irradiation tells, `painted` how
    plans follow painted doses.
    """

    case: Case
    protocol: Protocol
    decision: Decision
    structures: StructureSet
    main: PlanResult
    comparator: PlanResult | None
    comparison: Comparison | None
    machine: Machine
    engine_note: str
    density_table: str
    stages: tuple[Stage, ...]
    robustness: Robustness | None = None
    unfinished: tuple[str, ...] = ()
    plan: str = ""
    amendments: tuple[AmendmentFinding, ...] = ()
    imaging: tuple[ImagingRow, ...] = ()
    flags: tuple[StatementEntry, ...] = ()
    without_prior: PlanResult | None = None
    drawn_sums: DrawnSums | None = None
    registrations: Mapping[str, Registration] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    reporting: Reporting | None = None
    painted: tuple[PaintedTarget, ...] = ()

    @property
    def superseded(self) -> tuple[PlanResult, ...]:
        """Plans in whose place others were made, the first one first."""
        return tuple(found.superseded for found in self.amendments if found.superseded is not None)

    @property
    def ct(self) -> Scan:
        """The planning CT."""
        return self.case.ct


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An existing dose, judged.

    Parameters
    ----------
    case : Case
        As it was read.
    dose : Dose
        The dose that is judged, as it stands in the file (course total, or of one fraction).
    scorecard : Scorecard
        One row a metric.
    dvhs : tuple of DVH
        Of every structure that has a volume.
    protocol : Protocol or None
        Whose limits were used, as it is for this patient.
    prescriptions : tuple of Prescription
        The protocol's, else the plan's own.
    notes : tuple of str
        What a reader must know (a plan that is not there, an unknown number of fractions).
    decision : Decision or None
        What the protocol decides of the patient; None without a protocol or a clinical record.
    amendments : tuple of AmendmentFinding
        Other doses that the protocol asks for by this dose, or by a plan that was made before it.
    """

    case: Case
    dose: Dose
    scorecard: Scorecard
    dvhs: tuple[DVH, ...]
    protocol: Protocol | None
    prescriptions: tuple[Prescription, ...]
    notes: tuple[str, ...]
    decision: Decision | None = None
    amendments: tuple[AmendmentFinding, ...] = ()
