"""From a protocol's course to what is asked of planning, and the patient on whom it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tailort.evaluation import Scenario
from tailort.patient import Case, Constraint, Prescription, StructureSet
from tailort.physics import Machine
from tailort.protocols import Protocol, Technique
from tailort.protocols.protocol import ReportMetric
from tailort.protocols.schema import Supplement
from tailort.registration import Registration
from tailort.targets import Step
from tailort.workflow.bench import Bench, set_up, steering
from tailort.workflow.options import PlanningOptions
from tailort.workflow.robust_plans import moving, tumours_for
from tailort.workflow.robustness import without_margins


@dataclass(frozen=True)
class Request:
    """One plan that is wanted.

    Parameters
    ----------
    title, label : str
        For people, and short.
    prescriptions, course, constraints, report : tuple
        As the protocol gives them.
    techniques : tuple of Technique
        In the order in which they are tried: the first whose plan keeps every hard limit is taken.
    supplements : tuple of Supplement
        Fields that bring a region up.
    positions : tuple of Scenario
        Where the patient may lie, the planned position first, for a robust plan; else nothing.
    given_gy : float
        Highest doses that were prescribed with the fractions given before what is wanted, physical, Gy.
    """

    title: str
    label: str
    prescriptions: tuple[Prescription, ...]
    course: tuple[Prescription, ...]
    constraints: tuple[Constraint, ...]
    report: tuple[ReportMetric, ...]
    techniques: tuple[Technique, ...]
    supplements: tuple[Supplement, ...] = ()
    positions: tuple[Scenario, ...] = ()
    given_gy: float = 0.0

    @property
    def phases(self) -> list[int]:
        """Numbers of the phases, in order."""
        return sorted({p.phase for p in self.prescriptions})

    def prescribed_in(self, phase: int) -> tuple[Prescription, ...]:
        """Prescriptions of one phase."""
        return tuple(p for p in self.prescriptions if p.phase == phase)

    def highest_gy(self, phase: int) -> float:
        """Highest dose of one phase, Gy."""
        return max(p.dose_gy for p in self.prescribed_in(phase))


def request_of(
    protocol: Protocol,
    techniques: tuple[Technique, ...],
    title: str,
    label: str,
    steps: Sequence[Step],
    structures: StructureSet,
    positions: tuple[Scenario, ...],
) -> Request:
    """Return a protocol's course as a request.

    Parameters
    ----------
    protocol : Protocol
        As it is for this patient.
    techniques : tuple of Technique
        In the order in which they are tried.
    title, label : str
        For people, and short.
    steps, structures
        The target recipe, and what was made by it.
    positions : tuple of Scenario
        Where the patient may lie, for a robust plan; else nothing.
    """
    prescriptions, course, constraints = protocol.prescriptions(), protocol.course(), protocol.constraints()
    if positions:
        prescriptions = course = tumours_for(prescriptions, techniques, steps, structures)
        constraints = without_margins(constraints, steps, structures)
    return Request(
        title, label, prescriptions, course, constraints, protocol.report_metrics(), techniques,
        protocol.supplements(), positions,
    )  # fmt: skip


def bench_of(
    case: Case,
    structures: StructureSet,
    machine: Machine,
    options: PlanningOptions,
    requests: Sequence[Request],
    registrations: Mapping[str, Registration],
) -> Bench:
    """Set up the patient for all plans of a run; the first request is the plan that may be robust."""
    first = requests[0]
    options = replace(options, dose_grid_mm=options.spacing_mm([t for one in requests for t in one.techniques]))
    return set_up(
        case,
        structures,
        machine,
        options,
        [p for request in requests for p in request.prescriptions],
        [c for request in requests for c in request.constraints],
        dict.fromkeys(moving(first.prescriptions, steering(first.constraints, structures)), first.positions),
        registrations,
    )


def about_positions(request: Request) -> tuple[str, ...]:
    """What a reader must know of a robust plan; nothing of another one."""
    positions = request.positions
    if not positions:
        return ()
    told = ", ".join(p.in_words for p in request.prescriptions)
    return (
        f"robust plan: {told}, in place of what the protocol prescribes to their PTVs, and hard limits, in each of "
        f"{len(positions)} positions of the patient ({', '.join(one.name for one in positions)}); the optimiser moves "
        "the patient through the dose of the planned position, the table of set-up errors is computed anew",
    )
