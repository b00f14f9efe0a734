"""The scorecard: every limit and every coverage of a plan, with its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tailort.errors import InputError
from tailort.evaluation.accumulation import EarlierCourse, accumulate
from tailort.evaluation.dvh import DVH, Scope, dvh, in_percent_of_prescription
from tailort.evaluation.outcome import equivalent_gy
from tailort.geometry.solid import EndCap
from tailort.patient import Constraint, Dose, Metric, Prescription, Structure, StructureSet
from tailort.patient.dose import Quantity
from tailort.patient.prescription import Operator, Priority, levels_gy
from tailort.radiobiology import Exposure, course_dose, in_its_quantity, set_of

Verdict = Literal["pass", "fail", "report", "unknown"]

DEFAULT_METRICS = (
    "Volume[cc]", "Mean[Gy]", "Max[Gy]", "Min[Gy]", "D98%[Gy]", "D95%[Gy]", "D50%[Gy]", "D5%[Gy]", "D2%[Gy]",
    "D1cc[Gy]", "D0.035cc[Gy]", "D0.03cc[Gy]",
)  # fmt: skip
"""What an existing plan is asked when no protocol asks anything."""

DECIMALS = 4
"""Values are stated, and judged as stated, to this many decimals of Gy, cm3 or %."""


@dataclass(frozen=True)
class Row:
    """One line of a scorecard.

    Parameters
    ----------
    structure, metric, quantity, scope
        What is asked; quantity is "physical", "EQD2(a/b=3)", "BED(a/b=3)", scope "course" or "cumulative".
    value : float or None
        In the metric's unit; None is unknown.
    operator, limit
        As printed in the source; None where nothing is asked of the value.
    priority : {"hard", "goal", "report"}
        What a miss means.
    verdict : {"pass", "fail", "report", "unknown"}
        By the value as stated.
    source, mark : str
        Rule and document, and how sure the number is.
    reason : str
        Why a value or a verdict is unknown; what bounds led to a verdict without a value.
    extrapolated : str
        Of TCP, NTCP and ERR: whether the dose is outside what the set of parameters was fitted to, "no", or "yes" or
        "unknown" with the reasons; empty for other metrics.
    """

    structure: str
    metric: str
    quantity: str
    scope: Scope
    value: float | None
    operator: Operator | None
    limit: float | None
    priority: Priority
    verdict: Verdict
    source: str
    mark: str = ""
    reason: str = ""
    extrapolated: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "structure": self.structure,
            "metric": self.metric,
            "quantity": self.quantity,
            "scope": self.scope,
            "value": self.value,
            "operator": self.operator,
            "limit": self.limit,
            "priority": self.priority,
            "verdict": self.verdict,
            "source": self.source,
            "mark": self.mark,
            "reason": self.reason,
            "extrapolated": self.extrapolated,
        }

    @property
    def excess(self) -> float | None:
        """By how much a failed limit is missed, in the metric's unit; None when it is not failed or has no value."""
        if self.verdict != "fail" or self.value is None or self.limit is None:
            return None
        return abs(self.value - self.limit)


@dataclass(frozen=True)
class Scorecard:
    """Rows of one plan, and the histograms they were read from.

    Parameters
    ----------
    rows : tuple of Row
        Coverage of the prescriptions first, then the limits, then what is only reported.
    histograms : dict of DVH
        Physical dose of the course, by structure.
    """

    rows: tuple[Row, ...]
    histograms: Mapping[str, DVH] = field(default_factory=dict, compare=False, repr=False)

    @property
    def hard_failures(self) -> tuple[Row, ...]:
        """Hard limits that are violated."""
        return tuple(row for row in self.rows if row.priority == "hard" and row.verdict == "fail")

    @property
    def hard_unknowns(self) -> tuple[Row, ...]:
        """Hard limits that could not be judged."""
        return tuple(row for row in self.rows if row.priority == "hard" and row.verdict == "unknown")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form, {"metrics": [...]}."""
        return {"metrics": [row.as_dict() for row in self.rows]}


def assess(
    structures: StructureSet,
    dose: Dose | Sequence[Dose],
    constraints: Sequence[Constraint],
    prescriptions: Sequence[Prescription],
    *,
    metrics: Mapping[str, Sequence[str]] | None = None,
    coverage_priority: Priority = "goal",
    first_treatment: bool = False,
    earlier: Sequence[EarlierCourse] = (),
    after_oesophagectomy: bool | None = None,
    end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
    known: Mapping[str, DVH] | None = None,
) -> Scorecard:
    """Judge the dose of a course by its prescriptions and limits.

    Parameters
    ----------
    structures : StructureSet
        In the frame of reference of the dose.
    dose : Dose or sequence of Dose
        Physical, of the whole course or of one fraction with known fractions; of a course of several phases each
        phase's, with its own fractions, on one grid.
    constraints : sequence of Constraint
        One row each, in this order. A limit in BED or EQD2 is judged on samples that are converted first; of several
        phases the voxels are, each phase with its own fractions, and summed (`tailort.radiobiology.course_dose`).
    prescriptions : sequence of Prescription
        Each coverage becomes a row unless a constraint asks the same; what 100 % of a dose is comes from here.
    metrics : dict of sequences of str, optional
        Metrics by structure that are only reported, such as `DEFAULT_METRICS` for every name.
    coverage_priority : {"hard", "goal", "report"}
        Of the coverage rows.
    first_treatment : bool
        Whether it is known that there was no earlier course: then a cumulative limit is judged on this course.
    earlier : sequence of EarlierCourse
        All earlier courses, on the grid of `dose`: cumulative limits are judged on the sum, without recovery. Where
        there are none and it is no first treatment either, cumulative limits stay unknown.
    after_oesophagectomy : bool or None
        Whether the oesophagus was removed, for models of outcome that do not hold then; None is unknown.
    end_cap : str
        How solids end beyond their first and last contour.
    single_slice_thickness_mm : float, optional
        Slice distance of the image, for structures that are drawn on one slice only.
    known : dict of DVH, optional
        Histograms of the course's physical dose that were made before, by the structures' own names.

    Returns
    -------
    Scorecard
        A structure or a fact that is missing makes a row unknown, with the reason, never an error.

    Raises
    ------
    InputError
        When the dose is not physical, or a metric asks for an outcome by a set of parameters that is not known or is
        for other structures.
    """
    constraints = [in_its_quantity(c) for c in constraints]
    phases = (dose,) if isinstance(dose, Dose) else tuple(dose)
    for one in phases:
        if one.quantity != "physical":
            raise InputError(f"a plan is assessed on its physical dose; found {one.label}")
    judge = _Judge(
        structures,
        course_dose(phases),
        phases,
        tuple(prescriptions),
        first_treatment,
        tuple(earlier),
        after_oesophagectomy,
        end_cap,
        single_slice_thickness_mm,
        dict(known or {}),
    )
    told = {(c.structure.lower(), c.metric, c.operator, c.limit) for c in constraints}
    rows = [
        judge.row(c)
        for c in _coverage(prescriptions, coverage_priority)
        if (c.structure.lower(), c.metric, c.operator, c.limit) not in told
    ]
    rows += [judge.row(c) for c in constraints]
    for name, asked in (metrics or {}).items():
        rows += [judge.report(name, metric) for metric in asked]
    return Scorecard(tuple(rows), dict(judge.histograms))


def _coverage(prescriptions: Sequence[Prescription], priority: Priority) -> list[Constraint]:
    """What the prescriptions ask of their targets, over all phases of one target."""
    metrics = dict.fromkeys(p.normalisation.metric for p in prescriptions if p.normalisation.metric is not None)
    total = {
        (target, text): dose_gy
        for text in metrics
        for target, dose_gy in levels_gy([p for p in prescriptions if p.normalisation.metric == text]).items()
    }
    asked = []
    for (target, text), dose_gy in total.items():
        metric = Metric.parse(text)
        if not metric.is_dose:
            raise InputError(f"prescription of '{target}' is normalised by {text}; expected a dose, such as D95%[Gy]")
        limit = dose_gy if metric.unit == "Gy" else 100.0
        asked.append(Constraint(target, text, ">=", limit, priority, f"prescription of {target}"))
    return asked


@dataclass(frozen=True)
class _Judge:
    structures: StructureSet
    dose: Dose
    phases: tuple[Dose, ...]
    prescriptions: tuple[Prescription, ...]
    first_treatment: bool
    earlier: tuple[EarlierCourse, ...]
    after_oesophagectomy: bool | None
    end_cap: EndCap
    single_slice_thickness_mm: float | None
    histograms: dict[str, DVH] = field(default_factory=dict)
    converted: dict[tuple[str, Quantity, float | None, Scope], DVH] = field(default_factory=dict)
    fraction_gy: dict[str, float] = field(default_factory=dict)

    def report(self, structure: str, metric: str) -> Row:
        if Metric.parse(metric).is_outcome:
            asked = in_its_quantity(Constraint(structure, metric, "<=", 0.0, "report", ""))
            return replace(self.row(asked), operator=None, limit=None)
        blank = Row(
            structure, str(Metric.parse(metric)), "physical", "course", None, None, None, "report", "report", ""
        )
        try:
            low, high = self.bounds(structure, metric, "physical", None)
        except InputError as error:
            return replace(blank, verdict="unknown", reason=str(error))
        if low != high:
            return replace(blank, verdict="unknown", reason=self.outside(self.histogram(structure), metric, low, high))
        return replace(blank, value=round(low, DECIMALS))

    def row(self, c: Constraint) -> Row:
        metric, found = Metric.parse(c.metric), self.judged(c)
        if not metric.is_outcome:
            return found
        by = set_of(metric, c.structure)
        mark = f"{c.mark}; model {by.every_mark}" if c.mark else by.every_mark
        source = "; ".join(filter(None, (c.source, by.cited)))
        return replace(found, source=source, mark=mark, extrapolated=self.extrapolated(c))

    def extrapolated(self, c: Constraint) -> str:
        """Whether the model of an outcome holds for this dose and patient."""
        by = set_of(Metric.parse(c.metric), c.structure)
        try:
            exposure = Exposure(
                tuple(p.dose_per_fraction_gy for p in self.prescriptions),
                self.highest_fraction_gy(c.structure),
                equivalent_gy(self.histogram_in(c.structure, c.quantity, c.alpha_beta_gy, c.scope), by),
                c.scope == "cumulative" and bool(self.earlier),
                self.after_oesophagectomy,
            )
        except InputError as error:
            return f"unknown: {error}"
        return by.extrapolated(exposure)

    def highest_fraction_gy(self, structure: str) -> float:
        """Highest physical dose of one fraction of any phase in a structure, Gy."""
        found = self.structures[structure]
        if found.name not in self.fraction_gy:
            several = len(self.phases) > 1
            phases = [self.made(found, one) for one in self.phases] if several else [self.histogram(structure)]
            self.fraction_gy[found.name] = max(one.per_fraction().highest_gy for one in phases)
        return self.fraction_gy[found.name]

    def judged(self, c: Constraint) -> Row:
        blank = Row(
            c.structure, c.metric, c.label, c.scope, None, c.operator, c.limit, c.priority, "unknown", c.source, c.mark
        )
        if c.scope == "cumulative" and not self.first_treatment and not self.earlier:
            return replace(blank, reason="earlier courses are not summed here")
        try:
            low, high = self.bounds(c.structure, c.metric, c.quantity, c.alpha_beta_gy, c.scope)
        except InputError as error:
            return replace(blank, reason=str(error))
        low, high = round(low, DECIMALS), round(high, DECIMALS)
        value = low if low == high else None
        summed = self.histogram_in(c.structure, c.quantity, c.alpha_beta_gy, c.scope)
        reason = "" if low == high else self.outside(summed, c.metric, low, high)
        if c.priority == "report":
            return replace(blank, value=value, verdict="unknown" if value is None else "report", reason=reason)
        verdicts = {c.holds(low), c.holds(high)}
        verdict: Verdict = "unknown" if len(verdicts) == 2 else "pass" if verdicts == {True} else "fail"
        return replace(blank, value=value, verdict=verdict, reason=reason)

    def bounds(
        self,
        structure: str,
        metric: str,
        quantity: Quantity,
        alpha_beta_gy: float | None,
        scope: Scope = "course",
    ) -> tuple[float, float]:
        histogram = self.histogram_in(structure, quantity, alpha_beta_gy, scope)
        m = Metric.parse(metric)
        if m.is_outcome:
            # No model of outcome is judged without the fractions that it holds for.
            for phase in self.phases:
                phase.known_fractions()
        in_percent = in_percent_of_prescription(m)
        full_gy = self.full_dose_gy(structure, metric) if in_percent else None
        if in_percent and quantity != "physical":
            raise InputError(f"{metric} in {histogram.label}: percent of a prescription is asked of physical dose only")
        return histogram.bounds(m, full_gy)

    def histogram(self, structure: str) -> DVH:
        found = self.structures[structure]
        if found.name not in self.histograms:
            self.histograms[found.name] = self.made(found, self.dose)
        return self.histograms[found.name]

    def histogram_in(self, structure: str, quantity: Quantity, alpha_beta_gy: float | None, scope: Scope) -> DVH:
        summed: Scope = scope if self.earlier else "course"
        if summed == "course" and (quantity == "physical" or len(self.phases) == 1):
            return self.histogram(structure).converted(quantity, alpha_beta_gy)
        found = self.structures[structure]
        key = (found.name, quantity, alpha_beta_gy, summed)
        if key not in self.converted:
            self.converted[key] = self.made(found, self.total(quantity, alpha_beta_gy, summed), summed)
        return self.converted[key]

    def total(self, quantity: Quantity, alpha_beta_gy: float | None, scope: Scope) -> Dose:
        if scope == "course":
            return course_dose(self.phases, quantity, alpha_beta_gy)
        if alpha_beta_gy is None:
            raise InputError("physical doses of several courses are not added up: ask for BED or EQD2")
        return accumulate(self.earlier, self.phases, quantity, alpha_beta_gy)

    def made(self, structure: Structure, dose: Dose, scope: Scope = "course") -> DVH:
        return dvh(
            structure,
            dose,
            end_cap=self.end_cap,
            single_slice_thickness_mm=self.single_slice_thickness_mm,
            scope=scope,
        )

    def full_dose_gy(self, structure: str, metric: str) -> float:
        """What 100 % is: a target's own prescription, for other structures the only one."""
        total: dict[str, float] = {}
        for p in self.prescriptions:
            total[p.target.lower()] = total.get(p.target.lower(), 0.0) + p.dose_gy
        own = total.get(structure.lower())
        if own is not None:
            return own
        if len(set(total.values())) != 1:
            raise InputError(
                f"{metric} of '{structure}' is in percent of a prescription, and there are {len(total)}; ask it in Gy"
            )
        return next(iter(total.values()))

    @staticmethod
    def outside(histogram: DVH, metric: str, low: float, high: float) -> str:
        top = f"and {high:.4g}" if math.isfinite(high) else "and any higher value"
        if not histogram.outside_cm3:
            return f"an earlier course is known by bounds only, so {metric} is between {low:.4g} {top}"
        return (
            f"{histogram.outside_cm3:.3g} of {histogram.volume_cm3:.4g} cm3 lie outside the dose grid, so {metric} is "
            f"between {low:.4g} {top}"
        )
