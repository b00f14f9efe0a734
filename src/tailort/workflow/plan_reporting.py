"""The report of a re-irradiation of a plan that was made on the sum of courses."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tailort.evaluation import EarlierCourse, Scorecard, accumulate, cells_of, dvh_in
from tailort.evaluation.recurrence import PrescribedDose, course_eqd2
from tailort.evaluation.sampling import Cells
from tailort.patient import Case, Dose, Plan, StructureSet
from tailort.radiobiology.reirradiation_types import concern_from_gy, overlap_isodose
from tailort.registration import Registration
from tailort.workflow.budgeting import budget_rows
from tailort.workflow.kinds import OrganDose, course_kinds
from tailort.workflow.recurrence_places import RecurrencePlace
from tailort.workflow.reporting import Reporting, reporting

ORGANS = (
    "limits over all courses in the scorecard; 'tailort reirradiate' with this plan tells every organ course by course"
)


def reporting_of_plan(
    case: Case,
    structures: StructureSet,
    earlier: Sequence[EarlierCourse],
    doses: Sequence[tuple[Plan, Dose]],
    registrations: Mapping[str, Registration],
    recurrences: Sequence[RecurrencePlace],
    scorecard: Scorecard,
    today: dt.date | None,
) -> Reporting:
    """Tell every item of a re-irradiation of a plan.

    Parameters
    ----------
    case : Case
        With its earlier courses and clinical record.
    structures : StructureSet
        With the targets that were made.
    earlier : sequence of EarlierCourse
        On the dose grid.
    doses : sequence of (Plan, Dose)
        Of each phase of the plan.
    registrations, recurrences, today
        As in `reporting`.
    scorecard : Scorecard
        Of the plan.
    """
    own = tuple(dose.per_course() for _, dose in doses)
    plans = tuple(plan for plan, _ in doses)
    whole = replace(case, structures=structures, plans=plans)
    slice_mm = case.ct.image.grid.spacing_mm[0]
    cells = [
        cells_of(s, earlier[0].grid, single_slice_thickness_mm=slice_mm)
        for s in structures
        if s.role in ("ORGAN", "AVOIDANCE") and not s.is_empty
    ]
    prescribed = PrescribedDose(tuple((max(p.dose_gy for p in plan.prescriptions), plan.fractions) for plan in plans))
    budget = budget_rows(cells, earlier, own, sum(plan.fractions for plan in plans))
    kinds = course_kinds(whole, earlier, own, prescribed, _organ_doses(cells, earlier, own), budget)
    return reporting(
        whole, earlier, own, registrations, kinds, recurrences, budget, scorecard, prescribed, today, ORGANS,
    )  # fmt: skip


def _organ_doses(cells: Sequence[Cells], earlier: Sequence[EarlierCourse], own: Sequence[Dose]) -> list[OrganDose]:
    """Highest dose of every organ, course by course and all together."""
    made: dict[float, list[Dose]] = {}
    found = []
    for organ in cells:
        told = concern_from_gy(organ.name)
        alpha_beta_gy = overlap_isodose()[1] if told is None else told[1]
        if alpha_beta_gy not in made:
            made[alpha_beta_gy] = [
                *(course_eqd2(course, alpha_beta_gy) for course in earlier),
                course_eqd2(own, alpha_beta_gy),
                accumulate(earlier, own, "EQD2", alpha_beta_gy),
            ]
        *parts, total = (dvh_in(organ, dose).bounds("Max[Gy]") for dose in made[alpha_beta_gy])
        found.append(OrganDose(organ.name, alpha_beta_gy, tuple(parts), total))
    return found
