"""Techniques and phases end to end, on a coarse virtual patient with the fast engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailort import dicom
from tailort.cli import commands
from tailort.cli.app import run
from tailort.cli.progress import Interrupt
from tailort.errors import InputError
from tailort.evaluation import histograms
from tailort.geometry import interpolate
from tailort.patient import Case, Dose, Plan
from tailort.workflow.records import PlanningRun

HEAD = """
id: {id}
version: "1"
title: Test of {id}
sources: [{{id: T, text: test}}]
targets:
  - name: PTV_A
    role: PTV
    of: [GTVp]
    then: [{{expand: {{mm: 10}}}}, {{crop: {{by_mm: 3}}}}]
  - name: PTV_B
    role: PTV
    of: [GTVp]
    then: [{{expand: {{mm: 5}}}}]
organs: [External, SpinalCord]
limits:
  - {{structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard}}
"""
ISODOSE = (
    HEAD.format(id="by-isodose")
    + """
normalisation: {isodose_percent: 93}
prescriptions:
  - {target: PTV_A, dose_gy: 39.6, fractions: 22, phase: 1}
  - {target: PTV_A, dose_gy: 10.8, fractions: 6, phase: 2}
technique:
  kind: 3dcrt
  arrangement: ap-pa
  aperture_margin_mm: 7
  phases:
    - {phase: 2, arrangement: opposed-obliques, avoid: SpinalCord, avoid_margin_mm: 5, block_avoided: true}
  hand_over: {from_phase: 1, to_phase: 2, structure: SpinalCord, metric: "Max[Gy]", below_gy: 35}
supplements:
  - {target: PTV_B, up_to_gy: 60, depth_mm: 30, fraction_gy_at_most: 2, least_gy: 0.5, aperture_margin_mm: 5,
     modality: photons}
"""
)
CONE_DOWN = (
    HEAD.format(id="cone-down")
    + """
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV_A, dose_gy: 45, fractions: 25, phase: 1}
  - {target: PTV_B, dose_gy: 14.4, fractions: 8, phase: 2, boosts: PTV_A}
technique: {kind: imrt, beams: 5, delivery: sliding-window}
"""
)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patient") / "case"
    commands.phantom("oesophagus", out=folder, seed=4, size="coarse")
    return folder


def planned(patient: Path, folder: Path, text: str) -> PlanningRun:
    protocol = folder / "protocol.yaml"
    protocol.write_text(text, encoding="utf-8")
    return commands.plan(
        patient, str(protocol), dose_grid_mm=8.0, engine="pencil-nyholm", out=folder / "out", overwrite=True
    )


@pytest.fixture(scope="module")
def conformal(patient: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PlanningRun, Path]:
    folder = tmp_path_factory.mktemp("conformal")
    return planned(patient, folder, ISODOSE), folder / "out"


@pytest.fixture(scope="module")
def boosted(patient: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PlanningRun, Path]:
    folder = tmp_path_factory.mktemp("boosted")
    return planned(patient, folder, CONE_DOWN), folder / "out"


def at(dose: Dose, point_mm: Any) -> float:
    return float(interpolate(dose.image, np.asarray(point_mm, dtype=np.float64), 0.0))


def test_the_prescribed_dose_is_the_isodose_of_the_isocentre(conformal: tuple[PlanningRun, Path]) -> None:
    for phase in conformal[0].main.phases[:2]:
        (prescription,) = phase.plan.prescriptions
        assert 0.93 * at(phase.dose, phase.plan.beams[0].isocentre_mm) == pytest.approx(prescription.dose_gy, rel=1e-5)


def test_the_scorecard_says_what_the_points_of_all_phases_get(conformal: tuple[PlanningRun, Path]) -> None:
    run, out = conformal
    rows = [row for row in run.main.scorecard.rows if row.metric in ("Isodose[Gy]", "Depth[Gy]")]
    assert [(row.metric, row.limit) for row in rows] == [
        ("Isodose[Gy]" if n < 2 else "Depth[Gy]", phase.plan.prescriptions[0].dose_gy)
        for n, phase in enumerate(run.main.phases)
    ]
    for row in rows:
        assert row.verdict == "pass"
        assert row.value == pytest.approx(row.limit, abs=0.01)
    told = json.loads((out / "scorecard.json").read_text())["metrics"]
    assert [row["metric"] for row in told[:3]] == ["Isodose[Gy]", "Isodose[Gy]", "Depth[Gy]"]


def test_fractions_are_handed_over_until_the_cord_is_below_its_dose(conformal: tuple[PlanningRun, Path]) -> None:
    main = conformal[0].main
    first, second = main.phases[0].plan, main.phases[1].plan
    assert first.fractions + second.fractions == 28
    assert first.fractions < 22
    assert first.prescriptions[0].dose_per_fraction_gy == pytest.approx(1.8)
    cords = [phase.dose.image.values / phase.plan.fractions for phase in main.phases[:2]]
    organ = conformal[0].structures["SpinalCord"]

    def highest(moved: int) -> float:
        total = (first.fractions + moved) * cords[0] + (second.fractions - moved) * cords[1]
        dose = main.dose.image.with_values(total.astype(np.float32))
        own = Dose(dose, "physical", "course", None, None, "test")
        return histograms([organ], own)["SpinalCord"].value("Max[Gy]")

    assert highest(0) < 35.0
    assert highest(1) >= 35.0, "one fraction fewer would not have been enough"
    assert any("fractions moved from phase 1 to phase 2" in note for note in main.notes)


@pytest.mark.slow
def test_a_cone_down_gets_its_dose_where_fractions_can_make_room_for_it(patient: Path, tmp_path: Path) -> None:
    off_the_cord = "arrangement: opposed-obliques, avoid: SpinalCord, avoid_margin_mm: 5, block_avoided: true}"
    text = (
        ISODOSE[: ISODOSE.index("supplements:")]
        .replace("limit: 45", "limit: 35")
        .replace(
            "phase: 2}\n", "phase: 2}\n  - {target: PTV_B, dose_gy: 14.4, fractions: 8, phase: 3, boosts: PTV_A}\n"
        )
        .replace(off_the_cord, f"{off_the_cord}\n    - {{phase: 3, {off_the_cord}")
    )
    main = planned(patient, tmp_path, text).main
    points = [row for row in main.scorecard.rows if row.metric == "Isodose[Gy]"]
    assert [row.verdict for row in points] == ["pass"] * 3
    cord = next(row for row in main.scorecard.rows if row.structure == "SpinalCord")
    assert cord.value is not None
    assert cord.value < 35.0
    assert sum(phase.plan.fractions for phase in main.phases) == 36


def test_a_region_is_brought_up_to_its_dose_below_the_skin(conformal: tuple[PlanningRun, Path]) -> None:
    run = conformal[0]
    extra = run.main.phases[-1]
    (beam,) = extra.plan.beams
    assert (extra.number, beam.setup.gantry_deg) == (3, 0.0)
    assert extra.plan.prescriptions[0].dose_per_fraction_gy <= 2.0
    # From the skin in front of the target's middle, found on the outline's own contours.
    x, _, z = beam.isocentre_mm
    outline = run.case.structures["External"]
    near = min(outline.contours, key=lambda contour: abs(contour[0, 2] - z))
    close = near[np.abs(near[:, 0] - x) < 6.0]
    skin = float(close[:, 1].min())
    assert at(run.main.dose, (x, skin + 30.0, z)) == pytest.approx(60.0, abs=1.5)


def test_each_phase_is_a_plan_and_a_dose_and_their_sum_is_the_course(conformal: tuple[PlanningRun, Path]) -> None:
    run, out = conformal
    names = {p.name for p in out.iterdir()}
    for n in (1, 2, 3):
        assert {f"rtplan_phase{n}.dcm", f"rtdose_phase{n}.dcm"} <= names
    assert "rtplan.dcm" not in names
    total = np.sum([phase.dose.image.values for phase in run.main.phases], axis=0)
    np.testing.assert_allclose(run.main.dose.image.values, total, atol=1e-4)
    told = json.loads((out / "run.json").read_text())["plans"][run.main.title]["phases"]
    assert [phase["technique"] for phase in told] == ["3dcrt"] * 3


def test_plans_of_phases_read_back_as_they_were_made(
    conformal: tuple[PlanningRun, Path], patient: Path, tmp_path: Path
) -> None:
    run, out = conformal
    shutil.copytree(patient / "CT", tmp_path / "CT")
    for written in out.glob("rt*.dcm"):
        shutil.copy(written, tmp_path / written.name)
    case: Case = dicom.read_case(tmp_path)
    by_label = {plan.label: plan for plan in case.plans}
    for phase in run.main.phases:
        read: Plan = by_label[phase.plan.label]
        assert read.fractions == phase.plan.fractions
        assert read.mu == pytest.approx(phase.plan.mu, rel=1e-4)


def test_a_cone_down_is_planned_on_what_the_first_phase_gave(boosted: tuple[PlanningRun, Path]) -> None:
    main = boosted[0].main
    value = {(row.structure, row.metric): row.value for row in main.scorecard.rows}
    assert value["SpinalCord", "Max[Gy]"] < 45.0
    covered = {d.structure: d.value("D95%[Gy]") for d in main.dvhs if d.structure in ("PTV_A", "PTV_B")}
    assert covered["PTV_B"] > 0.97 * 59.4
    assert covered["PTV_A"] > 0.97 * 45.0
    assert main.phases[0].plan.fractions == 25
    assert main.phases[1].plan.fractions == 8


def test_a_sliding_window_moves_its_leaves_with_the_beam_on(boosted: tuple[PlanningRun, Path]) -> None:
    for phase in boosted[0].main.phases:
        for beam in phase.plan.beams:
            assert beam.dynamic
            assert len({point.gantry_deg for point in beam.control_points}) == 1
            ends = np.array([point.leaves_mm for point in beam.control_points])
            assert np.ptp(ends, axis=0).max() > 20.0


def test_of_several_phases_the_sum_is_evaluated(
    conformal: tuple[PlanningRun, Path], patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_, out = conformal
    shutil.copytree(patient / "CT", tmp_path / "in" / "CT")
    for written in out.glob("rt*.dcm"):
        shutil.copy(written, tmp_path / "in" / written.name)
    asked = [
        "evaluate",
        str(tmp_path / "in"),
        "--metric",
        "SpinalCord: Max[Gy]",
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    assert run(asked) == 0
    (row,) = [r for r in json.loads(capsys.readouterr().out)["metrics"] if r["structure"] == "SpinalCord"]
    (own,) = [r for r in run_.main.scorecard.rows if (r.structure, r.priority) == ("SpinalCord", "hard")]
    assert row["value"] == pytest.approx(own.value, abs=0.02)


def test_a_boosted_target_is_judged_by_the_dose_of_the_whole_course(boosted: tuple[PlanningRun, Path]) -> None:
    asked = {row.structure: row.limit for row in boosted[0].main.scorecard.rows if row.metric == "D95%[Gy]"}
    assert asked == {"PTV_A": 45.0, "PTV_B": 59.4}


class StoppedAtOnce(Interrupt):
    """A person who presses Ctrl-C as soon as there is something to keep."""

    def keep(self) -> None:
        super().keep()
        if not self.asked():
            self.handle(2, None)


@pytest.mark.slow
def test_an_interrupted_run_is_gone_on_with(patient: Path, tmp_path: Path) -> None:
    protocol = tmp_path / "protocol.yaml"
    text = (
        HEAD.format(id="single")
        + """
normalisation: {coverage: "D95%[Gy]"}
prescriptions: [{target: PTV_B, dose_gy: 50, fractions: 25}]
technique: {kind: imrt, beams: 3}
"""
    )
    protocol.write_text(text, encoding="utf-8")

    def plan_to(name: str, **more: Any) -> PlanningRun:
        return commands.plan(
            patient, str(protocol), dose_grid_mm=6.0, engine="pencil-nyholm", out=tmp_path / name, **more
        )

    first = plan_to("first", interrupt=StoppedAtOnce())
    assert first.main.interrupted
    assert (tmp_path / "first" / "fluences.npz").is_file()
    again = plan_to("again", resume=tmp_path / "first")
    assert again.main.converged
    assert not (tmp_path / "again" / "fluences.npz").exists()
    afresh = plan_to("afresh")
    fluence = [run_.main.phases[0].convergence.iterations for run_ in (again, afresh)]
    assert fluence[0] < fluence[1], "the search began where the other one ended"


def test_only_an_interrupted_run_can_be_gone_on_with(patient: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an interrupted run"):
        commands.plan(patient, "smart-imrt", out=tmp_path / "out", resume=tmp_path)
