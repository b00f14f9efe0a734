"""Re-irradiation: what earlier courses gave each organ, what a course of today adds, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailort.errors import InputError, NotEligibleError, UndecidedError
from tailort.evaluation import DVH, EarlierCourse, Scorecard, accumulate, assess, cells_of, dvh_in
from tailort.evaluation.sampling import Cells
from tailort.geometry import Grid
from tailort.patient import Case, Dose, Structure
from tailort.protocols import Decision, Protocol
from tailort.radiobiology.high_dose import LinearQuadraticLinear, high_dose_sets
from tailort.registration import Registration
from tailort.workflow.budgeting import BudgetRow, budget_rows
from tailort.workflow.cord_rules import ALPHA_BETA_GY, CORDS, CordRules, cord_rules
from tailort.workflow.earlier import drawn_on, earlier_on, phase_doses
from tailort.workflow.evaluating import for_this_patient, with_helpers
from tailort.workflow.options import PlanningOptions
from tailort.workflow.registering import warnings_of

METRICS = ("Max[Gy]", "D0.035cc[Gy]", "D1cc[Gy]", "Mean[Gy]")
# alpha/beta of the spine study's table: cord, late-reacting tissue, tumour, Gy.
ALPHA_BETAS_GY = (2.0, 3.0, 10.0)
# Draws of the registrations, and the seed of their random numbers.
DRAWS, SEED = 40, 0
# Spacing where no dose of today comes with the case, mm.
SPACING_MM = 2.5
# The model beside LQ for high doses per fraction.
LQL = next(found for found in high_dose_sets().values() if isinstance(found, LinearQuadraticLinear))
# EQD2 is BED over 1 + 2 / (alpha/beta): one histogram serves both.
TWO_GY = 2.0


@dataclass(frozen=True)
class Cumulated:
    """One metric of one organ, course by course and all together, in BED of one alpha/beta.

    Parameters
    ----------
    structure, metric : str
        Which.
    alpha_beta_gy : float
        Of the organ, Gy.
    per_course_gy : tuple of (float, float)
        Lowest and highest value that the dose known of each course allows, BED, Gy; earlier courses first, today's
        last where there is one.
    cumulative_gy : (float, float)
        The same of the sum, voxel by voxel: not the sum of the values.
    range_gy : (float, float) or None
        Between which the sum's value lies in 95 % of the draws of the registrations; None where nothing was drawn.
    lql_gy : (float, float) or None
        As `cumulative_gy`, by LQ-L; None where no fraction is high enough for a difference. Never compared with limits.
    """

    structure: str
    metric: str
    alpha_beta_gy: float
    per_course_gy: tuple[tuple[float, float], ...]
    cumulative_gy: tuple[float, float]
    range_gy: tuple[float, float] | None = None
    lql_gy: tuple[float, float] | None = None

    @property
    def eqd2(self) -> float:
        """What a BED is divided by to be an EQD2."""
        return 1.0 + TWO_GY / self.alpha_beta_gy

    def as_dict(self) -> dict[str, object]:
        """Return a row of cumulative.json; a value that is not known is null, with its bounds."""

        def told(bounds: tuple[float, float]) -> dict[str, float | None]:
            low, high = bounds
            top = float(high) if np.isfinite(high) else None
            return {
                "bed_gy": round(low, 3) if low == high else None,
                "eqd2_gy": round(low / self.eqd2, 3) if low == high else None,
                "bed_low_gy": round(low, 3),
                "bed_high_gy": None if top is None else round(top, 3),
            }

        return {
            "structure": self.structure,
            "metric": self.metric,
            "alpha_beta_gy": self.alpha_beta_gy,
            "courses": [told(bounds) for bounds in self.per_course_gy],
            "cumulative": told(self.cumulative_gy),
            "lql_bed_gy": None if self.lql_gy is None else [round(value, 3) for value in self.lql_gy],
            "range_bed_gy": None if self.range_gy is None else [round(value, 3) for value in self.range_gy],
        }


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
            "cord": None if self.cord is None else self.cord.as_dict(),
            "warnings": list(self.warnings),
        }


def cumulated(
    structures: Sequence[Structure], earlier: Sequence[EarlierCourse], own: Sequence[Dose], slice_mm: float
) -> tuple[tuple[Dose, ...], tuple[Cumulated, ...], tuple[DVH, ...]]:
    """Return the sums in BED of `ALPHA_BETAS_GY`, each organ's dose of every course and of all, and its histograms.

    Parameters
    ----------
    structures : sequence of Structure
        With contours, in today's frame of reference.
    earlier : sequence of EarlierCourse
        On one grid.
    own : sequence of Dose
        Physical dose of each phase of today on the same grid; may be empty.
    slice_mm : float
        Slice distance of the CT.
    """
    totals: list[Dose] = []
    rows: list[Cumulated] = []
    dvhs: list[DVH] = []
    grid = (*own, *(dose for course in earlier for dose in course.doses))[0].image.grid
    cells = [cells_of(s, grid, single_slice_thickness_mm=slice_mm) for s in structures]
    for alpha_beta_gy in ALPHA_BETAS_GY:
        parts = [accumulate([course], (), "BED", alpha_beta_gy) for course in earlier]
        if own:
            parts.append(accumulate((), own, "BED", alpha_beta_gy))
        total = accumulate(earlier, own, "BED", alpha_beta_gy)
        totals.append(total)
        bent = None
        if _highest_per_fraction_gy(earlier, own) > float(LQL.threshold(alpha_beta_gy)):
            bent = accumulate(earlier, own, "BED", alpha_beta_gy, high_dose=LQL)
        for structure, inside in zip(structures, cells, strict=True):
            curves = [*(dvh_in(inside, part) for part in parts), dvh_in(inside, total, "cumulative")]
            dvhs.append(curves[-1])
            by_lql = None if bent is None else dvh_in(inside, bent)
            for metric in METRICS:
                values = [_bounds(curve, metric) for curve in curves]
                if all(value is not None for value in values):
                    known = tuple(value for value in values if value is not None)
                    rows.append(
                        Cumulated(
                            structure.name,
                            metric,
                            alpha_beta_gy,
                            known[:-1],
                            known[-1],
                            None,
                            None if by_lql is None else _bounds(by_lql, metric),
                        )
                    )
    order = {s.name: n for n, s in enumerate(structures)}
    rows.sort(key=lambda r: (order[r.structure], METRICS.index(r.metric), r.alpha_beta_gy))
    return tuple(totals), tuple(rows), tuple(dvhs)


def _highest_per_fraction_gy(earlier: Sequence[EarlierCourse], own: Sequence[Dose]) -> float:
    doses = [*own, *(dose for course in earlier for dose in course.doses)]
    return max(float(np.nanmax(dose.per_course().image.values)) / dose.known_fractions() for dose in doses)


def with_ranges(
    rows: Sequence[Cumulated],
    draws: Iterable[Sequence[EarlierCourse]],
    own: Sequence[Dose],
    structures: Sequence[Structure],
    slice_mm: float,
    progress: Callable[[int], None],
) -> tuple[Cumulated, ...]:
    """Return the rows with the range of each sum over draws of the registrations.

    Parameters
    ----------
    rows : sequence of Cumulated
        As mapped.
    draws : iterable of sequence of EarlierCourse
        The courses in each draw, on the grid of `own`.
    own, structures, slice_mm
        As in `cumulated`.
    progress : callable
        Called with the number of draws done.

    Notes
    -----
    The range holds 95 % of the draws and the value as mapped. A value that is not known in a draw leaves none.
    """
    found: dict[tuple[str, str, float], list[float]] = {(r.structure, r.metric, r.alpha_beta_gy): [] for r in rows}
    cells: list[Cells] = []
    for n, courses in enumerate(draws, 1):
        cells = cells or [cells_of(s, courses[0].grid, single_slice_thickness_mm=slice_mm) for s in structures]
        for alpha_beta_gy in ALPHA_BETAS_GY:
            total = accumulate(courses, own, "BED", alpha_beta_gy)
            for structure, inside in zip(structures, cells, strict=True):
                curve = dvh_in(inside, total)
                for metric in METRICS:
                    value = _bounds(curve, metric)
                    if value is not None:
                        low, high = value
                        found[structure.name, metric, alpha_beta_gy].append(low if low == high else np.nan)
        progress(n)
    return tuple(replace(row, range_gy=_range(row, found)) for row in rows)


def _range(row: Cumulated, found: Mapping[tuple[str, str, float], Sequence[float]]) -> tuple[float, float] | None:
    values = np.array(found[row.structure, row.metric, row.alpha_beta_gy])
    low, high = row.cumulative_gy
    if low != high or not len(values) or not np.isfinite(values).all():
        return None
    return min(low, float(np.quantile(values, 0.025))), max(low, float(np.quantile(values, 0.975)))


def _bounds(curve: DVH, metric: str) -> tuple[float, float] | None:
    """Lowest and highest value; None where the structure is smaller than the volume that is asked about."""
    try:
        low, high = curve.bounds(metric)
    except InputError:
        return None
    return low, high


def reirradiate(
    case: Case,
    protocol: Protocol | None,
    options: PlanningOptions,
    registrations: Mapping[str, Registration],
    progress: Callable[[float], None],
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
    progress : callable
        Called with the share done.

    Raises
    ------
    InputError
        When there is no earlier course, or a dose cannot be added.
    """
    if not case.courses:
        raise InputError("there is no earlier course: name the folder of each with --prior DIR")
    decision, judged, unjudged, told = None, None, "", list(case.notes)
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
    progress(0.05)
    earlier = earlier_on(case, grid, registrations, options.today)
    progress(0.3)
    drawn = [s for s in case.structures if not s.is_empty and s.role != "EXTERNAL"]
    slice_mm = case.ct.image.grid.spacing_mm[0]
    totals, rows, dvhs = cumulated(drawn, earlier, own, slice_mm)
    progress(0.4)
    if any(found.uncertainty is not None for found in registrations.values()):
        draws = drawn_on(case, grid, registrations, options.today, DRAWS, SEED)
        rows = with_ranges(rows, draws, own, drawn, slice_mm, lambda n: progress(0.4 + 0.5 * n / DRAWS))
    progress(0.9)
    constraints = () if judged is None else judged.constraints()
    asked = constraints if own else tuple(c for c in constraints if c.scope == "cumulative")
    # Without a plan of today a limit is judged on what is spent so far.
    doses = own or (_nothing(earlier[0].doses[0]),)
    card = assess(
        case.structures,
        doses,
        asked,
        judged.course() if judged is not None and own else (),
        earlier=earlier,
        single_slice_thickness_mm=slice_mm,
    )
    progress(1.0)
    return Reirradiation(
        case,
        earlier,
        own,
        totals,
        rows,
        dvhs,
        budget_rows(drawn, earlier, own, _fractions(judged, own), slice_mm),
        _cord(rows, earlier, bool(own)),
        card,
        judged,
        decision if case.facts else None,
        registrations,
        (*told, *_notes(earlier, own)),
        warnings=(*warnings_of(registrations), *((unjudged,) if unjudged else ())),
        unjudged=unjudged,
    )


def _cord(rows: Sequence[Cumulated], earlier: Sequence[EarlierCourse], with_today: bool) -> CordRules | None:
    """The cord's rules by the first structure that stands for it and whose dose is known."""
    for name in CORDS:
        for row in rows:
            if (row.structure, row.metric, row.alpha_beta_gy) == (name, "Max[Gy]", ALPHA_BETA_GY):
                known = [row.cumulative_gy, *row.per_course_gy]
                if all(low == high for low, high in known):
                    beds = [low for low, _ in row.per_course_gy]
                    return cord_rules(name, beds, row.cumulative_gy[0], earlier, with_today)
    return None


def _fractions(protocol: Protocol | None, own: Sequence[Dose]) -> int | None:
    """Fractions of the new course: of the plan of today, else those that the protocol prescribes."""
    if own:
        return sum(dose.known_fractions() for dose in own)
    counts = {} if protocol is None else {p.phase: p.fractions for p in protocol.course()}
    return sum(counts.values()) or None


def _notes(earlier: Sequence[EarlierCourse], own: Sequence[Dose]) -> list[str]:
    told = []
    if not own:
        told.append("today's case has no dose: limits are judged on what earlier courses have spent")
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
        like, image=like.image.with_values(np.zeros(like.image.grid.shape, dtype=np.float32)), fractions=1, plan_uid=""
    )
