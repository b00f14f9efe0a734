import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tailort.errors import GeometryError
from tailort.geometry import Grid

FRAME = "1.2.3"
shapes = st.tuples(*[st.integers(1, 9)] * 3)
spacings = st.tuples(*[st.floats(0.3, 7)] * 3)
origins = st.tuples(*[st.floats(-500, 500)] * 3)
axial_grids = st.builds(lambda s, d, o: Grid.axial(s, d, o, FRAME), shapes, spacings, origins)


@st.composite
def oblique_grids(draw: st.DrawFn) -> Grid:
    q, _ = np.linalg.qr(draw(arrays(float, (3, 3), elements=st.floats(-1, 1))) + 3 * np.eye(3))
    affine = np.eye(4)
    affine[:3, :3] = q * np.array(draw(spacings))
    affine[:3, 3] = draw(origins)
    return Grid(draw(shapes), affine, FRAME)


@given(oblique_grids(), arrays(float, (4, 3), elements=st.floats(-20, 20)))
def test_index_to_world_and_back_is_identity(grid: Grid, index: np.ndarray) -> None:
    np.testing.assert_allclose(grid.to_index(grid.to_world(index)), index, atol=1e-8)


@given(axial_grids)
def test_an_axial_grid_counts_k_to_the_head_j_to_the_back_i_to_the_left(grid: Grid) -> None:
    dz, dy, dx = grid.spacing_mm
    origin = grid.to_world([0, 0, 0])
    np.testing.assert_allclose(origin, grid.origin_mm)
    np.testing.assert_allclose(grid.to_world([1, 0, 0]) - origin, [0, 0, dz], atol=1e-9)
    np.testing.assert_allclose(grid.to_world([0, 1, 0]) - origin, [0, dy, 0], atol=1e-9)
    np.testing.assert_allclose(grid.to_world([0, 0, 1]) - origin, [dx, 0, 0], atol=1e-9)
    assert grid.is_axial


@given(axial_grids)
def test_the_axes_are_the_voxel_centres(grid: Grid) -> None:
    z, y, x = grid.axes_mm()
    last = np.array(grid.shape) - 1
    np.testing.assert_allclose(grid.to_world(last), [x[-1], y[-1], z[-1]], atol=1e-9)


@given(oblique_grids(), spacings)
def test_a_new_spacing_keeps_the_centre_and_never_loses_a_face(grid: Grid, spacing: tuple[float, float, float]) -> None:
    new = grid.with_spacing(spacing)
    np.testing.assert_allclose(new.spacing_mm, spacing, rtol=1e-9)
    centre = grid.to_world((np.array(grid.shape) - 1) / 2)
    np.testing.assert_allclose(new.to_world((np.array(new.shape) - 1) / 2), centre, atol=1e-8)
    extent, new_extent = (np.array(g.shape) * np.array(g.spacing_mm) for g in (grid, new))
    assert (new_extent >= extent - 1e-5 * np.array(spacing)).all()
    assert (new_extent < extent + np.array(spacing)).all()


@given(axial_grids, st.integers(1, 4))
def test_a_spacing_that_divides_keeps_the_outer_faces(grid: Grid, n: int) -> None:
    new = grid.with_spacing(np.array(grid.spacing_mm) / n)
    np.testing.assert_allclose(new.faces_mm(), grid.faces_mm(), atol=1e-8)
    assert new.shape == tuple(n * m for m in grid.shape)


@given(axial_grids)
def test_the_voxels_fill_the_box_between_the_faces(grid: Grid) -> None:
    low, high = grid.faces_mm()
    assert grid.size * grid.voxel_volume_cm3 == pytest.approx(np.prod(high - low) / 1000, rel=1e-9)


def test_a_cropped_grid_keeps_its_voxels_in_place() -> None:
    grid = Grid.axial((5, 6, 7), (3, 2, 1), (-10, 20, 30), FRAME)
    part = grid.crop((1, 2, 3), (4, 9, 5))
    assert part.shape == (3, 4, 2)
    np.testing.assert_allclose(part.to_world([0, 0, 0]), grid.to_world([1, 2, 3]))


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((0, 2, 2), np.eye(4)),
        ((2, 2, 2), np.zeros((4, 4))),
        ((2, 2, 2), np.diag([1, 1, 0, 1])),
        ((2, 2, 2), np.diag([1, 1, np.nan, 1])),
        ((2, 2, 2), np.eye(3)),
    ],
)
def test_an_impossible_grid_is_refused(shape: tuple[int, int, int], affine: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        Grid(shape, affine, FRAME)


def test_the_affine_cannot_be_written_to() -> None:
    grid = Grid.axial((2, 2, 2), (1, 1, 1), (0, 0, 0), FRAME)
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 5


def test_another_frame_of_reference_is_refused_by_name() -> None:
    grid = Grid.axial((2, 2, 2), (1, 1, 1), (0, 0, 0), FRAME)
    with pytest.raises(GeometryError, match=r"the dose is in frame of reference 9\.9, the grid in 1\.2\.3"):
        grid.require_same_frame("9.9", "the dose")
