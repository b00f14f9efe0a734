"""Serial response: laws of a series, and what triggers say of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, Transform
from tailort.patient import (
    Case,
    Fact,
    FunctionalImage,
    FunctionalScan,
    Person,
    Scan,
    Structure,
    StructureSet,
    quantity_named,
)
from tailort.protocols import load
from tailort.registration import Registration
from tailort.registration.records import Measure, Quality
from tailort.targets.uptake_methods import chosen_method
from tailort.workflow.clock import StageClock
from tailort.workflow.functional import Reading
from tailort.workflow.responding import Response, respond
from tailort.workflow.response import FOLLOWED, Series, series_of, uptake_in
from tailort.workflow.response_facts import facts_of

FRAME = "1.2.3"
GRID = Grid.axial((26, 26, 26), (2.5, 3.0, 3.0), (-37.5, -37.5, -31.25), FRAME)
FDG, FLT = quantity_named("fdg-suv"), quantity_named("flt-suv")
HALF, SUV25 = chosen_method("relative=50"), chosen_method("absolute=2.5")
START = dt.date(2026, 3, 2)
BEFORE = START - dt.timedelta(days=5)
CT_GRID = Grid.axial((30, 30, 30), (3.0, 3.0, 3.0), (-43.5, -43.5, -43.5), FRAME)


def ball(radius_mm: float = 15.0, name: str = "GTVp", role: str = "GTV") -> Structure:
    angles = np.linspace(0.0, 2.0 * np.pi, 49)[:-1]
    contours = []
    for z in np.arange(-60.0, 60.1, 3.0):
        square = radius_mm**2 - z**2
        if square > 1.0:
            ring = np.sqrt(square) * np.column_stack([np.cos(angles), np.sin(angles)])
            contours.append(np.column_stack([ring, np.full(len(ring), z)]))
    return Structure(name, role, tuple(contours), FRAME)


TUMOUR = ball()


def away(grid: Grid) -> np.ndarray:
    return np.linalg.norm(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)), axis=-1)


def spot(top: float = 8.0, sigma_mm: float = 9.0) -> np.ndarray:
    return top * np.exp(-0.5 * (away(GRID) / sigma_mm) ** 2)


def an_image(values: np.ndarray | None = None, days: int = 0, **more) -> FunctionalImage:
    facts = {"minutes of uptake": "60.0", "scanner": "A", "reconstruction": "OSEM", **more.pop("facts", {})}
    return FunctionalImage(
        more.pop("quantity", FDG), Image(GRID, spot() if values is None else values, "SUV"),
        BEFORE + dt.timedelta(days=days), f"scan of day {days}", own_spacing_mm=GRID.spacing_mm,
        facts={name: text for name, text in facts.items() if text}, **more,
    )  # fmt: skip


def a_series(*images: FunctionalImage, threshold=HALF, start: dt.date | None = START) -> Series:
    return series_of(images, TUMOUR, threshold, start, slice_thickness_mm=3.0)


def measured(values: np.ndarray, structure: Structure = TUMOUR, threshold=HALF):
    return uptake_in(Image(GRID, values, "SUV"), structure, threshold, 3.0)


@settings(max_examples=10)
@given(st.permutations(range(3)))
def test_the_order_in_which_scans_are_named_does_not_matter(order: list[int]) -> None:
    images = [an_image(scale * spot(), days) for scale, days in ((1.0, 0), (0.8, 12), (0.5, 19))]
    made = a_series(*(images[n] for n in order))
    assert [scan.image for scan in made.scans] == images
    assert [scan.day for scan in made.scans] == [-5, 7, 14]
    assert made.scans[2].change_percent["maximum"] == pytest.approx(-50.0)


def test_the_first_scan_has_no_change() -> None:
    first = a_series(an_image(), an_image(0.5 * spot(), 19)).scans[0]
    assert set(first.change_percent.values()) == {0.0}
    assert set(first.change_percent) == set(FOLLOWED)
    assert not first.unlike


@settings(max_examples=10)
@given(st.floats(0.05, 4.0))
def test_an_image_of_a_part_of_the_uptake_has_that_part_of_every_value_and_the_same_relative_volume(
    part: float,
) -> None:
    last = a_series(an_image(), an_image(part * spot(), 19)).scans[1]
    for name in ("maximum", "peak", "mean", "total"):
        assert last.change_percent[name] == pytest.approx(100.0 * (part - 1.0), abs=1e-4)
    assert last.change_percent["volume_cm3"] == pytest.approx(0.0, abs=1e-9)


def test_by_an_absolute_threshold_a_fading_tumour_shrinks() -> None:
    last = a_series(an_image(), an_image(0.5 * spot(), 19), threshold=SUV25).scans[1]
    change = last.change_percent["volume_cm3"]
    assert change is not None
    # Radius of a Gaussian's level: sigma sqrt(2 ln(top / level)).
    expected = 100.0 * ((np.log(4.0 / 2.5) / np.log(8.0 / 2.5)) ** 1.5 - 1.0)
    assert change == pytest.approx(expected, abs=6.0)


def test_a_tumour_that_no_longer_reaches_the_threshold_has_lost_all_of_its_volume() -> None:
    made = a_series(an_image(), an_image(0.2 * spot(), 19), an_image(0.5 * spot(), 40), threshold=SUV25)
    assert made.scans[1].uptake.volume_cm3 == made.scans[1].uptake.total == 0.0
    assert made.scans[1].change_percent["volume_cm3"] == -100.0
    again = a_series(an_image(0.2 * spot(), 19), an_image(0.5 * spot(), 40), threshold=SUV25)
    assert again.scans[1].change_percent["volume_cm3"] is None


def test_a_uniform_ball_of_uptake_has_its_value_as_peak_maximum_and_mean() -> None:
    seen = measured(np.where(away(GRID) < 25.0, 6.0, 1.0))
    assert seen.peak == pytest.approx(6.0)
    assert seen.maximum == seen.mean == pytest.approx(6.0)
    assert seen.volume_cm3 == pytest.approx(4.0 / 3.0 * np.pi * 1.5**3, rel=0.02)
    assert seen.total == pytest.approx(6.0 * seen.volume_cm3)


def test_the_peak_of_a_gaussian_is_its_mean_over_one_cubic_centimetre() -> None:
    fine = Grid.axial((41, 41, 41), (1.0, 1.0, 1.0), (-20.0, -20.0, -20.0), FRAME)
    sigma_mm, radius_mm = 9.0, 10.0 * (3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    image = Image(fine, np.exp(-0.5 * (away(fine) / sigma_mm) ** 2), "SUV")
    r = (np.arange(4000) + 0.5) * radius_mm / 4000.0
    mean = np.average(np.exp(-0.5 * (r / sigma_mm) ** 2), weights=r**2)
    assert uptake_in(image, ball(10.0), HALF, 3.0).peak == pytest.approx(mean, rel=2e-3)


def test_a_single_hot_voxel_raises_the_maximum_and_hardly_the_peak() -> None:
    noisy = np.full(GRID.shape, 5.0)
    noisy[13, 13, 13] = 10.0
    seen = measured(noisy)
    assert seen.maximum == 10.0
    # One voxel is 0.0225 of the cubic centimetre.
    assert seen.peak == pytest.approx(5.0 * 1.0225, rel=2e-3)


def test_without_room_for_a_whole_ball_the_peak_is_unknown_and_an_image_that_ends_is_refused() -> None:
    values = np.where(away(GRID) < 5.0, 4.0, np.nan)
    assert measured(values, ball(3.5)).peak is None
    with pytest.raises(GeometryError, match="does not reach"):
        measured(values)


@pytest.mark.parametrize(
    ("images", "threshold", "match"),
    [
        ((), HALF, "two scans or more"),
        ((an_image(),), HALF, "two scans or more; found 1"),
        ((an_image(), an_image(0.5 * spot())), HALF, "two scans are of 2026-02-25"),
        ((an_image(), an_image(days=19, quantity=FLT)), HALF, "one quantity; found fdg-suv and flt-suv"),
        ((an_image(), an_image(days=19)), chosen_method("gradient"), r"relative=N or absolute=N; found gradient"),
    ],
)  # fmt: skip
def test_what_makes_no_series_is_refused(images, threshold, match: str) -> None:
    with pytest.raises(InputError, match=match):
        a_series(*images, threshold=threshold)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"minutes of uptake": "70.5"}, "70 min of uptake against 60"),
        ({"minutes of uptake": ""}, "not known of both"),
        ({"scanner": "B"}, "scanner B against A"),
        ({"reconstruction": "TOF"}, "reconstruction TOF against OSEM"),
    ],
)
def test_a_scan_that_was_made_otherwise_is_shown_and_told_but_answers_no_trigger(facts, told: str) -> None:
    made = a_series(an_image(), an_image(0.4 * spot(), 19, facts=facts))
    assert told in "; ".join(made.scans[1].unlike)
    assert any(told in text for text in made.warnings)
    assert made.scans[1].change_percent["maximum"] == pytest.approx(-60.0)
    assert made.scans[1].repeats is None
    assert [fact.value for fact in facts_of(made)][1:] == [None, None]


def test_up_to_ten_minutes_of_uptake_apart_and_what_only_one_file_tells_of_its_scanner_compare() -> None:
    other = {"minutes of uptake": "70.0", "scanner": ""}
    assert not a_series(an_image(), an_image(days=19, facts=other)).scans[1].unlike


@pytest.mark.parametrize(("part", "repeats"), [(0.76, True), (0.74, False), (1.32, True), (1.34, False)])
def test_changes_that_repeated_scans_show_too_are_told(part: float, repeats: bool) -> None:
    made = a_series(an_image(), an_image(part * spot(), 19))
    assert made.scans[1].repeats is repeats
    changed = facts_of(made)[2]
    assert changed.value is (None if repeats else True)


@pytest.mark.parametrize(
    ("day", "value"), [(10, None), (11, 40.0), (14, 40.0), (17, 40.0), (18, None)]
)  # fmt: skip
def test_the_fall_at_two_weeks_is_known_only_where_a_scan_lies_there(day: int, value: float | None) -> None:
    fall = facts_of(a_series(an_image(), an_image(0.6 * spot(), day + 5)))[1]
    assert fall.value == (None if value is None else pytest.approx(value))


def test_of_several_scans_the_one_nearest_to_two_weeks_counts() -> None:
    made = a_series(an_image(), an_image(0.9 * spot(), 17), an_image(0.6 * spot(), 20))
    fall = facts_of(made)[1]
    assert fall.value == pytest.approx(40.0)
    assert "day 15" in fall.source


def test_without_the_start_of_treatment_or_a_scan_before_it_the_fall_is_unknown() -> None:
    images = an_image(), an_image(0.6 * spot(), 19)
    unknown = a_series(*images, start=None)
    assert [scan.day for scan in unknown.scans] == [None, None]
    assert [fact.value for fact in facts_of(unknown)[:2]] == [None, None]
    late = a_series(*images, start=BEFORE)
    assert "no scan is of a day before treatment" in facts_of(late)[1].source


def test_of_another_tracer_nothing_is_told_about_the_fall_of_fdg() -> None:
    made = a_series(an_image(quantity=FLT), an_image(0.6 * spot(), 19, quantity=FLT))
    assert made.scans[1].change_percent["maximum"] == pytest.approx(-40.0)
    assert [fact.value for fact in facts_of(made)] == [None, None, None]


def answers(
    part: float, *, start: dt.date | None = START, structure: Structure = TUMOUR, grid: Grid = GRID, **record
) -> Response:
    """A response of two scans, the second of 14 days after the start."""
    ct = Scan(Image(CT_GRID, np.zeros(CT_GRID.shape, np.int16), "HU"), "CT", "1.2.9", "1.2.8", (), "HFS")
    told = {"radiotherapy_start_date": start, "histology": "adenocarcinoma", **record}
    facts = {name: Fact(name, value) for name, value in told.items() if value is not None}
    case = Case(Person("P1", study_date="20260226"), (ct,), StructureSet((structure,), FRAME), facts=facts)
    minutes = {"minutes of uptake": "60.0"}
    scans = [
        FunctionalScan(
            FDG, Scan(Image(grid, (one * spot()).astype(np.float32), "SUV"), "PT", uid, "1.2.8", (), "HFS", "PET"),
            BEFORE + dt.timedelta(days=days), "P1", f"PET {days}", minutes,
        )
        for one, uid, days in ((1.0, "1.2.5", 0), (part, "1.2.6", 19))
    ]  # fmt: skip
    clock = StageClock(lambda stage, share: None)
    return respond(case, scans, structure.name, HALF, load("individualised"), clock, Reading(during_treatment=True))


def trigger(result: Response, called: str = "metabolic-response") -> str:
    return next(one.answer for one in result.triggers if one.entry.id == called)


def test_the_trigger_fires_for_an_adenocarcinoma_whose_uptake_has_fallen_little_and_not_otherwise() -> None:
    little = answers(0.7)
    assert trigger(little) == "yes"
    fired = next(one for one in little.triggers if one.entry.id == "metabolic-response")
    assert "no escalation by itself" in fired.proposed[0].text
    assert trigger(answers(0.6)) == "no"
    assert trigger(answers(0.7, histology="squamous cell carcinoma")) == "no"
    assert trigger(answers(0.7, histology=None)) == "unknown"
    assert trigger(answers(0.6, histology=None)) == "no"


def test_without_the_start_of_treatment_the_trigger_is_unknown() -> None:
    result = answers(0.7, start=None)
    assert trigger(result) == "unknown"
    assert result.as_dict()["scans"][1]["days_since_start"] is None


def test_only_a_change_beyond_what_repeats_counts_as_changed_metabolism() -> None:
    assert trigger(answers(0.7), "biology") == "yes"
    assert trigger(answers(0.9), "biology") == "unknown"


def test_what_the_record_tells_goes_first_and_a_difference_is_told() -> None:
    result = answers(0.7, suv_max_fall_at_2_weeks_percent=50.0)
    assert trigger(result) == "no"
    assert any("the record tells 50, the scans 30" in text for text in result.warnings)
    assert not answers(0.7, suv_max_fall_at_2_weeks_percent=30.0).warnings


def test_scans_in_the_planning_frame_are_measured_on_their_own_voxels() -> None:
    first = answers(0.7).series.scans[0]
    assert first.image.image.grid.spacing_mm == pytest.approx(GRID.spacing_mm)
    assert first.uptake.maximum == pytest.approx(spot().max(), rel=1e-5)


def test_scans_that_were_registered_are_measured_on_one_millimetre(monkeypatch: pytest.MonkeyPatch) -> None:
    there = "1.2.99"

    def found(case, course, clock, stop, metric):
        quality = Quality((Measure("inverse consistency, 95th percentile [mm]", 2.0),))
        return Registration(Transform(FRAME, there, np.eye(4)), method="rigid", quality=quality)

    monkeypatch.setattr("tailort.workflow.functional.registration_of", found)
    result = answers(0.7, grid=Grid(GRID.shape, GRID.affine, there))
    first, second = result.series.scans
    assert first.image.image.grid.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    assert 0.97 * spot().max() < first.uptake.maximum <= spot().max() * (1 + 1e-6)
    assert second.change_percent["maximum"] == pytest.approx(-30.0, abs=1e-3)
    assert trigger(result) == "yes"


def test_a_protocol_without_triggers_a_structure_that_is_no_tumour_and_a_contradicting_record_are_told() -> None:
    good = answers(0.7)
    with pytest.raises(InputError, match="'smart-imrt' has no triggers"):
        respond(
            good.case, [], "GTVp", HALF, load("smart-imrt"), StageClock(lambda stage, share: None), Reading()
        )  # fmt: skip
    assert any("is no GTV" in text for text in answers(0.7, structure=replace(TUMOUR, role="ORGAN")).warnings)
    with pytest.raises(InputError, match="no functional images"):
        answers(0.7, functional_images="none")
