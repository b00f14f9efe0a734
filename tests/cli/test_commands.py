"""Commands as a person meets them: exit status, one sentence, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from ruamel.yaml import YAML

from tailort.cli import commands
from tailort.cli.app import run

OWN_PROTOCOL = """
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV_5000, dose_gy: 50, fractions: 25}
targets:
  - {name: PTV_5000, role: PTV, of: [GTVp], then: [{expand: {radial_mm: 8, craniocaudal_mm: 10}}, {crop: {by_mm: 3}}]}
technique: {kind: imrt, beams: 5}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard}
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("patient") / "case"
    commands.phantom("oesophagus", out=out, size="coarse", seed=3)
    return out


def told(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


def refused(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> str:
    """Run in an empty folder; the exit status is as expected and nothing is left behind."""
    out = tmp_path / "work" / "out"
    out.parent.mkdir(exist_ok=True)
    assert run([*arguments, "--out", str(out)]) == status
    assert list(out.parent.iterdir()) == []
    return told(capsys)


def test_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = refused(["plan", str(tmp_path / "nowhere"), "--protocol", "smart-imrt"], 2, capsys, tmp_path)
    assert "nowhere" in text


def test_a_folder_without_ct(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("no DICOM here")
    assert "CT" in refused(["evaluate", str(tmp_path / "notes")], 2, capsys, tmp_path)


def test_an_unknown_protocol_lists_the_known(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "smart-imrt" in refused(["plan", str(case), "--protocol", "smrt"], 2, capsys, tmp_path)


def test_a_missing_structure_lists_what_is_there(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = tmp_path / "own.yaml"
    protocol.write_text(OWN_PROTOCOL.replace("GTVp", "GTV_primary"))
    text = refused(["plan", str(case), "--protocol", str(protocol)], 2, capsys, tmp_path)
    assert "GTV_primary" in text
    assert "SpinalCord" in text


def test_missing_facts_are_listed(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "record.yaml"
    record.write_text("age_years: 60\n")
    text = refused(["plan", str(case), "--protocol", "smart-imrt", "--record", str(record)], 4, capsys, tmp_path)
    assert "missing: surgery" in text
    assert "missing: concurrent_chemotherapy" in text


def test_a_patient_who_is_not_eligible_stops_the_work(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yaml = YAML()
    facts = yaml.load((case / "record.yaml").read_text())
    facts["surgery"]["value"] = "R0"
    record = tmp_path / "record.yaml"
    with record.open("w") as stream:
        yaml.dump(facts, stream)
    answer = refused(["plan", str(case), "--protocol", "smart-imrt", "--record", str(record)], 5, capsys, tmp_path)
    assert "surgery" in answer


def test_a_filled_folder_is_refused_before_any_work(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    started = time.perf_counter()
    assert run(["plan", str(case), "--protocol", "smart-imrt", "--out", str(tmp_path / "mine")]) == 2
    assert time.perf_counter() - started < 20
    assert "not empty" in told(capsys)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(
    "arguments", [["plan"], ["evaluate"], ["nonsense"], ["plan", "x", "--protocol", "y", "--technique", "vmat"]]
)
def test_wrong_usage_is_one_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert told(capsys).startswith("tailort: ")


@pytest.mark.parametrize("metric", ["Heart V40Gy[%]", "Heart: V40[%]", "Heart: V40Gy[Gy]"])
def test_a_metric_that_cannot_be_read(
    metric: str, case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert metric.split()[-1] in refused(["evaluate", str(case), "--metric", metric], 2, capsys, tmp_path)


def test_a_case_without_dose_cannot_be_evaluated(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "RTDOSE" in refused(["evaluate", str(case)], 2, capsys, tmp_path)


def test_the_protocols_are_listed_and_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["protocols", "--json"]) == 0
    assert "smart-imrt" in {p["id"] for p in json.loads(capsys.readouterr().out)["protocols"]}
    assert run(["protocols", "smart-imrt", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert set(whole) >= {"id", "version", "rules"}
    assert {f"SM-{n:02d}" for n in range(1, 14)} <= {rule["id"] for rule in whole["rules"]}
    assert all(set(rule) >= {"id", "text", "source", "mark"} for rule in whole["rules"])


@pytest.mark.slow
def test_a_protocol_of_ones_own_is_planned(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protocol = tmp_path / "own.yaml"
    protocol.write_text(OWN_PROTOCOL)
    out = tmp_path / "out"
    quick = ["--engine", "pencil-nyholm", "--dose-grid", "6"]
    options = ["--protocol", str(protocol), *quick, "--out", str(out), "--json"]
    assert run(["plan", str(case), *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    value = {(row["structure"], row["metric"]): row["value"] for row in printed["metrics"]}
    assert value["PTV_5000", "D95%[Gy]"] >= 0.97 * 50
    assert value["SpinalCord", "Max[Gy]"] < 45
    assert not (out / "comparator").exists()
    assert 0 < kkt_residual(out) < 1
    assert f"KKT residual {kkt_residual(out):.2g}" in (out / "report.html").read_text(encoding="utf-8")


def kkt_residual(out: Path) -> float:
    (plan,) = json.loads((out / "run.json").read_text(encoding="utf-8"))["plans"].values()
    return float(plan["phases"][0]["kkt_residual"])


def test_a_limit_that_cannot_hold_is_exit_status_3(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = tmp_path / "own.yaml"
    impossible = '  - {structure: GTVp, metric: "Min[Gy]", operator: ">", limit: 60, priority: hard}\n'
    protocol.write_text(OWN_PROTOCOL + impossible)
    out = tmp_path / "out"
    quick = ["--engine", "pencil-nyholm", "--dose-grid", "6"]
    assert run(["plan", str(case), "--protocol", str(protocol), *quick, "--out", str(out)]) == 3
    assert "hard limit violated: GTVp Min[Gy]" in capsys.readouterr().out
    assert (out / "report.html").exists()


def start_plan(case: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tailort.cli", "plan", str(case), "--protocol", "smart-imrt", "--dose-grid", "6"]
    return subprocess.Popen([*command, "--out", str(out)], text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def test_ctrl_c_before_there_is_a_plan_leaves_nothing(case: Path, tmp_path: Path) -> None:
    process = start_plan(case, tmp_path / "work" / "out")
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob("work/.out*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=60)[1]
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_two_ct_series_say_how_to_choose(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = tmp_path / "both"
    shutil.copytree(case, both / "one")
    commands.phantom("oesophagus", out=tmp_path / "two", size="coarse", seed=3)
    for path in sorted((tmp_path / "two" / "CT").iterdir()):
        slice_ = pydicom.dcmread(path)
        slice_.SeriesInstanceUID += ".9"
        slice_.SOPInstanceUID += ".9"
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
        slice_.save_as(path)
    shutil.copytree(tmp_path / "two" / "CT", both / "two")
    assert "--series" in refused(["evaluate", str(both)], 2, capsys, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert run(["plan", str(case), "--protocol", "smart-imrt", "--out", str(locked / "out")]) == 2
    assert "cannot write" in told(capsys)
