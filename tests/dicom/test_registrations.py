"""Registrations as DICOM objects: written and read, of our own and as other systems write them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_cases import base
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from tailort.dicom import read_registrations, registration_between, write_registration
from tailort.errors import DicomError, GeometryError, InputError
from tailort.geometry import Grid, Image, Transform
from tailort.patient import Person, Scan
from tailort.registration import Field, Registration

TODAY, EARLIER, THIRD = "1.2.826.1", "1.2.826.2", "1.2.826.3"
RIGID, DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.1", "1.2.840.10008.5.1.4.1.1.66.3"
PERSON = Person("P1", "A^B", "19500101", "M", "1", "20260101", "120000", "1")
POINTS = np.random.default_rng(3).uniform(-200.0, 200.0, (50, 3))
GRID = Grid.axial((5, 6, 7), (30.0, 25.0, 20.0), (-60.0, -70.0, -55.0), TODAY)
slow_io = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def scan(frame: str, study: str) -> Scan:
    grid = Grid.axial((3, 4, 5), (3.0, 2.0, 2.0), (0.0, 0.0, 0.0), frame)
    uids = tuple(f"{frame}.1.{n}" for n in range(3))
    image = Image(grid, np.zeros(grid.shape, dtype=np.int16), "HU")
    return Scan(image, "CT", f"{frame}.1", study, uids, "HFS", sop_class_uid="1.2.840.10008.5.1.4.1.1.2")


HERE, THERE = scan(TODAY, "1.2.9.1"), scan(EARLIER, "1.2.9.2")


def affine(angles_deg=(4.0, -7.0, 20.0), shift_mm=(500.25, -30.5, 12.125), stretch=(1.0, 1.0, 1.0)) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix() @ np.diag(stretch)
    made[:3, 3] = shift_mm
    return made


def turn(**how) -> Transform:
    return Transform(TODAY, EARLIER, affine(**how))


def field(grid: Grid = GRID, seed: int = 1) -> Field:
    return Field(grid, np.random.default_rng(seed).normal(0.0, 8.0, (*grid.shape, 3)).astype(np.float32))


def oblique(left_handed: bool = False) -> Grid:
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("zyx", (25.0, 10.0, -35.0), degrees=True).as_matrix()[:, ::-1] * (
        9.0,
        11.0,
        7.0,
    )
    turned[:3, 0] *= 1.0 if left_handed else -1.0
    turned[:3, 3] = (-40.0, 35.0, 12.0)
    return Grid((5, 6, 7), turned, TODAY)


def through(registration: Registration, folder: Path, *, other: Scan | None = THERE, at: Grid = GRID) -> Registration:
    """Written and read again."""
    for file in folder.glob("*"):
        file.unlink()
    write_registration(registration, HERE, other, PERSON, folder / "reg.dcm")
    found = registration_between(read_registrations([folder]), TODAY, EARLIER, at)
    assert found is not None
    return found


def rigid_object(
    path: Path, matrices: dict[str, list[tuple[str, np.ndarray]]], frame: str = TODAY, uid: str = "1.2.7.1"
):
    """Spatial registration as another system writes it: by frame of reference its matrices with their types."""
    ds = base(RIGID, uid, "REG", "1.2.7", frame)
    ds.RegistrationSequence = []
    for source, told in matrices.items():
        item, registered = Dataset(), Dataset()
        item.FrameOfReferenceUID = source
        registered.MatrixSequence = []
        for kind, values in told:
            one = Dataset()
            one.FrameOfReferenceTransformationMatrixType = kind
            one.FrameOfReferenceTransformationMatrix = [f"{v:.9g}"[:16] for v in np.ravel(values)]
            registered.MatrixSequence.append(one)
        item.MatrixRegistrationSequence = [registered]
        ds.RegistrationSequence.append(item)
    ds.save_as(path, enforce_file_format=True)
    return ds


def deformable_object(
    path: Path, vectors: np.ndarray, *, frame=TODAY, source=EARLIER, pre=None, post=None, grid=GRID, uid="1.2.7.2"
):
    """Deformable registration as another system writes it; vectors (planes, rows, columns, 3)."""
    ds = base(DEFORMABLE, uid, "REG", "1.2.7", frame)
    item, told = Dataset(), Dataset()
    item.SourceFrameOfReferenceUID = source
    directions = np.array(grid.affine[:3, :3]) / np.array(grid.spacing_mm)
    told.ImageOrientationPatient = [f"{v:.9g}" for v in (*directions[:, 2], *directions[:, 1])]
    told.ImagePositionPatient = [f"{v:.9g}" for v in grid.origin_mm]
    told.GridDimensions = list(grid.shape[::-1])
    told.GridResolution = list(grid.spacing_mm[::-1])
    told.VectorGridData = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
    item.DeformableRegistrationGridSequence = [told]
    for keyword, matrix in (("Pre", pre), ("Post", post)):
        if matrix is not None:
            one = Dataset()
            one.FrameOfReferenceTransformationMatrixType = "RIGID"
            one.FrameOfReferenceTransformationMatrix = [f"{v:.9g}" for v in np.ravel(matrix)]
            setattr(item, f"{keyword}DeformationMatrixRegistrationSequence", [one])
    ds.DeformableRegistrationSequence = [item]
    ds.save_as(path, enforce_file_format=True)
    return ds


def one_from(folder: Path, from_frame=TODAY, to_frame=EARLIER, scans=()) -> Registration | None:
    return registration_between(read_registrations([folder], scans), from_frame, to_frame, GRID)


ANGLES, SHIFTS = st.tuples(*[st.floats(-170, 170)] * 3), st.tuples(*[st.floats(-2000, 2000)] * 3)


@slow_io
@given(angles=ANGLES, shift=SHIFTS)
def test_a_rigid_registration_maps_points_as_before_after_it_was_written_and_read(tmp_path, angles, shift):
    before = Registration(turn(angles_deg=angles, shift_mm=shift), method="rigid, correlation")
    after = through(before, tmp_path)
    assert after.is_rigid
    assert np.abs(after.map_points(POINTS) - before.map_points(POINTS)).max() < 1e-3


@slow_io
@given(angles=ANGLES, shift=SHIFTS, seed=st.integers(0, 99), grid=st.sampled_from([GRID, oblique(), oblique(True)]))
def test_a_deformable_registration_maps_points_as_before_after_it_was_written_and_read(
    tmp_path, angles, shift, seed, grid
):
    before = Registration(turn(angles_deg=angles, shift_mm=shift), field(grid, seed), method="demons")
    after = through(before, tmp_path)
    assert np.abs(after.map_points(POINTS) - before.map_points(POINTS)).max() < 1e-3
    # The displacement does something: without it points would lie elsewhere.
    assert np.abs(after.map_points(POINTS) - before.rigid.apply(POINTS)).max() > 1.0


@pytest.mark.parametrize(("stretch", "kind"), [((1, 1, 1), "RIGID"), ((1.02, 1.02, 0.97), "RIGID_SCALE")])
def test_a_matrix_says_whether_it_stretches_and_keeps_doing_so(tmp_path, stretch, kind):
    before = Registration(turn(stretch=stretch))
    after = through(before, tmp_path)
    assert np.abs(after.map_points(POINTS) - before.map_points(POINTS)).max() < 1e-3
    item = pydicom.dcmread(tmp_path / "reg.dcm").RegistrationSequence[1].MatrixRegistrationSequence[0].MatrixSequence[0]
    # The object holds the way back, whose stretch lies on the other side: square axes only where nothing stretches.
    assert item.FrameOfReferenceTransformationMatrixType == ("RIGID" if kind == "RIGID" else "AFFINE")
    assert ("stretches by" in after.method) == (kind != "RIGID")


def test_a_registration_to_a_frame_without_images_is_written_and_read(tmp_path):
    before = Registration(turn(), field())
    after = through(before, tmp_path, other=None)
    assert np.allclose(after.map_points(POINTS), before.map_points(POINTS), atol=1e-3)


def test_objects_name_their_frames_and_images_and_are_in_todays_study(tmp_path):
    write_registration(Registration(turn()), HERE, THERE, PERSON, tmp_path / "rigid.dcm", seed="s")
    write_registration(Registration(turn(), field()), HERE, THERE, PERSON, tmp_path / "bent.dcm", seed="s")
    rigid, bent = (pydicom.dcmread(tmp_path / name) for name in ("rigid.dcm", "bent.dcm"))
    assert (rigid.SOPClassUID, bent.SOPClassUID) == (RIGID, DEFORMABLE)
    assert rigid.FrameOfReferenceUID == bent.FrameOfReferenceUID == TODAY
    assert [item.FrameOfReferenceUID for item in rigid.RegistrationSequence] == [TODAY, EARLIER]
    (item,) = bent.DeformableRegistrationSequence
    assert item.SourceFrameOfReferenceUID == EARLIER
    assert [one.ReferencedSOPInstanceUID for one in item.ReferencedImageSequence] == list(THERE.instance_uids)
    assert rigid.StudyInstanceUID == HERE.study_uid
    assert rigid.ReferencedSeriesSequence[0].SeriesInstanceUID == HERE.series_uid
    (study,) = rigid.StudiesContainingOtherReferencedInstancesSequence
    assert study.StudyInstanceUID == THERE.study_uid


def test_a_matrix_takes_points_of_the_item_to_the_objects_own_frame(tmp_path):
    """PS3.3 C.20.2.1.1: the point of the earlier frame that today's point lies at is led back to it."""
    registration = Registration(turn())
    write_registration(registration, HERE, THERE, PERSON, tmp_path / "reg.dcm")
    item = pydicom.dcmread(tmp_path / "reg.dcm").RegistrationSequence[1]
    told = item.MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrix
    matrix = np.array([float(v) for v in told]).reshape(4, 4)
    there = registration.map_points(POINTS)
    assert np.abs(there @ matrix[:3, :3].T + matrix[:3, 3] - POINTS).max() < 1e-6


def test_a_deformable_object_is_followed_by_the_formula_of_the_standard(tmp_path):
    """PS3.3 C.20.3.1.1 at grid points: source = post (pre x + vector), with both matrices and an oblique grid."""
    grid = oblique()
    vectors = np.random.default_rng(5).normal(0.0, 5.0, (*grid.shape, 3)).astype(np.float32)
    pre, post = affine((3.0, 5.0, -8.0), (4.0, 9.0, -2.0)), affine()
    deformable_object(tmp_path / "bent.dcm", vectors, pre=pre, post=post, grid=grid)
    found = one_from(tmp_path)
    k, j, i = 2, 3, 4
    directions = np.array(grid.affine[:3, :3]) / np.array(grid.spacing_mm)
    row, column = directions[:, 2], directions[:, 1]
    dx, dy, dz = grid.spacing_mm[::-1]
    x = grid.origin_mm + i * dx * row + j * dy * column + k * dz * np.cross(row, column)
    y = pre[:3, :3] @ x + pre[:3, 3] + vectors[k, j, i]
    expected = post[:3, :3] @ y + post[:3, 3]
    assert np.abs(found.map_points(x) - expected).max() < 1e-3


@pytest.mark.parametrize(("pre", "post"), [(None, None), (affine(), None), (None, affine())])
def test_absent_matrices_of_a_deformable_object_change_nothing(tmp_path, pre, post):
    vectors = field().vectors_mm
    deformable_object(tmp_path / "bent.dcm", vectors, pre=pre, post=post)
    found = one_from(tmp_path)
    at = GRID.to_world((1, 2, 3))
    first = at if pre is None else pre[:3, :3] @ at + pre[:3, 3]
    moved = first + vectors[1, 2, 3]
    expected = moved if post is None else post[:3, :3] @ moved + post[:3, 3]
    assert np.abs(found.map_points(at) - expected).max() < 1e-3


def test_a_rigid_object_the_other_way_round_is_turned_round(tmp_path):
    rigid_object(tmp_path / "reg.dcm", {TODAY: [("RIGID", affine())]}, frame=EARLIER)
    assert np.abs(one_from(tmp_path).map_points(POINTS) - turn().apply(POINTS)).max() < 1e-3


def test_two_frames_meet_over_a_third(tmp_path):
    first, second = affine(), affine((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    rigid_object(tmp_path / "reg.dcm", {TODAY: [("RIGID", first)], EARLIER: [("RIGID", second)]}, frame=THIRD)
    there = one_from(tmp_path).map_points(POINTS)
    assert np.abs(there @ second[:3, :3].T + second[:3, 3] - turn().apply(POINTS)).max() < 1e-3


def test_several_matrices_of_an_item_are_multiplied_in_their_order(tmp_path):
    """PS3.3, equation C.20.2-2."""
    first, second = affine(), affine((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    rigid_object(tmp_path / "reg.dcm", {EARLIER: [("RIGID", first), ("RIGID", second)]})
    found = one_from(tmp_path)
    whole = first @ second
    there = found.map_points(POINTS)
    assert np.abs(there @ whole[:3, :3].T + whole[:3, 3] - POINTS).max() < 1e-3


def test_an_item_may_name_images_in_place_of_a_frame(tmp_path):
    ds = rigid_object(tmp_path / "reg.dcm", {EARLIER: [("RIGID", affine())]})
    item, one = ds.RegistrationSequence[0], Dataset()
    del item.FrameOfReferenceUID
    one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = THERE.sop_class_uid, THERE.instance_uids[1]
    item.ReferencedImageSequence = [one]
    ds.save_as(tmp_path / "reg.dcm", enforce_file_format=True)
    assert one_from(tmp_path) is None
    found = one_from(tmp_path, scans=[THERE])
    assert np.abs(found.inverse().map_points(POINTS) - turn().apply(POINTS)).max() < 1e-3


def test_a_smooth_displacement_the_other_way_round_is_inverted(tmp_path):
    k, j, i = np.indices(GRID.shape)
    bend = 6.0 * np.stack([np.sin(j / 3.0), np.sin(i / 3.0), np.cos(k / 3.0)], axis=-1)
    deformable_object(tmp_path / "bent.dcm", bend, frame=EARLIER, source=TODAY, post=affine())
    grid = Grid.axial((30, 30, 30), (6.0, 6.0, 6.0), (410.0, -120.0, -80.0), TODAY)
    found = registration_between(read_registrations([tmp_path]), TODAY, EARLIER, grid)
    forward = one_from(tmp_path, EARLIER, TODAY)
    points = np.random.default_rng(2).uniform(-30.0, 30.0, (40, 3))
    assert np.linalg.norm(found.map_points(forward.map_points(points)) - points, axis=-1).max() < 0.5


def test_a_folding_displacement_the_other_way_round_is_refused(tmp_path):
    deformable_object(tmp_path / "bent.dcm", 10.0 * field().vectors_mm, frame=EARLIER, source=TODAY)
    with pytest.raises(DicomError, match="the other way round"):
        one_from(tmp_path)


def test_a_displacement_is_cut_to_where_it_is_told_and_refused_with_gaps(tmp_path):
    vectors = np.array(field().vectors_mm)
    vectors[0] = np.nan
    vectors[:, :, -1] = np.nan
    deformable_object(tmp_path / "bent.dcm", vectors)
    found = one_from(tmp_path)
    assert found.displacement.grid.shape == (4, 6, 6)
    at = GRID.to_world((2, 3, 4))
    assert np.allclose(found.map_points(at), at + vectors[2, 3, 4], atol=1e-3)
    vectors[2, 2, 2] = np.nan
    deformable_object(tmp_path / "bent.dcm", vectors)
    with pytest.raises(DicomError, match="undefined at 1 of"):
        one_from(tmp_path)


def test_no_object_between_the_frames_is_none_and_several_are_refused(tmp_path):
    rigid_object(tmp_path / "one.dcm", {THIRD: [("RIGID", affine())]}, uid="1.2.7.1")
    assert one_from(tmp_path) is None
    rigid_object(tmp_path / "two.dcm", {EARLIER: [("RIGID", affine())]}, uid="1.2.7.2")
    rigid_object(tmp_path / "copy.dcm", {EARLIER: [("RIGID", affine())]}, uid="1.2.7.2")
    assert one_from(tmp_path) is not None
    deformable_object(tmp_path / "three.dcm", field().vectors_mm, uid="1.2.7.3")
    with pytest.raises(DicomError, match="2 registrations lead"):
        one_from(tmp_path)


SINGULAR, MIRROR, SHEAR = (
    np.diag([1.0, 1.0, 0.0, 1.0]),
    np.diag([-1.0, 1.0, 1.0, 1.0]),
    affine(stretch=(1.05, 1.0, 1.0)),
)
LAST_ROW = np.array(affine())
LAST_ROW[3, 0] = 0.5


@pytest.mark.parametrize(
    ("kind", "matrix", "words"),
    [
        ("AFFINE", SINGULAR, "singular"),
        ("RIGID", MIRROR, "mirrors"),
        ("RIGID", SHEAR, "calls a matrix RIGID that stretches by 5.0 %"),
        ("BENT", affine(), "type 'BENT'"),
        ("RIGID", LAST_ROW, "last row"),
        ("RIGID", np.eye(4)[:3], "12 values"),
    ],
)
def test_a_matrix_that_is_no_registration_is_refused(tmp_path, kind, matrix, words):
    rigid_object(tmp_path / "reg.dcm", {EARLIER: [(kind, matrix)]})
    with pytest.raises(DicomError, match=words):
        one_from(tmp_path)


def test_an_object_that_moves_its_own_frame_is_refused(tmp_path):
    rigid_object(tmp_path / "reg.dcm", {TODAY: [("RIGID", affine())], EARLIER: [("RIGID", np.eye(4))]})
    with pytest.raises(DicomError, match="moves its own frame of reference"):
        one_from(tmp_path)


def with_infinity() -> np.ndarray:
    vectors = np.array(field().vectors_mm)
    vectors[1, 1, 1, 0] = np.inf
    return vectors


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (with_infinity(), "not finite"),
        (np.full((5, 6, 7, 3), np.nan), "undefined everywhere"),
        (np.zeros((5, 6, 6, 3)), "bytes of vectors"),
    ],
)
def test_vectors_that_are_no_displacement_are_refused(tmp_path, vectors, words):
    deformable_object(tmp_path / "bent.dcm", vectors)
    with pytest.raises(DicomError, match=words):
        one_from(tmp_path)


@pytest.mark.parametrize("keyword", ["RegistrationSequence", "FrameOfReferenceUID"])
def test_an_object_without_what_it_is_for_is_refused(tmp_path, keyword):
    ds = rigid_object(tmp_path / "reg.dcm", {EARLIER: [("RIGID", affine())]})
    delattr(ds, keyword)
    ds.save_as(tmp_path / "reg.dcm", enforce_file_format=True)
    with pytest.raises(DicomError, match=keyword):
        one_from(tmp_path)


@pytest.mark.parametrize("keyword", ["ImageOrientationPatient", "GridDimensions", "GridResolution", "VectorGridData"])
def test_a_grid_without_a_part_is_refused_in_one_sentence(tmp_path, keyword):
    ds = deformable_object(tmp_path / "bent.dcm", field().vectors_mm)
    delattr(ds.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0], keyword)
    ds.save_as(tmp_path / "bent.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"bent\.dcm"):
        one_from(tmp_path)


def test_a_scan_of_another_frame_and_a_skew_grid_are_refused(tmp_path):
    with pytest.raises(GeometryError, match="frame of reference"):
        write_registration(Registration(turn()), THERE, None, PERSON, tmp_path / "reg.dcm")
    with pytest.raises(GeometryError, match="frame of reference"):
        write_registration(Registration(turn()), HERE, HERE, PERSON, tmp_path / "reg.dcm")
    skew = np.array(GRID.affine)
    skew[0, 1] += 8.0
    bent = Registration(turn(), field(Grid(GRID.shape, skew, TODAY)))
    with pytest.raises(GeometryError, match="skew"):
        write_registration(bent, HERE, THERE, PERSON, tmp_path / "reg.dcm")


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("other", [THERE, None, replace(THERE, study_uid=HERE.study_uid)])
@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("person", [PERSON, Person("X")])
def test_dciodvfy_finds_no_error(tmp_path, other, bent, person):
    registration = Registration(turn(), field() if bent else None, method="rigid, correlation of the images")
    write_registration(registration, HERE, other, person, tmp_path / "reg.dcm", by_images=other is not None)
    ran = subprocess.run(["dciodvfy", str(tmp_path / "reg.dcm")], capture_output=True, text=True, check=False)
    told = ran.stdout + ran.stderr
    assert ran.returncode >= 0
    assert "SpatialRegistration" in told
    assert [line for line in told.splitlines() if line.startswith("Error")] == []
