"""Registrations that lie in the folders as DICOM are used in place of finding one, measured, and written again."""

from __future__ import annotations

import json
from pathlib import Path

import dicom_cases as d
import numpy as np
import pytest
import water_cases as w
from pydicom.dataset import Dataset

from tailort import dicom
from tailort.cli.app import run
from tailort.geometry import Grid, Transform
from tailort.registration import Field, Registration

ROIS = [w.EXTERNAL, w.CORD, w.OESOPHAGUS_IN_TUMOUR, w.TUMOUR]
PROTOCOL = w.protocol("""
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 140, priority: hard, quantity: BED,
     alpha_beta_gy: 2, scope: cumulative}
""")
SPATIAL = "1.2.840.10008.5.1.4.1.1.66.1"


def course(folder: Path, *objects: Dataset, frame: str = d.FRAME, patient: str = "P1") -> Path:
    """A case of water; a course of its own has its own frame of reference and series, but the same coordinates."""
    slices = w.slices(frame=frame, series=f"{frame}.1", uid_root=f"{frame}.2")
    drawn = d.structure_set(ROIS, frame=frame, series=f"{frame}.1", uid=f"{frame}.3")
    for ds in (*slices, drawn, *objects):
        ds.PatientID = patient
    return d.write(folder, *slices, drawn, *objects)


def matrix_object(from_frame: str, to_frame: str, shift_mm: tuple[float, float, float], patient: str = "P1") -> Dataset:
    """Spatial registration that takes points of `from_frame` to `to_frame`, its own frame, by a shift."""
    ds = d.base(SPATIAL, f"{to_frame}.77", "REG", f"{to_frame}.78", to_frame, patient)
    item, registered, one = Dataset(), Dataset(), Dataset()
    one.FrameOfReferenceTransformationMatrixType = "RIGID"
    affine = np.eye(4)
    affine[:3, 3] = shift_mm
    one.FrameOfReferenceTransformationMatrix = [f"{v:g}" for v in affine.ravel()]
    registered.MatrixSequence = [one]
    item.FrameOfReferenceUID = from_frame
    item.MatrixRegistrationSequence = [registered]
    ds.RegistrationSequence = [item]
    return ds


def summed(out: Path, today: Path, prior: Path, *options: str) -> tuple[int, dict[str, float]]:
    """Exit status, and each organ's mean BED of alpha/beta 3."""
    status = run(["reirradiate", str(today), "--prior", str(prior), "--out", str(out), *options])
    if not (out / "cumulative.json").is_file():
        return status, {}
    rows = json.loads((out / "cumulative.json").read_text())["organs"]
    return status, {
        r["structure"]: r["cumulative"]["bed_gy"]
        for r in rows
        if (r["metric"], r["alpha_beta_gy"]) == ("Mean[Gy]", 3.0)
    }


@pytest.fixture
def today(tmp_path: Path) -> Path:
    return course(tmp_path / "today")


@pytest.fixture
def same_frame(tmp_path: Path, today: Path) -> dict[str, float]:
    """What the sum is where nothing has to be registered."""
    prior = course(tmp_path / "here", d.plan(), d.dose())
    return summed(tmp_path / "same", today, prior)[1]


def elsewhere(folder: Path, *objects: Dataset) -> Path:
    return course(folder, d.plan(frame=d.OTHER_FRAME), d.dose(frame=d.OTHER_FRAME), *objects, frame=d.OTHER_FRAME)


@pytest.mark.parametrize("where", ["today", "prior"])
def test_a_sum_over_a_given_registration_that_changes_nothing_is_the_sum_in_one_frame(
    today: Path, same_frame: dict[str, float], tmp_path: Path, where: str
) -> None:
    identity = matrix_object(d.OTHER_FRAME, d.FRAME, (0.0, 0.0, 0.0))
    prior = elsewhere(tmp_path / "prior", *([identity] if where == "prior" else []))
    if where == "today":
        identity.save_as(today / "given.dcm", enforce_file_format=True)
    status, means = summed(tmp_path / "out", today, prior)
    assert status == 0
    assert means == pytest.approx(same_frame, abs=1e-3)
    # So small a scan cannot be registered: nothing of the registration could be checked, and the first page says so.
    assert "could not be checked" in (tmp_path / "out" / "report.html").read_text()
    told = json.loads((tmp_path / "out" / "cumulative.json").read_text())["courses"][0]
    assert "given as DICOM" in json.dumps(told)
    notes = json.loads((tmp_path / "out" / "run.json").read_text())["notes"]
    assert "1 registration(s) in the folder" in " ".join(notes)


def test_a_dose_lies_where_the_given_registration_puts_it_and_the_run_folder_holds_it(
    today: Path, same_frame: dict[str, float], tmp_path: Path
) -> None:
    # What lies at z today lay 3 mm lower: the earlier dose, 0.5 Gy a mm, is 1.5 Gy lower there.
    prior = elsewhere(tmp_path / "prior", matrix_object(d.OTHER_FRAME, d.FRAME, (0.0, 0.0, 3.0)))
    status, means = summed(tmp_path / "out", today, prior)
    assert status == 0
    gy = 39.25 - 1.5
    assert means["Esophagus"] == pytest.approx(gy * (1 + gy / 75), abs=0.05)
    assert means["Esophagus"] < same_frame["Esophagus"] - 2.0
    (written,) = dicom.read_registrations([tmp_path / "out"])
    assert [path.name for path in (tmp_path / "out").glob("reg_*.dcm")] == ["reg_prior.dcm"]
    found = written.leads(d.FRAME, d.OTHER_FRAME, Grid.axial((2, 2, 2), (1, 1, 1), (0, 0, 0), d.FRAME))
    assert found is not None
    assert found.map_points((1.0, 2.0, 3.0)) == pytest.approx((1.0, 2.0, 0.0))


@pytest.mark.parametrize("where", ["today", "prior"])
def test_a_dose_without_its_ct_is_added_by_a_registration_that_came_with_it(
    today: Path, tmp_path: Path, where: str
) -> None:
    objects = [d.plan(frame=d.OTHER_FRAME), d.dose(frame=d.OTHER_FRAME)]
    given = matrix_object(d.OTHER_FRAME, d.FRAME, (0.0, 0.0, 3.0))
    prior = d.write(tmp_path / "prior", *objects, *([given] if where == "prior" else []))
    if where == "today":
        given.save_as(today / "given.dcm", enforce_file_format=True)
    status, means = summed(tmp_path / "out", today, prior)
    assert status == 0
    gy = 39.25 - 1.5
    assert means["Esophagus"] == pytest.approx(gy * (1 + gy / 75), abs=0.05)
    assert "could not be checked" in (tmp_path / "out" / "report.html").read_text()
    notes = " ".join(json.loads((tmp_path / "out" / "run.json").read_text())["notes"])
    assert "it has no CT of its own; its dose lies in another frame of reference" in notes


def test_a_given_displacement_bends_the_dose(today: Path, same_frame: dict[str, float], tmp_path: Path) -> None:
    prior = elsewhere(tmp_path / "prior")
    case = dicom.read_case(today)
    grid = case.ct.image.grid
    vectors = np.zeros((*grid.shape, 3), dtype=np.float32)
    vectors[..., 2] = -3.0
    bent = Registration(Transform(d.FRAME, d.OTHER_FRAME, np.eye(4)), Field(grid, vectors), "by hand")
    dicom.write_registration(bent, case.ct, None, case.person, today / "bent.dcm", by_images=False)
    status, means = summed(tmp_path / "out", today, prior)
    assert status == 0
    gy = 39.25 - 1.5
    assert means["Esophagus"] == pytest.approx(gy * (1 + gy / 75), abs=0.05)
    assert means["Esophagus"] < same_frame["Esophagus"] - 2.0


def test_a_given_displacement_that_folds_is_refused_and_told_where_a_person_insists(
    today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = elsewhere(tmp_path / "prior")
    case = dicom.read_case(today)
    grid = case.ct.image.grid
    vectors = np.zeros((*grid.shape, 3), dtype=np.float32)
    vectors[grid.shape[0] // 2, ..., 2] = 5.0
    bent = Registration(Transform(d.FRAME, d.OTHER_FRAME, np.eye(4)), Field(grid, vectors), "by hand")
    dicom.write_registration(bent, case.ct, None, case.person, today / "bent.dcm", by_images=False)
    assert summed(tmp_path / "out", today, prior)[0] == 2
    assert "Jacobian determinant, least" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    status, _ = summed(tmp_path / "out", today, prior, "--insist")
    assert status == 0
    assert "person insisted" in (tmp_path / "out" / "report.html").read_text()


def test_registrations_of_another_patient_or_several_to_one_course_are_refused(
    today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = elsewhere(tmp_path / "prior")
    theirs = matrix_object(d.OTHER_FRAME, d.FRAME, (0.0, 0.0, 0.0), patient="P2")
    theirs.save_as(prior / "theirs.dcm", enforce_file_format=True)
    assert summed(tmp_path / "out", today, prior)[0] == 2
    assert "of patient 'P2'" in capsys.readouterr().err
    (prior / "theirs.dcm").unlink()
    one, two = (matrix_object(d.OTHER_FRAME, d.FRAME, (0.0, 0.0, z)) for z in (0.0, 1.0))
    two.SOPInstanceUID = two.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    one.save_as(prior / "one.dcm", enforce_file_format=True)
    two.save_as(prior / "two.dcm", enforce_file_format=True)
    assert summed(tmp_path / "out", today, prior)[0] == 2
    assert "2 registrations lead" in capsys.readouterr().err


def test_a_registration_between_other_frames_does_not_help(
    today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = elsewhere(tmp_path / "prior", matrix_object("1.9.9", d.FRAME, (0.0, 0.0, 0.0)))
    # It is looked for by the scans then, and these are too small.
    assert summed(tmp_path / "out", today, prior)[0] == 2
    assert "too small to be registered" in capsys.readouterr().err


def test_a_plan_on_the_sum_uses_a_given_registration_and_writes_it(today: Path, tmp_path: Path) -> None:
    prior = elsewhere(tmp_path / "prior", matrix_object(d.OTHER_FRAME, d.FRAME, (0.0, 0.0, 0.0)))
    protocol = tmp_path / "own.yaml"
    protocol.write_text(PROTOCOL)
    out = tmp_path / "out"
    asked = ["plan", str(today), "--protocol", str(protocol), "--dose-grid", "3", "--engine", "pencil-nyholm"]
    assert run([*asked, "--prior", str(prior), "--out", str(out)]) == 0
    assert (out / "reg_prior.dcm").is_file()
    rows = {(r["structure"], r["scope"]): r for r in json.loads((out / "scorecard.json").read_text())["metrics"]}
    cord = rows["SpinalCord", "cumulative"]
    # Before: 38 to 43 Gy in 25 fractions.
    assert 41.0 * (1 + 41.0 / 50) < cord["value"] < 140
    assert cord["verdict"] == "pass"
