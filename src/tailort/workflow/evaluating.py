"""Judge the dose of an existing plan, of any planning system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tailort.errors import InputError, MissingStructureError, UndecidedError
from tailort.evaluation import DEFAULT_METRICS, Scorecard, assess, histograms, index_rows
from tailort.patient import Case, Constraint, Dose, Prescription, StructureSet
from tailort.protocols import Decision, Protocol, for_patient
from tailort.protocols.known import seen
from tailort.protocols.plans import as_recorded
from tailort.protocols.reading_effects import decide_with_effects
from tailort.targets import derive
from tailort.workflow.amending import amendments_of, recorded_findings
from tailort.workflow.options import PlanningOptions
from tailort.workflow.outcomes import after_oesophagectomy, outcome_metrics
from tailort.workflow.records import AmendmentFinding, Evaluation

EVALUATED = "The plan that is evaluated"


def evaluate(
    case: Case,
    protocol: Protocol | None,
    asked: Sequence[Constraint],
    fractions: int | None = None,
    options: PlanningOptions | None = None,
) -> Evaluation:
    """Score the dose of a case.

    Parameters
    ----------
    case : Case
        With one dose.
    protocol : Protocol or None
        Judge by its prescriptions and limits, those of the patient's own plan; helper structures that its recipe can
        make are made.
    asked : sequence of Constraint
        Further metrics; those of priority "report" have no limit.
    fractions : int or None
        Number of fractions of the dose, where the case does not tell.
    options : PlanningOptions or None
        Of these the readings, the option of the plan and the day.

    Raises
    ------
    InputError
        When the case has no dose or several, or when `fractions` contradicts the case.
    UndecidedError, NotEligibleError
        When the clinical record does not tell which of several plans is this patient's, or the number of a limit.
    """
    dose = _fractionated(_only_dose(case), fractions)
    notes = list(case.notes)
    if dose.fractions is None:
        notes.append("the number of fractions is unknown, so BED, EQD2 and dose per fraction are unknown")
    structures = case.structures
    constraints: tuple[Constraint, ...] = ()
    prescriptions: tuple[Prescription, ...] = ()
    report: dict[str, tuple[str, ...]] = {}
    decision: Decision | None = None
    amendments: tuple[AmendmentFinding, ...] = ()
    if protocol is not None:
        decision, protocol, told, amendments = for_this_patient(case, protocol, options or PlanningOptions())
        structures, missing = with_helpers(case, protocol)
        protocol = protocol.where_drawn(structures)
        notes += (*told, *missing)
        constraints, prescriptions = protocol.constraints(), protocol.course()
        for metric in protocol.report_metrics():
            report[metric.structure] = (*report.get(metric.structure, ()), metric.metric)
    elif case.plans:
        prescriptions = tuple(p for plan in case.plans for p in plan.prescriptions)
    if protocol is None and not asked:
        outcomes = outcome_metrics(structures)
        report = {s.name: (*DEFAULT_METRICS, *outcomes.get(s.name, ())) for s in structures if not s.is_empty}
    if dose.per == "fraction" and dose.fractions is None:
        raise InputError(
            "the dose is that of one fraction and the number of fractions is unknown; add the RTPLAN or --fractions"
        )
    absent = sorted({c.structure for c in asked if c.structure not in structures})
    if absent:
        notes.append(
            f"asked for and not in the case: {', '.join(absent)}; the case has {', '.join(structures.names) or 'none'}"
        )
    course = dose.per_course()
    # A structure in a single plane is as thick as the CT's slices are apart.
    thickness_mm = case.ct.image.grid.spacing_mm[0]
    card = assess(
        structures,
        course,
        (*constraints, *asked),
        prescriptions,
        metrics=report,
        after_oesophagectomy=after_oesophagectomy(case.facts),
        single_slice_thickness_mm=thickness_mm,
    )
    rows = tuple(
        replace(row, operator=None, limit=None)
        if row.priority == "report" and row.source.startswith("--metric")
        else row
        for row in card.rows
    )
    rows += index_rows(structures, card.histograms, course, prescriptions, thickness_mm)
    if protocol is not None:
        amendments += amendments_of(protocol, EVALUATED, card)
        notes += [found.text for found in amendments if found.due != "no" or found.is_measured_low]
    made = {**histograms(structures, course, single_slice_thickness_mm=thickness_mm), **card.histograms}
    return Evaluation(
        case=replace(case, structures=structures),
        dose=course,
        scorecard=Scorecard(rows, card.histograms),
        dvhs=tuple(made[s.name] for s in structures if s.name in made),
        protocol=protocol,
        prescriptions=prescriptions,
        notes=tuple(notes),
        decision=decision if case.facts else None,
        amendments=amendments,
    )


def for_this_patient(
    case: Case, protocol: Protocol, options: PlanningOptions
) -> tuple[Decision, Protocol, list[str], tuple[AmendmentFinding, ...]]:
    """What the protocol decides, the protocol as it is for this patient, what a reader must know, and other doses.

    An existing dose is judged whether or not the protocol would have admitted the patient.
    """
    decision, _ = decide_with_effects(protocol, case.facts, options.readings, options.today)
    values = seen(protocol.file, case.facts, options.readings, options.today).values
    notes = []
    if case.facts and decision.answer != "yes":
        notes.append(f"protocol '{protocol.id}' answers {decision.answer} to whether it admits this patient")
    if protocol.file.plans and not case.facts:
        told = ", ".join(f"{plan.id} ({plan.title})" for plan in protocol.file.plans)
        raise UndecidedError(
            f"protocol '{protocol.id}' has several plans, each with its own limits: {told}; give the clinical record "
            "that tells which is this patient's",
            decision.missing_everywhere,
        )
    try:
        own = for_patient(protocol, case.facts, options.readings, options.today, options.option)
    except UndecidedError as error:
        # A limit whose number is not known would go without a word.
        if protocol.file.plans or protocol.file.table_limits:
            raise
        own = _limits_decided(as_recorded(protocol, values), values)
        notes.append(f"volumes of some patients only are not made: {error}")
    return decision, own, notes, recorded_findings(protocol, decision, values, options.option)


def _limits_decided(protocol: Protocol, values: Mapping[str, Any]) -> Protocol:
    """The protocol with the limits that hold by what is known, such as the readings that a person chose."""
    limits = []
    for limit in protocol.file.limits:
        answer = "yes" if limit.when is None else limit.when.evaluate(values).answer
        if answer != "no":
            limits.append(limit.model_copy(update={"when": None}) if answer == "yes" else limit)
    return replace(protocol, file=protocol.file.model_copy(update={"limits": tuple(limits)}))


def _only_dose(case: Case) -> Dose:
    if not case.doses:
        raise InputError(f"case '{case.pseudonym}' has no RTDOSE to evaluate; add it to the folder")
    if len(case.doses) > 1:
        # Of several phases the sum, where there is one, is the dose of the course.
        sums = [dose for dose in case.doses if len(case.doses) > 2 and not dose.plan_uid]
        if len(sums) == 1 and all(dose.plan_uid for dose in case.doses if dose is not sums[0]):
            return sums[0]
        raise InputError(
            f"case '{case.pseudonym}' has {len(case.doses)} doses; leave the one to evaluate in the folder"
        )
    return case.doses[0]


def _fractionated(dose: Dose, fractions: int | None) -> Dose:
    if fractions is None:
        return dose
    if dose.fractions is not None and dose.fractions != fractions:
        raise InputError(f"the plan has {dose.fractions} fractions, --fractions says {fractions}; leave the option out")
    return replace(dose, fractions=fractions)


def with_helpers(case: Case, protocol: Protocol) -> tuple[StructureSet, list[str]]:
    """Make what the protocol's recipe can make of the drawn structures; say what it cannot."""
    structures, notes = case.structures, []
    planes = case.ct.image.grid.axes_mm()[0]
    for step in protocol.steps_for_all():
        try:
            structures = derive((step,), structures, planes)
        except (MissingStructureError, UndecidedError) as error:
            notes.append(f"'{step.name}' of protocol {protocol.id} is not drawn and cannot be made: {error}")
    return structures, notes
