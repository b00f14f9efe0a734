"""`tailort response`: two PETs of one tumour, from DICOM folders to a report."""

from __future__ import annotations

import json
from pathlib import Path

import dicom_cases as d
import functional_cases as f
import numpy as np
import pytest

from tailort import dicom
from tailort.cli.app import run
from tailort.geometry import Grid, Image
from tailort.patient import Person, Scan, Structure, StructureSet

FRAME = "1.2.3.400"
PERSON = Person("P1", "A^B", "19500101", "M", "1", "20260226", "120000", "1")
CT_GRID = Grid.axial((20, 30, 30), (4.0, 4.0, 4.0), (-58.0, -58.0, -38.0), FRAME)
PET_GRID = Grid.axial((20, 24, 24), (4.0, 4.0, 4.0), (-46.0, -46.0, -38.0), FRAME)
BEFORE, AFTER = "20260225", "20260316"
RECORD = "radiotherapy_start_date: 2026-03-02\nhistology: adenocarcinoma\n"


def pet(part: float, day: str, series: str, **more) -> list:
    at = PET_GRID.to_world(np.moveaxis(np.indices(PET_GRID.shape), 0, -1))
    uptake = 1.0 + (9.0 * part - 1.0) * np.exp(-0.5 * (np.linalg.norm(at, axis=-1) / 9.0) ** 2)
    return f.pet_of(Image(PET_GRID, uptake.astype(np.float32), "SUV"), series=series, day=day, **more)


def tube() -> Structure:
    angles = np.linspace(0.0, 2.0 * np.pi, 33)[:-1]
    ring = 14.0 * np.column_stack([np.cos(angles), np.sin(angles)])
    planes = CT_GRID.axes_mm()[0][7:13]
    return Structure("GTVp", "GTV", tuple(np.column_stack([ring, np.full(32, z)]) for z in planes), FRAME)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("response")
    (at / "case").mkdir()
    uids = tuple(f"1.2.80.{k + 1}" for k in range(CT_GRID.shape[0]))
    image = Image(CT_GRID, np.zeros(CT_GRID.shape, np.int16), "HU")
    scan = Scan(image, "CT", "1.2.80", "1.2.8", uids, "HFS", "planning", sop_class_uid=d.CT)
    dicom.write_ct(scan, PERSON, at / "case")
    dicom.write_structures(StructureSet((tube(),), FRAME, series_uid="1.2.80"), scan, PERSON, at / "case" / "rs.dcm")
    (at / "case" / "record.yaml").write_text(RECORD)
    f.write(at / "before" / "PET", pet(1.0, BEFORE, "1.2.81"))
    f.write(at / "after" / "PET", pet(0.7, AFTER, "1.2.82"))
    f.write(at / "good", pet(0.6, AFTER, "1.2.83"))
    f.write(at / "stranger", pet(0.7, AFTER, "1.2.84", patient="P2"))
    f.write(at / "same", pet(0.9, BEFORE, "1.2.85"))
    flt = pet(0.7, AFTER, "1.2.86")
    for ds in flt:
        ds.RadiopharmaceuticalInformationSequence[0].Radiopharmaceutical = "FLT"
    f.write(at / "flt", flt)
    late = pet(0.7, AFTER, "1.2.87")
    for ds in late:
        ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = "074500"
    f.write(at / "late", late)
    return at


def calls(folders: Path, out: Path, *images: str, more: tuple[str, ...] = ()) -> int:
    named = [part for image in images for part in ("--image", str(folders / image))]
    return run(["response", str(folders / "case"), *named, "--structure", "GTVp", "--out", str(out), *more])


def test_two_pets_become_a_series_with_its_triggers(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calls(folders, tmp_path / "out", "after/PET", "before/PET") == 0
    said = capsys.readouterr().out
    assert "trigger metabolic-response, fired: " in said
    assert "proposes, never orders" in said
    told = json.loads((tmp_path / "out" / "response.json").read_text())
    first, second = told["scans"]
    assert (first["date"], second["date"]) == ("2026-02-25", "2026-03-16")
    assert (first["days_since_start"], second["days_since_start"]) == (-5, 14)
    assert first["minutes_of_uptake"] == second["minutes_of_uptake"] == 60.0
    # The nearest voxels lie 2 mm from the middle along each axis.
    near = np.exp(-0.5 * 12.0 / 81.0)
    assert first["maximum"] == pytest.approx(1.0 + 8.0 * near, rel=2e-3)
    assert second["maximum"] == pytest.approx(1.0 + 5.3 * near, rel=2e-3)
    fall = 100.0 * (1.0 - second["maximum"] / first["maximum"])
    facts = {fact["name"]: fact["value"] for fact in told["facts"]}
    assert facts["suv_max_fall_at_2_weeks_percent"] == pytest.approx(fall, abs=0.01)
    assert facts["fdg_suv_max"] == pytest.approx(first["maximum"], abs=0.01)
    assert {one["id"]: one["answer"] for one in told["triggers"]} == {"metabolic-response": "yes", "biology": "yes"}
    assert any("convention of this program" in line for line in told["conventions"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/svg+xml" in page
    assert "data:image/png" in page
    assert "never orders" in page
    inputs = json.loads((tmp_path / "out" / "run.json").read_text())["inputs_sha256"]
    assert sum("PET/" in name for name in inputs) == 2 * PET_GRID.shape[0]


def test_a_fall_as_large_as_asked_fires_nothing_by_the_printed_threshold(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--json", "--threshold", "absolute=2.5")
    assert calls(folders, tmp_path / "out", "before/PET", "good", more=more) == 0
    told = json.loads(capsys.readouterr().out)
    assert next(one["answer"] for one in told["triggers"] if one["id"] == "metabolic-response") == "no"
    assert told["threshold"]["mark"] == "lit-verified"
    assert told["scans"][1]["level"] == 2.5


def test_without_a_start_of_treatment_day_and_trigger_are_unknown(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.yaml"
    record.write_text("histology: adenocarcinoma\n")
    assert calls(folders, tmp_path / "out", "before/PET", "after/PET", more=("--record", str(record))) == 0
    said = capsys.readouterr().out
    assert "2026-03-16, day unknown" in said
    assert "trigger metabolic-response, unknown (needs suv_max_fall_at_2_weeks_percent)" in said


def test_another_uptake_time_is_told_first_and_answers_no_trigger(folders: Path, tmp_path: Path) -> None:
    assert calls(folders, tmp_path / "out", "before/PET", "late", more=("--threshold", "relative=45")) == 0
    told = json.loads((tmp_path / "out" / "response.json").read_text())
    assert "75 min of uptake against 60" in told["warnings"][0]
    assert {one["answer"] for one in told["triggers"]} == {"unknown"}
    assert any("relative=45 has no source" in text for text in told["warnings"])


@pytest.mark.parametrize(
    ("images", "more", "match"),
    [
        (("before/PET",), (), "two scans or more; found 1"),
        (("before/PET", "same"), (), "two scans are of 2026-02-25"),
        (("before/PET", "before/PET"), (), "two scans are of 2026-02-25"),
        (("before/PET", "stranger"), (), "of patient 'P2'"),
        (("before/PET", "flt"), (), "shows flt-suv and not fdg-suv"),
        (("before/PET", "case"), (), "no PT series"),
        (("before/PET", "after/PET"), ("--structure", "GTVn"), "structure 'GTVn' is needed"),
        (("before/PET", "after/PET"), ("--quantity", "adc"), "adc is no uptake"),
        (("before/PET", "after/PET"), ("--threshold", "kmeans=2"), "relative=N or absolute=N"),
        (("before/PET", "after/PET"), ("--protocol", "smart-imrt"), "has no triggers"),
        (("before/PET", "after/PET"), ("--image-series", "1.2.81"), "names 1 series for 2 folders"),
    ],
)
def test_bad_input_ends_with_one_sentence(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], images: tuple[str, ...], more: tuple[str, ...],
    match: str,
) -> None:  # fmt: skip
    assert calls(folders, tmp_path / "out", *images, more=more) == 2
    assert match in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
