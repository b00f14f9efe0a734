"""Plans that hold limits over all courses in every draw of an uncertain registration, and what that costs."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import water_cases as w

from tailort.cli.commands import read_patient
from tailort.errors import InputError
from tailort.evaluation import assess
from tailort.geometry import Grid, Image, Transform
from tailort.patient import Case, Course, Dose
from tailort.protocols import Protocol, load
from tailort.registration import Registration
from tailort.web.prior_tables import drawn_tables
from tailort.workflow.clock import StageClock
from tailort.workflow.earlier import drawn_on
from tailort.workflow.options import PlanningOptions
from tailort.workflow.parts import cut_dose, part_around
from tailort.workflow.planning import plan
from tailort.workflow.records import PlanningRun
from tailort.workflow.registration_draws import drawn_courses

PROTOCOL = w.protocol("""
  - {structure: Esophagus, metric: "Max[Gy]", operator: "<", limit: 150, priority: hard, quantity: BED,
     alpha_beta_gy: 3, scope: cumulative}
  - {structure: Esophagus, metric: "Mean[Gy]", operator: "<", limit: 135, priority: hard, quantity: BED,
     alpha_beta_gy: 3, scope: cumulative}
""")
DRAWS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("draws")
    w.case(made / "today", [w.EXTERNAL, w.TUMOUR, w.OESOPHAGUS])
    (made / "own.yaml").write_text(PROTOCOL)
    return made


@pytest.fixture(scope="module")
def asked(folder: Path) -> tuple[Case, Protocol, Registration]:
    """A patient with an earlier dose that falls by 3 Gy a mm across the oesophagus, registered to 2 mm or so."""
    case = read_patient(folder / "today", StageClock(lambda stage, share: None))
    frame = case.ct.image.grid.frame_of_reference
    wide = Grid.axial((30, 40, 40), (3.0, 3.0, 3.0), (-60.0, -60.0, -45.0), "9.9")
    x = np.broadcast_to(-60.0 + 3.0 * np.arange(40), wide.shape)
    gy = np.clip(41.0 - 3.0 * (x + 5.0), 0.0, 60.0).astype(np.float32)
    dose = Dose(Image(wide, gy, "Gy"), "physical", "course", 25, None, "test")
    course = Course("2024", None, None, (dose,), last_fraction=dt.date(2025, 3, 14))
    near = Grid.axial((20, 30, 30), (3.0, 3.0, 3.0), (-45.0, -45.0, -30.0), frame)
    unsure = Image(near, np.full(near.shape, 3.0, dtype=np.float32), "mm")
    found = Registration(Transform(frame, "9.9", np.eye(4), None, "test"), None, "test", None, unsure)
    return replace(case, courses=(course,)), load(str(folder / "own.yaml")), found


def planned(asked: tuple[Case, Protocol, Registration], **options: Any) -> PlanningRun:
    case, protocol, found = asked
    made = PlanningOptions(dose_grid_mm=3.0, engine="pencil-nyholm", **options)
    return plan(
        case, protocol, made, StageClock(lambda stage, share: None), stop=lambda: False, keep=lambda: None,
        registrations={"2024": found},
    )  # fmt: skip


def in_draws(run: PlanningRun, asked: tuple[Case, Protocol, Registration]) -> list[tuple[float, float]]:
    """Maximum and mean of the oesophagus over all courses in each draw, judged by themselves."""
    case, protocol, found = asked
    (dose,) = (phase.dose for phase in run.main.phases)
    part = part_around(dose.image.grid, [run.structures["Esophagus"]])
    options = PlanningOptions(registration_scenarios=DRAWS)
    draws = drawn_courses(case, run.structures, protocol.constraints(), dose.image.grid, {"2024": found}, options)
    cards = [assess(run.structures, cut_dose(dose, part), protocol.constraints(), (), earlier=one) for one in draws]
    return [tuple(row.value for row in card.rows) for card in cards]  # type: ignore[misc]


def value(run: PlanningRun, structure: str, metric: str) -> float:
    (found,) = [r for r in run.main.scorecard.rows if (r.structure, r.metric) == (structure, metric)]
    assert found.value is not None
    return found.value


def test_a_robust_plan_holds_in_every_draw_where_the_plan_as_registered_does_not_and_costs_coverage(
    asked: tuple[Case, Protocol, Registration],
) -> None:
    nominal, robust = planned(asked), planned(asked, registration_scenarios=DRAWS)
    for run in (nominal, robust):
        assert not run.main.scorecard.hard_failures
    of_nominal, of_robust = in_draws(nominal, asked), in_draws(robust, asked)
    assert any(most >= 150 for most, _ in of_nominal)
    assert any(mean >= 135 for _, mean in of_nominal)
    assert all(most < 150 and mean < 135 for most, mean in of_robust)
    assert value(robust, "PTV_5000", "D95%[Gy]") < value(nominal, "PTV_5000", "D95%[Gy]") - 0.1
    # What the run tells of the draws is what they are.
    assert nominal.drawn_sums is None
    assert robust.drawn_sums is not None
    assert robust.drawn_sums.draws == DRAWS
    for n, row in enumerate(robust.drawn_sums.rows):
        values = [value(robust, "Esophagus", row.metric), *(one[n] for one in of_robust)]
        assert (row.lowest, row.highest) == (pytest.approx(min(values), abs=0.02), pytest.approx(max(values), abs=0.02))
        assert (row.worst, row.held, row.verdict) == (row.highest, DRAWS + 1, "pass")
    assert any(f"in {DRAWS} draws of the registrations" in note for note in robust.case.notes)
    assert drawn_tables(nominal) == []
    (table,) = drawn_tables(robust)
    assert f"in {DRAWS} draws" in table["title"]
    assert [(cells[0], cells[-1]) for cells in table["rows"]] == 2 * [("Esophagus", f"{DRAWS + 1} of {DRAWS + 1}")]


def test_there_must_be_a_registration_to_draw_from(asked: tuple[Case, Protocol, Registration]) -> None:
    case, protocol, found = asked
    sure = replace(found, uncertainty=None)
    with pytest.raises(InputError, match="registration-scenarios draws registrations"):
        planned((case, protocol, sure), registration_scenarios=DRAWS)


@pytest.mark.parametrize("count", [-1, 101])
def test_so_many_draws_are_refused(count: int) -> None:
    with pytest.raises(InputError, match="up to 100 times"):
        PlanningOptions(registration_scenarios=count)


def test_the_order_of_courses_draws_nothing_else(asked: tuple[Case, Protocol, Registration]) -> None:
    case, _, found = asked
    other = replace(case.courses[0], label="2020")
    grid = Grid.axial((5, 6, 7), (3.0, 3.0, 3.0), (-9.0, -8.0, -6.0), case.ct.image.grid.frame_of_reference)
    both = (case.courses[0], other)

    def drawn(courses: tuple[Course, ...]) -> list[dict[str, Any]]:
        registrations = {course.label: found for course in courses}
        draws = drawn_on(replace(case, courses=courses), grid, registrations, None, 3, 0)
        return [{course.label: course.doses[0].image.values for course in one} for one in draws]

    for one, turned in zip(drawn(both), drawn(both[::-1]), strict=True):
        for label in one:
            np.testing.assert_array_equal(one[label], turned[label])
        assert np.abs(one["2024"] - one["2020"]).max() > 0.1
