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
from tailort.protocols.known import PLAN, seen
from tailort.protocols.plans import amended, statements
from tailort.protocols.schema import ProtocolFile, StatementEntry
from tailort.targets import Step, derive, to_review
from tailort.workflow.amending import amendment_metrics, amendments_of, doses_in_words
from tailort.workflow.bench import Bench, set_up, steering
from tailort.workflow.clock import StageClock
from tailort.workflow.courses import Request, plan_course
from tailort.workflow.imaging import ImagingRow, check_imaging
from tailort.workflow.options import PlanningOptions
from tailort.workflow.positions import positions_of
from tailort.workflow.records import AmendmentFinding, PlanningRun, PlanResult
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
    plan : str
        The protocol's plan that the patient has, with the option that a person chose; empty where it has one course.
    imaging : tuple of ImagingRow
        What the protocol asks of the images, and what was found.
    flags : tuple of StatementEntry
        What the protocol tells of this patient.
    """

    decision: Decision
    protocol: Protocol
    techniques: tuple[Technique, ...]
    machine: Machine
    notes: tuple[str, ...]
    plan: str = ""
    imaging: tuple[ImagingRow, ...] = ()
    flags: tuple[StatementEntry, ...] = ()

    @property
    def title(self) -> str:
        """What is planned, for people."""
        return f"Plan {self.plan}" if self.plan else self.protocol.title


def decided(case: Case, protocol: Protocol, options: PlanningOptions) -> Decided:
    """Ask the protocol whether and how this patient is planned.

    Raises
    ------
    UndecidedError, NotEligibleError
        When the protocol does not say yes.
    MissingStructureError, InputError
        When a structure is missing, or the options and the protocol contradict each other.
    """
    whole = protocol.file
    decision = decide(protocol, case.facts, options.readings, options.today)
    decision.require_yes()
    plan = _plan_in_words(whole, decision.require_outcome(PLAN), options.option) if whole.plans else ""
    told = statements(whole.flags, protocol, case.facts, options.readings, options.today)
    values = seen(whole, case.facts, options.readings, options.today).values
    protocol = for_patient(protocol, case.facts, options.readings, options.today, options.option)
    # Every report of a plan draws its beam's eye views and a scale.
    asked = whole.imaging
    imaging = () if asked is None else check_imaging(case, asked, values=values, views_drawn=True)
    protocol = protocol.where_drawn(case.structures)
    protocol.require_structures(case.structures)
    techniques, chosen = options.techniques_of(protocol)
    linac = options.machine_of(protocol)
    position = protocol.position_note(case.ct.patient_position)
    open_flags = [
        f"whether to tell '{entry.text}' is not known without: {', '.join(finding.open_facts())}"
        for entry, finding in told
        if finding.answer == "unknown"
    ]
    notes = tuple(note for note in (*chosen, position, *open_flags) if note)
    flags = tuple(entry for entry, finding in told if finding.answer == "yes")
    return Decided(decision, protocol, techniques, linac, notes, plan, imaging, flags)


def _plan_in_words(file: ProtocolFile, name: str, option: str | None) -> str:
    plan = next(plan for plan in file.plans if plan.id == name)
    chosen = next((one for one in plan.options if one.id == option), None)
    return f"{plan.id}: {plan.title}" if chosen is None else f"{plan.id}, option {chosen.id}: {chosen.title}"


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
    request, notes = _request(asked, protocol, asked.title, protocol.id, steps, structures, positions)
    asked = replace(asked, notes=(*asked.notes, *notes, *to_review(structures)))
    requests = [request]
    if other is not None:
        own = asked.techniques if other.technique is None else (other.technique,)
        requests.append(
            Request(other.title, "comparator", other.prescriptions, other.course, other.constraints, other.report, own)
        )
    with clock.stage("dose grid"):
        bench = _bench(replace(case, notes=(*case.notes, *asked.notes)), structures, asked.machine, options, requests)
    results: list[PlanResult] = []
    for request in requests:
        if results and stop():
            break
        results.append(plan_course(bench, request, requests, clock, stop, keep))
    again = _amended(bench, asked, protocol, steps, results[0], clock, stop, keep)
    bench, protocol, steps, results[0] = again.bench, again.protocol, again.steps, again.result
    structures = bench.structures
    with clock.stage("compare"):
        comparison = _compare(protocol, structures, results)
        warnings = [
            cut.warning
            for phase in results[0].phases
            for cut in cut_offs(phase.plan, bench.outline, case.ct.image.grid)
        ]
    robustness, unfinished = _shifted(bench, results[0], steps, clock, stop, keep)
    unknown = [found.text for found in again.findings if found.due == "unknown"]
    return PlanningRun(
        case=replace(
            bench.case,
            notes=tuple(
                dict.fromkeys(
                    (
                        *bench.case.notes,
                        *unknown,
                        *(n for result in (*results, *again.superseded) for n in result.notes),
                        *warnings,
                    )
                )
            ),
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
        unfinished=(*again.unfinished, *unfinished),
        plan=asked.plan,
        amendments=again.findings,
        imaging=asked.imaging,
        flags=asked.flags,
    )


def _request(
    asked: Decided,
    protocol: Protocol,
    title: str,
    label: str,
    steps: Sequence[Step],
    structures: StructureSet,
    positions: tuple[Scenario, ...],
) -> tuple[Request, tuple[str, ...]]:
    """The protocol's course as a request, and what a reader must know of a robust one."""
    prescriptions, course = protocol.prescriptions(), protocol.course()
    notes: tuple[str, ...] = ()
    if positions:
        prescriptions = course = tumours_for(prescriptions, asked.techniques, steps, structures)
        notes = (_robustly(prescriptions, positions),)
    report = (*protocol.report_metrics(), *amendment_metrics(protocol))
    return (
        Request(
            title, label, prescriptions, course, protocol.constraints(), report, asked.techniques,
            protocol.supplements(), positions,
        ),
        notes,
    )  # fmt: skip


def _bench(
    case: Case, structures: StructureSet, machine: Machine, options: PlanningOptions, requests: Sequence[Request]
) -> Bench:
    first = requests[0]
    return set_up(
        case,
        structures,
        machine,
        options,
        [p for request in requests for p in request.prescriptions],
        [c for request in requests for c in request.constraints],
        dict.fromkeys(moving(first.prescriptions, steering(first.constraints, structures)), first.positions),
    )


@dataclass(frozen=True, eq=False)
class _Amended:
    """The plan that stands, on its bench and by its protocol, what was measured, and what a person stopped."""

    bench: Bench
    protocol: Protocol
    steps: tuple[Step, ...]
    result: PlanResult
    findings: tuple[AmendmentFinding, ...] = ()
    unfinished: tuple[str, ...] = ()

    @property
    def superseded(self) -> tuple[PlanResult, ...]:
        return tuple(found.superseded for found in self.findings if found.superseded is not None)


def _amended(
    bench: Bench,
    asked: Decided,
    protocol: Protocol,
    steps: tuple[Step, ...],
    result: PlanResult,
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> _Amended:
    """Plan once more for each amendment that the assessed plan calls for; an amendment comes once."""
    now = _Amended(bench, protocol, steps, result)
    while True:
        found = amendments_of(now.protocol, now.result)
        due = next((one for one in found if one.due == "yes"), None)
        if due is None or stop() or now.result.interrupted:
            left = (f"planning once more with other doses: {due.text}",) if due is not None else ()
            return replace(now, findings=(*now.findings, *found), unfinished=left)
        # What stands so far is a plan of the doses that the protocol gives up, and worth keeping.
        keep()
        own = amended(now.protocol, due.id)
        with clock.stage(f"targets {due.id}"):
            more = own.target_steps()[len(now.protocol.target_steps()) :]
            structures = derive(more, now.bench.structures, bench.case.ct.image.grid.axes_mm()[0])
        steps = (*now.steps, *more)
        title = f"Amended by {due.id}: {doses_in_words(own.course())}"
        request, _ = _request(asked, own, title, due.id, steps, structures, positions_of(bench.options))
        with clock.stage(f"dose grid {due.id}"):
            other = _bench(now.bench.case, structures, bench.machine, bench.options, [request])
        again = plan_course(other, request, [request], clock, stop, keep)
        due = replace(due, superseded=now.result, protocol=now.protocol)
        now = _Amended(other, own, steps, again, (*now.findings, due))


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
