"""Whole courses of a patient who changes, as `tailort adapt` tells them beside what is true of him.

Asked: D95% of the tumour within 2 % and the maximum of the spinal cord within 1 Gy of the truth, Gy of the fractions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailort.cli.adapt_commands import adapt_course
from tailort.cli.commands import plan, silent
from tailort.cli.write_phantom import write_adaptive, write_drawn
from tailort.patient import Fact, Structure, StructureSet
from tailort.phantom import AdaptivePatient, adaptive
from tailort.phantom.weekly_map import Change
from tailort.protocols import load
from tailort.protocols.proposals import proposals
from tailort.registration import Registration
from tailort.workflow.adaptation_facts import contour_change, weight_loss, with_measured
from tailort.workflow.adaptation_truth import Held, against_truth, doses_on, true_scans
from tailort.workflow.adapted_records import Adaptation
from tailort.workflow.options import PlanningOptions

pytestmark = pytest.mark.slow
GRID_MM, ENGINE = 5.0, "pencil-nyholm"
PROTOCOL = """
id: two-phases
version: "1"
title: Elective volume, then a boost
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV_5000, dose_gy: 50, fractions: 25}
  - {target: PTV_6000, dose_gy: 10, fractions: 5, phase: 2, boosts: PTV_5000}
targets:
  - {name: CTV, role: CTV, of: [GTVp, GTVn], then: [{expand: {radial_mm: 8, craniocaudal_mm: 20}}]}
  - {name: PTV_5000, role: PTV, of: [CTV], then: [{expand: {radial_mm: 7, craniocaudal_mm: 7}}]}
  - {name: PTV_6000, role: PTV, of: [GTVp, GTVn], then: [{expand: {radial_mm: 8, craniocaudal_mm: 8}}]}
technique: {kind: imrt, beams: 5}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 48, priority: hard}
"""


@pytest.fixture(scope="module")
def patient() -> AdaptivePatient:
    return adaptive.make(1, "coarse")


@pytest.fixture(scope="module")
def planned(patient: AdaptivePatient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the patient's planning CT and of his plan."""
    folder = tmp_path_factory.mktemp("course")
    write_adaptive(patient, (), folder / "case", silent)
    (folder / "two-phases.yaml").write_text(PROTOCOL, encoding="utf-8")
    plan(
        folder / "case" / "planning", str(folder / "two-phases.yaml"), out=folder / "plan", dose_grid_mm=GRID_MM,
        engine=ENGINE,
    )  # fmt: skip
    return folder


def adapted(
    patient: AdaptivePatient, planned: Path, folder: Path, weeks: tuple[int, ...], delivered: tuple[int, ...],
    **told: Any,
) -> tuple[Adaptation, dict[tuple[str, str, str], Held]]:  # fmt: skip
    """The course adapted on scans of these weeks, and what was told of it beside the truth."""
    correction = told.get("hu_correction")
    scans = [patient.week(week, "ct" if correction is None else "cbct") for week in weeks]
    write_adaptive(patient, scans, folder / "weeks", silent)
    today = scans[-1]
    write_drawn(today, folder / "weeks")
    result = adapt_course(
        planned / "plan", tuple(folder / "weeks" / scan.name for scan in scans), delivered=delivered,
        case_dir=planned / "case" / "planning", out=folder / "out", **({"replan": "no"} | told),
    )  # fmt: skip
    own = PlanningOptions(engine=ENGINE, dose_grid_mm=GRID_MM)
    # What a cone-beam CT shows is not what the dose was given to.
    doses = {
        scan.name: doses_on(result, scan.name, patient.week(scan.map.week), own, GRID_MM)
        for scan in (() if correction is None else scans)
    }
    truth = true_scans(result, {scan.name: scan for scan in scans}, today.name, doses)
    held = against_truth(result, truth, today.structures, today.scan.image.grid.spacing_mm[0])
    return result, {(one.structure, one.metric, one.scope): one for one in held}


def as_true_as_asked(held: dict[tuple[str, str, str], Held]) -> bool:
    for scope in ("given", "projected"):
        tumour, cord = held["GTVp", "D95%[Gy]", scope], held["SpinalCord", "Max[Gy]", scope]
        if abs(tumour.told_gy - tumour.true_gy) >= 0.02 * tumour.true_gy or abs(cord.told_gy - cord.true_gy) >= 1.0:
            return False
    return True


def test_the_dose_of_fractions_on_several_cts_is_as_it_truly_is(
    patient: AdaptivePatient, planned: Path, tmp_path: Path
) -> None:
    result, held = adapted(patient, planned, tmp_path, (2, 4), (10, 20))
    assert [day.by_plan for day in result.days] == [(10, 0), (10, 0), (0, 0)]
    assert as_true_as_asked(held)
    # The tumour was drawn, the oesophagus around it was not.
    assert any(warning.startswith("Esophagus is carried and holds GTVp") for warning in result.warnings)
    oesophagus = held["Esophagus", "Mean[Gy]", "projected"]
    assert oesophagus.told_gy > oesophagus.true_gy


def test_the_dose_told_by_a_cone_beam_ct_is_as_it_truly_is(
    patient: AdaptivePatient, planned: Path, tmp_path: Path
) -> None:
    result, held = adapted(patient, planned, tmp_path, (3,), (15,), hu_correction="histogram")
    assert as_true_as_asked(held)
    assert any("ends within" in warning and "SpinalCord" in warning for warning in result.warnings)


def test_the_dose_told_by_several_cone_beam_cts_is_as_it_truly_is(
    patient: AdaptivePatient, planned: Path, tmp_path: Path
) -> None:
    result, held = adapted(patient, planned, tmp_path, (2, 4), (10, 20), hu_correction="histogram")
    assert [day.by_plan for day in result.days] == [(10, 0), (10, 0), (0, 0)]
    assert as_true_as_asked(held)


def test_a_boost_that_is_begun_is_told_and_planned_anew_for_what_is_left_of_it(
    patient: AdaptivePatient, planned: Path, tmp_path: Path
) -> None:
    result, held = adapted(patient, planned, tmp_path, (4,), (27,), replan="yes")
    assert [plan.fractions for plan in result.plans] == [25, 5]
    assert [day.by_plan for day in result.days] == [(25, 2), (0, 0)]
    assert as_true_as_asked(held)
    facts = {fact.name: fact.value for fact in result.facts}
    assert facts["target_dose_delivered_gy"] == pytest.approx(54.0)
    # What is left of the boost keeps its dose per fraction, and limits hold on the sum of all three parts.
    assert result.replanned is not None
    (new,) = result.replanned.plans
    assert [(p.target, p.dose_gy, p.fractions) for p in new.prescriptions] == [("PTV_6000", pytest.approx(6.0), 3)]
    assert (tmp_path / "out" / "rtplan.dcm").is_file()
    assert not result.replanned.result.scorecard.hard_failures


@pytest.mark.parametrize(("change", "fires"), [("contour", "yes"), ("small", "no")])
def test_the_contour_alone_fires_its_trigger_where_it_has_moved_and_not_where_it_has_not(
    change: Change, fires: str
) -> None:
    """By the CTs of both days, laid on one table as the true turn and shift has it."""
    changing = adaptive.make(1, "coarse", change=change)
    week = changing.week(3)
    found = Registration(week.map.bending.frame.inverse(), method="true")
    drawn = changing.planning.structures["GTVp"]
    # Only its extent along the body is asked for.
    place = found.rigid.inverse().apply(np.concatenate(drawn.contours)).mean(axis=0)
    moved = place - np.concatenate(drawn.contours).mean(axis=0)
    contours = tuple(line + np.array([0.0, 0.0, moved[2]]) for line in drawn.contours)
    targets = StructureSet((Structure("GTVp", "GTV", contours, found.from_frame),), found.from_frame)
    contour = contour_change(changing.planning.scan.image, week.scan.image, found, targets)
    weight = weight_loss(changing.weight_kg, week.weight_kg)
    assert contour.value is not None
    assert weight.value is not None
    assert (contour.value > 1.0) is (fires == "yes")
    assert weight.value < 10.0
    known = {"effusion_or_atelectasis_changed": Fact("effusion_or_atelectasis_changed", False, "CT", week.date)}
    asked = proposals(load("individualised"), with_measured(known, (contour, weight), week.date)).triggers
    assert {one.entry.id: one.answer for one in asked}["anatomy"] == fires


def test_from_within_the_first_phase_both_are_planned_anew(
    patient: AdaptivePatient, planned: Path, tmp_path: Path
) -> None:
    result, _ = adapted(patient, planned, tmp_path, (2,), (10,), replan="yes")
    assert result.replanned is not None
    told = [(p.target, p.dose_gy, p.fractions) for plan in result.replanned.plans for p in plan.prescriptions]
    assert told == [("PTV_5000", pytest.approx(30.0), 15), ("PTV_6000", pytest.approx(10.0), 5)]
    rows = {(row.structure, row.metric): row for row in result.replanned.result.scorecard.rows}
    for target, gy in (("PTV_5000", 50.0), ("PTV_6000", 60.0)):
        value = rows[target, "D95%[Gy]"].value
        assert value is not None
        assert value >= 0.98 * gy
    assert not result.replanned.result.scorecard.hard_failures
    for name in ("rtplan_phase1.dcm", "rtplan_phase2.dcm", "rtdose_remaining_phase2.dcm", "rtdose.dcm"):
        assert (tmp_path / "out" / name).is_file()
