"""The influence matrix is the dose of its beamlets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dose_phantoms import GENERIC, beamlet_field, cube, delivering, with_lung

from tailort.dose.pencil import compute, influence
from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image
from tailort.patient.influence import Beamlets

# A plan's transmission is no part of a beamlet: without it the two must agree.
# Nothing but the openings: what else leaves and jaws do belongs to plans.
SHARP = replace(
    GENERIC, leaf_transmission=0.0, jaw_transmission=0.0, head=replace(GENERIC.head, leaf_end_gap_mm=0.0, tongue_mm=0.0)
)
COLUMNS, ROWS = 16, 24
ALL = 1000.0


def whole(image: Image) -> np.ndarray:
    return np.arange(image.grid.size, dtype=np.uint32)


def hills(beamlets: Beamlets) -> np.ndarray:
    """Fluence in whole MU with hills and valleys some beamlets wide, as an optimiser leaves it."""
    wave = np.cos(beamlets.x_mm / 12 + beamlets.beam) * np.cos(beamlets.y_mm / 18 + 2 * beamlets.beam)
    return np.round(4 + 2 * wave)


@pytest.mark.parametrize("lung", [False, True], ids=["water", "lung"])
@pytest.mark.parametrize("angles", [(20.0,), (0.0, 120.0, 240.0)], ids=["one beam", "three beams"])
def test_weights_times_influence_are_the_dose_of_the_plan(lung: bool, angles: tuple[float, ...]) -> None:
    box = cube(200.0)
    if lung:
        box = with_lung(box, -70.0, -10.0, 0.25, from_x_mm=-40.0)
    beamlets = beamlet_field(COLUMNS, ROWS, angles)
    weights = hills(beamlets)
    planned = compute(delivering(beamlets, weights, COLUMNS, ROWS), box, SHARP, box.grid, body=np.ones(box.grid.shape))
    dose = planned.image.values.ravel()
    difference = (
        influence(box, beamlets, SHARP, box.grid, whole(box), position="HFS").dose(weights) - dose
    ) / dose.max()
    inside = dose > 0.5 * dose.max()
    assert np.abs(difference).max() < 0.01
    assert np.abs(difference[inside]).max() < 0.005
    assert np.sqrt((difference[inside] ** 2).mean()) < 0.001
    assert abs(difference.mean()) < 0.0003


def test_beamlets_one_by_one_give_the_plan_of_any_fluence() -> None:
    # With an entry for every beamlet nothing is drawn, so fluence without any pattern agrees too.
    box = cube(150.0)
    beamlets = beamlet_field(12, 12, (20.0,))
    weights = np.random.default_rng(5).integers(0, 6, len(beamlets)).astype(float)
    voxels = whole(box)[::5]
    matrix = influence(box, beamlets, SHARP, box.grid, voxels, position="HFS", near_mm=ALL)
    assert len(matrix.values) == len(voxels) * len(beamlets)
    planned = compute(delivering(beamlets, weights, 12, 12), box, SHARP, box.grid, body=np.ones(box.grid.shape))
    dose = planned.image.values.ravel()[voxels]
    assert np.abs(matrix.dose(weights) - dose).max() < 0.004 * dose.max()


def test_taking_far_beamlets_together_keeps_the_dose_of_even_fluence_in_every_voxel() -> None:
    box = cube(220.0)
    beamlets = beamlet_field(COLUMNS, ROWS, (0.0, 110.0))
    voxels, even = whole(box)[::17], np.ones(len(beamlets))
    drawn = influence(box, beamlets, SHARP, box.grid, voxels, position="HFS")
    each = influence(box, beamlets, SHARP, box.grid, voxels, position="HFS", near_mm=ALL)
    assert len(drawn.values) < 0.3 * len(each.values)
    np.testing.assert_allclose(drawn.dose(even), each.dose(even), atol=0.002 * each.dose(even).max())


def test_taking_far_beamlets_together_keeps_the_mean_dose_of_every_beamlet() -> None:
    box = cube(220.0)
    beamlets = beamlet_field(COLUMNS, ROWS, (0.0,))
    voxels = whole(box)[::3]
    sums = [
        influence(box, beamlets, SHARP, box.grid, voxels, position="HFS", near_mm=near).gradient(np.ones(len(voxels)))
        for near in (25.0, ALL)
    ]
    # What was drawn averages out over voxels: 1 % of a beamlet's whole dose remains, at random.
    np.testing.assert_allclose(sums[0], sums[1], rtol=0.03)
    assert abs((sums[0] / sums[1] - 1).mean()) < 0.002
    assert (sums[0] / sums[1] - 1).std() < 0.01


def test_rows_do_not_depend_on_which_voxels_are_asked_for_together() -> None:
    box = cube(150.0)
    beamlets = beamlet_field(8, 10, (0.0, 60.0))
    voxels = whole(box)[5000:5400]
    together = influence(box, beamlets, GENERIC, box.grid, voxels, position="HFS")
    few = influence(box, beamlets, GENERIC, box.grid, voxels[[7, 300]], position="HFS")
    weights = hills(beamlets)
    np.testing.assert_allclose(few.dose(weights), together.dose(weights)[[7, 300]], rtol=1e-3)


def test_the_order_and_the_lattice_of_beamlets_do_not_matter() -> None:
    box = cube(150.0)
    beamlets = beamlet_field(8, 10, (0.0, 60.0))
    order = np.random.default_rng(2).permutation(len(beamlets))[:120]
    some = replace(beamlets, beam=beamlets.beam[order], x_mm=beamlets.x_mm[order], y_mm=beamlets.y_mm[order])
    voxels, weights = whole(box)[::11], hills(beamlets)
    found = influence(box, some, GENERIC, box.grid, voxels, position="HFS", near_mm=ALL).dose(weights[order])
    kept = np.zeros(len(beamlets))
    kept[order] = weights[order]
    expected = influence(box, beamlets, GENERIC, box.grid, voxels, position="HFS", near_mm=ALL).dose(kept)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_two_beamlets_of_half_the_width_are_one() -> None:
    box = cube(150.0)
    one = beamlet_field(1, 1, (0.0,))
    halves = replace(
        one, beam=np.zeros(2, dtype=np.int32), x_mm=np.array([-1.25, 1.25]), y_mm=np.zeros(2), width_x_mm=2.5
    )
    voxels = whole(box)[::7]
    whole_dose = influence(box, one, GENERIC, box.grid, voxels, position="HFS").dose(np.ones(1))
    sum_dose = influence(box, halves, GENERIC, box.grid, voxels, position="HFS").dose(np.ones(2))
    np.testing.assert_allclose(sum_dose, whole_dose, atol=0.004 * whole_dose.max())


def test_no_voxels_give_no_rows() -> None:
    box = cube(100.0, 10.0)
    found = influence(box, beamlet_field(2, 2, (0.0,)), GENERIC, box.grid, np.zeros(0, np.uint32), position="HFS")
    assert found.shape == (0, 4)


def test_bad_voxels_frames_and_distances_are_refused() -> None:
    box, beamlets = cube(100.0, 10.0), beamlet_field(2, 2, (0.0,))
    with pytest.raises(InputError, match="not in a dose grid"):
        influence(box, beamlets, GENERIC, box.grid, np.array([1000]), position="HFS")
    with pytest.raises(InputError, match="near_mm"):
        influence(box, beamlets, GENERIC, box.grid, whole(box), position="HFS", near_mm=5.0)
    other = Grid(box.grid.shape, box.grid.affine, "9.9")
    with pytest.raises(GeometryError, match="frame of reference"):
        influence(box, beamlets, GENERIC, other, whole(box), position="HFS")
