"""Folders of earlier courses, and what their course.yaml says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tailort import dicom
from tailort.errors import InputError
from tailort.patient import Case, Course, Dose
from tailort.workflow.earlier import phase_doses, require_same_patient

FACTS = "course.yaml"
KEYS = ("label", "fractions", "last_fraction")


def with_courses(
    case: Case,
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
    folders : sequence of Path
        One a course: CT, RTDOSE and, where there are, RTSTRUCT and RTPLAN; course.yaml may add what DICOM does not
        tell: `label`, `fractions` (of a dose without a plan), `last_fraction` (a date).
    same_patient : bool
        Whether a person says that different identifiers are one patient.
    progress : callable, optional
        Called with what is read and the share done.

    Raises
    ------
    InputError, DicomError
        Naming the folder.
    """
    courses: list[Course] = []
    notes: list[str] = []
    for folder in folders:
        told = _facts(folder)
        earlier = dicom.read_case(folder, absolute=True, fractions=told.get("fractions"), progress=progress)
        if not same_patient:
            require_same_patient(case, [earlier.pseudonym])
        label = str(told.get("label") or folder.resolve().name)
        if label in {course.label for course in courses}:
            raise InputError(f"two earlier courses are called '{label}'; give each a label in its {FACTS}")
        doses = _phases(earlier, folder)
        _require_fractions(doses, told.get("fractions"), folder)
        last = told.get("last_fraction")
        courses.append(Course(label, earlier.ct, earlier.structures, doses, earlier.plans, last))
        notes += [f"course '{label}': {note}" for note in earlier.notes]
    return replace(case, courses=tuple(courses), notes=(*case.notes, *notes))


def _phases(case: Case, folder: Path) -> tuple[Dose, ...]:
    if not case.doses:
        raise InputError(f"the earlier course in '{folder}' has no RTDOSE; add it, or leave the course out")
    return phase_doses(case.doses, f"the earlier course in '{folder}'")


def _require_fractions(doses: Sequence[Dose], fractions: int | None, folder: Path) -> None:
    """Refuse a number of fractions that a plan contradicts."""
    for dose in doses:
        if fractions is not None and dose.fractions != fractions:
            raise InputError(
                f"the plan in '{folder}' has {dose.fractions} fractions, its {FACTS} says {fractions}; leave the wrong "
                "one out"
            )


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    if not path.is_file():
        return {}
    try:
        told = YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {}
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(told, dict) or (unknown := [key for key in told if key not in KEYS]):
        names = ", ".join(map(str, unknown)) if isinstance(told, dict) else "no table"
        raise InputError(f"'{path}' holds {names}; known are {', '.join(KEYS)}")
    fractions, last = told.get("fractions"), told.get("last_fraction")
    if fractions is not None and (isinstance(fractions, bool) or not isinstance(fractions, int) or fractions < 1):
        raise InputError(f"'{path}': fractions is {fractions!r}; expected a whole number from 1 on")
    if last is not None and (not isinstance(last, dt.date) or isinstance(last, dt.datetime)):
        raise InputError(f"'{path}': last_fraction is {last!r}; expected a day such as 2025-03-14")
    return told
