"""What set-up errors do to a plan: bands of its histograms, worst and expected values of its scorecard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.evaluation.dvh import DVH, Scope, dvh
from tailort.evaluation.robustness_scenarios import Scenario, ScenarioSet
from tailort.evaluation.scorecard import DECIMALS, Row, Scorecard, Verdict, assess
from tailort.geometry.solid import EndCap
from tailort.patient import Constraint, Dose, Prescription, StructureSet
from tailort.patient.prescription import Operator, Priority
from tailort.radiobiology import course_dose

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Band:
    """Cumulative histograms of one structure in all scenarios.

    Parameters
    ----------
    structure : str
        Name.
    dose_gy : (n,) float
        Physical, of the course.
    by_scenario_cm3 : (scenarios, n) float
        Volume with at least each dose; volume beyond the dose grid counts at 0 Gy only.
    outside_cm3 : (scenarios,) float
        Volume beyond the dose grid, whose dose is unknown.
    nominal : int
        Which scenario is the nominal one.
    weights : (scenarios,) float or None
        With the sum 1; None where no probabilities are given.
    """

    structure: str
    dose_gy: Float
    by_scenario_cm3: Float
    outside_cm3: Float
    nominal: int
    weights: Float | None

    @property
    def volume_cm3(self) -> float:
        """Volume of the structure."""
        return float(self.by_scenario_cm3[self.nominal, 0])

    @property
    def nominal_cm3(self) -> Float:
        """Curve of the nominal position."""
        return np.asarray(self.by_scenario_cm3[self.nominal])

    @property
    def lowest_cm3(self) -> Float:
        """Smallest volume at each dose over the scenarios."""
        return np.asarray(self.by_scenario_cm3.min(axis=0))

    @property
    def highest_cm3(self) -> Float:
        """Largest volume at each dose over the scenarios; what lies beyond the dose grid may have any dose."""
        highest = (self.by_scenario_cm3 + self.outside_cm3[:, None]).max(axis=0)
        return np.asarray(np.minimum(highest, self.volume_cm3))

    @property
    def expected_cm3(self) -> Float | None:
        """Expected volume at each dose; None without weights, or where a part of the structure has no known dose."""
        if self.weights is None or self.outside_cm3[self.weights > 0].any():
            return None
        return np.asarray(self.weights @ self.by_scenario_cm3)


@dataclass(frozen=True)
class RobustRow:
    """One line of a scorecard over all scenarios.

    Parameters
    ----------
    structure, metric, quantity, scope, operator, limit, priority, source, mark
        As in `tailort.evaluation.Row`.
    nominal : float or None
        Value in the planned position, with the day-to-day blur where the scenarios have one; None is unknown.
    worst : float or None
        Highest value for a limit from above, lowest for one from below; None without a limit, or when a scenario's
        value is unknown.
    worst_scenario : str
        The first that has it.
    lowest, highest : float or None
        Over all scenarios; None when a scenario's value is unknown.
    expected : float or None
        Weighted mean over the scenarios; None without weights, or when a value that counts is unknown.
    held, scenarios : int
        In how many of all scenarios the limit holds.
    weight_held : float or None
        Sum of the weights of those: an estimate of a probability where the scenarios were drawn.
    verdict : {"pass", "fail", "report", "unknown"}
        Passes when it does in every scenario, fails when it does in one.
    reason : str
        Why something is unknown.
    """

    structure: str
    metric: str
    quantity: str
    scope: Scope
    operator: Operator | None
    limit: float | None
    priority: Priority
    nominal: float | None
    worst: float | None
    worst_scenario: str
    lowest: float | None
    highest: float | None
    expected: float | None
    held: int
    scenarios: int
    weight_held: float | None
    verdict: Verdict
    source: str
    mark: str = ""
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return dict(vars(self))


@dataclass(frozen=True)
class Robustness:
    """A plan in all scenarios.

    Parameters
    ----------
    scenarios : ScenarioSet
        The positions of the patient.
    method : str
        How the doses of the scenarios were made.
    rows : tuple of RobustRow
        In the order of the scorecards.
    cards : tuple of Scorecard
        Of each scenario, without histograms.
    bands : dict of Band
        By structure.
    """

    scenarios: ScenarioSet
    method: str
    rows: tuple[RobustRow, ...]
    cards: tuple[Scorecard, ...]
    bands: Mapping[str, Band] = field(default_factory=dict, compare=False, repr=False)

    @property
    def hard_failures(self) -> tuple[RobustRow, ...]:
        """Hard limits that do not hold in every scenario."""
        return tuple(row for row in self.rows if row.priority == "hard" and row.verdict == "fail")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**self.scenarios.as_dict(), "method": self.method, "metrics": [row.as_dict() for row in self.rows]}


def judge_scenarios(
    structures: StructureSet,
    scenarios: ScenarioSet,
    dose_of: Callable[[Scenario], Dose | Sequence[Dose]],
    constraints: Sequence[Constraint],
    prescriptions: Sequence[Prescription],
    *,
    method: str,
    bin_gy: float,
    metrics: Mapping[str, Sequence[str]] | None = None,
    rows_of: Callable[[Sequence[Dose]], Sequence[Row]] | None = None,
    coverage_priority: Priority = "goal",
    curves_of: Collection[str] = (),
    first_treatment: bool = False,
    end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Robustness:
    """Judge a plan in every scenario by its prescriptions and limits.

    Parameters
    ----------
    structures : StructureSet
        As planned: the patient's own coordinates. A PTV already stands for set-up errors, so that what its shifts mean
        is nothing; ask of the CTV, by prescriptions and constraints that name it.
    scenarios : ScenarioSet
        The positions of the patient.
    dose_of : callable
        Physical dose of a scenario in the patient's coordinates: `from_engine` or `from_cloud` of
        `tailort.evaluation.robustness_doses`; of several phases each phase's (`assess`). Asked once for each scenario,
        in order; the doses of one are held at a time.
    constraints, prescriptions, metrics, coverage_priority, first_treatment, end_cap, single_slice_thickness_mm
        As for `tailort.evaluation.assess`.
    method : str
        How `dose_of` makes the doses, in words for the report.
    bin_gy : float
        Distance of the doses of the bands, Gy.
    rows_of : callable or None
        Rows that no metric of a structure makes, of a scenario's doses; the same ones in every scenario.
    curves_of : collection of str
        Structures that get a band besides those with a metric.
    progress : callable, optional
        Called with the finished share, 0 to 1.

    Raises
    ------
    InputError
        When a dose is not physical.

    References
    ----------
    Unkelbach et al. 2018, PMB 63:22TR02, doi 10.1088/1361-6560/aae659 (review of robust planning).
    """
    if not bin_gy > 0:
        raise InputError(f"the distance of the doses of a DVH must be above 0 Gy; found {bin_gy:g}")
    cards: list[Scorecard] = []
    found: dict[str, list[tuple[Float, float]]] = {}
    for n, scenario in enumerate(scenarios.scenarios):
        doses = dose_of(scenario)
        card = assess(
            structures, doses, constraints, prescriptions, metrics=metrics, coverage_priority=coverage_priority,
            first_treatment=first_treatment, end_cap=end_cap, single_slice_thickness_mm=single_slice_thickness_mm,
        )  # fmt: skip
        parts = (doses,) if isinstance(doses, Dose) else tuple(doses)
        if rows_of is not None:
            card = replace(card, rows=(*card.rows, *rows_of(parts)))
        dose = course_dose(parts)
        more = {structures[name].name for name in curves_of} - set(card.histograms)
        histograms: dict[str, DVH] = dict(card.histograms)
        for name in sorted(more):
            histograms[name] = dvh(
                structures[name], dose, end_cap=end_cap, single_slice_thickness_mm=single_slice_thickness_mm
            )
        for name, histogram in histograms.items():
            found.setdefault(name, []).append((histogram.curve(bin_gy)[1], histogram.outside_cm3))
        cards.append(replace(card, histograms={}))
        if progress is not None:
            progress((n + 1) / len(scenarios))
    bands = {name: _band(name, curves, scenarios, bin_gy) for name, curves in found.items()}
    names = [one.name for one in scenarios.scenarios]
    rows = tuple(
        over_scenarios(list(rows), names, scenarios.nominal, scenarios.weights)
        for rows in zip(*(card.rows for card in cards), strict=True)
    )
    return Robustness(scenarios, method, rows, tuple(cards), bands)


def _band(name: str, curves: list[tuple[Float, float]], scenarios: ScenarioSet, bin_gy: float) -> Band:
    longest = max(len(curve) for curve, _ in curves)
    volumes = np.stack([np.pad(curve, (0, longest - len(curve))) for curve, _ in curves])
    weights = None if scenarios.weights is None else np.array(scenarios.weights)
    outside = np.array([left for _, left in curves])
    doses = bin_gy * np.arange(longest, dtype=np.float64)
    return Band(name, doses, volumes, outside, scenarios.nominal, weights)


def over_scenarios(
    rows: Sequence[Row], names: Sequence[str], nominal: int = 0, weights: Sequence[float] | None = None
) -> RobustRow:
    """Return one row of all scenarios' scorecards.

    Parameters
    ----------
    rows : sequence of Row
        The same of each scenario.
    names : sequence of str
        Of the scenarios.
    nominal : int
        Which of them is the planned one.
    weights : sequence of float or None
        With the sum 1; None where no probabilities are given.
    """
    one, values = rows[nominal], [row.value for row in rows]
    known = [value for value in values if value is not None]
    worst, where, lowest, highest = None, "", None, None
    if len(known) == len(rows):
        lowest, highest = min(known), max(known)
        if one.operator is not None:
            worst = highest if one.operator in ("<", "<=") else lowest
            where = names[values.index(worst)]
    expected = None
    if weights is not None:
        parts = [(weight, value) for weight, value in zip(weights, values, strict=True) if weight > 0]
        if all(value is not None for _, value in parts):
            expected = round(sum(weight * value for weight, value in parts if value is not None), DECIMALS)
    holds = [row.verdict == "pass" for row in rows]
    verdicts = {row.verdict for row in rows}
    verdict: Verdict = "pass" if verdicts == {"pass"} else "report" if verdicts == {"report"} else "unknown"
    if "fail" in verdicts:
        verdict = "fail"
    reasons = [f"{name}: {row.reason}" for name, row in zip(names, rows, strict=True) if row.reason]
    reason = reasons[0] if reasons else ""
    if len(reasons) > 1:
        reason += f"; and in {len(reasons) - 1} further scenarios"
    return RobustRow(
        structure=one.structure,
        metric=one.metric,
        quantity=one.quantity,
        scope=one.scope,
        operator=one.operator,
        limit=one.limit,
        priority=one.priority,
        nominal=one.value,
        worst=worst,
        worst_scenario=where,
        lowest=lowest,
        highest=highest,
        expected=expected,
        held=sum(holds),
        scenarios=len(rows),
        weight_held=None
        if weights is None or "unknown" in verdicts or verdict == "report"
        else float(sum(weight for weight, held in zip(weights, holds, strict=True) if held)),
        verdict=verdict,
        source=one.source,
        mark=one.mark,
        reason=reason,
    )
