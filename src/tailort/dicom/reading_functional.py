"""A folder with an image of function: PET as SUV, MR as diffusion."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pydicom.valuerep import DA

from tailort.dicom.files import DAMAGED, DicomFile, Progress, read_folder
from tailort.dicom.reading_diffusion import read_diffusion
from tailort.dicom.reading_images import Series, image_series, read_scan
from tailort.dicom.reading_suv import read_suv
from tailort.errors import DicomError, InputError
from tailort.patient import FunctionalScan, Quantity, Scan


def read_functional(
    folder: Path,
    quantity: Quantity,
    *,
    series_uid: str | None = None,
    unit: str | None = None,
    frame_of_reference: str | None = None,
    progress: Progress | None = None,
) -> FunctionalScan:
    """Read an image of function from a folder, with the CT of its session where that will be needed.

    Parameters
    ----------
    folder : Path
        Files in any order and nesting; it may be the folder of the case itself.
    quantity : Quantity
        What is looked for: a PET becomes SUV by body weight, an MR diffusion in mm2/s.
    series_uid : str or None
        Where the folder has several series of that kind.
    unit : str or None
        Of a diffusion map, where its files do not tell it.
    frame_of_reference : str or None
        Of the planning CT. An image in another frame has to be registered, and a CT in the image's own frame does that
        better: it is read with it.
    progress : callable or None
        As in `read_case`.

    Raises
    ------
    DicomError
        When there is no such series or several, or what the values need is missing: see `read_suv` and
        `read_diffusion`.
    """
    folder = Path(folder)
    if unit is not None and quantity.modality != "MR":
        raise InputError(
            f"a unit of the values is told for diffusion only; {quantity.id} is read from {quantity.modality}"
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        files, notes = read_folder(folder, progress)
        series = image_series(files)
        chosen = _chosen(series, quantity, series_uid, folder)
        if quantity.modality == "PT":
            suv = read_suv(chosen, quantity, progress)
            scan, date, facts, found = suv.scan, suv.date, suv.facts, suv.notes
            how = "SUV by body weight, made from Bq/ml"
        else:
            scan, facts, found = read_diffusion(chosen, unit, progress)
            date = _date(chosen.files[0])
            how = "apparent diffusion coefficient, mm2/s"
        companion = None
        if frame_of_reference is not None and scan.image.grid.frame_of_reference != frame_of_reference:
            companion, more = _companion(series, scan, progress)
            found = (*found, *more)
    return FunctionalScan(
        quantity, scan, date, chosen.files[0].text("PatientID"), f"{chosen.label}, {date}: {how}", facts, companion,
        (*notes, *found),
    )  # fmt: skip


def _chosen(series: Sequence[Series], quantity: Quantity, series_uid: str | None, folder: Path) -> Series:
    own = [one for one in series if one.modality == quantity.modality]
    listed = "; ".join(f"{one.uid} '{one.description}' with {one.slices} slice(s)" for one in own)
    if not own:
        there = ", ".join(sorted({one.modality for one in series})) or "no images"
        raise DicomError(f"folder '{folder}' has no {quantity.modality} series for {quantity.id}; it has: {there}")
    if series_uid is None and len(own) > 1:
        raise DicomError(
            f"folder '{folder}' has {len(own)} {quantity.modality} series: {listed}; choose one by its UID"
        )
    found = own[0] if series_uid is None else next((one for one in own if one.uid == series_uid), None)
    if found is None:
        raise DicomError(f"folder '{folder}' has no {quantity.modality} series {series_uid}; it has: {listed}")
    return found


def _companion(series: Sequence[Series], scan: Scan, progress: Progress | None) -> tuple[Scan | None, tuple[str, ...]]:
    """The one CT in the frame of reference of the image."""
    frame = scan.image.grid.frame_of_reference
    own = [one for one in series if one.modality == "CT" and one.files[0].frame_of_reference == frame]
    if len(own) != 1:
        told = "no CT" if not own else f"{len(own)} CTs"
        return None, (f"the folder has {told} in the frame of reference of the image, which was compared itself",)
    return read_scan(own[0], progress)


def _date(file: DicomFile) -> dt.date:
    """Day of acquisition, or of the series where that is not told."""
    day = file.text("AcquisitionDate") or str(file.value("SeriesDate"))
    try:
        found = cast(dt.date, DA(day))
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}': AcquisitionDate is '{day}', which is no date") from error
    return dt.date(found.year, found.month, found.day)
