"""`tailort individual-dose` on a small DICOM case: its files, its exit statuses, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import dicom_cases as d
import pytest
import water_cases as w

from tailort.cli.app import run

PROTOCOL = w.protocol("""
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 52, priority: hard}
  - {structure: Lungs, metric: "Mean[Gy]", operator: "<=", limit: 36, priority: goal}
biology: {targets: {alpha_beta_gy: 10}}
""")
CUMULATIVE = """
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 100, priority: hard, quantity: BED,
     alpha_beta_gy: 2, scope: cumulative}
"""
# The plan of `dicom_cases` prescribes 50 Gy to the third.
ROIS: list[Any] = [
    w.EXTERNAL,
    w.CORD,
    ("GTVp", "GTV", d.closed(-4.5, -1.5, 1.5, half=3.0)),
    ("Lungs", "ORGAN", d.closed(-7.5, -4.5, -1.5, half=2.0, centre=(-6.0, -6.0))),
]
CAP = ("--cap", "Lungs: NTCP(lung-quantec-physical)[%] <= 80")
ASKED = ("--range", "40,60", "--fractions", "20,25", *CAP, "--tcp", "oesophagus-demonstration")


def written(folder: Path) -> Path:
    return d.write(folder, *d.image_slices(), d.structure_set(ROIS), d.plan(), d.dose())


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return written(tmp_path / "case")


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(PROTOCOL)
    return path


def asked(case: Path, protocol: Path, out: Path, *options: str) -> int:
    return run(["individual-dose", str(case), "--protocol", str(protocol), *options, "--out", str(out)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "own.yaml").write_text(PROTOCOL)
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert asked(written(folder / "case"), folder / "own.yaml", folder / "out", *ASKED) == 0
    return folder / "out", printed.getvalue()


def test_a_plan_is_raised_to_the_limits_and_everything_is_written(made: tuple[Path, str]) -> None:
    out, _ = made
    told = json.loads((out / "individual-dose.json").read_text())
    assert told["lead"]["planned_by"] == "RTPLAN 'P50'"
    assert [one["fractions"] for one in told["proposals"]] == [20, 25]
    for one in told["proposals"]:
        # The hottest point of the cord, 6.5, 6.5 and 3.0 mm (half a slice beyond 1.5), has 44.75 Gy; 52 is strict.
        assert one["held_by"][0]["structure"] == "SpinalCord"
        assert one["dose_gy"] == pytest.approx(50.0 * 52.0 / 44.75, abs=0.02)
        assert {row["verdict"] for row in one["at"]["limits"] if row["priority"] == "hard"} == {"pass"}
        dose_gy, n = one["dose_gy"], one["fractions"]
        assert one["at"]["bed_gy"] == pytest.approx(dose_gy * (1 + dose_gy / n / 10))
        assert any("above the 50 Gy" in text for text in one["at"]["needs_signature"])
    few, own = told["proposals"]
    assert any("20 fractions are not the 25" in text for text in few["at"]["needs_signature"])
    assert len(own["at"]["needs_signature"]) == 1
    assert [row["structure"] for row in own["goals_broken"]] == ["Lungs"]
    report = (out / "report.html").read_text(encoding="utf-8")
    for words in ("Largest dose by number of fractions", "How far each limit goes", "needs signature", "RB-51"):
        assert words in report
    assert json.loads((out / "run.json").read_text())["options"]["range"] == "40,60"


def test_the_curve_has_every_limit_and_outcome_at_every_dose(made: tuple[Path, str]) -> None:
    out, _ = made
    with (out / "curve.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    mean = [r for r in rows if (r["structure"], r["metric"], r["fractions"]) == ("Lungs", "Mean[Gy]", "20")]
    assert [float(r["dose_gy"]) for r in mean] == [pytest.approx(40 + 20 * n / 24, abs=1e-3) for n in range(25)]
    values = [float(r["value"]) for r in mean]
    assert values == [pytest.approx(values[0] * float(r["dose_gy"]) / 40.0, rel=1e-4) for r in mean]
    control = [float(r["value"]) for r in rows if r["metric"].startswith("TCP") and r["fractions"] == "20"]
    assert control == sorted(control)
    assert len(control) == 25


def test_a_person_reads_the_largest_doses_and_what_holds_them(made: tuple[Path, str]) -> None:
    _, told = made
    for words in (
        "25 fractions, held by: SpinalCord Max[Gy] < 52",
        "breaks the goal Lungs Mean[Gy] <= 36",
        "needs signature: 20 fractions",
    ):
        assert words in told


def test_where_no_dose_of_the_range_holds_none_is_proposed(
    case: Path, protocol: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert asked(case, protocol, out, "--range", "59,65", "--json") == 3
    printed = json.loads(capfd.readouterr().out)
    told = json.loads((out / "individual-dose.json").read_text())
    assert {name: printed[name] for name in told} == told
    assert (printed["exit_status"], [one["dose_gy"] for one in told["proposals"]]) == (3, [None])
    assert "no dose is proposed" in (out / "report.html").read_text(encoding="utf-8")


def test_a_hard_limit_on_all_courses_leaves_it_undecided(
    case: Path, protocol: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    protocol.write_text(PROTOCOL.replace("biology:", CUMULATIVE.strip("\n") + "\nbiology:"))
    assert asked(case, protocol, tmp_path / "out", "--range", "40,60") == 4
    assert "hard limit not judged: SpinalCord Max[Gy] BED(a/b=2) < 100, all courses" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "--range LOW,HIGH"),
        (("--range", "60"), "--range '60' is no range"),
        (("--range", "60,40"), "ascends"),
        (("--range", "40,60", "--fractions", "25,some"), "--fractions '25,some'"),
        (("--range", "40,60", "--fractions", "0"), "whole, 1 to 100"),
        (("--range", "40,60", "--cap", "Lungs: NTCP(lung-quantec)[%]"), "has no limit"),
        (("--range", "40,60", "--cap", "Lungs: NTCP(lung-quantec)[%] > 20"), "is no cap"),
        (("--range", "40,60", "--cap", "Heart: NTCP(lung-quantec)[%] < 20"), "is for Lungs"),
        (("--range", "40,60", "--cap", "Lungs: NTCP(lung)[%] < 20"), "no set of outcome parameters 'lung'"),
        (("--range", "40,60", "--cap", "Heart: Mean[Gy] < 20"), "not in the case: Heart"),
        (("--range", "40,60", "--tcp", "lung-quantec"), "not TCP"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_left(
    options: tuple[str, ...], says: str, case: Path, protocol: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert asked(case, protocol, out, *options) == 2
    told = capfd.readouterr().err
    assert says in told
    assert "Traceback" not in told
    assert not out.exists()


def test_a_case_without_a_dose_is_refused(protocol: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bare = d.write(tmp_path / "bare", *d.image_slices(), d.structure_set(ROIS))
    assert asked(bare, protocol, tmp_path / "out", "--range", "40,60") == 2
    assert "0 doses" in capfd.readouterr().err
