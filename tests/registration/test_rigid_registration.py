"""Rigid registration finds known maps, and refuses what cannot be registered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from thorax_formula import EARLIER, EARLIER_GRID, TODAY, TODAYS_GRID, scan

from tailort.errors import GeometryError, InputError, StoppedError
from tailort.geometry import Image, Transform
from tailort.registration import Registration, rigid
from tailort.registration.scan import look_at

# Where the earlier scan's body lies in its frame; today's frame is the body's own.
OFFSET = np.array([490.0, -310.0, 780.0])
TURN = Rotation.from_euler("xyz", (4.0, -3.0, 6.0), degrees=True).as_matrix()
SHIFT = np.array([14.0, -8.0, 22.0])
TRUE = np.eye(4)
TRUE[:3, :3], TRUE[:3, 3] = TURN, OFFSET + SHIFT


@dataclass(frozen=True, eq=False)
class Pair:
    today: Image
    earlier: Image


@pytest.fixture(scope="module")
def pair() -> Pair:
    # The couch stays with the room, the patient turns.
    return Pair(
        scan(TODAYS_GRID, lambda p: p, seed=1),
        scan(EARLIER_GRID, lambda p: (p - OFFSET - SHIFT) @ TURN, seed=2),
    )


def miss(found: Registration) -> tuple[float, float]:
    """Largest error in the body, mm, and the error of the turn, degrees."""
    points = np.array([(x, y, z) for x in (-120, 120) for y in (-80, 80) for z in (-100, 100)], dtype=float)
    true = points @ TURN.T + TRUE[:3, 3]
    turn = found.rigid.affine[:3, :3] @ TURN.T
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    return float(np.linalg.norm(found.map_points(points) - true, axis=1).max()), float(angle)


def test_a_known_turn_and_shift_between_far_frames_is_found_by_correlation(pair: Pair) -> None:
    told: list[float] = []
    found = rigid(pair.today, pair.earlier, metric="correlation", tell=told.append)
    distance, angle = miss(found)
    assert distance < 0.5
    assert angle < 0.2
    assert (found.from_frame, found.to_frame) == (TODAY, EARLIER)
    assert told[-1] == 1.0
    assert all(0 <= share <= 1 for share in told)


def test_a_scan_with_other_contrast_is_found_by_mutual_information(pair: Pair) -> None:
    bright = np.interp(pair.earlier.values, [-1000, -200, -80, 0, 60, 300], [0, 20, 420, 320, 150, 30])
    found = rigid(pair.today, Image(pair.earlier.grid, bright.astype(np.float32), "1"), metric="mutual information")
    distance, angle = miss(found)
    assert distance < 1.5
    assert angle < 0.3


def test_the_same_scans_give_the_same_map_and_a_start_is_used(pair: Pair) -> None:
    near = Transform(TODAY, EARLIER, np.array(TRUE))
    spine = np.abs(pair.today.grid.to_world(np.moveaxis(np.indices(pair.today.grid.shape), 0, -1))[..., 1] - 55) < 30
    once, again = (
        rigid(pair.today, pair.earlier, metric="mean squares", mask=spine, start=near).rigid.affine for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)


def test_scans_of_different_things_are_refused(pair: Pair) -> None:
    def ball(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where((np.abs(p - np.array([150.0, 60.0, 100.0])) < 40).all(axis=-1), 60.0, -1000.0)

    other = scan(pair.earlier.grid, lambda p: p - OFFSET, seed=3, seen=ball)
    with pytest.raises(InputError, match=r"do not overlap|do not show the same"):
        rigid(pair.today, other, metric="correlation")


def test_a_start_that_takes_the_scans_apart_is_refused(pair: Pair) -> None:
    apart = np.array(TRUE)
    apart[2, 3] += 2000.0
    with pytest.raises(InputError, match=r"could not be brought together|do not overlap"):
        rigid(pair.today, pair.earlier, metric="correlation", start=Transform(TODAY, EARLIER, apart))


def test_scans_that_are_too_small_or_empty_are_refused(pair: Pair) -> None:
    thin = Image(pair.today.grid.crop((0, 0, 0), (10, 60, 76)), pair.today.values[:10], "HU")
    with pytest.raises(InputError, match=r"today's scan is too small.*45 mm"):
        rigid(thin, pair.earlier, metric="correlation")
    air = pair.earlier.with_values(np.full(pair.earlier.grid.shape, -1000.0, dtype=np.float32))
    with pytest.raises(InputError, match="the other scan shows no body"):
        rigid(pair.today, air, metric="correlation")


def test_questions_that_make_no_sense_are_refused(pair: Pair) -> None:
    other_unit = Image(pair.earlier.grid, pair.earlier.values, "SUV")
    with pytest.raises(InputError, match="mutual information"):
        rigid(pair.today, other_unit, metric="mean squares")
    with pytest.raises(InputError, match="unknown measure"):
        rigid(pair.today, pair.earlier, metric="sameness")  # type: ignore[arg-type]
    with pytest.raises(GeometryError, match="the mask"):
        rigid(pair.today, pair.earlier, metric="correlation", mask=np.zeros(pair.today.grid.shape, dtype=bool))
    with pytest.raises(GeometryError, match="start of a registration"):
        rigid(pair.today, pair.earlier, metric="correlation", start=Transform.identity(TODAY))


def test_a_person_can_stop_it(pair: Pair) -> None:
    with pytest.raises(StoppedError):
        rigid(
            pair.today,
            pair.earlier,
            metric="correlation",
            start=Transform(TODAY, EARLIER, np.array(TRUE)),
            stop=lambda: True,
        )


def test_the_couch_is_no_part_of_the_body(pair: Pair) -> None:
    body = look_at(pair.today, "today's scan").body
    points = pair.today.grid.to_world(np.argwhere(body))
    assert np.hypot(points[:, 0] / 160, points[:, 1] / 105).max() < 1.1
    volume = body.sum() * pair.today.grid.voxel_volume_cm3
    assert volume == pytest.approx(np.pi * 16 * 10.5 * 25.2, rel=0.04)
