"""The DICOM door: reads a folder as a case, writes CT, structures, plans and doses."""

from tailort.dicom.case import read_case
from tailort.dicom.names import load_names
from tailort.dicom.reading_functional import read_functional
from tailort.dicom.reading_registrations import read_registrations, registration_between
from tailort.dicom.reading_treatment_records import FractionRecord, read_treatment_records
from tailort.dicom.writing import new_uid
from tailort.dicom.writing_doses import write_dose
from tailort.dicom.writing_images import write_ct, write_mr
from tailort.dicom.writing_pet import write_pet
from tailort.dicom.writing_plans import write_plan
from tailort.dicom.writing_registrations import write_registration
from tailort.dicom.writing_structures import write_structures

__all__ = [
    "FractionRecord", "load_names", "new_uid", "read_case", "read_functional", "read_registrations",
    "read_treatment_records", "registration_between", "write_ct", "write_dose", "write_mr", "write_pet",
    "write_plan", "write_registration", "write_structures",
]  # fmt: skip
