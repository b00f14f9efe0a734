"""A dose of another scan on today's CT: where it lies, what it gives, and what DICOM can hold of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from tailort.errors import InputError
from tailort.geometry import Grid, Image, Transform
from tailort.patient import Case, Dose, Person, RegistrationOptions, Scan, Structure, StructureSet
from tailort.registration import Registration
from tailort.workflow.aligning import align, known_block, map_dose
from tailort.workflow.clock import StageClock

TODAY, OTHER = "1.2.826.1", "1.2.826.2"
CT_GRID = Grid.axial((60, 60, 60), (4.0, 4.0, 4.0), (-118.0, -118.0, -118.0), TODAY)


def case_with(*structures: Structure) -> Case:
    image = Image(CT_GRID, np.zeros(CT_GRID.shape, dtype=np.int16), "HU")
    scan = Scan(image, "CT", "1.5", "1.6", tuple(f"1.5.{k}" for k in range(60)), "HFS")
    return Case(Person("P"), (scan,), StructureSet(structures, TODAY))


def box(name: str, low: tuple[float, ...], high: tuple[float, ...]) -> Structure:
    corners = np.array([(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])])
    zs = np.arange(low[2] + 2.0, high[2], 4.0)
    return Structure(name, "ORGAN", tuple(np.column_stack([corners, np.full(4, z)]) for z in zs), TODAY)


def dose_of(values: np.ndarray, grid: Grid) -> Dose:
    return Dose(Image(grid, values.astype(np.float32), "Gy"), "physical", "course", 30, None, "test", plan_uid="1.2.3")


def turned(degrees: float = 12.0, shift_mm: tuple[float, ...] = (300.0, -50.0, 700.0)) -> Registration:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", (degrees, -5.0, 3.0), degrees=True).as_matrix()
    affine[:3, 3] = shift_mm
    return Registration(Transform(TODAY, OTHER, affine), method="test")


def smooth(found: Registration, grid: Grid, centre_mm: tuple[float, ...], width_mm: float = 15.0) -> np.ndarray:
    """A ball of dose around a point of today, as it lies in the other frame."""
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.asarray(60.0 * np.exp(-0.5 * ((points - found.map_points(centre_mm)) ** 2).sum(axis=-1) / width_mm**2))


def around(found: Registration, centre_mm: tuple[float, ...], half_mm: float, spacing_mm: float = 3.0) -> Grid:
    n = round(2 * half_mm / spacing_mm)
    return Grid.axial((n,) * 3, (spacing_mm,) * 3, found.map_points(centre_mm) - half_mm, OTHER)


@given(arrays.arrays(np.bool_, st.tuples(*[st.integers(1, 6)] * 3)))
def test_a_block_that_is_left_is_known_everywhere(known: np.ndarray) -> None:
    low, high = known_block(known)
    assert (low >= 0).all()
    assert (high <= known.shape).all()
    part = known[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    assert part.all()
    if known.all():
        assert part.size == known.size


@given(st.tuples(*[st.tuples(st.integers(0, 5), st.integers(1, 6)) for _ in range(3)]))
def test_a_block_that_is_known_as_a_whole_is_kept_as_a_whole(sides: tuple[tuple[int, int], ...]) -> None:
    known = np.zeros((12, 12, 12), dtype=bool)
    part = tuple(slice(first, first + long) for first, long in sides)
    known[part] = True
    low, high = known_block(known)
    assert tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)) == part


def test_a_rigid_map_keeps_the_integral_of_a_smooth_dose_and_puts_its_peak_where_it_belongs() -> None:
    found, centre = turned(), (20.0, -12.0, 8.0)
    grid = around(found, centre, 75.0)
    given_dose = dose_of(smooth(found, grid, centre), grid)
    mapped = map_dose(case_with(), given_dose, found, "dose")
    image = mapped.dose.image
    total = np.nansum(image.values.astype(np.float64)) * image.grid.voxel_volume_cm3
    assert total == pytest.approx(given_dose.image.values.sum(dtype=np.float64) * grid.voxel_volume_cm3, rel=0.01)
    assert image.grid.frame_of_reference == TODAY
    peak = image.grid.to_world(np.unravel_index(int(np.nanargmax(image.values)), image.values.shape))
    assert np.linalg.norm(peak - centre) < 3.0
    # Turned, the corners are not known everywhere: DICOM gets a block without them, in which nothing is changed.
    assert np.isnan(image.values).any()
    assert mapped.whole is not None
    assert np.isfinite(mapped.whole.image.values).all()
    at = np.round(image.grid.to_index(mapped.whole.image.grid.origin_mm)).astype(int)
    assert mapped.whole.image.values[0, 0, 0] == image.values[tuple(at)]
    assert mapped.cut_off_gy < 1.0
    assert mapped.whole.plan_uid == "1.2.3"


def test_a_structure_that_reaches_beyond_the_dose_has_a_range() -> None:
    found = Registration(Transform(TODAY, OTHER, np.eye(4)))
    # Half of the structure lies in 20 Gy, of the other half nothing is known.
    grid = Grid.axial((20, 20, 10), (4.0, 4.0, 4.0), (2.0, -38.0, -38.0), OTHER)
    known = box("Known", (8.0, -20.0, -20.0), (28.0, 20.0, 20.0))
    half = box("Half", (-20.0, -20.0, -20.0), (20.0, 20.0, 20.0))
    mapped = map_dose(case_with(known, half), dose_of(np.full(grid.shape, 20.0), grid), found, "dose")
    rows = {(m.structure, m.metric): m for m in mapped.metrics}
    whole, part = rows["Known", "Mean[Gy]"], rows["Half", "Mean[Gy]"]
    assert whole.low == whole.high == pytest.approx(20.0)
    # At the edge of the dose a rim of less than a voxel, 4 mm, is not counted as known: never more than there is.
    assert 20.0 * (20.0 - 4.0) / 40.0 < part.low <= 10.0
    assert part.as_dict()["high"] is None
    assert rows["Half", "D1cc[Gy]"].low == pytest.approx(20.0)


def test_a_dose_that_lies_elsewhere_is_refused() -> None:
    found = turned()
    grid = around(found, (900.0, 0.0, 0.0), 40.0)
    with pytest.raises(InputError, match="does not reach today's CT"):
        map_dose(case_with(), dose_of(np.ones(grid.shape), grid), found, "dose of 2019")


def test_a_dose_of_one_fraction_is_mapped_as_that_of_the_course() -> None:
    found = Registration(Transform(TODAY, OTHER, np.eye(4)))
    grid = replace(CT_GRID, frame_of_reference=OTHER).with_spacing(12.0)
    one = replace(dose_of(np.full(grid.shape, 2.0), grid), per="fraction")
    mapped = map_dose(case_with(), one, found, "dose")
    assert np.nanmax(mapped.dose.image.values) == pytest.approx(60.0)


def test_two_scans_of_one_frame_are_not_registered() -> None:
    case = case_with()
    with pytest.raises(InputError, match="one frame of reference"):
        align(case, case, "again", RegistrationOptions(), StageClock(lambda stage, share: None))
