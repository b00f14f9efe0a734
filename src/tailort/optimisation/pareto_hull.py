"""Between what plans show and what planes rule out: the inner and the outer hull of a set of goals' values.

Plans are points; whatever is worse in every goal than a mixture of plans can be reached (inner hull). Each weighted sum
that has been made smallest is a plane below which there is no plan (outer hull). The Pareto front is between both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plane:
    """No plan has `normal` @ values below `offset`.

    Parameters
    ----------
    normal : (k,) float
        Not below 0, sum 1.
    offset : float
        Lowest weighted sum.
    """

    normal: Float
    offset: float


@dataclass(frozen=True, eq=False)
class Facet:
    """A face of the inner hull and how far the outer hull lies below it.

    Parameters
    ----------
    normal : (k,) float
        Not below 0, sum 1.
    offset : float
        `normal` @ values on the face.
    points : tuple of int
        Plans on it.
    gap : float
        By how much the outer hull is below it; as the normal sums to 1, also how much better than a mixture of these
        plans another could be in all goals at once. Not above 0 where the planes touch.
    """

    normal: Float
    offset: float
    points: tuple[int, ...]
    gap: float


def facets(points: Float, planes: Sequence[Plane], lowest: Float, highest: Float) -> tuple[Facet, ...]:
    """Faces of the inner hull that look towards better values, widest gap first.

    Parameters
    ----------
    points : (n, k) float
        Values of the goals of each plan, in units in which the goals compare (0 to 1).
    planes : sequence of Plane
        In the same units.
    lowest, highest : (k,) float
        The part that is looked at: what no goal can fall below, and what is too bad to matter.

    References
    ----------
    Craft et al. 2006, Med Phys 33:3399, doi 10.1118/1.2335486 (sandwich of plans and planes); Rennen et al. 2011,
    INFORMS J Comput 23:493, doi 10.1287/ijoc.1100.0419; Bokrantz & Forsgren 2013, INFORMS J Comput 25:377,
    doi 10.1287/ijoc.1120.0508 (the hull with what is worse added, so that no face looks the wrong way).
    """
    made = [
        Facet(normal, offset, on, offset - lowest_allowed(normal, planes, lowest, highest))
        for normal, offset, on in _lower_faces(points)
    ]
    return tuple(sorted(made, key=lambda facet: -facet.gap))


def lowest_allowed(normal: Float, planes: Sequence[Plane], lowest: Float, highest: Float) -> float:
    """Lowest value of a weighted sum that planes allow between bounds; infinite when they allow none there.

    Parameters
    ----------
    normal : (k,) float
        Weight of each goal.
    planes : sequence of Plane
        Below which there is no plan.
    lowest, highest : (k,) float
        Of each goal's value; infinite where there is no bound.
    """
    found = linprog(
        normal,
        A_ub=-np.array([plane.normal for plane in planes]) if planes else None,
        b_ub=-np.array([plane.offset for plane in planes]) if planes else None,
        bounds=list(zip(lowest, highest, strict=True)),
        method="highs",
    )
    return float(np.inf) if found.fun is None else float(found.fun)


def _lower_faces(points: Float) -> list[tuple[Float, float, tuple[int, ...]]]:
    """Normal, offset and plans of each face of the plans' hull with everything that is worse."""
    size = points.shape[1]
    far = 10.0 * (float(np.ptp(points, axis=0).max()) + 1.0)
    # The sum of the plans' hull and a simplex: faces that only exist because the simplex ends have a negative normal.
    corners = np.vstack([np.zeros(size), far * np.eye(size)])
    hull = ConvexHull((points[:, None, :] + corners).reshape(-1, size))
    faces: list[tuple[Float, float, tuple[int, ...]]] = []
    for equation in np.unique(np.round(hull.equations, 9), axis=0):
        normal = -equation[:size]
        if normal.min() < -1e-7:
            continue
        normal = np.maximum(normal, 0.0)
        normal = normal / normal.sum()
        height = points @ normal
        offset = float(height.min())
        faces.append((normal, offset, tuple(int(n) for n in np.flatnonzero(height <= offset + 1e-7))))
    return faces
