"""`tailort protocols`, proposals and overlays as a person meets them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import dicom_cases as d
import pytest

from tailort.cli.app import run
from tailort.protocols import available, load

PROTOCOL = """\
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: GTVp, dose_gy: 50, fractions: 25}
technique: {kind: imrt, beams: 5}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard}
"""
OVERLAY = """\
id: ours
version: "7"
extends: own.yaml
extends_version: "1"
changed_by: Dr A
why: our committee
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", was: 45, limit: 48, loosens_hard_limit: true, why: our board decided so}
"""
SMART = load("smart-imrt")
WARNING = "A HARD LIMIT of protocol 'own' IS LOOSENED by overlay 'ours' (Dr A)"


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    (tmp_path / "own.yaml").write_text(PROTOCOL)
    path = tmp_path / "ours.yaml"
    path.write_text(OVERLAY)
    return path


def test_one_page_and_all_pages_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["protocols", "smart-imrt", "--page"]) == 0
    page = capsys.readouterr().out
    folder = tmp_path / "pages"
    assert run(["protocols", "--pages", str(folder), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert {Path(path).name for path in written} == {"README.md", *(f"{name}.md" for name in available())}
    assert (folder / "smart-imrt.md").read_text(encoding="utf-8") == page
    assert {path.name for path in folder.iterdir()} == {Path(path).name for path in written}


def test_a_file_that_is_no_page_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("my own notes")
    assert run(["protocols", "--pages", str(tmp_path)]) == 2
    assert "is not a page of a protocol" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "my own notes"


def test_pages_are_written_anew(tmp_path: Path) -> None:
    assert run(["protocols", "smart-imrt", "--pages", str(tmp_path)]) == 0
    first = (tmp_path / "smart-imrt.md").read_text(encoding="utf-8")
    (tmp_path / "smart-imrt.md").write_text(first + "something added by hand\n", encoding="utf-8")
    assert run(["protocols", "smart-imrt", "--pages", str(tmp_path)]) == 0
    assert (tmp_path / "smart-imrt.md").read_text(encoding="utf-8") == first
    assert [path.name for path in tmp_path.iterdir()] == ["smart-imrt.md"]


def test_rules_that_nobody_carries_out_are_listed_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["protocols", "--not-executed", "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["rules"]
    assert {"G-01", "SM-05", "MS-107"} <= {rule["rule"] for rule in rules}
    assert all(rule["reason"] and rule["kind"] in ("by the program", "not executed") for rule in rules)
    assert run(["protocols", "smart-imrt", "--not-executed", "--json"]) == 0
    own = json.loads(capsys.readouterr().out)["rules"]
    assert {rule["protocol"] for rule in own} == {"smart-imrt"}


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["protocols", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--page"], "give its id or file"),
        (["smart-imrt", "--page", "--json"], "no --json"),
        (["smart-imrt", "--schema"], "leave the protocol out"),
        (["--schema", "--not-executed"], "--not-executed and --schema do not go together"),
        (["smart", "--page"], "there is no protocol 'smart'"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["protocols", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_an_overlay_is_told_before_anything_else(
    overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record.yaml").write_text("")
    assert run(["decide", str(tmp_path / "record.yaml"), "--protocol", str(overlay)]) == 0
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert WARNING in first
    assert "own 1, changed by ours 7: Dr A, because: our committee" in second
    assert "SpinalCord Max[Gy]: < 45 (hard) becomes < 48 (hard) (hard limit loosened)" in third
    assert run(["protocols", str(overlay), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overlays"][0]["changes"][0]["now"] == "< 48 (hard)"


def test_a_rule_that_a_site_changed_is_never_only_counted_among_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = "readings:\n  - {rule: MS-79, was: without-gtv, default: whole}\n"
    changes += "margins:\n  - {target: CTVp, was: {radial_mm: 5, craniocaudal_mm: 20}, expand: {mm: 20}}\n"
    head = OVERLAY.split("limits:")[0].replace("own.yaml", "smart-imrt").replace('n: "1"', f'n: "{SMART.version}"')
    (tmp_path / "ours.yaml").write_text(head + changes)
    (tmp_path / "record.yaml").write_text("surgery: none\ntumour_level: upper\nconcurrent_chemotherapy: yes\n")
    assert run(["decide", str(tmp_path / "record.yaml"), "--protocol", str(tmp_path / "ours.yaml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  MS-79 (whole): limits are judged on whole lungs") for line in lines)
    assert any(line.startswith("  TR-01 (default): 0.5 cm radial (changed by ours: margin of CTVp") for line in lines)


def test_an_overlay_stands_in_decision_run_scorecard_and_report(
    overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    external = ("External", "EXTERNAL", d.closed(-7.5, -4.5, -1.5, 1.5, 4.5, half=11.0))
    tumour = ("GTVp", "GTV", d.closed(-1.5, 1.5, half=3.0))
    cord = ("SpinalCord", "ORGAN", d.closed(-4.5, -1.5, 1.5, half=2.0))
    rois = [external, tumour, cord]
    case = d.write(tmp_path / "case", *d.image_slices(), d.structure_set(rois), d.plan(), d.dose())
    record, out = tmp_path / "record.yaml", tmp_path / "out"
    record.write_text("age_years: 60\n")
    options = ["--protocol", str(overlay), "--record", str(record), "--out", str(out), "--json"]
    assert run(["evaluate", str(case), *options]) in (0, 3)
    capsys.readouterr()
    told = json.loads((out / "run.json").read_text(encoding="utf-8"))["protocol"]["overlays"]
    assert told == json.loads((out / "decision.json").read_text(encoding="utf-8"))["overlays"]
    assert (told[0]["file"], told[0]["changes"][0]["loosens"]) == ("ours.yaml", "hard limit")
    rows = json.loads((out / "scorecard.json").read_text(encoding="utf-8"))["metrics"]
    (limit,) = [row for row in rows if row["structure"] == "SpinalCord" and row["limit"] is not None]
    assert (limit["limit"], limit["source"]) == (48.0, "ours 7; < 45 (hard) as changed by ours")
    report = (out / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    assert WARNING in report
    assert report.index(WARNING) < report.index("In short")
    assert "Changed by a site: ours 7" in report
    assert "<td>&lt; 45 (hard)</td><td>&lt; 48 (hard)" in report


def test_proposals_are_told_with_evidence_and_beside_another_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.yaml"
    record.write_text(
        "surgery: none\ntumour_level: middle\nconcurrent_chemotherapy: yes\nanatomical_images_in_course: repeated CT\n"
        "functional_images: FDG PET\nfdg_suv_max: 12\nsuv_quantified: yes\ntarget_dose_delivered_gy: 52\n"
    )
    options = ["decide", str(record), "--protocol", "individualised", "--beside", "salvage-crt"]
    assert run([*options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["proposals"]
    assert told["beside"] == "salvage-crt"
    yes = {one["id"] for section in ("modifiers", "triggers") for one in told[section] if one["answer"] == "yes"}
    assert yes == {"group-definitive", "metabolic-subvolume", "dose-50-gy"}
    assert run(options) == 0
    text = capsys.readouterr().out
    assert "evidence: group: trial (NCT03731442); anatomical guidance" in text
    assert "Nothing of this is applied" in text


def test_a_cohort_tells_which_triggers_fire_and_which_wait_for_facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text(
        "id,surgery,target_dose_delivered_gy,anatomical_images_in_course,functional_images\n"
        "P1,R1,52,repeated CT,none\nP2,none,,none,none\n"
    )
    assert run(["decide", "--table", str(tmp_path / "t.csv"), "--protocol", "individualised"]) == 0
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["image_guidance"], first["modifiers"], first["triggers"]) == (
        "anatomical", "group-salvage", "dose-50-gy",
    )  # fmt: skip
    assert second["triggers"] == ""
    assert "dose-50-gy" in second["triggers_open"]
    assert "dose-50-gy" not in first["triggers_open"]


def test_a_protocol_that_proposes_nothing_has_nothing_to_be_held_beside(
    overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record.yaml").write_text("")
    arguments = ["decide", str(tmp_path / "record.yaml"), "--protocol", str(overlay), "--beside", "smart-imrt"]
    assert run(arguments) == 2
    assert "'ours' has no modifiers and no triggers" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["plan", "evaluate"])
def test_a_protocol_that_only_proposes_plans_and_judges_nothing(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rois = [("External", "EXTERNAL", d.closed(-7.5, -4.5, -1.5, 1.5, 4.5, half=11.0))]
    case = d.write(tmp_path / "case", *d.image_slices(), d.structure_set(rois), d.plan(), d.dose())
    out = tmp_path / "out"
    assert run([command, str(case), "--protocol", "individualised", "--out", str(out)]) == 2
    assert "proposes and prescribes nothing: plan and judge with one that prescribes" in capsys.readouterr().err
    assert not out.exists()
