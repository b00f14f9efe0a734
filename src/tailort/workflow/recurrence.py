"""A recurrence of today held against every earlier course: in its field, at the margin, or outside."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np

from tailort.evaluation import EarlierCourse, cells_of
from tailort.evaluation.recurrence import PrescribedDose, course_eqd2, share_within_isodose, share_within_volume
from tailort.evaluation.sampling import Cells
from tailort.geometry import Grid, Image, partial_volume, resample
from tailort.patient import Case, Course, Dose, Fact, Structure
from tailort.protocols import Protocol
from tailort.radiobiology.recurrence_fields import field_definitions
from tailort.registration import Registration
from tailort.workflow.earlier import earlier_on
from tailort.workflow.recurrence_places import DEFAULT, RecurrencePlace

# alpha/beta by which phases of unlike fractions are put together, of tumours, Gy; with one phase it changes nothing.
ALPHA_BETA_GY = 10.0
# Spacing of the doses and of earlier targets around a recurrence, and how far they reach beyond it, mm.
SPACING_MM = 2.0
AROUND_MM = 10.0
FACT, RECURS = "recurrence_in_earlier_field", "locoregional_recurrence"


def prescribed_of(course: Course) -> PrescribedDose:
    """What an earlier course prescribed: of its plans, or as a person says, or else not above its highest dose.

    Of several targets of one phase the highest dose counts.
    """
    by_plan = {plan.sop_instance_uid: plan for plan in course.plans if plan.prescriptions}
    plans = [by_plan.get(dose.plan_uid) for dose in course.doses]
    if len(course.doses) == 1 and len(course.plans) == 1 and course.plans[0].prescriptions:
        plans = [course.plans[0]]
    known = [plan for plan in plans if plan is not None]
    if known and len(known) == len(plans):
        return PrescribedDose(tuple((max(p.dose_gy for p in plan.prescriptions), plan.fractions) for plan in known))
    if course.prescribed:
        return PrescribedDose(tuple((phase.dose_gy, phase.fractions) for phase in course.prescribed))
    highest = [(float(np.nanmax(dose.per_course().image.values)), dose.known_fractions()) for dose in course.doses]
    return PrescribedDose(tuple(highest), is_known=False)


def prescribed_today(case: Case, own: Sequence[Dose], protocol: Protocol | None) -> PrescribedDose | None:
    """What is prescribed today: of the plan whose dose it is, or without a dose of the protocol; None is unknown.

    Parameters
    ----------
    case : Case
        With today's plans.
    own : sequence of Dose
        Of the phases of today; may be empty.
    protocol : Protocol or None
        As it is for this patient.
    """
    if own:
        found = prescribed_of(Course("today", case.ct, case.structures, tuple(own), case.plans))
        return found if found.is_known else None
    asked = () if protocol is None else protocol.prescriptions()
    phases = {p.phase: max((q.dose_gy, q.fractions) for q in asked if q.phase == p.phase) for p in asked}
    return PrescribedDose(tuple(phases[number] for number in sorted(phases))) if phases else None


def recurrences_of(
    case: Case, registrations: Mapping[str, Registration], today: dt.date | None = None
) -> tuple[RecurrencePlace, ...]:
    """Hold every gross tumour volume of today against every earlier course, by every definition.

    Parameters
    ----------
    case : Case
        With its earlier courses.
    registrations : mapping of str to Registration
        As in `earlier_on`.
    today : date or None
        As in `earlier_on`.

    Returns
    -------
    tuple of RecurrencePlace
        By tumour volume, then by course as they are listed, then by definition, the default first.
    """
    if not case.courses:
        return ()
    slice_mm = case.ct.image.grid.spacing_mm[0]
    rows: list[RecurrencePlace] = []
    for structure in case.structures:
        if structure.role == "GTV" and not structure.is_empty:
            grid = _around(structure, case.ct.image.grid)
            cells = cells_of(structure, grid, single_slice_thickness_mm=slice_mm)
            mapped = earlier_on(case, grid, registrations, today)
            for course, there in zip(case.courses, mapped, strict=True):
                rows += _places(cells, course, there, registrations.get(course.label), grid)
    return tuple(rows)


def in_earlier_field(rows: Sequence[RecurrencePlace]) -> bool | None:
    """Whether a recurrence lies in an earlier field; None where that is open.

    In the field is what the default definition says of one; outside is only what every definition that could be asked
    says of all.
    """
    if any(row.told == "in field" for row in rows if row.definition == DEFAULT):
        return True
    asked = [row for row in rows if row.share_percent is not None]
    by_default = any(row.definition == DEFAULT for row in asked)
    return False if by_default and all(row.told == "out of field" for row in asked) else None


def with_field_fact(
    case: Case, protocol: Protocol | None, rows: Sequence[RecurrencePlace]
) -> tuple[Case, tuple[str, ...], tuple[str, ...]]:
    """Offer what was found to a protocol that asks for it and whose record does not tell it.

    Parameters
    ----------
    case : Case
        With the clinical record.
    protocol : Protocol or None
        Which may ask for the fact `recurrence_in_earlier_field`.
    rows : sequence of RecurrencePlace
        From `recurrences_of`.

    Returns
    -------
    case, notes, warnings
        The case with the fact where the record leaves it open; what a reader must know; and where the record says
        something else, which stands.
    """
    asked = protocol is not None and any(entry.name == FACT for entry in protocol.file.facts)
    found = in_earlier_field(rows)
    recurs = case.facts.get(RECURS)
    # Residual tumour in an earlier field is no recurrence in it.
    if not asked or not case.facts or not rows or (recurs is not None and recurs.value is False):
        return case, (), ()
    told = case.facts.get(FACT)
    open_ = told is None or told.value is None
    if found is None:
        note = f"'{FACT}' does not follow from the earlier doses: see how each recurrence lies to each course"
        return case, ((note,) if open_ else ()), ()
    words = "true" if found else "false"
    if open_:
        source = f"reconstructed from the earlier doses, by '{DEFAULT}'"
        note = f"'{FACT}' is not in the clinical record; {words} follows from the earlier doses and was used"
        return case.with_facts({**case.facts, FACT: Fact(FACT, found, source)}), (note,), ()
    if told is not None and told.value != found:
        said = "true" if told.value else "false"
        warning = (
            f"the clinical record says that '{FACT}' is {said}, {words} follows from the earlier doses; the record was "
            "used: look at the recurrence and the earlier plan"
        )
        return case, (), (warning,)
    return case, (), ()


def _places(
    cells: Cells, course: Course, there: EarlierCourse, found: Registration | None, grid: Grid
) -> list[RecurrencePlace]:
    dose, prescribed = course_eqd2(there, ALPHA_BETA_GY), prescribed_of(course)
    target = _earlier_target(course, found, grid)
    rows = []
    for definition in field_definitions().values():
        share: tuple[float, float] | None
        reasons: list[str] = []
        if definition.of == "target":
            within = None if target is None else share_within_volume(cells, target)
            share = None if within is None else (within, within)
            reasons += ["no earlier target is drawn"] if target is None else []
        else:
            level_gy = prescribed.level_gy(definition.isodose_percent, ALPHA_BETA_GY)
            share = share_within_isodose(cells, dose, level_gy, at_most=not prescribed.is_known)
            if not prescribed.is_known:
                reasons.append("no prescription of the course is known, only that it is not above its highest dose")
            if share[0] != share[1] and (np.isnan(dose.image.values).any() or dose.least is not None):
                reasons.append("the earlier dose is not known everywhere in the recurrence")
        places = () if share is None else definition.places(*share)
        why = "" if len(places) == 1 else "; ".join(reasons)
        rows.append(RecurrencePlace(cells.name, course.label, definition.id, share, places, why))
    return rows


def _earlier_target(course: Course, found: Registration | None, grid: Grid) -> Image | None:
    """Part of each voxel of a grid of today that lies in an earlier target; None where none is drawn."""
    drawn = [] if course.structures is None else [s for s in course.structures if not s.is_empty]
    targets = [s for s in drawn if s.role == "PTV"] or [s for s in drawn if s.role == "CTV"]
    if not targets or course.scan is None:
        return None
    home = _around_all(targets, course.scan.image.grid)
    thickness_mm = course.scan.image.grid.spacing_mm[0]
    parts = [partial_volume(s.contours, home, single_slice_thickness_mm=thickness_mm).full() for s in targets]
    there = Image(home, np.max(parts, axis=0), "1")
    if found is not None:
        return found.map_image(there, grid, 0.0)
    return resample(there, grid, 0.0) if home.frame_of_reference == grid.frame_of_reference else None


def _around(structure: Structure, grid: Grid) -> Grid:
    return _around_all([structure], grid)


def _around_all(structures: Sequence[Structure], grid: Grid) -> Grid:
    """Part of a CT's grid around structures, at the spacing at which they are compared."""
    corners = np.array([corner for s in structures for corner in s.bounds_mm()])
    ends = np.stack([corners.min(axis=0) - AROUND_MM, corners.max(axis=0) + AROUND_MM])
    index = grid.to_index(ends)
    spacing = np.minimum(SPACING_MM, grid.spacing_mm)
    return grid.crop(np.floor(index.min(axis=0)), np.ceil(index.max(axis=0)) + 1).with_spacing(spacing)
