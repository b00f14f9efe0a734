"""A registration as a Spatial Registration or a Deformable Spatial Registration."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from tailort.dicom.writing import MANUFACTURER, clipped, decimals, new_object, new_uid, reference, save
from tailort.errors import GeometryError
from tailort.geometry import Transform
from tailort.patient import Person, Scan
from tailort.registration import Field, Registration

RIGID_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"
DEFORMABLE_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.3"
# Sixteen characters keep eleven digits of a turn: beyond any rounding that is no stretch.
_STRETCH = 1e-9
_SQUARE = 1e-6


def write_registration(
    registration: Registration,
    today: Scan,
    other: Scan | None,
    person: Person,
    path: Path,
    *,
    by_images: bool = True,
    seed: str | None = None,
    when: dt.datetime | None = None,
) -> str:
    """Write how a scan of today lies in another one, and return the UID of the object.

    Parameters
    ----------
    registration : Registration
        From the frame of reference of `today` to the other one; with a displacement it becomes a Deformable Spatial
        Registration, without one a Spatial Registration.
    today : Scan
        The images that the object belongs to: its study, and its frame of reference.
    other : Scan or None
        The images that today's were registered with; None where only their frame of reference is known.
    person : Person
        The patient.
    path : Path
        File to write.
    by_images : bool
        Whether the images were compared; False leaves open how the registration was found.
    seed : str or None
        Same seed and scans, same UIDs; None makes fresh ones.
    when : datetime or None
        Time of creation; None is now.

    Raises
    ------
    GeometryError
        When a scan is in another frame of reference than the registration says, or the displacement's grid is skew.
    OutputError
        When the file cannot be written.

    Notes
    -----
    The Registered RCS is today's frame. A rigid object tells matrices that lead to it, so it holds the inverse of our
    map; a deformable one tells how a point of it is taken to the Source RCS, which is our map as it is: grid of
    vectors first, then the post-deformation matrix. Quality and uncertainty have no place in either.

    References
    ----------
    DICOM PS3.3 A.39 (spatial registration, deformable spatial registration), C.20.2, C.20.3, C.12.2, C.7.5.2.
    """
    today.image.grid.require_same_frame(registration.from_frame, "the registration to write")
    if other is not None:
        other.image.grid.require_same_frame(registration.to_frame, "the registration to write")
    when = when or dt.datetime.now()
    deforms = registration.displacement is not None
    kind = DEFORMABLE_REGISTRATION if deforms else RIGID_REGISTRATION
    parts = ("REG", today.study_uid, today.series_uid, registration.to_frame, registration.method)
    uid = new_uid(seed, *parts)
    called = f"{'Deformable' if deforms else 'Rigid'} registration, research use only"
    ds = new_object(kind, uid, "REG", new_uid(seed, *parts, "series"), 5, called, person, today, when)
    ds.SeriesDate = ds.ContentDate = when.strftime("%Y%m%d")
    ds.SeriesTime = ds.ContentTime = when.strftime("%H%M%S")
    ds.DeviceSerialNumber = MANUFACTURER
    ds.Laterality = ""
    ds.InstanceNumber = 1
    ds.ContentLabel = "REGISTRATION"
    ds.ContentDescription = clipped(registration.method, 64)
    ds.ContentCreatorName = ""
    if registration.displacement is not None:
        ds.DeformableRegistrationSequence = [
            _deformable_item(registration.rigid, registration.displacement, other, registration.method, by_images)
        ]
    else:
        own = _rigid_item(Transform.identity(registration.from_frame), today, "identity", "125021")
        code = "125024" if by_images else ""
        ds.RegistrationSequence = [own, _rigid_item(registration.rigid.inverse(), other, registration.method, code)]
    _refer(ds, [scan for scan in ((None if deforms else today), other) if scan is not None], today.study_uid)
    save(ds, path)
    return uid


def _rigid_item(to_registered: Transform, scan: Scan | None, method: str, code: str) -> Dataset:
    item = Dataset()
    item.FrameOfReferenceUID = to_registered.from_frame
    if scan is not None:
        item.ReferencedImageSequence = _images(scan)
    matrix = Dataset()
    matrix.FrameOfReferenceTransformationComment = clipped(method, 64)
    matrix.RegistrationTypeCodeSequence = _code(code)
    matrix.MatrixSequence = [_matrix(to_registered.affine)]
    item.MatrixRegistrationSequence = [matrix]
    return item


def _deformable_item(rigid: Transform, field: Field, scan: Scan | None, method: str, by_images: bool) -> Dataset:
    item = Dataset()
    item.SourceFrameOfReferenceUID = rigid.to_frame
    if scan is not None:
        item.ReferencedImageSequence = _images(scan)
    item.FrameOfReferenceTransformationComment = clipped(method, 64)
    item.RegistrationTypeCodeSequence = _code("125024" if by_images else "")
    item.PreDeformationMatrixRegistrationSequence = [_matrix(np.eye(4))]
    item.DeformableRegistrationGridSequence = [_grid(field)]
    item.PostDeformationMatrixRegistrationSequence = [_matrix(rigid.affine)]
    return item


def _matrix(affine: NDArray[np.float64]) -> Dataset:
    matrix = Dataset()
    matrix.FrameOfReferenceTransformationMatrixType = _matrix_type(affine[:3, :3])
    matrix.FrameOfReferenceTransformationMatrix = decimals(affine.ravel().tolist())
    return matrix


def _matrix_type(turn: NDArray[np.float64]) -> str:
    """Type of a matrix by its upper left part, (3, 3): RIGID, RIGID_SCALE or AFFINE (PS3.3, C.20.2.1.2)."""
    squares = turn.T @ turn
    lengths = np.diag(squares)
    if np.abs(squares - np.diag(lengths)).max() > _STRETCH * lengths.max() or np.linalg.det(turn) < 0:
        return "AFFINE"
    return "RIGID" if np.abs(lengths - 1.0).max() <= _STRETCH else "RIGID_SCALE"


def _grid(field: Field) -> Dataset:
    """Vectors row by row, plane by plane, on a grid whose planes follow one another along row x column."""
    affine, vectors = np.array(field.grid.affine), field.vectors_mm
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    depth, column, row = (affine[:3, :3] / steps).T
    if max(abs(row @ column), abs(row @ depth), abs(column @ depth)) > _SQUARE:
        raise GeometryError(
            "the grid of a displacement is skew, which DICOM cannot hold; put the displacement on a square grid first"
        )
    origin = affine[:3, 3]
    if np.cross(row, column) @ depth < 0:
        origin = origin + affine[:3, 0] * (vectors.shape[0] - 1)
        vectors = vectors[::-1]
    item = Dataset()
    item.ImageOrientationPatient = decimals([*row, *column])
    item.ImagePositionPatient = decimals(origin.tolist())
    item.GridDimensions = [int(n) for n in vectors.shape[2::-1]]
    item.GridResolution = [float(s) for s in steps[::-1]]
    item.VectorGridData = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
    return item


def _images(scan: Scan) -> list[Dataset]:
    return [reference(scan.sop_class_uid or CTImageStorage, uid) for uid in scan.instance_uids]


def _code(value: str) -> list[Dataset]:
    """How it was registered (CID 7100); an empty sequence is not known."""
    meanings = {"125021": "Frame of Reference Identity", "125024": "Image Content-based Alignment"}
    if not value:
        return []
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meanings[value]
    return [item]


def _refer(ds: Dataset, scans: list[Scan], study_uid: str) -> None:
    """List what is referred to: series of the object's own study, and those of other studies."""
    here: list[Dataset] = []
    elsewhere: dict[str, list[Dataset]] = {}
    for scan in scans:
        series = Dataset()
        series.SeriesInstanceUID = scan.series_uid
        series.ReferencedInstanceSequence = _images(scan)
        (here if scan.study_uid == study_uid else elsewhere.setdefault(scan.study_uid, [])).append(series)
    if here:
        ds.ReferencedSeriesSequence = here
    studies = []
    for uid, members in elsewhere.items():
        study = Dataset()
        study.StudyInstanceUID = uid
        study.ReferencedSeriesSequence = members
        studies.append(study)
    if studies:
        ds.StudiesContainingOtherReferencedInstancesSequence = studies
