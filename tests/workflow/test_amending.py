"""A plan that asks for other doses is planned once more, once, and both plans are kept (MS-76, MS-77, MS-78)."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tailort.evaluation import Row, Scorecard
from tailort.protocols import Protocol, load
from tailort.protocols.plans import amended, with_plan
from tailort.workflow import StageClock, planning
from tailort.workflow.amending import amendment_metrics, amendments_of

SALVAGE = load("salvage-crt")


def row(value: float | None, structure: str = "Stomach", metric: str = "V50Gy[%]", quantity: str = "physical") -> Row:
    verdict: Any = "unknown" if value is None else "report"
    reason = "the structure leaves the dose grid" if value is None else ""
    return Row(structure, metric, quantity, "course", value, None, None, "report", verdict, "", reason=reason)


def result(v50_percent: float | None, *others: Row, **more: Any) -> Any:
    told = {"title": "Plan C: involved field", "notes": (), "interrupted": False} | more
    return SimpleNamespace(scorecard=Scorecard((*others, row(v50_percent))), **told)


def protocol(plan: str = "C") -> Protocol:
    return with_plan(SALVAGE, plan)


@pytest.mark.parametrize(("v50_percent", "due"), [(0.0, "no"), (50.0, "no"), (50.01, "yes"), (None, "unknown")])
def test_more_than_half_of_the_stomach_at_50_gy_is_strict(v50_percent: float | None, due: str) -> None:
    (found,) = amendments_of(protocol(), result(v50_percent))
    assert (found.due, found.measured, found.rules) == (due, v50_percent, ("MS-76", "MS-77", "MS-78"))
    assert found.superseded is None


def test_a_row_of_another_organ_metric_or_quantity_is_not_taken_for_it() -> None:
    others = [row(99.0, "Heart"), row(99.0, metric="V40Gy[%]"), row(99.0, quantity="EQD2(a/b=3)")]
    (found,) = amendments_of(protocol(), result(10.0, *others))
    assert found.measured == 10.0


def test_an_organ_that_was_not_judged_leaves_it_unknown_and_says_why() -> None:
    (found,) = amendments_of(protocol(), SimpleNamespace(scorecard=Scorecard(()), title="x"))  # type: ignore[arg-type]
    assert (found.due, found.reason) == ("unknown", "Stomach is not drawn")
    (other,) = amendments_of(protocol(), result(None))
    assert "leaves the dose grid" in other.text


def test_the_metric_is_assessed_even_where_the_protocol_does_not_report_it() -> None:
    own = protocol()
    assert amendment_metrics(own) == ()  # the file reports it
    silent = replace(own, file=own.file.model_copy(update={"report": ()}))
    assert [(one.structure, one.metric) for one in amendment_metrics(silent)] == [("Stomach", "V50Gy[%]")]


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

        monkeypatch.setattr(planning, "plan_course", plan_course)
        monkeypatch.setattr(planning, "derive", derive)
        monkeypatch.setattr(planning, "_bench", lambda case, *_: SimpleNamespace(**vars(self.bench)))
        grid = SimpleNamespace(axes_mm=lambda: ((0.0,),))
        case = SimpleNamespace(ct=SimpleNamespace(image=SimpleNamespace(grid=grid)))
        options = SimpleNamespace(robust=False, setup_errors_mm=None)
        self.bench = SimpleNamespace(case=case, structures=(), machine=None, options=options)
        monkeypatch.setattr(planning, "positions_of", lambda _: ())

    def run(self, first: Any, own: Protocol, stop: bool = False) -> Any:
        asked: Any = SimpleNamespace(techniques=own.techniques(), machine=None)

        def keep() -> None:
            self.kept += 1

        clock = StageClock(lambda *_: None)
        bench: Any = self.bench
        return planning._amended(bench, asked, own, own.target_steps(), first, clock, lambda: stop, keep)


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
