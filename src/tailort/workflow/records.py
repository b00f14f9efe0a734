"""What a run of the main job knows when it is done."""

from __future__ import annotations

from dataclasses import dataclass

from tailort.evaluation import DVH, Comparison, Scorecard
from tailort.patient import Case, Constraint, Dose, Plan, Prescription, Scan, StructureSet
from tailort.physics import Machine
from tailort.protocols import Decision, Protocol


@dataclass(frozen=True)
class Stage:
    """Time of one stage of the work."""

    name: str
    wall_s: float
    cpu_s: float


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
    interrupted : bool
        Whether a person stopped it.
    """

    converged: bool
    reason: str
    iterations: int
    optimality: float
    interrupted: bool = False


@dataclass(frozen=True, eq=False)
class PlanResult:
    """One deliverable plan, its dose and how it is judged.

    Parameters
    ----------
    title : str
        What the plan is, for people.
    prescriptions, constraints : tuple
        What was asked.
    plan : Plan
        Control points and MU.
    dose : Dose
        Of the control points, physical, course total, from the reporting engine.
    scorecard : Scorecard
        Course total.
    dvhs : tuple of DVH
        Of every structure.
    convergence : Convergence
        How the optimisation ended.
    """

    title: str
    prescriptions: tuple[Prescription, ...]
    constraints: tuple[Constraint, ...]
    plan: Plan
    dose: Dose
    scorecard: Scorecard
    dvhs: tuple[DVH, ...]
    convergence: Convergence


@dataclass(frozen=True, eq=False)
class PlanningRun:
    """The main job, whole."""

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
        Whose limits were used.
    prescriptions : tuple of Prescription
        The protocol's, else the plan's own.
    notes : tuple of str
        What a reader must know (a plan that is not there, an unknown number of fractions).
    """

    case: Case
    dose: Dose
    scorecard: Scorecard
    dvhs: tuple[DVH, ...]
    protocol: Protocol | None
    prescriptions: tuple[Prescription, ...]
    notes: tuple[str, ...]
