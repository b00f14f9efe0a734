"""Re-irradiation: what earlier courses gave each organ, what a course of today adds, and what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailort.errors import InputError, NotEligibleError, UndecidedError
from tailort.evaluation import DVH, EarlierCourse, Scorecard, assess, cells_of
from tailort.geometry import Grid
from tailort.patient import Case, Dose
from tailort.protocols import Decision, Protocol
from tailort.radiobiology.cord import REVIEW_ABOVE_GY
from tailort.registration import Registration
from tailort.workflow.budget_map import BudgetMap, budget_map
from tailort.workflow.budgeting import BudgetRow, budget_rows, governed
from tailort.workflow.clock import StageClock
from tailort.workflow.cord_rules import ALPHA_BETA_GY, CORDS, CordRules, cord_rules
from tailort.workflow.cumulating import Cumulated, cumulated, with_ranges, with_worst_cases
from tailort.workflow.earlier import bounded_warnings, earlier_on, phase_doses
from tailort.workflow.evaluating import for_this_patient, with_helpers
from tailort.workflow.kinds import OrganDose, course_kinds
from tailort.workflow.options import PlanningOptions
from tailort.workflow.outcomes import after_oesophagectomy
from tailort.workflow.prior_cord import METRIC as CORD_METRIC
from tailort.workflow.prior_cord import StepReading, prior_beds, step_readings, with_prior_facts
from tailort.workflow.ranges import drawn_in, ranges, voxels_of
from tailort.workflow.recurrence import prescribed_today, recurrences_of, with_field_fact
from tailort.workflow.registering import warnings_of
from tailort.workflow.reporting import Reporting, reporting

# Draws of the registrations, and the seed of their random numbers.
DRAWS, SEED = 40, 0
# Spacing where no dose of today comes with the case, mm.
SPACING_MM = 2.5


@dataclass(frozen=True, eq=False)
class Reirradiation:
    """What earlier courses gave, and the sum with today's.

    Parameters
    ----------
    case : Case
        Of today, with its earlier courses.
    earlier : tuple of EarlierCourse
        On the dose grid of today.
    own : tuple of Dose
        Physical dose of each phase of today, Gy per course; empty where nothing is planned yet.
    totals : tuple of Dose
        All courses in BED, one of each alpha/beta.
    rows : tuple of Cumulated
        By structure, metric and alpha/beta.
    dvhs : tuple of DVH
        Of the totals, by alpha/beta and structure.
    budget : tuple of BudgetRow
        Published limits over all courses, side by side.
    cord : CordRules or None
        Published rules for a second course near the cord; None where no cord is drawn or its dose is not known.
    scorecard : Scorecard
        The protocol's limits, on this course and on all.
    protocol : Protocol or None
        What was asked.
    decision : Decision or None
        The protocol's, where there is a clinical record.
    registrations : dict of Registration
        By the course's label; courses in today's frame of reference have none.
    notes : tuple of str
        What a reader must know.
    warnings : tuple of str
        What belongs on the first page.
    unjudged : str
        Why the protocol's limits could not be judged; empty where they were.
    reporting : Reporting or None
        What a report of a re-irradiation tells, item by item.
    cord_steps : tuple of StepReading
        The cord's limit in 2 fractions by every reading of its rule.
    left : BudgetMap or None
        What each voxel may still get by the published limits; None where no fractions of a new course are told.
    """

    case: Case
    earlier: tuple[EarlierCourse, ...]
    own: tuple[Dose, ...]
    totals: tuple[Dose, ...]
    rows: tuple[Cumulated, ...]
    dvhs: tuple[DVH, ...]
    budget: tuple[BudgetRow, ...]
    cord: CordRules | None
    scorecard: Scorecard
    protocol: Protocol | None
    decision: Decision | None
    registrations: Mapping[str, Registration]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    unjudged: str = ""
    reporting: Reporting | None = None
    cord_steps: tuple[StepReading, ...] = ()
    left: BudgetMap | None = None

    def as_dict(self) -> dict[str, object]:
        """Return what cumulative.json holds."""
        return {
            "courses": [
                {
                    "label": course.label,
                    "fractions": [dose.fractions for dose in course.doses],
                    "months": None if course.months is None else round(course.months, 2),
                    "mapped": course.mapped,
                }
                for course in self.earlier
            ],
            "today": {"fractions": [dose.fractions for dose in self.own]} if self.own else None,
            "organs": [row.as_dict() for row in self.rows],
            "limits": [row.as_dict() for row in self.budget],
            "left": None if self.left is None else self.left.as_dict(),
            "cord": None if self.cord is None else self.cord.as_dict(),
            "cord_step_rule": [row.as_dict() for row in self.cord_steps],
            "warnings": list(self.warnings),
            "reporting": None if self.reporting is None else self.reporting.as_dict(),
        }


def reirradiate(
    case: Case,
    protocol: Protocol | None,
    options: PlanningOptions,
    registrations: Mapping[str, Registration],
    clock: StageClock,
    fractions: int | None = None,
) -> Reirradiation:
    """Sum the courses of a case and judge the sum.

    Parameters
    ----------
    case : Case
        With structures, earlier courses and, where something is planned, today's dose or the doses of its phases.
    protocol : Protocol or None
        Whose limits are judged.
    options : PlanningOptions
        Of these the readings, the option of the plan and the day, from which months are counted.
    registrations : mapping of str to Registration
        For `earlier_on`.
    clock : StageClock
        Times and tells the stages.
    fractions : int or None
        Of a new course of which nothing else is known: what could still be given in so many; None takes those of
        today's plan, else of the protocol.

    Raises
    ------
    InputError
        When there is no earlier course, a dose cannot be added, or today's plan has other fractions than are asked for.
    """
    if not case.courses:
        raise InputError("there is no earlier course: name the folder of each with --prior DIR")
    decision, judged, unjudged, told = None, None, "", list(case.notes)
    recurrences = recurrences_of(case, registrations, options.today)
    case, offered, contradictions = with_field_fact(case, protocol, recurrences)
    beds = prior_beds(case, registrations, options.today)
    case, from_courses, against_courses = with_prior_facts(case, protocol, beds)
    told += [*offered, *from_courses]
    if protocol is not None:
        try:
            decision, own_protocol, notes, _ = for_this_patient(case, protocol, options)
        except (UndecidedError, NotEligibleError) as error:
            # What was given before is worth knowing before anything is decided.
            unjudged, judged = f"limits of protocol '{protocol.id}' are not judged: {error}", None
        else:
            structures, missing = with_helpers(case, own_protocol)
            case, judged = replace(case, structures=structures), own_protocol.where_drawn(structures)
            told += [*notes, *missing]
    own = tuple(dose.per_course() for dose in phase_doses(case.doses, "today's case"))
    grid = own[0].image.grid if own else _grid(case)
    with clock.stage("earlier courses on the dose grid"):
        earlier = earlier_on(case, grid, registrations, options.today)
    slice_mm = case.ct.image.grid.spacing_mm[0]
    drawn = [s for s in case.structures if not s.is_empty and s.role != "EXTERNAL"]
    with clock.stage("sum the courses"):
        cells = [cells_of(s, grid, single_slice_thickness_mm=slice_mm) for s in drawn]
        totals, rows, dvhs = cumulated(cells, earlier, own)
    with clock.stage("worst cases"):
        rows = with_worst_cases(rows, cells, earlier, own)
    if any(each.uncertainty is not None for each in registrations.values()):
        with clock.stage("ranges of the sums") as tell:
            voxels = voxels_of(cells, grid)
            draws = drawn_in(case, grid, voxels, registrations, DRAWS, SEED)
            keys = [(row.structure, row.metric, row.alpha_beta_gy) for row in rows]
            found = ranges(keys, cells, voxels, earlier, own, draws, lambda n: tell(n / DRAWS))
            rows = with_ranges(rows, found)
    constraints = () if judged is None else judged.constraints()
    asked = constraints if own else tuple(c for c in constraints if c.scope == "cumulative")
    # Without a plan of today a limit is judged on what is spent so far.
    doses = own or (_nothing(earlier[0].doses[0]),)
    with clock.stage("judge the sum"):
        card = assess(
            case.structures,
            doses,
            asked,
            judged.course() if judged is not None and own else (),
            earlier=earlier,
            after_oesophagectomy=after_oesophagectomy(case.facts),
            single_slice_thickness_mm=slice_mm,
        )
    intended = _fractions(judged, own, fractions)
    budget = governed(budget_rows(cells, earlier, own, intended), constraints)
    prescribed = prescribed_today(case, own, judged)
    kinds = course_kinds(case, earlier, own, prescribed, _highest(rows), budget)
    return Reirradiation(
        case,
        earlier,
        own,
        totals,
        rows,
        dvhs,
        budget,
        _cord(rows, earlier, bool(own)),
        card,
        judged,
        decision if case.facts else None,
        registrations,
        (*told, *_notes(earlier, own, registrations)),
        warnings=(
            *warnings_of(registrations),
            *contradictions,
            *against_courses,
            *bounded_warnings(case),
            *_to_review(rows, beds.structure),
            *((unjudged,) if unjudged else ()),
        ),
        unjudged=unjudged,
        left=None if intended is None else budget_map(cells, earlier, intended),
        cord_steps=step_readings(beds, case, protocol, options.readings),
        reporting=reporting(
            case, earlier, own, registrations, kinds, recurrences, budget, card, prescribed, options.today
        ),
    )


def _highest(rows: Sequence[Cumulated]) -> list[OrganDose]:
    def told(bounds: tuple[float, float], row: Cumulated) -> tuple[float, float]:
        return bounds[0] / row.eqd2, bounds[1] / row.eqd2

    return [
        OrganDose(
            row.structure,
            row.alpha_beta_gy,
            tuple(told(bounds, row) for bounds in row.per_course_gy),
            told(row.cumulative_gy, row),
        )
        for row in rows
        if row.metric == "Max[Gy]"
    ]


def _cord(rows: Sequence[Cumulated], earlier: Sequence[EarlierCourse], with_today: bool) -> CordRules | None:
    """The cord's rules by the first structure that stands for it; of a dose that is bounded by the most of it."""
    for name in CORDS:
        for row in rows:
            if (row.structure, row.metric, row.alpha_beta_gy) == (name, "Max[Gy]", ALPHA_BETA_GY):
                known = [row.cumulative_gy, *row.per_course_gy]
                if all(np.isfinite(high) for _, high in known):
                    beds = [high for _, high in row.per_course_gy]
                    is_bound = any(low != high for low, high in known)
                    return cord_rules(name, beds, row.cumulative_gy[1], earlier, with_today, is_bound=is_bound)
    return None


def _to_review(rows: Sequence[Cumulated], cord: str) -> tuple[str, ...]:
    """Where all courses together give the cord more than 140 Gy BED, or may (KO-84)."""
    for row in rows:
        if (row.structure, row.metric, row.alpha_beta_gy) == (cord, CORD_METRIC, ALPHA_BETA_GY):
            low, high = row.cumulative_gy
            if low > REVIEW_ABOVE_GY or (np.isfinite(high) and high > REVIEW_ABOVE_GY):
                value = f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"
                above = "above" if low > REVIEW_ABOVE_GY else "which may be above"
                return (
                    f"{CORD_METRIC} of {cord} over all courses is {value} Gy BED (a/b={ALPHA_BETA_GY:g}), {above} "
                    f"{REVIEW_ABOVE_GY:g} Gy: to be reviewed [KO-84]",
                )
    return ()


def _fractions(protocol: Protocol | None, own: Sequence[Dose], asked: int | None) -> int | None:
    """Fractions of the new course: of the plan of today, else those asked for, else those that the protocol has."""
    if asked is not None and asked < 1:
        raise InputError(f"a new course has at least one fraction; found {asked}")
    if own:
        planned = sum(dose.known_fractions() for dose in own)
        if asked not in (None, planned):
            raise InputError(
                f"today's plan has {planned} fractions, and what could be given in {asked} was asked for; leave out "
                "--fractions, or the plan and its dose"
            )
        return planned
    if asked is not None:
        return asked
    counts = {} if protocol is None else {p.phase: p.fractions for p in protocol.course()}
    return sum(counts.values()) or None


def _notes(
    earlier: Sequence[EarlierCourse], own: Sequence[Dose], registrations: Mapping[str, Registration]
) -> list[str]:
    told = []
    if not own:
        told.append("today's case has no dose: limits are judged on what earlier courses have spent")
    unsure = [label for label, found in registrations.items() if found.uncertainty is not None]
    bounded = [course.label for course in earlier if any(dose.least is not None for dose in course.doses)]
    if unsure and bounded:
        told.append(
            f"where course {', '.join(map(repr, bounded))} is known by bounds only, metrics have these bounds and no "
            f"range of what the registration of course {', '.join(map(repr, unsure))} may be off: the bounds do not "
            "hold it"
        )
    for course in earlier:
        if course.months is None:
            told.append(
                f"when course '{course.label}' ended is not known, so nothing can be said of recovery; write "
                "last_fraction: YYYY-MM-DD into its course.yaml"
            )
        missing = float(np.mean([np.isnan(dose.image.values).mean() for dose in course.doses]))
        if missing > 0:
            told.append(
                f"the dose of course '{course.label}' covers {100.0 * (1.0 - missing):.1f} % of the dose grid of "
                "today; beyond it is unknown, not 0"
            )
    return told


def _grid(case: Case) -> Grid:
    """Grid over the structures, where no dose of today tells one."""
    ct = case.ct.image.grid
    bounds = [s.bounds_mm() for s in case.structures if not s.is_empty]
    if not bounds:
        raise InputError(f"case '{case.pseudonym}' has no structures: there is no organ whose dose could be summed")
    corners = np.array([corner for pair in bounds for corner in pair])
    index = ct.to_index(corners)
    return ct.crop(np.floor(index.min(axis=0)), np.ceil(index.max(axis=0)) + 1).with_spacing(SPACING_MM)


def _nothing(like: Dose) -> Dose:
    return replace(
        like,
        image=like.image.with_values(np.zeros(like.image.grid.shape, dtype=np.float32)),
        fractions=1,
        plan_uid="",
        least=None,
        most_in={},
    )
