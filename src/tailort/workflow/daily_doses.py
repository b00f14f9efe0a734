"""A plan given to the anatomy of a day, and the fractions of several days brought together on today's anatomy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from tailort.errors import InputError
from tailort.geometry import Grid, Image, PatientPosition
from tailort.patient import Case, Dose, Plan, Scan, StructureSet
from tailort.physics import Machine
from tailort.registration import Registration
from tailort.workflow.options import PlanningOptions
from tailort.workflow.recalculating import recalculate

PLANNED = "planning CT"
# A patient who lies turned by more than this against the plan is told about, degrees.
TOLD_TURN_DEG = 1.0


@dataclass(frozen=True, eq=False)
class Day:
    """A scan of the course and the fractions that are counted on its anatomy.

    Parameters
    ----------
    label : str
        For people.
    date : date or None
        Of the scan; None is unknown.
    by_plan : tuple of int
        Given from this scan on until the next one, of each plan of the course.
    """

    label: str
    date: dt.date | None
    by_plan: tuple[int, ...]

    @property
    def fractions(self) -> int:
        """Fractions that are counted on this scan."""
        return sum(self.by_plan)


@dataclass(frozen=True, eq=False)
class OnScan:
    """A plan as it was set up on the scan of a day.

    Parameters
    ----------
    plan : Plan
        In the frame of reference of the scan.
    dose : Dose
        Physical, of one fraction, on the anatomy of the scan.
    """

    plan: Plan
    dose: Dose


def fractions_by_plan(
    dates: Sequence[dt.date | None],
    delivered: Sequence[int],
    recorded: Sequence[Sequence[dt.date | None]],
    planned: Sequence[int],
) -> tuple[tuple[int, ...], ...]:
    """Fractions of each plan of a course that are counted on each scan.

    Parameters
    ----------
    dates : sequence of date or None
        Of the planning CT and of the later ones, in their order.
    delivered : sequence of int
        How many fractions of the course were given before each later scan, where a person says so: they fill one plan
        after the other.
    recorded : sequence of sequence of date or None
        Else the days of the fractions of each plan, by treatment records.
    planned : sequence of int
        Fractions of each plan, in the order in which they are given.

    Returns
    -------
    tuple of tuple of int
        For each scan those of each plan.

    Raises
    ------
    InputError
        As `fractions_by_scan`.

    Examples
    --------
    >>> fractions_by_plan([None, None, None], [10, 27], [], [25, 5])
    ((10, 0), (15, 2), (0, 0))
    """
    if delivered or not any(recorded):
        counts = fractions_by_scan(dates, delivered, sum(planned))
        ends, starts = np.cumsum(counts), np.cumsum(counts) - counts
        last = np.cumsum(planned)
        found = [
            np.clip(ends, high - own, high) - np.clip(starts, high - own, high)
            for own, high in zip(planned, last, strict=True)
        ]
    else:
        none = [0] * len(dates)
        found = [
            np.array(fractions_by_scan(dates, days, own) if days else none)
            for days, own in zip(recorded, planned, strict=True)
        ]
    return tuple(tuple(int(n) for n in of_scan) for of_scan in np.stack(found, axis=1))


def fractions_by_scan(
    dates: Sequence[dt.date | None], given: Sequence[dt.date | int | None], planned: int
) -> tuple[int, ...]:
    """Fractions that are counted on each scan: on the latest one before, or of the day of, each fraction.

    Parameters
    ----------
    dates : sequence of date or None
        Of the planning CT and of the later ones, in their order.
    given : sequence of date, or of int
        The day of each fraction; or how many fractions were given before each later scan, ascending.
    planned : int
        Fractions of the plan.

    Returns
    -------
    tuple of int
        One for each scan; fractions after the last scan are counted on it.

    Raises
    ------
    InputError
        When there are more than planned, none is known, or the counts fall from one scan to the next.

    Examples
    --------
    >>> fractions_by_scan([None, None, None], [5, 12], 30)
    (5, 7, 0)
    """
    if given and all(isinstance(count, int) for count in given):
        counts = [count for count in given if isinstance(count, int)]
        if len(counts) != len(dates) - 1:
            raise InputError(
                f"{len(counts)} number(s) of fractions and {len(dates) - 1} new CT(s) were named; say --delivered once "
                "for each, how many fractions were given before it"
            )
        if min(counts) < 0 or any(b < a for a, b in pairwise(counts)):
            raise InputError(
                f"fractions given before the new CTs, in the order of their dates, are {', '.join(map(str, counts))}; "
                "expected numbers from 0 that never fall"
            )
        _require_planned(counts[-1], planned)
        steps = np.diff([0, *counts]).tolist()
        return (*steps, 0)
    days = [day for day in given if isinstance(day, dt.date)]
    if not days or len(days) < len(given):
        raise InputError(
            "it is not known how many fractions were given: add RT Beams Treatment Records with their dates to the "
            "folder of the plan, or say --delivered N"
        )
    _require_planned(len(days), planned)
    if any(date is None for date in dates[1:]):
        raise InputError("a new CT without a date cannot be placed between the fractions; say --delivered N for each")
    if dates[0] is not None and min(days) < dates[0]:
        raise InputError(
            f"a treatment record is of {min(days)}, before the planning CT of {dates[0]}; take records of another "
            "course out of the folder"
        )
    starts = [date for date in dates[1:] if date is not None]
    found = [0] * len(dates)
    for day in days:
        found[sum(start <= day for start in starts)] += 1
    return tuple(found)


def _require_planned(delivered: int, planned: int) -> None:
    if delivered > planned:
        raise InputError(
            f"{delivered} fractions were delivered and the plan has {planned}; check the records, or --delivered"
        )


def set_up(plan: Plan, found: Registration, position: PatientPosition) -> tuple[Plan, float]:
    """A plan on the scan of a day, as image guidance sets the patient up, and how far he lies turned, degrees.

    Parameters
    ----------
    plan : Plan
        In the frame of reference of the planning CT.
    found : Registration
        From the day's frame to that of the planning CT.
    position : str
        How the patient lies on that day.

    Notes
    -----
    The isocentre lies where the registration's turn and shift has it: the couch brings it there. Beams and couch keep
    their angles, so that a turned patient stays turned.

    Raises
    ------
    InputError
        When the patient lies otherwise than planned.
    """
    if position != plan.patient_position:
        raise InputError(
            f"the plan is for a patient who lies {plan.patient_position}, on the new CT he lies {position}; give a CT "
            "in the position of treatment"
        )
    back = found.rigid.inverse()

    def moved(point_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        x, y, z = (float(c) for c in back.apply(np.asarray(point_mm, dtype=np.float64)))
        return x, y, z

    beams = tuple(replace(beam, isocentre_mm=moved(beam.isocentre_mm)) for beam in plan.beams)
    turn = float(np.degrees(Rotation.from_matrix(np.asarray(found.rigid.affine)[:3, :3]).magnitude()))
    return replace(plan, beams=beams, frame_of_reference=found.from_frame), turn


def dose_on(
    case: Case,
    scan: Scan,
    structures: StructureSet,
    plan: Plan,
    machine: Machine,
    options: PlanningOptions,
    spacing_mm: float,
    tell: Callable[[float], None],
) -> tuple[Dose, tuple[str, ...]]:
    """Physical dose of one fraction of a plan on the scan of a day, Gy, and what a reader must know of it.

    Parameters
    ----------
    case : Case
        Whose identity is used.
    scan, structures : Scan, StructureSet
        Of the day; the outline is needed, and structures whose density a person gives.
    plan : Plan
        In the frame of reference of the scan.
    machine : Machine
        Of its beams.
    options : PlanningOptions
        Of these engine, density table and given densities.
    spacing_mm : float
        Of the dose grid.
    tell : callable
        Called with the share done.
    """
    needed = {name.lower() for name, _ in options.densities}
    kept = tuple(
        s for s in structures
        if s.role in ("EXTERNAL", "BOLUS", "SUPPORT", "FIXATION") or s.name.lower() in needed or s.name == "External"
    )  # fmt: skip
    own = replace(
        case, scans=(scan,), structures=replace(structures, structures=kept, points=()), plans=(plan,), doses=(),
        courses=(), notes=(),
    )  # fmt: skip
    made = recalculate(
        own, machine, engine=options.engine, table=options.density_table, overrides=options.densities,
        spacing_mm=spacing_mm, progress=tell,
    )  # fmt: skip
    values = made.dose.image.values / np.float32(plan.fractions)
    return replace(made.dose, image=made.dose.image.with_values(values), per="fraction"), made.case.notes


def times_fractions(per_fraction: Dose, fractions: int) -> Dose:
    """The dose of so many fractions, Gy of all of them, with their number."""
    values = per_fraction.image.values * np.float32(fractions)
    return replace(per_fraction, image=per_fraction.image.with_values(values), per="course", fractions=fractions)


def brought_here(per_fraction: Dose, found: Registration, today: Dose) -> tuple[Dose, float]:
    """A fraction's dose of another day on today's dose grid, and the volume that it does not reach, cm3.

    Parameters
    ----------
    per_fraction : Dose
        In the frame of reference of that day's scan.
    found : Registration
        From today's frame to that of the day.
    today : Dose
        Of a fraction on today's anatomy: it is counted where that day's does not reach.
    """
    grid: Grid = today.image.grid
    values = found.map_image(per_fraction.image, grid, np.nan).values
    unknown = np.isnan(values)
    # What lies outside of today's body has no dose either.
    beyond_cm3 = float((unknown & (today.image.values > 0)).sum()) * grid.voxel_volume_cm3
    filled = np.where(unknown, today.image.values, np.maximum(values, 0.0)).astype(np.float32)
    return replace(per_fraction, image=Image(grid, filled, "Gy")), beyond_cm3
