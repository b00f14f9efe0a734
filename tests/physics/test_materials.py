"""CT numbers become densities as the named table says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.geometry import Grid, Image
from tailort.physics import DensityTable, density, density_table, density_tables, relative_electron_density


def image(values: list[float], unit: str) -> Image:
    array = np.array(values, dtype=np.float32).reshape(1, 1, -1)
    return Image(Grid.axial(array.shape, (1, 1, 1), (0, 0, 0), "1.2"), array, unit)


@pytest.mark.parametrize("name", sorted(density_tables()))
def test_water_is_exactly_one_in_every_table(name: str) -> None:
    assert density(image([0.0], "HU"), name).values[0, 0, 0] == 1.0


def test_values_are_those_of_schneider_2000_away_from_its_jump() -> None:
    # Formulas of the paper; not between -98 and 23, where water is made exact, nor between 80 and 150.
    found = density(image([-500.0, -98.0, 40.0, 200.0, 1000.0], "HU"), "schneider2000").values.ravel()
    fat = 0.00121 + 500 / 902 * (0.930 - 0.00121)
    np.testing.assert_allclose(found, [fat, 0.930, 1.003 + 0.04676, 1.017 + 0.1184, 1.017 + 0.592], atol=5e-4)


@given(st.floats(-2000, 5000), st.floats(0, 200))
def test_density_never_falls_with_the_ct_number_and_has_no_jump(hu: float, more: float) -> None:
    low, high = density(image([hu, hu + more], "HU"), "schneider2000").values.ravel()
    assert low <= high
    # The steepest part is the ramp from air to lung.
    assert high - low <= 0.0021 * more + 1e-5


def test_numbers_outside_the_table_are_clamped() -> None:
    found = density(image([-3000.0, -1000.0, 3000.0, 30000.0], "HU"), "schneider2000").values.ravel()
    np.testing.assert_allclose(found, [0.00121, 0.00121, 2.8, 2.8], rtol=1e-6)


def test_noise_of_air_weighs_nothing() -> None:
    noise = np.random.default_rng(1).normal(-1000, 15, 1000)
    assert density(image(list(noise), "HU"), "schneider2000").values.mean() < 0.002


def test_integer_ct_numbers_give_what_floats_give() -> None:
    values = np.array([[[-700, 0, 50, 900]]])
    grid = Grid.axial(values.shape, (1, 1, 1), (0, 0, 0), "1.2")
    whole = density(Image(grid, values.astype(np.int16), "HU"), "schneider2000").values
    np.testing.assert_array_equal(whole, density(Image(grid, values.astype(np.float64), "HU"), "schneider2000").values)


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="schneider2000"):
        density_table("toshiba")


def test_images_of_another_kind_and_holes_in_the_ct_are_refused() -> None:
    with pytest.raises(InputError, match="HU"):
        density(image([0.0], "g/cm3"), "schneider2000")
    with pytest.raises(InputError, match="not numbers"):
        density(image([float("nan")], "HU"), "schneider2000")
    with pytest.raises(InputError, match="g/cm3"):
        relative_electron_density(image([0.0], "HU"))


def test_a_table_that_falls_is_refused() -> None:
    with pytest.raises(InputError, match="never fall"):
        DensityTable("bad", "", (0.0, 1.0), (1.0, 0.9), ())


def test_every_point_of_a_table_names_its_source() -> None:
    for table in density_tables().values():
        assert len(table.sources) == len(table.hu)
        assert all("[" in line for line in table.sources)


def test_electron_density_of_water_is_one_and_of_tissues_that_of_their_composition() -> None:
    # Z/A relative to water of ICRU-44 tissues: lung 0.992, muscle 0.991, adipose 1.001, cortical bone 0.927.
    found = relative_electron_density(image([0.0, 0.26, 0.95, 1.0, 1.05, 1.92], "g/cm3")).values.ravel()
    np.testing.assert_allclose(found, [0, 0.26 * 0.992, 0.95 * 1.001, 1.0, 1.05 * 0.991, 1.92 * 0.927], rtol=1e-5)


@pytest.mark.parametrize(("physical", "relative"), [(0.50, 0.489), (0.96, 0.949), (1.07, 1.052), (1.53, 1.456)])
def test_electron_density_is_near_that_of_phantom_inserts(physical: float, relative: float) -> None:
    # CIRS 062 inserts as recalled (+-0.005); they are plastics, so 2 % is all that can be asked.
    found = relative_electron_density(image([physical], "g/cm3")).values[0, 0, 0]
    assert found == pytest.approx(relative, rel=0.02)
