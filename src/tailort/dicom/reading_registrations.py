"""Spatial Registrations and Deformable Spatial Registrations as maps between frames of reference."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from tailort.dicom.files import DAMAGED, DicomFile, read_folder
from tailort.dicom.writing_registrations import DEFORMABLE_REGISTRATION, RIGID_REGISTRATION
from tailort.errors import DicomError, GeometryError, InputError
from tailort.geometry import Grid, Transform
from tailort.patient import Scan
from tailort.registration import Field, Registration

REGISTRATIONS = (RIGID_REGISTRATION, DEFORMABLE_REGISTRATION)
Matrix = NDArray[np.float64]
# Matrices of other systems are rounded to a few digits; a turn off by this moves a point at 300 mm by 0.3 mm.
_ROUNDED = 1e-3
_TYPES = ("RIGID", "RIGID_SCALE", "AFFINE")


@dataclass(frozen=True, eq=False)
class RegistrationObject:
    """One registration object: every map that it tells.

    Parameters
    ----------
    name : str
        Of the file, for people.
    uid : str
        SOP Instance UID.
    patient_id : str
        As the object says; may be empty.
    method : str
        What it says of how it was made.
    to_registered : dict of str to (4, 4) array
        By frame of reference: the matrix that takes its points, LPS mm, to the object's own frame.
    deformations : tuple of Registration
        From the object's own frame to others.
    """

    name: str
    uid: str
    patient_id: str
    method: str
    to_registered: Mapping[str, Matrix]
    deformations: tuple[Registration, ...] = ()

    def leads(self, from_frame: str, to_frame: str, grid: Grid) -> Registration | None:
        """Return the map between two frames of reference; None where the object does not tell one.

        Parameters
        ----------
        from_frame, to_frame : str
            Today's frame of reference and the other one.
        grid : Grid
            In `from_frame`: where a displacement is wanted that has to be inverted, because the object tells it the
            other way round.

        Raises
        ------
        DicomError
            When a displacement that is told the other way round folds and has no inverse.
        """
        for found in self.deformations:
            if (found.from_frame, found.to_frame) == (from_frame, to_frame):
                return found
            if (found.from_frame, found.to_frame) == (to_frame, from_frame):
                try:
                    return found.inverse(grid)
                except GeometryError as error:
                    raise DicomError(
                        f"registration '{self.name}' leads from {to_frame} to {from_frame}, and the way back cannot be "
                        f"found ({error}); export it the other way round, or leave it out"
                    ) from error
        if from_frame not in self.to_registered or to_frame not in self.to_registered:
            return None
        affine = np.linalg.inv(self.to_registered[to_frame]) @ self.to_registered[from_frame]
        method = self.method + _stretch(affine)
        return Registration(Transform(from_frame, to_frame, affine, provenance=method), method=method)


def read_registrations(folders: Sequence[Path], scans: Sequence[Scan] = ()) -> tuple[RegistrationObject, ...]:
    """Registration objects below some folders, each once.

    Parameters
    ----------
    folders : sequence of Path
        Files in any order and nesting; what is no registration is passed over.
    scans : sequence of Scan
        Whose frames of reference are known: an object may name images in place of a frame.

    Raises
    ------
    DicomError
        When an object is damaged, or holds what no registration can be: a singular or mirroring matrix, one that is not
        of the type that it says, vectors that do not fit their grid or are not finite.
    """
    frames = {uid: scan.image.grid.frame_of_reference for scan in scans for uid in scan.instance_uids}
    found: dict[str, RegistrationObject] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        for folder in folders:
            for file in read_folder(folder)[0]:
                if file.sop_class_uid not in REGISTRATIONS:
                    continue
                if file.sop_instance_uid not in found:
                    found[file.sop_instance_uid] = _read(file, frames)
    return tuple(found.values())


def registration_between(
    objects: Sequence[RegistrationObject], from_frame: str, to_frame: str, grid: Grid
) -> Registration | None:
    """Return the one registration that leads from today's frame of reference to another; None where there is none.

    Parameters are those of `RegistrationObject.leads`.

    Raises
    ------
    DicomError
        When several objects lead there, or one cannot be turned round.
    """
    led = [(one.name, made) for one in objects if (made := one.leads(from_frame, to_frame, grid)) is not None]
    if len(led) > 1:
        raise DicomError(
            f"{len(led)} registrations lead from {from_frame} to {to_frame}: {', '.join(name for name, _ in led)}; "
            "keep the one that holds"
        )
    return led[0][1] if led else None


def _read(file: DicomFile, frames: Mapping[str, str]) -> RegistrationObject:
    deforms = file.sop_class_uid == DEFORMABLE_REGISTRATION
    maker = " ".join(
        part for part in dict.fromkeys((file.text("Manufacturer"), file.text("ManufacturerModelName"))) if part
    )
    about = "; ".join(part for part in (maker, file.text("ContentDescription")) if part)
    kind = "deformable" if deforms else "rigid"
    method = f"{kind}, given as DICOM in '{file.path.name}'" + (f" ({about})" if about else "")
    registered = str(file.value("FrameOfReferenceUID"))
    to_registered: dict[str, Matrix] = {registered: np.eye(4)}
    deformations: list[Registration] = []
    try:
        if deforms:
            for item in file.value("DeformableRegistrationSequence"):
                source = str(item.SourceFrameOfReferenceUID)
                made = _deformation(item, registered, source, file, method)
                if made.displacement is None:
                    _add(to_registered, source, made.rigid.inverse().affine, file)
                else:
                    deformations.append(made)
        else:
            for item in file.value("RegistrationSequence"):
                matrix = _rigid(item.get("MatrixRegistrationSequence"), file)
                for frame in _frames_of(item, frames):
                    _add(to_registered, frame, matrix, file)
    except InputError:
        raise
    except DAMAGED as error:
        raise DicomError(f"registration '{file.path.name}' cannot be read ({error}): export it again") from error
    ways = [made.to_frame for made in deformations]
    if len(set(ways)) != len(ways):
        raise DicomError(
            f"registration '{file.path.name}' tells several displacements to {max(ways, key=ways.count)}; expected one"
        )
    return RegistrationObject(
        file.path.name, file.sop_instance_uid, file.text("PatientID"), method, to_registered, tuple(deformations)
    )


def _frames_of(item: Dataset, frames: Mapping[str, str]) -> set[str]:
    """Frames of reference that an item is about: as it says, else those of the images that it names."""
    told = str(item.get("FrameOfReferenceUID", "") or "")
    if told:
        return {told}
    named = [str(one.ReferencedSOPInstanceUID) for one in item.get("ReferencedImageSequence") or ()]
    return {frames[uid] for uid in named if uid in frames}


def _add(to_registered: dict[str, Matrix], frame: str, matrix: Matrix, file: DicomFile) -> None:
    known = to_registered.get(frame)
    if known is not None and not np.allclose(known, matrix, rtol=0, atol=1e-4):
        own = frame == str(file.value("FrameOfReferenceUID"))
        what = "moves its own frame of reference" if own else "tells two different matrices for frame of reference"
        raise DicomError(
            f"registration '{file.path.name}' {what} {frame}: it is not clear which holds; export it again"
        )
    to_registered[frame] = matrix


def _deformation(item: Dataset, registered: str, source: str, file: DicomFile, method: str) -> Registration:
    """Map of the object's own frame to a source frame: post (pre x + vector(x)) as rigid(x + displacement(x))."""
    before = _rigid(item.get("PreDeformationMatrixRegistrationSequence"), file, absent=True)
    after = _rigid(item.get("PostDeformationMatrixRegistrationSequence"), file, absent=True)
    method += _stretch(after @ before)
    rigid = Transform(registered, source, after @ before, provenance=method)
    grids = item.get("DeformableRegistrationGridSequence") or ()
    if not grids:
        return Registration(rigid, method=method)
    field = _field(grids[0], registered, file)
    back = np.linalg.inv(before[:3, :3])
    vectors = (field.vectors_mm.astype(np.float64) @ back.T).astype(np.float32)
    return Registration(rigid, Field(field.grid, vectors), method)


def _rigid(sequence: Sequence[Dataset] | None, file: DicomFile, *, absent: bool = False) -> Matrix:
    """Product of the matrices of a registration, in their order; the identity where they may be absent and are."""
    if not sequence:
        if absent:
            return np.eye(4)
        raise DicomError(f"registration '{file.path.name}' has an item without a matrix: export it again")
    item = sequence[0]
    # Of a deformable object the item is the matrix itself, of a rigid one it holds a sequence of them.
    items = item.get("MatrixSequence") or [item]
    product = np.eye(4)
    for one in items:
        product = product @ _matrix(one, file)
    return product


def _matrix(item: Dataset, file: DicomFile) -> Matrix:
    name = file.path.name
    told = str(item.get("FrameOfReferenceTransformationMatrixType", "") or "")
    values = [float(v) for v in item.get("FrameOfReferenceTransformationMatrix") or ()]
    if len(values) != 16 or not np.isfinite(values).all():
        raise DicomError(f"registration '{name}' has a matrix of {len(values)} values; expected 16 finite numbers")
    matrix = np.array(values).reshape(4, 4)
    if not np.allclose(matrix[3], (0, 0, 0, 1), rtol=0, atol=1e-6):
        raise DicomError(f"registration '{name}' has a matrix whose last row is {matrix[3].tolist()}; expected 0 0 0 1")
    matrix[3] = (0, 0, 0, 1)
    turn = matrix[:3, :3]
    volume = float(np.linalg.det(turn))
    if volume < 1e-6:
        fault = "is singular" if volume > -1e-6 else "mirrors the patient"
        raise DicomError(f"registration '{name}' has a matrix that {fault} (determinant {volume:.3g}): export it again")
    if told and told not in _TYPES:
        raise DicomError(f"registration '{name}' has a matrix of type '{told}'; expected one of {', '.join(_TYPES)}")
    if told == "RIGID":
        left, stretch, right = np.linalg.svd(turn)
        if np.abs(stretch - 1.0).max() > _ROUNDED:
            raise DicomError(
                f"registration '{name}' calls a matrix RIGID that stretches by {100 * np.abs(stretch - 1.0).max():.1f} "
                "%: it is not clear what holds; export it again"
            )
        matrix[:3, :3] = left @ right
    return matrix


def _field(item: Dataset, registered: str, file: DicomFile) -> Field:
    name = file.path.name
    orientation = np.array([float(v) for v in item.ImageOrientationPatient])
    origin = np.array([float(v) for v in item.ImagePositionPatient])
    columns, rows, planes = (int(n) for n in item.GridDimensions)
    steps = np.array([float(v) for v in item.GridResolution])
    row, column = orientation[:3], orientation[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if orientation.shape != (6,) or np.abs(lengths - 1.0).max() > 1e-3 or abs(row @ column) > 1e-3:
        raise DicomError(f"registration '{name}': Image Orientation of its grid is not two perpendicular unit vectors")
    if origin.shape != (3,) or steps.shape != (3,) or not (steps > 0).all() or not np.isfinite([*origin, *steps]).all():
        raise DicomError(f"registration '{name}': place or resolution of its grid is not three numbers, mm above 0")
    data = item.VectorGridData
    count = columns * rows * planes
    if count < 1 or len(data) != 12 * count:
        raise DicomError(
            f"registration '{name}' has {len(data)} bytes of vectors for a grid of {columns} x {rows} x {planes} "
            f"points, which takes {12 * count}: export it again"
        )
    order = ">" if file.transfer_syntax == ExplicitVRBigEndian else "<"
    vectors = np.frombuffer(data, dtype=f"{order}f4").reshape(planes, rows, columns, 3).astype(np.float32)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = np.cross(row, column) * steps[2], column * steps[1], row * steps[0]
    affine[:3, 3] = origin
    return _defined(Grid((planes, rows, columns), affine, registered), vectors, name)


def _stretch(affine: Matrix) -> str:
    """What to add to the words for a map that is not only a turn and a shift."""
    stretch = np.linalg.svd(affine[:3, :3], compute_uv=False)
    most = float(stretch[np.abs(stretch - 1.0).argmax()])
    return f"; its matrix stretches by {100 * (most - 1.0):+.1f} %" if abs(most - 1.0) > _ROUNDED else ""


def _defined(grid: Grid, vectors: NDArray[np.float32], name: str) -> Field:
    """Displacement on the part of its grid where it is told: three NaN say that it is not."""
    undefined = np.asarray(np.isnan(vectors).all(axis=-1))
    if not np.isfinite(vectors[~undefined]).all():
        raise DicomError(f"registration '{name}' has vectors that are not finite numbers: export it again")
    if undefined.all():
        raise DicomError(f"registration '{name}' leaves its displacement undefined everywhere: export it again")
    if not undefined.any():
        return Field(grid, vectors)
    held = np.argwhere(~undefined)
    low, high = held.min(axis=0), held.max(axis=0) + 1
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    if undefined[part].any():
        raise DicomError(
            f"registration '{name}' leaves its displacement undefined at {int(undefined[part].sum())} of "
            f"{undefined[part].size} points among those where it tells one; export it without gaps"
        )
    return Field(grid.crop(low, high), np.ascontiguousarray(vectors[part]))
