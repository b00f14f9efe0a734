"""How long a contoured tumour is along the oesophagus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tailort.geometry.contours import by_plane, nesting_depth

Float = NDArray[np.float64]

# Nearer than this the middles of neighbouring sections follow their shape, not the way of the organ.
CHORD_MM = 15.0


def length_along_mm(contours: Sequence[Float], spacing_mm: float) -> float:
    """Length of a volume along its own middle line, mm.

    Parameters
    ----------
    contours : sequence of (n, 3) float
        Closed transverse polygons, LPS mm; inner ones are holes.
    spacing_mm : float
        Distance of the slices: the first and last section stand for half of it beyond their planes.

    Notes
    -----
    The middle line goes through the centres of the sections in chords of 15 mm or more, so that their changing shape
    does not lengthen it. Chords are shorter than the arc: the length is rather under- than overstated.

    Examples
    --------
    >>> square = [[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]]
    >>> stack = [np.array([[x, y, z] for x, y in square]) for z in (0.0, 3.0, 6.0, 9.0)]
    >>> length_along_mm(stack, 3.0)
    12.0
    """
    heights, sections = by_plane(tuple(contours))
    middles = np.array([_middle(rings, float(z)) for z, rings in zip(heights, sections, strict=True)])
    line = middles[_nodes(middles)]
    chords = np.diff(line, axis=0)
    # Beyond the outermost planes the organ goes on as steeply as before.
    ends = (chords[0], chords[-1]) if len(chords) else ()
    steepness = sum(float(np.linalg.norm(chord) / abs(chord[2])) for chord in ends) or 2.0
    return float(np.linalg.norm(chords, axis=1).sum() + spacing_mm / 2 * steepness)


def _nodes(middles: Float) -> list[int]:
    """Both ends, and between them points that are far enough apart."""
    nodes = [0]
    for n in range(1, len(middles) - 1):
        apart_mm = [float(np.linalg.norm(middles[n] - middles[end])) for end in (nodes[-1], -1)]
        if min(apart_mm) >= CHORD_MM:
            nodes.append(n)
    return nodes + [len(middles) - 1] * (len(middles) > 1)


def _middle(rings: Sequence[Float], z: float) -> Float:
    """Centre of area of one section."""
    area, moment = 0.0, np.zeros(2)
    for ring, depth in zip(rings, nesting_depth(rings), strict=True):
        x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
        cross = x * np.roll(y, -1) - np.roll(x, -1) * y
        sign = (1.0 if depth % 2 == 0 else -1.0) * (1.0 if cross.sum() >= 0 else -1.0)
        own = sign * float(cross.sum()) / 2
        centre = np.array([((x + np.roll(x, -1)) * cross).sum(), ((y + np.roll(y, -1)) * cross).sum()]) * sign / 6
        area += own
        moment += centre + own * ring[0, :2]
    middle = moment / area if area > 0 else rings[0][:, :2].mean(axis=0)
    return np.array([middle[0], middle[1], z])
