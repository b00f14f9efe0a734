"""Point kernels of a beam as sums of exponentials."""

from __future__ import annotations

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.physics import machine
from tailort.physics.attenuation import attenuation_cm2_g, energy_absorption_cm2_g
from tailort.physics.point_kernel import HARD_DEPTH_CM, PRIMARY_RINGS, SCATTER_RINGS, kernel_table, point_kernel
from tailort.physics.spectrum import Spectrum, filtered_bremsstrahlung, packaged_spectrum

G6 = packaged_spectrum("g6")


def test_terma_of_one_energy_falls_exponentially() -> None:
    mono = Spectrum([2.0], [1.0])
    kernel = point_kernel(mono)
    mu = float(attenuation_cm2_g("water", 2.0))
    np.testing.assert_allclose(kernel.terma, mu * np.exp(-mu * kernel.depths_cm), rtol=1e-12)


def test_a_beam_hardens_with_depth() -> None:
    kernel = point_kernel(G6)
    slope = -np.diff(np.log(kernel.terma))
    assert (np.diff(slope) < 0).all()
    assert np.interp(0.0, kernel.depths_cm, kernel.hardness) == pytest.approx(0.0, abs=1e-12)
    assert np.interp(HARD_DEPTH_CM, kernel.depths_cm, kernel.hardness) == pytest.approx(1.0)


def test_the_terma_slope_of_the_validation_spectrum_is_the_published_one() -> None:
    """-ln(TERMA(10)/TERMA(0))/10 of g6: 0.0559 cm2/g."""
    kernel = point_kernel(G6)
    at = np.interp([0.0, 10.0], kernel.depths_cm, np.log(kernel.terma))
    assert (at[0] - at[1]) / 10 == pytest.approx(0.0559, abs=0.0004)


def test_the_primary_share_of_a_beam_is_its_mean_energy_absorption() -> None:
    e, n = G6.energies_mev, G6.number
    mu, absorbed = attenuation_cm2_g("water", e), energy_absorption_cm2_g("water", e)
    expected = (n * e * absorbed).sum() / (n * e * mu).sum()
    found = sum(ring.weights[0].sum() for ring in point_kernel(G6).primary)
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_the_exponentials_follow_the_kernels_of_a_beam_within_three_hundredths_of_each_ring() -> None:
    """A beam of energies that the table has, so that its kernel is their mean by TERMA."""
    table = kernel_table()
    energies, number = np.array([0.4, 0.7, 1.0, 2.0, 3.0, 4.0, 5.5]), np.array([0.25, 0.2, 0.2, 0.15, 0.1, 0.07, 0.03])
    kernel = point_kernel(Spectrum(energies, number))
    share = number * energies * attenuation_cm2_g("water", energies)
    rows = [int(np.flatnonzero(np.isclose(table.energies_mev, e))[0]) for e in energies]
    total, primary = (np.tensordot(share / share.sum(), cells[rows], axes=1) for cells in (table.total, table.primary))
    middles = table.polar_deg - np.diff(table.polar_deg, prepend=0.0) / 2
    for (edges, _), rings, cells in (
        (PRIMARY_RINGS, kernel.primary, primary),
        (SCATTER_RINGS, kernel.scatter, total - primary),
    ):
        for low, high, ring in zip(edges[:-1], edges[1:], rings, strict=True):
            within = np.cumsum(cells[(middles > low) & (middles < high)].sum(axis=0))
            fitted = (1 - np.exp(-np.outer(table.radii_cm, ring.slopes))) @ ring.weights[0]
            near = table.radii_cm <= 15.0
            assert np.abs(fitted - within)[near].max() < 0.03 * within[-1], (low, high)


def test_taking_water_from_a_beam_softens_it() -> None:
    kernel = point_kernel(G6)
    shift = kernel.softening_shift_cm(np.array([1.0, 1.03, 1.06]))
    assert shift[0] == pytest.approx(0.0, abs=1e-9)
    assert 0 < shift[1] < shift[2]
    at = np.interp([-shift[2], 10 - shift[2], 0.0, 10.0], kernel.depths_cm, np.log(kernel.terma))
    assert (at[0] - at[1]) / (at[2] - at[3]) == pytest.approx(1.06, abs=1e-3)


def test_the_form_with_the_published_constants_has_the_published_mean_energy() -> None:
    """g6: C1 1.222, C2 5.147, C3 -1.186, Ee 5.76 MeV; mean energy 1.59 MeV."""
    made = filtered_bremsstrahlung(5.76, 1.222**2, 5.147**2)
    assert made.mean_energy_mev == pytest.approx(1.59, abs=0.02)
    assert np.abs(made.number - G6.number[: len(made.number)]).max() < 0.001


def test_more_filter_makes_a_beam_harder() -> None:
    means = [filtered_bremsstrahlung(6.0, 1.5, al).mean_energy_mev for al in (10.0, 30.0, 50.0)]
    assert means[0] < means[1] < means[2]


def test_a_spectrum_that_cannot_be_is_refused() -> None:
    for energies, number in (([1.0, 0.5], [1.0, 1.0]), ([1.0], [-1.0]), ([1.0, 2.0], [1.0]), ([0.0], [1.0])):
        with pytest.raises(InputError):
            Spectrum(energies, number)
    with pytest.raises(InputError, match="g6"):
        packaged_spectrum("mohan6")


def test_the_point_machines_have_the_validation_spectra() -> None:
    np.testing.assert_array_equal(machine("point-6MV").spectrum.number, G6.number)
