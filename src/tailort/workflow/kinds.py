"""Which kind of re-irradiation a course of today is, by each earlier course."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailort.evaluation import EarlierCourse, cells_of, dvh_in
from tailort.evaluation.recurrence import Bounds, PrescribedDose, course_eqd2, overlap_cm3
from tailort.evaluation.sampling import Cells
from tailort.patient import Case, Dose, Structure
from tailort.radiobiology.reirradiation_types import (
    Kind,
    concern_from_gy,
    kind_texts,
    kinds_of,
    least_contribution_gy,
    overlap_isodose,
)
from tailort.workflow.budgeting import BudgetRow
from tailort.workflow.recurrence import prescribed_of


@dataclass(frozen=True)
class OrganDose:
    """The highest dose of one organ, course by course and all together.

    Parameters
    ----------
    structure : str
        The organ.
    alpha_beta_gy : float
        By which it was converted, Gy.
    per_course_gy : tuple of (float, float)
        EQD2 of every course, lowest and highest that is possible, Gy; today's last where there is one.
    total_gy : (float, float)
        Of all.
    """

    structure: str
    alpha_beta_gy: float
    per_course_gy: tuple[Bounds, ...]
    total_gy: Bounds


@dataclass(frozen=True)
class CourseKind:
    """What a course of today is to one earlier course.

    Parameters
    ----------
    course : str
        The earlier one.
    kinds : tuple of str
        Every kind that is possible; one where it is known.
    overlap, concern, same_organ : bool or None
        What it follows from; None is unknown.
    target_cm3 : (float, float) or None
        Volume of today's PTV (CTV or GTV where none is drawn) within the earlier isodose, lowest and highest; None
        where no target is drawn.
    isodose_cm3 : (float, float) or None
        Volume that both isodoses share; None without a dose of today.
    concerns, organs : tuple of str
        Organs of concern; and those that both isodoses reach, which is asked only where the kind rests on it.
    """

    course: str
    kinds: tuple[Kind, ...]
    overlap: bool | None
    concern: bool | None
    same_organ: bool | None
    target_cm3: Bounds | None
    isodose_cm3: Bounds | None
    concerns: tuple[str, ...] = ()
    organs: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The kind, or what it may be."""
        if len(self.kinds) == 1:
            return self.kinds[0]
        return "unknown" if len(self.kinds) == len(kind_texts()) else f"unknown: {' or '.join(self.kinds)}"

    def as_dict(self) -> dict[str, object]:
        """Return the entry of cumulative.json."""
        return {
            "course": self.course,
            "kind": self.kinds[0] if len(self.kinds) == 1 else None,
            "possible": list(self.kinds),
            "overlap": self.overlap,
            "concern": self.concern,
            "same_organ": self.same_organ,
            "target_cm3": _rounded(self.target_cm3),
            "isodose_cm3": _rounded(self.isodose_cm3),
            "concerns": list(self.concerns),
            "organs": list(self.organs),
        }


def course_kinds(
    case: Case,
    earlier: Sequence[EarlierCourse],
    own: Sequence[Dose],
    prescribed: PrescribedDose | None,
    organs: Sequence[OrganDose],
    budget: Sequence[BudgetRow],
) -> tuple[CourseKind, ...]:
    """Find the kind by the default test of overlap, the spine study's doses of concern and published limits.

    Parameters
    ----------
    case : Case
        Of today, with its earlier courses.
    earlier : sequence of EarlierCourse
        The same courses on the dose grid of today.
    own : sequence of Dose
        Physical dose of each phase of today on the same grid; may be empty.
    prescribed : PrescribedDose or None
        Of today; None takes the highest dose instead, as a prescription is not above it.
    organs : sequence of OrganDose
        Maxima, of every course and all.
    budget : sequence of BudgetRow
        Published limits over all courses.
    """
    percent, alpha_beta_gy = overlap_isodose()
    mine = course_eqd2(list(own), alpha_beta_gy) if own else None
    asked = prescribed or _highest(own)
    level_gy = asked.level_gy(percent, alpha_beta_gy)
    slice_mm = case.ct.image.grid.spacing_mm[0]

    def cut(structure: Structure) -> Cells:
        return cells_of(structure, earlier[0].grid, single_slice_thickness_mm=slice_mm)

    drawn = [s for s in case.structures if not s.is_empty]
    # What of the target is drawn: less of it can show an overlap, not that there is none.
    roles = [role for role in ("PTV", "CTV", "GTV") if any(s.role == role for s in drawn)]
    targets = [cut(s) for s in drawn if s.role in roles[:1]]
    solids = [s for s in drawn if s.role in ("ORGAN", "AVOIDANCE")]
    kinds = []
    for n, (course, there) in enumerate(zip(case.courses, earlier, strict=True)):
        dose, before = course_eqd2(there, alpha_beta_gy), prescribed_of(course)
        its_gy = before.level_gy(percent, alpha_beta_gy)
        sure = before.is_known and asked.is_known
        target = _largest([_cm3(cells, dose, its_gy, before.is_known) for cells in targets])
        both = None if mine is None else overlap_cm3(dose, its_gy, mine, level_gy)
        # Below the highest dose the prescription may reach further than the isodose that is known.
        both = both if both is None or sure else (both[0], np.inf)
        overlap = _any([target, both])
        # Without a dose of today nothing can be said of where it does not reach.
        overlap = None if overlap is False and mine is None else overlap
        # Where a dose cannot tell, a person may have.
        overlap = True if overlap is None and course.at_target else overlap
        concern, concerns = _concern(n, organs, budget, bool(own))
        same: bool | None = None
        shared: tuple[str, ...] = ()
        if mine is not None and overlap is not True and concern is not True:
            # Nothing else rests on it.
            same, shared = _shared([cut(s) for s in solids], dose, its_gy, mine, level_gy, sure)
        kinds.append(
            CourseKind(
                course.label, kinds_of(overlap, concern, same), overlap, concern, same, target, both, concerns, shared
            )
        )
    return tuple(kinds)


def _highest(own: Sequence[Dose]) -> PrescribedDose:
    phases = tuple((float(np.nanmax(dose.per_course().image.values)), dose.known_fractions()) for dose in own)
    return PrescribedDose(phases, is_known=False)


def _cm3(cells: Cells, dose: Dose, level_gy: float, is_known: bool) -> Bounds:
    low, high = dvh_in(cells, dose).bounds(f"V{level_gy:.9f}Gy[cc]")
    return low, high if is_known else cells.volume_cm3


def _largest(found: Sequence[Bounds]) -> Bounds | None:
    return (max(low for low, _ in found), max(high for _, high in found)) if found else None


def _any(found: Sequence[Bounds | None]) -> bool | None:
    """Whether one of several volumes is more than nothing; None where that is open."""
    known = [bounds for bounds in found if bounds is not None]
    if any(low > 0 for low, _ in known):
        return True
    return False if known and all(high <= 0 for _, high in known) else None


def _concern(
    n: int, organs: Sequence[OrganDose], budget: Sequence[BudgetRow], with_today: bool
) -> tuple[bool | None, tuple[str, ...]]:
    """Whether the dose of an earlier course (by its number) and today's together is a concern, and in which organs."""
    if not with_today:
        return None, ()
    least_gy = least_contribution_gy()
    sure, possible = [], []
    for organ in organs:
        # An organ without a dose of concern is looked at by its limits, with late-reacting tissue's alpha/beta.
        told = concern_from_gy(organ.structure)
        from_gy, alpha_beta_gy = told if told is not None else (np.inf, 3.0)
        if organ.alpha_beta_gy != alpha_beta_gy:
            continue
        structure, parts, total = organ.structure, (organ.per_course_gy[n], organ.per_course_gy[-1]), organ.total_gy
        verdicts = {row.verdict for row in budget if row.structure == structure}
        broken = "fail" in verdicts
        if all(low >= least_gy for low, _ in parts) and (total[0] >= from_gy or broken):
            sure.append(structure)
        elif all(high >= least_gy for _, high in parts) and (
            total[1] >= from_gy or broken or ("unknown" in verdicts and told is None)
        ):
            possible.append(structure)
    if sure:
        return True, tuple(sure)
    return (None if possible or not organs else False), tuple(possible)


def _shared(
    organs: Sequence[Cells], first: Dose, first_gy: float, second: Dose, second_gy: float, sure: bool
) -> tuple[bool | None, tuple[str, ...]]:
    """Whether both isodoses reach one organ, and which."""
    reached, possible = [], not sure
    for cells in organs:
        parts = [_cm3(cells, dose, gy, True) for dose, gy in ((first, first_gy), (second, second_gy))]
        if all(low > 0 for low, _ in parts):
            reached.append(cells.name)
        possible = possible or all(high > 0 for _, high in parts)
    return (True if reached else None if possible or not organs else False), tuple(reached)


def _rounded(bounds: Bounds | None) -> list[float | None] | None:
    return None if bounds is None else [round(value, 3) if np.isfinite(value) else None for value in bounds]
