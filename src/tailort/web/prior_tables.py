"""What planning on the sum with earlier courses costs, and what it holds, as tables of the report."""

from __future__ import annotations

from typing import Any

from tailort.evaluation import Row
from tailort.workflow.records import PlanningRun
from tailort.workflow.without_prior import Price, in_words, prices

DRAWN = ["structure", "metric", "dose", "limit", "as registered", "lowest", "highest", "worst in", "holds in"]
HEADER = ["structure", "metric", "dose", "limit", "without", "with", "difference", "holds without", "holds with"]


def price_tables(run: PlanningRun) -> list[dict[str, Any]]:
    """Return the plan beside the one that does not know of earlier courses; nothing where that was not asked for.

    Parameters
    ----------
    run : PlanningRun
        What was planned.
    """
    if run.without_prior is None:
        return []
    return [
        {
            "title": "Planned without and with the earlier courses",
            "note": "Both plans are deliverable and judged on the same sum of courses; the plan without was made as if "
            f"there were no earlier course (folder without-prior). {_sentence(in_words(run.main, run.without_prior))}",
            "header": HEADER,
            "rows": [_row(price) for price in prices(run.main, run.without_prior)],
        }
    ]


def drawn_tables(run: PlanningRun) -> list[dict[str, Any]]:
    """Return limits over all courses in draws of the registrations; nothing where none were asked for.

    Parameters
    ----------
    run : PlanningRun
        What was planned.
    """
    if run.drawn_sums is None:
        return []
    drawn = run.drawn_sums
    rows = [
        [
            row.structure, row.metric, row.quantity,
            "" if row.limit is None or row.operator is None else f"{row.operator} {row.limit:g} ({row.priority})",
            _number(row.nominal), _number(row.lowest), _number(row.highest), row.worst_scenario,
            "" if row.verdict == "report" else f"{row.held} of {row.scenarios}",
        ]
        for row in drawn.rows
    ]  # fmt: skip
    return [
        {
            "title": f"Limits over all courses in {drawn.draws} draws of the registrations",
            "note": "The plan is made so that hard limits hold with the earlier doses as registered and in each of "
            "these draws within the registrations' estimated uncertainty. The scorecard's verdicts and the exit status "
            "are those as registered.",
            "header": DRAWN,
            "rows": rows,
        }
    ]


def _row(price: Price) -> list[str]:
    row = price.summed
    limit = "" if row.limit is None or row.operator is None else f"{row.operator} {row.limit:g} ({row.priority})"
    difference = "" if price.difference is None else f"{price.difference:+.2f}"
    return [
        row.structure, row.metric, f"{row.quantity}, {'all courses' if row.scope == 'cumulative' else 'this course'}",
        limit, _value(price.ordinary), _value(row), difference, _holds(price.ordinary), _holds(row),
    ]  # fmt: skip


def _value(row: Row) -> str:
    return _number(row.value)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _holds(row: Row) -> str:
    return {"pass": "yes", "fail": "no", "unknown": "unknown", "report": ""}[row.verdict]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
