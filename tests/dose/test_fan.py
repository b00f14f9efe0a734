"""Radiological depth is the line integral of electron density from the source."""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import FRAME, cube, with_lung

from tailort.dose.fan import Fan
from tailort.errors import GeometryError
from tailort.geometry import Grid, Image
from tailort.patient.plan import BeamSetup
from tailort.physics import relative_electron_density


def fan_of(gantry_deg: float = 0.0, couch_deg: float = 0.0) -> Fan:
    return Fan.of(BeamSetup("B", 1, (0.0, 0.0, 0.0), gantry_deg, 0.0, couch_deg), "HFS", 1000.0)


def depth_cm(fan: Fan, image: Image, points: list[list[float]]) -> np.ndarray:
    return fan.radiological_depth_cm(image, fan.coordinates(np.array(points, dtype=float)))


def test_fan_coordinates_of_a_beam_from_above_are_the_projected_patient_axes() -> None:
    found = fan_of().coordinates(np.array([[0.0, 0, 0], [30.0, 0, -20], [30.0, 200, -24]]))
    np.testing.assert_allclose(found, [[0, 0, 1000], [30, -20, 1000], [25, -20, 1200]], atol=1e-9)


def test_depth_in_a_water_cube_is_the_length_of_the_slanted_path() -> None:
    # Upper face at y = -150, source at y = -1000.
    points = [[0.0, -100.0, 0.0], [60.0, 50.0, 0.0], [60.0, 50.0, -80.0]]
    slant = [np.linalg.norm(np.array(p) - [0, -1000, 0]) for p in points]
    expected = [length * (p[1] + 150) / (p[1] + 1000) / 10 for length, p in zip(slant, points, strict=True)]
    np.testing.assert_allclose(depth_cm(fan_of(), cube(), points), expected, atol=2e-3)


@pytest.mark.parametrize("gantry_deg", [0.0, 37.0, 90.0, 211.0])
def test_depth_is_the_sum_over_finely_sampled_voxels(gantry_deg: float) -> None:
    box = cube(100.0, 10.0)
    image = Image(box.grid, np.random.default_rng(3).random(box.grid.shape).astype(np.float32), "1")
    fan = fan_of(gantry_deg, 12.0)
    # On the rays and samples of the fan itself nothing is interpolated.
    u, v, s = np.array([[-22.5, 10.0, 1005.0], [0.0, 2.5, 1025.0], [15.0, -30.0, 995.0]]).T
    points = (
        fan.source_mm
        + (s / 1000)[:, None] * (u[:, None] * fan.axes[0] + v[:, None] * fan.axes[1])
        - s[:, None] * fan.axes[2]
    )
    for point, found in zip(points, depth_cm(fan, image, points.tolist()), strict=True):
        count = 400_000
        along = fan.source_mm + (np.arange(count) + 0.5)[:, None] / count * (point - fan.source_mm)
        index = np.rint(image.grid.to_index(along)).astype(int)
        inside = ((index >= 0) & (index < 10)).all(axis=1)
        total = image.values[tuple(index[inside].T)].sum() * np.linalg.norm(point - fan.source_mm) / count / 10
        assert found == pytest.approx(total, abs=2e-3)


def test_depth_does_not_depend_on_how_the_grid_lies() -> None:
    box = with_lung(cube(), -50.0, 50.0, 0.3)
    turned = np.array(box.grid.affine)
    # The same voxels counted from the other end along k and j, with k and i exchanged.
    values = np.transpose(box.values[::-1, ::-1], (2, 1, 0))
    turned[:3, 3] = box.grid.to_world([box.grid.shape[0] - 1, box.grid.shape[1] - 1, 0])
    turned[:3, :3] = np.stack([box.grid.affine[:3, 2], -box.grid.affine[:3, 1], -box.grid.affine[:3, 0]], axis=1)
    other = Image(Grid(values.shape, turned, FRAME), values, "g/cm3")
    points = [[10.0, 20.0, -30.0], [-70.0, 100.0, 40.0]]
    np.testing.assert_allclose(depth_cm(fan_of(25.0), other, points), depth_cm(fan_of(25.0), box, points), atol=1e-4)


def test_a_slab_of_lung_counts_by_its_electrons() -> None:
    lung = relative_electron_density(with_lung(cube(), -100.0, 0.0, 0.3))
    # 50 mm of water, 100 mm of lung of 0.3 g/cm3 with 0.992 of water's electrons per gram, 50 mm of water.
    assert depth_cm(fan_of(), lung, [[0.0, 50.0, 0.0]])[0] == pytest.approx(5 + 10 * 0.3 * 0.992 + 5, abs=1e-3)


def test_beside_the_image_there_is_vacuum() -> None:
    np.testing.assert_array_equal(depth_cm(fan_of(), cube(100.0), [[0.0, -100.0, 0.0], [200.0, 20.0, 0.0]]), 0.0)


def test_a_voxel_at_the_source_is_refused() -> None:
    with pytest.raises(GeometryError, match="isocentre"):
        fan_of().coordinates(np.array([[0.0, -990.0, 0.0]]))
