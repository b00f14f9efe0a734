"""Two public cases read as their own documents say."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tailort.dicom import read_case

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def unpacked(name, tmp_path_factory):
    archive = DATA / name / f"{name}_dicom.zip"
    if not archive.exists():
        pytest.skip(f"the public case {name} is not at {archive}")
    folder = tmp_path_factory.mktemp(name)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return read_case(folder), json.loads(
        (DATA / name / ("truth.json" if name == "TG119" else "reference.json")).read_text()
    )


@pytest.fixture(scope="module")
def tg119(tmp_path_factory):
    return unpacked("TG119", tmp_path_factory)


@pytest.fixture(scope="module")
def openkbp(tmp_path_factory):
    return unpacked("OPENKBP", tmp_path_factory)


def shoelace_cm3(structure, spacing_mm):
    """Even-odd volume of contours that do not overlap except as holes: enough for contours along voxel edges."""
    total = 0.0
    for z in structure.slice_positions_mm:
        rings = [c for c in structure.contours if abs(c[0, 2] - z) < 0.01]
        areas = [
            0.5 * abs(np.dot(c[:, 0], np.roll(c[:, 1], -1)) - np.dot(c[:, 1], np.roll(c[:, 0], -1))) for c in rings
        ]
        for ring, area in zip(rings, areas, strict=True):
            middle = 0.5 * (ring[0] + ring[1])[:2]
            inside = sum(contains(other, middle) for other in rings if other is not ring)
            total += area if inside % 2 == 0 else -area
    return total * spacing_mm / 1000


def contains(ring, point):
    x, y = ring[:, 0] - point[0], ring[:, 1] - point[1]
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    crosses = (y > 0) != (y2 > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x + (x2 - x) * (-y) / (y2 - y)
    return int((crosses & (at > 0)).sum() % 2)


def test_tg119_has_its_size_place_values_and_volumes(tg119):
    case, truth = tg119
    grid = case.ct.image.grid
    assert grid.shape == tuple(truth["dim_xyz"][::-1])
    np.testing.assert_allclose(grid.spacing_mm, truth["spacing_xyz_mm"][::-1])
    np.testing.assert_allclose(grid.origin_mm, truth["origin_xyz_mm"])
    assert (case.ct.image.values.min(), case.ct.image.values.max()) == (truth["hu_min"], truth["hu_max"])
    assert set(case.structures.names) == {"Core", "OuterTarget", "External"}
    assert case.structures["External"].original_name == "BODY"
    for structure in case.structures:
        expected = truth["structures"][structure.original_name]
        assert len(structure.contours) == expected["contours"]
        assert shoelace_cm3(structure, 2.5) == pytest.approx(expected["volume_cc"], rel=1e-4)
    assert case.plans == case.doses == ()


def test_openkbp_ct_has_its_size_place_and_hu(openkbp):
    case, reference = openkbp
    grid = case.ct.image.grid
    assert grid.shape == tuple(reference["grid"]["size_xyz"][::-1])
    np.testing.assert_allclose(grid.spacing_mm, reference["grid"]["spacing_xyz_mm"][::-1])
    np.testing.assert_allclose(grid.origin_mm, reference["grid"]["first_voxel_centre_xyz_mm"])
    values = case.ct.image.values
    assert values.dtype == np.int16
    assert int(values.sum(dtype=np.int64)) == reference["ct"]["hu_sum"]
    assert (values.min(), values.max()) == (reference["ct"]["hu_min"], reference["ct"]["hu_max"])
    assert case.ct.patient_position == "HFS"


def test_openkbp_structures_have_tg263_names_and_their_volumes(openkbp):
    case, reference = openkbp
    assert case.structures.names == (
        "Brainstem", "SpinalCord", "Parotid_R", "Parotid_L", "Esophagus", "Larynx", "Bone_Mandible", "PTV56", "PTV63",
        "PTV70", "External",
    )  # fmt: skip
    for structure in case.structures:
        expected = reference["structures"][structure.original_name]
        assert len(structure.contours) == expected["contours"]
        assert shoelace_cm3(structure, 3.0) == pytest.approx(expected["volume_cc"], rel=2e-3), structure.name


def test_openkbp_dose_is_the_course_on_the_ct_without_its_plan(openkbp):
    case, reference = openkbp
    (dose,) = case.doses
    assert dose.image.grid.same_as(case.ct.image.grid)
    values = dose.image.values
    assert values.max() == pytest.approx(reference["dose"]["max_Gy"], abs=1e-4)
    assert values.sum(dtype=np.float64) == pytest.approx(reference["dose"]["sum_Gy"], rel=1e-6)
    assert int((values > 0).sum()) == reference["dose"]["voxels_above_0"]
    hottest = dose.image.grid.to_world(np.argwhere(values == values.max()))
    assert len(hottest) == reference["dose"]["voxels_at_max"]
    assert np.abs(hottest - reference["dose"]["max_at_xyz_mm"]).max(axis=1).min() < 1e-6
    assert (dose.per, dose.quantity, dose.fractions) == ("course", "physical", None)
    assert any("names a plan that is not in the folder" in note for note in case.notes)
