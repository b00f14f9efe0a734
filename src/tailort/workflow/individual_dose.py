"""Which dose, in how many fractions, this patient's organs allow: an existing plan's dose raised to their limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tailort.errors import InputError
from tailort.evaluation import histograms
from tailort.evaluation.dvh import in_percent_of_prescription
from tailort.patient import Case, Constraint, Dose, Metric, Prescription, StructureSet
from tailort.protocols import Decision, Protocol
from tailort.radiobiology import OutcomeSet, outcome_set, outcome_sets
from tailort.workflow.dose_levels import GivenCourse, Proposal, propose
from tailort.workflow.evaluating import for_this_patient, with_helpers
from tailort.workflow.options import PlanningOptions
from tailort.workflow.outcomes import after_oesophagectomy, outcome_metrics
from tailort.workflow.phases import in_gray, is_ceiling

TARGETS = ("GTV", "CTV", "ITV", "PTV")
# A plan whose coverage is this far from its prescription is told of.
_OFF_PERCENT = 1.0
NOT_DONE = (
    "The dose of the given plan is scaled as a whole: nothing is planned again, the tissue lies where it lay, and a "
    "plan made for another dose could spare more.",
    "Limits in physical dose are taken as printed whatever the number of fractions; where a fraction is larger than "
    "the protocol's they are marked extrapolated. Limits in BED and EQD2, and models on EQD2, see each fraction.",
    "Models have no overall time: regrowth of the tumour in a longer course is not counted.",
    "It proposes and orders nothing: dose and fractions are chosen by a person, and what departs from the protocol "
    "needs a signature (IR-10).",
)


@dataclass(frozen=True, eq=False)
class IndividualDose:
    """What doses a patient's organs allow.

    Parameters
    ----------
    case : Case
        With the volumes that the protocol's recipe makes.
    protocol : Protocol
        As it is for this patient.
    decision : Decision or None
        What the protocol decides of the patient; None without a clinical record.
    given : GivenCourse
        The dose that is scaled, and what is asked of it.
    planned_by : str
        Where the dose is from that it was made for.
    range_gy : (float, float)
        Doses of the lead prescription that were looked at, Gy per course.
    range_by : str
        Who gave the range.
    proposals : tuple of Proposal
        One for each number of fractions.
    tcp : OutcomeSet or None
        By which control is told.
    notes : tuple of str
        What a reader must know.
    """

    case: Case
    protocol: Protocol
    decision: Decision | None
    given: GivenCourse
    planned_by: str
    range_gy: tuple[float, float]
    range_by: str
    proposals: tuple[Proposal, ...]
    tcp: OutcomeSet | None
    notes: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether any number of fractions allows a dose of the range."""
        return any(one.level is not None for one in self.proposals)

    @property
    def is_judged(self) -> bool:
        """Whether every hard limit could be judged."""
        return not any(one.unjudged for one in self.proposals)

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the curves ready for JSON."""
        given = self.given
        return {
            "protocol": f"{self.protocol.id} {self.protocol.version}",
            "lead": {
                "target": given.lead.target,
                "printed_gy": given.printed_gy,
                "printed_fractions": given.lead.fractions,
                "planned_gy": given.planned_gy,
                "planned_by": self.planned_by,
                "planned_fractions": given.dose.fractions,
                "alpha_beta_gy": given.alpha_beta_gy,
            },
            "range_gy": list(self.range_gy),
            "range_by": self.range_by,
            "tcp": None if self.tcp is None else self.tcp.cited,
            "proposals": [one.as_dict() for one in self.proposals],
            "notes": list(self.notes),
            "not_done": list(NOT_DONE),
        }


@dataclass(frozen=True)
class DoseQuestion:
    """What a person asks.

    Parameters
    ----------
    range_gy : (float, float) or None
        Doses of the lead prescription, Gy per course; None is the range that the protocol paints.
    fractions : tuple of int
        Numbers of fractions; none is that of the given dose.
    caps : tuple of Constraint
        Further limits that must hold, such as on an NTCP, %.
    tcp : str or None
        Id of the set by which control is told.
    planned_gy : float or None
        Dose of the lead prescription that the given dose was made for; None is what the RTPLAN tells, else the
        protocol.
    """

    range_gy: tuple[float, float] | None = None
    fractions: tuple[int, ...] = ()
    caps: tuple[Constraint, ...] = ()
    tcp: str | None = None
    planned_gy: float | None = None

    def __post_init__(self) -> None:
        for cap in self.caps:
            if cap.priority == "report" or not is_ceiling(cap):
                raise InputError(
                    f"'{cap.structure}: {cap.metric}' is no cap: expected a limit that more dose can break, such as "
                    "'Lungs: NTCP(lung-quantec)[%] <= 20' or 'Heart: Mean[Gy] < 26'"
                )


def individual_dose(
    case: Case, protocol: Protocol, question: DoseQuestion, options: PlanningOptions | None = None
) -> IndividualDose:
    """Raise the dose of an existing plan, fraction number by fraction number, until an organ's limit is reached.

    Parameters
    ----------
    case : Case
        With one dose of one phase, of any planning system.
    protocol : Protocol
        Whose hard limits must hold; goals that break are told.
    question : DoseQuestion
        Range, fractions, caps.
    options : PlanningOptions or None
        Of these the readings, the option of the plan and the day.

    Raises
    ------
    InputError
        When there is no dose, it is of several phases, a range or the fractions are not known, or a cap is on a
        structure that is not there.
    UndecidedError, NotEligibleError
        As `evaluate`.
    """
    dose = _only_dose(case)
    decision, protocol, notes, amended = for_this_patient(case, protocol, options or PlanningOptions())
    notes += [found.text for found in amended if found.due != "no"]
    structures, missing = with_helpers(case, protocol)
    protocol = protocol.where_drawn(structures)
    prescriptions = protocol.course()
    if len(protocol.phases) > 1 or len({p.fractions for p in prescriptions}) > 1:
        raise InputError(
            f"protocol '{protocol.id}' prescribes a course of {len(protocol.phases)} phases; only a course whose "
            "fractions are all equal is scaled"
        )
    lead, printed_gy, painted_from_gy = _lead(protocol, prescriptions)
    planned_gy, planned_by = _planned(case, dose, lead, question.planned_gy, painted_from_gy is not None)
    if painted_from_gy is not None:
        prescriptions = tuple(replace(p, dose_gy=planned_gy) if p is lead else p for p in prescriptions)
        lead = replace(lead, dose_gy=planned_gy)
    range_gy, range_by = _range(question, painted_from_gy, printed_gy, protocol)
    limits, left_out = _ceilings(protocol, structures, prescriptions, question.caps)
    tcp = None if question.tcp is None else _tcp_set(question.tcp)
    outcomes = _outcomes(structures, tcp, lead)
    asked = {name.lower() for name in (*(c.structure for c in limits), *outcomes, *(p.tied_to for p in prescriptions))}
    course = dose.per_course()
    biology = protocol.file.biology.targets
    given = GivenCourse(
        structures=structures,
        dose=course,
        histograms=histograms(
            (s for s in structures if s.name.lower() in asked),
            course,
            single_slice_thickness_mm=case.ct.image.grid.spacing_mm[0],
        ),
        prescriptions=prescriptions,
        lead=lead,
        planned_gy=planned_gy,
        limits=limits,
        outcomes=outcomes,
        printed_gy=printed_gy,
        printed_fraction_gy=_fraction_gy(protocol),
        alpha_beta_gy=None if biology is None else biology.alpha_beta_gy,
        painted=painted_from_gy is not None,
        after_oesophagectomy=after_oesophagectomy(case.facts),
    )
    fractions = question.fractions or (() if dose.fractions is None else (dose.fractions,))
    if not fractions:
        raise InputError("the number of fractions of the dose is unknown; name those to ask about with --fractions")
    notes += [*case.notes, *missing, *_told(given, planned_by, left_out)]
    return IndividualDose(
        case=replace(case, structures=structures),
        protocol=protocol,
        decision=decision if case.facts else None,
        given=given,
        planned_by=planned_by,
        range_gy=range_gy,
        range_by=range_by,
        proposals=propose(given, fractions, range_gy),
        tcp=tcp,
        notes=tuple(notes),
    )


def _only_dose(case: Case) -> Dose:
    if len(case.doses) != 1:
        raise InputError(
            f"case '{case.pseudonym}' has {len(case.doses)} doses; leave the one RTDOSE of one plan in the folder: a "
            "course of several phases is not scaled"
        )
    dose = case.doses[0]
    if dose.per == "fraction" and dose.fractions is None:
        raise InputError("the dose is that of one fraction and how many the plan has is unknown; add the RTPLAN")
    return dose


def _lead(protocol: Protocol, prescriptions: Sequence[Prescription]) -> tuple[Prescription, float, float | None]:
    """Prescription that is asked for, the largest dose that the protocol prescribes to it, and the least painted."""
    painted = {entry.target: entry for entry in protocol.painted()}
    most = {name: entry.painted.most_gy for name, entry in painted.items() if entry.painted is not None}
    lead = max(prescriptions, key=lambda p: most.get(p.target, p.dose_gy))
    if lead.target not in most:
        return lead, lead.dose_gy, None
    return lead, most[lead.target], painted[lead.target].dose_gy


def _planned(case: Case, dose: Dose, lead: Prescription, told_gy: float | None, is_painted: bool) -> tuple[float, str]:
    """Dose of the lead prescription that a dose was made for, Gy, and who tells it."""
    if told_gy is not None:
        return told_gy, "--planned-gy"
    own = [plan for plan in case.plans if dose.plan_uid in ("", plan.sop_instance_uid)]
    prescribed = own[0].prescriptions if len(own) == 1 else ()
    same = [p.dose_gy for p in prescribed if p.target.lower() == lead.target.lower()]
    if prescribed:
        return max(same or [p.dose_gy for p in prescribed]), f"RTPLAN '{own[0].label}'"
    if is_painted:
        raise InputError(
            f"the dose of '{lead.target}' is painted, and no RTPLAN tells the mean that this dose was made for; give "
            "it with --planned-gy"
        )
    return lead.dose_gy, "the protocol, as no RTPLAN tells"


def _range(
    question: DoseQuestion, least_gy: float | None, most_gy: float, protocol: Protocol
) -> tuple[tuple[float, float], str]:
    if question.range_gy is not None:
        return question.range_gy, "--range"
    if least_gy is None:
        raise InputError(
            f"protocol '{protocol.id}' prints no range of doses; give one with --range LOW,HIGH, Gy of the course"
        )
    return (least_gy, most_gy), f"painted range of {protocol.id}"


def _ceilings(
    protocol: Protocol, structures: StructureSet, prescriptions: Sequence[Prescription], caps: Sequence[Constraint]
) -> tuple[tuple[Constraint, ...], tuple[str, ...]]:
    """Limits on organs that more dose can break, hard ones and caps first; and those on targets, left out."""
    absent = sorted({cap.structure for cap in caps if cap.structure not in structures})
    if absent:
        have = ", ".join(structures.names) or "none"
        raise InputError(f"capped and not in the case: {', '.join(absent)}; the case has {have}")
    prescribed = {p.target.lower() for p in prescriptions}
    kept: list[Constraint] = []
    left_out = []
    for c in protocol.constraints():
        if c.priority == "report" or not is_ceiling(c):
            continue
        structure = structures.find(c.structure)
        if c.structure.lower() in prescribed or (structure is not None and structure.role in TARGETS):
            left_out.append(f"{c.structure} {c.metric} {c.operator} {c.limit:g}")
        else:
            kept.append(_fixed(c, prescriptions))
    kept += [replace(_fixed(cap, prescriptions), priority="hard", source="--cap") for cap in caps]
    return tuple(sorted(kept, key=lambda c: c.priority != "hard")), tuple(left_out)


def _fixed(c: Constraint, prescriptions: Sequence[Prescription]) -> Constraint:
    """A limit in percent of a prescription, at the Gy that the protocol prescribes: more dose does not loosen it."""
    one = len({p.dose_gy for p in prescriptions}) == 1
    own = any(p.target.lower() == c.structure.lower() for p in prescriptions)
    return in_gray(c, prescriptions) if in_percent_of_prescription(Metric.parse(c.metric)) and (one or own) else c


def _tcp_set(id: str) -> OutcomeSet:
    found = outcome_set(id)
    if found.outcome != "TCP":
        known = ", ".join(one.id for one in outcome_sets().values() if one.outcome == "TCP")
        raise InputError(f"the set '{id}' gives {found.outcome}, not TCP; sets of TCP are {known}")
    return found


def _outcomes(structures: StructureSet, tcp: OutcomeSet | None, lead: Prescription) -> Mapping[str, tuple[str, ...]]:
    """NTCP and risks of every organ that has a set; TCP of gross tumours, of the lead's target where none is drawn."""
    found = {
        name: metrics for name, metrics in outcome_metrics(structures).items() if structures[name].role not in TARGETS
    }
    if tcp is None:
        return found
    gross = [s.name for s in structures if s.role == "GTV" and not s.is_empty]
    tumours = [name for name in gross or [lead.target] if name in structures and tcp.applies_to(name)]
    if not tumours:
        raise InputError(f"{tcp.metric} needs a gross tumour or '{lead.target}'; the case has neither")
    return {**dict.fromkeys(tumours, (tcp.metric,)), **found}


def _fraction_gy(protocol: Protocol) -> float:
    """Highest dose per fraction that the protocol prescribes, Gy."""
    painted = [entry.painted.most_gy / entry.fractions for entry in protocol.painted() if entry.painted is not None]
    return max([*(p.dose_per_fraction_gy for p in protocol.prescriptions()), *painted])


def _told(given: GivenCourse, planned_by: str, left_out: Sequence[str]) -> list[str]:
    """What a reader must know of the dose that is scaled."""
    told = []
    lead = given.lead
    if given.planned_gy != lead.dose_gy:
        told.append(
            f"the dose was made for {given.planned_gy:g} Gy ({planned_by}); protocol prescribes {lead.dose_gy:g} Gy to "
            f"{lead.target}"
        )
    metric = lead.normalisation.metric
    reached = given.histogram(lead.tied_to)
    if reached is None:
        told.append(f"'{lead.tied_to}' is not in the case, so what the dose gives it is unknown")
    elif metric is not None:
        low, high = reached.bounds(metric, given.planned_gy)
        wanted = given.planned_gy if Metric.parse(metric).unit == "Gy" else 100.0
        if low == high and abs(low / wanted - 1.0) > _OFF_PERCENT / 100.0:
            told.append(
                f"{metric} of {lead.tied_to} is {low:.2f} in the given dose, {wanted:g} as prescribed: levels are of "
                "the prescription, and coverage stays as far off"
            )
    if given.alpha_beta_gy is None:
        told.append("the protocol has no alpha/beta of targets, so BED and EQD2 of the prescription are unknown")
    if left_out:
        told.append(f"limits on targets scale with the prescription and are not asked: {'; '.join(left_out)}")
    if given.painted:
        told.append("the dose is painted: levels are its mean, and its hottest and coldest points scale with it")
    return told
