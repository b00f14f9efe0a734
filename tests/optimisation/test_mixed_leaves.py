"""A bank of 5 and 10 mm leaves: 5 mm beamlets behind a wide leaf move together, in the plan and on the machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tailort.dose.fluence import exposures, fluence
from tailort.geometry import Grid
from tailort.optimisation import arrange, beamlets_covering, fluence_of, leaf_fields, sequence
from tailort.optimisation.objectives import SquaredOverdose, SquaredUnderdose
from tailort.optimisation.problem import Problem, VoxelSet, Wish
from tailort.optimisation.sequence import split
from tailort.patient import Beamlets, Influence
from tailort.physics.machines import machine

GENERIC = machine("generic-6MV")
BARE = replace(GENERIC, leaf_transmission=0.0, jaw_transmission=0.0, head=replace(GENERIC.head, leaf_end_gap_mm=0.0))
# Leaves are 5 mm wide up to here.
NARROW_TO_MM = 100.0


def tall_target() -> list[np.ndarray]:
    """A cylinder along z that ends 30 mm beyond the narrow leaves, and an isocentre in its middle."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return [
        np.column_stack([25 * np.cos(angle), 20 * np.sin(angle), np.full(60, z)]) for z in np.arange(-130.0, 131.0, 5.0)
    ]


@pytest.fixture(scope="module")
def beamlets() -> Beamlets:
    return beamlets_covering(arrange([0.0, 120.0, 240.0], (0, 0, 0)), tall_target(), GENERIC, "HFS", 7.0)


def leaf_of(y_mm: np.ndarray) -> np.ndarray:
    return np.searchsorted(GENERIC.leaf_boundaries_mm, y_mm) - 1


def test_rows_behind_one_wide_leaf_have_the_same_beamlets(beamlets: Beamlets) -> None:
    assert np.abs(beamlets.y_mm).max() > 130
    leaf = leaf_of(beamlets.y_mm)
    wide = np.abs(beamlets.y_mm) > NARROW_TO_MM
    assert wide.any()
    assert (~wide).any()
    for beam in range(3):
        for one in np.unique(leaf[wide]):
            own = (beamlets.beam == beam) & (leaf == one)
            rows = [np.sort(beamlets.x_mm[own & (beamlets.y_mm == y)]) for y in np.unique(beamlets.y_mm[own])]
            assert len(rows) in (0, 2)
            if rows:
                np.testing.assert_array_equal(*rows)
        narrow = (beamlets.beam == beam) & ~wide
        assert len(np.unique(beamlets.y_mm[narrow])) == len(np.unique(leaf[narrow]))


def test_split_fluence_is_the_same_in_both_rows_of_a_wide_leaf_and_free_in_narrow_ones(beamlets: Beamlets) -> None:
    weights = np.random.default_rng(0).uniform(0, 30, len(beamlets))
    openings, mu = split(leaf_fields(beamlets, BARE), weights, 1.0, BARE)
    total = fluence_of(openings, mu, BARE, len(beamlets))
    wide = np.abs(beamlets.y_mm) > NARROW_TO_MM
    np.testing.assert_allclose(total[~wide], np.round(weights[~wide]), atol=1e-9)
    place = np.stack([beamlets.beam, beamlets.x_mm, leaf_of(beamlets.y_mm)])
    _, group = np.unique(place, axis=1, return_inverse=True)
    count = np.bincount(group.ravel())
    mean = np.bincount(group.ravel(), weights) / count
    found = np.bincount(group.ravel(), total) / count
    twice = count == 2
    assert twice.sum() == wide.sum() / 2
    np.testing.assert_allclose(found[twice], mean[twice], atol=0.5 + 1e-9)
    np.testing.assert_allclose(total[wide], found[group.ravel()][wide], atol=1e-9)


def test_the_beams_of_a_sequenced_plan_deliver_the_fluence_that_was_optimised(beamlets: Beamlets) -> None:
    size = len(beamlets)
    # Each beamlet doses one voxel, so that the plan asks for a fluence, pattern and all.
    grid = Grid.axial((1, 1, size), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "1.2.3")
    voxels = np.arange(size, dtype=np.uint32)
    influence = Influence(np.full(size, 0.01, np.float32), voxels, np.arange(size + 1), grid, voxels, beamlets, "toy")
    pattern = 20.0 + 10.0 * np.sin(beamlets.x_mm / 9.0 + beamlets.beam) * np.cos(beamlets.y_mm / 15.0)
    high = np.flatnonzero(pattern > 20.0)
    low = np.flatnonzero(pattern <= 20.0)
    sets = {
        "High": VoxelSet("High", high, np.ones(len(high))),
        "Low": VoxelSet("Low", low, np.ones(len(low))),
    }
    wishes = (Wish("High", SquaredUnderdose(0.25), 1.0), Wish("Low", SquaredOverdose(0.15), 1.0))
    problem = Problem(influence, 1, sets, wishes)
    delivery = sequence(problem, influence, pattern, GENERIC, leaf_steps=10)
    wanted = fluence_of(delivery.openings, delivery.solution.weights_mu, GENERIC, size)
    fine = np.arange(-200.0, 200.1, 1.0)
    for beam in delivery.beams:
        mu = sum(fluence(part, beam, GENERIC, fine, fine) for part in exposures(beam))
        own = np.flatnonzero([setup.number == beam.number for setup in beamlets.setups])[0]
        for n in np.flatnonzero(beamlets.beam == own):
            i, j = round(beamlets.x_mm[n] - 2.5 + 200), round(beamlets.y_mm[n] - 2.5 + 200)
            assert mu[j : j + 5, i : i + 5].mean() == pytest.approx(wanted[n], abs=0.005)
