"""Analytic bodies as contours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tailort.geometry import subtract, volume_cm3
from tailort.patient import Structure, StructureSet

FRAME = "1.2.3"
PLANES = np.arange(-60.0, 60.1, 3.0)

Contours = tuple[NDArray[np.float64], ...]


def circle(x: float, y: float, z: float, radius: float, points: int = 90) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    # Corners a little outside, so that the polygon has the circle's area.
    outer = radius * np.sqrt(2 * np.pi / points / np.sin(2 * np.pi / points))
    return np.column_stack([x + outer * np.cos(angle), y + outer * np.sin(angle), np.full(points, z)])


def sphere(radius: float, centre: Sequence[float] = (0, 0, 0), planes: NDArray[np.float64] = PLANES) -> Contours:
    x, y, z0 = centre
    return tuple(
        circle(x, y, float(z), float(np.sqrt(radius**2 - (z - z0) ** 2))) for z in planes if abs(z - z0) < radius - 0.2
    )


def cylinder(
    radius: float, low: float, high: float, centre: Sequence[float] = (0, 0), planes: NDArray[np.float64] = PLANES
) -> Contours:
    return tuple(circle(*centre, float(z), radius) for z in planes if low - 1e-6 <= z <= high + 1e-6)


def structure(name: str, role: str, contours: Contours) -> Structure:
    return Structure(name, role, contours, FRAME)


def drawn(**contours: Contours) -> StructureSet:
    roles = {"External": "EXTERNAL", "GTVp": "GTV", "GTVn": "GTV"}
    return StructureSet(tuple(structure(n, roles.get(n, "ORGAN"), c) for n, c in contours.items()), FRAME)


def left_over_cm3(inner: Structure, outer: Structure, planes: NDArray[np.float64] = PLANES) -> float:
    """Volume of `inner` outside `outer`."""
    rest = subtract(inner.contours, outer.contours, planes, "half_slice", 3.0)
    return volume_cm3(rest, "half_slice", 3.0) if rest else 0.0
