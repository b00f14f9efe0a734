"""The pencil kernel is that of Nyholm et al. 2006, and gives each beam its own quality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.physics.pencil_kernel import pencil_kernel, published_kernel


def test_parameters_at_ten_centimetres_are_those_of_two_other_implementations() -> None:
    kernel = published_kernel(0.67)
    (big_a, a), (big_b, b) = kernel.primary(10.0), kernel.scatter(10.0)
    assert float(big_a) == pytest.approx(0.002596, abs=5e-7)
    assert float(a) == pytest.approx(4.786, abs=5e-4)
    assert float(big_b) == pytest.approx(0.0010646, abs=5e-8)
    assert float(b) == pytest.approx(0.12876, abs=5e-6)


@pytest.mark.parametrize(
    ("side_cm", "factor"), [(3, 0.892), (4, 0.911), (5, 0.929), (20, 1.084), (30, 1.125), (40, 1.145)]
)
def test_phantom_scatter_factors_are_the_published_ones(side_cm: float, factor: float) -> None:
    kernel = published_kernel(0.67)
    found = kernel.square_field(10.0, side_cm) / kernel.square_field(10.0, 10.0)
    assert float(found) == pytest.approx(factor, abs=6e-4)


@pytest.mark.parametrize(("entered", "found"), [(0.66, 0.6479), (0.67, 0.6606), (0.70, 0.6972), (0.76, 0.7574)])
def test_the_published_fit_returns_less_than_it_is_given_by_the_known_amount(entered: float, found: float) -> None:
    assert published_kernel(entered).tpr20_10() == pytest.approx(found, abs=6e-5)


@given(st.floats(0.58, 0.80))
def test_the_kernel_of_a_beam_gives_the_beams_quality(tpr: float) -> None:
    assert pencil_kernel(tpr).tpr20_10() == pytest.approx(tpr, abs=1e-6)


def test_a_quality_outside_the_fit_is_refused() -> None:
    with pytest.raises(InputError, match="outside"):
        pencil_kernel(0.85)


@given(st.floats(0.6, 0.8), st.floats(0, 50), st.floats(0.5, 39))
def test_a_larger_field_never_has_less_dose(tpr: float, depth: float, side: float) -> None:
    small, large = pencil_kernel(round(tpr, 2)).square_field(depth, np.array([side, side + 1]))
    assert 0 < small <= large


def test_depth_dose_of_three_fields_is_that_of_two_measured_beams() -> None:
    # Mean of Siemens Artiste and Elekta Synergy, SSD 100, normalised at 10 cm, 3 to 20 cm deep (photon-physics section
    # 10). The fit knows one number of the beam: 1.5 % of the dose at each depth is what it keeps.
    measured = {
        4: {3: 94.3, 5: 84.3, 8: 70.4, 10: 62.25, 15: 46.0, 20: 34.1},
        10: {3: 95.0, 5: 86.5, 8: 74.4, 10: 67.0, 15: 51.05, 20: 39.0},
        20: {3: 95.05, 5: 87.5, 8: 76.7, 10: 69.95, 15: 55.15, 20: 43.15},
    }
    kernel = pencil_kernel(0.680)
    for side, table in measured.items():
        depth = np.array(list(table), dtype=float)
        dose = kernel.square_field(depth, side * (100 + depth) / 100) * (100 / (100 + depth)) ** 2
        relative = dose / dose[list(table).index(10)] * table[10]
        np.testing.assert_allclose(relative, list(table.values()), rtol=0.015)
