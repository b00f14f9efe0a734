"""Clinical records from tables, and decisions and courses as FHIR."""

from tailort.protocols.records.fhir import FHIR_NAMES, FhirName, course_bundle
from tailort.protocols.records.mapping import Absence, Column, TableMapping, load_mapping, parse_mapping
from tailort.protocols.records.table import (
    AbsentFact,
    CellFault,
    PatientRecord,
    TableError,
    parse_table,
)

__all__ = [
    "FHIR_NAMES",
    "Absence",
    "AbsentFact",
    "CellFault",
    "Column",
    "FhirName",
    "PatientRecord",
    "TableError",
    "TableMapping",
    "course_bundle",
    "load_mapping",
    "parse_mapping",
    "parse_table",
]
