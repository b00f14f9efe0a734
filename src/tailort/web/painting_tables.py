"""How plans follow a painted dose, for the report: figures, planes, and the quality-volume histogram."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.evaluation.painting import ACCEPTED
from tailort.geometry import Image, partial_volume
from tailort.web.figures import INK, Picture, draw_structure, figure, svg
from tailort.web.plane_pictures import (
    PLANES,
    Cut,
    Painter,
    background,
    cut_through,
    drawn_planes,
    read,
    window_of,
    within,
)
from tailort.workflow.records import PaintedTarget, PlanningRun, PlanResult

Float = NDArray[np.float64]
# Around the painted structure, mm, so that the fall-off is seen.
ROOM_MM = 30.0
RATIOS = np.linspace(0.8, 1.2, 161)
COLOURS = ("#d1495b", "#2e6f95")


def painting_blocks(run: PlanningRun) -> list[dict[str, Any]]:
    """Return a block for each painted target."""
    plans = [plan for plan in (run.main, run.comparator) if plan is not None]
    return [_block(run, one, plans) for one in run.painted]


def _block(run: PlanningRun, one: PaintedTarget, plans: list[PlanResult]) -> dict[str, Any]:
    image = one.image
    unsure = "not known" if image.uncertainty_mm is None else f"{image.uncertainty_mm:.1f} mm (standard deviation)"
    days = "not known" if image.days_before_ct is None else f"{image.days_before_ct} days before the planning CT"
    return {
        "title": f"{one.structure}, painted by {image.quantity.id}",
        "note": one.painted.text,
        "facts": [
            ("image", f"{image.quantity.text}; {image.source}"),
            ("what it stands for", f"{image.quantity.shows} ({image.quantity.source}, {image.quantity.mark})"),
            ("day", f"{image.date.isoformat()}, {days}"),
            ("brought onto the planning CT", image.registered),
            ("uncertainty of its place", unsure),
            ("accepted", f"a quality factor of at most {ACCEPTED:g} (RB-144, lit-recalled)"),
        ],
        "header": [
            "plan", f"quality factor (at most {ACCEPTED:g})", "mean dose, Gy", "mean prescribed, Gy",
            "within 5 %", "Q95", "Q5", *(["true tumour control"] if one.true_control else []),
        ],
        "rows": [
            [
                label, f"{q.quality_factor:.3f}", f"{q.mean_gy:.2f}", f"{q.prescribed_mean_gy:.2f}",
                f"{100 * q.share_within(0.05):.0f} %", f"{q.ratio_of_hottest(0.95):.3f}",
                f"{q.ratio_of_hottest(0.05):.3f}",
                *(f"{100 * c:.1f} %" for name, c in one.true_control if name == label),
            ]
            for label, q in one.qualities
        ],
        "notes": list(image.notes),
        "pictures": [_planes(run, one, plans), _histogram(one)],
    }  # fmt: skip


def _planes(run: PlanningRun, one: PaintedTarget, plans: list[PlanResult]) -> Picture:
    structure, today = run.structures[one.structure], run.ct.image
    low, high = (np.asarray(bound, dtype=np.float64) for bound in structure.bounds_mm())
    centre = 0.5 * (low + high)
    cuts = [cut_through(today, plane, centre) for plane in PLANES]
    window = window_of(today)
    uptake = one.image.image
    around = np.concatenate([read(uptake, cut.points_mm[within(cut, (low, high))]) for cut in cuts])
    seen = around[np.isfinite(around)]
    inside = one.qualities[0][1]
    scale = (one.painted.least_gy - 4.0, one.painted.most_gy + 2.0)
    top = float(seen.max()) if len(seen) else 1.0

    def painter(image: Image, colours: str, limits: tuple[float, float], least: float) -> Painter:
        def on(ax: Any, cut: Cut) -> Any:
            background(ax, cut, window)
            values = read(image, cut.points_mm)
            wash = ax.imshow(
                np.ma.masked_invalid(np.where(values >= least, values, np.nan)), cmap=colours, vmin=limits[0],
                vmax=limits[1], alpha=0.7, extent=cut.extent, origin=cut.origin, aspect="equal",
                interpolation="nearest",
            )  # fmt: skip
            draw_structure(ax, cut.plane, structure, centre, today, "white")
            return wash

        return on

    rows = [(one.image.quantity.id, painter(uptake, "magma", (0.0, top), 0.2 * top))]
    rows.append(("prescribed", painter(_in_target(run, one), "viridis", scale, -np.inf)))
    # The scale of colours that is drawn is that of the last row.
    rows += [(plan.label, painter(plan.dose.image, "viridis", scale, scale[0])) for plan in plans]
    given = inside.prescribed_gy
    caption = (
        f"From above: {one.image.quantity.id} from 0 to {top:.3g} {one.image.quantity.unit}; what is prescribed in "
        f"{one.target} (beyond {one.structure} that of its nearest point); the dose of each plan from {scale[0]:g} Gy "
        f"on. Physical, of the course. White: {one.structure}, which is to get {given.min():.1f} to {given.max():.1f} "
        "Gy."
    )
    box = (low - ROOM_MM, high + ROOM_MM)
    return drawn_planes(rows, cuts, box, "dose, Gy per course", caption, "painted dose in three planes")


def _in_target(run: PlanningRun, one: PaintedTarget) -> Image:
    """What is prescribed, not a number beyond the target."""
    image = one.painted.image
    target = run.structures.find(one.target) or run.structures[one.structure]
    share = partial_volume(target.contours, image.grid, single_slice_thickness_mm=run.ct.image.grid.spacing_mm[0])
    return image.with_values(np.where(share.full() >= 0.5, image.values, np.nan))


def _histogram(one: PaintedTarget) -> Picture:
    fig = figure(7.6, 3.6)
    ax = fig.subplots()
    for (label, quality), colour in zip(one.qualities, COLOURS, strict=False):
        ax.plot(RATIOS, 100 * quality.histogram(RATIOS), color=colour, lw=1.8, label=label)
    ax.axvline(1.0, color=INK, lw=0.8)
    ax.axvspan(0.95, 1.05, color="#eef3f5", zorder=0)
    ax.set(xlim=(RATIOS[0], RATIOS[-1]), ylim=(0, 101), xlabel="dose over what is prescribed", ylabel="volume, %")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    caption = f"Quality-volume histogram of {one.structure}: share of the volume with at least this ratio; shaded: 5 %."
    return Picture(svg(fig), caption, "quality-volume histogram")
