"""One patient: images, structures, plans, doses, earlier courses and facts."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace

from tailort.errors import DicomError, InputError
from tailort.geometry import Image, PatientPosition
from tailort.patient.dose import Dose
from tailort.patient.plan import Plan
from tailort.patient.prescription import MAX_PHYSICAL_COURSE_GY
from tailort.patient.registration_options import RegistrationOptions
from tailort.patient.structure import StructureSet

MOST_PERCENT = 300.0
"""A larger hot spot than this is a slip of the pen."""

FactValue = bool | int | float | str | dt.date | tuple[str, ...] | None


@dataclass(frozen=True)
class Fact:
    """One clinical fact: a value, who says so, and when. A value of None is unknown."""

    name: str
    value: FactValue
    source: str = ""
    date: dt.date | None = None


@dataclass(frozen=True, eq=False)
class Scan:
    """One image series.

    Parameters
    ----------
    image : Image
        Voxels, on a grid turned so that i runs to the left, j to the back, k to the head where it was transverse.
    modality : str
        "CT", "MR" or "PT".
    series_uid, study_uid : str
        DICOM UIDs.
    instance_uids : tuple of str
        SOP Instance UID of each slice k; one for all in a multi-frame object.
    patient_position : str
        HFS, HFP, FFS or FFP: how the patient lay.
    description : str
        Series description.
    slice_thickness_mm : float or None
        As the file says; the spacing of the slices is in the grid.
    sop_class_uid : str
        Of the instances.
    """

    image: Image
    modality: str
    series_uid: str
    study_uid: str
    instance_uids: tuple[str, ...]
    patient_position: PatientPosition
    description: str = ""
    slice_thickness_mm: float | None = None
    sop_class_uid: str = ""


@dataclass(frozen=True)
class Person:
    """Who the images say the patient is."""

    patient_id: str
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    accession_number: str = ""
    referring_physician: str = ""


@dataclass(frozen=True)
class PrescribedPhase:
    """What was prescribed in one phase of an earlier course.

    Parameters
    ----------
    dose_gy : float
        Physical dose of the whole phase, Gy.
    fractions : int
        Number of fractions of the phase.
    highest_percent : float or None
        Largest dose anywhere, in percent of the prescription, as a person says; None where nobody says.
    """

    dose_gy: float
    fractions: int
    highest_percent: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.dose_gy <= MAX_PHYSICAL_COURSE_GY:
            raise InputError(f"a prescribed dose of {self.dose_gy:g} Gy is not in (0, 200] Gy per course")
        if self.fractions < 1:
            raise InputError(f"a prescription has at least one fraction; found {self.fractions}")
        if self.highest_percent is not None and not 100.0 <= self.highest_percent <= MOST_PERCENT:
            raise InputError(
                f"the largest dose is {self.highest_percent:g} % of the prescription; expected 100 to "
                f"{MOST_PERCENT:g} %"
            )

    @property
    def highest_gy(self) -> float:
        """Largest physical dose that a voxel can have of this phase, Gy."""
        if self.highest_percent is None:
            raise InputError(
                f"how much of {self.dose_gy:g} Gy a voxel can have at most is not known; say highest_percent"
            )
        return self.dose_gy * self.highest_percent / 100.0


@dataclass(frozen=True, eq=False)
class Course:
    """One earlier treatment. Unknown stays None.

    Parameters
    ----------
    label : str
        For people.
    scan : Scan or None
        The CT on which it was planned.
    structures : StructureSet or None
        Drawn on that CT.
    doses : tuple of Dose
        Physical dose of each phase with its own fractions, in the frame of reference of that CT. Without any the course
        is known by its prescription only, and each voxel's dose by bounds.
    plans : tuple of Plan
        Of the phases, as far as they could be read.
    last_fraction : date or None
        Day of the last fraction.
    registration : RegistrationOptions
        How a person wants its CT to be registered with today's.
    prescribed : tuple of PrescribedPhase
        As a person says, beside or in place of the plans.
    organ_highest_gy : dict of float
        Of a course that is known by its prescription only: largest physical dose of organs of today, such as from a
        chart on paper, Gy of the course.
    at_target : bool or None
        Whether it was given at today's target.
    """

    label: str
    scan: Scan | None
    structures: StructureSet | None
    doses: tuple[Dose, ...]
    plans: tuple[Plan, ...] = ()
    last_fraction: dt.date | None = None
    registration: RegistrationOptions = field(default_factory=RegistrationOptions)
    prescribed: tuple[PrescribedPhase, ...] = ()
    organ_highest_gy: dict[str, float] = field(default_factory=dict)
    at_target: bool | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that is known of one patient.

    Parameters
    ----------
    person : Person
        Identity as in the images; `pseudonym` is its id.
    scans : tuple of Scan
        The planning CT first, then further images (CT, MR, PET).
    structures : StructureSet
        Drawn on the planning CT; empty when nothing is drawn.
    plans, doses : tuple
        Existing plans and doses of this course.
    courses : tuple of Course
        Earlier treatments.
    facts : dict of Fact
        The clinical record.
    notes : tuple of str
        What the reader noticed (skipped files, a dose without its plan).
    """

    person: Person
    scans: tuple[Scan, ...]
    structures: StructureSet
    plans: tuple[Plan, ...] = ()
    doses: tuple[Dose, ...] = ()
    courses: tuple[Course, ...] = ()
    facts: dict[str, Fact] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def pseudonym(self) -> str:
        """What the patient is called here."""
        return self.person.patient_id

    @property
    def ct(self) -> Scan:
        """The planning CT."""
        for scan in self.scans:
            if scan.modality == "CT":
                return scan
        raise DicomError(f"case '{self.pseudonym}' has no CT: planning needs one")

    def with_facts(self, facts: dict[str, Fact]) -> Case:
        """Return the case with another clinical record."""
        return replace(self, facts=dict(facts))
