"""The main job: from a case and a protocol to a deliverable plan that is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tailort.dose.cut_off import cut_offs
from tailort.evaluation import Arm, Comparison, compare
from tailort.patient import Case, StructureSet
from tailort.protocols import Protocol, decide, for_patient
from tailort.targets import derive
from tailort.workflow.bench import set_up
from tailort.workflow.clock import StageClock
from tailort.workflow.courses import Request, plan_course
from tailort.workflow.options import PlanningOptions
from tailort.workflow.records import PlanningRun, PlanResult


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
        decision = decide(protocol, case.facts)
        decision.require_yes()
        protocol = for_patient(protocol, case.facts)
        protocol.require_structures(case.structures)
        techniques, asked_note = options.techniques_of(protocol)
        linac = options.machine_of(protocol)
        told = [*asked_note, protocol.position_note(case.ct.patient_position)]
    with clock.stage("targets"):
        other = protocol.comparator()
        steps = other.target_steps if other else protocol.target_steps()
        structures = derive(steps, case.structures, case.ct.image.grid.axes_mm()[0])
    requests = [
        Request(
            protocol.title, protocol.id, protocol.prescriptions(), protocol.constraints(),
            protocol.report_metrics(), techniques, protocol.supplements(),
        )
    ]  # fmt: skip
    if other is not None:
        # A technique that a person chose is the whole run's.
        own = techniques if asked_note or other.technique is None else (other.technique,)
        requests.append(Request(other.title, "comparator", other.prescriptions, other.constraints, other.report, own))
    with clock.stage("dose grid"):
        bench = set_up(
            replace(case, notes=(*case.notes, *(note for note in told if note))),
            structures,
            linac,
            options,
            [p for request in requests for p in request.prescriptions],
            [c for request in requests for c in request.constraints],
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
    return PlanningRun(
        case=replace(
            bench.case,
            notes=(*bench.case.notes, *(n for result in results for n in result.notes), *dict.fromkeys(warnings)),
        ),
        protocol=protocol,
        decision=decision,
        structures=structures,
        main=results[0],
        comparator=results[1] if len(results) > 1 else None,
        comparison=comparison,
        machine=bench.machine,
        engine_note=bench.engine.label,
        density_table=options.about_table,
        stages=clock.stages,
    )


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
