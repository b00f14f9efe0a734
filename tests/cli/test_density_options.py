"""Density tables, densities by structure and what a computed dose must say about them, at the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dicom_cases as d
import numpy as np
import pytest
import water_cases as w
from pydicom.dataset import Dataset

from tailort.cli.app import run

PROTOCOL = w.protocol("""
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 60, priority: hard}
""")
COUCH = ("CouchInterior", "SUPPORT", d.closed(*w.PLANES, half=1.5, centre=(0.0, 12.0)))
ROIS: list[Any] = [w.EXTERNAL, w.TUMOUR, w.CORD, COUCH]
TABLE = "# scanner 3\nhu,density_g_cm3\n-1000,0.0012\n0,1.0\n100,1.1\n"


def case_of(folder: Path, stored: int = 1024, rois: Iterable[Any] = ROIS, *objects: Dataset) -> Path:
    return w.case(folder, rois, *objects, stored=stored)


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(PROTOCOL)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "scanner.csv"
    path.write_text(TABLE)
    return path


def planned(case: Path, protocol: Path, out: Path, *options: str) -> int:
    return run(["plan", str(case), "--protocol", str(protocol), "--dose-grid", "3", "--out", str(out), *options])


def test_a_plan_says_which_densities_its_dose_was_computed_with(
    tmp_path: Path, protocol: Path, table: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--density-table", str(table), "--density", "CouchInterior=0.08", "--density", "SpinalCord=1.04"]
    assert planned(case_of(tmp_path / "case"), protocol, out, *options) in (0, 3)
    told = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert told["density_table"] == "scanner.csv: given by the user, 3 points from HU -1000 to 100"
    assert told["options"]["density_table"] == "scanner.csv"
    assert told["options"]["density"] == ["CouchInterior=0.08", "SpinalCord=1.04"]
    report = (out / "report.html").read_text(encoding="utf-8")
    printed = capfd.readouterr().out
    for words in ("density of &#39;CouchInterior&#39;", "set to 0.08 g/cm3", "scanner.csv"):
        assert words in report
    for words in ("density of 'CouchInterior'", "density of 'SpinalCord'", "set to 1.04 g/cm3"):
        assert any(words in note for note in told["notes"])
        assert words in printed
    # The body goes on beyond both ends of this short CT, and the field with it.
    for end in ("upper end", "lower end"):
        assert any(
            f"reaches beyond the {end} of the CT" in n and "mm of its field lie beyond" in n for n in told["notes"]
        )


REFUSED = {
    "no such table": (["--density-table", "nowhere.csv"], ("'nowhere.csv'", "schneider2000", "there is no such file")),
    "a folder": (["--density-table", "."], ("density table '.'", "cannot be read as text")),
    "no number": (["--density", "SpinalCord"], ("'SpinalCord' gives no structure a density", "CouchInterior=0.08")),
    "no name": (["--density", "=1.0"], ("'=1.0' gives no structure a density",)),
    "not a number": (["--density", "SpinalCord=nan"], ("gives no structure a density",)),
    "unknown structure": (["--density", "Spinal=1.0"], ("'Spinal'", "not in the case, which has: External, GTVp")),
    "heavier than anything": (["--density", "SpinalCord=1040"], ("1040 g/cm3", "expected 0 to 22.7 g/cm3")),
}


def refused(status: int, out: Path, capfd: pytest.CaptureFixture[str]) -> str:
    printed = capfd.readouterr()
    assert status == 2
    assert printed.out == ""
    assert printed.err.startswith("tailort: ")
    assert printed.err.count("\n") == 1
    assert not out.exists()
    return printed.err


@pytest.mark.parametrize("what", REFUSED)
def test_densities_that_cannot_be_used_are_one_sentence(
    what: str, tmp_path: Path, protocol: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options, words = REFUSED[what]
    out = tmp_path / "out"
    text = refused(planned(case_of(tmp_path / "case"), protocol, out, *options), out, capfd)
    for word in words:
        assert word in text


def test_a_table_names_the_line_that_is_wrong(
    tmp_path: Path, protocol: Path, table: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table.write_text(TABLE.replace("100,1.1", "100;1.1"))
    out = tmp_path / "out"
    text = refused(planned(case_of(tmp_path / "case"), protocol, out, "--density-table", str(table)), out, capfd)
    assert "scanner.csv, line 5: found '100;1.1'" in text


@pytest.mark.parametrize(
    ("stored", "words"),
    [(4095, ("above HU 3000", "highest HU 3071", "--density")), (0, ("HU -1024",)), (1424, ("above HU 100",))],
)
def test_numbers_that_the_table_does_not_reach(
    stored: int,
    words: tuple[str, ...],
    tmp_path: Path,
    protocol: Path,
    table: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    case, out = case_of(tmp_path / "case", stored), tmp_path / "out"
    if stored == 0:
        table.write_text(TABLE.replace("-1000,0.0012", "-700,0.3"))
    options = [] if stored > 4000 else ["--density-table", str(table)]
    text = refused(planned(case, protocol, out, *options), out, capfd)
    for word in words:
        assert word in text


def test_a_bolus_that_is_not_in_the_ct_needs_a_density(
    tmp_path: Path, protocol: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rois = [*ROIS, ("Bolus", "BOLUS", d.closed(*w.PLANES, half=1.5, centre=(0.0, -12.0)))]
    slices = d.image_slices()
    for ds in slices:
        stored = np.full((ds.Rows, ds.Columns), 1024, "<u2")
        stored[: ds.Rows // 4] = 24
        ds.PixelData = stored.tobytes()
    case, out = d.write(tmp_path / "case", *slices, d.structure_set(rois)), tmp_path / "out"
    text = refused(planned(case, protocol, out), out, capfd)
    assert "bolus 'Bolus' is air in the CT" in text
    assert '--density "Bolus=1.0"' in text


@pytest.mark.parametrize("role", ["PTV", "GTV"])
def test_a_target_outside_the_ct(role: str, tmp_path: Path, protocol: Path, capfd: pytest.CaptureFixture[str]) -> None:
    above = w.PLANES[-1] + 9.0
    rois = [
        ("PTV_5000" if role == "PTV" else r[0], role, d.closed(w.PLANES[-1], above)) if r[0] == "GTVp" else r
        for r in ROIS
    ]
    out = tmp_path / "out"
    text = refused(planned(case_of(tmp_path / "case", rois=rois), protocol, out), out, capfd)
    assert "9.0 mm outside the CT on the head side" in text or "7.5 mm outside the CT on the head side" in text


def test_a_target_whose_margin_leaves_the_ct(tmp_path: Path, protocol: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rois = [("GTVp", "GTV", d.closed(*w.PLANES[-2:], half=3.0)) if r[0] == "GTVp" else r for r in ROIS]
    out = tmp_path / "out"
    text = refused(planned(case_of(tmp_path / "case", rois=rois), protocol, out), out, capfd)
    assert "'PTV_5000'" in text
    assert "CT" in text
    assert "mm" in text


def test_an_existing_plan_that_is_not_understood_is_named_when_its_dose_is_judged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    electrons = d.plan(radiation="ELECTRON")
    case, out = case_of(tmp_path / "case", 1024, ROIS, electrons, d.dose()), tmp_path / "out"
    assert run(["evaluate", str(case), "--metric", "SpinalCord: Max[Gy]", "--json", "--out", str(out)]) == 0
    (note,) = [n for n in json.loads(capfd.readouterr().out)["notes"] if "left out" in n]
    assert note == (
        "plan 'P50' was left out: beam 'B1' is of radiation ELECTRON, which is unsupported; only photon beams are "
        "computed and read"
    )
