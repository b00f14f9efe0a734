"""`tailort cohort` and `tailort demo cohort`: from a table to a run folder, whole or not at all."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tailort.cli.app import run
from tailort.cli.cohort_demo import demo_cohort
from tailort.cli.cohort_write import as_plain
from tailort.cli.write_cohort import write_virtual_cohort
from tailort.cohort.survival import kaplan_meier
from tailort.phantom.virtual_cohort import spine_cohort
from tailort.workflow.clock import StageClock

PROTOCOL = ("--protocol", "reirradiation-spine", "--until", "2023-09-30")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spine")
    return write_virtual_cohort(spine_cohort(), folder)


@pytest.fixture(scope="module")
def done(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "run"
    status = run(
        [
            "cohort",
            str(table),
            *PROTOCOL,
            "--by",
            "sex",
            "--event-for-doses",
            "treatment_related_death",
            "--out",
            str(out),
        ]
    )
    assert status == 0
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a refusal."""
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Traceback" not in told
    return told


def test_a_run_folder_holds_numbers_tables_figures_and_report(done: Path) -> None:
    assert {path.name for path in done.iterdir()} == {
        "results.json", "curves.csv", "times.csv", "tables", "tables.html", "tables.docx", "figures", "report.html",
        "run.json",
    }  # fmt: skip
    names = {path.stem for path in (done / "tables").iterdir()}
    assert {"endpoints", "characteristics", "rates", "tests", "adverse_events", "doses", "dose_thresholds"} <= names
    assert {path.suffix for path in (done / "figures").iterdir()} == {".svg", ".png"}
    assert zipfile.ZipFile(done / "tables.docx").testzip() is None


def test_run_json_tells_what_was_read_and_asked(done: Path) -> None:
    told = json.loads((done / "run.json").read_text())
    assert set(told["inputs_sha256"]) == {"cohort.csv", "mapping.yaml"}
    assert told["options"]["until"] == "2023-09-30"
    assert told["protocol"]["id"] == "reirradiation-spine"


def test_numbers_of_the_results_are_in_full_precision_and_those_of_the_times(done: Path) -> None:
    own = [row for row in rows(done / "times.csv") if row["endpoint"] == "overall survival"]
    months = np.array([float(row["months"]) for row in own])
    status = np.array([int(row["status"]) for row in own])
    expected = kaplan_meier(months, status).at([12.0])[0]
    told = json.loads((done / "results.json").read_text())
    found = next(one for one in told["endpoints"] if one["endpoint"]["name"] == "overall survival")
    assert found["overall"]["rates"][0]["estimate"] == expected.estimate
    assert found["overall"]["rates"][0]["upper"] == expected.upper


def test_the_curve_file_has_every_step(done: Path) -> None:
    steps = [row for row in rows(done / "curves.csv") if row["endpoint"] == "overall survival" and not row["group"]]
    estimates = [float(row["estimate"]) for row in steps]
    assert estimates == sorted(estimates, reverse=True)
    assert int(float(steps[0]["at_risk"])) == 21
    assert sum(float(row["events"]) + float(row["censored"]) for row in steps) == 21


def test_json_on_stdout_is_the_results_file(table: Path, done: Path, tmp_path: Path, capsys) -> None:
    arguments = [
        "cohort",
        str(table),
        *PROTOCOL,
        "--endpoint",
        "overall survival",
        "--json",
        "--out",
        str(tmp_path / "o"),
    ]
    assert run(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["out"] == str(tmp_path / "o")
    written = json.loads((tmp_path / "o" / "results.json").read_text())
    assert {key: value for key, value in told.items() if key != "out"} == written
    assert [one["endpoint"]["name"] for one in written["endpoints"]] == ["overall survival"]


def test_another_reading_counts_local_failure_from_another_day(table: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    reading = ("--reading", "KO-104=diagnosis")
    assert run(["cohort", str(table), *PROTOCOL, *reading, "--endpoint", "local failure", "--out", str(out)]) == 0
    told = json.loads((out / "results.json").read_text())["endpoints"][0]["endpoint"]
    assert told["counted_from"] == "diagnosis of MESCC"
    before = {
        row["patient"]: float(row["months"]) for row in rows(done / "times.csv") if row["endpoint"] == "local failure"
    }
    after = {row["patient"]: float(row["months"]) for row in rows(out / "times.csv")}
    assert set(after) == set(before)
    assert all(after[name] > before[name] for name in before)


def test_an_earlier_cut_off_sees_no_more_events(table: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    assert run(["cohort", str(table), *PROTOCOL[:2], "--until", "2021-06-30", "--out", str(out)]) == 0

    def events(folder: Path) -> list[int]:
        told = json.loads((folder / "results.json").read_text())["endpoints"]
        return [one["overall"]["events"] for one in told]

    assert all(early <= late for early, late in zip(events(out), events(done), strict=True))
    assert sum(events(out)) < sum(events(done))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--by", "sexx"), "the fact 'sexx' is told of no patient; told are"),
        (("--endpoint", "survival"), "there is no endpoint 'survival'; known are local failure, overall survival"),
        (("--subgroup", "sex"), "name its fact with --by"),
        (("--by", "sex", "--strata", "sex"), "cannot be a stratum"),
        (("--event-for-doses", "fracture"), "the event 'fracture' is told of no patient"),
        (("--characteristic", "weight"), "the fact 'weight' is told of no patient"),
        (("--until", "30.9.2023"), "is no date; expected one such as 2026-01-31"),
        (("--reading", "KO-104"), "names no reading of a rule"),
        (("--unlisted", "none"), "expected 'grade 0' or 'unknown'"),
        (("--mapping", "missing.yaml"), "missing.yaml"),
        (("--protocol", "spine"), "spine"),
    ],
)
def test_bad_usage_ends_with_one_sentence_and_writes_nothing(
    table: Path, tmp_path: Path, capsys, more: tuple[str, ...], words: str
) -> None:
    out = tmp_path / "o"
    assert words in refused(["cohort", str(table), *PROTOCOL, *more, "--out", str(out)], capsys)
    assert not out.exists()


def test_a_table_without_a_mapping_is_refused(table: Path, tmp_path: Path, capsys) -> None:
    alone = tmp_path / "alone.csv"
    alone.write_bytes(table.read_bytes())
    assert "name one with --mapping" in refused(["cohort", str(alone), "--out", str(tmp_path / "o")], capsys)


def test_a_table_with_a_death_before_the_start_is_refused_by_its_row(table: Path, tmp_path: Path, capsys) -> None:
    lines = rows(table)
    row = next(n for n, line in enumerate(lines) if line["death"])
    lines[row]["death"] = "2001-01-01"
    wrong = tmp_path / "wrong.csv"
    with wrong.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    out = tmp_path / "o"
    mapping = ("--mapping", str(table.parent / "mapping.yaml"))
    assert run(["cohort", str(wrong), *mapping, *PROTOCOL, "--out", str(out)]) == 2
    assert lines[row]["id"] in capsys.readouterr().err
    assert not out.exists()


def test_without_endpoints_the_report_says_that_there_is_no_curve(table: Path, tmp_path: Path, capsys) -> None:
    assert run(["cohort", str(table), "--out", str(tmp_path / "o")]) == 0
    assert "defines a time to an event, so there is no curve" in capsys.readouterr().out
    page = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert "so there is no curve." in page
    assert "No protocol was given" in page


def test_a_filled_folder_is_left_alone(table: Path, done: Path, capsys) -> None:
    before = (done / "results.json").read_bytes()
    assert "is not empty" in refused(["cohort", str(table), *PROTOCOL, "--out", str(done)], capsys)
    assert (done / "results.json").read_bytes() == before


def test_the_folder_of_the_table_is_never_replaced(tmp_path: Path, capsys) -> None:
    own = write_virtual_cohort(spine_cohort(), tmp_path)
    assert (tmp_path / "truth.json").is_file()
    before = own.read_bytes()
    told = refused(["cohort", str(own), *PROTOCOL, "--overwrite", "--out", str(tmp_path)], capsys)
    assert "holds the input" in told
    assert own.read_bytes() == before


def test_a_cut_off_that_is_still_to_come_is_refused(table: Path, tmp_path: Path, capsys) -> None:
    told = refused(["cohort", str(table), *PROTOCOL[:2], "--until", "2999-01-01", "--out", str(tmp_path / "o")], capsys)
    assert "--until 2999-01-01 is after today" in told


def test_who_enters_after_the_cut_off_counts_nowhere(table: Path, tmp_path: Path) -> None:
    out, day = tmp_path / "o", "2020-06-30"
    doses = ("--event-for-doses", "death_date")
    assert run(["cohort", str(table), *PROTOCOL[:2], "--until", day, "--by", "sex", *doses, "--out", str(out)]) == 0
    told = json.loads((out / "results.json").read_text())
    entered = [row for row in rows(table) if min(row["mescc"], row["sbrt"]) <= day]
    assert 0 < len(entered) < 21
    assert told["patients"] == told["adverse_events"]["overall"]["patients"] == len(entered)
    assert sum(told["groups"].values()) == len(entered)
    # A death after the cut-off had not happened by then.
    assert told["doses"]["with_event"] == sum(bool(row["death"]) and row["death"] <= day for row in entered)
    assert any(f"{21 - len(entered)} of 21 patients enter after {day}" in note for note in told["notes"])
    assert any("adverse events without a day count" in note for note in told["notes"])
    assert run(["cohort", str(table), *PROTOCOL[:2], "--until", "1999-01-01", "--out", str(tmp_path / "p")]) == 2


def test_a_comparison_without_exact_test_is_told_and_does_not_end_the_analysis(tmp_path: Path) -> None:
    # 188 patients of six groups have too many possible tables for Fisher's test.
    header = "id,centre,start,seen,worst"
    sizes = zip("ABCDEF", (29, 35, 30, 39, 23, 32), strict=True)
    of = [name for name, size in sizes for _ in range(size)]
    lines = [f"P{n:03d},{name},2020-01-01,2021-01-01,{3 if n * n % 7 < 3 else 1}" for n, name in enumerate(of)]
    (tmp_path / "table.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    (tmp_path / "mapping.yaml").write_text(
        "source: made\nid_column: id\ndate_format: '%Y-%m-%d'\ncolumns:\n  centre: {fact: centre, type: text}\n"
        "  start: {fact: start, type: date}\n  seen: {fact: seen, type: date}\n"
        "worst_grades: {scale: CTCAE 4.0, columns: {worst: {fact: Nausea, type: integer}}}\n",
        encoding="utf-8",
    )
    out = tmp_path / "o"
    assert run(["cohort", str(tmp_path / "table.csv"), "--by", "centre", "--out", str(out)]) == 0
    compared = json.loads((out / "results.json").read_text())["adverse_events"]["compared"]
    assert [one["note"][:14] for one in compared] == ["no exact test:", "no exact test:"]
    assert all(one["tests"][0]["p_value"] is not None for one in compared)
    assert "too many possible tables" in (out / "tables" / "adverse_events_rates.csv").read_text(encoding="utf-8")


def test_what_is_no_number_is_null_in_json() -> None:
    told = as_plain({"a": np.array([1.0, np.nan]), "b": (np.int64(3), float("inf")), "c": None})
    assert told == {"a": [1.0, None], "b": [3, None], "c": None}


def test_the_demo_tells_true_values_beside_its_estimates(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tailort.cli.cohort_write.cohort_drawings", lambda result: [])
    out = tmp_path / "demo"
    found = demo_cohort(out, 0, False, StageClock(lambda stage, share: None))
    rates = json.loads((out / "truth-comparison.json").read_text())["rates"]
    assert [(one["cohort"], one["endpoint"], one["group"]) for one in rates] == [
        (one.cohort, one.endpoint, one.group) for one in found.truth
    ]
    # Of six intervals of 95 % four or fewer hold the truth in 3 of 1000 draws.
    assert sum(one["within"] for one in rates) >= 5
    for name, protocol in (("spine", "reirradiation-spine"), ("salvage", "salvage-crt")):
        assert (out / name / "case" / "truth.json").is_file()
        page = (out / name / "report.html").read_text(encoding="utf-8")
        assert protocol in page
        assert "none is a person" in page
