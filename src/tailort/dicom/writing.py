"""What all written DICOM objects share: UIDs, decimal strings, patient, study, equipment."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

import tailort
from tailort.errors import InputError, OutputError
from tailort.patient import Person, Scan

RESEARCH_USE = "research use only, not a medical device"
MANUFACTURER = "TailoRT"
_UID_SPACE = uuid.UUID("6d0e8a5c-0f0b-5a58-9d5e-2b6f0f3a7c11")
_IMPLEMENTATION = f"2.25.{uuid.uuid5(_UID_SPACE, 'implementation').int}"
_LONGEST_DS = 16


def new_uid(seed: str | None, *parts: str) -> str:
    """UID of the form 2.25.n: the same for the same seed and parts; without a seed never twice.

    References
    ----------
    DICOM PS3.5 B.2 (UUID derived UID).
    """
    made = uuid.uuid4() if seed is None else uuid.uuid5(_UID_SPACE, "\n".join((seed, *parts)))
    return f"2.25.{made.int}"


def decimal(value: float, places: int | None = None) -> str:
    """Decimal string of at most 16 characters (VR DS).

    Parameters
    ----------
    value : float
        Finite number.
    places : int or None
        Digits after the point; None gives as many significant digits as fit.
    """
    if not math.isfinite(value):
        raise InputError(f"{value} cannot be written to DICOM: expected a finite number")
    if places is not None:
        text = f"{value:.{places}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        if len(text) <= _LONGEST_DS:
            return "0" if text == "-0" else text
    for digits in range(15, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= _LONGEST_DS:
            return "0" if text == "-0" else text
    raise InputError(f"{value} does not fit into 16 characters")


def decimals(values: Sequence[float], places: int | None = None) -> list[str]:
    """Decimal strings of several values."""
    return [decimal(float(v), places) for v in values]


def clipped(text: str, longest: int) -> str:
    """Text of at most `longest` characters without the separator of DICOM values."""
    return " ".join(text.replace("\\", "/").split())[:longest].strip()


def paragraph(text: str, longest: int) -> str:
    """Text of at most `longest` characters in which line breaks stay (VR ST, LT)."""
    return text.strip()[:longest].strip()


def file_meta(sop_class_uid: str, sop_instance_uid: str, syntax: str = ExplicitVRLittleEndian) -> FileMetaDataset:
    """File meta information of a new object."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.ImplementationVersionName = clipped(f"TAILORT_{tailort.__version__}", 16)
    return meta


def new_object(
    sop_class_uid: str,
    sop_instance_uid: str,
    modality: str,
    series_uid: str,
    series_number: int,
    description: str,
    person: Person,
    scan: Scan,
    when: dt.datetime,
    syntax: str = ExplicitVRLittleEndian,
) -> Dataset:
    """Patient, study, series, frame of reference, equipment and SOP modules.

    References
    ----------
    DICOM PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.4.1, C.7.5.1, C.12.1.
    """
    ds = Dataset()
    ds.file_meta = file_meta(sop_class_uid, sop_instance_uid, syntax)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class_uid
    ds.SOPInstanceUID = sop_instance_uid
    ds.InstanceCreationDate = when.strftime("%Y%m%d")
    ds.InstanceCreationTime = when.strftime("%H%M%S")
    ds.PatientName = clipped(person.name, 64)
    ds.PatientID = clipped(person.patient_id, 64)
    ds.PatientBirthDate = person.birth_date
    ds.PatientSex = person.sex if person.sex in ("M", "F", "O") else ""
    ds.StudyInstanceUID = scan.study_uid
    ds.StudyID = clipped(person.study_id, 16)
    ds.StudyDate = person.study_date
    ds.StudyTime = person.study_time
    ds.AccessionNumber = clipped(person.accession_number, 16)
    ds.ReferringPhysicianName = clipped(person.referring_physician, 64)
    ds.Modality = modality
    ds.SeriesInstanceUID = series_uid
    ds.SeriesNumber = series_number
    ds.SeriesDescription = clipped(description, 64)
    ds.FrameOfReferenceUID = scan.image.grid.frame_of_reference
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = MANUFACTURER
    ds.ManufacturerModelName = MANUFACTURER
    ds.SoftwareVersions = tailort.__version__
    return ds


def rt_series(ds: Dataset) -> None:
    """Add what RT series have and image series do not."""
    ds.OperatorsName = ""
    ds.InstanceNumber = 1


def reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Reference to another object."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def save(ds: Dataset, path: Path) -> None:
    """Write an object to a file.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    try:
        ds.save_as(path, enforce_file_format=True)
    except OSError as error:
        reason: OSError = error
        # pydicom tells a full disk as a text with a traceback in it; the first cause is what happened.
        while isinstance(reason.__cause__, OSError):
            reason = reason.__cause__
        raise OutputError(f"file '{path}' cannot be written: {reason.strerror or reason}") from reason
