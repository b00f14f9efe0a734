"""Separate parts of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.geometry import EndCap, intersect, volume_cm3
from tailort.geometry.solid import build_solid

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeparatePart:
    """Contours that hang together, and their volume."""

    contours: tuple[Float, ...]
    volume_cm3: float


def connected_parts(contours: Sequence[Float], end_cap: EndCap, spacing_mm: float) -> tuple[SeparatePart, ...]:
    """Split a volume into the parts that do not hang together, largest first.

    Sections of neighbouring planes hang together where they overlap; planes further apart than 1.5 times
    `spacing_mm` do not.

    Parameters
    ----------
    contours : sequence of (n, 3) float
        Closed polygons, LPS mm; inner ones are holes.
    end_cap : EndCap
        How the ends close.
    spacing_mm : float
        Distance of the CT planes, mm.
    """
    solid = build_solid(contours, end_cap, spacing_mm)
    pieces: list[tuple[int, tuple[Float, ...]]] = []
    for level, (z, section) in enumerate(zip(solid.planes_mm, solid.sections, strict=True)):
        for part in section:
            rings = tuple(np.column_stack([ring, np.full(len(ring), float(z))]) for ring in part.rings)
            pieces.append((level, rings))
    group = list(range(len(pieces)))

    def root(n: int) -> int:
        while group[n] != n:
            n = group[n]
        return n

    for a, (level, below) in enumerate(pieces):
        for b, (next_level, above) in enumerate(pieces):
            apart = next_level != level + 1 or solid.planes_mm[next_level] - solid.planes_mm[level] > 1.5 * spacing_mm
            if not apart and root(a) != root(b) and _overlap(below, above, spacing_mm):
                group[root(b)] = root(a)
    parts: dict[int, list[Float]] = {}
    for n, (_, rings) in enumerate(pieces):
        parts.setdefault(root(n), []).extend(rings)
    made = [
        SeparatePart(tuple(rings), volume_cm3(rings, end_cap, single_slice_thickness_mm=spacing_mm))
        for rings in parts.values()
    ]
    return tuple(sorted(made, key=lambda part: -part.volume_cm3))


def _overlap(below: tuple[Float, ...], above: tuple[Float, ...], spacing_mm: float) -> bool:
    z = float(below[0][0, 2])
    level = tuple(np.column_stack([ring[:, :2], np.full(len(ring), z)]) for ring in above)
    return bool(intersect(below, level, [z], "half_slice", spacing_mm))
