"""`tailort decide` with what the protocol asks for: text, JSON and the files of --out."""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tailort.cli.app import run
from tailort.cli.decide_commands import decide_record

SMART = {"tumour_level": "middle", "surgery": "none", "concurrent_chemotherapy": True}
SALVAGE = {
    "tumour_site": "thoracic oesophagus", "histology": "squamous cell carcinoma", "salvage_surgery_possible": False,
    "surgery": "R1", "locoregional_recurrence": False, "adjuvant_therapy": "none", "therapy_after_recurrence": False,
    "age_years": 61, "kps": 80, "white_cells_10e9_per_l": 6.1, "neutrophils_10e9_per_l": 3.0,
    "platelets_10e9_per_l": 210, "haemoglobin_g_per_l": 128, "bilirubin_times_uln": 0.6, "ast_times_uln": 0.8,
    "alt_times_uln": 0.7, "creatinine_clearance_ml_per_min": 85, "other_malignancy_within_5_years": False,
    "pregnant_or_breastfeeding": False, "drug_allergy": "none", "consent": True, "non_regional_nodes": False,
    "distant_metastasis": False, "severe_cardiovascular_disease": False, "infection": False,
    "active_ulceration": False, "diabetes_with_unstable_glucose": False, "mental_disorder": False,
    "largest_lesion_cm": 2.0, "region_i_involved": False, "region_ii_involved": True, "region_iii_involved": False,
    "region_iv_involved": False, "station_8lo_involved": False, "station_9_involved": False, "gtv_to_stomach_cm": 4.0,
    "intolerant_of_simultaneous_boost": False, "earlier_taxane": False, "height_cm": 170, "weight_kg": 65,
    "chemotherapy_start_date": dt.date(2026, 1, 5), "patient_id": "S-01",
}  # fmt: skip


def record(folder: Path, facts: dict[str, object]) -> str:
    path = folder / "record.yaml"
    with path.open("w") as stream:
        YAML().dump(facts, stream)
    return str(path)


def decide(folder: Path, facts: dict[str, object], *more: str, protocol: str = "salvage-crt") -> int:
    return run(["decide", record(folder, facts), "--protocol", protocol, *more])


def events(text: str) -> list[dict[str, str]]:
    """Events of an iCalendar text, checked against RFC 5545: line ends, folding, nesting, what each must have."""
    raw = text.encode("utf-8")
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert all(len(line) <= 75 for line in raw.split(b"\r\n"))
    lines = text.replace("\r\n ", "").split("\r\n")[:-1]
    assert (lines[0], lines[-1], lines[1]) == ("BEGIN:VCALENDAR", "END:VCALENDAR", "VERSION:2.0")
    assert any(line.startswith("PRODID:") for line in lines)
    found: list[dict[str, str]] = []
    inside = False
    for line in lines[1:-1]:
        assert re.fullmatch(r"[A-Z-]+(;[A-Z]+=[A-Z]+)*:.*", line)
        name, _, value = line.partition(":")
        if name == "BEGIN":
            assert (inside, value) == (False, "VEVENT")
            inside = True
            found.append({})
        elif name == "END":
            assert (inside, value) == (True, "VEVENT")
            inside = False
        elif inside:
            assert name not in found[-1]
            found[-1][name] = value
    for event in found:
        assert {"UID", "DTSTAMP", "DTSTART;VALUE=DATE", "DTEND;VALUE=DATE", "SUMMARY"} <= set(event)
        assert re.fullmatch(r"\d{8}T\d{6}Z", event["DTSTAMP"])
        assert event["DTSTART;VALUE=DATE"] < event["DTEND;VALUE=DATE"]
    assert len({event["UID"] for event in found}) == len(found)
    return found


def test_out_writes_decision_calendar_and_fhir(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert decide(tmp_path, SALVAGE, "--start", "2026-01-05", "--out", str(out)) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "decision.json", "decision.txt", "fhir.json", "run.json", "visits.ics",
    ]  # fmt: skip
    told = json.loads((out / "decision.json").read_text())
    assert (told["answer"], told["exit_status"], told["treatment"]["courses"][0]["plan"]) == ("yes", 0, "A")
    made = {
        event["SUMMARY"]: event["DTSTART;VALUE=DATE"] for event in events((out / "visits.ics").read_bytes().decode())
    }
    assert made["radiotherapy: 28 fractions"] == "20260105"
    assert made["follow-up\\, month 3"] == "20260511"
    assert made["concurrent cycle 2\\, day 1: paclitaxel"] == "20260126"
    bundle = json.loads((out / "fhir.json").read_text())
    assert {entry["resource"]["resourceType"] for entry in bundle["entry"]} == {
        "Patient", "BodyStructure", "ServiceRequest", "Observation",
    }  # fmt: skip
    text = (out / "decision.txt").read_text()
    assert "MS-16 [seed]" in text
    assert "not an order" in text
    assert "For research only" in text
    assert capsys.readouterr().err == ""


def test_fhir_has_the_fractions_of_all_phases(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert decide(tmp_path, SALVAGE | {"gtv_to_stomach_cm": 0.5}, "--out", str(out)) == 0
    bundle = json.loads((out / "fhir.json").read_text())
    (request,) = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "ServiceRequest"]
    doses = [{part["url"]: part for part in one["extension"]} for one in request["extension"]]
    assert [(d["totalDose"]["valueQuantity"]["value"], d["fractions"]["valuePositiveInt"]) for d in doses] == [
        (5040, 28), (6040, 33),
    ]  # fmt: skip


def test_without_pseudonym_or_start_the_calendar_is_left_out_and_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide(tmp_path, SMART, "--out", str(tmp_path / "a"), protocol="smart-imrt") == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["decision.json", "decision.txt", "run.json"]
    told = capsys.readouterr().err
    assert "visits.ics: no date is known" in told
    assert "fhir.json: it needs the patient's pseudonym" in told
    more = ("--start", "2026-01-05", "--patient", "P1")
    assert decide(tmp_path, SMART, *more, "--out", str(tmp_path / "b"), protocol="smart-imrt") == 0
    assert len(events((tmp_path / "b" / "visits.ics").read_bytes().decode())) == 1


def test_the_same_record_on_the_same_day_gives_the_same_calendar(tmp_path: Path) -> None:
    from tailort.cli.write_decision import calendar_text

    path = Path(record(tmp_path, SALVAGE))
    today = dt.date(2026, 1, 2)
    first, second = (decide_record(path, "salvage-crt", today=today, start=dt.date(2026, 1, 5)) for _ in range(2))
    assert calendar_text(first, "S-01", today) == calendar_text(second, "S-01", today)
    assert "DTSTAMP:20260102T000000Z" in calendar_text(first, "S-01", today)


def test_an_earlier_result_is_replaced_only_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", str(tmp_path / "out"))
    assert decide(tmp_path, SMART, *out, protocol="smart-imrt") == 0
    assert decide(tmp_path, SMART, *out, protocol="smart-imrt") == 2
    assert "not empty" in capsys.readouterr().err
    assert decide(tmp_path, SMART, *out, "--overwrite", protocol="smart-imrt") == 0


def test_the_folder_of_the_record_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "truth.json").write_text("{}")
    assert decide(tmp_path, SMART, "--out", str(tmp_path), "--overwrite", protocol="smart-imrt") == 2
    assert "holds the input" in capsys.readouterr().err
    assert (tmp_path / "record.yaml").is_file()


def test_who_is_not_admitted_is_told_why_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(tmp_path, SMART | {"surgery": "R0"}, "--json", protocol="smart-imrt") == 5
    assert json.loads(capsys.readouterr().out)["treatment"] is None
    assert decide(tmp_path, SMART | {"surgery": "R0"}, protocol="smart-imrt") == 5
    told = capsys.readouterr().out
    assert "SM-01" in told
    assert "What the protocol" not in told


def test_the_text_is_short_and_all_tells_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(tmp_path, SALVAGE) == 0
    short = capsys.readouterr().out
    assert decide(tmp_path, SALVAGE, "--all") == 0
    whole = capsys.readouterr().out
    assert "MS-13 [seed]" not in short
    assert "MS-13 [seed]" in whole
    assert "83 patients" not in short
    assert "83 patients" in whole
    for told in (short, whole):
        assert "PTV_5992" in told
        assert "135 mg/m2 on day 1" in told
        assert told.count("not an order") >= 2


@pytest.mark.parametrize(
    ("facts", "more", "says"),
    [
        (SMART, ("--start", "soon"), "--start 'soon' is no date"),
        (SMART, ("--start", "2026-01-04"), "a Sunday"),
        (SMART | {"radiotherapy_start_date": dt.date(2026, 1, 6)}, ("--start", "2026-01-05"), "correct one of them"),
        (SMART, ("--patient", "S-02", "--out", "OUT"), "'S-02' by --patient and 'S-01' by the record"),
        (SMART | {"weight_kg": 6500}, (), "10 to 350"),
    ],
)
def test_bad_dates_sizes_and_names_leave_nothing_behind(
    facts: dict[str, object], more: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "out") if part == "OUT" else part for part in more]
    assert decide(tmp_path, facts | {"patient_id": "S-01"}, *arguments, protocol="smart-imrt") == 2
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert not (tmp_path / "out").exists()


def test_a_table_is_written_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "t.csv", tmp_path / "out"
    table.write_text("id,tumour_level,surgery,concurrent_chemotherapy\nP1,middle,none,yes\nP2,lower,R0,\n")
    assert run(["decide", "--table", str(table), "--protocol", "smart-imrt", "--out", str(out)]) == 0
    with (out / "decisions.csv").open() as stream:
        assert [(row["id"], row["answer"]) for row in csv.DictReader(stream)] == [("P1", "yes"), ("P2", "no")]
    assert len(json.loads((out / "decisions.json").read_text())["patients"]) == 2
    assert "t.csv" in json.loads((out / "run.json").read_text())["inputs_sha256"]
    assert run(["decide", "--table", str(table), "--protocol", "smart-imrt", "--start", "2026-01-05"]) == 2
    assert "not with --table" in capsys.readouterr().err
