"""Outcomes at the command line: metrics of `evaluate`, limits of a protocol, the report; `score rsi`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dicom_cases as d
import pytest

from tailort.cli.app import run

EXTERNAL = ("External", "EXTERNAL", d.closed(-7.5, -4.5, -1.5, 1.5, 4.5, half=11.0))
TUMOUR = ("GTVp", "GTV", d.closed(-1.5, 1.5, half=3.0))
ORGANS = [(name, "ORGAN", d.closed(-4.5, -1.5, 1.5, half=2.0)) for name in ("Heart", "SpinalCord")]
PROTOCOL = """
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: GTVp, dose_gy: 50, fractions: 25}
technique: {kind: imrt, beams: 5}
limits:
  - {structure: Heart, metric: "NTCP(pericarditis-martel-1998)[%]", operator: "<=", limit: 0.5, priority: hard}
report:
  - {structure: Heart, metric: "ERR(coronary-darby-2013)[%]"}
"""
TABLE = "gene,expression\n" + "".join(
    f"{gene},{rank}\n"
    for gene, rank in zip(
        ("AR", "cJun", "STAT1", "PRKCB", "RELA", "ABL1", "SUMO1", "PAK2", "HDAC1", "IRF1"),
        (1, 6, 9, 2, 5, 4, 10, 3, 8, 7),
        strict=True,
    )
)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return d.write(
        tmp_path / "case", *d.image_slices(), d.structure_set([EXTERNAL, TUMOUR, *ORGANS]), d.plan(), d.dose()
    )


def outcomes(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> list[dict]:
    """Rows of the outcomes among those of `evaluate`; the dose metrics and indices of targets are left out."""
    assert run(["evaluate", *arguments, "--json", "--out", str(tmp_path / "out")]) == status
    rows = json.loads(capsys.readouterr().out)["metrics"]
    return [row for row in rows if row["metric"].startswith(("NTCP(", "TCP(", "ERR("))]


def test_a_metric_of_an_outcome_tells_set_mark_and_validity_in_json_and_report(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "SpinalCord: NTCP(myelopathy-schultheiss-2008)[%] < 50"
    (row,) = outcomes([str(case), "--metric", asked], tmp_path, capsys)
    assert row["quantity"] == "EQD2(a/b=0.87)"
    assert row["verdict"] == "pass"
    assert 0 < row["value"] < 50
    assert "myelopathy-schultheiss-2008 version 1" in row["source"]
    assert row["mark"] == "derived; a/b lit-verified"
    assert row["extrapolated"].startswith("unknown: ")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"extrapolated: {row['extrapolated']}" in page
    assert row["mark"] in page


def test_the_table_of_the_terminal_is_followed_by_the_sets(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--metric", "GTVp: TCP(oesophagus-demonstration)[%]", "--out", str(tmp_path / "out")]
    assert run(["evaluate", str(case), *options]) == 0
    told = capsys.readouterr().out
    assert re.search(r"GTVp TCP\(oesophagus-demonstration\)\[%\] \[lit-recalled; a/b seed\]: .*; extrapolated: ", told)


def test_without_a_protocol_every_set_for_a_drawn_structure_is_listed(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = outcomes([str(case)], tmp_path, capsys)
    assert {(row["structure"], row["metric"].partition("(")[0]) for row in rows} == {
        ("GTVp", "TCP"), ("Heart", "NTCP"), ("Heart", "ERR"), ("SpinalCord", "NTCP"),
    }  # fmt: skip
    assert {(row["verdict"], row["limit"], row["priority"]) for row in rows} == {("report", None, "report")}


def test_a_protocol_limits_an_outcome(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(PROTOCOL)
    # The dose of the case exceeds it.
    risk, relative = outcomes([str(case), "--protocol", str(path)], tmp_path, capsys, status=3)
    assert (risk["verdict"], risk["priority"], risk["quantity"]) == ("fail", "hard", "EQD2(a/b=3)")
    assert (relative["verdict"], relative["quantity"]) == ("report", "physical")


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("pericarditis-martel-1998", "pericarditis", "no set of outcome parameters 'pericarditis'; known are"),
        ("NTCP(pericarditis", "TCP(pericarditis", "this set gives NTCP, not TCP"),
        ("coronary-darby-2013", "lung-quantec", "this set gives NTCP, not ERR"),
        ("ERR(coronary-darby-2013)", "NTCP(lung-quantec)", "is for Lungs"),
        ("priority: hard", "quantity: EQD2, alpha_beta_gy: 3, priority: hard", "leave 'quantity' out"),
        ("limit: 0.5", "limit: 120", "cannot exceed 100 %"),
    ],
)
def test_a_protocol_with_an_outcome_that_cannot_be_is_refused(
    was: str, now: str, says: str, case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(PROTOCOL.replace(was, now))
    assert run(["evaluate", str(case), "--protocol", str(path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("Heart: NTCP(heart)[%]", "known are lung-quantec"),
        ("Heart: NTCP(lung-quantec)[%]", "is for Lungs"),
        ("Heart: NTCP(pericarditis-burman-1991)[%] EQD2(a/b=2)", "has its own dose"),
        ("Heart: NTCP[%]", "of a named set of parameters"),
    ],
)
def test_a_metric_of_an_outcome_that_cannot_be_is_refused(
    metric: str, says: str, case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(case), "--metric", metric, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def score(text: str, folder: Path, *more: str) -> int:
    path = folder / "genes.csv"
    path.write_text(text)
    return run(["score", "rsi", str(path), *more])


def test_we_66_and_the_dose_for_a_gard_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schedule = ("--dose-gy", "60", "--fractions", "30", "--target-gard", "33")
    assert score(TABLE + "TP53,n/a\n", tmp_path, *schedule, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rsi"] == pytest.approx(0.198756, abs=5e-7)
    # At 2 Gy per fraction GARD is -n ln RSI, and so is what a dose is worth.
    assert told["gard"] == pytest.approx(48.47, abs=0.005)
    assert told["rxrsi_gy"] == pytest.approx(60 * 33 / 48.47, abs=0.01)
    assert told["reading"] == {"rule": "RB-76", "taken": "PAK2", "other": "CDK1", "rsi_by_other": None}
    assert told["note"] == "a proposal for research, never an order"
    assert any("oesophageal" in flag for flag in told["flags"])
    assert score(TABLE, tmp_path, *schedule) == 0
    assert "never an order" in capsys.readouterr().out


def test_the_other_reading_is_taken_by_name_and_shown_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(TABLE + "CDK1,99\n", tmp_path, "--reading", "RB-76=CDK1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reading"]["taken"] == "CDK1"
    assert told["reading"]["rsi_by_other"] == pytest.approx(0.198756, abs=5e-7)
    assert told["rsi"] != pytest.approx(0.198756, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "more", "says"),
    [
        (TABLE.replace("SUMO1,10\n", ""), (), "genes.csv: RSI needs the expression of ten genes; missing: SUMO1"),
        (TABLE.replace("PAK2", "CDK1"), (), "missing: PAK2; CDK1 is there"),
        (TABLE + "c-Jun,4\n", (), "row 12: the gene JUN is there already in row 3"),
        (TABLE.replace("STAT1,9", "STAT1,high"), (), "row 4, column 'expression': found 'high', expected a number"),
        (TABLE.replace("STAT1,9", "STAT1,nan"), (), "found 'nan', expected a number"),
        (TABLE.replace("STAT1,9", "STAT1"), (), "row 4: expected 2 cells, found 1"),
        (TABLE.replace("gene,", "symbol,"), (), "row 1: expected the columns gene, expression; found symbol"),
        (TABLE, ("--dose-gy", "60"), "give both --dose-gy and --fractions"),
        (TABLE, ("--target-gard", "33"), "depends on the dose per fraction"),
        (TABLE, ("--dose-gy", "60", "--fractions", "0"), "at least one fraction"),
        (TABLE, ("--dose-gy", "-60", "--fractions", "30"), "above 0 Gy"),
        (TABLE, ("--dose-gy", "60", "--fractions", "30", "--target-gard", "0"), "above 0"),
        (TABLE, ("--reading", "RB-76=TP53"), "known are PAK2, CDK1"),
        (TABLE, ("--reading", "MS-07=default"), "only RB-76 has"),
    ],
)
def test_a_wrong_table_of_genes_is_one_sentence(
    text: str, more: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(text, tmp_path, *more) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_other_scores_take_no_doses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "bsa", str(tmp_path / "record.yaml"), "--dose-gy", "60"]) == 2
    assert "are for the score rsi" in capsys.readouterr().err


def test_the_examples_of_the_page_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "outcome-models.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```csv\n(.*?)```", page, flags=re.DOTALL)
    assert score(table, tmp_path, "--dose-gy", "60", "--fractions", "30") == 0
    assert "GARD" in capsys.readouterr().out
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(code, "outcome-models.md", "exec"), {})
    assert re.fullmatch(r"TCP 0\.\d+\nNTCP 0\.\d+\n", capsys.readouterr().out)
