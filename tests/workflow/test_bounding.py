"""Earlier courses that are known by bounds only: what is told holds the truth, whatever the truth is."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError
from tailort.evaluation import EarlierCourse, accumulate, assess, cells_of, dvh_in
from tailort.geometry import Grid, Image, Transform
from tailort.patient import (
    Case,
    Constraint,
    Course,
    Dose,
    Person,
    PrescribedPhase,
    RegistrationOptions,
    Scan,
    Structure,
    StructureSet,
)
from tailort.radiobiology import bed
from tailort.registration import Registration
from tailort.workflow.bounding import bounded_doses, without_counterpart
from tailort.workflow.clock import StageClock
from tailort.workflow.earlier import earlier_on
from tailort.workflow.options import PlanningOptions
from tailort.workflow.reirradiating import reirradiate

SILENT = StageClock(lambda stage, share: None)
FRAME = "1.2.3"
GRID = Grid.axial((9, 15, 29), (3.0, 3.0, 3.0), (-42.0, -21.0, -12.0), FRAME)
METRICS = ("Max[Gy]", "Min[Gy]", "Mean[Gy]", "D0.035cc[Gy]", "D1cc[Gy]", "D50%[Gy]", "V40Gy[%]", "CV40Gy[cc]")
TODAY = dt.date(2026, 11, 1)


def box(name: str, low_mm: float, high_mm: float) -> Structure:
    corners = np.array([[low_mm, -9.0], [high_mm, -9.0], [high_mm, 9.0], [low_mm, 9.0]])
    contours = tuple(np.column_stack([corners, np.full(4, z)]) for z in (-6.0, -3.0, 0.0, 3.0, 6.0))
    return Structure(name, "ORGAN", contours, FRAME)


CORD, OESOPHAGUS = box("SpinalCord", -33.0, -18.0), box("Esophagus", 12.0, 30.0)
STRUCTURES = StructureSet((CORD, OESOPHAGUS), FRAME)


def image(gy: Any) -> Image:
    return Image(GRID, np.broadcast_to(gy, GRID.shape).astype(np.float32), "Gy")


def dose(gy: Any, fractions: int = 30) -> Dose:
    return Dose(image(gy), "physical", "course", fractions, None, "test")


def earlier(*doses: Dose) -> EarlierCourse:
    return EarlierCourse("2019", doses, 12.0, "test")


def paper(*phases: PrescribedPhase, **organs: float) -> Course:
    return Course("2019", None, None, (), prescribed=phases, organ_highest_gy=organs, last_fraction=dt.date(2025, 1, 1))


PHASE = PrescribedPhase(60.0, 30, 107.0)


def bounded(course: Course) -> EarlierCourse:
    return earlier(*bounded_doses(course, STRUCTURES, 3.0, GRID))


def case(*courses: Course, own: tuple[Dose, ...] = ()) -> Case:
    ct = Image(GRID, np.zeros(GRID.shape, dtype=np.int16), "HU")
    scan = Scan(ct, "CT", "1", "2", ("3",) * GRID.shape[0], "HFS")
    return Case(Person("P1"), (scan,), STRUCTURES, doses=own, courses=courses)


def bounds(courses: list[EarlierCourse], own: list[Dose], metric: str, structure: Structure) -> tuple[float, float]:
    total = accumulate(courses, own, "BED", 3.0)
    return dvh_in(cells_of(structure, GRID), total).bounds(metric)


@given(st.integers(0, 10_000), st.sampled_from(METRICS), st.sampled_from([CORD, OESOPHAGUS]))
@settings(max_examples=25, deadline=None)
def test_whatever_was_given_lies_within_the_bounds_of_every_metric(
    seed: int, metric: str, structure: Structure
) -> None:
    rng = np.random.default_rng(seed)
    truth = earlier(dose(rng.uniform(0.0, 64.2, GRID.shape)))
    own = [dose(rng.uniform(0.0, 30.0, GRID.shape), 5)]
    low, high = bounds([bounded(paper(PHASE))], own, metric, structure)
    exact, same = bounds([truth], own, metric, structure)
    assert exact == same
    assert low - 1e-4 <= exact <= high + 1e-4


def test_a_prescription_alone_counts_from_nothing_to_the_most_that_a_person_says() -> None:
    low, high = bounds([bounded(paper(PHASE))], [], "Max[Gy]", OESOPHAGUS)
    # 107 % of 60 Gy are 64.2 Gy in 30 fractions.
    assert (low, high) == (0.0, pytest.approx(64.2 * (1 + 64.2 / 90), rel=1e-5))


def test_each_phase_is_bounded_with_its_own_fractions() -> None:
    boost = PrescribedPhase(10.0, 2, 110.0)
    _, high = bounds([bounded(paper(PHASE, boost))], [], "Max[Gy]", OESOPHAGUS)
    assert high == pytest.approx(float(bed(64.2, 30, 3.0)) + float(bed(11.0, 2, 3.0)), rel=1e-5)


def test_a_chart_that_tells_the_most_of_an_organ_tightens_its_bound_and_no_other() -> None:
    course = bounded(paper(PHASE, SpinalCord=42.0))
    assert bounds([course], [], "Max[Gy]", CORD)[1] == pytest.approx(42.0 * (1 + 42.0 / 90), rel=1e-5)
    assert bounds([course], [], "Max[Gy]", OESOPHAGUS)[1] == pytest.approx(64.2 * (1 + 64.2 / 90), rel=1e-5)


def test_the_bound_of_an_organ_holds_where_it_lies_in_another_and_not_beside_it() -> None:
    canal = box("SpinalCanal", -36.0, -9.0)
    course = bounded(paper(PHASE, SpinalCord=42.0))
    # The cord lies in its canal: the canal's middle is the cord, its edge may have had more.
    assert bounds([course], [], "Max[Gy]", CORD)[1] == pytest.approx(42.0 * (1 + 42.0 / 90), rel=1e-5)
    assert bounds([course], [], "Max[Gy]", canal)[1] == pytest.approx(64.2 * (1 + 64.2 / 90), rel=1e-5)
    low, high = bounds([course], [], "Mean[Gy]", canal)
    assert low == 0.0
    assert 42.0 * (1 + 42.0 / 90) < high < 64.2 * (1 + 64.2 / 90)
    neighbour = box("A_Aorta", -18.0, -6.0)
    assert bounds([course], [], "Mean[Gy]", neighbour)[1] > 0.95 * 64.2 * (1 + 64.2 / 90)


@pytest.mark.parametrize(("limit_gy", "verdict"), [(200.0, "pass"), (100.0, "unknown"), (25.0, "fail")])
def test_a_limit_fails_only_where_both_bounds_fail(limit_gy: float, verdict: str) -> None:
    asked = Constraint(
        "Esophagus", "Max[Gy]", "<=", limit_gy, "hard", "x", quantity="BED", alpha_beta_gy=3.0, scope="cumulative"
    )
    # Today's 20 Gy in 5 are 46.7 Gy BED; with 64.2 Gy in 30 before at most 156.7 Gy.
    card = assess(STRUCTURES, dose(20.0, 5), [asked], (), earlier=[bounded(paper(PHASE))])
    (row,) = card.rows
    assert (row.verdict, row.value) == (verdict, None)
    assert "known by bounds only" in row.reason
    assert "46.67 and 156.7" in row.reason


def test_where_one_course_is_not_known_the_others_still_count() -> None:
    known = earlier(dose(60.0))
    nothing = earlier(dose(np.nan))
    assert bounds([known, nothing], [], "Max[Gy]", OESOPHAGUS) == (pytest.approx(100.0, rel=1e-6), np.inf)
    half = np.where(np.arange(29) < 23, 60.0, np.nan)  # unknown from x = 27 mm on
    low, high = bounds([known, earlier(dose(half))], [], "Mean[Gy]", OESOPHAGUS)
    assert 100.0 < low < 200.0
    assert high == np.inf


def test_bounds_that_meet_are_a_value() -> None:
    one = dose(30.0)
    same = replace(one, least=one.image)
    total = accumulate([earlier(same)], (), "BED", 3.0)
    found = dvh_in(cells_of(OESOPHAGUS, GRID), total)
    assert found.value("Max[Gy]") == pytest.approx(40.0, rel=1e-6)
    open_ = dvh_in(cells_of(OESOPHAGUS, GRID), accumulate([bounded(paper(PHASE))], (), "BED", 3.0))
    with pytest.raises(GeometryError, match="known by bounds only"):
        open_.value("Max[Gy]")
    with pytest.raises(GeometryError, match="known by bounds only"):
        open_.gEUD(8.0)


def test_bounds_are_converted_with_the_dose() -> None:
    total = accumulate([bounded(paper(PHASE))], [dose(20.0, 5)], "BED", 3.0)
    curve = dvh_in(cells_of(OESOPHAGUS, GRID), total)
    in_eqd2 = curve.converted("EQD2", 3.0).bounds("Max[Gy]")
    assert in_eqd2 == pytest.approx([value * 0.6 for value in curve.bounds("Max[Gy]")], rel=1e-5)


def test_the_sum_that_is_planned_on_is_the_most() -> None:
    total = accumulate([bounded(paper(PHASE))], (), "BED", 3.0)
    np.testing.assert_allclose(total.image.values, 64.2 * (1 + 64.2 / 90), rtol=1e-5)
    assert total.least is not None
    assert not total.least.values.any()


def test_tissue_without_counterpart_may_have_had_all_or_nothing() -> None:
    given_gy = dose(np.linspace(10.0, 50.0, GRID.shape[2]))
    moved = Course("2020", None, None, (given_gy,), registration=RegistrationOptions(without=("Esophagus", "Stomach")))
    (made,) = without_counterpart([given_gy], moved, STRUCTURES, 3.0)
    found = earlier(made)
    assert bounds([found], [], "Mean[Gy]", OESOPHAGUS) == (0.0, pytest.approx(50.0 * (1 + 50.0 / 90), rel=1e-5))
    assert bounds([found], [], "Mean[Gy]", CORD) == bounds([earlier(given_gy)], [], "Mean[Gy]", CORD)
    elsewhere = replace(moved, registration=RegistrationOptions(without=("Stomach",)))
    assert without_counterpart([given_gy], elsewhere, STRUCTURES, 3.0) == (given_gy,)


def test_on_a_part_of_the_grid_the_most_is_still_that_of_the_whole_course() -> None:
    given_gy = dose(np.linspace(10.0, 50.0, GRID.shape[2])[::-1])
    moved = Course("2020", None, None, (given_gy,), registration=RegistrationOptions(without=("Esophagus",)))
    part = GRID.crop((0, 0, 16), (9, 15, 29))
    (found,) = earlier_on(case(moved), part, {}, TODAY)
    assert float(found.doses[0].image.values.max()) == 50.0


def test_earlier_courses_come_bounded_onto_the_grid_of_today() -> None:
    apart = Course("2020", None, None, (dose(50.0, 25),), registration=RegistrationOptions(without=("Esophagus",)))
    on_paper, moved = earlier_on(case(paper(PHASE), apart), GRID, {}, TODAY)
    assert "only a prescription" in on_paper.mapped
    assert on_paper.months == pytest.approx(22.0)
    assert moved.doses[0].least is not None


def test_a_sum_with_a_bounded_course_says_so_first_and_gives_both_ends() -> None:
    made = reirradiate(case(paper(PHASE), own=(dose(20.0, 5),)), None, PlanningOptions(today=TODAY), {}, SILENT)
    assert any("'2019' is not known, only its prescription" in text for text in made.warnings)
    (row,) = [r for r in made.rows if (r.structure, r.metric, r.alpha_beta_gy) == ("Esophagus", "Max[Gy]", 3.0)]
    assert row.cumulative_gy == pytest.approx(
        (20.0 * (1 + 4 / 3), 20.0 * (1 + 4 / 3) + 64.2 * (1 + 64.2 / 90)), rel=1e-4
    )
    assert row.as_dict()["cumulative"]["bed_gy"] is None
    left = {r.limits: r.left_gy for r in made.budget if r.structure == "Esophagus" and r.metric == "Max[Gy]"}
    assert left["koide"] == pytest.approx(203.0 - 64.2 * (1 + 64.2 / 90), abs=0.01)


@pytest.mark.parametrize(
    ("course", "words"),
    [
        (paper(PHASE, Stomach=20.0), "'Stomach' of course '2019' is not drawn today"),
        (paper(PHASE, SpinalCord=80.0), "more than the 64.2 Gy"),
        (paper(), "neither a dose nor a prescription"),
        (paper(PrescribedPhase(60.0, 30)), "say highest_percent"),
    ],
)
def test_a_course_that_cannot_be_bounded_is_refused(course: Course, words: str) -> None:
    with pytest.raises(InputError, match=words):
        bounded(course)


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ((0.0, 30, 107.0), "0 Gy"),
        ((60.0, 0, 107.0), "one fraction"),
        ((60.0, 30, 95.0), "95 %"),
        ((60, 30, 900), "900"),
    ],
)
def test_a_prescription_that_is_none_is_refused(phase: tuple[float, int, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PrescribedPhase(*phase)


def test_bounds_do_not_hold_what_a_registration_may_be_off_and_that_is_said() -> None:
    elsewhere = Grid(GRID.shape, GRID.affine, "9.9")
    given_gy = Dose(Image(elsewhere, image(50.0).values, "Gy"), "physical", "course", 25, None, "test")
    unsure = Image(GRID, np.full(GRID.shape, 2.0, dtype=np.float32), "mm")
    found = Registration(Transform(FRAME, "9.9", np.eye(4), None, "test"), None, "test", None, unsure)
    apart = Course("2020", None, None, (given_gy,), last_fraction=dt.date(2020, 1, 1))
    made = reirradiate(case(apart, paper(PHASE)), None, PlanningOptions(today=TODAY), {"2020": found}, SILENT)
    assert any("'2019' is known by bounds only" in note and "'2020' may be off" in note for note in made.notes)
    assert {row.range_gy for row in made.rows} == {None}
    alone = reirradiate(case(apart), None, PlanningOptions(today=TODAY), {"2020": found}, SILENT)
    assert not any("known by bounds only" in note for note in alone.notes)
    # 50 Gy in 25 and up to 64.2 Gy in 30 at the cord, alpha/beta 2 Gy: 100 to 232.9 Gy.
    (flag,) = [text for text in made.warnings if "KO-84" in text]
    assert "100.0 to 232.9 Gy BED (a/b=2), which may be above 140 Gy" in flag
