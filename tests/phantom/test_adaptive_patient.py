"""A patient who changes: the true maps lead home, tissue keeps its place, triggers fire when they should."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, check_contours, volume_cm3
from tailort.phantom import AdaptivePatient, WeeklyScan, adaptive, cone_beam, parameters, true_accumulated_dose, truth
from tailort.phantom.anatomy import Anatomy
from tailort.phantom.shapes import field_at
from tailort.phantom.shrinking import Rays, Shrinking
from tailort.phantom.weekly_map import (
    CONTOUR_FAT_MM,
    SET_UP_MM,
    TUMOUR_LEFT,
    WEEKS,
    WEIGHT_LOST,
    Change,
    WeeklyMap,
    draw_course,
    fat_lost,
    rays_of_growths,
    weekly_map,
)

Float = NDArray[np.float64]
SEEDS = (0, 1)
ALL_SEEDS = (*SEEDS, pytest.param(2, marks=pytest.mark.slow))


@cache
def body(seed: int) -> Anatomy:
    return Anatomy(parameters.draw(seed, None, None, None))


@cache
def stout(seed: int) -> Anatomy:
    return Anatomy(parameters.draw(seed, None, None, None, CONTOUR_FAT_MM))


@cache
def tumour_points(seed: int) -> Float:
    return truth.points_in(body(seed).oesophagus.tumour, 1.5) + offset(seed)


@cache
def week_map(seed: int, change: Change, week: int) -> WeeklyMap:
    course, whose = draw_course(seed, change), stout(seed) if change == "contour" else body(seed)
    weight = whose.build.body_mass_index * whose.build.stature_m**2
    share = fat_lost(whose, weight, weight * (1.0 - course.weight_share(week)))
    return weekly_map(whose, _rays(seed), course, week, share, ("1.2", "1.3"))


@cache
def _rays(seed: int) -> tuple[Rays, Rays]:
    # What lies deeper than the fat under the skin is the same in the stout body.
    return rays_of_growths(body(seed))


def skin_moves_mm(seed: int, change: Change, week: int) -> float:
    """How far the skin in front of, behind and beside the tumour's middle moves at most."""
    whose, found = stout(seed) if change == "contour" else body(seed), week_map(seed, change, week)
    z = float(np.mean(whose.oesophagus.tumour.z_range))
    muscle, fat = whose.surface.muscle_outline, whose.surface.fat(z)
    skin = np.array([
        (0.0, muscle.y(z) - muscle.back(z) - fat, z), (0.0, muscle.y(z) + muscle.back(z) + fat, z),
        (muscle.half_width(z) + fat, muscle.y(z), z), (-muscle.half_width(z) - fat, muscle.y(z), z),
    ]) + offset(seed)  # fmt: skip
    return float(np.linalg.norm((found.bent(skin) - skin)[:, :2], axis=1).max())


def offset(seed: int) -> Float:
    return np.array(body(seed).build.offset_mm)


@cache
def patient(change: Change = "large") -> AdaptivePatient:
    return adaptive.make(1, "coarse", change=change)


@cache
def week3() -> WeeklyScan:
    return patient().week(3)


def at(image: Image, points: Float) -> Float:
    index = np.moveaxis(image.grid.to_index(points), -1, 0)
    return np.asarray(map_coordinates(image.values.astype(float), index, order=1, mode="nearest"))


@pytest.mark.parametrize("seed", ALL_SEEDS)
@pytest.mark.parametrize(("change", "week"), [("large", 1), ("large", 5), ("small", 3), ("contour", 5)])
def test_the_way_to_a_week_and_back_leads_home(seed: int, change: Change, week: int) -> None:
    rng = np.random.default_rng(seed)
    anywhere = rng.uniform((-170, -125, -265), (170, 125, 215), (20_000, 3)) + offset(seed)
    tumour = tumour_points(seed)
    points = np.concatenate([anywhere, tumour, tumour + rng.normal(0.0, 12.0, tumour.shape)])
    found = week_map(seed, change, week)
    off = np.linalg.norm(found.to_planning(found.to_week(points)) - points, axis=1)
    # On the sliding wall itself both sides are possible.
    assert np.quantile(off, 0.9995) < 0.01
    assert np.mean(off > 0.1) < 1e-4
    there = found.to_week(points)
    off = np.linalg.norm(found.to_week(found.to_planning(there)) - there, axis=1)
    assert np.mean(off > 0.1) < 1e-4


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_the_tumours_volume_falls_from_week_to_week_as_it_was_drawn(seed: int) -> None:
    tumour = tumour_points(seed)
    for change in ("large", "small"):
        course = draw_course(seed, change)
        shares = [course.tumour_share(week) for week in WEEKS]
        assert shares == sorted(shares, reverse=True)
        low, high = TUMOUR_LEFT[change]
        assert low <= shares[-1] <= high
        for week in (1, 3, 5):
            left = float(week_map(seed, change, week).determinant(tumour).mean())
            assert left == pytest.approx(course.tumour_share(week), rel=0.05)


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_without_the_bending_the_volume_is_that_which_was_asked_for(seed: int) -> None:
    rays, tumour = _rays(seed)[0], tumour_points(seed) - offset(seed)
    shrinking = Shrinking.to_share(rays, 0.5)
    step = 0.01
    columns = [(shrinking.after(tumour + s) - shrinking.after(tumour - s)) / (2 * step) for s in step * np.eye(3)]
    assert np.linalg.det(np.stack(columns, axis=-1)).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_bones_aorta_and_airways_stand_where_the_tumour_shrinks(seed: int) -> None:
    b, found = body(seed), week_map(seed, "large", 5)
    solids = (b.arteries.aorta, b.airways.wall, b.spine.bones["VB_T05"], b.spine.bones["VB_T07"], b.spine.cord)
    for solid in solids:
        points = truth.points_in(solid, 3.0) + offset(seed)
        assert np.linalg.norm(found.tumour.after(points - offset(seed)) + offset(seed) - points, axis=1).max() < 0.1


def test_shrinking_to_the_whole_volume_changes_nothing_and_to_almost_nothing_is_refused() -> None:
    points = tumour_points(1) - offset(1)
    assert np.allclose(Shrinking.to_share(_rays(1)[0], 1.0).after(points), points, atol=1e-9)
    for share in (0.1, 1.2):
        with pytest.raises(InputError, match="cannot be shrunk"):
            Shrinking.to_share(_rays(1)[0], share)


def test_the_same_seed_gives_the_same_map_and_other_weeks_and_changes_others() -> None:
    points = tumour_points(1)[::50]
    course = draw_course(1, "large")
    again = weekly_map(body(1), _rays(1), course, 3, 0.1, ("1.2", "1.3"))
    same = weekly_map(body(1), _rays(1), course, 3, 0.1, ("1.2", "1.3"))
    assert np.array_equal(again.to_week(points), same.to_week(points))
    other = weekly_map(body(1), _rays(1), course, 4, 0.1, ("1.2", "1.3"))
    assert not np.allclose(again.to_week(points), other.to_week(points))
    for change, (low, high) in WEIGHT_LOST.items():
        for seed in range(20):
            assert low <= draw_course(seed, change).weight_lost <= high
    assert np.abs(again.bending.motions.table_shift_mm).max() <= SET_UP_MM
    with pytest.raises(InputError, match="known are large, small, contour"):
        draw_course(0, "huge")  # type: ignore[arg-type]


def _dose(frame: str, gradient: Float, shift: float) -> Image:
    grid = Grid.axial((40, 40, 40), (8.0, 8.0, 8.0), (-160.0, -160.0, -160.0), frame)
    z, y, x = grid.axes_mm()
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    return Image(grid, gradient[0] * xx + gradient[1] * yy + gradient[2] * zz + shift, "Gy")


def test_a_dose_that_is_linear_in_space_is_accumulated_at_the_true_places() -> None:
    shifted = replace(body(1), build=replace(body(1).build, offset_mm=(0.0, 0.0, 0.0)))
    course = draw_course(1, "large")
    maps = [weekly_map(shifted, _rays(1), course, week, 0.1, ("1.2", f"1.{week}")) for week in (2, 5)]
    gradient = np.array([0.02, -0.03, 0.01])
    given = [(None, _dose("1.2", gradient, 10.0)), *((m, _dose(f"1.{m.week}", gradient, 10.0)) for m in maps)]
    grid = Grid.axial((3, 30, 30), (9.0, 5.0, 5.0), (-70.0, -70.0, -20.0), "1.2")
    total = true_accumulated_dose(given, grid)
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    expected = 30.0 + (points + maps[0].to_week(points) + maps[1].to_week(points)) @ gradient
    assert np.allclose(total.values, expected, atol=1e-4)
    assert total.unit == "Gy"


def test_accumulating_refuses_nothing_another_unit_and_another_frame_and_does_not_know_beyond_a_dose() -> None:
    grid = Grid.axial((2, 2, 2), (400.0, 400.0, 400.0), (0.0, 0.0, 0.0), "1.2")
    dose = _dose("1.2", np.zeros(3), 2.0)
    with pytest.raises(InputError, match="no fractions"):
        true_accumulated_dose([], grid)
    with pytest.raises(InputError, match="dose in HU"):
        true_accumulated_dose([(None, dose.with_values(dose.values, "HU"))], grid)
    with pytest.raises(GeometryError, match="the anatomy on which it was given"):
        true_accumulated_dose([(week_map(1, "large", 3), dose)], grid)
    found = true_accumulated_dose([(None, dose)], grid).values
    assert found[0, 0, 0] == pytest.approx(2.0)
    assert np.isnan(found[1, 1, 1])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_triggers_fire_for_a_large_change_and_stay_silent_for_a_small_one(seed: int) -> None:
    for change, expected in (("large", True), ("small", False)):
        course, found = draw_course(seed, change), week_map(seed, change, 5)
        tumour = abs(float(found.determinant(tumour_points(seed)).mean()) - 1.0)
        weight = 1.0 - course.weight_share(5)
        assert (tumour > 0.30 or weight > 0.10) is expected
    large = float(week_map(seed, "large", 3).determinant(tumour_points(seed)).mean())
    assert large < 0.70


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_the_contour_moves_by_more_than_10_mm_where_that_is_asked_and_else_does_not(seed: int) -> None:
    for change in ("large", "small"):
        assert skin_moves_mm(seed, change, 5) < adaptive.CONTOUR_TRIGGER_MM
    course = draw_course(seed, "contour")
    assert adaptive.CONTOUR_TRIGGER_MM < skin_moves_mm(seed, "contour", 3) < skin_moves_mm(seed, "contour", 5) < 20.0
    # Nothing else fires.
    assert 100.0 * (1.0 - course.weight_share(5)) < adaptive.WEIGHT_TRIGGER_PERCENT
    assert 100.0 * (1.0 - course.tumour_share(5)) < adaptive.TUMOUR_TRIGGER_PERCENT


@pytest.mark.slow
def test_a_weeks_truth_tells_what_its_scan_shows() -> None:
    found = week3()
    told = found.truth
    assert told["weight_kg"] < patient().weight_kg
    assert told["fractions_before"] == 15
    assert found.fires is True
    assert patient("small").week(5).fires is False
    drawn = volume_cm3(found.structures["GTVp"].contours)
    assert drawn == pytest.approx(told["tumour_volume_cm3"]["GTVp"], rel=0.05)
    node = volume_cm3(found.structures["GTVn"].contours)
    assert node == pytest.approx(told["tumour_volume_cm3"]["GTVn"], rel=0.1)
    assert told["tumour_volume_cm3"]["GTVn"] < patient().volumes_cm3["GTVn"]
    for before, now in found.pairs.values():
        assert np.allclose(found.map.to_planning(now), before, atol=0.01)
    for structure in found.structures:
        check_contours(structure.contours, structure.name)
    assert {s.frame_of_reference for s in found.structures} == {found.scan.image.grid.frame_of_reference}
    assert found.scan.image.grid.frame_of_reference != patient().planning.scan.image.grid.frame_of_reference
    assert found.date > patient().date_of(2)


@pytest.mark.slow
def test_tissue_keeps_its_ct_numbers_and_lungs_do_not_enter_the_heart() -> None:
    found, planned = week3(), patient().planning
    b, shift = patient().body, np.array(patient().body.build.offset_mm)
    for name, step in (("Heart", 6.0), ("Liver", 8.0), ("Lung_L", 8.0)):
        (solid,) = b.organs[name][1]
        points = truth.points_in(solid, step) + shift
        before, now = at(planned.scan.image, points), at(found.scan.image, found.map.to_week(points))
        assert np.median(now) == pytest.approx(np.median(before), abs=6.0), name
    heart = truth.points_in(b.heart.organ, 8.0) + shift
    inside = found.map.to_week(heart)
    assert np.mean(at(found.scan.image, inside) > -300) > 0.97
    # Where a lung lies in the week, no heart lay at planning.
    lung = np.concatenate(found.structures["Lung_L"].contours)
    centre = lung[:: len(lung) // 60]
    home = found.map.to_planning(centre) - shift
    assert min(field_at(b.heart.organ, point) for point in home) > -0.5


@pytest.mark.slow
def test_a_cone_beam_ct_is_shorter_and_its_numbers_are_off_by_what_is_told() -> None:
    cbct, ct = patient().week(3, "cbct"), week3()
    assert cbct.scan.series_uid != ct.scan.series_uid
    assert cbct.scan.image.grid.frame_of_reference == ct.scan.image.grid.frame_of_reference
    assert cbct.scan.image.grid.shape[0] < ct.scan.image.grid.shape[0]
    assert cbct.truth["ct_numbers"]["slope"] == cone_beam.SLOPE
    assert cbct.record["anatomical_images_in_course"]["value"] == "cone-beam CT"
    heart = truth.points_in(patient().body.heart.organ, 6.0) + np.array(patient().body.build.offset_mm)
    there = ct.map.to_week(heart)
    low, high = cbct.scan.image.grid.faces_mm()
    there = there[((there > low + 5) & (there < high - 5)).all(axis=1)]
    shift = np.median(at(cbct.scan.image, there)) - np.median(at(ct.scan.image, there))
    assert -20.0 - 45.0 * 1.05 - 5.0 < shift < -20.0 - 45.0 * 0.5


@pytest.mark.slow
def test_weeks_and_modalities_that_are_not_made_are_refused() -> None:
    with pytest.raises(InputError, match="no scan of week 6"):
        patient().week(6)
    with pytest.raises(InputError, match="'mr' is neither"):
        patient().week(3, "mr")  # type: ignore[arg-type]
