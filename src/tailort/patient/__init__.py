"""Records of the patient: what is known, what is prescribed, what is planned."""

from tailort.patient.case import Case, Course, Fact, FactValue, Person, PrescribedPhase, Scan
from tailort.patient.dose import Dose
from tailort.patient.functional import QUANTITIES, FunctionalImage, FunctionalScan, Quantity, quantity_named
from tailort.patient.influence import Beamlets, Influence
from tailort.patient.metric import Metric
from tailort.patient.painted import Painted
from tailort.patient.plan import Beam, BeamSetup, ControlPoint, Plan
from tailort.patient.prescription import Constraint, Normalisation, Prescription
from tailort.patient.registration_options import RegistrationOptions
from tailort.patient.structure import ROLES, Point, Structure, StructureSet

__all__ = [
    "QUANTITIES",
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
    "FunctionalImage",
    "FunctionalScan",
    "Influence",
    "Metric",
    "Normalisation",
    "Painted",
    "Person",
    "Plan",
    "Point",
    "PrescribedPhase",
    "Prescription",
    "Quantity",
    "RegistrationOptions",
    "Scan",
    "Structure",
    "StructureSet",
    "quantity_named",
]
