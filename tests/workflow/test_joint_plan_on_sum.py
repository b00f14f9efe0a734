"""Phases that are planned together leave room for earlier courses, from the fluence to the delivered plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import water_cases as w

from tailort.cli.commands import read_patient
from tailort.geometry import Image
from tailort.patient import Course, Dose
from tailort.protocols import load
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.planning import plan
from tailort.workflow.records import PlanResult

PROTOCOL = """
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV, dose_gy: 40, fractions: 20, phase: 1}
  - {target: GTVp, dose_gy: 10, fractions: 5, phase: 2, boosts: PTV}
targets:
  - {name: PTV, role: PTV, of: [GTVp], then: [{expand: {radial_mm: 2, craniocaudal_mm: 2}}]}
technique: {kind: imrt, beams: 3, phases_planned: together}
limits:
  - {structure: Esophagus, metric: "Max[Gy]", operator: "<", limit: 130, priority: hard, quantity: BED,
     alpha_beta_gy: 3, scope: cumulative}
"""


@pytest.mark.slow
def test_phases_together_hold_a_limit_on_the_sum_that_they_break_without_earlier_courses(tmp_path: Path) -> None:
    w.case(tmp_path / "today", [w.EXTERNAL, w.TUMOUR, w.OESOPHAGUS])
    (tmp_path / "own.yaml").write_text(PROTOCOL)
    case = read_patient(tmp_path / "today", StageClock(lambda stage, share: None))
    protocol = load(str(tmp_path / "own.yaml"))
    grid = case.ct.image.grid
    earlier = Dose(
        Image(grid, np.full(grid.shape, 41.0, dtype=np.float32), "Gy"), "physical", "course", 25, None, "test"
    )
    given_gy = 41.0 * (1 + 41.0 / 25 / 3)

    def planned(*courses: Course) -> PlanResult:
        options = PlanningOptions(dose_grid_mm=3.0, engine="pencil-nyholm")
        return plan(
            replace(case, courses=courses), protocol, options, StageClock(lambda stage, share: None),
            stop=lambda: False, keep=lambda: None,
        ).main  # fmt: skip

    def most_gy(made: PlanResult) -> float:
        """Highest BED of all voxels that lie in the oesophagus, over all courses, from each phase's dose by itself."""
        total = given_gy
        for phase in made.phases:
            gy = phase.dose.image.values.astype(np.float64)
            total = total + gy * (1 + gy / phase.plan.fractions / 3)
        where = phase.dose.image.grid
        index = np.stack(np.meshgrid(*[np.arange(n) for n in where.shape], indexing="ij"), axis=-1)
        x, y, z = np.moveaxis(where.to_world(index), -1, 0)
        inside = (np.abs(x + 5.0) <= 1.5) & (np.abs(y - 5.0) <= 1.5) & (z >= -4.6) & (z <= 1.6)
        assert inside.any()
        return float(total[inside].max())

    alone, summed = planned(), planned(Course("2024", None, None, (earlier,)))
    assert [len(made.phases) for made in (alone, summed)] == [2, 2]
    assert any("were planned together" in note for note in summed.notes)
    assert most_gy(alone) > 130
    assert most_gy(summed) < 130
    (row,) = [row for row in summed.scorecard.rows if row.scope == "cumulative"]
    assert row.verdict == "pass"
    assert row.value is not None
    assert row.value >= most_gy(summed) - 0.1
