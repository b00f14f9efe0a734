"""Solids in linear dose gradients whose histograms follow from formulas alone.

The design of Nelms et al., Med Phys 2015;42:4435, doi:10.1118/1.4923175, generated here. A solid is given by its chord
along x at every (y, z). The truth is the solid that the end-cap rule "half_slice" closes: the true shape between
the first and the last contour plane, and beyond each of them half a slice of its section.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tailort.geometry import Grid, Image
from tailort.patient import Dose, Structure

RADIUS, HEIGHT = 12.0, 24.0
FRAME = "1.2.826.0.1.3680043.8.498.1"


def _root(value):
    return np.sqrt(np.maximum(value, 0.0))


def _taper(t):
    """Radius of the cone at a distance t from its middle along the axis."""
    return np.where(np.abs(t) <= HEIGHT / 2, RADIUS * (0.5 - t / HEIGHT), 0.0)


@dataclass(frozen=True)
class Solid:
    """Chord from `start` along x, both (y, z) -> mm."""

    name: str
    chord: Callable
    start: Callable
    top: float = RADIUS


def _centred(name, chord):
    return Solid(name, chord, lambda y, z: -0.5 * chord(y, z))


SOLIDS = {
    solid.name: solid
    for solid in (
        _centred("sphere", lambda y, z: 2 * _root(RADIUS**2 - y**2 - z**2)),
        _centred("cylinder z", lambda y, z: np.where(np.abs(z) <= HEIGHT / 2, 2 * _root(RADIUS**2 - y**2), 0.0)),
        _centred("cylinder x", lambda y, z: np.where(y**2 + z**2 <= RADIUS**2, HEIGHT, 0.0)),
        _centred("cylinder y", lambda y, z: np.where(np.abs(y) <= HEIGHT / 2, 2 * _root(RADIUS**2 - z**2), 0.0)),
        _centred("cone z", lambda y, z: 2 * _root(_taper(z) ** 2 - y**2)),
        Solid(
            "cone x",
            lambda y, z: np.maximum(0.0, HEIGHT * (1 - np.hypot(y, z) / RADIUS)),
            lambda y, z: np.full(np.broadcast(y, z).shape, -HEIGHT / 2),
        ),
        _centred("cone y", lambda y, z: 2 * _root(_taper(y) ** 2 - z**2)),
    )
}


def slices(solid: Solid, spacing_mm: float) -> np.ndarray:
    """Planes with a contour: every `spacing_mm` from the middle, where the section is not degenerate."""
    n = int(HEIGHT / 2 / spacing_mm)
    z = spacing_mm * np.arange(-n, n + 1)
    y = np.linspace(-RADIUS, RADIUS, 401)
    return np.array([p for p in z if np.count_nonzero(solid.chord(y, np.full_like(y, p)) > 1e-6) > 2])


def contour(solid: Solid, z: float, points: int = 160) -> np.ndarray:
    """Section at z as a polygon (n, 3), its vertices on the true edge."""
    fine = np.linspace(-RADIUS, RADIUS, 240_001)
    inside = fine[solid.chord(fine, np.full_like(fine, z)) > 1e-9]
    low, high = inside[0], inside[-1]
    y = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(np.linspace(0, np.pi, points // 2))
    plane = np.full_like(y, z)
    start, chord = solid.start(y, plane), solid.chord(y, plane)
    left, right = np.stack([start, y, plane], -1), np.stack([start + chord, y, plane], -1)
    both = np.concatenate([left, right[::-1]])
    kept = np.linalg.norm(both - np.roll(both, 1, axis=0), axis=1) > 1e-6
    return both[kept]


def structure(solid: Solid, spacing_mm: float) -> Structure:
    contours = tuple(contour(solid, z) for z in slices(solid, spacing_mm))
    return Structure(solid.name, "PTV", contours, FRAME)


def level(along: str, y, z):
    """Dose at a point, Gy: 4 to 28 Gy over 24 mm, so that a percentage is a hard judge of the low doses."""
    return 16.0 + (z if along == "z" else y)


def dose(along: str, spacing_mm: float, offset_mm: float = 0.0) -> Dose:
    """The gradient on a dose grid that covers the solid with room to spare."""
    n = int(np.ceil(20.0 / spacing_mm))
    origin = -n * spacing_mm + offset_mm
    grid = Grid.axial((2 * n + 1,) * 3, (spacing_mm,) * 3, (origin,) * 3, FRAME)
    z, y, _ = np.meshgrid(*grid.axes_mm(), indexing="ij")
    values = np.maximum(level(along, y, z), 0.0).astype(np.float32)
    return Dose(Image(grid, values, "Gy"), "physical", "course", 25, None, "formula")


class Truth:
    """Histogram of the closed solid by quadrature over (y, z)."""

    def __init__(self, solid: Solid, along: str, spacing_mm: float, steps: int = 1600) -> None:
        planes = slices(solid, spacing_mm)
        first, last = planes[0], planes[-1]
        # The two caps and the true shape apart, so that no cell of the quadrature crosses a contour plane.
        cap = (np.arange(64) + 0.5) / 64 * spacing_mm / 2
        mid = first + (np.arange(steps) + 0.5) / steps * (last - first)
        z = np.concatenate([first - cap, mid, last + cap])
        dz = np.concatenate([np.full(64, spacing_mm / 128), np.full(steps, (last - first) / steps),
                             np.full(64, spacing_mm / 128)])  # fmt: skip
        y = (np.arange(steps) + 0.5) / steps * 2 * RADIUS - RADIUS
        yy, zz = np.meshgrid(y, z)
        inner = np.clip(zz, first, last)
        weight = solid.chord(yy, inner) * dz[:, None] * (2 * RADIUS / steps) / 1000.0
        kept = weight > 0
        doses, weight = level(along, yy, zz)[kept], weight[kept]
        order = np.argsort(-doses, kind="stable")
        self.doses, self.weights = doses[order], weight[order]
        self.ends = np.cumsum(self.weights)
        self.volume_cm3 = float(self.ends[-1])

    def value(self, metric: str) -> float:
        if metric == "Volume[cc]":
            return self.volume_cm3
        if metric == "Mean[Gy]":
            return float(self.doses @ self.weights / self.volume_cm3)
        if metric in ("Max[Gy]", "Min[Gy]"):
            return float(self.doses[0] if metric == "Max[Gy]" else self.doses[-1])
        if metric.startswith("D"):
            number = float(metric[1:].rstrip("[Gy]").rstrip("c%"))
            volume = number if "cc" in metric else number / 100 * self.volume_cm3
            return float(np.interp(volume, self.ends - self.weights / 2, self.doses))
        number = float(metric[1 : metric.index("Gy")])
        return 100 * float(self.weights[self.doses >= number].sum()) / self.volume_cm3
