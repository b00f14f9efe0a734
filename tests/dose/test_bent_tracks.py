"""Turning of primary electrons: what must not change, and what must change which way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailort.dose.bent_tracks import bent
from tailort.dose.cones import Cones, transport

UNIT = np.eye(3)[::-1].copy()
SPACING_CM = np.array([0.25, 0.25, 0.25])
RADIUS = 0.6
DOWN = np.array([0.0, 1.0, 0.0])


def corrected(dose: NDArray[np.float32], electrons: NDArray[np.float32], axis: NDArray[np.float64] = DOWN):  # type: ignore[no-untyped-def]
    def carry(soft, hard, dense, *cones: Cones):  # type: ignore[no-untyped-def]
        return transport(soft, hard, None, dense, SPACING_CM, UNIT, np.zeros(3), *cones)

    return bent(dose, electrons, axis, RADIUS, carry)


def layers(*parts: tuple[float, float], half: int = 30) -> NDArray[np.float32]:
    """Electron densities (k, j, i) of layers (density, cm) along j."""
    along = np.concatenate([np.full(round(cm / 0.25), density) for density, cm in parts])
    return np.ascontiguousarray(
        np.broadcast_to(along[None, :, None], (2 * half + 1, len(along), 2 * half + 1)), dtype=np.float32
    )


def field(electrons: NDArray[np.float32], half_cm: float, blur: float = 0.4) -> NDArray[np.float32]:
    """A smooth square of dose, the same in all depths."""
    off = 0.25 * (np.arange(electrons.shape[0]) - electrons.shape[0] // 2)
    across = 1.0 / (1.0 + np.exp((np.abs(off) - half_cm) / (0.4 * blur)))
    return np.ascontiguousarray(
        np.broadcast_to((across[:, None, None] * across[None, None, :]), electrons.shape), dtype=np.float32
    )


@settings(max_examples=10, deadline=None)
@given(st.floats(0.05, 2.0), st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1))
def test_in_even_density_nothing_changes_air_about_it_or_not(density: float, axis: tuple[float, float, float]) -> None:
    electrons = np.full((31, 33, 35), 0.0011, dtype=np.float32)
    electrons[8:-8, 8:-8, 8:-8] = density
    inside = electrons > 0.01
    dose = np.random.default_rng(1).uniform(0.5, 1.0, electrons.shape).astype(np.float32) * inside
    whole = np.full_like(electrons, density)
    np.testing.assert_array_equal(corrected(dose, whole, np.array(axis)), dose)
    np.testing.assert_allclose(corrected(dose, electrons, np.array(axis))[inside], dose[inside], atol=2e-3)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1))
def test_even_dose_stays_even_in_any_densities(seed: int, axis: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    electrons = rng.choice([0.1, 0.26, 1.0, 1.8], (25, 25, 25)).astype(np.float32) * np.float32(8.0)
    changed = corrected(np.ones_like(electrons), electrons, np.array(axis))
    np.testing.assert_allclose(changed[10:15, 10:15, 10:15], 1.0, atol=2e-3)


def test_in_layers_energy_only_moves_within_each() -> None:
    electrons = layers((1.0, 5.0), (0.4, 5.0), (1.0, 5.0), half=40)
    # Penumbras as behind lung: of sharper ones the little that is less than nothing is cut off.
    dose = field(electrons, 2.0, 1.2)
    before, after = (values.sum(axis=(0, 2), dtype=np.float64) for values in (dose, corrected(dose, electrons)))
    np.testing.assert_allclose(after, before, rtol=0.005)
    assert np.abs(corrected(dose, electrons) - dose).max() > 0.02


def test_energy_spreads_behind_a_fall_of_the_density_and_gathers_behind_a_rise() -> None:
    electrons = layers((1.0, 5.0), (0.26, 10.0), (1.0, 5.0))
    dose = field(electrons, 1.0)
    axis = corrected(dose, electrons)[30, :, 30] / dose[30, :, 30]
    np.testing.assert_allclose(axis[:19], 1.0, atol=1e-4)
    # Tracks of 10 MV FFF behind 5 cm of water, 2 x 2 cm, 0.1 and 0.3 g/cm2 into lung: 0.86 and 0.84 of the straight
    # ones' energy on the axis; 1.12 and 1.12 behind lung.
    assert 0.75 < axis[22] < 0.92
    assert axis[58] > 0.95
    assert 1.04 < axis[61] < 1.20
    assert axis[79] == pytest.approx(1.0, abs=0.02)


def test_wide_fields_keep_their_axis() -> None:
    electrons = layers((1.0, 5.0), (0.26, 5.0), (1.0, 5.0), half=48)
    dose = field(electrons, 10.0)
    changed = corrected(dose, electrons)
    np.testing.assert_allclose(changed[48, :, 48], dose[48, :, 48], atol=0.006)


def test_the_change_goes_with_the_dose() -> None:
    electrons = layers((1.0, 5.0), (0.26, 5.0), (1.0, 5.0), half=20)
    dose = field(electrons, 1.5)
    np.testing.assert_allclose(corrected(3 * dose, electrons), 3 * corrected(dose, electrons), rtol=1e-5, atol=1e-6)


def test_no_dose_comes_out_below_zero() -> None:
    electrons = layers((1.0, 5.0), (0.15, 10.0), (1.0, 5.0))
    assert corrected(field(electrons, 1.0, 0.1), electrons).min() >= 0.0


def test_bone_is_the_other_way_round() -> None:
    electrons = layers((1.0, 5.0), (1.7, 3.0), (1.0, 5.0))
    dose = field(electrons, 1.0)
    axis = corrected(dose, electrons)[30, :, 30] / dose[30, :, 30]
    assert axis[21] > 1.0
    assert axis[33] < 1.0
