"""A scan as a series of CT Image objects."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
from pydicom.uid import CTImageStorage

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
    grid, values = scan.image.grid, scan.image.values
    if scan.modality != "CT" or scan.image.unit != "HU":
        raise DicomError(f"a {scan.modality} scan in {scan.image.unit} cannot be written as CT; expected HU")
    grid.require_axial("writing a CT")
    if len(scan.instance_uids) != grid.shape[0] or len(set(scan.instance_uids)) != grid.shape[0]:
        raise DicomError(
            f"a CT of {grid.shape[0]} slices needs as many different instance UIDs; found "
            f"{len(set(scan.instance_uids))}"
        )
    if values.min() < -32768 or values.max() > 32767 or not np.array_equal(values, np.round(values)):
        raise InputError("a CT is written as whole HU between -32768 and 32767; round the values first")
    when = when or dt.datetime.now()
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    along_x, along_y = _STORED[scan.patient_position]
    z_mm, y_mm, x_mm = grid.axes_mm()
    corner = (x_mm[0] if along_x > 0 else x_mm[-1], y_mm[0] if along_y > 0 else y_mm[-1])
    dz, dy, dx = grid.spacing_mm
    paths: list[Path] = []
    for k, uid in enumerate(scan.instance_uids):
        ds = new_object(CTImageStorage, uid, "CT", scan.series_uid, 1, scan.description or "CT", person, scan, when)
        ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        ds.AcquisitionDate = ds.ContentDate = ds.SeriesDate = date
        ds.AcquisitionTime = ds.ContentTime = ds.SeriesTime = time
        ds.ImageComments = clipped(RESEARCH_USE, 1024)
        ds.SliceThickness = decimal(scan.slice_thickness_mm or dz)
        ds.KVP = None
        if body_part:
            ds.BodyPartExamined = clipped(body_part.upper(), 16)
        else:
            ds.Laterality = ""
        ds.PatientPosition = scan.patient_position
        ds.AcquisitionNumber = 1
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
        ds.WindowCenter, ds.WindowWidth = "40", "400"
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "HU"
        plane = values[k, :: int(along_y), :: int(along_x)]
        ds.PixelData = np.ascontiguousarray(plane, dtype="<i2").tobytes()
        ds["PixelData"].VR = "OW"
        path = folder / f"CT.{k + 1:04d}.dcm"
        save(ds, path)
        paths.append(path)
    return tuple(paths)
