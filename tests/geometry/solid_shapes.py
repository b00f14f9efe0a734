"""Contours of solids whose volumes are known from formulas, for the tests of geometry."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Float = NDArray[np.float64]


def ring(radius: float, z: float, centre: tuple[float, float] = (0.0, 0.0), n: int = 180, squash: float = 1.0) -> Float:
    """Polygon of n corners with exactly the area of the circle (or ellipse with y radius = squash x radius)."""
    turn = np.arange(n) * 2 * np.pi / n
    r = radius / np.sqrt(np.sin(2 * np.pi / n) * n / (2 * np.pi))
    return np.column_stack([centre[0] + r * np.cos(turn), centre[1] + squash * r * np.sin(turn), np.full(n, z)])


def box(x: tuple[float, float], y: tuple[float, float], z: float) -> Float:
    return np.array([[x[0], y[0], z], [x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z]])


def sphere(radius: float, spacing: float, phase: float, n: int = 180, centre: tuple[float, float] = (0.0, 0.0)):
    """Contours of a sphere around z = 0 on planes phase + k x spacing, none nearer than 1e-3 mm to a pole."""
    k = np.arange(np.ceil((-radius - phase) / spacing), np.floor((radius - phase) / spacing) + 1)
    planes = [z for z in phase + spacing * k if radius - abs(z) > 1e-3]
    return [ring(np.sqrt(radius**2 - z**2), z, centre, n) for z in planes]


def lying_cone(spacing: float, n: int = 160) -> list[Float]:
    """Sections across a cone along y: radius 12 mm at y = -12, tip at y = 12. Each is a branch of a hyperbola."""
    out = []
    for z in spacing * np.arange(-np.ceil(12 / spacing) + 1, np.ceil(12 / spacing)):
        tip = 12 - 2 * abs(z)
        y = 0.5 * (tip - 12) - 0.5 * (tip + 12) * np.cos(np.linspace(0, np.pi, n))
        x = np.sqrt(np.maximum((6 - y / 2) ** 2 - z**2, 0))
        edge = np.column_stack([np.r_[x, -x[-2::-1]], np.r_[y, y[-2::-1]], np.full(2 * n - 1, z)])
        out.append(edge)
    return out


def lying_cone_centre_mm(spacing: float) -> float:
    """Centre in y of the cone between its first and last plane with half a distance of the end sections beyond."""
    last = spacing * (np.ceil(12 / spacing) - 1)
    y = (np.arange(1200) + 0.5) / 50 - 12
    inner = last * ((np.arange(800) + 0.5) / 400 - 1)
    z = np.concatenate([inner, [-last, last]])
    weight = np.concatenate([np.full(800, last / 400), [spacing / 2] * 2])[:, None] * np.sqrt(
        np.maximum((6 - y / 2)[None, :] ** 2 - z[:, None] ** 2, 0)
    )
    return float((weight @ y).sum() / weight.sum())


def sphere_volume_cm3(radius: float) -> float:
    return 4 / 3 * np.pi * radius**3 / 1000


def slab_of_sphere_cm3(radius: float, low: float, high: float) -> float:
    return np.pi * (radius**2 * (high - low) - (high**3 - low**3) / 3) / 1000


def keyhole(outer: Float, inner: Float) -> Float:
    """One contour: around the outer ring, along a channel to the inner one, around it the other way, and back."""
    return np.vstack([outer, outer[:1], inner[:1], inner[:0:-1], inner[:1]])


@st.composite
def blobs(draw: st.DrawFn, hole: bool | None = None) -> list[Float]:
    """A smooth, bent, star-shaped tube of 4 to 8 slices with unequal distances; maybe with a hole all along."""
    n_slices = draw(st.integers(4, 8))
    distances = draw(st.lists(st.floats(2.0, 2.9), min_size=n_slices - 1, max_size=n_slices - 1))
    planes = np.concatenate([[0.0], np.cumsum(distances)]) + draw(st.floats(-3, 3))
    radius = draw(st.floats(6, 15))
    lobes = [(k, draw(st.floats(0, 0.12)), draw(st.floats(0, 6.28))) for k in (2, 3)]
    growth, bend = draw(st.floats(-0.05, 0.05)), draw(st.floats(-0.5, 0.5))
    has_hole = draw(st.booleans()) if hole is None else hole
    turn = np.arange(90) * 2 * np.pi / 90
    out = []
    for z in planes:
        r = radius * (1 + growth * (z - planes[0]))
        edge = r * (1 + sum(a * np.cos(k * turn + p) for k, a, p in lobes))
        x0 = bend * (z - planes[0])
        out.append(np.column_stack([x0 + edge * np.cos(turn), edge * np.sin(turn), np.full(90, z)]))
        if has_hole:
            out.append(ring(0.4 * r, z, (x0, 0.0), 60))
    return out


def many_holed(rng: np.random.Generator) -> list[Float]:
    """Discs of 4 to 8 slices whose radius jumps, up to two slices left out, each with up to 8 holes of its own."""
    k = np.arange(rng.integers(4, 9)) * 3.0
    k[rng.integers(1, len(k)) :] += 3.0 * rng.integers(0, 3)
    radius, drift, out = rng.uniform(15, 30), rng.uniform(-0.8, 0.8), []
    for z in k:
        r = radius * rng.uniform(0.65, 1.35)
        out.append(ring(r, z, (drift * z, 0)))
        holes: list[tuple[Float, float]] = []
        for _ in range(rng.integers(0, 9)):
            size, turn = rng.uniform(1, 0.3 * r), rng.uniform(0, 2 * np.pi)
            centre = rng.uniform(0, r - size - 0.3) * np.array([np.cos(turn), np.sin(turn)])
            if all(np.hypot(*(centre - c)) > size + s + 0.3 for c, s in holes):
                holes.append((centre, size))
                out.append(ring(size, z, (centre[0] + drift * z, centre[1]), 60))
    return out


def moved(contours: list[Float], by: tuple[float, float, float]) -> list[Float]:
    return [c + np.array(by) for c in contours]
