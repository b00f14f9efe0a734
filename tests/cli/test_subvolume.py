"""`tailort subvolume`: a PET with a spot of known shape over a CT, from DICOM folders to an RTSTRUCT."""

from __future__ import annotations

import json
from pathlib import Path

import dicom_cases as d
import functional_cases as f
import numpy as np
import pytest
import thorax_formula as t

from tailort import dicom
from tailort.cli.app import run
from tailort.geometry import Grid, Image, volume_cm3
from tailort.patient import Person, Scan, Structure, StructureSet

PERSON = Person("P1", "A^B", "19500101", "M", "1", "20260110", "120000", "1")
CENTRE = np.array([4.0, -6.0, -12.0])
SIGMA_MM, TOP, FLOOR = 8.0, 9.0, 1.0
SHIFT_MM = np.array([310.0, -205.0, 640.0])
CT_GRID = Grid.axial((40, 56, 66), (3.0, 3.0, 3.0), (-97.5, -82.5, -70.0), t.TODAY)


def spot(points: np.ndarray) -> np.ndarray:
    body = np.where(np.hypot(points[..., 0] / 160.0, points[..., 1] / 105.0) < 1.0, FLOOR, 0.0)
    return body + (TOP - FLOOR) * np.exp(-0.5 * (np.linalg.norm(points - CENTRE, axis=-1) / SIGMA_MM) ** 2)


def scanned(image: Image, series: str) -> Scan:
    uids = tuple(f"{series}.{k + 1}" for k in range(image.grid.shape[0]))
    values = image.with_values(np.round(image.values).astype(np.int16))
    return Scan(values, "CT", series, f"{series}.9", uids, "HFS", "planning", sop_class_uid=d.CT)


def ball(name: str, role: str, centre: np.ndarray, radius_mm: float, grid: Grid = CT_GRID) -> Structure:
    angles = np.linspace(0.0, 2 * np.pi, 65)[:-1]
    contours = []
    for z in grid.axes_mm()[0]:
        square = radius_mm**2 - (z - centre[2]) ** 2
        if square > 1.0:
            ring = np.sqrt(square) * np.column_stack([np.cos(angles), np.sin(angles)]) + centre[:2]
            contours.append(np.column_stack([ring, np.full(len(ring), z)]))
    return Structure(name, role, tuple(contours), grid.frame_of_reference)


def pet_image(grid: Grid, shift: np.ndarray | None = None) -> Image:
    at = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return Image(grid, spot(at if shift is None else at - shift).astype(np.float32), "SUV")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("functional")
    (at / "case").mkdir()
    scan = scanned(t.scan(CT_GRID, lambda p: p, 1), "1.2.80")
    dicom.write_ct(scan, PERSON, at / "case")
    drawn = (
        ball("GTVp", "GTV", CENTRE, 20.0),
        ball("SpinalCord_PRV05", "AVOIDANCE", CENTRE + np.array([0.0, 14.0, 0.0]), 9.0),
        ball("A_Aorta", "ORGAN", CENTRE - np.array([45.0, 0.0, 0.0]), 12.0),
    )
    dicom.write_structures(StructureSet(drawn, t.TODAY, series_uid="1.2.80"), scan, PERSON, at / "case" / "rs.dcm")
    pet_grid = Grid.axial((38, 46, 50), (3.5, 4.0, 4.0), (-98.0, -86.0, -75.0), t.TODAY)
    f.write(at / "pet", f.pet_of(pet_image(pet_grid)))
    f.write(at / "stranger", f.pet_of(pet_image(pet_grid), patient="P2"))
    f.write(at / "short", f.pet_of(pet_image(pet_grid.crop((0, 0, 0), (16, 46, 50)))))
    return at


def calls(folders: Path, out: Path, *more: str, image: str = "pet", method: str = "relative=50") -> int:
    return run(
        ["subvolume", str(folders / "case"), "--image", str(folders / image), "--structure", "GTVp", "--method", method,
         "--out", str(out), *more]
    )  # fmt: skip


def test_a_subvolume_goes_from_dicom_to_an_rtstruct_that_is_read_back(folders: Path, tmp_path: Path) -> None:
    assert calls(folders, tmp_path / "out") == 0
    told = json.loads((tmp_path / "out" / "subvolume.json").read_text())
    assert told["name"] == "GTVp_PT^FDG50"
    level = 0.5 * told["extreme_in_target"]
    assert told["level"] == pytest.approx(level)
    # The PET's own voxels of 4 mm and the planning risk volume leave less of the sphere than the formula.
    radius_mm = SIGMA_MM * np.sqrt(2.0 * np.log((TOP - FLOOR) / (level - FLOOR)))
    sphere_cm3 = 4.0 / 3.0 * np.pi * radius_mm**3 / 1000.0
    whole_cm3 = told["volume_cm3"] + told["spared_cm3"]["SpinalCord_PRV05"]
    assert whole_cm3 == pytest.approx(sphere_cm3, rel=0.12)
    assert told["spared_cm3"]["SpinalCord_PRV05"] > 0.2
    assert told["mark"] == "lit-recalled"
    assert told["image"]["days_before_ct"] == 9
    assert told["image"]["facts"]["minutes of uptake"] == "60.0"
    assert len(told["uncertainty"]) == 2

    (tmp_path / "again").mkdir()
    for path in [*(folders / "case").glob("CT*.dcm"), tmp_path / "out" / "rtstruct.dcm"]:
        (tmp_path / "again" / path.name).write_bytes(path.read_bytes())
    case = dicom.read_case(tmp_path / "again")
    assert set(case.structures.names) == {"GTVp", "SpinalCord_PRV05", "A_Aorta", "GTVp_PT^FDG50"}
    drawn = case.structures["GTVp_PT^FDG50"]
    assert drawn.role == "GTV"
    assert volume_cm3(drawn.contours) == pytest.approx(told["volume_cm3"], rel=1e-3)
    assert set(drawn.slice_positions_mm) <= set(np.round(CT_GRID.axes_mm()[0], 4))
    for contour in drawn.contours:
        assert (np.linalg.norm(contour - CENTRE, axis=-1) <= 20.1).all()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "GTVp_PT^FDG50" in page
    assert "lit-recalled" in page
    assert "data:image/png" in page


def test_a_pet_in_another_frame_is_registered_by_the_ct_of_its_session(folders: Path, tmp_path: Path) -> None:
    there = "1.2.826.99"
    grid = Grid.axial((40, 56, 66), (3.0, 3.0, 3.0), np.array([-97.5, -82.5, -70.0]) + SHIFT_MM, there)
    (tmp_path / "session").mkdir()
    dicom.write_ct(scanned(t.scan(grid, lambda p: p - SHIFT_MM, 2), "1.2.90"), PERSON, tmp_path / "session")
    pet_grid = Grid.axial((38, 46, 50), (3.5, 4.0, 4.0), np.array([-98.0, -86.0, -75.0]) + SHIFT_MM, there)
    f.write(tmp_path / "session", f.pet_of(pet_image(pet_grid, SHIFT_MM)))
    assert calls(folders, tmp_path / "out", "--image", str(tmp_path / "session")) == 0
    assert calls(folders, tmp_path / "same") == 0
    moved, same = (json.loads((tmp_path / n / "subvolume.json").read_text()) for n in ("out", "same"))
    assert moved["volume_cm3"] == pytest.approx(same["volume_cm3"], rel=0.1)
    assert "CT of its session" in moved["image"]["registered"]
    assert 0 < moved["image"]["uncertainty_mm"] < 10
    assert same["image"]["uncertainty_mm"] is None


def test_a_ratio_divides_by_its_reference_tissue(folders: Path, tmp_path: Path) -> None:
    slices = f.pet_of(pet_image(Grid.axial((38, 46, 50), (3.5, 4.0, 4.0), (-98.0, -86.0, -75.0), t.TODAY)))
    for ds in slices:
        ds.RadiopharmaceuticalInformationSequence[0].Radiopharmaceutical = "FMISO"
    f.write(tmp_path / "miso", slices)
    more = ("--quantity", "fmiso-tumour-to-blood", "--image", str(tmp_path / "miso"))
    assert calls(folders, tmp_path / "none", *more, method="absolute=1.4") == 2
    assert calls(folders, tmp_path / "aorta", *more, "--reference", "A_Aorta", method="absolute=1.4") == 0
    assert calls(folders, tmp_path / "two", *more, "--reference", "2.0", method="absolute=1.4") == 0
    aorta, two = (json.loads((tmp_path / n / "subvolume.json").read_text()) for n in ("aorta", "two"))
    assert aorta["name"] == "GTVp_PT^MISO1p4"
    # Blood is the floor of the spot: 1 SUV.
    assert aorta["extreme_in_target"] == pytest.approx(2.0 * two["extreme_in_target"], rel=0.01)
    assert aorta["volume_cm3"] > two["volume_cm3"]


@pytest.mark.parametrize(
    ("image", "more", "match"),
    [
        ("stranger", (), "of patient 'P2'"),
        ("short", (), "does not reach"),
        ("case", (), "no PT series"),
        ("pet", ("--most-days", "3"), "9 day(s) before the planning CT"),
        ("pet", ("--structure", "GTVn"), "structure 'GTVn' is needed"),
        ("pet", ("--method", "otsu"), "unknown method 'otsu'"),
        ("pet", ("--method", "absolute=40"), "nothing of 'GTVp'"),
        ("pet", ("--quantity", "suv"), "known are fdg-suv"),
        ("pet", ("--quantity", "fmiso-tumour-to-blood", "--reference", "1"), "shows fdg-suv"),
        ("pet", ("--reference", "A_Aorta"), "no ratio"),
        ("pet", ("--spare", "GTVp"), "cannot be spared"),
        ("pet", ("--name", "GTVp"), "already"),
        ("pet", ("--unit", "mm2/s"), "for diffusion only"),
    ],
)
def test_bad_input_ends_with_one_sentence(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], image: str, more: tuple[str, ...], match: str
) -> None:
    assert calls(folders, tmp_path / "out", *more, image=image) == 2
    assert match in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_pet_after_the_start_of_treatment_is_refused_unless_it_is_meant(folders: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.yaml"
    record.write_text("radiotherapy_start_date: 2025-12-31\n")
    assert calls(folders, tmp_path / "a", "--record", str(record)) == 2
    assert calls(folders, tmp_path / "b", "--record", str(record), "--during-treatment") == 0


def test_another_identifier_of_the_same_person_is_let_in(folders: Path, tmp_path: Path) -> None:
    assert calls(folders, tmp_path / "out", "--same-patient", image="stranger") == 0
