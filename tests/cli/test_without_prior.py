"""`tailort plan --prior --compare-without-prior`: what planning on the sum keeps, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dicom_cases as d
import pytest
import water_cases as w

from tailort.cli.app import run

PROTOCOL = w.protocol("""
  - {structure: Esophagus, metric: "Max[Gy]", operator: "<", limit: 60, priority: hard}
  - {structure: Esophagus, metric: "Max[Gy]", operator: "<", limit: 130, priority: hard, quantity: BED,
     alpha_beta_gy: 3, scope: cumulative}
""")


def water(folder: Path, *objects: object) -> Path:
    return w.case(folder, [w.EXTERNAL, w.TUMOUR, w.OESOPHAGUS], *objects)


def rows(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    told = json.loads(path.read_text())["metrics"]
    return {(row["structure"], row["metric"], row["scope"]): row for row in told}


def test_a_plan_on_the_sum_keeps_the_limit_that_the_plan_without_breaks_and_the_report_shows_the_cost(
    tmp_path: Path,
) -> None:
    today, prior = water(tmp_path / "today"), water(tmp_path / "prior", d.plan(), d.dose())
    protocol, out = tmp_path / "own.yaml", tmp_path / "out"
    protocol.write_text(PROTOCOL)
    asked = ["plan", str(today), "--protocol", str(protocol), "--prior", str(prior), "--out", str(out)]
    assert run([*asked, "--compare-without-prior"]) == 0
    single, total = ("Esophagus", "Max[Gy]", "course"), ("Esophagus", "Max[Gy]", "cumulative")
    covered = ("PTV_5000", "D95%[Gy]", "course")
    summed, ordinary = rows(out / "scorecard.json"), rows(out / "without-prior" / "scorecard.json")
    # Every limit of this course holds without, its prescription is reached, and the sum is too much.
    assert [ordinary[key]["verdict"] for key in (covered, single, total)] == ["pass", "pass", "fail"]
    assert ordinary[total]["value"] > 130
    assert [summed[key]["verdict"] for key in (single, total)] == ["pass", "pass"]
    assert summed[covered]["value"] < ordinary[covered]["value"] - 0.1
    told = rows(out / "without-prior.json")
    for key in (covered, total):
        assert (told[key]["without"], told[key]["with"]) == (ordinary[key]["value"], summed[key]["value"])
    assert told[("PTV_5000", "V50Gy[%]", "course")]["difference"] < 0
    page = (out / "report.html").read_text()
    assert "Planned without and with the earlier courses" in page
    cost = f"{summed[covered]['value']:.2f} in place of {ordinary[covered]['value']:.2f}"
    assert f"PTV_5000 D95%[Gy] {cost}" in page
    assert f"Esophagus Max[Gy] (BED(a/b=3)) {ordinary[total]['value']:.2f}, limit &lt; 130" in page
    written = sorted(path.name for path in (out / "without-prior").iterdir())
    assert written == ["dvh.csv", "rtdose.dcm", "rtplan.dcm", "rtstruct.dcm", "scorecard.json"]


@pytest.mark.parametrize("option", [["--compare-without-prior"], ["--registration-scenarios", "5"]])
def test_without_earlier_courses_there_is_nothing_to_compare_or_to_draw(
    option: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    today, protocol = water(tmp_path / "today"), tmp_path / "own.yaml"
    protocol.write_text(PROTOCOL)
    asked = ["plan", str(today), "--protocol", str(protocol), "--out", str(tmp_path / "out")]
    assert run([*asked, *option]) == 2
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1
    assert "--prior" in printed
    assert not (tmp_path / "out").exists()
