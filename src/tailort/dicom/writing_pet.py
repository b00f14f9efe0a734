"""A PET as a series of Positron Emission Tomography Image objects, with all that an SUV needs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from tailort.dicom.writing import clipped, decimal
from tailort.dicom.writing_images import write_slices
from tailort.errors import DicomError, InputError
from tailort.patient import Person, Scan

_MOST_STORED = 32767
# Code value and meaning of SNOMED CT: how the patient lies and enters the scanner, and the nuclide.
_LYING = {"S": ("40199007", "supine"), "P": ("1240000", "prone")}
_ENTERS = {"HF": ("102540001", "headfirst"), "FF": ("102541002", "feet-first")}
_FLUORINE_18 = ("77004003", "^18^Fluorine")
_POSITRONS_OF_FLUORINE_18 = 0.967


def write_pet(
    scan: Scan,
    person: Person,
    folder: Path,
    *,
    tracer: str,
    injected_bq: float,
    administered: dt.datetime,
    started: dt.datetime,
    weight_kg: float,
    half_life_s: float,
    frame_s: float = 600.0,
    body_part: str = "",
) -> tuple[Path, ...]:
    """Write one PET Image object a slice of a tracer with fluorine-18, feet first, and return the files.

    Parameters
    ----------
    scan : Scan
        PET on an axial grid, Bq/ml at the start of the scan, none below 0; its UIDs are used as they are.
    person, folder, body_part
        See `write_ct`; files are called PT.0001.dcm and so on. Each slice has its own rescale.
    tracer : str
        Its name, such as "Fluorodeoxyglucose F18".
    injected_bq : float
        Activity at the time of administration.
    administered, started : datetime
        Of the tracer, and of the series; values are corrected for decay to the latter (START).
    weight_kg : float
        Of the patient.
    half_life_s : float
        Of fluorine-18, as it was reckoned with.
    frame_s : float
        Time for which each slice was measured.

    Raises
    ------
    DicomError
        When the scan is no PET in Bq/ml, or has not one UID a slice.
    InputError
        When a value is below 0 or not finite, activity or weight are not above 0, or the scan began before the tracer
        was given.
    OutputError
        When a file cannot be written.

    References
    ----------
    DICOM PS3.3 A.21 (PET image), C.8.9.1 (PET series), C.8.9.2 (PET isotope), C.8.9.4 (PET image).
    """
    values = scan.image.values
    if scan.modality != "PT" or scan.image.unit != "Bq/ml":
        raise DicomError(f"a {scan.modality} scan in {scan.image.unit} cannot be written as PET; expected Bq/ml")
    if not np.isfinite(values).all() or values.min() < 0:
        raise InputError("a PET is written as finite activities from 0 Bq/ml on")
    if not (injected_bq > 0 and weight_kg > 0):
        raise InputError(f"a PET needs an activity and a weight above 0; found {injected_bq:g} Bq, {weight_kg:g} kg")
    if started < administered:
        raise InputError(f"a PET cannot start at {started} when its tracer was given at {administered}")

    def as_pet(ds: Dataset, plane: NDArray[Any]) -> NDArray[Any]:
        ds.PatientWeight = decimal(weight_kg)
        _series(ds, scan, started, frame_s)
        ds.RadiopharmaceuticalInformationSequence = [_given(tracer, injected_bq, administered, half_life_s)]
        ds.ImageIndex = ds.InstanceNumber
        slope = max(float(plane.max()) / _MOST_STORED, 1e-6)
        ds.RescaleIntercept, ds.RescaleSlope = "0", decimal(slope)
        # With the slope as it was written, not as it was meant.
        return np.clip(np.rint(plane / float(ds.RescaleSlope)), 0, _MOST_STORED)

    image_type = ["DERIVED", "PRIMARY"]
    written = PositronEmissionTomographyImageStorage
    return write_slices(scan, person, folder, written, image_type, as_pet, body_part, started)


def _series(ds: Dataset, scan: Scan, started: dt.datetime, frame_s: float) -> None:
    """PET series, patient orientation, and the times of an image."""
    ds.SeriesDate, ds.SeriesTime = started.strftime("%Y%m%d"), started.strftime("%H%M%S")
    ds.AcquisitionDate, ds.AcquisitionTime = ds.SeriesDate, ds.SeriesTime
    ds.Units, ds.CountsSource = "BQML", "EMISSION"
    ds.SeriesType = ["STATIC", "IMAGE"]
    ds.NumberOfSlices = scan.image.grid.shape[0]
    ds.CorrectedImage = ["DECY", "ATTN", "SCAT", "RAN"]
    ds.RandomsCorrectionMethod = "NONE"
    ds.AttenuationCorrectionMethod, ds.ScatterCorrectionMethod = "simulated", "simulated"
    ds.DecayCorrection = "START"
    ds.ReconstructionMethod = "simulated"
    ds.CollimatorType = "NONE"
    # Where the position is told by codes, as a PET has to, it must not be told otherwise.
    del ds.PatientPosition
    lying = _code("102538003", "recumbent")
    lying.PatientOrientationModifierCodeSequence = [_code(*_LYING[scan.patient_position[2]])]
    ds.PatientOrientationCodeSequence = [lying]
    ds.PatientGantryRelationshipCodeSequence = [_code(*_ENTERS[scan.patient_position[:2]])]
    ds.FrameReferenceTime = "0"
    ds.ActualFrameDuration = str(round(1000.0 * frame_s))
    ds.DecayFactor = "1"


def _given(tracer: str, injected_bq: float, administered: dt.datetime, half_life_s: float) -> Dataset:
    item = Dataset()
    item.Radiopharmaceutical = clipped(tracer, 64)
    item.RadiopharmaceuticalRoute = "Intravenous"
    item.RadiopharmaceuticalStartTime = administered.strftime("%H%M%S")
    item.RadiopharmaceuticalStartDateTime = administered.strftime("%Y%m%d%H%M%S")
    item.RadionuclideTotalDose = decimal(injected_bq)
    item.RadionuclideHalfLife = decimal(half_life_s)
    item.RadionuclidePositronFraction = decimal(_POSITRONS_OF_FLUORINE_18)
    item.RadionuclideCodeSequence = [_code(*_FLUORINE_18)]
    return item


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item
