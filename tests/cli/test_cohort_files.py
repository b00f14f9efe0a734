"""The files of a cohort: what is written is read again, scorecards are found, and the page on tables is true."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tailort.cli.cohort_input import read_cohort
from tailort.cli.write_cohort import MAPPING, write_virtual_cohort
from tailort.errors import InputError
from tailort.phantom.virtual_cohort import VirtualCohort, salvage_cohort, spine_cohort
from tailort.protocols import load
from tailort.protocols.cohort_endpoints import endpoint_times
from tailort.protocols.records.cohort_mapping import PARTS, CohortMapping, key_of

PAGE = (Path(__file__).parents[2] / "docs" / "cohort-tables.md").read_text(encoding="utf-8")
TODAY = dt.date(2026, 2, 1)


@pytest.mark.parametrize("cohort", [spine_cohort(), salvage_cohort(5, 40)], ids=["spine", "salvage"])
def test_a_virtual_cohort_is_read_as_it_was_drawn(cohort: VirtualCohort, tmp_path: Path) -> None:
    table = write_virtual_cohort(cohort, tmp_path)
    read = read_cohort(table, tmp_path / MAPPING, protocol=load(cohort.protocol), today=cohort.last_day)
    own = {row["id"]: row for row in cohort.rows if row.get("last_seen")}
    assert [patient.pseudonym for patient in read.patients] == sorted(own)
    survival = next(one for one in read.endpoints if one.name == "overall survival")
    times = endpoint_times(read.patients, survival)
    origin = "mescc" if cohort.name == "spine" else "start"
    for name, months, status in zip(times.pseudonyms, times.months, times.status, strict=True):
        row = own[name]
        last = dt.date.fromisoformat(row["death"] or row["last_seen"])
        assert months == pytest.approx((last - dt.date.fromisoformat(row[origin])).days / 30.4375)
        assert status == bool(row["death"])
    told = sum(len(patient.visits) + len(patient.lesions) + len(patient.cycles) for patient in read.patients)
    assert told == sum(row.get("row") in ("visit", "lesion", "cycle") for row in cohort.rows)
    assert {fact.source[:16] for patient in read.patients for fact in patient.facts.values()} == {"synthetic cohort"}
    assert "synthetic" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_row_that_does_not_say_that_it_is_synthetic_is_no_part_of_the_cohort(tmp_path: Path) -> None:
    table = write_virtual_cohort(spine_cohort(), tmp_path)
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("synthetic,V-01", "hospital,V-01"), encoding="utf-8")
    read = read_cohort(table, tmp_path / MAPPING, protocol=load("reirradiation-spine"), today=TODAY)
    assert len(read.patients) == 20


def scorecard(folder: Path, name: str, value: float | None) -> None:
    row = {"structure": "Esophagus", "metric": "Max[Gy]", "quantity": "physical", "scope": "course", "value": value}
    (folder / name).mkdir(parents=True)
    (folder / name / "scorecard.json").write_text(json.dumps({"metrics": [row]}), encoding="utf-8")


def test_scorecards_of_run_folders_are_joined_by_the_name_of_the_folder(tmp_path: Path) -> None:
    table = write_virtual_cohort(spine_cohort(), tmp_path)
    scorecard(tmp_path / "runs", "V-02", 24.5)
    read = read_cohort(table, tmp_path / MAPPING, scorecards=tmp_path / "runs", today=TODAY)
    found = {patient.pseudonym: patient.metrics.get("Esophagus Max[Gy] physical course") for patient in read.patients}
    assert found["V-02"] == 24.5
    assert {value for name, value in found.items() if name != "V-02"} == {None}


def test_scorecards_that_cannot_be_joined_are_refused(tmp_path: Path) -> None:
    table = write_virtual_cohort(spine_cohort(), tmp_path)
    runs = tmp_path / "runs"

    def refused(says: str) -> None:
        with pytest.raises(InputError, match=says):
            read_cohort(table, tmp_path / MAPPING, scorecards=runs, today=TODAY)

    refused("is no folder")
    runs.mkdir()
    refused("has no scorecard")
    scorecard(runs, "X-99", 1.0)
    refused("'X-99' belongs to no patient")
    (runs / "X-99" / "scorecard.json").write_text("[]", encoding="utf-8")
    refused("is no scorecard")


# --- docs/cohort-tables.md


def examples(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_tables_of_the_page_are_read_through_its_mappings(tmp_path: Path) -> None:
    tables, mappings = examples("csv"), examples("yaml")
    assert len(tables) == len(mappings) == 3
    for n, (text, mapping) in enumerate(zip(tables, mappings, strict=True)):
        table, told = tmp_path / f"{n}.csv", tmp_path / f"{n}.yaml"
        table.write_text(text, encoding="utf-8")
        told.write_text(mapping, encoding="utf-8")
        protocol = None if "\nendpoints:" in mapping else load("reirradiation-spine")
        read = read_cohort(table, told, protocol=protocol, today=TODAY)
        for endpoint in read.endpoints:
            times = endpoint_times(read.patients, endpoint)
            for name, months, status in zip(times.pseudonyms, times.months, times.status, strict=True):
                assert f"| {name} | {endpoint.name} | {months:.2f} | {status} |" in PAGE
            for name, why in times.left_out.items():
                assert f"| {name} | {endpoint.name} | left out: {why} | |" in PAGE
    assert not np.isnan(times.months).any()


def test_every_key_of_a_mapping_of_a_cohort_is_on_the_page_or_on_that_of_records() -> None:
    records = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    missing = [key for key in CohortMapping.model_fields if f"`{key}`" not in PAGE and f"`{key}`" not in records]
    assert not [key for key in missing if key != "columns"]


@pytest.mark.parametrize("kind", PARTS)
def test_every_field_of_a_row_is_on_the_page(kind: str) -> None:
    (line,) = [line for line in PAGE.split("\n") if line.startswith(f"| `{key_of(kind)}` |")]  # type: ignore[arg-type]
    assert not [name for name in PARTS[kind].types if f"`{name}`" not in line]  # type: ignore[index]
