"""Histograms of solids in linear gradients against the solid that the end-cap rule closes (Nelms et al. 2015).

Seven solids (three with their axis turned), gradients along z and y, contours and dose grids of 1, 2 and 3 mm.
"""

import itertools

import pytest
from nelms_solids import SOLIDS, Truth, dose, structure

from tailort.evaluation import dvh

METRICS = (
    "Volume[cc]", "Mean[Gy]", "Min[Gy]", "Max[Gy]", "D99%[Gy]", "D95%[Gy]", "D50%[Gy]", "D5%[Gy]", "D1%[Gy]",
    "D0.03cc[Gy]",
)  # fmt: skip
CLOSE = {"Volume[cc]": 0.01, "Mean[Gy]": 0.002, "D95%[Gy]": 0.01, "D5%[Gy]": 0.01}

ROWS = list(itertools.product(SOLIDS, "zy", (1.0, 2.0, 3.0)))
FEW = [("sphere", "z", 3.0), ("cylinder y", "y", 3.0), ("cone z", "z", 2.0), ("cone x", "y", 3.0)]


def judge(name: str, along: str, contours_mm: float, dose_mm: float) -> None:
    solid = SOLIDS[name]
    truth = Truth(solid, along, contours_mm)
    found = dvh(structure(solid, contours_mm), dose(along, dose_mm))
    assert found.outside_cm3 == 0.0
    for metric in METRICS:
        assert found.value(metric) == pytest.approx(truth.value(metric), rel=CLOSE.get(metric, 0.03)), metric


@pytest.mark.parametrize(("name", "along", "spacing_mm"), FEW)
def test_histogram_of_a_solid_in_a_gradient_is_that_of_its_formula(name, along, spacing_mm):
    judge(name, along, spacing_mm, spacing_mm)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "along", "spacing_mm"), [row for row in ROWS if row not in FEW])
def test_histogram_of_every_solid_in_every_gradient_is_that_of_its_formula(name, along, spacing_mm):
    judge(name, along, spacing_mm, spacing_mm)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("contours_mm", "dose_mm"), [(c, d) for c in (1.0, 2.0, 3.0) for d in (1.0, 2.0, 3.0) if c != d]
)
@pytest.mark.parametrize("name", SOLIDS)
def test_contours_and_dose_grid_need_not_agree(name, contours_mm, dose_mm):
    judge(name, "z", contours_mm, dose_mm)


@pytest.mark.slow
@pytest.mark.parametrize("offset_mm", [0.3, 0.7, 1.1, 1.5])
@pytest.mark.parametrize("name", ["sphere", "cylinder x", "cone z"])
def test_where_the_dose_grid_starts_does_not_matter(name, offset_mm):
    solid = SOLIDS[name]
    truth = Truth(solid, "y", 3.0)
    found = dvh(structure(solid, 3.0), dose("y", 3.0, offset_mm))
    for metric in METRICS:
        assert found.value(metric) == pytest.approx(truth.value(metric), rel=CLOSE.get(metric, 0.03)), metric
