"""Plans made for set-up errors: the tumour is covered and hard limits hold wherever the patient lies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tailort.cli import commands
from tailort.cli.app import run
from tailort.errors import InputError
from tailort.evaluation import dvh, within
from tailort.geometry import Grid, Image
from tailort.optimisation import Limit, Problem, VoxelSet, Wish
from tailort.optimisation.goals import Goals
from tailort.optimisation.objectives import SquaredOverdose, SquaredUnderdose
from tailort.optimisation.priorities import Goal
from tailort.patient import Dose, Structure
from tailort.workflow.options import PlanningOptions
from tailort.workflow.positions import placed, positions_of, widened
from tailort.workflow.robust_plans import in_every_position, united_sets

FRAME = "1.2.3"
# The core of the C as tumour with 5 mm to its PTV, the C about it, 5 mm away, as organ: the PTV's plan breaks the
# organ's limit when the patient lies off (51.4 Gy), a plan for the bare core loses 6 Gy of its coverage.
PROTOCOL = """
id: core
version: "1"
title: The core of the C as tumour
sources: [{id: T, text: test}]
targets:
  - {name: PTV_A, role: PTV, of: [Core], then: [{expand: {mm: 5}}]}
  - {name: Ring, role: ORGAN, of: [PTV_5000]}
organs: [External]
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV_A, dose_gy: 50, fractions: 25}
limits:
  - {structure: Ring, metric: "D5%[Gy]", operator: "<", limit: 50, priority: hard}
technique: {kind: imrt, beams: 5}
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "case"
    commands.phantom("tg119-c-shape", out=folder, size="coarse")
    return folder


def told(case: Path, protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    """Exit status and message of a plan that is refused; nothing is left behind."""
    file, out = tmp_path / "protocol.yaml", tmp_path / "out"
    file.write_text(protocol, encoding="utf-8")
    status = run(["plan", str(case), "--protocol", str(file), "--out", str(out), "--robust", *more])
    assert not out.exists()
    return status, capsys.readouterr().err.strip()


def test_the_tumour_is_covered_and_the_limit_holds_in_every_position(case: Path, tmp_path: Path) -> None:
    protocol, out = tmp_path / "protocol.yaml", tmp_path / "out"
    protocol.write_text(PROTOCOL, encoding="utf-8")
    found = commands.plan(
        case, str(protocol), out=out, dose_grid_mm=6.0, engine="pencil-nyholm", setup_errors="0,5,4", robust=True
    )
    assert found.robustness is not None
    worst = {row.structure: row.worst for row in found.robustness.rows if row.limit is not None}
    # The dose is computed anew in each position; the optimiser only moved the patient through the planned one.
    assert worst["Core"] >= 0.99 * 50.0
    assert worst["Ring"] < 50.0
    assert {(p.target, p.dose_gy) for p in found.main.prescriptions} == {("Core", 50.0)}
    assert json.loads((out / "run.json").read_text())["options"]["robust"] is True
    (note,) = (note for note in found.case.notes if note.startswith("robust plan"))
    assert "Core 50 Gy" in note
    assert "5 positions" in note


@pytest.mark.parametrize(
    ("changed", "more", "because"),
    [
        (("", ""), (), "--setup-errors"),
        (("", ""), ("--setup-errors", "5,5,5", "--technique", "3dcrt"), "3dcrt"),
        (("target: PTV_A", "target: PTV_5000"), ("--setup-errors", "5,5,5"), "nobody knows what 'PTV_5000'"),
        (
            ("25}\nlimits", "25}\n  - {target: PTV_A, dose_gy: 10, fractions: 5, phase: 2}\nlimits"),
            ("--setup-errors", "5,5,5"),
            "one phase",
        ),
    ],
    ids=["without errors", "conformal", "drawn PTV", "two phases"],
)
def test_what_cannot_be_planned_robustly_is_refused_in_one_sentence(
    changed: tuple[str, str],
    more: tuple[str, ...],
    because: str,
    case: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, message = told(case, PROTOCOL.replace(*changed), tmp_path, capsys, *more)
    assert status == 2
    assert because in message
    assert len(message.splitlines()) == 1


def test_options_need_to_know_against_what() -> None:
    with pytest.raises(InputError, match="--setup-errors"):
        PlanningOptions(robust=True)
    assert positions_of(PlanningOptions(setup_errors_mm=(5.0, 5.0, 5.0))) == ()
    asked = positions_of(PlanningOptions(setup_errors_mm=(5.0, 0.0, 3.0), robust=True))
    assert asked[0].shift_mm == (0.0, 0.0, 0.0)
    assert len(asked) == 5


def test_a_patient_who_lies_off_gets_the_dose_that_is_there_in_the_cloud() -> None:
    """A dose that rises by 0.5 Gy a mm in x: 4 mm to the left is 2 Gy more, and beyond the grid its edge holds."""
    grid = Grid.axial((9, 15, 25), (3.0, 3.0, 3.0), (-36.0, -21.0, -12.0), FRAME)
    x = grid.origin_mm[0] + 3.0 * np.arange(grid.shape[2])
    values = np.broadcast_to(40.0 + 0.5 * x, grid.shape).astype(np.float32)
    dose = Dose(Image(grid, values, "Gy"), "physical", "course", 25, None, "test")
    corners = np.array([[-9.0, -9.0], [9.0, -9.0], [9.0, 9.0], [-9.0, 9.0]])
    box = Structure("Box", "CTV", tuple(np.column_stack([corners, np.full(4, z)]) for z in (-6.0, 0.0, 6.0)), FRAME)
    positions = within((4.0, 0.0, 30.0), 6).scenarios
    means = {
        one.name: dvh(at, widened(dose, positions)).value("Mean[Gy]")
        for one, at in zip(positions, placed(box, positions), strict=True)
    }
    assert means["nominal"] == pytest.approx(40.0, abs=0.05)
    assert means["4 mm left"] == pytest.approx(42.0, abs=0.05)
    assert means["4 mm right"] == pytest.approx(38.0, abs=0.05)
    # 30 mm to the head is outside the grid, which ends at z = 13.5.
    assert means["30 mm superior"] == pytest.approx(40.0, abs=0.05)
    assert placed(box, ()) == (box,)
    assert widened(dose, ()) is dose


class Rows:
    """A dose map whose weights are the rows' doses."""

    shape = (6, 6)

    def dose(self, weights_mu: np.ndarray) -> np.ndarray:
        return weights_mu

    def gradient(self, by_dose: np.ndarray) -> np.ndarray:
        return by_dose


def test_a_target_is_judged_where_it_is_worst_and_a_limit_where_the_organ_may_be() -> None:
    positions = within((3.0, 0.0, 0.0), 6).scenarios
    sets = {}
    for n, one in enumerate(positions):
        suffix = "" if one.is_nominal else f" | {one.name}"
        sets[f"CTV{suffix}"] = VoxelSet("CTV", np.array([n, n + 1]), np.ones(2))
        sets[f"Cord{suffix}"] = VoxelSet("Cord", np.array([3 + n]), np.ones(1))
    whole = united_sets(sets, ["CTV"], positions)
    assert whole["CTV"].rows.tolist() == [0, 1, 2, 3]
    wish = Wish("CTV", SquaredUnderdose(50.0), 1.0)
    limit = Limit("Cord", SquaredOverdose(40.0), 0.0)
    problem = Problem(Rows(), 1, {**whole, "Cord": sets["Cord"]}, (wish,), (limit,))
    goals = Goals(problem.wishes, problem.limits, problem.sets, (), (Goal("cover", (wish,)),))
    robust, ranked = in_every_position(problem, goals, sets, ["CTV"], positions)
    # Only the third position's second voxel is cold; only the last row of the cord's is hot.
    cold = np.array([50.0, 50.0, 50.0, 40.0, 30.0, 41.5])
    worst = 0.5 * 10.0**2
    assert problem.value_of_dose(cold) == pytest.approx(0.25 * 10.0**2)
    assert 0.85 * worst <= robust.value_of_dose(cold) <= worst
    assert robust.violation_gy(cold) == pytest.approx(1.5)
    assert problem.violation_gy(cold) <= 0.0
    assert replace(robust, wishes=ranked.ranks[0].wishes).value_of_dose(cold) == robust.value_of_dose(cold)
