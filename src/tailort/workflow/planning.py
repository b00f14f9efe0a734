"""The main job: from a case and a protocol to a deliverable plan that is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tailort.dose.cut_off import cut_offs
from tailort.errors import StoppedError
from tailort.evaluation import Arm, Comparison, Robustness, Scenario, compare
from tailort.patient import Case, Prescription, StructureSet
from tailort.physics import Machine
from tailort.protocols import Decision, Protocol, Technique, decide, for_patient
from tailort.targets import Step, derive
from tailort.workflow.bench import Bench, set_up, steering
from tailort.workflow.clock import StageClock
from tailort.workflow.courses import Request, plan_course
from tailort.workflow.options import PlanningOptions
from tailort.workflow.positions import positions_of
from tailort.workflow.records import PlanningRun, PlanResult
from tailort.workflow.robust_plans import moving, tumours_for
from tailort.workflow.robustness import judge_setup_errors


@dataclass(frozen=True, eq=False)
class Decided:
    """What is known before a volume is made.

    Parameters
    ----------
    decision : Decision
        Yes, with its reasons.
    protocol : Protocol
        As it is for this patient.
    techniques : tuple of Technique
        In the order in which they are tried.
    machine : Machine
        The linac.
    notes : tuple of str
        What a reader must know of all this.
    """

    decision: Decision
    protocol: Protocol
    techniques: tuple[Technique, ...]
    machine: Machine
    notes: tuple[str, ...]


def decided(case: Case, protocol: Protocol, options: PlanningOptions) -> Decided:
    """Ask the protocol whether and how this patient is planned.

    Raises
    ------
    UndecidedError, NotEligibleError
        When the protocol does not say yes.
    MissingStructureError, InputError
        When a structure is missing, or the options and the protocol contradict each other.
    """
    decision = decide(protocol, case.facts)
    decision.require_yes()
    protocol = for_patient(protocol, case.facts)
    protocol.require_structures(case.structures)
    techniques, chosen = options.techniques_of(protocol)
    linac = options.machine_of(protocol)
    position = protocol.position_note(case.ct.patient_position)
    notes = tuple(note for note in (*chosen, position) if note)
    return Decided(decision, protocol, techniques, linac, notes)


def plan(
    case: Case,
    protocol: Protocol,
    options: PlanningOptions,
    clock: StageClock,
    *,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> PlanningRun:
    """Plan a case by a protocol, and by its comparator, and judge both.

    Parameters
    ----------
    case : Case
        With a planning CT, structures and the facts of the clinical record.
    protocol : Protocol
        What is asked.
    options : PlanningOptions
        What a person chose.
    clock : StageClock
        Times the stages.
    stop : callable
        Whether a person wants to stop; asked while optimising.
    keep : callable
        Called once there is a feasible plan, so that a stop from then on keeps it.

    Raises
    ------
    UndecidedError, NotEligibleError
        When the protocol does not say yes.
    MissingStructureError, GeometryError, InputError
        When the case cannot be planned.
    """
    with clock.stage("decide"):
        asked = decided(case, protocol, options)
        protocol = asked.protocol
    with clock.stage("targets"):
        other = protocol.comparator()
        steps = other.target_steps if other else protocol.target_steps()
        structures = derive(steps, case.structures, case.ct.image.grid.axes_mm()[0])
    positions = positions_of(options)
    prescriptions, course = protocol.prescriptions(), protocol.course()
    if positions:
        prescriptions = course = tumours_for(prescriptions, asked.techniques, steps, structures)
        asked = replace(asked, notes=(*asked.notes, _robustly(prescriptions, positions)))
    requests = [
        Request(
            protocol.title, protocol.id, prescriptions, course, protocol.constraints(),
            protocol.report_metrics(), asked.techniques, protocol.supplements(), positions,
        )
    ]  # fmt: skip
    if other is not None:
        own = asked.techniques if other.technique is None else (other.technique,)
        requests.append(
            Request(other.title, "comparator", other.prescriptions, other.course, other.constraints, other.report, own)
        )
    with clock.stage("dose grid"):
        bench = set_up(
            replace(case, notes=(*case.notes, *asked.notes)),
            structures,
            asked.machine,
            options,
            [p for request in requests for p in request.prescriptions],
            [c for request in requests for c in request.constraints],
            dict.fromkeys(moving(prescriptions, steering(protocol.constraints(), structures)), positions),
        )
    results: list[PlanResult] = []
    for request in requests:
        if results and stop():
            break
        results.append(plan_course(bench, request, requests, clock, stop, keep))
    with clock.stage("compare"):
        comparison = _compare(protocol, structures, results)
        warnings = [
            cut.warning
            for phase in results[0].phases
            for cut in cut_offs(phase.plan, bench.outline, case.ct.image.grid)
        ]
    robustness, unfinished = _shifted(bench, results[0], steps, clock, stop, keep)
    return PlanningRun(
        case=replace(
            bench.case,
            notes=(*bench.case.notes, *(n for result in results for n in result.notes), *dict.fromkeys(warnings)),
        ),
        protocol=protocol,
        decision=asked.decision,
        structures=structures,
        main=results[0],
        comparator=results[1] if len(results) > 1 else None,
        comparison=comparison,
        machine=bench.machine,
        engine_note=bench.engine.label,
        density_table=options.about_table,
        stages=clock.stages,
        robustness=robustness,
        unfinished=unfinished,
    )


def _robustly(prescriptions: Sequence[Prescription], positions: Sequence[Scenario]) -> str:
    told = ", ".join(f"{p.dose_gy:g} Gy to {p.target}" for p in prescriptions)
    return (
        f"robust plan: {told}, in place of what the protocol prescribes to their PTVs, and hard limits, in each of "
        f"{len(positions)} positions of the patient ({', '.join(one.name for one in positions)}); the optimiser moves "
        "the patient through the dose of the planned position, the table of set-up errors is computed anew"
    )


def _shifted(
    bench: Bench,
    result: PlanResult,
    steps: Sequence[Step],
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> tuple[Robustness | None, tuple[str, ...]]:
    """The plan judged with set-up errors, where they are asked about, and what a person stopped of that."""
    reach_mm = bench.options.setup_errors_mm
    if reach_mm is None:
        return None, ()
    # The plan is done, whether it holds its limits or not.
    keep()
    with clock.stage("set-up errors") as tell:
        try:
            return judge_setup_errors(bench, result, steps, reach_mm, tell, stop), ()
        except StoppedError as stopped:
            return None, (str(stopped),)


def _compare(protocol: Protocol, structures: StructureSet, results: Sequence[PlanResult]) -> Comparison | None:
    biology = protocol.file.biology.targets
    if len(results) < 2 or biology is None or biology.geud_a is None:
        return None
    if any(result.interrupted or len(result.phases) > 1 for result in results):
        return None
    arms = [Arm(r.plan.label, structures, r.dose, r.prescriptions, {d.structure: d for d in r.dvhs}) for r in results]
    return compare(
        arms[0],
        arms[1],
        results[0].constraints,
        tumour_alpha_beta_gy=biology.alpha_beta_gy,
        target_a=biology.geud_a,
    )
