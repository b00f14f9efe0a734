"""The map to an earlier scan: bones stay rigid, lungs slide, nothing folds, and the way back is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from tailort.errors import GeometryError
from tailort.phantom import Bending, bending, parameters
from tailort.phantom.anatomy import Anatomy, Body
from tailort.phantom.shapes import Lattice, Shape

Float = NDArray[np.float64]
SEEDS = (0, 1, 2)
ALL_SEEDS = (*SEEDS, pytest.param(7, marks=pytest.mark.slow))


@cache
def body(seed: int) -> Body:
    return Anatomy(parameters.draw(seed, None, None, None))


@cache
def bent(seed: int) -> Bending:
    return bending.draw(body(seed), seed, "1.2", "1.3")


def offset(seed: int) -> Float:
    return np.array(body(seed).build.offset_mm)


def inside(shape: Shape, z_range: tuple[float, float], step: float = 2.0) -> Float:
    """Points (n, 3) of a solid, body coordinates."""
    found = []
    for z in np.arange(z_range[0] + 0.1, z_range[1], step).tolist():
        window = shape.window(z)
        if window is None:
            continue
        x, y = np.arange(window[0], window[1], step), np.arange(window[2], window[3], step)
        if len(x) and len(y):
            rows, columns = np.nonzero(shape.field(Lattice(x[None, :], y[:, None], z)) < 0)
            found.append(np.column_stack([x[columns], y[rows], np.full(len(rows), z)]))
    return np.concatenate(found)


def anywhere(seed: int, n: int) -> Float:
    return np.random.default_rng(seed).uniform((-170, -125, -265), (170, 125, 215), (n, 3))


def to_wall(seed: int, points: Float) -> Float:
    """How far points of body coordinates lie outside (above 0) of the wall of chest and abdomen, as a share."""
    cavity = body(seed).surface.cavity
    a, y, b = (np.array([of(z) for z in points[:, 2].tolist()]) for of in (cavity.half_width, cavity.y, cavity.back))
    return np.asarray(np.abs(points[:, 0] / a) ** 2.5 + np.abs((points[:, 1] - y) / b) ** 2.5 - 1)


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_distances_within_every_vertebra_and_its_part_of_the_canal_are_kept(seed: int) -> None:
    spine = body(seed).spine
    rng = np.random.default_rng(seed)
    for vertebra in spine.vertebrae:
        bone, canal = spine.bones[vertebra.name], spine.canal
        points = np.concatenate([inside(bone, bone.z_range, 1.5), inside(canal, (vertebra.bottom, vertebra.top))])
        # The ends of the bone are in, whatever is drawn.
        ends = [points[:, axis].argmin() for axis in range(3)] + [points[:, axis].argmax() for axis in range(3)]
        some = points[[*ends, *rng.choice(len(points), 150, replace=False)]] + offset(seed)
        assert np.abs(pdist(some) - pdist(bent(seed).to_earlier(some))).max() < 1e-6, vertebra.name


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_vertebrae_turn_by_one_to_four_degrees_and_the_column_is_not_one_piece(seed: int) -> None:
    spine = body(seed).spine
    turns = []
    for vertebra in spine.vertebrae:
        points = inside(spine.bones[vertebra.name], (vertebra.bottom, vertebra.top)) + offset(seed)
        moved = bent(seed).bent(points)
        turn, _ = Rotation.align_vectors(moved - moved.mean(axis=0), points - points.mean(axis=0))
        turns.append(turn)
    size = np.degrees([turn.magnitude() for turn in turns])
    assert size.min() > 1.0
    assert size.max() < 4.0
    apart = np.degrees([(a.inv() * b).magnitude() for a in turns for b in turns])
    assert apart.max() > 2.0


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_the_way_back_leads_home_on_both_sides_of_the_wall(seed: int) -> None:
    points = anywhere(seed, 40_000)
    points = points[np.abs(to_wall(seed, points)) > 1e-5] + offset(seed)
    back = bent(seed).to_today(bent(seed).to_earlier(points))
    assert np.linalg.norm(back - points, axis=1).max() < bending.ROUND_TRIP_MM


@pytest.mark.parametrize("seed", range(8))
def test_nothing_folds_away_from_the_wall(seed: int) -> None:
    points = np.concatenate([
        anywhere(seed, 40_000), np.random.default_rng(seed).uniform((-45, 10, -250), (45, 120, 210), (60_000, 3)),
    ])  # fmt: skip
    points = points[np.abs(to_wall(seed, points)) > 2e-3] + offset(seed)
    found = bent(seed).determinant(points, 0.005)
    assert found.min() > bending.LEAST_DETERMINANT
    assert found.max() < 3.0


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_lungs_slide_along_the_chest_wall_and_do_not_leave_it(seed: int) -> None:
    surface, low = body(seed).surface, -95.0 * body(seed).sz
    cavity = surface.cavity
    side = np.array([[sign * cavity.half_width(low), cavity.y(low), low] for sign in (-1.0, 1.0)])
    within, beyond = side * (0.99999, 1, 1) + offset(seed), side * (1.00001, 1, 1) + offset(seed)
    jump = bent(seed).bent(within) - bent(seed).bent(beyond)
    assert (np.abs(jump[:, 2]) > 5.0).all()
    assert (np.abs(jump[:, 2]) <= 12.0).all()
    # Along the wall: a wall that stood still would only be moved along itself.
    slope = (cavity.half_width(low + 1) - cavity.half_width(low - 1)) / 2
    across = np.abs(jump[:, 0] - np.array([-slope, slope]) * jump[:, 2])
    assert across.max() < 1.5
    # Under the apex and beside the spine nothing slides.
    still = np.array([[0.0, cavity.y(60.0) + cavity.back(60.0), 60.0], [0.0, cavity.y(low) + cavity.back(low), low]])
    step = np.array([0.0, 1e-4, 0.0])
    quiet = bent(seed).bent(still - step + offset(seed)) - bent(seed).bent(still + step + offset(seed))
    assert np.linalg.norm(quiet, axis=1).max() < 1e-2


def test_no_sliding_lung_crosses_the_wall() -> None:
    for seed in SEEDS:
        points = anywhere(seed, 20_000)
        points = points[np.abs(to_wall(seed, points)) < 0.2]
        # What the wall does besides sliding is the same on both sides of it.
        bare = bending.Bending(body(seed), seed, _only_sliding(bent(seed).motions), bent(seed).frame)
        moved = bare.bent(points + offset(seed)) - offset(seed)
        assert (np.sign(to_wall(seed, points)) == np.sign(to_wall(seed, moved))).all()
        assert np.linalg.norm(moved - points, axis=1).max() > 5.0


def _only_sliding(motions: bending.Motions) -> bending.Motions:
    zero = (0.0, 0.0, 0.0)
    return replace(
        motions, spine_turn_degrees=0.0, twist_degrees=0.0, spine_shift_mm=zero, fat_share=0.0, shoulder_left_mm=zero,
        shoulder_right_mm=zero, mediastinum_mm=0.0,
    )  # fmt: skip


def test_displacements_are_as_large_as_between_two_scans_of_a_patient() -> None:
    oesophagus, cord, lungs = [], [], []
    for seed in range(20):
        spine, shift = body(seed).spine, offset(seed)
        z = np.arange(-200.0, 190.0, 5.0)
        middle = np.array([(spine.x(at), spine.canal_y(at), at) for at in z.tolist()])
        ends = np.array([tree.points[-1] for tree in body(seed).lungs.trees])
        for points, into in ((body(seed).course.line, oesophagus), (middle, cord), (ends, lungs)):
            into.append(np.linalg.norm(bent(seed).bent(points + shift) - points - shift, axis=1))
    assert all(1.0 < np.median(d) < 6.0 and d.max() < 9.0 for d in oesophagus)
    assert all(0.8 < np.median(d) < 4.0 and d.max() < 7.0 for d in cord)
    assert all(5.0 < d.max() < 19.0 for d in lungs)


def test_the_table_of_then_lies_turned_by_one_to_three_degrees_in_another_frame() -> None:
    for seed in range(20):
        frame = bent(seed).frame
        assert (frame.from_frame, frame.to_frame) == ("1.2", "1.3")
        assert 1.0 <= np.degrees(Rotation.from_matrix(frame.affine[:3, :3]).magnitude()) <= 3.0
        points = anywhere(seed, 50) + offset(seed)
        assert np.allclose(bent(seed).to_earlier(points), frame.apply(bent(seed).bent(points)))


def test_fat_was_thicker_then() -> None:
    for seed in SEEDS:
        muscle, fat = body(seed).surface.muscle_outline, body(seed).surface.fat(-60.0)
        front = np.array([[0.0, muscle.y(-60.0) - muscle.front(-60.0), -60.0]]) + offset(seed)
        skin = front - (0.0, fat, 0.0)
        then = bent(seed).bent(front) - bent(seed).bent(skin)
        assert 1.1 * fat < np.linalg.norm(then) < 1.7 * fat


def test_the_same_seed_is_the_same_map_and_another_seed_another_one() -> None:
    points = anywhere(0, 100) + offset(0)
    again, other = bending.draw(body(0), 0, "1.2", "1.3"), bending.draw(body(0), 1, "1.2", "1.3")
    assert np.array_equal(again.to_earlier(points), bent(0).to_earlier(points))
    assert np.abs(other.bent(points) - bent(0).bent(points)).max() > 1.0


def test_shapes_of_point_arrays_are_kept_and_points_that_are_none_are_refused() -> None:
    points = (anywhere(0, 12) + offset(0)).reshape(3, 4, 3)
    assert bent(0).to_earlier(points).shape == points.shape
    assert np.array_equal(bent(0).to_earlier(points)[1, 2], bent(0).to_earlier(points[1, 2]))
    with pytest.raises(GeometryError, match="finite"):
        bent(0).to_today([np.nan, 0.0, 0.0])
