"""Points of a body that protocols and nodal stations take as borders."""

from __future__ import annotations

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy import Body
from tailort.phantom.anatomy.region import Point


def points(body: Body) -> dict[str, Point]:
    """Landmarks, body coordinates in mm, from head to foot.

    `upper_margin_t1` is the middle of the upper end plate of T1; `clavicular_head_left` and `_right` are the middles
    of the clavicles' medial ends and `clavicular_head` lies between them; `sternal_notch` is the lowest point of the
    manubrium's upper edge; `carina` is where the trachea divides; `diaphragm_dome_*` are the summits and
    `diaphragm_hiatus` is where the way of food crosses; `coeliac_axis` is where the trunk leaves the aorta, in the
    aorta's middle.
    """
    spine, notch = body.spine, p.STERNAL_NOTCH_Z * body.sz
    t1 = spine.vertebra("VB_T01").top
    left, right = (body.chest_wall.clavicle_lines[name][0] for name in ("Clavicle_L", "Clavicle_R"))
    return {
        "upper_margin_t1": (spine.x(t1), spine.y(t1), t1),
        "clavicular_head_left": _point(left),
        "clavicular_head_right": _point(right),
        "clavicular_head": _point(0.5 * (left + right)),
        "sternal_notch": (0.0, body.chest_wall.sternum_y(notch), notch),
        "aortic_arch_top": body.arteries.arch_top,
        "carina": body.airways.carina,
        **{f"diaphragm_dome_{side}": point for side, point in domes(body).items()},
        "diaphragm_hiatus": body.hiatus,
        "coeliac_axis": body.arteries.celiac_origin,
    }


def domes(body: Body) -> dict[str, Point]:
    """Summits of the diaphragm, left and right, body coordinates in mm."""
    found = {}
    for name, side in (("left", 1), ("right", -1)):
        x, y = np.meshgrid(side * np.linspace(25, 110, 60), np.linspace(-60, 60, 60))
        height = body.dome.height(x, y)
        n = int(np.argmax(height))
        found[name] = (float(x.flat[n]), float(y.flat[n]), float(height.flat[n]))
    return found


def _point(at: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Point:
    x, y, z = (float(v) for v in at)
    return x, y, z
