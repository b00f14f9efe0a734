"""MR and myelogram show today's anatomy at a known place, each tissue as the modality does."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from tailort import dicom
from tailort.errors import DicomError, InputError
from tailort.phantom import FurtherScan, VirtualPatient, further_scans, parameters, spine
from tailort.phantom.modalities import _SIGNALS, MYELOGRAM, T1, T1_CONTRAST, T2

SEED = 3


@cache
def patient() -> VirtualPatient:
    return spine.make(SEED, "coarse")


@cache
def scans() -> dict[str, FurtherScan]:
    return {found.name: found for found in further_scans(patient())}


def shown(name: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a scan where points (n, 3) of today lie, body coordinates."""
    found, image = scans()[name], scans()[name].scan.image
    there = found.from_today.apply(points + np.array(patient().anatomy.build.offset_mm))
    index = np.moveaxis(image.grid.to_index(there), -1, 0)
    return np.asarray(map_coordinates(image.values.astype(float), index, order=1, cval=np.nan))


def middles() -> dict[str, NDArray[np.float64]]:
    """Points in the middle of the cord, in the fluid beside it, and in a healthy vertebral body; body coordinates."""
    body = patient().anatomy
    assert isinstance(body, spine.MetastaticBody)
    column, level = body.spine, body.metastasis.level.middle
    z = np.concatenate([np.arange(level - 34, level - 18, 2.0), np.arange(level + 18, level + 34, 2.0)]).tolist()
    cord = np.array([(column.x(at), column.canal_y(at), at) for at in z])
    beside = 0.5 * np.array([column.cord.half_width(at) + column.canal.half_width(at) - parameters.SAC_MM for at in z])
    return {
        "cord": cord,
        "csf": np.concatenate([cord + np.stack([s * beside, 0 * beside, 0 * beside], axis=-1) for s in (-1, 1)]),
        "aorta": np.array([p for p in body.arteries.aorta.points if abs(p[2] - level) < 30 and p[1] > 0]),
    }


def test_mr_of_one_session_share_a_frame_and_the_myelogram_has_its_own() -> None:
    frames = {name: found.scan.image.grid.frame_of_reference for name, found in scans().items()}
    assert frames[T1] == frames[T2] == frames[T1_CONTRAST]
    assert len({frames[T1], frames[MYELOGRAM], patient().scan.image.grid.frame_of_reference}) == 3
    assert len({found.scan.series_uid for found in scans().values()}) == 4
    assert [found.scan.modality for found in scans().values()] == ["MR", "MR", "MR", "CT"]


def test_offsets_are_small_rigid_and_lead_from_todays_frame() -> None:
    middle = 0.5 * np.sum(patient().scan.image.grid.faces_mm(), axis=0)
    for found in scans().values():
        turn = found.from_today.affine[:3, :3]
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert 0.5 <= np.degrees(Rotation.from_matrix(turn).magnitude()) <= 2.0
        assert 0.1 < np.abs(found.from_today.apply(middle) - middle).max() <= 5.0
        assert found.from_today.from_frame == patient().scan.image.grid.frame_of_reference
        assert found.truth["from_today"][3] == [0.0, 0.0, 0.0, 1.0]


def test_fluid_is_bright_in_t2_and_in_the_myelogram_and_dark_in_t1() -> None:
    places = middles()
    for name, brighter in ((T2, "csf"), (MYELOGRAM, "csf"), (T1, "cord")):
        value = {tissue: float(np.nanmedian(shown(name, places[tissue]))) for tissue in ("cord", "csf")}
        darker = "cord" if brighter == "csf" else "csf"
        assert value[brighter] > value[darker] + 60.0, name


def test_contrast_medium_makes_blood_bright_and_leaves_the_cord() -> None:
    places = middles()
    for tissue, least, most in (("aorta", 350.0, 700.0), ("cord", -60.0, 60.0)):
        gain = float(np.nanmedian(shown(T1_CONTRAST, places[tissue]) - shown(T1, places[tissue])))
        assert least < gain < most


def test_tissues_lie_where_the_known_offset_says() -> None:
    cord = middles()["cord"]
    fluid = float(np.nanmedian(shown(T2, cord)))
    for step in ((8.0, 0.0, 0.0), (-8.0, 0.0, 0.0)):
        assert float(np.nanmedian(shown(T2, cord + step))) > fluid + 60.0


def test_every_tissue_of_the_ct_has_a_signal() -> None:
    assert set(parameters.HU) - {"couch shell", "couch core"} <= set(_SIGNALS)


@pytest.mark.slow
def test_the_same_patient_gives_the_same_scans() -> None:
    again = {found.name: found for found in further_scans(spine.make(SEED, "coarse"))}
    for name, found in scans().items():
        assert np.array_equal(again[name].scan.image.values, found.scan.image.values)
        assert again[name].scan.series_uid == found.scan.series_uid


def test_an_mr_is_written_and_read_back_the_same(tmp_path: Path) -> None:
    case = patient()
    (tmp_path / "CT").mkdir()
    dicom.write_ct(case.scan, case.person, tmp_path / "CT")
    (tmp_path / "MR").mkdir()
    files = dicom.write_mr(scans()[T2].scan, case.person, tmp_path / "MR", echo_ms=100, repetition_ms=4000)
    read = dicom.read_case(tmp_path)
    (mr,) = [scan for scan in read.scans if scan.modality == "MR"]
    assert np.array_equal(mr.image.values, scans()[T2].scan.image.values)
    assert np.allclose(mr.image.grid.affine, scans()[T2].scan.image.grid.affine)
    assert mr.image.grid.frame_of_reference == scans()[T2].scan.image.grid.frame_of_reference
    assert read.ct.series_uid == case.scan.series_uid
    if which("dciodvfy"):
        told = subprocess.run(["dciodvfy", str(files[0])], capture_output=True, text=True, check=False)
        assert "Error" not in told.stdout + told.stderr


def test_what_is_no_mr_is_not_written_as_one(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match="CT scan cannot be written as MR"):
        dicom.write_mr(patient().scan, patient().person, tmp_path, echo_ms=10, repetition_ms=500)
    mr = scans()[T1].scan
    negative = replace(mr, image=replace(mr.image, values=mr.image.values - 2000))
    with pytest.raises(InputError, match="from 0 to 32767"):
        dicom.write_mr(negative, patient().person, tmp_path, echo_ms=10, repetition_ms=500)
