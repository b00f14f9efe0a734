"""The main job: from a case and a protocol to a deliverable plan that is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tailort.dose.cut_off import cut_offs
from tailort.errors import StoppedError
from tailort.evaluation import Arm, Comparison, Robustness, compare
from tailort.evaluation.robustness_scenarios import SetupErrors
from tailort.patient import Case, StructureSet
from tailort.physics import Machine
from tailort.protocols import Decision, Protocol, Technique, for_patient
from tailort.protocols.known import PLAN, seen
from tailort.protocols.plans import amended_title, statements
from tailort.protocols.reading_effects import decide_with_effects
from tailort.protocols.schema import ProtocolFile, StatementEntry
from tailort.registration import Registration
from tailort.targets import Step, derive, to_review
from tailort.workflow.amending import amend, recorded_findings
from tailort.workflow.bench import Bench
from tailort.workflow.clock import StageClock
from tailort.workflow.courses import plan_course
from tailort.workflow.imaging import ImagingRow, check_imaging
from tailort.workflow.options import PlanningOptions
from tailort.workflow.painting import judge_painting, painted_request, painting_steps
from tailort.workflow.plan_reporting import reporting_of_plan
from tailort.workflow.positions import positions_of
from tailort.workflow.prior_cord import told_by_courses
from tailort.workflow.records import AmendmentFinding, PlanningRun, PlanResult
from tailort.workflow.recurrence import recurrences_of, with_field_fact
from tailort.workflow.registering import warnings_of
from tailort.workflow.registration_robustness import broken_in_words, draws_in_words, judge_draws
from tailort.workflow.requesting import Request, about_positions, bench_of, request_of
from tailort.workflow.robustness import judge_setup_errors
from tailort.workflow.without_prior import in_words, plan_without_earlier, require_earlier


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
    amendments : tuple of AmendmentFinding
        Other doses that the record asks for, by a plan that was made already.
    """

    decision: Decision
    protocol: Protocol
    techniques: tuple[Technique, ...]
    machine: Machine
    notes: tuple[str, ...]
    plan: str = ""
    imaging: tuple[ImagingRow, ...] = ()
    flags: tuple[StatementEntry, ...] = ()
    amendments: tuple[AmendmentFinding, ...] = ()

    @property
    def title(self) -> str:
        """What is planned, for people."""
        title = f"Plan {self.plan}" if self.plan else self.protocol.title
        return amended_title(title, [found.entry for found in self.amendments])


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
    decision, _ = decide_with_effects(protocol, case.facts, options.readings, options.today)
    decision.require_yes()
    told = statements(whole.flags, protocol, case.facts, options.readings, options.today)
    values = seen(whole, case.facts, options.readings, options.today).values
    plan = _plan_in_words(whole, decision.require_outcome(PLAN), options.option) if whole.plans else ""
    recorded = recorded_findings(protocol, decision, values, options.option)
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
    notes = tuple(note for note in (*chosen, position, *open_flags, *(found.text for found in recorded)) if note)
    flags = tuple(entry for entry, finding in told if finding.answer == "yes")
    return Decided(decision, protocol, techniques, linac, notes, plan, imaging, flags, recorded)


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
    registrations: Mapping[str, Registration] | None = None,
) -> PlanningRun:
    """Plan a case by a protocol, and by its comparator, and judge both.

    Parameters
    ----------
    case : Case
        With a planning CT, structures, the facts of the clinical record and, where there are, earlier courses:
        limits on all courses then hold on the sum.
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
    registrations : mapping of str to Registration or None
        Of earlier courses in other frames of reference (`register_courses`).

    Raises
    ------
    UndecidedError, NotEligibleError
        When the protocol does not say yes.
    MissingStructureError, GeometryError, InputError
        When the case cannot be planned.
    """
    if options.compare_without_prior:
        require_earlier(bool(case.courses))
    with clock.stage("decide"):
        case = told_by_courses(case, protocol, registrations or {}, options.today)
        recurrences = recurrences_of(case, registrations or {}, options.today)
        case, offered, contradictions = with_field_fact(case, protocol, recurrences)
        case = replace(case, notes=(*case.notes, *offered))
        asked = decided(case, protocol, options)
        protocol = asked.protocol
    with clock.stage("targets"):
        other = protocol.comparator()
        steps = other.target_steps if other else protocol.target_steps()
        steps = (*steps, *painting_steps(protocol, case.structures))
        structures = derive(steps, case.structures, case.ct.image.grid.axes_mm()[0])
    positions = positions_of(options)
    request = request_of(protocol, asked.techniques, asked.title, protocol.id, steps, structures, positions)
    slice_mm = case.ct.image.grid.spacing_mm[0]
    request, uniform = painted_request(request, protocol, structures, options.images, slice_mm)
    asked = replace(asked, notes=(*asked.notes, *about_positions(request), *to_review(structures)))
    requests = [request] if uniform is None else [request, uniform]
    if other is not None:
        own = asked.techniques if other.technique is None else (other.technique,)
        requests.append(
            Request(other.title, "comparator", other.prescriptions, other.course, other.constraints, other.report, own)
        )
    with clock.stage("dose grid"):
        bench = bench_of(
            replace(case, notes=(*case.notes, *asked.notes)), structures, asked.machine, options, requests,
            registrations or {},
        )  # fmt: skip
    results: list[PlanResult] = []
    for request in requests:
        if results and stop():
            break
        results.append(plan_course(bench, request, requests, clock, stop, keep))
    again = amend(bench, asked.techniques, protocol, steps, results[0], clock, stop, keep)
    bench, protocol, steps, results[0] = again.bench, again.protocol, again.steps, again.result
    structures = bench.structures
    stands = request_of(protocol, asked.techniques, asked.title, protocol.id, steps, structures, positions)
    stands, _ = painted_request(stands, protocol, structures, options.images, slice_mm)
    without_prior, skipped = _without_prior(bench, [stands, *requests[1:]], clock, stop, keep)
    with clock.stage("compare"):
        comparison = _compare(protocol, structures, results)
        warnings = [
            cut.warning
            for phase in results[0].phases
            for cut in cut_offs(phase.plan, bench.outline, case.ct.image.grid)
        ]
    with clock.stage("draws of the registrations"):
        drawn_sums = judge_draws(bench, results[0])
    reported = None
    if bench.earlier:
        with clock.stage("report of the re-irradiation"):
            reported = reporting_of_plan(
                case, structures, bench.earlier, [(phase.plan, phase.dose) for phase in results[0].phases],
                bench.registrations, recurrences, results[0].scorecard, options.today,
            )  # fmt: skip
    robustness, unfinished = _shifted(bench, results[0], steps, clock, stop, keep)
    unsure = [found.text for found in again.findings if found.due == "unknown" or found.is_measured_low]
    return PlanningRun(
        case=replace(
            bench.case,
            notes=tuple(
                dict.fromkeys(
                    (
                        *bench.case.notes,
                        *unsure,
                        *_about_earlier(bench, protocol),
                        *(n for result in (*results, *again.superseded) for n in result.notes),
                        *([draws_in_words(drawn_sums)] if drawn_sums is not None else []),
                        *_cost_of_prior(results[0], without_prior),
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
        engine_note=bench.engine_note,
        density_table=options.about_table,
        stages=clock.stages,
        robustness=robustness,
        unfinished=(*again.unfinished, *skipped, *unfinished),
        plan=asked.plan,
        amendments=(*asked.amendments, *again.findings),
        imaging=asked.imaging,
        flags=asked.flags,
        without_prior=without_prior,
        drawn_sums=drawn_sums,
        registrations=bench.registrations,
        reporting=reported,
        painted=judge_painting(results, structures, options.images, protocol, slice_mm),
        warnings=(*contradictions, *broken_in_words(drawn_sums)),
    )


def _without_prior(
    bench: Bench, requests: Sequence[Request], clock: StageClock, stop: Callable[[], bool], keep: Callable[[], None]
) -> tuple[PlanResult | None, tuple[str, ...]]:
    """The first plan as it is without earlier courses, where that is asked for, and what a person stopped of it."""
    if not bench.options.compare_without_prior:
        return None, ()
    if stop():
        return None, ("planning once more without the earlier courses",)
    # The plan on the sum is done, whether it holds its limits or not.
    keep()
    return plan_without_earlier(bench, requests[0], requests, clock, stop, keep), ()


def _cost_of_prior(summed: PlanResult, ordinary: PlanResult | None) -> tuple[str, ...]:
    """What planning on the sum costs, and what a reader must know of the plan that it is measured by."""
    return () if ordinary is None else (in_words(summed, ordinary), *ordinary.notes)


def _about_earlier(bench: Bench, protocol: Protocol) -> list[str]:
    """What a reader must know of the courses before, and of limits on them that nobody could keep."""
    if bench.earlier:
        return [
            *warnings_of(bench.registrations),
            *(
                f"planned on the sum with earlier course '{course.label}' ({course.mapped}); where its dose is not "
                "known it counts as 0 while planning, and as unknown in the scorecard; where it is known by bounds "
                "only, as the most that it can be"
                for course in bench.earlier
            ),
        ]
    asked = [c for c in protocol.constraints() if c.scope == "cumulative"]
    told = ", ".join(dict.fromkeys(c.structure for c in asked))
    return [f"limits over all courses ({told}) were not planned on: name earlier courses with --prior"] if asked else []


def _shifted(
    bench: Bench,
    result: PlanResult,
    steps: Sequence[Step],
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> tuple[Robustness | None, tuple[str, ...]]:
    """The plan judged with set-up errors, where they are asked about, and what a person stopped of that."""
    spread, errors = bench.options.setup_spread_mm, bench.options.setup_errors_mm
    asked = SetupErrors(*spread, sum(phase.plan.fractions for phase in result.phases)) if spread else errors
    if asked is None:
        return None, ()
    # The plan is done, whether it holds its limits or not.
    keep()
    with clock.stage("set-up errors") as tell:
        try:
            return judge_setup_errors(bench, result, steps, asked, tell, stop), ()
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
