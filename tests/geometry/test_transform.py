import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tailort.errors import GeometryError
from tailort.geometry import Transform

POINTS = np.random.default_rng(2).normal(size=(6, 3)) * 100


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] += draw(arrays(float, (3, 3), elements=st.floats(-0.25, 0.25)))
    matrix[:3, 3] = draw(arrays(float, 3, elements=st.floats(-100, 100)))
    return matrix


@given(affines())
def test_a_map_and_its_inverse_change_nothing(affine: np.ndarray) -> None:
    there = Transform("a", "b", affine, 1.5, "by hand")
    back = there.inverse()
    assert (back.from_frame, back.to_frame, back.uncertainty_mm) == ("b", "a", 1.5)
    np.testing.assert_allclose(back.apply(there.apply(POINTS)), POINTS, atol=1e-7)
    np.testing.assert_allclose(there.then(back).affine, np.eye(4), atol=1e-9)


@given(affines(), affines())
def test_one_map_followed_by_another_is_both_in_turn(first: np.ndarray, second: np.ndarray) -> None:
    a, b = Transform("a", "b", first, 3.0), Transform("b", "c", second, 4.0)
    both = a.then(b)
    assert (both.from_frame, both.to_frame) == ("a", "c")
    assert both.uncertainty_mm == pytest.approx(5.0)
    np.testing.assert_allclose(both.apply(POINTS), b.apply(a.apply(POINTS)), atol=1e-7)


def test_an_unknown_uncertainty_stays_unknown() -> None:
    known, unknown = Transform("a", "b", np.eye(4), 3.0), Transform("b", "c", np.eye(4))
    assert known.then(unknown).uncertainty_mm is None
    assert unknown.inverse().uncertainty_mm is None


def test_maps_that_do_not_meet_in_a_frame_are_refused() -> None:
    with pytest.raises(GeometryError, match="into frame b cannot be followed by one from frame x"):
        Transform("a", "b", np.eye(4)).then(Transform("x", "c", np.eye(4)))


def test_a_map_without_inverse_is_refused() -> None:
    with pytest.raises(GeometryError, match="singular"):
        Transform("a", "b", np.diag([1.0, 0, 1, 1]))
