"""Planes of a scan through a point: where they lie, what is drawn under and around a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.patheffects
import numpy as np
from numpy.typing import NDArray

from tailort.geometry import Image, interpolate
from tailort.web.figures import Picture, extent_of, figure, lattice, png, scale_bar

Float = NDArray[np.float64]
Painter = Callable[[Any, "Cut"], Any]

PLANES = ("transverse", "coronal", "sagittal")
_MARKS = {"transverse": "RLAP", "coronal": "RLHF", "sagittal": "APHF"}
# Below this many HU a voxel shows air: the rest bounds what is shown.
_AIR_HU = -400.0
_WINDOW_HU = (-210.0, 240.0)


@dataclass(frozen=True, eq=False)
class Cut:
    """One plane of today's scan: its points, its axes, and today's values there."""

    plane: str
    points_mm: Float
    across_mm: Float
    down_mm: Float
    today: Float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Outer edges of its pixels, mm."""
        return extent_of(self.across_mm, self.down_mm, self.plane != "transverse")

    @property
    def origin(self) -> str:
        """Where its first row is drawn."""
        return "upper" if self.plane == "transverse" else "lower"

    @property
    def axes(self) -> tuple[int, int]:
        """Which of x, y, z runs across and which down."""
        return {"transverse": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[self.plane]


def drawn_planes(
    rows: list[tuple[str, Painter]],
    cuts: list[Cut],
    box: tuple[Float, Float],
    bar: str | None,
    caption: str,
    alt: str,
    handles: list[Any] | None = None,
    extend: str = "neither",
    ticks: tuple[float, ...] | None = None,
) -> Picture:
    """One row of three planes for each painter, with a scale of its colours or a legend."""
    low, high = box
    widths = [high[0] - low[0], high[0] - low[0], high[1] - low[1]]
    heights = [high[1] - low[1], high[2] - low[2], high[2] - low[2]]
    # Planes of one height; a row is as high as its planes are at the page's width.
    shares = [w / h for w, h in zip(widths, heights, strict=True)]
    tall = float(np.clip(11.6 / sum(shares), 2.2, 5.2))
    fig = figure(12.6, tall * len(rows) + (0.5 if handles else 0.2))
    axes = np.atleast_2d(fig.subplots(len(rows), 3, width_ratios=shares))
    drawn = None
    for line, (name, painter) in zip(axes, rows, strict=True):
        for ax, cut in zip(line, cuts, strict=True):
            drawn = painter(ax, cut)
            _finish(ax, cut, box)
        if len(rows) > 1:
            line[0].set_ylabel(name, fontsize=10)
    if bar is not None and drawn is not None:
        scale = fig.colorbar(drawn, ax=axes, fraction=0.018, pad=0.01, extend=extend)
        scale.set_label(bar)
        if ticks is not None:
            scale.set_ticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])
            scale.ax.minorticks_off()
    if handles:
        fig.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return Picture(png(fig, dpi=90), caption, alt)


def _finish(ax: Any, cut: Cut, box: tuple[Float, Float]) -> None:
    low, high = box
    across, down = cut.axes
    ax.set_xlim(low[across], high[across])
    ends = (low[down], high[down])
    ax.set_ylim(*(ends[::-1] if cut.plane == "transverse" else ends))
    ax.set_facecolor("black")
    ax.set_xticks([])
    ax.set_yticks([])
    scale_bar(ax)
    outlined = [mpl.patheffects.withStroke(linewidth=2.0, foreground="black")]
    for text in ax.texts:
        text.set_path_effects(outlined)
    for line in ax.lines:
        line.set_path_effects([mpl.patheffects.withStroke(linewidth=3.8, foreground="black")])
    for mark, (u, v) in zip(_MARKS[cut.plane], ((0.045, 0.5), (0.955, 0.5), (0.5, 0.965), (0.5, 0.035)), strict=True):
        ax.text(
            u, v, mark, transform=ax.transAxes, color="white", fontsize=8, ha="center", va="center",
            path_effects=outlined,
        )  # fmt: skip


def background(ax: Any, cut: Cut, window: tuple[float, float]) -> None:
    """Draw today\'s scan in grey under what follows."""
    ax.imshow(
        cut.today, cmap="gray", vmin=window[0], vmax=window[1], extent=cut.extent, origin=cut.origin, aspect="equal",
        interpolation="bilinear",
    )  # fmt: skip


def cut_through(today: Image, plane: str, centre_mm: Float) -> Cut:
    """The plane of today's scan that is nearest to a point."""
    zs, ys, xs = today.grid.axes_mm()
    x, y, z = (float(axis[np.argmin(np.abs(axis - at))]) for axis, at in zip((xs, ys, zs), centre_mm, strict=True))
    across, down, place = {
        "transverse": (xs, ys, lambda u, v: (u, v, np.full_like(u, z))),
        "coronal": (xs, zs, lambda u, v: (u, np.full_like(u, y), v)),
        "sagittal": (ys, zs, lambda u, v: (np.full_like(u, x), u, v)),
    }[plane]
    points = lattice(across, down, place)
    return Cut(plane, points, across, down, read(today, points))


def read(image: Image, points_mm: Float) -> Float:
    """Values at points, LPS mm; not a number beyond the image."""
    return interpolate(image, points_mm, outside=np.nan)


def window_of(image: Image) -> tuple[float, float]:
    """What is shown from black to white: soft tissue of a CT, of other images all but the brightest."""
    if image.unit == "HU":
        return _WINDOW_HU
    low, high = np.percentile(image.values, (2.0, 99.5))
    return float(low), float(max(high, low + 1e-6))


def body_mm(image: Image) -> tuple[Float, Float]:
    """Bounds of what is not air, x, y, z, LPS mm; of an image without units of what is above its mean."""
    values = image.values
    held = values > (_AIR_HU if image.unit == "HU" else float(values.mean()))
    if not held.any():
        return image.grid.faces_mm()
    # A few bright voxels beyond the body do not widen the view.
    ends = [_middle(held.mean(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    corners = image.grid.to_world([[first for first, _ in ends], [last for _, last in ends]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    pad = np.array([8.0, 8.0, 0.0])
    return low - pad, high + pad


def _middle(profile: Float) -> tuple[int, int]:
    held = np.flatnonzero(profile > 0.02 * profile.max())
    return int(held[0]), int(held[-1])


def within(cut: Cut, box: tuple[Float, Float]) -> NDArray[np.bool_]:
    """Which points of a plane lie between two corners, LPS mm."""
    low, high = box
    return np.asarray(((cut.points_mm >= low) & (cut.points_mm <= high)).all(axis=-1), dtype=np.bool_)
