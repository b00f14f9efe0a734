"""Earlier courses beside a course of today: what they spend, and that plans leave room for them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse, cells_of
from tailort.geometry import Grid, Image, Transform
from tailort.optimisation import VoxelSet, objectives_from
from tailort.optimisation.objectives import Added
from tailort.patient import (
    Beam,
    Case,
    Constraint,
    ControlPoint,
    Course,
    Dose,
    Normalisation,
    Person,
    Plan,
    Prescription,
    Scan,
    Structure,
    StructureSet,
)
from tailort.protocols import Technique
from tailort.registration import Registration
from tailort.workflow.budgeting import budget_rows
from tailort.workflow.clock import StageClock
from tailort.workflow.earlier import earlier_on, require_same_patient
from tailort.workflow.normalising import Scaled, scaled_to_prescription
from tailort.workflow.options import PlanningOptions
from tailort.workflow.phases import Phase
from tailort.workflow.reirradiating import reirradiate

SILENT = StageClock(lambda stage, share: None)
FRAME = "1.2.3"
GRID = Grid.axial((9, 21, 41), (3.0, 3.0, 3.0), (-60.0, -30.0, -12.0), FRAME)
TODAY = dt.date(2026, 11, 1)
OESOPHAGUS = Constraint(
    "Esophagus", "Max[Gy]", "<=", 150.0, "hard", "sum", quantity="BED", alpha_beta_gy=3.0, scope="cumulative"
)


def box(name: str, low_mm: float, high_mm: float) -> Structure:
    corners = np.array([[low_mm, -12.0], [high_mm, -12.0], [high_mm, 12.0], [low_mm, 12.0]])
    contours = tuple(np.column_stack([corners, np.full(4, z)]) for z in (-6.0, -3.0, 0.0, 3.0, 6.0))
    return Structure(name, "ORGAN", contours, FRAME)


STRUCTURES = StructureSet((box("PTV", -45.0, -21.0), box("Esophagus", -18.0, 22.0)), FRAME)


def dose(gy: Any, fractions: int, grid: Grid = GRID, uid: str = "") -> Dose:
    image = Image(grid, np.broadcast_to(gy, grid.shape).astype(np.float32), "Gy")
    return Dose(image, "physical", "course", fractions, None, "test", uid)


def earlier(gy: Any, fractions: int = 30) -> EarlierCourse:
    return EarlierCourse("2024", (dose(gy, fractions),), 12.0, "same frame of reference")


def scaled(
    own_gy: Any,
    *constraints: Constraint,
    before: tuple[EarlierCourse, ...],
    drawn: tuple[tuple[EarlierCourse, ...], ...] = (),
) -> Scaled:
    """Scale a dose of 20 fractions to 50 Gy in D95% of the PTV."""
    asked = (Prescription("PTV", 50.0, 20, Normalisation("coverage", metric="D95%[Gy]")),)
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, (-50.0, 50.0), (-50.0, 50.0), None) for mu in (0.0, 100.0))
    beam = Beam("AP", 1, "test", 6.0, True, (0.0, 0.0, 0.0), (), points)
    technique = Technique(kind="imrt", beams=5)
    phase = Phase(1, "test", technique, asked, constraints, (), 1.0, ("PTV",), before=before, drawn=drawn)
    bench: Any = SimpleNamespace(structures=STRUCTURES, slice_mm=3.0)
    return scaled_to_prescription(bench, phase, Plan("test", (beam,), asked, 20, "HFS", FRAME), dose(own_gy, 20))


def test_a_hard_limit_on_the_sum_keeps_the_mu_down_by_what_was_given_before() -> None:
    # 60 Gy in 30 are 100 Gy BED; D (1 + D / 60) = 50 Gy leaves 32.45 Gy in 20 fractions.
    found = scaled(40.0, OESOPHAGUS, before=(earlier(60.0),))
    assert float(found.dose.image.values.max()) == pytest.approx(32.45, rel=3e-3)
    assert float(found.dose.image.values.max()) <= 32.46
    assert "Esophagus" in found.held_down[0]


def test_without_an_earlier_course_the_plan_is_the_ordinary_one() -> None:
    ordinary, asked = scaled(40.0, before=()), scaled(40.0, OESOPHAGUS, before=())
    np.testing.assert_array_equal(asked.dose.image.values, ordinary.dose.image.values)
    assert asked.plan.mu == ordinary.plan.mu


def test_what_earlier_courses_have_used_up_is_told() -> None:
    found = scaled(40.0, replace(OESOPHAGUS, limit=90.0), before=(earlier(60.0),))
    assert any("earlier courses leave nothing of the hard limit Esophagus" in note for note in found.notes)


def test_only_limits_on_all_courses_count_the_earlier_ones() -> None:
    asked = (Prescription("PTV", 50.0, 20, Normalisation("coverage", metric="D95%[Gy]")),)
    phase = Phase(
        1, "test", Technique(kind="imrt", beams=5), asked, (), (), 1.0, ("PTV",), before=(earlier(60.0),)
    )  # fmt: skip
    (found,) = phase.spent(OESOPHAGUS, GRID)
    np.testing.assert_allclose(found.values, 100.0, rtol=1e-6)
    assert phase.spent(replace(OESOPHAGUS, scope="course"), GRID) == ()


@pytest.mark.parametrize(("known", "limits"), [(True, 1), (False, 0)])
def test_the_optimiser_sees_a_limit_on_the_sum_once_earlier_doses_are_known(known: bool, limits: int) -> None:
    voxels = {name: VoxelSet(name, np.array([n]), np.ones(1)) for n, name in enumerate(("PTV", "Esophagus"))}
    asked = [Prescription("PTV", 50.0, 20, Normalisation("coverage", metric="D95%[Gy]"))]
    made = objectives_from(
        asked, [OESOPHAGUS], voxels, {"PTV": 1.0, "Esophagus": 1.0}, {"PTV": np.array([0.0, 20.0])},
        earlier=lambda c: [np.full(2, 100.0)], courses_known=known,
    )  # fmt: skip
    assert len(made.limits) == limits
    for limit in made.limits:
        assert isinstance(limit.quantity, Added)
        # 32.45 Gy in 20 fractions and what was before are just the limit.
        np.testing.assert_allclose(limit.quantity.of(np.array([32.45])), 150.0, rtol=1e-4)


def test_limits_hold_in_every_draw_of_what_was_before_and_wishes_look_at_the_likeliest() -> None:
    voxels = {name: VoxelSet(name, rows, np.ones(2)) for name, rows in (("PTV", [0, 1]), ("Esophagus", [2, 3]))}
    asked = [Prescription("PTV", 50.0, 20, Normalisation("coverage", metric="D95%[Gy]"))]
    limits = [
        OESOPHAGUS, replace(OESOPHAGUS, metric="Mean[Gy]"),
        replace(OESOPHAGUS, metric="D50%[Gy]", priority="goal"),
    ]  # fmt: skip
    draws = [np.array([0.0, 0.0, 30.0, 60.0]), np.array([0.0, 0.0, 50.0, 40.0]), np.array([0.0, 0.0, 20.0, 70.0])]
    made = objectives_from(
        asked, limits, voxels, {"PTV": 1.0, "Esophagus": 1.0}, {"PTV": np.array([0.0, 0.0, 20.0, 30.0])},
        earlier=lambda c: draws, courses_known=True,
    )  # fmt: skip
    given = [limit.quantity.of(np.zeros(2)) for limit in made.limits]
    # The maximum is that of each voxel, once; the mean is asked of each draw.
    assert [list(gy) for gy in given] == [[50.0, 70.0], [30.0, 60.0], [50.0, 40.0], [20.0, 70.0]]
    assert [list(goal.quantity.of(np.zeros(2))) for goal in made.asked] == [[30.0, 60.0]]


def test_mu_are_scaled_until_every_draw_of_what_was_before_holds() -> None:
    # 75 Gy in 30 are 137.5 Gy BED; D (1 + D / 60) = 12.5 Gy leaves 10.66 Gy in 20 fractions, 60 Gy leave 32.45.
    found = scaled(40.0, OESOPHAGUS, before=(earlier(60.0),), drawn=((earlier(75.0),), (earlier(50.0),)))
    # A thousandth of the limit is kept free, which is more than a hundredth of what is left.
    assert 10.45 <= float(found.dose.image.values.max()) <= 10.67


def case(own: tuple[Dose, ...], *courses: Course) -> Case:
    ct = Image(GRID, np.zeros(GRID.shape, dtype=np.int16), "HU")
    scan = Scan(ct, "CT", "1", "2", ("3",) * GRID.shape[0], "HFS")
    return Case(Person("P1"), (scan,), STRUCTURES, doses=own, courses=courses)


def course(label: str, gy: Any, fractions: int, last: dt.date | None = dt.date(2025, 10, 1)) -> Course:
    return Course(label, None, None, (dose(gy, fractions),), last_fraction=last)


def summed(made: Case) -> Any:
    return reirradiate(made, None, PlanningOptions(today=TODAY), {}, SILENT)


def test_every_organ_has_its_dose_of_each_course_and_of_all() -> None:
    found = summed(case((dose(24.0, 2),), course("2024", 60.0, 30)))
    (row,) = [r for r in found.rows if (r.structure, r.metric, r.alpha_beta_gy) == ("Esophagus", "D0.035cc[Gy]", 3.0)]
    assert [low for low, _ in row.per_course_gy] == pytest.approx([100.0, 120.0], abs=0.01)
    assert row.cumulative_gy == pytest.approx((220.0, 220.0), abs=0.01)
    assert row.cumulative_gy[0] / row.eqd2 == pytest.approx(132.0, abs=0.01)


def test_the_hot_spots_of_two_courses_in_different_places_do_not_add_up() -> None:
    left, right = np.zeros(GRID.shape), np.zeros(GRID.shape)
    left[..., :20], right[..., 20:] = 60.0, 60.0
    found = summed(case((), course("left", left, 30), course("right", right, 30)))
    (row,) = [r for r in found.rows if (r.structure, r.metric, r.alpha_beta_gy) == ("Esophagus", "Max[Gy]", 3.0)]
    assert [low for low, _ in row.per_course_gy] == pytest.approx([100.0, 100.0], abs=0.01)
    assert row.cumulative_gy[0] == pytest.approx(100.0, abs=0.01)


def test_phases_of_today_count_each_with_their_own_fractions_and_not_their_sum_again() -> None:
    phases = (dose(39.6, 22, uid="1"), dose(10.8, 6, uid="2"), dose(50.4, 28))
    found = summed(case(phases, course("2024", 0.0, 30)))
    (row,) = [r for r in found.rows if (r.structure, r.metric, r.alpha_beta_gy) == ("Esophagus", "Max[Gy]", 2.0)]
    assert row.cumulative_gy[0] == pytest.approx(50.4 * (1 + 1.8 / 2.0), abs=0.01)


def test_two_doses_of_one_plan_of_today_are_refused_and_not_added() -> None:
    with pytest.raises(InputError, match="today's case has 2 doses that cannot be told apart"):
        summed(case((dose(24.0, 2, uid="1"), dose(24.0, 2, uid="1")), course("2024", 60.0, 30)))


def test_beyond_an_earlier_dose_grid_the_sum_is_bounded_and_told() -> None:
    small = Grid.axial((9, 21, 20), (3.0, 3.0, 3.0), (-60.0, -30.0, -12.0), FRAME)
    known = Course("2024", None, None, (dose(60.0, 30, small),))
    found = summed(case((), known))
    (row,) = [r for r in found.rows if (r.structure, r.metric, r.alpha_beta_gy) == ("Esophagus", "Max[Gy]", 3.0)]
    assert row.cumulative_gy[0] == pytest.approx(100.0, abs=0.01)
    assert row.cumulative_gy[1] == np.inf
    assert any("beyond it is unknown, not 0" in note for note in found.notes)
    assert any("ended is not known" in note for note in found.notes)


def test_what_is_left_is_the_limit_less_what_still_counts() -> None:
    """WE-81: 60 Gy in 30, a quarter recovered, limit 70 Gy EQD2: 25 Gy are left, 13.09 Gy in 2 fractions."""
    rows = budget_rows(
        [cells_of(STRUCTURES["Esophagus"], GRID)], [replace(earlier(60.0), months=7.8)], (), 2
    )  # fmt: skip
    (michigan,) = [row for row in rows if row.limits == "michigan"]
    assert michigan.discounts == (0.25,)
    assert michigan.left_gy == pytest.approx(25.0, abs=0.01)
    assert michigan.dose_gy == pytest.approx(13.09, abs=0.01)
    # The study's own limits know no recovery.
    assert {row.discounts for row in rows if row.limits == "koide"} == {(0.0,)}


def test_an_unknown_interval_leaves_recovery_unknown_and_not_none() -> None:
    rows = budget_rows([cells_of(STRUCTURES["Esophagus"], GRID)], [replace(earlier(60.0), months=None)], (), 2)
    (michigan,) = [row for row in rows if row.limits == "michigan"]
    assert (michigan.verdict, michigan.left_gy, michigan.prior_gy is not None) == ("unknown", None, True)
    assert "time between the courses" in michigan.reason


def test_ranges_follow_the_gradient_and_the_uncertainty_of_the_registration() -> None:
    wide = Grid.axial((20, 30, 60), (3.0, 3.0, 3.0), (-90.0, -45.0, -28.0), "9.9")
    x = np.broadcast_to(-90.0 + 3.0 * np.arange(60), wide.shape)
    # In so many fractions BED is the dose: half a gray more for each millimetre to the left.
    known = Course("2024", None, None, (dose(60.0 + 0.5 * x, 100_000, wide),))
    unsure = Image(GRID, np.full(GRID.shape, 3.0, dtype=np.float32), "mm")
    found = Registration(Transform(FRAME, "9.9", np.eye(4), None, "test"), None, "test", None, unsure)
    made = reirradiate(case((), known), None, PlanningOptions(today=TODAY), {"2024": found}, SILENT)
    (row,) = [r for r in made.rows if (r.structure, r.metric, r.alpha_beta_gy) == ("PTV", "Mean[Gy]", 10.0)]
    assert row.range_gy is not None
    low, high = row.range_gy
    assert low < row.cumulative_gy[0] < high
    # 1.96 standard deviations of 1.91 mm, less what a structure of 24 mm evens out.
    assert 0.5 * 1.2 * 1.91 < 0.5 * (high - low) < 0.5 * 2.3 * 1.91
    sure = Registration(found.rigid, None, "test")
    none = reirradiate(case((), known), None, PlanningOptions(today=TODAY), {"2024": sure}, SILENT)
    assert {r.range_gy for r in none.rows} == {None}
    assert [r.cumulative_gy for r in none.rows] == [r.cumulative_gy for r in made.rows]


def test_lql_stands_beside_lq_where_fractions_are_high_and_only_there() -> None:
    (high,) = [
        r
        for r in summed(case((dose(24.0, 2),), course("2024", 60.0, 30))).rows
        if (r.structure, r.metric, r.alpha_beta_gy) == ("Esophagus", "Max[Gy]", 3.0)
    ]
    # RB-21, RB-22: from 6 Gy on a straight line of slope 5: 2 (6 (1 + 6/3) + 5 (12 - 6)) = 96 Gy beside 120 by LQ.
    assert high.cumulative_gy[0] == pytest.approx(220.0, abs=0.01)
    assert high.lql_gy == pytest.approx((196.0, 196.0), abs=0.01)
    assert {r.lql_gy for r in summed(case((), course("2024", 60.0, 30))).rows} == {None}


def test_the_cord_has_its_published_rules() -> None:
    """WE-85: 50 Gy in 25 before, 10.8 Gy in 2 now: 69.98 Gy EQD2 in all, of which 0.286 now."""
    drawn = StructureSet((*STRUCTURES, box("SpinalCord", 25.0, 34.0)), FRAME)
    found = summed(replace(case((dose(10.8, 2),), course("2024", 50.0, 25)), structures=drawn)).cord
    assert found.structure == "SpinalCord"
    assert [one.value for one in found.hytec] == pytest.approx([19.98, 69.98, 0.2855, 13.0], abs=0.01)
    assert all(one.met for one in found.hytec)
    # WE-83/84's arithmetic: 100 and 39.96 Gy BED are 139.96 in all, two started tens above 120 Gy.
    assert (found.nieder.points, found.nieder.group) == (2.0, "low")


def test_months_are_counted_from_the_last_fraction() -> None:
    (found,) = earlier_on(case((), course("2024", 60.0, 30)), GRID, {}, TODAY)
    assert found.months == pytest.approx(13.0)


def test_courses_that_cannot_be_summed_are_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match="no earlier course"):
        summed(case(()))
    other = Grid.axial(GRID.shape, (3.0, 3.0, 3.0), (-60.0, -30.0, -12.0), "9.9")
    elsewhere = Course("2024", None, None, (dose(60.0, 30, other),))
    with pytest.raises(InputError, match="has to be registered"):
        summed(case((), elsewhere))
    with pytest.raises(InputError, match="after today"):
        summed(case((), course("2024", 60.0, 30, dt.date(2027, 1, 1))))
    with pytest.raises(InputError, match="--same-patient"):
        require_same_patient(case(()), ["P2"])


def test_the_worst_case_holds_the_value_and_within_the_organ_it_is_no_worse() -> None:
    gradient = np.broadcast_to(60.0 + 0.5 * (-60.0 + 3.0 * np.arange(41)), GRID.shape)
    found = summed(case((dose(24.0, 2),), course("2024", gradient, 30)))
    for row in found.rows:
        if row.metric == "Mean[Gy]":
            assert (row.ellipsoid_gy, row.ellipsoid_inside_gy) == (None, None)
            continue
        assert row.ellipsoid_gy is not None
        assert row.ellipsoid_inside_gy is not None
        (low, high), (kept_low, kept_high) = row.ellipsoid_gy, row.ellipsoid_inside_gy
        assert low <= kept_low <= row.cumulative_gy[0] + 1e-3
        assert row.cumulative_gy[0] <= kept_high + 1e-3 <= high + 2e-3
    (row,) = [r for r in found.rows if (r.structure, r.metric, r.alpha_beta_gy) == ("Esophagus", "Max[Gy]", 3.0)]
    # The edge at 22 mm has had 71 Gy; 3 mm on it would have been 72.5 Gy in 30: 72.5 (1 + 72.5 / 90) and 120 of today.
    assert row.ellipsoid_gy is not None
    assert row.ellipsoid_gy[1] == pytest.approx(72.5 * (1 + 72.5 / 90.0) + 120.0, rel=2e-3)


def test_a_survival_curve_stands_beside_the_tumours_alpha_beta_only() -> None:
    """RB-23: from 6.13 Gy a fraction on (24 - 2 x 1.8) / (0.33 x 1.25) = 49.45 Gy BED of alpha/beta 8.6."""
    high = summed(case((dose(24.0, 2),), course("2024", 60.0, 30)))
    told = {r.alpha_beta_gy: r.usc_eqd2_gy for r in high.rows if (r.structure, r.metric) == ("Esophagus", "Max[Gy]")}
    assert (told[2.0], told[3.0]) == (None, None)
    eqd2 = (49.4545 + 60.0 * (1.0 + 2.0 / 8.6)) / (1.0 + 2.0 / 8.6)
    assert told[10.0] == pytest.approx((eqd2, eqd2), rel=1e-4)
    assert {r.usc_eqd2_gy for r in summed(case((), course("2024", 60.0, 30))).rows} == {None}
