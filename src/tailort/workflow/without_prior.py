"""What earlier courses cost a plan: the same planned as if there were none, and both judged on the sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tailort.errors import InputError
from tailort.evaluation import DVH, Row
from tailort.evaluation.scorecard import DECIMALS, Verdict
from tailort.workflow.bench import Bench
from tailort.workflow.clock import StageClock
from tailort.workflow.courses import plan_course
from tailort.workflow.judging import judge
from tailort.workflow.records import PlanResult
from tailort.workflow.requesting import Request

LABEL = "without prior"
# Two decimals of Gy, cm3 or % are told.
TOLD = 0.005
TITLE = "Planned as if there were no earlier course, judged with them"


@dataclass(frozen=True)
class Price:
    """One number of the plan on the sum, and of the plan that does not know of earlier courses.

    Parameters
    ----------
    summed, ordinary : Row
        The same row of both scorecards, or a metric of a target that both are told for.
    of_target : bool
        Whether the structure is prescribed a dose.
    """

    summed: Row
    ordinary: Row
    of_target: bool

    @property
    def difference(self) -> float | None:
        """What planning on the sum adds to the value; None where one of both is unknown."""
        one, other = self.summed.value, self.ordinary.value
        return None if one is None or other is None else round(one - other, DECIMALS)

    @property
    def is_worse(self) -> bool:
        """Whether planning on the sum takes something of what is asked for, as a report tells it."""
        if self.summed.operator is None or self.difference is None:
            return False
        wrong = self.difference if self.summed.operator in ("<", "<=") else -self.difference
        return wrong >= TOLD

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        row = self.summed
        return {
            "structure": row.structure,
            "metric": row.metric,
            "quantity": row.quantity,
            "scope": row.scope,
            "operator": row.operator,
            "limit": row.limit,
            "priority": row.priority,
            "of_target": self.of_target,
            "without": self.ordinary.value,
            "with": row.value,
            "difference": self.difference,
            "verdict_without": self.ordinary.verdict,
            "verdict_with": row.verdict,
        }


def plan_without_earlier(
    bench: Bench,
    request: Request,
    requests: Sequence[Request],
    clock: StageClock,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> PlanResult:
    """Plan a course as if there were no earlier ones, and judge it with them.

    Parameters
    ----------
    bench : Bench
        The patient, with earlier courses; beamlets that exist already serve this plan too.
    request : Request
        What is wanted.
    requests : sequence of Request
        All plans of the run: those with the same technique share their beamlets.
    clock, stop, keep
        As for `plan`.

    Raises
    ------
    InputError
        When the patient has no earlier course.
    """
    require_earlier(bool(bench.earlier))
    asked = replace(request, title=TITLE, label=LABEL)
    made = plan_course(replace(bench, earlier=(), drawn=()), asked, requests, clock, stop, keep)
    with clock.stage(f"judge {LABEL} on the sum"):
        summed = judge(bench, asked, made.phases, ())
    return replace(summed, notes=made.notes)


def require_earlier(known: bool) -> None:
    """Refuse the comparison where there is nothing to leave out."""
    if not known:
        raise InputError(
            "--compare-without-prior plans once more without the earlier courses, and there is none; name one with "
            "--prior"
        )


def prices(summed: PlanResult, ordinary: PlanResult) -> tuple[Price, ...]:
    """What a plan on the sum has in place of one that does not know of earlier courses: targets first.

    Parameters
    ----------
    summed, ordinary : PlanResult
        Of the same request, judged by the same limits and the same earlier courses.
    """
    targets = {p.target.lower() for p in summed.prescriptions}
    pairs = [
        Price(one, other, one.structure.lower() in targets)
        for one, other in zip(summed.scorecard.rows, ordinary.scorecard.rows, strict=True)
    ]
    told = {(pair.summed.structure, pair.summed.metric) for pair in pairs if pair.summed.quantity == "physical"}
    more = [
        Price(one, other, True)
        for one, other in zip(_coverage(summed), _coverage(ordinary), strict=True)
        if (one.structure, one.metric) not in told
    ]
    pairs = [*(pair for pair in pairs if pair.of_target), *more, *(pair for pair in pairs if not pair.of_target)]
    return tuple(pair for pair in pairs if pair.summed.limit is not None or pair.of_target)


def in_words(summed: PlanResult, ordinary: PlanResult) -> str:
    """What the limits over all courses cost, in one sentence."""
    told = [
        f"{pair.summed.structure} {pair.summed.metric} {pair.summed.value:.2f} in place of {pair.ordinary.value:.2f}"
        for pair in prices(summed, ordinary)
        if pair.of_target and pair.is_worse
    ]
    broken, missed = _broken(ordinary), _broken(summed)
    kept = f"without them the plan breaks {'; '.join(broken)}" if broken else "without them the plan keeps them too"
    still = f"; planned on, they are still broken: {'; '.join(missed)}" if missed else ""
    return f"limits over all courses: {kept}{still}; planning on them costs: {', '.join(told) or 'no coverage'}"


def _broken(result: PlanResult) -> list[str]:
    """Hard limits over all courses that a plan breaks, in words."""
    return [
        f"{row.structure} {row.metric} ({row.quantity}) {row.value:.2f}, limit {row.operator} {row.limit:g}"
        for row in result.scorecard.hard_failures
        if row.scope == "cumulative" and row.value is not None
    ]


def _coverage(result: PlanResult) -> Iterator[Row]:
    """What the prescribed targets get, physical dose of the course."""
    total: dict[str, float] = {}
    for p in result.prescriptions:
        total[p.target] = total.get(p.target, 0.0) + p.dose_gy
    curves = {found.structure.lower(): found for found in result.dvhs}
    for target, dose_gy in total.items():
        for metric in ("D98%[Gy]", "D95%[Gy]", "D50%[Gy]", "D2%[Gy]", f"V{dose_gy:g}Gy[%]"):
            yield _told(target, metric, curves.get(target.lower()))


def _told(target: str, metric: str, found: DVH | None) -> Row:
    low, high = (0.0, float("inf")) if found is None else found.bounds(metric)
    value = round(low, DECIMALS) if low == high else None
    verdict: Verdict = "unknown" if value is None else "report"
    return Row(target, metric, "physical", "course", value, None, None, "report", verdict, "")
