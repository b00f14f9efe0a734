"""The real cases beside the repository: volumes, an existing dose, and a plan by a protocol of one's own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tailort import dicom
from tailort.cli.app import run
from tailort.geometry import volume_cm3

DATA = Path(__file__).parents[3] / "shared" / "data"
TG119, OPENKBP = DATA / "TG119" / "TG119_dicom.zip", DATA / "OPENKBP" / "OPENKBP_dicom.zip"
TG263 = {"RightParotid": "Parotid_R", "LeftParotid": "Parotid_L", "Mandible": "Bone_Mandible"}

OWN_PROTOCOL = """
id: integrated-boost
version: "1"
title: Integrated boost, 70, 63 and 56 Gy in 35 fractions
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV70, dose_gy: 70, fractions: 35}
  - {target: PTV63, dose_gy: 63, fractions: 35}
  - {target: PTV56, dose_gy: 56, fractions: 35}
technique: {kind: imrt, beams: 5}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard}
  - {structure: Parotid_L, metric: "Mean[Gy]", operator: "<=", limit: 26, priority: goal}
"""


C_SHAPE = """
id: tg119-c-shape
version: "1"
title: TG-119 C shape, 50 Gy in 25 fractions
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: OuterTarget, dose_gy: 50, fractions: 25}
technique: {kind: imrt, beams: 9}
limits:
  - {structure: Core, metric: "D10%[Gy]", operator: "<", limit: 25, priority: hard}
  - {structure: OuterTarget, metric: "D10%[Gy]", operator: "<", limit: 55, priority: goal}
"""


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)
    return folder


def needs(archive: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not archive.is_file(), reason=f"{archive.name} is not beside the repository")


@pytest.fixture(scope="module")
def openkbp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(OPENKBP, tmp_path_factory.mktemp("openkbp"))


@needs(TG119)
def test_tg119_volumes(tmp_path: Path) -> None:
    truth = json.loads((TG119.parent / "truth.json").read_text())["structures"]
    case = dicom.read_case(unpacked(TG119, tmp_path))
    by_file = {s.original_name: s for s in case.structures}
    assert set(by_file) == set(truth)
    for name, expected in truth.items():
        assert volume_cm3(by_file[name].contours) == pytest.approx(expected["volume_cc"], rel=0.005), name


@needs(OPENKBP)
def test_openkbp_is_scored_like_its_reference(
    openkbp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = json.loads((OPENKBP.parent / "reference.json").read_text())["structures"]
    assert run(["evaluate", str(openkbp), "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert any("names a plan that is not in the folder" in note for note in told["notes"])
    rows: dict[str, dict[str, Any]] = {}
    for row in told["metrics"]:
        rows.setdefault(row["structure"], {})[row["metric"]] = row["value"]
    for name, expected in reference.items():
        found = rows[TG263.get(name, name)]
        assert found["Volume[cc]"] == pytest.approx(expected["volume_cc"], rel=0.01), name
        assert found["Mean[Gy]"] == pytest.approx(expected["mean_Gy"], abs=0.5), name
        assert found["D95%[Gy]"] == pytest.approx(expected["D95_Gy"], abs=1.5), name


@needs(OPENKBP)
def test_openkbp_is_planned_by_a_protocol_of_ones_own(openkbp: Path, tmp_path: Path) -> None:
    protocol, out = tmp_path / "own.yaml", tmp_path / "out"
    protocol.write_text(OWN_PROTOCOL)
    assert run(["plan", str(openkbp), "--protocol", str(protocol), "--dose-grid", "6", "--out", str(out)]) == 0
    assert {"rtstruct.dcm", "rtplan.dcm", "rtdose.dcm", "report.html", "scorecard.json"} <= {
        p.name for p in out.iterdir()
    }
    value = {
        (r["structure"], r["metric"]): r["value"] for r in json.loads((out / "scorecard.json").read_text())["metrics"]
    }
    assert value["SpinalCord", "Max[Gy]"] < 45
    for target, dose_gy in (("PTV70", 70), ("PTV63", 63), ("PTV56", 56)):
        assert value[target, "D95%[Gy]"] >= 0.9 * dose_gy


@needs(TG119)
def test_the_easier_c_shape_of_tg119_is_reached_by_a_deliverable_plan(tmp_path: Path) -> None:
    # AAPM TG-119 (Ezzell et al. 2009, Med Phys 36:5359): target D95 50 Gy, D10 below 55 Gy; core D10 below 25 Gy.
    case, protocol, out = unpacked(TG119, tmp_path / "case"), tmp_path / "c-shape.yaml", tmp_path / "out"
    protocol.write_text(C_SHAPE)
    assert run(["plan", str(case), "--protocol", str(protocol), "--out", str(out)]) == 0
    value = {
        (r["structure"], r["metric"]): r["value"] for r in json.loads((out / "scorecard.json").read_text())["metrics"]
    }
    assert value["OuterTarget", "D95%[Gy]"] >= 50 - 1e-3
    assert value["OuterTarget", "D10%[Gy]"] < 55
    assert value["Core", "D10%[Gy]"] < 25
