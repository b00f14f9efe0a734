"""RT Beams Treatment Records as fractions that were given, and when."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tailort.dicom.files import DAMAGED, DicomFile, read_folder
from tailort.errors import DicomError

RT_BEAMS_TREATMENT_RECORD = "1.2.840.10008.5.1.4.1.1.481.4"


@dataclass(frozen=True)
class FractionRecord:
    """One fraction as the record-and-verify system tells it.

    Parameters
    ----------
    number : int
        Current Fraction Number; 1 for the first.
    date : date or None
        Day of the treatment.
    plan_uid : str
        SOP Instance UID of the plan; empty is unknown.
    patient_id : str
        Whose it is; empty is unknown.
    beams : tuple of int
        Numbers of the beams that were given, ascending.
    """

    number: int
    date: dt.date | None
    plan_uid: str
    patient_id: str
    beams: tuple[int, ...]


def read_treatment_records(folders: Sequence[Path]) -> tuple[FractionRecord, ...]:
    """Fractions of all RT Beams Treatment Records below some folders, each once, by plan and number.

    Parameters
    ----------
    folders : sequence of Path
        What is no treatment record is passed over. A fraction may have a record for each beam.

    Raises
    ------
    DicomError
        When a record cannot be read, or tells of a beam that was not given to its end.

    References
    ----------
    DICOM PS3.3 A.29 (RT beams treatment record), C.8.8.21.
    """
    found: dict[tuple[str, str, int], FractionRecord] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        files = [file for folder in folders for file in read_folder(folder)[0]]
    for file in files:
        if file.sop_class_uid != RT_BEAMS_TREATMENT_RECORD:
            continue
        for record in _fractions(file):
            key = (record.plan_uid, record.patient_id, record.number)
            known = found.get(key, record)
            dates = [day for day in (known.date, record.date) if day is not None]
            found[key] = FractionRecord(
                record.number, min(dates, default=None), record.plan_uid, record.patient_id,
                tuple(sorted({*known.beams, *record.beams})),
            )  # fmt: skip
    return tuple(found[key] for key in sorted(found))


def _fractions(file: DicomFile) -> list[FractionRecord]:
    """Fractions that one record tells of."""
    beams: dict[int, list[int]] = {}
    try:
        plans = file.optional("ReferencedRTPlanSequence") or []
        plan_uid = str(plans[0].get("ReferencedSOPInstanceUID", "")) if plans else ""
        for item in file.value("TreatmentSessionBeamSequence"):
            number = int(item.CurrentFractionNumber)
            ended = str(item.get("TreatmentTerminationStatus", "") or "")
            if str(item.get("TreatmentDeliveryType", "") or "TREATMENT") not in ("TREATMENT", "CONTINUATION"):
                continue
            if ended != "NORMAL":
                raise DicomError(
                    f"treatment record '{file.path.name}': beam '{item.get('BeamName', '')}' of fraction {number} "
                    f"ended as {ended or '(not given)'}, so how much of it was given is not known; count the fractions "
                    "by hand and say --delivered N"
                )
            beams.setdefault(number, []).append(int(item.get("ReferencedBeamNumber", 0) or 0))
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}' is not a readable RT Beams Treatment Record ({error})") from error
    day = _day(file)
    return [
        FractionRecord(number, day, plan_uid, file.text("PatientID"), tuple(sorted(set(given))))
        for number, given in beams.items()
    ]


def _day(file: DicomFile) -> dt.date | None:
    told = file.text("TreatmentDate")
    if not told:
        return None
    try:
        return dt.datetime.strptime(told, "%Y%m%d").date()
    except ValueError as error:
        raise DicomError(f"file '{file.path}': TreatmentDate is '{told}'; expected YYYYMMDD") from error
