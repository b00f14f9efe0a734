"""Earlier courses by draws of their registrations: what a plan that is robust against them has to hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse
from tailort.geometry import Grid
from tailort.patient import Case, Constraint, StructureSet
from tailort.registration import Registration
from tailort.workflow.earlier import drawn_on
from tailort.workflow.options import PlanningOptions
from tailort.workflow.parts import part_around

# Other draws than those by which ranges are told.
SEED = 10_000


def drawn_courses(
    case: Case,
    structures: StructureSet,
    constraints: Sequence[Constraint],
    grid: Grid,
    registrations: Mapping[str, Registration],
    options: PlanningOptions,
) -> tuple[tuple[EarlierCourse, ...], ...]:
    """Return the earlier courses by as many draws of their registrations as a person asked for.

    Parameters
    ----------
    case : Case
        With its earlier courses.
    structures : StructureSet
        Those with contours count.
    constraints : sequence of Constraint
        On structures that are drawn; those on all courses count.
    grid : Grid
        Of the dose.
    registrations : mapping of str to Registration
        As for `earlier_on`.
    options : PlanningOptions
        How many draws.

    Returns
    -------
    tuple of tuple of EarlierCourse
        Of each draw, on the part of the grid that holds the structures with limits on all courses.

    Raises
    ------
    InputError
        When there is no registration to draw from, or no limit that it could break.
    """
    if not options.registration_scenarios:
        return ()
    unsure = [
        course.label
        for course in case.courses
        if (found := registrations.get(course.label)) is not None and found.uncertainty is not None
    ]
    if not unsure:
        raise InputError(
            "--registration-scenarios draws registrations within their uncertainty, and no earlier course has one: "
            "leave it out, or name a course in another frame of reference with --prior"
        )
    limited = [structures[name] for name in dict.fromkeys(c.structure for c in constraints if c.scope == "cumulative")]
    if not limited:
        raise InputError(
            "--registration-scenarios holds limits over all courses in every draw, and the protocol has none on "
            "structures that are there; leave it out"
        )
    part = part_around(grid, limited)
    return tuple(drawn_on(case, part, registrations, options.today, options.registration_scenarios, SEED))
