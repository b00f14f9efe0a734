"""What a histogram sees and voxels do not moves limits and coverage by exactly that, and never loosens them.

A dose that rises by 0.5 Gy a mm across a box: what histogram and voxels see of it is known without either.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tailort.geometry import Grid, Image
from tailort.optimisation import Limit, Problem, VoxelSet, Wish
from tailort.optimisation.objectives import (
    Added,
    LinearQuadratic,
    MaxDoseVolume,
    MeanDose,
    MinDoseVolume,
    Physical,
    Quantity,
    SquaredMeanOverdose,
    SquaredOverdose,
    SquaredUnderdose,
)
from tailort.patient import Dose, Normalisation, Prescription, Structure, StructureSet
from tailort.workflow.calibrating import SPARE, beyond_gy, calibrated, disagreement, tightened

FRAME = "1.2.3"
SLOPE, MIDDLE_GY = 0.5, 40.0
# Voxel centres at multiples of 3 mm; the box is 42 mm wide, so its sides are at x = -21 and 21.
GRID = Grid.axial((9, 15, 25), (3.0, 3.0, 3.0), (-36.0, -21.0, -12.0), FRAME)
HALF_MM = 21.0
FRACTIONS = 20


def box(half_mm: float, name: str = "Box") -> Structure:
    """A box over five slices, `half_mm` to either side in x and 10 mm in y."""
    corners = np.array([[-half_mm, -10.0], [half_mm, -10.0], [half_mm, 10.0], [-half_mm, 10.0]])
    contours = tuple(np.column_stack([corners, np.full(4, z)]) for z in (-6.0, -3.0, 0.0, 3.0, 6.0))
    return Structure(name, "PTV", contours, FRAME)


def tilted() -> Dose:
    x = GRID.origin_mm[0] + 3.0 * np.arange(GRID.shape[2])
    values = np.broadcast_to(MIDDLE_GY + SLOPE * x, GRID.shape).astype(np.float32)
    return Dose(Image(GRID, values, "Gy"), "physical", "course", FRACTIONS, None, "test")


class Nothing:
    """A dose map of no interest."""

    def __init__(self, rows: int) -> None:
        self.shape = (rows, 1)

    def dose(self, weights_mu: Any) -> Any:
        return np.zeros(self.shape[0])

    def gradient(self, by_dose: Any) -> Any:
        return np.zeros(1)


def seen_by(low_mm: float, high_mm: float, half_mm: float = HALF_MM, drawn: bool = True) -> tuple[Any, VoxelSet]:
    """A bench whose optimiser sees the voxels in the middle line from `low_mm` to `high_mm` only."""
    i = np.flatnonzero(
        (GRID.origin_mm[0] + 3.0 * np.arange(25) >= low_mm) & (GRID.origin_mm[0] + 3.0 * np.arange(25) <= high_mm)
    )
    flat = np.ravel_multi_index((np.full(len(i), 4), np.full(len(i), 7), i), GRID.shape)
    bench = SimpleNamespace(
        structures=StructureSet((box(half_mm),) if drawn else (), FRAME),
        slice_mm=3.0,
        in_rows=lambda image: image.values.reshape(-1)[flat].astype(np.float64),
    )
    return bench, VoxelSet("Box", np.arange(len(i)), np.ones(len(i)))


def moved(
    objective: Any, low_mm: float, high_mm: float, gap_gy: float = 0.0, quantity: Quantity | None = None, **more: Any
) -> float:
    """Gap of the limit after calibration."""
    bench, voxels = seen_by(low_mm, high_mm, **more)
    limit = Limit("Box", objective, gap_gy, quantity or Physical(), "limit")
    problem = Problem(Nothing(len(voxels.rows)), FRACTIONS, {"Box": voxels}, (), (limit,))
    (found,) = calibrated(bench, problem, tilted()).limits
    assert found.objective == objective
    return found.gap_gy


@pytest.mark.parametrize(
    ("objective", "low_mm", "high_mm", "beyond_mm"),
    [
        # The hottest voxel is 9 mm from the box's hot side, the coldest 6 mm from its cold one.
        (SquaredOverdose(45.0), -21.0, 12.0, 9.0),
        (SquaredUnderdose(35.0), -15.0, 21.0, 6.0),
        # The mean is at x = 0, that of the voxels at -3.
        (SquaredMeanOverdose(38.0), -18.0, 12.0, 3.0),
        # A fifth of the box is hotter than at x = 21 - 8.4; of eleven voxels the third from the hot end, at 6.
        (MaxDoseVolume(38.0, 0.2), -18.0, 12.0, 21.0 - 8.4 - 6.0),
        # Four fifths are hotter than at x = -12.6; of ten voxels eight, the coldest of them at -3.
        (MinDoseVolume(35.0, 0.8), -9.0, 18.0, 12.6 - 3.0),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, float) else "",
)
def test_a_limit_moves_by_what_the_histogram_sees_beyond_the_voxels(
    objective: Any, low_mm: float, high_mm: float, beyond_mm: float
) -> None:
    found = moved(objective, low_mm, high_mm)
    assert found == pytest.approx(SLOPE * beyond_mm + SPARE * objective.level_gy, abs=0.1)


def test_a_limit_in_eqd2_moves_by_the_difference_in_eqd2() -> None:
    # 50.5 Gy in the hottest corner, 46 Gy in the hottest voxel; D (d + 3) / 5 with d = D / 20 of both.
    found = moved(SquaredOverdose(45.0), -21.0, 12.0, quantity=LinearQuadratic("EQD2", 3.0, FRACTIONS))
    assert found == pytest.approx(50.5 * 5.525 / 5.0 - 46.0 * 5.3 / 5.0 + SPARE * 45.0, abs=0.1)


@pytest.mark.parametrize("objective", [SquaredOverdose(45.0), SquaredMeanOverdose(38.0), MaxDoseVolume(38.0, 0.2)])
def test_a_limit_is_never_loosened(objective: Any) -> None:
    # The voxels are hotter than the structure: from x = 9 to 30, beyond its hot side.
    assert moved(objective, 9.0, 30.0) == 0.0
    assert moved(objective, 9.0, 30.0, gap_gy=0.7) == 0.7


def test_a_gap_that_is_wide_enough_stays() -> None:
    assert moved(SquaredOverdose(45.0), -21.0, 12.0, gap_gy=6.0) == 6.0
    assert moved(SquaredOverdose(45.0), -21.0, 12.0, gap_gy=1.0) > 4.0


def wishes_after(wishes: tuple[Wish, ...], low_mm: float, high_mm: float) -> tuple[Wish, ...]:
    bench, voxels = seen_by(low_mm, high_mm)
    problem = Problem(Nothing(len(voxels.rows)), FRACTIONS, {"Box": voxels}, wishes)
    return calibrated(bench, problem, tilted()).wishes


def test_coverage_is_raised_by_what_the_histogram_lacks_and_other_wishes_stay() -> None:
    cover = Wish("Box", MinDoseVolume(35.0, 0.8), 400.0, label="cover")
    others = (Wish("Box", SquaredUnderdose(35.0), 100.0), Wish("Box", SquaredOverdose(45.0), 50.0))
    raised, *rest = wishes_after((cover, *others), -9.0, 18.0)
    assert raised.objective.level_gy == pytest.approx(35.0 + SLOPE * (12.6 - 3.0), abs=0.1)
    assert (raised.weight, raised.label) == (400.0, "cover")
    assert tuple(rest) == others


def test_coverage_that_the_histogram_shows_to_be_better_is_not_lowered() -> None:
    # The voxels are colder than the structure.
    cover = Wish("Box", MinDoseVolume(35.0, 0.8), 400.0)
    assert wishes_after((cover,), -30.0, -6.0) == (cover,)


def test_what_a_histogram_cannot_tell_is_left_alone() -> None:
    # Beside other phases, of a level that differs from voxel to voxel, not drawn, and partly beyond the dose grid.
    beside = Added(Physical(), np.full(12, 5.0))
    assert moved(SquaredOverdose(45.0), -21.0, 12.0, quantity=beside) == 0.0
    assert moved(SquaredOverdose(np.full(12, 45.0)), -21.0, 12.0) == 0.0
    assert moved(MaxDoseVolume(38.0, 0.0), -18.0, 12.0) == 0.0
    assert moved(SquaredOverdose(45.0), -21.0, 12.0, drawn=False) == 0.0
    assert moved(SquaredOverdose(45.0), -21.0, 12.0, half_mm=60.0) == 0.0
    low = Wish("Box", MeanDose(), 0.5)
    assert wishes_after((low,), -18.0, 12.0) == (low,)


def test_limits_that_lack_something_aim_farther_inside_and_the_others_stay() -> None:
    _, voxels = seen_by(-21.0, 21.0)
    limits = tuple(Limit(name, SquaredOverdose(45.0), 0.5, Physical(), "limit") for name in ("Box", "Other"))
    problem = Problem(Nothing(len(voxels.rows)), FRACTIONS, {"Box": voxels, "Other": voxels}, (), limits)
    assert [limit.gap_gy for limit in tightened(problem, {"Box": 0.7}).limits] == [1.2, 0.5]


def test_a_limit_on_a_sum_is_asked_for_no_farther_inside_than_three_tenths_of_what_is_left_of_it() -> None:
    # 36 of 45 Gy were given before: of 9 Gy that are left, three tenths; of nothing that is left, nothing.
    _, voxels = seen_by(-21.0, 21.0)
    before_gy = {"Left": 36.0, "None": 45.0, "Beyond": 50.0}
    limits = tuple(
        Limit(name, SquaredOverdose(45.0), 0.5, Added(Physical(), np.full(len(voxels.rows), gy)), "limit")
        for name, gy in before_gy.items()
    )
    problem = Problem(Nothing(len(voxels.rows)), FRACTIONS, dict.fromkeys(before_gy, voxels), (), limits)
    made = tightened(problem, dict.fromkeys(before_gy, 20.0), after_courses=True)
    assert [limit.gap_gy for limit in made.limits] == pytest.approx([0.5 + 2.7, 0.5, 0.5])


def test_a_limit_is_asked_for_no_farther_inside_than_three_tenths_of_its_dose() -> None:
    # 20 Gy lack: no plan reaches its prescription so far inside, and targets must not pay for the attempt.
    _, voxels = seen_by(-21.0, 21.0)
    asked = {"Cord": SquaredOverdose(45.0), "Lungs": MaxDoseVolume(20.0, 0.3), "Low": MinDoseVolume(50.0, 0.95)}
    limits = tuple(Limit(name, objective, 0.5, Physical(), "limit") for name, objective in asked.items())
    problem = Problem(Nothing(len(voxels.rows)), FRACTIONS, dict.fromkeys(asked, voxels), (), limits)
    lacking = {"Cord": 20.0, "Lungs": 5.9, "Low": 16.0}
    made = {limit.structure: limit.gap_gy for limit in tightened(problem, lacking).limits}
    assert made == pytest.approx({"Cord": 0.5 + 13.5, "Lungs": 0.5 + 5.9, "Low": 0.5 + 15.0})
    # Twice the same is no farther, and a limit that has a gap already keeps it.
    again = tightened(problem, {name: 2 * gy for name, gy in lacking.items()})
    assert {limit.structure: limit.gap_gy for limit in again.limits}["Cord"] == pytest.approx(0.5 + 13.5)


def test_two_doses_disagree_by_the_metric_that_differs_most() -> None:
    sets = {"PTV": VoxelSet("PTV", np.arange(1, 101), np.ones(100)), "Low": VoxelSet("Low", np.array([0]), np.ones(1))}
    asked = [
        Prescription(name, gy, 25, Normalisation("coverage", "D95%[Gy]")) for name, gy in (("PTV", 50.0), ("Low", 40.0))
    ]
    even = np.full(101, 50.0)
    assert disagreement(asked, sets, even, even) == 0.0
    # The coldest three voxels of a hundred are below D98% and above D95%: only D98% sees them.
    cold = np.where((np.arange(101) > 0) & (np.arange(101) <= 3), 48.0, 50.0)
    assert disagreement(asked, sets, even, cold) == pytest.approx(2.0 / 50.0)
    assert disagreement(asked, sets, cold, even) == pytest.approx(2.0 / 50.0)
    # 1 Gy of a target of 40 Gy is more than 1 Gy of one of 50 Gy.
    both = even + 1.0
    assert disagreement(asked, sets, even, both) == pytest.approx(1.0 / 40.0)


def beyond(objective: Any, low_mm: float, high_mm: float) -> float:
    bench, voxels = seen_by(low_mm, high_mm)
    limit = Limit("Box", objective, 0.0, Physical(), "limit")
    problem = Problem(Nothing(len(voxels.rows)), FRACTIONS, {"Box": voxels}, (), ())
    (gy,) = beyond_gy(bench, problem, [limit], tilted())
    return gy


def test_a_limit_that_the_voxels_hold_and_the_histogram_breaks_is_beyond_by_what_the_histogram_says() -> None:
    # The voxels end at 49 Gy, the box at 50.5 Gy.
    assert beyond(SquaredOverdose(50.0), -18.0, 18.0) == pytest.approx(0.5, abs=0.1)
    assert beyond(SquaredMeanOverdose(39.0), -18.0, 18.0) == pytest.approx(1.0, abs=0.05)


def test_a_limit_that_holds_is_not_beyond() -> None:
    assert beyond(SquaredOverdose(52.0), -18.0, 18.0) == pytest.approx(-1.5, abs=0.1)
    assert beyond(SquaredOverdose(100.0), -18.0, 18.0) < -40.0
