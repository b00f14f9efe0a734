"""Directions of beam and patient against the definitions of IEC 61217."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.geometry import beam_axes

LEFT, BACK, HEAD = np.eye(3)
angles = st.floats(0, 360)
positions = st.sampled_from(["HFS", "HFP", "FFS", "FFP"])


@given(angles, angles, angles, positions)
def test_the_axes_are_orthonormal_and_right_handed(g: float, c: float, s: float, position: str) -> None:
    axes = beam_axes(g, c, s, position)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)


@pytest.mark.parametrize(
    ("position", "above", "gantry_90", "to_gantry"),
    [
        ("HFS", -BACK, LEFT, HEAD),
        ("HFP", BACK, -LEFT, HEAD),
        ("FFS", -BACK, -LEFT, -HEAD),
        ("FFP", BACK, LEFT, -HEAD),
    ],
)
def test_the_beam_comes_from_the_right_side_in_every_patient_position(
    position: str, above: np.ndarray, gantry_90: np.ndarray, to_gantry: np.ndarray
) -> None:
    for gantry, source in ((0, above), (90, gantry_90), (180, -above), (270, -gantry_90)):
        np.testing.assert_allclose(beam_axes(gantry, 0, 0, position)[2], source, atol=1e-12)
    # The y axis of the collimator points to the gantry whatever the gantry angle.
    np.testing.assert_allclose(beam_axes(37, 0, 0, position)[1], to_gantry, atol=1e-12)


def test_a_positive_collimator_angle_turns_x_towards_y_seen_from_the_source() -> None:
    straight, turned = beam_axes(50, 0, 0, "HFS"), beam_axes(50, 90, 0, "HFS")
    np.testing.assert_allclose(turned[0], straight[1], atol=1e-12)
    np.testing.assert_allclose(turned[1], -straight[0], atol=1e-12)
    np.testing.assert_allclose(turned[2], straight[2], atol=1e-12)


def test_a_positive_couch_angle_turns_the_head_anticlockwise_seen_from_above() -> None:
    # Head first supine, couch 90: the head lies where gantry 270 shines from, so gantry 90 comes from the feet.
    np.testing.assert_allclose(beam_axes(270, 0, 90, "HFS")[2], HEAD, atol=1e-12)
    np.testing.assert_allclose(beam_axes(90, 0, 90, "HFS")[2], -HEAD, atol=1e-12)
    np.testing.assert_allclose(beam_axes(0, 0, 90, "HFS")[2], -BACK, atol=1e-12)


@given(angles, positions)
def test_at_gantry_0_a_collimator_turned_with_the_couch_keeps_its_place_on_the_patient(a: float, position: str) -> None:
    np.testing.assert_allclose(beam_axes(0, a, a, position), beam_axes(0, 0, 0, position), atol=1e-12)
