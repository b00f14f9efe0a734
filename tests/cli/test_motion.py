"""`tailort motion`: phases of a 4D-CT in which a tumour moves by known steps."""

from __future__ import annotations

import json
from pathlib import Path

import dicom_cases as d
import functional_cases as f
import numpy as np
import pytest
from pydicom import dcmread

from tailort import dicom
from tailort.cli.app import run
from tailort.geometry import volume_cm3

STEPS_MM = (0.0, 1.5, 3.0)
PLANES = d.axes()[2][2:6]


def phase(n: int, *, description: str | None = None, frame: str = d.FRAME, series: str | None = None) -> list:
    """Phase n: HU rise with it."""
    uid = series or f"1.2.3.1{n}0"
    slices = d.image_slices(series=uid, frame=frame, uid_root=f"1.2.3.2{n}0", intercept=-1024 + 10 * n)
    for ds in slices:
        ds.SeriesDescription = description if description is not None else f"Thorax {10 * n}% Ex"
    return slices


def drawn(n: int, step_mm: float, series: str | None = None):
    return d.structure_set(
        [("GTVp", "GTV", d.closed(*PLANES, half=5.0, centre=(step_mm, 0.0)))],
        series=series or f"1.2.3.1{n}0", uid=f"1.2.3.30{n}",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    at = tmp_path / "phases"
    for n, step in enumerate(STEPS_MM):
        f.write(at, phase(n), f"p{n}_")
        f.write(at, [drawn(n, step)], f"rs{n}_")
    return at


def test_average_mip_and_minimum_are_those_of_the_phases(folder: Path, tmp_path: Path) -> None:
    assert run(["motion", str(folder), "--structure", "GTVp", "--out", str(tmp_path / "out")]) == 0
    values = {n: dicom.read_case(tmp_path / "out" / n).ct.image.values for n in ("mip", "average", "minimum")}
    first = d.expected_hu()
    # Stored values are one and the same, and the intercept rises by 10 HU a phase; -1024 + 10 n is what is subtracted.
    own = [dicom.read_case(folder, series_uid=f"1.2.3.1{n}0").ct.image.values for n in range(3)]
    assert np.array_equal(own[0], first)
    assert np.array_equal(values["mip"], np.max(own, axis=0))
    assert np.array_equal(values["minimum"], np.min(own, axis=0))
    assert np.abs(values["average"] - np.mean(own, axis=0)).max() <= 0.5


def test_the_internal_volume_is_the_way_of_the_tumour_on_the_average(folder: Path, tmp_path: Path) -> None:
    assert run(["motion", str(folder), "--structure", "GTVp", "--out", str(tmp_path / "out")]) == 0
    (made,) = json.loads((tmp_path / "out" / "motion.json").read_text())["internal"]
    assert made["name"] == "IGTVp"
    assert made["excursion_mm"]["left-right"] == pytest.approx(3.0, abs=1e-3)
    assert made["excursion_mm"]["head-feet"] == pytest.approx(0.0, abs=1e-6)
    (tmp_path / "out" / "average" / "rs.dcm").write_bytes((tmp_path / "out" / "rtstruct.dcm").read_bytes())
    case = dicom.read_case(tmp_path / "out" / "average")
    union = case.structures["IGTVp"]
    assert union.role == "ITV"
    assert volume_cm3(union.contours) == pytest.approx(10.0 * 13.0 * 12.0 / 1000.0, rel=0.02)
    series = {dcmread(path).SeriesInstanceUID for path in (tmp_path / "out" / "average").glob("CT*.dcm")}
    assert case.structures.series_uid in series


def test_phases_of_one_series_are_told_apart_by_their_place_in_time(tmp_path: Path) -> None:
    at = tmp_path / "phases"
    for n in range(2):
        slices = phase(n, series="1.2.3.500")
        for ds in slices:
            ds.TemporalPositionIdentifier = str(n + 1)
        f.write(at, slices, f"p{n}_")
    assert run(["motion", str(at), "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "motion.json").read_text())["phases"] == ["position 1", "position 2"]


def test_series_that_were_made_of_the_phases_are_left_out(folder: Path, tmp_path: Path) -> None:
    f.write(folder, phase(7, description="4D MIP 0%"), "mip")
    f.write(folder, phase(8, description="free breathing"), "free")
    assert run(["motion", str(folder), "--out", str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out" / "run.json").read_text())["notes"]
    assert any("made of the phases" in note for note in told)
    assert any("no percentage" in note for note in told)


def test_a_phase_without_the_tumour_is_told(folder: Path, tmp_path: Path) -> None:
    f.write(folder, phase(5), "p5_")
    assert run(["motion", str(folder), "--structure", "GTVp", "--out", str(tmp_path / "out")]) == 0
    (note,) = json.loads((tmp_path / "out" / "motion.json").read_text())["notes"]
    assert "not drawn on phase 50%" in note


def test_phases_in_different_frames_of_reference_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    f.write(folder, phase(6, frame=d.OTHER_FRAME), "p6_")
    assert run(["motion", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert "frame of reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [(("--structure", "GTVn"), "drawn on no phase"), (("--name", "ITV"), "one name was given for 0 volumes")],
)
def test_a_structure_that_is_not_there_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], match: str
) -> None:
    assert run(["motion", str(folder), *arguments, "--out", str(tmp_path / "out")]) == 2
    assert match in " ".join(capsys.readouterr().err.split())


def test_one_phase_is_no_motion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    f.write(tmp_path / "one", phase(0))
    assert run(["motion", str(tmp_path / "one"), "--out", str(tmp_path / "out")]) == 2
    assert "at least 2 CT series" in " ".join(capsys.readouterr().err.split())
