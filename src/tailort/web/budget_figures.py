"""Where how much dose may still be given, as planes through what is to be treated."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from tailort.geometry import Image
from tailort.patient import Structure
from tailort.web.figures import Picture, draw_structure
from tailort.web.plane_pictures import (
    PLANES,
    Cut,
    background,
    body_mm,
    cut_through,
    drawn_planes,
    window_of,
)

Float = NDArray[np.float64]

_SPENT = "#d81b60"


def budget_picture(
    today: Image, left: Image, fractions: int, centre_mm: Float, targets: tuple[Structure, ...], asked: str
) -> Picture:
    """Draw the physical dose that is left for so many fractions in three planes through a point.

    Parameters
    ----------
    today : Image
        Today's CT.
    left : Image
        Physical dose that may still be given in each voxel, Gy of the new course, in today's frame of reference; 0
        where nothing is left, infinite or not a number where no limit is known.
    fractions : int
        Of the new course.
    centre_mm : (3,) float
        Point of the planes, LPS mm.
    targets : tuple of Structure
        Outlined.
    asked : str
        Whose limits they are, for the caption.
    """
    centre = np.asarray(centre_mm, dtype=np.float64)
    cuts = [cut_through(today, plane, centre) for plane in PLANES]
    limited = left.values[np.isfinite(left.values)]
    top = max(1.0, float(np.ceil(limited.max()))) if len(limited) else 1.0
    window = window_of(today)
    colours = mpl.colormaps["cividis"].with_extremes(under=_SPENT)
    nearest = left.with_values(np.where(np.isfinite(left.values), left.values, -2.0 * top).astype(np.float32))

    def on(ax: Any, cut: Cut) -> Any:
        background(ax, cut, window)
        # Between a voxel with a limit and one without there is no value: interpolation would make one up.
        index = np.rint(nearest.grid.to_index(cut.points_mm)).astype(int)
        inside = ((index >= 0) & (index < nearest.grid.shape)).all(axis=-1)
        k, j, i = np.moveaxis(np.clip(index, 0, np.array(nearest.grid.shape) - 1), -1, 0)
        values = np.where(inside, nearest.values[k, j, i], -2.0 * top)
        wash = ax.imshow(
            np.ma.masked_less(values, -top), cmap=colours, vmin=1e-6, vmax=top, alpha=0.75, extent=cut.extent,
            origin=cut.origin, aspect="equal", interpolation="nearest",
        )  # fmt: skip
        for target in targets:
            draw_structure(ax, cut.plane, target, centre, today, "white")
        return wash

    none_left = bool((limited <= 0).any())
    caption = (
        f"Physical dose that may still be given in {fractions} fractions, Gy of the new course, by {asked}"
        f"{'; crimson: nothing is left' if none_left else ''}; clear: no limit there, or an earlier dose is not known. "
        f"White: {', '.join(target.name for target in targets) or 'nothing'}."
    )
    return drawn_planes(
        [("left", on)], cuts, body_mm(today), f"dose left, Gy in {fractions} fractions", caption,
        "dose that is left in three planes", extend="min" if none_left else "neither",
    )  # fmt: skip
