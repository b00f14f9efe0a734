"""What each voxel may still get: limits less what was given, as physical dose for so many fractions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse, accumulate, cells_of
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Structure
from tailort.workflow.budget_map import budget_map
from tailort.workflow.budgeting import budget_rows

FRAME = "1.2.3"
GRID = Grid.axial((9, 21, 41), (3.0, 3.0, 3.0), (-60.0, -30.0, -12.0), FRAME)


def box(name: str, low_mm: float, high_mm: float) -> Structure:
    corners = np.array([[low_mm, -12.0], [high_mm, -12.0], [high_mm, 12.0], [low_mm, 12.0]])
    contours = tuple(np.column_stack([corners, np.full(4, z)]) for z in (-6.0, -3.0, 0.0, 3.0, 6.0))
    return Structure(name, "ORGAN", contours, FRAME)


def earlier(gy: Any, fractions: int = 30, months: float | None = 12.0) -> EarlierCourse:
    image = Image(GRID, np.broadcast_to(gy, GRID.shape).astype(np.float32), "Gy")
    dose = Dose(image, "physical", "course", fractions, None, "test")
    return EarlierCourse("2024", (dose,), months, "same frame of reference")


def cells(*structures: Structure) -> list[Any]:
    return [cells_of(s, GRID) for s in structures]


OESOPHAGUS, CORD = box("Esophagus", -18.0, 6.0), box("SpinalCord", 3.0, 27.0)
MIDDLE = (4, 10, 17)  # x = -9 mm


def test_what_is_left_of_a_voxel_fills_its_limit_to_the_last_gray() -> None:
    """KO-90, 187 Gy BED less 100 Gy of 60 Gy in 30 leave 87 Gy: D (1 + D / 6) in 2 fractions is D = 20.04 Gy."""
    found = budget_map(cells(OESOPHAGUS), [earlier(60.0)], 2, ["koide"])
    assert found is not None
    given = float(found.dose.values[MIDDLE])
    assert given == pytest.approx(20.04, abs=0.01)
    assert given * (1.0 + given / 6.0) + 100.0 == pytest.approx(187.0, abs=0.01)
    assert float(found.left.values[MIDDLE]) == pytest.approx(87.0 * 3.0 / 5.0, abs=0.01)
    assert found.governing[found.which[MIDDLE]].metric == "D0.035cc[Gy]"


def test_a_plan_that_gives_every_voxel_its_rest_meets_the_limits_on_the_sum() -> None:
    before = earlier(60.0 + 0.2 * (-60.0 + 3.0 * np.arange(41)))
    found = budget_map(cells(OESOPHAGUS), [before], 5, ["koide"])
    assert found is not None
    given = Image(GRID, np.nan_to_num(found.dose.values, nan=0.0), "Gy")
    own = Dose(given, "physical", "course", 5, None, "test")
    total = accumulate([before], [own], "BED", 3.0).image.values[np.isfinite(found.dose.values)]
    np.testing.assert_allclose(total, 187.0, rtol=1e-4)


def test_the_smallest_rest_of_the_organs_that_hold_a_voxel_governs_and_nothing_is_told_outside() -> None:
    # hytec: 70 Gy EQD2 of the cord, 60 Gy in 30 at alpha/beta 2 are 60.
    found = budget_map(cells(OESOPHAGUS, CORD), [earlier(60.0)], 2, ["koide", "hytec"])
    assert found is not None
    both = (4, 10, 21)  # x = 3 mm
    assert found.governing[found.which[both]].structure == "SpinalCord"
    assert float(found.left.values[both]) == pytest.approx(10.0, abs=0.01)
    assert found.governing[found.which[MIDDLE]].structure == "Esophagus"
    assert np.isnan(found.dose.values[4, 10, 0])
    assert found.which[4, 10, 0] == -1
    alone = budget_map(cells(OESOPHAGUS), [earlier(60.0)], 2, ["koide", "hytec"])
    assert alone is not None
    known = np.isfinite(alone.dose.values)
    assert np.all(found.dose.values[known] <= alone.dose.values[known])


def test_more_fractions_never_leave_less_and_an_overspent_voxel_has_nothing() -> None:
    doses = [budget_map(cells(OESOPHAGUS), [earlier(60.0)], n, ["koide"]) for n in (1, 2, 5, 20)]
    left = [float(each.dose.values[MIDDLE]) for each in doses if each is not None]
    assert left == sorted(left)
    spent = budget_map(cells(OESOPHAGUS), [earlier(95.0)], 2, ["koide"])
    assert spent is not None
    assert float(spent.dose.values[MIDDLE]) == 0.0
    # Its 195.3 Gy are still below the limit on the maximum, 203 Gy.
    assert {each.metric: each.least_gy for each in spent.governing}["D0.035cc[Gy]"] == 0.0


def test_unknown_dose_leaves_an_unknown_rest_and_unknown_recovery_is_left_out_and_told() -> None:
    gy = np.full(GRID.shape, 60.0)
    gy[..., :17] = np.nan
    found = budget_map(cells(OESOPHAGUS), [earlier(gy, months=None)], 2)
    assert found is not None
    assert np.isnan(found.dose.values[4, 10, 16])
    assert np.isfinite(found.dose.values[MIDDLE])
    assert {each.limits for each in found.governing} == {"koide", "surveys"}
    assert {each.least_gy for each in found.governing} == {None}
    assert any("Michigan" in text and "time between" in text for text in found.left_out)


def test_the_map_agrees_with_the_table_where_a_dose_is_even() -> None:
    (row,) = [
        r for r in budget_rows(cells(CORD), [earlier(50.0)], (), 2) if (r.limits, r.metric) == ("hytec", "Max[Gy]")
    ]
    found = budget_map(cells(CORD), [earlier(50.0)], 2, ["hytec"])
    assert found is not None
    assert row.dose_gy is not None
    assert found.governing[0].least_gy == pytest.approx(row.dose_gy, abs=1e-3)


def test_without_a_limit_there_is_no_map_and_no_fraction_is_refused() -> None:
    assert budget_map(cells(box("Bone", -18.0, 6.0)), [earlier(60.0)], 2) is None
    with pytest.raises(InputError, match="at least one fraction"):
        budget_map(cells(OESOPHAGUS), [earlier(60.0)], 0)


def test_an_organ_below_the_studys_threshold_is_told_so() -> None:
    """KO-92: 25 Gy in 10 are 28.1 Gy EQD2 at alpha/beta 2; organs under 60 Gy were not analysed."""
    rows = [r for r in budget_rows(cells(OESOPHAGUS), [earlier(25.0, 10)], (), 2) if r.limits == "koide"]
    assert len(rows) == 3
    assert all("below KO-92: at most 28.1 Gy" in r.reason for r in rows)
    above = [r for r in budget_rows(cells(OESOPHAGUS), [earlier(60.0)], (), 2) if r.limits == "koide"]
    assert not any("KO-92" in r.reason for r in above)
    others = [r for r in budget_rows(cells(OESOPHAGUS), [earlier(25.0, 10)], (), 2) if r.limits != "koide"]
    assert not any("KO-92" in r.reason for r in others)
