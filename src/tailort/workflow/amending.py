"""What an assessed plan asks to be changed in its own prescription: assess, amend, plan once more, keep both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from tailort.evaluation import Row, Scorecard
from tailort.patient import Prescription
from tailort.protocols import Protocol, ReportMetric
from tailort.protocols.condition import COMPARE
from tailort.protocols.schema import AmendmentEntry
from tailort.workflow.records import AmendmentFinding, PlanResult


def amendment_metrics(protocol: Protocol) -> tuple[ReportMetric, ...]:
    """Metrics that a plan must be assessed by for its amendments, beyond those that the protocol reports anyway."""
    told = {(metric.structure.lower(), metric.metric) for metric in protocol.report_metrics()}
    return tuple(
        ReportMetric(entry.structure, entry.metric, ", ".join(entry.rules))
        for entry in protocol.file.amendments
        if (entry.structure.lower(), entry.metric) not in told
    )


def amendments_of(protocol: Protocol, result: PlanResult) -> tuple[AmendmentFinding, ...]:
    """Compare an assessed plan with what each amendment of its protocol asks."""
    return tuple(_finding(entry, result) for entry in protocol.file.amendments)


def _finding(entry: AmendmentEntry, result: PlanResult) -> AmendmentFinding:
    row = next(_rows(entry, result.scorecard), None)
    measured = None if row is None else row.value
    due: Literal["yes", "no", "unknown"] = "unknown"
    if measured is not None:
        due = "yes" if COMPARE[entry.operator](measured, entry.value) else "no"
    reason = "" if measured is not None else row.reason if row is not None else f"{entry.structure} is not drawn"
    return AmendmentFinding(
        entry.id, entry.structure, entry.metric, entry.operator, entry.value, measured, due, entry.rules, result.title,
        reason=reason,
    )  # fmt: skip


def _rows(entry: AmendmentEntry, card: Scorecard) -> Iterator[Row]:
    for row in card.rows:
        alike = row.structure.lower() == entry.structure.lower() and row.metric == entry.metric
        if alike and row.quantity == "physical" and row.scope == "course":
            yield row


def doses_in_words(prescriptions: Sequence[Prescription]) -> str:
    """Doses of a course, such as "45 Gy in 25 fractions to PTV_4500"."""
    return ", ".join(f"{p.dose_gy:g} Gy in {p.fractions} fractions to {p.target}" for p in prescriptions)
