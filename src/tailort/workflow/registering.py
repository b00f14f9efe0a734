"""Earlier CTs brought into register with today's, and whether that is good enough to add doses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError, MissingStructureError
from tailort.geometry import Grid, Image, partial_volume, resample
from tailort.patient import Case, Course, RegistrationOptions, Structure, StructureSet
from tailort.registration import Registration, deformable, quality, rigid, uncertainty
from tailort.registration.records import Measure, Quality
from tailort.registration.scan import Stop, Tell, look_at
from tailort.registration.turn_and_shift import Metric
from tailort.workflow.clock import StageClock
from tailort.workflow.densities import outline_of
from tailort.workflow.registration_options import RegistrationMasks, masks_of

# Spacing at which structures of both scans are compared, mm.
COMPARED_MM = 3.0
# Beyond a structure, so that its mapped surface is seen too, mm.
AROUND_MM = 20.0
# The overlap of smaller structures says more of the voxels than of the registration, cm3.
LEAST_CM3 = 10.0
# Less of a tumour in a structure is the edge of its neighbour, cm3.
TUMOUR_CM3 = 1.0
# Volumes that a person or a recipe chose, and outlines, show no anatomy that both scans have.
_ANATOMY = ("ORGAN", "AVOIDANCE")


def register_courses(
    case: Case,
    clock: StageClock,
    *,
    given: Mapping[str, Registration] | None = None,
    insist: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Registration]:
    """Registration from today's CT to that of each earlier course in another frame of reference, by its label.

    Parameters
    ----------
    case : Case
        With its earlier courses.
    clock : StageClock
        Times the stages.
    given : mapping of str to Registration, or None
        By the course's label: registrations that came with the scans and are used in place of finding one.
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
        # A course that is known by its prescription only is bounded where it lay.
        if theirs <= {frame}:
            if course.registration != RegistrationOptions():
                raise InputError(
                    f"course '{course.label}' has no dose in another frame of reference than that of today's CT, so it "
                    "is not registered; leave 'registration' out of its course.yaml"
                )
            continue
        if given is not None and course.label in given:
            made = judged_given(case, course, given[course.label], clock, stop)
        else:
            made = registration_of(case, course, clock, stop)
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
    return [f"{m.name} {m.value:.3g}, limit {m.operator} {m.limit:g}" for m in registration.quality.failed]


def warnings_of(registrations: Mapping[str, Registration]) -> tuple[str, ...]:
    """What belongs on the first page of a report: registrations that fail and are used because a person insisted.

    So do those that came with the scans and could not be checked.
    """
    failing = tuple(
        f"the registration of course '{label}' fails its own check ({'; '.join(failed)}); doses were added because a "
        "person insisted"
        for label, found in registrations.items()
        if (failed := failures(found))
    )
    unchecked = tuple(
        f"the registration of course '{label}' was taken as it came and could not be checked: that needs the CT of "
        f"that course, and structures of {LEAST_CM3:g} cm3 or more that are drawn on both scans"
        for label, found in registrations.items()
        if found.quality is None or found.quality.verdict == "report"
    )
    return failing + unchecked


def registration_of(
    case: Case, course: Course, clock: StageClock, stop: Callable[[], bool], metric: Metric = "correlation"
) -> Registration:
    """Registration from today's CT to that of one earlier course, as its `registration` asks for, measured.

    Parameters
    ----------
    case, course : Case, Course
        With both CTs and what is drawn on them.
    clock, stop
        As in `register_courses`.
    metric : {"correlation", "mean squares", "mutual information"}
        What is compared for the turn and shift; "mutual information" for an MR or PET in place of the CT.

    Raises
    ------
    InputError
        When the course has no CT, a structure that was chosen is not drawn, or the scans do not overlap.
    StoppedError
        When a person stopped it.

    Notes
    -----
    A registration without bend may be off by what tissue has bent: a deformable one is made beside it, and the length
    of its displacement is added in squares to its own uncertainty. Where that cannot be made nothing is known.
    """
    if course.scan is None:
        there = ", ".join(sorted({dose.image.grid.frame_of_reference for dose in course.doses}))
        raise InputError(
            f"course '{course.label}' has no CT, and its dose is in frame of reference {there}, today's CT in "
            f"{case.ct.image.grid.frame_of_reference}: add the CT on which it was planned, so that it can be "
            "registered, or a DICOM registration between the two"
        )
    today, earlier, chosen = case.ct.image, course.scan.image, course.registration
    masks = masks_of(chosen, case.structures, course.structures, today.grid, earlier.grid, course.label)
    with clock.stage(f"register {course.label}, rigid") as tell:
        start = rigid(today, earlier, metric=metric, mask=masks.region, tell=tell, stop=stop)
    is_rigid = chosen.method == "rigid"
    with clock.stage(f"register {course.label}, {'rigid, the way back' if is_rigid else 'deformable'}") as tell:
        if is_rigid:
            forward, backward = start, _rigid_back(today, earlier, start, masks, metric, tell, stop)
        else:
            forward, backward = _bent(today, earlier, start, masks, tell, stop)
    unsure: Image | None
    if is_rigid:
        with clock.stage(f"see how much {course.label} bends") as tell:
            unsure = _unsure_without_bend(today, earlier, start, masks, tell, stop)
    with clock.stage(f"check registration {course.label}"):
        if not is_rigid:
            unsure = uncertainty.estimate(today, earlier, forward, backward)
        body = body_of(case)
        seen = body if masks.without is None else body & ~masks.without
        measured = Quality(()) if is_rigid else quality.jacobian(forward)
        measured += quality.consistency(forward, backward, today.grid, seen)
        measured += _structures(forward, case.structures, course, today.grid, earlier.grid)
        if chosen.region is not None:
            forward = replace(forward, method=f"{forward.method}; by {chosen.region}")
        if unsure is None:
            forward = replace(forward, method=f"{forward.method}; how far it is known was not found out")
        return forward.judged(measured, unsure)


def judged_given(
    case: Case, course: Course, given: Registration, clock: StageClock, stop: Callable[[], bool]
) -> Registration:
    """A registration that came with the scans, measured like our own as far as the scans allow.

    Parameters
    ----------
    case, course : Case, Course
        With both CTs and what is drawn on them; a course without a CT leaves the registration without a judgement.
    given : Registration
        From today's frame of reference to that of the course.
    clock, stop
        As in `register_courses`.

    Raises
    ------
    InputError
        When the course's own choices ask for another registration, or the displacement does not reach today's body.
    StoppedError
        When a person stopped it.

    Notes
    -----
    The way back is found here, by itself. A displacement has to agree with it like our own; a rigid registration was
    perhaps made for one region, so its round trip is only reported. Where the way back cannot be found, nothing is
    known of how far the registration may be off.
    """
    if replace(course.registration, without=()) != RegistrationOptions():
        raise InputError(
            f"course '{course.label}' comes with a registration ({given.method}) and its course.yaml asks for another "
            "one; leave one of them out"
        )
    if course.scan is None:
        return replace(given, method=f"{given.method}; could not be checked without the CT of that course")
    today, earlier = case.ct.image, course.scan.image
    masks = masks_of(course.registration, case.structures, course.structures, today.grid, earlier.grid, course.label)
    with clock.stage(f"check the given registration {course.label}") as tell:
        body = body_of(case)
        seen = body if masks.without is None else body & ~masks.without
        measured = Quality(())
        if given.displacement is not None:
            measured += _displacement(given, Image(today.grid, seen.astype(np.float32), "1"))
        measured += _structures(given, case.structures, course, today.grid, earlier.grid)
        unsure: Image | None = None
        try:
            back = rigid(earlier, today, metric="correlation", stop=stop)
            if given.displacement is not None:
                back = deformable(earlier, today, back, without=masks.without_before, tell=tell, stop=stop)
                unsure = uncertainty.estimate(today, earlier, given, back)
            else:
                unsure = _unsure_without_bend(today, earlier, given, masks, tell, stop)
            trip = quality.consistency(given, back, today.grid, seen)
            measured += trip if given.displacement is not None else _reported(trip)
        except InputError:
            given = replace(given, method=f"{given.method}; how far it is known was not found out")
        return given.judged(measured, unsure)


def _displacement(given: Registration, body: Image) -> Quality:
    """Jacobian within the body, and how much of the body the displacement reaches."""
    field = given.displacement
    assert field is not None
    within = resample(body, field.grid, 0.0).values >= 0.5
    if not within.any():
        raise InputError(f"the displacement of the registration ({given.method}) does not reach today's body")
    index = field.grid.to_index(body.grid.to_world(np.argwhere(body.values > 0.5)))
    reached = ((index >= -0.5) & (index <= np.array(field.grid.shape) - 0.5)).all(axis=-1).mean()
    return quality.jacobian(given, within) + Quality(
        (Measure("body that the displacement is told for [%]", 100.0 * float(reached)),)
    )


def _reported(measured: Quality) -> Quality:
    """The same values without limits."""
    return Quality(tuple(Measure(m.name, m.value) for m in measured.measures))


def _rigid_back(
    today: Image, earlier: Image, start: Registration, masks: RegistrationMasks, metric: Metric, tell: Tell, stop: Stop
) -> Registration:
    """The rigid registration the other way round, found by itself, of the same region."""
    region = None
    if masks.region is not None:
        there = start.inverse().map_image(Image(today.grid, masks.region.astype(np.float32), "1"), earlier.grid, 0.0)
        region = there.values >= 0.5
    return rigid(earlier, today, metric=metric, mask=region, tell=tell, stop=stop)


def _bent(
    today: Image, earlier: Image, start: Registration, masks: RegistrationMasks, tell: Tell, stop: Stop
) -> tuple[Registration, Registration]:
    """Deformable registrations there and back, each found by itself."""
    forward = deformable(
        today, earlier, start, guides=masks.guides, without=masks.without, sliding=masks.sliding,
        tell=lambda share: tell(0.5 * share), stop=stop,
    )  # fmt: skip
    backward = deformable(
        earlier, today, start.inverse(), guides=masks.guides_back, without=masks.without_before,
        sliding=masks.sliding_back, tell=lambda share: tell(0.5 + 0.5 * share), stop=stop,
    )  # fmt: skip
    return forward, backward


def _unsure_without_bend(
    today: Image, earlier: Image, start: Registration, masks: RegistrationMasks, tell: Tell, stop: Stop
) -> Image | None:
    """Standard deviation of a rigidly mapped point, mm; None where the bend cannot be found."""
    try:
        forward, backward = _bent(today, earlier, start, masks, tell, stop)
    except InputError:
        return None
    known = uncertainty.estimate(today, earlier, forward, backward)
    assert forward.displacement is not None
    bend_mm = np.linalg.norm(forward.displacement.on(known.grid).vectors_mm, axis=-1)
    return known.with_values(np.hypot(known.values, bend_mm).astype(np.float32))


def _structures(forward: Registration, today: StructureSet, course: Course, grid: Grid, earlier_grid: Grid) -> Quality:
    """How structures that are drawn on both scans agree, but for those without a counterpart.

    One with a tumour in it, then or now, has changed in earnest: how it agrees is told and not judged.
    """
    measured = Quality(())
    apart = {name.lower() for name in course.registration.without}
    for structure in today:
        other = None if course.structures is None else course.structures.find(structure.name)
        if structure.is_empty or structure.role not in _ANATOMY or other is None or other.is_empty:
            continue
        if structure.name.lower() in apart:
            continue
        here, there = _around(structure, grid), _around(other, earlier_grid)
        mine = partial_volume(
            structure.contours, here, step_mm=COMPARED_MM, single_slice_thickness_mm=grid.spacing_mm[0]
        )
        its = partial_volume(
            other.contours, there, step_mm=COMPARED_MM, single_slice_thickness_mm=earlier_grid.spacing_mm[0]
        )
        if min(mine.volume_cm3(here), its.volume_cm3(there)) >= LEAST_CM3:
            ours, theirs = {structure.name: mine.full() >= 0.5}, {structure.name: its.full() >= 0.5}
            found = quality.structures(forward, ours, theirs, here, there)
            if _holds_tumour(today, ours[structure.name], here, grid.spacing_mm[0]) or _holds_tumour(
                course.structures, theirs[structure.name], there, earlier_grid.spacing_mm[0]
            ):
                told = (replace(m, name=f"{m.name}, tumour there", operator="", limit=None) for m in found.measures)
                found = Quality(tuple(told))
            measured += found
    return measured


def _holds_tumour(structures: StructureSet | None, mask: NDArray[np.bool_], grid: Grid, slice_mm: float) -> bool:
    """Whether a drawn tumour lies in a structure with a good part of it."""
    for tumour in structures or ():
        if tumour.role == "GTV" and not tumour.is_empty:
            volume = partial_volume(tumour.contours, grid, step_mm=COMPARED_MM, single_slice_thickness_mm=slice_mm)
            shared = mask & (volume.full() >= 0.5)
            if shared.sum() * grid.voxel_volume_cm3 >= TUMOUR_CM3:
                return True
    return False


def body_of(case: Case) -> NDArray[np.bool_]:
    """Voxels of the body on the planning CT, (k, j, i): as drawn, or as it shows where nobody has drawn it."""
    image = case.ct.image
    try:
        outline = outline_of(case.structures)
    except MissingStructureError:
        return look_at(image, "today's scan").body
    return np.asarray(partial_volume(outline.contours, image.grid).full() >= 0.5)


def _around(structure: Structure, grid: Grid) -> Grid:
    """Part of a grid around a structure, at the spacing at which structures are compared."""
    low, high = structure.bounds_mm()
    index = grid.to_index(np.stack([low - AROUND_MM, high + AROUND_MM]))
    return grid.crop(np.floor(index.min(axis=0)), np.ceil(index.max(axis=0)) + 1).with_spacing(COMPARED_MM)
