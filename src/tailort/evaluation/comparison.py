"""Two plans of one patient side by side: is the target dose worth more, and is every organ spared?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tailort.errors import InputError
from tailort.evaluation.dvh import DVH, dvh
from tailort.evaluation.scorecard import DECIMALS
from tailort.geometry.solid import EndCap
from tailort.patient import Constraint, Dose, Metric, Prescription, StructureSet
from tailort.radiobiology import bed, eqd2

Answer = Literal["yes", "no", "unknown"]

_TARGET_ROLES = ("GTV", "CTV", "ITV", "PTV")
_ORGAN_ROLES = ("ORGAN", "AVOIDANCE")


@dataclass(frozen=True, eq=False)
class Arm:
    """One of the two plans.

    Parameters
    ----------
    label : str
        Such as "SMART" and "conventional".
    structures : StructureSet
        In the frame of reference of the dose.
    dose : Dose
        Physical, of the course, with known fractions.
    prescriptions : tuple of Prescription
        Of the course.
    histograms : dict of DVH
        Physical histograms of the course that exist already, by structure.
    """

    label: str
    structures: StructureSet
    dose: Dose
    prescriptions: tuple[Prescription, ...]
    histograms: Mapping[str, DVH] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dose.quantity != "physical" or self.dose.per != "course":
            raise InputError(
                f"plan '{self.label}' is compared by its physical dose of the course; found {self.dose.label} dose "
                f"per {self.dose.per}"
            )
        self.dose.known_fractions()


@dataclass(frozen=True)
class PrescribedLevel:
    """What a prescribed dose is worth to the tumour.

    Parameters
    ----------
    plan, target : str
        Whose plan, which volume.
    dose_gy, fractions, dose_per_fraction_gy
        Physical.
    bed_gy, eqd2_gy : float
        At the comparison's alpha/beta of the tumour, Gy per course.
    """

    plan: str
    target: str
    dose_gy: float
    fractions: int
    dose_per_fraction_gy: float
    bed_gy: float
    eqd2_gy: float


@dataclass(frozen=True)
class ComparedRow:
    """One number of one structure in both plans.

    Parameters
    ----------
    structure : str
        Name.
    kind : {"target", "organ"}
        For targets more is wanted, for organs less, unless the metric's own limit says otherwise.
    metric : str
        Such as "gEUD(a=-10)[Gy]", "Mean[Gy]".
    quantity : str
        "physical", "EQD2(a/b=10)" ...
    per : {"course", "fraction"}
        Whether the numbers are of the course or of one fraction.
    plan, comparator : float or None
        The two values, as stated; None is unknown.
    lower : {"yes", "no", "unknown"}
        Whether the plan's value is below the comparator's.
    worse : {"yes", "no", "unknown"}
        Whether the plan's value is on the wrong side of the comparator's.
    reason : str
        Why a value is unknown.
    """

    structure: str
    kind: Literal["target", "organ"]
    metric: str
    quantity: str
    per: Literal["course", "fraction"]
    plan: float | None
    comparator: float | None
    lower: Answer
    worse: Answer
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "structure": self.structure,
            "kind": self.kind,
            "metric": self.metric,
            "quantity": self.quantity,
            "per": self.per,
            "plan": self.plan,
            "comparator": self.comparator,
            "lower": self.lower,
            "worse": self.worse,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Comparison:
    """A plan against a comparator on the same patient.

    Parameters
    ----------
    plan, comparator : str
        Their labels.
    levels : tuple of PrescribedLevel
        Of both, from the prescriptions.
    rows : tuple of ComparedRow
        Targets first, then organs.
    """

    plan: str
    comparator: str
    levels: tuple[PrescribedLevel, ...]
    rows: tuple[ComparedRow, ...]

    @property
    def targets(self) -> tuple[ComparedRow, ...]:
        """Rows of the targets."""
        return tuple(row for row in self.rows if row.kind == "target")

    @property
    def organs(self) -> tuple[ComparedRow, ...]:
        """Rows of the organs."""
        return tuple(row for row in self.rows if row.kind == "organ")

    @property
    def worse_organs(self) -> tuple[ComparedRow, ...]:
        """Every organ and metric in which the plan is worse than the comparator."""
        return tuple(row for row in self.organs if row.worse == "yes")

    @property
    def worse_by_organ(self) -> dict[str, tuple[str, ...]]:
        """Every organ that is worse, with the two values of each metric.

        Mean and maximum of the course are left out where those of one fraction, which say the same, are told.
        """
        told: dict[str, list[str]] = {}
        of_fraction = {(row.structure, row.metric) for row in self.worse_organs if row.per == "fraction"}
        for row in self.worse_organs:
            if row.per == "course" and row.quantity == "physical" and (row.structure, row.metric) in of_fraction:
                continue
            digits = 3 if row.per == "fraction" else 2
            quantity = "" if row.quantity == "physical" else f" {row.quantity}"
            told.setdefault(row.structure, []).append(
                f"{row.metric}{quantity} {row.plan:.{digits}f} against {row.comparator:.{digits}f} per {row.per}"
            )
        return {name: tuple(metrics) for name, metrics in told.items()}

    @property
    def statements(self) -> tuple[str, ...]:
        """One sentence for each organ in which the plan is worse; one if there is none."""
        worse = tuple(f"{name}: {'; '.join(metrics)}" for name, metrics in self.worse_by_organ.items())
        unknown = sorted({row.structure for row in self.organs if row.worse == "unknown"})
        if unknown:
            worse += (f"not known for {', '.join(unknown)}",)
        return worse or (f"no organ is worse with {self.plan} than with {self.comparator}",)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "plan": self.plan,
            "comparator": self.comparator,
            "levels": [vars(level) for level in self.levels],
            "rows": [row.as_dict() for row in self.rows],
            "worse": [{"structure": row.structure, "metric": row.metric, "per": row.per} for row in self.worse_organs],
        }


def compare(
    plan: Arm,
    comparator: Arm,
    constraints: Sequence[Constraint],
    *,
    tumour_alpha_beta_gy: float,
    target_a: float,
    end_cap: EndCap = "half_slice",
) -> Comparison:
    """Compare two plans of one patient, volume by volume.

    Parameters
    ----------
    plan, comparator : Arm
        The plan that claims to be better, and the one it is measured by.
    constraints : sequence of Constraint
        Their metrics are compared for their structures, in their own quantity, by the side that the limit asks for.
    tumour_alpha_beta_gy : float
        For BED and EQD2 of targets, Gy (10 in SM-13).
    target_a : float
        Exponent of gEUD of targets (-10 in RB-32).
    end_cap : str
        How solids end beyond their first and last contour.

    Notes
    -----
    Every volume that both plans have and that is a target of either (by prescription or by role) gets its mean, and
    the gEUD of its physical dose, its BED and its EQD2, the last two converted sample by sample first (RB-31). A
    target that only one plan has (each may have its own PTV) is taken from that plan for both. Every organ gets
    mean and maximum dose per fraction, each plan with its own fractions, mean and maximum of the course, and the
    metrics of its limits. Values are compared as stated, with the scorecard's number of decimals.
    """
    drawn = plan.structures.with_structures(*(s for s in comparator.structures if s.name not in plan.structures))
    first, second = _Doses(plan, drawn, end_cap), _Doses(comparator, drawn, end_cap)
    prescribed = {p.target.lower() for arm in (plan, comparator) for p in arm.prescriptions}
    targets = [s for s in drawn if not s.is_empty and (s.role in _TARGET_ROLES or s.name.lower() in prescribed)]
    names = {s.name.lower() for s in targets}
    limited = {c.structure.lower() for c in constraints}
    organs = [
        s
        for s in drawn
        if not s.is_empty and s.name.lower() not in names and (s.role in _ORGAN_ROLES or s.name.lower() in limited)
    ]
    rows: list[ComparedRow] = []
    for target in targets:
        rows += _target_rows(target.name, first, second, tumour_alpha_beta_gy, target_a)
    for organ in organs:
        rows += _organ_rows(organ.name, first, second, constraints)
    levels = [_level(arm.label, p, tumour_alpha_beta_gy) for arm in (plan, comparator) for p in arm.prescriptions]
    return Comparison(plan.label, comparator.label, tuple(levels), tuple(rows))


@dataclass(frozen=True)
class _Doses:
    """Histograms of one plan in the volumes of both, made once each."""

    arm: Arm
    drawn: StructureSet
    end_cap: EndCap
    made: dict[str, DVH] = field(default_factory=dict)

    def __getitem__(self, name: str) -> DVH:
        if name in self.arm.histograms and self.arm.structures.find(name) is self.drawn[name]:
            return self.arm.histograms[name]
        if name not in self.made:
            self.made[name] = dvh(self.drawn[name], self.arm.dose, end_cap=self.end_cap)
        return self.made[name]

    def full_dose_gy(self, name: str) -> float | None:
        """What 100 % is in this plan: the target's own prescription, else the only one."""
        total: dict[str, float] = {}
        for p in self.arm.prescriptions:
            total[p.target.lower()] = total.get(p.target.lower(), 0.0) + p.dose_gy
        if name.lower() in total:
            return total[name.lower()]
        return next(iter(total.values())) if len(set(total.values())) == 1 else None


def _target_rows(name: str, first: _Doses, second: _Doses, alpha_beta_gy: float, a: float) -> list[ComparedRow]:
    def row(metric: str, quantity: Literal["physical", "BED", "EQD2"]) -> ComparedRow:
        ab = None if quantity == "physical" else alpha_beta_gy
        label = first[name].converted(quantity, ab).label

        def ask(doses: _Doses) -> float:
            histogram = doses[name].converted(quantity, ab)
            return histogram.gEUD(a) if metric.startswith("gEUD") else histogram.value(metric)

        return _row(name, "target", metric, label, "course", ask, first, second, lower_is_better=False)

    geud = f"gEUD(a={a:g})[Gy]"
    return [
        row("D95%[Gy]", "physical"),
        row("Mean[Gy]", "physical"),
        row("Mean[Gy]", "BED"),
        row("Mean[Gy]", "EQD2"),
        row(geud, "physical"),
        row(geud, "BED"),
        row(geud, "EQD2"),
    ]


def _organ_rows(name: str, first: _Doses, second: _Doses, constraints: Sequence[Constraint]) -> list[ComparedRow]:
    rows = []
    for metric in ("Mean[Gy]", "Max[Gy]"):

        def of_fraction(doses: _Doses, metric: str = metric) -> float:
            return doses[name].per_fraction().value(metric)

        def of_course(doses: _Doses, metric: str = metric) -> float:
            return doses[name].value(metric)

        rows.append(_row(name, "organ", metric, "physical", "fraction", of_fraction, first, second))
        rows.append(_row(name, "organ", metric, "physical", "course", of_course, first, second))
    done = {("Mean[Gy]", "physical"), ("Max[Gy]", "physical")}
    for c in constraints:
        if c.structure.lower() != name.lower() or (c.metric, c.label) in done:
            continue
        if Metric.parse(c.metric).kind == "Volume":
            continue
        done.add((c.metric, c.label))

        def of_limit(doses: _Doses, c: Constraint = c) -> float:
            histogram = doses[name].converted(c.quantity, c.alpha_beta_gy)
            return histogram.value(c.metric, doses.full_dose_gy(name) if c.quantity == "physical" else None)

        lower_is_better = c.operator in ("<", "<=")
        rows.append(
            _row(name, "organ", c.metric, c.label, "course", of_limit, first, second, lower_is_better=lower_is_better)
        )
    return rows


def _row(
    name: str,
    kind: Literal["target", "organ"],
    metric: str,
    quantity: str,
    per: Literal["course", "fraction"],
    ask: Any,
    first: _Doses,
    second: _Doses,
    *,
    lower_is_better: bool = True,
) -> ComparedRow:
    values: list[float | None] = []
    reasons = []
    for doses in (first, second):
        try:
            values.append(round(float(ask(doses)), DECIMALS))
        except InputError as error:
            values.append(None)
            reasons.append(f"{doses.arm.label}: {error}")
    one, other = values
    if one is None or other is None:
        return ComparedRow(name, kind, metric, quantity, per, one, other, "unknown", "unknown", "; ".join(reasons))
    lower, higher = one < other, one > other
    worse = higher if lower_is_better else lower
    return ComparedRow(name, kind, metric, quantity, per, one, other, _answer(lower), _answer(worse))


def _answer(yes: bool) -> Answer:
    return "yes" if yes else "no"


def _level(plan: str, p: Prescription, alpha_beta_gy: float) -> PrescribedLevel:
    return PrescribedLevel(
        plan=plan,
        target=p.target,
        dose_gy=p.dose_gy,
        fractions=p.fractions,
        dose_per_fraction_gy=p.dose_per_fraction_gy,
        bed_gy=float(bed(p.dose_gy, p.fractions, alpha_beta_gy)),
        eqd2_gy=float(eqd2(p.dose_gy, p.fractions, alpha_beta_gy)),
    )
