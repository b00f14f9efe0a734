"""Signed distances of a lattice to polygons, whichever way they are looked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.geometry import Grid, partial_volume
from tailort.geometry.raster import signed_distance


def distances(edges: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance of every node to the nearest edge, one after the other."""
    least = np.full((len(y), len(x)), np.inf)
    for ax, ay, bx, by in edges:
        u, v = bx - ax, by - ay
        along = np.clip(((x[None] - ax) * u + (y[:, None] - ay) * v) / (u * u + v * v), 0.0, 1.0)
        least = np.minimum(least, np.hypot(x[None] - ax - along * u, y[:, None] - ay - along * v))
    return least


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 60), st.floats(0.5, 90.0), st.integers(1, 70), st.integers(1, 70))
def test_every_node_has_the_distance_of_its_nearest_edge_up_to_the_reach(
    seed: int, corners: int, reach: float, rows: int, columns: int
) -> None:
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0.0, 2.0 * np.pi, corners))
    radius = random.uniform(5.0, 40.0, corners)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    edges = np.hstack([points, np.roll(points, -1, axis=0)])
    dx, dy = random.uniform(0.3, 2.0, 2)
    x, y = -45.0 + dx * np.arange(columns), -40.0 + dy * np.arange(rows)
    found = signed_distance(edges, x[0], y[0], dx, dy, rows, columns, reach)
    np.testing.assert_allclose(np.abs(found), np.minimum(distances(edges, x, y), reach), rtol=1e-5, atol=1e-5)


def test_a_coarser_step_moves_the_volume_of_a_cone_by_less_than_one_percent() -> None:
    """Sections that shrink by 2 mm a plane, sampled at 3 mm and as finely as usual."""
    ring = np.stack(
        [np.cos(np.linspace(0, 2 * np.pi, 60, False)), np.sin(np.linspace(0, 2 * np.pi, 60, False))], axis=1
    )
    contours = [np.column_stack([(30.0 - 0.5 * z) * ring, np.full(60, z)]) for z in np.arange(0.0, 41.0, 4.0)]
    grid = Grid.axial((20, 30, 30), (3.0, 3.0, 3.0), (-43.5, -43.5, -6.0), "1.2.3")
    fine, coarse = partial_volume(contours, grid), partial_volume(contours, grid, step_mm=3.0)
    assert coarse.volume_cm3(grid) == pytest.approx(fine.volume_cm3(grid), rel=0.01)
    assert np.mean((coarse.full() >= 0.5) != (fine.full() >= 0.5)) < 0.003
