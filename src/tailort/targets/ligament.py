"""Where the pulmonary ligaments are, the folds of pleura below the lungs' roots in which the nodes of station 9 lie.

CT rarely shows them. Each tethers the medial surface of a lung to the mediastinum, from the inferior pulmonary vein
down to a free edge above the diaphragm. Its base is taken on that surface, where it is nearest to the straight line
from the vein to the wall of the oesophagus, or of what replaced it, at the hiatus; where a growth may have pushed the
lung away it is taken on that line, outside of the heart.

References
----------
Cooper, Moss, Buy and Stark 1983, doi:10.2214/ajr.141.2.237 (the ligament tethers the lower lobe to the mediastinum).
Berkmen, Drossman and Marboe 1992, Radiology 185(2) (its base lies on the medial surface of the lung, between the
inferior pulmonary vein and the diaphragm).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailort.geometry.contours import nesting_depth, resample_edge
from tailort.patient import StructureSet
from tailort.targets.landmarks import at_plane, centroid, foodway, sections_of

Float = NDArray[np.float64]
Side = Literal["L", "R"]

LUNG_AWAY_MM = 10.0
"""Of a lung whose surface is further from the straight line no ligament hangs."""
_STEP_MM = 1.0
_CORNERS = 48


def around_ligament(
    side: Side, structures: StructureSet, planes_mm: Float, limits_mm: tuple[float, float], reach_mm: float
) -> tuple[Float, ...]:
    """Return discs (n, 3) around the base of a ligament, one in each plane that it reaches, LPS mm.

    Parameters
    ----------
    side : {"L", "R"}
        Of the lung.
    structures : StructureSet
        With V_Pulmonary, Lung_L or Lung_R, and what `foodway` names.
    planes_mm : (k,) float
        z of the planes between the limits, ascending.
    limits_mm : (2,) float
        z of the hiatus and of the lower margin of the vein.
    reach_mm : float
        Radius of the discs.
    """
    low, high = limits_mm
    sign = 1.0 if side == "L" else -1.0
    start, end = _beside_hiatus(structures, sign, low), _inferior_vein(structures, sign)
    lung = sections_of(structures[f"Lung_{side}"])
    growths = sections_of(*(s for s in structures if s.role == "GTV"))
    heart = sections_of(*(s for s in structures if s.name in ("Pericardium", "Heart")))
    turn = np.linspace(0.0, 2.0 * np.pi, _CORNERS, endpoint=False)
    disc = reach_mm * np.column_stack([np.cos(turn), np.sin(turn)])
    centres: list[tuple[float, Float]] = []
    for z in planes_mm.tolist():
        at = start + (z - low) / (high - low) * (end - start)
        pushed = _nearest_on(at_plane(growths, z), at) is not None
        base = _out_of(at_plane(heart, z), at) if pushed else _nearest_on(at_plane(lung, z), at)
        if base is not None or centres:
            centres.append((z, at if base is None else base))
    return tuple(np.column_stack([disc + centre, np.full(_CORNERS, z)]) for z, centre in centres)


def _out_of(rings: list[Float], point: Float) -> Float:
    """Nearest point that is not within polygons."""
    for ring in rings:
        if nesting_depth([ring, point + 1e-3 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])])[1]:
            edge = resample_edge(ring, _STEP_MM)
            point = edge[int(np.argmin(np.hypot(*(edge - point).T)))]
    return point


def _nearest_on(rings: list[Float], point: Float) -> Float | None:
    """Nearest point of an edge; None where there is none near enough."""
    if not rings:
        return None
    edge = np.concatenate([resample_edge(ring, _STEP_MM) for ring in rings])
    apart = np.hypot(*(edge - point).T)
    nearest: Float = edge[int(np.argmin(apart))]
    return nearest if apart.min() <= LUNG_AWAY_MM else None


def _inferior_vein(structures: StructureSet, sign: float) -> Float:
    """Middle, x and y, of the inferior pulmonary vein: of the lower half of what is drawn on its side."""
    veins = structures["V_Pulmonary"]
    middle = 0.5 * sum(float(edge[0]) for edge in veins.bounds_mm())
    own = np.concatenate([ring for ring in veins.contours if sign * (float(ring[:, 0].mean()) - middle) > 0])
    lower = own[own[:, 2] <= 0.5 * (own[:, 2].min() + own[:, 2].max())]
    centre: Float = 0.5 * (lower.min(axis=0) + lower.max(axis=0))[:2]
    return centre


def _beside_hiatus(structures: StructureSet, sign: float, z_mm: float) -> Float:
    """Wall, x and y, of the way of food on one side, in the plane nearest to a height."""
    sections = sections_of(*(structures[name] for name in foodway(structures)))
    rings = sections[min(sections, key=lambda level: abs(level - z_mm))]
    return np.array([sign * (sign * np.concatenate(rings)[:, 0]).max(), centroid(rings)[1]])
