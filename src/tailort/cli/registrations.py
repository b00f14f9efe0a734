"""Registrations as files: those that came with the scans, and those that were used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tailort import dicom
from tailort.errors import DicomError
from tailort.patient import Case, Course
from tailort.registration import Registration

# Voxels on which a displacement is turned round that leads the other way, mm.
TURNED_MM = 4.0


def given_registrations(case: Case, folders: Sequence[Path], *, same_patient: bool = False) -> dict[str, Registration]:
    """Registrations that came as DICOM, from today's frame of reference to that of earlier courses, by label.

    Parameters
    ----------
    case : Case
        Of today, with its earlier courses.
    folders : sequence of Path
        Of today and of the courses.
    same_patient : bool
        Whether a person says that different identifiers are one patient.

    Raises
    ------
    DicomError
        When a registration is of another patient, cannot be read, or several lead to one course.
    """
    here = case.ct.image.grid
    frames = {course.label: frame for course in case.courses if (frame := _frame_of(course)) is not None}
    wanted = {label: frame for label, frame in frames.items() if frame != here.frame_of_reference}
    if not wanted:
        return {}
    scans = [*case.scans, *(course.scan for course in case.courses if course.scan is not None)]
    objects = dicom.read_registrations([folder for folder in folders if folder.is_dir()], scans)
    for one in objects:
        if not same_patient and one.patient_id and case.pseudonym and one.patient_id != case.pseudonym:
            raise DicomError(
                f"registration '{one.name}' is of patient '{one.patient_id}', today's images are of "
                f"'{case.pseudonym}'; leave it out, or say --same-patient if they are the same person"
            )
    found = {}
    for label, frame in wanted.items():
        made = dicom.registration_between(
            objects, here.frame_of_reference, frame, here.with_spacing(max(TURNED_MM, *here.spacing_mm))
        )
        if made is not None:
            found[label] = made
    return found


def write_registrations(case: Case, registrations: Mapping[str, Registration], folder: Path) -> None:
    """Write `reg_<label>.dcm` for every course that was registered.

    Parameters
    ----------
    case : Case
        Of today, with its earlier courses.
    registrations : mapping of str to Registration
        By the course's label.
    folder : Path
        The run folder.
    """
    taken: set[str] = set()
    for course in case.courses:
        registration = registrations.get(course.label)
        if registration is None:
            continue
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", course.label).strip("_") or "course"
        name = plain if plain.lower() not in taken else f"{plain}_{len(taken) + 1}"
        taken.add(name.lower())
        dicom.write_registration(
            registration, case.ct, course.scan, case.person, folder / f"reg_{name}.dcm",
            by_images="given as DICOM" not in registration.method,
        )  # fmt: skip


def _frame_of(course: Course) -> str | None:
    """Frame of reference that a course's doses lie in."""
    grids = [dose.image.grid for dose in course.doses] or ([] if course.scan is None else [course.scan.image.grid])
    return grids[0].frame_of_reference if grids else None
