"""The demos of individualised radiotherapy, from DICOM to a judged plan, beside what is true of their patients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tailort.cli.demos import demo
from tailort.workflow.records import PlanningRun

pytestmark = pytest.mark.slow


def test_a_painted_plan_controls_more_of_the_true_tumour_than_the_same_mean_dose_everywhere(tmp_path: Path) -> None:
    run = demo("painting", out=tmp_path / "run", seed=1, size="coarse", dose_grid_mm=5.0, engine="pencil-nyholm")
    assert isinstance(run, PlanningRun)
    (one,) = run.painted
    (painted, quality), (even, other) = one.qualities
    control = dict(one.true_control)
    assert control[painted] > control[even]
    assert quality.quality_factor <= 0.05
    assert quality.mean_gy == pytest.approx(other.mean_gy, abs=0.1)
    assert not run.main.scorecard.hard_failures
    told = json.loads((tmp_path / "run" / "painting.json").read_text(encoding="utf-8"))
    assert set(told["targets"][0]["true_tumour_control"]) == {painted, even}
    assert "quality-volume histogram" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8").lower()


def test_an_adapted_course_tells_the_dose_of_tumour_and_cord_as_it_truly_is(tmp_path: Path) -> None:
    """Asked: D95% of the target within 2 %, the cord's maximum within 1 Gy; a trigger fires for the shrunken tumour."""
    result = demo("adaptive", out=tmp_path / "run", seed=1, size="coarse", dose_grid_mm=5.0, engine="pencil-nyholm")
    assert not isinstance(result, PlanningRun)
    assert "tumour" in result.fired
    assert result.replanned is not None
    held = json.loads((tmp_path / "run" / "truth-comparison.json").read_text(encoding="utf-8"))["metrics"]
    by_name = {(one["structure"], one["metric"], one["scope"]): one for one in held}
    for scope in ("given", "projected"):
        target = by_name["GTVp", "D95%[Gy]", scope]
        assert abs(target["difference_gy"]) < 0.02 * target["true_gy"]
        assert abs(by_name["SpinalCord", "Max[Gy]", scope]["difference_gy"]) < 1.0
