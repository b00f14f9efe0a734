"""Going down a gradient between bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.optimisation.leaf_descent import descended

WEIGHTS = np.array([1.0, 30.0, 4.0, 0.5])


def bowl(z: np.ndarray) -> tuple[float, np.ndarray]:
    return 0.5 * float(WEIGHTS @ (z * z)), WEIGHTS * z


def valley(z: np.ndarray) -> tuple[float, np.ndarray]:
    """Rosenbrock 1960: a bent valley that takes many steps; lowest at (1, 1)."""
    x, y = z
    return 100.0 * (y - x * x) ** 2 + (1.0 - x) ** 2, np.array(
        [-400.0 * x * (y - x * x) - 2.0 * (1.0 - x), 200.0 * (y - x * x)]
    )


@given(st.lists(st.floats(-3.0, 3.0), min_size=4, max_size=4))
def test_a_bowl_is_lowest_at_the_place_between_the_bounds_nearest_to_its_middle(middle) -> None:
    # Each variable has its own part of the value, so each stops at its own bound.
    shifted = np.array(middle)
    found = descended(lambda z: bowl(z - shifted), np.full(4, 9.0), np.full(4, -1.0), np.full(4, 2.0), 200)
    np.testing.assert_allclose(found.z, np.clip(shifted, -1.0, 2.0), atol=1e-3)


def test_a_descent_keeps_to_its_evaluations_and_goes_on_from_where_it_ended() -> None:
    start, wide = np.array([-1.2, 1.0]), np.full(2, 5.0)
    short = descended(valley, start, -wide, wide, 5)
    assert short.evaluations <= 5 + 20
    assert 1e-3 < valley(short.z)[0] < valley(start)[0]
    again = descended(valley, short.z, -wide, wide, 300)
    np.testing.assert_allclose(again.z, 1.0, atol=1e-2)


@pytest.mark.parametrize("after", [1, 3])
def test_a_stopped_descent_ends_after_the_step_that_was_told_last(after) -> None:
    told = []
    wide = np.full(2, 5.0)
    found = descended(
        valley, np.array([-1.2, 1.0]), -wide, wide, 300, lambda: len(told) >= after, lambda: told.append(1)
    )
    assert found.iterations == len(told) == after
