"""Earlier courses: folders of DICOM with course.yaml, or a course.yaml alone where only a prescription is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tailort import dicom
from tailort.cli.course_facts import FACTS, CourseFacts, read_facts
from tailort.errors import InputError
from tailort.patient import Case, Course, Dose, Plan
from tailort.workflow.earlier import phase_doses, require_same_patient
from tailort.workflow.registration_options import registration_notes

# Prescriptions that differ by less are the same, Gy.
SAME_GY = 0.05


def with_courses(
    case: Case,
    today: Path,
    folders: Sequence[Path],
    *,
    same_patient: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Case:
    """Return a case with its earlier courses.

    Parameters
    ----------
    case : Case
        Of today.
    today : Path
        Its folder.
    folders : sequence of Path
        One a course: CT, RTDOSE and, where there are, RTSTRUCT and RTPLAN; course.yaml adds what DICOM does not tell.
        A folder that holds nothing else, or the path of such a file, is a course of which only the prescription is
        known.
    same_patient : bool
        Whether a person says that different identifiers are one patient.
    progress : callable, optional
        Called with what is read and the share done.

    Raises
    ------
    InputError, DicomError
        Naming the folder.
    """
    _require_apart(today, folders)
    courses: list[Course] = []
    notes: list[str] = []
    for folder in folders:
        told = _facts(folder)
        label = told.label or _name(folder)
        if label in {course.label for course in courses}:
            raise InputError(f"two earlier courses are called '{label}'; give each a label in its {FACTS}")
        course = Course(
            label, None, None, (), (), told.last_fraction, told.registration, told.prescribed, told.organ_highest_gy,
            told.at_target,
        )  # fmt: skip
        patient = told.patient_id
        if _is_alone(folder):
            about = _about_bounded(course, told, folder)
        else:
            course, patient, about = _read(case, course, told, folder, progress)
        if not same_patient:
            require_same_patient(case, [told.patient_id, patient])
        _require_new(course, (*courses, Course("of today", None, None, case.doses)))
        courses.append(course)
        notes += [f"course '{label}': {note}" for note in about]
        if any(d.image.grid.frame_of_reference != case.ct.image.grid.frame_of_reference for d in course.doses):
            notes += registration_notes(case, course)
    return replace(case, courses=tuple(courses), notes=(*case.notes, *notes))


def _require_apart(today: Path, folders: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for folder in folders:
        if not folder.exists():
            raise InputError(f"'{folder}' does not exist: name the folder of an earlier course, or its {FACTS}")
        where = folder.parent if folder.name == FACTS else folder
        if where.resolve() == today.resolve():
            raise InputError(
                f"the earlier course '{folder}' is the folder of today; name the folder of what was before"
            )
        if where.resolve() in seen:
            raise InputError(f"the earlier course '{folder}' is named twice; its dose would count twice")
        seen.add(where.resolve())


def _require_new(course: Course, others: Sequence[Course]) -> None:
    """Refuse a dose that is counted already."""
    mine = {dose.plan_uid for dose in course.doses if dose.plan_uid}
    for other in others:
        if mine & {dose.plan_uid for dose in other.doses}:
            raise InputError(
                f"course '{course.label}' and course '{other.label}' hold the dose of one plan, which would count "
                "twice; leave one of them out"
            )


def _name(path: Path) -> str:
    """What a course is called where nobody says."""
    if path.is_file() and path.name != FACTS:
        return path.stem
    return (path.parent if path.is_file() else path).resolve().name


def _is_alone(path: Path) -> bool:
    """Whether there is nothing but what a person wrote."""
    return path.is_file() or not any(
        other.is_file() and other.name != FACTS and not other.name.startswith(".") for other in path.rglob("*")
    )


def _about_bounded(course: Course, told: CourseFacts, folder: Path) -> tuple[str, ...]:
    """Refuse a course of which not enough is known to bound it; else what a reader must know."""
    if not course.prescribed:
        raise InputError(
            f"the earlier course in '{folder}' has no RTDOSE; add it, tell its prescription in {FACTS} so that the "
            "dose is bounded, or leave the course out"
        )
    if told.fractions is not None:
        raise InputError(
            f"'{folder}': fractions stand in the prescription of a course without a dose; leave them there"
        )
    unknown = [phase for phase in course.prescribed if phase.highest_percent is None]
    if unknown:
        raise InputError(
            f"the earlier course in '{folder}' has no dose, so each voxel has had anything up to the largest dose "
            "there was; say highest_percent, that dose in percent of the prescription"
        )
    most = " + ".join(f"{p.highest_gy:.4g} Gy in {p.fractions} fractions" for p in course.prescribed)
    organs = ", ".join(f"{name} at most {gy:g} Gy" for name, gy in course.organ_highest_gy.items())
    about = [
        f"only its prescription is known: each voxel counts as anything from 0 to {most}"
        + (f" ({organs})" if organs else "")
    ]
    if not told.patient_id:
        about.append(f"no image tells whose it is, and patient_id is not in its {FACTS}")
    return tuple(about)


def _read(
    case: Case, course: Course, told: CourseFacts, folder: Path, progress: Callable[[str, float], None] | None
) -> tuple[Course, str, tuple[str, ...]]:
    """A course with what is in its folder, whose it is, and what was noticed."""
    earlier = dicom.read_case(folder, absolute=True, fractions=told.fractions, on=case.ct, progress=progress)
    has_ct = not np.may_share_memory(earlier.ct.image.values, case.ct.image.values)
    about = list(earlier.notes)
    if not has_ct:
        is_here = earlier.ct.image.grid.frame_of_reference == case.ct.image.grid.frame_of_reference
        about.append(
            "it has no CT of its own; its dose lies in the frame of reference of today's CT and is added there"
            if is_here
            else "it has no CT of its own; its dose lies in another frame of reference and is added by a registration "
            "that came with it"
        )
    course = replace(course, scan=earlier.ct if has_ct else None, structures=earlier.structures, plans=earlier.plans)
    if not earlier.doses and course.prescribed:
        return course, earlier.pseudonym, (*about, *_about_bounded(course, told, folder))
    doses = _phases(earlier, folder)
    _require_fractions(doses, told, folder)
    _require_prescription(earlier.plans, told, folder)
    if course.organ_highest_gy:
        raise InputError(
            f"'{folder}' has a dose, so the largest doses of organs follow from it; leave 'organs' out of its {FACTS}"
        )
    return replace(course, doses=doses), earlier.pseudonym, tuple(about)


def _phases(case: Case, folder: Path) -> tuple[Dose, ...]:
    if not case.doses:
        why = "; ".join(note for note in case.notes if "left out" in note)
        raise InputError(
            f"the earlier course in '{folder}' has no RTDOSE that can be counted{f' ({why})' if why else ''}; add it, "
            "or leave the course out"
        )
    return phase_doses(case.doses, f"the earlier course in '{folder}'")


def _require_fractions(doses: Sequence[Dose], told: CourseFacts, folder: Path) -> None:
    """Refuse a number of fractions that is not that of every voxel, or that a plan contradicts."""
    for dose in doses:
        if told.fractions is not None and dose.fractions is None:
            raise InputError(
                f"a dose in '{folder}' is the sum of several plans, whose voxels had fractions of their own; export "
                "the dose of each plan"
            )
        if told.fractions is not None and dose.fractions != told.fractions:
            raise InputError(
                f"the plan in '{folder}' has {dose.fractions} fractions, its {FACTS} says {told.fractions}; leave the "
                "wrong one out"
            )
    known = sorted(dose.fractions for dose in doses if dose.fractions is not None)
    prescribed = sorted(phase.fractions for phase in told.prescribed)
    if prescribed and len(known) == len(doses) and known != prescribed:
        raise InputError(
            f"the doses in '{folder}' have {' + '.join(map(str, known))} fractions, the prescription in its {FACTS} "
            f"{' + '.join(map(str, prescribed))}; correct one of them"
        )


def _require_prescription(plans: Sequence[Plan], told: CourseFacts, folder: Path) -> None:
    """Refuse a prescription that the plans contradict; of several targets the highest dose counts."""
    planned = sorted(max(p.dose_gy for p in plan.prescriptions) for plan in plans if plan.prescriptions)
    prescribed = sorted(phase.dose_gy for phase in told.prescribed)
    if len(planned) == len(prescribed) and any(abs(a - b) > SAME_GY for a, b in zip(planned, prescribed, strict=True)):
        raise InputError(
            f"the plans in '{folder}' prescribe {' + '.join(f'{gy:g}' for gy in planned)} Gy, its {FACTS} says "
            f"{' + '.join(f'{gy:g}' for gy in prescribed)} Gy; leave the wrong one out"
        )


def _facts(folder: Path) -> CourseFacts:
    path = folder if folder.is_file() else folder / FACTS
    return read_facts(path) if path.is_file() else CourseFacts()
