"""What the report of trade-offs says: cards, sentences and tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from tailort.optimisation.pareto import TradeOffs
from tailort.optimisation.pareto_goals import TradeGoal
from tailort.optimisation.pareto_navigation import Mixture
from tailort.workflow.trading import Trading

_ANSWERS = {
    "met": "what was asked is kept",
    "ruled out": "as far as the solver converged, no plan with as even a fluence can keep what was asked, unless a "
    "goal of which nothing was asked becomes worse than nadir",
    "not reached": "the plans found do not reach what was asked; it is not ruled out, more plans may",
    "nothing asked": "nothing was asked: the mixture whose worst goal is best",
}
_REASONS = {
    "gap": "the gap that was asked is reached",
    "number of plans": "the number of plans was reached before the gap",
    "no further progress": "the solver comes no closer",
    "stopped": "interrupted by a person",
}


def trading_warnings(result: Trading) -> list[str]:
    """What a reader must not miss."""
    told = list(result.obstacles)
    told += [
        f"Hard limit violated: {one.structure} {one.label} is exceeded by {one.excess_gy:.2f} Gy."
        for one in result.violated
    ]
    told += [f"Hard limit not judged: {text}." for text in result.unjudged]
    if result.front is None:
        told.append("There are no trade-offs to show: no fluence was found that keeps every hard limit.")
    elif result.interrupted:
        told.append("Interrupted by a person: there are fewer plans than were asked for.")
    elif not result.converged:
        told.append("Not every search along the front ended at an optimum; the table of plans says which.")
    return told


def trading_summary(result: Trading) -> list[str]:
    """Sentences that open the report."""
    doses = ", ".join(f"{p.target} {p.dose_gy:g} Gy" for p in result.phase.prescriptions)
    course = "" if result.phases == 1 else f" of phase {result.phase.number} of {result.phases}"
    return [
        f"{result.protocol.title}: {doses} in {result.phase.lead.fractions} fractions. All numbers are physical dose"
        f"{course or ' of the course'}, in Gy, of the ideal fluence on the optimiser's voxels; segments or arcs, the "
        "dose between voxels and the scaling to the prescription change them. No plan of this report can be delivered.",
        "Every plan keeps the hard limits and, of the protocol's goals that are not traded, what the protocol's own "
        "fluence reached, but for a tenth and 0.2 Gy.",
    ]


def trading_cards(result: Trading) -> list[dict[str, str]]:
    """Numbers at the top of the report."""
    cards = []
    front, mixture = result.front, result.mixture
    if front is not None and mixture is not None:
        for goal, asked, value, short in zip(
            front.goals, mixture.asked_gy, mixture.metrics_gy, mixture.short_gy, strict=True
        ):
            sign = "at least" if goal.rising else "at most"
            cards.append(
                {
                    "label": f"mixture, {goal.label}",
                    "value": f"{value:.2f} Gy",
                    "note": "free" if asked is None else f"asked {sign} {asked:g} Gy",
                    "kind": "" if asked is None else "bad" if short > 0 else "good",
                }
            )
        cards.append(
            {
                "label": "plans along the front",
                "value": str(len(front.plans) - (front.start is not None)),
                "note": f"none can be better by more than {100 * front.gap:.1f} % of all ranges; "
                f"{_REASONS[front.reason]}",
                "kind": "",
            }
        )
    hard = [one for one in result.held if one.hard]
    cards.append(
        {
            "label": "hard limits that fail",
            "value": f"{len(result.violated)} of {len(hard)}",
            "note": ", ".join(f"{one.structure} {one.label}" for one in result.violated) or "none",
            "kind": "bad" if result.violated else "good" if hard else "",
        }
    )
    return cards


def trading_tables(result: Trading) -> list[dict[str, Any]]:
    """Goals, payoff, plans, the mixture and its limits."""
    if result.front is None or result.mixture is None:
        return [_limits(result)]
    front, mixture = result.front, result.mixture
    return [
        _mixture(front, mixture, result.answer),
        _trades(front, mixture),
        _goals(front),
        _payoff(front),
        _plans(front, mixture),
        _limits(result),
    ]


def _goals(front: TradeOffs) -> dict[str, Any]:
    return {
        "title": "Goals",
        "note": "Ideal is the best among the plans that are best for one goal, nadir the worst there; both of what is "
        "bounded and mixed: the mean dose of a tail stands for a dose at a volume, on the safe side. "
        "A hundredth of the weight is on the evenness of the fluence, so that ideal is what can still become segments.",
        "header": ["goal", "better", "bounded and mixed", "ideal, Gy", "nadir, Gy", "no worse than, Gy"],
        "rows": [
            [
                goal.label,
                "more" if goal.rising else "less",
                goal.stand_in,
                f"{goal.stand_in_gy(ideal):.2f}",
                f"{goal.stand_in_gy(nadir):.2f}",
                "free" if goal.worst_gy is None else f"{goal.worst_gy:g}",
            ]
            for goal, ideal, nadir in zip(front.goals, front.ideal_gy, front.nadir_gy, strict=True)
        ],
    }


def _payoff(front: TradeOffs) -> dict[str, Any]:
    return {
        "title": "The best of each goal, and what it does to the others",
        "note": "The metric itself, Gy; in brackets what stands for it.",
        "header": ["best plan for", *(goal.label for goal in front.goals)],
        "rows": [
            [
                goal.label,
                *(_both(*one) for one in zip(front.goals, plan.metrics_gy, plan.measures_gy, strict=True)),
            ]
            for goal, plan in zip(front.goals, front.anchors, strict=True)
        ],
    }


def _both(goal: TradeGoal, metric_gy: float, measure_gy: float) -> str:
    bracket = "" if goal.share is None else f" ({goal.stand_in_gy(measure_gy):.2f})"
    return f"{metric_gy:.2f}{bracket}"


def _plans(front: TradeOffs, mixture: Mixture) -> dict[str, Any]:
    rows = []
    for n, (plan, share) in enumerate(zip(front.plans, mixture.shares, strict=True), start=1):
        origin = {"start": "the protocol's own goals", "between": "between"}.get(plan.origin)
        rows.append(
            [
                f"{n}: {origin or plan.origin.replace('anchor: ', 'best ')}",
                *(f"{value:.2f}" for value in plan.metrics_gy),
                f"{100 * share:.0f} %" if share > 0 else "",
                ("yes" if plan.converged else "no") if plan.iterations else "",
            ]
        )
    return {
        "title": "Plans along the front",
        "note": "Metrics in Gy, the share of each plan in the mixture, and whether its search ended at an optimum.",
        "header": ["plan", *(goal.label for goal in front.goals), "in the mixture", "converged"],
        "rows": rows,
    }


def _mixture(front: TradeOffs, mixture: Mixture, answer: str) -> dict[str, Any]:
    ends = zip(front.ideal_gy, front.nadir_gy, strict=True)
    rows = []
    for goal, asked, value, measure, short, (ideal, nadir) in zip(
        front.goals, mixture.asked_gy, mixture.metrics_gy, mixture.measures_gy, mixture.short_gy, ends, strict=True
    ):
        sign = ">=" if goal.rising else "<="
        place = "" if nadir <= ideal else f"{100 * (measure - ideal) / (nadir - ideal):.0f} %"
        rows.append(
            [
                goal.label,
                "free" if asked is None else f"{sign} {asked:g}",
                f"{value:.2f}",
                "" if asked is None else f"missed by {short:.2f}" if short > 0 else "kept",
                place,
            ]
        )
    return {
        "title": "The mixture",
        "note": f"{_ANSWERS[answer][0].upper()}{_ANSWERS[answer][1:]}. Doses mix as fluences do, and every mixture "
        "keeps the limits that its plans keep.",
        "header": ["goal", "asked, Gy", "mixture, Gy", "", "from ideal (0 %) to nadir (100 %)"],
        "rows": rows,
    }


def _trades(front: TradeOffs, mixture: Mixture) -> dict[str, Any]:
    return {
        "title": "What a gray costs there",
        "note": "Row: one Gy better. Column: Gy that this goal alone loses (- gains) for it, the others no worse, over "
        "a step of 5 % of the range, of what is bounded and mixed. A dash: this goal alone cannot pay for it.",
        "header": ["better by 1 Gy", *(f"{goal.label} worse by" for goal in front.goals)],
        "rows": [
            [
                f"{goal.label}, 1 Gy {'more' if goal.rising else 'less'}",
                *("" if n == m else _price(mixture.trades[n, m]) for m in range(len(front.goals))),
            ]
            for n, goal in enumerate(front.goals)
        ],
    }


def _price(gy: float) -> str:
    return "-" if np.isnan(gy) else f"{gy:.2f}"


def _limits(result: Trading) -> dict[str, Any]:
    of = "mixture" if result.mixture is not None else "fluence that came closest"
    return {
        "title": f"What the {of} keeps",
        "note": "Hard limits of the protocol, then what is kept of the goals that are not traded; dose-volume goals "
        "that are kept stand in their convex form. Gy of each limit's own measure.",
        "header": ["limit", "kind", "Gy beyond it", "verdict"],
        "rows": [
            [
                f"{one.structure} {one.label}",
                "hard" if one.hard else "kept",
                f"{one.excess_gy:+.2f}",
                "fail" if one.violated else "pass",
            ]
            for one in result.held
        ],
    }
