"""Earlier CTs brought into register with today's, and whether that is good enough to add doses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tailort.errors import InputError
from tailort.geometry import Grid, partial_volume
from tailort.patient import Case, Course, Structure, StructureSet
from tailort.registration import Registration, deformable, quality, rigid, uncertainty
from tailort.registration.records import Quality
from tailort.workflow.clock import StageClock
from tailort.workflow.densities import outline_of

# Spacing at which structures of both scans are compared, mm.
COMPARED_MM = 3.0
# Beyond a structure, so that its mapped surface is seen too, mm.
AROUND_MM = 20.0
# The overlap of smaller structures says more of the voxels than of the registration, cm3.
LEAST_CM3 = 10.0
# Volumes that a person or a recipe chose, and outlines, show no anatomy that both scans have.
_ANATOMY = ("ORGAN", "AVOIDANCE")


def register_courses(
    case: Case, clock: StageClock, *, insist: bool = False, stop: Callable[[], bool] = lambda: False
) -> dict[str, Registration]:
    """Registration from today's CT to that of each earlier course in another frame of reference, by its label.

    Parameters
    ----------
    case : Case
        With its earlier courses.
    clock : StageClock
        Times the stages.
    insist : bool
        Whether registrations that fail their own quality check are used all the same.
    stop : callable
        Whether a person wants to stop.

    Raises
    ------
    InputError
        When a course has no CT to register, scans do not overlap, or a registration fails its quality check.
    StoppedError
        When a person stopped it.
    """
    frame = case.ct.image.grid.frame_of_reference
    found: dict[str, Registration] = {}
    for course in case.courses:
        theirs = {dose.image.grid.frame_of_reference for dose in course.doses}
        if theirs == {frame}:
            continue
        made = _registered(case, course, clock, stop)
        failed = failures(made)
        if failed and not insist:
            raise InputError(
                f"the registration of course '{course.label}' with today's CT fails its own check "
                f"({'; '.join(failed)}), so doses are not added; look at the scans, or say --insist, which the report "
                "then tells first"
            )
        found[course.label] = made
    return found


def failures(registration: Registration) -> list[str]:
    """What of a registration's quality lies beyond its limit, in words; nothing where all holds or none was judged."""
    if registration.quality is None:
        return []
    return [f"{m.name} {m.value:.3g}, limit {m.operator} {m.limit:g}" for m in registration.quality.failed if m.limit]


def warnings_of(registrations: Mapping[str, Registration]) -> tuple[str, ...]:
    """What belongs on the first page of a report: registrations that fail and are used because a person insisted."""
    return tuple(
        f"the registration of course '{label}' fails its own check ({'; '.join(failed)}); doses were added because a "
        "person insisted"
        for label, found in registrations.items()
        if (failed := failures(found))
    )


def _registered(case: Case, course: Course, clock: StageClock, stop: Callable[[], bool]) -> Registration:
    if course.scan is None:
        raise InputError(f"course '{course.label}' is in another frame of reference and has no CT to register")
    today, earlier = case.ct.image, course.scan.image
    with clock.stage(f"register {course.label}, rigid") as tell:
        start = rigid(today, earlier, metric="correlation", tell=tell, stop=stop)
    with clock.stage(f"register {course.label}, deformable") as tell:
        forward = deformable(today, earlier, start, tell=lambda share: tell(0.5 * share), stop=stop)
        backward = deformable(earlier, today, start.inverse(), tell=lambda share: tell(0.5 + 0.5 * share), stop=stop)
    with clock.stage(f"check registration {course.label}"):
        body = partial_volume(outline_of(case.structures).contours, today.grid).full() >= 0.5
        measured = quality.jacobian(forward) + quality.consistency(forward, backward, today.grid, body)
        measured += _structures(forward, case.structures, course, today.grid, earlier.grid)
        return forward.judged(measured, uncertainty.estimate(today, earlier, forward, backward))


def _structures(forward: Registration, today: StructureSet, course: Course, grid: Grid, earlier_grid: Grid) -> Quality:
    """How structures that are drawn on both scans agree."""
    measured = Quality(())
    for structure in today:
        other = None if course.structures is None else course.structures.find(structure.name)
        if structure.is_empty or structure.role not in _ANATOMY or other is None or other.is_empty:
            continue
        here, there = _around(structure, grid), _around(other, earlier_grid)
        mine, its = partial_volume(structure.contours, here), partial_volume(other.contours, there)
        if min(mine.volume_cm3(here), its.volume_cm3(there)) >= LEAST_CM3:
            ours, theirs = {structure.name: mine.full() >= 0.5}, {structure.name: its.full() >= 0.5}
            measured += quality.structures(forward, ours, theirs, here, there)
    return measured


def _around(structure: Structure, grid: Grid) -> Grid:
    """Part of a grid around a structure, at the spacing at which structures are compared."""
    low, high = structure.bounds_mm()
    index = grid.to_index(np.stack([low - AROUND_MM, high + AROUND_MM]))
    return grid.crop(np.floor(index.min(axis=0)), np.ceil(index.max(axis=0)) + 1).with_spacing(COMPARED_MM)
