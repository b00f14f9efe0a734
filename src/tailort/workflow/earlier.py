"""Earlier courses brought into the patient of today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse
from tailort.geometry import Grid, resample
from tailort.patient import Case, Course, Dose
from tailort.radiobiology.recovery import months_between
from tailort.registration import Registration


def earlier_on(
    case: Case, grid: Grid, registrations: Mapping[str, Registration], today: dt.date | None
) -> tuple[EarlierCourse, ...]:
    """The courses of a case on a grid of today.

    Parameters
    ----------
    case : Case
        With its earlier courses.
    grid : Grid
        In the frame of reference of today's CT.
    registrations : mapping of str to Registration
        From today's frame of reference to that of each course, by the course's label; a course in today's frame needs
        none.
    today : date or None
        From which months are counted; None leaves them unknown.

    Returns
    -------
    tuple of EarlierCourse
        Doses are not a number where a course's dose grid does not reach.

    Raises
    ------
    InputError
        When a course is in another frame of reference and there is no registration for it.
    """
    return tuple(_mapped(course, grid, registrations.get(course.label), today) for course in case.courses)


def _mapped(course: Course, grid: Grid, found: Registration | None, today: dt.date | None) -> EarlierCourse:
    doses = tuple(_on(dose, grid, course.label, found) for dose in course.doses)
    how = "same frame of reference" if found is None else found.method
    return EarlierCourse(course.label, doses, months_since(course.last_fraction, today), how)


def _on(dose: Dose, grid: Grid, label: str, found: Registration | None) -> Dose:
    image = dose.per_course().image
    if image.grid.frame_of_reference == grid.frame_of_reference and found is None:
        mapped = resample(image, grid, np.nan)
    elif found is None:
        raise InputError(
            f"course '{label}' is in frame of reference {image.grid.frame_of_reference}, today's CT in "
            f"{grid.frame_of_reference}: its CT has to be registered with today's first"
        )
    else:
        mapped = found.map_image(image, grid, np.nan)
    # Between two grids interpolation can undershoot 0 by rounding only.
    return replace(dose.per_course(), image=mapped.with_values(np.maximum(mapped.values, 0.0)))


def months_since(day: dt.date | None, today: dt.date | None) -> float | None:
    """Calendar months between two days; None where one is unknown.

    Raises
    ------
    InputError
        When the earlier course ends after today.
    """
    if day is None or today is None:
        return None
    if day > today:
        raise InputError(f"an earlier course that ends on {day} lies after today, {today}; check last_fraction")
    return months_between(day, today)


def require_same_patient(case: Case, others: Sequence[str]) -> None:
    """Refuse courses of another patient.

    Raises
    ------
    InputError
        Naming both identifiers.
    """
    for other in others:
        if other and case.pseudonym and other != case.pseudonym:
            raise InputError(
                f"an earlier course is of patient '{other}', today's images are of '{case.pseudonym}'; if they are the "
                "same person say so with --same-patient"
            )
