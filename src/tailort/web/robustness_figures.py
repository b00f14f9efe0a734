"""Picture of a plan with set-up errors: bands of its histograms, and how far each limit is from where it fails."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import matplotlib as mpl

from tailort.evaluation import Robustness, RobustRow
from tailort.web.figures import INK, Picture, darker, figure, svg

_HOLDS, _FAILS, _LIMIT = "#8d99ae", "#b3261e", "#1d2b33"
# Bars end here, in percent of their limit; their numbers stand beside them.
_LONGEST = 160.0


def robustness_plot(robustness: Robustness, palette: dict[str, str], shown: Collection[str]) -> Picture:
    """Bands of the histograms on the left; on the right each limit's values, nominal to worst, against the limit.

    Parameters
    ----------
    robustness : Robustness
        The plan in all positions.
    palette : dict of str
        Colours by structure.
    shown : collection of str
        Structures with a band in the picture.
    """
    rows = [row for row in robustness.rows if row.verdict != "report"]
    fig = figure(13.2, max(5.6, 1.6 + 0.36 * len(rows)))
    left, right = fig.subplots(1, 2, width_ratios=(1.0, 0.8))
    _bands(left, robustness, palette, shown)
    _bars(right, rows)
    shifts = [one.name for one in robustness.scenarios.scenarios if not one.is_nominal]
    caption = (
        f"The plan with the patient as planned and shifted: {'; '.join(shifts)}. Left: solid lines as planned, bands "
        "from the smallest to the largest volume at each dose over these positions, dashed what is expected, where "
        "spreads were given. Right: from the lowest to the "
        "highest value, in percent of the limit, which is the line at 100; the dot is as planned, red is where the "
        "limit does not hold. PTVs are not shown: they stand for set-up errors already; what they are made of is."
    )
    return Picture(svg(fig), caption, "dose-volume histograms and limits with set-up errors")


def _bands(ax: Any, robustness: Robustness, palette: dict[str, str], shown: Collection[str]) -> None:
    top, names = 1.0, []
    for name, band in robustness.bands.items():
        if name not in shown or band.volume_cm3 <= 0:
            continue
        colour, percent = darker(palette[name]), 100.0 / band.volume_cm3
        ax.fill_between(
            band.dose_gy, percent * band.lowest_cm3, percent * band.highest_cm3, color=colour, alpha=0.28, lw=0
        )
        ax.plot(band.dose_gy, percent * band.nominal_cm3, color=colour, lw=1.4)
        if band.expected_cm3 is not None:
            ax.plot(band.dose_gy, percent * band.expected_cm3, color=colour, lw=1.2, ls=(0, (4, 2)))
        top = max(top, float(band.dose_gy[-1]))
        names.append(name)
    ax.set(xlim=(0, top * 1.02), ylim=(0, 101), xlabel="physical dose, Gy per course", ylabel="volume, %")
    _plain(ax)
    ax.grid(color="#dde3e6", lw=0.6)
    handles = [mpl.lines.Line2D([], [], color=darker(palette[name]), lw=2, label=name) for name in names]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=5, frameon=False, fontsize=8)


def _bars(ax: Any, rows: list[RobustRow]) -> None:
    ends = [100.0]
    for y, row in enumerate(rows):
        ends.append(_bar(ax, y, row))
    ax.axvline(100.0, color=_LIMIT, lw=0.6, zorder=0)
    ax.text(1.02, 1.01, "as planned (lowest to highest)", transform=ax.transAxes, fontsize=8, color=INK)
    ax.set(
        xlim=(0, 1.04 * min(max(ends), _LONGEST)), ylim=(len(rows) - 0.4, -0.6), xlabel="value, % of the limit",
        yticks=range(len(rows)),
    )  # fmt: skip
    ax.set_yticklabels([_label(row) for row in rows], fontsize=8)
    for tick, row in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_color(_FAILS if row.verdict == "fail" else INK)
    _plain(ax)
    ax.grid(axis="x", color="#dde3e6", lw=0.6)


def _bar(ax: Any, y: int, row: RobustRow) -> float:
    """One limit; returns how far its bar reaches, % of the limit."""
    beside = ax.get_yaxis_transform()
    if row.nominal is None or row.lowest is None or row.highest is None:
        ax.text(1.02, y, "not known in all positions", transform=beside, va="center", fontsize=8, color=_FAILS)
        return 0.0
    values = f"{row.nominal:.1f} ({row.lowest:.1f} to {row.highest:.1f})"
    ax.text(1.02, y, values, transform=beside, va="center", fontsize=8, color=_FAILS if row.verdict == "fail" else INK)
    if not row.limit:
        return 0.0
    low, high, nominal = (100.0 * value / row.limit for value in (row.lowest, row.highest, row.nominal))
    above = row.operator in ("<", "<=")
    good = (low, min(high, 100.0)) if above else (max(low, 100.0), high)
    bad = (max(low, 100.0), high) if above else (low, min(high, 100.0))
    for (start, end), colour in ((good, _HOLDS), (bad, _FAILS)):
        if end > start:
            ax.plot([start, end], [y, y], color=colour, lw=7, solid_capstyle="butt", zorder=2)
    ax.plot([100.0, 100.0], [y - 0.32, y + 0.32], color=_LIMIT, lw=1.6, zorder=3)
    worst = high if above else low
    if _fails(row, worst):
        # A bar that only just fails is hidden by the limit's tick.
        ax.plot([worst, worst], [y - 0.2, y + 0.2], color=_FAILS, lw=2.4, solid_capstyle="butt", zorder=4)
    ax.plot(nominal, y, "o", color=_FAILS if _fails(row, nominal) else INK, ms=4.5, zorder=4)
    return high


def _fails(row: RobustRow, percent: float) -> bool:
    return {"<": percent >= 100, "<=": percent > 100, ">": percent <= 100, ">=": percent < 100}[row.operator or "<="]


def _label(row: RobustRow) -> str:
    metric, _, unit = row.metric.partition("[")
    quantity = "" if row.quantity == "physical" else f" {row.quantity}"
    limit = "" if row.limit is None else f" {row.operator} {row.limit:g} {unit.rstrip(']').replace('cc', 'cm³')}"
    return f"{row.structure} {metric}{quantity}{limit}" + (" (hard)" if row.priority == "hard" else "")


def _plain(ax: Any) -> None:
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
