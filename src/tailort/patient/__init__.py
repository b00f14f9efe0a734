"""Records of the patient: what is known, what is prescribed, what is planned."""

from tailort.patient.case import Case, Course, Fact, FactValue, Person, PrescribedPhase, Scan
from tailort.patient.dose import Dose
from tailort.patient.influence import Beamlets, Influence
from tailort.patient.metric import Metric
from tailort.patient.plan import Beam, BeamSetup, ControlPoint, Plan
from tailort.patient.prescription import Constraint, Normalisation, Prescription
from tailort.patient.registration_options import RegistrationOptions
from tailort.patient.structure import ROLES, Point, Structure, StructureSet

__all__ = [
    "ROLES",
    "Beam",
    "BeamSetup",
    "Beamlets",
    "Case",
    "Constraint",
    "ControlPoint",
    "Course",
    "Dose",
    "Fact",
    "FactValue",
    "Influence",
    "Metric",
    "Normalisation",
    "Person",
    "Plan",
    "Point",
    "PrescribedPhase",
    "Prescription",
    "RegistrationOptions",
    "Scan",
    "Structure",
    "StructureSet",
]
