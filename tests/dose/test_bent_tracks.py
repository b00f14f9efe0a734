"""Turning of primary electrons: what must not change, and what must change which way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailort.dose.bent_tracks import bent, bent_along_lines
from tailort.dose.cones import Cones, transport

Values = NDArray[np.float32]
Float = NDArray[np.float64]

UNIT = np.eye(3)[::-1].copy()
SPACING_CM = np.array([0.25, 0.25, 0.25])
RADIUS = 0.6
DOWN = np.array([0.0, 1.0, 0.0])
AXES = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1)


def corrected(dose: Values, electrons: Values, axis: Float = DOWN, anchor: tuple[float, ...] = (0, 0, 0)) -> Values:
    out: Values = bent_along_lines(dose, electrons, axis, RADIUS, SPACING_CM, UNIT, np.array(anchor))
    return out


def corrected_as_on_devices(dose: Values, electrons: Values, axis: Float, anchor: tuple[float, ...]) -> Values:
    def carry(soft: Values, hard: Values | None, dense: Values, *cones: Cones) -> list[Values]:
        return transport(soft, hard, None, dense, SPACING_CM, UNIT, np.array(anchor), *cones)

    out: Values = bent(dose, electrons, axis, RADIUS, carry)
    return out


def layers(*parts: tuple[float, float], half: int = 30) -> Values:
    """Electron densities (k, j, i) of layers (density, cm) along j."""
    along = np.concatenate([np.full(round(cm / 0.25), density) for density, cm in parts])
    return np.ascontiguousarray(
        np.broadcast_to(along[None, :, None], (2 * half + 1, len(along), 2 * half + 1)), dtype=np.float32
    )


def field(electrons: Values, half_cm: float, blur: float = 0.4) -> Values:
    """A smooth square of dose, the same in all depths."""
    off = 0.25 * (np.arange(electrons.shape[0]) - electrons.shape[0] // 2)
    across = 1.0 / (1.0 + np.exp((np.abs(off) - half_cm) / (0.4 * blur)))
    return np.ascontiguousarray(
        np.broadcast_to((across[:, None, None] * across[None, None, :]), electrons.shape), dtype=np.float32
    )


@settings(max_examples=10, deadline=None)
@given(st.floats(0.05, 2.0), AXES)
def test_in_even_density_nothing_changes_air_about_it_or_not(density: float, axis: tuple[float, float, float]) -> None:
    electrons = np.full((31, 33, 35), 0.0011, dtype=np.float32)
    electrons[8:-8, 8:-8, 8:-8] = density
    inside = electrons > 0.01
    dose = np.random.default_rng(1).uniform(0.5, 1.0, electrons.shape).astype(np.float32) * inside
    whole = np.full_like(electrons, density)
    np.testing.assert_array_equal(corrected(dose, whole, np.array(axis)), dose)
    np.testing.assert_allclose(corrected(dose, electrons, np.array(axis))[inside], dose[inside], atol=2e-3)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), AXES)
def test_even_dose_stays_even_in_any_densities(seed: int, axis: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    electrons = rng.choice([0.1, 0.26, 1.0, 1.8], (25, 25, 25)).astype(np.float32) * np.float32(8.0)
    changed = corrected(np.ones_like(electrons), electrons, np.array(axis))
    np.testing.assert_allclose(changed[10:15, 10:15, 10:15], 1.0, atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), AXES, st.sampled_from([(23, 29, 37), (9, 41, 70), (66, 35, 7)]))
def test_lines_change_what_whole_arrays_do(
    seed: int, axis: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    """Densities so high that nothing passes a cut-off of the carried energy; dose in a part of the voxels."""
    rng = np.random.default_rng(seed)
    electrons = rng.choice([0.26, 1.0, 1.8], shape).astype(np.float32)
    dose = np.zeros(shape, dtype=np.float32)
    dose[2:-3, 3:-2, 1:-4] = rng.uniform(0.0, 1.0, dose[2:-3, 3:-2, 1:-4].shape)
    dose[rng.uniform(size=shape) < 0.5] = 0.0
    anchor = tuple(rng.uniform(-5, 40, 3))
    lines, arrays = (change(dose, electrons, np.array(axis), anchor) for change in (corrected, corrected_as_on_devices))
    assert np.abs(lines - dose).max() > 0.02
    np.testing.assert_allclose(lines, arrays, atol=1e-4)


@pytest.mark.parametrize("along", [0, 1, 2])
def test_voxels_beside_a_beam_in_a_corner_do_not_matter(along: int) -> None:
    rng = np.random.default_rng(along)
    electrons = rng.choice([0.1, 0.26, 1.0, 1.8], (40, 38, 44)).astype(np.float32)
    own = tuple(slice(None) if axis == along else slice(0, 13) for axis in range(3))
    dose = np.zeros_like(electrons)
    dose[own] = rng.uniform(0.2, 1.0, dose[own].shape)
    axis = UNIT[along] * (-1.0) ** along
    whole = corrected(dose, electrons, axis, (3.2, 4.1, 5.3))
    alone = corrected(np.ascontiguousarray(dose[own]), np.ascontiguousarray(electrons[own]), axis, (3.2, 4.1, 5.3))
    assert np.abs(alone - dose[own]).max() > 0.02
    np.testing.assert_allclose(whole[own], alone, atol=1e-6)
    opposite = tuple(slice(None, None, -1) if axis != along else slice(None) for axis in range(3))
    turned = np.ascontiguousarray(electrons[opposite]), np.ascontiguousarray(dose[opposite])
    anchor = tuple(a if n == along else electrons.shape[n] - 1 - a for n, a in enumerate((3.2, 4.1, 5.3)))
    np.testing.assert_allclose(corrected(turned[1], turned[0], axis, anchor)[opposite], whole, atol=2e-3)


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
