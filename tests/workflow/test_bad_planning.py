"""Cases and machines that cannot be planned, or not as asked: one sentence and exit status 2, or a note."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dicom_cases as d
import numpy as np
import pytest
import water_cases as w

from tailort import dicom
from tailort.cli import commands
from tailort.cli.app import run
from tailort.errors import InputError
from tailort.optimisation import Recipe, Wish
from tailort.optimisation.objectives import MeanDose
from tailort.optimisation.priorities import Slack
from tailort.patient import Constraint
from tailort.physics import Machine, machine
from tailort.protocols import load
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.planning import plan
from tailort.workflow.records import PlanningRun

PROTOCOL = """
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV, dose_gy: 50, fractions: 25}
technique: {kind: imrt, beams: 3}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard}
"""
BOOST = PROTOCOL.replace("fractions: 25}", "fractions: 25}\n  - {target: Boost, dose_gy: 60, fractions: 25}").replace(
    "limit: 45", "limit: 70"
)
EXTERNAL = ("External", "EXTERNAL", d.closed(*w.PLANES, half=11.0))
CORD = ("SpinalCord", "ORGAN", d.closed(-4.5, -1.5, half=1.5, centre=(0.0, 7.0)))
TARGET = ("PTV", "PTV", d.closed(-4.5, -1.5, 1.5, half=4.0))


def written(folder: Path, *rois: Any) -> Path:
    """A block of water with these structures."""
    return w.case(folder / "case", rois)


def refused(folder: Path, capfd: pytest.CaptureFixture[str], text: str, rois: tuple[Any, ...], *options: str) -> str:
    """Plan what cannot be planned; return the sentence."""
    case = written(folder, *rois)
    protocol = folder / "own.yaml"
    protocol.write_text(text, encoding="utf-8")
    out = folder / "out"
    asked = ["plan", str(case), "--protocol", str(protocol), "--dose-grid", "3", "--engine", "pencil-nyholm"]
    assert run([*asked, "--out", str(out), *options]) == 2
    told = capfd.readouterr().err
    assert told.startswith("tailort: ")
    assert told.count("\n") == 1
    assert not out.exists()
    return told


def planned(
    folder: Path, text: str, *rois: Any, linac: Machine | None = None, technique: str | None = None
) -> PlanningRun:
    """Plan without writing."""
    protocol = folder / "own.yaml"
    protocol.write_text(text, encoding="utf-8")
    options = PlanningOptions(dose_grid_mm=3.0, technique=technique, machine=linac, engine="pencil-nyholm")
    case = dicom.read_case(written(folder, *rois))
    clock = StageClock(lambda stage, share: None)
    return plan(case, load(str(protocol)), options, clock, stop=lambda: False, keep=lambda: None)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (("PTV", "PTV", []), ("'PTV'", "draw what is missing")),
        (("PTV", "PTV", d.closed(-1.5, 1.5, half=2.0, centre=(0.0, 40.0))), ("'PTV'", "outside")),
        (
            ("PTV", "PTV", d.closed(-4.5, -1.5, 1.5, half=4.0, centre=(0.0, 9.0))),
            ("'PTV'", "'External'", "D95%[Gy]", "crop"),
        ),
    ],
    ids=["empty", "outside the CT", "partly outside the body"],
)
def test_a_target_without_a_volume_in_the_body(
    target: Any, words: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = refused(tmp_path, capfd, PROTOCOL, (EXTERNAL, CORD, target))
    for word in words:
        assert word in told


def test_a_target_beyond_the_outline_is_refused_before_anything_is_optimised(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outline = ("External", "EXTERNAL", d.closed(-7.5, -4.5, -1.5, half=11.0))
    target = ("PTV", "PTV", d.closed(4.5, 7.5, half=3.0))
    told = refused(tmp_path, capfd, PROTOCOL, (outline, CORD, target))
    assert "'PTV' lies outside the outline 'External'" in told


def test_a_tip_of_a_target_beyond_the_dose_grid_is_refused_before_anything_is_optimised(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its coverage could not be told at the end: no histogram knows the dose there."""
    outline = ("External", "EXTERNAL", d.closed(-7.5, -4.5, -1.5, 1.5, half=11.0))
    tip = ("PTV", "PTV", [*d.closed(-7.5, -4.5, -1.5, 1.5, half=4.0), *d.closed(4.5, 7.5, half=0.8)])
    told = refused(tmp_path, capfd, PROTOCOL, (outline, CORD, tip))
    assert "so its D95%[Gy] cannot be prescribed; crop the target" in told


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize("old", ["limit: 45", "dose_gy: 50", "fractions: 25"])
def test_numbers_of_a_protocol_that_are_not_finite(
    old: str, number: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = old.split(":")[0]
    told = refused(tmp_path, capfd, PROTOCOL.replace(old, f"{name}: {number}"), (EXTERNAL, CORD, TARGET))
    assert f"{name}: expected" in told
    assert "line" in told


def test_numbers_that_are_not_finite_are_refused_where_goals_are_made() -> None:
    for number in (np.nan, np.inf, -np.inf):
        with pytest.raises(InputError, match="'Cord'"):
            Constraint("Cord", "Max[Gy]", "<", number, "hard", "test")
        with pytest.raises(InputError, match="organ"):
            Recipe(organ=number)
        with pytest.raises(InputError):
            Slack(share=number)
    with pytest.raises(InputError, match="'Cord'"):
        Wish("Cord", MeanDose(), np.nan)


JAWS = replace(machine("generic-6MV"), id="jaws-only", leaf_boundaries_mm=())


@pytest.mark.parametrize(
    ("technique", "named"),
    [
        ("kind: imrt, beams: 3", "imrt (step-and-shoot)"),
        ("kind: imrt, beams: 3, delivery: sliding-window", "imrt (sliding-window)"),
        ("kind: vmat, arcs: 1", "vmat"),
        (
            "kind: 3dcrt, arrangement: ap-pa, aperture_margin_mm: 5, avoid: SpinalCord, avoid_margin_mm: 2, "
            "block_avoided: true",
            "3dcrt with leaves that close over SpinalCord",
        ),
    ],
)
def test_a_machine_without_leaves_is_refused_by_name(
    technique: str, named: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "load_machine", lambda name: JAWS)
    text = PROTOCOL.replace("kind: imrt, beams: 3", technique)
    told = refused(tmp_path, capfd, text, (EXTERNAL, CORD, TARGET), "--machine", "jaws-only")
    assert "machine 'jaws-only' has no multileaf collimator" in told
    assert named in told


def test_jaws_alone_make_a_conformal_plan(tmp_path: Path) -> None:
    found = planned(tmp_path, PROTOCOL, EXTERNAL, CORD, TARGET, linac=JAWS, technique="3dcrt")
    made = found.main.phases[0].plan
    assert made.mu > 0
    assert all(point.leaves_mm is None for beam in made.beams for point in beam.control_points)
    # The jaws are round the target: 8 mm wide, with 7 mm to the field's edge.
    for beam in made.beams:
        low, high = beam.control_points[0].jaws_x_mm
        assert 18.0 < high - low < 30.0
    row = next(r for r in found.main.scorecard.rows if (r.structure, r.metric) == ("SpinalCord", "Max[Gy]"))
    assert row.value is not None
    assert row.value < 45.0


def test_where_targets_of_different_dose_overlap_is_said_and_the_higher_dose_holds(tmp_path: Path) -> None:
    inner = ("Boost", "PTV", d.closed(-4.5, -1.5, 1.5, half=2.0))
    found = planned(tmp_path, BOOST, EXTERNAL, CORD, TARGET, inner)
    # 4 mm x 4 mm in three slices of 3 mm.
    (note,) = [note for note in found.case.notes if "overlap" in note]
    assert note == "own: Boost (60 Gy) and PTV (50 Gy) overlap in 0.1 cm3, where the higher dose holds"
    curve = {c.structure: c for c in found.main.dvhs}
    assert curve["Boost"].value("D95%[Gy]") > 57.0


def test_targets_apart_from_each_other_need_no_word(tmp_path: Path) -> None:
    apart = ("Boost", "PTV", d.closed(4.5, 7.5, half=4.0))
    found = planned(tmp_path, BOOST, EXTERNAL, CORD, ("PTV", "PTV", d.closed(-4.5, -1.5, half=4.0)), apart)
    assert not [note for note in found.case.notes if "overlap" in note]


@pytest.mark.parametrize(("z_mm", "end"), [((4.5, 7.5, 10.5), "upper"), ((-10.5, -7.5, -4.5), "lower")])
def test_a_field_beyond_the_end_of_the_ct_is_told(z_mm: tuple[float, ...], end: str, tmp_path: Path) -> None:
    target = ("PTV", "PTV", d.closed(*z_mm, half=4.0))
    found = planned(tmp_path, PROTOCOL, EXTERNAL, CORD, target)
    told = [note for note in found.case.notes if f"reaches beyond the {end} end of the CT" in note]
    assert len(told) == len(found.main.phases[0].plan.beams)
    other = {"upper": "lower", "lower": "upper"}[end]
    assert not [note for note in found.case.notes if f"beyond the {other} end" in note]


def test_hard_limits_that_contradict_each_other_are_named_and_end_with_3(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    limits = (
        '  - {structure: PTV, metric: "D95%[Gy]", operator: ">=", limit: 50, priority: hard}\n'
        '  - {structure: PTV, metric: "Mean[Gy]", operator: "<=", limit: 30, priority: hard}\n'
    )
    protocol = tmp_path / "own.yaml"
    protocol.write_text(PROTOCOL + limits, encoding="utf-8")
    case = written(tmp_path, EXTERNAL, CORD, TARGET)
    options = ["--dose-grid", "3", "--engine", "pencil-nyholm", "--out", str(tmp_path / "out")]
    assert run(["plan", str(case), "--protocol", str(protocol), *options]) == 3
    assert "cannot hold together" in " ".join(capfd.readouterr().out.split())
    notes = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["notes"]
    (sentence,) = [note for note in notes if "cannot hold together" in note]
    # 50 Gy in 95 % of the volume are a mean of 47.5 Gy or more, 17.5 Gy above the limit.
    lacking = float(sentence.rsplit(" by ", 1)[1].removesuffix(" Gy"))
    assert 17.4 <= lacking <= 22.0
    for limit in ("PTV D95%[Gy] >= 50", "PTV Mean[Gy] <= 30"):
        assert limit in sentence
