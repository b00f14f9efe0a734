"""Earlier courses brought into the patient of today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse
from tailort.geometry import Grid, Image, resample
from tailort.patient import Case, Course, Dose, StructureSet
from tailort.radiobiology.recovery import months_between
from tailort.registration import Registration
from tailort.registration.sampling import drawn_images
from tailort.workflow.bounding import bounded_doses, without_counterpart

BOUNDED = "only a prescription is known: from 0 to the most that it can be"


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
        Doses are not a number where a course's dose grid does not reach, and known by bounds where only a prescription
        is known or tissue has no counterpart.

    Raises
    ------
    InputError
        When a course is in another frame of reference and there is no registration for it.
    """
    return tuple(_mapped(case, course, grid, registrations.get(course.label), today) for course in case.courses)


def drawn_on(
    case: Case, grid: Grid, registrations: Mapping[str, Registration], today: dt.date | None, count: int, seed: int
) -> Iterator[tuple[EarlierCourse, ...]]:
    """The courses of a case on a grid of today, by so many draws of what their registrations may be off.

    Parameters
    ----------
    case, grid, registrations, today
        As in `earlier_on`. Courses without a registration, or one whose uncertainty is not known, stay where they are.
    count, seed : int
        Of the draws; every course is drawn by itself.

    Yields
    ------
    tuple of EarlierCourse
        Of one draw.
    """
    own = earlier_on(case, grid, registrations, today)
    draws: list[Iterator[tuple[Image, ...]] | None] = []
    for course in case.courses:
        found = registrations.get(course.label)
        images = [dose.per_course().image for dose in course.doses]
        unsure = found is not None and found.uncertainty is not None
        own_seed = seed_of(case, course, seed)
        draws.append(drawn_images(found, images, grid, np.nan, count, own_seed) if found and unsure else None)
    for _ in range(count):
        yield tuple(
            course if drawn is None else _drawn(case, given, course, next(drawn))
            for given, course, drawn in zip(case.courses, own, draws, strict=True)
        )


def seed_of(case: Case, course: Course, seed: int) -> int:
    """Seed of a course's draws: by its label, so that the order in which courses are named draws nothing else."""
    return seed + sorted(each.label for each in case.courses).index(course.label)


def _drawn(case: Case, given: Course, course: EarlierCourse, images: tuple[Image, ...]) -> EarlierCourse:
    doses = [
        replace(dose, image=image.with_values(np.maximum(image.values, 0.0)), least=None)
        for dose, image in zip(course.doses, images, strict=True)
    ]
    return replace(course, doses=without_counterpart(doses, given, *_today(case)))


def _mapped(case: Case, course: Course, grid: Grid, found: Registration | None, today: dt.date | None) -> EarlierCourse:
    months = months_since(course.last_fraction, today)
    if not course.doses:
        return EarlierCourse(course.label, bounded_doses(course, *_today(case), grid), months, BOUNDED)
    doses = [_on(dose, grid, course.label, found) for dose in course.doses]
    how = "same frame of reference" if found is None else found.method
    known = without_counterpart(doses, course, *_today(case))
    return EarlierCourse(course.label, known, months, how)


def _today(case: Case) -> tuple[StructureSet, float]:
    """What is drawn today, and the slice distance of the CT."""
    return case.structures, case.ct.image.grid.spacing_mm[0]


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


def bounded_warnings(case: Case) -> tuple[str, ...]:
    """What belongs on the first page of a report: courses of which only the prescription is known."""
    return tuple(
        f"the dose of course '{course.label}' is not known, only its prescription: tables give the least and the most "
        "that each organ can have had, pictures and histograms show the most"
        for course in case.courses
        if not course.doses
    )


def phase_doses(doses: Sequence[Dose], what: str) -> tuple[Dose, ...]:
    """Doses of a course's phases, each once: a sum beside them says the same again.

    Parameters
    ----------
    doses : sequence of Dose
        As they were read.
    what : str
        Whose, for people.

    Raises
    ------
    InputError
        When several doses are of one plan, or name none.
    """
    of_plans = tuple(dose for dose in doses if dose.plan_uid)
    if len(doses) <= 1:
        return tuple(doses)
    if len(doses) - len(of_plans) <= 1 and len({dose.plan_uid for dose in of_plans}) == len(of_plans):
        return of_plans
    raise InputError(
        f"{what} has {len(doses)} doses that cannot be told apart; leave one dose of each phase, each with its RTPLAN"
    )


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
