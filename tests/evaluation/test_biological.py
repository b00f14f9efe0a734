"""Dose images in BED and EQD2."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.evaluation import convert
from tailort.geometry import Grid, Image
from tailort.patient import Dose

GRID = Grid.axial((1, 1, 3), (3, 3, 3), (0, 0, 0), "1.2.3")


def dose(values, per="course", fractions=30, quantity="physical", ab=None) -> Dose:
    image = Image(GRID, np.array(values, dtype=np.float32).reshape(1, 1, 3), "Gy")
    return Dose(image, quantity, per, fractions, ab, "test")


def test_we_31_every_voxel_is_converted_with_its_own_dose_per_fraction():
    found = convert(dose([10, 30, 60]), "EQD2", 3.0)
    np.testing.assert_allclose(found.image.values.ravel(), [6.6667, 24.0, 60.0], atol=5e-5)
    assert (found.quantity, found.alpha_beta_gy, found.per, found.label) == ("EQD2", 3.0, "course", "EQD2(a/b=3)")


def test_we_05_60_gy_in_30_fractions_is_120_gy2():
    np.testing.assert_allclose(convert(dose([60, 0, 30]), "BED", 2.0).image.values.ravel(), [120, 0, 45], rtol=1e-6)


@given(st.lists(st.floats(0, 80), min_size=3, max_size=3), st.integers(1, 40), st.floats(1.0, 12.0))
def test_dose_per_fraction_and_dose_per_course_convert_to_the_same(values, n, ab):
    per_course = dose(values, fractions=n)
    per_fraction = dose(np.array(values) / n, per="fraction", fractions=n)
    one, other = convert(per_course, "EQD2", ab), convert(per_fraction, "EQD2", ab)
    np.testing.assert_allclose(one.image.values, other.image.values, rtol=1e-5, atol=1e-5)


def test_bed_and_eqd2_turn_into_each_other_at_their_alpha_beta_only():
    bed = convert(dose([10, 30, 60]), "BED", 3.0)
    direct = convert(dose([10, 30, 60]), "EQD2", 3.0)
    np.testing.assert_allclose(convert(bed, "EQD2", 3.0).image.values, direct.image.values, rtol=1e-6)
    np.testing.assert_allclose(convert(direct, "BED", 3.0).image.values, bed.image.values, rtol=1e-6)
    with pytest.raises(InputError, match="convert the physical dose"):
        convert(bed, "EQD2", 2.0)


def test_the_same_quantity_is_the_same_dose():
    given_dose = dose([10, 30, 60])
    assert convert(given_dose, "physical", None) is given_dose


def test_unknown_fractions_are_refused():
    with pytest.raises(InputError, match="fractions of this dose is unknown"):
        convert(dose([10, 30, 60], fractions=None), "BED", 3.0)


def test_nothing_turns_back_into_physical_dose():
    with pytest.raises(InputError, match="cannot be turned into physical"):
        convert(convert(dose([10, 30, 60]), "BED", 3.0), "physical", None)
