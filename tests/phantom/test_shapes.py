"""The implicit solids of the virtual body against closed formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.phantom import contours
from tailort.phantom.opening import Opened
from tailort.phantom.shapes import (
    Column,
    Cut,
    Ellipsoid,
    Grown,
    Lattice,
    Minus,
    Profile,
    Shape,
    Tube,
    Union,
    constant,
    field_at,
)
from tailort.phantom.truth import volume_cm3

ALL = (-1e3, 1e3)


def superellipse_area(a: float, b: float, n: float) -> float:
    """Area of |x/a|^n + |y/b|^n <= 1 (Gradshteyn and Ryzhik 4.6)."""
    return 4 * a * b * math.gamma(1 + 1 / n) ** 2 / math.gamma(1 + 2 / n)


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


CASES: dict[str, tuple[Shape, float]] = {
    "sphere": (Ellipsoid((1, 2, 3), (6, 6, 6)), 4 / 3 * math.pi * 6**3),
    "turned ellipsoid": (Ellipsoid((0, 0, 0), (30, 12, 20), turned(35)), 4 / 3 * math.pi * 30 * 12 * 20),
    "capsule": (Tube([(0, 0, 0), (30, -10, 25)], 4.0), math.pi * 16 * math.hypot(30, 10, 25) + 4 / 3 * math.pi * 64),
    "flattened capsule": (
        Tube([(0, 0, 0), (0, 0, 40)], 5.0, (1.0, 2.0, 1.0)), (math.pi * 25 * 40 + 4 / 3 * math.pi * 125) / 2
    ),
    "box-like column": (
        Column((0, 50), constant(0), constant(4), constant(80), constant(40), constant(40), 2.5),
        50 * superellipse_area(80, 40, 2.5),
    ),
    "column deeper behind": (
        Column((0, 10), constant(0), constant(0), constant(10), constant(5), constant(9)), 10 * math.pi * 10 * 7
    ),
    "cone": (
        Column((0, 30), constant(0), constant(0), *[Profile([(0, 12), (30, 0.0)])] * 3), math.pi * 144 * 30 / 3
    ),
    "half a ball": (
        Cut(Ellipsoid((0, 0, 0), (9, 9, 9)), lambda at: at.x + 0 * at.y), 2 / 3 * math.pi * 9**3
    ),
    "shell": (
        Minus(Ellipsoid((0, 0, 0), (15, 15, 15)), (Ellipsoid((0, 0, 0), (10, 10, 10)),)),
        4 / 3 * math.pi * (15**3 - 10**3),
    ),
    "two balls apart": (
        Union((Ellipsoid((-12, 0, 0), (8, 8, 8)), Ellipsoid((12, 0, 4), (8, 8, 8)))), 8 / 3 * math.pi * 8**3
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_integrated_volume_is_that_of_the_formula(name: str) -> None:
    shape, exact_mm3 = CASES[name]
    # 0.5 %: what the truth claims for itself.
    assert volume_cm3(shape, *ALL) == pytest.approx(exact_mm3 / 1000, rel=5e-3)


@pytest.mark.parametrize("name", CASES)
def test_the_drawn_contours_enclose_the_volume_of_the_formula(name: str) -> None:
    shape, exact_mm3 = CASES[name]
    low, high = shape.z_range
    step = (high - low) / 60
    planes = low + step * (np.arange(60) + 0.5)
    (drawn,) = contours.draw([shape], planes, (0.0, 0.0, 0.0), 72)
    area = [0.0] * 60
    for line in drawn:
        x, y = line[:, 0], line[:, 1]
        signed = 0.5 * (np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
        area[int(np.argmin(np.abs(planes - line[0, 2])))] += signed
    total = sum(abs(a) for a in area) * step
    # Polygons of a round outline lie inside it; slices that are cut off at both ends are lost.
    assert total == pytest.approx(exact_mm3, rel=1.2e-2)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8), st.floats(-20, 120))
def test_a_profile_goes_through_its_points_and_never_beyond_them(values: list[float], z: float) -> None:
    pairs = [(10.0 * n, value) for n, value in enumerate(values)]
    profile = Profile(pairs)
    for at, value in pairs:
        assert profile(at) == pytest.approx(value, abs=1e-9)
    assert min(values) - 1e-9 <= profile(z) <= max(values) + 1e-9


@given(st.floats(0.0, 8.0), st.floats(-25, 25), st.floats(-25, 25), st.floats(-20, 20))
def test_a_grown_shape_contains_the_shape(grow: float, x: float, y: float, z: float) -> None:
    shape = Union((Ellipsoid((0, 0, 0), (10, 6, 8)), Tube([(0, 0, 0), (12, 3, 9)], 3.0)), 4.0)
    assert field_at(Grown(shape, grow), (x, y, z)) <= field_at(shape, (x, y, z))


@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(-15, 15))
def test_the_field_of_a_tube_is_the_distance_from_its_surface(x: float, y: float, z: float) -> None:
    tube = Tube([(0, 0, -10), (0, 0, 10)], 4.0)
    away = math.hypot(x, y, max(abs(z) - 10, 0.0)) - 4.0
    assert field_at(tube, (x, y, z)) == pytest.approx(away, abs=1e-9)


def test_a_hole_stays_a_hole() -> None:
    shape = Minus(Ellipsoid((0, 0, 0), (20, 20, 20)), (Ellipsoid((3, 0, 0), (8, 8, 8)),))
    (rings,) = contours.draw([shape], np.array([0.0]), (0.0, 0.0, 0.0), 72)
    radii = sorted(float(np.hypot(*(ring[:, :2] - ring[:, :2].mean(axis=0)).T).mean()) for ring in rings)
    assert radii == pytest.approx([8.0, 20.0], rel=5e-3)


@given(st.tuples(*[st.integers(0, 30)] * 4), st.tuples(*[st.integers(0, 30)] * 4))
def test_what_a_lattice_remembers_is_what_it_would_sample(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    ball, tube = Ellipsoid((2, 1, 0), (11, 7, 9)), Tube([(-9, 4, -8), (12, -3, 9)], 3.0)
    shape = Minus(Union((ball, Grown(tube, 1.0)), 5.0), (Cut(tube, lambda at: at.x - at.y),), 0.5)
    axis = np.linspace(-16, 16, 31)
    whole = Lattice(axis[None, :], axis[:, None], 1.5)
    for a, b, c, d in (first, second, first):
        rows, columns = slice(min(a, b), max(a, b) + 1), slice(min(c, d), max(c, d) + 1)
        fresh = Lattice(axis[None, columns], axis[rows, None], 1.5)
        assert np.array_equal(whole.part(rows, columns).field(shape), shape.field(fresh))


def test_what_a_lattice_remembers_cannot_be_written_to() -> None:
    at = Lattice(np.zeros((1, 3)), np.zeros((3, 1)), 0.0)
    with pytest.raises(ValueError, match="read-only"):
        at.field(Ellipsoid((0, 0, 0), (1, 1, 1)))[0, 0] = 0.0


def block(x: tuple[float, float], y: tuple[float, float]) -> Column:
    half, depth = constant(0.5 * (x[1] - x[0])), constant(0.5 * (y[1] - y[0]))
    return Column((-5.0, 5.0), constant(sum(x) / 2), constant(sum(y) / 2), half, depth, depth, 16.0)


@pytest.mark.parametrize("step", [0.5, 1.0, 1.5])
def test_opening_takes_seams_and_leaves_what_is_wide(step: float) -> None:
    # A room of 30 x 30 mm, of which an organ leaves 1.2 mm on one side, 5 mm on another and 9 mm on the rest.
    room, organ = block((-15, 15), (-15, 15)), block((-13.8, 6), (-10, 6))
    whole = Minus(room, (organ,))
    at = Lattice(np.arange(-18, 18.1, step)[None, :], np.arange(-18, 18.1, step)[:, None], 0.0)
    before, after = at.field(whole) < -0.05, at.field(Opened(whole, 1.0)) < -0.05
    assert not (after & ~before).any()
    x, y = np.broadcast_arrays(at.x, at.y)
    seam = (x < -13.8) & (y > -8.5) & (y < 4.5)
    assert not (after & seam).any()
    # Nothing else goes but corners.
    lost = before & ~after & ~((x < -13) & (y > -10) & (y < 6))
    assert lost.sum() * step**2 < 6.0


def test_opening_leaves_a_ball_as_it_is_and_takes_a_thin_rod() -> None:
    at = Lattice(np.arange(-12, 12.1, 1.0)[None, :], np.arange(-12, 12.1, 1.0)[:, None], 0.0)
    ball, rod = Ellipsoid((0, 0, 0), (9, 7, 8)), Tube([(0, 0, -5), (0, 0, 5)], 0.9)
    assert np.array_equal(at.field(Opened(ball, 1.5)) < 0, at.field(ball) < 0)
    assert (at.field(rod) < 0).any()
    assert not (at.field(Opened(rod, 1.5)) < 0).any()
