"""Without earlier courses, or without limits on them, a plan is the ordinary one; their order changes no bit of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import water_cases as w

from tailort.cli.commands import read_patient
from tailort.geometry import Image
from tailort.patient import Case, Course, Dose
from tailort.protocols import Protocol, load
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.planning import plan
from tailort.workflow.records import PlanResult

ORDINARY = w.protocol("""
  - {structure: Esophagus, metric: "Max[Gy]", operator: "<", limit: 48, priority: hard}
""")
ON_THE_SUM = """
  - {structure: Esophagus, metric: "Max[Gy]", operator: "<", limit: 115, priority: hard, quantity: BED,
     alpha_beta_gy: 3, scope: cumulative}
"""
Delivered = list[tuple[float, ...]]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("ordinary") / "today"
    w.case(folder, [w.EXTERNAL, w.TUMOUR, w.OESOPHAGUS])
    return read_patient(folder, StageClock(lambda stage, share: None))


@pytest.fixture(scope="module")
def protocols(tmp_path_factory: pytest.TempPathFactory) -> tuple[Protocol, Protocol]:
    """The one with a limit of this course only, and the one with a limit over all courses beside it."""
    folder = tmp_path_factory.mktemp("protocols")
    (folder / "ordinary.yaml").write_text(ORDINARY)
    (folder / "summed.yaml").write_text(ORDINARY.rstrip() + ON_THE_SUM)
    return load(str(folder / "ordinary.yaml")), load(str(folder / "summed.yaml"))


def course(case: Case, label: str, gy: float, fractions: int) -> Course:
    """A dose that falls from left to right, on the grid of the CT."""
    grid = case.ct.image.grid
    values = np.broadcast_to(np.linspace(1.2 * gy, 0.8 * gy, grid.shape[2]), grid.shape).astype(np.float32)
    dose = Dose(Image(grid, values, "Gy"), "physical", "course", fractions, None, "test")
    return Course(label, None, None, (dose,))


def planned(case: Case, protocol: Protocol, *courses: Course) -> PlanResult:
    options = PlanningOptions(dose_grid_mm=3.0, engine="pencil-nyholm")
    return plan(
        replace(case, courses=courses), protocol, options, StageClock(lambda stage, share: None), stop=lambda: False,
        keep=lambda: None,
    ).main  # fmt: skip


def delivered(result: PlanResult) -> Delivered:
    """Monitor units and leaves of every control point."""
    return [
        (point.mu, point.gantry_deg, *(() if point.leaves_mm is None else map(float, np.ravel(point.leaves_mm))))
        for phase in result.phases
        for beam in phase.plan.beams
        for point in beam.control_points
    ]


@pytest.fixture(scope="module")
def ordinary(case: Case, protocols: tuple[Protocol, Protocol]) -> Delivered:
    return delivered(planned(case, protocols[0]))


def test_without_an_earlier_course_a_limit_on_the_sum_changes_no_bit_of_the_plan(
    case: Case, protocols: tuple[Protocol, Protocol], ordinary: Delivered
) -> None:
    assert len(ordinary) > 6
    assert delivered(planned(case, protocols[1])) == ordinary


def test_without_a_limit_on_the_sum_earlier_courses_change_no_bit_of_the_plan(
    case: Case, protocols: tuple[Protocol, Protocol], ordinary: Delivered
) -> None:
    before = course(case, "2019", 0.0, 5), course(case, "2024", 40.0, 25)
    assert delivered(planned(case, protocols[0], *before)) == ordinary


def test_the_order_of_earlier_courses_changes_no_bit_of_a_plan_that_they_change(
    case: Case, protocols: tuple[Protocol, Protocol], ordinary: Delivered
) -> None:
    of = partial(planned, case, protocols[1])
    one, other = course(case, "2019", 16.0, 8), course(case, "2024", 25.0, 10)
    first, second = of(one, other), of(other, one)
    assert delivered(first) == delivered(second)
    assert delivered(first) != ordinary
    assert not first.scorecard.hard_failures
    assert not first.scorecard.hard_unknowns
