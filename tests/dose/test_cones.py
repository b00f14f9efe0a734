"""Transport along collapsed cones: laws that hold for any densities, and answers known on paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailort.dose.cones import Cones, transport
from tailort.physics import machine
from tailort.physics.point_kernel import PointKernel, point_kernel

UNIT = np.eye(3)[::-1].copy()
SPACING_CM = np.array([0.3, 0.25, 0.25])


def kernel(name: str = "point-6MV") -> PointKernel:
    return point_kernel(machine(name).spectrum)


def spread(  # type: ignore[no-untyped-def]
    terma: NDArray[np.float64],
    electrons: NDArray[np.float64],
    axis: tuple[float, float, float],
    *,
    hard: float = 0.0,
    anchor: tuple[float, float, float] = (0, 0, 0),
    asked: NDArray[np.bool_] | None = None,
):
    along = np.array(axis) / np.linalg.norm(axis)
    flow = (terma[None] * along[:, None, None, None]).astype(np.float32)
    soft, stiff = ((part * terma).astype(np.float32) for part in (1 - hard, hard))
    kernels = [Cones.around(along, rings) for rings in (kernel().primary, kernel().scatter)]
    dense = electrons.astype(np.float32)
    return sum(transport(soft, stiff, flow, dense, SPACING_CM, UNIT, np.array(anchor), *kernels, asked=asked))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1))
def test_energy_neither_comes_nor_goes_whatever_the_densities(seed: int, axis: tuple[float, float, float]) -> None:
    """What a point releases in a body so dense that nothing escapes is left in it: electrons times dose add up."""
    rng = np.random.default_rng(seed)
    electrons = rng.uniform(100.0, 300.0, (19, 21, 21))
    terma = np.zeros(electrons.shape)
    terma[9, 10, 10] = 1.0
    left = spread(terma, electrons, axis, hard=float(rng.uniform(0, 1)))
    assert float((left * electrons).sum()) == pytest.approx(float(electrons[9, 10, 10]), rel=3e-3)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_in_even_terma_the_dose_is_the_terma_in_any_densities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    electrons = rng.uniform(30.0, 90.0, (15, 17, 17))
    left = spread(np.ones(electrons.shape), electrons, (0.2, 0.3, 1.0))
    np.testing.assert_allclose(left[7, 8, 8], 1.0, rtol=3e-3)


def test_dose_is_linear_in_terma() -> None:
    rng = np.random.default_rng(1)
    electrons = rng.uniform(0.2, 1.5, (12, 14, 13))
    one, two = (rng.uniform(0, 1, electrons.shape) * (rng.uniform(size=electrons.shape) > 0.7) for _ in range(2))
    together = spread(one + 2 * two, electrons, (0, 0, 1))
    np.testing.assert_allclose(
        together, spread(one, electrons, (0, 0, 1)) + 2 * spread(two, electrons, (0, 0, 1)), rtol=1e-4, atol=1e-5
    )


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 10_000),
    st.tuples(*[st.integers(0, 4)] * 3),
    st.tuples(*[st.floats(-20.0, 40.0)] * 3),
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1),
)
def test_dose_does_not_depend_on_where_the_grid_begins(
    seed: int, more: tuple[int, int, int], anchor: tuple[float, float, float], axis: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(seed)
    terma = rng.uniform(0, 1, (9, 11, 10))
    electrons = rng.uniform(0.2, 1.5, terma.shape)
    wider = [np.pad(values, [(n, 0) for n in more]) for values in (terma, electrons)]
    moved = tuple(a + n for a, n in zip(anchor, more, strict=True))
    there = spread(*wider, axis, anchor=moved)[more[0] :, more[1] :, more[2] :]  # type: ignore[arg-type]
    # The place of a line is rounded: one of thousands of jumps may fall to the other side.
    np.testing.assert_allclose(there, spread(terma, electrons, axis, anchor=anchor), rtol=1e-4, atol=2e-4)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.003, 0.1]),
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1),
)
def test_voxels_that_are_asked_for_have_the_energy_they_have_anyway(
    seed: int, share: float, axis: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(seed)
    electrons = rng.uniform(0.001, 1.5, (13, 12, 14))
    terma = rng.uniform(0, 1, electrons.shape) * (rng.uniform(size=electrons.shape) > 0.8)
    asked = rng.uniform(size=electrons.shape) < share
    asked[5, 6, 7] = True
    all_of_it, some = (spread(terma, electrons, axis, asked=which) for which in (None, asked))
    # A line whose rate is negligible at its end is dropped there: not in the same place with and without more columns.
    np.testing.assert_allclose(some[asked], all_of_it[asked], rtol=1e-4, atol=1e-4 * all_of_it.max())
    assert (some <= all_of_it * (1 + 1e-4) + 1e-4 * all_of_it.max()).all()
    if share == 0.0:
        assert some.sum() < 0.9 * all_of_it.sum()


def test_an_exponential_along_one_line_is_the_one_on_paper() -> None:
    """One direction, one term: behind a released slab the rate falls as exp(-a l), and dose is its mean by voxel."""
    a, step = 1.7, 0.25
    terma = np.zeros((40, 3, 3), dtype=np.float32)
    terma[5] = 1.0
    cones = Cones(
        np.array([[0.0, 0.0, 1.0]]), np.array([[a]]), np.array([[[1.0], [0.0]]]), np.eye(3)[:2], np.zeros((1, 2, 1))
    )
    flow = np.zeros((3, *terma.shape), dtype=np.float32)
    dense = np.full(terma.shape, 1.0, dtype=np.float32)
    (left,) = transport(terma, np.zeros_like(terma), flow, dense, np.full(3, step), UNIT, np.zeros(3), cones)
    left = left[:, 1, 1]
    x = a * step
    expected = np.zeros(40)
    expected[5] = 1 - (1 - np.exp(-x)) / x
    behind = np.arange(34)
    expected[6:] = (1 - np.exp(-x)) * np.exp(-behind * x) * (1 - np.exp(-x)) / x
    np.testing.assert_allclose(left, expected, atol=2e-5)
    assert left[:5].max() == 0.0


@pytest.mark.parametrize("name", ["point-6MV", "point-10MV-FFF"])
def test_the_weights_of_all_rings_add_up_to_the_energy(name: str) -> None:
    rings = kernel(name).primary + kernel(name).scatter
    np.testing.assert_allclose(sum(ring.weights.sum(axis=1) for ring in rings), 1.0, atol=1e-9)


def test_at_least_48_cones_in_each_part() -> None:
    assert sum(ring.count for ring in kernel().primary) >= 48
    assert sum(ring.count for ring in kernel().scatter) >= 48


def test_turning_the_flow_turns_the_mean_direction_of_the_energy_by_the_same_angle() -> None:
    axis, angle = np.array([0.0, 0.0, 1.0]), 0.05
    for rings in (kernel().primary, kernel().scatter):
        cones = Cones.around(axis, rings)
        flown = cones.across @ np.array([np.sin(angle), 0.0, np.cos(angle)])
        share = cones.weights.mean(axis=1).sum(axis=1) + np.einsum("a,nam->n", flown, cones.turns)
        mean = share @ cones.directions
        assert np.arctan2(mean[0], mean[2]) == pytest.approx(angle, rel=0.02)
        assert mean[1] == pytest.approx(0.0, abs=1e-3)
