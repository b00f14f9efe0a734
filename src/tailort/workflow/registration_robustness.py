"""A plan judged on the sum of courses in every draw of the registrations that it was made for."""

from __future__ import annotations

from tailort.evaluation import Row, assess, over_scenarios
from tailort.workflow.bench import Bench
from tailort.workflow.parts import cut_dose
from tailort.workflow.records import DrawnSums, PlanResult

NOMINAL = "as registered"


def judge_draws(bench: Bench, result: PlanResult) -> DrawnSums | None:
    """Judge a plan's limits over all courses with the earlier doses as registered and in each draw.

    Parameters
    ----------
    bench : Bench
        The patient, with earlier courses by draws of their registrations.
    result : PlanResult
        The deliverable plans, judged with the earlier doses as registered.

    Returns
    -------
    DrawnSums or None
        None where nothing was drawn.
    """
    if not bench.drawn:
        return None
    asked = [c for c in result.constraints if c.scope == "cumulative" and bench.structures.find(c.structure)]
    asked = [c for c in asked if not bench.structures[c.structure].is_empty]
    part = bench.drawn[0][0].grid
    doses = [cut_dose(phase.dose, part) for phase in result.phases]
    cards: list[tuple[Row, ...]] = [
        tuple(row for row in result.scorecard.rows if row.scope == "cumulative" and _is_drawn(bench, row))
    ]
    cards += [
        assess(bench.structures, doses, asked, (), earlier=courses, single_slice_thickness_mm=bench.slice_mm).rows
        for courses in bench.drawn
    ]
    names = [NOMINAL, *(f"draw {n + 1}" for n in range(len(bench.drawn)))]
    rows = tuple(over_scenarios(list(rows), names) for rows in zip(*cards, strict=True))
    return DrawnSums(len(bench.drawn), rows)


def _is_drawn(bench: Bench, row: Row) -> bool:
    found = bench.structures.find(row.structure)
    return found is not None and not found.is_empty


def draws_in_words(drawn: DrawnSums) -> str:
    """How a plan was made robust, and what of it holds, in one sentence."""
    judged = [row for row in drawn.rows if row.priority == "hard"]
    held = sum(row.verdict == "pass" for row in judged)
    return (
        f"planned on the sum as registered and in {drawn.draws} draws of the registrations within their estimated "
        f"uncertainty: {held} of {len(judged)} hard limits over all courses hold in all of them"
    )


def broken_in_words(drawn: DrawnSums | None) -> tuple[str, ...]:
    """Hard limits that do not hold in every draw, one sentence each."""
    if drawn is None:
        return ()
    return tuple(
        f"hard limit over all courses violated in a draw of the registrations: {row.structure} {row.metric} "
        f"{f'is {row.worst:.2f} ({row.worst_scenario})' if row.worst is not None else 'is unknown'}, limit "
        f"{row.operator} {row.limit:g}; it holds in {row.held} of {row.scenarios}"
        for row in drawn.hard_failures
    )
