"""Pictures of a response: uptake against time, and every scan over the planning CT."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np

from tailort.geometry import Image
from tailort.patient import FunctionalImage
from tailort.web.figures import INK, Picture, draw_structure, figure, svg
from tailort.web.plane_pictures import PLANES, Cut, Painter, background, cut_through, drawn_planes, read, window_of
from tailort.workflow.responding import Response
from tailort.workflow.response import REPEATS_PERCENT, SeriesScan
from tailort.workflow.response_facts import TWO_WEEKS

_COLOURS = {"maximum": "#c1440e", "peak": "#0b5c8a", "mean": "#5b6b75", "volume_cm3": "#1c7c46"}
_STRUCTURE, _PALE, _BAND = "#58e0ff", "#dde3e6", "#f3ddd0"
_ROOM_MM = 20.0
# Where the wash begins, as a part of its scale.
_FAINT = 0.15


def series_plot(result: Response) -> Picture:
    """Highest, peak and mean uptake, and the volume above the threshold, against time."""
    series = result.series
    fig = figure(12.6, 3.6)
    uptake, volume = fig.subplots(1, 2)
    first = series.scans[0].image.date
    days = [_at(scan, (scan.image.date - first).days) for scan in series.scans]
    unit = "" if series.quantity.unit == "1" else f", {series.quantity.unit}"
    of_fdg = series.quantity.id == "fdg-suv"
    if of_fdg:
        highest = series.scans[0].uptake.maximum
        low, high = (highest * (1.0 + percent / 100.0) for percent in REPEATS_PERCENT)
        uptake.axhspan(low, high, color=_BAND, zorder=0, label="what repeats")
    for ax, names in ((uptake, ("maximum", "peak", "mean")), (volume, ("volume_cm3",))):
        for name in names:
            known = [getattr(scan.uptake, name) for scan in series.scans]
            values = [np.nan if value is None else value for value in known]
            ax.plot(days, values, "-", color=_COLOURS[name], lw=1.4, label="volume" if name == "volume_cm3" else name)
            for scan, day, value in zip(series.scans, days, values, strict=True):
                ax.plot(day, value, "o", color=_COLOURS[name], ms=6, mfc="white" if scan.unlike else _COLOURS[name])
        if series.start is not None:
            ax.axvline(0.0, color=INK, lw=0.8, ls=":")
            if of_fdg:
                middle, apart = TWO_WEEKS
                ax.axvspan(middle - apart, middle + apart, color=_PALE, alpha=0.6, zorder=0)
        ax.set_ylim(bottom=0.0)
        ax.set_xlim(min(days) - 1.5, max(days) + 1.5)
        ax.set_xlabel(
            "days since the first scan" if series.start is None else "days since the first fraction", fontsize=9
        )
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    uptake.set_title(f"Uptake in {series.structure}{unit}", fontsize=9, loc="left", color=INK)
    uptake.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, fontsize=7, borderpad=0.0)
    volume.set_title(f"Volume by {series.threshold}, cm3", fontsize=9, loc="left", color=INK)
    told = ["Open marks: scans that are not to be compared with the first."]
    if of_fdg:
        told.append("Band: changes of the first maximum that repeated scans show as well.")
    if series.start is not None:
        told.append("Dotted: first fraction.")
        told += ["Grey: when a scan counts as one of 2 weeks."] if of_fdg else []
    caption = " ".join(told)
    return Picture(svg(fig), caption, "uptake and volume of each scan against time")


def scan_planes(result: Response) -> Picture:
    """The planning CT with every scan over it, in three planes through the structure, one colour scale for all."""
    case, series = result.case, result.series
    structure = case.structures[series.structure]
    low, high = structure.bounds_mm()
    centre = (low + high) / 2.0
    ct: Image = case.ct.image
    scale = max(scan.uptake.maximum for scan in series.scans)

    def painter(image: FunctionalImage) -> Painter:
        def paint(ax: Any, cut: Cut) -> Any:
            background(ax, cut, window_of(ct))
            values = np.ma.masked_invalid(read(image.image, cut.points_mm))
            wash = ax.imshow(
                np.ma.masked_less(values, _FAINT * scale), cmap="inferno", alpha=0.55, vmin=0.0, vmax=scale,
                extent=cut.extent, origin=cut.origin, aspect="equal", interpolation="bilinear",
            )  # fmt: skip
            draw_structure(ax, cut.plane, structure, centre, ct, _STRUCTURE)
            return wash

        return paint

    rows = [(_label(scan), painter(scan.image)) for scan in series.scans]
    unit = "" if series.quantity.unit == "1" else f", {series.quantity.unit}"
    x, y, z = centre
    caption = (
        f"Planning CT with {series.quantity.text} of each scan over it, one scale for all. Transverse z {z:.1f} mm, "
        f"coronal y {y:.1f} mm, sagittal x {x:.1f} mm, LPS. R, L, A, P, H, F: directions of the patient."
    )
    handles = [mpl.lines.Line2D([], [], color=_STRUCTURE, lw=2, label=series.structure)]
    return drawn_planes(
        rows, [cut_through(ct, plane, centre) for plane in PLANES], (low - _ROOM_MM, high + _ROOM_MM),
        f"{series.quantity.id}{unit}", caption, "scans over the planning CT with the structure", handles,
    )  # fmt: skip


def _at(scan: SeriesScan, since_first: int) -> int:
    return since_first if scan.day is None else scan.day


def _label(scan: SeriesScan) -> str:
    return str(scan.image.date) if scan.day is None else f"{scan.image.date}, day {scan.day}"
