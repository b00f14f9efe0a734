"""Beamlets share out the collapsed-cone dose of their beam, and share it rightly."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
from dose_phantoms import GENERIC, beamlet_field, cube, plan, with_lung
from numpy.typing import NDArray
from scipy import ndimage

from tailort.dose.collapsed_cone import compute
from tailort.dose.cone_influence import influence
from tailort.dose.fluence import exposures
from tailort.dose.head import head_fluence
from tailort.dose.lattice import Lattice, beamlet_fluence
from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image
from tailort.patient.influence import Beamlets
from tailort.patient.plan import Beam, ControlPoint, Plan
from tailort.physics import machine

# Nothing but the openings: what else leaves and jaws do belongs to plans.
SHARP = replace(
    GENERIC, leaf_transmission=0.0, jaw_transmission=0.0, head=replace(GENERIC.head, leaf_end_gap_mm=0.0, tongue_mm=0.0)
)
POINT = machine("point-6MV")


def whole(image: Image) -> NDArray[np.uint32]:
    return np.arange(image.grid.size, dtype=np.uint32)


def thorax() -> Image:
    """Two lungs, a spine and a tumour between them, 4 mm voxels."""
    grid = Grid.axial((26, 56, 80), (4.0, 4.0, 4.0), (-158.0, -110.0, -50.0), "1.2.3")
    _, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    values = np.where((x / 155) ** 2 + (y / 105) ** 2 < 1, 1.0, 0.0012)
    for middle in (-75.0, 75.0):
        values = np.where(((x - middle) / 55) ** 2 + ((y + 5) / 80) ** 2 < 1, 0.26, values)
    values = np.where(np.hypot(x, y - 72) < 18, 1.4, values)
    values = np.where(np.hypot(x + 10, y - 10) < 22, 1.03, values)
    return Image(grid, values.astype(np.float32), "g/cm3")


def delivering(beamlets: Beamlets, levels: NDArray[np.int64]) -> Plan:
    """Return the plan that gives each beamlet its number of MU, jaws at the outermost beamlets.

    In each segment every row of leaves opens over one run of beamlets.
    """
    beams = []
    for n, setup in enumerate(beamlets.setups):
        lattice = Lattice.of(beamlets, n)
        (x, y), wide = lattice.edges_mm, lattice.width_mm[0]
        points: list[ControlPoint] = []
        for level in range(1, int(levels.max()) + 1):
            runs = [_runs(levels[row] >= level) for row in lattice.column]
            for k in range(max(len(run) for run in runs)):
                ends = np.full((2, len(runs)), x[0])
                for row, run in enumerate(runs):
                    if k < len(run):
                        ends[:, row] = x[0] + wide * np.array(run[k])
                for mu in (0.0, 1.0):
                    at = len(points) // 2 + mu
                    points.append(ControlPoint(at, setup.gantry_deg, 0.0, 0.0, (x[0], x[-1]), (y[0], y[-1]), ends))
        beams.append(
            Beam(setup.name, setup.number, GENERIC.id, 6.0, True, setup.isocentre_mm, tuple(y), tuple(points))
        )  # fmt: skip
    return plan(*beams)


def _runs(opened: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], opened.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


def agreeing(found: NDArray[np.float64], wanted: NDArray[np.float64], spacing_mm: tuple[float, ...]) -> float:
    """Share of the voxels above 10 % in which doses differ by less than 2 % of the maximum or 2 mm."""
    most = wanted.max()
    low, high = wanted.copy(), wanted.copy()
    index = np.indices(wanted.shape).astype(float)
    for axis in range(3):
        for side in (-2.0, 2.0):
            place = index.copy()
            place[axis] += side / spacing_mm[axis]
            moved = ndimage.map_coordinates(wanted, place, order=1, mode="nearest")
            low, high = np.minimum(low, moved), np.maximum(high, moved)
    good = (np.abs(found - wanted) < 0.02 * most) | ((found >= low) & (found <= high))
    return float(good[wanted > 0.1 * most].mean())


@pytest.mark.parametrize(
    ("angles", "seed"),
    [
        ((40.0,), 0),
        ((90.0,), 1),
        pytest.param((0.0, 100.0, 220.0), 2, marks=pytest.mark.slow),
        pytest.param((130.0,), 3, marks=pytest.mark.slow),
        pytest.param((200.0, 320.0), 4, marks=pytest.mark.slow),
    ],
)
def test_any_fluence_on_a_thorax_has_its_collapsed_cone_dose(angles: tuple[float, ...], seed: int) -> None:
    body = thorax()
    beamlets = beamlet_field(10, 12, angles)
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 4, len(beamlets))
    if seed % 2:
        # Hills and valleys instead of noise.
        hills = ndimage.gaussian_filter(rng.normal(size=(len(angles), 12, 10)), (0.0, 1.5, 1.5))
        levels = np.clip(np.round(1.5 + 1.5 * hills / hills.std()), 0, 4).astype(np.int64).ravel()
    rows = np.flatnonzero(body.values.ravel() > 0.05).astype(np.uint32)
    matrix = influence(body, beamlets, SHARP, body.grid, rows, position="HFS")
    found = np.zeros(body.grid.size)
    found[rows] = matrix.dose(levels.astype(float))
    wanted = compute(delivering(beamlets, levels), body, SHARP, body.grid, body=body.values > 0.05).image.values
    share = agreeing(found.reshape(body.grid.shape), wanted.astype(float), body.grid.spacing_mm)
    assert share > 0.99
    high = wanted > 0.1 * wanted.max()
    difference = (found.reshape(wanted.shape) - wanted)[high] / wanted.max()
    assert np.sqrt((difference**2).mean()) < 0.012
    assert abs(difference.mean()) < 0.004


@pytest.mark.parametrize("lung", [False, True], ids=["water", "lung slab"])
def test_columns_of_an_open_field_add_up_to_its_collapsed_cone_dose(lung: bool) -> None:
    box = cube(200.0)
    if lung:
        box = with_lung(box, -60.0, 40.0, 0.26)
    beamlets = beamlet_field(10, 10, (0.0,))
    found = influence(box, beamlets, SHARP, box.grid, whole(box)[::3], position="HFS").dose(np.ones(100))
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, (-25.0, 25.0), (-25.0, 25.0), None) for mu in (0.0, 1.0))
    field = Beam("open", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), (), points)
    wanted = compute(plan(field), box, SHARP, box.grid, body=np.ones(box.grid.shape)).image.values.ravel()[::3]
    np.testing.assert_allclose(found, wanted, atol=0.002 * wanted.max())


def test_columns_add_up_in_voxels_of_two_sizes_too() -> None:
    """With a box that needs the grid's small voxels, in the box and far from it."""
    box = with_lung(cube(110.0, 1.6), -20.0, 5.0, 0.26)
    beamlets = beamlet_field(4, 4, (0.0,))
    rows = whole(box)[::31]
    small = np.array([(-10.0, 5.0, -10.0), (10.0, 20.0, 10.0)])
    found = influence(box, beamlets, SHARP, box.grid, rows, position="HFS", detailed_mm=small).dose(np.ones(16))
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, (-10.0, 10.0), (-10.0, 10.0), None) for mu in (0.0, 1.0))
    field = Beam("open", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), (), points)
    body = np.ones(box.grid.shape)
    both, one = (
        compute(plan(field), box, SHARP, box.grid, body=body, detailed_mm=corners).image.values.ravel()[rows]
        for corners in (small, None)
    )
    np.testing.assert_allclose(found, both, atol=0.002 * both.max())
    assert np.abs(both - one).max() > 0.005 * one.max()


@pytest.mark.parametrize("lung", [False, True], ids=["water", "lung slab"])
def test_few_beamlets_of_a_wide_beam_have_the_dose_of_a_small_field(lung: bool) -> None:
    # With a point source nothing but the shares of the beamlets is tested: 3 x 3 of 14 x 14.
    box = cube(160.0, 4.0)
    if lung:
        box = with_lung(box, -40.0, 40.0, 0.26)
    beamlets = beamlet_field(14, 14, (0.0,))
    inside = (np.abs(beamlets.x_mm) < 20.0) & (np.abs(beamlets.y_mm) < 20.0)
    assert inside.sum() == 64
    matrix = influence(box, beamlets, POINT, box.grid, whole(box), position="HFS")
    found = matrix.dose(inside.astype(float)).reshape(box.grid.shape)
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, (-20.0, 20.0), (-20.0, 20.0), None) for mu in (0.0, 1.0))
    field = Beam("small", 1, POINT.id, 6.0, True, (0.0, 0.0, 0.0), (), points)
    wanted = compute(plan(field), box, POINT, box.grid, body=np.ones(box.grid.shape)).image.values.astype(float)
    assert agreeing(found, wanted, box.grid.spacing_mm) > 0.98
    _, _, x = box.grid.axes_mm()
    middle = np.abs(x) < 5.0
    axis = np.s_[:, 4:, :]
    difference = (found - wanted)[axis][middle][:, :, middle] / wanted.max()
    assert np.abs(difference).max() < 0.04
    assert abs(difference.mean()) < 0.01


def test_the_fluence_of_beamlets_is_that_of_the_head() -> None:
    # A rectangle of beamlets is an open field of the jaws, horns, head scatter and electrons included.
    beamlets = beamlet_field(8, 14, (0.0,))
    edges = np.arange(-120.0, 120.5, 1.0)
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, (-20.0, 20.0), (-35.0, 35.0), None) for mu in (0.0, 1.0))
    field = Beam("open", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), (), points)
    wanted = head_fluence(exposures(field)[0], field, SHARP, edges, edges)
    found = beamlet_fluence(Lattice.of(beamlets, 0), SHARP, edges, edges)
    for ours, theirs in zip(found, wanted, strict=True):
        # The head samples its wide sources every 5 mm.
        np.testing.assert_allclose(ours, theirs, atol=0.003 * theirs.max())


def test_fluence_is_linear_in_the_weights_of_the_beamlets() -> None:
    beamlets = beamlet_field(6, 5, (0.0,))
    lattice, edges = Lattice.of(beamlets, 0), np.arange(-60.0, 61.0, 2.0)
    one, two = np.random.default_rng(1).uniform(0.0, 2.0, (2, 30))
    parts = [np.array(beamlet_fluence(lattice, GENERIC, edges, edges, w)) for w in (one, two, one + 2 * two)]
    np.testing.assert_allclose(parts[2], parts[0] + 2 * parts[1], rtol=1e-12)


def test_beamlets_may_lie_on_any_lattice_and_in_any_order() -> None:
    box = cube(120.0)
    beamlets = beamlet_field(6, 6, (0.0, 70.0))
    moved = replace(beamlets, x_mm=beamlets.x_mm + 2.5, y_mm=beamlets.y_mm + 1.3)
    order = np.random.default_rng(3).permutation(len(moved))
    mixed = replace(moved, beam=moved.beam[order], x_mm=moved.x_mm[order], y_mm=moved.y_mm[order])
    voxels, weights = whole(box)[::13], np.random.default_rng(4).uniform(0.0, 1.0, len(moved))
    doses = [
        influence(box, these, GENERIC, box.grid, voxels, position="HFS", near_mm=1000.0).dose(w)
        for these, w in ((moved, weights), (mixed, weights[order]))
    ]
    np.testing.assert_allclose(doses[0], doses[1], rtol=1e-4, atol=1e-8)


def test_a_lattice_with_gaps_and_a_beam_without_beamlets_have_their_rows() -> None:
    box = cube(120.0)
    beamlets = beamlet_field(6, 6, (0.0, 70.0))
    kept = (beamlets.beam == 0) & (np.arange(72) % 5 > 0)
    some = replace(beamlets, beam=beamlets.beam[kept], x_mm=beamlets.x_mm[kept], y_mm=beamlets.y_mm[kept])
    found = influence(box, some, GENERIC, box.grid, whole(box)[::13], position="HFS")
    assert found.shape == (len(whole(box)[::13]), kept.sum())
    assert np.isfinite(found.values).all()
    assert found.values.min() >= 0.0
    assert (found.gradient(np.ones(found.shape[0])) > 0.0).all()


def test_taking_far_beamlets_together_keeps_the_dose_of_even_fluence_in_every_voxel() -> None:
    box = cube(220.0)
    beamlets = beamlet_field(12, 20, (0.0, 110.0))
    voxels, even = whole(box)[::17], np.ones(len(beamlets))
    drawn, each = (
        influence(box, beamlets, GENERIC, box.grid, voxels, position="HFS", near_mm=near) for near in (25.0, 1000.0)
    )
    assert len(drawn.values) < 0.4 * len(each.values)
    np.testing.assert_allclose(drawn.dose(even), each.dose(even), rtol=1e-4)


def test_small_beamlets_are_drawn_together_from_nearer_with_as_small_an_error() -> None:
    """Random strips of 2.5 mm beamlets from 5 sides: 1 % of the dose (rms of the target's voxels)."""
    box = cube(100.0, 5.0)
    angles = tuple(np.arange(5) * 72.0)
    usual = beamlet_field(16, 16, angles)
    beamlets = replace(usual, x_mm=usual.x_mm / 2, y_mm=usual.y_mm / 2, width_x_mm=2.5, width_y_mm=2.5)
    inside = np.linalg.norm(np.stack(np.meshgrid(*box.grid.axes_mm(), indexing="ij")), axis=0) < 17.0
    voxels = np.flatnonzero(inside.ravel()).astype(np.uint32)
    drawn, each = (
        influence(box, beamlets, GENERIC, box.grid, voxels, position="HFS", near_mm=near) for near in (25.0, 1000.0)
    )
    assert len(drawn.values) < 0.75 * len(each.values)
    rng = np.random.default_rng(11)
    open_from, wide = rng.integers(0, 8, (2, len(angles), 16, 1))
    columns = np.arange(16)
    strips = ((open_from <= columns) & (columns <= open_from + wide)).astype(float).ravel()
    found, wanted = drawn.dose(strips), each.dose(strips)
    assert np.sqrt((((found - wanted) / wanted) ** 2).mean()) < 0.01
    assert abs(found.sum() / wanted.sum() - 1.0) < 0.002


def test_rows_depend_neither_on_the_other_rows_nor_on_the_number_of_threads() -> None:
    box = with_lung(cube(150.0), -40.0, 20.0, 0.3)
    beamlets = beamlet_field(8, 10, (0.0, 60.0))
    voxels = whole(box)[5000:5400]
    together = influence(box, beamlets, GENERIC, box.grid, voxels, position="HFS")
    few = influence(box, beamlets, GENERIC, box.grid, voxels[[7, 300]], position="HFS")
    weights = np.random.default_rng(6).uniform(0.0, 1.0, len(beamlets))
    np.testing.assert_allclose(few.dose(weights), together.dose(weights)[[7, 300]], rtol=1e-5)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        alone = influence(box, beamlets, GENERIC, box.grid, voxels, position="HFS")
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_allclose(alone.values, together.values, rtol=2e-5, atol=1e-12)


def test_progress_ends_at_one_and_no_voxels_give_no_rows() -> None:
    box, told = cube(100.0, 10.0), []
    found = influence(
        box, beamlet_field(2, 2, (0.0,)), GENERIC, box.grid, np.zeros(0, np.uint32), position="HFS",
        progress=told.append,
    )  # fmt: skip
    assert found.shape == (0, 4)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_what_cannot_be_right_is_refused() -> None:
    box, beamlets = cube(100.0, 10.0), beamlet_field(3, 2, (0.0,))
    with pytest.raises(InputError, match="not in a dose grid"):
        influence(box, beamlets, GENERIC, box.grid, np.array([1000]), position="HFS")
    with pytest.raises(InputError, match="near_mm"):
        influence(box, beamlets, GENERIC, box.grid, whole(box), position="HFS", near_mm=5.0)
    with pytest.raises(GeometryError, match="frame of reference"):
        influence(box, beamlets, GENERIC, Grid(box.grid.shape, box.grid.affine, "9"), whole(box), position="HFS")
    crooked = replace(beamlets, x_mm=beamlets.x_mm + np.array([0.0, 1.0, 0.0] * 2))
    with pytest.raises(InputError, match="lattice"):
        influence(box, crooked, GENERIC, box.grid, whole(box), position="HFS")
    twice = replace(beamlets, x_mm=np.zeros(6))
    with pytest.raises(InputError, match="same place"):
        influence(box, twice, GENERIC, box.grid, whole(box), position="HFS")
    empty = box.with_values(np.zeros(box.grid.shape, dtype=np.float32))
    with pytest.raises(GeometryError, match="no tissue"):
        influence(empty, beamlets, GENERIC, box.grid, whole(box), position="HFS")
