"""A dose as an RT Dose."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.uid import RTDoseStorage, RTPlanStorage

from tailort.dicom.reading_doses import ENGINE_COMMENT
from tailort.dicom.writing import (
    RESEARCH_USE,
    clipped,
    decimal,
    decimals,
    new_object,
    new_uid,
    paragraph,
    reference,
    rt_series,
    save,
)
from tailort.errors import DicomError, InputError
from tailort.patient import Dose, Person, Scan


def write_dose(
    dose: Dose,
    person: Person,
    scan: Scan,
    path: Path,
    *,
    plan_uids: Sequence[str] = (),
    label: str = "",
    bits: Literal[16, 32] = 32,
    seed: str | None = None,
    when: dt.datetime | None = None,
) -> str:
    """Write the course's dose as a multi-frame RT Dose and return its UID.

    Parameters
    ----------
    dose : Dose
        On an axial grid in the frame of reference of `scan`; a dose per fraction is scaled to the course.
        BED and EQD2 are written with the type EFFECTIVE.
    person, scan : Person, Scan
        The patient and the planning CT.
    path : Path
        File to write.
    plan_uids : sequence of str
        SOP Instance UIDs of the plan, or of all plans whose sum it is; empty takes the plan that the dose names.
    label : str
        Tells doses of one study apart; part of the series description.
    bits : {16, 32}
        Of a stored value; 32 keeps every digit of the computed dose.
    seed : str or None
        Same seed, label, plans and study, same UIDs; None makes fresh ones.
    when : datetime or None
        Time of creation; None is now.

    Raises
    ------
    DicomError
        When no plan is known: an RT Dose has to name one.
    InputError
        When a value is negative or not finite.
    OutputError
        When the file cannot be written.

    Notes
    -----
    The structure set is named by the plan; a reference of its own belongs to the RT DVH module, which is not written.

    References
    ----------
    DICOM PS3.3 A.18 (RT dose), C.8.8.3, C.8.8.4 (RT DVH).
    """
    grid = dose.image.grid
    grid.require_axial("writing a dose")
    scan.image.grid.require_same_frame(grid.frame_of_reference, "the dose to write")
    uids = tuple(plan_uids) or ((dose.plan_uid,) if dose.plan_uid else ())
    if not uids:
        raise DicomError("an RT Dose has to name its plan: write the plan first and give its UID")
    if bits not in (16, 32):
        raise InputError(f"a dose is written with 16 or 32 bits, not {bits}")
    course = dose.per_course()
    values = np.asarray(course.image.values, dtype=np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise InputError("a dose with negative or not finite values cannot be written")
    when = when or dt.datetime.now()
    uid = new_uid(seed, "RTDOSE", scan.study_uid, label, dose.label, str(bits), *uids)
    ds = new_object(
        RTDoseStorage,
        uid,
        "RTDOSE",
        new_uid(seed, "RTDOSE series", scan.study_uid, label, dose.label, str(bits), *uids),
        4,
        " ".join(("Dose", label, dose.label)),
        person,
        scan,
        when,
    )
    rt_series(ds)
    ds.ContentDate, ds.ContentTime = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    ds.ImageComments = paragraph(f"{ENGINE_COMMENT}{' '.join(dose.engine.split())}\n{RESEARCH_USE}", 10240)
    dz, dy, dx = grid.spacing_mm
    ds.SliceThickness = decimal(dz)
    ds.ImagePositionPatient = decimals(grid.origin_mm.tolist())
    ds.ImageOrientationPatient = decimals([1, 0, 0, 0, 1, 0])
    ds.PixelSpacing = decimals([dy, dx])
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.NumberOfFrames, ds.Rows, ds.Columns = grid.shape
    ds.FrameIncrementPointer = tag_for_keyword("GridFrameOffsetVector")
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = 0
    ds.DoseUnits = "GY"
    ds.DoseType = "PHYSICAL" if dose.quantity == "physical" else "EFFECTIVE"
    ds.DoseComment = clipped(f"research use only; {dose.label}; {dose.engine}", 64)
    ds.DoseSummationType = "PLAN" if len(uids) == 1 else "MULTI_PLAN"
    ds.GridFrameOffsetVector = decimals([dz * k for k in range(grid.shape[0])])
    scaling = decimal(_scaling(float(values.max()), bits))
    ds.DoseGridScaling = scaling
    ds.ReferencedRTPlanSequence = [reference(RTPlanStorage, plan) for plan in uids]
    stored = np.round(values / float(scaling))
    ds.PixelData = stored.astype(f"<u{bits // 8}").tobytes()
    ds["PixelData"].VR = "OW"
    save(ds, path)
    return uid


def _scaling(highest_gy: float, bits: int) -> float:
    """Gy a stored step, so that the highest dose stays below the largest number even when the text is rounded."""
    return max(highest_gy, 1e-6) / float(2**bits - 1) * (1 + 1e-9)
