"""`tailort register`: today's CT with another CT or an MR, from DICOM folders, against the map that made them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import dicom_cases as d
import numpy as np
import pytest
import thorax_formula as t
from pydicom.dataset import Dataset
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tailort import dicom
from tailort.cli.app import run
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Person, Scan, Structure, StructureSet

PERSON = Person("P1", "A^B", "19500101", "M", "1", "20260101", "120000", "1")
CT_CLASS, MR_CLASS, PET_CLASS = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in (2, 4, 128))
TURN = Rotation.from_euler("xyz", (2.0, -3.0, 4.0), degrees=True).as_matrix()
# A point of the body's own coordinates lies here in the earlier frame.
SHIFT_MM = np.array([480.0, -310.0, 790.0])
CENTRES = t.TODAYS_GRID.to_world(np.array([[28, 30, 38], [20, 24, 30], [36, 38, 46], [28, 42, 38], [30, 20, 28]]))


def as_before(p: t.Points) -> t.Points:
    """From the earlier frame to the body's own coordinates."""
    return np.asarray((p - SHIFT_MM) @ TURN)


def there(p: t.Points) -> t.Points:
    """From the body's own coordinates, which are today's, to the earlier frame."""
    return np.asarray(p @ TURN.T + SHIFT_MM)


def bent(p: t.Points) -> t.Points:
    """From the earlier frame to the body's own coordinates, with breathing: the belly was 6 mm nearer to the head."""
    q = as_before(p)
    q[..., 2] -= 6.0 / (1.0 + np.exp((q[..., 2] + 20.0) / 25.0))
    return q


def scanned(image: Image, series: str, modality: str = "CT", description: str = "scan") -> Scan:
    uids = tuple(f"{series}.{k + 1}" for k in range(image.grid.shape[0]))
    values = np.round(image.values).astype(np.int16)
    sop_class = CT_CLASS if modality == "CT" else MR_CLASS
    return Scan(
        image.with_values(values), modality, series, f"{series}.9", uids, "HFS", description, sop_class_uid=sop_class
    )


def ball(name: str, centre_mm: np.ndarray, grid: Grid, radius_mm: float = 25.0) -> Structure:
    angles = np.linspace(0.0, 2 * np.pi, 33)[:-1]
    contours = []
    for z in grid.axes_mm()[0]:
        half = radius_mm**2 - (z - centre_mm[2]) ** 2
        if half > 9.0:
            ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * np.sqrt(half) + centre_mm[:2]
            contours.append(np.column_stack([ring, np.full(len(ring), z)]))
    return Structure(name, "ORGAN", tuple(contours), grid.frame_of_reference)


def write_case(folder: Path, image: Image, series: str, *structures: Structure, person: Person = PERSON) -> Scan:
    folder.mkdir()
    made = scanned(image, series)
    dicom.write_ct(made, person, folder)
    if structures:
        drawn = StructureSet(structures, image.grid.frame_of_reference, series_uid=series)
        dicom.write_structures(drawn, made, person, folder / "rs.dcm")
    return made


def write_mr(folder: Path, image: Image, series: str, sop_class: str = MR_CLASS) -> None:
    """An MR, or a PET, as a scanner writes it, one file a slice."""
    folder.mkdir(exist_ok=True)
    dz, dy, dx = image.grid.spacing_mm
    directions = np.array(image.grid.affine[:3, :3]) / (dz, dy, dx)
    modality = "MR" if sop_class == MR_CLASS else "PT"
    for k in range(image.grid.shape[0]):
        ds: Dataset = d.base(sop_class, f"{series}.{k + 1}", modality, series, image.grid.frame_of_reference)
        ds.ImageType, ds.PatientPosition, ds.SliceThickness = ["ORIGINAL", "PRIMARY"], "HFS", f"{dz:g}"
        ds.ImagePositionPatient = [f"{v:.9g}" for v in image.grid.to_world((k, 0, 0))]
        ds.ImageOrientationPatient = [f"{v:.9g}" for v in (*directions[:, 2], *directions[:, 1])]
        ds.PixelSpacing = [f"{dy:g}", f"{dx:g}"]
        ds.Rows, ds.Columns = image.grid.shape[1:]
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
        if modality == "PT":
            ds.Units, ds.RescaleSlope, ds.RescaleIntercept = "BQML", "1", "0"
        ds.PixelData = np.round(image.values[k]).astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        ds.save_as(folder / f"{modality}{k:03d}.dcm", enforce_file_format=True)


def bright(hu: np.ndarray) -> np.ndarray:
    """Another contrast: soft tissue bright with a fold in the scale, lung and bone dark."""
    return np.asarray(np.clip(600.0 - 2.2 * np.abs(hu - 55.0), 0.0, 600.0) * (hu > -300.0) + 20.0)


def sloping_dose(frame_grid: Grid) -> Dose:
    """A dose that tells where its voxel lies in the body: 30 Gy and a tenth of a gray for each mm along x + y + z."""
    body = bent(frame_grid.to_world(np.moveaxis(np.indices(frame_grid.shape), 0, -1)))
    gy = np.clip(30.0 + 0.1 * body.sum(axis=-1), 0.0, None).astype(np.float32)
    return Dose(Image(frame_grid, gy, "Gy"), "physical", "course", 30, None, "test", plan_uid="1.2.3.4")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of one body: today's CT, an earlier one that is bent with a dose, and an MR."""
    at = tmp_path_factory.mktemp("scans")
    today = t.scan(t.TODAYS_GRID, lambda p: p, 1)
    heart = np.array([18.0, -35.0, -40.0])
    write_case(at / "today", today, "1.2.50", ball("Heart", heart, t.TODAYS_GRID))
    before = t.scan(t.EARLIER_GRID, bent, 2)
    earlier = write_case(at / "earlier", before, "1.2.60")
    dose_grid = Grid.axial((50, 40, 50), (5.0, 6.0, 6.0), there(np.array([-140.0, -110.0, -115.0])), t.EARLIER)
    dicom.write_dose(sloping_dose(dose_grid), PERSON, earlier, at / "earlier" / "rd.dcm")
    for name, grid in (("mr", t.EARLIER_GRID), ("sagittal", sagittal())):
        mr = t.scan(grid, as_before, 3, seen=lambda p: bright(t.thorax(p)))
        write_mr(at / name, Image(mr.grid, np.maximum(mr.values, 0.0), "1"), "1.2.70")
    return at


def sagittal() -> Grid:
    """Twenty sagittal slices of 4.4 mm along the spine, from the head down."""
    affine, shape = np.eye(4), (20, 110, 80)
    affine[:3, :3] = np.array([[4.4, 0.0, 0.0], [0.0, 0.0, 2.5], [0.0, -2.5, 0.0]])
    affine[:3, 3] = there(np.array([0.0, 20.0, 0.0])) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine, t.EARLIER)


def glowing(p: t.Points) -> np.ndarray:
    """Bq/ml at points of the body: little in lung, more in soft tissue, much in the heart and in a tumour."""
    hu = t.thorax(p)
    quiet = np.where(hu > -300.0, 3000.0, np.where(hu > -950.0, 800.0, 0.0)) * (np.abs(p[..., 1] - 121.0) > 6.0)
    heart = 9000.0 * np.exp(-(((p - (18.0, -35.0, -40.0)) / (35.0, 30.0, 40.0)) ** 2).sum(axis=-1))
    tumour = 25000.0 * np.exp(-0.5 * (((p - (-6.0, 20.0, 20.0)) / (8.0, 8.0, 20.0)) ** 2).sum(axis=-1))
    return np.asarray(quiet + heart + tumour)


def told(out: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((out / "registration.json").read_text())
    return found


def read_back(out: Path) -> object:
    found = dicom.registration_between(dicom.read_registrations([out]), t.TODAY, t.EARLIER, t.TODAYS_GRID)
    assert found is not None
    return found


@pytest.mark.slow
def test_a_ct_is_bent_onto_another_and_a_dose_lies_where_its_tissue_lies(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    status = run(["register", str(folders / "today"), str(folders / "earlier"), "--dose", "--out", str(out), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert status == 0
    assert (printed["verdict"], printed["deformable"], printed["modality"]) == ("pass", True, "CT")
    assert {key: printed[key] for key in told(out)} == told(out)
    # What was written leads where the tissue was: the inverse of the map that made the scan.
    errors = np.linalg.norm(bent(read_back(out).map_points(CENTRES)) - CENTRES, axis=-1)
    assert np.median(errors) < 2.0
    assert printed["uncertainty_mm"]["p5"] >= 0.5
    case = dicom.read_case(out_with_ct(folders, out, tmp_path))
    (dose,) = case.doses
    assert dose.image.grid.frame_of_reference == t.TODAY
    assert dose.plan_uid == "1.2.3.4"
    index = dose.image.grid.to_index(CENTRES)
    for centre, at in zip(CENTRES, np.round(index).astype(int), strict=True):
        point = dose.image.grid.to_world(at)
        assert dose.image.values[tuple(at)] == pytest.approx(30.0 + 0.1 * point.sum(), abs=0.4), centre
    rows = {(m["structure"], m["metric"]): m for m in printed["doses"][0]["metrics"]}
    mean = rows["Heart", "Mean[Gy]"]
    assert mean["low"] == mean["high"] == pytest.approx(30.0 + 0.1 * (18.0 - 35.0 - 40.0), abs=0.4)
    page = (out / "report.html").read_text()
    assert "Checkerboard" in page
    assert "deformation" in page


def out_with_ct(folders: Path, out: Path, tmp_path: Path) -> Path:
    """Today's CT with the mapped dose, as a person would look at it."""
    together = tmp_path / "together"
    together.mkdir()
    for file in (*(folders / "today").glob("*.dcm"), out / "rtdose_mapped.dcm"):
        (together / file.name).symlink_to(file)
    return together


@pytest.mark.parametrize("planes", ["mr", pytest.param("sagittal", marks=pytest.mark.slow)])
def test_an_mr_is_found_by_mutual_information_and_its_uncertainty_stays_unknown(
    folders: Path, tmp_path: Path, planes: str
) -> None:
    out = tmp_path / "out"
    assert run(["register", str(folders / "today"), str(folders / planes), "--out", str(out)]) == 0
    found = told(out)
    assert (found["modality"], found["deformable"], found["uncertainty_mm"]) == ("MR", False, None)
    assert "mutual information" in str(found["method"])
    errors = np.linalg.norm(read_back(out).map_points(CENTRES) - there(CENTRES), axis=-1)
    assert errors.max() < 2.0
    assert "unknown" in (out / "report.html").read_text()


def test_a_pet_is_found_by_mutual_information(folders: Path, tmp_path: Path) -> None:
    grid = t.EARLIER_GRID
    becquerel = glowing(as_before(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))))
    # Seven millimetres of resolution, and the noise of counts.
    blurred = ndimage.gaussian_filter(becquerel, [7.0 / 2.355 / s for s in grid.spacing_mm])
    noisy = np.random.default_rng(4).poisson(blurred / 100.0) * 100.0
    values = ndimage.gaussian_filter(noisy, [5.0 / 2.355 / s for s in grid.spacing_mm])
    write_mr(tmp_path / "pet", Image(grid, values, "Bq/ml"), "1.2.75", PET_CLASS)
    out = tmp_path / "out"
    assert run(["register", str(folders / "today"), str(tmp_path / "pet"), "--out", str(out)]) == 0
    assert told(out)["modality"] == "PT"
    errors = np.linalg.norm(read_back(out).map_points(CENTRES) - there(CENTRES), axis=-1)
    assert errors.max() < 2.5


@pytest.mark.slow
def test_a_registration_that_fails_is_written_with_its_verdict_and_maps_a_dose_only_where_a_person_insists(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # On the MR the heart is drawn 60 mm away from where it is.
    wrong = tmp_path / "wrong"
    mr = dicom.read_case(folders / "mr", modality=None).scans[0]
    write_mr(wrong, mr.image, "1.2.70")
    heart = ball("Heart", there(np.array([18.0, -35.0, 20.0])), t.EARLIER_GRID)
    drawn = StructureSet((heart,), t.EARLIER, series_uid="1.2.70")
    dicom.write_structures(drawn, mr, PERSON, wrong / "rs.dcm")
    dicom.write_dose(sloping_dose(t.EARLIER_GRID.with_spacing(8.0)), PERSON, mr, wrong / "rd.dcm")
    asked = ["register", str(folders / "today"), str(wrong), "--dose"]
    assert run([*asked, "--out", str(tmp_path / "out")]) == 3
    assert "fails: Heart: Dice" in capsys.readouterr().out
    assert (told(tmp_path / "out")["verdict"], told(tmp_path / "out")["doses"]) == ("fail", [])
    assert not (tmp_path / "out" / "rtdose_mapped.dcm").exists()
    assert read_back(tmp_path / "out").is_rigid
    assert run([*asked, "--insist", "--out", str(tmp_path / "insisted")]) == 3
    assert (tmp_path / "insisted" / "rtdose_mapped.dcm").is_file()
    assert "a person insisted" in (tmp_path / "insisted" / "report.html").read_text()


def refused(capsys: pytest.CaptureFixture[str], out: Path, *words: str) -> str:
    """What a command that has to be refused says; it leaves nothing behind."""
    before = sorted(out.parent.iterdir())
    status = run(["register", *words, "--out", str(out)])
    text = capsys.readouterr().err
    assert status == 2
    assert "Traceback" not in text
    assert sorted(out.parent.iterdir()) == before
    return text


def test_what_does_not_go_together_is_refused(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    today, earlier, mr = (str(folders / name) for name in ("today", "earlier", "mr"))
    out = tmp_path / "out"
    assert "one frame of reference" in refused(capsys, out, today, today)
    assert "deformable registration cannot compare" in refused(capsys, out, today, mr, "--deformable")
    assert "compares scans of one kind" in refused(capsys, out, today, mr, "--metric", "correlation")
    assert "no RTDOSE to map" in refused(capsys, out, today, mr, "--dose")
    assert "'Hart'" in refused(capsys, out, today, earlier, "--guide", "Hart")
    assert "takes no Heart" in refused(capsys, out, today, earlier, "--rigid", "--guide", "Heart")
    assert "has no PT series" in refused(capsys, out, today, earlier, "--modality", "PT")
    assert "no CT series 1.2.3" in refused(capsys, out, today, earlier, "--other-series", "1.2.3")
    assert "has no CT series" in refused(capsys, out, mr, earlier)


def test_folders_without_images_with_several_kinds_or_of_another_patient_are_refused(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    today = str(folders / "today")
    place = tmp_path / "place"
    place.mkdir()
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("nothing")
    assert "no CT series" in refused(capsys, place / "out", today, str(empty))
    both = tmp_path / "both"
    small = Image(Grid.axial((3, 4, 5), (3.0, 2.0, 2.0), (0.0, 0.0, 0.0), "1.9"), np.ones((3, 4, 5)), "1")
    write_mr(both, small, "1.2.80")
    write_mr(both, small, "1.2.81", PET_CLASS)
    assert "several kinds, MR and PT" in refused(capsys, place / "out", today, str(both))
    assert "too small" in refused(capsys, place / "out", today, str(both), "--modality", "PT")
    theirs = tmp_path / "theirs"
    write_case(theirs, Image(small.grid, np.zeros((3, 4, 5)), "HU"), "1.2.90", person=replace(PERSON, patient_id="P2"))
    assert "--same-patient" in refused(capsys, place / "out", today, str(theirs))
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    assert "is not empty" in refused(capsys, full, today, str(folders / "earlier"))
    assert "leaves it alone" in refused(capsys, full, today, str(folders / "earlier"), "--overwrite")


def test_scans_of_different_parts_of_the_body_are_refused(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def elsewhere(p: t.Points) -> t.Points:
        rng = np.random.default_rng(11)
        values = np.full(p.shape[:-1], -1000.0)
        for _ in range(40):
            centre, radius = rng.uniform((-150, -150, -150), (150, 150, 150)), rng.uniform(8, 20)
            values[np.linalg.norm(p - centre, axis=-1) < radius] = rng.uniform(-200, 400)
        return values

    other = t.scan(
        Grid.axial((50, 60, 60), (6.0, 5.0, 5.0), (-150.0, -150.0, -150.0), "1.9"), lambda p: p, 4, 8.0, elsewhere
    )
    write_case(tmp_path / "other", other, "1.2.95")
    text = refused(capsys, tmp_path / "out", str(folders / "today"), str(tmp_path / "other"))
    assert "do not overlap" in text or "do not show the same" in text
