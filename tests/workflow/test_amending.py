"""A plan that asks for other doses is planned once more, once, and both plans are kept (MS-76, MS-77, MS-78)."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tailort.evaluation import DVH, Row, Scorecard
from tailort.protocols import Protocol, load
from tailort.protocols.plans import amended, with_plan
from tailort.workflow import amending
from tailort.workflow.amending import Amended, amend, amendments_of
from tailort.workflow.clock import StageClock
from tailort.workflow.records import AmendmentFinding

SALVAGE = load("salvage-crt")


def row(value: float | None, structure: str = "Stomach", metric: str = "V50Gy[%]", quantity: str = "physical") -> Row:
    verdict: Any = "unknown" if value is None else "report"
    reason = "the structure leaves the dose grid" if value is None else ""
    return Row(structure, metric, quantity, "course", value, None, None, "report", verdict, "", reason=reason)


def result(v50_percent: float | None, *others: Row, **more: Any) -> Any:
    told = {"title": "Plan C: involved field", "notes": (), "interrupted": False, "phases": ()} | more
    return SimpleNamespace(scorecard=Scorecard((*others, row(v50_percent))), **told)


def found_in(v50_percent: float | None, *others: Row, held_down: tuple[str, ...] = ()) -> AmendmentFinding:
    (found,) = amendments_of(protocol(), "Plan C", Scorecard((*others, row(v50_percent))), held_down)
    return found


def protocol(plan: str = "C") -> Protocol:
    return with_plan(SALVAGE, plan)


@pytest.mark.parametrize(("v50_percent", "due"), [(0.0, "no"), (50.0, "no"), (50.01, "yes"), (None, "unknown")])
def test_more_than_half_of_the_stomach_at_50_gy_is_strict(v50_percent: float | None, due: str) -> None:
    found = found_in(v50_percent)
    assert (found.due, found.measured, found.entry.rules) == (due, v50_percent, ("MS-76", "MS-77", "MS-78"))
    assert found.superseded is None


def test_a_row_of_another_organ_metric_or_quantity_is_not_taken_for_it() -> None:
    others = [row(99.0, "Heart"), row(99.0, metric="V40Gy[%]"), row(99.0, quantity="EQD2(a/b=3)")]
    assert found_in(10.0, *others).measured == 10.0


def test_an_organ_that_was_not_judged_leaves_it_unknown_and_says_why() -> None:
    (found,) = amendments_of(protocol(), "x", Scorecard(()))
    assert (found.due, found.reason) == ("unknown", "Stomach is not drawn")
    assert "leaves the dose grid" in found_in(None).text


def test_the_metric_is_assessed_even_where_the_protocol_does_not_report_it() -> None:
    own = protocol()
    told = [(one.structure, one.metric) for one in own.report_metrics()]
    assert told.count(("Stomach", "V50Gy[%]")) == 1  # the file reports it
    silent = replace(own, file=own.file.model_copy(update={"report": ()}))
    assert [(one.structure, one.metric) for one in silent.report_metrics()] == [("Stomach", "V50Gy[%]")]


class Planner:
    """Stands for the planning of a course: tells what was asked, and gives results with known V50."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *v50_percent: float) -> None:
        self.requests: list[Any] = []
        self.made: list[str] = []
        self.kept = 0
        left = list(v50_percent)

        def plan_course(bench: Any, request: Any, *_: Any) -> Any:
            self.requests.append(request)
            return result(left.pop(0), title=request.title)

        def derive(steps: Any, structures: Any, _: Any) -> Any:
            self.made += [step.name for step in steps]
            return structures

        monkeypatch.setattr(amending, "plan_course", plan_course)
        monkeypatch.setattr(amending, "derive", derive)
        monkeypatch.setattr(amending, "bench_of", lambda case, *_: SimpleNamespace(**vars(self.bench)))
        grid = SimpleNamespace(axes_mm=lambda: ((0.0,),))
        case = SimpleNamespace(ct=SimpleNamespace(image=SimpleNamespace(grid=grid)))
        options = SimpleNamespace(robust=False, setup_errors_mm=None)
        self.bench = SimpleNamespace(case=case, structures=(), machine=None, options=options, registrations={})
        monkeypatch.setattr(amending, "positions_of", lambda _: ())

    def run(self, first: Any, own: Protocol, stop: bool = False) -> Amended:
        def keep() -> None:
            self.kept += 1

        clock = StageClock(lambda *_: None)
        bench: Any = self.bench
        return amend(bench, own.techniques(), own, own.target_steps(), first, clock, lambda: stop, keep)


# Plan A has volumes of some patients only, so the plans without them.
@pytest.mark.parametrize("plan", ["C", "D"])
def test_a_plan_over_the_threshold_is_planned_once_more_with_45_gy(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner(monkeypatch, 3.0)
    first, own = result(61.0), protocol(plan)
    again = planner.run(first, own)
    (request,) = planner.requests
    assert [(p.target, p.dose_gy, p.fractions) for p in request.prescriptions] == [("PTV_4500", 45.0, 25)]
    assert {c.limit for c in request.constraints if c.structure == "Stomach" and c.metric == "D0.03cc[Gy]"} == {47.25}
    assert planner.made == ["PTV_4500"]  # what was made before is not made again
    assert again.result is not first
    (found,) = again.findings
    assert (found.superseded, found.measured, found.protocol) == (first, 61.0, own)
    then = "planned once more with 45 Gy in 25 fractions to PTV_4500 in place of "
    usual = own.course()[0]
    assert f"{then}{usual.dose_gy:g} Gy in {usual.fractions} fractions to {usual.target} (MS-76" in found.text
    assert planner.kept == 1
    assert again.protocol == amended(own, "45-in-25")


def test_the_doses_are_amended_at_most_once(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner(monkeypatch, 90.0)
    again = planner.run(result(61.0), protocol())
    assert len(planner.requests) == 1
    assert [found.due for found in again.findings] == ["yes"]


def test_a_plan_below_the_threshold_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner(monkeypatch)
    first = result(50.0)
    again = planner.run(first, protocol())
    assert again.result is first
    assert [found.due for found in again.findings] == ["no"]
    assert (planner.requests, planner.kept, again.unfinished) == ([], 0, ())


def test_a_person_who_stops_before_it_keeps_the_first_plan_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner(monkeypatch)
    first = result(61.0)
    again = planner.run(first, protocol(), stop=True)
    assert again.result is first
    assert "Stomach V50Gy[%] is 61.00" in again.unfinished[0]


# --- a plan that has less than its dose


def stomach(hot_gy: float, hot_cm3: int) -> DVH:
    """A stomach of 100 cm3 of which a part gets one dose and the rest 10 Gy."""
    doses = np.where(np.arange(100) < hot_cm3, hot_gy, 10.0).astype(np.float32)
    return DVH("Stomach", 100.0, doses, np.ones(100), hot_gy, 10.0, 0.0, "physical", "course", 30, None)


@pytest.mark.parametrize("v50_percent", [41.0, 50.0])
def test_a_plan_that_a_limit_keeps_below_its_prescription_is_told_as_measured_low(v50_percent: float) -> None:
    held = ("the hard limit SpinalCord Max[Gy] < 45 keeps D95%[Gy] of PTV_6000 at 90.0 % of the 60 Gy",)
    found = found_in(v50_percent, held_down=held)
    assert (found.due, found.is_measured_low, found.held_down) == ("no", True, held)
    assert f"not > 50: the doses stay, but the plan has less than its dose: {held[0]}" in found.text
    assert found.as_dict()["held_down_by"] == list(held)
    # Of a plan with all of its dose nothing of that is told, and one over the threshold is amended anyway.
    assert not found_in(v50_percent).is_measured_low
    assert not found_in(61.0, held_down=held).is_measured_low


@pytest.mark.parametrize(("hot_cm3", "then"), [(49, "the doses would stay"), (61, "other doses would be due")])
def test_the_organ_is_told_as_it_would_be_with_all_of_the_dose(hot_cm3: int, then: str) -> None:
    """At 90 % of its dose a plan gives the hot part 46 Gy; with all of it that would be 51.1 Gy."""
    covered = Row("PTV_6000", "D95%[Gy]", "physical", "course", 54.0, ">=", 60.0, "goal", "fail", "MS-61")
    card = Scorecard((covered, row(0.0)), {"Stomach": stomach(46.0, hot_cm3)})
    (found,) = amendments_of(protocol(), "Plan C", card)
    assert (found.due, found.is_measured_low) == ("no", True)
    assert found.with_whole_dose == pytest.approx(hot_cm3, abs=0.6)
    assert "PTV_6000 D95%[Gy] is 54.00, not >= 60; with all of its dose it would be" in found.text
    assert then in found.text


def test_a_plan_with_all_of_its_dose_is_not_told_as_measured_low() -> None:
    covered = Row("PTV_6000", "D95%[Gy]", "physical", "course", 60.0, ">=", 60.0, "goal", "pass", "MS-61")
    card = Scorecard((covered, row(0.0)), {"Stomach": stomach(46.0, 61)})
    (found,) = amendments_of(protocol(), "Plan C", card)
    assert (found.is_measured_low, found.with_whole_dose) == (False, None)
    assert found.follows == "the doses stay"
