"""The spine demo: a first course on an earlier scan, and a second one that keeps the limits on the sum of both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tailort import dicom
from tailort.cli import demos


@pytest.mark.slow
def test_the_spine_is_treated_on_top_of_an_earlier_course_within_the_limits_of_both(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = demos.demo("spine", out=out, seed=1, size="coarse", dose_grid_mm=4.0)
    rows = run.main.scorecard.rows
    cumulative = [row for row in rows if row.scope == "cumulative"]
    assert {(row.structure, row.metric) for row in cumulative} == {
        ("Esophagus", metric) for metric in ("Max[Gy]", "D0.035cc[Gy]", "D1cc[Gy]")
    }
    assert all(row.verdict == "pass" for row in rows if row.priority == "hard")
    # The first course is in the sum: the oesophagus had 66 Gy in 30 fractions, 114.4 Gy BED with alpha/beta 3 Gy.
    (highest,) = [row.value for row in cumulative if row.metric == "Max[Gy]"]
    assert highest is not None
    assert highest > 110.0
    # What the limits cost stands beside a plan without them, judged on the same sum.
    compared = json.loads((out / "without-prior.json").read_text())["metrics"]
    assert {"PTV_Eval", "Esophagus"} <= {row["structure"] for row in compared}
    # The report of both courses says the same of the sum as the plan does.
    summed = json.loads((out / "sum" / "scorecard.json").read_text())["metrics"]
    told = {(row["structure"], row["metric"]): row["value"] for row in summed if row["scope"] == "cumulative"}
    for row in cumulative:
        assert told[row.structure, row.metric] == pytest.approx(row.value, rel=1e-3)
    # The folders are cases of their own: the earlier one holds its plan and dose.
    first = dicom.read_case(out / "case" / "earlier")
    assert [plan.fractions for plan in first.plans] == [30]
    assert len(first.doses) == 1
    assert (out / "reg_first_course.dcm").is_file()


@pytest.mark.slow
def test_a_patient_is_irradiated_operated_and_treated_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = demos.demo("salvage", out=out, seed=0, size="coarse", dose_grid_mm=4.0, engine="pencil-nyholm")
    assert all(row.verdict == "pass" for row in run.main.scorecard.rows if row.priority == "hard")
    notes = json.loads((out / "sum" / "run.json").read_text())["notes"]
    assert any("Stomach" in note and "no counterpart" in note for note in notes)
    # The cord had something of both courses, and their sum is more than either and at most both together.
    rows = json.loads((out / "sum" / "cumulative.json").read_text())["organs"]
    (cord,) = [r for r in rows if (r["structure"], r["metric"], r["alpha_beta_gy"]) == ("SpinalCord", "Max[Gy]", 2.0)]
    alone = [course["bed_gy"] for course in cord["courses"]]
    assert len(alone) == 2
    assert max(alone) < cord["cumulative"]["bed_gy"] <= sum(alone)
