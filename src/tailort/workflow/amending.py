"""What an assessed plan asks to be changed in its own prescription: assess, amend, plan once more, keep both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tailort.evaluation import DVH, Row, Scorecard
from tailort.patient import Metric, Prescription
from tailort.protocols import Decision, Protocol, Technique
from tailort.protocols.course_dates import fractions_of_course
from tailort.protocols.known import PLAN
from tailort.protocols.plans import amended, as_recorded, recorded_amendments, with_plan
from tailort.protocols.schema import AmendmentEntry
from tailort.targets import Step, derive
from tailort.workflow.bench import Bench
from tailort.workflow.clock import StageClock
from tailort.workflow.courses import plan_course
from tailort.workflow.positions import positions_of
from tailort.workflow.records import AmendmentFinding, PlanResult
from tailort.workflow.requesting import bench_of, request_of

MADE_ALREADY = "The plan that was made already, by the record"


@dataclass(frozen=True, eq=False)
class Amended:
    """The plan that stands, on its bench and by its protocol, what was measured, and what a person stopped."""

    bench: Bench
    protocol: Protocol
    steps: tuple[Step, ...]
    result: PlanResult
    findings: tuple[AmendmentFinding, ...] = ()
    unfinished: tuple[str, ...] = ()

    @property
    def superseded(self) -> tuple[PlanResult, ...]:
        """Plans in whose place others were made."""
        return tuple(found.superseded for found in self.findings if found.superseded is not None)


def amend(
    bench: Bench,
    techniques: tuple[Technique, ...],
    protocol: Protocol,
    steps: tuple[Step, ...],
    result: PlanResult,
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> Amended:
    """Plan once more for each amendment that the assessed plan calls for; an amendment comes once.

    Parameters
    ----------
    bench : Bench
        On which the plan was made.
    techniques : tuple of Technique
        In the order in which they are tried.
    protocol : Protocol
        As it is for this patient.
    steps : tuple of Step
        The target recipe.
    result : PlanResult
        The assessed plan.
    clock, stop, keep
        As for `plan`.
    """
    now = Amended(bench, protocol, steps, result)
    while True:
        found = amendments_of(now.protocol, now.result.title, now.result.scorecard, _held_down(now.result))
        due = next((one for one in found if one.due == "yes"), None)
        if due is None or stop() or now.result.interrupted:
            left = (f"planning once more with other doses: {due.text}",) if due is not None else ()
            return replace(now, findings=(*now.findings, *found), unfinished=left)
        # What stands so far is a plan of the doses that the protocol gives up, and worth keeping.
        keep()
        name = due.entry.id
        own = amended(now.protocol, name)
        with clock.stage(f"targets {name}"):
            more = own.target_steps()[len(now.protocol.target_steps()) :]
            structures = derive(more, now.bench.structures, bench.case.ct.image.grid.axes_mm()[0])
        steps = (*now.steps, *more)
        title = f"Amended by {name}: {doses_in_words(own)}"
        request = request_of(own, techniques, title, name, steps, structures, positions_of(bench.options))
        with clock.stage(f"dose grid {name}"):
            other = bench_of(now.bench.case, structures, bench.machine, bench.options, [request], bench.registrations)
        again = plan_course(other, request, [request], clock, stop, keep)
        due = replace(due, superseded=now.result, protocol=now.protocol)
        now = Amended(other, own, steps, again, (*now.findings, due))


def amendments_of(
    protocol: Protocol, title: str, card: Scorecard, held_down: tuple[str, ...] = ()
) -> tuple[AmendmentFinding, ...]:
    """Compare an assessed plan with what each amendment of its protocol asks.

    Parameters
    ----------
    protocol : Protocol
        As it is for this patient.
    title : str
        Of the plan.
    card : Scorecard
        Its assessment, course total.
    held_down : tuple of str
        Limits that keep it below its prescription, in words; what the scorecard shows of that is found here.
    """
    return tuple(_finding(entry, protocol, title, card, held_down) for entry in protocol.file.amendments)


def recorded_findings(
    protocol: Protocol, decision: Decision, values: Mapping[str, Any], option: str | None
) -> tuple[AmendmentFinding, ...]:
    """Amendments that the record asks for, by what it tells of a plan that was made already.

    Parameters
    ----------
    protocol : Protocol
        As it was loaded.
    decision : Decision
        Of this protocol for this record: it tells the patient's plan.
    values : dict
        Facts of the patient, in the protocol's types.
    option : str or None
        Other doses of the patient's plan, by the id of the option.

    Raises
    ------
    UndecidedError, NotEligibleError
        When several of the protocol's plans are possible, or none.
    """
    if protocol.file.plans:
        protocol = with_plan(protocol, decision.require_outcome(PLAN), option)
    return tuple(
        AmendmentFinding(
            entry, values[entry.fact or ""], MADE_ALREADY, doses_in_words(protocol),
            doses_in_words(as_recorded(protocol, values)), by_record=True,
        )
        for entry in recorded_amendments(protocol, values)
    )  # fmt: skip


def doses_in_words(protocol: Protocol) -> str:
    """Doses of a whole course, such as "45 Gy in 25 fractions to PTV_4500"."""
    entries = protocol.file.prescriptions
    return ", ".join(
        f"{p.dose_gy:g} Gy in {fractions_of_course(entries, p.target)} fractions to {p.target}"
        for p in protocol.course()
    )


def _finding(
    entry: AmendmentEntry, protocol: Protocol, title: str, card: Scorecard, held_down: tuple[str, ...]
) -> AmendmentFinding:
    row = next(_rows(entry, card), None)
    measured = None if row is None else row.value
    reason = "" if measured is not None else row.reason if row is not None else f"{entry.structure} is not drawn"
    short = tuple(_short(protocol.course(), card))
    told = held_down or tuple(f"{r.structure} {r.metric} is {r.value:.2f}, not {r.operator} {r.limit:g}" for r in short)
    share = min((r.value / r.limit for r in short if r.value and r.limit), default=1.0)
    dvh = None if row is None or len(protocol.phases) > 1 else card.histograms.get(row.structure)
    return AmendmentFinding(
        entry, measured, title, doses_in_words(protocol),
        doses_in_words(amended(protocol, entry.id)), reason=reason, held_down=told,
        with_whole_dose=None if dvh is None or share == 1.0 else _at_more(dvh, entry.metric, share),
    )  # fmt: skip


def _held_down(result: PlanResult) -> tuple[str, ...]:
    return tuple(told for phase in result.phases for told in phase.held_down)


def _short(course: Sequence[Prescription], card: Scorecard) -> Iterator[Row]:
    """Prescriptions that a plan does not reach."""
    asked = {(p.tied_to, p.normalisation.metric) for p in course}
    return (row for row in card.rows if (row.structure, row.metric) in asked and row.verdict == "fail")


def _at_more(dvh: DVH, metric: str, share: float) -> float | None:
    """A metric of the dose divided by `share`, in the metric's unit; None where it is not one of a dose in Gy."""
    of = Metric.parse(metric)
    if of.is_dose:
        return dvh.value(metric) / share if of.unit == "Gy" else None
    if of.at is None or of.at_unit != "Gy":
        return None
    return dvh.value(str(replace(of, at=of.at * share)))


def _rows(entry: AmendmentEntry, card: Scorecard) -> Iterator[Row]:
    for row in card.rows:
        alike = row.structure.lower() == entry.structure.lower() and row.metric == entry.metric
        if alike and row.quantity == "physical" and row.scope == "course":
            yield row
