"""The measures of TG-132 give what geometry says."""

from __future__ import annotations

import numpy as np
import pytest

from tailort.errors import GeometryError
from tailort.geometry import Grid, Transform
from tailort.registration import Field, Measure, Quality, Registration
from tailort.registration.quality import (
    LEAST_DICE,
    consistency,
    dice,
    jacobian,
    landmarks,
    least_dice,
    mean_surface_distance_mm,
    round_trip_mm,
    structures,
)
from tailort.registration.uncertainty import _least_eigenvalues

A, B = "1.2.1", "1.2.2"
GRID = Grid.axial((40, 40, 40), (2.0,) * 3, (-39.0,) * 3, A)
OTHER = Grid(GRID.shape, GRID.affine, B)
POINTS = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1))


def shift(*mm: float) -> Registration:
    affine = np.eye(4)
    affine[:3, 3] = mm
    return Registration(Transform(A, B, affine))


def ball(radius_mm: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    return np.linalg.norm(POINTS - np.array(centre), axis=-1) <= radius_mm


def values(quality: Quality) -> dict[str, float]:
    return {measure.name: measure.value for measure in quality.measures}


def test_landmark_errors_are_the_distances_left_and_both_limits_count() -> None:
    today = np.array([[0.0, 0, 0], [10, 0, 0], [0, 5, 0], [1, 1, 1]])
    found = landmarks(shift(1, 0, 0), today, today)
    assert values(found) == pytest.approx(dict.fromkeys(values(found), 1.0))
    assert found.verdict == "pass"
    one_off = today.copy()
    one_off[0, 2] = 6.0
    assert [m.name for m in landmarks(shift(0, 0, 0), today, one_off).failed] == [
        "target registration error, largest [mm]"
    ]
    assert landmarks(shift(0, 0, 0), today, today + 3.0).verdict == "fail"


def test_landmarks_without_partners_are_refused() -> None:
    with pytest.raises(GeometryError, match="pairs"):
        landmarks(shift(0, 0, 0), [[0.0, 0, 0]], [[0.0, 0, 0], [1, 1, 1]])


def test_dice_of_a_ball_in_a_ball_is_that_of_their_volumes() -> None:
    # 2 r^3 / (r^3 + R^3) of concentric balls.
    assert dice(ball(16.0), ball(24.0)) == pytest.approx(2 * 16**3 / (16**3 + 24**3), abs=0.01)
    assert dice(ball(16.0), ball(16.0)) == 1.0
    assert dice(ball(8.0, (-20.0, 0, 0)), ball(8.0, (20.0, 0, 0))) == 0.0


def test_dice_that_is_asked_of_small_balls_is_what_a_smaller_radius_leaves() -> None:
    # A ball of 16 mm whose surface lies 3 mm inside: 2 r^3 / (r^3 + R^3) of radii 13 and 16; 0.80 of a large one.
    assert least_dice(ball(16.0), GRID, 3.0) == pytest.approx(2 * 13**3 / (13**3 + 16**3), abs=0.05)
    assert least_dice(ball(30.0), GRID, 3.0) == LEAST_DICE
    sheet = np.zeros(GRID.shape, dtype=bool)
    sheet[10] = True
    assert least_dice(sheet, GRID, 3.0) == 0.0


def test_surfaces_of_concentric_balls_lie_their_radii_apart() -> None:
    # Within a quarter of a voxel: surfaces are the outermost voxels.
    assert mean_surface_distance_mm(ball(16.0), ball(24.0), GRID) == pytest.approx(8.0, abs=0.5)
    assert mean_surface_distance_mm(ball(16.0), ball(16.0), GRID) == 0.0
    assert mean_surface_distance_mm(ball(16.0), np.zeros(GRID.shape, dtype=bool), GRID) == np.inf


def test_structures_agree_after_the_right_map_and_not_after_another() -> None:
    today, earlier = {"Heart": ball(18.0, (4.0, 0, 0))}, {"Heart": ball(18.0, (-4.0, 0, 0))}
    right = structures(shift(-8, 0, 0), today, earlier, GRID, OTHER)
    assert values(right) == {"Heart: Dice": 1.0, "Heart: mean surface distance [mm]": 0.0}
    assert right.verdict == "pass"
    wrong = structures(shift(8, 0, 0), today, earlier, GRID, OTHER)
    assert wrong.verdict == "fail"
    assert values(wrong)["Heart: mean surface distance [mm]"] > 4.0
    with pytest.raises(GeometryError, match="on both scans"):
        structures(shift(0, 0, 0), today, {"Liver": ball(9.0)}, GRID, OTHER)


def test_a_fold_fails_and_a_stretch_is_only_reported() -> None:
    rigid = shift(0, 0, 0).rigid
    stretched = Registration(rigid, Field(GRID, (0.2 * POINTS).astype(np.float32)))
    assert values(jacobian(stretched)) == pytest.approx(dict.fromkeys(values(jacobian(stretched)), 1.2**3), rel=1e-4)
    assert jacobian(stretched).verdict == "pass"
    folded = Registration(rigid, Field(GRID, (-1.2 * POINTS).astype(np.float32)))
    assert jacobian(folded).verdict == "fail"


def test_consistency_is_the_distance_of_the_round_trip() -> None:
    there = shift(5, 0, 0)
    back = Registration(Transform(B, A, np.array(shift(-5, 3, 0).rigid.affine)))
    np.testing.assert_allclose(round_trip_mm(there, back, [[1.0, 2, 3]]), [3.0])
    assert consistency(there, back, GRID, ball(20.0)).verdict == "fail"
    assert consistency(there, there.inverse(), GRID, ball(20.0)).verdict == "pass"


def test_what_is_only_reported_never_decides() -> None:
    told = Measure("something", 3.0)
    assert Quality((told,)).verdict == "report"
    kept = Quality((Measure("a", 1.0, "<=", 2.0, "x"),))
    assert (kept + Quality((told,))).verdict == "pass"
    assert (kept + Quality((Measure("b", float("nan"), "<=", 2.0, "x"),))).verdict == "fail"


def test_the_least_eigenvalue_is_that_of_the_matrix() -> None:
    """Random symmetric matrices over eight orders of size, multiples of one, and nothing at all."""
    random = np.random.default_rng(2)
    made = random.normal(size=(400, 3, 3)) * 10.0 ** random.uniform(-4, 4, (400, 1, 1))
    matrices = (made @ made.transpose(0, 2, 1)).astype(np.float32)
    matrices[:5], matrices[5:10] = 3.0 * np.eye(3), 0.0
    expected = np.linalg.eigvalsh(matrices.astype(np.float64))
    rows = np.stack([matrices[:, a, b] for a in range(3) for b in range(a, 3)])
    assert np.all(np.abs(_least_eigenvalues(rows) - expected[:, 0]) <= 1e-10 * expected[:, 2] + 1e-30)
