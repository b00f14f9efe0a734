"""What each organ may still get: published limits over all courses side by side, spent, recovered and left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse, accumulate, dvh_in
from tailort.evaluation.sampling import Cells
from tailort.patient import Constraint, Dose
from tailort.radiobiology.budget import budget_of
from tailort.radiobiology.recovery import recovery
from tailort.radiobiology.tolerances import CumulativeLimit, LimitSet, alpha_beta, limits_of

Bounds = tuple[float, float]
# Of the EQD2 by which organs entered the spine study's analysis, Gy (KO-92).
ANALYSED_ALPHA_BETA_GY = 2.0
Verdict = Literal["pass", "fail", "report", "unknown"]


@dataclass(frozen=True)
class BudgetRow:
    """One published limit of one organ over all courses.

    Parameters
    ----------
    structure : str
        The organ.
    limits, title : str
        Id and title of the set that the limit belongs to.
    metric, quantity : str
        What is asked, in "BED(a/b=3)" or "EQD2(a/b=3)".
    limit : str
        As printed, with its range.
    limit_gy : float
        Its lower end, Gy.
    recovery : str
        Id of the assumption that belongs to the set.
    discounts : tuple of float or None
        Part of each earlier course that no longer counts by it; None is unknown.
    prior_gy, counted_gy : (float, float) or None
        Lowest and highest value of the earlier courses together without and with recovery, Gy.
    total_gy : (float, float) or None
        With today's course; None where there is none or it is unknown.
    left_gy : float or None
        Limit less the most that still counts, Gy; below 0 where it may be overspent.
    dose_gy : float or None
        Physical dose that uses this up in so many fractions, Gy per course.
    fractions : int or None
        Of a new course.
    verdict : {"pass", "fail", "report", "unknown"}
        Of the total, or of what is spent.
    mark, rules
        How sure the number is, and whose.
    reason : str
        Why something is unknown, and under what condition the limit holds.
    governs : bool
        Whether it is the protocol's own: what other sources say of the organ is shown beside it (RB-135).
    """

    structure: str
    limits: str
    title: str
    metric: str
    quantity: str
    limit: str
    limit_gy: float
    recovery: str
    discounts: tuple[float | None, ...]
    prior_gy: Bounds | None
    counted_gy: Bounds | None
    total_gy: Bounds | None
    left_gy: float | None
    dose_gy: float | None
    fractions: int | None
    verdict: Verdict
    mark: str
    rules: tuple[str, ...]
    reason: str = ""
    governs: bool = False

    def as_dict(self) -> dict[str, object]:
        """Return a row of cumulative.json."""
        return {
            "structure": self.structure,
            "set": self.limits,
            "metric": self.metric,
            "quantity": self.quantity,
            "limit": self.limit,
            "recovery": self.recovery,
            "discounts": list(self.discounts),
            "prior_gy": _told(self.prior_gy),
            "counted_gy": _told(self.counted_gy),
            "total_gy": _told(self.total_gy),
            "left_gy": None if self.left_gy is None else round(self.left_gy, 2),
            "physical_dose_left_gy": None if self.dose_gy is None else round(self.dose_gy, 2),
            "fractions": self.fractions,
            "verdict": self.verdict,
            "mark": self.mark,
            "rules": list(self.rules),
            "reason": self.reason,
            "governs": self.governs,
        }


def budget_rows(
    cells: Iterable[Cells], earlier: Sequence[EarlierCourse], own: Sequence[Dose], fractions: int | None
) -> tuple[BudgetRow, ...]:
    """Every published limit of every organ over all courses.

    Parameters
    ----------
    cells : iterable of Cells
        Of the organs, cut for the grid of the doses.
    earlier : sequence of EarlierCourse
        On one grid.
    own : sequence of Dose
        Physical dose of each phase of today, on the same grid; may be empty.
    fractions : int or None
        Of a new course, for the physical dose that is left.

    Notes
    -----
    The dose that is left is that of the voxels that have had most: what the planned dose may be where it adds to them.
    """
    sums = _Sums(tuple(earlier), tuple(own))
    rows = []
    for organ in cells:
        rows += [_row(organ.name, organ, found, limit, sums, fractions) for found, limit in limits_of(organ.name)]
    return tuple(rows)


def governed(rows: Iterable[BudgetRow], constraints: Sequence[Constraint]) -> tuple[BudgetRow, ...]:
    """Return the rows with those marked that are the protocol's own limits; without such a limit none governs.

    Parameters
    ----------
    rows : iterable of BudgetRow
        Of all sources.
    constraints : sequence of Constraint
        Of the protocol, as it is for this patient.
    """
    own = {
        (c.structure.lower(), c.metric, c.label, c.operator, c.limit)
        for c in constraints
        if c.scope == "cumulative" and c.priority != "report"
    }
    return tuple(
        replace(
            row,
            governs=(row.structure.lower(), row.metric, row.quantity, row.limit.split()[0], row.limit_gy) in own,
        )
        for row in rows
    )


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums of courses, each made once."""

    earlier: tuple[EarlierCourse, ...]
    own: tuple[Dose, ...]
    made: dict[tuple[object, ...], Dose] = field(default_factory=dict)

    def value(
        self, cells: Cells, limit: CumulativeLimit, alpha_beta_gy: float, discounts: tuple[float, ...], own: bool
    ) -> Bounds | None:
        """Lowest and highest value of a limit's metric; None where the structure is smaller than it asks about."""
        key = (limit.quantity, alpha_beta_gy, discounts, own)
        if key not in self.made:
            today = self.own if own else ()
            self.made[key] = accumulate(self.earlier, today, limit.quantity, alpha_beta_gy, discounts)
        try:
            low, high = dvh_in(cells, self.made[key]).bounds(limit.metric)
        except InputError:
            return None
        return low, high


def _row(
    organ: str, cells: Cells, found: LimitSet, limit: CumulativeLimit, sums: _Sums, fractions: int | None
) -> BudgetRow:
    tissue = alpha_beta(organ)
    ab = limit.alpha_beta_gy or (None if tissue is None else tissue.value_gy)
    assumed = recovery(found.recovery)
    discounts = tuple(assumed.discount(organ, course.months) for course in sums.earlier)
    known = tuple(discount for discount in discounts if discount is not None)
    reasons = [text for text in (limit.condition and f"holds where {limit.condition}", limit.note) if text]
    prior = counted = total = None
    left: float | None = None
    dose_gy: float | None = None
    verdict: Verdict = "unknown"
    if ab is None:
        reasons.append("no alpha/beta of this organ is known, so its courses cannot be added")
    else:
        prior = sums.value(cells, limit, ab, (0.0,) * len(sums.earlier), False)
        if len(known) == len(sums.earlier):
            counted = sums.value(cells, limit, ab, known, False)
            total = sums.value(cells, limit, ab, known, True) if sums.own else None
        else:
            reasons.append(f"what '{found.recovery}' says of recovery is unknown without the time between the courses")
        judged = total if sums.own else counted
        if judged is not None:
            verdict = _verdict(found, limit, judged)
        if counted is not None and np.isfinite(counted[1]):
            left = limit.limit_gy - counted[1]
            if counted[0] != counted[1]:
                reasons.append("earlier doses are known by bounds only: at least so much is left")
            if fractions is not None:
                dose_gy = float(budget_of(limit.limit_gy, counted[1], 0.0, fractions, ab, limit.quantity).dose_gy)
    if (below := _below_analysis(cells, limit, sums)) is not None:
        reasons.append(below)
    upper = "" if limit.upper_gy is None else f" to {limit.upper_gy:g}"
    label = limit.quantity if ab is None else f"{limit.quantity}(a/b={ab:g})"
    if limit.alpha_beta_gy is None and ab is not None:
        reasons.append(f"the source tells no alpha/beta; {ab:g} Gy is that of the tissue")
    return BudgetRow(
        organ, found.id, found.title, limit.metric, label, f"{limit.operator} {limit.limit_gy:g}{upper}",
        limit.limit_gy, found.recovery, discounts, prior, counted, total, left, dose_gy, fractions, verdict,
        limit.mark, limit.rules, "; ".join(reasons),
    )  # fmt: skip


def _below_analysis(cells: Cells, limit: CumulativeLimit, sums: _Sums) -> str | None:
    """Words for an organ that has had less than those of the source's analysis, which then says nothing of it."""
    if limit.analysed_from_gy is None:
        return None
    asked = CumulativeLimit(
        limit.organs, "Max[Gy]", "<=", limit.analysed_from_gy, None, "EQD2", ANALYSED_ALPHA_BETA_GY,
        limit.analysed_mark, ("KO-92",),
    )  # fmt: skip
    largest = sums.value(cells, asked, ANALYSED_ALPHA_BETA_GY, (0.0,) * len(sums.earlier), bool(sums.own))
    if largest is None or not largest[1] < limit.analysed_from_gy:
        return None
    unsure = "" if limit.analysed_mark == "seed" else f", {limit.analysed_mark}: printed without a quantity"
    return (
        f"below KO-92: at most {largest[1]:.1f} Gy EQD2 (alpha/beta {ANALYSED_ALPHA_BETA_GY:g}) of all courses; organs "
        f"under {limit.analysed_from_gy:g} Gy were not in the study's analysis (KO-92{unsure})"
    )


def _verdict(found: LimitSet, limit: CumulativeLimit, value: Bounds) -> Verdict:
    if not found.is_limit:
        return "report"
    verdicts = {limit.holds(value[0]), limit.holds(value[1])}
    return "unknown" if len(verdicts) == 2 else "pass" if verdicts == {True} else "fail"


def _told(bounds: Bounds | None) -> list[float | None] | None:
    if bounds is None:
        return None
    return [round(value, 2) if np.isfinite(value) else None for value in bounds]
