"""Picture of the doses that a patient's organs allow: how far each number of fractions goes, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl

from tailort.evaluation import Row
from tailort.patient import Metric
from tailort.web.figures import INK, Picture, figure, svg
from tailort.workflow.dose_levels import DoseLevel, Proposal
from tailort.workflow.individual_dose import IndividualDose

_HOLDS, _BREAKS, _PRINTED, _PALE = "#2f7d6d", "#f0d3d0", "#6b4fa0", "#dde3e6"
_SETS = ("#0b5c8a", "#c1440e", "#1c7c46", "#8a3fa0", "#8a5a00", "#5b6b75")
_STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)))
ACROSS = 3


def dose_plot(result: IndividualDose) -> Picture:
    """Bars of the doses that hold, by number of fractions; below them TCP and NTCP of each structure against dose."""
    panels = _panels(result)
    rows = -(-len(panels) // ACROSS)
    bars_high = 1.3 + 0.42 * len(result.proposals)
    fig = figure(13.2, bars_high + 3.1 * rows + 0.5)
    grid = fig.add_gridspec(rows + 1, ACROSS, height_ratios=[bars_high, *[3.1] * rows])
    _bars(fig.add_subplot(grid[0, :]), result)
    for n, (structure, metrics) in enumerate(panels.items()):
        ax = fig.add_subplot(grid[1 + n // ACROSS, n % ACROSS])
        _curves(ax, result, structure, metrics)
    handles = [
        mpl.lines.Line2D([], [], color=INK, ls=style_of(n), lw=1.6, label=f"{one.fractions} fractions")
        for n, one in enumerate(result.proposals)
    ]
    handles.append(mpl.lines.Line2D([], [], color=INK, marker="o", ls="", ms=6, label="largest dose that holds"))
    if _shows_printed(result):
        handles.append(mpl.lines.Line2D([], [], color=_PRINTED, lw=1.0, label="dose of the protocol"))
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    caption = (
        f"Dose of {result.given.lead.target}, Gy per course (physical). Above: where every hard limit and cap holds, "
        "and what holds the dose there; pale where one does not hold. Below: TCP and NTCP of the same dose, scaled, by "
        "each named set; one line style a number of fractions. Excess relative risks stand in the tables."
    )
    return Picture(svg(fig), caption, "doses that hold by number of fractions, TCP and NTCP against dose")


def style_of(n: int) -> Any:
    """Line style of the n-th number of fractions; they come again after the sixth."""
    return _STYLES[n % len(_STYLES)]


def limit_told(row: Row) -> str:
    """A limit in words of the scorecard."""
    quantity = "" if row.quantity == "physical" or Metric.parse(row.metric).is_outcome else f" {row.quantity}"
    scope = "" if row.scope == "course" else ", all courses"
    return f"{row.structure} {row.metric}{quantity} {row.operator} {row.limit:g}{scope}"


def held_by(one: Proposal, range_gy: tuple[float, float]) -> str:
    """What ends the doses that hold."""
    if not one.binding:
        return f"the range ends at {range_gy[1]:g} Gy"
    return "; ".join(limit_told(row) for row in one.binding)


def _panels(result: IndividualDose) -> dict[str, list[str]]:
    """Metrics by structure that are chances, TCP first."""
    found: dict[str, list[str]] = {}
    for structure, metrics in result.given.outcomes.items():
        chances = [metric for metric in metrics if Metric.parse(metric).kind != "ERR"]
        if chances:
            found[structure] = chances
    return found


def _shows_printed(result: IndividualDose) -> bool:
    low, high = result.range_gy
    return low <= result.given.printed_gy <= high


def _bars(ax: Any, result: IndividualDose) -> None:
    low, high = result.range_gy
    for y, one in enumerate(result.proposals):
        end = low if one.level is None else one.level.dose_gy
        ax.barh(y, end - low, left=low, height=0.56, color=_HOLDS)
        ax.barh(y, high - end, left=end, height=0.56, color=_BREAKS)
        if one.level is None:
            told = f"none: {held_by(one, result.range_gy)}"
        else:
            told = f"{end:.2f} Gy, {one.level.dose_per_fraction_gy:.2f} Gy a fraction: {held_by(one, result.range_gy)}"
        inside = end - low > 0.5 * (high - low)
        ax.text(
            (low if inside else end) + 0.01 * (high - low), y, told, va="center", fontsize=8, zorder=4,
            color="white" if inside else INK,
            bbox={"facecolor": _HOLDS if inside else _BREAKS, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    if _shows_printed(result):
        ax.axvline(result.given.printed_gy, color=_PRINTED, lw=1.0)
    names = [f"{one.fractions} fractions" for one in result.proposals]
    ax.set(xlim=(low, high), ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)))
    ax.set_yticklabels(names, fontsize=8)
    ax.set_title("Where every hard limit and cap holds, and what ends it", fontsize=9, loc="left", color=INK)
    ax.set_xlabel(_dose_axis(result), fontsize=8)
    _plain(ax)


def _curves(ax: Any, result: IndividualDose, structure: str, metrics: Sequence[str]) -> None:
    for colour, metric in zip(_repeated(_SETS, len(metrics)), metrics, strict=True):
        for n, one in enumerate(result.proposals):
            known = [(level.dose_gy, value(level, structure, metric)) for level in one.curve]
            points = [(dose, told) for dose, told in known if told is not None]
            if points:
                ax.plot(*zip(*points, strict=True), color=colour, ls=style_of(n), lw=1.5)
            at = None if one.level is None else value(one.level, structure, metric)
            if at is not None and one.level is not None:
                ax.plot(one.level.dose_gy, at, "o", color=colour, ms=5)
    if _shows_printed(result):
        ax.axvline(result.given.printed_gy, color=_PRINTED, lw=1.0, zorder=0)
    handles = [
        mpl.lines.Line2D([], [], color=colour, lw=2, label=Metric.parse(metric).model)
        for colour, metric in zip(_repeated(_SETS, len(metrics)), metrics, strict=True)
    ]
    ax.legend(handles=handles, loc="upper left", frameon=False, fontsize=7)
    kind = Metric.parse(metrics[0]).kind
    ax.set_title(f"{kind} of {structure}, %", fontsize=9, loc="left", color=INK)
    ax.set_xlim(*result.range_gy)
    # Room for the legend above the curves.
    ax.set_ylim(0.0, max(ax.get_ylim()[1] * (1.1 + 0.1 * len(metrics)), 1.0))
    ax.set_yticks([tick for tick in ax.get_yticks() if tick <= 100.0])
    ax.set_xlabel(_dose_axis(result), fontsize=8)
    _plain(ax)
    ax.grid(color=_PALE, lw=0.6)


def value(level: DoseLevel, structure: str, metric: str) -> float | None:
    """An outcome at a level, %; None where it is unknown."""
    found = [row.value for row in level.outcomes if (row.structure, row.metric) == (structure, metric)]
    return found[0] if found else None


def _dose_axis(result: IndividualDose) -> str:
    return f"dose of {result.given.lead.target}, Gy per course"


def _repeated(colours: Sequence[str], count: int) -> list[str]:
    return [colours[n % len(colours)] for n in range(count)]


def _plain(ax: Any) -> None:
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
