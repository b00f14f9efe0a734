"""A scan as a series of CT Image or MR Image objects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage

from tailort.dicom.writing import RESEARCH_USE, clipped, decimal, decimals, new_object, save
from tailort.errors import DicomError, InputError
from tailort.patient import Person, Scan

# Rows and columns of a CT as scanners store it: turned by 180 degrees when the patient lies prone, mirrored feet first.
_STORED = {"HFS": (1.0, 1.0), "HFP": (-1.0, -1.0), "FFS": (-1.0, 1.0), "FFP": (1.0, -1.0)}


def write_ct(
    scan: Scan, person: Person, folder: Path, *, body_part: str = "", when: dt.datetime | None = None
) -> tuple[Path, ...]:
    """Write one CT Image object a slice, feet first, and return the files.

    Parameters
    ----------
    scan : Scan
        CT on an axial grid, whole HU between -32768 and 32767; its UIDs are used as they are.
    person : Person
        The patient.
    folder : Path
        Existing folder; files are called CT.0001.dcm and so on, from the lowest z.
    body_part : str
        Body Part Examined, a code string like "CHEST"; empty is unknown.
    when : datetime or None
        Time of creation; None is now.

    Raises
    ------
    DicomError
        When the scan is no CT, or has not one UID a slice.
    InputError
        When the values are not whole HU.
    OutputError
        When a file cannot be written.

    References
    ----------
    DICOM PS3.3 A.3 (CT image), C.7.6.2 (image plane), C.8.2.1 (CT image module).
    """
    values = scan.image.values
    if scan.modality != "CT" or scan.image.unit != "HU":
        raise DicomError(f"a {scan.modality} scan in {scan.image.unit} cannot be written as CT; expected HU")
    if values.min() < -32768 or values.max() > 32767 or not np.array_equal(values, np.round(values)):
        raise InputError("a CT is written as whole HU between -32768 and 32767; round the values first")

    def as_ct(ds: Dataset, plane: NDArray[Any]) -> NDArray[Any]:
        ds.KVP = None
        ds.AcquisitionNumber = 1
        ds.WindowCenter, ds.WindowWidth = "40", "400"
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "HU"
        return plane

    image_type = ["DERIVED", "SECONDARY", "AXIAL"]
    return write_slices(scan, person, folder, CTImageStorage, image_type, as_ct, body_part, when)


def write_mr(
    scan: Scan,
    person: Person,
    folder: Path,
    *,
    echo_ms: float,
    repetition_ms: float,
    body_part: str = "",
    when: dt.datetime | None = None,
) -> tuple[Path, ...]:
    """Write one MR Image object (spin echo) a slice, feet first, and return the files.

    Parameters
    ----------
    scan : Scan
        MR on an axial grid, whole values from 0 to 32767; its UIDs are used as they are.
    person, folder, body_part, when
        See `write_ct`; files are called MR.0001.dcm and so on.
    echo_ms, repetition_ms : float
        Echo and repetition time.

    Raises
    ------
    DicomError
        When the scan is no MR, or has not one UID a slice.
    InputError
        When the values are not whole numbers from 0 on.
    OutputError
        When a file cannot be written.

    References
    ----------
    DICOM PS3.3 A.4 (MR image), C.8.3.1 (MR image module).
    """
    values = scan.image.values
    if scan.modality != "MR":
        raise DicomError(f"a {scan.modality} scan cannot be written as MR")
    if values.min() < 0 or values.max() > 32767 or not np.array_equal(values, np.round(values)):
        raise InputError("an MR is written as whole numbers from 0 to 32767; round the values first")

    def as_mr(ds: Dataset, plane: NDArray[Any]) -> NDArray[Any]:
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "NONE", ""
        ds.MRAcquisitionType = "2D"
        ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength = decimal(echo_ms), decimal(repetition_ms), 1
        ds.WindowCenter, ds.WindowWidth = "450", "900"
        return plane

    image_type = ["DERIVED", "SECONDARY", "OTHER"]
    return write_slices(scan, person, folder, MRImageStorage, image_type, as_mr, body_part, when)


def write_slices(
    scan: Scan,
    person: Person,
    folder: Path,
    sop_class_uid: str,
    image_type: list[str],
    add: Callable[[Dataset, NDArray[Any]], NDArray[Any]],
    body_part: str,
    when: dt.datetime | None,
) -> tuple[Path, ...]:
    """Write what CT, MR and PET have in common; `add` puts in the rest and turns a slice into whole numbers."""
    grid, values, modality = scan.image.grid, scan.image.values, scan.modality
    grid.require_axial(f"writing a {modality}")
    if len(scan.instance_uids) != grid.shape[0] or len(set(scan.instance_uids)) != grid.shape[0]:
        raise DicomError(
            f"a {modality} of {grid.shape[0]} slices needs as many different instance UIDs; found "
            f"{len(set(scan.instance_uids))}"
        )
    when = when or dt.datetime.now()
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    along_x, along_y = _STORED[scan.patient_position]
    z_mm, y_mm, x_mm = grid.axes_mm()
    corner = (x_mm[0] if along_x > 0 else x_mm[-1], y_mm[0] if along_y > 0 else y_mm[-1])
    dz, dy, dx = grid.spacing_mm
    paths: list[Path] = []
    for k, uid in enumerate(scan.instance_uids):
        told = scan.description or modality
        ds = new_object(sop_class_uid, uid, modality, scan.series_uid, 1, told, person, scan, when)
        ds.ImageType = image_type
        ds.AcquisitionDate = ds.ContentDate = ds.SeriesDate = date
        ds.AcquisitionTime = ds.ContentTime = ds.SeriesTime = time
        ds.ImageComments = clipped(RESEARCH_USE, 1024)
        ds.SliceThickness = decimal(scan.slice_thickness_mm or dz)
        if body_part:
            ds.BodyPartExamined = clipped(body_part.upper(), 16)
        else:
            ds.Laterality = ""
        ds.PatientPosition = scan.patient_position
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = decimals([*corner, z_mm[k]])
        ds.ImageOrientationPatient = decimals([along_x, 0, 0, 0, along_y, 0])
        ds.SliceLocation = decimal(z_mm[k])
        ds.SamplesPerPixel = 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.Rows, ds.Columns = grid.shape[1], grid.shape[2]
        ds.PixelSpacing = decimals([dy, dx])
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit = 15
        ds.PixelRepresentation = 1
        plane = add(ds, values[k, :: int(along_y), :: int(along_x)])
        ds.PixelData = np.ascontiguousarray(plane, dtype="<i2").tobytes()
        ds["PixelData"].VR = "OW"
        path = folder / f"{modality}.{k + 1:04d}.dcm"
        save(ds, path)
        paths.append(path)
    return tuple(paths)
