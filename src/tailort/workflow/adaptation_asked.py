"""What a person asks of an adaptation, and what of it cannot be."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, partial_volume, volume_cm3
from tailort.patient import Case, Course, Plan, StructureSet
from tailort.physics import DensityTable, Machine
from tailort.protocols import Protocol
from tailort.registration import Registration
from tailort.workflow.cone_beam import HuCorrection
from tailort.workflow.options import DOSE_GRID_MM, PlanningOptions
from tailort.workflow.recalculating import dose_of_plan, only_plan

Replan = Literal["yes", "no", "if-triggered"]
# A target may come so close to the end of a CT, mm.
FROM_END_MM = 5.0
# An organ holds a tumour of which this share lies in it, seen in steps of so many mm; a tumour drawn anew is told of
# from this change of its volume on.
HELD_SHARE, HELD_STEP_MM, HELD_CHANGE_PERCENT = 0.5, 2.0, 10.0


@dataclass(frozen=True)
class NewScan:
    """A CT of a day of the course.

    Parameters
    ----------
    label : str
        For people.
    case : Case
        Its CT and, where a person has drawn on it, structures; facts of a record of that day.
    date : date or None
        Of the CT; None is unknown.
    delivered : int or None
        Fractions that were given before it, as a person says; None leaves it to treatment records.
    """

    label: str
    case: Case
    date: dt.date | None
    delivered: int | None = None


@dataclass(frozen=True, eq=False)
class Asked:
    """What a person asks of an adaptation.

    Parameters
    ----------
    planned : Case
        Planning CT, structures, the plan and, where there is one, its dose; facts of the clinical record.
    new : tuple of NewScan
        CTs of the course; their order does not matter where they have dates.
    fraction_dates : dict of tuple of date or None
        The days of the fractions of each plan by treatment records, by the UID of the plan; empty where each new scan
        tells its own number.
    triggers : Protocol
        Whose triggers are asked.
    protocol : Protocol or None
        By which the course was planned.
    machine : Machine
        Of the plan's beams.
    options : PlanningOptions
        For doses and for the new plan.
    replan : {"yes", "no", "if-triggered"}
        Whether what is left is planned anew.
    hu_correction : {"table", "histogram", "none"} or None
        Of all new scans; None is for CTs.
    new_table : DensityTable, str or None
        Of the new scans, where it is not that of the planning CT.
    weight_kg : float or None
        Of today; None takes that of today's record.
    insist : bool
        Whether registrations that fail their own check are used.
    given : mapping of str to Registration
        Registrations that came with the scans, by the label of the scan or of the earlier course.
    earlier : tuple of Course
        Earlier courses: limits on all courses hold on the sum.
    plans : tuple of str
        Labels of the plans of the course in the order in which they are given; empty where the case has one, or its
        plans tell their phases.
    """

    planned: Case
    new: tuple[NewScan, ...]
    fraction_dates: Mapping[str, tuple[dt.date | None, ...]]
    triggers: Protocol
    protocol: Protocol | None
    machine: Machine
    options: PlanningOptions
    replan: Replan = "if-triggered"
    hu_correction: HuCorrection | None = None
    new_table: DensityTable | str | None = None
    weight_kg: float | None = None
    insist: bool = False
    given: Mapping[str, Registration] = field(default_factory=dict)
    earlier: tuple[Course, ...] = ()
    plans: tuple[str, ...] = ()


def plans_of_course(planned: Case, labels: Sequence[str] = ()) -> tuple[Plan, ...]:
    """The plans of a course in the order in which they are given.

    Parameters
    ----------
    planned : Case
        With its plans.
    labels : sequence of str
        Of these plans, in order, as a person says; empty goes by the phases that they tell.

    Raises
    ------
    InputError
        When there is none, a label is not that of one plan, or nobody tells which of several is given first.
    """
    found = planned.plans
    if labels:
        known = [plan.label for plan in found]
        for label in labels:
            if known.count(label) != 1 or labels.count(label) != 1:
                raise InputError(
                    f"--plan '{label}' is said {labels.count(label)} time(s) and is the label of {known.count(label)} "
                    f"plan(s) of the case; name each of its plans once: {', '.join(known) or '(none)'}"
                )
        return tuple(found[known.index(label)] for label in labels)
    if len(found) < 2:
        return (only_plan(planned),)
    phases = [{p.phase for p in plan.prescriptions} for plan in found]
    numbers = [min(own) for own in phases if len(own) == 1]
    if len(set(numbers)) < len(found):
        told = ", ".join(f"'{plan.label}'" for plan in found)
        raise InputError(
            f"the case has {len(found)} plans ({told}), which do not tell which of them is given first; name those of "
            "the course in their order, each with --plan LABEL"
        )
    return tuple(plan for _, plan in sorted(zip(numbers, found, strict=True), key=lambda pair: pair[0]))


def days_of_fractions(asked: Asked, plans: Sequence[Plan]) -> tuple[tuple[dt.date | None, ...], ...]:
    """Days of the fractions of each plan by treatment records; a record that names no plan is of the only one.

    Raises
    ------
    InputError
        When fractions name no plan and there are several.
    """
    unnamed = asked.fraction_dates.get("", ())
    if unnamed and len(plans) > 1:
        raise InputError(
            f"{len(unnamed)} treatment record(s) do not tell which of the {len(plans)} plans they are of; count the "
            "fractions by hand and say --delivered N"
        )
    return tuple((*asked.fraction_dates.get(plan.sop_instance_uid, ()), *unnamed) for plan in plans)


def require_known(planned: Case, plan: Plan) -> None:
    """Refuse a plan that lies elsewhere than the planning CT."""
    frame = planned.ct.image.grid.frame_of_reference
    if plan.frame_of_reference != frame:
        raise GeometryError(
            f"plan '{plan.label}' is in frame of reference {plan.frame_of_reference}, the planning CT in {frame}: give "
            "the CT on which the plan was made"
        )


def date_of(case: Case) -> dt.date | None:
    """Day of the scan's study."""
    told = case.person.study_date
    try:
        return dt.datetime.strptime(told, "%Y%m%d").date() if told else None
    except ValueError as error:
        raise InputError(f"the study date '{told}' of '{case.pseudonym}' is no date; expected YYYYMMDD") from error


def in_order(planned: Case, new: Sequence[NewScan]) -> tuple[NewScan, ...]:
    """New scans by their dates, all of the planned patient and none before the planning CT."""
    if not new:
        raise InputError("there is no CT of the course; name the folder of today's with --new DIR")
    start = date_of(planned)
    for scan in new:
        if scan.date is not None and start is not None and scan.date < start:
            raise InputError(
                f"{scan.label} is of {scan.date}, before the planning CT of {start}; name the folder of the plan first "
                "and the CTs of the course with --new"
            )
    told = [scan.delivered for scan in new]
    if any(count is None for count in told) and not all(count is None for count in told):
        raise InputError("fractions are told for some of the new CTs only; say --delivered once for each of them")
    if len(new) == 1:
        return tuple(new)
    dates = [scan.date for scan in new if scan.date is not None]
    if len(dates) < len(new):
        raise InputError("of several new CTs each needs a date, by which they are put in order; name one of them only")
    if len(set(dates)) < len(dates):
        raise InputError(f"two new CTs are of one day, {max(dates, key=dates.count)}; name one of them only")
    return tuple(sorted(new, key=lambda scan: scan.date or dt.date.min))


def require_held(planned: Case, plans: Sequence[Plan], back: Registration, today: Case) -> None:
    """Refuse a CT of today that does not hold the targets, by the turn and shift of the registration."""
    wanted = {p.target.lower() for plan in plans for p in plan.prescriptions}
    ct = today.ct.image.grid
    low, high = ct.faces_mm()
    for structure in planned.structures:
        if structure.is_empty or (structure.name.lower() not in wanted and structure.role not in ("GTV", "CTV", "PTV")):
            continue
        points = back.rigid.inverse().apply(np.concatenate(structure.contours))
        outside = ((points < low - FROM_END_MM) | (points > high + FROM_END_MM)).any(axis=1)
        if outside.any():
            z = points[:, 2]
            raise InputError(
                f"today's CT does not hold target '{structure.name}', which lies from z {z.min():.0f} to "
                f"{z.max():.0f} mm there while the CT reaches from {low[2]:.0f} to {high[2]:.0f} mm; give a CT that "
                "covers all targets"
            )


def beyond_today(planned: StructureSet, carried: StructureSet, back: Registration, today: Image) -> tuple[str, ...]:
    """Organs that were carried to a CT which ends within them, by the turn and shift of the registration.

    Parameters
    ----------
    planned, carried : StructureSet
        On the planning CT and on today's.
    back : Registration
        From today's frame to that of the planning CT.
    today : Image
        Its CT.
    """
    low, high = today.grid.faces_mm()
    to_today = back.rigid.inverse()
    found = []
    for structure in carried:
        before = planned.find(structure.name)
        if not structure.made_by or structure.is_empty or structure.role == "EXTERNAL":
            continue
        if before is None or before.is_empty:
            continue
        points = to_today.apply(np.concatenate(before.contours))
        if ((points < low - FROM_END_MM) | (points > high + FROM_END_MM)).any():
            found.append(structure.name)
    return tuple(found)


def around_drawn_tumours(planned: StructureSet, today: StructureSet, slice_mm: tuple[float, float]) -> tuple[str, ...]:
    """Say which organs are carried although a tumour in them was drawn anew, and smaller or larger.

    Parameters
    ----------
    planned, today : StructureSet
        On the planning CT and on today's.
    slice_mm : (2,) float
        Slice distances of both.

    Notes
    -----
    A registration sees a part of a tumour's shrinking only, as what moves into its place looks alike. So a carried
    organ keeps tissue in the high dose that is gone, and its mean dose is told too high.
    """
    found = []
    for gtv in planned:
        now = today.find(gtv.name)
        if gtv.role != "GTV" or gtv.is_empty or now is None or now.is_empty or now.made_by:
            continue
        volumes = [
            volume_cm3(s.contours, single_slice_thickness_mm=mm) for s, mm in zip((gtv, now), slice_mm, strict=True)
        ]
        change = 100.0 * (volumes[1] / volumes[0] - 1.0)
        if abs(change) < HELD_CHANGE_PERCENT:
            continue
        low, high = gtv.bounds_mm()
        box = Grid.axial(
            np.ceil((np.asarray(high) - low)[::-1] / HELD_STEP_MM).astype(int) + 1, (HELD_STEP_MM,) * 3, low,
            gtv.frame_of_reference,
        )  # fmt: skip
        inside = partial_volume(gtv.contours, box, single_slice_thickness_mm=slice_mm[0]).full()
        for organ in planned:
            carried = today.find(organ.name)
            if organ.role != "ORGAN" or organ.is_empty or carried is None or not carried.made_by:
                continue
            own = partial_volume(organ.contours, box, single_slice_thickness_mm=slice_mm[0]).full()
            if np.minimum(inside, own).sum() >= HELD_SHARE * inside.sum():
                found.append(
                    f"{organ.name} is carried and holds {gtv.name}, which was drawn {abs(change):.0f} % "
                    f"{'smaller' if change < 0 else 'larger'}: the registration sees a part of that only, and the mean "
                    f"dose of {organ.name} is likely told too {'high' if change < 0 else 'low'}; draw it anew"
                )
    return tuple(found)


def spacing_of(asked: Asked) -> float:
    """Spacing of all dose grids: a person's, else that of the planned dose to a tenth of a mm, else 3 mm."""
    if asked.options.dose_grid_mm is not None:
        return asked.options.dose_grid_mm
    given = dose_of_plan(asked.planned, plans_of_course(asked.planned, asked.plans)[0])
    return DOSE_GRID_MM if given is None else round(float(np.mean(given.image.grid.spacing_mm)), 1)
