"""Voxels of two sizes: the dose where small ones are asked for is that of small ones everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.dose.collapsed_cone import compute
from tailort.dose.space import Voxels, divided, voxels_to_one
from tailort.geometry import Grid, Image
from tailort.patient.plan import Beam, ControlPoint, Plan
from tailort.physics import machine

LINAC = machine("generic-10MV-FFF")
# Vertebra in the middle of the box, LPS mm.
BOX_MM = np.array([(-12.0, 13.0, -12.0), (12.0, 37.0, 12.0)])
SIZES = st.tuples(*[st.integers(1, 5)] * 3)
PARTS = st.tuples(*[st.integers(1, 3)] * 3)


def thorax(spacing_mm: float = 1.5) -> Image:
    """Water with two lungs, a vertebra and a canal."""
    planes, rows, columns = (round(side / spacing_mm) for side in (105.0, 165.0, 210.0))
    origin = [-(n - 1) / 2 * spacing_mm for n in (columns, rows, planes)]
    grid = Grid.axial((planes, rows, columns), (spacing_mm,) * 3, origin, "frame")
    _, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    density = np.where((x / 100) ** 2 + (y / 75) ** 2 < 1, 1.0, 0.0012)
    for side in (-1, 1):
        density = np.where(((x - side * 52) / 36) ** 2 + ((y + 8) / 46) ** 2 < 1, 0.26, density)
    density = np.where(np.hypot(x, y - 25) < 14, 1.35, density)
    density = np.where(np.hypot(x, y - 44) < 7, 1.03, density)
    return Image(grid, density.astype(np.float32), "g/cm3")


def crossing(angles: tuple[float, ...]) -> Plan:
    """Square fields of 24 mm through the vertebra."""
    beams = []
    for n, angle in enumerate(angles):
        points = [ControlPoint(mu, angle, 0.0, 0.0, (-12.0, 12.0), (-12.0, 12.0), None) for mu in (0.0, 100.0)]
        beams.append(
            Beam(f"b{n}", n + 1, LINAC.id, LINAC.energy_mv, LINAC.flattened, (0.0, 25.0, 0.0), (), tuple(points))
        )
    return Plan("plan", tuple(beams), (), 1, "HFS", "frame")


@pytest.mark.slow
def test_the_dose_in_the_box_is_that_of_small_voxels_everywhere() -> None:
    """Within 0.5 % of the maximum in it; in tissue elsewhere within 3 % but for penumbras, 1 % in the mean in beams."""
    ct, plan = thorax(), crossing((0.0, 50.0, 130.0, 215.0, 290.0))
    inside = np.ones(ct.grid.shape)
    everywhere = compute(plan, ct, LINAC, ct.grid, body=inside).image.values
    near = compute(plan, ct, LINAC, ct.grid, body=inside, detailed_mm=BOX_MM).image.values
    apart = np.abs(near - everywhere) / everywhere.max()
    z, y, x = np.meshgrid(*ct.grid.axes_mm(), indexing="ij")
    boxed = np.all([(low <= at) & (at <= high) for at, low, high in zip((x, y, z), *BOX_MM, strict=True)], axis=0)
    assert apart[boxed].max() < 0.005
    tissue = ct.values > 0.1
    assert np.percentile(apart[tissue], 99.9) < 0.03
    assert apart[tissue].max() < 0.05
    assert apart[tissue & (everywhere > 0.05 * everywhere.max())].mean() < 0.01
    # Wide voxels are what is saved by: without them nothing would differ.
    assert apart[tissue & ~boxed].max() > 0.005


def test_few_voxels_carry_energy_and_the_small_ones_lie_about_the_box() -> None:
    ct = thorax()
    voxels = Voxels.around(ct.grid, ct, "medium", detailed_mm=BOX_MM)
    wide, small, near = voxels.spaces
    assert sum(space.grid.size for space in voxels.spaces) < 0.5 * voxels.fine.grid.size
    assert wide.grid.spacing_mm == near.grid.spacing_mm == (3.0, 3.0, 3.0)
    assert small.grid.spacing_mm == (1.5, 1.5, 1.5)
    corners = small.grid.to_index(BOX_MM)
    assert (corners.min(axis=0) >= 0).all()
    assert (corners.max(axis=0) <= np.array(small.grid.shape) - 1).all()
    # Eight small voxels and their wide one lie at one place and have the same mass.
    np.testing.assert_allclose(small.grid.to_world((0.5, 0.5, 0.5)), near.grid.origin_mm)
    eight = small.electrons.reshape(*(n for size in near.grid.shape for n in (size, 2))).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(eight, near.electrons, rtol=0.03)


@pytest.mark.parametrize(
    ("spacing_mm", "box_mm"),
    [(1.5, None), (2.5, BOX_MM), (1.5, np.array([(-99.0, -70.0, -50.0), (99.0, 70.0, 50.0)]))],
)
def test_voxels_are_of_one_size_where_two_save_nothing(spacing_mm: float, box_mm: np.ndarray | None) -> None:
    """No box, voxels of which two would be too wide, and a box that is nearly the grid."""
    ct = thorax(spacing_mm)
    voxels = Voxels.around(ct.grid, ct, "medium", detailed_mm=box_mm)
    assert voxels.spaces == (voxels.fine,)
    left = np.ones(voxels.fine.grid.shape, dtype=np.float32)
    assert voxels.joined([left]) is left


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_small_voxels_do_not_tell_is_the_wide_ones(seed: int) -> None:
    """No energy counts twice: small voxels with the values of the wide ones change nothing, anywhere."""
    ct = thorax(3.0)
    voxels = Voxels.around(ct.grid, ct, "medium", 6.4, BOX_MM)
    rng = np.random.default_rng(seed)
    wide, near = (rng.random(voxels.spaces[n].grid.shape).astype(np.float32) for n in (0, 2))
    same = divided(near, voxels.joined_to_one)
    np.testing.assert_array_equal(voxels.joined([wide, same, near]), divided(wide, voxels.joined_to_one))
    more = voxels.joined([wide, same + np.float32(1.0), near]) - divided(wide, voxels.joined_to_one)
    assert 0.0 == more.min() < more.max() == pytest.approx(1.0)
    # Its edge is drawn out over 10 mm: no more than 3/10 from a voxel to the next.
    assert max(np.abs(np.diff(more, axis=axis)).max() for axis in range(3)) < 0.31


@given(size=SIZES, parts=PARTS, slopes=st.tuples(*[st.integers(-3, 3)] * 3))
def test_dividing_keeps_what_changes_evenly(
    size: tuple[int, int, int], parts: tuple[int, int, int], slopes: tuple[int, int, int]
) -> None:
    def plane(shape: tuple[int, ...], step: np.ndarray) -> np.ndarray:
        at = np.meshgrid(*((np.arange(n) + 0.5) * w for n, w in zip(shape, step, strict=True)), indexing="ij")
        return sum(slope * along for slope, along in zip(slopes, at, strict=True)).astype(np.float32)

    fine = divided(plane(size, np.ones(3)), np.array(parts))
    want = plane(fine.shape, 1.0 / np.array(parts))
    # Up to the outermost centres.
    core = tuple(slice(n // 2, -(n // 2) or None) for n in parts)
    np.testing.assert_allclose(fine[core], want[core], atol=1e-4)
    assert fine.min() >= plane(size, np.ones(3)).min()
    assert fine.max() <= plane(size, np.ones(3)).max()


@given(spacing=st.floats(0.5, 8.0))
def test_joined_voxels_are_as_wide_as_they_may_be(spacing: float) -> None:
    (one,) = voxels_to_one([spacing])
    assert one == 1 or one * spacing <= 3.2 + 1e-4
    assert (one + 1) * spacing > 3.2
