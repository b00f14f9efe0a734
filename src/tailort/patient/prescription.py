"""What the physician asks for: doses to targets and limits to organs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tailort.errors import InputError
from tailort.patient.metric import Metric
from tailort.patient.painted import Painted

Operator = Literal["<", "<=", ">", ">="]
Priority = Literal["hard", "goal", "report"]
MAX_PHYSICAL_COURSE_GY = 200.0


@dataclass(frozen=True)
class Normalisation:
    """How a prescribed dose is tied to the plan.

    kind "coverage": `metric` (D95%[Gy] ...) of the target, or of the `structure` in it, equals the dose; "point":
    the dose at `point_mm` (LPS mm); "isodose": `percent` of the point's dose; "depth": `depth_mm` below the anterior
    skin.
    """

    kind: Literal["coverage", "point", "isodose", "depth"]
    metric: str | None = None
    point_mm: tuple[float, float, float] | None = None
    percent: float | None = None
    depth_mm: float | None = None
    structure: str | None = None

    def __post_init__(self) -> None:
        needs = {"coverage": self.metric, "point": self.point_mm, "isodose": self.percent, "depth": self.depth_mm}
        if needs[self.kind] is None:
            raise InputError(f"a prescription normalised by {self.kind} must say which {self.kind}")
        if self.metric is not None:
            Metric.parse(self.metric)

    @property
    def covered_share(self) -> float | None:
        """Share of the volume that gets the dose at least: 0.95 by D95%; None where that is not what ties it."""
        metric = None if self.metric is None else Metric.parse(self.metric)
        if metric is None or metric.kind != "D" or metric.at_unit != "%" or metric.at is None:
            return None
        return metric.at / 100.0


@dataclass(frozen=True)
class Prescription:
    """Dose to one target in one phase of the course.

    Parameters
    ----------
    target : str
        Name of the target structure.
    dose_gy : float
        Physical dose of the whole phase, Gy.
    fractions : int
        Number of fractions of the phase.
    normalisation : Normalisation
        How the dose is tied to the plan.
    phase : int
        1 for the first phase.
    painted : Painted or None
        Dose of each point, where it is not the same in the whole target; `dose_gy` is then its mean.
    """

    target: str
    dose_gy: float
    fractions: int
    normalisation: Normalisation
    phase: int = 1
    painted: Painted | None = None

    def __post_init__(self) -> None:
        if not 0 < self.dose_gy <= MAX_PHYSICAL_COURSE_GY:
            raise InputError(f"prescription of '{self.target}': {self.dose_gy:g} Gy is not in (0, 200] Gy per course")
        if self.fractions < 1:
            raise InputError(f"prescription of '{self.target}': {self.fractions} fractions; at least 1 is needed")

    @property
    def tied_to(self) -> str:
        """Structure whose coverage the dose is about."""
        return self.normalisation.structure or self.target

    @property
    def in_words(self) -> str:
        """Target and dose in short."""
        if self.painted is None or self.painted.is_even:
            return f"{self.target} {self.dose_gy:g} Gy"
        low, high = self.painted.least_gy, self.painted.most_gy
        return f"{self.target} painted between {low:g} and {high:g} Gy (mean of {self.tied_to} {self.dose_gy:g} Gy)"

    @property
    def dose_per_fraction_gy(self) -> float:
        """Physical dose of one fraction, Gy."""
        return self.dose_gy / self.fractions


def levels_gy(prescriptions: Sequence[Prescription]) -> dict[str, float]:
    """Dose that each structure is to get in all phases, Gy, by the structure that prescriptions are tied to.

    Phases add up; prescriptions of one phase that are tied to one structure, such as those of the parts of a painted
    one, ask for one dose.

    Examples
    --------
    >>> rule = Normalisation("coverage", metric="Mean[Gy]", structure="GTV")
    >>> levels_gy([Prescription("GTVp", 63.0, 30, rule), Prescription("GTVn", 63.0, 30, rule)])
    {'GTV': 63.0}
    """
    by_phase: dict[tuple[str, int], float] = {}
    for p in prescriptions:
        by_phase[p.tied_to, p.phase] = max(p.dose_gy, by_phase.get((p.tied_to, p.phase), 0.0))
    found: dict[str, float] = {}
    for (structure, _), dose_gy in by_phase.items():
        found[structure] = found.get(structure, 0.0) + dose_gy
    return found


@dataclass(frozen=True)
class Constraint:
    """A limit on one metric of one structure.

    Parameters
    ----------
    structure : str
        TG-263 name.
    metric : str
        In the grammar of `Metric`.
    operator : {"<", "<=", ">", ">="}
        As printed in the source; never normalised.
    limit : float
        In the metric's unit.
    priority : {"hard", "goal", "report"}
        A hard limit violated is exit status 3.
    quantity : {"physical", "BED", "EQD2"}
        Of the dose that is judged.
    alpha_beta_gy : float or None
        Of BED and EQD2.
    scope : {"course", "cumulative"}
        This course alone, or the sum with all earlier ones.
    source : str
        Rule id and document.
    mark : str
        How sure the number is ("seed", "borrowed", "lit-recalled", ...).
    """

    structure: str
    metric: str
    operator: Operator
    limit: float
    priority: Priority
    source: str
    quantity: Literal["physical", "BED", "EQD2"] = "physical"
    alpha_beta_gy: float | None = None
    scope: Literal["course", "cumulative"] = "course"
    mark: str = ""

    def __post_init__(self) -> None:
        Metric.parse(self.metric)
        if not math.isfinite(self.limit):
            raise InputError(f"limit on '{self.structure}': {self.metric} {self.operator} {self.limit} is no number")
        if self.operator not in ("<", "<=", ">", ">="):
            raise InputError(f"limit on '{self.structure}': unknown operator '{self.operator}'")
        if (self.quantity == "physical") != (self.alpha_beta_gy is None):
            raise InputError(f"limit on '{self.structure}': BED and EQD2 need an alpha/beta, physical dose has none")

    def holds(self, value: float) -> bool:
        """Whether a value meets the limit, by the printed operator."""
        return {
            "<": value < self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            ">=": value >= self.limit,
        }[self.operator]

    @property
    def label(self) -> str:
        """The quantity as scorecards print it."""
        return self.quantity if self.alpha_beta_gy is None else f"{self.quantity}(a/b={self.alpha_beta_gy:g})"
