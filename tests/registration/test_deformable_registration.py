"""Deformable registration finds a known bend, folds nowhere, and is judged by its errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from thorax_formula import EARLIER, EARLIER_GRID, TODAY, TODAYS_GRID, scan, thorax

from tailort.errors import GeometryError, InputError, StoppedError
from tailort.geometry import Image, Transform
from tailort.registration import Guide, Registration, deformable
from tailort.registration.demons import LEVELS, Level
from tailort.registration.quality import consistency, jacobian, landmark_errors_mm, landmarks, round_trip_mm
from tailort.registration.scan import look_at
from tailort.registration.uncertainty import estimate

Points = NDArray[np.float64]
QUICK = (Level(12.0, 30, 24.0), Level(8.0, 25, 12.0))
SHIFT = np.eye(4)
SHIFT[:3, 3] = (490.0, -310.0, 780.0)
START = Registration(Transform(TODAY, EARLIER, SHIFT), method="shift known")
SEGMENT_TURN = Rotation.from_euler("xyz", (4.0, 0.0, 2.0), degrees=True).as_matrix()
SEGMENT = np.array([0.0, 55.0, 30.0])


def bent(p: Points) -> Points:
    """Today's points in the body as it lay earlier: breathing, weight loss, a piece of spine that turned rigidly."""
    x, y, z = np.moveaxis(p, -1, 0)
    spine = np.exp(-((np.hypot(x, y - 60) / 45.0) ** 4))
    u = np.zeros_like(p)
    u[..., 0] = 4.0 * np.exp(-(((y - 15) / 30) ** 2) - (x / 45) ** 2) * np.sin(z / 45)
    u[..., 1] = 5.0 * np.exp(-(((y + 105) / 60) ** 2)) * np.cos(z / 80)
    u[..., 2] = 9.0 * np.exp(-(((z + 50) / 80) ** 2)) * (1 - spine)
    distance = np.maximum(np.hypot(x, y - 55) - 22.0, np.abs(z - 30) - 20.0)
    near = np.clip(1.0 - distance / 45.0, 0.0, 1.0)
    share = (near * near * (3 - 2 * near))[..., None]
    turned = (p - SEGMENT) @ SEGMENT_TURN.T + SEGMENT + np.array([1.0, 0.5, 1.5])
    return p + (1 - share) * u + share * (turned - p)


def earlier_places(p: Points) -> Points:
    return bent(p) + SHIFT[:3, 3]


def todays(body: Points) -> Points:
    """Points of today that show these points of the body."""
    p = body.copy()
    for _ in range(60):
        p = p - 0.8 * (bent(p) - body)
    assert np.abs(bent(p) - body).max() < 1e-3
    return p


Z = np.linspace(-80, 80, 60)
OESOPHAGUS = todays(np.stack([-6 - 6 * np.sin(Z / 40), np.full(60, 20.0), Z], axis=-1))
CORD = todays(np.stack([np.zeros(60), np.full(60, 80.0), Z], axis=-1))


@dataclass(frozen=True, eq=False)
class Pair:
    today: Image
    earlier: Image
    found: Registration
    told: list[float]


@pytest.fixture(scope="module")
def pair() -> Pair:
    today = scan(TODAYS_GRID, bent, seed=1)
    earlier = scan(EARLIER_GRID, lambda p: p - SHIFT[:3, 3], seed=2)
    told: list[float] = []
    return Pair(today, earlier, deformable(today, earlier, START, levels=QUICK, tell=told.append), told)


def errors(found: Registration, points: Points) -> Points:
    return landmark_errors_mm(found, points, earlier_places(points))


def test_a_known_bend_is_found_where_cord_and_oesophagus_lie(pair: Pair) -> None:
    assert np.percentile(errors(START, OESOPHAGUS), 75) > 4.0
    for points in (OESOPHAGUS, CORD):
        assert np.median(errors(pair.found, points)) < 2.0
        assert errors(pair.found, points).max() < 5.0
    assert landmarks(pair.found, OESOPHAGUS, earlier_places(OESOPHAGUS)).verdict == "pass"
    assert landmarks(START, OESOPHAGUS, earlier_places(OESOPHAGUS)).verdict == "fail"


def test_the_found_field_folds_nowhere_and_keeps_the_start(pair: Pair) -> None:
    assert jacobian(pair.found).verdict == "pass"
    np.testing.assert_array_equal(pair.found.rigid.affine, SHIFT)
    assert (pair.found.from_frame, pair.found.to_frame) == (TODAY, EARLIER)
    assert pair.told == sorted(pair.told)
    assert pair.told[-1] == 1.0


def test_a_scan_against_itself_stays_where_it_is(pair: Pair) -> None:
    same = deformable(pair.today, pair.today, Registration.identity(TODAY), levels=QUICK[1:])
    assert same.displacement is not None
    assert np.abs(same.displacement.vectors_mm).max() < 0.05


def test_tissue_without_counterpart_does_not_pull(pair: Pair) -> None:
    # A dense bolus in the left lung of today only.
    points = TODAYS_GRID.to_world(np.moveaxis(np.indices(TODAYS_GRID.shape), 0, -1))
    bolus = np.linalg.norm(points - np.array([85.0, -40.0, 10.0]), axis=-1) < 28.0
    today = pair.today.with_values(np.where(bolus, 60.0, pair.today.values).astype(np.float32))
    around = points[np.abs(np.linalg.norm(points - np.array([85.0, -40.0, 10.0]), axis=-1) - 30.0) < 5.0]
    pulled = deformable(today, pair.earlier, START, levels=QUICK)
    left_out = deformable(today, pair.earlier, START, levels=QUICK, without=bolus)
    assert "left out" in left_out.method
    assert errors(left_out, around).mean() < 0.8 * errors(pulled, around).mean()


def test_a_drawn_structure_without_contrast_guides_the_field(pair: Pair) -> None:
    # Something that both scans show as drawn only, moved by 9 mm.
    points = TODAYS_GRID.to_world(np.moveaxis(np.indices(TODAYS_GRID.shape), 0, -1))
    before = EARLIER_GRID.to_world(np.moveaxis(np.indices(EARLIER_GRID.shape), 0, -1)) - SHIFT[:3, 3]
    centre, moved = np.array([0.0, -45.0, -60.0]), np.array([0.0, -45.0, -51.0])
    drawn = Guide(np.linalg.norm(points - centre, axis=-1) < 22.0, np.linalg.norm(before - moved, axis=-1) < 22.0)
    flat = pair.today.with_values(np.where(pair.today.values > -300, 30.0, -900.0).astype(np.float32))
    plain = scan(EARLIER_GRID, lambda p: p - SHIFT[:3, 3], 3, seen=lambda p: np.where(thorax(p) > -300, 30.0, -900.0))
    free = deformable(flat, plain, START, levels=QUICK)
    guided = deformable(flat, plain, START, levels=QUICK, guides={"Heart": drawn})
    assert "guided by Heart" in guided.method
    target = moved + SHIFT[:3, 3]
    assert np.linalg.norm(guided.map_points(centre) - target) < 0.6 * np.linalg.norm(free.map_points(centre) - target)


def tube_that_slid(slid_mm: float, p: Points) -> Points:
    """A room full of texture in a wall with ribs; the room's content lies `slid_mm` further up."""
    rings = 380.0 * np.clip(np.cos(p[..., 2] / 5.0) * 2 - 0.5, 0, 1)
    radius = np.hypot(p[..., 0] / 1.4, p[..., 1])
    z = p[..., 2] - slid_mm
    lung = -760.0 + 160.0 * np.sin(p[..., 0] / 13.0 + z / 11.0) * np.cos(p[..., 1] / 12.0 - z / 15.0)
    wall = np.where(radius < 78.0, 30.0 + rings, 20.0)
    return np.where(radius > 100.0, -1000.0, np.where(radius < 65.0, lung, wall))


def test_what_slides_along_a_wall_does_not_drag_the_wall_along() -> None:
    still = np.zeros(3)
    today = scan(TODAYS_GRID, lambda p: p, 5, seen=lambda p: tube_that_slid(9.0, p))
    earlier = scan(EARLIER_GRID, lambda p: p - SHIFT[:3, 3], 6, seen=lambda p: tube_that_slid(0.0, p))
    points = TODAYS_GRID.to_world(np.moveaxis(np.indices(TODAYS_GRID.shape), 0, -1))
    before = EARLIER_GRID.to_world(np.moveaxis(np.indices(EARLIER_GRID.shape), 0, -1)) - SHIFT[:3, 3]
    radius, room = (np.hypot(p[..., 0] / 1.4, p[..., 1]) for p in (points, before))
    middle = np.abs(points[..., 2]) < 70.0
    wall, inner = points[middle & (radius > 68) & (radius < 78)], points[middle & (radius > 45) & (radius < 60)]
    levels = (Level(12.0, 30, 24.0), Level(6.0, 25, 10.0))
    apart = deformable(today, earlier, START, levels=levels, sliding=Guide(radius < 65.0, room < 65.0))
    together = deformable(today, earlier, START, levels=levels)

    def error(found: Registration, places: Points, moved_mm: Points) -> float:
        return float(np.median(np.linalg.norm(found.map_points(places) - places - SHIFT[:3, 3] - moved_mm, axis=-1)))

    assert error(apart, wall, still) < 0.5 * error(together, wall, still)
    assert error(apart, inner, np.array([0.0, 0.0, -9.0])) < error(together, inner, np.array([0.0, 0.0, -9.0]))


def test_what_cannot_be_registered_is_refused(pair: Pair) -> None:
    with pytest.raises(InputError, match="register it rigidly"):
        deformable(pair.today, replace(pair.earlier, unit="1"), START)
    with pytest.raises(InputError, match="read off CT numbers"):
        estimate(pair.today, replace(pair.earlier, unit="1"), START, START.inverse())
    with pytest.raises(GeometryError, match="the start leads from"):
        deformable(pair.today, pair.earlier, Registration.identity(TODAY))
    with pytest.raises(GeometryError, match="the mask of what has no counterpart"):
        deformable(pair.today, pair.earlier, START, without=np.zeros((2, 2, 2), dtype=bool))
    far = np.array(SHIFT)
    far[2, 3] += 3000.0
    with pytest.raises(InputError, match="do not overlap"):
        deformable(pair.today, pair.earlier, Registration(Transform(TODAY, EARLIER, far)))
    with pytest.raises(StoppedError):
        deformable(pair.today, pair.earlier, START, stop=lambda: True)


@pytest.mark.slow
def test_there_and_back_agree_and_the_error_lies_within_twice_the_estimate_in_19_of_20_voxels(pair: Pair) -> None:
    forward = deformable(pair.today, pair.earlier, START, levels=LEVELS)
    backward = deformable(pair.earlier, pair.today, START.inverse(), levels=LEVELS)
    body = look_at(pair.today, "today's scan").body
    index = np.argwhere(body)[::37]
    index = index[(index[:, 0] > 6) & (index[:, 0] < TODAYS_GRID.shape[0] - 7)]
    points = TODAYS_GRID.to_world(index)
    assert consistency(forward, backward, TODAYS_GRID, body).verdict == "pass"
    assert round_trip_mm(forward, backward, OESOPHAGUS).max() < 2.0
    told = estimate(pair.today, pair.earlier, forward, backward)
    at = np.rint(told.grid.to_index(points)).astype(int)
    sigma = told.values[tuple(at.T)]
    wrong = errors(forward, points)
    assert 0.9 < (wrong < 2 * sigma).mean() < 0.995
    # The estimate tells sure places from unsure ones.
    assert np.corrcoef(np.argsort(np.argsort(sigma)), np.argsort(np.argsort(wrong)))[0, 1] > 0.2
    for region in (OESOPHAGUS, CORD):
        near = told.values[tuple(np.rint(told.grid.to_index(region)).astype(int).T)]
        assert np.median(near) < 3.0
