"""The Monte Carlo against NIST, Klein and Nishina, and kernels of another code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.geometry.iec import beam_axes
from tailort.physics.attenuation import attenuation_cm2_g, energy_absorption_cm2_g
from tailort.physics.montecarlo import Arc, box_dose, medium, monoenergetic_kernel, pencil_dose
from tailort.physics.montecarlo.boxes import aim
from tailort.physics.montecarlo.materials import (
    ELECTRON_MASS_MEV,
    energies_mev,
    klein_nishina_cm2,
    klein_nishina_transfer_cm2,
)
from tailort.physics.montecarlo.transport import compton_share, scatter_cosine, seeded
from tailort.physics.point_kernel import kernel_table
from tailort.physics.spectrum import Spectrum, packaged_spectrum

OTHER = Path(__file__).parents[3] / "shared" / "reference" / "photon-data" / "kernel_mono.csv"


@pytest.mark.parametrize(("energy", "pairs"), [(2.0, 0.008), (3.0, 0.029), (5.0, 0.084), (10.0, 0.23)])
def test_pairs_have_their_share_of_the_attenuation_in_water(energy: float, pairs: float) -> None:
    """XCOM: 0.8, 2.9, 8.4, 23 % at 2, 3, 5, 10 MeV."""
    water = medium("water")
    assert np.interp(energy, energies_mev(), water.pair) == pytest.approx(pairs, abs=0.004)


@pytest.mark.parametrize("name", ["water", "lung", "bone"])
def test_attenuation_is_that_of_nist_without_coherent_scattering(name: str) -> None:
    e = np.array([0.3, 0.6, 1.0, 2.0, 5.0, 10.0])
    found = np.interp(e, energies_mev(), medium(name).attenuation)
    np.testing.assert_allclose(found, attenuation_cm2_g(name, e), rtol=0.015)


@pytest.mark.parametrize(
    ("energy", "stopping"), [(0.1, 4.115), (0.5, 2.034), (1.0, 1.849), (2.0, 1.824), (5.0, 1.911), (10.0, 1.968)]
)
def test_collision_stopping_power_of_water(energy: float, stopping: float) -> None:
    """Recalled ESTAR values, 1 % apart at most."""
    assert np.interp(energy, energies_mev(), medium("water").stopping) == pytest.approx(stopping, rel=0.01)


@pytest.mark.parametrize("energy", [0.3, 1.25, 6.0])
def test_compton_photons_keep_the_energy_that_klein_and_nishina_say(energy: float) -> None:
    state = seeded(5, 0)
    kept = np.array([compton_share(energy, state) for _ in range(20_000)])
    least = 1 / (1 + 2 * energy / ELECTRON_MASS_MEV)
    assert kept.min() >= least * 0.999999
    assert kept.max() <= 1.0
    at = np.array([energy])
    expected = 1 - float(klein_nishina_transfer_cm2(at)[0] / klein_nishina_cm2(at)[0])
    assert kept.mean() == pytest.approx(expected, abs=4 * kept.std() / np.sqrt(len(kept)))


@pytest.mark.parametrize("strength", [0.003, 0.05, 0.3, 1.0])
def test_the_mean_cosine_of_multiple_scattering_is_the_one_asked_for(strength: float) -> None:
    state = seeded(7, 1)
    cosines = np.array([scatter_cosine(strength, state) for _ in range(20_000)])
    assert (np.abs(cosines) <= 1.0).all()
    assert cosines.mean() == pytest.approx(np.exp(-strength), abs=5 * cosines.std() / np.sqrt(len(cosines)) + 2e-3)


def test_nothing_of_a_photons_energy_is_lost() -> None:
    for energy in (0.4, 2.0, 8.0):
        total, primary, _, beyond = monoenergetic_kernel(energy, 4_000, 1)
        assert total.sum() + beyond == pytest.approx(1.0, abs=1e-9)
        assert (primary <= total + 1e-12).all()


def test_the_same_seed_gives_the_same_kernel() -> None:
    first, second, other = (monoenergetic_kernel(2.0, 2_000, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0


@pytest.mark.parametrize("energy", [0.4, 1.0, 2.0, 3.0, 4.0])
def test_the_primary_share_of_the_packaged_kernels_is_mu_en_over_mu(energy: float) -> None:
    table = kernel_table()
    n = int(np.flatnonzero(np.isclose(table.energies_mev, energy))[0])
    expected = energy_absorption_cm2_g("water", energy) / attenuation_cm2_g("water", energy)
    assert table.primary[n].sum() == pytest.approx(float(expected), rel=0.01)


@pytest.mark.skipif(not OTHER.exists(), reason="../shared with the kernels of another code is not there")
def test_the_packaged_kernels_agree_with_those_of_another_code() -> None:
    """EGSnrc (spin off): sums within 1 %, mean distance within 2 %, mean depth of the primary within 4 %."""
    rows = np.genfromtxt(OTHER, delimiter=",", skip_header=4)
    table = kernel_table()
    radii = table.radii_cm - np.diff(table.radii_cm, prepend=0.0) / 2
    cosines = np.cos(np.deg2rad(table.polar_deg - np.diff(table.polar_deg, prepend=0.0) / 2))
    for energy in (1.0, 2.0, 4.0, 8.0):
        n = int(np.flatnonzero(np.isclose(table.energies_mev, energy))[0])
        own = rows[np.isclose(rows[:, 0], energy)]
        total, primary = own[:, 3].reshape(48, 24), own[:, 5].reshape(48, 24)
        assert table.total[n].sum() == pytest.approx(total.sum(), rel=0.005)
        assert table.primary[n].sum() == pytest.approx(primary.sum(), rel=0.01)
        for mine, theirs, tolerance in (
            (table.primary[n], primary, 0.02),
            (table.total[n] - table.primary[n], total - primary, 0.02),
        ):
            assert mine.sum(axis=0) @ radii / mine.sum() == pytest.approx(
                theirs.sum(axis=0) @ radii / theirs.sum(), rel=tolerance
            )
        depth = (table.primary[n] @ radii) @ cosines / table.primary[n].sum()
        assert depth == pytest.approx((primary @ radii) @ cosines / primary.sum(), rel=0.04)


def test_a_thin_beam_in_water_is_absorbed_at_the_rate_of_its_photons() -> None:
    """Far from its surface a wide field falls by what NIST says, less build-up: between mu_en and mu."""
    dose, _ = pencil_dose(Spectrum([1.25], [1.0]), (("water", 1.0, 30.0),), 60_000, 3, depth_bin_cm=1.0).field(8.0, 2.0)
    attenuation = np.log(dose[3:8].mean() / dose[13:18].mean()) / 10.0 - 2 * np.log(115.5 / 105.5) / 10.0
    assert 0.0297 < attenuation < 0.0632


def test_a_slab_of_water_in_two_layers_is_one_slab() -> None:
    spectrum = Spectrum([2.0], [1.0])
    one = pencil_dose(spectrum, (("water", 1.0, 20.0),), 40_000, 1, depth_bin_cm=1.0)
    two = pencil_dose(spectrum, (("water", 1.0, 7.0), ("water", 1.0, 13.0)), 40_000, 2, depth_bin_cm=1.0)
    (first, e1), (second, e2) = one.field(5.0, 1.5), two.field(5.0, 1.5)
    assert (np.abs(first - second) < 5 * np.hypot(e1, e2)).all()


LUNG_BOX = (("water", 1.0, 8.0), ("lung", 0.26, 8.0), ("water", 1.0, 8.0))


def test_a_box_under_a_static_field_has_the_dose_of_its_layers_on_the_axis() -> None:
    """The layers begin 88 cm from the source, where 5 cm of the isocentre plane are 4.4; the box ends far from it."""
    spectrum = packaged_spectrum("fff10")
    box = box_dose(spectrum, Arc.static(0.0, (5.0, 5.0)), LUNG_BOX, 24.0, 400_000, 1)
    ray = pencil_dose(spectrum, LUNG_BOX, 200_000, 2, depth_bin_cm=0.5, source_distance_cm=88.0)
    left, head = (np.abs(faces[1:] + faces[:-1]) / 2 < 1.0 for faces in (box.left_cm, box.head_cm))
    found = box.dose[:, :, left][:, :, :, head].mean(axis=(2, 3))
    # The square is a centimetre wide on both sides in the middle of the box.
    wanted, spread = (values / 0.88**2 for values in ray.field(4.4, 0.88))
    error = np.hypot(found.std(axis=0, ddof=1) / np.sqrt(len(found)), spread)
    assert (np.abs(found.mean(axis=0) - wanted) < 4.5 * error).all()
    # Over all depths the errors are small enough to see a wrong density or distance.
    assert found.mean() == pytest.approx(wanted.mean(), rel=0.01)


def test_what_an_arc_sends_into_a_box_stays_or_leaves() -> None:
    """Photons aside the box too; all of the energy is in the voxels or gone."""
    arc = Arc(np.array([0.0, 1.0]), np.array([10.0, 300.0]), np.tile([[-9.0], [4.0]], (2, 1, 1)), np.array([-2.0, 9.0]))
    found = box_dose(Spectrum([0.3, 1.0, 9.0], [1.0, 1.0, 1.0]), arc, LUNG_BOX, 12.0, 20_000, 3)
    np.testing.assert_allclose(found.kept + found.gone, found.sent, rtol=1e-9)
    assert (found.kept > 0).all()
    assert (found.gone > 0).all()
    density = np.repeat([1.0, 0.26, 1.0], 16)[:, None, None]
    fluence = 20_000 / 20 / (13.0 * 11.0)
    np.testing.assert_allclose((found.dose * density).sum(axis=(1, 2, 3)) * 0.5**3 * fluence, found.kept)


def test_gantry_and_aperture_stand_as_in_iec_61217() -> None:
    """An opening right of the axis and towards the gantry; mean place of the dose on the side of the source."""
    leaves = np.tile([[0.0], [3.0]], (2, 1, 1))
    for gantry in (0.0, 90.0, 200.0):
        arc = Arc(np.array([0.0, 1.0]), np.full(2, gantry), leaves, np.array([0.0, 2.0]))
        dose, _ = box_dose(Spectrum([0.5], [1.0]), arc, (("water", 1.0, 20.0),), 20.0, 20_000, 1).mean()
        middles = np.arange(-9.75, 10.0, 0.5)
        back, left, head = (
            (dose.sum(axis=tuple(n for n in range(3) if n != axis)) @ middles) / dose.sum() for axis in range(3)
        )
        x, y, z = beam_axes(gantry, 0.0, 0.0, "HFS") @ np.array([left, back, head])
        assert x == pytest.approx(1.45, abs=0.2)
        assert y == pytest.approx(0.97, abs=0.2)
        assert z > 1.5


def test_photons_pass_the_moving_opening_evenly_and_as_the_mu_say() -> None:
    """Two pairs; the second interval has three quarters of the MU; leaves move over both."""
    mu, gantry = np.array([0.0, 1.0, 1.0, 4.0]), np.deg2rad([0.0, 20.0, 30.0, 90.0])
    leaves = np.array([[[-1, 0], [1, 2]], [[-2, 0], [1, 0]], [[-2, 0], [1, 0]], [[-2, -1], [4, 1]]], dtype=float)
    arc = Arc(mu, np.rad2deg(gantry), leaves, np.array([-1.0, 0.0, 2.0]))
    bounds = np.array(arc.bounds_cm)
    np.testing.assert_array_equal(bounds, [-2.0, 4.0, -1.0, 2.0])
    state, place, direction = seeded(11, 0), np.empty(3), np.empty(3)
    count = 100_000
    drawn = np.empty((count, 4))
    for n in range(count):
        x, y, passes = aim(mu, gantry, arc.leaves_cm, arc.boundaries_cm, bounds, 100.0, place, direction, state)
        drawn[n] = x, y, passes, np.arctan2(place[0], -place[2])
    x, y, passes, angle = drawn.T
    late = angle > np.deg2rad(25.0)
    assert late.mean() == pytest.approx(0.75, abs=0.006)
    # Within an interval the gantry moves evenly: means of 20 and 60 degrees.
    assert np.rad2deg(angle[late].mean()) == pytest.approx(60.0, abs=0.3)
    assert not ((angle > np.deg2rad(20.001)) & ~late).any()
    # What passes is exactly what the leaves leave open at that moment.
    t = np.where(late, np.rad2deg(angle) - 30.0, np.rad2deg(angle)) / np.where(late, 60.0, 20.0)
    first, pair = np.where(late, 2, 0), np.where(y < 0, 0, 1)
    low, high = (leaves[first, n, pair] + t * (leaves[first + 1, n, pair] - leaves[first, n, pair]) for n in (0, 1))
    sure = (np.abs(x - low) > 1e-6) & (np.abs(x - high) > 1e-6)
    np.testing.assert_array_equal(passes[sure] > 0, ((x > low) & (x < high))[sure])
    # Openings of (2.5, 1) then (4.5, 1) cm in pairs of 1 and 2 cm, of a rectangle of 18 cm2.
    share = (0.25 * (2.5 + 2.0) + 0.75 * (4.5 + 2.0)) / 18.0
    assert passes.mean() == pytest.approx(share, abs=4 * np.sqrt(share / count))
    cells, _, _ = np.histogram2d(x, y, bins=[12, 6])
    expected = count / cells.size
    assert ((cells - expected) ** 2 / expected).sum() < 71 + 5 * np.sqrt(2 * 71)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mu": np.array([1.0, 2.0])}, "start at 0"),
        ({"gantry_deg": np.zeros(3)}, "gantry angles"),
        ({"leaves_cm": np.tile([[1.0], [-1.0]], (2, 1, 1))}, "overlap"),
        ({"boundaries_cm": np.array([1.0, -1.0])}, "ascend"),
    ],
)
def test_an_arc_that_cannot_be_is_refused(change: dict[str, np.ndarray], message: str) -> None:
    good = {
        "mu": np.array([0.0, 1.0]), "gantry_deg": np.zeros(2), "leaves_cm": np.tile([[-1.0], [1.0]], (2, 1, 1)),
        "boundaries_cm": np.array([-1.0, 1.0]),
    }  # fmt: skip
    with pytest.raises(InputError, match=message):
        Arc(**good | change)


def test_a_source_that_would_turn_within_its_box_is_refused() -> None:
    with pytest.raises(InputError, match="within a box"):
        box_dose(Spectrum([1.0], [1.0]), Arc.static(0.0, (1.0, 1.0)), LUNG_BOX, 24.0, 20, 1, source_distance_cm=10.0)


def test_wide_fields_about_a_ray_have_all_of_its_energy() -> None:
    """On a field much wider than the ray's reach every bin counts in full: the dose is the laterally summed one."""
    ray = pencil_dose(Spectrum([2.0], [1.0]), (("water", 1.0, 10.0),), 20_000, 4, depth_bin_cm=1.0, reach_cm=6.0)
    found, _ = ray.field(14.0, 0.5)
    np.testing.assert_allclose(found, ray.dose.sum(axis=(2, 3)).mean(axis=0), rtol=1e-12)
    # Half of a field wide in y lies on one side of a point on its edge.
    edge, _ = ray.field(14.0, 1e-6, 7.0)
    np.testing.assert_allclose(edge, 0.5 * found, rtol=1e-4)
