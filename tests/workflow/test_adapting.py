"""Adaptation: fractions and scans, contours that are carried, doses that add up, facts that fire triggers."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.evaluation import Row, Scorecard, histograms
from tailort.geometry import Grid, Image, Transform, volume_cm3
from tailort.patient import (
    Beam,
    Case,
    ControlPoint,
    Dose,
    Fact,
    Normalisation,
    Person,
    Plan,
    Point,
    Prescription,
    Scan,
    Structure,
    StructureSet,
)
from tailort.physics import machine
from tailort.protocols import Technique, load
from tailort.protocols.proposals import Proposals, proposals
from tailort.protocols.schema import HandOver
from tailort.radiobiology import course_dose
from tailort.registration import Field, Registration
from tailort.workflow import cone_beam
from tailort.workflow.adaptation_asked import (
    Asked,
    NewScan,
    around_drawn_tumours,
    beyond_today,
    in_order,
    plans_of_course,
)
from tailort.workflow.adaptation_facts import (
    Measured,
    asks_for_a_plan,
    contour_change,
    coverage_falls,
    delivered_gy,
    hard_limit_exceeded,
    planned_images,
    tumour_change,
    weight_loss,
    with_measured,
)
from tailort.workflow.adapting import adapt
from tailort.workflow.clock import StageClock
from tailort.workflow.cone_beam import corrected, correction_of
from tailort.workflow.daily_doses import brought_here, fractions_by_plan, fractions_by_scan, set_up, times_fractions
from tailort.workflow.options import PlanningOptions
from tailort.workflow.propagating import back_to_today, propagated, propagated_points, structures_of_today
from tailort.workflow.recalculating import dose_of_plan
from tailort.workflow.replanning import other_doses, phases_of_plans, remaining, require_even, require_same_course

THEN, NOW = "1.2.3", "1.2.4"
DAY = dt.date(2026, 3, 2)
COVERED = Normalisation("coverage", metric="D95%[Gy]")
IMRT = Technique(kind="imrt", beams=5)
BOOSTED = (Prescription("PTV_5000", 50.0, 25, COVERED), Prescription("PTV_6000", 10.0, 5, COVERED, 2))
PRESCRIBED = (Prescription("PTV_6600", 66.0, 30, COVERED), Prescription("PTV_5400", 54.0, 30, COVERED))
Z = tuple(np.arange(-40.0, 41.0, 4.0))


def box(name: str, role: str, low: float, high: float, frame: str = THEN) -> Structure:
    corners = np.array([[low, low], [high, low], [high, high], [low, high]])
    return Structure(name, role, tuple(np.column_stack([corners, np.full(4, z)]) for z in Z if low <= z <= high), frame)


def grid(frame: str = THEN) -> Grid:
    return Grid.axial((21, 40, 40), (4.0, 4.0, 4.0), (-78.0, -78.0, -40.0), frame)


def dose(values: object, frame: str = THEN, engine: str = "test") -> Dose:
    image = Image(grid(frame), np.broadcast_to(np.asarray(values, np.float32), grid(frame).shape).copy(), "Gy")
    return Dose(image, "physical", "fraction", None, None, engine)


def cylinder(radius_mm: float, frame: str = THEN) -> Image:
    place = grid(frame).to_world(np.stack(np.meshgrid(*(np.arange(n) for n in grid().shape), indexing="ij"), axis=-1))
    inside = np.hypot(place[..., 0], place[..., 1]) <= radius_mm
    return Image(grid(frame), np.where(inside, 0.0, -1000.0).astype(np.float32), "HU")


def shifted(x_mm: float = 0.0, y_mm: float = 0.0, z_mm: float = 0.0) -> Registration:
    """Points of today lie shifted in the planning CT."""
    affine = np.eye(4)
    affine[:3, 3] = x_mm, y_mm, z_mm
    return Registration(Transform(NOW, THEN, affine), method="rigid")


def plan(fractions: int = 30) -> Plan:
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, (-50.0, 50.0), (-50.0, 50.0), None) for mu in (0.0, 100.0))
    beam = Beam("AP", 1, "generic-6MV", 6.0, True, (1.0, 2.0, 3.0), (), points)
    return Plan("main", (beam,), PRESCRIBED, fractions, "HFS", THEN)


def case(image: Image, *structures: Structure, patient: str = "P1", day: dt.date | None = DAY) -> Case:
    frame = image.grid.frame_of_reference
    scan = Scan(image, "CT", f"{frame}.1", f"{frame}.2", (), "HFS")
    person = Person(patient, study_date=day.strftime("%Y%m%d") if day else "")
    return Case(person, (scan,), StructureSet(structures, frame))


def fired(*measured: Measured, **recorded: object) -> tuple[Proposals, set[str]]:
    facts = {name: Fact(name, value) for name, value in recorded.items()}  # type: ignore[arg-type]
    found = proposals(load("individualised"), with_measured(facts, measured, DAY))
    return found, {one.entry.id for one in found.triggers if one.answer == "yes"}


# Fractions


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_every_fraction_is_counted_once(steps: list[int]) -> None:
    before = np.cumsum(steps).tolist()
    found = fractions_by_scan([None] * (len(before) + 1), before, 30)
    assert sum(found) == before[-1]
    assert list(found) == [*steps, 0]


def test_a_fraction_is_counted_on_the_latest_scan_before_it_or_of_its_day() -> None:
    week = [DAY + dt.timedelta(days=n) for n in (1, 2, 8, 9, 10)]
    assert fractions_by_scan([DAY, DAY + dt.timedelta(days=8)], week, 30) == (2, 3)


@pytest.mark.parametrize(
    ("dates", "given_", "told"),
    [
        ([DAY, DAY], [31], "31 fractions were delivered and the plan has 30"),
        ([DAY, DAY], [], "how many fractions were given"),
        ([DAY, DAY], [None, None], "how many fractions were given"),
        ([DAY, DAY, DAY], [8, 4], "never fall"),
        ([DAY, DAY, DAY], [8], "once for each"),
        ([DAY, DAY], [DAY - dt.timedelta(days=1)], "before the planning CT"),
        ([DAY, None], [DAY], "without a date"),
    ],
)
def test_fractions_that_cannot_be_are_refused(dates: list[dt.date | None], given_: list[int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        fractions_by_scan(dates, given_, 30)


def test_the_order_of_new_scans_does_not_matter() -> None:
    body = cylinder(60.0, NOW)
    scans = [
        NewScan(f"week{n}", case(body), DAY + dt.timedelta(weeks=n), 5 * n) for n in (1, 2, 3)
    ]  # fmt: skip
    planned = case(cylinder(60.0))
    told = [scan.label for scan in in_order(planned, scans)]
    assert told == [scan.label for scan in in_order(planned, scans[::-1])] == ["week1", "week2", "week3"]


# Doses


@given(st.integers(1, 29), st.floats(0.1, 4.0))
def test_what_was_given_and_what_remains_of_one_plan_on_one_anatomy_is_the_plan(given_: int, gy: float) -> None:
    one = dose(gy)
    parts = [times_fractions(one, given_), times_fractions(one, 30 - given_)]
    whole = times_fractions(one, 30)
    assert np.allclose(course_dose(parts).image.values, whole.image.values, rtol=1e-6)
    both = course_dose(parts, "EQD2", 3.0).image.values
    assert np.allclose(both, course_dose([whole], "EQD2", 3.0).image.values, rtol=1e-5)


def test_dose_of_k_of_n_fractions_scales_exactly() -> None:
    one = dose(np.linspace(0.0, 3.0, 40))
    for k in (1, 7, 30):
        made = times_fractions(one, k)
        assert made.fractions == k
        assert np.array_equal(made.image.values, one.image.values * np.float32(k))


def test_by_the_identity_a_dose_stays_as_it_is_and_a_shift_moves_it() -> None:
    one = dose(np.linspace(0.0, 3.0, 40))
    same, beyond_cm3 = brought_here(one, Registration.identity(THEN), one)
    assert np.allclose(same.image.values, one.image.values, atol=1e-6)
    assert beyond_cm3 == 0.0
    today = dose(1.0, NOW)
    moved, beyond_cm3 = brought_here(one, shifted(x_mm=4.0), today)
    assert np.allclose(moved.image.values[:, :, :-1], one.image.values[:, :, 1:], atol=1e-5)
    assert np.allclose(moved.image.values[:, :, -1], 1.0), "beyond the scan of that day today's dose is counted"
    assert beyond_cm3 == pytest.approx(21 * 40 * 0.064)


def test_a_plan_is_set_up_where_the_registration_has_its_isocentre() -> None:
    made, turn_deg = set_up(plan(), shifted(5.0, -3.0, 2.0), "HFS")
    assert made.beams[0].isocentre_mm == pytest.approx((-4.0, 5.0, 1.0))
    assert made.frame_of_reference == NOW
    assert turn_deg == pytest.approx(0.0)
    with pytest.raises(InputError, match="lies HFP"):
        set_up(plan(), shifted(), "HFP")


def test_what_remains_keeps_the_dose_per_fraction() -> None:
    left = remaining(PRESCRIBED, {1: 18})
    assert [p.dose_gy for p in left] == pytest.approx([18 * 2.2, 18 * 1.8])
    assert [p.dose_gy + 12 * q.dose_per_fraction_gy for p, q in zip(left, PRESCRIBED, strict=True)] == pytest.approx(
        [66.0, 54.0]
    )
    with pytest.raises(InputError, match="nothing is left"):
        remaining(PRESCRIBED, {1: 0})


def test_a_protocol_of_another_number_of_fractions_is_refused_and_other_doses_are_told() -> None:
    assert [numbers for _, numbers in require_same_course([plan()], PRESCRIBED, [IMRT])] == [(1,)]
    with pytest.raises(InputError, match="has 30 fractions, the protocol 28"):
        require_same_course([plan()], [replace(p, fractions=28) for p in PRESCRIBED], [IMRT])
    assert other_doses([plan()], [1], PRESCRIBED) == ()
    (told,) = other_doses([plan()], [1], [replace(PRESCRIBED[0], dose_gy=60.0)])
    assert "66 Gy" in told
    assert "60 Gy" in told


def test_what_is_left_of_a_painted_dose_is_not_planned_anew() -> None:
    require_even(load("smart-imrt"))
    with pytest.raises(InputError, match="paints the dose of"):
        require_even(load("painting-demo"))


# Courses of several phases: 50 Gy in 25, then a boost of 10 Gy in 5


@given(st.lists(st.integers(0, 8), min_size=1, max_size=4), st.lists(st.integers(1, 25), min_size=1, max_size=3))
def test_fractions_fill_one_phase_after_the_other(steps: list[int], planned: list[int]) -> None:
    before = np.minimum(np.cumsum(steps), sum(planned)).tolist()
    found = fractions_by_plan([None] * (len(before) + 1), before, [], planned)
    # As a person counts: each fraction by itself.
    order = [n for n, count in enumerate(planned) for _ in range(count)]
    scans = [sum(count <= fraction for count in before) for fraction in range(before[-1])]
    for scan, by_plan in enumerate(found):
        for n, count in enumerate(by_plan):
            assert count == sum(on == scan and of == n for on, of in zip(scans, order, strict=False))


def test_treatment_records_tell_the_phase_of_each_fraction() -> None:
    days = [DAY + dt.timedelta(days=n) for n in range(6)]
    found = fractions_by_plan([DAY, DAY + dt.timedelta(days=3)], [], [days[:4], days[4:]], [25, 5])
    assert found == ((3, 0), (1, 2))
    assert fractions_by_plan([DAY, DAY + dt.timedelta(days=3)], [], [days, ()], [25, 5]) == ((3, 0), (3, 0))
    with pytest.raises(InputError, match="6 fractions were delivered and the plan has 5"):
        fractions_by_plan([DAY, DAY], [], [(), days], [25, 5])


def test_what_remains_of_a_phase_that_is_begun_and_of_the_ones_after_it() -> None:
    assert [(p.target, p.dose_gy, p.fractions) for p in remaining(BOOSTED, {1: 15, 2: 5})] == [
        ("PTV_5000", pytest.approx(30.0), 15), ("PTV_6000", pytest.approx(10.0), 5),
    ]  # fmt: skip
    assert [(p.target, p.dose_gy, p.fractions) for p in remaining(BOOSTED, {1: 0, 2: 3})] == [
        ("PTV_6000", pytest.approx(6.0), 3)
    ]


def test_the_dose_given_so_far_is_that_of_each_phase() -> None:
    found = delivered_gy([(BOOSTED[:1], 25), (BOOSTED[1:], 2)])
    assert found.value == pytest.approx(54.0)
    assert "25 fractions of 2 Gy prescribed to PTV_5000, 2 fractions of 2 Gy prescribed to PTV_6000" in found.source
    assert delivered_gy([(BOOSTED[:1], 25), ((), 2)]).value is None


def phase_plans() -> tuple[Plan, Plan]:
    first, second = (
        replace(plan(), fractions=n, label=f"main ph {n}", prescriptions=(own,), sop_instance_uid=f"1.7.{n}")
        for n, own in ((25, BOOSTED[0]), (5, BOOSTED[1]))
    )
    return first, second


def test_plans_are_in_the_order_of_their_phases_or_of_a_person() -> None:
    first, second = phase_plans()
    both = replace(case(cylinder(60.0)), plans=(second, first))
    assert plans_of_course(both) == (first, second)
    assert plans_of_course(both, ("main ph 5", "main ph 25")) == (second, first)
    with pytest.raises(InputError, match="name each of its plans once: main ph 5, main ph 25"):
        plans_of_course(both, ("main", "main ph 5"))
    same = replace(second, prescriptions=(replace(BOOSTED[1], phase=1),))
    with pytest.raises(InputError, match="do not tell which of them is given first"):
        plans_of_course(replace(both, plans=(first, same)))


def test_of_several_plans_none_has_the_dose_that_may_be_their_sum() -> None:
    first, second = phase_plans()
    own, whole = (replace(times_fractions(dose(2.0), n), plan_uid=uid) for n, uid in ((25, "1.7.25"), (30, "")))
    both = replace(case(cylinder(60.0)), plans=(first, second), doses=(whole, own))
    assert dose_of_plan(both, first) is own
    assert dose_of_plan(both, second) is None


def test_phases_are_those_of_the_plans_also_where_fractions_were_handed_over() -> None:
    first, second = phase_plans()
    assert [numbers for _, numbers in require_same_course((first, second), BOOSTED, [IMRT])] == [(1, 2)]
    with pytest.raises(InputError, match=r"has 25 \+ 5 fractions, the protocol 24 \+ 5"):
        require_same_course((first, second), (replace(BOOSTED[0], fractions=24), BOOSTED[1]), [IMRT])
    with pytest.raises(InputError, match=r"has 25 fractions, the protocol 25 \+ 5"):
        require_same_course((first,), BOOSTED, [IMRT])
    moving = HandOver(from_phase=1, to_phase=2, structure="SpinalCord", metric="Max[Gy]", below_gy=45.0)
    handing = IMRT.model_copy(update={"hand_over": moving})
    asked = (replace(BOOSTED[0], fractions=27, dose_gy=54.0), replace(BOOSTED[1], fractions=3, dose_gy=6.0))
    assert phases_of_plans((first, second), asked, handing) == (1, 2)
    assert phases_of_plans((first, second), asked, IMRT) is None
    # None comes back to the phase that hands over.
    other_way = (replace(BOOSTED[0], fractions=23, dose_gy=46.0), replace(BOOSTED[1], fractions=7, dose_gy=14.0))
    assert phases_of_plans((first, second), other_way, handing) is None


# Contours


def test_contours_are_kept_by_the_identity_and_are_marked_for_review() -> None:
    one = box("GTVp", "GTV", -20.0, 20.0)
    (made,) = propagated([one], Registration.identity(THEN), grid(), 3.0)
    assert all(np.array_equal(a, b) for a, b in zip(made.contours, one.contours, strict=True))
    assert "to be reviewed" in made.made_by[-1]


def test_a_carried_box_moves_and_keeps_its_volume() -> None:
    one = box("GTVp", "GTV", -20.0, 20.0)
    (made,) = propagated([one], shifted(6.0, -2.0, 4.0), grid(NOW), 3.0)
    low, high = made.bounds_mm()
    assert low == pytest.approx([-26.0, -18.0, -24.0], abs=0.8)
    assert high == pytest.approx([14.0, 22.0, 16.0], abs=0.8)
    assert volume_cm3(made.contours) == pytest.approx(volume_cm3(one.contours), rel=0.03)


def test_a_structure_in_one_plane_is_carried_as_thick_as_a_slice() -> None:
    one = box("GTVn", "GTV", -20.0, 20.0)
    flat = replace(one, contours=one.contours[:1])
    (made,) = propagated([flat], shifted(6.0, -2.0, 4.0), grid(NOW), 9.0)
    area_cm2 = 16.0
    assert volume_cm3(made.contours, single_slice_thickness_mm=9.0) == pytest.approx(0.9 * area_cm2, rel=0.35)


def test_a_box_is_carried_smaller_where_the_tissue_has_shrunk() -> None:
    # A point x of today was at 1.25 x at planning: today everything has 0.8 of its size.
    place = grid(NOW).to_world(np.stack(np.meshgrid(*(np.arange(n) for n in grid().shape), indexing="ij"), axis=-1))
    found = Registration(Transform(NOW, THEN, np.eye(4)), Field(grid(NOW), (0.25 * place).astype(np.float32)))
    one = box("GTVp", "GTV", -20.0, 20.0)
    (made,) = propagated([one], found, grid(NOW), 3.0)
    assert volume_cm3(made.contours) == pytest.approx(0.8**3 * volume_cm3(one.contours), rel=0.05)
    assert back_to_today(np.array([20.0, 0.0, 10.0]), found) == pytest.approx([16.0, 0.0, 8.0], abs=0.05)
    (point,) = propagated_points([Point("Carina", (20.0, 0.0, 10.0), THEN)], found)
    assert point.position_mm == pytest.approx((16.0, 0.0, 8.0), abs=0.05)


def test_what_was_drawn_today_wins_and_what_the_recipe_makes_is_not_carried() -> None:
    planned = StructureSet(
        (box("External", "EXTERNAL", -40.0, 40.0), box("GTVp", "GTV", -20.0, 20.0), box("CTV", "CTV", -24.0, 24.0),
         box("PTV_6600", "PTV", -28.0, 28.0), box("Heart", "ORGAN", 20.0, 36.0)), THEN,
    )  # fmt: skip
    drawn = StructureSet((box("Heart", "ORGAN", 16.0, 32.0, NOW),), NOW)
    made = structures_of_today(planned, drawn, shifted(4.0), cylinder(60.0, NOW), ("CTV", "PTV_6600"), "today", 3.0)
    assert sorted(made.names) == ["CTV", "External", "GTVp", "Heart"]
    assert not made["Heart"].made_by
    assert "CT shows" in made["External"].made_by[-1]
    low, high = made["External"].bounds_mm()
    assert float(high[0] - low[0]) == pytest.approx(120.0, abs=5.0)


# Facts and triggers


def test_no_trigger_fires_for_an_anatomy_that_has_not_changed() -> None:
    one = StructureSet((box("PTV_6600", "PTV", -20.0, 20.0), box("CTV", "CTV", -12.0, 12.0)), THEN)
    whole = times_fractions(dose(2.25), 30)
    curves = histograms(one, whole)
    tumour = StructureSet((box("GTVp", "GTV", -20.0, 20.0),), THEN)
    card = Scorecard((_row("pass", "hard"),), {})
    measured = (
        delivered_gy([(PRESCRIBED, 10)]), *coverage_falls(one, PRESCRIBED, curves, curves), hard_limit_exceeded(card),
        weight_loss(70.0, 70.0), contour_change(cylinder(60.0), cylinder(60.0), Registration.identity(THEN), tumour),
        tumour_change(tumour, tumour, (4.0, 4.0)),
    )  # fmt: skip
    values = {one.name: one.value for one in measured}
    assert values == {
        "target_dose_delivered_gy": 22.0, "ctv_d95_fall_percent": 0.0, "ptv_d95_fall_percent": 0.0,
        "hard_limit_exceeded_projected": False, "weight_loss_in_course_percent": 0.0, "contour_change_cm": 0.0,
        "tumour_volume_change_percent": 0.0,
    }  # fmt: skip
    found, ids = fired(*measured)
    assert ids == set()
    unknown = {one.entry.id for one in found.triggers if one.answer == "unknown"}
    # Nobody has told of effusion, uptake, hypoxia or motion.
    assert unknown == {"anatomy", "metabolic-response", "biology", "motion"}


def _row(verdict: str, priority: str) -> Row:
    value = None if verdict == "unknown" else 40.0
    return Row("SpinalCord", "Max[Gy]", "physical", "course", value, "<", 45.0, priority, verdict, "MS-70")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "below", "above", "trigger"),
    [
        ("target_dose_delivered_gy", 49.9, 50.0, "dose-50-gy"),
        ("ctv_d95_fall_percent", 3.0, 3.1, "coverage"),
        ("ptv_d95_fall_percent", 3.0, 3.1, "coverage"),
        ("hard_limit_exceeded_projected", False, True, "hard-limit"),
        ("weight_loss_in_course_percent", 10.0, 10.1, "anatomy"),
        ("contour_change_cm", 1.0, 1.1, "anatomy"),
        ("tumour_volume_change_percent", -30.0, -30.1, "tumour"),
    ],
)
def test_a_fact_beyond_its_threshold_fires_its_trigger(name: str, below: object, above: object, trigger: str) -> None:
    assert fired(Measured(name, below, ""))[1] == set()  # type: ignore[arg-type]
    found, ids = fired(Measured(name, above, ""))  # type: ignore[arg-type]
    assert ids == {trigger}
    (one,) = (each for each in found.triggers if each.entry.id == trigger)
    assert asks_for_a_plan(one)


def test_an_unknown_fact_leaves_its_trigger_unknown() -> None:
    found, ids = fired(Measured("weight_loss_in_course_percent", None, "not known"))
    (anatomy,) = (each for each in found.triggers if each.entry.id == "anatomy")
    assert ids == set()
    assert anatomy.answer == "unknown"
    assert "weight_loss_in_course_percent" in anatomy.missing


def test_a_fall_of_coverage_is_told_in_percent_of_the_prescription() -> None:
    structures = StructureSet((box("PTV_6600", "PTV", -20.0, 20.0), box("CTV", "CTV", -12.0, 12.0)), THEN)
    before, after = (histograms(structures, times_fractions(dose(gy), 30)) for gy in (2.2, 2.1))
    ctv, ptv = coverage_falls(structures, PRESCRIBED, before, after)
    assert ptv.value == pytest.approx(100 * 3.0 / 66.0, abs=0.02)
    assert ctv.value == pytest.approx(100 * 3.0 / 66.0, abs=0.02)
    assert "PTV_6600" in ptv.source


def test_a_body_that_has_shrunk_by_12_mm_says_so() -> None:
    targets = StructureSet((box("GTVp", "GTV", -12.0, 12.0),), THEN)
    found = contour_change(cylinder(64.0), cylinder(52.0), Registration.identity(THEN), targets)
    assert found.value == pytest.approx(1.2, abs=0.4)


def test_a_tumour_that_was_drawn_again_tells_its_change_and_a_carried_one_does_not() -> None:
    then = StructureSet((box("GTVp", "GTV", -20.0, 20.0),), THEN)
    drawn = StructureSet((box("GTVp", "GTV", -12.0, 12.0),), THEN)
    found = tumour_change(then, drawn, (4.0, 4.0))
    assert isinstance(found.value, float)
    assert found.value < -70.0
    carried = StructureSet((replace(box("GTVp", "GTV", -12.0, 12.0), made_by=("carried",)),), THEN)
    unknown = tumour_change(then, carried, (4.0, 4.0))
    assert unknown.value is None
    assert "draw the GTV" in unknown.source


@pytest.mark.parametrize(
    ("verdicts", "value"),
    [(("pass",), False), (("pass", "fail"), True), (("pass", "unknown"), None), (("unknown", "fail"), True)],
)
def test_a_hard_limit_that_is_not_judged_leaves_the_fact_unknown(verdicts: tuple[str, ...], value: object) -> None:
    card = Scorecard(tuple(_row(verdict, "hard") for verdict in verdicts), {})
    assert hard_limit_exceeded(card).value is value
    assert hard_limit_exceeded(None).value is None


def test_a_weight_that_cannot_be_is_refused_and_one_that_is_not_known_stays_unknown() -> None:
    assert weight_loss(80.0, 70.0).value == pytest.approx(12.5)
    assert weight_loss(80.0, None).value is None
    with pytest.raises(InputError, match="700 kg"):
        weight_loss(80.0, 700.0)


def test_the_ct_at_50_gy_of_the_salvage_protocol_is_due_with_its_fraction() -> None:
    protocol = load("salvage-crt")
    plans = {entry.id: entry for entry in protocol.file.plans}
    for name, fraction in (("C", 25), ("D", 28), ("A", 24)):
        adaptations = tuple(entry for entry in protocol.file.adaptations if entry.plan == name)
        told = {"prescriptions": plans[name].prescriptions, "adaptations": adaptations}
        own = protocol.file.model_copy(update=told)
        seen: Any = SimpleNamespace(file=own)
        before, after = planned_images(seen, fraction - 1), planned_images(seen, fraction)
        assert {one.fraction for one in before} == {fraction}
        assert not any(one.due for one in before)
        assert all(one.due for one in after)


# Cone-beam CT


def test_a_cone_beam_ct_needs_a_named_correction() -> None:
    scan = replace(case(cylinder(60.0, NOW)).ct, description="Thorax CBCT")
    planning = case(cylinder(60.0)).ct
    with pytest.raises(InputError, match="--hu-correction"):
        corrected(scan, planning, None, "week1")
    same, told = corrected(scan, planning, "none", "week1")
    assert np.array_equal(same.image.values, scan.image.values)
    assert "taken as those of the planning CT" in told
    with pytest.raises(InputError, match="unknown correction"):
        correction_of("magic")


def test_the_air_around_a_patient_in_a_cone_beam_ct_loses_its_noise_and_the_patient_nothing() -> None:
    noise = np.random.default_rng(1).normal(0.0, 28.0, cylinder(60.0).values.shape)
    clean = cylinder(60.0, NOW)
    lungs = np.where(cylinder(25.0).values > -500.0, -800.0, clean.values)
    noisy = clean.with_values((lungs + noise).astype(np.float32))
    made, _ = corrected(replace(case(noisy).ct, description="CBCT"), case(cylinder(60.0)).ct, "none", "week1")
    inside = cylinder(60.0).values > -500.0
    assert np.array_equal(made.image.values[inside], noisy.values[inside]), "lungs are no air around the patient"
    assert np.ptp(made.image.values[cylinder(72.0).values < -500.0]) == 0.0


def test_matched_quantiles_undo_a_scale_and_an_offset_of_the_ct_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cone_beam, "rigid", lambda *_, **__: shifted())
    body = cylinder(60.0)
    inside = body.values > -500.0
    varied = np.where(inside, np.linspace(-300.0, 300.0, 40), body.values).astype(np.float32)
    planning = replace(case(body).ct, image=body.with_values(varied))
    day = Image(grid(NOW), np.where(inside, 0.9 * varied - 25.0, -1000.0).astype(np.float32), "HU")
    made, told = corrected(case(day).ct, planning, "histogram", "week1")
    assert np.abs(made.image.values - varied)[inside].max() < 5.0
    assert np.array_equal(made.image.values[~inside], day.values[~inside])
    assert "quantiles" in told


# What cannot be


def _asked(new: Case, **changed: object) -> Asked:
    planned = replace(case(cylinder(60.0), box("External", "EXTERNAL", -40.0, 40.0), box("GTVp", "GTV", -8.0, 8.0)),
                      plans=(plan(),))  # fmt: skip
    told = new.person.study_date
    scan = NewScan("week1", new, dt.datetime.strptime(told, "%Y%m%d").date() if told else None, 10)
    options = PlanningOptions(engine="pencil-nyholm")
    asked = Asked(
        planned, (scan,), {}, load("individualised"), None, machine("generic-6MV"), options
    )  # fmt: skip
    return replace(asked, **changed)  # type: ignore[arg-type]


def _adapt(asked: Asked) -> None:
    adapt(asked, StageClock(lambda stage, share: None))


def test_a_ct_before_the_planning_ct_is_refused() -> None:
    with pytest.raises(InputError, match="before the planning CT"):
        _adapt(_asked(case(cylinder(60.0, NOW), day=DAY - dt.timedelta(days=1))))


def test_more_fractions_than_planned_are_refused() -> None:
    asked = _asked(case(cylinder(60.0, NOW)))
    with pytest.raises(InputError, match="31 fractions were delivered and the plan has 30"):
        _adapt(replace(asked, new=(replace(asked.new[0], delivered=31),)))


def test_a_ct_that_does_not_hold_the_target_is_refused() -> None:
    new = cylinder(60.0)
    asked = _asked(case(new))
    above = tuple(c + np.array([0.0, 0.0, 60.0]) for c in box("GTVn", "GTV", -8.0, 8.0).contours)
    structures = asked.planned.structures.with_structures(Structure("GTVn", "GTV", above, THEN))
    far = replace(asked.planned, structures=structures)
    with pytest.raises(InputError, match="does not hold target 'GTVn'"):
        _adapt(replace(asked, planned=far))


def test_organs_in_which_todays_ct_ends_are_named() -> None:
    whole, flat = (replace(box("SpinalCord", "ORGAN", low, high), made_by=("carried",))
                   for low, high in ((-40.0, 40.0), (-8.0, 8.0)))  # fmt: skip
    structures = StructureSet((whole, replace(flat, name="Heart")), THEN)
    long_ = cylinder(60.0)
    short = Image(long_.grid.crop((5, 0, 0), (16, 40, 40)), long_.values[5:16], "HU")
    assert beyond_today(structures, structures, shifted(), long_) == ()
    assert beyond_today(structures, structures, shifted(), short) == ("SpinalCord",)
    assert beyond_today(structures, structures, shifted(z_mm=-20.0), long_) == ("SpinalCord",)
    drawn = StructureSet((replace(whole, made_by=()),), THEN)
    assert beyond_today(structures, drawn, shifted(), short) == (), "what a person drew is his"


def test_a_carried_organ_around_a_tumour_that_was_drawn_smaller_is_named_and_no_other() -> None:
    organ = box("Esophagus", "ORGAN", -24.0, 24.0)
    aside = replace(organ, name="SpinalCord", contours=tuple(c + np.array([100.0, 0.0, 0.0]) for c in organ.contours))
    gtv, smaller = box("GTVp", "GTV", -20.0, 20.0), box("GTVp", "GTV", -16.0, 16.0)
    planned = StructureSet((gtv, organ, aside), THEN)
    carried = tuple(replace(s, made_by=("carried",)) for s in (organ, aside))

    def named(*today: Structure) -> tuple[str, ...]:
        return around_drawn_tumours(planned, StructureSet(today, THEN), (4.0, 4.0))

    (told,) = named(smaller, *carried)
    # Boxes of 40 mm on 11 planes and of 32 mm on 9, each as thick as its planes.
    assert told.startswith("Esophagus is carried and holds GTVp, which was drawn 48 % smaller")
    assert "mean dose of Esophagus is likely told too high" in told
    assert named(gtv, *carried) == (), "it has not changed"
    assert named(replace(smaller, made_by=("carried",)), *carried) == (), "nobody drew it"
    assert named(smaller, organ, aside) == (), "what a person drew is his"


def test_a_case_without_a_plan_is_refused() -> None:
    asked = _asked(case(cylinder(60.0, NOW)))
    with pytest.raises(InputError, match="no plan"):
        _adapt(replace(asked, planned=replace(asked.planned, plans=())))
