"""Pictures of a cohort: survival and cumulative incidence with numbers at risk, effects in subgroups, visits."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tailort.cohort.incidence import CumulativeIncidence
from tailort.cohort.subgroups import Subgroups
from tailort.cohort.survival import SurvivalCurve
from tailort.web.figures import INK, Picture, figure, png, svg

Float = NDArray[np.float64]

# Told apart by people who confuse red and green (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a5a00", "#56b4e9", "#5b6b75", "#000000")
_GRID, _SOFT, _SIZE = "#dde3e6", "#5b6b75", 9
# Between marks of the time axis, months.
_STEPS = (1, 2, 3, 6, 12, 24, 36, 60, 120)
_MOST_MARKS = 9
_PNG_DPI = 200
# Hazard ratios beyond this, and its inverse, lie outside a forest plot.
_LEAST_RATIO = 0.02
# More patients than this are a table, no picture.
MOST_ROWS = 90
_STATUS = {
    "done": "#009e73", "done early": "#7fcab4", "done late": "#e6b800", "due": "#56b4e9", "overdue": "#d55e00",
    "missed": "#b3261e", "upcoming": "#e8edf0", "not due: died": "#9aa5ab", "not due: withdrawn": "#c5c9cc",
    "unknown": "#8a5a00",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Drawing:
    """One figure: for the page as SVG, and for a file as SVG or PNG.

    Parameters
    ----------
    name : str
        Of its files, without an ending.
    figure : Figure
        As drawn.
    caption, alt : str
        What it shows, and the same for those who do not see it.
    """

    name: str
    figure: Figure
    caption: str
    alt: str

    @cached_property
    def _svg(self) -> str:
        return svg(self.figure)

    def picture(self) -> Picture:
        """The figure for a page."""
        return Picture(self._svg, self.caption, self.alt)

    def files(self) -> dict[str, bytes]:
        """Names of files and what they hold."""
        drawn = _decoded(self._svg)
        # Its parts have found their places: they need not be sought again for the PNG.
        self.figure.set_layout_engine("none")
        return {
            f"{self.name}.svg": drawn,
            f"{self.name}.png": _decoded(png(self.figure, dpi=_PNG_DPI)),
        }


def survival_drawing(
    name: str, lines: Sequence[tuple[str, SurvivalCurve]], says: str, remark: str = "", p_told: str = ""
) -> Drawing:
    """Kaplan-Meier curves with their bands, a tick for each censored patient, and the numbers at risk below.

    Parameters
    ----------
    name : str
        Of the files.
    lines : sequence of (str, SurvivalCurve)
        Groups; months. An empty name is the whole cohort.
    says, remark : str
        Axis label, and what the caption adds.
    p_told : str
        Test of the groups, written into the figure.
    """
    fig, ax, below = _frame(len(lines))
    last = _last([curve.times for _, curve in lines])
    for (label, curve), colour in zip(lines, _cycle(len(lines)), strict=True):
        times, values = _from_start(curve.times, curve.survival, 1.0)
        ax.step(times, values, where="post", color=colour, lw=1.7, label=label or None)
        _band(ax, curve.times, curve.lower, curve.upper, colour, 1.0)
        at = curve.censored > 0
        ax.plot(curve.times[at], curve.survival[at], "|", color=colour, ms=7, mew=1.1)
    _finish(fig, ax, below, last, says, [(label, curve.at_risk_at) for label, curve in lines], p_told)
    interval = f"{100 * lines[0][1].confidence:g} % intervals ({lines[0][1].interval})"
    caption = (
        f"{says}, Kaplan-Meier, months. Bands: {interval}, each time by itself; ticks: censored patients; below: "
        f"patients at risk.{' ' + remark if remark else ''}"
    )
    return Drawing(name, fig, caption, f"Kaplan-Meier curves of {says}")


def incidence_drawing(
    name: str,
    lines: Sequence[tuple[str, CumulativeIncidence]],
    causes: Sequence[str],
    says: str,
    remark: str = "",
    p_told: str = "",
) -> Drawing:
    """Cumulative incidence of an event with its band, competing events dashed, and the numbers at risk below.

    Parameters
    ----------
    name, lines, says, remark, p_told
        As of `survival_drawing`.
    causes : sequence of str
        What each cause is called; the first is the event.
    """
    fig, ax, below = _frame(len(lines))
    last = _last([found.times for _, found in lines])
    for (label, found), colour in zip(lines, _cycle(len(lines)), strict=True):
        for n, cause in enumerate(causes):
            times, values = _from_start(found.times, found.incidence[:, n], 0.0)
            told = " ".join(part for part in (label, f"({cause})" if label else cause) if part)
            ax.step(
                times, values, where="post", color=colour, lw=1.7 if n == 0 else 1.1,
                ls="-" if n == 0 else (0, (4, 2)), label=told,
            )  # fmt: skip
        _band(ax, found.times, found.lower[:, 0], found.upper[:, 0], colour, 0.0)
    _finish(fig, ax, below, last, says, [(label, found.at_risk_at) for label, found in lines], p_told)
    first = lines[0][1]
    caption = (
        f"{says}, cumulative incidence (Aalen-Johansen), months. Band of {causes[0]}: {100 * first.confidence:g} % "
        f"intervals (log-log, variance: {first.variance}), each time by itself; dashed: competing events; "
        f"below: patients at risk.{' ' + remark if remark else ''}"
    )
    return Drawing(name, fig, caption, f"cumulative incidence of {says}")


def stacked_drawing(name: str, found: CumulativeIncidence, causes: Sequence[str], says: str) -> Drawing:
    """What has become of all patients: shares with each event and without any, one above the other."""
    fig, ax, below = _frame(1)
    low = np.zeros(len(found.times) + 1)
    for n, (cause, colour) in enumerate(zip(causes, _cycle(len(causes)), strict=True)):
        times, values = _from_start(found.times, found.incidence[:, n], 0.0)
        ax.fill_between(times, low, low + values, step="post", color=colour, alpha=0.55, lw=0, label=cause)
        low = low + values
    ax.fill_between(times, low, 1.0, step="post", color=_GRID, lw=0, label="neither so far")
    at_risk = [("", found.at_risk_at)]
    _finish(fig, ax, below, _last([found.times]), "first event, share of patients", at_risk, "", "upper left")
    caption = f"{says}: patients with each event first, one above the other; Aalen-Johansen, months."
    return Drawing(name, fig, caption, f"stacked cumulative incidence of {says}")


def forest_drawing(name: str, found: Subgroups) -> Drawing:
    """Hazard ratios with intervals in all patients and in every subgroup, on a logarithmic axis."""
    rows: list[tuple[str, Any, str]] = [("all patients", found.overall, "")]
    for test in found.tests:
        p_told = "" if test.p_value is None else f"p {test.p_value:.2g}"
        rows.append((test.factor, None, p_told))
        rows += [(f"   {effect.level}", effect, "") for effect in test.levels]
    fig = figure(9.6, 1.2 + 0.3 * len(rows))
    names, ax, numbers = fig.subplots(1, 3, width_ratios=(1.5, 2.2, 1.6), sharey=True)
    effects = [row[1] for row in rows if row[1] is not None and row[1].term is not None]
    ends = [end for effect in effects for end in (effect.term.lower, effect.term.upper)]
    first, last = max(min([1.0, *ends]), _LEAST_RATIO) / 1.15, min(max([1.0, *ends]), 1 / _LEAST_RATIO) * 1.15
    for y, (label, effect, p_told) in enumerate(rows):
        bold = "bold" if effect is None or y == 0 else "normal"
        names.text(0.0, y, label, va="center", fontsize=_SIZE, color=INK, fontweight=bold)
        if effect is None:
            numbers.text(1.0, y, p_told, va="center", ha="right", fontsize=_SIZE, color=INK)
            continue
        counts = f"{effect.events[1]}/{effect.patients[1]} v {effect.events[0]}/{effect.patients[0]}"
        names.text(1.0, y, counts, va="center", ha="right", fontsize=_SIZE - 1, color=_SOFT)
        if effect.term is None:
            numbers.text(0.0, y, effect.note, va="center", fontsize=_SIZE - 1, color=_SOFT)
            continue
        ratio, low, high = effect.term.hazard_ratio, effect.term.lower, effect.term.upper
        ax.plot((low, high), (y, y), "-", color=COLOURS[0], lw=1.4)
        for end, mark, goes_on in ((first, "<", low < first), (last, ">", high > last)):
            if goes_on:
                ax.plot(end, y, mark, color=COLOURS[0], ms=6, clip_on=False)
        ax.plot(ratio, y, "D" if y == 0 else "s", color=COLOURS[0], ms=7 if y == 0 else 5)
        told = f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        numbers.text(0.0, y, told, va="center", fontsize=_SIZE - 1, color=INK)
    for side in (names, numbers):
        side.set_axis_off()
        side.set_xlim(0, 1)
    ax.set_xscale("log")
    ax.set_xlim(first, last)
    ax.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    ax.set_xticks([t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if _inside(ax, t)])
    ax.axvline(1.0, color=INK, lw=0.8, ls=":")
    ax.set_yticks([])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_xlabel(f"hazard ratio of {found.compared} against {found.reference}", fontsize=_SIZE)
    caption = (
        f"{found.endpoint}: hazard ratios of {found.compared} against {found.reference} with 95 % intervals; events of "
        "patients in both; p: interaction, not corrected."
    )
    return Drawing(name, fig, caption, f"forest plot of {found.endpoint}")


def visit_drawing(name: str, rows: Sequence[tuple[str, Sequence[tuple[int, str]]]]) -> Drawing:
    """Visits of each patient by month of the plan, coloured by what became of them.

    Parameters
    ----------
    name : str
        Of the files.
    rows : sequence of (str, sequence of (int, str))
        Pseudonym, and each planned month with its status.
    """
    months = sorted({month for _, visits in rows for month, _ in visits})
    fig = figure(9.6, 1.4 + 0.16 * len(rows))
    ax = fig.subplots()
    seen = []
    for y, (_, visits) in enumerate(rows):
        for month, status in visits:
            ax.add_patch(
                mpl.patches.Rectangle((months.index(month) + 0.06, y + 0.1), 0.88, 0.8, color=_STATUS[status], lw=0)
            )
            seen.append(status)
    ax.set_xlim(0, len(months))
    ax.set_ylim(len(rows), 0)
    ax.set_xticks([n + 0.5 for n in range(len(months))], [str(month) for month in months], fontsize=_SIZE - 1)
    ax.set_yticks([n + 0.5 for n in range(len(rows))], [label for label, _ in rows], fontsize=6)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("visit of the plan, month", fontsize=_SIZE)
    handles = [mpl.patches.Patch(color=colour, label=status) for status, colour in _STATUS.items() if status in seen]
    fig.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=_SIZE - 1)
    return Drawing(
        name, fig, "Visits that the protocol asks for, and what became of each.", "visits of each patient by month"
    )


def _decoded(address: str) -> bytes:
    return base64.b64decode(address.split(",", 1)[1])


def _frame(lines: int) -> tuple[Figure, Any, Any]:
    """A figure with the curves above and the numbers at risk below."""
    fig = figure(8.4, 4.4 + 0.24 * lines)
    ax, below = fig.subplots(2, 1, sharex=True, height_ratios=(3.6, 0.24 * (lines + 1)))
    return fig, ax, below


def _finish(
    fig: Figure,
    ax: Any,
    below: Any,
    last: float,
    says: str,
    at_risk: Sequence[tuple[str, Callable[[Float], NDArray[np.int64]]]],
    p_told: str,
    legend: str = "best",
) -> None:
    step = next((s for s in _STEPS if last / s <= _MOST_MARKS), _STEPS[-1])
    marks = np.arange(0.0, last + 0.5 * step, step)
    ax.set(xlim=(0, max(last, float(marks[-1]))), ylim=(0, 1.02))
    ax.set_xticks(marks)
    ax.set_ylabel(says, fontsize=_SIZE)
    ax.set_yticks(np.linspace(0, 1, 6), [f"{percent} %" for percent in range(0, 101, 20)], fontsize=_SIZE)
    ax.tick_params(axis="x", labelbottom=True, labelsize=_SIZE)
    ax.grid(color=_GRID, lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("months", fontsize=_SIZE)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=_SIZE - 1, loc=legend)
    if p_told:
        ax.set_title(p_told, fontsize=_SIZE, color=INK, loc="right")
    below.spines[:].set_visible(False)
    below.tick_params(length=0, labelbottom=False, labelleft=True, pad=14)
    below.set_ylim(len(at_risk) - 0.4, -0.9)
    below.set_yticks(range(len(at_risk)), [label or "all" for label, _ in at_risk], fontsize=_SIZE - 1)
    below.set_title("at risk", fontsize=_SIZE - 1, color=_SOFT, loc="left", pad=0)
    for y, ((_, counted), colour) in enumerate(zip(at_risk, _cycle(len(at_risk)), strict=True)):
        for mark, number in zip(marks, counted(marks), strict=True):
            below.text(mark, y, f"{int(number)}", ha="center", va="center", fontsize=_SIZE - 1, color=colour)


def _cycle(number: int) -> list[str]:
    return [COLOURS[n % len(COLOURS)] for n in range(number)]


def _from_start(times: Float, values: Float, at_zero: float) -> tuple[Float, Float]:
    return np.concatenate([[0.0], times]), np.concatenate([[at_zero], values])


def _band(ax: Any, times: Float, lower: Float, upper: Float, colour: str, at_zero: float) -> None:
    """Interval as a step band; where there is none yet, nothing is drawn."""
    times, low = _from_start(times, lower, at_zero)
    ax.fill_between(
        times, low, np.concatenate([[at_zero], upper]), step="post", color=colour, alpha=0.14, lw=0
    )  # fmt: skip


def _last(times: Sequence[Float]) -> float:
    """End of the time axis, months; a cohort nobody was followed in has one month."""
    return max([float(t[-1]) for t in times if len(t)] + [1.0])


def _inside(ax: Any, value: float) -> bool:
    low, high = ax.get_xlim()
    return bool(low <= value <= high)
