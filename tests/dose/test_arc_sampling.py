"""A beam that moves is cut finely enough: halving the steps changes the dose by less than half a per cent."""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import plan

from tailort.dose import fluence, pencil
from tailort.geometry import Grid, Image
from tailort.patient.plan import Beam, ControlPoint
from tailort.physics import machine

GENERIC = machine("generic-6MV")
SPACING_MM = 8.0


def cylinder() -> tuple[Image, np.ndarray]:
    """Water of 240 mm diameter along z, and its mask."""
    shape = (9, 31, 31)
    origin = [-(n - 1) / 2 * SPACING_MM for n in (shape[2], shape[1], shape[0])]
    grid = Grid.axial(shape, (SPACING_MM,) * 3, origin, "1.2.3")
    _, y, x = grid.axes_mm()
    inside = np.broadcast_to(np.hypot(*np.meshgrid(x, y)) < 120.0, shape)
    return Image(grid, inside.astype(np.float32), "g/cm3"), inside


def arc(gantry_step_deg: float, first: float = 181.0, turn: float = 176.0) -> Beam:
    """A half arc whose leaves wander by up to about 5 mm a degree, and whose MU vary by a factor of three."""
    count = round(turn / gantry_step_deg) + 1
    pairs = GENERIC.leaf_pairs
    middle = np.asarray(GENERIC.leaf_boundaries_mm)[:-1]
    points, mu = [], 0.0
    for n in range(count):
        turned = gantry_step_deg * n
        left = -15.0 + 20.0 * np.sin(np.deg2rad(4.0 * turned) + 0.02 * middle)
        width = 30.0 + 12.0 * np.cos(np.deg2rad(6.0 * turned) + 0.05 * middle)
        leaves = np.stack([left, left + width])
        assert leaves.shape == (2, pairs)
        points.append(ControlPoint(mu, (first + turned) % 360.0, 10.0, 0.0, (-60.0, 60.0), (-25.0, 25.0), leaves))
        mu += gantry_step_deg * (1.0 + 0.5 * np.sin(np.deg2rad(3.0 * turned)))
    return Beam(
        "arc", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), GENERIC.leaf_boundaries_mm, tuple(points), dynamic=True
    )


def dose_of(beam: Beam, water: Image, inside: np.ndarray) -> np.ndarray:
    return pencil.compute(plan(beam), water, GENERIC, water.grid, body=inside).image.values[inside]


@pytest.mark.slow
def test_halving_the_gantry_and_leaf_steps_of_an_arc_changes_the_dose_by_less_than_half_a_per_cent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    water, inside = cylinder()
    beam = arc(4.0)
    usual = dose_of(beam, water, inside)
    monkeypatch.setattr(fluence, "MAX_GANTRY_STEP_DEG", fluence.MAX_GANTRY_STEP_DEG / 2)
    monkeypatch.setattr(fluence, "MAX_LEAF_STEP_MM", fluence.MAX_LEAF_STEP_MM / 2)
    finer = dose_of(beam, water, inside)
    difference = np.abs(finer - usual) / finer.max()
    assert difference.mean() < 0.0015
    assert difference.max() < 0.005


def test_a_beam_that_stands_still_while_its_leaves_move_is_cut_so_that_halving_the_leaf_steps_changes_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    pairs = GENERIC.leaf_pairs
    points, left = [], np.full(pairs, -60.0)
    for n in range(9):
        width = rng.uniform(8, 30, pairs)
        points.append(
            ControlPoint(10.0 * n, 0.0, 0.0, 0.0, (-70.0, 70.0), (-40.0, 40.0), np.stack([left, left + width]))
        )
        left = left + rng.uniform(5, 12, pairs)
    beam = Beam(
        "slide", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), GENERIC.leaf_boundaries_mm, tuple(points), dynamic=True
    )
    from tailort.dose.head import head_fluence

    edges = np.arange(-90.0, 90.1, 1.0)

    def total() -> np.ndarray:
        (part,) = fluence.exposures(beam)
        return head_fluence(part, beam, GENERIC, edges, edges)[0]

    usual = total()
    monkeypatch.setattr(fluence, "MAX_LEAF_STEP_MM", fluence.MAX_LEAF_STEP_MM / 4)
    finer = total()
    # As a voxel of 3 mm sees it.
    coarse = [field.reshape(60, 3, 60, 3).mean(axis=(1, 3)) for field in (usual, finer)]
    assert np.abs(coarse[1] - coarse[0]).max() < 0.005 * finer.max()
