"""Bad input at the command line: one clear sentence, exit status 2, nothing left behind, the input untouched."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dicom_cases as d
import numpy as np
import pytest
from pydicom.dataset import Dataset

from tailort.cli import commands
from tailort.cli.app import run
from tailort.cli.progress import Interrupt
from tailort.cli.run_folder import whole_folder
from tailort.dicom.writing import save
from tailort.errors import OutputError

PROTOCOL = """
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV_5000, dose_gy: 50, fractions: 25}
targets:
  - {name: PTV_5000, role: PTV, of: [GTVp], then: [{expand: {radial_mm: 2, craniocaudal_mm: 2}}]}
technique: {kind: imrt, beams: 5}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard}
"""
EXTERNAL = ("External", "EXTERNAL", d.closed(-7.5, -4.5, -1.5, 1.5, 4.5, half=11.0))
TUMOUR = ("GTVp", "GTV", d.closed(-1.5, 1.5, half=3.0))
CORD = ("SpinalCord", "ORGAN", d.closed(-4.5, -1.5, 1.5, half=2.0))


def crossed(z: float) -> list[float]:
    return [-6, -6, z, 6, 6, z, 6, -6, z, -6, 6, z]


def of(*rois: Any) -> list[Dataset]:
    """A whole case with these structures."""
    return [*d.image_slices(), d.structure_set([EXTERNAL, TUMOUR, *rois]), d.plan(), d.dose()]


def without_a_slice() -> list[Dataset]:
    return [ds for n, ds in enumerate(of(CORD)) if n != 4]


def sheared() -> list[Dataset]:
    return [*d.image_slices(orientation=(1, 0, 0, 0, 0.978148, -0.207912)), *of(CORD)[8:]]


def tilted_by_its_tag() -> list[Dataset]:
    datasets = of(CORD)
    for ds in datasets[:8]:
        ds.GantryDetectorTilt = "7.5"
    return datasets


def two_series() -> list[Dataset]:
    return [*of(CORD), *d.image_slices(series="1.2.3.77", uid_root="1.2.3.770")]


CASES: dict[str, tuple[Callable[[], Iterable[Dataset]], tuple[str, ...]]] = {
    "no CT": (lambda: [d.structure_set([EXTERNAL])], ("no CT series", "RT Structure Set")),
    "two CT series": (two_series, ("2 CT series", d.CT_SERIES, "1.2.3.77", "--series")),
    "missing slice": (without_a_slice, ("missing at z = -1.50 mm",)),
    "sheared slices": (sheared, ("tilted gantry",)),
    "tilted gantry": (tilted_by_its_tag, ("tilted by 7.5 degrees",)),
    "structures in another frame": (
        lambda: [*d.image_slices(), d.structure_set([EXTERNAL], frame=d.OTHER_FRAME)],
        ("structure set", d.FRAME, d.OTHER_FRAME),
    ),
    "open contour": (
        lambda: of(("Heart", "ORGAN", [("OPEN_PLANAR", d.square(1.5))])),
        ("'Heart'", "open contour", "z = 1.50 mm"),
    ),
    "crossing contour": (
        lambda: of(("Heart", "ORGAN", [("CLOSED_PLANAR", crossed(1.5))])),
        ("'Heart'", "crosses itself", "z = 1.5 mm"),
    ),
    "structure outside the CT": (
        lambda: of(("Heart", "ORGAN", d.closed(1.5, centre=(200.0, 0.0)))),
        ("'Heart'", "outside the CT", "left"),
    ),
    "dose in another frame": (
        lambda: [*of(CORD)[:-1], d.dose(frame=d.OTHER_FRAME)],
        ("dose", d.FRAME, d.OTHER_FRAME),
    ),
    "two patients": (lambda: [*of(CORD), _of_another_patient()], ("two patients", "P1", "P2")),
}


def _of_another_patient() -> Dataset:
    ds = d.dose(uid="1.2.3.49")
    ds.PatientID = "P2"
    return ds


def hashes(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(PROTOCOL)
    return path


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return d.write(tmp_path / "case", *of(CORD))


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> str:
    """Run a command that cannot be done; return its sentence."""
    before = hashes(tmp_path)
    assert run([*arguments, "--out", str(tmp_path / "some" / "where" / "out")]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("tailort: ")
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "some").exists()
    assert hashes(tmp_path) == before
    return printed.err


@pytest.mark.parametrize("command", ["plan", "evaluate"])
@pytest.mark.parametrize("what", CASES)
def test_a_case_that_is_not_sound(
    what: str, command: str, protocol: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, words = CASES[what]
    folder = d.write(tmp_path / "case", *make())
    text = refused([command, str(folder), "--protocol", str(protocol)], capfd, tmp_path)
    for word in words:
        assert word in text


def test_the_series_that_is_named_is_read(tmp_path: Path) -> None:
    folder = d.write(tmp_path / "case", *two_series())
    options = ["--series", d.CT_SERIES, "--metric", "SpinalCord: Max[Gy]", "--out", str(tmp_path / "out")]
    assert run(["evaluate", str(folder), *options]) == 0


def test_a_structure_that_the_protocol_needs(protocol: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = d.write(tmp_path / "case", *of())
    text = refused(["plan", str(folder), "--protocol", str(protocol)], capfd, tmp_path)
    assert "'SpinalCord'" in text
    assert "the case has: External, GTVp" in text


@pytest.mark.parametrize("kind", ["CT", "RTSTRUCT", "RTPLAN", "RTDOSE"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.6, 0.999])
def test_a_truncated_file_is_named(
    kind: str, keep: float, case: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = sorted(case.rglob(f"{kind}*.dcm"))[0]
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    text = refused(["evaluate", str(case)], capfd, tmp_path)
    assert path.name in text
    assert "truncated" in text


def test_other_files_are_no_obstacle(case: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (case / "letter.pdf").write_bytes(b"%PDF-1.4")
    (case / "empty").write_bytes(b"")
    (case / "nowhere").symlink_to(tmp_path / "nothing")
    os.mkfifo(case / "pipe")
    (case / os.fsdecode(b"M\xfcller.txt")).write_text("a name that is no UTF-8")
    (tmp_path / "elsewhere").mkdir()
    (case / "linked").symlink_to(tmp_path / "elsewhere")
    out = tmp_path / "Größe und Form" / "out"
    assert run(["evaluate", str(case), "--metric", "SpinalCord: Max[Gy]", "--json", "--out", str(out)]) == 0
    notes = json.loads(capfd.readouterr().out)["notes"]
    assert "5 file(s) that are not DICOM were skipped" in notes
    assert "1 link(s) to other folders were not followed" in notes
    assert "M\\udcfcller.txt" in json.loads((out / "run.json").read_text(encoding="utf-8"))["inputs_sha256"]


def test_a_metric_of_a_structure_that_is_not_there_is_unknown_and_said(
    case: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--metric", "SpinalCrod: Max[Gy]", "--json", "--out", str(tmp_path / "out")]
    assert run(["evaluate", str(case), *options]) == 0
    printed = json.loads(capfd.readouterr().out)
    (row,) = [row for row in printed["metrics"] if row["structure"] == "SpinalCrod"]
    assert row["verdict"] == "unknown"
    assert any("SpinalCrod" in note and "SpinalCord" in note for note in printed["notes"])


def test_brackets_in_a_name_are_a_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = d.write(tmp_path / "case", *of(("Node[/4R]", "ORGAN", d.closed(-1.5, 1.5))))
    assert run(["evaluate", str(folder), "--metric", "Node[/4R]: Max[Gy]", "--out", str(tmp_path / "out")]) == 0
    assert "Node[/4R]" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age: [60\nsex: M\n", ("record.yaml, line 2", "not valid YAML")),
        ("- age\n- sex\n", ("record.yaml", "'name: value'")),
        ("age: {value: 60, colour: red}\n", ("record.yaml, line 1, age", "colour")),
        ("age: .nan\n", ("record.yaml, line 1, age",)),
        ("age: 60\nage: 61\n", ("record.yaml, line 2", "duplicate")),
        ("age: " + "[" * 3000, ("record.yaml", "not valid YAML")),
    ],
)
def test_a_record_that_cannot_be_read(
    text: str, words: tuple[str, ...], case: Path, protocol: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (case / "record.yaml").write_text(text)
    told = refused(["plan", str(case), "--protocol", str(protocol)], capfd, tmp_path)
    for word in words:
        assert word in told


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[GTVp]", "[GTVp", ("line 9", "not valid YAML")),
        ("technique:", "technic:", ("line 10, technic", "not known")),
        ("Max[Gy]", "Maxx[Gy]", ("line 12, limits[0].metric", "'Maxx[Gy]' is not a metric")),
        ("dose_gy: 50", "dose_gy: -50", ("line 7, prescriptions[0].dose_gy", "greater than 0")),
        ("[GTVp]", "[PTV_5000]", ("line 9, targets[0]", "made of itself")),
        ("kind: imrt", "kind: protons", ("line 10, technique.kind", "'imrt'")),
    ],
)
def test_a_protocol_file_that_is_not_valid(
    old: str,
    new: str,
    words: tuple[str, ...],
    case: Path,
    protocol: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    protocol.write_text(PROTOCOL.replace(old, new))
    told = refused(["plan", str(case), "--protocol", str(protocol)], capfd, tmp_path)
    for word in (str(protocol), *words):
        assert word in told


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a: [b", b"- a", b"SpinalCord: 5", b"SpinalCord: GTVp"])
def test_a_names_file_that_cannot_be_used(
    content: bytes | None, case: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.yaml"
    if content is not None:
        names.write_bytes(content)
    told = refused(["evaluate", str(case), "--names", str(names)], capfd, tmp_path)
    assert "Errno" not in told
    assert "names" in told


@pytest.mark.parametrize("value", ["0", "nan", "inf", "100", "-3", "three"])
def test_a_dose_grid_that_is_no_spacing(
    value: str, case: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = refused(["plan", str(case), "--protocol", "smart-imrt", "--dose-grid", value], capfd, tmp_path)
    assert "'--dose-grid'" in told


def test_a_seed_is_no_negative_number(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "'--seed'" in refused(["phantom", "oesophagus", "--seed", "-1"], capfd, tmp_path)


def test_an_output_folder_inside_the_input_is_refused(case: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = hashes(case)
    assert run(["evaluate", str(case), "--out", str(case / "out")]) == 2
    assert "lies in the input" in capfd.readouterr().err
    assert hashes(case) == before
    assert not (case / "out").exists()


def test_a_disk_that_is_full_while_pixels_are_written(tmp_path: Path) -> None:
    (slice_, *_) = d.image_slices()
    slice_.PixelData = bytes(1 << 20)
    slice_.Rows, slice_.Columns = 1024, 512

    def write() -> None:
        with whole_folder(tmp_path / "new" / "out", overwrite=False) as staging:
            (staging / "slice.dcm").symlink_to("/dev/full")
            save(slice_, staging / "slice.dcm")

    with pytest.raises(OutputError) as told:
        write()
    assert "is full, nothing was kept" in str(told.value)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["protocols"], ["protocols", "smart-imrt", "--json"]])
def test_a_full_standard_output_is_said(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "tailort.cli", *arguments], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 2
    assert ended.stderr.startswith("tailort: the result cannot be printed")
    assert ended.stderr.count("\n") == 1


def test_a_reader_that_goes_away_changes_nothing() -> None:
    command = [sys.executable, "-m", "tailort.cli", "protocols", "smart-imrt", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(60) == 0


def test_a_stop_while_the_folder_takes_its_place_waits(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text("old")

    class Disturbing(type(tmp_path)):  # type: ignore[misc]
        def rename(self, target: Path) -> Path:
            os.kill(os.getpid(), signal.SIGINT)
            return Path.rename(Path(self), target)

    with whole_folder(Disturbing(out), overwrite=True) as staging:
        (staging / "run.json").write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (out / "run.json").read_text() == "new"


def test_a_plan_that_was_stopped_is_marked(
    tmp_path: Path, protocol: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C as soon as there is a feasible plan."""
    folder = tmp_path / "case"
    datasets = d.image_slices()
    for ds in datasets:
        ds.PixelData = np.full(ds.Rows * ds.Columns, 1024, "<u2").tobytes()
    d.write(folder, *datasets, d.structure_set([EXTERNAL, TUMOUR, CORD]))
    keep = Interrupt.keep

    def keep_and_ask(self: Interrupt) -> None:
        keep(self)
        if not self.asked():
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Interrupt, "keep", keep_and_ask)
    out = tmp_path / "out"
    assert run(["plan", str(folder), "--protocol", str(protocol), "--dose-grid", "3", "--out", str(out)]) == 130
    assert "interrupted" in capfd.readouterr().out
    told = json.loads((out / "run.json").read_text())
    assert told["interrupted"]
    assert not told["converged"]
    assert not any(plan["converged"] for plan in told["plans"].values())
    assert {"rtplan.dcm", "rtdose.dcm", "report.html", "scorecard.json"} <= {p.name for p in out.iterdir()}


def test_the_same_case_gives_the_same_numbers(case: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        commands.evaluate(case, out=tmp_path / out)
    for name in ("scorecard.json", "dvh.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--engine", "acuros", ("unknown dose engine 'acuros'", "collapsed-cone-water", "pencil-nyholm")),
        ("--machine", "truebeam", ("truebeam", "generic-6MV")),
    ],
)
def test_an_engine_or_machine_that_is_not_there(
    option: str,
    value: str,
    words: tuple[str, ...],
    case: Path,
    protocol: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    told = refused(["plan", str(case), "--protocol", str(protocol), option, value], capfd, tmp_path)
    for word in words:
        assert word in told


def test_a_machine_that_is_not_the_protocols(
    case: Path, protocol: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    protocol.write_text(PROTOCOL.replace("beams: 5", "beams: 5, machine: generic-6MV"))
    told = refused(["plan", str(case), "--protocol", str(protocol), "--machine", "generic-10MV-FFF"], capfd, tmp_path)
    assert "asks for machine generic-6MV, --machine generic-10MV-FFF" in told
