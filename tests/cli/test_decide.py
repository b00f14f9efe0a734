"""`tailort decide` as a person meets it: exit status, one sentence, one line a patient."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tailort.cli.app import run

ELIGIBLE = "tumour_level: middle\nsurgery: none\nconcurrent_chemotherapy: yes\n"
HEADER = "id,tumour_level,surgery,concurrent_chemotherapy,kps\n"


def file(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def decide(record: str, folder: Path, *more: str) -> int:
    return run(["decide", file(folder, "record.yaml", record), "--protocol", "smart-imrt", *more])


def table(rows: str, folder: Path, *more: str) -> int:
    return run(["decide", "--table", file(folder, "t.csv", HEADER + rows), "--protocol", "smart-imrt", *more])


@pytest.mark.parametrize(
    ("record", "status", "answer"),
    [
        (ELIGIBLE, 0, "yes"),
        (ELIGIBLE.replace("surgery: none", "surgery:"), 4, "unknown"),
        (ELIGIBLE.replace("surgery: none", "surgery: R0"), 5, "no"),
    ],
)
def test_the_exit_status_tells_the_answer(
    record: str, status: int, answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(record, tmp_path, "--json") == status
    told = json.loads(capsys.readouterr().out)
    assert (told["answer"], told["exit_status"]) == (answer, status)
    assert decide(record, tmp_path) == status
    assert f": {answer}\n" in capsys.readouterr().out


def test_what_is_missing_is_told_with_the_fewest_facts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide("tumour_level: upper\n", tmp_path) == 4
    told = capsys.readouterr().out
    assert "missing: surgery, concurrent_chemotherapy" in told
    assert "could become yes with 2: surgery, concurrent_chemotherapy" in told
    assert "could become no with 1: surgery" in told


@pytest.mark.parametrize(
    ("record", "more", "says"),
    [
        (ELIGIBLE + "kps: 75\n", [], "multiple of 10"),
        (ELIGIBLE + "age_years: 121\n", [], "0 to 120"),
        (ELIGIBLE, ["--reading", "SM-12"], "expected 'RULE=name'"),
        (ELIGIBLE, ["--reading", "SM-12=other"], "cannot take it"),
        (ELIGIBLE, ["--reading", "SM-01=other"], "not ambiguous"),
        (ELIGIBLE, ["--reading", "SM-12=default", "--reading", "SM-12=default"], "twice"),
        (ELIGIBLE, ["--mapping", "m.yaml"], "goes with --table"),
        (ELIGIBLE, ["--table", "t.csv"], "either a clinical record or"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(
    record: str, more: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(record, tmp_path, *more) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""
    assert told.err.count("\n") == 1


def test_a_fact_that_is_written_nearly_as_one_that_is_asked_for_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(ELIGIBLE.replace("surgery", "surgry"), tmp_path) == 4
    assert "no fact 'surgry'; is it 'surgery'" in capsys.readouterr().err
    assert decide(ELIGIBLE + "favourite_colour: blue\n", tmp_path) == 0
    assert capsys.readouterr().err == ""


def test_a_reading_that_is_taken_anyway_may_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(ELIGIBLE, tmp_path, "--reading", "SM-12=default") == 0
    assert "SM-12 (default, chosen)" in capsys.readouterr().out


def test_a_table_gives_one_line_a_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table("P1,middle,none,yes,80\nP2,lower,R0,,\nP3,,none,,\n", tmp_path) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(line["id"], line["answer"], line["failed_rules"]) for line in lines] == [
        ("P1", "yes", ""),
        ("P2", "no", "SM-01"),
        ("P3", "unknown", ""),
    ]
    assert lines[2]["missing"] == "tumour_level; concurrent_chemotherapy"
    assert lines[2]["fewest_missing"] == "concurrent_chemotherapy"


def test_a_column_that_is_no_fact_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = file(tmp_path, "t.csv", "id,surgery,surgry\nP1,none,none\n")
    assert run(["decide", "--table", name, "--protocol", "smart-imrt"]) == 0
    assert "surgry" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("P1,middle,none,yes,80\nP2,lower,maybe,yes,80\n", "row 3, column 'surgery'"),
        ("P1,middle,none,yes,75\n", "row 2, column 'kps'"),
        ("P1,middle,none,perhaps,80\n", "row 2, column 'concurrent_chemotherapy'"),
        ("P1,middle,none,yes,80\nP1,middle,none,yes,80\n", "row 3, column 'id'"),
    ],
)
def test_a_wrong_cell_is_named_by_row_and_column(
    rows: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert table(rows, tmp_path) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""


@pytest.mark.parametrize("header", ["patient,surgery", "id;surgery"])
def test_a_table_without_ids_is_refused(header: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = file(tmp_path, "t.csv", f"{header}\nP1,none\n")
    assert run(["decide", "--table", name, "--protocol", "smart-imrt"]) == 2
    told = capsys.readouterr().err
    assert "column 'id'" in told
    assert "read with ',' between cells" in told


def test_a_mapping_to_what_is_no_fact_of_the_protocol_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = file(tmp_path, "m.yaml", "source: X\nid_column: id\ncolumns:\n  op: {fact: surgry, type: text}\n")
    name = file(tmp_path, "t.csv", "id,op\nP1,none\n")
    assert run(["decide", "--table", name, "--mapping", mapping, "--protocol", "smart-imrt"]) == 0
    assert "no fact of the protocol: op (surgry)" in capsys.readouterr().err


@pytest.mark.parametrize("of", ["record", "table"])
@pytest.mark.parametrize(("fact", "status"), [("radiotherapy_start_date", 0), ("mescc_date", 2)])
def test_only_a_planned_day_lies_after_today(
    of: str, fact: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if of == "record":
        given = [file(tmp_path, "r.yaml", f"{fact}: 2999-01-04\n")]
        status = status or 4  # nothing else is known
    else:
        given = ["--table", file(tmp_path, "t.csv", f"id,{fact}\nP1,2999-01-04\n")]
    assert run(["decide", *given, "--protocol", "reirradiation-spine"]) == status
    assert ("today" in capsys.readouterr().err) == (status == 2)
