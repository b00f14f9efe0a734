"""Beams and the beamlets that cover a target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError
from tailort.geometry import beam_axes
from tailort.optimisation import arrange, beamlets_covering, equispaced, isocentre
from tailort.patient import Structure
from tailort.physics.machines import machine

GENERIC = machine("generic-6MV")


def ball(radius_mm: float, centre, step_mm: float = 3.0) -> list[np.ndarray]:
    contours = []
    for z in np.arange(-radius_mm + step_mm / 2, radius_mm, step_mm):
        angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        r = np.sqrt(radius_mm**2 - z**2)
        circle = np.stack([r * np.cos(angle), r * np.sin(angle), np.full(60, z)], axis=1)
        contours.append(circle + np.asarray(centre))
    return contours


@pytest.mark.parametrize("n", [3, 5, 7, 9])
def test_an_odd_number_of_equispaced_beams_has_no_opposing_pair(n) -> None:
    angles = np.array(equispaced(n))
    apart = np.abs((angles[:, None] - angles[None, :] + 180.0) % 360.0 - 180.0)
    assert apart.max() < 180.0 - 1e-9
    assert np.sort(apart[0])[1] == pytest.approx(360.0 / n)


@given(
    gantry=st.floats(0, 359.0),
    collimator=st.sampled_from([0.0, 10.0, 45.0, 90.0]),
    margin=st.floats(3.0, 12.0),
    position=st.sampled_from(["HFS", "HFP", "FFS", "FFP"]),
)
@settings(max_examples=25, deadline=None)
def test_beamlets_cover_the_projection_with_its_margin_and_little_more(gantry, collimator, margin, position) -> None:
    radius, iso = 25.0, (12.0, -30.0, 107.0)
    centre = (20.0, -22.0, 100.0)
    setups = arrange([gantry], iso, collimator)
    beamlets = beamlets_covering(setups, ball(radius, centre), GENERIC, position, margin)
    axes = beam_axes(gantry, collimator, 0.0, position)
    x0, y0, height = axes @ (np.array(centre) - np.array(iso))
    scale = 1000.0 / (1000.0 - height)
    x0, y0 = x0 * scale, y0 * scale
    wide = radius * scale + margin
    angle = np.linspace(0, 2 * np.pi, 200)
    # Contours every 3 mm miss up to a slice at each end of the ball, so stay 2 mm within the edge.
    for share in (1.0, 0.6, 0.2):
        x = x0 + share * (wide - 2.0) * np.cos(angle)
        y = y0 + share * (wide - 2.0) * np.sin(angle)
        near = (np.abs(beamlets.x_mm - x[:, None]) <= 2.5) & (np.abs(beamlets.y_mm - y[:, None]) <= 2.5)
        assert near.any(axis=1).all()
    away = np.hypot(beamlets.x_mm - x0, beamlets.y_mm - y0)
    assert away.max() <= wide + 2.5 * np.sqrt(2) + 2.0


def test_beamlets_lie_on_leaves_and_columns_without_holes_in_a_row() -> None:
    two = ball(12.0, (-30.0, 0.0, 0.0)) + ball(12.0, (30.0, 0.0, 0.0))
    beamlets = beamlets_covering(arrange(equispaced(3), (0, 0, 0)), two, GENERIC, "HFS", 5.0)
    edges = np.asarray(GENERIC.leaf_boundaries_mm)
    assert np.isin(beamlets.y_mm - 2.5, edges).all()
    np.testing.assert_allclose(np.mod(beamlets.x_mm, 5.0), 2.5)
    for beam in range(3):
        for y in np.unique(beamlets.y_mm[beamlets.beam == beam]):
            x = np.sort(beamlets.x_mm[(beamlets.beam == beam) & (beamlets.y_mm == y)])
            np.testing.assert_allclose(np.diff(x), 5.0)


def test_moving_patient_and_isocentre_together_moves_no_beamlet() -> None:
    here = beamlets_covering(arrange(equispaced(5), (0, 0, 0)), ball(20.0, (5, 5, 5)), GENERIC, "HFS", 5.0)
    there = beamlets_covering(arrange(equispaced(5), (100, -50, 300)), ball(20.0, (105, -45, 305)), GENERIC, "HFS", 5.0)
    np.testing.assert_array_equal(here.x_mm, there.x_mm)
    np.testing.assert_array_equal(here.y_mm, there.y_mm)


def test_a_nearer_target_throws_a_larger_shadow() -> None:
    setups = arrange([0.0], (0, 0, 0))
    far = beamlets_covering(setups, ball(30.0, (0, 150, 0)), GENERIC, "HFS", 5.0)
    near = beamlets_covering(setups, ball(30.0, (0, -150, 0)), GENERIC, "HFS", 5.0)
    assert len(near) > len(far)


def test_a_target_beyond_the_leaves_is_refused() -> None:
    with pytest.raises(GeometryError, match="leaves"):
        beamlets_covering(arrange([0.0], (0, 0, 300)), ball(20.0, (0, 0, 0)), GENERIC, "HFS", 5.0)
    with pytest.raises(GeometryError, match="isocentre"):
        beamlets_covering(arrange([0.0], (300, 0, 0)), ball(20.0, (0, 0, 0)), GENERIC, "HFS", 5.0)


def test_the_isocentre_is_the_middle_of_the_target() -> None:
    structure = Structure("PTV", "PTV", tuple(ball(20.0, (7.2, -3.4, 100.0), 2.0)), "1.2.3")
    assert isocentre(structure) == (7.0, -3.0, 100.0)


def test_beams_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError):
        equispaced(0)
    with pytest.raises(InputError):
        arrange([], (0, 0, 0))
    with pytest.raises(InputError, match="same gantry"):
        arrange([0.0, 360.0], (0, 0, 0))
