"""Pictures of trade-offs: the plans along a Pareto front, and what no plan can reach."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.pareto import TradeOffs, TradePlan
from tailort.optimisation.pareto_goals import TradeGoal
from tailort.optimisation.pareto_navigation import Mixture, lowest_possible_gy
from tailort.web.figures import INK, Picture, figure, svg

Float = NDArray[np.float64]

# Points of the border of what is ruled out.
BORDER = 60
_START, _CHOSEN, _NEVER = "#8d99ae", "#ff2d95", "#eceff1"


def trade_off_plot(front: TradeOffs, chosen: Mixture | None = None) -> Picture:
    """Every pair of goals against each other: the plans, the start, a chosen mixture, and what is ruled out.

    Axes show what stands for each metric (the mean of the coldest 5 % for a D95%), as it is what is bounded and mixed;
    each axis is turned so that down and left are better.
    """
    pairs = list(combinations(range(len(front.goals)), 2))
    rows, columns = (len(pairs) + 2) // 3, min(len(pairs), 3)
    # A single panel is wider, and its legend in two columns, so that the legend fits below.
    fig = figure(4.4 * columns, 4.2 * rows) if columns > 1 else figure(6.6, 5.2)
    axes = np.atleast_1d(fig.subplots(rows, columns)).reshape(-1)
    for ax, (across, up) in zip(axes, pairs, strict=True):
        _draw(ax, front, across, up, chosen)
    handles = [
        _dot("o", INK, "plans"),
        *[_dot(f"${n + 1}$", INK, f"best {goal.label}") for n, goal in enumerate(front.goals)],
        *([_dot("s", _START, "start")] if front.start else []),
        *([_dot("*", _CHOSEN, "chosen")] if chosen else []),
        mpl.patches.Patch(color=_NEVER, label="ruled out, the other goals no worse than in any anchor"),
    ]
    beside = len(handles) if columns > 1 else 2
    fig.legend(handles=handles, loc="outside lower center", ncols=beside, frameon=False, fontsize=8)
    caption = (
        "Plans along the Pareto front in pairs of goals, whatever the other goals are; down and left are better. As "
        f"far as the solver converged, no plan is better than mixtures of these in all goals at once by more than "
        f"{100 * front.gap:.1f} % of their ranges. Physical dose of the ideal fluence in all its fractions, Gy; the "
        "dose of a delivered plan differs."
    )
    return Picture(svg(fig), caption, "trade-offs between goals")


def _draw(ax: Any, front: TradeOffs, across: int, up: int, chosen: Mixture | None) -> None:
    goals = front.goals
    x, y = (np.array([_shown(plan, goals, n) for plan in front.plans]) for n in (across, up))
    margin_x, margin_y = (0.08 * max(float(np.ptp(v)), 0.1) for v in (x, y))
    x_view = (float(x.min()) - margin_x, float(x.max()) + margin_x)
    y_view = (float(y.min()) - margin_y, float(y.max()) + margin_y)
    _never(ax, front, across, up, x_view, y_view)
    anchors = front.anchors
    for plan, at_x, at_y in zip(front.plans, x, y, strict=True):
        if plan.origin == "start":
            ax.plot(at_x, at_y, "s", color=_START, ms=6, zorder=3)
        elif plan in anchors:
            ax.plot(at_x, at_y, marker=f"${anchors.index(plan) + 1}$", color=INK, ms=9, zorder=4)
        else:
            ax.plot(at_x, at_y, "o", color=INK, ms=4, zorder=3)
    if chosen is not None:
        at = [goals[n].stand_in_gy(chosen.measures_gy[n]) for n in (across, up)]
        # Hollow, so that a plan beneath it is seen.
        ax.plot(*at, "*", color=_CHOSEN, mfc="none", mew=1.8, ms=17, zorder=5)
    ax.set_xlabel(_axis(goals[across]), fontsize=8)
    ax.set_ylabel(_axis(goals[up]), fontsize=8)
    ax.set_xlim(*(reversed(x_view) if goals[across].rising else x_view))
    ax.set_ylim(*(reversed(y_view) if goals[up].rising else y_view))
    ax.tick_params(labelsize=7)
    ax.grid(color="#dde3e6", lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _never(
    ax: Any, front: TradeOffs, across: int, up: int, x_view: tuple[float, float], y_view: tuple[float, float]
) -> None:
    """Fill what the planes rule out for plans whose other goals are no worse than nadir."""
    goal_x, goal_y = front.goals[across], front.goals[up]
    at = np.linspace(*x_view, BORDER)
    lowest = []
    for value in at:
        most = list(front.nadir_gy)
        most[up] = np.inf
        most[across] = _measure(goal_x, float(value))
        lowest.append(lowest_possible_gy(front, up, most))
    border = np.array([goal_y.stand_in_gy(low) if np.isfinite(low) else np.nan for low in lowest])
    # Where nothing is left at all the fill spans the picture.
    worst, best = (y_view[0], y_view[1]) if goal_y.rising else (y_view[1], y_view[0])
    ax.fill_between(at, np.where(np.isnan(border), worst, border), best, color=_NEVER, lw=0, zorder=0)


def _measure(goal: TradeGoal, stand_in_gy: float) -> float:
    if goal.level_gy is None:
        return max(stand_in_gy, 0.0)
    return goal.bound_gy(min(max(stand_in_gy, 0.0), goal.level_gy))


def _shown(plan: TradePlan, goals: tuple[TradeGoal, ...], n: int) -> float:
    return goals[n].stand_in_gy(plan.measures_gy[n])


def _axis(goal: TradeGoal) -> str:
    stands = "" if goal.stand_in == goal.metric else f"\n(stands for {goal.metric})"
    return f"{goal.structure}: {goal.stand_in.removesuffix('[Gy]')}, Gy{stands}"


def _dot(marker: str, colour: str, label: str) -> Any:
    return mpl.lines.Line2D([], [], marker=marker, color=colour, ls="", ms=7, label=label)
