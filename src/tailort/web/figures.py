"""Pictures of a plan: CT planes with contours and dose, DVH, beam's eye views."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tailort.geometry import Image, beam_axes, interpolate
from tailort.patient import Beam, BeamSetup, ControlPoint, Dose, Plan, Prescription, Scan, Structure, StructureSet

if TYPE_CHECKING:
    from tailort.evaluation import DVH

Float = NDArray[np.float64]

# Colours of the structures that every report shows alike; the rest take the next of the cycle.
_COLOURS = {
    "gtvp": "#ff3b30", "gtvn": "#ff7a59", "ctv": "#ffb000", "external": "#c9d4d9", "spinalcord": "#ffe94a",
    "lung_l": "#58c4dd", "lung_r": "#58c4dd", "lungs": "#58c4dd", "lungs-gtv": "#2f9fbd", "heart": "#e056fd",
    "esophagus": "#b5e853", "stomach": "#f39c6b", "liver": "#b07d4f", "trachea": "#7fd1ae", "a_aorta": "#c0392b",
    "kidney_l": "#9b8cff", "kidney_r": "#9b8cff", "spinalcanal": "#c8b560", "bowel": "#d8a47f",
    "pericardium": "#a95cc9", "bronchus_main": "#58b09c",
}  # fmt: skip
_PTV_COLOURS = ("#ff2d95", "#4aa3ff", "#7bed9f", "#ffd166")
_CYCLE = ("#e07a5f", "#81b29a", "#f2cc8f", "#7aa6c2", "#c38d9e", "#8d99ae", "#d4a373", "#6d9dc5", "#bc8cf2", "#a3b18a")
INK = "#1d2b33"
# Control points of an arc that are shown.
VIEWS_AN_ARC = 8
# Points an inch of an SVG, whatever the figure says.
_SVG_DPI = 72


@dataclass(frozen=True)
class Picture:
    """An encoded picture with its caption."""

    source: str
    caption: str
    alt: str


def colours(structures: StructureSet, prescriptions: Sequence[Prescription]) -> dict[str, str]:
    """Give each structure its colour, the same in every picture of a report."""
    chosen: dict[str, str] = {}
    levels = sorted({p.target.lower(): p.dose_gy for p in prescriptions}.items(), key=lambda item: -item[1])
    targets = {name: _PTV_COLOURS[n % len(_PTV_COLOURS)] for n, (name, _) in enumerate(levels)}
    spare = 0
    for structure in structures:
        key = structure.name.lower()
        colour = targets.get(key) or _COLOURS.get(key)
        if colour is None and structure.colour is not None:
            colour = "#{:02x}{:02x}{:02x}".format(*structure.colour)
        if colour is None:
            colour = _CYCLE[spare % len(_CYCLE)]
            spare += 1
        chosen[structure.name] = colour
    return chosen


def planes(
    scan: Scan,
    structures: StructureSet,
    dose: Dose,
    palette: dict[str, str],
    shown: Sequence[str],
    centre_mm: Float,
    reference_gy: float,
    title: str,
) -> Picture:
    """Transverse, coronal and sagittal plane through a point, with contours, dose colour wash and a scale bar."""
    fig = figure(13.2, 6.2)
    axes = fig.subplots(1, 3, width_ratios=(1.25, 1.1, 0.9))
    for ax, plane in zip(axes, ("transverse", "coronal", "sagittal"), strict=True):
        wash = _draw_plane(ax, plane, scan, structures, dose, palette, shown, centre_mm, reference_gy)
    bar = fig.colorbar(wash, ax=axes, fraction=0.018, pad=0.01)
    bar.set_label(dose_axis(dose.label))
    handles = [mpl.lines.Line2D([], [], color=palette[name], lw=2, label=name) for name in shown if name in structures]
    fig.legend(handles=handles, loc="outside lower center", ncols=8, frameon=False, fontsize=8)
    x, y, z = centre_mm
    caption = (
        f"{title}. Transverse (z {z:.1f} mm), coronal (y {y:.1f} mm) and sagittal (x {x:.1f} mm) planes, LPS. "
        f"Colour wash from 10 % of {reference_gy:g} Gy. R, L, A, P, H, F: directions of the patient."
    )
    return Picture(png(fig), caption, "CT in three planes with dose")


def gamma_planes(scan: Scan, gamma: Image, centre_mm: Float, label: str) -> Picture:
    """Gamma in the three planes through a point over the CT; what is not judged is clear."""
    fig = figure(13.2, 5.2)
    axes = fig.subplots(1, 3, width_ratios=(1.25, 1.1, 0.9))
    zs, ys, xs = gamma.grid.axes_mm()
    k, j, i = (int(np.argmin(np.abs(axis - at))) for axis, at in zip((zs, ys, xs), centre_mm[::-1], strict=True))
    cuts = (
        ("transverse", gamma.values[k], xs, ys, lambda u, v: (u, v, np.full_like(u, zs[k]))),
        ("coronal", gamma.values[:, j], xs, zs, lambda u, v: (u, np.full_like(u, ys[j]), v)),
        ("sagittal", gamma.values[:, :, i], ys, zs, lambda u, v: (np.full_like(u, xs[i]), u, v)),
    )
    for ax, (name, values, across, down, place) in zip(axes, cuts, strict=True):
        upright = name != "transverse"
        extent, origin = extent_of(across, down, upright), "lower" if upright else "upper"
        hu = interpolate(scan.image, lattice(across, down, place), outside=-1000.0)
        ax.imshow(hu, cmap="gray", vmin=-210, vmax=240, extent=extent, origin=origin, aspect="equal")
        wash = ax.imshow(
            np.ma.masked_invalid(values), cmap="coolwarm", vmin=0, vmax=2, alpha=0.75, extent=extent, origin=origin,
            aspect="equal", interpolation="nearest",
        )  # fmt: skip
        ax.set_xticks([])
        ax.set_yticks([])
    fig.colorbar(wash, ax=axes, fraction=0.018, pad=0.01).set_label(f"gamma, {label}")
    caption = f"Gamma {label} of the recalculated dose against the dose as it came; red does not agree. Same planes."
    return Picture(png(fig), caption, "gamma in three planes")


def transverse_slices(
    scan: Scan,
    structures: StructureSet,
    dose: Dose,
    palette: dict[str, str],
    shown: Sequence[str],
    z_mm: Sequence[float],
    reference_gy: float,
) -> tuple[Picture, ...]:
    """Transverse slices at the given heights, for leafing through."""
    pictures = []
    for z in z_mm:
        fig = figure(5.6, 4.6)
        ax = fig.subplots()
        _draw_plane(ax, "transverse", scan, structures, dose, palette, shown, np.array([0.0, 0.0, z]), reference_gy)
        pictures.append(Picture(png(fig, dpi=80), f"z {z:.1f} mm", f"transverse slice at z {z:.1f} mm"))
    return tuple(pictures)


def dose_axis(quantity: str) -> str:
    """What an axis of doses is called: "physical" of one course, a BED or EQD2 of whatever was added up."""
    return "physical dose, Gy per course" if quantity == "physical" else f"{quantity}, Gy"


def dvh_plot(
    main: Sequence[DVH], other: Sequence[DVH], palette: dict[str, str], shown: Sequence[str], labels: tuple[str, str]
) -> Picture:
    """Cumulative DVH of the shown structures; the second plan dashed."""
    fig = figure(9.6, 5.2)
    ax = fig.subplots()
    top = 1.0
    for dvhs, style in ((main, "-"), (other, (0, (4, 2)))):
        for dvh in dvhs:
            if dvh.structure not in shown:
                continue
            dose_gy, volume = dvh.curve(0.1)
            if volume[0] <= 0:
                continue
            ax.plot(dose_gy, 100 * volume / volume[0], color=darker(palette[dvh.structure]), ls=style, lw=1.6)
            top = max(top, float(dose_gy[-1]))
    # Histograms of one picture are of one quantity.
    quantity = main[0].label if main else "physical"
    ax.set(xlim=(0, top * 1.02), ylim=(0, 101), xlabel=dose_axis(quantity), ylabel="volume, %")
    ax.grid(color="#dde3e6", lw=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    names = [d.structure for d in main if d.structure in shown]
    handles = [mpl.lines.Line2D([], [], color=darker(palette[name]), lw=2, label=name) for name in names]
    if other:
        handles += [
            mpl.lines.Line2D([], [], color=INK, lw=1.6, label=labels[0]),
            mpl.lines.Line2D([], [], color=INK, lw=1.6, ls=(0, (4, 2)), label=labels[1]),
        ]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    caption = "Cumulative dose-volume histograms, partial volumes counted" + (
        f"; solid: {labels[0]}, dashed: {labels[1]}." if other else "."
    )
    return Picture(svg(fig), caption, "dose-volume histograms")


def beams_eye_views(
    plan: Plan, structures: StructureSet, palette: dict[str, str], shown: Sequence[str]
) -> tuple[Picture, ...]:
    """Each beam's eye view: fluence of its segments, their apertures, targets and organs seen from the source.

    Of arcs, some of the control points.
    """
    views: list[Picture] = []
    for beam in plan.beams:
        steps = list(beam.segments())
        if len({point.gantry_deg for point in beam.control_points}) > 1:
            for n in np.linspace(0, len(steps) - 1, min(VIEWS_AN_ARC, len(steps))).astype(int):
                views.append(_beams_eye_view(beam, [steps[n]], plan, structures, palette, shown))
        else:
            views.append(_beams_eye_view(beam, steps, plan, structures, palette, shown))
    return tuple(views)


def _beams_eye_view(
    beam: Beam,
    steps: Sequence[tuple[float, ControlPoint]],
    plan: Plan,
    structures: StructureSet,
    palette: dict[str, str],
    shown: Sequence[str],
) -> Picture:
    fig = figure(3.6, 4.1)
    ax = fig.subplots()
    gantry_deg = steps[0][1].gantry_deg if steps else beam.setup.gantry_deg
    setup = replace(beam.setup, gantry_deg=gantry_deg)
    reach_x, reach_y = _reach(beam)
    # Without leaves the jaws are drawn on a lattice.
    y_edges = np.asarray(beam.leaf_boundaries_mm) if beam.leaf_boundaries_mm else np.arange(-reach_y, reach_y + 1, 2.5)
    x_edges = np.arange(-reach_x, reach_x + 1.0, 2.5)
    fluence = np.zeros((max(len(y_edges) - 1, 1), len(x_edges) - 1))
    centres = (x_edges[:-1] + x_edges[1:]) / 2
    middles = (y_edges[:-1] + y_edges[1:]) / 2
    outlines = []
    for mu, point in steps:
        ends = np.array([-np.inf, np.inf])[:, None] if point.leaves_mm is None else point.leaves_mm
        left, right = (np.clip(end, *point.jaws_x_mm) * np.ones(len(middles)) for end in ends)
        within = (middles > point.jaws_y_mm[0]) & (middles < point.jaws_y_mm[1]) & (right > left)
        fluence += mu * (within[:, None] & (centres > left[:, None]) & (centres < right[:, None]))
        outlines.append(_outline(left, right, y_edges, within))
    drawn = ax.pcolormesh(x_edges, y_edges, np.ma.masked_less_equal(fluence, 0), cmap="Greys", alpha=0.75, vmin=0)
    for outline in outlines:
        ax.add_collection(LineCollection(outline, colors="#4d6470", linewidths=0.35))
    for name in shown:
        structure = structures.find(name)
        if structure is not None and structure.role != "EXTERNAL":
            _project(ax, setup, beam.source_axis_distance_mm, plan, structure, palette[name])
    ax.axhline(0, color=INK, lw=0.4)
    ax.axvline(0, color=INK, lw=0.4)
    ax.set(xlim=(-reach_x, reach_x), ylim=(-reach_y, reach_y), aspect="equal")
    ax.tick_params(labelsize=6)
    ax.set_xlabel("x, mm at the isocentre", fontsize=7)
    ax.set_ylabel("y, mm", fontsize=7)
    bar = fig.colorbar(drawn, ax=ax, fraction=0.045, pad=0.03)
    bar.ax.tick_params(labelsize=6)
    bar.set_label("MU per fraction", fontsize=7)
    parts = "segment" if len(steps) == 1 else "segments"
    caption = (
        f"{beam.name}: gantry {setup.gantry_deg:g}, collimator {setup.collimator_deg:g}, "
        f"couch {setup.couch_deg:g} deg; {len(steps)} {parts}, {sum(mu for mu, _ in steps):.1f} MU"
    )
    return Picture(png(fig, dpi=95), caption, f"beam's eye view of {beam.name}")


def _reach(beam: Beam) -> tuple[float, float]:
    """Half widths of the view that hold every jaw opening, mm."""
    x = max(max(abs(p.jaws_x_mm[0]), abs(p.jaws_x_mm[1])) for p in beam.control_points)
    y = max(max(abs(p.jaws_y_mm[0]), abs(p.jaws_y_mm[1])) for p in beam.control_points)
    return float(np.ceil((x + 20) / 10) * 10), float(np.ceil((y + 20) / 10) * 10)


def _outline(left: Float, right: Float, y_edges: Float, within: NDArray[np.bool_]) -> list[list[tuple[float, float]]]:
    """Edges of an aperture, as the leaf ends and the sides where neighbouring openings differ."""
    lines = []
    open_before: list[tuple[float, float]] = []
    for row in range(len(left) + 1):
        is_open = row < len(left) and bool(within[row])
        if is_open:
            low, high = y_edges[row], y_edges[row + 1]
            lines.append([(left[row], low), (left[row], high)])
            lines.append([(right[row], low), (right[row], high)])
        now = [(float(left[row]), float(right[row]))] if is_open else []
        lines += [[(a, y_edges[row]), (b, y_edges[row])] for a, b in _difference(open_before, now)]
        open_before = now
    return lines


def _difference(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Parts of the line that exactly one of two (at most single) intervals covers."""
    if not a or not b:
        return a + b
    (a0, a1), (b0, b1) = a[0], b[0]
    if a1 <= b0 or b1 <= a0:
        return a + b
    parts = [(min(a0, b0), max(a0, b0)), (min(a1, b1), max(a1, b1))]
    return [(low, high) for low, high in parts if high > low]


def _project(ax: Any, setup: BeamSetup, distance: float, plan: Plan, structure: Structure, colour: str) -> None:
    """Draw the shadow of a structure at the isocentre plane, seen from the source (`distance` mm away)."""
    axes = beam_axes(setup.gantry_deg, setup.collimator_deg, setup.couch_deg, plan.patient_position)
    polygons = []
    for contour in structure.contours:
        local = (contour - np.asarray(setup.isocentre_mm)) @ axes.T
        scale = distance / (distance - local[:, 2])
        polygons.append(local[:, :2] * scale[:, None])
    ax.add_collection(PolyCollection(polygons, facecolors=colour, edgecolors=colour, alpha=0.10, linewidths=0.5))


def _draw_plane(
    ax: Any,
    plane: str,
    scan: Scan,
    structures: StructureSet,
    dose: Dose,
    palette: dict[str, str],
    shown: Sequence[str],
    centre_mm: Float,
    reference_gy: float,
) -> Any:
    """Draw one plane; return the colour wash (for its colour bar)."""
    zs, ys, xs = scan.image.grid.axes_mm()
    x, y, z = centre_mm
    if plane == "transverse":
        k = int(np.argmin(np.abs(zs - z)))
        hu, across, down, z_here = scan.image.values[k], xs, ys, zs[k]
        points = lattice(across, down, lambda u, v: (u, v, np.full_like(u, z_here)))
        marks = ("R", "L", "A", "P")
    elif plane == "coronal":
        j = int(np.argmin(np.abs(ys - y)))
        hu, across, down = scan.image.values[:, j, :], xs, zs
        points = lattice(across, down, lambda u, v: (u, np.full_like(u, ys[j]), v))
        marks = ("R", "L", "H", "F")
    else:
        i = int(np.argmin(np.abs(xs - x)))
        hu, across, down = scan.image.values[:, :, i], ys, zs
        points = lattice(across, down, lambda u, v: (np.full_like(u, xs[i]), u, v))
        marks = ("A", "P", "H", "F")
    extent = extent_of(across, down, upright=plane != "transverse")
    origin = "upper" if plane == "transverse" else "lower"
    ax.imshow(
        hu, cmap="gray", vmin=-210, vmax=240, extent=extent, origin=origin, interpolation="bilinear", aspect="equal"
    )
    gy = interpolate(dose.image, points, outside=0.0)
    wash = ax.imshow(
        np.ma.masked_less(gy, 0.1 * reference_gy), cmap="turbo", alpha=0.38, vmin=0, vmax=1.1 * reference_gy,
        extent=extent, origin=origin, interpolation="bilinear", aspect="equal",
    )  # fmt: skip
    for name in shown:
        structure = structures.find(name)
        if structure is not None and not structure.is_empty:
            draw_structure(ax, plane, structure, centre_mm, scan.image, palette[name])
    _crop(ax, structures, plane)
    scale_bar(ax)
    for mark, (u, v) in zip(marks, ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02)), strict=True):
        ax.text(u, v, mark, transform=ax.transAxes, color="white", fontsize=8, ha="center", va="center")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_facecolor("black")
    return wash


def draw_structure(ax: Any, plane: str, structure: Structure, centre_mm: Float, image: Image, colour: str) -> None:
    """Draw the outline of a structure into a plane of an image through a point, LPS mm."""
    x, y, z = centre_mm
    width = 1.5 if structure.role in ("GTV", "CTV", "PTV") else 0.9
    if plane == "transverse":
        zs = structure.slice_positions_mm
        step = image.grid.spacing_mm[0]
        at = zs[np.argmin(np.abs(zs - z))]
        if abs(at - z) > 0.51 * step:
            return
        lines = [np.vstack([c[:, :2], c[:1, :2]]) for c in structure.contours if abs(c[0, 2] - at) < 1e-3]
        ax.add_collection(LineCollection(lines, colors=colour, linewidths=width))
        return
    fixed, along = (y, 0) if plane == "coronal" else (x, 1)
    bars = []
    step = image.grid.spacing_mm[0]
    by_plane: dict[float, list[float]] = {}
    for contour in structure.contours:
        cuts = _crossings(contour, 1 - along, fixed, along)
        by_plane.setdefault(round(float(contour[0, 2]), 3), []).extend(cuts)
    for height, cuts in by_plane.items():
        ends = sorted(cuts)
        for a, b in zip(ends[::2], ends[1::2], strict=False):
            bars.append(
                [(a, height - step / 2), (b, height - step / 2), (b, height + step / 2), (a, height + step / 2)]
            )
    if not bars:
        return
    ax.add_collection(PolyCollection(bars, facecolors=colour, edgecolors="none", alpha=0.16))
    edges = [[bar[0], bar[3]] for bar in bars] + [[bar[1], bar[2]] for bar in bars]
    ax.add_collection(LineCollection(edges, colors=colour, linewidths=width))


def _crossings(contour: Float, axis: int, value: float, along: int) -> list[float]:
    """Where a polygon's edges cross the line axis = value, as positions along the other axis."""
    following = np.roll(contour, -1, axis=0)
    a, b = contour[:, axis] - value, following[:, axis] - value
    hit = (a < 0) != (b < 0)
    t = a[hit] / (a[hit] - b[hit])
    found: list[float] = (contour[hit, along] + t * (following[hit, along] - contour[hit, along])).tolist()
    return found


def _crop(ax: Any, structures: StructureSet, plane: str) -> None:
    body = next((s for s in structures if s.role == "EXTERNAL" and not s.is_empty), None)
    if body is None:
        return
    low, high = body.bounds_mm()
    pad = 8.0
    if plane == "transverse":
        ax.set_xlim(low[0] - pad, high[0] + pad)
        ax.set_ylim(high[1] + pad, low[1] - pad)
    else:
        across = 0 if plane == "coronal" else 1
        ax.set_xlim(low[across] - pad, high[across] + pad)
        ax.set_ylim(low[2] - pad, high[2] + pad)


def scale_bar(ax: Any) -> None:
    """Draw 5 cm into a plane."""
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    start = left + 0.05 * (right - left)
    height = bottom + 0.05 * (top - bottom)
    ax.plot([start, start + 50.0], [height, height], color="white", lw=2.2, solid_capstyle="butt")
    ax.text(start + 25.0, height + 0.015 * (top - bottom), "5 cm", color="white", fontsize=7, ha="center", va="bottom")


def lattice(across: Float, down: Float, place: Any) -> Float:
    """Return the points (rows, columns, 3) of a plane, LPS mm, from its two axes."""
    u, v = np.meshgrid(across, down)
    return np.stack(place(u, v), axis=-1)


def extent_of(across: Float, down: Float, upright: bool) -> tuple[float, float, float, float]:
    """Return the outer edges of a plane's pixels: left, right, and bottom, top (`upright`) or top, bottom."""
    half_a = (across[1] - across[0]) / 2 if len(across) > 1 else 0.5
    half_d = (down[1] - down[0]) / 2 if len(down) > 1 else 0.5
    low, high = down[0] - half_d, down[-1] + half_d
    left, right = across[0] - half_a, across[-1] + half_a
    return (left, right, low, high) if upright else (left, right, high, low)


def darker(colour: str) -> str:
    """Return a colour that can be seen as a line on white."""
    red, green, blue = mpl.colors.to_rgb(colour)
    share = 0.72 if 0.3 * red + 0.59 * green + 0.11 * blue > 0.6 else 1.0
    return str(mpl.colors.to_hex((red * share, green * share, blue * share)))


def figure(width: float, height: float) -> Figure:
    """Return an empty figure, inches."""
    fig = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def png(fig: Figure, dpi: int = 100) -> str:
    """Return a figure as a PNG address for a page."""
    stream = io.BytesIO()
    with _laid_out(fig, FigureCanvasAgg, dpi, dpi) as canvas:
        canvas.print_png(stream)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def svg(fig: Figure) -> str:
    """Return a figure as an SVG address for a page."""
    stream = io.BytesIO()
    style = mpl.rc_context({"svg.hashsalt": "tailort", "svg.fonttype": "path"})
    with style, _laid_out(fig, FigureCanvasSVG, _SVG_DPI, fig.dpi) as canvas:
        canvas.print_svg(stream, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


@contextmanager
def _laid_out(fig: Figure, kind: type[FigureCanvasBase], layout_dpi: float, dpi: float) -> Iterator[Any]:
    """A canvas on which a figure need only be drawn: `savefig` draws it a second time, which is not seen."""
    dpi_before, canvas_before, engine = fig.dpi, fig.canvas, fig.get_layout_engine()
    canvas = kind(fig)
    try:
        fig.set_dpi(layout_dpi)
        if engine is not None:
            engine.execute(fig)
            fig.set_layout_engine("none")
        fig.set_dpi(dpi)
        yield canvas
    finally:
        fig.set_dpi(dpi_before)
        fig.set_canvas(canvas_before)
        if engine is not None:
            fig.set_layout_engine(engine)
