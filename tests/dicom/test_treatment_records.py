"""RT Beams Treatment Records as fractions."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import dicom_cases as d
import pytest
from pydicom.dataset import Dataset

from tailort.dicom import read_treatment_records
from tailort.errors import DicomError

RECORD = "1.2.840.10008.5.1.4.1.1.481.4"


def record(uid: str, fraction: int, day: str, beams: tuple[int, ...] = (1, 2), ended: str = "NORMAL") -> Any:
    """One treatment session of the plan of `dicom_cases`."""
    ds = d.base(RECORD, uid, "RTRECORD", "1.2.3.41")
    ds.TreatmentDate, ds.InstanceNumber = day, "1"
    of_plan = Dataset()
    of_plan.ReferencedSOPClassUID, of_plan.ReferencedSOPInstanceUID = d.RTPLAN, d.PLAN_UID
    ds.ReferencedRTPlanSequence = [of_plan]
    ds.TreatmentSessionBeamSequence = []
    for number in beams:
        item = Dataset()
        item.ReferencedBeamNumber, item.BeamName, item.CurrentFractionNumber = number, f"B{number}", fraction
        item.TreatmentTerminationStatus, item.TreatmentDeliveryType = ended, "TREATMENT"
        ds.TreatmentSessionBeamSequence.append(item)
    return ds


def test_a_fraction_counts_once_whether_its_beams_have_one_record_or_several(tmp_path: Path) -> None:
    d.write(
        tmp_path, record("1.9.1", 1, "20260302"), record("1.9.2", 2, "20260303", (1,)),
        record("1.9.3", 2, "20260303", (2,)),
    )  # fmt: skip
    found = read_treatment_records([tmp_path])
    assert [(one.number, one.date, one.beams) for one in found] == [
        (1, dt.date(2026, 3, 2), (1, 2)), (2, dt.date(2026, 3, 3), (1, 2)),
    ]  # fmt: skip
    assert {one.plan_uid for one in found} == {d.PLAN_UID}
    assert {one.patient_id for one in found} == {"P1"}


def test_a_fraction_that_was_broken_off_is_not_guessed(tmp_path: Path) -> None:
    d.write(tmp_path, record("1.9.1", 1, "20260302", ended="MACHINE"))
    with pytest.raises(DicomError, match=r"fraction 1 ended as MACHINE.*--delivered"):
        read_treatment_records([tmp_path])


def test_what_is_no_treatment_record_is_passed_over(tmp_path: Path) -> None:
    d.write(tmp_path, d.plan())
    assert read_treatment_records([tmp_path]) == ()


def test_a_date_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    broken = record("1.9.1", 1, "20260302")
    broken.TreatmentDate = "20261399"
    d.write(tmp_path, broken)
    with pytest.raises(DicomError):
        read_treatment_records([tmp_path])
