"""The dose that an adaptation tells, held against the true one: by a dose that is linear in space."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tailort.geometry import Grid, Image
from tailort.patient import Dose, Structure, StructureSet
from tailort.workflow.adaptation_truth import TrueScan, against_truth, true_scans
from tailort.workflow.daily_doses import PLANNED, Day, OnScan, times_fractions

Float = NDArray[np.float64]
FRAME = "1.2.4"
GRADIENT = 0.02


def dose(per_fraction_gy: float) -> Dose:
    """Of one fraction: so much at x = 0, and 0.02 Gy a mm more along x."""
    grid = Grid.axial((11, 41, 41), (4.0, 4.0, 4.0), (-80.0, -80.0, -20.0), FRAME)
    x = grid.axes_mm()[2]
    values = np.broadcast_to(per_fraction_gy + GRADIENT * x, grid.shape).astype(np.float32)
    return Dose(Image(grid, values.copy(), "Gy"), "physical", "fraction", None, None, "test")


def structures() -> StructureSet:
    corners = np.array([[-12.0, -12.0], [12.0, -12.0], [12.0, 12.0], [-12.0, 12.0]])
    contours = tuple(np.column_stack([corners, np.full(4, z)]) for z in (-8.0, -4.0, 0.0, 4.0, 8.0))
    return StructureSet((Structure("GTVp", "GTV", contours, FRAME),), FRAME)


def course() -> Any:
    """25 fractions, then 5: 10 on the planning CT, 17 in week 2 of which 2 by the second plan, 3 left, now week 4."""
    days = (Day(PLANNED, None, (10, 0)), Day("week2", None, (15, 2)), Day("week4", None, (0, 0)))
    first, second = dose(2.0), dose(1.0)
    one: Any = SimpleNamespace
    parts = [(first, 10), (first, 15), (second, 2), (second, 3)]
    doses = [times_fractions(own, n) for own, n in parts]
    return one(
        plans=(one(fractions=25), one(fractions=5)), days=days, given=tuple(doses[:3]), projected=tuple(doses),
        on_scans={day.label: tuple(OnScan(one(), own) for own in (first, second)) for day in days},
        case=one(structures=structures()),
    )  # fmt: skip


def shifted(x_mm: float) -> Any:
    return lambda points: points + np.array([x_mm, 0.0, 0.0])


def test_what_is_told_is_true_where_tissue_lies_as_the_registrations_say() -> None:
    result = course()
    scans = {day.label: TrueScan(shifted(0.0), (dose(2.0), dose(1.0))) for day in result.days}
    held = against_truth(result, scans, structures(), 4.0)
    assert {one.scope for one in held} == {"given", "projected"}
    for one in held:
        assert one.told_gy == pytest.approx(one.true_gy, abs=1e-3)
    means = {one.scope: one.true_gy for one in held if one.metric == "Mean[Gy]"}
    assert means == {"given": pytest.approx(52.0, abs=0.01), "projected": pytest.approx(55.0, abs=0.01)}


def test_tissue_that_lay_elsewhere_got_the_dose_of_there_on_each_day_and_in_each_phase() -> None:
    result = course()
    places = {PLANNED: 5.0, "week2": -3.0, "week4": 0.0}
    scans = {label: TrueScan(shifted(x), (dose(2.0), dose(1.0))) for label, x in places.items()}
    held = {(one.scope, one.metric): one for one in against_truth(result, scans, structures(), 4.0)}
    more_gy = GRADIENT * (10 * 5.0 - 17 * 3.0)
    for scope, gy in (("given", 52.0), ("projected", 55.0)):
        assert held[scope, "Mean[Gy]"].true_gy == pytest.approx(gy + more_gy, abs=0.01)
        assert held[scope, "Mean[Gy]"].told_gy == pytest.approx(gy, abs=0.01)


def test_the_tissue_of_today_is_followed_through_the_planning_ct_to_every_other_scan() -> None:
    def week(x_mm: float) -> Any:
        return SimpleNamespace(map=SimpleNamespace(to_planning=shifted(-x_mm), to_week=shifted(x_mm)))

    found = true_scans(course(), {"week2": week(2.0), "week4": week(9.0)}, "week4")
    origin = np.zeros((1, 3))
    assert found[PLANNED].from_today(origin)[0, 0] == pytest.approx(-9.0)
    assert found["week2"].from_today(origin)[0, 0] == pytest.approx(-7.0)
    assert found["week4"].from_today(origin)[0, 0] == 0.0
    other = (dose(1.9), dose(0.9))
    known = true_scans(course(), {"week4": week(9.0), "week2": week(2.0)}, "week4", {"week4": other})
    assert known["week4"].doses is other
