"""PET and diffusion series built attribute by attribute, of values that are known."""

from __future__ import annotations

from pathlib import Path

import dicom_cases as d
import numpy as np
from pydicom.dataset import Dataset

from tailort.geometry import Image

WEIGHT_KG, DOSE_BQ, HALF_LIFE_S = 72.0, 350e6, 6586.2
PET_SERIES, MR_SERIES = "1.2.3.60", "1.2.3.70"


def activity_at(k: int) -> np.ndarray:
    """Bq/ml of slice k from the feet: rows and columns as stored for HFS; whole multiples of each slice's slope."""
    _, rows, columns = d.SHAPE
    j, i = np.mgrid[:rows, :columns]
    return slope(k) * (100 * (k + 1) + 10 * j + i)


def slope(k: int) -> float:
    """Rescale of slice k: each has its own."""
    return 2.0 + 0.5 * k


def expected_activity() -> np.ndarray:
    return np.stack([activity_at(k) for k in range(d.SHAPE[0])])


def pet_slices(
    *, injected="080000", start="090000", acquired="090000", correction="START", series=PET_SERIES
) -> list[Dataset]:
    """Single PET images from the feet up, in Bq/ml; each bed of two slices is acquired three minutes later."""
    x, y, z = d.axes()
    slices = []
    for k in range(d.SHAPE[0]):
        minutes = int(acquired[2:4]) + 3 * (k // 2)
        ds = _pet(f"{series}.{k + 1}", series, d.FRAME, start, f"{acquired[:2]}{minutes:02d}{acquired[4:]}", injected)
        ds.DecayCorrection = correction
        _place(ds, (x[0], y[0], z[k]), d.SPACING, np.round(activity_at(k) / slope(k)), slope(k))
        slices.append(ds)
    return slices


def pet_of(image: Image, *, series=PET_SERIES, day="20260101", patient="P1") -> list[Dataset]:
    """A PET whose SUV is an image on an axial grid, injected an hour before its start."""
    left = DOSE_BQ * 2.0 ** (-3600.0 / HALF_LIFE_S)
    activity = np.asarray(image.values, dtype=float) * left / (WEIGHT_KG * 1000.0)
    slices = []
    for k in range(image.grid.shape[0]):
        ds = _pet(f"{series}.{k + 1}", series, image.grid.frame_of_reference, "090000", "090000", "080000", day)
        ds.PatientID = patient
        own = float(activity[k].max()) / 60000.0 or 1.0
        _place(ds, image.grid.to_world((k, 0, 0)), image.grid.spacing_mm, np.round(activity[k] / own), own)
        slices.append(ds)
    return slices


def _pet(uid, series, frame, start, acquired, injected, day="20260101") -> Dataset:
    """What every PET image tells beside its pixels."""
    ds = d.base(d.PT, uid, "PT", series, frame)
    ds.SeriesDate, ds.SeriesTime, ds.AcquisitionDate, ds.AcquisitionTime = day, start, day, acquired
    ds.Units, ds.CorrectedImage, ds.DecayCorrection = "BQML", ["ATTN", "DECY", "SCAT"], "START"
    ds.PatientWeight = str(WEIGHT_KG)
    tracer, nuclide = Dataset(), Dataset()
    tracer.Radiopharmaceutical = "FDG"
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = f"{DOSE_BQ:g}", str(HALF_LIFE_S)
    tracer.RadiopharmaceuticalStartTime = injected
    nuclide.CodeValue, nuclide.CodingSchemeDesignator, nuclide.CodeMeaning = "C-111A1", "SRT", "^18^Fluorine"
    tracer.RadionuclideCodeSequence = [nuclide]
    ds.RadiopharmaceuticalInformationSequence = [tracer]
    return ds


def _place(ds: Dataset, corner, spacing, stored: np.ndarray, slope: float) -> None:
    """Put stored values into an image in the transverse plane."""
    ds.PatientPosition, ds.ImageType, ds.SliceThickness = "HFS", ["ORIGINAL", "PRIMARY"], f"{spacing[0]:g}"
    ds.ImagePositionPatient = [f"{v:g}" for v in corner]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.PixelSpacing = [f"{spacing[1]:g}", f"{spacing[2]:g}"]
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.RescaleSlope, ds.RescaleIntercept = f"{slope:.10g}", "0"
    ds.PixelData = stored.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"


def diffusion_slices(*, frame=d.FRAME, unit="", mapping=None) -> list[Dataset]:
    """MR images with values of 800 to some 1600; `unit` as Rescale Type, `mapping` (code, slope, intercept)."""
    slices = d.image_slices(sop_class=d.MR, modality="MR", series=MR_SERIES, frame=frame, uid_root="1.2.3.71")
    for ds in slices:
        ds.AcquisitionDate = "20260101"
        del ds.RescaleSlope, ds.RescaleIntercept
        stored = 800 + np.arange(ds.Rows * ds.Columns).reshape(ds.Rows, ds.Columns) * 4
        ds.PixelData = stored.astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        if unit:
            ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1", "0", unit
        if mapping:
            code, item = Dataset(), Dataset()
            code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = mapping[0], "UCUM", mapping[0]
            item.MeasurementUnitsCodeSequence = [code]
            item.RealWorldValueSlope, item.RealWorldValueIntercept = mapping[1], mapping[2]
            ds.RealWorldValueMappingSequence = [item]
    return slices


def write(folder: Path, slices: list[Dataset], name: str = "image") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n, ds in enumerate(slices):
        ds.save_as(folder / f"{name}{n:03d}.dcm", enforce_file_format=True)
    return folder
